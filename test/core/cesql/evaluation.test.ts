/**
 * Goal: every rule of the specification has a row here, by its section. Each row is asked of the real evaluator, which
 * knows that there was an error and no more, and of the slow one that the property tests trust, which must also give the
 * kind of error and the value that is left.
 * Source of the rules: CloudEvents SQL Expression Language 1.0.0.
 */
import { describe, expect, test } from '@jest/globals';
import type { Value } from '../../../core/rules/filters/cesql/syntax.ts';
import { REQUIRED, treeOf, valueOf, type Attributes } from './evaluate.ts';
import { evaluateSlowly, type ErrorKind } from './oracle.ts';

type Row = readonly [name: string, expression: string, expected: Value, more?: More];

interface More {
  readonly with?: Attributes;
  readonly error?: ErrorKind;
}

function check(rows: readonly Row[]): void {
  test.each(rows)('%s: %s', (_name, expression, expected, more = {}) => {
    const attributes = { ...REQUIRED, ...more.with };
    expect(valueOf(expression, attributes)).toBe(more.error === undefined ? expected : undefined);
    const slow = evaluateSlowly(treeOf(expression), attributes);
    expect(slow.value).toBe(expected);
    expect(new Set(slow.errors)).toEqual(new Set(more.error === undefined ? [] : [more.error]));
  });
}

describe('2.2 literals', () => {
  check([
    ['true', 'TRUE', true],
    ['false', 'FALSE', false],
    ['true in lower case', 'true', true],
    ['false in mixed case', 'fAlSe', false],
    ['zero', '0', 0],
    ['a number', '42', 42],
    ['a number with a plus', '+42', 42],
    ['a negative number', '-42', -42],
    ['leading zeros', '0007', 7],
    ['the largest number', '2147483647', 2_147_483_647],
    ['the smallest number', '-2147483648', -2_147_483_648],
    ['a text in single quotes', "'order'", 'order'],
    ['a text in double quotes', '"order"', 'order'],
    ['an empty text', "''", ''],
    ['a text keeps its case', "'OrDer'", 'OrDer'],
    ['a text keeps its spaces', "' a  b '", ' a  b '],
    ['its own quote, escaped, and the other one', `'it\\'s "so"'`, `it's "so"`],
    ['the same the other way round', `"it's \\"so\\""`, `it's "so"`],
    ['the escape of the other quote is left alone', `'a\\"b'`, 'a\\"b'],
    ['other backslashes are left alone', "'a\\nb\\\\c'", 'a\\nb\\\\c'],
    ['a text with a line end', "'a\nb'", 'a\nb'],
    ['a text beyond the first plane', "'😀'", '😀'],
  ]);
});

describe('2.1 and 3.6 grouping', () => {
  check([
    ['product before sum', '2 + 3 * 4', 14],
    ['product before difference', '20 - 6 / 2', 17],
    ['remainder binds like product', '20 - 7 % 4', 17],
    ['parentheses first', '(2 + 3) * 4', 20],
    ['parentheses in parentheses', '((2) + ((3)))', 5],
    ['differences from the left', '10 - 4 - 3', 3],
    ['quotients from the left', '100 / 5 / 2', 10],
    ['product and quotient from the left', '7 / 2 * 2', 6],
    ['sum before comparison', '1 + 1 = 2', true],
    ['comparisons from the left', '3 > 2 = TRUE', true],
    ['comparison before logic', '1 = 1 AND 2 = 2', true],
    ['NOT before a comparison', 'NOT FALSE = TRUE', true],
    ['NOT before logic', 'NOT FALSE OR TRUE', true],
    ['NOT before LIKE', "NOT FALSE LIKE 'tr%'", true],
    ['NOT before IN', 'NOT FALSE IN (TRUE)', true],
    ['NOT of EXISTS', 'NOT EXISTS subject', true],
    ['minus before a product', '-2 * 3', -6],
    ['minus of a parenthesis', '-(2 + 3)', -5],
    ['LIKE before IN', "'a' LIKE 'a' IN (TRUE)", true],
    ['LIKE after IN', "'a' IN ('b') LIKE 'fal%'", true],
    ['LIKE before a sum', "1 + 2 LIKE '2'", 2],
    ['LIKE before a comparison', "TRUE = 'a' LIKE 'a'", true],
    ['IN before a product', '3 * 2 IN (2)', 3],
    ['IN before a comparison', 'TRUE = 5 IN (5)', true],
    ['logic from the right: AND, OR', 'FALSE AND TRUE OR TRUE', false],
    ['logic from the right: OR, AND', 'TRUE OR TRUE AND FALSE', true],
    ['logic from the right: XOR, OR', 'TRUE XOR TRUE OR TRUE', false],
    ['a sign after an operand is an operator', '4 -1', 3],
    ['without spaces as well', '4-1', 3],
    ['and before a signed number', '4--1', 5],
    ['a plus sign after an operand', '4+1', 5],
    ['any space will do', '\t1\r\n +\n1 ', 2],
  ]);
});

