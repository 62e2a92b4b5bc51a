/** From a producer through a Broker to subscribers: what arrives, where, how often, and what never gets in. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from './eventually.ts';
import { broker, channel, subscription, trigger, yamlOf } from './manifests.ts';
import { binary, post, send } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';
import { HANG, type Subscriber } from './subscriber.ts';

const stage = openStage();
let program: Program;
let subscriber: Subscriber;

/** Retries that are over within the test, for subscribers that fail on purpose. */
const FEW_RETRIES = { retry: 1, backoffPolicy: 'linear', backoffDelay: 'PT0.05S' };

/** One Broker (or channel) a test, in a namespace of its own. */
function resources(url: string): string {
  const inAll = (namespace: string) => ({ namespace });
  const dead = (path: string) => ({ ...FEW_RETRIES, deadLetterSink: { uri: url + path } });
  return yamlOf(
    broker('main', inAll('plain')),
    trigger('orders', {
      namespace: 'plain',
      filter: { type: 'order.created', region: 'north' },
      subscriber: `${url}/plain/orders`,
    }),
    trigger('everything', { namespace: 'plain', subscriber: `${url}/plain/everything` }),

    broker('main', inAll('formats')),
    trigger('binary', { namespace: 'formats', subscriber: `${url}/formats/binary` }),
    trigger('json', {
      namespace: 'formats',
      subscriber: `${url}/formats/json`,
      delivery: { format: 'json' },
    }),

    broker('main', inAll('twice')),
    trigger('one', { namespace: 'twice', subscriber: `${url}/twice` }),
    trigger('two', { namespace: 'twice', subscriber: `${url}/twice` }),

    broker('main', inAll('replies')),
    trigger('question', {
      namespace: 'replies',
      filter: { type: 'question' },
      subscriber: `${url}/replies/question`,
    }),
    trigger('answer', {
      namespace: 'replies',
      filters: [{ prefix: { type: 'answer' } }],
      subscriber: `${url}/replies/answer`,
    }),

    broker('main', inAll('loop')),
    trigger('echo', {
      namespace: 'loop',
      subscriber: `${url}/loop/echo`,
      delivery: dead('/loop/dead'),
    }),

    broker('main', inAll('foreign')),
    trigger('foreign', {
      namespace: 'foreign',
      subscriber: `${url}/foreign/broker`,
      delivery: dead('/foreign/dead'),
    }),
    channel('lenient', inAll('foreign')),
    subscription('lenient', {
      namespace: 'foreign',
      channel: 'lenient',
      subscriber: `${url}/foreign/channel`,
      delivery: dead('/foreign/dead'),
    }),

    broker('main', inAll('isolation')),
    trigger('hanging', { namespace: 'isolation', subscriber: `${url}/isolation/hanging` }),
    trigger('healthy', { namespace: 'isolation', subscriber: `${url}/isolation/healthy` }),
  );
}

beforeAll(async () => {
  subscriber = await stage.subscriber();
  program = await stage.start(resources(subscriber.url), { flags: ['--event-max', '1Mi'] });
});

afterAll(() => stage.close());

async function arrived(path: string, count: number) {
  return eventually(
    `${String(count)} events at ${path}`,
    () => subscriber.at(path).length >= count && subscriber.at(path),
    { otherwise: () => subscriber.at(path).map(({ id, type }) => ({ id, type })) },
  );
}

describe('an event in binary mode', () => {
  test('arrives unchanged, with what Knative adds, at the Triggers whose filter it matches', async () => {
    // Bytes that are no text in any encoding.
    const body = Buffer.from([0, 255, 128, 10, 13, 0]);
    const attributes = {
      id: 'binary-1',
      type: 'order.created',
      region: 'north',
      subject: 'a b%20c',
      time: '2026-01-02T03:04:05.678Z',
      sampledrate: '30',
    };
    const headers = {
      ...binary(attributes),
      'content-type': 'application/vnd.apache.thrift.binary',
      'x-request-id': 'r-1',
      'knative-custom': 'kept',
      'x-other': 'dropped',
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    };

    const answer = await post(`${program.url}/plain/main`, { headers, body });

    expect(answer).toMatchObject({ status: 202, body: '', headers: { allow: 'POST, OPTIONS' } });
    const [one] = await arrived('/plain/orders', 1);
    expect(one?.body).toEqual(body);
    expect(one?.headers).toMatchObject({
      'ce-specversion': '1.0',
      'ce-source': '/e2e',
      'ce-id': 'binary-1',
      'ce-type': 'order.created',
      'ce-region': 'north',
      'ce-subject': 'a%20b%20c',
      'ce-time': '2026-01-02T03:04:05.678Z',
      'ce-sampledrate': '30',
      'content-type': 'application/vnd.apache.thrift.binary',
      'content-length': '6',
      'x-request-id': 'r-1',
      'knative-custom': 'kept',
      traceparent: expect.stringContaining('4bf92f3577b34da6a3ce929d0e0e4736'),
      prefer: 'reply',
      'kn-namespace': 'plain',
      'ce-knativearrivaltime': expect.stringMatching(/^20\d\d-.*Z$/),
    });
    expect(one?.headers).not.toHaveProperty('ce-knativebrokerttl');
    expect(one?.headers).not.toHaveProperty('x-other');
  });

  test.each([
    { id: 'another-value', type: 'order.created', region: 'south' },
    { id: 'other-letters', type: 'Order.Created', region: 'north' },
    { id: 'no-such-attribute', type: 'order.created' },
  ])('passes a Trigger by whose filter it does not match: $id', async (attributes) => {
    const before = subscriber.at('/plain/everything').length;
    const { status } = await send(`${program.url}/plain/main`, attributes);
    expect(status).toBe(202);
    expect((await arrived('/plain/everything', before + 1)).at(-1)?.id).toBe(attributes.id);
    await program.idle();
    expect(subscriber.at('/plain/orders').map(({ id }) => id)).not.toContain(attributes.id);
  });
});

