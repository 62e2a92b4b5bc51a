/**
 * A FakeClock for code that is full of promises: time goes from timer to timer, and between two of them everything that
 * was settled goes on. So what happens in a test happens at the very millisecond at which it is due.
 *
 * `freeze` is what SIGSTOP or a laptop's lid does: time goes on while the process stands still, and its timers are late.
 */
import type { Timer } from '../../core/ports/time.ts';
import { FakeClock } from './clock.ts';

export class SteppedClock extends FakeClock {
  readonly #due = new Set<{ readonly atMs: number }>();
  #hasSoon = false;
  #frozenMs = 0;

  override nowMs(): number {
    return super.nowMs() + this.#frozenMs;
  }

  override monotonicMs(): number {
    return super.monotonicMs() + this.#frozenMs;
  }

  override after(delayMs: number, run: () => void): Timer {
    const due = { atMs: super.monotonicMs() + Math.max(0, delayMs) };
    this.#due.add(due);
    const timer = super.after(delayMs, () => {
      this.#due.delete(due);
      run();
    });
    return {
      cancel: () => {
        this.#due.delete(due);
        timer.cancel();
      },
    };
  }

  override soon(run: () => void): void {
    this.#hasSoon = true;
    super.soon(run);
  }

  /** Time goes on by this much at once; no timer notices, so each is late by as much. */
  freeze(ms: number): void {
    this.#frozenMs += ms;
  }

  /** Runs what is due now, timers apart, until nothing moves any more. */
  async calm(): Promise<void> {
    do {
      this.#hasSoon = false;
      this.flush();
      // Once around the event loop: every promise that could go on has done so.
      await new Promise((resolve) => setImmediate(resolve));
    } while (this.#hasSoon);
  }

  /** Lets time pass, with a calm at each instant at which a timer runs. */
  async pass(ms: number): Promise<void> {
    await this.calm();
    const endMs = super.monotonicMs() + ms;
    for (let nextMs = this.#nextMs(); nextMs <= endMs; nextMs = this.#nextMs()) {
      this.advance(nextMs - super.monotonicMs());
      await this.calm();
    }
    this.advance(endMs - super.monotonicMs());
    await this.calm();
  }

  #nextMs(): number {
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { atMs } of this.#due) nextMs = Math.min(nextMs, atMs);
    return nextMs;
  }
}
