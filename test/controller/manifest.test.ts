import { describe, expect, test } from '@jest/globals';
import {
  broker,
  channel,
  complaintsOf,
  documents,
  problemsOf,
  readFileText,
  snapshotOf,
  subscription,
  trigger,
} from './manifests.ts';

const TO_URI = '  broker: default\n  subscriber: {uri: "http://a.example/in"}\n';

describe('a file that is not to be read at all', () => {
  const cases: { name: string; text: string | Uint8Array; where: string; detail: RegExp }[] = [
    { name: 'tabs as indentation', text: 'a:\n\tb: 1\n', where: '2:1', detail: /Tabs/ },
    { name: 'a bracket left open', text: 'a: 1\nb: [1, 2\n', where: '3:1', detail: /\]/ },
    { name: 'one key twice', text: 'a: 1\nb: 1\na: 2\n', where: '3:1', detail: /unique/ },
    {
      name: 'a fault in the second document',
      text: 'a: 1\n---\nb: c: d\n',
      where: '3:4',
      detail: /Nested/,
    },
    {
      name: 'a binary file',
      text: Buffer.from([0x89, 0x50, 0x4e, 0x47, 0xff, 0xd8]),
      where: '1:1',
      detail: /UTF-8/,
    },
    { name: 'a text with zero bytes', text: 'a: \0\n', where: '1:1', detail: /UTF-8/ },
    { name: 'UTF-16', text: Buffer.from('\ufeffa: 1', 'utf16le'), where: '1:1', detail: /UTF-8/ },
    { name: 'a broken directive', text: '%TAG\n', where: '1:1', detail: /TAG/ },
    { name: 'an alias without anchor', text: 'a: *b\n', where: '1:1', detail: /alias/ },
    { name: 'aliases that multiply', text: bomb(), where: '1:1', detail: /alias/i },
    {
      name: 'too deep a nesting',
      text: `a: ${'['.repeat(150)}${']'.repeat(150)}`,
      where: '1:1',
      detail: /100 levels/,
    },
    { name: 'a nesting beyond the stack', text: '['.repeat(100_000), where: '1:', detail: /./ },
  ];

  test.each(cases)('$name is told with line and column', async ({ text, where, detail }) => {
    const file = await readFileText(text);
    expect(file).toEqual({
      kind: 'unusable',
      problem: {
        code: 'KNEAR_MANIFEST_UNPARSABLE',
        where: expect.stringContaining(`file.yaml:${where}`),
        detail: expect.stringMatching(detail),
      },
    });
  });
});

