/**
 * The spool on a real disk (K16, K18): what is written is in the file, in order and counted; memory and disk stay within their
 * bounds; nothing stays behind. Disks that fill up are mounted, which needs root.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { Spool } from '../../broker/payload/spool.ts';
import type { SpoolLimits, SpoolWriter } from '../../broker/payload/spool.ts';
import { sha256Of } from '../conformance/payload-store/scene.ts';
import { FakeClock } from '../fakes/clock.ts';
import { asNobody, mountSmallDisk, noMounts, openedBelow } from './payload-disk.ts';

const KIB = 1024;
const PIECE = Buffer.alloc(64 * KIB, 'knear');
const WIDE: SpoolLimits = { bytesMax: Number.MAX_SAFE_INTEGER, freeMinBytes: 0 };
const FULL = { code: 'KNEAR_PAYLOAD_STORE_FULL' };
const AWAY = { code: 'KNEAR_PAYLOAD_STORE_AWAY' };
const CLOSED = { code: 'KNEAR_CLOSED' };

let folder: string;
let spool: Spool;
const clock = new FakeClock();

beforeEach(async () => {
  folder = await fs.mkdtemp(path.join(tmpdir(), 'knear-spool-'));
  spool = await openSpool();
});

afterEach(async () => {
  await spool.close();
  const opened = await openedBelow(folder);
  await fs.rm(folder, { recursive: true, force: true });
  expect(opened).toEqual([]);
});

describe('K16: what is written', () => {
  test.each([
    { name: 'nothing', sizes: [] },
    { name: 'one byte', sizes: [1] },
    { name: 'pieces of no bytes between others', sizes: [0, 10, 0, 0, 100_000, 0] },
    { name: 'one small piece after another', sizes: Array.from({ length: 5_000 }, () => 3) },
    { name: 'exactly what one write takes', sizes: [64 * KIB] },
    { name: 'one piece larger than may wait', sizes: [3_000_000] },
    { name: 'large and small ones in turn', sizes: [1, 200_000, 2, 64 * KIB, 70_000, 1] },
    { name: 'many pieces of one write each', sizes: Array.from({ length: 100 }, () => 64 * KIB) },
  ])('is in the file, counted: $name', async ({ sizes }) => {
    await checkWritten(sizes, () => true);
  });

  test('is in the file, whether the writer waits for room or not', async () => {
    const size = fc.oneof(fc.nat(300), fc.nat(70_000), fc.nat(700_000));
    const writes = fc.array(fc.tuple(size, fc.boolean()), { maxLength: 30 });
    const property = fc.asyncProperty(writes, (each) =>
      checkWritten(
        each.map(([sizeBytes]) => sizeBytes),
        (index) => each[index]?.[1] ?? true,
      ),
    );
    await fc.assert(property, { numRuns: 40 });
  });

  test('has a file from the first write that the disk sees, for its owner only', async () => {
    const writer = spool.create();
    expect(await fs.readdir(folder)).toEqual([]);
    void writer.write(PIECE);
    const { file } = await writer.end();
    expect(((await fs.stat(file.path)).mode & 0o777).toString(8)).toBe('600');
    expect(((await fs.stat(folder)).mode & 0o777).toString(8)).toBe('700');
    expect(path.dirname(file.path)).toBe(folder);
    writer.discard();
  });

  test('of many writers at once does not mix', async () => {
    const writers = Array.from({ length: 20 }, (_, index) => ({
      writer: spool.create(),
      piece: Buffer.alloc(30_000, index + 1),
    }));
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(writers.map(async ({ writer, piece }) => writer.write(piece)));
    }
    for (const { writer, piece } of writers) {
      const { file } = await writer.end();
      const whole = Buffer.alloc(300_000, piece[0]);
      expect((await fs.readFile(file.path)).equals(whole)).toBe(true);
      writer.discard();
    }
  });

  test('counts from the moment it is taken until the writer is discarded', async () => {
    const writers = [spool.create(), spool.create()];
    for (const writer of writers) await writer.write(PIECE);
    expect(writers.map(({ sizeBytes }) => sizeBytes)).toEqual([64 * KIB, 64 * KIB]);
    expect(spool.bytes).toBe(128 * KIB);
    await writers[0]?.end();
    expect(spool.bytes).toBe(128 * KIB);
    writers[0]?.discard();
    expect(spool.bytes).toBe(64 * KIB);
    writers[1]?.discard();
    expect(spool.bytes).toBe(0);
  });
});

describe('waiting', () => {
  test.each([
    { name: '64 KiB', sizeBytes: 64 * KIB, taken: 8 },
    { name: 'one byte, which costs more than that', sizeBytes: 1, taken: 4_065 },
    { name: 'a megabyte', sizeBytes: 1_000_000, taken: 1 },
  ])(
    'half a MiB in pieces of $name is taken at once, then there is none until there is room',
    async ({ sizeBytes, taken }) => {
      const writer = spool.create();
      const piece = Buffer.alloc(sizeBytes);
      let count = 1;
      let room = writer.write(piece);
      for (; room === undefined; count += 1) room = writer.write(piece);
      expect(count).toBe(taken);
      await room;
      expect(writer.write(Buffer.alloc(1))).toBeUndefined();
      expect((await writer.end()).file.sizeBytes).toBe(taken * sizeBytes + 1);
      writer.discard();
    },
  );

  test('who waits when it is discarded hears of it, and who does not ends no process', async () => {
    const writer = spool.create();
    const rooms = Array.from({ length: 12 }, () => writer.write(PIECE));
    writer.discard();
    await expect(rooms.at(-1)).rejects.toMatchObject(CLOSED);
  });
});

describe('reread', () => {
  test.each([0, 1, 100, 256 * KIB, 256 * KIB + 1, 2_000_000])(
    'gives all %i bytes that were written, in pieces, before and after the end',
    async (sizeBytes) => {
      const writer = spool.create();
      const bytes = dataOf(sizeBytes);
      await writer.write(bytes);
      expect((await reread(writer)).equals(bytes)).toBe(true);
      await writer.end();
      expect((await reread(writer)).equals(bytes)).toBe(true);
      writer.discard();
    },
  );

  test('goes on where writing goes on, and hinders it not', async () => {
    const writer = spool.create();
    const bytes = dataOf(3_000_000);
    for (let from = 0; from < bytes.byteLength; from += 500_000) {
      void writer.write(bytes.subarray(from, from + 500_000));
      const found = await reread(writer);
      expect(found.equals(bytes.subarray(0, from + 500_000))).toBe(true);
    }
    const { file } = await writer.end();
    expect((await fs.readFile(file.path)).equals(bytes)).toBe(true);
    writer.discard();
  });

  test('ends with an error when the writer is discarded in the middle', async () => {
    const writer = spool.create();
    await writer.write(dataOf(1_000_000));
    const pieces = writer.reread();
    await pieces.next();
    writer.discard();
    await expect(pieces.next()).rejects.toMatchObject(CLOSED);
  });

  test('of a file that was cut off is an error, not an early end', async () => {
    const writer = spool.create();
    await writer.write(dataOf(1_000_000));
    const { file } = await writer.end();
    await fs.truncate(file.path, 600_000);
    await expect(reread(writer)).rejects.toMatchObject(AWAY);
    writer.discard();
  });
});

describe('discard', () => {
  const MOMENTS: readonly { name: string; reach: (writer: SpoolWriter) => unknown }[] = [
    { name: 'before anything is written', reach: () => undefined },
    {
      name: 'before the disk has seen anything',
      reach: (writer) => writer.write(Buffer.alloc(10)),
    },
    { name: 'while the file is opened', reach: (writer) => void writer.write(PIECE) },
    {
      name: 'in the middle of a write',
      reach: async (writer) => {
        await writer.write(Buffer.alloc(600_000));
        void writer.write(Buffer.alloc(20_000_000));
        await new Promise((resolve) => setImmediate(resolve));
      },
    },
    {
      name: 'while it ends',
      reach: (writer) => {
        void writer.write(PIECE);
        void writer.end().catch(() => undefined);
      },
    },
    {
      name: 'after the end',
      reach: async (writer) => {
        await writer.write(PIECE);
        await writer.end();
      },
    },
    {
      name: 'after a store has taken the file',
      reach: async (writer) => {
        await writer.write(PIECE);
        const { file } = await writer.end();
        await fs.rename(file.path, path.join(folder, 'taken'));
        await fs.unlink(path.join(folder, 'taken'));
      },
    },
    {
      name: 'in the middle of a reread',
      reach: async (writer) => {
        await writer.write(Buffer.alloc(1_000_000));
        void reread(writer).catch(() => undefined);
        await new Promise((resolve) => setImmediate(resolve));
      },
    },
  ];

  test.each(MOMENTS)('$name leaves nothing, however often it is called', async ({ reach }) => {
    const writer = spool.create();
    await reach(writer);
    writer.discard();
    writer.discard();
    expect(spool.bytes).toBe(0);
    await spool.close();
    expect(await fs.readdir(folder)).toEqual([]);
    expect(await openedBelow(folder)).toEqual([]);
    writer.discard();
    expect(spool.bytes).toBe(0);
  });

  test.each([
    { name: 'something was written', pieces: [PIECE, PIECE] },
    { name: 'nothing was written', pieces: [] },
  ])('afterwards nothing more comes of it: $name', async ({ pieces }) => {
    const writer = spool.create();
    for (const piece of pieces) await writer.write(piece);
    writer.discard();
    await expect(writer.write(PIECE)).rejects.toMatchObject(CLOSED);
    await expect(reread(writer)).rejects.toMatchObject(CLOSED);
    await expect(writer.end()).rejects.toMatchObject(CLOSED);
    await spool.close();
    expect(await fs.readdir(folder)).toEqual([]);
  });

  test('until then the file stays open, so that an error of the disk is not forgotten (K18)', async () => {
    const writer = spool.create();
    await writer.write(PIECE);
    const { file } = await writer.end();
    expect(await openedBelow(folder)).toEqual([file.path]);
    writer.discard();
    await spool.close();
    expect(await openedBelow(folder)).toEqual([]);
  });
});

describe('K18: bounds', () => {
  test('all files together are bounded, and a refusal says how to go on', async () => {
    spool = await openSpool({ bytesMax: 200_000, freeMinBytes: 0 });
    const [one, two] = [spool.create(), spool.create()];
    await one.write(Buffer.alloc(150_000));
    expect(spool.refusal(50_000)).toBeUndefined();
    expect(spool.refusal(50_001)).toMatchObject({
      ...FULL,
      message: expect.stringMatching(/raise/),
    });
    await two.write(Buffer.alloc(50_000));
    expect(spool.refusal()).toBeUndefined();
    await expect(two.write(Buffer.alloc(1))).rejects.toMatchObject(FULL);
    // The one that was refused is over, and gives its room to the other.
    await expect(two.write(Buffer.alloc(1))).rejects.toMatchObject(FULL);
    await expect(two.end()).rejects.toMatchObject(FULL);
    await one.write(Buffer.alloc(50_000));
    expect((await one.end()).file.sizeBytes).toBe(200_000);
    for (const writer of [one, two]) writer.discard();
    expect(spool.bytes).toBe(0);
  });

  test('a disk that has less free than the log needs takes none', async () => {
    const { bavail, bsize } = await fs.statfs(folder);
    spool = await openSpool({ ...WIDE, freeMinBytes: bavail * bsize * 2 });
    expect(spool.refusal()).toMatchObject({ ...FULL, message: expect.stringMatching(/make room/) });
    const writer = spool.create();
    await expect(writer.write(PIECE)).rejects.toMatchObject(FULL);
    writer.discard();
    await spool.close();
    expect(await fs.readdir(folder)).toEqual([]);
  });

  test('a disk that cannot be asked is not called full', async () => {
    await fs.rename(folder, `${folder}-old`);
    spool = await openSpool({ ...WIDE, freeMinBytes: 1 });
    await fs.rmdir(folder);
    expect(spool.refusal(1_000)).toBeUndefined();
    await fs.rename(`${folder}-old`, folder);
  });
});

const describeWithMounts = noMounts ? describe.skip : describe;

describeWithMounts(`K18: a small disk${noMounts ? ` (skipped: ${noMounts})` : ''}`, () => {
  const DISK_BYTES = 4_096 * KIB;
  const MIB = 1_024 * KIB;

  test('counts what is under way as taken, and asks the disk again in time', async () => {
    await onSmallDisk(async () => {
      spool = await openSpool({ ...WIDE, freeMinBytes: MIB });
      expect(spool.refusal(3 * MIB)).toBeUndefined();
      expect(spool.refusal(3 * MIB + 1)).toMatchObject(FULL);
      const writers = [spool.create(), spool.create(), spool.create()];
      // None of it is on the disk yet.
      void writers[0]?.write(Buffer.alloc(MIB * 1.5));
      void writers[1]?.write(Buffer.alloc(MIB));
      expect(spool.refusal(MIB)).toMatchObject(FULL);
      // Nor when the disk is asked anew meanwhile.
      clock.advance(250);
      expect(spool.refusal(MIB)).toMatchObject(FULL);
      expect(spool.refusal(MIB / 4)).toBeUndefined();
      await expect(writers[2]?.write(Buffer.alloc(MIB))).rejects.toMatchObject(FULL);
      for (const writer of writers) writer.discard();
      await spool.close();
      clock.advance(250);
      expect(spool.refusal(3 * MIB)).toBeUndefined();
    });
  });

  test('sees within 250 ms what others write', async () => {
    await onSmallDisk(async () => {
      spool = await openSpool({ ...WIDE, freeMinBytes: MIB });
      expect(spool.refusal(2 * MIB)).toBeUndefined();
      await fs.writeFile(path.join(folder, '..', 'ballast'), Buffer.alloc(2 * MIB));
      clock.advance(250);
      expect(spool.refusal(2 * MIB)).toMatchObject(FULL);
    });
  });

  test.each([
    { name: 'no byte', leftBytes: 0 },
    { name: 'a part of the write', leftBytes: 100 * KIB },
  ])(
    'full in the middle: with room for $name refused with a code, and well again later',
    async ({ leftBytes }) => {
      await onSmallDisk(async () => {
        spool = await openSpool();
        expect(spool.refusal(DISK_BYTES)).toBeUndefined();
        const [whole, writer] = [spool.create(), spool.create()];
        await whole.write(PIECE);
        await whole.end();
        await fillUp(leftBytes);
        // The disk is asked again in 250 ms, so that the write finds out.
        const refusal = writer.write(Buffer.alloc(MIB));
        await expect(refusal).rejects.toMatchObject({
          ...FULL,
          message: expect.stringMatching(/no space left on device.*; make room/),
          cause: { code: 'ENOSPC' },
        });
        await expect(writer.write(PIECE)).rejects.toMatchObject(FULL);
        await expect(writer.end()).rejects.toMatchObject(FULL);
        await spool.close();
        expect(await fs.readdir(folder)).toHaveLength(1);
        expect(spool.bytes).toBe(64 * KIB);
        expect((await reread(whole)).equals(PIECE)).toBe(true);
        await fs.unlink(path.join(folder, '..', 'ballast'));
        const next = spool.create();
        await next.write(Buffer.alloc(MIB));
        expect((await next.end()).file.sizeBytes).toBe(MIB);
        for (const each of [whole, next]) each.discard();
      });
    },
  );

  async function fillUp(leftBytes: number): Promise<void> {
    const { bavail, bsize } = await fs.statfs(folder);
    const ballast = Buffer.alloc(bavail * bsize - leftBytes);
    await fs.writeFile(path.join(folder, '..', 'ballast'), ballast);
  }

  async function onSmallDisk(run: () => Promise<void>): Promise<void> {
    const disk = mountSmallDisk({ sizeBytes: DISK_BYTES });
    const before = folder;
    folder = path.join(disk.folder, 'spool');
    try {
      await run();
    } finally {
      await spool.close();
      folder = before;
      spool = await openSpool();
      await disk.unmount();
    }
  }
});

describe('the folder', () => {
  test('is emptied at start, whatever is in it', async () => {
    await fs.writeFile(path.join(folder, '1'), 'left by another process');
    await fs.mkdir(path.join(folder, 'deep', 'er'), { recursive: true });
    await fs.writeFile(path.join(folder, 'deep', 'er', 'file'), '');
    const outside = await fs.mkdtemp(path.join(tmpdir(), 'knear-spool-'));
    await fs.writeFile(path.join(outside, 'kept'), '');
    await fs.symlink(outside, path.join(folder, 'link'));
    spool = await openSpool();
    expect(await fs.readdir(folder)).toEqual([]);
    expect(await fs.readdir(outside)).toEqual(['kept']);
    await fs.rm(outside, { recursive: true });
  });

  test('is made if it is missing, with what is above it', async () => {
    const deep = path.join(folder, 'a', 'b');
    await Spool.open({ folder: deep, limits: WIDE, clock });
    expect(((await fs.stat(deep)).mode & 0o777).toString(8)).toBe('700');
  });

  test('that is a file is refused', async () => {
    const file = path.join(folder, 'file');
    await fs.writeFile(file, '');
    await expect(Spool.open({ folder: file, limits: WIDE, clock })).rejects.toMatchObject({
      ...AWAY,
      message: expect.stringContaining(file),
    });
    expect(await fs.readdir(folder)).toEqual(['file']);
  });

  test('that this user may not write to is denied', async () => {
    await fs.chmod(folder, 0o500);
    await asNobody(async () => {
      const below = path.join(folder, 'below');
      await expect(Spool.open({ folder: below, limits: WIDE, clock })).rejects.toMatchObject({
        code: 'KNEAR_PAYLOAD_STORE_DENIED',
      });
      const writer = spool.create();
      void writer.write(PIECE);
      await expect(writer.end()).rejects.toMatchObject({ code: 'KNEAR_PAYLOAD_STORE_DENIED' });
    });
    await fs.chmod(folder, 0o700);
  });

  test('that is gone: what is written is refused, and all is well when it is back', async () => {
    await fs.rename(folder, `${folder}-old`);
    const writer = spool.create();
    void writer.write(PIECE);
    await expect(writer.end()).rejects.toMatchObject(AWAY);
    expect(spool.bytes).toBe(0);
    await fs.rename(`${folder}-old`, folder);
    const next = spool.create();
    await next.write(PIECE);
    expect((await next.end()).file.sizeBytes).toBe(64 * KIB);
    next.discard();
  });

  test('K16: after kill -9 in the middle of writes the next start finds nothing of them', async () => {
    const child = spawn(
      process.execPath,
      [path.join(import.meta.dirname, 'payload-process-child.ts'), folder],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const left = path.join(folder, 'spool');
    expect(await fs.readdir(left)).not.toEqual([]);
    await Spool.open({ folder: left, limits: WIDE, clock });
    expect(await fs.readdir(left)).toEqual([]);
  });
});

test('misuse is found: a write or another end after the end', async () => {
  const writer = spool.create();
  await writer.write(PIECE);
  await writer.end();
  expect(() => writer.write(PIECE)).toThrow('written after the end');
  await expect(writer.end()).rejects.toThrow('ended twice');
  writer.discard();
});

function openSpool(limits = WIDE): Promise<Spool> {
  return Spool.open({ folder, limits, clock });
}

/** Writes pieces of these sizes, waits for room where `waits` says so, and looks at the file. */
async function checkWritten(
  sizes: readonly number[],
  waits: (index: number) => boolean,
): Promise<void> {
  const writer = spool.create();
  const bytes = dataOf(sizes.reduce((sum, size) => sum + size, 0));
  let from = 0;
  for (const [index, sizeBytes] of sizes.entries()) {
    const room = writer.write(bytes.subarray(from, from + sizeBytes));
    if (waits(index)) await room;
    from += sizeBytes;
  }
  const { file, sha256 } = await writer.end();
  expect(file.sizeBytes).toBe(bytes.byteLength);
  expect(sha256).toBe(sha256Of(bytes));
  expect((await fs.readFile(file.path)).equals(bytes)).toBe(true);
  writer.discard();
}

async function reread(writer: SpoolWriter): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of writer.reread()) {
    expect(piece.byteLength).toBeLessThanOrEqual(256 * KIB);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function dataOf(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let index = 0; index + 4 <= sizeBytes; index += 4) bytes.writeUInt32LE(index, index);
  return bytes;
}
