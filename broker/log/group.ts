/**
 * What will be committed together: new records, and changes to rows that are on disk (or will be, by the commit before).
 *
 * A pure accumulator: no I/O and no time, so the simulator runs the very same code. It owns the arithmetic of references:
 *
 * L2 A new record is left out if no egress and no Work needs its row at the moment of sealing; else it is written with
 *    rows only for the egresses that are still open.
 * L9 Rows own references. A reference falls only with a row that this group removes, and on the net result: what a settle
 *    takes away and gives back in one group changes nothing.
 */
import { strict as assert } from 'node:assert';

import type { KnearError } from '../../core/errors.ts';
import { eventSizeBytes } from '../../core/event.ts';
import type { Position, Work } from '../../core/ports/event-log.ts';
import type { EgressQueue } from './egress-queue.ts';
import type { Entry, IngressAccount, PendingRow, Row } from './entry.ts';
import { numberKey, positionKey, rowKey, timerKey } from './keys.ts';
import { encodeEvent, encodeParked, encodeWork } from './record.ts';
import type { Change } from './store.ts';

/** Value of a `ready` row. */
const PLAIN_ROW = Buffer.from([0]);
/** The same, when a `work` row says how far the delivery had come. */
export const WORK_ROW = Buffer.from([1]);

/** The record behind a reference, for the account that gets its bytes back. */
export interface RecordSize {
  readonly account: IngressAccount;
  readonly sizeBytes: number;
}

export interface Counts {
  ready: number;
  delayed: number;
  parked: number;
  parkedBytes: number;
}

export const noCounts = (): Counts => ({ ready: 0, delayed: 0, parked: 0, parkedBytes: 0 });

/** A row that the flush brings (back) to its queue or its timer. */
export interface ScheduledRow {
  readonly queue: EgressQueue;
  readonly position: Position;
  /** 0: may be offered as soon as the group is durable. */
  readonly dueAtMs: number;
}

export class Group {
  /** Bytes of `entries`. */
  bytes = 0;
  /** Rows on disk whose removal is in this group. */
  readonly settledRows: Row[] = [];
  readonly scheduled: ScheduledRow[] = [];
  /** Called when the group is durable, or not. */
  readonly listeners: { safe(): void; failed(error: KnearError): void }[] = [];
  /** Some of its changes are due timers: until it is durable the table still shows them. */
  movesTimers = false;
  /** Parked entries whose removal is in this group. */
  readonly leavingParked: { readonly queue: EgressQueue; readonly position: Position }[] = [];
  /** Highest position assigned when the group was sealed: with its flush, everything up to here is decided. */
  through: Position = 0;
  changesBytes = 0;
  readonly countDeltas = new Map<EgressQueue, Counts>();
  readonly byteDeltas = new Map<IngressAccount, number>();
  /** The part of `byteDeltas` that removed records give back, positive. */
  readonly freedBytes = new Map<IngressAccount, number>();

  #entries: Entry[] = [];
  #leftOut = 0;
  #flushByMs = Number.POSITIVE_INFINITY;
  #hasUrgentChange = false;
  readonly #changes: Change[] = [];
  readonly #references = new Map<Position, { delta: number; record: RecordSize | undefined }>();

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  /** Records that were settled everywhere before they had to be written. */
  get leftOut(): number {
    return this.#leftOut;
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0 && this.#changes.length === 0 && this.#references.size === 0;
  }

  /** Something here must not wait for the idle flush of L4. */
  get isUrgent(): boolean {
    return this.#hasUrgentChange || this.#entries.length > 0;
  }

  /** L12: monotonic time by which it should be submitted. */
  get flushByMs(): number {
    return this.#hasUrgentChange ? 0 : this.#flushByMs;
  }

  /** Work or a parked entry came to one of its records, or somebody waits for what goes: nothing is gained by waiting. */
  hurry(): void {
    this.#hasUrgentChange = true;
  }

  add(entry: Entry): void {
    this.#entries.push(entry);
    this.#flushByMs = Math.min(this.#flushByMs, entry.flushByMs);
    this.bytes += entry.sizeBytes;
  }

