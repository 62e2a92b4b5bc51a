/** Where a delivery stands between two attempts. */
import type { CloudEvent } from '../core/event.ts';
import { asReply } from '../core/rules/admit.ts';
import { deadLetterEvent, isLostData } from '../core/rules/dead-letter.ts';
import type { Delivery, Failure, Phase, Work } from '../core/ports/event-log.ts';
import type { Egress, Target } from '../core/topology.ts';

/** What a Work would remember, and the events it is about. */
export interface Stage extends Work {
  readonly event: CloudEvent;
  readonly origin?: CloudEvent;
  /** Monotonic; since when this phase tries in this lease. */
  readonly sinceMs: number;
  /** Phase reply: failed attempts at the subscriber before it answered, as far as this lease knows. */
  readonly askedInVain?: number;
}

/** Where the log left it. `sinceMs`: monotonic, now. */
export function stageOf(delivery: Delivery, sinceMs: number): Stage {
  const { phase, attempt, firstAtMs, lastFailure, event, origin } = delivery;
  return {
    phase,
    attempt,
    firstAtMs,
    event,
    sinceMs,
    ...(lastFailure && { lastFailure }),
    ...(origin && { origin }),
  };
}

/** Where the phase sends to; `undefined` when the resource names no such address (any more). */
export function targetOf(egress: Egress, phase: Phase): Target | undefined {
  switch (phase) {
    case 'deliver':
      return egress.subscriber;
    case 'reply':
      return egress.reply;
    case 'dead-letter':
      return egress.deadLetter;
  }
}

/**
 * The event as it leaves us in this phase. A Trigger takes the hop count off, but not on the way to an ingress of ours: a
 * Broker that answers itself through a Channel, or is its own dead letter sink, would do so for ever.
 */
export function outgoing(
  egress: Egress,
  stage: Stage,
  forSubscriber: (event: CloudEvent) => CloudEvent,
): CloudEvent {
  if (stage.phase === 'reply') return stage.event;
  const isLeaving = egress.kind === 'trigger' && targetOf(egress, stage.phase)?.kind !== 'ingress';
  const event = isLeaving ? forSubscriber(stage.event) : stage.event;
  return stage.phase === 'dead-letter' && stage.lastFailure
    ? deadLetterEvent(event, stage.lastFailure)
    : event;
}

/**
 * What follows when nothing more is tried: the dead letter sink, if there is one that has not failed itself. One that
 * could not be given the data gets the event without it (K37), for the reason that it came here.
 */
export function deadLetterStage(
  egress: Egress,
  stage: Stage,
  { failure, sinceMs }: { readonly failure: Failure; readonly sinceMs: number },
): Stage | undefined {
  const { phase, lastFailure: before, firstAtMs } = stage;
  const isSink = phase === 'dead-letter';
  const isNewlyLost = isLostData(failure.code) && !(before && isLostData(before.code));
  if (!egress.deadLetter || (isSink && !isNewlyLost)) return undefined;
  const lastFailure = isSink && before ? { ...before, code: failure.code } : failure;
  const event = stage.origin ?? stage.event;
  return { phase: 'dead-letter', attempt: 0, firstAtMs, lastFailure, event, sinceMs };
}

export function isReplyOfBroker(egress: Egress, stage: Stage): boolean {
  return egress.kind === 'trigger' && stage.phase === 'reply';
}

/** After a failed attempt. */
export function failedStage(stage: Stage, failure: Failure): Stage {
  return {
    ...stage,
    attempt: stage.attempt + 1,
    // A dead letter tells why the event failed, not why its sink does.
    ...(stage.phase !== 'dead-letter' && { lastFailure: failure }),
  };
}

/** The subscriber has answered, and its reply goes to `target`. @param sinceMs monotonic, now */
export function replyStage(
  target: Target,
  stage: Stage,
  { reply, sinceMs }: { readonly reply: CloudEvent; readonly sinceMs: number },
): Stage {
  return {
    phase: 'reply',
    attempt: 0,
    firstAtMs: stage.firstAtMs,
    event: target.kind === 'ingress' ? asReply(reply, stage.event) : reply,
    origin: stage.event,
    sinceMs,
    askedInVain: stage.attempt,
  };
}

/** The reply is not taken: the subscriber is asked again. @param sinceMs monotonic, now */
export function askedStage(
  { firstAtMs, askedInVain = 0, origin, event }: Stage,
  sinceMs: number,
): Stage {
  return { phase: 'deliver', attempt: askedInVain, firstAtMs, event: origin ?? event, sinceMs };
}
