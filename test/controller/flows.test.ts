/** Sequences and Parallels: the topology, names and statuses that Knative's controllers would create. */
import { describe, expect, test } from '@jest/globals';
import { expandFlows, partsOf } from '../../controller/flows.ts';
import { reconcile, type Reconciled } from '../../controller/reconcile.ts';
import { resourceId, type Resource } from '../../core/resources.ts';
import type { Egress } from '../../core/topology.ts';
import { CLAIMS } from '../fakes/claims.ts';
import { documents, snapshotOf } from './manifests.ts';

const DEFAULTS = {
  eventMaxBytes: 1000,
  attributesMaxBytes: 100,
  timeoutMs: 600_000,
  idleMs: 60_000,
  claims: CLAIMS,
  localHop: false,
};
const DOOR = 'http://door:8080';

function flow(kind: 'Sequence' | 'Parallel', spec: string, metadata = ''): string {
  return `
apiVersion: flows.knative.dev/v1
kind: ${kind}
metadata:
  name: f
${metadata}
spec:
${spec}`;
}

async function reconciled(...texts: string[]): Promise<Reconciled> {
  const snapshot = await snapshotOf(documents(...texts));
  expect(snapshot.problems).toEqual([]);
  return reconcile(snapshot, { revision: 1, defaults: DEFAULTS, baseUrl: DOOR });
}

/** `ingress --name--> subscriber [reply]` of each egress. */
function lines({ topology }: Reconciled): string[] {
  return [...topology.egresses.values()].map(({ ingressId, name, subscriber, reply }: Egress) => {
    const from = ingressId.split('/').at(-1) ?? '';
    return `${from} --${name}--> ${subscriber.url}${reply ? ` [${reply.url}]` : ''}`;
  });
}

function objectOf({ statuses }: Reconciled, id: string) {
  return statuses.find((each) => each.resourceId === id)?.object;
}

const channelUrl = (name: string) => `${DOOR}/default/channels/${name}`;

