import { describe, expect, test } from '@jest/globals';
import { sharesOf, swingOf, type Share } from '../../bench/hop-shares.ts';

/** One a second, from the first second on. */
function shares(...taken: readonly number[]): Share[] {
  return taken.map((each, index) => ({ atMs: (index + 1) * 1_000, taken: each }));
}

describe('the share of hops', () => {
  test('is of the answers between two readings', () => {
    const readings = [
      { atMs: 0, hopsTaken: 100, hopsRefused: 50 },
      { atMs: 1_000, hopsTaken: 130, hopsRefused: 60 },
      { atMs: 2_000, hopsTaken: 130, hopsRefused: 65 },
    ];
    expect(sharesOf(readings)).toEqual([
      { atMs: 1_000, taken: 0.75 },
      { atMs: 2_000, taken: 0 },
    ]);
  });

  test('is none while nothing goes on', () => {
    const still = { hopsTaken: 5, hopsRefused: 5 };
    const readings = [
      { atMs: 0, ...still },
      { atMs: 1_000, ...still },
      { atMs: 2_000, hopsTaken: 6, hopsRefused: 5 },
    ];
    expect(sharesOf(readings)).toEqual([{ atMs: 2_000, taken: 1 }]);
  });
});

describe('when the load is up after 2 s and down after 4 s', () => {
  const step = { upAtMs: 2_000, downAtMs: 4_000 };

  test.each([
    { name: 'at once where it never left', taken: [1, 1, 1, 1, 1, 1, 1], backAfterMs: 1_000 },
    { name: 'at the next reading', taken: [1, 1, 0.2, 0.1, 1, 1, 1], backAfterMs: 1_000 },
    { name: 'two readings later', taken: [1, 1, 0.2, 0.1, 0.4, 0.9, 1, 1, 1], backAfterMs: 3_000 },
    { name: 'for a while only', taken: [1, 1, 0.2, 0.1, 1, 1, 0.5, 1, 1, 1], backAfterMs: 4_000 },
    { name: 'for long enough', taken: [1, 1, 0.2, 0.1, 1, 1, 1, 0.9], backAfterMs: 1_000 },
    { name: 'never', taken: [1, 1, 0.2, 0.1, 0.4, 0.3, 0.3], backAfterMs: NaN },
    { name: 'too late to tell', taken: [1, 1, 0.2, 0.1, 0.4, 1, 1], backAfterMs: NaN },
    {
      name: 'to a level below 1',
      taken: [0.5, 0.5, 0, 0, 0.3, 0.48, 0.46, 0.5],
      backAfterMs: 2_000,
    },
    { name: 'nearly', taken: [1, 1, 0.2, 0.1, 0.96, 0.97, 0.95], backAfterMs: 1_000 },
  ])('it is back $name', ({ taken, backAfterMs }) => {
    expect(swingOf(shares(...taken), step).backAfterMs).toBe(backAfterMs);
  });

  test('its level is the median before, and its lowest is of all', () => {
    const swing = swingOf(shares(0.2, 0.9, 0.1, 0.05, 0.6), { upAtMs: 2_000, downAtMs: 4_000 });
    expect(swing.level).toBeCloseTo(0.55);
    expect(swing.lowest).toBe(0.05);
  });

  test.each([
    { name: 'before it is up', from: 3_000 },
    { name: 'at all', from: 9_000 },
  ])('nothing is said where nothing went on $name', ({ from }) => {
    const some = shares(1, 1, 1, 1, 1, 1).filter(({ atMs }) => atMs >= from);
    expect(() => swingOf(some, step)).toThrow('no hops');
  });

  test('nothing is said where nothing went on after it is down', () => {
    expect(() => swingOf(shares(1, 1, 1, 1), step)).toThrow('no hops');
  });
});
