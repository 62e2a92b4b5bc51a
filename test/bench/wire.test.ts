import { describe, expect, test } from '@jest/globals';
import {
  copyTemplate,
  createScanner,
  eventId,
  pathOf,
  requestTemplate,
  sequenceOf,
  statusOf,
  writeId,
} from '../../bench/wire.ts';

const SHAPE = {
  host: '127.0.0.1:8080',
  path: '/sink/3',
  type: 'bench.match',
  dataBytes: 1_024,
  run: 7,
};

interface Message {
  readonly head: string;
  readonly body: string;
}

function scanAll(chunks: readonly Buffer[], keepsBody = true): Message[] {
  const messages: Message[] = [];
  const feed = createScanner({
    keepsBody: () => keepsBody,
    onMessage: (head, body) => messages.push({ head, body: body.toString('latin1') }),
  });
  chunks.forEach(feed);
  return messages;
}

describe('a request', () => {
  test('is a binary-mode CloudEvent with as much JSON data as asked for', () => {
    const [message] = scanAll([requestTemplate(SHAPE).bytes]);
    expect(message?.head).toContain('ce-specversion: 1.0\r\n');
    expect(message?.head).toContain('ce-type: bench.match\r\n');
    expect(pathOf(message?.head ?? '')).toBe('/sink/3');
    expect(message?.body).toHaveLength(1_024);
    expect(() => JSON.parse(message?.body ?? '') as unknown).not.toThrow();
  });

  test.each([0, 1, 9, 10, 12_345_678, 99_999_999])('carries sequence number %i', (sequence) => {
    const template = requestTemplate(SHAPE);
    writeId(template, 55_555_555);
    writeId(template, sequence);
    const [message] = scanAll([template.bytes]);
    expect(message?.head).toContain(`ce-id: ${eventId(7, sequence)}\r\n`);
    expect(sequenceOf(message?.head ?? '', 7)).toBe(sequence);
  });

  test('refuses a sequence number with too many digits', () => {
    expect(() => writeId(requestTemplate(SHAPE), 100_000_000)).toThrow();
  });

  test('refuses data too small for a JSON document', () => {
    expect(() => requestTemplate({ ...SHAPE, dataBytes: 10 })).toThrow();
  });

  test('of one connection is not changed by another connection', () => {
    const template = requestTemplate(SHAPE);
    const copy = copyTemplate(template);
    writeId(copy, 5);
    expect(sequenceOf(template.bytes.toString('latin1'), 7)).toBe(0);
  });
});

describe('a large request', () => {
  test.each([
    { name: 'just too large to be sent at once', dataBytes: 1_048_577 },
    { name: 'whose pieces are all full', dataBytes: 9 + 5 * 262_144 },
    { name: 'whose last piece holds one byte more', dataBytes: 9 + 2 + 5 * 262_144 + 1 },
    { name: 'of 3 MB', dataBytes: 3_000_000 },
  ])('$name is a JSON document of its size', ({ dataBytes }) => {
    const { bytes, pieces } = requestTemplate({ ...SHAPE, dataBytes });
    const [message] = scanAll([bytes, ...pieces]);
    expect(message?.body).toHaveLength(dataBytes);
    expect(() => JSON.parse(message?.body ?? '') as unknown).not.toThrow();
  });

  test('of 1 GiB takes no more memory than two pieces', () => {
    const { bytes, pieces } = copyTemplate(requestTemplate({ ...SHAPE, dataBytes: 2 ** 30 }));
    expect(bytes.byteLength).toBeLessThan(1_024);
    expect(new Set(pieces.map(({ buffer }) => buffer)).size).toBeLessThanOrEqual(2);
  });

  test('of 1 MB goes out in one write, as those that the floors were taken with', () => {
    expect(requestTemplate({ ...SHAPE, dataBytes: 1_000_000 }).pieces).toEqual([]);
  });
});

test.each([
  { name: 'another run', head: 'POST / HTTP/1.1\r\nce-id: r6-00000001' },
  { name: 'a run whose number begins the same', head: 'POST / HTTP/1.1\r\nce-id: r70-00000001' },
  { name: 'no id', head: 'POST / HTTP/1.1\r\nHost: x' },
  { name: 'another kind of id', head: 'POST / HTTP/1.1\r\nce-id: r7-abc' },
])('an event of $name does not belong to the run', ({ head }) => {
  expect(sequenceOf(head, 7)).toBe(-1);
});

test('finds the id whatever the case of the header name', () => {
  expect(sequenceOf('POST / HTTP/1.1\r\nCE-ID:r7-00000042\r\nHost: x', 7)).toBe(42);
});

describe('the scanner', () => {
  const first = 'HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n';
  const second = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello';
  const stream = Buffer.from(first + second + first);

  test('finds the same messages wherever the stream is cut', () => {
    const whole = scanAll([stream]);
    expect(whole.map(({ body }) => body)).toEqual(['', 'hello', '']);
    expect(whole.map(({ head }) => statusOf(head))).toEqual([202, 200, 202]);
    for (let cut = 1; cut < stream.length; cut += 1) {
      expect(scanAll([stream.subarray(0, cut), stream.subarray(cut)])).toEqual(whole);
    }
    expect(scanAll(Array.from(stream, (byte) => Buffer.of(byte)))).toEqual(whole);
  });

  test('survives that the chunk with half a head is overwritten', () => {
    const buffer = Buffer.from(first.slice(0, 20));
    const messages: string[] = [];
    const feed = createScanner({
      keepsBody: () => false,
      onMessage: (head) => messages.push(head),
    });
    feed(buffer);
    buffer.fill(0);
    feed(Buffer.from(first.slice(20)));
    expect(messages).toEqual(['HTTP/1.1 202 Accepted\r\nContent-Length: 0']);
  });

  test('keeps no body that nobody wants', () => {
    expect(scanAll([stream], false).map(({ body }) => body)).toEqual(['', '', '']);
  });

  test.each([
    { name: 'a chunked body', bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' },
    { name: 'a head without an end', bytes: 'x'.repeat(20_000) },
  ])('refuses $name instead of guessing', ({ bytes }) => {
    expect(() => scanAll([Buffer.from(bytes)])).toThrow();
  });
});

test.each(['', 'SSH-2.0-OpenSSH', 'HTTP/1.1 abc'])('"%s" is no status line', (head) => {
  expect(() => statusOf(head)).toThrow('not an HTTP response');
});
