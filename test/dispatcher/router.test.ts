/** Which address an attempt goes to, and why. */
import { describe, expect, test } from '@jest/globals';
import type { Nearness, Vantage } from '../../core/rules/nearness.ts';
import {
  DECLINED,
  type Egress,
  type Endpoint,
  type ServiceEndpoints,
  type Target,
} from '../../core/topology.ts';
import { Loads } from '../../dispatcher/placement/loads.ts';
import { isHere, type Neighbour } from '../../dispatcher/placement/neighbours.ts';
import { Router, type RouteRequest } from '../../dispatcher/placement/router.ts';
import { accepted, rejected, unreachable } from '../fakes/scripted-deliverer.ts';
import { SteppedClock } from '../fakes/stepped-clock.ts';
import { topologyOf, trigger } from './resources.ts';

const SERVICE = {
  kind: 'service',
  url: 'http://orders.shop.svc.cluster.local:80/in?as=event',
  service: 'shop/orders',
  port: 80,
} as const satisfies Target;

const HERE: Vantage = { pod: 'uid-1', node: 'node-1', zone: 'zone-1' };

const endpoint = (address: string, more: Partial<Endpoint> = {}): Endpoint => ({
  address,
  ports: { 80: 8080 },
  isReady: true,
  ...more,
});

const OWN = endpoint('10.0.0.1', { pod: 'uid-1', node: 'node-1', zone: 'zone-1' });
const NODE = endpoint('10.0.0.2', { pod: 'uid-2', node: 'node-1', zone: 'zone-1' });
const ZONE = endpoint('10.0.0.3', { pod: 'uid-3', node: 'node-2', zone: 'zone-1' });
const FAR = endpoint('10.0.0.4', { pod: 'uid-4', node: 'node-3', zone: 'zone-2' });

function scene(service: ServiceEndpoints | undefined, vantage: Vantage = HERE, isCluster = false) {
  const clock = new SteppedClock();
  const loads = new Loads(clock, 256);
  const router = new Router({ vantage, loads, usesLoopback: isCluster });
  const topology = topologyOf(1, (service && { services: { 'shop/orders': service } }) || {});
  const routeTo = (
    target: typeof SERVICE | Extract<Target, { kind: 'url' }>,
    more: Partial<RouteRequest> = {},
  ) =>
    router.route(target, topology, {
      placement: 'nearest',
      bytes: 1_000,
      turn: 0,
      tried: new Set(),
      failed: new Set(),
      ...more,
    });
  const route = (more: Partial<RouteRequest> = {}) => routeTo(SERVICE, more);
  /** So many requests are in flight, and one takes so long. */
  const busy = ({ address }: Endpoint, inFlight: number, serviceMs: number) => {
    const key = `${address}:8080`;
    loads.begin(key);
    loads.end(key, accepted, serviceMs);
    for (let count = 0; count < inFlight; count += 1) loads.begin(key);
  };
  const nearnessTo = (more: Partial<Egress>) =>
    router.nearnessTo(trigger({ subscriber: SERVICE, ...more }), topology);
  return { clock, loads, route, routeTo, busy, nearnessTo };
}

const of = (...endpoints: Endpoint[]): ServiceEndpoints => ({ endpoints });
const key = ({ address }: Endpoint) => `${address}:8080`;

test('a plain address is called as given', () => {
  const url = 'https://user@example.com:8443/a%20b?x=1';
  const { routeTo } = scene(of(OWN));
  expect(routeTo({ kind: 'url', url })).toEqual({ url, reason: 'url', others: 0 });
});

