import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isJsonValue, membersOf } from '../../core/codec-json-scan.ts';
import {
  binaryHeaders,
  parseStructured,
  structuredBody,
  structuredHeaders,
} from '../../core/codec.ts';
import { codeOf, type ErrorCode } from '../../core/errors.ts';
import type { AttributeValue, Inline } from '../../core/event.ts';

const REQUIRED = '"specversion":"1.0","id":"1","source":"/a","type":"t"';
const REQUIRED_03 = REQUIRED.replace('1.0', '0.3');

describe('reading a structured event', () => {
  test('keeps attributes with their JSON types, and leaves null ones unset (JSON format 2.2)', () => {
    const { attributes, data } = parse(
      `{${REQUIRED},"text":"5","int":5,"negative":-2147483648,"zero":-0,"flag":false,"none":null,"empty":""}`,
    );
    expect(Object.fromEntries(attributes)).toEqual({
      ...{ specversion: '1.0', id: '1', source: '/a', type: 't' },
      ...{ text: '5', int: 5, negative: -2147483648, zero: 0, flag: false, empty: '' },
    });
    expect(data).toBeUndefined();
  });

  test('keeps the headers that travel beside an event, and ignores ce- headers (HTTP binding 3.2.3)', () => {
    const body = Buffer.from(`{${REQUIRED}}`);
    const event = parseStructured(body, { 'knative-foo': 'k', 'ce-id': 'other', accept: '*/*' });
    expect([...event.headers]).toEqual([['knative-foo', 'k']]);
    expect(event.attributes.get('id')).toBe('1');
  });

  test('lower-cases attribute names, unescaped ones too', () => {
    const { attributes } = parse(
      '{"SpecVersion":"1.0","I\\u0044":"1","SOURCE":"/a","type":"t","MyExt":"x"}',
    );
    expect(Object.fromEntries(attributes)).toEqual({
      ...{ specversion: '1.0', id: '1', source: '/a', type: 't', myext: 'x' },
    });
  });

  test.each<[string, string, string | undefined, string | undefined]>([
    [
      'JSON data as it stands',
      '"datacontenttype":"application/json","data": {"b":1.0, "a":1e400,\n"a":"\\u0041"}',
      '{"b":1.0, "a":1e400,\n"a":"\\u0041"}',
      'application/json',
    ],
    [
      'JSON data before its type',
      '"data":[1 , 2],"datacontenttype":"Application/Geo+JSON; charset=utf-8"',
      '[1 , 2]',
      'Application/Geo+JSON; charset=utf-8',
    ],
    ['text/json as JSON', '"datacontenttype":"text/json","data":"x"', '"x"', 'text/json'],
    [
      'a JSON string as JSON, not decoded again',
      '"datacontenttype":"application/json","data":"{}"',
      '"{}"',
      'application/json',
    ],
    [
      'data without a type as JSON, and says so',
      '"data":"I am a string"',
      '"I am a string"',
      'application/json',
    ],
    ['an empty object', '"data":{}', '{}', 'application/json'],
    ['data null as the value null', '"data":null', 'null', 'application/json'],
    ['data false as the value false', '"data":false', 'false', 'application/json'],
    [
      'a number to its last digit',
      '"data":12345678901234567890.10',
      '12345678901234567890.10',
      'application/json',
    ],
    ['a null type as no type', '"datacontenttype":null,"data":1', '1', 'application/json'],
    [
      'text of another type, unescaped',
      '"datacontenttype":"application/xml","data":"<a b=\\"\\u00E9\\">\\ud83d\\ude00</a>"',
      '<a b="é">😀</a>',
      'application/xml',
    ],
    [
      'an empty text as no data',
      '"datacontenttype":"text/plain","data":""',
      undefined,
      'text/plain',
    ],
    [
      'base64, of no type that is known',
      '"data_base64":"eyAieHl6IjogMTIzIH0="',
      '{ "xyz": 123 }',
      undefined,
    ],
    ['base64 with an escaped slash', '"data_base64":"Pz8\\/"', '???', undefined],
    [
      'base64 with a type',
      '"datacontenttype":"text/plain","data_base64":"YQ=="',
      'a',
      'text/plain',
    ],
    ['empty base64 as no data', '"data_base64":""', undefined, undefined],
    ['null base64 as no data', '"data_base64":null', undefined, undefined],
    ['a type without data', '"datacontenttype":"text/plain"', undefined, 'text/plain'],
  ])('reads %s (JSON format 3.1.2)', (_name, members, data, contentType) => {
    const event = parse(`{${REQUIRED},${members}}`);
    expect(textOf(event.data)).toBe(data);
    expect(event.attributes.get('datacontenttype')).toBe(contentType);
  });

  test.each<[string, string, string | undefined, Record<string, string>]>([
    [
      'decodes base64 that is declared, and drops the declaration',
      '"datacontentencoding":"Base64","data":"eyJhIjoxfQ==","datacontenttype":"application/json"',
      '{"a":1}',
      { datacontenttype: 'application/json' },
    ],
    ['assumes no type for base64', '"data":"YQ==","datacontentencoding":"base64"', 'a', {}],
    [
      'ignores the declaration beside JSON',
      '"datacontentencoding":"base64","data":{"a":1}',
      '{"a":1}',
      { datacontenttype: 'application/json' },
    ],
    ['drops the declaration without data', '"datacontentencoding":"base64"', undefined, {}],
    [
      'reads a string of another type as text',
      '"datacontenttype":"text/xml","data":"<a/>"',
      '<a/>',
      { datacontenttype: 'text/xml' },
    ],
    [
      'keeps schemaurl under its name',
      '"schemaurl":"s.json","data":1',
      '1',
      { schemaurl: 's.json', datacontenttype: 'application/json' },
    ],
  ])('of version 0.3 %s (0.3, datacontentencoding)', (_name, members, data, attributes) => {
    const event = parse(`{${REQUIRED_03},${members}}`);
    expect(textOf(event.data)).toBe(data);
    expect(Object.fromEntries(event.attributes)).toEqual({
      ...{ specversion: '0.3', id: '1', source: '/a', type: 't', ...attributes },
    });
  });

  test.each<[string, string | Uint8Array, number]>([
    ['nothing', '', 0],
    ['blanks', ' \n', 2],
    ['an array', `[{${REQUIRED}}]`, 0],
    ['a string', '"a"', 0],
    ['null', 'null', 0],
    ['an object that stops', '{"id":"1"', 9],
    ['a name that stops', '{"id', 4],
    ['a name without quotes', '{id:1}', 1],
    ['a name without a value', '{"id"}', 5],
    ['a comma at the end', '{"id":"1",}', 10],
    ['a comma alone', '{,}', 1],
    ['two values', '{"id":"1" "2"}', 10],
    ['a second object', `{${REQUIRED}} {}`, `{${REQUIRED}} `.length],
    ['a byte after the end', `{${REQUIRED}}\0`, `{${REQUIRED}}`.length],
    ['a number with a leading zero', '{"a":01}', 6],
    ['a number with a plus sign', '{"a":+1}', 5],
    ['a number that ends in a dot', '{"a":1.}', 7],
    ['a number without exponent digits', '{"a":1e+}', 8],
    ['a bare minus', '{"a":-}', 6],
    ['NaN', '{"a":NaN}', 5],
    ['a word that stops', '{"a":tru}', 8],
    ['a comment', '{/**/}', 1],
    ['single quotes', "{'a':1}", 1],
    ['a raw line break in a string', '{"a":"\n"}', 6],
    ['an unknown escape', '{"a":"\\x"}', 7],
    ['an escape with too few digits', '{"a":"\\u12"}', 10],
    ['an escape at the end', '{"a":"\\', 7],
    ['brackets that do not match', '{"data":[1}}', 10],
    ['an array that ends in a comma', '{"data":[1,]}', 11],
    ['an object without names', '{"data":{1:2}}', 9],
    ['a mistake after other scripts, counted in bytes', '{"ä€":x}', 9],
    ['a byte order mark', `\ufeff{${REQUIRED}}`, 0],
    ['bytes that are not UTF-8', Buffer.from('{"id":"\xff"}', 'latin1'), 7],
    ['UTF-8 that stops', Buffer.from('{"id":"\xe2\x82', 'latin1'), 7],
    ['an overlong character', Buffer.from('{"id":"\xc0\xa0"}', 'latin1'), 7],
    ['UTF-16', Buffer.from(`{${REQUIRED}}`, 'utf16le'), 1],
    ['too deep a nesting', `{"data":${'['.repeat(10_001)}${']'.repeat(10_001)}}`, 10_008],
    ['the same attribute twice', '{"id":"1","id":"1"}', 10],
    ['the same attribute twice, escaped', '{"id":"1","\\u0069d":"2"}', 10],
    ['the same attribute twice, in capitals', '{"type":"a","Type":"b"}', 12],
    ['the same attribute twice, once null', '{"id":null,"id":"1"}', 11],
    ['data twice', `{${REQUIRED},"data":1,"data":1}`, `{${REQUIRED},"data":1,`.length],
    ['data_base64 twice', '{"data_base64":"","data_base64":""}', 18],
    ['an attribute that is an object', '{"ext":{"a":1}}', 7],
    ['an attribute that is an array', '{"ext":[]}', 7],
    ['an attribute with a fraction', '{"ext":1.5}', 7],
    ['an attribute with a fraction of nothing', '{"ext":1.0}', 7],
    ['an attribute with an exponent', '{"ext":1e3}', 7],
    ['an attribute beyond 32 bits', '{"ext":2147483648}', 7],
    ['an attribute beneath 32 bits', '{"ext":-2147483649}', 7],
    ['an attribute with half a surrogate pair', '{"ext":"\\ud800"}', 7],
  ])('refuses %s, and says where', (_name, body, offset) => {
    expectRefused(body, 'KNEAR_STRUCTURED_INVALID', `(at byte ${offset} of the body)`);
  });

  test.each<[string, string, string]>([
    [
      'data and data_base64',
      '"data":1,"data_base64":"YQ=="',
      'data and data_base64 are both there',
    ],
    [
      'data null and data_base64',
      '"data_base64":"YQ==","data":null',
      'data and data_base64 are both there',
    ],
    ['base64 of the URL alphabet', '"data_base64":"_-8="', 'data_base64 is not base64'],
    ['base64 without padding', '"data_base64":"YQ"', 'data_base64 is not base64'],
    ['base64 with too much padding', '"data_base64":"Y==="', 'data_base64 is not base64'],
    ['base64 with padding inside', '"data_base64":"YQ==YQ=="', 'data_base64 is not base64'],
    ['base64 with line breaks', '"data_base64":"YWFh\\nYWFh"', 'data_base64 is not base64'],
    [
      'base64 with four foreign characters',
      '"data_base64":"YWFh????"',
      'data_base64 is not base64',
    ],
    ['base64 beyond ASCII', '"data_base64":"YWF\\u0161"', 'data_base64 is not base64'],
    ['base64 that is no string', '"data_base64":1', 'data_base64 is not base64'],
    [
      'a number under a type that is not JSON',
      '"datacontenttype":"text/plain","data":1',
      'data is not a string',
    ],
    [
      'an object under XML',
      '"data":{},"datacontenttype":"application/xml"',
      'data is not a string',
    ],
    [
      'null under a type that is not JSON',
      '"datacontenttype":"text/plain","data":null',
      'data is not a string',
    ],
    [
      'half a surrogate pair in text',
      '"datacontenttype":"text/plain","data":"\\udc00"',
      '"data" has half of a surrogate',
    ],
  ])('refuses %s (JSON format 3.1)', (_name, members, message) => {
    expectRefused(`{${REQUIRED},${members}}`, 'KNEAR_STRUCTURED_INVALID', message);
  });

  test.each<[string, string, string]>([
    ['data_base64', '"data_base64":"YQ=="', 'data_base64 is not part of version 0.3'],
    ['bad base64', '"datacontentencoding":"base64","data":"a"', 'data is not base64'],
  ])('refuses %s in version 0.3', (_name, members, message) => {
    expectRefused(`{${REQUIRED_03},${members}}`, 'KNEAR_STRUCTURED_INVALID', message);
  });

  test.each<[string, string, string]>([
    ['an empty object', '{}', 'specversion is missing'],
    ['specversion 19.0', `{${REQUIRED.replace('1.0', '19.0')}}`, 'specversion is "19.0"'],
    ['specversion as a number', '{"specversion":1,"id":"1"}', 'specversion is 1: send 1.0'],
    ['an id that is a number', '{"specversion":"1.0","id":1,"source":"/","type":"t"}', 'id is 1'],
    ['a null type', '{"specversion":"1.0","id":"1","source":"/","type":null}', 'type is missing'],
    ['a bad time', `{${REQUIRED},"time":"now"}`, 'time is "now"'],
    [
      'a bad content type',
      `{${REQUIRED},"datacontenttype":"json","data":1}`,
      'datacontenttype is "json"',
    ],
    [
      'another encoding in 0.3',
      `{${REQUIRED_03},"datacontentencoding":"gzip"}`,
      'datacontentencoding is "gzip"',
    ],
    ['a name with an underscore', `{${REQUIRED},"my_ext":1}`, 'attribute name "my_ext"'],
    [
      'a name in letters that only look like ASCII',
      `{${REQUIRED},"\u212aey":1}`,
      'attribute name "\u212aey"',
    ],
    ['an empty name', `{${REQUIRED},"":1}`, 'attribute name ""'],
    ['data in capitals', `{${REQUIRED},"Data":1}`, 'attribute name "Data": the name is reserved'],
    ['a prototype', `{${REQUIRED},"__proto__":"x"}`, 'attribute name "__proto__"'],
  ])('refuses %s as an invalid event', (_name, body, message) => {
    expectRefused(body, 'KNEAR_EVENT_INVALID', message);
  });
});

