/**
 * One attempt at a target: at the endpoint that the router chooses, or at one that can be reached.
 *
 * D7 An attempt of which no byte left us goes on with another endpoint of its Service, ENDPOINTS_MAX in all, and with the
 *    Service's own address where that leads anywhere, before it counts. So a picture that is out of date fails nothing. What
 *    may have arrived is never sent to somebody else as well.
 */
import { dataSizeBytes, type CloudEvent } from '../core/event.ts';
import type { Deliverer, DeliveryRequest, Outcome } from '../core/ports/deliverer.ts';
import type { Clock } from '../core/ports/time.ts';
import type { RouteTaken } from '../core/ports/observer.ts';
import type { Span } from '../core/ports/tracer.ts';
import { judge, withCode, type Verdict } from '../core/rules/retry.ts';
import type { Egress, Topology } from '../core/topology.ts';
import type { EndingScope } from './ending.ts';
import type { Loads } from './placement/loads.ts';
import type { HttpTarget, Route, Router } from './placement/router.ts';
import type { Stage } from './stage.ts';

/** Two endpoints that are gone at once are bad luck, three are a picture that is out of date. */
const ENDPOINTS_MAX = 3;
export const NO_ENDPOINTS: ReadonlySet<string> = new Set();

export interface AttemptContext {
  readonly deliverer: Deliverer;
  readonly clock: Clock;
  readonly placement: Placement;
  topology(): Topology;
}

/** What a run of attempts knows by itself. */
export interface AttemptRun {
  /** Grows each time, so that endpoints take turns. */
  nextTurn(): number;
  /** Whether something new may be started. */
  mayGoOn(): boolean;
  onReroute(): void;
}

/** Who is where, as this dispatcher sees it. */
export interface Placement {
  readonly router: Router;
  readonly loads: Loads;
  /** The address of a Service leads somewhere by itself, as it does in a cluster. */
  readonly hasServices: boolean;
}

export interface Routed {
  readonly outcome: Outcome;
  /** Where it has come to. */
  readonly route: Route;
}

export interface AttemptRequest {
  readonly egress: Egress;
  readonly request: Omit<DeliveryRequest, 'url' | 'host' | 'caCerts'>;
  /** Endpoints that have failed it before. */
  readonly failed: ReadonlySet<string>;
  readonly run: AttemptRun;
}

/** What is sent in this phase, wherever it goes. */
export function requestOf(
  egress: Egress,
  stage: Stage,
  { event, traceparent }: { readonly event: CloudEvent; readonly traceparent: string | undefined },
): AttemptRequest['request'] {
  return {
    event,
    namespace: egress.namespace,
    wantsReply: stage.phase === 'deliver',
    format: egress.format,
    timeoutMs: egress.timeoutMs,
    ...(egress.idleMs !== undefined && { idleMs: egress.idleMs }),
    replies: { tenant: egress.namespace, claims: egress.claims },
    ...(traceparent !== undefined && { traceparent }),
  };
}

export async function attempt(
  target: HttpTarget,
  { egress, request, failed, run }: AttemptRequest,
  context: AttemptContext,
): Promise<Routed> {
  const { router, hasServices } = context.placement;
  const { placement } = egress;
  const bytes = dataSizeBytes(request.event);
  let tried = NO_ENDPOINTS;
  for (;;) {
    const turn = run.nextTurn();
    const route =
      tried.size < ENDPOINTS_MAX
        ? router.route(target, context.topology(), { placement, bytes, turn, tried, failed })
        : router.fallBack(target);
    const outcome = await send(target, { request, route }, context);
    const { endpoint, others } = route;
    if (endpoint === undefined || !isUnreached(outcome)) return { outcome, route };
    tried = new Set([...tried, endpoint]);
    const hasMore = hasServices || (others > 0 && tried.size < ENDPOINTS_MAX);
    if (!hasMore || !run.mayGoOn()) return { outcome, route };
    run.onReroute();
  }
}

async function send(
  { caCerts }: HttpTarget,
  { request, route }: Pick<AttemptRequest, 'request'> & { readonly route: Route },
  { deliverer, clock, placement: { loads } }: AttemptContext,
): Promise<Outcome> {
  const { url, host, endpoint } = route;
  const address = { url, ...(host !== undefined && { host }), caCerts };
  if (endpoint === undefined) return deliverer.deliver({ ...request, ...address });
  const startedMs = clock.monotonicMs();
  loads.begin(endpoint);
  let outcome: Outcome | undefined;
  try {
    outcome = await deliverer.deliver({ ...request, ...address });
    return outcome;
  } finally {
    loads.end(endpoint, outcome, clock.monotonicMs() - startedMs);
  }
}

function isUnreached(outcome: Outcome): boolean {
  return outcome.kind === 'unreachable' && outcome.code === 'KNEAR_UNREACHABLE';
}

/** What follows from an outcome, for an egress as it is now. */
export function verdictOn(
  outcome: Outcome,
  {
    egress,
    stage,
    dest,
    backoffMaxMs,
  }: {
    readonly egress: Egress;
    readonly stage: Stage;
    readonly dest: string;
    readonly backoffMaxMs: number;
  },
): Verdict {
  const verdict = judge(outcome, {
    policy: egress.retry,
    attempt: stage.attempt,
    dest,
    replies: egress.kind === 'trigger' ? 'strict' : egress.reply ? 'lenient' : 'ignored',
    backoffMaxMs,
  });
  // K37 is about data of the event itself, which it still has when that of its reply is lost.
  const isReplyLost = stage.phase === 'reply' && outcome.kind === 'payload';
  return isReplyLost && verdict.kind === 'exhausted'
    ? withCode(verdict, 'KNEAR_REPLY_INVALID')
    : verdict;
}

export interface Attempted {
  readonly outcome: Outcome;
  readonly verdict: Verdict;
  readonly startedMs: number;
  readonly dest: string;
  /** Absent: to a Broker or Channel of ours. */
  readonly route?: Route;
}

/** Tells what came of it. What says nothing about the subscriber is no attempt. */
export function observeAttempt(
  { context: { observer, clock }, egress, chain }: EndingScope,
  stage: Stage,
  {
    outcome,
    verdict,
    startedMs,
    dest,
    route,
    span,
  }: Attempted & { readonly span: Span | undefined },
): void {
  const event = stage.origin ?? stage.event;
  const status = 'status' in outcome ? outcome.status : 0;
  const code = 'failure' in verdict ? verdict.failure.code : undefined;
  const hops = chain.links.length;
  const taken = route && { route: placeOf(route) };
  span?.note({ hops, ...taken });
  span?.end(status, code);
  if (verdict.kind === 'wait') {
    observer.observe({ kind: 'stalled', egress, event, code: verdict.failure.code });
    return;
  }
  observer.observe({
    kind: 'attempted',
    egress,
    event,
    phase: stage.phase,
    attempt: stage.attempt + 1,
    dest,
    status,
    hops,
    ...taken,
    ...(code && { code }),
    ...(verdict.kind === 'reply' && { reply: verdict.event }),
    durationMs: clock.monotonicMs() - startedMs,
  });
}

function placeOf({ endpoint, nearness, reason }: Route): RouteTaken {
  return { reason, ...(endpoint !== undefined && { endpoint }), ...(nearness && { nearness }) };
}
