/**
 * Large payloads, as the door and the dispatcher see them: taken in piece by piece, handed out verified. Nothing here
 * holds more of a payload in memory than its bounds say.
 */
import type { PayloadRef } from '../event.ts';

export interface Payloads {
  /**
   * A place for data that arrives piece by piece and may turn out to be large.
   * @throws KNEAR_UPLOADS_BUSY, KNEAR_PAYLOAD_QUOTA, KNEAR_PAYLOAD_STORE_FULL, KNEAR_PAYLOAD_STORE_AWAY,
   *   KNEAR_PAYLOAD_STORE_DENIED when `heldMaxBytes` is 0 and it can be said before a byte is read.
   */
  receive(options: ReceiveOptions): Intake;

  /** The bytes, if they are in memory: complete and verified. Whoever got them gives them back. */
  lend(ref: PayloadRef): LentBytes | undefined;

  /**
   * The bytes, in pieces. The last piece comes only when size and digest of all are right (K30): whoever passes on the
   * pieces as they come never passes on a wrong payload whole. Nothing is opened before the first piece is asked for, and
   * `return()` gives back what is open.
   * Throws KNEAR_PAYLOAD_MISSING, KNEAR_PAYLOAD_CORRUPT (after a second look), KNEAR_PAYLOAD_REDACTED, KNEAR_PAYLOAD_STORE_AWAY
   * or KNEAR_PAYLOAD_STORE_DENIED.
   */
  open(ref: PayloadRef): AsyncGenerator<Uint8Array, void, undefined>;

  /** Whoever got the ref from `Intake.finish` needs it no more by itself: the log does, or nobody. Once a ref. */
  release(ref: PayloadRef): void;
}

export interface ReceiveOptions {
  /** Namespace that it is kept and counted for. */
  readonly tenant: string;
  /** Bytes of payloads that the namespace may have. */
  readonly quotaBytes?: number | undefined;
  /** Up to here it is held in memory, above in the spool; 0: in the spool from the first byte. */
  readonly heldMaxBytes: number;
  /** As declared, if it is: what does not fit is refused before it comes. */
  readonly sizeBytes?: number | undefined;
}

/** Bytes that stay in memory as long as they are lent, and count as such. */
export interface LentBytes {
  readonly bytes: Uint8Array;
  /** Once. */
  giveBack(): void;
}

/** One payload on its way in. Ends by `finish` or `discard`. */
export interface Intake {
  /** So far. */
  readonly sizeBytes: number;
  /** Bytes of it in memory. */
  readonly heldBytes: number;

  /**
   * Takes the next piece, which is the intake's from then on. `undefined`: go on; a promise: wait for it, so that memory
   * stays bounded. Rejects or throws with the codes of `receive`; nothing more can be written then.
   */
  write(piece: Uint8Array): Promise<void> | undefined;

  /** All that was written, again, before `finish`: for data whose form shows only when all of it has come. */
  reread(): AsyncIterable<Uint8Array>;

  /**
   * All has come. The bytes if they may travel with the event, `undefined` if there are none, else a ref: durable, and held
   * until `Payloads.release`.
   * @param inlineMaxBytes the most that may travel with the event.
   * @throws the codes of `receive`; nothing is left behind.
   */
  finish(
    inlineMaxBytes: number,
    facts?: PayloadFacts,
  ): Promise<Uint8Array | PayloadRef | undefined>;

  /** Nothing of it is left. Idempotent; nothing after `finish`. */
  discard(): void;
}

export interface PayloadFacts {
  readonly isJson?: boolean;
}
