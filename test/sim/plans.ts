/** Which kinds of trouble a seed brings: seeds take turns, so that each plan is met by every tenth seed or so. */
import { NO_FAULTS } from './faults.ts';
import type { Faults } from './faults.ts';
import { SeededRandom } from './random.ts';
import type { RunOptions } from './world.ts';

const UNRULY: Partial<Faults> = {
  rejects: 0.15,
  resets: 0.05,
  hangs: 0.03,
  nonsense: 0.03,
  slow: 0.1,
};

const STORE: Partial<Faults> = {
  putFails: 0.05,
  removalFails: 0.1,
  losses: 0.02,
  storeLeaves: 0.05,
  redactions: 0.2,
};

/** Of the events, and of the replies to them: with data that the payload store keeps. */
const CLAIMS = 0.4;

const PLANS: readonly (Partial<Faults> & { readonly rogues?: number })[] = [
  // Calm: nothing but load, so every delivery must end exactly once.
  {},
  { slow: 0.3, commitMaxMs: 20 },
  { ...UNRULY, ...STORE },
  { ...UNRULY, edits: 0.5 },
  { kills: 0.15, commitMaxMs: 10 },
  { ...UNRULY, ...STORE, kills: 0.1, commitMaxMs: 10 },
  { ...UNRULY, commitFails: 0.05 },
  { rogues: 2, slow: 0.05, removalFails: 0.1 },
  { ...UNRULY, ...STORE, freezes: 0.05, jumps: 0.1 },
  {
    ...UNRULY,
    ...STORE,
    kills: 0.05,
    freezes: 0.03,
    jumps: 0.05,
    edits: 0.3,
    commitFails: 0.01,
    rogues: 0.5,
  },
];

/** Stops in good order, in half of the worlds with hops. */
const STOPS = 0.1;

/** Without hops. */
export function plainPlanOf(seed: number): RunOptions {
  const { rogues = 0, ...faults } = PLANS[seed % PLANS.length] ?? {};
  return {
    seed,
    faults: { ...NO_FAULTS, ...faults },
    producers: 1 + (seed % 4),
    rogues,
    claims: CLAIMS,
    hasHops: false,
  };
}

export function hopPlanOf(seed: number): RunOptions {
  const plan = plainPlanOf(seed);
  const stops = new SeededRandom(seed).chance(0.5) ? STOPS : 0;
  return { ...plan, hasHops: true, faults: { ...plan.faults, stops } };
}

/** Whatever the trouble is, half of its seeds are with hops. */
export function planOf(seed: number): RunOptions {
  return new SeededRandom(~seed).chance(0.5) ? hopPlanOf(seed) : plainPlanOf(seed);
}

/** The same trouble, on a log that behaves as one on a server. */
export function serverPlanOf(seed: number): RunOptions {
  return { ...planOf(seed), habits: { lostAcks: 0.03 } };
}
