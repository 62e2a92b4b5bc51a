/**
 * JSON's grammar, without building a value: one value is read in pieces of any size.
 *
 * Bytes rather than text: all that JSON's structure is made of is ASCII, which never occurs inside a longer UTF-8
 * character. That it is UTF-8 is for others to check. Source: RFC 8259, sections 2 to 7.
 */

/**
 * Levels of arrays and objects inside one another, which cost memory here and the stack in many a subscriber. RFC 8259,
 * section 9, lets us choose; people write ten, generators hundreds.
 */
const DEPTH_MAX = 10_000;

/**
 * One JSON value, which may come in pieces of any size: `beginValue`, then `scan` for each piece until it is done or broken.
 * What is kept between two pieces is the state and one bit for each open bracket; recursion could not stop there, and would
 * run out of stack long before DEPTH_MAX.
 *
 * Each byte costs one look at NEXT, which is built from GRAMMAR below. On JSON of short strings that takes two thirds of the
 * time of functions for strings, numbers and so on that call one another.
 */
export class JsonScan {
  #state: number = VALUE;
  #isDone = false;
  #isBroken = false;
  /** How many brackets are open, whether the innermost is that of an object, and the same of all of them, 32 a number. */
  #depth = 0;
  #isObject = false;
  readonly #levels: number[] = [];

  beginValue(): void {
    this.#begin(VALUE);
  }

  /** The name of a member: a string, and called a member name where it is missing. */
  beginName(): void {
    this.#begin(LONE_NAME);
  }

  #begin(state: number): void {
    this.#state = state;
    this.#isDone = false;
    this.#isBroken = false;
    this.#depth = 0;
  }

  /**
   * Reads on from `start`; before the value there may be white space.
   * @returns where it stopped: past the value, at the byte that breaks it, or past the piece.
   */
  scan(bytes: Uint8Array, start: number): number {
    const end = bytes.length;
    let state = this.#state;
    let at = start;
    while (at < end) {
      if (state <= NAME) {
        at = endOfPlain(bytes, at);
        if (at === end) break;
      }
      const next = NEXT[(state << 8) | (bytes[at] ?? 0)] ?? BROKEN;
      if (next < FIRST_ACTION) {
        state = next;
      } else {
        this.#state = state;
        state = this.#act(next);
        if (this.#isBroken) return at;
        if (this.#isDone) return next === END_OF_NUMBER ? at : at + 1;
        if (next === END_OF_NUMBER) continue;
      }
      at += 1;
    }
    this.#state = state;
    return end;
  }

  /** What follows is no part of it. A number is done only when something else follows. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** It may end here. */
  get isComplete(): boolean {
    // The byte 0 goes on with nothing, so it shows whether a number could end.
    return this.#isDone || (this.#depth === 0 && NEXT[this.#state << 8] === END_OF_NUMBER);
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Why it is broken or, unless it is, not done. */
  get problem(): string {
    if (this.#depth > DEPTH_MAX) return `is nested deeper than ${DEPTH_MAX}`;
    const problem = this.#isBroken ? 'is not valid JSON' : 'ends too early';
    return `${problem}: expected ${EXPECTED[this.#state]}`;
  }

  /** @returns the next state. */
  #act(action: number): number {
    switch (action) {
      case OPEN_OBJECT:
        return this.#open(FIRST_NAME);
      case OPEN_ARRAY:
        return this.#open(FIRST_ELEMENT);
      case CLOSE:
        return this.#close();
      case BROKEN:
        this.#isBroken = true;
        return this.#state;
      default:
        return this.#afterValue();
    }
  }

  #open(state: number): number {
    const level = this.#depth;
    this.#depth += 1;
    if (level === DEPTH_MAX) {
      this.#isBroken = true;
      return this.#state;
    }
    this.#isObject = state === FIRST_NAME;
    const bit = 1 << (level & 31);
    const levels = this.#levels[level >> 5] ?? 0;
    this.#levels[level >> 5] = this.#isObject ? levels | bit : levels & ~bit;
    return state;
  }

  #close(): number {
    this.#depth -= 1;
    const level = this.#depth - 1;
    if (level >= 0) this.#isObject = (((this.#levels[level >> 5] ?? 0) >> (level & 31)) & 1) === 1;
    return this.#afterValue();
  }

  #afterValue(): number {
    this.#isDone = this.#depth === 0;
    return this.#isObject ? AFTER_MEMBER : AFTER_ELEMENT;
  }
}

