/**
 * What a log on a server does differently from one in the process, so that the dispatcher meets it in the simulated world, too:
 *
 * - It counts how often it has given a delivery, over the death of processes.
 * - An acknowledgement (a settle that leaves nothing) may get lost on its way: the delivery comes again when its lease is over.
 * - Nothing is given before it is durable (`isEarly` is the world's business).
 */
import type { Delivery, EventLog } from '../../core/ports/event-log.ts';
import { withPull } from '../fakes/wrapped-log.ts';
import type { SeededRandom } from './random.ts';

/** Outlives processes, as a server does. */
export class ServerHabits {
  readonly #random: SeededRandom;
  readonly #lostAcks: number;
  /** By delivery, as long as it has no outcome. */
  readonly #given = new Map<string, number>();
  lost = 0;

  /** @param lostAcks probability of one acknowledgement */
  constructor(random: SeededRandom, lostAcks: number) {
    this.#random = random;
    this.#lostAcks = lostAcks;
  }

  of(log: EventLog): EventLog {
    return withPull(log, async (own, ...call) => {
      const deliveries = await own(...call);
      return deliveries.map((delivery) => this.#give(delivery));
    });
  }

  #give(own: Delivery): Delivery {
    const key = `${own.egressId} ${own.position} ${own.phase} ${own.attempt}`;
    const lease = (this.#given.get(key) ?? 0) + 1;
    this.#given.set(key, lease);
    let isLost = false;
    return {
      egressId: own.egressId,
      position: own.position,
      event: own.event,
      sizeBytes: own.sizeBytes,
      acceptedAtMs: own.acceptedAtMs,
      phase: own.phase,
      attempt: own.attempt,
      firstAtMs: own.firstAtMs,
      lease,
      ...(own.lastFailure && { lastFailure: own.lastFailure }),
      ...(own.origin && { origin: own.origin }),
      get isOpen() {
        return !isLost && own.isOpen;
      },
      settle: (outputs) => {
        if (isLost) return undefined;
        isLost = outputs.length === 0 && own.isOpen && this.#random.chance(this.#lostAcks);
        if (isLost) {
          this.lost += 1;
          return undefined;
        }
        this.#given.delete(key);
        return own.settle(outputs);
      },
      release: () => {
        if (isLost) return;
        this.#given.set(key, lease - 1);
        own.release();
      },
      extend: () => {
        if (!isLost) own.extend();
      },
    };
  }
}
