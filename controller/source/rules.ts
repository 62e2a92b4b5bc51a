/**
 * What a schema cannot say about a resource: the rules of Knative's webhook, the values of our annotations, and what
 * knear does not do yet (a field that would be ignored in silence is an error instead). Each is a sentence with a path.
 */
import type {
  ChannelTemplate,
  DeliverySpec,
  Destination,
  KReference,
  Metadata,
  Resource,
  Service,
  SubscriptionsFilter,
  EndpointSlice,
  Pod,
} from '../../core/resources.ts';
import { cesqlFault } from '../../core/rules/filters/cesql/fault.ts';
import { annotationFaults } from '../annotations.ts';
import { suggestion } from '../suggest.ts';
import { knativeAnnotationFaults } from './annotation-rules.ts';
import { deliveryFaults, destinationFaults, otherNamespaceFaults } from './destination-rules.ts';
import { fault, ofEach, under, type Fault } from './faults.ts';

/** A document that its kind's schema accepted; the spec has the fields of all kinds. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: Resource['kind'];
  readonly metadata: Metadata;
  readonly spec: ManifestSpec;
  readonly status?: PodStatus;
  readonly addressType?: EndpointSlice['spec']['addressType'];
  readonly endpoints?: EndpointSlice['spec']['endpoints'];
  readonly ports?: EndpointSlice['spec']['ports'];
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
}

/** Of a Pod; that of other kinds is not looked at. */
interface PodStatus {
  readonly phase?: string;
  readonly podIP?: string;
  readonly podIPs?: readonly { readonly ip?: string }[];
}

export interface ManifestSpec
  extends Pick<Service['spec'], 'type' | 'externalName' | 'ports'>, Pick<Pod['spec'], 'nodeName'> {
  readonly config?: KReference;
  readonly broker?: string;
  readonly brokerRef?: KReference;
  readonly filter?: { readonly attributes?: Readonly<Record<string, string>> };
  readonly filters?: readonly SubscriptionsFilter[];
  readonly channel?: KReference;
  readonly subscriber?: Destination;
  readonly reply?: Destination;
  readonly delivery?: DeliverySpec;
  readonly subscribers?: readonly unknown[];
  readonly channelTemplate?: Omit<ChannelTemplate, 'spec'> & {
    readonly spec?: { readonly delivery?: DeliverySpec };
  };
  readonly steps?: readonly Step[];
  readonly branches?: readonly Branch[];
}

type Step = Destination & { readonly delivery?: DeliverySpec };
type Branch = Pick<ManifestSpec, 'subscriber' | 'reply' | 'delivery'> & {
  readonly filter?: Destination;
};

/** Kinds of Kubernetes' own: what else is in their specs is anything, whatever it is called. */
const OPEN_KINDS: readonly Manifest['kind'][] = [
  'Service',
  'EndpointSlice',
  'Pod',
  'Node',
  'Namespace',
  'ConfigMap',
  'Secret',
];

/** Source: Knative Eventing, the `Validate` functions of its v1 types. */
export function ruleFaults(manifest: Manifest): Fault[] {
  const { kind } = manifest;
  const annotations = annotationFaults(manifest).map(([key, detail]) => fault(detail, key));
  return [
    ...under(['metadata', 'annotations'], [...annotations, ...knativeAnnotationFaults(manifest)]),
    ...under(['spec'], KIND_RULES[kind]?.(manifest) ?? []),
    ...under(['spec'], OPEN_KINDS.includes(kind) ? [] : specFaults(manifest)),
    ...(kind === 'Secret' ? under(['data'], secretFaults(manifest.data)) : []),
  ];
}

/** The rules for what several kinds have. */
function specFaults({ kind, metadata, spec }: Manifest): Fault[] {
  const reply = kind === 'Subscription' && isNothing(spec.reply) ? undefined : spec.reply;
  return [
    ...under(['filter', 'attributes'], nameFaults(spec.filter?.attributes)),
    ...under(['filters'], (spec.filters ?? []).flatMap(filterFaultsAt)),
    ...under(['subscriber'], destinationFaults(spec.subscriber)),
    ...under(['reply'], destinationFaults(reply)),
    ...under(['brokerRef'], otherNamespaceFaults(spec.brokerRef, metadata.namespace)),
    ...under(['channel'], otherNamespaceFaults(spec.channel, metadata.namespace)),
    ...under(['delivery'], deliveryFaults(spec.delivery)),
    ...under(['channelTemplate'], templateFaults(spec.channelTemplate)),
    ...under(['steps'], ofEach(spec.steps, stepFaults)),
    ...under(['branches'], ofEach(spec.branches, branchFaults)),
  ];
}

