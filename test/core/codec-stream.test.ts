import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseStructured, structuredBody } from '../../core/codec.ts';
import {
  base64Pieces,
  isJsonData,
  recoded,
  StructuredReader,
  structuredFrame,
  type StructuredEnd,
} from '../../core/codec-stream.ts';
import { codeOf, messageOf } from '../../core/errors.ts';
import type { AttributeValue, CloudEvent, PayloadRef } from '../../core/event.ts';

const REQUIRED = '"specversion":"1.0","id":"1","source":"/a","type":"t"';
const REQUIRED_03 = REQUIRED.replace('1.0', '0.3');
const LIMITS = { attributesMaxBytes: 1_024 };

describe('reading a structured event in pieces', () => {
  test.each<[string, string, string, Omit<StructuredEnd, 'event'>]>([
    [
      'JSON as it stands',
      `{${REQUIRED},"datacontenttype":"application/json","data": {"a" : 1.0} }`,
      '{"a" : 1.0}',
      { hasData: true, isJson: true },
    ],
    [
      'JSON before its type',
      `{"data":"a\\n",${REQUIRED},"datacontenttype":"a/b+json"}`,
      '"a\\n"',
      { hasData: true, isJson: true },
    ],
    ['JSON without a type', `{${REQUIRED},"data":-1}`, '-1', { hasData: true, isJson: true }],
    ['null', `{${REQUIRED},"data":null}`, 'null', { hasData: true, isJson: true }],
    [
      'text after its type, unescaped',
      `{${REQUIRED},"datacontenttype":"text/plain","data":"\\ud83d\\uDE00\\n\\/"}`,
      '😀\n/',
      { hasData: true },
    ],
    [
      'text before its type, as it stands for now',
      `{"data":"\\n",${REQUIRED},"datacontenttype":"text/plain"}`,
      '"\\n"',
      { hasData: true, recode: { form: 'text', sizeBytes: 4, valueOffset: 8 } },
    ],
    [
      'text before its version, which might allow base64, as it stands for now',
      `{"datacontenttype":"text/plain","data":"a",${REQUIRED}}`,
      '"a"',
      { hasData: true, recode: { form: 'text', sizeBytes: 3, valueOffset: 39 } },
    ],
    [
      'an empty text as none',
      `{${REQUIRED},"datacontenttype":"text/plain","data":""}`,
      '',
      { hasData: false },
    ],
    [
      'an empty text before its type as none',
      `{"data":"",${REQUIRED},"datacontenttype":"text/plain"}`,
      '""',
      { hasData: false },
    ],
    ['base64', `{"data_base64":"Pz8\\/YWI=",${REQUIRED}}`, '???ab', { hasData: true }],
    ['empty base64 as none', `{"data_base64":"",${REQUIRED}}`, '', { hasData: false }],
    ['null base64 as none', `{"data_base64":null,${REQUIRED}}`, '', { hasData: false }],
    ['no data', `{${REQUIRED}}`, '', { hasData: false }],
    [
      'base64 of version 0.3 that is declared before',
      `{${REQUIRED_03},"datacontentencoding":"base64","data":"YWI="}`,
      'ab',
      { hasData: true },
    ],
    [
      'base64 of version 0.3 that is declared after, as it stands for now',
      `{${REQUIRED_03},"data":"YWI=","datacontentencoding":"base64"}`,
      '"YWI="',
      { hasData: true, recode: { form: 'base64', sizeBytes: 6, valueOffset: 62 } },
    ],
    [
      'base64 of version 0.3 that is declared after, though its type is text',
      `{${REQUIRED_03},"datacontenttype":"a/b","data":"YWI=","datacontentencoding":"base64"}`,
      '"YWI="',
      { hasData: true, recode: { form: 'base64', sizeBytes: 6, valueOffset: 86 } },
    ],
    [
      'text of version 0.3 that is not base64, for sure',
      `{${REQUIRED_03},"datacontentencoding":null,"datacontenttype":"a/xml","data":"YWI="}`,
      'YWI=',
      { hasData: true },
    ],
    ['JSON of version 0.3', `{${REQUIRED_03},"data":[1]}`, '[1]', { hasData: true, isJson: true }],
  ])('brings out %s (K44)', (_name, body, data, expected) => {
    for (const sizeBytes of [1, 5, body.length]) {
      const reader = new StructuredReader({}, LIMITS);
      expect(textOf(brought(reader, cutEvery(body, sizeBytes)))).toBe(data);
      const { event, ...end } = reader.finish();
      expect(end).toEqual(expected);
      expect(event.data).toBeUndefined();
      expect(event.attributes.get('id')).toBe('1');
    }
  });

  test('keeps the headers that travel beside an event', () => {
    const reader = new StructuredReader({ 'knative-foo': 'k', accept: '*/*' }, LIMITS);
    reader.read(Buffer.from(`{${REQUIRED}}`));
    expect([...reader.finish().event.headers]).toEqual([['knative-foo', 'k']]);
  });

  test.each([
    ['JSON', `{${REQUIRED},"data":["a`, 'bé\\n","c"'],
    ['text without escapes', `{${REQUIRED},"datacontenttype":"text/plain","data":"a`, 'bécd'],
  ])('brings out %s as views of the pieces', (_name, start, next) => {
    const reader = new StructuredReader({}, LIMITS);
    reader.read(Buffer.from(start));
    const piece = new Uint8Array(Buffer.from(next));
    const [view, ...others] = reader.read(piece);
    expect(view?.buffer).toBe(piece.buffer);
    expect([textOf(view), others]).toEqual([textOf(piece), []]);
  });

  test.each([
    [
      'half of a surrogate pair',
      `{"data":"abc\\ud83d",${REQUIRED},"datacontenttype":"text/plain"}`,
    ],
    [
      'a pair that is torn',
      `{"data":"\\ud83d-------\\ude00",${REQUIRED},"datacontenttype":"text/plain"}`,
    ],
    [
      'halves in the wrong order',
      `{"data":"\\ude00\\ud83d",${REQUIRED},"datacontenttype":"a/xml"}`,
    ],
    ['bad base64', `{${REQUIRED_03},"data":"YWI","datacontentencoding":"base64"}`],
    ['base64 that goes on', `{${REQUIRED_03},"data":"YQ==YQ==","datacontentencoding":"base64"}`],
    ['another alphabet', `{${REQUIRED_03},"data":"____","datacontentencoding":"base64"}`],
  ])('refuses %s in data that is read again as in memory', async (_name, body) => {
    // Seven: a quote and one escape, then what is between two of them.
    for (const sizeBytes of [3, 7, body.length]) {
      const reader = new StructuredReader({}, LIMITS);
      const pieces = brought(reader, cutEvery(body, sizeBytes));
      const { recode } = reader.finish();
      if (!recode) throw new Error('nothing to read again');
      const again = () => collected(recoded(each(cutEvery(pieces, sizeBytes)), recode));
      expect(await refusalOf(again)).toEqual(await refusalOf(() => parseInMemory(body)));
    }
  });

  test('tells at once of a byte that cannot be', async () => {
    const reader = new StructuredReader({}, LIMITS);
    reader.read(Buffer.from(`{${REQUIRED},`));
    const { code, message } = await refusalOf(() => reader.read(Buffer.from('"data":[1}')));
    expect(code).toBe('KNEAR_STRUCTURED_INVALID');
    expect(message).toContain(`(at byte ${REQUIRED.length + 11} of the body)`);
  });

  test('tells of a wrong attribute at the end, and brings out nothing until then', async () => {
    const reader = new StructuredReader({}, LIMITS);
    const body = Buffer.from(`{${REQUIRED},"my_ext":1,"data":[1,2,3],"data":[4]}`);
    expect(reader.read(body)).toEqual([]);
    const { code, message } = await refusalOf(() => reader.finish());
    expect([code, message]).toEqual(['KNEAR_EVENT_INVALID', expect.stringContaining('"my_ext"')]);
  });

  test('brings out nothing after what is not base64', async () => {
    const reader = new StructuredReader({}, LIMITS);
    const texts = [`{${REQUIRED},"data_base64":"YWJj`, 'Y-Jj', 'YWJj', '"}'];
    const data = texts.map((text) => textOf(Buffer.concat(reader.read(Buffer.from(text)))));
    expect(data).toEqual(['abc', '', '', '']);
    const { message } = await refusalOf(() => reader.finish());
    expect(message).toContain('data_base64 is not base64');
  });

  test.each<[string, string, number]>([
    ['the start of U+FFFD, and more', '\xef\xbf"', 9],
    ['the start of U+FFFD, at the end', '\xef\xbf', 9],
    ['a first byte alone', 'ab\xc3', 11],
    ['three bytes of four', 'a\xf0\x9f\x98', 10],
    ['a byte that begins nothing', 'a\x80', 10],
    ['a first byte after a first byte', '\xe2\xe2\x82\xac', 9],
  ])('says as in memory where UTF-8 ends: %s', async (_name, end, offset) => {
    const body = Buffer.concat([Buffer.from('{"id":"é'), Buffer.from(end, 'latin1')]);
    const inMemory = await refusalOf(() => parseStructured(body, {}));
    expect(inMemory.message).toContain(`not UTF-8: send JSON in UTF-8 (at byte ${offset} of`);
    for (const sizeBytes of [1, 2, body.length]) {
      const reader = new StructuredReader({}, LIMITS);
      const inPieces = await refusalOf(() => {
        brought(reader, cutEvery(body, sizeBytes));
        reader.finish();
      });
      expect(inPieces).toEqual(inMemory);
    }
  });
});

