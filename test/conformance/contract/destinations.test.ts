/** Where events are taken: what a Destination leads to, and what one is refused for. Rows C-DEST of docs/conformance.md. */
import { expect } from '@jest/globals';
import { CERTIFICATE } from '../../controller/certificate.ts';
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
  type Manifest,
} from '../../e2e/manifests.ts';
import { describeRows, type Place, type Row } from './rows.ts';
import { dead } from './scenes.ts';

/** A reference to a Service. */
function toService(name: string, more: object = {}) {
  return { ref: { apiVersion: 'v1', kind: 'Service', name, ...more } };
}

/** A Trigger that takes everything to a Destination. */
function leading(subscriber: object, ...more: readonly Manifest[]) {
  return () => [broker('main'), trigger('all', { subscriber }), ...more];
}

/** The Service `a` with these ports. */
function serviceWith(...ports: readonly { readonly port: number }[]): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'a' },
    spec: { ports: ports.map(({ port }) => ({ name: `p${String(port)}`, port })) },
  };
}

const UNRESOLVED = {
  isReady: false,
  conditions: {
    SubscriberResolved: expect.stringMatching(/^False /),
    Ready: expect.stringMatching(/^False /),
  },
  without: ['subscriberUri'],
};

/** A subscriber that may have a slash at the end of its address or not: both are the same to HTTP. */
function subscriberUri(url: string): object {
  return { subscriberUri: expect.stringMatching(new RegExp(`^${url.replaceAll('.', '\\.')}/?$`)) };
}

