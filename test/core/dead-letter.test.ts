import { expect, test } from '@jest/globals';
import { deadLetterEvent } from '../../core/rules/dead-letter.ts';
import type { CloudEvent } from '../../core/event.ts';
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
