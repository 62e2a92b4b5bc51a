/**
 * Hunts for inputs that throw: a resource is written by anybody, and one that breaks the reader or the reconciler
 * would take all the others with it. Method: in valid documents of every kind, one place after the other is replaced by
 * any JSON value; whatever comes of it is a resource or a problem, and reconciles.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseAllDocuments } from 'yaml';
import { reconcile } from '../../controller/reconcile.ts';
import { CLAIMS } from '../fakes/claims.ts';
import { CERTIFICATE } from './certificate.ts';
import { snapshotOf } from './manifests.ts';

const FOLDER = new URL('../../config/samples/quickstart/', import.meta.url);

const full = `
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: full, namespace: default, labels: {a: b}, annotations: {knear.dev/order: key, eventing.knative.dev/injection: enabled}}
spec:
  broker: default
  filter: {attributes: {type: a}}
  filters: [{exact: {type: a}}, {any: [{prefix: {type: a}}, {not: {suffix: {type: a}}}]}, {all: [{}]}]
  subscriber: {ref: {apiVersion: v1, kind: Service, name: sample-functions, namespace: default}, uri: /a}
  delivery:
    retry: 1
    backoffPolicy: linear
    backoffDelay: PT1S
    timeout: PT1S
    retryAfterMax: PT1S
    format: json
    deadLetterSink: {uri: "http://a/"}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: dependent
  annotations:
    knative.dev/dependency: '{"apiVersion":"v1","kind":"K","name":"a"}'
spec:
  brokerRef: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}
  subscriber: {uri: "https://a/", CACerts: ${JSON.stringify(CERTIFICATE)}, audience: a}
---
apiVersion: messaging.knative.dev/v1
kind: Channel
metadata:
  name: generic
  generation: 3
  ownerReferences: [{apiVersion: v1, kind: K, name: a, controller: true}]
spec:
  channelTemplate:
    apiVersion: messaging.knear.dev/v1
    kind: KnearChannel
    spec: {delivery: {retry: 1, deadLetterSink: {uri: "http://a/"}}}
  delivery: {deadLetterSink: {ref: {apiVersion: v1, kind: Service, name: other}}}
---
apiVersion: messaging.knative.dev/v1
kind: InMemoryChannel
metadata: {name: memory, annotations: {eventing.knative.dev/scope: cluster}}
spec: {subscribers: [{uid: a, generation: 1, subscriberUri: "http://a/"}]}
---
apiVersion: flows.knative.dev/v1
kind: Sequence
metadata: {name: sequence}
spec:
  channelTemplate: {apiVersion: messaging.knear.dev/v1, kind: KnearChannel}
  steps:
  - {uri: "http://a/", delivery: {retry: 1, timeout: PT1S}}
  - {ref: {apiVersion: v1, kind: Service, name: other}, uri: /a}
  reply: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
---
apiVersion: flows.knative.dev/v1
kind: Parallel
metadata: {name: parallel}
spec:
  branches:
  - filter: {uri: "http://a/"}
    subscriber: {ref: {apiVersion: flows.knative.dev/v1, kind: Sequence, name: sequence}}
    reply: {uri: "http://a/"}
    delivery: {backoffPolicy: linear}
  - subscriber: {uri: "http://a/"}
  reply: {uri: "http://a/"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {paused: "true"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {a: aGk=}
stringData: {b: hi}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {type: ExternalName, externalName: a.example, ports: [{name: a, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, annotations: {knear.dev/placement: nearest}}
spec:
  clusterIP: None
  ipFamilies: [IPv4]
  internalTrafficPolicy: Cluster
  sessionAffinity: None
  selector: {app: a}
  ports: [{name: a, port: 80, protocol: TCP, targetPort: a}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: headless, labels: {kubernetes.io/service-name: headless}}
addressType: IPv4
endpoints:
- addresses: [10.0.0.1]
  conditions: {ready: false, serving: true, terminating: true}
  targetRef: {kind: Pod, namespace: default, name: pod, uid: u}
  nodeName: node
  zone: z
ports: [{name: a, port: 1}]
---
apiVersion: v1
kind: Pod
metadata: {name: pod, uid: u, labels: {istio.io/rev: a}, annotations: {linkerd.io/inject: disabled}}
spec: {nodeName: node}
status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: node, labels: {topology.kubernetes.io/zone: z}}
---
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {istio-injection: disabled}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: other, labels: {kubernetes.io/service-name: sample-functions}}
endpoints: [{addresses: [a], conditions: {ready: true}}]
ports: [{name: a, port: 1}]
`;

const valid: unknown[] = ['1-functions.yaml', '2-broker.yaml', '3-chain.yaml']
  .map((name) => readFileSync(new URL(name, FOLDER), 'utf8'))
  .concat(full)
  .flatMap((text) => parseAllDocuments(text).map((document): unknown => document.toJS()));

const places = valid.flatMap((document, index) =>
  pathsIn(document).map((path) => [index, ...path] as const),
);

const strange = fc.oneof(
  fc.jsonValue(),
  fc.string(),
  fc.constantFrom<unknown>(
    CERTIFICATE,
    '-----BEGIN ',
    '__proto__',
    'constructor',
    'toString',
    'fe80::1%eth0',
    '::ffff:127.0.0.1',
    '/',
    '//',
    '\\',
    'http://',
    'http://[',
    'xn--a',
    '-PT1S',
    'P1Y',
    1e308,
    -1,
    '',
    {},
    [],
  ),
);

const TRUSTS = fc.constantFrom('folder' as const, 'cluster' as const);

test('what is broken below is whole at first', async () => {
  const text = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: valid });
  const { resources, problems } = await snapshotOf(text);
  expect(problems).toEqual([]);
  expect(resources).toHaveLength(valid.length);
});

test('whatever stands in a document, it is a resource or a problem, and the rest goes on', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...places), strange, TRUSTS, async (place, value, trust) => {
      const changed: unknown = replaced(valid, place, value);
      const items = changed as unknown[];
      const text = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
      const snapshot = await snapshotOf(text);
      expect(snapshot.resources.length).toBeGreaterThanOrEqual(valid.length - 1);
      reconcile(snapshot, {
        revision: 1,
        trust,
        defaults: {
          eventMaxBytes: 1,
          attributesMaxBytes: 1,
          timeoutMs: 1,
          idleMs: 1,
          localHop: false,
          claims: CLAIMS,
        },
      });
    }),
    { numRuns: 300 },
  );
});

/** The path of everything below a value. */
function pathsIn(value: unknown): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    const key = Array.isArray(value) ? Number(name) : name;
    return [[key], ...pathsIn(inner).map((path) => [key, ...path])];
  });
}

function replaced(value: unknown, path: readonly (string | number)[], by: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return by;
  if (Array.isArray(value)) {
    return value.map((item: unknown, index) => (index === key ? replaced(item, rest, by) : item));
  }
  const record = value as Record<string, unknown>;
  return { ...record, [key]: replaced(record[key], rest, by) };
}
