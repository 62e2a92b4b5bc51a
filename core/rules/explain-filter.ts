/**
 * Why a filter does not want an event: the clause that fails, with what the event has and what was wanted. The verdict is
 * that of `compileFilter`; this walk is for people who ask, takes its time and allocates as it likes.
 *
 *   exact: type is "a", wanted "b"              all[1].prefix: source is "/x", wanted one that begins with "/shop"
 *   exact: subject is missing, wanted "b"       not.suffix: it holds, and must not
 *
 * Source: Knative Eventing, Trigger "spec.filter" and "spec.filters"; what a filter without clauses means is in
 * `filters/nested.ts`.
 */
import type { CloudEvent } from '../event.ts';
import { attributeText } from '../event.ts';
import type { Filter } from '../topology.ts';
import { compileFilter } from './filter.ts';
import { parse } from './filters/cesql/parser.ts';
import { SyntaxFault, type Node } from './filters/cesql/syntax.ts';
import type { FilterContext, FilterOf, Result } from './filters/dialect.ts';

/** The clause that fails and why; `undefined`: the event is wanted. */
export function explainFilter(
  filter: Filter,
  event: CloudEvent,
  context: FilterContext,
): string | undefined {
  const found = walk(filter, { event, context });
  return found?.result === 'fail' ? `${found.path}: ${found.why}` : undefined;
}

interface Scope {
  readonly event: CloudEvent;
  readonly context: FilterContext;
}

interface Found {
  readonly result: Result;
  /** From the filter that was asked to the clause that decided: `all[1].exact`. */
  readonly path: string;
  /** Of a failure. */
  readonly why: string;
}

/** `undefined`: the filter has no clause at all, so a list that it stands in ignores it. */
function walk(filter: Filter, scope: Scope): Found | undefined {
  switch (filter.kind) {
    case 'everything':
      return undefined;
    case 'attributes':
    case 'exact':
    case 'prefix':
    case 'suffix':
      return walkValues(filter, scope);
    case 'all':
      return filter.filters.length === 0 ? undefined : walkAll(filter, scope);
    case 'any':
      return filter.filters.length === 0 ? undefined : walkAny(filter, scope);
    case 'not':
      return walkNot(filter, scope);
    case 'cesql':
      return filter.expression === '' ? undefined : walkCesql(filter, scope);
  }
}

type ValuesKind = 'attributes' | 'exact' | 'prefix' | 'suffix';

function walkValues(filter: FilterOf<ValuesKind>, { event }: Scope): Found | undefined {
  const { kind } = filter;
  const clauses = Object.entries(filter.values);
  if (clauses.length === 0) return undefined;
  for (const [name, wanted] of clauses) {
    // One clause is a filter, too, and what it means is known there.
    if (!compileFilter({ kind, values: { [name]: wanted } })(event)) {
      const why = `${name} is ${shownValue(event, name)}, wanted ${wantedText(kind, wanted)}`;
      return { result: 'fail', path: kind, why };
    }
  }
  return { result: 'pass', path: kind, why: '' };
}

function wantedText(kind: ValuesKind, wanted: string): string {
  switch (kind) {
    case 'attributes':
      return wanted === '' ? 'any value' : quoted(wanted);
    case 'exact':
      return quoted(wanted);
    case 'prefix':
      return `one that begins with ${quoted(wanted)}`;
    case 'suffix':
      return `one that ends with ${quoted(wanted)}`;
  }
}

/** The attribute that a name in a filter is about, as `filters/values.ts` reads names. */
function shownValue(event: CloudEvent, name: string): string {
  const isSchema = name === 'dataschema' || name === 'schemaurl';
  const names = isSchema ? ['dataschema', 'schemaurl'] : [attributeOf(name)];
  const text = names.map((each) => attributeText(event, each)).find((each) => each !== undefined);
  return text === undefined ? 'missing' : quoted(text);
}

function attributeOf(name: string): string {
  return name === 'datamediatype' ? 'datacontenttype' : name;
}

/** Longer values are cut: the difference is told by the beginning or not at all. */
const SHOWN_MAX = 100;

function quoted(text: string): string {
  return text.length > SHOWN_MAX
    ? `${JSON.stringify(text.slice(0, SHOWN_MAX))}...`
    : JSON.stringify(text);
}

type List = FilterOf<'all' | 'any'>;

function walkAll({ filters }: List, scope: Scope): Found {
  let result: Result = 'none';
  for (const [index, filter] of filters.entries()) {
    const found = walk(filter, scope);
    if (!found) continue;
    if (found.result === 'fail') return within(`all[${index}]`, found);
    result = found.result;
  }
  return { result, path: 'all', why: '' };
}

function walkAny({ filters }: List, scope: Scope): Found {
  let result: Result = 'none';
  const failed: string[] = [];
  for (const [index, filter] of filters.entries()) {
    const found = walk(filter, scope);
    if (!found) continue;
    if (found.result === 'pass') return { result: 'pass', path: 'any', why: '' };
    if (found.result === 'fail') failed.push(`[${index}].${found.path}: ${found.why}`);
    result = found.result;
  }
  return { result, path: 'any', why: `none holds: ${listed(failed)}` };
}

/** A person reads three reasons; of a list of a thousand types the rest are the same. */
const REASONS_MAX = 3;

function listed(reasons: readonly string[]): string {
  const more = reasons.length - REASONS_MAX;
  const shown = reasons.slice(0, REASONS_MAX).join('; ');
  return more > 0 ? `${shown}; and ${more} more` : shown;
}

function walkNot({ filter }: FilterOf<'not'>, scope: Scope): Found {
  const found = walk(filter, scope);
  const result = turned(found?.result ?? 'none');
  const path = found ? `not.${found.path}` : 'not';
  return { result, path, why: 'it holds, and must not' };
}

function turned(result: Result): Result {
  switch (result) {
    case 'none':
      return 'none';
    case 'pass':
      return 'fail';
    case 'fail':
      return 'pass';
  }
}

function within(step: string, { result, path, why }: Found): Found {
  return { result, path: `${step}.${path}`, why };
}

function walkCesql(filter: FilterOf<'cesql'>, { event, context }: Scope): Found {
  const isTrue = compileFilter(filter, context)(event);
  if (isTrue) return { result: 'pass', path: 'cesql', why: '' };
  return { result: 'fail', path: 'cesql', why: falseText(filter, { event, context }) };
}

/** NOT of an error is an error, so what is false is true when it is turned round; what is neither is an error. */
function falseText({ expression }: FilterOf<'cesql'>, { event, context }: Scope): string {
  const node = parse(expression);
  if (node instanceof SyntaxFault) return `this cannot be read: ${quoted(expression)}`;
  const opposite = { kind: 'cesql', expression: `NOT (${expression})` } as const;
  if (compileFilter(opposite, context)(event)) return `false: ${quoted(expression)}`;
  const missing = [...new Set(attributesIn(node))].filter((name) => !event.attributes.has(name));
  const why = missing.length === 0 ? '' : ` (${missing.join(', ')} missing in the event)`;
  return `an error or no boolean${why}: ${quoted(expression)}`;
}

/** Those whose value is asked for; EXISTS may ask for what is missing. */
function attributesIn(node: Node): string[] {
  switch (node.kind) {
    case 'literal':
    case 'exists':
      return [];
    case 'attribute':
      return [node.name];
    case 'unary':
    case 'like':
      return attributesIn(node.operand);
    case 'binary':
      return [node.left, node.right].flatMap(attributesIn);
    case 'in':
      return [node.operand, ...node.elements].flatMap(attributesIn);
    case 'call':
      return node.args.flatMap(attributesIn);
  }
}