describe('a Sequence', () => {
  const THREE = `  steps:
  - uri: http://a/
  - uri: http://b/
    delivery: {retry: 3, backoffPolicy: linear, backoffDelay: PT1S}
  - uri: http://c/
  reply: {uri: "http://end/"}
`;

  test('is a chain of channels, each with a Subscription of its name', async () => {
    expect(lines(await reconciled(flow('Sequence', THREE)))).toEqual([
      `f-kn-sequence-0 --f-kn-sequence-0--> http://a/ [${channelUrl('f-kn-sequence-1')}]`,
      `f-kn-sequence-1 --f-kn-sequence-1--> http://b/ [${channelUrl('f-kn-sequence-2')}]`,
      'f-kn-sequence-2 --f-kn-sequence-2--> http://c/ [http://end/]',
    ]);
  });

  test('hands replies on inside, without a request', async () => {
    const { topology } = await reconciled(flow('Sequence', THREE));
    expect(topology.egresses.get('Subscription/default/f-kn-sequence-0')?.reply).toEqual({
      kind: 'ingress',
      url: channelUrl('f-kn-sequence-1'),
      ingressId: 'KnearChannel/default/f-kn-sequence-1',
    });
  });

  test('gives each step its own delivery, and channels none', async () => {
    const { topology } = await reconciled(flow('Sequence', THREE));
    const retries = [...topology.egresses.values()].map(({ retry }) => retry.retries);
    expect(retries).toEqual([0, 3, 0]);
  });

  test('without reply ends with its last step', async () => {
    const result = await reconciled(flow('Sequence', '  steps: [{uri: "http://a/"}]\n'));
    expect(lines(result)).toEqual(['f-kn-sequence-0 --f-kn-sequence-0--> http://a/']);
  });

  test.each([
    { kind: 'InMemoryChannel', apiVersion: 'messaging.knative.dev/v1' },
    { kind: 'KnearChannel', apiVersion: 'messaging.knear.dev/v1' },
  ])('has channels of the kind of its template: $kind', async ({ kind, apiVersion }) => {
    const template = `  channelTemplate: {apiVersion: ${apiVersion}, kind: ${kind}}\n`;
    const result = await reconciled(flow('Sequence', `${THREE}${template}`));
    expect(objectOf(result, `${kind}/default/f-kn-sequence-0`)).toMatchObject({
      apiVersion,
      kind,
      metadata: {
        ownerReferences: [
          { apiVersion: 'flows.knative.dev/v1', kind: 'Sequence', name: 'f', controller: true },
        ],
      },
    });
  });

  test('has the address of its first channel, and tells of all its parts', async () => {
    const result = await reconciled(flow('Sequence', THREE));
    const reference = (kind: string, apiVersion: string, index: number) => ({
      apiVersion,
      kind,
      name: `f-kn-sequence-${index}`,
      namespace: 'default',
    });
    const ready = { type: 'Ready', status: 'True' };
    expect(objectOf(result, 'Sequence/default/f')?.status).toEqual({
      observedGeneration: 1,
      address: { url: channelUrl('f-kn-sequence-0') },
      channelStatuses: [0, 1, 2].map((index) => ({
        channel: reference('KnearChannel', 'messaging.knear.dev/v1', index),
        ready,
      })),
      subscriptionStatuses: [0, 1, 2].map((index) => ({
        subscription: reference('Subscription', 'messaging.knative.dev/v1', index),
        ready,
      })),
      conditions: [
        { type: 'Addressable', status: 'True' },
        { type: 'ChannelsReady', status: 'True' },
        expect.objectContaining({ type: 'EventPoliciesReady', status: 'True' }),
        { type: 'Ready', status: 'True' },
        { type: 'SubscriptionsReady', status: 'True' },
      ],
    });
  });

  test('is not ready while a step leads nowhere; the others run', async () => {
    const steps = `  steps:
  - uri: http://a/
  - ref: {apiVersion: v1, kind: Service, name: missing}
`;
    const result = await reconciled(flow('Sequence', steps));
    expect(lines(result)).toHaveLength(1);
    const status = objectOf(result, 'Sequence/default/f')?.status;
    expect(status?.conditions).toEqual(
      expect.arrayContaining([
        {
          type: 'SubscriptionsReady',
          status: 'Unknown',
          reason: 'SubscriptionsNotReady',
          message:
            'Subscriptions are not ready yet, or there are none: f-kn-sequence-1: SubscriberResolveFailed',
        },
        expect.objectContaining({ type: 'Ready', status: 'Unknown' }),
      ]),
    );
    expect(status?.['subscriptionStatuses']).toMatchObject([
      { ready: { status: 'True' } },
      { ready: { status: 'False', reason: 'SubscriberResolveFailed' } },
    ]);
  });

  test('loses the parts of a step that is removed', async () => {
    const before = await reconciled(flow('Sequence', THREE));
    const after = await reconciled(flow('Sequence', '  steps: [{uri: "http://a/"}]\n'));
    const removed = [...before.topology.egresses.keys()].filter(
      (id) => !after.topology.egresses.has(id),
    );
    expect(removed).toEqual([
      'Subscription/default/f-kn-sequence-1',
      'Subscription/default/f-kn-sequence-2',
    ]);
  });

  test('passes its annotations on to its parts', async () => {
    const annotations = '  annotations: {knear.dev/order: key, example.com/x: y}';
    const result = await reconciled(flow('Sequence', THREE, annotations));
    const orders = [...result.topology.egresses.values()].map(({ order }) => order);
    expect(orders).toEqual(['key', 'key', 'key']);
    const part = objectOf(result, 'KnearChannel/default/f-kn-sequence-0');
    expect(part?.metadata.annotations).toEqual({ 'knear.dev/order': 'key' });
  });
});

describe('a Parallel', () => {
  const TWO = `  branches:
  - filter: {uri: "http://f0/"}
    subscriber: {uri: "http://s0/"}
    reply: {uri: "http://r0/"}
  - subscriber: {uri: "http://s1/"}
    delivery: {retry: 2}
  reply: {uri: "http://all/"}
`;

  test('sends each event through the filter of each branch to its channel', async () => {
    expect(lines(await reconciled(flow('Parallel', TWO))).toSorted()).toEqual([
      'f-kn-parallel --f-kn-parallel-filter-0--> http://f0/ ' +
        `[${channelUrl('f-kn-parallel-0')}]`,
      `f-kn-parallel --f-kn-parallel-filter-1--> ${channelUrl('f-kn-parallel-1')}`,
      'f-kn-parallel-0 --f-kn-parallel-0--> http://s0/ [http://r0/]',
      'f-kn-parallel-1 --f-kn-parallel-1--> http://s1/ [http://all/]',
    ]);
  });

  test('gives the delivery of a branch to its subscriber, not to its filter', async () => {
    const { topology } = await reconciled(flow('Parallel', TWO));
    const retriesOf = (name: string) =>
      topology.egresses.get(`Subscription/default/${name}`)?.retry.retries;
    expect([retriesOf('f-kn-parallel-filter-1'), retriesOf('f-kn-parallel-1')]).toEqual([0, 2]);
  });

  test('has the address of its ingress channel, and tells of all its parts', async () => {
    const result = await reconciled(flow('Parallel', TWO));
    const ready = { type: 'Ready', status: 'True' };
    const part = (name: string) => expect.objectContaining({ name, namespace: 'default' });
    expect(objectOf(result, 'Parallel/default/f')?.status).toMatchObject({
      address: { name: 'http', url: channelUrl('f-kn-parallel') },
      ingressChannelStatus: { channel: part('f-kn-parallel'), ready },
      branchStatuses: [0, 1].map((index) => ({
        filterSubscriptionStatus: { subscription: part(`f-kn-parallel-filter-${index}`), ready },
        filterChannelStatus: { channel: part(`f-kn-parallel-${index}`), ready },
        subscriberSubscriptionStatus: { subscription: part(`f-kn-parallel-${index}`), ready },
      })),
    });
  });
});

