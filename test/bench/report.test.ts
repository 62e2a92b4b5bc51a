import { describe, expect, test } from '@jest/globals';
import { failedLine, markdown, number, spreadText, terminalLine } from '../../bench/report.ts';
import { plot } from '../../bench/plot.ts';
import type { Row } from '../../bench/row.ts';
import { FLOOR_SCALE, TARGETS, judge, scaled, targetOf } from '../../bench/targets.ts';

const same = (value: number) => ({ median: value, min: value, max: value });

/** `multiple` on the scale of the targets. */
function latencyRow(multiple: number, changes: Partial<Row> = {}): Row {
  return {
    id: 'latency-1kb-100',
    title: '1 KB at 100/s',
    durability: 'machine or settled',
    unit: 'ms p50',
    measured: { median: 0.7, min: 0.6, max: 0.8 },
    direct: same(0.2),
    relay: same(0.45),
    multiple: same(multiple * FLOOR_SCALE.latency),
    multipleOf: 'direct',
    costs: { cpuUsPerEvent: same(90), anonMb: 80 },
    lost: 0,
    foreignCores: 0,
    notes: ['p99 1.2 ms'],
    ...changes,
  };
}

const AT = {
  machine: '2 x CPU',
  versions: 'knear 0.1.0',
  command: 'npm run bench',
  date: '2026-11-25T00:00:00.000Z',
  rounds: 3,
  seconds: 2,
};

describe('a verdict', () => {
  const target = { gate: 5, goal: 3.3 };

  test.each([
    { multiple: 3.3, verdict: 'goal' },
    { multiple: 3.31, verdict: 'gate' },
    { multiple: 5, verdict: 'gate' },
    { multiple: 5.01, verdict: 'miss' },
  ])('of $multiple with gate 5 and goal 3.3 is $verdict', ({ multiple, verdict }) => {
    expect(judge(multiple, target)).toBe(verdict);
  });

  test('is none without a gate', () => {
    expect(judge(100, { peers: '1; 2' })).toBe('none');
  });

  test('is taken on the scale of the floor that the targets refer to', () => {
    const scale = FLOOR_SCALE['throughput 1 KB'];
    expect(scaled(5 * scale, { ...target, scale: 'throughput 1 KB' })).toBeCloseTo(5);
    expect(judge(4.99 * scale, { ...target, scale: 'throughput 1 KB' })).toBe('gate');
    expect(judge(5.01 * scale, { ...target, scale: 'throughput 1 KB' })).toBe('miss');
  });
});

test.each(['hop-slope', 'load-step'] as const)('%s is held to the same on every log', (id) => {
  expect(targetOf(id, 'jetstream')).toEqual(targetOf(id, 'embedded'));
});

test('no goal is weaker than its gate', () => {
  for (const target of Object.values(TARGETS)) {
    if ('gate' in target && 'goal' in target) expect(target.goal).toBeLessThanOrEqual(target.gate);
  }
});

describe('a row', () => {
  test.each([
    { name: 'goal reached', multiple: 3, says: 'goal reached' },
    { name: 'goal missed', multiple: 4, says: 'gate passed, goal missed' },
    { name: 'gate missed', multiple: 6, says: 'GATE MISSED' },
  ])('with its $name says so at the terminal and in the table', ({ multiple, says }) => {
    expect(terminalLine(latencyRow(multiple))).toContain(says);
    expect(markdown([latencyRow(multiple)], [], AT)).toContain(`| ${says} |`);
  });

  test('shows its floors, its target and its best peers', () => {
    const line = terminalLine(latencyRow(4));
    for (const part of ['direct 0.2', 'relay 0.45', 'gate 5', 'goal 3.8', '3.9; 6', '80 MB']) {
      expect(line).toContain(part);
    }
  });

  test.each([
    { growthMb: 32, says: 'goal reached' },
    { growthMb: 33, says: 'gate passed, goal missed' },
    { growthMb: 65, says: 'GATE MISSED' },
  ])('with an absolute target is judged by its figure: $growthMb MB, $says', (each) => {
    const { direct, relay, multiple, multipleOf, ...bare } = latencyRow(1, {
      id: 'memory-1-1gib',
      unit: 'MB above before',
      measured: same(each.growthMb),
    });
    expect([direct, relay, multiple, multipleOf]).not.toContain(undefined);
    expect(terminalLine(bare)).toContain(`gate 64, goal 32, ${each.says}`);
    expect(markdown([bare], [], AT)).toContain(`| ${each.says} |`);
  });

  test('about local hops shows itself without them, wherever it is read', () => {
    const row = latencyRow(3, { hopsOff: { measured: same(1.4), ratio: same(0.5) } });
    expect(terminalLine(row)).toContain('hops off 1.4, on/off 0.5');
    expect(markdown([row], [], AT)).toContain('hops off 1.4, on/off 0.5; p99 1.2 ms |');
  });

  test('that has an absolute target and no figure has missed it', () => {
    const { direct, relay, multiple, multipleOf, ...bare } = latencyRow(1, {
      id: 'load-step',
      unit: 's',
      measured: same(NaN),
    });
    expect([direct, relay, multiple, multipleOf]).not.toContain(undefined);
    expect(terminalLine(bare)).toContain('- s | gate 10, goal 10, GATE MISSED');
  });

  test('that lost events says so loudly', () => {
    expect(terminalLine(latencyRow(3, { lost: 2 }))).toContain('LOST 2');
  });

  test('that others disturbed does not claim a clean verdict', () => {
    const line = terminalLine(latencyRow(3, { foreignCores: 0.5 }));
    expect(line).toContain('goal reached (disturbed)');
    expect(line).toContain('0.5 cores used by others');
  });

  test('whose backlog grows says so', () => {
    const backlog = { owed: [10, 20_000], drainMs: 1_500, isGrowing: true };
    expect(terminalLine(latencyRow(3, { backlog }))).toContain('BACKLOG GROWS: 1500 ms behind');
  });

  test('that could not be measured stays in the report', () => {
    const failed = { title: '5 steps', reason: 'not ready' };
    expect(failedLine(failed)).toContain('NOT MEASURED: not ready');
    expect(markdown([], [failed], AT)).toContain('- Not measured: 5 steps: not ready');
  });
});

