/** What the simulator says, as Markdown: targets, p99 and local share side by side, then every figure. Pure. */
import { number } from '../report.ts';
import type { Figures } from './figures.ts';
import { POLICY_TITLES, type PolicyName } from './policies.ts';
import { idAt, type Scenario } from './scenarios.ts';

export interface Result {
  readonly scenario: Scenario;
  readonly figures: ReadonlyMap<PolicyName, Figures>;
}

/** Who is held to the targets. */
const JUDGED = ['challenger', 'knear'] as const;
const TIMES_BETTER = 5;
const EVEN_MOVING_MAX = 0.05;
const BACK_MS_MAX = 10_000;

const HEAD = [
  ...['scenario', 'policy', 'p50 ms', 'p99 ms', 'p99.9 ms', 'local', 'through the log'],
  ...['MB moved a workflow', 'moves per 1,000', 'capacity spent on moving', 'imbalance'],
  ...['swing', 'back after s'],
];

export function markdown(results: readonly Result[], command: string): string {
  return [
    '# Rebalancing, simulated\n',
    `\`${command}\`; docs/rebalancing.md says what is simulated and what the words mean.\n`,
    '## Targets\n',
    table(['target', 'of', 'is', ''], targets(results)),
    '## p99, ms\n',
    sideBySide(results, ({ p99Ms }) => number(p99Ms)),
    '## Done where they were, MB moved a workflow\n',
    sideBySide(
      results,
      ({ localShare, movedMbPerWorkflow }) =>
        `${percent(localShare)}, ${number(round(movedMbPerWorkflow))}`,
    ),
    '## Everything\n',
    table(HEAD, results.flatMap(rowsOf)),
  ].join('\n');
}

/** A target whose scenario was not asked for is not in the list. */
function targets(results: readonly Result[]): string[][] {
  const at = (id: string) => results.find(({ scenario }) => scenario.id === id);
  const of = (id: string) => at(id)?.figures;
  return JUDGED.flatMap((name) => [
    ...[at(idAt(0.9)), at(idAt(0.9, true))].flatMap((result) => ratios(name, result)),
    ...row(of('even')?.get(name), ({ movingShare }) => [
      `even load: at most ${percent(EVEN_MOVING_MAX)} of the capacity is spent on moving`,
      POLICY_TITLES[name],
      percent(movingShare),
      verdict(movingShare <= EVEN_MOVING_MAX),
    ]),
    ...row(of('step')?.get(name), ({ backAfterMs }) => [
      `after the step, p99 is back within ${BACK_MS_MAX / 1e3} s`,
      POLICY_TITLES[name],
      `${number(backAfterMs / 1e3)} s`,
      verdict(backAfterMs <= BACK_MS_MAX),
    ]),
  ]);
}

function ratios(name: PolicyName, result: Result | undefined): string[][] {
  const own = result?.figures.get(name);
  if (!result || !own) return [];
  return (['local', 'two-choices'] as const).flatMap((rival) =>
    row(result.figures.get(rival), ({ p99Ms }) => {
      const ratio = p99Ms / own.p99Ms;
      return [
        `${result.scenario.title}: p99 is ${TIMES_BETTER} times lower than with ${POLICY_TITLES[rival]}`,
        POLICY_TITLES[name],
        `${number(ratio)} times`,
        verdict(ratio >= TIMES_BETTER),
      ];
    }),
  );
}

function row(figures: Figures | undefined, tell: (figures: Figures) => string[]): string[][] {
  return figures ? [tell(figures)] : [];
}

function sideBySide(results: readonly Result[], tell: (figures: Figures) => string): string {
  const names = [...(results[0]?.figures.keys() ?? [])];
  return table(
    ['scenario', ...names.map((name) => POLICY_TITLES[name])],
    results.map(({ scenario, figures }) => [scenario.title, ...[...figures.values()].map(tell)]),
  );
}

function rowsOf({ scenario, figures }: Result): string[][] {
  return [...figures].map(([name, each]) => [
    scenario.title,
    POLICY_TITLES[name],
    number(each.p50Ms),
    number(each.p99Ms),
    number(each.p999Ms),
    percent(each.localShare),
    percent(each.loggedShare),
    number(round(each.movedMbPerWorkflow)),
    number(each.movesPerThousand),
    percent(each.movingShare),
    number(each.imbalance),
    number(round(each.swing)),
    scenario.step ? number(each.backAfterMs / 1e3) : '',
  ]);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  return `${lines.join('\n')}\n`;
}

function verdict(isMet: boolean): string {
  return isMet ? 'met' : 'MISSED';
}

export function percent(share: number): string {
  return `${number(Math.round(share * 1_000) / 10)} %`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
