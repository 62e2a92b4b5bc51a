/**
 * Random graphs of Brokers and Channels with everything that can happen to an event in them, for tests that compare what
 * arrives with local hops and without: Sequences, Parallels, and Triggers with filters, replies, retries, sinks and loops.
 *
 * Subscribers are functions: what they answer follows from where an event comes to, its id, and how often it has come there.
 * So the answers do not depend on who comes first.
 */
import fc from 'fast-check';

import type { Filter, RetryPolicy } from '../../core/topology.ts';

/** `b0` is a Broker, `c0` a Channel. */
export type IngressName = `b${number}` | `c${number}`;

export interface GraphEgress {
  readonly id: string;
  readonly of: IngressName;
  /** Of a Broker's. */
  readonly filter: Filter;
  /** Absent: a subscriber of its own. */
  readonly leadsTo?: IngressName;
  /** Of a Channel's; a Broker's replies to its Broker. */
  readonly reply?: IngressName | 'outside';
  readonly deadLetter?: IngressName | 'sink';
  readonly retry: RetryPolicy;
  readonly exhausted: 'park' | 'drop';
  /** What its subscriber answers with; absent: with nothing. */
  readonly replyType?: string;
  readonly redoMaxMs: number;
}

export interface GraphEvent {
  readonly id: string;
  readonly type: string;
  readonly to: IngressName;
  readonly ttl: number;
}

export interface Graph {
  readonly ingresses: readonly IngressName[];
  readonly egresses: readonly GraphEgress[];
  readonly events: readonly GraphEvent[];
}

/** What a destination answers the nth time that it gets an event. */
export interface Answer {
  readonly kind: 'takes' | 'fails' | 'refuses' | 'resets';
  readonly afterMs: number;
}

/**
 * @param to where it comes to, the same with hops and without
 * @param nth from 1
 * @param retries after the first attempt. Who fails for a while fails no longer than that: two copies of an event share the count
 */
export function answerOf(
  to: string,
  id: string,
  { nth, retries }: { readonly nth: number; readonly retries: number },
): Answer {
  const lot = hashOf(`${to} ${id}`);
  const afterMs = [0, 0, 0, 20, 300][lot % 5] ?? 0;
  const fate = (lot >>> 8) % 12;
  if (fate === 0) return { kind: 'fails', afterMs };
  if (fate === 1) return { kind: 'refuses', afterMs };
  if (fate === 2) return { kind: 'resets', afterMs };
  const failures = fate <= 5 ? Math.min(retries, 1 + ((lot >>> 16) % 3)) : 0;
  return { kind: nth <= failures ? 'fails' : 'takes', afterMs };
}

/** FNV-1a, with a last stir. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const character of text) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}

const TYPES = ['a', 'b', 'c'] as const;
const type = fc.constantFrom(...TYPES);

const filter: fc.Arbitrary<Filter> = fc.oneof(
  { weight: 2, arbitrary: fc.constant<Filter>({ kind: 'everything' }) },
  { weight: 4, arbitrary: type.map((of): Filter => ({ kind: 'exact', values: { type: of } })) },
  type.map((of): Filter => ({ kind: 'not', filter: { kind: 'exact', values: { type: of } } })),
  fc.tuple(type, type).map((of): Filter => ({
    kind: 'any',
    filters: of.map((each) => ({ kind: 'exact', values: { type: each } })),
  })),
  fc.constantFrom('0', '1').map((end): Filter => ({ kind: 'suffix', values: { id: end } })),
);

/** Waits that are spent in memory, and such that are spent in the log. */
const retry: fc.Arbitrary<RetryPolicy> = fc
  .tuple(
    fc.integer({ min: 0, max: 2 }),
    fc.constantFrom('linear', 'exponential'),
    fc.constantFrom(20, 400, 1_200),
  )
  .map(([retries, backoff, delayMs]) => ({ retries, backoff, delayMs }));

const always = { redoMaxMs: fc.constantFrom(0, 50, 1_000, 1_000, 1_000, 1_000), retry };
const mostly = <T>(one: T, arbitrary: fc.Arbitrary<T>, weight = 2): fc.Arbitrary<T> =>
  fc.oneof({ weight, arbitrary: fc.constant(one) }, { weight: 1, arbitrary });

const sink = fc.option(fc.constant('sink' as const), { nil: undefined });
const exhausted = fc.constantFrom('park', 'drop');
const EVERYTHING: Filter = { kind: 'everything' };

type Loose<T> = { readonly [K in keyof T]: T[K] | undefined };

/** Without what is not there. */
function egress({
  deadLetter,
  reply,
  leadsTo,
  replyType,
  ...parts
}: Omit<GraphEgress, 'deadLetter' | 'reply' | 'leadsTo' | 'replyType'> &
  Loose<
    Partial<Pick<GraphEgress, 'deadLetter' | 'reply' | 'leadsTo' | 'replyType'>>
  >): GraphEgress {
  return {
    ...parts,
    ...(deadLetter && { deadLetter }),
    ...(reply && { reply }),
    ...(leadsTo && { leadsTo }),
    ...(replyType && { replyType }),
  };
}

const events = (to: readonly IngressName[]) =>
  fc
    .array(
      fc.record({
        type,
        to: fc.constantFrom(...to),
        ttl: fc.integer({ min: 2, max: 4 }),
      }),
      { minLength: 1, maxLength: 3 },
    )
    .map((each) => each.map((event, index): GraphEvent => ({ id: `e${index}`, ...event })));

