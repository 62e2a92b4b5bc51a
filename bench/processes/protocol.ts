/**
 * What the bench and its child processes say to each other: one request, one answer, over Node's own channel between
 * parent and child with structured clones, so that typed arrays travel as they are.
 */

import type { Pace } from '../schedule.ts';

/** What `/work` does with each event before it answers: it waits, and so many events at a time. */
export const WORK = { ms: 5, workers: 4 } as const;

/** Where events are sent. */
export interface Aim {
  readonly port: number;
  readonly path: string;
}

interface JobParts {
  readonly aim: Aim;
  readonly run: number;
  readonly type: string;
  readonly dataBytes: number;
}

/** Every sender sends its next event when the last one is answered. Ends after a time, or after a number of events. */
export type ClosedLoop = JobParts & {
  readonly kind: 'closed';
  readonly senders: number;
  readonly until: { readonly ms: number } | { readonly events: number };
};

/** Events leave at a fixed rate, or at one after the other, whatever the answers do. */
export type OpenLoop = JobParts & {
  readonly kind: 'open';
  readonly paces: readonly Pace[];
};

export type Job = ClosedLoop | OpenLoop;

/** What the load generator did, by sequence number. */
export interface Sent {
  /** Closed loop: when it was sent. Open loop: when it should have been. Microseconds of the shared clock. */
  readonly atUs: Float64Array;
  /** HTTP status of the answer; 0: none came. */
  readonly status: Uint16Array;
  /** Open loop: how late events left, at p99. What the generator adds to the latencies by itself. */
  readonly lateUsP99: number;
}

/** What arrived, in the order of arrival. A lane is one receiver of each event: `/sink/<lane>`. */
export interface Arrivals {
  readonly sequence: Uint32Array;
  readonly lane: Uint16Array;
  readonly atUs: Float64Array;
}

/** Since `begin`. */
export interface Counted {
  readonly deliveries: number;
  /** Of whatever came, whole requests or not: they move while a large event is on its way. */
  readonly bytes: number;
  /** Time that the workers of `/work` have spent, all together. */
  readonly workedMs: number;
}

/** Each request that a child understands, with its answer. (Types, not interfaces: these can be used as `Calls`.) */
export type LoadCalls = {
  readonly load: { readonly ask: Job; readonly answer: Sent };
};

export type SubscriberCalls = {
  /** Forgets what arrived and counts events of this run from now on. */
  readonly begin: { readonly ask: { readonly run: number }; readonly answer: null };
  readonly count: { readonly ask: null; readonly answer: Counted };
  readonly collect: { readonly ask: null; readonly answer: Arrivals };
};

export type RelayCalls = {
  /** From now on each event makes `steps` requests to `/echo` one after the other, then `copies` to `/sink/<n>`. */
  readonly shape: {
    readonly ask: {
      readonly subscriberPort: number;
      readonly steps: number;
      readonly copies: number;
    };
    readonly answer: null;
  };
};

export type Calls = Readonly<Record<string, { readonly ask: unknown; readonly answer: unknown }>>;

export type Handlers<Known extends Calls> = {
  readonly [Name in keyof Known]: (
    ask: Known[Name]['ask'],
  ) => Known[Name]['answer'] | Promise<Known[Name]['answer']>;
};

/** First message of a child: it is ready, and serves HTTP at this port (0: it serves none). */
export interface Hello {
  readonly port: number;
}

export interface Question {
  readonly number: number;
  readonly name: string;
  readonly ask: unknown;
}

export interface Answer {
  readonly number: number;
  readonly answer?: unknown;
  readonly error?: string;
}
