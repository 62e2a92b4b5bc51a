/**
 * Which address one attempt goes to: the nearest endpoint that has room, by the cost rule, or the address as given.
 *
 * - V2 Where placement declines, is not asked for or knows no endpoint, the Service's own address is called.
 * - V3 The nearest tier is left only if waiting there costs more than going farther (`core/rules/cost.ts`), one tier after
 *   the other. Within a tier, two in turn are compared, so that nobody's picture of who is idle sends all to one place.
 * - V4 What is ejected is passed over, unless nothing else is left. What has been tried for this attempt is never tried again.
 * - V5 What is about to end is called only where nothing is ready.
 */
import { isWorthMoving, transferMs, waitMs } from '../../core/rules/cost.ts';
import {
  nearnessOf,
  NEARNESSES,
  type Nearness,
  type RouteReason,
  type Vantage,
} from '../../core/rules/nearness.ts';
import type { Egress, Endpoint, ServiceEndpoints, Target, Topology } from '../../core/topology.ts';
import type { Loads } from './loads.ts';

export type HttpTarget = Exclude<Target, { kind: 'ingress' }>;

export interface Route {
  /** Where the bytes go. */
  readonly url: string;
  /** Host header, when it differs from the URL's. */
  readonly host?: string;
  /** Of the endpoint: host and port; absent: the address as given. */
  readonly endpoint?: string;
  readonly nearness?: Nearness;
  readonly reason: RouteReason;
  /** Endpoints that would do as well. */
  readonly others: number;
}

export interface RouteRequest {
  readonly placement: Egress['placement'];
  /** What would have to be moved. */
  readonly bytes: number;
  /** Grows with each attempt, so that equal endpoints take turns. */
  readonly turn: number;
  /** Endpoints that this attempt could not reach. */
  readonly tried: ReadonlySet<string>;
  /** Endpoints that have failed the event before: another one is better. */
  readonly failed: ReadonlySet<string>;
}

export interface RouterOptions {
  readonly vantage: Vantage;
  readonly loads: Loads;
  /** An endpoint in the own pod is called at the loopback address: pods share it with nobody. */
  readonly usesLoopback: boolean;
}

interface Candidate {
  readonly endpoint: Endpoint;
  readonly key: string;
  readonly nearness: Nearness;
}

export class Router {
  readonly #options: RouterOptions;
  /** By port. What stands behind a Service never changes in place, so an attempt does not look at each endpoint anew. */
  readonly #known = new WeakMap<ServiceEndpoints, Map<number, readonly Candidate[]>>();

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  route(target: HttpTarget, topology: Topology, request: RouteRequest): Route {
    if (target.kind === 'url') return asGiven(target, 'url');
    if (request.placement === 'service') return asGiven(target, 'asked');
    const service = topology.services.get(target.service);
    if (service?.declined) return asGiven(target, service.declined);
    const all = this.#candidates(service, target.port);
    const untried = all.filter(({ key }) => !request.tried.has(key));
    if (untried.length === 0) {
      return all.length === 0 ? asGiven(target, 'no-endpoint') : this.fallBack(target);
    }
    const usable = this.#fit(untried, request.failed);
    const others = untried.length - 1;
    const { placement, turn, tried, failed } = request;
    const chosen =
      placement === 'spread' ? this.#lesser(usable, turn) : this.#nearest(usable, request);
    const isAnother = tried.size > 0 || (failed.size > 0 && !failed.has(chosen.key));
    const reason = isAnother
      ? 'another'
      : placement === 'spread'
        ? 'spread'
        : nearReason(chosen.nearness, nearestOf(usable), nearestOf(untried));
    return this.#to(target, chosen, { reason, others });
  }

  /** V4 */
  #fit(untried: readonly Candidate[], failed: RouteRequest['failed']): readonly Candidate[] {
    const healthy = untried.filter(({ key }) => !this.#options.loads.isEjected(key));
    const better = healthy.filter(({ key }) => !failed.has(key));
    return [better, healthy, untried].find(({ length }) => length > 0) ?? untried;
  }

  /** Where endpoints could not be reached. */
  fallBack(target: HttpTarget): Route {
    return asGiven(target, 'service');
  }

