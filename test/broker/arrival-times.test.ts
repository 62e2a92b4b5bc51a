/** The time that events are stamped with is made once for each millisecond; the bug hunted here is one that stays. */
import { expect, test } from '@jest/globals';
import { ArrivalTimes } from '../../broker/accept.ts';
import { FakeClock } from '../fakes/clock.ts';

test('the time of arrival follows the clock, forwards and backwards', () => {
  const clock = new FakeClock(Date.UTC(2026, 0, 1));
  const arrivals = new ArrivalTimes(clock);
  const texts = [0, 0, 1, 1, -5, 86_400_000].map((stepMs) => {
    clock.jump(stepMs);
    return arrivals.now();
  });
  expect(texts).toEqual([
    '2026-01-01T00:00:00.000Z',
    '2026-01-01T00:00:00.000Z',
    '2026-01-01T00:00:00.001Z',
    '2026-01-01T00:00:00.002Z',
    '2025-12-31T23:59:59.997Z',
    '2026-01-01T23:59:59.997Z',
  ]);
});
