import { describe, expect, test } from '@jest/globals';
import type { Outcome } from '../../core/ports/deliverer.ts';
import { Slots } from '../../dispatcher/slots.ts';
import {
  accepted,
  malformed,
  rejected,
  replied,
  unreachable,
} from '../fakes/scripted-deliverer.ts';
import { FakeClock } from '../fakes/clock.ts';
import { eventOf } from './resources.ts';

/** Nothing here is about time that passes by itself. */
const clock = new FakeClock();

/** Takes every slot there is; all of them must be free. */
function fill(slots: Slots): void {
  const { limit } = slots;
  for (let count = 0; count < limit; count += 1) expect(slots.take()).toBeUndefined();
  expect(slots.inUse).toBe(limit);
}

/** One window: as many requests at once as there are slots, each answered after this time. */
function window(slots: Slots, durationMs: number, outcome: Outcome = accepted): void {
  const { limit } = slots;
  fill(slots);
  for (let count = 0; count < limit; count += 1) slots.give(outcome, durationMs);
}

describe('the number of slots', () => {
  test('starts at 4, or at the most there may be', () => {
    expect([new Slots({ clock, max: 256 }).limit, new Slots({ clock, max: 2 }).limit]).toEqual([
      4, 2,
    ]);
  });

  test('grows by one with each window that was full and fast', () => {
    const slots = new Slots({ clock, max: 256 });
    const limits = Array.from({ length: 5 }, () => {
      window(slots, 20);
      return slots.limit;
    });
    expect(limits).toEqual([5, 6, 7, 8, 9]);
  });

  test('never exceeds the most there may be', () => {
    const slots = new Slots({ clock, max: 6 });
    for (let count = 0; count < 20; count += 1) window(slots, 20);
    expect(slots.limit).toBe(6);
  });

  test('does not grow while some slot was free all the time', () => {
    const slots = new Slots({ clock, max: 256 });
    for (let count = 0; count < 100; count += 1) {
      for (let each = 0; each < 3; each += 1) expect(slots.take()).toBeUndefined();
      for (let each = 0; each < 3; each += 1) slots.give(accepted, 20);
    }
    expect(slots.limit).toBe(4);
  });

  test.each([
    { name: 'at most half slower than the best', bestMs: 20, nowMs: 30, limit: 6 },
    { name: 'more than half slower than the best', bestMs: 20, nowMs: 31, limit: 5 },
    { name: 'slower by what is noise', bestMs: 0.1, nowMs: 2, limit: 6 },
    { name: 'slower by more than noise', bestMs: 0.1, nowMs: 2.1, limit: 5 },
  ])('after a window that is $name is $limit', ({ bestMs, nowMs, limit }) => {
    const slots = new Slots({ clock, max: 256 });
    window(slots, bestMs);
    window(slots, nowMs);
    expect([slots.limit, slots.medianMs]).toEqual([limit, nowMs]);
  });

  test('is judged by the median: a minority of slow answers does not stop it', () => {
    const slots = new Slots({ clock, max: 256 });
    window(slots, 20);
    fill(slots);
    for (const durationMs of [20, 20, 20, 900, 900]) slots.give(accepted, durationMs);
    expect(slots.limit).toBe(6);
    fill(slots);
    for (const durationMs of [20, 20, 900, 900, 900, 900]) slots.give(accepted, durationMs);
    expect(slots.limit).toBe(6);
  });

  test('grows again when the subscriber has become slower for good', () => {
    const slots = new Slots({ clock, max: 256 });
    window(slots, 20);
    let windows = 0;
    while (slots.limit === 5 && windows < 1_000) {
      window(slots, 100);
      windows += 1;
    }
    expect(slots.limit).toBe(6);
    // After about 36 s of them, not by one slow window.
    expect(windows).toBeGreaterThan(300);
    expect(windows).toBeLessThan(400);
  });

  const overloads: { name: string; outcome: Outcome }[] = [
    { name: 'a timeout', outcome: unreachable('KNEAR_TIMEOUT') },
    { name: 'a reset', outcome: unreachable('KNEAR_RESET') },
    { name: '429', outcome: rejected(429) },
    { name: '503', outcome: rejected(503) },
  ];
  test.each(overloads)('halves on $name', ({ outcome }) => {
    const slots = new Slots({ clock, max: 256 });
    for (let count = 0; count < 8; count += 1) window(slots, 20);
    fill(slots);
    slots.give(accepted, 20);
    slots.give(outcome, 20);
    expect(slots.limit).toBe(6);
  });

  const others: { name: string; outcome: Outcome }[] = [
    { name: '500', outcome: rejected(500) },
    { name: '404', outcome: rejected(404) },
    { name: 'a refused connection', outcome: unreachable('KNEAR_UNREACHABLE') },
    { name: 'a reply', outcome: replied(eventOf('r1')) },
    { name: 'nonsense', outcome: malformed('KNEAR_REPLY_INVALID') },
  ];
  test.each(others)('does not halve on $name', ({ outcome }) => {
    const slots = new Slots({ clock, max: 256 });
    for (let count = 0; count < 8; count += 1) window(slots, 20);
    fill(slots);
    slots.give(accepted, 20);
    slots.give(outcome, 20);
    expect(slots.limit).toBe(12);
  });

  test.each([
    { from: 20, to: 10 },
    { from: 8, to: 4 },
    { from: 5, to: 2 },
    { from: 4, to: 2 },
  ])(
    'halves once, from $from to $to, for all errors of requests that were under way together',
    ({ from, to }) => {
      const slots = new Slots({ clock, max: 256 });
      while (slots.limit < from) window(slots, 20);
      fill(slots);
      slots.give(accepted, 20);
      for (let count = 1; count < from; count += 1) slots.give(rejected(503), 20);
      expect([slots.limit, slots.inUse]).toEqual([to, 0]);
    },
  );

  test('halves again for an error of a request that was sent after it had halved', () => {
    const slots = new Slots({ clock, max: 256 });
    while (slots.limit < 16) window(slots, 20);
    window(slots, 20, rejected(503));
    expect(slots.limit).toBe(8);
    void slots.take();
    slots.give(rejected(503), 20);
    expect(slots.limit).toBe(4);
  });

  test('falls to one under a subscriber that says nothing but 503, and not below', () => {
    const slots = new Slots({ clock, max: 256 });
    for (let count = 0; count < 60; count += 1) window(slots, 20);
    const limits = Array.from({ length: 8 }, () => {
      window(slots, 20, rejected(503));
      return slots.limit;
    });
    expect(limits).toEqual([32, 16, 8, 4, 2, 1, 1, 1]);
    expect(slots.free).toBe(1);
  });

  test.each(others)('neither grows nor becomes faster by $name', ({ outcome }) => {
    const slots = new Slots({ clock, max: 256 });
    window(slots, 20);
    for (let count = 0; count < 10; count += 1) window(slots, 0.1, outcome);
    const isSuccess = outcome.kind === 'replied';
    expect([slots.limit > 5, slots.medianMs]).toEqual([isSuccess, isSuccess ? 0.1 : 20]);
  });

  test('tells of no median before the first full window, and of none after an error', () => {
    const slots = new Slots({ clock, max: 256 });
    expect(slots.medianMs).toBe(Number.POSITIVE_INFINITY);
    window(slots, 20);
    expect(slots.medianMs).toBe(20);
    void slots.take();
    slots.give(unreachable('KNEAR_TIMEOUT'), 30_000);
    expect(slots.medianMs).toBe(Number.POSITIVE_INFINITY);
  });

  test('stays as it is on what says nothing about the subscriber', () => {
    const slots = new Slots({ clock, max: 256 });
    for (let count = 0; count < 50; count += 1) {
      fill(slots);
      for (let each = 0; each < 4; each += 1) slots.give();
    }
    expect([slots.limit, slots.medianMs]).toEqual([4, Number.POSITIVE_INFINITY]);
  });
});

