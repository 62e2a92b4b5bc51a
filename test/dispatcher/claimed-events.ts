/**
 * Claimed events for the tests of the HTTP deliverer: data that came in as at the door, through the spool into a real store,
 * and what is still open for it afterwards.
 */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { FilePayloadStore } from '../../broker/payload/file-store.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import { payloadId } from '../../core/event.ts';
import type { PayloadStore } from '../../core/ports/payload-store.ts';
import type { PayloadFacts, Payloads } from '../../core/ports/payloads.ts';
import { systemClock } from '../../main/time.ts';
import { openedBelow } from '../broker/payload-disk.ts';
import { eventually } from '../e2e/eventually.ts';
import { openTestPayloads } from '../fakes/payloads.ts';
import type { TestPayloads, TestPayloadsOptions } from '../fakes/payloads.ts';
import { event } from './deliver-subscribers.ts';

export interface ClaimedEvent extends CloudEvent {
  readonly data: PayloadRef;
}

/** What a socket brings at a time. */
const PIECE_BYTES = 64 * 1024;

export interface ClaimedOptions {
  readonly facts?: PayloadFacts;
  /** Its datacontenttype. */
  readonly type?: string;
}

/** The event of `deliver-subscribers.ts`, with these bytes as its claimed data. */
export function claimed(
  payloads: Payloads,
  bytes: Uint8Array,
  options?: ClaimedOptions,
): Promise<ClaimedEvent> {
  return claimedPieces(payloads, piecesOf(bytes), options);
}

export async function claimedPieces(
  payloads: Payloads,
  pieces: Iterable<Uint8Array>,
  { facts = {}, type = 'application/json' }: ClaimedOptions = {},
): Promise<ClaimedEvent> {
  const intake = payloads.receive({ tenant: 'default', heldMaxBytes: 0 });
  for (const piece of pieces) await intake.write(piece);
  const data = await intake.finish(0, facts);
  if (data === undefined || ArrayBuffer.isView(data)) throw new Error('it was not claimed');
  const attributes = new Map([...event.attributes, ['datacontenttype', type] as const]);
  return { ...event, attributes, data };
}

/** No two pieces of it are equal, and it is no text. */
export function bytesOf(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes, '\xff a piece of a payload \0', 'latin1');
  let index = 0;
  for (const piece of piecesOf(bytes)) {
    if (piece.byteLength >= 4) bytes.writeUInt32LE(index, index * PIECE_BYTES);
    index += 1;
  }
  return bytes;
}

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let first = 0; first < bytes.byteLength; first += PIECE_BYTES) {
    yield bytes.subarray(first, first + PIECE_BYTES);
  }
}

export const sha256Of = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('base64url');

/** Where the file of a payload is, below the folder of `openFilePayloads`. */
export function fileOf({ folder }: TestPayloads, ref: PayloadRef): string {
  return path.join(folder, 'store', payloadId(ref));
}

/** Payloads in files. Nothing of them is in memory, unless the limits say so. */
export function openFilePayloads(
  options: Omit<TestPayloadsOptions, 'store'> & {
    readonly wrap?: (store: PayloadStore) => PayloadStore;
  } = {},
): Promise<TestPayloads> {
  const { limits, wrap = (store) => store } = options;
  return openTestPayloads({
    ...options,
    limits: { cacheMaxBytes: 0, ...limits },
    store: async (folder) =>
      wrap(await FilePayloadStore.open({ folder: path.join(folder, 'store'), clock: systemClock })),
  });
}

/** Resolves when no file of payloads is open. */
export async function nothingOpen({ folder }: TestPayloads): Promise<void> {
  let open: string[] = [];
  await eventually(
    'closed files',
    async () => {
      open = await openedBelow(folder);
      return open.length === 0;
    },
    { otherwise: () => open, withinMs: 3_000 },
  );
}

/** A store of which some things are done otherwise. */
export function storeWith(store: PayloadStore, changes: Partial<PayloadStore>): PayloadStore {
  return {
    name: store.name,
    put: (ref, spool) => store.put(ref, spool),
    open: (...call) => store.open(...call),
    remove: (payload) => store.remove(payload),
    list: () => store.list(),
    identity: (...call) => store.identity(...call),
    close: () => store.close(),
    ...changes,
  };
}

/** Payloads that are watched: what was asked of them, and what of it is not given back. */
export interface Watched extends Payloads {
  /** Loans of bytes in memory. */
  readonly loans: { open: number; inAll: number };
  readonly streams: { open: number; inAll: number };
  /** Of all streams. */
  readonly streamedBytes: number;
}

export function watch(payloads: Payloads): Watched {
  const loans = { open: 0, inAll: 0 };
  const streams = { open: 0, inAll: 0 };
  let streamedBytes = 0;
  return {
    loans,
    streams,
    get streamedBytes() {
      return streamedBytes;
    },
    receive: (options) => payloads.receive(options),
    release: (ref) => payloads.release(ref),
    lend(ref) {
      const loan = payloads.lend(ref);
      if (!loan) return undefined;
      loans.open += 1;
      loans.inAll += 1;
      return {
        bytes: loan.bytes,
        giveBack: () => {
          loans.open -= 1;
          loan.giveBack();
        },
      };
    },
    async *open(ref) {
      streams.open += 1;
      streams.inAll += 1;
      try {
        for await (const piece of payloads.open(ref)) {
          streamedBytes += piece.byteLength;
          yield piece;
        }
      } finally {
        streams.open -= 1;
      }
    },
  };
}
