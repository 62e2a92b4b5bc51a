/**
 * Who still needs which payload, and the end of those that nobody needs.
 *
 * It owns the holders in memory: whoever has just received a payload, and records on their way to the disk. Which payloads
 * records name, the log knows (`ClaimLedger`); how they are kept, the store.
 *
 * - K12 A payload is removed once, when no holder has it and, durably, no record names it. Before that it stays, so that a
 *   crash may leave a payload too many, and never one too few.
 * - K22 Whether an append that failed has left a record decides the log, not the failure: nobody else removes a payload.
 * - K45 What no record names is swept away only if the payloads belong to this very log, and not if that would be more than
 *   half of many: then something is wrong, and a person decides.
 */
import { strict as assert } from 'node:assert';

import { codeOf, KnearError } from '../../core/errors.ts';
import { payloadId } from '../../core/event.ts';
import type { PayloadRef } from '../../core/event.ts';
import type { ClaimLedger, PayloadHolders } from '../../core/ports/claims.ts';
import type { PayloadStore, StoredPayload } from '../../core/ports/payload-store.ts';

/** Of fewer payloads, losing more than half is an ordinary morning. */
const DOUBTED_FROM = 1_000;
/** Claims that are read at a time. */
const PAGE = 1_000;

export interface SweepOptions {
  /** Removes nothing, and says what it would. */
  readonly isDryRun: boolean;
  /** Whatever it would remove. */
  readonly isForced: boolean;
}

export interface Swept {
  readonly seen: number;
  readonly orphans: number;
  readonly orphanBytes: number;
  readonly removed: number;
}

interface Usage {
  bytes: number;
  objects: number;
}

export class Holders implements PayloadHolders {
  readonly #store: Pick<PayloadStore, 'list' | 'remove'>;
  readonly #ledger: () => ClaimLedger;
  readonly #onFault: (error: unknown, id: string) => void;
  readonly #onGone: (payload: Pick<PayloadRef, 'tenant' | 'key'>) => void;
  readonly #held = new Map<string, number>();
  readonly #usage = new Map<string, Usage>();
  /** Their removal failed; tried again by `collect`. */
  readonly #leftovers = new Map<string, PayloadRef>();
  readonly #removals = new Set<Promise<void>>();
  removed = 0;

  constructor(options: {
    readonly store: Pick<PayloadStore, 'list' | 'remove'>;
    readonly ledger: () => ClaimLedger;
    readonly onFault: (error: unknown, id: string) => void;
    /** It is not to be had any more, even if somebody has its bytes. */
    readonly onGone: (payload: Pick<PayloadRef, 'tenant' | 'key'>) => void;
  }) {
    this.#store = options.store;
    this.#ledger = options.ledger;
    this.#onFault = options.onFault;
    this.#onGone = options.onGone;
  }

