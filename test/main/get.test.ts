/** `knear get` against a real admin server. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { reconcile } from '../../controller/reconcile.ts';
import { openAdmin, type Admin } from '../../main/admin.ts';
import { get, type GetOptions } from '../../main/client/get.ts';
import { documents, snapshotOf } from '../controller/manifests.ts';
import { CLAIMS } from '../fakes/claims.ts';

const RESOURCES = documents(
  'apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n',
  'apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: orders, namespace: shop}\n',
  `apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: audit}
spec: {broker: default, subscriber: {uri: "http://audit/"}}
`,
  `apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: lost}
spec: {broker: nowhere, subscriber: {uri: "http://lost/"}}
`,
  `apiVersion: messaging.knear.dev/v1
kind: KnearChannel
metadata: {name: c}
`,
);

let admin: Admin;

beforeAll(async () => {
  const { statuses } = reconcile(await snapshotOf(RESOURCES), {
    revision: 1,
    defaults: {
      eventMaxBytes: 1,
      attributesMaxBytes: 1,
      timeoutMs: 1,
      idleMs: 1,
      claims: CLAIMS,
      localHop: false,
    },
    baseUrl: 'http://localhost:8080',
  });
  admin = await openAdmin({
    host: '127.0.0.1',
    port: 0,
    metrics: { contentType: 'text/plain', text: () => Promise.resolve('') },
    health: () => ({ reasons: [] }),
    resources: () => statuses,
    problems: () => [],
  });
});

afterAll(() => admin.close());

function ask(options: Partial<GetOptions> = {}): Promise<string> {
  return get({ output: 'table', adminUrl: admin.url, ...options });
}

describe('a table', () => {
  test('of everything names kinds and reasons', async () => {
    expect((await ask()).split('\n')).toEqual([
      'NAMESPACE   NAME             READY   REASON               URL',
      'default     broker/default   True                         http://localhost:8080/default/default',
      'shop        broker/orders    True                         http://localhost:8080/shop/orders',
      'default     knearchannel/c   True                         http://localhost:8080/default/channels/c',
      'default     trigger/audit    True                         http://audit/',
      'default     trigger/lost     False   BrokerDoesNotExist',
      '',
    ]);
  });

  test.each(['broker', 'brokers', 'Broker', 'BROKERS'])('of a kind, written %s', async (kind) => {
    expect((await ask({ kind })).split('\n')).toEqual([
      'NAMESPACE   NAME      READY   REASON   URL',
      'default     default   True             http://localhost:8080/default/default',
      'shop        orders    True             http://localhost:8080/shop/orders',
      '',
    ]);
  });

  test('of one namespace', async () => {
    const lines = (await ask({ kind: 'broker', namespace: 'shop' })).split('\n');
    expect(lines.slice(1)).toEqual([
      'shop        orders   True             http://localhost:8080/shop/orders',
      '',
    ]);
  });

  test('of nothing says so', async () => {
    expect(await ask({ kind: 'sequence' })).toBe('No resources found.\n');
  });
});

describe('YAML and JSON', () => {
  test.each([
    { output: 'yaml', read: (text: string): unknown => parse(text) },
    { output: 'json', read: (text: string): unknown => JSON.parse(text) },
  ] as const)(
    'of one resource is the resource with its status: $output',
    async ({ output, read }) => {
      const found: unknown = read(await ask({ kind: 'trigger', name: 'audit', output }));
      expect(found).toMatchObject({
        apiVersion: 'eventing.knative.dev/v1',
        kind: 'Trigger',
        metadata: { name: 'audit', namespace: 'default' },
        spec: { broker: 'default', subscriber: { uri: 'http://audit/' } },
        status: { observedGeneration: 1, subscriberUri: 'http://audit/' },
      });
    },
  );

  test('of several is a List', async () => {
    const found: unknown = JSON.parse(await ask({ kind: 'trigger', output: 'json' }));
    expect(found).toMatchObject({
      apiVersion: 'v1',
      kind: 'List',
      items: [{ metadata: { name: 'audit' } }, { metadata: { name: 'lost' } }],
    });
  });
});

describe('what cannot be shown', () => {
  test('is a kind that does not exist', async () => {
    await expect(ask({ kind: 'trigers' })).rejects.toMatchObject({
      code: 'KNEAR_USAGE',
      message: 'there is no kind trigers; did you mean trigger?',
    });
  });

  test.each([
    { given: { kind: 'broker', name: 'x' }, message: 'there is no Broker x: see knear get' },
    {
      given: { kind: 'broker', name: 'default', namespace: 'shop' },
      message: 'there is no Broker default in namespace shop: see knear get',
    },
  ])('is a name that nothing has: $message', async ({ given, message }) => {
    await expect(ask(given)).rejects.toMatchObject({ code: 'KNEAR_RESOURCE_UNKNOWN', message });
  });

  test.each(['http://127.0.0.1:1', 'no-url'])('is what nobody tells: %s', async (adminUrl) => {
    await expect(ask({ adminUrl })).rejects.toMatchObject({
      code: 'KNEAR_ADMIN_UNREACHABLE',
      message: expect.stringContaining(adminUrl),
    });
  });
});
