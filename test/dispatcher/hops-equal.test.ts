/**
 * Goal: nobody can tell afterwards whether there were local hops. Method: random graphs are run with hops and without, on the
 * real log and the real dispatcher, in memory and in time that moves from timer to timer. Every request, every end and every
 * parked entry must be the same, but for the time of arrival.
 */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';

import { GroupedLog } from '../../broker/log/grouped-log.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { DeliveryRequest, Outcome } from '../../core/ports/deliverer.ts';
import type { Failure } from '../../core/ports/event-log.ts';
import type { Happening } from '../../core/ports/observer.ts';
import { admit } from '../../core/rules/admit.ts';
import { compileMatch } from '../../core/rules/match.ts';
import type { Egress, HopPolicy, Topology } from '../../core/topology.ts';
import { Dispatcher } from '../../dispatcher/dispatcher.ts';
import { GatedStore } from '../fakes/gated-store.ts';
import { SteppedClock } from '../fakes/stepped-clock.ts';
import { answerOf, graphs, type Graph, type GraphEgress, type IngressName } from './hops-graph.ts';
import {
  at,
  broker,
  channel,
  eventOf,
  idOf,
  inside,
  subscription,
  topologyOf,
  trigger,
} from './resources.ts';

const RUNS = 300;
/** Retries wait for seconds, and a loop of Brokers for each of its rounds. */
const SETTLE_MAX_MS = 600_000;

/** What is seen from outside, in no order. */
interface Seen {
  readonly requests: readonly string[];
  readonly ends: readonly string[];
  readonly parked: readonly string[];
}

test('C1 C3 C4 C5 what arrives, ends and is parked is the same with hops and without', async () => {
  let hops = 0;
  await fc.assert(
    fc.asyncProperty(graphs, async (graph) => {
      const without = await run(graph, () => ({ isOn: false, redoMaxMs: 0 }));
      const withHops = await run(graph, ({ redoMaxMs }) => ({ isOn: true, redoMaxMs }));
      hops += withHops.hops;
      expect(withHops.seen).toEqual(without.seen);
      expect(without.hops).toBe(0);
    }),
    { numRuns: RUNS },
  );
  expect(hops).toBeGreaterThan(RUNS);
}, 120_000);

async function run(
  graph: Graph,
  policyOf: (egress: GraphEgress) => HopPolicy,
): Promise<{ readonly seen: Seen; readonly hops: number }> {
  const clock = new SteppedClock();
  const topology = topologyOfGraph(graph, policyOf);
  const match = compileMatch(topology);
  const happenings: Happening[] = [];
  const bugs: unknown[] = [];
  const observer = { observe: (happening: Happening) => void happenings.push(happening) };
  const store = new GatedStore();
  store.isGated = false;
  const log = GroupedLog.open({ store, match, clock, observer, limits: LIMITS });
  const requests: string[] = [];
  const counts = new Map<string, number>();
  const deliver = (request: DeliveryRequest): Promise<Outcome> => {
    const text = `${request.url} ${textOf(request.event)}`;
    requests.push(text);
    const nth = (counts.get(text) ?? 0) + 1;
    counts.set(text, nth);
    return answer(clock, graph, { request, nth });
  };
  const dispatcher = new Dispatcher(topology, {
    log,
    match,
    deliverer: { deliver, close: () => Promise.resolve() },
    payloads: { release: () => undefined },
    observer,
    clock,
    slotsMax: 256,
    backoffMaxMs: 3_600_000,
    open: { countMax: 1_000, bytesMax: 64 * 1024 * 1024 },
    goneAfterMs: 10_000,
    isBusy: () => false,
    onBug: (error) => void bugs.push(error),
  });
  dispatcher.apply(topology);
  for (const { id, type, to, ttl } of graph.events) {
    const ingress = topology.ingresses.get(to);
    const given = eventOf(id, { type, attributes: { knativebrokerttl: ttl }, data: `of ${id}` });
    const admission = ingress && admit(ingress, given, clock.nowMs());
    if (admission?.kind !== 'admitted') throw new Error('the door takes what a test sends');
    void log.append(to, [admission.event]);
  }
  const ids = graph.egresses.map(({ id }) => id);
  const isQuiet = () =>
    ids.every((id) => log.lag(id).ready + log.lag(id).delayed === 0) && dispatcher.open === 0;
  do await clock.pass(1_000);
  while (!isQuiet() && clock.monotonicMs() < SETTLE_MAX_MS);
  expect(isQuiet()).toBe(true);
  expect(bugs).toEqual([]);
  expect(dispatcher.openBytes).toBe(0);
  for (const { slots } of dispatcher.loops()) expect([slots.inUse, slots.waiting]).toEqual([0, 0]);
  const parked: string[] = [];
  for (const id of ids) {
    for (const { event, failure } of await log.parked(id, { limit: 10_000 }))
      parked.push(`${id} ${textOf(event)} ${failureText(failure)}`);
  }
  const ends = happenings.flatMap((each) =>
    each.kind === 'ended'
      ? [`${each.egress.id} ${idOf(each.event)} ${each.end} ${failureText(each.failure)}`]
      : [],
  );
  const hops = happenings.filter((each) => each.kind === 'hop' && each.result === 'taken').length;
  const seen = { requests: requests.sort(), ends: ends.sort(), parked: parked.sort() };
  return { seen, hops };
}

