/** What `knear explain` says of local hops and endpoints: how an event came, where an attempt went, and why. Told by hand. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CloudEvent } from '../../core/event.ts';
import type { Happening, RouteTaken } from '../../core/ports/observer.ts';
import { HOP_REFUSALS, type HopRefusal } from '../../core/rules/hop.ts';
import { compileMatch } from '../../core/rules/match.ts';
import { ROUTE_REASONS, type RouteReason } from '../../core/rules/nearness.ts';
import type { Egress, Ingress, Topology } from '../../core/topology.ts';
import type { Admin } from '../../main/admin.ts';
import { openBareAdmin } from './bare-admin.ts';
import { explainEvent } from '../../main/client/explain-event.ts';
import { routeText, wayText } from '../../main/client/route-words.ts';
import { openExplain, type Explain } from '../../main/inside/explain.ts';
import type { ExplainedEvents, ExplainedVisit } from '../../main/inside/explained.ts';
import {
  broker,
  channel,
  eventOf,
  inside,
  subscription,
  topologyOf,
  trigger,
} from '../dispatcher/resources.ts';
import { FakeClock } from '../fakes/clock.ts';

const [FIRST, SECOND] = [channel('steps-1'), channel('steps-2')];
const ORDERS = broker('orders');
const ONE = subscription({ id: 'one', ingressId: FIRST.id, reply: inside(SECOND.id) });
const TWO = subscription({ id: 'two', ingressId: SECOND.id, reply: inside(ORDERS.id) });
const OTHER = subscription({ id: 'other', ingressId: SECOND.id });
const LAST = trigger({ id: 'last' });

let clock: FakeClock;
let topology: Topology;
let explain: Explain;
let admin: Admin;

beforeEach(async () => {
  clock = new FakeClock();
  serve(ONE, TWO, LAST);
  explain = openExplain({ eventsMax: 100, topology: () => topology, clock });
  admin = await openBareAdmin(explain.routes);
});

afterEach(() => admin.close());

function serve(...egresses: readonly Egress[]): void {
  const revision = (topology as Topology | undefined)?.revision ?? 0;
  topology = topologyOf(revision + 1, { ingresses: [FIRST, SECOND, ORDERS], egresses });
}

function tell(happening: Happening): void {
  explain.observer.observe(happening);
}

/** The log asks who wants it. */
function enters(event: CloudEvent, ingress: Ingress): void {
  explain.match((ingressId, each) => compileMatch(topology)(ingressId, each))(ingress.id, event);
}

function attempted(
  egress: Egress,
  event: CloudEvent,
  more: Partial<Extract<Happening, { kind: 'attempted' }>> = {},
): void {
  const of = { phase: 'deliver', attempt: 1, dest: 'http://subscriber/in', status: 200 } as const;
  tell({ kind: 'attempted', egress, event, ...of, hops: 0, durationMs: 5, ...more });
}

function hops(from: Egress, to: Egress, event: CloudEvent): void {
  const ingress = [FIRST, SECOND, ORDERS].find(({ id }) => id === to.ingressId) ?? ORDERS;
  tell({ kind: 'hop', egress: from, ingress, event, result: 'taken', to: to.id });
}

/** It does not hop, so the log gets it and asks who wants it. */
function refused(event: CloudEvent, ingress: Ingress, result: HopRefusal): void {
  tell({ kind: 'hop', egress: ONE, ingress, event, result });
  enters(event, ingress);
}

function ended(egress: Egress, event: CloudEvent): void {
  tell({ kind: 'ended', egress, event, end: 'delivered', ageMs: 1 });
}

async function visitsOf(id: string): Promise<readonly ExplainedVisit[]> {
  // What the admin server of this very program sends.
  const { events } = (await (await fetch(`${admin.url}/events/${id}`)).json()) as ExplainedEvents;
  return events[0]?.visits ?? [];
}

/** Lines, unwrapped, without their indent and the times before them. */
async function linesOf(id: string): Promise<string[]> {
  const text = await explainEvent({ id, output: 'text', adminUrl: admin.url });
  return text
    .replace(/\n {17}(?=\S)/g, ' ')
    .split('\n')
    .map((line) => line.replace(/^ *(\+[\d.]+ m?s)? +/, ''));
}

