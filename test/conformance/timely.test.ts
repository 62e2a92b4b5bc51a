/** What is run again and what is not. Bug that is hunted: a test that passes though no run of it did, or fails for the machine's sake. */
import { expect, test } from '@jest/globals';

import { timely } from './timely.ts';

/** How a run ends, and by how much it was late. */
interface Run {
  readonly fails?: string;
  readonly lateMs: number;
}

const late = 15_000;
const failing: Run = { fails: 'lapsed', lateMs: late };

test.each<{ name: string; runs: Run[]; fails?: RegExp; count: number }>([
  { name: 'what passes is run once, late or not', runs: [{ lateMs: late }], count: 1 },
  {
    name: 'what fails in time fails at once',
    runs: [{ fails: 'a bug', lateMs: 50 }, { lateMs: 0 }],
    fails: /^a bug$/,
    count: 1,
  },
  { name: 'what fails late is run again', runs: [failing, { lateMs: 0 }], count: 2 },
  {
    name: 'what then fails in time fails for that',
    runs: [failing, failing, { fails: 'a bug', lateMs: 0 }, { lateMs: 0 }],
    fails: /^a bug$/,
    count: 3,
  },
  {
    name: 'what fails late five times fails, and says why',
    runs: [failing, failing, failing, failing, failing, { lateMs: 0 }],
    fails: /failed 5 times.*stood still.*lapsed/,
    count: 5,
  },
])('$name', async ({ runs, fails, count }) => {
  let done = 0;
  let opened = 1;
  const told: number[] = [];
  const body = async () => {
    const run = runs[done];
    done += 1;
    // Each run has a log of its own.
    expect(opened).toBe(done);
    await Promise.resolve();
    if (run?.fails !== undefined) throw new Error(run.fails);
  };
  const outcome = timely(body, {
    lateMs: () => Promise.resolve(runs[done - 1]?.lateMs ?? 0),
    anew: () => Promise.resolve(void (opened += 1)),
    onLate: (lateMs) => told.push(lateMs),
  });
  if (fails) await expect(outcome).rejects.toThrow(fails);
  else await outcome;
  expect(done).toBe(count);
  expect(told).toEqual(Array.from({ length: count - 1 }, () => late));
});

test('a body that throws at once is as good as one that rejects', async () => {
  let runs = 0;
  const body = () => {
    runs += 1;
    if (runs === 1) throw new Error('lapsed');
  };
  await timely(body, { lateMs: () => Promise.resolve(late), anew: () => Promise.resolve() });
  expect(runs).toBe(2);
});
