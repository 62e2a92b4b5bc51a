/**
 * A second evaluator of CESQL: slow, short, and as the specification tells it. It walks the tree for each event, gives the
 * value that an expression has even after an error, and says what kind of error it was; sets are lists, patterns are
 * regular expressions, integers are BigInt. With the real one it shares the form of the tree and nothing else.
 */
import type { AttributeValue } from '../../../core/event.ts';
import type { BinaryOperator, Node, Value } from '../../../core/rules/filters/cesql/syntax.ts';

export type ErrorKind =
  'math' | 'cast' | 'missingAttribute' | 'missingFunction' | 'functionEvaluation';

export interface Outcome {
  readonly value: Value;
  readonly errors: readonly ErrorKind[];
}

type Type = 'text' | 'integer' | 'boolean';
type Attributes = Readonly<Record<string, AttributeValue>>;

const ZERO: Readonly<Record<Type, Value>> = { text: '', integer: 0, boolean: false };

export function evaluateSlowly(node: Node, attributes: Attributes): Outcome {
  const of = (child: Node): Outcome => evaluateSlowly(child, attributes);
  switch (node.kind) {
    case 'literal':
      return right(node.value);
    case 'attribute': {
      const value = new Map(Object.entries(attributes)).get(node.name);
      return value === undefined ? wrong('missingAttribute', false) : right(value);
    }
    case 'exists':
      return right(Object.keys(attributes).includes(node.name));
    case 'unary':
      return node.operator === 'NOT'
        ? apply([of(node.operand)], ['boolean'], 'boolean', ([x]) => right(x !== true))
        : apply([of(node.operand)], ['integer'], 'integer', ([x]) => calculate('-', 0, Number(x)));
    case 'binary':
      return binary(node.operator, of(node.left), () => of(node.right));
    case 'like':
      return apply([of(node.operand)], ['text'], 'boolean', ([x]) =>
        right(regularExpression(node.pattern).test(String(x))),
      );
    case 'in':
      return isIn(
        of(node.operand),
        node.elements.map((element) => () => of(element)),
      );
    case 'call':
      return call(node.name, node.args.map(of));
  }
}

function right(value: Value): Outcome {
  return { value, errors: [] };
}

function wrong(error: ErrorKind, value: Value): Outcome {
  return { value, errors: [error] };
}

/** Casts the operands and goes on; any error among them is one of the whole, whose value is the zero of its type. */
function apply(
  operands: readonly Outcome[],
  types: readonly Type[],
  result: Type,
  run: (values: Value[]) => Outcome,
): Outcome {
  const casts = operands.map((operand, index) => castOutcome(operand, types[index] ?? 'text'));
  const errors = casts.flatMap((each) => each.errors);
  return errors.length > 0 ? { value: ZERO[result], errors } : run(casts.map(({ value }) => value));
}

function castOutcome(outcome: Outcome, type: Type): Outcome {
  return outcome.errors.length > 0 ? outcome : cast(outcome.value, type);
}

function cast(value: Value, type: Type): Outcome {
  if (type === 'text') return right(`${value}`);
  if (type === 'boolean') {
    if (typeof value === 'number') return right(value !== 0);
    const word = `${value}`.toLowerCase();
    return ['true', 'false'].includes(word) ? right(word === 'true') : wrong('cast', false);
  }
  if (typeof value === 'boolean') return right(value ? 1 : 0);
  const text = `${value}`;
  if (!/^[+-]?[0-9]+$/.test(text)) return wrong('cast', 0);
  const whole = BigInt(text.replace('+', ''));
  return whole === BigInt.asIntN(32, whole) ? right(Number(whole)) : wrong('cast', 0);
}

function typeOf(value: Value): Type {
  return ({ string: 'text', number: 'integer', boolean: 'boolean' } as const)[
    typeof value as 'string' | 'number' | 'boolean'
  ];
}

function binary(operator: BinaryOperator, left: Outcome, rightOf: () => Outcome): Outcome {
  if (operator === 'AND' || operator === 'OR') {
    const decided = castOutcome(left, 'boolean');
    if (decided.errors.length > 0) return { value: false, errors: decided.errors };
    if (decided.value === (operator === 'OR')) return decided;
    return apply([rightOf()], ['boolean'], 'boolean', ([y]) => right(y === true));
  }
  const other = rightOf();
  if (operator === 'XOR') {
    return apply([left, other], ['boolean', 'boolean'], 'boolean', ([x, y]) => right(x !== y));
  }
  if (operator === '=' || operator === '!=') {
    const type = typeOf(other.value);
    return apply([left, other], [type, type], 'boolean', ([x, y]) =>
      right((x === y) === (operator === '=')),
    );
  }
  const isOrder = ['<', '<=', '>', '>='].includes(operator);
  return apply([left, other], ['integer', 'integer'], isOrder ? 'boolean' : 'integer', ([x, y]) =>
    isOrder
      ? right(compare(operator, Number(x), Number(y)))
      : calculate(operator, Number(x), Number(y)),
  );
}

function compare(operator: BinaryOperator, x: number, y: number): boolean {
  if (x === y) return operator.endsWith('=');
  return operator.startsWith(x < y ? '<' : '>');
}

