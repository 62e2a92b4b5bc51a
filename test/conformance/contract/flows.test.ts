/** Sequences and Parallels: what they are made of, and the ways of events through them. Rows C-FLOW of docs/conformance.md. */
import { expect } from '@jest/globals';
import { broker, channel, trigger, type Manifest } from '../../e2e/manifests.ts';
import { binary } from '../../e2e/producer.ts';
import type { Reply, Script } from '../../e2e/subscriber.ts';
import { describeRows, statusOf, type Place, type Row } from './rows.ts';
import { dead } from './scenes.ts';

/** A subscriber that answers with its name appended to the data and as the type. */
function step(name: string): Script {
  return ({ headers, body }) => ({
    status: 200,
    headers: binary({ id: headers['ce-id'] ?? '', type: name }),
    body: `${String(body)}>${name}`,
  });
}
const SILENT: Reply = { status: 204 };

function flow(kind: 'Sequence' | 'Parallel', spec: object): Manifest {
  return { apiVersion: 'flows.knative.dev/v1', kind, metadata: { name: 'f' }, spec };
}

/** A Sequence `f` of the steps `one`, `two` and `three`, with the reply `end` and a dead letter sink for each step. */
function sequence(place: Place): Manifest[] {
  return [
    flow('Sequence', {
      steps: ['one', 'two', 'three'].map((name) => ({
        uri: place.url(name),
        delivery: { retry: 1, ...dead(place) },
      })),
      reply: { uri: place.url('end') },
    }),
  ];
}
const TO_SEQUENCE = 'channels/f-kn-sequence-0';
const TO_PARALLEL = 'channels/f-kn-parallel';

