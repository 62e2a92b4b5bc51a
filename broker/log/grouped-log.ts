/**
 * The embedded event log: group commit and early delivery over a `LogStore`. LMDB, memory and the simulator's crashing
 * disk all run this very code.
 *
 * It owns the order of everything that is written and the promises towards producers and holders. What waits for one
 * egress is `EgressQueue`'s, what goes into one commit `Group`'s, numbers and limits are `Accounts`'.
 *
 * L1 Appends, settles and due timers form groups of at most GROUP_RECORDS_MAX records or GROUP_BYTES_MAX bytes. One group
 *    is in commit at a time; the next is submitted before anybody is told about the last. Past the bound appends wait.
 * L2 A record has its position, and is offered, when it enters the open group. A settle counts when each of its outputs
 *    is durable or itself settled everywhere by settles that count. `append` resolves when the record is durable or every
 *    matching egress has a settle that counts. What is settled everywhere before its group is sealed is never written.
 * L4 Settles without outputs wait for the next append, at most IDLE_FLUSH_MS; outputs enter the open group at once.
 * L5 Leases live in memory only (`Leases`).
 * L6 Appends are taken while the log, the disk and the ingress' quota have room; outputs of settles a little longer; Work
 *    and parked entries always, because refusing them would only repeat the delivery (`Accounts`).
 * L9 A row is settled once, whoever holds it: references fall only with rows that a group removes (`Group`).
 * L12 A flush that would be for nothing is not begun: a record whose egresses settle, as a rule, sooner than a flush takes
 *    may wait for them up to GRACE_MAX_MS. It is acknowledged when it is settled, and mostly never written.
 * L11 A group that fails is undone with everything that is not durable: producers get KNEAR_LOG_FAILED, deliveries of its
 *    records become stale, rows whose settles were in it are offered again. Nothing is taken or offered until a small
 *    commit of its own has succeeded.
 *
 * L3, L7 and L10 are `EgressQueue`'s; L8 is `core/rules/match.ts`.
 */
import { strict as assert } from 'node:assert';

import { LRUCache } from 'lru-cache';

import { KnearError } from '../../core/errors.ts';
import { eventSizeBytes } from '../../core/event.ts';
import type { CloudEvent } from '../../core/event.ts';
import { LEASE_MS } from '../../core/ports/event-log.ts';
import type {
  Delivery,
  EventLog,
  Lag,
  LogState,
  LogSupports,
  Match,
  Output,
  ParkedEntry,
  Position,
} from '../../core/ports/event-log.ts';
import type { Observer } from '../../core/ports/observer.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import { Accounts } from './accounts.ts';
import type { LogLimits } from './accounts.ts';
import { DueTimers } from './due-timers.ts';
import type { DueTimer } from './due-timers.ts';
import type { EgressQueue } from './egress-queue.ts';
import { Entry, whenAllSafe } from './entry.ts';
import type { PendingRow, Row, RowContent } from './entry.ts';
import { Group } from './group.ts';
import type { RecordSize } from './group.ts';
import { numberKey, positionKey, rowKey, rowKeyPosition, timerKey } from './keys.ts';
import { Leases } from './leases.ts';
import { LogDelivery } from './log-delivery.ts';
import { Parking } from './parking.ts';
import { decodeEvent, decodeWork } from './record.ts';
import type { LogStore, Table } from './store.ts';

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
/** L7: records that wait for a slow egress are read again from the disk past this. */
const BODY_CACHE_BYTES = 32 * 1024 * 1024;
/** Rows of a deleted egress removed by one commit. */
const DROP_BATCH = 500;
/** Parked entries are judged by age this often. */
const PARKED_CHECK_MS = 3_600_000;
/** After a failed commit the disk is probed after 1 s, then at doubling intervals up to 10 s. */
const PROBE_MS = 1_000;
const PROBE_MAX_MS = 10_000;

export interface GroupedLogOptions {
  readonly store: LogStore;
  readonly match: Match;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly limits: LogLimits;
}

type Record = Omit<RowContent, 'work' | 'origin'>;

