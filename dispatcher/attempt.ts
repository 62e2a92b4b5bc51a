/**
 * One attempt at a target: at the endpoint whose turn it is, or at one that can be reached.
 *
 * D7 An attempt of which no byte left us goes on with another endpoint of its Service, ENDPOINTS_MAX in all, before it
 *    counts. What may have arrived is never sent to somebody else as well.
 */
import type { Deliverer, DeliveryRequest, Outcome } from '../core/ports/deliverer.ts';
import type { Span } from '../core/ports/tracer.ts';
import type { Verdict } from '../core/rules/retry.ts';
import type { Target, Topology } from '../core/topology.ts';
import type { EndingScope } from './ending.ts';
import { route } from './route.ts';
import type { Stage } from './stage.ts';

/** Two endpoints that are gone at once are bad luck, three are a Service in trouble. */
const ENDPOINTS_MAX = 3;

export interface AttemptContext {
  readonly deliverer: Deliverer;
  topology(): Topology;
  /** Grows each time, so that endpoints take turns. */
  nextTurn(): number;
  /** Whether something new may be started. */
  mayGoOn(): boolean;
  onReroute(): void;
}

export async function attempt(
  target: Exclude<Target, { kind: 'ingress' }>,
  request: Omit<DeliveryRequest, 'url' | 'host' | 'caCerts'>,
  context: AttemptContext,
): Promise<Outcome> {
  const { caCerts } = target;
  for (let tries = 1; ; tries += 1) {
    const { others, ...address } = route(target, context.topology(), context.nextTurn());
    const outcome = await context.deliverer.deliver({ ...request, ...address, caCerts });
    const hasMore = tries < ENDPOINTS_MAX && tries <= others;
    if (!hasMore || !isUnreached(outcome) || !context.mayGoOn()) return outcome;
    context.onReroute();
  }
}

function isUnreached(outcome: Outcome): boolean {
  return outcome.kind === 'unreachable' && outcome.code === 'KNEAR_UNREACHABLE';
}

export interface Attempted {
  readonly outcome: Outcome;
  readonly verdict: Verdict;
  readonly startedMs: number;
  readonly dest: string;
}

/** Tells what came of it. What says nothing about the subscriber is no attempt. */
export function observeAttempt(
  { context: { observer, clock }, egress }: EndingScope,
  stage: Stage,
  { outcome, verdict, startedMs, dest, span }: Attempted & { readonly span: Span | undefined },
): void {
  const event = stage.origin ?? stage.event;
  const status = 'status' in outcome ? outcome.status : 0;
  const code = 'failure' in verdict ? verdict.failure.code : undefined;
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
    ...(code && { code }),
    ...(verdict.kind === 'reply' && { reply: verdict.event }),
    durationMs: clock.monotonicMs() - startedMs,
  });
}
