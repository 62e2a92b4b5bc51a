/**
 * Batches at the door, seen from outside over real connections: all of the events are taken or none, and a producer hears
 * which ones are wrong. The bugs hunted here: half a batch that is kept, a batch that goes around a limit for events.
 */
import { describe, expect, test } from '@jest/globals';
import { GroupedLog } from '../../broker/log/grouped-log.ts';
import { ERRORS, KnearError } from '../../core/errors.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { inlineData } from '../../core/event.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { Position } from '../../core/ports/event-log.ts';
import type { Happening } from '../../core/ports/observer.ts';
import type { Span, Tracer } from '../../core/ports/tracer.ts';
import { FakeClock } from '../fakes/clock.ts';
import { GatedStore } from '../fakes/gated-store.ts';
import { RecordingLog } from '../fakes/recording-log.ts';
import { eventually, send, Wire } from './clients.ts';
import type { Received } from './clients.ts';
import { CLAIMS } from '../fakes/claims.ts';
import type { TestDoor } from './open-door.ts';
import { EVENT_HEADERS, ingress, INGRESSES, openDoor, topologyOf } from './open-door.ts';

const TYPE = 'application/cloudevents-batch+json';
const BATCH = { 'content-type': `${TYPE}; charset=UTF-8` };
const REQUIRED = { specversion: '1.0', source: '/shop', type: 'order.created' };

function event(id: string, more: object = {}): object {
  return { ...REQUIRED, id, ...more };
}

function batch(...events: unknown[]): { headers: Record<string, string>; body: string } {
  return { headers: BATCH, body: JSON.stringify(events) };
}

function idsIn({ log }: TestDoor): unknown[] {
  return log.appends.map(({ event: { attributes } }) => attributes.get('id'));
}

/** The problem document, after a look at what all of them have. */
function problemIn({ status, headers, body }: Received): Record<string, unknown> {
  expect(headers['content-type']).toBe('application/problem+json');
  const problem = JSON.parse(body) as Record<string, unknown>;
  // It is one of ours, so its code is in the table.
  const code = problem['code'] as ErrorCode;
  expect(problem).toMatchObject({ status, title: ERRORS[code].title });
  return problem;
}

/** Counts the calls, too. */
class CountingLog extends RecordingLog {
  readonly calls: number[] = [];

  override append(ingressId: string, events: readonly CloudEvent[]): Promise<Position[]> {
    this.calls.push(events.length);
    return super.append(ingressId, events);
  }
}

