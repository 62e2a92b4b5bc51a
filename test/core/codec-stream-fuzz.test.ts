/**
 * Goal: a body read in pieces gives what it gives in memory, whatever is in it and however it is cut. Method: events written
 * by hand, with escapes, blanks and members in any order, some with mistakes planted in them and some with bytes flipped,
 * put in or cut out; `parseStructured` is the oracle for all of it, JSON.parse for `JsonCheck`.
 */
import { describe, expect, test } from '@jest/globals';
import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { parseStructured } from '../../core/codec.ts';
import { recoded, StructuredReader } from '../../core/codec-stream.ts';
import { codeOf, messageOf } from '../../core/errors.ts';
import type { CloudEvent } from '../../core/event.ts';
import { JsonCheck } from '../../core/json-check.ts';
import { SeededRandom } from '../sim/random.ts';

/** Small numbers of a seed are not simple bodies, so nothing is shrunk. */
const RUNS = { numRuns: 4_000, endOnFailure: true };

const HEADERS = { 'knative-a': 'b', accept: '*/*' };

describe('a body in pieces', () => {
  test('is the event that it is in memory, or refused for the same reason (K44)', async () => {
    const property = fc.asyncProperty(anyEvent, async ({ body, pieces }) => {
      const expected = inMemory(body);
      const found = await inPieces(pieces);
      expect(found).toEqual(isUtf8(body) ? expected : await inPieces([body]));
      // Of several mistakes the one that is first in the body is told, while in memory UTF-8 is looked at before all else.
      expect(found).toMatchObject('code' in expected ? { code: expected.code } : {});
    });
    await fc.assert(property, RUNS);
  });

  test('is JSON where JSON.parse and UTF-8 say so (K44)', () => {
    const property = fc.property(anyJson, ({ body, pieces }) => {
      const check = new JsonCheck();
      const canBe = pieces.map((piece) => check.push(passing(piece)));
      const isJson = isUtf8(body) && isParsed(body);
      expect(check.finish()).toBe(isJson);
      if (isJson) expect(canBe).not.toContain(false);
    });
    fc.assert(property, RUNS);
  });
});

type Result =
  | { readonly code: string | undefined; readonly message: string }
  | { readonly attributes: unknown; readonly headers: unknown; readonly data: string | undefined };

function inMemory(body: Buffer): Result {
  try {
    const event = parseStructured(body, HEADERS);
    return resultOf(event, event.data);
  } catch (error) {
    return refusalOf(error);
  }
}

async function inPieces(pieces: readonly Buffer[]): Promise<Result> {
  try {
    const reader = new StructuredReader(HEADERS, { attributesMaxBytes: 65_536 });
    // Copied, because the pieces are written over.
    const brought = pieces.flatMap((piece) => {
      const passed = passing(piece);
      const data = reader.read(passed).map((bytes) => Buffer.from(bytes));
      passed.fill('X');
      return data;
    });
    const { event, hasData, isJson, recode } = reader.finish();
    const isText = event.attributes.get('datacontenttype') === 'text/plain';
    if (isJson) expect([isText, isParsed(Buffer.concat(brought))]).toEqual([false, true]);
    if (!hasData) return resultOf(event, undefined);
    if (!recode) return resultOf(event, Buffer.concat(brought));
    const again: Uint8Array[] = [];
    for await (const piece of recoded(each(brought), recode)) again.push(piece);
    return resultOf(event, Buffer.concat(again));
  } catch (error) {
    return refusalOf(error);
  }
}

function resultOf({ attributes, headers }: CloudEvent, data: Uint8Array | undefined): Result {
  return {
    attributes: [...attributes],
    headers: [...headers],
    data: data && Buffer.from(data).toString('latin1'),
  };
}

function refusalOf(error: unknown): Result {
  const code = codeOf(error);
  if (code === undefined) throw error;
  return { code, message: messageOf(error) };
}

/** In memory of its own. */
function passing(piece: Buffer): Buffer {
  return Buffer.from(piece);
}