describe('writing a structured event', () => {
  const BASE = { specversion: '1.0', id: '1', source: '/a', type: 't' };

  test.each<[string, Record<string, AttributeValue>, string, string]>([
    [
      'no data as no member',
      { ...BASE, int: 5, flag: true, text: '5' },
      '',
      ',"int":5,"flag":true,"text":"5"',
    ],
    [
      'JSON byte for byte',
      { ...BASE, datacontenttype: 'application/json' },
      '{"a":1.0, "a":2}',
      ',"datacontenttype":"application/json","data":{"a":1.0, "a":2}',
    ],
    [
      'JSON by its suffix, in capitals',
      { ...BASE, datacontenttype: 'A/B+JSON;c=d' },
      '1',
      ',"datacontenttype":"A/B+JSON;c=d","data":1',
    ],
    ['what is JSON, without a type, as JSON', BASE, 'null', ',"data":null'],
    ['what is not JSON, without a type, as base64', BASE, 'abc', ',"data_base64":"YWJj"'],
    [
      'what should be JSON but is not, as base64',
      { ...BASE, datacontenttype: 'application/json' },
      '{"a":1}x',
      ',"datacontenttype":"application/json","data_base64":"eyJhIjoxfXg="',
    ],
    [
      'JSON with a byte order mark as base64',
      { ...BASE, datacontenttype: 'application/json' },
      '\ufeff1',
      ',"datacontenttype":"application/json","data_base64":"77u/MQ=="',
    ],
    [
      'text as a string',
      { ...BASE, datacontenttype: 'text/plain; charset=UTF-8' },
      'é"\n\0',
      ',"datacontenttype":"text/plain; charset=UTF-8","data":"é\\"\\n\\u0000"',
    ],
    [
      'XML as a string',
      { ...BASE, datacontenttype: 'application/soap+xml' },
      '<a/>',
      ',"datacontenttype":"application/soap+xml","data":"<a/>"',
    ],
    [
      'text of another charset as base64',
      { ...BASE, datacontenttype: 'text/plain;charset="latin1"' },
      'a',
      ',"datacontenttype":"text/plain;charset=\\"latin1\\"","data_base64":"YQ=="',
    ],
    [
      'other types as base64, be they UTF-8',
      { ...BASE, datacontenttype: 'application/vnd.apache.thrift.binary' },
      'a',
      ',"datacontenttype":"application/vnd.apache.thrift.binary","data_base64":"YQ=="',
    ],
    ['a name or text that needs escapes', { ...BASE, ext: 'a"\r\n' }, '', ',"ext":"a\\"\\r\\n"'],
  ])('writes %s (JSON format 3.1.1)', (_name, attributes, data, members) => {
    expect(write(attributes, Buffer.from(data))).toBe(`{${REQUIRED}${members}}`);
  });

  test('writes text that is not UTF-8 as base64', () => {
    const attributes = { ...BASE, datacontenttype: 'text/plain' };
    const members = ',"datacontenttype":"text/plain","data_base64":"6Q=="';
    expect(write(attributes, Buffer.from([0xe9]))).toBe(`{${REQUIRED}${members}}`);
  });

  test.each<[string, Record<string, AttributeValue>, string, string]>([
    [
      'declares base64 where it is needed',
      {},
      'abc',
      ',"datacontentencoding":"base64","data":"YWJj"',
    ],
    [
      'declares it once',
      { datacontentencoding: 'base64' },
      'abc',
      ',"datacontentencoding":"base64","data":"YWJj"',
    ],
    ['does not declare it on JSON', { datacontentencoding: 'base64' }, '1', ',"data":1'],
    ['does not declare it without data', { datacontentencoding: 'base64' }, '', ''],
  ])('of version 0.3 %s (0.3, datacontentencoding)', (_name, attributes, data, members) => {
    const body = write({ ...BASE, specversion: '0.3', ...attributes }, Buffer.from(data));
    expect(body).toBe(`{${REQUIRED_03}${members}}`);
  });

  test('sends kept headers beside it, and no attribute', () => {
    const event = {
      attributes: new Map(Object.entries(BASE)),
      headers: new Map([['retry-after', '5']]),
      data: undefined,
    };
    expect(structuredHeaders(event)).toEqual([
      ...['content-type', 'application/cloudevents+json; charset=utf-8', 'retry-after', '5'],
    ]);
  });

  test('re-encodes in binary mode with the content type that JSON implied (JSON format 3.2)', () => {
    const headers = binaryHeaders(parse(`{${REQUIRED},"comexampleothervalue":5,"data":1.5}`));
    expect(headers.slice(8)).toEqual([
      ...['ce-comexampleothervalue', '5', 'content-type', 'application/json'],
    ]);
  });
});

