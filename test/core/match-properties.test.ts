import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compileMatch } from '../../core/rules/match.ts';
import { events, filters, isWanted } from './filter-cases.ts';
import { topologyOf } from './match-cases.ts';

/**
 * Hunts for an index that leaves an egress out, takes one twice or loses the order: random topologies and events, and
 * the answer of asking every filter, one after the other.
 */
test('a match is what asking every filter would give', () => {
  const egress = fc.record({
    filter: filters,
    ingressId: fc.constantFrom('orders', 'orders', 'invoices', 'gone'),
    order: fc.constantFrom('none' as const, 'none' as const, 'none' as const, 'key' as const),
  });
  const ingress = fc.record({ isEarly: fc.boolean() });
  const topology = fc
    .tuple(fc.array(egress, { maxLength: 12 }), fc.record({ orders: ingress, invoices: ingress }))
    .map(([egresses, ingresses]) => topologyOf(egresses, ingresses));
  const sample = fc.array(events, { minLength: 5, maxLength: 5 });

  fc.assert(
    fc.property(topology, sample, ({ ingresses, egresses, ...rest }, fiveEvents) => {
      const match = compileMatch({ ingresses, egresses, ...rest });
      for (const event of fiveEvents) {
        for (const id of ['orders', 'invoices', 'gone']) {
          const wanting = [...egresses.values()].filter(
            ({ ingressId, filter }) =>
              ingressId === id && ingresses.has(id) && isWanted(filter, event),
          );
          expect(match(id, event)).toEqual({
            egressIds: wanting.map((each) => each.id),
            isEarly:
              ingresses.get(id)?.isEarly === true && wanting.every(({ order }) => order === 'none'),
          });
        }
      }
    }),
    { numRuns: 500 },
  );
});
