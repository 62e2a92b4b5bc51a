/**
 * Subscribers on loopback for the tests of the HTTP deliverer: proper ones that note what they got, and raw sockets that
 * misbehave. Everything opened here is closed by `closeAll`, which belongs into afterEach.
 */
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CloudEvent } from '../../core/event.ts';
import type { Deliverer, DeliveryRequest } from '../../core/ports/deliverer.ts';
import { openHttpDeliverer, type HttpDelivererOptions } from '../../dispatcher/deliver/http.ts';
import { systemClock } from '../../main/time.ts';
import { CLAIMS, NO_PAYLOADS } from '../fakes/claims.ts';

const cleanups: (() => Promise<void> | void)[] = [];

export async function closeAll(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

/**
 * As `openHurriedDeliverer`, and an outcome is known when the turn of the event loop is over: who then calls the same subscriber
 * again finds the connection rested (F6).
 */
export function openDeliverer(options: Partial<HttpDelivererOptions> = {}): Deliverer {
  const deliverer = openHurriedDeliverer(options);
  return {
    ...deliverer,
    deliver: (request) => deliverer.deliver(request).finally(nextTurn),
  };
}

/** A deliverer whose attempts have all ended when the test has. */
export function openHurriedDeliverer(options: Partial<HttpDelivererOptions> = {}): Deliverer {
  const deliverer = openHttpDeliverer({
    clock: systemClock,
    payloads: NO_PAYLOADS,
    ...options,
  });
  cleanups.push(() => deliverer.close());
  return deliverer;
}

export const event: CloudEvent = {
  attributes: new Map([
    ['specversion', '1.0'],
    ['id', 'a-1'],
    ['source', '/orders'],
    ['type', 'order.created'],
    ['datacontenttype', 'application/json'],
  ]),
  headers: new Map(),
  data: Buffer.from('{"n":1}'),
};

export function eventWithData(data: Uint8Array): CloudEvent {
  return { ...event, data };
}

export function requestTo(url: string, more: Partial<DeliveryRequest> = {}): DeliveryRequest {
  return {
    event,
    url,
    namespace: 'default',
    wantsReply: true,
    format: 'binary',
    // Far beyond what loopback needs, so that only tests about time ever come near it.
    timeoutMs: 10_000,
    replies: { tenant: 'default', claims: CLAIMS },
    ...more,
  };
}

export interface Received {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface Subscriber {
  readonly url: string;
  /** Requests that were read to their end, in order. */
  readonly received: Received[];
  /** Refuses new connections, keeps the old. */
  readonly stopListening: () => void;
  /** Connections accepted so far. */
  readonly connections: Accepted[];
}

export interface Accepted {
  readonly socket: net.Socket;
  /** How the other side ended the connection: `end` in order, else the code of the error. */
  readonly ended: Promise<string>;
}

export type Respond = (response: http.ServerResponse, received: Received) => void;

/** A proper HTTP subscriber. */
export async function subscriber(
  respond: Respond,
  options: http.ServerOptions = {},
): Promise<Subscriber> {
  const received: Received[] = [];
  const server = http.createServer(options, (request, response) => {
    const chunks: Buffer[] = [];
    // A broken connection is what many of the tests are about, and `ended` tells of it.
    request.on('error', () => undefined);
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method, url: path, headers } = request;
      received.push({ method, path, headers, body: Buffer.concat(chunks) });
      respond(response, { method, path, headers, body: Buffer.concat(chunks) });
    });
  });
  return { ...(await listen(server)), received };
}

/** Answers with a fixed status, headers and body. */
export function answer(
  status: number,
  headers: http.OutgoingHttpHeaders = {},
  body: string | Uint8Array = '',
): Respond {
  return (response) => response.writeHead(status, headers).end(body);
}

/** Whatever somebody does with a TCP connection. */
export function rawSubscriber(
  serve: (socket: net.Socket, index: number) => void,
): Promise<Omit<Subscriber, 'received'>> {
  let index = 0;
  const server = net.createServer((socket) => {
    serve(socket, index);
    index += 1;
  });
  return listen(server);
}

/** Answers each request head that comes in one piece, as all small requests do, with these bytes. */
export function rawAnswer(text: string): (socket: net.Socket) => void {
  return (socket) => socket.on('data', () => socket.write(text));
}

/** A port that nobody listens on. */
export async function unusedUrl(): Promise<string> {
  const { url, close } = await listenOnce(net.createServer());
  await close();
  return url;
}

async function listen(server: net.Server): Promise<Omit<Subscriber, 'received'>> {
  const connections: Accepted[] = [];
  server.on('connection', (socket: net.Socket) => {
    connections.push({ socket, ended: endOf(socket) });
  });
  const { url, close } = await listenOnce(server);
  cleanups.push(async () => {
    for (const { socket } of connections) socket.destroy();
    if (server.listening) await close();
  });
  return { url, connections, stopListening: () => void server.close() };
}

function endOf(socket: net.Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.on('end', () => {
      resolve('end');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? error.message);
    });
  });
}

async function listenOnce(server: net.Server): Promise<{ url: string; close(): Promise<void> }> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${String(address.port)}`,
    close: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}
