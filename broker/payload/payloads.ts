/**
 * Large payloads: taken in through the spool, kept in a store, handed out verified, removed when nobody needs them.
 *
 * It owns the bounds: uploads at a time, quotas, memory. Leaves files to the spool and the store, who needs what to
 * `holders.ts`, memory to `cache.ts`, the last look to `verify.ts`.
 *
 * - K1 Payload durable, then record durable, then 202: a ref exists only for what is durable.
 * - K33 A payload is called missing or altered only when the store is there and says so, and altered only after a second
 *   look; everything else is the store's trouble and passes.
 * - K43 What was redacted is given to nobody, whatever the store still has, and told apart from what is missing.
 */
import { strict as assert } from 'node:assert';
import { randomBytes } from 'node:crypto';

import { codeOf, KnearError } from '../../core/errors.ts';
import { payloadId } from '../../core/event.ts';
import type { PayloadRef } from '../../core/event.ts';
import type { ClaimLedger, PayloadHolders } from '../../core/ports/claims.ts';
import type { PayloadStore } from '../../core/ports/payload-store.ts';
import type {
  Intake,
  LentBytes,
  PayloadFacts,
  Payloads,
  ReceiveOptions,
} from '../../core/ports/payloads.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import { PayloadCache } from './cache.ts';
import { Holders } from './holders.ts';
import type { Swept, SweepOptions } from './holders.ts';
import { SpooledIntake } from './intake.ts';
import type { IntakeOwner } from './intake.ts';
import type { Spool, SpoolWriter } from './spool.ts';
import { verified } from './verify.ts';

export interface PayloadLimits {
  /** Payloads that are being received at a time. */
  readonly uploadsMax: number;
  /** Bytes kept in memory; 0: none. */
  readonly cacheMaxBytes: number;
  /** How often what could not be removed is tried again. */
  readonly collectIntervalMs: number;
  /** The sweep at the start says what it would remove, and does not. */
  readonly isDryRun: boolean;
}

export interface PayloadKeeperOptions {
  readonly store: PayloadStore;
  readonly spool: Spool;
  readonly ledger: () => ClaimLedger;
  readonly clock: Clock;
  readonly limits: PayloadLimits;
  /** A payload could not be removed, or is not what it should be: somebody should look. */
  readonly onFault: (error: unknown, id: string) => void;
  /** The store begins to refuse, for another reason than before, or works again (`undefined`). */
  readonly onTrouble: (trouble: KnearError | undefined) => void;
  /** Bytes of a payload went through memory, in pieces that are garbage by now. */
  readonly onPassed: (bytes: number) => void;
}

/** What happened since the start, for metrics. */
export interface PayloadCounts {
  claims: number;
  claimedBytes: number;
  readBytes: number;
  corrupt: number;
  missing: number;
  /** Of the store, by code. */
  readonly errors: Map<string, number>;
}

export class PayloadKeeper implements Payloads, IntakeOwner {
  readonly counts: PayloadCounts = {
    claims: 0,
    claimedBytes: 0,
    readBytes: 0,
    corrupt: 0,
    missing: 0,
    errors: new Map(),
  };
  readonly #options: PayloadKeeperOptions;
  readonly #cache: PayloadCache;
  readonly #holders: Holders;
  readonly #writers = new Set<SpoolWriter>();
  #retainedBytes = 0;
  #logId: string | undefined;
  #mayAdopt = false;
  /** Whether these are another log's payloads (K45), once the store has said so. */
  #isForeign: boolean | undefined;
  /** Why the store refuses, apart for what comes in and what goes out: a full one can be read. */
  readonly #troubles = new Map<Direction, KnearError>();
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(options: PayloadKeeperOptions) {
    const { store, ledger, limits, onFault } = options;
    this.#options = options;
    const cache = new PayloadCache(limits.cacheMaxBytes);
    this.#cache = cache;
    this.#holders = new Holders({ store, ledger, onFault, onGone: (ref) => cache.forget(ref) });
  }

