/**
 * What each resource is told about itself: the `status` that Knative's controllers would write, word for word where they
 * have words for it, so that people, scripts and `kubectl wait` find what they know.
 *
 * Where knear runs on although something is wrong (a dead letter sink that leads nowhere), the status says so all the same.
 * Sources: Knative Eventing, pkg/apis/{eventing,messaging,flows}/v1/*_lifecycle.go and the reconcilers that call them.
 */
import {
  resourceId,
  type Channel,
  type Destination,
  type KReference,
  type Resource,
} from '../../core/resources.ts';
import { ADDRESS_NAME, urlOfIngress, type Resolved } from '../destination.ts';
import type { DeadLetter, OpenDoor } from '../doors.ts';
import { templateOf, type Flow, type ParallelFlow, type SequenceFlow } from '../flows.ts';
import type { Way } from '../ways.ts';
import {
  isFalse,
  isTrue,
  isUnknown,
  like,
  readyOf,
  withReady,
  type Condition,
  type Reason,
} from './conditions.ts';

/** As in a resource of Kubernetes. */
export interface Status {
  readonly observedGeneration: number;
  readonly conditions: readonly Condition[];
  readonly [field: string]: unknown;
}

/** All statuses of one moment, by resource id. */
export class Statuses {
  readonly #byId = new Map<string, Status>();
  readonly #baseUrl: string;

  constructor(baseUrl: string) {
    this.#baseUrl = baseUrl;
  }

  get(id: string): Status | undefined {
    return this.#byId.get(id);
  }

  /** Before the ways that begin at it. @param ways the Subscriptions of a Channel. */
  addDoor(door: OpenDoor, ways: readonly Way[]): void {
    const { resource, ingress, isServed, deadLetter, delivery } = door;
    const address = { name: ADDRESS_NAME, url: urlOfIngress(ingress, this.#baseUrl) };
    const conditions = [
      ...(resource.kind === 'Broker' ? BROKER_CONDITIONS : channelConditions(resource)),
      ...configConditions(door),
      isServed ? isTrue('Addressable') : isFalse('Addressable', configInvalid(door.faults)),
      deadLetterCondition(deadLetter),
      EVENT_POLICIES_READY,
    ];
    this.#add(resource, conditions, {
      ...(isServed && { address }),
      ...deadLetterFields(deadLetter, delivery?.deadLetterSink),
      ...(resource.kind === 'Channel' && { channel: backingOf(resource) }),
      ...(resource.kind !== 'Broker' && ways.length > 0 && { subscribers: ways.map(subscriberOf) }),
    });
  }

