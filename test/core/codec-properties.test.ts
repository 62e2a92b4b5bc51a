/**
 * Any event survives each mode, and the JavaScript SDK reads what we write and writes what we read.
 *
 * The SDK is an oracle only where it follows the specification. Kept out of its events, with what it does instead:
 *  - percent signs, spaces, quotes, text beyond ASCII: it neither encodes nor decodes header values
 *  - times other than UTC with milliseconds: it rewrites them; a missing time or id: it makes one up
 *  - an empty attribute: it drops it
 *  - a missing datacontenttype: its binary mode announces application/json; its reader leaves out `data: null` and false
 *  - integers and booleans in binary mode: its headers are not text (so they are compared as text)
 *  - base64 it has read: it keeps one byte in each 32-bit word of its data (so `data_base64` is compared)
 *  - extensions called `constructor` or `validate`: it takes them for its own members, and fails
 *  - invalid events: it lets nearly all of them through; `codec.test.ts` and `codec-json.test.ts` have those
 */
import { describe, expect, test } from '@jest/globals';
import { CloudEvent as SdkEvent, HTTP, type CloudEventV1 } from 'cloudevents';
import fc from 'fast-check';
import {
  binaryHeaders,
  parseBinaryHead,
  parseStructured,
  structuredBody,
  structuredHeaders,
} from '../../core/codec.ts';
import type { AttributeValue, Inline } from '../../core/event.ts';

type Values = Readonly<Record<string, AttributeValue>>;

/** Any text but half surrogate pairs, with a taste for what is special in a header. */
const anyText = fc.string({
  unit: fc.oneof(
    { weight: 3, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('%', '%4', '%20', '"', '\\', ' ', ',', '\r\n', '\0', 'é', '😀'),
    },
  ),
  maxLength: 12,
});
const filledText = anyText.filter((text) => text.trim() !== '');
const segment = fc
  .string({ unit: 'grapheme', maxLength: 8 })
  .map((text) => text.replace(/\p{Cc}/gu, ''));
const source = segment.map((text) => `/${text.replace(/^\/+/, '')}`);
const time = fc
  .date({
    min: new Date('1900-01-01T00:00:00Z'),
    max: new Date('9999-12-31T00:00:00Z'),
    noInvalidDate: true,
  })
  .map((date) => date.toISOString());
const offset = fc.constantFrom('Z', '.123456789Z', '.5+05:30', '-00:00');
const contentType = fc.constantFrom(
  ...[
    'application/json',
    'text/plain; charset=utf-8',
    'application/xml',
    'application/cloudevents+x',
  ],
  ...['application/octet-stream', 'Text/JSON', 'a/b+json; x="y z"', 'text/plain; charset=latin1'],
);
const extensionName = fc
  .stringMatching(/^[a-z0-9]{1,24}$/)
  .filter((name) => !STANDARD_NAMES.has(name));
const STANDARD_NAMES = new Set([
  ...['specversion', 'id', 'source', 'type', 'subject', 'time', 'data', 'datacontenttype'],
  ...['dataschema', 'schemaurl', 'datacontentencoding'],
]);

const integer = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });

const standardValues = fc.record(
  {
    specversion: fc.constantFrom('1.0', '0.3'),
    id: filledText,
    source,
    type: filledText,
    subject: filledText,
    time: fc.tuple(time, offset).map(([text, end]) => text.replace(/\.\d+Z$/, end)),
    datacontenttype: contentType,
  },
  { requiredKeys: ['specversion', 'id', 'source', 'type'] },
);

const data = fc.oneof(
  fc.constant(undefined),
  fc.json().map((text) => Buffer.from(text)),
  anyText.map((text) => Buffer.from(text)).filter(({ length }) => length > 0),
  fc.uint8Array({ minLength: 1 }).map((bytes) => Buffer.from(bytes)),
);

