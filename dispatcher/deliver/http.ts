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
 *
 * The handler API of undici instead of `request`: 14 us of CPU a request instead of 16 (1 KB, 16 at a time, with a
 * server that does nothing), and it says what `request` hides, whether a byte has been sent. All of this takes 15 us
 * with an event that is encoded already, 18 with a new one.
 *
 * Sources: CloudEvents HTTP Protocol Binding 1.0.2; Knative Eventing data-plane specification.
 */
import type { Dispatcher } from 'undici';
import { binaryHeaders, structuredBody, structuredHeaders } from '../../core/codec.ts';
import { KnearError } from '../../core/errors.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { Deliverer, DeliveryRequest, Outcome } from '../../core/ports/deliverer.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import { openAnswer, type Answer } from './answer.ts';
import { Connections, type Borrower, type Connection, type Place } from './connections.ts';

export interface HttpDelivererOptions {
  readonly clock: Clock;
  /** Largest body of a reply, bytes. */
  readonly replyMaxBytes: number;
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
  replyMaxBytes,
  connectionsPerOriginMax = 256,
  originsMax = 1_000,
  connectTimeoutMs = 3_000,
}: HttpDelivererOptions): Deliverer {
  const connections = new Connections({ connectionsPerOriginMax, originsMax, connectTimeoutMs });
  const encode = openEncoder();
  let closed: Promise<void> | undefined;
  return {
    deliver(request) {
      return new Promise((resolve, reject) => {
        if (closed !== undefined) throw new KnearError('KNEAR_CLOSED', 'deliver after close');
        request.signal?.throwIfAborted();
        const address = addressOf(request);
        if (address === undefined) {
          resolve(notCallable(`cannot call ${request.url}`));
          return;
        }
        const message = encode(request.event, request.format);
        const settle = { resolve, reject };
        new Attempt({ clock, connections, replyMaxBytes, request, address, message, settle }).run();
      });
    },
    /** Waits for the attempts that run. */
    close() {
      closed ??= connections.close();
      return closed;
    },
  };
}

interface AttemptOptions {
  readonly clock: Clock;
  readonly connections: Connections;
  readonly replyMaxBytes: number;
  readonly request: DeliveryRequest;
  readonly address: Address;
  readonly message: Message;
  readonly settle: {
    readonly resolve: (outcome: Outcome) => void;
    readonly reject: (reason: unknown) => void;
  };
}

/**
 * How long after the first byte out a broken connection still counts as closed beforehand (X4). 1 s is longer than the
 * round trip that the news of a closed connection takes, and bounds the work that a subscriber repeats.
 */
const STALE_WINDOW_MS = 1_000;

class Attempt implements Borrower, Dispatcher.DispatchHandler {
  readonly #options: AttemptOptions;
  #timer: Timer | undefined;
  #connection: Connection | undefined;
  /** When the first byte went out, monotonic. */
  #sentAtMs: number | undefined;
  /** What the connection had received before. */
  #bytesReadBefore = 0;
  #answer: Answer | undefined;
  #isOver = false;

  constructor(options: AttemptOptions) {
    this.#options = options;
  }

  run(): void {
    const { clock, connections, request, address } = this.#options;
    this.#timer = clock.after(request.timeoutMs, this.#onTimer);
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
        body: message.body ?? null,
      },
      this,
    );
  }

  onRequestStart(): void {
    this.#sentAtMs = this.#options.clock.monotonicMs();
    this.#bytesReadBefore = this.#connection?.bytesRead ?? 0;
  }

  onResponseStart(_: unknown, status: number, headers: Dispatcher.ResponseData['headers']): void {
    // Interim answers (102, 103) mean nothing here; a 100 that nobody asked for is an error to undici.
    if (this.#isOver || status < 200) return;
    const { clock, replyMaxBytes, request } = this.#options;
    const { wantsReply } = request;
    this.#answer = openAnswer({ status, headers }, { wantsReply, replyMaxBytes, clock });
  }

  onResponseData(_: unknown, chunk: Uint8Array): void {
    if (this.#isOver) return;
    const outcome = this.#answer?.read(chunk);
    if (outcome !== undefined) this.#cut(outcome);
  }

  onResponseEnd(): void {
    if (this.#isOver || this.#answer === undefined || this.#connection === undefined) return;
    const { connections, settle } = this.#options;
    this.#end();
    try {
      settle.resolve(this.#answer.finish());
    } catch (error) {
      // Not the subscriber's doing: what it sent wrongly is an Outcome.
      settle.reject(error);
    }
    connections.giveBack(this.#connection);
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
    const { clock, request } = this.#options;
    const { timeoutMs } = request;
    if (this.#sentAtMs === undefined) {
      this.#fail(unreachable(`no connection within ${String(timeoutMs)} ms`));
      return;
    }
    // The time to get a connection is not the subscriber's: the clock of the attempt starts with its first byte.
    const leftMs = this.#sentAtMs + timeoutMs - clock.monotonicMs();
    if (leftMs > 0) {
      this.#timer = clock.after(leftMs, this.#onTimer);
      return;
    }
    const detail = `no complete answer within ${String(timeoutMs)} ms`;
    this.#fail({ kind: 'unreachable', code: 'KNEAR_TIMEOUT', detail });
  };

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
    const { connections, address } = this.#options;
    if (this.#connection === undefined) connections.withdraw(address, this);
    else connections.breakOff(this.#connection);
  }

  #end(): void {
    this.#isOver = true;
    this.#timer?.cancel();
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

/** What one event looks like on the wire, whoever gets it. */
interface Message {
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body: Uint8Array | undefined;
}

function headersOf(message: Message, request: DeliveryRequest): string[] {
  const headers = [...message.headers, 'kn-namespace', request.namespace];
  if (request.traceparent !== undefined) setTraceparent(headers, request.traceparent);
  if (request.wantsReply) headers.push('prefer', 'reply');
  if (request.host !== undefined) headers.push('host', request.host);
  return headers;
}

/** @param headers names and values in turn: a value may well be this word. */
function setTraceparent(headers: string[], traceparent: string): void {
  let at = 0;
  while (at < headers.length && headers[at] !== 'traceparent') at += 2;
  headers[at] = 'traceparent';
  headers[at + 1] = traceparent;
}

/**
 * 16 KiB: above, encoding is little beside the socket write, and a kept body would come on top of what the log counts as
 * the size of the events that it holds in memory.
 */
const STRUCTURED_KEPT_MAX_BYTES = 16 * 1024;

/** Encodes an event once for all its egresses: a Message lives as long as its event. */
function openEncoder(): (event: CloudEvent, format: 'json' | 'binary') => Message {
  const messages = {
    json: new WeakMap<CloudEvent, Message>(),
    binary: new WeakMap<CloudEvent, Message>(),
  };
  return (event, format) => {
    const known = messages[format].get(event);
    if (known !== undefined) return known;
    const message: Message =
      format === 'json'
        ? { headers: structuredHeaders(event), body: structuredBody(event) }
        : { headers: binaryHeaders(event), body: event.data };
    const isSmall = (message.body?.byteLength ?? 0) <= STRUCTURED_KEPT_MAX_BYTES;
    if (isSmall || format === 'binary') messages[format].set(event, message);
    return message;
  };
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
