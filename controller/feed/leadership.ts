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
    if (!this.isLeading || this.#sequence === undefined) return;
    this.#heldUntilMs = Number.NEGATIVE_INFINITY;
    const kv = await new Kvm(this.#options.js).open(this.#bucket);
    await kv.purge(KEY, { previousSeq: this.#sequence, ttl: '1s' }).catch(() => undefined);
  }

  async #goOn(): Promise<void> {
    const { clock } = this.#options;
    const atMs = clock.monotonicMs();
    try {
      this.#sequence = await this.#ask();
      this.#heldUntilMs = atMs + HELD_MS;
    } catch {
      // Somebody else holds it, or the server does not answer: then the lease is what it was.
    }
    if (this.isLeading !== this.#wasLeading) {
      this.#wasLeading = this.isLeading;
      this.#options.onChange(this.#wasLeading);
    }
    if (this.#isClosed) return;
    this.#timer = clock.after(RENEW_MS, () => void this.#goOn());
  }

  /** @returns its sequence. @throws when another one holds it */
  async #ask(): Promise<number> {
    const { js } = this.#options;
    const kv = await new Kvm(js).create(this.#bucket, { markerTTL: LEASE_S * 1e3 });
    const { seq } = await js.publish(`$KV.${this.#bucket}.${KEY}`, this.#id, {
      ttl: `${String(LEASE_S)}s`,
      expect: { lastSubjectSequence: await this.#sequenceToFollow(() => kv.get(KEY)) },
    });
    return seq;
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
