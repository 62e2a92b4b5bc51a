/**
 * The embedded event log: group commit and early delivery over a `LogStore`. LMDB, memory and the simulator's crashing
 * disk all run this very code.
 *
 * It owns the promises towards producers and holders: when an append is answered, what a settle does. When things are
 * written is `Committer`'s, what goes into one commit `Group`'s, what waits for one egress `EgressQueue`'s, numbers and
 * limits are `Accounts`'.
 *
 * - L2 A record has its position, and is offered, when it enters the open group. A settle counts when each of its outputs
 *   is durable or itself settled everywhere by settles that count. `append` resolves when the record is durable or every
 *   matching egress has a settle that counts. What is settled everywhere before its group is sealed is never written.
 * - L5 Leases live in memory only (`Leases`).
 * - L6 Appends are taken while the log, the disk and the ingress' quota have room; outputs of settles a little longer; Work
 *   and parked entries always, because refusing them would only repeat the delivery (`Accounts`).
 * - L9 A row is settled once, whoever holds it: references fall only with rows that a group removes (`Group`).
 *
 * L1, L4, L11 and L12 are `Committer`'s; L3, L7 and L10 `EgressQueue`'s; L8 is `core/rules/match.ts`.
 */
import { codeOf, KnearError } from '../../core/errors.ts';
import { claimOf, eventSizeBytes } from '../../core/event.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { ClaimLedger, PayloadHolders } from '../../core/ports/claims.ts';
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
import type { Clock } from '../../core/ports/time.ts';
import { Accounts } from './accounts.ts';
import type { LogLimits } from './accounts.ts';
import { ClaimRows } from './claim-rows.ts';
import { closedError, Committer } from './committer.ts';
import { dropBatch, dropFromMemory } from './drop.ts';
import { DueTimers, type DueTimer } from './due-timers.ts';
import type { EgressQueue } from './egress-queue.ts';
import { Entry, whenAllSafe } from './entry.ts';
import type { Row, RowContent } from './entry.ts';
import { timerKey } from './keys.ts';
import { noCounts } from './group.ts';
import { KeptOutputs } from './kept-outputs.ts';
import { Leases } from './leases.ts';
import { LogDelivery } from './log-delivery.ts';
import { Parking } from './parking.ts';
import { Records } from './records.ts';
import type { LogStore } from './store.ts';
import { embeddedSupports } from './supports.ts';

export interface GroupedLogOptions {
  readonly store: LogStore;
  readonly match: Match;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly limits: LogLimits;
  /** Absent: no event is claimed, or payloads are nobody's business. */
  readonly payloads?: PayloadHolders;
}

const NOBODY: PayloadHolders = { hold() {}, release() {}, freed() {} };

export class GroupedLog implements EventLog {
  readonly supports: LogSupports;
  /** Which payloads its records name. */
  readonly claims: ClaimLedger;

  readonly #store: LogStore;
  readonly #match: Match;
  readonly #clock: Clock;
  readonly #observer: Observer;
  readonly #accounts: Accounts;
  readonly #records: Records;
  readonly #parking: Parking;
  readonly #leases: Leases;
  readonly #timers: DueTimers;
  readonly #committer: Committer;
  readonly #kept: KeptOutputs;
  readonly #payloads: PayloadHolders;
  #isClosed = false;
  #closing: Promise<void> | undefined;

