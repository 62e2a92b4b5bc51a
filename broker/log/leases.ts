/** Which rows are under a lease, and the one timer that ends those that ran out (L5: memory only). */
import { LEASE_MS } from '../../core/ports/event-log.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import type { Row } from './entry.ts';

/** A lease ends at most this late. */
const CHECK_MS = 1_000;

export class Leases {
  readonly #clock: Clock;
  readonly #ended: (row: Row) => void;
  readonly #rows = new Set<Row>();
  #timer: Timer | undefined;

  constructor(clock: Clock, ended: (row: Row) => void) {
    this.#clock = clock;
    this.#ended = ended;
  }

  start(row: Row): void {
    row.leaseUntilMs = this.#clock.monotonicMs() + LEASE_MS;
    this.#rows.add(row);
    this.#timer ??= this.#clock.after(CHECK_MS, () => {
      this.#check();
    });
  }

  end(row: Row): void {
    this.#rows.delete(row);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#rows.clear();
  }

  #check(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.monotonicMs();
    const over = [...this.#rows].filter((row) => row.leaseUntilMs <= nowMs);
    for (const row of over) {
      this.#rows.delete(row);
      this.#ended(row);
    }
    if (this.#rows.size > 0) {
      this.#timer ??= this.#clock.after(CHECK_MS, () => {
        this.#check();
      });
    }
  }
}
