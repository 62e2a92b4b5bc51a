/** Why an attempt went where it went, and why an event went through the log, in words for people. */
import type { RouteTaken } from '../../core/ports/observer.ts';
import { HOPS_MAX, type HopRefusal } from '../../core/rules/hop.ts';
import type { Nearness, RouteReason } from '../../core/rules/nearness.ts';
import type { ExplainedWay, ResourceName } from '../inside/explained.ts';

/** @returns `undefined` where there was nothing to choose: the subscriber is an address. */
export function routeText({ reason, endpoint, nearness = 'any' }: RouteTaken): string | undefined {
  if (reason === 'url') return undefined;
  if (endpoint === undefined) return `at the Service's own address: ${REASON_TEXTS[reason]}`;
  const isAnywhere = reason === 'nearest' && nearness === 'any';
  const why = isAnywhere ? 'none is known to be nearer' : REASON_TEXTS[reason];
  return `at ${endpoint}${NEARNESS_TEXTS[nearness]}: ${why}`;
}

/** Also what is true of all pods where nobody knows the own one. */
const NEARNESS_TEXTS: Readonly<Record<Nearness, string>> = {
  pod: ' in the same pod',
  node: ' on the same node',
  zone: ' in the same zone',
  any: '',
};

const REASON_TEXTS: Readonly<Record<Exclude<RouteReason, 'url'>, string>> = {
  asked: 'asked for by knear.dev/placement',
  'no-endpoint': 'no endpoint of it is known',
  nearest: 'the nearest',
  overflow: 'nearer ones would have taken longer',
  spread: 'its turn, asked for by knear.dev/placement',
  another: 'the one before has failed',
  ejected: 'nearer ones have failed and are left alone for now',
  service: 'its endpoints could not be reached',
  mesh: 'a mesh decides',
  'session-affinity': 'its sessionAffinity is ClientIP',
  'traffic-policy': 'its internalTrafficPolicy is Local',
  'no-selector': 'it has no selector',
  untrusted: 'an endpoint of it is no Pod of its namespace',
};

/** @returns `undefined` where there is nothing to say: hops are off, or nobody wanted the event. */
export function wayText(way: ExplainedWay, at: ResourceName | undefined): string | undefined {
  if (way.kind === 'local-hop') {
    const { to } = way;
    return `without the log${to ? `, to ${to.kind} ${to.namespace}/${to.name}` : ''}`;
  }
  const { refusal, wantedCount } = way;
  const egressKind = at?.kind === 'channel' ? 'Subscription' : 'Trigger';
  if (refusal === 'off' || refusal === 'unmatched') return undefined;
  if (refusal === 'fan-out') return `through the log: ${wantedCount} ${egressKind}s want it`;
  return `through the log: ${REFUSAL_TEXTS[refusal].replaceAll('EGRESS', egressKind)}`;
}

const REFUSAL_TEXTS: Readonly<
  Record<Exclude<HopRefusal, 'off' | 'unmatched' | 'fan-out'>, string>
> = {
  ordered: 'an order is kept (knear.dev/order)',
  paused: 'its EGRESS is paused',
  elsewhere: 'the subscriber of its EGRESS is nearer to another place',
  unconfirmed: 'the resources known here may not be the newest',
  behind: 'older events wait there for the same EGRESS',
  depth: `it would be hop ${HOPS_MAX + 1} in a row`,
  bounds: 'there is no room for another open delivery',
  redo: 'a crash would repeat more than knear.dev/redo-max',
  busy: 'the slots of its EGRESS are taken, and as many hops wait for one',
  'dead-letter': 'a dead letter is kept before anything else',
  lease: 'the lease of what led to it is over',
  stopping: 'knear stops',
};
