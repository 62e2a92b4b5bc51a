/**
 * One payload on its way in: in memory as long as it is small, then in the spool, at last in the store.
 *
 * - K2 What is larger than may be held goes to the spool with what came before, and from then on takes no more memory
 *   than the spool's writes.
 * - K3 Empty data is never claimed.
 */
import { strict as assert } from 'node:assert';

import type { PayloadRef } from '../../core/event.ts';
import type { Intake, PayloadFacts, ReceiveOptions } from '../../core/ports/payloads.ts';
import type { SpoolWriter } from './spool.ts';

/** What an intake needs of the whole (`payloads.ts`). */
export interface IntakeOwner {
  /** @throws the codes of `Payloads.receive` */
  spool(options: ReceiveOptions): SpoolWriter;
  /** Whether a payload of this size, if it is known, may have a copy in memory, which spares reading it soon. */
  mayRetain(sizeBytes: number | undefined): boolean;
  /** Whether so much more of a copy has room. */
  retain(bytes: number): boolean;
  /** Bytes went through memory, and are garbage by now. */
  passed(bytes: number): void;
  unretain(bytes: number): void;
  /** The spool does not take it. */
  refused(error: unknown): void;
  /** Makes it a payload, durable and held; then the spool file is the store's. */
  keep(
    spooled: { readonly sha256: string; readonly sizeBytes: number; readonly path: string },
    options: ReceiveOptions,
    extra: { readonly facts: PayloadFacts; readonly bytes: Uint8Array | undefined },
  ): Promise<PayloadRef>;
  /** The writer has ended, with whatever result. */
  over(writer: SpoolWriter): void;
}

export class SpooledIntake implements Intake {
  readonly #owner: IntakeOwner;
  readonly #options: ReceiveOptions;
  #sizeBytes = 0;
  /** All of it, while it is held or a copy is kept. */
  #pieces: Uint8Array[] | undefined = [];
  #retainedBytes = 0;
  #writer: SpoolWriter | undefined;
  #isRefused = false;
  #isOver = false;

  /** @throws the codes of `Payloads.receive` */
  constructor(owner: IntakeOwner, options: ReceiveOptions) {
    this.#owner = owner;
    this.#options = options;
    if (options.heldMaxBytes === 0) this.#writer = owner.spool(options);
    // A copy that will not fit is not begun.
    if (this.#writer && !owner.mayRetain(options.sizeBytes)) this.#pieces = undefined;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get heldBytes(): number {
    return this.#writer ? 0 : this.#sizeBytes;
  }

  write(piece: Uint8Array): Promise<void> | undefined {
    assert(!this.#isOver, 'written after the end');
    this.#sizeBytes += piece.byteLength;
    if (this.#writer) {
      this.#owner.passed(piece.byteLength);
      this.#copy(piece);
      return this.#watched(this.#writer.write(piece));
    }
    this.#pieces?.push(piece);
    return this.#sizeBytes > this.#options.heldMaxBytes ? this.#spill() : undefined;
  }

  async *reread(): AsyncGenerator<Uint8Array> {
    if (this.#writer) yield* this.#writer.reread();
    else yield* this.#pieces ?? [];
  }

  async finish(
    inlineMaxBytes: number,
    facts: PayloadFacts = {},
  ): Promise<Uint8Array | PayloadRef | undefined> {
    if (!this.#writer && this.#sizeBytes <= inlineMaxBytes) {
      this.#isOver = true;
      return this.#sizeBytes === 0 ? undefined : this.#joined();
    }
    if (this.#sizeBytes === 0) {
      this.discard();
      return undefined;
    }
    try {
      await this.#spill();
      return await this.#claim(facts);
    } finally {
      this.discard();
    }
  }

  discard(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#forgetCopy();
    if (!this.#writer) return;
    this.#writer.discard();
    this.#owner.over(this.#writer);
  }

  async #claim(facts: PayloadFacts): Promise<PayloadRef> {
    assert(this.#writer, 'only what is spooled is claimed');
    const { file, sha256 } = await this.#watched(this.#writer.end());
    const bytes = this.#pieces && this.#joined();
    return this.#owner.keep({ ...file, sha256 }, this.#options, { facts, bytes });
  }

  /** What came so far goes to the spool. */
  #spill(): Promise<void> | undefined {
    if (this.#writer) return undefined;
    this.#writer = this.#owner.spool({ ...this.#options, heldMaxBytes: 0 });
    const pieces = this.#pieces ?? [];
    this.#pieces = [];
    let wait: Promise<void> | undefined;
    for (const piece of pieces) {
      this.#copy(piece);
      wait = this.#watched(this.#writer.write(piece)) ?? wait;
    }
    return wait;
  }

  /** After a write that failed all fail, for the same reason, which is told once. */
  #watched<Wait extends Promise<unknown> | undefined>(wait: Wait): Wait {
    wait?.catch((error: unknown) => {
      if (!this.#isRefused && !this.#isOver) this.#owner.refused(error);
      this.#isRefused = true;
    });
    return wait;
  }

  /** Keeps the piece beside the spool as long as there is room for all of them. */
  #copy(piece: Uint8Array): void {
    if (!this.#pieces) return;
    if (this.#owner.retain(piece.byteLength)) {
      this.#retainedBytes += piece.byteLength;
      this.#pieces.push(piece);
    } else {
      this.#forgetCopy();
    }
  }

  #forgetCopy(): void {
    this.#pieces = undefined;
    this.#owner.unretain(this.#retainedBytes);
    this.#retainedBytes = 0;
  }

  #joined(): Uint8Array {
    const pieces = this.#pieces ?? [];
    const [first] = pieces;
    return pieces.length === 1 && first ? first : Buffer.concat(pieces, this.#sizeBytes);
  }
}
