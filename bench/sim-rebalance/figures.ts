/** A run in a few figures. Pure. */
import { median, percentile, sorted } from '../statistics.ts';
import type { History } from './contract.ts';
import type { Scenario } from './scenarios.ts';

export interface Figures {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  /** Of events that were placed: done where they were; and those that went through the log, wherever they were done. */
  readonly localShare: number;
  readonly loggedShare: number;
  readonly movesPerThousand: number;
  readonly movedMbPerWorkflow: number;
  /** Of the capacity of all pods, for receiving; with pulls, for waiting for the data as well. */
  readonly movingShare: number;
  /** Busiest pod / mean. */
  readonly imbalance: number;
  /**
   * Lowest autocorrelation of a pod's requests in flight, over one to five reports: far below 0 is to and fro.
   * NaN: too few reports to tell.
   */
  readonly swing: number;
  /** After a step: until p99 is what it was; NaN: never, or there is no step. */
  readonly backAfterMs: number;
}

export function figuresOf(history: History, step: Scenario['step']): Figures {
  const { setup, latencyMs, placed, moved, logged, workflows, busyMs } = history;
  const order = sorted(latencyMs);
  return {
    p50Ms: percentile(order, 0.5),
    p99Ms: percentile(order, 0.99),
    p999Ms: percentile(order, 0.999),
    localShare: placed > 0 ? 1 - moved / placed : 1,
    loggedShare: placed > 0 ? logged / placed : 0,
    movesPerThousand: placed > 0 ? (1_000 * moved) / placed : 0,
    movedMbPerWorkflow: history.movedBytes / 1e6 / workflows,
    movingShare: history.movingMs / (setup.pods * setup.slots * history.endedMs),
    imbalance: Math.max(...busyMs) / meanOf(busyMs),
    swing: swingOf(history.inFlight),
    backAfterMs: step ? backAfterMs(history, step) : NaN,
  };
}

/** Of several seeds, each figure on its own. */
export function medianOf(runs: readonly Figures[]): Figures {
  const of = (figure: keyof Figures) => median(runs.map((run) => run[figure]));
  return {
    p50Ms: of('p50Ms'),
    p99Ms: of('p99Ms'),
    p999Ms: of('p999Ms'),
    localShare: of('localShare'),
    loggedShare: of('loggedShare'),
    movesPerThousand: of('movesPerThousand'),
    movedMbPerWorkflow: of('movedMbPerWorkflow'),
    movingShare: of('movingShare'),
    imbalance: of('imbalance'),
    swing: of('swing'),
    // One seed in which it never came back is not hidden by the others.
    backAfterMs: runs.some(({ backAfterMs: ms }) => Number.isNaN(ms)) ? NaN : of('backAfterMs'),
  };
}

/** Some 500 workflows at a load of 0.6, so that a p99 is one of several. */
const WINDOW_MS = 500;
/** A window's p99 is at the level up to this multiple of the one before the step; three windows in a row are needed. */
const SAME_LEVEL = 1.5;
const BACK_WINDOWS = 3;

function backAfterMs(
  { setup, bornMs, latencyMs }: History,
  { upMs, downMs }: { readonly upMs: number; readonly downMs: number },
): number {
  const between = (fromMs: number, toMs: number) =>
    latencyMs.filter((_, index) => isIn(bornMs[index], fromMs, toMs));
  const level = percentile(sorted(between(setup.warmMs, upMs)), 0.99);
  let good = 0;
  for (let fromMs = downMs; fromMs + WINDOW_MS <= setup.lastMs; fromMs += WINDOW_MS) {
    const isBack =
      percentile(sorted(between(fromMs, fromMs + WINDOW_MS)), 0.99) <= SAME_LEVEL * level;
    good = isBack ? good + 1 : 0;
    if (good === BACK_WINDOWS) return fromMs - (BACK_WINDOWS - 1) * WINDOW_MS - downMs;
  }
  return NaN;
}

function isIn(value: number | undefined, from: number, to: number): boolean {
  return value !== undefined && value >= from && value < to;
}

/** Fewer readings correlate by chance. */
const READINGS_MIN = 50;

function swingOf(inFlight: History['inFlight']): number {
  if (inFlight.some(({ length }) => length < READINGS_MIN)) return NaN;
  const lags = [1, 2, 3, 4, 5];
  return Math.min(...lags.map((lag) => meanOf(inFlight.map((each) => correlation(each, lag)))));
}

/** 1: the same again after `lag`; 0: has nothing to do with it; below: the opposite. */
function correlation(values: readonly number[], lag: number): number {
  const mean = meanOf(values);
  const off = values.map((value) => value - mean);
  const variance = meanOf(off.map((value) => value * value));
  if (variance === 0) return 0;
  return meanOf(off.slice(lag).map((value, index) => value * (off[index] ?? 0))) / variance;
}

function meanOf(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}
