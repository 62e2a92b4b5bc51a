/**
 * Looks at the log's file before LMDB does. LMDB maps it into memory and trusts it: a file that it refuses to open, a page
 * behind the end of the file or a lock file that the disk has no room for ends the process with a signal, where users
 * should see a code (all three *measured* with lmdb 3.5.6).
 *
 * What can be checked without reading the whole file is: both meta pages, and that the roots of the trees exist. Damage
 * further inside is found when it is read; LMDB has no checksums, so some of it never is.
 */
import { open, stat, statfs } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';

import { KnearError } from '../../core/errors.ts';

const MAGIC = 0xbeefc0de;
/** Of lmdb 3.5: LMDB's development line, with 64 bit page numbers and transaction ids. */
const VERSION = 2;
/** A meta page as far as it matters: header 24 bytes, then magic, version, address, map size, two trees, end, txn. */
const OFFSETS = {
  magic: 24,
  version: 28,
  pageSize: 48,
  freeRoot: 88,
  mainRoot: 136,
  lastPage: 144,
  transaction: 152,
} as const;
const PAGE_BYTES_MAX = 65_536;
const META_BYTES = 160;
const PAGE_FLAGS_OFFSET = 18;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;
/**
 * A healthy file may end before its last page: pages that a transaction took and gave back are never written. A group is
 * 4 MiB and some; what lacks more than this was cut off.
 */
const UNWRITTEN_BYTES_MAX = 64 * 1024 * 1024;
/** LMDB's lock file, and the first pages of a new log: without them even opening fails. */
const START_BYTES = 1024 * 1024;

/** @throws KNEAR_LOG_CORRUPT, KNEAR_LOG_FULL, and what the disk says when files cannot be opened. */
export async function prepareFile(file: string): Promise<void> {
  await checkLockFile(`${file}-lock`);
  const handle = await open(file, 'a+', 0o600);
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw corrupt(file, 'it is not a plain file');
    if (stats.size > 0) await checkMetas(handle, { file, sizeBytes: stats.size });
  } finally {
    await handle.close();
  }
}

/** LMDB writes to this file through memory: each of its pages needs a place on the disk before. */
async function checkLockFile(file: string): Promise<void> {
  const { bavail, bsize } = await statfs(path.dirname(file));
  const stats = await stat(file).catch(() => undefined);
  if (stats && !stats.isFile()) throw corrupt(file, 'it is not a plain file');
  if (bavail * bsize >= START_BYTES) return;
  const detail = `the disk of ${file} has less than ${START_BYTES} bytes free, too little to open the log: make room on it`;
  throw new KnearError('KNEAR_LOG_FULL', detail);
}

async function checkMetas(
  handle: FileHandle,
  { file, sizeBytes }: { file: string; sizeBytes: number },
): Promise<void> {
  const first = await readMeta(handle, 0);
  const pageBytes = first.readUInt32LE(OFFSETS.pageSize);
  const isSane = isMeta(first) && pageBytes > 0 && pageBytes <= PAGE_BYTES_MAX;
  const second = isSane ? await readMeta(handle, pageBytes) : first;
  const isWhole = isSane && isMeta(second) && second.readUInt32LE(OFFSETS.pageSize) === pageBytes;
  if (!isWhole)
    throw corrupt(file, 'it is no LMDB file, its head is damaged, or another version wrote it');
  // LMDB goes on from the newer one; both stay whole until the next commit is.
  const isSecondNewer =
    second.readBigUInt64LE(OFFSETS.transaction) > first.readBigUInt64LE(OFFSETS.transaction);
  const meta = isSecondNewer ? second : first;
  for (const offset of [OFFSETS.freeRoot, OFFSETS.mainRoot]) {
    const root = meta.readBigUInt64LE(offset);
    const isThere = root === NO_PAGE || (await isRoot(handle, { root, pageBytes, sizeBytes }));
    if (!isThere) throw corrupt(file, 'it was cut off, or its head is damaged');
  }
  const endBytes = (meta.readBigUInt64LE(OFFSETS.lastPage) + 1n) * BigInt(pageBytes);
  if (endBytes > BigInt(sizeBytes + UNWRITTEN_BYTES_MAX)) throw corrupt(file, 'it was cut off');
  // What lacks reads as zeros from now on: an error, if anything refers to it, where it was a signal.
  if (endBytes > BigInt(sizeBytes)) await handle.truncate(Number(endBytes));
}

/** Zeros where the file ends earlier, which no check passes. */
async function readMeta(handle: FileHandle, offset: number): Promise<Buffer> {
  const { buffer } = await handle.read(Buffer.alloc(META_BYTES), 0, META_BYTES, offset);
  return buffer;
}

function isMeta(meta: Buffer): boolean {
  return (
    meta.readUInt32LE(OFFSETS.magic) === MAGIC && meta.readUInt32LE(OFFSETS.version) === VERSION
  );
}

/** A page says on itself which one it is and what it holds: 1 branches, 2 leaves. */
async function isRoot(
  handle: FileHandle,
  { root, pageBytes, sizeBytes }: { root: bigint; pageBytes: number; sizeBytes: number },
): Promise<boolean> {
  const offset = root * BigInt(pageBytes);
  if (offset + BigInt(pageBytes) > BigInt(sizeBytes)) return false;
  const page = Buffer.alloc(pageBytes);
  await handle.read(page, 0, pageBytes, Number(offset));
  return page.readBigUInt64LE(0) === root && (page.readUInt16LE(PAGE_FLAGS_OFFSET) & 3) !== 0;
}

function corrupt(file: string, what: string): KnearError {
  const detail = `${file} is damaged: ${what}; restore the data folder from a backup, or move it away to start with an empty log`;
  return new KnearError('KNEAR_LOG_CORRUPT', detail);
}
