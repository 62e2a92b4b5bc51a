/**
 * Parked entries, what people do with them, and their bound: past it the oldest entry of the egress is dropped, counted
 * and reported; a new entry never drops itself.
 *
 * - J1 An entry that is replayed or dropped leaves `parked` in the same commit in which it becomes Work or ends: no crash
 *   finds it twice or not at all, and whoever asked hears of it when that is durable.
 * - J2 An entry that a group removes belongs to that group until it is decided (`leavingParked`): nobody else gets it.
 */
import type { KnearError } from '../../core/errors.ts';
import { claimOf } from '../../core/event.ts';
import type { ParkedEntry, Position, Work } from '../../core/ports/event-log.ts';
import type { Observer } from '../../core/ports/observer.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import type { LogLimits } from './accounts.ts';
import type { Committer } from './committer.ts';
import type { EgressQueue } from './egress-queue.ts';
import type { FreedRecord } from './group.ts';
import { rowKey, rowKeyPosition } from './keys.ts';
import { decodeParked } from './record.ts';
import type { StoredParked } from './record.ts';
import type { Records } from './records.ts';
import type { LogStore } from './store.ts';

/** How many entries are looked at in one go when they are judged by age. */
const AGE_BATCH = 1_000;
/** Entries are judged by age this often. */
const AGE_CHECK_MS = 3_600_000;

interface ParkedRow {
  readonly position: Position;
  readonly parked: StoredParked;
}

export interface ParkingContext {
  readonly store: LogStore;
  readonly limits: LogLimits;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly records: Records;
  readonly committer: Committer;
  queues(): Iterable<EgressQueue>;
  findQueue(egressId: string): EgressQueue | undefined;
  /** Why nothing can be done at the moment, if so. */
  failure(): KnearError | undefined;
}

type Reason = 'parking-count' | 'parking-bytes' | 'parking-age';

export class Parking {
  readonly #context: ParkingContext;
  #ageTimer: Timer | undefined;

  constructor(context: ParkingContext) {
    this.#context = context;
  }

  /** See `EventLog.parked`. */
  async entries(
    egressId: string,
    options: { after?: Position; limit: number },
  ): Promise<ParkedEntry[]> {
    const queue = this.#context.findQueue(egressId);
    if (!queue) return [];
    return this.#list(queue, options).map(({ position, parked: { failure, atMs } }) => {
      const { event } = this.#context.records.read(position);
      return { position, event, failure, atMs };
    });
  }

  /** See `EventLog.replay`. */
  async replay(egressId: string, positions: readonly Position[]): Promise<number> {
    const queue = this.#queue(egressId);
    const rows = queue ? this.#find(queue, positions) : [];
    if (!queue || rows.length === 0) return 0;
    const { committer, clock } = this.#context;
    const work: Work = { phase: 'deliver', attempt: 0, firstAtMs: clock.nowMs() };
    for (const { position, parked } of rows) {
      committer.open.replayParked(queue, position, { work, sizeBytes: parked.sizeBytes });
      leave(queue, position, parked.sizeBytes);
      queue.counts.ready += 1;
    }
    await committer.whenDurable();
    return rows.length;
  }

  /** See `EventLog.dropParked`. */
  async discard(egressId: string, positions: readonly Position[]): Promise<number> {
    const queue = this.#queue(egressId);
    const rows = queue ? this.#find(queue, positions) : [];
    if (!queue || rows.length === 0) return 0;
    const { committer, observer } = this.#context;
    // All are read before anything changes.
    const sized = rows.map((row) => ({ row, record: this.#freed(row.position) }));
    for (const { row, record } of sized) this.#remove(queue, row, record);
    committer.open.hurry();
    await committer.whenDurable();
    const [end, count, reason] = ['dropped', rows.length, 'parked-dropped'] as const;
    observer.observe({ kind: 'discarded', egressId, end, count, reason });
    return count;
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
      const oldest = reason && this.#list(queue, { limit: 1 })[0];
      if (!reason || !oldest) return;
      this.#drop(queue, oldest, reason);
    }
  }

  /** Drops what is too old, now and from time to time. */
  keepAge(): void {
    const { limits, clock, committer, queues } = this.#context;
    const untilMs = clock.nowMs() - limits.parkedAgeMs;
    for (const queue of queues()) {
      if (queue.durableCounts.parked > 0) this.#dropOlderThan(queue, untilMs);
    }
    committer.schedule();
    this.#ageTimer = clock.after(AGE_CHECK_MS, () => this.keepAge());
  }

  stop(): void {
    this.#ageTimer?.cancel();
  }

  #dropOlderThan(queue: EgressQueue, atMs: number): void {
    for (const row of this.#list(queue, { limit: AGE_BATCH })) {
      if (row.parked.atMs < atMs) this.#drop(queue, row, 'parking-age');
    }
  }

  /** Entries on disk that no group removes (J2), oldest first. */
  #list(queue: EgressQueue, { after, limit }: { after?: Position; limit: number }): ParkedRow[] {
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

  /** The same, by name. */
  #find(queue: EgressQueue, positions: readonly Position[]): ParkedRow[] {
    const wanted = [...new Set(positions)].filter((each) => !queue.leavingParked.has(each));
    return wanted.flatMap((position) => {
      const row = this.#context.store.get('parked', rowKey(queue.number, position));
      return row ? { position, parked: decodeParked(row) } : [];
    });
  }

  /** @throws KNEAR_CLOSED, KNEAR_LOG_FAILED */
  #queue(egressId: string): EgressQueue | undefined {
    const failure = this.#context.failure();
    if (failure) throw failure;
    return this.#context.findQueue(egressId);
  }

  /** Without what was read, so that no page of large events is in memory at once. */
  #freed(position: Position): FreedRecord {
    const { account, sizeBytes, event } = this.#context.records.read(position);
    return { account, sizeBytes, event: { data: claimOf(event) } };
  }

  #overBound({ counts }: EgressQueue): Reason | undefined {
    const { parkedMax, parkedBytesMax } = this.#context.limits;
    if (counts.parked > parkedMax) return 'parking-count';
    return counts.parked > 1 && counts.parkedBytes > parkedBytesMax ? 'parking-bytes' : undefined;
  }

  #drop(queue: EgressQueue, row: ParkedRow, reason: Reason): void {
    this.#remove(queue, row, this.#freed(row.position));
    const { observer } = this.#context;
    observer.observe({ kind: 'discarded', egressId: queue.id, end: 'dropped', count: 1, reason });
  }

  #remove(queue: EgressQueue, { position, parked }: ParkedRow, record: FreedRecord): void {
    this.#context.committer.open.removeParked(queue, position, record);
    leave(queue, position, parked.sizeBytes);
  }
}

/** In memory; the group does the same to the disk. */
function leave(queue: EgressQueue, position: Position, sizeBytes: number): void {
  queue.leavingParked.add(position);
  queue.counts.parked -= 1;
  queue.counts.parkedBytes -= sizeBytes;
}