  addWay(way: Way, resources: ReadonlyMap<string, Resource>): void {
    const { resource, door, deadLetter } = way;
    const sink = resource.spec.delivery?.deadLetterSink ?? door?.delivery?.deadLetterSink;
    const sinkFields = deadLetterFields(deadLetter, sink);
    if (resource.kind === 'Trigger') {
      const broker = door && this.get(resourceId(door.resource));
      const conditions = triggerConditions(way, broker && readyOf(broker.conditions), resources);
      const subscriber = addressFields('subscriber', way.subscriber, resource.spec.subscriber);
      this.#add(resource, conditions, broker ? { ...subscriber, ...sinkFields } : {});
      return;
    }
    const fields = {
      ...addressFields('subscriber', way.subscriber, resource.spec.subscriber),
      ...addressFields('reply', way.reply, resource.spec.reply),
      ...sinkFields,
    };
    this.#add(resource, subscriptionConditions(way), {
      ...(Object.keys(fields).length > 0 && { physicalSubscription: fields }),
    });
  }

  /** After its parts. */
  addFlow(flow: Flow): void {
    if (flow.kind === 'Sequence') this.#addSequence(flow);
    else this.#addParallel(flow);
  }

  #addSequence({ resource, channels, subscriptions, conflicts }: SequenceFlow): void {
    const channelStatuses = channels.map((part) => this.#partStatus('channel', part));
    const subscriptionStatuses = subscriptions.map((part) =>
      this.#partStatus('subscription', part),
    );
    const conditions = this.#flowConditions({
      channelStatuses,
      subscriptionStatuses,
      conflicts,
      unready: 'Unknown',
    });
    const { url } = this.#addressOf(channels[0]) ?? {};
    this.#add(resource, conditions, {
      ...(url !== undefined && { address: { url } }),
      channelStatuses,
      subscriptionStatuses,
    });
  }

  #addParallel({ resource, ingressChannel, branches, conflicts }: ParallelFlow): void {
    const ingressChannelStatus = this.#partStatus('channel', ingressChannel);
    const branchStatuses = branches.map(({ filterSubscription, channel, subscription }) => ({
      filterSubscriptionStatus: this.#partStatus('subscription', filterSubscription),
      filterChannelStatus: this.#partStatus('channel', channel),
      subscriberSubscriptionStatus: this.#partStatus('subscription', subscription),
    }));
    const conditions = this.#flowConditions({
      channelStatuses: [
        ingressChannelStatus,
        ...branchStatuses.map(({ filterChannelStatus }) => filterChannelStatus),
      ],
      subscriptionStatuses: branchStatuses.flatMap((branch) => [
        branch.filterSubscriptionStatus,
        branch.subscriberSubscriptionStatus,
      ]),
      conflicts,
      unready: 'False',
    });
    const address = this.#addressOf(ingressChannel);
    this.#add(resource, conditions, {
      ...(address && { address }),
      ingressChannelStatus,
      branchStatuses,
    });
  }

  #addressOf(channel: Channel): { readonly name: string; readonly url: string } | undefined {
    const address = this.get(resourceId(channel))?.['address'];
    return isAddress(address) ? address : undefined;
  }

  #partStatus(name: 'channel' | 'subscription', part: Resource): PartStatus {
    const { apiVersion, kind, metadata } = part;
    const reference = { apiVersion, kind, name: metadata.name, namespace: metadata.namespace };
    const ready = readyOf(this.get(resourceId(part))?.conditions ?? []);
    return { [name]: reference, ready };
  }

  #flowConditions(parts: {
    readonly channelStatuses: readonly PartStatus[];
    readonly subscriptionStatuses: readonly PartStatus[];
    readonly conflicts: readonly string[];
    /** Of a flow whose parts are not ready: Knative knows that of a Parallel, and does not of a Sequence. */
    readonly unready: Condition['status'];
  }): Condition[] {
    const {
      conflicts: [conflict],
      unready,
    } = parts;
    const taken =
      conflict === undefined
        ? undefined
        : `${conflict} exists and was not made for this flow: rename one of the two`;
    return [
      partsCondition('Channels', parts.channelStatuses, { taken, unready }),
      partsCondition('Subscriptions', parts.subscriptionStatuses, { taken, unready }),
      isTrue('Addressable'),
      EVENT_POLICIES_READY,
    ];
  }

  #add(resource: Resource, conditions: readonly Condition[], fields: object): void {
    this.#byId.set(resourceId(resource), {
      observedGeneration: resource.metadata.generation ?? 1,
      conditions: withReady(conditions),
      ...fields,
    });
  }
}

/** A Channel or Subscription of a flow. */
interface PartStatus {
  readonly channel?: Reference;
  readonly subscription?: Reference;
  readonly ready: Condition;
}

type Reference = Required<KReference>;

function isAddress(value: unknown): value is { readonly name: string; readonly url: string } {
  return typeof value === 'object' && value !== null && 'url' in value && 'name' in value;
}

// --- conditions by kind -----------------------------------------------------------------------------------------------

