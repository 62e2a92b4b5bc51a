/** Topologies for tests of matching: only what matching looks at differs between their egresses. */
import type { Egress, Ingress, Topology } from '../../core/topology.ts';
import { CLAIMS } from '../fakes/claims.ts';

export type EgressSketch = Pick<Egress, 'filter'> & Partial<Egress>;

/** Egresses are called `e0`, `e1` ... and belong to the ingress `orders` unless they say otherwise. */
export function topologyOf(
  egresses: readonly EgressSketch[],
  ingresses: Readonly<Record<string, { isEarly: boolean }>> = { orders: { isEarly: true } },
): Topology {
  return {
    revision: 1,
    ingresses: new Map(
      Object.entries(ingresses).map(([id, { isEarly }]) => [id, ingressOf(id, isEarly)]),
    ),
    egresses: new Map(
      egresses.map((sketch, at) => {
        const egress = egressOf(`e${at}`, sketch);
        return [egress.id, egress];
      }),
    ),
    services: new Map(),
    correlationKeys: new Map(),
  };
}

function ingressOf(id: string, isEarly: boolean): Ingress {
  return {
    id,
    kind: 'broker',
    namespace: 'default',
    name: id,
    path: `/default/${id}`,
    hosts: [],
    eventMaxBytes: 1_048_576,
    attributesMaxBytes: 65_536,
    isEarly,
    claims: CLAIMS,
    hops: { isOn: false, redoMaxMs: 1_000 },
  };
}

function egressOf(id: string, sketch: EgressSketch): Egress {
  return {
    id,
    kind: 'trigger',
    namespace: 'default',
    name: id,
    ingressId: 'orders',
    subscriber: { kind: 'url', url: 'http://subscriber.invalid/' },
    retry: { retries: 0, backoff: 'none', delayMs: 0 },
    timeoutMs: 1_000,
    claims: CLAIMS,
    format: 'binary',
    order: 'none',
    isPaused: false,
    exhausted: 'park',
    placement: 'nearest',
    hops: { isOn: false, redoMaxMs: 1_000 },
    ...sketch,
  };
}
