/** Pods, Nodes and Namespaces, as far as endpoints are judged and placed by them: each looked at once. */
import type { EndpointSlice, Pod, Resource } from '../../core/resources.ts';
import { canonicalIp } from './addresses.ts';
import { isMeshed } from './mesh.ts';

export interface Surroundings {
  /** By `namespace/name`. */
  readonly pods: ReadonlyMap<string, KnownPod>;
  /** Name of a Node -> the zone it is in. */
  readonly zones: ReadonlyMap<string, string>;
  /** Names of Namespaces that are in a mesh as a whole. */
  readonly meshed: ReadonlySet<string>;
  /** Where the API server is. */
  readonly apiServer: ReadonlySet<string>;
}

export interface KnownPod {
  readonly uid?: string;
  readonly node?: string;
  readonly addresses: ReadonlySet<string>;
  /** It has ended for good, and its addresses may be others'. */
  readonly isOver: boolean;
  readonly isMeshed: boolean;
}

export function surroundingsOf(
  resources: readonly Resource[],
  apiServerSlices: readonly EndpointSlice[],
): Surroundings {
  const pods = new Map<string, KnownPod>();
  const zones = new Map<string, string>();
  const meshed = new Set<string>();
  for (const resource of resources) {
    const { namespace, name, labels } = resource.metadata;
    const { kind } = resource;
    const zone = labels['topology.kubernetes.io/zone'];
    if (kind === 'Pod') pods.set(`${namespace}/${name}`, knownPod(resource));
    if (kind === 'Node' && zone) zones.set(name, zone);
    if (kind === 'Namespace' && isMeshed(resource)) meshed.add(name);
  }
  const endpoints = apiServerSlices.flatMap(({ spec }) => spec.endpoints);
  return {
    pods,
    zones,
    meshed,
    apiServer: new Set(endpoints.flatMap(({ addresses }) => addresses.map(spelled))),
  };
}

/** As it is looked up; what is no IP address, as it is written. */
export function spelled(address: string): string {
  return canonicalIp(address) ?? address;
}

function knownPod(pod: Pod): KnownPod {
  const { uid } = pod.metadata;
  const { nodeName, phase, addresses } = pod.spec;
  return {
    ...(uid !== undefined && { uid }),
    ...(nodeName !== undefined && { node: nodeName }),
    addresses: new Set(addresses.map(spelled)),
    isOver: phase === 'Succeeded' || phase === 'Failed',
    isMeshed: isMeshed(pod),
  };
}
