/**
 * What the door writes: 202, the answers to OPTIONS and probes, and problem documents (RFC 9457).
 *
 * Every answer names the methods that are served, has an explicit length and no Date (5 to 8 us of a request's 75), and
 * no answer is lost on a producer that is still sending:
 *
 * - N1 An answer that comes long before the end of the body says `connection: close`, takes what the producer
 *   still sends for up to a second, and only then closes. Closing at once resets the connection while the answer is
 *   under way; one producer in four to ten never saw it.
 * - N2 Where little is still to come, the connection goes on after it, so that a refusal does not cost one; it is cut if
 *   that little does not come within the second.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { ErrorCode, EventError } from '../core/errors.ts';
import { ERRORS } from '../core/errors.ts';
import type { Clock } from '../core/ports/time.ts';

/** One request and its answer; `isLast`: the connection ends with it. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly isLast: boolean;
}

/**
 * A problem document. Without `code` it says no more than its HTTP status does. `code`, `errors` and `errorCount` are
 * extensions of ours (RFC 9457, section 3.2).
 */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly code?: ErrorCode;
  /** Of a batch: the first events that are wrong. */
  readonly errors?: readonly EventError[];
  /** How many are wrong in all. */
  readonly errorCount?: number;
}

export interface Answer {
  readonly status: number;
  /** Names and values in turn, beside those that every answer has. */
  readonly headers: readonly string[];
  readonly body: string;
}

export const ACCEPTED: Answer = { status: 202, headers: [], body: '' };

/**
 * To OPTIONS, whatever the path: whoever asks may send, as fast as they like.
 * Source: CloudEvents HTTP webhook, section 4, as Knative's ingress answers it.
 */
export const PREFLIGHT: Answer = {
  status: 200,
  headers: ['webhook-allowed-origin', '*', 'webhook-allowed-rate', '*'],
  body: '',
};

/**
 * 20 of a batch show what is wrong with its producer, in about 4 KB. All of 1,000 would be 200 KB, which a producer that
 * only wants to know whether to send again reads and throws away.
 */
const EVENT_ERRORS_MAX = 20;

/**
 * @param detail for the person who reads it; absent when there is nothing to say beyond the title.
 * @param eventErrors of a batch: all of them.
 */
export function problemOf(
  code: ErrorCode,
  detail?: string,
  eventErrors?: readonly EventError[],
): Problem {
  const { title, status } = ERRORS[code];
  const type = `urn:knear:error:${code}`;
  const problem = { type, title, status, ...(detail && { detail }), code };
  if (!eventErrors) return problem;
  const errors = eventErrors.slice(0, EVENT_ERRORS_MAX);
  return { ...problem, errors, errorCount: eventErrors.length };
}

/** A problem that has no code of ours: broken HTTP. */
export function plainProblem(status: number): Problem {
  return { type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status };
}

export function problemAnswer(problem: Problem, retryAfterMs?: number): Answer {
  const headers = ['content-type', 'application/problem+json'];
  if (problem.status === 429 || problem.status === 503) {
    headers.push('retry-after', retryAfterSeconds(retryAfterMs));
  }
  if (problem.code === 'KNEAR_CONTENT_ENCODING') headers.push('accept-encoding', 'identity');
  return { status: problem.status, headers, body: JSON.stringify(problem) };
}

/** Answers, and sees to the end of the connection where it has to end. Does nothing when the producer has left. */
export function answer(exchange: Exchange, given: Answer, clock: Clock): void {
  const { request, response } = exchange;
  if (response.destroyed) return;
  const rest = restOf(request);
  const isLast = exchange.isLast || rest === 'much';
  response.sendDate = false;
  response.writeHead(given.status, headersOf(given, isLast));
  if (rest === 'none') {
    response.end(given.body);
  } else if (isLast) {
    writeUnended(response, given.body);
    takeRest(request, clock, () => response.end());
  } else {
    response.end(given.body);
    takeRest(request, clock, () => request.complete || request.destroy());
  }
}

/** An answer written to the bare connection, for requests that node could not parse. */
export function rawAnswer(given: Answer): string {
  const lines = [`HTTP/1.1 ${given.status} ${STATUS_CODES[given.status] ?? ''}`];
  const headers = headersOf(given, true);
  for (let index = 0; index < headers.length; index += 2) {
    lines.push(`${headers[index] ?? ''}: ${headers[index + 1] ?? ''}`);
  }
  return [...lines, '', given.body].join('\r\n');
}

/** 1 s: the shortest that whole seconds can say; the bounds of the door empty within milliseconds. */
const RETRY_AFTER_MS = 1_000;

/** How long a producer may go on sending after its answer. 1 s: enough for 1 MB in flight on a slow network. */
export const DRAIN_MS = 1_000;

function retryAfterSeconds(retryAfterMs = RETRY_AFTER_MS): string {
  return String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
}

function headersOf({ headers, body }: Answer, isLast: boolean): string[] {
  const all = ['allow', 'POST, OPTIONS', ...headers];
  all.push('content-length', String(Buffer.byteLength(body)));
  if (isLast) all.push('connection', 'close');
  return all;
}

/** 64 KiB: fits into the buffers on the way, so a producer that sent the head has sent this, too. */
const LITTLE_BYTES = 64 * 1024;

/** How much of the body may still come. */
function restOf(request: IncomingMessage): 'none' | 'little' | 'much' {
  if (request.complete) return 'none';
  const { expect, 'transfer-encoding': coding, 'content-length': length = '0' } = request.headers;
  if (coding === undefined && length === '0') return 'none';
  // Who waits for 100 Continue may send the next request instead of the body; only the end of the connection is clear.
  const isLittle = coding === undefined && expect === undefined && Number(length) <= LITTLE_BYTES;
  return isLittle ? 'little' : 'much';
}

/** The producer has the whole answer; node closes the connection only when it is ended. */
function writeUnended(response: ServerResponse, body: string): void {
  if (body === '') response.flushHeaders();
  else response.write(body);
}

/** Discards the rest of the body; `done` runs when it is over, at the latest after DRAIN_MS. */
function takeRest(request: IncomingMessage, clock: Clock, done: () => void): void {
  const finish = (): void => {
    timer.cancel();
    request.off('end', finish).off('close', finish);
    done();
  };
  const timer = clock.after(DRAIN_MS, finish);
  request.once('end', finish).once('close', finish).resume();
}
