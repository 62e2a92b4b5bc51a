/** Order by key: events with one `partitionkey` are delivered one after the other, whatever happens to one of them. */
import { describe, expect, test } from '@jest/globals';
import type { CloudEvent } from '../../core/event.ts';
import type { Egress } from '../../core/topology.ts';
import { accepted, rejected } from '../fakes/scripted-deliverer.ts';
import { at, eventOf, exponential, idOf, linear, SINK, SUBSCRIBER, trigger } from './resources.ts';
import { Stage } from './stage.ts';

const ordered = (parts: Partial<Egress> = {}) =>
  trigger({ order: 'key', retry: linear(3, 5_000), ...parts });

const of = (key: string, id: string): CloudEvent =>
  eventOf(id, { attributes: { partitionkey: key } });

const callsOf = (stage: Stage) => stage.deliverer.calls.map(({ event }) => idOf(event));

test('one key has one request in flight, in the order of the log; keys and events without one do not wait', async () => {
  const stage = new Stage({ egresses: [ordered()] });
  stage.deliverer.script(SUBSCRIBER, 'hang');
  await stage.produce('orders', of('a', 'a1'), of('a', 'a2'), of('b', 'b1'), eventOf('free'));
  expect(callsOf(stage).sort()).toEqual(['a1', 'b1', 'free']);
  for (let count = 0; count < 3; count += 1) stage.deliverer.answer(accepted);
  await stage.pass(0);
  expect(callsOf(stage).slice(3)).toEqual(['a2']);
});

test('without the annotation, keys mean nothing', async () => {
  const stage = new Stage({ egresses: [trigger()] });
  stage.deliverer.script(SUBSCRIBER, 'hang');
  await stage.produce('orders', of('a', 'a1'), of('a', 'a2'));
  expect(callsOf(stage)).toEqual(['a1', 'a2']);
});

test('a retry keeps its place, in memory however long it waits, while other keys go on', async () => {
  const stage = new Stage({ egresses: [ordered()] });
  stage.deliverer.script(SUBSCRIBER, rejected(500), accepted);
  await stage.produce('orders', of('a', 'a1'), of('a', 'a2'), of('b', 'b1'));
  expect(callsOf(stage)).toEqual(['a1', 'b1']);
  expect(stage.trail()).toContain('wait deliver 1 5000 memory');
  await stage.produce('orders', of('a', 'a3'), of('b', 'b2'));
  await stage.pass(4_999);
  expect(callsOf(stage)).toEqual(['a1', 'b1', 'b2']);
  await stage.pass(1);
  expect(callsOf(stage)).toEqual(['a1', 'b1', 'b2', 'a1', 'a2', 'a3']);
});

test('waits of an hour keep their lease', async () => {
  const stage = new Stage({ egresses: [ordered({ retry: linear(1, 3_600_000) })] });
  stage.deliverer.script(SUBSCRIBER, rejected(500), accepted);
  await stage.produce('orders', of('a', 'a1'), of('a', 'a2'));
  await stage.pass(3_600_000);
  expect(stage.trail()).not.toContain('lease-lost 1');
  expect(callsOf(stage)).toEqual(['a1', 'a1', 'a2']);
});

test.each([
  { name: 'is parked', parts: {}, end: 'end parked KNEAR_REJECTED' },
  {
    name: 'is dead-lettered',
    parts: { deadLetter: at(SINK) },
    end: 'end dead-lettered KNEAR_REJECTED',
  },
])('an event that $name leaves its place to the next', async ({ parts, end }) => {
  const stage = new Stage({ egresses: [ordered(parts)] });
  stage.deliverer.script(SUBSCRIBER, rejected(400), accepted);
  await stage.produce('orders', of('a', 'a1'), of('a', 'a2'));
  const told = stage.trail();
  expect(told).toContain(end);
  expect(told.indexOf(end)).toBeLessThan(told.lastIndexOf(`deliver 1 ${SUBSCRIBER} 202`));
  expect(told.at(-1)).toBe('end delivered');
});

test('an event on its way to the dead letter sink still holds its place', async () => {
  const stage = new Stage({ egresses: [ordered({ deadLetter: at(SINK) })] });
  stage.deliverer.script(SUBSCRIBER, rejected(400), accepted);
  stage.deliverer.script(SINK, 'hang');
  await stage.produce('orders', of('a', 'a1'), of('a', 'a2'));
  expect(callsOf(stage)).toEqual(['a1', 'a1']);
  stage.deliverer.answer(accepted);
  await stage.pass(0);
  expect(callsOf(stage)).toEqual(['a1', 'a1', 'a2']);
});

