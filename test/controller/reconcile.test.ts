import { describe, expect, test } from '@jest/globals';
import { generate } from 'selfsigned';
import { reconcile, type Reconciled } from '../../controller/reconcile.ts';
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
const CHANNEL_C = '{apiVersion: messaging.knear.dev/v1, kind: KnearChannel, name: c}';
const SERVICE_A = '{ref: {apiVersion: v1, kind: Service, name: a}}';

function service(spec: string, name = 'a'): string {
  return `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
}

/** A Trigger `t` of the Broker `default` with these further lines of its spec. */
function triggerTo(subscriber: string, more = '', metadata = ''): string {
  return trigger(`  broker: default\n  subscriber: ${subscriber}\n${more}`, metadata);
}

/** A Subscription `s` of the KnearChannel `c` with these further lines of its spec. */
function subscriptionOfC(more: string, metadata = ''): string {
  return subscription(`  channel: ${CHANNEL_C}\n${more}`, metadata);
}

async function reconciled(...texts: string[]): Promise<Reconciled> {
  const options = { revision: 7, defaults: DEFAULTS, baseUrl: 'http://door:8080' };
  return reconcile(await snapshotOf(documents(...texts)), options);
}

function egress({ topology }: Reconciled) {
  const [first] = topology.egresses.values();
  if (first === undefined) throw new Error('there is no egress');
  return first;
}

function status({ statuses }: Reconciled, id: string) {
  return statuses.find((each) => each.resourceId === id);
}

describe('an ingress', () => {
  test('of a Broker is reached by its path', async () => {
    const { topology, statuses } = await reconciled(broker('orders', '  namespace: shop'));
    expect([...topology.ingresses]).toEqual([
      [
        'Broker/shop/orders',
        {
          id: 'Broker/shop/orders',
          kind: 'broker',
          namespace: 'shop',
          name: 'orders',
          path: '/shop/orders',
          hosts: [],
          eventMaxBytes: 1000,
          attributesMaxBytes: 100,
          isEarly: true,
          claims: CLAIMS,
          hops: { isOn: false, redoMaxMs: 1_000 },
        },
      ],
    ]);
    expect(topology.revision).toBe(7);
    expect(statuses).toMatchObject([
      {
        resourceId: 'Broker/shop/orders',
        kind: 'Broker',
        isReady: true,
        reason: 'Ready',
        message: '',
        infos: [],
        address: '/shop/orders',
      },
    ]);
  });

  test.each(['Channel', 'InMemoryChannel', 'KnearChannel'])(
    'of a %s is reached by its path and by its host name',
    async (kind) => {
      const { topology } = await reconciled(channel('c', '  namespace: shop', kind));
      expect(topology.ingresses.get(`${kind}/shop/c`)).toMatchObject({
        kind: 'channel',
        path: '/shop/channels/c',
        hosts: ['c-kn-channel.shop.svc.cluster.local'],
      });
    },
  );

  test('is shared by a generic Channel and the channel behind it', async () => {
    const result = await reconciled(
      channel('c', '', 'Channel'),
      channel('c', '', 'InMemoryChannel'),
      subscription(
        '  channel: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: c}\n  subscriber: {uri: "http://a/"}',
      ),
    );
    expect([...result.topology.ingresses.keys()]).toEqual(['InMemoryChannel/default/c']);
    expect(egress(result).ingressId).toBe('InMemoryChannel/default/c');
    expect(status(result, 'Channel/default/c')).toMatchObject({
      isReady: true,
      address: '/default/channels/c',
    });
  });

  test('delivers early unless its annotation says otherwise', async () => {
    const off = '  annotations: {knear.dev/early-delivery: "off"}';
    const { topology } = await reconciled(broker('a', off), broker('b'));
    expect(topology.ingresses.get('Broker/default/a')?.isEarly).toBe(false);
    expect(topology.ingresses.get('Broker/default/b')?.isEarly).toBe(true);
  });
});

describe('an egress', () => {
  test('of a Trigger has its Broker for replies, and the defaults of the webhook and ours', async () => {
    const result = await reconciled(broker(), triggerTo('{uri: "http://a.example/in"}'));
    expect(egress(result)).toEqual({
      id: 'Trigger/default/t',
      kind: 'trigger',
      namespace: 'default',
      name: 't',
      ingressId: 'Broker/default/default',
      filter: { kind: 'everything' },
      subscriber: { kind: 'url', url: 'http://a.example/in' },
      reply: {
        kind: 'ingress',
        url: 'http://door:8080/default/default',
        ingressId: 'Broker/default/default',
      },
      retry: { retries: 10, backoff: 'exponential', delayMs: 200 },
      timeoutMs: 600_000,
      idleMs: 60_000,
      claims: CLAIMS,
      format: 'binary',
      order: 'none',
      isPaused: false,
      exhausted: 'park',
      placement: 'nearest',
      hops: { isOn: false, redoMaxMs: 1_000 },
    });
    expect(status(result, 'Trigger/default/t')).toMatchObject({ isReady: true, reason: 'Ready' });
  });

  test('of a Subscription has no retries and no replies unless it says so', async () => {
    const result = await reconciled(
      channel('c'),
      subscriptionOfC('  subscriber: {uri: "http://a/"}'),
    );
    const { subscriber, retry, kind, ingressId, ...rest } = egress(result);
    expect({ subscriber, retry, kind, ingressId }).toEqual({
      subscriber: { kind: 'url', url: 'http://a/' },
      retry: { retries: 0, backoff: 'none', delayMs: 0 },
      kind: 'subscription',
      ingressId: 'KnearChannel/default/c',
    });
    expect(rest).not.toHaveProperty('reply');
  });

  test('of a Subscription sends replies where it says', async () => {
    const reply = `  subscriber: {uri: "http://a/"}\n  reply: {ref: ${CHANNEL_C}}`;
    expect(egress(await reconciled(channel('c'), subscriptionOfC(reply))).reply).toEqual({
      kind: 'ingress',
      url: 'http://door:8080/default/channels/c',
      ingressId: 'KnearChannel/default/c',
    });
  });
});

describe('where a Destination leads', () => {
  const url = (text: string) => ({ kind: 'url', url: text });
  const toA = (text: string, port = 80) => ({
    kind: 'service',
    url: `http://a.default.svc.cluster.local${text}`,
    service: 'default/a',
    port,
  });
  const ingress = (ingressId: string, text: string) => ({ kind: 'ingress', url: text, ingressId });
  const refTo = (apiVersion: string, kind: string, name: string) =>
    `{ref: {apiVersion: ${apiVersion}, kind: ${kind}, name: ${name}}}`;
  const toChannel = ingress('KnearChannel/default/c', 'http://door:8080/default/channels/c');

  const cases: { name: string; to: string; service?: string; target: object }[] = [
    {
      name: 'a uri is called as given',
      to: '{uri: "https://a:1/x?y#z"}',
      target: url('https://a:1/x?y#z'),
    },
    { name: 'so is one that cannot be called', to: '{uri: "bad://uri"}', target: url('bad://uri') },
    {
      name: 'a Service is called at port 80',
      to: SERVICE_A,
      service: '{ports: [{port: 80}]}',
      target: toA(''),
    },
    {
      name: 'also where it is not the first',
      to: SERVICE_A,
      service: '{ports: [{port: 9000, name: m}, {port: 80, name: h}]}',
      target: toA(''),
    },
    {
      name: 'else at its first port',
      to: SERVICE_A,
      service: '{ports: [{port: 9000}, {port: 9001}]}',
      target: toA(':9000', 9000),
    },
    {
      name: 'and at 80 when it names no port',
      to: SERVICE_A,
      service: '{clusterIP: None}',
      target: toA(''),
    },
    {
      name: 'a path is added',
      to: '{ref: {apiVersion: v1, kind: Service, name: a}, uri: /x/y?z=1}',
      service: '{}',
      target: toA('/x/y?z=1'),
    },
    {
      name: 'a path without slash, too',
      to: '{ref: {apiVersion: v1, kind: Service, name: a}, uri: x}',
      service: '{}',
      target: toA('/x'),
    },
    {
      name: 'an ExternalName is called by that name',
      to: SERVICE_A,
      service: '{type: ExternalName, externalName: api.example}',
      target: url('http://api.example'),
    },
    {
      name: 'a path at a Broker is that path at the door',
      to: '{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}, uri: /x}',
      target: url('http://door:8080/x'),
    },
    {
      name: 'which may be the address of another one',
      to: '{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}, uri: channels/c}',
      target: toChannel,
    },
    {
      name: 'the address of a Channel at the door needs no request',
      to: '{uri: "http://door:8080/default/channels/c"}',
      target: toChannel,
    },
    {
      name: 'an address by its name',
      to: '{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default, address: http}}',
      target: ingress('Broker/default/default', 'http://door:8080/default/default'),
    },
    {
      name: 'a Service of Serving has a plain one of its name',
      to: refTo('serving.knative.dev/v1', 'Service', 'a'),
      service: '{}',
      target: toA(''),
    },
    {
      name: 'a Broker needs no request',
      to: refTo('eventing.knative.dev/v1', 'Broker', 'default'),
      target: ingress('Broker/default/default', 'http://door:8080/default/default'),
    },
    {
      name: 'nor does a Channel',
      to: refTo('messaging.knear.dev/v1', 'KnearChannel', 'c'),
      target: toChannel,
    },
    {
      name: 'nor the host name of a Channel',
      to: '{uri: "http://c-kn-channel.default.svc.cluster.local/"}',
      target: toChannel,
    },
    {
      name: 'with or without a slash',
      to: '{uri: "http://C-kn-channel.default.svc.cluster.local"}',
      target: toChannel,
    },
    {
      name: 'but not with a path',
      to: '{uri: "http://c-kn-channel.default.svc.cluster.local/x"}',
      target: url('http://c-kn-channel.default.svc.cluster.local/x'),
    },
    {
      name: 'nor with another scheme',
      to: '{uri: "https://c-kn-channel.default.svc.cluster.local/"}',
      target: url('https://c-kn-channel.default.svc.cluster.local/'),
    },
    {
      name: 'nor of a Channel that is not there',
      to: '{uri: "http://d-kn-channel.default.svc.cluster.local/"}',
      target: url('http://d-kn-channel.default.svc.cluster.local/'),
    },
  ];

  test.each(cases)('$name', async ({ to, service: spec, target }) => {
    const services = spec === undefined ? [] : [service(spec)];
    const result = await reconciled(broker(), channel('c'), triggerTo(to), ...services);
    expect(egress(result).subscriber).toEqual(target);
  });

  test('a Service with certificates is called by https, with trust in them', async () => {
    const { cert } = await generate();
    const to = (more: string) => `{${more}, CACerts: ${JSON.stringify(cert.replaceAll('\r', ''))}}`;
    const ref = 'ref: {apiVersion: v1, kind: Service, name: a}';
    const result = await reconciled(broker(), service('{}'), triggerTo(to(ref)));
    expect(egress(result).subscriber).toEqual({
      ...toA('', 443),
      url: 'https://a.default.svc.cluster.local',
      caCerts: expect.stringContaining('BEGIN CERTIFICATE'),
    });
    const plain = await reconciled(broker(), triggerTo(to('uri: "https://x/"')));
    expect(egress(plain).subscriber).toMatchObject({
      url: 'https://x/',
      caCerts: expect.any(String),
    });
  });

  test('a ref may name another namespace', async () => {
    const far = 'apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: far}\nspec: {}\n';
    const to = '{ref: {apiVersion: v1, kind: Service, name: a, namespace: far}}';
    expect(egress(await reconciled(broker(), far, triggerTo(to))).subscriber).toMatchObject({
      url: 'http://a.far.svc.cluster.local',
      service: 'far/a',
    });
  });

  const nowhere: { name: string; to: string; message: string }[] = [
    {
      name: 'a Service that is not there',
      to: SERVICE_A,
      message: 'Service/default/a does not exist',
    },
    {
      name: 'a Channel that is not there',
      to: refTo('messaging.knear.dev/v1', 'KnearChannel', 'x'),
      message: 'KnearChannel/default/x does not exist',
    },
    {
      name: 'a kind that is not known',
      to: refTo('sinks.knative.dev/v1alpha1', 'JobSink', 'a'),
      message: 'JobSink of sinks.knative.dev/v1alpha1 has no address that knear knows',
    },
    {
      name: 'an address by a name that no Broker has',
      to: '{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default, address: https}}',
      message: 'address with name "https" not found for Broker/default/default',
    },
  ];

  test('nowhere: a Service whose name for others is no host', async () => {
    const external = service('{type: ExternalName, externalName: "999.999.999.999"}');
    const result = await reconciled(broker(), external, triggerTo(SERVICE_A));
    expect(status(result, 'Trigger/default/t')?.message).toBe(
      '999.999.999.999 is not a host name that can be called',
    );
  });

  test.each(nowhere)('nowhere: $name', async ({ to, message }) => {
    const result = await reconciled(broker(), triggerTo(to));
    expect(result.topology.egresses.size).toBe(0);
    expect(status(result, 'Trigger/default/t')).toMatchObject({
      isReady: false,
      reason: "Unable to get the Subscriber's URI",
      message,
    });
  });
});

