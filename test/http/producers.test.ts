/**
 * Producers that lie, stall, break off or will not listen, byte by byte on bare connections. The bugs hunted here: half
 * an event kept as a whole one, a connection or its memory held for ever, an answer lost on its way, one request
 * taken for two.
 */
import { describe, expect, test } from '@jest/globals';
import { KnearError } from '../../core/errors.ts';
import { inlineData } from '../../core/event.ts';
import { eventually, Wire } from './clients.ts';
import type { TestDoor } from './open-door.ts';
import { EVENT_HEADERS, gate, INGRESSES, openDoor, topologyOf } from './open-door.ts';

const MIB = 1024 * 1024;

/** The head of a request with a valid event; a header set to `undefined` is left out. */
function head(
  headers: Readonly<Record<string, string | undefined>> = {},
  path = '/default/orders',
): string {
  const all = Object.entries({ host: 'door', ...EVENT_HEADERS, ...headers });
  const lines = all.filter(([, value]) => value !== undefined).map((pair) => pair.join(': '));
  return [`POST ${path} HTTP/1.1`, ...lines, '', ''].join('\r\n');
}

/** All data is small here: it is looked for in the log. */
const WHOLE = topologyOf(
  [...Object.values(INGRESSES)].map((each) => ({
    ...each,
    claims: { ...each.claims, inlineMaxBytes: 1024 * 1024 },
  })),
);

async function openBoth(changes: Parameters<typeof openDoor>[0] = {}) {
  const opened = await openDoor({ topology: () => WHOLE, ...changes });
  return { ...opened, wire: await Wire.open(opened.port) };
}

function codesOf({ happenings }: TestDoor): unknown[] {
  return happenings.map((happening) => ('code' in happening ? happening.code : happening.kind));
}

function statusesOf(received: string): string[] {
  return [...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status ?? '');
}

describe('a body that is not whole is not an event (K13, B1)', () => {
  test.each([
    ['ends before its Content-Length', { 'content-length': '10' }, '12345'],
    ['brings nothing of its Content-Length', { 'content-length': '10' }, ''],
    ['ends without the last chunk', { 'transfer-encoding': 'chunked' }, '5\r\n12345\r\n'],
    ['ends within a chunk', { 'transfer-encoding': 'chunked' }, '5\r\n123'],
    ['has a broken chunk', { 'transfer-encoding': 'chunked' }, '5\r\n12345\r\nxyz\r\n'],
  ])('when it %s, and its producer is told', async (_name, headers, body) => {
    const opened = await openBoth();
    opened.wire.write(head(headers), body).end();
    const received = await opened.wire.untilClosed();
    expect(received).toMatch(/^HTTP\/1\.1 400 /);
    expect(received).toContain('KNEAR_BODY_TRUNCATED');
    expect(received).toMatch(/connection: close/i);
    await eventually(() => opened.happenings.length > 0);
    expect(codesOf(opened)).toEqual(['KNEAR_BODY_TRUNCATED']);
    expect(opened.log.appends).toEqual([]);
  });

  test.each([
    ['Content-Length', { 'content-length': '10' }, '12345'],
    ['chunks', { 'transfer-encoding': 'chunked' }, '5\r\n12345\r\n'],
  ])('when the connection is reset in the middle of it (%s)', async (_name, headers, body) => {
    const opened = await openBoth();
    opened.wire.write(head(headers), body);
    await eventually(() => opened.door.requestsInFlight === 1);
    opened.wire.reset();
    await eventually(() => opened.happenings.length > 0);
    expect(codesOf(opened)).toEqual(['KNEAR_BODY_TRUNCATED']);
    expect(opened.log.appends).toEqual([]);
    expect(opened.door).toMatchObject({ requestsInFlight: 0, bodyBytesHeld: 0 });
  });

  test('when its producer leaves while the door yields to deliveries', async () => {
    const { promise, open } = gate();
    const opened = await openBoth({ mayRead: () => promise });
    opened.wire.write(head({ 'content-length': '2' }), '{}');
    await eventually(() => opened.door.requestsInFlight === 1);
    opened.wire.reset();
    const other = await Wire.open(opened.port);
    await eventually(() => opened.wire.isClosed);
    other.write(head({ 'content-length': '2' }), '{}');
    await eventually(() => opened.door.requestsInFlight === 2);
    open();
    await other.until('HTTP/1.1 202');
    await eventually(() => opened.happenings.length === 2);
    expect(codesOf(opened).sort()).toEqual(['KNEAR_BODY_TRUNCATED', 'accepted']);
    expect(opened.log.appends).toHaveLength(1);
  });
});

