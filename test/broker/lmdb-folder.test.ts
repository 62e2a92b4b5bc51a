/** Whose data folder it is, and what LMDB keeps in it: locks, rights, versions. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { FORMAT_KEY } from '../../broker/log/keys.ts';
import { LmdbStore } from '../../broker/log/lmdb.ts';
import { FakeClock } from '../fakes/clock.ts';
import { startLogProcess } from './log-process.ts';

let folder: string;
const clock = new FakeClock();

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'knear-folder-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('one process owns the folder', () => {
  test('a second one is refused, and told whose it is', async () => {
    const child = startLogProcess();
    await child.call({ kind: 'open', folder });
    await expect(LmdbStore.open({ folder, clock })).rejects.toMatchObject({
      code: 'KNEAR_LOG_LOCKED',
      message: expect.stringContaining(`process ${String(child.pid)} `),
    });
    await child.kill();
    await (await LmdbStore.open({ folder, clock })).close();
  });

  test('so is a second log in the same process; after close it is free', async () => {
    const store = await LmdbStore.open({ folder, clock });
    await expect(LmdbStore.open({ folder, clock })).rejects.toMatchObject({
      code: 'KNEAR_LOG_LOCKED',
    });
    await store.close();
    await (await LmdbStore.open({ folder, clock })).close();
  });

  test('an open that fails leaves it free', async () => {
    await writeFile(path.join(folder, 'log'), 'no log at all');
    const child = startLogProcess();
    expect((await child.call({ kind: 'open', folder })).code).toBe('KNEAR_LOG_CORRUPT');
    await rm(path.join(folder, 'log'));
    expect(await child.call({ kind: 'open', folder })).toEqual({});
    await child.kill();
  });
});

describe('what it needs of the folder', () => {
  test('a folder that is missing is made, for its owner only', async () => {
    const deep = path.join(folder, 'a', 'b');
    await (await LmdbStore.open({ folder: deep, clock })).close();
    expect((await readdir(deep)).toSorted()).toEqual(['log', 'log-lock']);
  });

  test('a file in its place is refused', async () => {
    const file = path.join(folder, 'file');
    await writeFile(file, '');
    await expect(LmdbStore.open({ folder: file, clock })).rejects.toMatchObject({
      code: 'KNEAR_LOG_FAILED',
      message: expect.stringContaining(file),
    });
  });

  test('one that cannot be written is refused', async () => {
    const undo = await makeReadOnly(folder);
    if (!undo) return;
    try {
      await expect(LmdbStore.open({ folder, clock })).rejects.toMatchObject({
        code: 'KNEAR_LOG_FAILED',
        message: expect.stringContaining(folder),
      });
    } finally {
      await undo();
    }
  });
});

describe('versions', () => {
  test('a log of another format is refused, untouched, and the folder is free again', async () => {
    const written = await LmdbStore.open({ folder, clock });
    await written.commit([{ table: 'info', key: FORMAT_KEY, value: Buffer.from([99]) }]);
    await written.close();
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await expect(LmdbStore.open({ folder, clock })).rejects.toMatchObject({
        code: 'KNEAR_LOG_FORMAT',
        message: expect.stringContaining('99'),
      });
    }
  });
});

test('close leaves no timer behind, though free space is being asked for', async () => {
  const store = await LmdbStore.open({ folder, clock });
  expect(store.freeBytes()).toBeGreaterThan(0);
  clock.advance(300);
  await store.close();
  // The question may be answered after the close; it must not be asked again.
  await new Promise((resolve) => setImmediate(resolve));
  await readdir(folder);
  expect(clock.timerCount).toBe(0);
});

/** Returns how to undo it; `undefined` where nothing keeps this user from writing. */
async function makeReadOnly(of: string): Promise<(() => Promise<void>) | undefined> {
  if (process.getuid?.() !== 0) {
    await chmod(of, 0o500);
    return () => chmod(of, 0o700);
  }
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro,size=1m', 'tmpfs', of], { stdio: 'pipe' });
  } catch {
    // Root may write everywhere, and of a container often may not mount.
    return undefined;
  }
  return async () => void execFileSync('umount', [of]);
}
