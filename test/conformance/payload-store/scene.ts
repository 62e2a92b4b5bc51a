/** What the suite's tests share: one open store at a time, payloads whose bytes tell where they are, short ways to look. */
import { afterEach, beforeEach } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';

import type { PayloadRef } from '../../../core/event.ts';
import type { PayloadStore, SpoolFile, StoredPayload } from '../../../core/ports/payload-store.ts';
import type { OpenPayloadStore, PayloadStoreAdapter } from '../payload-store.ts';

/** The largest piece that a store may hand out. */
export const PIECE_BYTES = 256 * 1024;

export interface Payload {
  readonly ref: PayloadRef;
  readonly bytes: Buffer;
}

export interface PayloadOptions {
  readonly sizeBytes?: number;
  readonly tenant?: string;
  readonly hour?: string;
}

/** The store of the running test. */
export interface Scene {
  readonly store: PayloadStore;
  readonly spoolFolder: string;
  /** Puts a new payload. */
  keep(options?: PayloadOptions): Promise<Payload>;
  restart(): Promise<void>;
}

/** Opens a store before each test of a `describe`, and closes it afterwards. */
export function useScene(adapter: PayloadStoreAdapter): Scene {
  let open: OpenPayloadStore | undefined;
  const opened = () => {
    if (!open) throw new Error('used outside of a test');
    return open;
  };
  beforeEach(async () => {
    open = await adapter.open();
  });
  afterEach(async () => {
    await open?.close();
    open = undefined;
  });
  return {
    get store() {
      return opened().store;
    },
    get spoolFolder() {
      return opened().spoolFolder;
    },
    keep: (options) => keep(opened(), options),
    restart: () => opened().restart(),
  };
}

export async function keep(
  { store, spoolFolder }: Pick<OpenPayloadStore, 'store' | 'spoolFolder'>,
  options: PayloadOptions = {},
): Promise<Payload> {
  const payload = payloadOf(options);
  await store.put(payload.ref, await spooled(spoolFolder, payload.bytes));
  return payload;
}

/** A payload that no store has yet. */
export function payloadOf({
  sizeBytes = 1_000,
  tenant = 'team-a',
  hour = '2026010107',
}: PayloadOptions = {}): Payload {
  const bytes = dataOf(sizeBytes);
  const key = `${hour}/${randomBytes(16).toString('base64url')}`;
  const sha256 = sha256Of(bytes);
  const createdMs = Date.UTC(2026, 0, 1, 7);
  return { ref: { v: 1, store: 'any', tenant, key, sizeBytes, sha256, createdMs }, bytes };
}

/** Four bytes in a row occur once, so that a piece in the wrong place shows; and two payloads are never alike. */
function dataOf(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  const salt = randomBytes(4).readUInt32LE();
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, sizeBytes >>> 2);
  for (let index = 0; index < words.length; index += 1) words[index] = salt + index;
  return bytes;
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64url');
}

export async function spooled(folder: string, bytes: Uint8Array): Promise<SpoolFile> {
  const file = path.join(folder, randomBytes(8).toString('hex'));
  await writeFile(file, bytes, { mode: 0o600 });
  return { path: file, sizeBytes: bytes.byteLength };
}

/** All that the store hands out of it. */
export async function contentOf(
  store: PayloadStore,
  ref: PayloadRef,
  range?: { readonly first: number; readonly last: number },
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of await store.open(ref, range && { range })) {
    // Node types what a stream hands out as any.
    const bytes = piece as Buffer;
    if (bytes.byteLength > PIECE_BYTES) throw new Error(`a piece of ${bytes.byteLength} bytes`);
    pieces.push(bytes);
  }
  return Buffer.concat(pieces);
}

/** Throws when one of them is not what was put. */
export async function expectContent(
  store: PayloadStore,
  payloads: readonly Payload[],
): Promise<void> {
  for (const { ref, bytes } of payloads) {
    const found = await contentOf(store, ref);
    if (!found.equals(bytes)) throw new Error(`${ref.key} has other bytes`);
  }
}

export async function listed(store: PayloadStore): Promise<StoredPayload[]> {
  const payloads = [];
  for await (const payload of store.list()) payloads.push(payload);
  return payloads;
}

/** The keys in the store, sorted. */
export async function keysIn(store: PayloadStore): Promise<string[]> {
  return (await listed(store)).map(({ key }) => key).toSorted();
}

export function keysOf(payloads: readonly Payload[]): string[] {
  return payloads.map(({ ref }) => ref.key).toSorted();
}
