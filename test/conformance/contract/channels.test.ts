/** Channels of all kinds, with their Subscriptions. Rows C-CHANNEL of docs/conformance.md. */
import { channel, subscription, type ChannelKind, type Manifest } from '../../e2e/manifests.ts';
import { describeRows, type Row } from './rows.ts';
import { dead, TO_CHANNEL } from './scenes.ts';

const KINDS: readonly ChannelKind[] = ['KnearChannel', 'InMemoryChannel', 'Channel'];

const REF = { apiVersion: 'messaging.knear.dev/v1', kind: 'KnearChannel', name: 'main' };

/** A Subscription of the channel `main` with this spec. */
function subscribing(spec: object): Manifest {
  return {
    apiVersion: 'messaging.knative.dev/v1',
    kind: 'Subscription',
    metadata: { name: 'all' },
    spec: { channel: REF, ...spec },
  };
}

const ROWS: readonly Row[] = [
  ...KINDS.flatMap((kind): Row[] => [
    {
      id: 'C-CHANNEL-01',
      name: `a ${kind} takes events at its path`,
      resources: ({ url }) => [
        channel('main', { kind }),
        subscription('all', { channel: 'main', channelKind: kind, subscriber: url('sub') }),
      ],
      events: [{ to: TO_CHANNEL }],
      calls: { sub: 1 },
    },
    {
      id: 'C-CHANNEL-02',
      name: `a ${kind} takes events at its host name, whatever the path`,
      resources: ({ url }) => [
        channel('main', { kind }),
        subscription('all', { channel: 'main', channelKind: kind, subscriber: url('sub') }),
      ],
      events: [
        {
          to: 'any/path/at/all',
          host: (namespace) => `main-kn-channel.${namespace}.svc.cluster.local`,
        },
      ],
      calls: { sub: 1 },
    },
  ]),
  {
    id: 'C-CHANNEL-03',
    name: 'an event for nobody is taken',
    resources: () => [channel('main')],
    events: [{ to: TO_CHANNEL }],
    calls: {},
  },
  {
    id: 'C-CHANNEL-04',
    name: 'each Subscription gets each event, those with the same subscriber as well',
    resources: ({ url }) => [
      channel('main'),
      ...['a', 'b', 'c'].map((name) =>
        subscription(name, { channel: 'main', subscriber: url(name === 'c' ? 'other' : 'sub') }),
      ),
    ],
    events: [{ to: TO_CHANNEL }, { to: TO_CHANNEL }],
    calls: { sub: 4, other: 2 },
  },
  {
    id: 'C-CHANNEL-05',
    name: 'the producer is answered although a subscriber fails',
    resources: (place) => [
      channel('main', { kind: 'InMemoryChannel' }),
      subscription('all', {
        channel: 'main',
        channelKind: 'InMemoryChannel',
        subscriber: place.url('sub'),
        delivery: { retry: 0, ...dead(place) },
      }),
    ],
    answers: { sub: { status: 500, afterMs: 100 }, dead: { status: 500 } },
    events: [{ to: TO_CHANNEL }],
    calls: { sub: 1, dead: 1 },
  },
  {
    id: 'C-CHANNEL-06',
    name: "InMemoryChannel's annotation for asynchronous delivery does no harm",
    resources: ({ url }) => [
      channel('main', {
        kind: 'InMemoryChannel',
        annotations: { 'messaging.knative.dev/async-handler': 'true' },
      }),
      subscription('all', {
        channel: 'main',
        channelKind: 'InMemoryChannel',
        subscriber: url('sub'),
      }),
    ],
    events: [{ to: TO_CHANNEL }],
    calls: { sub: 1 },
    statuses: { 'InMemoryChannel/main': { isReady: true } },
  },
  {
    id: 'C-CHANNEL-07',
    name: 'a generic Channel and the channel behind it are one, and its status names it',
    resources: ({ url }) => [
      {
        ...channel('main', { kind: 'Channel' }),
        spec: {
          channelTemplate: { apiVersion: 'messaging.knative.dev/v1', kind: 'InMemoryChannel' },
        },
      },
      channel('main', { kind: 'InMemoryChannel' }),
      subscription('a', { channel: 'main', channelKind: 'Channel', subscriber: url('a') }),
      subscription('b', { channel: 'main', channelKind: 'InMemoryChannel', subscriber: url('b') }),
    ],
    events: [{ to: TO_CHANNEL }],
    calls: { a: 1, b: 1 },
    statuses: {
      'Channel/main': {
        isReady: true,
        fields: { channel: { kind: 'InMemoryChannel', name: 'main' } },
      },
    },
  },
  {
    id: 'C-CHANNEL-08',
    name: 'subscribers in the spec of a channel are not called',
    resources: ({ url }) => [
      {
        ...channel('main'),
        spec: { subscribers: [{ uid: 'u', generation: 1, subscriberUri: url('not') }] },
      },
      subscribing({ subscriber: { uri: url('sub') } }),
    ],
    events: [{ to: TO_CHANNEL }],
    calls: { sub: 1 },
  },
  {
    id: 'C-CHANNEL-09',
    name: 'and are refused on a generic Channel',
    resources: ({ url }) => [
      {
        ...channel('main', { kind: 'Channel' }),
        spec: { subscribers: [{ uid: 'u', generation: 1, subscriberUri: url('not') }] },
      },
    ],
    statuses: { 'Channel/main': { isReady: false, reason: 'ManifestInvalid' } },
  },
  {
    id: 'C-CHANNEL-10',
    name: 'a Subscription without a subscriber is refused',
    resources: ({ url }) => [channel('main'), subscribing({ reply: { uri: url('reply') } })],
    statuses: {
      'Subscription/all': { isReady: false, reason: 'ManifestInvalid', message: /subscriber/ },
    },
  },
  {
    id: 'C-CHANNEL-11',
    name: 'an empty reply is none',
    resources: ({ url }) => [
      channel('main'),
      subscribing({ subscriber: { uri: url('sub') }, reply: {} }),
    ],
    events: [{ to: TO_CHANNEL }],
    calls: { sub: 1 },
    statuses: { 'Subscription/all': { isReady: true } },
  },
  {
    id: 'C-CHANNEL-12',
    name: 'the channel of a Subscription is in its own namespace',
    resources: ({ url, namespace }) => [
      channel('main'),
      subscribing({
        channel: { ...REF, namespace: `${namespace}-b` },
        subscriber: { uri: url('sub') },
      }),
    ],
    statuses: {
      'Subscription/all': { isReady: false, reason: 'ManifestInvalid', message: /namespace/ },
    },
  },
];

describeRows('channels', ROWS);
