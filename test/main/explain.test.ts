/** What is remembered of events and how it is told, asked of a real admin server; happenings are told by hand. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CloudEvent } from '../../core/event.ts';
import type { Happening } from '../../core/ports/observer.ts';
import { compileMatch } from '../../core/rules/match.ts';
import type { Egress, Ingress, Topology } from '../../core/topology.ts';
import type { Admin } from '../../main/admin.ts';
import { openBareAdmin } from './bare-admin.ts';
import { explainEvent } from '../../main/client/explain-event.ts';
import { openExplain, type Explain } from '../../main/inside/explain.ts';
import type { ExplainedEvents } from '../../main/inside/explained.ts';
import {
  at,
  broker,
  channel,
  eventOf,
  inside,
  ofType,
  subscription,
  topologyOf,
  trigger,
} from '../dispatcher/resources.ts';
import { FakeClock } from '../fakes/clock.ts';
import { SHOWN } from './shown-payload.ts';

const ORDERS = broker('orders');
const STEPS = channel('steps');
const SINK = at('http://sink/dead');
const TRIGGER = trigger({ id: 'audit', filter: ofType('order'), deadLetter: SINK });
const OTHER = trigger({ id: 'other', filter: ofType('invoice') });

let clock: FakeClock;
let topology: Topology;
let explain: Explain;
let admin: Admin;

beforeEach(async () => {
  clock = new FakeClock();
  serve(TRIGGER, OTHER);
  await open(3);
});

afterEach(() => admin.close());

function serve(...egresses: readonly Egress[]): void {
  const revision = (topology as Topology | undefined)?.revision ?? 0;
  topology = topologyOf(revision + 1, { ingresses: [ORDERS, STEPS], egresses });
}

async function open(eventsMax: number): Promise<void> {
  explain = openExplain({ eventsMax, topology: () => topology, clock });
  admin = await openBareAdmin(explain.routes);
}

async function reopen(eventsMax: number): Promise<void> {
  await admin.close();
  await open(eventsMax);
}

/** The log asks who wants it. */
function enters(event: CloudEvent, ingress: Ingress = ORDERS): void {
  explain.match((ingressId, each) => compileMatch(topology)(ingressId, each))(ingress.id, event);
}

function accepted(event: CloudEvent, ingress: Ingress = ORDERS): void {
  const rest = { isMatched: true, durationMs: 1, sizeBytes: 9, scheme: 'http' } as const;
  explain.observer.observe({ kind: 'accepted', ingress, event, ...rest });
}

type Attempted = Extract<Happening, { kind: 'attempted' }>;

function attempted(event: CloudEvent, given: Partial<Attempted> = {}): void {
  explain.observer.observe({
    kind: 'attempted',
    hops: 0,
    egress: TRIGGER,
    event,
    phase: 'deliver',
    attempt: 1,
    dest: 'http://subscriber/in',
    status: 202,
    durationMs: 5,
    ...given,
  });
}

const REJECTED = { status: 503, code: 'KNEAR_REJECTED' } as const;

function ended(
  event: CloudEvent,
  end: Extract<Happening, { kind: 'ended' }>['end'],
  egress: Egress = TRIGGER,
): void {
  const failure = { code: 'KNEAR_REJECTED', status: 503, dest: 'http://subscriber/in' } as const;
  const data = Buffer.from('secret answer');
  const isLost = end === 'parked' || end === 'dead-lettered' || end === 'dropped';
  const why = isLost && { failure: { ...failure, data } };
  explain.observer.observe({ kind: 'ended', egress, event, end, ageMs: 60_000, ...why });
}

async function ask(path: string): Promise<ExplainedEvents> {
  return (await (await fetch(admin.url + path)).json()) as ExplainedEvents;
}

async function text(id: string, source?: string): Promise<string> {
  const of = source !== undefined && { source };
  return explainEvent({ id, ...of, output: 'text', adminUrl: admin.url });
}

/** Of an event that went well. */
function passes(id: string): void {
  const event = eventOf(id);
  enters(event);
  accepted(event);
  attempted(event);
  ended(event, 'delivered');
}

