/** What the log knows about claimed payloads: which are named by a record. */
import type { PayloadRef } from '../event.ts';

export interface ClaimLedger {
  /**
   * Whether it can be asked. A log that does not keep a list of payloads cannot: then nothing is listed, redacted or removed,
   * because any payload may be needed.
   */
  readonly isKept: boolean;
  /** By `payloadId`. */
  claim(id: string): Claim | undefined;
  /** By id, ascending; those behind `after`. */
  claims(options: { readonly after?: string; readonly limit: number }): Claim[];
  /**
   * Says of a payload that it was redacted, so that what still waits for it ends with that reason. Durable when it
   * resolves; false: no record names it. @throws KNEAR_LOG_FAILED, KNEAR_CLOSED
   */
  redact(id: string): Promise<boolean>;
}

export interface Claim {
  readonly ref: PayloadRef;
  /** Records that name it. */
  readonly records: number;
  /** Wall time. */
  readonly redactedAtMs?: number;
}

/** Who keeps payloads and removes those that nobody needs, as the log tells it what it needs. */
export interface PayloadHolders {
  /** A record that is not yet durable names it. */
  hold(ref: PayloadRef): void;
  /** It is durable now, or will never be. */
  release(ref: PayloadRef): void;
  /** Durably, no record names it any more. */
  freed(ref: PayloadRef): void;
}
