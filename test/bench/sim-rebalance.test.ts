/**
 * Goal: what docs/rebalancing.md says of the rule stays true. Method: the simulator's own scenarios with fixed seeds, so that the
 * figures are the same on every machine; the bounds leave room for changes of the model, not for a rule that is worse.
 */
import { describe, expect, test } from '@jest/globals';
import { waitMs } from '../../core/rules/cost.ts';
import { figuresOf, type Figures } from '../../bench/sim-rebalance/figures.ts';
import type { Policy, View } from '../../bench/sim-rebalance/contract.ts';
import { simulate } from '../../bench/sim-rebalance/model.ts';
import { policyOf, type PolicyName } from '../../bench/sim-rebalance/policies.ts';
import { SCENARIOS } from '../../bench/sim-rebalance/scenarios.ts';

function play(id: string, policy: PolicyName | Policy, seed = 1): Figures {
  const scenario = SCENARIOS.find((each) => each.id === id);
  if (!scenario) throw new Error(`no scenario ${id}`);
  const { setup, step } = scenario;
  return figuresOf(
    simulate(setup, typeof policy === 'string' ? policyOf(policy) : policy, seed),
    step,
  );
}

test.each(['two-choices', 'challenger', 'budget', 'knear'] as const)(
  'the same seed gives the same figures, and another one others: %s',
  (name) => {
    const first = play('load-0.8', name, 7);
    expect(play('load-0.8', name, 7)).toEqual(first);
    expect(play('load-0.8', name, 8)).not.toEqual(first);
  },
);

describe('at a load of 0.9', () => {
  test.each([
    { id: 'load-0.9', policy: 'challenger', times: 5, timesTwoChoices: 4 },
    { id: 'placed-0.9', policy: 'challenger', times: 5, timesTwoChoices: 5 },
    { id: 'placed-0.9', policy: 'knear', times: 3, timesTwoChoices: 3 },
  ] as const)('$id: $policy is far better than what people use', (row) => {
    const { p99Ms } = play(row.id, row.policy);
    expect(play(row.id, 'local').p99Ms / p99Ms).toBeGreaterThan(row.times);
    expect(play(row.id, 'two-choices').p99Ms / p99Ms).toBeGreaterThan(row.timesTwoChoices);
  });

  test('a rule that looks at waits alone moves more, and is worse', () => {
    const careless: Policy = {
      place: ({ at }, view) => {
        const { pods } = view.setup;
        const other = (at + 1 + Math.floor((pods - 1) * view.random.next())) % pods;
        return waitMs(view.load(other, at)) < waitMs(view.load(at, at)) ? other : at;
      },
    };
    const [good, bad] = [play('load-0.9', 'challenger'), play('load-0.9', careless)];
    expect(bad.movedMbPerWorkflow).toBeGreaterThan(5 * good.movedMbPerWorkflow);
    expect(bad.p99Ms).toBeGreaterThan(1.1 * good.p99Ms);
  });
});

test.each(['challenger', 'budget', 'knear'] as const)(
  'at an even load little is moved, and nothing goes to and fro: %s',
  (name) => {
    const { movingShare, swing } = play('even', name);
    expect(movingShare).toBeLessThan(0.05);
    expect(swing).toBeGreaterThan(-0.1);
  },
);

test.each(['challenger', 'knear'] as const)('after a step p99 is back within 10 s: %s', (name) => {
  expect(play('step', name).backAfterMs).toBeLessThanOrEqual(10_000);
});

describe('hops and pulls', () => {
  const usual = SCENARIOS[0]?.setup;
  if (!usual) throw new Error('there are no scenarios');
  /** Pod 0 is idle, pod 1 has all slots in use, and so much waits in its log and in its queue. */
  const view = (backlog: number, nowMs = 0, waiting = 0): View => ({
    setup: { ...usual, pods: 2 },
    nowMs,
    random: { next: () => 0 },
    usualBytes: 8e3,
    load: (of) => ({ inFlight: of === 0 ? 0 : 4, capacity: 4, serviceMs: 5 }),
    link: () => ({ roundTripMs: 0.5, byteMs: 0.8e-6, copyByteMs: 1e-6 }),
    freeSlots: (pod) => (pod === 0 ? 4 : 0),
    waiting: () => waiting,
    backlog: (pod) => (pod === 1 ? backlog : 0),
    firstBytes: () => 16e6,
    behindMs: () => 0,
  });
  const event = { at: 1, bytes: 8e3, isFanOut: false };

  test.each([
    { name: 'here, where fewer wait than there are slots', at: view(0, 0, 3), to: 1 },
    { name: 'into the log, where as many wait as there are slots', at: view(0, 0, 4), to: 'log' },
    { name: 'into the log behind what is there', at: view(1), to: 'log' },
  ])('an event goes on $name', ({ at, to }) => {
    expect(policyOf('knear').place(event, at)).toBe(to);
  });

  test('several from one answer go into the log', () => {
    expect(policyOf('knear').place({ ...event, isFanOut: true }, view(0))).toBe('log');
  });

  test('what is near to another is taken if it pays, and looked at again after 25 ms', () => {
    const policy = policyOf('knear');
    expect(policy.pullFrom?.(1, view(1))).toBe(1);
    expect(policy.pullFrom?.(0, view(1))).toBeUndefined();
    expect(policy.pullFrom?.(0, view(9, 24))).toBeUndefined();
    expect(policy.pullFrom?.(0, view(9, 25))).toBe(1);
  });

  test('told the size of the event that is next, a large one stays', () => {
    expect(policyOf('knear').pullFrom?.(0, view(9))).toBe(1);
    expect(policyOf('knear-told').pullFrom?.(0, view(9))).toBeUndefined();
    expect(policyOf('knear-told').pullFrom?.(0, view(40))).toBe(1);
  });
});
