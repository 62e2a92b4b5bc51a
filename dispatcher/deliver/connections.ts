/**
 * The connections to subscribers: how many there may be, which one serves which request, and when one is not used again.
 * It knows sockets and counts; what is sent and what an answer means is the borrower's business (`http.ts`).
 *
 * Built on undici's Client (one connection) and not on its Pool, because a Pool does not tell which connection serves a
 * request, and F3 to F5 need to know.
 *
 * - F1 An origin has at most `connectionsPerOriginMax` connections. Further borrowers wait in line, oldest first; the
 *   line is as short as the dispatcher's bound of open deliveries. A borrower that has left the line costs nothing.
 * - F2 A connection serves one request at a time, so that a broken one has one victim.
 * - F3 It is lent again only when it is clean: open, the answer read to its end, nothing of the request still unsent.
 *   (A subscriber may answer early, and the next request would then wait behind a body that nobody reads.)
 * - F4 Broken off in the middle, it ends with RST. After a mere FIN, some servers take half a body for the whole one.
 *   TLS needs none of that, there a cut is visible.
 * - F5 Idle connections end by themselves, and an origin without connections is forgotten. Origins that nobody uses
 *   number at most `originsMax`; the others are as few as open deliveries.
 * - F6 One that has just answered rests until the turn of the event loop is over: undici sends nothing on it before that, and
 *   waking it up costs a third of a local hop. Who comes in between gets another one; the second is opened for that.
 */
import { Socket } from 'node:net';
import { rootCertificates, TLSSocket } from 'node:tls';
import { buildConnector, Client } from 'undici';

import type { Clock } from '../../core/ports/time.ts';

export interface ConnectionsOptions {
  readonly clock: Clock;
  readonly connectionsPerOriginMax: number;
  readonly originsMax: number;
  /** TCP and TLS together. undici looks at this timer twice a second only. */
  readonly connectTimeoutMs: number;
}

/** Where a connection leads, and whom it trusts there. */
export interface Place {
  /** Scheme, host and port. */
  readonly origin: string;
  /** PEM: trusted beside the authorities that everybody trusts. */
  readonly caCerts?: string | undefined;
}

/** Somebody who needs a connection for one request. */
export interface Borrower {
  /** The connection is yours until you give it back or break it off. */
  begin(connection: Connection): void;
}

export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #connect: buildConnector.connector;
  /** Oldest first. */
  readonly #origins = new Map<string, Origin>();
  #onDrained: (() => void) | undefined;
  /** F6: of the event loop, counted while somebody answers. */
  #turn = 0;
  #isCounting = false;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#connect = this.#connector({});
  }

  #connector(tls: { readonly ca?: string[] }): buildConnector.connector {
    return buildConnector({
      timeout: this.#options.connectTimeoutMs,
      allowH2: false,
      // TCP keep-alive, for an answer that takes minutes through something that forgets silent connections.
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
      ...tls,
    });
  }

  /** Calls `borrower.begin`, at once or when its turn has come. */
  lend(place: Place, borrower: Borrower): void {
    const origin = this.#origins.get(keyOf(place)) ?? this.#addOrigin(place);
    this.#lendAt(origin, borrower);
  }

  #lendAt(origin: Origin, borrower: Borrower): void {
    const connection = this.#rested(origin) ?? this.#addConnection(origin) ?? origin.idle.pop();
    if (connection === undefined) origin.line.add(borrower);
    else borrower.begin(connection);
  }

  /** The one used last goes first, so that those beyond what the load needs fall idle and end. */
  #rested({ idle, open }: Origin): Connection | undefined {
    const isResting = ({ answeredIn }: Connection) => answeredIn === this.#turn;
    const last = idle.at(-1);
    if (last === undefined || !isResting(last)) return idle.pop();
    // F6
    const at = idle.findLastIndex((connection) => !isResting(connection));
    if (at >= 0) return idle.splice(at, 1)[0];
    return open === 1 ? undefined : idle.pop();
  }

  #countTurn(): void {
    if (this.#isCounting) return;
    this.#isCounting = true;
    this.#options.clock.soon(() => {
      this.#isCounting = false;
      this.#turn += 1;
    });
  }

  /** Leaves the line before the turn has come. */
  withdraw(place: Place, borrower: Borrower): void {
    this.#origins.get(keyOf(place))?.line.delete(borrower);
  }

  /** The answer has been read to its end. */
  giveBack(connection: Connection): void {
    connection.served += 1;
    connection.answeredIn = this.#turn;
    this.#countTurn();
    if (!connection.isClean) {
      this.breakOff(connection);
      return;
    }
    const { line, idle } = connection.origin;
    const next = shift(line);
    if (next !== undefined) next.begin(connection);
    else if (this.#onDrained !== undefined) this.#remove(connection);
    else idle.push(connection);
  }

  /** Ends a connection whose request or answer is not complete, or that failed (F4). */
  breakOff(connection: Connection): void {
    connection.reset();
    this.#remove(connection);
  }

  /** Resolves when the last borrower has given back its connection. Nobody may borrow afterwards. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#onDrained = resolve;
      for (const origin of this.#origins.values()) this.#removeIdle(origin);
      if (this.#origins.size === 0) resolve();
    });
  }

  #addOrigin(place: Place): Origin {
    if (this.#origins.size >= this.#options.originsMax) this.#forgetUnused();
    const { origin: url, caCerts } = place;
    const ca = caCerts === undefined ? undefined : [...rootCertificates, caCerts];
    const connect = ca ? this.#connector({ ca }) : this.#connect;
    const origin: Origin = { key: keyOf(place), url, connect, idle: [], line: new Set(), open: 0 };
    this.#origins.set(origin.key, origin);
    return origin;
  }

  /** Forgets the oldest origin that nobody uses, if there is one. */
  #forgetUnused(): void {
    for (const origin of this.#origins.values()) {
      if (origin.idle.length < origin.open) continue;
      this.#removeIdle(origin);
      return;
    }
  }

  #removeIdle(origin: Origin): void {
    for (const connection of origin.idle.splice(0)) this.#remove(connection);
  }

  #addConnection(origin: Origin): Connection | undefined {
    if (origin.open >= this.#options.connectionsPerOriginMax) return undefined;
    origin.open += 1;
    const connection = new Connection(origin);
    connection.client.on('disconnect', () => {
      // A lent connection is its borrower's business: it is told, or undici connects anew for a request not yet sent.
      const index = origin.idle.indexOf(connection);
      if (index === -1) return;
      origin.idle.splice(index, 1);
      this.#remove(connection);
    });
    return connection;
  }

  #remove(connection: Connection): void {
    const { origin, client } = connection;
    // Never rejects, and nothing waits for a socket to be gone.
    void client.destroy();
    origin.open -= 1;
    const next = shift(origin.line);
    if (next !== undefined) this.#lendAt(origin, next);
    if (origin.open > 0) return;
    this.#origins.delete(origin.key);
    if (this.#origins.size === 0) this.#onDrained?.();
  }
}