describe('a batch is taken', () => {
  test('with its events in their order, each stamped by the Broker', async () => {
    const opened = await openDoor();
    const sent = batch(event('1'), event('2', { knativebrokerttl: 8 }), event('3'));
    expect(await send(opened.port, sent)).toMatchObject({ status: 202, body: '' });
    const kept = opened.log.appends.map(({ ingressId, event: { attributes } }) => [
      ingressId,
      ...['id', 'knativearrivaltime', 'knativebrokerttl'].map((name) => attributes.get(name)),
    ]);
    expect(kept).toEqual([
      ['broker/default/orders', '1', '2026-01-01T00:00:00.000Z', 255],
      ['broker/default/orders', '2', '2026-01-01T00:00:00.000Z', 7],
      ['broker/default/orders', '3', '2026-01-01T00:00:00.000Z', 255],
    ]);
  });

  test('by a Channel, which adds nothing', async () => {
    const opened = await openDoor();
    const path = '/default/channels/step-1';
    expect(await send(opened.port, { path, ...batch(event('1'), event('2')) })).toMatchObject({
      status: 202,
    });
    for (const { ingressId, event: kept } of opened.log.appends) {
      expect(ingressId).toBe('channel/default/step-1');
      expect([...kept.attributes.keys()].toSorted()).toEqual([
        'id',
        'source',
        'specversion',
        'type',
      ]);
    }
  });

  test('with the data of each byte for byte, and the kept headers of the request', async () => {
    const opened = await openDoor();
    const required = '"specversion":"1.0","id":"1","source":"/a","type":"t"';
    const body = `[ {${required},"data": {"a":1.0, "a":2e400} },
      {${required},"datacontenttype":"text/plain","data":"\\u00e9"}, {${required},"data_base64":"AP8="}]`;
    await send(opened.port, { headers: { ...BATCH, traceparent: '00-a', 'x-other': 'b' }, body });
    const kept = opened.log.appends.map(({ event }) => ({
      data: Buffer.from(inlineData(event) ?? []).toString('latin1'),
      headers: [...event.headers],
    }));
    const headers = [['traceparent', '00-a']];
    expect(kept).toEqual([
      { data: '{"a":1.0, "a":2e400}', headers },
      { data: '\xc3\xa9', headers },
      { data: '\0\xff', headers },
    ]);
  });

  test.each([
    ['in capitals', { 'content-type': TYPE.toUpperCase() }],
    [
      'beside attributes in headers, which mean nothing',
      { ...EVENT_HEADERS, 'content-type': TYPE },
    ],
    ['in chunks', { 'content-type': TYPE, 'transfer-encoding': 'chunked' }],
  ])('%s', async (_name, headers) => {
    const opened = await openDoor();
    const body = JSON.stringify([event('a'), event('b')]);
    expect(await send(opened.port, { headers, body })).toMatchObject({ status: 202 });
    expect(idsIn(opened)).toEqual(['a', 'b']);
  });

  test.each([
    ['of one event', ['1']],
    ['with an event that is there twice', ['1', '1']],
    ['of 1,000 events', Array.from({ length: 1_000 }, (_, index) => String(index))],
  ])('%s', async (_name, ids) => {
    const opened = await openDoor();
    const sent = batch(...ids.map((id) => event(id)));
    expect(await send(opened.port, sent)).toMatchObject({ status: 202 });
    expect(idsIn(opened)).toEqual(ids);
    expect(opened.happenings).toHaveLength(ids.length);
  });

  test('when it is empty: nothing is kept, and nothing is told', async () => {
    const opened = await openDoor();
    expect(await send(opened.port, { headers: BATCH, body: ' [ ]' })).toMatchObject({
      status: 202,
      body: '',
    });
    expect([opened.log.appends, opened.happenings]).toEqual([[], []]);
  });

  test('by one call of the log, and answered when that has resolved (I2)', async () => {
    const log = new CountingLog();
    const opened = await openDoor({ log });
    const release = log.hold();
    const wire = (await Wire.open(opened.port)).write(head('3'), `[${ONE_EVENT},${ONE_EVENT},`);
    wire.write(`${ONE_EVENT}]`);
    await eventually(() => log.calls.length > 0);
    await send(opened.port, { method: 'OPTIONS' });
    expect([wire.received, log.calls]).toEqual(['', [3]]);
    release();
    await wire.until('HTTP/1.1 202');
    expect(log.calls).toEqual([3]);
  });

  test('and each of its events is observed, with the time of the request', async () => {
    const opened = await openDoor();
    const release = opened.log.hold();
    const received = send(opened.port, batch(event('1'), event('2', { data: 'x'.repeat(500) })));
    await eventually(() => opened.door.requestsInFlight === 1);
    opened.clock.advance(250);
    release();
    await received;
    const accepted = { kind: 'accepted', ingress: INGRESSES.orders, durationMs: 250 };
    expect(opened.happenings).toMatchObject([accepted, accepted]);
    const [one, two] = opened.happenings.map((each) => ('sizeBytes' in each ? each.sizeBytes : 0));
    expect((two ?? 0) - (one ?? 0)).toBeGreaterThan(500);
    expect(eventsOf(opened.happenings)).toEqual(opened.log.appends.map((each) => each.event));
  });
});