  /**
   * Counts what is there and begins to remove what nobody needs. Resolves when the store has said whose payloads it has,
   * if it answers.
   */
  async start(logId: string): Promise<void> {
    this.#logId = logId;
    this.#holders.recover();
    // Where the log names payloads, a store that is nobody's is not the one that had them: a disk that is not mounted.
    this.#mayAdopt = this.#holders.usage().objects === 0;
    await this.#requireOwn().catch(() => undefined);
    const { ledger, limits } = this.#options;
    const { isDryRun } = limits;
    if (ledger().isKept) this.#collect(() => this.sweep({ isDryRun, isForced: false }));
  }

  /** For the log: what its records need. */
  get holders(): PayloadHolders {
    return this.#holders;
  }

  get uploads(): number {
    return this.#writers.size;
  }

  get memoryBytes(): number {
    return this.#cache.bytes + this.#retainedBytes;
  }

  get cache(): { readonly hits: number; readonly misses: number } {
    return this.#cache;
  }

  get spoolBytes(): number {
    return this.#options.spool.bytes;
  }

  /** Payloads in the store, and those of them that nobody needs and that could not be removed yet. */
  get live(): { bytes: number; objects: number; leftovers: number; removed: number } {
    const { leftovers, removed } = this.#holders;
    return { ...this.#holders.usage(), leftovers, removed };
  }

  /** Why the store refused the last that was asked of it, if it did. */
  get trouble(): KnearError | undefined {
    return this.#isForeign ? foreign() : firstOf(this.#troubles);
  }

  receive(options: ReceiveOptions): Intake {
    return new SpooledIntake(this, options);
  }

  release(ref: PayloadRef): void {
    this.#holders.release(ref);
  }

  lend(ref: PayloadRef): LentBytes | undefined {
    return this.#cache.lend(ref);
  }

  async *open(ref: PayloadRef): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      if (this.#isRedacted(ref)) throw redacted(ref);
      const whole = await this.#lendWhole(ref);
      if (whole) yield* given(whole);
      else yield* this.#passing(await this.#read(ref));
      this.counts.readBytes += ref.sizeBytes;
      this.#tell('out', undefined);
    } catch (error) {
      throw await this.#explained(error, ref);
    }
  }

