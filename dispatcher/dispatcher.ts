/**
 * The dispatchers of this process, one for each place that it stands for, kept equal to the Topology; and what they share: the
 * drain, and the word to the door when delivery falls behind.
 *
 * - P1 One loop an egress that is not paused, in each place. A vanished egress stops at once; what the log holds for it ends
 *   as gone after `goneAfterMs`, unless the same identity is back by then.
 * - P2 The door yields: while more than BACKLOG_MAX deliveries wait for egresses that keep up, and this process is busy or
 *   the log does not bring them as fast as they come in, no new request is read. Egresses whose subscribers are slow do not
 *   count: a slow subscriber must not stop producers. Where the log refuses, requests are read, to hear that.
 */
import type { Clock, Timer } from '../core/ports/time.ts';
import type { CloudEvent } from '../core/event.ts';
import { forSubscriber } from '../core/rules/admit.ts';
import type { Vantage } from '../core/rules/nearness.ts';
import type { Topology } from '../core/topology.ts';
import type { EgressLoop } from './egress-loop.ts';
import { Gone } from './gone.ts';
import { Place, type PlaceOptions } from './place.ts';
import { Remote, type RemoteOptions } from './placement/remote.ts';

/** As many as may be open: the next turn's work for all slots, and not more than milliseconds of it. */
const BACKLOG_MAX = 1_000;
/** A subscriber whose median answer takes longer is limited by itself, not by us. */
const KEEPING_UP_MS = 100;
/** An attempt takes so many turns of the event loop, each as long as this process makes it. */
const TURNS = 4;
/** How long an answer about the backlog is good for: counting 10,000 egresses takes about half a millisecond. */
const BACKLOG_CHECK_MS = 10;

export interface DispatcherOptions extends Omit<
  PlaceOptions,
  | 'topology'
  | 'forSubscriber'
  | 'openOf'
  | 'leftForGone'
  | 'isFirst'
  | 'loopsElsewhere'
  | 'vantage'
  | 'isCluster'
  | 'isConfirmed'
  | 'remote'
  | 'number'
> {
  /** How long the log keeps what it holds for an egress that is gone; absent: another process sees to that. */
  readonly goneAfterMs?: number;
  /** Whether this process has hardly any idle time left. */
  isBusy(): boolean;
  /** What a turn of the event loop takes; absent: nothing. */
  lateMs?(): number;
  /** The places that it stands for; absent: one that nobody knows. */
  readonly vantages?: readonly Vantage[];
  /** Absent: it is none. */
  readonly isCluster?: boolean;
  /** Dispatchers of other processes; absent: there are none. */
  readonly others?: Pick<RemoteOptions, 'reports' | 'ownId' | 'instances'>;
  /** Absent: always, as where one process applies resources and says that they are ready. */
  isConfirmed?(): boolean;
}

export interface SlotsOfEgress {
  readonly egressId: string;
  readonly slots: { readonly inUse: number; readonly limit: number; readonly waiting: number };
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #clock: Clock;
  readonly #places: readonly Place[];
  readonly #remote: Remote | undefined;
  /** P1 */
  readonly #gone: Gone | undefined;
  #topology: Topology;
  #backlog = { count: 0, atMs: Number.NEGATIVE_INFINITY };
  #isStopped = false;

