/**
 * What an answer means: the head says whether the body can be an event, the body is read as far as it is worth it, and
 * both together become an Outcome. No sockets here.
 *
 * A 2xx is a reply if it is a CloudEvent, 202 included, as in Knative's reference; another body is FOREIGN, and none is
 * fine. Without `Prefer: reply` nobody wants to know what a 2xx says.
 * Source: Knative Eventing data-plane specification, "Derived (Reply) Events".
 */
import { contentModeOf, type IncomingHeaders } from '../../core/codec.ts';
import type { Outcome } from '../../core/ports/deliverer.ts';
import { FAILURE_DATA_MAX } from '../../core/ports/event-log.ts';
import type { Clock } from '../../core/ports/time.ts';
import { announcedBytes, bodyField, startOf } from './answer-body.ts';
import type { Answer, AnswerHead } from './answer-body.ts';
import { Reply, type ReplyOptions } from './reply.ts';

export interface AnswerOptions extends ReplyOptions {
  readonly wantsReply: boolean;
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
  return mode === 'none' ? new Foreign(head) : new Reply(head, mode, options);
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
