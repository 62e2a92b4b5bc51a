/**
 * The pure core of the controller: from all resources of one moment to the Topology of that moment, and what to tell
 * the people who wrote them. No memory, no I/O: the same snapshot always gives the same result.
 *
 * A Broker or Channel becomes an ingress, a Trigger or Subscription an egress. An egress that has nowhere to take
 * events from or to bring them to is left out. One whose dead letter sink leads nowhere is not ready but runs on, and
 * what exhausts its retries is parked: a Service deleted by mistake must not lose events.
 */
import { strict as assert } from 'node:assert';
import type { Snapshot } from '../core/ports/resource-source.ts';
import {
  resourceId,
  type Broker,
  type Channel,
  type DeliverySpec,
  type Destination,
  type Resource,
  type Subscription,
  type Trigger,
} from '../core/resources.ts';
import type { Egress, Ingress, Target, Topology } from '../core/topology.ts';
import { annotation, annotationInfos } from './annotations.ts';
import { BROKER_DELIVERY_DEFAULT, compileDelivery } from './delivery.ts';
import { referenceId, resolve, targetOfIngress, type Places } from './destination.ts';
import { compileServices } from './endpoints.ts';
import { compileFilter } from './filters.ts';

export interface ReconcileOptions {
  readonly revision: number;
  readonly defaults: Pick<Ingress, 'eventMaxBytes' | 'attributesMaxBytes'> &
    /** One attempt of an egress whose delivery names no timeout. */
    Pick<Egress, 'timeoutMs'>;
  /** Where the door is reached: names Brokers in words and dead letters. Default: `http://localhost`. */
  readonly baseUrl?: string;
}

/** What a Broker, Channel, Trigger or Subscription is told about itself. */
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
}

export interface Reconciled {
  readonly topology: Topology;
  readonly statuses: readonly ResourceStatus[];
}

export function reconcile(snapshot: Snapshot, options: ReconcileOptions): Reconciled {
  const { resources } = snapshot;
  const doors = compileDoors(resources, options.defaults);
  const services = resources.filter((each) => each.kind === 'Service');
  const places: Places = {
    ingresses: new Map(doors.map(({ resource, ingress }) => [resourceId(resource), ingress])),
    services: new Map(services.map((each) => [resourceId(each), each])),
    hosts: new Map(doors.flatMap(({ ingress }) => ingress.hosts.map((host) => [host, ingress]))),
    baseUrl: options.baseUrl ?? 'http://localhost',
  };
  const parents = doors.map((door) => compileParent(door, places));
  const parentById = new Map(parents.map((parent) => [resourceId(parent.resource), parent]));
  const children = resources
    .filter((each) => each.kind === 'Trigger' || each.kind === 'Subscription')
    .map((resource) => compileEgress(resource, parentById, places, options.defaults));
  const egresses = children.flatMap(({ egress }) => egress ?? []);
  const slices = resources.filter((each) => each.kind === 'EndpointSlice');
  return {
    topology: {
      revision: options.revision,
      ingresses: new Map(doors.map(({ ingress }) => [ingress.id, ingress])),
      egresses: new Map(egresses.map((egress) => [egress.id, egress])),
      services: compileServices(services, slices),
    },
    statuses: compileStatuses([...parents, ...children], snapshot),
  };
}

/** A Broker or Channel, and the ingress it opens. */
interface Door {
  readonly resource: Broker | Channel;
  readonly ingress: Ingress;
}

/** What keeps a resource from being ready. */
interface Fault {
  readonly reason: string;
  readonly message: string;
}

/** A door as its Triggers or Subscriptions see it. */
interface Parent extends Door {
  readonly delivery: DeliverySpec | undefined;
  readonly deadLetter: DeadLetter;
  readonly fault: Fault | undefined;
}

interface Child {
  readonly resource: Trigger | Subscription;
  readonly egress?: Egress;
  readonly fault: Fault | undefined;
}