const keptHeaders = fc.dictionary(
  fc.constantFrom('x-request-id', 'retry-after', 'knative-a', 'x-b3-traceid', 'traceparent'),
  fc.stringMatching(/^[\x21-\x7e\x80-\xff]{1,12}$/),
);

/** Extensions of text only, as binary mode leaves them. */
const textEvent = fc
  .tuple(standardValues, fc.dictionary(extensionName, anyText), keptHeaders, data)
  .map(([standard, extensions, headers, bytes]) =>
    eventOf({ ...extensions, ...standard }, headers, bytes),
  );

const typedEvent = fc
  .tuple(
    standardValues,
    fc.dictionary(extensionName, fc.oneof(anyText, integer, fc.boolean())),
    keptHeaders,
    data,
  )
  .map(([standard, extensions, headers, bytes]) =>
    eventOf({ ...extensions, ...standard }, headers, bytes),
  );

describe('any event', () => {
  test('comes back from binary mode as it was', () => {
    fc.assert(
      fc.property(textEvent, (event) => {
        const head = parseBinaryHead(recordOf(binaryHeaders(event)));
        expect(head.attributes).toEqual(event.attributes);
        expect(head.headers).toEqual(event.headers);
      }),
    );
  });

  test('has binary headers that HTTP allows, with one line to a value', () => {
    fc.assert(
      fc.property(typedEvent, (event) => {
        for (const text of binaryHeaders(event)) expect(text).toMatch(/^[\x20-\x7e\x80-\xff]*$/);
      }),
    );
  });

  test('comes back from structured mode as it was, but for blanks around JSON', () => {
    fc.assert(
      fc.property(typedEvent, (event) => {
        const back = parseStructured(structuredBody(event), recordOf(structuredHeaders(event)));
        expect(back.headers).toEqual(event.headers);
        const expected = new Map(event.attributes);
        // What JSON without a type implies is then said (JSON format 3.1.2).
        if (isJson(event.data) && !expected.has('datacontenttype')) {
          expected.set('datacontenttype', 'application/json');
        }
        expect(back.attributes).toEqual(expected);
        const isTrimmed = isJson(event.data) && isJsonType(expected.get('datacontenttype'));
        expect(textOf(back.data)).toBe(
          isTrimmed ? textOf(event.data)?.replace(BLANKS, '') : textOf(event.data),
        );
      }),
    );
  });

  test('is written as JSON that JSON.parse reads with the same attributes', () => {
    fc.assert(
      fc.property(typedEvent, (event) => {
        const object = JSON.parse(Buffer.from(structuredBody(event)).toString()) as object;
        expect(object).toMatchObject(Object.fromEntries(event.attributes));
      }),
    );
  });
});