function answer(
  clock: SteppedClock,
  graph: Graph,
  { request: { url, event, wantsReply }, nth }: { request: DeliveryRequest; nth: number },
): Promise<Outcome> {
  const { hostname, pathname } = new URL(url);
  const egress = graph.egresses.find(({ id }) => `/${id}` === pathname);
  const retries = egress?.retry.retries ?? 0;
  const { kind, afterMs } = answerOf(url, idOf(event), { nth, retries });
  const outcome = outcomeOf(kind);
  const isAnswered = kind === 'takes' && hostname === 'own' && wantsReply;
  const reply =
    isAnswered && egress?.replyType !== undefined
      ? eventOf(`${idOf(event)}>${egress.id}`, {
          type: egress.replyType,
          data: `of ${idOf(event)} by ${egress.id}`,
        })
      : undefined;
  const result: Outcome = reply ? { kind: 'replied', status: 200, event: reply } : outcome;
  if (afterMs === 0) return Promise.resolve(result);
  return new Promise((resolve) => {
    clock.after(afterMs, () => resolve(result));
  });
}

function outcomeOf(kind: ReturnType<typeof answerOf>['kind']): Outcome {
  switch (kind) {
    case 'takes':
      return { kind: 'accepted', status: 202 };
    case 'fails':
      return { kind: 'rejected', status: 503, body: Buffer.from('not now') };
    case 'refuses':
      return { kind: 'rejected', status: 400, body: Buffer.from('never') };
    case 'resets':
      return { kind: 'unreachable', code: 'KNEAR_RESET', detail: 'reset' };
  }
}

/** All that an event says but when it came. */
function textOf({ attributes, data }: CloudEvent): string {
  const told = [...attributes].filter(([name]) => name !== 'knativearrivaltime').sort();
  return JSON.stringify([told, Buffer.isBuffer(data) ? data.toString() : data]);
}

function failureText(failure: Failure | undefined): string {
  return failure ? `${failure.code} ${failure.status} ${failure.dest}` : '';
}

function topologyOfGraph(graph: Graph, policyOf: (egress: GraphEgress) => HopPolicy): Topology {
  const hops = { isOn: true, redoMaxMs: 1_000 };
  const ingresses = graph.ingresses.map((name) =>
    name.startsWith('b') ? broker(name, { hops }) : channel(name, { hops }),
  );
  return topologyOf(1, {
    ingresses,
    egresses: graph.egresses.map((each) => egressOf(each, policyOf(each))),
  });
}

function egressOf(given: GraphEgress, hops: HopPolicy): Egress {
  const { id, of, filter, leadsTo, reply, deadLetter, retry, exhausted } = given;
  const target = (to: IngressName | 'outside' | 'sink') =>
    to === 'outside' || to === 'sink' ? at(`http://${to}/${id}`) : inside(to);
  const parts: Partial<Egress> = {
    id,
    ingressId: of,
    filter,
    subscriber: leadsTo ? inside(leadsTo) : at(`http://own/${id}`),
    retry,
    exhausted,
    hops,
    ...(deadLetter && { deadLetter: target(deadLetter) }),
  };
  if (of.startsWith('b')) return trigger({ ...parts, reply: inside(of) });
  return subscription({ ...parts, ...(reply && { reply: target(reply) }) });
}

const LIMITS = {
  sizeMaxBytes: 1e12,
  quotaBytes: 1e12,
  reserveBytes: 0,
  windowMax: 256,
  parkedMax: 10_000,
  parkedBytesMax: 1e9,
  parkedAgeMs: 7 * 24 * 3_600_000,
};
