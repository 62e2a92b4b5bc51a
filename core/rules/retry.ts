/**
 * What to do after one attempt: be done, take the reply, try again, or give up. Pure; waiting, counting and dead
 * letters are the dispatcher's work.
 * Source: Knative Eventing data-plane specification, "Event Acknowledgement and Delivery Retry"; where it leaves a
 * choice, its reference implementation decides.
 */
import { ERRORS, type ErrorCode } from '../errors.ts';
import type { CloudEvent } from '../event.ts';
import type { Outcome } from '../ports/deliverer.ts';
import { FAILURE_DATA_MAX, type Failure } from '../ports/event-log.ts';
import type { RetryPolicy } from '../topology.ts';

export type Verdict =
  | { readonly kind: 'done' }
  | { readonly kind: 'reply'; readonly event: CloudEvent }
  | { readonly kind: 'again'; readonly delayMs: number; readonly failure: Failure }
  /** Nothing was learnt about the subscriber: tried again later, and no attempt (K33). */
  | { readonly kind: 'wait'; readonly failure: Failure }
  /** No further attempt: the retries are used up, or another one could not help. */
  | { readonly kind: 'exhausted'; readonly failure: Failure };

export interface JudgeContext {
  readonly policy: RetryPolicy;
  /** Failed attempts before this one. */
  readonly attempt: number;
  /** The address that was called: `knativeerrordest` of a dead letter. */
  readonly dest: string;
  /** Broker: a 2xx body that is no event is a failure. Channel: it is ignored; without `reply`, whatever it is. */
  readonly replies: 'strict' | 'lenient' | 'ignored';
  /** Longest backoff, however often an event has failed. Does not bound Retry-After, which has a bound of its own. */
  readonly backoffMaxMs: number;
}

/** The verdict on an attempt whose outcome this is. */
export function judge(outcome: Outcome, context: JudgeContext): Verdict {
  switch (outcome.kind) {
    case 'accepted':
      return { kind: 'done' };
    case 'replied':
      return { kind: 'reply', event: outcome.event };
    case 'malformed':
      if (isIgnored(outcome.code, context.replies)) return { kind: 'done' };
      break;
    case 'payload':
      if (!ERRORS[outcome.code].retryable) break;
      return { kind: 'wait', failure: failureOf(outcome, context.dest) };
    case 'rejected':
    case 'unreachable':
      break;
  }
  const failure = failureOf(outcome, context.dest);
  return isRetryable(outcome) && context.attempt < context.policy.retries
    ? { kind: 'again', delayMs: waitMs(outcome, context), failure }
    : { kind: 'exhausted', failure };
}

/** The same verdict for another reason, where it has one. */
export function withCode(verdict: Verdict, code: ErrorCode): Verdict {
  return 'failure' in verdict ? { ...verdict, failure: { ...verdict.failure, code } } : verdict;
}

/**
 * The wait before the attempt that follows `attempt` + 1 failed ones, in ms: `delay` x 2^attempt, or
 * `delay` x (attempt + 1), at most `backoffMaxMs`. Knative's documents and implementations disagree about where to
 * count from; this is exponential as in the reference, and linear as in the Kafka Broker, whose first wait is not 0.
 */
export function delayOf(policy: RetryPolicy, attempt: number, backoffMaxMs: number): number {
  // Decided first, because 0 times the infinity that 2^attempt becomes after 1,023 failures is not a number.
  if (policy.delayMs === 0) return 0;
  switch (policy.backoff) {
    case 'none':
      return 0;
    case 'linear':
      return Math.min(policy.delayMs * (attempt + 1), backoffMaxMs);
    case 'exponential':
      return Math.min(policy.delayMs * 2 ** attempt, backoffMaxMs);
  }
}

function isIgnored(code: ErrorCode, replies: JudgeContext['replies']): boolean {
  return replies === 'ignored' || (replies === 'lenient' && code === 'KNEAR_REPLY_FOREIGN');
}

type FailedOutcome = Exclude<Outcome, { kind: 'accepted' | 'replied' }>;

/** Statuses below 500 after which the specification asks for another attempt. */
const RETRYABLE_STATUSES: ReadonlySet<number> = new Set([404, 408, 409, 429]);

function isRetryable(outcome: FailedOutcome): boolean {
  switch (outcome.kind) {
    case 'rejected':
      return outcome.status >= 500 || RETRYABLE_STATUSES.has(outcome.status);
    case 'malformed':
      // The same event would lead to the same reply, and reading it again costs as much as the first time.
      return outcome.code !== 'KNEAR_REPLY_TOO_LARGE';
    case 'unreachable':
      // Nobody can call such an address, however often it is tried; a corrected resource starts anew.
      return outcome.code !== 'KNEAR_SUBSCRIBER_INVALID';
    case 'payload':
      return false;
  }
}

function waitMs(outcome: FailedOutcome, context: JudgeContext): number {
  const backoffMs = delayOf(context.policy, context.attempt, context.backoffMaxMs);
  return Math.max(backoffMs, honouredRetryAfterMs(outcome, context.policy));
}

/** Knative honours Retry-After of 429 and 503 only, and only where `retryAfterMax` is set (0 switches it off). */
function honouredRetryAfterMs(outcome: FailedOutcome, policy: RetryPolicy): number {
  if (outcome.kind !== 'rejected' || (outcome.status !== 429 && outcome.status !== 503)) return 0;
  return Math.min(outcome.retryAfterMs ?? 0, policy.retryAfterMaxMs ?? 0);
}

function failureOf(outcome: FailedOutcome, dest: string): Failure {
  const { code, status, data } = partsOf(outcome);
  return data.byteLength === 0 ? { code, status, dest } : { code, status, dest, data };
}

/**
 * Data is what the subscriber said, or what we have to say where it said nothing. 500 without an answer, 502 for an
 * unusable reply and the words before the detail are those of Knative's reference.
 */
function partsOf(outcome: FailedOutcome): { code: ErrorCode; status: number; data: Uint8Array } {
  switch (outcome.kind) {
    case 'rejected':
      return { code: 'KNEAR_REJECTED', status: outcome.status, data: bodyStart(outcome.body) };
    case 'malformed': {
      const body = bodyStart(outcome.body);
      const data = body.byteLength === 0 ? textStart(outcome.detail) : body;
      return { code: outcome.code, status: 502, data };
    }
    case 'unreachable':
      return {
        code: outcome.code,
        status: 500,
        data: textStart(`dispatch error: ${outcome.detail}`),
      };
    case 'payload':
      return {
        code: outcome.code,
        status: ERRORS[outcome.code].status,
        data: textStart(outcome.detail),
      };
  }
}

function bodyStart(body: Uint8Array = new Uint8Array()): Uint8Array {
  return body.subarray(0, FAILURE_DATA_MAX);
}

/** As much of a text as fits, in whole characters. */
function textStart(text: string): Uint8Array {
  const bytes = new Uint8Array(FAILURE_DATA_MAX);
  return bytes.slice(0, new TextEncoder().encodeInto(text, bytes).written);
}
