/**
 * From spans that have ended to the collector: a queue, batches, and the numbers of both. It owns the bounds; what a span is, it
 * leaves to tracing.ts.
 *
 *   ended -> waiting (at most WAITING_MAX) -> a batch under way (one) -> exported
 *              \- full: dropped                \- refused, or no answer in time: dropped
 *
 * - T3 Nobody waits for the collector. What it does not take in time is dropped and counted, and told once a minute.
 */
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { SpanExporter, SpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { Logger } from 'pino';
import type { Clock } from '../../core/ports/time.ts';

export interface SpanExportOptions {
  readonly endpoint: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long one batch may take, tries included. 10 s, as the specification of OTLP exporters has it. */
  readonly batchMs?: number;
}

/** Since the start. */
export interface SpanCounts {
  readonly exported: number;
  readonly dropped: Readonly<Record<DropReason, number>>;
}

export type DropReason = 'queue-full' | 'export-failed';

export interface SpanExport {
  /** For the spans of a provider; ends with it. */
  readonly processor: SpanProcessor;
  readonly counts: SpanCounts;
}

/**
 * 4,096 spans, about 8 MB: a fifth of a second of 10,000 events, each with one span at the door and one attempt. A collector
 * that is away for longer costs spans, not memory.
 */
const WAITING_MAX = 4_096;
/** 256: made into JSON at once, which takes 1.2 ms, during which no event moves. The 512 of the specification take 2.5. */
const BATCH_MAX = 256;
/** 1 s: who has just sent an event looks for its trace now. The specification has 5 s. */
const BATCH_AFTER_MS = 1_000;
/** As many lines as an operator needs to see that it goes on. */
const COMPLAIN_EVERY_MS = 60_000;
/** Of OTLP over HTTP. Source: OpenTelemetry Protocol specification, "OTLP/HTTP Request". */
const TRACES_PATH = '/v1/traces';

export function openSpanExport(options: SpanExportOptions): SpanExport {
  const { batchMs = 10_000 } = options;
  const counts = { exported: 0, dropped: { 'queue-full': 0, 'export-failed': 0 } };
  let waiting = 0;
  const complain = openComplaints(options, counts);
  const collector = openCollector(options.endpoint, batchMs);
  const counted: SpanExporter = {
    export(spans, done) {
      waiting -= spans.length;
      collector.export(spans, (result) => {
        if (result.error === undefined) counts.exported += spans.length;
        else counts.dropped['export-failed'] += spans.length;
        complain(result.error);
        done(result);
      });
    },
    shutdown: () => collector.shutdown(),
  };
  const batches = new BatchSpanProcessor(counted, {
    maxQueueSize: WAITING_MAX,
    maxExportBatchSize: BATCH_MAX,
    scheduledDelayMillis: BATCH_AFTER_MS,
    // Longer than the exporter's own, so that it is the exporter that ends a batch, and counts it.
    exportTimeoutMillis: 2 * batchMs,
  });
  const processor: SpanProcessor = {
    onStart: (span, context) => batches.onStart(span, context),
    // The same bound as that of the batches, which do not tell what they drop.
    onEnd(span) {
      if (waiting >= WAITING_MAX) {
        counts.dropped['queue-full'] += 1;
        return;
      }
      waiting += 1;
      batches.onEnd(span);
    },
    forceFlush: () => batches.forceFlush(),
    shutdown: () => batches.shutdown(),
  };
  return { processor, counts };
}

function openCollector(endpoint: string, batchMs: number): SpanExporter {
  const url = new URL(endpoint);
  if (url.pathname === '/') url.pathname = TRACES_PATH;
  // Left to the variables of OpenTelemetry: headers, compression, certificates.
  return new OTLPTraceExporter({
    url: url.href,
    timeoutMillis: batchMs,
    // One at a time; all that waits, once more, when the program ends.
    concurrencyLimit: 1 + WAITING_MAX / BATCH_MAX,
  });
}

/**
 * One line a minute for as long as spans are lost. Asked when a batch is over: then it is known why.
 */
function openComplaints(
  { endpoint, clock, logger }: SpanExportOptions,
  { dropped }: SpanCounts,
): (failure: Error | undefined) => void {
  // Not all of the URL, which may have a password in it.
  const { host } = new URL(endpoint);
  let toldMs = Number.NEGATIVE_INFINITY;
  let toldFull = 0;
  return (failure) => {
    const isLosing = failure !== undefined || dropped['queue-full'] > toldFull;
    const nowMs = clock.monotonicMs();
    if (!isLosing || nowMs - toldMs < COMPLAIN_EVERY_MS) return;
    toldMs = nowMs;
    toldFull = dropped['queue-full'];
    const reason = failure ? reasonOf(failure) : 'the queue was full';
    logger.warn({ collector: host, reason, dropped }, 'spans are lost; see docs/tracing.md');
  };
}

/** An address that stands for several, as localhost does, fails without words of its own. */
function reasonOf(error: Error): string {
  const code = 'code' in error ? String(error.code) : error.name;
  return error.message === '' ? code : error.message;
}
