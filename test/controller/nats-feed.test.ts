/** The Topology and who goes by it, in the bucket of a real server: each feed is a process with a connection of its own. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { jetstream } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { connect, type NatsConnection } from '@nats-io/transport-node';

import { reconcile } from '../../controller/reconcile.ts';
import { NatsFeed } from '../../controller/feed/nats-feed.ts';
import { entriesOf } from '../../controller/feed/topology-entries.ts';
import { CONFIRMED_MS, PRESENCE_MS, type Role } from '../../core/ports/topology-feed.ts';
import type { Topology } from '../../core/topology.ts';
import { eventually, pause } from '../e2e/eventually.ts';
import { broker, trigger, yamlOf } from '../e2e/manifests.ts';
import { SkippingClock } from '../fakes/skipping-clock.ts';
import { openNats, type Nats } from '../servers/nats.ts';
import { snapshotOf } from './manifests.ts';
import { DEFAULTS } from './services-scene.ts';

let nats: Nats;
beforeAll(async () => {
  nats = await openNats();
});
afterAll(() => nats.close());

let prefix = 'a';
beforeEach(() => {
  prefix = `t${String(Date.now() % 1_000_000)}${String(Math.floor(Math.random() * 1_000))}`;
});

interface Process {
  readonly feed: NatsFeed;
  readonly nc: NatsConnection;
  readonly clock: SkippingClock;
  /** What it was told, oldest first. */
  readonly told: Topology[];
  readonly troubles: (string | undefined)[];
  /** Its connection is gone, as after SIGKILL. */
  vanish(): Promise<void>;
}

const opened: Process[] = [];
afterEach(async () => {
  for (const { feed, nc } of opened.splice(0)) {
    await feed.close();
    await nc.close();
  }
});

async function open(role?: Role): Promise<Process> {
  const nc = await connect({ servers: nats.url });
  const clock = new SkippingClock();
  const troubles: (string | undefined)[] = [];
  const feed = new NatsFeed({
    js: jetstream(nc),
    prefix,
    clock,
    mayMake: role === 'controller' || role === undefined,
    ...(role && { self: { role, version: '1.2.3', vantages: [{ zone: 'a' }] } }),
    onTrouble: (error) => troubles.push(error?.code),
  });
  const told: Topology[] = [];
  const process = { feed, nc, clock, told, troubles, vanish: () => nc.close() };
  opened.push(process);
  void follow(process);
  return process;
}

async function follow({ feed, told }: Pick<Process, 'feed' | 'told'>): Promise<void> {
  const never = new AbortController().signal;
  for await (const topology of feed.watch({ signal: never })) told.push(topology);
}

async function bucket() {
  const nc = await connect({ servers: nats.url });
  const kv = await new Kvm(jetstream(nc)).open(`${prefix}_topology`);
  return { kv, close: () => nc.close() };
}

/** With so many Triggers. */
async function topologyWith(count: number, brokers = ['orders']): Promise<Topology> {
  const text = yamlOf(
    ...brokers.map((name) => broker(name)),
    ...Array.from({ length: count }, (_, index) =>
      trigger(`t-${String(index)}`, { broker: 'orders', subscriber: 'http://somewhere.example' }),
    ),
  );
  return reconcile(await snapshotOf(text), { revision: 1, defaults: DEFAULTS }).topology;
}

let small: Topology;
let large: Topology;
beforeAll(async () => {
  small = await topologyWith(1);
  large = await topologyWith(300);
});

function contentOf({ ingresses, egresses, services, correlationKeys }: Topology) {
  return { ingresses, egresses, services, correlationKeys };
}

test('Z1 Z2 what is published is read whole by who is there and by who comes later, and grows', async () => {
  const controller = await open();
  const early = await open('ingress');
  const first = await controller.feed.publish(large);
  await eventually('the first', () => early.told.length === 1);
  expect(contentOf(early.told[0] as Topology)).toEqual(contentOf(large));
  expect(early.told[0]?.revision).toBe(first);

  const second = await controller.feed.publish(small);
  expect(second).toBeGreaterThan(first);
  expect(await controller.feed.publish(small)).toBe(second);
  const late = await open('dispatcher');
  for (const { told } of [early, late]) {
    const newest = await eventually('the second', () =>
      told.find((each) => each.revision === second),
    );
    expect(contentOf(newest)).toEqual(contentOf(small));
  }
  expect(late.told).toHaveLength(1);
});

test('an entry that stays is the same object: what is derived of it stays as well', async () => {
  const controller = await open();
  const reader = await open('ingress');
  await controller.feed.publish(small);
  await eventually('the first', () => reader.told.length === 1);
  await controller.feed.publish(await topologyWith(1, ['orders', 'more']));
  await eventually('both', () => reader.told.length === 2);
  const [before, after] = reader.told;
  for (const [id, egress] of before?.egresses ?? []) expect(after?.egresses.get(id)).toBe(egress);
});

