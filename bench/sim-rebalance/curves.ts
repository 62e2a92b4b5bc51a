/** Curves over the load, as SVG written by hand like `bench/plot.ts`: panels beside each other, one legend. Pure. */
import { POLICY_NAMES, POLICY_TITLES, type PolicyName } from './policies.ts';

export interface Panel {
  readonly title: string;
  readonly curves: ReadonlyMap<PolicyName, readonly Point[]>;
}

export interface Point {
  readonly load: number;
  readonly value: number;
}

export interface Axis {
  readonly ticks: readonly number[];
  readonly isLog: boolean;
  tell(tick: number): string;
}

const WIDTH = 1_060;
const HEIGHT = 440;
const TOP = 76;
const BOTTOM = 56;
const LEFT = 60;
const GAP = 60;
const LEGEND = 210;

const COLOURS: Readonly<Record<PolicyName, string>> = {
  random: '#8c959f',
  'two-choices': '#0969da',
  local: '#cf222e',
  threshold: '#9a6700',
  'bounded-hash': '#bc4c00',
  'full-scan': '#8250df',
  challenger: '#1a7f37',
  budget: '#4ac26b',
  knear: '#24292f',
  'knear-told': '#bf3989',
};

interface Scales {
  x(load: number): number;
  y(value: number): number;
  readonly loads: readonly number[];
}

export function drawCurves(title: string, panels: readonly Panel[], axis: Axis): string {
  const width = (WIDTH - LEFT - LEGEND - GAP * (panels.length - 1)) / panels.length;
  const names = POLICY_NAMES.filter((name) => panels.some(({ curves }) => curves.has(name)));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    `<text x="16" y="26" font-size="16" font-weight="bold" fill="#24292f">${title}</text>`,
    ...panels.map((panel, index) => {
      const left = LEFT + index * (width + GAP);
      return drawPanel(panel, axis, { left, width });
    }),
    ...names.map((name, index) => legend(name, TOP + 14 + 22 * index)),
    '</svg>\n',
  ].join('\n');
}

function drawPanel(
  { title, curves }: Panel,
  axis: Axis,
  { left, width }: { readonly left: number; readonly width: number },
): string {
  const scales = scalesOf(curves, axis, { left, width });
  const bottom = HEIGHT - BOTTOM;
  return [
    `<text x="${left}" y="${TOP - 14}" fill="#57606a">${title}</text>`,
    ...axis.ticks.map((tick) => {
      const y = scales.y(tick);
      return (
        `<line x1="${left}" x2="${left + width}" y1="${y}" y2="${y}" stroke="#eaeef2"/>` +
        `<text x="${left - 6}" y="${y + 4}" text-anchor="end" fill="#57606a">${axis.tell(tick)}</text>`
      );
    }),
    ...scales.loads.map(
      (load) =>
        `<text x="${scales.x(load)}" y="${bottom + 18}" text-anchor="middle" fill="#57606a">${load}</text>`,
    ),
    `<text x="${left + width / 2}" y="${bottom + 38}" text-anchor="middle" fill="#57606a">load</text>`,
    ...[...curves].map(([name, points]) => drawCurve(name, points, scales)),
  ].join('\n');
}

function drawCurve(name: PolicyName, points: readonly Point[], { x, y }: Scales): string {
  const spots = points.map(({ load, value }) => ({ x: x(load), y: y(value) }));
  const line = spots.map((spot) => `${spot.x},${spot.y}`).join(' ');
  return [
    `<polyline points="${line}" fill="none" stroke="${COLOURS[name]}" stroke-width="2"${dashes(name)}/>`,
    ...spots.map((spot) => `<circle cx="${spot.x}" cy="${spot.y}" r="3" fill="${COLOURS[name]}"/>`),
  ].join('');
}

function legend(name: PolicyName, y: number): string {
  const left = WIDTH - LEGEND + 20;
  return (
    `<line x1="${left}" x2="${left + 24}" y1="${y}" y2="${y}" stroke="${COLOURS[name]}" stroke-width="2"${dashes(name)}/>` +
    `<text x="${left + 32}" y="${y + 4}" fill="#24292f">${POLICY_TITLES[name]}</text>`
  );
}

/** The two that are the point of the picture are whole lines, what they are compared with is dashed. */
function dashes(name: PolicyName): string {
  return name === 'challenger' || name === 'knear' ? '' : ' stroke-dasharray="5 4"';
}

function scalesOf(
  curves: Panel['curves'],
  { ticks, isLog }: Axis,
  { left, width }: { readonly left: number; readonly width: number },
): Scales {
  const loads = [...new Set([...curves.values()].flat().map(({ load }) => load))].toSorted();
  const onAxis = (value: number) => (isLog ? Math.log(value) : value);
  const [low, high] = [onAxis(ticks[0] ?? 0), onAxis(ticks.at(-1) ?? 1)];
  const first = loads[0] ?? 0;
  const breadth = (loads.at(-1) ?? 1) - first || 1;
  return {
    loads,
    x: (load) => round(left + (width * (load - first)) / breadth),
    y: (value) => {
      const part = (onAxis(value) - low) / (high - low);
      return round(HEIGHT - BOTTOM - Math.min(1, Math.max(0, part)) * (HEIGHT - BOTTOM - TOP));
    },
  };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
