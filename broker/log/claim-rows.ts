/** Which payloads are named by records, as the disk says it. How the rows change is `group.ts` (L13). */
import type { KnearError } from '../../core/errors.ts';
import { payloadId } from '../../core/event.ts';
import type { Claim, ClaimLedger } from '../../core/ports/claims.ts';
import type { Clock } from '../../core/ports/time.ts';
import type { Committer } from './committer.ts';
import { claimKey } from './keys.ts';
import { decodeJson } from './record.ts';
import type { LogStore } from './store.ts';

/** Behind every id, which is ASCII. */
const END = Buffer.from([0x7f]);

export interface ClaimRowsContext {
  readonly store: LogStore;
  readonly clock: Clock;
  readonly committer: Committer;
  /** Why nothing can be done at the moment, if so. */
  failure(): KnearError | undefined;
}

export class ClaimRows implements ClaimLedger {
  readonly isKept = true;
  readonly #context: ClaimRowsContext;

  constructor(context: ClaimRowsContext) {
    this.#context = context;
  }

  claim(id: string): Claim | undefined {
    return readClaim(this.#context.store, id);
  }

  claims({ after = '', limit }: { after?: string; limit: number }): Claim[] {
    const bounds = { from: claimKey(`${after}\0`), to: END, limit };
    return this.#context.store.range('claim', bounds).map(({ value }) => decodeJson<Claim>(value));
  }

  async redact(id: string): Promise<boolean> {
    const failure = this.#context.failure();
    if (failure) throw failure;
    const claim = this.claim(id);
    if (!claim) return false;
    const { committer, clock } = this.#context;
    committer.open.redact(claim.ref, clock.nowMs());
    await committer.whenDurable();
    return this.claim(payloadId(claim.ref))?.redactedAtMs !== undefined;
  }
}

export function readClaim(store: LogStore, id: string): Claim | undefined {
  const row = store.get('claim', claimKey(id));
  return row && decodeJson<Claim>(row);
}
