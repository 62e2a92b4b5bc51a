/** What of a Service itself speaks against choosing one of its endpoints: it asks for something that only it can give. */
import type { Service } from '../../core/resources.ts';
import type { Declined } from '../../core/topology.ts';
import { annotation } from '../annotations.ts';
import type { Trust } from './trust.ts';

/** The first reason there is, what was asked for before what follows; `undefined`: none. */
export function declinedBy(service: Service, trust: Trust): Declined | undefined {
  const { sessionAffinity, internalTrafficPolicy, selector = {} } = service.spec;
  if (annotation('knear.dev/placement', [service]) === 'service') return 'asked';
  // On a laptop the Service has no address that it could give it at: its endpoints are all there is.
  if (trust === 'folder') return undefined;
  if (sessionAffinity === 'ClientIP') return 'session-affinity';
  if (internalTrafficPolicy === 'Local') return 'traffic-policy';
  return Object.keys(selector).length === 0 ? 'no-selector' : undefined;
}