describe('what is not ready', () => {
  test('a Trigger whose Broker is not there', async () => {
    const result = await reconciled(triggerTo('{uri: "http://a/"}'));
    expect(result.topology.egresses.size).toBe(0);
    expect(status(result, 'Trigger/default/t')).toMatchObject({
      isReady: false,
      reason: 'BrokerDoesNotExist',
      message: 'Broker "default" does not exist',
    });
  });

  test('a Trigger whose Broker is in another namespace', async () => {
    const result = await reconciled(
      broker(),
      triggerTo('{uri: "http://a/"}', '', '  namespace: far'),
    );
    expect(status(result, 'Trigger/far/t')?.reason).toBe('BrokerDoesNotExist');
  });

  test.each([
    ['that is not there', CHANNEL_C],
    [
      'of a kind that is not ours',
      '{apiVersion: messaging.knative.dev/v1beta1, kind: KafkaChannel, name: c}',
    ],
    ['that is a Broker', '{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}'],
  ])('a Subscription whose Channel is one %s', async (_, ref) => {
    const result = await reconciled(
      broker(),
      subscription(`  channel: ${ref}\n  subscriber: {uri: "http://a/"}`),
    );
    expect(result.topology.egresses.size).toBe(0);
    expect(status(result, 'Subscription/default/s')?.reason).toBe('ChannelReferenceFailed');
  });

  test('a Subscription whose reply leads nowhere', async () => {
    const spec = `  subscriber: {uri: "http://a/"}\n  reply: ${SERVICE_A}`;
    const result = await reconciled(channel('c'), subscriptionOfC(spec));
    expect(result.topology.egresses.size).toBe(0);
    expect(status(result, 'Subscription/default/s')?.reason).toBe('ReplyResolveFailed');
  });

  test('a Broker whose dead letter sink leads nowhere, with its Triggers, which run on and park', async () => {
    const result = await reconciled(
      broker('default', `spec: {delivery: {deadLetterSink: ${SERVICE_A}}}`),
      triggerTo('{uri: "http://a/"}', '', '  annotations: {knear.dev/exhausted: drop}'),
    );
    for (const id of ['Broker/default/default', 'Trigger/default/t']) {
      expect(status(result, id)).toMatchObject({
        isReady: false,
        reason: "Unable to get the dead letter sink's URI",
      });
    }
    expect(result.topology.ingresses.size).toBe(1);
    expect(egress(result).exhausted).toBe('park');
    expect(egress(result)).not.toHaveProperty('deadLetter');
  });

  test('a Trigger whose Broker is not, though its own dead letter sink is there and used', async () => {
    const result = await reconciled(
      broker('default', `spec: {delivery: {deadLetterSink: ${SERVICE_A}}}`),
      triggerTo('{uri: "http://a/"}', '  delivery: {deadLetterSink: {uri: "http://d/"}}'),
    );
    expect(status(result, 'Trigger/default/t')?.isReady).toBe(false);
    expect(egress(result).deadLetter).toEqual({ kind: 'url', url: 'http://d/' });
  });

  test('a resource of which no version was ever valid', async () => {
    const result = await reconciled(broker(), trigger('  broker: default\n'));
    expect(status(result, 'Trigger/default/t')).toEqual({
      resourceId: 'Trigger/default/t',
      kind: 'Trigger',
      isReady: false,
      reason: 'ManifestInvalid',
      message: 'file.yaml:14: spec: subscriber is missing',
      infos: [],
    });
  });

  test('is not a resource of which an older version runs on: that is only told', async () => {
    const { resources } = await snapshotOf(broker());
    const problem = {
      code: 'KNEAR_MANIFEST_INVALID' as const,
      where: 'b.yaml:4',
      resourceId: 'Broker/default/default',
      detail: 'spce: unknown field',
    };
    const result = reconcile(
      { resources, problems: [problem] },
      { revision: 1, defaults: DEFAULTS },
    );
    expect(result.statuses).toEqual([
      expect.objectContaining({
        isReady: true,
        infos: ['another version is not used: b.yaml:4: spce: unknown field'],
      }),
    ]);
  });

  test('is not told of Services and files, which have no status', async () => {
    const { resources } = await snapshotOf(service('{}'));
    const code = 'KNEAR_MANIFEST_INVALID' as const;
    const problems = [
      { code, where: 'a:1', detail: 'x' },
      { code, where: 'a:1', detail: 'x', resourceId: 'Service/default/a' },
    ];
    expect(
      reconcile({ resources, problems }, { revision: 1, defaults: DEFAULTS }).statuses,
    ).toEqual([]);
  });
});

