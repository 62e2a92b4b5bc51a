/**
 * Reads the bodies of requests, safely: whatever a producer or the network does, a body is either whole or refused.
 *
 * Owns how many bytes the requests in flight may hold, and how slow a body may be. Leaves answering to the door.
 *
 * - B1 A body counts only if it ended, node found it complete and its size fits the Content-Length: a
 *   connection that breaks looks much like an end.
 * - B2 A declared size counts against the bound before a byte of it is read; an undeclared one as it arrives.
 * - B3 Nothing is taken past the limit of the ingress: an undeclared body is given up at the first byte over it.
 * - B4 A body without progress, or slower than the floor for a minute, is given up: a held connection costs a slot.
 */
import type { IncomingMessage } from 'node:http';
import { KnearError } from '../core/errors.ts';
import type { Clock, Timer } from '../core/ports/time.ts';

export interface BodyLimits {
  /** Bytes of bodies that all requests in flight may hold together. */
  readonly bodyBytesMax: number;
  /** Longest time without a byte. */
  readonly idleMs: number;
  /** The floor for the average rate, bytes a second, once `rateAfterMs` have passed. */
  readonly rateMin: number;
  readonly rateAfterMs: number;
}

/** One body, from its declared size to its bytes. Whoever opens it releases it. */
export interface Body {
  /**
   * The bytes; `undefined` when there are none. Called once.
   * @throws KNEAR_BODY_TRUNCATED, KNEAR_BODY_TIMEOUT, KNEAR_EVENT_TOO_LARGE, KNEAR_OVERLOADED; the rest of the body,
   *   if any, then still has to be taken off the wire.
   */
  read(): Promise<Uint8Array | undefined>;
  /** Its bytes no longer count. Idempotent. */
  release(): void;
}

/** Once a second all unfinished bodies are looked at: timeouts are that much late, and no request needs a timer. */
const WATCH_MS = 1_000;

export class Bodies {
  readonly #clock: Clock;
  readonly #limits: BodyLimits;
  readonly #unfinished = new Set<IncomingBody>();
  #timer: Timer | undefined;
  #heldBytes = 0;

