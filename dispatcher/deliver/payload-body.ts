/**
 * Claimed data as the body of a request: from memory if it is there, else piece by piece as the subscriber takes it.
 *
 * - K31 What cannot be read to its end breaks the request off: the subscriber never has all of a body that is wrong,
 *   because its last piece never comes (K30), and is told so by a reset.
 * - K32 The length is always said beforehand.
 * - K38 `format: json` of large data streams as well: what stands around it is known, and so is its length.
 */
import { base64Pieces, isJsonData, structuredFrame } from '../../core/codec-stream.ts';
import { JsonCheck } from '../../core/json-check.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import type { Payloads } from '../../core/ports/payloads.ts';

/** What goes out, whoever gets it. */
export interface ClaimedBody {
  readonly ref: PayloadRef;
  readonly sizeBytes: number;
  /** Of structured mode: what stands around the data, and how that is written. */
  readonly frame?: {
    readonly head: Uint8Array;
    readonly tail: Uint8Array;
    readonly form: 'json' | 'base64';
  };
}

export function binaryBody(ref: PayloadRef): ClaimedBody {
  return { ref, sizeBytes: ref.sizeBytes };
}

/**
 * Reads all of the data once where nobody has said yet whether it is JSON.
 * @throws the codes of `Payloads.open`
 */
export async function jsonBody(
  event: CloudEvent,
  ref: PayloadRef,
  payloads: Payloads,
): Promise<ClaimedBody> {
  const isJson = isJsonData(event) && (ref.isJson ?? (await isJsonValue(payloads.open(ref))));
  const form = isJson ? 'json' : 'base64';
  const { head, tail, sizeBytes } = structuredFrame(event, form);
  return { ref, sizeBytes, frame: { head, tail, form } };
}

async function isJsonValue(pieces: AsyncIterable<Uint8Array>): Promise<boolean> {
  const check = new JsonCheck();
  for await (const piece of pieces) if (!check.push(piece)) return false;
  return check.finish();
}

/** One request's body. */
export interface OpenBody {
  readonly content: Uint8Array | AsyncIterable<Uint8Array>;
  /** What is open for it is needed no more. Idempotent. */
  close(): void;
}

export interface BodyListener {
  /** More of it is wanted: what came before is on its way, and the store has to bring the rest. */
  onWanted(): void;
  /** More of it is there. */
  onProgress(): void;
  /** All of it is on its way. */
  onSent(): void;
  /** K31 */
  onFault(error: unknown): void;
}

/** As large as the pieces of a store: what is larger goes in parts, so that it shows how far it is (K35). */
const PART_BYTES = 256 * 1024;

export function openBody(body: ClaimedBody, payloads: Payloads, listener: BodyListener): OpenBody {
  const lent = body.frame ? undefined : payloads.lend(body.ref);
  const content =
    lent && lent.bytes.byteLength <= PART_BYTES
      ? lent.bytes
      : stream(body, lent ? whole(lent.bytes) : payloads.open(body.ref), listener);
  if (ArrayBuffer.isView(content)) listener.onSent();
  let isOpen = true;
  const close = () => {
    if (!isOpen) return;
    isOpen = false;
    lent?.giveBack();
    // undici leaves what it reads from as it is when the connection breaks. Best effort: nobody needs it any more.
    if (!ArrayBuffer.isView(content)) content.return(undefined).catch(() => undefined);
  };
  return { content, close };
}

async function* whole(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function* stream(
  { frame }: ClaimedBody,
  data: AsyncIterable<Uint8Array>,
  listener: BodyListener,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    if (frame) yield frame.head;
    listener.onWanted();
    const pieces = frame?.form === 'base64' ? base64Pieces(data) : data;
    for await (const piece of pieces) {
      for (let first = 0; first < piece.byteLength; first += PART_BYTES) {
        listener.onProgress();
        yield piece.subarray(first, first + PART_BYTES);
      }
      listener.onWanted();
    }
    listener.onProgress();
    if (frame) yield frame.tail;
    listener.onSent();
  } catch (error) {
    // Told before undici hears of it, which would end the connection politely.
    listener.onFault(error);
    throw error;
  }
}
