/**
 * What producers meet: methods, addresses, what counts as an event, and what they are answered. Each row is one request to
 * the real program over a connection of its own. Rows C-DOOR of docs/conformance.md.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { OutgoingHttpHeaders } from 'node:http';
import { broker, channel, subscription, trigger, yamlOf } from '../../e2e/manifests.ts';
import { engineOfTests } from '../../e2e/engine.ts';
import { eventually } from '../../e2e/eventually.ts';
import type { Program } from '../../e2e/program.ts';
import { openStage } from '../../e2e/stage.ts';
import type { Subscriber } from '../../e2e/subscriber.ts';
import { send, type Sent } from '../../http/clients.ts';

interface Row {
  readonly id: string;
  readonly name: string;
  /** To both doors where no path is said. */
  readonly sends: Sent;
  readonly status: number;
  readonly headers?: object;
  /** How many events come of it: one of a 202, none otherwise, unless said. */
  readonly events?: number;
}

const DOORS = [
  { of: 'a Broker', path: '/shop/main' },
  { of: 'a channel', path: '/shop/channels/main' },
] as const;

const ATTRIBUTES = { specversion: '1.0', id: 'e1', source: '/shop', type: 'order' };

/** Headers of an event in binary mode with these changes; `undefined`: left out. */
function event(changes: Readonly<Record<string, string | undefined>> = {}): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries({ ...ATTRIBUTES, ...changes })) {
    if (value !== undefined) headers[`ce-${name}`] = value;
  }
  return { 'content-type': 'application/json', ...headers };
}

