/** How many requests of one egress may be in flight. A slot is one request from connect to answer. */
import type { Outcome } from '../core/ports/deliverer.ts';
import type { Clock } from '../core/ports/time.ts';
import { Limit } from './limit.ts';

export interface SlotsOptions {
  readonly max: number;
  /** Called when a slot may have become free. */
  readonly onFree?: () => void;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

export class Slots {
  readonly #onFree: (() => void) | undefined;
  readonly #limit: Limit;
  #waiters: (() => void)[] = [];

  constructor({ max, onFree, clock }: SlotsOptions) {
    this.#onFree = onFree;
    this.#limit = new Limit(max, clock);
  }

  get limit(): number {
    return this.#limit.value;
  }

  get inUse(): number {
    return this.#limit.inUse;
  }

  /** How many wait for a slot. */
  get waiting(): number {
    return this.#waiters.length;
  }

  /** Slots that are neither in use nor promised to somebody who waits. */
  get free(): number {
    return Math.max(0, this.limit - this.inUse - this.#waiters.length);
  }

  /** Median latency of the last full window, ms; infinite before there was one, and after an error. */
  get medianMs(): number {
    return this.#limit.medianMs;
  }

  /** What a request takes, as a rule, ms; 0 before there was one. */
  get serviceMs(): number {
    return this.#limit.serviceMs;
  }

  /** As `Limit.stillMs`. */
  get stillMs(): number {
    return this.#limit.stillMs;
  }

  /** Resolves when the caller has a slot, first come first served. `undefined`: it has one already. */
  take(): Promise<void> | undefined {
    if (this.inUse < this.limit && this.#waiters.length === 0) {
      this.#limit.use();
      return undefined;
    }
    return new Promise((resolve) => {
      this.#waiters.push(() => {
        this.#limit.use();
        resolve();
      });
    });
  }

  /** Gives a slot back, with what the request came to; `undefined` when it says nothing about the subscriber. */
  give(outcome?: Outcome, durationMs = 0): void {
    this.#limit.give(outcome, durationMs);
    while (this.inUse < this.limit && this.#waiters.length > 0) this.#waiters.shift()?.();
    this.#onFree?.();
  }
}
