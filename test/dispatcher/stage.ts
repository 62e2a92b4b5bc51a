/**
 * The whole dispatcher over a real log in memory, where time moves only when the test says so and every subscriber is
 * scripted. Events enter through the same admission as at the door.
 *
 * `trail` tells what the dispatcher told its observer, one line a happening, in the words that the tests compare:
 *   deliver 1 http://subscriber/in 503 KNEAR_REJECTED      an attempt: phase, number, address, status, code
 *   wait deliver 1 200 memory                              failed attempts, ms, where
 *   refused reply KNEAR_LOG_FULL 503
 *   end parked KNEAR_REJECTED
 *   lease-lost 1
 *   discarded gone 3
 */
import { strict as assert } from 'node:assert';

import type { LogLimits } from '../../broker/log/accounts.ts';
import { GroupedLog } from '../../broker/log/grouped-log.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import type { Delivery, EventLog } from '../../core/ports/event-log.ts';
import type { Happening } from '../../core/ports/observer.ts';
import { admit } from '../../core/rules/admit.ts';
import type { Vantage } from '../../core/rules/nearness.ts';
import { compileMatch } from '../../core/rules/match.ts';
import type { Topology } from '../../core/topology.ts';
import type { BudgetLimits } from '../../dispatcher/budget.ts';
import { Dispatcher } from '../../dispatcher/dispatcher.ts';
import type { EgressLoop } from '../../dispatcher/egress-loop.ts';
import { GatedStore } from '../fakes/gated-store.ts';
import { ScriptedDeliverer } from '../fakes/scripted-deliverer.ts';
import { SteppedClock } from '../fakes/stepped-clock.ts';
import { topologyOf } from './resources.ts';
import type { Scene } from './resources.ts';

export interface StageOptions extends Scene {
  readonly slotsMax?: number;
  readonly backoffMaxMs?: number;
  readonly open?: BudgetLimits;
  readonly goneAfterMs?: number;
  readonly isBusy?: () => boolean;
  readonly lateMs?: () => number;
  readonly vantages?: readonly Vantage[];
  readonly isCluster?: boolean;
  readonly isConfirmed?: () => boolean;
  /** What an earlier stage left. */
  readonly store?: GatedStore;
  readonly clock?: SteppedClock;
  /** The log as the dispatcher sees it. */
  readonly wrap?: (log: EventLog) => EventLog;
}

type Mutable<Value> = { -readonly [Key in keyof Value]: Value[Key] };

/** 10 s: long enough to be told from everything else, short enough to wait for. */
const GONE_AFTER_MS = 10_000;

export class Stage {
  readonly clock: SteppedClock;
  readonly deliverer: ScriptedDeliverer;
  readonly store: GatedStore;
  readonly log: GroupedLog;
  readonly dispatcher: Dispatcher;
  /** All that was observed, the log's own happenings included. */
  readonly happenings: Happening[] = [];
  /** Large data of replies that dispatch does not need any more. */
  readonly released: PayloadRef[] = [];
  /** What reached `onBug`. */
  readonly bugs: unknown[] = [];
  /** Those of the log; changing them takes effect at once. */
  readonly limits: Mutable<LogLimits>;
  readonly #options: StageOptions;
  #topology: Topology;
  #match;

  /** Opened, and following its topology. */
  constructor(options: StageOptions) {
    this.#options = options;
    this.clock = options.clock ?? new SteppedClock();
    this.store = options.store ?? passingStore();
    this.deliverer = new ScriptedDeliverer(this.clock);
    this.limits = wideLimits();
    this.#topology = topologyOf(1, options);
    this.#match = compileMatch(this.#topology);
    const { clock, deliverer } = this;
    const observer = { observe: (happening: Happening) => void this.happenings.push(happening) };
    this.log = GroupedLog.open({
      store: this.store,
      match: (ingressId, event) => this.#match(ingressId, event),
      clock,
      observer,
      limits: this.limits,
    });
    this.dispatcher = new Dispatcher(this.#topology, {
      log: options.wrap?.(this.log) ?? this.log,
      match: (ingressId, event) => this.#match(ingressId, event),
      deliverer,
      payloads: { release: (ref) => void this.released.push(ref) },
      observer,
      clock,
      slotsMax: options.slotsMax ?? 256,
      backoffMaxMs: options.backoffMaxMs ?? 3_600_000,
      open: options.open ?? { countMax: 1_000, bytesMax: 64 * 1024 * 1024 },
      goneAfterMs: options.goneAfterMs ?? GONE_AFTER_MS,
      ...(options.vantages && { vantages: options.vantages }),
      ...(options.isCluster && { isCluster: true }),
      ...(options.isConfirmed && { isConfirmed: options.isConfirmed }),
      isBusy: options.isBusy ?? (() => false),
      lateMs: options.lateMs ?? (() => 0),
      onBug: (error) => void this.bugs.push(error),
    });
    this.dispatcher.apply(this.#topology);
  }

