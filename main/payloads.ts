/** Opens what keeps large payloads: the spool and the store, in the data folder beside the log. */
import { statfs } from 'node:fs/promises';

import type { Logger } from 'pino';

import { FilePayloadStore } from '../broker/payload/file-store.ts';
import { PayloadKeeper } from '../broker/payload/payloads.ts';
import { Spool } from '../broker/payload/spool.ts';
import type { ClaimLedger } from '../core/ports/claims.ts';
import type { Clock } from '../core/ports/time.ts';
import { payloadFreeMinBytesOf, payloadPlacesOf } from './payload-places.ts';
import type { Settings } from './settings.ts';
import { openSweeper } from './young-garbage.ts';

/** @throws KNEAR_PAYLOAD_STORE_AWAY, KNEAR_PAYLOAD_STORE_DENIED, KNEAR_PAYLOAD_STORE_FULL */
export async function openPayloads(
  settings: Settings,
  {
    clock,
    logger,
    ledger,
  }: { readonly clock: Clock; readonly logger: Logger; readonly ledger: () => ClaimLedger },
): Promise<PayloadKeeper> {
  const places = payloadPlacesOf(settings);
  const store = await FilePayloadStore.open({ folder: places.store, clock });
  // Of the disk that they are on, which may be a mount of its own.
  const disk = await statfs(places.store);
  const limits = {
    bytesMax: settings.claimCheckSpoolMaxBytes,
    freeMinBytes: payloadFreeMinBytesOf(settings, disk),
  };
  const spool = await Spool.open({ folder: places.spool, limits, clock });
  return new PayloadKeeper({
    store,
    spool,
    ledger,
    clock,
    limits: {
      uploadsMax: settings.claimCheckUploadsMax,
      cacheMaxBytes: settings.claimCheckCacheMaxBytes,
      collectIntervalMs: settings.claimCheckCollectIntervalMs,
      isDryRun: settings.claimCheckDryRun,
    },
    onPassed: openSweeper(),
    onFault: (error, payload) => {
      logger.error({ err: error, payload }, 'a payload is not as it should be');
    },
    onTrouble: (trouble) => {
      if (trouble) {
        const { code, message } = trouble;
        logger.error({ code }, `the payload store refuses: ${message}`);
      } else {
        logger.info('the payload store works again');
      }
    },
  });
}
