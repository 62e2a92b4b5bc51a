/** Section 3.4.3: patterns, and that each of the three ways they are compiled to gives the same answer. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compileLike } from '../../../core/rules/filters/cesql/like.ts';
import type { Node } from '../../../core/rules/filters/cesql/syntax.ts';
import { valueOf, type Attributes } from './evaluate.ts';
import { evaluateSlowly } from './oracle.ts';

describe('a pattern', () => {
  test.each<[pattern: string, matching: readonly string[], others: readonly string[]]>([
    ['abc', ['abc'], ['ab', 'abcd', 'ABC', '', 'xabc']],
    ['', [''], ['a', ' ']],
    ['%', ['', 'a', 'abc', 'a\nb', '😀'], []],
    ['%%', ['', 'a'], []],
    ['a%', ['a', 'ab', 'a%'], ['', 'ba', 'A']],
    ['%a', ['a', 'ba', 'aa'], ['', 'ab']],
    ['%b%', ['b', 'abc', 'bb'], ['', 'ac']],
    ['ab%bc', ['abbc', 'abxbc', 'abcbc'], ['abc', 'ab', 'bc']],
    ['a%b%c', ['abc', 'axbyc', 'abbcc', 'a%b%c', 'abcbc'], ['ac', 'acb', 'ab', 'bc', '']],
    ['.%.%.', ['...', '.a.b.', '....'], ['..', 'a.b.', '.a.b', 'x.x.x.']],
    ['%aa%aa%', ['aaaa', 'aaxaa'], ['aaa']],
    ['%ab%ab%', ['abab', 'xabyabz'], ['aba', 'ab']],
    ['_', ['a', '%', '_', '😀', '\n'], ['', 'ab', '😀😀']],
    ['__', ['ab', '😀a'], ['a', 'abc', '😀']],
    ['a_c', ['abc', 'a_c', 'a😀c'], ['ac', 'abbc', 'Abc']],
    ['_%', ['a', 'ab', '😀'], ['']],
    ['%_', ['a', 'ab'], ['']],
    ['a_%_d', ['abcd', 'abxcd'], ['abd', 'ad']],
    ['%a_c%', ['abc', 'xxaycxx', 'aacc'], ['ac', 'xxacx']],
    ['_b%', ['ab', 'abc', 'abcd1'], ['b', 'acd', 'aBc']],
    ['abc\\%', ['abc%'], ['abc', 'abcd', 'abc\\%']],
    ['a\\_b', ['a_b'], ['axb', 'a\\_b']],
    ['a\\%b%', ['a%b', 'a%bc'], ['axb', 'axbc']],
    ['a\\_b_', ['a_bc'], ['axbc', 'a_b']],
    ['a\\b', ['a\\b'], ['ab']],
    ['a\\\\%', ['a\\%'], ['a\\', 'a\\b']],
    ['%\\', ['\\', 'a\\'], ['', 'a']],
    ['.*', ['.*'], ['abc', '']],
    ['[a-z]', ['[a-z]'], ['a']],
    ['%😀', ['😀', 'a😀'], ['😁', '']],
    ['%é_', ['éa', 'aé😀'], ['é', 'éab']],
  ])('%j matches what it should and nothing else', (pattern, matching, others) => {
    const matches = compileLike(pattern);
    expect(matching.filter((text) => !matches(text))).toEqual([]);
    expect(others.filter((text) => matches(text))).toEqual([]);
  });

  test('may be as long as an expression', () => {
    const long = `%${'ab_'.repeat(100)}c%`;
    const matches = compileLike(long);
    expect(matches(`xxx${'abz'.repeat(100)}cyy`)).toBe(true);
    expect(matches(`xxx${'abz'.repeat(100)}dyy`)).toBe(false);
    expect(matches(`xxx${'abz'.repeat(99)}cyy`)).toBe(false);
  });

  test('may be long and the text of characters of two units', () => {
    const matches = compileLike(`%${'_'.repeat(40)}b`);
    expect(matches(`${'😀'.repeat(40)}b`)).toBe(true);
    expect(matches(`${'😀'.repeat(39)}b`)).toBe(false);
  });

  test('keeps no memory of the text before', () => {
    const matches = compileLike(`%${'_'.repeat(40)}b`);
    expect([matches('a'.repeat(41)), matches('b'), matches(`${'a'.repeat(40)}b`)]).toEqual([
      false,
      false,
      true,
    ]);
  });
});

test('any pattern agrees with the regular expression of the slow evaluator', () => {
  const letter = fc.constantFrom('a', 'b', '%', '_', '\\', '😀', 'é', '.');
  // Around 31 and 62 characters a pattern takes one more word of bits.
  const part = fc.oneof(letter, fc.constantFrom('\\%', '\\_', '_'.repeat(29), 'ab'.repeat(15)));
  const patterns = fc.array(part, { maxLength: 12 }).map((parts) => parts.join(''));
  const texts = fc.oneof(
    fc.array(letter, { maxLength: 12 }).map((letters) => letters.join('')),
    fc
      .array(fc.constantFrom('ab'.repeat(15), 'a', 'b'.repeat(29), '😀'), { maxLength: 6 })
      .map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(patterns, texts, (pattern, text) => {
      const tree: Node = { kind: 'like', operand: { kind: 'literal', value: text }, pattern };
      expect(compileLike(pattern)(text)).toBe(evaluateSlowly(tree, {}).value);
    }),
    { numRuns: 2_000 },
  );
});

describe('LIKE', () => {
  test.each<[expression: string, expected: boolean | undefined, attributes?: Attributes]>([
    ["'abc' LIKE 'a%'", true],
    ["'abc' NOT LIKE 'a%'", false],
    ["'abc' not like 'b%'", true],
    ["'ab\\c' LIKE 'ab\\c'", true],
    ["'it\\'s' LIKE 'it\\'_'", true],
    ['"a%" LIKE "a\\%"', true],
    ["234 LIKE '23_'", true],
    ["2344 LIKE '23_'", false],
    ["TRUE LIKE 'tr%'", true],
    ["FALSE LIKE '%ue'", false],
    ["tenant LIKE 'blue\\_%'", true, { tenant: 'blue_1' }],
    ["tenant NOT LIKE 'blue\\_%'", false, { tenant: 'blue_1' }],
    ["count LIKE '4_'", true, { count: 42 }],
    ["CONCAT('a', 'b') LIKE 'ab'", true],
    ["missing LIKE '%'", undefined],
    ["missing NOT LIKE '%'", undefined],
  ])('%s is %p', (expression, expected, attributes = {}) => {
    expect(valueOf(expression, attributes)).toBe(expected);
  });
});
