/**
 * `npm run sim-rebalance`: simulates how events are spread over pods, with the product's rules and with what people use
 * instead, and leaves a table and two pictures in bench/results/. docs/rebalancing.md tells what comes out.
 *
 * Nothing is measured here: the same seeds give the same figures on every machine. What real processes do is `npm run bench`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drawCurves, type Axis, type Panel, type Point } from './curves.ts';
import { figuresOf, medianOf, type Figures } from './figures.ts';
import { simulate } from './model.ts';
import { parseOptions, USAGE, type Options } from './options.ts';
import { POLICY_NAMES, POLICY_TITLES, policyOf, type PolicyName } from './policies.ts';
import { markdown, percent, type Result } from './report.ts';
import { idAt, LOADS, type Scenario } from './scenarios.ts';

const RESULTS = join(import.meta.dirname, '..', 'results');

const P99: Axis = {
  ticks: [50, 100, 200, 500, 1_000, 2_000],
  isLog: true,
  tell: (tick) => `${tick} ms`,
};
const SHARE: Axis = { ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], isLog: false, tell: percent };

function main(args: readonly string[]): void {
  if (args.includes('--help')) {
    console.log(USAGE);
    return;
  }
  const options = parseOptions(args, RESULTS);
  const results = options.scenarios.map((scenario) => {
    console.log(`-- ${scenario.title}`);
    return play(scenario, options);
  });
  const command = ['npm run sim-rebalance', ...(args.length > 0 ? ['--', ...args] : [])].join(' ');
  save(results, options, command);
}

function play(scenario: Scenario, { seeds }: Options): Result {
  const figures = new Map<PolicyName, Figures>();
  for (const name of POLICY_NAMES) {
    const runs = Array.from({ length: seeds }, (_, index) =>
      figuresOf(simulate(scenario.setup, policyOf(name), index + 1), scenario.step),
    );
    const each = medianOf(runs);
    figures.set(name, each);
    const { p50Ms, p99Ms, localShare, movedMbPerWorkflow } = each;
    console.log(
      `${POLICY_TITLES[name].padEnd(26)} p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(0)} ms, ` +
        `local ${percent(localShare)}, ${movedMbPerWorkflow.toFixed(2)} MB moved a workflow`,
    );
  }
  return { scenario, figures };
}

function save(results: readonly Result[], { out }: Options, command: string): void {
  mkdirSync(out, { recursive: true });
  const write = (name: string, text: string) => {
    writeFileSync(join(out, name), text);
    console.log(`written: ${join(out, name)}`);
  };
  write('sim-rebalance.md', markdown(results, command));
  const p99 = panelsOf(results, ({ p99Ms }) => p99Ms);
  if (p99.length === 0) return;
  write('sim-rebalance-p99.svg', drawCurves('p99 by load, simulated (lower is better)', p99, P99));
  const local = panelsOf(results, ({ localShare }) => localShare);
  write(
    'sim-rebalance-local.svg',
    drawCurves('Share of events done where they were, by load, simulated', local, SHARE),
  );
}

/** Where two loads or more were simulated. */
function panelsOf(results: readonly Result[], figure: (figures: Figures) => number): Panel[] {
  return [false, true].flatMap((placesArrivals) => {
    const curves = new Map<PolicyName, Point[]>();
    for (const load of LOADS) {
      const result = results.find(({ scenario }) => scenario.id === idAt(load, placesArrivals));
      for (const [name, figures] of result?.figures ?? []) {
        const points = curves.get(name) ?? [];
        curves.set(name, [...points, { load, value: figure(figures) }]);
      }
    }
    if (![...curves.values()].some(({ length }) => length > 1)) return [];
    const title = placesArrivals
      ? 'arrivals are placed, too'
      : 'arrivals are done where they arrive';
    return [{ title, curves }];
  });
}

try {
  main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
