/**
 * The server under the door: fastify over node:http, with every option that matters spelled out. All requests, whatever
 * their method and target, go to one function; fastify neither reads a body nor writes an answer.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import fastify from 'fastify';

export interface ServerParts {
  readonly serve: (request: IncomingMessage, response: ServerResponse) => void;
  /** Node cannot make sense of what came on the connection, or it ended in the middle of a request. */
  readonly giveUp: (error: NodeJS.ErrnoException, socket: Socket) => void;
}

export type App = ReturnType<typeof createApp>;

/** Not listening yet. */
export function createApp({ serve, giveUp }: ServerParts) {
  const serveHijacked = (request: FastifyRequest, reply: FastifyReply): void => {
    reply.hijack();
    serve(request.raw, reply.raw);
  };
  const app = fastify({
    logger: false,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    serverFactory: createHttpServer,
    // Targets that the router cannot decode: the door itself says what is wrong with them.
    frameworkErrors: (_error, request, reply) => serveHijacked(request, reply),
    clientErrorHandler: giveUp,
  });
  // Everything is served in `onRequest`, for all methods and targets alike, so there is no route. A handler would come
  // after fastify has judged the content type (415 for one it cannot parse, where the contract says 400) and looked
  // for a body parser.
  app.addHook('onRequest', serveHijacked);
  return app;
}

/** 10 s for a head, looked at every 5 s: a head is one packet or few. */
const HEADERS_TIMEOUT_MS = 10_000;
const CONNECTIONS_CHECK_MS = 5_000;
/** Longer than the usual 60 s of load balancers, which would otherwise send into a connection that is just closing. */
const KEEP_ALIVE_MS = 72_000;
/** What most servers and proxies take; more is 431. */
const HEADERS_MAX_BYTES = 16 * 1024;

function createHttpServer(handler: RequestListener) {
  const server = createServer(
    {
      // A steady long upload is legitimate; `body.ts` ends the slow ones.
      requestTimeout: 0,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CONNECTIONS_CHECK_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: HEADERS_MAX_BYTES,
      // The strict parser refuses what could be read in two ways: two lengths, a length beside chunks.
      insecureHTTPParser: false,
      requireHostHeader: true,
      noDelay: true,
    },
    handler,
  );
  // No limit beside the size: node would drop the headers over 2,000 without a word, attributes among them.
  server.maxHeadersCount = 0;
  // With a listener, node leaves 100 Continue to the door, so that its checks come first.
  server.on('checkContinue', handler);
  return server;
}
