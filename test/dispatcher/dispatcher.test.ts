/** The set of loops: which there are, what becomes of deleted egresses, when the door yields, and the drain. */
import { describe, expect, test } from '@jest/globals';
import type { CloudEvent } from '../../core/event.ts';
import type { Delivery } from '../../core/ports/event-log.ts';
import { accepted, rejected, unreachable } from '../fakes/scripted-deliverer.ts';
import {
  at,
  eventOf,
  idOf,
  linear,
  OUTSIDE,
  SUBSCRIBER,
  subscription,
  trigger,
} from './resources.ts';
import { withPull } from '../fakes/wrapped-log.ts';
import { Stage } from './stage.ts';

const eventsOf = (count: number): CloudEvent[] =>
  Array.from({ length: count }, (_, index) => eventOf(`e${index + 1}`));

const loopIds = (stage: Stage) => [...stage.dispatcher.loops()].map(({ id }) => id);

/** A promise that a test looks at without waiting. */
function watch(promise: Promise<void> | undefined): { isOver: boolean } {
  const watched = { isOver: promise === undefined };
  void promise?.then(() => (watched.isOver = true));
  return watched;
}

describe('P1: loops', () => {
  test('there is one an egress, and each event goes to all that match', async () => {
    const stage = new Stage({
      egresses: [trigger({ id: 'a' }), trigger({ id: 'b', subscriber: at(OUTSIDE) })],
    });
    expect(loopIds(stage)).toEqual(['a', 'b']);
    await stage.produce('orders', eventOf('e1'));
    expect(stage.deliverer.calls.map(({ url }) => url)).toEqual([SUBSCRIBER, OUTSIDE]);
    stage.apply({ egresses: [trigger({ id: 'b' }), subscription({ id: 'c' })] });
    expect(loopIds(stage)).toEqual(['b', 'c']);
  });

  test('applying the same topology again changes nothing', async () => {
    const stage = new Stage({ egresses: [trigger()] });
    const loop = stage.loop();
    for (let count = 0; count < 3; count += 1) stage.apply({});
    await stage.produce('orders', ...eventsOf(3));
    expect(stage.loop()).toBe(loop);
    expect(stage.deliverer.calls).toHaveLength(3);
  });

  test('nothing is followed after the stop', async () => {
    const stage = new Stage({ egresses: [] });
    await stage.dispatcher.stop(0);
    stage.apply({ egresses: [trigger()] });
    expect(loopIds(stage)).toEqual([]);
    expect(stage.clock.timerCount).toBe(1);
  });
});

