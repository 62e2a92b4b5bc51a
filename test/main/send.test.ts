/** `knear send` against real receivers, which do what a door does and what it never would. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { openData, type DataSource } from '../../main/client/event-data.ts';
import { openProgress } from '../../main/client/progress.ts';
import { extensionOf, send, type SendOptions, type Sent } from '../../main/client/send.ts';
import { systemClock } from '../../main/time.ts';
import { FakeClock } from '../fakes/clock.ts';

interface Received {
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

type Answer = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

const closers: (() => Promise<void>)[] = [];
let folder: string;
let received: Received[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'knear-send-'));
  received = [];
});

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  await rm(folder, { recursive: true, force: true });
});

/** Takes the body of each request and then answers it, with the last answer for all that follow. */
function receiver(...answers: readonly Answer[]): Promise<URL> {
  return listener(async (request, response) => {
    received.push({ headers: request.headers, body: await buffer(request) });
    await answers[Math.min(received.length, answers.length) - 1]?.(request, response);
  });
}

async function listener(answer: Answer, onExpect = answer): Promise<URL> {
  const handled = (each: Answer) => (request: IncomingMessage, response: ServerResponse) => {
    void (async () => {
      await each(request, response);
    })();
  };
  const server = createServer(handled(answer));
  server.on(
    'checkContinue',
    handled((request, response) => {
      if (onExpect === answer) response.writeContinue();
      return onExpect(request, response);
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  // A server that listens on a port has such an address.
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/default/default`);
}

function answer(status: number, headers: Record<string, string> = {}, body = ''): Answer {
  return (_request, response) => {
    response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers });
    response.end(body);
  };
}

const ACCEPTED = answer(202);

interface Run {
  readonly sent: Sent;
  readonly pausesMs: readonly number[];
}

async function sendTo(
  url: URL,
  source: DataSource,
  options: Partial<SendOptions> = {},
): Promise<Run> {
  const pausesMs: number[] = [];
  const sent = await send({
    url,
    attributes: new Map([
      ['id', 'e-1'],
      ['source', '/test'],
      ['type', 'order.created'],
      ['subject', 'Käse'],
    ]),
    data: await openData(source),
    isStructured: false,
    retriesMax: 0,
    clock: systemClock,
    random: { next: () => 0 },
    pause(ms) {
      pausesMs.push(ms);
      return Promise.resolve();
    },
    ...options,
  });
  return { sent, pausesMs };
}

const TEXT: DataSource = { kind: 'text', text: '{"a":1}' };

async function file(name: string, data: Uint8Array | string): Promise<DataSource> {
  const path = join(folder, name);
  await writeFile(path, data);
  return { kind: 'file', path };
}

function input(...pieces: readonly string[]): DataSource {
  return { kind: 'input', input: Readable.from(pieces.map((piece) => Buffer.from(piece))) };
}

describe('an event', () => {
  test('goes out as headers and data', async () => {
    const url = await receiver(ACCEPTED);
    expect((await sendTo(url, TEXT)).sent).toEqual({ isAccepted: true, status: '202 Accepted' });
    expect(received).toHaveLength(1);
    expect(received[0]?.body.toString()).toBe('{"a":1}');
    expect(received[0]?.headers).toMatchObject({
      'ce-specversion': '1.0',
      'ce-id': 'e-1',
      'ce-source': '/test',
      'ce-type': 'order.created',
      'ce-subject': 'K%C3%A4se',
      'content-type': 'application/json',
      'content-length': '7',
    });
  });

  test('goes out as one JSON text when it is structured, whatever its data is', async () => {
    const url = await receiver(ACCEPTED);
    await sendTo(url, TEXT, { isStructured: true });
    await sendTo(url, await file('x.png', Buffer.from([0, 255])), { isStructured: true });
    expect(received[0]?.headers['content-type']).toMatch(/^application\/cloudevents\+json/);
    const [first, second] = received.map(({ body }): unknown => JSON.parse(body.toString()));
    expect(first).toMatchObject({ id: 'e-1', subject: 'Käse', data: { a: 1 } });
    expect(second).toMatchObject({ datacontenttype: 'image/png', data_base64: 'AP8=' });
  });

  test('may have no data', async () => {
    const url = await receiver(ACCEPTED);
    await sendTo(url, { kind: 'none' });
    expect(received[0]?.headers['content-length']).toBe('0');
    expect(received[0]?.headers['content-type']).toBeUndefined();
  });

  test.each([
    { name: 'a.json', type: 'application/json' },
    { name: 'A.JSON', type: 'application/json' },
    { name: 'a.txt', type: 'text/plain; charset=utf-8' },
    { name: 'a.unknown', type: 'application/octet-stream' },
    { name: 'a', type: 'application/octet-stream' },
  ])('has the type that its file is called by: $name', async ({ name, type }) => {
    expect(await openData(await file(name, 'x'))).toMatchObject({ contentType: type });
  });

  test.each([
    { text: '{"a":1}', type: 'application/json' },
    { text: 'hello', type: 'text/plain; charset=utf-8' },
  ])('has the type that its text looks like: $text', async ({ text, type }) => {
    expect(await openData({ kind: 'text', text })).toMatchObject({ contentType: type });
  });

  test('has the type that the user says', async () => {
    const url = await receiver(ACCEPTED);
    await sendTo(url, TEXT, { contentType: 'application/vnd.order+json' });
    expect(received[0]?.headers['content-type']).toBe('application/vnd.order+json');
  });
});

describe('large data', () => {
  const LARGE = Buffer.alloc(5_000_000, 'knear');

  test('of a file is announced with its size and arrives whole', async () => {
    const url = await receiver(ACCEPTED);
    const pieces: number[] = [];
    const begins: (number | undefined)[] = [];
    await sendTo(url, await file('large', LARGE), {
      onBegin: (sizeBytes) => begins.push(sizeBytes),
      onSent: (bytes) => pieces.push(bytes),
    });
    expect(received[0]?.headers['content-length']).toBe('5000000');
    expect(received[0]?.headers['expect']).toBe('100-continue');
    expect(received[0]?.body.equals(LARGE)).toBe(true);
    expect(begins).toEqual([5_000_000]);
    // In pieces: it is never in memory as a whole.
    expect(pieces.length).toBeGreaterThan(10);
    expect(pieces.reduce((sum, each) => sum + each, 0)).toBe(5_000_000);
  });

  test('of a pipe is sent without knowing its size', async () => {
    const url = await receiver(ACCEPTED);
    await sendTo(url, input('one ', 'two'));
    expect(received[0]?.headers['transfer-encoding']).toBe('chunked');
    expect(received[0]?.body.toString()).toBe('one two');
  });

  test('is not sent when the head says enough', async () => {
    let bodyBytes = 0;
    const refuse: Answer = (request, response) => {
      request.on('data', (piece: Buffer) => (bodyBytes += piece.byteLength));
      return answer(413, { connection: 'close' })(request, response);
    };
    const url = await listener(ACCEPTED, refuse);
    const { sent } = await sendTo(url, await file('large', LARGE));
    expect(sent).toEqual({ isAccepted: false, reason: '413 Payload Too Large' });
    expect(bodyBytes).toBe(0);
  });

  test('stops when the answer comes early', async () => {
    const url = await listener((request, response) => {
      // Never reads on.
      request.once('data', () => {
        request.pause();
        void answer(413, { connection: 'close' })(request, response);
      });
    });
    let sentBytes = 0;
    const data = await file('large', Buffer.alloc(50_000_000));
    const { sent } = await sendTo(url, data, { onSent: (bytes) => (sentBytes += bytes) });
    expect(sent.isAccepted).toBe(false);
    expect(sentBytes).toBeLessThan(50_000_000);
  });

  test('is sent to a receiver that does not know the question', async () => {
    const url = await listener(ACCEPTED, async (request, response) => {
      received.push({ headers: request.headers, body: await buffer(request) });
      await ACCEPTED(request, response);
    });
    expect((await sendTo(url, await file('large', LARGE))).sent.isAccepted).toBe(true);
    expect(received[0]?.body.byteLength).toBe(LARGE.byteLength);
  });

  test('that cannot be read is the error of the system', async () => {
    await expect(openData({ kind: 'file', path: join(folder, 'none') })).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });
});

describe('an event that is refused', () => {
  test.each([
    {
      name: 'with code and detail',
      body: '{"code":"KNEAR_EVENT_INVALID","title":"Not valid","detail":"id is missing"}',
      reason: 'KNEAR_EVENT_INVALID: id is missing (400 Bad Request)',
    },
    { name: 'by a stranger', body: '<h1>\n No</h1>', reason: '400 Bad Request: <h1> No</h1>' },
    { name: 'without a word', body: '', reason: '400 Bad Request' },
    { name: 'with JSON that is no problem', body: 'null', reason: '400 Bad Request: null' },
  ])('says why: $name', async ({ body, reason }) => {
    const url = await receiver(answer(400, {}, body));
    expect((await sendTo(url, TEXT)).sent).toEqual({ isAccepted: false, reason });
  });

  test('because nobody is there is KNEAR_UNREACHABLE', async () => {
    const url = new URL('http://127.0.0.1:1/default/default');
    await expect(sendTo(url, TEXT)).rejects.toMatchObject({
      code: 'KNEAR_UNREACHABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });
});

describe('another try', () => {
  test.each([
    { status: 408, tries: 3 },
    { status: 429, tries: 3 },
    { status: 500, tries: 3 },
    { status: 503, tries: 3 },
    { status: 400, tries: 1 },
    { status: 404, tries: 1 },
    { status: 413, tries: 1 },
  ])('$status: $tries tries of at most three', async ({ status, tries }) => {
    const url = await receiver(answer(status));
    const { sent } = await sendTo(url, TEXT, { retriesMax: 2 });
    expect(sent.isAccepted).toBe(false);
    expect(received.map(({ headers }) => headers['ce-id'])).toEqual(Array(tries).fill('e-1'));
  });

  test('is told, and ends with the first 202', async () => {
    const url = await receiver(answer(503), answer(503), ACCEPTED);
    const reasons: string[] = [];
    const { sent } = await sendTo(url, TEXT, {
      retriesMax: 9,
      onRetry: (reason) => reasons.push(reason),
    });
    expect(sent.isAccepted).toBe(true);
    expect(received.map(({ body }) => body.toString())).toEqual(Array(3).fill('{"a":1}'));
    expect(reasons).toEqual(['503 Service Unavailable', '503 Service Unavailable']);
  });

  test('waits longer each time', async () => {
    const url = await receiver(answer(503));
    const { pausesMs } = await sendTo(url, TEXT, { retriesMax: 8 });
    expect(pausesMs).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
  });

  test('waits at least as long as Retry-After says', async () => {
    const url = await receiver(answer(429, { 'retry-after': '7' }), ACCEPTED);
    expect((await sendTo(url, TEXT, { retriesMax: 1 })).pausesMs).toEqual([7_100]);
  });

  test('waits until the date that Retry-After says', async () => {
    const clock = new FakeClock(Date.parse('Thu, 01 Jan 2026 00:00:00 GMT'));
    const date = 'Thu, 01 Jan 2026 00:00:09 GMT';
    const url = await receiver(answer(503, { 'retry-after': date }), ACCEPTED);
    expect((await sendTo(url, TEXT, { retriesMax: 1, clock })).pausesMs).toEqual([9_100]);
  });

  test('is not waited for where Retry-After is far away', async () => {
    const url = await receiver(answer(503, { 'retry-after': '3600' }));
    const { sent, pausesMs } = await sendTo(url, TEXT, { retriesMax: 5 });
    expect({ sent, pausesMs }).toMatchObject({ sent: { isAccepted: false }, pausesMs: [] });
  });

  test('comes when nobody answers, too', async () => {
    const url = new URL('http://127.0.0.1:1/');
    const reasons: string[] = [];
    const options = { retriesMax: 2, onRetry: (reason: string) => reasons.push(reason) };
    await expect(sendTo(url, TEXT, options)).rejects.toMatchObject({ code: 'KNEAR_UNREACHABLE' });
    expect(reasons).toEqual(Array(2).fill(expect.stringMatching(/^KNEAR_UNREACHABLE: /)));
  });

  test('of what was piped in comes only when it was not begun', async () => {
    const begun = await receiver(answer(503));
    await sendTo(begun, input('once'), { retriesMax: 3 });
    expect(received).toHaveLength(1);

    let refusals = 0;
    const fresh: URL = await listener(ACCEPTED, async (request, response) => {
      refusals += 1;
      if (refusals < 3) return answer(503)(request, response);
      response.writeContinue();
      received.push({ headers: request.headers, body: await buffer(request) });
      return ACCEPTED(request, response);
    });
    const { sent } = await sendTo(fresh, input('once'), { retriesMax: 3 });
    expect(sent.isAccepted).toBe(true);
    expect(received[1]?.body.toString()).toBe('once');
  });
});

describe('an extension', () => {
  test.each([
    { written: 'tenant=a', pair: ['tenant', 'a'] },
    { written: 'formula=a=b c', pair: ['formula', 'a=b c'] },
  ])('is a name and a value: $written', ({ written, pair }) => {
    expect(extensionOf(written)).toEqual(pair);
  });

  test.each(['tenant', 'tenant=', '=a', 'Tenant=a', 'ten-ant=a', 'te nant=a', 'id=1', 'data=x'])(
    'is refused: %s',
    (written) => {
      expect(() => extensionOf(written)).toThrow(expect.objectContaining({ code: 'KNEAR_USAGE' }));
    },
  );
});

describe('the bar', () => {
  function shownOf(sizeBytes: number | undefined, pieces: readonly number[]): string {
    const clock = new FakeClock();
    let shown = '';
    const progress = openProgress((text) => (shown += text), clock);
    progress.begin(sizeBytes);
    for (const bytes of pieces) {
      progress.add(bytes);
      clock.advance(1_000);
    }
    progress.end();
    return shown;
  }

  test('is not there for what is small', () => {
    expect(shownOf(999_999, [500_000, 499_999])).toBe('');
    expect(shownOf(undefined, [999_999])).toBe('');
  });

  test('shows how much of it has gone, and is gone at the end', () => {
    expect(shownOf(2_000_000, [1_000_000, 1_000_000])).toBe(
      [
        `\r\u001b[K[${'#'.repeat(15)}${'.'.repeat(15)}]  50 %  1.0 MB of 2.0 MB`,
        `\r\u001b[K[${'#'.repeat(30)}] 100 %  2.0 MB of 2.0 MB`,
        '\r\u001b[K',
      ].join(''),
    );
  });

  test('shows what has gone where nobody knows how much there is', () => {
    expect(shownOf(undefined, [1_500_000])).toBe('\r\u001b[K1.5 MB sent\r\u001b[K');
  });
});