async function isRemembered(id: string): Promise<boolean> {
  return (await fetch(`${admin.url}/events/${id}`)).status === 200;
}

test('the story of an event: who wanted it, attempts, waits, the end', async () => {
  const event = eventOf('1', { data: 'secret data', attributes: { subject: 'a subject' } });
  enters(event);
  clock.advance(2);
  accepted(event);
  clock.advance(8);
  attempted(event, REJECTED);
  const wait = { phase: 'deliver', attempt: 1, delayMs: 200, where: 'memory' } as const;
  explain.observer.observe({ kind: 'waiting', egress: TRIGGER, event, ...wait });
  clock.advance(210);
  attempted(event, { attempt: 2, status: 0, code: 'KNEAR_TIMEOUT' });
  clock.advance(10);
  attempted(event, { phase: 'dead-letter', dest: 'http://sink/dead' });
  ended(event, 'dead-lettered');
  clock.advance(90_000);
  expect(await text('1')).toBe(`event     1
source    /shop
type      order
subject   a subject
accepted  2026-01-01T00:00:00.000Z, 90.2 s ago; times below count from then

broker default/orders
        +0 ms  came in
               payload inline, 11 B
        +2 ms  its producer was answered 202, after 2 ms

  trigger shop/audit: DEAD-LETTERED after 2 attempts
        +5 ms  attempt 1: http://subscriber/in: answered 503 (KNEAR_REJECTED), took 5 ms
               waits 200 ms in memory, until +210 ms
      +215 ms  attempt 2: http://subscriber/in: no answer (KNEAR_TIMEOUT), took 5 ms
      +225 ms  attempt 1 at the dead letter sink: http://sink/dead: answered 202, took 5 ms
      +230 ms  dead-lettered to http://sink/dead, because http://subscriber/in failed:
                 KNEAR_REJECTED, status 503

  trigger shop/other: did not want it
               exact: type is "order", wanted "invoice"
`);
  const { events } = await ask('/events/1');
  expect(JSON.stringify(events)).not.toMatch(/secret/);
  expect(events[0]?.visits[0]?.egresses[0]?.end?.failure).toEqual({
    code: 'KNEAR_REJECTED',
    status: 503,
    dest: 'http://subscriber/in',
  });
});

describe('where it stands', () => {
  test.each<{ name: string; now: Egress[]; headline: string; before?: Partial<Attempted> }>([
    { name: 'untouched', now: [TRIGGER], headline: 'WANTS it, and has not ended' },
    {
      name: 'paused',
      now: [{ ...TRIGGER, isPaused: true }],
      headline: 'PAUSED by its annotation knear.dev/paused',
    },
    { name: 'deleted', now: [], headline: 'NOT THERE any more; what waits for it ends as gone' },
    {
      name: 'under way',
      now: [TRIGGER],
      before: REJECTED,
      headline: 'HAS NOT ENDED after 1 attempt',
    },
  ])('$name', async ({ now, headline, before }) => {
    const event = eventOf('1');
    enters(event);
    if (before) attempted(event, before);
    serve(...now);
    expect(await text('1')).toContain(`trigger shop/audit: ${headline}`);
  });

  test('waiting in the log, with the time at which it goes on', async () => {
    const event = eventOf('1');
    enters(event);
    clock.advance(5);
    attempted(event, REJECTED);
    const wait = { phase: 'deliver', attempt: 1, delayMs: 3_600_000, where: 'log' } as const;
    explain.observer.observe({ kind: 'waiting', egress: TRIGGER, event, ...wait });
    const told = await text('1');
    expect(told).toContain('WAITS for its next attempt, after 1 attempt\n');
    expect(told).toContain('waits 60 min in the log, until +60 min');
  });

  test('replayed after it was parked: both ways are told', async () => {
    const event = eventOf('1');
    enters(event);
    attempted(event, REJECTED);
    ended(event, 'parked');
    attempted(event);
    ended(event, 'delivered');
    const told = await text('1');
    expect(told).toContain('trigger shop/audit: PARKED after 1 attempt\n');
    expect(told).toContain('trigger shop/audit: delivered\n');
  });
});

