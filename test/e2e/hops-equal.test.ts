/**
 * Goal: nobody can tell afterwards whether there were local hops. Method: random graphs, each twice in one program, in a
 * namespace with hops and in one without. Every subscriber and sink must get the same events, but for the time of arrival,
 * and lives must end in the same ways. How often is not compared: a log may give something again on a busy machine.
 */
import { afterEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  answerOf,
  graphs,
  weightOf,
  type Graph,
  type GraphEgress,
  type IngressName,
} from '../dispatcher/hops-graph.ts';
import {
  broker,
  brokerRef,
  channel,
  channelRef,
  subscription,
  trigger,
  yamlOf,
  type Manifest,
} from './manifests.ts';
import { binary, send } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';
import type { Received, Reply, Subscriber } from './subscriber.ts';

const GRAPHS = 40;
/** Most graphs are small, and some subscribers take longer than a crash may repeat. */
const HOPS_MIN = 10;
/** Requests of one graph. */
const WEIGHT_MAX = 60;
const MODES = ['on', 'off'] as const;
type Mode = (typeof MODES)[number];
/** The rounds of a loop of Brokers, each with its retries. */
const SETTLE_MAX_MS = 90_000;
const LIMIT_MS = 150_000;

const stage = openStage();
afterEach(() => stage.close());

test(
  'C1 C3 C4 C5 what arrives and how it ends is the same with hops and without',
  async () => {
    const seed = Date.now() % 1_000_000;
    console.log(`graphs with hops and without: seed ${String(seed)}`);
    const sample = fc.sample(
      graphs.filter((graph) => weightOf(graph) <= WEIGHT_MAX),
      { numRuns: GRAPHS, seed },
    );
    const subscriber = await stage.subscriber();
    sample.forEach((graph, index) => {
      for (const mode of MODES) listen(subscriber, graph, namespaceOf(index, mode));
    });
    const manifests = sample.flatMap((graph, index) =>
      MODES.flatMap((mode) => resources(graph, { mode, index, url: subscriber.url })),
    );
    const program = await stage.start(yamlOf(...manifests));
    expect((await program.statuses()).filter(({ isReady }) => !isReady)).toEqual([]);
    await Promise.all(
      sample.flatMap((graph, index) =>
        MODES.map((mode) => produce(program, graph, namespaceOf(index, mode))),
      ),
    );
    await program.idle(SETTLE_MAX_MS);
    const ends = await endsOf(program);
    for (const [index, graph] of sample.entries()) {
      const seen = (mode: Mode) => ({
        graph,
        requests: requestsIn(subscriber, { mode, index }),
        ends: ends.get(namespaceOf(index, mode)) ?? [],
      });
      expect(seen('on')).toEqual(seen('off'));
    }
    const hops = await program.metric('knear_local_hops_total', { result: 'taken' });
    expect(hops).toBeGreaterThan(HOPS_MIN);
    expect(program.complaints).toEqual([]);
  },
  LIMIT_MS,
);

test('what is answered to a Channel that nobody listens to is done with', async () => {
  const subscriber = await stage.subscriber();
  subscriber.on('/asked', ({ id }) => ({
    headers: binary({ id, type: 'answer' }),
    status: 200,
    body: 'so',
  }));
  const program = await stage.start(
    yamlOf(
      channel('heard'),
      channel('unheard'),
      subscription('asked', {
        channel: 'heard',
        subscriber: `${subscriber.url}/asked`,
        reply: channelRef('unheard'),
      }),
    ),
  );
  await send(`${program.url}/default/channels/heard`, { id: 'one', type: 'question' });
  await program.idle();
  expect(subscriber.at('/asked')).toHaveLength(1);
  expect(await program.metric('knear_ended_total', { end: 'delivered' })).toBe(1);
});

function namespaceOf(index: number, mode: Mode): string {
  return `graph-${String(index)}-${mode}`;
}

async function produce(program: Program, graph: Graph, namespace: string): Promise<void> {
  for (const { id, type, to, ttl } of graph.events) {
    const path = to.startsWith('b') ? to : `channels/${to}`;
    const attributes = { id, type, knativebrokerttl: String(ttl) };
    const { status } = await send(`${program.url}/${namespace}/${path}`, attributes, `of ${id}`);
    expect(status).toBe(202);
  }
}

/** Subscribers, sinks and the address for replies of one namespace, each at a path of its own. */
function listen(subscriber: Subscriber, { egresses }: Graph, namespace: string): void {
  const nths = new Map<string, number>();
  for (const egress of egresses) {
    for (const to of ['own', 'sink', 'outside'] as const) {
      const path = `/${namespace}/${to}/${egress.id}`;
      subscriber.on(path, (received): Reply => {
        const key = `${to} ${textOf(received)}`;
        const nth = (nths.get(key) ?? 0) + 1;
        nths.set(key, nth);
        return replyOf(egress, { to, nth, id: received.id });
      });
    }
  }
}

