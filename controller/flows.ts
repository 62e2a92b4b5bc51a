/**
 * Sequences and Parallels as what they are made of: Channels and Subscriptions, with the names, owners and references
 * that Knative's controllers give them. From there on they are Channels and Subscriptions like all others.
 *
 *   Sequence s    s-kn-sequence-0 --> step 0 --reply--> s-kn-sequence-1 --> step 1 --reply--> ... --reply--> spec.reply
 *   Parallel p    p-kn-parallel --> filter 0 --reply--> p-kn-parallel-0 --> subscriber 0 --reply--> branch's or p's reply
 *                       \-------------------------> p-kn-parallel-1 --> subscriber 1 ...         (a branch without filter)
 *
 * Source: Knative Eventing, pkg/reconciler/sequence and pkg/reconciler/parallel.
 */
import {
  isChannel,
  resourceId,
  type Channel,
  type ChannelTemplate,
  type Destination,
  type KReference,
  type Parallel,
  type Resource,
  type Sequence,
  type Subscription,
} from '../core/resources.ts';

export type Flow = SequenceFlow | ParallelFlow;

interface Conflicting {
  /** Resources of the same kind and name that somebody else wrote: they stay, and the flow is not as it should be. */
  readonly conflicts: readonly string[];
}

export interface SequenceFlow extends Conflicting {
  readonly kind: 'Sequence';
  readonly resource: Sequence;
  /** In the order of the steps. */
  readonly channels: readonly [Channel, ...Channel[]];
  readonly subscriptions: readonly Subscription[];
}

export interface ParallelFlow extends Conflicting {
  readonly kind: 'Parallel';
  readonly resource: Parallel;
  readonly ingressChannel: Channel;
  /** In the order of the branches. */
  readonly branches: readonly {
    readonly filterSubscription: Subscription;
    readonly channel: Channel;
    readonly subscription: Subscription;
  }[];
}

export interface Expanded {
  /** Everything that was there, without the flows, with what they are made of. */
  readonly resources: readonly Resource[];
  readonly flows: readonly Flow[];
}

/** Kinds of which others make resources: what they made elsewhere is made anew here. */
const MAKERS: readonly string[] = ['Broker', 'Trigger', 'Channel', 'Sequence', 'Parallel'];

/**
 * A folder that was copied from a cluster also has what the controllers there made of the resources in it. Where the
 * owner is there as well, that is left out: a Trigger's Subscription would deliver each event once more.
 */
export function expandFlows(all: readonly Resource[]): Expanded {
  const ids = new Set(all.map(resourceId));
  const written = all.filter((resource) => !isMade(resource, ids));
  const taken = new Map(written.map((resource) => [resourceId(resource), resource]));
  const flows = written.flatMap((resource): Flow[] => {
    if (resource.kind === 'Sequence') return [expandSequence(resource, taken)];
    return resource.kind === 'Parallel' ? [expandParallel(resource, taken)] : [];
  });
  const made = flows.flatMap(partsOf).filter((part) => !taken.has(resourceId(part)));
  return { resources: [...written, ...made], flows };
}

/** All Channels and Subscriptions of a flow. */
export function partsOf(flow: Flow): (Channel | Subscription)[] {
  if (flow.kind === 'Sequence') return [...flow.channels, ...flow.subscriptions];
  const branches = flow.branches.flatMap(({ filterSubscription, channel, subscription }) => [
    channel,
    filterSubscription,
    subscription,
  ]);
  return [flow.ingressChannel, ...branches];
}

function isMade({ metadata }: Resource, ids: ReadonlySet<string>): boolean {
  const { ownerReferences = [], namespace } = metadata;
  return ownerReferences.some(
    ({ kind, name, controller }) =>
      controller === true && MAKERS.includes(kind) && ids.has(`${kind}/${namespace}/${name}`),
  );
}

type Taken = ReadonlyMap<string, Resource>;

