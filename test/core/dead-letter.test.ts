import { expect, test } from '@jest/globals';
import { deadLetterEvent } from '../../core/rules/dead-letter.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import type { Failure } from '../../core/ports/event-log.ts';

const event: CloudEvent = {
  attributes: new Map<string, string | number>([
    ['specversion', '0.3'],
    ['id', 'a-1'],
    ['source', '/orders'],
    ['type', 'order.created'],
    ['datacontenttype', 'application/xml'],
    ['priority', 7],
  ]),
  headers: new Map([['x-request-id', 'r-1']]),
  data: Buffer.from('<order/>'),
};

const failure: Failure = {
  code: 'KNEAR_REJECTED',
  status: 422,
  dest: 'http://subscriber.default.svc.cluster.local/',
  data: Buffer.from('no such customer'),
};

test('is the original event and three attributes about its last failure', () => {
  const letter = deadLetterEvent(event, failure);
  expect(letter.data).toBe(event.data);
  expect(letter.headers).toBe(event.headers);
  expect(Object.fromEntries(letter.attributes)).toEqual({
    ...Object.fromEntries(event.attributes),
    knativeerrordest: 'http://subscriber.default.svc.cluster.local/',
    knativeerrorcode: '422',
    knativeerrordata: 'bm8gc3VjaCBjdXN0b21lcg==',
  });
});

test('leaves the event it is made of alone, and does not raise its version', () => {
  const before = new Map(event.attributes);
  expect(deadLetterEvent(event, failure).attributes.get('specversion')).toBe('0.3');
  expect(event.attributes).toEqual(before);
});

const bytes = (length: number) => Uint8Array.from({ length }, (_, index) => (index * 7) % 256);

test.each([
  { name: 'binary data', data: bytes(256), kept: 256, characters: 344 },
  { name: 'as much as fits', data: bytes(768), kept: 768, characters: 1_024 },
  { name: 'one byte more', data: bytes(769), kept: 768, characters: 1_024 },
  { name: 'far too much', data: bytes(100_000), kept: 768, characters: 1_024 },
  { name: 'a window of a larger buffer', data: bytes(500).subarray(100, 400), kept: 300 },
])('keeps the start of $name, and what it keeps decodes', ({ data, kept, characters }) => {
  const text = deadLetterEvent(event, { ...failure, data }).attributes.get('knativeerrordata');
  expect(Uint8Array.from(Buffer.from(String(text), 'base64'))).toEqual(data.slice(0, kept));
  if (characters !== undefined) expect(text).toHaveLength(characters);
});

test.each([
  { name: 'no data', failure: { code: failure.code, status: 500, dest: failure.dest } },
  { name: 'empty data', failure: { ...failure, data: new Uint8Array() } },
])('has no knativeerrordata for $name', ({ failure }) => {
  expect(deadLetterEvent(event, failure).attributes.has('knativeerrordata')).toBe(false);
});

test('tells of the last failure only, where an event fails a second time', () => {
  const first = deadLetterEvent(event, failure);
  const second = deadLetterEvent(first, {
    code: 'KNEAR_UNREACHABLE',
    status: 500,
    dest: 'http://sink.default.svc.cluster.local/',
  });
  expect(Object.fromEntries(second.attributes)).toEqual({
    ...Object.fromEntries(event.attributes),
    knativeerrordest: 'http://sink.default.svc.cluster.local/',
    knativeerrorcode: '500',
  });
});

const ref: PayloadRef = {
  v: 1,
  store: 'file',
  tenant: 'default',
  key: '2026010107/AAAAAAAAAAAAAAAAAAAAAA',
  sizeBytes: 300_000,
  sha256: 'x'.repeat(43),
  createdMs: 0,
};
const LOST = ['KNEAR_PAYLOAD_MISSING', 'KNEAR_PAYLOAD_CORRUPT', 'KNEAR_PAYLOAD_REDACTED'] as const;

test.each(LOST)('has no data when that is lost (%s), and tells what was there (K37)', (code) => {
  const letter = deadLetterEvent({ ...event, data: ref }, { ...failure, code, status: 500 });
  expect(letter.data).toBeUndefined();
  expect(letter.headers).toBe(event.headers);
  expect(Object.fromEntries(letter.attributes)).toEqual({
    ...Object.fromEntries(event.attributes),
    knativeerrordest: failure.dest,
    knativeerrorcode: '500',
    knativeerrordata: 'bm8gc3VjaCBjdXN0b21lcg==',
    knearerror: code,
    // Text, like all that it says of itself.
    knearsize: '300000',
    knearsha256: ref.sha256,
  });
});

test.each([
  { name: 'its ticket, when it failed for another reason', data: ref, code: 'KNEAR_REJECTED' },
  { name: 'its ticket, when its store is away', data: ref, code: 'KNEAR_PAYLOAD_STORE_AWAY' },
  { name: 'data that travels with it', data: event.data, code: 'KNEAR_PAYLOAD_MISSING' },
  { name: 'no data, when it never had any', data: undefined, code: 'KNEAR_PAYLOAD_MISSING' },
] as const)('keeps $name', ({ data, code }) => {
  const letter = deadLetterEvent({ ...event, data }, { ...failure, code });
  expect(letter.data).toBe(data);
  for (const name of ['knearerror', 'knearsize', 'knearsha256']) {
    expect(letter.attributes.has(name)).toBe(false);
  }
});
