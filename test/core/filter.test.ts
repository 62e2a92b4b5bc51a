import { describe, expect, test } from '@jest/globals';
import { compileFilter } from '../../core/rules/filter.ts';
import type { AttributeValue } from '../../core/event.ts';
import type { Filter } from '../../core/topology.ts';
import { eventWith } from './filter-cases.ts';

// The three results as filters, for the event below: `is` makes tables of nested filters readable.
const is = {
  pass: { kind: 'exact', values: { type: 'order.created' } },
  fail: { kind: 'exact', values: { type: 'something.else' } },
  /** Asks nothing, but is no empty object, so a list keeps it. */
  none: { kind: 'all', filters: [{ kind: 'all', filters: [] }] },
  /** What an empty filter object `{}` becomes. */
  empty: { kind: 'all', filters: [] },
} as const satisfies Record<string, Filter>;

const all = (...filters: readonly Filter[]): Filter => ({ kind: 'all', filters });
const any = (...filters: readonly Filter[]): Filter => ({ kind: 'any', filters });
const not = (filter: Filter): Filter => ({ kind: 'not', filter });

function passes(
  filter: Filter,
  attributes: Readonly<Record<string, AttributeValue>> = {},
): boolean {
  return compileFilter(filter)(
    eventWith({ type: 'order.created', source: '/shop', ...attributes }),
  );
}

describe('filter.attributes', () => {
  test.each<[string, Record<string, string>, Record<string, AttributeValue>, boolean]>([
    ['passes when the value is the same', { type: 'order.created' }, {}, true],
    ['fails when the value differs', { type: 'order.deleted' }, {}, false],
    ['fails when only the case differs', { type: 'Order.created' }, {}, false],
    ['fails when the value is only a prefix', { type: 'order' }, {}, false],
    ['passes when all entries hold', { type: 'order.created', source: '/shop' }, {}, true],
    ['fails when one of several differs', { type: 'order.created', source: '/x' }, {}, false],
    ['passes any value for an empty text', { type: '', source: '' }, {}, true],
    ['fails an absent attribute for an empty text', { subject: '' }, {}, false],
    ['fails an absent extension for an empty text', { tenant: '' }, {}, false],
    ['fails an empty attribute for an empty text', { tenant: '' }, { tenant: '' }, false],
    ['fails an absent attribute', { subject: 'a' }, {}, false],
    ['fails an absent time for an empty text', { time: '' }, {}, false],
    ['fails an absent time, which is not year 1', { time: '0001-01-01T00:00:00Z' }, {}, false],
    ['looks at extensions', { tenant: 'blue' }, { tenant: 'blue' }, true],
    ['compares an integer as text', { count: '42' }, { count: 42 }, true],
    ['compares a boolean as text', { urgent: 'false' }, { urgent: false }, true],
    ['takes a false boolean for a value', { urgent: '' }, { urgent: false }, true],
    ['takes zero for a value', { count: '' }, { count: 0 }, true],
    ['passes everything without entries', {}, {}, true],
  ])('%s', (_name, values, attributes, expected) => {
    expect(passes({ kind: 'attributes', values }, attributes)).toBe(expected);
  });
});