  /**
   * Reads all of it and throws as `open` does.
   * @throws KNEAR_PAYLOAD_CORRUPT and the other codes of `open`
   */
  async verify(ref: PayloadRef): Promise<void> {
    for await (const piece of await this.#read(ref)) void piece;
  }

  /** Removes what no record names. @throws KNEAR_PAYLOAD_FOREIGN, _SWEEP, _UNLISTED, and what the store throws */
  async sweep(options: SweepOptions): Promise<Swept> {
    await this.#requireOwn();
    if (!this.#options.ledger().isKept) this.#options.ledger().claims({ limit: 1 });
    if (!options.isDryRun) await this.#holders.collect();
    return this.#holders.sweep(options);
  }

  /** The log forgets nothing; the bytes are gone (K43). False: no record names it. */
  async redact(ref: PayloadRef): Promise<boolean> {
    // The record first: from then on nobody is given the bytes, and what a crash in between leaves goes at the next start.
    if (!(await this.#options.ledger().redact(payloadId(ref)))) return false;
    await this.#holders.redact(ref);
    return true;
  }

  /** What is to be removed is removed; what is being received is not waited for. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const writer of this.#writers) writer.discard();
    await this.#holders.whenIdle();
    await this.#options.store.close();
  }

  // --- for intakes ------------------------------------------------------------------------------------------------------

  spool({ tenant, quotaBytes, sizeBytes = 0 }: ReceiveOptions): SpoolWriter {
    // K45: the other log would sweep it away, because none of its records names it.
    if (this.#isForeign) throw foreign('KNEAR_PAYLOAD_STORE_AWAY');
    const { limits, spool } = this.#options;
    if (this.#writers.size >= limits.uploadsMax) {
      const detail = `${this.#writers.size} large bodies are being read: try again in a moment`;
      throw new KnearError('KNEAR_UPLOADS_BUSY', detail);
    }
    this.#requireQuota({ tenant, quotaBytes }, sizeBytes);
    const refusal = spool.refusal(sizeBytes);
    if (refusal) throw this.#counted('in', refusal);
    const writer = spool.create();
    this.#writers.add(writer);
    return writer;
  }

  over(writer: SpoolWriter): void {
    this.#writers.delete(writer);
  }

  refused(error: unknown): void {
    // It is being closed, or the producer has left.
    if (codeOf(error) !== 'KNEAR_CLOSED') this.#counted('in', error);
  }

  passed(bytes: number): void {
    this.#options.onPassed(bytes);
  }

  mayRetain(sizeBytes = 0): boolean {
    return sizeBytes <= this.#cache.largestBytes;
  }

  /** Copies of what comes in take no more than the largest payload that is kept in memory. */
  retain(bytes: number): boolean {
    if (this.#retainedBytes + bytes > this.#cache.largestBytes) return false;
    this.#retainedBytes += bytes;
    return true;
  }

  unretain(bytes: number): void {
    this.#retainedBytes -= bytes;
  }

  async keep(
    {
      sha256,
      sizeBytes,
      path,
    }: { readonly sha256: string; readonly sizeBytes: number; readonly path: string },
    { tenant, quotaBytes }: ReceiveOptions,
    { facts, bytes }: { readonly facts: PayloadFacts; readonly bytes: Uint8Array | undefined },
  ): Promise<PayloadRef> {
    this.#requireQuota({ tenant, quotaBytes }, sizeBytes);
    const { store, clock } = this.#options;
    const createdMs = clock.nowMs();
    const { name } = store;
    const key = newKey(createdMs);
    const ref: PayloadRef = {
      v: 1,
      store: name,
      tenant,
      key,
      sizeBytes,
      sha256,
      ...facts,
      createdMs,
    };
    // Held before it can be seen, or a sweep could take it for an orphan.
    this.#holders.hold(ref);
    this.#holders.count(ref, 1);
    try {
      await store.put(ref, { path, sizeBytes });
    } catch (error) {
      this.#holders.release(ref);
      throw this.#counted('in', error);
    }
    if (bytes) this.#cache.keep(ref, bytes);
    this.counts.claims += 1;
    this.counts.claimedBytes += sizeBytes;
    this.#tell('in', undefined);
    return ref;
  }

  #requireQuota(
    {
      tenant,
      quotaBytes = Number.POSITIVE_INFINITY,
    }: Pick<ReceiveOptions, 'tenant' | 'quotaBytes'>,
    sizeBytes: number,
  ): void {
    const { bytes } = this.#holders.usage(tenant);
    if (bytes + sizeBytes <= quotaBytes) return;
    const detail = `namespace ${tenant} has ${bytes} of ${quotaBytes} bytes of payloads: see which Triggers lag, or raise claimCheck.quota`;
    throw new KnearError('KNEAR_PAYLOAD_QUOTA', detail, { retryAfterMs: QUOTA_RETRY_MS });
  }

  // --- reading ----------------------------------------------------------------------------------------------------------

  /** What the store has, verified. */
  async #read(ref: PayloadRef): Promise<AsyncIterable<Uint8Array>> {
    const { store } = this.#options;
    if (ref.store === store.name) return verified(await store.open(ref), ref);
    const detail = `the payload ${payloadId(ref)} is in the store ${ref.store}, which is not configured: configure it, or wait until what it holds is delivered before changing claimCheck.store`;
    throw new KnearError('KNEAR_PAYLOAD_STORE_AWAY', detail);
  }

  async *#passing(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      yield piece;
      this.passed(piece.byteLength);
    }
  }

  /** K36. `undefined`: it is too large for memory, or there is no room. */
  async #lendWhole(ref: PayloadRef): Promise<LentBytes | undefined> {
    await this.#cache.fill(ref, () => this.#readWhole(ref));
    return this.#cache.lend(ref);
  }

