/**
 * How many requests at a time a subscriber takes without becoming slower, found out by trying.
 *
 * The limit grows while more concurrency does not make the subscriber slower, and halves when the subscriber says, in one
 * way or another, that it has enough.
 */
import type { Outcome } from '../core/ports/deliverer.ts';
import type { Clock } from '../core/ports/time.ts';

/** Small enough not to hurt a subscriber that takes one request at a time, large enough not to crawl at first. */
const INITIAL = 4;
/** The limit may grow while the median is at most this much above the best one seen. */
const SLOWER_FACTOR = 1.5;
/** Below this, differences are scheduling noise of a busy machine, not a slower subscriber. */
const NOISE_MS = 2;
/**
 * The best median is forgotten by a factor of e in this time of full load, so that a subscriber that became slower for
 * good can be learnt. Not faster: when this very process is what is slow, each round would forget how fast it could be,
 * and open more requests that wait for nothing but us.
 */
const FORGET_MS = 30_000;
/** The last twenty or so requests tell how long one takes. */
const LEARNING_RATE = 0.05;

export class Limit {
  readonly #max: number;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #value: number;
  #inUse = 0;
  /** Latencies since the limit last changed, and whether as many were in use at some time. */
  #window: number[] = [];
  #wasFull = false;
  #bestMedianMs = Number.POSITIVE_INFINITY;
  #lastMedianMs = Number.POSITIVE_INFINITY;
  #serviceMs = 0;
  /** Monotonic; when the last request ended, or the first of those in flight began. */
  #progressMs: number;
  /** Requests still in flight that were sent under a limit that has been halved since. */
  #outdated = 0;

  constructor(max: number, clock: Pick<Clock, 'monotonicMs'>) {
    this.#max = max;
    this.#clock = clock;
    this.#progressMs = clock.monotonicMs();
    this.#value = Math.min(INITIAL, max);
  }

  get value(): number {
    return this.#value;
  }

  get inUse(): number {
    return this.#inUse;
  }

  /** Median latency of the last full window, ms; infinite before there was one, and after an error. */
  get medianMs(): number {
    return this.#lastMedianMs;
  }

  /** What a request takes, as a moving average, whatever it comes to; 0 before there was one. */
  get serviceMs(): number {
    return this.#serviceMs;
  }

  /** For how long nothing has ended that is in flight; without any, how long it has been idle. */
  get stillMs(): number {
    return this.#clock.monotonicMs() - this.#progressMs;
  }

  /** A request begins. */
  use(): void {
    if (this.#inUse === 0) this.#progressMs = this.#clock.monotonicMs();
    this.#inUse += 1;
    if (this.#inUse >= this.#value) this.#wasFull = true;
  }

  /** It is over, with what it came to; `undefined` when that says nothing about the subscriber. */
  give(outcome: Outcome | undefined, durationMs: number): void {
    this.#inUse -= 1;
    this.#progressMs = this.#clock.monotonicMs();
    const isOutdated = this.#outdated > 0;
    if (isOutdated) this.#outdated -= 1;
    if (!outcome || outcome.kind === 'payload') return;
    this.#serviceMs += (this.#serviceMs === 0 ? 1 : LEARNING_RATE) * (durationMs - this.#serviceMs);
    this.#learn(outcome, { durationMs, isOutdated });
  }

  #learn(
    outcome: Outcome,
    { durationMs, isOutdated }: { durationMs: number; isOutdated: boolean },
  ): void {
    if (isOverload(outcome)) {
      this.#lastMedianMs = Number.POSITIVE_INFINITY;
      // What was sent under the old limit says no more about the new one.
      if (isOutdated) return;
      this.#resize(this.#value / 2);
      this.#outdated = this.#inUse;
      return;
    }
    // Other errors say that the subscriber has trouble, so it does not get more at once, but less would not help it.
    if (outcome.kind !== 'accepted' && outcome.kind !== 'replied') return;
    this.#window.push(durationMs);
    if (this.#window.length < this.#value) return;
    const median = this.#window.sort((a, b) => a - b)[this.#window.length >> 1] ?? 0;
    // Of a window with all slots in use, which alone may raise the limit, the mean is the time that it took.
    const meanMs = this.#window.reduce((sum, each) => sum + each, 0) / this.#window.length;
    const isFast = median <= Math.max(this.#bestMedianMs * SLOWER_FACTOR, NOISE_MS);
    this.#lastMedianMs = median;
    this.#bestMedianMs = Math.min(this.#bestMedianMs * (1 + meanMs / FORGET_MS), median);
    this.#resize(this.#wasFull && isFast ? this.#value + 1 : this.#value);
  }

  #resize(limit: number): void {
    this.#value = Math.min(Math.max(Math.floor(limit), 1), this.#max);
    this.#window = [];
    this.#wasFull = this.#inUse >= this.#value;
  }
}

function isOverload(outcome: Outcome): boolean {
  switch (outcome.kind) {
    case 'rejected':
      return outcome.status === 429 || outcome.status === 503;
    case 'unreachable':
      return outcome.code === 'KNEAR_TIMEOUT' || outcome.code === 'KNEAR_RESET';
    case 'accepted':
    case 'replied':
    case 'malformed':
    case 'payload':
      return false;
  }
}
