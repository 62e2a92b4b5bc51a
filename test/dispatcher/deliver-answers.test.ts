import { afterEach, describe, expect, test } from '@jest/globals';
import type http from 'node:http';
import { parseRetryAfter } from '../../dispatcher/deliver/answer.ts';
import { inlineData } from '../../core/event.ts';
import type { DeliveryRequest, Outcome } from '../../core/ports/deliverer.ts';
import { FakeClock } from '../fakes/clock.ts';
import { CLAIMS } from '../fakes/claims.ts';
import {
  answer,
  closeAll,
  openDeliverer,
  rawAnswer,
  rawSubscriber,
  requestTo,
  subscriber,
  type Respond,
} from './deliver-subscribers.ts';

afterEach(closeAll);

const REPLY_MAX_BYTES = 64 * 1024;
const REPLIES = {
  tenant: 'default',
  // All that may come is small.
  claims: { ...CLAIMS, replyMaxBytes: REPLY_MAX_BYTES, inlineMaxBytes: 2 * REPLY_MAX_BYTES },
};

async function outcomeOf(
  respond: Respond,
  more: Partial<DeliveryRequest> = {},
  clock?: FakeClock,
): Promise<Outcome> {
  const { url } = await subscriber(respond);
  const options = clock === undefined ? {} : { clock };
  return openDeliverer(options).deliver(requestTo(url, { replies: REPLIES, ...more }));
}

const CE: http.OutgoingHttpHeaders = {
  'ce-specversion': '1.0',
  'ce-id': 'r-1',
  'ce-source': '/answers',
  'ce-type': 'order.checked',
};
const JSON_EVENT = { specversion: '1.0', id: 'r-1', source: '/answers', type: 'order.checked' };
const STRUCTURED: http.OutgoingHttpHeaders = { 'content-type': 'application/cloudevents+json' };