function expandSequence(resource: Sequence, taken: Taken): SequenceFlow {
  const { steps, reply } = resource.spec;
  const part = makerOf(resource);
  const nameOf = (index: number) => `${resource.metadata.name}-kn-sequence-${index}`;
  const channels = steps.map((_, index) => part.channel(nameOf(index)));
  const subscriptions = steps.map(({ delivery, ...subscriber }, index) =>
    part.subscription(nameOf(index), {
      channel: part.reference(nameOf(index)),
      subscriber,
      reply: index < steps.length - 1 ? { ref: part.reference(nameOf(index + 1)) } : reply,
      delivery,
    }),
  );
  const conflicts = conflictsOf([...channels, ...subscriptions], taken);
  // The schema asks for at least one step.
  const [first = part.channel(nameOf(0)), ...others] = channels;
  return { kind: 'Sequence', resource, channels: [first, ...others], subscriptions, conflicts };
}

function expandParallel(resource: Parallel, taken: Taken): ParallelFlow {
  const part = makerOf(resource);
  const base = `${resource.metadata.name}-kn-parallel`;
  const ingressChannel = part.channel(base);
  const branches = resource.spec.branches.map((branch, index) => {
    const name = `${base}-${index}`;
    const toBranch: Destination = { ref: part.reference(name) };
    const { filter, subscriber, delivery } = branch;
    return {
      channel: part.channel(name),
      filterSubscription: part.subscription(`${base}-filter-${index}`, {
        channel: part.reference(base),
        ...(filter ? { subscriber: filter, reply: toBranch } : { subscriber: toBranch }),
      }),
      subscription: part.subscription(name, {
        channel: part.reference(name),
        subscriber,
        reply: branch.reply ?? resource.spec.reply,
        delivery,
      }),
    };
  });
  const flow: ParallelFlow = {
    kind: 'Parallel',
    resource,
    ingressChannel,
    branches,
    conflicts: [],
  };
  return { ...flow, conflicts: conflictsOf(partsOf(flow), taken) };
}

function conflictsOf(parts: readonly Resource[], taken: Taken): string[] {
  return parts.map(resourceId).filter((id) => taken.has(id));
}

const DEFAULT_TEMPLATE: ChannelTemplate = {
  apiVersion: 'messaging.knear.dev/v1',
  kind: 'KnearChannel',
};

/** The kind of channel that a resource asks for, or ours. */
export function templateOf({
  channelTemplate,
}: {
  readonly channelTemplate?: ChannelTemplate;
}): ChannelTemplate {
  return channelTemplate ?? DEFAULT_TEMPLATE;
}

/** What makes the parts of one flow. */
function makerOf(owner: Sequence | Parallel) {
  const { apiVersion, kind, spec } = templateOf(owner.spec);
  const { namespace, generation, annotations } = owner.metadata;
  const metadataOf = (name: string) => ({
    namespace,
    name,
    ...(generation !== undefined && { generation }),
    labels: {},
    // What is said of the flow holds for its parts.
    annotations: Object.fromEntries(
      Object.entries(annotations).filter(([key]) => key.startsWith('knear.dev/')),
    ),
    ownerReferences: [
      {
        apiVersion: owner.apiVersion,
        kind: owner.kind,
        name: owner.metadata.name,
        controller: true,
      },
    ],
  });
  const where = owner.where === undefined ? {} : { where: owner.where };
  return {
    reference: (name: string): KReference => ({ apiVersion, kind, name, namespace }),
    channel(name: string): Channel {
      const channel = { apiVersion, kind, metadata: metadataOf(name), spec: spec ?? {}, ...where };
      if (!isChannel(channel)) throw new Error(`${kind} passed validation and is no channel`);
      return channel;
    },
    subscription(name: string, { channel, subscriber, reply, delivery }: Parts): Subscription {
      return {
        apiVersion: 'messaging.knative.dev/v1',
        kind: 'Subscription',
        metadata: metadataOf(name),
        spec: {
          channel,
          subscriber,
          ...(reply && { reply }),
          ...(delivery && { delivery }),
        },
        ...where,
      };
    },
  };
}

interface Parts {
  readonly channel: KReference;
  readonly subscriber: Destination;
  readonly reply?: Destination | undefined;
  readonly delivery?: Subscription['spec']['delivery'] | undefined;
}
