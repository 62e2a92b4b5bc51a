/**
 * The resources of the simulated world: every kind of target, reply, retry, dead letter and order, in one small graph.
 *
 * Where there are local hops, it has a line of five steps as well, and at its end a Trigger that answers itself until the
 * hop count is used up:
 *
 *   broker -into-line-> line-1 -l1-> line-2 -l2-> line-3 -l3-> line-4 -l4-> line-5 -l5-> broker -echo-> broker -echo-> ...
 */
import type { AttributeValue, CloudEvent } from '../../core/event.ts';
import type {
  Egress,
  Filter,
  HopPolicy,
  Ingress,
  RetryPolicy,
  Target,
  Topology,
} from '../../core/topology.ts';
import { CLAIMS } from '../fakes/claims.ts';
import type { SeededRandom } from './random.ts';

export interface Scenery {
  readonly hasHops: boolean;
  readonly ingresses: ReadonlyMap<string, Ingress>;
  readonly egresses: readonly Egress[];
  /** Those whose subscribers answer with an event. */
  readonly replying: ReadonlySet<string>;
  /** Those whose subscribers are not asked for a reply that goes anywhere. */
  readonly listening: ReadonlySet<string>;
  /** Requests of one egress that may be in flight, and deliveries of all that may be open. */
  readonly slotsMax: number;
  readonly openMax: number;
}

/** Rounds that an event may make through Brokers: two for the line, the others for the echo. */
export const TTL = 5;

export function sceneryWithoutHops(): Scenery {
  return sceneryOf({
    hasHops: false,
    ingresses: INGRESSES,
    egresses: EGRESSES,
    slotsMax: 8,
    openMax: 24,
  });
}

/** Whether there are hops, and how much they may repeat, is different for each egress and ingress. */
export function sceneryWithHops(random: SeededRandom): Scenery {
  const hops = (): HopPolicy => ({
    isOn: random.chance(0.97),
    redoMaxMs: random.pick([0, 50, ...Array<number>(6).fill(1_000)]),
  });
  return sceneryOf({
    hasHops: true,
    ingresses: [...INGRESSES, ...LINE_INGRESSES].map((each) => ({ ...each, hops: hops() })),
    egresses: [...EGRESSES, ...LINE_EGRESSES].map((each) => ({ ...each, hops: hops() })),
    slotsMax: random.pick([1, 2, 8]),
    openMax: random.pick([24, 200]),
  });
}

function sceneryOf({
  ingresses,
  egresses,
  ...parts
}: Pick<Scenery, 'hasHops' | 'egresses' | 'slotsMax' | 'openMax'> & {
  readonly ingresses: readonly Ingress[];
}): Scenery {
  const isListening = ({ kind, reply }: Egress) => kind === 'subscription' && !reply;
  return {
    ...parts,
    ingresses: new Map(ingresses.map((each) => [each.id, each])),
    egresses,
    replying: REPLYING,
    listening: new Set(egresses.filter(isListening).map(({ id }) => id)),
  };
}

export function topologyOf(
  { ingresses, egresses }: Scenery,
  revision: number,
  changed: ReadonlyMap<string, Egress | undefined>,
): Topology {
  const current = egresses.flatMap((egress) => {
    const known = changed.has(egress.id) ? changed.get(egress.id) : egress;
    return known ? [[known.id, known] as const] : [];
  });
  return {
    revision,
    ingresses,
    egresses: new Map(current),
    services: new Map(),
    correlationKeys: new Map(),
  };
}

const ingress = (id: string, kind: Ingress['kind'], isEarly = true): Ingress => ({
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
});

const INGRESSES: readonly Ingress[] = [
  ingress('broker', 'broker'),
  ingress('step-1', 'channel'),
  ingress('step-2', 'channel'),
  ingress('step-3', 'channel', false),
  ingress('dead', 'channel'),
];

const LINE_INGRESSES: readonly Ingress[] = [1, 2, 3, 4, 5].map((step) =>
  ingress(`line-${step}`, 'channel'),
);

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

const REPLYING: ReadonlySet<string> = new Set([
  ...['slow-retry', 'first', 'second', 'third', 'outside'],
  ...['l1', 'l2', 'l3', 'l4', 'l5', 'echo'],
]);

const EGRESSES: readonly Egress[] = [
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

/** Of each way to fail one: tried again here, or from the log; a sink outside, a sink of ours, none. */
const LINE_EGRESSES: readonly Egress[] = [
  egress({
    id: 'into-line',
    ingressId: 'broker',
    filter: typed('order.c'),
    subscriber: inside('line-1'),
    retry: exponential(1, 100),
  }),
  egress({
    id: 'l1',
    ingressId: 'line-1',
    reply: inside('line-2'),
    retry: exponential(3, 100),
  }),
  egress({
    id: 'l2',
    ingressId: 'line-2',
    reply: inside('line-3'),
    retry: { retries: 2, backoff: 'linear', delayMs: 1_500 },
  }),
  egress({
    id: 'l3',
    ingressId: 'line-3',
    reply: inside('line-4'),
    retry: exponential(4, 300),
    deadLetter: url('dead-letters/l3'),
  }),
  egress({
    id: 'l4',
    ingressId: 'line-4',
    reply: inside('line-5'),
    retry: { retries: 1, backoff: 'none', delayMs: 0 },
  }),
  egress({
    id: 'l5',
    ingressId: 'line-5',
    reply: inside('broker'),
    retry: exponential(2, 200),
    deadLetter: inside('dead'),
  }),
  egress({
    id: 'echo',
    ingressId: 'broker',
    filter: { kind: 'any', filters: [typed('reply.l5'), typed('reply.echo')] },
    retry: exponential(2, 100),
    deadLetter: inside('dead'),
  }),
];

export function makeEvent(
  id: string,
  type: string,
  { key, ttl }: { readonly key: string; readonly ttl?: number },
): CloudEvent {
  return {
    attributes: new Map<string, AttributeValue>([
      ['specversion', '1.0'],
      ['id', id],
      ['source', '/sim'],
      ['type', type],
      ['partitionkey', key],
      ...(ttl === undefined ? [] : [['knativebrokerttl', ttl] as const]),
    ]),
    headers: new Map(),
    data: Buffer.from(id),
  };
}

export function idOf(event: CloudEvent): string {
  return String(event.attributes.get('id'));
}

export function keyOf(event: CloudEvent): string {
  return String(event.attributes.get('partitionkey'));
}