describe('2.4 function calls', () => {
  check([
    ['names in lower case', "upper('a')", 'A'],
    ['a space before the parenthesis', "UPPER ('a')", 'A'],
    ['no arguments', 'CONCAT()', ''],
    ['expressions as arguments', "LEFT('abc', 1 + 1)", 'ab'],
    ['calls in calls', "UPPER(LEFT('abc', LENGTH('ab')))", 'AB'],
  ]);
});

describe('3.2 attributes', () => {
  check([
    ['a required one', 'id', '7', { with: { id: '7' } }],
    ['an optional one', 'subject', 'cat', { with: { subject: 'cat' } }],
    ['an extension', 'tenant', 'blue', { with: { tenant: 'blue' } }],
    ['an integer', 'count', 10, { with: { count: 10 } }],
    ['a boolean', 'urgent', false, { with: { urgent: false } }],
    ['a URI is a text', 'source', 'http://a/b', { with: { source: 'http://a/b' } }],
    [
      'a time is the text that was sent',
      'time',
      '2024-01-02T03:04:05+02:00',
      {
        with: { time: '2024-01-02T03:04:05+02:00' },
      },
    ],
    ['a name in upper case', 'SUBJECT', 'cat', { with: { subject: 'cat' } }],
    ['a name with digits', 'a1b2', 'x', { with: { a1b2: 'x' } }],
    ['a name that begins with digits', '2nd', 'x', { with: { '2nd': 'x' } }],
    ['a name that begins like a keyword', 'order', 'x', { with: { order: 'x' } }],
    ['an empty one', "tenant = ''", true, { with: { tenant: '' } }],
    ['a missing one', 'subject', false, { error: 'missingAttribute' }],
    ['a missing one, compared with a text', "subject = ''", false, { error: 'missingAttribute' }],
    ['a missing one in a product', 'count * 5', 0, { error: 'missingAttribute' }],
    ['a missing divisor is not zero', '1 / count', 0, { error: 'missingAttribute' }],
    ['a missing one in a function', 'LENGTH(subject)', 0, { error: 'missingAttribute' }],
    [
      'what other dialects call it is not known',
      'schemaurl',
      false,
      {
        with: { dataschema: 'x' },
        error: 'missingAttribute',
      },
    ],
  ]);
});

describe('3.4.1 unary operators', () => {
  check([
    ['NOT true', 'NOT TRUE', false],
    ['NOT false', 'NOT FALSE', true],
    ['NOT NOT', 'NOT NOT TRUE', true],
    ['NOT of a text', "NOT 'FALSE'", true],
    ['NOT of a text that is no boolean', "NOT 'no'", false, { error: 'cast' }],
    ['NOT of an integer', 'NOT 10', false],
    ['NOT of zero', 'NOT 0', true],
    ['NOT of a missing attribute', 'NOT a', false, { error: 'missingAttribute' }],
    ['minus', '- 10', -10],
    ['minus minus', '--10', 10],
    ['minus minus minus', '---10', -10],
    ['minus zero is zero', '-0', 0],
    ['minus of an attribute', '-count', -5, { with: { count: '5' } }],
    ['minus of a text', "-'10'", -10],
    ['minus minus of a text', "--'10'", 10],
    ['minus of true', '-TRUE', -1],
    ['minus of no number', "-'ten'", 0, { error: 'cast' }],
    ['minus of a missing attribute', '-a', 0, { error: 'missingAttribute' }],
    ['minus of the smallest number', '- -2147483648', 0, { error: 'math' }],
  ]);
});

