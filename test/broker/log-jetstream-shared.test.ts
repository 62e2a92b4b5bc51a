/**
 * A guest of a log on JetStream passes the suite of all event logs: it appends, pulls and settles. What is the owner's among
 * processes that share a log is the owner's here, in a connection of its own: it prepares and drops. How much waits is what the
 * server says, since neither of both knows it at each moment.
 */
import type { EventLog, Interest } from '../../core/ports/event-log.ts';
import { describeEventLog, type OpenLog, type OpenOptions } from '../conformance/event-log.ts';
import { eventually, pause } from '../e2e/eventually.ts';
import {
  countAll,
  openProcess,
  PACE,
  quiet,
  removeStreams,
  SUPPORTS,
  useServer,
  type Process,
} from './jetstream-adapter.ts';

const timed = useServer();
let opened = 0;

describeEventLog({
  name: 'JetStream, a guest',
  supports: SUPPORTS,
  isEarly: false,
  hasRestart: true,
  isShared: true,
  open: openShared,
});

async function openShared({ match, ...limits }: OpenOptions): Promise<OpenLog> {
  opened += 1;
  const prefix = `ks${String(opened)}`;
  const options = { url: timed.server.url, prefix, match, limits };
  const owner = await openProcess({ ...options, sharing: 'owner' });
  const guest = await openProcess({ ...options, sharing: 'guest' });
  const lateBeforeMs = await timed.lateMs();
  return {
    get log() {
      return together({ guest, owner, prefix });
    },
    nowMs: () => guest.clock.nowMs(),
    skip: (ms) => pause(ms / PACE),
    lateMs: async () => (await timed.lateMs()) - lateBeforeMs,
    count: () => countAll(guest, prefix),
    quiet: () => quiet(guest, prefix),
    restart: () => guest.restart(),
    close: async () => {
      await guest.log.close();
      await owner.log.close();
      await removeStreams(owner, prefix);
      await guest.close();
      await owner.close();
    },
  };
}

interface Pair {
  readonly guest: Process;
  readonly owner: Process;
  readonly prefix: string;
}

/** What a caller of one log does, done by whose it is. */
function together({ guest, owner, prefix }: Pair): EventLog {
  const prepare = async (interests: readonly Interest[]) => {
    await owner.log.prepare(interests);
    await guest.log.prepare(interests);
  };
  const drop = async (egressId: string) => {
    await counted({ guest, owner, prefix }, egressId);
    return owner.log.drop(egressId);
  };
  const isOpen = guest.log.state.kind === 'accepting';
  const done: Partial<EventLog> = isOpen ? { prepare, drop } : {};
  return new Proxy<EventLog>(guest.log, {
    get: (log, name) => {
      const own: unknown = Reflect.get(done, name);
      if (own) return own;
      const member: unknown = Reflect.get(log, name);
      return typeof member === 'function' ? (member.bind(log) as unknown) : member;
    },
  });
}

/** The owner counts now and then (N6), and a drop says what he has counted. */
async function counted({ owner, prefix }: Pair, egressId: string): Promise<void> {
  const lag = () => owner.log.lag(egressId);
  await eventually(
    'counted',
    async () => {
      const { ready, delayed, parked } = (await countAll(owner, prefix)).get(egressId) ?? lag();
      return ready === lag().ready && delayed === lag().delayed && parked === lag().parked;
    },
    { otherwise: lag },
  );
}
