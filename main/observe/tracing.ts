/**
 * Traces with OpenTelemetry: what happens to an event, as spans for a collector. Imported only where one is configured: its
 * packages take 0.1 s of the start and 5 MB.
 *
 *   the producer's span
 *     broker:orders.shop             SERVER    the door took it
 *       trigger:audit.shop           CLIENT    attempt 1, 503
 *       trigger:audit.shop           CLIENT    attempt 2, 200 with a reply
 *         broker:orders.shop         INTERNAL  the reply comes in, which needs no request
 *           trigger:notify.shop      CLIENT
 *
 * - T1 Every event that the door admits is one span, and every attempt is one, whatever comes of it.
 * - T2 What enters the log carries the context of the span by which it entered, so that a trace goes on after a restart. A
 *   subscriber gets the context of the attempt. All other kept headers stay as they are.
 * - T4 Whether a trace is recorded is decided once, where it begins: by its producer's sampled flag, or by lot here.
 *
 * Scopes, names and attributes are Knative's where it has one, so that its dashboards work. Sources: knative/eventing,
 * pkg/observability and pkg/tracing; OpenTelemetry semantic conventions, "HTTP spans" and "Messaging spans".
 */
import {
  createTraceState,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import type { Attributes, Context, HrTime, Tracer as Recorder } from '@opentelemetry/api';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
  serviceInstanceIdDetector,
} from '@opentelemetry/resources';
import {
  BasicTracerProvider,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base';
import type { ErrorCode } from '../../core/errors.ts';
import { attributeText, type CloudEvent } from '../../core/event.ts';
import type { Clock } from '../../core/ports/time.ts';
import type {
  Span,
  TracedAttempt,
  TracedRequest,
  TracedWay,
  Tracer,
} from '../../core/ports/tracer.ts';
import type { Egress, Ingress, Target, Topology } from '../../core/topology.ts';
import { targetOf } from '../../dispatcher/stage.ts';
import { packageVersion } from '../settings.ts';
import { destinationOf } from './destination.ts';
import { SAMPLED, traceContextOf, traceparentOf, withTraceContext } from './trace-context.ts';
import type { TraceContext } from './trace-context.ts';
import { openSpanExport } from './tracing-export.ts';
import type { SpanCounts, SpanExportOptions } from './tracing-export.ts';

export interface TracingOptions extends SpanExportOptions {
  /** Share of the traces that begin here, from 0 to 1. */
  readonly sampling: number;
  topology(): Topology;
}

export interface Tracing {
  readonly tracer: Tracer;
  readonly counts: SpanCounts;
  /** Sends what waits. Resolves when the collector has it or does not take it; never rejects. */
  close(): Promise<void>;
}

/** Connects to nobody yet. */
export function openTracing(options: TracingOptions): Tracing {
  const { processor, counts } = openSpanExport(options);
  const provider = new BasicTracerProvider({
    resource: resource(),
    // T4
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(options.sampling) }),
    spanProcessors: [processor],
    // A producer decides how long its attributes are; nobody looks for more than this in a trace.
    spanLimits: { attributeValueLengthLimit: 512 },
  });
  return {
    tracer: new OpenTelemetryTracer(provider, options),
    counts,
    close: () => provider.shutdown().catch(() => undefined), // counted and told by the export
  };
}

/** Who we are, unless OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say otherwise. */
function resource() {
  const own = { 'service.name': 'knear', 'service.version': packageVersion() };
  const detected = detectResources({ detectors: [serviceInstanceIdDetector, envDetector] });
  return defaultResource().merge(resourceFromAttributes(own)).merge(detected);
}

/** Knative's scopes, by what the span is named after. */
const SCOPES = {
  broker: 'knative.dev/pkg/broker/ingress',
  trigger: 'knative.dev/pkg/broker/filter',
  channel: 'knative.dev/eventing/pkg/channel/fanout',
  subscription: 'knative.dev/eventing/pkg/channel/fanout',
} as const satisfies Record<(Ingress | Egress)['kind'], string>;

