/**
 * From the tree of a CESQL expression to closures, once for each filter. What runs for each event allocates nothing where
 * the values are there already: comparisons, logic, IN and LIKE.
 *
 * Source: CloudEvents SQL Expression Language 1.0.0, sections 3.2 to 3.7. Where it leaves a choice:
 * - A result that has no place in 32 bits is an error, as it is for ABS; the CloudEvents Go SDK wraps it round.
 * - IN looks at its values from left to right and at none after the first that is equal, like a row of OR.
 */
import type { FilterContext } from '../dialect.ts';
import { booleanOf, inRange, integerOf, textOf } from './casts.ts';
import { asBoolean, asInteger, asText, boolean, integer, literal } from './compiled.ts';
import type { Compiled, Evaluate } from './compiled.ts';
import { signatureOf } from './functions.ts';
import { compileLike } from './like.ts';
import type { BinaryOperator, LogicOperator, MathOperator, Node, Value } from './syntax.ts';

export function compileNode(node: Node, context: FilterContext): Compiled {
  const inner = (child: Node): Compiled => compileNode(child, context);
  switch (node.kind) {
    case 'literal':
      return literal(node.value);
    case 'attribute': {
      const { name } = node;
      return { type: 'any', evaluate: (event) => event.attributes.get(name) };
    }
    case 'exists': {
      const { name } = node;
      return boolean((event) => event.attributes.has(name));
    }
    case 'unary':
      return node.operator === 'NOT' ? negated(inner(node.operand)) : minus(inner(node.operand));
    case 'binary':
      return compileBinary(node.operator, inner(node.left), inner(node.right));
    case 'like':
      return like(inner(node.operand), node.pattern);
    case 'in':
      return within(inner(node.operand), node.elements.map(inner));
    case 'call': {
      const signature = signatureOf(node.name, node.args.length);
      // No such function: an error, and of type Boolean (section 3.5).
      return signature?.compile(node.args.map(inner), context) ?? boolean(() => undefined);
    }
  }
}

function compileBinary(operator: BinaryOperator, left: Compiled, right: Compiled): Compiled {
  switch (operator) {
    case 'AND':
    case 'OR':
    case 'XOR':
      return boolean(logic(operator, asBoolean(left), asBoolean(right)));
    case '=':
      return boolean(equal(left, right));
    case '!=':
      return negated(boolean(equal(left, right)));
    case '<':
      return order(left, right, (x, y) => x < y);
    case '<=':
      return order(left, right, (x, y) => x <= y);
    case '>':
      return order(left, right, (x, y) => x > y);
    case '>=':
      return order(left, right, (x, y) => x >= y);
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
      return math(operator, asInteger(left), asInteger(right));
  }
}

/** AND and OR do not look at the right side if the left one decides. */
function logic(
  operator: LogicOperator,
  left: Evaluate<boolean>,
  right: Evaluate<boolean>,
): Evaluate<boolean> {
  switch (operator) {
    case 'AND':
      return (event) => {
        const value = left(event);
        return value === true ? right(event) : value;
      };
    case 'OR':
      return (event) => {
        const value = left(event);
        return value === false ? right(event) : value;
      };
    case 'XOR':
      return (event) => {
        const value = left(event);
        if (value === undefined) return undefined;
        const other = right(event);
        return other === undefined ? undefined : value !== other;
      };
  }
}

function negated(operand: Compiled): Compiled {
  const evaluate = asBoolean(operand);
  return boolean((event) => {
    const value = evaluate(event);
    return value === undefined ? undefined : !value;
  });
}

/** The left side is cast to the type of the right one (section 3.7: the operator is ambiguous). */
function equal(left: Compiled, right: Compiled): Evaluate<boolean> {
  switch (right.type) {
    case 'text':
      return same(asText(left), right.evaluate, right.constant);
    case 'integer':
      return same(asInteger(left), right.evaluate, right.constant);
    case 'boolean':
      return same(asBoolean(left), right.evaluate, right.constant);
    case 'any':
      return (event) => {
        const value = left.evaluate(event);
        if (value === undefined) return undefined;
        const wanted = right.evaluate(event);
        return wanted === undefined ? undefined : equals(value, wanted);
      };
  }
}

