/**
 * What an answer means: the head says whether the body can be an event, the body is read as far as it is worth it, and
 * both together become an Outcome. No sockets here.
 *
 * A 2xx is a reply if it is a CloudEvent, 202 included, as in Knative's reference; another body is FOREIGN, and none is
 * fine. Without `Prefer: reply` nobody wants to know what a 2xx says.
 * Source: Knative Eventing data-plane specification, "Derived (Reply) Events".
 */
import {
  contentModeOf,
  parseBinaryHead,
  parseStructured,
  type ContentMode,
  type IncomingHeaders,
} from '../../core/codec.ts';
import { codeOf, KnearError } from '../../core/errors.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { Outcome } from '../../core/ports/deliverer.ts';
import { FAILURE_DATA_MAX } from '../../core/ports/event-log.ts';
import type { Clock } from '../../core/ports/time.ts';

/** Reads one body, from the first piece to `finish` or `breakOff`. */
export interface Answer {
  /** Takes the next piece. An outcome means: enough, do not read on. */
  read(chunk: Uint8Array): Outcome | undefined;
  /** The body is complete. */
  finish(): Outcome;
  /** The body will never be complete: what is certain all the same, if anything is. */
  breakOff(): Outcome | undefined;
}

export interface AnswerHead {
  /** 200 or more. */
  readonly status: number;
  readonly headers: IncomingHeaders;
}

export interface AnswerOptions {
  readonly wantsReply: boolean;
  readonly replyMaxBytes: number;
  readonly clock: Clock;
}

export function openAnswer(head: AnswerHead, options: AnswerOptions): Answer {
  const { status, headers } = head;
  if (status < 200 || status > 299) {
    const retryAfterMs = parseRetryAfter(headers['retry-after'], options.clock.nowMs());
    return new Remark(headers, (body) => ({
      kind: 'rejected',
      status,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...bodyField(body),
    }));
  }
  if (!options.wantsReply) return new Remark(headers, () => ({ kind: 'accepted', status }));
  const mode = contentModeOf(headers);
  return mode === 'none' ? new Foreign(head) : new Reply(head, mode, options.replyMaxBytes);
}

/** A 2xx whose head announces an event. All of it is kept, up to the limit. */
class Reply implements Answer {
  readonly #head: AnswerHead;
  readonly #mode: Exclude<ContentMode, 'none'>;
  readonly #maxBytes: number;
  readonly #chunks: Uint8Array[] = [];
  #sizeBytes = 0;

  constructor(head: AnswerHead, mode: Exclude<ContentMode, 'none'>, maxBytes: number) {
    this.#head = head;
    this.#mode = mode;
    this.#maxBytes = maxBytes;
  }

