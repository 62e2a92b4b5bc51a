/**
 * Admission: the one decision whether an event may enter a Broker or Channel, and what it looks like from then on.
 * The HTTP door and replies both pass it, so there is no way around it.
 *
 * A Broker stamps the time of arrival and counts the event's hops down; a Channel adds nothing.
 * Source: Knative Eventing, the Broker's ingress (knativearrivaltime, knativebrokerttl).
 */
import type { ErrorCode } from '../errors.ts';
import type { AttributeValue, CloudEvent, FreshEvent } from '../event.ts';
import { attributesSizeBytes, copyOf, dataSizeBytes, withAttributes } from '../event.ts';
import type { Ingress } from '../topology.ts';

export type Admission = { readonly kind: 'admitted'; readonly event: CloudEvent } | Refusal;

interface Refusal {
  readonly kind: 'refused';
  readonly code: ErrorCode;
  readonly detail: string;
}

const ARRIVAL_TIME = 'knativearrivaltime';
const TTL = 'knativebrokerttl';

/** Knative's default: hops of an event that comes without a count, so a loop of Triggers ends after 255 rounds. */
const TTL_MAX = 255;

/**
 * Judges the event against the ingress's limits and its hop count; an admitted one carries the stamps of the ingress.
 * @param nowMs wall time of the arrival.
 */
export function admit(ingress: Ingress, event: CloudEvent, nowMs: number): Admission {
  const refusal = refusalOf(ingress, event);
  if (refusal) return refusal;
  if (ingress.kind === 'channel') return { kind: 'admitted', event };
  return { kind: 'admitted', event: stamped(copyOf(event), arrivalText(nowMs)) };
}

/**
 * The same for an event that is the caller's to give away: it is stamped in place, which spares the hot path a copy.
 * @param arrivalTime `arrivalText` of the arrival.
 */
export function admitFresh(ingress: Ingress, event: FreshEvent, arrivalTime: string): Admission {
  const refusal = refusalOf(ingress, event);
  if (refusal) return refusal;
  if (ingress.kind === 'channel') return { kind: 'admitted', event };
  return { kind: 'admitted', event: stamped(event, arrivalTime) };
}

/** The wall time as events are stamped with it: RFC 3339, UTC, milliseconds. */
export function arrivalText(nowMs: number): string {
  return new Date(nowMs).toISOString();
}

/** The event as a Trigger's subscriber sees it: the hop count is between Brokers only. */
export function forSubscriber(event: CloudEvent): CloudEvent {
  return event.attributes.has(TTL) ? withAttributes(event, { [TTL]: undefined }) : event;
}

/**
 * The reply as it goes on inside: with the hop count of the event it answers, so that a subscriber can neither lose nor
 * refill it, and with the headers that the subscriber wants passed on.
 */
export function asReply(reply: CloudEvent, input: CloudEvent): CloudEvent {
  const ttl = input.attributes.get(TTL);
  return ttl === undefined ? reply : withAttributes(reply, { [TTL]: ttl });
}

function refusalOf(ingress: Ingress, event: CloudEvent): Refusal | undefined {
  const dataBytes = dataSizeBytes(event);
  if (dataBytes > ingress.eventMaxBytes) {
    return refused(
      'KNEAR_EVENT_TOO_LARGE',
      `the data has ${dataBytes} bytes, ${label(ingress)} takes ${ingress.eventMaxBytes} (eventMax)`,
    );
  }
  const attributesBytes = attributesSizeBytes(event);
  if (attributesBytes > ingress.attributesMaxBytes) {
    return refused(
      'KNEAR_ATTRIBUTES_TOO_LARGE',
      `the attributes have ${attributesBytes} bytes, ${label(ingress)} takes ` +
        `${ingress.attributesMaxBytes} (attributesMax)`,
    );
  }
  if (ingress.kind === 'broker' && nextTtl(event) <= 0) {
    return refused(
      'KNEAR_TTL_EXHAUSTED',
      `${TTL} is used up: the event came back through this Broker too often, look for a Trigger that answers itself`,
    );
  }
  return undefined;
}

function stamped(event: FreshEvent, arrivalTime: string): CloudEvent {
  const ttl = nextTtl(event);
  event.attributes.set(ARRIVAL_TIME, arrivalTime);
  event.attributes.set(TTL, ttl);
  return event;
}

function nextTtl(event: CloudEvent): number {
  const ttl = integer(event.attributes.get(TTL));
  return ttl === undefined ? TTL_MAX : ttl - 1;
}

/** A CloudEvents Integer, as such or as text: a whole number of 32 bits with sign. */
function integer(value: AttributeValue | undefined): number | undefined {
  const isText = typeof value === 'string' && /^[+-]?\d+$/.test(value);
  const number = isText ? Number(value) : value;
  return typeof number === 'number' && (number | 0) === number ? number : undefined;
}

function label(ingress: Ingress): string {
  return ingress.kind === 'broker' ? 'this Broker' : 'this Channel';
}

function refused(code: ErrorCode, detail: string): Refusal {
  return { kind: 'refused', code, detail };
}
