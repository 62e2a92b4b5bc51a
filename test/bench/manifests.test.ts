import { describe, expect, test } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { BROKER_PATH, brokerYaml, chainPath, chainYaml } from '../../bench/manifests.ts';

const URL = 'http://127.0.0.1:4000';

interface Resource {
  readonly kind: string;
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: {
    readonly filter?: { readonly attributes: { readonly type: string } };
    readonly subscriber?: { readonly uri: string };
    readonly channel?: { readonly name: string };
    readonly reply?: { readonly uri?: string; readonly ref?: { readonly name: string } };
  };
}

function read(yaml: string): Resource[] {
  // What the functions under test write; the assertions look at every field they use.
  return parseAllDocuments(yaml).map((document) => document.toJS() as Resource);
}

describe('a Broker with Triggers', () => {
  test('gives each matching Trigger a lane of its own, and the others a type nobody sends', () => {
    const [broker, ...triggers] = read(brokerYaml(URL, { count: 3, matching: 2 }));
    expect(`/${broker?.metadata.namespace}/${broker?.metadata.name}`).toBe(BROKER_PATH);
    expect(
      triggers.map(({ spec }) => [spec?.filter?.attributes.type, spec?.subscriber?.uri]),
    ).toEqual([
      ['bench.match', `${URL}/sink/0`],
      ['bench.match', `${URL}/sink/1`],
      ['bench.other.2', `${URL}/sink/0`],
    ]);
  });

  test('adds a subscriber that hangs only when asked', () => {
    const urls = (hasHanging: boolean) =>
      read(brokerYaml(URL, { count: 1, matching: 1, hasHanging })).map(
        ({ spec }) => spec?.subscriber?.uri,
      );
    expect(urls(false)).not.toContain(`${URL}/hang`);
    expect(urls(true)).toContain(`${URL}/hang`);
  });

  test('pauses its Triggers with a text, as annotations are', () => {
    const [, trigger] = read(brokerYaml(URL, { count: 1, matching: 1, isPaused: true }));
    expect(trigger?.metadata.annotations).toEqual({ 'knear.dev/paused': 'true' });
  });
});

test.each([1, 2, 5])(
  'a chain of %i steps leads through every Channel once and ends at the sink',
  (steps) => {
    const resources = read(chainYaml(URL, steps));
    const subscriptions = resources.filter(({ kind }) => kind === 'Subscription');
    const channels = resources.filter(({ kind }) => kind === 'KnearChannel');
    const path: string[] = [];
    let channel: string | undefined = 'step-1';
    while (channel !== undefined) {
      expect(channels.map(({ metadata }) => metadata.name)).toContain(channel);
      path.push(channel);
      const here: string = channel;
      const { spec } = subscriptions.find((each) => each.spec?.channel?.name === here) ?? {};
      expect(spec?.subscriber?.uri).toBe(`${URL}/echo`);
      channel = spec?.reply?.ref?.name;
      if (channel === undefined) expect(spec?.reply?.uri).toBe(`${URL}/sink/0`);
    }
    expect(path).toHaveLength(steps);
    expect(chainPath()).toBe('/bench/channels/step-1');
    expect(chainPath(steps)).toBe(`/bench/channels/${path.at(-1)}`);
  },
);

test('the steps of a chain may have another subscriber', () => {
  const subscriptions = read(chainYaml(URL, 2, '/work')).filter(
    ({ kind }) => kind === 'Subscription',
  );
  expect(subscriptions.map(({ spec }) => spec?.subscriber?.uri)).toEqual([
    `${URL}/work`,
    `${URL}/work`,
  ]);
});