  constructor(clock: Clock, limits: BodyLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Bytes of bodies, declared or read, that are not released yet. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /**
   * Looks at the declared size only; nothing is read yet.
   * @param maxBytes largest body that the ingress takes.
   * @throws KNEAR_EVENT_TOO_LARGE, KNEAR_OVERLOADED
   */
  open(request: IncomingMessage, maxBytes: number): Body {
    // A body over the bound for all would be told to come back for ever.
    const limitBytes = Math.min(maxBytes, this.#limits.bodyBytesMax);
    const declaredBytes = declaredLength(request);
    if (declaredBytes !== undefined && declaredBytes > limitBytes) throw tooLarge(limitBytes);
    if (!this.hold(declaredBytes ?? 0)) throw overloaded(this.#heldBytes);
    return new IncomingBody(this, request, { declaredBytes, limitBytes });
  }

  /** B2: whether the bytes still fit; if so, they count from now on. */
  hold(bytes: number): boolean {
    const heldBytes = this.#heldBytes + bytes;
    if (heldBytes > this.#limits.bodyBytesMax) return false;
    this.#heldBytes = heldBytes;
    return true;
  }

  letGo(bytes: number): void {
    this.#heldBytes -= bytes;
  }

  watch(body: IncomingBody): void {
    body.start(this.#clock.monotonicMs());
    this.#unfinished.add(body);
    this.#timer ??= this.#clock.after(WATCH_MS, this.#look);
  }

  unwatch(body: IncomingBody): void {
    this.#unfinished.delete(body);
  }

  /** The timer runs on while a body is unfinished: at full load it is set once a second. */
  readonly #look = (): void => {
    this.#timer = this.#unfinished.size > 0 ? this.#clock.after(WATCH_MS, this.#look) : undefined;
    const nowMs = this.#clock.monotonicMs();
    for (const body of this.#unfinished) body.look(nowMs, this.#limits);
  };
}

class IncomingBody implements Body {
  readonly #bodies: Bodies;
  readonly #request: IncomingMessage;
  readonly #declaredBytes: number | undefined;
  readonly #limitBytes: number;
  #heldBytes: number;
  #receivedBytes = 0;
  #chunks: Uint8Array[] = [];
  #settle: { resolve(bytes: Uint8Array | undefined): void; reject(error: Error): void } | undefined;
  #startedMs = 0;
  /** When and at how many bytes the watch last saw progress. */
  #progress = { atMs: 0, bytes: 0 };

  constructor(
    bodies: Bodies,
    request: IncomingMessage,
    sizes: { readonly declaredBytes: number | undefined; readonly limitBytes: number },
  ) {
    this.#bodies = bodies;
    this.#request = request;
    this.#declaredBytes = sizes.declaredBytes;
    this.#limitBytes = sizes.limitBytes;
    this.#heldBytes = sizes.declaredBytes ?? 0;
  }

  read(): Promise<Uint8Array | undefined> {
    // Events instead of the stream's iterator, which costs a promise and microseconds for each chunk.
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      // The producer may have left while the door made it wait.
      if (this.#request.destroyed) return this.#onClose();
      this.#request.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose);
      this.#bodies.watch(this);
    });
  }

  release(): void {
    this.#bodies.letGo(this.#heldBytes);
    this.#heldBytes = 0;
  }

  start(nowMs: number): void {
    this.#startedMs = nowMs;
    this.#progress = { atMs: nowMs, bytes: 0 };
  }

  /** B4. */
  look(nowMs: number, { idleMs, rateMin, rateAfterMs }: BodyLimits): void {
    const receivedBytes = this.#receivedBytes;
    if (receivedBytes > this.#progress.bytes) {
      this.#progress = { atMs: nowMs, bytes: receivedBytes };
    }
    const elapsedMs = nowMs - this.#startedMs;
    if (nowMs - this.#progress.atMs >= idleMs) {
      this.#fail(tooSlow(`no byte of the body came for ${idleMs} ms`));
    } else if (elapsedMs >= rateAfterMs && receivedBytes * 1_000 < rateMin * elapsedMs) {
      this.#fail(tooSlow(`the body comes at less than ${rateMin} bytes a second`));
    }
  }

  readonly #onData = (chunk: Uint8Array): void => {
    this.#receivedBytes += chunk.byteLength;
    this.#chunks.push(chunk);
    if (this.#declaredBytes === undefined) this.#grow(chunk.byteLength);
  };

  /** B3, and B2 for a body of unknown size. */
  #grow(bytes: number): void {
    if (this.#receivedBytes > this.#limitBytes) return this.#fail(tooLarge(this.#limitBytes));
    if (!this.#bodies.hold(bytes)) return this.#fail(overloaded(this.#bodies.heldBytes));
    this.#heldBytes += bytes;
  }

  /** B1. */
  readonly #onEnd = (): void => {
    const isWhole =
      this.#request.complete &&
      (this.#declaredBytes === undefined || this.#declaredBytes === this.#receivedBytes);
    if (!isWhole) return this.#fail(truncated(this.#receivedBytes));
    this.#stop()?.resolve(joined(this.#chunks, this.#receivedBytes));
  };

  readonly #onClose = (): void => {
    this.#fail(truncated(this.#receivedBytes));
  };

  #fail(error: KnearError): void {
    this.#chunks = [];
    this.#stop()?.reject(error);
  }

  /** Hands out the ends of the promise, once. */
  #stop() {
    this.#bodies.unwatch(this);
    this.#request.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
    const settle = this.#settle;
    this.#settle = undefined;
    return settle;
  }
}

/** Node's parser lets only one Content-Length of digits through, and none beside chunks. */
function declaredLength(request: IncomingMessage): number | undefined {
  if (request.headers['transfer-encoding'] !== undefined) return undefined;
  return Number(request.headers['content-length'] ?? 0);
}

/** A body that came in one piece, as small ones do, is not copied: node's parser made the piece for us alone. */
function joined(chunks: readonly Uint8Array[], sizeBytes: number): Uint8Array | undefined {
  return chunks.length > 1 ? Buffer.concat(chunks, sizeBytes) : chunks[0];
}

function tooLarge(limitBytes: number): KnearError {
  return new KnearError(
    'KNEAR_EVENT_TOO_LARGE',
    `the body has more than the ${limitBytes} bytes taken here (eventMax)`,
  );
}

function overloaded(heldBytes: number): KnearError {
  return new KnearError(
    'KNEAR_OVERLOADED',
    `the requests in flight already hold ${heldBytes} bytes of bodies`,
  );
}

function tooSlow(detail: string): KnearError {
  return new KnearError('KNEAR_BODY_TIMEOUT', detail);
}

function truncated(receivedBytes: number): KnearError {
  return new KnearError(
    'KNEAR_BODY_TRUNCATED',
    `the connection ended after ${receivedBytes} bytes of the body; nothing was kept`,
  );
}
