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

interface EndpointLoad {
  readonly limit: Limit;
  failures: number;
  ejections: number;
  ejectedUntilMs: number;
}

export class Loads {
  readonly #clock: Clock;
  /** Requests to one endpoint at a time. */
  readonly #max: number;
  readonly #loads = new Map<string, EndpointLoad>();
  /** Of one that was never called. */
  readonly #unknown: PlaceLoad;

  constructor(clock: Clock, max: number) {
    this.#clock = clock;
    this.#max = max;
    this.#unknown = loadOf(new Limit(max, clock));
  }

  /** @param key host and port */
  of(key: string): PlaceLoad {
    const load = this.#loads.get(key);
    return load ? loadOf(load.limit) : this.#unknown;
  }

  /** V1 */
  isEjected(key: string): boolean {
    const load = this.#loads.get(key);
    return load !== undefined && this.#clock.monotonicMs() < load.ejectedUntilMs;
  }

  begin(key: string): void {
    let load = this.#loads.get(key);
    if (!load) this.#loads.set(key, (load = this.#fresh()));
    load.limit.use();
  }

  /** @param outcome `undefined`: it says nothing about the endpoint */
  end(key: string, outcome: Outcome | undefined, durationMs: number): void {
    const load = this.#loads.get(key);
    if (!load) return;
    load.limit.give(outcome, durationMs);
    if (!outcome || outcome.kind === 'payload') return;
    if (isFailure(outcome)) {
      this.#failed(load, outcome);
      return;
    }
    load.failures = 0;
    load.ejections = 0;
    load.ejectedUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** Those that are in no Topology any more. */
  forgetBut(keys: ReadonlySet<string>): void {
    for (const [key, { limit }] of this.#loads) {
      if (limit.inUse === 0 && !keys.has(key)) this.#loads.delete(key);
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

  #fresh(): EndpointLoad {
    return {
      limit: new Limit(this.#max, this.#clock),
      failures: 0,
      ejections: 0,
      ejectedUntilMs: Number.NEGATIVE_INFINITY,
    };
  }
}

/** What is in flight and does not end takes longer than what has ended: so a place that hangs is not taken for a quick one. */
export function loadOf({
  inUse,
  value,
  serviceMs,
  stillMs,
}: Pick<Limit, 'inUse' | 'value' | 'serviceMs' | 'stillMs'>): PlaceLoad {
  return {
    inFlight: inUse,
    capacity: value,
    serviceMs: inUse > 0 ? Math.max(serviceMs, stillMs) : serviceMs,
  };
}

/** It says that the endpoint is in trouble, and not that the event is: 4xx is about the event. */
function isFailure(outcome: Outcome): boolean {
  return outcome.kind === 'unreachable' || (outcome.kind === 'rejected' && outcome.status >= 500);
}
