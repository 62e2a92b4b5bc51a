/**
 * One attempt over HTTP: a CloudEvent out, an Outcome back. `connections.ts` owns the sockets, `answer.ts` knows what an
 * answer means; here is the exchange between both, with its deadline and its abort.
 *
 *   in line --> begun --> sent --> answering --> over: accepted, replied, malformed, rejected
 *      |          |         |          |
 *      |          |         |          +-- decided already (X3), else RESET or TIMEOUT
 *      |          |         +-- RESET or TIMEOUT; a stale connection (X4): back to begun, once
 *      +----------+-- UNREACHABLE: nothing was sent               an abort, at any moment: rejects
 *
 * - X1 Whatever the other side does ends as an Outcome, once. Only an abort, use after close and a bug of ours reject.
 * - X2 Redirects are not followed (CloudEvents HTTP webhook: a sender must not).
 * - X3 Once the answer's head decides the outcome, what becomes of the rest of its body only costs the connection.
 * - X4 A connection that has served before and breaks within a second, without one byte of an answer, was most likely
 *   closed by the server while the request was on its way (RFC 9112, section 9.3.1). The request is sent once more on a
 *   new connection, and the first try does not count. If the server had begun to work on it after all, the event
 *   arrives twice, which at-least-once allows.
 * - X5 Time that passes while the payload store has to go on is the store's, and no attempt (K33).
 * - K34 A subscriber may answer before it has all of a large body: 2xx is accepted, whatever else is not. The connection
 *   and what is open for the body end with it.
 * - K35 The time limit of a resource bounds the attempt. Where there is none, large data may take as long as its bytes
 *   move, and the default counts from the last of them.
 *
 * The handler API of undici instead of `request`: 14 us of CPU a request instead of 16 (1 KB, 16 at a time, with a
 * server that does nothing), and it says what `request` hides, whether a byte has been sent. All of this takes 15 us
 * with an event that is encoded already, 18 with a new one.
 *
 * Sources: CloudEvents HTTP Protocol Binding 1.0.2; Knative Eventing data-plane specification.
 */
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { KnearError } from '../../core/errors.ts';
import type { Deliverer, DeliveryRequest, Outcome } from '../../core/ports/deliverer.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import type { Payloads } from '../../core/ports/payloads.ts';
import type { Answer } from './answer-body.ts';
import { openAnswer } from './answer.ts';
import { payloadOutcome } from './reply.ts';
import { headersOf, openEncoder, type Message } from './message.ts';
import { openBody, type BodyListener, type OpenBody } from './payload-body.ts';
import { Connections, type Borrower, type Connection, type Place } from './connections.ts';

export interface HttpDelivererOptions {
  readonly clock: Clock;
  readonly payloads: Payloads;
  /** 256: as many as one endpoint ever gets slots. */
  readonly connectionsPerOriginMax?: number;
  /**
   * 1,000: four times the 250 pods of a large node. Beyond it, the origins known longest of those that are not in use
   * lose their idle connections, and the next request to one of them pays for a handshake.
   */
  readonly originsMax?: number;
  /** 3 s: a lost SYN is sent again after 1 s, and after 3 s; by then another endpoint is the better idea. */
  readonly connectTimeoutMs?: number;
}

