/** What the program counts by itself, beside what arrives: bytes for the log, and how events went on from step to step. */
import { samplesOf } from './exposition.ts';
import type { Sut } from './sut.ts';

export interface Tally {
  readonly loggedBytes: number;
  /** Answers that went on without the log. */
  readonly hopsTaken: number;
  /** Answers that went on through it. */
  readonly hopsRefused: number;
  /** Those by reason. */
  readonly refusals: Readonly<Record<string, number>>;
}

type Hops = Omit<Tally, 'loggedBytes'>;

export async function tallyOf(sut: Sut): Promise<Tally> {
  const [text, loggedBytes] = await Promise.all([sut.metrics(), sut.loggedBytes()]);
  return { loggedBytes, ...hopsIn(text) };
}

export function hopsIn(metrics: string): Hops {
  let hopsTaken = 0;
  let hopsRefused = 0;
  const refusals: Record<string, number> = {};
  // Only results that there were are told: without any answer, there is no such line.
  for (const { labels, value } of samplesOf(metrics, 'knear_local_hops_total')) {
    const { result = '' } = labels;
    if (result === 'taken') {
      hopsTaken += value;
    } else {
      hopsRefused += value;
      refusals[result] = (refusals[result] ?? 0) + value;
    }
  }
  return { hopsTaken, hopsRefused, refusals };
}

export function difference(after: Tally, before: Tally): Tally {
  const refusals = Object.entries(after.refusals).map(
    ([reason, count]) => [reason, count - (before.refusals[reason] ?? 0)] as const,
  );
  return {
    loggedBytes: after.loggedBytes - before.loggedBytes,
    hopsTaken: after.hopsTaken - before.hopsTaken,
    hopsRefused: after.hopsRefused - before.hopsRefused,
    refusals: Object.fromEntries(refusals),
  };
}

/** `3.6 hops an event (busy 0.3, redo 0.1)`: with why the others were none, over all measurements. */
export function hopsText(
  turns: readonly { readonly tally: Hops; readonly deliveries: number }[],
): string {
  const deliveries = turns.reduce((sum, each) => sum + each.deliveries, 0);
  const perEvent = (count: number): string => (count / deliveries).toPrecision(2);
  const counts = new Map<string, number>();
  for (const { tally } of turns) {
    for (const [reason, count] of Object.entries(tally.refusals)) {
      counts.set(reason, (counts.get(reason) ?? 0) + count);
    }
  }
  const reasons = Array.from(counts)
    .filter(([, count]) => count > 0)
    .sort(([, one], [, other]) => other - one)
    .map(([reason, count]) => `${reason} ${perEvent(count)}`);
  const taken = turns.reduce((sum, { tally }) => sum + tally.hopsTaken, 0);
  return `${perEvent(taken)} hops an event${reasons.length > 0 ? ` (${reasons.join(', ')})` : ''}`;
}
