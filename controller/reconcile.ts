/**
 * The pure core of the controller: from all resources of one moment to the Topology of that moment, and what to tell
 * the people who wrote them. No memory, no I/O: the same snapshot, after the same Topology, always gives the same result.
 *
 *   resources -> flows.ts: Sequences and Parallels as Channels and Subscriptions
 *             -> doors.ts: a Broker or Channel becomes an ingress
 *             -> ways.ts: a Trigger or Subscription becomes an egress
 *             -> services/: what stands behind each Service
 *             -> status/: what became of each
 */
import type { Snapshot } from '../core/ports/resource-source.ts';
import { resourceId, type Resource, type Secret } from '../core/resources.ts';
import { SECRET_NAME } from '../core/rules/filters/cesql/correlation.ts';
import type { Ingress, Topology } from '../core/topology.ts';
import { annotationInfos } from './annotations.ts';
import { type Places } from './destination.ts';
import { compileDoors, openDoor, type Defaults, type Door } from './doors.ts';
import { expandFlows, partsOf, type Flow } from './flows.ts';
import { compileServices } from './services/services.ts';
import type { Trust } from './services/trust.ts';
import { hint, readyOf, type Condition } from './status/conditions.ts';
import { Statuses, type Status } from './status/statuses.ts';
import { compileWay, type Way } from './ways.ts';

export interface ReconcileOptions {
  readonly revision: number;
  readonly defaults: Defaults;
  /** What was in force: limits that are wrong now stay as they were. Default: nothing. */
  readonly before?: Pick<Topology, 'ingresses'>;
  /** Where the door is reached: names Brokers and Channels in statuses and dead letters. Default: `http://localhost`. */
  readonly baseUrl?: string;
  /** Who has written the EndpointSlices: whoever runs knear, or anybody who may in a cluster. Default: `folder`. */
  readonly trust?: Trust;
}

/** What a Broker, Channel, Trigger, Subscription, Sequence or Parallel is told about itself. */
export interface ResourceStatus {
  readonly resourceId: string;
  readonly kind: string;
  readonly isReady: boolean;
  /** `Ready`, or why not: Knative's word where it has one. */
  readonly reason: string;
  readonly message: string;
  /** Hints that stop nothing: annotations that are not read, a newer version that is not valid. */
  readonly infos: readonly string[];
  /** The path at the door, of a Broker or Channel. */
  readonly address?: string;
  /** The whole of it, as Kubernetes would show it; absent where no version was ever valid. */
  readonly object?: StatusedResource;
}

export interface StatusedResource extends Pick<Resource, 'apiVersion' | 'kind' | 'metadata'> {
  readonly spec: object;
  readonly status: Status;
}

export interface Reconciled {
  readonly topology: Topology;
  /** Doors, then ways, then flows; last what was never valid. */
  readonly statuses: readonly ResourceStatus[];
}

export function reconcile(snapshot: Snapshot, options: ReconcileOptions): Reconciled {
  const { defaults, before = NOTHING, baseUrl = 'http://localhost', trust = 'folder' } = options;
  const { resources, flows } = expandFlows(snapshot.resources);
  const { problems } = snapshot;
  const closed = compileDoors({ resources, problems }, { defaults, before: before.ingresses });
  const places = placesOf(resources, { doors: closed, flows, baseUrl });
  const doors = closed.map((door) => openDoor(door, places));
  const doorsById = new Map(doors.map((door) => [resourceId(door.resource), door]));
  const ways = resources
    .filter((each) => each.kind === 'Trigger' || each.kind === 'Subscription')
    .map((resource) => compileWay(resource, { doors: doorsById, places, defaults }));
  const egresses = ways.flatMap(({ egress }) => egress ?? []);

  const statuses = new Statuses(baseUrl);
  const waysOf = new Map<Resource | undefined, Way[]>();
  for (const way of ways) {
    const resource = way.door?.resource;
    const others = waysOf.get(resource);
    if (others) others.push(way);
    else waysOf.set(resource, [way]);
  }
  for (const door of doors) {
    statuses.addDoor(door, waysOf.get(door.resource) ?? []);
  }
  const byId = new Map(resources.map((each) => [resourceId(each), each]));
  for (const way of ways) statuses.addWay(way, byId);
  for (const flow of flows) statuses.addFlow(flow);

  return {
    topology: {
      revision: options.revision,
      ingresses: new Map(
        doors.filter(({ isServed }) => isServed).map(({ ingress }) => [ingress.id, ingress]),
      ),
      egresses: new Map(egresses.map((egress) => [egress.id, egress])),
      services: compileServices(resources, { trust }),
      correlationKeys: correlationKeysOf(resources),
    },
    statuses: tell(
      [
        ...doors.map(({ resource, ingress, isServed, infos }) => ({
          resource,
          ...(isServed && { address: ingress.path }),
          infos,
        })),
        ...ways.map(({ resource }) => ({ resource })),
        ...flows.map(({ resource }) => ({ resource })),
      ],
      statuses,
      snapshot,
    ),
  };
}

