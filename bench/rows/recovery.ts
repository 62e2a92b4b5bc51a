/**
 * How long a program that was killed needs to come back with a long log: fill it while the Trigger is paused, SIGKILL,
 * lift the pause, start, and see when it is ready and when the first event arrives. One round: filling takes minutes.
 */
import { nowUs, sleepMs } from '../clock.ts';
import { BROKER_PATH, MATCHING_TYPE, brokerYaml } from '../manifests.ts';
import type { Options } from '../options.ts';
import type { Sent } from '../processes/protocol.ts';
import type { Attempt, Row } from '../row.ts';
import type { Stage } from '../stage.ts';
import { spread } from '../statistics.ts';
import type { Sut } from '../sut.ts';
import { usageOf } from '../system.ts';

/** Many senders: filling is no measurement, and groups of 64 records share a flush. */
const FILL_SENDERS = 64;
const KB = 1_024;
/** After the first delivery, to see the rate at which the backlog goes. */
const WATCH_MS = 3_000;
const FIRST_DELIVERY_MAX_MS = 60_000;

export async function runRecovery(stage: Stage, options: Options, attempt: Attempt): Promise<void> {
  await attempt('recovery', async () => recover(stage, options.records));
}

async function recover(stage: Stage, events: number): Promise<Row> {
  const url = `http://127.0.0.1:${stage.subscriber.port}`;
  const paused = brokerYaml(url, { count: 1, matching: 1, isPaused: true });
  const sut = await stage.engine.start(paused);
  let after: Sut | undefined;
  try {
    const run = stage.nextRun();
    await stage.subscriber.call('begin', { run });
    const sent = await fill(stage, sut, { events, run });
    await sut.crash();
    const startUs = nowUs();
    after = await sut.restart(brokerYaml(url, { count: 1, matching: 1 }));
    await untilFirst(stage);
    await sleepMs(WATCH_MS);
    return await toRow(stage, { sent, startUs, sut: after });
  } finally {
    await after?.crash();
    await sut.discard();
  }
}

async function fill(
  stage: Stage,
  sut: Sut,
  { events, run }: { readonly events: number; readonly run: number },
): Promise<Sent> {
  return stage.load.call('load', {
    kind: 'closed',
    aim: { port: sut.port, path: BROKER_PATH },
    type: MATCHING_TYPE,
    run,
    dataBytes: KB,
    senders: FILL_SENDERS,
    until: { events },
  });
}

async function untilFirst({ subscriber }: Stage): Promise<void> {
  const giveUpUs = nowUs() + FIRST_DELIVERY_MAX_MS * 1e3;
  while ((await subscriber.call('count', null)).deliveries === 0) {
    if (nowUs() > giveUpUs) throw new Error('nothing was delivered after the restart');
    await sleepMs(5);
  }
}

interface Recovered {
  readonly sent: Sent;
  readonly startUs: number;
  readonly sut: Sut;
}

async function toRow(stage: Stage, { sent, startUs, sut }: Recovered): Promise<Row> {
  const { atUs } = await stage.subscriber.call('collect', null);
  const firstUs = atUs[0] ?? NaN;
  const lastUs = atUs.at(-1) ?? NaN;
  const accepted = sent.status.filter((status) => status === 202).length;
  const refused = sent.status.length - accepted;
  const fillSeconds = ((sent.atUs.at(-1) ?? 0) - (sent.atUs[0] ?? 0)) / 1e6;
  const drained = Math.round((atUs.length * 1e6) / (lastUs - firstUs));
  return {
    id: 'recovery',
    title: `first delivery after SIGKILL, ${accepted.toLocaleString('en')} records in the log`,
    unit: 'ms',
    measured: spread([(firstUs - startUs) / 1e3]),
    lost: 0, // most of the backlog is still there when the row ends
    foreignCores: 0, // not metered: a start is no contest for the cores
    notes: [
      `ready after ${Math.round(sut.readyMs)} ms`,
      `backlog delivered at ${drained.toLocaleString('en')}/s`,
      `filled at ${Math.round(accepted / fillSeconds).toLocaleString('en')}/s`,
      `${Math.round(usageOf(sut.pid).anonBytes / 1e6)} MB anonymous memory while it drains`,
      ...(refused > 0 ? [`${refused} refused while filling`] : []),
    ],
  };
}