describe('a chain of local hops', () => {
  const [first, answer, last] = [eventOf('1'), eventOf('r1'), eventOf('r2')];

  beforeEach(() => {
    enters(first, FIRST);
    clock.advance(5);
    attempted(ONE, first, { reply: answer });
    hops(ONE, TWO, answer);
    clock.advance(5);
    attempted(TWO, answer, { reply: last, hops: 1 });
    hops(TWO, LAST, last);
    clock.advance(5);
  });

  test('is told from answer to answer, on both sides', async () => {
    attempted(LAST, last, { hops: 2 });
    ended(ONE, first);
    ended(TWO, answer);
    ended(LAST, last);
    expect(await linesOf('1')).toEqual(
      expect.arrayContaining([
        'subscription shop/one: delivered',
        'attempt 1: http://subscriber/in: answered 200, took 5 ms',
        'replied with event r1 from /shop, type order, to http://knear/default/steps-2',
        'without the log, to subscription shop/two',
      ]),
    );
    const lines = await linesOf('r1');
    const start = lines.indexOf('channel default/steps-2');
    expect(lines.slice(start, start + 10)).toEqual([
      'channel default/steps-2',
      'came in as the reply of subscription shop/one to event 1 from /shop',
      'without the log, to subscription shop/two',
      '',
      'subscription shop/two: delivered',
      'attempt 1, over 1 local hop: http://subscriber/in: answered 200, took 5 ms',
      'replied with event r2 from /shop, type order, to http://knear/default/orders',
      'without the log, to trigger shop/last',
      'delivered',
      '',
    ]);
    expect(await linesOf('r2')).toContain(
      'attempt 1, over 2 local hops: http://subscriber/in: answered 200, took 5 ms',
    );
  });

  test('is told to programs', async () => {
    const [one] = await visitsOf('1');
    const to = { kind: 'subscription', namespace: 'shop', name: 'two' };
    const at = { kind: 'channel', namespace: 'default', name: 'steps-2' };
    expect(one).not.toHaveProperty('way');
    expect(one?.egresses[0]?.attempts[0]).toMatchObject({
      hops: 0,
      reply: { id: 'r1', ingress: at, way: { kind: 'local-hop', to } },
    });
    const [two] = await visitsOf('r1');
    expect(two).toMatchObject({ ingress: at, way: { kind: 'local-hop', to } });
    expect(two?.egresses[0]?.attempts[0]?.hops).toBe(1);
  });

  test('has no step that has ended before all have, and it says so', async () => {
    expect(await linesOf('1')).toContain(
      'subscription shop/one: done; ends with what goes on without the log',
    );
    expect((await visitsOf('r1'))[0]?.egresses[0]?.state).toBe('handed-on');
    expect((await visitsOf('r2'))[0]?.egresses[0]?.state).toBe('open');
  });

  test('names where it went also after the resources have changed', async () => {
    for (let change = 1; change <= 9; change += 1) {
      serve(LAST);
      enters(eventOf(`later-${change}`), ORDERS);
    }
    expect((await visitsOf('r1'))[0]?.way).toMatchObject({ to: { name: 'two' } });
    // Nothing has happened to it there.
    expect((await visitsOf('r2'))[0]?.way).toEqual({ kind: 'local-hop' });
    expect(await linesOf('r2')).toContain('without the log');
  });
});

test('an event that is handed on without a request says so, and has not ended before what follows', async () => {
  const hand = trigger({ id: 'hand', subscriber: inside(FIRST.id) });
  serve(hand, ONE);
  enters(eventOf('1'), ORDERS);
  hops(hand, ONE, eventOf('1'));
  const headline = 'trigger shop/hand: done; ends with what goes on without the log';
  expect(await linesOf('1')).toEqual(
    expect.arrayContaining([headline, 'without the log, to subscription shop/one']),
  );
});

