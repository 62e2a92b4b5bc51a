import { beforeEach, describe, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ErrorCode } from '../../core/errors.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { LogState } from '../../core/ports/event-log.ts';
import type { End, Happening, Observer } from '../../core/ports/observer.ts';
import { HOP_REFUSALS } from '../../core/rules/hop.ts';
import { NEARNESSES, ROUTE_REASONS } from '../../core/rules/nearness.ts';
import type { Egress, Ingress, Topology } from '../../core/topology.ts';
import {
  composeObservers,
  openMetrics,
  type Metrics,
  type MetricsReaders,
} from '../../main/observe/metrics.ts';
import type { PayloadReading } from '../../main/observe/payload-families.ts';
import { packageFolder, packageVersion } from '../../main/settings.ts';
import { CLAIMS } from '../fakes/claims.ts';
import { SHOWN } from './shown-payload.ts';

const BROKER = ingress('broker', 'orders');
const CHANNEL = ingress('channel', 'step-1');
const TRIGGER = egress('trigger', 'audit', BROKER);
const SUBSCRIPTION = egress('subscription', 'charge', CHANNEL);

let topology: Topology;
let state: LogState;
let payloads: PayloadReading;
let metrics: Metrics;

beforeEach(() => {
  topology = topologyOf([BROKER, CHANNEL], [TRIGGER, SUBSCRIPTION]);
  state = { kind: 'accepting' };
  payloads = payloadReading();
  metrics = openMetrics(readers());
});

function readers(): MetricsReaders {
  return {
    topology: () => topology,
    lag: (egressId) =>
      egressId === TRIGGER.id
        ? { ready: 3, delayed: 2, parked: 1 }
        : { ready: 0, delayed: 0, parked: 0 },
    state: () => state,
    usage: () => ({ bytes: 900, bytesMax: 1_000 }),
    door: () => ({ requestsInFlight: 5, bodyBytesHeld: 50 }),
    open: () => ({ count: 7, bytes: 700 }),
    slots: () => [{ egressId: TRIGGER.id, slots: { inUse: 2, limit: 4, waiting: 3 } }],
    payloads: () => payloads,
    spans: () => ({ exported: 9, dropped: { 'queue-full': 8, 'export-failed': 7 } }),
  };
}

describe('events coming in', () => {
  test('accepted events are counted with their bytes, and those that nobody wanted', async () => {
    tell(accepted(), accepted({ isMatched: false, sizeBytes: 50 }), accepted({ ingress: CHANNEL }));
    expect(await read()).toMatchObject({
      'knear_accepted_total{ingress="broker:orders.shop"}': 2,
      'knear_accepted_bytes_total{ingress="broker:orders.shop"}': 150,
      'knear_unmatched_total{ingress="broker:orders.shop"}': 1,
      'knear_accepted_total{ingress="channel:step-1.shop"}': 1,
      'knear_unmatched_total{ingress="channel:step-1.shop"}': 0,
    });
  });

  test('refusals are counted by code and by who refused, also where no ingress is known', async () => {
    const unknown = { kind: 'refused', code: 'KNEAR_INGRESS_UNKNOWN', status: 404 } as const;
    tell(
      { ...unknown, by: 'door', durationMs: 1 },
      refused({ by: 'door' }),
      refused({ by: 'reply' }),
    );
    expect(await read()).toMatchObject({
      'knear_refused_total{ingress="",by="door",code="KNEAR_INGRESS_UNKNOWN"}': 1,
      'knear_refused_total{ingress="broker:orders.shop",by="door",code="KNEAR_QUOTA"}': 1,
      'knear_refused_total{ingress="broker:orders.shop",by="reply",code="KNEAR_QUOTA"}': 1,
    });
  });
});

