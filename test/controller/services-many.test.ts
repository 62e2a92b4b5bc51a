/**
 * Hunts for work that grows with the square of what there is: Pods and slices change all the time, and everything is compiled
 * anew for each change. Method: resources that count how often they are looked at, twice as many of them the second time.
 */
import { describe, expect, test } from '@jest/globals';
import { reconcile } from '../../controller/reconcile.ts';
import type { EndpointSlice, Pod, Resource, Service } from '../../core/resources.ts';
import { DEFAULTS } from './services-scene.ts';

/** Reads of fields, however deep. */
interface Count {
  reads: number;
}

function counting<T extends object>(value: T, count: Count): T {
  return new Proxy(value, {
    get: (target, name, receiver): unknown => {
      count.reads += 1;
      const inner: unknown = Reflect.get(target, name, receiver);
      return typeof inner === 'object' && inner !== null ? counting(inner, count) : inner;
    },
  });
}

const metadataOf = (name: string, more: Partial<Resource['metadata']> = {}) => ({
  namespace: 'default',
  name,
  labels: {},
  annotations: {},
  ...more,
});

function serviceOf(name: string, portCount = 1): Service {
  const ports = Array.from({ length: portCount }, (_, index) => ({
    port: index + 1,
    name: `p${String(index)}`,
  }));
  const spec = { selector: { app: name }, ports };
  return { kind: 'Service', apiVersion: 'v1', metadata: metadataOf(name), spec };
}

interface Sketch {
  readonly of: string;
  readonly numbers: readonly number[];
  readonly port?: number;
}

function sliceOf(name: string, { of, numbers, port = 8080 }: Sketch): EndpointSlice {
  return {
    kind: 'EndpointSlice',
    apiVersion: 'discovery.k8s.io/v1',
    metadata: metadataOf(name, { labels: { 'kubernetes.io/service-name': of } }),
    spec: {
      ports: [{ name: 'p0', port }],
      endpoints: numbers.map((number) => ({
        addresses: [addressOf(number)],
        targetRef: { kind: 'Pod', name: `pod-${String(number)}`, uid: `u${String(number)}` },
      })),
    },
  };
}

function podOf(number: number, address = addressOf(number)): Pod {
  const n = String(number);
  const spec = { nodeName: `n${n}`, addresses: [address], phase: 'Running' };
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: metadataOf(`pod-${n}`, { uid: `u${n}` }),
    spec,
  };
}

function addressOf(number: number): string {
  return ['10', number >> 16, (number >> 8) & 255, number & 255].join('.');
}

function compiled(resources: readonly Resource[]) {
  const count = { reads: 0 };
  const { topology } = reconcile(
    { resources: resources.map((each) => counting(each, count)), problems: [] },
    { revision: 1, defaults: DEFAULTS, trust: 'cluster' },
  );
  return { services: topology.services, ...count };
}

const many = (length: number) => Array.from({ length }, (_, index) => index);

const SHAPES: readonly { readonly name: string; readonly of: (size: number) => Resource[] }[] = [
  {
    name: 'Services with five endpoints each',
    of: (size) => [
      ...many(size).map((index) => serviceOf(`s${String(index)}`)),
      ...many(size).map((index) =>
        sliceOf(`s${String(index)}-1`, {
          of: `s${String(index)}`,
          numbers: many(5).map((each) => index * 5 + each),
        }),
      ),
      ...many(size * 5).map((number) => podOf(number)),
    ],
  },
  {
    name: 'slices of one Service',
    of: (size) => [
      serviceOf('s'),
      ...many(size).map((index) => sliceOf(`s-${String(index)}`, { of: 's', numbers: [index] })),
      ...many(size).map((number) => podOf(number)),
    ],
  },
  {
    name: 'slices of one Service with one address, each with another port',
    of: (size) => [
      serviceOf('s'),
      ...many(size).map((index) =>
        sliceOf(`s-${String(index)}`, { of: 's', numbers: [0], port: index + 1 }),
      ),
      podOf(0),
    ],
  },
  {
    name: 'endpoints of one slice',
    of: (size) => [
      serviceOf('s'),
      sliceOf('s-1', { of: 's', numbers: many(size) }),
      ...many(size).map((number) => podOf(number)),
    ],
  },
  {
    name: 'endpoints of one slice at one address',
    of: (size) => [
      serviceOf('s'),
      sliceOf('s-1', { of: 's', numbers: many(size).map(() => 0) }),
      podOf(0),
    ],
  },
  {
    name: 'Pods at one address',
    of: (size) => [
      serviceOf('s'),
      sliceOf('s-1', { of: 's', numbers: [0] }),
      ...many(size).map((number) => podOf(number, addressOf(0))),
    ],
  },
  {
    name: 'ports of one Service',
    of: (size) => [serviceOf('s', size), sliceOf('s-1', { of: 's', numbers: [0] }), podOf(0)],
  },
];

describe('twice as much is twice the work:', () => {
  test.each(SHAPES)('$name', ({ of }) => {
    const [small, large] = [of(100), of(200)].map((resources) => compiled(resources).reads);
    expect(small).toBeGreaterThan(100);
    expect(large).toBeLessThan(2.2 * (small ?? 0));
  });
});

test('programs at one address are compared with the first 16, which no reads show', () => {
  const shape = SHAPES.find(({ name }) => name.endsWith('each with another port'));
  const again = (port: number) => sliceOf('again', { of: 's', numbers: [0], port });
  const found = (...more: Resource[]) =>
    compiled([...(shape?.of(20) ?? []), ...more]).services.get('default/s')?.endpoints.length;
  expect([found(), found(again(1)), found(again(20))]).toEqual([20, 20, 21]);
});

test('1,000 Services with 5,000 Pods have all their endpoints', () => {
  const [shape] = SHAPES;
  const { services } = compiled(shape?.of(1_000) ?? []);
  expect(services.size).toBe(1_000);
  const endpoints = [...services.values()].flatMap((each) => each.endpoints);
  expect(new Set(endpoints.map(({ pod }) => pod)).size).toBe(5_000);
});
