/**
 * What happens to events, as numbers for Prometheus. docs/metrics.md lists every metric with its labels, what it means
 * and when to worry. The counting is in ledger.ts; here numbers get names and labels.
 *
 * M3 Names and units of Knative are kept where the meaning is the same (`kn_`), so that its dashboards work; what it has
 * no word for starts with `knear_`.
 */
import type { Lag, LogState } from '../../core/ports/event-log.ts';
import type { Observer } from '../../core/ports/observer.ts';
import type { Egress, Ingress, Topology } from '../../core/topology.ts';
import { destinationOf } from './destination.ts';
import { Ledger, type EgressAccount, type IngressAccount, type LogAccount } from './ledger.ts';
import { payloadFamilies, type PayloadReading } from './payload-families.ts';
import { openPrometheus, type Family, type Labels, type Sample } from './prometheus.ts';
import { packageVersion } from '../settings.ts';
import type { SpanCounts } from './tracing-export.ts';

/** What others know at the moment of a scrape. */
export interface MetricsReaders {
  topology(): Topology;
  lag(egressId: string): Lag;
  state(): LogState;
  /** Bytes of records that the log holds, and may hold. */
  usage(): { readonly bytes: number; readonly bytesMax: number };
  /** Requests that the door has not answered yet, and the bytes of their bodies. */
  door(): { readonly requestsInFlight: number; readonly bodyBytesHeld: number };
  /** Deliveries that the dispatcher holds. */
  open(): { readonly count: number; readonly bytes: number };
  slots(): Iterable<SlotsReading>;
  /** Absent: nothing keeps payloads beside the log. */
  payloads?(): PayloadReading;
  /** Absent: none are recorded. */
  spans?(): SpanCounts;
}

export interface SlotsReading {
  readonly egressId: string;
  readonly slots: { readonly inUse: number; readonly limit: number; readonly waiting: number };
}

export interface Metrics {
  readonly observer: Observer;
  /** For the Content-Type header of `text`. */
  readonly contentType: string;
  /** The Prometheus text format. */
  text(): Promise<string>;
  /** Of each Trigger and Subscription. */
  accounts(): Iterable<EgressAccount>;
}

export function openMetrics(readers: MetricsReaders): Metrics {
  const ledger = new Ledger(readers.topology);
  const { contentType, text } = openPrometheus([
    ...knativeFamilies(ledger),
    ...ingressFamilies(ledger),
    ...egressFamilies(ledger),
    ...logFamilies(ledger.log),
    ...readingFamilies(readers),
    ...(readers.payloads ? payloadFamilies(readers.payloads) : []),
    ...(readers.spans ? spanFamilies(readers.spans) : []),
  ]);
  return {
    observer: { observe: (happening) => ledger.observe(happening) },
    contentType,
    accounts() {
      ledger.openAccounts();
      return ledger.egresses();
    },
    text() {
      ledger.openAccounts();
      // Reads the ledger before it returns; only the numbers of Node are waited for.
      const told = text();
      ledger.forgetGone();
      return told;
    },
  };
}

/** One observer that tells several, in this order. */
export function composeObservers(...observers: readonly Observer[]): Observer {
  return {
    observe(happening) {
      for (const observer of observers) observer.observe(happening);
    },
  };
}

/** M3 */
function knativeFamilies(ledger: Ledger): Family[] {
  return [
    {
      name: 'kn_eventing_dispatch_duration_seconds',
      type: 'histogram',
      help: 'Time to take an event in (broker:, channel:) or for one attempt at a subscriber (trigger:, subscription:)',
      *samples() {
        for (const { ingress, durations, scheme } of ledger.ingresses()) {
          if (ingress === undefined) continue;
          yield* durations.samples(knativeLabels(ingress, destinationOf(ingress), scheme));
        }
        for (const { id, egress, ingress, durations } of ledger.egresses()) {
          if (egress === undefined) continue;
          const [scheme = ''] = egress.subscriber.url.split(':', 1);
          yield* durations.samples(knativeLabels(ingress, egressName(id, egress), scheme));
        }
      },
    },
  ];
}

function knativeLabels(ingress: Ingress | undefined, destination: string, scheme: string): Labels {
  return {
    ...(ingress?.kind === 'broker' && {
      kn_broker_name: ingress.name,
      kn_broker_namespace: ingress.namespace,
    }),
    ...(ingress?.kind === 'channel' && {
      kn_channel_name: ingress.name,
      kn_channel_namespace: ingress.namespace,
    }),
    messaging_system: 'knative',
    messaging_operation_name: 'send',
    messaging_destination_name: destination,
    url_scheme: scheme,
  };
}

