/**
 * Goal: what knear says in spans and headers about where an event was, and what becomes of spans that nobody wants. Method: the
 * real OpenTelemetry packages send to a collector on a free port; only the clock of the spans is the test's.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { generate } from 'selfsigned';
import { KnearError } from '../../core/errors.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { Span, TracedAttempt, TracedWay } from '../../core/ports/tracer.ts';
import type { Clock } from '../../core/ports/time.ts';
import type { Egress } from '../../core/topology.ts';
import { packageVersion } from '../../main/settings.ts';
import { openTracing, type Tracing, type TracingOptions } from '../../main/observe/tracing.ts';
import {
  at,
  broker,
  channel,
  eventOf,
  inside,
  subscription,
  topologyOf,
  trigger,
} from '../dispatcher/resources.ts';
import { openCollector, traceLengths } from '../e2e/collector.ts';
import type { CollectedSpan, Collector } from '../e2e/collector.ts';
import { eventually } from '../e2e/eventually.ts';
import { FakeClock } from '../fakes/clock.ts';
import { send as sendTo } from '../http/clients.ts';
import { EVENT_HEADERS, openDoor } from '../http/open-door.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PRODUCER = 'b7ad6b7169203331';
const SAMPLED = `00-${TRACE}-${PRODUCER}-01`;
const UNSAMPLED = `00-${TRACE}-${PRODUCER}-00`;

const BROKER = broker('orders');
const CHANNEL = channel('steps');

let collector: Collector;
let clock: FakeClock;
let logged: { readonly level: number; readonly msg: string; readonly [field: string]: unknown }[];
let opened: Tracing[];

beforeEach(async () => {
  collector = await openCollector();
  clock = new FakeClock();
  logged = [];
  opened = [];
});

afterEach(async () => {
  await Promise.all([collector.close(), ...opened.map((tracing) => tracing.close())]);
});

function open(more: Partial<TracingOptions> = {}): Tracing {
  const topology = topologyOf(1, { ingresses: [BROKER, CHANNEL] });
  const tracing = openTracing({
    endpoint: collector.url,
    sampling: 1,
    clock,
    logger: pino({ level: 'debug' }, { write: (line) => void logged.push(JSON.parse(line)) }),
    topology: () => topology,
    ...more,
  });
  opened.push(tracing);
  return tracing;
}

/** What the collector has once everything was sent. */
async function spansOf(tracing: Tracing): Promise<readonly CollectedSpan[]> {
  await tracing.close();
  return collector.spans;
}

async function onlySpanOf(tracing: Tracing): Promise<CollectedSpan> {
  const [span, ...rest] = await spansOf(tracing);
  if (span === undefined || rest.length > 0) throw new Error('not one span');
  return span;
}

function request(startedMs = 0) {
  return { startedMs, scheme: 'http' } as const;
}

function first(event: CloudEvent): TracedAttempt {
  return { event, phase: 'deliver', attempt: 0 };
}

function headersOf({ headers }: CloudEvent): Record<string, string> {
  return Object.fromEntries(headers);
}

function withContext(traceparent?: string, more: Record<string, string> = {}): CloudEvent {
  return eventOf('1', { headers: { ...(traceparent && { traceparent }), ...more } });
}

