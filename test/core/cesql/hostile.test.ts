/**
 * Goal: no expression and no event can exhaust the stack, fill the memory or hold the loop up for long. Method: the worst
 * that we could think of, at the limits. What grows with the square of its size, or doubles with each character, would
 * take minutes here; a second leaves room for a busy machine.
 */
import { describe, expect, test } from '@jest/globals';
import { compileLike } from '../../../core/rules/filters/cesql/like.ts';
import { compileNode } from '../../../core/rules/filters/cesql/compile.ts';
import { cesqlFault } from '../../../core/rules/filters/cesql/fault.ts';
import { EXPRESSION_LENGTH_MAX, OPERATORS_MAX } from '../../../core/rules/filters/cesql/parser.ts';
import { treeOf, valueOf, type Attributes } from './evaluate.ts';

const LONG_MS = 1_000;

/** The most that the attributes of an event may have. */
const BIG = 'a'.repeat(65_000);

function expectQuick(run: () => void): void {
  const start = performance.now();
  run();
  expect(performance.now() - start).toBeLessThan(LONG_MS);
}

describe('the length of an expression', () => {
  test('may be all that is allowed', () => {
    const longest = `type = '${'x'.repeat(EXPRESSION_LENGTH_MAX - 9)}'`;
    expect(longest.length).toBe(EXPRESSION_LENGTH_MAX);
    expect(cesqlFault(longest)).toBeUndefined();
  });

  test('may not be one more', () => {
    expect(cesqlFault(`${'x'.repeat(EXPRESSION_LENGTH_MAX)} `)).toMatchObject({
      position: EXPRESSION_LENGTH_MAX + 1,
      problem: 'an expression has at most 4096 characters, this one has 4097',
    });
  });

  test('does not matter beyond it', () => {
    expectQuick(() => expect(cesqlFault('('.repeat(50_000_000))).toBeDefined());
  });
});

describe('nesting', () => {
  const shapes: readonly [name: string, of: (depth: number) => string, steps: number][] = [
    ['parentheses', (depth) => `${'('.repeat(depth)}b${')'.repeat(depth)}`, 1],
    ['NOT', (depth) => `${'NOT '.repeat(depth)}b`, 1],
    ['minus', (depth) => `b = ${'- '.repeat(depth - 1)}1`, 1],
    ['a row of AND', (depth) => `b${' AND b'.repeat(depth)}`, 1],
    ['a row of sums', (depth) => `b =1${'+1'.repeat(depth - 1)}`, 1],
    ['AND in parentheses', (depth) => `${'b AND('.repeat(depth / 2)}b${')'.repeat(depth / 2)}`, 2],
    ['calls', (depth) => `${'BOOL('.repeat(depth)}b${')'.repeat(depth)}`, 1],
    ['IN', (depth) => `${'b IN('.repeat(depth)}b${')'.repeat(depth)}`, 1],
  ];

  test.each(shapes)(
    'of %s may be all that is allowed, also on a stack that is in use',
    (_name, of) => {
      const expression = of(OPERATORS_MAX);
      const evaluate = (): unknown => {
        expect(cesqlFault(expression)).toBeUndefined();
        return valueOf(expression, { b: true });
      };
      expect(evaluate()).not.toBe('never');
      expect(deep(1_000, evaluate)).toBe(evaluate());
    },
  );

  test.each(shapes)('of %s may not be more', (_name, of, steps) => {
    const expression = of(OPERATORS_MAX + steps);
    expect(cesqlFault(expression)?.problem).toBe('more than 500 operators, parentheses and calls');
  });

  test.each([
    ['open parentheses', '('.repeat(EXPRESSION_LENGTH_MAX)],
    ['open calls', 'A('.repeat(EXPRESSION_LENGTH_MAX / 2)],
    ['minus signs', '-'.repeat(EXPRESSION_LENGTH_MAX)],
    ['open lists', 'a IN('.repeat(800)],
    ['quotes', "'".repeat(EXPRESSION_LENGTH_MAX - 1)],
    ['escapes', `'${"\\'".repeat(2_000)}`],
    ['words', 'a '.repeat(EXPRESSION_LENGTH_MAX / 2)],
  ])('of %s without an end is a fault at once', (_name, expression) => {
    expectQuick(() => expect(cesqlFault(expression)).toBeDefined());
  });

  function deep<Result>(frames: number, run: () => Result): Result {
    return frames === 0 ? run() : deep(frames - 1, run);
  }
});

describe('one event is not held up by', () => {
  const repeated = (clause: string, count = 150): string =>
    Array.from({ length: count }, () => clause).join(' OR ');

  test.each<[name: string, expression: string, attributes: Attributes]>([
    ['% and nearly what it looks for', `a LIKE '%${'a%'.repeat(1_500)}b'`, { a: BIG }],
    ['a piece that repeats itself', `a LIKE '%${'a'.repeat(2_000)}b%'`, { a: BIG }],
    ['a piece that repeats itself, and _', `a LIKE '%${'a_'.repeat(2_000)}b%'`, { a: BIG }],
    ['many patterns', repeated("a LIKE '%a_b%'"), { a: BIG }],
    ['a number of zeros', repeated('a = 2'), { a: `${'0'.repeat(65_000)}1` }],
    ['spaces on both sides of spaces', repeated("TRIM(a) = 'x'"), { a: ` ${'x '.repeat(32_000)}` }],
    ['case', repeated("LOWER(a) = 'x'"), { a: 'É'.repeat(32_000) }],
    ['characters of two units', repeated("RIGHT(a, 1) = 'x'"), { a: '😀'.repeat(16_000) }],
  ])('%s', (_name, expression, attributes) => {
    const { evaluate } = compileNode(treeOf(expression), { correlationKeys: new Map() });
    const event = {
      attributes: new Map(Object.entries(attributes)),
      headers: new Map<string, string>(),
      data: undefined,
    };
    expectQuick(() => expect(evaluate(event)).not.toBeUndefined());
  });
});

describe('a concatenation', () => {
  test('gives what all attributes of an event may have', () => {
    expect(valueOf('LENGTH(CONCAT(a, b))', { a: BIG, b: 'b'.repeat(536) })).toBe(65_536);
  });

  test('gives no more', () => {
    expect(valueOf('LENGTH(CONCAT(a, b))', { a: BIG, b: 'b'.repeat(537) })).toBeUndefined();
    expect(valueOf("LENGTH(CONCAT_WS(a, 'x', 'y', 'z'))", { a: BIG })).toBeUndefined();
  });

  test('of concatenations does not double with each', () => {
    const twice = (depth: number): string =>
      depth === 0 ? 'a' : `CONCAT(${twice(depth - 1)},${twice(depth - 1)})`;
    expectQuick(() => expect(valueOf(`LENGTH(${twice(8)})`, { a: BIG })).toBeUndefined());
  });
});

test('a pattern of characters that all differ takes memory for each, not for each pair', () => {
  const letters = Array.from({ length: 4_000 }, (_, at) => String.fromCharCode(0x4e00 + at)).join(
    '',
  );
  const before = process.memoryUsage().arrayBuffers;
  const matches = compileLike(`_${letters}`);
  expect(matches(`x${letters}`)).toBe(true);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16_000_000);
});