/** As the controller unfolds one: a Channel a step, each step's reply goes to the next one. */
const sequence: fc.Arbitrary<Graph> = fc
  .array(fc.record({ ...always, deadLetter: sink, exhausted, replyType: mostly('a', type) }), {
    minLength: 2,
    maxLength: 6,
  })
  .chain((steps) =>
    events(['c0']).map((given) => ({
      ingresses: steps.map((_, index): IngressName => `c${index}`),
      egresses: steps.map((step, index) =>
        egress({
          ...step,
          id: `s${index}`,
          of: `c${index}`,
          filter: EVERYTHING,
          reply: index + 1 < steps.length ? `c${index + 1}` : undefined,
        }),
      ),
      events: given,
    })),
  );

/** A filter a branch, which answers or does not, and behind it the branch's own step, all with one reply. */
const parallel: fc.Arbitrary<Graph> = fc
  .tuple(
    fc.array(
      fc.record({
        ...always,
        deadLetter: sink,
        exhausted,
        replyType: mostly('a', type),
        passes: fc.boolean(),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    fc.record({ ...always, deadLetter: sink, exhausted }),
  )
  .chain(([branches, last]) =>
    events(['c0']).map((given) => {
      const end: IngressName = `c${branches.length + 1}`;
      const ends = branches.flatMap(({ passes, ...branch }, index) => {
        const inner: IngressName = `c${index + 1}`;
        const replyType = passes ? branch.replyType : undefined;
        const common = { ...branch, filter: EVERYTHING };
        return [
          egress({ ...common, id: `f${index}`, of: 'c0', reply: inner, replyType }),
          egress({ ...common, id: `p${index}`, of: inner, reply: end }),
        ];
      });
      const collector = egress({ ...last, id: 'last', of: end, filter: EVERYTHING });
      const inner = branches.map((_, index): IngressName => `c${index + 1}`);
      return { ingresses: ['c0', ...inner, end], egresses: [...ends, collector], events: given };
    }),
  );

/**
 * Two Brokers, three Channels, and anything between them. A Channel leads to Brokers and to later Channels only: what goes
 * round through Brokers ends with its hop count, what goes round through Channels never.
 */
const web: fc.Arbitrary<Graph> = fc
  .array(
    fc.record({
      ...always,
      of: fc.constantFrom<IngressName[]>('b0', 'b0', 'b0', 'b1', 'c0', 'c1', 'c2'),
      filter,
      exhausted,
      leadsTo: mostly<IngressName | undefined>(
        undefined,
        fc.constantFrom('b0', 'b1', 'c0', 'c1', 'c2'),
        3,
      ),
      reply: fc.constantFrom<(IngressName | 'outside' | undefined)[]>(
        'b0',
        'b1',
        'c1',
        'c2',
        'outside',
        undefined,
      ),
      deadLetter: fc.constantFrom<(IngressName | 'sink' | undefined)[]>(
        'sink',
        'b1',
        'c2',
        undefined,
      ),
      replyType: mostly<string | undefined>(undefined, type, 1),
    }),
    { minLength: 2, maxLength: 7 },
  )
  .chain((egresses) =>
    events(['b0', 'b0', 'b1', 'c0']).map((given) => ({
      ingresses: ['b0', 'b1', 'c0', 'c1', 'c2'] as const,
      egresses: egresses.map((each, index) => ahead({ ...each, id: `x${index}` })),
      events: given,
    })),
  );

/** What would lead a Channel back to itself leads nowhere instead. */
function ahead({
  of,
  filter: wanted,
  leadsTo,
  reply,
  deadLetter,
  ...parts
}: Parameters<typeof egress>[0]): GraphEgress {
  const isChannel = of.startsWith('c');
  const allowed = <To extends string>(to: To | undefined): To | undefined =>
    isChannel && to?.startsWith('c') && to <= of ? undefined : to;
  return egress({
    ...parts,
    of,
    filter: isChannel ? EVERYTHING : wanted,
    leadsTo: allowed(leadsTo),
    reply: isChannel ? allowed(reply) : undefined,
    deadLetter: allowed(deadLetter),
  });
}

export const graphs: fc.Arbitrary<Graph> = fc.oneof(sequence, parallel, {
  weight: 3,
  arbitrary: web,
});

/** At most so many requests come of its events, retries apart: what grows in each round of a loop is soon more than a machine can do. */
export function weightOf({ egresses, events: sent }: Graph): number {
  const known = new Map<string, number>();
  const visits = (to: string | undefined, ttl: number): number => {
    if (to === undefined || to === 'sink' || to === 'outside') return 1;
    const left = to.startsWith('b') ? ttl - 1 : ttl;
    if (left <= 0) return 1;
    const key = `${to} ${String(left)}`;
    let weight = known.get(key);
    if (weight === undefined) {
      weight = 0;
      for (const { of, leadsTo, reply, replyType, deadLetter } of egresses) {
        if (of !== to) continue;
        const answered =
          replyType === undefined ? 0 : visits(of.startsWith('b') ? of : reply, left);
        weight += 1 + (leadsTo ? visits(leadsTo, left) : answered) + visits(deadLetter, left);
      }
      known.set(key, weight);
    }
    return weight;
  };
  return sent.reduce((sum, { to, ttl }) => sum + visits(to, ttl), 0);
}
