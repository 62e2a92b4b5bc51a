/** What stands behind each Service, from the EndpointSlices of its namespace that carry its name. */
import type { EndpointSlice, Service } from '../core/resources.ts';
import type { Endpoint, ServiceEndpoints } from '../core/topology.ts';

/** Keys are `namespace/name`. Services that are only another name for a host have no endpoints. */
export function compileServices(
  services: Iterable<Service>,
  slices: readonly EndpointSlice[],
): Map<string, ServiceEndpoints> {
  const byService = new Map<string, EndpointSlice[]>();
  for (const slice of slices) {
    const { namespace, labels } = slice.metadata;
    const key = `${namespace}/${labels['kubernetes.io/service-name'] ?? ''}`;
    byService.set(key, [...(byService.get(key) ?? []), slice]);
  }
  const compiled = new Map<string, ServiceEndpoints>();
  for (const service of services) {
    if (service.spec.type === 'ExternalName') continue;
    const key = `${service.metadata.namespace}/${service.metadata.name}`;
    compiled.set(key, { endpoints: compileEndpoints(service, byService.get(key) ?? []) });
  }
  return compiled;
}

/**
 * One endpoint an address and its ports: while slices are being rearranged an address may stand in two, and slices are
 * also split by port. Where one address has two ports for the same port of the Service, as on a laptop, these are two
 * endpoints. Source: Kubernetes, "EndpointSlices" (duplicate endpoints; only the first address of an endpoint is used).
 */
function compileEndpoints(service: Service, slices: readonly EndpointSlice[]): Endpoint[] {
  const endpoints: Endpoint[] = [];
  for (const { spec } of slices) {
    const ports = mapPorts(service, spec.ports);
    for (const { addresses, conditions } of spec.endpoints) {
      const [address] = addresses;
      if (address === undefined) continue;
      const isReady = conditions?.ready ?? true;
      const index = endpoints.findIndex(
        (each) => each.address === address && agree(each.ports, ports),
      );
      const known = endpoints[index];
      if (known) {
        const merged = { ...known.ports, ...ports };
        endpoints[index] = { address, ports: merged, isReady: isReady || known.isReady };
      } else {
        endpoints.push({ address, ports, isReady });
      }
    }
  }
  return endpoints;
}

/** Whether both may be ports of one endpoint: no port of the Service leads to two. */
function agree(a: Endpoint['ports'], b: Endpoint['ports']): boolean {
  return Object.entries(b).every(([port, at]) => (a[Number(port)] ?? at) === at);
}

/** Service port number -> port at the endpoints: the slice's port of the same name, or its only one if that has none. */
function mapPorts(
  service: Service,
  slicePorts: EndpointSlice['spec']['ports'],
): Record<number, number> {
  const [first, ...others] = slicePorts;
  const unnamed = others.length === 0 && !first?.name ? first : undefined;
  const ports: Record<number, number> = {};
  for (const { name = '', port } of service.spec.ports ?? []) {
    const match = slicePorts.find((each) => (each.name ?? '') === name) ?? unnamed;
    if (match?.port !== undefined) ports[port] = match.port;
  }
  return ports;
}