describe('a batch with events that are wrong is refused as a whole', () => {
  const wrong: readonly (readonly [string, unknown, ErrorCode, string])[] = [
    ['no event', 17, 'KNEAR_STRUCTURED_INVALID', 'type number'],
    ['a missing id', { ...REQUIRED }, 'KNEAR_EVENT_INVALID', 'id is missing'],
    ['another version', event('1', { specversion: '0.3' }), 'KNEAR_EVENT_INVALID', 'specversion'],
    ['base64 that is none', event('1', { data_base64: '?' }), 'KNEAR_STRUCTURED_INVALID', 'base64'],
    [
      'attributes over the limit',
      event('1', { tenant: 'x'.repeat(20_000) }),
      'KNEAR_ATTRIBUTES_TOO_LARGE',
      'attributesMax',
    ],
    [
      'a hop count that is used up',
      event('1', { knativebrokerttl: 1 }),
      'KNEAR_TTL_EXHAUSTED',
      'knativebrokerttl',
    ],
  ];

  test.each(wrong)('%s', async (_name, bad, code, detail) => {
    const opened = await openDoor();
    const problem = problemIn(await send(opened.port, batch(event('1'), bad, event('2'))));
    expect(problem).toEqual({
      type: 'urn:knear:error:KNEAR_BATCH_INVALID',
      title: ERRORS.KNEAR_BATCH_INVALID.title,
      status: 400,
      detail: expect.stringMatching(/^1 of 3 events cannot be taken.* index 1: .*/),
      code: 'KNEAR_BATCH_INVALID',
      errors: [{ index: 1, code, detail: expect.stringContaining(detail) }],
      errorCount: 1,
    });
    expect(opened.log.appends).toEqual([]);
    expect(opened.happenings).toMatchObject([
      { kind: 'refused', by: 'door', code: 'KNEAR_BATCH_INVALID', status: 400 },
    ]);
    expect(opened.happenings).toHaveLength(1);
  });

  test('and all that is wrong is told at once', async () => {
    const opened = await openDoor();
    const sent = batch(...wrong.flatMap(([, bad]) => [event('good'), bad]));
    const { errors, errorCount } = problemIn(await send(opened.port, sent));
    expect(errors).toMatchObject(wrong.map(([, , code], at) => ({ index: 2 * at + 1, code })));
    expect(errorCount).toBe(wrong.length);
    expect(opened.log.appends).toEqual([]);
  });

  test('but of many the first twenty, with the count of all', async () => {
    const opened = await openDoor();
    const sent = batch(event('1'), ...Array<unknown>(500).fill(0));
    const received = await send(opened.port, sent);
    const { errors, errorCount } = problemIn(received);
    const indexes = Array.from({ length: 20 }, (_, at) => ({ index: at + 1 }));
    expect(errors).toMatchObject(indexes);
    expect([(errors as unknown[]).length, errorCount]).toEqual([20, 500]);
    expect(opened.happenings).toHaveLength(1);
  });

  test('and text of a producer cannot make the answer long', async () => {
    const opened = await openDoor();
    const bad = event('1', { subject: ' ', time: 'x'.repeat(10_000) });
    const received = await send(opened.port, batch(...Array<unknown>(50).fill(bad)));
    expect(problemIn(received)).toMatchObject({ errorCount: 50 });
    expect(received.body.length).toBeLessThan(10_000);
  });
});

describe('what is no batch is refused, and says where', () => {
  test.each([
    ['nothing', '', 0],
    ['a single event', JSON.stringify(event('1')), 0],
    ['an array that stops after whole events', JSON.stringify([event('1')]).slice(0, -1), 71],
    ['events by line', `${JSON.stringify(event('1'))}\n${JSON.stringify(event('2'))}`, 0],
    ['a second batch', '[][]', 2],
  ])('%s', async (_name, body, offset) => {
    const opened = await openDoor();
    const problem = problemIn(await send(opened.port, { headers: BATCH, body }));
    expect(problem).toMatchObject({
      code: 'KNEAR_BATCH_INVALID',
      detail: expect.stringContaining(`(at byte ${offset} of the body)`),
    });
    expect(problem).not.toHaveProperty('errors');
    expect(opened.log.appends).toEqual([]);
    expect(opened.happenings).toMatchObject([{ kind: 'refused', code: 'KNEAR_BATCH_INVALID' }]);
  });
});