describe('P1: what the log holds for an egress that is gone', () => {
  /** One event ready, one delayed, one parked. */
  async function withBacklog(): Promise<Stage> {
    const egress = trigger({ retry: linear(1, 60_000) });
    const stage = new Stage({ egresses: [egress] });
    stage.deliverer.script(SUBSCRIBER, rejected(400), rejected(500), accepted);
    await stage.produce('orders', eventOf('parked'), eventOf('delayed'));
    stage.apply({ egresses: [{ ...egress, isPaused: true }] });
    await stage.produce('orders', eventOf('ready'));
    expect(stage.log.lag('egress')).toEqual({ ready: 1, delayed: 1, parked: 1 });
    stage.happenings.length = 0;
    return stage;
  }

  test('ends as gone after the grace, not before', async () => {
    const stage = await withBacklog();
    stage.apply({ egresses: [] });
    await stage.pass(9_999);
    expect([stage.trail(), stage.log.egressIds()]).toEqual([[], ['egress']]);
    await stage.pass(1);
    expect([stage.trail(), stage.log.egressIds()]).toEqual([['discarded gone 3'], []]);
    stage.apply({ egresses: [trigger()] });
    await stage.pass(120_000);
    expect(stage.deliverer.calls.map(({ event }) => idOf(event))).toEqual(['parked', 'delayed']);
    expect(stage.bugs).toEqual([]);
  });

  test('is kept when the same identity is back before that', async () => {
    const stage = await withBacklog();
    stage.apply({ egresses: [] });
    await stage.pass(9_999);
    stage.apply({ egresses: [trigger()] });
    await stage.pass(120_000);
    expect(stage.trail().filter((line) => line.startsWith('discarded'))).toEqual([]);
    expect(stage.deliverer.calls.slice(2).map(({ event }) => idOf(event))).toEqual([
      'ready',
      'delayed',
    ]);
    expect(stage.log.lag('egress').parked).toBe(1);
  });

  test('has its whole grace each time the egress vanishes', async () => {
    const stage = await withBacklog();
    stage.apply({ egresses: [] });
    await stage.pass(6_000);
    stage.apply({ egresses: [trigger({ isPaused: true })] });
    await stage.pass(1_000);
    stage.apply({ egresses: [] });
    await stage.pass(9_999);
    expect(stage.trail()).toEqual([]);
    await stage.pass(1);
    expect(stage.trail()).toEqual(['discarded gone 3']);
  });

  test('does not have its grace prolonged by other changes', async () => {
    const stage = await withBacklog();
    stage.apply({ egresses: [] });
    await stage.pass(6_000);
    const timers = stage.clock.timerCount;
    stage.apply({ egresses: [subscription({ id: 'other' })] });
    expect(stage.clock.timerCount).toBe(timers);
    await stage.pass(4_000);
    expect(stage.trail()).toEqual(['discarded gone 3']);
  });

  test('has its grace, too, when the egress was deleted while nothing ran', async () => {
    const before = await withBacklog();
    const after = before.crash({ egresses: [] });
    await after.pass(9_999);
    expect(after.trail()).toEqual([]);
    await after.pass(1);
    expect(after.trail()).toEqual(['discarded gone 3']);
  });

  test('ends without harm though an attempt of it is still in flight', async () => {
    const stage = new Stage({ egresses: [trigger({ retry: linear(3, 100) })] });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(2));
    stage.apply({ egresses: [] });
    await stage.pass(10_000);
    expect(stage.trail()).toEqual(['discarded gone 2']);
    stage.deliverer.answer(accepted);
    stage.deliverer.answer(rejected(500));
    await stage.pass(1_000);
    expect([stage.dispatcher.open, stage.log.egressIds(), stage.bugs]).toEqual([0, [], []]);
    expect(stage.deliverer.calls).toHaveLength(2);
  });

  test('is not dropped any more once the dispatcher stops', async () => {
    const stage = await withBacklog();
    stage.apply({ egresses: [] });
    await stage.dispatcher.stop(0);
    await stage.pass(60_000);
    expect(stage.trail()).toEqual([]);
  });
});