describe('beside the JavaScript SDK', () => {
  const plainText = fc.stringMatching(/^[\x21\x23\x24\x26-\x7e]{1,12}$/);
  const standard = fc.record(
    {
      specversion: fc.constant('1.0'),
      id: plainText,
      source: fc.stringMatching(/^\/[\w.~/-]{0,12}$/).filter((text) => !text.startsWith('//')),
      type: plainText,
      time,
      subject: plainText,
      dataschema: fc.constant('https://example.com/schema#v1'),
      datacontenttype: fc.constant('application/json'),
    },
    { requiredKeys: ['specversion', 'id', 'source', 'type', 'time', 'datacontenttype'] },
  );
  const sdkName = extensionName.filter((name) => name !== 'constructor' && name !== 'validate');
  const extensions = fc.dictionary(sdkName, fc.oneof(plainText, integer, fc.boolean()));
  const values: fc.Arbitrary<Values> = fc
    .tuple(extensions, standard)
    .map(([extended, standardized]) => ({ ...extended, ...standardized }));
  const jsonObject = fc.dictionary(fc.string(), fc.jsonValue());

  test('its binary messages are read as it means them', () => {
    fc.assert(
      fc.property(values, (attributes) => {
        const message = HTTP.binary(new SdkEvent(attributes as Partial<CloudEventV1<unknown>>));
        const head = parseBinaryHead(textsOf(message.headers));
        expect(Object.fromEntries(head.attributes)).toEqual(textsOf(attributes));
      }),
    );
  });

  test('its structured messages are read as it means them', () => {
    fc.assert(
      fc.property(values, jsonObject, (attributes, object) => {
        const message = HTTP.structured(new SdkEvent({ ...attributes, data: object }));
        const event = parseStructured(Buffer.from(String(message.body)), {});
        expect(Object.fromEntries(event.attributes)).toEqual(attributes);
        expect(textOf(event.data)).toBe(JSON.stringify(object));
      }),
    );
  });

  test('its structured messages with base64 are read as it means them', () => {
    fc.assert(
      fc.property(values, fc.uint8Array({ minLength: 1 }), (attributes, bytes) => {
        const datacontenttype = 'application/octet-stream';
        const message = HTTP.structured(
          new SdkEvent({ ...attributes, datacontenttype, data: bytes }),
        );
        const event = parseStructured(Buffer.from(String(message.body)), {});
        expect(textOf(event.data)).toBe(Buffer.from(bytes).toString('latin1'));
      }),
    );
  });

  test('it reads our binary messages as we mean them', () => {
    fc.assert(
      fc.property(values, jsonObject, (attributes, object) => {
        const headers = recordOf(binaryHeaders(eventOf(attributes, {}, undefined)));
        const event = HTTP.toEvent({ headers, body: JSON.stringify(object) });
        expect(event).toMatchObject({ ...textsOf(attributes), data: clone(object) });
      }),
    );
  });

  test('it reads our structured messages as we mean them', () => {
    fc.assert(
      fc.property(values, jsonObject, (attributes, object) => {
        const event = eventOf(attributes, {}, Buffer.from(JSON.stringify(object)));
        const body = Buffer.from(structuredBody(event)).toString();
        const read = HTTP.toEvent({ headers: recordOf(structuredHeaders(event)), body });
        expect(read).toMatchObject({ ...attributes, data: clone(object) });
      }),
    );
  });

  test('it reads our base64 as we mean it', () => {
    fc.assert(
      fc.property(values, fc.uint8Array({ minLength: 1 }), (attributes, bytes) => {
        const datacontenttype = 'application/octet-stream';
        const event = eventOf({ ...attributes, datacontenttype }, {}, bytes);
        const body = Buffer.from(structuredBody(event)).toString();
        const read = HTTP.toEvent({ headers: recordOf(structuredHeaders(event)), body });
        const { data: words } = read as CloudEventV1<Uint32Array>;
        expect(Array.from(words ?? [])).toEqual(Array.from(bytes));
      }),
    );
  });
});

function eventOf(
  attributes: Values,
  headers: Record<string, string>,
  bytes: Uint8Array | undefined,
): Inline {
  return {
    attributes: new Map(Object.entries(attributes)),
    headers: new Map(Object.entries(headers)),
    data: bytes,
  };
}

/** Flat headers as a receiver sees them. */
function recordOf(flat: readonly string[]): Record<string, string> {
  const record: Record<string, string> = {};
  for (let index = 0; index < flat.length; index += 2) {
    record[String(flat[index])] = String(flat[index + 1]);
  }
  return record;
}

function textsOf(values: object): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));
}

/** As it is after a way through JSON, where -0 becomes 0. */
function clone(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown;
}

/** One character a byte, so that differences show. */
function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('latin1');
}

const BLANKS = /^[ \t\r\n]+|[ \t\r\n]+$/g;

function isJson(bytes: Uint8Array | undefined): boolean {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
    return true;
  } catch {
    return false;
  }
}

function isJsonType(type: AttributeValue | undefined): boolean {
  return /[/+]json(?:;|$)/i.test(String(type));
}
