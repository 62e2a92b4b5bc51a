/**
 * What a resource may look like: one validator a kind. For Knative's kinds and ours it comes from the
 * CustomResourceDefinitions in config/crds, so that the files users install and the rules we apply are one thing; for
 * the two kinds of Kubernetes that we read it is built in and says only what we need.
 */
import { readdir, readFile } from 'node:fs/promises';
import { findPackageJSON } from 'node:module';
import { dirname, join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import { parse } from 'yaml';

export interface KindSchema {
  readonly group: string;
  readonly kind: string;
  /** Compiled when the first resource of this kind is met, some 10 ms, and kept. */
  readonly validator: () => ValidateFunction;
}

/** By `group/Kind`; the group of `v1` is empty. */
export type Schemas = ReadonlyMap<string, KindSchema>;

interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: boolean | Schema;
  'x-kubernetes-preserve-unknown-fields'?: boolean;
  [keyword: string]: unknown;
}

/** The part of a CustomResourceDefinition that is read here. */
interface Definition {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string };
    readonly versions: readonly { readonly schema: { readonly openAPIV3Schema: Schema } }[];
  };
}

/** Reads all schemas, to be done once when a source opens. */
export async function loadSchemas(): Promise<Schemas> {
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    // Keywords are ours to check (a CRD has more than JSON Schema knows); a wrong one fails the tests of that kind.
    strict: false,
    formats: { int32: { type: 'number', validate: (value) => Math.abs(value) < 2 ** 31 } },
  });
  const schemas = new Map<string, KindSchema>();
  const add = (group: string, kind: string, schema: Schema): void => {
    // ajv keeps what it compiled, by the schema object.
    schemas.set(`${group}/${kind}`, { group, kind, validator: () => ajv.compile(schema) });
  };
  for (const { spec } of await readDefinitions()) {
    for (const { schema } of spec.versions) {
      add(spec.group, spec.names.kind, strictly(schema.openAPIV3Schema));
    }
  }
  add('', 'Service', SERVICE);
  add('discovery.k8s.io', 'EndpointSlice', ENDPOINT_SLICE);
  return schemas;
}

async function readDefinitions(): Promise<Definition[]> {
  // Found from the package's root, because compiled code lies one folder deeper than its source.
  const folder = join(dirname(findPackageJSON(import.meta.url) ?? ''), 'config', 'crds');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.yaml'));
  return Promise.all(
    // Our own files, whose form the tests check.
    names.map(async (name) => parse(await readFile(join(folder, name), 'utf8')) as Definition),
  );
}

/**
 * A CRD's schema made strict, as Knative's webhook is. Kubernetes itself drops unknown fields in silence, and a
 * structural schema can neither describe `metadata` nor nest filters to any depth; all three are added here.
 */
function strictly(crd: Schema): Schema {
  const schema = closed(crd);
  schema.properties = { ...schema.properties, metadata: closed(METADATA) };
  schema['required'] = [...new Set(['metadata', ...asStrings(schema['required'])])];
  const filter = schema.properties['spec']?.properties?.['filters']?.items?.properties;
  if (filter !== undefined) {
    const nested = { $ref: '#/properties/spec/properties/filters/items' };
    filter['all'] = { type: 'array', items: nested };
    filter['any'] = { type: 'array', items: nested };
    filter['not'] = nested;
  }
  return schema;
}

/** A copy in which every object that lists its fields has no others. */
function closed(schema: Schema): Schema {
  const { properties, items, ...rest } = schema;
  const isOpen = schema['x-kubernetes-preserve-unknown-fields'] === true;
  return {
    ...rest,
    ...(items && { items: closed(items) }),
    ...(properties && {
      properties: mapValues(properties, closed),
      ...(!isOpen && { additionalProperties: false }),
    }),
  };
}

function mapValues<T>(record: Record<string, T>, change: (value: T) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}

function asStrings(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

const TEXT: Schema = { type: 'string' };
const FLAG: Schema = { type: 'boolean' };
const PORT: Schema = { type: 'integer', minimum: 1, maximum: 65_535 };
const TEXTS: Schema = { type: 'object', additionalProperties: TEXT };

function list(items: Schema): Schema {
  return { type: 'array', items };
}

function object(properties: Record<string, Schema>, required: readonly string[] = []): Schema {
  return { type: 'object', properties, required };
}

/** Names become parts of paths and host names. Source: Kubernetes, "Object Names and IDs" (DNS subdomain, label). */
const NAME: Schema = {
  type: 'string',
  maxLength: 253,
  pattern: '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$',
  description: 'Lower-case letters, digits, - and . only, a letter or digit at both ends.',
};
const NAMESPACE: Schema = {
  type: 'string',
  maxLength: 63,
  pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$',
  description: 'Lower-case letters, digits and - only, a letter or digit at both ends.',
};

/** What the API server adds to `metadata`; such files are copied from `kubectl get -o yaml`. */
const SERVER_FIELDS =
  'generateName selfLink resourceVersion creationTimestamp deletionTimestamp deletionGracePeriodSeconds ' +
  'ownerReferences finalizers managedFields';

/** Source: Kubernetes API, ObjectMeta. */
const METADATA: Schema = object(
  {
    name: NAME,
    namespace: NAMESPACE,
    labels: TEXTS,
    annotations: TEXTS,
    uid: TEXT,
    generation: { type: 'integer' },
    ...Object.fromEntries(SERVER_FIELDS.split(' ').map((field) => [field, {}])),
  },
  ['name'],
);

/** Source: Kubernetes API, v1 Service, as far as it is read. */
const SERVICE: Schema = object(
  {
    metadata: METADATA,
    spec: object({
      type: TEXT,
      externalName: TEXT,
      ports: list(object({ name: TEXT, port: PORT }, ['port'])),
    }),
  },
  ['metadata'],
);

/** Source: Kubernetes API, discovery.k8s.io/v1 EndpointSlice, as far as it is read. */
const ENDPOINT_SLICE: Schema = object(
  {
    metadata: METADATA,
    endpoints: list(
      object(
        {
          addresses: { ...list({ ...TEXT, minLength: 1 }), minItems: 1 },
          conditions: object({ ready: FLAG, serving: FLAG, terminating: FLAG }),
        },
        ['addresses'],
      ),
    ),
    ports: list(object({ name: TEXT, port: PORT })),
  },
  ['metadata'],
);
