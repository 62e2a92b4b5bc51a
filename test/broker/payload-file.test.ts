/**
 * The payload store of files passes the suite of all payload stores, on a real disk; and says with a code what the disk, other
 * users and power cuts do to it. Disks that fill up or fail are mounted, which needs root.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { FilePayloadStore } from '../../broker/payload/file-store.ts';
import type { PayloadRef } from '../../core/event.ts';
import { systemClock } from '../../main/time.ts';
import { describePayloadStore } from '../conformance/payload-store.ts';
import {
  contentOf,
  expectContent,
  keep,
  keysIn,
  keysOf,
  listed,
  payloadOf,
  PIECE_BYTES,
  sha256Of,
  spooled,
  type PayloadOptions,
} from '../conformance/payload-store/scene.ts';
import { FakeClock } from '../fakes/clock.ts';
import { asNobody, mountImageDisk, mountSmallDisk, noMounts, openedBelow } from './payload-disk.ts';

describePayloadStore({
  name: 'file',
  hasRestart: true,
  open: async () => {
    const here = await openPlace();
    return {
      get store() {
        return here.store;
      },
      spoolFolder: here.spoolFolder,
      restart: async () => {
        await here.store.close();
        here.store = await FilePayloadStore.open({ folder: here.folder, clock: systemClock });
      },
      close: async () => {
        await here.store.close();
        const opened = await openedBelow(here.base);
        await here.remove();
        expect(opened).toEqual([]);
      },
    };
  },
});

const AWAY = { code: 'KNEAR_PAYLOAD_STORE_AWAY' };
const FULL = { code: 'KNEAR_PAYLOAD_STORE_FULL' };
const MISSING = { code: 'KNEAR_PAYLOAD_MISSING' };

let place: Awaited<ReturnType<typeof openPlace>>;
const clock = new FakeClock();

beforeEach(async () => {
  place = await openPlace();
});

afterEach(async () => {
  const opened = await openedBelow(place.base);
  await place.remove();
  expect(opened).toEqual([]);
});

describe('files and folders', () => {
  test('a payload is <tenant>/<hour>/<id>, for its owner only, and the spool file itself', async () => {
    const { ref, bytes } = payloadOf();
    const spool = await spooled(place.spoolFolder, bytes);
    const { ino } = await fs.stat(spool.path);
    await place.store.put(ref, spool);
    const file = fileOf(ref);
    expect((await fs.stat(file)).ino).toBe(ino);
    expect(await fs.readdir(place.spoolFolder)).toEqual([]);
    const modes = [file, path.dirname(file), path.dirname(path.dirname(file)), place.folder];
    expect(await Promise.all(modes.map(modeOf))).toEqual(['600', '700', '700', '700']);
  });

  test('an hour is gone with its last payload', async () => {
    const [first, second] = [await kept(), await kept()];
    await place.store.remove(first.ref);
    expect(await fs.readdir(path.join(place.folder, 'team-a'))).toEqual(['2026010107']);
    await place.store.remove(second.ref);
    expect(await fs.readdir(path.join(place.folder, 'team-a'))).toEqual([]);
  });

  test('hours whose payloads are all removed at once are gone', async () => {
    const payloads = await Promise.all(Array.from({ length: 30 }, () => kept()));
    await Promise.all(payloads.map(({ ref }) => place.store.remove(ref)));
    expect(await fs.readdir(path.join(place.folder, 'team-a'))).toEqual([]);
  });

  test('a folder that somebody else has tidied away is made again', async () => {
    const { ref } = await kept();
    await fs.unlink(fileOf(ref));
    await fs.rmdir(path.dirname(fileOf(ref)));
    const payloads = await Promise.all(Array.from({ length: 5 }, () => kept()));
    await expectContent(place.store, payloads);
  });

  test('files that are not ours are not listed, and stay', async () => {
    const { ref } = await kept();
    const id = payloadOf().ref.key.slice(-22);
    const hour = path.dirname(fileOf(ref));
    await fs.writeFile(path.join(place.folder, 'notes.txt'), '');
    await fs.mkdir(path.join(place.folder, 'lost+found'));
    await fs.writeFile(path.join(place.folder, 'team-a', '2026010108'), 'no folder');
    await fs.mkdir(path.join(place.folder, 'team-a', 'old'));
    await fs.writeFile(path.join(hour, `${id}.tmp`), '');
    await fs.symlink(fileOf(ref), path.join(hour, id));
    await fs.mkdir(path.join(hour, payloadOf().ref.key.slice(-22)));
    expect(await keysIn(place.store)).toEqual([ref.key]);
    expect(await fs.readdir(place.folder)).toEqual(['lost+found', 'notes.txt', 'team-a']);
  });

  test('an identity that was being written when the power failed is nobody’s', async () => {
    await fs.writeFile(path.join(place.folder, '_identity-log-1'), 'lo');
    expect(await place.store.identity('log-1', { mayAdopt: true })).toBe('log-1');
    expect(await fs.readdir(place.folder)).toEqual(['_identity']);
  });

  test('of two processes that ask whose it is at once both get the same answer (K45)', async () => {
    for (let round = 0; round < 20; round += 1) {
      const folder = path.join(place.base, `payloads-${round}`);
      const ask = async (id: string) =>
        (await FilePayloadStore.open({ folder, clock })).identity(id, { mayAdopt: true });
      const [one, other] = await Promise.all([ask('log-1'), ask('log-2')]);
      expect(one).toBe(other);
    }
  });

  test('a folder that is a file is refused at start', async () => {
    const folder = path.join(place.base, 'file');
    await fs.writeFile(folder, '');
    await expect(FilePayloadStore.open({ folder, clock })).rejects.toMatchObject({
      ...AWAY,
      message: expect.stringContaining(folder),
    });
  });
});

const IMPOSTORS = [
  { name: 'a link', make: (file: string) => fs.symlink('/etc/hostname', file) },
  { name: 'a link to itself', make: (file: string) => fs.symlink(file, file) },
  { name: 'a pipe', make: async (file: string) => void execFileSync('mkfifo', [file]) },
  { name: 'a folder', make: (file: string) => fs.mkdir(file) },
];

describe('K36: what is no plain file', () => {
  test.each(IMPOSTORS)('$name in the place of a payload is not read', async ({ make }) => {
    const { ref } = await kept();
    await fs.unlink(fileOf(ref));
    await make(fileOf(ref));
    await expect(place.store.open(ref)).rejects.toMatchObject(AWAY);
    expect(await openedBelow(place.base)).toEqual([]);
    expect(await keysIn(place.store)).toEqual([]);
  });

  test.each(IMPOSTORS)('$name in the place of a spool file is not taken', async ({ make }) => {
    const { ref } = payloadOf();
    const spool = { path: path.join(place.spoolFolder, '1'), sizeBytes: 1_000 };
    await make(spool.path);
    await expect(place.store.put(ref, spool)).rejects.toMatchObject(AWAY);
    await expect(place.store.open(ref)).rejects.toMatchObject(MISSING);
  });

  test.each([
    { name: 'shorter', sizeBytes: 999 },
    { name: 'longer', sizeBytes: 1_001 },
  ])('a spool file that is $name than what was written is not taken', async ({ sizeBytes }) => {
    const { ref } = payloadOf();
    const spool = await spooled(place.spoolFolder, Buffer.alloc(sizeBytes));
    await expect(place.store.put(ref, { ...spool, sizeBytes: 1_000 })).rejects.toMatchObject(AWAY);
    await expect(place.store.open(ref)).rejects.toMatchObject(MISSING);
    expect(await fs.readdir(place.spoolFolder)).toEqual([]);
  });
});

describe('a payload that is cut off', () => {
  test('reads as what is left of it', async () => {
    const { ref, bytes } = await kept({ sizeBytes: 400_000 });
    await fs.truncate(fileOf(ref), 300_001);
    expect((await contentOf(place.store, ref)).equals(bytes.subarray(0, 300_001))).toBe(true);
    const range = { first: 300_000, last: 300_009 };
    expect(await contentOf(place.store, ref, range)).toHaveLength(1);
  });

  test('in the middle of a read ends there', async () => {
    const { ref } = await kept({ sizeBytes: 3_000_000 });
    const stream = await place.store.open(ref);
    let sizeBytes = 0;
    for await (const piece of stream) {
      if (sizeBytes === 0) await fs.truncate(fileOf(ref), PIECE_BYTES * 4 + 5);
      sizeBytes += (piece as Buffer).byteLength;
    }
    expect(sizeBytes).toBe(PIECE_BYTES * 4 + 5);
  });

  test('is replaced when it is put again', async () => {
    const { ref, bytes } = await kept();
    await fs.truncate(fileOf(ref), 10);
    await place.store.put(ref, await spooled(place.spoolFolder, bytes));
    await expectContent(place.store, [{ ref, bytes }]);
  });
});

describe('a folder that is not there', () => {
  const LOSSES = [
    { name: 'removed', lose: () => fs.rename(place.folder, `${place.folder}-old`) },
    {
      name: 'a file',
      lose: async () => {
        await fs.rename(place.folder, `${place.folder}-old`);
        await fs.writeFile(place.folder, '');
      },
    },
    {
      name: 'empty, as that of a disk that is not mounted',
      lose: async () => {
        await fs.rename(place.folder, `${place.folder}-old`);
        await fs.mkdir(place.folder);
      },
    },
  ];

  test.each(LOSSES)('$name: away, not missing; nothing is made in its place', async ({ lose }) => {
    const { ref } = await kept();
    const other = payloadOf();
    const spool = await spooled(place.spoolFolder, other.bytes);
    await lose();
    await expect(place.store.open(ref)).rejects.toMatchObject(AWAY);
    await expect(place.store.put(other.ref, spool)).rejects.toMatchObject(AWAY);
    await expect(place.store.remove(ref)).rejects.toMatchObject(AWAY);
    await expect(listed(place.store)).rejects.toMatchObject(AWAY);
    await expect(place.store.identity('log-1', { mayAdopt: true })).rejects.toMatchObject(AWAY);
    expect(await fs.readdir(place.spoolFolder)).toEqual([]);
    const left = await fs.readdir(place.folder).catch(() => []);
    expect(left).toEqual([]);
  });

  test('that comes back has all its payloads', async () => {
    const payload = await kept();
    await fs.rename(place.folder, `${place.folder}-old`);
    await expect(place.store.open(payload.ref)).rejects.toMatchObject(AWAY);
    await fs.rename(`${place.folder}-old`, place.folder);
    await expectContent(place.store, [payload, await kept()]);
  });
});

test('what this user may not touch is denied, never missing', async () => {
  const { ref } = await kept();
  const other = payloadOf();
  const spool = await spooled(place.spoolFolder, other.bytes);
  const denied = {
    code: 'KNEAR_PAYLOAD_STORE_DENIED',
    message: expect.stringContaining('the right to read and write'),
  };
  await fs.chmod(place.base, 0o711);
  await fs.chmod(place.spoolFolder, 0o777);
  await fs.chmod(spool.path, 0o666);
  await fs.chmod(place.folder, 0);
  await asNobody(async () => {
    await expect(place.store.open(ref)).rejects.toMatchObject(denied);
    await expect(place.store.remove(ref)).rejects.toMatchObject(denied);
    await expect(listed(place.store)).rejects.toMatchObject(denied);
    await expect(place.store.identity('log-1', { mayAdopt: true })).rejects.toMatchObject(denied);
    await expect(place.store.put(other.ref, spool)).rejects.toMatchObject(denied);
    const folder = path.join(place.folder, 'below');
    await expect(FilePayloadStore.open({ folder, clock })).rejects.toMatchObject(denied);
  });
  await fs.chmod(place.folder, 0o700);
});

describe('K18: a sync that fails', () => {
  /** A plain file that can be opened and not be synced, as any file of /proc. */
  const UNSYNCED = { path: '/proc/self/comm', sizeBytes: 0 };
  const failSync = () => place.store.put(payloadOf({ sizeBytes: 0 }).ref, UNSYNCED);

  test('makes the store away until another file can be synced; reading goes on', async () => {
    const payload = await kept();
    await expect(failSync()).rejects.toMatchObject(AWAY);
    // A folder in its place keeps the probe from being written.
    await fs.mkdir(path.join(place.folder, '_probe'));
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await expect(kept()).rejects.toMatchObject({
        ...AWAY,
        message: expect.stringContaining('takes no payloads until'),
      });
      clock.advance(1_000);
    }
    await expectContent(place.store, [payload]);
    await fs.rmdir(path.join(place.folder, '_probe'));
    await expectContent(place.store, [await kept()]);
    expect(await fs.readdir(place.folder)).toEqual(['team-a']);
  });

  test('is asked about once a second, however many puts there are', async () => {
    await expect(failSync()).rejects.toMatchObject(AWAY);
    await fs.mkdir(path.join(place.folder, '_probe'));
    await expect(kept()).rejects.toMatchObject(AWAY);
    await fs.rmdir(path.join(place.folder, '_probe'));
    clock.advance(999);
    await expect(kept()).rejects.toMatchObject(AWAY);
    clock.advance(1);
    await kept();
  });

  const name = `gives the payload up, and the store comes back when there is room${skipped()}`;
  (noMounts ? test.skip : test)(name, async () => {
    const disk = await mountImageDisk({ isJournaled: false });
    if (!disk) {
      console.warn('skipped: no ext4 can be made and mounted here');
      return;
    }
    const there = await openPlace(disk.folder);
    try {
      const payload = await keep(there, { sizeBytes: 500_000 });
      await disk.starve(true);
      // Written without a word: that there is no place for it shows at the sync, and only once.
      await expect(keep(there, { sizeBytes: 4_000_000 })).rejects.toMatchObject(FULL);
      expect(await fs.readdir(there.spoolFolder)).toEqual([]);
      for (let attempt = 0; attempt < 3; attempt += 1) {
        clock.advance(1_000);
        await expect(keep(there)).rejects.toMatchObject(FULL);
      }
      await expectContent(there.store, [payload]);
      await disk.starve(false);
      await expect(keep(there)).rejects.toMatchObject(FULL);
      clock.advance(1_000);
      const next = await keep(there, { sizeBytes: 4_000_000 });
      await expectContent(there.store, [payload, next]);
      expect(await keysIn(there.store)).toEqual(keysOf([payload, next]));
    } finally {
      await disk.unmount();
    }
  });
});