  read(chunk: Uint8Array): Outcome | undefined {
    this.#sizeBytes += chunk.byteLength;
    this.#chunks.push(chunk);
    const announced = announcedBytes(this.#head.headers);
    if (Math.max(this.#sizeBytes, announced) <= this.#maxBytes) return undefined;
    return this.#malformed('KNEAR_REPLY_TOO_LARGE', `over ${String(this.#maxBytes)} bytes`);
  }

  finish(): Outcome {
    const { status } = this.#head;
    // Some frameworks set the type of a structured event on every answer. In binary mode the head is the event.
    if (this.#sizeBytes === 0 && this.#mode !== 'binary') return { kind: 'accepted', status };
    try {
      return { kind: 'replied', status, event: this.#event() };
    } catch (error) {
      // Anything but the codec's verdict is a bug of ours.
      if (codeOf(error) === undefined || !(error instanceof Error)) throw error;
      return this.#malformed('KNEAR_REPLY_INVALID', error.message);
    }
  }

  breakOff(): undefined {
    return undefined;
  }

  /** @throws what the codec throws */
  #event(): CloudEvent {
    const { headers } = this.#head;
    const body = joined(this.#chunks, this.#sizeBytes);
    switch (this.#mode) {
      case 'binary': {
        const data = body.byteLength === 0 ? undefined : body;
        return { ...parseBinaryHead(headers), data };
      }
      case 'structured':
        return parseStructured(body, headers);
      case 'batch':
        throw new KnearError('KNEAR_BATCH_UNSUPPORTED', 'a batch: reply with a single event');
    }
  }

  #malformed(code: 'KNEAR_REPLY_TOO_LARGE' | 'KNEAR_REPLY_INVALID', detail: string): Outcome {
    const body = bodyField(startOf(this.#chunks));
    return { kind: 'malformed', status: this.#head.status, code, detail, ...body };
  }
}

/**
 * 64 KiB: up to about here, reading on costs less than a new connection (some 100 us and a round trip). The rest of a
 * longer body is cut off.
 */
const DRAINED_MAX_BYTES = 64 * 1024;

/** A body that decides nothing: its start may be of use to a person, the rest is drained to keep the connection. */
class Remark implements Answer {
  readonly #headers: IncomingHeaders;
  readonly #outcome: (start: Uint8Array) => Outcome;
  readonly #chunks: Uint8Array[] = [];
  #sizeBytes = 0;

  constructor(headers: IncomingHeaders, outcome: (start: Uint8Array) => Outcome) {
    this.#headers = headers;
    this.#outcome = outcome;
  }

  get isEmpty(): boolean {
    return this.#sizeBytes === 0;
  }

  read(chunk: Uint8Array): Outcome | undefined {
    if (this.#sizeBytes < FAILURE_DATA_MAX) this.#chunks.push(chunk);
    this.#sizeBytes += chunk.byteLength;
    const isLong = Math.max(this.#sizeBytes, announcedBytes(this.#headers)) > DRAINED_MAX_BYTES;
    return isLong && this.#sizeBytes >= FAILURE_DATA_MAX ? this.finish() : undefined;
  }

  finish(): Outcome {
    return this.#outcome(startOf(this.#chunks));
  }

  breakOff(): Outcome {
    return this.finish();
  }
}

/** A 2xx with a body that is not an event, or, which only the end of the body tells, without any. */
class Foreign implements Answer {
  readonly #status: number;
  readonly #body: Remark;

  constructor({ status, headers }: AnswerHead) {
    const type = headers['content-type'] ?? 'no content type';
    const detail = `status ${String(status)} with a body that is no CloudEvent (${String(type)})`;
    this.#status = status;
    this.#body = new Remark(headers, (body) => ({
      kind: 'malformed',
      status,
      code: 'KNEAR_REPLY_FOREIGN',
      detail,
      ...bodyField(body),
    }));
  }

  read(chunk: Uint8Array): Outcome | undefined {
    return this.#body.read(chunk);
  }

  finish(): Outcome {
    return this.breakOff() ?? { kind: 'accepted', status: this.#status };
  }

  breakOff(): Outcome | undefined {
    return this.#body.isEmpty ? undefined : this.#body.finish();
  }
}

/** The first bytes that a failure may keep. */
function startOf(chunks: readonly Uint8Array[]): Uint8Array {
  return joined(chunks, FAILURE_DATA_MAX);
}

/**
 * The first `maxBytes` of the pieces in memory of their own: a piece is a window of all that one read of the socket
 * brought, and Buffer.concat would take one of a shared slab. A few kept bytes would hold up to 64 KiB of either.
 */
function joined(chunks: readonly Uint8Array[], maxBytes: number): Uint8Array {
  const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const bytes = new Uint8Array(Math.min(sizeBytes, maxBytes));
  let offset = 0;
  for (const chunk of chunks) {
    const part = chunk.subarray(0, bytes.byteLength - offset);
    bytes.set(part, offset);
    offset += part.byteLength;
  }
  return bytes;
}

function bodyField(body: Uint8Array): { readonly body?: Uint8Array } {
  return body.byteLength === 0 ? {} : { body };
}

/** What content-length says; 0 where it says nothing. undici has checked its form. */
function announcedBytes(headers: IncomingHeaders): number {
  return Number(headers['content-length'] ?? 0);
}

/**
 * The wait that a Retry-After header asks for, in ms from `nowMs`; `undefined` where it asks for nothing that can be
 * understood. Seconds, or a date in one of the three forms of RFC 9110, section 5.6.7.
 */
export function parseRetryAfter(
  header: IncomingHeaders[string],
  nowMs: number,
): number | undefined {
  if (typeof header !== 'string') return undefined;
  const text = header.trim();
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1_000, Number.MAX_SAFE_INTEGER);
  // All three begin with a weekday. Without this, Date.parse finds a year in nearly any text.
  if (!/^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text)) return undefined;
  const dateMs = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`);
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - nowMs);
}
