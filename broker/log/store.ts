/**
 * The small port below `GroupedLog`: a few sorted tables on one disk, changed by atomic commits. Everything that makes
 * a log of them (grouping, early delivery, leases, timers) is above, so that LMDB, plain memory and the simulator's
 * crashing disk differ only in this.
 *
 * S1 A commit is all or nothing, also across a crash.
 * S2 A commit that resolved survives whatever `durability` says, and is seen by every later read.
 * S3 After a commit that rejected, reads show what they showed before it.
 * S4 One commit at a time: the caller waits for the last before it starts the next.
 * S5 Reads never wait and never keep anything open: what they return belongs to the caller.
 */
import type { LogSupports } from '../../core/ports/event-log.ts';

/** The tables; keys are big-endian, see `keys.ts`. */
export const TABLES = [
  'info',
  'egress',
  'ingress',
  'event',
  'refs',
  'ready',
  'work',
  'timer',
  'parked',
  'claim',
] as const;
export type Table = (typeof TABLES)[number];

export interface Change {
  readonly table: Table;
  readonly key: Uint8Array;
  /** Absent: the row is removed; removing what is not there is no error. */
  readonly value?: Uint8Array;
}

export interface LogStore {
  readonly durability: LogSupports['durability'];
  get(table: Table, key: Uint8Array): Buffer | undefined;
  /** Rows with `from <= key < to`, ascending, at most `limit`. */
  range(table: Table, bounds: { from: Uint8Array; to: Uint8Array; limit: number }): StoredRow[];
  /** @throws whatever the disk says; the caller decides what it means. */
  commit(changes: readonly Change[]): Promise<void>;
  /** Bytes that could still be written before the disk is full, as of a moment ago. */
  freeBytes(): number;
  /** Bytes that the store takes on the disk, what it has freed within included, as of a moment ago. */
  sizeBytes(): number;
  close(): Promise<void>;
}

export interface StoredRow {
  readonly key: Buffer;
  readonly value: Buffer;
}