describe('3.4.2 comparisons', () => {
  check([
    ['equal booleans', 'TRUE = TRUE', true],
    ['different booleans', 'TRUE = FALSE', false],
    ['equal integers', '2 = 2', true],
    ['different integers', '1 = 2', false],
    ['equal texts', "'a' = 'a'", true],
    ['different texts', "'a' = 'b'", false],
    ['texts that differ in case', "'a' = 'A'", false],
    ['texts of digits are texts', "'1' = '01'", false],
    ['not equal', '1 != 2', true],
    ['not unequal', '1 != 1', false],
    ['unequal texts', "'a' != 'b'", true],
    ['the other way to write it', '1 <> 2', true],
    ['the other way, of booleans', 'TRUE <> TRUE', false],
    ['less', '1 < 2', true],
    ['not less', '2 < 2', false],
    ['less or equal', '2 <= 2', true],
    ['not less or equal', '3 <= 2', false],
    ['greater', '2 > 1', true],
    ['not greater', '2 > 2', false],
    ['greater or equal', '2 >= 2', true],
    ['not greater or equal', '1 >= 2', false],
    ['order is that of numbers', "'10' > '9'", true],
    ['order of booleans', 'TRUE > FALSE', true],
    ['order of what is no number', "'b' > 'a'", false, { error: 'cast' }],
    ['a missing left side', 'a = 2', false, { error: 'missingAttribute' }],
    ['a missing left side, unequal', 'a != 2', false, { error: 'missingAttribute' }],
    ['a missing left side, the other way', 'a <> 2', false, { error: 'missingAttribute' }],
    ['a missing right side', '2 = a', false, { error: 'missingAttribute' }],
    ['a missing side of an order', 'a <= 2', false, { error: 'missingAttribute' }],
  ]);
});

describe('3.4.2 arithmetic', () => {
  check([
    ['a sum', '4 + 3', 7],
    ['a sum of negative numbers', '-4 + -3', -7],
    ['a difference', '4 - 7', -3],
    ['a product', '-4 * 3', -12],
    ['a quotient', '12 / 4', 3],
    ['a quotient is cut towards zero', '5 / 3', 1],
    ['also below zero', '-5 / 3', -1],
    ['a small quotient is no negative zero', '-1 / 3', 0],
    ['a remainder', '5 % 3', 2],
    ['a remainder has the sign of the left side', '-5 % 3', -2],
    ['whatever that of the right side', '5 % -3', 2],
    ['no remainder is no negative zero', '-6 % 3', 0],
    ['division by zero', '5 / 0', 0, { error: 'math' }],
    ['remainder by zero', '5 % 0', 0, { error: 'math' }],
    ['a missing dividend by zero', 'a / 0', 0, { error: 'missingAttribute' }],
    ['a missing left side of a remainder', 'a % 0', 0, { error: 'missingAttribute' }],
    ['the largest sum', '2147483646 + 1', 2_147_483_647],
    ['a sum out of range', '2147483647 + 1', 0, { error: 'math' }],
    ['a difference out of range', '-2147483648 - 1', 0, { error: 'math' }],
    ['a product out of range', '65536 * 32768', 0, { error: 'math' }],
    ['a product far out of range', '2147483647 * 2147483647', 0, { error: 'math' }],
    ['a quotient out of range', '-2147483648 / -1', 0, { error: 'math' }],
    ['a remainder of the same is in range', '-2147483648 % -1', 0],
    ['texts', "'5' + '3'", 8],
    ['a text and an integer', "5 - '3'", 2],
    ['a boolean', '5 + TRUE', 6],
    ['a text that is no number', "'five' + 3", 0, { error: 'cast' }],
    ['a number with a fraction', "'1.5' + 1", 0, { error: 'cast' }],
  ]);
});