  /** L2: takes out the records that nobody needs on disk any more, and returns them. */
  leaveOut(): Entry[] {
    const isNeeded = (entry: Entry) =>
      entry.rows.size > 0 || (this.#references.get(entry.position)?.delta ?? 0) > 0;
    const leftOut = this.#entries.filter((entry) => !isNeeded(entry));
    if (leftOut.length > 0) this.#entries = this.#entries.filter(isNeeded);
    for (const entry of leftOut) {
      entry.state = 'left-out';
      this.bytes -= entry.sizeBytes;
    }
    this.#leftOut += leftOut.length;
    const by = this.#entries.map(({ flushByMs }) => flushByMs);
    this.#flushByMs = Math.min(Number.POSITIVE_INFINITY, ...by);
    return leftOut;
  }

  /** A row on disk goes, and with it its references. */
  removeRow(row: Row, record: RecordSize): void {
    const key = rowKey(row.queue.number, row.position);
    this.#change({ table: 'ready', key });
    if (row.isWork) this.#change({ table: 'work', key });
    this.refer(row.position, -1, record);
    const origin = row.content?.origin;
    if (origin) {
      this.refer(origin.position, -1, { ...record, sizeBytes: eventSizeBytes(origin.event) });
    }
    this.count(row.queue, { ready: -1 });
    this.settledRows.push(row);
  }

  /** A row for a record that is on disk, or will be by the commit before. */
  putRow(target: {
    queue: EgressQueue;
    position: Position;
    sizeBytes: number;
    row: PendingRow;
  }): void {
    this.refer(target.position, 1);
    if (target.row.kind === 'work' && target.row.origin !== undefined) {
      this.refer(target.row.origin, 1);
    }
    this.#writeRow(target);
    this.#hasUrgentChange = true;
  }

  /** A parked entry goes. */
  removeParked(queue: EgressQueue, position: Position, record: RecordSize): void {
    this.#change({ table: 'parked', key: rowKey(queue.number, position) });
    this.refer(position, -1, record);
    this.leavingParked.push({ queue, position });
    this.count(queue, { parked: -1, parkedBytes: -record.sizeBytes });
  }

  /** A parked entry is to be delivered anew. One row goes and another comes, so the reference stays (L9). */
  replayParked(
    queue: EgressQueue,
    position: Position,
    { work, sizeBytes }: { work: Work; sizeBytes: number },
  ): void {
    this.#change({ table: 'parked', key: rowKey(queue.number, position) });
    this.leavingParked.push({ queue, position });
    this.count(queue, { parked: -1, parkedBytes: -sizeBytes });
    this.#writeRow({ queue, position, sizeBytes, row: { kind: 'work', work, dueAtMs: 0 } });
    this.#hasUrgentChange = true;
  }

  /** A timer is due: its Work may be offered. */
  moveToReady(queue: EgressQueue, position: Position, dueMs: number): void {
    this.#change({ table: 'timer', key: timerKey(dueMs, queue.number, position) });
    this.#change({ table: 'ready', key: rowKey(queue.number, position), value: WORK_ROW });
    this.count(queue, { delayed: -1, ready: 1 });
    this.scheduled.push({ queue, position, dueAtMs: 0 });
    this.movesTimers = true;
    this.#hasUrgentChange = true;
  }

  /** A timer whose egress is gone. */
  removeTimer(key: Uint8Array): void {
    this.#change({ table: 'timer', key });
    this.movesTimers = true;
    this.#hasUrgentChange = true;
  }

  /** Any other change to a table; references are the caller's business. */
  change(change: Change): void {
    this.#change(change);
    this.#hasUrgentChange = true;
  }

  /** @param record what is freed when the last reference goes: needed where `delta` is negative. */
  refer(position: Position, delta: number, record?: RecordSize): void {
    const known = this.#references.get(position);
    if (known) {
      known.delta += delta;
      known.record ??= record;
    } else {
      this.#references.set(position, { delta, record });
    }
  }

  count(queue: EgressQueue, delta: Partial<Counts>): void {
    let counts = this.countDeltas.get(queue);
    if (!counts) this.countDeltas.set(queue, (counts = noCounts()));
    counts.ready += delta.ready ?? 0;
    counts.delayed += delta.delayed ?? 0;
    counts.parked += delta.parked ?? 0;
    counts.parkedBytes += delta.parkedBytes ?? 0;
  }

  /**
   * Returns all changes but those of the accounts. Called once, after `leaveOut`.
   * @param references what the disk says when the commit before is durable.
   */
  seal(references: (position: Position) => number): Change[] {
    for (const entry of this.#entries) this.#sealEntry(entry);
    for (const [position, { delta, record }] of this.#references) {
      if (delta !== 0)
        this.#sealReferences(position, { before: references(position), delta, record });
    }
    return this.#changes;
  }

  #sealEntry(entry: Entry): void {
    assert.equal(entry.state, 'open');
    // Work of this very group may name the record as its origin.
    const outside = this.#references.get(entry.position)?.delta ?? 0;
    this.#references.delete(entry.position);
    const references = entry.rows.size + outside;
    assert(references > 0, 'a record that nobody needs is left out');
    entry.state = 'submitted';
    const value = encodeEvent({
      ingress: entry.account.number,
      acceptedAtMs: entry.acceptedAtMs,
      event: entry.event,
    });
    this.#change({ table: 'event', key: positionKey(entry.position), value });
    if (references > 1) this.#writeReferences(entry.position, references);
    for (const [queue, row] of entry.rows) {
      const { position, sizeBytes } = entry;
      this.#writeRow({ queue, position, sizeBytes, row });
    }
    this.#addBytes(entry.account, entry.sizeBytes);
  }

  #sealReferences(
    position: Position,
    { before, delta, record }: { before: number; delta: number; record: RecordSize | undefined },
  ): void {
    const after = before + delta;
    assert(after >= 0, `a record has ${before} references, ${-delta} are given back`);
    if (after > 1) {
      this.#writeReferences(position, after);
      return;
    }
    if (before > 1) this.#change({ table: 'refs', key: positionKey(position) });
    if (after === 0) {
      this.#change({ table: 'event', key: positionKey(position) });
      assert(record, 'the last reference goes without its record');
      this.#addBytes(record.account, -record.sizeBytes);
      const freed = this.freedBytes.get(record.account) ?? 0;
      this.freedBytes.set(record.account, freed + record.sizeBytes);
    }
  }

