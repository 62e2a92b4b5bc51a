/** Several places over one log: who delivers what, when one is busy, slow or hangs. */
import { describe, expect, test } from '@jest/globals';
import type { Vantage } from '../../core/rules/nearness.ts';
import type { Endpoint, Target } from '../../core/topology.ts';
import { accepted, unreachable } from '../fakes/scripted-deliverer.ts';
import { channel, eventOf, idOf, subscription } from './resources.ts';
import { Stage, type StageOptions } from './stage.ts';

const PLACES: readonly Vantage[] = [
  { node: 'node-1', zone: 'zone-a' },
  { node: 'node-2', zone: 'zone-a' },
  { node: 'node-3', zone: 'zone-b' },
];

const SERVICE = {
  kind: 'service',
  url: 'http://work.shop.svc.cluster.local/',
  service: 'shop/work',
  port: 80,
} as const satisfies Target;

const at = (node: number, zone: string): Endpoint => ({
  address: `10.0.0.${node}`,
  ports: { 80: 80 },
  isReady: true,
  node: `node-${node}`,
  zone,
});
const url = (node: number) => `http://10.0.0.${node}:80/`;

const stageOf = (endpoints: readonly Endpoint[], options: StageOptions = {}): Stage =>
  new Stage({
    ingresses: [channel('steps')],
    egresses: [subscription({ subscriber: SERVICE })],
    services: { 'shop/work': { endpoints } },
    vantages: PLACES,
    ...options,
  });

const produce = (stage: Stage, count: number) =>
  stage.produce('steps', ...Array.from({ length: count }, (_, index) => eventOf(`e${index}`)));

const counts = (stage: Stage) => [1, 2, 3].map((node) => stage.deliverer.callsTo(url(node)).length);

const routes = (stage: Stage) =>
  new Set(
    stage.happenings.flatMap((each) =>
      each.kind === 'attempted' ? [`${each.route?.nearness} ${each.route?.reason}`] : [],
    ),
  );

describe('G1 who pulls', () => {
  test('is the nearest: what is served on one node is delivered there alone', async () => {
    const stage = stageOf([at(2, 'zone-a')]);
    for (let turn = 0; turn < 20; turn += 1) await produce(stage, 1);
    expect(counts(stage)).toEqual([0, 20, 0]);
    expect(routes(stage)).toEqual(new Set(['node nearest']));
  });

  test('is anybody who has one on the node: each delivers to its own', async () => {
    const stage = stageOf([at(1, 'zone-a'), at(2, 'zone-a'), at(3, 'zone-b')]);
    for (const node of [1, 2, 3]) stage.deliverer.script(url(node), 'hang');
    await produce(stage, 12);
    expect(counts(stage)).toEqual([4, 4, 4]);
    expect(routes(stage)).toEqual(new Set());
    while (stage.deliverer.hangingAt() > 0) stage.deliverer.answer(accepted);
    await stage.pass(100);
    expect(routes(stage)).toEqual(new Set(['node nearest']));
  });

  test('is one of the zone where nobody is nearer', async () => {
    const stage = stageOf([{ ...at(9, 'zone-b') }]);
    for (let turn = 0; turn < 5; turn += 1) await produce(stage, 1);
    expect(stage.deliverer.callsTo(url(9))).toHaveLength(5);
    expect(routes(stage)).toEqual(new Set(['zone nearest']));
  });

  test('is all of them for a plain address', async () => {
    const stage = new Stage({
      ingresses: [channel('steps')],
      egresses: [subscription()],
      vantages: PLACES,
    });
    stage.deliverer.script('http://subscriber/in', 'hang');
    await produce(stage, 12);
    expect(stage.deliverer.hangingAt()).toBe(12);
  });

  test('is a farther one, too, once the near one has more than it can do', async () => {
    // Served on node 1 (near to place 1) and by a pod of the other zone.
    const stage = stageOf([at(1, 'zone-a'), at(9, 'zone-b')]);
    stage.deliverer.script(url(1), 'hang');
    stage.deliverer.script(url(9), 'hang');
    await produce(stage, 40);
    // Place 1 is at its four; the others leave it alone until waiting costs more than the way.
    await stage.pass(5_000);
    expect(stage.deliverer.callsTo(url(9)).length).toBeGreaterThan(0);
    for (let turn = 0; turn < 200 && stage.deliverer.hangingAt() > 0; turn += 1) {
      stage.deliverer.answer(accepted);
      await stage.pass(30);
    }
    expect(new Set(stage.deliverer.calls.map(({ event }) => idOf(event))).size).toBe(40);
    expect(stage.log.lag('egress').ready).toBe(0);
    expect([stage.dispatcher.open, stage.bugs]).toEqual([0, []]);
  });

  test('is a farther one while the near one hangs', async () => {
    const stage = stageOf([at(1, 'zone-a'), at(9, 'zone-b')]);
    stage.deliverer.script(url(1), 'hang');
    await produce(stage, 20);
    await stage.pass(10_000);
    // Four of each place to which it is the nearest hang; nothing else waits for it.
    expect(stage.deliverer.hangingAt(url(1))).toBe(8);
    expect(stage.log.lag('egress').ready).toBe(8);
  });

  test('is a farther one when the near place is paused with its pod', async () => {
    const stage = stageOf([at(1, 'zone-a')]);
    await produce(stage, 1);
    stage.apply({ services: { 'shop/work': { endpoints: [at(3, 'zone-b')] } } });
    await produce(stage, 3);
    await stage.pass(100);
    expect(counts(stage)).toEqual([1, 0, 3]);
  });
});

