/**
 * Goal: docs/conformance.md and the rows of this folder do not drift apart. Method: the ids in the document's tables, and
 * those in the string literals of the tests, are compared; a comment that names one does not count.
 */
import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { nodesOf, ROOT, sourceFiles } from '../../tidy/source-files.ts';

const STATES = ['kept', 'extended', 'differs', 'not offered'] as const;
const ID = /\bC-[A-Z]+-\d{2}\b/g;

const document = readFileSync(join(ROOT, 'docs/conformance.md'), 'utf8');

/** The cells of all tables that have so many columns, without head and rule. */
function tableRows(columns: number): string[][] {
  return document
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\|[-|]+\|$/.test(line))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
    .filter((cells) => cells.length === columns);
}

/** `id | rule | source | state | remark` */
const rules = tableRows(5)
  .filter(([id]) => id !== 'id')
  .map(([id = '', rule = '', source = '', state = '', remark = '']) => ({
    id,
    rule,
    source,
    state,
    remark,
  }));

/** `topic | specification | reference | Knative's tests | knear | why | rows` */
const contradictions = tableRows(7)
  .filter(([topic]) => topic !== 'topic')
  .map(([topic = '', , , , , , rows = '']) => ({ topic, rows: rows.match(ID) ?? [] }));

const tested = new Set(
  sourceFiles(['test/conformance/contract']).flatMap(({ tree }) =>
    [...nodesOf(tree)]
      .filter((node) => ts.isStringLiteralLike(node))
      .flatMap((node) => node.text.match(ID) ?? []),
  ),
);

describe('the rules', () => {
  test('have each an id of its own', () => {
    const ids = rules.map(({ id }) => id);
    expect(
      ids.filter((id, index) => !/^C-[A-Z]+-\d{2}$/.test(id) || ids.indexOf(id) < index),
    ).toEqual([]);
    expect(ids.length).toBeGreaterThan(100);
  });

  test('stand in the order of their numbers, without gaps', () => {
    const ids = rules.map(({ id }) => id);
    for (const area of new Set(ids.map((id) => id.replace(/\d+$/, '')))) {
      const ofArea = ids.filter((id) => id.startsWith(area));
      const expected = ofArea.map((_, index) => area + String(index + 1).padStart(2, '0'));
      expect(ofArea).toEqual(expected);
    }
  });

  test('say what, from where, and in which state', () => {
    const isState = (state: string) => STATES.some((known) => known === state);
    const incomplete = rules.filter(
      ({ rule, source, state }) => rule === '' || source === '' || !isState(state),
    );
    expect(incomplete).toEqual([]);
  });

  test('that are not kept as they are say why', () => {
    const silent = rules.filter(({ state, remark }) => state !== 'kept' && remark === '');
    expect(silent).toEqual([]);
  });

  test('are tested, but for what is not offered', () => {
    const untested = rules.filter(({ id, state }) => state !== 'not offered' && !tested.has(id));
    expect(untested.map(({ id }) => id)).toEqual([]);
  });

  test('are all that is tested', () => {
    const known = new Set(rules.map(({ id }) => id));
    expect([...tested].filter((id) => !known.has(id))).toEqual([]);
  });
});

describe('what is decided where sources differ', () => {
  test('leads to rules', () => {
    const known = new Set(rules.map(({ id }) => id));
    expect(contradictions.length).toBeGreaterThan(20);
    for (const { topic, rows } of contradictions) {
      expect([topic, rows.length, rows.filter((id) => !known.has(id))]).toEqual([
        topic,
        Math.max(1, rows.length),
        [],
      ]);
    }
  });
});