describe('exact, prefix and suffix', () => {
  type Kind = 'exact' | 'prefix' | 'suffix';
  test.each<[string, Kind, Record<string, string>, Record<string, AttributeValue>, boolean]>([
    ['exact passes the same value', 'exact', { type: 'order.created' }, {}, true],
    ['exact fails another value', 'exact', { type: 'order' }, {}, false],
    ['exact fails another case', 'exact', { type: 'ORDER.CREATED' }, {}, false],
    ['exact fails an absent attribute', 'exact', { subject: 'a' }, {}, false],
    ['exact compares an integer as text', 'exact', { count: '-7' }, { count: -7 }, true],
    ['exact compares a boolean as text', 'exact', { urgent: 'true' }, { urgent: true }, true],
    ['exact needs all of its entries', 'exact', { type: 'order.created', source: '/' }, {}, false],
    ['prefix passes the start', 'prefix', { type: 'order.' }, {}, true],
    ['prefix passes the whole', 'prefix', { type: 'order.created' }, {}, true],
    ['prefix fails what is longer', 'prefix', { type: 'order.created.v2' }, {}, false],
    ['prefix fails the end', 'prefix', { type: 'created' }, {}, false],
    ['prefix fails another case', 'prefix', { type: 'Order' }, {}, false],
    ['prefix fails an absent attribute', 'prefix', { subject: 'a' }, {}, false],
    ['prefix reads an integer as text', 'prefix', { count: '4' }, { count: 42 }, true],
    ['prefix needs all of its entries', 'prefix', { type: 'order', source: 'shop' }, {}, false],
    ['prefix of a time', 'prefix', { time: '2024-05' }, { time: '2024-05-01T00:00:00.000Z' }, true],
    ['suffix passes the end', 'suffix', { type: '.created' }, {}, true],
    ['suffix passes the whole', 'suffix', { type: 'order.created' }, {}, true],
    ['suffix fails the start', 'suffix', { type: 'order' }, {}, false],
    ['suffix fails an absent attribute', 'suffix', { subject: 'a' }, {}, false],
    ['suffix reads a boolean as text', 'suffix', { urgent: 'ue' }, { urgent: true }, true],
    ['suffix needs all of its entries', 'suffix', { type: 'created', source: '/' }, {}, false],
    ['passes everything without entries', 'exact', {}, {}, true],
  ])('%s', (_name, kind, values, attributes, expected) => {
    expect(passes({ kind, values }, attributes)).toBe(expected);
  });

  test.each(['exact', 'prefix', 'suffix', 'attributes'] as const)(
    '%s does not fall for names that every object has',
    (kind) => {
      expect(passes({ kind, values: { constructor: 'Object' } })).toBe(false);
      expect(passes({ kind, values: { constructor: 'x' } }, { constructor: 'x' })).toBe(true);
    },
  );
});

describe('names that are more than an attribute', () => {
  const json = 'application/json';
  test.each<[string, Record<string, string>, Record<string, AttributeValue>, boolean]>([
    ['schemaurl means dataschema', { schemaurl: 'urn:a' }, { dataschema: 'urn:a' }, true],
    [
      'dataschema means the schemaurl of 0.3',
      { dataschema: 'urn:a' },
      { schemaurl: 'urn:a' },
      true,
    ],
    ['schemaurl fails without either', { schemaurl: 'urn:a' }, {}, false],
    ['datacontenttype is the whole', { datacontenttype: json }, { datacontenttype: json }, true],
    [
      'datacontenttype keeps its parameters',
      { datacontenttype: json },
      { datacontenttype: `${json}; charset=utf-8` },
      false,
    ],
    ['datamediatype is that without any', { datamediatype: json }, { datacontenttype: json }, true],
    [
      'datamediatype drops parameters and the space before them',
      { datamediatype: json },
      { datacontenttype: `${json} ; charset=utf-8` },
      true,
    ],
    ['datamediatype fails another one', { datamediatype: json }, { datacontenttype: 'a/b' }, false],
    ['datamediatype fails without datacontenttype', { datamediatype: json }, {}, false],
    ['datamediatype is no extension', { datamediatype: json }, { datamediatype: json }, false],
    [
      'datacontentencoding is what a 0.3 event says',
      { datacontentencoding: 'base64' },
      { specversion: '0.3', datacontentencoding: 'base64' },
      true,
    ],
    ['datacontentencoding is absent from others', { datacontentencoding: 'base64' }, {}, false],
    ['specversion is an attribute', { specversion: '1.0' }, {}, true],
    ['id is an attribute', { id: '1' }, {}, true],
  ])('%s', (_name, values, attributes, expected) => {
    expect(passes({ kind: 'exact', values }, attributes)).toBe(expected);
    expect(passes({ kind: 'attributes', values }, attributes)).toBe(expected);
    expect(passes({ kind: 'prefix', values }, attributes)).toBe(
      // The one row where a value is longer than what is asked for.
      expected || attributes['datacontenttype'] === `${json}; charset=utf-8`,
    );
  });

  test('datamediatype for an empty text needs a datacontenttype', () => {
    const filter: Filter = { kind: 'attributes', values: { datamediatype: '' } };
    expect(passes(filter)).toBe(false);
    expect(passes(filter, { datacontenttype: json })).toBe(true);
  });
});

