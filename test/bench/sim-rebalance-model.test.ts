/** The model against times worked out by hand: so few events that none waits, and all of the same size and work. */
import { describe, expect, test } from '@jest/globals';
import type { History, Policy, Setup } from '../../bench/sim-rebalance/contract.ts';
import { simulate } from '../../bench/sim-rebalance/model.ts';
import { policyOf } from '../../bench/sim-rebalance/policies.ts';
import { SCENARIOS } from '../../bench/sim-rebalance/scenarios.ts';
import { Queue, Timeline } from '../../bench/sim-rebalance/timeline.ts';

const MB = 1e6;
/** A round trip of 0.3 ms, receiving 0.2 ms, and 0.8 ms on the link and 1 ms of copying for each MB. */
const MOVE_MS = 0.3 + 0.2 + 1.8;

function setup(more: Partial<Setup> = {}): Setup {
  const usual = SCENARIOS.find(({ id }) => id === 'load-0.9')?.setup;
  if (!usual) throw new Error('the usual scenario is gone');
  return {
    ...usual,
    sigma: 0,
    sizes: [{ bytes: MB, share: 1 }],
    load: () => 0.001,
    warmMs: 0,
    ...more,
  };
}

const onward: Policy = { place: ({ at }, { setup: { pods } }) => (at + 1) % pods };
const local = policyOf('local');

/** All latencies, in whole microseconds: each is the same. */
function latencies({ latencyMs, workflows }: History): number[] {
  expect(latencyMs).toHaveLength(workflows);
  expect(workflows).toBeGreaterThan(3);
  return [...new Set(latencyMs.map((ms) => Math.round(ms * 1e3)))];
}

describe('a workflow takes', () => {
  test.each([
    { name: 'its steps, where it stays', more: {}, policy: local, ms: 25 },
    { name: 'the way for each of four hops', more: {}, policy: onward, ms: 25 + 4 * MOVE_MS },
    {
      name: 'the way for five, where arrivals are placed, too',
      more: { placesArrivals: true },
      policy: onward,
      ms: 25 + 5 * MOVE_MS,
    },
    {
      name: 'ten times the way on links of 1 Gbit/s, but not the copying',
      more: { linkByteMs: 8e-6 },
      policy: onward,
      ms: 25 + 4 * (MOVE_MS + 7.2),
    },
    {
      name: 'four turns of four slots for a fan-out to 16',
      more: { steps: 2, fanOut: 16 },
      policy: local,
      ms: 5 + 4 * 5,
    },
    {
      name: 'the log for each hop, where all goes through it',
      more: {},
      policy: { place: () => 'log', pullFrom: (pod, view) => pulled(pod, view.backlog(pod)) },
      ms: 25 + 4,
    },
  ] satisfies { name: string; more: Partial<Setup>; policy: Policy; ms: number }[])(
    '$name',
    ({ more, policy, ms }) => {
      expect(latencies(simulate(setup(more), policy, 1))).toEqual([Math.round(ms * 1e3)]);
    },
  );

  test('twice as long at half the speed', () => {
    const history = simulate(setup({ firstSpeed: 0.5, pods: 1, load: () => 0.01 }), local, 1);
    expect(latencies(history)).toEqual([50_000]);
  });
});

test('what happened is counted', () => {
  const history = simulate(setup(), onward, 1);
  const { workflows, placed, moved, logged, movedBytes, movingMs, busyMs } = history;
  expect({ placed, moved, logged }).toEqual({ placed: 4 * workflows, moved: placed, logged: 0 });
  expect(movedBytes).toBe(moved * MB);
  expect(movingMs).toBeCloseTo(moved * 1.2);
  expect(busyMs.reduce((sum, each) => sum + each)).toBeCloseTo(25 * workflows + 1.2 * moved);
});

test('the link is one queue: of what leaves at once, the last waits for all', () => {
  const more = { steps: 2, fanOut: 4, roundTripMs: 0, receiveMs: 0, copyByteMs: 0 };
  expect(latencies(simulate(setup(more), onward, 1))).toEqual([5_000 + 4 * 800 + 5_000]);
});