test('what keeps an order is pulled in one place, so that it is kept', async () => {
  const stage = new Stage({
    ingresses: [channel('steps')],
    egresses: [subscription({ order: 'key' })],
    vantages: PLACES,
  });
  stage.deliverer.script('http://subscriber/in', 'hang');
  const keyed = (id: string) => eventOf(id, { attributes: { partitionkey: 'k' } });
  await stage.produce('steps', keyed('e1'), keyed('e2'), keyed('e3'));
  for (let turn = 0; turn < 3; turn += 1) {
    expect(stage.deliverer.hangingAt()).toBe(1);
    stage.deliverer.answer(accepted);
    await stage.pass(50);
  }
  expect(stage.deliverer.calls.map(({ event }) => idOf(event))).toEqual(['e1', 'e2', 'e3']);
});

describe('a picture that is out of date', () => {
  test('costs no retry: an endpoint that is gone is passed over, and left alone', async () => {
    const stage = stageOf([at(1, 'zone-a'), at(2, 'zone-a')]);
    stage.deliverer.script(url(1), unreachable('KNEAR_UNREACHABLE'));
    for (let turn = 0; turn < 8; turn += 1) await produce(stage, 1);
    await stage.pass(100);
    expect(stage.trail().filter((each) => each.startsWith('end'))).toEqual(
      Array(8).fill('end delivered'),
    );
    expect(stage.trail().some((each) => each.includes('KNEAR_UNREACHABLE'))).toBe(false);
    expect(counts(stage)[0]).toBeLessThan(8);
  });

  test('D7 falls back to the address of the Service, where that leads anywhere', async () => {
    const endpoints = [1, 2, 3, 4].map((node) => at(node, 'zone-a'));
    const stage = stageOf(endpoints, { isCluster: true, vantages: [{}] });
    for (const node of [1, 2, 3, 4])
      stage.deliverer.script(url(node), unreachable('KNEAR_UNREACHABLE'));
    await produce(stage, 1);
    expect(stage.deliverer.calls.map((call) => call.url)).toHaveLength(4);
    expect(stage.deliverer.calls.at(-1)).toMatchObject({ url: SERVICE.url });
    expect(stage.trail().at(-1)).toBe('end delivered');
    expect(routes(stage)).toEqual(new Set(['undefined service']));
  });

  test('D7 fails the attempt where a Service has no address, after three endpoints', async () => {
    const endpoints = [1, 2, 3, 4].map((node) => at(node, 'zone-a'));
    const stage = stageOf(endpoints, { vantages: [{}] });
    for (const node of [1, 2, 3, 4])
      stage.deliverer.script(url(node), unreachable('KNEAR_UNREACHABLE'));
    await produce(stage, 1);
    expect(stage.deliverer.calls).toHaveLength(3);
  });
});

test('the bounds of the process are shared out', async () => {
  const stage = stageOf([at(1, 'zone-a'), at(2, 'zone-a'), at(3, 'zone-b')], {
    open: { countMax: 6, bytesMax: 6_000_000 },
  });
  for (const node of [1, 2, 3]) stage.deliverer.script(url(node), 'hang');
  await produce(stage, 30);
  expect(stage.dispatcher.open).toBe(6);
  while (stage.deliverer.hangingAt() > 0) {
    stage.deliverer.answer(accepted);
    await stage.pass(30);
  }
  expect([stage.dispatcher.open, stage.dispatcher.openBytes]).toEqual([0, 0]);
  expect(stage.deliverer.calls).toHaveLength(30);
});
