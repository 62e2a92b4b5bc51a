/**
 * Every annotation that knear reads: the one table. Knative forbids unknown fields in a spec, so what goes beyond its
 * API is an annotation. The nearest wins: a Broker's or Channel's value is the default of its Triggers or Subscriptions.
 */
import type { ConfigMap, Resource } from '../core/resources.ts';
import { suggestion } from './suggest.ts';

type Kind = Resource['kind'];
export type Annotated = Pick<Resource, 'kind' | 'metadata'>;

const PREFIX = 'knear.dev/';

/** The class of a Broker. In a folder every Broker is served, whatever its class; without one it is ours. */
export const BROKER_CLASS = 'eventing.knative.dev/broker.class';
export const OUR_CLASS = 'Knear';

interface AnnotationRow {
  /** All values; the first one is the default. */
  readonly values: readonly [string, ...string[]];
  readonly kinds: readonly Kind[];
}

const INGRESS_KINDS = ['Broker', 'Channel', 'InMemoryChannel', 'KnearChannel'] as const;
/** What is said of a Sequence or Parallel holds for its Channels and Subscriptions. */
const FLOW_KINDS = ['Sequence', 'Parallel'] as const;
const ALL_KINDS = [...INGRESS_KINDS, 'Trigger', 'Subscription', ...FLOW_KINDS] as const;

export const ANNOTATIONS = {
  /** Whether subscribers may see an event before it is durable. */
  'knear.dev/early-delivery': { values: ['on', 'off'], kinds: [...INGRESS_KINDS, ...FLOW_KINDS] },
  /** Paused: events are kept and not delivered. */
  'knear.dev/paused': { values: ['false', 'true'], kinds: ALL_KINDS },
  /** `key`: events with one `partitionkey` are delivered one after the other. */
  'knear.dev/order': { values: ['none', 'key'], kinds: ALL_KINDS },
  /** What happens to an event after its retries when there is no dead letter sink. */
  'knear.dev/exhausted': { values: ['park', 'drop'], kinds: ALL_KINDS },
} as const satisfies Record<string, AnnotationRow>;

type Key = keyof typeof ANNOTATIONS;
type Value<K extends Key> = (typeof ANNOTATIONS)[K]['values'][number];

/** The value that holds for the first of `nearestFirst`: its own, else the next one's, else the default. */
export function annotation<K extends Key>(key: K, nearestFirst: readonly Annotated[]): Value<K> {
  const values: readonly [Value<K>, ...Value<K>[]] = ANNOTATIONS[key].values;
  for (const { metadata } of nearestFirst) {
    const written = metadata.annotations[key];
    const value = values.find((candidate) => candidate === written);
    if (value !== undefined) return value;
  }
  return values[0];
}

/** A Broker's ConfigMap as annotations: the same names without `knear.dev/`. Its other keys are other classes' business. */
export function configured({ metadata, spec }: ConfigMap): Annotated {
  const annotations = Object.fromEntries(
    Object.keys(ANNOTATIONS).flatMap((key) => {
      const value = spec.data[key.slice(PREFIX.length)];
      return value === undefined ? [] : [[key, value] as const];
    }),
  );
  return { kind: 'Broker', metadata: { ...metadata, annotations } };
}

/** What is wrong with the values of a resource's annotations: `[key, sentence]` each. */
export function annotationFaults({ kind, metadata }: Annotated): (readonly [string, string])[] {
  return Object.entries(ANNOTATIONS).flatMap(([key, row]) => {
    const written = metadata.annotations[key];
    if (written === undefined || !includes<Kind>(row.kinds, kind)) return [];
    if (includes<string>(row.values, written)) return [];
    return [[key, `"${written}" is not one of ${row.values.join(', ')}`] as const];
  });
}

/** Annotations of ours that do nothing here: worth a hint, no reason to refuse the resource. */
export function annotationInfos({ kind, metadata }: Annotated): string[] {
  return Object.entries(metadata.annotations).flatMap(([key, value]) => {
    if (kind === 'Broker' && key === BROKER_CLASS && value !== OUR_CLASS) {
      return [`class ${value} is another one: in a folder, every Broker is served by knear`];
    }
    if (!key.startsWith(PREFIX)) return [];
    const row = Object.entries(ANNOTATIONS).find(([known]) => known === key)?.[1];
    if (row === undefined)
      return [`unknown annotation ${key}${suggestion(key, Object.keys(ANNOTATIONS))}`];
    return includes<Kind>(row.kinds, kind) ? [] : [`annotation ${key} has no effect on a ${kind}`];
  });
}

function includes<T>(values: readonly T[], value: T): boolean {
  return values.includes(value);
}
