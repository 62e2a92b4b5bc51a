/**
 * Every annotation that knear reads: the one table. Knative forbids unknown fields in a spec, so what goes beyond its
 * API is an annotation. The nearest wins: a Broker's or Channel's value is the default of its Triggers or Subscriptions.
 */
import { resourceId, type ConfigMap, type Resource } from '../core/resources.ts';
import { claimFaults, CONFIG_KEYS, isMeant, type ClaimName, type ClaimSource } from './claims.ts';
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
  /** All values; the first one is the default. */
  readonly values: readonly [string, ...string[]];
  readonly kinds: readonly Kind[];
}

/** A limit: `claims.ts` knows its values. */
interface ClaimRow {
  readonly claim: ClaimName;
  readonly kinds: readonly Kind[];
}

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
  /** Limits for data, and where large data is kept (docs/claim-check.md). */
  'knear.dev/claim-check-event-max': { claim: 'eventMax', kinds: DOOR_KINDS },
  'knear.dev/claim-check-attributes-max': { claim: 'attributesMax', kinds: DOOR_KINDS },
  'knear.dev/claim-check-inline-max': { claim: 'inlineMax', kinds: DOOR_KINDS },
  'knear.dev/claim-check-reply-max': { claim: 'replyMax', kinds: DOOR_KINDS },
  'knear.dev/claim-check-batch-max': { claim: 'batchMax', kinds: DOOR_KINDS },
  'knear.dev/claim-check-quota': { claim: 'quota', kinds: DOOR_KINDS },
  'knear.dev/claim-check-store': { claim: 'store', kinds: DOOR_KINDS },
} as const satisfies Record<string, ChoiceRow | ClaimRow>;

type Table = typeof ANNOTATIONS;
type Choice = {
  [Key in keyof Table]: Table[Key] extends ChoiceRow ? Key : never;
}[keyof Table];
type Value<K extends Choice> = Table[K]['values'][number];

const ROWS: ReadonlyMap<string, ChoiceRow | ClaimRow> = new Map(Object.entries(ANNOTATIONS));

/** The annotations with limits, and what each says. */
const CLAIM_ANNOTATIONS: ReadonlyMap<string, ClaimName> = new Map(
  [...ROWS].flatMap(([key, row]) => ('claim' in row ? [[key, row.claim] as const] : [])),
);

/** The value that holds for the first of `nearestFirst`: its own, else the next one's, else the default. */
export function annotation<K extends Choice>(key: K, nearestFirst: readonly Annotated[]): Value<K> {
  const values: readonly [Value<K>, ...Value<K>[]] = ANNOTATIONS[key].values;
  for (const { metadata } of nearestFirst) {
    const written = metadata.annotations[key];
    const value = values.find((candidate) => candidate === written);
    if (value !== undefined) return value;
  }
  return values[0];
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
    if (row.values.includes(written)) return [];
    return [[key, `"${written}" is not one of ${row.values.join(', ')}`] as const];
  });
  return includes<Kind>(DOOR_KINDS, kind)
    ? [...choices, ...claimFaults(claimsIn(resource))]
    : choices;
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
