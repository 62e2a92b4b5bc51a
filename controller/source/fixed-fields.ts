/**
 * What of a resource cannot change while it exists: its events are waiting for the Broker or channel that they came
 * from, so another one is another resource. A change of such a field is refused as a whole, and tells how to make it.
 * Source: Knative Eventing, the `CheckImmutableFields` functions of its v1 types. Of a Trigger they look at `broker`
 * only; here `brokerRef` is the same thing written otherwise. InMemoryChannel, Sequence and Parallel have none.
 */
import { isDeepStrictEqual } from 'node:util';
import { BROKER_CLASS, OUR_CLASS } from '../annotations.ts';
import { templateOf } from '../flows.ts';
import { quoted, type Path } from './faults.ts';
import type { Manifest } from './rules.ts';

export interface FixedField {
  /** As people write it: `spec.broker`. */
  readonly name: string;
  /** File and line it is written at, or would be. */
  readonly where: string;
  readonly value: unknown;
}

interface Fixed {
  readonly path: Path;
  readonly value: unknown;
}

/** An absent field counts as its default, as it does in a cluster. */
const FIXED: Partial<Record<Manifest['kind'], (manifest: Manifest) => Fixed[]>> = {
  Broker: ({ spec, metadata: { namespace, annotations } }) => [
    { path: ['spec', 'config'], value: spec.config && { namespace, ...spec.config } },
    {
      path: ['metadata', 'annotations', BROKER_CLASS],
      value: annotations[BROKER_CLASS] ?? OUR_CLASS,
    },
  ],
  Trigger: ({ spec: { broker, brokerRef } }) =>
    brokerRef === undefined
      ? [{ path: ['spec', 'broker'], value: broker }]
      : [{ path: ['spec', 'brokerRef', 'name'], value: brokerRef.name }],
  Subscription: ({ spec, metadata: { namespace } }) => [
    { path: ['spec', 'channel'], value: { namespace, ...spec.channel } },
  ],
  Channel: ({ spec }) => [
    { path: ['spec', 'channelTemplate'], value: templateOf(spec) },
    { path: ['spec', 'delivery'], value: spec.delivery },
  ],
};

/** In an order that depends on the kind alone. */
export function fixedFields(manifest: Manifest): Fixed[] {
  return FIXED[manifest.kind]?.(manifest) ?? [];
}

/** Those of `after` with another value than before, each with a sentence about it. */
export function refusals(
  id: string,
  before: readonly FixedField[],
  after: readonly FixedField[],
): { readonly where: string; readonly detail: string }[] {
  return after.flatMap(({ name, where, value }, index) => {
    const old = before[index]?.value;
    if (isDeepStrictEqual(old, value)) return [];
    const was = old === undefined ? 'nothing' : quoted(old);
    const how = `remove the document, wait until ${id} is gone from /resources, and write it anew; or take another name`;
    return [
      { where, detail: `${name}: cannot change while ${id} exists, where it is ${was}: ${how}` },
    ];
  });
}
