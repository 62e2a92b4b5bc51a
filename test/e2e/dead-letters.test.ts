/** What becomes of events that no subscriber takes: dead letter sinks, what they are told, and parking. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createServer } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { eventually } from './eventually.ts';
import {
  broker,
  brokerRef,
  channel,
  subscription,
  trigger,
  yamlOf,
  type Manifest,
} from './manifests.ts';
import { binary, send } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';
import { HANG, type Received, type Reply, type Subscriber } from './subscriber.ts';

const stage = openStage();
let program: Program;
let subscriber: Subscriber;
let closedPort: number;

const AT_ONCE = { retry: 0 };

function resources(url: string, nobody: string): string {
  return yamlOf(
    broker('main', {
      namespace: 'sinks',
      delivery: { retry: 1, deadLetterSink: { uri: `${url}/sinks/of-broker` } },
    }),
    trigger('own', {
      namespace: 'sinks',
      filter: { type: 'own' },
      subscriber: `${url}/sinks/own`,
      delivery: { retry: 2, deadLetterSink: { uri: `${url}/sinks/of-trigger` } },
    }),
    trigger('inherits', {
      namespace: 'sinks',
      filter: { type: 'inherits' },
      subscriber: `${url}/sinks/inherits`,
    }),
    // Its own retries, and yet the Broker's sink: two blocks that are inherited one by one.
    trigger('half', {
      namespace: 'sinks',
      filter: { type: 'half' },
      subscriber: `${url}/sinks/half`,
      delivery: { retry: 3 },
    }),
    channel('channel', {
      namespace: 'sinks',
      delivery: { retry: 1, deadLetterSink: { uri: `${url}/sinks/of-channel` } },
    }),
    subscription('inherits', {
      namespace: 'sinks',
      channel: 'channel',
      subscriber: `${url}/sinks/subscription`,
    }),

    ...errorResources(url, nobody),

    broker('main', { namespace: 'parks' }),
    trigger('parks', {
      namespace: 'parks',
      filter: { type: 'parks' },
      subscriber: `${url}/parks/always`,
      delivery: { retry: 1 },
    }),
    trigger('drops', {
      namespace: 'parks',
      filter: { type: 'drops' },
      annotations: { 'knear.dev/exhausted': 'drop' },
      subscriber: `${url}/parks/always`,
      delivery: { retry: 1 },
    }),
    trigger('sink-fails', {
      namespace: 'parks',
      filter: { type: 'sink-fails' },
      subscriber: `${url}/parks/always`,
      delivery: { retry: 1, deadLetterSink: { uri: `${url}/parks/sink` } },
    }),
  );
}

/** One Trigger for each way to fail, named after it; all share a sink. */
function errorResources(url: string, nobody: string): Manifest[] {
  const sink = { deadLetterSink: { uri: `${url}/errors/sink` } };
  const fails = (name: string, subscriberUrl: string, delivery: object = AT_ONCE) =>
    trigger(name, {
      namespace: 'errors',
      filter: { type: name },
      subscriber: subscriberUrl,
      delivery: { ...delivery, ...sink },
    });
  return [
    broker('main', { namespace: 'errors' }),
    fails('answers', `${url}/errors/answers`),
    fails('rejects', `${url}/errors/rejects`, { retry: 5 }),
    fails('unreachable', nobody),
    fails('bad-uri', 'bad://uri', { retry: 5 }),
    fails('times-out', `${url}/errors/times-out`, { retry: 0, timeout: 'PT0.2S' }),
    fails('resets', `${url}/errors/resets`, { retry: 1 }),
    // The sink of this one is a Broker of ours.
    broker('rescue', { namespace: 'errors' }),
    trigger('rescue', {
      namespace: 'errors',
      broker: 'rescue',
      subscriber: `${url}/errors/rescue`,
    }),
    trigger('to-broker', {
      namespace: 'errors',
      filter: { type: 'to-broker' },
      subscriber: `${url}/errors/answers`,
      delivery: { ...AT_ONCE, deadLetterSink: brokerRef('rescue') },
    }),
    channel('replies', { namespace: 'errors' }),
    subscription('reply-fails', {
      namespace: 'errors',
      channel: 'replies',
      subscriber: `${url}/errors/replies`,
      reply: `${url}/errors/reply-target`,
      delivery: { retry: 2, ...sink },
    }),
  ];
}

/** A port on which nobody listens: it was free a moment ago. */
async function findClosedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  // An object after `listening` on a port.
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

beforeAll(async () => {
  subscriber = await stage.subscriber();
  closedPort = await findClosedPort();
  const nobody = `http://127.0.0.1:${String(closedPort)}/`;
  program = await stage.start(resources(subscriber.url, nobody));
});

afterAll(() => stage.close());