describe('one request is one event', () => {
  test('bytes over the Content-Length are cut off, and end the connection after the answer (I5)', async () => {
    const opened = await openBoth();
    const release = opened.log.hold();
    opened.wire.write(head({ 'content-length': '5' }), '12345678');
    await eventually(() => opened.door.requestsInFlight === 1);
    opened.wire.write('more\r\n\r\n');
    release();
    expect(statusesOf(await opened.wire.untilClosed())).toEqual(['202']);
    expect(
      opened.log.appends.map(({ event }) => Buffer.from(inlineData(event) ?? []).toString()),
    ).toEqual(['12345']);
  });

  test('bytes between two requests are 400, and the request before them was answered', async () => {
    const { wire, log } = await openBoth();
    wire.write(head({ 'content-length': '2' }), '{}');
    await wire.until('202');
    wire.write('nonsense\r\n\r\n');
    const received = await wire.untilClosed();
    expect(statusesOf(received)).toEqual(['202', '400']);
    expect(received).toContain('application/problem+json');
    expect(log.appends).toHaveLength(1);
  });

  test('requests sent without waiting are answered in their order', async () => {
    const { wire, log } = await openBoth();
    const one = head({ 'content-length': '1' }) + '1';
    const bad = head({ 'content-length': '1', 'ce-id': undefined }) + '2';
    const three = head({ 'content-length': '1', connection: 'close' }) + '3';
    wire.write(one + bad + three);
    expect(statusesOf(await wire.untilClosed())).toEqual(['202', '400', '202']);
    expect(log.appends).toHaveLength(2);
  });

  test.each([
    ['two lengths', { 'content-length': '2\r\ncontent-length: 3' }],
    ['two equal lengths', { 'content-length': '2\r\ncontent-length: 2' }],
    ['a list of lengths', { 'content-length': '2, 3' }],
    ['a negative length', { 'content-length': '-1' }],
    ['a length over 64 bits', { 'content-length': '18446744073709551616' }],
    ['a length with text', { 'content-length': '2x' }],
    ['a length beside chunks', { 'content-length': '2', 'transfer-encoding': 'chunked' }],
    ['chunked twice', { 'transfer-encoding': 'chunked, chunked' }],
    ['chunked before another coding', { 'transfer-encoding': 'chunked, gzip' }],
    ['a bare line feed in a value', { 'ce-subject': 'a\nce-id: 2' }],
    ['a bare carriage return in a value', { 'ce-subject': 'a\rce-id: 2' }],
    ['a zero byte in a value', { 'ce-subject': 'a\0' }],
    ['a space before the colon', { 'ce-subject ': 'a' }],
    ['a folded header', { 'ce-subject': 'a\r\n folded' }],
    ['no Host', { host: undefined }],
  ])('%s is 400', async (_name, headers) => {
    const opened = await openBoth();
    opened.wire.write(head(headers), '{}').end();
    expect(await opened.wire.untilClosed()).toMatch(/^HTTP\/1\.1 400 /);
    expect(opened.log.appends).toEqual([]);
  });

  test('an encoded line end in an attribute stays one value of one header', async () => {
    const { wire, log } = await openBoth();
    wire.write(head({ 'content-length': '0', 'ce-subject': 'a%0d%0ace-id:%202' }));
    await wire.until('202');
    const [kept] = log.appends;
    expect(kept?.event.attributes.get('subject')).toBe('a\r\nce-id: 2');
    expect(kept?.event.attributes.get('id')).toBe('1');
  });

  test.each([
    ['gzip before chunked, which node hands over as it is', 'gzip, chunked'],
    ['gzip alone, which node refuses only after the head', 'gzip'],
  ])('%s is 501', async (_name, coding) => {
    const { wire, log } = await openBoth();
    wire.write(head({ 'transfer-encoding': coding }), '1\r\nx\r\n0\r\n\r\n').end();
    const received = await wire.untilClosed();
    expect(statusesOf(received)).toEqual(['501']);
    expect(received).toContain('KNEAR_TRANSFER_CODING');
    expect(log.appends).toEqual([]);
  });
});

