import { describe, expect, test } from '@jest/globals';
import { createFindAddress } from '../../broker/address.ts';
import type { Ingress, Topology } from '../../core/topology.ts';
import { CLAIMS } from '../fakes/claims.ts';

const ORDERS: Ingress = {
  id: 'Broker/default/orders',
  kind: 'broker',
  namespace: 'default',
  name: 'orders',
  path: '/default/orders',
  hosts: [],
  eventMaxBytes: 1,
  attributesMaxBytes: 1,
  isEarly: true,
  claims: CLAIMS,
  hops: { isOn: false, redoMaxMs: 1_000 },
};
const STEP: Ingress = {
  ...ORDERS,
  id: 'Channel/default/step-1',
  kind: 'channel',
  path: '/default/channels/step-1',
  hosts: ['step-1.default.svc', '[fd00::1]'],
};

function topologyOf(...ingresses: readonly Ingress[]): Topology {
  const byId = new Map(ingresses.map((each) => [each.id, each]));
  return {
    revision: 1,
    ingresses: byId,
    egresses: new Map(),
    services: new Map(),
    correlationKeys: new Map(),
  };
}

function found(target: string, host?: string): string {
  const address = createFindAddress(() => topologyOf(ORDERS, STEP))(target, host);
  switch (address.kind) {
    case 'ingress':
      return address.ingress.id;
    case 'unknown':
      return 'unknown';
    case 'refused':
      return address.code;
  }
}

describe('an address', () => {
  test.each([
    ['a path', '/default/orders', undefined, ORDERS.id],
    ['a path, whatever Host says', '/default/orders', 'anything', ORDERS.id],
    ['a Host, whatever the path says', '/default/orders', 'step-1.default.svc', STEP.id],
    ['a Host with a port', '/', 'step-1.default.svc:8080', STEP.id],
    ['a Host with an empty port', '/', 'step-1.default.svc:', STEP.id],
    ['a Host that is an IPv6 address', '/', '[fd00::1]:80', STEP.id],
    ['the absolute form, over Host', 'HTTP://step-1.default.svc:80/x?y', 'other', STEP.id],
    [
      'the absolute form with a path',
      'https://other/default/orders',
      'step-1.default.svc',
      ORDERS.id,
    ],
    ['the absolute form without a path', 'http://other', undefined, 'KNEAR_INGRESS_UNKNOWN'],
    ['a Host that only begins like one', '/', 'step-1.default.svc.evil', 'KNEAR_INGRESS_UNKNOWN'],
    ['an empty target', '', undefined, 'KNEAR_INGRESS_UNKNOWN'],
    ['a target without a slash', 'x/default/orders', undefined, 'KNEAR_PATH'],
    ['another scheme', 'ftp://other/default/orders', undefined, 'KNEAR_PATH'],
  ])('is found by %s', (_name, target, host, expected) => {
    expect(found(target, host)).toBe(expected);
  });
});

test('a topology is indexed once, and the next one anew', () => {
  let reads = 0;
  const counted = (topology: Topology): Topology => ({
    ...topology,
    get ingresses() {
      reads += 1;
      return topology.ingresses;
    },
  });
  let current = counted(topologyOf(ORDERS));
  const find = createFindAddress(() => current);
  for (let request = 0; request < 10; request += 1) find('/default/orders', undefined);
  expect(reads).toBe(1);
  current = counted(topologyOf());
  expect(find('/default/orders', undefined).kind).toBe('unknown');
  expect(reads).toBe(2);
});
