/** What goes wrong, as probabilities. All zero: a world in which everything must settle. */

export interface Faults {
  /** Of one commit: it is rejected and nothing of it is there. */
  readonly commitFails: number;
  /** Longest commit, ms. */
  readonly commitMaxMs: number;
  /** Of one attempt, each: answers an error; breaks the connection; says nothing until the timeout; answers nonsense. */
  readonly rejects: number;
  readonly resets: number;
  readonly hangs: number;
  readonly nonsense: number;
  /** Of one attempt: the answer takes seconds instead of milliseconds. */
  readonly slow: number;
  /** A second, each: the process is killed; is frozen for up to half a minute; its wall clock jumps by up to an hour. */
  readonly kills: number;
  readonly freezes: number;
  readonly jumps: number;
  /** A second: the process is stopped in good order, and another one starts. */
  readonly stops: number;
  /** A second: a resource is edited, paused, deleted or created. */
  readonly edits: number;
  /** Of one payload that is put; removed: the store says that it could not. */
  readonly putFails: number;
  readonly removalFails: number;
  /** Of one payload: it is lost or altered, at once or soon. */
  readonly losses: number;
  /** A second: the payload store is away for up to ten seconds. */
  readonly storeLeaves: number;
  /** A second: somebody has the data of an event taken away. */
  readonly redactions: number;
}

export const NO_FAULTS: Faults = {
  commitFails: 0,
  commitMaxMs: 1,
  rejects: 0,
  resets: 0,
  hangs: 0,
  nonsense: 0,
  slow: 0,
  kills: 0,
  freezes: 0,
  jumps: 0,
  stops: 0,
  edits: 0,
  putFails: 0,
  removalFails: 0,
  losses: 0,
  storeLeaves: 0,
  redactions: 0,
};