test('a bug in one delivery does not hold its successors up', async () => {
  const stage = new Stage({ egresses: [ordered()] });
  stage.deliverer.script(SUBSCRIBER, new Error('a bug'), accepted);
  await stage.produce('orders', of('a', 'a1'), of('a', 'a2'));
  expect(callsOf(stage)).toEqual(['a1', 'a2']);
  expect(stage.bugs).toHaveLength(1);
});

describe('the order of a key outlives', () => {
  test('a crash in the middle of a wait', async () => {
    const before = new Stage({ egresses: [ordered()] });
    before.deliverer.script(SUBSCRIBER, rejected(500));
    await before.produce('orders', of('a', 'a1'), of('a', 'a2'));
    const after = before.crash();
    await after.pass(0);
    expect(callsOf(after)).toEqual(['a1', 'a2']);
  });

  test('a stop in good order in the middle of a wait', async () => {
    const before = new Stage({ egresses: [ordered()] });
    before.deliverer.script(SUBSCRIBER, rejected(500));
    await before.produce('orders', of('a', 'a1'), of('a', 'a2'));
    const after = await before.restart();
    await after.pass(10_000);
    expect(callsOf(after)).toEqual(['a1', 'a2']);
  });

  test('a stop while its first attempt is in flight, which fails then', async () => {
    const before = new Stage({ egresses: [ordered()] });
    before.deliverer.script(SUBSCRIBER, 'hang');
    await before.produce('orders', of('a', 'a1'), of('a', 'a2'));
    const stopped = before.dispatcher.stop(1_000);
    before.deliverer.answer(rejected(500));
    await before.pass(300);
    await stopped;
    const after = before.crash();
    await after.pass(10_000);
    expect(callsOf(after)).toEqual(['a1', 'a2']);
  });

  test('an egress that is away for a moment', async () => {
    const stage = new Stage({ egresses: [ordered()] });
    stage.deliverer.script(SUBSCRIBER, rejected(500), accepted);
    await stage.produce('orders', of('a', 'a1'), of('a', 'a2'), of('a', 'a3'));
    stage.apply({ egresses: [] });
    stage.apply({ egresses: [ordered()] });
    await stage.pass(5_000);
    expect(callsOf(stage)).toEqual(['a1', 'a1', 'a2', 'a3']);
  });

  test('an egress that is away for longer', async () => {
    const stage = new Stage({ egresses: [ordered()] });
    stage.deliverer.script(SUBSCRIBER, rejected(500), accepted);
    await stage.produce('orders', of('a', 'a1'), of('a', 'a2'), of('a', 'a3'));
    stage.apply({ egresses: [] });
    await stage.pass(2_000);
    stage.apply({ egresses: [ordered()] });
    await stage.pass(5_000);
    expect(callsOf(stage)).toEqual(['a1', 'a1', 'a2', 'a3']);
  });

  test('a pause', async () => {
    const stage = new Stage({ egresses: [ordered()] });
    stage.deliverer.script(SUBSCRIBER, rejected(500), accepted);
    await stage.produce('orders', of('a', 'a1'), of('a', 'a2'));
    stage.apply({ egresses: [ordered({ isPaused: true })] });
    await stage.produce('orders', of('a', 'a3'));
    await stage.pass(1_000);
    stage.apply({ egresses: [ordered()] });
    await stage.pass(4_000);
    expect(callsOf(stage)).toEqual(['a1', 'a1', 'a2', 'a3']);
  });

  test('a lease that ends while its request hangs: its next offer waits for the first to end', async () => {
    const stage = new Stage({ egresses: [ordered({ retry: exponential(1, 100) })] });
    stage.deliverer.script(SUBSCRIBER, 'hang', accepted);
    await stage.produce('orders', of('a', 'a1'), of('a', 'a2'));
    stage.clock.freeze(15_000);
    await stage.pass(1_000);
    expect(callsOf(stage)).toEqual(['a1']);
    stage.deliverer.answer(rejected(500));
    await stage.pass(100);
    expect(callsOf(stage)).toEqual(['a1', 'a1', 'a2']);
  });
});
