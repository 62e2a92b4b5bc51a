/** The payload store in memory passes the suite of all payload stores. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { MemoryPayloadStore } from '../../broker/payload/memory-store.ts';
import { systemClock } from '../../main/time.ts';
import { describePayloadStore } from '../conformance/payload-store.ts';

describePayloadStore({
  name: 'memory',
  hasRestart: false,
  open: async () => {
    const spoolFolder = await mkdtemp(path.join(tmpdir(), 'knear-spool-'));
    const store = new MemoryPayloadStore({ clock: systemClock });
    return {
      store,
      spoolFolder,
      restart: () => Promise.reject(new Error('nothing outlives it')),
      close: async () => {
        await store.close();
        await rm(spoolFolder, { recursive: true, force: true });
      },
    };
  },
});