describe('the scan', () => {
  const TOKENS = [
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '"a"',
    '\\',
    '\\u00eA',
    '0',
    '1',
    '-',
    '.',
    'e',
    '+',
  ];
  const WORDS = [
    'true',
    'fals',
    'null',
    ' ',
    '\t',
    '\n',
    '\r',
    '\v',
    '\f',
    '\u00a0',
    'é',
    '/',
    '\0',
    '\x7f',
  ];
  /** Texts that are nearly JSON: valid ones with a piece put in or cut out, and piles of tokens. */
  const nearlyJson = fc.oneof(
    fc.json({ noUnicodeString: false }),
    fc
      .array(fc.constantFrom(...TOKENS, ...WORDS), { maxLength: 12 })
      .map((parts) => parts.join('')),
    fc
      .tuple(fc.json(), fc.nat(), fc.nat(2), fc.constantFrom('', ...TOKENS, ...WORDS))
      .map(([text, at, count, part]) => {
        const start = at % (text.length + 1);
        return text.slice(0, start) + part + text.slice(start + count);
      }),
  );

  test('takes for JSON exactly what JSON.parse does', () => {
    fc.assert(
      fc.property(nearlyJson, (text) => {
        // Half a surrogate pair cannot be written as UTF-8.
        fc.pre(!/\p{Surrogate}/u.test(text));
        expect(isJsonValue(Buffer.from(text))).toBe(isJson(text));
      }),
      { numRuns: 2_000 },
    );
  });

  test('finds every member of an object where it stands', () => {
    const blank = fc.constantFrom('', ' ', '\n', '\t \r');
    const member = fc.record({ name: fc.string({ unit: 'grapheme' }), value: fc.json(), blank });
    fc.assert(
      fc.property(fc.array(member), (members) => {
        const body = Buffer.from(
          `{${members.map(({ name, value, blank: b }) => `${b}${JSON.stringify(name)}${b}:${b}${value}${b}`).join(',')}}`,
        );
        const found = membersOf(body).map(({ name, valueOffset, valueEnd }) => ({
          name,
          value: body.toString('utf8', valueOffset, valueEnd),
        }));
        expect(found).toEqual(members.map(({ name, value }) => ({ name, value })));
      }),
    );
  });

  test('never looks past the end of a body that was cut off', () => {
    const body = Buffer.from(`{${REQUIRED},"x":-1,"y":true,"data":[{"a":"\\u00e9"},1.5e+3,null]}`);
    for (let end = 0; end < body.length; end += 1) {
      // The rest of the body follows in memory.
      const cut = body.subarray(0, end);
      expectRefused(cut, 'KNEAR_STRUCTURED_INVALID', `(at byte ${end} of the body)`);
    }
  });
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function parse(body: string): Inline {
  return parseStructured(Buffer.from(body), {});
}

function write(attributes: Record<string, AttributeValue>, data: Uint8Array): string {
  const event = { attributes: new Map(Object.entries(attributes)), headers: new Map(), data };
  return textOf(structuredBody(event)) ?? '';
}

function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8');
}

function expectRefused(body: string | Uint8Array, code: ErrorCode, message: string): void {
  let error: unknown;
  try {
    parseStructured(typeof body === 'string' ? Buffer.from(body) : body, {});
  } catch (caught) {
    error = caught;
  }
  expect(codeOf(error)).toBe(code);
  expect((error as Error).message).toContain(message);
}
