/** Twenty kills, as many as a run in CI has time for; `node test/kill/run.ts --kills 200` is the long form. */
import { expect, test } from '@jest/globals';
import type { Engine } from '../e2e/engine.ts';
import { isGood, lineOf, runKillTest } from './kill.ts';

const KILLS = 20;
/** It takes 40 s alone on two cores. */
const LIMIT_MS = 170_000;
/** One round of large events at least, which has one of 20 MB. */
const LARGE_MIN = 8;
const LARGE_MIN_BYTES = 20_000_000;

export function testTwentyKills(engine: Engine['name']): void {
  test(
    'nothing that was acknowledged is lost over twenty kills',
    async () => {
      const seed = Date.now() % 1_000_000;
      console.log(`kill test: ${engine}, ${String(KILLS)} kills, seed ${String(seed)}`);
      const report = await runKillTest({ engine, kills: KILLS, seed, limitMs: LIMIT_MS });
      console.log(lineOf(report));
      expect(report).toMatchObject({ lost: [], outOfOrder: [], torn: [], faults: [] });
      expect(isGood(report)).toBe(true);
      // The run has tried what it is about.
      expect(report.acknowledged).toBeGreaterThan(KILLS * 10);
      expect(report.large).toBeGreaterThan(LARGE_MIN);
      expect(report.largeBytes).toBeGreaterThan(LARGE_MIN_BYTES);
      expect(report.deadLettered).toBeGreaterThan(0);
      expect(report.parked).toBeGreaterThan(0);
    },
    LIMIT_MS + 10_000,
  );
}