/** The first byte that is not just a character of a string. */
function endOfPlain(bytes: Uint8Array, start: number): number {
  const isNear = bytes.length - start <= SHORT_BYTES;
  const near = isNear ? bytes.length : start + SHORT_BYTES;
  for (let at = start; at < near; at += 1) if (PLAIN[bytes[at] ?? 0] !== 1) return at;
  return isNear ? near : endOfLongPlain(bytes, near);
}

/** Most bytes are plain, so where a string is long four are looked at together: 2.0 GB/s instead of 0.9. */
function endOfLongPlain(bytes: Uint8Array, start: number): number {
  const end = bytes.length;
  // From an address that is a multiple of four; what that adds was looked at before.
  const first = start - ((bytes.byteOffset + start) & 3);
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + first, (end - first) >> 2);
  let index = 0;
  while (index < words.length && isPlainWord(words[index] ?? 0)) index += 1;
  let at = first + 4 * index;
  while (at < end && PLAIN[bytes[at] ?? 0] === 1) at += 1;
  return at;
}

/** None of four bytes is a control character, a quote or a backslash: none is less than 0x20, and none differs by 0. */
function isPlainWord(word: number): boolean {
  const quote = word ^ 0x22222222;
  const backslash = word ^ 0x5c5c5c5c;
  const controls = (word - 0x20202020) & ~word;
  const quotes = (quote - 0x01010101) & ~quote;
  const backslashes = (backslash - 0x01010101) & ~backslash;
  return ((controls | quotes | backslashes) & 0x80808080) === 0;
}

/** A view of words costs as much as some 100 bytes one by one. */
const SHORT_BYTES = 128;

export function skipSpace(bytes: Uint8Array, start: number): number {
  const end = bytes.length;
  let at = start;
  while (at < end && SPACE[bytes[at] ?? 0] === 1) at += 1;
  return at;
}

/** Where the reader of a value can be. */
interface State {
  /** What it waits for, as people are told. */
  readonly expected: string;
  /** Bytes, as characters -> the state that they lead to, or the action. */
  readonly on: Readonly<Record<string, string>>;
  /** Instead of broken. */
  readonly otherwise?: string;
}

const SPACES = ' \t\n\r';
const DIGITS = '0123456789';
const HEX_DIGITS = '0123456789abcdefABCDEF';
const PLAIN_CHARACTERS = plainCharacters();

const FIRST_BYTES = {
  '{': 'openObject',
  '[': 'openArray',
  '"': 'text',
  '-': 'minus',
  '0': 'zero',
  '123456789': 'whole',
  ...{ t: 'true1', f: 'false1', n: 'null1' },
};

const A_COMMA = 'a comma or a closing bracket';

/** All states by name. The strings are first, because the loop treats them apart. */
const GRAMMAR: Readonly<Record<string, State>> = {
  text: stringState('text', 'endOfValue'),
  name: stringState('name', 'colon'),
  ...escapeStates('text'),
  ...escapeStates('name'),
  ...wordStates('true'),
  ...wordStates('false'),
  ...wordStates('null'),
  value: { expected: 'a value', on: { [SPACES]: 'value', ...FIRST_BYTES } },
  firstElement: {
    expected: 'a value',
    on: { [SPACES]: 'firstElement', ...FIRST_BYTES, ']': 'close' },
  },
  afterElement: { expected: A_COMMA, on: { [SPACES]: 'afterElement', ',': 'value', ']': 'close' } },
  loneName: { expected: 'a member name', on: { '"': 'text' } },
  firstName: {
    expected: 'a member name',
    on: { [SPACES]: 'firstName', '"': 'name', '}': 'close' },
  },
  nextName: { expected: 'a member name', on: { [SPACES]: 'nextName', '"': 'name' } },
  colon: { expected: 'a colon', on: { [SPACES]: 'colon', ':': 'value' } },
  afterMember: {
    expected: A_COMMA,
    on: { [SPACES]: 'afterMember', ',': 'nextName', '}': 'close' },
  },
  minus: { expected: 'a digit', on: { '0': 'zero', '123456789': 'whole' } },
  // No digit may follow a leading zero; what does is not taken for a part of the number.
  zero: numberState({ '.': 'point', eE: 'exponent' }),
  whole: numberState({ [DIGITS]: 'whole', '.': 'point', eE: 'exponent' }),
  point: { expected: 'a digit', on: { [DIGITS]: 'fraction' } },
  fraction: numberState({ [DIGITS]: 'fraction', eE: 'exponent' }),
  exponent: { expected: 'a digit', on: { [DIGITS]: 'power', '+-': 'powerSign' } },
  powerSign: { expected: 'a digit', on: { [DIGITS]: 'power' } },
  power: numberState({ [DIGITS]: 'power' }),
};

