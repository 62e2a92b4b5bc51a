/** What `GET /events/:id` answers (docs/looking-inside.md): explain.ts makes it, `knear explain` shows it. */
import type { ErrorCode } from '../../core/errors.ts';
import type { AttributeValue } from '../../core/event.ts';
import type { Failure } from '../../core/ports/event-log.ts';
import type { End, RouteTaken } from '../../core/ports/observer.ts';
import type { HopRefusal } from '../../core/rules/hop.ts';
import type { Attempt, EventName, Stall } from './stories.ts';

/** One for each source. */
export interface ExplainedEvents {
  readonly events: readonly ExplainedEvent[];
}

export interface ExplainedEvent {
  readonly id: string;
  readonly source: string;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  /** ISO 8601. All that ends in AfterMs counts from here. */
  readonly at: string;
  /** How long ago that is. */
  readonly ageMs: number;
  /** `at` is when it was accepted, not only when it was first noticed. */
  readonly isFromAcceptance: boolean;
  readonly visits: readonly ExplainedVisit[];
  /** Lines that there was no room for. */
  readonly omitted: number;
}

/** Data of an event. */
export interface ExplainedPayload {
  readonly sizeBytes: number;
  /** Its name in the payload store; absent: the log has it. */
  readonly id?: string;
}

/** The event at one Broker or Channel. */
export interface ExplainedVisit {
  readonly ingress: ResourceName | undefined;
  /** Absent: it came before what is remembered. */
  readonly afterMs?: number;
  /** When the producer got its 202. */
  readonly answeredAfterMs?: number;
  readonly from: VisitSource;
  /** Absent: it came by the door, or before what is remembered. */
  readonly way?: ExplainedWay;
  /** Absent: there is none, or it came before what is remembered. */
  readonly payload?: ExplainedPayload;
  readonly egresses: readonly ExplainedEgress[];
  /** Those that did not want it and are not listed. */
  readonly unwantedOmitted: number;
  /** The resources of that moment are not known any more: those that did not want it are not listed. */
  readonly isPartial: boolean;
}

export interface ResourceName {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** What brought it: its producer, the answer of a subscriber, or an egress that sends to a Broker or Channel of ours. */
export type VisitSource =
  | { readonly kind: 'producer' }
  | { readonly kind: 'reply'; readonly egress: ResourceName; readonly event: EventName }
  | { readonly kind: 'egress'; readonly egress: ResourceName }
  | { readonly kind: 'unknown' };

/** How it came from an egress to a Broker or Channel of ours: by a local hop to the only one who wanted it, or by the log. */
export type ExplainedWay =
  | {
      readonly kind: 'local-hop';
      /** Absent: it is not known any more. */
      readonly to?: ResourceName;
    }
  | {
      readonly kind: 'log';
      /** Why it did not hop. */
      readonly refusal: HopRefusal;
      /** How many wanted it. */
      readonly wantedCount: number;
    };

export interface ExplainedEgress extends ResourceName {
  readonly isWanted: boolean;
  /** The clause of the filter that failed. */
  readonly why?: string;
  readonly subscriber: string;
  readonly attempts: readonly ExplainedAttempt[];
  /** Attempts before the last one that there was no room for. */
  readonly skipped: number;
  /** The last time that a payload could not be read, or that of a reply not be kept: no attempt. */
  readonly stall?: Omit<Stall, 'atMs'> & { readonly afterMs: number };
  readonly end?: {
    readonly kind: End;
    readonly afterMs: number;
    readonly failure?: Pick<Failure, 'code' | 'status' | 'dest'>;
    /** Of the dead letter sink. */
    readonly sink?: string;
  };
  /** Where it stands, without an end. `handed-on`: it ends with what goes on from here by local hops. */
  readonly state?: 'open' | 'handed-on' | 'waiting' | 'paused' | 'deleted';
}

export interface ExplainedAttempt extends Pick<
  Attempt,
  'phase' | 'attempt' | 'durationMs' | 'dest' | 'status' | 'hops'
> {
  readonly afterMs: number;
  readonly code?: ErrorCode;
  /** Absent: to a Broker or Channel of ours. */
  readonly route?: RouteTaken;
  readonly wait?: NonNullable<Attempt['wait']>;
  readonly reply?: EventName & {
    /** Absent: there is no reply address, so it was dropped. */
    readonly to?: string;
    /** The Broker or Channel of ours that it came to, and how; absent: it came to none, or that is not remembered. */
    readonly ingress?: ResourceName;
    readonly way?: ExplainedWay;
    /** Absent: there is none. */
    readonly payload?: ExplainedPayload;
  };
}
