/**
 * Goal: what Knative's webhook refuses is refused, and what it accepts is accepted. Method: one table a `Validate`
 * function of knative/eventing and knative.dev/pkg, named after the file that it is in; a case without a fault must load.
 */
import { describe, expect, test } from '@jest/globals';
import { CERTIFICATE } from './certificate.ts';
import { broker, channel, problemsOf, subscription, trigger } from './manifests.ts';

interface Case {
  readonly name: string;
  /** In flow style, unless it is told otherwise. */
  readonly spec: string;
  /** Path and sentence; absent: it is valid. */
  readonly fault?: string | RegExp;
}

async function check(text: string, fault: Case['fault']): Promise<void> {
  const found = (await problemsOf(text)).map(({ detail }) => detail);
  if (fault === undefined) expect(found).toEqual([]);
  else if (typeof fault === 'string') expect(found).toEqual([fault]);
  else expect(found).toEqual([expect.stringMatching(fault)]);
}

const TO_URI = 'subscriber: {uri: "http://a/"}';
const SERVICE = 'ref: {apiVersion: v1, kind: Service, name: a}';
const CHANNEL = 'channel: {apiVersion: messaging.knear.dev/v1, kind: KnearChannel, name: c}';

function flow(kind: 'Sequence' | 'Parallel', spec: string): string {
  return `apiVersion: flows.knative.dev/v1\nkind: ${kind}\nmetadata: {name: f}\nspec: {${spec}}\n`;
}

describe('broker_validation.go', () => {
  test.each<Case>([
    { name: 'nothing', spec: '' },
    {
      name: 'a config of any kind, in any namespace',
      spec: 'config: {apiVersion: rabbitmq.com/v1, kind: RabbitmqBrokerConfig, name: x, namespace: far}',
    },
    {
      name: 'a config without a version',
      spec: 'config: {kind: ConfigMap, name: x}',
      fault: 'spec.config: apiVersion is missing',
    },
    {
      name: 'a config by group',
      spec: 'config: {apiVersion: v1, kind: ConfigMap, name: x, group: y}',
      fault: 'spec.config.group: unknown field',
    },
  ])('of a spec: $name', async ({ spec, fault }) => {
    await check(broker('b', `spec: {${spec}}`), fault);
  });

  test.each([
    ['MTChannelBasedBroker', undefined],
    ['Knear', undefined],
    ['""', 'metadata.annotations.eventing.knative.dev/broker.class: must not be empty'],
  ])('of the class %s', async (name, fault) => {
    const annotations = `annotations: {eventing.knative.dev/broker.class: ${name}}`;
    await check(broker('b', `  ${annotations}`), fault);
  });
});

