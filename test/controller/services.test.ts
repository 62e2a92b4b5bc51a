/** The endpoints of a Service: which there are, at which ports, and where. Whom to believe is in services-trust.test.ts. */
import { describe, expect, test } from '@jest/globals';
import type { Endpoint } from '../../core/topology.ts';
import {
  at,
  behind,
  named,
  pod,
  service,
  slice,
  topologyOf,
  type Fields,
} from './services-scene.ts';

const READY = { ready: true, serving: true, terminating: false };

describe('the ports of an endpoint', () => {
  const cases: { name: string; ports: Fields[]; slicePorts: Fields[]; expected: object }[] = [
    {
      name: 'without names',
      ports: [{ port: 80 }],
      slicePorts: [{ port: 8080 }],
      expected: { 80: 8080 },
    },
    {
      name: 'by name, whatever the targetPort says',
      ports: [
        { port: 80, name: 'h', targetPort: 'web' },
        { port: 90, name: 'm', targetPort: 1 },
      ],
      slicePorts: [
        { port: 9090, name: 'm' },
        { port: 8080, name: 'h' },
      ],
      expected: { 80: 8080, 90: 9090 },
    },
    {
      name: 'from the only one, which has no name',
      ports: [{ port: 80, name: 'h' }],
      slicePorts: [{ port: 8080 }],
      expected: { 80: 8080 },
    },
    {
      name: 'not from one of another name',
      ports: [{ port: 80, name: 'h' }],
      slicePorts: [{ port: 8080, name: 'x' }],
      expected: {},
    },
    {
      name: 'not from one without a number',
      ports: [{ port: 80 }],
      slicePorts: [{ name: '' }],
      expected: {},
    },
    {
      name: 'from the first of two with one name',
      ports: [{ port: 80, name: 'h' }],
      slicePorts: [
        { port: 1, name: 'h' },
        { port: 2, name: 'h' },
      ],
      expected: { 80: 1 },
    },
    {
      name: 'for those with TCP, not for HTTP/3 at the same number',
      ports: [
        { port: 443, name: 'https', protocol: 'TCP' },
        { port: 443, name: 'h3', protocol: 'UDP' },
      ],
      slicePorts: [
        { port: 8443, name: 'https', protocol: 'TCP' },
        { port: 9443, name: 'h3', protocol: 'UDP' },
      ],
      expected: { 443: 8443 },
    },
    {
      name: 'with the names of the prototype of everything',
      ports: [
        { port: 80, name: '__proto__' },
        { port: 81, name: 'constructor' },
      ],
      slicePorts: [{ port: 1, name: '__proto__' }],
      expected: { 80: 1 },
    },
  ];

  test.each(cases)('$name', async ({ ports, slicePorts, expected }) => {
    const { endpoints } = await behind([
      service({ ports }),
      slice([{ addresses: ['10.0.0.1'] }], { ports: slicePorts }),
    ]);
    expect(endpoints).toEqual([{ address: '10.0.0.1', ports: expected, isReady: true }]);
  });

  const headless: { name: string; ports?: Fields[]; slicePorts: Fields[]; expected: object }[] = [
    {
      name: 'is that of the URL, not the targetPort',
      ports: [{ port: 8000, targetPort: 9000 }],
      slicePorts: [{ port: 9000 }],
      expected: { 8000: 8000 },
    },
    {
      name: 'is there though the slice has no such port',
      ports: [{ port: 8000, name: 'h' }],
      slicePorts: [{ port: 9000, name: 'x' }],
      expected: { 8000: 8000 },
    },
    {
      name: 'is a usual one where the Service lists none',
      slicePorts: [],
      expected: { 80: 80, 443: 443 },
    },
  ];

  test.each(headless)('of a headless Service: $name', async ({ ports, slicePorts, expected }) => {
    const { endpoints } = await behind([
      service({ clusterIP: 'None', ports }),
      slice([{ addresses: ['10.0.0.1'] }], { ports: slicePorts }),
    ]);
    expect(endpoints.map((each) => each.ports)).toEqual([expected]);
  });

  test('a headless Service is called at its own port, and so are its endpoints', async () => {
    const topology = await topologyOf([
      service({ clusterIP: 'None', ports: [{ port: 8000, targetPort: 9000 }] }),
      slice([{ addresses: ['10.0.0.1'] }]),
      { apiVersion: 'eventing.knative.dev/v1', kind: 'Broker', metadata: { name: 'b' } },
      {
        apiVersion: 'eventing.knative.dev/v1',
        kind: 'Trigger',
        metadata: { name: 't' },
        spec: {
          broker: 'b',
          subscriber: { ref: { apiVersion: 'v1', kind: 'Service', name: 'a' } },
        },
      },
    ]);
    const target = topology.egresses.get('Trigger/default/t')?.subscriber;
    const [endpoint] = topology.services.get('default/a')?.endpoints ?? [];
    expect(target).toMatchObject({ kind: 'service', port: 8000 });
    expect(target?.kind === 'service' && endpoint?.ports[target.port]).toBe(8000);
  });
});

