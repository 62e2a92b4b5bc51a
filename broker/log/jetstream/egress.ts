/**
 * What one egress has been given by the server and has not settled yet, and the pulls that wait for more.
 *
 * It owns its rows and its numbers. The server owns the queue itself: what is not here is there.
 *
 *   (message) --> ready --> open --> settling --> settled
 *                   ^        |  \--> lapsed --(comes again)--> ready
 *                   \--------/ released
 *
 * - N4 A row is settled once, whichever of its leases settles it: the server gives it again only when its lease is over,
 *   so the row is known here while somebody may still hold it.
 * - N5 Who has not started anything yet loses nothing: what waits here for a holder is kept from lapsing (`extend`).
 * - N11 What was settled last is remembered: a copy that was on its way by then is not offered, but acknowledged again.
 * - N6 Numbers follow what this process does, and are never less than what is here. Where they cannot be right, the server is asked
 *   (`isDoubtful`). Where others take of the same queue, what is ready is what the server said with the last message.
 * - N19 Where others take of the same queue, what nobody here waits for goes back to them: at once if it was never offered, else within
 *   a second.
 * - N16 What cannot be read is told to whoever pulls, once for each time that the server gives it, and takes nothing else along.
 */
import type { Lag, PullOptions } from '../../../core/ports/event-log.ts';
import type { StoredMessage } from './message.ts';
import type { Place } from './place.ts';
import type { Puller, PullTerms } from './puller.ts';
import type { Turn } from './turn.ts';

export type RowState = 'ready' | 'open' | 'lapsed' | 'settling' | 'settled';

/** One message, for one egress. */
export interface Row {
  readonly egress: Egress;
  readonly place: Place;
  /** In the stream; grows. */
  readonly sequence: number;
  readonly content: StoredMessage;
  readonly sizeBytes: number;
  state: RowState;
  /** Where acknowledgements go, by durable: that of its newest lease. Two generations may give the same message (N9). */
  readonly acks: Map<string, string>;
  /** How often the server has given it. */
  given: number;
  /** Told to each holder: only the last one may extend or release. */
  offers: number;
  /** End of the lease; monotonic. */
  leaseUntilMs: number;
}

/** At this many timers it is given nothing more: what waits for it is as safe where it is. */
const TIMERS_MAX = 10_000;
/** More than one egress has under way at a time. */
const SETTLED_MAX = 1_024;

interface Waiter {
  readonly count: number;
  readonly signal: AbortSignal;
  resolve(rows: Row[]): void;
  reject(error: unknown): void;
}

export interface EgressOptions {
  /** Absent: TIMERS_MAX. */
  readonly timersMax?: number;
  readonly turn: Turn;
  /** Other processes take of the same queue. */
  readonly isShared: boolean;
  /** N19 */
  giveBack(row: Row): void;
}

export class Egress {
  readonly id: string;
  readonly token: string;
  readonly counts = { ready: 0, delayed: 0, parked: 0 };
  readonly rows = new Map<number, Row>();
  /** Up to this message of the stream, the server has counted what waits (N6). */
  countedTo = 0;
  pullers: readonly Puller[] = [];
  /** Something was removed from outside: its numbers are to be asked for. */
  isDoubted = false;
  /** Of those who pulled last. */
  terms: PullTerms = { nearness: 'any', isBrief: false };
  /** While it is being dropped, nothing is appended for it. */
  dropping: Promise<void> | undefined;
  /** Messages that are being published for it or by it. */
  #publishing = 0;
  #onPublished: (() => void)[] = [];
  #ready: Row[] = [];
  #waiters: Waiter[] = [];
  #isClosed = false;
  /** N16: nobody has been told yet. */
  #failure: { readonly error: unknown } | undefined;
  /** N11, oldest first. */
  readonly #settled = new Set<number>();
  readonly #watched = new WeakSet<AbortSignal>();
  /** N6: by durable. */
  readonly #pending = new Map<string, number>();
  readonly #options: EgressOptions;
  readonly #timersMax: number;

  constructor(id: string, token: string, options: EgressOptions) {
    this.id = id;
    this.token = token;
    this.#options = options;
    this.#timersMax = options.timersMax ?? TIMERS_MAX;
  }

  get lag(): Lag {
    const { delayed, parked } = this.counts;
    const { ready } = this;
    return {
      ready: Math.max(0, ready),
      delayed: Math.max(0, delayed),
      parked: Math.max(0, parked),
    };
  }