describe('limits', () => {
  test('1,001 events are too many', async () => {
    const opened = await openDoor();
    const sent = batch(...Array.from({ length: 1_001 }, (_, index) => event(String(index))));
    const received = await send(opened.port, sent);
    expect(problemIn(received)).toMatchObject({ status: 413, code: 'KNEAR_BATCH_TOO_LONG' });
    expect(opened.log.appends).toEqual([]);
    expect(opened.happenings).toMatchObject([{ kind: 'refused', code: 'KNEAR_BATCH_TOO_LONG' }]);
  });

  test.each<[string, Record<string, string>]>([
    ['declared', {}],
    ['in chunks', { 'transfer-encoding': 'chunked' }],
  ])('all of it is bounded (K15): %s', async (_name, headers) => {
    const size = Buffer.byteLength(batch(event('1'), event('2')).body);
    const topology = topologyOf([
      ingress({ name: 'fits', claims: { ...CLAIMS, batchMaxBytes: size } }),
      ingress({ name: 'tight', claims: { ...CLAIMS, batchMaxBytes: size - 1 } }),
    ]);
    const opened = await openDoor({ topology: () => topology });
    const { body } = batch(event('1'), event('2'));
    const to = (path: string) =>
      send(opened.port, { path, headers: { ...BATCH, ...headers }, body });
    expect(problemIn(await to('/default/tight'))).toMatchObject({
      status: 413,
      code: 'KNEAR_EVENT_TOO_LARGE',
    });
    expect(opened.log.appends).toEqual([]);
    expect(await to('/default/fits')).toMatchObject({ status: 202 });
    expect(idsIn(opened)).toEqual(['1', '2']);
  });

  test('events of requests in flight have a number (I4)', async () => {
    const opened = await openDoor({ limits: { eventsMax: 5 } });
    const release = opened.log.hold();
    const first = send(opened.port, batch(event('1'), event('2'), event('3')));
    await eventually(() => opened.door.requestsInFlight === 1);
    const over = await send(opened.port, batch(event('4'), event('5'), event('6')));
    expect(problemIn(over)).toMatchObject({ status: 429, code: 'KNEAR_OVERLOADED' });
    expect(over.headers['retry-after']).toBe('1');
    const others = [send(opened.port, batch(event('7'), event('8')))];
    await eventually(() => opened.door.requestsInFlight === 2);
    const single = await send(opened.port, { headers: EVENT_HEADERS, body: '{}' });
    expect(single.status).toBe(429);
    release();
    for (const received of await Promise.all([first, ...others])) expect(received.status).toBe(202);
    expect(idsIn(opened)).toEqual(['1', '2', '3', '7', '8']);
  });

  test('and are given back, whatever became of them', async () => {
    const opened = await openDoor({ limits: { eventsMax: 2 } });
    const two = batch(event('1'), event('2'));
    opened.log.failWith(new KnearError('KNEAR_LOG_FULL', 'full'));
    expect(await send(opened.port, two)).toMatchObject({ status: 503 });
    opened.log.failWith(undefined);
    expect(await send(opened.port, batch(event('1'), 17))).toMatchObject({ status: 400 });
    expect(await send(opened.port, two)).toMatchObject({ status: 202 });
    expect(await send(opened.port, two)).toMatchObject({ status: 202 });
    expect(opened.door).toMatchObject({ requestsInFlight: 0, bodyBytesHeld: 0 });
  });
});

const ONE_EVENT = JSON.stringify(event('1'));

/** @param events how many of `ONE_EVENT` the Content-Length makes room for; or what else it says. */
function head(events: string, headers: Readonly<Record<string, string>> = {}): string {
  const length = Number(events) * (ONE_EVENT.length + 1) + 1;
  const all = Object.entries({ ...BATCH, 'content-length': String(length), ...headers });
  const lines = [
    'POST /default/orders HTTP/1.1',
    'host: door',
    ...all.map((pair) => pair.join(': ')),
  ];
  return [...lines, '', ''].join('\r\n');
}

