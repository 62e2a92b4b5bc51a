/**
 * The admin server: health, metrics, resource status and whatever commands ask for, on a port of its own.
 *
 *   /healthz    200 as long as this process answers; restarting it is all that a failure calls for
 *   /readyz     200 while events are taken and resources are served, else 503 with the reasons
 *   /metrics    Prometheus text (docs/metrics.md)
 *   /resources  what became of each resource, and what could not be read, as JSON
 *
 * Readiness is not health: a full log is a reason to send events elsewhere, but none to restart.
 */
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { codeOf, ERRORS, KnearError, type ErrorCode } from '../core/errors.ts';
import { INTENT_HEADER } from './intent.ts';

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
  readonly routes?: readonly AdminRoute[];
}

export interface AdminRequest {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  /** Parsed JSON, if there was any. */
  readonly body: unknown;
}

/** One thing that the admin server can tell or do. */
export interface AdminRoute {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** A part that begins with `:` is a parameter. */
  readonly path: string;
  /** What is sent: a value as JSON, or a stream. A KnearError becomes a problem document with its code and status. */
  answer(request: AdminRequest, reply: FastifyReply): unknown;
}

export interface Health {
  /** Why events should go elsewhere at the moment; none: ready. */
  readonly reasons: readonly HealthReason[];
  /** What somebody should look at although events are taken. */
  readonly warnings?: readonly HealthReason[];
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
  const routes = [...ownRoutes(options), ...(options.routes ?? [])];
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    // Targets that the router cannot decode.
    frameworkErrors: (_error, request, reply) => {
      refuse(request, reply, routes);
    },
    // Who scrapes keeps connections open; they must not hold up the end of the process.
    forceCloseConnections: true,
  });
  addRefusals(app, routes);
  addRoutes(app, routes);
  try {
    const url = await app.listen({ host: options.host, port: options.port });
    return { url, close: () => app.close() };
  } catch (error) {
    throw asPortError(error, options);
  }
}

/** What `/resources` and the like answer for: others add theirs, see `AdminOptions.routes`. */
function ownRoutes({ metrics, health, resources, problems }: AdminOptions): AdminRoute[] {
  return [
    { method: 'GET', path: '/healthz', answer: () => ({ status: 'ok' }) },
    {
      method: 'GET',
      path: '/readyz',
      answer: (_request, reply) => {
        const { reasons, warnings = [] } = health();
        const isReady = reasons.length === 0;
        void reply.code(isReady ? 200 : 503);
        return { status: isReady ? 'ready' : 'not ready', reasons, warnings };
      },
    },
    {
      method: 'GET',
      path: '/metrics',
      answer: (_request, reply) => {
        void reply.type(metrics.contentType);
        return metrics.text();
      },
    },
    {
      method: 'GET',
      path: '/resources',
      answer: () => ({ resources: resources(), problems: problems() }),
    },
  ];
}

function addRoutes(app: FastifyInstance, routes: readonly AdminRoute[]): void {
  for (const { method, path, answer } of routes) {
    app.route({
      method,
      url: path,
      handler: (request, reply) => {
        if (method !== 'GET' && !isMeant(request)) {
          throw new KnearError('KNEAR_ADMIN_FORBIDDEN', `send the header ${INTENT_HEADER}: yes`);
        }
        return answer(asAdminRequest(request), reply);
      },
    });
  }
}

function isMeant({ headers }: FastifyRequest): boolean {
  return headers[INTENT_HEADER] === 'yes';
}

function asAdminRequest({ params, query, body }: FastifyRequest): AdminRequest {
  // Both are maps of texts, made by the router.
  return {
    params: params as Readonly<Record<string, string>>,
    query: query as Readonly<Record<string, string>>,
    body,
  };
}

/** Everything else is answered with a problem document (RFC 9457). */
function addRefusals(app: FastifyInstance, routes: readonly AdminRoute[]): void {
  // Before routing ends in a body parser, which would judge a body that nobody wants.
  app.addHook('onRequest', (request, reply, next) => {
    if (request.is404) refuse(request, reply, routes);
    else next();
  });
  app.setErrorHandler<Error>((error, _request, reply) => {
    const code = codeOf(error);
    const { status, title } = code ? ERRORS[code] : INTERNAL;
    sendProblem(reply, { status, title, detail: error.message, ...(code && { code }) });
  });
}

const INTERNAL = { status: 500, title: 'Internal Server Error' };

function refuse(request: FastifyRequest, reply: FastifyReply, routes: readonly AdminRoute[]): void {
  const path = request.url.split('?', 1)[0] ?? '';
  const allowed = routes.filter((route) => isAt(route, path)).map(({ method }) => method);
  if (allowed.length > 0) {
    const methods = allowed.join(', ');
    reply.header('allow', methods);
    const detail = `This is served with ${methods}.`;
    sendProblem(reply, { status: 405, title: 'Method Not Allowed', detail });
  } else {
    const paths = [...new Set(routes.map((route) => route.path))].join(', ');
    const detail = `This is the admin port, which serves ${paths}; events go to the other one.`;
    sendProblem(reply, { status: 404, title: 'Not Found', detail });
  }
}

/** Whether a route has this path, its parameters filled in. */
function isAt(route: AdminRoute, path: string): boolean {
  const parts = path.split('/');
  const wanted = route.path.split('/');
  return (
    parts.length === wanted.length &&
    wanted.every((part, index) => part.startsWith(':') || part === parts[index])
  );
}

interface Problem {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly code?: ErrorCode;
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