describe('an endpoint', () => {
  const conditions: { name: string; conditions?: Fields; isReady: boolean[] }[] = [
    { name: 'is ready where nothing is said', isReady: [true] },
    { name: 'is ready where ready is not said', conditions: { serving: false }, isReady: [true] },
    { name: 'is ready', conditions: READY, isReady: [true] },
    {
      name: 'is ready while it ends if somebody says so (publishNotReadyAddresses)',
      conditions: { ready: true, serving: false, terminating: true },
      isReady: [true],
    },
    {
      name: 'that serves and ends is there, and not ready',
      conditions: { ready: false, serving: true, terminating: true },
      isReady: [false],
    },
    {
      name: 'that ends and does not serve is left out',
      conditions: { ready: false, serving: false, terminating: true },
      isReady: [],
    },
    {
      name: 'that is not ready is left out, though it serves',
      conditions: { ready: false, serving: true, terminating: false },
      isReady: [],
    },
    { name: 'that is only not ready is left out', conditions: { ready: false }, isReady: [] },
  ];

  test.each(conditions)('$name', async ({ conditions: of, isReady }) => {
    const { endpoints } = await behind([
      service(),
      slice([{ addresses: ['10.0.0.1'], ...(of && { conditions: of }) }]),
    ]);
    expect(endpoints.map((each) => each.isReady)).toEqual(isReady);
  });

  test('is one an address, whatever the number of slices, and ready if one of them says so', async () => {
    const ends = { ready: false, serving: true, terminating: true };
    const { endpoints } = await behind([
      service({
        ports: [
          { port: 80, name: 'h' },
          { port: 90, name: 'm' },
        ],
      }),
      slice([{ addresses: ['10.0.0.1', '10.0.0.9'], conditions: ends, zone: 'z' }], {
        ports: [{ port: 1, name: 'h' }],
      }),
      slice(
        [{ addresses: ['10.0.0.1'], nodeName: 'n' }],
        { ports: [{ port: 2, name: 'm' }] },
        { name: 'a-2' },
      ),
    ]);
    const ports = { 80: 1, 90: 2 };
    expect(endpoints).toEqual([
      { address: '10.0.0.1', ports, isReady: true, node: 'n', zone: 'z' },
    ]);
  });

  test('is one a program where several are at one address', async () => {
    const program = (port: number) =>
      slice([{ addresses: ['127.0.0.1'] }], { ports: [{ port }] }, { name: `a-${String(port)}` });
    const { endpoints } = await behind([service(), program(1), program(2), program(1)]);
    expect(endpoints.map(({ address, ports }) => [address, ports])).toEqual([
      ['127.0.0.1', { 80: 1 }],
      ['127.0.0.1', { 80: 2 }],
    ]);
  });

  test('is none where no slice carries the name of the Service in its namespace', async () => {
    const other = { name: 'a-2', labels: { 'kubernetes.io/service-name': 'b' } };
    const found = await behind([
      service(),
      slice([{ addresses: ['10.0.0.1'] }], {}, { namespace: 'far' }),
      slice([{ addresses: ['10.0.0.1'] }], {}, other),
      slice([{ addresses: ['10.0.0.1'] }], {}, { name: 'a-3', labels: {} }),
    ]);
    expect(found).toEqual({ endpoints: [] });
  });

  test('is none of a slice of host names', async () => {
    const found = await behind([
      service(),
      slice([{ addresses: ['a.example'], targetRef: { namespace: 'far' } }], {
        addressType: 'FQDN',
      }),
    ]);
    expect(found).toEqual({ endpoints: [] });
  });

  test('is left out with an ExternalName, which is only another name', async () => {
    const { services } = await topologyOf([service({ type: 'ExternalName', externalName: 'x' })]);
    expect(services).toEqual(new Map());
  });
});

