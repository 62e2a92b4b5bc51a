/**
 * Goal: a full disk costs 503s, never the process nor an acknowledged event, and the log comes back by itself when there
 * is room. Method: a small tmpfs, filled by the log itself, in a process of its own. Needs the right to mount.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { rm, rmdir, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startLogProcess } from './log-process.ts';
import type { LogProcess } from './log-process.ts';

const DISK_BYTES = 8 * 1024 * 1024;
/** What is removed later to make room. */
const BALLAST_BYTES = 3 * 1024 * 1024;

const describeWithMounts = canMount() ? describe : describe.skip;

describeWithMounts('a full disk', () => {
  let folder: string;
  let child: LogProcess;

  beforeEach(async () => {
    folder = mountDisk();
    await writeFile(path.join(folder, 'ballast'), Buffer.alloc(BALLAST_BYTES));
    child = startLogProcess();
  });

  afterEach(async () => {
    await child.kill();
    await unmount(folder);
  });

  test('is refused with a code, goes on delivering, and recovers: nothing acknowledged is lost', async () => {
    await child.call({ kind: 'open', folder });
    const full = await child.call({ kind: 'fill', sizeBytes: 20_000 });
    expect(full).toMatchObject({ code: 'KNEAR_LOG_FAILED' });
    // LMDB calls it an input/output error when a part of the page still fitted.
    expect(full.message).toMatch(/no space|input.output/i);
    expect(full.ids?.length).toBeGreaterThan(50);
    // Each probe fails until there is room, or succeeds where a few bytes are left: the process lives through both.
    for (let probe = 0; probe < 3; probe += 1) {
      expect((await child.call({ kind: 'skip', ms: 10_000 })).end).toBeUndefined();
    }
    await rm(path.join(folder, 'ballast'));
    await untilAccepting();
    expect(await child.call({ kind: 'append', id: 'after', sizeBytes: 20_000 })).toEqual({});
    const { ids } = await child.call({ kind: 'take' });
    expect(ids).toEqual([...(full.ids ?? []), 'after']);
    expect(await child.call({ kind: 'close' })).toEqual({});
  });

  test('killed while it is full, the log opens again when there is room, with all that was acknowledged', async () => {
    await child.call({ kind: 'open', folder });
    const full = await child.call({ kind: 'fill', sizeBytes: 20_000 });
    await child.kill();
    await rm(path.join(folder, 'ballast'));
    child = startLogProcess();
    expect(await child.call({ kind: 'open', folder })).toEqual({});
    expect((await child.call({ kind: 'take' })).ids).toEqual(full.ids);
  });

  test('with a reserve appends stop before it is full', async () => {
    const reserveBytes = 2 * 1024 * 1024;
    await child.call({ kind: 'open', folder, reserveBytes });
    let full = await child.call({ kind: 'append', id: 'first', sizeBytes: 100_000 });
    for (let n = 0; full.code === undefined && n < 100; n += 1) {
      // Free space is asked for four times a second.
      await child.call({ kind: 'skip', ms: 300 });
      full = await child.call({ kind: 'append', id: `e${n}`, sizeBytes: 100_000 });
    }
    expect(full).toMatchObject({ code: 'KNEAR_LOG_FULL' });
    const { bavail, bsize } = await statfs(folder);
    expect(bavail * bsize).toBeGreaterThan(reserveBytes / 2);
  });

  test.each([
    { name: 'a new log', hasLog: false },
    { name: 'a log that is there', hasLog: true },
  ])('$name on a disk without any room is refused with a code', async ({ hasLog }) => {
    if (hasLog) {
      await child.call({ kind: 'open', folder });
      await child.call({ kind: 'append', id: 'one', sizeBytes: 1_000 });
      await child.call({ kind: 'close' });
    }
    await child.kill();
    await fillUp(folder);
    child = startLogProcess();
    const answer = await child.call({ kind: 'open', folder });
    expect(answer.end).toBeUndefined();
    expect(answer.code).toMatch(/^KNEAR_LOG_(FULL|FAILED)$/);
  });

  /** A probe comes by time, its answer from the disk. */
  async function untilAccepting(): Promise<void> {
    for (let probe = 0; probe < 20; probe += 1) {
      const { state } = await child.call({ kind: 'skip', ms: 10_000 });
      if (state === 'accepting') return;
    }
    throw new Error('the log does not come back');
  }
});

function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  try {
    const folder = mountDisk();
    execFileSync('umount', [folder]);
    execFileSync('rmdir', [folder]);
    return true;
  } catch {
    // Root of a container often may not mount.
    return false;
  }
}

function mountDisk(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'knear-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', folder], {
    stdio: 'pipe',
  });
  return folder;
}

async function unmount(folder: string): Promise<void> {
  execFileSync('umount', ['--lazy', folder]);
  await rmdir(folder);
}

async function fillUp(folder: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  await writeFile(path.join(folder, 'more-ballast'), Buffer.alloc(bavail * bsize));
}