describe('trigger_validation.go', () => {
  const REF = 'kind: Broker, name: b';
  test.each<Case>([
    { name: 'a Broker by name', spec: 'broker: b' },
    { name: 'a Broker by reference', spec: `brokerRef: {${REF}}` },
    {
      name: 'a Broker by reference in full',
      spec: `brokerRef: {${REF}, apiVersion: eventing.knative.dev/v1, namespace: default}`,
    },
    { name: 'no Broker', spec: '', fault: 'spec: exactly one of broker and brokerRef is needed' },
    {
      name: 'two of them',
      spec: `broker: b, brokerRef: {${REF}}`,
      fault: 'spec: exactly one of broker and brokerRef is needed',
    },
    {
      name: 'a Broker without a name',
      spec: 'broker: ""',
      fault: 'spec.broker: must not be empty',
    },
    {
      name: 'a reference without a name',
      spec: 'brokerRef: {kind: Broker}',
      fault: 'spec.brokerRef: name is missing',
    },
    {
      name: 'a reference to another kind',
      spec: 'brokerRef: {kind: Channel, name: b}',
      fault: 'spec.brokerRef.kind: must be Broker',
    },
    {
      name: 'a reference to another group',
      spec: `brokerRef: {${REF}, apiVersion: v1}`,
      fault: 'spec.brokerRef.apiVersion: must be eventing.knative.dev/v1',
    },
    {
      name: 'a reference to another namespace',
      spec: `brokerRef: {${REF}, namespace: far}`,
      fault: /^spec.brokerRef.namespace: must be default, /,
    },
    { name: 'no filter at all', spec: 'broker: b, filter: {}, filters: []' },
    { name: 'an entry that asks for nothing', spec: 'broker: b, filters: [{}]' },
    { name: 'several attributes in one map', spec: 'broker: b, filters: [{exact: {a: b, c: d}}]' },
    {
      name: 'empty maps and lists beside a dialect',
      spec: 'broker: b, filters: [{exact: {}, prefix: {a: b}, all: [], any: [], cesql: ""}]',
    },
    {
      name: 'dialects inside of others',
      spec: 'broker: b, filters: [{any: [{all: [{exact: {a: b}}]}, {not: {suffix: {a: b}}}]}]',
    },
    {
      name: 'two dialects in an entry',
      spec: 'broker: b, filters: [{exact: {a: b}, suffix: {a: b}}]',
      fault: /^spec.filters\[0\]: one dialect an entry: put exact and suffix /,
    },
    {
      name: 'two dialects inside of another one',
      spec: 'broker: b, filters: [{not: {any: [{cesql: "TRUE", not: {}}]}}]',
      fault: /^spec.filters\[0\].not.any\[0\]: one dialect an entry: put cesql and not /,
    },
    { name: 'any value in the older filter', spec: 'broker: b, filter: {attributes: {type: ""}}' },
    {
      name: 'an attribute in capitals in the older filter',
      spec: 'broker: b, filter: {attributes: {Type: a}}',
      fault: /^spec.filter.attributes.Type: not an attribute name/,
    },
    {
      name: 'an attribute with a dash',
      spec: 'broker: b, filters: [{prefix: {a-b: c}}]',
      fault: /^spec.filters\[0\].prefix.a-b: not an attribute name/,
    },
    { name: 'an expression', spec: `broker: b, filters: [{cesql: "type = 'a'"}]` },
    {
      name: 'an expression that ends too early',
      spec: 'broker: b, filters: [{cesql: "type ="}]',
      fault: /^spec.filters\[0\].cesql: ./,
    },
  ])('of a spec: $name', async ({ spec, fault }) => {
    await check(trigger(`  {${[spec, TO_URI].filter((part) => part !== '').join(', ')}}`), fault);
  });

  test('of a subscriber: it is needed', async () => {
    await check(trigger('  broker: b'), 'spec: subscriber is missing');
  });

  const DEPENDENCY = 'knative.dev/dependency';
  const INJECTION = 'eventing.knative.dev/injection';
  const MISSING = 'is missing in the reference';
  const JUST = '"apiVersion":"v1","kind":"K"';
  test.each<{ name: string; value: string; of?: string; fault?: string | RegExp }>([
    { name: DEPENDENCY, value: `{${JUST},"name":"a"}` },
    { name: DEPENDENCY, value: `{${JUST},"name":"a","namespace":"default","uid":"1"}` },
    { name: DEPENDENCY, value: `{${JUST},"name":"a","namespace":""}` },
    { name: DEPENDENCY, value: 'PingSource', fault: /^not a reference in JSON, as in / },
    { name: DEPENDENCY, value: '["a"]', fault: /^not a reference in JSON, as in / },
    { name: DEPENDENCY, value: 'null', fault: /^not a reference in JSON, as in / },
    { name: DEPENDENCY, value: '{"kind":"K","name":"a"}', fault: `apiVersion ${MISSING}` },
    { name: DEPENDENCY, value: '{"apiVersion":"v1","name":"a"}', fault: `kind ${MISSING}` },
    { name: DEPENDENCY, value: `{${JUST},"name":""}`, fault: `name ${MISSING}` },
    {
      name: DEPENDENCY,
      value: `{${JUST},"name":"a","namespace":"far"}`,
      fault: 'the namespace must be default, that of the Trigger, or absent',
    },
    { name: INJECTION, value: 'enabled' },
    { name: INJECTION, value: 'disabled' },
    { name: INJECTION, value: 'on', fault: '"on" is not one of enabled, disabled' },
    {
      name: INJECTION,
      value: 'enabled',
      of: 'b',
      fault: 'is for Triggers of the Broker default only',
    },
  ])('of the annotation $name: $value', async ({ name, value, of = 'default', fault }) => {
    const annotations = `  annotations: {${name}: '${value}'}`;
    const found = await problemsOf(trigger(`  broker: ${of}\n  ${TO_URI}`, annotations));
    const path = `metadata.annotations.${name}: `;
    const details = found.map(({ detail }) => detail.replace(path, ''));
    expect(details).toEqual(fault === undefined ? [] : [expect.stringMatching(fault)]);
  });

  test('of annotations: those of a Trigger are not looked at elsewhere', async () => {
    await check(broker('b', `  annotations: {${DEPENDENCY}: x, ${INJECTION}: y}`), undefined);
  });
});

