/**
 * Time and chance. Nothing else in knear may read a clock, set a timer or draw a number, so that a seeded simulation
 * can drive everything; `main/time.ts` is the real thing.
 */

export interface Clock {
  /** Wall time, Unix milliseconds: for what is stored or shown. It may jump. */
  nowMs(): number;
  /** Monotonic milliseconds (with fractions) from an arbitrary start: for leases, waits and durations. */
  monotonicMs(): number;
  /** Calls `run` once, no earlier than after `delayMs`. The timer alone does not keep the process alive. */
  after(delayMs: number, run: () => void): Timer;
  /** Calls `run` after the work that is already due in this turn of the event loop. */
  soon(run: () => void): void;
}

export interface Timer {
  cancel(): void;
}

export interface Random {
  /** A number in [0, 1). */
  next(): number;
}
