/** Channels of all kinds, chains of them, and subscribers that are named by a Service. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from './eventually.ts';
import {
  broker,
  brokerRef,
  channel,
  channelRef,
  endpointSlice,
  service,
  serviceRef,
  subscription,
  trigger,
  yamlOf,
  type ChannelKind,
} from './manifests.ts';
import { binary, post, send } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';
import type { Received, Subscriber } from './subscriber.ts';

const KINDS: readonly ChannelKind[] = ['KnearChannel', 'InMemoryChannel', 'Channel'];

const stage = openStage();
let program: Program;
let subscriber: Subscriber;
/** Behind the same Service as `subscriber`, at another address of this machine. */
let other: Subscriber;
const OTHER_ADDRESS = '127.0.0.2';
/** At the same address as `subscriber`, on another port. */
let replica: Subscriber;

function resources(url: string): string {
  const kinds = { namespace: 'kinds' };
  const chain = { namespace: 'chain' };
  const services = { namespace: 'services' };
  return yamlOf(
    ...KINDS.flatMap((kind) => [
      channel(kind.toLowerCase(), { ...kinds, kind }),
      subscription(kind.toLowerCase(), {
        ...kinds,
        channel: kind.toLowerCase(),
        channelKind: kind,
        subscriber: `${url}/kinds/${kind}`,
      }),
    ]),
    channel('nobody', kinds),

    // A Sequence, as its controller writes it: a channel before each step, the last reply to the Broker it came from.
    broker('main', chain),
    trigger('in', { ...chain, filter: { type: 'start' }, subscriber: channelRef('step-1') }),
    trigger('out', { ...chain, filter: { type: 'step-3' }, subscriber: `${url}/chain/out` }),
    ...[1, 2, 3].flatMap((step) => [
      channel(`step-${String(step)}`, chain),
      subscription(`step-${String(step)}`, {
        ...chain,
        channel: `step-${String(step)}`,
        subscriber: `${url}/chain/step-${String(step)}`,
        reply: step === 3 ? brokerRef('main') : channelRef(`step-${String(step + 1)}`),
      }),
    ]),

    service('functions', services),
    service('replicas', services),
    broker('main', services),
    trigger('functions', {
      ...services,
      filter: { type: 'functions' },
      subscriber: serviceRef('functions', '/services/functions'),
    }),
    trigger('replicas', {
      ...services,
      filter: { type: 'replicas' },
      subscriber: serviceRef('replicas', '/services/replicas'),
    }),
  );
}

/** Of the two endpoints of `functions`, one is ready. */
function slices(ready: 'subscriber' | 'other'): string {
  const functions = { namespace: 'services', service: 'functions' };
  const replicas = { namespace: 'services', service: 'replicas' };
  return yamlOf(
    endpointSlice('functions-1', {
      ...functions,
      port: subscriber.port,
      isReady: ready === 'subscriber',
    }),
    endpointSlice('functions-2', {
      ...functions,
      port: other.port,
      address: OTHER_ADDRESS,
      isReady: ready === 'other',
    }),
    // Two programs on one machine, as on a laptop.
    endpointSlice('replicas-1', { ...replicas, port: subscriber.port }),
    endpointSlice('replicas-2', { ...replicas, port: replica.port }),
  );
}

beforeAll(async () => {
  subscriber = await stage.subscriber();
  other = await stage.subscriber(OTHER_ADDRESS);
  replica = await stage.subscriber();
  program = stage.program(resources(subscriber.url));
  program.write('slices.yaml', slices('subscriber'));
  await program.start();
});

afterAll(() => stage.close());

async function found(path: string, id: string): Promise<Received> {
  return eventually(`${id} at ${path}`, () => subscriber.at(path).find((each) => each.id === id));
}

/** Adds its step to the data and its name to the type. */
function step(name: string) {
  return ({ headers, body }: Received) => ({
    status: 200,
    headers: binary({ id: headers['ce-id'] ?? '', type: name, trail: headers['ce-type'] ?? '' }),
    body: `${String(body)}>${name}`,
  });
}