describe('channel_validation.go and in_memory_channel_validation.go', () => {
  const SINK = 'apiVersion: v1, kind: Service, name: a';
  test.each<Case & { readonly kind: string }>([
    { kind: 'Channel', name: 'nothing', spec: '' },
    { kind: 'Channel', name: 'no subscribers', spec: 'subscribers: []' },
    {
      kind: 'Channel',
      name: 'subscribers',
      spec: 'subscribers: [{uid: a}]',
      fault: 'spec.subscribers: not of a Channel: write Subscriptions',
    },
    {
      kind: 'InMemoryChannel',
      name: 'what a cluster wrote',
      spec: 'subscribers: [{uid: a, generation: 1, subscriberUri: "http://a/", news: {a: b}}]',
    },
    { kind: 'KnearChannel', name: 'what a cluster wrote', spec: 'subscribers: [{uid: a}]' },
    {
      kind: 'Channel',
      name: 'a dead letter sink in its namespace',
      spec: `delivery: {deadLetterSink: {ref: {${SINK}, namespace: default}}}`,
    },
    {
      kind: 'Channel',
      name: 'a dead letter sink in another namespace',
      spec: `delivery: {deadLetterSink: {ref: {${SINK}, namespace: far}}}`,
      fault: /^spec.delivery.deadLetterSink.ref.namespace: must be default, /,
    },
    {
      kind: 'InMemoryChannel',
      name: 'a dead letter sink in another namespace',
      spec: `delivery: {deadLetterSink: {ref: {${SINK}, namespace: far}}}`,
    },
    {
      kind: 'InMemoryChannel',
      name: 'a template',
      spec: 'channelTemplate: {apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel}',
      fault: 'spec.channelTemplate: unknown field',
    },
    {
      kind: 'KnearChannel',
      name: 'a field that only newer definitions may know',
      spec: 'delivery: {retries: 3}',
      fault: 'spec.delivery.retries: unknown field; did you mean retry?',
    },
  ])('of $kind: $name', async ({ kind, spec, fault }) => {
    await check(channel('c', `spec: {${spec}}`, kind), fault);
  });

  test.each([
    ['InMemoryChannel', 'cluster', undefined],
    ['InMemoryChannel', 'namespace', undefined],
    [
      'InMemoryChannel',
      'resource',
      'metadata.annotations.eventing.knative.dev/scope: "resource" is not one of cluster, namespace',
    ],
    ['KnearChannel', 'resource', undefined],
  ])('of %s: the scope %s', async (kind, scope, fault) => {
    const annotations = `  annotations: {eventing.knative.dev/scope: ${scope}}`;
    await check(channel('c', annotations, kind), fault);
  });
});

describe('subscription_validation.go', () => {
  test.each<Case>([
    { name: 'a subscriber', spec: `${CHANNEL}, ${TO_URI}` },
    { name: 'a reply', spec: `${CHANNEL}, ${TO_URI}, reply: {${SERVICE}}` },
    { name: 'an empty reply, which is none', spec: `${CHANNEL}, ${TO_URI}, reply: {}` },
    {
      name: 'no channel',
      spec: TO_URI,
      fault: 'spec: channel is missing',
    },
    {
      name: 'a channel without a version',
      spec: `channel: {kind: KnearChannel, name: c}, ${TO_URI}`,
      fault: 'spec.channel: apiVersion is missing',
    },
    {
      name: 'a channel in another namespace',
      spec: `channel: {apiVersion: a/v1, kind: K, name: c, namespace: far}, ${TO_URI}`,
      fault: /^spec.channel.namespace: must be default, /,
    },
    {
      name: 'a channel of any kind: whether it is there is seen later',
      spec: `channel: {apiVersion: a/v1, kind: KafkaChannel, name: c}, ${TO_URI}`,
    },
    {
      name: 'no subscriber, only a reply',
      spec: `${CHANNEL}, reply: {uri: "http://a/"}`,
      fault: 'spec: subscriber is missing',
    },
    {
      name: 'an empty subscriber',
      spec: `${CHANNEL}, subscriber: {}`,
      fault: 'spec.subscriber: one of ref and uri is needed',
    },
    {
      name: 'a reply that says something, and not where to',
      spec: `${CHANNEL}, ${TO_URI}, reply: {audience: a}`,
      fault: 'spec.reply: one of ref and uri is needed',
    },
  ])('of a spec: $name', async ({ spec, fault }) => {
    await check(subscription(`  {${spec}}`), fault);
  });
});