async function found(path: string, id: string): Promise<Received> {
  return eventually(`${id} at ${path}`, () => subscriber.at(path).find((each) => each.id === id), {
    otherwise: () => subscriber.received.filter((each) => each.id === id).map(({ path: at }) => at),
  });
}

function attempts(path: string, id: string): number {
  return subscriber.at(path).filter((each) => each.id === id).length;
}

describe('the dead letter sink', () => {
  test.each([
    { type: 'own', at: '/sinks/own', sink: '/sinks/of-trigger', of: 'of the Trigger', tries: 3 },
    {
      type: 'inherits',
      at: '/sinks/inherits',
      sink: '/sinks/of-broker',
      of: 'of its Broker',
      tries: 2,
    },
    {
      type: 'half',
      at: '/sinks/half',
      sink: '/sinks/of-broker',
      of: 'of the Broker beside retries of the Trigger',
      tries: 4,
    },
  ])('$of gets the event once, after $tries attempts', async ({ type, at, sink, tries }) => {
    subscriber.on(at, () => ({ status: 500, body: 'no' }));
    await send(`${program.url}/sinks/main`, { id: type, type, colour: 'red' }, 'the data');

    const { headers, body } = await found(sink, type);
    await program.idle();

    expect(attempts(at, type)).toBe(tries);
    expect(subscriber.received.filter((each) => each.id === type)).toHaveLength(tries + 1);
    expect(String(body)).toBe('the data');
    expect(headers).toMatchObject({
      'ce-type': type,
      'ce-colour': 'red',
      'ce-knativeerrordest': subscriber.url + at,
      'ce-knativeerrorcode': '500',
      'ce-knativeerrordata': Buffer.from('no').toString('base64'),
      'kn-namespace': 'sinks',
    });
    expect(headers).not.toHaveProperty('prefer');
  });

  test('of a channel gets what its Subscription cannot deliver', async () => {
    subscriber.on('/sinks/subscription', () => ({ status: 503 }));
    await send(`${program.url}/sinks/channels/channel`, { id: 'c', type: 't' });
    const { headers } = await found('/sinks/of-channel', 'c');
    expect(attempts('/sinks/subscription', 'c')).toBe(2);
    expect(headers).toMatchObject({
      'ce-knativeerrorcode': '503',
      'ce-knativeerrordest': `${subscriber.url}/sinks/subscription`,
    });
    // No body, no attribute: an attribute must not be empty.
    expect(headers).not.toHaveProperty('ce-knativeerrordata');
  });

  test('can be a Broker, whose Triggers see the error', async () => {
    subscriber.on('/errors/answers', () => ({ status: 500, body: 'why' }));
    await send(`${program.url}/errors/main`, { id: 'to-broker', type: 'to-broker' });
    const { headers } = await found('/errors/rescue', 'to-broker');
    expect(headers).toMatchObject({
      'ce-knativeerrorcode': '500',
      'ce-knativeerrordest': `${subscriber.url}/errors/answers`,
    });
  });
});

describe('knativeerrordata', () => {
  const long = 'long '.repeat(1_000);
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));

  test.each<{ name: string; reply: Reply; data: Uint8Array }>([
    { name: 'a text', reply: { status: 400, body: 'bad order' }, data: Buffer.from('bad order') },
    {
      name: 'a long text, as its beginning',
      reply: { status: 400, body: long },
      data: Buffer.from(long.slice(0, 768)),
    },
    { name: 'any bytes', reply: { status: 400, body: bytes }, data: bytes },
    {
      name: 'a body with line breaks and quotes',
      reply: { status: 400, headers: { 'content-type': 'text/html' }, body: '"\r\nce-id: x' },
      data: Buffer.from('"\r\nce-id: x'),
    },
  ])('holds $name in base64, at most 1,024 characters', async ({ name, reply, data }) => {
    // Spaces would be encoded on the wire.
    const id = name.replaceAll(' ', '-');
    subscriber.on('/errors/answers', () => reply);
    await send(`${program.url}/errors/main`, { id, type: 'answers' });
    const { headers } = await found('/errors/sink', id);
    expect(headers['ce-knativeerrordata']).toBe(Buffer.from(data).toString('base64'));
    expect(headers['ce-knativeerrordata']?.length).toBeLessThanOrEqual(1_024);
    expect(headers['ce-knativeerrorcode']).toBe('400');
  });
});

