/** From resources to the Topology in force, and what each resource is told. */
import type { Logger } from 'pino';
import { reconcile, type ResourceStatus } from '../controller/reconcile.ts';
import { sinceWhen, type Condition } from '../controller/status/conditions.ts';
import type { Observer } from '../core/ports/observer.ts';
import type { Snapshot } from '../core/ports/resource-source.ts';
import type { Clock } from '../core/ports/time.ts';
import type { Topology } from '../core/topology.ts';
import { defaultsOf } from './defaults.ts';
import { InForce } from './in-force.ts';
import type { Settings } from './settings.ts';

export interface PlanOptions {
  readonly logger: Logger;
  readonly clock: Clock;
  /** The largest record that the log takes (K4). */
  readonly recordMaxBytes: number;
  /** Why a resource that is fine is not Ready yet; absent: nothing is in its way. */
  waitOf?(resourceId: string): { readonly reason: string; readonly message: string } | undefined;
}

/** A Topology that is not in force. */
export interface Draft {
  readonly snapshot: Snapshot;
  readonly topology: Topology;
  readonly statuses: readonly ResourceStatus[];
}

export class Plan {
  readonly #settings: Settings;
  readonly #recordMaxBytes: number;
  readonly #logger: Logger;
  readonly #clock: Clock;
  #revision = 0;
  readonly inForce = new InForce();
  #snapshot: Snapshot = { resources: [], problems: [] };
  /** Where the door is, once it is open: a port of 0 becomes a number then. */
  #baseUrl: string;
  #statuses: readonly ResourceStatus[] = [];
  /** As the resources alone have it. */
  #bare: readonly ResourceStatus[] = [];
  #told = new Set<string>();
  /** Why a resource that is fine is not Ready yet. */
  readonly #waitOf: NonNullable<PlanOptions['waitOf']>;
  /** What was removed from the log's server since this process came, by egress. */
  readonly #gaps = new Map<string, string>();

  constructor(settings: Settings, options: PlanOptions) {
    const { logger, clock, recordMaxBytes, waitOf } = options;
    this.#waitOf = (resourceId) => waitOf?.(resourceId);
    this.#settings = settings;
    this.#recordMaxBytes = recordMaxBytes;
    this.#logger = logger;
    this.#clock = clock;
    this.#baseUrl = `http://${settings.host}:${settings.port}`;
  }

  get topology(): Topology {
    return this.inForce.topology;
  }

  get statuses(): readonly ResourceStatus[] {
    return this.#statuses;
  }

  get problems(): Snapshot['problems'] {
    return this.#snapshot.problems;
  }

  /** Brokers and Channels have this address in words and dead letters from now on. */
  servedAt(url: string): void {
    if (url === this.#baseUrl) return;
    this.#baseUrl = url;
    this.follow(this.#snapshot);
  }

  follow(snapshot: Snapshot): void {
    this.putInForce(this.draft(snapshot));
  }

  /** What the resources come to, before anybody goes by it. */
  draft(snapshot: Snapshot): Draft {
    this.#revision += 1;
    const { topology, statuses } = reconcile(snapshot, {
      revision: this.#revision,
      defaults: { ...defaultsOf(this.#settings), recordMaxBytes: this.#recordMaxBytes },
      before: this.topology,
      baseUrl: this.#baseUrl,
    });
    return { snapshot, topology, statuses };
  }

  putInForce({ snapshot, topology, statuses }: Draft): void {
    this.#snapshot = snapshot;
    this.inForce.put(topology);
    this.#bare = statuses;
    this.look();
    this.#tell(snapshot);
  }

  /** Sees what the resources have to be told of. */
  readonly observer: Observer = {
    observe: (happening) => {
      if (happening.kind !== 'log-gap') return;
      this.#gaps.set(happening.egressId, happening.detail);
      this.look();
    },
  };

  /** Something that statuses depend on beside the resources may have changed. */
  look(): void {
    const now = new Date(this.#clock.nowMs()).toISOString();
    const statuses = this.#bare.map((each) =>
      withGap(withWait(each, this.#waitOf(each.resourceId)), this.#gaps.get(each.resourceId)),
    );
    this.#statuses = dated(statuses, this.#statuses, now);
  }

  /** Each problem once, for as long as it lasts. */
  #tell({ problems }: Snapshot): void {
    const notReady = this.#statuses.filter(({ isReady }) => !isReady);
    const lines = [
      ...problems.map(({ code, where, detail }) => `${code}: ${where}: ${detail}`),
      ...notReady.map(({ resourceId, reason, message }) => `${resourceId}: ${reason}: ${message}`),
    ];
    for (const line of lines) {
      if (!this.#told.has(line)) {
        this.#logger.warn({ problem: line }, 'a resource is not as it should be');
      }
    }
    this.#told = new Set(lines);
  }
}

/** What is fine, and not yet so for everybody. */
function withWait(
  status: ResourceStatus,
  wait: ReturnType<NonNullable<PlanOptions['waitOf']>>,
): ResourceStatus {
  const { object } = status;
  if (!wait || !object || !status.isReady) return status;
  const conditions = object.status.conditions.map((each) =>
    each.type === 'Ready' ? { ...each, ...wait, status: 'Unknown' as const } : each,
  );
  const told = { ...object, status: { ...object.status, conditions } };
  return { ...status, ...wait, isReady: false, object: told };
}

/** A hint, because the egress goes on: `LogIntact` is False where what waited for it may be lost. */
function withGap(status: ResourceStatus, detail: string | undefined): ResourceStatus {
  const { object } = status;
  if (detail === undefined || !object) return status;
  const gap: Condition = {
    type: 'LogIntact',
    status: 'False',
    severity: 'Info',
    reason: 'RemovedFromOutside',
    message: detail,
  };
  const conditions = [...object.status.conditions, gap];
  const infos = [...status.infos, detail];
  return { ...status, infos, object: { ...object, status: { ...object.status, conditions } } };
}

/** Each condition with the time since when it says what it says. */
function dated(
  statuses: readonly ResourceStatus[],
  before: readonly ResourceStatus[],
  now: string,
): ResourceStatus[] {
  const known = new Map(before.map((each) => [each.resourceId, each.object?.status.conditions]));
  return statuses.map((each) => {
    if (!each.object) return each;
    const { status } = each.object;
    const conditions = sinceWhen(status.conditions, known.get(each.resourceId) ?? [], now);
    return { ...each, object: { ...each.object, status: { ...status, conditions } } };
  });
}
