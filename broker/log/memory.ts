/** A LogStore in plain memory: the log of tests and of the simulator, and the simplest reading of the contract. */
import type { Change, LogStore, StoredRow, Table } from './store.ts';

export class MemoryStore implements LogStore {
  readonly durability = 'none';
  readonly #tables = new Map<Table, SortedRows>();

  get(table: Table, key: Uint8Array): Buffer | undefined {
    return this.#rows(table).get(key);
  }

  range(table: Table, bounds: { from: Uint8Array; to: Uint8Array; limit: number }): StoredRow[] {
    return this.#rows(table).range(bounds);
  }

  commit(changes: readonly Change[]): Promise<void> {
    this.apply(changes);
    return Promise.resolve();
  }

  /** The commit itself, at once: what a simulated disk calls when its flush is due. */
  apply(changes: readonly Change[]): void {
    for (const { table, key, value } of changes) {
      if (value) this.#rows(table).set(key, Buffer.from(value));
      else this.#rows(table).delete(key);
    }
  }

  freeBytes(): number {
    return Number.POSITIVE_INFINITY;
  }

  sizeBytes(): number {
    return 0;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #rows(table: Table): SortedRows {
    let rows = this.#tables.get(table);
    if (!rows) this.#tables.set(table, (rows = new SortedRows()));
    return rows;
  }
}

/** Byte strings as latin1 text: text order is byte order, and a Map can hold them. */
class SortedRows {
  readonly #keys: string[] = [];
  readonly #values = new Map<string, Buffer>();

  get(key: Uint8Array): Buffer | undefined {
    return this.#values.get(text(key));
  }

  set(key: Uint8Array, value: Buffer): void {
    const name = text(key);
    if (!this.#values.has(name)) this.#keys.splice(this.#indexOf(name), 0, name);
    this.#values.set(name, value);
  }

  delete(key: Uint8Array): void {
    const name = text(key);
    if (this.#values.delete(name)) this.#keys.splice(this.#indexOf(name), 1);
  }

  range({ from, to, limit }: { from: Uint8Array; to: Uint8Array; limit: number }): StoredRow[] {
    const rows: StoredRow[] = [];
    const end = text(to);
    for (let index = this.#indexOf(text(from)); rows.length < limit; index += 1) {
      const name = this.#keys[index];
      const value = name === undefined ? undefined : this.#values.get(name);
      if (name === undefined || value === undefined || name >= end) break;
      rows.push({ key: Buffer.from(name, 'latin1'), value });
    }
    return rows;
  }

  /** Index of the first key that is not below `name`. */
  #indexOf(name: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] ?? '') < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
