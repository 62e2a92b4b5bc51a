/**
 * The rules for Knative's own annotations. Those of knear are in `controller/annotations.ts`.
 * Source: Knative Eventing, the `Validate` functions of Broker, Trigger and InMemoryChannel.
 */
import type { Metadata, Resource } from '../../core/resources.ts';
import { BROKER_CLASS } from '../annotations.ts';
import { fault, type Fault } from './faults.ts';

interface AnnotatedManifest {
  readonly kind: Resource['kind'];
  readonly metadata: Metadata;
  readonly spec: { readonly broker?: string };
}

interface AnnotationRule {
  readonly kind: Resource['kind'];
  readonly name: string;
  /** What is wrong with the value. */
  readonly faultOf: (value: string, manifest: AnnotatedManifest) => string | undefined;
}

const RULES: readonly AnnotationRule[] = [
  {
    kind: 'Broker',
    name: BROKER_CLASS,
    faultOf: (value) => (value === '' ? 'must not be empty' : undefined),
  },
  {
    kind: 'Trigger',
    name: 'knative.dev/dependency',
    faultOf: (value, { metadata }) => dependencyFault(value, metadata.namespace),
  },
  {
    kind: 'Trigger',
    name: 'eventing.knative.dev/injection',
    faultOf: (value, { spec }) => injectionFault(value, spec.broker),
  },
  {
    kind: 'InMemoryChannel',
    name: 'eventing.knative.dev/scope',
    faultOf: (value) => notOneOf(value, ['cluster', 'namespace']),
  },
];

/** What is wrong with the values of Knative's annotations, each at the name of its annotation. */
export function knativeAnnotationFaults(manifest: AnnotatedManifest): Fault[] {
  return RULES.filter(({ kind }) => kind === manifest.kind).flatMap(({ name, faultOf }) => {
    const value = manifest.metadata.annotations[name];
    const detail = value === undefined ? undefined : faultOf(value, manifest);
    return detail === undefined ? [] : [fault(detail, name)];
  });
}

/** An ObjectReference of Kubernetes, in JSON. */
function dependencyFault(text: string, namespace: string): string | undefined {
  let reference: unknown;
  try {
    reference = JSON.parse(text);
  } catch {
    // Said below, with what it should be.
  }
  if (typeof reference !== 'object' || reference === null || Array.isArray(reference)) {
    return 'not a reference in JSON, as in {"apiVersion":"sources.knative.dev/v1","kind":"PingSource","name":"a"}';
  }
  const fields = reference as Readonly<Record<string, unknown>>;
  for (const name of ['apiVersion', 'kind', 'name']) {
    if (typeof fields[name] !== 'string' || fields[name] === '') {
      return `${name} is missing in the reference`;
    }
  }
  const other = fields['namespace'] ?? '';
  return other === '' || other === namespace
    ? undefined
    : `the namespace must be ${namespace}, that of the Trigger, or absent`;
}

function injectionFault(value: string, broker: string | undefined): string | undefined {
  const isForDefault = broker === 'default';
  return (
    notOneOf(value, ['enabled', 'disabled']) ??
    (isForDefault ? undefined : 'is for Triggers of the Broker default only')
  );
}

function notOneOf(value: string, allowed: readonly string[]): string | undefined {
  return allowed.includes(value) ? undefined : `"${value}" is not one of ${allowed.join(', ')}`;
}
