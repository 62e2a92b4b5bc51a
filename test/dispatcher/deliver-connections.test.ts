import { afterEach, describe, expect, test } from '@jest/globals';
import type net from 'node:net';
import { systemClock } from '../../main/time.ts';
import {
  answer,
  closeAll,
  eventWithData,
  openDeliverer,
  openHurriedDeliverer,
  rawSubscriber,
  requestTo,
  subscriber,
  type Respond,
} from './deliver-subscribers.ts';

afterEach(closeAll);

const OK = 'HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n';

describe('a connection', () => {
  test.each([
    { name: 'an empty 2xx', respond: answer(202) },
    { name: 'a reply', respond: answer(200, { 'ce-specversion': '1.0' }, 'broken, but read') },
    { name: 'a rejection with a small body', respond: answer(500, {}, Buffer.alloc(10_000)) },
    { name: 'a body that is no event', respond: answer(200, {}, Buffer.alloc(10_000)) },
  ])('is used again after $name', async ({ respond }) => {
    const { url, received, connections } = await subscriber(respond);
    const deliverer = openDeliverer();
    for (let turn = 0; turn < 5; turn += 1) await deliverer.deliver(requestTo(url));
    expect(received).toHaveLength(5);
    expect(connections).toHaveLength(1);
  });

  test('rests after its answer until the turn is over: two take turns, and no more than two (F6)', async () => {
    const { url, ports, connections } = await portsOf();
    const deliverer = openHurriedDeliverer();
    for (let count = 0; count < 6; count += 1) await deliverer.deliver(requestTo(url));
    expect(connections).toHaveLength(2);
    expect(ports.map((port) => ports.indexOf(port))).toEqual([0, 1, 0, 1, 0, 1]);
  });

  test('that has rested is used again, the one used last first (F6)', async () => {
    const { url, ports } = await portsOf();
    const deliverer = openDeliverer();
    for (let count = 0; count < 3; count += 1) await deliverer.deliver(requestTo(url));
    expect(ports.map((port) => ports.indexOf(port))).toEqual([0, 0, 0]);
  });

  test('is used though it has not rested where there may be no other (F6, F1)', async () => {
    const { url, ports, connections } = await portsOf();
    const deliverer = openHurriedDeliverer({ connectionsPerOriginMax: 1 });
    for (let count = 0; count < 3; count += 1) await deliverer.deliver(requestTo(url));
    expect(ports).toHaveLength(3);
    expect(connections).toHaveLength(1);
  });

  test.each([
    { name: 'says close', respond: answer(202, { connection: 'close' }) },
    // Less a second of reserve, nothing is left of it.
    { name: 'says that it closes within a second', respond: keepAlive('timeout=1') },
  ])('is not used again when the subscriber $name', async ({ respond }) => {
    const { url, connections } = await subscriber(respond);
    const deliverer = openDeliverer();
    for (let turn = 0; turn < 3; turn += 1) {
      expect((await deliverer.deliver(requestTo(url))).kind).toBe('accepted');
    }
    expect(connections).toHaveLength(3);
  });

  test('ends in order when it has been idle for as long as Keep-Alive allows (F5)', async () => {
    const { url, connections } = await subscriber(keepAlive('timeout=2'), { keepAliveTimeout: 0 });
    await openDeliverer().deliver(requestTo(url));
    expect(await Promise.all(connections.map(({ ended }) => ended))).toEqual(['end']);
  });

  test('is not used again after an answer that came before the body was read (F3)', async () => {
    const { url, connections } = await rawSubscriber((socket, index) => {
      socket.once('data', () => {
        if (index === 0) socket.pause();
        socket.write(OK);
      });
    });
    const deliverer = openDeliverer();
    const large = eventWithData(Buffer.alloc(32 * 1024 * 1024, 'x'));
    expect((await deliverer.deliver(requestTo(url, { event: large }))).kind).toBe('accepted');
    expect((await deliverer.deliver(requestTo(url))).kind).toBe('accepted');
    expect(connections).toHaveLength(2);
    connections[0]?.socket.resume();
    expect(await connections[0]?.ended).toBe('ECONNRESET');
  });

  test('is not spared for an early rejection either', async () => {
    const { url, connections } = await rawSubscriber((socket) => {
      socket.once('data', () => {
        socket.pause();
        socket.write('HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig');
      });
    });
    const large = eventWithData(Buffer.alloc(32 * 1024 * 1024, 'x'));
    const outcome = await openDeliverer().deliver(requestTo(url, { event: large }));
    expect(outcome).toEqual({ kind: 'rejected', status: 413, body: Buffer.from('big') });
    connections[0]?.socket.resume();
    expect(await connections[0]?.ended).toBe('ECONNRESET');
  });
});