describe('sequence_validation.go', () => {
  const STEP = 'steps: [{uri: "http://a/"}]';
  test.each<Case>([
    { name: 'one step', spec: STEP },
    {
      name: 'steps of every form',
      spec: `steps: [{${SERVICE}}, {${SERVICE}, uri: /b}, {uri: "http://a/", delivery: {retry: 1}}]`,
    },
    { name: 'a reply', spec: `${STEP}, reply: {${SERVICE}}` },
    { name: 'no steps', spec: '', fault: 'spec: steps is missing' },
    { name: 'an empty list', spec: 'steps: []', fault: 'spec.steps: must not be empty' },
    {
      name: 'a step to nowhere',
      spec: 'steps: [{uri: "http://a/"}, {delivery: {retry: 1}}]',
      fault: 'spec.steps[1]: one of ref and uri is needed',
    },
    {
      name: 'a delivery of a step',
      spec: 'steps: [{uri: "http://a/", delivery: {timeout: PT0S}}]',
      fault: 'spec.steps[0].delivery.timeout: must be above zero',
    },
    {
      name: 'an unknown field of a step',
      spec: 'steps: [{uri: "http://a/", dellivery: {}}]',
      fault: 'spec.steps[0].dellivery: unknown field; did you mean delivery?',
    },
    {
      name: 'an empty reply, which only a Subscription may have',
      spec: `${STEP}, reply: {}`,
      fault: 'spec.reply: one of ref and uri is needed',
    },
  ])('of a spec: $name', async ({ spec, fault }) => {
    await check(flow('Sequence', spec), fault);
  });
});

describe('parallel_validation.go', () => {
  const BRANCH = 'branches: [{subscriber: {uri: "http://a/"}}]';
  test.each<Case>([
    { name: 'one branch without a filter', spec: BRANCH },
    {
      name: 'a branch with everything',
      spec: `branches: [{filter: {${SERVICE}}, subscriber: {${SERVICE}}, reply: {${SERVICE}}, delivery: {retry: 1}}], reply: {${SERVICE}}`,
    },
    { name: 'no branches', spec: '', fault: 'spec: branches is missing' },
    { name: 'an empty list', spec: 'branches: []', fault: 'spec.branches: must not be empty' },
    {
      name: 'a branch without a subscriber',
      spec: `branches: [{filter: {${SERVICE}}}]`,
      fault: 'spec.branches[0]: subscriber is missing',
    },
    {
      name: 'a subscriber to nowhere',
      spec: 'branches: [{subscriber: {}}]',
      fault: 'spec.branches[0].subscriber: one of ref and uri is needed',
    },
    {
      name: 'a filter to nowhere',
      spec: `branches: [{filter: {}, ${TO_URI}}]`,
      fault: 'spec.branches[0].filter: one of ref and uri is needed',
    },
    {
      name: 'a reply of a branch with a path only',
      spec: `branches: [{${TO_URI}, reply: {uri: /a}}]`,
      fault: /^spec.branches\[0\].reply.uri: needs a scheme and a host/,
    },
    {
      name: 'a delivery of a branch',
      spec: `branches: [{${TO_URI}, delivery: {retry: -1}}]`,
      fault: 'spec.branches[0].delivery.retry: must be >= 0',
    },
  ])('of a spec: $name', async ({ spec, fault }) => {
    await check(flow('Parallel', spec), fault);
  });
});

