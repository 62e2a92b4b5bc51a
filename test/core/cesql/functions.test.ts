/** Section 3.5 of the specification and the casts of 3.7, a row each; asked of both evaluators like the other sections. */
import { describe, expect, test } from '@jest/globals';
import { FUNCTION_NAMES } from '../../../core/rules/filters/cesql/functions.ts';
import type { Value } from '../../../core/rules/filters/cesql/syntax.ts';
import { REQUIRED, treeOf, valueOf } from './evaluate.ts';
import { evaluateSlowly, type ErrorKind } from './oracle.ts';

type Row = readonly [expression: string, expected: Value, error?: ErrorKind];

function check(rows: readonly Row[]): void {
  const cases = rows.map(([expression, expected, error]) => ({ expression, expected, error }));
  test.each(cases)('$expression', ({ expression, expected, error }) => {
    expect(valueOf(expression, ATTRIBUTES)).toBe(error === undefined ? expected : undefined);
    const slow = evaluateSlowly(treeOf(expression), { ...REQUIRED, ...ATTRIBUTES });
    expect(slow).toEqual({ value: expected, errors: error === undefined ? [] : [error] });
  });
}

const ATTRIBUTES = { count: 5, urgent: true, space: '\u0085\u2003a\u0000 \u3000', bom: '\ufeffa' };

describe('LENGTH', () => {
  check([
    ["LENGTH('abc')", 3],
    ["LENGTH('')", 0],
    ["LENGTH('äé')", 2],
    ["LENGTH('a😀b')", 3],
    ['LENGTH(TRUE)', 4],
    ['LENGTH(-12)', 3],
    ['LENGTH(count)', 1],
    ['LENGTH(missing)', 0, 'missingAttribute'],
  ]);
});

describe('CONCAT and CONCAT_WS', () => {
  check([
    ['CONCAT()', ''],
    ["CONCAT('a')", 'a'],
    ["CONCAT('a', 'b', 'c')", 'abc'],
    ["CONCAT(1, '-', TRUE)", '1-true'],
    ['CONCAT(count, urgent)', '5true'],
    ["CONCAT('a', missing)", '', 'missingAttribute'],
    ["CONCAT_WS(',')", ''],
    ["CONCAT_WS(',', 'a')", 'a'],
    ["CONCAT_WS(', ', 'a', 'b', 'c')", 'a, b, c'],
    ["CONCAT_WS('', 'a', 'b')", 'ab'],
    ["CONCAT_WS(0, 'a', 'b')", 'a0b'],
    ["CONCAT_WS(',', '', '')", ','],
    ["CONCAT_WS(missing, 'a')", '', 'missingAttribute'],
    ['CONCAT_WS()', false, 'missingFunction'],
  ]);
});

describe('LOWER, UPPER and TRIM', () => {
  check([
    ["LOWER('AbC')", 'abc'],
    ["LOWER('ÄÉ')", 'äé'],
    ['LOWER(TRUE)', 'true'],
    ["UPPER('aBc')", 'ABC'],
    ["UPPER('äé')", 'ÄÉ'],
    ['UPPER(urgent)', 'TRUE'],
    ["TRIM('  a b  ')", 'a b'],
    ["TRIM('  a')", 'a'],
    ["TRIM('a  ')", 'a'],
    ["TRIM('a')", 'a'],
    ["TRIM('')", ''],
    ["TRIM('   ')", ''],
    ["TRIM('\t\n\r a\t\n')", 'a'],
    ['TRIM(space)', 'a\u0000'],
    ['TRIM(bom)', '\ufeffa'],
    ['TRIM(5)', '5'],
  ]);
});

describe('LEFT and RIGHT', () => {
  check([
    ["LEFT('abc', 2)", 'ab'],
    ["LEFT('abc', 0)", ''],
    ["LEFT('abc', 3)", 'abc'],
    ["LEFT('abc', 2147483647)", 'abc'],
    ["LEFT('', 0)", ''],
    ["LEFT('a😀b', 2)", 'a😀'],
    ["LEFT('abc', -1)", 'abc', 'functionEvaluation'],
    ["LEFT('abc', '2')", 'ab'],
    ["LEFT('abc', 'two')", '', 'cast'],
    ["RIGHT('abc', 2)", 'bc'],
    ["RIGHT('abc', 0)", ''],
    ["RIGHT('abc', 3)", 'abc'],
    ["RIGHT('abc', 2147483647)", 'abc'],
    ["RIGHT('', 0)", ''],
    ["RIGHT('a😀b', 2)", '😀b'],
    ["RIGHT('abc', -1)", 'abc', 'functionEvaluation'],
    ['RIGHT(1234, TRUE)', '4'],
  ]);
});

