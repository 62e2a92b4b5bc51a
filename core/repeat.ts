import type { Clock, Timer } from './ports/time.ts';

/** Runs it now, and again each time so long after it has ended, however it ended; until the result is cancelled. */
export function repeat(clock: Clock, everyMs: number, run: () => Promise<void> | void): Timer {
  let timer: Timer | undefined;
  let isOver = false;
  const go = async (): Promise<void> => {
    try {
      await run();
    } catch {
      // What could not be done now is done the next time.
    }
    if (!isOver) timer = clock.after(everyMs, () => void go());
  };
  void go();
  return {
    cancel: () => {
      isOver = true;
      timer?.cancel();
    },
  };
}

/** Resolves after this time, or when the signal aborts. */
export function waitAWhile(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      timer.cancel();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = clock.after(signal.aborted ? 0 : ms, end);
    signal.addEventListener('abort', end);
  });
}
