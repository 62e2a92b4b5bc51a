/**
 * Trees of CESQL at random, and their text. Three kinds, true or false, integers and texts, are mostly put where they
 * belong and sometimes anywhere, so that most expressions mean something and casts come up. Values are few and alike, so
 * that they often meet.
 */
import fc from 'fast-check';
import type { AttributeValue } from '../../../core/event.ts';
import type { BinaryOperator, Node, Value } from '../../../core/rules/filters/cesql/syntax.ts';

const TEXTS = [
  ...[
    '',
    'a',
    'b',
    'ab',
    'abc',
    'A',
    ' a ',
    '\u00a0b\n',
    'é',
    '😀',
    'a😀b',
    '%',
    'a_c',
    '\\%',
    '\\x',
  ],
  ...['0', '1', '5', '-1', '05', '2147483648', 'true', 'TRUE', 'false', "it's", '"'],
];
const INTEGERS = [0, 1, 2, 3, 5, -1, -3, 10, 2_147_483_647, -2_147_483_648];

export const attributes = fc.record(
  {
    type: fc.constantFrom('a', 'b', 'ab', '1', 'true'),
    source: fc.constantFrom('a', 'b', '/x', 'TRUE'),
    subject: fc.constantFrom(...TEXTS),
    count: fc.constantFrom<AttributeValue>('0', '1', '5', 5, 0, -3),
    urgent: fc.constantFrom<AttributeValue>(true, false, 'true', 'FALSE'),
  },
  { requiredKeys: ['type', 'source'] },
);

const name = fc.constantFrom('type', 'source', 'subject', 'count', 'urgent', 'missing');
const patternPart = fc.constantFrom('%', '_', 'a', 'b', 'c', '😀', '\\%', '\\_', '\\x', '.');

const literal = (value: fc.Arbitrary<Value>): fc.Arbitrary<Node> =>
  value.map((each) => ({ kind: 'literal', value: each }));
const attribute: fc.Arbitrary<Node> = name.map((each) => ({ kind: 'attribute', name: each }));

type Trees = Record<'condition' | 'integer' | 'text' | 'any', Node>;

const { condition, any } = fc.letrec<Trees>((tie) => {
  const kindly = (kind: keyof Trees) =>
    fc.oneof(
      { weight: 8, arbitrary: tie(kind) },
      { weight: 1, arbitrary: attribute },
      { weight: 1, arbitrary: tie('any') },
    );
  const binary = (operators: readonly BinaryOperator[], kind: keyof Trees) =>
    fc.record({
      kind: fc.constant('binary' as const),
      operator: fc.constantFrom(...operators),
      left: kindly(kind),
      right: kindly(kind),
    });
  const call = (called: string, ...args: readonly fc.Arbitrary<Node>[]) =>
    fc.tuple(...args).map((all): Node => ({ kind: 'call', name: called, args: all, offset: 0 }));
  const several = fc.array(kindly('text'), { maxLength: 3 });
  const inOf = (kind: keyof Trees) =>
    fc.record({
      kind: fc.constant('in' as const),
      operand: kindly(kind),
      elements: fc.array(kindly(kind), { minLength: 1, maxLength: 3 }),
    });
  const pinned = fc.record({
    kind: fc.constant('binary' as const),
    operator: fc.constant('=' as const),
    left: fc.constantFrom<Node>(
      { kind: 'attribute', name: 'type' },
      { kind: 'attribute', name: 'source' },
    ),
    right: literal(fc.constantFrom('a', 'b', 'ab', '/x', '1', 'TRUE')),
  });
  return {
    condition: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      { weight: 1, arbitrary: literal(fc.boolean()) },
      { weight: 2, arbitrary: name.map((each): Node => ({ kind: 'exists', name: each })) },
      { weight: 3, arbitrary: pinned },
      { weight: 5, arbitrary: binary(['AND', 'OR', 'XOR'], 'condition') },
      { weight: 2, arbitrary: binary(['=', '!='], 'text') },
      { weight: 2, arbitrary: binary(['=', '!=', '<', '<=', '>', '>='], 'integer') },
      { weight: 1, arbitrary: inOf('text') },
      { weight: 1, arbitrary: inOf('integer') },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('like' as const),
          operand: kindly('text'),
          pattern: fc.array(patternPart, { maxLength: 6 }).map((parts) => parts.join('')),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('unary' as const),
          operator: fc.constant('NOT' as const),
          operand: kindly('condition'),
        }),
      },
      { weight: 1, arbitrary: fc.oneof(call('BOOL', tie('any')), call('IS_INT', tie('any'))) },
      { weight: 1, arbitrary: call('IS_BOOL', tie('any')) },
    ),
    integer: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      { weight: 4, arbitrary: literal(fc.constantFrom(...INTEGERS)) },
      { weight: 1, arbitrary: fc.constant<Node>({ kind: 'attribute', name: 'count' }) },
      { weight: 2, arbitrary: binary(['+', '-', '*', '/', '%'], 'integer') },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant('unary' as const),
          operator: fc.constant('-' as const),
          operand: kindly('integer'),
        }),
      },
      { weight: 1, arbitrary: call('LENGTH', kindly('text')) },
      { weight: 1, arbitrary: fc.oneof(call('ABS', kindly('integer')), call('INT', tie('any'))) },
    ),
    text: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      { weight: 4, arbitrary: literal(fc.constantFrom(...TEXTS)) },
      { weight: 4, arbitrary: attribute },
      {
        weight: 1,
        arbitrary: fc
          .tuple(fc.constantFrom('LOWER', 'UPPER', 'TRIM'), kindly('text'))
          .map(([called, x]): Node => ({ kind: 'call', name: called, args: [x], offset: 0 })),
      },
      {
        weight: 1,
        arbitrary: fc
          .tuple(fc.constantFrom('LEFT', 'RIGHT', 'SUBSTRING'), kindly('text'), kindly('integer'))
          .map(([called, ...args]): Node => ({ kind: 'call', name: called, args, offset: 0 })),
      },
      {
        weight: 1,
        arbitrary: call('SUBSTRING', kindly('text'), kindly('integer'), kindly('integer')),
      },
      {
        weight: 1,
        arbitrary: fc
          .tuple(fc.constantFrom('CONCAT', 'CONCAT_WS', 'NOTHING'), several)
          .map(([called, args]): Node => ({ kind: 'call', name: called, args, offset: 0 })),
      },
      { weight: 1, arbitrary: call('STRING', tie('any')) },
    ),
    any: fc.oneof(tie('condition'), tie('integer'), tie('text')),
  };
});