describe('3.4.2 logic', () => {
  const all = ['FALSE', 'TRUE'] as const;
  const rows = all.flatMap((x) => all.map((y) => [x, y] as const));
  check([
    ...rows.map(([x, y]): Row => [`${x}, ${y}`, `${x} AND ${y}`, x === 'TRUE' && y === 'TRUE']),
    ...rows.map(([x, y]): Row => [`${x}, ${y}`, `${x} OR ${y}`, x === 'TRUE' || y === 'TRUE']),
    ...rows.map(([x, y]): Row => [`${x}, ${y}`, `${x} XOR ${y}`, x !== y]),
    ['operators in lower case', 'true and (false or true)', true],
    ['texts and integers are cast', "'true' AND 1", true],
    ['what is no boolean is not', "'yes' AND TRUE", false, { error: 'cast' }],
    ['AND does not look past false', 'FALSE AND 1 / 0 = 1', false],
    ['AND looks past true', 'TRUE AND 1 / 0 = 1', false, { error: 'math' }],
    ['OR does not look past true', 'TRUE OR 1 / 0 = 1', true],
    ['OR looks past false', 'FALSE OR 1 / 0 = 1', false, { error: 'math' }],
    ['XOR always looks at both', 'TRUE XOR 1 / 0 = 1', false, { error: 'math' }],
    ['an error on the left is one', 'a AND TRUE', false, { error: 'missingAttribute' }],
    ['even if the right side is true', 'a OR TRUE', false, { error: 'missingAttribute' }],
    ['EXISTS guards what follows', "EXISTS a AND a = 'x'", false],
  ]);
});

describe('3.4.4 EXISTS', () => {
  check([
    ['a required attribute', 'EXISTS id', true],
    ['all of them', 'EXISTS specversion AND EXISTS type AND EXISTS SOURCE', true],
    ['an optional one that is there', 'EXISTS time', true, { with: { time: 'x' } }],
    ['an optional one that is not', 'EXISTS time', false],
    ['an extension that is there', 'exists tenant', true, { with: { tenant: 'x' } }],
    ['an extension that is not', 'EXISTS tenant', false],
    ['one that is empty', 'EXISTS tenant', true, { with: { tenant: '' } }],
    ['one that is false', 'EXISTS urgent', true, { with: { urgent: false } }],
    ['no attribute has the name of what objects have', 'EXISTS constructor', false],
  ]);
});

describe('3.4.5 IN', () => {
  check([
    ['an integer that is there', '5 IN (1, 5)', true],
    ['an integer that is not', '5 IN (1, 2)', false],
    ['one value', '5 IN (5)', true],
    ['NOT IN, there', '5 NOT IN (1, 5)', false],
    ['NOT IN, not there', '5 NOT IN (1, 2)', true],
    ['a text', `'a' IN ('b', "a")`, true],
    ['a text in another case', "'A' IN ('b', 'a')", false],
    ['a boolean', 'TRUE IN (FALSE, TRUE)', true],
    ['a boolean that is not there', 'TRUE IN (FALSE)', false],
    ['attributes and literals', "source IN (ref, 'x')", true, { with: { source: 'y', ref: 'y' } }],
    ['an attribute in itself', 'source IN (source)', true],
    ['expressions', '5 IN (1 + 1, 2 + 3)', true],
    ['values are cast to the left side: text', "'1' IN (1, 2)", true],
    ['values are cast to the left side: integer', "1 IN ('01', '2')", true],
    ['values are cast to the left side: boolean', "TRUE IN ('TRUE')", true],
    ['booleans as texts are lower case', "'true' IN (TRUE)", true],
    ['and no others', "'TRUE' IN (TRUE, 'false')", false],
    ['the left side is not cast', "'TRUE' IN ('true')", false],
    ['an attribute with digits is a text', "count IN ('05')", false, { with: { count: '5' } }],
    ['an attribute that is a number is not', "count IN ('05')", true, { with: { count: 5 } }],
    ['a boolean attribute', "urgent IN ('TRUE')", true, { with: { urgent: true } }],
    ['a boolean attribute that is not there', 'urgent IN (0)', false, { with: { urgent: true } }],
    ['a value that cannot be cast', "5 IN ('five', 5)", false, { error: 'cast' }],
    ['after one that is equal it does not matter', "5 IN (5, 'five')", true],
    ['the same with an attribute among them', "5 IN (5, count, 'five')", true],
    ['a missing value', "'a' IN (b, 'a')", false, { error: 'missingAttribute' }],
    ['after one that is equal it is not missed', "'a' IN ('a', b)", true],
    ['a missing left side', "a IN ('a')", false, { error: 'missingAttribute' }],
    ['NOT IN of a missing left side', "a NOT IN ('a')", false, { error: 'missingAttribute' }],
  ]);
});