const describeWithMounts = noMounts ? describe.skip : describe;

describeWithMounts(`disks of their own${skipped()}`, () => {
  test('K17: a payload that was kept is whole after a power cut', async () => {
    const disk = await mountImageDisk({ isJournaled: true });
    if (!disk) {
      console.warn('skipped: no ext4 can be made and mounted here');
      return;
    }
    try {
      const there = await openPlace(disk.folder);
      const options = Array.from({ length: 24 }, (_, index) => ({
        tenant: `team-${index % 3}`,
        hour: `20260101${String(index % 8).padStart(2, '0')}`,
        sizeBytes: 20_000 * index,
      }));
      await there.store.identity('log-1', { mayAdopt: true });
      const payloads = await Promise.all(options.map((each) => keep(there, each)));
      const later = await disk.afterPowerCut();
      try {
        const found = await openPlace(later.folder);
        await expectContent(found.store, payloads);
        expect(await keysIn(found.store)).toEqual(keysOf(payloads));
        expect(await found.store.identity('log-2', { mayAdopt: true })).toBe('log-1');
      } finally {
        await later.unmount();
      }
    } finally {
      await disk.unmount();
    }
  });

  test('K19: a spool on another mount is told of, and its file goes', async () => {
    const disk = mountSmallDisk({ sizeBytes: 1_000_000 });
    try {
      const { ref, bytes } = payloadOf();
      const spool = await spooled(disk.folder, bytes);
      await expect(place.store.put(ref, spool)).rejects.toMatchObject({
        ...AWAY,
        message: expect.stringContaining('on one mount'),
      });
      expect(await fs.readdir(disk.folder)).toEqual([]);
      await expect(place.store.open(ref)).rejects.toMatchObject(MISSING);
    } finally {
      await disk.unmount();
    }
  });

  test('a disk without room for a folder is full, and gives back what it can', async () => {
    // The disk itself, two folders of ours, tenant and hour of the first payload, and two files.
    const disk = mountSmallDisk({ sizeBytes: 1_000_000, filesMax: 7 });
    try {
      const there = await openPlace(disk.folder);
      const payload = await keep(there);
      await expect(keep(there, { hour: '2026010108' })).rejects.toMatchObject({
        ...FULL,
        message: expect.stringContaining('make room'),
      });
      expect(await fs.readdir(there.spoolFolder)).toEqual([]);
      await expectContent(there.store, [payload, await keep(there)]);
    } finally {
      await disk.unmount();
    }
  });
});

