import { afterEach, describe, expect, test } from '@jest/globals';
import { getEventListeners } from 'node:events';
import type net from 'node:net';
import type { DeliveryRequest } from '../../core/ports/deliverer.ts';
import { FakeClock } from '../fakes/clock.ts';
import {
  answer,
  closeAll,
  eventWithData,
  openDeliverer,
  rawAnswer,
  rawSubscriber,
  requestTo,
  subscriber,
  unusedUrl,
} from './deliver-subscribers.ts';

afterEach(closeAll);

/** Takes everything and says nothing. */
function silence(socket: net.Socket): void {
  socket.resume();
}

/** More than the socket buffers of both sides hold, so that a subscriber that does not read leaves a part unsent. */
const LARGE = eventWithData(Buffer.alloc(32 * 1024 * 1024, 'x'));

describe('an address that cannot be called (X1)', () => {
  test.each(['', 'nonsense', '/only/a/path', 'http://', 'http://a b/', 'http://127.0.0.1:99999/'])(
    '"%s" is no URL',
    async (url) => {
      const outcome = await openDeliverer().deliver(requestTo(url));
      expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_SUBSCRIBER_INVALID' });
    },
  );

  test.each(['bad://uri', 'ftp://127.0.0.1/', 'file:///etc/passwd', 'data:,x'])(
    '%s has a scheme that nobody speaks here',
    async (url) => {
      const outcome = await openDeliverer().deliver(requestTo(url));
      expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_SUBSCRIBER_INVALID' });
    },
  );

  test('a host that cannot stand in a header does not get that far, and blocks nothing', async () => {
    const { url, received } = await subscriber(answer(202));
    const deliverer = openDeliverer({ connectionsPerOriginMax: 1 });
    const outcome = await deliverer.deliver(requestTo(url, { host: 'a\r\nx: y' }));
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_SUBSCRIBER_INVALID' });
    expect((await deliverer.deliver(requestTo(url))).kind).toBe('accepted');
    expect(received).toHaveLength(1);
  });
});

describe('a subscriber that cannot be reached', () => {
  test('refuses the connection', async () => {
    const outcome = await openDeliverer().deliver(requestTo(await unusedUrl()));
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_UNREACHABLE' });
    expect(outcome).toHaveProperty('detail', expect.stringContaining('ECONNREFUSED'));
  });

  test('refuses at every address of its name, and the detail says so', async () => {
    const url = (await unusedUrl()).replace('127.0.0.1', 'localhost');
    const outcome = await openDeliverer().deliver(requestTo(url));
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_UNREACHABLE' });
    expect(outcome).toHaveProperty('detail', expect.stringContaining('ECONNREFUSED'));
  });

  test('has a name that does not resolve', async () => {
    // Whatever the resolver does, and however slowly: nothing was sent.
    const request = requestTo('http://nowhere.invalid/', { timeoutMs: 1_000 });
    const outcome = await openDeliverer().deliver(request);
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_UNREACHABLE' });
  });

  test('lets the handshake hang until the attempt is over, and gets its socket closed', async () => {
    const clock = new FakeClock();
    const { opened: connected, open } = gate<net.Socket>();
    const { url, connections } = await rawSubscriber((socket) => {
      silence(socket);
      open(socket);
    });
    const request = requestTo(url.replace('http:', 'https:'), { timeoutMs: 1_000 });
    const attempt = openDeliverer({ clock }).deliver(request);
    await connected;
    clock.advance(1_000);
    expect(await attempt).toEqual({
      kind: 'unreachable',
      code: 'KNEAR_UNREACHABLE',
      detail: 'no connection within 1000 ms',
    });
    for (const { ended } of connections) await ended;
  });

  test('lets the handshake hang until the connect timeout', async () => {
    const { url } = await rawSubscriber(silence);
    const deliverer = openDeliverer({ connectTimeoutMs: 1 });
    const outcome = await deliverer.deliver(requestTo(url.replace('http:', 'https:')));
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_UNREACHABLE' });
    expect(outcome).toHaveProperty('detail', expect.stringContaining('Connect Timeout'));
  });

  test('speaks no TLS', async () => {
    const { url } = await subscriber(answer(202));
    const outcome = await openDeliverer().deliver(requestTo(url.replace('http:', 'https:')));
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_UNREACHABLE' });
  });
});