/** No sink at all is no fault; one that leads nowhere is. */
interface DeadLetter {
  readonly target?: Target;
  readonly fault?: Fault;
}

/** The more particular kind first: see `compileDoors`. */
const DOOR_KINDS: readonly string[] = ['Broker', 'KnearChannel', 'InMemoryChannel', 'Channel'];

/**
 * Knative puts a channel of some implementation behind every generic Channel, with the same name, and both have one
 * address; so it is here: what has the same path shares the ingress, which is that of the more particular kind.
 */
function compileDoors(
  resources: readonly Resource[],
  limits: ReconcileOptions['defaults'],
): Door[] {
  const byPath = new Map<string, Ingress>();
  return resources
    .filter((each): each is Broker | Channel => DOOR_KINDS.includes(each.kind))
    .toSorted((a, b) => DOOR_KINDS.indexOf(a.kind) - DOOR_KINDS.indexOf(b.kind))
    .map((resource) => {
      const own = compileIngress(resource, limits);
      const ingress = byPath.get(own.path) ?? own;
      byPath.set(ingress.path, ingress);
      return { resource, ingress };
    });
}

function compileIngress(
  resource: Broker | Channel,
  { eventMaxBytes, attributesMaxBytes }: ReconcileOptions['defaults'],
): Ingress {
  const { namespace, name } = resource.metadata;
  const isBroker = resource.kind === 'Broker';
  return {
    id: resourceId(resource),
    kind: isBroker ? 'broker' : 'channel',
    namespace,
    name,
    path: isBroker ? `/${namespace}/${name}` : `/${namespace}/channels/${name}`,
    // Names are in lower case already, by validation.
    hosts: isBroker ? [] : [`${name}-kn-channel.${namespace}.svc.cluster.local`],
    eventMaxBytes,
    attributesMaxBytes,
    isEarly: annotation('knear.dev/early-delivery', [resource]) === 'on',
  };
}

function compileParent(door: Door, places: Places): Parent {
  const { kind, spec, metadata } = door.resource;
  const delivery = spec.delivery ?? (kind === 'Broker' ? BROKER_DELIVERY_DEFAULT : undefined);
  const deadLetter = resolveDeadLetter(delivery?.deadLetterSink, metadata.namespace, places);
  return { ...door, delivery, deadLetter, fault: deadLetter.fault };
}

function compileEgress(
  resource: Trigger | Subscription,
  parents: ReadonlyMap<string, Parent>,
  places: Places,
  defaults: ReconcileOptions['defaults'],
): Child {
  const { kind, metadata, spec } = resource;
  const { namespace, name } = metadata;
  const parent = parentOf(resource, parents);
  if (parent === undefined) return { resource, fault: parentFault(resource) };
  const route = compileRoute(resource, parent, places);
  if ('reason' in route) return { resource, fault: route };
  const deadLetter =
    spec.delivery?.deadLetterSink === undefined
      ? parent.deadLetter
      : resolveDeadLetter(spec.delivery.deadLetterSink, namespace, places);
  const nearestFirst = [resource, parent.resource];
  const egress: Egress = {
    id: resourceId(resource),
    kind: kind === 'Trigger' ? 'trigger' : 'subscription',
    namespace,
    name,
    ingressId: parent.ingress.id,
    filter: kind === 'Trigger' ? compileFilter(spec) : { kind: 'everything' },
    ...route,
    ...(deadLetter.target && { deadLetter: deadLetter.target }),
    ...compileDelivery(spec.delivery, parent.delivery, defaults),
    order: annotation('knear.dev/order', nearestFirst),
    isPaused: annotation('knear.dev/paused', nearestFirst) === 'true',
    // A sink was asked for: while it leads nowhere, dropping is not what the user meant.
    exhausted: deadLetter.fault ? 'park' : annotation('knear.dev/exhausted', nearestFirst),
  };
  return { resource, egress, fault: parent.fault ?? deadLetter.fault };
}

