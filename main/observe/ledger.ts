/**
 * The books behind the metrics: one account for each Broker or Channel, each Trigger or Subscription, and the log.
 * Nothing in here has a name or a label; metrics.ts reads the accounts out.
 *
 * - M1 Observing is a few additions to numbers that hang on the Egress or Ingress object at hand: a microsecond is 5 % of
 *   what an event costs, and an event is observed about four times.
 * - M2 Accounts are bounded: by the topology, by closed sets of codes, and for the type of an event, which producers
 *   choose, by TYPES_MAX. What left the topology is told once more, then forgotten.
 */
import type { ErrorCode } from '../../core/errors.ts';
import type { HopRefusal } from '../../core/rules/hop.ts';
import type { Nearness, RouteReason } from '../../core/rules/nearness.ts';
import { attributeText, dataSizeBytes } from '../../core/event.ts';
import type { Phase } from '../../core/ports/event-log.ts';
import type { End, Happening } from '../../core/ports/observer.ts';
import type { Egress, Ingress, Topology } from '../../core/topology.ts';
import { Histogram, type HistogramSample, type Labels } from './prometheus.ts';

/** The numbers of one Broker or Channel. */
export interface IngressAccount {
  readonly ingress: Ingress | undefined;
  accepted: number;
  acceptedBytes: number;
  unmatched: number;
  scheme: string;
  readonly refused: Readonly<Record<'door' | 'reply', Counts<ErrorCode>>>;
  readonly durations: Durations;
}

/** How near an endpoint is; `none`: the address was called as it was given. */
type Tier = Nearness | 'none';
type Tiers = Record<Tier, number>;

export type DiscardReason = Extract<Happening, { kind: 'discarded' }>['reason'];

/** The numbers of one Trigger or Subscription. */
export interface EgressAccount {
  readonly id: string;
  /** As last seen; its Broker or Channel, too. Unknown only if nothing but its id ever came up. */
  egress: Egress | undefined;
  ingress: Ingress | undefined;
  readonly attempts: Readonly<Record<Phase, Counts<ErrorCode | 'none'>>>;
  readonly waits: Record<'memory' | 'log', number>;
  readonly ends: Record<End, number>;
  readonly discarded: Record<DiscardReason, number>;
  readonly stalls: Counts<ErrorCode>;
  /** Events that went on from here to a Broker or Channel of ours: without the log, or why through it. */
  readonly hops: Counts<'taken' | HopRefusal>;
  /** Attempts by reason and tier; of the reasons only those that there were. */
  readonly routes: Partial<Record<RouteReason, Tiers>>;
  reroutes: number;
  leasesLost: number;
  gaps: number;
  readonly age: Histogram;
  readonly durations: Durations;
}

export class LogAccount {
  commits = 0;
  records = 0;
  leftOut = 0;
  settles = 0;
  bytes = 0;
  readonly durations = new Histogram(COMMIT_BUCKETS);
  readonly refusals = new Counts<ErrorCode | 'none'>();
}

export class Ledger {
  readonly #topology: () => Topology;
  readonly #budget: TypeBudget = { left: TYPED_SERIES_MAX };
  /** By id: a changed resource is a new object, but the same account. */
  readonly #ingresses = new Map<string, IngressAccount>();
  readonly #egresses = new Map<string, EgressAccount>();
  /** M1: the shortcut past the ids. */
  #ingressCache = new WeakMap<Ingress, IngressAccount>();
  #egressCache = new WeakMap<Egress, EgressAccount>();
  readonly log = new LogAccount();
  /** Event data that was sent, by where to. */
  readonly deliveredBytes = noTiers();

  constructor(topology: () => Topology) {
    this.#topology = topology;
  }

  ingresses(): Iterable<IngressAccount> {
    return this.#ingresses.values();
  }

  egresses(): Iterable<EgressAccount> {
    return this.#egresses.values();
  }

  observe(happening: Happening): void {
    switch (happening.kind) {
      case 'accepted':
        return this.#accepted(happening);
      case 'refused':
        return this.#refused(happening);
      case 'attempted':
        return this.#attempted(happening);
      case 'rerouted':
        this.#egress(happening.egress).reroutes += 1;
        return;
      case 'hop':
        this.#egress(happening.egress).hops.add(happening.result);
        return;
      case 'waiting':
        this.#egress(happening.egress).waits[happening.where] += 1;
        return;
      case 'stalled':
        this.#egress(happening.egress).stalls.add(happening.code);
        return;
      case 'ended':
        return this.#ended(happening);
      case 'discarded':
        this.#egressById(happening.egressId).discarded[happening.reason] += happening.count;
        return;
      case 'lease-lost':
        this.#egressById(happening.egressId).leasesLost += 1;
        return;
      case 'log-gap':
        this.#egressById(happening.egressId).gaps += 1;
        return;
      case 'committed':
        return this.#committed(happening);
      case 'log-state':
        if (!happening.isAccepting) this.log.refusals.add(happening.code ?? 'none');
        return;
    }
  }