/** Two sides of one type. Most often the right one is a literal, which spares half of the time. */
function same(
  left: Evaluate<Value>,
  right: Evaluate<Value>,
  constant: Value | undefined,
): Evaluate<boolean> {
  if (constant !== undefined) {
    return (event) => {
      const value = left(event);
      return value === undefined ? undefined : value === constant;
    };
  }
  return (event) => {
    const value = left(event);
    if (value === undefined) return undefined;
    const wanted = right(event);
    return wanted === undefined ? undefined : value === wanted;
  };
}

/** Whether `value`, cast to the type of `wanted`, is `wanted`; `undefined` if it cannot be cast. */
function equals(value: Value, wanted: Value): boolean | undefined {
  const cast = castLike(value, wanted);
  return cast === undefined ? undefined : cast === wanted;
}

function castLike(value: Value, model: Value): Value | undefined {
  if (typeof model === 'string') return textOf(value);
  return typeof model === 'number' ? integerOf(value) : booleanOf(value);
}

function order(
  left: Compiled,
  right: Compiled,
  holds: (x: number, y: number) => boolean,
): Compiled {
  const [leftOf, rightOf] = [asInteger(left), asInteger(right)];
  return boolean((event) => {
    const x = leftOf(event);
    if (x === undefined) return undefined;
    const y = rightOf(event);
    return y === undefined ? undefined : holds(x, y);
  });
}

function math(operator: MathOperator, left: Evaluate<number>, right: Evaluate<number>): Compiled {
  return integer((event) => {
    const x = left(event);
    if (x === undefined) return undefined;
    const y = right(event);
    return y === undefined ? undefined : calculated(operator, x, y);
  });
}

function calculated(operator: MathOperator, x: number, y: number): number | undefined {
  switch (operator) {
    case '+':
      return inRange(x + y);
    case '-':
      return inRange(x - y);
    case '*':
      // May lose digits only far outside of the range.
      return inRange(x * y);
    case '/':
      return y === 0 ? undefined : inRange(Math.trunc(x / y));
    case '%':
      return y === 0 ? undefined : inRange(x % y);
  }
}

function minus(operand: Compiled): Compiled {
  const evaluate = asInteger(operand);
  return integer((event) => {
    const value = evaluate(event);
    return value === undefined ? undefined : inRange(-value);
  });
}

function like(operand: Compiled, pattern: string): Compiled {
  const evaluate = asText(operand);
  const matches = compileLike(pattern);
  return boolean((event) => {
    const value = evaluate(event);
    return value === undefined ? undefined : matches(value);
  });
}

/** The values are cast to the type of the left side. */
function within({ evaluate }: Compiled, elements: readonly Compiled[]): Compiled {
  const constants = elements.flatMap(({ constant }) => constant ?? []);
  if (constants.length === elements.length) return withinConstants(evaluate, constants);
  return boolean((event) => {
    const value = evaluate(event);
    if (value === undefined) return undefined;
    for (const element of elements) {
      const next = element.evaluate(event);
      const isFound = next === undefined ? undefined : equals(next, value);
      if (isFound !== false) return isFound;
    }
    return false;
  });
}

function withinConstants(evaluate: Evaluate<Value>, constants: readonly Value[]): Compiled {
  const texts = setOf(constants, textOf);
  const integers = setOf(constants, integerOf);
  const booleans = setOf(constants, booleanOf);
  return boolean((event) => {
    const value = evaluate(event);
    if (value === undefined) return undefined;
    if (typeof value === 'string') return texts.has(value);
    return typeof value === 'number' ? integers.has(value) : booleans.has(value);
  });
}

interface ConstantSet<To extends Value> {
  /** `undefined`: it is not before the first value that cannot be cast. */
  has(value: To): boolean | undefined;
}

function setOf<To extends Value>(
  constants: readonly Value[],
  cast: (value: Value) => To | undefined,
): ConstantSet<To> {
  const values = new Set<To>();
  let absent: false | undefined = false;
  for (const constant of constants) {
    const value = cast(constant);
    if (value === undefined) {
      absent = undefined;
      break;
    }
    values.add(value);
  }
  return { has: (value) => (values.has(value) ? true : absent) };
}