export function openHttpDeliverer({
  clock,
  payloads,
  connectionsPerOriginMax = 256,
  originsMax = 1_000,
  connectTimeoutMs = 3_000,
}: HttpDelivererOptions): Deliverer {
  const connections = new Connections({
    clock,
    connectionsPerOriginMax,
    originsMax,
    connectTimeoutMs,
  });
  const encode = openEncoder(payloads);
  /** What runs without a connection: a look at the data beforehand, a large reply that becomes durable afterwards. */
  const beside = new Set<Promise<unknown>>();
  const runBeside = (work: Promise<unknown>) => {
    const over = work.catch(() => undefined).finally(() => beside.delete(over));
    beside.add(over);
  };
  const drain = async () => {
    await Promise.all(beside);
    await connections.close();
    await Promise.all(beside);
  };
  let closed: Promise<void> | undefined;
  return {
    deliver(request) {
      return new Promise((resolve, reject) => {
        if (closed !== undefined) throw new KnearError('KNEAR_CLOSED', 'deliver after close');
        request.signal?.throwIfAborted();
        const address = addressOf(request);
        if (address === undefined) return resolve(notCallable(`cannot call ${request.url}`));
        const settle = { resolve, reject, runBeside };
        const start = (message: Message) => {
          request.signal?.throwIfAborted();
          new Attempt({ clock, connections, payloads, request, address, message, settle }).run();
        };
        const message = encode(request.event, request.format);
        if (!(message instanceof Promise)) return start(message);
        const look = message.then(start);
        runBeside(look.catch((error: unknown) => resolve(payloadOutcome(error))).catch(reject));
      });
    },
    /** Waits for the attempts that run. */
    close: () => (closed ??= drain()),
  };
}

interface AttemptOptions {
  readonly clock: Clock;
  readonly connections: Connections;
  readonly payloads: Payloads;
  readonly request: DeliveryRequest;
  readonly address: Address;
  readonly message: Message;
  readonly settle: {
    readonly resolve: (outcome: Outcome | Promise<Outcome>) => void;
    readonly reject: (reason: unknown) => void;
    readonly runBeside: (work: Promise<unknown>) => void;
  };
}

/**
 * How long after the first byte out a broken connection still counts as closed beforehand (X4). 1 s is longer than the
 * round trip that the news of a closed connection takes, and bounds the work that a subscriber repeats.
 */
const STALE_WINDOW_MS = 1_000;

class Attempt implements Borrower, BodyListener, Dispatcher.DispatchHandler {
  readonly #options: AttemptOptions;
  #timer: Timer | undefined;
  #connection: Connection | undefined;
  #startedAtMs = 0;
  /** When the first byte went out, monotonic. */
  #sentAtMs: number | undefined;
  /** What the connection had received before. */
  #bytesReadBefore = 0;
  #answer: Answer | undefined;
  #body: OpenBody | undefined;
  /** When the body last moved; monotonic. */
  #progressAtMs: number | undefined;
  /** Nothing of the body is left to be sent. */
  #isBodySent = true;
  /** Since when it is the store that has to go on, not the subscriber (X5); monotonic. */
  #storeDueSinceMs: number | undefined;
  #isOver = false;

  constructor(options: AttemptOptions) {
    this.#options = options;
  }

  run(): void {
    const { clock, connections, request, address } = this.#options;
    this.#startedAtMs = clock.monotonicMs();
    this.#look(this.#limit().atMs - this.#startedAtMs);
    request.signal?.addEventListener('abort', this.#onAbort, { once: true });
    connections.lend(address, this);
  }

  begin(connection: Connection): void {
    const { address, message, request } = this.#options;
    this.#connection = connection;
    connection.client.dispatch(
      {
        method: 'POST',
        path: address.path,
        headers: headersOf(message, request),
        body: this.#openBody(message.body),
      },
      this,
    );
  }

  /** Anew for each try: a stream can be read once only. */
  #openBody(body: Message['body']): Uint8Array | Readable | null {
    if (body === undefined || ArrayBuffer.isView(body)) return body ?? null;
    this.#body?.close();
    this.#isBodySent = false;
    this.#body = openBody(body, this.#options.payloads, this);
    // undici takes any iterable, though its type does not say so.
    return this.#body.content as Uint8Array | Readable;
  }

  onProgress(): void {
    this.#progressAtMs = this.#options.clock.monotonicMs();
    this.#storeDueSinceMs = undefined;
  }

  onWanted(): void {
    this.onProgress();
    this.#storeDueSinceMs = this.#progressAtMs;
  }

