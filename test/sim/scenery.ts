/** The resources of the simulated world: every kind of target, reply, retry, dead letter and order, in one small graph. */
import type { CloudEvent } from '../../core/event.ts';
import type {
  Egress,
  Filter,
  Ingress,
  RetryPolicy,
  Target,
  Topology,
} from '../../core/topology.ts';
import { CLAIMS } from '../fakes/claims.ts';

export function scenery(
  revision: number,
  changed: ReadonlyMap<string, Egress | undefined>,
): Topology {
  const egresses = EGRESSES.flatMap((egress) => {
    const current = changed.has(egress.id) ? changed.get(egress.id) : egress;
    return current ? [[current.id, current] as const] : [];
  });
  return {
    revision,
    ingresses: INGRESSES,
    egresses: new Map(egresses),
    services: new Map(),
    correlationKeys: new Map(),
  };
}

const ingress = (id: string, kind: Ingress['kind'], isEarly = true): [string, Ingress] => [
  id,
  {
    id,
    kind,
    namespace: 'sim',
    name: id,
    path: `/sim/${id}`,
    hosts: [],
    eventMaxBytes: 1_000_000,
    attributesMaxBytes: 16_000,
    isEarly,
    claims: CLAIMS,
    hops: { isOn: false, redoMaxMs: 1_000 },
  },
];

const INGRESSES = new Map([
  ingress('broker', 'broker'),
  ingress('step-1', 'channel'),
  ingress('step-2', 'channel'),
  ingress('step-3', 'channel', false),
  ingress('dead', 'channel'),
]);

const url = (name: string): Target => ({ kind: 'url', url: `http://${name}` });
const inside = (id: string): Target => ({
  kind: 'ingress',
  ingressId: id,
  url: `http://knear/${id}`,
});
const exponential = (retries: number, delayMs: number): RetryPolicy => ({
  retries,
  backoff: 'exponential',
  delayMs,
});

type Parts = Pick<Egress, 'id' | 'ingressId' | 'retry'> & Partial<Egress>;

const egress = (parts: Parts): Egress => ({
  kind: parts.ingressId === 'broker' ? 'trigger' : 'subscription',
  namespace: 'sim',
  name: parts.id,
  filter: { kind: 'everything' },
  timeoutMs: 3_000,
  claims: CLAIMS,
  format: 'binary',
  order: 'none',
  isPaused: false,
  exhausted: 'park',
  placement: 'nearest',
  hops: { isOn: false, redoMaxMs: 1_000 },
  // The simulated subscribers know by their host name for whom they work.
  subscriber: url(`${parts.id}/`),
  ...(parts.ingressId === 'broker' && { reply: inside('broker') }),
  ...parts,
});

const typed = (type: string): Filter => ({ kind: 'exact', values: { type } });

/** Those whose subscribers answer with an event. */
export const REPLYING: ReadonlySet<string> = new Set([
  'slow-retry',
  'first',
  'second',
  'third',
  'outside',
]);

export const EGRESSES: readonly Egress[] = [
  egress({
    id: 'all',
    ingressId: 'broker',
    filter: { kind: 'prefix', values: { type: 'order.' } },
    retry: exponential(3, 200),
    deadLetter: url('dead-letters/all'),
  }),
  egress({
    id: 'slow-retry',
    ingressId: 'broker',
    filter: typed('order.a'),
    retry: { retries: 2, backoff: 'linear', delayMs: 1_500 },
  }),
  egress({
    id: 'into-chain',
    ingressId: 'broker',
    filter: typed('order.b'),
    subscriber: inside('step-1'),
    retry: exponential(1, 100),
  }),
  egress({
    id: 'ordered',
    ingressId: 'broker',
    filter: typed('reply.slow-retry'),
    retry: exponential(4, 300),
    order: 'key',
    deadLetter: inside('dead'),
  }),
  egress({
    id: 'results',
    ingressId: 'broker',
    filter: typed('reply.third'),
    retry: { retries: 1, backoff: 'none', delayMs: 0 },
    exhausted: 'park',
  }),
  egress({
    id: 'first',
    ingressId: 'step-1',
    reply: inside('step-2'),
    retry: exponential(4, 500),
  }),
  egress({
    id: 'second',
    ingressId: 'step-2',
    reply: inside('step-3'),
    retry: exponential(1, 50),
    deadLetter: inside('dead'),
  }),
  egress({
    id: 'third',
    ingressId: 'step-3',
    reply: inside('broker'),
    retry: exponential(2, 2_000),
  }),
  egress({
    id: 'outside',
    ingressId: 'step-2',
    reply: url('reply-target/'),
    retry: exponential(2, 800),
    deadLetter: url('dead-letters/outside'),
  }),
  egress({
    id: 'grave',
    ingressId: 'dead',
    retry: exponential(1, 100),
  }),
];

/** Those whose subscribers are not asked for a reply that goes anywhere. */
export const LISTENING: ReadonlySet<string> = new Set(
  EGRESSES.filter(({ kind, reply }) => kind === 'subscription' && !reply).map(({ id }) => id),
);

export function makeEvent(id: string, type: string, key: string): CloudEvent {
  return {
    attributes: new Map([
      ['specversion', '1.0'],
      ['id', id],
      ['source', '/sim'],
      ['type', type],
      ['partitionkey', key],
    ]),
    headers: new Map(),
    data: Buffer.from(id),
  };
}

export function idOf(event: CloudEvent): string {
  return String(event.attributes.get('id'));
}
