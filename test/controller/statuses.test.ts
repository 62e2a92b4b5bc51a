/** What each resource is told about itself: the conditions, reasons and fields that Knative's controllers write. */
import { describe, expect, test } from '@jest/globals';
import { reconcile, type Reconciled } from '../../controller/reconcile.ts';
import { sinceWhen, withReady, type Condition } from '../../controller/status/conditions.ts';
import { CLAIMS } from '../fakes/claims.ts';
import { broker, channel, documents, snapshotOf, subscription, trigger } from './manifests.ts';

const DEFAULTS = {
  eventMaxBytes: 1000,
  attributesMaxBytes: 100,
  timeoutMs: 600_000,
  idleMs: 60_000,
  claims: CLAIMS,
  localHop: false,
};
const SERVICE = 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n';
const TO_A = '{ref: {apiVersion: v1, kind: Service, name: a}}';
const A_URL = 'http://a.default.svc.cluster.local';
const CHANNEL_C = '{apiVersion: messaging.knear.dev/v1, kind: KnearChannel, name: c}';

async function reconciled(...texts: string[]): Promise<Reconciled> {
  const snapshot = await snapshotOf(documents(...texts));
  return reconcile(snapshot, { revision: 1, defaults: DEFAULTS, baseUrl: 'http://door:8080' });
}

function statusOf({ statuses }: Reconciled, id: string) {
  return statuses.find((each) => each.resourceId === id)?.object?.status;
}

/** `type=status` or `type=status(reason)` of each condition. */
function conditionsOf(result: Reconciled, id: string): string[] {
  return (statusOf(result, id)?.conditions ?? []).map(({ type, status, reason }) =>
    reason === undefined ? `${type}=${status}` : `${type}=${status}(${reason})`,
  );
}

const NO_SINK = 'DeadLetterSinkResolved=True(DeadLetterSinkNotConfigured)';
const POLICIES = 'EventPoliciesReady=True(OIDCDisabled)';
const IDENTITY = 'OIDCIdentityCreated=True(authentication-oidc feature disabled)';

describe('a Broker', () => {
  test('has the conditions of its kind and its address', async () => {
    const result = await reconciled(broker());
    expect(conditionsOf(result, 'Broker/default/default')).toEqual([
      'Addressable=True',
      NO_SINK,
      POLICIES,
      'FilterReady=True',
      'IngressReady=True',
      'Ready=True',
      'TriggerChannelReady=True',
    ]);
    expect(statusOf(result, 'Broker/default/default')).toMatchObject({
      observedGeneration: 1,
      address: { name: 'http', url: 'http://door:8080/default/default' },
    });
  });

  test('tells where dead letters go', async () => {
    const sink = `spec: {delivery: {deadLetterSink: ${TO_A}}}`;
    const result = await reconciled(SERVICE, broker('default', sink));
    expect(conditionsOf(result, 'Broker/default/default')).toContain('DeadLetterSinkResolved=True');
    expect(statusOf(result, 'Broker/default/default')).toHaveProperty('deadLetterSinkUri', A_URL);
  });

  test('is not ready while they lead nowhere', async () => {
    const result = await reconciled(
      broker('default', `spec: {delivery: {deadLetterSink: ${TO_A}}}`),
    );
    const why = "False(Unable to get the dead letter sink's URI)";
    expect(conditionsOf(result, 'Broker/default/default')).toEqual(
      expect.arrayContaining([`DeadLetterSinkResolved=${why}`, `Ready=${why}`]),
    );
    expect(statusOf(result, 'Broker/default/default')).not.toHaveProperty('deadLetterSinkUri');
  });

  test('has seen the generation that the manifest names', async () => {
    const result = await reconciled(broker('default', '  generation: 7'));
    expect(statusOf(result, 'Broker/default/default')?.observedGeneration).toBe(7);
  });
});