/** One connection, and the next one in its place when undici has to connect anew. */
export class Connection {
  readonly origin: Origin;
  readonly client: Client;
  /** Requests that the present socket has served. */
  served = 0;
  /** The turn of the last answer (F6). */
  answeredIn = -1;
  #socket: Socket | undefined;

  constructor(origin: Origin) {
    this.origin = origin;
    this.client = new Client(origin.url, {
      ...CLIENT_OPTIONS,
      connect: (target, done) => {
        // The connector returns its socket, though its type does not say so.
        const socket: unknown = origin.connect(target, done);
        this.#socket = socket instanceof Socket ? socket : undefined;
        this.served = 0;
      },
    });
  }

  /** Bytes received on the present socket. */
  get bytesRead(): number {
    return this.#socket?.bytesRead ?? 0;
  }

  get isClean(): boolean {
    return (
      this.#socket !== undefined && !this.#socket.destroyed && this.#socket.writableLength === 0
    );
  }

  /** Ends the socket with RST where there is something to cut (F4). */
  reset(): void {
    if (this.#socket === undefined) return;
    if (this.#socket.connecting || this.#socket instanceof TLSSocket) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }
}

/** The connections to one origin; an origin is known as long as it has any. */
interface Origin {
  readonly key: string;
  readonly url: string;
  readonly connect: buildConnector.connector;
  /** Used last, last. */
  readonly idle: Connection[];
  /** Borrowers that wait while all connections are lent. */
  readonly line: Set<Borrower>;
  /** Connections, lent and idle. */
  open: number;
}

const CLIENT_OPTIONS = {
  pipelining: 1,
  allowH2: false,
  strictContentLength: true,
  // The attempt has one timer for everything, and bounds of its own for what it reads.
  headersTimeout: 0,
  bodyTimeout: 0,
  maxResponseSize: -1,
  // A reply in binary mode has its attributes in here. 64 KiB is 4 to 8 times what servers take as the head of a
  // request by default, so whatever came in as an event can come back as one.
  maxHeaderSize: 64 * 1024,
  // 4 s: below the 5 s after which Node and uvicorn close idle connections without saying so beforehand.
  keepAliveTimeout: 4_000,
  // What a server's Keep-Alive says, less 1 s for the way and a busy event loop; more than a minute of idling saves
  // nothing, a connection costs a fraction of a millisecond.
  keepAliveTimeoutThreshold: 1_000,
  keepAliveMaxTimeout: 60_000,
} as const satisfies Client.Options;

/** Connections that trust others are not shared. */
function keyOf({ origin, caCerts }: Place): string {
  return caCerts === undefined ? origin : `${origin} ${caCerts}`;
}

/** Takes the element out that was added first. */
function shift<T>(set: Set<T>): T | undefined {
  for (const element of set) {
    set.delete(element);
    return element;
  }
  return undefined;
}
