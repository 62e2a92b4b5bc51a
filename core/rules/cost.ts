/**
 * When work goes to a farther place: only if the wait that it saves is worth what moving it costs.
 *
 * A place is compared by time, not by counts, so that a slow one with few requests is not taken for an idle one. Between
 * two places there is a dead band of twice the margin and the transfer, so nothing goes to and fro; it grows with the
 * size of the data, so the larger an event is, the calmer it stays where it is.
 *
 * Source of the form: weighted workload with several levels of locality (Balanced-PANDAS; Xie, Yekkehkhany, Lu: 2016).
 */
import type { Nearness } from './nearness.ts';

/** Share of a service time that moving has to gain beyond its cost: estimates are off by so much. */
const MARGIN = 0.25;

/** A round trip and what it takes to handle it, ms. */
const ROUND_TRIP_MS: Readonly<Record<Nearness, number>> = {
  pod: 0,
  node: 0.1,
  zone: 0.5,
  any: 1.5,
};
/** ms for each byte: memory (2 GB/s), then a link of 10 Gbit/s and of 5 Gbit/s, shared by both ends' copying. */
const BYTE_MS: Readonly<Record<Nearness, number>> = {
  pod: 0.5e-6,
  node: 0.5e-6,
  zone: 1.8e-6,
  any: 2.6e-6,
};

/** What is known of a place that could take the work. */
export interface PlaceLoad {
  /** Requests that it is at. */
  readonly inFlight: number;
  /** Requests that it does at a time without becoming slower. */
  readonly capacity: number;
  /** What one takes there, as a rule. */
  readonly serviceMs: number;
}

/** How long one more request waits there before it is begun. */
export function waitMs({ inFlight, capacity, serviceMs }: PlaceLoad): number {
  return (Math.max(0, inFlight + 1 - capacity) / capacity) * serviceMs;
}

/** What is known of the way to one place, where more is known than how near it is. */
export interface Link {
  /** A round trip and what it takes to handle it, ms. */
  readonly roundTripMs: number;
  /** On the way, ms for each byte. */
  readonly byteMs: number;
  /** At its end, for copying, ms for each byte; absent: 0, or it is in `byteMs`. */
  readonly copyByteMs?: number;
  /** What has to leave here by the same way before; absent: nothing. */
  readonly queuedBytes?: number;
  /** The data is there already: only the event itself has to go. It queues all the same. */
  readonly isCached?: boolean;
}

/**
 * What it takes to bring so many bytes there, ms, beyond what the nearest place takes.
 * @param way how near the place is, which gives an estimate, or the link to it, as far as it is known
 */
export function transferMs(way: Nearness | Link, bytes: number): number {
  if (typeof way === 'string') return ROUND_TRIP_MS[way] + bytes * BYTE_MS[way];
  const { roundTripMs, byteMs, copyByteMs = 0, queuedBytes = 0, isCached = false } = way;
  const moved = isCached ? 0 : bytes;
  return roundTripMs + queuedBytes * byteMs + moved * (byteMs + copyByteMs);
}

/** @param transfer what the far place takes beyond the near one, ms */
export function isWorthMoving(near: PlaceLoad, far: PlaceLoad, transfer: number): boolean {
  const nearMs = waitMs(near);
  // Half idle or more: the fast path is one comparison.
  if (nearMs === 0) return false;
  return nearMs - (waitMs(far) + Math.max(0, transfer)) > MARGIN * near.serviceMs;
}