/** `trigger:audit.shop`; the id where nothing else is known. */
function egressName(id: string, egress: Egress | undefined): string {
  return egress === undefined ? id : destinationOf(egress);
}

function ingressFamilies(ledger: Ledger): Family[] {
  const counter = (name: string, help: string, read: (account: IngressAccount) => number) => ({
    name,
    help,
    type: 'counter' as const,
    *samples(): Generator<Sample> {
      for (const account of ledger.ingresses()) {
        if (account.ingress === undefined) continue;
        yield { labels: { ingress: destinationOf(account.ingress) }, value: read(account) };
      }
    },
  });
  return [
    counter('knear_accepted_total', 'Events taken (202)', (each) => each.accepted),
    counter('knear_accepted_bytes_total', 'Bytes of events taken', (each) => each.acceptedBytes),
    counter('knear_unmatched_total', 'Events taken that nobody wanted', (each) => each.unmatched),
    {
      name: 'knear_refused_total',
      help: 'Events turned away, by code',
      type: 'counter',
      *samples() {
        for (const { ingress, refused } of ledger.ingresses()) {
          const name = ingress === undefined ? '' : destinationOf(ingress);
          for (const by of ['door', 'reply'] as const) {
            for (const [code, value] of refused[by]) {
              yield { labels: { ingress: name, by, code }, value };
            }
          }
        }
      },
    },
  ];
}

function egressFamilies(ledger: Ledger): Family[] {
  const counter = (
    name: string,
    help: string,
    read: (account: EgressAccount) => Iterable<Sample>,
  ) => ({
    name,
    help,
    type: 'counter' as const,
    *samples(): Generator<Sample> {
      for (const account of ledger.egresses()) {
        const egress = egressName(account.id, account.egress);
        for (const { labels, value } of read(account)) {
          yield { labels: { egress, ...labels }, value };
        }
      }
    },
  });
  return [
    counter('knear_attempts_total', 'Attempts, by code; none: it succeeded', attemptSamples),
    counter('knear_reroutes_total', 'Attempts that went on with another endpoint', (each) => [
      { labels: {}, value: each.reroutes },
    ]),
    counter(
      'knear_routes_total',
      'Attempts by how near the endpoint was (none: the address as given), and why it was that one',
      routeSamples,
    ),
    counter('knear_waits_total', 'Waits for the next attempt', waitSamples),
    counter(
      'knear_local_hops_total',
      'Events for a Broker or Channel of ours that went on without the log (taken), or through it for a reason',
      hopSamples,
    ),
    counter('knear_payload_stalls_total', 'Times that an event waited for a payload', stallSamples),
    counter('knear_ended_total', 'How the lives of events ended', ({ ends }) =>
      Object.entries(ends).map(([end, value]) => ({ labels: { end }, value })),
    ),
    counter('knear_discarded_total', 'Events that ended without being looked at', discardSamples),
    counter(
      'knear_log_gaps_total',
      'Times that waiting events were removed from outside',
      (each) => [{ labels: {}, value: each.gaps }],
    ),
    counter('knear_leases_lost_total', 'Leases that ended without an outcome', (each) => [
      { labels: {}, value: each.leasesLost },
    ]),
    {
      name: 'knear_delivered_bytes_total',
      help: 'Bytes of event data sent to subscribers and dead letter sinks, by how near they are',
      type: 'counter',
      samples: () =>
        Object.entries(ledger.deliveredBytes).map(([nearness, value]) => ({
          labels: { nearness },
          value,
        })),
    },
    {
      name: 'knear_event_age_seconds',
      help: 'Time from acceptance to the end, of events that matched',
      type: 'histogram',
      *samples() {
        for (const { id, egress, age } of ledger.egresses()) {
          yield { labels: { egress: egressName(id, egress) }, value: age };
        }
      },
    },
  ];
}

function* attemptSamples({ attempts }: EgressAccount): Generator<Sample> {
  for (const phase of ['deliver', 'reply', 'dead-letter'] as const) {
    for (const [code, value] of attempts[phase]) yield { labels: { phase, code }, value };
  }
}

function* waitSamples({ waits }: EgressAccount): Generator<Sample> {
  for (const where of ['memory', 'log'] as const) yield { labels: { where }, value: waits[where] };
}

function* hopSamples({ hops }: EgressAccount): Generator<Sample> {
  for (const [result, value] of hops) yield { labels: { result }, value };
}

function* routeSamples({ routes }: EgressAccount): Generator<Sample> {
  for (const [reason, tiers] of Object.entries(routes)) {
    for (const [nearness, value] of Object.entries(tiers)) {
      if (value > 0) yield { labels: { reason, nearness }, value };
    }
  }
}

function* stallSamples({ stalls }: EgressAccount): Generator<Sample> {
  for (const [code, value] of stalls) yield { labels: { code }, value };
}

