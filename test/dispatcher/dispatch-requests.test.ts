/** What one attempt sends, and where. */
import { describe, expect, test } from '@jest/globals';
import type { CloudEvent } from '../../core/event.ts';
import type { Egress, ServiceEndpoints, Target } from '../../core/topology.ts';
import type { Answer, Call } from '../fakes/scripted-deliverer.ts';
import { accepted, rejected, replied, unreachable } from '../fakes/scripted-deliverer.ts';
import {
  at,
  attributesOf,
  eventOf,
  ofType,
  OUTSIDE,
  retries,
  SINK,
  SUBSCRIBER,
  subscription,
  trigger,
} from './resources.ts';
import { Stage } from './stage.ts';

const SERVICE: Target = {
  kind: 'service',
  url: 'http://orders.shop.svc.cluster.local/in?as=event',
  service: 'shop/orders',
  port: 80,
};

async function callsOf(
  egress: Egress,
  options: {
    event?: CloudEvent;
    services?: Record<string, ServiceEndpoints>;
    script?: (stage: Stage) => void;
  } = {},
): Promise<Call[]> {
  const { event = eventOf('e1'), services = {}, script } = options;
  const stage = new Stage({ egresses: [egress], services });
  script?.(stage);
  await stage.produce(egress.ingressId, event);
  await stage.pass(1_000);
  return stage.deliverer.calls;
}

describe('the request to a subscriber', () => {
  test('carries the namespace of its Trigger, its time limit and its format, and asks for a reply', async () => {
    const egress = trigger({ namespace: 'billing', timeoutMs: 4_321, format: 'json' });
    expect(await callsOf(egress)).toEqual([
      expect.objectContaining({
        url: SUBSCRIBER,
        namespace: 'billing',
        timeoutMs: 4_321,
        format: 'json',
        wantsReply: true,
      }),
    ]);
  });

  test('asks for a reply even where none has anywhere to go', async () => {
    expect(await callsOf(subscription())).toEqual([expect.objectContaining({ wantsReply: true })]);
  });

  test('of a Trigger has the time of arrival, and not the hops that are left', async () => {
    const event = eventOf('e1', {
      attributes: { knativebrokerttl: 7, extension: 'x', count: 3, flag: true },
      headers: { 'x-request-id': 'r-1' },
      data: 'as it came',
    });
    const [call] = await callsOf(trigger(), { event });
    expect(attributesOf(call?.event ?? eventOf('none'))).toEqual({
      specversion: '1.0',
      id: 'e1',
      source: '/shop',
      type: 'order',
      extension: 'x',
      count: 3,
      flag: true,
      knativearrivaltime: '2026-01-01T00:00:00.000Z',
    });
    expect(call?.event.headers.get('x-request-id')).toBe('r-1');
    expect(call?.event.data).toBe(event.data);
  });

  test('is one and the same event for all Triggers, so that it is encoded once', async () => {
    const stage = new Stage({ egresses: [trigger({ id: 'a' }), trigger({ id: 'b' })] });
    await stage.produce('orders', eventOf('e1'));
    const [first, second] = stage.deliverer.calls;
    expect(first?.event).toBe(second?.event);
  });

  test('of a Subscription has the event untouched, hops included', async () => {
    const event = eventOf('e1', { attributes: { knativebrokerttl: 7 } });
    const [call] = await callsOf(subscription(), { event });
    expect(call?.event).toEqual(event);
  });
});

describe('the request to a dead letter sink', () => {
  test('asks for no reply, and has the rest in common with the others', async () => {
    const egress = trigger({
      namespace: 'billing',
      timeoutMs: 4_321,
      format: 'json',
      deadLetter: at(SINK),
    });
    const script = (stage: Stage) => stage.deliverer.script(SUBSCRIBER, rejected(400));
    const [, call] = await callsOf(egress, { script });
    expect(call).toMatchObject({
      url: SINK,
      namespace: 'billing',
      timeoutMs: 4_321,
      format: 'json',
      wantsReply: false,
    });
    expect(call?.event.attributes.has('knativebrokerttl')).toBe(false);
  });
});

