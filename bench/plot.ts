/**
 * The picture of a run, as SVG written by hand: one line a row, its multiple with the extremes on a logarithmic axis,
 * beside gate, goal and the best peers. Everything further left is better. Pure.
 */
import { number } from './report.ts';
import type { Row } from './row.ts';
import { judge, scaled, targetOf, type Target, type Verdict } from './targets.ts';

const WIDTH = 1_060;
const LEFT = 400;
const RIGHT = 60;
const TOP = 74;
const LINE = 26;
const BOTTOM = 44;
/** The axis ends at round numbers; the worst peer figure is 245. */
const DECADES_MAX = 1_000;
const TICKS = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];

const COLOURS: Readonly<Record<Verdict, string>> = {
  goal: '#1a7f37',
  gate: '#9a6700',
  miss: '#cf222e',
  none: '#57606a',
};

type Scale = (multiple: number) => number;

interface Line {
  readonly row: Row;
  readonly target: Target;
  /** Middle of the line. */
  readonly y: number;
  /** On the targets' scale. */
  readonly multiple: { readonly median: number; readonly min: number; readonly max: number };
}

/** Rows without a multiple (recovery) are not in the picture. */
export function plot(rows: readonly Row[], subtitle: string): string {
  const lines = rows
    .flatMap(toLine)
    .map((line, index) => ({ ...line, y: TOP + LINE * (index + 0.5) }));
  const end = axisEnd(lines);
  const x = logScale(end);
  const height = TOP + LINE * lines.length + BOTTOM;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text(
      { x: 16, y: 24, size: 16, weight: 'bold' },
      'knear: multiples of a direct POST, on the scale of the targets (left is better)',
    ),
    text({ x: 16, y: 42, fill: '#57606a' }, subtitle),
    legend(60),
    ...TICKS.filter((tick) => tick <= end).map((tick) => gridLine(x(tick), tick, height)),
    ...lines.map((line) => drawLine(line, x)),
    '</svg>\n',
  ].join('\n');
}

function toLine(row: Row): Omit<Line, 'y'>[] {
  if (row.multiple === undefined) return [];
  const target = targetOf(row.id, row.engine);
  const { median, min, max } = row.multiple;
  const multiple = {
    median: scaled(median, target),
    min: scaled(min, target),
    max: scaled(max, target),
  };
  return [{ row, target, multiple }];
}

function axisEnd(lines: readonly Line[]): number {
  const largest = Math.max(
    2,
    ...lines.flatMap(({ multiple, target }) => [multiple.max, ...peersOf(target)]),
  );
  return TICKS.find((tick) => tick >= largest) ?? DECADES_MAX;
}

function logScale(end: number): Scale {
  const first = TICKS[0] ?? 1;
  const width = WIDTH - LEFT - RIGHT;
  return (multiple) => {
    const shown = Math.min(end, Math.max(first, multiple));
    return round(LEFT + (width * Math.log(shown / first)) / Math.log(end / first));
  };
}

function drawLine({ row, target, y, multiple }: Line, x: Scale): string {
  const { multiple: raw } = row;
  const verdict = raw === undefined ? 'none' : judge(raw.median, target);
  const colour = COLOURS[verdict];
  const middle = x(multiple.median);
  return [
    text({ x: LEFT - 12, y: y + 4, anchor: 'end' }, labelOf(row)),
    ...peersOf(target).map((peer) => diamond(x(peer), y)),
    target.gate === undefined ? '' : bar(x(target.gate), y, '#cf222e'),
    target.goal === undefined ? '' : bar(x(target.goal), y, '#1a7f37'),
    `<line x1="${x(multiple.min)}" x2="${x(multiple.max)}" y1="${y}" y2="${y}" stroke="${colour}" stroke-width="3"/>`,
    `<circle cx="${middle}" cy="${y}" r="5" fill="${colour}"/>`,
    text(
      { x: WIDTH - 10, y: y + 4, anchor: 'end', fill: colour, weight: 'bold' },
      number(multiple.median),
    ),
  ]
    .filter(Boolean)
    .join('');
}

/** A multiple of something else than the direct POST says of what. */
function labelOf({ title, multipleOf = 'direct' }: Row): string {
  return multipleOf.startsWith('direct') ? title : `${title} (of ${multipleOf})`;
}

function gridLine(x: number, tick: number, height: number): string {
  const bottom = height - BOTTOM;
  return (
    `<line x1="${x}" x2="${x}" y1="${TOP}" y2="${bottom}" stroke="${tick === 1 ? '#8c959f' : '#eaeef2'}"/>` +
    text({ x, y: bottom + 18, anchor: 'middle', fill: '#57606a' }, `${tick}x`)
  );
}

function legend(y: number): string {
  return [
    `<circle cx="${LEFT + 6}" cy="${y}" r="5" fill="#57606a"/>`,
    text({ x: LEFT + 18, y: y + 4 }, 'measured, with extremes'),
    bar(LEFT + 186, y, '#1a7f37'),
    text({ x: LEFT + 194, y: y + 4 }, 'goal'),
    bar(LEFT + 246, y, '#cf222e'),
    text({ x: LEFT + 254, y: y + 4 }, 'gate'),
    diamond(LEFT + 306, y),
    text({ x: LEFT + 318, y: y + 4 }, 'best peer, volatile and durable'),
  ].join('');
}

function bar(x: number, y: number, colour: string): string {
  return `<line x1="${x}" x2="${x}" y1="${y - 9}" y2="${y + 9}" stroke="${colour}" stroke-width="2"/>`;
}

function diamond(x: number, y: number): string {
  return `<path d="M${x - 5} ${y}L${x} ${y - 5}L${x + 5} ${y}L${x} ${y + 5}Z" fill="none" stroke="#0969da" stroke-width="1.5"/>`;
}

function peersOf({ peers }: Target): number[] {
  return peers === undefined ? [] : peers.split(';').map(Number);
}

interface TextStyle {
  readonly x: number;
  readonly y: number;
  readonly size?: number;
  readonly weight?: string;
  readonly anchor?: 'middle' | 'end';
  readonly fill?: string;
}

function text(
  { x, y, size = 12, weight, anchor, fill = '#24292f' }: TextStyle,
  content: string,
): string {
  const style = [
    `font-size="${size}"`,
    `fill="${fill}"`,
    weight === undefined ? '' : `font-weight="${weight}"`,
    anchor === undefined ? '' : `text-anchor="${anchor}"`,
  ];
  return `<text x="${x}" y="${y}" ${style.filter(Boolean).join(' ')}>${escape(content)}</text>`;
}

function escape(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
