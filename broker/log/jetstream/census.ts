/**
 * N6: asks the server what waits for whom, where this process cannot know. And what is not there any more: the owner of a log that
 * is shared pulls nothing, so nobody else tells it (N14).
 */
import type { Clock, Timer } from '../../../core/ports/time.ts';
import type { Home } from './egresses.ts';
import { isMissing } from './missing.ts';
import type { Place, Sharing } from './place.ts';
import type { Places } from './places.ts';
import type { Puller } from './puller.ts';
import { repeat } from '../../../core/repeat.ts';

/** Numbers that cannot be right are asked for this often. */
const COUNT_MS = 10_000;

interface CensusOptions {
  readonly places: Places;
  readonly clock: Clock;
  readonly sharing: Sharing;
  /** Makes anew what somebody has deleted. */
  recoverIfGone(home: Home, puller: Puller): Promise<void>;
  /** @throws what the server says */
  setUp(home: Home): Promise<void>;
}

export class Census {
  readonly #options: CensusOptions;

  constructor(options: CensusOptions) {
    this.#options = options;
  }

  start(homes: ReadonlyMap<string, Home>): Timer {
    const { clock, sharing } = this.#options;
    return repeat(clock, COUNT_MS, async () => {
      await (sharing === 'owner' ? this.#countAll(homes) : this.#countDoubtful(homes));
      for (const home of [...homes.values()]) await this.#setUpAgain(home);
    });
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
      const { counts, durables } = await this.#countAt(place);
      for (const home of its) {
        const { egress } = home;
        const { ready = 0, delayed = 0, parked = 0 } = counts.get(egress.token) ?? {};
        egress.heard('', ready);
        Object.assign(egress.counts, { delayed, parked });
        await this.#mend(home, durables);
      }
    }
  }

  /** Nothing, where somebody has deleted the stream. */
  async #countAt(place: Place): Promise<Awaited<ReturnType<Places['countAll']>>> {
    try {
      return await this.#options.places.countAll(place);
    } catch (error) {
      if (!isMissing(error)) throw error;
      return { counts: new Map(), durables: new Set() };
    }
  }

  /** @param durables that were there a moment ago */
  async #mend(home: Home, durables: ReadonlySet<string>): Promise<void> {
    for (const puller of home.egress.pullers) {
      if (!durables.has(puller.durable.name)) await this.#options.recoverIfGone(home, puller);
    }
  }

  /** What could not be made, or was not made yet, when it was found to be gone. */
  async #setUpAgain(home: Home): Promise<void> {
    const { egress, interest } = home;
    if (interest && egress.pullers.length === 0 && !egress.dropping) {
      // Others need not wait for it.
      await this.#options.setUp(home).catch(() => undefined);
    }
  }
}
