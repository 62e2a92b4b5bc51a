/**
 * Who decides where an event goes on. The cost rule is the product's own code (`core/rules/cost.ts`), and so are the rules of
 * local hops and of pulling; the others are what people use instead.
 */
import { isWorthMoving, transferMs, waitMs } from '../../core/rules/cost.ts';
import { hopRefusal } from '../../core/rules/hop.ts';
import { LOOK_MS, mayPull, type Neighbour } from '../../dispatcher/placement/neighbours.ts';
import type { Placed, Policy, View } from './contract.ts';

export const POLICY_NAMES = [
  'random',
  'two-choices',
  'local',
  'threshold',
  'bounded-hash',
  'full-scan',
  'challenger',
  'budget',
  'knear',
  'knear-told',
] as const;
export type PolicyName = (typeof POLICY_NAMES)[number];

/** As the tables call them. */
export const POLICY_TITLES: Readonly<Record<PolicyName, string>> = {
  random: 'random',
  'two-choices': 'two choices',
  local: 'always local',
  threshold: 'threshold',
  'bounded-hash': 'bounded hash',
  'full-scan': 'cost rule, all looked at',
  challenger: 'cost rule, one challenger',
  budget: 'the same, with a budget',
  knear: 'hops and pulls (knear)',
  'knear-told': 'hops and pulls, told more',
};

/** Some remember things, so each run has its own. */
export function policyOf(name: PolicyName): Policy {
  switch (name) {
    case 'random':
      return { place: (_, { setup, random }) => below(setup.pods, random.next()) };
    case 'two-choices':
      return { place: (event, view) => twoChoices(event, view) };
    case 'local':
      return { place: ({ at }) => at };
    case 'threshold':
      return { place: threshold };
    case 'bounded-hash':
      return { place: boundedHash };
    case 'full-scan':
      return { place: fullScan };
    case 'challenger':
      return { place: oneChallenger };
    case 'budget':
      return withBudget(oneChallenger);
    case 'knear':
      return hopsAndPulls(isPulled);
    case 'knear-told':
      return hopsAndPulls(isPulledKnowing);
  }
}

type Place = (event: Placed, view: View) => number;

/** Power of two choices: of any two pods, the one with less in flight. */
function twoChoices({ at }: Placed, view: View): number {
  const { setup, random } = view;
  const one = below(setup.pods, random.next());
  const other = another(one, view);
  return view.load(other, at).inFlight < view.load(one, at).inFlight ? other : one;
}

/** Local, until there is twice as much as there are slots. */
function threshold(event: Placed, view: View): number {
  const isOver = view.load(event.at, event.at).inFlight >= 2 * view.setup.slots;
  return isOver ? twoChoices(event, view) : event.at;
}

/** How far above the mean a pod may be, before the next on the ring gets it. */
const HASH_MARGIN = 0.25;

/** Consistent hashing with bounded load; the owner is the pod that has the data. */
function boundedHash({ at }: Placed, view: View): number {
  const { pods, slots } = view.setup;
  const inFlight = Array.from({ length: pods }, (_, pod) => view.load(pod, at).inFlight);
  const mean = (sum(inFlight) + 1) / pods;
  const bound = Math.max(slots, Math.ceil((1 + HASH_MARGIN) * mean));
  for (let step = 0; step < pods; step += 1) {
    const pod = (at + step) % pods;
    if ((inFlight[pod] ?? 0) < bound) return pod;
  }
  return at;
}

/** The cost rule against one other pod. It is any, so that no two pods' pictures send all to the same one. */
function oneChallenger(event: Placed, view: View): number {
  return better(event, another(event.at, view), view);
}

/** The cost rule against the best of all others, as far as is known here. */
function fullScan(event: Placed, view: View): number {
  const { at } = event;
  if (waitMs(view.load(at, at)) === 0) return at;
  let least = at;
  let leastMs = Infinity;
  // From any of them on: of several that are idle, not all senders take the same one.
  const first = below(view.setup.pods, view.random.next());
  for (let step = 0; step < view.setup.pods; step += 1) {
    const pod = (first + step) % view.setup.pods;
    const ms = pod === at ? Infinity : waitMs(view.load(pod, at));
    if (ms < leastMs) [least, leastMs] = [pod, ms];
  }
  return better(event, least, view);
}

