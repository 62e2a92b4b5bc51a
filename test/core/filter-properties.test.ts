import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compileFilter, pinnedValues } from '../../core/rules/filter.ts';
import { attributeText } from '../../core/event.ts';
import { events, filters, isWanted } from './filter-cases.ts';

// 2,000 runs of five events take well under a second; any one rule broken on purpose is found.
const runs = { numRuns: 2_000 };
const fiveEvents = fc.array(events, { minLength: 5, maxLength: 5 });

test('a compiled filter answers as the rules do, read literally', () => {
  fc.assert(
    fc.property(filters, fiveEvents, (filter, sample) => {
      const wants = compileFilter(filter);
      expect(sample.map((event) => wants(event))).toEqual(
        sample.map((event) => isWanted(filter, event)),
      );
    }),
    runs,
  );
});

test('an event without a pinned value is never wanted', () => {
  fc.assert(
    fc.property(filters, fiveEvents, fc.constantFrom('type', 'source'), (filter, sample, name) => {
      const pins = pinnedValues(filter, name);
      fc.pre(pins !== undefined);
      expect(new Set(pins).size).toBe(pins.length);
      const unpinned = sample.filter((event) => !pins.includes(attributeText(event, name) ?? ''));
      expect(unpinned.filter((event) => isWanted(filter, event))).toEqual([]);
    }),
    runs,
  );
});

test('a filter survives being sent as JSON', () => {
  fc.assert(
    fc.property(filters, events, (filter, event) => {
      const sent = JSON.parse(JSON.stringify(filter)) as typeof filter;
      expect(compileFilter(sent)(event)).toBe(compileFilter(filter)(event));
    }),
    { numRuns: 200 },
  );
});