test('the table has as many cells in every line, whatever a row lacks', () => {
  const { direct, relay, multiple, multipleOf, costs, ...bare } = latencyRow(3, { title: 'a | b' });
  expect([direct, relay, multiple, multipleOf, costs]).not.toContain(undefined);
  const lines = markdown([latencyRow(3), bare], [], AT)
    .split('\n')
    .filter((line) => line.startsWith('|'));
  const cells = lines.map((line) => line.split(/(?<!\\)\|/).length);
  expect(lines).toHaveLength(4);
  expect(new Set(cells).size).toBe(1);
});

test('the result file names machine, versions, command and what is not measured', () => {
  const text = markdown([latencyRow(3)], [], AT);
  for (const part of [
    '2 x CPU',
    'knear 0.1.0',
    '`npm run bench`',
    'Not measured:',
    'machine or settled',
  ]) {
    expect(text).toContain(part);
  }
});

test.each([
  { value: 0.21249, text: '0.212' },
  { value: 4.8321, text: '4.83' },
  { value: 10_743, text: '10,700' },
  { value: 0, text: '0' },
  { value: NaN, text: '-' },
])('$value is written $text', ({ value, text }) => {
  expect(number(value)).toBe(text);
});

test('extremes are left out where all rounds agree', () => {
  expect(spreadText(same(5))).toBe('5');
  expect(spreadText({ median: 4.8, min: 4.1, max: 5 })).toBe('4.8 [4.1-5]');
});

describe('the plot', () => {
  test('draws a line for every row with a multiple, and none for others', () => {
    const { multiple, ...without } = latencyRow(3, { title: 'no multiple' });
    expect(multiple).toBeDefined();
    const svg = plot([latencyRow(3), without], 'sub');
    expect(svg).toContain('1 KB at 100/s');
    expect(svg).not.toContain('no multiple');
  });

  test('escapes what would be markup', () => {
    const svg = plot([latencyRow(3, { title: 'a < b & c' })], '<sub>');
    expect(svg).toContain('a &lt; b &amp; c');
    expect(svg).toContain('&lt;sub&gt;');
  });

  test('puts a smaller multiple further left, and keeps the largest on the paper', () => {
    const x = (multiple: number): number => {
      const svg = plot([latencyRow(multiple)], '');
      const circles = Array.from(svg.matchAll(/<circle cx="([\d.]+)"/g), ([, at]) => Number(at));
      return circles.at(-1) ?? NaN; // the first one is in the legend
    };
    expect(x(2)).toBeLessThan(x(4));
    expect(x(1_000_000)).toBeLessThan(1_060);
    expect(x(0.001)).toBeGreaterThan(300);
  });

  test('says of what a multiple is when it is not of the direct POST', () => {
    expect(plot([latencyRow(3, { multipleOf: 'one Trigger' })], '')).toContain('(of one Trigger)');
  });

  test('is a whole picture without rows', () => {
    expect(plot([], 'nothing')).toMatch(/^<svg [^]*<\/svg>\n$/);
  });
});
