/**
 * The HTTP door: producers POST CloudEvents to Brokers and Channels here, and get 202 once the log answers for them.
 *
 * Owns the order of checks, the bound on requests and what each is answered. Leaves HTTP itself to `server.ts`, finding
 * the ingress to `address.ts`, bodies to `body.ts`, admission and the log to `accept.ts`, writing to `answer.ts`.
 *
 *   POST -> draining? -> method -> address -> codings -> event in the head -> ingress known? -> admission (limits, TTL)
 *        -> log takes events? -> declared size, bounds -> the door may read? -> 100 Continue -> body -> append -> 202
 *
 * - I1 What the head can tell is decided before a byte of the body is asked for: 400, 404, 413, 429, 503 cost a producer
 *   no upload. Source of the order: knative/eventing, the Broker's ingress; an invalid event to an unknown
 *   Broker is 400, not 404.
 * - I2 2xx is only answered after the log has resolved the append.
 * - I3 No answer shows the inside: a failure without a code is logged here and is KNEAR_INTERNAL outside.
 * - I4 Everything that waits is bounded: requests in flight by count, their bodies by bytes and time, their events by
 *   count, closing by time.
 * - I5 Bytes that follow a whole request and are no request do not harm it: it is answered, then the connection ends.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { codeOf, KnearError } from '../core/errors.ts';
import { attributesSizeBytes, dataSizeBytes } from '../core/event.ts';
import type { CloudEvent } from '../core/event.ts';
import type { EventIntake } from '../core/event-intake.ts';
import type { EventLog } from '../core/ports/event-log.ts';
import type { Observer } from '../core/ports/observer.ts';
import type { Payloads } from '../core/ports/payloads.ts';
import type { Clock, Timer } from '../core/ports/time.ts';
import type { Tracer } from '../core/ports/tracer.ts';
import type { Ingress, Topology } from '../core/topology.ts';
import type { Accepted, Head } from './accept.ts';
import { accept, admitHead, ArrivalTimes, bodyMaxBytes, eventsOf, parseHead } from './accept.ts';
import type { FindAddress } from './address.ts';
import { createFindAddress } from './address.ts';
import type { Answer, Problem } from './answer.ts';
import {
  ACCEPTED,
  answer,
  DRAIN_MS,
  plainProblem,
  PREFLIGHT,
  problemAnswer,
  problemOf,
  rawAnswer,
} from './answer.ts';
import type { BodyLimits } from './body.ts';
import { Bodies, declaredLength } from './body.ts';
import { claimLarge, openIntake, readLarge, releaseAll, streamedBytes } from './receive.ts';
import type { App } from './server.ts';
import { createApp } from './server.ts';

export interface IngressOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly topology: () => Topology;
  readonly log: EventLog;
  readonly observer: Observer;
  readonly tracer?: Tracer;
  readonly payloads: Payloads;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: IngressLimits;
  /** The door yields to deliveries: a promise holds a request back before its body is read. */
  readonly mayRead: () => Promise<void> | undefined;
}

export interface IngressLimits extends BodyLimits {
  /** Requests between the end of their head's checks and their answer. */
  readonly requestsMax: number;
  /** Events of these requests. */
  readonly eventsMax: number;
  /** Longest that closing waits for requests in flight. */
  readonly closeMs: number;
}

export const INGRESS_LIMITS: IngressLimits = {
  // 4,096 waiting requests are about 100 MB of sockets and objects, and 0.3 s of work at 12,000 events a second.
  requestsMax: 4_096,
  // 65,536 events are about 64 MB of objects, as much as the bodies may have. In a batch an event of 60 bytes becomes one
  // of a kilobyte, so bytes alone would not bound them.
  eventsMax: 65_536,
  // 64 MiB: a thousand events of the largest size kept inline.
  bodyBytesMax: 64 * 1024 * 1024,
  // 30 s outlasts a lost packet on any network; a producer that is silent for longer has most likely gone.
  idleMs: 30_000,
  // 1 KiB/s: a modem. Slower than that after a minute is someone holding a slot.
  rateMin: 1_024,
  rateAfterMs: 60_000,
  // 1 h: 100 GB at 30 MB/s, and far longer than any load balancer in between allows.
  uploadMaxMs: 3_600_000,
  // 10 s: a third of what Kubernetes leaves between SIGTERM and SIGKILL; the dispatcher needs the rest.
  closeMs: 10_000,
};

