/** The Topology in force and what is derived from it: who wants which event, and what each resource is told. */
import type { Logger } from 'pino';
import { reconcile, type ResourceStatus } from '../controller/reconcile.ts';
import { sinceWhen } from '../controller/status/conditions.ts';
import type { Match } from '../core/ports/event-log.ts';
import type { Snapshot } from '../core/ports/resource-source.ts';
import type { Clock } from '../core/ports/time.ts';
import { compileMatch } from '../core/rules/match.ts';
import type { Topology } from '../core/topology.ts';
import { defaultsOf } from './defaults.ts';
import type { Settings } from './settings.ts';

export class Plan {
  readonly #settings: Settings;
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
  #snapshot: Snapshot = { resources: [], problems: [] };
  /** Where the door is, once it is open: a port of 0 becomes a number then. */
  #baseUrl: string;
  #statuses: readonly ResourceStatus[] = [];
  #told = new Set<string>();

  constructor(settings: Settings, { logger, clock }: { logger: Logger; clock: Clock }) {
    this.#settings = settings;
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

  /** Brokers and Channels have this address in words and dead letters from now on. */
  servedAt(url: string): void {
    if (url === this.#baseUrl) return;
    this.#baseUrl = url;
    this.follow(this.#snapshot);
  }

  follow(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    this.#revision += 1;
    const { topology, statuses } = reconcile(snapshot, {
      revision: this.#revision,
      defaults: defaultsOf(this.#settings),
      before: this.#topology,
      baseUrl: this.#baseUrl,
    });
    this.#topology = topology;
    this.#match = compileMatch(topology);
    this.#statuses = dated(statuses, this.#statuses, new Date(this.#clock.nowMs()).toISOString());
    this.#tell(snapshot);
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
