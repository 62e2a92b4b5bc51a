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
}

/** @param backlog what waits in the log · @param bytes what an event of it weighs, as a rule */
export function mayPull(
  own: Neighbour,
  others: Iterable<Neighbour>,
  { backlog, bytes }: { readonly backlog: number; readonly bytes: number },
): boolean {
  const nearer = [...others].filter(
    ({ isPaused, nearness }) => !isPaused && rank(nearness) < rank(own.nearness),
  );
  if (nearer.length === 0) return true;
  const nearest = Math.min(...nearer.map(({ nearness }) => rank(nearness)));
  const rivals = nearer.filter(({ nearness }) => rank(nearness) === nearest);
  const share = backlog / rivals.length;
  const [least] = rivals
    .map(({ load, nearness }) => ({ nearness, load: withBacklog(load, share) }))
    .sort((one, other) => waitMs(one.load) - waitMs(other.load));
  if (!least || backlog < 1) return false;
  const transfer = transferMs(own.nearness, bytes) - transferMs(least.nearness, bytes);
  return isWorthMoving(least.load, own.load, transfer);
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

function rank(nearness: Nearness): number {
  return NEARNESSES.indexOf(nearness);
}
