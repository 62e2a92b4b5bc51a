/**
 * The admin server: health, metrics and resource status, read only, on a port of its own.
 *
 *   /healthz    200 as long as this process answers; restarting it is all that a failure calls for
 *   /readyz     200 while events are taken and resources are served, else 503 with the reasons
 *   /metrics    Prometheus text (docs/metrics.md)
 *   /resources  what became of each resource, and what could not be read, as JSON
 *
 * Readiness is not health: a full log is a reason to send events elsewhere, but none to restart.
 */
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { KnearError } from '../core/errors.ts';

export interface AdminOptions {
  readonly host: string;
  /** 0 takes any free one. */
  readonly port: number;
  readonly metrics: { readonly contentType: string; text(): Promise<string> };
  health(): Health;
  /** Any list that JSON can say. */
  resources(): readonly object[];
  /** What could not be read, of which perhaps not even a name is known. */
  problems(): readonly object[];
}

export interface Health {
  /** Why events should go elsewhere at the moment; none: ready. */
  readonly reasons: readonly HealthReason[];
}

export interface HealthReason {
  readonly code?: string;
  readonly detail: string;
}

export interface Admin {
  readonly url: string;
  close(): Promise<void>;
}

/** Resolves when requests are served. @throws KNEAR_PORT_IN_USE */
export async function openAdmin(options: AdminOptions): Promise<Admin> {
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    // Targets that the router cannot decode.
    frameworkErrors: (_error, request, reply) => {
      refuse(request, reply);
    },
    // Who scrapes keeps connections open; they must not hold up the end of the process.
    forceCloseConnections: true,
  });
  addRoutes(app, options);
  addRefusals(app);
  try {
    const url = await app.listen({ host: options.host, port: options.port });
    return { url, close: () => app.close() };
  } catch (error) {
    throw asPortError(error, options);
  }
}

const PATHS = ['/healthz', '/readyz', '/metrics', '/resources'] as const;

function addRoutes(
  app: FastifyInstance,
  { metrics, health, resources, problems }: AdminOptions,
): void {
  const routes = {
    '/healthz': (reply) => reply.send({ status: 'ok' }),
    '/readyz': (reply) => {
      const { reasons } = health();
      const isReady = reasons.length === 0;
      return reply
        .code(isReady ? 200 : 503)
        .send({ status: isReady ? 'ready' : 'not ready', reasons });
    },
    '/metrics': async (reply) => reply.type(metrics.contentType).send(await metrics.text()),
    '/resources': (reply) => reply.send({ resources: resources(), problems: problems() }),
  } satisfies Record<(typeof PATHS)[number], (reply: FastifyReply) => unknown>;
  for (const path of PATHS) app.get(path, (_request, reply) => routes[path](reply));
}

/** Everything else is answered with a problem document (RFC 9457). */
function addRefusals(app: FastifyInstance): void {
  // Before routing ends in a body parser, which would judge a body that nobody wants.
  app.addHook('onRequest', (request, reply, next) => {
    if (request.method === 'GET' && isServed(request)) next();
    else refuse(request, reply);
  });
  app.setErrorHandler<Error>((error, _request, reply) => {
    sendProblem(reply, { status: 500, title: 'Internal Server Error', detail: error.message });
  });
}

function isServed(request: FastifyRequest): boolean {
  const path = request.url.split('?', 1)[0];
  return PATHS.some((known) => known === path);
}

function refuse(request: FastifyRequest, reply: FastifyReply): void {
  if (isServed(request)) {
    reply.header('allow', 'GET');
    sendProblem(reply, {
      status: 405,
      title: 'Method Not Allowed',
      detail: 'This is read with GET.',
    });
  } else {
    sendProblem(reply, {
      status: 404,
      title: 'Not Found',
      detail: `This is the admin port, which serves ${PATHS.join(', ')}; events go to the other one.`,
    });
  }
}

interface Problem {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
}

function sendProblem(reply: FastifyReply, problem: Problem): void {
  reply.code(problem.status).type('application/problem+json');
  void reply.send(JSON.stringify({ type: 'about:blank', ...problem }));
}

function asPortError(error: unknown, { host, port }: AdminOptions): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') return error;
  return new KnearError(
    'KNEAR_PORT_IN_USE',
    `Another program listens at ${host}:${String(port)}; give the admin server another port (--admin-port).`,
    { cause: error },
  );
}
