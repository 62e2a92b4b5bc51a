import { describe, expect, test } from '@jest/globals';
import { samplesOf, totalOf } from '../../bench/exposition.ts';
import { difference, hopsIn, hopsText } from '../../bench/tally.ts';

const TEXT = `# HELP knear_local_hops_total Events that went on
# TYPE knear_local_hops_total counter
knear_local_hops_total{egress="bench/Subscription/step-1",result="taken"} 7
knear_local_hops_total{egress="bench/Subscription/step-2",result="taken"} 5
knear_local_hops_total{egress="bench/Subscription/step-2",result="behind"} 2
knear_local_hops_total{egress="bench/Subscription/step-3",result="busy"} 1
# TYPE knear_log_bytes_total counter
knear_log_bytes_total 1.5e3
knear_log_bytes_total_of_others 9
odd{name="a \\"b\\" {c}, d=",other="e"} 3
broken{name="x"} soon
`;

describe('what the program tells', () => {
  test('is read by name, with its labels', () => {
    expect(samplesOf(TEXT, 'knear_local_hops_total').map(({ value }) => value)).toEqual([
      7, 5, 2, 1,
    ]);
    expect(samplesOf(TEXT, 'knear_local_hops_total')[2]?.labels).toEqual({
      egress: 'bench/Subscription/step-2',
      result: 'behind',
    });
  });

  test('may have no labels, and is not taken for a metric with a longer name', () => {
    expect(samplesOf(TEXT, 'knear_log_bytes_total')).toEqual([{ labels: {}, value: 1_500 }]);
  });

  test('may have quotes, commas and braces in a label', () => {
    expect(samplesOf(TEXT, 'odd')).toEqual([
      { labels: { name: 'a \\"b\\" {c}, d=', other: 'e' }, value: 3 },
    ]);
  });

  test('is refused where it is no number', () => {
    expect(() => samplesOf(TEXT, 'broken')).toThrow('broken{name="x"} soon');
  });

  test('is summed, and missed when it is not there', () => {
    expect(totalOf(TEXT, 'knear_local_hops_total')).toBe(15);
    expect(samplesOf(TEXT, 'knear_gone_total')).toEqual([]);
    expect(() => totalOf(TEXT, 'knear_gone_total')).toThrow('knear_gone_total');
  });
});

describe('hops', () => {
  test('are those that were taken, and those that went through the log for any reason', () => {
    expect(hopsIn(TEXT)).toEqual({
      hopsTaken: 12,
      hopsRefused: 3,
      refusals: { behind: 2, busy: 1 },
    });
  });

  test('are written an event, with why there were not more, the most frequent first', () => {
    const tally = { hopsTaken: 30, hopsRefused: 9, refusals: { busy: 2, behind: 7, off: 0 } };
    const none = { hopsTaken: 0, hopsRefused: 1, refusals: { busy: 1 } };
    expect(hopsText([{ tally, deliveries: 10 }])).toBe(
      '3.0 hops an event (behind 0.70, busy 0.20)',
    );
    expect(
      hopsText([
        { tally, deliveries: 10 },
        { tally: none, deliveries: 5 },
      ]),
    ).toBe('2.0 hops an event (behind 0.47, busy 0.20)');
    expect(hopsText([{ tally: hopsIn(''), deliveries: 3 }])).toBe('0.0 hops an event');
  });

  test('are none before the first answer', () => {
    expect(hopsIn('')).toEqual({ hopsTaken: 0, hopsRefused: 0, refusals: {} });
  });

  test('of a measurement are what was counted between its ends', () => {
    const before = { loggedBytes: 100, hopsTaken: 4, hopsRefused: 1, refusals: { busy: 1 } };
    const refusals = { busy: 1, redo: 3 };
    const after = { loggedBytes: 350, hopsTaken: 9, hopsRefused: 4, refusals };
    expect(difference(after, before)).toEqual({
      loggedBytes: 250,
      hopsTaken: 5,
      hopsRefused: 3,
      refusals: { busy: 0, redo: 3 },
    });
  });
});
