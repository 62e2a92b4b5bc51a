/** From endpoints as slices have them to those of a Topology: whether each is ready, its ports, and one for each address. */
import type { EndpointSlice, Service, SliceEndpoint } from '../../core/resources.ts';
import type { Endpoint } from '../../core/topology.ts';
import { calledPorts, tcpPorts } from '../destination.ts';
import type { Identities, PodClaim } from './identities.ts';

/** An endpoint before it is known which Pod it is. */
export interface Candidate extends Pick<Endpoint, 'address' | 'ports' | 'isReady'> {
  readonly claim: PodClaim | undefined;
  readonly node: string | undefined;
  readonly zone: string | undefined;
}

/**
 * False: it ends, and is only for when nothing is ready; `undefined`: it is for nobody.
 * Source: Kubernetes, "EndpointSlices", conditions; kube-proxy falls back to those that serve and terminate.
 */
export function readinessOf({ conditions = {} }: SliceEndpoint): boolean | undefined {
  const { ready = true, serving = false, terminating = false } = conditions;
  if (ready) return true;
  return serving && terminating ? false : undefined;
}

/**
 * Service port number -> port at the slice's endpoints: the slice's port of the same name, or its only one if that has
 * none. The name of a headless Service leads to its Pods, at whatever port the URL says.
 */
export function portsOf(service: Service, { spec: slice }: EndpointSlice): Endpoint['ports'] {
  if (service.spec.clusterIP === 'None') {
    return Object.fromEntries(calledPorts(service).map((port) => [port, port]));
  }
  const [first, ...others] = slice.ports;
  const unnamed = others.length === 0 && !first?.name ? first?.port : undefined;
  const byName = new Map(slice.ports.toReversed().map(({ name = '', port }) => [name, port]));
  const ports: Record<number, number> = {};
  for (const { name = '', port } of tcpPorts(service)) {
    const at = byName.get(name) ?? unnamed;
    if (at !== undefined) ports[port] = at;
  }
  return ports;
}

/**
 * One endpoint an address and its ports: while slices are being rearranged an address may stand in two, and slices are
 * also split by port. Where one address has two ports for the same port of the Service, as on a laptop, these are two
 * endpoints. Source: Kubernetes, "EndpointSlices" (duplicate endpoints; only the first address of an endpoint is used).
 */
export function mergeEndpoints(
  candidates: readonly Candidate[],
  identities: Identities,
): Endpoint[] {
  const byAddress = new Map<string, Endpoint[]>();
  for (const candidate of candidates) {
    const endpoint = endpointOf(candidate, identities);
    const known = byAddress.get(endpoint.address) ?? [];
    const index = known
      .slice(0, SHARING_MAX)
      .findIndex(({ ports }) => agree(ports, endpoint.ports));
    const same = known[index];
    if (same) known[index] = merged(same, endpoint);
    else known.push(endpoint);
    byAddress.set(endpoint.address, known);
  }
  return [...byAddress.values()].flat();
}

/**
 * Endpoints at one address that another one is compared with: 16 programs on one laptop are many. What comes after them
 * may stand there twice; without a bound, thousands would be compared with thousands.
 */
const SHARING_MAX = 16;

function endpointOf(candidate: Candidate, identities: Identities): Endpoint {
  const { address, ports, isReady, claim, node, zone } = candidate;
  const pod = identities.podAt(address, claim);
  return {
    address,
    ports,
    isReady,
    ...(pod !== undefined && { pod }),
    ...(node && { node }),
    ...(zone && { zone }),
  };
}

/** Whether both may be ports of one endpoint: no port of the Service leads to two. */
function agree(a: Endpoint['ports'], b: Endpoint['ports']): boolean {
  return a === b || Object.entries(b).every(([port, at]) => (a[Number(port)] ?? at) === at);
}

function merged(a: Endpoint, b: Endpoint): Endpoint {
  const { pod, ...rest } = { ...b, ...a };
  return {
    ...rest,
    ports: a.ports === b.ports ? a.ports : { ...a.ports, ...b.ports },
    isReady: a.isReady || b.isReady,
    // Where one of them is another Pod, or none, it is not known which it is.
    ...(pod !== undefined && a.pod === b.pod && { pod }),
  };
}
