/** What `knear doctor` says of the place for payloads: on real folders, as a real store and spool leave them. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getuid } from 'node:process';
import { acquireOwnerLock } from '../../broker/log/owner-lock.ts';
import { FilePayloadStore } from '../../broker/payload/file-store.ts';
import { checkPayloadSpace } from '../../main/doctor/doctor-payloads.ts';
import { examine, type Check } from '../../main/doctor/doctor.ts';
import { payloadPlacesOf } from '../../main/payload-places.ts';
import { systemClock } from '../../main/time.ts';
import { openStage } from '../e2e/stage.ts';

const GIBIBYTE = 2 ** 30;

const stage = openStage();
const closers: (() => Promise<void>)[] = [];
let folder: string;
let data: string;
let store: string;
let spool: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'knear-doctor-'));
  data = join(folder, 'data');
  ({ store, spool } = payloadPlacesOf({ data }));
  await mkdir(data);
});

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  await stage.close();
  await rm(folder, { recursive: true, force: true });
});

/** Only those about payloads, but for the machine's space. */
async function checks(): Promise<ReadonlyMap<string, Omit<Check, 'name'>>> {
  const found = await examine({
    sources: { cwd: folder, flags: { data: 'data', port: '0', adminPort: '0' } },
    clock: systemClock,
    pause: () => Promise.resolve(),
  });
  const own = found.filter(({ name }) => name.startsWith('payload') && name !== 'payload space');
  return new Map(own.map(({ name, ...check }) => [name, check]));
}

/** What a knear leaves that was started once. */
async function startedOnce(): Promise<void> {
  const opened = await FilePayloadStore.open({ folder: store, clock: systemClock });
  await opened.identity('log-1', { mayAdopt: true });
  await opened.close();
  await mkdir(spool);
  await writeFile(join(data, 'log'), '');
}

async function addPayload(): Promise<void> {
  await mkdir(join(store, 'default', '2026050408'), { recursive: true });
  await writeFile(join(store, 'default', '2026050408', 'Zm9vYmFyYmF6cXV4MTIzNA'), 'data');
}

test('where there is none yet, it will be made, and nothing is left behind', async () => {
  expect(await checks()).toEqual(
    new Map([['payloads', { state: 'ok', detail: `${store} will be made` }]]),
  );
  expect(await readdir(data)).toEqual([]);
});

test('where all is well, that is said, and nothing is left behind', async () => {
  await startedOnce();
  await addPayload();
  const before = await readdir(data, { recursive: true });
  expect(await checks()).toEqual(
    new Map([
      ['payloads', { state: 'ok', detail: `${store} can be written` }],
      ['payload spool', { state: 'ok', detail: 'is on one mount with the payloads' }],
      ['payload owner', { state: 'ok', detail: 'the payloads have a log' }],
    ]),
  );
  expect(await readdir(data, { recursive: true })).toEqual(before);
});

test('a data folder that is none is told once', async () => {
  await rm(folder, { recursive: true });
  await mkdir(folder);
  await writeFile(data, '');
  expect(await checks()).toEqual(new Map());
});

describe('the folder', () => {
  test('is a file', async () => {
    await writeFile(store, '');
    expect((await checks()).get('payloads')).toMatchObject({
      state: 'FAIL',
      detail: `${store} is no folder`,
      advice: expect.stringContaining('remove what is in its place'),
    });
  });

  test('is on a disk that is not mounted', async () => {
    await symlink(join(folder, 'nowhere'), store);
    expect((await checks()).get('payloads')).toMatchObject({
      state: 'FAIL',
      detail: `${store} leads nowhere`,
      advice: expect.stringContaining('mount its disk'),
    });
  });

  // Root may write everywhere.
  (getuid?.() === 0 ? test.skip : test)('cannot be written', async () => {
    await startedOnce();
    await chmod(store, 0o500);
    closers.push(() => chmod(store, 0o700));
    expect((await checks()).get('payloads')).toMatchObject({
      state: 'FAIL',
      detail: expect.stringContaining('EACCES'),
    });
  });
});

