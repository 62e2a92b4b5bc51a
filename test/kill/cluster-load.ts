/**
 * Producers of a cluster, and what became of their events: who was answered 202, when, and when it arrived.
 *
 * Each try has an id of its own, as what was cut off may have been taken all the same.
 */
import { pause } from '../e2e/eventually.ts';
import { binary, post } from '../e2e/producer.ts';
import type { Subscriber } from '../e2e/subscriber.ts';

export interface Load {
  /** Id -> when its 202 came; monotonic. */
  readonly acknowledged: ReadonlyMap<string, number>;
  /** Tries without a 202. */
  readonly refused: number;
  /** Resolves when nothing is under way. May be called twice. */
  stop(): Promise<void>;
}

export interface LoadOptions {
  /** Where to send to at this moment, in turns; empty ones are left out. */
  urls(): readonly string[];
  readonly path: string;
  readonly type: string;
  readonly producers: number;
  readonly thinkMs: number;
}

const AGAIN_AFTER_MS = 50;

export function startLoad({ urls, path, type, producers, thinkMs }: LoadOptions): Load {
  const acknowledged = new Map<string, number>();
  let refused = 0;
  let isStopping = false;
  const produce = async (producer: number) => {
    for (let count = 0; !isStopping; count += 1) {
      const id = `${type}-${String(producer)}-${String(count)}`;
      const there = urls().filter((url) => url !== '');
      const url = there[(producer + count) % there.length];
      const isTaken = url !== undefined && (await statusOf(url + path, { id, type })) === 202;
      if (isTaken) acknowledged.set(id, performance.now());
      else refused += 1;
      await pause(isTaken ? thinkMs : AGAIN_AFTER_MS);
    }
  };
  const all = Promise.all(Array.from({ length: producers }, (_, index) => produce(index)));
  return {
    acknowledged,
    get refused() {
      return refused;
    },
    async stop() {
      isStopping = true;
      await all;
    },
  };
}

async function statusOf(url: string, event: { id: string; type: string }): Promise<number> {
  try {
    return (await post(url, { headers: binary(event), body: event.id })).status;
  } catch {
    return 0; // refused, reset, or nobody there: somebody is being killed all the time
  }
}

/** Of those that were acknowledged, whoever is at none of these paths. */
export function missingAt(
  subscriber: Subscriber,
  acknowledged: Iterable<string>,
  paths: readonly string[],
): string[] {
  const arrived = new Set(paths.flatMap((path) => subscriber.at(path).map(({ id }) => id)));
  return [...acknowledged].filter((id) => !arrived.has(id));
}

/** How often events came beyond the first time. */
export function duplicatesAt(subscriber: Subscriber, path: string): number {
  const all = subscriber.at(path);
  return all.length - new Set(all.map(({ id }) => id)).size;
}

/** The longest that one of them has waited from its 202 to its first arrival, ms. */
export function slowestAt(
  subscriber: Subscriber,
  acknowledged: ReadonlyMap<string, number>,
  path: string,
): { readonly id: string; readonly ms: number } {
  let slowest = { id: '', ms: 0 };
  for (const { id, atMs, nth } of subscriber.at(path)) {
    const ms = atMs - (acknowledged.get(id) ?? atMs);
    if (nth === 1 && ms > slowest.ms) slowest = { id, ms };
  }
  return slowest;
}

/** The longest time in which nothing came to a path, between its first and last arrival, ms. */
export function longestGapAt(subscriber: Subscriber, path: string): number {
  const times = subscriber.at(path).map(({ atMs }) => atMs);
  return times.reduce((most, atMs, index) => Math.max(most, atMs - (times[index - 1] ?? atMs)), 0);
}