describe('a subscriber that breaks the connection', () => {
  test.each([
    { name: 'closes', leave: (socket: net.Socket) => void socket.end() },
    { name: 'resets', leave: (socket: net.Socket) => void socket.resetAndDestroy() },
  ])('$name before it answers: RESET, and asked only once', async ({ leave }) => {
    const { url, connections } = await rawSubscriber((socket) => {
      socket.on('data', () => {
        leave(socket);
      });
    });
    const outcome = await openDeliverer().deliver(requestTo(url));
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_RESET' });
    expect(connections).toHaveLength(1);
  });

  test('resets while the body is still on its way', async () => {
    const { url } = await rawSubscriber((socket) => {
      socket.once('data', () => {
        socket.resetAndDestroy();
      });
    });
    const outcome = await openDeliverer().deliver(requestTo(url, { event: LARGE }));
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_RESET' });
  });

  test.each([
    { name: 'another protocol', text: 'SSH-2.0-OpenSSH_9.6\r\n', detail: /HTTP/ },
    { name: 'bytes', text: '\0\xff\0\xff', detail: /HTTP/ },
    { name: 'no number for a status', text: 'HTTP/1.1 abc OK\r\n\r\n', detail: /HTTP/ },
    {
      name: 'no number for a length',
      text: 'HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n',
      detail: /HTTP/,
    },
    {
      name: 'two lengths',
      text: 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab',
      detail: /./,
    },
    {
      name: 'nonsense for a chunk',
      text: 'HTTP/1.1 200 OK\r\nce-specversion: 1.0\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
      detail: /HTTP/,
    },
    {
      name: 'a head over 64 KiB',
      text: `HTTP/1.1 200 OK\r\nx-long: ${'x'.repeat(70_000)}\r\ncontent-length: 0\r\n\r\n`,
      detail: /Headers Overflow/,
    },
    {
      name: 'another protocol to switch to',
      text: 'HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n',
      detail: /bad upgrade/,
    },
    // A server must not, without Expect; undici gives up on it.
    { name: 'a 100 that nobody asked for', text: 'HTTP/1.1 100 Continue\r\n\r\n', detail: /./ },
  ])('answers $name: RESET', async ({ text, detail }) => {
    const { url } = await rawSubscriber(rawAnswer(text));
    const outcome = await openDeliverer().deliver(requestTo(url));
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_RESET' });
    expect(outcome).toHaveProperty('detail', expect.stringMatching(detail));
  });

  test.each(['102 Processing', '103 Early Hints'])(
    'does not by answering %s first',
    async (line) => {
      const text = `HTTP/1.1 ${line}\r\nlink: </x>\r\n\r\nHTTP/1.1 202 OK\r\ncontent-length: 0\r\n\r\n`;
      const { url } = await rawSubscriber(rawAnswer(text));
      expect(await openDeliverer().deliver(requestTo(url))).toEqual({
        kind: 'accepted',
        status: 202,
      });
    },
  );
});

describe('a subscriber that takes too long', () => {
  const slow: { name: string; serve: (socket: net.Socket, reached: () => void) => void }[] = [
    {
      name: 'to answer',
      serve: (socket, reached) => {
        socket.on('data', reached);
      },
    },
    {
      name: 'to read: it learns by the reset that the body is not whole',
      serve: (socket, reached) => {
        socket.once('data', () => {
          socket.pause();
          reached();
        });
      },
    },
    {
      name: 'to finish an answer, however busy it is',
      serve: (socket, reached) => {
        const trickle = (count: number): void => {
          if (count === 10) reached();
          if (!socket.destroyed) socket.write('1\r\nx\r\n', () => setImmediate(trickle, count + 1));
        };
        socket.once('data', () => {
          socket.write(
            'HTTP/1.1 200 OK\r\nce-specversion: 1.0\r\ntransfer-encoding: chunked\r\n\r\n',
          );
          trickle(0);
        });
      },
    },
  ];

  test.each(slow)('$name: TIMEOUT, and the connection is reset (F4)', async ({ serve }) => {
    const clock = new FakeClock();
    const { opened: reached, open } = gate<undefined>();
    const { url, connections } = await rawSubscriber((socket) => {
      serve(socket, () => {
        open(undefined);
      });
    });
    const request = requestTo(url, { event: LARGE, timeoutMs: 1_000 });
    const attempt = openDeliverer({ clock }).deliver(request);
    await reached;
    clock.advance(999);
    expect(clock.timerCount).toBe(1);
    clock.advance(1);
    expect(await attempt).toEqual({
      kind: 'unreachable',
      code: 'KNEAR_TIMEOUT',
      detail: 'no complete answer within 1000 ms',
    });
    for (const { socket, ended } of connections) {
      socket.resume();
      expect(await ended).toMatch(/^(ECONNRESET|EPIPE)$/);
    }
  });

  test('is not blamed for the time until its connection was free', async () => {
    const clock = new FakeClock();
    const { url, first, second } = await heldSubscriber();
    const deliverer = openDeliverer({ clock, connectionsPerOriginMax: 1 });
    const ahead = deliverer.deliver(requestTo(url, { timeoutMs: 1_000 }));
    const behind = deliverer.deliver(requestTo(url, { timeoutMs: 1_000 }));
    const release = await first;
    clock.advance(900);
    release();
    expect((await ahead).kind).toBe('accepted');
    await second;
    // 1,800 ms since it was asked for, 900 ms since its first byte.
    clock.advance(900);
    expect(clock.timerCount).toBe(1);
    clock.advance(100);
    expect(await behind).toMatchObject({ kind: 'unreachable', code: 'KNEAR_TIMEOUT' });
    expect(clock.timerCount).toBe(0);
  });

  test('while others wait for a connection: those were never sent', async () => {
    const clock = new FakeClock();
    const { url, first } = await heldSubscriber();
    const deliverer = openDeliverer({ clock, connectionsPerOriginMax: 1 });
    const ahead = deliverer.deliver(requestTo(url, { timeoutMs: 5_000 }));
    const behind = deliverer.deliver(requestTo(url, { timeoutMs: 1_000 }));
    const release = await first;
    clock.advance(1_000);
    expect(await behind).toMatchObject({ kind: 'unreachable', code: 'KNEAR_UNREACHABLE' });
    release();
    expect((await ahead).kind).toBe('accepted');
  });
});

