/**
 * A dispatcher in one place: an egress loop for each egress that is not paused, with the slots, open deliveries and the picture
 * of endpoints that are its own.
 */
import type { Match } from '../core/ports/event-log.ts';
import type { Vantage } from '../core/rules/nearness.ts';
import type { Topology } from '../core/topology.ts';
import { Budget, type BudgetLimits } from './budget.ts';
import { EgressLoop, type LoopContext } from './egress-loop.ts';
import { Loads } from './placement/loads.ts';
import { endpointKeys, Router } from './placement/router.ts';

export interface PlaceOptions extends Omit<
  LoopContext,
  'budget' | 'hops' | 'placement' | 'othersFor'
> {
  readonly match: Match;
  readonly open: BudgetLimits;
  readonly vantage: Vantage;
  /** In a cluster: a Service has an address of its own, and a pod one that its containers share. */
  readonly isCluster: boolean;
  /** C7: what is in force here is what somebody was told is Ready. */
  isConfirmed(): boolean;
  /** The same egress elsewhere. */
  loopsElsewhere(place: Place, egressId: string): readonly EgressLoop[];
}

export class Place {
  readonly budget: Budget;
  readonly #context: LoopContext;
  readonly #loads: Loads;
  readonly #loops = new Map<string, EgressLoop>();

  constructor(options: PlaceOptions) {
    const { vantage, isCluster, clock, slotsMax, match, loopsElsewhere } = options;
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
      othersFor: ({ id }) => loopsElsewhere(this, id),
    };
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

  #addLoop(id: string): EgressLoop {
    const loop = new EgressLoop(id, this.#context);
    this.#loops.set(id, loop);
    return loop;
  }
}
