/**
 * From the filters of a Trigger to the form that the data plane evaluates. What an entry without any clause means
 * beside others is decided there; here it only becomes an `all` of nothing.
 * Source: Knative Eventing, SubscriptionsAPIFilter; CloudEvents Subscriptions API, section "Filters".
 */
import type { SubscriptionsFilter, Trigger } from '../core/resources.ts';
import type { Filter } from '../core/topology.ts';

/** `filters` with entries replaces `filter`; an event must pass each entry. */
export function compileFilter({ filter, filters }: Trigger['spec']): Filter {
  if (hasEntries(filters)) return { kind: 'all', filters: filters.map(compileEntry) };
  const values = filter?.attributes;
  return hasEntries(values) ? { kind: 'attributes', values } : { kind: 'everything' };
}

/** Validation has seen to it that there is at most one dialect; an empty map, list or text counts as not written. */
function compileEntry(entry: SubscriptionsFilter): Filter {
  const { exact, prefix, suffix, all, any, not, cesql } = entry;
  if (hasEntries(exact)) return { kind: 'exact', values: exact };
  if (hasEntries(prefix)) return { kind: 'prefix', values: prefix };
  if (hasEntries(suffix)) return { kind: 'suffix', values: suffix };
  if (hasEntries(any)) return { kind: 'any', filters: any.map(compileEntry) };
  if (not !== undefined) return { kind: 'not', filter: compileEntry(not) };
  if (cesql) return { kind: 'cesql', expression: cesql };
  return { kind: 'all', filters: (all ?? []).map(compileEntry) };
}

function hasEntries<T extends object>(value: T | undefined): value is T {
  return value !== undefined && Object.keys(value).length > 0;
}