/** What all spans of one Broker, Channel, Trigger or Subscription have in common. */
interface Place {
  readonly recorder: Recorder;
  readonly name: string;
  readonly attributes: Attributes;
}

interface Beginning {
  readonly kind: SpanKind;
  /** Monotonic. */
  readonly startedMs: number;
  readonly attributes: Attributes;
}

class OpenTelemetryTracer implements Tracer {
  readonly #provider: BasicTracerProvider;
  readonly #topology: () => Topology;
  readonly #clock: Clock;
  readonly #timeAt: (monotonicMs: number) => HrTime;
  /** What does not change with the events. A new Topology brings new objects. */
  readonly #places = new WeakMap<Ingress | Egress, Place>();
  readonly #addresses = new WeakMap<Target, Attributes>();

  constructor(provider: BasicTracerProvider, { clock, topology }: TracingOptions) {
    this.#provider = provider;
    this.#topology = topology;
    this.#clock = clock;
    this.#timeAt = openWallTime(clock);
  }

  accept(ingress: Ingress, event: CloudEvent, { startedMs, scheme }: TracedRequest): Span {
    return this.#begin(ingress, event, {
      kind: SpanKind.SERVER,
      startedMs,
      attributes: { 'http.request.method': 'POST', 'url.scheme': scheme },
    });
  }

  attempt(egress: Egress, { event, phase, attempt }: TracedAttempt, ingress?: Ingress): Span {
    const own = { 'knear.phase': phase, 'knear.attempt': attempt + 1 };
    const startedMs = this.#clock.monotonicMs();
    if (ingress) {
      const attributes = { ...own, 'knear.egress': destinationOf(egress) };
      return this.#begin(ingress, event, { kind: SpanKind.INTERNAL, startedMs, attributes });
    }
    const attributes = { ...own, ...this.#addressOf(targetOf(egress, phase)) };
    return this.#begin(egress, event, { kind: SpanKind.CLIENT, startedMs, attributes });
  }

  #begin(
    of: Ingress | Egress,
    event: CloudEvent,
    { kind, startedMs, attributes }: Beginning,
  ): Span {
    const parent = traceContextOf(event);
    if (parent && (parent.flags & SAMPLED) === 0) return new TracedSpan(parent);
    const place = this.#placeOf(of);
    const startTime = this.#timeAt(startedMs);
    const all = { ...place.attributes, ...eventAttributes(event), ...attributes };
    const options = { kind, startTime, attributes: all };
    const span = place.recorder.startSpan(place.name, options, contextOf(parent));
    const { traceId, spanId, traceFlags } = span.spanContext();
    const flags = traceFlags | (parent?.flags ?? 0);
    const context = {
      traceparent: traceparentOf({ traceId, spanId, flags }),
      state: parent?.state,
    };
    if (!span.isRecording()) return new TracedSpan(context);
    return new TracedSpan(context, {
      note: (way) => void span.setAttributes(wayAttributes(way)),
      end: (status, code) => {
        if (status > 0 && kind !== SpanKind.INTERNAL) {
          span.setAttribute('http.response.status_code', status);
        }
        if (code) span.setAttribute('error.type', code).setStatus({ code: SpanStatusCode.ERROR });
        span.end(this.#timeAt(this.#clock.monotonicMs()));
      },
    });
  }

  #placeOf(of: Ingress | Egress): Place {
    const known = this.#places.get(of);
    if (known) return known;
    const name = destinationOf(of);
    const ingress = 'ingressId' in of ? this.#topology().ingresses.get(of.ingressId) : of;
    const place = {
      recorder: this.#provider.getTracer(SCOPES[of.kind]),
      name,
      attributes: {
        'messaging.system': 'knative',
        'messaging.destination.name': name,
        'messaging.operation.name': 'send',
        ...(ingress && {
          [`kn.${ingress.kind}.name`]: ingress.name,
          [`kn.${ingress.kind}.namespace`]: ingress.namespace,
        }),
      },
    };
    this.#places.set(of, place);
    return place;
  }

  #addressOf(target: Target | undefined): Attributes {
    if (!target) return {};
    const known = this.#addresses.get(target);
    if (known) return known;
    const attributes = addressAttributes(target.url);
    this.#addresses.set(target, attributes);
    return attributes;
  }
}

