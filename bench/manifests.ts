/** The resources that the rows need, as the YAML a user would write. Pure. */

export interface TriggerPlan {
  readonly count: number;
  /** Of them, so many match events of type `bench.match`; the first ones. */
  readonly matching: number;
  readonly isPaused?: boolean;
  /** One more Trigger that matches, and whose subscriber never answers. */
  readonly hasHanging?: boolean;
}

const NAMESPACE = 'bench';
export const MATCHING_TYPE = 'bench.match';

const CHANNEL_API = 'messaging.knear.dev/v1';

/** Where the door serves the Broker that `brokerYaml` describes. */
export const BROKER_PATH = `/${NAMESPACE}/main`;
/** Where the door serves a Channel of `chainYaml`; at a later one, fewer steps are left. */
export function chainPath(step = 1): string {
  return `/${NAMESPACE}/channels/step-${step}`;
}

/** A Broker with its Triggers; matching Trigger n delivers to `/sink/<n>`. */
export function brokerYaml(subscriberUrl: string, plan: TriggerPlan): string {
  const broker = document({
    apiVersion: 'eventing.knative.dev/v1',
    kind: 'Broker',
    name: 'main',
  });
  const triggers = Array.from({ length: plan.count }, (_, index) =>
    trigger({
      name: `trigger-${index}`,
      type: index < plan.matching ? MATCHING_TYPE : `bench.other.${index}`,
      url: `${subscriberUrl}/sink/${index < plan.matching ? index : 0}`,
      isPaused: plan.isPaused === true,
    }),
  );
  const hanging =
    plan.hasHanging === true
      ? [
          trigger({
            name: 'hanging',
            type: MATCHING_TYPE,
            url: `${subscriberUrl}/hang`,
            isPaused: false,
          }),
        ]
      : [];
  return [broker, ...triggers, ...hanging].join('---\n');
}

/**
 * `steps` Channels in a line: each step's reply goes to the next Channel, the last one's to `/sink/0`.
 * @param stepPath where the subscriber of every step is, below the URL
 */
export function chainYaml(subscriberUrl: string, steps: number, stepPath = '/echo'): string {
  const documents = Array.from({ length: steps }, (_, index) => {
    const step = index + 1;
    const reply =
      step === steps
        ? `    uri: ${subscriberUrl}/sink/0\n`
        : `    ref:\n      apiVersion: ${CHANNEL_API}\n      kind: KnearChannel\n      name: step-${step + 1}\n`;
    const subscription =
      document({
        apiVersion: 'messaging.knative.dev/v1',
        kind: 'Subscription',
        name: `step-${step}`,
      }) +
      'spec:\n' +
      `  channel:\n    apiVersion: ${CHANNEL_API}\n    kind: KnearChannel\n    name: step-${step}\n` +
      `  subscriber:\n    uri: ${subscriberUrl}${stepPath}\n` +
      `  reply:\n${reply}`;
    return [
      document({ apiVersion: CHANNEL_API, kind: 'KnearChannel', name: `step-${step}` }),
      subscription,
    ];
  });
  return documents.flat().join('---\n');
}

interface TriggerShape {
  readonly name: string;
  readonly type: string;
  readonly url: string;
  readonly isPaused: boolean;
}

function trigger({ name, type, url, isPaused }: TriggerShape): string {
  return (
    document({ apiVersion: 'eventing.knative.dev/v1', kind: 'Trigger', name, isPaused }) +
    'spec:\n' +
    '  broker: main\n' +
    `  filter:\n    attributes:\n      type: ${type}\n` +
    `  subscriber:\n    uri: ${url}\n`
  );
}

interface Header {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly isPaused?: boolean;
}

function document({ apiVersion, kind, name, isPaused = false }: Header): string {
  const annotations = isPaused ? '  annotations:\n    knear.dev/paused: "true"\n' : '';
  return (
    `apiVersion: ${apiVersion}\nkind: ${kind}\n` +
    `metadata:\n  namespace: ${NAMESPACE}\n  name: ${name}\n${annotations}`
  );
}
