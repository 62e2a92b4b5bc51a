/** Who is there: what others have told, for as long as they go on telling, and nothing that cannot be read. */
import { expect, test } from '@jest/globals';

import { Instances, readInstance, textOfInstance } from '../../controller/feed/instances.ts';
import { PRESENCE_MS, type Instance } from '../../core/ports/topology-feed.ts';
import { FakeClock } from '../fakes/clock.ts';

const instanceOf = (id: string, revision = 5): Instance => ({
  id,
  role: 'dispatcher',
  version: '1.2.3',
  vantages: [{ node: 'node-1' }],
  revision,
});

const idsOf = (instances: Instances) => instances.all().map(({ id }) => id);

test('who tells is there for ten seconds from then, or until he leaves', () => {
  const clock = new FakeClock();
  const instances = new Instances(clock);
  for (const id of ['one', 'two', 'three']) instances.hear(instanceOf(id));
  clock.advance(PRESENCE_MS - 1);
  instances.hear(instanceOf('two', 6));
  instances.leave('three');
  clock.advance(1);
  expect(idsOf(instances)).toEqual(['one', 'two']);
  clock.advance(1);
  expect(instances.all()).toEqual([instanceOf('two', 6)]);
  instances.leave('never heard of');
  clock.advance(PRESENCE_MS);
  expect(idsOf(instances)).toEqual([]);
});

test('what an instance tells comes back as it was, with its count', () => {
  const instance = instanceOf('one');
  expect(readInstance(textOfInstance(instance, 7))).toEqual({ instance, beat: 7 });
});

const whole = { v: 1, beat: 1, ...instanceOf('one') };

test.each([
  { name: 'nothing', text: '' },
  { name: 'no JSON', text: '{' },
  { name: 'null', text: 'null' },
  { name: 'a number', text: '7' },
  { name: 'another version', text: JSON.stringify({ ...whole, v: 2 }) },
  { name: 'a role that nobody knows', text: JSON.stringify({ ...whole, role: 'king' }) },
  { name: 'no vantages', text: JSON.stringify({ ...whole, vantages: undefined }) },
  { name: 'no revision', text: JSON.stringify({ ...whole, revision: undefined }) },
])('$name is as if nothing had been told', ({ text }) => {
  expect(readInstance(text)).toBeUndefined();
});