/** Trees whose value is true or false, if there is no error, and of any kind. */
export const conditions = condition;
export const trees = any;

/** Decides all that may be written in several ways: case, spaces, quotes, superfluous parentheses. */
export const styles = fc.array(fc.nat(11), { minLength: 1, maxLength: 30 });

/** A text that is read as this tree. */
export function textOf(tree: Node, style: readonly number[]): string {
  let at = 0;
  const dice = (): number => style[(at += 1) % style.length] ?? 0;
  return join(print(tree, 0, dice), dice);
}

type Dice = () => number;

const BINDINGS: Readonly<Record<BinaryOperator, number>> = {
  ...{ AND: 1, OR: 1, XOR: 1, '=': 2, '!=': 2, '<': 2, '<=': 2, '>': 2, '>=': 2 },
  ...{ '+': 3, '-': 3, '*': 4, '/': 4, '%': 4 },
};

/** Tokens. */
function print(tree: Node, bindingMin: number, dice: Dice): string[] {
  const { tokens, binding } = bare(tree, dice);
  return binding < bindingMin || dice() === 11 ? ['(', ...tokens, ')'] : tokens;
}

function bare(tree: Node, dice: Dice): { tokens: string[]; binding: number } {
  const word = (text: string): string => (dice() % 3 === 0 ? text.toLowerCase() : text);
  switch (tree.kind) {
    case 'literal':
      return { tokens: [printValue(tree.value, dice)], binding: 8 };
    case 'attribute':
      return { tokens: [dice() === 0 ? tree.name.toUpperCase() : tree.name], binding: 8 };
    case 'exists':
      return { tokens: [word('EXISTS'), tree.name], binding: 8 };
    case 'unary': {
      if (isNegatable(tree) && dice() % 2 === 0)
        return membership(tree.operand, [word('NOT')], dice);
      const operator = tree.operator === 'NOT' ? word('NOT') : '- ';
      return { tokens: [operator, ...print(tree.operand, 7, dice)], binding: 7 };
    }
    case 'binary': {
      const binding = BINDINGS[tree.operator];
      const isLogic = binding === 1;
      const operator = tree.operator === '!=' && dice() % 2 === 0 ? '<>' : tree.operator;
      const left = print(tree.left, isLogic ? 2 : binding, dice);
      const right = print(tree.right, isLogic ? 1 : binding + 1, dice);
      return { tokens: [...left, isLogic ? word(operator) : operator, ...right], binding };
    }
    case 'like':
    case 'in':
      return membership(tree, [], dice);
    case 'call':
      return {
        tokens: [dice() % 3 === 0 ? tree.name.toLowerCase() : tree.name, ...list(tree.args, dice)],
        binding: 8,
      };
  }
}

type Membership = Node & { readonly kind: 'like' | 'in' };

function isNegatable(tree: Node): tree is Node & { kind: 'unary'; operand: Membership } {
  return (
    tree.kind === 'unary' &&
    tree.operator === 'NOT' &&
    (tree.operand.kind === 'like' || tree.operand.kind === 'in')
  );
}

function membership(
  tree: Membership,
  not: readonly string[],
  dice: Dice,
): { tokens: string[]; binding: number } {
  // What IN gives may stand before LIKE, and the other way round.
  const left = print(tree.operand, 5, dice);
  return tree.kind === 'like'
    ? { tokens: [...left, ...not, 'LIKE', quoted(tree.pattern, dice)], binding: 5 }
    : { tokens: [...left, ...not, 'IN', ...list(tree.elements, dice)], binding: 5 };
}

function list(trees: readonly Node[], dice: Dice): string[] {
  const items = trees.flatMap((tree, index) => [
    ...(index > 0 ? [','] : []),
    ...print(tree, 0, dice),
  ]);
  return ['(', ...items, ')'];
}

function printValue(value: Value, dice: Dice): string {
  if (typeof value === 'string') return quoted(value, dice);
  if (typeof value === 'number') return String(value);
  return dice() % 2 === 0 ? `${value}` : `${value}`.toUpperCase();
}

function quoted(text: string, dice: Dice): string {
  const quote = dice() % 2 === 0 ? "'" : '"';
  return quote + text.replaceAll(quote, `\\${quote}`) + quote;
}

/** With the spaces that are needed, and some that are not. */
function join(tokens: readonly string[], dice: Dice): string {
  return tokens.reduce((text, token) => {
    const isNeeded = /[\w]$/.test(text) && /^[\w]/.test(token);
    const spaces = ['', ' ', ' ', '\n\t'][dice() % 4] ?? '';
    return text + (isNeeded && spaces === '' ? ' ' : spaces) + token;
  });
}
