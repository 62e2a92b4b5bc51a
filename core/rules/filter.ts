/**
 * Whether an egress wants an event. A filter is compiled once, when the topology changes, to closures that then run
 * for each event; the meaning of each kind is in `filters/`, the lookup over many egresses in `match.ts`.
 *
 * A filter never throws and never looks at the data. Nested ones are walked by recursion: a thousand levels are fine,
 * some thousand exhaust the stack when they are compiled, so whoever validates resources bounds the nesting.
 *
 * Source: Knative Eventing, Trigger "spec.filter" and "spec.filters"; CloudEvents Subscriptions API 0.1, "Filter
 * Dialects".
 */
import type { CloudEvent } from '../event.ts';
import type { Filter } from '../topology.ts';
import { cesql } from './filters/cesql.ts';
import type { Dialect, FilterContext, IndexedName, Test } from './filters/dialect.ts';
import { all, any, not } from './filters/nested.ts';
import { values } from './filters/values.ts';

/** A row for each kind of filter. */
const DIALECTS = {
  everything: { compile: () => undefined },
  attributes: values,
  exact: values,
  prefix: values,
  suffix: values,
  all,
  any,
  not,
  cesql,
} satisfies { [Kind in Filter['kind']]: Dialect<Kind> };

const NO_KEYS: FilterContext = { correlationKeys: new Map() };

/**
 * The filter as one question: is the event wanted? It is unless the filter fails; to ask nothing is to want all.
 * The context is what a Topology has beside the filter, so a Topology will do.
 */
export function compileFilter(
  filter: Filter,
  context: FilterContext = NO_KEYS,
): (event: CloudEvent) => boolean {
  const compile = (each: Filter): Test | undefined =>
    dialectOf(each).compile(each, compile, context);
  const test = compile(filter);
  return test === undefined ? () => true : (event) => test(event) !== 'fail';
}

/**
 * Values of an attribute of which an event must have one, or the filter fails: what a lookup may decide in the filter's
 * place. `undefined`: the filter has to be asked. Without repetitions, in no particular order.
 */
export function pinnedValues(filter: Filter, name: IndexedName): readonly string[] | undefined {
  return dialectOf(filter).pins?.(filter, name, pinnedValues);
}

/** The row under a kind takes filters of that kind, which `satisfies` above has checked. */
function dialectOf(filter: Filter): Dialect<Filter['kind']> {
  return DIALECTS[filter.kind];
}
