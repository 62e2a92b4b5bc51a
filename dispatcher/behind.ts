/** How long the oldest event has been waiting in the log for one egress, as far as the loop that pulls can tell. */
import type { Delivery } from '../core/ports/event-log.ts';
import type { Clock } from '../core/ports/time.ts';

export class Behind {
  /** Of what was pulled last: the log gives the oldest first. */
  #waitedMs = 0;
  /** Monotonic; since when something was seen to wait and nothing has been given. */
  #sinceMs: number | undefined;

  /** A pull has brought these. */
  served(deliveries: readonly Delivery[], clock: Clock): void {
    this.#sinceMs = undefined;
    for (const { lease, attempt, phase, acceptedAtMs } of deliveries) {
      // What was put off, or offered before, has waited for other reasons.
      const isFresh = lease === 1 && attempt === 0 && phase === 'deliver';
      if (isFresh) this.#waitedMs = clock.nowMs() - acceptedAtMs;
    }
  }

  /** @param backlog what waits now */
  ms(backlog: number, nowMs: number): number {
    if (backlog <= 0) {
      this.#sinceMs = undefined;
      this.#waitedMs = 0;
      return 0;
    }
    this.#sinceMs ??= nowMs;
    return Math.max(this.#waitedMs, nowMs - this.#sinceMs);
  }
}
