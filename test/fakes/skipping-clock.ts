/**
 * Real time that a test may skip ahead, for what answers in its own time (a disk, a server) and yet waits for minutes. A
 * skip runs what becomes due on the way, in order; the rest is due that much earlier.
 */
import type { Clock, Timer } from '../../core/ports/time.ts';
import { systemClock } from '../../main/time.ts';

interface Waiting {
  readonly dueMs: number;
  readonly run: () => void;
  real: Timer;
}

export class SkippingClock implements Clock {
  #skippedMs = 0;
  readonly #waiting = new Set<Waiting>();

  nowMs(): number {
    return systemClock.nowMs() + this.#skippedMs;
  }

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.#skippedMs;
  }

  after(delayMs: number, run: () => void): Timer {
    const dueMs = this.monotonicMs() + Math.max(0, delayMs);
    const waiting: Waiting = { dueMs, run, real: this.#arm(dueMs, () => this.#run(waiting)) };
    this.#waiting.add(waiting);
    return {
      cancel: () => {
        waiting.real.cancel();
        this.#waiting.delete(waiting);
      },
    };
  }

  soon(run: () => void): void {
    systemClock.soon(run);
  }

  /** Time is `ms` later, at once. */
  skip(ms: number): void {
    const endMs = this.monotonicMs() + ms;
    for (let next = this.#next(endMs); next; next = this.#next(endMs)) {
      this.#skippedMs += Math.max(0, next.dueMs - this.monotonicMs());
      this.#run(next);
    }
    this.#skippedMs += Math.max(0, endMs - this.monotonicMs());
    for (const waiting of this.#waiting) {
      waiting.real.cancel();
      waiting.real = this.#arm(waiting.dueMs, () => this.#run(waiting));
    }
  }

  #arm(dueMs: number, run: () => void): Timer {
    return systemClock.after(Math.max(0, dueMs - this.monotonicMs()), run);
  }

  #run(waiting: Waiting): void {
    waiting.real.cancel();
    if (this.#waiting.delete(waiting)) waiting.run();
  }

  #next(byMs: number): Waiting | undefined {
    let earliest: Waiting | undefined;
    for (const waiting of this.#waiting) {
      if (waiting.dueMs <= byMs && (!earliest || waiting.dueMs < earliest.dueMs))
        earliest = waiting;
    }
    return earliest;
  }
}
