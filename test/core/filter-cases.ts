/**
 * Events and filters at random, from so small an alphabet that they often meet, and a second evaluator of filters that
 * is slow and short: it works on texts and whole lists and shares nothing with the real one.
 */
import fc from 'fast-check';
import type { AttributeValue, CloudEvent } from '../../core/event.ts';
import type { Filter } from '../../core/topology.ts';
import { treeOf } from './cesql/evaluate.ts';
import { evaluateSlowly } from './cesql/oracle.ts';
import { conditions, styles, textOf } from './cesql/random-expressions.ts';

export function eventWith(attributes: Readonly<Record<string, AttributeValue>>): CloudEvent {
  const required = { specversion: '1.0', id: '1', source: '/', type: 't' };
  return {
    attributes: new Map(Object.entries({ ...required, ...attributes })),
    headers: new Map(),
    data: undefined,
  };
}

/** The rules as Knative states them, one line each. */
export function isWanted(filter: Filter, event: CloudEvent): boolean {
  return evaluate(filter, event) !== 'Fail';
}

function evaluate(filter: Filter, event: CloudEvent): 'Pass' | 'Fail' | 'NoFilter' {
  if (isEmpty(filter)) return 'NoFilter';
  switch (filter.kind) {
    case 'everything':
      return 'NoFilter';
    case 'attributes':
    case 'exact':
    case 'prefix':
    case 'suffix':
      return Object.entries(filter.values).every(([name, wanted]) =>
        holds(filter.kind, texts(event)[name], wanted),
      )
        ? 'Pass'
        : 'Fail';
    case 'all': {
      const results = filter.filters
        .filter((each) => !isEmpty(each))
        .map((each) => evaluate(each, event));
      return results.includes('Fail') ? 'Fail' : (results.at(-1) ?? 'NoFilter');
    }
    case 'any': {
      const results = filter.filters
        .filter((each) => !isEmpty(each))
        .map((each) => evaluate(each, event));
      return results.includes('Pass') ? 'Pass' : (results.at(-1) ?? 'NoFilter');
    }
    case 'not':
      return ({ Pass: 'Fail', Fail: 'Pass', NoFilter: 'NoFilter' } as const)[
        evaluate(filter.filter, event)
      ];
    case 'cesql': {
      const { value, errors } = evaluateSlowly(
        treeOf(filter.expression),
        Object.fromEntries(event.attributes),
      );
      return value === true && errors.length === 0 ? 'Pass' : 'Fail';
    }
  }
}

function isEmpty(filter: Filter): boolean {
  if (filter.kind === 'everything') return true;
  if (filter.kind === 'not') return false;
  if (filter.kind === 'cesql') return filter.expression === '';
  return Object.keys('values' in filter ? filter.values : filter.filters).length === 0;
}

function holds(kind: Filter['kind'], text: string | undefined, wanted: string): boolean {
  if (text === undefined) return false;
  if (kind === 'attributes' && wanted === '') return text.length > 0;
  if (kind === 'prefix') return text.slice(0, wanted.length) === wanted;
  if (kind === 'suffix')
    return text.length >= wanted.length && text.slice(text.length - wanted.length) === wanted;
  return text === wanted;
}

/** Every name that a filter may say, with its text. */
function texts(event: CloudEvent): Record<string, string> {
  const all: Record<string, string> = {};
  for (const [name, value] of event.attributes) all[name] = `${value}`;
  delete all['datamediatype'];
  const [mediaType] = all['datacontenttype']?.split(';') ?? [];
  if (mediaType !== undefined) all['datamediatype'] = mediaType.trim();
  const schema = all['dataschema'] ?? all['schemaurl'];
  if (schema !== undefined) all['dataschema'] = all['schemaurl'] = schema;
  return all;
}

const TEXTS = ['a', 'b', 'ab', 'ba', 'abc', '1', 'true'] as const;
const text = fc.constantFrom(...TEXTS);

export const events: fc.Arbitrary<CloudEvent> = fc
  .record(
    {
      type: text,
      source: text,
      subject: text,
      extension: fc.oneof(text, fc.constantFrom<AttributeValue>(1, 10, true, false, '')),
      dataschema: text,
      schemaurl: text,
      datamediatype: text,
      datacontenttype: fc.constantFrom('a', 'a;b=c', 'ab ; b=c', 'b'),
    },
    { requiredKeys: ['type', 'source'] },
  )
  .map(eventWith);

// `type` and `source` are what the index looks at, so they come up most.
const name = fc.oneof(
  { weight: 3, arbitrary: fc.constant('type') },
  { weight: 2, arbitrary: fc.constant('source') },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      ...['subject', 'extension', 'dataschema', 'schemaurl', 'datamediatype', 'datacontenttype'],
      ...['id', 'missing'],
    ),
  },
);

const values = (value: fc.Arbitrary<string>) => fc.dictionary(name, value, { maxKeys: 3 });

/** A few at random that stay the same, as making them takes long; the tests of CESQL itself make new ones. */
const EXPRESSIONS = fc
  .sample(fc.tuple(conditions, styles), { numRuns: 300, seed: 1 })
  .map(([tree, style]) => textOf(tree, style));

export const filters: fc.Arbitrary<Filter> = fc.letrec<{ filter: Filter; leaf: Filter }>((tie) => ({
  leaf: fc.oneof(
    fc.constant<Filter>({ kind: 'everything' }),
    fc.record({
      kind: fc.constant('attributes' as const),
      values: values(fc.oneof(text, fc.constant(''))),
    }),
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constantFrom('exact' as const, 'prefix' as const, 'suffix' as const),
        values: values(text),
      }),
    },
    fc.record({
      kind: fc.constant('cesql' as const),
      expression: fc.constantFrom('', ...EXPRESSIONS),
    }),
  ),
  filter: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    { weight: 3, arbitrary: tie('leaf') },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constantFrom('all' as const, 'any' as const),
        filters: fc.array(tie('filter'), { maxLength: 3 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('not' as const), filter: tie('filter') }),
    },
  ),
})).filter;
