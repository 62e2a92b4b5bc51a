/**
 * Reading a batch. Its events are read by the code of structured mode, which has tests of its own; here it is about what
 * a batch adds: where each event is, what is wrong with which, and how many there may be.
 */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { elementsOf } from '../../core/codec-json-scan.ts';
import { parseBatch, parseStructured } from '../../core/codec.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { codeOf } from '../../core/errors.ts';
import type { Inline } from '../../core/event.ts';

const REQUIRED = '"specversion":"1.0","id":"1","source":"/a","type":"t"';
const ONE = `{${REQUIRED}}`;

describe('a batch', () => {
  test('is its events, in their order (JSON format 4.3)', () => {
    const events = read(`[
      {
        "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext/4", "id" : "B234",
        "comexampleothervalue" : 5, "datacontenttype" : "application/vnd.apache.thrift.binary",
        "data_base64" : "AAECAw=="
      },
      {
        "specversion" : "1.0", "type" : "com.example.someotherevent", "source" : "/mycontext/9", "id" : "C234",
        "datacontenttype" : "application/json", "data" : { "a" : 1.0, "a": 12345678901234567890 }
      }
    ]`);
    expect(events.map(({ attributes }) => Object.fromEntries(attributes))).toEqual([
      {
        ...{ specversion: '1.0', type: 'com.example.someevent', source: '/mycontext/4' },
        ...{ id: 'B234', comexampleothervalue: 5 },
        datacontenttype: 'application/vnd.apache.thrift.binary',
      },
      {
        ...{ specversion: '1.0', type: 'com.example.someotherevent', source: '/mycontext/9' },
        ...{ id: 'C234', datacontenttype: 'application/json' },
      },
    ]);
    expect(events.map(({ data }) => Buffer.from(data ?? []).toString())).toEqual([
      '\0\u0001\u0002\u0003',
      '{ "a" : 1.0, "a": 12345678901234567890 }',
    ]);
  });

  test.each([
    ['without blanks', '[]'],
    ['with blanks', ' \r\n[\t ]\n'],
  ])('may be empty, %s (JSON format 4.3)', (_name, body) => {
    expect(parseBatch(Buffer.from(body), {})).toEqual([]);
  });

  test('may have one event twice: whoever minds looks at source and id', () => {
    expect(read(`[${ONE},${ONE}]`)).toHaveLength(2);
  });

  test('gives each event the headers that travel beside it', () => {
    const [one, two] = read(`[${ONE},${ONE}]`, { traceparent: '00-a', 'ce-id': 'x', accept: '*' });
    expect([...(one?.headers ?? [])]).toEqual([['traceparent', '00-a']]);
    expect(two?.headers).toEqual(one?.headers);
    expect(two?.attributes.get('id')).toBe('1');
  });

  test('may be of version 0.3', () => {
    const old = ONE.replace('1.0', '0.3');
    const versions = read(`[${old},${old}]`).map(({ attributes }) => attributes.get('specversion'));
    expect(versions).toEqual(['0.3', '0.3']);
  });

  test('lets go of its body: no event holds more than its own data', () => {
    const body = Buffer.from(
      `[{${REQUIRED},"data":"kept"},{${REQUIRED},"data":"${'x'.repeat(9_000)}"}]`,
    );
    const [small] = read(body);
    body.fill(0);
    expect(Buffer.from(small?.data ?? []).toString()).toBe('"kept"');
    expect(small?.data?.buffer.byteLength).toBe(6);
  });
});