describe('SUBSTRING', () => {
  check([
    ["SUBSTRING('abcdef', 1)", 'abcdef'],
    ["SUBSTRING('abcdef', 2)", 'bcdef'],
    ["SUBSTRING('abcdef', 6)", 'f'],
    ["SUBSTRING('abcdef', -1)", 'f'],
    ["SUBSTRING('abcdef', -6)", 'abcdef'],
    ["SUBSTRING('abcdef', 0)", ''],
    ["SUBSTRING('abcdef', 7)", '', 'functionEvaluation'],
    ["SUBSTRING('abcdef', -7)", '', 'functionEvaluation'],
    ["SUBSTRING('', 1)", '', 'functionEvaluation'],
    ["SUBSTRING('', 0)", ''],
    ["SUBSTRING('a😀b', 2)", '😀b'],
    ["SUBSTRING('abcdef', 2, 3)", 'bcd'],
    ["SUBSTRING('abcdef', 2, 0)", ''],
    ["SUBSTRING('abcdef', 1, 6)", 'abcdef'],
    ["SUBSTRING('abcdef', 5, 10)", 'ef'],
    ["SUBSTRING('abcdef', 2, 2147483647)", 'bcdef'],
    ["SUBSTRING('abcdef', -4, 2)", 'cd'],
    ["SUBSTRING('abcdef', 0, 2)", ''],
    ["SUBSTRING('abcdef', 7, 2)", '', 'functionEvaluation'],
    ["SUBSTRING('abcdef', -7, 2)", '', 'functionEvaluation'],
    ["SUBSTRING('abcdef', 2, -1)", '', 'functionEvaluation'],
    ["SUBSTRING('a😀b', 2, 1)", '😀'],
    ["SUBSTRING('abc')", false, 'missingFunction'],
  ]);
});

describe('ABS', () => {
  check([
    ['ABS(10)', 10],
    ['ABS(-10)', 10],
    ['ABS(0)', 0],
    ["ABS('-7')", 7],
    ['ABS(2147483647)', 2_147_483_647],
    ['ABS(-2147483648)', 2_147_483_647, 'math'],
    ["ABS('ten')", 0, 'cast'],
  ]);
});

describe('INT, BOOL and STRING are the casts of 3.7', () => {
  check([
    ["INT('1')", 1],
    ["INT('-1')", -1],
    ["INT('+1')", 1],
    ["INT('007')", 7],
    ["INT('-0')", 0],
    ["INT('0000000000000000000000000000001')", 1],
    ["INT('2147483647')", 2_147_483_647],
    ["INT('-2147483648')", -2_147_483_648],
    ["INT('2147483648')", 0, 'cast'],
    ["INT('-2147483649')", 0, 'cast'],
    ["INT('99999999999999999999999')", 0, 'cast'],
    ["INT('')", 0, 'cast'],
    ["INT('-')", 0, 'cast'],
    ["INT('+-1')", 0, 'cast'],
    ["INT(' 1')", 0, 'cast'],
    ["INT('1 ')", 0, 'cast'],
    ["INT('1e3')", 0, 'cast'],
    ["INT('0x10')", 0, 'cast'],
    ["INT('1.0')", 0, 'cast'],
    ["INT('ten')", 0, 'cast'],
    ["INT('١')", 0, 'cast'],
    ['INT(5)', 5],
    ['INT(TRUE)', 1],
    ['INT(FALSE)', 0],
    ['INT(missing)', 0, 'missingAttribute'],
    ["BOOL('TRUE')", true],
    ["BOOL('tRuE')", true],
    ["BOOL('false')", false],
    ["BOOL('yes')", false, 'cast'],
    ["BOOL('true ')", false, 'cast'],
    ["BOOL('')", false, 'cast'],
    ["BOOL('1')", false, 'cast'],
    ['BOOL(1)', true],
    ['BOOL(-50)', true],
    ['BOOL(0)', false],
    ['BOOL(TRUE)', true],
    ['STRING(TRUE)', 'true'],
    ['STRING(FALSE)', 'false'],
    ['STRING(1)', '1'],
    ['STRING(-1)', '-1'],
    ['STRING(+007)', '7'],
    ["STRING('aB')", 'aB'],
    ['STRING(count)', '5'],
  ]);
});

describe('IS_INT and IS_BOOL of Knative', () => {
  check([
    ["IS_INT('12')", true],
    ["IS_INT('twelve')", false],
    ['IS_INT(TRUE)', true],
    ['IS_INT(missing)', false, 'missingAttribute'],
    ["IS_BOOL('TRUE')", true],
    ["IS_BOOL('yes')", false],
    ['IS_BOOL(10)', true],
  ]);
});

test('a function is known in any case, and by its number of arguments', () => {
  expect(valueOf("lEnGtH('abc')")).toBe(3);
  expect(FUNCTION_NAMES.filter((name) => name !== name.toUpperCase())).toEqual([]);
});
