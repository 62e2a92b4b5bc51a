/**
 * The log on LMDB: what `knear serve` keeps on a laptop. This file only maps tables to LMDB databases and disk trouble to
 * codes; how a log is made of them is `grouped-log.ts`.
 *
 * `overlappingSync: false`: a resolved commit is on the disk. Reads happen in LMDB's own short snapshot, which is renewed
 * after each commit of ours (S2). The file keeps its high-water mark: freed pages are used again, never given back.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, stat, statfs } from 'node:fs/promises';
import path from 'node:path';

import { open } from 'lmdb';
import type { Database, RootDatabase } from 'lmdb';

import { codeOf, KnearError, messageOf } from '../../core/errors.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import { FORMAT_KEY, LOG_ID_KEY } from './keys.ts';
import { prepareFile } from './lmdb-file.ts';
import { acquireOwnerLock } from './owner-lock.ts';
import type { OwnerLock } from './owner-lock.ts';
import { TABLES } from './store.ts';
import type { Change, LogStore, StoredRow, Table } from './store.ts';

/** Grows when keys or tables change their meaning; rows carry a version of their own. */
const FORMAT = 1;
/** How old the answer to `freeBytes` may be: at 1 GB/s a disk loses a tenth of the smallest reserve in this time. */
const SPACE_CHECK_MS = 250;

type Rows = Database<Buffer, Buffer>;

export class LmdbStore implements LogStore {
  readonly durability = 'machine';
  readonly #root: RootDatabase<Buffer, Buffer>;
  readonly #tables: ReadonlyMap<Table, Rows>;
  readonly #lock: OwnerLock;
  readonly #folder: string;
  readonly #clock: Clock;
  #freeBytes = Number.POSITIVE_INFINITY;
  #sizeBytes = 0;
  #spaceTimer: Timer | undefined;
  #isClosed = false;
  #id = '';

  private constructor(options: {
    root: RootDatabase<Buffer, Buffer>;
    lock: OwnerLock;
    folder: string;
    clock: Clock;
  }) {
    this.#root = options.root;
    this.#lock = options.lock;
    this.#folder = options.folder;
    this.#clock = options.clock;
    const openTable = (name: Table): [Table, Rows] => [
      name,
      options.root.openDB<Buffer, Buffer>({ name, keyEncoding: 'binary', encoding: 'binary' }),
    ];
    this.#tables = new Map(TABLES.map(openTable));
  }