describe('the request', () => {
  test('goes to an endpoint, at the port behind its own, with its path and in its name', () => {
    expect(scene(of(OWN), {}).route()).toEqual({
      url: 'http://10.0.0.1:8080/in?as=event',
      host: 'orders.shop.svc.cluster.local',
      endpoint: '10.0.0.1:8080',
      nearness: 'any',
      reason: 'nearest',
      others: 0,
    });
  });

  test.each([
    { name: 'a port that is not the default', url: 'http://orders:8088/', host: 'orders:8088' },
    { name: 'no path', url: 'http://orders', host: 'orders' },
  ])('to a Service with $name keeps its name as it stands in the URL', ({ url, host }) => {
    const { routeTo } = scene(of(OWN));
    const target = { ...SERVICE, url } as unknown as typeof SERVICE;
    expect(routeTo(target)).toMatchObject({ url: 'http://10.0.0.1:8080/', host });
  });

  test('goes to an IPv6 endpoint in brackets', () => {
    expect(scene(of(endpoint('fd00::1'))).route()).toMatchObject({
      url: 'http://[fd00::1]:8080/in?as=event',
      endpoint: '[fd00::1]:8080',
    });
  });

  test('goes by https where the URL says so', () => {
    const target = { ...SERVICE, url: 'https://orders:443/' } as unknown as typeof SERVICE;
    expect(scene(of(OWN)).routeTo(target).url).toBe('https://10.0.0.1:8080/');
  });

  test.each([
    [OWN, 'http://127.0.0.1:8080/in?as=event'],
    [{ ...OWN, address: 'fd00::1' }, 'http://[::1]:8080/in?as=event'],
  ])('goes to the loopback address in the own pod of a cluster', (own, url) => {
    expect(scene(of(own), HERE, true).route()).toMatchObject({ url, nearness: 'pod' });
    expect(scene(of(own), { ...HERE, pod: 'another' }, true).route().url).not.toBe(url);
  });
});

describe('V2 the address as given', () => {
  test.each([
    ['nothing is known of it', undefined],
    ['it has no endpoint', of()],
    ['no endpoint has the port', of({ ...OWN, ports: { 9090: 9090 } })],
  ])('where %s', (_, service) => {
    expect(scene(service).route()).toEqual({ url: SERVICE.url, reason: 'no-endpoint', others: 0 });
  });

  test.each(DECLINED)('where placement declines: %s', (declined) => {
    const { route } = scene({ endpoints: [OWN], declined });
    expect(route()).toEqual({ url: SERVICE.url, reason: declined, others: 0 });
  });

  test('where it is asked for', () => {
    expect(scene(of(OWN)).route({ placement: 'service' })).toMatchObject({
      url: SERVICE.url,
      reason: 'asked',
    });
  });

  test('where all endpoints were tried in vain', () => {
    expect(scene(of(OWN)).route({ tried: new Set([key(OWN)]) })).toMatchObject({
      url: SERVICE.url,
      reason: 'service',
    });
  });
});

