import type { Egress, Ingress } from '../../core/topology.ts';

/** `broker:orders.shop`, as Knative names destinations in metrics and traces. */
export function destinationOf({ kind, name, namespace }: Ingress | Egress): string {
  return `${kind}:${name}.${namespace}`;
}
