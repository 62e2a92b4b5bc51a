/** Times are worked out by hand from the rule in docs/placement.md and docs/rebalancing.md. */
import { describe, expect, test } from '@jest/globals';
import { isWorthMoving, transferMs, waitMs, type Link } from '../../core/rules/cost.ts';

const place = (inFlight: number, serviceMs = 5, capacity = 4) => ({
  inFlight,
  capacity,
  serviceMs,
});

describe('one more request waits', () => {
  test.each([
    { name: 'for nothing while there is room', load: place(3), ms: 0 },
    { name: 'for a quarter of a request behind four at a time', load: place(4), ms: 1.25 },
    { name: 'the longer, the more are before it', load: place(11), ms: 10 },
    { name: 'the longer, the slower the place is', load: place(4, 40), ms: 10 },
    { name: 'not at a place that was never called', load: place(9, 0), ms: 0 },
  ])('$name', ({ load, ms }) => {
    expect(waitMs(load)).toBe(ms);
  });
});

describe('to move an event takes', () => {
  const link: Link = { roundTripMs: 0.5, byteMs: 0.8e-6, copyByteMs: 1e-6 };

  test.each([
    { name: 'nothing but its bytes in one pod', way: 'pod', bytes: 10e6, ms: 5 },
    { name: 'more to another zone', way: 'any', bytes: 10e6, ms: 27.5 },
    { name: 'a round trip where it is empty', way: link, bytes: 0, ms: 0.5 },
    { name: 'the link and the copying', way: link, bytes: 1e6, ms: 2.3 },
    {
      name: 'what queues for the link, once',
      way: { ...link, queuedBytes: 1e6 },
      bytes: 0,
      ms: 1.3,
    },
    {
      name: 'no bytes where the data is there already',
      way: { ...link, isCached: true },
      bytes: 1e6,
      ms: 0.5,
    },
    {
      name: 'the queue also where the data is there already',
      way: { ...link, isCached: true, queuedBytes: 1e6 },
      bytes: 1e6,
      ms: 1.3,
    },
    {
      name: 'the link alone where copying costs nothing',
      way: { roundTripMs: 0.5, byteMs: 0.8e-6 },
      bytes: 1e6,
      ms: 1.3,
    },
  ] as const)('$name', ({ way, bytes, ms }) => {
    expect(transferMs(way, bytes)).toBeCloseTo(ms, 9);
  });
});

describe('moving is worth it', () => {
  test.each([
    { name: 'not while there is room here', near: place(3), far: place(0), transfer: 0, is: false },
    {
      name: 'once it gains a quarter of a request',
      near: place(5),
      far: place(0),
      transfer: 1.2,
      is: true,
    },
    {
      name: 'not where it gains just that',
      near: place(5),
      far: place(0),
      transfer: 1.25,
      is: false,
    },
    {
      name: 'not where the other is as busy',
      near: place(9),
      far: place(9),
      transfer: 0,
      is: false,
    },
    {
      name: 'not to a slow one with fewer requests',
      near: place(8),
      far: place(5, 40),
      transfer: 0,
      is: false,
    },
    {
      name: 'from a slow one with fewer requests',
      near: place(5, 40),
      far: place(8),
      transfer: 0,
      is: true,
    },
    {
      name: 'at no gain from a way that is said to take less than none',
      near: place(4),
      far: place(4),
      transfer: -50,
      is: false,
    },
  ])('$name', ({ near, far, transfer, is }) => {
    expect(isWorthMoving(near, far, transfer)).toBe(is);
  });

  test('in one direction at most, however busy, slow and far', () => {
    const loads = [0, 3, 4, 5, 8, 40].flatMap((inFlight) =>
      [0.1, 5, 40].map((serviceMs) => place(inFlight, serviceMs)),
    );
    for (const one of loads) {
      for (const other of loads) {
        for (const transfer of [0, 1, 20]) {
          const both = isWorthMoving(one, other, transfer) && isWorthMoving(other, one, transfer);
          expect({ one, other, transfer, both }).toMatchObject({ both: false });
        }
      }
    }
  });

  test('the less, the more has to be moved', () => {
    const link: Link = { roundTripMs: 0.5, byteMs: 0.8e-6, copyByteMs: 1e-6 };
    const movable = [8e3, 1e6, 16e6].map((bytes) =>
      isWorthMoving(place(8), place(0), transferMs(link, bytes)),
    );
    expect(movable).toEqual([true, true, false]);
  });
});