describe('an event at the door', () => {
  test('is one span, a child of the producer’s, with the names and attributes of Knative (T1)', async () => {
    const tracing = open();
    const event = eventOf('order-1', {
      attributes: { subject: 'A-1', datacontenttype: 'application/json' },
      headers: { traceparent: SAMPLED, tracestate: 'a=b' },
    });
    clock.advance(7);
    const span = tracing.tracer.accept(BROKER, event, request(2));
    clock.advance(3);
    span.end(202);
    const startMs = BigInt(Date.UTC(2026, 0, 1) + 2);
    expect(await onlySpanOf(tracing)).toEqual({
      traceId: TRACE,
      spanId: expect.stringMatching(/^[\da-f]{16}$/),
      parentSpanId: PRODUCER,
      traceState: 'a=b',
      name: 'broker:orders.default',
      scope: 'knative.dev/pkg/broker/ingress',
      kind: 'SERVER',
      status: 'UNSET',
      attributes: {
        'messaging.system': 'knative',
        'messaging.destination.name': 'broker:orders.default',
        'messaging.operation.name': 'send',
        'kn.broker.name': 'orders',
        'kn.broker.namespace': 'default',
        'cloudevents.id': 'order-1',
        'cloudevents.type': 'order',
        'cloudevents.source': '/shop',
        'cloudevents.specversion': '1.0',
        'cloudevents.subject': 'A-1',
        'cloudevents.datacontenttype': 'application/json',
        'http.request.method': 'POST',
        'url.scheme': 'http',
        'http.response.status_code': 202,
      },
      resource: expect.objectContaining({
        'service.name': 'knear',
        'service.version': packageVersion(),
      }),
      startNs: startMs * 1_000_000n,
      endNs: (startMs + 8n) * 1_000_000n,
    });
  });

  test('that the log refuses is a span with the code', async () => {
    const tracing = open();
    tracing.tracer.accept(CHANNEL, eventOf('1'), request()).end(503, 'KNEAR_LOG_FULL');
    expect(await onlySpanOf(tracing)).toMatchObject({
      name: 'channel:steps.default',
      scope: 'knative.dev/eventing/pkg/channel/fanout',
      status: 'ERROR',
      attributes: {
        'kn.channel.name': 'steps',
        'kn.channel.namespace': 'default',
        'http.response.status_code': 503,
        'error.type': 'KNEAR_LOG_FULL',
      },
    });
  });

  test('enters the log with the context of its span; other kept headers stay (T2)', async () => {
    const tracing = open();
    const b3 = { 'x-b3-traceid': TRACE, 'x-b3-spanid': PRODUCER, 'x-request-id': 'r' };
    const event = withContext(SAMPLED, { tracestate: 'a=b,c=d', ...b3 });
    const span = tracing.tracer.accept(BROKER, event, request());
    const kept = span.mark(event);
    span.end(202);
    const { spanId } = await onlySpanOf(tracing);
    expect(headersOf(kept)).toEqual({
      traceparent: `00-${TRACE}-${spanId}-01`,
      tracestate: 'a=b,c=d',
      ...b3,
    });
    expect([kept.attributes, kept.data]).toEqual([event.attributes, event.data]);
  });

  test.each([
    { name: 'none', header: undefined },
    { name: 'nothing', header: '' },
    { name: 'a word', header: 'trace' },
    { name: 'capital letters', header: SAMPLED.toUpperCase() },
    { name: 'a trace of zeros', header: `00-${'0'.repeat(32)}-${PRODUCER}-01` },
    { name: 'a span of zeros', header: `00-${TRACE}-${'0'.repeat(16)}-01` },
    { name: 'the version that there is not', header: SAMPLED.replace('00', 'ff') },
    { name: 'more than its version has', header: `${SAMPLED}-01` },
    { name: 'flags that are cut off', header: SAMPLED.slice(0, -1) },
    { name: 'two of them', header: `${SAMPLED}, ${SAMPLED}` },
  ])('with $name for a traceparent begins a trace, and its tracestate goes', async ({ header }) => {
    const tracing = open();
    const event = withContext(header, { tracestate: 'a=b' });
    const span = tracing.tracer.accept(BROKER, event, request());
    const kept = span.mark(event);
    span.end(202);
    const { traceId, spanId, parentSpanId, traceState } = await onlySpanOf(tracing);
    expect([parentSpanId, traceState]).toEqual(['', '']);
    expect(traceId).not.toBe(TRACE);
    expect(headersOf(kept)).toEqual({ traceparent: `00-${traceId}-${spanId}-01` });
  });

  test.each([
    ['of a version to come', `cc-${TRACE}-${PRODUCER}-01-what-the-future-will-bring`, '01'],
    ['with an id drawn at random', `00-${TRACE}-${PRODUCER}-03`, '03'],
    ['with flags that nobody knows', `00-${TRACE}-${PRODUCER}-f9`, '01'],
  ])('continues a trace %s', async (_name, header, flags) => {
    const tracing = open();
    const event = withContext(header);
    const span = tracing.tracer.accept(BROKER, event, request());
    span.end(202);
    const { parentSpanId, spanId } = await onlySpanOf(tracing);
    expect(parentSpanId).toBe(PRODUCER);
    expect(span.traceparent).toBe(`00-${TRACE}-${spanId}-${flags}`);
  });

  test('has values of at most 512 characters, however long its attributes are', async () => {
    const tracing = open();
    const event = eventOf('1', { attributes: { subject: 'x'.repeat(10_000) } });
    tracing.tracer.accept(BROKER, event, request()).end(202);
    const { attributes } = await onlySpanOf(tracing);
    expect(attributes['cloudevents.subject']).toBe('x'.repeat(512));
  });
});