export interface OpenIngress {
  readonly url: string;
  /** For metrics. */
  readonly requestsInFlight: number;
  readonly bodyBytesHeld: number;
  /**
   * Takes no new connection, answers 503 on open ones, waits for the requests in flight (at most `closeMs`), then cuts
   * what is left. Idempotent.
   */
  close(): Promise<void>;
}

/** Resolves when requests are served. @throws KNEAR_PORT_IN_USE */
export async function openIngress(options: IngressOptions): Promise<OpenIngress> {
  const door = new Door(options);
  const app = createApp({
    serve: (request, response) => door.serve(request, response),
    giveUp: (error, socket) => door.giveUp(error, socket),
  });
  const url = await listen(app, options);
  let closing: Promise<void> | undefined;
  return {
    url,
    get requestsInFlight() {
      return door.requestsInFlight;
    },
    get bodyBytesHeld() {
      return door.bodyBytesHeld;
    },
    close: () => (closing ??= close(door, app, options)),
  };
}

async function listen(app: App, { host, port }: IngressOptions): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new KnearError('KNEAR_PORT_IN_USE', `another program listens at ${host}:${port}`, {
      cause: error,
    });
  }
}

async function close(door: Door, app: App, { clock, limits }: IngressOptions): Promise<void> {
  const cut = (): void => app.server.closeAllConnections();
  const timers: Timer[] = [clock.after(limits.closeMs, cut)];
  // Connections end with their last answer; those that never sent a request would stay.
  void door.drain().then(() => timers.push(clock.after(DRAIN_MS, cut)));
  await app.close();
  for (const timer of timers) timer.cancel();
}

/** A request on its way through the door. */
interface Visit {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly startedMs: number;
  /** Once it is known. */
  ingress?: Ingress;
  /** The connection ends with the answer. */
  isLast: boolean;
}

interface Offer {
  readonly ingress: Ingress;
  readonly head: Head;
}

class Door {
  readonly #options: IngressOptions;
  readonly #find: FindAddress;
  readonly #bodies: Bodies;
  readonly #arrivals: ArrivalTimes;
  /** The newest visit of each connection, for what happens to a connection outside of a request. */
  readonly #visits = new WeakMap<Socket, Visit>();
  #inFlight = 0;
  #eventsInFlight = 0;
  #isDraining = false;
  #onIdle: (() => void) | undefined;

  constructor(options: IngressOptions) {
    this.#options = options;
    this.#find = createFindAddress(options.topology);
    this.#bodies = new Bodies(options.clock, options.limits);
    this.#arrivals = new ArrivalTimes(options.clock);
  }

  get requestsInFlight(): number {
    return this.#inFlight;
  }

  get bodyBytesHeld(): number {
    return this.#bodies.heldBytes;
  }

  serve(request: IncomingMessage, response: ServerResponse): void {
    const startedMs = this.#options.clock.monotonicMs();
    const visit: Visit = { request, response, startedMs, isLast: false };
    this.#visits.set(request.socket, visit);
    const probe = probeAnswer(request.headers);
    if (probe) {
      this.#answer(visit, this.#isDraining ? problemAnswer(problemOf('KNEAR_DRAINING')) : probe);
    } else if (request.method === 'OPTIONS' && !this.#isDraining) {
      this.#answer(visit, PREFLIGHT);
    } else {
      void this.#take(visit);
    }
  }

