/** Who pulls, where several dispatchers could: the nearest, and others when it does not get on. */
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { openNats, type Nats } from '../servers/nats.ts';
import { openCluster } from './cluster.ts';
import { eventually, pause } from './eventually.ts';
import { broker, endpointSlice, service, serviceRef, trigger, yamlOf } from './manifests.ts';
import { send } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';

let nats: Nats;
beforeAll(async () => {
  nats = await openNats();
});
afterAll(() => nats.close());

const stage = openStage();
afterEach(() => stage.close());

/** A twentieth of what one dispatcher does: the near one always has room. */
const EVENTS = 300;
const PER_SECOND = 60;
const WORK_MS = 5;

test('the nearest pulls while it has room; when it is gone, the other does; when it is back, it does again', async () => {
  const subscriber = await stage.subscriber();
  subscriber.on('/work', async () => {
    await pause(WORK_MS);
    return {};
  });
  const cluster = await openCluster(
    stage,
    nats,
    yamlOf(
      broker('main'),
      trigger('work', { subscriber: serviceRef('worker', '/work') }),
      service('worker'),
      endpointSlice('worker-1', {
        namespace: 'default',
        service: 'worker',
        port: subscriber.port,
        zone: 'a',
      }),
    ),
  );
  const near = await cluster.add('dispatcher', ['--zone', 'a']);
  const far = await cluster.add('dispatcher', ['--zone', 'b']);
  const ingress = await cluster.add('ingress');
  await cluster.ready();
  const run = async (name: string) => {
    for (let count = 0; count < EVENTS; count += 1) {
      void send(`${ingress.url}/default/main`, { id: `${name}-${String(count)}`, type: 'order' });
      await pause(1_000 / PER_SECOND);
    }
    await eventually('all of them', () => deliveredOf(subscriber.received, name) === EVENTS, {
      otherwise: () => deliveredOf(subscriber.received, name),
    });
  };

  await run('both');
  const byNear = await deliveredBy(near);
  const byFar = await deliveredBy(far);
  console.log(`both: ${String(byNear)} by the near dispatcher, ${String(byFar)} by the far one`);
  // A machine that stands still for a moment makes the way worth it. With priorities alone it would be a tenth without that.
  expect(byFar).toBeLessThan(EVENTS / 20);

  await near.stop();
  await run('far');
  expect((await deliveredBy(far)) - byFar).toBe(EVENTS);

  await near.start();
  await cluster.ready();
  const before = await deliveredBy(far);
  await run('again');
  expect((await deliveredBy(far)) - before).toBeLessThan(EVENTS / 20);
}, 90_000);

function deliveredOf(received: readonly { readonly id: string }[], name: string): number {
  return new Set(received.filter(({ id }) => id.startsWith(`${name}-`)).map(({ id }) => id)).size;
}

function deliveredBy(program: Program): Promise<number> {
  return program.metric('knear_ended_total', { end: 'delivered' });
}
