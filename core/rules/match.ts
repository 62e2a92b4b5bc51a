/**
 * Which egresses of an ingress want an event.
 *
 * L8 An event costs what the egresses cost that may want it, not what there are: a thousand Triggers of which one matches
 * are about as cheap as one. Most filters pin an exact `type`, `source` or both; those egresses are found by lookup, the
 * others are asked one by one. The index only chooses whom to ask: every candidate's whole filter still decides.
 *
 *        event --type----> [pinned to this type]  --source--> [and to this source] [any source]   each list in
 *              \---------> [any type]             --source--> [to this source]     [any source]   topology order
 *
 * Compiled anew for each topology, and immutable.
 */
import type { CloudEvent } from '../event.ts';
import { attributeText } from '../event.ts';
import type { Match, MatchResult } from '../ports/event-log.ts';
import type { Egress, Filter, Topology } from '../topology.ts';
import { compileFilter, pinnedValues } from './filter.ts';

/** Egress ids come in the order of `topology.egresses`. An ingress that is not in the topology matches nothing. */
export function compileMatch(topology: Topology): Match {
  const indexes = new Map<string, Index>();
  for (const [id, { isEarly }] of topology.ingresses) {
    indexes.set(id, { isEarly, byType: new Map(), anyType: { anySource: [] } });
  }
  let rank = 0;
  for (const egress of topology.egresses.values()) {
    const index = indexes.get(egress.ingressId);
    if (index === undefined) continue;
    const wants = compileFilter(egress.filter, topology);
    const isOrdered = egress.order === 'key';
    add(index, egress, { egressId: egress.id, rank: rank++, isOrdered, wants });
  }
  return (ingressId, event) => {
    const index = indexes.get(ingressId);
    return index === undefined ? NOTHING : find(index, event);
  };
}

const NOTHING: MatchResult = { egressIds: [], isEarly: false };

/** The egresses of one ingress. */
interface Index {
  readonly isEarly: boolean;
  readonly byType: Map<string, Shelf>;
  readonly anyType: Shelf;
}

/** Egresses that agree about the type. */
interface Shelf {
  /** Absent until needed: with 10,000 types there are 10,000 shelves, and few of them look at the source. */
  bySource?: Map<string, Candidate[]>;
  readonly anySource: Candidate[];
}

interface Candidate {
  readonly egressId: string;
  /** Its place in the topology. */
  readonly rank: number;
  readonly isOrdered: boolean;
  readonly wants: (event: CloudEvent) => boolean;
}

function add(index: Index, { filter }: Egress, candidate: Candidate): void {
  const { types, sources } = pinsOf(filter);
  const shelves = types?.map((type) => getOrAdd(index.byType, type, newShelf)) ?? [index.anyType];
  for (const shelf of shelves) {
    const lists = sources?.map((source) => listOf(shelf, source)) ?? [shelf.anySource];
    for (const list of lists) list.push(candidate);
  }
}

/** Several types times several sources would make the index larger than the filters, so then the type has to do. */
function pinsOf(filter: Filter): { types?: readonly string[]; sources?: readonly string[] } {
  const types = pinnedValues(filter, 'type');
  const sources = pinnedValues(filter, 'source');
  if (types === undefined) return sources === undefined ? {} : { sources };
  const isProduct = types.length > 1 && (sources?.length ?? 0) > 1;
  return sources === undefined || isProduct ? { types } : { types, sources };
}

function listOf(shelf: Shelf, source: string): Candidate[] {
  shelf.bySource ??= new Map();
  return getOrAdd(shelf.bySource, source, () => []);
}

function newShelf(): Shelf {
  return { anySource: [] };
}

function getOrAdd<Value>(map: Map<string, Value>, key: string, create: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) {
    value = create();
    map.set(key, value);
  }
  return value;
}

function find(index: Index, event: CloudEvent): MatchResult {
  // Every event has both; nothing is pinned to an empty text.
  const type = attributeText(event, 'type') ?? '';
  const source = attributeText(event, 'source') ?? '';
  const found: Candidate[] = [];
  collect(index.byType.get(type), source, event, found);
  collect(index.anyType, source, event, found);
  // Up to four ascending lists, one after the other.
  if (found.length > 1) found.sort((one, other) => one.rank - other.rank);
  return {
    egressIds: found.map(({ egressId }) => egressId),
    isEarly: index.isEarly && !found.some(({ isOrdered }) => isOrdered),
  };
}

function collect(
  shelf: Shelf | undefined,
  source: string,
  event: CloudEvent,
  found: Candidate[],
): void {
  if (shelf === undefined) return;
  collectFrom(shelf.bySource?.get(source), event, found);
  collectFrom(shelf.anySource, event, found);
}

function collectFrom(
  candidates: readonly Candidate[] | undefined,
  event: CloudEvent,
  found: Candidate[],
): void {
  if (candidates === undefined) return;
  for (const candidate of candidates) if (candidate.wants(event)) found.push(candidate);
}
