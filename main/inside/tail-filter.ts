/**
 * Which events a tail shows, as the user writes it. It is read, checked and understood exactly as `filters` of a Trigger
 * are; JSON by making a Trigger of it.
 */
import { compileFilter } from '../../controller/filters.ts';
import { readManifests } from '../../controller/source/manifest.ts';
import { loadSchemas, type Schemas } from '../../controller/source/schemas.ts';
import { suggestion } from '../../controller/suggest.ts';
import { KnearError } from '../../core/errors.ts';
import { cesqlFault } from '../../core/rules/filters/cesql/fault.ts';
import type { Filter } from '../../core/topology.ts';

/**
 * @param query `type`: of that type only. `filter`: an expression in CESQL, or, where it begins with `{` or `[`, an entry
 *   of `filters` as JSON, or a list of them.
 * @throws KNEAR_USAGE with all that is wrong with it.
 */
export type ReadFilter = (query: Readonly<Record<string, unknown>>) => Promise<Filter>;

export function openFilterReader(): ReadFilter {
  // To compile them takes a tenth of a second, in which no event moves: only where they are needed, and only once.
  let schemas: Promise<Schemas> | undefined;
  return async (query) => {
    const { type, filter } = textsOf(query);
    const filters: Filter[] = type === '' ? [] : [{ kind: 'exact', values: { type } }];
    if (/^[{[]/.test(filter)) filters.push(compiled(filter, await (schemas ??= loadSchemas())));
    else if (filter !== '') filters.push(expressionOf(filter));
    return { kind: 'all', filters };
  };
}

function textsOf(query: Readonly<Record<string, unknown>>): { type: string; filter: string } {
  const { type = '', filter = '', ...others } = query;
  const [other] = Object.keys(others);
  if (other !== undefined) throw wrong(`there is no ${other}, only type and filter`);
  // Given twice, it is a list.
  if (typeof type === 'string' && typeof filter === 'string')
    return { type, filter: filter.trim() };
  throw wrong('type and filter are one text each');
}

function expressionOf(expression: string): Filter {
  const fault = cesqlFault(expression);
  if (fault === undefined) return { kind: 'cesql', expression };
  const { position, problem, misspelt } = fault;
  const guess = misspelt === undefined ? '' : suggestion(misspelt.word, misspelt.known);
  throw wrong(`character ${position}: ${problem}${guess}`);
}

function compiled(text: string, schemas: Schemas): Filter {
  const trigger = {
    apiVersion: 'eventing.knative.dev/v1',
    kind: 'Trigger',
    metadata: { name: 'tail' },
    spec: { broker: 'tail', filters: entriesOf(text), subscriber: { uri: 'http://tail/' } },
  };
  const file = readManifests(Buffer.from(JSON.stringify(trigger)), 'filter', schemas);
  if (file.kind === 'unusable') throw wrong(file.problem.detail);
  const { resource, problems = [] } = file.documents[0] ?? {};
  if (resource?.kind === 'Trigger') return compileFilter(resource.spec);
  throw wrong(problems.map(({ detail }) => detail).join('; ') || 'it cannot be read');
}

function entriesOf(text: string): readonly unknown[] {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : [value];
  } catch (error) {
    throw wrong(`it is neither an expression nor JSON (${(error as Error).message})`);
  }
}

function wrong(detail: string): KnearError {
  return new KnearError('KNEAR_USAGE', `the filter cannot be used: ${detail}`);
}