test('kill -9 loses no payload that was kept, and leaves none in part', async () => {
  const child = spawn(
    process.execPath,
    [path.join(import.meta.dirname, 'payload-process-child.ts'), place.base],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const refs: PayloadRef[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    // Written by the child.
    refs.push(JSON.parse(line) as PayloadRef);
    if (refs.length === 60) break;
  }
  child.kill('SIGKILL');
  await once(child, 'exit');
  for (const ref of refs) expect(sha256Of(await contentOf(place.store, ref))).toBe(ref.sha256);
  // Whatever has its name is whole, told or not: each ends with the last piece.
  for (const { tenant, key, sizeBytes } of await listed(place.store)) {
    const ref = { ...payloadOf().ref, tenant, key };
    expect((await contentOf(place.store, ref)).subarray(-5).toString()).toBe('knear');
    expect((sizeBytes - 16) % 50_000).toBe(0);
  }
});

async function openPlace(at?: string) {
  const base = at ?? (await fs.mkdtemp(path.join(tmpdir(), 'knear-payloads-')));
  const folder = path.join(base, 'payloads');
  const spoolFolder = path.join(base, 'spool');
  await fs.mkdir(spoolFolder, { recursive: true });
  const store = await FilePayloadStore.open({ folder, clock });
  return { base, folder, spoolFolder, store, remove: () => removePlace(base) };
}

async function removePlace(base: string): Promise<void> {
  await fs.rm(base, { recursive: true, force: true });
}

function kept(options?: PayloadOptions) {
  return keep(place, options);
}

function fileOf({ tenant, key }: PayloadRef): string {
  return path.join(place.folder, tenant, key);
}

async function modeOf(file: string): Promise<string> {
  return ((await fs.stat(file)).mode & 0o777).toString(8);
}

function skipped(): string {
  return noMounts ? ` (skipped: ${noMounts})` : '';
}
