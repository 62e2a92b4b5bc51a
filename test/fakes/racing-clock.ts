/** Real time, but faster: for what waits for a server whose time cannot be moved. */
import type { Clock, Timer } from '../../core/ports/time.ts';
import { systemClock } from '../../main/time.ts';

export class RacingClock implements Clock {
  readonly #pace: number;
  readonly #startWallMs = systemClock.nowMs();
  readonly #startMs = systemClock.monotonicMs();

  /** @param pace its milliseconds in a real one */
  constructor(pace: number) {
    this.#pace = pace;
  }

  nowMs(): number {
    return this.#startWallMs + Math.floor(this.monotonicMs());
  }

  monotonicMs(): number {
    return (systemClock.monotonicMs() - this.#startMs) * this.#pace;
  }

  /** Real wall time when this clock's is `atMs`. */
  realWallMs(atMs: number): number {
    return systemClock.nowMs() + (atMs - this.nowMs()) / this.#pace;
  }

  after(delayMs: number, run: () => void): Timer {
    return systemClock.after(delayMs / this.#pace, run);
  }

  soon(run: () => void): void {
    systemClock.soon(run);
  }
}