describe('waiting for a slot', () => {
  test('D2: is first come first served, and nobody overtakes', async () => {
    const slots = new Slots({ clock, max: 1 });
    void slots.take();
    const served: string[] = [];
    for (const name of ['first', 'second', 'third']) {
      void slots.take()?.then(() => served.push(name));
    }
    expect(slots.free).toBe(0);
    slots.give(accepted, 20);
    // Somebody who comes now stands behind those who wait, although a request has just ended.
    expect(slots.take()).toBeInstanceOf(Promise);
    await Promise.resolve();
    expect([served, slots.inUse]).toEqual([['first'], 1]);
    slots.give(accepted, 20);
    slots.give(accepted, 20);
    await Promise.resolve();
    expect(served).toEqual(['first', 'second', 'third']);
  });

  test('ends for several at once when the limit grows', async () => {
    const slots = new Slots({ clock, max: 256 });
    fill(slots);
    let served = 0;
    for (let count = 0; count < 6; count += 1) void slots.take()?.then(() => (served += 1));
    for (let count = 0; count < 4; count += 1) slots.give(accepted, 20);
    await Promise.resolve();
    expect([slots.limit, served, slots.inUse]).toEqual([5, 5, 5]);
  });

  test('goes on while more is in use than a smaller limit allows', async () => {
    const slots = new Slots({ clock, max: 256 });
    for (let count = 0; count < 4; count += 1) window(slots, 20);
    fill(slots);
    let served = 0;
    void slots.take()?.then(() => (served += 1));
    slots.give(accepted, 20);
    await Promise.resolve();
    expect(served).toBe(1);
    void slots.take()?.then(() => (served += 1));
    slots.give(rejected(503), 20);
    await Promise.resolve();
    expect([slots.limit, slots.inUse, slots.free, served]).toEqual([4, 7, 0, 1]);
    for (let count = 0; count < 4; count += 1) slots.give();
    await Promise.resolve();
    expect([slots.inUse, served]).toEqual([4, 2]);
  });

  test('is counted: a slot that somebody waits for is not free', () => {
    const slots = new Slots({ clock, max: 2 });
    expect(slots.free).toBe(2);
    void slots.take();
    expect(slots.free).toBe(1);
    void slots.take();
    void slots.take();
    expect(slots.free).toBe(0);
  });

  test('whoever is told of free slots is told after each one that comes back', () => {
    const told: number[] = [];
    const slots: Slots = new Slots({ clock, max: 2, onFree: () => told.push(slots.free) });
    void slots.take();
    void slots.take();
    slots.give(accepted, 20);
    slots.give(accepted, 20);
    expect(told).toEqual([1, 2]);
  });
});