function keepAlive(value: string): Respond {
  return answer(202, { connection: 'keep-alive', 'keep-alive': value });
}

describe('a connection that the subscriber closed while it was idle', () => {
  /** Answers the first request of the first connection, then `misbehave`s; further connections go to `later`. */
  function forgetful(misbehave: (socket: net.Socket) => void, later: (socket: net.Socket) => void) {
    let requests = 0;
    const subscriber = rawSubscriber((socket, index) => {
      let served = 0;
      socket.on('data', () => {
        requests += 1;
        served += 1;
        if (index > 0) later(socket);
        else if (served === 1) socket.write(OK);
        else misbehave(socket);
      });
    });
    return { subscriber, requests: () => requests };
  }

  const fine = (socket: net.Socket): void => void socket.write(OK);

  test.each([
    { name: 'by FIN', misbehave: (socket: net.Socket) => void socket.destroy() },
    { name: 'by RST', misbehave: (socket: net.Socket) => void socket.resetAndDestroy() },
  ])('$name, as the request was sent: it is sent once more on a new one (X4)', async (kase) => {
    const { subscriber, requests } = forgetful(kase.misbehave, fine);
    const { url, connections } = await subscriber;
    const deliverer = openDeliverer();
    await deliverer.deliver(requestTo(url));
    expect(await deliverer.deliver(requestTo(url))).toEqual({ kind: 'accepted', status: 202 });
    expect([connections.length, requests()]).toEqual([2, 3]);
    // The new one is as good as any.
    expect((await deliverer.deliver(requestTo(url))).kind).toBe('accepted');
    expect(connections).toHaveLength(2);
  });

  test('is noticed beforehand, where the close has arrived', async () => {
    const { url, received, connections } = await subscriber(answer(202));
    const deliverer = openDeliverer();
    await deliverer.deliver(requestTo(url));
    for (const { socket } of connections) {
      socket.end();
      // Our own FIN in return tells that the other side has seen it.
      await new Promise((resolve) => socket.once('close', resolve));
    }
    expect((await deliverer.deliver(requestTo(url))).kind).toBe('accepted');
    expect([received.length, connections.length]).toEqual([2, 2]);
  });

  test('is not asked a third time (X4)', async () => {
    const { subscriber, requests } = forgetful(
      (socket) => socket.destroy(),
      (socket) => socket.destroy(),
    );
    const { url } = await subscriber;
    const deliverer = openDeliverer();
    await deliverer.deliver(requestTo(url));
    const outcome = await deliverer.deliver(requestTo(url));
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_RESET' });
    expect(requests()).toBe(3);
  });

  test('counts as reset if one byte of an answer had come (X4)', async () => {
    const { subscriber, requests } = forgetful((socket) => socket.end('H'), fine);
    const { url } = await subscriber;
    const deliverer = openDeliverer();
    await deliverer.deliver(requestTo(url));
    const outcome = await deliverer.deliver(requestTo(url));
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_RESET' });
    expect(requests()).toBe(2);
  });

  test('counts as reset if it broke after a second: then somebody was at work (X4)', async () => {
    let lateMs = 0;
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + lateMs };
    const { subscriber, requests } = forgetful((socket) => {
      lateMs = 1_000;
      socket.destroy();
    }, fine);
    const { url } = await subscriber;
    const deliverer = openDeliverer({ clock });
    await deliverer.deliver(requestTo(url));
    const outcome = await deliverer.deliver(requestTo(url));
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_RESET' });
    expect(requests()).toBe(2);
  });

  test('and is away altogether now: the second try says so', async () => {
    const clock = systemClock;
    const deliverer = openDeliverer({ clock });
    const { subscriber } = forgetful((socket) => socket.destroy(), fine);
    const { url, stopListening } = await subscriber;
    await deliverer.deliver(requestTo(url));
    stopListening();
    const outcome = await deliverer.deliver(requestTo(url));
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_UNREACHABLE' });
  });
});

