/**
 * The connection to a NATS server whose JetStream can keep the log: waits for one at the start, and says while it runs what is
 * in the way of appends. The client itself connects again, for ever; this looks at the server anew each time.
 *
 *   (start) --> waiting --> connected <--> lost --> looked at --> connected
 *                  ^  \
 *                  \--/ onWaiting, back-off
 *
 * It owns the connection. Which files have secrets, and that nothing else has, is `Secrets`'; what a server must be is said in
 * suitable.ts.
 */
import {
  jetstream,
  jetstreamManager,
  type JetStreamClient,
  type JetStreamManager,
} from '@nats-io/jetstream';
import { connect, errors, type NatsConnection, type Status } from '@nats-io/transport-node';

import { KnearError, type ErrorCode } from '../../../core/errors.ts';
import type { Clock, Timer } from '../../../core/ports/time.ts';
import { isDenied, isViolation, obstacleOf } from './faults.ts';
import { certificateRefusal, expectGreeting } from './greeting.ts';
import { Secrets, type NatsCredentials, type NatsTls } from './secrets.ts';
import { whyAccountUnsuitable, whyServerUnsuitable } from './suitable.ts';

export interface NatsOptions {
  /** `nats://host:port` or `tls://host:port`, without user. One `tls://` demands TLS of all. */
  readonly servers: readonly string[];
  /** First token of all subjects, by which knear knows its streams. */
  readonly prefix: string;
  /** Absent: the server asks for none, or takes the certificate. */
  readonly credentials?: NatsCredentials;
  /** Present: TLS is demanded. */
  readonly tls?: NatsTls;
  readonly clock: Clock;
  /** What stands in the way at the start; told again when the code is another one. */
  readonly onWaiting: (error: KnearError) => void;
  /** What is in the way of appends from now on, `undefined`: nothing any more. Told when the code is another one. */
  readonly onStatus: (trouble: KnearError | undefined) => void;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
}

export interface NatsLink {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  /** Of the server that it was connected to first. */
  readonly info: {
    readonly version: string;
    readonly payloadMaxBytes: number;
    readonly serverName: string;
    readonly isTls: boolean;
  };
  /** Sends what is to be sent, if the server takes it within a second. May be called twice. */
  close(): Promise<void>;
}

/** A server that is being started takes a second or two; one that is away for an hour is asked 360 times. */
const AGAIN_MS = { first: 500, most: 10_000 };
/** Of one address. A TLS handshake on another continent takes one second. */
const CONNECT_MS = 5_000;
/** Of a request to JetStream, all of which are small; a new leader is found within it. */
const ANSWER_MS = 5_000;
const RECONNECT_MS = 500;
/** So that the clients of a server that has ended do not all come at once. */
const JITTER_MS = 250;
/** With the two that may be without answer, a connection that is dead is found out within 30 s. */
const PING_MS = 10_000;
const PINGS_OUT_MAX = 2;
/** For what was published last: an answer takes a millisecond. */
const FLUSH_MS = 1_000;
/** Then the next that needs the permission tries it. */
const VIOLATION_MS = 10_000;

/**
 * Resolves once there is a server that can keep the log: reachable, with the right to use JetStream, new and large enough.
 * What is in the way is told to `onWaiting` as KNEAR_NATS_AWAY, KNEAR_NATS_DENIED or KNEAR_NATS_UNSUITABLE, with what to do,
 * and tried again: after half a second, later after ten.
 *
 * The timers between two tries do not keep the process alive.
 * Abort: rejects with the reason, and leaves no connection behind.
 */
export async function connectNats(options: NatsOptions): Promise<NatsLink> {
  const { clock, signal, onWaiting } = options;
  let told: ErrorCode | undefined;
  for (let waitMs = AGAIN_MS.first; ; waitMs = nextWaitMs(waitMs)) {
    signal.throwIfAborted();
    const connecting = connectOnce(options);
    try {
      return await unlessAborted(connecting, signal);
    } catch (error) {
      if (signal.aborted) {
        // Whoever asked is not there any more. How it failed is of no interest then.
        void connecting.then((link) => link.close()).catch(() => undefined);
        signal.throwIfAborted();
      }
      const obstacle = obstacleOf(error);
      if (obstacle.code !== told) onWaiting(obstacle);
      told = obstacle.code;
    }
    await unlessAborted(pause(clock, waitMs), signal);
  }
}