describe('the bound of attributes (K44)', () => {
  const filled = (count: number) => `{${REQUIRED},"ext":"${'x'.repeat(count)}`;
  /** Names, and values with their quotes. */
  const OTHERS = '"specversion""1.0""id""1""source""/a""type""t""ext""'.length;

  test('is twice what may be kept, names and all, and met at once', async () => {
    for (const sizeBytes of [1, 100, 4_000]) {
      const reader = new StructuredReader({}, LIMITS);
      brought(reader, cutEvery(filled(2_048 - OTHERS), sizeBytes));
      expect(await refusalOf(() => reader.read(Buffer.from('y')))).toEqual({
        code: 'KNEAR_ATTRIBUTES_TOO_LARGE',
        message: expect.stringMatching(/more than 2048 bytes .* more than 1024 \(attributesMax\)/),
      });
    }
  });

  test.each([
    ['a name', `{"${'n'.repeat(2_050)}`],
    ['many names', `{${Array.from({ length: 400 }, (_, index) => `"a${index}":null`).join(',')}`],
    ['digits', `{"ext":${'1'.repeat(2_050)}`],
  ])('is met by %s', async (_name, body) => {
    const reader = new StructuredReader({}, LIMITS);
    const { code } = await refusalOf(() => reader.read(Buffer.from(body)));
    expect(code).toBe('KNEAR_ATTRIBUTES_TOO_LARGE');
  });

  test('comes before what is wrong later, however the body is cut', async () => {
    const body = `${filled(3_000)}\n"}`;
    for (const sizeBytes of [1, 700, body.length]) {
      const reader = new StructuredReader({}, LIMITS);
      const { code } = await refusalOf(() => brought(reader, cutEvery(body, sizeBytes)));
      expect(code).toBe('KNEAR_ATTRIBUTES_TOO_LARGE');
    }
  });

  test('is not for what is refused in any size', async () => {
    const reader = new StructuredReader({}, LIMITS);
    reader.read(Buffer.from(`{"ext":[${'1,'.repeat(3_000)}1]}`));
    const { message } = await refusalOf(() => reader.finish());
    expect(message).toContain('"ext" is an object or an array');
  });

  test('counts neither data nor blanks', () => {
    const reader = new StructuredReader({}, LIMITS);
    const much = 'x'.repeat(10_000);
    const body = `{${' '.repeat(10_000)}${REQUIRED},"data":"${much}"${'\n'.repeat(10_000)}}`;
    expect(brought(reader, cutEvery(body, 100)).length).toBe(10_002);
    expect(reader.finish().hasData).toBe(true);
  });
});