describe('the door', () => {
  const headers = { ...EVENT_HEADERS, traceparent: SAMPLED };

  test.each([
    { name: 'a log that is full', failure: new KnearError('KNEAR_LOG_FULL', 'full'), status: 503 },
    { name: 'a fault of ours', failure: new Error('a bug'), status: 500 },
  ])('ends the span with an error after $name', async ({ failure, status }) => {
    const tracing = open();
    const { port, log } = await openDoor({ tracer: tracing.tracer });
    log.failWith(failure);
    expect(await sendTo(port, { headers })).toMatchObject({ status });
    expect(await onlySpanOf(tracing)).toMatchObject({
      kind: 'SERVER',
      status: 'ERROR',
      parentSpanId: PRODUCER,
      attributes: { 'http.response.status_code': status, 'error.type': expect.any(String) },
    });
  });

  test('tells of the event as it is kept, and has no span for what it turns away', async () => {
    const tracing = open();
    const { port, log, happenings } = await openDoor({ tracer: tracing.tracer });
    expect(await sendTo(port, { headers })).toMatchObject({ status: 202 });
    expect(await sendTo(port, { headers, path: '/default/nowhere' })).toMatchObject({
      status: 404,
    });
    const { spanId } = await onlySpanOf(tracing);
    const kept = log.appends.map(({ event }) => event);
    expect(kept.map((event) => event.headers.get('traceparent'))).toEqual([
      `00-${TRACE}-${spanId}-01`,
    ]);
    expect(happenings.find(({ kind }) => kind === 'accepted')).toMatchObject({ event: kept[0] });
  });
});

