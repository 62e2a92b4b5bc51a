/**
 * Whether a Namespace or a Pod is in a service mesh. There, the Service's own address is what the mesh routes, encrypts
 * and authorizes by; a request that goes to the Pod itself would go past that, or be refused.
 *
 * Any sign will do, also where a Pod of a Namespace is said to stay out: to call the Service is never wrong.
 * Source: Istio, "Installing the Sidecar", "Add workloads to the mesh" (ambient); Linkerd, "Automatic Proxy Injection".
 */
import type { Namespace, Pod } from '../../core/resources.ts';

interface Sign {
  readonly kinds: readonly (Pod | Namespace)['kind'][];
  readonly in: 'labels' | 'annotations';
  readonly key: string;
  /** Absent: any. */
  readonly values?: readonly string[];
}

const BOTH = ['Namespace', 'Pod'] as const;

const SIGNS: readonly Sign[] = [
  { kinds: ['Namespace'], in: 'labels', key: 'istio-injection', values: ['enabled'] },
  { kinds: BOTH, in: 'labels', key: 'istio.io/rev' },
  { kinds: ['Pod'], in: 'labels', key: 'sidecar.istio.io/inject', values: ['true'] },
  { kinds: ['Pod'], in: 'annotations', key: 'sidecar.istio.io/inject', values: ['true'] },
  { kinds: ['Pod'], in: 'annotations', key: 'sidecar.istio.io/status' },
  { kinds: BOTH, in: 'labels', key: 'istio.io/dataplane-mode', values: ['ambient'] },
  { kinds: BOTH, in: 'annotations', key: 'linkerd.io/inject', values: ['enabled', 'ingress'] },
  { kinds: ['Pod'], in: 'labels', key: 'linkerd.io/control-plane-ns' },
];

export function isMeshed({ kind, metadata }: Pick<Pod | Namespace, 'kind' | 'metadata'>): boolean {
  return SIGNS.some(({ kinds, in: place, key, values }) => {
    const value = metadata[place][key];
    if (value === undefined || !kinds.includes(kind)) return false;
    return values?.includes(value) ?? true;
  });
}
