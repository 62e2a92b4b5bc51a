/**
 * Who pulls for an egress, where several dispatchers could: the nearest, and farther ones only while that pays.
 *
 * G1 A dispatcher pulls for an egress if nobody is nearer to its subscriber, or if the wait of the nearest, with what waits in
 *    the log, costs more than its own wait and the way (`core/rules/cost.ts`). A nearer one that makes no progress costs more
 *    with every moment, so that a hanging replica never keeps events from the others.
 */
import { isWorthMoving, transferMs, waitMs, type PlaceLoad } from '../../core/rules/cost.ts';
import { NEARNESSES, type Nearness } from '../../core/rules/nearness.ts';

/** How often a dispatcher that has to leave an egress to others looks again. */
export const LOOK_MS = 25;

/** A dispatcher's view of one egress. */
export interface Neighbour {
  /** Of the nearest endpoint of its subscriber. */
  readonly nearness: Nearness;
  readonly load: PlaceLoad;
  readonly isPaused: boolean;
  /** What waits in the log, as far as it knows; absent: no more than is known here. */
  readonly backlog?: number;
  /** Of places that are equally far, others come first (G3). */
  readonly isSpare?: boolean;
}

/** @param backlog what waits in the log · @param bytes what an event of it weighs, as a rule */
export function mayPull(
  own: Neighbour,
  others: Iterable<Neighbour>,
  { backlog: known, bytes }: { readonly backlog: number; readonly bytes: number },
): boolean {
  const nearer = nearerThan(own, others);
  if (nearer.length === 0) return true;
  const backlog = Math.max(known, ...nearer.map((other) => other.backlog ?? 0));
  const nearest = Math.min(...nearer.map(rankOf));
  const rivals = nearer.filter((other) => rankOf(other) === nearest);
  const share = backlog / rivals.length;
  const [least] = rivals
    .map(({ load, nearness }) => ({ nearness, load: withBacklog(load, share) }))
    .sort((one, other) => waitMs(one.load) - waitMs(other.load));
  if (!least || backlog < 1) return false;
  const transfer = transferMs(own.nearness, bytes) - transferMs(least.nearness, bytes);
  return isWorthMoving(least.load, own.load, transfer);
}

/** Those before it. */
export function nearerThan(own: Neighbour, others: Iterable<Neighbour>): Neighbour[] {
  const ownRank = rankOf(own);
  return [...others].filter((other) => !other.isPaused && rankOf(other) < ownRank);
}

/** A hop may go to it: it is called as given, is on this node, or nobody else is nearer. */
export function isHere(nearness: Nearness | undefined, others: Iterable<Neighbour>): boolean {
  if (nearness === undefined || nearness === 'pod' || nearness === 'node') return true;
  return ![...others].some((other) => !other.isPaused && rank(other.nearness) < rank(nearness));
}

function withBacklog({ inFlight, capacity, serviceMs }: PlaceLoad, share: number): PlaceLoad {
  // The event in question is one of those that wait.
  return { inFlight: inFlight + Math.max(0, share - 1), capacity, serviceMs };
}

/** A spare is a little farther than its like, and nearer than what is farther. */
function rankOf({ nearness, isSpare = false }: Neighbour): number {
  return rank(nearness) + (isSpare ? 0.5 : 0);
}

function rank(nearness: Nearness): number {
  return NEARNESSES.indexOf(nearness);
}
