/**
 * Which of several controllers is the one that publishes: whoever holds the lease, a key in a bucket that ends by itself.
 *
 * - Z5 Who leads knows by its own clock, counted from when it asked, that its lease has not ended: it stops before another begins.
 */
import { randomUUID } from 'node:crypto';

import type { JetStreamClient } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';

import type { Clock, Timer } from '../../core/ports/time.ts';

const KEY = 'leader';
/** Of the server. A controller that is gone is followed by another one after it. */
const LEASE_S = 10;
const RENEW_MS = 3_000;
/** When a lease could not be renewed: there are several tries left until it ends. */
const AGAIN_MS = 1_000;
/** An answer takes milliseconds. What a server was asked that has been replaced meanwhile is never answered. */
const ANSWER_MS = 2_000;
/** Less than the lease by more than a request takes. */
const HELD_MS = 7_000;

export interface LeadershipOptions {
  readonly js: JetStreamClient;
  readonly prefix: string;
  readonly clock: Clock;
  /** Told when it begins or ends. */
  onChange(isLeading: boolean): void;
}

export class Leadership {
  readonly #options: LeadershipOptions;
  readonly #id = randomUUID();
  readonly #bucket: string;
  #timer: Timer | undefined;
  /** Z5: to say it when it has ended, whatever the server does then. */
  #ending: Timer | undefined;
  /** Of the own lease in the bucket. */
  #sequence: number | undefined;
  #heldUntilMs = Number.NEGATIVE_INFINITY;
  #wasLeading = false;
  #isClosed = false;

  constructor(options: LeadershipOptions) {
    this.#options = options;
    this.#bucket = `${options.prefix}_leader`;
    void this.#goOn();
  }

  /** Z5 */
  get isLeading(): boolean {
    return this.#options.clock.monotonicMs() < this.#heldUntilMs;
  }

  /** Lets go, so that another one need not wait. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#ending?.cancel();
    if (this.isLeading) await this.#release();
  }

  async #goOn(): Promise<void> {
    const { clock } = this.#options;
    const atMs = clock.monotonicMs();
    // Somebody else holds it, or the server does not answer: then the lease is what it was.
    const isHeld = await this.#within(ANSWER_MS, this.#ask()).catch(() => false);
    if (isHeld) {
      if (this.#isClosed) return this.#release();
      this.#hold(atMs + HELD_MS);
    }
    if (this.#isClosed) return;
    this.#tell();
    const isToHurry = !isHeld && this.isLeading;
    this.#timer = clock.after(isToHurry ? AGAIN_MS : RENEW_MS, () => void this.#goOn());
  }

  /** @returns false when it takes longer: what comes of it is found at the next question */
  #within(ms: number, asking: Promise<true>): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const timer = this.#options.clock.after(ms, () => resolve(false));
      void asking.finally(() => timer.cancel()).then(resolve, reject);
    });
  }

  #hold(untilMs: number): void {
    const { clock } = this.#options;
    this.#heldUntilMs = untilMs;
    this.#ending?.cancel();
    // A timer may be early by a fraction.
    this.#ending = clock.after(untilMs - clock.monotonicMs() + 1, () => this.#tell());
  }

  #tell(): void {
    if (this.isLeading === this.#wasLeading) return;
    this.#wasLeading = this.isLeading;
    this.#options.onChange(this.#wasLeading);
  }

  /** Best effort: else it ends by itself. */
  async #release(): Promise<void> {
    this.#heldUntilMs = Number.NEGATIVE_INFINITY;
    try {
      const kv = await new Kvm(this.#options.js).open(this.#bucket);
      await kv.purge(KEY, { ...(this.#sequence && { previousSeq: this.#sequence }), ttl: '1s' });
    } catch {
      // Somebody else holds it by now, or the server does not answer.
    }
  }

  /** @throws when another one holds it, or what the server says */
  async #ask(): Promise<true> {
    const { js } = this.#options;
    const kv = await new Kvm(js).create(this.#bucket, { markerTTL: LEASE_S * 1e3 });
    const lastSubjectSequence = await this.#sequenceToFollow(() => kv.get(KEY));
    if (this.#isClosed) throw new Error('nobody wants it any more');
    const { seq } = await js.publish(`$KV.${this.#bucket}.${KEY}`, this.#id, {
      ttl: `${String(LEASE_S)}s`,
      expect: { lastSubjectSequence },
    });
    this.#sequence = seq;
    return true;
  }

  async #sequenceToFollow(
    find: () => Promise<{
      readonly revision: number;
      readonly operation: string;
      string(): string;
    } | null>,
  ): Promise<number> {
    const held = await find();
    if (!held) return 0;
    if (held.operation === 'PUT' && held.string() !== this.#id) throw new Error('it is held');
    return held.revision;
  }
}