function nextWaitMs(waitMs: number): number {
  return Math.min(2 * waitMs, AGAIN_MS.most);
}

function pause(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.after(delayMs, resolve));
}

/** Settles as the promise does, or rejects with the reason of the abort, whichever is first. */
function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      reject(signal.reason as Error);
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    void promise.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', onAbort);
    });
  });
}

async function connectOnce(options: NatsOptions): Promise<NatsLink> {
  const { servers, credentials, tls, signal } = options;
  const secrets = new Secrets({
    ...(credentials && { credentials }),
    ...(tls && { tls }),
    isTlsDemanded: tls !== undefined || servers.some((url) => url.startsWith('tls:')),
  });
  const fault = secrets.fault();
  if (fault) throw fault;
  const nc = await dial(servers, { secrets, signal });
  // From here on, so that nothing is missed while the server is looked at.
  const statuses = nc.status();
  try {
    const jsm = await jetstreamManager(nc, { checkAPI: false, timeout: ANSWER_MS });
    const link = new Link({ ...options, nc, jsm, secrets });
    await link.look();
    link.watch(statuses);
    return link;
  } catch (error) {
    await nc.close();
    throw error;
  }
}

/** To one of the servers that answer; from then on to any of them. */
async function dial(
  servers: readonly string[],
  { secrets, signal }: { readonly secrets: Secrets; readonly signal: AbortSignal },
): Promise<NatsConnection> {
  const answering = await greeted(servers, signal);
  try {
    const nc = await connect({
      servers: answering,
      name: 'knear',
      authenticator: secrets.authenticator,
      ...(secrets.tlsOptions && { tls: secrets.tlsOptions }),
      timeout: CONNECT_MS,
      waitOnFirstConnect: false,
      reconnect: true,
      maxReconnectAttempts: -1,
      reconnectTimeWait: RECONNECT_MS,
      reconnectJitter: JITTER_MS,
      reconnectJitterTLS: JITTER_MS,
      // Else the second refusal in a row would be the last try, whatever is put right later.
      ignoreAuthErrorAbort: true,
      pingInterval: PING_MS,
      // An error for each request, in case that it fails, is a tenth of all that an event costs.
      noAsyncTraces: true,
      maxPingOut: PINGS_OUT_MAX,
    });
    nc.setServers([...servers]);
    return nc;
  } catch (error) {
    if (!(error instanceof errors.TimeoutError)) throw error;
    for (const url of answering) {
      const refusal = await certificateRefusal({ url, signal }, secrets.certificates());
      if (refusal) throw refusal;
    }
    throw error;
  }
}

/** Those of the servers that answer. @throws what is wrong with the first, when none does */
async function greeted(servers: readonly string[], signal: AbortSignal): Promise<string[]> {
  const greetings = await Promise.allSettled(servers.map((url) => expectGreeting({ url, signal })));
  const answering = servers.filter((_, index) => greetings[index]?.status === 'fulfilled');
  const [first] = greetings;
  if (answering.length === 0 && first?.status === 'rejected') throw first.reason as Error; // of ours, or of Node.js
  return answering;
}

interface LinkOptions extends NatsOptions {
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly secrets: Secrets;
}

class Link implements NatsLink {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly info: NatsLink['info'];
  readonly #options: LinkOptions;
  /** What is wrong with the connection, or with the server at its other end. */
  #trouble: KnearError | undefined;
  /** What it was not allowed to do, which may be little of what it does. */
  #violation: KnearError | undefined;
  #forgiving: Timer | undefined;
  #told: ErrorCode | undefined;
  /** Connections there have been: who looks at an earlier one is too late. */
  #count = 0;
  #closing: Promise<void> | undefined;

  constructor(options: LinkOptions) {
    const { nc, jsm } = options;
    this.nc = nc;
    this.js = jetstream(nc, { timeout: ANSWER_MS });
    this.jsm = jsm;
    this.#options = options;
    const { info } = nc;
    this.info = {
      version: info?.version ?? '',
      payloadMaxBytes: info?.max_payload ?? 0,
      serverName: info?.server_name ?? '',
      isTls: info?.tls_required === true || info?.tls_available === true,
    };
  }

