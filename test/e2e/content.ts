/**
 * Data of any size that follows from a name. No two bytes are in each other's place unnoticed: it looks like chance, and
 * yet whoever knows the name and the size can tell whether what came is whole, without having held it.
 */
import { createCipheriv, createHash } from 'node:crypto';

/** As a socket brings it, about. */
const PIECE_BYTES = 64 * 1024;

export interface Digested {
  readonly sizeBytes: number;
  /** base64url */
  readonly sha256: string;
}

/** Each call gives the bytes that follow. */
export function openContent(name: string): (sizeBytes: number) => Buffer {
  const seed = createHash('sha256').update(name).digest();
  const cipher = createCipheriv('aes-128-ctr', seed.subarray(0, 16), seed.subarray(16));
  return (sizeBytes) => cipher.update(Buffer.alloc(sizeBytes));
}

/** All at once. */
export function contentOf(name: string, sizeBytes: number): Buffer {
  return openContent(name)(sizeBytes);
}

/** Piece by piece. */
export function* contentPieces(name: string, sizeBytes: number): Generator<Buffer> {
  const next = openContent(name);
  for (let left = sizeBytes; left > 0; left -= PIECE_BYTES) yield next(Math.min(left, PIECE_BYTES));
}

export function digestOfContent(name: string, sizeBytes: number): Digested {
  const hash = createHash('sha256');
  for (const piece of contentPieces(name, sizeBytes)) hash.update(piece);
  return { sizeBytes, sha256: hash.digest('base64url') };
}
