/**
 * When what is written: the group that grows, the one that is in commit, and what happens when a commit fails.
 *
 *   open --(urgent, or idle for IDLE_FLUSH_MS)--> sealed, in commit --> flushed: told to everybody
 *                                                          \---------> failed: undone, probing until the disk works
 *
 * - L1 Groups of at most GROUP_RECORDS_MAX records or GROUP_BYTES_MAX bytes, one in commit at a time; the next is submitted
 *   before anybody is told about the last. Past the bound appends wait.
 * - L4 Settles without outputs wait for the next append, at most IDLE_FLUSH_MS; outputs enter the open group at once.
 * - L11 A group that fails is undone with everything that is not durable: producers get KNEAR_LOG_FAILED, deliveries of its
 *   records become stale, rows whose settles were in it are offered again. Nothing is taken or offered until a small
 *   commit of its own has succeeded.
 * - L12 A flush that would be for nothing is not begun: a record whose egresses settle, as a rule, sooner than a flush
 *   takes may wait for them up to GRACE_MAX_MS. It is acknowledged when it is settled, and mostly never written.
 */
import { KnearError, messageOf } from '../../core/errors.ts';
import { claimOf } from '../../core/event.ts';
import type { PayloadHolders } from '../../core/ports/claims.ts';
import type { Position } from '../../core/ports/event-log.ts';
import type { Observer } from '../../core/ports/observer.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import type { Accounts } from './accounts.ts';
import { readClaim } from './claim-rows.ts';
import type { DueTimers } from './due-timers.ts';
import type { EgressQueue } from './egress-queue.ts';
import type { Entry } from './entry.ts';
import { Group } from './group.ts';
import type { Leases } from './leases.ts';
import type { Records } from './records.ts';
import type { LogStore } from './store.ts';

/** 1,000 records are about 10 ms of commit: more would make every producer in the group wait for the slowest part. */
const GROUP_RECORDS_MAX = 1_000;
/** 4 MiB are about 15 ms of disk at 250 MB/s, for the same reason. */
const GROUP_BYTES_MAX = 4 * 1024 * 1024;
/** Losing the newest settles repeats at most 250 ms of deliveries; flushing each on its own delays the next event. */
const IDLE_FLUSH_MS = 250;
/** L12: a record is waited for if its egresses settle within this many flushes, or within the time a timer can tell. */
const GRACE_FLUSHES = 2;
const GRACE_MIN_MS = 1;
/** The most that a 202 can be late because a subscriber was slower than usual. */
const GRACE_MAX_MS = 3;
/** The last twenty or so flushes tell how long one takes. */
const LEARNING_RATE = 0.1;
/** After a failed commit the disk is probed after 1 s, then at doubling intervals up to 10 s. */
const PROBE_MS = 1_000;
const PROBE_MAX_MS = 10_000;

export interface CommitterOptions {
  readonly store: LogStore;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly accounts: Accounts;
  readonly records: Records;
  readonly leases: Leases;
  readonly timers: DueTimers;
  readonly payloads: PayloadHolders;
  /** Entries that were parked for this queue are durable now. */
  onParked(queue: EgressQueue): void;
}

export class Committer {
  readonly #parts: CommitterOptions;
  readonly #clock: Clock;
  #open = new Group();
  #inCommit: Group | undefined;
  #durablePosition: Position;
  #failure: KnearError | undefined;
  #isClosed = false;
  /** Appends that wait for room in the open group. */
  #waiting: { enter(): void; fail(error: KnearError): void }[] = [];
  /** Called when nothing is in commit and nothing waits to be. */
  #idle: (() => void)[] = [];
  /** Called when the disk works again. */
  #working: { resolve(): void; reject(error: KnearError): void }[] = [];
  #isSubmitDue = false;
  #graceTimer: Timer | undefined;
  #idleTimer: Timer | undefined;
  #probeTimer: Timer | undefined;
  /** A moving average. */
  #flushMs = 0;

  constructor(parts: CommitterOptions) {
    this.#parts = parts;
    this.#clock = parts.clock;
    this.#durablePosition = parts.accounts.lastPosition;
  }

  /** The group that grows: put into it what is to be written, then `schedule`. */
  get open(): Group {
    return this.#open;
  }

  /** Why nothing is written at the moment. */
  get failure(): KnearError | undefined {
    return this.#failure;
  }

  /** Every position up to this one is on disk or never will be. */
  get durablePosition(): Position {
    return this.#durablePosition;
  }

