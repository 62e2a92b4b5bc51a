/**
 * The durable log between the door and the dispatcher, seen from both. `docs/add-a-log.md` is the guide for who writes
 * an adapter; `test/conformance/event-log.ts` is the suite that each adapter passes.
 *
 * Identifiers of ingresses and egresses are the topology's (UIDs, or kind/namespace/name in folder mode).
 */
import type { CloudEvent } from '../event.ts';
import type { ErrorCode } from '../errors.ts';
import type { Nearness } from '../rules/nearness.ts';

/** A place in the log: grows, is never used twice. Only the adapter that made it can compare it. */
export type Position = number;

export interface EventLog {
  readonly supports: LogSupports;

  /**
   * Makes a place for these egresses, so that what is appended from now on waits for them. What a log on a server has to
   * set up beforehand is set up when it resolves; egresses that are not named keep what they have.
   * @throws KNEAR_LOG_FAILED, KNEAR_CLOSED
   */
  prepare(interests: readonly Interest[]): Promise<void>;

  /**
   * Keeps the events for every egress that matches them: all of them or none.
   *
   * Resolves when each event is durable at the level of `supports.durability`, or settled by every matching egress
   * with settles that count (L2). An event that nobody matches resolves at once and has position 0.
   * @throws KNEAR_LOG_FULL, KNEAR_QUOTA before anything was kept; KNEAR_LOG_FAILED when the write failed: the event may
   *   have reached subscribers, but is not kept, so the producer must send it again; KNEAR_CLOSED.
   */
  append(ingressId: string, events: readonly CloudEvent[]): Promise<Position[]>;

  /**
   * Waits until at least one delivery can be offered to the egress, then offers up to `count` of them, each under a
   * lease of `LEASE_MS`. Every record and Work is offered at least once, oldest first as far as it is not delayed.
   * Abort, or the egress is dropped: resolves with an empty list. An egress nobody has appended for yet simply waits.
   * @throws KNEAR_CLOSED; KNEAR_LOG_CORRUPT when a record cannot be read: it comes back when its lease is over.
   */
  pull(egressId: string, count: number, options: PullOptions): Promise<Delivery[]>;

  /** How much waits for an egress. Cheap enough to be called for each egress at every metrics scrape. */
  lag(egressId: string): Lag;

  /** The egresses that the log holds anything for, in the topology or not. */
  egressIds(): string[];

  /**
   * Ends everything that waits for an egress, parked entries included, as `gone`. Returns how many ended.
   * Idempotent; open deliveries of the egress become stale: settling them does nothing.
   */
  drop(egressId: string): Promise<number>;

  /**
   * Parked entries of an egress, oldest first.
   * @throws KNEAR_LOG_CORRUPT when an entry cannot be read; KNEAR_CLOSED, unless the log can still read.
   */
  parked(egressId: string, options: { after?: Position; limit: number }): Promise<ParkedEntry[]>;

  /**
   * Parked entries of an egress become deliveries of it anew: phase `deliver`, no attempt yet, ready at once. All of them
   * in one write, durable when it resolves; an entry is parked or ready, never both and never neither. Returns how many
   * were still parked. What is not parked (any more), or named twice, is passed over.
   * @throws KNEAR_LOG_FAILED: all are parked as before; KNEAR_CLOSED.
   */
  replay(egressId: string, positions: readonly Position[]): Promise<number>;

  /**
   * Parked entries of an egress end as `dropped`, in one write, durable when it resolves. Returns how many were still
   * parked. What is not parked (any more), or named twice, is passed over.
   * @throws KNEAR_LOG_FAILED: all are parked as before; KNEAR_LOG_CORRUPT when one cannot be read: nothing has changed;
   *   KNEAR_CLOSED.
   */
  dropParked(egressId: string, positions: readonly Position[]): Promise<number>;

  /** Whether appends are taken, and if not, why. */
  readonly state: LogState;

  /** What it holds, in bytes of records, as of a few seconds ago at most, and how much that may become. */
  readonly usage: { readonly bytes: number; readonly bytesMax: number };

  /** Flushes what is settled, stops, and gives back the resources. Idempotent. Open deliveries become stale. */
  close(): Promise<void>;
}

export interface PullOptions {
  readonly signal: AbortSignal;
  /** Of who pulls to the subscriber: of those who wait, a log of several processes serves the nearest. Absent: `any`. */
  readonly nearness?: Nearness;
  /** It is about to abort: what comes later is for others. */
  readonly isBrief?: boolean;
}

/** What an adapter promises, with the consequence of each value for a user. */
export interface LogSupports {
  /** What an acknowledged event survives: `process` a killed process, `machine` a power cut, `quorum` a lost node. */
  readonly durability: 'none' | 'process' | 'machine' | 'quorum';
  /** Deliveries of one egress are offered in the order of their positions, as long as none is put off. */
  readonly ordered: boolean;
  /** Work that is due later waits in the log without holding memory or a lease. */
  readonly delayed: boolean;
  /** A new egress could be given events from before it existed. */
  readonly history: boolean;
  /** Leases without an outcome are counted over a restart, so that an event that ends its holder each time comes to an end. */
  readonly keepsLeases: boolean;
  /** Largest record, as `eventSizeBytes` counts it: the data of a larger event has to be claimed (K4). */
  readonly recordMaxBytes: number;
}