describe('heads', () => {
  test('of 20 KiB are 431', async () => {
    const { wire } = await openBoth();
    wire.write(head({ 'ce-tenant': 'x'.repeat(20 * 1024) }));
    const received = await wire.untilClosed();
    expect(received).toMatch(/^HTTP\/1\.1 431 /);
    expect(received).toContain('application/problem+json');
    expect(received).toContain('allow: POST, OPTIONS');
  });

  test('may have thousands of short headers: none is lost', async () => {
    const { wire, log } = await openBoth();
    const many = Object.fromEntries(Array.from({ length: 2_100 }, (_, at) => [`a${at}`, '']));
    wire.write(head({ ...many, 'content-length': '0', 'ce-last': 'here' }));
    await wire.until('202');
    expect(log.appends[0]?.event.attributes.get('last')).toBe('here');
  });

  test('that offer another protocol are served in this one, as Java clients need it', async () => {
    const { wire, log } = await openBoth();
    const offer = {
      connection: 'Upgrade, HTTP2-Settings',
      upgrade: 'h2c',
      'http2-settings': 'AAMA',
    };
    wire.write(head({ ...offer, 'content-length': '2' }) + '{}');
    await wire.until('202');
    expect(Buffer.from(firstData(log) ?? []).toString()).toBe('{}');
  });

  test('of HTTP/1.0 are served, and get no 100 Continue', async () => {
    const { wire } = await openBoth();
    const old = head({ 'content-length': '2', expect: '100-continue' }).replace('/1.1', '/1.0');
    wire.write(old, '{}');
    expect(statusesOf(await wire.untilClosed())).toEqual(['202']);
  });
});

