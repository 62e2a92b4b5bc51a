/**
 * What each resource is told about itself, as `kubectl get -o yaml` would show it, and what resources are refused for. Rows
 * C-STATUS of docs/conformance.md.
 */
import { expect } from '@jest/globals';
import {
  broker,
  channel,
  service,
  serviceRef,
  subscription,
  trigger,
  type ChannelKind,
  type Manifest,
} from '../../e2e/manifests.ts';
import { describeRows, statusOf, type Row } from './rows.ts';

const SINK = { ref: { apiVersion: 'v1', kind: 'Service', name: 'sink' } };
const NOWHERE = { ref: { apiVersion: 'v1', kind: 'Service', name: 'gone' } };

/** The same resource with more beside its own metadata. */
function withMetadata(manifest: Manifest, more: object): Manifest {
  return { ...manifest, metadata: { ...manifest.metadata, ...more } };
}

const SOURCE = { apiVersion: 'sources.knative.dev/v1', kind: 'PingSource' };

function dependent(name: string, reference: object, url: string): Manifest {
  return trigger(name, {
    annotations: { 'knative.dev/dependency': JSON.stringify(reference) },
    subscriber: url,
  });
}

/** A Broker, and the ConfigMap of its name. */
function configured(name: string, data: Readonly<Record<string, string>>): Manifest[] {
  return [
    { ...broker(name), spec: { config: { apiVersion: 'v1', kind: 'ConfigMap', name } } },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data },
  ];
}

