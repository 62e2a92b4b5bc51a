/** What became of the events of one measurement: what the load generator sent, joined with what arrived. Pure. */
import { percentile, sorted } from './statistics.ts';
import type { Arrivals, Sent } from './processes/protocol.ts';

export interface Journey {
  readonly sent: number;
  /** Answered 2xx: the producer was promised delivery. */
  readonly accepted: number;
  /** Distinct deliveries, over all lanes. */
  readonly deliveries: number;
  /** Deliveries that were promised and did not come. */
  readonly lost: number;
  /** Deliveries beyond the first of the same event to the same lane. At least once allows them. */
  readonly duplicates: number;
  /** Deliveries / lanes / (last delivery - first send). */
  readonly eventsPerSecond: number;
  readonly deliveriesPerSecond: number;
  /** From the (intended) send to the arrival; one value a delivery. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The load generator's own lateness at p99; part of the latencies above. */
  readonly lateMsP99: number;
  readonly backlog: Backlog;
}

export interface Backlog {
  /** Deliveries owed at evenly spaced moments between the first and the last send. */
  readonly owed: readonly number[];
  /** Time from the last send to the last delivery: how far behind the subscribers were. */
  readonly drainMs: number;
  readonly isGrowing: boolean;
}

interface Ways {
  /** Receivers of each event. */
  readonly lanes: number;
}

/** Enough for a line in a report; the trend compares quarters, so a multiple of four. */
const MOMENTS = 20;
/**
 * What a level may rise between the second and the last quarter of a run and still count as steady: a tenth, and 500
 * deliveries, which is half of what the door lets wait (1,000). A backlog that really grows adds thousands a second.
 */
const STEADY = { share: 0.1, deliveries: 500 };

/** @throws when nothing was delivered: there is nothing to measure then. */
export function joinJourney(sent: Sent, arrivals: Arrivals, { lanes }: Ways): Journey {
  const { firstUs, lastUs, seen, latenciesUs, duplicates } = follow(sent, arrivals, lanes);
  const statuses = Array.from(sent.status);
  if (latenciesUs.length === 0) throw new Error(`nothing was delivered; ${describe(statuses)}`);

  const order = sorted(latenciesUs);
  const deliveriesPerSecond = (latenciesUs.length * 1e6) / (lastUs - firstUs);
  return {
    sent: statuses.length,
    accepted: statuses.filter(isAccepted).length,
    deliveries: latenciesUs.length,
    lost: countLost(sent.status, seen, lanes),
    duplicates,
    eventsPerSecond: deliveriesPerSecond / lanes,
    deliveriesPerSecond,
    p50Ms: percentile(order, 0.5) / 1e3,
    p99Ms: percentile(order, 0.99) / 1e3,
    lateMsP99: sent.lateUsP99 / 1e3,
    backlog: backlogOf(sent.atUs, arrivals.atUs, lanes),
  };
}

interface Followed {
  readonly firstUs: number;
  readonly lastUs: number;
  /** One byte per event and lane. */
  readonly seen: Uint8Array;
  readonly latenciesUs: readonly number[];
  readonly duplicates: number;
}

function follow(sent: Sent, { sequence, lane, atUs }: Arrivals, lanes: number): Followed {
  const seen = new Uint8Array(sent.atUs.length * lanes);
  const latenciesUs: number[] = [];
  let lastUs = 0;
  let duplicates = 0;
  for (const [index, arrivedUs] of atUs.entries()) {
    const event = sequence[index] ?? 0;
    const cell = event * lanes + (lane[index] ?? 0);
    if (seen[cell] === 1) {
      duplicates += 1;
      continue;
    }
    seen[cell] = 1;
    latenciesUs.push(arrivedUs - (sent.atUs[event] ?? 0));
    lastUs = Math.max(lastUs, arrivedUs);
  }
  return { firstUs: sent.atUs[0] ?? 0, lastUs, seen, latenciesUs, duplicates };
}

function countLost(statuses: Uint16Array, seen: Uint8Array, lanes: number): number {
  let lost = 0;
  for (const [event, status] of statuses.entries()) {
    if (!isAccepted(status)) continue;
    for (let lane = 0; lane < lanes; lane += 1) if (seen[event * lanes + lane] === 0) lost += 1;
  }
  return lost;
}

/** Both arrays grow with time: events are numbered as they are sent, and arrivals are noted as they come. */
export function backlogOf(sentUs: Float64Array, arrivedUs: Float64Array, lanes: number): Backlog {
  const startUs = sentUs[0] ?? 0;
  const endUs = sentUs.at(-1) ?? 0;
  const owed: number[] = [];
  let sent = 0;
  let arrived = 0;
  for (let moment = 1; moment <= MOMENTS; moment += 1) {
    const atUs = startUs + ((endUs - startUs) * moment) / MOMENTS;
    while (sent < sentUs.length && (sentUs[sent] ?? Infinity) <= atUs) sent += 1;
    while (arrived < arrivedUs.length && (arrivedUs[arrived] ?? Infinity) <= atUs) arrived += 1;
    owed.push(sent * lanes - arrived);
  }
  const drainMs = Math.max(0, ((arrivedUs.at(-1) ?? endUs) - endUs) / 1e3);
  return { owed, drainMs, isGrowing: isGrowing(owed) };
}

function isGrowing(owed: readonly number[]): boolean {
  const quarter = owed.length / 4;
  const before = mean(owed.slice(quarter, 2 * quarter));
  const after = mean(owed.slice(3 * quarter));
  return after > before * (1 + STEADY.share) + STEADY.deliveries;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function isAccepted(status: number): boolean {
  return status >= 200 && status < 300;
}

/** `202 x 17, no answer x 2`: the answers and how many of each. */
function describe(statuses: readonly number[]): string {
  const counts = new Map<number, number>();
  for (const status of statuses) counts.set(status, (counts.get(status) ?? 0) + 1);
  const parts = Array.from(counts, ([status, count]) => `${status || 'no answer'} x ${count}`);
  return `answers: ${parts.join(', ') || 'none'}`;
}
