/**
 * Everything that can happen to an event, as one stream of values. Metrics, logs, `explain` and assertions in tests are
 * observers that switch on `kind` exhaustively, so a new way for an event's life to go cannot be added unnoticed.
 */
import type { ErrorCode } from '../errors.ts';
import type { CloudEvent } from '../event.ts';
import type { HopRefusal } from '../rules/hop.ts';
import type { Nearness, RouteReason } from '../rules/nearness.ts';
import type { Egress, Ingress } from '../topology.ts';
import type { Failure, Phase } from './event-log.ts';

export interface Observer {
  /** Called on the event's path: must not throw and must be quick. */
  observe(happening: Happening): void;
}

/**
 * The ways an event's life can end for one egress.
 * - delivered: the subscriber took it (and its reply, if any, is kept)
 * - filtered: it does not match (any more)
 * - dead-lettered: the dead letter sink took it
 * - parked: retries and dead letter sink failed; kept, can be replayed
 * - dropped: the user asked for `exhausted: drop`, dropped what was parked, or the parking bound was reached
 * - gone: its egress was deleted
 */
export type End = 'delivered' | 'filtered' | 'dead-lettered' | 'parked' | 'dropped' | 'gone';

/** Which address was called, and why. */
export interface RouteTaken {
  readonly reason: RouteReason;
  /** Host and port; absent: the address as given. */
  readonly endpoint?: string;
  readonly nearness?: Nearness;
}

export type Happening =
  /** 202: kept, or settled everywhere, or wanted by nobody. `durationMs` from the first byte of the request. */
  | {
      readonly kind: 'accepted';
      readonly ingress: Ingress;
      readonly event: CloudEvent;
      /** At least one egress wanted it. */
      readonly isMatched: boolean;
      readonly durationMs: number;
      readonly sizeBytes: number;
      readonly scheme: 'http' | 'https';
    }
  /** A producer, or a reply, was turned away. */
  | {
      readonly kind: 'refused';
      readonly ingress?: Ingress;
      readonly code: ErrorCode;
      readonly status: number;
      readonly by: 'door' | 'reply';
      readonly durationMs: number;
    }
  /** One attempt is over. `status` 0: no answer. `code` absent: it succeeded. */
  | {
      readonly kind: 'attempted';
      readonly egress: Egress;
      readonly event: CloudEvent;
      readonly phase: Phase;
      /** 1 for the first attempt of the phase. */
      readonly attempt: number;
      readonly dest: string;
      readonly status: number;
      readonly code?: ErrorCode;
      /** Local hops that have led here; 0: it came from the log. */
      readonly hops: number;
      /** Absent: to a Broker or Channel of ours, which is no request. */
      readonly route?: RouteTaken;
      /** What a subscriber answered, when that is an event. */
      readonly reply?: CloudEvent;
      readonly durationMs: number;
    }
  /**
   * An event for a Broker or Channel of ours goes on to its next egress without the log (`taken`), or through it, for this
   * reason. `egress`: where it comes from.
   */
  | {
      readonly kind: 'hop';
      readonly egress: Egress;
      readonly ingress: Ingress;
      readonly event: CloudEvent;
      readonly result: 'taken' | HopRefusal;
      /** Id of the egress that it goes on to; absent: it is refused. */
      readonly to?: string;
    }
  /** An attempt could not reach one endpoint and goes on with another; it is told as `attempted` when it is over. */
  | { readonly kind: 'rerouted'; readonly egress: Egress }
  /** The next attempt waits; `where`: in memory under the lease, or in the log. */
  | {
      readonly kind: 'waiting';
      readonly egress: Egress;
      readonly event: CloudEvent;
      readonly phase: Phase;
      readonly attempt: number;
      readonly delayMs: number;
      readonly where: 'memory' | 'log';
    }
  /** Claimed data could not be read, or a reply's not be kept: tried again, and no attempt (K33). */
  | {
      readonly kind: 'stalled';
      readonly egress: Egress;
      readonly event: CloudEvent;
      readonly code: ErrorCode;
    }
  /** The event's life for this egress is over. `failure` for dead-lettered, parked and dropped. */
  | {
      readonly kind: 'ended';
      readonly egress: Egress;
      readonly event: CloudEvent;
      readonly end: End;
      readonly failure?: Failure;
      /** From acceptance to the end. */
      readonly ageMs: number;
    }
  /** Records of a deleted egress, or parked entries that somebody dropped or that were past the bound, are gone. */
  | {
      readonly kind: 'discarded';
      readonly egressId: string;
      readonly end: Extract<End, 'gone' | 'dropped'>;
      readonly count: number;
      readonly reason:
        'egress-deleted' | 'parking-count' | 'parking-bytes' | 'parking-age' | 'parked-dropped';
    }
  /** A lease ended without an outcome; the delivery is offered again. */
  | { readonly kind: 'lease-lost'; readonly egressId: string; readonly lease: number }
  /** What waited for an egress may be lost: somebody has removed it from the log's server. */
  | { readonly kind: 'log-gap'; readonly egressId: string; readonly detail: string }
  /** One commit of the log. `leftOut`: records that were settled everywhere before and never had to be written. */
  | {
      readonly kind: 'committed';
      readonly records: number;
      readonly settles: number;
      readonly leftOut: number;
      readonly bytes: number;
      readonly durationMs: number;
    }
  /** The log starts or stops taking events. */
  | { readonly kind: 'log-state'; readonly isAccepting: boolean; readonly code?: ErrorCode };
