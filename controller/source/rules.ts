/**
 * What a schema cannot say about a resource: the rules of Knative's webhook, the values of our annotations, and what
 * knear does not do yet (a field that would be ignored in silence is an error instead). Each is a sentence with a path.
 */
import type {
  DeliverySpec,
  Destination,
  KReference,
  Metadata,
  Resource,
  Service,
  SubscriptionsFilter,
  EndpointSlice,
} from '../../core/resources.ts';
import { annotationFaults } from '../annotations.ts';
import { durationMs } from '../delivery.ts';

export type Path = readonly (string | number)[];

export interface Fault {
  readonly path: Path;
  readonly detail: string;
}

/** A document that its kind's schema accepted; the spec has the fields of all kinds. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: Resource['kind'];
  readonly metadata: Metadata;
  readonly spec: ManifestSpec;
  readonly endpoints?: EndpointSlice['spec']['endpoints'];
  readonly ports?: EndpointSlice['spec']['ports'];
}

export interface ManifestSpec extends Pick<Service['spec'], 'type' | 'externalName' | 'ports'> {
  readonly config?: KReference;
  readonly broker?: string;
  readonly brokerRef?: KReference;
  readonly filter?: { readonly attributes?: Readonly<Record<string, string>> };
  readonly filters?: readonly SubscriptionsFilter[];
  readonly channel?: KReference;
  readonly subscriber?: FullDestination;
  readonly reply?: FullDestination;
  readonly delivery?: DeliverySpec;
}

interface FullDestination extends Destination {
  readonly CACerts?: string;
  readonly audience?: string;
}

/** Source: Knative Eventing, the `Validate` functions of its v1 types. */
export function ruleFaults(manifest: Manifest): Fault[] {
  const { metadata, spec } = manifest;
  return [
    ...under(['metadata', 'annotations'], annotationFaults(manifest).map(toFault)),
    ...under(
      ['spec'],
      [
        ...kindFaults(manifest),
        ...under(['filter', 'attributes'], nameFaults(spec.filter?.attributes)),
        ...under(['filters'], (spec.filters ?? []).flatMap(filterFaultsAt)),
        ...under(['subscriber'], destinationFaults(spec.subscriber)),
        ...under(['reply'], isEmpty(spec.reply) ? [] : destinationFaults(spec.reply)),
        ...under(['brokerRef'], otherNamespaceFaults(spec.brokerRef, metadata.namespace)),
        ...under(['channel'], otherNamespaceFaults(spec.channel, metadata.namespace)),
        ...under(['delivery'], deliveryFaults(spec.delivery)),
      ],
    ),
  ];
}

/** Whether a Destination says nothing: Knative takes an empty `reply` for none. */
export function isEmpty(destination: Destination | undefined): boolean {
  return destination?.ref === undefined && destination?.uri === undefined;
}

function kindFaults({ kind, spec }: Manifest): Fault[] {
  if (kind === 'Trigger' && (spec.broker === undefined) === (spec.brokerRef === undefined)) {
    return [fault('exactly one of broker and brokerRef is needed')];
  }
  if (kind === 'Trigger' && spec.brokerRef !== undefined && spec.brokerRef.kind !== 'Broker') {
    return [fault('must be Broker', 'brokerRef', 'kind')];
  }
  if (kind === 'Subscription' && spec.subscriber === undefined && isEmpty(spec.reply)) {
    return [fault('at least one of subscriber and reply is needed')];
  }
  if (kind === 'Service' && spec.type === 'ExternalName' && !spec.externalName) {
    return [fault('externalName is needed for the type ExternalName')];
  }
  return [];
}

function filterFaultsAt(filter: SubscriptionsFilter, index: number): Fault[] {
  return under([index], filterFaults(filter));
}

