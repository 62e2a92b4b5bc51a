/**
 * Who records where an event has been, as spans of a trace. Where nobody does, the place of the Tracer is `undefined`: that is
 * all that an event's path looks at, and the trace context then passes through with the kept headers, untouched.
 *
 * Starting and ending a span wait for nothing and never throw, whatever becomes of it afterwards.
 * Source of the headers: W3C Trace Context, `traceparent` and `tracestate`.
 */
import type { ErrorCode } from '../errors.ts';
import type { CloudEvent } from '../event.ts';
import type { HopRefusal } from '../rules/hop.ts';
import type { Egress, Ingress } from '../topology.ts';
import type { Work } from './event-log.ts';
import type { RouteTaken } from './observer.ts';

export interface Tracer {
  /**
   * An event that the door has admitted. The span is a child of the context in the event's kept headers; without a valid
   * one, it is the first of a new trace.
   */
  accept(ingress: Ingress, event: CloudEvent, request: TracedRequest): Span;
  /**
   * An attempt begins, as a child of the context of the event that it is about.
   * @param ingress where the event goes, when that is a Broker or Channel of ours, which needs no request.
   */
  attempt(egress: Egress, what: TracedAttempt, ingress?: Ingress): Span;
}

export interface TracedRequest {
  /** Monotonic, as of the first byte. */
  readonly startedMs: number;
  readonly scheme: 'http' | 'https';
}

/** What a stage of a delivery knows: `attempt` counts the failed ones before. */
export interface TracedAttempt extends Pick<Work, 'phase' | 'attempt'> {
  readonly event: CloudEvent;
}

/** What is known of an attempt only on its way. */
export interface TracedWay {
  /** Local hops that have led here. */
  readonly hops: number;
  /** Of a request. */
  readonly route?: RouteTaken;
  /** Of what goes to a Broker or Channel of ours, once that admits it. */
  readonly hop?: 'taken' | HopRefusal;
}

/** A span that has begun. One that is never ended is never told. */
export interface Span {
  /** What this attempt says in its `traceparent` header, in place of what the event keeps. */
  readonly traceparent: string;
  /** The event as it goes on from here: its kept headers name this span, so that what follows belongs to it. */
  mark(event: CloudEvent): CloudEvent;
  /** The same for a reply, unless the subscriber has named a trace in it by itself. */
  adopt(reply: CloudEvent): CloudEvent;
  /** Before the end. */
  note(way: TracedWay): void;
  /** @param status of HTTP; 0 when there is none. @param code why it failed; absent: it did not. */
  end(status: number, code?: ErrorCode): void;
}