describe('events going out', () => {
  test('attempts are counted by phase and code', async () => {
    tell(
      attempted(),
      attempted(),
      attempted({ code: 'KNEAR_REJECTED', status: 503 }),
      attempted({ phase: 'dead-letter', code: 'KNEAR_TIMEOUT', status: 0 }),
    );
    expect(await read()).toMatchObject({
      'knear_attempts_total{egress="trigger:audit.shop",phase="deliver",code="none"}': 2,
      'knear_attempts_total{egress="trigger:audit.shop",phase="deliver",code="KNEAR_REJECTED"}': 1,
      'knear_attempts_total{egress="trigger:audit.shop",phase="dead-letter",code="KNEAR_TIMEOUT"}': 1,
    });
  });

  test.each<End>(['delivered', 'filtered', 'dead-lettered', 'parked', 'dropped', 'gone'])(
    'the end %s is counted',
    async (end) => {
      tell(ended({ end }));
      const series = await read();
      expect(series[`knear_ended_total{egress="trigger:audit.shop",end="${end}"}`]).toBe(1);
      const isAged = end !== 'filtered' && end !== 'gone';
      expect(series['knear_event_age_seconds_count{egress="trigger:audit.shop"}']).toBe(
        isAged ? 1 : 0,
      );
    },
  );

  test('waits, reroutes, lost leases and discarded events are counted', async () => {
    const waiting = { kind: 'waiting', egress: TRIGGER, event: event(), phase: 'deliver' } as const;
    const discarded = { kind: 'discarded', egressId: TRIGGER.id, count: 5 } as const;
    tell(
      { ...waiting, attempt: 1, delayMs: 200, where: 'memory' },
      { ...waiting, attempt: 2, delayMs: 9000, where: 'log' },
      { ...waiting, attempt: 3, delayMs: 9000, where: 'log' },
      { kind: 'lease-lost', egressId: TRIGGER.id, lease: 1 },
      { kind: 'rerouted', egress: TRIGGER },
      { ...discarded, end: 'dropped', reason: 'parking-bytes' },
      { ...discarded, end: 'gone', reason: 'egress-deleted' },
    );
    const of = (name: string, labels = '') => `${name}{egress="trigger:audit.shop"${labels}}`;
    expect(await read()).toMatchObject({
      [of('knear_waits_total', ',where="memory"')]: 1,
      [of('knear_waits_total', ',where="log"')]: 2,
      [of('knear_leases_lost_total')]: 1,
      [of('knear_reroutes_total')]: 1,
      [of('knear_discarded_total', ',end="dropped",reason="parking-bytes"')]: 5,
      [of('knear_discarded_total', ',end="gone",reason="egress-deleted"')]: 5,
    });
  });

  test('stalls for a payload are counted by code, and are no attempts', async () => {
    tell(stalled(), stalled(), stalled('KNEAR_PAYLOAD_QUOTA'));
    const series = await read();
    expect(series).toMatchObject({
      'knear_payload_stalls_total{egress="trigger:audit.shop",code="KNEAR_PAYLOAD_STORE_AWAY"}': 2,
      'knear_payload_stalls_total{egress="trigger:audit.shop",code="KNEAR_PAYLOAD_QUOTA"}': 1,
    });
    expect(Object.keys(series).filter((name) => name.startsWith('knear_attempts'))).toEqual([]);
  });

  test('hops and refusals to hop are counted where the event comes from, only those that there were', async () => {
    tell(hop('taken'), hop('taken'), hop('fan-out'), hop('off', SUBSCRIPTION));
    expect(await seriesOf('knear_local_hops_total')).toEqual({
      'knear_local_hops_total{egress="trigger:audit.shop",result="taken"}': 2,
      'knear_local_hops_total{egress="trigger:audit.shop",result="fan-out"}': 1,
      'knear_local_hops_total{egress="subscription:charge.shop",result="off"}': 1,
    });
  });

  test('attempts are counted by where they went and why, only those that there were', async () => {
    const near = { reason: 'nearest', nearness: 'pod', endpoint: '10.0.0.7:80' } as const;
    const far = { reason: 'nearest', nearness: 'zone', endpoint: '10.0.1.7:80' } as const;
    tell(
      attempted({ route: near }),
      attempted({ route: { ...near, endpoint: '10.0.0.8:80' } }),
      attempted({ route: far }),
      attempted({ route: { reason: 'no-endpoint' }, phase: 'dead-letter' }),
      attempted(),
    );
    const of = (reason: string, nearness: string) =>
      `knear_routes_total{egress="trigger:audit.shop",reason="${reason}",nearness="${nearness}"}`;
    expect(await seriesOf('knear_routes_total')).toEqual({
      [of('nearest', 'pod')]: 2,
      [of('nearest', 'zone')]: 1,
      [of('no-endpoint', 'none')]: 1,
    });
  });

  test('bytes of data are counted by how far they went, with each retry, claimed ones too', async () => {
    const data = Buffer.alloc(100);
    const inline = { ...event(), data };
    const near = { reason: 'nearest', nearness: 'node', endpoint: '10.0.0.7:80' } as const;
    const url = { reason: 'url' } as const;
    tell(
      attempted({ event: inline, route: near }),
      attempted({ event: inline, route: near, code: 'KNEAR_REJECTED', status: 503 }),
      attempted({ event: inline, route: url, phase: 'dead-letter' }),
      attempted({ event: { ...event(), data: SHOWN }, route: { ...near, nearness: 'zone' } }),
      // Nothing left us, another event was sent, or none needed to be.
      attempted({ event: inline, route: near, code: 'KNEAR_UNREACHABLE', status: 0 }),
      attempted({ event: inline, route: url, phase: 'reply' }),
      attempted({ event: inline }),
    );
    expect(await seriesOf('knear_delivered_bytes_total')).toEqual({
      'knear_delivered_bytes_total{nearness="pod"}': 0,
      'knear_delivered_bytes_total{nearness="node"}': 200,
      'knear_delivered_bytes_total{nearness="zone"}': SHOWN.sizeBytes,
      'knear_delivered_bytes_total{nearness="any"}': 0,
      'knear_delivered_bytes_total{nearness="none"}': 100,
    });
  });

  test('the age of an event is put into the first bucket that holds it', async () => {
    tell(ended({ ageMs: 50 }), ended({ ageMs: 51 }), ended({ ageMs: 90_000_000 }));
    const bucket = (le: string) =>
      `knear_event_age_seconds_bucket{le="${le}",egress="trigger:audit.shop"}`;
    expect(await read()).toMatchObject({
      [bucket('0.025')]: 0,
      [bucket('0.05')]: 1,
      [bucket('0.1')]: 2,
      [bucket('86400')]: 2,
      [bucket('+Inf')]: 3,
      'knear_event_age_seconds_count{egress="trigger:audit.shop"}': 3,
      'knear_event_age_seconds_sum{egress="trigger:audit.shop"}': 90_000.101,
    });
  });
});

