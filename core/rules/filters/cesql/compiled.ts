/**
 * What a part of a CESQL expression becomes: a closure from an event to a value, with as much about its type as is known
 * before there is an event. Casts that this shows to be unnecessary are left out.
 *
 * `undefined` is the only error there is. In a filter any error whatever ends in the same way, so evaluation stops at the
 * first one and its kind does not matter. That is the "fail fast mode" which the specification recommends for filters
 * (CloudEvents SQL Expression Language 1.0.0, sections 1.2 and 4.1).
 */
import type { CloudEvent } from '../../../event.ts';
import { booleanOf, integerOf, textOf } from './casts.ts';
import type { Value } from './syntax.ts';

export type Evaluate<Result extends Value> = (event: CloudEvent) => Result | undefined;

export type Compiled = (
  | { readonly type: 'text'; readonly evaluate: Evaluate<string> }
  | { readonly type: 'integer'; readonly evaluate: Evaluate<number> }
  | { readonly type: 'boolean'; readonly evaluate: Evaluate<boolean> }
  /** An attribute: its type is known when the event is. */
  | { readonly type: 'any'; readonly evaluate: Evaluate<Value> }
) & {
  /** The value, if it is a literal. */
  readonly constant?: Value;
};

export function text(evaluate: Evaluate<string>): Compiled {
  return { type: 'text', evaluate };
}

export function integer(evaluate: Evaluate<number>): Compiled {
  return { type: 'integer', evaluate };
}

export function boolean(evaluate: Evaluate<boolean>): Compiled {
  return { type: 'boolean', evaluate };
}

export function literal(constant: Value): Compiled {
  if (typeof constant === 'string') return { type: 'text', evaluate: () => constant, constant };
  return typeof constant === 'number'
    ? { type: 'integer', evaluate: () => constant, constant }
    : { type: 'boolean', evaluate: () => constant, constant };
}

export function asText(compiled: Compiled): Evaluate<string> {
  if (compiled.type === 'text') return compiled.evaluate;
  const { evaluate } = compiled;
  return (event) => {
    const value = evaluate(event);
    return value === undefined ? undefined : textOf(value);
  };
}

export function asInteger(compiled: Compiled): Evaluate<number> {
  if (compiled.type === 'integer') return compiled.evaluate;
  const { evaluate } = compiled;
  return (event) => {
    const value = evaluate(event);
    return value === undefined ? undefined : integerOf(value);
  };
}

export function asBoolean(compiled: Compiled): Evaluate<boolean> {
  if (compiled.type === 'boolean') return compiled.evaluate;
  const { evaluate } = compiled;
  return (event) => {
    const value = evaluate(event);
    return value === undefined ? undefined : booleanOf(value);
  };
}

export function asAny(compiled: Compiled): Evaluate<Value> {
  return compiled.evaluate;
}
