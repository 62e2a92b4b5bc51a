/** The body of an answer, whatever it means: who reads it, and what of it may be kept. */
import type { IncomingHeaders } from '../../core/codec.ts';
import type { Outcome } from '../../core/ports/deliverer.ts';
import { FAILURE_DATA_MAX } from '../../core/ports/event-log.ts';

/** Reads one body, from the first piece to `finish` or `breakOff`. */
export interface Answer {
  /** Takes the next piece. An outcome means: enough, do not read on. A promise: nothing more until it resolves. */
  read(chunk: Uint8Array): Outcome | Promise<Outcome | undefined> | undefined;
  /** The body is complete. */
  finish(): Outcome | Promise<Outcome>;
  /** The body will never be complete: what is certain all the same, if anything is. */
  breakOff(): Outcome | undefined;
}

export interface AnswerHead {
  /** 200 or more. */
  readonly status: number;
  readonly headers: IncomingHeaders;
}

/** The first bytes that a failure may keep. */
export function startOf(chunks: readonly Uint8Array[]): Uint8Array {
  return joined(chunks, FAILURE_DATA_MAX);
}

/**
 * The first `maxBytes` of the pieces in memory of their own: a piece is a window of all that one read of the socket
 * brought, and Buffer.concat would take one of a shared slab. A few kept bytes would hold up to 64 KiB of either.
 */
export function joined(chunks: readonly Uint8Array[], maxBytes: number): Uint8Array {
  const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const bytes = new Uint8Array(Math.min(sizeBytes, maxBytes));
  let offset = 0;
  for (const chunk of chunks) {
    const part = chunk.subarray(0, bytes.byteLength - offset);
    bytes.set(part, offset);
    offset += part.byteLength;
  }
  return bytes;
}

export function bodyField(body: Uint8Array): { readonly body?: Uint8Array } {
  return body.byteLength === 0 ? {} : { body };
}

/** What content-length says; 0 where it says nothing. undici has checked its form. */
export function announcedBytes(headers: IncomingHeaders): number {
  return Number(headers['content-length'] ?? 0);
}
