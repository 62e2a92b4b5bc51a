/**
 * A 2xx whose head announces an event.
 *
 * - K39 A small one is held until it is complete, a large one goes where large data goes while it comes, up to the limit
 *   for replies. What is cut off, invalid or too large leaves nothing behind.
 */
import { parseBinaryHead, parseStructured } from '../../core/codec.ts';
import type { ContentMode } from '../../core/codec.ts';
import { codeOf, KnearError } from '../../core/errors.ts';
import type { CloudEvent } from '../../core/event.ts';
import { bodyMaxFor, dataInlineMax, EventIntake } from '../../core/event-intake.ts';
import type { Outcome, PayloadFault, ReplyPolicy } from '../../core/ports/deliverer.ts';
import type { Payloads } from '../../core/ports/payloads.ts';
import { announcedBytes, bodyField, joined, startOf } from './answer-body.ts';
import type { Answer, AnswerHead } from './answer-body.ts';

export interface ReplyOptions {
  readonly payloads: Payloads;
  readonly replies: ReplyPolicy;
}

/** The most that a structured event says about its data, twice: as when it comes in by the door. */
const ATTRIBUTES_MAX_BYTES = 64 * 1024;

export class Reply implements Answer {
  readonly #head: AnswerHead;
  readonly #mode: Exclude<ContentMode, 'none'>;
  readonly #options: ReplyOptions;
  /** All that came, while it is small; then only its start. */
  #chunks: Uint8Array[] = [];
  #sizeBytes = 0;
  #intake: EventIntake | undefined;
  /** What the head says of an event in binary mode. */
  #binary: CloudEvent | undefined;

  constructor(head: AnswerHead, mode: Exclude<ContentMode, 'none'>, options: ReplyOptions) {
    this.#head = head;
    this.#mode = mode;
    this.#options = options;
  }

  read(chunk: Uint8Array): Outcome | Promise<Outcome | undefined> | undefined {
    this.#sizeBytes += chunk.byteLength;
    const sizeBytes = Math.max(this.#sizeBytes, announcedBytes(this.#head.headers));
    const { claims } = this.#options.replies;
    if (sizeBytes > this.#bodyMaxBytes()) {
      return this.#tooLarge(`over ${String(claims.replyMaxBytes)} bytes (replyMax)`);
    }
    if (this.#intake) return this.#pass([chunk], this.#intake);
    this.#chunks.push(chunk);
    if (sizeBytes <= this.#inlineMaxBytes()) return undefined;
    try {
      this.#intake = this.#open();
    } catch (error) {
      return this.#failed(error);
    }
    const chunks = this.#chunks;
    this.#chunks = [startOf(chunks)];
    return this.#pass(chunks, this.#intake);
  }

  finish(): Outcome | Promise<Outcome> {
    const { status } = this.#head;
    // Some frameworks set the type of a structured event on every answer. In binary mode the head is the event.
    if (this.#sizeBytes === 0 && this.#mode !== 'binary') return { kind: 'accepted', status };
    if (this.#intake) return this.#finishLarge(this.#intake);
    try {
      return { kind: 'replied', status, event: this.#event() };
    } catch (error) {
      return this.#failed(error);
    }
  }

  breakOff(): undefined {
    this.#intake?.discard();
    return undefined;
  }

  /** K1: in binary mode the head counts as well. */
  #inlineMaxBytes(): number {
    const { claims } = this.#options.replies;
    if (this.#mode !== 'binary') return claims.inlineMaxBytes;
    try {
      return dataInlineMax(this.#binaryEvent(), claims);
    } catch {
      // What is wrong with it is told in the end.
      return claims.inlineMaxBytes;
    }
  }

  /** @throws what the codec throws */
  #binaryEvent(): CloudEvent {
    return (this.#binary ??= { ...parseBinaryHead(this.#head.headers), data: undefined });
  }

  #bodyMaxBytes(): number {
    const { replyMaxBytes } = this.#options.replies.claims;
    return this.#mode === 'batch' ? replyMaxBytes : bodyMaxFor(this.#mode, replyMaxBytes);
  }

  /** @throws the codes of the codec and of `EventIntake` */
  #open(): EventIntake {
    const { payloads, replies } = this.#options;
    const { headers } = this.#head;
    if (this.#mode === 'batch') throw batchUnsupported();
    const announced = announcedBytes(headers);
    const head =
      this.#mode === 'binary'
        ? { kind: 'binary' as const, event: this.#binaryEvent() }
        : { kind: 'structured' as const, headers };
    return new EventIntake(head, {
      payloads,
      tenant: replies.tenant,
      claims: replies.claims,
      dataMaxBytes: replies.claims.replyMaxBytes,
      attributesMaxBytes: ATTRIBUTES_MAX_BYTES,
      ...(announced > 0 && { declaredBytes: announced }),
    });
  }

  #pass(
    chunks: readonly Uint8Array[],
    intake: EventIntake,
  ): Outcome | Promise<Outcome | undefined> | undefined {
    try {
      let wait: Promise<void> | undefined;
      for (const chunk of chunks) wait = intake.write(chunk) ?? wait;
      return wait?.then(
        () => undefined,
        (error: unknown) => this.#failed(error),
      );
    } catch (error) {
      return this.#failed(error);
    }
  }

  async #finishLarge(intake: EventIntake): Promise<Outcome> {
    try {
      const event = await intake.finish((read) => read);
      return { kind: 'replied', status: this.#head.status, event };
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** @throws what the codec throws */
  #event(): CloudEvent {
    const { headers } = this.#head;
    const body = joined(this.#chunks, this.#sizeBytes);
    switch (this.#mode) {
      case 'binary': {
        const data = body.byteLength === 0 ? undefined : body;
        return { ...this.#binaryEvent(), data };
      }
      case 'structured':
        return parseStructured(body, headers);
      case 'batch':
        throw batchUnsupported();
    }
  }

  /** @throws the error itself, when it is a bug of ours */
  #failed(error: unknown): Outcome {
    this.#intake?.discard();
    const code = codeOf(error);
    // Anything but the verdict of the codec or the store is a bug of ours.
    if (code === undefined || !(error instanceof Error)) throw error;
    if (isPayloadFault(code)) return payloadOutcome(error);
    if (code === 'KNEAR_EVENT_TOO_LARGE' || code === 'KNEAR_ATTRIBUTES_TOO_LARGE') {
      return this.#tooLarge(error.message);
    }
    return this.#malformed('KNEAR_REPLY_INVALID', error.message);
  }

  #tooLarge(detail: string): Outcome {
    return this.#malformed('KNEAR_REPLY_TOO_LARGE', detail);
  }

  #malformed(code: 'KNEAR_REPLY_TOO_LARGE' | 'KNEAR_REPLY_INVALID', detail: string): Outcome {
    const body = bodyField(startOf(this.#chunks));
    return { kind: 'malformed', status: this.#head.status, code, detail, ...body };
  }
}

function batchUnsupported(): KnearError {
  return new KnearError('KNEAR_BATCH_UNSUPPORTED', 'a batch: reply with a single event');
}

function isPayloadFault(code: string): code is PayloadFault {
  return code === 'KNEAR_UPLOADS_BUSY' || code.startsWith('KNEAR_PAYLOAD_');
}

/** What a payload that could not be read or kept comes to. @throws the error itself, when it is a bug of ours */
export function payloadOutcome(error: unknown): Outcome {
  const code = codeOf(error);
  if (code === undefined || !isPayloadFault(code) || !(error instanceof Error)) throw error;
  return { kind: 'payload', code, detail: error.message };
}
