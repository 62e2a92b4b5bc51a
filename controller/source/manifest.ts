/**
 * From the text of one file to resources: parsed, validated, and every fault told with file, line and path. Knows
 * nothing about folders and time; `yaml.ts` decides what a bad document means for what is running.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseAllDocuments,
  type Document,
  type Node,
} from 'yaml';
import type { ResourceProblem } from '../../core/ports/resource-source.ts';
import { resourceId, type Pod, type Resource } from '../../core/resources.ts';
import { suggestion } from '../suggest.ts';
import { written, type Fault, type Path } from './faults.ts';
import { fixedFields, type FixedField } from './fixed-fields.ts';
import { isNothing, ruleFaults, type Manifest } from './rules.ts';
import { schemaFaults } from './schema-faults.ts';
import type { KindSchema, Schemas } from './schemas.ts';

export type ManifestFile =
  /** Nothing can be said about what is in it. */
  | { readonly kind: 'unusable'; readonly problem: ResourceProblem }
  | { readonly kind: 'documents'; readonly documents: readonly ManifestDocument[] };

export interface ManifestDocument {
  /** `file:line` of its start. */
  readonly where: string;
  /** Absent: not even whose document it is can be read. */
  readonly id?: string;
  /** Absent: it is not valid, and `problems` say why. */
  readonly resource?: Resource;
  /** What of the resource cannot change while it exists. */
  readonly fixed?: readonly FixedField[];
  readonly problems: readonly ResourceProblem[];
}

/**
 * The groups of which we know all kinds; kinds of other groups are other people's and ignored. So is `EventType`, which
 * only describes: anything else that is not served would be missed.
 */
const OWN_GROUPS = new Set([
  'eventing.knative.dev',
  'messaging.knative.dev',
  'flows.knative.dev',
  'messaging.knear.dev',
]);

/** Faults told of one document: enough to mend it in one go, few enough to read. */
const FAULTS_MAX = 10;

/** Resources nest some ten levels, their schemas thirty; validators and filters go down by recursion. */
const DEPTH_MAX = 100;

/** Reads one file, YAML or JSON; `file` is its name in messages. */
export function readManifests(bytes: Uint8Array, file: string, schemas: Schemas): ManifestFile {
  const text = decode(bytes);
  if (text === undefined) return unusable(`${file}:1:1`, 'not a text file in UTF-8');
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, merge: true, prettyErrors: false });
  const error =
    'empty' in parsed ? parsed.errors[0] : parsed.flatMap((document) => document.errors)[0];
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    return unusable(`${file}:${String(line)}:${String(col)}`, error.message);
  }
  const documents: ManifestDocument[] = [];
  for (const document of parsed) {
    const page: Page = { file, lines, document };
    let value: unknown;
    try {
      // 100 aliases: far more than people write, far fewer than a file needs that grows exponentially.
      value = withoutNulls(document.toJS({ maxAliasCount: 100 }));
    } catch (error) {
      // An alias without anchor, too many of them, or too deep a nesting.
      return unusable(`${whereIs(page, [])}:1`, error instanceof Error ? error.message : '');
    }
    documents.push(...readValue(value, { ...page, path: [] }, schemas));
  }
  return { kind: 'documents', documents };
}

function unusable(where: string, detail: string): ManifestFile {
  return { kind: 'unusable', problem: { code: 'KNEAR_MANIFEST_UNPARSABLE', where, detail } };
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return text.includes('\0') ? undefined : text;
  } catch {
    // Its only error: bytes that are not UTF-8.
    return undefined;
  }
}

interface Page {
  readonly file: string;
  readonly lines: LineCounter;
  readonly document: Document;
}

/** Where on a page one document is: at the top, or among the items of a List. */
interface Place extends Page {
  readonly path: Path;
}

function readValue(value: unknown, place: Place, schemas: Schemas): ManifestDocument[] {
  if (value === null || value === undefined) return [];
  if (!isRecord(value)) return [invalid(place, 'a document is a map with apiVersion and kind')];
  const { apiVersion, kind, metadata } = value;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') {
    return [invalid(place, 'apiVersion and kind are needed, as texts')];
  }
  if (apiVersion === 'v1' && kind === 'List') {
    const items = Array.isArray(value['items']) ? value['items'] : [];
    return items.flatMap((item: unknown, index) =>
      readValue(item, { ...place, path: [...place.path, 'items', index] }, schemas),
    );
  }
  const [version, group = ''] = apiVersion.split('/').reverse();
  const schema = schemas.get(`${group}/${kind}`);
  if (schema === undefined) {
    if (!OWN_GROUPS.has(group) || kind === 'EventType') return [];
    const known = [...schemas.values()].filter((each) => each.group === group);
    const hint = suggestion(
      kind,
      known.map((each) => each.kind),
    );
    return [invalid(place, `${kind} of ${group} is not served${hint}`, ['kind'])];
  }
  const { name, namespace = 'default' } = isRecord(metadata) ? metadata : {};
  if (typeof name !== 'string' || typeof namespace !== 'string') {
    return [invalid(place, 'metadata.name is needed, as a text', ['metadata'])];
  }
  const faults =
    version === 'v1'
      ? schemaFaults(schema, value)
      : [{ path: ['apiVersion'], detail: `version ${String(version)} is not served, only v1 is` }];
  return [readResource(value, { schema, name, namespace, place, faults })];
}

interface Reading {
  readonly schema: KindSchema;
  readonly name: string;
  readonly namespace: string;
  readonly place: Place;
  readonly faults: readonly Fault[];
}