function replyOf(
  { id: egressId, retry: { retries }, replyType }: GraphEgress,
  { to, nth, id }: { readonly to: string; readonly nth: number; readonly id: string },
): Reply {
  const { kind, afterMs } = answerOf(`${to}/${egressId}`, id, { nth, retries });
  switch (kind) {
    case 'fails':
      return { status: 503, body: 'not now', afterMs };
    case 'refuses':
      return { status: 400, body: 'never', afterMs };
    case 'resets':
      return { isReset: true, afterMs };
    case 'takes':
      return to === 'own' && replyType !== undefined
        ? {
            status: 200,
            headers: binary({ id: `${id}>${egressId}`, type: replyType }),
            body: `of ${id} by ${egressId}`,
            afterMs,
          }
        : { afterMs };
  }
}

/** What came to a namespace, each once, in no order. */
function requestsIn(
  { received }: Subscriber,
  { mode, index }: { readonly mode: Mode; readonly index: number },
): string[] {
  const namespace = namespaceOf(index, mode);
  const texts = received
    .filter(({ path }) => path.startsWith(`/${namespace}/`))
    .map((each) => `${each.path} ${textOf(each)}`.replaceAll(namespace, 'graph'));
  return [...new Set(texts)].sort();
}

/** All that an event says but when it came. */
function textOf({ headers, body }: Received): string {
  const told = Object.entries(headers).filter(
    ([name]) => name.startsWith('ce-') && name !== 'ce-knativearrivaltime',
  );
  return JSON.stringify([told.sort(), String(body)]);
}

/** Namespace -> which lives ended in which ways. */
async function endsOf(program: Program): Promise<ReadonlyMap<string, readonly string[]>> {
  const ends = new Map<string, string[]>();
  for (const { name, labels, value } of await program.samples()) {
    if (name !== 'knear_ended_total' || value === 0) continue;
    const [, egress = '', namespace = ''] = /^(.+)\.([^.]+)$/.exec(labels['egress'] ?? '') ?? [];
    ends.set(namespace, [...(ends.get(namespace) ?? []), `${egress} ${labels['end'] ?? ''}`]);
  }
  for (const list of ends.values()) list.sort();
  return ends;
}

// --- a graph as resources ---------------------------------------------------------------------------------------------

interface Place {
  readonly mode: Mode;
  readonly index: number;
  readonly url: string;
}

function resources(graph: Graph, place: Place): Manifest[] {
  const namespace = namespaceOf(place.index, place.mode);
  const annotations = { 'knear.dev/local-hop': place.mode === 'on' ? 'chain' : 'off' };
  return [
    ...graph.ingresses.map((name) =>
      name.startsWith('b')
        ? broker(name, { namespace, annotations })
        : channel(name, { namespace, annotations }),
    ),
    ...graph.egresses.map((egress) => egressManifest(egress, { ...place, namespace, annotations })),
  ];
}

function egressManifest(
  { id, of, filter, leadsTo, reply, deadLetter, retry, exhausted, redoMaxMs }: GraphEgress,
  {
    url,
    namespace,
    annotations: common,
  }: Place & { readonly namespace: string; readonly annotations: Record<string, string> },
): Manifest {
  const at = (to: 'own' | 'sink' | 'outside') => ({ uri: `${url}/${namespace}/${to}/${id}` });
  const target = (to: IngressName | 'sink' | 'outside') => {
    if (to === 'sink' || to === 'outside') return at(to);
    return to.startsWith('b') ? brokerRef(to) : channelRef(to);
  };
  const annotations = {
    ...common,
    'knear.dev/exhausted': exhausted,
    'knear.dev/redo-max': duration(redoMaxMs),
  };
  const spec = {
    namespace,
    annotations,
    subscriber: leadsTo ? target(leadsTo) : at('own'),
    delivery: {
      retry: retry.retries,
      backoffPolicy: retry.backoff,
      backoffDelay: duration(retry.delayMs),
      ...(deadLetter && { deadLetterSink: target(deadLetter) }),
    },
  };
  if (of.startsWith('b')) {
    const filters = filter.kind === 'everything' ? {} : { filters: [filterManifest(filter)] };
    return trigger(id, { ...spec, ...filters, broker: of });
  }
  return subscription(id, { ...spec, channel: of, ...(reply && { reply: target(reply) }) });
}

function duration(ms: number): string {
  return `PT${String(ms / 1_000)}S`;
}

function filterManifest(filter: GraphEgress['filter']): object {
  if ('values' in filter) return { [filter.kind]: filter.values };
  if ('filters' in filter) return { [filter.kind]: filter.filters.map(filterManifest) };
  if ('filter' in filter) return { [filter.kind]: filterManifest(filter.filter) };
  throw new Error(`graphs have no filter ${filter.kind}`);
}
