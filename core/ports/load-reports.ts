/** What dispatchers of several processes tell each other of how busy they are: often, briefly, and nobody waits for it. */
import type { PlaceLoad } from '../rules/cost.ts';

export interface LoadReport {
  /** Of the process, as `Instance.id` has it. */
  readonly instanceId: string;
  /** When the next one comes at the latest: three times as late, it is not counted on any more. */
  readonly everyMs: number;
  /** By the number of its place, what it does there for each egress. Those that are not named do nothing. */
  readonly places: readonly (readonly LoadLine[])[];
}

export interface LoadLine extends PlaceLoad {
  readonly egressId: string;
  /** What waits in the log, as far as is known there. */
  readonly backlog: number;
}

export interface LoadReports {
  tell(report: LoadReport): void;
  /** @param take is given what others tell from now on */
  listen(take: (report: LoadReport) => void): void;
}
