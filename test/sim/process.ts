/** One life of the simulated process: the real log and the real dispatcher, over the disk and the payloads that outlive it. */
import { GroupedLog } from '../../broker/log/grouped-log.ts';
import type { DeliveryRequest, Outcome } from '../../core/ports/deliverer.ts';
import type { Delivery, EventLog, Match } from '../../core/ports/event-log.ts';
import type { Happening } from '../../core/ports/observer.ts';
import type { Topology } from '../../core/topology.ts';
import { Dispatcher } from '../../dispatcher/dispatcher.ts';
import { withPull } from '../fakes/wrapped-log.ts';
import type { MountedDisk, SimulatedDisk } from './disk.ts';
import type { ServerHabits } from './habits.ts';
import type { SimulatedPayloads } from './payload-disk.ts';
import { SimulatedKeeper } from './payload-keeper.ts';
import { ProcessClock, type Timeline } from './timeline.ts';

/** Longer than any attempt takes, so that all are over when it has stopped. */
export const DRAIN_MS = 5_000;

export interface Process {
  readonly clock: ProcessClock;
  readonly disk: MountedDisk;
  readonly log: GroupedLog;
  /** The same, with somebody who looks at what it offers. */
  readonly watched: EventLog;
  readonly keeper: SimulatedKeeper;
  readonly dispatcher: Dispatcher;
}

/** Whoever delivers for a process, and keeps large replies. */
export type Holder = Pick<Process, 'clock' | 'keeper'>;

export interface ProcessOptions {
  readonly timeline: Timeline;
  readonly disk: SimulatedDisk;
  readonly payloads: SimulatedPayloads;
  readonly habits: ServerHabits | undefined;
  readonly slotsMax: number;
  readonly open: { readonly countMax: number; readonly bytesMax: number };
  topology(): Topology;
  match(...event: Parameters<Match>): ReturnType<Match>;
  /** The same for what enters the log. */
  matchToKeep(...event: Parameters<Match>): ReturnType<Match>;
  observe(happening: Happening, clock: ProcessClock): void;
  offered(deliveries: readonly Delivery[], clock: ProcessClock): Delivery[];
  deliver(holder: Holder, request: DeliveryRequest): Promise<Outcome>;
  onBug(error: unknown): void;
}

export function startProcess(options: ProcessOptions): Process {
  const { timeline, payloads, habits, slotsMax, open } = options;
  const clock = new ProcessClock(timeline);
  const disk = options.disk.mount(clock);
  const observer = { observe: (happening: Happening) => options.observe(happening, clock) };
  const onBug = (error: unknown) => options.onBug(error);
  const keeper = new SimulatedKeeper(payloads, { clock, ledger: () => log.claims, onBug });
  const log = GroupedLog.open({
    store: disk,
    payloads: keeper.holders,
    clock,
    observer,
    match: (ingressId, event) => options.matchToKeep(ingressId, event),
    limits: LIMITS,
  });
  keeper.start();
  const given = habits?.of(log, clock) ?? log;
  const watched = withPull(given, async (own, ...call) =>
    options.offered(await own(...call), clock),
  );
  const dispatcher = new Dispatcher(options.topology(), {
    log: watched,
    match: (ingressId, event) => options.match(ingressId, event),
    observer,
    clock,
    deliverer: {
      deliver: (request) => options.deliver({ clock, keeper }, request),
      close: () => Promise.resolve(),
    },
    payloads: keeper,
    slotsMax,
    backoffMaxMs: 60_000,
    goneAfterMs: 20_000,
    open,
    isBusy: () => false,
    onBug,
  });
  dispatcher.apply(options.topology());
  return { clock, disk, log, watched, keeper, dispatcher };
}

/** Small, so that queues outgrow the window all the time and reads from the disk are as common as hand-overs. */
const LIMITS = {
  sizeMaxBytes: 1e9,
  quotaBytes: 1e9,
  reserveBytes: 0,
  windowMax: 8,
  parkedMax: 10_000,
  parkedBytesMax: 1e9,
  parkedAgeMs: 1e9,
};
