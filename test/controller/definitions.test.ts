/** The files in config/crds, held against what Kubernetes and Knative ask of a CustomResourceDefinition. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { ANNOTATIONS } from '../../controller/annotations.ts';
import { CLAIM_STORE, LIMITS, type ClaimName } from '../../controller/claims.ts';

interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly pattern?: string;
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
}

const FOLDER = new URL('../../config/crds/', import.meta.url);

const definitions = readdirSync(FOLDER).map((file) => {
  const definition = parse(readFileSync(new URL(file, FOLDER), 'utf8'));
  const [version] = definition.spec.versions;
  const schema: Schema = version.schema.openAPIV3Schema;
  return { kind: String(definition.spec.names.kind), definition, version, schema };
});

describe('a definition', () => {
  test('is there for each kind of ours and of Knative that is read', () => {
    expect(definitions.map(({ kind }) => kind).toSorted()).toEqual([
      'Broker',
      'Channel',
      'InMemoryChannel',
      'KnearChannel',
      'Parallel',
      'Sequence',
      'Subscription',
      'Trigger',
    ]);
  });

  test.each(definitions)('of $kind can be installed', ({ kind, definition, version, schema }) => {
    const { names, group, scope, versions } = definition.spec;
    expect(definition).toMatchObject({
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: `${String(names.plural)}.${String(group)}` },
    });
    // Knative derives the resource from the kind in this way.
    expect(names).toMatchObject({ singular: kind.toLowerCase(), plural: `${kind.toLowerCase()}s` });
    expect(scope).toBe('Namespaced');
    expect(versions).toHaveLength(1);
    expect(version).toMatchObject({
      name: 'v1',
      served: true,
      storage: true,
      subresources: { status: {} },
    });
    expect(structuralFaults(schema)).toEqual([]);
  });

  test.each(definitions.filter(({ kind }) => kind.endsWith('Channel')))(
    'of $kind tells Knative that it is a channel',
    ({ definition }) => {
      expect(definition.metadata.labels).toMatchObject({
        'messaging.knative.dev/subscribable': 'true',
        'duck.knative.dev/addressable': 'true',
      });
      expect(definition.spec.names.categories).toContain('channel');
    },
  );
});

/** Source: Knative Eventing, the status types of its v1 API; and the channel contract, for ours. */
const STATUS_FIELDS: Readonly<Record<string, string>> = {
  Broker:
    'address addresses deadLetterSinkAudience deadLetterSinkCACerts deadLetterSinkUri policies',
  Trigger:
    'auth deadLetterSinkAudience deadLetterSinkCACerts deadLetterSinkUri ' +
    'subscriberAudience subscriberCACerts subscriberUri',
  Channel:
    'address addresses channel deadLetterSinkAudience deadLetterSinkCACerts deadLetterSinkUri policies subscribers',
  InMemoryChannel:
    'address addresses deadLetterChannel deadLetterSinkAudience deadLetterSinkCACerts deadLetterSinkUri ' +
    'policies subscribers',
  KnearChannel:
    'address addresses deadLetterSinkAudience deadLetterSinkCACerts deadLetterSinkUri policies subscribers',
  Subscription: 'auth physicalSubscription',
  Sequence: 'address addresses auth channelStatuses policies subscriptionStatuses',
  Parallel: 'address addresses auth branchStatuses ingressChannelStatus policies',
};

test.each(definitions)('the status of $kind has every published field', ({ kind, schema }) => {
  const common = ['annotations', 'conditions', 'observedGeneration'];
  const expected = [...common, ...(STATUS_FIELDS[kind] ?? '').split(' ')].toSorted();
  expect(Object.keys(schema.properties?.['status']?.properties ?? {}).toSorted()).toEqual(expected);
});

