/**
 * Work that is due later: rows of the `timer` table, in order of their time. When they are due, groups move them to
 * `ready`, so that a long queue of due Work of one egress never stands before the timers of another.
 */
import type { Clock, Timer } from '../../core/ports/time.ts';
import { parseTimerKey, timerKey } from './keys.ts';
import type { LogStore } from './store.ts';

/** As many as a group may have records. */
const BATCH = 1_000;
/** Wall time may jump: look again at least this often. */
const CHECK_MS = 30_000;

export interface DueTimer {
  readonly dueMs: number;
  readonly egress: number;
  readonly position: number;
}

export class DueTimers {
  readonly #store: LogStore;
  readonly #clock: Clock;
  /** Puts the timers into a group; `moved` or `undone` is called when that is decided. */
  readonly #move: (timers: readonly DueTimer[]) => void;
  #timer: Timer | undefined;
  #armedForMs = Number.POSITIVE_INFINITY;
  /** Moved by a group that is not durable: the table still shows them. */
  #isMoving = false;
  #isStopped = false;

  constructor(options: {
    store: LogStore;
    clock: Clock;
    move: (timers: readonly DueTimer[]) => void;
  }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#move = options.move;
  }

  /** Something is due at this wall time. */
  arm(dueAtMs: number): void {
    if (dueAtMs >= this.#armedForMs || this.#isStopped) return;
    this.#timer?.cancel();
    this.#armedForMs = dueAtMs;
    const delayMs = Math.min(Math.max(dueAtMs - this.#clock.nowMs(), 0), CHECK_MS);
    this.#timer = this.#clock.after(delayMs, () => {
      this.#armedForMs = Number.POSITIVE_INFINITY;
      this.check();
    });
  }

  /** The group that moved timers is durable. */
  moved(): void {
    this.#isMoving = false;
    this.check();
  }

  /** It failed: they are due as before. */
  undone(): void {
    this.#isMoving = false;
  }

  check(): void {
    if (this.#isMoving || this.#isStopped) return;
    const nowMs = this.#clock.nowMs();
    const timers = this.#read();
    if (!timers) {
      this.arm(nowMs + CHECK_MS);
      return;
    }
    const due = timers.filter(({ dueMs }) => dueMs <= nowMs);
    const next = timers[due.length];
    if (due.length > 0) {
      this.#isMoving = true;
      this.#move(due);
    } else if (next) {
      this.arm(next.dueMs);
    }
  }

  /** `undefined`: the table cannot be read now; whoever reads the rest of the log will say so. */
  #read(): DueTimer[] | undefined {
    try {
      const rows = this.#store.range('timer', {
        from: timerKey(0, 0, 0),
        to: timerKey(Number.MAX_SAFE_INTEGER, 0, 0),
        limit: BATCH,
      });
      return rows.map(({ key }) => parseTimerKey(key));
    } catch {
      return undefined;
    }
  }

  stop(): void {
    this.#timer?.cancel();
    this.#isStopped = true;
  }
}
