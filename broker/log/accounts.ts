/**
 * What the log knows about its ingresses and egresses: the numbers that stand for them in keys, how many rows and bytes
 * each has, and whether more is taken (L6).
 *
 * A1 Counts and bytes on disk change by the delta of each group, in the group's own commit, so that opening a log of any
 *    size reads one row an egress.
 * A2 The counts in memory (`queue.counts`, `account.bytes`) include what is not durable yet; after a failed commit they
 *    are the ones on disk again.
 */
import { KnearError } from '../../core/errors.ts';
import type { Position } from '../../core/ports/event-log.ts';
import { EgressQueue } from './egress-queue.ts';
import type { QueueContext } from './egress-queue.ts';
import type { IngressAccount } from './entry.ts';
import type { Counts, Group } from './group.ts';
import { NEXT_IDS_KEY, numberKey } from './keys.ts';
import { decodeJson, encodeJson } from './record.ts';
import type { Change, LogStore } from './store.ts';

/** The rest is for outputs, Work and parked entries of what was accepted. */
const ACCEPT_SHARE = 0.9;
/** A tenth over the quota for replies to events that were accepted within it. */
const OUTPUT_QUOTA_SHARE = 1.1;
/** What producers are told to wait: a second drains thousands of events if anything drains at all. */
const RETRY_AFTER_MS = 1_000;
/** What a byte of a record takes in the store at most, pages and rows included (1.4 to 2, measured). */
const STORED_FACTOR = 2;
/** Numbers are 32 bits in keys, and never used twice. */
const NUMBER_MAX = 0xffff_ffff;

export interface LogLimits {
  /** Bytes of records the log keeps. */
  readonly sizeMaxBytes: number;
  /** Bytes of records of one ingress. */
  readonly quotaBytes: number;
  /** The disk keeps this much free. */
  readonly reserveBytes: number;
  /**
   * L7: rows of one egress that wait in memory, a quarter of them a read. 256 keeps the most slots an egress can have
   * busy, and a read of 64 stalls the event loop for about 0.1 ms.
   */
  readonly windowMax: number;
  /** Parked entries of one egress: how many, how large in all, how old. */
  readonly parkedMax: number;
  readonly parkedBytesMax: number;
  readonly parkedAgeMs: number;
}

interface NextIds {
  readonly position: Position;
  readonly egress: number;
  readonly ingress: number;
}

export interface AccountsOptions {
  readonly limits: LogLimits;
  readonly store: LogStore;
  readonly context: QueueContext;
}

export class Accounts {
  readonly #limits: LogLimits;
  readonly #store: LogStore;
  readonly #context: QueueContext;
  readonly #queues = new Map<string, EgressQueue>();
  readonly #queuesByNumber = new Map<number, EgressQueue>();
  readonly #ingresses = new Map<string, IngressAccount>();
  readonly #ingressesByNumber = new Map<number, IngressAccount>();
  #next: NextIds = { position: 1, egress: 1, ingress: 1 };
  /** `#next` as the group in commit has it, and as the disk has it. */
  #submitted = this.#next;
  #saved = this.#next;
  #bytes = 0;
  /** Says of a queue that it is gone, until the disk says so. */
  readonly #marks = new Map<EgressQueue, Change>();
  #submittedMarks: readonly EgressQueue[] = [];

  /** Starts from what an earlier process left. @throws KNEAR_LOG_FORMAT */
  static recover(options: AccountsOptions): Accounts {
    const accounts = new Accounts(options);
    accounts.#recover();
    return accounts;
  }

  private constructor(options: AccountsOptions) {
    this.#limits = options.limits;
    this.#store = options.store;
    this.#context = options.context;
  }

