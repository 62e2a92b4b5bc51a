/**
 * What a resource may look like: one validator a kind. For Knative's kinds and ours it comes from the
 * CustomResourceDefinitions in config/crds, so that the files users install and the rules we apply are one thing; for
 * the kinds of Kubernetes that we read it is built in and says only what we need.
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
  type?: string | string[];
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
  const definitions = await readDefinitions();
  const templateSpec = templateSpecOf(definitions);
  for (const { spec } of definitions) {
    for (const { schema } of spec.versions) {
      add(spec.group, spec.names.kind, strictly(schema.openAPIV3Schema, templateSpec));
    }
  }
  add('', 'ConfigMap', CONFIG_MAP);
  add('', 'Secret', SECRET);
  add('', 'Service', SERVICE);
  add('discovery.k8s.io', 'EndpointSlice', ENDPOINT_SLICE);
  add('', 'Pod', POD);
  add('', 'Node', NAMED);
  add('', 'Namespace', NAMED);
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

/** What `channelTemplate.spec` may have: that of our channel, without what only a controller writes. */
function templateSpecOf(definitions: readonly Definition[]): Schema {
  const { spec } = definitions.find((each) => each.spec.names.kind === 'KnearChannel') ?? {};
  const channel = spec?.versions[0]?.schema.openAPIV3Schema.properties?.['spec']?.properties ?? {};
  return closed(object({ delivery: channel['delivery'] ?? OPEN }));
}

/**
 * A CRD's schema made strict, as Knative's webhook is: Kubernetes itself drops unknown fields in silence. A structural
 * schema cannot describe `metadata`, nor nest filters to any depth; both are added here. What only a cluster writes is
 * not looked at: a newer Knative may write more there than we know.
 */
function strictly(crd: Schema, templateSpec: Schema): Schema {
  const schema = closed(crd);
  const spec = schema.properties?.['spec']?.properties ?? {};
  schema.properties = { ...schema.properties, metadata: closed(METADATA), status: OPEN };
  schema['required'] = [...new Set(['metadata', ...asStrings(schema['required'])])];
  if (spec['subscribers'] !== undefined) spec['subscribers'] = list(OPEN);
  if (spec['channelTemplate']?.properties)
    spec['channelTemplate'].properties['spec'] = templateSpec;
  const filter = spec['filters']?.items?.properties;
  if (filter !== undefined) {
    const nested = { $ref: '#/properties/spec/properties/filters/items' };
    filter['all'] = list(nested);
    filter['any'] = list(nested);
    filter['not'] = nested;
  }
  return schema;
}

/**
 * A copy in which every object that lists its fields has no others. `x-kubernetes-preserve-unknown-fields` beside a list
 * of fields is for those that a newer Knative adds; a person who writes one has mistyped an older one.
 */
function closed(schema: Schema): Schema {
  const { properties, items, ...rest } = schema;
  return {
    ...rest,
    ...(items && { items: closed(items) }),
    ...(properties && { properties: mapValues(properties, closed), additionalProperties: false }),
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
const PORT_OR_NAME: Schema = { ...PORT, type: ['integer', 'string'] };
const TEXTS: Schema = { type: 'object', additionalProperties: TEXT };
/** Whatever it has in it. */
const OPEN: Schema = { type: 'object' };

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
  'finalizers managedFields';

/** Source: Kubernetes API, OwnerReference. */
const OWNER: Schema = object(
  {
    apiVersion: TEXT,
    kind: TEXT,
    name: TEXT,
    uid: TEXT,
    controller: FLAG,
    blockOwnerDeletion: FLAG,
  },
  ['apiVersion', 'kind', 'name'],
);

/** Source: Kubernetes API, ObjectMeta. */
const METADATA: Schema = object(
  {
    name: NAME,
    namespace: NAMESPACE,
    labels: TEXTS,
    annotations: TEXTS,
    uid: TEXT,
    generation: { type: 'integer' },
    ownerReferences: list(OWNER),
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
      clusterIP: TEXT,
      ipFamilies: list(TEXT),
      selector: TEXTS,
      sessionAffinity: TEXT,
      internalTrafficPolicy: TEXT,
      ports: list(
        object({ name: TEXT, port: PORT, protocol: TEXT, targetPort: PORT_OR_NAME }, ['port']),
      ),
    }),
  },
  ['metadata'],
);

/** Source: Kubernetes API, discovery.k8s.io/v1 EndpointSlice, as far as it is read. */
const ENDPOINT_SLICE: Schema = object(
  {
    metadata: METADATA,
    addressType: { ...TEXT, enum: ['IPv4', 'IPv6', 'FQDN'] },
    endpoints: list(
      object(
        {
          addresses: { ...list({ ...TEXT, minLength: 1 }), minItems: 1 },
          conditions: object({ ready: FLAG, serving: FLAG, terminating: FLAG }),
          targetRef: object({ kind: TEXT, namespace: TEXT, name: TEXT, uid: TEXT }),
          nodeName: TEXT,
          zone: TEXT,
        },
        ['addresses'],
      ),
    ),
    ports: list(object({ name: TEXT, port: PORT })),
  },
  ['metadata'],
);

/** Source: Kubernetes API, v1 Pod, as far as it is read. */
const POD: Schema = object(
  {
    metadata: METADATA,
    spec: object({ nodeName: TEXT }),
    status: object({ phase: TEXT, podIP: TEXT, podIPs: list(object({ ip: TEXT })) }),
  },
  ['metadata'],
);

/** Of a Node and a Namespace, only what they are called and labelled. */
const NAMED: Schema = object({ metadata: METADATA }, ['metadata']);

/** Source: Kubernetes API, v1 ConfigMap. */
const CONFIG_MAP: Schema = object({ metadata: METADATA, data: TEXTS, binaryData: TEXTS }, [
  'metadata',
]);

/** Source: Kubernetes API, v1 Secret; that `data` is Base64 is checked by a rule. */
const SECRET: Schema = object({ metadata: METADATA, data: TEXTS, stringData: TEXTS }, ['metadata']);
