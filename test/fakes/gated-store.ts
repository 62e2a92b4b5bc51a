/**
 * A `LogStore` in memory whose commits wait for the test: `pass` makes the oldest durable, `fail` rejects it. Until then
 * reads show what they showed before (S3), so that everything which may happen during a flush can be played through.
 * Two commits at once are an error of the caller (S4) and throw.
 */
import { strict as assert } from 'node:assert';

import { MemoryStore } from '../../broker/log/memory.ts';
import type { Change, LogStore, StoredRow, Table } from '../../broker/log/store.ts';
import { KnearError } from '../../core/errors.ts';

export class GatedStore implements LogStore {
  readonly durability = 'none';
  /** What the disk holds. Another store over the same tables is the next process after a crash. */
  readonly tables: MemoryStore;
  /** False: commits pass by themselves, a microtask after they were asked for. */
  isGated = true;
  /** Commits asked for so far, probes included. */
  commitCount = 0;
  /** `freeBytes`, as the next caller sees it. */
  free = Number.POSITIVE_INFINITY;
  /** Rows that `range` has returned so far. */
  rowsRead = 0;
  /** Records that `get` has returned so far. */
  eventsRead = 0;
  closeCount = 0;
  /** Reads of this table fail, as those of a damaged page do. */
  brokenTable: Table | undefined;
  #pending: Pending | undefined;

  constructor(tables = new MemoryStore()) {
    this.tables = tables;
  }

  /** The changes that wait to be durable, if any. */
  get pending(): readonly Change[] | undefined {
    return this.#pending?.changes;
  }

  /** The commit that waits becomes durable. */
  pass(): void {
    const pending = this.#take();
    this.tables.apply(pending.changes);
    pending.resolve();
  }

  /** The commit that waits fails; nothing of it is kept. */
  fail(error: Error = new Error('the disk is gone')): void {
    this.#take().reject(error);
  }

  get(table: Table, key: Uint8Array): Buffer | undefined {
    this.#breakIfTold(table);
    if (table === 'event') this.eventsRead += 1;
    return this.tables.get(table, key);
  }

  range(table: Table, bounds: { from: Uint8Array; to: Uint8Array; limit: number }): StoredRow[] {
    this.#breakIfTold(table);
    const rows = this.tables.range(table, bounds);
    this.rowsRead += rows.length;
    return rows;
  }

  async commit(changes: readonly Change[]): Promise<void> {
    assert(this.#pending === undefined, 'S4: one commit at a time');
    assert(this.closeCount === 0, 'nothing is written to a closed store');
    this.commitCount += 1;
    const isDurable = new Promise<void>((resolve, reject) => {
      this.#pending = { changes, resolve, reject };
    });
    if (!this.isGated) {
      await Promise.resolve();
      this.pass();
    }
    await isDurable;
  }

  sizeBytes(): number {
    return 0;
  }

  freeBytes(): number {
    return this.free;
  }

  close(): Promise<void> {
    this.closeCount += 1;
    return Promise.resolve();
  }

  #breakIfTold(table: Table): void {
    if (table === this.brokenTable)
      throw new KnearError('KNEAR_LOG_CORRUPT', `${table} is damaged`);
  }

  #take(): Pending {
    const pending = this.#pending;
    assert(pending, 'no commit waits');
    this.#pending = undefined;
    return pending;
  }
}

interface Pending {
  readonly changes: readonly Change[];
  resolve(): void;
  reject(error: Error): void;
}
