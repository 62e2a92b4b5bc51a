/** The log on JetStream passes the suite of all event logs, on a real server, whose time runs faster than that of tests. */
import { describeEventLog, type OpenLog, type OpenOptions } from '../conformance/event-log.ts';
import { eventually, pause } from '../e2e/eventually.ts';
import { openProcess, PACE, removeStreams, useServer, type Process } from './jetstream-adapter.ts';

const timed = useServer();
let opened = 0;

describeEventLog({
  name: 'JetStream',
  supports: {
    durability: 'process',
    ordered: true,
    delayed: true,
    history: false,
    keepsLeases: true,
    // Half of the server's max_payload, without room for headers.
    recordMaxBytes: 491_520,
  },
  isEarly: false,
  hasRestart: true,
  open: openJetStream,
});

async function openJetStream({ match, ...limits }: OpenOptions): Promise<OpenLog> {
  opened += 1;
  const prefix = `kn${opened}`;
  const process = await openProcess({ url: timed.server.url, prefix, match, limits });
  const lateBeforeMs = await timed.lateMs();
  return {
    get log() {
      return process.log;
    },
    nowMs: () => process.clock.nowMs(),
    skip: (ms) => pause(ms / PACE),
    lateMs: async () => (await timed.lateMs()) - lateBeforeMs,
    quiet: async () => {
      // What the server has to say about it is on its way after a round trip. Leases go on meanwhile, so no longer.
      for (let turn = 0; turn < 2; turn += 1) {
        await process.nc.flush();
        await pause(30);
      }
      // Its size is asked for once a second.
      await eventually(
        'measured',
        async () => process.log.usage.bytes === (await sizeOf(process, prefix)),
      );
    },
    restart: () => process.restart(),
    close: async () => {
      await process.log.close();
      await removeStreams(process, prefix);
      await process.close();
    },
  };
}

/** Bytes of the streams with events, as the server counts them. */
async function sizeOf({ jsm }: Process, prefix: string): Promise<number> {
  let bytes = 0;
  for await (const { config, state } of jsm.streams.list(`${prefix}.*.>`)) {
    if (!config.name.endsWith('_LOG')) bytes += state.bytes;
  }
  return bytes;
}