  /**
   * Opens an account for everything in the topology. A series that starts with its first increment, instead of 0, hides
   * this increment from `rate` and `increase`: the one event that was parked would raise no alert.
   */
  openAccounts(): void {
    const { ingresses, egresses } = this.#topology();
    for (const ingress of ingresses.values()) this.#ingress(ingress);
    for (const egress of egresses.values()) this.#egress(egress);
  }

  /** M2. To be called after everything was told. */
  forgetGone(): void {
    const { ingresses, egresses } = this.#topology();
    let hasGone = false;
    for (const [id, { durations }] of this.#ingresses) {
      if (id === '' || ingresses.has(id)) continue;
      durations.forget();
      this.#ingresses.delete(id);
      hasGone = true;
    }
    for (const [id, { durations }] of this.#egresses) {
      if (egresses.has(id)) continue;
      durations.forget();
      this.#egresses.delete(id);
      hasGone = true;
    }
    if (!hasGone) return;
    // Attempts in flight still hold the old objects; what they come to shall be told, once.
    this.#ingressCache = new WeakMap();
    this.#egressCache = new WeakMap();
  }

  #accepted(happening: Extract<Happening, { kind: 'accepted' }>): void {
    const { ingress, event, isMatched, durationMs, sizeBytes, scheme } = happening;
    const account = this.#ingress(ingress);
    account.accepted += 1;
    account.acceptedBytes += sizeBytes;
    if (!isMatched) account.unmatched += 1;
    account.scheme = scheme;
    account.durations.observe(attributeText(event, 'type') ?? '', 202, durationMs / 1000);
  }

  #refused(happening: Extract<Happening, { kind: 'refused' }>): void {
    const { ingress, code, status, by, durationMs } = happening;
    const account = ingress ? this.#ingress(ingress) : this.#ingressById('', undefined);
    account.refused[by].add(code);
    if (by === 'door') account.durations.observe('', status, durationMs / 1000);
  }

  #attempted(happening: Extract<Happening, { kind: 'attempted' }>): void {
    const { egress, event, phase, status, code, route, durationMs } = happening;
    const account = this.#egress(egress);
    account.attempts[phase].add(code ?? 'none');
    if (route) {
      const tier = route.nearness ?? 'none';
      (account.routes[route.reason] ??= noTiers())[tier] += 1;
      // The event of the phase reply is not what is sent. What could not be reached was sent nothing.
      const isSent = phase !== 'reply' && code !== 'KNEAR_UNREACHABLE';
      if (isSent) this.deliveredBytes[tier] += dataSizeBytes(event);
    }
    if (phase !== 'deliver') return;
    account.durations.observe(attributeText(event, 'type') ?? '', status, durationMs / 1000);
  }

  #ended({ egress, end, ageMs }: Extract<Happening, { kind: 'ended' }>): void {
    const account = this.#egress(egress);
    account.ends[end] += 1;
    if (end !== 'filtered' && end !== 'gone') account.age.observe(ageMs / 1000);
  }

  #committed(happening: Extract<Happening, { kind: 'committed' }>): void {
    const { records, leftOut, settles, bytes, durationMs } = happening;
    this.log.commits += 1;
    this.log.records += records;
    this.log.leftOut += leftOut;
    this.log.settles += settles;
    this.log.bytes += bytes;
    this.log.durations.observe(durationMs / 1000);
  }

  #ingress(ingress: Ingress): IngressAccount {
    const cached = this.#ingressCache.get(ingress);
    if (cached) return cached;
    const account = this.#ingressById(ingress.id, ingress);
    this.#ingressCache.set(ingress, account);
    return account;
  }

  /** `''` is the account of what no ingress is to blame for. */
  #ingressById(id: string, ingress: Ingress | undefined): IngressAccount {
    const known = this.#ingresses.get(id);
    if (known) return known;
    const account: IngressAccount = {
      ingress,
      accepted: 0,
      acceptedBytes: 0,
      unmatched: 0,
      scheme: 'http',
      refused: { door: new Counts(), reply: new Counts() },
      durations: new Durations(this.#budget),
    };
    this.#ingresses.set(id, account);
    return account;
  }

  #egress(egress: Egress): EgressAccount {
    const cached = this.#egressCache.get(egress);
    if (cached) return cached;
    const account = this.#egressById(egress.id);
    account.egress = egress;
    account.ingress = this.#topology().ingresses.get(egress.ingressId) ?? account.ingress;
    this.#egressCache.set(egress, account);
    return account;
  }

  #egressById(id: string): EgressAccount {
    const known = this.#egresses.get(id);
    if (known) return known;
    const { ingresses, egresses } = this.#topology();
    const egress = egresses.get(id);
    const account: EgressAccount = {
      id,
      egress,
      ingress: egress && ingresses.get(egress.ingressId),
      attempts: { deliver: new Counts(), reply: new Counts(), 'dead-letter': new Counts() },
      waits: { memory: 0, log: 0 },
      ends: { delivered: 0, filtered: 0, 'dead-lettered': 0, parked: 0, dropped: 0, gone: 0 },
      discarded: {
        'egress-deleted': 0,
        'parking-count': 0,
        'parking-bytes': 0,
        'parking-age': 0,
        'parked-dropped': 0,
      },
      stalls: new Counts(),
      hops: new Counts(),
      routes: {},
      reroutes: 0,
      leasesLost: 0,
      gaps: 0,
      age: new Histogram(AGE_BUCKETS),
      durations: new Durations(this.#budget),
    };
    this.#egresses.set(id, account);
    return account;
  }
}

