import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Budget } from '../../dispatcher/budget.ts';

const WIDE_BYTES = 1e9;

function take(budget: Budget, count: number, bytes = 1): void {
  for (let each = 0; each < count; each += 1) expect(budget.take(bytes)).toBe(true);
}

/** Names of those who were woken so far, in order. */
function waiters(budget: Budget, ...names: string[]): string[] {
  const woken: string[] = [];
  for (const name of names) void budget.whenFree().then(() => woken.push(name));
  return woken;
}

describe('the bounds', () => {
  test('no delivery is opened past the count', () => {
    const budget = new Budget({ countMax: 3, bytesMax: WIDE_BYTES });
    take(budget, 3);
    expect([budget.take(1), budget.count, budget.free]).toEqual([false, 3, 0]);
    budget.give(1);
    expect([budget.free, budget.take(1)]).toEqual([1, true]);
  });

  test('none is opened once the bytes are used up; only the last one in may exceed them', () => {
    const budget = new Budget({ countMax: 100, bytesMax: 1_000 });
    take(budget, 1, 999);
    expect(budget.free).toBe(99);
    take(budget, 1, 5_000);
    expect([budget.free, budget.take(0), budget.bytes]).toEqual([0, false, 5_999]);
    budget.give(5_000);
    expect(budget.take(1)).toBe(true);
  });

  test('an event larger than all bytes is delivered, alone', () => {
    const budget = new Budget({ countMax: 100, bytesMax: 1_000 });
    take(budget, 1, 64_000);
    expect(budget.take(1)).toBe(false);
    budget.give(64_000);
    expect([budget.count, budget.bytes, budget.free]).toEqual([0, 0, 100]);
  });

  test('hold whatever is taken and given', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constant('give' as const)), {
          maxLength: 200,
        }),
        (countMax, steps) => {
          const budget = new Budget({ countMax, bytesMax: 1_000 });
          const open: number[] = [];
          for (const step of steps) {
            if (step === 'give') {
              const bytes = open.shift();
              if (bytes !== undefined) budget.give(bytes);
            } else {
              const bytesBefore = budget.bytes;
              const isTaken = budget.take(step);
              expect(isTaken).toBe(open.length < countMax && bytesBefore < 1_000);
              if (isTaken) open.push(step);
            }
            expect([budget.count, budget.bytes]).toEqual([
              open.length,
              open.reduce((sum, bytes) => sum + bytes, 0),
            ]);
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('waiting for room', () => {
  test('is over at once where there is some and nobody waits', async () => {
    const budget = new Budget({ countMax: 1, bytesMax: WIDE_BYTES });
    const woken = waiters(budget, 'a');
    await Promise.resolve();
    expect(woken).toEqual(['a']);
  });

  test('everybody is woken together, in the order in which they came, when a tenth is free', async () => {
    const budget = new Budget({ countMax: 20, bytesMax: WIDE_BYTES });
    take(budget, 20);
    const woken = waiters(budget, 'a', 'b', 'c');
    budget.give(1);
    budget.give(1);
    await Promise.resolve();
    expect(woken).toEqual(['a', 'b', 'c']);
  });

  test.each([1, 2, 5])('ends where the whole is %d places', async (countMax) => {
    const budget = new Budget({ countMax, bytesMax: WIDE_BYTES });
    take(budget, countMax);
    const woken = waiters(budget, 'a', 'b');
    for (let count = 0; count < countMax; count += 1) budget.give(1);
    await Promise.resolve();
    expect(woken).toEqual(['a', 'b']);
  });

  test('ends when the bytes of a single large event are back', async () => {
    const budget = new Budget({ countMax: 100, bytesMax: 1_000 });
    take(budget, 1, 64_000);
    const woken = waiters(budget, 'a');
    budget.give(64_000);
    await Promise.resolve();
    expect(woken).toEqual(['a']);
  });

  test('who waits while others are woken waits for the next time', async () => {
    const budget = new Budget({ countMax: 1, bytesMax: WIDE_BYTES });
    take(budget, 1);
    const woken = waiters(budget, 'a');
    budget.give(1);
    take(budget, 1);
    woken.push(...waiters(budget, 'b'));
    await Promise.resolve();
    expect(woken).toEqual(['a']);
  });

  test('ends for all when the dispatcher stops', async () => {
    const budget = new Budget({ countMax: 1, bytesMax: WIDE_BYTES });
    take(budget, 1);
    const woken = waiters(budget, 'a', 'b');
    budget.wakeAll();
    await Promise.resolve();
    expect(woken).toEqual(['a', 'b']);
  });
});