describe('3.7 casts between operands', () => {
  check([
    ['the right side decides: integer', 'count = 5', true, { with: { count: '5' } }],
    ['an integer may have zeros in front', 'count = 5', true, { with: { count: '005' } }],
    ['an integer may have a plus', 'count = 5', true, { with: { count: '+5' } }],
    ['the right side decides: text', "5 = '05'", false],
    ['the right side decides: boolean', "'TRUE' = true", true],
    ['a boolean is a text in lower case', "true = 'TRUE'", false],
    ['and equals it', "TRUE = 'true' AND FALSE = 'false'", true],
    ['an integer as boolean', '100 = TRUE', true],
    ['a boolean as integer', 'TRUE = 1', true],
    ['what cannot be cast', "'five' = 5", false, { error: 'cast' }],
    ['nor compared as unequal', "'five' != 5", false, { error: 'cast' }],
    ['an attribute on the right is what it is', '5 = count', true, { with: { count: '5' } }],
    ['a number there', "'05' = count", true, { with: { count: 5 } }],
    ['a boolean there', "'TRUE' = urgent", true, { with: { urgent: true } }],
    ['what cannot be cast to it', "'x' = count", false, { with: { count: 5 }, error: 'cast' }],
    ['two attributes', 'one = two', true, { with: { one: '1', two: 1 } }],
    ['two attributes, the other way', 'two = one', true, { with: { one: '1', two: 1 } }],
    ['a sum as the left side', 'count + 1 = 6', true, { with: { count: '5' } }],
    ['a sum as a text', 'LENGTH(count + 5)', 2, { with: { count: '5' } }],
    ['numbers of both sides in an order', 'hop < ttl', true, { with: { hop: '9', ttl: '10' } }],
  ]);
});

describe('3.5 errors of calls', () => {
  check([
    ['no such function', 'NOTHING(1)', false, { error: 'missingFunction' }],
    ['too few arguments', 'CONCAT_WS()', false, { error: 'missingFunction' }],
    ['too many arguments', 'ABS(1, 2)', false, { error: 'missingFunction' }],
    ['no arguments to one that needs some', 'LENGTH()', false, { error: 'missingFunction' }],
    ['one that is not reached', 'TRUE OR NOTHING(1)', true],
    [
      'no function has the name of what objects have',
      'CONSTRUCTOR(1)',
      false,
      {
        error: 'missingFunction',
      },
    ],
  ]);
});

describe('5 filters of other dialects, and whole conditions', () => {
  const order = { type: 'shop.order.created', source: 'https://shop.example/eu', tenant: 'blue' };
  const normal = "(id = 'a' OR type LIKE '%.done') AND (id = 'b' OR source LIKE 'https://%')";
  check([
    ['prefix', "source LIKE 'https://%'", true, { with: order }],
    ['prefix of another', "source LIKE 'http://%'", false, { with: order }],
    ['suffix', "type LIKE '%.created'", true, { with: order }],
    ['suffix of another', "type LIKE '%.deleted'", false, { with: order }],
    ['exact', "tenant = 'blue'", true, { with: order }],
    ['exact, missing', "region = 'eu'", false, { with: order, error: 'missingAttribute' }],
    ['suffix, missing', "region LIKE '%u'", false, { with: order, error: 'missingAttribute' }],
    ['both', "type LIKE 'shop.%' AND tenant = 'blue'", true, { with: order }],
    ['the first decides', "type LIKE 'x%' AND region = 'eu'", false, { with: order }],
    ['alternatives', "tenant = 'red' OR type LIKE '%.created'", true, { with: order }],
    ['conjunction of alternatives', normal, true, { with: { ...order, id: 'a' } }],
    ['the second alternatives', normal, true, { with: { ...order, id: 'b', type: 'x.done' } }],
    ['neither', normal, false, { with: { ...order, id: 'c' } }],
    [
      'limits as texts',
      'int(hop) < int(ttl) and int(hop) < 1000',
      true,
      {
        with: { hop: '5', ttl: '10' },
      },
    ],
  ]);
});