/** Whether a Destination is written and has nothing in it: Knative takes an empty `reply` of a Subscription for none. */
export function isNothing(destination: Destination | undefined): boolean {
  return destination !== undefined && Object.keys(destination).length === 0;
}

/** The rules of one kind alone, about its spec. */
const KIND_RULES: Partial<Record<Manifest['kind'], (manifest: Manifest) => Fault[]>> = {
  Trigger: brokerFaults,
  Channel: genericChannelFaults,
  Service: ({ spec: { type, externalName } }) =>
    type === 'ExternalName' && !externalName
      ? [fault('externalName is needed for the type ExternalName')]
      : [],
};

const BROKER_VERSION = 'eventing.knative.dev/v1';

function brokerFaults({ spec: { broker, brokerRef } }: Manifest): Fault[] {
  if ((broker === undefined) === (brokerRef === undefined)) {
    return [fault('exactly one of broker and brokerRef is needed')];
  }
  const { kind = 'Broker', apiVersion = BROKER_VERSION } = brokerRef ?? {};
  return under(
    ['brokerRef'],
    [
      ...(kind === 'Broker' ? [] : [fault('must be Broker', 'kind')]),
      ...(apiVersion === BROKER_VERSION ? [] : [fault(`must be ${BROKER_VERSION}`, 'apiVersion')]),
    ],
  );
}

/** Of all kinds, the webhook asks only the generic Channel to have its dead letter sink in its own namespace. */
function genericChannelFaults({ metadata, spec }: Manifest): Fault[] {
  const { ref, uri } = spec.delivery?.deadLetterSink ?? {};
  const hasSubscribers = spec.subscribers !== undefined && spec.subscribers.length > 0;
  return [
    ...(hasSubscribers ? [fault('not of a Channel: write Subscriptions', 'subscribers')] : []),
    ...under(
      ['delivery', 'deadLetterSink', 'ref'],
      uri === undefined ? otherNamespaceFaults(ref, metadata.namespace) : [],
    ),
  ];
}

/** The channels that can stand behind others, and the version each is of. */
const CHANNEL_VERSIONS: ReadonlyMap<string, string> = new Map([
  ['KnearChannel', 'messaging.knear.dev/v1'],
  ['InMemoryChannel', 'messaging.knative.dev/v1'],
  ['Channel', 'messaging.knative.dev/v1'],
]);

/** Knative takes any kind and finds out when it creates the channel; there is nothing here that would find out. */
function templateFaults(template: ManifestSpec['channelTemplate']): Fault[] {
  if (template === undefined) return [];
  const { kind, apiVersion, spec } = template;
  const kinds = [...CHANNEL_VERSIONS.keys()];
  const wanted = CHANNEL_VERSIONS.get(kind);
  if (wanted === undefined) {
    const hint = suggestion(kind, kinds);
    return [fault(`${kind} is not served, only ${kinds.join(', ')} are${hint}`, 'kind')];
  }
  return [
    ...(apiVersion === wanted ? [] : [fault(`must be ${wanted} for ${kind}`, 'apiVersion')]),
    ...under(['spec', 'delivery'], deliveryFaults(spec?.delivery)),
  ];
}

/** Nothing of a Secret is quoted. Source: Kubernetes API, v1 Secret; Go's decoder passes over ends of lines. */
function secretFaults(data: Readonly<Record<string, string>> = {}): Fault[] {
  return Object.entries(data)
    .filter(([, text]) => !isBase64(text.replaceAll(/[\r\n]/g, '')))
    .map(([name]) => fault('not Base64: plain texts belong into stringData', name));
}

function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

function stepFaults(step: Step): Fault[] {
  return [...destinationFaults(step), ...under(['delivery'], deliveryFaults(step.delivery))];
}

function branchFaults({ filter, subscriber, reply, delivery }: Branch): Fault[] {
  return [
    ...under(['filter'], destinationFaults(filter)),
    ...under(['subscriber'], destinationFaults(subscriber)),
    ...under(['reply'], destinationFaults(reply)),
    ...under(['delivery'], deliveryFaults(delivery)),
  ];
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
    ...under(['cesql'], expressionFaults(filter.cesql)),
  ];
}

/** An expression that can be read but never be true or false is a mistake, too, though Knative takes it. */
function expressionFaults(expression = ''): Fault[] {
  const found = expression === '' ? undefined : cesqlFault(expression);
  if (found === undefined) return [];
  const { position, problem, misspelt } = found;
  const guess = misspelt === undefined ? '' : suggestion(misspelt.word, misspelt.known);
  return [fault(`character ${position}: ${problem}${guess}`)];
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