describe('M3: the histogram of Knative', () => {
  test('has its buckets and labels, for a Broker and its Trigger', async () => {
    tell(accepted({ durationMs: 20 }), attempted({ durationMs: 300, status: 200 }));
    const common =
      'kn_broker_name="orders",kn_broker_namespace="shop",messaging_system="knative",messaging_operation_name="send"';
    const taken = `${common},messaging_destination_name="broker:orders.shop",url_scheme="https",http_response_status_code="202",cloudevents_type="order.created"`;
    const sent = `${common},messaging_destination_name="trigger:audit.shop",url_scheme="http",http_response_status_code="200",cloudevents_type="order.created"`;
    const series = await read();
    expect(series).toMatchObject({
      [`kn_eventing_dispatch_duration_seconds_bucket{le="0.01",${taken}}`]: 0,
      [`kn_eventing_dispatch_duration_seconds_bucket{le="0.025",${taken}}`]: 1,
      [`kn_eventing_dispatch_duration_seconds_sum{${taken}}`]: 0.02,
      [`kn_eventing_dispatch_duration_seconds_bucket{le="0.25",${sent}}`]: 0,
      [`kn_eventing_dispatch_duration_seconds_bucket{le="0.5",${sent}}`]: 1,
      [`kn_eventing_dispatch_duration_seconds_count{${sent}}`]: 1,
    });
    const bounds = Object.keys(series).flatMap((key) =>
      key.includes(sent) ? (/le="([^"]+)"/.exec(key)?.[1] ?? []) : [],
    );
    const knative = '0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 +Inf';
    expect(bounds.join(' ')).toBe(knative);
  });

  test('names channels where there is no Broker, and says 0 where no answer came', async () => {
    tell(attempted({ egress: SUBSCRIPTION, status: 0, code: 'KNEAR_UNREACHABLE' }));
    expect(Object.keys(await read()).filter((key) => key.startsWith('kn_'))).toContain(
      'kn_eventing_dispatch_duration_seconds_count{kn_channel_name="step-1",kn_channel_namespace="shop",messaging_system="knative",messaging_operation_name="send",messaging_destination_name="subscription:charge.shop",url_scheme="http",http_response_status_code="0",cloudevents_type="order.created"}',
    );
  });

  test('tells refusals with their status, but neither replies nor dead letters', async () => {
    tell(
      refused({ by: 'door' }),
      refused({ by: 'reply' }),
      attempted({ phase: 'reply' }),
      attempted({ phase: 'dead-letter' }),
    );
    const counts = await dispatchCounts();
    expect(counts).toEqual([
      [expect.stringContaining('http_response_status_code="503",cloudevents_type=""'), 1],
    ]);
  });
});

