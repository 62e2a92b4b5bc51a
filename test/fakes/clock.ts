/**
 * Time that moves only when a test says so.
 *
 * Timers run in the order in which they are due, and those due together in the order in which they were set, so a run
 * is the same each time. Everything runs synchronously inside `advance` and `flush`; promises that a timer settles
 * continue when the test next awaits.
 */
import type { Clock, Timer } from '../../core/ports/time.ts';

interface Waiting {
  readonly dueMs: number;
  readonly run: () => void;
}

export class FakeClock implements Clock {
  #monotonicMs = 0;
  #wallMs: number;
  readonly #waiting = new Set<Waiting>();
  #soon: (() => void)[] = [];

  /** @param startMs wall time to begin with; the monotonic time begins at 0. */
  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#wallMs = startMs;
  }

  nowMs(): number {
    return this.#wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, run: () => void): Timer {
    const waiting = { dueMs: this.#monotonicMs + Math.max(0, delayMs), run };
    this.#waiting.add(waiting);
    return { cancel: () => void this.#waiting.delete(waiting) };
  }

  soon(run: () => void): void {
    this.#soon.push(run);
  }

  /** How many timers wait. */
  get timerCount(): number {
    return this.#waiting.size;
  }

  /** Runs what `soon` was given, and what that adds in turn. */
  flush(): void {
    while (this.#soon.length > 0) {
      const due = this.#soon;
      this.#soon = [];
      for (const run of due) run();
    }
  }

  /** Moves both times forward, running on the way whatever becomes due, timers set on the way included. */
  advance(ms: number): void {
    this.flush();
    const endMs = this.#monotonicMs + ms;
    for (let next = this.#next(endMs); next; next = this.#next(endMs)) {
      this.#waiting.delete(next);
      this.#moveTo(next.dueMs);
      next.run();
      this.flush();
    }
    this.#moveTo(endMs);
  }

  /** The wall clock is set; the monotonic time does not notice. */
  jump(ms: number): void {
    this.#wallMs += ms;
  }

  #moveTo(monotonicMs: number): void {
    this.#wallMs += monotonicMs - this.#monotonicMs;
    this.#monotonicMs = monotonicMs;
  }

  /** The earliest timer due by then. A Set keeps the order of insertion, so the first of equals was set first. */
  #next(byMs: number): Waiting | undefined {
    let earliest: Waiting | undefined;
    for (const waiting of this.#waiting) {
      if (waiting.dueMs <= byMs && (!earliest || waiting.dueMs < earliest.dueMs))
        earliest = waiting;
    }
    return earliest;
  }
}