describe('a 2xx', () => {
  test.each([200, 201, 202, 204, 299])('%i without a body is accepted', async (status) => {
    expect(await outcomeOf(answer(status))).toEqual({ kind: 'accepted', status });
  });

  test.each([200, 202])('%i with a binary event is a reply', async (status) => {
    const headers = { ...CE, 'content-type': 'text/plain', 'ce-colour': 'blue' };
    const outcome = await outcomeOf(answer(status, headers, 'fine'));
    if (outcome.kind !== 'replied') throw new Error(outcome.kind);
    expect(outcome.status).toBe(status);
    expect(Object.fromEntries(outcome.event.attributes)).toEqual({
      ...JSON_EVENT,
      datacontenttype: 'text/plain',
      colour: 'blue',
    });
    expect(Buffer.from(inlineData(outcome.event) ?? []).toString()).toBe('fine');
  });

  test('with a structured event is a reply', async () => {
    const body = JSON.stringify({ ...JSON_EVENT, data: { fine: true } });
    const outcome = await outcomeOf(answer(200, STRUCTURED, body));
    if (outcome.kind !== 'replied') throw new Error(outcome.kind);
    expect(outcome.event.attributes.get('id')).toBe('r-1');
    expect(Buffer.from(inlineData(outcome.event) ?? []).toString()).toBe('{"fine":true}');
  });

  test('with the headers of an event and an empty body is a reply without data', async () => {
    const outcome = await outcomeOf(answer(200, CE));
    if (outcome.kind !== 'replied') throw new Error(outcome.kind);
    expect(outcome.event.data).toBeUndefined();
  });

  test('keeps the headers that travel with a reply, and no others', async () => {
    const headers = { ...CE, 'x-request-id': 'r-7', 'knative-foo': 'bar', 'x-other': 'no' };
    const outcome = await outcomeOf(answer(200, headers, 'fine'));
    if (outcome.kind !== 'replied') throw new Error(outcome.kind);
    expect(Object.fromEntries(outcome.event.headers)).toEqual({
      'x-request-id': 'r-7',
      'knative-foo': 'bar',
    });
  });

  test('puts a reply together that arrives in many pieces', async () => {
    const pieces = Array.from({ length: 40 }, (_, index) => String(index).repeat(100));
    const outcome = await outcomeOf((response) => {
      response.writeHead(200, CE);
      const next = (index: number): void => {
        const piece = pieces[index];
        if (piece === undefined) response.end();
        else response.write(piece, () => setImmediate(next, index + 1));
      };
      next(0);
    });
    if (outcome.kind !== 'replied') throw new Error(outcome.kind);
    expect(Buffer.from(inlineData(outcome.event) ?? []).toString()).toBe(pieces.join(''));
  });

  const malformed = [
    {
      name: 'text',
      respond: answer(200, { 'content-type': 'text/plain' }, 'OK'),
      code: 'KNEAR_REPLY_FOREIGN',
      detail: /text\/plain/,
      body: 'OK',
    },
    {
      name: 'bytes without a content type',
      respond: answer(202, {}, '\0\x01'),
      code: 'KNEAR_REPLY_FOREIGN',
      detail: /no CloudEvent/,
      body: '\0\x01',
    },
    {
      name: 'an event without an id',
      respond: answer(200, { ...CE, 'ce-id': '' }, 'data'),
      code: 'KNEAR_REPLY_INVALID',
      detail: /\bid\b/,
      body: 'data',
    },
    {
      name: 'an event of a version nobody knows',
      respond: answer(200, { ...CE, 'ce-specversion': '9.9' }),
      code: 'KNEAR_REPLY_INVALID',
      detail: /specversion/,
      body: undefined,
    },
    {
      name: 'a structured event that is not JSON',
      respond: answer(200, STRUCTURED, '{"id":'),
      code: 'KNEAR_REPLY_INVALID',
      detail: /./,
      body: '{"id":',
    },
    {
      name: 'a batch',
      respond: answer(200, { 'content-type': 'application/cloudevents-batch+json' }, '[]'),
      code: 'KNEAR_REPLY_INVALID',
      detail: /batch/,
      body: '[]',
    },
  ] as const;

  test.each(malformed)('with $name is malformed: $code', async ({ respond, ...expected }) => {
    const outcome = await outcomeOf(respond);
    if (outcome.kind !== 'malformed') throw new Error(outcome.kind);
    expect(outcome.code).toBe(expected.code);
    expect(outcome.detail).toMatch(expected.detail);
    const body = outcome.body === undefined ? undefined : Buffer.from(outcome.body).toString();
    expect(body).toBe(expected.body);
  });

  test.each(malformed)('with $name is accepted if no reply was asked for', async ({ respond }) => {
    expect((await outcomeOf(respond, { wantsReply: false })).kind).toBe('accepted');
  });

  test('with the type of a structured event and no body is accepted', async () => {
    expect((await outcomeOf(answer(200, STRUCTURED))).kind).toBe('accepted');
  });

  test('is a reply up to the limit, and too large one byte later', async () => {
    const largest = await outcomeOf(answer(200, CE, Buffer.alloc(REPLY_MAX_BYTES)));
    expect(largest.kind).toBe('replied');
    const larger = await outcomeOf(answer(200, CE, Buffer.alloc(REPLY_MAX_BYTES + 1, 'x')));
    expect(larger).toMatchObject({ kind: 'malformed', code: 'KNEAR_REPLY_TOO_LARGE', status: 200 });
    expect(larger).toHaveProperty('body.byteLength', 768);
  });

  test.each([
    { name: 'a reply that announces too much', headers: { ...CE, 'content-length': '1000000' } },
    { name: 'a reply without end', headers: CE },
  ])('is not read on: $name', async ({ headers }) => {
    const { url, connections } = await subscriber((response) => {
      response.writeHead(200, headers).write(Buffer.alloc(1_000));
      if (!('content-length' in headers)) response.write(Buffer.alloc(REPLY_MAX_BYTES));
    });
    const outcome = await openDeliverer().deliver(requestTo(url, { replies: REPLIES }));
    expect(outcome).toMatchObject({ kind: 'malformed', code: 'KNEAR_REPLY_TOO_LARGE' });
    expect(connections).toHaveLength(1);
    for (const { ended } of connections) expect(await ended).toBe('ECONNRESET');
  });

  test('with a body that is no event is never too large, only foreign', async () => {
    const html = { 'content-type': 'text/html' };
    const outcome = await outcomeOf(answer(200, html, Buffer.alloc(2 * REPLY_MAX_BYTES, 'x')));
    expect(outcome).toMatchObject({ kind: 'malformed', code: 'KNEAR_REPLY_FOREIGN' });
    expect(outcome).toHaveProperty('body.byteLength', 768);
  });

  test('is understood from a server that ends the body by closing', async () => {
    const { url } = await rawSubscriber((socket) => {
      socket.on('data', () =>
        socket.end(
          'HTTP/1.0 200 OK\r\nCe-SpecVersion: 1.0\r\nCE-ID: 1\r\nce-source: /a\r\nce-type: t\r\n\r\nok',
        ),
      );
    });
    const outcome = await openDeliverer().deliver(requestTo(url));
    if (outcome.kind !== 'replied') throw new Error(outcome.kind);
    expect(Buffer.from(inlineData(outcome.event) ?? []).toString()).toBe('ok');
  });
});

