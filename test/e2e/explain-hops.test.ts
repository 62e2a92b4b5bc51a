/**
 * Goal: who asks `knear explain` can follow an event through a chain of local hops, and sees why another one took the log; the
 * numbers and the spans say the same. Method: the real program, with a collector, calls real subscribers.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { openCollector, type Collector } from './collector.ts';
import { eventually } from './eventually.ts';
import { broker, endpointSlice, serviceRef, trigger, yamlOf, type Manifest } from './manifests.ts';
import { binary, send } from './producer.ts';
import { ENTRY, type Program } from './program.ts';
import { openStage } from './stage.ts';
import type { Subscriber } from './subscriber.ts';

/** However slow this machine is, a chain goes on. */
const annotations = { 'knear.dev/local-hop': 'chain', 'knear.dev/redo-max': 'PT1H' };

const stage = openStage();
let collector: Collector;
let program: Program;
let subscriber: Subscriber;

beforeAll(async () => {
  subscriber = await stage.subscriber();
  collector = await openCollector();
  const flags = ['--node', 'worker-1', '--tracing-endpoint', collector.url];
  program = await stage.start(resources(), { flags });
  for (const step of ['one', 'two', 'four']) {
    subscriber.on(`/${step}`, ({ id }) => ({
      status: 200,
      headers: binary({ id: `${id}-${step}`, type: 'checked' }),
      body: 'checked',
    }));
  }
});

afterAll(async () => {
  await stage.close();
  await collector.close();
});

function resources(): string {
  const { url, port } = subscriber;
  const api = { kind: 'KnearChannel', apiVersion: 'messaging.knear.dev/v1' };
  const sequence: Manifest = {
    apiVersion: 'flows.knative.dev/v1',
    kind: 'Sequence',
    metadata: { name: 'line', namespace: 'default', annotations },
    spec: {
      channelTemplate: api,
      steps: [{ uri: `${url}/one` }, serviceRef('steps', '/two'), { uri: `${url}/three` }],
    },
  };
  const service: Manifest = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'steps', namespace: 'default' },
    spec: { ports: [{ name: 'http', port: 80 }] },
  };
  const slice = {
    ...endpointSlice('steps-1', { namespace: 'default', service: 'steps', port }),
    endpoints: [{ addresses: ['127.0.0.1'], nodeName: 'worker-1', conditions: { ready: true } }],
  };
  return yamlOf(
    sequence,
    service,
    slice,
    broker('main', { annotations }),
    trigger('asks', { filter: { type: 'question' }, subscriber: `${url}/four` }),
    trigger('reads', { filter: { type: 'checked' }, subscriber: `${url}/in` }),
    trigger('keeps', { filter: { type: 'checked' }, subscriber: `${url}/in` }),
  );
}

/** Lines, unwrapped, without what differs from run to run: times, ports. */
async function explained(id: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[ENTRY, 'explain', id, '--admin-url', program.adminUrl],
  ]);
  const lines = stdout
    .replace(/\n {17}(?=\S)/g, ' ')
    .replaceAll(subscriber.url, 'http://s')
    .replaceAll(program.url, 'http://knear')
    .replaceAll(`127.0.0.1:${subscriber.port}`, 'ENDPOINT')
    .split('\n')
    .map((line) => line.replace(/^ *\+[\d.]+ (ms|s) {2}/, '').trim())
    .map((line) => line.replace(/[\d.]+ (ms|s)$/, '<time>'))
    .filter((line) => line !== '');
  return lines.slice(lines.findIndex((line) => /^(broker|channel) /.test(line)));
}