describe("a Broker's ConfigMap", () => {
  const CONFIG = 'spec: {config: {apiVersion: v1, kind: ConfigMap, name: settings}}';
  const configMap = (data: string) =>
    `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: ${data}\n`;
  const TRIGGER = trigger('  broker: default\n  subscriber: {uri: "http://a/"}');

  test('gives defaults by the names of the annotations', async () => {
    const result = await reconciled(
      configMap('{early-delivery: "off", exhausted: drop, channel-template-spec: "kind: x"}'),
      broker('default', CONFIG),
      TRIGGER,
    );
    expect(result.topology.ingresses.get('Broker/default/default')?.isEarly).toBe(false);
    expect(result.topology.egresses.get('Trigger/default/t')?.exhausted).toBe('drop');
    expect(conditionsOf(result, 'Broker/default/default')).toContain('ConfigParsed=True');
  });

  test('counts less than an annotation', async () => {
    const result = await reconciled(
      configMap('{exhausted: drop}'),
      broker('default', `  annotations: {knear.dev/exhausted: park}\n${CONFIG}`),
      TRIGGER,
    );
    expect(result.topology.egresses.get('Trigger/default/t')?.exhausted).toBe('park');
  });

  test('with a bad value makes the Broker not ready, with the reason', async () => {
    const result = await reconciled(configMap('{exhausted: bin}'), broker('default', CONFIG));
    expect(statusOf(result, 'Broker/default/default')?.conditions).toContainEqual({
      type: 'ConfigParsed',
      status: 'False',
      reason: 'ConfigInvalid',
      message: 'knear.dev/exhausted: "bin" is not one of park, drop',
    });
  });

  test.each([
    { name: 'is not there', texts: [] },
    { name: 'is for another class', texts: [configMap('{channel-template-spec: "kind: x"}')] },
  ])('that $name is ignored, with a hint', async ({ texts }) => {
    const result = await reconciled(...texts, broker('default', CONFIG));
    expect(conditionsOf(result, 'Broker/default/default')).toContain('Ready=True');
    expect(statusOf(result, 'Broker/default/default')?.conditions).toContainEqual(
      expect.objectContaining({
        severity: 'Info',
        message: 'ConfigMap/default/settings says nothing to knear: defaults are used',
      }),
    );
  });

  test('with our label is ours, even if it says nothing', async () => {
    const labelled = `apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {knear.dev/config: ""}}
`;
    const result = await reconciled(labelled, broker('default', CONFIG));
    expect(conditionsOf(result, 'Broker/default/default')).toContain('ConfigParsed=True');
  });
});

