/**
 * Finds the members of a JSON object, or of the objects in an array, in their bytes and checks the whole grammar on the
 * way, without building a value.
 *
 * Why not JSON.parse: it takes several times the memory of the body, its numbers lose digits, of two members with one
 * name it silently keeps the last, and it seldom says where the mistake is. It is the oracle of the tests.
 *
 * Bytes rather than text, so that data can be cut out as it came and offsets are the sender's. Whoever calls has checked that
 * it is UTF-8. Source: RFC 8259, sections 2 to 7.
 */
import { KnearError } from './errors.ts';
import { JsonScan, skipSpace } from './json-scan.ts';

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
  requireEnd(body, endOfObject(body, skipSpace(body, 0), { scan: new JsonScan(), members }));
  return members;
}

/**
 * The elements of the one array that is all of the body, in order. Each is given before the next one is looked at, so a
 * caller may stop early, and must not rely on any until the last one has come.
 * @throws KNEAR_STRUCTURED_INVALID as `membersOf`.
 */
export function* elementsOf(body: Buffer): Generator<Element, void> {
  const scan = new JsonScan();
  let at = expectByte(body, skipSpace(body, 0), OPEN_BRACKET, 'a JSON array');
  at = skipSpace(body, at);
  if (body[at] !== CLOSE_BRACKET) {
    for (;;) {
      const offset = at;
      const members: Member[] = [];
      const isObject = body[at] === OPEN_BRACE;
      at = isObject ? endOfObject(body, at, { scan, members }) : endOfValue(body, at, scan);
      yield { kind: kindOf(body, offset), offset, members };
      at = skipSpace(body, at);
      if (body[at] !== COMMA) break;
      at = skipSpace(body, at + 1);
    }
  }
  requireEnd(body, expectByte(body, at, CLOSE_BRACKET, 'a comma or the end of the array'));
}

/** Adds what is found to `members`. */
function endOfObject(
  body: Buffer,
  start: number,
  { scan, members }: { readonly scan: JsonScan; readonly members: Member[] },
): number {
  let at = expectByte(body, start, OPEN_BRACE, 'a JSON object');
  at = skipSpace(body, at);
  if (body[at] !== CLOSE_BRACE) {
    for (;;) {
      const nameOffset = at;
      scan.beginName();
      const nameEnd = endOfScan(body, nameOffset, scan);
      const valueOffset = skipSpace(
        body,
        expectByte(body, skipSpace(body, nameEnd), COLON, 'a colon'),
      );
      const valueEnd = endOfValue(body, valueOffset, scan);
      const name = unescaped(insideOf(body, nameOffset, nameEnd));
      const kind = kindOf(body, valueOffset);
      members.push({ name, nameOffset, kind, valueOffset, valueEnd });
      at = skipSpace(body, valueEnd);
      if (body[at] !== COMMA) break;
      at = skipSpace(body, at + 1);
    }
  }
  return expectByte(body, at, CLOSE_BRACE, 'a comma or the end of the object');
}

function endOfValue(body: Buffer, start: number, scan: JsonScan): number {
  scan.beginValue();
  return endOfScan(body, start, scan);
}

function endOfScan(body: Buffer, start: number, scan: JsonScan): number {
  const end = scan.scan(body, start);
  if (!scan.isDone) throw invalidBody(`the body ${scan.problem}`, end);
  return end;
}

/** Whether the bytes, which are UTF-8, are one JSON value and nothing else. */
export function isJsonValue(bytes: Uint8Array): boolean {
  const scan = new JsonScan();
  const end = scan.scan(bytes, 0);
  return scan.isComplete && skipSpace(bytes, end) === bytes.length;
}

/** What stands between the quotes of a string that was scanned before. */
export function insideOf(body: Buffer, start: number, end: number): string {
  return body.toString('utf8', start + 1, end - 1);
}

/** The text that the inside of a JSON string means. It may hold half a surrogate pair, if that was escaped. */
export function unescaped(inside: string): string {
  return inside.includes('\\') ? (JSON.parse(`"${inside}"`) as string) : inside;
}

/** What the value that starts here can only be: the first letter tells. */
export function kindOf(bytes: Uint8Array, start: number): JsonKind {
  switch (bytes[start] ?? 0) {
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

function expectByte(bytes: Uint8Array, at: number, byte: number, what: string): number {
  if (bytes[at] === byte) return at + 1;
  throw at < bytes.length ? unexpected(what, at) : endsEarly(what, at);
}

function requireEnd(bytes: Uint8Array, end: number): void {
  const at = skipSpace(bytes, end);
  if (at !== bytes.length) throw unexpected('the end of the body', at);
}

/** @param offset where it is, in bytes from the start of the body */
export function invalidBody(problem: string, offset: number): KnearError {
  return new KnearError('KNEAR_STRUCTURED_INVALID', `${problem} (at byte ${offset} of the body)`);
}

/** @param offset of the first byte that is something else. */
export function unexpected(what: string, offset: number): KnearError {
  return invalidBody(`the body is not valid JSON: expected ${what}`, offset);
}

/** @param offset of the end. */
export function endsEarly(what: string, offset: number): KnearError {
  return invalidBody(`the body ends too early: expected ${what}`, offset);
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const LOWER_F = 0x66;
const LOWER_N = 0x6e;
const LOWER_T = 0x74;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
