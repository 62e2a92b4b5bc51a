/** Brokers and Channels: the ingress that each opens, and what Triggers and Subscriptions inherit from it. */
import type { ResourceProblem, Snapshot } from '../core/ports/resource-source.ts';
import {
  isChannel,
  resourceId,
  type Broker,
  type Channel,
  type ConfigMap,
  type DeliverySpec,
} from '../core/resources.ts';
import type { Egress, Ingress, Target, Topology } from '../core/topology.ts';
import {
  annotation,
  annotationFaults,
  claimsIn,
  configured,
  type Annotated,
  type Configured,
} from './annotations.ts';
import { limitsOf, type LimitDefaults, type Limits } from './claims.ts';
import { BROKER_DELIVERY_DEFAULT } from './delivery.ts';
import { resolve, type Places } from './destination.ts';
import { compileHops, type HopDefaults } from './hops.ts';

/** What no resource says. */
export type Defaults = LimitDefaults &
  /** One attempt of an egress whose delivery names no timeout. */
  Required<Pick<Egress, 'timeoutMs' | 'idleMs'>> &
  HopDefaults;

/** A Broker or Channel, and the ingress it opens. */
export interface Door {
  readonly resource: Broker | Channel;
  readonly ingress: Ingress;
  /** False: it takes no events, and its Triggers or Subscriptions keep those that they have (see `compileDoors`). */
  readonly isServed: boolean;
  /** Where annotations are looked up, the nearest first: the resource, then the ConfigMap that it names. */
  readonly annotated: readonly Annotated[];
  readonly delivery: DeliverySpec | undefined;
  /** What is wrong with its configuration, and what that means for now. */
  readonly faults: readonly string[];
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
 *
 * A door whose limits cannot be understood keeps those of before; where there are none, it is not served: events would be
 * taken under limits that nobody has chosen.
 * @param before the ingresses that were in force.
 */
export function compileDoors(
  { resources, problems }: Snapshot,
  { defaults, before }: { readonly defaults: Defaults; readonly before: Topology['ingresses'] },
): Door[] {
  const configs: Configs = {
    byId: new Map(
      resources.filter((each) => each.kind === 'ConfigMap').map((each) => [resourceId(each), each]),
    ),
    problems,
  };
  const byPath = new Map<string, Pick<Door, 'ingress' | 'isServed' | 'faults'>>();
  return resources
    .filter((each) => each.kind === 'Broker' || isChannel(each))
    .toSorted((a, b) => DOOR_KINDS.indexOf(a.kind) - DOOR_KINDS.indexOf(b.kind))
    .map((resource) => {
      const config = configOf(resource, configs);
      const annotated = [resource, ...(config.found ? [config.found.annotated] : [])];
      const { limits, ...judged } = judge(resource, config, { defaults, before });
      const own = { ...judged, ingress: compileIngress(resource, annotated, { limits, defaults }) };
      const shared = byPath.get(own.ingress.path) ?? own;
      byPath.set(own.ingress.path, shared);
      const inherited = resource.kind === 'Broker' ? BROKER_DELIVERY_DEFAULT : undefined;
      const delivery = resource.spec.delivery ?? inherited;
      return { resource, ...shared, annotated, delivery, infos: config.infos };
    });
}

interface Configs {
  readonly byId: ReadonlyMap<string, ConfigMap>;
  readonly problems: readonly ResourceProblem[];
}

interface Config {
  /** It is there, and says something to us. */
  readonly found?: Configured;
  /** It is there and cannot be read, so nobody knows what it says. */
  readonly fault?: string;
  readonly infos: readonly string[];
}

/** Knative's webhook gives every Broker a ConfigMap for another class: that one is no fault, and says nothing here. */
function configOf({ kind, metadata, spec }: Broker | Channel, { byId, problems }: Configs): Config {
  const config = kind === 'Broker' ? spec.config : undefined;
  if (!config) return { infos: [] };
  const id = `${config.kind}/${config.namespace ?? metadata.namespace}/${config.name}`;
  const written = config.kind === 'ConfigMap' ? byId.get(id) : undefined;
  const found = written && configured(written);
  if (found) return { found, infos: [] };
  const problem = written ? undefined : problems.find(({ resourceId: about }) => about === id);
  return problem
    ? { fault: `${id} is not valid: ${problem.where}: ${problem.detail}`, infos: [] }
    : { infos: [`${id} says nothing to knear: defaults are used`] };
}

/** What a door goes by. */
interface Judgement extends Pick<Door, 'isServed' | 'faults'> {
  readonly limits: Limits;
}

function judge(
  resource: Broker | Channel,
  { found, fault }: Config,
  { defaults, before }: { readonly defaults: Defaults; readonly before: Topology['ingresses'] },
): Judgement {
  const sources = [claimsIn(resource), ...(found ? [found.claims] : [])];
  const { limits, faults: wrong } = limitsOf(sources, defaults);
  const grave = fault === undefined ? wrong : [fault, ...wrong];
  const slight = found ? annotationFaults(found.annotated).map((each) => each.join(': ')) : [];
  if (grave.length === 0) return { limits, isServed: true, faults: slight };
  const last = before.get(resourceId(resource));
  const meanwhile = last ? 'the limits from before hold' : 'no event is taken or delivered';
  const faults = [...grave, `until that is right, ${meanwhile}`, ...slight];
  return { limits: last ?? limits, isServed: last !== undefined, faults };
}

function compileIngress(
  resource: Broker | Channel,
  annotated: readonly Annotated[],
  { limits, defaults }: { readonly limits: Limits; readonly defaults: HopDefaults },
): Ingress {
  const { eventMaxBytes, attributesMaxBytes, claims } = limits;
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
    claims,
    isEarly: annotation('knear.dev/early-delivery', annotated) === 'on',
    hops: compileHops(annotated, defaults),
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
