/** Which clause of a filter failed, in words; and that the words never disagree with what the filter decides. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { explainFilter } from '../../core/rules/explain-filter.ts';
import { compileFilter } from '../../core/rules/filter.ts';
import type { Filter } from '../../core/topology.ts';
import { events, eventWith, filters } from './filter-cases.ts';

const NO_KEYS = { correlationKeys: new Map<string, string>() };

const EVENT = eventWith({
  type: 'order',
  source: '/shop/7',
  datacontenttype: 'text/plain; charset=utf-8',
  schemaurl: 'http://schema/',
  count: 7,
});

const exact = (values: Readonly<Record<string, string>>): Filter => ({ kind: 'exact', values });
const cesql = (expression: string): Filter => ({ kind: 'cesql', expression });

describe('the clause that fails is named', () => {
  test.each<{ name: string; filter: Filter; why: string }>([
    { name: 'exact', filter: exact({ type: 'b' }), why: 'exact: type is "order", wanted "b"' },
    {
      name: 'the first of several',
      filter: exact({ type: 'order', source: '/x', id: '2' }),
      why: 'exact: source is "/shop/7", wanted "/x"',
    },
    { name: 'missing', filter: exact({ x: 'b' }), why: 'exact: x is missing, wanted "b"' },
    {
      name: 'an integer',
      filter: exact({ count: '8' }),
      why: 'exact: count is "7", wanted "8"',
    },
    {
      name: 'attributes, any value',
      filter: { kind: 'attributes', values: { subject: '' } },
      why: 'attributes: subject is missing, wanted any value',
    },
    {
      name: 'prefix',
      filter: { kind: 'prefix', values: { source: '/bank' } },
      why: 'prefix: source is "/shop/7", wanted one that begins with "/bank"',
    },
    {
      name: 'suffix',
      filter: { kind: 'suffix', values: { source: '/8' } },
      why: 'suffix: source is "/shop/7", wanted one that ends with "/8"',
    },
    {
      name: 'the media type, which is a part of another attribute',
      filter: exact({ datamediatype: 'text/html' }),
      why: 'exact: datamediatype is "text/plain; charset=utf-8", wanted "text/html"',
    },
    {
      name: 'the schema under its other name',
      filter: exact({ dataschema: 'http://other/' }),
      why: 'exact: dataschema is "http://schema/", wanted "http://other/"',
    },
    {
      name: 'one in all',
      filter: { kind: 'all', filters: [exact({ type: 'order' }), exact({ type: 'b' })] },
      why: 'all[1].exact: type is "order", wanted "b"',
    },
    {
      name: 'one in all, behind one that has no clause',
      filter: { kind: 'all', filters: [{ kind: 'everything' }, exact({ type: 'b' })] },
      why: 'all[1].exact: type is "order", wanted "b"',
    },
    {
      name: 'all of any',
      filter: { kind: 'any', filters: [exact({ type: 'a' }), exact({ type: 'b' })] },
      why:
        'any: none holds: [0].exact: type is "order", wanted "a"; ' +
        '[1].exact: type is "order", wanted "b"',
    },
    {
      name: 'many in any',
      filter: { kind: 'any', filters: Array.from({ length: 9 }, () => exact({ x: 'a' })) },
      why:
        'any: none holds: [0].exact: x is missing, wanted "a"; [1].exact: x is missing, wanted "a"; ' +
        '[2].exact: x is missing, wanted "a"; and 6 more',
    },
    {
      name: 'not',
      filter: { kind: 'not', filter: exact({ type: 'order' }) },
      why: 'not.exact: it holds, and must not',
    },
    {
      name: 'not twice',
      filter: { kind: 'not', filter: { kind: 'not', filter: exact({ type: 'b' }) } },
      why: 'not.not.exact: it holds, and must not',
    },
    {
      name: 'an expression that is false',
      filter: cesql("type = 'b'"),
      why: 'cesql: false: "type = \'b\'"',
    },
    {
      name: 'an expression about what is missing',
      filter: cesql("region = 'eu' AND EXISTS zone"),
      why: 'cesql: an error or no boolean (region missing in the event): "region = \'eu\' AND EXISTS zone"',
    },
    {
      name: 'an expression that divides by zero',
      filter: cesql('1 / 0 = 1'),
      why: 'cesql: an error or no boolean: "1 / 0 = 1"',
    },
    { name: 'no expression', filter: cesql('type ='), why: 'cesql: this cannot be read: "type ="' },
    {
      name: 'a long value, cut',
      filter: exact({ type: 'x'.repeat(300) }),
      why: `exact: type is "order", wanted "${'x'.repeat(100)}"...`,
    },
  ])('$name', ({ filter, why }) => {
    expect(explainFilter(filter, EVENT, NO_KEYS)).toBe(why);
  });
});

test.each<[string, Filter]>([
  ['everything', { kind: 'everything' }],
  ['what holds', exact({ type: 'order' })],
  ['no clause', exact({})],
  ['an empty list', { kind: 'any', filters: [] }],
  ['not of nothing', { kind: 'not', filter: { kind: 'everything' } }],
  ['an empty expression', cesql('')],
])('%s has nothing to explain', (_name, filter) => {
  expect(explainFilter(filter, EVENT, NO_KEYS)).toBeUndefined();
});

test('the verdict is that of the filter, whatever filter and event', () => {
  let refused = 0;
  fc.assert(
    fc.property(filters, events, (filter, event) => {
      const isWanted = compileFilter(filter)(event);
      if (!isWanted) refused += 1;
      expect(explainFilter(filter, event, NO_KEYS) === undefined).toBe(isWanted);
    }),
    { numRuns: 5_000 },
  );
  // Both verdicts came up, or nothing was compared.
  expect(refused).toBeGreaterThan(500);
  expect(refused).toBeLessThan(4_500);
});