describe('an event in structured mode', () => {
  const event = {
    specversion: '1.0',
    id: 'structured-1',
    source: '/e2e',
    type: 'order.created',
    count: 7,
    datacontenttype: 'application/json',
    data: { order: 'A-1', text: 'ü €' },
  };

  beforeAll(async () => {
    const { status } = await post(`${program.url}/formats/main`, {
      headers: { 'content-type': 'application/cloudevents+json; charset=utf-8' },
      body: JSON.stringify(event),
    });
    expect(status).toBe(202);
  });

  test('arrives in binary mode, unless the Trigger asks for something else', async () => {
    const [one] = await arrived('/formats/binary', 1);
    expect(JSON.parse(String(one?.body))).toEqual(event.data);
    expect(one?.headers).toMatchObject({
      'ce-id': 'structured-1',
      'ce-count': '7',
      'content-type': 'application/json',
    });
  });

  test('arrives in structured mode at a Trigger of format json', async () => {
    const [one] = await arrived('/formats/json', 1);
    expect(one?.headers).not.toHaveProperty('ce-id');
    expect(JSON.parse(String(one?.body))).toMatchObject(event);
  });
});

test('two Triggers with the same subscriber give it the event twice', async () => {
  await send(`${program.url}/twice/main`, { id: 'twice-1', type: 't' });
  await arrived('/twice', 2);
  await program.idle();
  expect(subscriber.at('/twice').map(({ id }) => id)).toEqual(['twice-1', 'twice-1']);
});

test('CloudEvents 0.3 stays 0.3 in both modes, and is not given an upgrade', async () => {
  const headers = { ...binary({ id: 'old-1', type: 't' }), 'ce-specversion': '0.3' };
  await post(`${program.url}/formats/main`, { headers, body: 'x' });
  const [, one] = await arrived('/formats/binary', 2);
  const [, two] = await arrived('/formats/json', 2);
  expect(one?.headers).toMatchObject({ 'ce-specversion': '0.3', 'ce-id': 'old-1' });
  expect(JSON.parse(String(two?.body))).toMatchObject({ specversion: '0.3', id: 'old-1' });
});