/** There is no authorization, which is what Knative says where OpenID Connect is off. */
const EVENT_POLICIES_READY = isTrue('EventPoliciesReady', {
  reason: 'OIDCDisabled',
  message: 'Feature "authentication-oidc" must be enabled to support Authorization',
});
const OIDC_IDENTITY_CREATED = isTrue('OIDCIdentityCreated', {
  reason: 'authentication-oidc feature disabled',
});
const SINK_NOT_CONFIGURED = {
  reason: 'DeadLetterSinkNotConfigured',
  message: 'No dead letter sink is configured.',
};
const SINK_FAILED = "Unable to get the dead letter sink's URI";

const BROKER_CONDITIONS = ['IngressReady', 'TriggerChannelReady', 'FilterReady'].map((type) =>
  isTrue(type),
);

/** Of what says something to us, or tries to. */
function configConditions({ annotated: [, config], faults }: OpenDoor): Condition[] {
  if (faults.length === 0) return config ? [isTrue('ConfigParsed')] : [];
  return [isFalse('ConfigParsed', configInvalid(faults))];
}

function configInvalid(faults: readonly string[]): Required<Reason> {
  return { reason: 'ConfigInvalid', message: faults.join('; ') };
}

function channelConditions({ kind }: Channel): Condition[] {
  switch (kind) {
    case 'Channel':
      return [isTrue('BackingChannelReady')];
    case 'InMemoryChannel':
      return ['DispatcherReady', 'ServiceReady', 'EndpointsReady', 'ChannelServiceReady'].map(
        (type) => isTrue(type),
      );
    case 'KnearChannel':
      return [isTrue('DispatcherReady')];
  }
}

function deadLetterCondition({ target, fault }: DeadLetter): Condition {
  if (fault !== undefined) {
    return isFalse('DeadLetterSinkResolved', { reason: SINK_FAILED, message: fault });
  }
  return isTrue('DeadLetterSinkResolved', target ? undefined : SINK_NOT_CONFIGURED);
}

function triggerConditions(
  { resource, door, subscriber, deadLetter, egress }: Way & { resource: Resource },
  brokerReady: Condition | undefined,
  resources: ReadonlyMap<string, Resource>,
): Condition[] {
  if (!door || !brokerReady) {
    const name = resource.kind === 'Trigger' ? resource.spec.broker : '';
    return [
      isFalse('BrokerReady', {
        reason: 'BrokerDoesNotExist',
        message: `Broker "${name}" does not exist`,
      }),
      ...[
        'SubscriptionReady',
        'DependencyReady',
        'SubscriberResolved',
        'DeadLetterSinkResolved',
      ].map((type) => isUnknown(type)),
      OIDC_IDENTITY_CREATED,
    ];
  }
  const isInherited = resource.spec.delivery?.deadLetterSink === undefined;
  return [
    like('BrokerReady', brokerReady),
    subscriber.kind === 'unresolved'
      ? isFalse('SubscriberResolved', {
          reason: "Unable to get the Subscriber's URI",
          message: subscriber.detail,
        })
      : isTrue('SubscriberResolved'),
    isInherited && deadLetter.fault !== undefined
      ? isFalse('DeadLetterSinkResolved', {
          reason: `Broker ${door.resource.metadata.name} didn't set status.deadLetterSinkURI`,
        })
      : deadLetterCondition(deadLetter),
    egress
      ? isTrue('SubscriptionReady')
      : isUnknown('SubscriptionReady', {
          reason: 'SubscriptionNotConfigured',
          message: 'Subscription has not yet been reconciled.',
        }),
    dependencyCondition(resource, resources),
    OIDC_IDENTITY_CREATED,
  ];
}

/** Sources are not run here: a dependency can only be something that stands among the resources. */
function dependencyCondition(
  { metadata }: Resource,
  resources: ReadonlyMap<string, Resource>,
): Condition {
  const written = metadata.annotations['knative.dev/dependency'];
  if (written === undefined) return isTrue('DependencyReady');
  // Its form was checked with the manifest.
  const { kind, name } = JSON.parse(written) as { kind: string; name: string };
  if (resources.has(`${kind}/${metadata.namespace}/${name}`)) return isTrue('DependencyReady');
  return isFalse('DependencyReady', {
    reason: 'DependencyDoesNotExist',
    message: `Dependency does not exist: ${kind} ${name} is not among the resources`,
  });
}