describe('delivery', () => {
  const brokerWith = (delivery: string) => broker('default', `spec: {delivery: ${delivery}}`);
  const triggerWith = (delivery: string) =>
    triggerTo('{uri: "http://a/"}', `  delivery: ${delivery}`);

  test('of a Trigger replaces the whole block of its Broker, but not the dead letter sink', async () => {
    const result = await reconciled(
      brokerWith(
        '{retry: 5, backoffPolicy: linear, backoffDelay: PT1S, timeout: PT5S, retryAfterMax: PT1M, format: json, deadLetterSink: {uri: "http://d/"}}',
      ),
      triggerWith('{retry: 2}'),
    );
    expect(egress(result)).toMatchObject({
      retry: { retries: 2, backoff: 'none', delayMs: 0 },
      timeoutMs: 600_000,
      format: 'binary',
      deadLetter: { kind: 'url', url: 'http://d/' },
    });
    expect(egress(result).retry).not.toHaveProperty('retryAfterMaxMs');
  });

  test('of the Broker holds for a Trigger that has none, except for the format', async () => {
    const result = await reconciled(
      brokerWith(
        '{retry: 5, backoffPolicy: linear, backoffDelay: PT1S, timeout: PT5S, retryAfterMax: PT1M, format: json}',
      ),
      triggerTo('{uri: "http://a/"}'),
    );
    expect(egress(result)).toMatchObject({
      retry: { retries: 5, backoff: 'linear', delayMs: 1000, retryAfterMaxMs: 60_000 },
      timeoutMs: 5000,
      format: 'binary',
    });
  });

  test.each([
    { name: 'nothing', ofBroker: '{retry: 1}', ofTrigger: undefined, idleMs: 60_000 },
    { name: 'a block without one', ofBroker: '{timeout: PT5S}', ofTrigger: '{}', idleMs: 60_000 },
    { name: 'the Trigger', ofBroker: '{}', ofTrigger: '{timeout: PT5S}', idleMs: undefined },
    { name: 'the Broker', ofBroker: '{timeout: PT5S}', ofTrigger: undefined, idleMs: undefined },
  ])(
    'bounds standing still only where nobody names a timeout: named by $name',
    async ({ ofBroker, ofTrigger, idleMs }) => {
      const own =
        ofTrigger === undefined ? triggerTo('{uri: "http://a/"}') : triggerWith(ofTrigger);
      expect(egress(await reconciled(brokerWith(ofBroker), own)).idleMs).toBe(idleMs);
    },
  );

  test('of a Trigger has its own dead letter sink and format', async () => {
    const result = await reconciled(
      brokerWith('{deadLetterSink: {uri: "http://d/"}}'),
      triggerWith('{format: json, deadLetterSink: {uri: "http://e/"}}'),
    );
    expect(egress(result)).toMatchObject({
      format: 'json',
      deadLetter: { kind: 'url', url: 'http://e/' },
    });
  });

  test('of a Broker that has any is not filled up with defaults', async () => {
    const result = await reconciled(brokerWith('{}'), triggerTo('{uri: "http://a/"}'));
    expect(egress(result).retry).toEqual({ retries: 0, backoff: 'none', delayMs: 0 });
  });

  test('of a Trigger that is empty counts as its own', async () => {
    const result = await reconciled(brokerWith('{retry: 5}'), triggerWith('{}'));
    expect(egress(result).retry.retries).toBe(0);
  });

  test('of a Channel holds for its Subscriptions in the same way', async () => {
    const result = await reconciled(
      channel('c', 'spec: {delivery: {retry: 4, deadLetterSink: {uri: "http://d/"}}}'),
      subscriptionOfC('  subscriber: {uri: "http://a/"}\n  delivery: {timeout: PT1S}'),
    );
    expect(egress(result)).toMatchObject({
      retry: { retries: 0 },
      timeoutMs: 1000,
      deadLetter: { url: 'http://d/' },
    });
  });
});