  constructor(topology: Topology, options: DispatcherOptions) {
    this.#topology = topology;
    this.#options = options;
    this.#clock = options.clock;
    const { vantages = [{}], isCluster = false, open, goneAfterMs: afterMs } = options;
    this.#gone = afterMs === undefined ? undefined : new Gone({ ...options, afterMs });
    const shared = {
      ...options,
      isCluster,
      isConfirmed: () => options.isConfirmed?.() ?? true,
      open: { countMax: share(open.countMax, vantages), bytesMax: share(open.bytesMax, vantages) },
      topology: () => this.#topology,
      forSubscriber: remembering(forSubscriber),
      openOf: (egressId: string) => this.#openOf(egressId),
      leftForGone: () => this.#gone?.look(),
      loopsElsewhere: (place: Place, egressId: string) => this.#loopsElsewhere(place, egressId),
    };
    this.#remote =
      options.others &&
      new Remote({
        ...options,
        ...options.others,
        own: () => this.#places.map((place) => place.lines()),
      });
    const remote = this.#remote && { remote: this.#remote };
    this.#places = vantages.map(
      (vantage, number) =>
        new Place({ ...shared, ...remote, vantage, number, isFirst: number === 0 }),
    );
  }

  /** Follows the Topology from now on. */
  apply(topology: Topology): void {
    if (this.#isStopped) return;
    this.#topology = topology;
    for (const place of this.#places) place.apply(topology);
    this.#gone?.apply(topology);
    this.#remote?.forget(topology);
  }

  /** Open deliveries, of all egresses. */
  get open(): number {
    return this.#places.reduce((sum, { budget }) => sum + budget.count, 0);
  }

  get openBytes(): number {
    return this.#places.reduce((sum, { budget }) => sum + budget.bytes, 0);
  }

  *loops(): Iterable<EgressLoop> {
    for (const place of this.#places) yield* place.loops();
  }

  /** Of each egress, in all places together. */
  *slots(): Iterable<SlotsOfEgress> {
    const [first, ...others] = this.#places;
    for (const { id, slots } of first?.loops() ?? []) {
      const all = [slots, ...others.flatMap((place) => place.loop(id)?.slots ?? [])];
      const sum = (what: 'inUse' | 'limit' | 'waiting') =>
        all.reduce((total, each) => total + each[what], 0);
      yield {
        egressId: id,
        slots: { inUse: sum('inUse'), limit: sum('limit'), waiting: sum('waiting') },
      };
    }
  }

  /** P2: `undefined` when requests may be read, else resolves when they may. */
  mayRead(): Promise<void> | undefined {
    if (!this.#isBehind()) return undefined;
    return new Promise((resolve) => {
      const look = () => {
        if (this.#isBehind() && !this.#isStopped) this.#clock.after(BACKLOG_CHECK_MS, look);
        else resolve();
      };
      this.#clock.after(BACKLOG_CHECK_MS, look);
    });
  }

  /** Gives back what was not started and waits for attempts in flight, at most `drainMs`. Idempotent. */
  async stop(drainMs: number): Promise<void> {
    this.#isStopped = true;
    this.#gone?.stop();
    this.#remote?.close();
    const stopped = Promise.all(this.#places.map((place) => place.stop()));
    let timer: Timer | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = this.#clock.after(drainMs, resolve);
    });
    await Promise.race([stopped, patience]);
    timer?.cancel();
  }

  #openOf(egressId: string): number {
    let open = 0;
    for (const place of this.#places) open += place.loop(egressId)?.open ?? 0;
    return open;
  }

  #loopsElsewhere(here: Place, egressId: string): readonly EgressLoop[] {
    if (this.#places.length === 1) return NO_LOOPS;
    return this.#places.flatMap((place) => (place === here ? [] : (place.loop(egressId) ?? [])));
  }

  #isBehind(): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#backlog.atMs >= BACKLOG_CHECK_MS) {
      const isRefusing = this.#options.log.state.kind === 'refusing';
      const count = isRefusing ? 0 : this.#countBacklog(this.#options.isBusy());
      this.#backlog = { count, atMs: nowMs };
    }
    return this.#backlog.count > BACKLOG_MAX;
  }

  #countBacklog(isBusy: boolean): number {
    const ownMs = TURNS * (this.#options.lateMs?.() ?? 0);
    const counted = new Set<string>();
    let count = 0;
    for (const { id, isPaused, slots, isHungry } of this.loops()) {
      if (isPaused || slots.medianMs > KEEPING_UP_MS + ownMs) continue;
      if ((!isBusy && !isHungry) || counted.has(id)) continue;
      if (this.#places.length > 1) counted.add(id);
      count += Math.max(0, this.#options.log.lag(id).ready - this.#openOf(id));
    }
    return count;
  }
}

const NO_LOOPS: readonly EgressLoop[] = [];

/** Of a bound of the whole process. */
function share(bound: number, { length }: readonly Vantage[]): number {
  return Math.max(1, Math.floor(bound / length));
}

/** The same answer for the same event, for as long as somebody holds the event. */
function remembering(change: (event: CloudEvent) => CloudEvent): (event: CloudEvent) => CloudEvent {
  const known = new WeakMap<CloudEvent, CloudEvent>();
  return (event) => {
    let changed = known.get(event);
    if (!changed) known.set(event, (changed = change(event)));
    return changed;
  };
}
