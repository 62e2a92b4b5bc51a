/**
 * Finds the members of the JSON object that is all of a body, while the body comes: as `membersOf` does in memory, and with
 * the same errors, however it is cut. Keeps nothing of it.
 */
import { notUtf8, requireNoByteOrderMark } from './codec-json.ts';
import type { JsonKind } from './codec-json-scan.ts';
import { endsEarly, invalidBody, kindOf, unexpected } from './codec-json-scan.ts';
import type { KnearError } from './errors.ts';
import { JsonScan, skipSpace } from './json-scan.ts';
import { WholeCharacters } from './utf8.ts';

/** What a piece has of the name or the value of a member. */
export interface Part {
  readonly of: 'name' | 'value';
  /** A name is a string. */
  readonly kind: JsonKind;
  /** Where the whole name or value starts, in bytes from the start of the body. */
  readonly offset: number;
  /** Whole characters, quotes included. The last part of a number may be empty. */
  readonly bytes: Buffer;
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

type Token = Omit<Part, 'bytes' | 'isLast'>;

interface PlaceRule {
  /** What it waits for, as people are told. */
  readonly expected: string;
  /** Which byte leads to which place. */
  readonly on: Readonly<Record<string, Place>>;
  /** What any other byte begins. */
  readonly begins?: Part['of'];
}

type Place = 'start' | 'first name' | 'next name' | 'colon' | 'value' | 'after value' | 'end';

const PLACES: Readonly<Record<Place, PlaceRule>> = {
  start: { expected: 'a JSON object', on: { '{': 'first name' } },
  'first name': { expected: 'a member name', on: { '}': 'end' }, begins: 'name' },
  'next name': { expected: 'a member name', on: {}, begins: 'name' },
  colon: { expected: 'a colon', on: { ':': 'value' } },
  value: { expected: 'a value', on: {}, begins: 'value' },
  'after value': {
    expected: 'a comma or the end of the object',
    on: { ',': 'next name', '}': 'end' },
  },
  end: { expected: 'the end of the body', on: {} },
};

export class MemberScan {
  readonly #characters = new WholeCharacters();
  readonly #scan = new JsonScan();
  /** Of the next byte that is not white space, unless it is inside of a name or value. */
  #place: Place = 'start';
  /** The name or value that the next byte is inside of. */
  #inside: Token | undefined;
  /** Of the body, before the piece; only whole characters count. */
  #sizeBytes = 0;

  /**
   * The parts that the piece has, in order; views of it where that is possible.
   * @throws KNEAR_STRUCTURED_INVALID with the offset of the first byte that is wrong, after the parts before it.
   */
  *push(piece: Uint8Array): Generator<Part, void> {
    const bytes = this.#characters.push(piece);
    let at = 0;
    while (at < bytes.length) {
      if (this.#inside) {
        const part = this.#nextPart(this.#inside, bytes.subarray(at));
        yield part;
        at += part.bytes.length;
        if (this.#scan.isBroken) throw this.#problemAt(this.#sizeBytes + at);
      } else {
        at = this.#between(bytes, skipSpace(bytes, at));
      }
    }
    this.#sizeBytes += bytes.length;
    if (this.#characters.isBroken) throw notUtf8(this.#sizeBytes);
  }

  /** All has come. @throws KNEAR_STRUCTURED_INVALID when it should go on. */
  finish(): void {
    if (!this.#characters.isWhole) throw notUtf8(this.#sizeBytes);
    if (this.#inside) throw this.#problemAt(this.#sizeBytes);
    if (this.#place !== 'end') throw endsEarly(PLACES[this.#place].expected, this.#sizeBytes);
  }

  #nextPart(token: Token, bytes: Buffer): Part {
    const end = this.#scan.scan(bytes, 0);
    const isLast = this.#scan.isDone;
    this.#inside = isLast ? undefined : { ...token, isFirst: false };
    if (isLast) this.#place = token.of === 'name' ? 'colon' : 'after value';
    return { ...token, bytes: bytes.subarray(0, end), isLast };
  }

  /** @returns where to go on. */
  #between(bytes: Buffer, at: number): number {
    const byte = bytes[at];
    if (byte === undefined) return at;
    const offset = this.#sizeBytes + at;
    if (offset === 0) requireNoByteOrderMark(bytes);
    const { expected, on, begins } = PLACES[this.#place];
    const next = on[String.fromCharCode(byte)];
    if (next !== undefined) {
      this.#place = next;
      return at + 1;
    }
    if (!begins) throw unexpected(expected, offset);
    if (begins === 'name') this.#scan.beginName();
    else this.#scan.beginValue();
    const kind = begins === 'name' ? 'string' : kindOf(bytes, at);
    this.#inside = { of: begins, kind, offset, isFirst: true };
    return at;
  }

  #problemAt(offset: number): KnearError {
    return invalidBody(`the body ${this.#scan.problem}`, offset);
  }
}