describe('filters', () => {
  const cases: { name: string; spec: string; filter: object }[] = [
    {
      name: 'attributes',
      spec: '  filter: {attributes: {type: a, source: ""}}',
      filter: { kind: 'attributes', values: { type: 'a', source: '' } },
    },
    { name: 'no attributes', spec: '  filter: {attributes: {}}', filter: { kind: 'everything' } },
    { name: 'nothing', spec: '  filter:\n', filter: { kind: 'everything' } },
    {
      name: 'an empty list, which leaves the older form in force',
      spec: '  filters: []\n  filter: {attributes: {type: a}}',
      filter: { kind: 'attributes', values: { type: 'a' } },
    },
    {
      name: 'a list, which replaces the older form',
      spec: '  filters: [{exact: {type: b}}]\n  filter: {attributes: {type: a}}',
      filter: { kind: 'all', filters: [{ kind: 'exact', values: { type: 'b' } }] },
    },
    {
      name: 'several entries',
      spec: '  filters: [{prefix: {type: a}}, {suffix: {type: b}}]',
      filter: {
        kind: 'all',
        filters: [
          { kind: 'prefix', values: { type: 'a' } },
          { kind: 'suffix', values: { type: 'b' } },
        ],
      },
    },
    {
      name: 'nested entries',
      spec: '  filters: [{any: [{not: {exact: {type: a}}}, {all: [{exact: {type: b}}]}]}]',
      filter: {
        kind: 'all',
        filters: [
          {
            kind: 'any',
            filters: [
              { kind: 'not', filter: { kind: 'exact', values: { type: 'a' } } },
              { kind: 'all', filters: [{ kind: 'exact', values: { type: 'b' } }] },
            ],
          },
        ],
      },
    },
    {
      name: 'an empty entry',
      spec: '  filters: [{}]',
      filter: { kind: 'all', filters: [{ kind: 'all', filters: [] }] },
    },
    {
      name: 'an entry of empty dialects',
      spec: '  filters: [{exact: {}, any: []}]',
      filter: { kind: 'all', filters: [{ kind: 'all', filters: [] }] },
    },
    {
      name: 'the opposite of an empty entry',
      spec: '  filters: [{not: {}}]',
      filter: { kind: 'all', filters: [{ kind: 'not', filter: { kind: 'all', filters: [] } }] },
    },
  ];

  test.each(cases)('are compiled: $name', async ({ spec, filter }) => {
    const result = await reconciled(broker(), triggerTo('{uri: "http://a/"}', spec));
    expect(egress(result).filter).toEqual(filter);
  });
});

