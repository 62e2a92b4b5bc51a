/**
 * Which address one attempt goes to. A Service is called at one of its endpoints, ready ones in turn; anything else, and a
 * Service of which no ready endpoint is known, as given.
 */
import type { Target, Topology } from '../core/topology.ts';

export interface Route {
  /** Where the bytes go. */
  readonly url: string;
  /** Host header, when it differs from the URL's. */
  readonly host?: string;
  /** Endpoints that would do as well. */
  readonly others: number;
}

type HttpTarget = Exclude<Target, { kind: 'ingress' }>;

/** @param turn grows with each attempt, so that equal endpoints take turns. */
export function route(target: HttpTarget, topology: Topology, turn: number): Route {
  if (target.kind === 'url') return { url: target.url, others: 0 };
  const known = topology.services.get(target.service)?.endpoints ?? [];
  const usable = known.filter(({ isReady, ports }) => isReady && ports[target.port] !== undefined);
  const endpoint = usable[turn % usable.length];
  if (!endpoint) return { url: target.url, others: 0 };
  const { protocol, host, pathname, search } = new URL(target.url);
  const address = endpoint.address.includes(':') ? `[${endpoint.address}]` : endpoint.address;
  const url = `${protocol}//${address}:${endpoint.ports[target.port]}${pathname}${search}`;
  return { url, host, others: usable.length - 1 };
}
