/**
 * One event from a body that may be too large to hold: its data goes where large data goes while it comes. The door reads
 * requests with it, the deliverer replies.
 *
 * - K15 The event is judged when all of its attributes are known, and before a store has its data: in binary mode that is
 *   before the body, in structured mode after it.
 * - K8 What comes out does not depend on the size, but for where the data is.
 */
import { recoded, StructuredReader } from './codec-stream.ts';
import type { IncomingHeaders } from './codec-headers.ts';
import { KnearError } from './errors.ts';
import { attributesSizeBytes } from './event.ts';
import type { CloudEvent, FreshEvent } from './event.ts';
import type { Intake, Payloads } from './ports/payloads.ts';
import type { ClaimPolicy } from './topology.ts';

export interface EventIntakeOptions {
  readonly payloads: Payloads;
  /** Namespace that its data is kept for. */
  readonly tenant: string;
  readonly claims: ClaimPolicy;
  /** Largest data. */
  readonly dataMaxBytes: number;
  readonly attributesMaxBytes: number;
  /** Of the body, if it is known. */
  readonly declaredBytes?: number | undefined;
}

/** What is known before the body. */
export type EventHead =
  | { readonly kind: 'binary'; readonly event: CloudEvent }
  | { readonly kind: 'structured'; readonly headers: IncomingHeaders };

/** The event as it is taken. @throws the code of the refusal */
export type Judge = (event: FreshEvent) => CloudEvent;

export class EventIntake {
  readonly #options: EventIntakeOptions;
  readonly #binary: CloudEvent | undefined;
  readonly #reader: StructuredReader | undefined;
  #data: Intake;

  /** @throws KNEAR_UPLOADS_BUSY, KNEAR_PAYLOAD_QUOTA and what else can be said before a byte has come */
  constructor(head: EventHead, options: EventIntakeOptions) {
    this.#options = options;
    const { attributesMaxBytes } = options;
    if (head.kind === 'binary') this.#binary = head.event;
    else this.#reader = new StructuredReader(head.headers, { attributesMaxBytes });
    this.#data = this.#receive(this.#binary && options.declaredBytes);
  }

  /** Bytes of it in memory. */
  get heldBytes(): number {
    return this.#data.heldBytes;
  }

  /**
   * Takes the next piece of the body. A promise: wait for it.
   * @throws KNEAR_EVENT_TOO_LARGE, KNEAR_STRUCTURED_INVALID, and the codes of `Intake.write`
   */
  write(piece: Uint8Array): Promise<void> | undefined {
    if (!this.#reader) return this.#take(piece);
    let wait: Promise<void> | undefined;
    // Measured when it is known what it is: text that comes before its type is longer than the data it stands for.
    for (const data of this.#reader.read(piece)) wait = this.#data.write(data) ?? wait;
    return wait;
  }

  /**
   * The body is complete. The data is durable when it resolves, and held until `Payloads.release` if it is claimed.
   * @throws the codes of the codec, of `judge` and of `Intake.finish`; nothing is left behind.
   */
  async finish(judge: Judge): Promise<CloudEvent> {
    try {
      if (this.#binary) return await this.#claimed(this.#binary, {});
      return await this.#finishStructured(judge);
    } finally {
      this.discard();
    }
  }

  /** Nothing of it is left. Idempotent; nothing after `finish`. */
  discard(): void {
    this.#data.discard();
  }

  async #finishStructured(judge: Judge): Promise<CloudEvent> {
    const end = this.#reader?.finish();
    if (!end) throw new Error('neither mode');
    const { event, hasData, isJson, recode } = end;
    if (recode) {
      const raw = this.#data;
      const text = this.#receive(undefined);
      this.#data = text;
      try {
        for await (const piece of recoded(raw.reread(), recode)) await this.#take(piece);
      } finally {
        raw.discard();
      }
    }
    if (hasData) this.#requireSize(this.#data.sizeBytes);
    const admitted = judge(event);
    if (!hasData) return admitted;
    return this.#claimed(admitted, isJson === undefined ? {} : { isJson });
  }

  async #claimed(event: CloudEvent, facts: { readonly isJson?: boolean }): Promise<CloudEvent> {
    const { attributes, headers } = event;
    const data = await this.#data.finish(this.#dataInlineMax(event), facts);
    return { attributes, headers, data };
  }

  #take(piece: Uint8Array): Promise<void> | undefined {
    this.#requireSize(this.#data.sizeBytes + piece.byteLength);
    return this.#data.write(piece);
  }

  #requireSize(sizeBytes: number): void {
    const { dataMaxBytes } = this.#options;
    if (sizeBytes <= dataMaxBytes) return;
    const detail = `the data has more than the ${dataMaxBytes} bytes taken here (eventMax)`;
    throw new KnearError('KNEAR_EVENT_TOO_LARGE', detail);
  }

  #receive(sizeBytes: number | undefined): Intake {
    const { payloads, tenant, claims } = this.#options;
    const { quotaBytes } = claims;
    const inlineMaxBytes = this.#binary ? this.#dataInlineMax(this.#binary) : claims.inlineMaxBytes;
    const isLarge = sizeBytes !== undefined && sizeBytes > inlineMaxBytes;
    const heldMaxBytes = isLarge ? 0 : inlineMaxBytes;
    return payloads.receive({ tenant, quotaBytes, heldMaxBytes, sizeBytes });
  }

  #dataInlineMax(event: CloudEvent): number {
    return dataInlineMax(event, this.#options.claims);
  }
}

/**
 * Largest body that can hold data of this size. JSON around data that is Base64 (4/3) or escaped text needs room (twice the
 * data, and 64 KiB for attributes and framing); the data itself is measured when it is read.
 */
export function bodyMaxFor(kind: EventHead['kind'], dataMaxBytes: number): number {
  return kind === 'structured' ? 2 * dataMaxBytes + 64 * 1024 : dataMaxBytes;
}

/** K1: how much data may travel with the event. */
export function dataInlineMax(event: CloudEvent, { inlineMaxBytes }: ClaimPolicy): number {
  return Math.max(0, inlineMaxBytes - attributesSizeBytes(event));
}
