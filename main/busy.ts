/** Whether this process has hardly any idle time left: what decides that the door yields to deliveries. */
import { performance } from 'node:perf_hooks';

import type { Clock, Timer } from '../core/ports/time.ts';

/** Share of time the event loop was not waiting. Above it, requests read now only queue behind deliveries. */
const BUSY_UTILIZATION = 0.9;
/** Long enough to be more than one burst, short enough to yield before thousands of events have piled up. */
const PERIOD_MS = 50;

export interface Busy {
  isBusy(): boolean;
  /** How late the last timer was: what a turn of the event loop takes. */
  lateMs(): number;
  stop(): void;
}

export function watchBusy(clock: Clock): Busy {
  let last = performance.eventLoopUtilization();
  let isBusy = false;
  let lateMs = 0;
  let dueMs = clock.monotonicMs() + PERIOD_MS;
  let timer: Timer;
  const look = () => {
    const now = performance.eventLoopUtilization();
    isBusy = performance.eventLoopUtilization(now, last).utilization > BUSY_UTILIZATION;
    last = now;
    lateMs = Math.max(0, clock.monotonicMs() - dueMs);
    dueMs = clock.monotonicMs() + PERIOD_MS;
    timer = clock.after(PERIOD_MS, look);
  };
  timer = clock.after(PERIOD_MS, look);
  return {
    isBusy: () => isBusy,
    lateMs: () => lateMs,
    stop: () => {
      timer.cancel();
    },
  };
}