describe('V3 the nearest endpoint', () => {
  test.each([
    [[FAR, ZONE, NODE, OWN], OWN, 'pod'],
    [[FAR, ZONE, NODE], NODE, 'node'],
    [[FAR, ZONE], ZONE, 'zone'],
    [[FAR], FAR, 'any'],
  ] as const)('is chosen while it has room', (endpoints, nearest, nearness) => {
    for (let turn = 0; turn < 4; turn += 1) {
      expect(scene(of(...endpoints)).route({ turn })).toMatchObject({
        endpoint: key(nearest),
        nearness,
        reason: 'nearest',
        others: endpoints.length - 1,
      });
    }
  });

  test('is another one for whoever is elsewhere, and any in turn for who is nowhere', () => {
    const endpoints = of(OWN, ZONE, FAR);
    expect(scene(endpoints, { zone: 'zone-2' }).route()).toMatchObject({
      nearness: 'zone',
      endpoint: key(FAR),
    });
    const { route } = scene(endpoints, {});
    const turns = [0, 1, 2, 3].map((turn) => route({ turn }).endpoint);
    expect(turns).toEqual([key(OWN), key(ZONE), key(FAR), key(OWN)]);
  });

  test('without a name is near to nobody, even to those without a name', () => {
    const nameless = endpoint('10.0.0.9', { node: '', zone: '' });
    expect(scene(of(nameless), { node: '', zone: '' }).route().nearness).toBe('any');
  });

  test('is left when waiting there costs more than going farther', () => {
    const { route, busy } = scene(of(OWN, ZONE));
    busy(OWN, 3, 20);
    expect(route().reason).toBe('nearest');
    busy(OWN, 5, 20);
    expect(route()).toMatchObject({ endpoint: key(ZONE), reason: 'overflow', nearness: 'zone' });
  });

  test('is kept when going farther costs more than it saves: large data', () => {
    const { route, busy } = scene(of(OWN, ZONE));
    busy(OWN, 8, 20);
    busy(ZONE, 0, 20);
    expect(route({ bytes: 1_000 }).reason).toBe('overflow');
    expect(route({ bytes: 64_000_000 }).reason).toBe('nearest');
  });

  test('is kept when the next tier is as busy', () => {
    const { route, busy } = scene(of(OWN, ZONE));
    busy(OWN, 8, 20);
    busy(ZONE, 8, 20);
    expect(route()).toMatchObject({ endpoint: key(OWN), reason: 'nearest' });
  });

  test('gives way tier by tier', () => {
    const { route, busy } = scene(of(OWN, NODE, FAR));
    busy(OWN, 12, 20);
    busy(NODE, 8, 20);
    expect(route()).toMatchObject({ endpoint: key(FAR), nearness: 'any' });
  });

  test('a slow place with few requests is not taken for an idle one', () => {
    const { route, busy } = scene(of(OWN, ZONE));
    busy(OWN, 6, 10);
    busy(ZONE, 4, 2_000);
    expect(route().endpoint).toBe(key(OWN));
  });

  test('of equals is the one with less to do', () => {
    const twin = { ...OWN, address: '10.0.0.8' };
    const { route, busy } = scene(of(OWN, twin));
    busy(OWN, 2, 20);
    busy(twin, 1, 20);
    for (const turn of [0, 1, 2]) expect(route({ turn }).endpoint).toBe(key(twin));
  });
});

describe('spread', () => {
  test('goes to any in turn, however near', () => {
    const { route } = scene(of(OWN, FAR));
    const turns = [0, 1, 2, 3].map((turn) => route({ turn, placement: 'spread' }));
    expect(turns.map(({ endpoint: at }) => at)).toEqual([key(OWN), key(FAR), key(OWN), key(FAR)]);
    expect(turns[0]?.reason).toBe('spread');
  });
});

describe('V4 what is in trouble', () => {
  test('is not tried twice in an attempt', () => {
    const { route } = scene(of(OWN, NODE, FAR));
    expect(route({ tried: new Set([key(OWN)]) })).toMatchObject({
      endpoint: key(NODE),
      reason: 'another',
      others: 1,
    });
  });

  test('is not asked again for the event that it has failed, unless it is the only one', () => {
    const failed = new Set([key(OWN)]);
    expect(scene(of(OWN, FAR)).route({ failed })).toMatchObject({
      endpoint: key(FAR),
      reason: 'another',
    });
    expect(scene(of(OWN)).route({ failed })).toMatchObject({
      endpoint: key(OWN),
      reason: 'nearest',
    });
  });

  test('V1 is left alone after five failures in a row, for longer each time, until it succeeds', () => {
    const { route, loads, clock } = scene(of(OWN, FAR));
    const fail = (count: number) => {
      for (let index = 0; index < count; index += 1) {
        loads.begin(key(OWN));
        loads.end(key(OWN), rejected(500), 1);
      }
    };
    fail(4);
    expect(route().reason).toBe('nearest');
    fail(1);
    expect(route()).toMatchObject({ endpoint: key(FAR), reason: 'ejected' });
    clock.freeze(1_100);
    expect(route().reason).toBe('nearest');
    fail(5);
    clock.freeze(1_100);
    expect(route().reason).toBe('ejected');
    clock.freeze(1_000);
    expect(route().reason).toBe('nearest');
    fail(4);
    loads.begin(key(OWN));
    loads.end(key(OWN), accepted, 1);
    fail(4);
    expect(route().reason).toBe('nearest');
  });

  test('V1 is left alone at once when it cannot be reached', () => {
    const { route, loads } = scene(of(OWN, FAR));
    loads.begin(key(OWN));
    loads.end(key(OWN), unreachable('KNEAR_UNREACHABLE'), 1);
    expect(route().reason).toBe('ejected');
  });

  test('V1 an answer that is about the event is none about the endpoint', () => {
    const { route, loads } = scene(of(OWN, FAR));
    for (let index = 0; index < 20; index += 1) {
      loads.begin(key(OWN));
      loads.end(key(OWN), rejected(400), 1);
    }
    expect(route().reason).toBe('nearest');
  });

  test('the last one is never left alone', () => {
    const { route, loads } = scene(of(OWN));
    loads.begin(key(OWN));
    loads.end(key(OWN), unreachable('KNEAR_UNREACHABLE'), 1);
    expect(route()).toMatchObject({ endpoint: key(OWN), reason: 'nearest' });
  });
});

