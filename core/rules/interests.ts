/** What a log is told about the egresses of a topology beforehand (`EventLog.prepare`). */
import type { Interest } from '../ports/event-log.ts';
import type { Egress, Topology } from '../topology.ts';
import { pinnedValues } from './filter.ts';

/** A server compares each event with every type that a durable names: of more, this process is the better judge. */
const TYPES_MAX = 16;

export function interestsOf(topology: Topology): Interest[] {
  return [...topology.egresses.values()].flatMap((egress) => interestOf(egress, topology) ?? []);
}

function interestOf(egress: Egress, { ingresses }: Topology): Interest | undefined {
  const ingress = ingresses.get(egress.ingressId);
  if (!ingress) return undefined;
  const types = pinnedValues(egress.filter, 'type');
  // The Channels of a namespace are many, and each of them is small.
  const pool = ingress.kind === 'channel' ? `channels/${ingress.namespace}` : undefined;
  const source = {
    ingressId: ingress.id,
    ...(pool !== undefined && { pool }),
    ...(types && types.length > 0 && types.length <= TYPES_MAX && { types }),
  };
  return { egressId: egress.id, isOrdered: egress.order === 'key', sources: [source] };
}