test('M1: observing costs no more than a few additions', () => {
  const happenings = [accepted(), attempted(), ended()];
  const startMs = performance.now();
  for (let index = 0; index < 100_000; index++) tell(...happenings);
  // About 30 ms on two slow cores; prom-client alone would take some 300.
  expect(performance.now() - startMs).toBeLessThan(1_500);
});

describe('M2: series are bounded', () => {
  test('a destination has 20 types, and the rest is told as other', async () => {
    for (let index = 0; index < 30; index++) {
      tell(attempted({ event: event(`type-${String(index)}`) }));
      tell(attempted({ event: event(`type-${String(index)}`) }));
    }
    const counts = await dispatchCounts();
    expect(counts).toHaveLength(21);
    expect(counts.find(([key]) => key.includes('cloudevents_type="other"'))?.[1]).toBe(20);
    expect(counts.reduce((sum, [, count]) => sum + count, 0)).toBe(60);
  });

  test('a type too long to be a name is told as other', async () => {
    tell(
      attempted({ event: event('x'.repeat(129)) }),
      attempted({ event: event('x'.repeat(128)) }),
    );
    const keys = (await dispatchCounts()).map(([key]) => key);
    expect(keys).toEqual([
      expect.stringContaining('cloudevents_type="other"'),
      expect.stringContaining(`cloudevents_type="${'x'.repeat(128)}"`),
    ]);
  });

  test('statuses and types of all destinations share one bound, which deleted ones give back', async () => {
    const triggers = Array.from({ length: 60 }, (_, index) =>
      egress('trigger', `t${String(index)}`, BROKER),
    );
    topology = topologyOf([BROKER], triggers);
    const tellAll = () => {
      for (const trigger of triggers) {
        for (let status = 400; status < 420; status++) tell(attempted({ egress: trigger, status }));
      }
    };
    const own = (counts: [string, number][]) =>
      counts.filter(([key]) => key.includes('cloudevents_type="order.created"')).length;
    tellAll();
    expect(own(await dispatchCounts())).toBe(1000);
    topology = topologyOf([BROKER], []);
    await read();
    expect(await dispatchCounts()).toEqual([]);
    topology = topologyOf([BROKER], triggers);
    tellAll();
    expect(own(await dispatchCounts())).toBe(1000);
  });

  test('a deleted Trigger is told once more and then forgotten, whatever still happens to it', async () => {
    tell(ended());
    topology = topologyOf([BROKER], []);
    tell(ended());
    const key = 'knear_ended_total{egress="trigger:audit.shop",end="delivered"}';
    expect((await read())[key]).toBe(2);
    expect(await read()).not.toHaveProperty([key]);
    tell(ended());
    expect((await read())[key]).toBe(1);
    expect(await read()).not.toHaveProperty([key]);
  });

  test('an egress has as many series of routes and hops as there are reasons, whatever the endpoints', async () => {
    const count = 1_000;
    for (let index = 0; index < count; index += 1) {
      const reason = ROUTE_REASONS[index % ROUTE_REASONS.length] ?? 'url';
      const nearness = NEARNESSES[index % NEARNESSES.length];
      const place = nearness && { nearness, endpoint: `10.0.0.7:${String(index)}` };
      tell(attempted({ route: { reason, ...place } }));
      tell(hop(HOP_REFUSALS[index % HOP_REFUSALS.length] ?? 'taken'));
    }
    const of = async (name: string) => Object.values(await seriesOf(name));
    const sum = (values: number[]) => values.reduce((all, value) => all + value, 0);
    const [routes, hops] = [await of('knear_routes_total'), await of('knear_local_hops_total')];
    expect(routes.length).toBeLessThanOrEqual(ROUTE_REASONS.length * NEARNESSES.length);
    expect(hops).toHaveLength(HOP_REFUSALS.length);
    expect([sum(routes), sum(hops)]).toEqual([count, count]);
  });

  test('a deleted Broker is forgotten as well', async () => {
    tell(accepted(), refused({ by: 'door' }));
    topology = topologyOf([], []);
    await read();
    expect(Object.keys(await read()).filter((key) => key.includes('broker:'))).toEqual([]);
  });

  test('a changed Trigger goes on with its numbers', async () => {
    tell(ended());
    const changed: Egress = { ...TRIGGER, timeoutMs: 1 };
    topology = topologyOf([BROKER], [changed]);
    tell(ended({ egress: changed }));
    expect((await read())['knear_ended_total{egress="trigger:audit.shop",end="delivered"}']).toBe(
      2,
    );
  });

  test('what only has an id is told under its id', async () => {
    topology = topologyOf([], []);
    tell({ kind: 'lease-lost', egressId: 'Trigger/shop/old', lease: 2 });
    expect((await read())['knear_leases_lost_total{egress="Trigger/shop/old"}']).toBe(1);
  });
});