describe('memory (K44)', () => {
  const MIB = 2 ** 20;
  const block = (text: string) => Buffer.from(text.repeat(Math.ceil(65_536 / text.length)));

  test.each<[number, string, string, Buffer, string]>([
    [200, 'white space', `{${REQUIRED},"data":`, block(' '), '1}'],
    [200, 'base64', `{${REQUIRED},"data_base64":"`, block('YWJj'), '"}'],
    [50, 'JSON', `{${REQUIRED},"data":[`, block('{"a":[1.5,"ä"]},'), '0]}'],
    [
      50,
      'text',
      `{${REQUIRED},"datacontenttype":"text/plain","data":"`,
      block('a line that has "quotes" in it, ä'.replaceAll('"', '\\"')),
      '"}',
    ],
  ])('does not grow with %i MiB of %s', (sizeMiB, _name, start, piece, end) => {
    const reader = new StructuredReader({}, LIMITS);
    reader.read(Buffer.from(start));
    const before = process.memoryUsage.rss();
    for (let size = 0; size < sizeMiB * MIB; size += piece.length) reader.read(piece);
    reader.read(Buffer.from(end));
    expect(reader.finish().hasData).toBe(true);
    // What the collector has not come to yet.
    expect(process.memoryUsage.rss() - before).toBeLessThan(40 * MIB);
  });
});

