/** A payload store in memory that counts what is asked of it, and that can refuse, wait, and hand out other bytes. */
import { Readable } from 'node:stream';
import { MemoryPayloadStore } from '../../broker/payload/memory-store.ts';
import type { KnearError } from '../../core/errors.ts';
import type { PayloadRef } from '../../core/event.ts';
import type { SpoolFile } from '../../core/ports/payload-store.ts';

type Operation = 'put' | 'open' | 'remove' | 'identity';

export class ScriptedPayloadStore extends MemoryPayloadStore {
  /** How often each was asked for, whatever became of it. */
  readonly calls: Record<Operation, number> = { put: 0, open: 0, remove: 0, identity: 0 };
  readonly #failures = new Map<Operation, KnearError>();
  readonly #lateFailures = new Map<Operation, KnearError>();
  readonly #holds = new Map<Operation, Promise<void>>();
  /** What the next `open` hands out instead, once each. */
  readonly spoiled: ((own: Readable) => AsyncIterable<Uint8Array>)[] = [];

  /** The operation fails with this from now on; without it, no longer. */
  fail(operation: Operation, failure?: KnearError): void {
    if (failure) this.#failures.set(operation, failure);
    else this.#failures.delete(operation);
  }

  /** The next time, it fails after it was done. */
  failAfter(operation: Operation, failure: KnearError): void {
    this.#lateFailures.set(operation, failure);
  }

  /** The operation waits until the function that this returns is called. */
  hold(operation: Operation): () => void {
    let release = (): void => undefined;
    this.#holds.set(operation, new Promise((resolve) => (release = resolve)));
    return () => {
      this.#holds.delete(operation);
      release();
    };
  }

  override async put(ref: PayloadRef, spool: SpoolFile): Promise<void> {
    await this.#begin('put');
    await super.put(ref, spool);
    this.#end('put');
  }

  override async open(...call: Parameters<MemoryPayloadStore['open']>): Promise<Readable> {
    await this.#begin('open');
    const own = await super.open(...call);
    const spoil = this.spoiled.shift();
    return spoil ? Readable.from(spoil(own), { objectMode: false }) : own;
  }

  override async remove(payload: Pick<PayloadRef, 'tenant' | 'key'>): Promise<void> {
    await this.#begin('remove');
    await super.remove(payload);
    this.#end('remove');
  }

  override async identity(
    id: string,
    options: { readonly mayAdopt: boolean },
  ): Promise<string | undefined> {
    await this.#begin('identity');
    return super.identity(id, options);
  }

  async #begin(operation: Operation): Promise<void> {
    this.calls[operation] += 1;
    await this.#holds.get(operation);
    const failure = this.#failures.get(operation);
    if (failure) throw failure;
  }

  #end(operation: Operation): void {
    const failure = this.#lateFailures.get(operation);
    this.#lateFailures.delete(operation);
    if (failure) throw failure;
  }
}
