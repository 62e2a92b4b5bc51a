/**
 * What `knear doctor` says of the data folder: who owns it, whether it can be written, how much room there is, what kind of
 * file system it is on and how long that takes to write something for good. Where the folder is not there yet, the folder
 * in which it would be made is looked at. What is written for it is removed again.
 *
 * With the log in NATS only large data is in it. Then nobody owns it, and room for it is a matter of `doctor-payloads.ts`.
 */
import { mkdtemp, open, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ownerOf } from '../../broker/log/owner-lock.ts';
import { messageOf } from '../../core/errors.ts';
import type { Clock } from '../../core/ports/time.ts';
import type { Check } from './doctor.ts';
import { isKnearAt } from './doctor-ports.ts';
import { reserveBytesOf } from '../reserve.ts';
import type { Settings } from '../settings.ts';

export async function checkDataFolder(settings: Settings, clock: Clock): Promise<readonly Check[]> {
  const { data } = settings;
  let folder: string;
  try {
    folder = await existing(data);
  } catch (error) {
    return [{ name: 'data folder', state: 'FAIL', detail: messageOf(error), advice: CHOOSE }];
  }
  const isMissing = folder !== data;
  const { fsync, fault } = await writeIn(folder, clock).then(
    (times) => ({ fsync: times, fault: undefined }),
    (error: unknown) => ({ fsync: undefined, fault: messageOf(error) }),
  );
  if (fsync === undefined) {
    const detail = `${folder} cannot be written (${fault})`;
    return [{ name: 'data folder', state: 'FAIL', detail, advice: CHOOSE }];
  }
  const detail = isMissing ? `${data} will be made in ${folder}` : `${data} can be written`;
  const disk = await statfs(folder);
  const fileSystem = checkFileSystem(process.platform === 'linux' ? disk.type : undefined);
  const written: Check = { name: 'data folder', state: 'ok', detail };
  if (settings.nats !== undefined) {
    return [written, fileSystem, checkFsync(medianOf(fsync), 'a 202 of a large event')];
  }
  return [
    written,
    ...(isMissing ? [] : [await checkOwner(settings, clock)]),
    checkSpace(settings, disk),
    fileSystem,
    checkFsync(medianOf(fsync)),
  ];
}

const CHOOSE = 'give a folder that this user may write to (--data)';

/** The folder, or the nearest above it that is there. */
export async function existing(folder: string): Promise<string> {
  try {
    if ((await stat(folder)).isDirectory()) return folder;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(folder) !== folder) return existing(dirname(folder));
    throw error;
  }
  throw new Error(`${folder} is no folder`);
}

/** An odd number has a middle; 21 take a second on the slowest of disks. */
const ROUNDS = 21;
/** A page of the database: what the smallest commit writes. */
const PAGE = Buffer.alloc(4_096, 'knear');

/** How long each write took until it was on the disk, in ms. Rejects where nothing can be written. */
async function writeIn(folder: string, clock: Clock): Promise<readonly number[]> {
  const scratch = await mkdtemp(join(folder, '.knear-doctor-'));
  try {
    const file = await open(join(scratch, 'page'), 'w');
    const times: number[] = [];
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const startMs = clock.monotonicMs();
        await file.write(PAGE);
        await file.datasync();
        times.push(clock.monotonicMs() - startMs);
      }
    } finally {
      await file.close();
    }
    return times;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function medianOf(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
}

async function checkOwner(settings: Settings, clock: Clock): Promise<Check> {
  const name = 'owner';
  const owner = await ownerOf(settings.data);
  if (owner === undefined) return { name, state: 'ok', detail: 'nobody uses the data folder' };
  const who = owner.pid === undefined ? 'a process that does not answer' : `process ${owner.pid}`;
  const detail = `${who} uses the data folder`;
  // It may be the very knear that is looked after.
  if (await isKnearAt(settings, clock)) return { name, state: 'ok', detail };
  const advice =
    'and no knear answers at the ports: stop it, or give this one a folder of its own (--data)';
  return { name, state: 'FAIL', detail, advice };
}

