/** The log on LMDB passes the suite of all event logs, on a real disk. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { LmdbStore } from '../../broker/log/lmdb.ts';
import { describeEventLog } from '../conformance/event-log.ts';
import { openGroupedLog } from './log-adapter.ts';

describeEventLog({
  name: 'LMDB',
  supports: {
    durability: 'machine',
    ordered: true,
    delayed: true,
    history: false,
    keepsLeases: false,
    recordMaxBytes: 64 * 1024 * 1024,
  },
  isEarly: true,
  hasRestart: true,
  open: async (options) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'knear-log-'));
    const stores = {
      open: (clock: Parameters<typeof LmdbStore.open>[0]['clock']) =>
        LmdbStore.open({ folder, clock }),
      remove: () => rm(folder, { recursive: true, force: true }),
    };
    return openGroupedLog(stores, options);
  },
});