  /** N6 */
  get ready(): number {
    if (!this.#options.isShared) return this.counts.ready;
    let ready = this.rows.size;
    for (const pending of this.#pending.values()) ready += pending;
    return ready;
  }

  /** N6: what the server has said last. */
  heard(durable: string, pending: number): void {
    if (this.#options.isShared) this.#pending.set(durable, pending);
  }

  /** Messages that somebody waits for and that are not here. */
  get wanted(): number {
    if (this.#isFullOfTimers) return 0;
    let count = -this.#ready.length;
    for (const waiter of this.#waiters) count += waiter.count;
    return Math.max(0, count);
  }

  /** N6: something should be here, and does not come; or it is given nothing for as long as its timers are so many. */
  get isDoubtful(): boolean {
    if (this.#publishing > 0) return false;
    if (this.isDoubted || this.#isFullOfTimers) return true;
    // Timers that others have taken are still counted here.
    if (this.#options.isShared) return 2 * this.counts.delayed >= this.#timersMax;
    return this.counts.ready !== 0 && this.rows.size === 0 && this.#waiters.length > 0;
  }

  get #isFullOfTimers(): boolean {
    return this.counts.delayed >= this.#timersMax;
  }

  /**
   * Resolves with at least one row, or with none when the signal aborts or the log closes.
   * @throws what was told to `fail` (N16)
   */
  pull(count: number, { signal, nearness = 'any', isBrief = false }: PullOptions): Promise<Row[]> {
    this.terms = { nearness, isBrief };
    if (signal.aborted || this.#isClosed || count < 1) return Promise.resolve([]);
    if (this.#failure) {
      const { error } = this.#failure;
      this.#failure = undefined;
      return Promise.reject(error);
    }
    if (this.#waiters.length === 0 && this.#ready.length > 0) {
      return Promise.resolve(this.#take(count));
    }
    this.#watch(signal);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ count, signal, resolve, reject });
      this.ask();
    });
  }

  ask(): void {
    for (const puller of this.pullers) puller.ask();
  }

  /** A row that may be offered: new, come again, or given back. Older ones first. */
  makeReady(row: Row): void {
    if (this.#isClosed) return;
    row.state = 'ready';
    let at = this.#ready.length;
    while (at > 0 && (this.#ready[at - 1]?.sequence ?? 0) > row.sequence) at -= 1;
    this.#ready.splice(at, 0, row);
    if (this.#ready.length === 1) this.#options.turn.atEnd(() => this.#serve());
  }

  /** Who waits is given all that has come in this turn. */
  #serve(): void {
    while (this.#waiters.length > 0 && this.#ready.length > 0) {
      const waiter = this.#waiters.shift();
      waiter?.resolve(this.#take(waiter.count));
    }
    // Who has given one back has room for it soon: it would count as a lease without an outcome.
    this.giveBack(({ offers }) => offers === 0);
  }

  /** N19: of those that nobody here waits for. */
  giveBack(isMeant: (row: Row) => boolean = () => true): void {
    if (!this.#options.isShared || this.#waiters.length > 0) return;
    const rows = this.#ready.filter(isMeant);
    if (rows.length > 0) for (const puller of this.pullers) puller.withdraw();
    for (const row of rows) {
      this.take(row);
      this.rows.delete(row.sequence);
      this.#options.giveBack(row);
    }
  }

  /** N16 */
  fail(error: unknown): void {
    const waiter = this.#waiters.shift();
    if (waiter) waiter.reject(error);
    else this.#failure = { error };
  }

  /** It is not to be offered now. */
  take(row: Row): void {
    const at = this.#ready.indexOf(row);
    if (at >= 0) this.#ready.splice(at, 1);
  }

  /** For good. */
  settle(row: Row): void {
    this.take(row);
    row.state = 'settled';
    this.rows.delete(row.sequence);
    this.count('ready', -1);
    this.#settled.add(row.sequence);
    if (this.#settled.size <= SETTLED_MAX) return;
    const [oldest = 0] = this.#settled;
    this.#settled.delete(oldest);
  }

  /** N6 */
  count(kind: keyof Lag, by: number): void {
    this.counts[kind] += by;
    this.counts.ready = Math.max(this.counts.ready, this.rows.size);
  }

  /** N11 */
  isSettled(sequence: number): boolean {
    return this.#settled.has(sequence);
  }

  /** Something is being published for it or by it: a drop waits until as many have ended as have begun. */
  beginPublishing(): void {
    this.#publishing += 1;
  }

  endPublishing(): void {
    this.#publishing -= 1;
    if (this.#publishing > 0) return;
    for (const resolve of this.#onPublished.splice(0)) resolve();
  }

  async allPublished(): Promise<void> {
    if (this.#publishing === 0) return;
    await new Promise<void>((resolve) => this.#onPublished.push(resolve));
  }

  /** All that is here becomes stale. */
  clear(): void {
    for (const row of this.rows.values()) row.state = 'settled';
    this.rows.clear();
    this.#ready = [];
    this.#failure = undefined;
    this.#pending.clear();
    Object.assign(this.counts, { ready: 0, delayed: 0, parked: 0 });
  }

  close(): void {
    this.#isClosed = true;
    for (const row of this.rows.values()) row.state = 'settled';
    for (const puller of this.pullers) puller.close();
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.resolve([]);
  }

  #take(count: number): Row[] {
    const rows = this.#ready.splice(0, count);
    for (const row of rows) row.state = 'open';
    return rows;
  }

  #watch(signal: AbortSignal): void {
    if (this.#watched.has(signal)) return;
    this.#watched.add(signal);
    const onAbort = () => {
      const ended = this.#waiters.filter((waiter) => waiter.signal === signal);
      this.#waiters = this.#waiters.filter((waiter) => waiter.signal !== signal);
      for (const waiter of ended) waiter.resolve([]);
    };
    signal.addEventListener('abort', onAbort, { once: true });
  }
}