test('three steps of a Sequence are followed from answer to answer', async () => {
  await send(`${program.url}/default/channels/line-kn-sequence-0`, { id: 'o', type: 'order' }, '');
  await eventually('the last step', () => subscriber.at('/three').length > 0);
  await program.idle();
  expect(await explained('o')).toEqual([
    'channel default/line-kn-sequence-0',
    'came in',
    'its producer was answered 202, after <time>',
    'subscription default/line-kn-sequence-0: delivered',
    'attempt 1: http://s/one: answered 200, took <time>',
    'replied with event o-one from /e2e, type checked, to http://knear/default/channels/line-kn-sequence-1',
    'without the log, to subscription default/line-kn-sequence-1',
    'payload inline, 7 B',
    'delivered',
  ]);
  expect(await explained('o-one')).toEqual([
    'channel default/line-kn-sequence-1',
    'came in as the reply of subscription default/line-kn-sequence-0 to event o from /e2e',
    'without the log, to subscription default/line-kn-sequence-1',
    'payload inline, 7 B',
    'subscription default/line-kn-sequence-1: delivered',
    'attempt 1, over 1 local hop: http://steps.default.svc.cluster.local/two: answered 200, took <time>',
    'at ENDPOINT on the same node: the nearest',
    'replied with event o-one-two from /e2e, type checked, to http://knear/default/channels/line-kn-sequence-2',
    'without the log, to subscription default/line-kn-sequence-2',
    'payload inline, 7 B',
    'delivered',
  ]);
  expect(await explained('o-one-two')).toEqual([
    'channel default/line-kn-sequence-2',
    'came in as the reply of subscription default/line-kn-sequence-1 to event o-one from /e2e',
    'without the log, to subscription default/line-kn-sequence-2',
    'payload inline, 7 B',
    'subscription default/line-kn-sequence-2: delivered',
    'attempt 1, over 2 local hops: http://s/three: answered 202, took <time>',
    'delivered',
  ]);
});

test('an answer that two Triggers want took the log, and that is said', async () => {
  await send(`${program.url}/default/main`, { id: 'q', type: 'question' }, '');
  await eventually('both', () => subscriber.at('/in').length === 2);
  await program.idle();
  const reason = 'through the log: 2 Triggers want it';
  expect(await explained('q')).toEqual(expect.arrayContaining([reason]));
  const lines = await explained('q-four');
  expect(lines.slice(0, 3)).toEqual([
    'broker default/main',
    'came in as the reply of trigger default/asks to event q from /e2e',
    reason,
  ]);
  expect(lines).toContain('attempt 1: http://s/in: answered 202, took <time>');
});

test('the metrics say the same', async () => {
  const total = (name: string, labels: Record<string, string>) => program.metric(name, labels);
  expect(await total('knear_local_hops_total', { result: 'taken' })).toBe(2);
  expect(await total('knear_local_hops_total', { result: 'fan-out' })).toBe(1);
  const nearest = { egress: 'subscription:line-kn-sequence-1.default', reason: 'nearest' };
  expect(await total('knear_routes_total', { ...nearest, nearness: 'node' })).toBe(1);
  expect(await total('knear_routes_total', { reason: 'url', nearness: 'none' })).toBe(5);
  expect(await total('knear_delivered_bytes_total', { nearness: 'node' })).toBe(7);
  expect(await total('knear_delivered_bytes_total', { nearness: 'none' })).toBe(3 * 7);
});

test('and so do the spans', async () => {
  // Two at the door, three handed over, six attempts.
  const spans = await collector.collected(11);
  const told = spans
    .filter(({ kind }) => kind !== 'SERVER')
    .map(({ name, attributes }) => {
      const own = Object.entries(attributes).filter(([key]) =>
        /^(knear\.(hop|route)|network)/.test(key),
      );
      return [name, Object.fromEntries(own)];
    });
  const url = { 'knear.route.reason': 'url' };
  const hop = { 'knear.hop.route': 'local-hop' };
  expect(told).toHaveLength(9);
  expect(told).toEqual(
    expect.arrayContaining([
      ['subscription:line-kn-sequence-0.default', { 'knear.hops': 0, ...url }],
      ['channel:line-kn-sequence-1.default', { 'knear.hops': 0, ...hop }],
      [
        'subscription:line-kn-sequence-1.default',
        {
          'knear.hops': 1,
          'knear.route.reason': 'nearest',
          'knear.route.nearness': 'node',
          'network.peer.address': '127.0.0.1',
          'network.peer.port': subscriber.port,
        },
      ],
      ['channel:line-kn-sequence-2.default', { 'knear.hops': 1, ...hop }],
      ['subscription:line-kn-sequence-2.default', { 'knear.hops': 2, ...url }],
      ['trigger:asks.default', { 'knear.hops': 0, ...url }],
      [
        'broker:main.default',
        { 'knear.hops': 0, 'knear.hop.route': 'log', 'knear.hop.refusal': 'fan-out' },
      ],
      ['trigger:reads.default', { 'knear.hops': 0, ...url }],
      ['trigger:keeps.default', { 'knear.hops': 0, ...url }],
    ]),
  );
});

test('nothing of this was a fault of the program', () => {
  expect(program.complaints).toEqual([]);
});
