/**
 * Open deliveries of the whole dispatcher, bounded by count and bytes, so that memory does not depend on how many
 * egresses there are or how slow their subscribers. Who finds no room leaves its work in the log and waits here, in turn.
 */

import type { Clock } from '../core/ports/time.ts';

export interface BudgetLimits {
  readonly countMax: number;
  readonly bytesMax: number;
}

export class Budget {
  readonly #limits: BudgetLimits;
  readonly #clock: Pick<Clock, 'soon'>;
  #count = 0;
  #bytes = 0;
  #waiters: (() => void)[] = [];
  #isPassingOn = false;

  constructor(limits: BudgetLimits, clock: Pick<Clock, 'soon'>) {
    this.#limits = limits;
    this.#clock = clock;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** More than half is in use: what only waits should not wait here. */
  get isTight(): boolean {
    return this.#count > this.#limits.countMax / 2 || this.#bytes > this.#limits.bytesMax / 2;
  }

  /** How many more deliveries may be opened, as far as the count goes. */
  get free(): number {
    return this.#bytes >= this.#limits.bytesMax ? 0 : this.#limits.countMax - this.#count;
  }

  /** Takes room for one delivery; false when there is none. The last one in may exceed the bytes, or it never could. */
  take(bytes: number): boolean {
    if (this.free <= 0) return false;
    this.#count += 1;
    this.#bytes += bytes;
    return true;
  }

  /** What is open needs so much more, or less. */
  resize(bytes: number): void {
    this.#bytes += bytes;
  }

  give(bytes: number): void {
    this.#count -= 1;
    this.#bytes -= bytes;
    if (this.#waiters.length === 0 || this.#isPassingOn) return;
    this.#isPassingOn = true;
    // What ends in one turn of the event loop is given out together: a pull a place would cost more than the delivery.
    this.#clock.soon(() => {
      this.#isPassingOn = false;
      this.passOn();
    });
  }

  /** Resolves when there may be room. Whoever was woken and leaves room calls `passOn`, so that nobody waits beside it. */
  whenFree(): Promise<void> {
    if (this.free > 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
    });
  }

  /** Wakes who has waited longest, if there is room. */
  passOn(): void {
    if (this.#waiters.length > 0 && this.free > 0) this.#waiters.shift()?.();
  }

  /** Wakes everybody: the dispatcher stops. */
  wakeAll(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }
}
