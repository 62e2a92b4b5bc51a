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
import { snapshotOf } from './manifests.ts';

const FOLDER = new URL('../../config/samples/quickstart/', import.meta.url);

const full = `
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: full, namespace: default, labels: {a: b}, annotations: {knear.dev/order: key}}
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
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {type: ExternalName, externalName: a.example, ports: [{name: a, port: 80}]}
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
  fc.constantFrom(
    '__proto__',
    'constructor',
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

test('whatever stands in a document, it is a resource or a problem, and the rest goes on', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...places), strange, async (place, value) => {
      const changed: unknown = replaced(valid, place, value);
      const items = changed as unknown[];
      const text = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
      const snapshot = await snapshotOf(text);
      expect(snapshot.resources.length).toBeGreaterThanOrEqual(valid.length - 1);
      reconcile(snapshot, {
        revision: 1,
        defaults: { eventMaxBytes: 1, attributesMaxBytes: 1, timeoutMs: 1 },
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