describe('Expect: 100-continue (K13, I1)', () => {
  const expecting = { expect: '100-continue', 'content-length': '5' };

  test('is answered when the event is welcome', async () => {
    const { wire, log } = await openBoth();
    wire.write(head(expecting));
    await wire.until('HTTP/1.1 100 Continue\r\n\r\n');
    expect(log.appends).toEqual([]);
    wire.write('12345');
    expect(statusesOf(await wire.until('202'))).toEqual(['100', '202']);
    expect(log.appends).toHaveLength(1);
  });

  test('is answered only when the door may read', async () => {
    const { promise, open } = gate();
    const { wire, door } = await openBoth({ mayRead: () => promise });
    wire.write(head(expecting));
    await eventually(() => door.requestsInFlight === 1);
    expect(wire.received).toBe('');
    open();
    await wire.until('100 Continue');
  });

  test.each<[string, string, Record<string, string>, string]>([
    ['an unknown Broker', '404', {}, '/default/unknown'],
    ['too large a body', '413', { 'content-length': '101' }, '/default/small'],
    ['an invalid event', '400', { 'ce-specversion': '7' }, '/default/orders'],
    ['a compressed body', '415', { 'content-encoding': 'gzip' }, '/default/orders'],
  ])('costs no upload for %s', async (_name, status, headers, path) => {
    const { wire } = await openBoth();
    wire.write(head({ ...expecting, ...headers }, path));
    const received = await wire.until('}');
    expect(statusesOf(received)).toEqual([status]);
    expect(received).toMatch(/connection: close/i);
  });

  test('leaves time to a producer that sends its body without waiting (N1)', async () => {
    const { wire, clock } = await openBoth();
    wire.write(head(expecting, '/default/unknown'));
    await wire.until('"}');
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(wire.isClosed).toBe(false);
    wire.write('12345');
    await wire.untilClosed();
    expect(clock.timerCount).toBe(0);
  });

  test('costs no upload while the log is full', async () => {
    const opened = await openBoth();
    opened.log.state = { kind: 'refusing', code: 'KNEAR_LOG_FULL', detail: 'full' };
    opened.wire.write(head(expecting));
    const received = await opened.wire.until('}');
    expect(statusesOf(received)).toEqual(['503']);
    expect(received).toContain('retry-after: 1');
  });

  test('costs no upload while too much is being read', async () => {
    const { wire } = await openBoth({ limits: { requestsMax: 0 } });
    wire.write(head(expecting));
    const received = await wire.until('}');
    expect(statusesOf(received)).toEqual(['429']);
    expect(received).toContain('retry-after: 1');
  });

  test('anything else that is expected is 417', async () => {
    const { wire } = await openBoth();
    wire.write(head({ ...expecting, expect: 'a miracle' }));
    await wire.until('HTTP/1.1 417');
  });
});

describe('answers before the end of the body (K14, N1)', () => {
  const declared = { 'content-length': String(MIB) };
  const chunked = { 'transfer-encoding': 'chunked' };

  test.each([
    ['an unknown Broker', '404', declared, '/default/unknown', ''],
    ['a declared size', '413', declared, '/default/small', ''],
    ['an undeclared size', '413', chunked, '/default/small', '100000\r\n'],
  ])(
    'reach a producer that sends 1 MiB regardless: %s',
    async (_name, status, headers, path, prefix) => {
      const { wire, log, clock } = await openBoth();
      wire.write(head(headers, path), prefix);
      // Half before it could know, half after the answer: closing at once would reset the connection in between.
      wire.write(Buffer.alloc(MIB / 2));
      const received = await wire.until('}');
      wire.write(Buffer.alloc(MIB / 2));
      if (prefix !== '') clock.advance(1_000);
      expect(await wire.untilClosed()).toBe(received);
      expect(statusesOf(received)).toEqual([status]);
      expect(received).toMatch(/connection: close/i);
      expect(log.appends).toEqual([]);
      expect(clock.timerCount).toBe(0);
    },
  );

  test('are waited upon for a second, not longer', async () => {
    const { wire, clock } = await openBoth();
    wire.write(head(declared, '/default/unknown'), 'x');
    await wire.until('}');
    clock.advance(999);
    wire.write('more');
    await new Promise((resolve) => setImmediate(resolve));
    expect(wire.isClosed).toBe(false);
    clock.advance(1);
    await wire.untilClosed();
  });

  test.each([
    ['with its head', ['{}']],
    ['after its answer', ['', '{', '}']],
  ])('cost no connection when a small body comes %s (N2)', async (_name, [first = '', ...rest]) => {
    const { wire, clock } = await openBoth();
    wire.write(head({ 'content-length': '2' }, '/default/unknown') + first);
    const received = await wire.until('"}');
    expect(received).toMatch(/connection: keep-alive/i);
    wire.write(...rest, head({ 'content-length': '2' }) + '{}');
    expect(statusesOf(await wire.until('202'))).toEqual(['404', '202']);
    clock.advance(1_000);
    wire.write(head({ 'content-length': '2' }, '/default') + '{}');
    await wire.until('KNEAR_PATH');
  });

  test('end the connection when a small body does not come within a second (N2)', async () => {
    const { wire, clock } = await openBoth();
    wire.write(head({ 'content-length': '2' }, '/default/unknown'));
    await wire.until('"}');
    clock.advance(1_000);
    await wire.untilClosed();
  });

  test('need nobody to listen', async () => {
    const opened = await openBoth();
    opened.wire.write(head(declared, '/default/unknown'));
    await opened.wire.until('}');
    opened.wire.reset();
    await eventually(() => opened.clock.timerCount === 0);
    expect(codesOf(opened)).toEqual(['KNEAR_INGRESS_UNKNOWN']);
  });
});

