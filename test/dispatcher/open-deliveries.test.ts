/** Open deliveries, shared by all egresses: every place is used, and nobody starves. */
import { describe, expect, test } from '@jest/globals';
import type { CloudEvent } from '../../core/event.ts';
import { accepted, rejected } from '../fakes/scripted-deliverer.ts';
import { at, eventOf, idOf, linear, ofType, trigger } from './resources.ts';
import { Stage } from './stage.ts';

const eventsOf = (count: number, more: Parameters<typeof eventOf>[1] = {}): CloudEvent[] =>
  Array.from({ length: count }, (_, index) => eventOf(`e${index + 1}`, more));

const callsOf = (stage: Stage) => stage.deliverer.calls.map(({ event }) => idOf(event));

describe('a place among the open deliveries of the dispatcher', () => {
  const to = (id: string, more: Parameters<typeof trigger>[0] = {}) =>
    trigger({ id, subscriber: at(`http://${id}/`), filter: ofType(id), ...more });

  test('goes to each egress in turn: nobody starves beside one that always wants it', async () => {
    const stage = new Stage({
      egresses: ['a', 'b', 'c'].map((id) => to(id, { filter: { kind: 'everything' } })),
      open: { countMax: 1, bytesMax: 1e9 },
    });
    for (const id of ['a', 'b', 'c']) stage.deliverer.script(`http://${id}/`, 'hang');
    await stage.produce('orders', ...eventsOf(50));
    for (let count = 0; count < 59; count += 1) {
      stage.deliverer.answer(accepted);
      await stage.pass(1);
    }
    const shares = ['a', 'b', 'c'].map((id) => stage.deliverer.callsTo(`http://${id}/`).length);
    expect(shares.reduce((sum, share) => sum + share)).toBe(60);
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(19);
  });

  test('is used if it is free, though slow subscribers hold nearly all of them', async () => {
    const slow = ['s1', 's2', 's3'].map((id) => to(id, { filter: ofType('slow') }));
    const stage = new Stage({
      egresses: [...slow, to('fast')],
      open: { countMax: 13, bytesMax: 1e9 },
    });
    for (const { id } of slow) stage.deliverer.script(`http://${id}/`, 'hang');
    await stage.produce('orders', ...eventsOf(10, { type: 'slow' }));
    await stage.produce('orders', ...eventsOf(10, { type: 'fast' }));
    expect(stage.deliverer.callsTo('http://fast/')).toHaveLength(10);
  });

  test('is given on by an egress that has nothing more to put there, though something is in flight', async () => {
    const stage = new Stage({
      egresses: [to('a'), to('b')],
      open: { countMax: 2, bytesMax: 1e9 },
    });
    for (const id of ['a', 'b']) stage.deliverer.script(`http://${id}/`, 'hang');
    await stage.produce('orders', eventOf('a1', { type: 'a' }), eventOf('a2', { type: 'a' }));
    await stage.produce('orders', eventOf('b1', { type: 'b' }));
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(callsOf(stage)).toEqual(['a1', 'a2', 'b1']);
  });

  test('and room for many events that one large event leaves is used at once', async () => {
    const stage = new Stage({
      egresses: ['large', 'a', 'b', 'c'].map((id) => to(id)),
      open: { countMax: 100, bytesMax: 1_000 },
    });
    for (const id of ['large', 'a', 'b', 'c']) stage.deliverer.script(`http://${id}/`, 'hang');
    await stage.produce('orders', eventOf('large', { type: 'large', data: 'x'.repeat(5_000) }));
    for (const type of ['a', 'b', 'c']) await stage.produce('orders', eventOf(type, { type }));
    expect(callsOf(stage)).toEqual(['large']);
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(callsOf(stage)).toEqual(['large', 'a', 'b', 'c']);
  });

  test('is given on by an egress that has nothing to put there', async () => {
    const stage = new Stage({
      egresses: [to('a'), to('idle'), to('b')],
      open: { countMax: 1, bytesMax: 1e9 },
    });
    for (const id of ['a', 'idle', 'b']) stage.deliverer.script(`http://${id}/`, 'hang');
    await stage.produce('orders', eventOf('i1', { type: 'idle' }));
    await stage.produce('orders', eventOf('a1', { type: 'a' }));
    await stage.produce('orders', eventOf('b1', { type: 'b' }));
    for (let count = 0; count < 3; count += 1) {
      stage.deliverer.answer(accepted);
      await stage.pass(0);
    }
    expect(callsOf(stage)).toEqual(['i1', 'a1', 'b1']);
  });

  test('is not held by waits when room is tight: many dead subscribers leave room for one that lives', async () => {
    const dead = Array.from({ length: 4 }, (_, index) =>
      to(`dead${index}`, { filter: ofType('dead'), retry: linear(100, 1_000) }),
    );
    const stage = new Stage({
      egresses: [...dead, to('alive')],
      open: { countMax: 100, bytesMax: 1e9 },
    });
    for (const { id } of dead) stage.deliverer.script(`http://${id}/`, rejected(500));
    await stage.produce('orders', ...eventsOf(300, { type: 'dead' }));
    await stage.pass(5_000);
    for (let count = 0; count < 20; count += 1) {
      await stage.produce('orders', eventOf(`alive${count}`, { type: 'alive' }));
      expect(stage.deliverer.callsTo('http://alive/')).toHaveLength(count + 1);
      await stage.pass(50);
    }
  });
});