const NOTHING: Pick<Topology, 'ingresses'> = { ingresses: new Map() };

function placesOf(
  resources: readonly Resource[],
  {
    doors,
    flows,
    baseUrl,
  }: {
    readonly doors: readonly Door[];
    readonly flows: readonly Flow[];
    readonly baseUrl: string;
  },
): Places {
  const ingresses = new Map(doors.map(({ resource, ingress }) => [resourceId(resource), ingress]));
  for (const flow of flows) {
    // A flow takes events where its first channel does.
    const [first] = partsOf(flow);
    const ingress = first && ingresses.get(resourceId(first));
    if (ingress) ingresses.set(resourceId(flow.resource), ingress);
  }
  const all: Ingress[] = doors.map(({ ingress }) => ingress);
  return {
    ingresses,
    services: new Map(
      resources.filter((each) => each.kind === 'Service').map((each) => [resourceId(each), each]),
    ),
    hosts: new Map(all.flatMap((ingress) => ingress.hosts.map((host) => [host, ingress]))),
    paths: new Map(all.map((ingress) => [ingress.path, ingress])),
    baseUrl,
  };
}

/** Where Knative keeps the keys of RequestReply. Source: Knative Eventing, pkg/requestreply. */
const SYSTEM_NAMESPACE = 'knative-eventing';

function correlationKeysOf(resources: readonly Resource[]): ReadonlyMap<string, string> {
  const secret = resources.find(
    (each): each is Secret =>
      each.kind === 'Secret' &&
      each.metadata.name === SECRET_NAME &&
      each.metadata.namespace === SYSTEM_NAMESPACE,
  );
  return new Map(Object.entries(secret?.spec.data ?? {}));
}

interface Told {
  readonly resource: Resource;
  readonly address?: string;
  readonly infos?: readonly string[];
}

/** One status a resource, those last of which no version was ever valid. */
function tell(
  told: readonly Told[],
  statuses: Statuses,
  { resources, problems }: Snapshot,
): ResourceStatus[] {
  const complaints = new Map<string, string[]>();
  for (const { resourceId: id = '', where, detail } of problems) {
    complaints.set(id, [...(complaints.get(id) ?? []), `${where}: ${detail}`]);
  }
  const known = told.flatMap(({ resource, address, infos: own = [] }) => {
    const id = resourceId(resource);
    const status = statuses.get(id);
    if (!status) return [];
    const newer = (complaints.get(id) ?? []).map((text) => `another version is not used: ${text}`);
    const infos = [...newer, ...annotationInfos(resource), ...own];
    return [statusOf(resource, { status, infos, address })];
  });
  const ids = new Set(['', ...resources.map(resourceId)]);
  const invalid = [...complaints]
    .filter(([id]) => !ids.has(id))
    .map(([id, [message = '', ...infos]]) => {
      const kind = id.slice(0, id.indexOf('/'));
      return { resourceId: id, kind, isReady: false, reason: 'ManifestInvalid', message, infos };
    });
  return [...known, ...invalid];
}

function statusOf(
  resource: Resource,
  { status, infos, address }: { status: Status; infos: string[]; address: string | undefined },
): ResourceStatus {
  const { apiVersion, kind, metadata, spec } = resource;
  const ready = readyOf(status.conditions);
  const hints: Condition[] = infos.length > 0 ? [hint(infos.join('; '))] : [];
  return {
    resourceId: resourceId(resource),
    kind,
    isReady: ready.status === 'True',
    reason: ready.reason ?? (ready.status === 'True' ? 'Ready' : 'NotReady'),
    message: ready.message ?? '',
    infos,
    ...(address !== undefined && { address }),
    object: {
      apiVersion,
      kind,
      metadata,
      spec,
      status: { ...status, conditions: [...status.conditions, ...hints] },
    },
  };
}
