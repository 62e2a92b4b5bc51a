/** What docs/filters.md shows is tried: its filters can be read, its examples give what it says, no function is missing. */
import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import { compileFilter as compileFilters } from '../../../controller/filters.ts';
import { cesqlFault } from '../../../core/rules/filters/cesql/fault.ts';
import { FUNCTION_NAMES } from '../../../core/rules/filters/cesql/functions.ts';
import { EXPRESSION_LENGTH_MAX, OPERATORS_MAX } from '../../../core/rules/filters/cesql/parser.ts';
import type { Filter } from '../../../core/topology.ts';
import { valueOf } from './evaluate.ts';

const page = readFileSync('docs/filters.md', 'utf8');

describe('an example of docs/filters.md', () => {
  const examples = [...page.matchAll(/`([^`]+)` is (?:`([^`]+)`|an error)/g)]
    .map(([, expression = '', expected]) => ({ expression, expected }))
    // The others say how an expression is read; the tests of grouping have them.
    .filter(({ expression }) => /^[A-Z_]+\(/.test(expression));

  test.each(examples)('$expression is $expected', ({ expression, expected }) => {
    expect(valueOf(expression)).toBe(expected === undefined ? undefined : valueOf(expected));
  });

  test('is there for each function that needs no keys', () => {
    const called = new Set(examples.map(({ expression }) => /^[A-Z_]+/.exec(expression)?.[0]));
    expect(FUNCTION_NAMES.filter((name) => !called.has(name))).toEqual([
      'KN_VERIFY_CORRELATION_ID',
    ]);
  });
});

describe('a filter of docs/filters.md', () => {
  const blocks = [...page.matchAll(/```yaml\n([^`]*)```/g)].map(([, text = '']) => text);

  test.each(blocks)('can be read: %s', (block) => {
    // Ours: each block is a part of the spec of a Trigger.
    const spec = parseYaml(block) as Parameters<typeof compileFilters>[0];
    const expressions = expressionsIn(compileFilters(spec));
    expect(expressions.length).toBeGreaterThan(0);
    expect(expressions.map(cesqlFault)).toEqual(expressions.map(() => undefined));
  });
});

function expressionsIn(filter: Filter): string[] {
  switch (filter.kind) {
    case 'cesql':
      return [filter.expression];
    case 'all':
    case 'any':
      return filter.filters.flatMap(expressionsIn);
    case 'not':
      return expressionsIn(filter.filter);
    case 'everything':
    case 'attributes':
    case 'exact':
    case 'prefix':
    case 'suffix':
      return [];
  }
}

test('docs/filters.md names every function and the limits as they are', () => {
  for (const name of FUNCTION_NAMES) expect(page).toContain(`\`${name}(`);
  expect(page).toContain(`${EXPRESSION_LENGTH_MAX.toLocaleString('en')} characters`);
  expect(page).toContain(`${OPERATORS_MAX} operators`);
});