describe('numbers before anything happened', () => {
  test('are there at 0, so that the first parked event is an increase', async () => {
    expect(await read()).toMatchObject({
      'knear_ended_total{egress="trigger:audit.shop",end="parked"}': 0,
      'knear_discarded_total{egress="trigger:audit.shop",end="dropped",reason="parking-count"}': 0,
      'knear_accepted_total{ingress="broker:orders.shop"}': 0,
      knear_log_commits_total: 0,
    });
  });
});

describe('the log', () => {
  test('commits are added up', async () => {
    const committed = { kind: 'committed', records: 3, settles: 2, leftOut: 1, bytes: 10 } as const;
    tell({ ...committed, durationMs: 0.2 }, { ...committed, durationMs: 3000 });
    expect(await read()).toMatchObject({
      knear_log_commits_total: 2,
      'knear_log_records_total{result="written"}': 6,
      'knear_log_records_total{result="left-out"}': 2,
      knear_log_settles_total: 4,
      knear_log_bytes_total: 20,
      'knear_log_commit_duration_seconds_bucket{le="0.0002"}': 1,
      'knear_log_commit_duration_seconds_bucket{le="2.5"}': 1,
      knear_log_commit_duration_seconds_count: 2,
    });
  });

  test('whether it takes events is read at the scrape, and how often it stopped is counted', async () => {
    expect(await read()).toMatchObject({ knear_log_accepting: 1 });
    tell(
      { kind: 'log-state', isAccepting: false, code: 'KNEAR_LOG_FULL' },
      { kind: 'log-state', isAccepting: true },
      { kind: 'log-state', isAccepting: false, code: 'KNEAR_LOG_FULL' },
    );
    state = { kind: 'refusing', code: 'KNEAR_LOG_FULL', detail: 'full' };
    expect(await read()).toMatchObject({
      knear_log_accepting: 0,
      'knear_log_refusals_total{code="KNEAR_LOG_FULL"}': 2,
    });
  });
});

