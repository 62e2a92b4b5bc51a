/**
 * Payloads in memory, so that what was just received, or is wanted by many at once, is not read again for each of them.
 *
 * It owns how much memory that may take: `maxBytes` for what is kept, as much again for what is lent (a slow subscriber
 * holds its bytes whatever becomes of the cache) and for what is being read. Past that, payloads are streamed.
 */
import { LRUCache } from 'lru-cache';

import { payloadId } from '../../core/event.ts';
import type { PayloadRef } from '../../core/event.ts';
import type { LentBytes } from '../../core/ports/payloads.ts';

/** Three of the largest fit in, so that one event does not push out all others. */
const LARGEST_SHARE = 1 / 3;

interface Loan {
  readonly bytes: Uint8Array;
  borrowers: number;
}

export class PayloadCache {
  readonly #maxBytes: number;
  readonly #kept: LRUCache<string, Uint8Array> | undefined;
  readonly #loans = new Map<string, Loan>();
  readonly #flights = new Map<string, Promise<Uint8Array>>();
  #lentBytes = 0;
  #readingBytes = 0;
  hits = 0;
  misses = 0;

  /** @param maxBytes 0: nothing is kept. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    if (maxBytes > 0) {
      const sizeCalculation = ({ byteLength }: Uint8Array) => Math.max(1, byteLength);
      this.#kept = new LRUCache({ maxSize: maxBytes, sizeCalculation });
    }
  }

  /** Bytes in memory, lent ones included. */
  get bytes(): number {
    return (this.#kept?.calculatedSize ?? 0) + this.#lentBytes + this.#readingBytes;
  }

  /** The largest payload that it keeps. */
  get largestBytes(): number {
    return this.#maxBytes * LARGEST_SHARE;
  }

  keep(ref: PayloadRef, bytes: Uint8Array): void {
    if (bytes.byteLength <= this.largestBytes) this.#kept?.set(payloadId(ref), bytes);
  }

  /** It is gone (K43): from now on nobody gets it here, neither from who has it nor from who is reading it. */
  forget(ref: Pick<PayloadRef, 'tenant' | 'key'>): void {
    const id = payloadId(ref);
    this.#kept?.delete(id);
    this.#loans.delete(id);
    this.#flights.delete(id);
  }

  lend(ref: PayloadRef): LentBytes | undefined {
    const id = payloadId(ref);
    const loan = this.#loans.get(id) ?? this.#open(id);
    if (!loan) {
      this.misses += 1;
      return undefined;
    }
    this.hits += 1;
    loan.borrowers += 1;
    return { bytes: loan.bytes, giveBack: () => this.#giveBack(id, loan) };
  }

  /**
   * Reads it whole, once for all who ask meanwhile (K36), and keeps it. `undefined`: it is too large, or too much is being
   * read already.
   */
  fill(ref: PayloadRef, read: () => Promise<Uint8Array>): Promise<Uint8Array> | undefined {
    const id = payloadId(ref);
    const flight = this.#flights.get(id);
    if (flight) return flight;
    if (this.#kept?.has(id)) return undefined;
    const { sizeBytes } = ref;
    const isTooMuch = this.#readingBytes + sizeBytes > this.#maxBytes;
    if (sizeBytes > this.largestBytes || isTooMuch) return undefined;
    this.#readingBytes += sizeBytes;
    const started = read()
      .then((bytes) => {
        if (this.#flights.get(id) === started) this.keep(ref, bytes);
        return bytes;
      })
      .finally(() => {
        this.#readingBytes -= sizeBytes;
        if (this.#flights.get(id) === started) this.#flights.delete(id);
      });
    this.#flights.set(id, started);
    return started;
  }

  #open(id: string): Loan | undefined {
    const bytes = this.#kept?.get(id);
    if (!bytes || this.#lentBytes + bytes.byteLength > this.#maxBytes) return undefined;
    const loan = { bytes, borrowers: 0 };
    this.#loans.set(id, loan);
    this.#lentBytes += bytes.byteLength;
    return loan;
  }

  #giveBack(id: string, loan: Loan): void {
    loan.borrowers -= 1;
    if (loan.borrowers > 0) return;
    if (this.#loans.get(id) === loan) this.#loans.delete(id);
    this.#lentBytes -= loan.bytes.byteLength;
  }
}
