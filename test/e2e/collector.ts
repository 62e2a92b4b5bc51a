/**
 * A collector: an HTTP server that takes OTLP with JSON, as the OpenTelemetry Protocol specification has it, and shows what came
 * as plain values. It can also be what a collector is on a bad day.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { eventually } from './eventually.ts';

/** One span, with the words of the specification in place of its numbers. */
export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty: the first one of its trace. */
  readonly parentSpanId: string;
  readonly traceState: string;
  readonly name: string;
  readonly scope: string;
  readonly kind: string;
  readonly status: string;
  readonly attributes: Values;
  /** Of who sent it. */
  readonly resource: Values;
  readonly startNs: bigint;
  readonly endNs: bigint;
}

type Values = Readonly<Record<string, string | number>>;

/** `refusing`: 400, which a sender must not repeat. */
export type Mood = 'taking' | 'refusing' | 'hanging';

export interface Collector {
  readonly url: string;
  readonly spans: readonly CollectedSpan[];
  /** Of all requests so far. */
  readonly requests: readonly { readonly path: string; readonly headers: NodeJS.Dict<string> }[];
  mood: Mood;
  /** Resolves with all spans once there are as many. */
  collected(count: number): Promise<readonly CollectedSpan[]>;
  close(): Promise<void>;
}

/** @param tls speaks https with this key and certificate */
export async function openCollector(tls?: {
  readonly key: string;
  readonly cert: string;
}): Promise<Collector> {
  const spans: CollectedSpan[] = [];
  const requests: { path: string; headers: NodeJS.Dict<string> }[] = [];
  const listener: RequestListener = (request, response) => {
    // Whoever sends may be killed in the middle of it.
    serve(request, response).catch(() => response.destroy());
  };
  const server = tls ? createSecureServer(tls, listener) : createServer(listener);

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // No header that the tests look at comes twice.
    const headers = request.headers as NodeJS.Dict<string>;
    requests.push({ path: request.url ?? '', headers });
    // What it is, the reading below would show.
    const body = (await json(request)) as ExportRequest;
    if (collector.mood === 'hanging') return;
    if (collector.mood === 'taking') spans.push(...spansOf(body));
    const status = collector.mood === 'taking' ? 200 : 400;
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // An object after `listening` on a port.
  const { port } = server.address() as AddressInfo;
  const collector: Collector = {
    url: `${tls ? 'https' : 'http'}://localhost:${String(port)}`,
    spans,
    requests,
    mood: 'taking',
    collected: (count) =>
      eventually(`${String(count)} spans`, () => spans.length >= count && spans, {
        otherwise: () => spans.map(({ name }) => name),
      }),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  return collector;
}

/** The value of `traceparent` that names this span. */
export function traceparentOf({ traceId, spanId }: CollectedSpan): string {
  return `00-${traceId}-${spanId}-01`;
}

/** How many spans each trace has, by its id. */
export function traceLengths(spans: readonly CollectedSpan[]): ReadonlyMap<string, number> {
  const lengths = new Map<string, number>();
  for (const { traceId } of spans) lengths.set(traceId, (lengths.get(traceId) ?? 0) + 1);
  return lengths;
}

const KINDS = ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'];
const STATUSES = ['UNSET', 'OK', 'ERROR'];

interface ExportRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string };
      readonly spans: readonly SpanMessage[];
    }[];
  }[];
}

interface SpanMessage {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly traceState?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly KeyValue[];
  readonly status: { readonly code: number };
}

interface KeyValue {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: number };
}

function spansOf({ resourceSpans }: ExportRequest): CollectedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ scope, spans }) =>
      spans.map((span) => ({
        traceId: span.traceId,
        spanId: span.spanId,
        parentSpanId: span.parentSpanId ?? '',
        traceState: span.traceState ?? '',
        name: span.name,
        scope: scope.name,
        kind: KINDS[span.kind] ?? '',
        status: STATUSES[span.status.code] ?? '',
        attributes: valuesOf(span.attributes),
        resource: valuesOf(resource.attributes),
        startNs: BigInt(span.startTimeUnixNano),
        endNs: BigInt(span.endTimeUnixNano),
      })),
    ),
  );
}

function valuesOf(attributes: readonly KeyValue[]): Values {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue ?? '']),
  );
}