function structured(body: object | string): Sent {
  return {
    headers: { 'content-type': 'application/cloudevents+json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  };
}

function batch(events: readonly object[]): Sent {
  return {
    headers: { 'content-type': 'application/cloudevents-batch+json' },
    body: JSON.stringify(events),
  };
}

const EVENTS: readonly Row[] = [
  { id: 'C-DOOR-01', name: 'an event is taken', sends: { headers: event() }, status: 202 },
  {
    id: 'C-DOOR-02',
    name: 'so is one in structured mode',
    sends: structured({ ...ATTRIBUTES, data: { a: 1 } }),
    status: 202,
  },
  ...['application/vnd.apache.thrift.binary', 'application/xml', 'application/json'].map(
    (type) => ({
      id: 'C-DOOR-03',
      name: `data may be ${type}`,
      sends: { headers: { ...event(), 'content-type': type }, body: '{}' },
      status: 202,
    }),
  ),
  {
    id: 'C-DOOR-04',
    name: 'version 0.3 is taken in binary mode',
    sends: { headers: event({ specversion: '0.3' }) },
    status: 202,
  },
  {
    id: 'C-DOOR-04',
    name: 'version 0.3 is taken in structured mode',
    sends: structured({ ...ATTRIBUTES, specversion: '0.3', data: { a: 1 } }),
    status: 202,
  },
  ...['19.0', '9000.1', '10.0', '0.2', '2'].map((specversion) => ({
    id: 'C-DOOR-05',
    name: `version ${specversion} is not`,
    sends: { headers: event({ specversion }), body: '{}' },
    status: 400,
  })),
  ...['specversion', 'id', 'source', 'type'].flatMap((name) => [
    {
      id: 'C-DOOR-06',
      name: `an event without ${name} is none, in binary mode`,
      sends: { headers: event({ [name]: undefined }), body: '{}' },
      status: 400,
    },
    {
      id: 'C-DOOR-06',
      name: `an event without ${name} is none, in structured mode`,
      sends: structured({ ...ATTRIBUTES, [name]: undefined }),
      status: 400,
    },
  ]),
  ...[
    { name: 'no JSON', body: ';la}{kjsdf' },
    { name: 'half an object', body: '{"specversion":"1.0"' },
    { name: 'a list', body: '[]' },
    { name: 'nothing', body: '' },
  ].map(({ name, body }) => ({
    id: 'C-DOOR-07',
    name: `a structured event that is ${name} is none`,
    sends: structured(body),
    status: 400,
  })),
  {
    id: 'C-DOOR-07',
    name: 'a request without any sign of an event is none',
    sends: { headers: { 'content-type': 'application/json' }, body: '{"a":1}' },
    status: 400,
  },
  ...[
    { id: ' ' },
    { type: ' ' },
    { source: ' ' },
    { source: 'http://[' },
    { subject: ' ' },
    { time: 'yesterday' },
    { dataschema: '/relative' },
  ].map((changes) => ({
    id: 'C-DOOR-08',
    name: `an attribute that breaks its rule is refused: ${JSON.stringify(changes)}`,
    sends: { headers: event(changes) },
    status: 400,
  })),
  {
    id: 'C-DOOR-08',
    name: 'so is a content type that is none',
    sends: { headers: { ...event(), 'content-type': 'not a type' } },
    status: 400,
  },
  {
    id: 'C-DOOR-09',
    name: 'a batch is taken',
    sends: batch([ATTRIBUTES, { ...ATTRIBUTES, id: 'e2' }]),
    status: 202,
    events: 2,
  },
  {
    id: 'C-DOOR-09',
    name: 'all of it or nothing',
    sends: batch([ATTRIBUTES, { ...ATTRIBUTES, id: undefined }]),
    status: 400,
  },
  {
    id: 'C-DOOR-21',
    name: 'data over eventMax is refused',
    sends: { headers: event(), body: Buffer.alloc(1024 * 1024 + 1) },
    status: 413,
  },
  {
    id: 'C-DOOR-21',
    name: 'data of just that size is taken',
    sends: { headers: event(), body: Buffer.alloc(1024 * 1024) },
    status: 202,
  },
  {
    id: 'C-DOOR-23',
    name: 'a compressed body is refused, since its type would no longer be true',
    sends: { headers: { ...event(), 'content-encoding': 'gzip' }, body: 'x' },
    status: 415,
    headers: { 'accept-encoding': 'identity' },
  },
];

const REQUESTS: readonly Row[] = [
  ...['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE'].map((method) => ({
    id: 'C-DOOR-10',
    name: `${method} is not served`,
    sends: { method, headers: event() },
    status: 405,
  })),
  ...['/shop/main', '/shop/channels/main', '/shop/nobody', '/'].map((path) => ({
    id: 'C-DOOR-11',
    name: `OPTIONS is answered at ${path}`,
    sends: { method: 'OPTIONS', path },
    status: 200,
    headers: {
      allow: 'POST, OPTIONS',
      'webhook-allowed-origin': '*',
      'webhook-allowed-rate': '*',
    },
  })),
  {
    id: 'C-DOOR-13',
    name: 'the root is no address',
    sends: { path: '/', headers: event() },
    status: 404,
  },
  ...['/shop', '/shop/main/more', '/shop//main', '/shop/channels/main/more'].map((path) => ({
    id: 'C-DOOR-14',
    name: `${path} cannot be one`,
    sends: { path, headers: event() },
    status: 400,
  })),
  ...['/shop/nobody', '/nowhere/main'].map((path) => ({
    id: 'C-DOOR-15',
    name: `there is no Broker at ${path}`,
    sends: { path, headers: event() },
    status: 404,
  })),
  ...[
    { path: '/shop/channels/nobody' },
    { path: '/', host: 'nobody-kn-channel.shop.svc.cluster.local' },
  ].map(({ path, host }) => ({
    id: 'C-DOOR-16',
    name: `there is no channel at ${host ?? path}`,
    sends: { path, headers: { ...event(), ...(host && { host }) } },
    status: 404,
  })),
  ...['/shop/main/', '/shop/channels/main/'].map((path) => ({
    id: 'C-DOOR-17',
    name: `the slash at the end of ${path} is overlooked`,
    sends: { path, headers: event() },
    status: 202,
  })),
  {
    id: 'C-DOOR-18',
    name: 'what is no event is that even where nobody is',
    sends: { path: '/shop/nobody', headers: event({ id: undefined }) },
    status: 400,
  },
  ...['/', '/healthz', '/shop/main'].map((path) => ({
    id: 'C-DOOR-19',
    name: `a probe of the kubelet finds ${path} healthy`,
    sends: { method: 'GET', path, headers: { 'user-agent': 'kube-probe/1.34' } },
    status: 200,
  })),
  {
    id: 'C-DOOR-19',
    name: "a probe of Knative's networking gets its hash back",
    sends: { method: 'GET', headers: { 'k-network-probe': 'probe', 'k-network-hash': 'h' } },
    status: 200,
    headers: { 'k-network-hash': 'h' },
  },
];

/** The smallest that there is. */
const QUOTA_BYTES = 4 * 1024 * 1024;
/** Less than what is kept beside the log, which counts as a ticket only. */
const HELD_BYTES = 250_000;

const stage = openStage();
let program: Program;
let subscriber: Subscriber;

beforeAll(async () => {
  subscriber = await stage.subscriber();
  const shop = { namespace: 'shop' };
  program = await stage.start(
    yamlOf(
      broker('main', shop),
      trigger('main', { ...shop, subscriber: `${subscriber.url}/seen` }),
      channel('main', shop),
      subscription('main', { ...shop, channel: 'main', subscriber: `${subscriber.url}/seen` }),
      broker('held', shop),
      trigger('held', {
        ...shop,
        broker: 'held',
        annotations: { 'knear.dev/paused': 'true' },
        subscriber: `${subscriber.url}/held`,
      }),
    ),
    { flags: [...engineOfTests().quotaFlags(QUOTA_BYTES), '--event-max', '1Mi'] },
  );
});

afterAll(() => stage.close());

async function request(sends: Sent) {
  return send(Number(new URL(program.url).port), sends);
}

async function check({ sends, status, headers = {}, events }: Row): Promise<void> {
  const before = subscriber.received.length;
  const answer = await request(sends);
  expect(answer.status).toBe(status);
  // C-DOOR-12
  expect(answer.headers).toMatchObject({ allow: 'POST, OPTIONS', ...headers });
  const count = events ?? (status === 202 ? 1 : 0);
  await eventually('the events', () => subscriber.received.length >= before + count);
  expect(subscriber.received).toHaveLength(before + count);
  if (status === 202) expect(answer.body).toBe('');
  else if (status >= 400 && sends.method !== 'HEAD') {
    expect(answer.headers['content-type']).toBe('application/problem+json');
  }
}

describe.each(DOORS)('at $of', ({ path }) => {
  test.each(EVENTS)('$id: $name', (row) => check({ ...row, sends: { path, ...row.sends } }));
});

test.each(REQUESTS)('$id: $name', (row) =>
  check({ ...row, sends: { path: '/shop/main', ...row.sends } }),
);

test.each([
  { id: 'C-DOOR-12', name: 'a 202', sends: { path: '/shop/main', headers: event() } },
  { id: 'C-DOOR-12', name: 'a 400', sends: { path: '/shop/main' } },
  { id: 'C-DOOR-12', name: 'a 404', sends: { path: '/', headers: event() } },
  { id: 'C-DOOR-12', name: 'a 405', sends: { path: '/shop/main', method: 'PUT' } },
])('$id: $name names the methods that are served', async ({ sends }) => {
  expect((await request(sends)).headers.allow).toBe('POST, OPTIONS');
});

test('C-DOOR-20: the same source and id twice are two events', async () => {
  const before = subscriber.at('/seen').length;
  for (const path of ['/shop/main', '/shop/main']) await request({ path, headers: event() });
  await eventually('both', () => subscriber.at('/seen').length === before + 2);
});

test('C-DOOR-22: a Broker that can keep no more says when to come back', async () => {
  const held = { path: '/shop/held', headers: event(), body: Buffer.alloc(HELD_BYTES) };
  const statuses = [];
  let refused;
  while (!refused && statuses.length < 20) {
    const answer = await request(held);
    statuses.push(answer.status);
    if (answer.status !== 202) refused = answer;
  }
  expect(refused?.status).toBe(503);
  expect(refused?.headers['retry-after']).toMatch(/^\d+$/);
  // Others are not concerned.
  expect((await request({ path: '/shop/main', headers: event() })).status).toBe(202);
});

test('nothing of this was a fault of the program', () => {
  expect(program.complaints).toEqual([]);
});