describe('a document that is not valid', () => {
  const cases: { name: string; text: string; complaint: string }[] = [
    {
      name: 'an unknown field, with a suggestion',
      text: trigger('  broker: default\n  subscriber: {uri: "http://a/"}\n  fliter: {}\n'),
      complaint: 'file.yaml:10 spec.fliter: unknown field; did you mean filter?',
    },
    {
      name: 'an unknown field far from any known one, without a suggestion',
      text: trigger(`${TO_URI}  parallelism: 3\n`),
      complaint: 'file.yaml:10 spec.parallelism: unknown field',
    },
    {
      name: 'a field in the wrong case',
      text: broker('b', 'spec: {delivery: {deadlettersink: {uri: "http://a/"}}}'),
      complaint:
        'file.yaml:6 spec.delivery.deadlettersink: unknown field; did you mean deadLetterSink?',
    },
    {
      name: 'an unknown field of the metadata',
      text: broker('b', '  anotations: {}'),
      complaint: 'file.yaml:6 metadata.anotations: unknown field; did you mean annotations?',
    },
    {
      name: 'an unknown dialect, deep inside',
      text: trigger(`${TO_URI}  filters:\n  - any:\n    - not:\n        exat: {type: a}\n`),
      complaint: 'file.yaml:13 spec.filters[0].any[0].not.exat: unknown field; did you mean exact?',
    },
    {
      name: 'a number where a text belongs',
      text: trigger(`${TO_URI}  filters:\n  - exact: {type: 5}\n`),
      complaint:
        'file.yaml:11 spec.filters[0].exact.type: must be of type string, 5 is not (put it in quotes)',
    },
    {
      name: 'a text where a number belongs',
      text: broker('b', 'spec: {delivery: {retry: "3"}}'),
      complaint: 'file.yaml:6 spec.delivery.retry: must be of type integer, "3" is not',
    },
    {
      name: 'a list where a map belongs',
      text: trigger(`${TO_URI}  filter: [a]\n`),
      complaint: 'file.yaml:10 spec.filter: must be of type object, ["a"] is not',
    },
    {
      name: 'an annotation that is no text',
      text: trigger(TO_URI, '  annotations: {knear.dev/paused: true}'),
      complaint:
        'file.yaml:6 metadata.annotations.knear.dev/paused: must be of type string, true is not (put it in quotes)',
    },
    {
      name: 'an annotation with an unknown value',
      text: trigger(TO_URI, '  annotations: {knear.dev/paused: "yes"}'),
      complaint:
        'file.yaml:6 metadata.annotations.knear.dev/paused: "yes" is not one of false, true',
    },
    {
      name: 'a missing field',
      text: trigger('  broker: default\n'),
      complaint: 'file.yaml:7 spec: subscriber is missing',
    },
    {
      name: 'a field without a value that is needed',
      text: trigger('  broker: default\n  subscriber:\n'),
      complaint: 'file.yaml:7 spec: subscriber is missing',
    },
    {
      name: 'a missing spec',
      text: 'apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\n',
      complaint: 'file.yaml:1 spec is missing',
    },
    {
      name: 'an unknown choice, with a suggestion',
      text: broker('b', 'spec: {delivery: {backoffPolicy: exponentiel}}'),
      complaint:
        'file.yaml:6 spec.delivery.backoffPolicy: "exponentiel" is not one of linear, exponential; did you mean exponential?',
    },
    {
      name: 'a negative number of retries',
      text: broker('b', 'spec: {delivery: {retry: -1}}'),
      complaint: 'file.yaml:6 spec.delivery.retry: must be >= 0',
    },
    {
      name: 'more retries than 32 bits hold',
      text: broker('b', 'spec: {delivery: {retry: 2147483648}}'),
      complaint: 'file.yaml:6 spec.delivery.retry: must match format "int32"',
    },
    {
      name: 'a duration that is none',
      text: broker('b', 'spec: {delivery: {backoffDelay: 10s}}'),
      complaint:
        'file.yaml:6 spec.delivery.backoffDelay: "10s" does not fit: The first wait, an ISO 8601 duration such as PT0.2S.',
    },
    {
      name: 'a duration with something behind it',
      text: broker('b', 'spec: {delivery: {backoffDelay: PT1S2}}'),
      complaint:
        'file.yaml:6 spec.delivery.backoffDelay: "PT1S2" does not fit: The first wait, an ISO 8601 duration such as PT0.2S.',
    },
    {
      name: 'a duration without any unit',
      text: broker('b', 'spec: {delivery: {retryAfterMax: PT}}'),
      complaint: 'file.yaml:6 spec.delivery.retryAfterMax: not an ISO 8601 duration such as PT0.2S',
    },
    {
      name: 'a timeout of nothing',
      text: broker('b', 'spec: {delivery: {timeout: PT0S}}'),
      complaint: 'file.yaml:6 spec.delivery.timeout: must be above zero',
    },
    {
      name: 'two dialects in one entry',
      text: trigger(`${TO_URI}  filters:\n  - exact: {type: a}\n    prefix: {source: b}\n`),
      complaint:
        'file.yaml:11 spec.filters[0]: one dialect an entry: put exact and prefix into entries of their own',
    },
    {
      name: 'two dialects in a nested entry',
      text: trigger(`${TO_URI}  filters:\n  - all:\n    - suffix: {type: a}\n      not: {}\n`),
      complaint:
        'file.yaml:12 spec.filters[0].all[0]: one dialect an entry: put suffix and not into entries of their own',
    },
    {
      name: 'an attribute name in capitals',
      text: trigger(`${TO_URI}  filters:\n  - exact:\n      Type: a\n`),
      complaint:
        'file.yaml:12 spec.filters[0].exact.Type: not an attribute name: lower-case letters and digits only, a letter first',
    },
    {
      name: 'an attribute name that begins with a digit, in the older form',
      text: trigger(`${TO_URI}  filter: {attributes: {1st: a}}\n`),
      complaint:
        'file.yaml:10 spec.filter.attributes.1st: not an attribute name: lower-case letters and digits only, a letter first',
    },
    {
      name: 'an empty value in a dialect',
      text: trigger(`${TO_URI}  filters: [{exact: {type: ""}}]\n`),
      complaint: 'file.yaml:10 spec.filters[0].exact.type: must not be empty',
    },
    {
      name: 'a subscriber that says nothing',
      text: trigger('  broker: default\n  subscriber: {}\n'),
      complaint: 'file.yaml:9 spec.subscriber: one of ref and uri is needed',
    },
    {
      name: 'a relative uri on its own',
      text: trigger('  broker: default\n  subscriber: {uri: /orders}\n'),
      complaint:
        'file.yaml:9 spec.subscriber.uri: needs a scheme and a host, as in http://host/path, when there is no ref',
    },
    {
      name: 'an absolute uri next to a ref',
      text: trigger(
        '  broker: d\n  subscriber: {ref: {apiVersion: v1, kind: Service, name: a}, uri: "http://b/"}\n',
      ),
      complaint: 'file.yaml:9 spec.subscriber.uri: must be relative next to ref',
    },
    {
      name: 'a uri next to a ref that has another host',
      text: trigger(
        '  broker: d\n  subscriber: {ref: {apiVersion: v1, kind: Service, name: a}, uri: \\\\b/c}\n',
      ),
      complaint: 'file.yaml:9 spec.subscriber.uri: must be relative next to ref',
    },
    {
      name: 'a ref without a version',
      text: trigger('  broker: d\n  subscriber: {ref: {kind: Service, name: a}}\n'),
      complaint: 'file.yaml:9 spec.subscriber.ref: apiVersion is missing',
    },
    {
      name: 'a Trigger without a Broker',
      text: trigger('  subscriber: {uri: "http://a/"}\n'),
      complaint: 'file.yaml:7 spec: exactly one of broker and brokerRef is needed',
    },
    {
      name: 'a Trigger with a Broker named twice',
      text: trigger(`${TO_URI}  brokerRef: {kind: Broker, name: default}\n`),
      complaint: 'file.yaml:7 spec: exactly one of broker and brokerRef is needed',
    },
    {
      name: 'a reference to something else than a Broker',
      text: trigger('  brokerRef: {kind: Bucket, name: b}\n  subscriber: {uri: "http://a/"}\n'),
      complaint: 'file.yaml:8 spec.brokerRef.kind: must be Broker',
    },
    {
      name: 'a Broker in another namespace',
      text: trigger(
        '  brokerRef: {kind: Broker, name: b, namespace: far}\n  subscriber: {uri: "http://a/"}\n',
      ),
      complaint:
        'file.yaml:8 spec.brokerRef.namespace: must be default, the namespace of the resource itself, or absent',
    },
    {
      name: 'a name with a slash',
      text: broker('a/b'),
      complaint:
        'file.yaml:5 metadata.name: "a/b" does not fit: Lower-case letters, digits, - and . only, a letter or digit at both ends.',
    },
    {
      name: 'a version that is gone',
      text: broker().replace('/v1', '/v1beta1'),
      complaint: 'file.yaml:2 apiVersion: version v1beta1 is not served, only v1 is',
    },
    {
      name: 'a port that is none',
      text: 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n  - port: 70000\n',
      complaint: 'file.yaml:6 spec.ports[0].port: must be <= 65535',
    },
    {
      name: 'an ExternalName without a name',
      text: 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: ExternalName}\n',
      complaint: 'file.yaml:4 spec: externalName is needed for the type ExternalName',
    },
    {
      name: 'an endpoint without an address',
      text: 'apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\nendpoints:\n- {}\n',
      complaint: 'file.yaml:5 endpoints[0]: addresses is missing',
    },
    {
      name: 'a type of addresses that there is not',
      text: 'apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: ipv4\n',
      complaint:
        'file.yaml:4 addressType: "ipv4" is not one of IPv4, IPv6, FQDN; did you mean IPv4?',
    },
    {
      name: 'a Pod whose address is none',
      text: 'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {podIPs: [{ip: 10}]}\n',
      complaint:
        'file.yaml:4 status.podIPs[0].ip: must be of type string, 10 is not (put it in quotes)',
    },
    {
      name: 'a placement that a Service cannot have',
      text: 'apiVersion: v1\nkind: Service\nmetadata: {name: a, annotations: {knear.dev/placement: off}}\n',
      complaint:
        'file.yaml:3 metadata.annotations.knear.dev/placement: "off" is not one of nearest, spread, service',
    },
  ];

  test.each(cases)('is told where and why: $name', async ({ text, complaint }) => {
    const { resources, problems } = await snapshotOf(text);
    expect(problems.map(({ where, detail }) => `${where} ${detail}`)).toContain(complaint);
    expect(problems[0]?.code).toBe('KNEAR_MANIFEST_INVALID');
    expect(problems[0]?.resourceId).toMatch(/^[A-Z]\w+\/default\/\S+$/);
    expect(resources).toEqual([]);
  });

  test('tells all of its faults at once', async () => {
    const text = broker('b', 'spec:\n  delivery:\n    retry: x\n    backofDelay: y\n');
    expect(await complaintsOf(text)).toEqual([
      'file.yaml:9 spec.delivery.backofDelay: unknown field; did you mean backoffDelay?',
      'file.yaml:8 spec.delivery.retry: must be of type integer, "x" is not',
    ]);
  });

  test('tells no more than ten faults', async () => {
    const fields = Array.from({ length: 50 }, (_, index) => `  strange${String(index)}: 1\n`);
    expect(await complaintsOf(broker('b', `spec:\n${fields.join('')}`))).toHaveLength(10);
  });

  test('leaves the other documents of its file alone', async () => {
    const { resources, problems } = await snapshotOf(
      documents(broker('a'), broker('b', 'spec: 1'), broker('c')),
    );
    expect(resources.map(({ metadata }) => metadata.name)).toEqual(['a', 'c']);
    expect(problems.map(({ resourceId }) => resourceId)).toEqual(['Broker/default/b']);
  });
});

