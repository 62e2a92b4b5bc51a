/** What a cluster shows is what people copy: it must load without a word, in YAML and in JSON. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { openYamlFolder } from '../../controller/source/yaml.ts';
import type { Snapshot } from '../../core/ports/resource-source.ts';
import { resourceId } from '../../core/resources.ts';
import { FakeClock } from '../fakes/clock.ts';
import { CLUSTER_EXPORT } from './cluster-export.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'knear-export-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function load(name: string, text: string): Promise<Snapshot> {
  await writeFile(join(folder, name), text);
  const source = await openYamlFolder({ folder, clock: new FakeClock() });
  const abort = new AbortController();
  for await (const snapshot of source.watch({ signal: abort.signal })) {
    abort.abort();
    return snapshot;
  }
  throw new Error('no snapshot');
}

const json = JSON.stringify(parse(CLUSTER_EXPORT), undefined, '\t');

test.each([
  ['YAML', 'all.yaml', CLUSTER_EXPORT],
  ['JSON', 'all.json', json],
])('an export of a cluster loads without a problem, in %s', async (_, name, text) => {
  const { resources, problems } = await load(name, text);
  expect(problems).toEqual([]);
  expect(resources.map(resourceId)).toEqual([
    'Broker/shop/default',
    'Trigger/shop/orders',
    'Channel/shop/parcels',
    'InMemoryChannel/shop/parcels',
    'Subscription/shop/parcels',
    'Sequence/shop/fulfil',
    'Subscription/shop/fulfil-kn-sequence-0',
    'Parallel/shop/notify',
    'Service/shop/orders',
    'Service/shop/front',
    'Service/shop/parcels-kn-channel',
    'Service/shop/peers',
    'EndpointSlice/shop/orders-x7k2p',
    'EndpointSlice/shop/outside-1',
    'EndpointSlice/shop/front-8q2zz',
    'Pod/shop/orders-7c9',
    'Node/default/worker-1',
    'Namespace/default/shop',
    'ConfigMap/shop/config-br-default-channel',
    'ConfigMap/shop/logo',
    'Secret/shop/orders-tls',
    'Secret/shop/nothing',
  ]);
});

test('it keeps what is read, and what it says about itself', async () => {
  const { resources } = await load('all.yaml', CLUSTER_EXPORT);
  const byId = new Map(resources.map((each) => [resourceId(each), each]));
  expect(byId.get('Broker/shop/default')).toMatchObject({
    metadata: { uid: '6f1c2b0a-5a2e-4c3b-9f6d-000000000001', generation: 2 },
    spec: { config: { name: 'config-br-default-channel' }, delivery: { retry: 10 } },
  });
  expect(byId.get('Subscription/shop/fulfil-kn-sequence-0')?.metadata.ownerReferences).toEqual([
    expect.objectContaining({ kind: 'Sequence', name: 'fulfil', controller: true }),
  ]);
  expect(byId.get('EndpointSlice/shop/front-8q2zz')?.spec).toEqual({
    addressType: 'IPv6',
    endpoints: [],
    ports: [],
  });
  expect(byId.get('Pod/shop/orders-7c9')?.spec).toEqual({
    nodeName: 'worker-1',
    phase: 'Running',
    addresses: ['10.244.1.5', 'fd00:10:244:1::5'],
  });
  expect(byId.get('ConfigMap/shop/config-br-default-channel')?.spec).toEqual({
    data: { 'channel-template-spec': expect.stringContaining('InMemoryChannel') },
  });
  expect(byId.get('Secret/shop/nothing')?.spec).toEqual({ data: {} });
  expect(byId.get('Service/shop/orders')?.spec).toMatchObject({
    ports: [
      { port: 80, targetPort: 8080 },
      { port: 9090, targetPort: 'metrics' },
    ],
  });
});
