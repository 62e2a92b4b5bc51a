/**
 * A process that takes two large events, and stops on the way of the second at the step that it is given: for
 * `payload-crash.test.ts`, which kills it there. What stops stands around the ports below the log and the keeper of
 * payloads, and around the sync and the rename of Node; the product runs as it is.
 */
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

import type { Change, LogStore } from '../../broker/log/store.ts';
import { claimOf } from '../../core/event.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { Delivery } from '../../core/ports/event-log.ts';
import type { PayloadStore } from '../../core/ports/payload-store.ts';
import { eventOutput, eventTo, INGRESS } from './log-stage.ts';
import { BYSTANDER, dataOf, openWorld, REPLY, TRAVELLER } from './payload-crash-world.ts';
import type { Step, Told, World } from './payload-crash-world.ts';

// Given by `killAt`.
const [, , folder = '', step] = process.argv as [string, string, string, Step];
const EGRESS = 'a';
/** Set when the second event sets out. */
const way = { isTravelled: false };

// The parent ends it: until then it must not end for want of work.
process.stdin.resume();
const world = await openWorld(folder, { table: stoppingTable, payloads: stoppingPayloads });
await append(world, await eventOf(BYSTANDER, { to: 'nobody-pulls', isHeld: true }));
stopSyncAndRename(await fs.open(folder));
way.isTravelled = true;
await travel();

async function travel(): Promise<void> {
  const isEarly = step.includes('early') || step.includes('before it was written');
  const event = await eventOf(TRAVELLER, { to: EGRESS, isHeld: !isEarly });
  await at('it is kept, its append is due');
  const appended = append(world, event);
  // Offered before it is written, or else once it is.
  const [delivery] = await world.log.pull(EGRESS, 1, { signal: new AbortController().signal });
  if (!delivery) throw new Error('nothing is delivered');
  if (step.includes('before it was written')) return delivery.settle([]);
  await read(delivery);
  await at('it is delivered early, its record is not written');
  await appended;
  await at('it is delivered, its settle is due');
  await delivery.settle(step.includes('reply') ? [eventOutput(await reply())] : []);
}

async function reply(): Promise<CloudEvent> {
  const event = await eventOf(REPLY, { to: EGRESS, isHeld: true });
  await at('the payload of its reply is kept, its settle is due');
  return event;
}

/** Its data comes in three pieces, each in the file before the next. */
async function eventOf(
  id: string,
  { to, isHeld }: { readonly to: string; readonly isHeld: boolean },
): Promise<CloudEvent> {
  const bytes = dataOf(id);
  const half = bytes.length / 2;
  const intake = world.payloads.receive({ tenant: 'default', heldMaxBytes: 0 });
  const write = async (piece: Uint8Array, then: Step) => {
    await intake.write(piece);
    for await (const written of intake.reread()) void written;
    await at(then);
  };
  await write(bytes.subarray(0, 1), 'its first byte is in the spool');
  await write(bytes.subarray(1, half), 'half of it is in the spool');
  await write(bytes.subarray(half), 'all of it is in the spool');
  return { ...eventTo(to, { id, isHeld }), data: await intake.finish(0) };
}

/** As the door does. */
async function append({ log, payloads }: World, event: CloudEvent): Promise<void> {
  await log.append(INGRESS, [event]);
  tell({ acknowledged: String(event.attributes.get('id')) });
  const ref = claimOf(event);
  if (ref) payloads.release(ref);
}

async function read({ event }: Delivery): Promise<void> {
  const ref = claimOf(event);
  if (!ref) throw new Error('it was not claimed');
  for await (const piece of world.payloads.open(ref)) void piece;
}

// --- where it stops ---------------------------------------------------------------------------------------------------

/** Goes on, unless this is the step. */
async function at(reached: Step): Promise<void> {
  if (way.isTravelled && reached === step) await stop();
}

function stop(): Promise<never> {
  tell({ reached: step });
  return forever();
}

function forever(): Promise<never> {
  return new Promise(() => undefined);
}

function tell(told: Told): void {
  process.stdout.write(`${JSON.stringify(told)}\n`);
}

function stoppingTable(store: LogStore): LogStore {
  return {
    durability: store.durability,
    get: (table, key) => store.get(table, key),
    range: (table, bounds) => store.range(table, bounds),
    freeBytes: () => store.freeBytes(),
    sizeBytes: () => store.sizeBytes(),
    close: () => store.close(),
    commit: (changes) => (way.isTravelled ? stoppingCommit(store, changes) : store.commit(changes)),
  };
}

async function stoppingCommit(store: LogStore, changes: readonly Change[]): Promise<void> {
  const records = changes.filter(({ table }) => table === 'event');
  const isAppend = records.some(({ value }) => value);
  const isRemoval = records.some(({ value }) => !value);
  if (isAppend && step === 'it is delivered early, its record is not written') await forever();
  if (isRemoval) await at('it is settled, the flush is due');
  const committed = store.commit(changes);
  if (isAppend && isRemoval) await at('its settle with a reply is submitted');
  else if (isAppend) await at('its append is submitted');
  else if (isRemoval) await at('the flush of its settle is submitted');
  await committed;
  if (isAppend) await at('its append is flushed, its answer is due');
}

function stoppingPayloads(store: PayloadStore): PayloadStore {
  return {
    name: store.name,
    put: (ref, spool) => store.put(ref, spool),
    open: (ref, options) => store.open(ref, options),
    list: () => store.list(),
    identity: (id, options) => store.identity(id, options),
    close: () => store.close(),
    remove: async (payload) => {
      await at('its record is gone, its unlink is due');
      await at('it was settled before it was written, its unlink is due');
      await store.remove(payload);
      await at('it is unlinked');
    },
  };
}

/** What the store of files asks of Node for a payload: one sync of its data, one rename. */
function stopSyncAndRename(anyFile: fs.FileHandle): void {
  // Every open file has this prototype.
  const files = Object.getPrototypeOf(anyFile) as fs.FileHandle;
  const { datasync } = files;
  const { rename } = fs;
  files.datasync = async function (this: fs.FileHandle) {
    await at('its sync is due');
    await datasync.call(this);
    await at('it is synced');
  };
  fs.rename = async (from, to) => {
    await at('its rename is due');
    await rename(from, to);
    await at('it is renamed');
  };
  syncBuiltinESMExports();
}