describe('an attempt', () => {
  const sink = trigger({ name: 'audit', deadLetter: at('https://sink.shop:8443/dead?key=secret') });

  test.each<{ name: string; egress: Egress; what: Partial<TracedAttempt>; expected: object }>([
    {
      name: 'of a Trigger at its subscriber',
      egress: trigger({ name: 'audit' }),
      what: { attempt: 2 },
      expected: {
        name: 'trigger:audit.shop',
        scope: 'knative.dev/pkg/broker/filter',
        attributes: {
          'messaging.destination.name': 'trigger:audit.shop',
          'kn.broker.name': 'orders',
          'knear.phase': 'deliver',
          'knear.attempt': 3,
          'url.scheme': 'http',
          'server.address': 'subscriber',
        },
      },
    },
    {
      name: 'of a Subscription',
      egress: subscription({ name: 'charge' }),
      what: {},
      expected: {
        name: 'subscription:charge.shop',
        scope: 'knative.dev/eventing/pkg/channel/fanout',
        attributes: { 'kn.channel.name': 'steps', 'knear.attempt': 1 },
      },
    },
    {
      name: 'to deliver a dead letter, without what may be secret in its address',
      egress: sink,
      what: { phase: 'dead-letter' },
      expected: {
        attributes: {
          'knear.phase': 'dead-letter',
          'url.scheme': 'https',
          'server.address': 'sink.shop',
          'server.port': 8443,
        },
      },
    },
    {
      name: 'to deliver a reply to an address outside',
      egress: trigger({ reply: at('http://outside/replies') }),
      what: { phase: 'reply' },
      expected: { attributes: { 'knear.phase': 'reply', 'server.address': 'outside' } },
    },
  ])('$name is one span (T1)', async ({ egress, what, expected }) => {
    const tracing = open();
    const event = withContext(SAMPLED);
    tracing.tracer.attempt(egress, { ...first(event), ...what }).end(204);
    const span = await onlySpanOf(tracing);
    const always = { 'http.request.method': 'POST', 'http.response.status_code': 204 };
    expect(span).toMatchObject({ kind: 'CLIENT', status: 'UNSET', parentSpanId: PRODUCER });
    expect(span).toMatchObject({ ...expected, attributes: expect.objectContaining(always) });
    expect(span).toMatchObject(expected);
    expect(JSON.stringify(span.attributes)).not.toContain('secret');
  });

  test('that failed says why; without an answer there is no status', async () => {
    const tracing = open();
    const event = withContext(SAMPLED);
    const { tracer } = tracing;
    tracer.attempt(trigger(), first(event)).end(503, 'KNEAR_REJECTED');
    tracer.attempt(trigger(), first(event)).end(0, 'KNEAR_TIMEOUT');
    const [rejected, timedOut] = await spansOf(tracing);
    expect(rejected).toMatchObject({
      status: 'ERROR',
      attributes: { 'http.response.status_code': 503, 'error.type': 'KNEAR_REJECTED' },
    });
    expect(timedOut).toMatchObject({
      status: 'ERROR',
      attributes: { 'error.type': 'KNEAR_TIMEOUT' },
    });
    expect(timedOut?.attributes).not.toHaveProperty(['http.response.status_code']);
  });

  test('has another id each time, and the context of its event', async () => {
    const tracing = open();
    const event = withContext(SAMPLED, { tracestate: 'a=b' });
    const spans = [0, 1, 2].map((attempt) => {
      const span = tracing.tracer.attempt(trigger(), { ...first(event), attempt });
      span.end(202);
      return span;
    });
    const collected = await spansOf(tracing);
    expect(spans.map(({ traceparent }) => traceparent)).toEqual(
      collected.map(({ spanId }) => `00-${TRACE}-${spanId}-01`),
    );
    expect(new Set(collected.map(({ spanId }) => spanId)).size).toBe(3);
  });

  test('at a Broker of ours is named after that, and is no request', async () => {
    const tracing = open();
    const event = withContext(SAMPLED);
    const egress = subscription({ name: 'charge', subscriber: inside('orders') });
    const span = tracing.tracer.attempt(egress, first(event), BROKER);
    const kept = span.mark(event);
    span.end(0);
    const refused = tracing.tracer.attempt(egress, first(event), BROKER);
    refused.end(503, 'KNEAR_QUOTA');
    const [taken, turnedAway] = await spansOf(tracing);
    expect(taken).toMatchObject({
      name: 'broker:orders.default',
      scope: 'knative.dev/pkg/broker/ingress',
      kind: 'INTERNAL',
      status: 'UNSET',
      attributes: { 'knear.egress': 'subscription:charge.shop', 'knear.phase': 'deliver' },
    });
    expect(headersOf(kept)).toEqual({ traceparent: `00-${TRACE}-${taken?.spanId ?? ''}-01` });
    expect(turnedAway).toMatchObject({
      status: 'ERROR',
      attributes: { 'error.type': 'KNEAR_QUOTA' },
    });
    for (const { attributes } of [taken, turnedAway].filter((each) => each !== undefined)) {
      expect(attributes).not.toHaveProperty(['http.response.status_code']);
    }
  });
});

describe('the way of an attempt', () => {
  const pod = { reason: 'nearest', nearness: 'pod' } as const;

  test.each<{ name: string; way: TracedWay; told: object }>([
    {
      name: 'to an address',
      way: { hops: 0, route: { reason: 'url' } },
      told: { 'knear.hops': 0, 'knear.route.reason': 'url' },
    },
    {
      name: 'to an endpoint, over local hops',
      way: { hops: 2, route: { ...pod, endpoint: '10.0.0.7:8080' } },
      told: {
        'knear.hops': 2,
        'knear.route.reason': 'nearest',
        'knear.route.nearness': 'pod',
        'network.peer.address': '10.0.0.7',
        'network.peer.port': 8080,
      },
    },
    {
      name: 'to an endpoint with an address of IPv6',
      way: { hops: 0, route: { ...pod, endpoint: '[fd00::7]:80' } },
      told: {
        'knear.hops': 0,
        'knear.route.reason': 'nearest',
        'knear.route.nearness': 'pod',
        'network.peer.address': 'fd00::7',
        'network.peer.port': 80,
      },
    },
    {
      name: 'by a local hop',
      way: { hops: 1, hop: 'taken' },
      told: { 'knear.hops': 1, 'knear.hop.route': 'local-hop' },
    },
    {
      name: 'by the log, and why',
      way: { hops: 0, hop: 'fan-out' },
      told: { 'knear.hops': 0, 'knear.hop.route': 'log', 'knear.hop.refusal': 'fan-out' },
    },
  ])('$name is told on its span', async ({ way, told }) => {
    const tracing = open();
    const event = withContext(SAMPLED);
    const span = tracing.tracer.attempt(trigger(), first(event), way.hop && BROKER);
    span.note(way);
    span.end(0);
    const { attributes } = await onlySpanOf(tracing);
    const own = Object.entries(attributes).filter(([name]) =>
      /^(knear\.(hop|route)|network)/.test(name),
    );
    expect(Object.fromEntries(own)).toEqual(told);
  });

  test('is told nobody where no span is recorded (T4)', async () => {
    const tracing = open();
    const span = tracing.tracer.attempt(trigger(), first(withContext(UNSAMPLED)));
    span.note({ hops: 1, hop: 'taken' });
    span.end(0);
    expect(await spansOf(tracing)).toEqual([]);
  });
});