/** Holds each of the first two answers until it is released. */
async function heldSubscriber() {
  const gates = [gate<() => void>(), gate<() => void>()] as const;
  let index = 0;
  const { url } = await subscriber((response) => {
    gates[index === 0 ? 0 : 1].open(() => response.writeHead(202).end());
    index += 1;
  });
  return { url, first: gates[0].opened, second: gates[1].opened };
}

function gate<T>(): { opened: Promise<T>; open: (value: T) => void } {
  let open: (value: T) => void = () => undefined;
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

describe('an abort', () => {
  const reason = new Error('the Trigger is gone');

  test('beforehand: rejects with its reason and sends nothing', async () => {
    const { url, connections } = await subscriber(answer(202));
    const signal = AbortSignal.abort(reason);
    await expect(openDeliverer().deliver(requestTo(url, { signal }))).rejects.toBe(reason);
    expect(connections).toHaveLength(0);
  });

  const moments: { name: string; serve: (socket: net.Socket, reached: () => void) => void }[] = [
    {
      name: 'while the subscriber works',
      serve: (socket, reached) => socket.once('data', reached),
    },
    {
      name: 'in the middle of the answer',
      serve: (socket, reached) =>
        socket.once('data', () =>
          socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf', () => {
            reached();
          }),
        ),
    },
    {
      name: 'in the middle of a rejection, whose status is known already',
      serve: (socket, reached) =>
        socket.once('data', () =>
          socket.write('HTTP/1.1 400 Bad\r\ncontent-length: 9\r\n\r\nhalf', () => {
            reached();
          }),
        ),
    },
  ];

  test.each(moments)('$name: rejects and resets the connection (F4)', async ({ serve }) => {
    const controller = new AbortController();
    const { opened: reached, open } = gate<undefined>();
    const { url, connections } = await rawSubscriber((socket) => {
      serve(socket, () => {
        open(undefined);
      });
    });
    const attempt = openDeliverer().deliver(requestTo(url, { signal: controller.signal }));
    const rejected = expect(attempt).rejects.toBe(reason);
    await reached;
    controller.abort(reason);
    await rejected;
    for (const { ended } of connections) expect(await ended).toBe('ECONNRESET');
  });

  test('during the handshake: rejects and closes the socket', async () => {
    const controller = new AbortController();
    const { opened: connected, open } = gate<undefined>();
    const { url, connections } = await rawSubscriber((socket) => {
      silence(socket);
      open(undefined);
    });
    const request: DeliveryRequest = requestTo(url.replace('http:', 'https:'), {
      signal: controller.signal,
    });
    const rejected = expect(openDeliverer().deliver(request)).rejects.toBe(reason);
    await connected;
    controller.abort(reason);
    await rejected;
    for (const { ended } of connections) await ended;
  });

  test('in line for a connection: rejects, sends nothing, and lets the others pass (F1)', async () => {
    const controller = new AbortController();
    const { url, first, second } = await heldSubscriber();
    const deliverer = openDeliverer({ connectionsPerOriginMax: 1 });
    const ahead = deliverer.deliver(requestTo(url));
    const gone = deliverer.deliver(requestTo(url, { signal: controller.signal }));
    const behind = deliverer.deliver(requestTo(url));
    const rejected = expect(gone).rejects.toBe(reason);
    const release = await first;
    controller.abort(reason);
    await rejected;
    release();
    (await second)();
    expect((await Promise.all([ahead, behind])).map(({ kind }) => kind)).toEqual([
      'accepted',
      'accepted',
    ]);
  });

  test('afterwards changes nothing, and leaves no listener and no timer behind', async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const { url } = await subscriber(answer(202));
    const request = requestTo(url, { signal: controller.signal });
    const outcome = await openDeliverer({ clock }).deliver(request);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    expect(clock.timerCount).toBe(0);
    controller.abort(reason);
    expect(outcome).toEqual({ kind: 'accepted', status: 202 });
  });
});
