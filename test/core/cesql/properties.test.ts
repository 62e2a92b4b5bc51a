/**
 * Goal: what is compiled means what the specification says, for expressions that nobody would think of. Method: random
 * trees are written down in random style, read again, compiled, and compared with the slow evaluator on random events.
 */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { cesqlFault } from '../../../core/rules/filters/cesql/fault.ts';
import { pinsOf } from '../../../core/rules/filters/cesql/pins.ts';
import type { Node } from '../../../core/rules/filters/cesql/syntax.ts';
import { REQUIRED, treeOf, valueOf } from './evaluate.ts';
import { evaluateSlowly } from './oracle.ts';
import { attributes, conditions, styles, textOf, trees } from './random-expressions.ts';

// Enough that each rule broken on purpose is found, and a second or two on an idle machine.
const runs = { numRuns: 1_500 };
const someEvents = fc.array(attributes, { minLength: 3, maxLength: 3 });

test('an expression is read as the tree that it was written from', () => {
  fc.assert(
    fc.property(trees, styles, (tree, style) => {
      expect(withoutOffsets(treeOf(textOf(tree, style)))).toEqual(tree);
    }),
    runs,
  );
});

test('a compiled expression has the value that the slow evaluator finds, and fails where that has an error', () => {
  fc.assert(
    fc.property(trees, styles, someEvents, (tree, style, events) => {
      const expression = textOf(tree, style);
      for (const event of events) {
        const { value, errors } = evaluateSlowly(tree, { ...REQUIRED, ...event });
        expect(valueOf(expression, event)).toBe(errors.length > 0 ? undefined : value);
      }
    }),
    runs,
  );
});

test('random conditions are not all the same: each of true, false and an error is a tenth of them', () => {
  const counts = new Map<unknown, number>();
  const samples = fc.sample(fc.tuple(conditions, attributes), { numRuns: 1_000, seed: 1 });
  for (const [tree, event] of samples) {
    const value = valueOf(textOf(tree, [1]), event);
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  for (const value of [true, false, undefined]) expect(counts.get(value)).toBeGreaterThan(100);
});

test('an event without a pinned value never passes', () => {
  let pinned = 0;
  fc.assert(
    fc.property(conditions, someEvents, fc.constantFrom('type', 'source'), (tree, events, name) => {
      const pins = pinsOf(tree, name);
      if (pins === undefined) return;
      pinned += 1;
      expect(new Set(pins).size).toBe(pins.length);
      for (const event of events.filter((each) => !pins.includes(each[name]))) {
        const { value, errors } = evaluateSlowly(tree, { ...REQUIRED, ...event });
        expect(value === true && errors.length === 0).toBe(false);
      }
    }),
    { numRuns: 5_000 },
  );
  // Without this the property could hold because nothing was ever pinned.
  expect(pinned).toBeGreaterThan(100);
});

test('a fault is found in any text, or none is, and nothing is thrown', () => {
  const token = fc.constantFrom(
    ...['a', 'type', '1', '-', '(', ')', ',', '=', '<', '>', '!', '%', 'AND', 'NOT', 'IN', 'LIKE'],
    ...[
      'EXISTS',
      'TRUE',
      "'",
      '"',
      '\\',
      "'x'",
      'LENGTH',
      'CONCAT_WS',
      '_',
      '.',
      '😀',
      '\u0000',
      ' ',
    ],
  );
  const soup = fc.oneof(
    fc.array(token, { maxLength: 30 }).map((tokens) => tokens.join('')),
    fc.array(token, { maxLength: 30 }).map((tokens) => tokens.join(' ')),
    fc.string({ unit: 'binary', maxLength: 50 }),
  );
  fc.assert(
    fc.property(soup, (text) => {
      const fault = cesqlFault(text);
      if (fault === undefined) return;
      expect(fault.position).toBeGreaterThanOrEqual(1);
      expect(fault.position).toBeLessThanOrEqual(text.length + 1);
    }),
    runs,
  );
});

/** The place of a call in the text, which a random tree does not know. */
function withoutOffsets(tree: Node): Node {
  return JSON.parse(JSON.stringify(tree), (key, value: unknown) =>
    key === 'offset' ? 0 : value,
  ) as Node;
}
