/** The log in memory passes the suite of all event logs, whether it hands events over early or not. */
import { MemoryStore } from '../../broker/log/memory.ts';
import { describeEventLog } from '../conformance/event-log.ts';
import { openGroupedLog } from './log-adapter.ts';

for (const isEarly of [true, false]) {
  describeEventLog({
    name: `memory, ${isEarly ? 'early' : 'held'}`,
    supports: {
      durability: 'none',
      ordered: true,
      delayed: true,
      history: false,
      keepsLeases: false,
      recordMaxBytes: 64 * 1024 * 1024,
    },
    isEarly,
    // The tables outlive the log here, as a disk would.
    hasRestart: true,
    open: (options) => {
      const store = new MemoryStore();
      return openGroupedLog({ open: async () => store, remove: async () => undefined }, options);
    },
  });
}
