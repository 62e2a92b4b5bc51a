/** The log on JetStream passes the suite of all event logs, on a real server, whose time runs faster than that of tests. */
import { describeEventLog, type OpenLog, type OpenOptions } from '../conformance/event-log.ts';
import { pause } from '../e2e/eventually.ts';
import {
  openProcess,
  PACE,
  quiet,
  removeStreams,
  SUPPORTS,
  useServer,
} from './jetstream-adapter.ts';

const timed = useServer();
let opened = 0;

describeEventLog({
  name: 'JetStream',
  supports: SUPPORTS,
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
    quiet: () => quiet(process, prefix),
    restart: () => process.restart(),
    close: async () => {
      await process.log.close();
      await removeStreams(process, prefix);
      await process.close();
    },
  };
}