  /** No request is taken any more. Resolves when those in flight are answered. */
  drain(): Promise<void> {
    this.#isDraining = true;
    return new Promise((resolve) => {
      if (this.#inFlight === 0) resolve();
      else this.#onIdle = resolve;
    });
  }

  /** Node cannot make sense of what came, or the producer ended in the middle of it. */
  giveUp(error: NodeJS.ErrnoException, socket: Socket): void {
    const visit = this.#visits.get(socket);
    const isServed = visit === undefined || visit.response.writableEnded;
    if (!isServed && visit.request.complete) {
      visit.isLast = true; // I5
    } else if (socket.writable && (isServed || !visit.response.headersSent)) {
      const problem = isServed ? brokenRequest(error) : problemOf('KNEAR_BODY_TRUNCATED');
      socket.end(rawAnswer(problemAnswer(problem)), () => socket.destroy());
    } else {
      socket.destroySoon();
    }
  }

  /** Never rejects. */
  async #take(visit: Visit): Promise<void> {
    try {
      const offer = this.#judge(visit);
      const accepted = await this.#keep(visit, offer);
      this.#observeAccepted(visit, offer, accepted);
      this.#answer(visit, ACCEPTED); // I2
    } catch (error) {
      this.#refuse(visit, error);
    }
  }

  /** I1: all but the bounds. @throws the code of the refusal */
  #judge(visit: Visit): Offer {
    const { method, url = '', headers } = visit.request;
    if (this.#isDraining) throw new KnearError('KNEAR_DRAINING', 'send it again, to another one');
    if (method !== 'POST') throw new KnearError('KNEAR_METHOD', `${method} is not served`);
    const address = this.#find(url, headers.host);
    if (address.kind === 'refused') throw new KnearError(address.code, address.detail);
    requirePlainCodings(headers);
    const head = parseHead(headers);
    if (address.kind === 'unknown') throw unknownIngress();
    const { ingress } = address;
    visit.ingress = ingress;
    const admitted = admitHead(ingress, head, this.#arrivals.now());
    const { state } = this.#options.log;
    if (state.kind === 'refusing') throw new KnearError(state.code, state.detail);
    return { ingress, head: admitted };
  }

  async #keep({ request, response, startedMs }: Visit, offer: Offer): Promise<Accepted> {
    if (this.#inFlight >= this.#options.limits.requestsMax) {
      throw new KnearError('KNEAR_OVERLOADED', `${this.#inFlight} requests are in flight`);
    }
    const { ingress, head } = offer;
    const { payloads } = this.#options;
    const declaredBytes = declaredLength(request);
    const heldMaxBytes = streamedBytes(offer, declaredBytes);
    const body = this.#bodies.open(request, {
      maxBytes: bodyMaxBytes(ingress, head),
      heldMaxBytes,
    });
    this.#inFlight += 1;
    let events: readonly CloudEvent[] = [];
    let eventCount = 0;
    let intake: EventIntake | undefined;
    try {
      if (heldMaxBytes && head.kind !== 'batch') {
        intake = openIntake({ ingress, head }, { payloads, declaredBytes });
      }
      const wait = this.#options.mayRead();
      if (wait) await wait;
      if (isContinueWanted(request)) response.writeContinue();
      const arrivalTime = () => this.#arrivals.now();
      if (intake) events = [await readLarge(ingress, { body, intake, arrivalTime })];
      else events = eventsOf({ ...offer, body: await body.read() }, arrivalTime());
      // In binary mode the head and the length have decided.
      if (head.kind !== 'binary') events = await claimLarge(events, { ingress, payloads });
      this.#requireRoom(events.length);
      eventCount = events.length;
      this.#eventsInFlight += eventCount;
      const traced = { startedMs, scheme: 'http' } as const;
      return await accept(this.#options, { ingress, events, request: traced });
    } finally {
      intake?.discard();
      releaseAll(events, payloads);
      body.release();
      this.#eventsInFlight -= eventCount;
      this.#inFlight -= 1;
      if (this.#inFlight === 0) this.#onIdle?.();
    }
  }

  /** I4 */
  #requireRoom(eventCount: number): void {
    if (this.#eventsInFlight + eventCount <= this.#options.limits.eventsMax) return;
    throw new KnearError('KNEAR_OVERLOADED', `${this.#eventsInFlight} events are in flight`);
  }

  #observeAccepted({ startedMs }: Visit, { ingress }: Offer, accepted: Accepted): void {
    const { observer, clock } = this.#options;
    const durationMs = clock.monotonicMs() - startedMs;
    for (const [index, event] of accepted.events.entries()) {
      observer.observe({
        kind: 'accepted',
        ingress,
        event,
        isMatched: accepted.positions[index] !== 0,
        durationMs,
        sizeBytes: attributesSizeBytes(event) + dataSizeBytes(event),
        scheme: 'http',
      });
    }
  }

  #refuse(visit: Visit, error: unknown): void {
    const { observer, clock, logger } = this.#options;
    const code = codeOf(error);
    if (code === undefined) {
      // I3
      logger.error({ err: error }, 'the door failed on a request; this is a bug, please report it');
      return this.#answer(visit, problemAnswer(problemOf('KNEAR_INTERNAL')));
    }
    // Whatever has one of our codes was made as a KnearError, even if in another realm.
    const { message, retryAfterMs, eventErrors } = error as KnearError;
    const problem = problemOf(code, message, eventErrors);
    const durationMs = clock.monotonicMs() - visit.startedMs;
    const { ingress } = visit;
    observer.observe({
      kind: 'refused',
      ...(ingress && { ingress }),
      code,
      status: problem.status,
      by: 'door',
      durationMs,
    });
    this.#answer(visit, problemAnswer(problem, retryAfterMs));
  }

  #answer({ request, response, isLast }: Visit, given: Answer): void {
    const { clock } = this.#options;
    answer({ request, response, isLast: isLast || this.#isDraining }, given, clock);
  }
}

