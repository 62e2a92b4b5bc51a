import { describe, expect, test } from '@jest/globals';
import { crossingOf, percentile, sorted, spread } from '../../bench/statistics.ts';

describe('spread', () => {
  test.each([
    { name: 'one round', values: [7], median: 7, min: 7, max: 7 },
    { name: 'an odd number of rounds', values: [9, 1, 5], median: 5, min: 1, max: 9 },
    { name: 'an even number of rounds', values: [4, 1, 2, 10], median: 3, min: 1, max: 10 },
    {
      name: 'numbers that sort differently as text',
      values: [10, 9, 2],
      median: 9,
      min: 2,
      max: 10,
    },
    { name: 'negative values', values: [-1, 1, 0], median: 0, min: -1, max: 1 },
  ])('gives median and extremes of $name', ({ values, median, min, max }) => {
    expect(spread(values)).toEqual({ median, min, max });
  });

  test('refuses to be made of nothing', () => {
    expect(() => spread([])).toThrow();
  });
});

describe('percentile', () => {
  const hundred = sorted(Array.from({ length: 100 }, (_, index) => 100 - index));

  test.each([
    { fraction: 0, value: 1 },
    { fraction: 0.5, value: 50 },
    { fraction: 0.99, value: 99 },
    { fraction: 0.991, value: 100 },
    { fraction: 1, value: 100 },
  ])('p$fraction of 1 to 100 is a value that was measured: $value', ({ fraction, value }) => {
    expect(percentile(hundred, fraction)).toBe(value);
  });

  test('refuses to be taken of nothing', () => {
    expect(() => percentile(sorted([]), 0.5)).toThrow();
  });
});

describe('a crossing', () => {
  const points = (...ratios: readonly number[]) =>
    ratios.map((ratio, index) => ({ size: 4 ** index * 16, ratio }));

  test.each([
    { name: 'half way between two sizes', ratios: [2, 0.5], size: 32 },
    { name: 'nearer to the ratio that is nearer to 1', ratios: [4, 0.5], size: 16 * 4 ** (2 / 3) },
    { name: 'of a ratio that grows', ratios: [0.5, 2], size: 32 },
    { name: 'between the last sizes', ratios: [9, 3, 2, 0.5], size: 512 },
    { name: 'the first of several', ratios: [2, 0.5, 2], size: 32 },
    { name: 'at a size that was measured', ratios: [2, 1, 0.5], size: 64 },
  ])('lies $name', ({ ratios, size }) => {
    expect(crossingOf(points(...ratios))).toBeCloseTo(size);
  });

  test.each([
    { name: 'always above 1', ratios: [3, 2, 1.01] },
    { name: 'always below 1', ratios: [0.9, 0.5] },
    { name: 'one alone', ratios: [2] },
    { name: 'none', ratios: [] },
  ])('is not made up where ratios are $name', ({ ratios }) => {
    expect(crossingOf(points(...ratios))).toBeUndefined();
  });
});

test('sorting leaves the measured order alone', () => {
  const measured = Float64Array.of(3, 1, 2);
  expect(Array.from(sorted(measured))).toEqual([1, 2, 3]);
  expect(Array.from(measured)).toEqual([3, 1, 2]);
});
