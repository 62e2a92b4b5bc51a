/**
 * What every event log does, as tests: each sentence of `core/ports/event-log.ts` is at least one of them. An adapter calls
 * `describeEventLog` with a way to open itself (`docs/add-a-log.md` tells how) and has to pass all of it; what its
 * `supports` says it cannot do is left out.
 *
 * The suite uses the port alone. It never sleeps and never races: what must come is awaited, what must not come is looked
 * for once the log is `quiet`. Where time cannot be held, a test that fails because the machine stood still is run again
 * (`timely.ts`).
 */
import { describe } from '@jest/globals';

import type { EventLog, Lag, LogSupports, Match } from '../../core/ports/event-log.ts';
import { describeAppends } from './event-log/appends.ts';
import { describeClose } from './event-log/close.ts';
import { describeDrop } from './event-log/drop.ts';
import { describeLeases } from './event-log/leases.ts';
import { describeElsewhere } from './event-log/elsewhere.ts';
import { describeOutputs } from './event-log/outputs.ts';
import { describeParking } from './event-log/parking.ts';
import { describePulls } from './event-log/pulls.ts';
import { describeRestart } from './event-log/restart.ts';
import { describeSettles } from './event-log/settles.ts';

export interface LogAdapter {
  readonly name: string;
  /** What the log will say of itself; tests of what it does not promise are left out. */
  readonly supports: LogSupports;
  /** May the log hand events over before they are durable (L2)? It has to pass either way. */
  readonly isEarly: boolean;
  /** Has something that outlives a log, so that `restart` makes sense. */
  readonly hasRestart: boolean;
  /**
   * The log is one process' part of one that several share. Left out is what such a part cannot know: that another process drops
   * an egress, and what egresses want that are not named here any more.
   */
  readonly isShared?: boolean;
  /** Opens an empty log. */
  open(options: OpenOptions): Promise<OpenLog>;
}

export interface OpenOptions {
  /** Names egresses that the suite has prepared, for the ingresses `orders` and `replies`. */
  readonly match: Match;
  /** The bound on parked entries of one egress. */
  readonly parkedMax?: number;
  readonly parkedBytesMax?: number;
}

export interface OpenLog {
  /** The log as it is now; another one after `restart`. */
  readonly log: EventLog;
  /** Wall time of the log's clock, Unix ms. */
  nowMs(): number;
  /** Leases and timers see that much time pass, a little more at most. */
  skip(ms: number): Promise<void>;
  /**
   * Ms of the log's clock that have passed since it was opened and should not have, because the machine or a server stood still or
   * was slow. Absent where that cannot be: time moves as `skip` says.
   */
  lateMs?(): Promise<number>;
  /** What waits for each egress, where the log itself learns that later. Absent: its own numbers are right at once. */
  count?(): Promise<ReadonlyMap<string, Lag>>;
  /** Resolves when nothing moves any more: what can be offered would be, what is settled is flushed. */
  quiet(): Promise<void>;
  /** Closes the log and opens it again over what it left. Called only where `hasRestart`. */
  restart(): Promise<void>;
  /** Closes the log, whatever state it is in, and gives back what the adapter set up for it. */
  close(): Promise<void>;
}

export function describeEventLog(adapter: LogAdapter): void {
  describe(`event log: ${adapter.name}`, () => {
    describeAppends(adapter);
    describePulls(adapter);
    describeSettles(adapter);
    describeOutputs(adapter);
    describeElsewhere(adapter);
    describeLeases(adapter);
    describeParking(adapter);
    describeDrop(adapter);
    describeRestart(adapter);
    describeClose(adapter);
  });
}