describe('an annotation', () => {
  const on = (text: string) => `  annotations: {${text}}`;

  const cases: { name: string; broker?: string; trigger?: string; egress: object }[] = [
    { name: 'has its default', egress: { isPaused: false, order: 'none', exhausted: 'park' } },
    {
      name: 'of a Trigger holds',
      trigger: 'knear.dev/paused: "true", knear.dev/order: key, knear.dev/exhausted: drop',
      egress: { isPaused: true, order: 'key', exhausted: 'drop' },
    },
    {
      name: 'of a Broker holds for its Triggers',
      broker: 'knear.dev/paused: "true", knear.dev/order: key, knear.dev/exhausted: drop',
      egress: { isPaused: true, order: 'key', exhausted: 'drop' },
    },
    {
      name: 'of a Trigger wins over that of its Broker',
      broker: 'knear.dev/paused: "true"',
      trigger: 'knear.dev/paused: "false"',
      egress: { isPaused: false },
    },
  ];

  test.each(cases)(
    '$name',
    async ({ broker: own = '', trigger: nearer = '', egress: expected }) => {
      const result = await reconciled(
        broker('default', on(own)),
        triggerTo('{uri: "http://a/"}', '', on(nearer)),
      );
      expect(egress(result)).toMatchObject(expected);
    },
  );

  test('of a Channel holds for its Subscriptions', async () => {
    const result = await reconciled(
      channel('c', on('knear.dev/order: key')),
      subscriptionOfC('  subscriber: {uri: "http://a/"}'),
    );
    expect(egress(result).order).toBe('key');
  });

  test('that is not known, or does nothing here, is told and stops nothing', async () => {
    const result = await reconciled(
      broker('default', on('knear.dev/pausd: "true", other.dev/x: y')),
      triggerTo('{uri: "http://a/"}', '', on('knear.dev/early-delivery: "off"')),
    );
    expect(status(result, 'Broker/default/default')).toMatchObject({
      isReady: true,
      infos: ['unknown annotation knear.dev/pausd; did you mean knear.dev/paused?'],
    });
    expect(status(result, 'Trigger/default/t')).toMatchObject({
      isReady: true,
      infos: ['annotation knear.dev/early-delivery has no effect on a Trigger'],
    });
  });
});

test('an empty snapshot is an empty topology', () => {
  const { topology, statuses } = reconcile(
    { resources: [], problems: [] },
    { revision: 1, defaults: DEFAULTS },
  );
  expect(topology).toEqual({
    revision: 1,
    ingresses: new Map(),
    egresses: new Map(),
    services: new Map(),
    correlationKeys: new Map(),
  });
  expect(statuses).toEqual([]);
});
