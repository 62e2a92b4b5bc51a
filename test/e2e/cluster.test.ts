/** Roles as processes of their own, which know a NATS server and nothing else of each other. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { openNats, type Nats } from '../servers/nats.ts';
import { openCluster } from './cluster.ts';
import { eventually } from './eventually.ts';
import {
  broker,
  brokerRef,
  channel,
  channelRef,
  subscription,
  trigger,
  yamlOf,
} from './manifests.ts';
import { binary, post, send } from './producer.ts';
import { openStage } from './stage.ts';

let nats: Nats;
beforeAll(async () => {
  nats = await openNats();
});
afterAll(() => nats.close());

const stage = openStage();
afterEach(() => stage.close());

describe('a cluster', () => {
  test('takes events at one process and delivers them at another, small and large', async () => {
    const subscriber = await stage.subscriber();
    const cluster = await openCluster(
      stage,
      nats,
      yamlOf(broker('main'), trigger('all', { subscriber: subscriber.url })),
    );
    await cluster.add('dispatcher');
    const ingress = await cluster.add('ingress');
    await cluster.ready();
    for (const id of ['1', '2', '3']) {
      const { status } = await send(`${ingress.url}/default/main`, { id, type: 'order' });
      expect(status).toBe(202);
    }
    const large = Buffer.alloc(3_000_000, 'x');
    expect(
      (
        await post(`${ingress.url}/default/main`, {
          headers: binary({ id: 'large', type: 'order' }),
          body: large,
        })
      ).status,
    ).toBe(202);
    await eventually('all', () => subscriber.received.length === 4);
    const ids = subscriber.received.map(({ id }) => id).sort();
    expect(ids).toEqual(['1', '2', '3', 'large']);
    expect(subscriber.received.find(({ id }) => id === 'large')?.body.equals(large)).toBe(true);
  }, 60_000);

  test('is not Ready before somebody takes events and somebody delivers them', async () => {
    const cluster = await openCluster(
      stage,
      nats,
      yamlOf(broker('main'), trigger('all', { subscriber: 'http://127.0.0.1:1' })),
    );
    const reasons = async () =>
      (await cluster.controller.statuses()).map(
        ({ isReady, reason }) => `${String(isReady)} ${reason}`,
      );
    await eventually(
      'no ingress',
      async () => (await reasons()).every((each) => each === 'false NoIngress'),
      { otherwise: reasons },
    );
    await cluster.add('ingress');
    await eventually('no dispatcher', async () =>
      (await reasons()).every((each) => each === 'false NoDispatcher'),
    );
    const dispatcher = await cluster.add('dispatcher');
    await cluster.ready();
    await dispatcher.stop();
    await eventually('none again', async () =>
      (await reasons()).every((each) => each === 'false NoDispatcher'),
    );
  }, 60_000);

  test('is Ready with a new Trigger when everybody has it: no event is missed then', async () => {
    const subscriber = await stage.subscriber();
    const first = yamlOf(broker('main'), trigger('one', { subscriber: `${subscriber.url}/one` }));
    const cluster = await openCluster(stage, nats, first);
    const ingresses = [await cluster.add('ingress'), await cluster.add('ingress')];
    await cluster.add('dispatcher');
    await cluster.ready();
    cluster.controller.write(
      'two.yaml',
      yamlOf(trigger('two', { subscriber: `${subscriber.url}/two` })),
    );
    await eventually('the new one is Ready', async () =>
      (await cluster.controller.statuses()).some(
        ({ resourceId, isReady }) => resourceId.endsWith('/two') && isReady,
      ),
    );
    for (const [index, { url }] of ingresses.entries()) {
      await send(`${url}/default/main`, { id: String(index), type: 'order' });
    }
    await eventually(
      'both, at both',
      () => subscriber.at('/one').length === 2 && subscriber.at('/two').length === 2,
    );

    cluster.controller.remove('two.yaml');
    await eventually('one less', async () => (await cluster.controller.statuses()).length === 2);
  }, 60_000);

  test('runs a Sequence whose steps two dispatchers share, with hops', async () => {
    const subscriber = await stage.subscriber();
    for (const step of ['1', '2', '3']) {
      subscriber.on(`/step-${step}`, ({ id, body }) => ({
        status: 200,
        headers: binary({ id, type: `after-${step}` }),
        body: `${body.toString()}${step}`,
      }));
    }
    const steps = ['1', '2', '3'].flatMap((step) => [
      channel(`step-${step}`),
      subscription(`step-${step}`, {
        channel: `step-${step}`,
        subscriber: `${subscriber.url}/step-${step}`,
        reply: step === '3' ? brokerRef('main') : channelRef(`step-${String(Number(step) + 1)}`),
      }),
    ]);
    const cluster = await openCluster(
      stage,
      nats,
      yamlOf(
        broker('main'),
        trigger('in', { filter: { type: 'start' }, subscriber: channelRef('step-1') }),
        trigger('out', { filter: { type: 'after-3' }, subscriber: `${subscriber.url}/result` }),
        ...steps,
      ),
    );
    const dispatchers = [await cluster.add('dispatcher'), await cluster.add('dispatcher')];
    const ingress = await cluster.add('ingress');
    await cluster.ready();
    const ids = Array.from({ length: 40 }, (_, index) => String(index));
    await Promise.all(
      ids.map((id) =>
        post(`${ingress.url}/default/main`, { headers: binary({ id, type: 'start' }), body: '' }),
      ),
    );
    await eventually(
      'all results',
      () => new Set(subscriber.at('/result').map(({ id }) => id)).size === 40,
    );
    for (const { body } of subscriber.at('/result')) expect(body.toString()).toBe('123');
    const hops = await Promise.all(
      dispatchers.map((each) => each.metric('knear_local_hops_total', { result: 'taken' })),
    );
    expect(Math.max(...hops)).toBeGreaterThan(0);
    const { stdout } = await cluster.controller.command('top', '--once');
    for (const role of ['controller', 'ingress', 'dispatcher']) expect(stdout).toContain(role);
    expect(stdout.match(/^dispatcher /gm)).toHaveLength(2);
    expect(stdout).toContain('subscription:step-1.default');
    for (const program of [cluster.controller, ingress, ...dispatchers])
      expect(program.complaints).toEqual([]);
  }, 60_000);
});
