/** Whom a Service's endpoints are believed, and when none of them may be chosen. */
import { describe, expect, test } from '@jest/globals';
import { DECLINED } from '../../core/topology.ts';
import { at, behind, named, pod, service, slice, type Fields } from './services-scene.ts';

interface Case {
  readonly name: string;
  readonly manifests: readonly Fields[];
  /** Addresses, or why there is none to choose. */
  readonly found: readonly string[] | string;
}

function check(trust: 'folder' | 'cluster', cases: readonly Case[]): void {
  test.each(cases)('$name', async ({ manifests, found }) => {
    const { endpoints, declined } = await behind(manifests, { trust });
    expect(declined ?? endpoints.map(({ address }) => address)).toEqual(found);
    if (declined !== undefined) expect(endpoints).toEqual([]);
  });
}

const ip = (address: string) => ({ podIP: address, podIPs: [{ ip: address }] });
/** Beside a second endpoint that is as it should be, the one that is looked at. */
const beside = (endpoint: Fields, ...pods: Fields[]) => [
  service(),
  slice([endpoint, at(2)]),
  pod(2),
  ...pods,
];
const BOTH = ['10.0.0.1', '10.0.0.2'];
const OTHER = ['10.0.0.2'];

describe('in a cluster, an endpoint', () => {
  const kubernetes = (address: string) =>
    slice(
      [{ addresses: [address] }],
      {},
      {
        name: 'kubernetes',
        labels: { 'kubernetes.io/service-name': 'kubernetes' },
      },
    );

  check('cluster', [
    { name: 'that is its Pod is taken', manifests: beside(at(1), pod(1)), found: BOTH },
    {
      name: 'without the namespace of its Pod is in that of its Service',
      manifests: beside(at(1, {}, { namespace: undefined }), pod(1)),
      found: BOTH,
    },
    {
      name: 'at an IPv6 address of its Pod is taken, however it is written',
      manifests: [
        service(),
        slice([at(1, { addresses: ['FD00::0:1'] })], { addressType: 'IPv6' }),
        pod(1, ip('fd00::1')),
      ],
      found: ['fd00::1'],
    },
    {
      name: 'at the second address of its Pod is taken',
      manifests: beside(
        at(1),
        pod(1, { podIP: 'fd00::1', podIPs: [{ ip: 'fd00::1' }, { ip: '10.0.0.1' }] }),
      ),
      found: BOTH,
    },
    {
      name: 'of a Pod in another namespace condemns the Service',
      manifests: beside(at(1, {}, { namespace: 'far' }), pod(1, {}, { namespace: 'far' })),
      found: 'untrusted',
    },
    {
      name: 'of a Pod in another namespace condemns it though it is not ready',
      manifests: beside(at(1, { conditions: { ready: false } }, { namespace: 'far' })),
      found: 'untrusted',
    },
    {
      name: 'that is no Pod condemns the Service',
      manifests: beside(at(1, {}, { kind: 'Node' }), pod(1)),
      found: 'untrusted',
    },
    {
      name: 'of nothing condemns the Service',
      manifests: beside({ addresses: ['10.0.0.1'] }, pod(1)),
      found: 'untrusted',
    },
    {
      name: 'of a Pod without a name condemns the Service',
      manifests: beside(at(1, {}, { name: undefined }), pod(1)),
      found: 'untrusted',
    },
    { name: 'whose Pod is gone is left out', manifests: beside(at(1)), found: OTHER },
    {
      name: 'whose Pod is of another namespace with the same name is left out',
      manifests: beside(at(1), pod(1, {}, { namespace: 'far' })),
      found: OTHER,
    },
    {
      name: 'whose Pod came anew under its name is left out',
      manifests: beside(at(1), pod(1, {}, { uid: 'u9' })),
      found: OTHER,
    },
    {
      name: 'whose Pod has no UID is left out',
      manifests: beside(at(1), pod(1, {}, { uid: undefined })),
      found: OTHER,
    },
    {
      name: 'without a UID is left out, though its Pod has none either',
      manifests: beside(at(1, {}, { uid: undefined }), pod(1, {}, { uid: undefined })),
      found: OTHER,
    },
    {
      name: 'without the UID of its Pod is left out',
      manifests: beside(at(1, {}, { uid: undefined }), pod(1)),
      found: OTHER,
    },
    {
      name: 'whose Pod has another address is left out',
      manifests: beside(at(1), pod(1, ip('10.0.0.7'))),
      found: OTHER,
    },
    {
      name: 'whose Pod has no address yet is left out',
      manifests: beside(at(1), pod(1, { podIP: undefined, podIPs: undefined })),
      found: OTHER,
    },
    ...['Succeeded', 'Failed'].map((phase) => ({
      name: `whose Pod has ${phase} is left out`,
      manifests: beside(at(1), pod(1, { phase })),
      found: OTHER,
    })),
    {
      name: 'that is left out leaves nothing to a Service that has no other',
      manifests: [service(), slice([at(1)])],
      found: [],
    },
    {
      name: 'at the address of the API server condemns the Service',
      manifests: [...beside(at(1), pod(1)), kubernetes('10.0.0.1')],
      found: 'untrusted',
    },
    {
      name: 'at another address than the API server is taken',
      manifests: [...beside(at(1), pod(1)), kubernetes('10.0.0.3')],
      found: BOTH,
    },
  ]);

  test.each([
    '127.0.0.1',
    '127.9.9.9',
    '0.0.0.0',
    '169.254.169.254',
    '::1',
    '::',
    'fe80::1',
    'febf::1',
    'fe80::1%eth0',
    '0:0:0:0:0:0:0:1',
    '::ffff:127.0.0.1',
    '::FFFF:7f00:0001',
    '::ffff:a9fe:a9fe',
    'localhost',
    '127.1',
    '0177.0.0.1',
    '2130706433',
  ])('at %s condemns the Service, whatever its Pod says', async (address) => {
    const addressType = address.includes(':') ? 'IPv6' : 'IPv4';
    const manifests = [
      service(),
      slice([at(1, { addresses: [address] }), at(2)], { addressType }),
      ...[pod(1, ip(address)), pod(2)],
    ];
    expect(await behind(manifests, { trust: 'cluster' })).toEqual({
      endpoints: [],
      declined: 'untrusted',
    });
  });

  test.each(['fe8::1', 'fec0::1', '::2', '1.127.0.1', '10.0.0.0', '169.25.4.1'])(
    'at %s is not at an address that is only near to those',
    async (address) => {
      const manifests = [
        service(),
        slice([at(1, { addresses: [address] })], {
          addressType: address.includes(':') ? 'IPv6' : 'IPv4',
        }),
        pod(1, ip(address)),
      ];
      const { endpoints } = await behind(manifests, { trust: 'cluster' });
      expect(endpoints).toMatchObject([{ address, pod: 'u1' }]);
    },
  );
});

