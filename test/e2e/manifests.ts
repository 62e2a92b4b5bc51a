/** Resources as data, written as the YAML that users write. */
import { stringify } from 'yaml';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: object;
  readonly [field: string]: unknown;
}

/** What every resource can have besides its name. */
interface Common {
  readonly namespace?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly delivery?: object;
}

/** An address, or a whole Destination. */
type Destination = string | object;

export function yamlOf(...manifests: readonly Manifest[]): string {
  return manifests.map((manifest) => stringify(manifest)).join('---\n');
}

export interface BrokerSpec extends Common {
  /** Name of its ConfigMap. */
  readonly config?: string;
}

export function broker(name: string, { delivery, config, ...common }: BrokerSpec = {}): Manifest {
  const configRef = { apiVersion: 'v1', kind: 'ConfigMap', name: config };
  return {
    apiVersion: 'eventing.knative.dev/v1',
    kind: 'Broker',
    metadata: metadata(name, common),
    spec: { ...(config !== undefined && { config: configRef }), delivery },
  };
}

export function configMap(name: string, data: Readonly<Record<string, string>>): Manifest {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data };
}

export interface TriggerSpec extends Common {
  readonly broker?: string;
  readonly subscriber: Destination;
  /** Attributes of the old `filter`. */
  readonly filter?: Readonly<Record<string, string>>;
  readonly filters?: readonly object[];
}

/** On the Broker `main` unless said. */
export function trigger(name: string, spec: TriggerSpec): Manifest {
  const { broker: of = 'main', subscriber, filter, filters, delivery, ...common } = spec;
  return {
    apiVersion: 'eventing.knative.dev/v1',
    kind: 'Trigger',
    metadata: metadata(name, common),
    spec: {
      broker: of,
      ...(filter && { filter: { attributes: filter } }),
      filters,
      subscriber: destination(subscriber),
      delivery,
    },
  };
}

export type ChannelKind = 'KnearChannel' | 'InMemoryChannel' | 'Channel';

export function channel(
  name: string,
  { kind = 'KnearChannel', delivery, ...common }: Common & { readonly kind?: ChannelKind } = {},
): Manifest {
  return {
    apiVersion: channelApi(kind),
    kind,
    metadata: metadata(name, common),
    spec: { delivery },
  };
}

export interface SubscriptionSpec extends Common {
  readonly channel: string;
  readonly channelKind?: ChannelKind;
  readonly subscriber?: Destination;
  readonly reply?: Destination;
}

export function subscription(name: string, spec: SubscriptionSpec): Manifest {
  const { channel: of, channelKind = 'KnearChannel', subscriber, reply, ...rest } = spec;
  const { delivery, ...common } = rest;
  return {
    apiVersion: 'messaging.knative.dev/v1',
    kind: 'Subscription',
    metadata: metadata(name, common),
    spec: {
      channel: channelRef(of, channelKind).ref,
      ...(subscriber !== undefined && { subscriber: destination(subscriber) }),
      ...(reply !== undefined && { reply: destination(reply) }),
      delivery,
    },
  };
}

/** A Destination: a channel by reference. */
export function channelRef(name: string, kind: ChannelKind = 'KnearChannel') {
  return { ref: { apiVersion: channelApi(kind), kind, name } };
}

/** A Destination: a Broker by reference. */
export function brokerRef(name: string) {
  return { ref: { apiVersion: 'eventing.knative.dev/v1', kind: 'Broker', name } };
}

/** A Destination: a path at a Service. */
export function serviceRef(name: string, uri: string) {
  return { ref: { apiVersion: 'v1', kind: 'Service', name }, uri };
}

export function service(name: string, { namespace }: { readonly namespace?: string } = {}) {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadata(name, { ...(namespace !== undefined && { namespace }) }),
    spec: { ports: [{ name: 'http', port: 80 }] },
  };
}

export interface SliceSpec {
  readonly namespace: string;
  readonly service: string;
  readonly port: number;
  /** 127.0.0.1 unless said. */
  readonly address?: string;
  readonly isReady?: boolean;
  readonly zone?: string;
}

/** A slice with one endpoint. */
export function endpointSlice(name: string, spec: SliceSpec): Manifest {
  const { namespace, service: of, port, address = '127.0.0.1', isReady = true, zone } = spec;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace, labels: { 'kubernetes.io/service-name': of } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [address], conditions: { ready: isReady }, zone }],
    ports: [{ name: 'http', port }],
  };
}

function metadata(name: string, { namespace, annotations }: Omit<Common, 'delivery'>): object {
  return { name, namespace, annotations };
}

function destination(given: Destination): object {
  return typeof given === 'string' ? { uri: given } : given;
}

function channelApi(kind: ChannelKind): string {
  return kind === 'KnearChannel' ? 'messaging.knear.dev/v1' : 'messaging.knative.dev/v1';
}
