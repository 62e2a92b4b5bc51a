/**
 * How large events are and what is in them: data that follows from the id, so that whoever gets it can tell whether it is
 * whole. Most are small; the large ones take other ways through the program (spool, payload store, streams).
 */
import type { IncomingMessage } from 'node:http';
import { openContent } from '../e2e/content.ts';
import type { SeededRandom } from '../sim/random.ts';

const KB = 1_000;
const MB = 1_000 * KB;
/** Above, an event is claimed, whatever its attributes are. */
export const LARGE_FROM_BYTES = 64 * 1024;

export function isLarge({ sizeBytes }: { readonly sizeBytes: number }): boolean {
  return sizeBytes > LARGE_FROM_BYTES;
}

export function smallSize(random: SeededRandom): number {
  return random.below(2 * KB);
}

/** Just beyond what the log keeps itself. */
export function mediumSize(random: SeededRandom): number {
  return 100 * KB + random.below(KB);
}

/** One in eight is of 20 MB: a kill often comes in the middle of one. */
const LARGE_TURNS = [100 * KB, 2 * MB, 20 * MB, 100 * KB, 2 * MB, 100 * KB, 2 * MB, 100 * KB];
/** Larger ones are not sent through the chain, which would keep the machine busy with nothing else. */
export const CHAIN_MAX_BYTES = 3 * MB;

/** In turns, so that every run has some of each. */
export function largeSize(turn: number, random: SeededRandom): number {
  return (LARGE_TURNS[turn % LARGE_TURNS.length] ?? 0) + random.below(KB);
}

/**
 * Reads the body to its end: whether it is all of what was sent under this id. Never holds it.
 * @throws when the connection breaks before the end.
 */
export async function isWhole(
  request: IncomingMessage,
  sent: { readonly id: string; readonly sizeBytes: number },
): Promise<boolean> {
  const next = openContent(sent.id);
  let sizeBytes = 0;
  let isEqual = true;
  for await (const chunk of request) {
    // A request without an encoding gives bytes.
    const piece = chunk as Buffer;
    sizeBytes += piece.byteLength;
    isEqual &&= next(piece.byteLength).equals(piece);
  }
  return isEqual && request.complete && sizeBytes === sent.sizeBytes;
}