describe('many requests', () => {
  test('to one origin share its connections, and the rest waits its turn (F1, F2)', async () => {
    let working = 0;
    let workingMax = 0;
    const { url, received, connections } = await subscriber((response) => {
      working += 1;
      workingMax = Math.max(workingMax, working);
      setImmediate(() => {
        working -= 1;
        response.writeHead(202).end();
      });
    });
    const deliverer = openDeliverer({ connectionsPerOriginMax: 4 });
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, (_, index) =>
        deliverer.deliver(requestTo(`${url}/${String(index)}`)),
      ),
    );
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['accepted']));
    expect(received.map(({ path }) => path).sort()).toEqual(
      Array.from({ length: 200 }, (_, index) => `/${String(index)}`).sort(),
    );
    expect(connections).toHaveLength(4);
    expect(workingMax).toBeLessThanOrEqual(4);
  });

  test('find room for one connection where one was cut off, and not for more (F1)', async () => {
    let working = 0;
    let workingMax = 0;
    let release = (): void => undefined;
    const { url, connections } = await subscriber((response, { path }) => {
      const accept = (): void => {
        working -= 1;
        response.writeHead(202).end();
      };
      if (path === '/long') {
        response.writeHead(500).write(Buffer.alloc(100_000));
        return;
      }
      working += 1;
      workingMax = Math.max(workingMax, working);
      if (path === '/held') release = accept;
      else setImmediate(accept);
    });
    const deliverer = openDeliverer({ connectionsPerOriginMax: 2 });
    const held = deliverer.deliver(requestTo(`${url}/held`));
    for (let turn = 0; turn < 3; turn += 1) await deliverer.deliver(requestTo(`${url}/long`));
    for (const { ended } of connections.slice(1)) expect(await ended).toBe('ECONNRESET');
    const others = Array.from({ length: 10 }, () => deliverer.deliver(requestTo(url)));
    await Promise.all(others);
    release();
    for (const attempt of [held, ...others]) expect((await attempt).kind).toBe('accepted');
    expect(workingMax).toBe(2);
    expect(connections).toHaveLength(5);
  });

  test('to one origin all end, whatever each of them meets', async () => {
    const answers: ((socket: net.Socket) => void)[] = [
      (socket) => socket.write(OK),
      (socket) => socket.write('HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno'),
      (socket) => socket.destroy(),
      (socket) => socket.resetAndDestroy(),
      (socket) => socket.write('nonsense\r\n\r\n'),
      (socket) => socket.end(`${OK.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n')}`),
      () => undefined,
    ];
    let index = 0;
    const { url } = await rawSubscriber((socket) => {
      socket.on('data', () => {
        answers[index % answers.length]?.(socket);
        index += 1;
      });
    });
    const deliverer = openDeliverer({ connectionsPerOriginMax: 3 });
    const outcomes = await Promise.all(
      Array.from({ length: 105 }, () => deliverer.deliver(requestTo(url, { timeoutMs: 50 }))),
    );
    expect(new Set(outcomes.map(({ kind }) => kind))).toContain('accepted');
    await deliverer.close();
  });

  test('to many origins: those out of use lose their idle connections (F5)', async () => {
    const subscribers = await Promise.all([1, 2, 3].map(() => subscriber(answer(202))));
    const deliverer = openDeliverer({ originsMax: 2 });
    for (const { url } of subscribers) await deliverer.deliver(requestTo(url));
    const [oldest, ...others] = subscribers;
    expect(await oldest?.connections[0]?.ended).toBe('end');
    for (const { url } of others) await deliverer.deliver(requestTo(url));
    expect(others.map(({ connections }) => connections.length)).toEqual([1, 1]);
  });
});

describe('close', () => {
  test('waits for the attempts that run, those in line too, then closes in order', async () => {
    const { url, received, connections } = await subscriber((response) => {
      setImmediate(() => response.writeHead(202).end());
    });
    const deliverer = openHurriedDeliverer({ connectionsPerOriginMax: 1 });
    const attempts = [1, 2, 3].map(() => deliverer.deliver(requestTo(url)));
    let outcomes = 0;
    for (const attempt of attempts) void attempt.then(() => (outcomes += 1));
    await deliverer.close();
    expect(received).toHaveLength(3);
    expect(outcomes).toBe(3);
    expect(await Promise.all(connections.map(({ ended }) => ended))).toEqual(['end']);
  });

  test('is the same a second time, and with nothing to close', async () => {
    const deliverer = openDeliverer();
    await deliverer.close();
    await deliverer.close();
  });

  test('refuses what comes afterwards', async () => {
    const { url, connections } = await subscriber(answer(202));
    const deliverer = openDeliverer();
    await deliverer.deliver(requestTo(url));
    await deliverer.close();
    await expect(deliverer.deliver(requestTo(url))).rejects.toMatchObject({ code: 'KNEAR_CLOSED' });
    expect(connections).toHaveLength(1);
  });
});

/** A subscriber, and the ports of those who have called it, in turn. */
async function portsOf() {
  const ports: (number | undefined)[] = [];
  const opened = await subscriber((response) => {
    ports.push(response.req.socket.remotePort);
    response.writeHead(202).end();
  });
  return { ...opened, ports };
}
