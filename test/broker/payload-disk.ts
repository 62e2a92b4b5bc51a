/** Disks for tests of payloads: small ones, ones that fail; and what this process and another user may do. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { mkdir, readdir, readlink, rmdir, statfs, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { guard } from '../e2e/guard.ts';

export interface Disk {
  readonly folder: string;
  unmount(): Promise<void>;
}

/** Why tests that need a disk of their own are skipped; `undefined` where they can run. */
export const noMounts: string | undefined = whyNoMounts();

/** A file system in memory. Only where `noMounts` is undefined. */
export function mountSmallDisk({
  sizeBytes,
  filesMax = 1_000,
}: {
  readonly sizeBytes: number;
  readonly filesMax?: number;
}): Disk {
  const folder = mkdtempSync(path.join(tmpdir(), 'knear-disk-'));
  const options = `size=${sizeBytes},nr_inodes=${filesMax}`;
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder], { stdio: 'pipe' });
  const guarding = guard({ mount: folder });
  return {
    folder,
    unmount: async () => {
      execFileSync('umount', ['--lazy', folder]);
      guarding.dismiss();
      await rmdir(folder);
    },
  };
}

export interface ImageDisk extends Disk {
  /** There is less behind the disk than it believes: while starved its syncs fail, though its writes do not. */
  starve(isStarved: boolean): Promise<void>;
  /** The disk as it would be found if the power were cut now: with what has reached it, and no more. */
  afterPowerCut(): Promise<Disk>;
}

/**
 * An ext4 whose blocks are a file on a small disk. `undefined` where such a thing cannot be made.
 * @param options.isJournaled without a journal it lives through errors, with one it is what people have.
 */
export async function mountImageDisk({
  isJournaled,
}: {
  readonly isJournaled: boolean;
}): Promise<ImageDisk | undefined> {
  const below = mountSmallDisk({ sizeBytes: 32 * 1024 * 1024 });
  const image = path.join(below.folder, 'image');
  const ballast = path.join(below.folder, 'ballast');
  try {
    await writeFile(image, '');
    await truncate(image, 64 * 1024 * 1024);
    const features = isJournaled ? 'has_journal' : '^has_journal';
    execFileSync('mkfs.ext4', ['-q', '-O', features, image], { stdio: 'pipe' });
    const disk = await mountImage(image);
    return {
      folder: disk.folder,
      starve: async (isStarved) => {
        const { bavail, bsize } = await statfs(below.folder);
        await writeFile(ballast, Buffer.alloc(isStarved ? bavail * bsize : 0));
      },
      afterPowerCut: async () => {
        execFileSync('cp', ['--sparse=always', image, `${image}-copy`]);
        return mountImage(`${image}-copy`);
      },
      unmount: async () => {
        await disk.unmount();
        await below.unmount();
      },
    };
  } catch {
    await below.unmount();
    return undefined;
  }
}

async function mountImage(image: string): Promise<Disk> {
  const folder = `${image}-disk`;
  await mkdir(folder);
  execFileSync('mount', ['-o', 'loop', image, folder], { stdio: 'pipe' });
  const guarding = guard({ mount: folder });
  return {
    folder,
    unmount: async () => {
      execFileSync('umount', ['--lazy', folder]);
      guarding.dismiss();
    },
  };
}

/** Runs it with the rights of nobody, as far as this process can give up its own. */
export async function asNobody(run: () => Promise<void>): Promise<void> {
  const { geteuid, seteuid } = process;
  const own = geteuid?.();
  if (own !== 0 || !seteuid) return run();
  seteuid(65_534);
  try {
    await run();
  } finally {
    seteuid(own);
  }
}

/** Files and folders below this one that this process holds open. */
export async function openedBelow(folder: string): Promise<string[]> {
  const names = await readdir('/proc/self/fd');
  const targets = await Promise.all(
    names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')),
  );
  return targets.filter((target) => target.startsWith(`${folder}/`));
}

function whyNoMounts(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  const folder = mkdtempSync(path.join(tmpdir(), 'knear-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'pipe' });
    execFileSync('umount', [folder]);
    return undefined;
  } catch {
    return 'root may not mount here';
  } finally {
    execFileSync('rmdir', [folder]);
  }
}
