/**
 * The two things the log keeps in memory: an Entry is one record on its way to the disk, a Row is that record (or a Work)
 * waiting for one egress.
 */
import { strict as assert } from 'node:assert';

import type { KnearError } from '../../core/errors.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { Failure, Output, Position, Work } from '../../core/ports/event-log.ts';
import type { EgressQueue } from './egress-queue.ts';

/** An ingress as the log knows it: a number in every record, and how much it keeps. */
export interface IngressAccount {
  readonly id: string;
  readonly number: number;
  /** Bytes of its records, those in memory included: what the quota is measured against. */
  bytes: number;
  /** The part of `bytes` that is on disk. */
  durableBytes: number;
}

/** What a record leaves on disk for one egress. */
export type PendingRow =
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'work';
      readonly work: Work;
      /** 0: due already, so it needs no timer. */
      readonly dueAtMs: number;
      readonly origin?: Position;
    }
  | { readonly kind: 'parked'; readonly failure: Failure; readonly atMs: number };

/**
 * `open` in the group that still grows -> `submitted` to the disk -> `durable`; or `left-out` because nobody needed its
 * row any more; or `withdrawn` because the write failed.
 */
export type EntryState = 'open' | 'submitted' | 'durable' | 'left-out' | 'withdrawn';

interface SafeListener {
  safe(): void;
  failed(error: KnearError): void;
}

/** One record from the moment it has a position until it is durable or not needed any more. */
export class Entry {
  readonly position: Position;
  readonly account: IngressAccount;
  readonly event: CloudEvent;
  readonly acceptedAtMs: number;
  readonly sizeBytes: number;
  /** L2: may be offered before it is durable. */
  readonly isEarly: boolean;
  /** Monotonic; when it entered the open group. */
  readonly enteredMs: number;
  /** Monotonic; until when its flush may wait for its egresses to settle (L12). */
  readonly flushByMs: number;
  state: EntryState = 'open';
  /** While `open`: the rows to write. Egresses that settled are not among them. */
  readonly rows = new Map<EgressQueue, PendingRow>();
  /** Matching egresses without a settle that counts (L2). */
  uncounted = 0;
  #isSafe = false;
  #listeners: SafeListener[] = [];

  constructor(options: {
    position: Position;
    account: IngressAccount;
    event: CloudEvent;
    acceptedAtMs: number;
    sizeBytes: number;
    isEarly: boolean;
    enteredMs: number;
    flushByMs: number;
  }) {
    this.position = options.position;
    this.account = options.account;
    this.event = options.event;
    this.acceptedAtMs = options.acceptedAtMs;
    this.sizeBytes = options.sizeBytes;
    this.isEarly = options.isEarly;
    this.enteredMs = options.enteredMs;
    this.flushByMs = options.flushByMs;
  }

  /** L2: durable, or settled everywhere by settles that count. */
  get isSafe(): boolean {
    return this.#isSafe;
  }

  get isInMemoryOnly(): boolean {
    return this.state === 'open' || this.state === 'submitted';
  }

  listen(listener: SafeListener): void {
    this.#listeners.push(listener);
  }

  /** One egress settled for good, its outputs included. */
  countSettle(): void {
    assert(this.uncounted > 0, 'more settles than matching egresses');
    this.uncounted -= 1;
    if (this.uncounted === 0) this.becomeSafe();
  }

  becomeSafe(): void {
    if (this.#isSafe || this.state === 'withdrawn') return;
    this.#isSafe = true;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener.safe();
  }

  /** Its write failed, or that of an output which a settle of it needs. What is safe stays so. */
  withdraw(error: KnearError): void {
    if (this.#isSafe) return;
    this.state = 'withdrawn';
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener.failed(error);
  }
}

/**
 * `held`: not durable and not early, so not offered yet · `ready` · `open`: under a lease · `settled`: its removal is in
 * a group that is not durable yet, so reads must skip it (L10) · `gone`
 */
export type RowState = 'held' | 'ready' | 'open' | 'settled' | 'gone';

/** One record or Work that waits for one egress, while it is in memory. */
export interface Row {
  readonly queue: EgressQueue;
  readonly position: Position;
  state: RowState;
  /** A `work` row stands beside the `ready` row on disk. */
  readonly isWork: boolean;
  /** The record, while it is in memory for other reasons; else it is read when the row is offered. */
  entry: Entry | undefined;
  /** Leases without an outcome, the current one included. */
  lease: number;
  /** Told to each holder: only the last one may extend or release. */
  offers: number;
  /** Monotonic end of the current lease. */
  leaseUntilMs: number;
  /** Known once it was offered. */
  content: RowContent | undefined;
}

export interface RowContent {
  readonly event: CloudEvent;
  readonly account: IngressAccount;
  readonly acceptedAtMs: number;
  readonly sizeBytes: number;
  readonly work: Work | undefined;
  readonly origin: { readonly position: Position; readonly event: CloudEvent } | undefined;
}

/** Calls `safe` once all entries are, or `failed` with the first failure. No entries: at once. */
export function whenAllSafe(entries: readonly Entry[], listener: SafeListener): void {
  let waitingFor = 0;
  let isOver = false;
  const one: SafeListener = {
    safe() {
      waitingFor -= 1;
      if (waitingFor > 0 || isOver) return;
      isOver = true;
      listener.safe();
    },
    failed(error) {
      if (isOver) return;
      isOver = true;
      listener.failed(error);
    },
  };
  for (const entry of entries) {
    if (entry.isSafe) continue;
    waitingFor += 1;
    entry.listen(one);
  }
  if (waitingFor === 0) listener.safe();
}

export type KeptOutput = Exclude<Output, { kind: 'event' }>;

export type KeptRow = Exclude<PendingRow, { kind: 'ready' }>;

/** What Work or a parked entry leaves on disk. @param origin of Work: the record of what it replies to */
export function pendingRow(
  output: KeptOutput,
  nowMs: number,
  origin: Position | undefined,
): KeptRow {
  if (output.kind === 'parked') {
    return { kind: 'parked', failure: output.failure, atMs: output.atMs };
  }
  const { work, dueAtMs } = output;
  return {
    kind: 'work',
    work,
    dueAtMs: dueAtMs <= nowMs ? 0 : dueAtMs,
    ...(origin !== undefined && { origin }),
  };
}

/** The record of what Work for the egress of a delivery replies to: that of the delivery, or of its own origin. */
export function originOf(row: Row, content: RowContent, output: KeptOutput): Position | undefined {
  const origin = output.kind === 'work' ? output.origin : undefined;
  if (!origin) return undefined;
  if (origin === content.event) return row.position;
  assert(
    origin === content.origin?.event,
    'the origin of Work is the event of the delivery, or its origin',
  );
  return content.origin.position;
}