describe.each(KINDS)('a %s', (kind) => {
  const name = kind.toLowerCase();

  test('takes events at its path and adds nothing to them', async () => {
    await send(`${program.url}/kinds/channels/${name}`, { id: `path-${name}`, type: 't' }, 'x');
    const { headers, body } = await found(`/kinds/${kind}`, `path-${name}`);
    expect(String(body)).toBe('x');
    const attributes = Object.keys(headers).filter((header) => header.startsWith('ce-'));
    expect(attributes.sort()).toEqual(['ce-id', 'ce-source', 'ce-specversion', 'ce-type']);
    expect(headers).toMatchObject({ prefer: 'reply', 'kn-namespace': 'kinds' });
  });

  test.each(['', '/', '/any/path'])(
    'takes events at its host name, with path "%s"',
    async (path) => {
      const id = `host-${name}-${path}`;
      const { status } = await post(program.url + path, {
        headers: {
          ...binary({ id, type: 't' }),
          host: `${name}-kn-channel.kinds.svc.cluster.local`,
        },
        body: 'x',
      });
      expect(status).toBe(202);
      await found(`/kinds/${kind}`, id);
    },
  );
});

test('an event for a channel without Subscriptions is taken, one for no channel is not', async () => {
  const nobody = await send(`${program.url}/kinds/channels/nobody`, { id: 'n', type: 't' });
  const unknown = await send(`${program.url}/kinds/channels/unknown`, { id: 'u', type: 't' });
  expect([nobody.status, unknown.status]).toEqual([202, 404]);
});

test('a Sequence calls its steps in turn, each with what the one before answered', async () => {
  for (const name of ['step-1', 'step-2', 'step-3']) subscriber.on(`/chain/${name}`, step(name));

  await send(`${program.url}/chain/main`, { id: 'c-1', type: 'start' }, 'data');

  const out = await found('/chain/out', 'c-1');
  expect(String(out.body)).toBe('data>step-1>step-2>step-3');
  expect(out.headers).toMatchObject({ 'ce-type': 'step-3', 'ce-trail': 'step-2' });
  await program.idle();
  const chain = subscriber.received.filter(({ path }) => path.startsWith('/chain/'));
  expect(chain.map(({ path, type }) => `${path} ${type}`)).toEqual([
    '/chain/step-1 start',
    '/chain/step-2 step-1',
    '/chain/step-3 step-2',
    '/chain/out step-3',
  ]);
});

test('a Sequence ends where a step answers nothing', async () => {
  subscriber.on('/chain/step-1', step('step-1'));
  subscriber.on('/chain/step-2', () => ({ status: 204 }));
  await send(`${program.url}/chain/main`, { id: 'c-2', type: 'start' });
  await found('/chain/step-2', 'c-2');
  await program.idle();
  expect(subscriber.at('/chain/step-3').map(({ id }) => id)).not.toContain('c-2');
});

describe('a subscriber that is a Service', () => {
  test('is called at an endpoint that is ready, under the name of the Service', async () => {
    await send(`${program.url}/services/main`, { id: 's-1', type: 'functions' });
    const { headers } = await found('/services/functions', 's-1');
    expect(headers['host']).toBe('functions.services.svc.cluster.local');
    expect(other.received).toEqual([]);
  });

  test('is called elsewhere once its EndpointSlices say so', async () => {
    await program.change(() => {
      program.write('slices.yaml', slices('other'));
    });
    await send(`${program.url}/services/main`, { id: 's-2', type: 'functions' });
    await eventually('s-2', () => other.received.some(({ id }) => id === 's-2'));
    expect(subscriber.at('/services/functions').map(({ id }) => id)).not.toContain('s-2');
  });

  test('has an endpoint for each port, even where all are at one address', async () => {
    const count = 20;
    for (let index = 0; index < count; index += 1) {
      const id = `r-${String(index)}`;
      await send(`${program.url}/services/main`, { id, type: 'replicas' });
    }
    const [first, second] = [subscriber, replica].map((each) => each.at('/services/replicas'));
    await eventually(
      'all events at both',
      () => (first?.length ?? 0) + (second?.length ?? 0) >= count,
    );
    expect(first?.length).toBeGreaterThan(0);
    expect(second?.length).toBeGreaterThan(0);
  });
});

test('nothing of this was a fault of the program', () => {
  expect(program.complaints).toEqual([]);
});