describe('any other status', () => {
  test.each([300, 304, 400, 404, 413, 422, 429, 500, 503, 599])(
    '%i is rejected',
    async (status) => {
      expect(await outcomeOf(answer(status))).toEqual({ kind: 'rejected', status });
    },
  );

  test.each([301, 302, 303, 307, 308])('%i is not followed (X2)', async (status) => {
    const elsewhere = await subscriber(answer(202));
    const outcome = await outcomeOf(answer(status, { location: elsewhere.url }));
    expect(outcome).toEqual({ kind: 'rejected', status });
    expect(elsewhere.connections).toHaveLength(0);
  });

  test('keeps the start of the body, at most 768 bytes, whatever its type', async () => {
    const short = await outcomeOf(answer(422, CE, 'no such customer'));
    expect(short).toEqual({ kind: 'rejected', status: 422, body: Buffer.from('no such customer') });
    const long = await outcomeOf(answer(500, {}, Buffer.alloc(2_000, 'x')));
    expect(long).toEqual({ kind: 'rejected', status: 500, body: Buffer.alloc(768, 'x') });
  });

  test('does not hold a read buffer for the sake of a few bytes', async () => {
    const outcome = await outcomeOf(answer(500, {}, Buffer.alloc(60_000, 'x')));
    if (outcome.kind !== 'rejected' || outcome.body === undefined) throw new Error(outcome.kind);
    expect(outcome.body.buffer.byteLength).toBe(768);
  });

  test('is cut off where its body is long, in content or by announcement', async () => {
    const { url, connections } = await subscriber((response, { path }) => {
      const isAnnounced = path === '/announced';
      response.writeHead(500, isAnnounced ? { 'content-length': '1000000' } : {});
      response.write(Buffer.alloc(isAnnounced ? 1_000 : 100_000, 'x'));
    });
    const deliverer = openDeliverer();
    for (const path of ['/announced', '/endless']) {
      const outcome = await deliverer.deliver(requestTo(url + path));
      expect(outcome).toEqual({ kind: 'rejected', status: 500, body: Buffer.alloc(768, 'x') });
    }
    expect(connections).toHaveLength(2);
    for (const { ended } of connections) expect(await ended).toBe('ECONNRESET');
  });

  test('reports Retry-After in ms', async () => {
    const seconds = await outcomeOf(answer(429, { 'retry-after': '7' }));
    expect(seconds).toEqual({ kind: 'rejected', status: 429, retryAfterMs: 7_000 });
    const clock = new FakeClock(Date.UTC(2026, 0, 1));
    const date = { 'retry-after': 'Thu, 01 Jan 2026 00:01:30 GMT' };
    const outcome = await outcomeOf(answer(503, date), {}, clock);
    expect(outcome).toEqual({ kind: 'rejected', status: 503, retryAfterMs: 90_000 });
  });
});