  /** Of the nearest endpoint of its subscriber; `undefined`: it is called as given, and as far from everywhere. */
  nearnessTo({ subscriber, placement }: Egress, topology: Topology): Nearness | undefined {
    if (subscriber.kind !== 'service' || placement !== 'nearest') return undefined;
    const service = topology.services.get(subscriber.service);
    return service?.declined ? undefined : nearestOf(this.#candidates(service, subscriber.port));
  }

  #candidates(service: ServiceEndpoints | undefined, port: number): readonly Candidate[] {
    if (!service) return [];
    let byPort = this.#known.get(service);
    if (!byPort) this.#known.set(service, (byPort = new Map()));
    let candidates = byPort.get(port);
    if (!candidates) byPort.set(port, (candidates = this.#choose(service, port)));
    return candidates;
  }

  /** V5 */
  #choose({ endpoints }: ServiceEndpoints, port: number): readonly Candidate[] {
    const usable = endpoints.filter(({ ports }) => ports[port] !== undefined);
    const ready = usable.filter(({ isReady }) => isReady);
    return (ready.length > 0 ? ready : usable).map((endpoint) => ({
      endpoint,
      key: keyOf(endpoint.address, endpoint.ports[port] ?? 0),
      nearness: nearnessOf(endpoint, this.#options.vantage),
    }));
  }

  /** V3 */
  #nearest(usable: readonly Candidate[], { turn, bytes }: RouteRequest): Candidate {
    const { loads } = this.#options;
    const tiers = NEARNESSES.map((each) => usable.filter(({ nearness }) => nearness === each));
    const [first, ...farther] = tiers.filter((tier) => tier.length > 0);
    if (!first) throw new Error('there is something to choose from');
    let chosen = this.#lesser(first, turn);
    for (const tier of farther) {
      const challenger = this.#lesser(tier, turn);
      const transfer = transferMs(challenger.nearness, bytes) - transferMs(chosen.nearness, bytes);
      if (!isWorthMoving(loads.of(chosen.key), loads.of(challenger.key), transfer)) break;
      chosen = challenger;
    }
    return chosen;
  }

  /** Of two in turn, the one where the next request waits less, or that is at fewer. */
  #lesser(candidates: readonly Candidate[], turn: number): Candidate {
    const { loads } = this.#options;
    const one = candidates[turn % candidates.length];
    const other = candidates[(turn + 1) % candidates.length];
    if (!one || !other) throw new Error('there is something to choose from');
    const [a, b] = [loads.of(one.key), loads.of(other.key)];
    const difference = waitMs(a) - waitMs(b) || a.inFlight - b.inFlight;
    return difference > 0 ? other : one;
  }

  #to(
    target: HttpTarget,
    { endpoint, key, nearness }: Candidate,
    { reason, others }: Pick<Route, 'reason' | 'others'>,
  ): Route {
    const { protocol, host, pathname, search } = new URL(target.url);
    const port = key.slice(key.lastIndexOf(':'));
    const isLoopback = nearness === 'pod' && this.#options.usesLoopback;
    const at = isLoopback ? (endpoint.address.includes(':') ? '[::1]' : '127.0.0.1') + port : key;
    const url = `${protocol}//${at}${pathname}${search}`;
    return { url, host, endpoint: key, nearness, reason, others };
  }
}

/** Of all endpoints there are. */
export function endpointKeys({ services }: Topology): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const { endpoints } of services.values()) {
    for (const { address, ports } of endpoints) {
      for (const port of Object.values(ports)) keys.add(keyOf(address, port));
    }
  }
  return keys;
}

function asGiven({ url }: HttpTarget, reason: RouteReason): Route {
  return { url, reason, others: 0 };
}

function nearReason(
  chosen: Nearness,
  nearestUsable: Nearness | undefined,
  nearest: Nearness | undefined,
): RouteReason {
  if (chosen === nearest) return 'nearest';
  return chosen === nearestUsable ? 'ejected' : 'overflow';
}

function nearestOf(candidates: readonly Candidate[]): Nearness | undefined {
  return NEARNESSES.find((each) => candidates.some(({ nearness }) => nearness === each));
}

function keyOf(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
