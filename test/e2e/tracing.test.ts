/**
 * Goal: one trace tells where an event has been, through retries, replies, dead letters and a restart; a collector can do no harm;
 * and without one nothing of this is there. Method: the real program, a collector that shows what came, and a hook in Node that
 * writes down every module that is loaded.
 */
import { afterEach, describe, expect, test } from '@jest/globals';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openCollector, traceLengths, traceparentOf } from './collector.ts';
import type { CollectedSpan, Collector } from './collector.ts';
import { eventually } from './eventually.ts';
import { broker, channel, channelRef, subscription, trigger, yamlOf } from './manifests.ts';
import { binary, post, send } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';
import { HANG, type Script, type Subscriber } from './subscriber.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PRODUCER = 'b7ad6b7169203331';
const TRACEPARENT = `00-${TRACE}-${PRODUCER}-01`;
const HEADERS = { traceparent: TRACEPARENT, tracestate: 'shop=7' };

const stage = openStage();
let collector: Collector | undefined;

afterEach(async () => {
  await stage.close();
  await collector?.close();
  collector = undefined;
});

interface Scene {
  readonly program: Program;
  readonly subscriber: Subscriber;
  readonly collector: Collector;
}

async function open(resources: (url: string) => string): Promise<Scene> {
  const subscriber = await stage.subscriber();
  collector = await openCollector();
  const flags = ['--tracing-endpoint', collector.url];
  const program = await stage.start(resources(subscriber.url), { flags });
  return { program, subscriber, collector };
}

async function produce(program: Program, type: string, headers: object = HEADERS): Promise<void> {
  const { status } = await post(`${program.url}/default/main`, {
    headers: { ...binary({ id: type, type }), ...headers },
    body: 'data',
  });
  expect(status).toBe(202);
}

/** `name kind status` of a span and of what came after it, each indented below its parent. */
function treeOf(spans: readonly CollectedSpan[], parentSpanId: string, depth = 0): string[] {
  return spans
    .filter((span) => span.parentSpanId === parentSpanId)
    .toSorted((left, right) => Number(left.startNs - right.startNs))
    .flatMap((span) => {
      const line = `${'  '.repeat(depth)}${span.name} ${span.kind} ${span.status}`;
      return [line, ...treeOf(spans, span.spanId, depth + 1)];
    });
}

const replyOf =
  (type: string): Script =>
  ({ id }) => ({
    status: 200,
    headers: binary({ id: `${id}-reply`, type }),
    body: 'reply',
  });