describe('in a folder, an endpoint', () => {
  check('folder', [
    {
      name: 'of nothing is taken as it is written, also on loopback',
      manifests: [service(), slice([{ addresses: ['127.0.0.1'] }])],
      found: ['127.0.0.1'],
    },
    {
      name: 'that is no Pod is taken as it is written',
      manifests: beside(at(1, {}, { kind: 'Node' })),
      found: BOTH,
    },
    {
      name: 'of a Pod that the folder does not have is taken',
      manifests: beside(at(1)),
      found: BOTH,
    },
    {
      name: 'of a Pod that the folder has is taken',
      manifests: beside(at(1), pod(1)),
      found: BOTH,
    },
    {
      name: 'of a Pod that has no status is taken',
      manifests: beside(at(1), { ...pod(1), status: undefined }),
      found: BOTH,
    },
    {
      name: 'of a Pod that has no UID is taken',
      manifests: beside(at(1), pod(1, {}, { uid: undefined })),
      found: BOTH,
    },
    {
      name: 'whose Pod has another UID is left out',
      manifests: beside(at(1), pod(1, {}, { uid: 'u9' })),
      found: OTHER,
    },
    {
      name: 'whose Pod has another address is left out',
      manifests: beside(at(1), pod(1, ip('10.0.0.7'))),
      found: OTHER,
    },
    {
      name: 'whose Pod is over is left out',
      manifests: beside(at(1), pod(1, { phase: 'Failed' })),
      found: OTHER,
    },
    {
      name: 'of a Pod in another namespace condemns the Service',
      manifests: beside(at(1, {}, { namespace: 'far' })),
      found: 'untrusted',
    },
    {
      name: 'at the address of the API server is taken: it is the folder that says so',
      manifests: [
        service({ selector: undefined }, { name: 'kubernetes' }),
        slice(
          [{ addresses: ['10.0.0.1'] }],
          {},
          {
            name: 'kubernetes',
            labels: { 'kubernetes.io/service-name': 'kubernetes' },
          },
        ),
        ...beside(at(1)),
      ],
      found: BOTH,
    },
  ]);
});

const whole = [slice([at(1)]), pod(1)];

const REASONS: readonly Case[] = [
  {
    name: 'itself, by its annotation',
    manifests: [
      service(
        { sessionAffinity: 'ClientIP' },
        { annotations: { 'knear.dev/placement': 'service' } },
      ),
      ...whole,
    ],
    found: 'asked',
  },
  {
    name: 'who has session affinity',
    manifests: [service({ sessionAffinity: 'ClientIP', internalTrafficPolicy: 'Local' }), ...whole],
    found: 'session-affinity',
  },
  {
    name: 'whose traffic stays on the node',
    manifests: [service({ internalTrafficPolicy: 'Local', selector: {} }), ...whole],
    found: 'traffic-policy',
  },
  {
    name: 'without a selector',
    manifests: [service({ selector: undefined }), ...whole],
    found: 'no-selector',
  },
  {
    name: 'with an empty selector',
    manifests: [service({ selector: {} }), ...whole],
    found: 'no-selector',
  },
  {
    name: 'in a mesh, whatever else its endpoints are',
    manifests: [
      service(),
      slice([at(1), { addresses: ['10.0.0.1'] }]),
      pod(1, {}, { labels: { 'istio.io/rev': 'default' } }),
    ],
    found: 'mesh',
  },
  {
    name: 'with an endpoint that is no Pod',
    manifests: [service(), slice([{ addresses: ['10.0.0.1'] }])],
    found: 'untrusted',
  },
];