export type LogState =
  | { readonly kind: 'accepting' }
  | { readonly kind: 'refusing'; readonly code: ErrorCode; readonly detail: string };

export interface Lag {
  /** Deliveries that could be offered now, open ones included. */
  readonly ready: number;
  /** Work that is due later. */
  readonly delayed: number;
  readonly parked: number;
}

/** Which events of which ingress an egress may want: as much of its filter as a log can use to sort events. */
export interface Interest {
  readonly egressId: string;
  /** Its deliveries are to keep the order of their partition keys. */
  readonly isOrdered: boolean;
  readonly sources: readonly {
    readonly ingressId: string;
    /** Ingresses of one pool may share what a log sets up for each; absent: it has its own. */
    readonly pool?: string;
    /** Exact types; absent: any. */
    readonly types?: readonly string[];
  }[];
}

/** Answers which egresses an event is for. Called once an event, at append, with the topology of that moment. */
export type Match = (ingressId: string, event: CloudEvent) => MatchResult;

export interface MatchResult {
  readonly egressIds: readonly string[];
  /** May the event be handed to its egresses before it is durable (L2)? */
  readonly isEarly: boolean;
}

/** 15 s: three missed extensions end a lease; a subscriber that is merely slow never loses it. */
export const LEASE_MS = 15_000;
/** How often a holder extends while anything of its delivery runs or waits. */
export const EXTEND_MS = 5_000;
/** Leases in a row without an outcome that count as one failed attempt, so that an event that kills its holder ends. */
export const LEASES_WITHOUT_OUTCOME_MAX = 5;

/**
 * - `deliver`: the event goes to the subscriber
 * - `reply`: the event is a reply on its way to an address outside; `origin` is the event it answers
 * - `dead-letter`: the event goes to the dead letter sink, with the last failure as its extensions
 */
export type Phase = 'deliver' | 'reply' | 'dead-letter';

/** Why the last attempt failed: what the dead letter, the parked entry and `explain` will say. */
export interface Failure {
  readonly code: ErrorCode;
  /** HTTP status that a person would look for: the subscriber's own, else what Knative's reference reports (500). */
  readonly status: number;
  /** The address that failed. */
  readonly dest: string;
  /** Start of the answer's body, at most FAILURE_DATA_MAX bytes. */
  readonly data?: Uint8Array;
}

/** 768 bytes become 1,024 base64 characters, the most that Knative puts into `knativeerrordata`. */
export const FAILURE_DATA_MAX = 768;

/** What is left to do for one egress. */
export interface Work {
  readonly phase: Phase;
  /** Failed attempts of this phase so far. */
  readonly attempt: number;
  /** Wall time of the first attempt of this event for this egress. */
  readonly firstAtMs: number;
  readonly lastFailure?: Failure;
}

/**
 * A record or a Work, offered to one egress under a lease. It ends by exactly one of `settle` and `release`; without
 * either it is offered again when the lease is over. Past its lease, a settle still counts if nobody else has settled
 * the delivery by then, and does nothing otherwise.
 */
export interface Delivery extends Work {
  readonly egressId: string;
  readonly position: Position;
  readonly event: CloudEvent;
  /** What the event takes in memory, for bounds. */
  readonly sizeBytes: number;
  /** The event whose reply this is (phase `reply` only). */
  readonly origin?: CloudEvent;
  readonly acceptedAtMs: number;
  /** False once it is settled or its record is gone: settling it does nothing then. */
  readonly isOpen: boolean;
  /** How often it has been offered since its last outcome, as far as the adapter knows: 1 the first time. */
  readonly lease: number;

  /**
   * Makes the outputs durable, then the delivery is gone. Resolves when the log is answerable for it: with outputs
   * when they are durable or settled everywhere, without outputs at once (a crash may repeat the delivery), and
   * `undefined` stands for a promise that is resolved already.
   * @throws KNEAR_LOG_FULL, KNEAR_QUOTA when an output event is not taken: nothing has changed and the lease still runs;
   *   KNEAR_LOG_FAILED when the write failed: the delivery will be offered again; KNEAR_CLOSED.
   */
  settle(outputs: readonly Output[]): Promise<void> | undefined;
  /** Gives it back unstarted: no attempt, offered again at once. */
  release(): void;
  /** The lease runs LEASE_MS from now. */
  extend(): void;
}

/**
 * What a settle leaves behind. An output that carries the delivery's own `event` or `origin` keeps its record.
 * `egressId`: whose Work or parked entry it becomes; absent: that of the delivery.
 */
export type Output =
  | { readonly kind: 'event'; readonly ingressId: string; readonly event: CloudEvent }
  | {
      readonly kind: 'work';
      readonly egressId?: string;
      readonly work: Work;
      readonly event: CloudEvent;
      readonly origin?: CloudEvent;
      /** Wall time from which it may be offered. */
      readonly dueAtMs: number;
    }
  | {
      readonly kind: 'parked';
      readonly egressId?: string;
      readonly event: CloudEvent;
      readonly failure: Failure;
      readonly atMs: number;
    };

export interface ParkedEntry {
  readonly position: Position;
  readonly event: CloudEvent;
  readonly failure: Failure;
  readonly atMs: number;
}