/** A context to pass on, and who records the span if that is wanted. */
class TracedSpan implements Span {
  readonly #context: Pick<TraceContext, 'traceparent' | 'state'>;
  readonly #recording: Pick<Span, 'note' | 'end'> | undefined;

  constructor(
    context: Pick<TraceContext, 'traceparent' | 'state'>,
    recording?: Pick<Span, 'note' | 'end'>,
  ) {
    this.#context = context;
    this.#recording = recording;
  }

  get traceparent(): string {
    return this.#context.traceparent;
  }

  mark(event: CloudEvent): CloudEvent {
    return withTraceContext(event, this.#context);
  }

  adopt(reply: CloudEvent): CloudEvent {
    return traceContextOf(reply) ? reply : this.mark(reply);
  }

  note(way: TracedWay): void {
    this.#recording?.note(way);
  }

  end(status: number, code?: ErrorCode): void {
    this.#recording?.end(status, code);
  }
}

function wayAttributes({ hops, route, hop }: TracedWay): Attributes {
  const attributes: Attributes = { 'knear.hops': hops };
  if (hop) {
    attributes['knear.hop.route'] = hop === 'taken' ? 'local-hop' : 'log';
    if (hop !== 'taken') attributes['knear.hop.refusal'] = hop;
  }
  if (!route) return attributes;
  const { reason, nearness, endpoint } = route;
  attributes['knear.route.reason'] = reason;
  if (nearness) attributes['knear.route.nearness'] = nearness;
  if (endpoint === undefined) return attributes;
  const colon = endpoint.lastIndexOf(':');
  attributes['network.peer.address'] = endpoint.slice(0, colon).replace(/^\[|\]$/g, '');
  attributes['network.peer.port'] = Number(endpoint.slice(colon + 1));
  return attributes;
}

const EVENT_ATTRIBUTES = [
  ['id', 'cloudevents.id'],
  ['type', 'cloudevents.type'],
  ['source', 'cloudevents.source'],
  ['specversion', 'cloudevents.specversion'],
  ['subject', 'cloudevents.subject'],
  ['datacontenttype', 'cloudevents.datacontenttype'],
] as const;

function eventAttributes(event: CloudEvent): Attributes {
  const attributes: Attributes = {};
  for (const [name, key] of EVENT_ATTRIBUTES) {
    const text = attributeText(event, name);
    if (text !== undefined) attributes[key] = text;
  }
  return attributes;
}

/** Without path and query: what is secret in an address is there. */
function addressAttributes(address: string): Attributes {
  const attributes: Attributes = { 'http.request.method': 'POST' };
  const url = URL.parse(address);
  if (url === null) return attributes;
  attributes['url.scheme'] = url.protocol.slice(0, -1);
  attributes['server.address'] = url.hostname;
  if (url.port !== '') attributes['server.port'] = Number(url.port);
  return attributes;
}

function contextOf(parent: TraceContext | undefined): Context {
  if (!parent) return ROOT_CONTEXT;
  const { traceId, spanId, flags: traceFlags, state } = parent;
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags,
    isRemote: true,
    ...(state !== undefined && { traceState: createTraceState(state) }),
  });
}

/**
 * Wall time with fractions, in which the spans of this process are in order. The clock tells whole milliseconds, so that its
 * distance to the monotonic one is up to 1 ms more than it seems: the largest distance seen is the best guess, until a jump.
 */
function openWallTime(clock: Clock): (monotonicMs: number) => HrTime {
  let distanceMs = 0;
  return (monotonicMs) => {
    const seenMs = clock.nowMs() - clock.monotonicMs();
    if (seenMs > distanceMs || seenMs < distanceMs - 1) distanceMs = seenMs;
    const wallMs = monotonicMs + distanceMs;
    const seconds = Math.floor(wallMs / 1_000);
    return [seconds, Math.floor((wallMs - seconds * 1_000) * 1e6)];
  };
}
