/**
 * Resources that come, change and go while the program runs (C-STATUS), and what a crash leaves of what was taken (C-DOOR).
 * Rows of docs/conformance.md.
 */
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually } from '../../e2e/eventually.ts';
import {
  broker,
  channel,
  subscription,
  trigger,
  yamlOf,
  type Manifest,
} from '../../e2e/manifests.ts';
import { send } from '../../e2e/producer.ts';
import { openStage } from '../../e2e/stage.ts';
import {
  describeRows,
  earlierStatusOf,
  statusOf,
  type Place,
  type Row,
  type Seen,
} from './rows.ts';
import { TO_CHANNEL } from './scenes.ts';

type Resources = Row['resources'];

/** The Brokers `main` and `other`, and a Trigger of one of them. */
const ofBroker =
  (name: string): Resources =>
  ({ url }) => [
    broker('main'),
    broker('other'),
    trigger('all', { broker: name, subscriber: url('sub') }),
  ];

function withAnnotation(key: string, value: string): Resources {
  return () => [broker('main', { annotations: { [key]: value } })];
}

function withConfig(name: string): Resources {
  return () => [
    { ...broker('main'), spec: { config: { apiVersion: 'v1', kind: 'ConfigMap', name } } },
  ];
}

/** The channels `main` and `other`, and a Subscription of one of them. */
const ofChannel =
  (name: string): Resources =>
  ({ url }) => [
    channel('main'),
    channel('other'),
    subscription('all', { channel: name, subscriber: url('sub') }),
  ];

const generic =
  (retry: number): Resources =>
  () => [channel('main', { kind: 'Channel', delivery: { retry } })];

/** A change that is refused as a whole: the resource is what it was before. */
async function expectUnchanged(seen: Seen, key: string): Promise<void> {
  const before = earlierStatusOf(seen, key);
  const after = await statusOf(seen, key);
  expect(before.isReady).toBe(true);
  expect(after.object?.spec).toEqual(before.object?.spec);
  expect(after.isReady).toBe(true);
  expect(after.infos.join()).toMatch(/cannot change/);
}

function timesOf({ object }: ReturnType<typeof earlierStatusOf>): Record<string, string> {
  const conditions = object?.status.conditions ?? [];
  return Object.fromEntries(
    conditions.map(({ type, lastTransitionTime = '' }) => [type, lastTransitionTime]),
  );
}

