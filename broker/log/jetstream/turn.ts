/**
 * What came from the server in one turn of the event loop, and what is to be said to it, dealt with together at the end of that
 * turn: the client writes once instead of once for each message, which is a fifth of what an event costs, and the server reads
 * as seldom. Nobody waits longer for it: nothing that is waited for comes within a turn.
 *
 * It owns what is put off, and does it in order.
 */
import type { Clock } from '../../../core/ports/time.ts';

export class Turn {
  readonly #clock: Clock;
  #steps: (() => void)[] = [];
  #isEnding = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param step is called once, after those that were put off before it; it may not throw */
  atEnd(step: () => void): void {
    this.#steps.push(step);
    if (this.#steps.length === 1 && !this.#isEnding) this.#clock.soon(() => this.end());
  }

  /** Ends it now: all that is put off, and what these steps put off themselves. */
  end(): void {
    this.#isEnding = true;
    while (this.#steps.length > 0) {
      const steps = this.#steps;
      this.#steps = [];
      for (const step of steps) step();
    }
    this.#isEnding = false;
  }
}