/** The Broker of a Trigger, the Channel of a Subscription: a Subscription to a Broker is none. */
function parentOf(
  { kind, metadata, spec }: Trigger | Subscription,
  parents: ReadonlyMap<string, Parent>,
): Parent | undefined {
  const ref =
    kind === 'Subscription'
      ? spec.channel
      : { apiVersion: 'eventing.knative.dev/v1', kind: 'Broker', name: spec.broker };
  const parent = parents.get(referenceId(ref, metadata.namespace) ?? '');
  return parent?.ingress.kind === (kind === 'Subscription' ? 'channel' : 'broker')
    ? parent
    : undefined;
}

function parentFault({ kind, spec }: Trigger | Subscription): Fault {
  return kind === 'Trigger'
    ? { reason: 'BrokerDoesNotExist', message: `Broker ${spec.broker} does not exist` }
    : {
        reason: 'ChannelReferenceFailed',
        message: `there is no channel ${spec.channel.kind} ${spec.channel.name}`,
      };
}

/** A Trigger's replies go back to its Broker. A Subscription without subscriber passes events on as they are. */
function compileRoute(
  { kind, metadata, spec }: Trigger | Subscription,
  parent: Parent,
  places: Places,
): Pick<Egress, 'subscriber' | 'reply'> | Fault {
  const lead = (to: Destination | undefined) => to && resolve(to, metadata.namespace, places);
  const subscriber = lead(spec.subscriber);
  const reply = kind === 'Subscription' ? lead(spec.reply) : undefined;
  if (subscriber?.kind === 'unresolved') {
    return { reason: 'SubscriberResolveFailed', message: subscriber.detail };
  }
  if (reply?.kind === 'unresolved') return { reason: 'ReplyResolveFailed', message: reply.detail };
  const replyTarget =
    kind === 'Trigger' ? targetOfIngress(parent.ingress, places.baseUrl) : reply?.target;
  if (subscriber !== undefined) {
    return { subscriber: subscriber.target, ...(replyTarget && { reply: replyTarget }) };
  }
  assert(replyTarget, 'validation lets no Subscription pass that has neither subscriber nor reply');
  return { subscriber: replyTarget };
}

function resolveDeadLetter(
  sink: Destination | undefined,
  namespace: string,
  places: Places,
): DeadLetter {
  if (sink === undefined) return {};
  const resolved = resolve(sink, namespace, places);
  return resolved.kind === 'resolved'
    ? { target: resolved.target }
    : { fault: { reason: 'DeadLetterSinkResolveFailed', message: resolved.detail } };
}

/** One status a resource, those last of which no version was ever valid. */
function compileStatuses(
  judged: readonly (Parent | Child)[],
  { resources, problems }: Snapshot,
): ResourceStatus[] {
  const complaints = new Map<string, string[]>();
  for (const { resourceId: id = '', where, detail } of problems) {
    complaints.set(id, [...(complaints.get(id) ?? []), `${where}: ${detail}`]);
  }
  const statuses: ResourceStatus[] = judged.map(({ resource, fault, ...rest }) => {
    const id = resourceId(resource);
    const newer = (complaints.get(id) ?? []).map((text) => `another version is not used: ${text}`);
    return {
      resourceId: id,
      kind: resource.kind,
      isReady: fault === undefined,
      reason: fault?.reason ?? 'Ready',
      message: fault?.message ?? '',
      infos: [...newer, ...annotationInfos(resource)],
      ...('ingress' in rest && { address: rest.ingress.path }),
    };
  });
  const known = new Set(['', ...resources.map(resourceId)]);
  for (const [id, [message = '', ...infos]] of complaints) {
    if (known.has(id)) continue;
    const kind = id.slice(0, id.indexOf('/'));
    const reason = 'ManifestInvalid';
    statuses.push({ resourceId: id, kind, isReady: false, reason, message, infos });
  }
  return statuses;
}