/** @param disk as `statfs` tells of it */
export function checkSpace(
  settings: Pick<Settings, 'logReserveBytes'>,
  disk: { readonly blocks: number; readonly bavail: number; readonly bsize: number },
): Check {
  const name = 'free space';
  const freeBytes = disk.bavail * disk.bsize;
  const reserveBytes = reserveBytesOf(settings, disk);
  const detail = `${sizeText(freeBytes)} are free, and ${sizeText(reserveBytes)} have to stay so`;
  if (freeBytes < reserveBytes) {
    const advice =
      'events would be refused with KNEAR_LOG_FULL: make room (or lower --log-reserve, down to 5 % of the disk)';
    return { name, state: 'FAIL', detail, advice };
  }
  if (freeBytes < 2 * reserveBytes) {
    return { name, state: 'warn', detail, advice: 'make room before it is full' };
  }
  return { name, state: 'ok', detail };
}

export function sizeText(bytes: number): string {
  const gibibytes = bytes / 2 ** 30;
  return gibibytes >= 10 ? `${gibibytes.toFixed(0)} GiB` : `${gibibytes.toFixed(1)} GiB`;
}

interface FileSystem {
  readonly name: string;
  readonly state: Check['state'];
  readonly advice?: string;
}

const MEMORY = 'it is memory, and gone with the machine: a 202 would survive knear only';
const NETWORK =
  'the log has to be on a local disk: neither its lock nor its memory map works over a network';
const LAYER = 'this looks like a layer of a container, and is gone with it: mount a volume';
const UNKNOWN_HOME =
  'another program stands for this file system: see that it keeps what fsync promises';

/** Magic numbers of Linux. Source: statfs(2) of the Linux man-pages, and linux/magic.h. */
const FILE_SYSTEMS: ReadonlyMap<number, FileSystem> = new Map<number, FileSystem>([
  [0xef53, { name: 'ext4 or its like', state: 'ok' }],
  [0x58465342, { name: 'xfs', state: 'ok' }],
  [0x9123683e, { name: 'btrfs', state: 'ok' }],
  [0x2fc12fc1, { name: 'zfs', state: 'ok' }],
  [0xf2f52010, { name: 'f2fs', state: 'ok' }],
  [0x01021994, { name: 'tmpfs', state: 'warn', advice: MEMORY }],
  [0x858458f6, { name: 'ramfs', state: 'warn', advice: MEMORY }],
  [0x794c7630, { name: 'overlay', state: 'warn', advice: LAYER }],
  [0x65735546, { name: 'fuse', state: 'warn', advice: UNKNOWN_HOME }],
  [0x6969, { name: 'nfs', state: 'FAIL', advice: NETWORK }],
  [0xff534d42, { name: 'cifs', state: 'FAIL', advice: NETWORK }],
  [0xfe534d42, { name: 'smb2', state: 'FAIL', advice: NETWORK }],
  [0x517b, { name: 'smb', state: 'FAIL', advice: NETWORK }],
  [0x01021997, { name: '9p', state: 'FAIL', advice: NETWORK }],
  [0x00c36400, { name: 'ceph', state: 'FAIL', advice: NETWORK }],
]);

/** @param type as `statfs` tells it; `undefined` where the number means something else than on Linux. */
export function checkFileSystem(type: number | undefined): Check {
  const name = 'file system';
  const detail = 'of a kind that is not known here';
  const advice = 'see that it is on a local disk';
  if (type === undefined) return { name, state: 'ok', detail, advice };
  const found = FILE_SYSTEMS.get(type >>> 0);
  if (found === undefined) {
    return { name, state: 'ok', detail: `${detail} (0x${(type >>> 0).toString(16)})`, advice };
  }
  const { name: called, state, advice: what } = found;
  return { name, state, detail: called, ...(what !== undefined && { advice: what }) };
}

/** Beyond what people take for instant when a few of them follow each other; disks of today take 0.1 to 5 ms. */
const FSYNC_SLOW_MS = 20;

/** @param waiter whose time it is */
export function checkFsync(medianMs: number, waiter = 'a 202'): Check {
  const name = 'fsync';
  const took = medianMs < 10 ? medianMs.toFixed(2) : medianMs.toFixed(0);
  const detail = `takes ${took} ms (median of ${ROUNDS}); ${waiter} waits about as long, many share one`;
  if (medianMs <= FSYNC_SLOW_MS) return { name, state: 'ok', detail };
  const advice = 'put the data folder on a faster disk, or send many events at a time';
  return { name, state: 'warn', detail, advice };
}