test('what waits, what is open and what may be in flight is read at the scrape', async () => {
  expect(await read()).toMatchObject({
    'knear_lag{egress="trigger:audit.shop",state="ready"}': 3,
    'knear_lag{egress="trigger:audit.shop",state="delayed"}': 2,
    'knear_lag{egress="trigger:audit.shop",state="parked"}': 1,
    'knear_lag{egress="subscription:charge.shop",state="ready"}': 0,
    'knear_slots_in_use{egress="trigger:audit.shop"}': 2,
    'knear_slots_limit{egress="trigger:audit.shop"}': 4,
    'knear_slots_waiting{egress="trigger:audit.shop"}': 3,
    knear_open_deliveries: 7,
    knear_open_bytes: 700,
    knear_log_records_bytes: 900,
    knear_log_records_max_bytes: 1_000,
    knear_requests_in_flight: 5,
    knear_request_body_bytes: 50,
    knear_topology_revision: 12,
    [`knear_build_info{version="${packageVersion()}",node="${process.versions.node}"}`]: 1,
  });
});

describe('large payloads', () => {
  test('are told as they are at the scrape, not as they were when it was opened', async () => {
    await read();
    payloads = payloadReading({
      uploads: 2,
      spoolBytes: 20,
      memoryBytes: 30,
      live: { bytes: 400, objects: 4, leftovers: 1, removed: 6 },
      cache: { hits: 7, misses: 8 },
      counts: {
        claims: 10,
        claimedBytes: 1_000,
        readBytes: 3_000,
        corrupt: 11,
        missing: 12,
        errors: new Map([['KNEAR_PAYLOAD_STORE_FULL', 13]]),
      },
    });
    expect(await read()).toMatchObject({
      knear_payload_uploads_in_flight: 2,
      knear_payload_spool_bytes: 20,
      knear_payload_memory_bytes: 30,
      knear_payload_live_bytes: 400,
      knear_payload_live_objects: 4,
      knear_payload_leftovers: 1,
      knear_payload_collected_total: 6,
      knear_payload_cache_hits_total: 7,
      knear_payload_cache_misses_total: 8,
      knear_payload_claims_total: 10,
      'knear_payload_bytes_total{direction="in"}': 1_000,
      'knear_payload_bytes_total{direction="out"}': 3_000,
      knear_payload_verify_failures_total: 11,
      knear_payload_missing_total: 12,
      'knear_payload_errors_total{code="KNEAR_PAYLOAD_STORE_FULL"}': 13,
    });
  });

  test.each<ErrorCode>([
    'KNEAR_PAYLOAD_STORE_AWAY',
    'KNEAR_PAYLOAD_STORE_DENIED',
    'KNEAR_PAYLOAD_STORE_FULL',
  ])('have their errors %s at 0, so that the first one is an increase', async (code) => {
    expect((await read())[`knear_payload_errors_total{code="${code}"}`]).toBe(0);
  });

  test('have an error of a code that nobody expected told under it', async () => {
    payloads = payloadReading({
      counts: { ...payloads.counts, errors: new Map([['KNEAR_UPLOADS_BUSY', 1]]) },
    });
    expect((await read())['knear_payload_errors_total{code="KNEAR_UPLOADS_BUSY"}']).toBe(1);
  });

  test('are not mentioned where nothing keeps them', async () => {
    const { payloads: kept, ...others } = readers();
    expect(kept).toBeDefined();
    expect(await openMetrics(others).text()).not.toContain('knear_payload_live_bytes');
  });
});

