/** Real time and chance: the only file that touches them. */
import type { Clock, Random } from '../core/ports/time.ts';

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    timer.unref();
    return {
      cancel: () => {
        clearTimeout(timer);
      },
    };
  },
  soon(run) {
    setImmediate(run);
  },
};

export const systemRandom: Random = { next: () => Math.random() };
