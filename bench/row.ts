/** A row of the report: what one path reached, beside its floors. Data only. */
import type { EngineName } from './engine.ts';
import type { Backlog } from './journey.ts';
import type { Spread } from './statistics.ts';
import type { RowId } from './targets.ts';

export interface Row {
  readonly id: RowId;
  readonly title: string;
  /** What a 2xx promised on this path; absent: what the engine promises. */
  readonly durability?: string;
  /** Filled in for the report. */
  readonly engine?: EngineName;
  /** ev/s, deliveries/s, ms or the like; all figures of a row have this unit. */
  readonly unit: string;
  readonly measured: Spread;
  readonly direct?: Spread;
  readonly relay?: Spread;
  /** How many times better `multipleOf` is, from figures of the same round. */
  readonly multiple?: Spread;
  readonly multipleOf?: string;
  /** Of a row about local hops: the same without them, and how the row's own figure relates to it, within a round. */
  readonly hopsOff?: { readonly measured: Spread; readonly ratio: Spread };
  readonly costs?: Costs;
  readonly backlog?: Backlog;
  /** Promised deliveries that never came, over all rounds. Anything but 0 is a bug. */
  readonly lost: number;
  /** Cores that other programs used meanwhile, in the worst measurement. */
  readonly foreignCores: number;
  /** What else a reader must know to judge the row: refusals, duplicates, p99. */
  readonly notes: readonly string[];
}

/** Of the program under test, worst round. */
export interface Costs {
  readonly cpuUsPerEvent: Spread;
  readonly anonMb: number;
}

/** A row that could not be measured is a row, too: it must not vanish from the report. */
export interface FailedRow {
  readonly title: string;
  readonly reason: string;
}

/** Measures one row and reports it, or reports that it could not be measured; never rejects. */
export type Attempt = (title: string, measure: () => Row | Promise<Row>) => Promise<void>;
