/**
 * What this dispatcher knows of each endpoint that it calls: how busy, how fast, and whether to leave it alone for a while.
 *
 * It owns these figures, from the first call of an endpoint until it is neither called nor in the Topology any more.
 *
 * - V1 An endpoint that fails EJECT_AFTER times in a row, or cannot be reached, is left alone, for longer each time. A success
 *   ends that at once.
 */
import type { Outcome } from '../../core/ports/deliverer.ts';
import type { Clock } from '../../core/ports/time.ts';
import type { PlaceLoad } from '../../core/rules/cost.ts';
import { Limit } from '../limit.ts';

/** Errors of one event come from that event; of five in a row, from where they went. */
const EJECT_AFTER = 5;
const EJECT_MS = 1_000;
const EJECT_MAX_MS = 60_000;
/** The last twenty or so requests tell how long one takes. */
const LEARNING_RATE = 0.05;

class EndpointLoad implements PlaceLoad {
  readonly limit: Limit;
  serviceMs = 0;
  failures = 0;
  ejections = 0;
  ejectedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(max: number) {
    this.limit = new Limit(max);
  }

  get inFlight(): number {
    return this.limit.inUse;
  }

  get capacity(): number {
    return this.limit.value;
  }
}

export class Loads {
  readonly #clock: Clock;
  /** Requests to one endpoint at a time. */
  readonly #max: number;
  readonly #loads = new Map<string, EndpointLoad>();

  constructor(clock: Clock, max: number) {
    this.#clock = clock;
    this.#max = max;
  }

  /** @param key host and port */
  of(key: string): PlaceLoad {
    return this.#loads.get(key) ?? new EndpointLoad(this.#max);
  }

  /** V1 */
  isEjected(key: string): boolean {
    const load = this.#loads.get(key);
    return load !== undefined && this.#clock.monotonicMs() < load.ejectedUntilMs;
  }

  begin(key: string): void {
    let load = this.#loads.get(key);
    if (!load) this.#loads.set(key, (load = new EndpointLoad(this.#max)));
    load.limit.use();
  }

  /** @param outcome `undefined`: it says nothing about the endpoint */
  end(key: string, outcome: Outcome | undefined, durationMs: number): void {
    const load = this.#loads.get(key);
    if (!load) return;
    load.limit.give(outcome, durationMs);
    if (!outcome) return;
    if (isFailure(outcome)) this.#failed(load, outcome);
    else if (outcome.kind !== 'payload') this.#succeeded(load, durationMs);
  }

  /** Those that are in no Topology any more. */
  forgetBut(keys: ReadonlySet<string>): void {
    for (const [key, { inFlight }] of this.#loads) {
      if (inFlight === 0 && !keys.has(key)) this.#loads.delete(key);
    }
  }

  #failed(load: EndpointLoad, outcome: Outcome): void {
    load.failures += 1;
    const isGone = outcome.kind === 'unreachable' && outcome.code === 'KNEAR_UNREACHABLE';
    if (!isGone && load.failures < EJECT_AFTER) return;
    const forMs = Math.min(EJECT_MS * 2 ** load.ejections, EJECT_MAX_MS);
    load.ejectedUntilMs = this.#clock.monotonicMs() + forMs;
    load.ejections += 1;
    load.failures = 0;
  }

  #succeeded(load: EndpointLoad, durationMs: number): void {
    load.failures = 0;
    load.ejections = 0;
    load.ejectedUntilMs = Number.NEGATIVE_INFINITY;
    const isFirst = load.serviceMs === 0;
    load.serviceMs += (isFirst ? 1 : LEARNING_RATE) * (durationMs - load.serviceMs);
  }
}

/** It says that the endpoint is in trouble, and not that the event is: 4xx is about the event. */
function isFailure(outcome: Outcome): boolean {
  return outcome.kind === 'unreachable' || (outcome.kind === 'rejected' && outcome.status >= 500);
}
