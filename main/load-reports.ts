/** Load reports as plain NATS messages: who is not there misses them, and the next one is not far. */
import type { NatsLink } from '../broker/log/jetstream/connection.ts';
import type { LoadReport, LoadReports } from '../core/ports/load-reports.ts';

const VERSION = 1;

export function natsLoadReports({ nc }: Pick<NatsLink, 'nc'>, prefix: string): LoadReports {
  const subject = `${prefix}_load`;
  return {
    tell(report) {
      try {
        nc.publish(subject, JSON.stringify({ v: VERSION, ...report }));
      } catch {
        // Without a connection, or too large for the server: as if it had been lost on the way.
      }
    },
    listen(take) {
      nc.subscribe(subject, {
        callback: (error, message) => {
          if (error) return;
          const report = read(message.string());
          if (report) take(report);
        },
      });
    },
  };
}

/** What another version tells is as if it had told nothing. */
function read(text: string): LoadReport | undefined {
  try {
    const { v, ...report } = JSON.parse(text) as LoadReport & { readonly v?: unknown };
    return v === VERSION && isWhole(report) ? report : undefined;
  } catch {
    return undefined;
  }
}

function isWhole({ instanceId, everyMs, places }: Partial<Record<keyof LoadReport, unknown>>) {
  const isNamed = typeof instanceId === 'string' && typeof everyMs === 'number';
  return isNamed && Array.isArray(places) && places.every((lines) => Array.isArray(lines));
}