export class GroupedLog implements EventLog {
  readonly supports: LogSupports;

  readonly #store: LogStore;
  readonly #match: Match;
  readonly #clock: Clock;
  readonly #observer: Observer;
  readonly #accounts: Accounts;
  readonly #parking: Parking;
  readonly #leases: Leases;
  readonly #timers: DueTimers;
  readonly #parkedAgeMs: number;
  readonly #bodies = new LRUCache<Position, Record>({
    maxSize: BODY_CACHE_BYTES,
    sizeCalculation: ({ sizeBytes }) => sizeBytes + 1,
  });

  #durablePosition: Position = 0;
  #open = new Group();
  #inCommit: Group | undefined;
  /** How long a flush takes, ms: a moving average. */
  #flushMs = 0;
  #isSubmitDue = false;
  #graceTimer: Timer | undefined;
  #idleFlush: Timer | undefined;
  /** Appends that wait for room in the open group. */
  #waiting: { enter(): void; fail(error: KnearError): void }[] = [];
  /** Called when nothing is in commit and nothing waits to be. */
  #idle: (() => void)[] = [];
  #failure: KnearError | undefined;
  #isClosed = false;
  #probeTimer: Timer | undefined;
  #parkedTimer: Timer | undefined;

  private constructor(options: GroupedLogOptions) {
    const { store, clock, observer, limits } = options;
    this.#store = store;
    this.#match = options.match;
    this.#clock = clock;
    this.#observer = observer;
    this.#parkedAgeMs = limits.parkedAgeMs;
    this.supports = { durability: store.durability, ordered: true, delayed: true, history: false };
    const context = {
      store,
      windowMax: limits.windowMax,
      durablePosition: () => this.#durablePosition,
      entriesInMemory: () => this.#entriesInMemory(),
      isOffering: () => !this.#failure && !this.#isClosed,
    };
    this.#accounts = new Accounts({ limits, store, context });
    this.#parking = new Parking({
      store,
      limits,
      observer,
      openGroup: () => this.#open,
      recordSize: (position) => this.#recordSize(position),
    });
    this.#leases = new Leases(clock, (row) => {
      observer.observe({ kind: 'lease-lost', egressId: row.queue.id, lease: row.lease });
      row.queue.giveBack(row);
    });
    this.#timers = new DueTimers({
      store,
      clock,
      move: (timers) => {
        this.#moveTimers(timers);
      },
    });
  }

  /**
   * Takes over a store, with whatever an earlier process left in it.
   * @throws KNEAR_LOG_FORMAT
   */
  static open(options: GroupedLogOptions): GroupedLog {
    const log = new GroupedLog(options);
    log.#accounts.recover();
    log.#durablePosition = log.#accounts.lastPosition;
    log.#timers.check();
    log.#dropOldParked();
    return log;
  }

  append(ingressId: string, events: readonly CloudEvent[]): Promise<Position[]> {
    const refusal = this.#refusal('append', ingressId);
    if (refusal) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const enter = () => {
        const entries = events.map((event) => this.#enter(ingressId, event));
        const positions = entries.map((entry) => entry?.position ?? 0);
        whenAllSafe(present(entries), { safe: () => resolve(positions), failed: reject });
      };
      if (this.#isFull()) this.#waiting.push({ enter, fail: reject });
      else enter();
    });
  }

  async pull(
    egressId: string,
    count: number,
    { signal }: { signal: AbortSignal },
  ): Promise<Delivery[]> {
    if (this.#isClosed) throw closedError();
    const rows = await this.#accounts.queue(egressId).pull(count, signal);
    // From here on a row that cannot be offered (a damaged record) comes back when its lease is over.
    for (const row of rows) if (row.state === 'open') this.#leases.start(row);
    return present(rows.map((row) => this.#offer(row)));
  }

  lag(egressId: string): Lag {
    const counts = this.#accounts.findQueue(egressId)?.counts;
    return counts
      ? { ready: counts.ready, delayed: counts.delayed, parked: counts.parked }
      : { ready: 0, delayed: 0, parked: 0 };
  }

  egressIds(): string[] {
    const isUsed = ({ counts }: EgressQueue) => counts.ready + counts.delayed + counts.parked > 0;
    return [...this.#accounts.queues()].filter(isUsed).map(({ id }) => id);
  }

  get state(): LogState {
    const refusal = this.#refusal('append');
    return refusal
      ? { kind: 'refusing', code: refusal.code, detail: refusal.message }
      : { kind: 'accepting' };
  }

  parked(egressId: string, options: { after?: Position; limit: number }): ParkedEntry[] {
    const queue = this.#accounts.findQueue(egressId);
    if (!queue) return [];
    return this.#parking.list(queue, options).map(({ position, parked }) => {
      const { event } = this.#readRecord(position);
      return { position, event, failure: parked.failure, atMs: parked.atMs };
    });
  }

  async drop(egressId: string): Promise<number> {
    const queue = this.#accounts.findQueue(egressId);
    if (!queue) return 0;
    // The identity is free from here on: a resource of this name that comes now starts anew.
    this.#accounts.releaseName(queue);
    const { ready, delayed, parked } = queue.counts;
    for (const row of queue.rows()) this.#leases.end(row);
    queue.close();
    for (const entry of this.#open.entries) if (entry.rows.delete(queue)) entry.countSettle();
    do await this.#whenIdle();
    while (this.#dropBatch(queue));
    this.#accounts.forgetNumber(queue);
    const count = ready + delayed + parked;
    if (count > 0) {
      const end = 'gone';
      this.#observer.observe({ kind: 'discarded', egressId, end, count, reason: 'egress-deleted' });
    }
    return count;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const timer of [this.#parkedTimer, this.#probeTimer, this.#graceTimer]) timer?.cancel();
    this.#leases.stop();
    this.#timers.stop();
    for (const { fail } of this.#waiting.splice(0)) fail(closedError());
    await this.#whenIdle();
    for (const queue of this.#accounts.queues()) queue.close();
    await this.#store.close();
  }

  // --- what a holder does with its delivery ---------------------------------------------------------------------------

  /** See `Delivery.settle`. */
  settle(row: Row, outputs: readonly Output[]): Promise<void> {
    // L9: settled before, or its record is gone.
    if (row.state !== 'open' && row.state !== 'ready') return Promise.resolve();
    if (this.#isClosed) return Promise.reject(closedError());
    for (const output of outputs) {
      const refusal = output.kind === 'event' && this.#refusal('output', output.ingressId);
      if (refusal) return Promise.reject(refusal);
    }
    const content = this.#content(row);
    const { entry } = row;
    const isCounted = entry?.isInMemoryOnly;
    row.queue.settle(row);
    this.#leases.end(row);
    this.#removeRow(row, content);

    const events = present(
      outputs.map((output) =>
        output.kind === 'event' ? this.#enter(output.ingressId, output.event) : undefined,
      ),
    );
    const kept = outputs.filter((output) => output.kind !== 'event');
    for (const output of kept) this.#keep(row, content, output);
    // L2: Work and parked entries count when they are durable, which makes the record durable too.
    if (entry && kept.length === 0) {
      whenAllSafe(events, {
        safe: () => {
          row.queue.learn(this.#clock.monotonicMs() - entry.enteredMs);
          if (isCounted) entry.countSettle();
        },
        failed: (error) => entry.withdraw(error),
      });
    }
    const group = this.#open;
    this.#schedule();
    if (kept.length === 0 && events.length === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (kept.length > 0) group.listeners.push({ safe: resolve, failed: reject });
      else whenAllSafe(events, { safe: resolve, failed: reject });
    });
  }

  release(row: Row, offer: number): void {
    if (row.state !== 'open' || row.offers !== offer) return;
    this.#leases.end(row);
    row.lease -= 1;
    row.queue.giveBack(row);
  }

  extend(row: Row, offer: number): void {
    if (row.state !== 'open' || row.offers !== offer) return;
    row.leaseUntilMs = this.#clock.monotonicMs() + LEASE_MS;
  }

  // --- appending and settling -----------------------------------------------------------------------------------------

  /** An event that somebody wants enters the open group and is offered. */
  #enter(ingressId: string, event: CloudEvent): Entry | undefined {
    const { egressIds, isEarly } = this.#match(ingressId, event);
    if (egressIds.length === 0) return undefined;
    const queues = egressIds.map((id) => this.#accounts.queue(id));
    const graceMs = isEarly ? this.#grace(queues) : 0;
    const entry = this.#createEntry(ingressId, event, { isEarly, graceMs });
    for (const queue of queues) entry.rows.set(queue, { kind: 'ready' });
    entry.uncounted = queues.length;
    for (const queue of queues) queue.arrive(entry);
    this.#schedule();
    return entry;
  }

  /** L12 */
  #grace(queues: readonly EgressQueue[]): number {
    let expectedMs = 0;
    for (const queue of queues) expectedMs = Math.max(expectedMs, queue.expectedSettleMs);
    const isSoon = expectedMs <= Math.max(GRACE_FLUSHES * this.#flushMs, GRACE_MIN_MS);
    return isSoon ? GRACE_MAX_MS : 0;
  }

  #createEntry(
    ingressId: string,
    event: CloudEvent,
    { isEarly, graceMs }: { isEarly: boolean; graceMs: number },
  ): Entry {
    const enteredMs = this.#clock.monotonicMs();
    const entry = new Entry({
      position: this.#accounts.takePosition(),
      account: this.#accounts.ingress(ingressId),
      event,
      acceptedAtMs: this.#clock.nowMs(),
      sizeBytes: eventSizeBytes(event),
      isEarly,
      enteredMs,
      flushByMs: enteredMs + graceMs,
    });
    this.#open.add(entry);
    this.#accounts.addBytes(entry.account, entry.sizeBytes);
    return entry;
  }

  /** A settled row leaves its record: in memory while that is not sealed, else by a change in the open group. */
  #removeRow(row: Row, content: RowContent): void {
    if (row.entry?.state === 'open') {
      row.entry.rows.delete(row.queue);
      row.queue.forget(row);
    } else {
      this.#open.removeRow(row, content);
    }
  }

  /** Work or a parked entry goes to the record it is about: the delivery's, its origin's, or a new one. */
  #keep(row: Row, content: RowContent, output: Exclude<Output, { kind: 'event' }>): void {
    const { queue } = row;
    const pending = pendingRow(row, content, output, this.#clock.nowMs());
    const own = output.event === content.event ? row : undefined;
    const record = own ?? (output.event === content.origin?.event ? content.origin : undefined);
    const sizeBytes = own ? content.sizeBytes : eventSizeBytes(output.event);
    if (record && own?.entry?.state !== 'open') {
      this.#open.putRow({ queue, position: record.position, sizeBytes, row: pending });
    } else {
      const entry =
        own?.entry ??
        this.#createEntry(content.account.id, output.event, { isEarly: false, graceMs: 0 });
      entry.rows.set(queue, pending);
      // Never counted down, see L2 in `settle`.
      if (!own) entry.uncounted = 1;
      if (pending.kind === 'work' && pending.origin !== undefined) {
        this.#open.refer(pending.origin, 1);
      }
    }
    if (pending.kind === 'parked') this.#parking.arrived(queue, sizeBytes);
    else if (pending.dueAtMs === 0) queue.counts.ready += 1;
    else queue.counts.delayed += 1;
  }

  #refusal(what: 'append' | 'output', ingressId?: string): KnearError | undefined {
    if (this.#isClosed) return closedError();
    const account = ingressId === undefined ? undefined : this.#accounts.ingress(ingressId);
    return this.#failure ?? this.#accounts.refusal(account, what);
  }

  // --- offering -------------------------------------------------------------------------------------------------------

  #offer(row: Row): Delivery | undefined {
    // The queue may have been closed between the pull and its answer.
    if (row.state !== 'open') return undefined;
    const content = this.#content(row);
    row.lease += 1;
    row.offers += 1;
    return new LogDelivery(this, row, content);
  }

  #content(row: Row): RowContent {
    row.content ??= row.entry ? contentOf(row.entry) : this.#readContent(row);
    return row.content;
  }

  #readContent(row: Row): RowContent {
    const record = this.#readRecord(row.position);
    if (!row.isWork) return { ...record, work: undefined, origin: undefined };
    const stored = this.#store.get('work', rowKey(row.queue.number, row.position));
    if (!stored) throw corrupt(`Work of ${row.queue.id} at ${row.position} has no row`);
    const { work, origin: position } = decodeWork(stored);
    const origin =
      position === undefined ? undefined : { position, event: this.#readRecord(position).event };
    return { ...record, work, origin };
  }

  #readRecord(position: Position): Record {
    const cached = this.#bodies.get(position);
    if (cached) return cached;
    const stored = this.#store.get('event', positionKey(position));
    if (!stored) throw corrupt(`the record at ${position} is missing`);
    const { ingress, acceptedAtMs, event } = decodeEvent(stored);
    const account = this.#accounts.findIngressByNumber(ingress);
    if (!account) throw corrupt(`the record at ${position} names ingress ${ingress}`);
    return { event, account, acceptedAtMs, sizeBytes: eventSizeBytes(event) };
  }

  #recordSize(position: Position): RecordSize {
    return this.#readRecord(position);
  }

  // --- committing -----------------------------------------------------------------------------------------------------

  #isFull(): boolean {
    return this.#open.entries.length >= GROUP_RECORDS_MAX || this.#open.bytes >= GROUP_BYTES_MAX;
  }

  /** Sees to it that the open group is submitted in time (L1, L4). */
  #schedule(): void {
    if (this.#inCommit || this.#failure || this.#open.isEmpty) return;
    if (!this.#open.isUrgent) {
      this.#idleFlush ??= this.#clock.after(IDLE_FLUSH_MS, () => {
        this.#idleFlush = undefined;
        this.#submit('all');
      });
      return;
    }
    const graceMs = this.#graceMs();
    if (graceMs > 0) {
      this.#graceTimer ??= this.#clock.after(graceMs, () => {
        this.#graceTimer = undefined;
        this.#submit('urgent');
      });
    } else if (!this.#isSubmitDue) {
      this.#isSubmitDue = true;
      this.#clock.soon(() => {
        this.#isSubmitDue = false;
        this.#submit('urgent');
      });
    }
  }

  /** L12: how long the open group may still wait, ms. */
  #graceMs(): number {
    return this.#isFull() ? 0 : this.#open.flushByMs - this.#clock.monotonicMs();
  }

  #submit(what: 'urgent' | 'all'): void {
    if (this.#inCommit || this.#failure || this.#open.isEmpty) return;
    const group = this.#open;
    for (const entry of group.leaveOut()) this.#accounts.addBytes(entry.account, -entry.sizeBytes);
    if (what === 'urgent' && (!group.isUrgent || this.#graceMs() > 0)) {
      if (group.entries.length === 0) this.#durablePosition = this.#accounts.lastPosition;
      this.#letWaitingIn();
      this.#schedule();
      if (group.isEmpty) this.#reportIdle();
      return;
    }
    this.#graceTimer?.cancel();
    this.#graceTimer = undefined;
    this.#idleFlush?.cancel();
    this.#idleFlush = undefined;
    group.through = this.#accounts.lastPosition;
    const changes = group.seal((position) => this.#references(position));
    this.#open = new Group();
    this.#inCommit = group;
    const startedMs = this.#clock.monotonicMs();
    this.#store.commit([...changes, ...this.#accounts.changes(group)]).then(
      () => {
        this.#flushed(group, startedMs);
      },
      (error: unknown) => {
        this.#failed(group, error);
      },
    );
    this.#letWaitingIn();
  }

  #flushed(group: Group, startedMs: number): void {
    const flushMs = this.#clock.monotonicMs() - startedMs;
    this.#flushMs += 0.1 * (flushMs - this.#flushMs);
    this.#inCommit = undefined;
    this.#durablePosition = group.through;
    this.#accounts.flushed(group);
    for (const row of group.settledRows) row.queue.forget(row);
    for (const { queue, position } of group.leavingParked) queue.leavingParked.delete(position);
    for (const entry of group.entries) this.#entryFlushed(entry);
    for (const { queue, position, dueAtMs } of group.scheduled) {
      if (dueAtMs === 0) queue.restore(position);
      else this.#timers.arm(dueAtMs);
    }
    if (group.movesTimers) this.#timers.moved();
    // L1: the next group is on its way before anybody hears of this one.
    if (this.#open.isUrgent && this.#graceMs() <= 0) this.#submit('urgent');
    else this.#schedule();
    for (const entry of group.entries) entry.becomeSafe();
    for (const listener of group.listeners) listener.safe();
    this.#observer.observe({
      kind: 'committed',
      records: group.entries.length,
      settles: group.settledRows.length,
      leftOut: group.leftOut,
      bytes: group.changesBytes,
      durationMs: flushMs,
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
    if (isWaitedFor) this.#bodies.set(entry.position, contentOf(entry));
  }

  /** L11 */
  #failed(group: Group, cause: unknown): void {
    const what = `writing ${group.entries.length} records and ${group.settledRows.length} settles`;
    const detail = `${what} failed: ${messageOf(cause)}; check the disk of the data folder`;
    const failure = new KnearError('KNEAR_LOG_FAILED', detail, { cause, retryAfterMs: PROBE_MS });
    const undone = [group, this.#open];
    this.#inCommit = undefined;
    this.#open = new Group();
    this.#failure = failure;
    this.#idleFlush?.cancel();
    this.#idleFlush = undefined;
    this.#accounts.undo();
    for (const { entries } of undone) for (const entry of entries) this.#withdraw(entry, failure);
    for (const { settledRows, leavingParked, listeners, movesTimers } of undone) {
      if (movesTimers) this.#timers.undone();
      for (const row of settledRows) if (row.state === 'settled') row.queue.giveBack(row);
      for (const { queue, position } of leavingParked) queue.leavingParked.delete(position);
      for (const listener of listeners) listener.failed(failure);
    }
    for (const { fail } of this.#waiting.splice(0)) fail(failure);
    this.#observer.observe({ kind: 'log-state', isAccepting: false, code: failure.code });
    if (this.#isClosed) this.#reportIdle();
    else this.#probeLater(PROBE_MS);
  }

  #withdraw(entry: Entry, failure: KnearError): void {
    for (const queue of entry.rows.keys()) {
      const row = queue.find(entry.position);
      if (!row) continue;
      this.#leases.end(row);
      queue.forget(row);
    }
    entry.withdraw(failure);
  }

  /** A failed flush is never repeated: a commit of its own says whether the disk works again. */
  #probeLater(delayMs: number): void {
    this.#probeTimer = this.#clock.after(delayMs, () => {
      this.#store.commit([this.#accounts.nextIdsChange()]).then(
        () => {
          this.#work();
        },
        () => {
          if (!this.#isClosed) this.#probeLater(Math.min(delayMs * 2, PROBE_MAX_MS));
        },
      );
    });
  }

  /** The disk works again. */
  #work(): void {
    if (this.#isClosed) return;
    this.#failure = undefined;
    this.#observer.observe({ kind: 'log-state', isAccepting: true });
    for (const queue of this.#accounts.queues()) queue.wake();
    this.#timers.check();
    this.#schedule();
    if (this.#open.isEmpty) this.#reportIdle();
  }

  /** Resolves when everything that was to be written is; at once when the log is closed while it cannot write. */
  #whenIdle(): Promise<void> {
    const isIdle = !this.#inCommit && this.#open.isEmpty && !this.#failure;
    if (isIdle || (this.#failure && this.#isClosed)) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      this.#submit('all');
    });
  }

  #reportIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #letWaitingIn(): void {
    while (this.#waiting.length > 0 && !this.#isFull()) this.#waiting.shift()?.enter();
  }

  *#entriesInMemory(): Iterable<Entry> {
    if (this.#inCommit) yield* this.#inCommit.entries;
    yield* this.#open.entries;
  }

  #references(position: Position): number {
    return this.#store.get('refs', positionKey(position))?.readUInt32BE(0) ?? 1;
  }

  // --- later, and never -----------------------------------------------------------------------------------------------

  #moveTimers(timers: readonly DueTimer[]): void {
    for (const { dueMs, egress, position } of timers) {
      const queue = this.#accounts.findQueueByNumber(egress);
      if (!queue || queue.isClosed) {
        // Of an egress that is being dropped: its rows go with it, the timer now.
        this.#open.removeTimer(timerKey(dueMs, egress, position));
        continue;
      }
      this.#open.moveToReady(queue, position, dueMs);
      queue.counts.delayed -= 1;
      queue.counts.ready += 1;
    }
    this.#schedule();
  }

  #dropOldParked(): void {
    const untilMs = this.#clock.nowMs() - this.#parkedAgeMs;
    for (const queue of this.#accounts.queues()) {
      if (queue.durableCounts.parked > 0) this.#parking.dropOlderThan(queue, untilMs);
    }
    this.#schedule();
    this.#parkedTimer = this.#clock.after(PARKED_CHECK_MS, () => {
      this.#dropOldParked();
    });
  }

  /** Removes some rows of a closed queue; false when there was none left. */
  #dropBatch(queue: EgressQueue): boolean {
    if (this.#isClosed) return false;
    const batch = (table: Table) =>
      this.#store.range(table, {
        from: rowKey(queue.number, 0),
        to: rowKey(queue.number + 1, 0),
        limit: DROP_BATCH,
      });
    const tables = ['work', 'ready', 'parked'] as const;
    for (const table of tables) {
      const rows = batch(table);
      for (const { key, value } of rows) this.#dropRow({ queue, table, key, value });
      if (rows.length > 0) return true;
    }
    if (!this.#store.get('egress', numberKey(queue.number))) return false;
    this.#open.change({ table: 'egress', key: numberKey(queue.number) });
    return true;
  }

  #dropRow(row: {
    queue: EgressQueue;
    table: 'work' | 'ready' | 'parked';
    key: Buffer;
    value: Buffer;
  }): void {
    const group = this.#open;
    const { key, value } = row;
    const position = rowKeyPosition(key);
    group.change({ table: row.table, key });
    group.refer(position, -1, this.#recordSize(position));
    if (row.table !== 'work') return;
    // A Work row stands beside a ready row or a timer: one reference for both.
    const { dueAtMs, origin } = decodeWork(value);
    if (dueAtMs > 0)
      group.change({ table: 'timer', key: timerKey(dueAtMs, row.queue.number, position) });
    group.change({ table: 'ready', key });
    if (origin !== undefined) group.refer(origin, -1, this.#recordSize(origin));
  }
}

function contentOf(entry: Entry): RowContent {
  const { event, account, acceptedAtMs, sizeBytes } = entry;
  return { event, account, acceptedAtMs, sizeBytes, work: undefined, origin: undefined };
}

function pendingRow(
  row: Row,
  content: RowContent,
  output: Exclude<Output, { kind: 'event' }>,
  nowMs: number,
): Exclude<PendingRow, { kind: 'ready' }> {
  if (output.kind === 'parked') {
    return { kind: 'parked', failure: output.failure, atMs: output.atMs };
  }
  const { work, origin } = output;
  const dueAtMs = output.dueAtMs <= nowMs ? 0 : output.dueAtMs;
  if (!origin) return { kind: 'work', work, dueAtMs };
  if (origin === content.event) return { kind: 'work', work, dueAtMs, origin: row.position };
  assert(
    origin === content.origin?.event,
    'the origin of Work is the event of the delivery, or its origin',
  );
  return { kind: 'work', work, dueAtMs, origin: content.origin.position };
}

function present<Value>(values: readonly (Value | undefined)[]): Value[] {
  return values.filter((value) => value !== undefined);
}

function closedError(): KnearError {
  return new KnearError('KNEAR_CLOSED', 'the event log is closed');
}

function corrupt(detail: string): KnearError {
  return new KnearError('KNEAR_LOG_CORRUPT', `${detail}: restore the data folder from a backup`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
