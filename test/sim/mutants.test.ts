/** Goal: the simulation can fail. Method: plant one bug at a time in a copy of the sources and run seeds until it is found. */
import { expect, test } from '@jest/globals';

import { MUTANTS, seedThatFinds } from './mutants.ts';

/** Each was found by a far smaller seed when it was planted; see docs/testing.md for the counts. */
const SEED_MAX = 300;

test.each(MUTANTS)(
  'the simulation finds: $name',
  async (mutant) => {
    expect(await seedThatFinds(mutant, SEED_MAX)).toBeDefined();
  },
  120_000,
);