const ROWS: readonly Row[] = [
  {
    id: 'C-STATUS-01',
    name: 'a Broker has the conditions of its kind, and an address',
    resources: () => [broker('main')],
    statuses: {
      'Broker/main': {
        isReady: true,
        conditions: {
          Ready: 'True',
          Addressable: 'True',
          IngressReady: 'True',
          FilterReady: 'True',
          TriggerChannelReady: 'True',
          DeadLetterSinkResolved: 'True',
          EventPoliciesReady: 'True',
        },
        fields: ({ door }) => ({ address: { name: 'http', url: door('main') } }),
      },
    },
  },
  {
    id: 'C-STATUS-02',
    name: 'a Trigger has the conditions of its kind, and the address of its subscriber',
    resources: ({ url }) => [broker('main'), trigger('all', { subscriber: url('sub') })],
    statuses: {
      'Trigger/all': {
        isReady: true,
        conditions: {
          Ready: 'True',
          BrokerReady: 'True',
          SubscriptionReady: 'True',
          DependencyReady: 'True',
          SubscriberResolved: 'True',
          DeadLetterSinkResolved: 'True',
          OIDCIdentityCreated: 'True',
        },
        fields: ({ url }) => ({ subscriberUri: url('sub') }),
      },
    },
  },
  {
    id: 'C-STATUS-03',
    name: 'a Subscription has the conditions of its kind, and all of its addresses',
    resources: ({ url }) => [
      channel('main'),
      service('sink'),
      subscription('all', {
        channel: 'main',
        subscriber: url('sub'),
        reply: url('reply'),
        delivery: { deadLetterSink: SINK },
      }),
    ],
    statuses: {
      'Subscription/all': {
        isReady: true,
        conditions: {
          Ready: 'True',
          ReferencesResolved: 'True',
          AddedToChannel: 'True',
          ChannelReady: 'True',
          OIDCIdentityCreated: 'True',
        },
        fields: ({ url, namespace }) => ({
          physicalSubscription: {
            subscriberUri: url('sub'),
            replyUri: url('reply'),
            deadLetterSinkUri: expect.stringContaining(`http://sink.${namespace}.svc`),
          },
        }),
      },
    },
  },
  ...(
    [
      ['Channel', ['BackingChannelReady']],
      [
        'InMemoryChannel',
        ['DispatcherReady', 'ServiceReady', 'EndpointsReady', 'ChannelServiceReady'],
      ],
      ['KnearChannel', ['DispatcherReady']],
    ] as const satisfies readonly (readonly [ChannelKind, readonly string[]])[]
  ).map(([kind, own]): Row => ({
    id: 'C-STATUS-04',
    name: `a ${kind} has the conditions of its kind, an address, and its subscribers`,
    resources: ({ url }) => [
      channel('main', { kind }),
      withMetadata(
        subscription('all', { channel: 'main', channelKind: kind, subscriber: url('sub') }),
        { uid: 'u-1', generation: 3 },
      ),
    ],
    statuses: {
      [`${kind}/main`]: {
        isReady: true,
        conditions: Object.fromEntries(
          ['Ready', 'Addressable', 'DeadLetterSinkResolved', 'EventPoliciesReady', ...own].map(
            (type) => [type, 'True'],
          ),
        ),
        fields: ({ door }) => ({
          address: { name: 'http', url: door('channels/main') },
          subscribers: [{ uid: 'u-1', observedGeneration: 3, ready: 'True' }],
        }),
      },
    },
  })),
  {
    id: 'C-STATUS-05',
    name: 'a status says which generation it is about',
    resources: ({ url }) => [
      withMetadata(broker('main'), { generation: 5 }),
      trigger('all', { subscriber: url('sub') }),
    ],
    statuses: {
      'Broker/main': { fields: { observedGeneration: 5 } },
      'Trigger/all': { fields: { observedGeneration: 1 } },
    },
    check: async (seen) => {
      const { object } = await statusOf(seen, 'Broker/main');
      expect(object?.metadata.generation).toBe(object?.status.observedGeneration);
    },
  },
  {
    id: 'C-STATUS-06',
    name: 'a Trigger without its Broker is not ready',
    resources: ({ url }) => [trigger('all', { broker: 'gone', subscriber: url('sub') })],
    statuses: {
      'Trigger/all': {
        isReady: false,
        conditions: {
          Ready: 'False BrokerDoesNotExist',
          BrokerReady: 'False BrokerDoesNotExist',
        },
      },
    },
  },
  {
    id: 'C-STATUS-07',
    name: 'nor is one whose Broker is not',
    resources: ({ url }) => [
      broker('main', { delivery: { deadLetterSink: NOWHERE } }),
      trigger('all', { subscriber: url('sub') }),
    ],
    statuses: {
      'Broker/main': {
        isReady: false,
        conditions: { DeadLetterSinkResolved: expect.stringMatching(/^False/) },
        without: ['deadLetterSinkUri'],
      },
      'Trigger/all': {
        isReady: false,
        conditions: { BrokerReady: expect.stringMatching(/^False/) },
      },
    },
  },
  {
    id: 'C-STATUS-08',
    name: 'a Subscription without its channel is not ready',
    resources: ({ url }) => [subscription('all', { channel: 'gone', subscriber: url('sub') })],
    statuses: {
      'Subscription/all': {
        isReady: false,
        conditions: {
          Ready: expect.stringMatching(/^(False|Unknown) ChannelReferenceFailed$/),
          ReferencesResolved: expect.stringMatching(/ChannelReferenceFailed$/),
        },
      },
    },
  },
  ...(['subscriber', 'reply', 'deadLetterSink'] as const).map((field): Row => {
    const reasons = {
      subscriber: 'SubscriberResolveFailed',
      reply: 'ReplyResolveFailed',
      deadLetterSink: 'DeadLetterSinkResolveFailed',
    };
    return {
      id: 'C-STATUS-09',
      name: `a Subscription whose ${field} leads nowhere says which`,
      resources: ({ url }) => [
        channel('main'),
        subscription('all', {
          channel: 'main',
          subscriber: field === 'subscriber' ? NOWHERE : url('sub'),
          ...(field === 'reply' && { reply: NOWHERE }),
          ...(field === 'deadLetterSink' && { delivery: { deadLetterSink: NOWHERE } }),
        }),
      ],
      statuses: {
        'Subscription/all': {
          isReady: false,
          conditions: { ReferencesResolved: `False ${reasons[field]}` },
        },
      },
    };
  }),
  {
    id: 'C-STATUS-10',
    name: 'where dead letters go stands at the Broker and at its Triggers',
    resources: ({ url }) => [
      service('sink'),
      broker('main', { delivery: { deadLetterSink: serviceRef('sink', '/dead') } }),
      trigger('inherits', { subscriber: url('sub') }),
      trigger('own', {
        subscriber: url('sub'),
        delivery: { deadLetterSink: { uri: 'http://own.example/' } },
      }),
    ],
    statuses: Object.fromEntries(
      ['Broker/main', 'Trigger/inherits', 'Trigger/own'].map((key) => [
        key,
        {
          isReady: true,
          conditions: { DeadLetterSinkResolved: 'True' },
          fields: ({ namespace }) => ({
            deadLetterSinkUri: key.endsWith('own')
              ? 'http://own.example/'
              : `http://sink.${namespace}.svc.cluster.local/dead`,
          }),
        },
      ]),
    ),
  },
  {
    id: 'C-STATUS-11',
    name: 'a Trigger is not ready before its dependency is there',
    resources: ({ url }) => [
      broker('main'),
      service('there'),
      dependent('all', { ...SOURCE, name: 'gone' }, url('sub')),
      dependent('good', { apiVersion: 'v1', kind: 'Service', name: 'there' }, url('sub')),
    ],
    statuses: {
      'Trigger/all': {
        isReady: false,
        conditions: { DependencyReady: 'False DependencyDoesNotExist' },
      },
      'Trigger/good': { isReady: true, conditions: { DependencyReady: 'True' } },
    },
  },
  ...[
    { name: 'no kind', reference: { apiVersion: 'v1', name: 'a' } },
    {
      name: 'another namespace',
      reference: { apiVersion: 'v1', kind: 'Service', name: 'a', namespace: 'elsewhere' },
    },
  ].map(({ name, reference }): Row => ({
    id: 'C-STATUS-12',
    name: `a dependency with ${name} is refused`,
    resources: ({ url }) => [broker('main'), dependent('all', reference, url('sub'))],
    statuses: { 'Trigger/all': { isReady: false, reason: 'ManifestInvalid' } },
  })),
  ...[
    { of: 'a Broker', key: 'Broker/x', manifest: broker('x') },
    { of: 'a Trigger', key: 'Trigger/x', manifest: trigger('x', { subscriber: 'http://a/' }) },
    { of: 'a channel', key: 'KnearChannel/x', manifest: channel('x') },
  ].map(({ of, key, manifest }): Row => ({
    id: 'C-STATUS-13',
    name: `a field that ${of} does not have is refused`,
    resources: () => [{ ...manifest, spec: { ...Object(manifest['spec']), retries: 3 } }],
    statuses: { [key]: { isReady: false, reason: 'ManifestInvalid', message: /retries/ } },
  })),
  ...[
    { name: 'a negative retry', delivery: { retry: -1 } },
    { name: 'a timeout of nothing', delivery: { timeout: 'PT0S' } },
    { name: 'a delay that is none', delivery: { backoffDelay: 'soon' } },
    { name: 'a policy that is none', delivery: { backoffPolicy: 'never' } },
    { name: 'a format that is none', delivery: { format: 'xml' } },
  ].map(({ name, delivery }): Row => ({
    id: 'C-STATUS-14',
    name: `${name} is refused`,
    resources: () => [broker('main', { delivery })],
    statuses: { 'Broker/main': { isReady: false, reason: 'ManifestInvalid' } },
  })),
  ...['MTChannelBasedBroker', 'Kafka', 'Knear'].map((brokerClass): Row => ({
    id: 'C-STATUS-15',
    name: `a Broker of the class ${brokerClass} is served`,
    resources: ({ url }) => [
      broker('main', { annotations: { 'eventing.knative.dev/broker.class': brokerClass } }),
      trigger('all', { subscriber: url('sub') }),
    ],
    events: [{}],
    calls: { sub: 1 },
    statuses: { 'Broker/main': { isReady: true } },
  })),
  {
    id: 'C-STATUS-16',
    name: 'a Broker is shown as it is written, without the retries that it has',
    resources: () => [broker('main')],
    check: async (seen) => {
      expect((await statusOf(seen, 'Broker/main')).object?.spec).not.toHaveProperty('delivery');
    },
  },
  {
    id: 'C-STATUS-17',
    name: 'an annotation of ours that nobody reads is told, and no fault',
    resources: () => [broker('main', { annotations: { 'knear.dev/puased': 'true' } })],
    statuses: { 'Broker/main': { isReady: true } },
    check: async (seen) => {
      const { infos } = await statusOf(seen, 'Broker/main');
      expect(infos).toEqual([expect.stringContaining('knear.dev/paused')]);
    },
  },
  {
    id: 'C-STATUS-29',
    name: 'a config for another class of Brokers does no harm, one for knear has defaults of annotations',
    resources: ({ url }) =>
      [
        configured('other', { 'channel-template-spec': 'kind: InMemoryChannel' }),
        configured('own', { exhausted: 'drop' }),
        configured('wrong', { exhausted: 'vanish' }),
        trigger('all', { broker: 'own', subscriber: url('sub'), delivery: { retry: 0 } }),
      ].flat(),
    answers: { sub: { status: 400 } },
    events: [{ to: 'own' }],
    calls: { sub: 1 },
    statuses: {
      'Broker/other': { isReady: true },
      'Broker/own': { isReady: true },
      'Broker/wrong': { isReady: false, conditions: { ConfigParsed: 'False ConfigInvalid' } },
    },
    check: async ({ program, namespace }) => {
      const ended = { egress: `trigger:all.${namespace}`, end: 'dropped' };
      expect(await program.metric('knear_ended_total', ended)).toBe(1);
    },
  },
];

describeRows('statuses', ROWS);