describe('what the head can tell costs no upload (I1)', () => {
  test.each<[string, string, Record<string, string>, string, Partial<TestDoor['log']>]>([
    ['an unknown Broker', '/default/unknown', {}, 'KNEAR_INGRESS_UNKNOWN', {}],
    ['too large a batch', '/default/small', {}, 'KNEAR_EVENT_TOO_LARGE', {}],
    ['a coding', '/default/orders', { 'content-encoding': 'gzip' }, 'KNEAR_CONTENT_ENCODING', {}],
    [
      'a full log',
      '/default/orders',
      {},
      'KNEAR_LOG_FULL',
      { state: { kind: 'refusing', code: 'KNEAR_LOG_FULL', detail: 'full' } },
    ],
  ])('%s', async (_name, path, headers, code, log) => {
    const opened = await openDoor();
    Object.assign(opened.log, log);
    const wire = await Wire.open(opened.port);
    const expecting = head('3', { expect: '100-continue', ...headers });
    wire.write(expecting.replace('/default/orders', path));
    const received = await wire.until('}');
    expect(received).toContain(code);
    expect(received).not.toContain('100 Continue');
  });
});

describe('a batch that is not whole is none (K13, B1)', () => {
  test.each([
    ['ends within an event', head('2'), `[${ONE_EVENT},{"spec`],
    ['ends after what would be a batch', head('2'), `[${ONE_EVENT}]`],
    ['ends without the last chunk', chunkedHead(), chunk(`[${ONE_EVENT}]`)],
    ['has a broken chunk', chunkedHead(), `${chunk(`[${ONE_EVENT}]`)}xyz\r\n`],
  ])('when it %s', async (_name, first, body) => {
    const opened = await openDoor();
    const wire = (await Wire.open(opened.port)).write(first, body).end();
    const received = await wire.untilClosed();
    expect(received).toMatch(/^HTTP\/1\.1 400 /);
    expect(received).toContain('KNEAR_BODY_TRUNCATED');
    expect(opened.log.appends).toEqual([]);
  });

  test('when the connection is reset in the middle of it', async () => {
    const opened = await openDoor();
    const wire = (await Wire.open(opened.port)).write(head('2'), `[${ONE_EVENT}]`);
    await eventually(() => opened.door.requestsInFlight === 1);
    wire.reset();
    await eventually(() => opened.happenings.length > 0);
    expect(opened.happenings).toMatchObject([{ kind: 'refused', code: 'KNEAR_BODY_TRUNCATED' }]);
    expect(opened.log.appends).toEqual([]);
    expect(opened.door).toMatchObject({ requestsInFlight: 0, bodyBytesHeld: 0 });
  });

  test('when its Content-Length is too small, and its rest is no request', async () => {
    const opened = await openDoor();
    const wire = (await Wire.open(opened.port)).write(head('1'), `[${ONE_EVENT},${ONE_EVENT}]`);
    const received = await wire.untilClosed();
    expect(received.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400']);
    expect(received).toContain('KNEAR_BATCH_INVALID');
    expect(opened.log.appends).toEqual([]);
  });

  function chunkedHead(): string {
    return head('0', { 'transfer-encoding': 'chunked' }).replace(/content-length: \d+\r\n/, '');
  }

  function chunk(text: string): string {
    return `${text.length.toString(16)}\r\n${text}\r\n`;
  }
});

describe('over the log itself', () => {
  /** Everything is for the egress `a`, but what is of type `nobody.wants`. Its commits wait to be passed or failed. */
  function openLog() {
    const store = new GatedStore();
    const clock = new FakeClock();
    const log = GroupedLog.open({
      store,
      clock,
      match: (_ingressId, { attributes }) => ({
        egressIds: attributes.get('type') === 'nobody.wants' ? [] : ['a'],
        isEarly: false,
      }),
      observer: { observe: () => undefined },
      limits: {
        ...{ sizeMaxBytes: 1e12, quotaBytes: 1e12, reserveBytes: 0, windowMax: 256 },
        ...{ parkedMax: 1_000, parkedBytesMax: 1e9, parkedAgeMs: 1e9 },
      },
    });
    const whenCommitting = () =>
      eventually(() => {
        clock.flush();
        return store.pending !== undefined;
      });
    return { store, log, whenCommitting };
  }

  test('all of it is in one commit, and 202 follows that', async () => {
    const { store, log, whenCommitting } = openLog();
    const opened = await openDoor({ log });
    const ids = Array.from({ length: 999 }, (_, index) => String(index));
    const unwanted = event('unwanted', { type: 'nobody.wants' });
    const received = send(opened.port, batch(unwanted, ...ids.map((id) => event(id))));
    await whenCommitting();
    expect(opened.happenings).toEqual([]);
    store.pass();
    expect(await received).toMatchObject({ status: 202 });
    expect([store.commitCount, log.lag('a').ready]).toEqual([1, 999]);
    const pulled = await log.pull('a', 256, { signal: new AbortController().signal });
    expect(pulled.map((each) => each.event.attributes.get('id'))).toEqual(ids.slice(0, 256));
    const matched = opened.happenings.map((each) => 'isMatched' in each && each.isMatched);
    expect(matched).toEqual([false, ...Array<boolean>(999).fill(true)]);
  });

  test('none of it is there when the commit fails', async () => {
    const { store, log, whenCommitting } = openLog();
    const opened = await openDoor({ log });
    const received = send(opened.port, batch(event('1'), event('2'), event('3')));
    await whenCommitting();
    store.fail();
    expect(problemIn(await received)).toMatchObject({ status: 503, code: 'KNEAR_LOG_FAILED' });
    expect(log.lag('a').ready).toBe(0);
    expect(opened.happenings).toMatchObject([{ kind: 'refused', code: 'KNEAR_LOG_FAILED' }]);
  });
});

describe('each event of a batch is a span', () => {
  test.each<[string, Error | undefined, string]>([
    ['that ends with 202', undefined, '202'],
    ['that ends as the append did', new KnearError('KNEAR_QUOTA', 'full'), '503 KNEAR_QUOTA'],
    // A span that never ends is never told.
    ['that ends even after a bug', new TypeError('a bug'), '500 KNEAR_INTERNAL'],
  ])('%s', async (_name, failure, end) => {
    const ends: string[] = [];
    const opened = await openDoor({ tracer: tracerInto(ends) });
    opened.log.failWith(failure);
    await send(opened.port, batch(event('1'), event('2')));
    expect(ends).toEqual([`1: ${end}`, `2: ${end}`]);
    const kept = opened.log.appends.map((each) => each.event.headers.get('traceparent'));
    expect(kept).toEqual(failure ? [] : ['of 1', 'of 2']);
  });

  test('but none that was refused', async () => {
    const ends: string[] = [];
    const opened = await openDoor({ tracer: tracerInto(ends) });
    await send(opened.port, batch(event('1'), 17));
    expect(ends).toEqual([]);
  });

  function tracerInto(ends: string[]): Tracer {
    const spanOf = ({ attributes }: CloudEvent): Span => {
      const id = String(attributes.get('id'));
      const mark = (given: CloudEvent) => ({
        ...given,
        headers: new Map([['traceparent', `of ${id}`]]),
      });
      return {
        traceparent: '',
        mark,
        adopt: mark,
        note: () => undefined,
        end: (status, code) => void ends.push([`${id}:`, status, code].filter(Boolean).join(' ')),
      };
    };
    return {
      accept: (_ingress, given) => spanOf(given),
      attempt: (_egress, { event: given }) => spanOf(given),
    };
  }
});

function eventsOf(happenings: readonly Happening[]): unknown[] {
  return happenings.map((each) => each.kind === 'accepted' && each.event);
}
