/** The comparisons of `log-world.ts` that look at one thing alone: numbers, parked entries, answers. */
import { strict as assert } from 'node:assert';

import { isAnswerDue, isSafe } from './log-model.ts';
import type { Token } from './log-model.ts';
import type { Fate, Stage } from './log-stage.ts';
import { idOfEvent } from './log-steps.ts';

/** An append or a settle, what it has come to, and the tokens that it is answerable for. */
export interface Promised {
  readonly what: string;
  readonly fate: Fate;
  readonly tokens: readonly Token[];
  /** It has to be turned away. */
  readonly isRefused?: boolean;
}

/** L2 and L11: answered when that is safe, not before, and not long after. */
export function compareAnswers(
  promised: readonly Promised[],
  { durable, isFailing }: { durable: ReadonlySet<Token>; isFailing: boolean },
): void {
  for (const { what, fate, tokens, isRefused } of promised) {
    if (isRefused) {
      assert.equal(fate.state, 'rejected', `taken while the disk fails: ${what}`);
    } else if (fate.state === 'resolved') {
      assert(tokens.every(isSafe), `answered before it was safe: ${what}`);
    } else if (fate.state === 'rejected') {
      assert(isFailing, `rejected while the disk works: ${what}`);
      assert(!tokens.some((one) => durable.has(one)), `rejected, and kept: ${what}`);
    } else {
      assert(!tokens.every(isAnswerDue), `not answered though it is safe: ${what}`);
    }
  }
}

export function compareLag({ log, clock }: Stage, owed: readonly Token[], egressId: string): void {
  const { ready, delayed, parked } = log.lag(egressId);
  const waiting = owed.filter(({ kind }) => kind !== 'parked');
  const later = waiting.filter(({ dueAtMs }) => dueAtMs > 0);
  const notDue = later.filter(({ dueAtMs }) => dueAtMs > clock.nowMs());
  const counted = { waiting: ready + delayed, parked };
  assert.deepEqual(counted, { waiting: waiting.length, parked: owed.length - waiting.length });
  // A timer that is due is moved by a commit.
  const isRight = notDue.length <= delayed && delayed <= later.length;
  assert(isRight, `${delayed} of ${egressId} are delayed`);
}

export async function compareParked(
  { log }: Stage,
  owed: readonly Token[],
  egressId: string,
): Promise<void> {
  const entries = await log.parked(egressId, { limit: 1_000 });
  const listed = entries.map(({ event }) => idOfEvent(event));
  const parked = owed.filter(({ kind }) => kind === 'parked').map(({ eventId }) => eventId);
  assert.deepEqual(listed.toSorted(), parked.toSorted(), 'parked');
}