describe('a Trigger', () => {
  test('has the conditions of its kind and its subscriber', async () => {
    const result = await reconciled(
      SERVICE,
      broker(),
      trigger(`  broker: default\n  subscriber: ${TO_A}\n`),
    );
    expect(conditionsOf(result, 'Trigger/default/t')).toEqual([
      'BrokerReady=True',
      NO_SINK,
      'DependencyReady=True',
      IDENTITY,
      'Ready=True',
      'SubscriberResolved=True',
      'SubscriptionReady=True',
    ]);
    expect(statusOf(result, 'Trigger/default/t')).toHaveProperty('subscriberUri', A_URL);
  });

  test('without its Broker knows nothing else', async () => {
    const result = await reconciled(trigger('  broker: nope\n  subscriber: {uri: "http://a/"}'));
    expect(conditionsOf(result, 'Trigger/default/t')).toEqual([
      'BrokerReady=False(BrokerDoesNotExist)',
      'DeadLetterSinkResolved=Unknown',
      'DependencyReady=Unknown',
      IDENTITY,
      'Ready=False(BrokerDoesNotExist)',
      'SubscriberResolved=Unknown',
      'SubscriptionReady=Unknown',
    ]);
  });

  test('whose subscriber leads nowhere has no address of it', async () => {
    const result = await reconciled(
      broker(),
      trigger(`  broker: default\n  subscriber: ${TO_A}\n`),
    );
    const why = "False(Unable to get the Subscriber's URI)";
    expect(conditionsOf(result, 'Trigger/default/t')).toEqual(
      expect.arrayContaining([
        `SubscriberResolved=${why}`,
        'SubscriptionReady=Unknown(SubscriptionNotConfigured)',
        `Ready=${why}`,
      ]),
    );
    expect(statusOf(result, 'Trigger/default/t')).not.toHaveProperty('subscriberUri');
  });

  test('shows the dead letter sink of its Broker', async () => {
    const result = await reconciled(
      broker('default', 'spec: {delivery: {deadLetterSink: {uri: "http://d/"}}}'),
      trigger('  broker: default\n  subscriber: {uri: "http://a/"}'),
    );
    expect(statusOf(result, 'Trigger/default/t')).toHaveProperty('deadLetterSinkUri', 'http://d/');
  });

  test('is not ready while that leads nowhere', async () => {
    const result = await reconciled(
      broker('default', `spec: {delivery: {deadLetterSink: ${TO_A}}}`),
      trigger('  broker: default\n  subscriber: {uri: "http://a/"}'),
    );
    expect(conditionsOf(result, 'Trigger/default/t')).toContain(
      "DeadLetterSinkResolved=False(Broker default didn't set status.deadLetterSinkURI)",
    );
  });

  test('with a subscriber that cannot be called is ready: its events become dead letters', async () => {
    const result = await reconciled(
      broker(),
      trigger('  broker: default\n  subscriber: {uri: "bad://uri"}'),
    );
    expect(conditionsOf(result, 'Trigger/default/t')).toContain('Ready=True');
    expect(statusOf(result, 'Trigger/default/t')).toHaveProperty('subscriberUri', 'bad://uri');
  });

  test('depends on what its annotation names, and is delivered to all the same', async () => {
    const annotation = JSON.stringify({
      apiVersion: 'sources.knative.dev/v1',
      kind: 'PingSource',
      name: 'ping',
    });
    const result = await reconciled(
      broker(),
      trigger(
        '  broker: default\n  subscriber: {uri: "http://a/"}',
        `  annotations: {knative.dev/dependency: '${annotation}'}`,
      ),
    );
    expect(conditionsOf(result, 'Trigger/default/t')).toContain(
      'DependencyReady=False(DependencyDoesNotExist)',
    );
    expect(result.topology.egresses.size).toBe(1);
  });
});

describe('a Channel', () => {
  test.each([
    { kind: 'KnearChannel', own: ['DispatcherReady=True'] },
    {
      kind: 'InMemoryChannel',
      own: [
        'ChannelServiceReady=True',
        'DispatcherReady=True',
        'EndpointsReady=True',
        'ServiceReady=True',
      ],
    },
    { kind: 'Channel', own: ['BackingChannelReady=True'] },
  ])('of kind $kind has the conditions of its kind', async ({ kind, own }) => {
    const result = await reconciled(channel('c', '', kind));
    expect(conditionsOf(result, `${kind}/default/c`)).toEqual(
      ['Addressable=True', NO_SINK, POLICIES, 'Ready=True', ...own].toSorted(),
    );
  });

  test('tells of its Subscriptions', async () => {
    const result = await reconciled(
      channel('c'),
      subscription(
        `  channel: ${CHANNEL_C}\n  subscriber: {uri: "http://a/"}`,
        '  uid: u-1\n  generation: 3',
      ),
    );
    expect(statusOf(result, 'KnearChannel/default/c')).toHaveProperty('subscribers', [
      { uid: 'u-1', observedGeneration: 3, ready: 'True' },
    ]);
  });

  test('names the channel that would stand behind a generic one', async () => {
    const result = await reconciled(channel('c', '', 'Channel'));
    expect(statusOf(result, 'Channel/default/c')).toHaveProperty('channel', {
      apiVersion: 'messaging.knear.dev/v1',
      kind: 'KnearChannel',
      name: 'c',
      namespace: 'default',
    });
  });
});

