/**
 * Goal: whatever order things happen in, the log holds exactly what it owes, and says so to exactly those it should.
 * Method: random steps (commits that fail, crashes and drops included) are played on a `GroupedLog` over a store whose
 * commits are steps of their own, and on a model that is a set. They are compared after every step, and at the end
 * everything owed has to come out. A failure prints its seed and the shortest sequence found.
 */
import { describe, test } from '@jest/globals';
import fc from 'fast-check';

import type { Leave, Step } from './log-steps.ts';
import { EGRESSES, World } from './log-world.ts';

const egressId = fc.constantFrom(...EGRESSES);
/** Mostly one or two egresses; sometimes nobody. */
const to = fc.constantFrom('a', 'a', 'b', 'a b', 'a b c', 'b c', '');
const which = fc.nat(50);

const LEAVES: readonly (readonly Leave[])[] = [
  [],
  [],
  [],
  ['event'],
  ['event', 'event'],
  ['event handed'],
  ['event claimed'],
  ['event handed', 'event handed'],
  ['event handed', 'work own'],
  ['work own'],
  ['work later'],
  ['work new'],
  ['work reply'],
  ['work origin'],
  ['parked own'],
  ['parked new'],
  ['parked origin'],
  ['event', 'work own'],
  ['event', 'parked new'],
  ['work new', 'parked own'],
];

const steps: fc.Arbitrary<Step>[] = [
  fc.record({
    kind: fc.constant('append'),
    to: fc.array(to, { minLength: 1, maxLength: 3 }),
    isHeld: fc.boolean(),
    isClaimed: fc.boolean(),
  }),
  fc.record({
    kind: fc.constantFrom('pull', 'pull', 'pull', 'wait'),
    egressId,
    count: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({ kind: fc.constant('settle'), which, leave: fc.constantFrom(...LEAVES), to }),
  fc.record({ kind: fc.constant('pass') }),
  fc.record({ kind: fc.constant('turn') }),
  fc.record({ kind: fc.constantFrom('release', 'extend'), which }),
  fc.record({ kind: fc.constant('advance'), ms: fc.constantFrom(100, 300, 1_100, 16_500, 21_000) }),
  fc.record({ kind: fc.constant('fail') }),
  fc.record({ kind: fc.constant('drop'), egressId }),
  fc.record({ kind: fc.constantFrom('crash', 'restart') }),
  fc.record({
    kind: fc.constantFrom('replay', 'replay', 'discard'),
    egressId,
    count: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ kind: fc.constant('redact'), which }),
];
const WEIGHTS = [6, 8, 9, 8, 8, 2, 2, 1, 1, 1, 3, 1];

const step = fc.oneof(
  ...steps.map((arbitrary, index) => ({ arbitrary, weight: WEIGHTS[index] ?? 1 })),
);

describe('GroupedLog against a set', () => {
  // Windows of 4 and 8: what is offered twice, or never, when the window is full and rows come back below its end (Q1, Q2).
  test.each([{ windowMax: 256 }, { windowMax: 8 }, { windowMax: 4 }])(
    'L1 to L11, L13, J1, J2: after every step the disk, the offers, the numbers, the payloads and the answers are those of the model ($windowMax)',
    async (limits) => {
      const sequences = fc.array(step, { maxLength: 60, size: 'max' });
      const property = fc.asyncProperty(sequences, async (sequence) => {
        const world = new World(limits);
        for (const one of sequence) await world.play(one);
        await world.end();
      });
      await fc.assert(property, { numRuns: 300 });
    },
  );
});
