/**
 * The inside of a JSON string, which comes in pieces, as the bytes that it stands for: text or base64. That it is JSON has
 * been checked, so every escape is one, and what is cut off in a piece goes on in the next.
 *
 * Sources: RFC 8259, section 7; RFC 4648, sections 3 and 4.
 */
import { HALF_A_PAIR } from './codec-json.ts';
import { unescaped } from './codec-json-scan.ts';
import { asBuffer } from './utf8.ts';

export interface StringReader {
  /** @param inside whole characters. @returns the bytes that are certain now; none any more when it is broken. */
  push(inside: Uint8Array): Uint8Array;

  /** It cannot be what it should be any more. */
  readonly isBroken: boolean;

  /** All has come. @returns whether it is what it should be. */
  finish(): boolean;
}

/** Text as UTF-8. Broken by half a surrogate pair, which UTF-8 cannot carry. */
export class TextReader implements StringReader {
  /** An escape that is cut off. */
  #held: Buffer = NOTHING;
  /** The first half of a surrogate pair. */
  #half = '';
  #isBroken = false;

  push(inside: Uint8Array): Buffer {
    if (this.#isBroken) return NOTHING;
    const bytes = this.#held.length === 0 ? asBuffer(inside) : Buffer.concat([this.#held, inside]);
    const end = bytes.length - cutOffBytes(bytes);
    this.#held = Buffer.from(bytes.subarray(end));
    const whole = bytes.subarray(0, end);
    const isPlain = this.#half === '' && !whole.includes(BACKSLASH);
    return isPlain ? whole : this.#unescape(whole);
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  finish(): boolean {
    return !this.#isBroken && this.#half === '' && this.#held.length === 0;
  }

  #unescape(bytes: Buffer): Buffer {
    const text = this.#half + unescaped(bytes.toString('utf8'));
    const last = text.at(-1) ?? '';
    this.#half = last >= '\ud800' && last <= '\udbff' ? last : '';
    const whole = this.#half === '' ? text : text.slice(0, -1);
    this.#isBroken ||= HALF_A_PAIR.test(whole);
    return this.#isBroken ? NOTHING : Buffer.from(whole);
  }
}

/** Bytes that were written as base64. Broken by all but the standard alphabet, padded, without line breaks. */
export class Base64Reader implements StringReader {
  readonly #text = new TextReader();
  /** Less than four characters. */
  #held: Buffer = NOTHING;
  #isPadded = false;
  #isBroken = false;

  push(inside: Uint8Array): Uint8Array {
    if (this.#isBroken) return NOTHING;
    const text = this.#text.push(inside);
    if (text.length === 0) return NOTHING;
    const characters = this.#held.length === 0 ? text : Buffer.concat([this.#held, text]);
    const end = characters.length - (characters.length % 4);
    this.#held = Buffer.from(characters.subarray(end));
    this.#isBroken = this.#isPadded;
    return this.#isBroken ? NOTHING : this.#decode(characters.subarray(0, end));
  }

  get isBroken(): boolean {
    return this.#isBroken || this.#text.isBroken;
  }

  finish(): boolean {
    return !this.#isBroken && this.#text.finish() && this.#held.length === 0;
  }

  /** Node's decoder leaves out what is no base64, so the result is too small then, and knows two alphabets. */
  #decode(characters: Buffer): Uint8Array {
    const paddingSize = paddingOf(characters);
    const bytes = Buffer.from(characters.toString('latin1'), 'base64');
    const isWhole = bytes.length === (characters.length / 4) * 3 - paddingSize;
    const isStandard = !characters.includes(DASH) && !characters.includes(UNDERSCORE);
    this.#isPadded = paddingSize > 0;
    this.#isBroken = !isWhole || !isStandard;
    return this.#isBroken ? NOTHING : bytes;
  }
}

/** Of the equals signs at the end. */
function paddingOf(characters: Buffer): number {
  if (characters.at(-1) !== EQUALS) return 0;
  return characters.at(-2) === EQUALS ? 2 : 1;
}

/** How many bytes at the end are an escape that goes on. */
function cutOffBytes(bytes: Buffer): number {
  const escape = bytes.lastIndexOf(BACKSLASH);
  // The longest is `\uXXXX`.
  if (escape === -1 || bytes.length - escape >= 6) return 0;
  let before = escape;
  while (bytes[before - 1] === BACKSLASH) before -= 1;
  // In pairs they stand for backslashes.
  const isEscape = (escape - before) % 2 === 0;
  const size = bytes[escape + 1] === LOWER_U ? 6 : 2;
  return isEscape && escape + size > bytes.length ? bytes.length - escape : 0;
}

const EQUALS = 0x3d;
const DASH = 0x2d;
const BACKSLASH = 0x5c;
const UNDERSCORE = 0x5f;
const LOWER_U = 0x75;

const NOTHING = Buffer.alloc(0);
