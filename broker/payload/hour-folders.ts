/**
 * The folders of a `FilePayloadStore`: one for each tenant and hour, made for its first payload, gone with its last.
 *
 *  - K17 A file is as durable as the folders above it. Who puts a payload into a folder that another put is just making
 *    waits until that is durable too. A folder that is there at start may have been made by a process that was killed
 *    before its sync, so the first put of each process syncs what is above it.
 */
import { mkdir, rmdir } from 'node:fs/promises';
import path from 'node:path';

import { systemCode } from './disk-fault.ts';

/**
 * A folder may go under a put: by a removal that began just before, or by somebody who tidies up. More often than this in a
 * row, something else is wrong.
 */
const ATTEMPTS_MAX = 5;

/** The folder of the store, which is never made here. */
export interface StoreRoot {
  readonly folder: string;
  /** Rejects when it is not the folder that was opened. */
  assertThere(): Promise<void>;
  /** Makes the names in a folder durable. */
  sync(folder: string): Promise<void>;
}

interface Hour {
  /** Made, with all that is above it. */
  readonly durable: Promise<void>;
  /** Puts that are on their way into it. */
  puts: number;
}

export class HourFolders {
  readonly #root: StoreRoot;
  /** At most one for each folder that there is. */
  readonly #hours = new Map<string, Hour>();

  constructor(root: StoreRoot) {
    this.#root = root;
  }

  /** Runs `move`, which puts one file into the folder, and makes that durable. It runs again when the folder was gone. */
  async fill(hourPath: string, move: () => Promise<void>): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const hour = this.#enter(hourPath);
      try {
        await hour.durable;
        await move();
        await this.#root.sync(hourPath);
        // Made anew since we looked: our file is in the new one, which may not be durable yet.
        if (this.#hours.get(hourPath) !== hour) await this.#make(hourPath);
        return;
      } catch (error) {
        if (systemCode(error) !== 'ENOENT' || attempt === ATTEMPTS_MAX) throw error;
        this.#forget(hourPath, hour);
      } finally {
        hour.puts -= 1;
      }
    }
  }

  /** Removes the folder if it is empty and no put needs it. Best effort: the next removal from it tries again. */
  async leave(hourPath: string): Promise<void> {
    const hour = this.#hours.get(hourPath);
    if (hour && hour.puts > 0) return;
    // Not empty, as a rule.
    const isGone = await rmdir(hourPath).then(
      () => true,
      () => false,
    );
    if (isGone && hour) this.#forget(hourPath, hour);
  }

  #enter(hourPath: string): Hour {
    let hour = this.#hours.get(hourPath);
    if (!hour) {
      const made: Hour = { durable: this.#make(hourPath), puts: 0 };
      // Those who wait for it hear of the failure; the next put tries anew.
      made.durable.catch(() => this.#forget(hourPath, made));
      this.#hours.set(hourPath, made);
      hour = made;
    }
    hour.puts += 1;
    return hour;
  }

  async #make(hourPath: string): Promise<void> {
    // Where a disk is not mounted, what is put into the folder for it would be hidden when it is.
    await this.#root.assertThere();
    const tenantPath = path.dirname(hourPath);
    await makeFolder(tenantPath);
    await makeFolder(hourPath);
    await this.#root.sync(tenantPath);
    await this.#root.sync(this.#root.folder);
  }

  #forget(hourPath: string, hour: Hour): void {
    if (this.#hours.get(hourPath) === hour) this.#hours.delete(hourPath);
  }
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 }).catch((error: unknown) => {
    if (systemCode(error) !== 'EEXIST') throw error;
  });
}