  /**
   * Opens (or creates) the log in `<folder>/log`, as its only owner.
   * @throws KNEAR_LOG_LOCKED when another process owns the folder, KNEAR_LOG_CORRUPT when the file is damaged,
   *   KNEAR_LOG_FORMAT when another version wrote it, KNEAR_LOG_FAILED when the folder cannot be written.
   */
  static async open({ folder, clock }: { folder: string; clock: Clock }): Promise<LmdbStore> {
    await mkdir(folder, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
      const detail = `the data folder ${folder} cannot be created: ${messageOf(cause)}`;
      throw new KnearError('KNEAR_LOG_FAILED', detail, { cause });
    });
    const lock = await acquireOwnerLock(folder);
    let root: RootDatabase<Buffer, Buffer> | undefined;
    try {
      await prepareFile(fileIn(folder)).catch((error: unknown) => {
        throw asLogError(error, `opening the log in ${folder}`);
      });
      root = openRoot(folder);
      const store = new LmdbStore({ root, lock, folder, clock });
      await store.#checkFormat();
      await store.#watchSpace();
      return store;
    } catch (error) {
      await root?.close();
      await lock.release();
      throw asLogError(error, `opening the log in ${folder}`);
    }
  }

  /** Random, made with the log: its payloads are known by it (K45). */
  get id(): string {
    return this.#id;
  }

  get(table: Table, key: Uint8Array): Buffer | undefined {
    return this.#reading(table, () => this.#rows(table).getBinary(asBuffer(key)));
  }

  range(table: Table, bounds: { from: Uint8Array; to: Uint8Array; limit: number }): StoredRow[] {
    const options = { start: asBuffer(bounds.from), end: asBuffer(bounds.to), limit: bounds.limit };
    // S5: LMDB hands out its own memory for keys, which the next transaction may change.
    const copy = ({ key, value }: StoredRow) => ({ key: Buffer.from(key), value });
    return this.#reading(table, () => Array.from(this.#rows(table).getRange(options), copy));
  }

  async commit(changes: readonly Change[]): Promise<void> {
    const writes: Promise<unknown>[] = [];
    const batch = this.#root.batch(() => {
      for (const { table, key, value } of changes) {
        const rows = this.#rows(table);
        if (!value) writes.push(rows.remove(asBuffer(key)));
        // Positions only grow: appending at the end packs pages full (a third less file, measured).
        else if (table === 'event') writes.push(rows.put(asBuffer(key), asBuffer(value), APPEND));
        else writes.push(rows.put(asBuffer(key), asBuffer(value)));
      }
    });
    // All of them fail when the commit fails; each rejection has to be taken, or it ends the process.
    const results = await Promise.allSettled([batch, ...writes]);
    this.#root.resetReadTxn();
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw await diskErrorOf(failed.reason);
  }

  freeBytes(): number {
    return this.#freeBytes;
  }

  sizeBytes(): number {
    return this.#sizeBytes;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#spaceTimer?.cancel();
    await this.#root.close();
    await this.#lock.release();
  }

  #rows(table: Table): Rows {
    const rows = this.#tables.get(table);
    if (!rows) throw new Error(`no table ${table}`);
    return rows;
  }

  #reading<Value>(table: Table, read: () => Value): Value {
    if (this.#isClosed) throw new KnearError('KNEAR_CLOSED', 'the event log is closed');
    try {
      return read();
    } catch (error) {
      // LMDB refuses every further read of a snapshot in which one failed.
      this.#root.resetReadTxn();
      throw asLogError(error, `reading the table ${table}`);
    }
  }

  async #checkFormat(): Promise<void> {
    const all = { from: Buffer.alloc(0), to: Buffer.alloc(32, 0xff), limit: 1 };
    // Damage at the top of a table shows here, not when the first event comes.
    for (const table of TABLES) this.range(table, all);
    const stored = this.get('info', FORMAT_KEY);
    if (!stored) {
      await this.commit([{ table: 'info', key: FORMAT_KEY, value: Buffer.from([FORMAT]) }]);
    } else if (stored[0] !== FORMAT) {
      const detail = `the log in ${this.#folder} has format ${stored[0] ?? 'none'}, this program reads ${FORMAT}: start the version that wrote it`;
      throw new KnearError('KNEAR_LOG_FORMAT', detail);
    }
    this.#id = await this.#ownId();
  }

  async #ownId(): Promise<string> {
    const stored = this.get('info', LOG_ID_KEY);
    if (stored) return stored.toString('latin1');
    const id = randomBytes(16).toString('base64url');
    await this.commit([{ table: 'info', key: LOG_ID_KEY, value: Buffer.from(id) }]);
    return id;
  }

  async #watchSpace(): Promise<void> {
    try {
      const { bavail, bsize } = await statfs(this.#folder);
      this.#freeBytes = bavail * bsize;
      this.#sizeBytes = (await stat(fileIn(this.#folder))).size;
    } catch {
      // Best effort: a disk that cannot be asked is found full by the commit that fails.
      this.#freeBytes = Number.POSITIVE_INFINITY;
    }
    if (this.#isClosed) return;
    this.#spaceTimer = this.#clock.after(SPACE_CHECK_MS, () => {
      void this.#watchSpace();
    });
  }
}

// lmdb takes options in the place of a version for databases without versions; its types know only the version.
const APPEND = { append: true } as unknown as number;

const fileIn = (folder: string): string => path.join(folder, 'log');

function openRoot(folder: string): RootDatabase<Buffer, Buffer> {
  try {
    return open<Buffer, Buffer>({
      path: fileIn(folder),
      noSubdir: true,
      maxDbs: TABLES.length + 1,
      keyEncoding: 'binary',
      encoding: 'binary',
      compression: false,
      cache: false,
      overlappingSync: false,
      // Its batches hold a promise of their own that nobody could handle when a commit fails.
      eventTurnBatching: false,
    });
  } catch (cause) {
    const detail = `the log in ${folder} cannot be opened: ${messageOf(cause)}; restore the data folder from a backup, or move it away to start with an empty log`;
    throw new KnearError('KNEAR_LOG_CORRUPT', detail, { cause });
  }
}

/** LMDB's own codes (MDB_CORRUPTED and the like) are below -30,000; the rest is what the disk says. */
function asLogError(error: unknown, what: string): unknown {
  if (codeOf(error)) return error;
  const { code } = error as { code?: unknown };
  const isDamage = typeof code === 'number' && code < -30_000;
  const advice = isDamage
    ? 'restore the data folder from a backup, or move it away to start with an empty log'
    : 'check the disk of the data folder';
  const detail = `${what} failed: ${messageOf(error)}; ${advice}`;
  return new KnearError(isDamage ? 'KNEAR_LOG_CORRUPT' : 'KNEAR_LOG_FAILED', detail, {
    cause: error,
  });
}

/** What the disk said: lmdb's own error only refers to it, by a promise that is rejected by now. */
async function diskErrorOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<never> };
  if (!commitError) return error;
  const nothing = Promise.resolve();
  // A few microtasks at most, so that a change in lmdb cannot make a commit wait for ever.
  const patience = nothing.then(() => nothing).then(() => error);
  return Promise.race([commitError.catch((cause: unknown) => cause), patience]);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
