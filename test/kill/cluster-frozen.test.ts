/**
 * A dispatcher that stands still, or that the server does not reach, while another one goes on: what it held goes to the other after
 * its lease, and what it still does afterwards breaks nothing.
 */
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { eventually, pause } from '../e2e/eventually.ts';
import {
  broker,
  brokerRef,
  channel,
  channelRef,
  subscription,
  trigger,
  yamlOf,
} from '../e2e/manifests.ts';
import { binary } from '../e2e/producer.ts';
import { openProxy } from '../e2e/proxy.ts';
import { openStage } from '../e2e/stage.ts';
import type { Subscriber } from '../e2e/subscriber.ts';
import { openNats, type Nats } from '../servers/nats.ts';
import {
  duplicatesAt,
  longestGapAt,
  missingAt,
  slowestAt,
  startLoad,
  type Load,
} from './cluster-load.ts';
import { allReady, faultsOf, freeze, LEASE_MS, partsOf, thaw } from './cluster-parts.ts';

/** Of a busy machine, beside what is waited for. */
const SLACK_MS = 5_000;
const FROZEN_MS = LEASE_MS + 3_000;
/** An event may be given to somebody who stands still until his pull ends, and then waits for a lease. */
const SLOWEST_MAX_MS = 2 * LEASE_MS + SLACK_MS;
/** Who has not heard himself for 7 s does not hop. */
const UNCONFIRMED_MS = 8_500;
const PARTED_MS = 11_000;

let nats: Nats;
beforeAll(async () => {
  nats = await openNats();
});
afterAll(() => nats.close());

const stage = openStage({
  engine: { name: 'JetStream', removesPayloads: false, flags: () => [], quotaFlags: () => [] },
});
const loads: Load[] = [];
afterEach(async () => {
  for (const load of loads.splice(0)) await load.stop();
  await stage.close();
});

test('D4 D8 N20 a dispatcher that stands still for longer than a lease loses nothing and fails nothing twice', async () => {
  const subscriber = await stage.subscriber();
  subscriber.on('/good', () => ({ afterMs: 100 }));
  // It is in the middle of attempts when it freezes, and finds their failures when it goes on.
  subscriber.on('/bad', () => ({ status: 500, afterMs: 300 }));
  const delivery = {
    retry: 1,
    backoffPolicy: 'linear',
    backoffDelay: 'PT0.1S',
    deadLetterSink: { uri: `${subscriber.url}/dead` },
  };
  const parts = partsOf(
    stage,
    nats,
    yamlOf(
      broker('main'),
      trigger('good', { filter: { type: 'good' }, subscriber: `${subscriber.url}/good` }),
      trigger('bad', { filter: { type: 'bad' }, subscriber: `${subscriber.url}/bad`, delivery }),
    ),
  );
  const controller = await parts.started('controller');
  const [ingress, frozen, other] = await Promise.all([
    parts.started('ingress'),
    parts.started('dispatcher'),
    parts.started('dispatcher'),
  ]);
  await allReady(controller, 3);
  const common = { urls: () => [ingress.url], path: '/default/main' };
  const good = startLoad({ ...common, type: 'good', producers: 4, thinkMs: 100 });
  // What fails is not tried often at a time.
  const bad = startLoad({ ...common, type: 'bad', producers: 2, thinkMs: 500 });
  loads.push(good, bad);
  const attempts = (phase: string) => frozen.metric('knear_attempts_total', { phase });
  await eventually('it delivers', async () => (await attempts('deliver')) > 20);
  await eventually('it fails', async () => (await attempts('dead-letter')) > 0);
  await freeze(frozen);
  const frozenAtMs = performance.now();
  const before = subscriber.at('/good').length;
  await pause(FROZEN_MS);
  const meanwhile = subscriber.at('/good').length - before;
  thaw(frozen);
  const tried = await attempts('deliver');
  await eventually('it goes on', async () => (await attempts('deliver')) > tried + 5);
  await Promise.all([good.stop(), bad.stop()]);

  const missing = () => [
    ...missingAt(subscriber, good.acknowledged.keys(), ['/good']),
    ...missingAt(subscriber, bad.acknowledged.keys(), ['/dead']),
  ];
  await eventually('all there', () => missing().length === 0, {
    withinMs: SLOWEST_MAX_MS,
    otherwise: missing,
  });
  await controller.idle(SLOWEST_MAX_MS);
  const slowest = {
    good: slowestAt(subscriber, good.acknowledged, '/good'),
    dead: slowestAt(subscriber, bad.acknowledged, '/dead'),
  };
  const again = (path: string) => String(duplicatesAt(subscriber, path));
  console.log(
    [
      `frozen for ${String(FROZEN_MS)} ms: ${String(good.acknowledged.size)} and ${String(bad.acknowledged.size)} acknowledged`,
      `${String(meanwhile)} delivered meanwhile, longest gap ${longestGapAt(subscriber, '/good').toFixed(0)} ms`,
      `slowest ${slowest.good.ms.toFixed(0)} ms at /good, ${slowest.dead.ms.toFixed(0)} ms at /dead`,
      `${again('/good')} came again at /good, ${again('/dead')} at /dead`,
      `leases lost there: ${String(await frozen.metric('knear_leases_lost_total'))}`,
    ].join('\n'),
  );
  // The other one went on, and not only with what came before.
  expect(meanwhile).toBeGreaterThan(50);
  expect(slowest.good.ms).toBeLessThan(SLOWEST_MAX_MS);
  // One at least was given to the one that stood still. It found it when it went on, long after the other one had failed it.
  expect(slowest.dead.ms).toBeGreaterThan(LEASE_MS - 1_000);
  // One that was on its way to the sink may go there again.
  const failed = subscriber.at('/dead').filter(({ atMs }) => atMs > frozenAtMs);
  expect(failed.length).toBe(new Set(failed.map(({ id }) => id)).size);
  expect(slowest.dead.ms).toBeLessThan(SLOWEST_MAX_MS);
  for (const each of [controller, ingress, frozen, other]) expect(faultsOf(each)).toEqual([]);
}, 120_000);