describe('the spool', () => {
  test('K19 is on another mount', async () => {
    await startedOnce();
    const disk = stage.disk(1);
    // Where we may not mount anything, nobody can make that mistake either.
    if (disk === undefined) return;
    await rm(join(folder, 'data', 'payloads', '_tmp'), { recursive: true });
    await symlink(disk, spool);
    expect((await checks()).get('payload spool')).toMatchObject({
      state: 'FAIL',
      detail: expect.stringContaining('EXDEV'),
      advice: expect.stringContaining('one mount'),
    });
    expect(await readdir(disk)).toEqual([]);
  });

  test('has what a killed knear left, or what a running one is taking in', async () => {
    await startedOnce();
    await writeFile(join(spool, '1'), Buffer.alloc(1_000));
    await writeFile(join(spool, '2'), '');
    const files = '2 files, 1000 B';
    expect((await checks()).get('payload spool')).toEqual({
      state: 'warn',
      detail: `${files}, left by a knear that was killed`,
      advice: 'the next start of knear removes them',
    });
    const lock = await acquireOwnerLock(data);
    closers.push(() => lock.release());
    expect((await checks()).get('payload spool')).toEqual({
      state: 'ok',
      detail: `${files}, of what is arriving`,
    });
    expect((await readdir(spool)).toSorted()).toEqual(['1', '2']);
  });
});

describe('whose they are', () => {
  test('nobody knows', async () => {
    await startedOnce();
    await addPayload();
    await unlink(join(store, '_identity'));
    expect((await checks()).get('payload owner')).toMatchObject({
      state: 'warn',
      advice: expect.stringContaining('KNEAR_PAYLOAD_FOREIGN'),
    });
  });

  test('a log that is not there', async () => {
    await startedOnce();
    await addPayload();
    await unlink(join(data, 'log'));
    expect((await checks()).get('payload owner')).toMatchObject({
      state: 'warn',
      detail: `the payloads in ${store} belong to a log that is not there`,
      advice: expect.stringContaining('restore both from one backup'),
    });
  });

  test('there are none: whoever comes first gets the folder', async () => {
    await mkdir(store);
    expect((await checks()).get('payload owner')).toEqual({
      state: 'ok',
      detail: 'there are no payloads yet',
    });
  });
});

describe('the space', () => {
  const SETTINGS = {
    logReserveBytes: GIBIBYTE / 4,
    claimCheckFreeMinBytes: GIBIBYTE,
    eventMaxBytes: 2 * GIBIBYTE,
  };
  const disk = (freeGiB: number, allGiB = 100) => ({
    ...{ blocks: allGiB * 2 ** 18, bavail: freeGiB * 2 ** 18, bsize: 4_096 },
  });

  test.each([
    // A twentieth of 100 GiB for the log, and another one beside it.
    { freeGiB: 9.9, state: 'FAIL', told: 'KNEAR_PAYLOAD_STORE_FULL' },
    { freeGiB: 11.9, state: 'warn', told: '--event-max' },
    { freeGiB: 12, state: 'ok', told: '' },
  ])('of $freeGiB GiB is $state', ({ freeGiB, state, told }) => {
    const { advice = '', ...check } = checkPayloadSpace(SETTINGS, {
      log: disk(50),
      payloads: disk(freeGiB),
    });
    expect(check).toMatchObject({ name: 'payload space', state });
    expect(advice).toContain(told);
  });

  test.each([
    { freeMinGiB: 20, freeGiB: 24, state: 'FAIL' },
    { freeMinGiB: 20, freeGiB: 27, state: 'ok' },
  ])('that settings keep free counts: $state', ({ freeMinGiB, freeGiB, state }) => {
    const settings = { ...SETTINGS, claimCheckFreeMinBytes: freeMinGiB * GIBIBYTE };
    const disks = { log: disk(50), payloads: disk(freeGiB) };
    expect(checkPayloadSpace(settings, disks)).toMatchObject({ state });
  });
});
