/**
 * Triggers and Subscriptions: the egress of each, or what keeps it from being one.
 *
 * An egress that has nowhere to take events from or to bring them to is left out. One whose dead letter sink leads
 * nowhere is not ready but runs on, and what exhausts its retries is parked: a Service deleted by mistake must not lose
 * events.
 */
import {
  resourceId,
  type Destination,
  type Subscription,
  type Trigger,
} from '../core/resources.ts';
import type { Egress } from '../core/topology.ts';
import { annotation } from './annotations.ts';
import { compileDelivery } from './delivery.ts';
import {
  referenceId,
  resolve,
  targetOfIngress,
  type Places,
  type Resolved,
} from './destination.ts';
import { resolveDeadLetter, type DeadLetter, type Defaults, type OpenDoor } from './doors.ts';
import { compileFilter } from './filters.ts';
import { compileHops } from './hops.ts';

export interface Way {
  readonly resource: Trigger | Subscription;
  /** The Broker or Channel; absent: there is none. */
  readonly door: OpenDoor | undefined;
  readonly subscriber: Resolved;
  /** Of a Subscription. */
  readonly reply: Resolved | undefined;
  /** Its own, else that of the door. */
  readonly deadLetter: DeadLetter;
  readonly egress: Egress | undefined;
}

export function compileWay(
  resource: Trigger | Subscription,
  options: {
    readonly doors: ReadonlyMap<string, OpenDoor>;
    readonly places: Places;
    readonly defaults: Defaults;
  },
): Way {
  const { doors, places, defaults } = options;
  const { kind, metadata, spec } = resource;
  const { namespace } = metadata;
  const lead = (to: Destination) => resolve(to, namespace, places);
  const door = doorOf(resource, doors);
  const deadLetter =
    spec.delivery?.deadLetterSink === undefined
      ? (door?.deadLetter ?? {})
      : resolveDeadLetter(spec.delivery, namespace, places);
  const way: Way = {
    resource,
    door,
    subscriber: lead(spec.subscriber),
    reply: kind === 'Subscription' && spec.reply ? lead(spec.reply) : undefined,
    deadLetter,
    egress: undefined,
  };
  const route = door && compileRoute(way, door, places);
  return door && route ? { ...way, egress: compileEgress(way, { door, route, defaults }) } : way;
}

function compileEgress(
  { resource, deadLetter }: Way,
  { door, route, defaults }: { door: OpenDoor; route: Route; defaults: Defaults },
): Egress {
  const { kind, metadata, spec } = resource;
  const nearestFirst = [resource, ...door.annotated];
  return {
    id: resourceId(resource),
    kind: kind === 'Trigger' ? 'trigger' : 'subscription',
    namespace: metadata.namespace,
    name: metadata.name,
    ingressId: door.ingress.id,
    filter: kind === 'Trigger' ? compileFilter(spec) : { kind: 'everything' },
    ...route,
    ...(deadLetter.target && { deadLetter: deadLetter.target }),
    ...compileDelivery(spec.delivery, door.delivery, defaults),
    claims: door.ingress.claims,
    order: annotation('knear.dev/order', nearestFirst),
    // Not dropped, as without a Broker or channel: what waits may be delivered under limits that somebody has chosen.
    isPaused: !door.isServed || annotation('knear.dev/paused', nearestFirst) === 'true',
    // A sink was asked for: while it leads nowhere, dropping is not what the user meant.
    exhausted:
      deadLetter.fault === undefined ? annotation('knear.dev/exhausted', nearestFirst) : 'park',
    placement: annotation('knear.dev/placement', nearestFirst),
    hops: compileHops(nearestFirst, defaults),
  };
}

/** The Broker of a Trigger, the Channel of a Subscription: a Subscription to a Broker is none. */
function doorOf(
  { kind, metadata, spec }: Trigger | Subscription,
  doors: ReadonlyMap<string, OpenDoor>,
): OpenDoor | undefined {
  const ref =
    kind === 'Subscription'
      ? spec.channel
      : { apiVersion: 'eventing.knative.dev/v1', kind: 'Broker', name: spec.broker };
  const door = doors.get(referenceId(ref, metadata.namespace) ?? '');
  return door?.ingress.kind === (kind === 'Subscription' ? 'channel' : 'broker') ? door : undefined;
}

type Route = Pick<Egress, 'subscriber' | 'reply'>;

/** A Trigger's replies go back to its Broker. */
function compileRoute(
  { resource, subscriber, reply }: Way,
  door: OpenDoor,
  places: Places,
): Route | undefined {
  if (subscriber.kind === 'unresolved' || reply?.kind === 'unresolved') return undefined;
  const replyTarget =
    resource.kind === 'Trigger' ? targetOfIngress(door.ingress, places.baseUrl) : reply?.target;
  return { subscriber: subscriber.target, ...(replyTarget && { reply: replyTarget }) };
}
