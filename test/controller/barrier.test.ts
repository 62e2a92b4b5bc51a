/** C7: Ready is what everybody who is there goes by, and nothing before that. */
import { expect, test } from '@jest/globals';

import { Barrier } from '../../controller/feed/barrier.ts';
import type { Instance, Role } from '../../core/ports/topology-feed.ts';
import { broker, topologyOf, trigger, type Scene } from '../dispatcher/resources.ts';

const at = (role: Role, revision: number, id: string = role): Instance => ({
  id,
  role,
  version: '1.2.3',
  vantages: [],
  revision,
});

const OLD: Scene = { ingresses: [broker('orders')], egresses: [trigger({ id: 'old' })] };
const NEW: Scene = { ...OLD, egresses: [trigger({ id: 'old' }), trigger({ id: 'new' })] };

/** With so much published as revision 5, which everybody has. */
function settled(scene: Scene = OLD): Barrier {
  const barrier = new Barrier();
  barrier.intended(topologyOf(1, scene));
  barrier.published(5);
  barrier.present([at('ingress', 5), at('dispatcher', 5)]);
  return barrier;
}

const waits = (barrier: Barrier) =>
  ['orders', 'old', 'new'].map((id) => barrier.waitOf(id)?.reason ?? '');

test('C7 a resource is Ready when it is published and all have it, not before', () => {
  const barrier = new Barrier();
  const all = [at('ingress', 0), at('dispatcher', 0)];
  barrier.present(all);
  barrier.intended(topologyOf(1, OLD));
  expect(waits(barrier)).toEqual(['DataPlaneBehind', 'DataPlaneBehind', '']);
  barrier.published(5);
  barrier.present([at('ingress', 5), at('dispatcher', 4)]);
  expect(barrier.waitOf('old')).toEqual({
    reason: 'DataPlaneBehind',
    message: 'these do not go by it yet: dispatcher dispatcher',
  });
  barrier.present([at('ingress', 5), at('dispatcher', 6)]);
  expect(waits(barrier)).toEqual(['', '', '']);
});

test('C7 while nothing is known to be published, as when the server is away, what is new waits and what is old stays', () => {
  const barrier = settled();
  barrier.intended(topologyOf(2, NEW));
  barrier.present([at('ingress', 5), at('dispatcher', 5)]);
  expect(waits(barrier)).toEqual(['', '', 'DataPlaneBehind']);
  barrier.published(6);
  expect(waits(barrier)).toEqual(['', '', 'DataPlaneBehind']);
  barrier.present([at('ingress', 6), at('dispatcher', 6)]);
  expect(waits(barrier)).toEqual(['', '', '']);
});

test('what has changed waits, what has not stays Ready, and what is gone waits for nobody', () => {
  const barrier = settled(NEW);
  const changed = trigger({ id: 'old', timeoutMs: 1 });
  barrier.intended(topologyOf(2, { ...OLD, egresses: [changed] }));
  barrier.published(6);
  expect(waits(barrier)).toEqual(['', 'DataPlaneBehind', '']);
});

test('what changes back before anybody had it is Ready at once', () => {
  const barrier = settled();
  barrier.intended(topologyOf(2, NEW));
  barrier.published(6);
  barrier.intended(topologyOf(3, OLD));
  barrier.published(7);
  expect(waits(barrier)).toEqual(['', '', '']);
});

test('who is gone is not waited for, and who comes is', () => {
  const barrier = settled();
  barrier.intended(topologyOf(2, NEW));
  barrier.published(6);
  const slow = at('ingress', 5, 'slow');
  barrier.present([at('ingress', 6), at('dispatcher', 6), slow]);
  expect(barrier.waitOf('new')?.message).toBe('these do not go by it yet: ingress slow');
  barrier.present([at('ingress', 6), at('dispatcher', 6)]);
  expect(waits(barrier)).toEqual(['', '', '']);
  barrier.intended(topologyOf(3, OLD));
  barrier.intended(topologyOf(4, NEW));
  barrier.published(8);
  // All had it before: that a late one has nothing yet changes nothing for who waits.
  barrier.present([at('ingress', 8), at('dispatcher', 8), at('dispatcher', 0, 'late')]);
  expect(waits(barrier)).toEqual(['', '', '']);
});

test.each([
  { name: 'nobody takes events', all: [at('dispatcher', 5)], reason: 'NoIngress' },
  { name: 'nobody delivers events', all: [at('ingress', 5)], reason: 'NoDispatcher' },
  { name: 'nobody is there', all: [], reason: 'NoIngress' },
  { name: 'only controllers are', all: [at('controller', 5)], reason: 'NoIngress' },
])('nothing is Ready when $name', ({ all, reason }) => {
  const barrier = settled();
  barrier.present(all);
  expect(waits(barrier)).toEqual([reason, reason, reason]);
});

test.each([
  { name: 'nobody', before: [] },
  { name: 'no dispatcher', before: [at('ingress', 5)] },
  { name: 'no ingress', before: [at('dispatcher', 5)] },
])('where there was $name, what the first one has is waited for', ({ before }) => {
  const barrier = new Barrier();
  barrier.present(before);
  barrier.intended(topologyOf(1, OLD));
  barrier.published(5);
  const first = [at('ingress', 0), at('dispatcher', 0)];
  const all = first.map((each) => before.find(({ role }) => role === each.role) ?? each);
  barrier.present(all);
  expect(barrier.waitOf('old')?.reason).toBe('DataPlaneBehind');
  barrier.present([at('ingress', 5), at('dispatcher', 5)]);
  expect(barrier.waitOf('old')).toBeUndefined();
});

test('who had it before the server has told who published it, is as good as any', () => {
  const barrier = settled();
  barrier.intended(topologyOf(2, NEW));
  barrier.present([at('ingress', 6), at('dispatcher', 6)]);
  expect(waits(barrier)).toEqual(['', '', 'DataPlaneBehind']);
  barrier.published(6);
  expect(waits(barrier)).toEqual(['', '', '']);
});

test('controllers are not waited for: they hand it out', () => {
  const barrier = settled();
  barrier.intended(topologyOf(2, NEW));
  barrier.published(6);
  barrier.present([at('controller', 0), at('ingress', 6), at('dispatcher', 6)]);
  expect(waits(barrier)).toEqual(['', '', '']);
});
