/**
 * The functions of CESQL: a row for each name, with an entry for each number of arguments that it takes.
 *
 * Sources: CloudEvents SQL Expression Language 1.0.0, section 3.5 "Functions"; for INT, BOOL and STRING, which it uses and
 * does not list, its conformance tests; for IS_INT and IS_BOOL, which an earlier draft had, and KN_VERIFY_CORRELATION_ID,
 * Knative Eventing and the CloudEvents Go SDK that evaluates its expressions.
 */
import { strict as assert } from 'node:assert';
import type { FilterContext } from '../dialect.ts';
import { booleanOf, inRange, integerOf, textOf } from './casts.ts';
import {
  characterCount,
  charactersAt,
  firstCharacters,
  lastCharacters,
  trimmed,
} from './characters.ts';
import { asAny, asInteger, asText, boolean, integer, literal, text } from './compiled.ts';
import type { Compiled, Evaluate } from './compiled.ts';
import { compileVerification } from './correlation.ts';
import type { Value } from './syntax.ts';

export interface Signature {
  readonly argsMin: number;
  /** Infinity: any number of them. */
  readonly argsMax: number;
  /** The number of arguments has been checked. */
  compile(args: readonly Compiled[], context: FilterContext): Compiled;
}

/**
 * Longest result of a concatenation, in units: what all attributes of an event may have together by default. More is an
 * error, so that nested ones cannot fill the memory.
 */
const TEXT_LENGTH_MAX = 65_536;

const FUNCTIONS: ReadonlyMap<string, readonly Signature[]> = new Map(
  Object.entries({
    LENGTH: [unary(asText, integer, characterCount)],
    CONCAT: [variadic(0, (args) => joined(literal(''), args))],
    CONCAT_WS: [variadic(1, ([delimiter = literal(''), ...args]) => joined(delimiter, args))],
    LOWER: [unary(asText, text, (x) => x.toLowerCase())],
    UPPER: [unary(asText, text, (x) => x.toUpperCase())],
    TRIM: [unary(asText, text, trimmed)],
    LEFT: [binary(asText, text, (x, y) => (y < 0 ? undefined : firstCharacters(x, y)))],
    RIGHT: [binary(asText, text, (x, y) => (y < 0 ? undefined : lastCharacters(x, y)))],
    SUBSTRING: [
      binary(asText, text, (x, position) => charactersAt(x, position, x.length)),
      ternary(asText, text, (x, position, count) =>
        count < 0 ? undefined : charactersAt(x, position, count),
      ),
    ],
    ABS: [unary(asInteger, integer, (x) => inRange(Math.abs(x)))],
    INT: [unary(asAny, integer, integerOf)],
    BOOL: [unary(asAny, boolean, booleanOf)],
    STRING: [unary(asAny, text, textOf)],
    IS_INT: [unary(asAny, boolean, (x) => integerOf(x) !== undefined)],
    IS_BOOL: [unary(asAny, boolean, (x) => booleanOf(x) !== undefined)],
    KN_VERIFY_CORRELATION_ID: [{ argsMin: 6, argsMax: 6, compile: compileVerification }],
  }),
);

export const FUNCTION_NAMES: readonly string[] = [...FUNCTIONS.keys()];

/** All ways to call a function; `undefined`: there is no function of this name (upper case). */
export function signaturesOf(name: string): readonly Signature[] | undefined {
  return FUNCTIONS.get(name);
}

export function signatureOf(name: string, argCount: number): Signature | undefined {
  return FUNCTIONS.get(name)?.find(
    ({ argsMin, argsMax }) => argsMin <= argCount && argCount <= argsMax,
  );
}

type Cast<To extends Value> = (compiled: Compiled) => Evaluate<To>;
type Wrap<Result extends Value> = (evaluate: Evaluate<Result>) => Compiled;

function unary<X extends Value, Result extends Value>(
  cast: Cast<X>,
  wrap: Wrap<Result>,
  run: (x: X) => Result | undefined,
): Signature {
  return {
    argsMin: 1,
    argsMax: 1,
    compile(args) {
      const x = cast(argument(args, 0));
      return wrap((event) => {
        const value = x(event);
        return value === undefined ? undefined : run(value);
      });
    },
  };
}

/** The second argument is an integer. */
function binary<X extends Value, Result extends Value>(
  cast: Cast<X>,
  wrap: Wrap<Result>,
  run: (x: X, y: number) => Result | undefined,
): Signature {
  return {
    argsMin: 2,
    argsMax: 2,
    compile(args) {
      const x = cast(argument(args, 0));
      const y = asInteger(argument(args, 1));
      return wrap((event) => {
        const first = x(event);
        if (first === undefined) return undefined;
        const second = y(event);
        return second === undefined ? undefined : run(first, second);
      });
    },
  };
}

/** The second and the third argument are integers. */
function ternary<X extends Value, Result extends Value>(
  cast: Cast<X>,
  wrap: Wrap<Result>,
  run: (x: X, y: number, z: number) => Result | undefined,
): Signature {
  return {
    argsMin: 3,
    argsMax: 3,
    compile(args) {
      const x = cast(argument(args, 0));
      const y = asInteger(argument(args, 1));
      const z = asInteger(argument(args, 2));
      return wrap((event) => {
        const first = x(event);
        if (first === undefined) return undefined;
        const second = y(event);
        if (second === undefined) return undefined;
        const third = z(event);
        return third === undefined ? undefined : run(first, second, third);
      });
    },
  };
}

function variadic(argsMin: number, compile: (args: readonly Compiled[]) => Compiled): Signature {
  return { argsMin, argsMax: Infinity, compile };
}

function joined(delimiter: Compiled, args: readonly Compiled[]): Compiled {
  const between = asText(delimiter);
  const parts = args.map(asText);
  return text((event) => {
    const separator = between(event);
    if (separator === undefined) return undefined;
    let result = '';
    let isFirst = true;
    for (const part of parts) {
      const next = part(event);
      if (next === undefined) return undefined;
      result += isFirst ? next : separator + next;
      if (result.length > TEXT_LENGTH_MAX) return undefined;
      isFirst = false;
    }
    return result;
  });
}

function argument(args: readonly Compiled[], index: number): Compiled {
  const found = args[index];
  assert(found !== undefined);
  return found;
}