  /** Counts what an earlier process has left. */
  recover(): void {
    const ledger = this.#ledger();
    if (!ledger.isKept) return;
    let page = ledger.claims({ limit: PAGE });
    while (page.length > 0) {
      for (const { ref, redactedAtMs } of page) {
        this.count(ref, 1);
        // K43: a crash may have come between the record of it and the removal, or undone that.
        if (redactedAtMs !== undefined) void this.redact(ref).catch(this.#faultOf(ref));
      }
      const last = page.at(-1);
      page = last ? ledger.claims({ after: payloadId(last.ref), limit: PAGE }) : [];
    }
  }

  /** Bytes and number of the payloads of one namespace, or of all. */
  usage(tenant?: string): Readonly<Usage> {
    const all = tenant === undefined ? [...this.#usage.values()] : [this.#usage.get(tenant)];
    const sum = { bytes: 0, objects: 0 };
    for (const usage of all) {
      sum.bytes += usage?.bytes ?? 0;
      sum.objects += usage?.objects ?? 0;
    }
    return sum;
  }

  /** @param sign 1: it is in the store now; -1: not any more. */
  count({ tenant, sizeBytes }: PayloadRef, sign: 1 | -1): void {
    let usage = this.#usage.get(tenant);
    if (!usage) this.#usage.set(tenant, (usage = { bytes: 0, objects: 0 }));
    usage.bytes += sign * sizeBytes;
    usage.objects += sign;
    if (usage.objects === 0) this.#usage.delete(tenant);
  }

  hold(ref: PayloadRef): void {
    const id = payloadId(ref);
    this.#held.set(id, (this.#held.get(id) ?? 0) + 1);
  }

  release(ref: PayloadRef): void {
    const id = payloadId(ref);
    const holders = this.#held.get(id);
    assert(holders, `the payload ${id} is given back by somebody who does not hold it`);
    if (holders > 1) {
      this.#held.set(id, holders - 1);
      return;
    }
    this.#held.delete(id);
    if (!this.#isClaimed(id)) this.#remove(ref);
  }

  freed(ref: PayloadRef): void {
    if (!this.#held.has(payloadId(ref))) this.#remove(ref);
  }

  /** Tries again what could not be removed. */
  async collect(): Promise<void> {
    const refs = [...this.#leftovers.values()];
    this.#leftovers.clear();
    for (const ref of refs) this.#remove(ref);
    await this.whenIdle();
  }

  /** Resolves when what is to be removed by now is. */
  async whenIdle(): Promise<void> {
    while (this.#removals.size > 0) await Promise.all(this.#removals);
  }

  get leftovers(): number {
    return this.#leftovers.size;
  }

  /**
   * Removes what no record names and nobody holds (K45): left by a crash between a payload and its record, or between the
   * end of its record and its removal.
   * @throws KNEAR_PAYLOAD_SWEEP and what the store throws
   */
  async sweep({ isDryRun, isForced }: SweepOptions): Promise<Swept> {
    let [seen, orphans, orphanBytes, removed] = [0, 0, 0, 0];
    for await (const payload of this.#store.list()) {
      seen += 1;
      if (this.#isNeeded(payload)) continue;
      orphans += 1;
      orphanBytes += payload.sizeBytes;
    }
    if (isDryRun) return { seen, orphans, orphanBytes, removed };
    if (!isForced && seen > DOUBTED_FROM && orphans > seen / 2) throw doubtful(seen, orphans);
    for await (const payload of this.#store.list()) {
      if (this.#isNeeded(payload)) continue;
      await this.#store.remove(payload);
      this.#gone(payload);
      removed += 1;
    }
    return { seen, orphans, orphanBytes, removed };
  }

  /** Takes the object away, whoever needs it; the log remembers that (K43). */
  async redact(ref: PayloadRef): Promise<void> {
    this.#onGone(ref);
    await this.#store.remove(ref);
  }

  #faultOf(ref: PayloadRef): (error: unknown) => void {
    return (error) => this.#onFault(error, payloadId(ref));
  }

  #isNeeded(payload: StoredPayload): boolean {
    const id = payloadId(payload);
    return this.#held.has(id) || this.#isClaimed(id);
  }

  /** A log that cannot be asked may well name it: the next sweep decides. */
  #isClaimed(id: string): boolean {
    try {
      const ledger = this.#ledger();
      return !ledger.isKept || ledger.claim(id) !== undefined;
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      return true;
    }
  }

  #remove(ref: PayloadRef): void {
    const removal = this.#store
      .remove(ref)
      .then(
        () => {
          this.#gone(ref);
          this.count(ref, -1);
        },
        (error: unknown) => {
          this.#leftovers.set(payloadId(ref), ref);
          this.#onFault(error, payloadId(ref));
        },
      )
      .finally(() => {
        this.#removals.delete(removal);
      });
    this.#removals.add(removal);
  }

  #gone(payload: Pick<PayloadRef, 'tenant' | 'key'>): void {
    const id = payloadId(payload);
    const leftover = this.#leftovers.get(id);
    if (leftover) this.count(leftover, -1);
    this.#leftovers.delete(id);
    this.#onGone(payload);
    this.removed += 1;
  }
}

function doubtful(seen: number, orphans: number): KnearError {
  return new KnearError(
    'KNEAR_PAYLOAD_SWEEP',
    `no record names ${orphans} of ${seen} payloads: if the log is the right one, sweep with --force`,
  );
}
