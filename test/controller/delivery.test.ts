import { describe, expect, test } from '@jest/globals';
import { durationMs } from '../../controller/delivery.ts';

const DAY_MS = 86_400_000;

describe('a duration in ISO 8601', () => {
  test.each([
    ['PT0.2S', 200],
    ['PT0,2S', 200],
    ['PT10M', 600_000],
    ['PT1H1M1S', 3_661_000],
    ['P1D', DAY_MS],
    ['P1W', 7 * DAY_MS],
    ['P1DT12H', 1.5 * DAY_MS],
    ['PT0S', 0],
    ['PT0.0001S', 0],
  ])('%s is %d ms', (text, ms) => {
    expect(durationMs(text)).toBe(ms);
  });

  test.each(['P1M', 'P1Y', 'P30D', 'PT999999999H'])(
    '%s is no more than a timer of Node.js can hold',
    (text) => {
      expect(durationMs(text)).toBe(2 ** 31 - 1);
    },
  );

  test.each(['', 'P', 'PT', '10s', '10', '-PT1S', 'PT-1S'])('is not "%s"', (text) => {
    expect(durationMs(text)).toBeUndefined();
  });
});
