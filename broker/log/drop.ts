/** What is left of a deleted egress goes, in batches, so that a million rows do not become one commit. */
import type { Accounts } from './accounts.ts';
import type { Committer } from './committer.ts';
import type { EgressQueue } from './egress-queue.ts';
import type { Group } from './group.ts';
import { numberKey, rowKey, rowKeyPosition, timerKey } from './keys.ts';
import { decodeWork } from './record.ts';
import type { Records } from './records.ts';
import type { LogStore, StoredRow } from './store.ts';

/** Rows removed by one commit: about as long as a group of records. */
const BATCH = 500;

/** Work first: it knows of timers and origins; what is then left in `ready` is plain. */
const TABLES = ['work', 'ready', 'parked'] as const;

/** What the open group would write for the queue. */
export function dropFromMemory(context: {
  readonly committer: Committer;
  readonly records: Records;
  readonly queue: EgressQueue;
}): void {
  const { committer, records, queue } = context;
  const { open: group } = committer;
  for (const entry of group.entries) {
    const row = entry.rows.get(queue);
    if (!row) continue;
    entry.rows.delete(queue);
    if (row.kind === 'work' && row.origin !== undefined) {
      const { origin: position } = row;
      const origin = [...committer.entriesInMemory()].find((each) => each.position === position);
      group.refer(position, -1, origin ?? records.read(position));
    }
    if (row.kind === 'ready') {
      entry.countSettle();
      continue;
    }
    // It was settled before, perhaps with outputs that are in this group: it counts with them.
    group.listeners.push({
      safe: () => entry.countSettle(),
      failed: (error) => entry.withdraw(error),
    });
  }
}

export interface DropContext {
  readonly store: LogStore;
  readonly records: Records;
  readonly queue: EgressQueue;
  readonly group: Group;
  readonly accounts: Accounts;
}

/** Puts the removal of some rows into the group; false when there was nothing left. */
export function dropBatch(context: DropContext): boolean {
  const { store, queue, group } = context;
  for (const table of TABLES) {
    const rows = store.range(table, {
      from: rowKey(queue.number, 0),
      to: rowKey(queue.number + 1, 0),
      limit: BATCH,
    });
    if (rows.length === 0) continue;
    for (const row of rows) dropRow(context, table, row);
    return true;
  }
  if (!store.get('egress', numberKey(queue.number))) return false;
  group.change(context.accounts.removeRow(queue));
  return true;
}

function dropRow(context: DropContext, table: (typeof TABLES)[number], row: StoredRow): void {
  const { records, queue, group } = context;
  const { key, value } = row;
  const position = rowKeyPosition(key);
  group.change({ table, key });
  group.refer(position, -1, records.read(position));
  if (table !== 'work') return;
  // A Work row stands beside a ready row or a timer: one reference for both.
  const { dueAtMs, origin } = decodeWork(value);
  group.change({ table: 'ready', key });
  if (dueAtMs > 0) {
    group.change({ table: 'timer', key: timerKey(dueAtMs, queue.number, position) });
  }
  if (origin !== undefined) group.refer(origin, -1, records.read(origin));
}
