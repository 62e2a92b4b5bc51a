/**
 * The steps that are played on a log and its model, as data, so that a sequence which fails can be printed and shortened;
 * and what the outputs of a settle are to each of them.
 */
import { claimOf, payloadId } from '../../core/event.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import type { Delivery, Output } from '../../core/ports/event-log.ts';
import { token } from './log-model.ts';
import type { Token } from './log-model.ts';
import { eventOutput, eventTo, parkedOutput, workOutput } from './log-stage.ts';

/** `which` picks one of what there is by remainder, so that every step means something wherever it stands. */
export type Step =
  | {
      readonly kind: 'append';
      readonly to: readonly string[];
      readonly isHeld: boolean;
      readonly isClaimed: boolean;
    }
  | { readonly kind: 'pull'; readonly egressId: string; readonly count: number }
  /** A pull that waits until it is served. */
  | { readonly kind: 'wait'; readonly egressId: string; readonly count: number }
  | {
      readonly kind: 'settle';
      readonly which: number;
      readonly leave: readonly Leave[];
      readonly to: string;
    }
  | { readonly kind: 'release' | 'extend'; readonly which: number }
  | { readonly kind: 'advance'; readonly ms: number }
  | { readonly kind: 'turn' | 'pass' | 'fail' | 'crash' | 'restart' }
  | { readonly kind: 'drop'; readonly egressId: string }
  /** Of the oldest parked entries so many. */
  | { readonly kind: 'replay' | 'discard'; readonly egressId: string; readonly count: number }
  /** The data of one of the events is taken away. */
  | { readonly kind: 'redact'; readonly which: number };

/**
 * One output: `own` is about the delivery's event, `new` about another one, `origin` about what a reply answers. An event
 * that is `handed` on has the payload of the delivery's, a `claimed` one its own.
 */
export type Leave =
  | 'event'
  | 'event handed'
  | 'event claimed'
  | 'work own'
  | 'work later'
  | 'work new'
  | 'work reply'
  | 'work origin'
  | 'parked own'
  | 'parked new'
  | 'parked origin';

export interface Left {
  readonly output: Output;
  readonly tokens: readonly Token[];
}

/** Makes the events of a run: each has an id of its own, and remembers what payload. */
export class Events {
  #count = 0;
  readonly #payloads = new Map<string, string>();

  next(
    to: string,
    { isHeld = false, data }: { isHeld?: boolean; data?: PayloadRef | undefined } = {},
  ): CloudEvent {
    this.#count += 1;
    const id = `e${this.#count}`;
    if (data) this.#payloads.set(id, payloadId(data));
    return { ...eventTo(to, { id, isHeld }), data };
  }

  newRef(): PayloadRef {
    const key = `2026010100/${String(this.#count).padStart(22, '0')}`;
    const facts = { sizeBytes: 100_000 + this.#count, sha256: key, createdMs: 1 };
    return { v: 1, store: 'any', tenant: 'team-a', key, ...facts };
  }

  payloadOf(eventId: string): string | undefined {
    return this.#payloads.get(eventId);
  }
}

export const idOfEvent = (event: CloudEvent): string => String(event.attributes.get('id'));

/** What an event is owed to: one token for each egress that it is for. */
export function tokensFor(event: CloudEvent): Token[] {
  const isHeld = event.attributes.has('held');
  const egressIds = String(event.attributes.get('to')).split(' ');
  const eventId = idOfEvent(event);
  return egressIds
    .filter((id) => id !== '')
    .map((egressId) => token({ egressId, eventId, isHeld }));
}

/** One output for a delivery, and what the model makes of it. */
export function leaveBehind(
  leave: Leave,
  {
    delivery,
    events,
    to,
    laterMs,
  }: { delivery: Delivery; events: Events; to: string; laterMs: number },
): Left {
  if (leave.startsWith('event')) {
    const own = leave === 'event claimed' ? events.newRef() : undefined;
    const event = events.next(to, {
      data: leave === 'event handed' ? claimOf(delivery.event) : own,
    });
    return { output: eventOutput(event), tokens: tokensFor(event) };
  }
  const { egressId } = delivery;
  const subject = subjectOf(leave, { delivery, events });
  const eventId = idOfEvent(subject);
  if (leave.startsWith('parked')) {
    return {
      output: parkedOutput(subject),
      tokens: [token({ egressId, eventId, kind: 'parked' })],
    };
  }
  const origin = originOf(leave, delivery);
  const phase =
    leave === 'work reply' ? 'reply' : delivery.phase === 'reply' ? 'deliver' : 'dead-letter';
  const attempt = delivery.attempt + 1;
  const dueAtMs = leave === 'work later' ? laterMs : 0;
  const originId = origin && idOfEvent(origin);
  return {
    output: workOutput(subject, { phase, attempt, dueAtMs, ...(origin && { origin }) }),
    tokens: [token({ egressId, eventId, kind: 'work', phase, attempt, dueAtMs, originId })],
  };
}

function subjectOf(
  leave: Leave,
  { delivery, events }: { delivery: Delivery; events: Events },
): CloudEvent {
  if (leave.endsWith('new') || leave.endsWith('reply')) {
    // A large event is answered by a large one.
    return events.next('', { data: claimOf(delivery.event) && events.newRef() });
  }
  return (leave.endsWith('origin') && delivery.origin) || delivery.event;
}

function originOf(leave: Leave, { event, origin }: Delivery): CloudEvent | undefined {
  if (leave === 'work reply') return origin ?? event;
  return leave === 'work own' ? origin : undefined;
}