describe('a reply', () => {
  test.each([
    {
      name: 'binary, 200',
      id: 'ask-1',
      reply: {
        status: 200,
        headers: { ...binary({ id: 'reply-1', type: 'answer.binary', tone: 'kind' }) },
        body: 'yes',
      },
      sees: { id: 'reply-1', type: 'answer.binary' },
    },
    {
      name: 'structured, 202',
      id: 'ask-2',
      reply: {
        status: 202,
        headers: { 'content-type': 'application/cloudevents+json' },
        body: JSON.stringify({
          specversion: '1.0',
          id: 'reply-2',
          source: '/e2e',
          type: 'answer.structured',
          data: 1,
        }),
      },
      sees: { id: 'reply-2', type: 'answer.structured' },
    },
  ])('goes through the Broker again ($name)', async ({ id, reply, sees }) => {
    subscriber.on('/replies/question', (received) => (received.id === id ? reply : {}));
    await send(`${program.url}/replies/main`, { id, type: 'question' });
    const found = await eventually(`the reply to ${id}`, () =>
      subscriber.at('/replies/answer').find((each) => each.id === sees.id),
    );
    expect(found.type).toBe(sees.type);
    expect(found.headers).toHaveProperty('ce-knativearrivaltime');
    expect(found.headers).not.toHaveProperty('ce-knativebrokerttl');
    // The Trigger that asked is asked about replies like any other, and does not want them.
    expect(subscriber.at('/replies/question').map((each) => each.type)).not.toContain(sees.type);
  });

  test('that feeds its own Trigger ends when its hops are used up, with the last input dead-lettered', async () => {
    subscriber.on('/loop/echo', ({ headers, body }) => ({
      status: 200,
      headers: binary({ id: `${headers['ce-id'] ?? ''}+`, type: 'loop' }),
      body,
    }));
    // Three hops are what is left to it: the producer's, and two replies.
    const { status } = await send(`${program.url}/loop/main`, {
      id: 'loop',
      type: 'loop',
      knativebrokerttl: '4',
    });
    expect(status).toBe(202);
    const [dead] = await arrived('/loop/dead', 1);
    await program.idle();
    expect(subscriber.at('/loop/echo').map(({ id }) => id)).toEqual(['loop', 'loop+', 'loop++']);
    expect(dead?.id).toBe('loop++');
    expect(dead?.headers['ce-knativeerrorcode']).toBe('400');
  });

  test('that is refused names the Broker by the address at which it is reached', async () => {
    const [dead] = await arrived('/loop/dead', 1);
    expect(dead?.headers['ce-knativeerrordest']).toBe(`${program.url}/loop/main`);
  });

  test('that is no event fails the delivery on a Broker and is ignored on a channel', async () => {
    const foreign = () => ({ status: 200, headers: { 'content-type': 'text/plain' }, body: 'ok' });
    subscriber.on('/foreign/broker', foreign);
    subscriber.on('/foreign/channel', foreign);
    await send(`${program.url}/foreign/main`, { id: 'foreign-b', type: 't' });
    await send(`${program.url}/foreign/channels/lenient`, { id: 'foreign-c', type: 't' });
    await arrived('/foreign/dead', 1);
    await program.idle();
    expect(subscriber.at('/foreign/broker')).toHaveLength(2);
    expect(subscriber.at('/foreign/channel')).toHaveLength(1);
    expect(subscriber.at('/foreign/dead').map(({ id }) => id)).toEqual(['foreign-b']);
  });
});

describe('the door', () => {
  /** 1 MiB: what the program was told. */
  const LIMIT_BYTES = 1024 * 1024;

  test('takes an event of exactly 1 MiB and delivers all of it', async () => {
    const body = Buffer.alloc(LIMIT_BYTES, 'abcdefg');
    const before = subscriber.at('/plain/everything').length;
    const { status } = await send(`${program.url}/plain/main`, { id: 'large', type: 't' }, body);
    expect(status).toBe(202);
    const one = (await arrived('/plain/everything', before + 1)).at(-1);
    expect(one?.body.equals(body)).toBe(true);
  });

  test.each([
    { name: 'declared', isChunked: false },
    { name: 'found while reading', isChunked: true },
  ])('answers 413 with code and limit to one byte more ($name)', async ({ isChunked }) => {
    const answer = await post(`${program.url}/plain/main`, {
      headers: { ...binary({ id: 'too-large', type: 't' }), connection: 'close' },
      body: Buffer.alloc(LIMIT_BYTES + 1),
      isChunked,
    });
    expect(answer.status).toBe(413);
    expect(JSON.parse(answer.body)).toMatchObject({
      code: 'KNEAR_EVENT_TOO_LARGE',
      detail: expect.stringContaining(String(LIMIT_BYTES)),
    });
    await program.idle();
    expect(subscriber.received.map(({ id }) => id)).not.toContain('too-large');
  });

  test.each([
    { name: 'an unknown Broker', path: '/plain/nobody', without: '', status: 404 },
    { name: 'an event without id', path: '/plain/main', without: 'ce-id', status: 400 },
    { name: 'an event without type', path: '/plain/main', without: 'ce-type', status: 400 },
    { name: 'no event at all', path: '/plain/main', without: 'ce-specversion', status: 400 },
  ])('answers $status to $name', async ({ path, without, status }) => {
    const { [without]: _, ...headers } = binary({ id: 'bad', type: 't' });
    const answer = await post(program.url + path, { headers, body: 'x' });
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body)).toMatchObject({ code: expect.stringMatching(/^KNEAR_/) });
  });
});

test('a subscriber that hangs holds up its own Trigger only', async () => {
  const count = 400;
  subscriber.on('/isolation/hanging', HANG);
  const answers = await Promise.all(
    Array.from({ length: count }, (_, index) =>
      send(`${program.url}/isolation/main`, { id: `iso-${String(index)}`, type: 't' }),
    ),
  );
  expect(answers.filter(({ status }) => status !== 202)).toEqual([]);
  await arrived('/isolation/healthy', count);
  expect(await program.metric('knear_lag', { egress: 'trigger:hanging.isolation' })).toBe(count);
  expect(subscriber.at('/isolation/hanging').length).toBeLessThan(count);
});

test('nothing of this was a fault of the program', () => {
  expect(program.complaints).toEqual([]);
});
