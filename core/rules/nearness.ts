/** How near an endpoint is to who calls it. */
import { DECLINED, type Endpoint } from '../topology.ts';

/** From near to far: same pod, same node, same zone, anywhere. */
export const NEARNESSES = ['pod', 'node', 'zone', 'any'] as const;
export type Nearness = (typeof NEARNESSES)[number];

/** Where a dispatcher is. What is not known is near to nobody. */
export interface Vantage {
  /** UID of the Pod that it shares with a subscriber: names come back with another pod, UIDs do not. */
  readonly pod?: string;
  readonly node?: string;
  readonly zone?: string;
}

export function nearnessOf(endpoint: Endpoint, vantage: Vantage): Nearness {
  if (isSame(endpoint.pod, vantage.pod)) return 'pod';
  if (isSame(endpoint.node, vantage.node)) return 'node';
  return isSame(endpoint.zone, vantage.zone) ? 'zone' : 'any';
}

function isSame(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && one !== '' && one === other;
}

/**
 * Why an attempt went where it went.
 * - url: the subscriber is a plain address · no-endpoint: none is known
 * - nearest: it has room · overflow: nearer ones would have taken longer · spread: any in turn, as asked for
 * - another: the one before could not be reached, or has failed · ejected: nearer ones are left alone for now
 * - service: endpoints could not be reached, so the Service's address has to do
 * - the others: why placement declined, or was declined for the egress (asked)
 */
export const ROUTE_REASONS = [
  'url',
  'no-endpoint',
  'nearest',
  'overflow',
  'spread',
  'another',
  'ejected',
  'service',
  ...DECLINED,
] as const;
export type RouteReason = (typeof ROUTE_REASONS)[number];
