import { describe, expect, test } from '@jest/globals';
import { dueTimesUs } from '../../bench/schedule.ts';

describe('events of an open loop', () => {
  test.each([
    { name: 'at one rate', paces: [{ perSecond: 4, ms: 1_000 }], due: [0, 250, 500, 750] },
    {
      name: 'at one rate after the other',
      paces: [
        { perSecond: 2, ms: 1_000 },
        { perSecond: 5, ms: 400 },
        { perSecond: 1, ms: 2_000 },
      ],
      due: [0, 500, 1_000, 1_200, 1_400, 2_400],
    },
    {
      name: 'with a pause',
      paces: [
        { perSecond: 0, ms: 300 },
        { perSecond: 10, ms: 200 },
      ],
      due: [300, 400],
    },
    {
      name: 'at a rate too low for the time, once',
      paces: [{ perSecond: 0.1, ms: 500 }],
      due: [0],
    },
  ])('are due $name', ({ paces, due }) => {
    expect(Array.from(dueTimesUs(paces), (us) => us / 1e3)).toEqual(due);
  });

  test('never fall back in time', () => {
    const due = dueTimesUs([
      { perSecond: 333, ms: 777 },
      { perSecond: 7, ms: 1_234 },
      { perSecond: 1_000, ms: 10 },
    ]);
    expect(Array.from(due)).toEqual(Array.from(due).sort((one, other) => one - other));
  });
});
