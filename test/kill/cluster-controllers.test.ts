/** Two controllers of one cluster: one leads, the other waits, and takes over whatever becomes of the first. */
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { eventually, pause } from '../e2e/eventually.ts';
import { broker, trigger, yamlOf } from '../e2e/manifests.ts';
import { send } from '../e2e/producer.ts';
import type { Program } from '../e2e/program.ts';
import { openStage } from '../e2e/stage.ts';
import type { Subscriber } from '../e2e/subscriber.ts';
import { openNats, type Nats } from '../servers/nats.ts';
import { missingAt } from './cluster-load.ts';
import { allReady, faultsOf, freeze, partsOf, says, thaw, type Parts } from './cluster-parts.ts';

/** The lease of a controller that is gone ends within 10 s; who waits asks every 3 s, and has to start. */
const TAKEOVER_MAX_MS = 15_000;
/** One that lets go is followed at the next question. */
const HANDOVER_MAX_MS = 5_000;
/** Of a busy machine. */
const SLACK_MS = 5_000;
const WAITS = 'waiting until no other controller leads';

let nats: Nats;
beforeAll(async () => {
  nats = await openNats();
});
afterAll(() => nats.close());

const stage = openStage({
  engine: { name: 'JetStream', removesPayloads: false, flags: () => [], quotaFlags: () => [] },
});
afterEach(() => stage.close());

interface Scene {
  readonly subscriber: Subscriber;
  readonly parts: Parts;
  readonly ingress: Program;
  readonly dispatcher: Program;
  /** It leads. */
  readonly first: Program;
  /** It waits. */
  readonly second: Program;
}

async function open(flags: readonly string[] = []): Promise<Scene> {
  const subscriber = await stage.subscriber();
  const yaml = yamlOf(broker('main'), trigger('one', { subscriber: `${subscriber.url}/one` }));
  const parts = partsOf(stage, nats, yaml);
  const first = await parts.started('controller', flags);
  const second = parts.add('controller', flags);
  second.spawn();
  const [ingress, dispatcher] = await Promise.all([
    parts.started('ingress'),
    parts.started('dispatcher'),
  ]);
  await allReady(first, 2);
  await says(second, WAITS);
  return { subscriber, parts, ingress, dispatcher, first, second };
}

/** Resolves with how long it took, ms. */
async function leads(controller: Program): Promise<number> {
  const sinceMs = performance.now();
  await controller.ready();
  return performance.now() - sinceMs;
}

/** A new Trigger, and how events come to it. */
async function changeIsSeen(scene: Scene, name: string, leader: Program): Promise<void> {
  const { ingress, subscriber } = scene;
  await eventually(
    `${name} is Ready`,
    async () =>
      (await leader.statuses()).some(
        ({ resourceId, isReady }) => resourceId.endsWith(`/${name}`) && isReady,
      ),
    { otherwise: () => leader.output.slice(-2_000) },
  );
  const id = `for-${name}`;
  expect((await send(`${ingress.url}/default/main`, { id, type: 'a' })).status).toBe(202);
  await eventually('it came', () => subscriber.at(`/${name}`).some((each) => each.id === id));
}

function writeTrigger({ first, subscriber }: Scene, name: string): void {
  first.write(`${name}.yaml`, yamlOf(trigger(name, { subscriber: `${subscriber.url}/${name}` })));
}

test('Z5 the next controller leads when the first is killed or stops, with what has changed meanwhile', async () => {
  const scene = await open();
  const { first, second } = scene;
  await first.crash();
  writeTrigger(scene, 'two');
  const takeoverMs = await leads(second);
  await changeIsSeen(scene, 'two', second);

  first.spawn();
  await eventually('it waits', () => first.output.split(WAITS).length > 1);
  writeTrigger(scene, 'three');
  expect(await second.stop()).toEqual({ code: 0, signal: null });
  const handoverMs = await leads(first);
  await changeIsSeen(scene, 'three', first);
  console.log(
    `a controller follows a killed one after ${takeoverMs.toFixed(0)} ms, one that stops after ${handoverMs.toFixed(0)} ms`,
  );
  expect(takeoverMs).toBeLessThan(TAKEOVER_MAX_MS + SLACK_MS);
  expect(handoverMs).toBeLessThan(HANDOVER_MAX_MS + SLACK_MS);
  for (const each of Object.values([first, second, scene.ingress, scene.dispatcher])) {
    expect(faultsOf(each)).toEqual([]);
  }
}, 90_000);

test('Z5 a controller that stood still while another one took over publishes nothing more, and ends', async () => {
  const scene = await open();
  const { first, second, ingress } = scene;
  await freeze(first);
  writeTrigger(scene, 'two');
  await leads(second);
  await changeIsSeen(scene, 'two', second);
  const revision = await ingress.metric('knear_topology_revision');
  thaw(first);
  expect(await first.ended()).toEqual({ code: 1, signal: null });
  expect(first.errors).toMatch(/^KNEAR_LEASE_GONE: /m);
  // What it would have published by then has been heard of everywhere.
  await pause(1_000);
  expect(await ingress.metric('knear_topology_revision')).toBe(revision);
  writeTrigger(scene, 'three');
  await changeIsSeen(scene, 'three', second);
}, 90_000);

test('Z5 a controller that stood still removes nothing of what has come back meanwhile', async () => {
  const scene = await open(['--gone-after', 'PT3S']);
  const { first, second, ingress, dispatcher, subscriber } = scene;
  writeTrigger(scene, 'two');
  await changeIsSeen(scene, 'two', first);
  await dispatcher.stop();
  const ids = Array.from({ length: 20 }, (_, index) => `waits-${String(index)}`);
  for (const id of ids) {
    expect((await send(`${ingress.url}/default/main`, { id, type: 'a' })).status).toBe(202);
  }
  first.remove('two.yaml');
  await eventually('it is gone', async () => (await first.statuses()).length === 2);
  await freeze(first);
  writeTrigger(scene, 'two');
  await leads(second);
  thaw(first);
  expect(await first.ended()).toEqual({ code: 1, signal: null });
  await dispatcher.start();
  const missing = () => missingAt(subscriber, ids, ['/two']);
  await eventually('all came', () => missing().length === 0, { otherwise: missing });
}, 90_000);
