/**
 * Reads the bodies of requests, safely: whatever a producer or the network does, a body is either whole or refused.
 *
 * Owns how many bytes the requests in flight may hold, and how slow a body may be. Leaves answering to the door.
 *
 * - B1 A body counts only if it ended, node found it complete and its size fits the Content-Length: a
 *   connection that breaks looks much like an end.
 * - B2 A declared size counts against the bound before a byte of it is read; an undeclared one as it arrives.
 * - B3 Nothing is taken past the limit of the ingress: an undeclared body is given up at the first byte over it.
 * - B4 A body without progress, slower than the floor for a minute, or longer under way than any should be, is given up:
 *   a held connection costs a slot. Time for which we keep the producer waiting does not count as its.
 * - B5 A body that is passed on as it comes counts with what is held of it, and no more is read while the taker is behind.
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
  /** Longest time for one body. */
  readonly uploadMaxMs: number;
}

export interface BodySizes {
  /** Largest body that is taken. */
  readonly maxBytes: number;
  /** For one that is passed on as it comes: how much of it is in memory at a time, at most. Absent: all of it. */
  readonly heldMaxBytes?: number | undefined;
}

/** Takes the next piece. A promise: nothing more until it resolves. @throws what the request is refused with */
export type Taker = (piece: Uint8Array) => Promise<void> | undefined;

/** One body, from its declared size to its bytes. Whoever opens it releases it. */
export interface Body {
  /**
   * The bytes; `undefined` when there are none. Called once.
   * @throws KNEAR_BODY_TRUNCATED, KNEAR_BODY_TIMEOUT, KNEAR_EVENT_TOO_LARGE, KNEAR_OVERLOADED; the rest of the body,
   *   if any, then still has to be taken off the wire.
   */
  read(): Promise<Uint8Array | undefined>;
  /** Instead of `read`: passes on each piece. @throws the same, and what the taker throws */
  passOn(taker: Taker): Promise<void>;
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
   * @throws KNEAR_EVENT_TOO_LARGE, KNEAR_OVERLOADED
   */
  open(request: IncomingMessage, { maxBytes, heldMaxBytes }: BodySizes): Body {
    // A body over the bound for all would be told to come back for ever.
    const limitBytes = heldMaxBytes ? maxBytes : Math.min(maxBytes, this.#limits.bodyBytesMax);
    const declaredBytes = declaredLength(request);
    if (declaredBytes !== undefined && declaredBytes > limitBytes) throw tooLarge(limitBytes);
    const countedMaxBytes = heldMaxBytes ?? limitBytes;
    const countedBytes = Math.min(declaredBytes ?? 0, countedMaxBytes);
    if (!this.hold(countedBytes)) throw overloaded(this.#heldBytes);
    const sizes = { declaredBytes, limitBytes, countedBytes, countedMaxBytes };
    return new IncomingBody(this, request, sizes);
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
  readonly #countedMaxBytes: number;
  #heldBytes: number;
  #receivedBytes = 0;
  #chunks: Uint8Array[] = [];
  #taker: Taker | undefined;
  /** The taker is behind, and the producer waits for it. */
  #isBehind = false;
  #settle:
    { resolve(bytes: Uint8Array | undefined): void; reject(error: unknown): void } | undefined;
  #startedMs = 0;
  #lookedMs = 0;
  /** For how long the producer has waited for us, as far as the watch saw it. */
  #waitedMs = 0;
  /** When and at how many bytes the watch last saw progress. */
  #progress = { atMs: 0, bytes: 0 };

  constructor(
    bodies: Bodies,
    request: IncomingMessage,
    sizes: {
      readonly declaredBytes: number | undefined;
      readonly limitBytes: number;
      readonly countedBytes: number;
      readonly countedMaxBytes: number;
    },
  ) {
    this.#bodies = bodies;
    this.#request = request;
    this.#declaredBytes = sizes.declaredBytes;
    this.#limitBytes = sizes.limitBytes;
    this.#heldBytes = sizes.countedBytes;
    this.#countedMaxBytes = sizes.countedMaxBytes;
  }

  async passOn(taker: Taker): Promise<void> {
    this.#taker = taker;
    await this.read();
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
    this.#lookedMs = nowMs;
    this.#progress = { atMs: nowMs, bytes: 0 };
  }

  /** B4. */
  look(nowMs: number, { idleMs, rateMin, rateAfterMs, uploadMaxMs }: BodyLimits): void {
    const receivedBytes = this.#receivedBytes;
    if (this.#isBehind) this.#waitedMs += nowMs - this.#lookedMs;
    this.#lookedMs = nowMs;
    if (receivedBytes > this.#progress.bytes || this.#isBehind) {
      this.#progress = { atMs: nowMs, bytes: receivedBytes };
    }
    const elapsedMs = nowMs - this.#startedMs;
    const listenedMs = elapsedMs - this.#waitedMs;
    if (nowMs - this.#progress.atMs >= idleMs) {
      this.#fail(tooSlow(`no byte of the body came for ${idleMs} ms`));
    } else if (listenedMs >= rateAfterMs && receivedBytes * 1_000 < rateMin * listenedMs) {
      this.#fail(tooSlow(`the body comes at less than ${rateMin} bytes a second`));
    } else if (elapsedMs >= uploadMaxMs) {
      this.#fail(tooSlow(`the body was not complete after ${uploadMaxMs} ms`));
    }
  }

  readonly #onData = (chunk: Uint8Array): void => {
    this.#receivedBytes += chunk.byteLength;
    if (this.#declaredBytes === undefined) this.#grow(chunk.byteLength);
    if (this.#taker) this.#passOn(chunk, this.#taker);
    else this.#chunks.push(chunk);
  };

  /** B5 */
  #passOn(chunk: Uint8Array, taker: Taker): void {
    if (!this.#settle) return;
    try {
      const wait = taker(chunk);
      if (wait) this.#waitFor(wait);
    } catch (error) {
      this.#fail(error);
    }
  }

  #waitFor(wait: Promise<void>): void {
    this.#isBehind = true;
    this.#request.pause();
    wait.then(
      () => {
        this.#isBehind = false;
        if (this.#settle) this.#request.resume();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  /** B3, and B2 for a body of unknown size. */
  #grow(bytes: number): void {
    if (this.#receivedBytes > this.#limitBytes) return this.#fail(tooLarge(this.#limitBytes));
    const counted = Math.min(bytes, this.#countedMaxBytes - this.#heldBytes);
    if (!this.#bodies.hold(counted)) return this.#fail(overloaded(this.#bodies.heldBytes));
    this.#heldBytes += counted;
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

  #fail(error: unknown): void {
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

/** Absent: its end is told by chunks. Node's parser lets only one Content-Length of digits through, and none beside chunks. */
export function declaredLength(request: IncomingMessage): number | undefined {
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
    `the body has more than the ${limitBytes} bytes taken here (eventMax; of a batch, claimCheckBatchMax)`,
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