describe('one trace', () => {
  test('goes from the producer through a reply to the next subscriber', async () => {
    const scene = await open((url) =>
      yamlOf(
        broker('main'),
        trigger('first', { filter: { type: 'order' }, subscriber: `${url}/first` }),
        trigger('second', { filter: { type: 'answer' }, subscriber: `${url}/second` }),
      ),
    );
    scene.subscriber.on('/first', replyOf('answer'));
    await produce(scene.program, 'order', { ...HEADERS, 'x-b3-traceid': TRACE });
    const spans = await scene.collector.collected(4);
    expect(treeOf(spans, PRODUCER)).toEqual([
      'broker:main.default SERVER UNSET',
      '  trigger:first.default CLIENT UNSET',
      '    broker:main.default INTERNAL UNSET',
      '      trigger:second.default CLIENT UNSET',
    ]);
    expect(spans.map(({ traceId, traceState }) => [traceId, traceState])).toEqual(
      spans.map(() => [TRACE, HEADERS.tracestate]),
    );
    const [first, second] = ['first', 'second'].map((name) =>
      spans.find((span) => span.name === `trigger:${name}.default`),
    );
    expect(first?.attributes).toMatchObject({
      'messaging.system': 'knative',
      'messaging.destination.name': 'trigger:first.default',
      'messaging.operation.name': 'send',
      'kn.broker.name': 'main',
      'kn.broker.namespace': 'default',
      'cloudevents.id': 'order',
      'cloudevents.type': 'order',
      'http.response.status_code': 200,
      'url.scheme': 'http',
      'server.address': '127.0.0.1',
      'server.port': scene.subscriber.port,
    });
    expect(second?.attributes).toMatchObject({ 'cloudevents.id': 'order-reply' });
    if (first === undefined || second === undefined) throw new Error('a span is missing');
    expect(scene.subscriber.at('/first').map(({ headers }) => headers)).toEqual([
      expect.objectContaining({
        traceparent: traceparentOf(first),
        tracestate: HEADERS.tracestate,
        'x-b3-traceid': TRACE,
      }),
    ]);
    expect(scene.subscriber.at('/second').map(({ headers }) => headers['traceparent'])).toEqual([
      traceparentOf(second),
    ]);
  });

  test('shows each attempt, and the dead letter', async () => {
    const scene = await open((url) =>
      yamlOf(
        broker('main'),
        trigger('audit', {
          subscriber: `${url}/in`,
          delivery: { retry: 1, timeout: 'PT0.5S', deadLetterSink: { uri: `${url}/dead` } },
        }),
      ),
    );
    scene.subscriber.on('/in', (one) => (one.nth === 1 ? { status: 503 } : HANG(one)));
    await produce(scene.program, 'order');
    const spans = await scene.collector.collected(4);
    expect(treeOf(spans, PRODUCER)).toEqual([
      'broker:main.default SERVER UNSET',
      '  trigger:audit.default CLIENT ERROR',
      '  trigger:audit.default CLIENT ERROR',
      '  trigger:audit.default CLIENT UNSET',
    ]);
    const attempts = spans
      .filter(({ kind }) => kind === 'CLIENT')
      .toSorted((left, right) => Number(left.startNs - right.startNs));
    expect(attempts.map(({ attributes }) => attributes)).toMatchObject([
      { 'knear.attempt': 1, 'error.type': 'KNEAR_REJECTED', 'http.response.status_code': 503 },
      { 'knear.attempt': 2, 'error.type': 'KNEAR_TIMEOUT' },
      { 'knear.phase': 'dead-letter', 'knear.attempt': 1, 'http.response.status_code': 202 },
    ]);
    const arrived = scene.subscriber.received.map(({ headers }) => headers['traceparent']);
    expect(arrived).toEqual(attempts.map(traceparentOf));
    expect(new Set(arrived).size).toBe(3);
  });

  test('goes through Channels, each step with the scope of Knative’s channels', async () => {
    const scene = await open((url) =>
      yamlOf(
        broker('main'),
        channel('step'),
        trigger('in', { subscriber: channelRef('step') }),
        subscription('out', { channel: 'step', subscriber: `${url}/out` }),
      ),
    );
    await produce(scene.program, 'order');
    const spans = await scene.collector.collected(3);
    expect(treeOf(spans, PRODUCER)).toEqual([
      'broker:main.default SERVER UNSET',
      '  channel:step.default INTERNAL UNSET',
      '    subscription:out.default CLIENT UNSET',
    ]);
    expect(Object.fromEntries(spans.map(({ name, scope }) => [name, scope]))).toEqual({
      'broker:main.default': 'knative.dev/pkg/broker/ingress',
      'channel:step.default': 'knative.dev/eventing/pkg/channel/fanout',
      'subscription:out.default': 'knative.dev/eventing/pkg/channel/fanout',
    });
  });

  test('shows what is refused on the way from one Broker or Channel to another', async () => {
    const scene = await open((url) =>
      yamlOf(
        broker('main'),
        channel('dead'),
        trigger('loop', {
          subscriber: `${url}/loop`,
          delivery: { deadLetterSink: channelRef('dead') },
        }),
      ),
    );
    scene.subscriber.on('/loop', replyOf('order'));
    // One hop is left: the reply has none.
    await produce(scene.program, 'order', { ...HEADERS, 'ce-knativebrokerttl': '2' });
    const spans = await scene.collector.collected(4);
    expect(treeOf(spans, PRODUCER)).toEqual([
      'broker:main.default SERVER UNSET',
      '  trigger:loop.default CLIENT UNSET',
      '    broker:main.default INTERNAL ERROR',
      '  channel:dead.default INTERNAL UNSET',
    ]);
    const inside = spans.filter(({ kind }) => kind === 'INTERNAL');
    const from = { 'knear.egress': 'trigger:loop.default' };
    expect(inside.map(({ attributes }) => attributes)).toMatchObject([
      { ...from, 'knear.phase': 'reply', 'error.type': 'KNEAR_TTL_EXHAUSTED' },
      { ...from, 'knear.phase': 'dead-letter' },
    ]);
  });

  test('goes on after a crash: the log keeps the context (T2)', async () => {
    const scene = await open((url) =>
      yamlOf(
        broker('main'),
        trigger('audit', {
          subscriber: `${url}/in`,
          delivery: { retry: 3, backoffPolicy: 'linear', backoffDelay: 'PT2S' },
        }),
      ),
    );
    const { program, subscriber } = scene;
    subscriber.on('/in', ({ nth }) => (nth === 1 ? { status: 503 } : {}));
    await produce(program, 'order');
    await scene.collector.collected(2);
    await program.crash();
    await program.start();
    const spans = await scene.collector.collected(3);
    expect(treeOf(spans, PRODUCER)).toEqual([
      'broker:main.default SERVER UNSET',
      '  trigger:audit.default CLIENT ERROR',
      '  trigger:audit.default CLIENT UNSET',
    ]);
    const instances = spans.map(({ resource }) => resource['service.instance.id']);
    expect(new Set(instances).size).toBe(2);
  });

  test('begins at the door, where the producer brings none; a batch has one for each event', async () => {
    const scene = await open((url) =>
      yamlOf(broker('main'), trigger('audit', { subscriber: `${url}/in` })),
    );
    const batch = ['a', 'b'].map((id) => ({
      specversion: '1.0',
      id,
      source: '/e2e',
      type: 'order',
    }));
    const { status } = await post(`${scene.program.url}/default/main`, {
      headers: { 'content-type': 'application/cloudevents-batch+json' },
      body: JSON.stringify(batch),
    });
    expect(status).toBe(202);
    const spans = await scene.collector.collected(4);
    expect(treeOf(spans, '').toSorted()).toEqual([
      '  trigger:audit.default CLIENT UNSET',
      '  trigger:audit.default CLIENT UNSET',
      'broker:main.default SERVER UNSET',
      'broker:main.default SERVER UNSET',
    ]);
    expect([...traceLengths(spans).values()]).toEqual([2, 2]);
  });
});

