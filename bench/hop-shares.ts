/** How the share of events that go on without the log moves when the load does. Pure. */
import { median } from './statistics.ts';
import type { Tally } from './tally.ts';

/** What was counted up to a moment. */
export type Reading = Pick<Tally, 'hopsTaken' | 'hopsRefused'> & { readonly atMs: number };

/** Of the answers between two readings; told at the later one. */
export interface Share {
  readonly atMs: number;
  readonly taken: number;
}

/** The load goes up after the first and down after the second of these moments. */
export interface LoadStep {
  readonly upAtMs: number;
  readonly downAtMs: number;
}

export interface Swing {
  /** The share before the load went up. */
  readonly level: number;
  /** The least that there was. */
  readonly lowest: number;
  /** From when the load went down until the share was back at its level for a while; NaN: it did not come back. */
  readonly backAfterMs: number;
}

/** A share this much lower is still the same level: of a second's thousand answers, a pause of the machine refuses some. */
const SAME_LEVEL = 0.05;
/** Readings in a row that are at the level: one alone may be a chance, and all to the end would not forgive a pause. */
const BACK_READINGS = 3;

/** Without intervals in which nothing went on: they have no share. */
export function sharesOf(readings: readonly Reading[]): Share[] {
  return readings.flatMap((reading, index) => {
    const before = readings[index - 1];
    if (before === undefined) return [];
    const taken = reading.hopsTaken - before.hopsTaken;
    const all = taken + reading.hopsRefused - before.hopsRefused;
    return all > 0 ? [{ atMs: reading.atMs, taken: taken / all }] : [];
  });
}

/** @throws when nothing went on before the load went up, or after it went down. */
export function swingOf(shares: readonly Share[], { upAtMs, downAtMs }: LoadStep): Swing {
  const first = shares.filter(({ atMs }) => atMs <= upAtMs);
  const last = shares.filter(({ atMs }) => atMs > downAtMs);
  if (first.length === 0 || last.length === 0) throw new Error('no hops to take shares of');
  const level = median(first.map(({ taken }) => taken));
  const back = last.find((_, index) => {
    const next = last.slice(index, index + BACK_READINGS);
    return next.length === BACK_READINGS && next.every(({ taken }) => taken >= level - SAME_LEVEL);
  });
  return {
    level,
    lowest: Math.min(...shares.map(({ taken }) => taken)),
    backAfterMs: back === undefined ? NaN : back.atMs - downAtMs,
  };
}