describe('the text', () => {
  test('has the content type of its format, and the numbers of the process', async () => {
    expect(metrics.contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
    const series = await read();
    expect(series['process_resident_memory_bytes']).toBeGreaterThan(0);
    expect(Object.keys(series)).toContain('nodejs_eventloop_lag_p99_seconds');
  });

  test('keeps a hostile type inside its quotes', async () => {
    tell(attempted({ event: event('a"} 1\nb\\') }));
    expect(await metrics.text()).toContain('cloudevents_type="a\\"} 1\\nb\\\\"');
    expect(Object.keys(await read())).not.toContain('b');
  });
});

describe('docs/metrics.md', () => {
  test('lists every metric of ours with its type and labels, and none that is not there', async () => {
    tell(
      accepted(),
      accepted({ ingress: CHANNEL }),
      refused({ by: 'door' }),
      attempted({ route: { reason: 'url' } }),
      attempted({ egress: SUBSCRIPTION }),
      hop('off'),
      stalled(),
      { kind: 'log-state', isAccepting: false, code: 'KNEAR_LOG_FULL' },
    );
    expect(await documented()).toEqual(describeText(await metrics.text()));
  });
});

test('composed observers are told in order, each everything', () => {
  const told: string[] = [];
  const observer = (name: string): Observer => ({
    observe: ({ kind }) => told.push(`${name} ${kind}`),
  });
  composeObservers(observer('a'), observer('b')).observe(accepted());
  composeObservers().observe(accepted());
  expect(told).toEqual(['a accepted', 'b accepted']);
});

function payloadReading(changes: Partial<PayloadReading> = {}): PayloadReading {
  return {
    uploads: 0,
    trouble: undefined,
    spoolBytes: 0,
    memoryBytes: 0,
    live: { bytes: 0, objects: 0, leftovers: 0, removed: 0 },
    cache: { hits: 0, misses: 0 },
    counts: {
      claims: 0,
      claimedBytes: 0,
      readBytes: 0,
      corrupt: 0,
      missing: 0,
      errors: new Map(),
    },
    ...changes,
  };
}

function ingress(kind: Ingress['kind'], name: string): Ingress {
  return {
    id: `${kind}/shop/${name}`,
    kind,
    namespace: 'shop',
    name,
    path: `/shop/${name}`,
    hosts: [],
    eventMaxBytes: 1_000_000,
    attributesMaxBytes: 10_000,
    isEarly: true,
    claims: CLAIMS,
    hops: { isOn: false, redoMaxMs: 1_000 },
  };
}

function egress(kind: Egress['kind'], name: string, { id: ingressId }: Ingress): Egress {
  return {
    id: `${kind}/shop/${name}`,
    kind,
    namespace: 'shop',
    name,
    ingressId,
    filter: { kind: 'everything' },
    subscriber: { kind: 'url', url: 'http://subscriber.shop/' },
    retry: { retries: 0, backoff: 'none', delayMs: 0 },
    timeoutMs: 1000,
    claims: CLAIMS,
    format: 'binary',
    order: 'none',
    isPaused: false,
    exhausted: 'park',
    placement: 'nearest',
    hops: { isOn: false, redoMaxMs: 1_000 },
  };
}

function topologyOf(ingresses: readonly Ingress[], egresses: readonly Egress[]): Topology {
  return {
    revision: 12,
    ingresses: new Map(ingresses.map((each) => [each.id, each])),
    egresses: new Map(egresses.map((each) => [each.id, each])),
    services: new Map(),
    correlationKeys: new Map(),
  };
}

function event(type = 'order.created'): CloudEvent {
  return { attributes: new Map([['type', type]]), headers: new Map(), data: undefined };
}

type Of<Kind extends Happening['kind']> = Extract<Happening, { kind: Kind }>;

function accepted(changes: Partial<Of<'accepted'>> = {}): Of<'accepted'> {
  return {
    kind: 'accepted',
    ingress: BROKER,
    event: event(),
    isMatched: true,
    durationMs: 1,
    sizeBytes: 100,
    scheme: 'https',
    ...changes,
  };
}

function refused(changes: Partial<Of<'refused'>>): Of<'refused'> {
  return {
    kind: 'refused',
    ingress: BROKER,
    code: 'KNEAR_QUOTA',
    status: 503,
    by: 'door',
    durationMs: 1,
    ...changes,
  };
}

function attempted(changes: Partial<Of<'attempted'>> = {}): Of<'attempted'> {
  return {
    kind: 'attempted',
    hops: 0,
    egress: TRIGGER,
    event: event(),
    phase: 'deliver',
    attempt: 1,
    dest: 'http://subscriber.shop/',
    status: 202,
    durationMs: 2,
    ...changes,
  };
}

function hop(result: Of<'hop'>['result'], from = TRIGGER): Of<'hop'> {
  const to = result === 'taken' && { to: SUBSCRIPTION.id };
  return { kind: 'hop', egress: from, ingress: CHANNEL, event: event(), result, ...to };
}

function stalled(code: ErrorCode = 'KNEAR_PAYLOAD_STORE_AWAY'): Of<'stalled'> {
  return { kind: 'stalled', egress: TRIGGER, event: event(), code };
}

function ended(changes: Partial<Of<'ended'>> = {}): Of<'ended'> {
  return { kind: 'ended', egress: TRIGGER, event: event(), end: 'delivered', ageMs: 5, ...changes };
}

function tell(...happenings: readonly Happening[]): void {
  for (const happening of happenings) metrics.observer.observe(happening);
}

/** Series -> value, after a strict reading of the text. */
async function read(): Promise<Record<string, number>> {
  const series: Record<string, number> = {};
  for (const line of (await metrics.text()).split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [, key = '', value] =
      /^([a-z_0-9]+(?:\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)+\})?) (\S+)$/.exec(line) ?? [];
    if (key === '') throw new Error(`not a line of the format: ${line}`);
    if (Object.hasOwn(series, key)) throw new Error(`twice: ${key}`);
    series[key] = Number(value);
  }
  return series;
}

