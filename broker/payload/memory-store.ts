/** A PayloadStore in plain memory: for tests and the simulator, and the simplest reading of the contract. */
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';

import { KnearError } from '../../core/errors.ts';
import { payloadId } from '../../core/event.ts';
import type { PayloadRef } from '../../core/event.ts';
import type { PayloadStore, SpoolFile, StoredPayload } from '../../core/ports/payload-store.ts';
import type { Clock } from '../../core/ports/time.ts';
import { diskFault } from './disk-fault.ts';
import { placeOf } from './payload-place.ts';

const PIECE_BYTES = 256 * 1024;

type Payload = Pick<PayloadRef, 'tenant' | 'key'>;

export class MemoryPayloadStore implements PayloadStore {
  readonly name = 'memory';
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #payloads = new Map<string, StoredPayload & { readonly bytes: Uint8Array }>();
  #identity: string | undefined;

  constructor({ clock }: { readonly clock: Pick<Clock, 'nowMs'> }) {
    this.#clock = clock;
  }

  async put(ref: PayloadRef, spool: SpoolFile): Promise<void> {
    const id = idOf(ref);
    if (this.#payloads.has(id)) return;
    const bytes = await readFile(spool.path).catch((error: unknown) => {
      throw diskFault(error, `keeping the payload ${id}`);
    });
    const { tenant, key } = ref;
    const modifiedMs = this.#clock.nowMs();
    this.#payloads.set(id, { tenant, key, sizeBytes: bytes.byteLength, modifiedMs, bytes });
  }

  async open(
    ref: PayloadRef,
    { range }: { readonly range?: { readonly first: number; readonly last: number } } = {},
  ): Promise<Readable> {
    const id = idOf(ref);
    const found = this.#payloads.get(id);
    if (!found)
      throw new KnearError('KNEAR_PAYLOAD_MISSING', `there is no payload ${id} in memory`);
    const bytes = range ? found.bytes.subarray(range.first, range.last + 1) : found.bytes;
    return Readable.from(piecesOf(bytes), { objectMode: false, highWaterMark: PIECE_BYTES });
  }

  async remove(payload: Payload): Promise<void> {
    this.#payloads.delete(idOf(payload));
  }

  async *list(): AsyncGenerator<StoredPayload, void, undefined> {
    for (const { tenant, key, sizeBytes, modifiedMs } of this.#payloads.values()) {
      yield { tenant, key, sizeBytes, modifiedMs };
    }
  }

  async identity(
    id: string,
    { mayAdopt }: { readonly mayAdopt: boolean },
  ): Promise<string | undefined> {
    if (mayAdopt && this.#payloads.size === 0) this.#identity ??= id;
    return this.#identity;
  }

  async close(): Promise<void> {}
}

function idOf(payload: Payload): string {
  placeOf(payload);
  return payloadId(payload);
}

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let first = 0; first < bytes.byteLength; first += PIECE_BYTES) {
    yield bytes.subarray(first, first + PIECE_BYTES);
  }
}
