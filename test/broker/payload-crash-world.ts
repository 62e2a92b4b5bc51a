/**
 * Log, payload store and spool in one folder, opened as `knear serve` does, and a process that is about to lose them
 * (`payload-crash-child.ts`): it stops at a step on the way of one large event and is killed there.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { GroupedLog } from '../../broker/log/grouped-log.ts';
import { LmdbStore } from '../../broker/log/lmdb.ts';
import type { LogStore } from '../../broker/log/store.ts';
import { FilePayloadStore } from '../../broker/payload/file-store.ts';
import { PayloadKeeper } from '../../broker/payload/payloads.ts';
import { Spool } from '../../broker/payload/spool.ts';
import type { PayloadStore } from '../../core/ports/payload-store.ts';
import { systemClock as clock } from '../../main/time.ts';
import { contentOf } from '../e2e/content.ts';
import { matchTo, WIDE } from './log-stage.ts';

/** On the way of a large event, in its order; each is told when it is reached, and nothing happens after it. */
export type Step =
  | 'its first byte is in the spool'
  | 'half of it is in the spool'
  | 'all of it is in the spool'
  | 'its sync is due'
  | 'it is synced'
  | 'its rename is due'
  | 'it is renamed'
  | 'it is kept, its append is due'
  | 'it is delivered early, its record is not written'
  | 'its append is submitted'
  | 'its append is flushed, its answer is due'
  | 'it is delivered, its settle is due'
  | 'the payload of its reply is kept, its settle is due'
  | 'its settle with a reply is submitted'
  | 'it is settled, the flush is due'
  | 'the flush of its settle is submitted'
  | 'its record is gone, its unlink is due'
  | 'it is unlinked'
  | 'it was settled before it was written, its unlink is due';

/** Told line by line. */
export type Told = { readonly acknowledged: string } | { readonly reached: Step };

/** Acknowledged before the other comes, and waits: whatever happens to that one, it stays. */
export const BYSTANDER = 'bystander';
/** The one that is on its way. */
export const TRAVELLER = 'traveller';
export const REPLY = 'reply';

/** Several writes of the spool, several pieces of a delivery. */
const SIZE_BYTES = 1_000_003;

/** Bytes that no other event has. */
export function dataOf(id: string): Buffer {
  return contentOf(id, SIZE_BYTES);
}

export const payloadFolderOf = (folder: string): string => path.join(folder, 'payloads');
export const spoolFolderOf = (folder: string): string => path.join(folder, 'payloads', '_tmp');

export interface World {
  readonly table: LogStore;
  readonly log: GroupedLog;
  readonly payloads: PayloadKeeper;
  /** What was found to be wrong with payloads. */
  readonly faults: readonly unknown[];
  close(): Promise<void>;
}

/** What stands between, so that it can be stopped there. */
export interface Between {
  table(store: LogStore): LogStore;
  payloads(store: PayloadStore): PayloadStore;
}

const NOTHING_BETWEEN: Between = { table: (store) => store, payloads: (store) => store };

export async function openWorld(folder: string, between = NOTHING_BETWEEN): Promise<World> {
  const lmdb = await LmdbStore.open({ folder, clock });
  const table = between.table(lmdb);
  const files = await FilePayloadStore.open({ folder: payloadFolderOf(folder), clock });
  const spool = await Spool.open({
    folder: spoolFolderOf(folder),
    limits: { bytesMax: Number.MAX_SAFE_INTEGER, freeMinBytes: 0 },
    clock,
  });
  const faults: unknown[] = [];
  const payloads = new PayloadKeeper({
    store: between.payloads(files),
    spool,
    ledger: () => log.claims,
    clock,
    // No copy in memory: what is read comes from the disk.
    limits: { uploadsMax: 10, cacheMaxBytes: 0, collectIntervalMs: 600_000, isDryRun: false },
    onPassed: () => undefined,
    onFault: (error) => faults.push(error),
    onTrouble: (trouble) => trouble && faults.push(trouble),
  });
  const log: GroupedLog = GroupedLog.open({
    store: table,
    clock,
    match: matchTo,
    observer: { observe: () => undefined },
    payloads: payloads.holders,
    limits: WIDE,
  });
  await payloads.start(lmdb.id);
  return {
    table,
    log,
    payloads,
    faults,
    close: async () => {
      await log.close();
      await payloads.close();
      await spool.close();
    },
  };
}

const CHILD = path.join(import.meta.dirname, 'payload-crash-child.ts');

/** Resolves when the process has reached the step and was killed there: which events had been acknowledged by then. */
export async function killAt(step: Step, folder: string): Promise<readonly string[]> {
  const child = spawn(process.execPath, [CHILD, folder, step], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const acknowledged: string[] = [];
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      // Written by the child.
      const told = JSON.parse(line) as Told;
      if ('reached' in told) return acknowledged;
      acknowledged.push(told.acknowledged);
    }
    throw new Error(`it ended and did not reach: ${step}`);
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}
