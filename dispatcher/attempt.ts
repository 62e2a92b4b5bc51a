/**
 * One attempt at a target: at the endpoint whose turn it is, or at one that can be reached.
 *
 * D7 An attempt of which no byte left us goes on with another endpoint of its Service, ENDPOINTS_MAX in all, before it
 *    counts. What may have arrived is never sent to somebody else as well.
 */
import type { Deliverer, DeliveryRequest, Outcome } from '../core/ports/deliverer.ts';
import type { Target, Topology } from '../core/topology.ts';
import { route } from './route.ts';

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