function readResource(value: Record<string, unknown>, reading: Reading): ManifestDocument {
  const { place, name, namespace, schema } = reading;
  const where = whereIs(place, place.path);
  // The schemas are those of the kinds in `Resource`; a test reads one of each.
  const kind = schema.kind as Resource['kind'];
  const id = resourceId({ kind, metadata: { name, namespace, labels: {}, annotations: {} } });
  const isFormed = reading.faults.length === 0;
  const faults = isFormed ? ruleFaults(toManifest(value, reading)) : reading.faults;
  if (faults.length === 0) {
    const manifest = toManifest(value, reading);
    const fixed = fixedFields(manifest).map(({ path, value: fixedValue }) => ({
      name: written(path),
      where: whereIs(place, [...place.path, ...path]),
      value: fixedValue,
    }));
    return { where, id, resource: toResource(manifest, where), fixed, problems: [] };
  }
  const problems = faults.slice(0, FAULTS_MAX).map(({ path, detail }) => ({
    code: 'KNEAR_MANIFEST_INVALID' as const,
    where: whereIs(place, [...place.path, ...path]),
    resourceId: id,
    detail: path.length === 0 ? detail : `${written(path)}: ${detail}`,
  }));
  return { where, id, problems };
}

function invalid(place: Place, detail: string, path: Path = []): ManifestDocument {
  const where = whereIs(place, [...place.path, ...path]);
  return {
    where: whereIs(place, place.path),
    problems: [{ code: 'KNEAR_MANIFEST_INVALID', where, detail }],
  };
}

function toManifest(value: Record<string, unknown>, { name, namespace }: Reading): Manifest {
  // The schema of this kind has just accepted it, and the types say no more than the schemas do.
  const manifest = value as unknown as Partial<Manifest> &
    Pick<Manifest, 'apiVersion' | 'kind' | 'metadata'>;
  const { uid, generation, labels, annotations, ownerReferences } = manifest.metadata as Partial<
    Manifest['metadata']
  >;
  return {
    ...manifest,
    metadata: {
      namespace,
      name,
      ...(uid !== undefined && { uid }),
      ...(generation !== undefined && { generation }),
      labels: labels ?? {},
      annotations: annotations ?? {},
      ...(ownerReferences !== undefined && { ownerReferences }),
    },
    spec: manifest.spec ?? {},
  };
}

/** The fields with another form in the file than in `Resource`, and an empty `reply`, which is none. */
function toResource({ kind, apiVersion, metadata, ...rest }: Manifest, where: string): Resource {
  if (kind === 'Pod') {
    return { kind, apiVersion, metadata, spec: podSpec(rest), where };
  }
  if (kind === 'Node' || kind === 'Namespace') {
    return { kind, apiVersion, metadata, spec: {}, where };
  }
  const { brokerRef, reply, ...spec } = rest.spec;
  const { addressType, endpoints = [], ports = [], data = {} } = rest;
  const parsed = {
    ...spec,
    ...(brokerRef && { broker: brokerRef.name }),
    ...(reply && !isNothing(reply) && { reply }),
    ...(kind === 'EndpointSlice' && { ...(addressType && { addressType }), endpoints, ports }),
    ...(kind === 'ConfigMap' && { data }),
    ...(kind === 'Secret' && { data: { ...withoutLineEnds(data), ...encoded(rest.stringData) } }),
  };
  // The schema and the rules of this kind have accepted it: what `Resource` requires of the spec is there.
  return { kind, apiVersion, metadata, spec: parsed, where } as Resource;
}

/** Environments and volumes, with what is secret in them, stay in the file. */
function podSpec({
  spec: { nodeName },
  status = {},
}: Pick<Manifest, 'spec' | 'status'>): Pod['spec'] {
  const { phase, podIP, podIPs = [] } = status;
  const addresses = [podIP, ...podIPs.map(({ ip }) => ip)].filter((each) => each !== undefined);
  return {
    ...(nodeName !== undefined && { nodeName }),
    ...(phase !== undefined && { phase }),
    addresses: [...new Set(addresses)],
  };
}

type Texts = Readonly<Record<string, string>>;

function withoutLineEnds(base64: Texts): Texts {
  return mapValues(base64, (text) => text.replaceAll(/[\r\n]/g, ''));
}

function encoded(texts: Texts = {}): Texts {
  return mapValues(texts, (text) => Buffer.from(text).toString('base64'));
}

function mapValues(texts: Texts, change: (text: string) => string): Texts {
  return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, change(text)]));
}

/** `file:line` of what the path leads to, or of the nearest thing above it that exists. */
function whereIs({ file, lines, document }: Page, path: Path): string {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find(
        ({ key }) => isScalar(key) && String(key.value) === String(part),
      );
      offset = startOf(pair?.key) ?? offset;
      node = pair?.value;
    } else if (isSeq(node)) {
      node = node.items[Number(part)];
      offset = startOf(node) ?? offset;
    } else break;
  }
  return `${file}:${String(lines.linePos(offset).line)}`;
}

function startOf(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0];
}

/** A field without a value is an absent field, as the API server sees it. */
function withoutNulls(value: unknown, depth = 0): unknown {
  if (depth > DEPTH_MAX) throw new Error(`nested deeper than ${String(DEPTH_MAX)} levels`);
  if (Array.isArray(value)) return value.map((item) => withoutNulls(item, depth + 1));
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== null)
      .map(([key, inner]) => [key, withoutNulls(inner, depth + 1)]),
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
