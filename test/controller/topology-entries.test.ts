/** A Topology as entries of a key-value store, and back: the same, and the same objects where nothing has changed. */
import { expect, test } from '@jest/globals';

import { entriesOf, TopologyEntries } from '../../controller/feed/topology-entries.ts';
import type { Topology } from '../../core/topology.ts';
import { broker, channel, topologyOf, trigger, type Scene } from '../dispatcher/resources.ts';

const ENDPOINT = { address: '10.0.0.1', ports: { 80: 8080 }, isReady: true, node: 'node-1' };
const SCENE: Scene = {
  ingresses: [broker('orders'), channel('steps', { hosts: ['steps.example'] })],
  egresses: [
    trigger({ id: 'a', filter: { kind: 'not', filter: { kind: 'exact', values: { type: 'x' } } } }),
    trigger({ id: 'name with spaces / and ünïcode' }),
  ],
  services: { 'shop/work': { endpoints: [ENDPOINT] }, 'shop/none': { endpoints: [] } },
  correlationKeys: { 'default.a.key': 'AAAA', 'default.b.key': 'BBBB' },
};

function read(topology: Topology, into = new TopologyEntries()): TopologyEntries {
  for (const [key, text] of entriesOf(topology)) into.set(key, text);
  return into;
}

test('all of it comes back, under the revision that it is given', () => {
  const topology = topologyOf(1, SCENE);
  expect(read(topology).build(9)).toEqual({ ...topology, revision: 9 });
  expect(read(topologyOf(1, {})).build(9)).toEqual(topologyOf(9, {}));
});

test('keys are short, legal, and no two alike', () => {
  const keys = [...entriesOf(topologyOf(1, SCENE)).keys()];
  expect(keys).toHaveLength(7);
  expect(new Set(keys).size).toBe(7);
  for (const key of keys) expect(key).toMatch(/^([ies]\.[\w-]{16}|c)$/);
});

test('what is written again as it was stays the same object; what has changed does not', () => {
  const entries = read(topologyOf(1, SCENE));
  const before = entries.build(1);
  const changed = trigger({ id: 'a', timeoutMs: 1 });
  const again = topologyOf(2, {
    ...SCENE,
    egresses: [changed, ...(SCENE.egresses ?? []).slice(1)],
  });
  const after = read(again, entries).build(2);
  expect(after).toEqual({ ...again, revision: 2 });
  expect(after.egresses.get('a')).not.toBe(before.egresses.get('a'));
  expect(after.services.get('shop/work')).toBe(before.services.get('shop/work'));
  expect(after.ingresses.get('orders')).toBe(before.ingresses.get('orders'));
});

test('what is deleted is gone, and all of it when it is cleared', () => {
  const entries = read(topologyOf(1, SCENE));
  entries.build(1);
  const [key = ''] = [
    ...entriesOf(topologyOf(1, { ingresses: [], egresses: [trigger({ id: 'a' })] })).keys(),
  ];
  entries.delete(key);
  expect(entries.count).toBe(6);
  expect([...entries.build(2).egresses.keys()]).toEqual(['name with spaces / and ünïcode']);
  entries.clear();
  expect(entries.count).toBe(0);
  expect(entries.build(3)).toEqual(topologyOf(3, { ingresses: [] }));
});

test.each([
  { name: 'another version', text: '{"v":2,"kind":"ingress","value":{}}' },
  { name: 'no JSON', text: '{' },
])(
  'KNEAR_FEED_FORMAT names the entry that is $name, and what it was before is not taken for it',
  ({ text }) => {
    const entries = read(topologyOf(1, SCENE));
    entries.build(1);
    entries.set('c', text);
    const refusal = () => {
      try {
        return entries.build(2);
      } catch (error) {
        return error;
      }
    };
    const message = expect.stringContaining('the entry c ') as unknown;
    expect(refusal()).toMatchObject({ code: 'KNEAR_FEED_FORMAT', message });
    expect(refusal()).toMatchObject({ code: 'KNEAR_FEED_FORMAT', message });
  },
);