test('a slot is held while what was pulled comes', () => {
  const far: Policy = {
    place: () => 'log',
    lookMs: 25,
    pullFrom: (pod, view) => {
      const origin = (pod + view.setup.pods - 1) % view.setup.pods;
      return pulled(origin, view.backlog(origin));
    },
  };
  const { movingMs, moved, busyMs, workflows } = simulate(setup({ logMs: 0 }), far, 1);
  // 1.1 ms on the way, then 1.2 ms to receive.
  expect(moved).toBe(4 * workflows);
  expect(movingMs).toBeCloseTo(moved * MOVE_MS);
  expect(busyMs.reduce((sum, each) => sum + each)).toBeCloseTo(25 * workflows + movingMs);
});

test('others are seen as they last reported, with what was sent since', () => {
  const seen: { own: number; other: number; sent: number }[] = [];
  let sent = 0;
  const watch: Policy = {
    place: ({ at }, view) => {
      if (at === 0) {
        seen.push({
          own: view.load(0, 0).inFlight,
          other: view.load(1, 0).inFlight,
          sent,
        });
        sent += 1;
        return 1;
      }
      return at;
    },
  };
  // No report after the first: what pod 0 knows of pod 1 is what it has sent there.
  simulate(setup({ pods: 2, load: () => 0.3, reportMs: 1e9 }), watch, 1);
  expect(seen.length).toBeGreaterThan(10);
  expect(seen.map(({ other }) => other)).toEqual(seen.map((each) => each.sent));
  expect(new Set(seen.map(({ own }) => own)).size).toBeGreaterThan(1);
});

test('the hot half gets its share of arrivals, and moves on', () => {
  const shareOf = (more: Partial<Setup>, pods: readonly number[]) => {
    const { busyMs } = simulate(setup({ load: () => 0.2, skew: 1.4, ...more }), local, 1);
    const all = busyMs.reduce((sum, each) => sum + each);
    return pods.reduce((sum, pod) => sum + (busyMs[pod] ?? 0), 0) / all;
  };
  expect(shareOf({}, [0, 1, 2, 3, 4])).toBeCloseTo(0.7, 1);
  // In the second half of the time pods 3 to 7 are hot, so the first three and these after them are for one half each.
  expect(shareOf({ hotMs: 3_000 }, [0, 1, 2])).toBeCloseTo(0.3, 1);
  expect(shareOf({ hotMs: 3_000 }, [5, 6, 7])).toBeCloseTo(0.3, 1);
});

describe('the timeline', () => {
  test('goes in the order of time, and of planning where that is the same', () => {
    const timeline = new Timeline();
    const order: string[] = [];
    const note = (name: string) => () => order.push(`${timeline.nowMs} ${name}`);
    for (const [ms, name] of [
      [5, 'a'],
      [1, 'b'],
      [5, 'c'],
      [0, 'd'],
      [3, 'e'],
    ] as const) {
      timeline.after(ms, note(name));
    }
    timeline.after(2, () => timeline.after(3, note('f')));
    timeline.run();
    expect(order).toEqual(['0 d', '1 b', '3 e', '5 a', '5 c', '5 f']);
  });

  test('a queue keeps its order, however long it was', () => {
    const queue = new Queue<number>();
    const out: number[] = [];
    for (let turn = 0; turn < 5_000; turn += 1) {
      queue.push(turn);
      if (turn > 2_000) out.push(queue.shift() ?? NaN);
    }
    expect(queue.first).toBe(out.length);
    while (queue.length > 0) out.push(queue.shift() ?? NaN);
    expect(out).toEqual(Array.from({ length: 5_000 }, (_, turn) => turn));
    expect(queue.shift()).toBeUndefined();
  });
});

function pulled(origin: number, backlog: number): number | undefined {
  return backlog > 0 ? origin : undefined;
}
