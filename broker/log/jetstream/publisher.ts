/**
 * Puts messages into streams, and says when they are durable there.
 *
 * - N17 What has an id is published again, until the server has answered or time is up: it keeps the first of them.
 * - N18 Several events of one append are one atomic batch, so that all of them are kept or none; past `BATCH_MAX` it takes
 *   several, and a failure between two leaves the first, as if the producer had sent them apart.
 */
import type { JetStreamClient } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';

import { KnearError } from '../../../core/errors.ts';
import type { Clock } from '../../../core/ports/time.ts';
import { Answers, type Stored } from './answers.ts';
import { faultOf, isPassing } from './faults.ts';
import type { OutMessage } from './message.ts';
import type { Turn } from './turn.ts';

/** What the server takes as one batch at most (ADR-50). */
const BATCH_MAX = 1_000;
/** Events of several appends that wait for one sync of the server's; as many as come in while it takes a few milliseconds. */
const GROUP_MAX = 256;
/** The server takes 50 of one stream, from all processes, and refuses more (ADR-50); more at a time are not quicker either. */
const BATCHES_AT_A_TIME = 8;
/** Far longer than a disk takes; a server that is about to be replaced is found out in time for the producer. */
const ANSWER_MS = 5_000;
/** Headers that are added here: a name, a batch. */
const ADDED_BYTES = 1_024;
/** Between two tries of what has an id. */
const AGAIN_MS = { first: 100, most: 1_000 };

export interface Publication {
  readonly subject: string;
  readonly message: OutMessage;
  /** Names it: within the stream's `duplicate_window`, the server keeps only the first of this name. */
  readonly id?: string;
}

export interface PublisherOptions {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly clock: Clock;
  readonly turn: Turn;
  /** Milliseconds of `clock` in one of the server's. */
  readonly pace: number;
  /** The server syncs each message or batch by itself: what comes in meanwhile goes together. */
  readonly isGrouping: boolean;
}

/** One append that waits. */
interface Group {
  readonly publications: readonly Publication[];
  resolve(sequences: number[]): void;
  reject(error: unknown): void;
}

export class Publisher {
  readonly #nc: NatsConnection;
  readonly #js: JetStreamClient;
  readonly #clock: Clock;
  readonly #answers: Answers;
  readonly #isGrouping: boolean;
  /** Appends that wait, by stream: a batch is of one. There is one for as long as it is being written. */
  readonly #queues = new Map<string, Group[]>();
  #isClosed = false;
  #batches = 0;
  /** Batches that wait for their turn, oldest first. */
  readonly #turns: (() => void)[] = [];

  constructor({ nc, js, clock, turn, pace, isGrouping }: PublisherOptions) {
    this.#nc = nc;
    this.#js = js;
    this.#clock = clock;
    this.#answers = new Answers({ nc, clock, turn, answerMs: ANSWER_MS * pace });
    this.#isGrouping = isGrouping;
  }

  /** What was published last is still answered; nothing is tried again. */
  stop(): void {
    this.#isClosed = true;
  }

  close(): void {
    this.#answers.close();
  }

  /**
   * Once, of unknown fate where it fails.
   * @throws KNEAR_LOG_FULL, KNEAR_LOG_FAILED, KNEAR_NATS_AWAY, KNEAR_NATS_DENIED, KNEAR_EVENT_TOO_LARGE
   */
  async publish(publication: Publication): Promise<Stored> {
    this.#refuseTooLarge(publication.message);
    return this.#send(publication);
  }

