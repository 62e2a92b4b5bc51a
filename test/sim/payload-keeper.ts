/**
 * What `broker/payload/payloads.ts` does for one process, without files: the real `Holders` over the simulated store, asked in
 * the same order. A payload is held, then put; whoever got it lets go when the log answers for it, or nobody will.
 */
import { codeOf } from '../../core/errors.ts';
import { payloadId } from '../../core/event.ts';
import type { PayloadRef } from '../../core/event.ts';
import type { ClaimLedger } from '../../core/ports/claims.ts';
import { Holders } from '../../broker/payload/holders.ts';
import type { MountedPayloads, SimulatedPayloads, Spoilt } from './payload-disk.ts';
import type { ProcessClock } from './timeline.ts';

/** The sweep of the start comes while producers send already. */
const SWEEP_MS = 5;
const COLLECT_MS = 5_000;

export class SimulatedKeeper {
  readonly holders: Holders;
  readonly #payloads: SimulatedPayloads;
  readonly #store: MountedPayloads;
  readonly #clock: ProcessClock;
  readonly #ledger: () => ClaimLedger;
  readonly #onBug: (error: unknown) => void;

  constructor(
    payloads: SimulatedPayloads,
    {
      clock,
      ledger,
      onBug,
    }: {
      readonly clock: ProcessClock;
      readonly ledger: () => ClaimLedger;
      readonly onBug: (error: unknown) => void;
    },
  ) {
    this.#payloads = payloads;
    this.#clock = clock;
    this.#ledger = ledger;
    this.#onBug = onBug;
    this.#store = payloads.mount(clock);
    this.holders = new Holders({
      store: this.#store,
      ledger,
      onFault: () => (payloads.failedRemovals += 1),
      onGone: () => undefined,
    });
  }

  start(): void {
    this.holders.recover();
    const { random } = this.#payloads;
    this.#clock.after(random.between(0, SWEEP_MS), () => this.#round(() => this.sweep()), random);
  }

  /** @throws KNEAR_PAYLOAD_STORE_AWAY: nothing can be said of the payload */
  async keep(): Promise<PayloadRef> {
    const ref = this.#payloads.newRef(this.#clock.nowMs());
    this.holders.hold(ref);
    this.holders.count(ref, 1);
    try {
      await this.#store.put(ref);
    } catch (error) {
      this.holders.release(ref);
      throw error;
    }
    return ref;
  }

  release(ref: PayloadRef): void {
    this.holders.release(ref);
  }

  /** What cannot be listed or removed, the next one will find. */
  async sweep(): Promise<void> {
    await this.holders.collect();
    await this.#sweep({ isForced: false });
  }

  /** The log is the right one, however little it names. */
  async #sweep({ isForced }: { readonly isForced: boolean }): Promise<void> {
    try {
      await this.holders.sweep({ isDryRun: false, isForced });
    } catch (error) {
      if (codeOf(error) === 'KNEAR_PAYLOAD_SWEEP') await this.#sweep({ isForced: true });
      else if (codeOf(error) !== 'KNEAR_PAYLOAD_STORE_AWAY') throw error;
    }
  }

  /** Why the payload cannot be read, if so. */
  unreadable(ref: PayloadRef): Spoilt | 'KNEAR_PAYLOAD_STORE_AWAY' | undefined {
    if (this.#ledger().claim(payloadId(ref))?.redactedAtMs) return 'KNEAR_PAYLOAD_REDACTED';
    switch (this.#payloads.look(ref, this.#clock.monotonicMs())) {
      case 'there':
        return undefined;
      case 'away':
        return 'KNEAR_PAYLOAD_STORE_AWAY';
      case 'altered':
        return 'KNEAR_PAYLOAD_CORRUPT';
      case 'missing':
        return 'KNEAR_PAYLOAD_MISSING';
    }
  }

  /** Somebody has the data of one of the events taken away; nothing, when that does not work now. */
  async redact(): Promise<void> {
    const claims = this.#ledger().claims({ limit: 1_000 });
    if (claims.length === 0) return;
    const { ref } = this.#payloads.random.pick(claims);
    try {
      this.#payloads.tell(ref, 'KNEAR_PAYLOAD_REDACTED');
      if (await this.#ledger().redact(payloadId(ref))) await this.holders.redact(ref);
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
    }
  }

  crash(): void {
    this.#store.crash();
  }

  #round(work: () => Promise<void>): void {
    work().then(() => {
      const next = () => this.#round(() => this.holders.collect());
      this.#clock.after(COLLECT_MS, next, this.#payloads.random);
    }, this.#onBug);
  }
}
