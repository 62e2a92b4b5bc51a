/** Brokers and Channels: the ingress that each opens, and what Triggers and Subscriptions inherit from it. */
import {
  isChannel,
  resourceId,
  type Broker,
  type Channel,
  type ConfigMap,
  type DeliverySpec,
  type Resource,
} from '../core/resources.ts';
import type { Egress, Ingress, Target } from '../core/topology.ts';
import { annotation, configured, type Annotated } from './annotations.ts';
import { BROKER_DELIVERY_DEFAULT } from './delivery.ts';
import { resolve, type Places } from './destination.ts';

/** What no resource says. */
export type Defaults = Pick<Ingress, 'eventMaxBytes' | 'attributesMaxBytes'> &
  /** One attempt of an egress whose delivery names no timeout. */
  Pick<Egress, 'timeoutMs'>;

/** A Broker or Channel, and the ingress it opens. */
export interface Door {
  readonly resource: Broker | Channel;
  readonly ingress: Ingress;
  /** Where annotations are looked up, the nearest first: the resource, then the ConfigMap that it names. */
  readonly annotated: readonly Annotated[];
  readonly delivery: DeliverySpec | undefined;
  /** What it names as its configuration and does not get. */
  readonly infos: readonly string[];
}

/** No sink at all is no fault; one that leads nowhere is. */
export interface DeadLetter {
  readonly target?: Target;
  /** Why it leads nowhere. */
  readonly fault?: string;
}

/** A door with its dead letter sink, which may be another door. */
export interface OpenDoor extends Door {
  readonly deadLetter: DeadLetter;
}

/** The more particular kind first: see `compileDoors`. */
const DOOR_KINDS: readonly string[] = ['Broker', 'KnearChannel', 'InMemoryChannel', 'Channel'];

/**
 * Knative puts a channel of some implementation behind every generic Channel, with the same name, and both have one
 * address; so it is here: what has the same path shares the ingress, which is that of the more particular kind.
 */
export function compileDoors(resources: readonly Resource[], defaults: Defaults): Door[] {
  const configs = new Map(
    resources.filter((each) => each.kind === 'ConfigMap').map((each) => [resourceId(each), each]),
  );
  const byPath = new Map<string, Ingress>();
  return resources
    .filter((each) => each.kind === 'Broker' || isChannel(each))
    .toSorted((a, b) => DOOR_KINDS.indexOf(a.kind) - DOOR_KINDS.indexOf(b.kind))
    .map((resource) => {
      const config = configOf(resource, configs);
      const annotated = [resource, ...(config?.annotated ?? [])];
      const own = compileIngress(resource, annotated, defaults);
      const ingress = byPath.get(own.path) ?? own;
      byPath.set(ingress.path, ingress);
      const inherited = resource.kind === 'Broker' ? BROKER_DELIVERY_DEFAULT : undefined;
      const delivery = resource.spec.delivery ?? inherited;
      return { resource, ingress, annotated, delivery, infos: config?.infos ?? [] };
    });
}

/** Marks a ConfigMap as ours, whatever is in it. */
export const CONFIG_LABEL = 'knear.dev/config';

/** Knative's webhook gives every Broker a ConfigMap for another class: that one is no fault, and says nothing here. */
function configOf(
  { kind, metadata, spec }: Broker | Channel,
  configs: ReadonlyMap<string, ConfigMap>,
): { readonly annotated: Annotated[]; readonly infos: string[] } | undefined {
  const config = kind === 'Broker' ? spec.config : undefined;
  if (!config) return undefined;
  const id = `${config.kind}/${config.namespace ?? metadata.namespace}/${config.name}`;
  const found = config.kind === 'ConfigMap' ? configs.get(id) : undefined;
  const own = found && configured(found);
  const isOurs =
    CONFIG_LABEL in (found?.metadata.labels ?? {}) ||
    Object.keys(own?.metadata.annotations ?? {}).length > 0;
  return own && isOurs
    ? { annotated: [own], infos: [] }
    : { annotated: [], infos: [`${id} says nothing to knear: defaults are used`] };
}

function compileIngress(
  resource: Broker | Channel,
  annotated: readonly Annotated[],
  { eventMaxBytes, attributesMaxBytes }: Defaults,
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
    isEarly: annotation('knear.dev/early-delivery', annotated) === 'on',
  };
}

export function openDoor(door: Door, places: Places): OpenDoor {
  const { namespace } = door.resource.metadata;
  return { ...door, deadLetter: resolveDeadLetter(door.delivery, namespace, places) };
}

export function resolveDeadLetter(
  delivery: DeliverySpec | undefined,
  namespace: string,
  places: Places,
): DeadLetter {
  if (delivery?.deadLetterSink === undefined) return {};
  const resolved = resolve(delivery.deadLetterSink, namespace, places);
  return resolved.kind === 'resolved' ? { target: resolved.target } : { fault: resolved.detail };
}
