/**
 * Where a Destination leads: to an ingress of ours, to a Service and whoever stands behind it, or to a plain address.
 * Source: knative.dev/pkg, the resolver of duck/v1 Destinations.
 */
import type { Destination, KReference, Resource, Service } from '../core/resources.ts';
import { resourceId } from '../core/resources.ts';
import type { Ingress, Target } from '../core/topology.ts';

/** Everything of ours and of the snapshot that has an address. */
export interface Places {
  /** Resource id of a Broker or Channel -> its ingress. */
  readonly ingresses: ReadonlyMap<string, Ingress>;
  /** Resource id of a Service -> it. */
  readonly services: ReadonlyMap<string, Service>;
  /** Host name -> the Channel that it leads to. */
  readonly hosts: ReadonlyMap<string, Ingress>;
  /** Where the door is reached; Brokers are named by it. */
  readonly baseUrl: string;
}

export type Resolved =
  | { readonly kind: 'resolved'; readonly target: Target }
  | { readonly kind: 'unresolved'; readonly detail: string };

/** The group that a reference has to name for each kind that can be addressed. */
const GROUPS: ReadonlyMap<string, Resource['kind']> = new Map([
  ['v1/Service', 'Service'],
  ['eventing.knative.dev/Broker', 'Broker'],
  ['messaging.knative.dev/Channel', 'Channel'],
  ['messaging.knative.dev/InMemoryChannel', 'InMemoryChannel'],
  ['messaging.knear.dev/KnearChannel', 'KnearChannel'],
]);

/** @param namespace of the resource that has the Destination: the default for its reference. */
export function resolve({ ref, uri }: Destination, namespace: string, places: Places): Resolved {
  if (ref === undefined) return { kind: 'resolved', target: targetOfUri(uri ?? '', places) };
  const id = referenceId(ref, namespace);
  if (id === undefined) {
    return unresolved(`${ref.kind} of ${String(ref.apiVersion)} has no address that knear knows`);
  }
  const service = places.services.get(id);
  if (service !== undefined) return resolveService(service, uri);
  const ingress = places.ingresses.get(id);
  if (ingress === undefined) return unresolved(`${id} does not exist`);
  // A path relative to a Broker's or Channel's address names nothing at our door.
  if (uri !== undefined)
    return unresolved(`${id} takes events at its own address only, not ${uri}`);
  return { kind: 'resolved', target: targetOfIngress(ingress, places.baseUrl) };
}

/** The resource id a reference stands for; `undefined` if its kind or group has no address here. */
export function referenceId(ref: KReference, namespace: string): string | undefined {
  const [group] = (ref.apiVersion ?? '').split('/');
  const kind = GROUPS.get(`${String(group)}/${ref.kind}`);
  const metadata = { namespace: ref.namespace ?? namespace, name: ref.name };
  return kind && resourceId({ kind, metadata: { ...metadata, labels: {}, annotations: {} } });
}

export function targetOfIngress(ingress: Ingress, baseUrl: string): Target {
  const [host] = ingress.hosts;
  const url = host === undefined ? new URL(ingress.path, baseUrl).href : `http://${host}/`;
  return { kind: 'ingress', url, ingressId: ingress.id };
}

/** As given, unless it is the address of a Channel of ours by its host name, which leads nowhere but here. */
function targetOfUri(uri: string, places: Places): Target {
  const url = URL.parse(uri);
  const isBare = url?.protocol === 'http:' && url.port === '' && url.pathname + url.search === '/';
  const ingress = isBare ? places.hosts.get(url.hostname) : undefined;
  return ingress ? targetOfIngress(ingress, places.baseUrl) : { kind: 'url', url: uri };
}

function resolveService({ metadata, spec }: Service, uri = '/'): Resolved {
  const { namespace, name } = metadata;
  const ports = (spec.ports ?? []).map((each) => each.port);
  // Knative calls a Service at port 80 and nowhere else; with another port only, that one must be meant.
  const port = ports.includes(80) ? 80 : (ports[0] ?? 80);
  const isExternal = spec.type === 'ExternalName' && spec.externalName !== undefined;
  const host = isExternal ? spec.externalName : `${name}.${namespace}.svc.cluster.local`;
  const url = URL.parse(uri, `http://${host}:${String(port)}`)?.href;
  if (url === undefined) return unresolved(`${host} is not a host name that can be called`);
  const service = `${namespace}/${name}`;
  return {
    kind: 'resolved',
    target: isExternal ? { kind: 'url', url } : { kind: 'service', url, service, port },
  };
}

function unresolved(detail: string): Resolved {
  return { kind: 'unresolved', detail };
}