describe('a body that is not a JSON array is refused, and says where', () => {
  test.each<[string, string | Uint8Array, number]>([
    ['nothing', '', 0],
    ['a single event', ONE, 0],
    ['a string', '"[]"', 0],
    ['an array that stops', `[${ONE}`, ONE.length + 1],
    ['an event that stops', '[{"id":"1"', 10],
    ['a comma at the end', `[${ONE},]`, ONE.length + 2],
    ['a comma alone', '[,]', 1],
    ['no comma between events', `[${ONE} ${ONE}]`, ONE.length + 2],
    ['an array that ends as an object', `[${ONE}}`, ONE.length + 1],
    ['a second array', '[][]', 2],
    ['events by line', `${ONE}\n${ONE}`, 0],
    ['a mistake in the third event', `[${ONE},${ONE},{"id":01}]`, 2 * ONE.length + 10],
    ['a mistake after an event that is wrong', '[{},{"id":01}]', 11],
    ['a byte after the end', '[]\0', 2],
    ['a byte order mark', '\ufeff[]', 0],
    ['bytes that are not UTF-8', Buffer.from('[{"id":"\xff"}]', 'latin1'), 8],
    ['too deep a nesting', `[${'['.repeat(10_001)}${']'.repeat(10_001)}]`, 10_001],
  ])('%s', (_name, body, offset) => {
    const error = refusalOf(body);
    expect(codeOf(error)).toBe('KNEAR_BATCH_INVALID');
    expect(error).toMatchObject({ eventErrors: undefined });
    expect(String(error)).toContain(`(at byte ${offset} of the body)`);
  });
});

describe('what is wrong with one event is told of that event', () => {
  test.each<[string, string, ErrorCode, string]>([
    ['a number', '17', 'KNEAR_STRUCTURED_INVALID', 'not an object but of type number'],
    ['an array', `[${ONE}]`, 'KNEAR_STRUCTURED_INVALID', 'not an object but of type array'],
    ['null', 'null', 'KNEAR_STRUCTURED_INVALID', 'not an object but of type null'],
    ['an empty object', '{}', 'KNEAR_EVENT_INVALID', 'specversion is missing'],
    ['a missing id', ONE.replace('"id":"1",', ''), 'KNEAR_EVENT_INVALID', 'id is missing'],
    ['a member twice', '{"id":"1","id":"1"}', 'KNEAR_STRUCTURED_INVALID', '"id" is there twice'],
    ['a bad name', '{"a-b":"1"}', 'KNEAR_EVENT_INVALID', 'attribute name "a-b"'],
    [
      'both kinds of data',
      `{${REQUIRED},"data":1,"data_base64":""}`,
      'KNEAR_STRUCTURED_INVALID',
      'data and data_base64 are both there',
    ],
    [
      'another version than the events before (HTTP binding 3.3.2)',
      ONE.replace('1.0', '0.3'),
      'KNEAR_EVENT_INVALID',
      'specversion is "0.3", but "1.0" before in this batch',
    ],
  ])('%s', (_name, text, code, detail) => {
    const [before, wrong, after] = parseBatch(Buffer.from(`[${ONE},${text},${ONE}]`), {});
    expect(wrong).toEqual({ kind: 'invalid', code, detail: expect.stringContaining(detail) });
    expect([before?.kind, after?.kind]).toEqual(['event', 'event']);
  });

  test('with its offset in the whole body', () => {
    const [, item] = parseBatch(Buffer.from(`[${ONE}, {"id":1.5}]`), {});
    const detail = expect.stringContaining(`(at byte ${ONE.length + 9} of the body)`);
    expect(item).toMatchObject({ code: 'KNEAR_STRUCTURED_INVALID', detail });
  });

  test('and an event that is wrong does not set the version', () => {
    const items = parseBatch(Buffer.from(`[{"specversion":"0.3"},${ONE}]`), {});
    expect(items.map(({ kind }) => kind)).toEqual(['invalid', 'event']);
  });
});

describe('the number of events', () => {
  const many = (count: number, text = ONE) => `[${Array(count).fill(text).join(',')}]`;

  test('may be 1,000', () => {
    expect(read(many(1_000))).toHaveLength(1_000);
  });

  test.each([
    ['events', many(1_001)],
    ['elements, whatever they are', many(1_001, '1')],
    ['elements, whatever follows', `${many(1_001).slice(0, -1)},,,`],
  ])('may not be more: %s', (_name, body) => {
    const error = refusalOf(body);
    expect(codeOf(error)).toBe('KNEAR_BATCH_TOO_LONG');
    expect(String(error)).toContain('1000 events');
  });
});