test('C7 H3 a dispatcher that the server does not reach stops hopping, loses nothing and catches up', async () => {
  const subscriber = await stage.subscriber();
  const held = holdSteps(subscriber);
  const proxy = await openProxy(nats.port);
  try {
    const parts = partsOf(stage, nats, sequence(subscriber.url));
    const controller = await parts.started('controller');
    const url = `nats://127.0.0.1:${String(proxy.port)}`;
    const [ingress, parted, other] = await Promise.all([
      parts.started('ingress'),
      parts.started('dispatcher', ['--nats', url]),
      parts.started('dispatcher'),
    ]);
    await allReady(controller, 7);
    const load = startLoad({
      urls: () => [ingress.url],
      path: '/default/main',
      type: 'start',
      producers: 4,
      thinkMs: 100,
    });
    loads.push(load);
    const hops = (result: string) => parted.metric('knear_local_hops_total', { result });
    await eventually('hops', async () => (await hops('taken')) > 5);
    expect(await hops('unconfirmed')).toBe(0);

    held.hold();
    await eventually('some are held', () => held.count > 4);
    proxy.freeze();
    await pause(UNCONFIRMED_MS);
    const taken = await hops('taken');
    held.release();
    await eventually('no hop', async () => (await hops('unconfirmed')) > 0);
    expect(await hops('taken')).toBe(taken);
    await pause(PARTED_MS - UNCONFIRMED_MS);
    proxy.restore();
    await eventually('hops again', async () => (await hops('taken')) > taken + 5);

    // And once more with connections that break.
    proxy.cut();
    await pause(2_000);
    proxy.restore();
    const again = await hops('taken');
    await eventually('hops once more', async () => (await hops('taken')) > again + 5);
    await load.stop();
    const { acknowledged, refused } = load;
    const ids = [...acknowledged.keys()];
    const missing = () => missingAt(subscriber, ids, ['/result']);
    await eventually('all there', () => missing().length === 0, {
      withinMs: SLOWEST_MAX_MS,
      otherwise: missing,
    });
    await controller.idle(SLOWEST_MAX_MS);
    const slowest = slowestAt(subscriber, acknowledged, '/result');
    console.log(
      [
        `parted for ${String(PARTED_MS)} ms: ${String(ids.length)} acknowledged, ${String(refused)} not`,
        `slowest ${slowest.ms.toFixed(0)} ms, ${String(duplicatesAt(subscriber, '/result'))} results came again`,
        `${String(await hops('unconfirmed'))} hops refused while it was parted`,
      ].join('\n'),
    );
    expect(slowest.ms).toBeLessThan(SLOWEST_MAX_MS);
    for (const each of [controller, ingress, parted, other]) expect(faultsOf(each)).toEqual([]);
  } finally {
    await proxy.close();
  }
}, 120_000);

/** Step 1 answers at once, or not before it is let. */
function holdSteps(subscriber: Subscriber) {
  let isHolding = false;
  const waiting: (() => void)[] = [];
  for (const step of [1, 2]) {
    subscriber.on(`/step-${String(step)}`, async ({ id }) => {
      if (step === 1 && isHolding) await new Promise<void>((resolve) => waiting.push(resolve));
      return { status: 200, headers: binary({ id, type: `after-${String(step)}` }) };
    });
  }
  return {
    get count() {
      return waiting.length;
    },
    hold() {
      isHolding = true;
    },
    release() {
      isHolding = false;
      for (const answer of waiting.splice(0)) answer();
    },
  };
}

function sequence(url: string): string {
  return yamlOf(
    broker('main'),
    trigger('in', { filter: { type: 'start' }, subscriber: channelRef('step-1') }),
    trigger('out', { filter: { type: 'after-2' }, subscriber: `${url}/result` }),
    ...[1, 2].flatMap((step) => [
      channel(`step-${String(step)}`),
      subscription(`step-${String(step)}`, {
        channel: `step-${String(step)}`,
        subscriber: `${url}/step-${String(step)}`,
        reply: step === 2 ? brokerRef('main') : channelRef('step-2'),
      }),
    ]),
  );
}
