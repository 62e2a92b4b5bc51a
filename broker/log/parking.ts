/**
 * Parked entries and their bound: past it the oldest entry of the egress is dropped, counted and
 * reported; a new entry never drops itself.
 */
import type { Position } from '../../core/ports/event-log.ts';
import type { Observer } from '../../core/ports/observer.ts';
import type { LogLimits } from './accounts.ts';
import type { EgressQueue } from './egress-queue.ts';
import type { Group, RecordSize } from './group.ts';
import { rowKey, rowKeyPosition } from './keys.ts';
import { decodeParked } from './record.ts';
import type { StoredParked } from './record.ts';
import type { LogStore } from './store.ts';

/** How many entries are looked at in one go when they are judged by age. */
const AGE_BATCH = 1_000;

export interface ParkedRow {
  readonly position: Position;
  readonly parked: StoredParked;
}

export interface ParkingContext {
  readonly store: LogStore;
  readonly limits: LogLimits;
  readonly observer: Observer;
  openGroup(): Group;
  recordSize(position: Position): RecordSize;
}

type Reason = 'parking-count' | 'parking-bytes' | 'parking-age';

export class Parking {
  readonly #context: ParkingContext;

  constructor(context: ParkingContext) {
    this.#context = context;
  }

  /** Entries on disk that no group removes, oldest first. */
  list(queue: EgressQueue, { after, limit }: { after?: Position; limit: number }): ParkedRow[] {
    const rows = this.#context.store.range('parked', {
      from: rowKey(queue.number, (after ?? 0) + 1),
      to: rowKey(queue.number + 1, 0),
      limit: limit + queue.leavingParked.size,
    });
    return rows
      .map(({ key, value }) => ({ position: rowKeyPosition(key), parked: decodeParked(value) }))
      .filter(({ position }) => !queue.leavingParked.has(position))
      .slice(0, limit);
  }

  /** An entry has come (in memory): counts it and keeps the bound. */
  arrived(queue: EgressQueue, sizeBytes: number): void {
    queue.counts.parked += 1;
    queue.counts.parkedBytes += sizeBytes;
    this.keepBound(queue);
  }

  /** Drops what is over the bound, as far as it is on disk: what comes in one group is judged again after its flush. */
  keepBound(queue: EgressQueue): void {
    for (;;) {
      const reason = this.#overBound(queue);
      const oldest = reason && this.list(queue, { limit: 1 })[0];
      if (!reason || !oldest) return;
      this.#drop(queue, oldest, reason);
    }
  }

  dropOlderThan(queue: EgressQueue, atMs: number): void {
    for (const row of this.list(queue, { limit: AGE_BATCH })) {
      if (row.parked.atMs < atMs) this.#drop(queue, row, 'parking-age');
    }
  }

  #overBound({ counts }: EgressQueue): Reason | undefined {
    const { parkedMax, parkedBytesMax } = this.#context.limits;
    if (counts.parked > parkedMax) return 'parking-count';
    return counts.parked > 1 && counts.parkedBytes > parkedBytesMax ? 'parking-bytes' : undefined;
  }

  #drop(queue: EgressQueue, { position, parked }: ParkedRow, reason: Reason): void {
    const { observer, openGroup, recordSize } = this.#context;
    openGroup().removeParked(queue, position, recordSize(position));
    queue.leavingParked.add(position);
    queue.counts.parked -= 1;
    queue.counts.parkedBytes -= parked.sizeBytes;
    observer.observe({ kind: 'discarded', egressId: queue.id, end: 'dropped', count: 1, reason });
  }
}
