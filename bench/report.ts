/** Rows as text: a line at the terminal as they come, a Markdown table for the result file. Pure. */
import type { FailedRow, Row } from './row.ts';
import type { Spread } from './statistics.ts';
import { judge, scaled, targetOf, type Verdict } from './targets.ts';

export interface Circumstances {
  readonly machine: string;
  readonly versions: string;
  readonly command: string;
  /** ISO 8601. */
  readonly date: string;
  readonly rounds: number;
  readonly seconds: number;
}

const VERDICTS: Readonly<Record<Verdict, string>> = {
  goal: 'goal reached',
  gate: 'gate passed, goal missed',
  miss: 'GATE MISSED',
  none: '',
};

const HEAD = [
  ...['path', 'durability', 'measured', 'direct', 'relay', 'multiple', "on the targets' scale"],
  ...['gate', 'goal', 'best peer (volatile; durable)', 'verdict', 'CPU us/event', 'anon MB'],
  'notes',
];

/** Other programs' share of the machine from which a row says that it was disturbed. */
const FOREIGN_CORES_MAX = 0.15;

const READING = `Median of the rounds, with the extremes in brackets. "direct": the load generator posts to the subscriber itself.
"relay": node:http in, undici out, no log, the same number of requests. Both are measured in the same round as the row,
right before it. "multiple": how many times worse than what it is compared with, in the same round. Gates, goals and
peers refer to a slower direct POST than ours; "on the targets' scale" is the multiple that may be compared with them
(docs/benchmarks.md). Where a row has a gate and no multiple, the gate is for the figure itself. CPU and memory are those
of the program under test alone. "machine or settled": a 2xx means that the event is synced to the disk (embedded log,
LMDB), or that every subscriber has settled it already. A verdict of a row that other programs disturbed is worth little:
run it again.

Measured: HTTP over loopback, all processes sharing the machine. Not measured: networks, TLS, Kubernetes, subscribers
that work, power cuts.
`;

/** One line, as it comes. */
export function terminalLine(row: Row): string {
  const parts = [
    row.title.padEnd(46),
    `${spreadText(row.measured)} ${row.unit}`,
    hopsOffText(row),
    row.multiple && `x ${spreadText(row.multiple)} ${row.multipleOf ?? ''}`,
    targetText(row),
    backlogText(row),
    row.direct && `direct ${spreadText(row.direct)}`,
    row.relay && `relay ${spreadText(row.relay)}`,
    row.costs &&
      `${Math.round(row.costs.cpuUsPerEvent.median)} us/event, ${Math.round(row.costs.anonMb)} MB`,
    ...notesOf(row),
  ];
  return parts.filter(Boolean).join(' | ');
}

export function failedLine({ title, reason }: FailedRow): string {
  return `${title.padEnd(46)} | NOT MEASURED: ${reason}`;
}

export function markdown(
  rows: readonly Row[],
  failed: readonly FailedRow[],
  at: Circumstances,
): string {
  const facts = [
    `- Machine: ${at.machine}`,
    `- Versions: ${at.versions}`,
    `- Command: \`${at.command}\` (${at.rounds} rounds of ${at.seconds} s a row), ${at.date}`,
  ];
  const table = [HEAD, HEAD.map(() => '---'), ...rows.map(cells)].map(
    (line) => `| ${line.map(escape).join(' | ')} |`,
  );
  const failures = failed.map(({ title, reason }) => `- Not measured: ${title}: ${reason}`);
  return ['# Benchmark\n', ...facts, ...failures, `\n${READING}`, ...table, ''].join('\n');
}

function cells(row: Row): string[] {
  const target = targetOf(row.id, row.engine);
  const { multiple } = row;
  const judged = judgedOf(row);
  return [
    row.title,
    row.durability ?? '',
    `${spreadText(row.measured)} ${row.unit}`,
    row.direct ? spreadText(row.direct) : '',
    row.relay ? spreadText(row.relay) : '',
    multiple ? `${spreadText(multiple)} x ${row.multipleOf ?? ''}` : '',
    multiple && target.scale ? number(scaled(multiple.median, target)) : '',
    target.gate?.toString() ?? '',
    target.goal?.toString() ?? '',
    target.peers ?? '',
    judged ? verdictText(judged.median, row) : '',
    row.costs ? spreadText(row.costs.cpuUsPerEvent) : '',
    row.costs ? number(row.costs.anonMb) : '',
    [hopsOffText(row), backlogText(row), ...notesOf(row)].filter(Boolean).join('; '),
  ];
}

function targetText(row: Row): string {
  const target = targetOf(row.id, row.engine);
  const judged = judgedOf(row);
  if (judged === undefined) return '';
  const parts = [
    target.scale && `on the targets' scale ${number(scaled(judged.median, target))}`,
    target.gate !== undefined && `gate ${target.gate}`,
    target.goal !== undefined && `goal ${target.goal}`,
    target.peers && `best peer ${target.peers}`,
    verdictText(judged.median, row),
  ];
  return parts.filter(Boolean).join(', ');
}

/** What the targets of the row are about. */
function judgedOf({ id, engine, measured, multiple }: Row): Spread | undefined {
  const target = targetOf(id, engine);
  return target.isAbsolute ? measured : multiple;
}

function verdictText(figure: number, row: Row): string {
  const verdict = VERDICTS[judge(figure, targetOf(row.id, row.engine))];
  return verdict !== '' && isDisturbed(row) ? `${verdict} (disturbed)` : verdict;
}

function notesOf(row: Row): string[] {
  return [
    ...(row.lost > 0 ? [`LOST ${row.lost}`] : []),
    ...row.notes,
    ...(isDisturbed(row) ? [`disturbed: ${row.foreignCores.toFixed(1)} cores used by others`] : []),
  ];
}

function isDisturbed({ foreignCores }: Row): boolean {
  return foreignCores > FOREIGN_CORES_MAX;
}

function hopsOffText({ hopsOff }: Row): string {
  if (hopsOff === undefined) return '';
  return `hops off ${spreadText(hopsOff.measured)}, on/off ${spreadText(hopsOff.ratio)}`;
}

function backlogText({ backlog }: Row): string {
  if (backlog === undefined) return '';
  const trend = backlog.isGrowing ? 'BACKLOG GROWS' : 'backlog steady';
  return `${trend}: ${Math.round(backlog.drainMs)} ms behind at the end, at most ${Math.max(...backlog.owed)} owed`;
}

/** `4.8 [4.1-5.0]`; one value alone where all rounds agree. */
export function spreadText({ median, min, max }: Spread): string {
  const middle = number(median);
  const range = `${number(min)}-${number(max)}`;
  return range === `${middle}-${middle}` ? middle : `${middle} [${range}]`;
}

/** Three figures are what the machine's noise leaves: 0.212, 4.83, 56.1, 10,700. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '-';
  return Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 3 });
}

function escape(cell: string): string {
  return cell.replaceAll('|', '\\|');
}
