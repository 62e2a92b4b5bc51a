/**
 * Finds the members of a JSON object, or of the objects in an array, in their bytes and checks the whole grammar on the
 * way, without building a value.
 *
 * Why not JSON.parse: it takes several times the memory of the body, its numbers lose digits, of two members with one
 * name it silently keeps the last, and it seldom says where the mistake is. It is the oracle of the tests.
 *
 * Bytes rather than text, so that data can be cut out as it came and offsets are the sender's. All that JSON's structure
 * is made of is ASCII, which never occurs inside a longer UTF-8 character; whoever calls has checked that it is UTF-8.
 * Source: RFC 8259, sections 2 to 7.
 */
import { codeOf, KnearError } from './errors.ts';

/** One member of an object: where it is, in bytes. */
export interface Member {
  /** Unescaped. */
  readonly name: string;
  readonly nameOffset: number;
  readonly kind: JsonKind;
  readonly valueOffset: number;
  readonly valueEnd: number;
}

export type JsonKind = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null';

/** One element of an array; `members` is empty unless it is an object. */
export interface Element {
  readonly kind: JsonKind;
  readonly offset: number;
  readonly members: readonly Member[];
}

/**
 * The members of the one object that is all of the body, in order, repeated names included.
 * @throws KNEAR_STRUCTURED_INVALID with the offset of the first byte that is wrong.
 */
export function membersOf(body: Buffer): Member[] {
  const members: Member[] = [];
  requireEnd(body, endOfObject(body, skipSpace(body, 0), members));
  return members;
}

/**
 * The elements of the one array that is all of the body, in order. Each is given before the next one is looked at, so a
 * caller may stop early, and must not rely on any until the last one has come.
 * @throws KNEAR_STRUCTURED_INVALID as `membersOf`.
 */
export function* elementsOf(body: Buffer): Generator<Element, void> {
  let at = expectByte(body, skipSpace(body, 0), OPEN_BRACKET, 'a JSON array');
  at = skipSpace(body, at);
  if (body[at] !== CLOSE_BRACKET) {
    for (;;) {
      const offset = at;
      const members: Member[] = [];
      const isObject = body[at] === OPEN_BRACE;
      at = isObject ? endOfObject(body, at, members) : endOfValue(body, at);
      yield { kind: kindOf(body, offset), offset, members };
      at = skipSpace(body, at);
      if (body[at] !== COMMA) break;
      at = skipSpace(body, at + 1);
    }
  }
  requireEnd(body, expectByte(body, at, CLOSE_BRACKET, 'a comma or the end of the array'));
}

/** Adds what is found to `members`. */
function endOfObject(body: Buffer, start: number, members: Member[]): number {
  let at = expectByte(body, start, OPEN_BRACE, 'a JSON object');
  at = skipSpace(body, at);
  if (body[at] !== CLOSE_BRACE) {
    for (;;) {
      const nameOffset = at;
      const nameEnd = endOfString(body, nameOffset, 'a member name');
      const valueOffset = endOfColon(body, nameEnd);
      const valueEnd = endOfValue(body, valueOffset);
      const name = stringOf(body, nameOffset, nameEnd);
      const kind = kindOf(body, valueOffset);
      members.push({ name, nameOffset, kind, valueOffset, valueEnd });
      at = skipSpace(body, valueEnd);
      if (body[at] !== COMMA) break;
      at = skipSpace(body, at + 1);
    }
  }
  return expectByte(body, at, CLOSE_BRACE, 'a comma or the end of the object');
}

/** Whether the bytes, which are UTF-8, are one JSON value and nothing else. */
export function isJsonValue(bytes: Uint8Array): boolean {
  try {
    requireEnd(bytes, endOfValue(bytes, skipSpace(bytes, 0)));
    return true;
  } catch (error) {
    if (codeOf(error) === 'KNEAR_STRUCTURED_INVALID') return false;
    throw error;
  }
}

/** The text of a JSON string that was scanned before. It may hold half a surrogate pair, if that was escaped. */
export function stringOf(body: Buffer, start: number, end: number): string {
  const inside = body.toString('utf8', start + 1, end - 1);
  // The scan has found one string there, which JSON.parse makes a string.
  return inside.includes('\\') ? (JSON.parse(`"${inside}"`) as string) : inside;
}

/** What the value is that starts here; that it is one has been checked, so the first letter tells. */
function kindOf(bytes: Uint8Array, start: number): JsonKind {
  switch (bytes[start] ?? END) {
    case OPEN_BRACE:
      return 'object';
    case OPEN_BRACKET:
      return 'array';
    case QUOTE:
      return 'string';
    case LOWER_T:
    case LOWER_F:
      return 'boolean';
    case LOWER_N:
      return 'null';
    default:
      return 'number';
  }
}

/** @param offset where it is, in bytes from the start of the body */
export function invalidBody(problem: string, offset: number): KnearError {
  return new KnearError('KNEAR_STRUCTURED_INVALID', `${problem} (at byte ${offset} of the body)`);
}

/**
 * Levels of arrays and objects inside one another, which cost memory here and the stack in many a subscriber. RFC 8259,
 * section 9, lets us choose; people write ten, generators hundreds.
 */
const DEPTH_MAX = 10_000;

