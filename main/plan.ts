/** The Topology in force and what is derived from it: who wants which event, and what each resource is told. */
import type { Logger } from 'pino';
import { reconcile, type ResourceStatus } from '../controller/reconcile.ts';
import { sinceWhen, type Condition } from '../controller/status/conditions.ts';
import type { CloudEvent } from '../core/event.ts';
import type { Match } from '../core/ports/event-log.ts';
import type { Observer } from '../core/ports/observer.ts';
import type { Snapshot } from '../core/ports/resource-source.ts';
import type { Clock } from '../core/ports/time.ts';
import { compileFilter } from '../core/rules/filter.ts';
import { compileMatch } from '../core/rules/match.ts';
import type { Topology } from '../core/topology.ts';
import { defaultsOf } from './defaults.ts';
import type { Settings } from './settings.ts';

export interface PlanOptions {
  readonly logger: Logger;
  readonly clock: Clock;
  /** The largest record that the log takes (K4). */
  readonly recordMaxBytes: number;
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
  #topology: Topology = {
    revision: 0,
    ingresses: new Map(),
    egresses: new Map(),
    services: new Map(),
    correlationKeys: new Map(),
  };
  #match: Match = compileMatch(this.#topology);
  /** Compiled when first needed. */
  #wants = new Map<string, (event: CloudEvent) => boolean>();
  #snapshot: Snapshot = { resources: [], problems: [] };
  /** Where the door is, once it is open: a port of 0 becomes a number then. */
  #baseUrl: string;
  #statuses: readonly ResourceStatus[] = [];
  /** As the resources alone have it. */
  #bare: readonly ResourceStatus[] = [];
  #told = new Set<string>();
  /** What was removed from the log's server since this process came, by egress. */
  readonly #gaps = new Map<string, string>();

  constructor(settings: Settings, options: PlanOptions) {
    const { logger, clock, recordMaxBytes } = options;
    this.#settings = settings;
    this.#recordMaxBytes = recordMaxBytes;
    this.#logger = logger;
    this.#clock = clock;
    this.#baseUrl = `http://${settings.host}:${settings.port}`;
  }

  get topology(): Topology {
    return this.#topology;
  }

  get statuses(): readonly ResourceStatus[] {
    return this.#statuses;
  }

  get problems(): Snapshot['problems'] {
    return this.#snapshot.problems;
  }

  readonly match: Match = (ingressId, event) => this.#match(ingressId, event);

  /** Whether an egress of the topology in force wants an event. */
  wants(egressId: string, event: CloudEvent): boolean {
    let wants = this.#wants.get(egressId);
    if (!wants) {
      const egress = this.#topology.egresses.get(egressId);
      wants = egress ? compileFilter(egress.filter, this.#topology) : () => false;
      this.#wants.set(egressId, wants);
    }
    return wants(event);
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
      before: this.#topology,
      baseUrl: this.#baseUrl,
    });
    return { snapshot, topology, statuses };
  }

  putInForce({ snapshot, topology, statuses }: Draft): void {
    this.#snapshot = snapshot;
    this.#topology = topology;
    this.#match = compileMatch(topology);
    this.#wants = new Map();
    this.#bare = statuses;
    this.#date();
    this.#tell(snapshot);
  }

  /** Sees what the resources have to be told of. */
  readonly observer: Observer = {
    observe: (happening) => {
      if (happening.kind !== 'log-gap') return;
      this.#gaps.set(happening.egressId, happening.detail);
      this.#date();
    },
  };

  #date(): void {
    const now = new Date(this.#clock.nowMs()).toISOString();
    const statuses = this.#bare.map((each) => withGap(each, this.#gaps.get(each.resourceId)));
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