const ROWS: readonly Row[] = [
  {
    id: 'C-STATUS-18',
    name: 'a Trigger that is there before its Broker is ready when the Broker comes',
    resources: ({ url }) => [trigger('all', { subscriber: url('sub') })],
    events: [{ status: 404 }],
    later: {
      resources: ({ url }) => [broker('main'), trigger('all', { subscriber: url('sub') })],
      events: [{}],
    },
    calls: { sub: 1 },
    statuses: { 'Trigger/all': { isReady: true } },
    check: (seen) => {
      expect(earlierStatusOf(seen, 'Trigger/all').isReady).toBe(false);
    },
  },
  {
    id: 'C-STATUS-18',
    name: 'so is a Subscription when its channel comes',
    resources: ({ url }) => [subscription('all', { channel: 'main', subscriber: url('sub') })],
    later: {
      resources: ({ url }) => [
        channel('main'),
        subscription('all', { channel: 'main', subscriber: url('sub') }),
      ],
      events: [{ to: TO_CHANNEL }],
    },
    calls: { sub: 1 },
    statuses: { 'Subscription/all': { isReady: true } },
    check: (seen) => {
      expect(earlierStatusOf(seen, 'Subscription/all').isReady).toBe(false);
    },
  },
  {
    id: 'C-STATUS-19',
    name: 'what is ready gets every event from then on',
    resources: () => [broker('main')],
    events: [{}],
    later: {
      resources: ({ url }) => [
        broker('main'),
        ...['a', 'b', 'c'].map((name) => trigger(name, { subscriber: url(name) })),
      ],
      events: [{}, {}],
    },
    calls: { a: 2, b: 2, c: 2 },
  },
  {
    id: 'C-STATUS-20',
    name: 'a Trigger whose Broker goes is not ready',
    resources: ({ url }) => [broker('main'), trigger('all', { subscriber: url('sub') })],
    later: {
      resources: ({ url }) => [trigger('all', { subscriber: url('sub') })],
      events: [{ status: 404 }],
    },
    statuses: { 'Trigger/all': { isReady: false, reason: 'BrokerDoesNotExist' } },
  },
  {
    id: 'C-STATUS-21',
    name: 'a Trigger that is deleted gets nothing any more',
    resources: ({ url }) => [broker('main'), trigger('all', { subscriber: url('sub') })],
    events: [{}],
    later: { resources: () => [broker('main')], events: [{}] },
    calls: { sub: 1 },
  },
  ...[
    {
      of: 'the Broker of a Trigger',
      key: 'Trigger/all',
      before: ofBroker('main'),
      after: ofBroker('other'),
    },
    {
      of: 'the class of a Broker',
      key: 'Broker/main',
      before: withAnnotation('eventing.knative.dev/broker.class', 'A'),
      after: withAnnotation('eventing.knative.dev/broker.class', 'B'),
    },
    {
      of: 'the config of a Broker',
      key: 'Broker/main',
      before: withConfig('a'),
      after: withConfig('b'),
    },
    {
      of: 'the channel of a Subscription',
      key: 'Subscription/all',
      before: ofChannel('main'),
      after: ofChannel('other'),
    },
    {
      of: 'the delivery of a generic Channel',
      key: 'Channel/main',
      before: generic(1),
      after: generic(2),
    },
  ].map(({ of, key, before, after }): Row => ({
    id: 'C-STATUS-22',
    name: `${of} cannot change`,
    resources: before,
    later: { resources: after },
    check: (seen) => expectUnchanged(seen, key),
  })),
  {
    id: 'C-STATUS-23',
    name: 'subscriber, filter and delivery can',
    resources: (place) => [broker('main'), changeable(place, { filter: 'asked', path: 'old' })],
    events: [{}],
    later: {
      resources: (place) => [broker('main'), changeable(place, { filter: 'other', path: 'new' })],
      events: [{}, { attributes: { type: 'other' } }],
    },
    answers: { new: { status: 400 } },
    calls: { old: 1, new: 1, 'dead-new': 1 },
    statuses: { 'Trigger/all': { isReady: true } },
  },
  {
    id: 'C-STATUS-24',
    name: 'the generation grows with the spec, and times move with what they are about',
    resources: ({ url }) => [
      broker('main'),
      trigger('all', { subscriber: url('sub') }),
      trigger('same', { subscriber: url('sub') }),
    ],
    later: {
      resources: () => [
        broker('main'),
        trigger('all', {
          subscriber: { ref: { apiVersion: 'v1', kind: 'Service', name: 'gone' } },
        }),
        trigger('same', { subscriber: 'http://elsewhere.example/' }),
      ],
    },
    check: async (seen) => {
      const [before, after] = [
        earlierStatusOf(seen, 'Trigger/all'),
        await statusOf(seen, 'Trigger/all'),
      ];
      expect(before.object?.status.observedGeneration).toBe(1);
      expect(after.object?.status.observedGeneration).toBe(2);
      const [was, is] = [timesOf(before), timesOf(after)];
      expect(is['SubscriberResolved']).not.toBe(was['SubscriberResolved']);
      expect(is['BrokerReady']).toBe(was['BrokerReady']);
      // Ready before and after, of another generation.
      const same = await statusOf(seen, 'Trigger/same');
      expect(same.object?.status.observedGeneration).toBe(2);
      expect(timesOf(same)).toEqual(timesOf(earlierStatusOf(seen, 'Trigger/same')));
    },
  },
  {
    id: 'C-CHANNEL-13',
    name: 'the subscribers in the status of a channel are as many as there are Subscriptions',
    resources: ({ url }) => [
      channel('main'),
      ...['a', 'b'].map((name) => subscription(name, { channel: 'main', subscriber: url(name) })),
    ],
    later: {
      resources: ({ url }) => [
        channel('main'),
        subscription('a', { channel: 'main', subscriber: url('a') }),
      ],
    },
    statuses: { 'KnearChannel/main': { fields: { subscribers: [{ ready: 'True' }] } } },
    check: (seen) => {
      expect(earlierStatusOf(seen, 'KnearChannel/main').object?.status).toMatchObject({
        subscribers: [{ ready: 'True' }, { ready: 'True' }],
      });
    },
  },
  {
    id: 'C-FLOW-16',
    name: 'a step that is taken away takes its channel and Subscription along',
    resources: stepping(['one', 'two']),
    later: { resources: stepping(['one']), events: [{ to: 'channels/f-kn-sequence-0' }] },
    calls: { one: 1 },
    statuses: { 'Sequence/f': { isReady: true } },
    check: async (seen) => {
      expect(earlierStatusOf(seen, 'KnearChannel/f-kn-sequence-1').isReady).toBe(true);
      await expect(statusOf(seen, 'KnearChannel/f-kn-sequence-1')).rejects.toThrow();
    },
  },
];

/** A Trigger for one type to a path, with a sink of its name. */
function changeable(
  { url }: Place,
  { filter, path }: { readonly filter: string; readonly path: string },
): Manifest {
  return trigger('all', {
    filter: { type: filter },
    subscriber: url(path),
    delivery: { retry: 0, deadLetterSink: { uri: url(`dead-${path}`) } },
  });
}

function stepping(paths: readonly string[]): Resources {
  return ({ url }) => [
    {
      apiVersion: 'flows.knative.dev/v1',
      kind: 'Sequence',
      metadata: { name: 'f' },
      spec: { steps: paths.map((path) => ({ uri: url(path) })) },
    },
  ];
}

describeRows('changes', ROWS);

describe('one program after another', () => {
  const stage = openStage();
  afterEach(() => stage.close());

  test('C-DOOR-24, C-RETRY-27: what was answered 202 is kept while paused, and delivered after a crash', async () => {
    const subscriber = await stage.subscriber();
    const paused = { annotations: { 'knear.dev/paused': 'true' } };
    const resources = (more: object) =>
      yamlOf(
        broker('main'),
        channel('main'),
        trigger('all', { ...more, subscriber: `${subscriber.url}/trigger` }),
        subscription('all', { ...more, channel: 'main', subscriber: `${subscriber.url}/sub` }),
      );
    const program = await stage.start(resources(paused));
    for (const path of ['main', TO_CHANNEL]) {
      const { status } = await send(`${program.url}/default/${path}`, { id: path, type: 't' });
      expect(status).toBe(202);
    }
    await program.crash();
    // Nothing was delivered while they were paused.
    expect(subscriber.received).toEqual([]);

    program.write('main.yaml', resources({}));
    await program.start();
    await eventually('both events', () => subscriber.received.length === 2);
    expect(subscriber.at('/trigger').map(({ id }) => id)).toEqual(['main']);
    expect(subscriber.at('/sub').map(({ id }) => id)).toEqual([TO_CHANNEL]);
  });
});
