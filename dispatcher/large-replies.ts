/** Large data of replies that a run was given: ours until the log has taken it over, or the run is over. */
import { claimOf, type CloudEvent, type PayloadRef } from '../core/event.ts';
import type { Payloads } from '../core/ports/payloads.ts';

export class LargeReplies {
  readonly #payloads: Pick<Payloads, 'release'>;
  #refs: PayloadRef[] = [];

  constructor(payloads: Pick<Payloads, 'release'>) {
    this.#payloads = payloads;
  }

  keep(reply: CloudEvent): void {
    const ref = claimOf(reply);
    if (ref) this.#refs.push(ref);
  }

  /** All of them, but for that of an event that goes on here. */
  release(goesOn?: CloudEvent): void {
    const kept = goesOn && claimOf(goesOn);
    for (const ref of this.#refs) if (ref !== kept) this.#payloads.release(ref);
    this.#refs = this.#refs.filter((ref) => ref === kept);
  }
}
