/** The metrics of large payloads. All of them are read at the scrape; `broker/payload/` counts. */
import type { ErrorCode } from '../../core/errors.ts';
import type { Family, Sample } from './prometheus.ts';

/** What the keeper of payloads says of itself. */
export interface PayloadReading {
  /** Payloads that are being received. */
  readonly uploads: number;
  /** Why the store refuses, if it does. */
  readonly trouble: { readonly code: string } | undefined;
  readonly spoolBytes: number;
  readonly memoryBytes: number;
  readonly live: {
    readonly bytes: number;
    readonly objects: number;
    readonly leftovers: number;
    readonly removed: number;
  };
  readonly cache: { readonly hits: number; readonly misses: number };
  readonly counts: {
    readonly claims: number;
    readonly claimedBytes: number;
    readonly readBytes: number;
    readonly corrupt: number;
    readonly missing: number;
    readonly errors: ReadonlyMap<string, number>;
  };
}

/** Told from the start, at 0: an alert on an increase does not see a series that begins with its first error. */
const STORE_ERRORS = [
  'KNEAR_PAYLOAD_STORE_AWAY',
  'KNEAR_PAYLOAD_STORE_DENIED',
  'KNEAR_PAYLOAD_STORE_FULL',
] as const satisfies readonly ErrorCode[];

export function payloadFamilies(read: () => PayloadReading): Family[] {
  const one =
    (type: 'counter' | 'gauge') =>
    (name: string, help: string, value: (reading: PayloadReading) => number): Family => ({
      name,
      help,
      type,
      samples: () => [{ labels: {}, value: value(read()) }],
    });
  const counter = one('counter');
  const gauge = one('gauge');
  return [
    counter(
      'knear_payload_claims_total',
      'Payloads put into the store',
      ({ counts }) => counts.claims,
    ),
    {
      name: 'knear_payload_bytes_total',
      help: 'Bytes of payloads put into the store, and taken out',
      type: 'counter',
      samples: () => byteSamples(read()),
    },
    counter('knear_payload_collected_total', 'Payloads removed', ({ live }) => live.removed),
    {
      name: 'knear_payload_errors_total',
      help: 'Times that the store could not do what was asked, by code',
      type: 'counter',
      samples: () => errorSamples(read()),
    },
    counter(
      'knear_payload_verify_failures_total',
      'Payloads that were altered',
      ({ counts }) => counts.corrupt,
    ),
    counter(
      'knear_payload_missing_total',
      'Payloads that were not there',
      ({ counts }) => counts.missing,
    ),
    counter(
      'knear_payload_cache_hits_total',
      'Payloads found in memory',
      ({ cache }) => cache.hits,
    ),
    counter(
      'knear_payload_cache_misses_total',
      'Payloads not found in memory',
      ({ cache }) => cache.misses,
    ),
    gauge(
      'knear_payload_store_up',
      '1 while the payload store does what is asked',
      ({ trouble }) => (trouble ? 0 : 1),
    ),
    gauge('knear_payload_uploads_in_flight', 'Payloads being received', ({ uploads }) => uploads),
    gauge(
      'knear_payload_spool_bytes',
      'Bytes of payloads being received',
      ({ spoolBytes }) => spoolBytes,
    ),
    gauge(
      'knear_payload_memory_bytes',
      'Bytes of payloads in memory',
      ({ memoryBytes }) => memoryBytes,
    ),
    gauge('knear_payload_live_bytes', 'Bytes of payloads in the store', ({ live }) => live.bytes),
    gauge('knear_payload_live_objects', 'Payloads in the store', ({ live }) => live.objects),
    gauge(
      'knear_payload_leftovers',
      'Payloads that could not be removed yet',
      ({ live }) => live.leftovers,
    ),
  ];
}

function byteSamples({ counts }: PayloadReading): Sample[] {
  return [
    { labels: { direction: 'in' }, value: counts.claimedBytes },
    { labels: { direction: 'out' }, value: counts.readBytes },
  ];
}

function errorSamples({ counts }: PayloadReading): Sample[] {
  const codes = new Set<string>([...STORE_ERRORS, ...counts.errors.keys()]);
  return Array.from(codes, (code) => ({ labels: { code }, value: counts.errors.get(code) ?? 0 }));
}