describe('a payload that cannot be read', () => {
  test('is told once, in its place among the attempts, and how often it was', async () => {
    const event = eventOf('1');
    enters(event);
    clock.advance(5);
    attempted(event, REJECTED);
    waits(event, 200);
    for (let stall = 1; stall <= 1_000; stall += 1) {
      clock.advance(10);
      stalled(event);
      waits(event, 10_000);
    }
    clock.advance(10);
    attempted(event, { attempt: 2 });
    ended(event, 'delivered');
    const lines = (await text('1')).split('\n');
    const first = lines.indexOf('  trigger shop/audit: delivered after 2 attempts');
    expect(lines.slice(first + 1, first + 7)).toEqual([
      '        +0 ms  attempt 1: http://subscriber/in: answered 503 (KNEAR_REJECTED), took 5 ms',
      '               waits 200 ms in memory, until +205 ms',
      '      +10.0 s  the payload could not be read or kept: KNEAR_PAYLOAD_STORE_AWAY, tried again, no',
      '                 attempt, 1000 times until now',
      '      +10.0 s  attempt 2: http://subscriber/in: answered 202, took 5 ms',
      '      +10.0 s  delivered',
    ]);
  });

  test('comes last while it lasts', async () => {
    const event = eventOf('1');
    enters(event);
    attempted(event, REJECTED);
    stalled(event);
    expect(await text('1')).toMatch(/attempt 1: .*\n.*KNEAR_PAYLOAD_STORE_AWAY, tried again/);
  });

  test('is remembered as trouble, also of an event that nothing was known of (U1)', async () => {
    stalled(eventOf('1'));
    for (let index = 1; index <= 5; index += 1) passes(`well-${index}`);
    const { events } = await ask('/events/1');
    const [egress] = events[0]?.visits[0]?.egresses ?? [];
    expect(egress?.stall).toMatchObject({ code: 'KNEAR_PAYLOAD_STORE_AWAY', count: 1 });
    expect(egress?.attempts).toEqual([]);
  });

  test('U2 takes no place in a story that is full', async () => {
    const event = eventOf('1');
    enters(event);
    for (let attempt = 1; attempt <= 200; attempt += 1) attempted(event, { ...REJECTED, attempt });
    stalled(event);
    expect(await ask('/events/1')).toMatchObject({ events: [{ omitted: 1 }] });
    expect(await text('1')).not.toContain('KNEAR_PAYLOAD_STORE_AWAY');
  });

  function stalled(event: CloudEvent): void {
    const code = 'KNEAR_PAYLOAD_STORE_AWAY';
    explain.observer.observe({ kind: 'stalled', egress: TRIGGER, event, code });
  }

  function waits(event: CloudEvent, delayMs: number): void {
    const wait = { phase: 'deliver', attempt: 1, delayMs, where: 'memory' } as const;
    explain.observer.observe({ kind: 'waiting', egress: TRIGGER, event, ...wait });
  }
});

describe('where its data is', () => {
  const claimed = (event: CloudEvent): CloudEvent => ({ ...event, data: SHOWN });
  const NAMED = 'payload claimed, 50 MB, default/2026050408/Zm9vYmFyYmF6cXV4MTIzNA';

  test('is told where it came in, and of a reply, too', async () => {
    const event = claimed(eventOf('1'));
    enters(event);
    attempted(event, { reply: claimed(eventOf('r', { type: 'receipt' })) });
    enters(claimed(eventOf('r', { type: 'receipt' })));
    const lines = (await text('1')).split('\n').map((line) => line.trim());
    expect(lines.filter((line) => line === NAMED)).toHaveLength(2);
    const reply = lines.findIndex((line) => line.includes('replied with event r'));
    expect(lines.lastIndexOf(NAMED)).toBeGreaterThan(reply);
    expect((await text('r')).split('\n').filter((line) => line.includes(NAMED))).toHaveLength(1);
  });

  test('is told to programs: size and name, never the ticket', async () => {
    enters(claimed(eventOf('1')));
    enters(eventOf('2', { data: 'inline' }));
    enters(eventOf('3'));
    const visit = async (id: string) => (await ask(`/events/${id}`)).events[0]?.visits[0];
    const { key, tenant, sizeBytes } = SHOWN;
    expect((await visit('1'))?.payload).toEqual({ sizeBytes, id: `${tenant}/${key}` });
    expect((await visit('2'))?.payload).toEqual({ sizeBytes: 6 });
    expect(await visit('3')).not.toHaveProperty('payload');
    attempted(eventOf('1'), { reply: claimed(eventOf('r')) });
    const { events } = await ask('/events/1');
    const reply = events[0]?.visits[0]?.egresses[0]?.attempts[0]?.reply;
    expect(reply).toMatchObject({ id: 'r', payload: { sizeBytes, id: `${tenant}/${key}` } });
    expect(JSON.stringify(events)).not.toContain(SHOWN.sha256);
  });
});