function stringState(name: string, after: string): State {
  return {
    expected: 'the rest of a string',
    on: { [PLAIN_CHARACTERS]: name, '"': after, '\\': `${name}Escape` },
  };
}

function escapeStates(string: string): Record<string, State> {
  const hexDigit = (on: string) => ({
    expected: 'four hexadecimal digits',
    on: { [HEX_DIGITS]: on },
  });
  return {
    [`${string}Escape`]: {
      expected: 'an escape sequence',
      on: { '"\\/bfnrt': string, u: `${string}Hex1` },
    },
    [`${string}Hex1`]: hexDigit(`${string}Hex2`),
    [`${string}Hex2`]: hexDigit(`${string}Hex3`),
    [`${string}Hex3`]: hexDigit(`${string}Hex4`),
    [`${string}Hex4`]: hexDigit(string),
  };
}

function wordStates(word: string): Record<string, State> {
  const states = [...word].slice(1).map((letter, index, { length }) => {
    const next = index + 1 === length ? 'endOfValue' : `${word}${index + 2}`;
    return [`${word}${index + 1}`, { expected: word, on: { [letter]: next } }] as const;
  });
  return Object.fromEntries(states);
}

/** A number may end in it. */
function numberState(on: State['on']): State {
  return { expected: A_COMMA, on, otherwise: 'endOfNumber' };
}

/** All bytes but quotes, backslashes and control characters; that what is beyond ASCII is UTF-8 is checked elsewhere. */
function plainCharacters(): string {
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  return String.fromCharCode(...bytes).replace(/[\0-\x1f"\\]/g, '');
}

const STATES = Object.keys(GRAMMAR);
/** What bytes lead to beside states. */
const ACTIONS = ['openObject', 'openArray', 'close', 'endOfValue', 'endOfNumber', 'broken'];

const NAME = numberOf('name');
const VALUE = numberOf('value');
const LONE_NAME = numberOf('loneName');
const FIRST_NAME = numberOf('firstName');
const FIRST_ELEMENT = numberOf('firstElement');
const AFTER_MEMBER = numberOf('afterMember');
const AFTER_ELEMENT = numberOf('afterElement');
const OPEN_OBJECT = numberOf('openObject');
const FIRST_ACTION = OPEN_OBJECT;
const OPEN_ARRAY = numberOf('openArray');
const CLOSE = numberOf('close');
const END_OF_NUMBER = numberOf('endOfNumber');
const BROKEN = numberOf('broken');

function numberOf(stateOrAction: string): number {
  return [...STATES, ...ACTIONS].indexOf(stateOrAction);
}

const EXPECTED = Object.values(GRAMMAR).map(({ expected }) => expected);

/** State and byte -> what they lead to: 256 entries a state. */
const NEXT = Uint8Array.from(Object.values(GRAMMAR).flatMap(rowOf));

function rowOf({ on, otherwise = 'broken' }: State): number[] {
  const row = new Array<number>(256).fill(numberOf(otherwise));
  for (const [bytes, next] of Object.entries(on)) {
    for (let index = 0; index < bytes.length; index += 1) {
      row[bytes.charCodeAt(index)] = numberOf(next);
    }
  }
  return row;
}

/** Byte -> 1 if it is such a character. */
const PLAIN = memberships(PLAIN_CHARACTERS);
const SPACE = memberships(SPACES);

function memberships(characters: string): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) =>
    characters.includes(String.fromCharCode(byte)) ? 1 : 0,
  );
}
