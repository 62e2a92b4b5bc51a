/** What the model, the policies and the figures tell each other. Times are ms, sizes bytes; pods go by their index. */
import type { Random } from '../../core/ports/time.ts';
import type { Link, PlaceLoad } from '../../core/rules/cost.ts';

export interface Setup {
  readonly pods: number;
  readonly slots: number;
  readonly steps: number;
  /** The last step is done for so many events, which the step before answers with at once. */
  readonly fanOut: number;
  /** Mean of a log-normal distribution, and its sigma. */
  readonly serviceMs: number;
  readonly sigma: number;
  /** Of a workflow, all along; shares add up to 1. */
  readonly sizes: readonly { readonly bytes: number; readonly share: number }[];
  /** Share of the capacity that arrives, at that time. */
  load(atMs: number): number;
  /** Half of the pods get so many times the mean of arrivals. Every `hotMs` that half moves on. */
  readonly skew: number;
  readonly hotMs: number;
  /** Of the first pod; the others have 1. */
  readonly firstSpeed: number;
  readonly roundTripMs: number;
  readonly linkByteMs: number;
  /** What receiving takes of the receiver's slot. */
  readonly receiveMs: number;
  readonly copyByteMs: number;
  readonly reportMs: number;
  /** Through the log, an append and an offer. */
  readonly logMs: number;
  /** The policy places arrivals, too; else they are done where they arrive. */
  readonly placesArrivals: boolean;
  /** Nothing arrives after that; what has arrived is done. Nothing before `warmMs` counts as latency. */
  readonly lastMs: number;
  readonly warmMs: number;
}

/** What a policy is asked about. */
export interface Placed {
  /** Where it is. */
  readonly at: number;
  readonly bytes: number;
  /** Others come from the same answer. */
  readonly isFanOut: boolean;
}

/** What a pod knows. */
export interface View {
  readonly setup: Setup;
  readonly nowMs: number;
  readonly random: Random;
  /** What an event weighs, as a rule. */
  readonly usualBytes: number;
  /** Of itself: as it is. Of others: as last reported, and what it has sent there since. */
  load(of: number, seenBy: number): PlaceLoad;
  /** From a pod to any other. */
  link(from: number): Link;
  freeSlots(pod: number): number;
  waiting(pod: number): number;
  /** In the log, near to that pod; the size of the first there, and for how long it has been. */
  backlog(pod: number): number;
  firstBytes(pod: number): number;
  behindMs(pod: number): number;
}

export interface Policy {
  /** Where it goes on: a pod, or the log. */
  place(event: Placed, view: View): number | 'log';
  /** From whose log a pod with a free slot takes; `undefined`: from none. */
  pullFrom?(pod: number, view: View): number | undefined;
  /** How often a pod with a free slot looks again. */
  readonly lookMs?: number;
}

/** What happened, for `figures.ts`. */
export interface History {
  readonly setup: Setup;
  /** Of each workflow that counts: when it arrived, and how long it took. */
  readonly bornMs: readonly number[];
  readonly latencyMs: readonly number[];
  readonly workflows: number;
  /** Events that were placed; of these, how many were done elsewhere, how many went through the log. */
  readonly placed: number;
  readonly moved: number;
  readonly logged: number;
  readonly movedBytes: number;
  /** Of slots, for moving: receiving, and where a slot is held for it, the way. */
  readonly movingMs: number;
  /** Of slots, for each pod. */
  readonly busyMs: readonly number[];
  /** For each pod, in flight at each report. */
  readonly inFlight: readonly (readonly number[])[];
  /** When the last of them was done. */
  readonly endedMs: number;
}
