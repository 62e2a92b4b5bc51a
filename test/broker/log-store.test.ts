/**
 * The port below the log (S1 to S5 of `store.ts`), for each store. LMDB is also compared with memory at random, since the
 * tests of `GroupedLog` believe that the two read alike.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { LmdbStore } from '../../broker/log/lmdb.ts';
import { MemoryStore } from '../../broker/log/memory.ts';
import { TABLES } from '../../broker/log/store.ts';
import type { Change, LogStore, Table } from '../../broker/log/store.ts';
import { systemClock } from '../../main/time.ts';
import { rowsOf } from './log-tables.ts';

let folder: string;
let store: LogStore;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'knear-store-'));
});

afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

const STORES = [
  { name: 'memory', open: async (): Promise<LogStore> => new MemoryStore() },
  { name: 'LMDB', open: (): Promise<LogStore> => LmdbStore.open({ folder, clock: systemClock }) },
];

describe.each(STORES)('$name', ({ open }) => {
  beforeEach(async () => {
    store = await open();
  });

  test('S2: what was committed is read, by key and by range', async () => {
    await store.commit([put('ready', [1, 2], 'one'), put('ready', [1, 3], 'two')]);
    expect(store.get('ready', bytes([1, 2]))?.toString()).toBe('one');
    expect(listed('ready')).toEqual(['0102 one', '0103 two']);
  });

  test('what is not there is undefined, and removing it is no error', async () => {
    await store.commit([{ table: 'ready', key: bytes([9]) }]);
    expect(store.get('ready', bytes([9]))).toBeUndefined();
    expect(listed('ready')).toEqual([]);
  });

  test('tables do not share their keys', async () => {
    await store.commit(
      TABLES.filter((table) => table !== 'info').map((table) => put(table, [7], table)),
    );
    for (const table of TABLES.filter((name) => name !== 'info')) {
      expect(store.get(table, bytes([7]))?.toString()).toBe(table);
    }
  });

  test('S1: of several changes to a key in one commit the last one counts', async () => {
    await store.commit([put('work', [1], 'old'), put('refs', [1], 'gone')]);
    await store.commit([
      { table: 'work', key: bytes([1]) },
      put('work', [1], 'new'),
      put('refs', [1], 'again'),
      { table: 'refs', key: bytes([1]) },
    ]);
    expect(listed('work')).toEqual(['01 new']);
    expect(listed('refs')).toEqual([]);
  });

  test('a range begins with `from`, ends before `to`, is ascending and no longer than its limit', async () => {
    const keys = [[0], [0, 255], [1], [1, 0], [127], [128], [255], [255, 255]];
    await store.commit(keys.toReversed().map((key) => put('timer', key, 'x')));
    const range = (from: number[], to: number[], limit = 99) =>
      store.range('timer', { from: bytes(from), to: bytes(to), limit }).map(({ key }) => [...key]);
    expect(range([0], [255, 255, 0])).toEqual(keys);
    expect(range([1], [128])).toEqual([[1], [1, 0], [127]]);
    expect(range([0, 1], [255], 2)).toEqual([[0, 255], [1]]);
    expect(range([2], [3])).toEqual([]);
    expect(range([3], [2])).toEqual([]);
    expect(range([0], [255], 0)).toEqual([]);
  });

  test('S5: what was read stays as it was, whatever is written afterwards', async () => {
    await store.commit([put('event', [1], 'before'), put('event', [2], 'other')]);
    const value = store.get('event', bytes([1]));
    const rows = rowsOf(store, 'event');
    for (let round = 0; round < 20; round += 1) {
      await store.commit([
        put('event', [1], `after ${round}`),
        { table: 'event', key: bytes([2]) },
      ]);
      await store.commit([put('ready', [round], 'x'.repeat(5_000))]);
    }
    expect(value?.toString()).toBe('before');
    expect(rows.map((row) => `${row.key.toString('hex')} ${row.value.toString()}`)).toEqual([
      '01 before',
      '02 other',
    ]);
  });

  test('S5: what was given to a commit belongs to the caller again when it has resolved', async () => {
    const key = bytes([1]);
    const value = Buffer.from('before');
    await store.commit([{ table: 'event', key, value }]);
    key.fill(9);
    value.fill('x');
    expect(listed('event')).toEqual(['01 before']);
  });

  test('values may be empty, and larger than many pages', async () => {
    const large = Buffer.alloc(3 << 20, 'knear');
    await store.commit([
      { table: 'parked', key: bytes([1]), value: Buffer.alloc(0) },
      { table: 'parked', key: bytes([2]), value: large },
    ]);
    expect(store.get('parked', bytes([1]))).toHaveLength(0);
    expect(store.get('parked', bytes([2]))?.equals(large)).toBe(true);
  });
});

test('LMDB reads as memory does, whatever is written', async () => {
  store = await LmdbStore.open({ folder, clock: systemClock });
  const memory = new MemoryStore();
  const change: fc.Arbitrary<Change> = fc
    .record({
      table: fc.constantFrom<Table>('ready', 'work', 'refs', 'timer'),
      key: fc.uint8Array({ minLength: 1, maxLength: 3, max: 3 }),
      value: fc.option(fc.uint8Array({ maxLength: 9 }), { nil: undefined }),
    })
    .map(({ table, key, value }) => ({ table, key, ...(value && { value }) }));
  const property = fc.asyncProperty(fc.array(change, { maxLength: 30 }), async (changes) => {
    await Promise.all([store.commit(changes), memory.commit(changes)]);
    for (const table of ['ready', 'work', 'refs', 'timer'] as const) {
      expect(rowsOf(store, table)).toEqual(rowsOf(memory, table));
    }
  });
  await fc.assert(property, { numRuns: 50 });
});

function bytes(key: number[]): Buffer {
  return Buffer.from(key);
}

function put(table: Table, key: number[], value: string): Change {
  return { table, key: bytes(key), value: Buffer.from(value) };
}

function listed(table: Table): string[] {
  return rowsOf(store, table).map(({ key, value }) => `${key.toString('hex')} ${value.toString()}`);
}