  async #readWhole(ref: PayloadRef): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for await (const piece of await this.#read(ref)) pieces.push(piece);
    return Buffer.concat(pieces, ref.sizeBytes);
  }

  /** What to say of it, after a second look where that can change the answer. */
  async #explained(error: unknown, ref: PayloadRef): Promise<unknown> {
    const id = payloadId(ref);
    const isDoubted = codeOf(error) === 'KNEAR_PAYLOAD_CORRUPT';
    const found = isDoubted ? await this.#secondLook(error, ref) : error;
    const code = codeOf(found);
    if (code === 'KNEAR_PAYLOAD_REDACTED') return found;
    // K33: this is not the store that would know.
    if (code === 'KNEAR_PAYLOAD_MISSING' && this.#isForeign)
      return this.#counted('out', foreign('KNEAR_PAYLOAD_STORE_AWAY'));
    // While it was read.
    if (code === 'KNEAR_PAYLOAD_MISSING' && this.#isRedacted(ref)) return redacted(ref);
    if (code === 'KNEAR_PAYLOAD_CORRUPT') this.counts.corrupt += 1;
    else if (code === 'KNEAR_PAYLOAD_MISSING') this.counts.missing += 1;
    else return this.#counted('out', found);
    this.#options.onFault(found, id);
    return found;
  }

  #isRedacted(ref: PayloadRef): boolean {
    const ledger = this.#options.ledger();
    return ledger.isKept && ledger.claim(payloadId(ref))?.redactedAtMs !== undefined;
  }

  /** What the store itself makes of it now. */
  async #secondLook(error: unknown, ref: PayloadRef): Promise<unknown> {
    this.#cache.forget(ref);
    try {
      await this.verify(ref);
    } catch (again) {
      return again;
    }
    const detail = `the payload ${payloadId(ref)} was read wrongly once: it is read again`;
    return new KnearError('KNEAR_PAYLOAD_STORE_AWAY', detail, { cause: error });
  }

  #counted(direction: Direction, error: unknown): unknown {
    const code = codeOf(error);
    if (code) this.counts.errors.set(code, (this.counts.errors.get(code) ?? 0) + 1);
    if (code && error instanceof KnearError) this.#tell(direction, error);
    return error;
  }

  /** Once a change: while a store is away, everything that needs it says so. */
  #tell(direction: Direction, trouble: KnearError | undefined): void {
    const before = firstOf(this.#troubles);
    if (trouble) this.#troubles.set(direction, trouble);
    else this.#troubles.delete(direction);
    const now = firstOf(this.#troubles);
    if (now?.code !== before?.code) this.#options.onTrouble(now);
  }

  // --- collecting -------------------------------------------------------------------------------------------------------

  /** @throws KNEAR_PAYLOAD_FOREIGN, and what the store throws */
  async #requireOwn(): Promise<void> {
    const logId = this.#logId;
    assert(logId !== undefined, 'swept before the start');
    const { store } = this.#options;
    const mayAdopt = this.#mayAdopt;
    this.#isForeign ??= (await store.identity(logId, { mayAdopt })) !== logId;
    if (this.#isForeign) throw foreign();
  }

  /** One round, and the next after a while: the same again if it failed. */
  #collect(round: () => Promise<unknown>): void {
    const { clock, limits, onFault } = this.#options;
    const later = (next: () => Promise<unknown>) => {
      if (this.#isClosed) return;
      this.#timer = clock.after(limits.collectIntervalMs, () => this.#collect(next));
    };
    const failed = (error: unknown) => {
      onFault(error, 'collect');
      later(round);
    };
    round().then(() => later(() => this.#holders.collect()), failed);
  }
}

function* given({ bytes, giveBack }: LentBytes): Generator<Uint8Array, void, undefined> {
  try {
    yield bytes;
  } finally {
    giveBack();
  }
}

type Direction = 'in' | 'out';

function firstOf(troubles: ReadonlyMap<Direction, KnearError>): KnearError | undefined {
  const [first] = troubles.values();
  return first;
}

/** Consumers empty a quota in seconds at best. */
const QUOTA_RETRY_MS = 5_000;

/** 128 random bits (not the content's digest, which would tell whether two are equal), in a folder for the hour. */
function newKey(nowMs: number): string {
  const [hour] = new Date(nowMs).toISOString().replace(/[-T]/g, '').split(':');
  return `${hour ?? ''}/${randomBytes(16).toString('base64url')}`;
}

function redacted(ref: PayloadRef): KnearError {
  return new KnearError('KNEAR_PAYLOAD_REDACTED', `the payload ${payloadId(ref)} was redacted`);
}

function foreign(
  code: 'KNEAR_PAYLOAD_FOREIGN' | 'KNEAR_PAYLOAD_STORE_AWAY' = 'KNEAR_PAYLOAD_FOREIGN',
): KnearError {
  return new KnearError(
    code,
    'the payload folder is not that of this log: mount its disk, restore both from one backup, or give this log a folder of its own; nothing is swept until then',
  );
}
