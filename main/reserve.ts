/** How much of the disk stays free, so that what was taken can still be settled. */
import type { Settings } from './settings.ts';

/** The disk keeps a twentieth free, or what the settings say, whichever is more. */
const RESERVE_SHARE = 0.05;

/** @param disk as `statfs` tells of it */
export function reserveBytesOf(
  { logReserveBytes }: Pick<Settings, 'logReserveBytes'>,
  { blocks, bsize }: { readonly blocks: number; readonly bsize: number },
): number {
  return Math.max(logReserveBytes, blocks * bsize * RESERVE_SHARE);
}
