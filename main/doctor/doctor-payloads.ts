/**
 * What `knear doctor` says of the place for large payloads: whether it can be written, is one mount, has room, and belongs to
 * the log that is there. The log itself is not opened, so whether both know each other is told only where the one is there
 * without the other. What is written is removed again.
 */
import { lstat, mkdtemp, readdir, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isHour, isTenant } from '../../broker/payload/payload-place.ts';
import { ownerOf } from '../../broker/log/owner-lock.ts';
import { messageOf } from '../../core/errors.ts';
import { sizeText as fileSizeText } from '../client/amounts.ts';
import { payloadFreeMinBytesOf, payloadPlacesOf, type PayloadPlaces } from '../payload-places.ts';
import type { Settings } from '../settings.ts';
import type { Check } from './doctor.ts';
import { existing, sizeText } from './doctor-disk.ts';

/** Never rejects for what it looks for. */
export async function checkPayloads(settings: Settings): Promise<readonly Check[]> {
  const places = payloadPlacesOf(settings);
  const { store } = places;
  const name = 'payloads';
  const data = await existing(settings.data).catch(() => undefined);
  // Told by the check of the data folder.
  if (data === undefined) return [];
  let above: string;
  try {
    above = await existing(store);
    if (above !== store && (await isThere(store))) throw new Error(`${store} leads nowhere`);
  } catch (error) {
    const advice =
      'large events need a folder there: mount its disk, or remove what is in its place';
    return [{ name, state: 'FAIL', detail: messageOf(error), advice }];
  }
  const space = checkPayloadSpace(settings, {
    log: await statfs(data),
    payloads: await statfs(above),
  });
  if (above !== store) return [{ name, state: 'ok', detail: `${store} will be made` }, space];
  const scratch = await mkdtemp(join(store, '_doctor-')).catch((error: unknown) => error);
  if (typeof scratch !== 'string') {
    const detail = `${store} cannot be written (${messageOf(scratch)})`;
    const advice =
      'large events would be refused: give the user that knear runs as the right to write there';
    return [{ name, state: 'FAIL', detail, advice }];
  }
  try {
    return [
      { name, state: 'ok', detail: `${store} can be written` },
      ...(await checkSpool(places, { scratch, isOwned: await isOwned(settings) })),
      space,
      await checkIdentity(settings, places),
    ];
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function isOwned({ data }: Settings): Promise<boolean> {
  return (await ownerOf(data)) !== undefined;
}

interface Disk {
  readonly blocks: number;
  readonly bavail: number;
  readonly bsize: number;
}

type SpaceSettings = Pick<Settings, 'logReserveBytes' | 'claimCheckFreeMinBytes' | 'eventMaxBytes'>;

/** @param disks as `statfs` tells of them: that of the log, and that of the payloads, which may be another */
export function checkPayloadSpace(
  settings: SpaceSettings,
  { log, payloads }: { readonly log: Disk; readonly payloads: Disk },
): Check {
  const name = 'payload space';
  const freeBytes = payloads.bavail * payloads.bsize;
  const freeMinBytes = payloadFreeMinBytesOf(settings, log);
  const detail = `${sizeText(freeBytes)} are free, and payloads leave ${sizeText(freeMinBytes)}`;
  if (freeBytes < freeMinBytes) {
    const advice =
      'large events would be refused with KNEAR_PAYLOAD_STORE_FULL, small ones taken: make room (or lower --claim-check-free-min and --log-reserve, down to 5 % of the disk each)';
    return { name, state: 'FAIL', detail, advice };
  }
  if (freeBytes - freeMinBytes < settings.eventMaxBytes) {
    const advice = 'an event of the largest size (--event-max) does not fit any more: make room';
    return { name, state: 'warn', detail, advice };
  }
  return { name, state: 'ok', detail };
}

/** Whether what arrives there can become a payload (K19), and what has stayed there. None: it will be made with the store. */
async function checkSpool(
  { store, spool }: PayloadPlaces,
  { scratch, isOwned }: { readonly scratch: string; readonly isOwned: boolean },
): Promise<readonly Check[]> {
  const name = 'payload spool';
  let fault: unknown;
  try {
    await stat(spool);
    fault = await moveFault(spool, scratch);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    fault = error;
  }
  if (fault !== undefined) {
    const detail = `no file can be moved from ${spool} to ${store} (${messageOf(fault)})`;
    const advice =
      'large events would be refused: both have to be one mount, and may be written by the user that knear runs as';
    return [{ name, state: 'FAIL', detail, advice }];
  }
  const { count, bytes } = await filesIn(spool);
  if (count === 0) return [{ name, state: 'ok', detail: 'is on one mount with the payloads' }];
  const files = `${count} ${count === 1 ? 'file' : 'files'}, ${fileSizeText(bytes)}`;
  if (isOwned) return [{ name, state: 'ok', detail: `${files}, of what is arriving` }];
  const advice = 'the next start of knear removes them';
  return [{ name, state: 'warn', detail: `${files}, left by a knear that was killed`, advice }];
}

/** Two mounts of one disk look alike and are not: only moving something tells. */
async function moveFault(spool: string, scratch: string): Promise<unknown> {
  const from = await mkdtemp(join(spool, '_doctor-'));
  try {
    await writeFile(join(from, 'file'), '');
    await rename(join(from, 'file'), join(scratch, 'file'));
    return undefined;
  } catch (error) {
    return error;
  } finally {
    await rm(from, { recursive: true, force: true });
  }
}

async function filesIn(spool: string): Promise<{ count: number; bytes: number }> {
  const sum = { count: 0, bytes: 0 };
  for (const name of await readdir(spool)) {
    // It may be arriving, and be gone by now.
    const found = await lstat(join(spool, name)).catch(() => undefined);
    if (!found?.isFile()) continue;
    sum.count += 1;
    sum.bytes += found.size;
  }
  return sum;
}

/** K45, as far as it can be told from outside. */
async function checkIdentity({ data, nats }: Settings, { store }: PayloadPlaces): Promise<Check> {
  const name = 'payload owner';
  const [isKnown, isLog] = await Promise.all([
    isThere(join(store, '_identity')),
    // One in NATS is not here; serve finds out whether it is the right one.
    nats !== undefined || isThere(join(data, 'log')),
  ]);
  const hasPayloads = await hasAny(store);
  if (!isKnown && hasPayloads) {
    const detail = `nothing says whose the payloads in ${store} are`;
    const advice =
      'the file _identity is missing: restore it with them; until then nothing is swept (KNEAR_PAYLOAD_FOREIGN)';
    return { name, state: 'warn', detail, advice };
  }
  if (isKnown && !isLog) {
    const detail = `the payloads in ${store} belong to a log that is not there`;
    const advice = hasPayloads
      ? 'restore both from one backup; a new log would not sweep them (KNEAR_PAYLOAD_FOREIGN)'
      : 'remove the empty folder: a new log would not sweep it (KNEAR_PAYLOAD_FOREIGN)';
    return { name, state: 'warn', detail, advice };
  }
  const detail = isKnown ? 'the payloads have a log' : 'there are no payloads yet';
  return { name, state: 'ok', detail };
}

async function hasAny(store: string): Promise<boolean> {
  for (const tenant of (await readdir(store)).filter(isTenant)) {
    const hours = await readdir(join(store, tenant)).catch(() => []);
    if (hours.some(isHour)) return true;
  }
  return false;
}

async function isThere(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    () => false,
  );
}