describe('a channelTemplate', () => {
  const place = {
    Channel: (template: string) => channel('c', `spec: {${template}}`, 'Channel'),
    Sequence: (template: string) => flow('Sequence', `steps: [{uri: "http://a/"}], ${template}`),
    Parallel: (template: string) => flow('Parallel', `branches: [{${TO_URI}}], ${template}`),
  };
  const kinds = ['Channel', 'Sequence', 'Parallel'] as const;
  const cases: Case[] = [
    { name: 'of ours', spec: 'apiVersion: messaging.knear.dev/v1, kind: KnearChannel' },
    {
      name: 'of Knative, with a spec',
      spec: 'apiVersion: messaging.knative.dev/v1, kind: InMemoryChannel, spec: {delivery: {retry: 3}}',
    },
    { name: 'of the generic kind', spec: 'apiVersion: messaging.knative.dev/v1, kind: Channel' },
    {
      name: 'of a kind that nobody serves',
      spec: 'apiVersion: messaging.knative.dev/v1, kind: KafkaChannel',
      fault:
        'spec.channelTemplate.kind: KafkaChannel is not served, only KnearChannel, InMemoryChannel, Channel are; did you mean KnearChannel?',
    },
    {
      name: 'of another group than its kind',
      spec: 'apiVersion: messaging.knative.dev/v1, kind: KnearChannel',
      fault: 'spec.channelTemplate.apiVersion: must be messaging.knear.dev/v1 for KnearChannel',
    },
    {
      name: 'without a version',
      spec: 'kind: KnearChannel',
      fault: 'spec.channelTemplate: apiVersion is missing',
    },
    {
      name: 'with a spec that no channel has',
      spec: 'apiVersion: messaging.knear.dev/v1, kind: KnearChannel, spec: {dlivery: {}}',
      fault: 'spec.channelTemplate.spec.dlivery: unknown field; did you mean delivery?',
    },
    {
      name: 'with a delivery that no channel has',
      spec: 'apiVersion: messaging.knear.dev/v1, kind: KnearChannel, spec: {delivery: {timeout: PT0S}}',
      fault: 'spec.channelTemplate.spec.delivery.timeout: must be above zero',
    },
  ];
  test.each(kinds.flatMap((kind) => cases.map((each) => ({ kind, ...each }))))(
    'of a $kind $name',
    async ({ kind, spec, fault }) => {
      await check(place[kind](`channelTemplate: {${spec}}`), fault);
    },
  );
});

describe('destination.go', () => {
  const inside = (pem: string) => JSON.stringify(pem);
  const NO_PEM = /^spec.subscriber.CACerts: not in PEM: /;
  test.each<Case>([
    { name: 'a ref', spec: SERVICE },
    { name: 'a ref with a path', spec: `${SERVICE}, uri: /a` },
    {
      name: 'a ref with a namespace and an address',
      spec: 'ref: {apiVersion: v1, kind: Service, name: a, namespace: far, address: https}',
    },
    { name: 'an address of any scheme', spec: 'uri: "bad://uri"' },
    { name: 'an audience', spec: 'uri: "http://a/", audience: a' },
    { name: 'nothing', spec: '', fault: 'spec.subscriber: one of ref and uri is needed' },
    {
      name: 'a ref with a whole address',
      spec: `${SERVICE}, uri: "http://a/"`,
      fault: 'spec.subscriber.uri: must be relative next to ref',
    },
    {
      name: 'a path alone',
      spec: 'uri: /a',
      fault: /^spec.subscriber.uri: needs a scheme and a host/,
    },
    {
      name: 'an address without a host',
      spec: 'uri: "http:///a"',
      fault: /^spec.subscriber.uri: needs a scheme and a host/,
    },
    {
      name: 'a ref without a name',
      spec: 'ref: {apiVersion: v1, kind: Service}',
      fault: 'spec.subscriber.ref: name is missing',
    },
    {
      name: 'a ref without a version',
      spec: 'ref: {kind: Service, name: a}',
      fault: 'spec.subscriber.ref: apiVersion is missing',
    },
    {
      name: 'a ref by group',
      spec: 'ref: {group: a, kind: Service, name: a, apiVersion: v1}',
      fault: 'spec.subscriber.ref.group: unknown field',
    },
    { name: 'a certificate', spec: `uri: "https://a/", CACerts: ${inside(CERTIFICATE)}` },
    {
      name: 'certificates with words between them',
      spec: `uri: "https://a/", CACerts: ${inside(`# ours\n${CERTIFICATE}\n# theirs\n${CERTIFICATE}`)}`,
    },
    { name: 'any text as a certificate next to a ref alone', spec: `${SERVICE}, CACerts: x` },
    {
      name: 'any text as a certificate',
      spec: 'uri: "https://a/", CACerts: x',
      fault: NO_PEM,
    },
    { name: 'an empty certificate', spec: 'uri: "https://a/", CACerts: ""', fault: NO_PEM },
    {
      name: 'a certificate without its end',
      spec: `uri: "https://a/", CACerts: ${inside(CERTIFICATE.slice(0, 300))}`,
      fault: NO_PEM,
    },
    {
      name: 'a key instead of a certificate',
      spec: `uri: "https://a/", CACerts: ${inside(CERTIFICATE.replaceAll('CERTIFICATE', 'PRIVATE KEY'))}`,
      fault: 'spec.subscriber.CACerts: a CERTIFICATE is needed, not a PRIVATE KEY',
    },
    {
      name: 'a certificate that is none inside',
      spec: `uri: "https://a/", CACerts: ${inside(CERTIFICATE.replace(/\n.{64}\n/, '\nAAAA\n'))}`,
      fault: 'spec.subscriber.CACerts: the certificate cannot be read',
    },
  ])('of a destination: $name', async ({ spec, fault }) => {
    await check(trigger(`  broker: b\n  subscriber: {${spec}}`), fault);
  });
});