describe('the request to a reply address', () => {
  test('carries the reply with the headers that the subscriber passes on', async () => {
    const reply = eventOf('r1', { headers: { 'knative-note': 'mine' }, data: 'answer' });
    const egress = subscription({ namespace: 'billing', reply: at(OUTSIDE) });
    const script = (stage: Stage) => stage.deliverer.script(SUBSCRIBER, replied(reply));
    const [, call] = await callsOf(egress, { script });
    // What a reply address says to a reply is nobody's business, so it is not asked.
    expect(call).toMatchObject({ url: OUTSIDE, namespace: 'billing', wantsReply: false });
    expect(call?.event).toEqual(reply);
  });
});

describe('a Service', () => {
  const endpoint = (address: string, isReady = true) => ({
    address,
    isReady,
    ports: { 80: 8080 },
  });
  const calledAt = (calls: Call[]) => calls.map(({ url, host }) => [url, host]);
  const HOST = 'orders.shop.svc.cluster.local';

  test('is called at its endpoints in turn, in the name of the Service', async () => {
    const egress = trigger({ subscriber: SERVICE, retry: retries(3) });
    const endpoints = [endpoint('10.0.0.1'), endpoint('fd00::2'), endpoint('10.0.0.3')];
    const urls = ['http://10.0.0.1:8080', 'http://[fd00::2]:8080', 'http://10.0.0.3:8080'];
    const script = (stage: Stage) => {
      for (const url of urls) stage.deliverer.script(`${url}/in?as=event`, rejected(500));
    };
    const calls = await callsOf(egress, { services: { 'shop/orders': { endpoints } }, script });
    expect(calls.map(({ host }) => host)).toEqual([HOST, HOST, HOST, HOST]);
    const called = calls.map(({ url }) => url.replace('/in?as=event', ''));
    expect(called.slice(0, 3).sort()).toEqual([...urls].sort());
    expect(urls).toContain(called[3]);
  });

  test('events take turns, whichever records are for this egress', async () => {
    const stage = new Stage({
      egresses: [
        trigger({ subscriber: SERVICE, filter: ofType('mine') }),
        trigger({ id: 'other', subscriber: at(OUTSIDE), filter: ofType('others') }),
      ],
      services: { 'shop/orders': { endpoints: [endpoint('10.0.0.1'), endpoint('10.0.0.2')] } },
    });
    for (let index = 0; index < 10; index += 1) {
      await stage.produce('orders', eventOf(`mine${index}`, { type: 'mine' }));
      await stage.produce('orders', eventOf(`other${index}`, { type: 'others' }));
    }
    expect(stage.deliverer.callsTo('http://10.0.0.1:8080/in?as=event')).toHaveLength(5);
    expect(stage.deliverer.callsTo('http://10.0.0.2:8080/in?as=event')).toHaveLength(5);
  });

  test('events take turns, too', async () => {
    const stage = new Stage({
      egresses: [trigger({ subscriber: SERVICE })],
      services: { 'shop/orders': { endpoints: [endpoint('10.0.0.1'), endpoint('10.0.0.2')] } },
    });
    for (let index = 0; index < 10; index += 1) {
      await stage.produce('orders', eventOf(`e${index}`));
    }
    expect(stage.deliverer.callsTo('http://10.0.0.1:8080/in?as=event')).toHaveLength(5);
    expect(stage.deliverer.callsTo('http://10.0.0.2:8080/in?as=event')).toHaveLength(5);
  });

  test('is not called at endpoints that are about to end, while others are ready', async () => {
    const endpoints = [endpoint('10.0.0.1', false), endpoint('10.0.0.2')];
    const egress = trigger({ subscriber: SERVICE, retry: retries(1) });
    const script = (stage: Stage) =>
      stage.deliverer.script('http://10.0.0.2:8080/in?as=event', rejected(500), accepted);
    const calls = await callsOf(egress, { services: { 'shop/orders': { endpoints } }, script });
    expect(calledAt(calls)).toEqual([
      ['http://10.0.0.2:8080/in?as=event', HOST],
      ['http://10.0.0.2:8080/in?as=event', HOST],
    ]);
  });

  test('fails under its own name, whichever endpoint was called', async () => {
    const stage = new Stage({
      egresses: [trigger({ subscriber: SERVICE })],
      services: { 'shop/orders': { endpoints: [endpoint('10.0.0.1')] } },
    });
    stage.deliverer.script('http://10.0.0.1:8080/in?as=event', rejected(400));
    await stage.produce('orders', eventOf('e1'));
    expect(stage.trail()[0]).toBe(`deliver 1 ${SERVICE.url} 400 KNEAR_REJECTED`);
    expect((await stage.log.parked('egress', { limit: 1 }))[0]?.failure.dest).toBe(SERVICE.url);
  });

  describe('D7: an attempt of which no byte left us', () => {
    const addresses = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'];
    const urlOf = (address: string) => `http://${address}:8080/in?as=event`;
    const refused = unreachable('KNEAR_UNREACHABLE');

    async function stageWith(
      count: number,
      answers: Record<string, Answer>,
      retry = retries(0),
    ): Promise<Stage> {
      const endpoints = addresses.slice(0, count).map((address) => endpoint(address));
      const stage = new Stage({
        egresses: [trigger({ subscriber: SERVICE, retry })],
        services: { 'shop/orders': { endpoints } },
      });
      for (const address of addresses) {
        stage.deliverer.script(urlOf(address), answers[address] ?? refused);
      }
      await stage.produce('orders', eventOf('e1'));
      return stage;
    }

    test('goes on with the next endpoint and counts once', async () => {
      const alive = Object.fromEntries(addresses.slice(0, 2).map((each) => [each, accepted]));
      const stage = await stageWith(3, alive);
      const calls = stage.deliverer.calls.map(({ url }) => url);
      // Turns begin at 1, so whichever is first, the dead one has a living neighbour.
      expect(calls.at(-1)).not.toBe(urlOf('10.0.0.3'));
      const reroutes = calls.length - 1;
      expect(stage.trail()).toEqual([
        ...Array.from({ length: reroutes }, () => 'rerouted'),
        `deliver 1 ${SERVICE.url} 202`,
        'end delivered',
      ]);
    });

    test.each([
      { endpoints: 1, calls: 1 },
      { endpoints: 2, calls: 2 },
      { endpoints: 3, calls: 3 },
      { endpoints: 4, calls: 3 },
    ])('of $endpoints dead endpoints tries $calls, each once', async ({ endpoints, calls }) => {
      const stage = await stageWith(endpoints, {});
      const urls = stage.deliverer.calls.map(({ url }) => url);
      expect([urls.length, new Set(urls).size]).toEqual([calls, calls]);
      expect(stage.trail().filter((line) => line === 'rerouted')).toHaveLength(calls - 1);
      expect(stage.trail().filter((line) => line.startsWith('deliver'))).toEqual([
        `deliver 1 ${SERVICE.url} 0 KNEAR_UNREACHABLE`,
      ]);
    });

    test.each([
      { name: 'a reset', outcome: unreachable('KNEAR_RESET') },
      { name: 'a timeout', outcome: unreachable('KNEAR_TIMEOUT') },
      { name: '503', outcome: rejected(503) },
    ])('is not what ends with $name: the subscriber may have seen it', async ({ outcome }) => {
      const all = Object.fromEntries(addresses.map((address) => [address, outcome]));
      const stage = await stageWith(3, all);
      expect(stage.deliverer.calls).toHaveLength(1);
    });

    test('gives up the search when the dispatcher stops', async () => {
      const stage = await stageWith(3, Object.fromEntries(addresses.map((each) => [each, 'hang'])));
      const stopped = stage.dispatcher.stop(1_000);
      stage.deliverer.answer(refused);
      await stage.pass(0);
      await stopped;
      expect(stage.deliverer.calls).toHaveLength(1);
    });
  });

  test('is looked up at each attempt', async () => {
    const stage = new Stage({
      egresses: [
        trigger({ subscriber: SERVICE, retry: retries(1, { backoff: 'linear', delayMs: 500 }) }),
      ],
      services: { 'shop/orders': { endpoints: [endpoint('10.0.0.1')] } },
    });
    stage.deliverer.script('http://10.0.0.1:8080/in?as=event', rejected(500));
    await stage.produce('orders', eventOf('e1'));
    stage.apply({ services: { 'shop/orders': { endpoints: [endpoint('10.0.0.9')] } } });
    await stage.pass(500);
    expect(stage.deliverer.calls.at(-1)?.url).toBe('http://10.0.0.9:8080/in?as=event');
  });

  test.each([
    { name: 'nothing is known', services: {} },
    { name: 'there is no endpoint', services: { 'shop/orders': { endpoints: [] } } },
  ])('of which $name is called by its own address', async ({ services }) => {
    const calls = await callsOf(trigger({ subscriber: SERVICE }), { services });
    expect(calledAt(calls)).toEqual([[SERVICE.url, undefined]]);
  });
});
