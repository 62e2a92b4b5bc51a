/**
 * What stands behind each Service: the endpoints of the EndpointSlices of its namespace that carry its name, with the Pod,
 * Node and zone of each, or why nobody may choose among them.
 *
 *   Service -> declines.ts, mesh.ts: whether one may be chosen at all
 *   slices  -> trust.ts: which endpoints are what they say
 *           -> identities.ts: which Pod each is, once all that claim to be one are known
 *           -> endpoints.ts: one endpoint an address
 *
 * Every resource is looked at a fixed number of times: slices and Pods change all the time, and all are compiled anew.
 */
import type { EndpointSlice, Resource, Service, SliceEndpoint } from '../../core/resources.ts';
import type { Declined, ServiceEndpoints } from '../../core/topology.ts';
import { declinedBy } from './declines.ts';
import { mergeEndpoints, portsOf, readinessOf, type Candidate } from './endpoints.ts';
import { Identities } from './identities.ts';
import { surroundingsOf, type Surroundings } from './surroundings.ts';
import { judge, type Judgement, type Trust } from './trust.ts';

/** Keys are `namespace/name`. Services that are only another name for a host have no endpoints. */
export function compileServices(
  resources: readonly Resource[],
  { trust }: { readonly trust: Trust },
): Map<string, ServiceEndpoints> {
  const slices = slicesByService(resources);
  const surroundings = surroundingsOf(resources, slices.get(API_SERVER) ?? []);
  const identities = new Identities(surroundings.pods);
  const drafts = new Map<string, Draft>();
  for (const resource of resources) {
    if (resource.kind !== 'Service' || resource.spec.type === 'ExternalName') continue;
    const key = keyOf(resource.metadata.namespace, resource.metadata.name);
    const draft = draftOf(resource, slices.get(key) ?? [], { surroundings, trust });
    drafts.set(key, draft);
    for (const { address, claim } of draft.candidates) identities.add(address, claim);
  }
  return new Map(
    [...drafts].map(([key, { candidates, declined }]) => [
      key,
      declined === undefined
        ? { endpoints: mergeEndpoints(candidates, identities) }
        : { endpoints: [], declined },
    ]),
  );
}

/** The Service by which Pods reach the API server. */
const API_SERVER = 'default/kubernetes';

function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

/** Slices of host names are none: they are not to be called by those who look for addresses. */
function slicesByService(resources: readonly Resource[]): ReadonlyMap<string, EndpointSlice[]> {
  const byService = new Map<string, EndpointSlice[]>();
  for (const resource of resources) {
    if (resource.kind !== 'EndpointSlice' || resource.spec.addressType === 'FQDN') continue;
    const { namespace, labels } = resource.metadata;
    const key = keyOf(namespace, labels['kubernetes.io/service-name'] ?? '');
    const others = byService.get(key);
    if (others) others.push(resource);
    else byService.set(key, [resource]);
  }
  return byService;
}

/** A Service before it is known which Pod each endpoint is. */
interface Draft {
  /** None where it is declined. */
  readonly candidates: readonly Candidate[];
  readonly declined?: Declined;
}

function draftOf(
  service: Service,
  slices: readonly EndpointSlice[],
  options: { readonly surroundings: Surroundings; readonly trust: Trust },
): Draft {
  const { surroundings, trust } = options;
  const { namespace } = service.metadata;
  const declined = declinedBy(service, trust);
  if (declined !== undefined) return { candidates: [], declined };
  const mayBeMeshed = trust === 'cluster';
  if (mayBeMeshed && surroundings.meshed.has(namespace))
    return { candidates: [], declined: 'mesh' };
  const judged = slices.map((slice) => ({
    slice,
    places: slice.spec.endpoints.map((endpoint) => {
      return { endpoint, judgement: judge(endpoint, { namespace, surroundings, trust }) };
    }),
  }));
  const places = judged.flatMap((each) => each.places);
  if (mayBeMeshed && places.some(isMeshed)) return { candidates: [], declined: 'mesh' };
  if (places.some(isUntrusted)) return { candidates: [], declined: 'untrusted' };
  return {
    candidates: judged
      .filter(({ slice }) => isOfFamily(slice, service))
      .flatMap(({ slice, places: ofSlice }) => {
        const ports = portsOf(service, slice);
        return ofSlice.flatMap((place) => candidateAt(place, ports, surroundings));
      }),
  };
}

interface Place {
  readonly endpoint: SliceEndpoint;
  readonly judgement: Judgement;
}

function isMeshed({ judgement }: Place): boolean {
  return judgement.kind !== 'untrusted' && judgement.pod?.isMeshed === true;
}

function isUntrusted({ judgement }: Place): boolean {
  return judgement.kind === 'untrusted';
}

function candidateAt(
  { endpoint, judgement }: Place,
  ports: Candidate['ports'],
  { zones }: Surroundings,
): Candidate[] {
  const isReady = readinessOf(endpoint);
  if (judgement.kind !== 'taken' || isReady === undefined) return [];
  const { address, claim, pod } = judgement;
  const node = pod?.node || endpoint.nodeName;
  return [{ address, ports, isReady, claim, node, zone: endpoint.zone || zones.get(node ?? '') }];
}

/** Of a Service with two families, those who call its address are led to endpoints of that address's family. */
function isOfFamily({ spec: { addressType } }: EndpointSlice, { spec }: Service): boolean {
  const [family] = spec.ipFamilies ?? [];
  return addressType === undefined || family === undefined || addressType === family;
}
