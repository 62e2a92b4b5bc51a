/**
 * The payload store of the simulated world: what was put into it outlives the process. Everything takes time and may fail with
 * or without having happened, a crash cuts it in two, for a while the store does not answer at all, and now and then a
 * payload is lost or altered on purpose.
 *
 * It draws from lots of its own, so that a run without payloads is the same run with it and without.
 */
import { strict as assert } from 'node:assert';

import { KnearError } from '../../core/errors.ts';
import { payloadId } from '../../core/event.ts';
import type { PayloadRef } from '../../core/event.ts';
import type { PayloadStore, StoredPayload } from '../../core/ports/payload-store.ts';
import type { Faults } from './faults.ts';
import type { SeededRandom } from './random.ts';
import type { ProcessClock } from './timeline.ts';

/** Longest that putting, removing or listing one takes, ms. */
const PUT_MS = 20;
const REMOVE_MS = 30;
const LIST_MS = 2;
/** Until a payload is lost that is to be. */
const SPOIL_MS = 3_000;

type Payload = Pick<PayloadRef, 'tenant' | 'key'>;
/** What may be said of a payload that was lost, altered or redacted on purpose. */
export type Spoilt = 'KNEAR_PAYLOAD_MISSING' | 'KNEAR_PAYLOAD_CORRUPT' | 'KNEAR_PAYLOAD_REDACTED';

export class SimulatedPayloads {
  readonly objects = new Map<string, PayloadRef>();
  /** What was done to payloads on purpose, by digest: no two payloads have the same. */
  readonly spoilt = new Map<string, { readonly ref: PayloadRef; readonly codes: Set<Spoilt> }>();
  readonly random: SeededRandom;
  readonly #altered = new Set<string>();
  readonly #faults: () => Faults;
  #awayUntilMs = 0;
  #made = 0;
  failedRemovals = 0;

  constructor(random: SeededRandom, faults: () => Faults) {
    this.random = random;
    this.#faults = faults;
  }

  /** The store as one process sees it. */
  mount(clock: ProcessClock): MountedPayloads {
    return new MountedPayloads(this, clock, this.#faults);
  }

  /** How many there have been. */
  get made(): number {
    return this.#made;
  }

  newRef(createdMs: number): PayloadRef {
    this.#made += 1;
    const name = String(this.#made).padStart(22, '0');
    const sizeBytes = 70_000 + this.random.below(200_000);
    const sha256 = `digest of ${name}`;
    const key = `2026010100/${name}`;
    return { v: 1, store: 'sim', tenant: 'sim', key, sizeBytes, sha256, createdMs };
  }

  /** What reading it comes to. */
  look(ref: PayloadRef, nowMs: number): 'away' | 'altered' | 'there' | 'missing' {
    if (this.isAway(nowMs)) return 'away';
    const id = payloadId(ref);
    if (!this.objects.has(id)) return 'missing';
    return this.#altered.has(id) ? 'altered' : 'there';
  }

  isAway(nowMs: number): boolean {
    return nowMs < this.#awayUntilMs;
  }

  leave(nowMs: number, forMs: number): void {
    this.#awayUntilMs = Math.max(this.#awayUntilMs, nowMs + forMs);
  }

  comeBack(): void {
    this.#awayUntilMs = 0;
  }

  /** Somebody was there who should not have been. */
  spoil(ref: PayloadRef): void {
    const id = payloadId(ref);
    if (!this.objects.has(id)) return;
    const isLost = this.random.chance(0.5);
    this.tell(ref, isLost ? 'KNEAR_PAYLOAD_MISSING' : 'KNEAR_PAYLOAD_CORRUPT');
    if (isLost) this.objects.delete(id);
    else this.#altered.add(id);
  }

  /** It may be, or becomes, unreadable for this reason. */
  tell(ref: PayloadRef, code: Spoilt): void {
    const { codes } = this.spoilt.get(ref.sha256) ?? { codes: new Set() };
    this.spoilt.set(ref.sha256, { ref, codes: codes.add(code) });
  }
}

export class MountedPayloads implements Pick<PayloadStore, 'list' | 'remove'> {
  readonly #payloads: SimulatedPayloads;
  readonly #clock: ProcessClock;
  readonly #faults: () => Faults;
  readonly #inFlight = new Set<() => void>();

  constructor(payloads: SimulatedPayloads, clock: ProcessClock, faults: () => Faults) {
    this.#payloads = payloads;
    this.#clock = clock;
    this.#faults = faults;
  }

  async put(ref: PayloadRef): Promise<void> {
    const { objects } = this.#payloads;
    const id = payloadId(ref);
    assert(!objects.has(id), 'put twice');
    const { putFails, losses } = this.#faults();
    const { random } = this.#payloads;
    const put = () => void objects.set(id, ref);
    await this.#do(put, { maxMs: PUT_MS, fails: putFails });
    if (!random.chance(losses)) return;
    // Half of them before anybody can have read it.
    if (random.chance(0.5)) this.#payloads.spoil(ref);
    else this.#clock.after(random.between(0, SPOIL_MS), () => this.#payloads.spoil(ref), random);
  }

  async remove(payload: Payload): Promise<void> {
    const { objects } = this.#payloads;
    const remove = () => void objects.delete(payloadId(payload));
    await this.#do(remove, { maxMs: REMOVE_MS, fails: this.#faults().removalFails });
  }

  /** What comes meanwhile is listed, what goes is not. */
  async *list(): AsyncGenerator<StoredPayload, void, undefined> {
    for (const [id, { tenant, key, sizeBytes, createdMs: modifiedMs }] of this.#payloads.objects) {
      await this.#do(() => undefined, { maxMs: LIST_MS, fails: 0 });
      if (this.#payloads.objects.has(id)) yield { tenant, key, sizeBytes, modifiedMs };
    }
  }

  /** The process is killed: what was being done is done, or is not. */
  crash(): void {
    for (const act of this.#inFlight) if (this.#payloads.random.chance(0.5)) act();
    this.#inFlight.clear();
  }

  #do(act: () => void, { maxMs, fails }: { maxMs: number; fails: number }): Promise<void> {
    const { random } = this.#payloads;
    const willFail = random.chance(fails);
    this.#inFlight.add(act);
    return new Promise((resolve, reject) => {
      const end = () => {
        this.#inFlight.delete(act);
        if (!willFail && !this.#payloads.isAway(this.#clock.monotonicMs())) {
          act();
          resolve();
          return;
        }
        // Nobody can know whether what failed has happened.
        if (random.chance(0.5)) act();
        reject(new KnearError('KNEAR_PAYLOAD_STORE_AWAY', 'simulated: the store does not answer'));
      };
      this.#clock.after(random.between(0.1, maxMs), end, random);
    });
  }
}
