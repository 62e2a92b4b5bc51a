/**
 * What will be committed together: new records, and changes to rows that are on disk (or will be, by the commit before).
 *
 * A pure accumulator: no I/O and no time, so the simulator runs the very same code. It owns the arithmetic of references:
 *
 * L2 A new record is left out if no egress and no Work needs its row at the moment of sealing; else it is written with
 *    rows only for the egresses that are still open.
 * L13 A payload is counted by the records that name it, in the transaction that writes or removes them: its row goes
 *    with the last one, and only what is removed durably is reported as free.
 * L9 Rows own references. A reference falls only with a row that this group removes, and on the net result: what a settle
 *    takes away and gives back in one group changes nothing.
 */
import { strict as assert } from 'node:assert';

import type { KnearError } from '../../core/errors.ts';
import { claimOf, eventSizeBytes, payloadId } from '../../core/event.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import type { Claim } from '../../core/ports/claims.ts';
import type { Position, Work } from '../../core/ports/event-log.ts';
import type { EgressQueue } from './egress-queue.ts';
import type { Entry, IngressAccount, PendingRow, Row } from './entry.ts';
import { claimKey, numberKey, positionKey, rowKey, timerKey } from './keys.ts';
import { encodeEvent, encodeJson, encodeParked, encodeWork } from './record.ts';
import type { Change } from './store.ts';

/** Value of a `ready` row. */
const PLAIN_ROW = Buffer.from([0]);
/** The same, when a `work` row says how far the delivery had come. */
export const WORK_ROW = Buffer.from([1]);

/** The record behind a reference, for who gets back what it took. */
export interface FreedRecord {
  readonly account: IngressAccount;
  readonly sizeBytes: number;
  readonly event: Pick<CloudEvent, 'data'>;
}

interface ClaimChange {
  readonly ref: PayloadRef;
  /** Of the records that name it. */
  delta: number;
  redactedAtMs?: number;
}

/** What the disk says when the commit before is durable. */
export interface StoredCounts {
  references(position: Position): number;
  claim(id: string): Claim | undefined;
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
  /** Payloads that no record names any more once this group is durable. */
  readonly freedPayloads: PayloadRef[] = [];

  #entries: Entry[] = [];
  #leftOut = 0;
  #flushByMs = Number.POSITIVE_INFINITY;
  #hasUrgentChange = false;
  readonly #changes: Change[] = [];
  readonly #references = new Map<Position, { delta: number; record: FreedRecord | undefined }>();
  readonly #claims = new Map<string, ClaimChange>();

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  /** Records that were settled everywhere before they had to be written. */
  get leftOut(): number {
    return this.#leftOut;
  }

  get isEmpty(): boolean {
    const { length } = this.#changes;
    const counts = this.#references.size + this.#claims.size;
    return this.#entries.length + length + counts === 0;
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
  removeRow(row: Row, record: FreedRecord): void {
    const key = rowKey(row.queue.number, row.position);
    this.#change({ table: 'ready', key });
    if (row.isWork) this.#change({ table: 'work', key });
    this.refer(row.position, -1, record);
    const origin = row.content?.origin;
    if (origin) {
      const { event } = origin;
      this.refer(origin.position, -1, { ...record, event, sizeBytes: eventSizeBytes(event) });
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
  removeParked(queue: EgressQueue, position: Position, record: FreedRecord): void {
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
  refer(position: Position, delta: number, record?: FreedRecord): void {
    const known = this.#references.get(position);
    if (known) {
      known.delta += delta;
      known.record ??= record;
    } else {
      this.#references.set(position, { delta, record });
    }
  }

  /** A payload is not to be given to anybody any more. */
  redact(ref: PayloadRef, atMs: number): void {
    this.#claimChange(ref).redactedAtMs ??= atMs;
    this.#hasUrgentChange = true;
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
   */
  seal(stored: StoredCounts): Change[] {
    for (const entry of this.#entries) this.#sealEntry(entry);
    for (const [position, { delta, record }] of this.#references) {
      if (delta !== 0)
        this.#sealReferences(position, { before: stored.references(position), delta, record });
    }
    for (const [id, change] of this.#claims) {
      if (change.delta !== 0 || change.redactedAtMs) this.#sealClaim(id, stored.claim(id), change);
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
    this.#claim(entry.event, 1);
  }

  #sealReferences(
    position: Position,
    { before, delta, record }: { before: number; delta: number; record: FreedRecord | undefined },
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
      this.#claim(record.event, -1);
    }
  }

  #claim(event: Pick<CloudEvent, 'data'>, delta: number): void {
    const ref = claimOf(event);
    if (ref) this.#claimChange(ref).delta += delta;
  }

  #claimChange(ref: PayloadRef): ClaimChange {
    const id = payloadId(ref);
    const known = this.#claims.get(id);
    if (known) return known;
    const change = { delta: 0, ref };
    this.#claims.set(id, change);
    return change;
  }

  /** L13 */
  #sealClaim(
    id: string,
    before: Claim | undefined,
    { delta, ref, redactedAtMs }: ClaimChange,
  ): void {
    const records = (before?.records ?? 0) + delta;
    assert(records >= 0, `more records give back the payload ${id} than named it`);
    const key = claimKey(id);
    if (records > 0) {
      const atMs = before?.redactedAtMs ?? redactedAtMs;
      const claim: Claim = { ref, records, ...(atMs !== undefined && { redactedAtMs: atMs }) };
      this.#change({ table: 'claim', key, value: encodeJson(claim) });
    } else if (before) {
      // Else it was to be redacted, and the commit before has freed it.
      this.#change({ table: 'claim', key });
      this.freedPayloads.push(ref);
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