describe('none of the endpoints is chosen of a Service', () => {
  check('cluster', REASONS);

  test('for all the reasons that there are', () => {
    expect(new Set(REASONS.map(({ found }) => found))).toEqual(new Set(DECLINED));
  });
});

describe('one of the endpoints is chosen of a Service', () => {
  check('cluster', [
    {
      name: 'that says what is usual',
      manifests: [
        service(
          { sessionAffinity: 'None', internalTrafficPolicy: 'Cluster' },
          { annotations: { 'knear.dev/placement': 'nearest' } },
        ),
        ...whole,
      ],
      found: ['10.0.0.1'],
    },
  ]);
  check('folder', [
    {
      name: 'without a selector, in a folder',
      manifests: [service({ selector: undefined }), ...whole],
      found: ['10.0.0.1'],
    },
    {
      name: 'that asks for what only a cluster can give, in a folder',
      manifests: [
        service({ sessionAffinity: 'ClientIP', internalTrafficPolicy: 'Local' }),
        slice([at(1)]),
        pod(1, {}, { labels: { 'istio.io/rev': 'default' } }),
      ],
      found: ['10.0.0.1'],
    },
  ]);
});

describe('a mesh is known by', () => {
  const inNamespace = (metadata: Fields) => [
    service(),
    ...whole,
    named('Namespace', 'default', metadata),
  ];
  const inPod = (metadata: Fields) => [service(), slice([at(1)]), pod(1, {}, metadata)];
  const label = (key: string, value: string) => ({ labels: { [key]: value } });
  const note = (key: string, value: string) => ({ annotations: { [key]: value } });
  const found = 'mesh';

  const signs: Case[] = [
    {
      name: 'Istio on the Namespace',
      manifests: inNamespace(label('istio-injection', 'enabled')),
      found,
    },
    {
      name: 'a revision of Istio on the Namespace',
      manifests: inNamespace(label('istio.io/rev', 'stable')),
      found,
    },
    {
      name: 'a revision of Istio on a Pod',
      manifests: inPod(label('istio.io/rev', 'default')),
      found,
    },
    {
      name: "Istio's label on a Pod",
      manifests: inPod(label('sidecar.istio.io/inject', 'true')),
      found,
    },
    {
      name: "Istio's annotation on a Pod",
      manifests: inPod(note('sidecar.istio.io/inject', 'true')),
      found,
    },
    {
      name: 'the sidecar of Istio',
      manifests: inPod(note('sidecar.istio.io/status', '{}')),
      found,
    },
    {
      name: 'ambient on the Namespace',
      manifests: inNamespace(label('istio.io/dataplane-mode', 'ambient')),
      found,
    },
    {
      name: 'ambient on a Pod',
      manifests: inPod(label('istio.io/dataplane-mode', 'ambient')),
      found,
    },
    {
      name: 'Linkerd on the Namespace',
      manifests: inNamespace(note('linkerd.io/inject', 'enabled')),
      found,
    },
    { name: 'Linkerd on a Pod', manifests: inPod(note('linkerd.io/inject', 'enabled')), found },
    {
      name: 'Linkerd for an ingress',
      manifests: inPod(note('linkerd.io/inject', 'ingress')),
      found,
    },
    {
      name: 'the proxy of Linkerd',
      manifests: inPod(label('linkerd.io/control-plane-ns', 'linkerd')),
      found,
    },
    {
      name: 'one Pod of many, though it is about to be replaced',
      manifests: beside(at(1), pod(1, {}, { uid: 'u9', ...label('istio.io/rev', 'default') })),
      found,
    },
  ];
  check('cluster', signs);

  const none = ['10.0.0.1'];
  describe('not by', () => {
    check('cluster', [
      {
        name: 'a Namespace that is told to stay out',
        manifests: inNamespace(label('istio-injection', 'disabled')),
        found: none,
      },
      {
        name: 'a Pod that is told to stay out',
        manifests: inPod(label('sidecar.istio.io/inject', 'false')),
        found: none,
      },
      {
        name: 'no ambient mode',
        manifests: inPod(label('istio.io/dataplane-mode', 'none')),
        found: none,
      },
      {
        name: 'Linkerd that is off',
        manifests: inPod(note('linkerd.io/inject', 'disabled')),
        found: none,
      },
      {
        name: 'a label that is an annotation',
        manifests: inNamespace(note('istio-injection', 'enabled')),
        found: none,
      },
      {
        name: 'a label of Namespaces on a Pod',
        manifests: inPod(label('istio-injection', 'enabled')),
        found: none,
      },
      {
        name: 'another Namespace',
        manifests: [
          service(),
          ...whole,
          named('Namespace', 'far', label('istio-injection', 'enabled')),
        ],
        found: none,
      },
      {
        name: 'a Pod that is not behind it',
        manifests: [service(), ...whole, pod(2, {}, label('istio.io/rev', 'default'))],
        found: none,
      },
    ]);
  });
});
