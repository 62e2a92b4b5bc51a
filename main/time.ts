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

/** Resolves after this time. Unlike a timer of the clock it keeps the process alive: commands have nothing else to do. */
export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, delayMs);
  });
}

/** A name that nobody else has: a random UUID (RFC 9562, version 4). */
export function randomId(): string {
  return crypto.randomUUID();
}

/** Timers of the clock do not keep the process alive; this does, until it is called off. */
export function stayAlive(): () => void {
  const timer = setInterval(() => undefined, 2 ** 30);
  return () => {
    clearInterval(timer);
  };
}
