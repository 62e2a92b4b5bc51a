/**
 * Every annotation that knear reads: the one table. Knative forbids unknown fields in a spec, so what goes beyond its
 * API is an annotation. The nearest wins: a Broker's or Channel's value is the default of its Triggers or Subscriptions.
 */
import { resourceId, type ConfigMap, type Resource } from '../core/resources.ts';
import { claimFaults, CONFIG_KEYS, isMeant, type ClaimName, type ClaimSource } from './claims.ts';
import { durationMs } from './delivery.ts';
import { suggestion } from './suggest.ts';

type Kind = Resource['kind'];
export type Annotated = Pick<Resource, 'kind' | 'metadata'>;

const PREFIX = 'knear.dev/';

/** The class of a Broker. In a folder every Broker is served, whatever its class; without one it is ours. */
export const BROKER_CLASS = 'eventing.knative.dev/broker.class';
export const OUR_CLASS = 'Knear';

/** Marks a ConfigMap as ours, whatever is in it. */
export const CONFIG_LABEL = 'knear.dev/config';

interface ChoiceRow {
  /** All values; the first one is the default, unless what holds for all decides. */
  readonly values: readonly [string, ...string[]];
  readonly isDefaultElsewhere?: true;
  readonly kinds: readonly Kind[];
}

/** ISO 8601, from nothing to `maxMs`. */
interface DurationRow {
  /** The same for people. */
  readonly range: string;
  readonly maxMs: number;
  readonly defaultMs: number;
  readonly kinds: readonly Kind[];
}

/** A limit: `claims.ts` knows its values. */
interface ClaimRow {
  readonly claim: ClaimName;
  readonly kinds: readonly Kind[];
}

type Row = ChoiceRow | DurationRow | ClaimRow;

const INGRESS_KINDS = ['Broker', 'Channel', 'InMemoryChannel', 'KnearChannel'] as const;
/** What is said of a Sequence or Parallel holds for its Channels and Subscriptions. */
const FLOW_KINDS = ['Sequence', 'Parallel'] as const;
const DOOR_KINDS = [...INGRESS_KINDS, ...FLOW_KINDS] as const;
const ALL_KINDS = [...DOOR_KINDS, 'Trigger', 'Subscription'] as const;

export const ANNOTATIONS = {
  /** Whether subscribers may see an event before it is durable. */
  'knear.dev/early-delivery': { values: ['on', 'off'], kinds: DOOR_KINDS },
  /** Paused: events are kept and not delivered. */
  'knear.dev/paused': { values: ['false', 'true'], kinds: ALL_KINDS },
  /** `key`: events with one `partitionkey` are delivered one after the other. */
  'knear.dev/order': { values: ['none', 'key'], kinds: ALL_KINDS },
  /** What happens to an event after its retries when there is no dead letter sink. */
  'knear.dev/exhausted': { values: ['park', 'drop'], kinds: ALL_KINDS },
  /** Which endpoint of a Service is called; `service` on a Service itself holds for whoever calls it. */
  'knear.dev/placement': {
    values: ['nearest', 'spread', 'service'],
    kinds: [...ALL_KINDS, 'Service'],
  },
  /** Whether an answer may go on without the log. */
  'knear.dev/local-hop': { values: ['chain', 'off'], isDefaultElsewhere: true, kinds: ALL_KINDS },
  /** How much of what subscribers have finished a crash may repeat. */
  'knear.dev/redo-max': {
    range: 'an ISO 8601 duration such as PT1S from PT0S to PT1H',
    maxMs: 3_600_000,
    defaultMs: 1_000,
    kinds: ALL_KINDS,
  },
  /** Limits for data, and where large data is kept (docs/claim-check.md). */
  'knear.dev/claim-check-event-max': { claim: 'eventMax', kinds: DOOR_KINDS },
  'knear.dev/claim-check-attributes-max': { claim: 'attributesMax', kinds: DOOR_KINDS },
  'knear.dev/claim-check-inline-max': { claim: 'inlineMax', kinds: DOOR_KINDS },
  'knear.dev/claim-check-reply-max': { claim: 'replyMax', kinds: DOOR_KINDS },
  'knear.dev/claim-check-batch-max': { claim: 'batchMax', kinds: DOOR_KINDS },
  'knear.dev/claim-check-quota': { claim: 'quota', kinds: DOOR_KINDS },
  'knear.dev/claim-check-store': { claim: 'store', kinds: DOOR_KINDS },
} as const satisfies Record<string, Row>;

type Table = typeof ANNOTATIONS;
type KeyOf<R extends Row> = {
  [Key in keyof Table]: Table[Key] extends R ? Key : never;
}[keyof Table];
type Choice = KeyOf<ChoiceRow>;
type Value<K extends Choice> = Table[K]['values'][number];

const ROWS: ReadonlyMap<string, Row> = new Map(Object.entries<Row>(ANNOTATIONS));