function better({ at, bytes }: Placed, other: number, view: View): number {
  const transfer = transferMs(view.link(at), bytes);
  return isWorthMoving(view.load(at, at), view.load(other, at), transfer) ? other : at;
}

/** Of a pod's capacity, for what moving costs; a second's worth may be saved up. */
const BUDGET_SHARE = 0.05;
const BUDGET_SAVED_MS = 1_000;

/** Nothing moves where moving has taken its share of the sender's capacity already. */
function withBudget(place: Place): Policy {
  const spent = new Map<number, { atMs: number; ms: number }>();
  return {
    place: (event, view) => {
      const { at, bytes } = event;
      const to = place(event, view);
      if (to === at) return at;
      const { slots, receiveMs, copyByteMs } = view.setup;
      const { atMs, ms } = spent.get(at) ?? { atMs: 0, ms: 0 };
      const back = BUDGET_SHARE * slots * (view.nowMs - atMs);
      const next = Math.max(0, ms - back) + receiveMs + bytes * copyByteMs;
      if (next > BUDGET_SHARE * slots * BUDGET_SAVED_MS) return at;
      spent.set(at, { atMs: view.nowMs, ms: next });
      return to;
    },
  };
}

type IsPulled = (origin: number, pod: number, view: View) => boolean;

/**
 * What knear does: an event stays as a local hop while hops may wait here (H6), else it goes into the log. Who has a free
 * slot takes what is nearest; what is near to another pod only if that pays (G1), and looks again after a while if it
 * does not.
 */
function hopsAndPulls(isWorthPulling: IsPulled): Policy {
  const lookAtMs = new Map<number, number>();
  return {
    lookMs: LOOK_MS,
    place: ({ at, isFanOut }, view) => (!isFanOut && mayHop(at, view) ? at : 'log'),
    pullFrom: (pod, view) => {
      if (view.backlog(pod) > 0) return pod;
      if (view.nowMs < (lookAtMs.get(pod) ?? 0)) return undefined;
      const { pods } = view.setup;
      const first = below(pods, view.random.next());
      for (let step = 0; step < pods; step += 1) {
        const origin = (first + step) % pods;
        if (view.backlog(origin) > 0 && isWorthPulling(origin, pod, view)) return origin;
      }
      lookAtMs.set(pod, view.nowMs + LOOK_MS);
      return undefined;
    },
  };
}

/** Lines are as short, and resources as certain, as they can be: only what waits decides. */
function mayHop(pod: number, view: View): boolean {
  const line = { hops: 0, finishedMs: 0, redoMaxMs: 1_000 };
  const next = {
    isPaused: false,
    isHere: true,
    freeSlots: view.freeSlots(pod),
    slots: view.setup.slots,
    waiting: view.waiting(pod),
    backlog: view.backlog(pod),
    behindMs: view.behindMs(pod),
  };
  return hopRefusal(line, next, { isConfirmed: true, hasRoom: true }) === undefined;
}

/** To a pod, what is in its own log is as near as can be; what is in another's is a zone away: 10 Gbit/s. */
function isPulled(origin: number, pod: number, view: View): boolean {
  const own: Neighbour = { nearness: 'zone', load: view.load(pod, pod), isPaused: false };
  const near: Neighbour = { nearness: 'pod', load: view.load(origin, pod), isPaused: false };
  return mayPull(own, [near], { backlog: view.backlog(origin), bytes: view.usualBytes });
}

/** The same with what is the case instead of what is usual: the link, its queue, and the size of the event that is next. */
function isPulledKnowing(origin: number, pod: number, view: View): boolean {
  const { inFlight, capacity, serviceMs } = view.load(origin, pod);
  const near = { inFlight: inFlight + view.backlog(origin) - 1, capacity, serviceMs };
  const transfer = transferMs(view.link(origin), view.firstBytes(origin));
  return isWorthMoving(near, view.load(pod, pod), transfer);
}

function another(than: number, { setup, random }: View): number {
  return (than + 1 + below(setup.pods - 1, random.next())) % setup.pods;
}

function below(count: number, chance: number): number {
  return Math.floor(count * chance);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
