/**
 * What runs while the program is killed: its resources, the kinds of events that producers send, and where each of them
 * must have arrived in the end. Pure.
 *
 *   Broker main -+- all      every event ------------------------> /all
 *                +- big      only large data --------------------> /big
 *                +- ordered  one after the other, by key --------> /ordered
 *                +- late     fails twice, waits in the log ------> /late
 *                +- doomed   always fails -----------------------> /doomed, then /dead/doomed
 *                +- parked   always fails, no sink --------------> /parked, then parked
 *                +- chain -> step-1 -> step-2 -> step-3 -> Broker main, as the event <id>.result
 *                +- result   what the chain answers -------------> /result
 */
import {
  broker,
  brokerRef,
  channel,
  channelRef,
  subscription,
  trigger,
  yamlOf,
} from '../e2e/manifests.ts';

export const KINDS = ['plain', 'big', 'ordered', 'late', 'doomed', 'parked', 'chain'] as const;
export type Kind = (typeof KINDS)[number];

export interface SentEvent {
  readonly id: string;
  readonly kind: Kind;
  readonly sizeBytes: number;
}

/** One arrival that an acknowledged event must lead to: any of these places has this id. */
export interface Promise202 {
  /** The Triggers or Subscriptions, as metrics name them, of which one may have parked it instead. */
  readonly egresses: readonly string[];
  readonly anyOf: readonly { readonly path: string; readonly id: string }[];
}

export const STEPS = [1, 2, 3] as const;
export const BROKER_PATH = '/kill/main';

export function typeOf(kind: Kind): string {
  return `kill.${kind}`;
}

/** The id of what the chain answers in the end. */
export function resultOf(id: string): string {
  return `${id}.result`;
}

export function resources(url: string): string {
  const namespace = 'kill';
  const delivery = (sink: string, more: object = {}) => ({
    // One in four attempts fails, so that one event in sixteen thousand ends in the sink.
    retry: 6,
    backoffPolicy: 'linear',
    backoffDelay: 'PT0.05S',
    timeout: 'PT1S',
    deadLetterSink: { uri: `${url}/dead/${sink}` },
    ...more,
  });
  /** Large data that takes its time is no failure then. */
  const patient = { timeout: undefined };
  const ofKind = (kind: Kind, more: object = {}, annotations = {}) =>
    trigger(kind, {
      namespace,
      annotations,
      filter: { type: typeOf(kind) },
      subscriber: `${url}/${kind}`,
      delivery: delivery(kind, more),
    });
  return yamlOf(
    broker('main', { namespace }),
    trigger('all', {
      namespace,
      filters: [{ prefix: { type: 'kill.' } }],
      subscriber: `${url}/all`,
      delivery: delivery('all', patient),
    }),
    ofKind('big', patient),
    ofKind('ordered', {}, { 'knear.dev/order': 'key' }),
    // Over a second: such waits are kept in the log.
    ofKind('late', { backoffDelay: 'PT1.1S' }),
    ofKind('doomed', { retry: 2 }),
    ofKind('parked', { ...patient, retry: 1, deadLetterSink: undefined }),
    trigger('chain', {
      namespace,
      filter: { type: typeOf('chain') },
      subscriber: channelRef('step-1'),
    }),
    ...STEPS.flatMap((step) => [
      channel(`step-${String(step)}`, { namespace }),
      subscription(`step-${String(step)}`, {
        namespace,
        channel: `step-${String(step)}`,
        subscriber: `${url}/step-${String(step)}`,
        reply: step === STEPS.length ? brokerRef('main') : channelRef(`step-${String(step + 1)}`),
        delivery: delivery('chain'),
      }),
    ]),
    trigger('result', {
      namespace,
      filter: { type: 'kill.result' },
      subscriber: `${url}/result`,
      delivery: delivery('result'),
    }),
  );
}

/** What 202 for this event has promised. */
export function promisesOf({ id, kind }: Pick<SentEvent, 'id' | 'kind'>): Promise202[] {
  const own = (path: string, of = id) => [
    { path: `/${path}`, id: of },
    { path: `/dead/${path}`, id: of },
  ];
  const all = { egresses: ['trigger:all.kill'], anyOf: own('all') };
  switch (kind) {
    case 'plain':
      return [all];
    case 'big':
    case 'ordered':
    case 'late':
    case 'doomed':
    case 'parked':
      return [all, { egresses: [`trigger:${kind}.kill`], anyOf: own(kind) }];
    case 'chain': {
      const egresses = [
        'trigger:chain.kill',
        'trigger:result.kill',
        ...STEPS.map((step) => `subscription:step-${String(step)}.kill`),
      ];
      // A step that fails for good ends the chain in its sink, and then there is no result to wait for.
      const broken = { path: '/dead/chain', id };
      const result = resultOf(id);
      return [
        all,
        { egresses, anyOf: [...own('result', result), broken] },
        { egresses: [...all.egresses, ...egresses], anyOf: [...own('all', result), broken] },
      ];
    }
  }
}