describe('an answer that is cut off', () => {
  const parts = [
    {
      name: 'a rejection keeps its status and what came of the body (X3)',
      text: 'HTTP/1.1 400 Bad\r\ncontent-length: 100\r\n\r\nhalf',
      outcome: { kind: 'rejected', status: 400, body: Buffer.from('half') },
    },
    {
      name: 'a rejection without a byte of its body keeps its status (X3)',
      text: 'HTTP/1.1 400 Bad\r\ncontent-length: 100\r\n\r\n',
      outcome: { kind: 'rejected', status: 400 },
    },
    {
      name: 'a foreign body is foreign from its first byte (X3)',
      text: 'HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 100\r\n\r\nhalf',
      outcome: { kind: 'malformed', code: 'KNEAR_REPLY_FOREIGN', body: Buffer.from('half') },
    },
    {
      name: 'before its first byte it might have been anything',
      text: 'HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 100\r\n\r\n',
      outcome: { kind: 'unreachable' },
    },
    {
      name: 'half a reply is none',
      text: 'HTTP/1.1 200 OK\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /a\r\nce-type: t\r\ncontent-length: 100\r\n\r\nhalf',
      outcome: { kind: 'unreachable' },
    },
    {
      name: 'half a chunked reply is none',
      text: 'HTTP/1.1 200 OK\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /a\r\nce-type: t\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n',
      outcome: { kind: 'unreachable' },
    },
    {
      name: 'half a head is none',
      text: 'HTTP/1.1 200 OK\r\nce-sp',
      outcome: { kind: 'unreachable' },
    },
  ];

  test.each(parts)('by closing: $name', async ({ text, outcome }) => {
    const { url } = await rawSubscriber((socket) => {
      socket.on('data', () => socket.end(text));
    });
    const code = outcome.kind === 'unreachable' ? { code: 'KNEAR_RESET' } : {};
    expect(await openDeliverer().deliver(requestTo(url))).toMatchObject({ ...outcome, ...code });
  });

  // All at once, so that each can have a second, in which a busy machine surely gets the bytes across.
  test('by silence means the same, with TIMEOUT in the place of RESET', async () => {
    const deliverer = openDeliverer();
    const deliver = async ({ name, text }: { name: string; text: string }) => {
      const { url } = await rawSubscriber(rawAnswer(text));
      return { name, outcome: await deliverer.deliver(requestTo(url, { timeoutMs: 1_000 })) };
    };
    expect(await Promise.all(parts.map(deliver))).toMatchObject(
      parts.map(({ name, outcome }) => {
        const code = outcome.kind === 'unreachable' ? { code: 'KNEAR_TIMEOUT' } : {};
        return { name, outcome: { ...outcome, ...code } };
      }),
    );
  });

  test('is accepted all the same where no reply was asked for', async () => {
    const text = 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n';
    const { url } = await rawSubscriber((socket) => {
      socket.on('data', () => socket.end(text));
    });
    const outcome = await openDeliverer().deliver(requestTo(url, { wantsReply: false }));
    expect(outcome).toEqual({ kind: 'accepted', status: 200 });
  });
});

describe('the wait that Retry-After asks for', () => {
  const nowMs = Date.UTC(2026, 0, 1);

  test.each([
    { header: '0', waitMs: 0 },
    { header: '120', waitMs: 120_000 },
    { header: ' 5 ', waitMs: 5_000 },
    { header: '9'.repeat(400), waitMs: Number.MAX_SAFE_INTEGER },
    { header: 'Thu, 01 Jan 2026 00:00:10 GMT', waitMs: 10_000 },
    { header: 'Thursday, 01-Jan-26 00:00:10 GMT', waitMs: 10_000 },
    { header: 'Thu Jan  1 00:00:10 2026', waitMs: 10_000 },
    { header: 'Wed, 31 Dec 2025 23:59:59 GMT', waitMs: 0 },
    { header: '-5', waitMs: undefined },
    { header: '1.5', waitMs: undefined },
    { header: '0x10', waitMs: undefined },
    { header: '2026-01-01T00:00:10Z', waitMs: undefined },
    { header: 'Thu, 99 Foo 2026', waitMs: undefined },
    { header: 'soon', waitMs: undefined },
    { header: '', waitMs: undefined },
    { header: undefined, waitMs: undefined },
  ])('"$header" is $waitMs ms', ({ header, waitMs }) => {
    expect(parseRetryAfter(header, nowMs)).toBe(waitMs);
  });

  test('is not known where the header comes twice', () => {
    expect(parseRetryAfter(['1', '2'], nowMs)).toBeUndefined();
  });
});