const ROWS: readonly Row[] = [
  {
    id: 'C-DEST-01',
    name: 'a Service is its name in the cluster',
    resources: leading(toService('a'), service('a')),
    statuses: {
      'Trigger/all': {
        isReady: true,
        fields: ({ namespace }) => subscriberUri(`http://a.${namespace}.svc.cluster.local`),
      },
    },
  },
  {
    id: 'C-DEST-02',
    name: 'a Service that is not there resolves to nothing',
    resources: leading(toService('a')),
    events: [{}],
    statuses: { 'Trigger/all': UNRESOLVED },
  },
  {
    id: 'C-DEST-03',
    name: 'a uri beside it is relative to it',
    resources: leading(serviceRef('a', '/orders?x=1'), service('a')),
    statuses: {
      'Trigger/all': {
        isReady: true,
        fields: ({ namespace }) => ({
          subscriberUri: `http://a.${namespace}.svc.cluster.local/orders?x=1`,
        }),
      },
    },
  },
  ...[
    { name: 'an absolute uri beside a reference', subscriber: serviceRef('a', 'http://b/') },
    { name: 'a uri without a scheme', subscriber: { uri: '/orders' } },
    { name: 'a uri without a host', subscriber: { uri: 'http:///orders' } },
    { name: 'nothing at all', subscriber: {} },
  ].map(({ name, subscriber }): Row => ({
    id: 'C-DEST-04',
    name: `${name} is refused`,
    resources: leading(subscriber, service('a')),
    statuses: { 'Trigger/all': { isReady: false, reason: 'ManifestInvalid' } },
  })),
  {
    id: 'C-DEST-05',
    name: 'a Service is called at an endpoint that is ready, in its name',
    resources: ({ namespace, port }) => [
      broker('main'),
      service('a'),
      endpointSlice('a-1', { namespace, service: 'a', port, isReady: true }),
      endpointSlice('a-2', { namespace, service: 'a', port: 1, isReady: false }),
      trigger('all', { subscriber: serviceRef('a', `/${namespace}/sub`) }),
    ],
    events: [{}, {}],
    calls: { sub: 2 },
    check: ({ at, namespace }) => {
      expect(at('sub')[0]?.headers['host']).toBe(`a.${namespace}.svc.cluster.local`);
    },
  },
  {
    id: 'C-DEST-06',
    name: 'an attempt that reaches no endpoint goes on with another one',
    resources: ({ namespace, port, nobody }) => [
      broker('main'),
      service('a'),
      endpointSlice('a-1', { namespace, service: 'a', port: Number(new URL(nobody).port) }),
      endpointSlice('a-2', { namespace, service: 'a', port }),
      trigger('all', { subscriber: serviceRef('a', `/${namespace}/sub`), delivery: { retry: 0 } }),
    ],
    events: [{}, {}, {}, {}],
    calls: { sub: 4 },
  },
  ...[
    { of: 'port 80 where it has it', ports: [{ port: 8080 }, { port: 80 }], at: '' },
    { of: 'its first port otherwise', ports: [{ port: 8080 }], at: ':8080' },
  ].map(({ of, ports, at }): Row => ({
    id: 'C-DEST-07',
    name: `a Service is called at ${of}`,
    resources: leading(toService('a'), serviceWith(...ports)),
    statuses: {
      'Trigger/all': {
        isReady: true,
        fields: ({ namespace }) => subscriberUri(`http://a.${namespace}.svc.cluster.local${at}`),
      },
    },
  })),
  {
    id: 'C-DEST-08',
    name: 'a Service of the type ExternalName is called by that name',
    resources: leading(toService('a'), {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'a' },
      spec: { type: 'ExternalName', externalName: 'orders.example.com' },
    }),
    statuses: {
      'Trigger/all': { isReady: true, fields: subscriberUri('http://orders.example.com') },
    },
  },
  {
    id: 'C-DEST-09',
    name: 'a Broker or channel by reference gets the event at its address',
    resources: ({ url }) => [
      broker('main'),
      broker('other'),
      channel('ch'),
      trigger('to-broker', { subscriber: brokerRef('other') }),
      trigger('to-channel', { subscriber: channelRef('ch') }),
      trigger('other', { broker: 'other', subscriber: url('other') }),
      subscription('ch', { channel: 'ch', subscriber: url('ch') }),
    ],
    events: [{}],
    calls: { other: 1, ch: 1 },
    statuses: {
      'Trigger/to-broker': { fields: ({ door }) => ({ subscriberUri: door('other') }) },
      'Trigger/to-channel': { fields: ({ door }) => ({ subscriberUri: door('channels/ch') }) },
    },
  },
  {
    id: 'C-DEST-10',
    name: 'a channel by its host name, too',
    resources: (place) => [
      broker('main'),
      channel('ch'),
      trigger('all', {
        subscriber: `http://ch-kn-channel.${place.namespace}.svc.cluster.local`,
        delivery: { retry: 0, ...dead(place) },
      }),
      subscription('ch', { channel: 'ch', subscriber: place.url('ch') }),
    ],
    events: [{}],
    calls: { ch: 1 },
  },
  {
    id: 'C-DEST-11',
    name: 'a reference may lead to another namespace',
    resources: ({ namespace }: Place) => [
      broker('main'),
      service('a', { namespace: `${namespace}-b` }),
      trigger('all', { subscriber: toService('a', { namespace: `${namespace}-b` }) }),
    ],
    statuses: {
      'Trigger/all': {
        isReady: true,
        fields: ({ namespace }) => subscriberUri(`http://a.${namespace}-b.svc.cluster.local`),
      },
    },
  },
  {
    id: 'C-DEST-12',
    name: 'the address of a reference is chosen by name',
    resources: () => [
      broker('main'),
      broker('other'),
      trigger('good', { subscriber: { ref: { ...brokerRef('other').ref, address: 'http' } } }),
      trigger('bad', { subscriber: { ref: { ...brokerRef('other').ref, address: 'https' } } }),
    ],
    statuses: { 'Trigger/good': { isReady: true }, 'Trigger/bad': UNRESOLVED },
  },
  ...[
    { apiVersion: 'apps/v1', kind: 'Deployment', name: 'a' },
    { apiVersion: 'sinks.knative.dev/v1alpha1', kind: 'JobSink', name: 'a' },
  ].map((ref): Row => ({
    id: 'C-DEST-13',
    name: `a ${ref.apiVersion} ${ref.kind} has no address here`,
    resources: leading({ ref }, service('a')),
    statuses: { 'Trigger/all': UNRESOLVED },
  })),
  {
    id: 'C-DEST-20',
    name: 'a Service of Knative Serving is the plain one of its name',
    resources: leading(
      { ref: { apiVersion: 'serving.knative.dev/v1', kind: 'Service', name: 'a' } },
      service('a'),
    ),
    statuses: {
      'Trigger/all': {
        isReady: true,
        fields: ({ namespace }) => subscriberUri(`http://a.${namespace}.svc.cluster.local`),
      },
    },
  },
  {
    id: 'C-DEST-14',
    name: 'with certificates a Service is called by https, and the status says so',
    resources: leading({ ...toService('a'), CACerts: CERTIFICATE }, serviceWith({ port: 443 })),
    statuses: {
      'Trigger/all': {
        isReady: true,
        fields: ({ namespace }) => ({
          ...subscriberUri(`https://a.${namespace}.svc.cluster.local`),
          subscriberCACerts: CERTIFICATE,
        }),
      },
    },
  },
  {
    id: 'C-DEST-14',
    name: 'certificates that are none are refused',
    resources: leading({ uri: 'https://a.example/', CACerts: 'none' }),
    statuses: { 'Trigger/all': { isReady: false, reason: 'ManifestInvalid', message: /PEM/ } },
  },
  {
    id: 'C-DEST-15',
    name: 'an audience is shown, and no token is sent to it',
    resources: ({ url }) => [
      broker('main'),
      trigger('all', { subscriber: { uri: url('sub'), audience: 'orders' } }),
    ],
    events: [{}],
    calls: { sub: 1 },
    arrives: { sub: { without: ['authorization'] } },
    statuses: { 'Trigger/all': { isReady: true, fields: { subscriberAudience: 'orders' } } },
  },
  {
    id: 'C-DEST-16',
    name: 'the Broker of a Trigger is in its own namespace',
    resources: ({ namespace, url }) => [
      broker('main'),
      {
        apiVersion: 'eventing.knative.dev/v1',
        kind: 'Trigger',
        metadata: { name: 'all' },
        spec: {
          brokerRef: { ...brokerRef('main').ref, namespace: `${namespace}-b` },
          subscriber: { uri: url('sub') },
        },
      },
    ],
    statuses: {
      'Trigger/all': { isReady: false, reason: 'ManifestInvalid', message: /namespace/ },
    },
  },
];

describeRows('destinations', ROWS);