  /**
   * Takes over a store, with whatever an earlier process left in it.
   * @throws KNEAR_LOG_FORMAT
   */
  static open(options: GroupedLogOptions): GroupedLog {
    const log = new GroupedLog(options);
    log.#timers.check();
    log.#parking.keepAge();
    // Best effort: rows that cannot be read now are found again at the next start.
    for (const queue of log.#accounts.gone()) log.#dropRows(queue).catch(() => undefined);
    return log;
  }

  private constructor(options: GroupedLogOptions) {
    const { store, match, clock, observer, limits, payloads = NOBODY } = options;
    this.#payloads = payloads;
    this.#store = store;
    this.#match = match;
    this.#clock = clock;
    this.#observer = observer;
    this.supports = embeddedSupports(store.durability);
    const context = {
      store,
      windowMax: limits.windowMax,
      durablePosition: () => this.#committer.durablePosition,
      entriesInMemory: () => this.#committer.entriesInMemory(),
      isOffering: () => !this.#committer.failure && !this.#isClosed,
    };
    this.#accounts = Accounts.recover({ limits, store, context });
    this.#records = new Records({ store, accounts: this.#accounts });
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
    this.#committer = new Committer({
      store,
      clock,
      observer,
      accounts: this.#accounts,
      records: this.#records,
      leases: this.#leases,
      timers: this.#timers,
      payloads,
      onParked: (queue) => {
        this.#parking.keepBound(queue);
      },
    });
    const failure = () => (this.#isClosed ? closedError() : this.#committer.failure);
    this.claims = new ClaimRows({ store, clock, committer: this.#committer, failure });
    this.#parking = new Parking({
      store,
      limits,
      clock,
      observer,
      records: this.#records,
      committer: this.#committer,
      queues: () => this.#accounts.queues(),
      findQueue: (egressId) => this.#accounts.findQueue(egressId),
      failure,
    });
    this.#kept = new KeptOutputs({
      clock,
      committer: this.#committer,
      parking: this.#parking,
      queueOf: (egressId) => this.#accounts.queue(egressId),
      create: (ingressId, event) =>
        this.#createEntry(ingressId, event, { isEarly: false, graceMs: 0 }),
    });
  }

  /** Nothing: it matches when an event comes. */
  async prepare(): Promise<void> {
    if (this.#isClosed) throw closedError();
  }

  append(ingressId: string, events: readonly CloudEvent[]): Promise<Position[]> {
    const refusal = this.#refusal('append', ingressId);
    if (refusal) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      this.#committer.whenRoom(() => {
        const entries = events.map((event) => this.#enter(ingressId, event));
        const positions = entries.map((entry) => entry?.position ?? 0);
        whenAllSafe(present(entries), { safe: () => resolve(positions), failed: reject });
      }, reject);
    });
  }

  async pull(
    egressId: string,
    count: number,
    { signal }: { signal: AbortSignal },
  ): Promise<Delivery[]> {
    if (count < 1) return [];
    // Again, when what was pulled is gone before it is offered, because its write has failed.
    for (;;) {
      if (this.#isClosed) throw closedError();
      const queue = this.#accounts.queue(egressId);
      const deliveries = this.#offerAll(await queue.pull(count, signal));
      if (deliveries.length > 0 || signal.aborted || queue.isClosed) return deliveries;
    }
  }

  lag(egressId: string): Lag {
    const counts = this.#accounts.findQueue(egressId)?.counts;
    const { ready, delayed, parked } = counts ?? noCounts();
    return { ready, delayed, parked };
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

  get usage(): { readonly bytes: number; readonly bytesMax: number } {
    return this.#accounts.usage;
  }

  parked(egressId: string, options: { after?: Position; limit: number }): Promise<ParkedEntry[]> {
    return this.#parking.entries(egressId, options);
  }

  replay(egressId: string, positions: readonly Position[]): Promise<number> {
    return this.#parking.replay(egressId, positions);
  }

  dropParked(egressId: string, positions: readonly Position[]): Promise<number> {
    return this.#parking.discard(egressId, positions);
  }

  async drop(egressId: string): Promise<number> {
    if (this.#isClosed) throw closedError();
    const queue = this.#accounts.findQueue(egressId);
    if (!queue) return 0;
    // The identity is free from here on: a resource of this name that comes now starts anew.
    const { ready, delayed, parked } = queue.counts;
    for (const row of queue.rows()) this.#leases.end(row);
    this.#committer.open.change(this.#accounts.release(queue));
    dropFromMemory({ committer: this.#committer, records: this.#records, queue });
    await this.#dropRows(queue);
    const count = ready + delayed + parked;
    if (count > 0) {
      const end = 'gone';
      this.#observer.observe({ kind: 'discarded', egressId, end, count, reason: 'egress-deleted' });
    }
    return count;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    this.#parking.stop();
    this.#leases.stop();
    this.#timers.stop();
    await this.#committer.close();
    for (const queue of this.#accounts.queues()) queue.close();
    await this.#store.close();
  }

  // --- what a holder does with its delivery ---------------------------------------------------------------------------

  isOpen({ state }: Row): boolean {
    return state === 'open' || state === 'ready';
  }

  /** See `Delivery.settle`. */
  settle(row: Row, outputs: readonly Output[]): Promise<void> | undefined {
    if (this.#isClosed) return Promise.reject(closedError());
    // L9: settled before, or its record is gone.
    if (!this.isOpen(row)) return undefined;
    for (const output of outputs) {
      const refusal = output.kind === 'event' && this.#refusal('output', output.ingressId);
      if (refusal) return Promise.reject(refusal);
    }
    const content = this.#records.content(row);
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
    const keptEntries = kept.map((output) => this.#kept.keep(row, content, output));
    // L2: what stays with the record itself counts when that is durable, and needs no counting then.
    const isRecordKept = keptEntries.includes(undefined);
    if (entry && !isRecordKept) {
      whenAllSafe([...events, ...present(keptEntries)], {
        safe: () => {
          row.queue.learn(this.#clock.monotonicMs() - entry.enteredMs);
          if (isCounted) entry.countSettle();
        },
        failed: (error) => entry.withdraw(error),
      });
    }
    const group = this.#committer.open;
    this.#committer.schedule();
    if (kept.length === 0 && events.length === 0) return undefined;
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

  /** An event that somebody wants enters the open group and is offered. */
  #enter(ingressId: string, event: CloudEvent): Entry | undefined {
    const { egressIds, isEarly } = this.#match(ingressId, event);
    if (egressIds.length === 0) return undefined;
    const queues = egressIds.map((id) => this.#accounts.queue(id));
    const graceMs = isEarly ? this.#committer.graceMs(queues) : 0;
    const entry = this.#createEntry(ingressId, event, { isEarly, graceMs });
    for (const queue of queues) entry.rows.set(queue, { kind: 'ready' });
    entry.uncounted = queues.length;
    for (const queue of queues) queue.arrive(entry);
    this.#committer.schedule();
    return entry;
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
    this.#committer.open.add(entry);
    const ref = claimOf(event);
    if (ref) this.#payloads.hold(ref);
    this.#accounts.addBytes(entry.account, entry.sizeBytes);
    return entry;
  }

  /** A settled row leaves its record: in memory while that is not sealed, else by a change in the open group. */
  #removeRow(row: Row, content: RowContent): void {
    if (row.entry?.state === 'open') {
      row.entry.rows.delete(row.queue);
      row.queue.forget(row);
    } else {
      this.#committer.open.removeRow(row, content);
    }
  }

  /** A damaged record does not hold up the others: it comes back when its lease is over. */
  #offerAll(rows: readonly Row[]): Delivery[] {
    const deliveries: Delivery[] = [];
    const faults: unknown[] = [];
    for (const row of rows) {
      if (row.state !== 'open') continue;
      this.#leases.start(row);
      try {
        deliveries.push(this.#offer(row));
      } catch (error) {
        faults.push(error);
      }
    }
    if (faults.length > 0 && deliveries.length === 0) throw corrupt(faults);
    return deliveries;
  }

  #offer(row: Row): Delivery {
    const content = this.#records.content(row);
    row.lease += 1;
    row.offers += 1;
    return new LogDelivery<Row>(this, row, {
      ...content,
      egressId: row.queue.id,
      position: row.position,
      lease: row.lease,
      origin: content.origin?.event,
    });
  }

  #refusal(what: 'append' | 'output', ingressId?: string): KnearError | undefined {
    if (this.#isClosed) return closedError();
    const account = ingressId === undefined ? undefined : this.#accounts.ingress(ingressId);
    return this.#committer.failure ?? this.#accounts.refusal(account, what);
  }

  #moveTimers(timers: readonly DueTimer[]): void {
    const group = this.#committer.open;
    for (const { dueMs, egress, position } of timers) {
      const queue = this.#accounts.findQueueByNumber(egress);
      if (!queue || queue.isClosed) {
        // Of an egress that is being dropped: its rows go with it, the timer now.
        group.removeTimer(timerKey(dueMs, egress, position));
        continue;
      }
      group.moveToReady(queue, position, dueMs);
      queue.counts.delayed -= 1;
      queue.counts.ready += 1;
    }
    this.#committer.schedule();
  }

  /** Each batch is read when the one before is gone. */
  async #dropRows(queue: EgressQueue): Promise<void> {
    const [store, records, accounts] = [this.#store, this.#records, this.#accounts];
    do await this.#committer.whenDecided();
    while (dropBatch({ store, records, accounts, queue, group: this.#committer.open }));
    this.#accounts.forget(queue);
  }
}

function present<Value>(values: readonly (Value | undefined)[]): Value[] {
  return values.filter((value) => value !== undefined);
}

function corrupt([cause]: readonly unknown[]): KnearError {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new KnearError(codeOf(cause) ?? 'KNEAR_LOG_CORRUPT', detail, { cause });
}
