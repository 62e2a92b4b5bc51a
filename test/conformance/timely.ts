/**
 * Tests with the premise that time is kept. What a test does before a lease ends has to happen before it ends: with a server whose
 * time nobody can hold, that is up to the machine. One that stands still for a second lets the lease lapse, and the log is right.
 *
 * So a body that fails is run again on a fresh log if things were late meanwhile, and only then. No bug passes by that:
 * - a test passes when one run of its whole body does; no run is shorter or easier than another.
 * - When time was kept, the first failure counts.
 * - When it never is, the test fails, and says why.
 *
 * What remains: a bug that shows now and then can hide in a run that was late. Each such run is told, so that one who sees the same
 * test again and again on a machine at rest knows where to look.
 */
import { expect, test } from '@jest/globals';

export interface Timekeeping {
  /**
   * By how much what was done with the log took longer than it should, because the machine or the server stood still or was
   * slow; all of it since the log was opened, ms of the log's clock.
   */
  lateMs(): Promise<number>;
  /** Puts a fresh log in the place of the one that was used. */
  anew(): Promise<void>;
}

/** `test` of Jest, for bodies that are run with `timely`. */
export interface TimelyTest {
  (name: string, body: () => unknown): void;
  skip(name: string, body: () => unknown): void;
  each<Row extends Record<string, unknown>>(
    rows: readonly Row[],
  ): (name: string, body: (row: Row) => unknown) => void;
}

/**
 * Half of what tests leave at least between what they do and the end of a lease: `LATE_MS` of leases.ts is 4 s, of which looking
 * takes up to two on a server. Where less was late, that is not the reason.
 */
const BEARABLE_MS = 1_000;
/** A machine that stands still every few seconds leaves most runs alone: five in a row are no accident. */
const RUNS_MAX = 5;
/** The longest body skips 120 s of the log, which are 6 s of a server: all of its runs, and room for what made them necessary. */
const TEST_MAX_MS = 60_000;

export function timelyTest(time: Timekeeping): TimelyTest {
  const run = (body: () => unknown) => timely(body, { ...time, onLate: tell });
  return Object.assign(
    (name: string, body: () => unknown) => {
      test(name, () => run(body), TEST_MAX_MS);
    },
    {
      skip: (name: string, body: () => unknown) => {
        test.skip(name, () => run(body));
      },
      each:
        <Row extends Record<string, unknown>>(rows: readonly Row[]) =>
        (name: string, body: (row: Row) => unknown) => {
          test.each<Row>(rows)(name, (row) => run(() => body(row)), TEST_MAX_MS);
        },
    },
  );
}

function tell(lateMs: number): void {
  const { currentTestName = '' } = expect.getState();
  const late = `${String(Math.round(lateMs))} ms of the log late`;
  process.stderr.write(`run again, since it failed when things were ${late}: ${currentTestName}\n`);
}

/**
 * Runs the body, again as long as it fails and things were late.
 * @throws what the body throws when they were not; after five runs an error whose cause that is
 */
export async function timely(
  body: () => unknown,
  { lateMs, anew, onLate }: Timekeeping & { readonly onLate?: (lateMs: number) => void },
): Promise<void> {
  for (let run = 1; ; run += 1) {
    try {
      await body();
      return;
    } catch (error) {
      const late = await lateMs();
      if (late <= BEARABLE_MS) throw error;
      if (run === RUNS_MAX) throw lateEachTime(error);
      onLate?.(late);
      await anew();
    }
  }
}

function lateEachTime(cause: unknown): Error {
  const last = cause instanceof Error ? cause.message : String(cause);
  return new Error(
    `failed ${String(RUNS_MAX)} times, and each time the machine or the server had stood still or been slow: either there is ` +
      `no time here for this test, or a bug; the last failure was: ${last}`,
    { cause },
  );
}