function filterFaults(filter: SubscriptionsFilter): Fault[] {
  const dialects = Object.entries(filter)
    .filter(isWritten)
    .map(([dialect]) => dialect);
  if (dialects.length > 1) {
    return [fault(`one dialect an entry: put ${dialects.join(' and ')} into entries of their own`)];
  }
  return [
    ...under(['exact'], nameFaults(filter.exact)),
    ...under(['prefix'], nameFaults(filter.prefix)),
    ...under(['suffix'], nameFaults(filter.suffix)),
    ...under(['all'], (filter.all ?? []).flatMap(filterFaultsAt)),
    ...under(['any'], (filter.any ?? []).flatMap(filterFaultsAt)),
    ...under(['not'], filter.not ? filterFaults(filter.not) : []),
    ...(filter.cesql ? [fault('CESQL is not supported yet; use the other dialects', 'cesql')] : []),
  ];
}

/** An empty `not` counts as a dialect; an empty map, list or text does not (a text has a key for each letter). */
function isWritten([dialect, value]: [string, object | string]): boolean {
  return dialect === 'not' || Object.keys(value).length > 0;
}

/** Source: Knative Eventing; CloudEvents 1.0.2, "Naming Conventions", would also let a digit come first. */
function nameFaults(values: Readonly<Record<string, string>> = {}): Fault[] {
  return Object.keys(values)
    .filter((name) => !/^[a-z][a-z0-9]*$/.test(name))
    .map((name) =>
      fault('not an attribute name: lower-case letters and digits only, a letter first', name),
    );
}

function destinationFaults(destination: FullDestination | undefined): Fault[] {
  if (destination === undefined) return [];
  const { ref, uri, CACerts, audience } = destination;
  return [
    ...(isEmpty(destination) ? [fault('one of ref and uri is needed')] : []),
    ...(ref !== undefined && uri !== undefined && !isRelative(uri)
      ? [fault('must be relative next to ref', 'uri')]
      : []),
    ...(ref === undefined && uri !== undefined && !isAbsolute(uri)
      ? [fault('needs a scheme and a host, as in http://host/path, when there is no ref', 'uri')]
      : []),
    ...(CACerts !== undefined ? [fault('is not supported yet', 'CACerts')] : []),
    ...(audience !== undefined ? [fault('is not supported yet', 'audience')] : []),
  ];
}

function isRelative(uri: string): boolean {
  // The second test finds `//host/path` in all its spellings.
  const base = 'http://relative.invalid';
  return !/^[a-z][-a-z0-9+.]*:/i.test(uri) && URL.parse(uri, base)?.origin === base;
}

/** Any scheme will do: `bad://uri` is loaded, and fails when it is delivered to (Knative's tests want that). */
function isAbsolute(uri: string): boolean {
  return /^[a-z][-a-z0-9+.]*:\/\/[^/?#]/i.test(uri) && URL.canParse(uri);
}

/** Knative's flag `cross-namespace-event-links`, off by default. */
function otherNamespaceFaults(ref: KReference | undefined, own: string): Fault[] {
  return ref?.namespace === undefined || ref.namespace === own
    ? []
    : [fault(`must be ${own}, the namespace of the resource itself, or absent`, 'namespace')];
}

function deliveryFaults(delivery: DeliverySpec | undefined): Fault[] {
  if (delivery === undefined) return [];
  const { backoffDelay, timeout, retryAfterMax } = delivery;
  const durations = { backoffDelay, timeout, retryAfterMax };
  return [
    ...under(['deadLetterSink'], destinationFaults(delivery.deadLetterSink)),
    ...Object.entries(durations)
      .filter(([, text]) => text !== undefined && durationMs(text) === undefined)
      .map(([field]) => fault('not an ISO 8601 duration such as PT0.2S', field)),
    ...(timeout !== undefined && durationMs(timeout) === 0
      ? [fault('must be above zero', 'timeout')]
      : []),
  ];
}

function fault(detail: string, ...path: Path): Fault {
  return { path, detail };
}

function toFault([key, detail]: readonly [string, string]): Fault {
  return { path: [key], detail };
}

function under(path: Path, faults: readonly Fault[]): Fault[] {
  return faults.map((inner) => ({ path: [...path, ...inner.path], detail: inner.detail }));
}
