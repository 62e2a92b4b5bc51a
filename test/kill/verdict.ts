/** Whether every promise was kept: what was acknowledged against what arrived. Pure. */
import { promisesOf, type SentEvent } from './scenery.ts';
import type { Taken } from './worker.ts';

export interface Evidence {
  readonly acknowledged: readonly Pick<SentEvent, 'id' | 'kind'>[];
  taken(path: string): Taken;
  /** Parked events of a Trigger or Subscription, as metrics name it. */
  parked(egress: string): number;
}

/** A promise that nothing shows to have been kept. */
export interface Broken {
  readonly id: string;
  readonly places: readonly string[];
}

/**
 * The promises that are broken. Parked events have no names from outside, so as many missing events of a Trigger count as
 * parked as it has parked ones; the first of them, which is all the same for whether any is lost.
 */
export function brokenPromises({ acknowledged, taken, parked }: Evidence): Broken[] {
  const room = new Map<string, number>();
  const broken: Broken[] = [];
  for (const event of acknowledged) {
    for (const { egresses, anyOf } of promisesOf(event)) {
      if (anyOf.some(({ path, id }) => taken(path).has(id))) continue;
      const egress = egresses.find((each) => (room.get(each) ?? parked(each)) > 0);
      if (egress === undefined) {
        broken.push({ id: event.id, places: anyOf.map(({ path, id }) => `${path} ${id}`) });
      } else {
        room.set(egress, (room.get(egress) ?? parked(egress)) - 1);
      }
    }
  }
  return broken;
}

/** Ids `ordered-<key>-<number>` that were taken for the first time after a later one of their key. */
export function outOfOrder(taken: Taken): string[] {
  const latest = new Map<string, number>();
  return [...taken.keys()].filter((id) => {
    const [, key = '', number = ''] = id.split('-');
    const isLate = Number(number) < (latest.get(key) ?? -1);
    latest.set(key, Math.max(latest.get(key) ?? -1, Number(number)));
    return isLate;
  });
}

/** How often an event was taken beyond the first time. */
export function duplicates(taken: Taken): number {
  let count = 0;
  for (const times of taken.values()) count += times - 1;
  return count;
}
