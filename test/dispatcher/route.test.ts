import { describe, expect, test } from '@jest/globals';
import type { Endpoint, Target } from '../../core/topology.ts';
import { route } from '../../dispatcher/route.ts';
import { topologyOf } from './resources.ts';

const SERVICE = {
  kind: 'service',
  url: 'http://orders.shop.svc.cluster.local:80/in?as=event',
  service: 'shop/orders',
  port: 80,
} as const satisfies Target;

const endpoint = (address: string, more: Partial<Endpoint> = {}): Endpoint => ({
  address,
  ports: { 80: 8080 },
  isReady: true,
  ...more,
});

const withEndpoints = (...endpoints: Endpoint[]) =>
  topologyOf(1, { services: { 'shop/orders': { endpoints } } });

test('a plain address is called as given', () => {
  const url = 'https://user@example.com:8443/a%20b?x=1';
  expect(route({ kind: 'url', url }, withEndpoints(endpoint('10.0.0.1')), 1)).toEqual({
    url,
    others: 0,
  });
});

describe('a Service', () => {
  test('is called at an endpoint, at the port behind its own, with its path and in its name', () => {
    expect(route(SERVICE, withEndpoints(endpoint('10.0.0.1')), 0)).toEqual({
      url: 'http://10.0.0.1:8080/in?as=event',
      host: 'orders.shop.svc.cluster.local',
      others: 0,
    });
  });

  test.each([
    { name: 'a port that is not the default', url: 'http://orders:8088/', host: 'orders:8088' },
    { name: 'no path', url: 'http://orders', host: 'orders' },
  ])('with $name keeps its name as it stands in the URL', ({ url, host }) => {
    const target = { ...SERVICE, url };
    expect(route(target, withEndpoints(endpoint('10.0.0.1')), 0)).toEqual({
      url: 'http://10.0.0.1:8080/',
      host,
      others: 0,
    });
  });

  test('is called at an IPv6 endpoint in brackets', () => {
    expect(route(SERVICE, withEndpoints(endpoint('fd00::1')), 0).url).toBe(
      'http://[fd00::1]:8080/in?as=event',
    );
  });

  test('is called by https where its URL says so', () => {
    const target = { ...SERVICE, url: 'https://orders:443/' };
    expect(route(target, withEndpoints(endpoint('10.0.0.1')), 0).url).toBe(
      'https://10.0.0.1:8080/',
    );
  });

  test('is called at its ready endpoints in turn', () => {
    const topology = withEndpoints(
      endpoint('10.0.0.1'),
      endpoint('10.0.0.2', { isReady: false }),
      endpoint('10.0.0.3'),
    );
    const hosts = [0, 1, 2, 3].map((turn) => new URL(route(SERVICE, topology, turn).url).hostname);
    expect(hosts).toEqual(['10.0.0.1', '10.0.0.3', '10.0.0.1', '10.0.0.3']);
    expect(route(SERVICE, topology, 0).others).toBe(1);
  });

  test('is not called at an endpoint that does not serve the port', () => {
    const topology = withEndpoints(
      endpoint('10.0.0.1', { ports: { 9090: 9090 } }),
      endpoint('10.0.0.2', { ports: { 80: 8081, 9090: 9090 } }),
    );
    for (const turn of [0, 1]) {
      expect(route(SERVICE, topology, turn).url).toBe('http://10.0.0.2:8081/in?as=event');
    }
  });

  test.each([
    { name: 'unknown', topology: topologyOf(1, {}) },
    { name: 'without endpoints', topology: withEndpoints() },
    {
      name: 'without a ready endpoint',
      topology: withEndpoints(endpoint('10.0.0.1', { isReady: false })),
    },
    {
      name: 'without an endpoint for the port',
      topology: withEndpoints(endpoint('10.0.0.1', { ports: {} })),
    },
  ])('that is $name is called as given', ({ topology }) => {
    for (const turn of [0, 1, 7]) {
      expect(route(SERVICE, topology, turn)).toEqual({ url: SERVICE.url, others: 0 });
    }
  });
});