describe('KnearChannel keeps what the controller of Subscriptions writes, lest it writes it for ever', () => {
  const schema = definitions.find(({ kind }) => kind === 'KnearChannel')?.schema;
  const spec = schema?.properties?.['spec']?.properties;
  const delivery =
    'backoffDelay backoffPolicy deadLetterSink format retry retryAfterMax timeout'.split(' ');
  const subscriber =
    'auth delivery generation name namespace replyAudience replyCACerts replyUri ' +
    'subscriberAudience subscriberCACerts subscriberUri uid';

  test.each([
    ['delivery', spec?.['delivery'], delivery],
    ['subscribers', spec?.['subscribers']?.items, subscriber.split(' ')],
    ['the delivery of each', spec?.['subscribers']?.items?.properties?.['delivery'], delivery],
  ])('in %s', (_, part, fields) => {
    expect(Object.keys(part?.properties ?? {}).toSorted()).toEqual(fields);
    expect(part?.['x-kubernetes-preserve-unknown-fields']).toBe(true);
  });

  test('in the statuses of subscribers', () => {
    const statuses = schema?.properties?.['status']?.properties?.['subscribers']?.items;
    expect(Object.keys(statuses?.properties ?? {}).toSorted()).toEqual(
      'auth message observedGeneration ready uid'.split(' '),
    );
  });
});

describe('docs/resources.md', () => {
  const text = readFileSync(new URL('../../docs/resources.md', import.meta.url), 'utf8');

  test.each(definitions)('names each field of $kind', ({ schema }) => {
    const spec = schema.properties?.['spec'] ?? {};
    expect(fieldsOf(spec).filter((field) => !text.includes(`\`${field}\``))).toEqual([]);
  });

  test('has a row for each annotation, with its values and its default in bold', () => {
    const rows = text.split('\n').filter((line) => line.startsWith('| `knear.dev/'));
    const expected = Object.entries(ANNOTATIONS).map(([key, row]) => {
      const { kinds } = row;
      const where = PLACES.filter(([, all]) => all.every((kind) => kinds.some((k) => k === kind)))
        .map(([name]) => name)
        .join(', ');
      return `| \`${key}\` | ${valuesText(row)} | ${where} |`;
    });
    expect(rows.map((row) => row.split('|').slice(0, 4).join('|') + '|')).toEqual(expected);
  });
});

function valuesText(row: (typeof ANNOTATIONS)[keyof typeof ANNOTATIONS]): string {
  if ('claim' in row) return limitText(row.claim);
  if ('range' in row) return row.range.replaceAll(/\bPT\w+/g, (text) => `\`${text}\``);
  const [first, ...others] = row.values.map((value) => `\`${value}\``);
  return ['isDefaultElsewhere' in row ? first : `**${first}**`, ...others].join(', ');
}

function limitText(name: ClaimName): string {
  if (name === 'store') return `\`${CLAIM_STORE}\``;
  const { min, max } = LIMITS[name];
  return `a size from \`${min}\` to \`${max}\``;
}

/** How the table names the kinds that an annotation is for. */
const PLACES: readonly (readonly [string, readonly string[]])[] = [
  ['Broker', ['Broker']],
  ['channels', ['Channel', 'InMemoryChannel', 'KnearChannel']],
  ['Trigger', ['Trigger']],
  ['Subscription', ['Subscription']],
  ['Sequence', ['Sequence']],
  ['Parallel', ['Parallel']],
  ['Service', ['Service']],
];

/** What Kubernetes refuses: a part without a type, or lookarounds and back-references (its patterns are RE2). */
function structuralFaults(schema: Schema, path = ''): string[] {
  const inner = [
    ...Object.entries(schema.properties ?? {}),
    ...(schema.items ? [['items', schema.items] as const] : []),
    ...(schema.additionalProperties ? [['*', schema.additionalProperties] as const] : []),
  ];
  return [
    ...(schema.type === undefined ? [`${path} has no type`] : []),
    ...(/\(\?|\\[1-9]/.test(schema.pattern ?? '') ? [`${path} has a pattern beyond RE2`] : []),
    ...(schema.properties && schema.additionalProperties ? [`${path} has both`] : []),
    ...inner.flatMap(([name, each]) => structuralFaults(each, `${path}.${name}`)),
  ];
}

/** What people write: the fields of `subscribers` are for controllers. */
function fieldsOf(schema: Schema): string[] {
  const { subscribers: _, ...properties } = schema.properties ?? {};
  const own = Object.entries(properties);
  return [
    ...own.flatMap(([name, inner]) => [name, ...fieldsOf(inner)]),
    ...(schema.items ? fieldsOf(schema.items) : []),
  ];
}
