/**
 * Goal: a kill at any step on the way of a large event loses nothing that was acknowledged, leaves nothing half, and
 * nothing behind. Method: a process stops at the step, says so, and is killed there; first it is looked at what that
 * has left on the disk, to see that it was that step, then the next process opens the folder, sweeps, and is compared
 * with what may be there: which large events, each with its payload, whole.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { decodeEvent } from '../../broker/log/record.ts';
import { claimOf, payloadId } from '../../core/event.ts';
import type { PayloadRef } from '../../core/event.ts';
import { faultsOf, rowsOf, storedIds } from './log-tables.ts';
import {
  BYSTANDER,
  dataOf,
  killAt,
  openWorld,
  payloadFolderOf,
  REPLY,
  spoolFolderOf,
  TRAVELLER,
} from './payload-crash-world.ts';
import type { Step, World } from './payload-crash-world.ts';

const SIZE_BYTES = dataOf(TRAVELLER).length;
const HALF_BYTES = Math.floor(SIZE_BYTES / 2);

interface Case {
  readonly step: Step;
  /** Of its data, in the spool. */
  readonly spooledBytes?: number;
  /** Payloads in the store besides the bystander's. */
  readonly stored: number;
  /** Events besides the bystander, of which one alternative is there in the end. */
  readonly after: readonly (readonly string[])[];
}

const NOTHING: Case['after'] = [[]];
const WHOLE: Case['after'] = [[TRAVELLER]];
const EITHER: Case['after'] = [[], [TRAVELLER]];

const ON_ITS_WAY_IN: readonly Case[] = [
  { step: 'its first byte is in the spool', spooledBytes: 1, stored: 0, after: NOTHING },
  { step: 'half of it is in the spool', spooledBytes: HALF_BYTES, stored: 0, after: NOTHING },
  { step: 'all of it is in the spool', spooledBytes: SIZE_BYTES, stored: 0, after: NOTHING },
  { step: 'its sync is due', spooledBytes: SIZE_BYTES, stored: 0, after: NOTHING },
  { step: 'it is synced', spooledBytes: SIZE_BYTES, stored: 0, after: NOTHING },
  { step: 'its rename is due', spooledBytes: SIZE_BYTES, stored: 0, after: NOTHING },
  { step: 'it is renamed', stored: 1, after: NOTHING },
  { step: 'it is kept, its append is due', stored: 1, after: NOTHING },
  { step: 'it is delivered early, its record is not written', stored: 1, after: NOTHING },
  { step: 'its append is submitted', stored: 1, after: EITHER },
  { step: 'its append is flushed, its answer is due', stored: 1, after: WHOLE },
];

const ANSWERED: readonly Case[] = [
  { step: 'it is delivered, its settle is due', stored: 1, after: WHOLE },
  { step: 'the payload of its reply is kept, its settle is due', stored: 2, after: WHOLE },
  { step: 'its settle with a reply is submitted', stored: 2, after: [[TRAVELLER], [REPLY]] },
  { step: 'it is settled, the flush is due', stored: 1, after: WHOLE },
  { step: 'the flush of its settle is submitted', stored: 1, after: EITHER },
  { step: 'its record is gone, its unlink is due', stored: 1, after: NOTHING },
  { step: 'it is unlinked', stored: 0, after: NOTHING },
  { step: 'it was settled before it was written, its unlink is due', stored: 1, after: NOTHING },
];

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'knear-payload-crash-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('a kill on the way in keeps all of a large event or nothing (K1, K16, K17), when', () => {
  test.each(ON_ITS_WAY_IN)('$step', (each) => check(each, [BYSTANDER]));
});

describe('a kill after the answer keeps it until it is settled, and nothing after that (K12), when', () => {
  test.each(ANSWERED)('$step', (each) => check(each, [BYSTANDER, TRAVELLER]));
});

async function check(
  { step, spooledBytes, stored, after }: Case,
  answered: readonly string[],
): Promise<void> {
  expect(await killAt(step, folder)).toEqual(answered);
  expect(await spooled()).toEqual(spooledBytes === undefined ? [] : [spooledBytes]);
  expect(await payloadFiles()).toHaveLength(1 + stored);

  const world = await openWorld(folder);
  await world.payloads.sweep({ isDryRun: false, isForced: false });
  const ids = storedIds(world.table).filter((id) => id !== BYSTANDER);
  expect(after).toContainEqual(ids);
  await expectWhole(world, [BYSTANDER, ...ids]);

  await settleAll(world, ['nobody-pulls', 'a']);
  await world.close();
  expect(world.faults).toEqual([]);
  expect(await payloadFiles()).toEqual([]);
}

/** These events and nothing else: each with its payload, which is what it was, and no payload without one. */
async function expectWhole({ table, log, payloads }: World, ids: readonly string[]): Promise<void> {
  expect(faultsOf(table)).toEqual([]);
  const refs = new Map<string, PayloadRef>();
  for (const { value } of rowsOf(table, 'event')) {
    const { event } = decodeEvent(value);
    const ref = claimOf(event);
    if (ref) refs.set(String(event.attributes.get('id')), ref);
  }
  expect([...refs.keys()].toSorted()).toEqual([...ids].toSorted());
  for (const [id, ref] of refs) {
    const pieces: Uint8Array[] = [];
    for await (const piece of payloads.open(ref)) pieces.push(piece);
    expect(Buffer.concat(pieces).equals(dataOf(id))).toBe(true);
  }
  const named = [...refs.values()].map(payloadId).toSorted();
  expect(log.claims.claims({ limit: 100 })).toMatchObject(
    [...refs.values()]
      .toSorted((one, two) => (payloadId(one) < payloadId(two) ? -1 : 1))
      .map((ref) => ({ ref, records: 1 })),
  );
  expect(await payloadFiles()).toEqual(named);
  expect(await spooled()).toEqual([]);
  expect(payloads.live).toMatchObject({ bytes: ids.length * SIZE_BYTES, objects: ids.length });
}

/** Delivers everything there is. */
async function settleAll({ log }: World, egressIds: readonly string[]): Promise<void> {
  for (const egressId of egressIds) {
    while (log.lag(egressId).ready > 0) {
      const deliveries = await log.pull(egressId, 1, { signal: new AbortController().signal });
      for (const delivery of deliveries) await delivery.settle([]);
    }
  }
}

/** Ids of all payloads that there are, whether or not anybody knows of them. */
async function payloadFiles(): Promise<string[]> {
  const base = payloadFolderOf(folder);
  const found = await readdir(base, { recursive: true, withFileTypes: true });
  return found
    .filter((each) => each.isFile())
    .map((each) => path.relative(base, path.join(each.parentPath, each.name)))
    .filter((name) => !name.startsWith('_'))
    .toSorted();
}

/** Sizes of the files in the spool. */
async function spooled(): Promise<number[]> {
  const base = spoolFolderOf(folder);
  const sizes = (await readdir(base)).map(async (name) => (await stat(path.join(base, name))).size);
  return Promise.all(sizes);
}