describe('a document of which not even the name is known', () => {
  test.each([
    ['a bare text', 'hello\n', 'file.yaml:1 a document is a map with apiVersion and kind'],
    ['a list', '- a\n', 'file.yaml:1 a document is a map with apiVersion and kind'],
    ['no kind', 'apiVersion: v1\n', 'file.yaml:1 apiVersion and kind are needed, as texts'],
    [
      'no name',
      broker().replace('  name: default', '  nmae: default'),
      'file.yaml:4 metadata.name is needed, as a text',
    ],
    ['a name that is a number', broker('42'), 'file.yaml:4 metadata.name is needed, as a text'],
    [
      'a kind that is mistyped',
      broker().replace('kind: Broker', 'kind: Borker'),
      'file.yaml:3 Borker of eventing.knative.dev is not served; did you mean Broker?',
    ],
    [
      'a kind of Knative that is not served',
      'apiVersion: eventing.knative.dev/v1alpha1\nkind: EventPolicy\nmetadata: {name: s}\n',
      'file.yaml:2 EventPolicy of eventing.knative.dev is not served',
    ],
  ])('is a problem of the file: %s', async (_, text, complaint) => {
    expect(await complaintsOf(text)).toEqual([complaint]);
    const [problem] = await problemsOf(text);
    expect(problem).not.toHaveProperty('resourceId');
  });
});

