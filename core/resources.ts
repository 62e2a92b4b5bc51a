/**
 * The Kubernetes resources that knear reads, as far as it reads them: parsed once at the edge, so that nobody behind it
 * looks at raw YAML. Field names are the published API's. Durations are still ISO 8601 here; `controller/reconcile.ts`
 * turns them into milliseconds.
 */

export interface Metadata {
  readonly namespace: string;
  readonly name: string;
  /** Absent in folder mode. */
  readonly uid?: string;
  readonly generation?: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
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
  readonly ref?: KReference;
  readonly uri?: string;
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

export type Channel = Common<
  'Channel' | 'InMemoryChannel' | 'KnearChannel',
  { readonly delivery?: DeliverySpec }
>;

export type Subscription = Common<
  'Subscription',
  {
    readonly channel: KReference;
    readonly subscriber?: Destination;
    readonly reply?: Destination;
    readonly delivery?: DeliverySpec;
  }
>;

export type Service = Common<
  'Service',
  {
    readonly type?: string;
    readonly externalName?: string;
    readonly ports?: readonly {
      readonly name?: string;
      readonly port: number;
      readonly targetPort?: number | string;
    }[];
  }
>;

/** `endpoints` and `ports` stand beside `metadata` in the file; parsing moves them into `spec`. */
export type EndpointSlice = Common<
  'EndpointSlice',
  {
    readonly endpoints: readonly {
      readonly addresses: readonly string[];
      readonly conditions?: {
        readonly ready?: boolean;
        readonly serving?: boolean;
        readonly terminating?: boolean;
      };
    }[];
    readonly ports: readonly { readonly name?: string; readonly port?: number }[];
  }
>;

export type Resource = Broker | Trigger | Channel | Subscription | Service | EndpointSlice;

/** `Kind/namespace/name`: the identity of a resource in folder mode, and how messages name it everywhere. */
export function resourceId(resource: Pick<Resource, 'kind' | 'metadata'>): string {
  return `${resource.kind}/${resource.metadata.namespace}/${resource.metadata.name}`;
}
