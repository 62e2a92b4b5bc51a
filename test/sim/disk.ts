/**
 * A disk that survives the process: commits take time, may fail, and are cut in two by a crash (applied or not, but
 * never told). Reads show what was applied, as LMDB does.
 */
import { MemoryStore } from '../../broker/log/memory.ts';
import type { Change, LogStore, StoredRow, Table } from '../../broker/log/store.ts';
import type { Faults } from './faults.ts';
import type { SeededRandom } from './random.ts';
import type { ProcessClock } from './timeline.ts';

export class SimulatedDisk {
  readonly rows = new MemoryStore();
  readonly #random: SeededRandom;
  readonly #faults: () => Faults;

  constructor(random: SeededRandom, faults: () => Faults) {
    this.#random = random;
    this.#faults = faults;
  }

  /** The disk as one process sees it. */
  mount(clock: ProcessClock): MountedDisk {
    return new MountedDisk(this, clock, this.#random, this.#faults);
  }
}

export class MountedDisk implements LogStore {
  readonly durability = 'machine';
  readonly #disk: SimulatedDisk;
  readonly #clock: ProcessClock;
  readonly #random: SeededRandom;
  readonly #faults: () => Faults;
  #inFlight: readonly Change[] | undefined;
  commits = 0;
  failures = 0;

  constructor(
    disk: SimulatedDisk,
    clock: ProcessClock,
    random: SeededRandom,
    faults: () => Faults,
  ) {
    this.#disk = disk;
    this.#clock = clock;
    this.#random = random;
    this.#faults = faults;
  }

  get(table: Table, key: Uint8Array): Buffer | undefined {
    return this.#disk.rows.get(table, key);
  }

  range(table: Table, bounds: { from: Uint8Array; to: Uint8Array; limit: number }): StoredRow[] {
    return this.#disk.rows.range(table, bounds);
  }

  commit(changes: readonly Change[]): Promise<void> {
    if (this.#inFlight) throw new Error('two commits at a time (S4)');
    this.#inFlight = changes;
    const willFail = this.#random.chance(this.#faults().commitFails);
    return new Promise((resolve, reject) => {
      // Visible a moment before the process is told, as a real commit is.
      const visibleMs = this.#random.between(0.1, this.#faults().commitMaxMs);
      this.#clock.after(visibleMs, () => {
        if (!willFail) this.#disk.rows.apply(changes);
        this.#inFlight = undefined;
        this.#clock.after(this.#random.between(0, 0.2), () => {
          this.commits += 1;
          if (willFail) {
            this.failures += 1;
            reject(new Error('simulated: no space left on device'));
          } else {
            resolve();
          }
        });
      });
    });
  }

  freeBytes(): number {
    return Number.POSITIVE_INFINITY;
  }

  sizeBytes(): number {
    return 0;
  }

  /** The process is killed: what was being written is there, or is not. */
  crash(): void {
    if (this.#inFlight && this.#random.chance(0.5)) this.#disk.rows.apply(this.#inFlight);
    this.#inFlight = undefined;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
