import { describe, expect, test } from '@jest/globals';
import { backlogOf, joinJourney, type Journey } from '../../bench/journey.ts';
import type { Arrivals } from '../../bench/processes/protocol.ts';

/** `[sequence, lane, microsecond]` */
type Arrival = readonly [number, number, number];

interface Case {
  /** Status by event; event n is sent at n * 1,000 us. */
  readonly statuses: readonly number[];
  readonly arrivals: readonly Arrival[];
  readonly lanes?: number;
}

function join({ statuses, arrivals, lanes = 1 }: Case): Journey {
  const sent = {
    atUs: Float64Array.from(statuses, (_, event) => event * 1_000),
    status: Uint16Array.from(statuses),
    lateUsP99: 250,
  };
  return joinJourney(sent, toArrivals(arrivals), { lanes });
}

function toArrivals(arrivals: readonly Arrival[]): Arrivals {
  return {
    sequence: Uint32Array.from(arrivals, ([sequence]) => sequence),
    lane: Uint16Array.from(arrivals, ([, lane]) => lane),
    atUs: Float64Array.from(arrivals, ([, , atUs]) => atUs),
  };
}

describe('a journey', () => {
  test('measures from the send of each event to its arrival', () => {
    const journey = join({
      statuses: [202, 202, 202],
      arrivals: [
        [0, 0, 200],
        [2, 0, 2_900],
        [1, 0, 4_000],
      ],
    });
    expect(journey).toMatchObject({ sent: 3, accepted: 3, deliveries: 3, lost: 0, duplicates: 0 });
    expect(journey).toMatchObject({ p50Ms: 0.9, p99Ms: 3, lateMsP99: 0.25 });
    expect(journey.eventsPerSecond).toBeCloseTo(3 / 0.004);
  });

  test('counts a promised event that never arrived as lost, and a refused one not', () => {
    const journey = join({ statuses: [202, 202, 503, 0], arrivals: [[0, 0, 10]] });
    expect(journey).toMatchObject({ sent: 4, accepted: 2, deliveries: 1, lost: 1 });
  });

  test('takes the first of several arrivals of one event, and counts the others', () => {
    const journey = join({
      statuses: [202],
      arrivals: [
        [0, 0, 10],
        [0, 0, 9_000],
      ],
    });
    expect(journey).toMatchObject({ deliveries: 1, duplicates: 1, lost: 0, p99Ms: 0.01 });
  });

  test('does not let a duplicate in one lane hide a loss in another', () => {
    const journey = join({
      statuses: [202],
      lanes: 2,
      arrivals: [
        [0, 1, 10],
        [0, 1, 20],
      ],
    });
    expect(journey).toMatchObject({ deliveries: 1, duplicates: 1, lost: 1 });
  });

  test('divides deliveries by lanes to count events', () => {
    const journey = join({
      statuses: [202],
      lanes: 2,
      arrivals: [
        [0, 0, 500_000],
        [0, 1, 1_000_000],
      ],
    });
    expect(journey).toMatchObject({ deliveriesPerSecond: 2, eventsPerSecond: 1 });
  });

  test('says what the answers were when nothing arrived', () => {
    expect(() => join({ statuses: [503, 503, 0], arrivals: [] })).toThrow('503 x 2, no answer x 1');
  });
});

describe('a backlog', () => {
  /** 10,000 events sent in one second, each delivered after `delayUs(event)`. */
  function backlog(delayUs: (event: number) => number, lanes = 1) {
    const sent = Float64Array.from({ length: 10_000 }, (_, event) => event * 100);
    const arrived = sent.map((atUs, event) => atUs + delayUs(event)).sort();
    const all = Array.from(arrived).flatMap((atUs) => Array.from({ length: lanes }, () => atUs));
    return backlogOf(sent, Float64Array.from(all), lanes);
  }

  test.each([
    { name: 'deliveries that keep up', delayUs: () => 500, isGrowing: false },
    { name: 'a high level that stays', delayUs: () => 300_000, isGrowing: false },
    {
      name: 'a pause in the middle',
      delayUs: (n: number) => (n > 4_000 && n < 5_000 ? 1e5 : 100),
      isGrowing: false,
    },
    { name: 'deliveries at half the rate', delayUs: (n: number) => n * 100, isGrowing: true },
  ])('$name: growing is $isGrowing', ({ delayUs, isGrowing }) => {
    expect(backlog(delayUs).isGrowing).toBe(isGrowing);
  });

  test('counts what is owed in deliveries, and how long the last one took', () => {
    const { owed, drainMs } = backlog(() => 10_000, 16);
    expect(owed.at(-1)).toBeGreaterThanOrEqual(100 * 16);
    expect(owed.at(-1)).toBeLessThan(110 * 16);
    expect(drainMs).toBeCloseTo(10);
  });
});