describe('P2: the door', () => {
  interface Busy {
    is: boolean;
  }

  /** Many events for one subscriber that takes one at a time, and takes this long for each. */
  async function backlogged(count: number, answerMs: number, busy: Busy): Promise<Stage> {
    const stage = new Stage({ egresses: [trigger()], slotsMax: 1, isBusy: () => busy.is });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(count));
    await answer(stage, 3, answerMs);
    return stage;
  }

  async function answer(stage: Stage, count: number, answerMs: number): Promise<void> {
    for (let each = 0; each < count; each += 1) {
      await stage.pass(answerMs);
      stage.deliverer.answer(accepted);
    }
    await stage.pass(0);
  }

  test('yields while more than 1,000 deliveries wait for subscribers that keep up', async () => {
    const stage = await backlogged(1_010, 1, { is: true });
    const read = watch(stage.dispatcher.mayRead());
    expect(read.isOver).toBe(false);
    // 1,006 wait beside the one in flight.
    await answer(stage, 5, 4);
    expect(read.isOver).toBe(false);
    await answer(stage, 1, 4);
    await stage.pass(20);
    expect(read.isOver).toBe(true);
    expect(stage.dispatcher.mayRead()).toBeUndefined();
  });

  test('does not yield while this process has time to spare', async () => {
    const stage = await backlogged(1_010, 1, { is: false });
    expect(stage.dispatcher.mayRead()).toBeUndefined();
  });

  /** A log that brings nothing more once it is stuck. */
  async function stuck(options: { isRefusing: boolean }): Promise<Stage> {
    let isStuck = false;
    const stage = new Stage({
      egresses: [trigger()],
      wrap: (log) => {
        const own = withPull(log, (pull, ...call) =>
          isStuck ? new Promise<Delivery[]>(() => undefined) : pull(...call),
        );
        const refusing = { kind: 'refusing', code: 'KNEAR_NATS_AWAY', detail: 'away' } as const;
        return options.isRefusing ? { ...own, state: refusing } : own;
      },
    });
    await stage.produce('orders', ...eventsOf(3));
    isStuck = true;
    await stage.produce('orders', ...eventsOf(1_500));
    return stage;
  }

  test('yields while the log does not bring what waits, though this process has time to spare', async () => {
    const stage = await stuck({ isRefusing: false });
    const read = watch(stage.dispatcher.mayRead());
    await stage.pass(100);
    expect(read.isOver).toBe(false);
  });

  test('does not yield while the log refuses: who sends is to hear that', async () => {
    const stage = await stuck({ isRefusing: true });
    expect(stage.dispatcher.mayRead()).toBeUndefined();
  });

  test('does not take its own long turns for a slow subscriber', async () => {
    const lateMs = () => 50;
    const stage = new Stage({ egresses: [trigger()], slotsMax: 1, isBusy: () => true, lateMs });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(1_010));
    await answer(stage, 3, 250);
    expect(watch(stage.dispatcher.mayRead()).isOver).toBe(false);
  });

  test('reads on as soon as this process has time to spare again', async () => {
    const busy = { is: true };
    const stage = await backlogged(1_010, 1, busy);
    const read = watch(stage.dispatcher.mayRead());
    busy.is = false;
    await stage.pass(20);
    expect(read.isOver).toBe(true);
  });

  test('does not yield for a subscriber that is slow itself', async () => {
    const stage = await backlogged(1_010, 101, { is: true });
    expect(stage.dispatcher.mayRead()).toBeUndefined();
  });

  test.each([
    { name: 'has never answered', answers: 0 },
    { name: 'only times out', answers: 8 },
  ])('does not yield for a subscriber that $name', async ({ answers }) => {
    const stage = new Stage({ egresses: [trigger()], isBusy: () => true });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(1_200));
    for (let count = 0; count < answers; count += 1) {
      await stage.pass(30_000);
      stage.deliverer.answer(unreachable('KNEAR_TIMEOUT'));
    }
    await stage.pass(20);
    expect(stage.dispatcher.mayRead()).toBeUndefined();
  });

  test('does not yield for a subscriber that answered at first and only times out now', async () => {
    const stage = await backlogged(1_200, 1, { is: true });
    await stage.pass(30_000);
    stage.deliverer.answer(unreachable('KNEAR_TIMEOUT'));
    await stage.pass(20);
    expect(stage.dispatcher.mayRead()).toBeUndefined();
  });

  test('does not yield for a paused egress', async () => {
    const stage = await backlogged(1_200, 1, { is: true });
    stage.apply({ egresses: [trigger({ isPaused: true })] });
    await stage.pass(10);
    expect(stage.dispatcher.mayRead()).toBeUndefined();
  });

  test('does not yield for what is in flight already', async () => {
    const stage = await backlogged(1_004, 1, { is: true });
    expect(stage.log.lag('egress').ready).toBe(1_001);
    expect(stage.dispatcher.mayRead()).toBeUndefined();
  });

  test('looks at the queues at most every 10 ms', async () => {
    const stage = await backlogged(1_010, 1, { is: true });
    expect(stage.dispatcher.mayRead()).toBeInstanceOf(Promise);
    await answer(stage, 9, 1);
    expect(stage.dispatcher.mayRead()).toBeInstanceOf(Promise);
    await stage.pass(1);
    expect(stage.dispatcher.mayRead()).toBeUndefined();
  });

  test('is let go when the dispatcher stops', async () => {
    const stage = await backlogged(1_010, 1, { is: true });
    const read = watch(stage.dispatcher.mayRead());
    void stage.dispatcher.stop(0);
    await stage.pass(10);
    expect(read.isOver).toBe(true);
  });
});

