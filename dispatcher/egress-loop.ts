/**
 * The loop that pulls for one egress and holds what it pulled.
 *
 * - E1 It pulls for exactly the slots that are free, within the bound of its own open deliveries and the dispatcher's.
 * - E2 What it holds is extended every EXTEND_MS, by one timer for all.
 * - E3 Stopped, it pulls nothing, gives back what was not started, and lets attempts in flight end.
 * - E4 A pull or a delivery that fails by a bug or a damaged record is logged and comes back when its lease is over; the
 *   loop itself goes on.
 */
import { codeOf } from '../core/errors.ts';
import { attributeText, claimOf, eventSizeBytes } from '../core/event.ts';
import type { CloudEvent } from '../core/event.ts';
import type { Deliverer } from '../core/ports/deliverer.ts';
import { EXTEND_MS } from '../core/ports/event-log.ts';
import type { Delivery, EventLog } from '../core/ports/event-log.ts';
import type { Observer } from '../core/ports/observer.ts';
import type { Payloads } from '../core/ports/payloads.ts';
import type { Clock, Timer } from '../core/ports/time.ts';
import type { Tracer } from '../core/ports/tracer.ts';
import type { PlaceLoad } from '../core/rules/cost.ts';
import { compileFilter } from '../core/rules/filter.ts';
import type { NextState } from '../core/rules/hop.ts';
import type { Nearness } from '../core/rules/nearness.ts';
import type { Egress, Topology } from '../core/topology.ts';
import { Behind } from './behind.ts';
import type { Budget } from './budget.ts';
import type { Placement } from './attempt.ts';
import type { Hops } from './chain.ts';
import { dispatch } from './dispatch.ts';
import type { DispatchContext } from './context.ts';
import { Hold } from './hold.ts';
import { Lanes } from './lanes.ts';
import { loadOf } from './placement/loads.ts';
import { isHere, LOOK_MS, mayPull, nearerThan, type Neighbour } from './placement/neighbours.ts';
import { Slots } from './slots.ts';

/** Deliveries that wait in memory or for a slot, beside those in flight: one dead subscriber never takes them all. */
const OPEN_BESIDE_SLOTS = 64;
/** What an event weighs, as a rule, the last twenty or so tell. */
const USUAL_RATE = 0.05;
/** A pull that failed is not repeated at once: the log is damaged or broken, and says so in its own way. */
const PULL_RETRY_MS = 1_000;

/** What the loops of one dispatcher share. */
export interface LoopContext {
  readonly log: EventLog;
  readonly deliverer: Deliverer;
  readonly observer: Observer;
  readonly tracer?: Tracer;
  readonly clock: Clock;
  readonly budget: Budget;
  readonly slotsMax: number;
  readonly backoffMaxMs: number;
  readonly payloads: Pick<Payloads, 'release'>;
  readonly hops: Hops;
  readonly placement: Placement;
  /** Deliveries of an egress that are open anywhere in this process. */
  openOf(egressId: string): number;
  /** Of the places in this process, it is the first. */
  readonly isFirst: boolean;
  /** Others who could pull for the same egress, in this process and elsewhere. */
  othersFor(loop: EgressLoop): readonly Neighbour[];
  /** G3 */
  isSpare(loop: EgressLoop): boolean;
  /** `forSubscriber`, the same result each time, so that an event is encoded once for all who get it. */
  forSubscriber(event: CloudEvent): CloudEvent;
  topology(): Topology;
  /** The log holds something anew for an egress that is not there any more. */
  leftForGone(): void;
  /** Something that must not happen happened to this egress. */
  onBug(error: unknown, egressId: string): void;
}

/** The egress with its filter, and the keys that it was compiled with: either may be replaced without the other. */
interface Compiled {
  readonly egress: Egress;
  readonly correlationKeys: Topology['correlationKeys'];
  readonly matches: (event: CloudEvent) => boolean;
}

export class EgressLoop implements Neighbour {
  readonly id: string;
  readonly slots: Slots;
  readonly #context: LoopContext;
  readonly #dispatch: DispatchContext;
  readonly #stop = new AbortController();
  readonly #holds = new Set<Hold>();
  readonly #lanes = new Lanes();
  readonly #behind = new Behind();
  #extension: Timer | undefined;
  #compiled: Compiled | undefined;
  #pausing = new AbortController();
  #isPulling = false;
  #isHungry = false;
  #turn = 0;
  /** Of its events, a moving average. */
  #usualBytes = 0;
  #whenRoom: (() => void) | undefined;
  #whenEmpty: (() => void)[] = [];