test('Z1 a part of a Topology is nobody’s, until its head comes', async () => {
  const controller = await open();
  const reader = await open('ingress');
  const revision = await controller.feed.publish(small);
  await eventually('the first', () => reader.told.length === 1);
  const { kv, close } = await bucket();
  // As a controller leaves it that is killed in mid-publication.
  await kv.put('e.torn', '{}');
  const [[key = ''] = []] = entriesOf(small);
  await kv.put(key, '{}');
  const late = await open('dispatcher');
  await pause(300);
  expect(reader.told).toHaveLength(1);
  expect(late.told).toEqual([]);
  await close();

  const again = await controller.feed.publish(small);
  expect(again).toBeGreaterThan(revision);
  await eventually('it, for who came late', () => late.told.length === 1);
  expect(contentOf(late.told[0] as Topology)).toEqual(contentOf(small));
});

test('of two who publish at once, one is told that it was not alone', async () => {
  const [one, other] = [await open(), await open()];
  await one.feed.publish(small);
  const results = await Promise.allSettled([one.feed.publish(large), other.feed.publish(small)]);
  const refused = results.filter(({ status }) => status === 'rejected');
  for (const each of refused) expect(each).toMatchObject({ reason: { code: 'KNEAR_FEED_FAILED' } });
  // Whoever publishes last, alone, has it whole.
  await other.feed.publish(small);
  const reader = await open('ingress');
  await eventually('it', () => reader.told.length > 0);
  expect(contentOf(reader.told.at(-1) as Topology)).toEqual(contentOf(small));
});

test('Z3 confirmed is who goes by what was published before his word, and for seven seconds', async () => {
  const controller = await open();
  const first = await controller.feed.publish(small);
  const { feed, told, clock } = await open('dispatcher');
  await eventually('it', () => told.length === 1);
  await pause(100);
  // It has it, and does not go by it.
  expect(feed.isConfirmed).toBe(false);
  feed.applied(first);
  await eventually('its word', () => feed.isConfirmed);

  await nats.pause();
  try {
    clock.skip(CONFIRMED_MS + 1);
    expect(feed.isConfirmed).toBe(false);
  } finally {
    nats.resume();
  }
  clock.skip(3_001);
  await eventually('its word again', () => feed.isConfirmed);

  await controller.feed.publish(large);
  await eventually('the next', () => told.length === 2);
  clock.skip(CONFIRMED_MS + 1);
  await pause(200);
  expect(feed.isConfirmed).toBe(false);
});

test('Z4 a bucket that somebody deletes takes nothing away, and is made anew', async () => {
  const controller = await open('controller');
  const reader = await open('ingress');
  for (let count = 0; count < 3; count += 1) {
    await controller.feed.publish(count % 2 === 0 ? small : large);
  }
  await eventually('the last', () => reader.told.at(-1)?.egresses.size === 1);
  const before = reader.told.length;
  const { kv, close } = await bucket();
  await kv.destroy();
  await close();
  reader.clock.skip(3_001);
  await pause(300);
  expect(reader.told).toHaveLength(before);
  const revision = await controller.feed.publish(large);
  reader.clock.skip(3_001);
  const again = await eventually('it, of the new bucket', () =>
    reader.told.find((each) => each.revision === revision && each.egresses.size === 300),
  );
  reader.feed.applied(again.revision);
  await eventually('its word', () => reader.feed.isConfirmed);
}, 60_000);

test('who is there is known, with what he goes by; who leaves is gone, and who dies is after ten seconds', async () => {
  const controller = await open('controller');
  const [one, other] = [await open('ingress'), await open('dispatcher')];
  const revision = await controller.feed.publish(small);
  await eventually('it', () => one.told.length === 1);
  one.feed.applied(revision);
  const known = () =>
    controller.feed
      .instances()
      .map(({ role, revision: by, version }) => `${role} ${String(by)} ${version}`)
      .sort();
  await eventually(
    'all',
    () => known().length === 3 && known().includes(`ingress ${String(revision)} 1.2.3`),
    { otherwise: known },
  );
  expect(known()).toEqual([
    'controller 0 1.2.3',
    'dispatcher 0 1.2.3',
    `ingress ${String(revision)} 1.2.3`,
  ]);
  expect(controller.feed.instances()[0]?.vantages).toEqual([{ zone: 'a' }]);

  await one.feed.close();
  await eventually('that one has left', () => known().length === 2);
  await other.vanish();
  controller.clock.skip(PRESENCE_MS + 1);
  await eventually('that the other is gone', () => !known().join().includes('dispatcher'));
});

test('KNEAR_FEED_FORMAT: what a newer version has published leaves in force what is', async () => {
  const controller = await open();
  await controller.feed.publish(small);
  const reader = await open('ingress');
  await eventually('it', () => reader.told.length === 1);
  const { kv, close } = await bucket();
  await kv.put('e.new', '{"v":2,"kind":"egress","value":{}}');
  await kv.put('h', '3');
  await eventually('the trouble', () => reader.troubles.includes('KNEAR_FEED_FORMAT'), {
    otherwise: () => reader.troubles,
  });
  await close();
  expect(reader.told).toHaveLength(1);
  await controller.feed.publish(small);
  await eventually('the next', () => reader.told.length === 2);
  expect(reader.troubles).toEqual(['KNEAR_FEED_FORMAT', undefined]);
});