  /** The topology changes: what the scene does not name stays as it is. */
  apply(scene: Scene): void {
    const { ingresses, egresses } = this.#topology;
    const before = { ingresses: [...ingresses.values()], egresses: [...egresses.values()] };
    this.#topology = topologyOf(this.#topology.revision + 1, {
      ...before,
      services: Object.fromEntries(this.#topology.services),
      correlationKeys: Object.fromEntries(this.#topology.correlationKeys),
      ...scene,
    });
    this.#match = compileMatch(this.#topology);
    this.dispatcher.apply(this.#topology);
  }

  /** Events come to an ingress, and everything that follows at once has happened. */
  async produce(ingressId: string, ...events: CloudEvent[]): Promise<void> {
    const ingress = this.#topology.ingresses.get(ingressId);
    assert(ingress, `there is an ingress ${ingressId}`);
    const admitted = events.map((event) => {
      const admission = admit(ingress, event, this.clock.nowMs());
      assert(admission.kind === 'admitted', 'the door takes what a test sends');
      return admission.event;
    });
    this.log.append(ingressId, admitted).catch((error: unknown) => this.bugs.push(error));
    await this.clock.calm();
  }

  pass(ms: number): Promise<void> {
    return this.clock.pass(ms);
  }

  loop(id = 'egress'): EgressLoop {
    const loop = [...this.dispatcher.loops()].find((each) => each.id === id);
    assert(loop, `there is a loop for ${id}`);
    return loop;
  }

  trail(egressId?: string): string[] {
    return this.happenings.flatMap((happening) => {
      const isOther = 'egress' in happening && egressId && happening.egress.id !== egressId;
      return isOther ? [] : lineOf(happening);
    });
  }

  /** What waits for an egress that nobody pulls for; it is given back. */
  async waitingFor(egressId: string): Promise<Delivery[]> {
    const patience = new AbortController();
    const pulled = this.log.pull(egressId, 1_000, { signal: patience.signal });
    await this.clock.calm();
    patience.abort();
    const deliveries = await pulled;
    for (const delivery of deliveries) delivery.release();
    return deliveries;
  }

  /** Somebody takes one delivery and never settles it, as a process that dies over it would. */
  async loseLease(egressId: string): Promise<void> {
    const patience = new AbortController();
    const [delivery] = await this.log.pull(egressId, 1, { signal: patience.signal });
    assert(delivery, `there is a delivery for ${egressId}`);
    await this.pass(16_000);
  }

  /** The process is killed; the next one starts at the same time of day, with the same script if it is given one. */
  crash(scene: Scene = {}): Stage {
    const store = new GatedStore(this.store.tables);
    store.isGated = false;
    const { ingresses, egresses, services, correlationKeys } = this.#topology;
    return new Stage({
      ...this.#options,
      ingresses: [...ingresses.values()],
      egresses: [...egresses.values()],
      services: Object.fromEntries(services),
      correlationKeys: Object.fromEntries(correlationKeys),
      ...scene,
      store,
      clock: new SteppedClock(this.clock.nowMs()),
    });
  }

  /** The process stops in good order; the next one starts. */
  async restart(scene: Scene = {}): Promise<Stage> {
    const stopped = this.dispatcher.stop(0);
    await this.pass(0);
    await stopped;
    const closed = this.log.close();
    await this.pass(0);
    await closed;
    return this.crash(scene);
  }
}

function lineOf(happening: Happening): string[] {
  switch (happening.kind) {
    case 'attempted': {
      const { phase, attempt, dest, status, code } = happening;
      return [[phase, attempt, dest, status, ...(code ? [code] : [])].join(' ')];
    }
    case 'waiting': {
      const { phase, attempt, delayMs, where } = happening;
      return [`wait ${phase} ${attempt} ${delayMs} ${where}`];
    }
    case 'refused':
      return [`refused ${happening.by} ${happening.code} ${happening.status}`];
    case 'ended':
      return [
        ['end', happening.end, ...(happening.failure ? [happening.failure.code] : [])].join(' '),
      ];
    case 'lease-lost':
      return [`lease-lost ${happening.lease}`];
    case 'discarded':
      return [`discarded ${happening.end} ${happening.count}`];
    case 'stalled':
      return [`stalled ${happening.code}`];
    case 'rerouted':
      return ['rerouted'];
    case 'hop':
      return happening.result === 'off' ? [] : [`hop ${happening.result}`];
    case 'accepted':
    case 'committed':
    case 'log-gap':
    case 'log-state':
      return [];
  }
}

function passingStore(): GatedStore {
  const store = new GatedStore();
  store.isGated = false;
  return store;
}

/** Limits that no test reaches unless it sets them. */
function wideLimits(): Mutable<LogLimits> {
  return {
    sizeMaxBytes: 1e12,
    quotaBytes: 1e12,
    reserveBytes: 0,
    windowMax: 256,
    parkedMax: 1_000,
    parkedBytesMax: 1e9,
    parkedAgeMs: 7 * 24 * 3_600_000,
  };
}