function* discardSamples({ discarded }: EgressAccount): Generator<Sample> {
  for (const [reason, value] of Object.entries(discarded)) {
    const end = reason === 'egress-deleted' ? 'gone' : 'dropped';
    yield { labels: { end, reason }, value };
  }
}

function logFamilies(log: LogAccount): Family[] {
  const counter = (name: string, help: string, read: () => number): Family => ({
    name,
    help,
    type: 'counter',
    samples: () => [{ labels: {}, value: read() }],
  });
  return [
    counter('knear_log_commits_total', 'Commits of the event log', () => log.commits),
    {
      name: 'knear_log_records_total',
      help: 'Records written, and left out because everybody had settled them before',
      type: 'counter',
      samples: () => [
        { labels: { result: 'written' }, value: log.records },
        { labels: { result: 'left-out' }, value: log.leftOut },
      ],
    },
    counter('knear_log_settles_total', 'Settles written', () => log.settles),
    counter('knear_log_bytes_total', 'Bytes handed to the log', () => log.bytes),
    {
      name: 'knear_log_commit_duration_seconds',
      help: 'Time of one commit',
      type: 'histogram',
      samples: () => [{ labels: {}, value: log.durations }],
    },
    {
      name: 'knear_log_refusals_total',
      help: 'Times that the log stopped taking events, by code',
      type: 'counter',
      samples: () => [...log.refusals].map(([code, value]) => ({ labels: { code }, value })),
    },
  ];
}

function readingFamilies(readers: MetricsReaders): Family[] {
  const { topology, lag, state, usage, door, open, slots } = readers;
  const gauge = (name: string, help: string, samples: () => Iterable<Sample>): Family => ({
    name,
    help,
    type: 'gauge',
    samples,
  });
  const one = (value: number): Sample[] => [{ labels: {}, value }];
  const build = { version: packageVersion(), node: process.versions.node };
  return [
    gauge('knear_lag', 'Events that wait, by state', () => lagSamples(topology(), lag)),
    gauge('knear_slots_in_use', 'Requests in flight', () =>
      slotSamples(topology(), slots(), 'inUse'),
    ),
    gauge('knear_slots_limit', 'Requests that may be in flight', () =>
      slotSamples(topology(), slots(), 'limit'),
    ),
    gauge('knear_slots_waiting', 'Deliveries that wait for a slot', () =>
      slotSamples(topology(), slots(), 'waiting'),
    ),
    gauge('knear_open_deliveries', 'Deliveries held', () => one(open().count)),
    gauge('knear_open_bytes', 'Bytes of the deliveries held', () => one(open().bytes)),
    gauge('knear_log_accepting', '1 while the log takes events, else 0', () =>
      one(state().kind === 'accepting' ? 1 : 0),
    ),
    gauge('knear_log_records_bytes', 'Bytes of records held', () => one(usage().bytes)),
    gauge('knear_log_records_max_bytes', 'Bytes of records that may be held', () =>
      one(usage().bytesMax),
    ),
    gauge('knear_requests_in_flight', 'Requests not answered yet', () =>
      one(door().requestsInFlight),
    ),
    gauge('knear_request_body_bytes', 'Bytes of bodies of requests in flight', () =>
      one(door().bodyBytesHeld),
    ),
    gauge('knear_topology_revision', 'Revision of the topology in force', () =>
      one(topology().revision),
    ),
    gauge('knear_build_info', 'Always 1', () => [{ labels: build, value: 1 }]),
  ];
}

function spanFamilies(spans: () => SpanCounts): Family[] {
  return [
    {
      name: 'knear_spans_exported_total',
      help: 'Spans that the collector took',
      type: 'counter',
      samples: () => [{ labels: {}, value: spans().exported }],
    },
    {
      name: 'knear_spans_dropped_total',
      help: 'Spans that nobody will see, by reason',
      type: 'counter',
      samples: () =>
        Object.entries(spans().dropped).map(([reason, value]) => ({ labels: { reason }, value })),
    },
  ];
}

function* lagSamples({ egresses }: Topology, lag: MetricsReaders['lag']): Generator<Sample> {
  for (const [id, egress] of egresses) {
    const { ready, delayed, parked } = lag(id);
    for (const [state, value] of Object.entries({ ready, delayed, parked })) {
      yield { labels: { egress: egressName(id, egress), state }, value };
    }
  }
}

function* slotSamples(
  { egresses }: Topology,
  readings: Iterable<SlotsReading>,
  what: keyof SlotsReading['slots'],
): Generator<Sample> {
  for (const { egressId, slots } of readings) {
    const egress = egressName(egressId, egresses.get(egressId));
    yield { labels: { egress }, value: slots[what] };
  }
}
