/** UTF-8 in pieces: a piece may end inside a character. */
import { isUtf8 } from 'node:buffer';

/** Hands on what is UTF-8, and holds back a character whose end has not come yet: three bytes at most. */
export class WholeCharacters {
  #held: Buffer = NOTHING;
  #isBroken = false;

  /** @returns the whole characters that are there now, of the piece itself unless its first one began before it. */
  push(piece: Uint8Array): Buffer {
    const bytes = this.#held.length === 0 ? asBuffer(piece) : Buffer.concat([this.#held, piece]);
    const whole = bytes.subarray(0, bytes.length - cutOffBytes(bytes));
    const end = isUtf8(whole) ? whole.length : utf8End(whole);
    this.#isBroken = end < whole.length;
    this.#held = Buffer.from(bytes.subarray(end, end + CHARACTER_MAX_BYTES));
    return bytes.subarray(0, end);
  }

  /** What follows the characters handed on is not UTF-8, or what is held back is not yet. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Nothing is held back. */
  get isWhole(): boolean {
    return this.#held.length === 0;
  }
}

/** Where bytes that are not UTF-8 stop being it: the start of the first sequence that is no character. */
export function utf8End(bytes: Buffer): number {
  const replaced = Buffer.from(bytes.toString('utf8'));
  const differing = bytes.findIndex((byte, index) => replaced[index] !== byte);
  let end = differing === -1 ? bytes.length : differing;
  // The character that came in its place may start with the same bytes.
  while (isContinuation(replaced[end])) end -= 1;
  return end;
}

/** How many bytes at the end are the start of a character that goes on, if its first byte is right. */
function cutOffBytes(bytes: Buffer): number {
  for (let count = 1; count < CHARACTER_MAX_BYTES; count += 1) {
    const byte = bytes[bytes.length - count];
    if (isContinuation(byte)) continue;
    return byte !== undefined && characterBytes(byte) > count ? count : 0;
  }
  return 0;
}

function characterBytes(first: number): number {
  if (first < 0xc0) return 1;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : CHARACTER_MAX_BYTES;
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

const CHARACTER_MAX_BYTES = 4;
const NOTHING = Buffer.alloc(0);

/** The same bytes with Buffer's methods. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
