/**
 * What every payload store does, as tests: each sentence of `core/ports/payload-store.ts` is at least one of them. An
 * adapter calls `describePayloadStore` with a way to open itself (`docs/add-a-payload-store.md` tells how) and has to pass
 * all of it. The suite uses the port alone, and never sleeps.
 */
import { describe } from '@jest/globals';

import type { PayloadStore } from '../../core/ports/payload-store.ts';
import { describeKeeping } from './payload-store/keeping.ts';
import { describeListing } from './payload-store/listing.ts';
import { describeReading } from './payload-store/reading.ts';

export interface PayloadStoreAdapter {
  readonly name: string;
  /** Has something that outlives a store, so that `restart` makes sense. */
  readonly hasRestart: boolean;
  /** Opens an empty store. */
  open(): Promise<OpenPayloadStore>;
}

export interface OpenPayloadStore {
  /** The store as it is now; another one after `restart`. */
  readonly store: PayloadStore;
  /** An empty folder for spool files, as near to the store as it wants them. */
  readonly spoolFolder: string;
  /** Closes the store and opens it again over what it left. Called only where `hasRestart`. */
  restart(): Promise<void>;
  /** Closes the store, and gives back what the adapter set up for it. */
  close(): Promise<void>;
}

export function describePayloadStore(adapter: PayloadStoreAdapter): void {
  describe(`payload store: ${adapter.name}`, () => {
    describeKeeping(adapter);
    describeReading(adapter);
    describeListing(adapter);
  });
}
