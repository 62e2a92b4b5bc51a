/** N6: asks the server what waits for whom, where this process cannot know. */
import type { Clock, Timer } from '../../../core/ports/time.ts';
import type { Home, Sharing } from './egresses.ts';
import type { Place } from './place.ts';
import type { Places } from './places.ts';
import { repeat } from './repeat.ts';

/** Numbers that cannot be right are asked for this often. */
const COUNT_MS = 10_000;

interface CensusOptions {
  readonly places: Places;
  readonly clock: Clock;
  readonly sharing: Sharing;
}

export class Census {
  readonly #options: CensusOptions;

  constructor(options: CensusOptions) {
    this.#options = options;
  }

  start(homes: ReadonlyMap<string, Home>): Timer {
    const { clock, sharing } = this.#options;
    return repeat(clock, COUNT_MS, () =>
      sharing === 'owner' ? this.#countAll(homes) : this.#countDoubtful(homes),
    );
  }

  async #countDoubtful(homes: ReadonlyMap<string, Home>): Promise<void> {
    const { places } = this.#options;
    for (const { egress, place } of [...homes.values()]) {
      if (!egress.isDoubtful || egress.dropping) continue;
      const before = { ...egress.counts };
      const { counts, lastSequence } = await places.count(place, egress.token);
      // What has changed meanwhile is as new as what the server said.
      const { ready, delayed, parked } = egress.counts;
      const isSame =
        before.ready === ready && before.delayed === delayed && before.parked === parked;
      if (!isSame || !egress.isDoubtful || egress.dropping) continue;
      Object.assign(egress.counts, counts);
      egress.isDoubted = false;
      egress.countedTo = lastSequence;
      egress.ask();
    }
  }

  /** The owner sees nothing of what the others do. */
  async #countAll(homes: ReadonlyMap<string, Home>): Promise<void> {
    const byPlace = new Map<Place, Home[]>();
    for (const home of homes.values()) {
      byPlace.set(home.place, [...(byPlace.get(home.place) ?? []), home]);
    }
    for (const [place, its] of byPlace) {
      const counts = await this.#options.places.countAll(place);
      for (const { egress } of its) {
        const { ready = 0, delayed = 0, parked = 0 } = counts.get(egress.token) ?? {};
        egress.heard('', ready);
        Object.assign(egress.counts, { delayed, parked });
      }
    }
  }
}
