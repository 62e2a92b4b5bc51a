/** What `knear top` shows of readings, and of a program that is alone. */
import { afterEach, expect, test } from '@jest/globals';
import { topText, type Reading } from '../../main/client/top.ts';
import type { EgressFigures, Figures, Process } from '../../main/inside/figures.ts';
import { openStage } from '../e2e/stage.ts';
import { broker, trigger, yamlOf } from '../e2e/manifests.ts';
import { send } from '../e2e/producer.ts';
import { eventually } from '../e2e/eventually.ts';

const stage = openStage();
afterEach(() => stage.close());

function process(id: string, more: Partial<Process> = {}): Process {
  const adminUrl = 'http://127.0.0.1:9090';
  return { id, role: 'dispatcher', version: '1', revision: 7, places: ['a/n1'], adminUrl, ...more };
}

function egress(name: string, more: Partial<EgressFigures> = {}): EgressFigures {
  return {
    name,
    lag: { ready: 0, delayed: 0, parked: 0 },
    ...{ inUse: 0, slots: 4, waiting: 0, ends: {}, attempts: 0, failures: 0, hops: 0, routes: {} },
    ...more,
  };
}

function reading(atMs: number, ...figures: Figures[]): Reading {
  return { atMs, figures, silent: [] };
}

/** Cells of the first line that has these words, one after the other. */
function row(text: string, ...words: string[]): string[] {
  const line = text.split('\n').find((each) => words.every((word) => each.includes(word))) ?? '';
  return line.trim().split(/ {2,}/);
}

test('rates are what was counted between two readings, of all processes together', () => {
  const [near, far] = [process('aaaaaaaa-1'), process('bbbbbbbb-2', { places: ['b'] })];
  const before = reading(
    1_000,
    {
      self: near,
      others: [],
      egresses: [egress('trigger:t.d', { ends: { delivered: 100 }, routes: { node: 100 } })],
    },
    { self: far, others: [], egresses: [egress('trigger:t.d')] },
  );
  const now = reading(
    3_000,
    {
      self: near,
      others: [],
      egresses: [
        egress('trigger:t.d', {
          ...{ ends: { delivered: 160 }, routes: { node: 160 }, inUse: 3, hops: 8 },
          lag: { ready: 12, delayed: 1, parked: 2 },
        }),
      ],
    },
    {
      self: far,
      others: [],
      egresses: [
        egress('trigger:t.d', {
          ends: { delivered: 20 },
          routes: { any: 20 },
          failures: 4,
          inUse: 1,
        }),
      ],
    },
  );
  const text = topText(before, now);
  expect(row(text, 'dispatcher', 'aaaaaaaa')).toEqual([
    'dispatcher',
    'aaaaaaaa',
    'a/n1',
    '7',
    '3',
    '30',
    '100 %',
    '4.0',
    '0.0',
  ]);
  expect(row(text, 'dispatcher', 'bbbbbbbb')).toEqual([
    'dispatcher',
    'bbbbbbbb',
    'b',
    '7',
    '1',
    '10',
    '0 %',
    '0.0',
    '2.0',
  ]);
  expect(row(text, 'trigger:t.d')).toEqual([
    'trigger:t.d',
    '12',
    '1',
    '2',
    '4/8',
    '40',
    '75 %',
    '2.0',
    'aaaaaaaa:3 bbbbbbbb:1',
  ]);
});

test('without an earlier reading there are no rates, and who does not answer is shown with why', () => {
  const text = topText(undefined, {
    ...reading(0, {
      self: process('aaaaaaaa-1'),
      others: [],
      egresses: [egress('trigger:t.d', { ends: { delivered: 5 } })],
    }),
    silent: [
      { process: process('cccccccc-3', { role: 'ingress', places: [] }), why: 'gone\u001b[2J' },
    ],
  });
  expect(row(text, 'trigger:t.d').slice(5, 7)).toEqual(['0.0', '-']);
  expect(row(text, 'ingress')).toEqual([
    'ingress',
    'cccccccc',
    '-',
    '7',
    expect.stringMatching(/^no answer: gone/),
  ]);
  expect(text).not.toContain('\u001b');
});

test('of many, the busiest come first and the others are counted', () => {
  const egresses = Array.from({ length: 40 }, (_, index) =>
    egress(`trigger:t-${String(index)}.d`, { lag: { ready: index, delayed: 0, parked: 0 } }),
  );
  const text = topText(undefined, reading(0, { self: process('a'), others: [], egresses }));
  const lines = text.split('\n').filter((line) => line.startsWith('trigger:'));
  expect(lines).toHaveLength(30);
  expect(lines[0]).toMatch(/^trigger:t-39\.d/);
  expect(text).toContain('and 10 more');
});

test('of a program that is alone: one line for it, one for each Trigger', async () => {
  const subscriber = await stage.subscriber();
  const program = await stage.start(
    yamlOf(broker('main'), trigger('all', { subscriber: subscriber.url })),
  );
  await send(`${program.url}/default/main`, { id: '1', type: 'order' });
  await eventually('it', () => subscriber.received.length === 1);
  const { code, stdout, stderr } = await program.command('top', '--once');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(row(stdout, 'serve').slice(0, 2)).toEqual(['serve', 'alone']);
  expect(row(stdout, 'trigger:all.default')[0]).toBe('trigger:all.default');
});