describe('a document that is valid', () => {
  test('of every kind is read', async () => {
    const { resources, problems } = await snapshotOf(
      documents(
        broker(),
        trigger(TO_URI),
        channel('a', '', 'Channel'),
        channel('b', '', 'InMemoryChannel'),
        channel('c'),
        subscription(
          '  channel: {apiVersion: messaging.knear.dev/v1, kind: KnearChannel, name: c}\n  subscriber: {uri: "http://a/"}\n',
        ),
        'apiVersion: flows.knative.dev/v1\nkind: Sequence\nmetadata: {name: a}\nspec: {steps: [{uri: "http://a/"}]}\n',
        'apiVersion: flows.knative.dev/v1\nkind: Parallel\nmetadata: {name: a}\nspec: {branches: [{subscriber: {uri: "http://a/"}}]}\n',
        'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n',
        'apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n',
        'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: None}\n',
        'apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\nendpoints: [{addresses: [10.0.0.1], zone: a}]\n',
        'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n',
        'apiVersion: v1\nkind: Node\nmetadata: {name: a}\n',
        'apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n',
      ),
    );
    expect(problems).toEqual([]);
    expect(resources.map(({ kind }) => kind)).toEqual([
      'Broker',
      'Trigger',
      'Channel',
      'InMemoryChannel',
      'KnearChannel',
      'Subscription',
      'Sequence',
      'Parallel',
      'ConfigMap',
      'Secret',
      'Service',
      'EndpointSlice',
      'Pod',
      'Node',
      'Namespace',
    ]);
  });

  test('of Kubernetes may have any field that is not read, also one that is a field of ours', async () => {
    const kinds = ['Service', 'Pod', 'Node', 'Namespace', 'ConfigMap', 'Secret', 'EndpointSlice'];
    const spec =
      '{filters: 7, subscriber: 7, steps: [7], delivery: {timeout: 7}, reply: {}, filter: 7}';
    const texts = kinds.map((kind) => {
      const group = kind === 'EndpointSlice' ? 'discovery.k8s.io/v1' : 'v1';
      return `apiVersion: ${group}\nkind: ${kind}\nmetadata: {name: a}\nspec: ${spec}\nstatus: {}\n`;
    });
    const { resources, problems } = await snapshotOf(documents(...texts, broker()));
    expect(problems).toEqual([]);
    expect(resources.map(({ kind }) => kind)).toEqual([...kinds, 'Broker']);
  });

  test('of a Pod leaves behind what is not read, secrets above all', async () => {
    const { resources } = await snapshotOf(`
apiVersion: v1
kind: Pod
metadata: {name: p, uid: u1, labels: {app: a}}
spec:
  nodeName: n1
  containers: [{name: c, image: i, env: [{name: PASSWORD, value: secret}]}]
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}, {}]
  hostIP: 192.168.0.1
`);
    expect(resources).toEqual([
      {
        kind: 'Pod',
        apiVersion: 'v1',
        metadata: {
          namespace: 'default',
          name: 'p',
          uid: 'u1',
          labels: { app: 'a' },
          annotations: {},
        },
        spec: { nodeName: 'n1', phase: 'Running', addresses: ['10.0.0.1', 'fd00::1'] },
        where: 'file.yaml:2',
      },
    ]);
  });

  test('knows its place, and the namespace it has when none is written', async () => {
    const { resources } = await snapshotOf(documents('# nothing here', broker()));
    expect(resources).toEqual([
      {
        kind: 'Broker',
        apiVersion: 'eventing.knative.dev/v1',
        metadata: { namespace: 'default', name: 'default', labels: {}, annotations: {} },
        spec: {},
        where: 'file.yaml:4',
      },
    ]);
  });

  test('may be a copy of what a cluster shows, List and all', async () => {
    const { resources, problems } = await snapshotOf(`
apiVersion: v1
kind: List
metadata: {resourceVersion: ""}
items:
- apiVersion: eventing.knative.dev/v1
  kind: Broker
  metadata:
    name: orders
    namespace: shop
    uid: 6f1c
    generation: 3
    creationTimestamp: "2026-01-01T00:00:00Z"
    resourceVersion: "77"
    ownerReferences: [{apiVersion: v1, kind: Namespace, name: shop, uid: "1"}]
    annotations:
      eventing.knative.dev/broker.class: Knear
      kubectl.kubernetes.io/last-applied-configuration: "{}"
    managedFields: [{manager: kubectl, operation: Update}]
  spec:
    config: {apiVersion: v1, kind: ConfigMap, name: x, namespace: knative-eventing}
  status:
    address: {url: "http://x/"}
    anything: {at: all}
- apiVersion: messaging.knative.dev/v1
  kind: InMemoryChannel
  metadata: {name: c}
  spec: {subscribers: [{uid: "1", subscriberUri: "http://x/", whatever: 1}]}
`);
    expect(problems).toEqual([]);
    expect(resources[0]?.metadata).toMatchObject({ namespace: 'shop', uid: '6f1c', generation: 3 });
    expect(resources.map(({ where }) => where)).toEqual(['file.yaml:6', 'file.yaml:25']);
  });

  test('in a List that is not valid is told by its own line', async () => {
    const list =
      'apiVersion: v1\nkind: List\nitems:\n- apiVersion: eventing.knative.dev/v1\n  kind: Broker\n  metadata: {name: a}\n  spce: {}\n';
    expect(await complaintsOf(list)).toEqual([
      'file.yaml:7 spce: unknown field; did you mean spec?',
    ]);
  });

  test('may be JSON, tabs and all', async () => {
    const text = JSON.stringify(
      { apiVersion: 'eventing.knative.dev/v1', kind: 'Broker', metadata: { name: 'j' } },
      undefined,
      '\t',
    );
    expect((await snapshotOf(text)).resources.map(({ metadata }) => metadata.name)).toEqual(['j']);
  });

  test.each([
    ['empty documents', '---\n---\n# a comment\n'],
    ['an empty file', ''],
    [
      'kinds of other groups',
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {a: b}\n',
    ],
    [
      'a Knative Service, which is no v1 Service',
      'apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\n',
    ],
    ['an empty List', 'apiVersion: v1\nkind: List\nitems: []\n'],
  ])('is looked for in vain, without a word: %s', async (_, text) => {
    expect(await snapshotOf(text)).toEqual({ resources: [], problems: [] });
  });

  test('may use anchors and merges, and is told where a fault comes from', async () => {
    const text = documents(
      trigger(`  broker: default
  delivery: &often {retry: 3}
  subscriber: {uri: "http://a/"}
  filters:
  - not: {exact: &x {type: a}}
  - exact: {<<: *x, source: b}
  - prefix: *x
`),
    );
    const { resources, problems } = await snapshotOf(text);
    expect(problems).toEqual([]);
    expect(resources[0]?.spec).toMatchObject({
      filters: [{}, { exact: { type: 'a', source: 'b' } }, { prefix: { type: 'a' } }],
    });
    expect(await complaintsOf(text.replace('type: a', 'TYPE: a'))).toContainEqual(
      expect.stringMatching(/^file.yaml:12 spec.filters\[2\].prefix.TYPE: /),
    );
  });

  test.each(['bad://uri', 'http://a.example', 'https://a.example:8443/x?y=1', 'HTTP://[::1]:80/'])(
    'may have the uri %s, since whether it can be called is found out by calling',
    async (uri) => {
      const text = trigger(`  broker: default\n  subscriber: {uri: "${uri}"}\n`);
      expect(await complaintsOf(text)).toEqual([]);
    },
  );

  test.each(['/orders', 'orders', '?a=b', './x', ''])(
    'may have the uri "%s" next to a ref, unless it is empty',
    async (uri) => {
      const ref = 'ref: {apiVersion: v1, kind: Service, name: a}';
      const text = trigger(`  broker: default\n  subscriber: {${ref}, uri: "${uri}"}\n`);
      expect(await complaintsOf(text)).toHaveLength(uri === '' ? 1 : 0);
    },
  );

  test('names its Broker by a reference, too', async () => {
    const { resources } = await snapshotOf(
      trigger(
        '  brokerRef: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: b}\n  subscriber: {uri: "http://a/"}\n',
      ),
    );
    expect(resources[0]?.spec).toEqual({ broker: 'b', subscriber: { uri: 'http://a/' } });
  });
});