describe('the drain', () => {
  async function hanging(): Promise<Stage> {
    const stage = new Stage({ egresses: [trigger({ id: 'a' }), trigger({ id: 'b' })] });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', eventOf('e1'));
    return stage;
  }

  test('ends when the last attempt in flight has ended', async () => {
    const stage = await hanging();
    const stopped = watch(stage.dispatcher.stop(5_000));
    stage.deliverer.answer(accepted);
    await stage.pass(1_000);
    expect(stopped.isOver).toBe(false);
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(stopped.isOver).toBe(true);
    expect(stage.trail().filter((line) => line === 'end delivered')).toHaveLength(2);
  });

  test('has a bound: what hangs is left, and offered to the next process as if never tried', async () => {
    const before = await hanging();
    const stopped = watch(before.dispatcher.stop(5_000));
    await before.pass(4_999);
    expect(stopped.isOver).toBe(false);
    await before.pass(1);
    expect(stopped.isOver).toBe(true);
    const after = before.crash();
    await after.pass(0);
    expect(after.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 202`,
      'end delivered',
      `deliver 1 ${SUBSCRIBER} 202`,
      'end delivered',
    ]);
  });

  test('an answer that comes after the bound and after the log is closed does no harm', async () => {
    const before = await hanging();
    void before.dispatcher.stop(100);
    await before.pass(100);
    const closed = before.log.close();
    await before.pass(0);
    await closed;
    before.deliverer.answer(accepted);
    before.deliverer.answer(rejected(500));
    await before.pass(20_000);
    expect(before.bugs).toEqual([]);
    const after = before.crash();
    await after.pass(0);
    expect(after.deliverer.calls).toHaveLength(2);
  });

  test('may be asked for twice', async () => {
    const stage = await hanging();
    const first = watch(stage.dispatcher.stop(60_000));
    const second = watch(stage.dispatcher.stop(1_000));
    await stage.pass(1_000);
    expect([first.isOver, second.isOver]).toEqual([false, true]);
    stage.deliverer.answer(accepted);
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(first.isOver).toBe(true);
  });

  test('covers egresses that vanished with attempts in flight', async () => {
    const stage = await hanging();
    stage.apply({ egresses: [] });
    const stopped = watch(stage.dispatcher.stop(5_000));
    await stage.pass(1_000);
    expect(stopped.isOver).toBe(false);
    stage.deliverer.answer(accepted);
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(stopped.isOver).toBe(true);
  });

  test('takes nothing new in', async () => {
    const stage = await hanging();
    void stage.dispatcher.stop(5_000);
    await stage.produce('orders', eventOf('e2'));
    stage.deliverer.answer(accepted);
    stage.deliverer.answer(accepted);
    await stage.pass(10_000);
    expect(stage.deliverer.calls).toHaveLength(2);
    expect(stage.log.lag('a').ready).toBe(1);
  });

  test('ends for loops that wait for room, too', async () => {
    const stage = new Stage({
      egresses: [trigger({ id: 'a' }), trigger({ id: 'b' })],
      open: { countMax: 1, bytesMax: 1e9 },
    });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(3));
    const stopped = watch(stage.dispatcher.stop(5_000));
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect([stopped.isOver, stage.deliverer.calls.length]).toEqual([true, 1]);
  });
});