async function seriesOf(name: string): Promise<Record<string, number>> {
  const all = Object.entries(await read());
  return Object.fromEntries(all.filter(([key]) => key.startsWith(`${name}{`)));
}

async function dispatchCounts(): Promise<[string, number][]> {
  return Object.entries(await read()).filter(([key]) =>
    key.startsWith('kn_eventing_dispatch_duration_seconds_count'),
  );
}

interface Described {
  type: string;
  labels: string[];
}

/** What the text has: the type of each metric of ours, and all labels that its series have. */
function describeText(text: string): Record<string, Described> {
  const found: Record<string, Described> = {};
  for (const [, name = '', type = ''] of text.matchAll(/^# TYPE (kn\w+) (\w+)$/gm)) {
    const series = text.matchAll(new RegExp(`^${name}(?:_bucket|_sum|_count)?\\{(.*)\\} `, 'gm'));
    const labels = [...series].flatMap(([, inside = '']) =>
      [...inside.matchAll(/(\w+)="/g)].map(([, label = '']) => label),
    );
    found[name] = { type, labels: [...new Set(labels)].filter((each) => each !== 'le').sort() };
  }
  return found;
}

/** The same, as the tables of the page have it. */
async function documented(): Promise<Record<string, Described>> {
  const page = await readFile(join(packageFolder(), 'docs/metrics.md'), 'utf8');
  const found: Record<string, Described> = {};
  for (const line of page.split('\n')) {
    const [, metric = '', type = '', , labels = ''] = line.split('|').map((cell) => cell.trim());
    const [, name] = /^`(kn\w+)`$/.exec(metric) ?? [];
    if (name === undefined) continue;
    found[name] = { type, labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label) };
  }
  return found;
}
