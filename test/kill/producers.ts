/**
 * Producers as they should be: each sends an event with the same id until it gets a 202, whatever happens to the program
 * meanwhile, and remembers what was acknowledged.
 */
import { Agent } from 'node:http';
import { pause } from '../e2e/eventually.ts';
import { contentOf } from '../e2e/content.ts';
import { binary, post } from '../e2e/producer.ts';
import type { SeededRandom } from '../sim/random.ts';
import { CHAIN_MAX_BYTES, isLarge, largeSize, mediumSize, smallSize } from './body.ts';
import { BROKER_PATH, typeOf, type Kind, type SentEvent } from './scenery.ts';

export interface Producers {
  readonly acknowledged: readonly SentEvent[];
  /** Requests by kind, those without a 202 included: so often may an event be there. */
  sends(kind: Kind): number;
  /** No new events; resolves when those begun are acknowledged. */
  stop(): Promise<void>;
  /** Gives up at once. */
  abandon(): void;
}

export interface ProducersOptions {
  readonly random: SeededRandom;
  /** Where the program takes events at the moment; empty while it does not run. */
  url(): string;
}

/** With bursts of up to eight: records that share a commit, and commits that are full when the kill comes. */
const BURST_PRODUCERS = 4;
const BURST_MAX = 8;
/** One after the other, so that there is an order to keep. */
const ORDERED_PRODUCERS = 2;
/** Between bursts: about 300 events a second in all, a load that two cores bear beside the rest of a test run. */
const THINK_MIN_MS = 20;
const THINK_MAX_MS = 90;
/** Large events, one after the other: one of 20 MB may take several lives of the program, and holds up only its own. */
const LARGE_PRODUCERS = 3;
/** Between large events: some ten megabytes a second, beside the rest. */
const LARGE_THINK_MIN_MS = 50;
const LARGE_THINK_MAX_MS = 150;
/** After a failure: soon enough to meet the program in the first moments of its next life. */
const AGAIN_AFTER_MS = 25;

export function startProducers({ random, url }: ProducersOptions): Producers {
  const agent = new Agent({ keepAlive: true });
  const acknowledged: SentEvent[] = [];
  const sends = new Map<Kind, number>();
  let state: 'sending' | 'stopping' | 'abandoned' = 'sending';
  let count = 0;

  async function deliver(
    event: SentEvent,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const { id, kind, sizeBytes } = event;
    const attributes = { id, type: typeOf(kind), size: String(sizeBytes), ...headers };
    const isChunked = isLarge(event) && random.chance(0.5);
    const body = contentOf(id, sizeBytes);
    const request = { headers: binary(attributes), body, isChunked };
    while (state !== 'abandoned') {
      sends.set(event.kind, (sends.get(event.kind) ?? 0) + 1);
      if ((await statusOf(request)) === 202) {
        acknowledged.push(event);
        return;
      }
      await pause(AGAIN_AFTER_MS);
    }
  }

  async function statusOf(request: Parameters<typeof post>[1]): Promise<number> {
    try {
      return (await post(url() + BROKER_PATH, request, agent)).status;
    } catch {
      return 0; // refused, reset, or nobody there: the program is being killed all the time
    }
  }

  function next(kind: Kind, sizeBytes: number): SentEvent {
    count += 1;
    return { id: `${kind}-${String(count)}`, kind, sizeBytes };
  }

  async function sendBursts(): Promise<void> {
    while (state === 'sending') {
      const burst = Array.from({ length: 1 + random.below(BURST_MAX) }, () => pickKind(random));
      const sizeOf = (kind: Kind) => (kind === 'big' ? mediumSize(random) : smallSize(random));
      await Promise.all(burst.map((kind) => deliver(next(kind, sizeOf(kind)))));
      await pause(random.between(THINK_MIN_MS, THINK_MAX_MS));
    }
  }

  async function sendLarge(firstTurn: number): Promise<void> {
    for (let turn = firstTurn; state === 'sending'; turn += 1) {
      const sizeBytes = largeSize(turn, random);
      const kind = pickLargeKind(random);
      const isTooMuch = kind === 'chain' && sizeBytes > CHAIN_MAX_BYTES;
      await deliver(next(isTooMuch ? 'big' : kind, sizeBytes));
      await pause(random.between(LARGE_THINK_MIN_MS, LARGE_THINK_MAX_MS));
    }
  }

  async function sendInOrder(key: string): Promise<void> {
    for (let number = 0; state === 'sending'; number += 1) {
      const id = `ordered-${key}-${String(number)}`;
      const event: SentEvent = { id, kind: 'ordered', sizeBytes: smallSize(random) };
      await deliver(event, { partitionkey: key });
      await pause(random.between(THINK_MIN_MS, THINK_MAX_MS) / 2);
    }
  }

  const all = Promise.all([
    ...Array.from({ length: BURST_PRODUCERS }, sendBursts),
    ...Array.from({ length: LARGE_PRODUCERS }, async (_, turn) => sendLarge(turn)),
    ...Array.from({ length: ORDERED_PRODUCERS }, async (_, key) => sendInOrder(String(key))),
  ]);
  return {
    acknowledged,
    sends: (kind) => sends.get(kind) ?? 0,
    async stop() {
      state = 'stopping';
      await all;
      agent.destroy();
    },
    abandon() {
      state = 'abandoned';
      agent.destroy();
    },
  };
}

/** Mostly plain ones and chains; the others are dear, in bytes, in time, or in room that they keep. */
function pickKind(random: SeededRandom): Exclude<Kind, 'ordered'> {
  const roll = random.next();
  if (roll < 0.35) return 'plain';
  if (roll < 0.75) return 'chain';
  if (roll < 0.84) return 'doomed';
  if (roll < 0.92) return 'late';
  return roll < 0.97 ? 'parked' : 'big';
}

/** Large data on each way that an event can go: kept while it fails, in a dead letter, parked, in replies. */
const LARGE_KINDS = ['big', 'big', 'late', 'doomed', 'parked', 'chain', 'chain'] as const;

function pickLargeKind(random: SeededRandom): Kind {
  return LARGE_KINDS[random.below(LARGE_KINDS.length)] ?? 'big';
}
