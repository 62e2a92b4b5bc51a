/**
 * A delivery in our hands: its lease by our own clock, the waits that belong to it, and the way out when the dispatcher
 * stops.
 *
 * D8 A holder judges its lease by its own monotonic clock, counted from when it was offered the delivery or asked for
 *    the extension: after that it starts nothing and turns no failure into a verdict.
 */
import { LEASE_MS } from '../core/ports/event-log.ts';
import type { Delivery } from '../core/ports/event-log.ts';
import type { Clock } from '../core/ports/time.ts';

export class Hold {
  readonly delivery: Delivery;
  /** Of memory that it is counted with. */
  bytes: number;
  readonly #clock: Clock;
  readonly #stop: AbortSignal;
  #leaseUntilMs: number;
  #wake: (() => void) | undefined;

  constructor(options: { delivery: Delivery; bytes: number; clock: Clock; stop: AbortSignal }) {
    this.delivery = options.delivery;
    this.bytes = options.bytes;
    this.#clock = options.clock;
    this.#stop = options.stop;
    this.#leaseUntilMs = options.clock.monotonicMs() + LEASE_MS;
  }

  /** D8 */
  get isCurrent(): boolean {
    return this.#clock.monotonicMs() < this.#leaseUntilMs;
  }

  /** The dispatcher stops: no new attempt. */
  get isStopping(): boolean {
    return this.#stop.aborted;
  }

  extend(): void {
    if (!this.isCurrent) return;
    this.#leaseUntilMs = this.#clock.monotonicMs() + LEASE_MS;
    this.delivery.extend();
  }

  /** Resolves after the delay, or at once when the dispatcher stops. */
  wait(delayMs: number): Promise<void> {
    if (delayMs === 0 || this.isStopping) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#clock.after(delayMs, () => {
        this.#wake = undefined;
        resolve();
      });
      this.#wake = () => {
        timer.cancel();
        this.#wake = undefined;
        resolve();
      };
    });
  }

  /** Ends a wait. */
  wake(): void {
    this.#wake?.();
  }
}
