/** Opens a `GroupedLog` for the suite of all event logs, over whatever store, in real time that can be skipped. */
import { GroupedLog } from '../../broker/log/grouped-log.ts';
import type { Change, LogStore, StoredRow, Table } from '../../broker/log/store.ts';
import type { OpenLog, OpenOptions } from '../conformance/event-log.ts';
import { SkippingClock } from '../fakes/skipping-clock.ts';
import { WIDE } from './log-stage.ts';

/** Past the idle flush (L4), and past what a flush waits for its records to be settled (L12). */
const QUIET_MS = 300;

export interface StoreFactory {
  /** Opens the store, or opens it again over what the last one left. */
  open(clock: SkippingClock): Promise<LogStore>;
  /** After the last one is closed. */
  remove(): Promise<void>;
}

export async function openGroupedLog(stores: StoreFactory, options: OpenOptions): Promise<OpenLog> {
  const clock = new SkippingClock();
  const { match, parkedMax = WIDE.parkedMax, parkedBytesMax = WIDE.parkedBytesMax } = options;
  let store: WatchedStore;
  const open = async () => {
    store = new WatchedStore(await stores.open(clock));
    const limits = { ...WIDE, parkedMax, parkedBytesMax };
    return GroupedLog.open({ store, match, clock, observer: { observe: () => undefined }, limits });
  };
  let log = await open();
  const { skip, quiet } = skippingOf(clock, () => store.isBusy);
  return {
    get log() {
      return log;
    },
    nowMs: () => clock.nowMs(),
    skip,
    quiet,
    restart: async () => {
      await log.close();
      log = await open();
    },
    close: async () => {
      await log.close();
      await stores.remove();
    },
  };
}

/** Ways to let time pass for a log that answers from a real disk. */
export function skippingOf(clock: SkippingClock, isBusy: () => boolean) {
  /** Nothing is in commit, and no turn of the event loop starts one. */
  const settleDown = async () => {
    for (let quietTurns = 0; quietTurns < 3; quietTurns += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      if (isBusy()) quietTurns = -1;
    }
  };
  const skip = async (ms: number) => {
    await settleDown();
    clock.skip(ms);
    await settleDown();
  };
  /** What is settled is durable. */
  const quiet = async () => {
    await skip(QUIET_MS);
    await skip(QUIET_MS);
  };
  return { skip, quiet };
}

/** Knows whether a commit is under way. */
export class WatchedStore implements LogStore {
  readonly durability;
  #commits = 0;
  readonly #store: LogStore;

  constructor(store: LogStore) {
    this.#store = store;
    this.durability = store.durability;
  }

  get isBusy(): boolean {
    return this.#commits > 0;
  }

  async commit(changes: readonly Change[]): Promise<void> {
    this.#commits += 1;
    try {
      await this.write(changes);
    } finally {
      this.#commits -= 1;
    }
  }

  protected write(changes: readonly Change[]): Promise<void> {
    return this.#store.commit(changes);
  }

  get(table: Table, key: Uint8Array): Buffer | undefined {
    return this.#store.get(table, key);
  }

  range(table: Table, bounds: { from: Uint8Array; to: Uint8Array; limit: number }): StoredRow[] {
    return this.#store.range(table, bounds);
  }

  freeBytes(): number {
    return this.#store.freeBytes();
  }

  sizeBytes(): number {
    return this.#store.sizeBytes();
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}
