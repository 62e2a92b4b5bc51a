/**
 * What the log holds for egresses that are gone: it ends after `afterMs`, unless the same identity is back by then. One process
 * of those that share a log sees to that.
 *
 * It owns a timer for each egress that is gone.
 */
import type { EventLog } from '../core/ports/event-log.ts';
import type { Clock, Timer } from '../core/ports/time.ts';
import type { Topology } from '../core/topology.ts';

export interface GoneOptions {
  readonly log: Pick<EventLog, 'egressIds' | 'drop'>;
  readonly clock: Clock;
  readonly afterMs: number;
  onBug(error: unknown, egressId: string): void;
}

export class Gone {
  readonly #options: GoneOptions;
  readonly #timers = new Map<string, Timer>();
  #topology: Pick<Topology, 'egresses'> = { egresses: new Map() };
  #isStopped = false;

  constructor(options: GoneOptions) {
    this.#options = options;
  }

  apply(topology: Topology): void {
    this.#topology = topology;
    this.look();
  }

  /** The log may hold something anew. */
  look(): void {
    if (this.#isStopped) return;
    const { log, clock, afterMs, onBug } = this.#options;
    const { egresses } = this.#topology;
    for (const [id, timer] of this.#timers) {
      if (!egresses.has(id)) continue;
      timer.cancel();
      this.#timers.delete(id);
    }
    for (const id of log.egressIds()) {
      if (egresses.has(id) || this.#timers.has(id)) continue;
      const timer = clock.after(afterMs, () => {
        this.#timers.delete(id);
        if (this.#topology.egresses.has(id)) return;
        log.drop(id).catch((error: unknown) => {
          onBug(error, id);
          // It has all of its time again.
          this.look();
        });
      });
      this.#timers.set(id, timer);
    }
  }

  stop(): void {
    this.#isStopped = true;
    for (const timer of this.#timers.values()) timer.cancel();
  }
}
