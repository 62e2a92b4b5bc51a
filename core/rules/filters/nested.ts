/**
 * The dialects that are made of other filters: `all`, `any` and `not`. What matters beyond plain logic is `none`, the
 * result of a filter that asks nothing, and that a filter without any clause is left out of the list it stands in.
 *
 * Source: Knative Eventing, pkg/eventfilter/subscriptionsapi. It moves children that decide often to the front, which
 * can change its answer where results are mixed with `none`; here the order is the one written down.
 */
import type { Filter } from '../../topology.ts';
import type { Dialect, Result, Test } from './dialect.ts';

/** Fails with the first child that fails; else the last child's result. */
export const all: Dialect<'all'> = {
  compile({ filters }, child) {
    if (filters.length === 0) return undefined;
    const tests = compileEach(filters, child);
    return (event) => {
      let result: Result = 'none';
      for (const test of tests) {
        result = test(event);
        if (result === 'fail') return 'fail';
      }
      return result;
    };
  },
  /** One failing child is enough, so any child's promise is one of the whole; the shortest is the most telling. */
  pins({ filters }, name, child) {
    let shortest: readonly string[] | undefined;
    for (const filter of filters) {
      const pins = child(filter, name);
      if (pins !== undefined && pins.length < (shortest?.length ?? Infinity)) shortest = pins;
    }
    return shortest;
  },
};

/** Passes with the first child that passes; else the last child's result. */
export const any: Dialect<'any'> = {
  compile({ filters }, child) {
    if (filters.length === 0) return undefined;
    const tests = compileEach(filters, child);
    return (event) => {
      let result: Result = 'none';
      for (const test of tests) {
        result = test(event);
        if (result === 'pass') return 'pass';
      }
      return result;
    };
  },
  /** Fails only if every child does: a promise only where each of them gives one. */
  pins({ filters }, name, child) {
    if (filters.length === 0) return undefined;
    const union = new Set<string>();
    for (const filter of filters) {
      const pins = child(filter, name);
      if (pins === undefined) return undefined;
      for (const value of pins) union.add(value);
    }
    return [...union];
  },
};

export const not: Dialect<'not'> = {
  compile({ filter }, child) {
    const test = child(filter);
    if (test === undefined) return () => 'none';
    return (event) => {
      const result = test(event);
      if (result === 'none') return 'none';
      return result === 'pass' ? 'fail' : 'pass';
    };
  },
};

function compileEach(
  filters: readonly Filter[],
  child: (filter: Filter) => Test | undefined,
): readonly Test[] {
  return filters.map(child).filter((test) => test !== undefined);
}
