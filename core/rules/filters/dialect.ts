/**
 * What a filter dialect is. Each file beside this one holds one dialect or one family of them; the table of all is in
 * `../filter.ts`. A new dialect is a kind of `Filter`, a file here and a row there.
 */
import type { CloudEvent } from '../../event.ts';
import type { Filter, Topology } from '../../topology.ts';

/**
 * `none` means that nothing was asked: it blocks no event and `not` does not turn it round. Only `fail` blocks.
 * Source: Knative Eventing, pkg/eventfilter, FilterResult (PassFilter, FailFilter, NoFilter).
 */
export type Result = 'pass' | 'fail' | 'none';

/** A compiled filter. Pure, and keeps from allocating: it runs for each event and candidate egress. */
export type Test = (event: CloudEvent) => Result;

/** The attributes that `../match.ts` keeps an index of. */
export type IndexedName = 'type' | 'source';

export type FilterOf<Kind extends Filter['kind']> = Filter & { readonly kind: Kind };

/** What a filter may need beside itself and the event. */
export type FilterContext = Pick<Topology, 'correlationKeys'>;

export interface Dialect<Kind extends Filter['kind']> {
  /**
   * Called once a filter; `child` compiles what is nested in it. `undefined`: the filter has no clause at all, so a
   * list that it stands in ignores it, as if it were not there.
   */
  compile(
    filter: FilterOf<Kind>,
    child: (filter: Filter) => Test | undefined,
    context: FilterContext,
  ): Test | undefined;
  /**
   * A promise for the index: an event whose attribute `name` has none of these values gets `fail`. `undefined`, or no
   * such method: no promise, which is always right and only slower.
   */
  pins?(
    filter: FilterOf<Kind>,
    name: IndexedName,
    child: (filter: Filter, name: IndexedName) => readonly string[] | undefined,
  ): readonly string[] | undefined;
}
