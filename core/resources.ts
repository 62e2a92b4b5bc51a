/**
 * The Kubernetes resources that knear reads, as far as it reads them: parsed once at the edge, so that nobody behind it
 * looks at raw YAML. Field names are the published API's. Durations are still ISO 8601 here; `controller/reconcile.ts`
 * turns them into milliseconds.
 */

export interface Metadata {
  readonly namespace: string;
  readonly name: string;
  /** Absent in folder mode, unless the file has it. */
  readonly uid?: string;
  /** Grows with each change of the spec. */
  readonly generation?: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
}

/** Source: Kubernetes API, meta/v1 OwnerReference, as far as it is read. */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  /** The owner made it and keeps it as it should be. */
  readonly controller?: boolean;
}

interface Common<Kind extends string, Spec> {
  readonly kind: Kind;
  readonly apiVersion: string;
  readonly metadata: Metadata;
  readonly spec: Spec;
  /** File and line it came from, for messages. */
  readonly where?: string;
}

export interface KReference {
  readonly apiVersion?: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
}

/** Source: knative.dev/pkg duck/v1 Destination. */
export interface Destination {
  readonly ref?: KReference & {
    /** Name of the entry of `status.addresses` to take. */
    readonly address?: string;
  };
  readonly uri?: string;
  /** PEM; with it, a Service is called by https. */
  readonly CACerts?: string;
  readonly audience?: string;
}

/** Source: Knative Eventing duck/v1 DeliverySpec. */
export interface DeliverySpec {
  readonly deadLetterSink?: Destination;
  readonly retry?: number;
  readonly backoffPolicy?: 'linear' | 'exponential';
  readonly backoffDelay?: string;
  readonly timeout?: string;
  readonly retryAfterMax?: string;
  readonly format?: 'json' | 'binary';
}

/** One entry of `spec.filters`; several dialects in one entry are an error found by validation. */
export interface SubscriptionsFilter {
  readonly exact?: Readonly<Record<string, string>>;
  readonly prefix?: Readonly<Record<string, string>>;
  readonly suffix?: Readonly<Record<string, string>>;
  readonly all?: readonly SubscriptionsFilter[];
  readonly any?: readonly SubscriptionsFilter[];
  readonly not?: SubscriptionsFilter;
  readonly cesql?: string;
}

export type Broker = Common<
  'Broker',
  { readonly delivery?: DeliverySpec; readonly config?: KReference }
>;

export type Trigger = Common<
  'Trigger',
  {
    readonly broker: string;
    readonly filter?: { readonly attributes?: Readonly<Record<string, string>> };
    readonly filters?: readonly SubscriptionsFilter[];
    readonly subscriber: Destination;
    readonly delivery?: DeliverySpec;
  }
>;

/** The kind behind a generic Channel, or of the channels of a Sequence or Parallel. */
export interface ChannelTemplate {
  readonly apiVersion: string;
  readonly kind: string;
  readonly spec?: Readonly<Record<string, unknown>>;
}

export type Channel = Common<
  'Channel' | 'InMemoryChannel' | 'KnearChannel',
  {
    readonly delivery?: DeliverySpec;
    /** Of the generic `Channel` only. */
    readonly channelTemplate?: ChannelTemplate;
  }
>;

export type Subscription = Common<
  'Subscription',
  {
    readonly channel: KReference;
    readonly subscriber: Destination;
    readonly reply?: Destination;
    readonly delivery?: DeliverySpec;
  }
>;

/** Source: Knative Eventing flows/v1 SequenceSpec. */
export type Sequence = Common<
  'Sequence',
  {
    readonly steps: readonly (Destination & { readonly delivery?: DeliverySpec })[];
    readonly channelTemplate?: ChannelTemplate;
    readonly reply?: Destination;
  }
>;

/** Source: Knative Eventing flows/v1 ParallelSpec. */
export type Parallel = Common<
  'Parallel',
  {
    readonly branches: readonly {
      readonly filter?: Destination;
      readonly subscriber: Destination;
      readonly reply?: Destination;
      readonly delivery?: DeliverySpec;
    }[];
    readonly channelTemplate?: ChannelTemplate;
    readonly reply?: Destination;
  }
>;

/** `data` stands beside `metadata` in the file; parsing moves it into `spec`. */
export type ConfigMap = Common<'ConfigMap', { readonly data: Readonly<Record<string, string>> }>;

/** As ConfigMap. Values are in Base64; parsing puts those of `stringData` among them. */
export type Secret = Common<'Secret', { readonly data: Readonly<Record<string, string>> }>;

export type Service = Common<
  'Service',
  {
    readonly type?: string;
    readonly externalName?: string;
    /** `None`: it is headless, and its name leads to the Pods themselves. */
    readonly clusterIP?: string;
    /** The family of its own address first: `IPv4`, `IPv6`. */
    readonly ipFamilies?: readonly string[];
    readonly selector?: Readonly<Record<string, string>>;
    readonly sessionAffinity?: string;
    readonly internalTrafficPolicy?: string;
    readonly ports?: readonly {
      readonly name?: string;
      readonly port: number;
      /** `TCP` if it does not say; there may be the same number with another one. */
      readonly protocol?: string;
      readonly targetPort?: number | string;
    }[];
  }
>;

/** `addressType`, `endpoints` and `ports` stand beside `metadata` in the file; parsing moves them into `spec`. */
export type EndpointSlice = Common<
  'EndpointSlice',
  {
    readonly addressType?: 'IPv4' | 'IPv6' | 'FQDN';
    readonly endpoints: readonly SliceEndpoint[];
    readonly ports: readonly { readonly name?: string; readonly port?: number }[];
  }
>;

/** Source: Kubernetes API, discovery.k8s.io/v1 Endpoint, as far as it is read. */
export interface SliceEndpoint {
  /** All are of one place; the first one is called. */
  readonly addresses: readonly string[];
  readonly conditions?: {
    /** Absent: nobody knows, which counts as true. */
    readonly ready?: boolean;
    readonly serving?: boolean;
    readonly terminating?: boolean;
  };
  readonly targetRef?: {
    readonly kind?: string;
    readonly namespace?: string;
    readonly name?: string;
    readonly uid?: string;
  };
  readonly nodeName?: string;
  readonly zone?: string;
}

/** What is read of `spec` and `status`: parsing leaves everything else of a Pod behind. */
export type Pod = Common<
  'Pod',
  {
    readonly nodeName?: string;
    /** `Succeeded` and `Failed` are over: their addresses may be others' by now. */
    readonly phase?: string;
    /** Of both families. */
    readonly addresses: readonly string[];
  }
>;

/** Only its labels are read. It has no namespace; here it is in that of files without one, as `Namespace`. */
export type Node = Common<'Node', Readonly<Record<string, never>>>;

/** Only its labels and annotations are read. */
export type Namespace = Common<'Namespace', Readonly<Record<string, never>>>;

export type Resource =
  | Broker
  | Trigger
  | Channel
  | Subscription
  | Sequence
  | Parallel
  | Service
  | EndpointSlice
  | Pod
  | Node
  | Namespace
  | ConfigMap
  | Secret;

/** `Kind/namespace/name`: the identity of a resource in folder mode, and how messages name it everywhere. */
export function resourceId(resource: Pick<Resource, 'kind' | 'metadata'>): string {
  return `${resource.kind}/${resource.metadata.namespace}/${resource.metadata.name}`;
}

const CHANNEL_KINDS: readonly string[] = ['Channel', 'InMemoryChannel', 'KnearChannel'];

export function isChannel(resource: { readonly kind: string }): resource is Channel {
  return CHANNEL_KINDS.includes(resource.kind);
}
