/** How large data is kept, where a test does not care: data that is small travels with its event, as it does by default. */
import type { Payloads } from '../../core/ports/payloads.ts';
import type { ClaimPolicy } from '../../core/topology.ts';

export const CLAIMS: ClaimPolicy = {
  inlineMaxBytes: 64 * 1024,
  replyMaxBytes: 1024 * 1024,
  batchMaxBytes: 1024 * 1024,
};

/** For tests in which no payload is large: whoever asks for one all the same hears of it. */
export const NO_PAYLOADS: Payloads = {
  receive: unexpected,
  lend: unexpected,
  open: unexpected,
  release: unexpected,
};

function unexpected(): never {
  throw new Error('a payload in a test without any');
}