describe('replies and hops inside', () => {
  function answers(event: CloudEvent, reply: CloudEvent, egress: Egress): void {
    attempted(event, { egress, reply });
  }

  test('a reply is named where it began, and its question where it came to', async () => {
    const event = eventOf('1');
    enters(event);
    answers(event, eventOf('r', { type: 'receipt' }), TRIGGER);
    enters(eventOf('r', { type: 'receipt' }));
    ended(event, 'delivered');
    expect(await text('1')).toMatch(
      /replied with event r from .shop, type receipt, to\s+http:..knear.default.orders\n/,
    );
    expect(await ask('/events/r')).toMatchObject({
      events: [
        {
          visits: [
            {
              from: { kind: 'reply', egress: { name: 'audit' }, event: { id: '1', type: 'order' } },
            },
          ],
        },
      ],
    });
  });

  test('a reply without an address is dropped, and that is said', async () => {
    const egress = subscription({ id: 'charge' });
    serve(egress);
    const event = eventOf('1');
    enters(event, STEPS);
    answers(event, eventOf('r'), egress);
    expect(await text('1')).toMatch(
      /replied with event r .*dropped, as there is no\s+reply address/,
    );
  });

  test('an event is followed from one Channel to the next, without a request', async () => {
    const next = trigger({ id: 'to-steps', subscriber: inside('steps') });
    serve(next, subscription({ id: 'charge' }));
    const event = eventOf('1');
    enters(event);
    enters(event, STEPS);
    ended(event, 'delivered', next);
    accepted(event);
    const told = await text('1');
    expect(told).toContain('handed to http://knear/default/steps without a request\n');
    expect(told).toMatch(/channel default\/steps\n.* came in from trigger shop\/to-steps\n/);
  });
});

describe('why a filter did not want it', () => {
  test('is told of the resources as they were, for a few changes', async () => {
    await reopen(99);
    enters(eventOf('1'));
    const change = (id: string) => {
      serve(TRIGGER);
      enters(eventOf(id));
    };
    ['2', '3', '4'].forEach(change);
    expect(await text('1')).toContain('exact: type is "order", wanted "invoice"');
    change('5');
    const told = await text('1');
    expect(told).not.toContain('shop/other');
    expect(told).toContain('who else did not want it is not remembered');
  });

  test('U3 is not worked out before somebody asks', async () => {
    let reads = 0;
    const filter = new Proxy(ofType('invoice'), {
      get: (target, name) => ((reads += 1), Reflect.get(target, name) as unknown),
    });
    serve(TRIGGER, { ...OTHER, filter });
    const match = explain.match(() => ({ egressIds: [TRIGGER.id], isEarly: true }));
    match(ORDERS.id, eventOf('1'));
    attempted(eventOf('1'));
    expect(reads).toBe(0);
    expect(await text('1')).toContain('wanted "invoice"');
    expect(reads).toBeGreaterThan(0);
  });

  test('is told of some where there are many', async () => {
    serve(...Array.from({ length: 150 }, (_, index) => ({ ...OTHER, id: `t${index}` })));
    enters(eventOf('1'));
    expect(await text('1')).toContain('and 130 more that did not want it');
    const { events } = await ask('/events/1');
    expect(events[0]?.visits[0]?.egresses).toHaveLength(100);
  });
});