/**
 * The answer to a probe of Kubernetes (any path) or of Knative's networking, which wants its hash back.
 * Source: knative.dev/pkg, network/handlers/drain.go.
 */
function probeAnswer(headers: IncomingHttpHeaders): Answer | undefined {
  if (headers['k-network-probe'] === 'probe') {
    const hash = headers['k-network-hash'];
    const echo = typeof hash === 'string' ? ['k-network-hash', hash] : [];
    return { status: 200, headers: echo, body: '' };
  }
  if (!headers['user-agent']?.startsWith('kube-probe/')) return undefined;
  return { status: 200, headers: [], body: '' };
}

/** What node's parser hands over without undoing it; kept as it is, the data would no longer be what its type says. */
function requirePlainCodings(headers: IncomingHttpHeaders): void {
  const transferCoding = headers['transfer-encoding'];
  if (transferCoding !== undefined && transferCoding.trim().toLowerCase() !== 'chunked') {
    throw new KnearError('KNEAR_TRANSFER_CODING', 'send the body as it is, or chunked');
  }
  const contentCoding = headers['content-encoding'];
  if (contentCoding !== undefined && contentCoding.trim().toLowerCase() !== 'identity') {
    throw new KnearError('KNEAR_CONTENT_ENCODING', 'send the body without Content-Encoding');
  }
}

function unknownIngress(): KnearError {
  return new KnearError(
    'KNEAR_INGRESS_UNKNOWN',
    'nothing is there, or this instance has not heard of it yet: check namespace and name, or try again',
  );
}

/** Another expectation than this one was answered by node (417); HTTP/1.0 has none. */
function isContinueWanted({ headers, httpVersionMinor }: IncomingMessage): boolean {
  return headers.expect !== undefined && httpVersionMinor > 0;
}

function brokenRequest({ code }: NodeJS.ErrnoException): Problem {
  if (code === 'HPE_HEADER_OVERFLOW') return plainProblem(431);
  return plainProblem(code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400);
}