function subscriptionConditions(way: Way): Condition[] {
  const { door, egress } = way;
  const fault = subscriptionFault(way);
  const resolved = door
    ? fault
      ? isFalse('ReferencesResolved', fault)
      : isTrue('ReferencesResolved')
    : isUnknown('ReferencesResolved', fault);
  const status = (type: string) => (egress ? isTrue(type) : isUnknown(type));
  const channelReady =
    door?.isServed === false
      ? isFalse('ChannelReady', configInvalid(door.faults))
      : status('ChannelReady');
  return [resolved, status('AddedToChannel'), channelReady, OIDC_IDENTITY_CREATED];
}

function subscriptionFault({ resource, door, subscriber, reply, deadLetter }: Way) {
  if (!door) {
    const { kind = '', name = '' } = resource.kind === 'Subscription' ? resource.spec.channel : {};
    return {
      reason: 'ChannelReferenceFailed',
      message: `Failed to get Spec.Channel or backing channel: ${kind} ${name} does not exist`,
    };
  }
  const failed = (reason: string, field: string, detail: string) => ({
    reason,
    message: `Failed to resolve spec.${field}: ${detail}`,
  });
  if (subscriber.kind === 'unresolved') {
    return failed('SubscriberResolveFailed', 'subscriber', subscriber.detail);
  }
  if (reply?.kind === 'unresolved') return failed('ReplyResolveFailed', 'reply', reply.detail);
  if (deadLetter.fault !== undefined) {
    return failed('DeadLetterSinkResolveFailed', 'delivery.deadLetterSink', deadLetter.fault);
  }
  return undefined;
}

function partsCondition(
  what: 'Channels' | 'Subscriptions',
  parts: readonly PartStatus[],
  { taken, unready }: { taken: string | undefined; unready: Condition['status'] },
): Condition {
  const type = `${what}Ready`;
  const reason = `${what}NotReady`;
  if (taken !== undefined) return isFalse(type, { reason, message: taken });
  const failed = parts.find(({ ready }) => ready.status !== 'True');
  if (parts.length > 0 && !failed) return isTrue(type);
  const message = `${what} are not ready yet, or there are none`;
  const name = (failed?.channel ?? failed?.subscription)?.name;
  const cause = failed && `${name ?? ''}: ${failed.ready.reason ?? 'Unknown'}`;
  const why = { reason, message: cause === undefined ? message : `${message}: ${cause}` };
  return { type, status: unready, ...why };
}

// --- fields -------------------------------------------------------------------------------------------------------------

function addressFields(
  name: 'subscriber' | 'reply' | 'deadLetterSink',
  resolved: Resolved | undefined,
  { CACerts, audience }: Destination = {},
): Record<string, string> {
  if (resolved?.kind !== 'resolved') return {};
  return {
    [`${name}Uri`]: resolved.target.url,
    ...(CACerts !== undefined && { [`${name}CACerts`]: CACerts }),
    ...(audience !== undefined && { [`${name}Audience`]: audience }),
  };
}

function deadLetterFields({ target }: DeadLetter, sink: Destination | undefined) {
  return addressFields('deadLetterSink', target && { kind: 'resolved', target }, sink);
}

/** The channel that Knative would put behind a generic one. */
function backingOf({ metadata, spec }: Channel) {
  const { apiVersion, kind } = templateOf(spec);
  return { apiVersion, kind, name: metadata.name, namespace: metadata.namespace };
}

function subscriberOf({ resource, egress }: Way) {
  const { uid, generation = 1 } = resource.metadata;
  return {
    uid: uid ?? resourceId(resource),
    observedGeneration: generation,
    ready: egress ? 'True' : 'False',
  };
}
