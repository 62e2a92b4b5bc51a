import { describe, expect, test } from '@jest/globals';
import { compileMatch } from '../../core/rules/match.ts';
import type { AttributeValue, CloudEvent } from '../../core/event.ts';
import type { Filter, Topology } from '../../core/topology.ts';
import { eventWith } from './filter-cases.ts';
import type { EgressSketch } from './match-cases.ts';
import { topologyOf } from './match-cases.ts';

const everything: Filter = { kind: 'everything' };
const exact = (values: Record<string, string>): Filter => ({ kind: 'exact', values });
const prefix = (values: Record<string, string>): Filter => ({ kind: 'prefix', values });
const all = (...filters: readonly Filter[]): Filter => ({ kind: 'all', filters });
const any = (...filters: readonly Filter[]): Filter => ({ kind: 'any', filters });
const anyType = (...types: readonly string[]): Filter =>
  any(...types.map((type) => exact({ type })));
const not = (filter: Filter): Filter => ({ kind: 'not', filter });

const created = eventWith({ type: 'created', source: '/shop' });

describe('which egresses match', () => {
  test('all whose filter wants the event, in the order of the topology', () => {
    // One for each list of the index, so that none of them comes out in the order it went in.
    const match = compileMatch(
      topologyOf([
        { filter: everything },
        { filter: exact({ type: 'created', source: '/shop' }) },
        { filter: exact({ source: '/shop' }) },
        { filter: exact({ type: 'deleted' }) },
        { filter: exact({ type: 'created' }) },
        { filter: prefix({ type: 'cre' }) },
        { filter: exact({ source: '/other' }) },
        { filter: exact({ type: 'created', source: '/other' }) },
        { filter: exact({ type: 'created', source: '/shop' }) },
        { filter: everything },
      ]),
    );
    const { egressIds } = match('orders', created);
    expect(egressIds).toEqual(['e0', 'e1', 'e2', 'e4', 'e5', 'e8', 'e9']);
  });

  test('the topology counts, not the names of the egresses', () => {
    const egresses = ['c', 'a', 'b'].map((id) => ({ id, filter: everything }));
    expect(compileMatch(topologyOf(egresses))('orders', created).egressIds).toEqual([
      'c',
      'a',
      'b',
    ]);
  });

  test('only those of the ingress', () => {
    const match = compileMatch(
      topologyOf(
        [
          { filter: everything },
          { filter: everything, ingressId: 'invoices' },
          { filter: exact({ type: 'created' }), ingressId: 'invoices' },
        ],
        { orders: { isEarly: true }, invoices: { isEarly: true } },
      ),
    );
    expect(match('orders', created).egressIds).toEqual(['e0']);
    expect(match('invoices', created).egressIds).toEqual(['e1', 'e2']);
  });

  test('paused ones too: their events wait in the log', () => {
    const match = compileMatch(topologyOf([{ filter: everything, isPaused: true }]));
    expect(match('orders', created).egressIds).toEqual(['e0']);
  });

  test('each once, however often its filter names a value', () => {
    const twice = any(anyType('created', 'created'), exact({ type: 'created', source: '/shop' }));
    const match = compileMatch(topologyOf([{ filter: twice }, { filter: all(twice, twice) }]));
    expect(match('orders', created).egressIds).toEqual(['e0', 'e1']);
  });

  test('a lookup by type does not overlook the rest of the filter', () => {
    const pinned = exact({ type: 'created' });
    const match = compileMatch(
      topologyOf([
        { filter: all(pinned, not(exact({ source: '/shop' }))) },
        { filter: all(pinned, exact({ tenant: 'blue' })) },
        { filter: all(pinned, exact({ type: 'deleted' })) },
        { filter: exact({ type: 'created', tenant: 'blue' }) },
      ]),
    );
    expect(match('orders', created).egressIds).toEqual([]);
  });

  test.each<[string, Filter]>([
    ['an empty any', any()],
    ['an any of empty objects', any(all(), all())],
    ['an any whose last asks nothing', any(exact({ type: 'x' }), not(all()))],
    ['an all of an empty object', all(all())],
    ['not another type', not(exact({ type: 'deleted' }))],
    ['not of not of the type', not(not(exact({ type: 'created' })))],
    ['attributes with any type', { kind: 'attributes', values: { type: '' } }],
    ['a type or a prefix of one', any(exact({ type: 'deleted' }), prefix({ type: 'cre' }))],
    [
      'types times sources',
      all(anyType('a', 'created'), any(exact({ source: '/shop' }), exact({ source: '/' }))),
    ],
  ])('%s is not taken for a pinned value', (_name, filter) => {
    expect(compileMatch(topologyOf([{ filter }]))('orders', created).egressIds).toEqual(['e0']);
  });

  test.each<[string, Topology, string]>([
    ['an ingress that is unknown', topologyOf([{ filter: everything }]), 'invoices'],
    [
      'an ingress that is gone, but not its egress',
      topologyOf([{ filter: everything }], {}),
      'orders',
    ],
    ['an ingress without egresses', topologyOf([]), 'orders'],
    ['the name of a property', topologyOf([{ filter: everything }]), 'constructor'],
  ])('none for %s', (_name, topology, ingressId) => {
    expect(compileMatch(topology)(ingressId, created).egressIds).toEqual([]);
  });
});