describe('slow bodies (B4)', () => {
  test('without a byte for 30 s are 408', async () => {
    const opened = await openBoth();
    opened.wire.write(head({ 'content-length': '10' }), '12345');
    await eventually(() => opened.door.requestsInFlight === 1);
    opened.clock.advance(29_000);
    expect(opened.door.requestsInFlight).toBe(1);
    opened.clock.advance(2_000);
    const received = await opened.wire.until('}');
    expect(received).toMatch(/^HTTP\/1\.1 408 /);
    expect(codesOf(opened)).toEqual(['KNEAR_BODY_TIMEOUT']);
    opened.clock.advance(1_000);
    await opened.wire.untilClosed();
    expect(opened.door).toMatchObject({ requestsInFlight: 0, bodyBytesHeld: 0 });
    expect(opened.log.appends).toEqual([]);
  });

  test('that trickle below 1 KiB/s are 408 after a minute', async () => {
    const opened = await openBoth();
    opened.wire.write(head({ 'content-length': String(MIB) }));
    await eventually(() => opened.door.requestsInFlight === 1);
    for (let second = 0; second < 59; second += 1) await trickle(opened, 1_023);
    expect(opened.door.requestsInFlight).toBe(1);
    await trickle(opened, 1_023);
    expect(await opened.wire.until('}')).toMatch(/^HTTP\/1\.1 408 /);
  });

  test('that are steady are waited for, however long they take', async () => {
    const opened = await openBoth();
    const size = 120 * 2_048;
    opened.wire.write(head({ 'content-length': String(size) }));
    await eventually(() => opened.door.requestsInFlight === 1);
    for (let second = 0; second < 120; second += 1) await trickle(opened, 2_048);
    await opened.wire.until('202');
    expect(firstData(opened.log)?.byteLength).toBe(size);
  });

  test('do not pay for the time in which the door made them wait', async () => {
    const { promise, open } = gate();
    const { wire, door, clock } = await openBoth({ mayRead: () => promise });
    wire.write(head({ 'content-length': '10' }), '12345');
    await eventually(() => door.requestsInFlight === 1);
    clock.advance(120_000);
    open();
    wire.write('67890');
    await wire.until('202');
  });

  /** Sends some bytes, lets them arrive, and a second pass. */
  async function trickle(
    { wire, clock }: Awaited<ReturnType<typeof openBoth>>,
    bytes: number,
  ): Promise<void> {
    wire.write(Buffer.alloc(bytes));
    for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1_000);
  }
});