describe('what is remembered', () => {
  test('U1 what went well goes first, what failed stays, what was lost stays longest', async () => {
    const [lost, failing] = [eventOf('lost'), eventOf('failing')];
    for (const event of [lost, failing]) {
      enters(event);
      attempted(event, REJECTED);
    }
    ended(lost, 'parked');
    // Taken out of parking, in vain: it is no less lost.
    attempted(lost, REJECTED);
    for (let index = 1; index <= 50; index += 1) passes(`well-${index}`);
    expect(await Promise.all(['well-47', 'well-48', 'well-50'].map(isRemembered))).toEqual([
      ...[false, true, true],
    ]);
    expect(await Promise.all(['lost', 'failing'].map(isRemembered))).toEqual([true, true]);

    for (let index = 1; index <= 3; index += 1) attempted(eventOf(`bad-${index}`), REJECTED);
    expect(await Promise.all(['lost', 'failing'].map(isRemembered))).toEqual([true, false]);

    for (let index = 1; index <= 3; index += 1) ended(eventOf(`gone-${index}`), 'dropped');
    expect(await Promise.all(['lost', 'gone-1'].map(isRemembered))).toEqual([false, true]);
  });

  test('an event that was parked long after it was forgotten is told with its end', async () => {
    const attributes = { knativearrivaltime: '2025-12-31T23:00:00.000Z' };
    ended(eventOf('1', { attributes }), 'parked');
    const told = await text('1');
    expect(told).toContain('accepted  2025-12-31T23:00:00.000Z, 60 min ago');
    expect(told).toContain('came in before what is remembered');
    expect(told).toContain('trigger shop/audit: PARKED\n');
    attempted(eventOf('well'));
    expect(await isRemembered('well')).toBe(false);
  });

  test('U2 a story ends with its last attempt, however many there were', async () => {
    const event = eventOf('1');
    enters(event);
    for (let attempt = 1; attempt <= 1_000; attempt += 1) {
      attempted(event, { ...REJECTED, attempt });
    }
    ended(event, 'parked');
    const told = await text('1');
    expect(told).toContain('PARKED after 1000 attempts\n');
    expect(told).toContain('attempt 1: ');
    expect(told).toContain('attempt 1000: ');
    expect(told).toContain('902 more attempts, too many to remember');
    expect(told.split('\n').length).toBeLessThan(120);
  });

  test('U2 of very many Triggers some are told, and before all those that lost it', async () => {
    const many = Array.from({ length: 400 }, (_, index) => ({ ...TRIGGER, id: `t${index}` }));
    const event = eventOf('1');
    enters(event);
    for (const egress of many.slice(0, 200)) ended(event, 'delivered', egress);
    for (const egress of many.slice(200)) ended(event, 'parked', egress);
    const { events } = await ask('/events/1');
    const ends = events[0]?.visits.flatMap(({ egresses }) => egresses.map(({ end }) => end?.kind));
    const count = (kind: string) => ends?.filter((each) => each === kind).length;
    expect({ delivered: count('delivered'), parked: count('parked') }).toEqual({
      delivered: 99,
      parked: 100,
    });
    expect(events[0]?.omitted).toBe(201);
  });

  test('one id from two sources is two events', async () => {
    enters(eventOf('1'));
    enters(eventOf('1', { attributes: { source: '/bank' }, type: 'invoice' }));
    expect((await ask('/events/1')).events.map(({ source }) => source)).toEqual(['/bank', '/shop']);
    expect(await text('1')).toContain('\n\nevent     1\n');
    expect(await text('1', '/bank')).not.toContain('/shop');
    const source = encodeURIComponent('/shop');
    expect((await ask(`/events/1?source=${source}`)).events).toHaveLength(1);
  });

  test('one id from very many sources: the newest few', async () => {
    await reopen(1_000);
    for (let index = 1; index <= 100; index += 1) {
      enters(eventOf('1', { attributes: { source: `/${index}` } }));
    }
    const { events } = await ask('/events/1');
    expect(events).toHaveLength(16);
    expect(events[0]?.source).toBe('/100');
  });

  test('one event twice: each time has its own attempts', async () => {
    passes('1');
    passes('1');
    const { events } = await ask('/events/1');
    expect(
      events[0]?.visits.map(({ egresses, answeredAfterMs }) => [
        answeredAfterMs,
        egresses.map(({ name, attempts }) => [name, attempts.length]),
      ]),
    ).toEqual([
      [
        0,
        [
          ['audit', 1],
          ['other', 0],
        ],
      ],
      [
        0,
        [
          ['audit', 1],
          ['other', 0],
        ],
      ],
    ]);
  });

  test('one event again and again: the last time is among what is told', async () => {
    for (let index = 1; index <= 1_000; index += 1) {
      clock.advance(1_000);
      passes('1');
    }
    const { events } = await ask('/events/1');
    const { ageMs = 0, visits = [] } = events[0] ?? {};
    expect(visits.length).toBeLessThanOrEqual(100);
    expect(ageMs).toBe(visits.at(-1)?.afterMs);
  });

  test('a reply that bears the id of its question: the two visits have their own Triggers', async () => {
    enters(eventOf('1'));
    attempted(eventOf('1'));
    ended(eventOf('1'), 'delivered');
    enters(eventOf('1', { type: 'invoice' }));
    attempted(eventOf('1', { type: 'invoice' }), { egress: OTHER });
    const { events } = await ask('/events/1');
    expect(
      events[0]?.visits.map(({ egresses }) =>
        egresses.map(({ name, isWanted, attempts }) => [name, isWanted, attempts.length]),
      ),
    ).toEqual([
      [
        ['audit', true, 1],
        ['other', false, 0],
      ],
      [
        ['other', true, 1],
        ['audit', false, 0],
      ],
    ]);
  });
});