describe('an event that did not hop', () => {
  /** What each line has to name, so that its reader knows what to look at; '': there is no line. */
  const WORDS: Readonly<Record<HopRefusal, RegExp | ''>> = {
    off: '',
    unmatched: '',
    'fan-out': /^through the log: 2 Subscriptions want it$/,
    ordered: /^through the log: .*knear\.dev\/order/,
    paused: /^through the log: its Subscription is paused$/,
    elsewhere: /^through the log: the subscriber of its Subscription is nearer to another place$/,
    unconfirmed: /^through the log: the resources known here/,
    behind: /^through the log: older events wait there for the same Subscription$/,
    depth: /^through the log: .*hop 17 in a row$/,
    bounds: /^through the log: .*no room for another open delivery$/,
    redo: /^through the log: a crash would repeat more than knear\.dev\/redo-max$/,
    busy: /^through the log: the slots of its Subscription are taken/,
    'dead-letter': /^through the log: a dead letter is kept/,
    lease: /^through the log: .*lease/,
    stopping: /^through the log: knear stops$/,
  };

  test.each(HOP_REFUSALS)('because of %s says why, on both sides', async (refusal) => {
    serve(ONE, TWO, OTHER);
    enters(eventOf('1'), FIRST);
    attempted(ONE, eventOf('1'), { reply: eventOf('r') });
    refused(eventOf('r'), SECOND, refusal);
    const way = { kind: 'log', refusal, wantedCount: 2 };
    expect((await visitsOf('r'))[0]?.way).toEqual(way);
    expect((await visitsOf('1'))[0]?.egresses[0]?.attempts[0]?.reply?.way).toEqual(way);
    for (const id of ['1', 'r']) {
      const told = (await linesOf(id)).filter((line) => /^(with|through).* the log/.test(line));
      const words = WORDS[refusal];
      expect(told).toEqual(words === '' ? [] : [expect.stringMatching(words)]);
    }
  });

  test('to a Broker names Triggers', () => {
    const way = { kind: 'log', refusal: 'fan-out', wantedCount: 2 } as const;
    const at = { kind: 'broker', namespace: 'default', name: 'orders' };
    expect(wayText(way, at)).toBe('through the log: 2 Triggers want it');
  });

  test('is not taken for another one: the reason belongs to the event that the log is asked about', async () => {
    const [kept, stranger, again] = [eventOf('kept'), eventOf('stranger'), eventOf('again')];
    tell({ kind: 'hop', egress: ONE, ingress: SECOND, event: kept, result: 'busy' });
    enters(stranger, FIRST);
    enters(kept, SECOND);
    refused(again, SECOND, 'busy');
    enters(again, SECOND);
    expect((await visitsOf('stranger'))[0]).not.toHaveProperty('way');
    expect((await visitsOf('kept'))[0]).not.toHaveProperty('way');
    expect((await visitsOf('again')).map(({ way }) => way?.kind)).toEqual(['log', undefined]);
  });
});

describe('where an attempt went', () => {
  const endpoint = '10.0.0.7:8080';

  test.each<{ name: string; route: RouteTaken; line: string }>([
    {
      name: 'the pod next to us',
      route: { reason: 'nearest', nearness: 'pod', endpoint },
      line: 'at 10.0.0.7:8080 in the same pod: the nearest',
    },
    {
      name: 'another pod of the node, as the nearest one has more to do',
      route: { reason: 'overflow', nearness: 'node', endpoint },
      line: 'at 10.0.0.7:8080 on the same node: nearer ones would have taken longer',
    },
    {
      name: 'the zone',
      route: { reason: 'ejected', nearness: 'zone', endpoint: '[fd00::7]:8080' },
      line: 'at [fd00::7]:8080 in the same zone: nearer ones have failed and are left alone for now',
    },
    {
      name: 'anywhere, as nobody knows where that is',
      route: { reason: 'nearest', nearness: 'any', endpoint },
      line: 'at 10.0.0.7:8080: none is known to be nearer',
    },
    {
      name: 'the Service itself',
      route: { reason: 'session-affinity' },
      line: "at the Service's own address: its sessionAffinity is ClientIP",
    },
  ])('is told: $name', async ({ route, line }) => {
    enters(eventOf('1'), ORDERS);
    attempted(LAST, eventOf('1'), { route });
    const lines = await linesOf('1');
    const attempt = lines.findIndex((each) => each.startsWith('attempt 1: '));
    expect(lines[attempt + 1]).toBe(line);
    expect((await visitsOf('1'))[0]?.egresses[0]?.attempts[0]?.route).toEqual(route);
  });

  test('is not told where the subscriber is an address, but to programs', async () => {
    enters(eventOf('1'), ORDERS);
    attempted(LAST, eventOf('1'), { route: { reason: 'url' } });
    expect((await linesOf('1')).filter((line) => line.startsWith('at '))).toEqual([]);
    expect((await visitsOf('1'))[0]?.egresses[0]?.attempts[0]?.route).toEqual({ reason: 'url' });
  });

  test.each(ROUTE_REASONS)('has words for %s, and no two reasons the same', (reason) => {
    const textOf = (each: RouteReason) => routeText({ reason: each, nearness: 'pod', endpoint });
    const others = ROUTE_REASONS.filter((each) => each !== reason).map(textOf);
    expect(others).not.toContain(textOf(reason) ?? 'nothing');
  });
});