describe('a body', () => {
  test.each([
    ['in one piece', [1_000]],
    ['byte by byte', Array.from({ length: 40 }, () => 1)],
    ['in pieces of all sizes', [1, 70_000, 3, 200_000, 65_536]],
  ])('arrives as it was sent, %s', async (_name, sizes) => {
    const { wire, log } = await openBoth();
    const pieces = sizes.map((size, at) => Buffer.alloc(size, `piece ${at} `));
    const whole = Buffer.concat(pieces);
    wire.write(head({ 'content-length': String(whole.byteLength) }));
    for (const piece of pieces) {
      wire.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await wire.until('202');
    expect(whole.equals(firstData(log) ?? Buffer.of())).toBe(true);
  });

  test('of no bytes is no data', async () => {
    const { wire, log } = await openBoth();
    wire.write(head({ 'content-length': '0' }));
    await wire.until('202');
    wire.write(head({ 'transfer-encoding': 'chunked' }), '0\r\n\r\n');
    await eventually(() => log.appends.length === 2);
    expect(log.appends.map(({ event }) => event.data)).toEqual([undefined, undefined]);
  });
});

describe('bounds (I4)', () => {
  test('declared bytes count before they come (B2)', async () => {
    const opened = await openBoth({ limits: { bodyBytesMax: 1_000 } });
    opened.wire.write(head({ 'content-length': '600' }));
    await eventually(() => opened.door.bodyBytesHeld === 600);
    const other = await Wire.open(opened.port);
    other.write(head({ 'content-length': '401' }));
    const received = await other.until('}');
    expect(received).toMatch(/^HTTP\/1\.1 429 /);
    expect(received).toContain('KNEAR_OVERLOADED');
    expect(received).toContain('retry-after: 1');
    const third = await Wire.open(opened.port);
    third.write(head({ 'content-length': '400' }), Buffer.alloc(400));
    await third.until('202');
    opened.wire.write(Buffer.alloc(600));
    await opened.wire.until('202');
    expect(opened.door.bodyBytesHeld).toBe(0);
  });

  test('undeclared bytes count as they come (B2)', async () => {
    const opened = await openBoth({ limits: { bodyBytesMax: 1_000 } });
    opened.wire.write(head({ 'content-length': '600' }));
    await eventually(() => opened.door.bodyBytesHeld === 600);
    const other = await Wire.open(opened.port);
    other.write(head({ 'transfer-encoding': 'chunked' }), '190\r\n', Buffer.alloc(400), '\r\n');
    await eventually(() => opened.door.bodyBytesHeld === 1_000);
    other.write('1\r\nx\r\n0\r\n\r\n');
    expect(await other.until('}')).toMatch(/^HTTP\/1\.1 429 /);
    await eventually(() => opened.door.bodyBytesHeld === 600);
  });

  test('a body over the bound for all is 413: it could never come in', async () => {
    const { wire } = await openBoth({ limits: { bodyBytesMax: 1_000 } });
    wire.write(head({ 'content-length': '1001' }));
    expect(await wire.until('}')).toMatch(/^HTTP\/1\.1 413 /);
  });

  test('a body counts until its event is kept', async () => {
    const opened = await openBoth();
    const release = opened.log.hold();
    opened.wire.write(head({ 'content-length': '600' }), Buffer.alloc(600));
    await eventually(() => opened.door.bodyBytesHeld === 600);
    release();
    await opened.wire.until('202');
    expect(opened.door.bodyBytesHeld).toBe(0);
  });

  test('requests in flight have a number', async () => {
    const opened = await openBoth({ limits: { requestsMax: 1 } });
    const release = opened.log.hold();
    opened.wire.write(head({ 'content-length': '2' }), '{}');
    await eventually(() => opened.door.requestsInFlight === 1);
    const other = await Wire.open(opened.port);
    other.write(head({ 'content-length': '2' }) + '{}');
    expect(await other.until('"}')).toMatch(/^HTTP\/1\.1 429 /);
    release();
    await opened.wire.until('202');
    other.write(head({ 'content-length': '2' }) + '{}');
    await other.until('202');
  });

  test('a refusal gives back what it took', async () => {
    const opened = await openBoth();
    opened.log.failWith(new KnearError('KNEAR_LOG_FULL', 'full'));
    opened.wire.write(head({ 'content-length': '2' }) + '{}');
    await opened.wire.until('503');
    expect(opened.door).toMatchObject({ requestsInFlight: 0, bodyBytesHeld: 0 });
  });
});

function firstData({ appends }: TestDoor['log']): Uint8Array | undefined {
  const [first] = appends;
  return first && inlineData(first.event);
}
