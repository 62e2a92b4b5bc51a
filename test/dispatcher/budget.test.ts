import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Budget } from '../../dispatcher/budget.ts';

const WIDE_BYTES = 1e9;
const AT_ONCE = { soon: (run: () => void) => run() };

function take(budget: Budget, count: number, bytes = 1): void {
  for (let each = 0; each < count; each += 1) expect(budget.take(bytes)).toBe(true);
}

/** Names of those who are woken, in order. */
function waiters(budget: Budget, ...names: string[]): string[] {
  const woken: string[] = [];
  for (const name of names) void budget.whenFree().then(() => woken.push(name));
  return woken;
}

describe('the bounds', () => {
  test('no delivery is opened past the count', () => {
    const budget = new Budget({ countMax: 3, bytesMax: WIDE_BYTES }, AT_ONCE);
    take(budget, 3);
    expect([budget.take(1), budget.count, budget.free]).toEqual([false, 3, 0]);
    budget.give(1);
    expect([budget.free, budget.take(1)]).toEqual([1, true]);
  });

  test('none is opened once the bytes are used up; only the last one in may exceed them', () => {
    const budget = new Budget({ countMax: 100, bytesMax: 1_000 }, AT_ONCE);
    take(budget, 1, 999);
    expect(budget.free).toBe(99);
    take(budget, 1, 5_000);
    expect([budget.free, budget.take(0), budget.bytes]).toEqual([0, false, 5_999]);
    budget.give(5_000);
    expect(budget.take(1)).toBe(true);
  });

  test('an event larger than all bytes is delivered, alone', () => {
    const budget = new Budget({ countMax: 100, bytesMax: 1_000 }, AT_ONCE);
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
          const budget = new Budget({ countMax, bytesMax: 1_000 }, AT_ONCE);
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
  test('is over at once where there is some', async () => {
    const budget = new Budget({ countMax: 1, bytesMax: WIDE_BYTES }, AT_ONCE);
    const woken = waiters(budget, 'a');
    await Promise.resolve();
    expect(woken).toEqual(['a']);
  });

  test.each([1, 2, 20])(
    'ends for one at a time, who came first, of %d places',
    async (countMax) => {
      const budget = new Budget({ countMax, bytesMax: WIDE_BYTES }, AT_ONCE);
      take(budget, countMax);
      const woken = waiters(budget, 'a', 'b', 'c');
      for (const names of [['a'], ['a', 'b'], ['a', 'b', 'c']]) {
        budget.give(1);
        await Promise.resolve();
        expect(woken).toEqual(names);
        take(budget, 1);
      }
    },
  );

  test('ends once for all places that one turn of the event loop gave back', async () => {
    const turns: (() => void)[] = [];
    const budget = new Budget(
      { countMax: 3, bytesMax: WIDE_BYTES },
      { soon: (run) => turns.push(run) },
    );
    take(budget, 3);
    const woken = waiters(budget, 'a', 'b');
    for (let each = 0; each < 3; each += 1) budget.give(1);
    expect(turns).toHaveLength(1);
    turns.pop()?.();
    await Promise.resolve();
    expect([woken, budget.free]).toEqual([['a'], 3]);
    // The next turn is told anew.
    take(budget, 1);
    budget.give(1);
    expect(turns).toHaveLength(1);
  });

  test('goes on to the next when who was woken leaves room', async () => {
    const budget = new Budget({ countMax: 3, bytesMax: WIDE_BYTES }, AT_ONCE);
    take(budget, 3);
    const woken = waiters(budget, 'a', 'b', 'c');
    budget.give(1);
    budget.passOn();
    await Promise.resolve();
    expect(woken).toEqual(['a', 'b']);
  });

  test('does not go on to the next when there is no room', async () => {
    const budget = new Budget({ countMax: 1, bytesMax: WIDE_BYTES }, AT_ONCE);
    take(budget, 1);
    const woken = waiters(budget, 'a');
    budget.passOn();
    await Promise.resolve();
    expect(woken).toEqual([]);
  });

  test('ends when bytes are back, not for a place alone', async () => {
    const budget = new Budget({ countMax: 100, bytesMax: 1_000 }, AT_ONCE);
    take(budget, 1, 64_000);
    budget.take(1);
    const woken = waiters(budget, 'a');
    budget.passOn();
    await Promise.resolve();
    expect(woken).toEqual([]);
    budget.give(64_000);
    await Promise.resolve();
    expect(woken).toEqual(['a']);
  });

  test('begins anew, at the end of the line, for who was woken and found nothing', async () => {
    const budget = new Budget({ countMax: 1, bytesMax: WIDE_BYTES }, AT_ONCE);
    take(budget, 1);
    const woken = waiters(budget, 'a', 'b');
    budget.give(1);
    take(budget, 1);
    woken.push(...waiters(budget, 'a again'));
    budget.give(1);
    await Promise.resolve();
    expect(woken).toEqual(['a', 'b']);
  });

  test('ends for all, in the order in which they came, when the dispatcher stops', async () => {
    const budget = new Budget({ countMax: 1, bytesMax: WIDE_BYTES }, AT_ONCE);
    take(budget, 1);
    const woken = waiters(budget, 'a', 'b');
    budget.wakeAll();
    await Promise.resolve();
    expect(woken).toEqual(['a', 'b']);
  });
});

test.each([
  { name: 'half of the places', count: 50, bytes: 1, isTight: false },
  { name: 'more than half of the places', count: 51, bytes: 1, isTight: true },
  { name: 'half of the bytes', count: 1, bytes: 5_000, isTight: false },
  { name: 'more than half of the bytes', count: 1, bytes: 5_001, isTight: true },
])('with $name in use, room is tight: $isTight', ({ count, bytes, isTight }) => {
  const budget = new Budget({ countMax: 100, bytesMax: 10_000 }, AT_ONCE);
  take(budget, count, bytes);
  expect(budget.isTight).toBe(isTight);
});