describe('delivery_types.go', () => {
  const NO_DURATION = 'not an ISO 8601 duration such as PT0.2S';
  test.each<Case>([
    { name: 'nothing', spec: '' },
    { name: 'no retry', spec: 'retry: 0' },
    { name: 'a retry below zero', spec: 'retry: -1', fault: 'spec.delivery.retry: must be >= 0' },
    {
      name: 'half a retry',
      spec: 'retry: 1.5',
      fault: 'spec.delivery.retry: must be of type integer, 1.5 is not',
    },
    {
      name: 'more retries than an int32 holds',
      spec: 'retry: 2147483648',
      fault: /^spec.delivery.retry: .*int32/,
    },
    { name: 'exponential', spec: 'backoffPolicy: exponential' },
    { name: 'linear', spec: 'backoffPolicy: linear' },
    {
      name: 'another policy',
      spec: 'backoffPolicy: Exponential',
      fault:
        'spec.delivery.backoffPolicy: "Exponential" is not one of linear, exponential; did you mean exponential?',
    },
    { name: 'json', spec: 'format: json' },
    { name: 'binary', spec: 'format: binary' },
    {
      name: 'another format',
      spec: 'format: xml',
      fault: 'spec.delivery.format: "xml" is not one of json, binary',
    },
    ...['PT0.2S', 'PT0,2S', 'PT1H30M', 'P1D', 'P1W', 'P1Y2M3W4DT5H6M7S', 'PT0S'].map((text) => ({
      name: `a delay of ${text}`,
      spec: `backoffDelay: "${text}"`,
    })),
    ...['', '1s', 'PT', 'P', 'PT1', 'P1S', '-PT1S', 'PT1S '].map((text) => ({
      name: `a delay of "${text}"`,
      spec: `backoffDelay: "${text}"`,
      fault: /^spec.delivery.backoffDelay: /,
    })),
    { name: 'a timeout', spec: 'timeout: PT0.001S' },
    {
      name: 'a timeout of zero',
      spec: 'timeout: PT0S',
      fault: 'spec.delivery.timeout: must be above zero',
    },
    { name: 'a Retry-After of at most zero', spec: 'retryAfterMax: PT0S' },
    {
      name: 'a Retry-After of at most a word',
      spec: 'retryAfterMax: PT',
      fault: `spec.delivery.retryAfterMax: ${NO_DURATION}`,
    },
    { name: 'a dead letter sink', spec: 'deadLetterSink: {uri: "http://a/"}' },
    {
      name: 'a dead letter sink that is nowhere',
      spec: 'deadLetterSink: {}',
      fault: 'spec.delivery.deadLetterSink: one of ref and uri is needed',
    },
  ])('of a delivery: $name', async ({ spec, fault }) => {
    await check(broker('b', `spec: {delivery: {${spec}}}`), fault);
  });
});
