import { describe, expect, test } from '@jest/globals';
import type { Delivery } from '../../core/ports/event-log.ts';
import { Hold } from '../../dispatcher/hold.ts';
import { SteppedClock } from '../fakes/stepped-clock.ts';
import { eventOf } from './resources.ts';

function holdOf() {
  const clock = new SteppedClock();
  const stopping = new AbortController();
  let extended = 0;
  const delivery: Delivery = {
    egressId: 'egress',
    position: 1,
    event: eventOf('e1'),
    sizeBytes: 100,
    acceptedAtMs: 0,
    lease: 1,
    phase: 'deliver',
    attempt: 0,
    firstAtMs: 0,
    isOpen: true,
    settle: () => Promise.resolve(),
    release: () => undefined,
    extend: () => void (extended += 1),
  };
  const hold = new Hold({ delivery, bytes: 0, clock, stop: stopping.signal });
  return { hold, clock, stopping, extended: () => extended };
}

/** Whether a wait is over, looked at without waiting. */
function watch(promise: Promise<void>): { isOver: boolean } {
  const watched = { isOver: false };
  void promise.then(() => (watched.isOver = true));
  return watched;
}

describe('D8: a lease, by the clock of its holder', () => {
  test('lasts 15 s', async () => {
    const { hold, clock } = holdOf();
    await clock.pass(14_999);
    expect(hold.isCurrent).toBe(true);
    await clock.pass(1);
    expect(hold.isCurrent).toBe(false);
  });

  test('lasts 15 s from each extension', async () => {
    const { hold, clock, extended } = holdOf();
    for (let count = 0; count < 4; count += 1) {
      await clock.pass(10_000);
      hold.extend();
      expect(hold.isCurrent).toBe(true);
    }
    await clock.pass(15_000);
    expect([hold.isCurrent, extended()]).toEqual([false, 4]);
  });

  test('is over for good: an extension that comes too late is not asked for', async () => {
    const { hold, clock, extended } = holdOf();
    clock.freeze(15_000);
    hold.extend();
    expect([hold.isCurrent, extended()]).toEqual([false, 0]);
    await clock.pass(1_000);
    expect(hold.isCurrent).toBe(false);
  });

  test('does not notice when the wall clock jumps', () => {
    const { hold, clock } = holdOf();
    clock.jump(3_600_000);
    expect(hold.isCurrent).toBe(true);
    clock.jump(-7_200_000);
    expect(hold.isCurrent).toBe(true);
  });
});

describe('a wait', () => {
  test('ends after its delay', async () => {
    const { hold, clock } = holdOf();
    const wait = watch(hold.wait(500));
    await clock.pass(499);
    expect(wait.isOver).toBe(false);
    await clock.pass(1);
    expect(wait.isOver).toBe(true);
  });

  test('of no time at all sets no timer', async () => {
    const { hold, clock } = holdOf();
    await hold.wait(0);
    expect(clock.timerCount).toBe(0);
  });

  test('ends when it is woken, and leaves no timer behind', async () => {
    const { hold, clock } = holdOf();
    const wait = watch(hold.wait(3_600_000));
    hold.wake();
    await clock.calm();
    expect([wait.isOver, clock.timerCount]).toEqual([true, 0]);
  });

  test('does not begin when the dispatcher stops', async () => {
    const { hold, clock, stopping } = holdOf();
    stopping.abort();
    await hold.wait(3_600_000);
    expect([hold.isStopping, clock.timerCount]).toEqual([true, 0]);
  });

  test('that is over is not woken, and neither is the next one by what woke the last', async () => {
    const { hold, clock } = holdOf();
    hold.wake();
    const first = watch(hold.wait(100));
    await clock.pass(100);
    hold.wake();
    const second = watch(hold.wait(100));
    await clock.calm();
    expect([first.isOver, second.isOver]).toEqual([true, false]);
    await clock.pass(100);
    expect(second.isOver).toBe(true);
  });
});