  #recover(): void {
    const next = this.#store.get('info', NEXT_IDS_KEY);
    if (next) this.#next = this.#saved = decodeJson<NextIds>(next);
    const all = { from: numberKey(0), to: numberKey(NUMBER_MAX), limit: NUMBER_MAX };
    for (const { key, value } of this.#store.range('ingress', all)) {
      const { id, bytes } = decodeJson<{ id: string; bytes: number }>(value);
      this.#addIngress({ id, number: key.readUInt32BE(0), durableBytes: bytes });
    }
    for (const { key, value } of this.#store.range('egress', all)) {
      const { id, isGone, ...counts } = decodeJson<Counts & { id: string; isGone?: true }>(value);
      const queue = this.#addQueue(id, key.readUInt32BE(0), counts.ready > 0 ? 0 : undefined);
      if (isGone) {
        this.release(queue);
        continue;
      }
      queue.durableCounts = counts;
      Object.assign(queue.counts, counts);
    }
  }

  get lastPosition(): Position {
    return this.#next.position - 1;
  }

  takePosition(): Position {
    const { position } = this.#next;
    this.#next = { ...this.#next, position: position + 1 };
    return position;
  }

  queues(): Iterable<EgressQueue> {
    return this.#queues.values();
  }

  findQueue(id: string): EgressQueue | undefined {
    return this.#queues.get(id);
  }

  findQueueByNumber(number: number): EgressQueue | undefined {
    return this.#queuesByNumber.get(number);
  }

  queue(id: string): EgressQueue {
    const known = this.#queues.get(id);
    if (known) return known;
    const number = this.#next.egress;
    this.#next = { ...this.#next, egress: number + 1 };
    return this.#addQueue(id, number);
  }

  /**
   * The queue is closed for good, and its name free for another one; its number stays known until `forget`. What it has
   * on disk is not counted any more, hence its row says that it is gone: a crash in between must not revive it.
   */
  release(queue: EgressQueue): Change {
    queue.close();
    if (this.#queues.get(queue.id) === queue) this.#queues.delete(queue.id);
    const value = encodeJson({ id: queue.id, isGone: true });
    const mark = { table: 'egress', key: numberKey(queue.number), value } as const;
    this.#marks.set(queue, mark);
    return mark;
  }

  /** The row of a queue that is gone goes, too. */
  removeRow(queue: EgressQueue): Change {
    this.#marks.delete(queue);
    return { table: 'egress', key: numberKey(queue.number) };
  }

  /** Queues that are closed and not yet forgotten. */
  gone(): EgressQueue[] {
    return [...this.#queuesByNumber.values()].filter(({ isClosed }) => isClosed);
  }

  forget(queue: EgressQueue): void {
    this.#queuesByNumber.delete(queue.number);
  }

  ingress(id: string): IngressAccount {
    const known = this.#ingresses.get(id);
    if (known) return known;
    const number = this.#next.ingress;
    this.#next = { ...this.#next, ingress: number + 1 };
    return this.#addIngress({ id, number, durableBytes: 0 });
  }

  findIngressByNumber(number: number): IngressAccount | undefined {
    return this.#ingressesByNumber.get(number);
  }

  addBytes(account: IngressAccount, delta: number): void {
    account.bytes += delta;
    this.#bytes += delta;
  }

  get usage(): { readonly bytes: number; readonly bytesMax: number } {
    return { bytes: this.#bytes, bytesMax: this.#limits.sizeMaxBytes };
  }

  /** L6: why nothing more is taken, if so. */
  refusal(account: IngressAccount | undefined, what: 'append' | 'output'): KnearError | undefined {
    const { sizeMaxBytes, quotaBytes, reserveBytes } = this.#limits;
    const isAppend = what === 'append';
    const options = { retryAfterMs: RETRY_AFTER_MS };
    if (this.#bytes >= sizeMaxBytes * (isAppend ? ACCEPT_SHARE : 1)) {
      const detail = `the log holds ${this.#bytes} of ${sizeMaxBytes} bytes: see which Triggers lag, or raise logSizeMax`;
      return new KnearError('KNEAR_LOG_FULL', detail, options);
    }
    if (isAppend && this.#freeBytes() < reserveBytes) {
      const detail = `the disk of the data folder has less than ${reserveBytes} bytes free: make room on it`;
      return new KnearError('KNEAR_LOG_FULL', detail, options);
    }
    if (account && account.bytes >= quotaBytes * (isAppend ? 1 : OUTPUT_QUOTA_SHARE)) {
      const detail = `${account.id} holds ${account.bytes} of its ${quotaBytes} bytes: see which of its Triggers lag`;
      return new KnearError('KNEAR_QUOTA', detail, options);
    }
    return undefined;
  }

  /** Free on the disk, and free within the store, whose file never shrinks. */
  #freeBytes(): number {
    const within = this.#store.sizeBytes() - STORED_FACTOR * this.#bytes;
    return this.#store.freeBytes() + Math.max(0, within);
  }

  /** A1: the accounts as they will be once the group is durable. */
  changes(group: Group): Change[] {
    this.#submitted = this.#next;
    // A mark that could not be written goes with the next commit that can, before a queue of that name comes anew.
    this.#submittedMarks = [...this.#marks.keys()];
    const changes: Change[] = [this.nextIdsChange(), ...this.#marks.values()];
    for (const [queue, delta] of group.countDeltas) {
      if (queue.isClosed) continue;
      const value = encodeJson({ id: queue.id, ...addCounts(queue.durableCounts, delta) });
      changes.push({ table: 'egress', key: numberKey(queue.number), value });
    }
    for (const [account, delta] of group.byteDeltas) {
      const value = encodeJson({ id: account.id, bytes: account.durableBytes + delta });
      changes.push({ table: 'ingress', key: numberKey(account.number), value });
    }
    return changes;
  }

  flushed(group: Group): void {
    this.#saved = this.#submitted;
    for (const queue of this.#submittedMarks) this.#marks.delete(queue);
    for (const [queue, delta] of group.countDeltas) {
      queue.durableCounts = addCounts(queue.durableCounts, delta);
    }
    for (const [account, delta] of group.byteDeltas) account.durableBytes += delta;
    for (const [account, freed] of group.freedBytes) this.addBytes(account, -freed);
  }

  /** A2 */
  undo(): void {
    for (const queue of this.#queues.values()) Object.assign(queue.counts, queue.durableCounts);
    for (const account of this.#ingresses.values()) {
      this.addBytes(account, account.durableBytes - account.bytes);
    }
  }

  /** Numbers were given away that the disk does not know of. */
  get hasUnsavedIds(): boolean {
    return this.#next !== this.#saved;
  }

  nextIdsChange(): Change {
    return { table: 'info', key: NEXT_IDS_KEY, value: encodeJson(this.#next) };
  }

  #addQueue(id: string, number: number, from = this.lastPosition): EgressQueue {
    const to = this.lastPosition;
    const queue = new EgressQueue({ id, number, from, to, context: this.#context });
    this.#queues.set(id, queue);
    this.#queuesByNumber.set(number, queue);
    return queue;
  }

  #addIngress(options: { id: string; number: number; durableBytes: number }): IngressAccount {
    const account = { ...options, bytes: options.durableBytes };
    this.#ingresses.set(account.id, account);
    this.#ingressesByNumber.set(account.number, account);
    this.#bytes += account.bytes;
    return account;
  }
}

function addCounts(counts: Counts, delta: Counts): Counts {
  return {
    ready: counts.ready + delta.ready,
    delayed: counts.delayed + delta.delayed,
    parked: counts.parked + delta.parked,
    parkedBytes: counts.parkedBytes + delta.parkedBytes,
  };
}