describe('writing a structured event around its data', () => {
  const BASE = { specversion: '1.0', id: '1', source: '/é', type: 't', flag: true };

  test.each<[string, Record<string, AttributeValue>, 'json' | 'base64', string]>([
    ['JSON', { ...BASE, datacontenttype: 'application/json' }, 'json', '{"a":[1.0]}'],
    ['JSON without a type', BASE, 'json', 'null'],
    ['base64', { ...BASE, datacontenttype: 'image/png' }, 'base64', 'a\xffb'],
    ['base64 of two bytes', { ...BASE, datacontenttype: 'image/png' }, 'base64', '\xff\0'],
    ['base64 of one byte', { ...BASE, datacontenttype: 'image/png' }, 'base64', '\xff'],
    ['JSON of version 0.3', { ...BASE, specversion: '0.3' }, 'json', '[]'],
    ['base64 of version 0.3', { ...BASE, specversion: '0.3' }, 'base64', '\xff\xfe'],
    [
      'base64 of version 0.3, declared once',
      { ...BASE, specversion: '0.3', datacontentencoding: 'base64' },
      'base64',
      'not JSON',
    ],
  ])('writes %s as around data in memory', async (_name, attributes, form, text) => {
    const data = Buffer.from(text, 'latin1');
    const { head, tail, sizeBytes } = structuredFrame(eventOf(attributes, refOf(data)), form);
    const value = form === 'json' ? data : await collected(base64Pieces(each([data])));
    const written = Buffer.concat([head, value, tail]);
    const event = { ...eventOf(attributes, data), data };
    expect(textOf(written)).toBe(textOf(structuredBody(event)));
    expect(sizeBytes).toBe(written.length);
  });

  test('text comes back from base64 as it was', async () => {
    const data = Buffer.from('ä "text"\n');
    const attributes = { ...BASE, datacontenttype: 'text/plain' };
    const { head, tail } = structuredFrame(eventOf(attributes, refOf(data)), 'base64');
    const value = await collected(base64Pieces(each([data])));
    const back = parseStructured(Buffer.concat([head, value, tail]), {});
    expect(textOf(back.data)).toBe(textOf(data));
    expect(back.attributes).toEqual(new Map(Object.entries(attributes)));
  });

  test('base64 is the same, however its bytes are cut', async () => {
    const property = fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 7 }), { maxLength: 8 }),
      async (pieces) => {
        const whole = Buffer.concat(pieces);
        expect(textOf(await collected(base64Pieces(each(pieces))))).toBe(whole.toString('base64'));
      },
    );
    await fc.assert(property);
  });

  test.each<[AttributeValue | undefined, boolean]>([
    [undefined, true],
    ['application/json', true],
    ['Application/Geo+JSON; charset=utf-8', true],
    ['text/plain', false],
    ['application/jsonx', false],
  ])('data of type %s is meant to be JSON: %s', (datacontenttype, isJson) => {
    const attributes = datacontenttype === undefined ? BASE : { ...BASE, datacontenttype };
    expect(isJsonData(eventOf(attributes, undefined))).toBe(isJson);
  });
});

/** What all pieces bring out. */
function brought(reader: StructuredReader, pieces: readonly Buffer[]): Buffer {
  return Buffer.concat(pieces.flatMap((piece) => [...reader.read(piece)]));
}

function cutEvery(body: string | Buffer, sizeBytes: number): Buffer[] {
  const bytes = Buffer.from(body);
  const count = Math.ceil(bytes.length / sizeBytes);
  return Array.from({ length: count }, (_, index) =>
    bytes.subarray(index * sizeBytes, (index + 1) * sizeBytes),
  );
}

async function refusalOf(run: () => unknown): Promise<{ code: unknown; message: string }> {
  try {
    await run();
  } catch (error) {
    return { code: codeOf(error), message: messageOf(error) };
  }
  throw new Error('not refused');
}

function parseInMemory(body: string): CloudEvent {
  return parseStructured(Buffer.from(body), {});
}

async function* each(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

async function collected(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

function eventOf(attributes: Record<string, AttributeValue>, data: CloudEvent['data']): CloudEvent {
  return { attributes: new Map(Object.entries(attributes)), headers: new Map(), data };
}

function refOf(data: Uint8Array): PayloadRef {
  const key = '2026112501/AAAAAAAAAAAAAAAAAAAAAA';
  const known = { v: 1, store: 'file', tenant: 'default', key, sha256: '' } as const;
  return { ...known, sizeBytes: data.byteLength, createdMs: 0 };
}

function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8');
}
