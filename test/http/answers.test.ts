/** What the door answers and reports when the log refuses, when something breaks, and when it closes. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { KnearError } from '../../core/errors.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { eventually, send, Wire } from './clients.ts';
import { EVENT_HEADERS, gate, ingress, INGRESSES, openDoor, topologyOf } from './open-door.ts';

const EVENT = { headers: EVENT_HEADERS, body: '{}' };
const EVENT_TEXT = [
  'POST /default/orders HTTP/1.1',
  'host: door',
  ...Object.entries(EVENT_HEADERS).map((pair) => pair.join(': ')),
  'content-length: 2',
  '',
  '{}',
].join('\r\n');

describe('a failed append', () => {
  test.each<[ErrorCode, number | undefined, number, string | undefined]>([
    ['KNEAR_LOG_FULL', undefined, 503, '1'],
    ['KNEAR_QUOTA', 30_000, 503, '30'],
    ['KNEAR_LOG_FAILED', 1_001, 503, '2'],
    ['KNEAR_CLOSED', 0, 503, '1'],
    ['KNEAR_OVERLOADED', undefined, 429, '1'],
    ['KNEAR_EVENT_TOO_LARGE', 5_000, 413, undefined],
  ])(
    'with %s is told as such, and when to come back',
    async (code, retryAfterMs, status, after) => {
      const { port, log, happenings } = await openDoor();
      log.failWith(
        new KnearError(code, 'told so', retryAfterMs === undefined ? {} : { retryAfterMs }),
      );
      const received = await send(port, EVENT);
      expect(received.status).toBe(status);
      expect(received.headers['retry-after']).toBe(after);
      expect(JSON.parse(received.body)).toMatchObject({ code, detail: 'told so' });
      expect(happenings).toMatchObject([{ kind: 'refused', code, ingress: INGRESSES.orders }]);
    },
  );

  test('is known by its code, whatever made it', async () => {
    const { port, log } = await openDoor();
    log.failWith(Object.assign(new Error('from afar'), { code: 'KNEAR_LOG_FULL' }));
    expect(await send(port, EVENT)).toMatchObject({ status: 503 });
  });

  test.each([
    ['an error without a code', new TypeError('secret of the inside')],
    ['an error with a foreign code', Object.assign(new Error('secret'), { code: 'ENOENT' })],
    [
      'an error with a code that an object has by birth',
      Object.assign(new Error('secret'), { code: 'toString' }),
    ],
  ])('with %s shows nothing of it, and is logged (I3)', async (_name, failure) => {
    const { port, log, logged, happenings } = await openDoor();
    log.failWith(failure);
    const received = await send(port, EVENT);
    expect(received.status).toBe(500);
    expect(received.headers['content-type']).toBe('application/problem+json');
    expect(JSON.parse(received.body)).toEqual({
      type: 'urn:knear:error:KNEAR_INTERNAL',
      title: 'Something failed inside knear',
      status: 500,
      code: 'KNEAR_INTERNAL',
    });
    expect(logged).toMatchObject([{ level: 50, err: { message: failure.message } }]);
    expect(happenings).toEqual([]);
  });

  test('of a log that has said so before is told before the body (I1)', async () => {
    const { port, log } = await openDoor();
    log.state = { kind: 'refusing', code: 'KNEAR_LOG_LOCKED', detail: 'someone else has it' };
    const received = await send(port, EVENT);
    expect(JSON.parse(received.body)).toMatchObject({ status: 503, code: 'KNEAR_LOG_LOCKED' });
    log.state = { kind: 'accepting' };
    expect(await send(port, EVENT)).toMatchObject({ status: 202 });
  });
});

describe('202', () => {
  test('waits for the log (I2)', async () => {
    const { port, log, door, happenings } = await openDoor();
    const release = log.hold();
    const wire = await Wire.open(port);
    wire.write(EVENT_TEXT);
    await eventually(() => door.requestsInFlight === 1);
    expect([wire.received, happenings]).toEqual(['', []]);
    release();
    expect(await wire.until('202')).not.toMatch(/^date:/im);
  });

  test('is observed with its time, its size and whether anybody wanted it', async () => {
    const { port, log, clock, door, happenings } = await openDoor();
    const release = log.hold();
    const received = send(port, EVENT);
    await eventually(() => door.requestsInFlight === 1);
    clock.advance(250);
    release();
    await received;
    expect(happenings).toMatchObject([{ kind: 'accepted', isMatched: true, durationMs: 250 }]);
    const [happening] = happenings;
    expect(happening?.kind === 'accepted' && happening.event).toBe(log.appends[0]?.event);
    expect(happening?.kind === 'accepted' && happening.sizeBytes).toBeGreaterThan(2);
  });
});

describe('the topology', () => {
  test('is looked at for every request', async () => {
    let topology = topologyOf([]);
    const { port } = await openDoor({ topology: () => topology });
    expect(await send(port, EVENT)).toMatchObject({ status: 404 });
    topology = topologyOf([ingress({ name: 'orders' })]);
    expect(await send(port, EVENT)).toMatchObject({ status: 202 });
    topology = topologyOf([ingress({ name: 'others' })]);
    expect(await send(port, EVENT)).toMatchObject({ status: 404 });
  });
});

describe('the door yields', () => {
  test('reads nothing until it may, and asks once for each request', async () => {
    const { promise, open } = gate();
    let asked = 0;
    const mayRead = () => (asked++ === 0 ? promise : undefined);
    const { port, log, door } = await openDoor({ mayRead });
    const first = send(port, EVENT);
    await eventually(() => door.requestsInFlight === 1);
    expect(await send(port, EVENT)).toMatchObject({ status: 202 });
    expect(log.appends).toHaveLength(1);
    open();
    expect(await first).toMatchObject({ status: 202 });
    expect([asked, log.appends.length]).toEqual([2, 2]);
  });

  test('a refusal does not wait for it', async () => {
    const { port } = await openDoor({ mayRead: () => new Promise(() => undefined) });
    expect(await send(port, { ...EVENT, path: '/default/unknown' })).toMatchObject({ status: 404 });
  });

  test('its failure is a failed request, nothing more', async () => {
    const { port, door } = await openDoor({ mayRead: () => Promise.reject(new Error('broken')) });
    expect(await send(port, EVENT)).toMatchObject({ status: 500 });
    expect(door).toMatchObject({ requestsInFlight: 0, bodyBytesHeld: 0 });
  });
});

describe('closing', () => {
  test('waits for the requests in flight, and answers others 503 on connections that are open', async () => {
    const { port, log, door, clock } = await openDoor();
    const release = log.hold();
    // A head that has begun keeps its connection from being idle.
    const next = (await Wire.open(port)).write(EVENT_TEXT.slice(0, 10));
    const probing = (await Wire.open(port)).write('GET /healthz HTTP/1.1\r\n');
    const asking = (await Wire.open(port)).write('OPTIONS /default/orders HTTP/1.1\r\n');
    // The door gets to connections in their order: when this one is served, those have begun.
    const busy = await Wire.open(port);
    await send(port, { method: 'OPTIONS' });
    busy.write(EVENT_TEXT);
    await eventually(() => door.requestsInFlight === 1);
    const closed = door.close();
    next.write(EVENT_TEXT.slice(10));
    probing.write('host: door\r\nuser-agent: kube-probe/1.34\r\n\r\n');
    asking.write('host: door\r\n\r\n');
    for (const wire of [next, probing, asking]) {
      const received = await wire.untilClosed();
      expect(received).toMatch(/^HTTP\/1\.1 503 /);
      expect(received).toContain('KNEAR_DRAINING');
      expect(received.match(/^connection: .*$/gim)).toEqual(['connection: close']);
      expect(received).toContain('retry-after: 1');
    }
    release();
    const received = await busy.untilClosed();
    expect(received).toMatch(/^HTTP\/1\.1 202 /);
    expect(received).toMatch(/connection: close/i);
    await closed;
    expect(log.appends).toHaveLength(1);
    expect(clock.timerCount).toBe(1); // the watch on bodies, which ends by itself within a second
  });

  test('takes no new connection', async () => {
    const { port, door } = await openDoor();
    await door.close();
    const [error] = await once(connect({ host: '127.0.0.1', port }), 'error');
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('ends idle connections at once', async () => {
    const { port, door } = await openDoor();
    const wire = await Wire.open(port);
    wire.write(EVENT_TEXT);
    await wire.until('202');
    await Promise.all([door.close(), wire.untilClosed()]);
  });

  test('leaves connections that never say anything a second after the last answer', async () => {
    const { port, log, door, clock } = await openDoor();
    const release = log.hold();
    const silent = await Wire.open(port);
    const busy = (await Wire.open(port)).write(EVENT_TEXT);
    await eventually(() => door.requestsInFlight === 1);
    const closed = door.close();
    clock.advance(1_000);
    release();
    await busy.untilClosed();
    expect(silent.isClosed).toBe(false);
    clock.advance(1_000);
    await Promise.all([closed, silent.untilClosed()]);
  });

  test('does not wait for ever for the log', async () => {
    const { port, log, door, clock } = await openDoor();
    log.hold();
    const wire = await Wire.open(port);
    wire.write(EVENT_TEXT);
    await eventually(() => door.requestsInFlight === 1);
    const closed = door.close();
    clock.advance(9_999);
    await new Promise((resolve) => setImmediate(resolve));
    expect(wire.isClosed).toBe(false);
    clock.advance(1);
    await Promise.all([closed, wire.untilClosed()]);
    expect(wire.received).toBe('');
  });

  test('twice is once', async () => {
    const { door } = await openDoor();
    expect(door.close()).toBe(door.close());
    await door.close();
  });
});

test('a port in use is named as such', async () => {
  const { port } = await openDoor();
  await expect(openDoor({ port })).rejects.toMatchObject({
    code: 'KNEAR_PORT_IN_USE',
    message: expect.stringContaining(String(port)),
  });
});

test('an address that is not ours fails as the system says', async () => {
  await expect(openDoor({ host: '192.0.2.1' })).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
});
