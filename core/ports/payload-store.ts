/**
 * Where large payloads are kept, as an adapter sees it: files, memory, later S3. `test/conformance/payload-store.ts` is
 * the suite that each adapter passes. Who needs a payload and when it may go is not its business (`broker/payload/`).
 *
 * Every operation ends as it says or throws one of
 *  - KNEAR_PAYLOAD_MISSING: the store is there, the payload is not. Never said of a store that could not be asked
 *  - KNEAR_PAYLOAD_STORE_FULL: no space, or none within its bound
 *  - KNEAR_PAYLOAD_STORE_DENIED: rights or credentials are missing
 *  - KNEAR_PAYLOAD_STORE_AWAY: anything else; trying again may help
 * with the cause.
 */
import type { Readable } from 'node:stream';

import type { PayloadRef } from '../event.ts';

export interface PayloadStore {
  /** What a PayloadRef calls it. */
  readonly name: string;

  /**
   * Keeps what the spool file holds, under the name of the ref. Durable when it resolves; then the spool file may be gone
   * (a store of files takes it over). Written once: the same ref again is no error if the payload is there.
   * Rejected: nothing can be said of the payload, and the spool file is gone or will be discarded by its owner.
   */
  put(ref: PayloadRef, spool: SpoolFile): Promise<void>;

  /**
   * The bytes of the payload as they are, in pieces of at most 256 KiB, from the first or from `range`. Neither its size nor its
   * digest is checked. Rejects when it is missing, never an empty stream; what breaks later breaks the stream, with the
   * same codes. Destroying the stream gives back what it holds.
   * @param options.range inclusive, as in HTTP; within the payload.
   */
  open(
    ref: PayloadRef,
    options?: { readonly range?: { readonly first: number; readonly last: number } },
  ): Promise<Readable>;

  /** Removes it. One that is not there is no error. Space is free when it resolves. */
  remove(payload: Pick<PayloadRef, 'tenant' | 'key'>): Promise<void>;

  /** All payloads, in no order; one that comes or goes meanwhile may be missing. Files that are not ours are left out. */
  list(): AsyncIterable<StoredPayload>;

  /**
   * Says whose payloads these are (K45). With `mayAdopt`, makes the store `id`'s if it is nobody's and nothing is in it.
   * `undefined`: nobody's.
   */
  identity(id: string, options: { readonly mayAdopt: boolean }): Promise<string | undefined>;

  close(): Promise<void>;
}

/** A complete file in the spool folder, written but not yet durable. */
export interface SpoolFile {
  readonly path: string;
  readonly sizeBytes: number;
}

export interface StoredPayload {
  readonly tenant: string;
  readonly key: string;
  readonly sizeBytes: number;
  /** Wall time of its last change. */
  readonly modifiedMs: number;
}