describe('an address', () => {
  test.each([
    ['fd00::1', 'fd00::1'],
    ['FD00:0:0::0001', 'fd00::1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['localhost', 'localhost'],
  ])('%s is written %s', async (address, expected) => {
    const addressType = address.includes(':') ? 'IPv6' : 'IPv4';
    const { endpoints } = await behind([
      service(),
      slice([{ addresses: [address] }], { addressType }),
    ]);
    expect(endpoints.map((each) => each.address)).toEqual([expected]);
  });

  const both = [
    slice([{ addresses: ['10.0.0.1'] }]),
    slice([{ addresses: ['fd00::1'] }], { addressType: 'IPv6' }, { name: 'a-2' }),
  ];

  test.each([
    {
      name: 'of the first family of a Service is taken',
      ipFamilies: ['IPv6', 'IPv4'],
      found: ['fd00::1'],
    },
    { name: 'of the only family of a Service is taken', ipFamilies: ['IPv4'], found: ['10.0.0.1'] },
    {
      name: 'of any family is taken where none is said',
      ipFamilies: undefined,
      found: ['10.0.0.1', 'fd00::1'],
    },
  ])('$name', async ({ ipFamilies, found }) => {
    const { endpoints } = await behind([service({ ipFamilies }), ...both]);
    expect(endpoints.map((each) => each.address)).toEqual(found);
  });
});

describe('where an endpoint is', () => {
  const nodes = [
    named('Node', 'n1', { labels: { 'topology.kubernetes.io/zone': 'zone-of-n1' } }),
    named('Node', 'n2', { labels: { 'topology.kubernetes.io/region': 'r' } }),
  ];

  const cases: { name: string; endpoint: Fields; pods?: Fields[]; expected: Partial<Endpoint> }[] =
    [
      {
        name: 'node and zone are those of the slice',
        endpoint: { nodeName: 'n1', zone: 'z' },
        expected: { node: 'n1', zone: 'z' },
      },
      {
        name: 'the zone is that of its Node where the slice has none',
        endpoint: { nodeName: 'n1' },
        expected: { node: 'n1', zone: 'zone-of-n1' },
      },
      {
        name: 'no zone where its Node has none',
        endpoint: { nodeName: 'n2' },
        expected: { node: 'n2' },
      },
      {
        name: 'no zone where nobody knows its Node',
        endpoint: { nodeName: 'n3' },
        expected: { node: 'n3' },
      },
      {
        name: 'the node is that of its Pod where the slice has none',
        endpoint: { targetRef: { kind: 'Pod', name: 'p1', uid: 'u1' } },
        pods: [pod(1)],
        expected: { pod: 'u1', node: 'n1', zone: 'zone-of-n1' },
      },
      {
        name: 'nothing is known of an empty text',
        endpoint: { nodeName: '', zone: '' },
        expected: {},
      },
    ];

  test.each(cases)('$name', async ({ endpoint, pods = [], expected }) => {
    const { endpoints } = await behind([
      service(),
      slice([{ addresses: ['10.0.0.1'], ...endpoint }]),
      ...nodes,
      ...pods,
    ]);
    expect(endpoints).toEqual([
      { address: '10.0.0.1', ports: { 80: 8080 }, isReady: true, ...expected },
    ]);
  });
});

describe('which Pod an endpoint is', () => {
  const podsOf = async (...manifests: Fields[]) => {
    const { endpoints } = await behind([service(), ...manifests]);
    return endpoints.map(({ address, pod: uid }) => `${address} ${String(uid)}`);
  };
  const ip = (address: string) => ({ podIP: address, podIPs: [{ ip: address }] });

  const cases: { name: string; manifests: Fields[]; expected: string[] }[] = [
    { name: 'is its UID', manifests: [slice([at(1)]), pod(1)], expected: ['10.0.0.1 u1'] },
    {
      name: 'is its UID though no such Pod is there',
      manifests: [slice([at(1)])],
      expected: ['10.0.0.1 u1'],
    },
    {
      name: 'is the UID of the Pod where the slice has none',
      manifests: [slice([at(1, {}, { uid: undefined })]), pod(1)],
      expected: ['10.0.0.1 u1'],
    },
    {
      name: 'is not known of one without a Pod',
      manifests: [slice([{ addresses: ['10.0.0.1'] }]), pod(1)],
      expected: ['10.0.0.1 undefined'],
    },
    {
      name: 'is not known of two Pods at one address, which is called all the same',
      manifests: [slice([at(1), at(2)]), pod(1), pod(2), pod(3, ip('10.0.0.1'))],
      expected: ['10.0.0.1 undefined', '10.0.0.2 u2'],
    },
    {
      name: 'is not known of two Pods of slices at one address',
      manifests: [slice([at(1), at(2, { addresses: ['10.0.0.1'] })])],
      expected: ['10.0.0.1 undefined'],
    },
    {
      name: 'is not known of two Pods with one UID, which are both called',
      manifests: [slice([at(1), at(2, {}, { uid: 'u1' })]), pod(1), pod(2, {}, { uid: 'u1' })],
      expected: ['10.0.0.1 undefined', '10.0.0.2 undefined'],
    },
    {
      name: 'is not known of two Pods of slices with one UID',
      manifests: [slice([at(1), at(2, {}, { uid: 'u1' })])],
      expected: ['10.0.0.1 undefined', '10.0.0.2 undefined'],
    },
    {
      name: 'is known though a Pod that is over had the address',
      manifests: [slice([at(1)]), pod(1), pod(2, { phase: 'Succeeded', ...ip('10.0.0.1') })],
      expected: ['10.0.0.1 u1'],
    },
    {
      name: 'is known at each address of a Pod with two families',
      manifests: [
        slice([at(1)]),
        slice([at(1, { addresses: ['FD00::01'] })], { addressType: 'IPv6' }, { name: 'a-2' }),
        pod(1, { podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] }),
      ],
      expected: ['10.0.0.1 u1', 'fd00::1 u1'],
    },
    {
      name: 'is not known where another slice has no Pod for the address',
      manifests: [slice([at(1)]), slice([{ addresses: ['10.0.0.1'] }], {}, { name: 'a-2' })],
      expected: ['10.0.0.1 undefined'],
    },
  ];

  test.each(cases)('$name', async ({ manifests, expected }) => {
    expect(await podsOf(...manifests)).toEqual(expected);
  });

  test('two Services with one Pod know the same one', async () => {
    const b = { name: 'b-1', labels: { 'kubernetes.io/service-name': 'b' } };
    const { services } = await topologyOf([
      ...[service(), service({}, { name: 'b' })],
      ...[slice([at(1)]), slice([at(1)], {}, b)],
    ]);
    expect(
      [...services.values()].flatMap(({ endpoints }) => endpoints.map((each) => each.pod)),
    ).toEqual(['u1', 'u1']);
  });
});