describe('a Subscription', () => {
  test('has the conditions of its kind and its addresses', async () => {
    const result = await reconciled(
      SERVICE,
      channel('c', 'spec: {delivery: {deadLetterSink: {uri: "http://d/"}}}'),
      subscription(`  channel: ${CHANNEL_C}\n  subscriber: ${TO_A}\n  reply: {uri: "http://r/"}\n`),
    );
    expect(conditionsOf(result, 'Subscription/default/s')).toEqual([
      'AddedToChannel=True',
      'ChannelReady=True',
      IDENTITY,
      'Ready=True',
      'ReferencesResolved=True',
    ]);
    expect(statusOf(result, 'Subscription/default/s')).toHaveProperty('physicalSubscription', {
      subscriberUri: A_URL,
      replyUri: 'http://r/',
      deadLetterSinkUri: 'http://d/',
    });
  });

  test.each([
    {
      name: 'has no channel',
      texts: [subscription(`  channel: ${CHANNEL_C}\n  subscriber: {uri: "http://a/"}`)],
      resolved: 'Unknown(ChannelReferenceFailed)',
    },
    {
      name: 'has no subscriber',
      texts: [channel('c'), subscription(`  channel: ${CHANNEL_C}\n  subscriber: ${TO_A}`)],
      resolved: 'False(SubscriberResolveFailed)',
    },
    {
      name: 'has no place for dead letters',
      texts: [
        channel('c', `spec: {delivery: {deadLetterSink: ${TO_A}}}`),
        subscription(`  channel: ${CHANNEL_C}\n  subscriber: {uri: "http://a/"}`),
      ],
      resolved: 'False(DeadLetterSinkResolveFailed)',
    },
  ])('that $name says so', async ({ texts, resolved }) => {
    const result = await reconciled(...texts);
    expect(conditionsOf(result, 'Subscription/default/s')).toEqual(
      expect.arrayContaining([`ReferencesResolved=${resolved}`, `Ready=${resolved}`]),
    );
  });
});

test('a hint is an Info condition that Ready does not count', async () => {
  const result = await reconciled(broker('default', '  annotations: {knear.dev/pausd: "true"}'));
  expect(statusOf(result, 'Broker/default/default')?.conditions).toContainEqual({
    type: 'Hints',
    status: 'True',
    severity: 'Info',
    reason: 'NotRead',
    message: 'unknown annotation knear.dev/pausd; did you mean knear.dev/paused?',
  });
  expect(conditionsOf(result, 'Broker/default/default')).toContain('Ready=True');
});

describe('Ready', () => {
  const one = (type: string, status: Condition['status'], reason?: string): Condition => ({
    type,
    status,
    ...(reason !== undefined && { reason }),
  });

  test.each([
    { name: 'all are', given: [one('A', 'True'), one('B', 'True')], ready: one('Ready', 'True') },
    {
      name: 'one is Unknown',
      given: [one('A', 'True'), one('B', 'Unknown', 'Wait')],
      ready: one('Ready', 'Unknown', 'Wait'),
    },
    {
      name: 'one is False, whatever is Unknown',
      given: [one('A', 'Unknown', 'Wait'), one('B', 'False', 'No')],
      ready: one('Ready', 'False', 'No'),
    },
  ])('sums up when $name', ({ given, ready }) => {
    expect(withReady(given)).toContainEqual(ready);
  });
});

test('a condition keeps its time while it says the same', () => {
  const before = [
    { type: 'A', status: 'True', lastTransitionTime: 'then' },
    { type: 'B', status: 'True', lastTransitionTime: 'then' },
    { type: 'C', status: 'False', reason: 'X', lastTransitionTime: 'then' },
  ] as const;
  const after = [
    { type: 'A', status: 'True' },
    { type: 'B', status: 'False', reason: 'No' },
    { type: 'C', status: 'False', reason: 'Y' },
    { type: 'D', status: 'True' },
  ] as const;
  const times = sinceWhen(after, before, 'now').map((each) => each.lastTransitionTime);
  expect(times).toEqual(['then', 'now', 'now', 'now']);
});
