/**
 * Open deliveries of the whole dispatcher, bounded by count and bytes, so that memory does not depend on how many
 * egresses there are or how slow their subscribers. Who finds no room leaves its work in the log and waits here, in turn.
 */

/** Waiters are woken when this share, or less, is in use. */
const ROOMY_SHARE = 0.9;

export interface BudgetLimits {
  readonly countMax: number;
  readonly bytesMax: number;
}

export class Budget {
  readonly #limits: BudgetLimits;
  #count = 0;
  #bytes = 0;
  #waiters: (() => void)[] = [];

  constructor(limits: BudgetLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
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

  give(bytes: number): void {
    this.#count -= 1;
    this.#bytes -= bytes;
    if (this.#waiters.length > 0 && this.#isRoomy()) this.wakeAll();
  }

  /**
   * Resolves when there is room for some. All who wait are woken together, so that none depends on another to use its
   * turn, and not before a tenth of the whole is free, so that they are not woken for a single place each time.
   */
  whenFree(): Promise<void> {
    if (this.free > 0 && this.#waiters.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
    });
  }

  /** Wakes everybody, in the order in which they came. */
  wakeAll(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }

  #isRoomy(): boolean {
    const { countMax, bytesMax } = this.#limits;
    const isBelow = this.#count <= ROOMY_SHARE * countMax && this.#bytes <= ROOMY_SHARE * bytesMax;
    return isBelow || this.#count === 0;
  }
}