describe('flows are addresses', () => {
  const SEQUENCE = flow('Sequence', '  steps: [{uri: "http://a/"}]\n');
  const PARALLEL = flow('Parallel', '  branches: [{subscriber: {uri: "http://a/"}}]\n');

  test.each([
    { name: 'Sequence', text: SEQUENCE, to: 'f-kn-sequence-0' },
    { name: 'Parallel', text: PARALLEL, to: 'f-kn-parallel' },
  ])('for a Trigger: $name', async ({ name, text, to }) => {
    const broker = 'apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n';
    const trigger = `apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: t}
spec: {broker: b, subscriber: {ref: {apiVersion: flows.knative.dev/v1, kind: ${name}, name: f}}}
`;
    const result = await reconciled(broker, text, trigger);
    expect(result.topology.egresses.get('Trigger/default/t')?.subscriber).toEqual({
      kind: 'ingress',
      url: channelUrl(to),
      ingressId: `KnearChannel/default/${to}`,
    });
    expect(objectOf(result, 'Trigger/default/t')?.status).toMatchObject({
      subscriberUri: channelUrl(to),
    });
  });

  test('and a Sequence may answer to a Broker', async () => {
    const broker = 'apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b}\n';
    const answering = flow(
      'Sequence',
      '  steps: [{uri: "http://a/"}]\n' +
        '  reply: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}}\n',
    );
    const [egress] = (await reconciled(broker, answering)).topology.egresses.values();
    expect(egress?.reply).toMatchObject({ ingressId: 'Broker/default/b' });
  });
});

describe('what others made', () => {
  const owned = (kind: string, owner: string) => ({
    labels: {},
    annotations: {},
    namespace: 'default',
    ownerReferences: [
      { apiVersion: 'x/v1', kind: owner, name: owner.toLowerCase(), controller: true },
    ],
    name: `made-by-${owner.toLowerCase()}-${kind.toLowerCase()}`,
  });
  const resource = (kind: 'Broker' | 'Trigger' | 'Subscription', metadata: object): Resource =>
    ({ kind, apiVersion: 'x/v1', metadata, spec: {} }) as Resource;

  test('of a resource that is here is made anew, so it is left out', () => {
    const trigger = resource('Trigger', {
      ...owned('x', 'x'),
      name: 'trigger',
      ownerReferences: [],
    });
    const made = resource('Subscription', owned('Subscription', 'Trigger'));
    expect(expandFlows([trigger, made]).resources).toEqual([trigger]);
  });

  test.each([
    { name: 'its maker is not here', metadata: owned('Subscription', 'Trigger') },
    {
      name: 'it is only a part of something, not made by it',
      metadata: {
        ...owned('Subscription', 'Broker'),
        ownerReferences: [{ apiVersion: 'x/v1', kind: 'Broker', name: 'broker' }],
      },
    },
  ])('stays where $name', ({ metadata }) => {
    const broker = resource('Broker', { ...owned('x', 'x'), name: 'broker', ownerReferences: [] });
    const made = resource('Subscription', metadata);
    expect(expandFlows([broker, made]).resources).toEqual([broker, made]);
  });

  test('by hand, with the name of a part: it stays, and the flow says so', async () => {
    const mine =
      'apiVersion: messaging.knear.dev/v1\nkind: KnearChannel\nmetadata: {name: f-kn-sequence-0}\n';
    const result = await reconciled(mine, flow('Sequence', '  steps: [{uri: "http://a/"}]\n'));
    expect(objectOf(result, 'Sequence/default/f')?.status.conditions).toContainEqual({
      type: 'ChannelsReady',
      status: 'False',
      reason: 'ChannelsNotReady',
      message:
        'KnearChannel/default/f-kn-sequence-0 exists and was not made for this flow: rename one of the two',
    });
    const kept = objectOf(result, 'KnearChannel/default/f-kn-sequence-0');
    expect(kept?.metadata.ownerReferences ?? []).toEqual([]);
  });
});

test('partsOf names every part once', async () => {
  const { resources } = await snapshotOf(
    flow(
      'Parallel',
      '  branches: [{subscriber: {uri: "http://a/"}}, {subscriber: {uri: "http://b/"}}]\n',
    ),
  );
  const [found] = expandFlows(resources).flows;
  const ids = found ? partsOf(found).map(resourceId) : [];
  expect(ids).toHaveLength(7);
  expect(new Set(ids).size).toBe(7);
});