const ROWS: readonly Row[] = [
  {
    id: 'C-FLOW-01',
    name: 'a Sequence is a channel and a Subscription for each step, with their names',
    resources: sequence,
    statuses: {
      'Sequence/f': {
        isReady: true,
        conditions: {
          Ready: 'True',
          ChannelsReady: 'True',
          SubscriptionsReady: 'True',
          Addressable: 'True',
          EventPoliciesReady: 'True',
        },
        fields: ({ door }) => ({
          address: { url: door(TO_SEQUENCE) },
          channelStatuses: [0, 1, 2].map((index) => ({
            channel: { kind: 'KnearChannel', name: `f-kn-sequence-${String(index)}` },
            ready: { type: 'Ready', status: 'True' },
          })),
          subscriptionStatuses: [0, 1, 2].map((index) => ({
            subscription: { kind: 'Subscription', name: `f-kn-sequence-${String(index)}` },
            ready: { type: 'Ready', status: 'True' },
          })),
        }),
      },
      'KnearChannel/f-kn-sequence-2': { isReady: true },
      'Subscription/f-kn-sequence-2': { isReady: true },
    },
  },
  {
    id: 'C-FLOW-02',
    name: 'each step gets what the one before answered, and the last answer goes to the reply',
    resources: sequence,
    answers: { one: step('one'), two: step('two'), three: step('three') },
    events: [{ to: TO_SEQUENCE, body: 'data' }],
    calls: { one: 1, two: 1, three: 1, end: 1 },
    arrives: { end: { headers: { 'ce-type': 'three' }, body: 'data>one>two>three' } },
  },
  {
    id: 'C-FLOW-03',
    name: 'a step that answers nothing ends it',
    resources: sequence,
    answers: { one: step('one'), two: SILENT },
    events: [{ to: TO_SEQUENCE }],
    calls: { one: 1, two: 1 },
  },
  {
    id: 'C-FLOW-04',
    name: 'a step that fails has the retries and the sink of the step',
    resources: sequence,
    answers: { one: step('one'), two: { status: 500 } },
    events: [{ to: TO_SEQUENCE, body: 'data' }],
    calls: { one: 1, two: 2, dead: 1 },
    arrives: { dead: { headers: { 'ce-knativeerrorcode': '500' }, body: 'data>one' } },
  },
  {
    id: 'C-FLOW-05',
    name: 'without a reply the last answer is dropped',
    resources: ({ url }) => [flow('Sequence', { steps: [{ uri: url('one') }] })],
    answers: { one: step('one') },
    events: [{ to: TO_SEQUENCE }],
    calls: { one: 1 },
  },
  {
    id: 'C-FLOW-06',
    name: 'a Sequence whose step leads nowhere is not ready',
    resources: () => [
      flow('Sequence', { steps: [{ ref: { apiVersion: 'v1', kind: 'Service', name: 'gone' } }] }),
    ],
    statuses: {
      'Sequence/f': {
        isReady: false,
        conditions: { SubscriptionsReady: 'Unknown SubscriptionsNotReady', ChannelsReady: 'True' },
      },
    },
  },
  {
    id: 'C-FLOW-07',
    name: 'a flow can be a subscriber by reference',
    resources: (place) => [
      ...sequence(place),
      broker('main'),
      trigger('all', {
        subscriber: { ref: { apiVersion: 'flows.knative.dev/v1', kind: 'Sequence', name: 'f' } },
      }),
    ],
    answers: { one: SILENT },
    events: [{}],
    calls: { one: 1 },
    statuses: { 'Trigger/all': { fields: ({ door }) => ({ subscriberUri: door(TO_SEQUENCE) }) } },
  },
  {
    id: 'C-FLOW-08',
    name: 'a Parallel is a channel at its entrance, and a channel and two Subscriptions for each branch',
    resources: ({ url }) => [
      flow('Parallel', {
        branches: [{ filter: { uri: url('f') }, subscriber: { uri: url('s') } }],
      }),
    ],
    statuses: {
      'Parallel/f': {
        isReady: true,
        conditions: {
          Ready: 'True',
          ChannelsReady: 'True',
          SubscriptionsReady: 'True',
          Addressable: 'True',
          EventPoliciesReady: 'True',
        },
        fields: ({ door }) => ({
          address: { url: door(TO_PARALLEL) },
          ingressChannelStatus: { channel: { name: 'f-kn-parallel' } },
          branchStatuses: [
            {
              filterSubscriptionStatus: { subscription: { name: 'f-kn-parallel-filter-0' } },
              filterChannelStatus: { channel: { name: 'f-kn-parallel-0' } },
              subscriberSubscriptionStatus: { subscription: { name: 'f-kn-parallel-0' } },
            },
          ],
        }),
      },
    },
  },
  {
    id: 'C-FLOW-09',
    name: 'a branch goes on with what its filter answers, and not without an answer',
    resources: ({ url }) => [
      flow('Parallel', {
        branches: ['a', 'b'].map((name) => ({
          filter: { uri: url(`filter-${name}`) },
          subscriber: { uri: url(name) },
        })),
      }),
    ],
    answers: { 'filter-a': step('passed'), 'filter-b': SILENT },
    events: [{ to: TO_PARALLEL, body: 'data' }],
    calls: { 'filter-a': 1, 'filter-b': 1, a: 1 },
    arrives: { a: { headers: { 'ce-type': 'passed' }, body: 'data>passed' } },
  },
  {
    id: 'C-FLOW-10',
    name: 'a branch without a filter gets everything; replies are its own, else that of the Parallel',
    resources: ({ url }) => [
      flow('Parallel', {
        branches: [
          { subscriber: { uri: url('a') }, reply: { uri: url('own') } },
          { subscriber: { uri: url('b') } },
        ],
        reply: { uri: url('common') },
      }),
    ],
    answers: { a: step('a'), b: step('b') },
    events: [{ to: TO_PARALLEL, body: 'data' }],
    calls: { a: 1, b: 1, own: 1, common: 1 },
    arrives: { own: { body: 'data>a' }, common: { body: 'data>b' } },
  },
  {
    id: 'C-FLOW-11',
    name: 'the delivery of a branch is that of its subscriber, not of its filter',
    resources: (place) => [
      flow('Parallel', {
        branches: ['a', 'b'].map((name) => ({
          filter: { uri: place.url(`filter-${name}`) },
          subscriber: { uri: place.url(name) },
          delivery: { retry: 2, ...dead(place) },
        })),
      }),
    ],
    answers: { 'filter-a': { status: 500 }, 'filter-b': step('passed'), b: { status: 500 } },
    events: [{ to: TO_PARALLEL }],
    calls: { 'filter-a': 1, 'filter-b': 1, b: 3, dead: 1 },
  },
  {
    id: 'C-FLOW-12',
    name: 'the channels are of the kind that the template says',
    resources: ({ url }) => [
      flow('Sequence', {
        channelTemplate: {
          apiVersion: 'messaging.knative.dev/v1',
          kind: 'InMemoryChannel',
          spec: { delivery: { retry: 2 } },
        },
        steps: [{ uri: url('one') }],
      }),
    ],
    answers: { one: { status: 500 } },
    events: [{ to: TO_SEQUENCE }],
    calls: { one: 3 },
    statuses: { 'InMemoryChannel/f-kn-sequence-0': { isReady: true } },
  },
  {
    id: 'C-FLOW-13',
    name: 'a kind that is not served is refused',
    resources: ({ url }) => [
      flow('Sequence', {
        channelTemplate: { apiVersion: 'messaging.knative.dev/v1beta1', kind: 'KafkaChannel' },
        steps: [{ uri: url('one') }],
      }),
    ],
    statuses: {
      'Sequence/f': { isReady: false, reason: 'ManifestInvalid', message: /KafkaChannel/ },
    },
  },
  ...[
    { kind: 'Sequence' as const, spec: { steps: [] } },
    { kind: 'Parallel' as const, spec: { branches: [] } },
  ].map(({ kind, spec }): Row => ({
    id: 'C-FLOW-14',
    name: `a ${kind} of nothing is refused`,
    resources: () => [flow(kind, spec)],
    statuses: { [`${kind}/f`]: { isReady: false, reason: 'ManifestInvalid' } },
  })),
  {
    id: 'C-FLOW-15',
    name: 'a channel of the same name that somebody else wrote stays as it is',
    resources: ({ url }) => [
      channel('f-kn-sequence-0', { delivery: { retry: 3 } }),
      flow('Sequence', { steps: [{ uri: url('one') }] }),
    ],
    statuses: { 'Sequence/f': { isReady: false } },
    check: async (seen) => {
      const { object } = await statusOf(seen, 'KnearChannel/f-kn-sequence-0');
      expect(object?.spec).toEqual({ delivery: { retry: 3 } });
    },
  },
];

describeRows('flows', ROWS);