/** The annotations with limits, and what each says. */
const CLAIM_ANNOTATIONS: ReadonlyMap<string, ClaimName> = new Map(
  [...ROWS].flatMap(([key, row]) => ('claim' in row ? [[key, row.claim] as const] : [])),
);

/** The value that holds for the first of `nearestFirst`: its own, else the next one's, else the default. */
export function annotation<K extends Choice>(key: K, nearestFirst: readonly Annotated[]): Value<K> {
  const values: readonly [Value<K>, ...Value<K>[]] = ANNOTATIONS[key].values;
  return writtenAnnotation(key, nearestFirst) ?? values[0];
}

/** The same without the default. */
export function writtenAnnotation<K extends Choice>(
  key: K,
  nearestFirst: readonly Annotated[],
): Value<K> | undefined {
  const values: readonly Value<K>[] = ANNOTATIONS[key].values;
  return nearest(nearestFirst, ({ annotations }) =>
    values.find((candidate) => candidate === annotations[key]),
  );
}

/** As `annotation`, ms. */
export function annotationMs(key: KeyOf<DurationRow>, nearestFirst: readonly Annotated[]): number {
  const row = ANNOTATIONS[key];
  const writtenMs = nearest(nearestFirst, ({ annotations }) =>
    rangedMs(annotations[key] ?? '', row),
  );
  return writtenMs ?? row.defaultMs;
}

/** What the first one says that says something. */
function nearest<T>(
  nearestFirst: readonly Annotated[],
  read: (metadata: Annotated['metadata']) => T | undefined,
): T | undefined {
  for (const { metadata } of nearestFirst) {
    const value = read(metadata);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** `undefined`: it is none, or not one that may be. */
function rangedMs(text: string, { maxMs }: DurationRow): number | undefined {
  const ms = durationMs(text);
  return ms !== undefined && ms <= maxMs ? ms : undefined;
}

/** What a Broker or Channel says of its limits. */
export function claimsIn({ metadata }: Annotated): ClaimSource {
  return { where: '', data: metadata.annotations, keys: CLAIM_ANNOTATIONS };
}

/** What a Broker's ConfigMap says, in keys of ours; `undefined`: nothing, its keys are other classes' business. */
export function configured(config: ConfigMap): Configured | undefined {
  const { metadata, spec } = config;
  const choices = [...ROWS].flatMap(([key, row]) => {
    const value = 'claim' in row ? undefined : spec.data[key.slice(PREFIX.length)];
    return value === undefined ? [] : [[key, value] as const];
  });
  const isOurs =
    CONFIG_LABEL in metadata.labels || choices.length > 0 || Object.keys(spec.data).some(isMeant);
  if (!isOurs) return undefined;
  const annotations = Object.fromEntries(choices);
  return {
    annotated: { kind: 'Broker', metadata: { ...metadata, annotations } },
    claims: { where: `${resourceId(config)}: `, data: spec.data, keys: CONFIG_KEYS },
  };
}

export interface Configured {
  /** The names of annotations, without `knear.dev/`. */
  readonly annotated: Annotated;
  readonly claims: ClaimSource;
}

/** What is wrong with the values of a resource's annotations: `[key, sentence]` each. */
export function annotationFaults(resource: Annotated): (readonly [string, string])[] {
  const { kind, metadata } = resource;
  const choices = [...ROWS].flatMap(([key, row]) => {
    const written = metadata.annotations[key];
    if (written === undefined || 'claim' in row || !row.kinds.includes(kind)) return [];
    const wanted = wantedInstead(row, written);
    return wanted === undefined ? [] : [[key, `"${written}" is not ${wanted}`] as const];
  });
  return includes<Kind>(DOOR_KINDS, kind)
    ? [...choices, ...claimFaults(claimsIn(resource))]
    : choices;
}

/** `undefined`: the value is as it should be. */
function wantedInstead(row: ChoiceRow | DurationRow, written: string): string | undefined {
  if ('values' in row) {
    return row.values.includes(written) ? undefined : `one of ${row.values.join(', ')}`;
  }
  return rangedMs(written, row) === undefined ? row.range : undefined;
}

/** Annotations of ours that do nothing here: worth a hint, no reason to refuse the resource. */
export function annotationInfos({ kind, metadata }: Annotated): string[] {
  return Object.entries(metadata.annotations).flatMap(([key, value]) => {
    if (kind === 'Broker' && key === BROKER_CLASS && value !== OUR_CLASS) {
      return [`class ${value} is another one: in a folder, every Broker is served by knear`];
    }
    if (!key.startsWith(PREFIX)) return [];
    const row = ROWS.get(key);
    if (row === undefined) return [`unknown annotation ${key}${suggestion(key, ROWS.keys())}`];
    return row.kinds.includes(kind) ? [] : [`annotation ${key} has no effect on a ${kind}`];
  });
}

function includes<T>(values: readonly T[], value: T): boolean {
  return values.includes(value);
}