describe('the data of a ConfigMap or a Secret', () => {
  const document = (kind: string, rest: string) =>
    `apiVersion: v1\nkind: ${kind}\nmetadata: {name: a}\n${rest}`;
  const specOf = async (text: string) => (await snapshotOf(text)).resources[0]?.spec;

  test.each([
    ['is taken as it is', 'ConfigMap', 'data: {a: b}\nbinaryData: {c: AA==}\n', { a: 'b' }],
    ['may be absent', 'ConfigMap', 'immutable: true\n', {}],
    ['is Base64 in a Secret', 'Secret', 'type: Opaque\ndata: {a: aGk=}\n', { a: 'aGk=' }],
    ['may be broken into lines', 'Secret', 'data:\n  a: |\n    aG\n    k=\n', { a: 'aGk=' }],
    [
      'is plain in stringData, which goes before data',
      'Secret',
      'data: {a: eA==, b: eA==}\nstringData: {a: hi, c: "é"}\n',
      { a: 'aGk=', b: 'eA==', c: 'w6k=' },
    ],
    ['may be absent in a Secret', 'Secret', '', {}],
  ])('%s: %s', async (_, kind, rest, data) => {
    expect(await complaintsOf(document(kind, rest))).toEqual([]);
    expect(await specOf(document(kind, rest))).toEqual({ data });
  });

  test.each(['swordfish', 'eA=', 'e A==', '====', 'eA==eA=='])(
    'is not told when it is wrong: %s',
    async (text) => {
      expect(await complaintsOf(document('Secret', `data:\n  b: eA==\n  a: ${text}\n`))).toEqual([
        'file.yaml:6 data.a: not Base64: plain texts belong into stringData',
      ]);
    },
  );

  test.each(['data', 'stringData'])('in %s is not told when it is no text', async (field) => {
    expect(await complaintsOf(document('Secret', `${field}: {a: 4711}\n`))).toEqual([
      `file.yaml:4 ${field}.a: must be of type string, this is not (put it in quotes)`,
    ]);
    expect(await complaintsOf(document('Secret', `${field}: swordfish\n`))).toEqual([
      `file.yaml:4 ${field}: must be of type object, this is not`,
    ]);
  });
});

describe('the metadata', () => {
  test('keep who owns the resource', async () => {
    const owners =
      '[{apiVersion: flows.knative.dev/v1, kind: Sequence, name: s, uid: "1", controller: true, blockOwnerDeletion: true}]';
    const { resources } = await snapshotOf(channel('c', `  ownerReferences: ${owners}`));
    expect(resources[0]?.metadata.ownerReferences).toMatchObject([
      { apiVersion: 'flows.knative.dev/v1', kind: 'Sequence', name: 's', controller: true },
    ]);
  });

  test('are refused with an owner that nobody could find', async () => {
    const text = channel('c', '  ownerReferences: [{kind: Sequence, name: s}]');
    expect(await complaintsOf(text)).toEqual([
      'file.yaml:6 metadata.ownerReferences[0]: apiVersion is missing',
    ]);
  });
});

/** Nine levels of nine: 9^9 texts if anybody wrote them all down. */
function bomb(): string {
  const levels = 'abcdefghi'.split('');
  return levels
    .map((name, index) => {
      const item = index === 0 ? 'x' : `*${levels[index - 1] ?? ''}`;
      return `${name}: &${name} [${Array(9).fill(item).join(', ')}]\n`;
    })
    .join('');
}