test('V5 what is about to end is called only where nothing is ready', () => {
  const ending = { ...OWN, isReady: false };
  expect(scene(of(ending, FAR)).route().endpoint).toBe(key(FAR));
  expect(scene(of(ending)).route().endpoint).toBe(key(ending));
});

describe('how near a subscriber is', () => {
  const nearnessTo = (service: ServiceEndpoints | undefined, more: Partial<Egress> = {}) =>
    scene(service).nearnessTo(more);

  test.each([
    ['of its nearest endpoint', of(FAR, NODE), 'node'],
    ['of the only one', of(FAR), 'any'],
    ['of none, where none is known', undefined, undefined],
    [
      'of none, where placement has declined',
      { endpoints: [FAR], declined: 'mesh' as const },
      undefined,
    ],
  ])('is that %s', (_, service, expected) => {
    expect(nearnessTo(service)).toBe(expected);
  });

  test('is that of none where placement is off, or for a plain address', () => {
    expect(nearnessTo(of(OWN), { placement: 'service' })).toBeUndefined();
    expect(nearnessTo(of(OWN), { subscriber: { kind: 'url', url: 'http://x/' } })).toBeUndefined();
  });
});

describe('a hop may go to a subscriber that is', () => {
  const other = (nearness: Nearness, isPaused = false): Neighbour => ({
    nearness,
    isPaused,
    load: { inFlight: 0, capacity: 4, serviceMs: 0 },
  });
  test.each<[string, Nearness | undefined, Neighbour[], boolean]>([
    ['called as given', undefined, [other('pod')], true],
    ['in the same pod', 'pod', [], true],
    ['on the same node, though in the pod of another', 'node', [other('pod')], true],
    ['in the same zone, and nearer to nobody', 'zone', [other('zone'), other('any')], true],
    ['nowhere near, and nearer to nobody', 'any', [], true],
    ['nearer to somebody who is paused', 'any', [other('node', true)], true],
    ['nearer to somebody else (not)', 'zone', [other('node')], false],
  ])('%s', (_, nearness, others, expected) => {
    expect(isHere(nearness, others)).toBe(expected);
  });
});

test('an endpoint that is gone is forgotten once nothing is in flight to it', () => {
  const { loads } = scene(of(OWN));
  loads.begin(key(OWN));
  loads.forgetBut(new Set());
  expect(loads.of(key(OWN)).inFlight).toBe(1);
  loads.end(key(OWN), accepted, 7);
  expect(loads.of(key(OWN)).serviceMs).toBe(7);
  loads.forgetBut(new Set());
  expect(loads.of(key(OWN)).serviceMs).toBe(0);
});