function calculate(operator: BinaryOperator, x: number, y: number): Outcome {
  if (y === 0 && (operator === '/' || operator === '%')) return wrong('math', 0);
  const [a, b] = [BigInt(x), BigInt(y)];
  const results = { '+': a + b, '-': a - b, '*': a * b };
  const whole =
    operator === '/' ? a / b : operator === '%' ? a % b : results[operator as '+' | '-' | '*'];
  return whole === BigInt.asIntN(32, whole) ? right(Number(whole)) : wrong('math', 0);
}

/** The set is cast to the type of the left side, and looked at until something is equal. */
function isIn(left: Outcome, elements: readonly (() => Outcome)[]): Outcome {
  if (left.errors.length > 0) return { value: false, errors: left.errors };
  const [first, ...others] = elements;
  if (first === undefined) return right(false);
  const element = castOutcome(first(), typeOf(left.value));
  if (element.errors.length > 0) return { value: false, errors: element.errors };
  return element.value === left.value ? right(true) : isIn(left, others);
}

function regularExpression(pattern: string): RegExp {
  const source = pattern.replace(/\\[%_]|[^]/gu, (part) => {
    if (part === '%') return '[^]*';
    if (part === '_') return '[^]';
    return (part.length === 2 && part.startsWith('\\') ? part.slice(1) : part).replace(
      /[\^$\\.*+?()[\]{}|/]/g,
      '\\$&',
    );
  });
  return new RegExp(`^${source}$`, 'u');
}

interface Definition {
  readonly types: readonly (Type | 'any')[];
  readonly rest?: Type;
  readonly result: Type;
  readonly run: (...values: never[]) => Outcome;
}

const text = (definition: (...values: never[]) => string) =>
  ((...values: never[]) => right(definition(...values))) as Definition['run'];

const DEFINITIONS: Readonly<Record<string, readonly Definition[]>> = {
  LENGTH: [{ types: ['text'], result: 'integer', run: (x: string) => right(Array.from(x).length) }],
  CONCAT: [
    { types: [], rest: 'text', result: 'text', run: text((...all: string[]) => all.join('')) },
  ],
  CONCAT_WS: [
    {
      types: ['text'],
      rest: 'text',
      result: 'text',
      run: text((delimiter: string, ...all: string[]) => all.join(delimiter)),
    },
  ],
  LOWER: [{ types: ['text'], result: 'text', run: text((x: string) => x.toLowerCase()) }],
  UPPER: [{ types: ['text'], result: 'text', run: text((x: string) => x.toUpperCase()) }],
  TRIM: [
    {
      types: ['text'],
      result: 'text',
      run: text((x: string) => x.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, '')),
    },
  ],
  LEFT: [
    {
      types: ['text', 'integer'],
      result: 'text',
      run: (x: string, y: number) =>
        y < 0 ? wrong('functionEvaluation', x) : right(Array.from(x).slice(0, y).join('')),
    },
  ],
  RIGHT: [
    {
      types: ['text', 'integer'],
      result: 'text',
      run: (x: string, y: number) =>
        y < 0
          ? wrong('functionEvaluation', x)
          : right(Array.from(x).reverse().slice(0, y).reverse().join('')),
    },
  ],
  SUBSTRING: [
    { types: ['text', 'integer'], result: 'text', run: substring },
    { types: ['text', 'integer', 'integer'], result: 'text', run: substring },
  ],
  ABS: [
    {
      types: ['integer'],
      result: 'integer',
      run: (x: number) =>
        x === -2_147_483_648 ? wrong('math', 2_147_483_647) : right(x < 0 ? -x : x),
    },
  ],
  INT: [{ types: ['any'], result: 'integer', run: (x: Value) => cast(x, 'integer') }],
  BOOL: [{ types: ['any'], result: 'boolean', run: (x: Value) => cast(x, 'boolean') }],
  STRING: [{ types: ['any'], result: 'text', run: (x: Value) => cast(x, 'text') }],
  IS_INT: [{ types: ['any'], result: 'boolean', run: (x: Value) => right(isCast(x, 'integer')) }],
  IS_BOOL: [{ types: ['any'], result: 'boolean', run: (x: Value) => right(isCast(x, 'boolean')) }],
};

function isCast(value: Value, type: Type): boolean {
  return cast(value, type).errors.length === 0;
}

function substring(x: string, position: number, count = Infinity): Outcome {
  const characters = Array.from(x);
  if (count < 0) return wrong('functionEvaluation', '');
  if (position > characters.length || position < -characters.length) {
    return wrong('functionEvaluation', '');
  }
  if (position === 0) return right('');
  const start = position > 0 ? position - 1 : characters.length + position;
  return right(characters.slice(start, start + count).join(''));
}

function call(name: string, args: readonly Outcome[]): Outcome {
  const found = DEFINITIONS[name]?.find(({ types, rest }) =>
    rest === undefined ? types.length === args.length : types.length <= args.length,
  );
  if (found === undefined) return wrong('missingFunction', false);
  const types = args.map((arg, index) => {
    const type = found.types[index] ?? found.rest ?? 'any';
    return type === 'any' ? typeOf(arg.value) : type;
  });
  // The casts above have made them what the definition takes.
  return apply(args, types, found.result, (values) => found.run(...(values as never[])));
}