describe('a collector', () => {
  const EVENTS = 400;

  test.each([
    { name: 'is not there', mood: undefined },
    { name: 'never answers', mood: 'hanging' },
    { name: 'refuses everything', mood: 'refusing' },
  ] as const)('that $name does not keep one event back (T3)', async ({ mood }) => {
    const scene = await open((url) =>
      yamlOf(broker('main'), trigger('audit', { subscriber: `${url}/in` })),
    );
    const { program, subscriber } = scene;
    if (mood === undefined) await scene.collector.close();
    else scene.collector.mood = mood;
    const url = `${program.url}/default/main`;
    const answers = await Promise.all(
      Array.from({ length: EVENTS }, (_, id) => send(url, { id: String(id), type: 'order' })),
    );
    expect(answers.filter(({ status }) => status !== 202)).toEqual([]);
    // Well within the 10 s after which a batch is given up, so nobody can have waited for one.
    await eventually('all events', () => subscriber.at('/in').length >= EVENTS, {
      withinMs: 8_000,
    });
    expect(await program.metric('knear_ended_total', { end: 'delivered' })).toBe(EVENTS);
    expect(await program.metric('knear_spans_exported_total')).toBe(0);
    if (mood === 'refusing') {
      const dropped = { reason: 'export-failed' };
      await eventually(
        'spans lost',
        async () => (await program.metric('knear_spans_dropped_total', dropped)) === 2 * EVENTS,
      );
      expect(program.output.match(/spans are lost/g)).toHaveLength(1);
    }
    const askedMs = performance.now();
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    expect(performance.now() - askedMs).toBeLessThan(6_000);
    expect(program.complaints).toEqual([]);
    if (mood === undefined) collector = undefined;
  });

  test('gets the spans that wait when the program ends', async () => {
    const scene = await open((url) =>
      yamlOf(broker('main'), trigger('audit', { subscriber: `${url}/in` })),
    );
    await produce(scene.program, 'order');
    await eventually('the event', () => scene.subscriber.at('/in').length > 0);
    await scene.program.stop();
    expect(treeOf(scene.collector.spans, PRODUCER)).toEqual([
      'broker:main.default SERVER UNSET',
      '  trigger:audit.default CLIENT UNSET',
    ]);
  });
});

describe('without a collector', () => {
  /** A hook that writes down the address of every module, ours and packages', whichever way it is loaded. */
  function watchModules(): { readonly nodeFlags: string[]; names(): string[] } {
    const folder = stage.folder();
    const list = join(folder, 'modules.txt');
    const hook = join(folder, 'hook.mjs');
    writeFileSync(list, '');
    writeFileSync(
      hook,
      `import { appendFileSync } from 'node:fs';
       import { registerHooks } from 'node:module';
       registerHooks({
         load(url, context, next) {
           appendFileSync(${JSON.stringify(list)}, url + '\\n');
           return next(url, context);
         },
       });`,
    );
    return {
      nodeFlags: ['--import', pathToFileURL(hook).href],
      names: () => readFileSync(list, 'utf8').split('\n'),
    };
  }

  async function loadedBy(flags: readonly string[]) {
    const subscriber = await stage.subscriber();
    const modules = watchModules();
    const resources = yamlOf(
      broker('main'),
      trigger('audit', { subscriber: `${subscriber.url}/in` }),
    );
    const program = await stage.start(resources, { flags, nodeFlags: modules.nodeFlags });
    await produce(program, 'order');
    await eventually('the event', () => subscriber.at('/in').length > 0);
    return { modules: modules.names(), arrived: subscriber.at('/in')[0]?.headers };
  }

  /** But for the interfaces, which prom-client brings along. */
  const isTracing = (url: string) => /@opentelemetry\/(?!api\/)|main\/observe\/trac/.test(url);

  test('headers pass as they came, and no module for traces is loaded', async () => {
    const { modules, arrived } = await loadedBy([]);
    expect(arrived).toMatchObject(HEADERS);
    expect(modules.filter(isTracing)).toEqual([]);
    expect(modules.some((url) => url.endsWith('main/serve.ts'))).toBe(true);
    expect(modules.some((url) => url.includes('/node_modules/undici/'))).toBe(true);
  });

  test('with one, the same hook sees them', async () => {
    collector = await openCollector();
    const { modules, arrived } = await loadedBy(['--tracing-endpoint', collector.url]);
    expect(arrived?.['traceparent']).not.toBe(HEADERS.traceparent);
    expect(modules.filter(isTracing).length).toBeGreaterThan(10);
  });
});
