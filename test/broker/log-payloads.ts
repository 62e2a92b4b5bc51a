/**
 * The payloads of a model's run: what there is outlives the process, and the real `Holders` of each process decide what goes.
 * Nothing is lost here, so whatever is removed has to be there; what is redacted stays in the books until its last record goes.
 */
import { strict as assert } from 'node:assert';

import type { GroupedLog } from '../../broker/log/grouped-log.ts';
import { Holders } from '../../broker/payload/holders.ts';
import { claimOf, payloadId } from '../../core/event.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import type { PayloadStore, StoredPayload } from '../../core/ports/payload-store.ts';

export class ModelPayloads {
  readonly objects = new Map<string, PayloadRef>();
  readonly #made = new Set<string>();
  #holders = this.#newHolders(() => undefined);

  /** Opens the log of the next process, with holders of its own. */
  open<Opened extends { readonly log: GroupedLog }>(open: (holders: Holders) => Opened): Opened {
    let opened: Opened | undefined;
    this.#holders = this.#newHolders(() => opened?.log);
    return (opened = open(this.#holders));
  }

  /** After a start: what no record names goes, the rest is counted. */
  async recover(): Promise<void> {
    this.#holders.recover();
    await this.#holders.sweep({ isDryRun: false, isForced: false });
    this.checkCounted();
  }

  /**
   * Whoever makes events with new payloads puts them before, and holds them until the log has answered.
   * @returns what lets go of them.
   */
  put(events: readonly CloudEvent[]): () => void {
    const holders = this.#holders;
    const refs: PayloadRef[] = [];
    for (const event of events) {
      const ref = claimOf(event);
      if (!ref || this.#made.has(payloadId(ref))) continue;
      refs.push(ref);
      this.#made.add(payloadId(ref));
      this.objects.set(payloadId(ref), ref);
      holders.hold(ref);
      holders.count(ref, 1);
    }
    return () => {
      for (const ref of refs) holders.release(ref);
    };
  }

  /** What is counted is there; nothing waits to be removed. */
  checkCounted(): void {
    const bytes = [...this.objects.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    assert.deepEqual(this.#holders.usage(), { bytes, objects: this.objects.size });
    assert.equal(this.#holders.leftovers, 0);
  }

  #newHolders(log: () => GroupedLog | undefined): Holders {
    const ledger = () => {
      const own = log();
      assert(own, 'the log is asked before it is there');
      return own.claims;
    };
    const store: Pick<PayloadStore, 'list' | 'remove'> = {
      list: () => this.#list(),
      remove: async (payload) => {
        const id = payloadId(payload);
        if (ledger().claim(id)?.redactedAtMs) return;
        assert(this.objects.delete(id), `${id} is removed twice`);
      },
    };
    return new Holders({
      store,
      ledger,
      onFault: (error) => {
        throw error;
      },
      onGone: () => undefined,
    });
  }

  async *#list(): AsyncGenerator<StoredPayload, void, undefined> {
    for (const { tenant, key, sizeBytes, createdMs } of this.objects.values()) {
      yield { tenant, key, sizeBytes, modifiedMs: createdMs };
    }
  }
}
