/**
 * Asks one durable for messages. At most as many are under way as somebody waits for, because each one that comes is under
 * a lease of the server's.
 *
 * It owns the requests that the server has not answered in full.
 *
 * - N19 Where others take of the same durable, the server forgets what was asked for and is not wanted any more (`withdraw`): it would
 *   bring each message that is given back again and again, and each time counts as a lease.
 * - N3 A request that the server forgets (it ended, changed its leader, or lost the connection) is made again: at the latest
 *   when it would be over anyway.
 */
import { nanos, type Msg, type NatsConnection, type Subscription } from '@nats-io/transport-node';

import type { Clock, Timer } from '../../../core/ports/time.ts';
import type { Nearness } from '../../../core/rules/nearness.ts';
import type { Durable } from './durables.ts';
import type { Turn } from './turn.ts';

/**
 * Requests are made anew this often, so that one that was lost costs this much time at most. Less than a lease: who stands still
 * is given nothing twice.
 */
const EXPIRES_MS = 10_000;
/** Of somebody who will not wait. */
const BRIEF_MS = 50;
/** Among those who wait, the lowest is served first. */
const PRIORITY: Readonly<Record<Nearness, number>> = { pod: 0, node: 1, zone: 2, any: 5 };
/** What the answer to an expired request may take. */
const SLACK_MS = 2_000;
/** After a refusal, which is at once. */
const AGAIN_MS = 250;
/** The only group there is; a durable has none or has it from its first day. */
export const GROUP = 'knear';

/** What the server says of a request, as codes. Source: nats-architecture-and-design, ADR-37. */
const HEARTBEAT = 100;
const EXPIRED = 408;
const CONFLICT = 409;
/** Of the server itself: nobody listens there. */
const UNANSWERED = 503;

interface Request {
  /** Messages that it may still bring. */
  left: number;
  readonly untilMs: number;
}

export interface PullTerms {
  readonly nearness: Nearness;
  readonly isBrief: boolean;
}

export interface PullerOptions {
  readonly nc: NatsConnection;
  readonly clock: Clock;
  readonly turn: Turn;
  readonly stream: string;
  readonly durable: Durable;
  /** Where answers go; requests of this puller add tokens of their own. */
  readonly inbox: string;
  /** Absent: somebody listens on all of the inbox, and nothing can be withdrawn. */
  readonly listen?: (subject: string) => Pick<Subscription, 'drain'>;
  /** Milliseconds of `clock` in one of the server's. */
  readonly pace: number;
  /** How many are waited for, the ones that are asked for already included. */
  wanted(): number;
  /** Of those who pulled last. */
  terms(): PullTerms;
  /** Nothing has come for as long as somebody waited. */
  onEmpty(): void;
  /** The durable is not there any more. */
  onGone(): void;
  /** Nobody has answered: it is not there any more, or not there yet. Asked again soon. */
  onUnanswered(): void;
}

export class Puller {
  readonly durable: Durable;
  readonly #options: PullerOptions;
  readonly #subject: string;
  readonly #requests = new Map<string, Request>();
  #asked = 0;
  #count = 0;
  /** The server brings what was asked for as long as somebody listens. */
  #listening: Pick<Subscription, 'drain'> | undefined;
  #round = 0;
  #retry: Timer | undefined;
  #isClosed = false;

  constructor(options: PullerOptions) {
    this.durable = options.durable;
    this.#options = options;
    const { stream, durable } = options;
    this.#subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${durable.name}`;
  }

  /** Makes sure that as many are asked for as are wanted. */
  ask(): void {
    if (this.#isClosed || this.#retry !== undefined) return;
    const { nc, clock, turn, inbox, pace, wanted, terms } = this.#options;
    const needed = wanted();
    const batch = needed - this.#asked;
    // Half of it is on its way: a request for each message would cost as much as the message.
    if (batch <= 0 || 2 * this.#asked > needed || nc.isClosed()) return;
    this.#count += 1;
    const id = String(this.#count);
    const { nearness, isBrief } = terms();
    const forMs = isBrief ? BRIEF_MS : EXPIRES_MS;
    this.#requests.set(id, { left: batch, untilMs: clock.monotonicMs() + forMs + SLACK_MS });
    this.#asked += batch;
    const expires = nanos(forMs / pace);
    const request = { batch, expires, group: GROUP, priority: PRIORITY[nearness] };
    const answers = `${inbox}.${this.durable.name}.${String(this.#round)}`;
    this.#listening ??= this.#options.listen?.(`${answers}.*`);
    const reply = `${answers}.${id}`;
    turn.atEnd(() => {
      if (!nc.isClosed()) nc.publish(this.#subject, JSON.stringify(request), { reply });
    });
  }

  /** A message has come: the oldest request has one less to bring. */
  onMessage(): void {
    const [oldest] = this.#requests;
    if (!oldest) return;
    const [id, request] = oldest;
    request.left -= 1;
    this.#asked -= 1;
    if (request.left === 0) this.#requests.delete(id);
  }

  /** The server says something about a request instead. */
  onStatus(message: Msg): void {
    const { code = 0, description = '' } = message.headers ?? {};
    if (code === HEARTBEAT) return;
    this.#forget(message.subject.slice(message.subject.lastIndexOf('.') + 1));
    if (code === CONFLICT && /deleted/i.test(description)) {
      this.#options.onGone();
    } else if (code === EXPIRED) {
      this.#options.onEmpty();
      this.ask();
    } else {
      if (code === UNANSWERED) this.#options.onUnanswered();
      this.#askLater();
    }
  }

  /** N3: what should be over for long, or all of them. */
  forgetLost({ isAll }: { readonly isAll: boolean }): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [id, { untilMs }] of this.#requests) {
      if (isAll || untilMs < nowMs) this.#forget(id);
    }
    this.ask();
  }

  /** N19. What the server has sent by now still comes. */
  withdraw(): void {
    if (!this.#listening || this.#asked === 0) return;
    this.#stopListening();
    this.#round += 1;
    this.#requests.clear();
    this.#asked = 0;
  }

  close(): void {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#stopListening();
  }

  #stopListening(): void {
    // Without a connection there is nobody who would send.
    this.#listening?.drain().catch(() => undefined);
    this.#listening = undefined;
  }

  #forget(id: string): void {
    const request = this.#requests.get(id);
    if (!request) return;
    this.#requests.delete(id);
    this.#asked -= request.left;
  }

  #askLater(): void {
    this.#retry ??= this.#options.clock.after(AGAIN_MS, () => {
      this.#retry = undefined;
      this.ask();
    });
  }
}
