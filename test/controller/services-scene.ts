/** A Service `a` in `default` and what is around it, as a cluster writes them; for tests of what stands behind a Service. */
import { reconcile, type ReconcileOptions } from '../../controller/reconcile.ts';
import type { ServiceEndpoints, Topology } from '../../core/topology.ts';
import { CLAIMS } from '../fakes/claims.ts';
import { snapshotOf } from './manifests.ts';

export type Fields = Readonly<Record<string, unknown>>;

/** Selects something and has port 80. */
export function service(spec: Fields = {}, metadata: Fields = {}): Fields {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'a', ...metadata },
    spec: { ports: [{ port: 80 }], selector: { app: 'a' }, ...spec },
  };
}

/** Of the Service `a`, which is called at port 8080. */
export function slice(
  endpoints: readonly Fields[],
  more: Fields = {},
  metadata: Fields = {},
): Fields {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'a-1', labels: { 'kubernetes.io/service-name': 'a' }, ...metadata },
    addressType: 'IPv4',
    ports: [{ port: 8080 }],
    endpoints,
    ...more,
  };
}

/** The Pod `p1` with the UID `u1` at 10.0.0.1, or one of another number. */
export function pod(number = 1, status: Fields = {}, metadata: Fields = {}): Fields {
  const n = String(number);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `p${n}`, uid: `u${n}`, ...metadata },
    spec: { nodeName: `n${n}`, containers: [{ name: 'c', image: 'i' }] },
    status: { phase: 'Running', podIP: `10.0.0.${n}`, podIPs: [{ ip: `10.0.0.${n}` }], ...status },
  };
}

/** An endpoint at the Pod of that number. */
export function at(number = 1, more: Fields = {}, targetRef: Fields = {}): Fields {
  const n = String(number);
  return {
    addresses: [`10.0.0.${n}`],
    targetRef: { kind: 'Pod', namespace: 'default', name: `p${n}`, uid: `u${n}`, ...targetRef },
    ...more,
  };
}

export function named(kind: 'Node' | 'Namespace', name: string, metadata: Fields = {}): Fields {
  return {
    apiVersion: 'v1',
    kind,
    metadata: { name, ...metadata },
    spec: { podCIDR: '10.0.0.0/24' },
  };
}

type Options = Pick<ReconcileOptions, 'trust'>;

/** All of them have to be valid. */
export async function topologyOf(
  manifests: readonly Fields[],
  options: Options = {},
): Promise<Topology> {
  const text = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests });
  const snapshot = await snapshotOf(text);
  if (snapshot.problems.length > 0) throw new Error(JSON.stringify(snapshot.problems));
  return reconcile(snapshot, { revision: 1, defaults: DEFAULTS, ...options }).topology;
}

/** What stands behind the Service `a`. */
export async function behind(
  manifests: readonly Fields[],
  options: Options = {},
): Promise<ServiceEndpoints> {
  const { services } = await topologyOf(manifests, options);
  const found = services.get('default/a');
  if (!found) throw new Error('the Service is not in the Topology');
  return found;
}

export const DEFAULTS = {
  eventMaxBytes: 1000,
  attributesMaxBytes: 100,
  timeoutMs: 600_000,
  idleMs: 60_000,
  claims: CLAIMS,
  localHop: false,
};