async function* each(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

function isParsed(body: Buffer): boolean {
  try {
    JSON.parse(body.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

interface Cut {
  readonly body: Buffer;
  readonly pieces: readonly Buffer[];
}

/** A seed is enough for a whole body: a hundred times faster than an arbitrary for each character of it. */
const anyEvent = fc.nat().map((seed) => {
  const random = new SeededRandom(seed);
  return cut(random, damaged(random, eventText(random)));
});

const anyJson = fc.nat().map((seed) => {
  const random = new SeededRandom(seed);
  return cut(random, damaged(random, blank(random) + valueText(random, 0) + blank(random)));
});

function cut(random: SeededRandom, body: Buffer): Cut {
  if (random.chance(0.2)) return { body, pieces: piecesOf(body, [...body.keys()]) };
  const places = times(random.below(7), () => random.below(body.length + 1));
  return { body, pieces: piecesOf(body, places) };
}

function piecesOf(body: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [0, ...places.toSorted((a, b) => a - b), body.length];
  return sorted.slice(1).map((end, index) => body.subarray(sorted[index], end));
}

/** In half of the cases as it is, else with one to three changes. */
function damaged(random: SeededRandom, text: string): Buffer {
  let body = Buffer.from(text);
  if (random.chance(0.5)) return body;
  for (let count = 1 + random.below(3); count > 0; count -= 1) {
    const at = random.below(body.length + 1);
    const [added, removed] = random.pick([
      [brokenBytes(random), 1],
      [brokenBytes(random), 0],
      ['', 1 + random.below(8)],
      ['', random.chance(0.3) ? Infinity : 0],
    ] as const);
    const parts = [body.subarray(0, at), Buffer.from(added, 'latin1'), body.subarray(at + removed)];
    body = Buffer.concat(parts);
  }
  return body;
}

/** Bytes that mean something to JSON, UTF-8 or base64. */
function brokenBytes(random: SeededRandom): string {
  if (random.chance(0.2)) return String.fromCharCode(random.below(256));
  return random.pick([
    ...['"', '\\', '{', '}', '[', ']', ',', ':', '0', '-', '.', 'e', '=', '/', '_', 'n'],
    ...['\\u', '\\ud800', '\\udc00', '\\n', '\0', '\n', '\x7f', '\xc0', '\xff', '\x80'],
    ...['\xe2\x82', '\xef\xbf', '\xef\xbb\xbf', '\xed\xa0\x80', '\xf4\x90\x80\x80', '\xc3\xa9'],
  ]);
}

type MemberText = readonly [string, string];

function eventText(random: SeededRandom): string {
  const members = [...attributeTexts(random), ...dataTexts(random)];
  if (random.chance(0.04)) members.push(random.pick([...members, ['id', '"2"']]));
  const texts = shuffled(random, members).map(
    ([name, value]) =>
      `${blank(random)}${stringText(random, name)}${blank(random)}:${blank(random)}${value}${blank(random)}`,
  );
  const start = random.chance(0.01) ? '\ufeff' : blank(random);
  const end = random.chance(0.02) ? random.pick(['x', '{}', ',', '\0']) : blank(random);
  return `${start}{${texts.join(',') || blank(random)}}${blank(random)}${end}`;
}

function attributeTexts(random: SeededRandom): MemberText[] {
  const specversion = random.pick(['1.0', '1.0', '1.0', '1.0', '0.3', '0.3', '0.3', '2.0']);
  const required = Object.entries({ specversion, id: '1', source: '/a', type: 't' })
    .filter(() => random.chance(0.98))
    .map(([name, value]): MemberText => [name, stringText(random, value)]);
  return [...required, ...typeTexts(random), ...times(random.below(3), () => extension(random))];
}

/** What says how the data is to be read. */
function typeTexts(random: SeededRandom): MemberText[] {
  const texts: MemberText[] = [];
  if (random.chance(0.75)) {
    const json = ['application/json', 'a/b+JSON;c=d', 'text/json'];
    const other = ['text/plain', 'text/plain; charset=latin1', 'application/xml', 'image/png'];
    const type = random.pick([...json, ...other, 'null', 'neither']);
    texts.push(['datacontenttype', type === 'null' ? type : stringText(random, type)]);
  }
  if (random.chance(0.5)) {
    const encoding = random.pick(['base64', 'base64', 'BASE64', 'null', 'gzip']);
    const text = encoding === 'null' ? encoding : stringText(random, encoding);
    texts.push(['datacontentencoding', text]);
  }
  return texts;
}

function extension(random: SeededRandom): MemberText {
  if (random.chance(0.06)) {
    const name = random.pick(['ID', 'Data', 'e_6', '', '\u212aey', 'time']);
    return [name, stringText(random, anyText(random))];
  }
  const name = random.pick(['ext', 'Ext2', 'e3', 'e4', 'e5']);
  const bad = ['1.0', '1e3', '2147483648', '{"a":1}', '[]', '"\\ud800"', '"\\udc00\\ud800"'];
  if (random.chance(0.06)) return [name, random.pick(bad)];
  const good = ['null', 'true', 'false', '0', '-0', '-2147483648', '2147483647', '""'];
  return [name, random.chance(0.4) ? random.pick(good) : stringText(random, anyText(random))];
}

function dataTexts(random: SeededRandom): MemberText[] {
  const plain: MemberText = ['data', dataText(random)];
  const isOdd = random.chance(0.08);
  const base64: MemberText = ['data_base64', isOdd ? dataText(random) : base64Text(random)];
  return random.pick([[plain], [plain], [plain], [base64], [base64], [plain, base64], []]);
}

function dataText(random: SeededRandom): string {
  const texts = [valueText, base64Text, textOfText, textOfText, () => '""'];
  return random.pick(texts)(random, 0);
}

function textOfText(random: SeededRandom): string {
  return stringText(random, anyText(random));
}

function base64Text(random: SeededRandom): string {
  const bytes = Buffer.from(times(random.below(40), () => random.below(256)));
  const text = bytes.toString('base64');
  if (random.chance(0.9)) return stringText(random, text);
  const spoil = random.pick(['-', '_', '=', '==', 'é', '\n', 'A']);
  const at = random.below(text.length + 1);
  return stringText(random, text.slice(0, at) + spoil + text.slice(at + random.below(3)));
}

function valueText(random: SeededRandom, depth: number): string {
  const inner = () => valueText(random, depth + 1);
  switch (random.below(depth < 4 ? 6 : 3)) {
    case 0:
      return random.pick([
        '0',
        '-0',
        '12',
        '1.50',
        '-1e5',
        '10.25E-3',
        '0e+1',
        '12345678901234567890',
      ]);
    case 1:
      return textOfText(random);
    case 2:
      return random.pick(['true', 'false', 'null']);
    case 3:
      return `{${listText(random, () => `${textOfText(random)}${blank(random)}:${blank(random)}${inner()}`)}}`;
    default:
      return `[${listText(random, inner)}]`;
  }
}

function listText(random: SeededRandom, item: () => string): string {
  const items = times(random.below(4), () => blank(random) + item() + blank(random));
  return items.join(',') || blank(random);
}

function anyText(random: SeededRandom): string {
  const special = ['\\', '"', '/', '\n', '\0', 'é', '€', '😀', '\u2028', '\uffff', '=', 'abcdefgh'];
  return times(random.below(7), () => random.pick(special)).join('');
}

/** As a JSON string, where there is a choice with and without escapes. */
function stringText(random: SeededRandom, text: string): string {
  const escapes = random.chance(0.3) ? 0.5 : 0;
  const inside = Array.from(text, (character) => {
    if (!random.chance(escapes)) return JSON.stringify(character).slice(1, -1);
    return character === '/' ? '\\/' : character.split('').map(unicodeEscape).join('');
  });
  const isHalf = random.chance(0.003);
  return `"${inside.join('')}${isHalf ? random.pick(['\\ud83d', '\\uDE00', '\\ud83d\\u0041']) : ''}"`;
}

function unicodeEscape(unit: string): string {
  const digits = unit.charCodeAt(0).toString(16).padStart(4, '0');
  return `\\u${unit === '/' ? digits : digits.toUpperCase()}`;
}

function blank(random: SeededRandom): string {
  return random.pick(['', '', '', ' ', '\n\t', '\r  ']);
}

function shuffled<Value>(random: SeededRandom, values: readonly Value[]): Value[] {
  const keyed = values.map((value) => ({ value, key: random.next() }));
  return keyed.toSorted((a, b) => a.key - b.key).map(({ value }) => value);
}

function times<Value>(count: number, make: () => Value): Value[] {
  return Array.from({ length: count }, make);
}