describe('asking', () => {
  test.each([
    { name: 'signs of a URL', id: 'a/b c?d=é&%' },
    { name: 'dots', id: '..' },
    { name: 'a space', id: ' ' },
    { name: 'much text', id: 'x'.repeat(5_000) },
  ])('finds any id: $name', async ({ id }) => {
    enters(eventOf(id));
    expect(await text(id)).toContain('broker default/orders');
  });

  test('lines fit 100 columns, whatever is in them', async () => {
    const long = 'x'.repeat(333);
    const event = eventOf(long, { type: long, attributes: { source: long, subject: long } });
    serve({ ...TRIGGER, filter: { kind: 'everything' } }, { ...OTHER, name: 'other' });
    enters(event);
    attempted(event, { ...REJECTED, dest: `http://${long}/${long}` });
    ended(event, 'parked');
    const lines = (await text(long)).split('\n');
    expect(lines.filter((line) => line.length > 100)).toEqual([]);
    expect(lines.join('').replaceAll(' ', '')).toContain(`http://${long}/${long}`);
  });

  test('what an event holds cannot garble the terminal', async () => {
    enters(eventOf('1', { attributes: { subject: 'a\u001b[2Jb\nc\u009b1m' } }));
    expect(await text('1')).toContain('subject   a\\u001b[2Jb\\u000ac\\u009b1m\n');
  });

  test('for what is not remembered is an error with the number and the setting', async () => {
    passes('1');
    await expect(text('2', '/bank')).rejects.toMatchObject({
      code: 'KNEAR_RESOURCE_UNKNOWN',
      message: expect.stringMatching(
        /^there is no event 2 from .bank among the 1 that are remembered: the last 3 .*explainEvents/,
      ),
    });
  });

  test('where nothing is remembered says so, and nothing is listened to', async () => {
    await reopen(0);
    const match = compileMatch(topology);
    expect(explain.match(match)).toBe(match);
    passes('1');
    ended(eventOf('1'), 'parked');
    await expect(text('1')).rejects.toMatchObject({
      code: 'KNEAR_RESOURCE_UNKNOWN',
      message: expect.stringContaining('--explain-events'),
    });
  });
});