  async #send({ subject, message, id }: Publication): Promise<Stored> {
    try {
      if (id !== undefined) message.headers.set('Nats-Msg-Id', id);
      return await this.#answers.publish(subject, message);
    } catch (error) {
      throw faultOf(error);
    }
  }

  /** N17. A copy is one of what somebody else has published, or this process some time ago. @throws as `publish` */
  async insist(
    publication: Publication & { readonly id: string },
    withinMs: number,
  ): Promise<Stored> {
    const untilMs = this.#clock.monotonicMs() + withinMs;
    for (let waitMs = AGAIN_MS.first; ; waitMs = Math.min(2 * waitMs, AGAIN_MS.most)) {
      try {
        const { sequence, isCopy } = await this.publish(publication);
        return { sequence, isCopy: isCopy && waitMs === AGAIN_MS.first };
      } catch (error) {
        const cause = error instanceof Error ? error.cause : undefined;
        const isOver = this.#isClosed || this.#clock.monotonicMs() + waitMs > untilMs;
        if (isOver || !isPassing(cause)) throw error;
        await new Promise<void>((resolve) => this.#clock.after(waitMs, resolve));
      }
    }
  }

  /** N18. @param stream of all of them. Resolves with their sequences. @throws as `publish` */
  async publishAll(stream: string, publications: readonly Publication[]): Promise<number[]> {
    // Before one of them takes the others of a batch along.
    for (const { message } of publications) this.#refuseTooLarge(message);
    if (!this.#isGrouping) return this.#publishAll(publications);
    return new Promise((resolve, reject) => {
      const group = { publications, resolve, reject };
      const queue = this.#queues.get(stream);
      if (queue) queue.push(group);
      else void this.#flush(stream, [group]);
    });
  }

  /** What came in while the last group was written is the next. */
  async #flush(stream: string, queue: Group[]): Promise<void> {
    this.#queues.set(stream, queue);
    while (queue.length > 0) {
      const group = takeGroup(queue);
      try {
        const all = await this.#publishAll(group.flatMap(({ publications }) => publications));
        let first = 0;
        for (const { publications, resolve } of group) {
          resolve(all.slice(first, (first += publications.length)));
        }
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    this.#queues.delete(stream);
  }

  /** Attributes beyond ASCII take nine bytes a character in headers: a record that is not too large can make such a message. */
  #refuseTooLarge({ headers, data }: OutMessage): void {
    let bytes = ADDED_BYTES + data.byteLength;
    for (const [name, values] of headers) {
      for (const value of values) bytes += name.length + value.length + 4;
    }
    const bytesMax = this.#nc.info?.max_payload ?? Infinity;
    if (bytes <= bytesMax) return;
    const detail = `it makes a message of ${String(bytes)} bytes, and the NATS server takes ${String(bytesMax)}: send less in attributes, or raise max_payload in its configuration`;
    throw new KnearError('KNEAR_EVENT_TOO_LARGE', detail);
  }

  async #publishAll(publications: readonly Publication[]): Promise<number[]> {
    const sequences: number[] = [];
    for (let first = 0; first < publications.length; first += BATCH_MAX) {
      sequences.push(...(await this.#batch(publications.slice(first, first + BATCH_MAX))));
    }
    return sequences;
  }

  async #batch(publications: readonly Publication[]): Promise<number[]> {
    const [first, ...others] = publications;
    const last = others.pop();
    if (!first) return [];
    if (!last) return [(await this.#send(first)).sequence];
    if (this.#batches >= BATCHES_AT_A_TIME) {
      await new Promise<void>((resolve) => this.#turns.push(resolve));
    } else {
      this.#batches += 1;
    }
    try {
      const batch = await this.#js.startBatch(first.subject, first.message.data, {
        headers: first.message.headers,
        timeout: ANSWER_MS,
      });
      for (const { subject, message } of others) {
        // Without an answer of its own: that of the last one is for all.
        void batch.add(subject, message.data, { headers: message.headers, ack: false });
      }
      // By hand: `commit` takes a refusal for an answer that counts wrong, and does not say why.
      const { headers, data } = last.message;
      headers.set('Nats-Batch-Id', batch.id);
      headers.set('Nats-Batch-Sequence', String(publications.length));
      headers.set('Nats-Batch-Commit', '1');
      const ack = await this.#js.publish(last.subject, data, { headers, timeout: ANSWER_MS });
      // One after the other in the stream, whatever their subjects are.
      const start = ack.seq - publications.length + 1;
      return publications.map((_, index) => start + index);
    } catch (error) {
      throw faultOf(error);
    } finally {
      const next = this.#turns.shift();
      if (next) next();
      else this.#batches -= 1;
    }
  }
}

function takeGroup(queue: Group[]): Group[] {
  let count = 0;
  const end = queue.findIndex(
    ({ publications }, index) => (count += publications.length) > GROUP_MAX && index > 0,
  );
  return queue.splice(0, end < 0 ? queue.length : end);
}