describe('any batch', () => {
  const blank = fc.constantFrom('', ' ', '\n', '\t \r');
  const required = {
    specversion: fc.constant('1.0'),
    source: fc.constant('/a'),
    type: fc.constant('t'),
  };
  const json = fc.record({ ...required, id: fc.uuid(), data: fc.jsonValue() });
  const text = fc.record({
    ...required,
    id: fc.uuid(),
    datacontenttype: fc.constant('text/plain'),
    data: fc.string({ unit: 'grapheme', minLength: 1 }),
  });
  const base64 = fc.record({
    ...required,
    id: fc.uuid(),
    data_base64: fc
      .uint8Array({ minLength: 1 })
      .map((bytes) => Buffer.from(bytes).toString('base64')),
  });
  const written = fc.oneof(json, text, base64).map((event) => JSON.stringify(event));

  test('has the events that structured mode has, one by one', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(written, blank)), blank, (events, outside) => {
        const inside = events.map(([event, space]) => `${space}${event}${space}`).join(',');
        const body = Buffer.from(`${outside}[${outside}${inside}]${outside}`);
        const expected = events.map(([event]) => parseStructured(Buffer.from(event), {}));
        expect(read(body).map(plain)).toEqual(expected.map(plain));
      }),
    );
  });

  test('is an array exactly if JSON.parse says so', () => {
    const piece = fc.constantFrom(
      '',
      '[',
      ']',
      '{',
      '}',
      ',',
      ':',
      '"',
      '"a"',
      '1',
      'null',
      ' ',
      'x',
    );
    const nearly = fc
      .tuple(fc.array(fc.json()), fc.nat(), fc.nat(2), piece)
      .map(([values, at, count, put]) => {
        const body = `[${values.join(',')}]`;
        const start = at % (body.length + 1);
        return body.slice(0, start) + put + body.slice(start + count);
      });
    fc.assert(
      fc.property(nearly, (body) => {
        fc.pre(!/\p{Surrogate}/u.test(body));
        expect(elementCount(Buffer.from(body))).toBe(lengthOf(body));
      }),
      { numRuns: 2_000 },
    );
  });

  test('that was cut off is none: nothing past its end is looked at', () => {
    const body = Buffer.from(`[${ONE},{${REQUIRED},"data":[{"a":"\\u00e9"},-1.5e+3,null]}]`);
    for (let end = 0; end < body.length; end += 1) {
      // The rest of the body follows in memory.
      const error = refusalOf(body.subarray(0, end));
      expect(String(error)).toContain(`(at byte ${end} of the body)`);
    }
  });
});

/** All are valid. */
function read(body: string | Buffer, headers: Record<string, string> = {}): Inline[] {
  return parseBatch(Buffer.from(body), headers).map((item) => {
    if (item.kind === 'invalid') throw new Error(item.detail);
    return item.event;
  });
}

function refusalOf(body: string | Uint8Array): unknown {
  try {
    parseBatch(typeof body === 'string' ? Buffer.from(body) : body, {});
  } catch (error) {
    return error;
  }
  return undefined;
}

function plain({ attributes, data }: Inline): unknown {
  return { ...Object.fromEntries(attributes), data: Buffer.from(data ?? []).toString('latin1') };
}

/** `undefined`: it is no array. */
function elementCount(body: Buffer): number | undefined {
  try {
    return [...elementsOf(body)].length;
  } catch (error) {
    expect(codeOf(error)).toBe('KNEAR_STRUCTURED_INVALID');
    return undefined;
  }
}

function lengthOf(body: string): number | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return Array.isArray(value) ? value.length : undefined;
  } catch {
    return undefined;
  }
}
