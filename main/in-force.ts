/** The Topology in force and what is derived from it: who wants which event. */
import type { CloudEvent } from '../core/event.ts';
import type { Match } from '../core/ports/event-log.ts';
import { compileFilter } from '../core/rules/filter.ts';
import { compileMatch } from '../core/rules/match.ts';
import type { Topology } from '../core/topology.ts';

export class InForce {
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

  get topology(): Topology {
    return this.#topology;
  }

  readonly match: Match = (ingressId, event) => this.#match(ingressId, event);

  /** Whether an egress of the topology in force wants an event. */
  readonly wants = (egressId: string, event: CloudEvent): boolean => {
    let wants = this.#wants.get(egressId);
    if (!wants) {
      const egress = this.#topology.egresses.get(egressId);
      wants = egress ? compileFilter(egress.filter, this.#topology) : () => false;
      this.#wants.set(egressId, wants);
    }
    return wants(event);
  };

  put(topology: Topology): void {
    this.#topology = topology;
    this.#match = compileMatch(topology);
    this.#wants = new Map();
  }
}