  /** Records above `durablePosition`, ascending. */
  *entriesInMemory(): Iterable<Entry> {
    if (this.#inCommit) yield* this.#inCommit.entries;
    yield* this.#open.entries;
  }

  /** Calls `enter` when the open group has room: at once, or after the next submission. */
  whenRoom(enter: () => void, fail: (error: KnearError) => void): void {
    if (this.#isFull()) this.#waiting.push({ enter, fail });
    else enter();
  }

  /** L12: how long the flush of a record for these egresses may wait, ms. */
  graceMs(queues: readonly EgressQueue[]): number {
    let expectedMs = 0;
    for (const queue of queues) expectedMs = Math.max(expectedMs, queue.expectedSettleMs);
    const isSoon = expectedMs <= Math.max(GRACE_FLUSHES * this.#flushMs, GRACE_MIN_MS);
    return isSoon ? GRACE_MAX_MS : 0;
  }

  /** Sees to it that the open group is submitted in time. */
  schedule(): void {
    if (this.#inCommit || this.#failure || this.#open.isEmpty) return;
    if (!this.#open.isUrgent) {
      this.#idleTimer ??= this.#clock.after(IDLE_FLUSH_MS, () => {
        this.#idleTimer = undefined;
        this.#submit('all');
      });
      return;
    }
    const graceMs = this.#graceLeftMs();
    if (graceMs > 0) {
      this.#graceTimer ??= this.#clock.after(graceMs, () => {
        this.#graceTimer = undefined;
        this.#submit('due');
      });
    } else if (!this.#isSubmitDue) {
      this.#isSubmitDue = true;
      this.#clock.soon(() => {
        this.#isSubmitDue = false;
        this.#submit('due');
      });
    }
  }

  /**
   * Resolves when what is in the open group now is durable, or was undone and everything since is durable.
   * @throws KNEAR_CLOSED when the log is closed before that.
   */
  async whenDecided(): Promise<void> {
    let isDecided = false;
    while (!isDecided) {
      if (this.#isClosed) throw closedError();
      isDecided = this.#failure ? await this.#whenWorking() : await this.#whenFlushed();
    }
  }

  /** Resolves when what is in the open group is durable. @throws KNEAR_LOG_FAILED, KNEAR_CLOSED */
  whenDurable(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#open.listeners.push({ safe: resolve, failed: reject });
      this.schedule();
    });
  }

  /** False: what is in the open group still is to be written. */
  #whenWorking(): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#working.push({ resolve: () => resolve(false), reject });
    });
  }

  /** True: it is written. False: it was undone. */
  #whenFlushed(): Promise<boolean> {
    const group = this.#open.isEmpty ? this.#inCommit : this.#open;
    if (!group) return Promise.resolve(true);
    return new Promise((resolve) => {
      group.listeners.push({ safe: () => resolve(true), failed: () => resolve(false) });
      this.#submit('all');
    });
  }

  /** Resolves when everything that was to be written is; at once when the log closes while it cannot write. */
  #whenIdle(): Promise<void> {
    const isIdle = !this.#inCommit && this.#open.isEmpty && !this.#failure;
    if (isIdle || (this.#failure && this.#isClosed)) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      this.#submit('all');
    });
  }

  /** Writes what there is, answers whoever still waits, and writes nothing more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#probeTimer?.cancel();
    const closed = closedError();
    for (const { fail } of this.#waiting.splice(0)) fail(closed);
    for (const { reject } of this.#working.splice(0)) reject(closed);
    // So that no position is used twice, even if the records of the last ones never had to be written.
    const { accounts } = this.#parts;
    if (!this.#failure && accounts.hasUnsavedIds) this.#open.change(accounts.nextIdsChange());
    await this.#whenIdle();
    this.#stopTimers();
    for (const entry of this.#open.entries) entry.withdraw(closed);
    for (const listener of this.#open.listeners) listener.failed(closed);
  }

  #isFull(): boolean {
    return this.#open.entries.length >= GROUP_RECORDS_MAX || this.#open.bytes >= GROUP_BYTES_MAX;
  }

  #graceLeftMs(): number {
    return this.#isFull() ? 0 : this.#open.flushByMs - this.#clock.monotonicMs();
  }

  #submit(what: 'due' | 'all'): void {
    if (this.#inCommit || this.#failure || this.#open.isEmpty) return;
    const group = this.#open;
    const { accounts } = this.#parts;
    for (const entry of group.leaveOut()) {
      accounts.addBytes(entry.account, -entry.sizeBytes);
      this.#releasePayload(entry);
    }
    if (what === 'due' && (!group.isUrgent || this.#graceLeftMs() > 0)) {
      if (group.entries.length === 0) this.#durablePosition = accounts.lastPosition;
      this.#letWaitingIn();
      this.schedule();
      if (group.isEmpty) this.#reportIdle();
      return;
    }
    this.#stopTimers();
    group.through = accounts.lastPosition;
    this.#open = new Group();
    this.#inCommit = group;
    const startedMs = this.#clock.monotonicMs();
    this.#commit(group).then(
      () => {
        this.#flushed(group, this.#clock.monotonicMs() - startedMs);
      },
      (error: unknown) => {
        this.#failed(group, error);
      },
    );
    this.#letWaitingIn();
  }

  /** Rejects also when the disk does not even say what it has. */
  async #commit(group: Group): Promise<void> {
    const { accounts, records, store } = this.#parts;
    const changes = group.seal({
      references: (position) => records.references(position),
      claim: (id) => readClaim(store, id),
    });
    await store.commit([...changes, ...accounts.changes(group)]);
  }

  #flushed(group: Group, durationMs: number): void {
    const { accounts, timers, observer } = this.#parts;
    this.#flushMs += LEARNING_RATE * (durationMs - this.#flushMs);
    this.#inCommit = undefined;
    this.#durablePosition = group.through;
    accounts.flushed(group);
    for (const row of group.settledRows) row.queue.forget(row);
    for (const { queue, position } of group.leavingParked) queue.leavingParked.delete(position);
    for (const entry of group.entries) this.#entryFlushed(entry);
    for (const ref of group.freedPayloads) this.#parts.payloads.freed(ref);
    for (const { queue, position, dueAtMs } of group.scheduled) {
      if (dueAtMs === 0) queue.restore(position);
      else timers.arm(dueAtMs);
    }
    if (group.movesTimers) timers.moved();
    for (const [queue, { parked }] of group.countDeltas)
      if (parked > 0) this.#parts.onParked(queue);
    // L1: the next group is on its way before anybody hears of this one.
    if (this.#idle.length > 0) this.#submit('all');
    else if (this.#open.isUrgent && this.#graceLeftMs() <= 0) this.#submit('due');
    else this.schedule();
    for (const entry of group.entries) entry.becomeSafe();
    for (const listener of group.listeners) listener.safe();
    observer.observe({
      kind: 'committed',
      records: group.entries.length,
      settles: group.settledRows.length,
      leftOut: group.leftOut,
      bytes: group.changesBytes,
      durationMs,
    });
    if (!this.#inCommit && this.#open.isEmpty) this.#reportIdle();
  }

  /** The record is on disk: what was held back may go, and bodies of what still waits move to the bounded cache (L7). */
  #entryFlushed(entry: Entry): void {
    entry.state = 'durable';
    let isWaitedFor = false;
    for (const queue of entry.rows.keys()) {
      queue.publish(entry);
      const row = queue.find(entry.position);
      if (row?.state !== 'ready') continue;
      row.entry = undefined;
      isWaitedFor = true;
    }
    if (isWaitedFor) this.#parts.records.remember(entry);
    this.#releasePayload(entry);
  }

  #releasePayload({ event }: Entry): void {
    const ref = claimOf(event);
    if (ref) this.#parts.payloads.release(ref);
  }

  /** L11 */
  #failed(group: Group, cause: unknown): void {
    const { accounts, timers, observer } = this.#parts;
    const what = `writing ${group.entries.length} records and ${group.settledRows.length} settles`;
    const detail = `${what} failed: ${messageOf(cause)}; check the disk of the data folder`;
    const failure = new KnearError('KNEAR_LOG_FAILED', detail, { cause, retryAfterMs: PROBE_MS });
    const undone = [group, this.#open];
    this.#inCommit = undefined;
    this.#open = new Group();
    this.#failure = failure;
    this.#stopTimers();
    accounts.undo();
    for (const { entries } of undone) for (const entry of entries) this.#withdraw(entry, failure);
    for (const { settledRows, leavingParked, listeners, movesTimers } of undone) {
      if (movesTimers) timers.undone();
      for (const row of settledRows) if (row.state === 'settled') row.queue.giveBack(row);
      for (const { queue, position } of leavingParked) queue.leavingParked.delete(position);
      for (const listener of listeners) listener.failed(failure);
    }
    for (const { fail } of this.#waiting.splice(0)) fail(failure);
    observer.observe({ kind: 'log-state', isAccepting: false, code: failure.code });
    if (this.#isClosed) this.#reportIdle();
    else this.#probeLater(PROBE_MS);
  }

  #withdraw(entry: Entry, failure: KnearError): void {
    for (const queue of entry.rows.keys()) {
      const row = queue.find(entry.position);
      if (!row) continue;
      this.#parts.leases.end(row);
      queue.forget(row);
    }
    entry.withdraw(failure);
    this.#releasePayload(entry);
  }

  /** A failed flush is never repeated: a commit of its own says whether the disk works again. */
  #probeLater(delayMs: number): void {
    const { store, accounts } = this.#parts;
    this.#probeTimer = this.#clock.after(delayMs, () => {
      store.commit([accounts.nextIdsChange()]).then(
        () => {
          this.#goOn();
        },
        () => {
          if (!this.#isClosed) this.#probeLater(Math.min(delayMs * 2, PROBE_MAX_MS));
        },
      );
    });
  }

  #goOn(): void {
    if (this.#isClosed) return;
    const { accounts, timers, observer } = this.#parts;
    this.#failure = undefined;
    observer.observe({ kind: 'log-state', isAccepting: true });
    for (const queue of accounts.queues()) queue.wake();
    for (const { resolve } of this.#working.splice(0)) resolve();
    timers.check();
    this.schedule();
  }

  #stopTimers(): void {
    this.#graceTimer?.cancel();
    this.#graceTimer = undefined;
    this.#idleTimer?.cancel();
    this.#idleTimer = undefined;
  }

  #reportIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #letWaitingIn(): void {
    while (this.#waiting.length > 0 && !this.#isFull()) this.#waiting.shift()?.enter();
  }
}

export function closedError(): KnearError {
  return new KnearError('KNEAR_CLOSED', 'the event log is closed');
}
