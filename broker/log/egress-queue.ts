/**
 * What waits for one egress, as far as it is in memory: a window of rows over a queue of any length on disk.
 *
 * It owns the window, the leases and the pulls that wait. It leaves durability to `GroupedLog`, which tells it what
 * arrives, what became durable and what is settled.
 *
 * - L3 The disk is read in short batches, a quarter of the window each; nothing stays open between them.
 * - L7 At most `windowMax` rows wait in memory; rows that come back (released, lapsed, due) may exceed it by the number of
 *   open deliveries and due timers, which have bounds of their own.
 * - L10 Caught up means that `cursor` has passed the highest position assigned to this egress. Only then may a fresh record
 *   go straight into the window; else it is found on disk, in its turn. Reads skip what is in memory, and what is settled
 *   until its removal is durable.
 * - Q1 A ready row on disk at or below `cursor` is in `rows`, or settled for good: reads start behind it.
 * - Q2 The window is in order of position, so that a row that comes back is offered before younger ones.
 * - Q3 A row is under one lease at a time.
 */
import { strict as assert } from 'node:assert';

import type { Position } from '../../core/ports/event-log.ts';
import type { Entry, Row } from './entry.ts';
import { noCounts, WORK_ROW } from './group.ts';
import { rowKey, rowKeyPosition } from './keys.ts';
import type { LogStore } from './store.ts';

/** The last twenty or so settles count: a subscriber that becomes slow is waited for about as often. */
const LEARNING_RATE = 0.1;

/** What the queue asks of the log. */
export interface QueueContext {
  readonly store: LogStore;
  /** Rows of one egress that wait in memory (L7). */
  readonly windowMax: number;
  /** Every position up to this one is on disk or never will be. */
  durablePosition(): Position;
  /** Records above `durablePosition`, ascending. */
  entriesInMemory(): Iterable<Entry>;
  /** False while nothing may be offered (the disk failed, the log is closed). */
  isOffering(): boolean;
}

interface Waiter {
  readonly count: number;
  readonly signal: AbortSignal;
  resolve(rows: Row[]): void;
}

export class EgressQueue {
  readonly id: string;
  readonly number: number;
  /** L12: how long this egress takes to settle a fresh record for good, ms. Unknown at first, so not waited for. */
  #settleMs = Number.POSITIVE_INFINITY;
  /** On disk, as of the last commit. */
  durableCounts = noCounts();
  /** On disk and in memory. */
  readonly counts = noCounts();
  /** Parked entries that a group removes which is not durable yet: reads must skip them (L10). */
  readonly leavingParked = new Set<Position>();

  readonly #context: QueueContext;
  readonly #window: Row[] = [];
  readonly #rows = new Map<Position, Row>();
  #held = 0;
  #cursor: Position;
  #highest: Position;
  #waiters: Waiter[] = [];
  readonly #signals = new WeakSet<AbortSignal>();
  #isClosed = false;

  /** @param options.from nothing is on disk at or below it; `options.to`: nothing above it. */
  constructor(options: {
    id: string;
    number: number;
    from: Position;
    to: Position;
    context: QueueContext;
  }) {
    this.id = options.id;
    this.number = options.number;
    this.#cursor = options.from;
    this.#highest = options.to;
    this.#context = options.context;
  }

  get hasWaiters(): boolean {
    return this.#waiters.length > 0;
  }

  get isCaughtUp(): boolean {
    return this.#cursor >= this.#highest;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  rows(): Iterable<Row> {
    return this.#rows.values();
  }

  /** L12: when a record that arrives now can be expected to be settled, ms from now. */
  get expectedSettleMs(): number {
    return this.hasWaiters && this.isCaughtUp ? this.#settleMs : Number.POSITIVE_INFINITY;
  }