  onSent(): void {
    this.onProgress();
    this.#isBodySent = true;
  }

  onFault(error: unknown): void {
    if (this.#isOver) return;
    try {
      this.#fail(payloadOutcome(error));
    } catch {
      this.#options.settle.reject(error);
      this.#breakOff();
    }
  }

  onRequestStart(): void {
    this.#sentAtMs = this.#options.clock.monotonicMs();
    this.#bytesReadBefore = this.#connection?.bytesRead ?? 0;
  }

  onResponseStart(_: unknown, status: number, headers: Dispatcher.ResponseData['headers']): void {
    // Interim answers (102, 103) mean nothing here; a 100 that nobody asked for is an error to undici.
    if (this.#isOver || status < 200) return;
    const { clock, payloads, request } = this.#options;
    const { wantsReply, replies } = request;
    this.#answer = openAnswer({ status, headers }, { wantsReply, replies, payloads, clock });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    if (this.#isOver) return;
    const outcome = this.#answer?.read(chunk);
    if (outcome instanceof Promise) this.#waitFor(outcome, controller);
    else if (outcome !== undefined) this.#cut(outcome);
  }

  /** A large reply comes no faster than it can be written. */
  #waitFor(step: Promise<Outcome | undefined>, controller: Dispatcher.DispatchController): void {
    controller.pause();
    this.#storeDueSinceMs = this.#options.clock.monotonicMs();
    step.then(
      (outcome) => {
        if (this.#isOver) return;
        this.#storeDueSinceMs = undefined;
        if (outcome !== undefined) this.#cut(outcome);
        controller.resume();
      },
      (error: unknown) => {
        if (this.#isOver) return;
        this.#options.settle.reject(error);
        this.#breakOff();
      },
    );
  }

  onResponseEnd(): void {
    if (this.#isOver || this.#answer === undefined || this.#connection === undefined) return;
    const { connections, settle } = this.#options;
    this.#end();
    try {
      const outcome = this.#answer.finish();
      // A large reply becomes durable.
      if (outcome instanceof Promise) settle.runBeside(outcome);
      settle.resolve(outcome);
    } catch (error) {
      // Not the subscriber's doing: what it sent wrongly is an Outcome.
      settle.reject(error);
    }
    // K34
    if (this.#isBodySent) connections.giveBack(this.#connection);
    else connections.breakOff(this.#connection);
  }

  onResponseError(_: unknown, error: Error): void {
    if (this.#isOver) return;
    if (this.#connection !== undefined && this.#wasStale(this.#connection)) {
      this.#sentAtMs = undefined;
      // Its socket is gone, so undici opens a new one, which has served nobody: there is no third try.
      this.begin(this.#connection);
      return;
    }
    const detail = wordsOf(error);
    if (REFUSED_BY_UNDICI.has(codeTextOf(error))) this.#fail(notCallable(detail));
    else if (this.#sentAtMs === undefined) this.#fail(unreachable(detail));
    else this.#fail({ kind: 'unreachable', code: 'KNEAR_RESET', detail });
  }

  /** X4. */
  #wasStale(connection: Connection): boolean {
    return (
      connection.served > 0 &&
      this.#sentAtMs !== undefined &&
      this.#options.clock.monotonicMs() - this.#sentAtMs < STALE_WINDOW_MS &&
      connection.bytesRead === this.#bytesReadBefore
    );
  }

  readonly #onTimer = (): void => {
    const { clock } = this.#options;
    const { atMs, outcome } = this.#limit();
    const leftMs = atMs - clock.monotonicMs();
    if (leftMs > 0) this.#look(leftMs);
    else
      this.#fail(this.#isStoreToBlame() ? storeAway('the payload store does not go on') : outcome);
  };

  /** X5: what took most of the time that the subscriber had is not the subscriber's failure. */
  #isStoreToBlame(): boolean {
    const { clock, request } = this.#options;
    const dueSinceMs = this.#storeDueSinceMs;
    if (dueSinceMs === undefined) return false;
    return clock.monotonicMs() - dueSinceMs > (request.idleMs ?? request.timeoutMs) / 2;
  }

  /** At least every `idleMs`, because the limit is nearer once the body goes out (K35). */
  #look(leftMs: number): void {
    const { clock, request } = this.#options;
    this.#timer = clock.after(Math.min(leftMs, request.idleMs ?? leftMs), this.#onTimer);
  }

  /** Until when it may go on as it is now, and what it comes to then. */
  #limit(): { readonly atMs: number; readonly outcome: Outcome } {
    const { timeoutMs, idleMs } = this.#options.request;
    const sentAtMs = this.#sentAtMs;
    // The time to get a connection is not the subscriber's: the clock of the attempt starts with its first byte.
    if (sentAtMs === undefined) {
      const outcome = unreachable(`no connection within ${String(timeoutMs)} ms`);
      return { atMs: this.#startedAtMs + timeoutMs, outcome };
    }
    const progressAtMs = Math.max(sentAtMs, this.#progressAtMs ?? 0);
    if (idleMs !== undefined && !this.#isBodySent) {
      const outcome = timedOut(`no byte of the body was taken for ${String(idleMs)} ms`);
      return { atMs: progressAtMs + idleMs, outcome };
    }
    const fromMs = idleMs === undefined ? sentAtMs : progressAtMs;
    const outcome = timedOut(`no complete answer within ${String(timeoutMs)} ms`);
    return { atMs: fromMs + timeoutMs, outcome };
  }

  readonly #onAbort = (): void => {
    this.#options.settle.reject(this.#options.request.signal?.reason);
    this.#breakOff();
  };

  /** @param outcome unless the answer has decided otherwise (X3) */
  #fail(outcome: Outcome): void {
    this.#cut(this.#answer?.breakOff() ?? outcome);
  }

  #cut(outcome: Outcome): void {
    this.#options.settle.resolve(outcome);
    this.#breakOff();
  }

  /** Over, in the middle of it. */
  #breakOff(): void {
    this.#end();
    this.#answer?.breakOff();
    const { connections, address } = this.#options;
    if (this.#connection === undefined) connections.withdraw(address, this);
    else connections.breakOff(this.#connection);
  }

  #end(): void {
    this.#isOver = true;
    this.#timer?.cancel();
    this.#body?.close();
    this.#options.request.signal?.removeEventListener('abort', this.#onAbort);
  }
}

interface Address extends Place {
  /** With the query. */
  readonly path: string;
}

function addressOf({ url: text, caCerts }: DeliveryRequest): Address | undefined {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) return undefined;
  return { origin: url.origin, caCerts, path: url.pathname + url.search };
}

function storeAway(detail: string): Outcome {
  return { kind: 'payload', code: 'KNEAR_PAYLOAD_STORE_AWAY', detail };
}

function timedOut(detail: string): Outcome {
  return { kind: 'unreachable', code: 'KNEAR_TIMEOUT', detail };
}

function unreachable(detail: string): Outcome {
  return { kind: 'unreachable', code: 'KNEAR_UNREACHABLE', detail };
}

function notCallable(detail: string): Outcome {
  return { kind: 'unreachable', code: 'KNEAR_SUBSCRIBER_INVALID', detail };
}

/** A host or path that cannot stand in a request. */
const REFUSED_BY_UNDICI: ReadonlySet<string> = new Set([
  'UND_ERR_INVALID_ARG',
  'UND_ERR_NOT_SUPPORTED',
]);

function codeTextOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}

/** A connection tried at several addresses fails with one error for all, without words of its own. */
function wordsOf(error: Error): string {
  if (error instanceof AggregateError) return error.errors.map(String).join(', ');
  return error.message === '' ? codeTextOf(error) : error.message;
}