  /** @throws KNEAR_NATS_UNSUITABLE, or what the client says of a server that does not answer */
  async look(): Promise<void> {
    const { nc, jsm } = this;
    if (!nc.info) throw new KnearError('KNEAR_NATS_AWAY', 'The connection has ended');
    const { payloadMaxBytes } = this.info;
    refuse(whyServerUnsuitable(nc.info, { payloadMinBytes: payloadMaxBytes }));
    const account = await jsm.getAccountInfo();
    refuse(whyAccountUnsuitable(account, { hasStreams: true }));
    // Asked only where it makes a difference.
    const why = whyAccountUnsuitable(account, { hasStreams: false });
    if (why === undefined) return;
    const names = await jsm.streams.names(`${this.#options.prefix}.>`).next();
    if (names.length === 0) refuse(why);
  }

  watch(statuses: AsyncIterable<Status>): void {
    void this.#follow(statuses);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    const { clock } = this.#options;
    this.#forgiving?.cancel();
    if (!this.nc.isClosed()) {
      // Best effort: without it, an acknowledgement is lost and its event delivered once more.
      const flushed = this.nc.flush().catch(() => undefined);
      await Promise.race([flushed, pause(clock, FLUSH_MS)]);
    }
    await this.nc.close();
  }

  /** Ends with the connection. */
  async #follow(statuses: AsyncIterable<Status>): Promise<void> {
    for await (const status of statuses) this.#onStatus(status);
    this.#setTrouble(new KnearError('KNEAR_NATS_AWAY', 'The connection to NATS has ended'));
  }

  #onStatus(status: Status): void {
    switch (status.type) {
      case 'disconnect':
        this.#count += 1;
        this.#forgive();
        // A refusal that led to it says more than that it is lost.
        if (this.#trouble?.code !== 'KNEAR_NATS_DENIED') {
          const detail = `The connection to the NATS server ${status.server} is lost: it is tried again, look at the server and at the network`;
          this.#setTrouble(new KnearError('KNEAR_NATS_AWAY', detail));
        }
        break;
      case 'reconnecting':
        this.#setTrouble(this.#options.secrets.fault() ?? this.#trouble);
        break;
      case 'reconnect':
        void this.#lookAgain();
        break;
      case 'error':
        this.#onError(status.error);
        break;
      // What is left is told by one of these as well, or is no trouble.
      case 'update':
      case 'ldm':
      case 'ping':
      case 'staleConnection':
      case 'slowConsumer':
      case 'forceReconnect':
      case 'close':
        break;
    }
  }

  /** What the server says of itself. Only a refusal matters here: after all else it ends the connection. */
  #onError(error: Error): void {
    if (!isDenied(error)) return;
    if (!isViolation(error)) {
      this.#setTrouble(obstacleOf(error));
      return;
    }
    this.#violation = obstacleOf(error);
    this.#forgiving?.cancel();
    this.#forgiving = this.#options.clock.after(VIOLATION_MS, () => {
      this.#forgive();
      this.#tell();
    });
    this.#tell();
  }

  #forgive(): void {
    this.#forgiving?.cancel();
    this.#violation = undefined;
  }

  /** The server may be another one, or not be ready: nothing is well before JetStream answers. */
  async #lookAgain(): Promise<void> {
    const count = this.#count;
    for (let waitMs = AGAIN_MS.first; ; waitMs = nextWaitMs(waitMs)) {
      const obstacle = await this.look().then(() => undefined, obstacleOf);
      if (count !== this.#count || this.#closing) return;
      this.#setTrouble(obstacle);
      if (!obstacle) return;
      await pause(this.#options.clock, waitMs);
      if (count !== this.#count || this.#closing) return;
    }
  }

  #setTrouble(trouble: KnearError | undefined): void {
    this.#trouble = trouble;
    this.#tell();
  }

  #tell(): void {
    const trouble = this.#trouble ?? this.#violation;
    if (trouble?.code === this.#told || this.#closing) return;
    this.#told = trouble?.code;
    this.#options.onStatus(trouble);
  }
}

function refuse(why: string | undefined): void {
  if (why !== undefined) throw new KnearError('KNEAR_NATS_UNSUITABLE', why);
}
