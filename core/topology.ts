/**
 * What goes where, at one moment: the compiled form of all resources. The data plane reads nothing else, so it knows no
 * Kubernetes word, and it keeps working with what it has when the source of resources is away.
 *
 * A Topology is a plain value (it can be sent as JSON), immutable, and replaced whole.
 */

export interface Topology {
  /** Grows with every change. */
  readonly revision: number;
  readonly ingresses: ReadonlyMap<string, Ingress>;
  readonly egresses: ReadonlyMap<string, Egress>;
  /** `namespace/name` of a Service -> what stands behind it. */
  readonly services: ReadonlyMap<string, ServiceEndpoints>;
  /**
   * Name of a key in the Secret `request-reply-keys` -> the key in Base64, as the Secret has it. Names are
   * `<namespace>.<name>.<key>`, with the name of a RequestReply; keys are those of AES, of 16, 24 or 32 bytes.
   * KN_VERIFY_CORRELATION_ID, a function of the filter `cesql`, verifies replies with them.
   * Source: Knative Eventing, pkg/requestreply and pkg/reconciler/requestreply.
   */
  readonly correlationKeys: ReadonlyMap<string, string>;
}

/** The compiled address of a Broker or a Channel. */
export interface Ingress {
  readonly id: string;
  /** Decides the rules that differ: a Broker stamps arrival time and TTL, a Channel adds nothing. */
  readonly kind: 'broker' | 'channel';
  readonly namespace: string;
  readonly name: string;
  /** Where the door serves it, e.g. `/default/orders` or `/default/channels/step-1`. */
  readonly path: string;
  /** Host names that lead to it whatever the path is (channels only), lower case, without port. */
  readonly hosts: readonly string[];
  /** Largest data accepted, bytes. */
  readonly eventMaxBytes: number;
  /** Largest attributes and kept headers accepted, bytes, counted as header lines. */
  readonly attributesMaxBytes: number;
  /** Whether subscribers may see an event before it is durable (L2). */
  readonly isEarly: boolean;
  readonly claims: ClaimPolicy;
  readonly hops: HopPolicy;
}

/** How large data is kept for a Broker or Channel. Source of the bounds: docs/claim-check.md. */
export interface ClaimPolicy {
  /** Largest record that carries its data; of a larger one the payload store keeps the data. 0: every one is claimed. */
  readonly inlineMaxBytes: number;
  /** Largest data of a reply of its Triggers or Subscriptions. */
  readonly replyMaxBytes: number;
  /** Largest body of a batch. */
  readonly batchMaxBytes: number;
  /** Bytes of payloads kept for its namespace; absent: as much as the store takes. */
  readonly quotaBytes?: number;
}

/** The compiled form of a Trigger or a Subscription. */
export interface Egress {
  readonly id: string;
  readonly kind: 'trigger' | 'subscription';
  readonly namespace: string;
  readonly name: string;
  readonly ingressId: string;
  readonly filter: Filter;
  readonly subscriber: Target;
  /** Where replies go: the Trigger's own Broker, a Subscription's reply; absent: replies are dropped. */
  readonly reply?: Target;
  readonly deadLetter?: Target;
  readonly retry: RetryPolicy;
  /** One attempt, from the first byte out to the last byte in. */
  readonly timeoutMs: number;
  /**
   * Where no resource names the timeout: longest time without progress while claimed data goes out. Large data may then
   * take longer than `timeoutMs`, which counts from its last byte.
   */
  readonly idleMs?: number;
  /** That of its ingress, for replies. */
  readonly claims: ClaimPolicy;
  readonly format: 'json' | 'binary';
  /** `key`: events with one `partitionkey` are delivered one after the other, in the order of the log. */
  readonly order: 'none' | 'key';
  readonly isPaused: boolean;
  /** What happens to an event after its retries when there is no dead letter sink. */
  readonly exhausted: 'park' | 'drop';
  /** Which endpoint of a Service is called: the nearest one that has room, any in turn, or the Service's own address. */
  readonly placement: 'nearest' | 'spread' | 'service';
  readonly hops: HopPolicy;
}

/** Whether what a subscriber answers, or what leads to a Broker or Channel of ours, may go on without the log. */
export interface HopPolicy {
  /** Both sides of a hop have to allow it. */
  readonly isOn: boolean;
  /** A crash repeats at most so much of what subscribers have finished, ms of their time (C2). */
  readonly redoMaxMs: number;
}

export type Target =
  /** Called as given. `caCerts`: PEM, trusted there beside the authorities that everybody trusts. */
  | { readonly kind: 'url'; readonly url: string; readonly caCerts?: string }
  /** Called at one of the Service's endpoints if any is known, else as given. `service` is a key of `services`. */
  | {
      readonly kind: 'service';
      readonly url: string;
      readonly caCerts?: string;
      readonly service: string;
      readonly port: number;
    }
  /** A Broker or Channel of ours: no request is needed. `url` is its address in words and dead letters. */
  | { readonly kind: 'ingress'; readonly url: string; readonly ingressId: string };

export interface ServiceEndpoints {
  /** Those that serve; empty where none is known. */
  readonly endpoints: readonly Endpoint[];
  /** Why none of them may be chosen, so that the Service's own address is called; absent: one is chosen. */
  readonly declined?: Declined;
}

/**
 * - asked: the Service itself says so
 * - mesh: the pods are in a service mesh, which routes, encrypts and authorizes by the Service's address
 * - session-affinity: the Service sends a client to one endpoint
 * - traffic-policy: `internalTrafficPolicy: Local`
 * - no-selector: somebody else than Kubernetes says what stands behind it
 * - untrusted: an endpoint is no Pod of the Service's namespace with that address
 */
export const DECLINED = [
  'asked',
  'mesh',
  'session-affinity',
  'traffic-policy',
  'no-selector',
  'untrusted',
] as const;
export type Declined = (typeof DECLINED)[number];

/** One concrete place that serves a Service. */
export interface Endpoint {
  readonly address: string;
  /** Service port number -> port at this address. */
  readonly ports: Readonly<Record<number, number>>;
  /** False: it is about to end and still serves, so it is for when nothing else is ready. */
  readonly isReady: boolean;
  /** UID of its Pod; absent: it is not known to be one. */
  readonly pod?: string;
  readonly node?: string;
  readonly zone?: string;
}

export interface RetryPolicy {
  /** Attempts after the first one. */
  readonly retries: number;
  readonly backoff: 'none' | 'linear' | 'exponential';
  readonly delayMs: number;
  /** Longest Retry-After that is honoured; absent: the header is ignored. */
  readonly retryAfterMaxMs?: number;
}

/**
 * Which events an egress wants. `attributes` is the old `filter.attributes`; the others are the dialects of `filters`.
 * Source: Knative Eventing, TriggerFilter and SubscriptionsAPIFilter; CloudEvents Subscriptions API.
 */
export type Filter =
  | { readonly kind: 'everything' }
  | { readonly kind: 'attributes'; readonly values: Readonly<Record<string, string>> }
  | {
      readonly kind: 'exact' | 'prefix' | 'suffix';
      readonly values: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'all' | 'any'; readonly filters: readonly Filter[] }
  | { readonly kind: 'not'; readonly filter: Filter }
  /** An expression in the CloudEvents SQL Expression Language 1.0.0. */
  | { readonly kind: 'cesql'; readonly expression: string };