describe('L2: may subscribers see the event before it is durable', () => {
  const pinned = exact({ type: 'created' });
  test.each<[string, boolean, readonly EgressSketch[], boolean]>([
    ['yes, if the ingress says so', true, [{ filter: everything }, { filter: pinned }], true],
    ['not, if it does not', false, [{ filter: everything }, { filter: pinned }], false],
    [
      'not with an ordered match',
      true,
      [{ filter: everything }, { filter: pinned, order: 'key' }],
      false,
    ],
    ['not with an ordered match alone', true, [{ filter: everything, order: 'key' }], false],
    [
      'yes, beside an ordered egress that does not match',
      true,
      [
        { filter: everything },
        { filter: exact({ type: 'deleted' }), order: 'key' },
        { filter: all(pinned, exact({ id: '2' })), order: 'key' },
      ],
      true,
    ],
    ['as the ingress says, if nobody matches', true, [], true],
  ])('%s', (_name, isEarly, egresses, expected) => {
    const match = compileMatch(topologyOf(egresses, { orders: { isEarly } }));
    expect(match('orders', created).isEarly).toBe(expected);
  });

  test('not for an unknown ingress', () => {
    expect(compileMatch(topologyOf([]))('invoices', created)).toEqual({
      egressIds: [],
      isEarly: false,
    });
  });
});

/**
 * L8, without a clock: the work that a match does is the number of times it looks at an attribute of the event.
 */
describe('L8: an event costs what the egresses cost that may want it', () => {
  /** Two: the type and the source, for the lookup. */
  const LOOKUP_READS = 2;

  function readsOf(
    match: ReturnType<typeof compileMatch>,
    attributes: Record<string, AttributeValue>,
  ) {
    const map = new CountingMap(Object.entries(attributes));
    const event: CloudEvent = { attributes: map, headers: new Map(), data: undefined };
    const { egressIds } = match('orders', event);
    return { reads: map.reads, egressIds };
  }

  test.each<[string, (at: number) => Filter]>([
    ['types', (at) => ({ kind: 'attributes', values: { type: `type-${at}` } })],
    ['sources', (at) => exact({ source: `/source-${at}` })],
    ['types and sources', (at) => exact({ type: `type-${at}`, source: `/source-${at}` })],
    [
      'sources of one type',
      (at) => all(exact({ type: 'type-7' }), exact({ source: `/source-${at}` })),
    ],
    [
      'types of one source',
      (at) => all(exact({ source: '/source-7' }), exact({ type: `type-${at}` })),
    ],
    ['types in twos', (at) => anyType(`type-${at}`, `other-${at}`)],
    [
      'sources in twos, of one type',
      (at) =>
        all(
          any(exact({ source: `/other-${at}` }), exact({ source: `/source-${at}` })),
          exact({ type: 'type-7' }),
        ),
    ],
    [
      'types deep inside',
      (at) =>
        all(
          prefix({ source: '/' }),
          all(not(exact({ id: '2' })), any(all(exact({ type: `type-${at}` })))),
        ),
    ],
  ])('10,000 that want different %s cost what one costs', (_name, filterAt) => {
    const filters = Array.from({ length: 10_000 }, (_, at) => filterAt(at));
    const match = compileMatch(topologyOf(filters.map((filter) => ({ filter }))));
    const alone = compileMatch(topologyOf([{ id: 'e7', filter: filterAt(7) }]));
    const wanted = { type: 'type-7', source: '/source-7', id: '1' };

    expect(readsOf(match, wanted)).toEqual(readsOf(alone, wanted));
    expect(readsOf(match, wanted).egressIds).toEqual(['e7']);
    const unwanted = { type: 'no-type', source: '/no-source', id: '1' };
    expect(readsOf(match, unwanted)).toEqual({ reads: LOOKUP_READS, egressIds: [] });
  });

  test.each<[string, Filter, number]>([
    ['a prefix', prefix({ type: 'x' }), 1],
    ['not', not(exact({ type: 'type-7' })), 1],
    ['a type or something else', any(exact({ type: 'x' }), exact({ tenant: 'x' })), 2],
    // The index would hold each pair of values, which can be many more than the filter has; the type decides.
    [
      'several types with several sources',
      all(anyType('type-7', 'x'), any(exact({ source: '/x' }), exact({ source: '/y' }))),
      3,
    ],
  ])('%s is asked', (_name, filter, reads) => {
    const match = compileMatch(topologyOf([{ filter }]));
    expect(readsOf(match, { type: 'type-7', source: '/source-7' })).toEqual({
      reads: LOOKUP_READS + reads,
      egressIds: [],
    });
  });

  class CountingMap extends Map<string, AttributeValue> {
    reads = 0;

    override get(name: string): AttributeValue | undefined {
      this.reads++;
      return super.get(name);
    }
  }
});
