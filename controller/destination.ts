/**
 * Where a Destination leads: to an ingress of ours, to a Service and whoever stands behind it, or to a plain address.
 * Source: knative.dev/pkg, the resolver of duck/v1 Destinations.
 */
import type { Destination, KReference, Resource, Service } from '../core/resources.ts';
import { resourceId } from '../core/resources.ts';
import type { Ingress, Target } from '../core/topology.ts';

/** Everything of ours and of the snapshot that has an address. */
export interface Places {
  /** Resource id of a Broker, Channel, Sequence or Parallel -> where it takes events. */
  readonly ingresses: ReadonlyMap<string, Ingress>;
  /** Resource id of a Service -> it. */
  readonly services: ReadonlyMap<string, Service>;
  /** Host name -> the Channel that it leads to. */
  readonly hosts: ReadonlyMap<string, Ingress>;
  /** Path at the door -> what is served there. */
  readonly paths: ReadonlyMap<string, Ingress>;
  /** Where the door is reached. */
  readonly baseUrl: string;
}

export type Resolved =
  | { readonly kind: 'resolved'; readonly target: Target }
  | { readonly kind: 'unresolved'; readonly detail: string };

/** The group that a reference has to name for each kind that can be addressed. */
const GROUPS: ReadonlyMap<string, Resource['kind']> = new Map([
  ['v1/Service', 'Service'],
  // In a cluster there is a plain Service of the same name for each.
  ['serving.knative.dev/Service', 'Service'],
  ['eventing.knative.dev/Broker', 'Broker'],
  ['messaging.knative.dev/Channel', 'Channel'],
  ['messaging.knative.dev/InMemoryChannel', 'InMemoryChannel'],
  ['messaging.knear.dev/KnearChannel', 'KnearChannel'],
  ['flows.knative.dev/Sequence', 'Sequence'],
  ['flows.knative.dev/Parallel', 'Parallel'],
]);

/** @param namespace of the resource that has the Destination: the default for its reference. */
export function resolve(destination: Destination, namespace: string, places: Places): Resolved {
  const { ref, uri } = destination;
  if (ref === undefined) {
    return { kind: 'resolved', target: trusting(targetOfUri(uri ?? '', places), destination) };
  }
  const id = referenceId(ref, namespace);
  if (id === undefined) {
    return unresolved(`${ref.kind} of ${String(ref.apiVersion)} has no address that knear knows`);
  }
  const service = places.services.get(id);
  if (service !== undefined) return resolveService(service, destination);
  const ingress = places.ingresses.get(id);
  if (ingress === undefined) return unresolved(`${id} does not exist`);
  if (ref.address !== undefined && ref.address !== ADDRESS_NAME) {
    return unresolved(`address with name "${ref.address}" not found for ${id}`);
  }
  const target = targetOfIngress(ingress, places.baseUrl);
  if (uri === undefined) return { kind: 'resolved', target };
  const url = URL.parse(uri, target.url)?.href;
  if (url === undefined) return unresolved(`${uri} is not an address relative to ${target.url}`);
  return { kind: 'resolved', target: targetOfUri(url, places) };
}

/** The one address that our resources have. */
export const ADDRESS_NAME = 'http';

/** The resource id a reference stands for; `undefined` if its kind or group has no address here. */
export function referenceId(ref: KReference, namespace: string): string | undefined {
  const [group] = (ref.apiVersion ?? '').split('/');
  const kind = GROUPS.get(`${String(group)}/${ref.kind}`);
  const metadata = { namespace: ref.namespace || namespace, name: ref.name };
  return kind && resourceId({ kind, metadata: { ...metadata, labels: {}, annotations: {} } });
}

export function urlOfIngress({ path }: Ingress, baseUrl: string): string {
  return new URL(path, baseUrl).href;
}

export function targetOfIngress(ingress: Ingress, baseUrl: string): Target {
  return { kind: 'ingress', url: urlOfIngress(ingress, baseUrl), ingressId: ingress.id };
}

/**
 * As given, unless it is an address of ours: by the door's own, or by the host name of a Channel, which leads nowhere
 * but here.
 */
function targetOfUri(uri: string, places: Places): Target {
  const ingress = ingressAt(uri, places);
  return ingress ? targetOfIngress(ingress, places.baseUrl) : { kind: 'url', url: uri };
}

function ingressAt(uri: string, { hosts, paths, baseUrl }: Places): Ingress | undefined {
  const url = URL.parse(uri);
  if (url?.protocol !== 'http:' || url.search !== '') return undefined;
  if (url.origin === new URL(baseUrl).origin) return paths.get(url.pathname);
  const isBare = url.port === '' && url.pathname === '/';
  return isBare ? hosts.get(url.hostname) : undefined;
}

const HTTP_PORT = 80;
const HTTPS_PORT = 443;

/** Those of its ports that HTTP may be spoken at; HTTP/3 has the number of HTTPS once more, with UDP. */
export function tcpPorts({
  spec: { ports = [] },
}: Service): readonly NonNullable<Service['spec']['ports']>[number][] {
  return ports.filter(({ protocol = 'TCP' }) => protocol === 'TCP');
}

/** The ports at which a Service is ever called, see `resolveService`. */
export function calledPorts(service: Service): readonly number[] {
  const ports = tcpPorts(service).map(({ port }) => port);
  return ports.length > 0 ? ports : [HTTP_PORT, HTTPS_PORT];
}

/** Source: the resolver calls a Service by https where the Destination brings certificates, else by http. */
function resolveService(service: Service, destination: Destination): Resolved {
  const { metadata, spec } = service;
  const { namespace, name } = metadata;
  const { uri, CACerts } = destination;
  const [scheme, usual] =
    CACerts === undefined ? (['http', HTTP_PORT] as const) : (['https', HTTPS_PORT] as const);
  const ports = tcpPorts(service).map((each) => each.port);
  // Knative calls a Service at the usual port and nowhere else; with another port only, that one must be meant.
  const port = ports.includes(usual) ? usual : (ports[0] ?? usual);
  const isExternal = spec.type === 'ExternalName' && spec.externalName !== undefined;
  const host = isExternal ? spec.externalName : `${name}.${namespace}.svc.cluster.local`;
  const parsed = URL.parse(uri ?? '', `${scheme}://${host}:${String(port)}`);
  // Without a path there is none: `knativeerrordest` and statuses are compared to the letter.
  const url = uri === undefined ? parsed?.origin : parsed?.href;
  if (url === undefined) return unresolved(`${host} is not a host name that can be called`);
  const key = `${namespace}/${name}`;
  return {
    kind: 'resolved',
    target: trusting(
      isExternal ? { kind: 'url', url } : { kind: 'service', url, service: key, port },
      destination,
    ),
  };
}

/** A request to it trusts what the Destination names; where none is needed, there is nobody to trust. */
function trusting(target: Target, { CACerts }: Destination): Target {
  return target.kind === 'ingress' || CACerts === undefined
    ? target
    : { ...target, caCerts: CACerts };
}

function unresolved(detail: string): Resolved {
  return { kind: 'unresolved', detail };
}
