/** Small Brokers, Triggers, Channels, Subscriptions and events, as the dispatcher sees them: compiled. */
import type { AttributeValue, CloudEvent } from '../../core/event.ts';
import type {
  Egress,
  Filter,
  Ingress,
  RetryPolicy,
  ServiceEndpoints,
  Target,
  Topology,
} from '../../core/topology.ts';
import { CLAIMS } from '../fakes/claims.ts';

export const SUBSCRIBER = 'http://subscriber/in';
export const SINK = 'http://sink/dead';
export const OUTSIDE = 'http://outside/replies';

export const NO_RETRY: RetryPolicy = { retries: 0, backoff: 'none', delayMs: 0 };

export function retries(count: number, more: Partial<RetryPolicy> = {}): RetryPolicy {
  return { retries: count, backoff: 'none', delayMs: 0, ...more };
}

export function linear(count: number, delayMs: number): RetryPolicy {
  return { retries: count, backoff: 'linear', delayMs };
}

export function exponential(count: number, delayMs: number): RetryPolicy {
  return { retries: count, backoff: 'exponential', delayMs };
}

export function at(url: string): Target {
  return { kind: 'url', url };
}

export function inside(ingressId: string): Target {
  return { kind: 'ingress', ingressId, url: addressOf(ingressId) };
}

/** How a Broker or Channel of ours is called in dead letters and metrics. */
export function addressOf(ingressId: string): string {
  return `http://knear/default/${ingressId}`;
}

export function broker(id: string, more: Partial<Ingress> = {}): Ingress {
  return ingress({ id, kind: 'broker', ...more });
}

export function channel(id: string, more: Partial<Ingress> = {}): Ingress {
  return ingress({ id, kind: 'channel', ...more });
}

function ingress(parts: Pick<Ingress, 'id' | 'kind'> & Partial<Ingress>): Ingress {
  return {
    namespace: 'default',
    name: parts.id,
    path: `/default/${parts.id}`,
    hosts: [],
    eventMaxBytes: 1_000_000,
    attributesMaxBytes: 16_000,
    isEarly: true,
    claims: CLAIMS,
    hops: { isOn: false, redoMaxMs: 1_000 },
    ...parts,
  };
}

/** A Trigger of the Broker `orders` that calls SUBSCRIBER once and replies to its Broker, unless told otherwise. */
export function trigger(parts: Partial<Egress> = {}): Egress {
  return egress({ kind: 'trigger', ingressId: 'orders', reply: inside('orders'), ...parts });
}

/** A Subscription of the Channel `steps` that calls SUBSCRIBER once, without a reply, unless told otherwise. */
export function subscription(parts: Partial<Egress> = {}): Egress {
  return egress({ kind: 'subscription', ingressId: 'steps', ...parts });
}

function egress(parts: Pick<Egress, 'kind' | 'ingressId'> & Partial<Egress>): Egress {
  const { id = 'egress' } = parts;
  return {
    id,
    namespace: 'shop',
    name: id,
    filter: { kind: 'everything' },
    subscriber: at(SUBSCRIBER),
    retry: NO_RETRY,
    timeoutMs: 30_000,
    claims: CLAIMS,
    format: 'binary',
    order: 'none',
    isPaused: false,
    exhausted: 'park',
    placement: 'nearest',
    hops: { isOn: false, redoMaxMs: 1_000 },
    ...parts,
  };
}

export function ofType(type: string): Filter {
  return { kind: 'exact', values: { type } };
}

export interface Scene {
  readonly ingresses?: readonly Ingress[];
  readonly egresses?: readonly Egress[];
  readonly services?: Readonly<Record<string, ServiceEndpoints>>;
  /** In Base64. */
  readonly correlationKeys?: Readonly<Record<string, string>>;
}

/** Without ingresses: the Broker `orders`, the Channel `steps`. */
export function topologyOf(revision: number, scene: Scene): Topology {
  const { ingresses = [broker('orders'), channel('steps')], egresses = [], services = {} } = scene;
  return {
    revision,
    ingresses: new Map(ingresses.map((each) => [each.id, each])),
    egresses: new Map(egresses.map((each) => [each.id, each])),
    services: new Map(Object.entries(services)),
    correlationKeys: new Map(Object.entries(scene.correlationKeys ?? {})),
  };
}

export function eventOf(
  id: string,
  more: {
    type?: string;
    attributes?: Readonly<Record<string, AttributeValue>>;
    headers?: Readonly<Record<string, string>>;
    data?: string;
  } = {},
): CloudEvent {
  const { type = 'order', attributes = {}, headers = {}, data } = more;
  return {
    attributes: new Map<string, AttributeValue>([
      ['specversion', '1.0'],
      ['id', id],
      ['source', '/shop'],
      ['type', type],
      ...Object.entries(attributes),
    ]),
    headers: new Map(Object.entries(headers)),
    data: data === undefined ? undefined : Buffer.from(data),
  };
}

export function idOf(event: CloudEvent): string {
  return String(event.attributes.get('id'));
}

export function attributesOf(event: CloudEvent): Record<string, AttributeValue> {
  return Object.fromEntries(event.attributes);
}