  /** L12: a fresh record was settled for good, this long after it had arrived. */
  learn(ageMs: number): void {
    const known = Number.isFinite(this.#settleMs) ? this.#settleMs : ageMs;
    this.#settleMs = known + LEARNING_RATE * (ageMs - known);
  }

  /** A new record for this egress has its position. */
  arrive(entry: Entry): void {
    const isNext = this.isCaughtUp && this.#hasSpace();
    this.#highest = entry.position;
    this.counts.ready += 1;
    if (isNext) this.#takeIn(entry);
    this.wake();
  }

  /** The record is durable now: what was held back may go. */
  publish(entry: Entry): void {
    const row = this.#rows.get(entry.position);
    if (row?.state !== 'held') return;
    this.#held -= 1;
    this.#makeReady(row);
    this.wake();
  }

  /** Work is due, or a row is found to be offerable whose position may lie below the cursor. */
  restore(position: Position): void {
    // A read between the commit and this call may have found it already.
    if (this.#isClosed || this.#rows.has(position)) return;
    // The record of a Work may be younger than anything this egress matched.
    this.#highest = Math.max(this.#highest, position);
    if (this.#hasSpace()) this.#makeReady(this.#addRow({ position, isWork: true }));
    else this.#cursor = Math.min(this.#cursor, position - 1);
    this.wake();
  }

  /** A row that was offered, or whose settle failed, is to be offered again. */
  giveBack(row: Row): void {
    if (this.#isClosed) return;
    this.#makeReady(row);
    this.wake();
  }

  /** Out of the window or out of its lease; reads skip it until `forget`. */
  settle(row: Row): void {
    assert(row.state === 'open' || row.state === 'ready', `settled while ${row.state}`);
    if (row.state === 'ready') this.#window.splice(this.#window.indexOf(row), 1);
    row.state = 'settled';
    this.counts.ready -= 1;
  }

  /** The row will never be seen on disk again. */
  forget(row: Row): void {
    if (row.state === 'ready') this.#window.splice(this.#window.indexOf(row), 1);
    if (row.state === 'held') this.#held -= 1;
    row.state = 'gone';
    row.content = undefined;
    if (this.#rows.get(row.position) === row) this.#rows.delete(row.position);
  }

  find(position: Position): Row | undefined {
    return this.#rows.get(position);
  }

  /** Resolves with at least one row, or with none when the signal aborts or the queue closes. */
  pull(count: number, signal: AbortSignal): Promise<Row[]> {
    if (signal.aborted || this.#isClosed || count < 1) return Promise.resolve([]);
    const rows = this.#waiters.length === 0 ? this.#take(count) : [];
    if (rows.length > 0) return Promise.resolve(rows);
    this.#watch(signal);
    return new Promise((resolve) => {
      this.#waiters.push({ count, signal, resolve });
    });
  }

  /** Serves waiting pulls with what there is. */
  wake(): void {
    while (this.#waiters.length > 0) {
      const [waiter] = this.#waiters;
      const rows = waiter ? this.#take(waiter.count) : [];
      if (!waiter || rows.length === 0) return;
      this.#waiters.shift();
      waiter.resolve(rows);
    }
  }

  /** Ends all pulls; every row becomes stale. */
  close(): void {
    this.#isClosed = true;
    for (const row of [...this.#rows.values()]) this.forget(row);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.resolve([]);
  }

  #take(count: number): Row[] {
    if (!this.#context.isOffering()) return [];
    if (this.#window.length < count && !this.isCaughtUp) this.#fill();
    const rows = this.#window.splice(0, count);
    for (const row of rows) row.state = 'open';
    return rows;
  }

  /** L3, L10: from the disk first, then what is not on it yet. */
  #fill(): void {
    const durable = this.#context.durablePosition();
    while (this.#cursor < durable && this.#hasSpace()) {
      // L3: one short read, of a quarter of the window.
      const limit = Math.ceil(this.#context.windowMax / 4);
      const found = this.#context.store.range('ready', {
        from: rowKey(this.number, this.#cursor + 1),
        to: rowKey(this.number, durable + 1),
        limit,
      });
      for (const { key, value } of found) {
        const position = rowKeyPosition(key);
        this.#cursor = position;
        if (this.#rows.has(position)) continue;
        this.#makeReady(this.#addRow({ position, isWork: value[0] === WORK_ROW[0] }));
      }
      if (found.length < limit) this.#cursor = Math.max(this.#cursor, durable);
      else if (this.#window.length >= limit) return;
    }
    if (this.#cursor < durable) return;
    for (const entry of this.#context.entriesInMemory()) {
      if (!this.#hasSpace()) return;
      // Work and parked entries come by `restore`, when they are due, or not at all.
      if (entry.position <= this.#cursor || entry.rows.get(this)?.kind !== 'ready') continue;
      if (!this.#rows.has(entry.position)) this.#takeIn(entry);
      this.#cursor = entry.position;
    }
    this.#cursor = Math.max(this.#cursor, this.#highest);
  }

  #takeIn(entry: Entry): void {
    this.#cursor = entry.position;
    const row = this.#addRow({ position: entry.position, isWork: false, entry });
    if (entry.isEarly || entry.state === 'durable') {
      this.#makeReady(row);
    } else {
      row.state = 'held';
      this.#held += 1;
    }
  }

  #addRow(found: { position: Position; isWork: boolean; entry?: Entry }): Row {
    const row: Row = {
      queue: this,
      position: found.position,
      state: 'gone',
      isWork: found.isWork,
      entry: found.entry,
      lease: 0,
      offers: 0,
      leaseUntilMs: 0,
      content: undefined,
    };
    assert(!this.#rows.has(row.position), `position ${row.position} is in memory twice`);
    this.#rows.set(row.position, row);
    return row;
  }

  /** Q2 */
  #makeReady(row: Row): void {
    row.state = 'ready';
    let index = this.#window.length;
    while (index > 0 && (this.#window[index - 1]?.position ?? 0) > row.position) index -= 1;
    this.#window.splice(index, 0, row);
  }

  #hasSpace(): boolean {
    return this.#window.length + this.#held < this.#context.windowMax;
  }

  /** One listener a signal, however many pulls use it. */
  #watch(signal: AbortSignal): void {
    if (this.#signals.has(signal)) return;
    this.#signals.add(signal);
    signal.addEventListener(
      'abort',
      () => {
        const ended = this.#waiters.filter((waiter) => waiter.signal === signal);
        this.#waiters = this.#waiters.filter((waiter) => waiter.signal !== signal);
        for (const waiter of ended) waiter.resolve([]);
      },
      { once: true },
    );
  }
}
