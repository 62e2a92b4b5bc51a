import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { figuresOf, medianOf } from '../../bench/sim-rebalance/figures.ts';
import type { History } from '../../bench/sim-rebalance/contract.ts';
import { parseOptions } from '../../bench/sim-rebalance/options.ts';
import { SCENARIOS } from '../../bench/sim-rebalance/scenarios.ts';

/** Two pods for 100 ms, 800 ms of slots in all. */
function history(more: Partial<History> = {}): History {
  return {
    setup: setupOf(2),
    bornMs: [0, 1, 2, 3],
    latencyMs: [40, 10, 30, 20],
    workflows: 4,
    placed: 16,
    moved: 4,
    logged: 8,
    movedBytes: 2e6,
    movingMs: 40,
    busyMs: [300, 100],
    inFlight: [[], []],
    endedMs: 100,
    ...more,
  };
}

function setupOf(pods: number) {
  const usual = SCENARIOS[0]?.setup;
  if (!usual) throw new Error('there are no scenarios');
  return { ...usual, pods, slots: 4, warmMs: 0 };
}

test('figures are those of the run', () => {
  expect(figuresOf(history(), undefined)).toEqual({
    p50Ms: 20,
    p99Ms: 40,
    p999Ms: 40,
    localShare: 0.75,
    loggedShare: 0.5,
    movesPerThousand: 250,
    movedMbPerWorkflow: 0.5,
    movingShare: 0.05,
    imbalance: 1.5,
    swing: NaN,
    backAfterMs: NaN,
  });
});

test('of several seeds, each figure is the median', () => {
  const runs = [10, 30, 20].map((ms) => figuresOf(history({ latencyMs: [ms] }), undefined));
  expect(medianOf(runs).p99Ms).toBe(20);
});

describe('to and fro', () => {
  test.each([
    { name: 'is seen where it turns with each report', cycle: [0, 9], least: -1.1, most: -0.9 },
    { name: 'is seen where it turns slower', cycle: [0, 0, 9, 9], least: -1.1, most: -0.9 },
    { name: 'is none where nothing changes', cycle: [5], least: 0, most: 0 },
    {
      name: 'is none where it only grows slowly',
      cycle: Array.from({ length: 60 }, (_, index) => index),
      least: 0.5,
      most: 1,
    },
  ])('$name', ({ cycle, least, most }) => {
    const values = Array.from({ length: 60 }, (_, index) => cycle[index % cycle.length] ?? NaN);
    const { swing } = figuresOf(history({ inFlight: [values, values] }), undefined);
    expect(swing).toBeGreaterThanOrEqual(least);
    expect(swing).toBeLessThanOrEqual(most);
  });
});

describe('after a step from 2 s to 3 s', () => {
  /** One workflow each 10 ms, slow while `isSlow`. */
  const backAfterMs = (isSlow: (atMs: number) => boolean) => {
    const bornMs = Array.from({ length: 800 }, (_, index) => index * 10);
    const latencyMs = bornMs.map((atMs) => (isSlow(atMs) ? 90 : 50));
    const setup = { ...setupOf(2), lastMs: 8_000 };
    return figuresOf(history({ setup, bornMs, latencyMs }), { upMs: 2_000, downMs: 3_000 })
      .backAfterMs;
  };

  test.each([
    { name: 'p99 is back at once where it never left', isSlow: () => false, ms: 0 },
    {
      name: 'it is back with the first window that is as before',
      isSlow: between(2_000, 4_200),
      ms: 1_500,
    },
    {
      name: 'a good window alone is not enough',
      isSlow: (atMs: number) => between(2_000, 4_000)(atMs) || between(4_600, 4_700)(atMs),
      ms: 2_000,
    },
    { name: 'it never is', isSlow: between(2_000, 9_000), ms: NaN },
  ])('$name', ({ isSlow, ms }) => {
    expect(backAfterMs(isSlow)).toBe(ms);
  });

  test('a seed in which it never was back is told', () => {
    const [back, never] = [1_000, NaN].map((ms) => ({
      ...figuresOf(history(), undefined),
      backAfterMs: ms,
    }));
    if (!back || !never) throw new Error('two runs');
    expect(medianOf([back, back, back]).backAfterMs).toBe(1_000);
    expect(medianOf([back, never, back]).backAfterMs).toBeNaN();
  });
});

describe('the command line', () => {
  test('runs every scenario three times by default', () => {
    expect(parseOptions([], 'out')).toEqual({ seeds: 3, scenarios: SCENARIOS, out: 'out' });
  });

  test('takes scenarios in any order and runs them in ours', () => {
    const { scenarios, seeds } = parseOptions(
      ['--scenarios', 'even, load-0.9', '--seeds', '5'],
      '',
    );
    expect(scenarios.map(({ id }) => id)).toEqual(['load-0.9', 'even']);
    expect(seeds).toBe(5);
  });

  test.each([
    { name: 'an unknown scenario', args: ['--scenarios', 'chaos'], says: '"chaos"' },
    { name: 'no seeds', args: ['--seeds', '0'], says: '--seeds' },
    { name: 'half a seed', args: ['--seeds', '1.5'], says: '--seeds' },
    { name: 'an unknown option', args: ['--fast'], says: '--fast' },
  ])('refuses $name and says so', ({ args, says }) => {
    expect(() => parseOptions(args, '')).toThrow(says);
  });
});

describe('the program', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'sim-rebalance-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test('leaves a table, and pictures where several loads were asked for', () => {
    const program = path.join(import.meta.dirname, '../../bench/sim-rebalance/run.ts');
    const run = (...args: string[]) =>
      execFileSync(process.execPath, [program, '--seeds', '1', '--out', folder, ...args]);
    run('--scenarios', 'even');
    expect(readdirSync(folder)).toEqual(['sim-rebalance.md']);
    run('--scenarios', 'load-0.5,load-0.6');
    expect(readdirSync(folder).toSorted()).toEqual([
      'sim-rebalance-local.svg',
      'sim-rebalance-p99.svg',
      'sim-rebalance.md',
    ]);
    const table = readFileSync(path.join(folder, 'sim-rebalance.md'), 'utf8');
    expect(table).toContain('| load 0.6 | always local |');
    const picture = readFileSync(path.join(folder, 'sim-rebalance-p99.svg'), 'utf8');
    expect(picture.match(/<polyline/g)).toHaveLength(10);
    expect(picture).not.toContain('NaN');
  }, 120_000);
});

function between(fromMs: number, toMs: number): (atMs: number) => boolean {
  return (atMs) => atMs >= fromMs && atMs < toMs;
}
