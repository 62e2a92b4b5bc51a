/** A cluster without some of its processes: what is there does what it can, and says what it waits for. */
import { spawnSync } from 'node:child_process';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually, pause } from '../e2e/eventually.ts';
import { broker, trigger, yamlOf } from '../e2e/manifests.ts';
import { send } from '../e2e/producer.ts';
import { ENTRY } from '../e2e/program.ts';
import { openProxy } from '../e2e/proxy.ts';
import { openStage } from '../e2e/stage.ts';
import type { Subscriber } from '../e2e/subscriber.ts';
import { openNats, type Nats } from '../servers/nats.ts';
import { missingAt } from './cluster-load.ts';
import { allReady, faultsOf, partsOf, says } from './cluster-parts.ts';

/** What another test's program takes to start, so that an end would be seen. */
const WHILE_MS = 3_000;

let nats: Nats;
beforeAll(async () => {
  nats = await openNats();
});
afterAll(() => nats.close());

const stage = openStage({
  engine: { name: 'JetStream', removesPayloads: false, flags: () => [], quotaFlags: () => [] },
});
afterEach(() => stage.close());

/** @returns the ids of what was answered 202, which all of them must be */
async function sendSome(url: string, name: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, index) => `${name}-${String(index)}`);
  for (const id of ids) {
    expect((await send(`${url}/default/main`, { id, type: 'a' })).status).toBe(202);
  }
  return ids;
}

async function allCame(subscriber: Subscriber, ids: readonly string[]): Promise<void> {
  const missing = () => missingAt(subscriber, ids, ['/all']);
  await eventually('all came', () => missing().length === 0, { otherwise: missing });
}

const oneTrigger = ({ url }: Subscriber) =>
  yamlOf(broker('main'), trigger('all', { subscriber: `${url}/all` }));

describe('a cluster', () => {
  test('takes events while no dispatcher is there, and delivers them when one comes', async () => {
    const subscriber = await stage.subscriber();
    const parts = partsOf(stage, nats, oneTrigger(subscriber));
    const controller = await parts.started('controller');
    const [ingress, dispatcher] = await Promise.all([
      parts.started('ingress'),
      parts.started('dispatcher'),
    ]);
    await allReady(controller, 2);
    const before = await sendSome(ingress.url, 'before', 20);
    await allCame(subscriber, before);
    await dispatcher.crash();
    const meanwhile = await sendSome(ingress.url, 'meanwhile', 200);
    await pause(WHILE_MS);
    expect(missingAt(subscriber, meanwhile, ['/all']).length).toBe(200);
    const [first, second] = await Promise.all([
      parts.started('dispatcher'),
      parts.started('dispatcher'),
    ]);
    await allCame(subscriber, meanwhile);
    for (const each of [controller, ingress, first, second]) expect(faultsOf(each)).toEqual([]);
  }, 60_000);

  test('goes on without a controller, and so do dispatchers and ingresses that start then', async () => {
    const subscriber = await stage.subscriber();
    const parts = partsOf(stage, nats, oneTrigger(subscriber));
    const controller = await parts.started('controller');
    const [ingress, dispatcher] = await Promise.all([
      parts.started('ingress'),
      parts.started('dispatcher'),
    ]);
    await allReady(controller, 2);
    await controller.crash();
    await allCame(subscriber, await sendSome(ingress.url, 'a', 20));
    await dispatcher.crash();
    await dispatcher.start();
    await allCame(subscriber, await sendSome(ingress.url, 'b', 20));
    await Promise.all([dispatcher.stop(), ingress.stop()]);
    await Promise.all([dispatcher.start(), ingress.start()]);
    await allCame(subscriber, await sendSome(ingress.url, 'c', 20));
    // Past the time for which one counts as there that was heard last.
    await pause(11_000);
    expect((await ingress.get('/readyz')).status).toBe(200);
    await allCame(subscriber, await sendSome(ingress.url, 'd', 20));
    await controller.start();
    await allReady(controller, 2);
    for (const each of [controller, ingress, dispatcher]) expect(faultsOf(each)).toEqual([]);
  }, 90_000);
});

describe('an ingress', () => {
  test('waits for a controller that has never been there', async () => {
    const subscriber = await stage.subscriber();
    const parts = partsOf(stage, nats, oneTrigger(subscriber));
    const ingress = parts.add('ingress');
    ingress.spawn();
    const dispatcher = parts.add('dispatcher');
    dispatcher.spawn();
    for (const each of [ingress, dispatcher]) {
      await says(each, 'waiting for the Topology from knear controller');
    }
    await pause(WHILE_MS);
    for (const each of [ingress, dispatcher]) expect(each.exit).toBeUndefined();
    const controller = await parts.started('controller');
    await Promise.all([ingress.ready(), dispatcher.ready()]);
    await allReady(controller, 2);
    await allCame(subscriber, await sendSome(ingress.url, 'a', 5));
    for (const each of [controller, ingress, dispatcher]) expect(faultsOf(each)).toEqual([]);
  }, 60_000);

  test('that waits for a controller ends when it is asked to', async () => {
    const parts = partsOf(stage, nats, yamlOf(broker('main')));
    const ingress = parts.add('ingress');
    ingress.spawn();
    await says(ingress, 'waiting for the Topology from knear controller');
    expect(await ingress.stop()).toEqual({ code: 0, signal: null });
  });
});

describe('a server that is not there', () => {
  test.each(['controller', 'ingress', 'dispatcher'] as const)(
    'is waited for by a %s',
    async (role) => {
      const proxy = await openProxy(nats.port);
      try {
        proxy.cut();
        const url = `nats://127.0.0.1:${String(proxy.port)}`;
        const parts = partsOf(stage, { url }, yamlOf(broker('main')));
        const program = parts.add(role);
        program.spawn();
        await says(program, '"code":"KNEAR_NATS_AWAY"');
        await pause(WHILE_MS);
        expect(program.exit).toBeUndefined();
        proxy.restore();
        if (role === 'controller') await program.ready();
        else await says(program, 'waiting for the Topology from knear controller');
        await program.stop();
      } finally {
        await proxy.close();
      }
    },
    60_000,
  );
});

describe('the command line', () => {
  test.each([
    [
      'a controller without resources',
      ['controller', '--nats', 'nats://127.0.0.1:1'],
      '--resources',
    ],
    ['a controller without a server', ['controller', '--resources', '.'], '--nats'],
    ['an ingress without a server', ['ingress'], '--nats'],
    ['a dispatcher without a server', ['dispatcher'], '--nats'],
  ])('of %s is refused, and says what is missing', (_name, args, flag) => {
    const { status, stderr, stdout } = spawnSync(process.execPath, [ENTRY, ...args], {
      encoding: 'utf8',
    });
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(new RegExp(`^KNEAR_SETTING_INVALID: ${flag} is needed: [^\\n]+\\n$`));
  });
});