describe('an attempt', () => {
  test.each([400, 401, 403, 413, 422, 302])(
    'that is answered %i is the only one',
    async (status) => {
      subscriber.on('/errors/rejects', () => ({ status, headers: { location: '/elsewhere' } }));
      const id = `rejected-${String(status)}`;
      await send(`${program.url}/errors/main`, { id, type: 'rejects' });
      const { headers } = await found('/errors/sink', id);
      await program.idle();
      expect(headers['ce-knativeerrorcode']).toBe(String(status));
      expect(attempts('/errors/rejects', id)).toBe(1);
      expect(attempts('/errors/sink', id)).toBe(1);
      expect(subscriber.at('/elsewhere')).toEqual([]);
    },
  );

  test('at a closed port counts as failed, with the address in the dead letter', async () => {
    await send(`${program.url}/errors/main`, { id: 'unreachable', type: 'unreachable' });
    const { headers } = await found('/errors/sink', 'unreachable');
    expect(headers).toMatchObject({
      'ce-knativeerrordest': `http://127.0.0.1:${String(closedPort)}/`,
      'ce-knativeerrorcode': '500',
    });
  });

  test('that gets no answer within its timeout fails', async () => {
    subscriber.on('/errors/times-out', HANG);
    const startMs = performance.now();
    await send(`${program.url}/errors/main`, { id: 'times-out', type: 'times-out' });
    const { headers, atMs } = await found('/errors/sink', 'times-out');
    expect(atMs - startMs).toBeGreaterThanOrEqual(200);
    expect(headers['ce-knativeerrordest']).toBe(`${subscriber.url}/errors/times-out`);
  });

  test('that is reset fails like any other', async () => {
    subscriber.on('/errors/resets', () => ({ isReset: true }));
    await send(`${program.url}/errors/main`, { id: 'resets', type: 'resets' });
    const { headers } = await found('/errors/sink', 'resets');
    expect(headers['ce-knativeerrordest']).toBe(`${subscriber.url}/errors/resets`);
    await program.idle();
    // Two attempts; each may be sent once more where the connection looked as if it had been closed before.
    expect(attempts('/errors/resets', 'resets')).toBeGreaterThanOrEqual(2);
    expect(attempts('/errors/resets', 'resets')).toBeLessThanOrEqual(4);
  });
});

test('a Trigger whose subscriber is bad://uri is ready, and its events are dead-lettered at once', async () => {
  const statuses = await program.statuses();
  expect(statuses).toContainEqual(
    expect.objectContaining({ resourceId: 'Trigger/errors/bad-uri', isReady: true }),
  );
  await send(`${program.url}/errors/main`, { id: 'bad-uri', type: 'bad-uri' });
  const { headers } = await found('/errors/sink', 'bad-uri');
  expect(headers['ce-knativeerrordest']).toMatch(/^bad:\/\/uri\/?$/);
  await program.idle();
  expect(
    await program.metric('knear_attempts_total', {
      egress: 'trigger:bad-uri.errors',
      phase: 'deliver',
    }),
  ).toBe(1);
});

test('a reply that its address does not take is tried again alone, then the original is dead-lettered', async () => {
  subscriber.on('/errors/replies', () => ({
    status: 200,
    headers: binary({ id: 'the-reply', type: 'reply' }),
    body: 'answer',
  }));
  subscriber.on('/errors/reply-target', () => ({ status: 500, body: 'full' }));
  await send(`${program.url}/errors/channels/replies`, { id: 'original', type: 't' }, 'question');
  const { headers, body } = await found('/errors/sink', 'original');
  await program.idle();
  expect(attempts('/errors/replies', 'original')).toBe(1);
  expect(attempts('/errors/reply-target', 'the-reply')).toBe(3);
  expect(String(body)).toBe('question');
  expect(headers['ce-knativeerrordest']).toBe(`${subscriber.url}/errors/reply-target`);
});

describe('without a sink that takes it', () => {
  beforeAll(() => {
    subscriber.on('/parks/always', () => ({ status: 500 }));
    subscriber.on('/parks/sink', () => ({ status: 500 }));
  });

  test.each([
    { type: 'parks', end: 'parked', parked: 1 },
    { type: 'drops', end: 'dropped', parked: 0 },
    { type: 'sink-fails', end: 'parked', parked: 1 },
  ])('an event of $type ends as $end, where metrics show it', async ({ type, end, parked }) => {
    const egress = `trigger:${type}.parks`;
    await send(`${program.url}/parks/main`, { id: type, type });
    await eventually(
      `${type} is ${end}`,
      async () => (await program.metric('knear_ended_total', { egress, end })) === 1,
    );
    expect(await program.metric('knear_lag', { egress, state: 'parked' })).toBe(parked);
    expect(attempts('/parks/always', type)).toBe(2);
    expect(attempts('/parks/sink', type)).toBe(type === 'sink-fails' ? 2 : 0);
    // And a line of the log, for whoever has to repair it.
    await eventually('a line of the log', () =>
      program.output.split('\n').some((line) => line.includes(`"eventId":"${type}"`)),
    );
  });
});

test('nothing of this was a fault of the program', () => {
  expect(program.complaints).toEqual([]);
});
