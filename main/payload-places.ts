/** Where payloads are, and how much room they leave: what serve opens and doctor looks at. */
import path from 'node:path';

import { tokenOf } from '../broker/log/jetstream/names.ts';
import { reserveBytesOf } from './reserve.ts';
import type { Settings } from './settings.ts';

export interface PayloadPlaces {
  readonly store: string;
  /** Of what is still arriving. Below the store, so that both are on one mount (K19). */
  readonly spool: string;
}

export function payloadPlacesOf({
  data,
  claimCheckFolder,
}: Pick<Settings, 'data' | 'claimCheckFolder'>): PayloadPlaces {
  // No namespace begins like this.
  if (claimCheckFolder === undefined) {
    const store = path.join(data, 'payloads');
    return { store, spool: path.join(store, '_tmp') };
  }
  // Each process empties its own spool at its start.
  return { store: claimCheckFolder, spool: path.join(claimCheckFolder, `_tmp-${tokenOf(data)}`) };
}

/** Space for payloads ends a twentieth of the disk before that of the log, or what the settings say if that is more. */
const FREE_SHARE = 0.05;

/** @param disk as `statfs` tells of it */
export function payloadFreeMinBytesOf(
  settings: Pick<Settings, 'logReserveBytes' | 'claimCheckFreeMinBytes'>,
  disk: { readonly blocks: number; readonly bsize: number },
): number {
  const ownBytes = Math.max(settings.claimCheckFreeMinBytes, disk.blocks * disk.bsize * FREE_SHARE);
  return reserveBytesOf(settings, disk) + ownBytes;
}
