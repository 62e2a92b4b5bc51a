/** A log whose pulls somebody looks at, or interferes with; everything else is the log's own. */
import type { Delivery, EventLog } from '../../core/ports/event-log.ts';

export type Pull = EventLog['pull'];

/** @param pull stands in for the log's own, which it gets as its first argument. */
export function withPull(
  log: EventLog,
  pull: (own: Pull, ...call: Parameters<Pull>) => Promise<Delivery[]>,
): EventLog {
  return {
    supports: log.supports,
    get state() {
      return log.state;
    },
    get usage() {
      return log.usage;
    },
    prepare: (interests) => log.prepare(interests),
    append: (ingressId, events) => log.append(ingressId, events),
    pull: (...call) => pull((...own) => log.pull(...own), ...call),
    lag: (egressId) => log.lag(egressId),
    egressIds: () => log.egressIds(),
    drop: (egressId) => log.drop(egressId),
    parked: (egressId, options) => log.parked(egressId, options),
    replay: (egressId, positions) => log.replay(egressId, positions),
    dropParked: (egressId, positions) => log.dropParked(egressId, positions),
    close: () => log.close(),
  };
}
