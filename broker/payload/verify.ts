/**
 * The bytes of a payload as they may leave us.
 *
 * - K30 The last piece is held back until size and digest of all that came are right. Checked later, whoever gets the
 *   pieces would already have a complete wrong payload; so it has one that ends too early, and is told so.
 */
import { createHash } from 'node:crypto';

import { KnearError } from '../../core/errors.ts';
import { payloadId } from '../../core/event.ts';
import type { PayloadRef } from '../../core/event.ts';

/** @throws KNEAR_PAYLOAD_CORRUPT, and what `pieces` throws */
export async function* verified(
  pieces: AsyncIterable<Uint8Array>,
  ref: PayloadRef,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash('sha256');
  let heldBack: Uint8Array | undefined;
  let sizeBytes = 0;
  for await (const piece of pieces) {
    sizeBytes += piece.byteLength;
    if (sizeBytes > ref.sizeBytes) throw corrupt(ref, 'it is longer than it was');
    if (heldBack) yield heldBack;
    hash.update(piece);
    heldBack = piece;
  }
  if (sizeBytes < ref.sizeBytes) throw corrupt(ref, `it has ${sizeBytes} bytes`);
  if (hash.digest('base64url') !== ref.sha256) throw corrupt(ref, 'its bytes are others');
  if (heldBack) yield heldBack;
}

function corrupt(ref: PayloadRef, what: string): KnearError {
  return new KnearError(
    'KNEAR_PAYLOAD_CORRUPT',
    `the payload ${payloadId(ref)} of ${ref.sizeBytes} bytes was altered: ${what}; restore it from a backup`,
  );
}
