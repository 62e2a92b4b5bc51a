/**
 * The set of egress loops, kept equal to the Topology, and what they share: open deliveries, the drain, and the word to
 * the door when delivery falls behind.
 *
 * - P1 One loop an egress that is not paused. A vanished egress stops at once; what the log holds for it ends as gone after
 *   `goneAfterMs`, unless the same identity is back by then.
 * - P2 The door yields: while more than BACKLOG_MAX deliveries wait for egresses that keep up, and this process is busy or
 *   the log does not bring them as fast as they come in, no new request is read. Egresses whose subscribers are slow do not
 *   count: a slow subscriber must not stop producers. Where the log refuses, requests are read, to hear that.
 */
import type { Clock, Timer } from '../core/ports/time.ts';
import type { CloudEvent } from '../core/event.ts';
import { forSubscriber } from '../core/rules/admit.ts';
import type { Match } from '../core/ports/event-log.ts';
import type { Vantage } from '../core/rules/nearness.ts';
import type { Topology } from '../core/topology.ts';
import { Budget } from './budget.ts';
import type { BudgetLimits } from './budget.ts';
import { EgressLoop } from './egress-loop.ts';
import type { LoopContext } from './egress-loop.ts';
import { Loads } from './placement/loads.ts';
import { endpointKeys, Router } from './placement/router.ts';

/** As many as may be open: the next turn's work for all slots, and not more than milliseconds of it. */
const BACKLOG_MAX = 1_000;
/** A subscriber whose median answer takes longer is limited by itself, not by us. */
const KEEPING_UP_MS = 100;
/** An attempt takes so many turns of the event loop, each as long as this process makes it. */
const TURNS = 4;
/** How long an answer about the backlog is good for: counting 10,000 egresses takes about half a millisecond. */
const BACKLOG_CHECK_MS = 10;

export interface DispatcherOptions extends Omit<
  LoopContext,
  'budget' | 'topology' | 'forSubscriber' | 'hops' | 'placement'
> {
  readonly match: Match;
  readonly open: BudgetLimits;
  /** How long the log keeps what it holds for an egress that is gone. */
  readonly goneAfterMs: number;
  /** Whether this process has hardly any idle time left. */
  isBusy(): boolean;
  /** What a turn of the event loop takes; absent: nothing. */
  lateMs?(): number;
  /** Where it is; absent: nobody knows. */
  readonly vantage?: Vantage;
  /** In a cluster: a Service has an address of its own, and a pod one that its containers share. Absent: it is none. */
  readonly isCluster?: boolean;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #clock: Clock;
  readonly #budget: Budget;
  readonly #loads: Loads;
  readonly #loops = new Map<string, EgressLoop>();
  readonly #goneTimers = new Map<string, Timer>();
  #topology: Topology;
  #context: LoopContext;
  #backlog = { count: 0, atMs: Number.NEGATIVE_INFINITY };
  #isStopped = false;

  constructor(topology: Topology, options: DispatcherOptions) {
    this.#topology = topology;
    this.#options = options;
    this.#clock = options.clock;
    this.#budget = new Budget(options.open, options.clock);
    const { vantage = {}, isCluster = false, clock, slotsMax } = options;
    this.#loads = new Loads(clock, slotsMax);
    const router = new Router({ vantage, loads: this.#loads, usesLoopback: isCluster });
    this.#context = {
      ...options,
      placement: { router, loads: this.#loads, hasServices: isCluster },
      budget: this.#budget,
      topology: () => this.#topology,
      hops: {
        match: options.match,
        contextOf: (egressId) => this.#loops.get(egressId)?.dispatchContext,
        // One process applies resources and says that they are ready: here they are never older.
        isConfirmed: () => true,
      },
      forSubscriber: remembering(forSubscriber),
    };
  }

  /** Follows the Topology from now on. */
  apply(topology: Topology): void {
    if (this.#isStopped) return;
    this.#topology = topology;
    for (const [id, loop] of this.#loops) {
      if (topology.egresses.has(id)) continue;
      // A loop with deliveries in flight is kept: should its egress come back, their order goes on with theirs.
      loop.vanish();
      if (loop.open === 0) this.#loops.delete(id);
    }
    for (const [id, egress] of topology.egresses) {
      const loop = this.#loops.get(id) ?? this.#addLoop(id);
      if (egress.isPaused) loop.pause();
      else loop.resume();
    }
    this.#watchGone(topology);
    this.#loads.forgetBut(endpointKeys(topology));
  }

  /** Open deliveries, of all egresses. */
  get open(): number {
    return this.#budget.count;
  }

  get openBytes(): number {
    return this.#budget.bytes;
  }

  loops(): Iterable<EgressLoop> {
    return this.#loops.values();
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
    for (const timer of this.#goneTimers.values()) timer.cancel();
    const stopped = Promise.all([...this.#loops.values()].map((loop) => loop.stop()));
    this.#budget.wakeAll();
    let timer: Timer | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = this.#clock.after(drainMs, resolve);
    });
    await Promise.race([stopped, patience]);
    timer?.cancel();
  }

  #addLoop(id: string): EgressLoop {
    const loop = new EgressLoop(id, this.#context);
    this.#loops.set(id, loop);
    return loop;
  }

  /** P1 */
  #watchGone(topology: Topology): void {
    for (const [id, timer] of this.#goneTimers) {
      if (!topology.egresses.has(id)) continue;
      timer.cancel();
      this.#goneTimers.delete(id);
    }
    for (const id of this.#options.log.egressIds()) {
      if (topology.egresses.has(id) || this.#goneTimers.has(id)) continue;
      const timer = this.#clock.after(this.#options.goneAfterMs, () => {
        this.#goneTimers.delete(id);
        if (this.#topology.egresses.has(id)) return;
        this.#options.log.drop(id).catch((error: unknown) => {
          this.#options.onBug(error, id);
        });
      });
      this.#goneTimers.set(id, timer);
    }
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
    let count = 0;
    const ownMs = TURNS * (this.#options.lateMs?.() ?? 0);
    for (const loop of this.#loops.values()) {
      if (loop.isPaused || loop.slots.medianMs > KEEPING_UP_MS + ownMs) continue;
      if (!isBusy && !loop.isHungry) continue;
      count += Math.max(0, this.#options.log.lag(loop.id).ready - loop.open);
    }
    return count;
  }
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
