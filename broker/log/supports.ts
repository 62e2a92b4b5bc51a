/** What the embedded log promises, whatever store it is on. */
import type { LogSupports } from '../../core/ports/event-log.ts';

export function embeddedSupports(durability: LogSupports['durability']): LogSupports {
  return {
    durability,
    ordered: true,
    delayed: true,
    history: false,
    keepsLeases: false,
    recordMaxBytes: RECORD_MAX_BYTES,
  };
}

/** A record is a value of the store, and in memory as a whole for a moment. No setting allows as much. */
export const RECORD_MAX_BYTES = 64 * 1024 * 1024;
