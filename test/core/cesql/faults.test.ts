/**
 * What is said about an expression that is no filter: where, what, and which word may have been meant. Section 2 of the
 * specification says what can be read; 1.2 and 3.5 what may not come of it.
 */
import { describe, expect, test } from '@jest/globals';
import { cesqlFault } from '../../../core/rules/filters/cesql/fault.ts';

function faultText(expression: string): string {
  const fault = cesqlFault(expression);
  return fault === undefined ? 'none' : `${fault.position}: ${fault.problem}`;
}

describe('there is no fault in', () => {
  test.each([
    'TRUE',
    'type',
    "type = 'a'",
    '\n  type = "a"\n  AND EXISTS subject\n',
    'urgent AND NOT paused',
    'BOOL(count)',
    "KN_VERIFY_CORRELATION_ID(replyid, 'name', 'default', 'request-reply-keys', 0, 1)",
    'FALSE OR 1 = 1',
    `type IN (${"'order.created', ".repeat(200)}'x')`,
  ])('%s', (expression) => {
    expect(faultText(expression)).toBe('none');
  });
});

describe('the fault in', () => {
  const operand = 'a value, an attribute or a function was expected, not';
  const operator = 'an operator or the end was expected, not';
  const close = 'an operator or a closing parenthesis was expected, not';

  test.each<[name: string, expression: string, fault: string]>([
    ['nothing but space', '  ', `3: ${operand} the end`],
    ['an open parenthesis', '(a', `3: ${close} the end`],
    ['an open call', 'ABC(', `5: ${operand} the end`],
    ['a parenthesis too many', 'a)', `2: ${operator} )`],
    ['empty parentheses', '()', `2: ${operand} )`],
    ['a missing right side', "type = 'a' AND", `15: ${operand} the end`],
    ['a missing left side', "= 'a'", `1: ${operand} =`],
    ['two operands', 'a b', `3: ${operator} b`],
    ['a text that looks like a parenthesis', "LOWER '(' a) = 'x'", `7: ${operator} '('`],
    ['a text that looks like an operator', "a '=' b", `3: ${operator} '='`],
    ['two operators', 'a * / b', `5: ${operand} /`],
    ['a plus that is no sign', '+ 5', `1: ${operand} +`],
    ['a comma outside of a list', 'a, b', `2: ${operator} ,`],
    ['a comma at the end of a list', "a IN ('x',)", `11: ${operand} )`],
    ['an empty list', 'a IN ()', '7: the list of an IN has at least one value, not )'],
    ['no list', "a IN 'x'", "6: IN needs a list in parentheses, not 'x'"],
    ['a pattern that is no text', 'a LIKE 5', '8: LIKE needs a pattern in quotes, not 5'],
    ['a pattern that is an attribute', 'a LIKE b', '8: LIKE needs a pattern in quotes, not b'],
    ['EXISTS of a text', "EXISTS 'a'", "8: EXISTS needs the bare name of an attribute, not 'a'"],
    ['EXISTS in parentheses', 'EXISTS(a)', '7: EXISTS needs the bare name of an attribute, not ('],
    ['EXISTS of digits', 'EXISTS 12', '8: EXISTS needs the bare name of an attribute, not 12'],
    ['NOT between operands', 'a NOT b', `3: ${operator} NOT, which is a keyword`],
    ['a keyword as a name', "in = 'x'", `1: ${operand} IN, which is a keyword`],
    [
      'a keyword as a name after EXISTS',
      'EXISTS like',
      '8: EXISTS needs the bare name of an attribute, not LIKE, which is a keyword',
    ],
    ['an open text', "type = 'a", "8: the text that begins here has no closing '"],
    [
      'a text that ends in an escape',
      "type = 'a\\'",
      "8: the text that begins here has no closing '",
    ],
    [
      'a quote that is doubled',
      "a = 'it''s'",
      `9: ${operator} 's': a quote inside a text is \\' or \\"`,
    ],
    ['an equality sign that is doubled', "a == 'x'", `4: ${operand} =: equality is a single =`],
    ['another language: and', 'a && b', '3: & has no meaning here: the operator is called AND'],
    [
      'another language: or',
      'a || b',
      '3: | has no meaning here: the operator is called OR, and CONCAT joins texts',
    ],
    ['another language: not', 'NOT !a', '5: ! has no meaning here: the operator is called NOT'],
    [
      'a text without quotes',
      'type = order.created',
      '13: . has no meaning here: texts are in quotes, names of attributes have no dots, and the data cannot be looked into',
    ],
    ['a semicolon', 'a;', '2: ; has no meaning here'],
    ['a character beyond the first plane', 'a = 😀', '5: 😀 has no meaning here'],
    ['a character that cannot be shown', 'a = \u0007', '5: "\\u0007" has no meaning here'],
    [
      'a name with an underscore',
      'a_b = 1',
      '1: a_b names no attribute: their names are letters and digits',
    ],
    ['a function with a digit', 'a1(5)', '1: a1 is no function: their names are letters and _'],
    [
      'a number out of range',
      'a = 2147483648',
      '5: 2147483648 is out of range: an integer has 32 bits',
    ],
    [
      'a small number out of range',
      'a = -2147483649',
      '5: -2147483649 is out of range: an integer has 32 bits',
    ],
    ['a function that is not there', "TRUE OR nothing('a')", '9: there is no function NOTHING'],
    [
      'a function in a call of another',
      "LOWER(NOTHING(a)) = 'x'",
      '7: there is no function NOTHING',
    ],
    ['a function in a list of another', "LOWER(x) IN ('a', B())", '19: there is no function B'],
    ['too few arguments', 'LEFT(type) = 1', '1: LEFT takes 2 arguments, not 1'],
    ['too many arguments', 'a = TRIM(b, c)', '5: TRIM takes 1 argument, not 2'],
    [
      'arguments of one with several forms',
      "SUBSTRING('a') = ''",
      '1: SUBSTRING takes 2 or 3 arguments, not 1',
    ],
    ['no arguments', "CONCAT_WS() = ''", '1: CONCAT_WS takes at least 1 argument, not 0'],
    [
      'a result that is a text',
      'LOWER(type)',
      '1: the result is a text, and a filter needs true or false',
    ],
    [
      'a result that is a literal',
      "'true'",
      '1: the result is a text, and a filter needs true or false',
    ],
    [
      'a result that is an integer',
      'count + 1',
      '1: the result is an integer, and a filter needs true or false',
    ],
  ])('%s', (_name, expression, expected) => {
    expect(faultText(expression)).toBe(expected);
  });

  test('a long word shows the beginning of it', () => {
    expect(faultText(`${'x'.repeat(100)}_ = 1`)).toBe(
      `1: ${'x'.repeat(40)}... names no attribute: their names are letters and digits`,
    );
  });
});

describe('a word that may be misspelt comes with those that would do', () => {
  test.each([
    ['LENGHT(type) = 3', 'LENGHT', 'LENGTH'],
    ["type = 'a' ANS id = 'b'", 'ANS', 'AND'],
    ["type LIK 'a%'", 'LIK', 'LIKE'],
    ["(type = 'a' ro id = 'b')", 'ro', 'OR'],
  ])('%s', (expression, word, meant) => {
    const { misspelt } = cesqlFault(expression) ?? {};
    expect(misspelt?.word).toBe(word);
    expect(misspelt?.known).toContain(meant);
  });

  test('a word where a value belongs may be any', () => {
    expect(cesqlFault('a = AND')?.misspelt).toBeUndefined();
  });
});