describe('nested filters', () => {
  test.each<[string, Filter, boolean]>([
    ['everything passes', { kind: 'everything' }, true],
    ['a filter that asks nothing passes', is.none, true],
    ['an empty filter object passes', is.empty, true],
    ['an empty any passes', any(), true],

    ['all of passes passes', all(is.pass, is.pass), true],
    ['all fails with its first', all(is.fail, is.pass), false],
    ['all fails with its last', all(is.pass, is.fail), false],
    ['all with one that asks nothing passes', all(is.pass, is.none), true],
    ['all fails beside one that asks nothing', all(is.fail, is.none), false],
    ['all of one is that one', all(is.fail), false],
    ['all of all', all(all(is.pass, all(is.fail))), false],

    ['any passes with its first', any(is.pass, is.fail), true],
    ['any passes with its last', any(is.fail, is.pass), true],
    ['any of fails fails', any(is.fail, is.fail), false],
    ['any of one is that one', any(is.fail), false],
    ['any without a pass is its last: fail', any(is.none, is.fail), false],
    ['any without a pass is its last: nothing asked', any(is.fail, is.none), true],
    ['any of any', any(is.fail, any(is.fail, is.pass)), true],

    ['not of pass fails', not(is.pass), false],
    ['not of fail passes', not(is.fail), true],
    ['not of a filter that asks nothing asks nothing', not(is.none), true],
    ['not of an empty object asks nothing', not(is.empty), true],
    ['not of everything asks nothing', not({ kind: 'everything' }), true],
    ['not of an empty any asks nothing', not(any()), true],
    ['not of a map without entries asks nothing', not({ kind: 'exact', values: {} }), true],
    ['not not of nothing asked passes', not(not(is.none)), true],
    ['not not of pass passes', not(not(is.pass)), true],
    ['not not of fail fails', not(not(is.fail)), false],
    ['not of a map needs one entry to fail', not({ kind: 'exact', values: { id: 'x' } }), true],

    // `not` shows what a list without fail or pass results in.
    ['all is as its last: nothing asked', not(all(is.pass, is.none)), true],
    ['all is as its last: pass', not(all(is.none, is.pass)), false],

    // An empty object is no child: these differ from the ones above with `none`.
    ['any ignores an empty object at its end', any(is.fail, is.empty), false],
    ['any ignores an empty any at its end', any(is.fail, any()), false],
    ['any ignores a map without entries', any(is.fail, { kind: 'prefix', values: {} }), false],
    ['any keeps not of an empty object', any(is.fail, not(is.empty)), true],
    ['any of only empty objects asks nothing', any(is.empty, is.empty), true],
    ['all ignores an empty object at its end', not(all(is.pass, is.empty)), false],
    ['all of only empty objects asks nothing', not(all(is.empty)), true],
  ])('%s', (_name, filter, expected) => {
    expect(passes(filter)).toBe(expected);
  });

  test('nests a thousand deep', () => {
    const wraps = [not, all, any];
    let filter: Filter = is.fail;
    for (let depth = 0; depth < 1_000; depth++) filter = wraps[depth % 3]?.(filter) ?? filter;
    // 334 times not.
    expect(passes(filter)).toBe(false);
    expect(passes(not(filter))).toBe(true);
  });
});

test('a compiled filter keeps no state between events', () => {
  const wants = compileFilter(any(is.pass, not(is.pass), is.fail));
  const created = eventWith({ type: 'order.created' });
  const deleted = eventWith({ type: 'order.deleted' });
  const answers = [created, deleted, created].map((event) => wants(event));
  expect(answers).toEqual([true, true, true]);

  const wantsCreated = compileFilter(all(is.pass));
  expect([created, deleted, created].map((event) => wantsCreated(event))).toEqual([
    true,
    false,
    true,
  ]);
});