  constructor(id: string, context: LoopContext) {
    this.id = id;
    this.#context = context;
    this.slots = new Slots({
      max: context.slotsMax,
      onFree: () => this.#whenRoom?.(),
      clock: context.clock,
    });
    this.#dispatch = {
      ...context,
      egressId: id,
      slots: this.slots,
      asNext: () => this.#asNext(),
      resize: (hold, event) => this.#resize(hold, event),
      egress: () => this.#egress(),
      mayWaitInMemory: () =>
        !context.budget.isTight && this.#holds.size <= this.slots.limit + OPEN_BESIDE_SLOTS / 2,
      nextTurn: () => (this.#turn += 1),
    };
  }

  /** For hops that come to this egress, too. */
  get dispatchContext(): DispatchContext {
    return this.#dispatch;
  }

  get isPaused(): boolean {
    return this.#pausing.signal.aborted;
  }

  /** It has free slots, and waits for the log. */
  get isHungry(): boolean {
    return this.#isHungry;
  }

  /** Open deliveries. */
  get open(): number {
    return this.#holds.size;
  }

  /** Starts to pull, or goes on after `pause`. */
  resume(): void {
    if (this.#stop.signal.aborted) return;
    this.#pausing = this.#pausing.signal.aborted ? new AbortController() : this.#pausing;
    if (this.#isPulling) return;
    this.#isPulling = true;
    void this.#pullOn(this.#pausing.signal);
  }

  /** Pulls nothing more; what is held goes its way. */
  pause(): void {
    this.#pausing.abort();
    this.#whenRoom?.();
  }

  /** Its egress is gone: pulls nothing, and what waits goes back to the log. */
  vanish(): void {
    this.pause();
    for (const hold of this.#holds) hold.wake();
  }

  /** E3. Resolves when nothing is held any more. Idempotent. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.vanish();
    if (this.#holds.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#whenEmpty.push(resolve);
    });
  }

  async #pullOn(paused: AbortSignal): Promise<void> {
    while (!paused.aborted) {
      try {
        this.#isHungry = false;
        await this.#room(paused);
        if (!this.#mayPull()) {
          this.#context.budget.passOn();
          await this.#sleep(LOOK_MS);
          continue;
        }
        const pulling = this.#pull(paused);
        // Nothing is there for us: the turn that we may have been given is somebody else's.
        if (this.#backlog() <= 0) this.#context.budget.passOn();
        this.#isHungry = true;
        const deliveries = await pulling;
        this.#behind.served(deliveries, this.#context.clock);
        for (const delivery of deliveries) this.#start(delivery);
        this.#context.budget.passOn();
      } catch (error) {
        this.#isHungry = false;
        if (codeOf(error) === 'KNEAR_CLOSED') return;
        this.#context.budget.passOn();
        this.#context.onBug(error, this.id);
        await this.#sleep(PULL_RETRY_MS);
      }
    }
    this.#isPulling = false;
    // Paused and resumed again while the last pull ended.
    if (!this.#pausing.signal.aborted) this.resume();
  }

  /** G1: where others come first, what waits is looked at anew after a while. */
  async #pull(paused: AbortSignal): Promise<Delivery[]> {
    const { log, clock } = this.#context;
    const { nearness } = this;
    if (nearerThan(this, this.#context.othersFor(this)).length === 0) {
      return log.pull(this.id, this.#roomNow(), { signal: paused, nearness });
    }
    const patience = new AbortController();
    const timer = clock.after(LOOK_MS, () => patience.abort());
    const signal = AbortSignal.any([paused, patience.signal]);
    try {
      return await log.pull(this.id, this.#roomNow(), { signal, nearness, isBrief: true });
    } finally {
      timer.cancel();
    }
  }

  /** E1 */
  #roomNow(): number {
    const ownMax = this.slots.limit + OPEN_BESIDE_SLOTS;
    return Math.min(this.slots.free, ownMax - this.#holds.size, this.#context.budget.free);
  }

  /** What waits in the log. */
  #backlog(): number {
    return this.#context.log.lag(this.id).ready - this.#context.openOf(this.id);
  }

  #asNext(): NextState {
    const backlog = this.#backlog();
    const { slots } = this;
    return {
      isPaused: this.isPaused,
      isHere: isHere(this.#nearness(), this.#context.othersFor(this)),
      freeSlots: slots.free,
      slots: slots.limit,
      waiting: slots.waiting,
      backlog,
      behindMs: this.#behind.ms(backlog, this.#context.clock.monotonicMs()),
    };
  }

  /** G1 */
  get nearness(): Nearness {
    return this.#nearness() ?? 'any';
  }

  get isSpare(): boolean {
    return this.#context.isSpare(this);
  }

  /** What waits in the log, as far as it is known here. */
  get backlog(): number {
    return Math.max(0, this.#backlog());
  }

  #nearness(): Nearness | undefined {
    const egress = this.#egress()?.egress;
    const { placement, topology } = this.#context;
    return egress && placement.router.nearnessTo(egress, topology());
  }

  /** G1. Without room for another delivery, as if it were at as many as it may be. */
  get load(): PlaceLoad {
    const { inUse, waiting, limit, serviceMs, stillMs } = this.slots;
    const isFull = this.#context.budget.free < 1;
    const counted = isFull ? limit + inUse : inUse + waiting;
    return loadOf({ inUse: counted, value: limit, serviceMs, stillMs });
  }

  /** G1 */
  #mayPull(): boolean {
    const others = this.#context.othersFor(this);
    if (others.length === 0) return true;
    // Lanes keep order within a loop: one of them has all.
    if (this.#egress()?.egress.order === 'key') return this.#context.isFirst;
    return mayPull(this, others, { backlog: this.#backlog(), bytes: this.#usualBytes });
  }

  #resize(hold: Hold, event: CloudEvent): void {
    const bytes = heldBytes(event, eventSizeBytes(event));
    this.#context.budget.resize(bytes - hold.bytes);
    hold.bytes = bytes;
  }

  async #room(paused: AbortSignal): Promise<void> {
    while (this.#roomNow() < 1 && !paused.aborted) {
      if (this.#context.budget.free < 1) {
        await this.#context.budget.whenFree();
      } else {
        // It has had its turn and no slot for it.
        this.#context.budget.passOn();
        await new Promise<void>((resolve) => {
          this.#whenRoom = resolve;
        });
        this.#whenRoom = undefined;
      }
    }
  }

  #start(delivery: Delivery): void {
    const bytes = heldBytes(delivery.event, delivery.sizeBytes);
    this.#usualBytes += USUAL_RATE * (delivery.sizeBytes - this.#usualBytes);
    // Several loops may have seen the same free place.
    if (this.#stop.signal.aborted || !this.#context.budget.take(bytes)) {
      delivery.release();
      return;
    }
    const { clock } = this.#context;
    const hold = new Hold({ delivery, bytes, clock, stop: this.#stop.signal });
    this.#holds.add(hold);
    this.#extension ??= clock.after(EXTEND_MS, () => {
      this.#extend();
    });
    this.#run(hold).then(
      () => {
        this.#release(hold);
      },
      (error: unknown) => {
        this.#context.onBug(error, this.id);
        this.#release(hold);
      },
    );
  }

  #run(hold: Hold): Promise<void> {
    const key = attributeText(hold.delivery.event, 'partitionkey');
    return key !== undefined && this.#egress()?.egress.order === 'key'
      ? this.#lanes.enter(key, () => dispatch(hold, this.#dispatch))
      : dispatch(hold, this.#dispatch);
  }

  #egress() {
    const topology = this.#context.topology();
    const egress = topology.egresses.get(this.id);
    if (!egress) return undefined;
    const { correlationKeys } = topology;
    const compiled = this.#compiled;
    if (compiled?.egress === egress && compiled.correlationKeys === correlationKeys)
      return compiled;
    const matches = compileFilter(egress.filter, topology);
    return (this.#compiled = { egress, correlationKeys, matches });
  }

  #release(hold: Hold): void {
    this.#holds.delete(hold);
    this.#context.budget.give(hold.bytes);
    this.#whenRoom?.();
    if (this.#holds.size > 0) return;
    this.#extension?.cancel();
    this.#extension = undefined;
    for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }

  /** E2 */
  #extend(): void {
    for (const hold of this.#holds) hold.extend();
    this.#extension = this.#context.clock.after(EXTEND_MS, () => {
      this.#extend();
    });
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#context.clock.after(ms, resolve);
    });
  }
}

/** What is read of claimed data and not yet taken by the subscriber: two pieces of 128 KiB. */
const CLAIMED_BYTES = 256 * 1024;

function heldBytes(event: CloudEvent, sizeBytes: number): number {
  return claimOf(event) ? sizeBytes + CLAIMED_BYTES : sizeBytes;
}
