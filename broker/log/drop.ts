/** What is left of a deleted egress goes, in batches, so that a million rows do not become one commit. */
import { numberKey, rowKey, rowKeyPosition, timerKey } from './keys.ts';
import type { EgressQueue } from './egress-queue.ts';
import type { Group } from './group.ts';
import { decodeWork } from './record.ts';
import type { Records } from './records.ts';
import type { Change, LogStore, StoredRow } from './store.ts';

/** Rows removed by one commit: about as long as a group of records. */
const BATCH = 500;

/** Work first: it knows of timers and origins; what is then left in `ready` is plain. */
const TABLES = ['work', 'ready', 'parked'] as const;

export interface DropContext {
  readonly store: LogStore;
  readonly records: Records;
  readonly queue: EgressQueue;
  readonly group: Group;
  /** Says on disk that the queue is gone: goes with each batch, because the first time it may not have been written. */
  readonly mark: Change;
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
    group.change(context.mark);
    for (const row of rows) dropRow(context, table, row);
    return true;
  }
  const key = numberKey(queue.number);
  if (!store.get('egress', key)) return false;
  group.change({ table: 'egress', key });
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
