/** The dialect in its place: as a filter, among other filters, and in the index of an ingress. */
import { describe, expect, test } from '@jest/globals';
import type { AttributeValue } from '../../../core/event.ts';
import { compileFilter, pinnedValues } from '../../../core/rules/filter.ts';
import { compileMatch } from '../../../core/rules/match.ts';
import type { Filter } from '../../../core/topology.ts';
import { eventWith } from '../filter-cases.ts';
import { topologyOf } from '../match-cases.ts';

const cesql = (expression: string): Filter => ({ kind: 'cesql', expression });
const ORDER = { type: 'order.created', source: '/shop', count: '3' };

function passes(filter: Filter, more: Readonly<Record<string, AttributeValue>> = {}): boolean {
  return compileFilter(filter)(eventWith({ ...ORDER, ...more }));
}

describe('a filter', () => {
  test.each<[string, string, boolean, Readonly<Record<string, AttributeValue>>?]>([
    ['passes true', "type = 'order.created'", true],
    ['fails false', "type = 'order.deleted'", false],
    ['fails an attribute that is missing', "subject = 'a'", false],
    ['fails the opposite as well', "subject != 'a'", false],
    ['fails the opposite as well, with NOT', "NOT (subject = 'a')", false],
    ['passes where EXISTS guards it', "NOT EXISTS subject OR subject = 'a'", true],
    ['fails an error of arithmetic', 'count / 0 = 0', false],
    ['fails an error of a cast', 'type > 5', false],
    ['fails an error of a function', "LEFT(type, -1) = 'order.created'", false],
    ['fails a function that is not there', "NOTHING(type) = 'order.created'", false],
    ['fails an integer, though it could be cast', 'count + 1', false],
    ['fails a text, though it could be cast', "'true'", false],
    ['fails an attribute that is a text', 'flag', false, { flag: 'true' }],
    ['passes an attribute that is true', 'flag', true, { flag: true }],
    ['fails an attribute that is false', 'flag', false, { flag: false }],
    ['fails what cannot be read', "type = 'order.created' AND", false],
  ])('%s', (_name, expression, expected, ...[more]) => {
    expect(passes(cesql(expression), typeof more === 'object' ? more : {})).toBe(expected);
  });

  test('without an expression asks for nothing', () => {
    expect(passes(cesql(''))).toBe(true);
    expect(passes({ kind: 'not', filter: cesql('') })).toBe(true);
  });

  test('inside of others fails or passes like any', () => {
    const [yes, no, error] = [cesql('TRUE'), cesql('FALSE'), cesql('missing')];
    expect(passes({ kind: 'all', filters: [yes, no] })).toBe(false);
    expect(passes({ kind: 'any', filters: [no, yes] })).toBe(true);
    expect(passes({ kind: 'any', filters: [no, error] })).toBe(false);
    expect(passes({ kind: 'not', filter: no })).toBe(true);
    expect(passes({ kind: 'not', filter: error })).toBe(true);
  });
});

describe('the index gets', () => {
  test.each<[expression: string, types: readonly string[] | undefined]>([
    ["type = 'a'", ['a']],
    ["'a' = type", ['a']],
    ["TYPE = 'a'", ['a']],
    ["((type = 'a'))", ['a']],
    ["type IN ('a', 'b', 'a')", ['a', 'b']],
    ["type = 'a' AND source = '/x'", ['a']],
    ["subject = 'x' AND type = 'a'", ['a']],
    ["type IN ('a', 'b') AND type = 'c'", ['c']],
    ["type = 'a' OR type = 'b'", ['a', 'b']],
    ["type = 'a' OR type IN ('b', 'a')", ['a', 'b']],
    ["(type = 'a' AND count > 3) OR (type = 'b' AND count > 5)", ['a', 'b']],
    ["type = 'a' OR source = '/x'", undefined],
    ["type != 'a'", undefined],
    ["NOT (type = 'a')", undefined],
    ["type NOT IN ('a')", undefined],
    ["type LIKE 'a'", undefined],
    ["type = 'a' XOR type = 'b'", undefined],
    ["type = 'a' = TRUE", undefined],
    ["source = 'type'", undefined],
    ['type = source', undefined],
    ["type IN ('a', subject)", undefined],
    // Any text that is cast to the same would do: '+1', 'TRUE'.
    ['type = 1', undefined],
    ['type = TRUE', undefined],
    ["type = '1'", undefined],
    ["type IN ('a', 'true')", undefined],
    // No event has an empty type.
    ["type = ''", undefined],
    ["type = 'a' AND", undefined],
    ['', undefined],
  ])('of %s the types %j', (expression, types) => {
    expect(pinnedValues(cesql(expression), 'type')).toEqual(types);
  });

  test('sources as well', () => {
    expect(pinnedValues(cesql("source IN ('/a', '/b') AND type = 'x'"), 'source')).toEqual([
      '/a',
      '/b',
    ]);
  });
});

test('an ingress finds the egress by its pins, and lets the whole expression decide', () => {
  const match = compileMatch(
    topologyOf([
      { filter: cesql("type = 'order.created' AND count > 2") },
      { filter: cesql("type = 'order.created' AND count > 3") },
      { filter: cesql("type IN ('order.created', 'order.deleted')") },
      { filter: cesql("type = 'order.deleted'") },
      { filter: cesql("source LIKE '/sh%'") },
    ]),
  );
  expect(match('orders', eventWith(ORDER)).egressIds).toEqual(['e0', 'e2', 'e4']);
});
