/**
 * Resources from a folder of YAML and JSON files, watched for changes. This file knows when to look; what is seen, and
 * what a broken file means for what is running, is in `folder-scanner.ts`.
 *
 * Every change is found by a slow scan. The operating system's notifications only make the scan come sooner.
 */
import { watch as watchFolder } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { KnearError } from '../../core/errors.ts';
import type { ResourceSource, Snapshot } from '../../core/ports/resource-source.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import { causeOf, FolderScanner, GRACE_MS } from './folder-scanner.ts';
import { loadSchemas } from './schemas.ts';

export interface YamlFolderOptions {
  readonly folder: string;
  readonly clock: Clock;
}

/** Between two scans when no notification comes: network folders and some container mounts send none. */
const SCAN_PERIOD_MS = 2_000;

/** From a notification to the scan: an editor's rename, write and chmod are one change. */
const DEBOUNCE_MS = 50;

/**
 * Opens a folder as the source of resources. Each `watch` has its own memory of what was valid last.
 * @throws KNEAR_RESOURCES_UNREADABLE when the folder is not there or cannot be listed.
 */
export async function openYamlFolder(options: YamlFolderOptions): Promise<ResourceSource> {
  const { folder, clock } = options;
  try {
    await readdir(folder);
  } catch (cause) {
    const detail = `the resource folder ${folder} cannot be listed (${causeOf(cause)}); create it, or name another one`;
    throw new KnearError('KNEAR_RESOURCES_UNREADABLE', detail, { cause });
  }
  const schemas = await loadSchemas();
  return {
    watch({ signal }) {
      const scanner = new FolderScanner({ folder, clock, schemas });
      return watch({ folder, clock, scanner, signal });
    },
  };
}

interface WatchOptions extends YamlFolderOptions {
  readonly scanner: FolderScanner;
  readonly signal: AbortSignal;
}

/** A snapshot at once, then one after each scan that found something else than the one before. */
async function* watch({ folder, clock, scanner, signal }: WatchOptions): AsyncGenerator<Snapshot> {
  const bell = new Bell(clock, signal);
  const stop = ringOnChange(folder, bell);
  try {
    let last: Snapshot | undefined;
    while (!signal.aborted) {
      const snapshot = await scanner.scan();
      if (last === undefined || !isSame(last, snapshot)) {
        last = snapshot;
        yield snapshot;
      }
      await bell.wait(scanner.isGraceRunning ? GRACE_MS : SCAN_PERIOD_MS);
    }
  } finally {
    stop();
  }
}

/** Best effort: where there are no notifications, or no more of them, the scans go on alone. */
function ringOnChange(folder: string, bell: Bell): () => void {
  try {
    const watcher = watchFolder(folder, { recursive: true, persistent: false }, () => {
      bell.ring();
    });
    watcher.on('error', () => {
      watcher.close();
    });
    return () => {
      watcher.close();
    };
  } catch {
    return () => undefined;
  }
}

function isSame(a: Snapshot, b: Snapshot): boolean {
  return (
    a.resources.length === b.resources.length &&
    // A file that has not changed keeps its objects.
    a.resources.every((resource, index) => resource === b.resources[index]) &&
    JSON.stringify(a.problems) === JSON.stringify(b.problems)
  );
}

/** One sleeper, who wakes up in time, a little after it rings, or when the signal aborts. */
class Bell {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #isRinging = false;
  #isDue = false;
  #wake: () => void = () => undefined;

  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
    signal.addEventListener('abort', () => {
      this.#wake();
    });
  }

  /** Rings that follow within the pause are one with the first, so a folder that never rests is read all the same. */
  ring(): void {
    if (this.#isRinging) return;
    this.#isRinging = true;
    this.#clock.after(DEBOUNCE_MS, () => {
      this.#isRinging = false;
      this.#isDue = true;
      this.#wake();
    });
  }

  async wait(delayMs: number): Promise<void> {
    let timer: Timer | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = this.#clock.after(delayMs, resolve);
      if (this.#isDue || this.#signal.aborted) resolve();
    });
    timer?.cancel();
    this.#isDue = false;
  }
}
