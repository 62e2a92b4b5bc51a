/**
 * Which Broker or Channel a request is for. Pure: looks at the request target and the Host header only.
 *
 *     /{namespace}/{name}             a Broker        one slash at the end is tolerated, a query is ignored
 *     /{namespace}/channels/{name}    a Channel
 *     any path, Host of a Channel     that Channel    as Knative's own Channels are addressed
 *
 * Source: knative/eventing, the ingress handler of the multi-tenant Broker (`/` is 404, other shapes are 400) and the
 * Channel's message receiver (Host).
 */
import type { ErrorCode } from '../core/errors.ts';
import type { Ingress, Topology } from '../core/topology.ts';

export type Address =
  | { readonly kind: 'ingress'; readonly ingress: Ingress }
  /** The shape of an address, but nothing is there. */
  | { readonly kind: 'unknown' }
  /** No address at all. */
  | {
      readonly kind: 'refused';
      readonly code: Extract<ErrorCode, 'KNEAR_INGRESS_UNKNOWN' | 'KNEAR_PATH'>;
      readonly detail: string;
    };

export type FindAddress = (target: string, host: string | undefined) => Address;

/** Addresses in the topology of the moment. The index is built once for each Topology. */
export function createFindAddress(topology: () => Topology): FindAddress {
  let known: Topology | undefined;
  let index: AddressIndex = { byPath: new Map(), byHost: new Map() };
  return (target, host) => {
    const current = topology();
    if (current !== known) {
      index = indexOf(current);
      known = current;
    }
    return find(index, target, host);
  };
}

interface AddressIndex {
  readonly byPath: ReadonlyMap<string, Address>;
  readonly byHost: ReadonlyMap<string, Address>;
}

function indexOf(topology: Topology): AddressIndex {
  const byPath = new Map<string, Address>();
  const byHost = new Map<string, Address>();
  for (const ingress of topology.ingresses.values()) {
    const address: Address = { kind: 'ingress', ingress };
    byPath.set(ingress.path, address);
    for (const host of ingress.hosts) byHost.set(host, address);
  }
  return { byPath, byHost };
}

function find(index: AddressIndex, target: string, host: string | undefined): Address {
  // Most requests name a path as it stands in the index, so it need not be taken apart; a Host is only looked at where
  // one leads somewhere.
  if (index.byHost.size === 0) {
    const address = index.byPath.get(target);
    if (address) return address;
  }
  const { authority, path } = partsOf(target);
  return index.byHost.get(hostName(authority ?? host ?? '')) ?? findPath(index, path);
}

/** The absolute form of a request target must be understood, and its host goes before the header (RFC 9112, 3.2.2). */
function partsOf(target: string): { authority?: string; path: string } {
  const [, authority, path = ''] = /^(?:https?:\/\/([^/?#]*))?([^?#]*)/i.exec(target) ?? [];
  return { ...(authority !== undefined && { authority }), path: path === '' ? '/' : path };
}

/** `Step-1.default.svc.:8080` -> `step-1.default.svc` */
function hostName(authority: string): string {
  return authority.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
}

function findPath(index: AddressIndex, path: string): Address {
  if (path === '/') {
    return {
      kind: 'refused',
      code: 'KNEAR_INGRESS_UNKNOWN',
      detail: `the root is no address; one is ${HINT}`,
    };
  }
  const segments = segmentsOf(path);
  if (!segments || !isAddressShape(segments)) {
    return { kind: 'refused', code: 'KNEAR_PATH', detail: `this is no address; one is ${HINT}` };
  }
  return index.byPath.get(`/${segments.join('/')}`) ?? { kind: 'unknown' };
}

const HINT = 'a Broker at /{namespace}/{name} or a Channel at /{namespace}/channels/{name}';

/** Decoded; `undefined` when that is impossible, or would make one segment two. */
function segmentsOf(path: string): string[] | undefined {
  if (!path.startsWith('/')) return undefined;
  try {
    const segments = path.replace(/\/$/, '').slice(1).split('/').map(decodeURIComponent);
    return segments.some((segment) => segment === '' || segment.includes('/'))
      ? undefined
      : segments;
  } catch {
    // The only thing that `decodeURIComponent` throws: a percent sign that stands for no byte of UTF-8.
    return undefined;
  }
}

function isAddressShape(segments: readonly string[]): boolean {
  return segments.length === 2 || (segments.length === 3 && segments[1] === 'channels');
}