describe('a reply', () => {
  const other = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`;

  test.each([
    { name: 'without a context', reply: {}, isOwn: false },
    { name: 'with one that cannot be read', reply: { traceparent: 'x' }, isOwn: false },
    { name: 'with a stray tracestate', reply: { tracestate: 'x=y' }, isOwn: false },
    { name: 'that names a trace', reply: { traceparent: other, tracestate: 'x=y' }, isOwn: true },
  ])('$name goes on in the right trace', async ({ reply, isOwn }) => {
    const { tracer } = open();
    const input = withContext(SAMPLED, { tracestate: 'a=b' });
    const span = tracer.attempt(trigger(), first(input));
    const ours = { traceparent: span.traceparent, tracestate: 'a=b' };
    const adopted = span.adopt(eventOf('2', { headers: reply }));
    expect(headersOf(adopted)).toEqual(isOwn ? reply : ours);
  });
});

describe('whether a trace is recorded (T4)', () => {
  /** The door, one attempt, and a reply that comes in; the spans that the collector sees. */
  function journey({ tracer }: Tracing, event: CloudEvent) {
    const entry = tracer.accept(BROKER, event, request());
    const kept = entry.mark(event);
    entry.end(202);
    const attempt = tracer.attempt(trigger(), first(kept));
    attempt.end(200);
    const reply = attempt.adopt(eventOf('2'));
    tracer.attempt(trigger(), { ...first(reply), phase: 'reply' }, BROKER).end(0);
    return { kept, attempt, reply };
  }

  test('is what its producer says: recorded, even if none are that begin here', async () => {
    const tracing = open({ sampling: 0 });
    journey(tracing, withContext(SAMPLED));
    expect(new Set((await spansOf(tracing)).map(({ traceId }) => traceId))).toEqual(
      new Set([TRACE]),
    );
    expect(collector.spans).toHaveLength(3);
  });

  test('is what its producer says: not recorded, and its context goes on as it came', async () => {
    const tracing = open({ sampling: 1 });
    const event = withContext(UNSAMPLED, { tracestate: 'a=b' });
    const { kept, attempt, reply } = journey(tracing, event);
    expect(await spansOf(tracing)).toEqual([]);
    expect(kept).toBe(event);
    expect(attempt.traceparent).toBe(UNSAMPLED);
    expect(headersOf(reply)).toEqual({ traceparent: UNSAMPLED, tracestate: 'a=b' });
  });

  test('is decided by lot where it begins here, once for all that follows', async () => {
    const tracing = open({ sampling: 0.5 });
    const count = 400;
    const journeys = Array.from({ length: count }, (_, id) => journey(tracing, eventOf(`${id}`)));
    const spans = await spansOf(tracing);
    const traces = traceLengths(spans);
    // Ten times what luck can do: the deviation of 400 throws of a coin is 10.
    expect(traces.size).toBeGreaterThan(count / 2 - 100);
    expect(traces.size).toBeLessThan(count / 2 + 100);
    expect([...traces.values()].filter((length) => length !== 3)).toEqual([]);
    for (const { kept, attempt } of journeys) {
      const traceparent = kept.headers.get('traceparent') ?? '';
      const isRecorded = traces.has(traceparent.slice(3, 35));
      expect([traceparent.slice(-2), attempt.traceparent.slice(-2)]).toEqual(
        isRecorded ? ['01', '01'] : ['00', '00'],
      );
      expect(attempt.traceparent.slice(3, 35)).toBe(traceparent.slice(3, 35));
    }
  });
});

describe('the times of spans', () => {
  /** The real clocks: whole milliseconds here, fractions there, from another start. */
  class CoarseClock extends FakeClock {
    override nowMs(): number {
      return Math.floor(super.nowMs());
    }
    override monotonicMs(): number {
      return super.monotonicMs() + 12_345.678;
    }
  }

  async function timesOf(steps: (begin: () => Span, coarse: CoarseClock) => void) {
    const coarse = new CoarseClock();
    const tracing = open({ clock: coarse satisfies Clock });
    const begin = () => tracing.tracer.attempt(trigger(), first(withContext(SAMPLED)));
    steps(begin, coarse);
    return (await spansOf(tracing)).map(({ startNs, endNs }) => ({
      startUs: Number(startNs / 1_000n) - Date.UTC(2026, 0, 1) * 1_000,
      lastUs: Number((endNs - startNs + 500n) / 1_000n),
    }));
  }

  test('are in order, and last as long as they did, below a millisecond', async () => {
    const times = await timesOf((begin, coarse) => {
      for (let count = 0; count < 20; count += 1) {
        const span = begin();
        coarse.advance(0.3);
        span.end(202);
      }
    });
    expect(times.map(({ lastUs }) => lastUs)).toEqual(times.map(() => 300));
    const starts = times.map(({ startUs }) => startUs);
    expect(starts.toSorted((left, right) => left - right)).toEqual(starts);
    // Within the millisecond that a clock of whole ones is off by.
    expect(starts.filter((startUs, index) => Math.abs(startUs - index * 300) > 1_000)).toEqual([]);
  });

  test('follow the wall clock when it is set', async () => {
    const [before, after] = await timesOf((begin, coarse) => {
      begin().end(202);
      coarse.jump(-5_000);
      begin().end(202);
    });
    expect((before?.startUs ?? 0) - (after?.startUs ?? 0)).toBe(5_000_000);
  });
});

describe('the collector', () => {
  async function withVariables(
    variables: Readonly<Record<string, string>>,
    run: () => Promise<void>,
  ): Promise<void> {
    Object.assign(process.env, variables);
    try {
      await run();
    } finally {
      for (const name of Object.keys(variables)) Reflect.deleteProperty(process.env, name);
    }
  }

  test.each([
    { name: 'the path of OTLP, where none is named', path: '', expected: '/v1/traces' },
    {
      name: 'the path that is named',
      path: '/otlp/traces?tenant=7',
      expected: '/otlp/traces?tenant=7',
    },
  ])('is called at $name', async ({ path, expected }) => {
    const tracing = open({ endpoint: collector.url + path });
    tracing.tracer.accept(BROKER, eventOf('1'), request()).end(202);
    await spansOf(tracing);
    expect(collector.requests.map((each) => each.path)).toEqual([expected]);
  });

  test('gets names and headers from the variables of OpenTelemetry', async () => {
    const variables = {
      OTEL_SERVICE_NAME: 'shop-events',
      OTEL_RESOURCE_ATTRIBUTES: 'k8s.pod.name=knear-0',
      OTEL_EXPORTER_OTLP_HEADERS: 'x-api-key=k',
    };
    await withVariables(variables, async () => {
      const tracing = open();
      tracing.tracer.accept(BROKER, eventOf('1'), request()).end(202);
      expect(await onlySpanOf(tracing)).toMatchObject({
        resource: { 'service.name': 'shop-events', 'k8s.pod.name': 'knear-0' },
      });
      expect(collector.requests[0]?.headers['x-api-key']).toBe('k');
    });
  });

  test('is trusted by https if its certificate is named, and not otherwise', async () => {
    const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }], {
      extensions: [
        { name: 'basicConstraints', cA: true },
        { name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] },
      ],
    });
    const secure = await openCollector({ key, cert });
    const folder = await mkdtemp(join(tmpdir(), 'knear-tracing-'));
    const file = join(folder, 'ca.pem');
    await writeFile(file, cert);
    try {
      const stranger = open({ endpoint: secure.url });
      stranger.tracer.accept(BROKER, eventOf('1'), request()).end(202);
      await stranger.close();
      expect(stranger.counts).toMatchObject({ exported: 0, dropped: { 'export-failed': 1 } });
      await withVariables({ OTEL_EXPORTER_OTLP_CERTIFICATE: file }, async () => {
        const friend = open({ endpoint: secure.url });
        friend.tracer.accept(BROKER, eventOf('1'), request()).end(202);
        await friend.close();
        expect(friend.counts.exported).toBe(1);
      });
      expect(secure.spans).toHaveLength(1);
    } finally {
      await secure.close();
      await rm(folder, { recursive: true });
    }
  });

  test('that keeps up gets all of them, however many they become', async () => {
    const tracing = open();
    for (let thousands = 1; thousands <= 6; thousands += 1) {
      for (let each = 0; each < 1_000; each += 1) {
        tracing.tracer.accept(BROKER, eventOf('1'), request()).end(202);
      }
      await eventually('a thousand more', () => tracing.counts.exported >= (thousands - 1) * 1_000);
    }
    await tracing.close();
    expect(tracing.counts).toEqual({
      exported: 6_000,
      dropped: { 'queue-full': 0, 'export-failed': 0 },
    });
    expect(collector.spans).toHaveLength(6_000);
    expect(logged).toEqual([]);
  });

  test('that hangs costs spans past the bound, each counted, and nobody waits for it (T3)', async () => {
    collector.mood = 'hanging';
    const tracing = open({ batchMs: 500 });
    const count = 10_000;
    const startedMs = performance.now();
    for (let each = 0; each < count; each += 1) {
      tracing.tracer.accept(BROKER, eventOf('1'), request()).end(202);
    }
    // Before anything was waited for, so that it cannot depend on the collector.
    const { 'queue-full': dropped } = tracing.counts.dropped;
    expect(dropped).toBeGreaterThan(count - 5_000);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    await eventually('a batch given up', () => tracing.counts.dropped['export-failed'] > 0);
    collector.mood = 'taking';
    await tracing.close();
    const { exported, dropped: both } = tracing.counts;
    expect(exported).toBeGreaterThan(0);
    expect(exported).toBe(collector.spans.length);
    expect(exported + both['queue-full'] + both['export-failed']).toBe(count);
  });

  test('that takes nothing is told of once a minute, without its password', async () => {
    collector.mood = 'refusing';
    const endpoint = collector.url.replace('//', '//user:hush@');
    const tracing = open({ endpoint });
    const failed = async () => {
      const { 'export-failed': before } = tracing.counts.dropped;
      tracing.tracer.accept(BROKER, eventOf('1'), request()).end(202);
      await eventually('a span lost', () => tracing.counts.dropped['export-failed'] > before);
    };
    await failed();
    clock.advance(59_000);
    await failed();
    expect(logged).toHaveLength(1);
    clock.advance(1_000);
    await failed();
    expect(logged).toMatchObject([
      { level: 40, msg: 'spans are lost; see docs/tracing.md', reason: 'Bad Request' },
      { level: 40, msg: 'spans are lost; see docs/tracing.md', dropped: { 'export-failed': 3 } },
    ]);
    expect(JSON.stringify(logged)).not.toContain('hush');
    expect(collector.requests[0]?.headers['authorization']).toMatch(/^Basic /);
  });

  test('that is not there does not keep anybody from closing', async () => {
    const tracing = open({ batchMs: 200 });
    await collector.close();
    tracing.tracer.accept(BROKER, eventOf('1'), request()).end(202);
    await expect(tracing.close()).resolves.toBeUndefined();
    expect(tracing.counts).toEqual({
      exported: 0,
      dropped: { 'queue-full': 0, 'export-failed': 1 },
    });
    expect(logged).toMatchObject([{ reason: expect.stringContaining('ECONNREFUSED') }]);
    collector = await openCollector();
  });

  test('that is too slow is told of as such', async () => {
    const tracing = open();
    for (let each = 0; each < 6_000; each += 1) {
      tracing.tracer.accept(BROKER, eventOf('1'), request()).end(202);
    }
    await tracing.close();
    expect(tracing.counts.exported).toBe(collector.spans.length);
    expect(logged).toMatchObject([{ reason: 'the queue was full' }]);
  });
});