/** A loop with the open brackets on the side: recursion would run out of stack long before DEPTH_MAX. */
function endOfValue(bytes: Uint8Array, start: number): number {
  /** The closing bracket that each open level waits for. */
  const open: number[] = [];
  let at = start;
  for (;;) {
    const first = bytes[at];
    if (first === OPEN_BRACE || first === OPEN_BRACKET) {
      if (open.length === DEPTH_MAX) throw invalidBody(`nested deeper than ${DEPTH_MAX}`, at);
      const closing = first === OPEN_BRACE ? CLOSE_BRACE : CLOSE_BRACKET;
      open.push(closing);
      at = skipSpace(bytes, at + 1);
      if (bytes[at] !== closing) {
        if (closing === CLOSE_BRACE) at = endOfKey(bytes, at);
        continue;
      }
    } else {
      at = endOfScalar(bytes, at);
    }
    // A value ends here, or an empty object or array may: leave the levels that end with it.
    let closing = open.at(-1);
    if (closing === undefined) return at;
    at = skipSpace(bytes, at);
    while (bytes[at] === closing) {
      open.pop();
      closing = open.at(-1);
      if (closing === undefined) return at + 1;
      at = skipSpace(bytes, at + 1);
    }
    at = skipSpace(bytes, expectByte(bytes, at, COMMA, 'a comma or a closing bracket'));
    if (closing === CLOSE_BRACE) at = endOfKey(bytes, at);
  }
}

function endOfKey(bytes: Uint8Array, start: number): number {
  return endOfColon(bytes, endOfString(bytes, start, 'a member name'));
}

/** From the end of a name to the start of its value. */
function endOfColon(bytes: Uint8Array, start: number): number {
  return skipSpace(bytes, expectByte(bytes, skipSpace(bytes, start), COLON, 'a colon'));
}

function endOfScalar(bytes: Uint8Array, start: number): number {
  const first = bytes[start] ?? END;
  switch (first) {
    case QUOTE:
      return endOfString(bytes, start, 'a string');
    case LOWER_T:
      return endOfWord(bytes, start, 'true');
    case LOWER_F:
      return endOfWord(bytes, start, 'false');
    case LOWER_N:
      return endOfWord(bytes, start, 'null');
    default:
      if (first === MINUS || isDigit(first)) return endOfNumber(bytes, start);
      throw unexpected(bytes, start, 'a value');
  }
}

function endOfString(bytes: Uint8Array, start: number, what: string): number {
  let at = expectByte(bytes, start, QUOTE, what);
  for (;;) {
    const byte = bytes[at] ?? END;
    if (byte === QUOTE) return at + 1;
    if (byte === BACKSLASH) at = endOfEscape(bytes, at);
    else if (byte < SPACE) throw unexpected(bytes, at, 'the rest of a string');
    else at += 1;
  }
}

function endOfEscape(bytes: Uint8Array, start: number): number {
  const letter = bytes[start + 1] ?? END;
  if (letter !== LOWER_U) {
    if (!SIMPLE_ESCAPES.has(letter)) throw unexpected(bytes, start + 1, 'an escape sequence');
    return start + 2;
  }
  for (let at = start + 2; at < start + 6; at += 1) {
    if (!isHexDigit(bytes[at] ?? END)) throw unexpected(bytes, at, 'four hexadecimal digits');
  }
  return start + 6;
}

function endOfNumber(bytes: Uint8Array, start: number): number {
  let at = bytes[start] === MINUS ? start + 1 : start;
  // No digit may follow a leading zero; what does is not taken for a part of the number.
  at = bytes[at] === ZERO ? at + 1 : endOfDigits(bytes, at);
  if (bytes[at] === DOT) at = endOfDigits(bytes, at + 1);
  if (bytes[at] === LOWER_E || bytes[at] === UPPER_E) {
    const hasSign = bytes[at + 1] === PLUS || bytes[at + 1] === MINUS;
    at = endOfDigits(bytes, hasSign ? at + 2 : at + 1);
  }
  return at;
}

function endOfDigits(bytes: Uint8Array, start: number): number {
  let at = start;
  while (isDigit(bytes[at])) at += 1;
  if (at === start) throw unexpected(bytes, at, 'a digit');
  return at;
}

function endOfWord(bytes: Uint8Array, start: number, word: string): number {
  for (let index = 0; index < word.length; index += 1) {
    if (bytes[start + index] !== word.charCodeAt(index)) {
      throw unexpected(bytes, start + index, word);
    }
  }
  return start + word.length;
}

function skipSpace(bytes: Uint8Array, start: number): number {
  let at = start;
  for (;;) {
    const byte = bytes[at];
    if (byte !== SPACE && byte !== LINE_FEED && byte !== CARRIAGE_RETURN && byte !== TAB) return at;
    at += 1;
  }
}

function expectByte(bytes: Uint8Array, at: number, byte: number, what: string): number {
  if (bytes[at] !== byte) throw unexpected(bytes, at, what);
  return at + 1;
}

function requireEnd(bytes: Uint8Array, end: number): void {
  const at = skipSpace(bytes, end);
  if (at !== bytes.length) throw unexpected(bytes, at, 'the end of the body');
}

function unexpected(bytes: Uint8Array, at: number, what: string): KnearError {
  const problem = at < bytes.length ? 'is not valid JSON' : 'ends too early';
  return invalidBody(`the body ${problem}: expected ${what}`, at);
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE;
}

function isHexDigit(byte: number): boolean {
  // 0x20 is what tells a lower-case letter from its upper-case one.
  const letter = byte | 0x20;
  return isDigit(byte) || (letter >= LOWER_A && letter <= LOWER_F);
}

/** Past the last byte. Smaller than all bytes, so that it is no character of a string. */
const END = -1;

const TAB = 0x09;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const PLUS = 0x2b;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const UPPER_E = 0x45;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const LOWER_A = 0x61;
const LOWER_E = 0x65;
const LOWER_F = 0x66;
const LOWER_N = 0x6e;
const LOWER_T = 0x74;
const LOWER_U = 0x75;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** What may follow a backslash, besides `u`. */
const SIMPLE_ESCAPES: ReadonlySet<number> = new Set(Buffer.from('"\\/bfnrt'));
