/**
 * Takes one event in: what the head of its request says -> admission -> body -> log.
 *
 * In binary mode the attributes are in the head, so the event is admitted before a byte of its body is read; in
 * structured mode they are known only with the body. The door calls the three steps in turn and reads the
 * body between the last two.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { contentModeOf, parseBinaryHead, parseStructured } from '../core/codec.ts';
import { KnearError } from '../core/errors.ts';
import type { CloudEvent } from '../core/event.ts';
import type { EventLog, Position } from '../core/ports/event-log.ts';
import type { Clock } from '../core/ports/time.ts';
import { admit } from '../core/rules/admit.ts';
import type { Ingress } from '../core/topology.ts';

/** What the head tells about the event. */
export type Head =
  /** All but the data. */
  | { readonly kind: 'binary'; readonly event: CloudEvent }
  /** Nothing yet: the body brings it. */
  | { readonly kind: 'structured'; readonly headers: IncomingHttpHeaders };

export interface Accepted {
  /** As it was kept, with the stamps of the ingress. */
  readonly event: CloudEvent;
  readonly position: Position;
}

/** @throws KNEAR_EVENT_INVALID, KNEAR_BATCH_UNSUPPORTED */
export function parseHead(headers: IncomingHttpHeaders): Head {
  const mode = contentModeOf(headers);
  switch (mode) {
    case 'binary':
      return { kind: 'binary', event: { ...parseBinaryHead(headers), data: undefined } };
    case 'structured':
      return { kind: 'structured', headers };
    case 'batch':
      throw new KnearError('KNEAR_BATCH_UNSUPPORTED', 'send the events of the batch one by one');
    case 'none':
      throw new KnearError(
        'KNEAR_EVENT_INVALID',
        'neither a ce-specversion header of 1.0 or 0.3 nor content type application/cloudevents+json',
      );
  }
}

/** Admission as far as the head allows it. @throws the code of the refusal */
export function admitHead(ingress: Ingress, head: Head, nowMs: number): Head {
  return head.kind === 'binary'
    ? { kind: 'binary', event: admitted(ingress, head.event, nowMs) }
    : head;
}

/**
 * Largest body that can hold an event the ingress takes. JSON around data that is Base64 (4/3) or escaped text needs
 * room (twice the data, and 64 KiB for attributes and framing); the data itself is measured after parsing.
 */
export function bodyMaxBytes(ingress: Ingress, head: Head): number {
  return head.kind === 'binary' ? ingress.eventMaxBytes : 2 * ingress.eventMaxBytes + 64 * 1024;
}

/**
 * Keeps the event; resolves when the log answers for it, so that the producer may be told.
 * @param offer.head an admitted one.
 * @param offer.body at most `bodyMaxBytes`.
 * @throws KNEAR_STRUCTURED_INVALID, KNEAR_EVENT_INVALID, the code of a refusal, or what the log throws.
 */
export async function accept(
  { log, clock }: { readonly log: EventLog; readonly clock: Clock },
  offer: {
    readonly ingress: Ingress;
    readonly head: Head;
    readonly body: Uint8Array | undefined;
  },
): Promise<Accepted> {
  const event = eventOf(offer, clock.nowMs());
  const [position = 0] = await log.append(offer.ingress.id, [event]);
  return { event, position };
}

function eventOf({ ingress, head, body }: Parameters<typeof accept>[1], nowMs: number): CloudEvent {
  if (head.kind === 'binary') return { ...head.event, data: body };
  return admitted(ingress, parseStructured(body ?? new Uint8Array(), head.headers), nowMs);
}

function admitted(ingress: Ingress, event: CloudEvent, nowMs: number): CloudEvent {
  const admission = admit(ingress, event, nowMs);
  if (admission.kind === 'refused') throw new KnearError(admission.code, admission.detail);
  return admission.event;
}
