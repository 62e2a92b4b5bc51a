/**
 * Takes in what a request brings: what its head says -> admission -> body -> events -> log.
 *
 * In binary mode the attributes are in the head, so the event is admitted before a byte of its body is read; in the other
 * modes they are known only with the body. The door calls the steps in turn and reads the body in between. A batch is one
 * thing: all of its events are taken or none.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { contentModeOf, parseBatch, parseBinaryHead, parseStructured } from '../core/codec.ts';
import type { EventError } from '../core/errors.ts';
import { codeOf, ERRORS, KnearError } from '../core/errors.ts';
import type { CloudEvent, FreshEvent } from '../core/event.ts';
import { bodyMaxFor } from '../core/event-intake.ts';
import type { EventLog, Position } from '../core/ports/event-log.ts';
import type { Clock } from '../core/ports/time.ts';
import type { Span, TracedRequest, Tracer } from '../core/ports/tracer.ts';
import { admitFresh, arrivalText } from '../core/rules/admit.ts';
import type { Ingress } from '../core/topology.ts';

/** What the head tells about the event. */
export type Head<Event extends CloudEvent = CloudEvent> =
  /** All but the data. */
  | { readonly kind: 'binary'; readonly event: Event }
  /** Nothing yet: the body brings it. */
  | { readonly kind: 'structured'; readonly headers: IncomingHttpHeaders }
  | { readonly kind: 'batch'; readonly headers: IncomingHttpHeaders };

export interface Accepted {
  /** As they were kept, with the stamps of the ingress. */
  readonly events: readonly CloudEvent[];
  readonly positions: readonly Position[];
}

/** @throws KNEAR_EVENT_INVALID */
export function parseHead(headers: IncomingHttpHeaders): Head<FreshEvent> {
  const kind = contentModeOf(headers);
  switch (kind) {
    case 'binary':
      return { kind, event: { ...parseBinaryHead(headers), data: undefined } };
    case 'structured':
    case 'batch':
      return { kind, headers };
    case 'none':
      throw new KnearError(
        'KNEAR_EVENT_INVALID',
        'neither a ce-specversion header of 1.0 or 0.3 nor content type application/cloudevents+json or application/cloudevents-batch+json',
      );
  }
}

/** Admission as far as the head allows it. @throws the code of the refusal */
export function admitHead(ingress: Ingress, head: Head<FreshEvent>, arrivalTime: string): Head {
  if (head.kind !== 'binary') return head;
  return { kind: 'binary', event: admitted(ingress, head.event, arrivalTime) };
}

/** Largest body that can hold what the ingress takes. A batch is held whole, so it has a limit of its own. */
export function bodyMaxBytes({ eventMaxBytes, claims }: Ingress, { kind }: Head): number {
  return kind === 'batch' ? claims.batchMaxBytes : bodyMaxFor(kind, eventMaxBytes);
}

/**
 * The events to keep, with the stamps of the ingress: one, or those of the batch, in its order.
 * @param offer.head an admitted one.
 * @param offer.body at most `bodyMaxBytes`.
 * @throws KNEAR_STRUCTURED_INVALID, KNEAR_EVENT_INVALID, KNEAR_BATCH_INVALID, KNEAR_BATCH_TOO_LONG, or the code of a
 *   refusal
 */
export function eventsOf(
  offer: { readonly ingress: Ingress; readonly head: Head; readonly body: Uint8Array | undefined },
  arrivalTime: string,
): readonly CloudEvent[] {
  const { ingress, head, body } = offer;
  if (head.kind === 'binary') return [{ ...head.event, data: body }];
  const { kind, headers } = head;
  const bytes = body ?? new Uint8Array();
  return kind === 'structured'
    ? [admitted(ingress, parseStructured(bytes, headers), arrivalTime)]
    : admittedBatch(ingress, parseBatch(bytes, headers), arrivalTime);
}

/**
 * Keeps the events, all or none; resolves when the log answers for them, so that the producer may be told.
 * @throws what the log throws
 */
export async function accept(
  { log, tracer }: { readonly log: EventLog; readonly tracer?: Tracer },
  offer: {
    readonly ingress: Ingress;
    readonly events: readonly CloudEvent[];
    readonly request: TracedRequest;
  },
): Promise<Accepted> {
  const { ingress, events, request } = offer;
  if (!tracer) return { events, positions: await log.append(ingress.id, events) };
  const spans: Span[] = [];
  const marked = events.map((event) => {
    const span = tracer.accept(ingress, event, request);
    spans.push(span);
    return span.mark(event);
  });
  try {
    const positions = await log.append(ingress.id, marked);
    for (const span of spans) span.end(202);
    return { events: marked, positions };
  } catch (error) {
    const code = codeOf(error) ?? 'KNEAR_INTERNAL';
    for (const span of spans) span.end(ERRORS[code].status, code);
    throw error;
  }
}

/** The time of arrival as text. At full load a dozen events share a millisecond, and the text costs half a us to make. */
export class ArrivalTimes {
  readonly #clock: Clock;
  #atMs = Number.NaN;
  #text = '';

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): string {
    const nowMs = this.#clock.nowMs();
    if (nowMs !== this.#atMs) {
      this.#atMs = nowMs;
      this.#text = arrivalText(nowMs);
    }
    return this.#text;
  }
}

/** @throws the code of the refusal */
export function admitted(ingress: Ingress, event: FreshEvent, arrivalTime: string): CloudEvent {
  const admission = admitFresh(ingress, event, arrivalTime);
  if (admission.kind === 'refused') throw new KnearError(admission.code, admission.detail);
  return admission.event;
}

/** All are judged, so that the producer hears of all that are wrong. */
function admittedBatch(
  ingress: Ingress,
  items: ReturnType<typeof parseBatch>,
  arrivalTime: string,
): CloudEvent[] {
  const events: CloudEvent[] = [];
  const eventErrors: EventError[] = [];
  for (const [index, item] of items.entries()) {
    const judged = item.kind === 'event' ? admitFresh(ingress, item.event, arrivalTime) : item;
    if (judged.kind === 'admitted') events.push(judged.event);
    else eventErrors.push({ index, code: judged.code, detail: judged.detail });
  }
  const [first] = eventErrors;
  if (!first) return events;
  throw new KnearError(
    'KNEAR_BATCH_INVALID',
    `${eventErrors.length} of ${items.length} events cannot be taken, so none was kept; ` +
      `the first is at index ${first.index}: ${first.detail}`,
    { eventErrors },
  );
}