  #writeReferences(position: Position, references: number): void {
    this.#change({ table: 'refs', key: positionKey(position), value: numberKey(references) });
  }

  #writeRow({
    queue,
    position,
    sizeBytes,
    row,
  }: {
    queue: EgressQueue;
    position: Position;
    sizeBytes: number;
    row: PendingRow;
  }): void {
    const key = rowKey(queue.number, position);
    switch (row.kind) {
      case 'ready':
        this.#change({ table: 'ready', key, value: PLAIN_ROW });
        this.count(queue, { ready: 1 });
        return;
      case 'work': {
        const { work, dueAtMs, origin } = row;
        const isDue = dueAtMs === 0;
        const stored = { work, dueAtMs, ...(origin !== undefined && { origin }) };
        this.#change({ table: 'work', key, value: encodeWork(stored) });
        if (isDue) this.#change({ table: 'ready', key, value: WORK_ROW });
        else {
          const timer = timerKey(dueAtMs, queue.number, position);
          this.#change({ table: 'timer', key: timer, value: PLAIN_ROW });
        }
        this.count(queue, isDue ? { ready: 1 } : { delayed: 1 });
        this.scheduled.push({ queue, position, dueAtMs });
        return;
      }
      case 'parked': {
        const { failure, atMs } = row;
        this.#change({ table: 'parked', key, value: encodeParked({ failure, atMs, sizeBytes }) });
        this.count(queue, { parked: 1, parkedBytes: sizeBytes });
        return;
      }
    }
  }

  #addBytes(account: IngressAccount, delta: number): void {
    this.byteDeltas.set(account, (this.byteDeltas.get(account) ?? 0) + delta);
  }

  #change(change: Change): void {
    this.#changes.push(change);
    this.changesBytes += change.key.length + (change.value?.length ?? 0);
  }
}
