/**
 * A dispatcher in one place: an egress loop for each egress that is not paused, with the slots, open deliveries and the picture
 * of endpoints that are its own.
 */
import type { LoadLine } from '../core/ports/load-reports.ts';
import type { Match } from '../core/ports/event-log.ts';
import type { Vantage } from '../core/rules/nearness.ts';
import type { Topology } from '../core/topology.ts';
import { Budget, type BudgetLimits } from './budget.ts';
import { EgressLoop, type LoopContext } from './egress-loop.ts';
import { Loads } from './placement/loads.ts';
import type { Neighbour } from './placement/neighbours.ts';
import type { Remote, RemoteView } from './placement/remote.ts';
import { endpointKeys, Router } from './placement/router.ts';

export interface PlaceOptions extends Omit<
  LoopContext,
  'budget' | 'hops' | 'placement' | 'othersFor' | 'isSpare'
> {
  readonly match: Match;
  readonly open: BudgetLimits;
  readonly vantage: Vantage;
  /** In a cluster: a Service has an address of its own, and a pod one that its containers share. */
  readonly isCluster: boolean;
  /** C7: what is in force here is what somebody was told is Ready. */
  isConfirmed(): boolean;
  /** The same egress in other places of this process. */
  loopsElsewhere(place: Place, egressId: string): readonly EgressLoop[];
  /** Other processes; absent: there are none. */
  readonly remote?: Remote;
  /** Of this place, in this process. */
  readonly number: number;
}

export class Place {
  readonly budget: Budget;
  readonly #context: LoopContext;
  readonly #options: PlaceOptions;
  readonly #loads: Loads;
  readonly #loops = new Map<string, EgressLoop>();

  constructor(options: PlaceOptions) {
    const { vantage, isCluster, clock, slotsMax, match } = options;
    this.budget = new Budget(options.open, clock);
    this.#loads = new Loads(clock, slotsMax);
    const router = new Router({ vantage, loads: this.#loads, usesLoopback: isCluster });
    this.#context = {
      ...options,
      budget: this.budget,
      placement: { router, loads: this.#loads, hasServices: isCluster },
      hops: {
        match,
        contextOf: (egressId) => this.#loops.get(egressId)?.dispatchContext,
        isConfirmed: () => options.isConfirmed(),
      },
      othersFor: (loop) => this.#othersFor(loop),
      isSpare: (loop) => this.#view(loop)?.isSpare ?? false,
    };
    this.#options = options;
  }

  loops(): Iterable<EgressLoop> {
    return this.#loops.values();
  }

  loop(egressId: string): EgressLoop | undefined {
    return this.#loops.get(egressId);
  }

  apply(topology: Topology): void {
    for (const [id, loop] of this.#loops) {
      if (topology.egresses.has(id)) continue;
      // A loop with deliveries in flight is kept: should its egress come back, their order goes on with theirs.
      loop.vanish();
      if (loop.open === 0) this.#loops.delete(id);
    }
    for (const [id, egress] of topology.egresses) {
      const loop = this.#loops.get(id) ?? this.#addLoop(id);
      if (egress.isPaused) loop.pause();
      else loop.resume();
    }
    this.#loads.forgetBut(endpointKeys(topology));
  }

  /** Resolves when nothing is open any more. */
  async stop(): Promise<void> {
    const stopped = Promise.all([...this.#loops.values()].map((loop) => loop.stop()));
    this.budget.wakeAll();
    await stopped;
  }

  /** What it does for each egress that it does anything for. */
  lines(): LoadLine[] {
    const lines: LoadLine[] = [];
    for (const loop of this.#loops.values()) {
      const { id: egressId, load, backlog } = loop;
      if (load.inFlight > 0 || backlog > 0) lines.push({ egressId, ...load, backlog });
    }
    return lines;
  }

  #othersFor(loop: EgressLoop): readonly Neighbour[] {
    const here = this.#options.loopsElsewhere(this, loop.id);
    const elsewhere = this.#view(loop)?.others;
    return elsewhere === undefined ? here : [...here, ...elsewhere];
  }

  #view(loop: EgressLoop): RemoteView | undefined {
    const { remote, number: place } = this.#options;
    // Most have no others, and are asked for each hop.
    if (!remote) return undefined;
    const topology = this.#options.topology();
    const egress = topology.egresses.get(loop.id);
    return egress && remote.viewOf(egress, topology, { place, nearness: loop.nearness });
  }

  #addLoop(id: string): EgressLoop {
    const loop = new EgressLoop(id, this.#context);
    this.#loops.set(id, loop);
    return loop;
  }
}