/** Knative's buckets of kn_eventing_dispatch_duration_seconds. Source: knative/eventing, broker ingress and filter. */
const DISPATCH_BUCKETS = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
];
/** From an event that is passed on at once to one that waits a day for its subscriber. */
const AGE_BUCKETS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60, 300, 1_800, 3_600, 21_600, 86_400,
];
/** A flush takes 0.2 ms on a fast disk, 5 ms on a slow one; above half a second the disk is the trouble. */
const COMMIT_BUCKETS = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/** 20 types for one destination are more than a Trigger usually wants; the others share the label `other`. */
const TYPES_MAX = 20;
/** 17 lines each: 1,000 are about 4 MB of text a scrape, which is as much as a scrape should be. */
const TYPED_SERIES_MAX = 1_000;
/** A longer type is not a name anybody would look for. */
const TYPE_LENGTH_MAX = 128;
const OTHER = 'other';

function noTiers(): Tiers {
  return { pod: 0, node: 0, zone: 0, any: 0, none: 0 };
}

/** Numbers by a label that is known only when it comes up. */
class Counts<Key extends string> extends Map<Key, number> {
  add(key: Key): void {
    this.set(key, (this.get(key) ?? 0) + 1);
  }
}

/** How many more series with the type of an event there may be, over all destinations. */
interface TypeBudget {
  left: number;
}

/** Durations by type and status, M2. */
class Durations {
  readonly #byType = new Map<string, Map<number, Histogram>>();
  readonly #budget: TypeBudget;

  constructor(budget: TypeBudget) {
    this.#budget = budget;
  }

  observe(type: string, status: number, seconds: number): void {
    const histogram = this.#byType.get(type)?.get(status) ?? this.#add(type, status);
    histogram.observe(seconds);
  }

  *samples(labels: Labels): Generator<HistogramSample> {
    for (const [cloudevents_type, byStatus] of this.#byType) {
      for (const [status, value] of byStatus) {
        const own = { http_response_status_code: String(status), cloudevents_type };
        yield { labels: { ...labels, ...own }, value };
      }
    }
  }

  /** Gives back its part of the budget. */
  forget(): void {
    for (const [type, byStatus] of this.#byType) {
      if (type !== OTHER) this.#budget.left += byStatus.size;
    }
    this.#byType.clear();
  }

  #add(type: string, status: number): Histogram {
    const isOwn = type !== OTHER && this.#hasRoomFor(type);
    if (isOwn) this.#budget.left -= 1;
    const key = isOwn ? type : OTHER;
    const byStatus = this.#byType.get(key) ?? new Map<number, Histogram>();
    const histogram = byStatus.get(status) ?? new Histogram(DISPATCH_BUCKETS);
    this.#byType.set(key, byStatus.set(status, histogram));
    return histogram;
  }

  #hasRoomFor(type: string): boolean {
    const isKnown = this.#byType.has(type);
    return (
      this.#budget.left > 0 &&
      type.length <= TYPE_LENGTH_MAX &&
      (isKnown || this.#byType.size < TYPES_MAX)
    );
  }
}
