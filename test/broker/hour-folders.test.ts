/**
 * Goal: no payload is told durable in a folder that is not (K17), and none is lost to the removal of an empty folder. Method:
 * a real disk, and syncs that end when the test says so. The bug hunted: the second put into a new folder finds it there,
 * and does not know that the first has not synced its parent yet.
 */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { HourFolders } from '../../broker/payload/hour-folders.ts';

let folder: string;
let hour: string;
let hours: HourFolders;
/** Syncs under way. */
let syncs: { readonly of: string; readonly end: (error?: Error) => void }[];
let ended: string[];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'knear-hours-'));
  hour = path.join(folder, 'team-a', '2026010107');
  syncs = [];
  ended = [];
  hours = new HourFolders({
    folder,
    assertThere: async () => undefined,
    sync: (of) =>
      new Promise((resolve, reject) => {
        const end = (error?: Error) => (error ? reject(error) : resolve());
        syncs.push({ of: path.relative(folder, of), end });
      }),
  });
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

test('K17: puts into a new folder wait until it is durable up to the store’s, whoever makes it', async () => {
  const [one, two] = [fill('one'), fill('two')];
  expect(await nextSync()).toBe('team-a');
  expect(ended).toEqual([]);
  expect(await nextSync()).toBe('');
  // Both are moved now, and each waits for a sync of the folder itself.
  expect([await nextSync(), await nextSync()]).toEqual(['team-a/2026010107', 'team-a/2026010107']);
  await Promise.all([one, two]);
  expect((await readdir(hour)).toSorted()).toEqual(['one', 'two']);
});

test('K17: a folder that is there at start is made durable once', async () => {
  await mkdir(hour, { recursive: true });
  const one = fill('one');
  expect([await nextSync(), await nextSync(), await nextSync()]).toEqual([
    'team-a',
    '',
    'team-a/2026010107',
  ]);
  await one;
  const two = fill('two');
  expect(await nextSync()).toBe('team-a/2026010107');
  await two;
});

test('K17: a folder that was tidied away while a put waited is durable anew before anybody is told', async () => {
  await filled('one');
  let other: Promise<void> | undefined;
  let goOn = () => {};
  const isRemade = new Promise<void>((resolve) => (goOn = resolve));
  const late = fill('late', async () => {
    // Between this put's look and its move somebody removes the folder, and another put makes it again.
    await rm(hour, { recursive: true });
    other = fill('other');
    await isRemade;
  });
  expect(await syncUnderWay()).toBe('team-a');
  const [parent] = syncs.splice(0, 1);
  goOn();
  // The late file is in the new folder, whose name is not durable yet: not by this sync.
  expect(await nextSync()).toBe('team-a/2026010107');
  expect([await nextSync(), await syncUnderWay()]).toEqual(['team-a', '']);
  await turns();
  expect(ended).toEqual(['one']);
  parent?.end();
  await endSyncs(Promise.all([late, other]));
});

test('a sync that fails fails every put that needs it, and the next put tries anew', async () => {
  const puts = [fill('one'), fill('two')].map((put) => put.catch((error: unknown) => error));
  await syncUnderWay();
  syncs.shift()?.end(new Error('broken'));
  for (const answer of await Promise.all(puts)) expect(answer).toMatchObject({ message: 'broken' });
  expect(await readdir(hour)).toEqual([]);
  await filled('three');
  expect(await readdir(hour)).toEqual(['three']);
});

test('an empty folder stays while a put is on its way into it, and goes otherwise', async () => {
  const one = fill('one');
  await nextSync();
  await syncUnderWay();
  await hours.leave(hour);
  expect(await readdir(path.dirname(hour))).toEqual(['2026010107']);
  await endSyncs(one);
  await hours.leave(hour);
  expect(await readdir(hour)).toEqual(['one']);
  await rm(path.join(hour, 'one'));
  await hours.leave(hour);
  expect(await readdir(path.dirname(hour))).toEqual([]);
});

test('a removal from a folder that stays costs the next put no more syncs', async () => {
  await filled('one');
  await hours.leave(hour);
  const two = fill('two');
  expect(await nextSync()).toBe('team-a/2026010107');
  await two;
});

test('a put that begins while the folder goes makes it again, durable', async () => {
  await filled('one');
  await rm(path.join(hour, 'one'));
  const left = hours.leave(hour);
  const two = fill('two');
  expect([await nextSync(), await nextSync(), await nextSync()]).toEqual([
    'team-a',
    '',
    'team-a/2026010107',
  ]);
  await Promise.all([left, two]);
  expect(await readdir(hour)).toEqual(['two']);
});

test('a folder that goes again and again is no store: the put fails', async () => {
  let attempts = 0;
  const put = hours.fill(hour, async () => {
    attempts += 1;
    await rmdir(hour);
    await writeFile(path.join(hour, 'one'), '');
  });
  await expect(endSyncs(put)).rejects.toMatchObject({ code: 'ENOENT' });
  expect(attempts).toBe(5);
});

async function fill(name: string, before: () => Promise<void> = async () => undefined) {
  let isFirst = true;
  await hours.fill(hour, async () => {
    if (isFirst) await before();
    isFirst = false;
    await writeFile(path.join(hour, name), '');
  });
  ended.push(name);
}

async function filled(name: string): Promise<void> {
  await endSyncs(fill(name));
}

/** Ends every sync until the work is done. */
async function endSyncs(work: Promise<unknown>): Promise<void> {
  let isOver = false;
  const over = work.finally(() => {
    isOver = true;
  });
  over.catch(() => undefined);
  while (!isOver) {
    syncs.shift()?.end();
    await turns();
  }
  await over;
}

/** Ends the oldest sync, and tells of what it was. */
async function nextSync(): Promise<string> {
  const of = await syncUnderWay();
  syncs.shift()?.end();
  return of;
}

async function syncUnderWay(): Promise<string> {
  for (;;) {
    const [first] = syncs;
    if (first) return first.of;
    await turns();
  }
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
