/** What a Broker or Channel says about large data: where it says it, what holds then, and what becomes of it when it is wrong. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { LIMITS, settingOf, type LimitDefaults } from '../../controller/claims.ts';
import { reconcile, type Reconciled } from '../../controller/reconcile.ts';
import type { Snapshot } from '../../core/ports/resource-source.ts';
import { parseSizeBytes, sizeText } from '../../core/size.ts';
import type { Topology } from '../../core/topology.ts';
import { SETTING_NAMES, SETTINGS, type SettingRow } from '../../main/settings-table.ts';
import { sourceFiles } from '../tidy/source-files.ts';
import { broker, channel, documents, snapshotOf, subscription, trigger } from './manifests.ts';

const KI = 1024;
const MI = 1024 * KI;

const GENERAL: LimitDefaults = {
  eventMaxBytes: 256 * MI,
  attributesMaxBytes: 16 * KI,
  claims: { inlineMaxBytes: 64 * KI, batchMaxBytes: 16 * MI },
};

const BROKER = 'Broker/default/default';
const CHANNEL = 'KnearChannel/default/c';
const TRIGGER = trigger('  broker: default\n  subscriber: {uri: "http://a/"}');
const SUBSCRIPTION = subscription(
  '  channel: {apiVersion: messaging.knear.dev/v1, kind: KnearChannel, name: c}\n  subscriber: {uri: "http://a/"}',
);
const CONFIGURED = broker(
  'default',
  'spec: {config: {apiVersion: v1, kind: ConfigMap, name: settings}}',
);

/** @param data in flow style. */
function configMap(data: string): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {${data}}\n`;
}

function annotations(lines: string): string {
  return `  annotations: {${lines}}`;
}

interface World {
  readonly before?: Topology;
  readonly general?: LimitDefaults;
}

function told(snapshot: Snapshot, { before, general = GENERAL }: World = {}): Reconciled {
  return reconcile(snapshot, {
    revision: 1,
    defaults: { ...general, timeoutMs: 600_000, idleMs: 60_000, localHop: false },
    ...(before && { before }),
  });
}

async function reconciled(texts: readonly string[], world: World = {}): Promise<Reconciled> {
  return told(await snapshotOf(documents(...texts)), world);
}

function limitsIn({ topology }: Reconciled, id = BROKER) {
  const { eventMaxBytes, attributesMaxBytes, claims } = topology.ingresses.get(id) ?? {};
  return { eventMaxBytes, attributesMaxBytes, claims };
}

function conditionOf({ statuses }: Reconciled, type: string, id = BROKER) {
  const status = statuses.find(({ resourceId }) => resourceId === id)?.object?.status;
  return status?.conditions.find((each) => each.type === type);
}

function statusOf({ statuses }: Reconciled, id = BROKER) {
  return statuses.find(({ resourceId }) => resourceId === id);
}

describe('what the log takes as one record', () => {
  test.each([
    { own: '', inlineMaxBytes: 48 * KI },
    { own: '"claimCheck.inlineMax": 128Ki', inlineMaxBytes: 48 * KI },
    { own: '"claimCheck.inlineMax": 8Ki', inlineMaxBytes: 8 * KI },
  ])(
    'bounds what is inline, whoever says otherwise ($own): $inlineMaxBytes (K4)',
    async (given) => {
      const texts = given.own === '' ? [broker()] : [configMap(given.own), CONFIGURED];
      const general = { ...GENERAL, recordMaxBytes: 48 * KI };
      expect(limitsIn(await reconciled(texts, { general })).claims).toMatchObject({
        inlineMaxBytes: given.inlineMaxBytes,
      });
    },
  );
});

describe('what nobody says', () => {
  test('is as it is for all, and a reply may be as large as an event', async () => {
    expect(limitsIn(await reconciled([broker()]))).toEqual({
      eventMaxBytes: 256 * MI,
      attributesMaxBytes: 16 * KI,
      claims: { inlineMaxBytes: 64 * KI, replyMaxBytes: 256 * MI, batchMaxBytes: 16 * MI },
    });
  });

  test('of a reply is what holds for replies, where that is set for all', async () => {
    const general = { ...GENERAL, claims: { ...GENERAL.claims, replyMaxBytes: 2 * MI } };
    const texts = [configMap('claimCheck.eventMax: 1Mi'), CONFIGURED];
    expect(limitsIn(await reconciled(texts, { general })).claims).toHaveProperty(
      'replyMaxBytes',
      2 * MI,
    );
  });

  test('of what the log keeps may be more than an event has', async () => {
    const result = await reconciled([configMap('claimCheck.eventMax: 1Ki'), CONFIGURED]);
    expect(limitsIn(result)).toMatchObject({
      eventMaxBytes: KI,
      claims: { inlineMaxBytes: 64 * KI, replyMaxBytes: KI },
    });
    expect(conditionOf(result, 'Ready')).toMatchObject({ status: 'True' });
  });
});

describe('what is said', () => {
  test('in the ConfigMap of a Broker holds for it, and for the replies of its Triggers', async () => {
    const all =
      'claimCheck.inlineMax: "0", claimCheck.eventMax: 8Mi, claimCheck.replyMax: 2Mi, claimCheck.batchMax: 1Mi, ' +
      'claimCheck.attributesMax: 2Ki, claimCheck.quota: 1Gi, claimCheck.store: file';
    const result = await reconciled([configMap(all), CONFIGURED, TRIGGER]);
    const claims = {
      inlineMaxBytes: 0,
      replyMaxBytes: 2 * MI,
      batchMaxBytes: MI,
      quotaBytes: 1024 * MI,
    };
    expect(limitsIn(result)).toEqual({
      eventMaxBytes: 8 * MI,
      attributesMaxBytes: 2 * KI,
      claims,
    });
    expect(result.topology.egresses.get('Trigger/default/t')?.claims).toEqual(claims);
    expect(conditionOf(result, 'ConfigParsed')).toMatchObject({ status: 'True' });
    expect(statusOf(result)).toMatchObject({ isReady: true, infos: [] });
  });

  test.each(['KnearChannel', 'InMemoryChannel', 'Channel'])(
    'in annotations of a %s holds for it, and for the replies of its Subscriptions',
    async (kind) => {
      const lines =
        'knear.dev/claim-check-inline-max: 1Ki, knear.dev/claim-check-event-max: 4Ki, knear.dev/claim-check-reply-max: 3Ki';
      const group = kind === 'KnearChannel' ? 'knear' : 'knative';
      const result = await reconciled([
        channel('c', annotations(lines), kind),
        subscription(
          `  channel: {apiVersion: messaging.${group}.dev/v1, kind: ${kind}, name: c}\n  subscriber: {uri: "http://a/"}`,
        ),
      ]);
      const claims = { inlineMaxBytes: KI, replyMaxBytes: 3 * KI, batchMaxBytes: 16 * MI };
      expect(limitsIn(result, `${kind}/default/c`)).toMatchObject({
        eventMaxBytes: 4 * KI,
        claims,
      });
      expect(result.topology.egresses.get('Subscription/default/s')?.claims).toEqual(claims);
    },
  );

  test('in annotations of a Sequence holds for its channels', async () => {
    const sequence = `apiVersion: flows.knative.dev/v1
kind: Sequence
metadata: {name: f, annotations: {knear.dev/claim-check-event-max: 4Mi}}
spec: {steps: [{uri: "http://a/"}, {uri: "http://b/"}]}
`;
    const { topology } = await reconciled([sequence]);
    const sizes = [...topology.ingresses.values()].map(({ eventMaxBytes }) => eventMaxBytes);
    expect(sizes).toEqual([4 * MI, 4 * MI]);
  });

  test('in an annotation goes before the ConfigMap, limit by limit', async () => {
    const own = annotations('knear.dev/claim-check-event-max: 2Mi');
    const result = await reconciled([
      configMap('claimCheck.eventMax: 3Mi, claimCheck.batchMax: 3Mi'),
      broker(
        'default',
        `${own}\nspec: {config: {apiVersion: v1, kind: ConfigMap, name: settings}}`,
      ),
    ]);
    expect(limitsIn(result)).toMatchObject({
      eventMaxBytes: 2 * MI,
      claims: { batchMaxBytes: 3 * MI },
    });
  });

  test('of a generic Channel that shares the address of another one is not looked at', async () => {
    const result = await reconciled([
      channel('c', annotations('knear.dev/claim-check-event-max: 1Ki'), 'Channel'),
      channel('c', annotations('knear.dev/claim-check-event-max: 2Ki')),
    ]);
    expect(limitsIn(result, CHANNEL)).toMatchObject({ eventMaxBytes: 2 * KI });
    expect(result.topology.ingresses.size).toBe(1);
  });

  test('on a Trigger has no effect, and it is told so', async () => {
    const text = trigger(
      '  broker: default\n  subscriber: {uri: "http://a/"}',
      annotations('knear.dev/claim-check-event-max: 1Ki'),
    );
    const result = await reconciled([broker(), text]);
    expect(statusOf(result, 'Trigger/default/t')?.infos).toEqual([
      'annotation knear.dev/claim-check-event-max has no effect on a Trigger',
    ]);
  });
});

/** ConfigMaps that are wrong, and the sentence about it. */
const WRONG = [
  {
    name: 'a decimal unit',
    data: 'claimCheck.inlineMax: 64K',
    fault:
      'ConfigMap/default/settings: claimCheck.inlineMax: "64K" is not bytes, or a number with Ki, Mi or Gi, from 0 to 1Mi',
  },
  {
    name: 'nothing',
    data: 'claimCheck.eventMax: ""',
    fault: /claimCheck.eventMax: "" is not bytes/,
  },
  {
    name: 'more than the process ever takes',
    data: 'claimCheck.eventMax: 1025Mi',
    fault: /claimCheck.eventMax: "1025Mi" is not .* from 1Ki to 1Gi/,
  },
  {
    name: 'less than an event needs',
    data: 'claimCheck.attributesMax: "1023"',
    fault: /claimCheck.attributesMax: "1023" is not .* from 1Ki to 1Mi/,
  },
  {
    name: 'more in the log than there should be',
    data: 'claimCheck.inlineMax: 1048577',
    // A number is no text: what is not valid is not there, and nobody knows what it says.
    fault: /^ConfigMap\/default\/settings is not valid: file.yaml:\d+: data.claimCheck.inlineMax: /,
  },
  {
    name: 'a store that is not there yet',
    data: 'claimCheck.store: s3',
    fault: /claimCheck.store: "s3" is not file, and there is no other store yet/,
  },
  {
    name: 'an unknown key',
    data: 'claimCheck.inlineMaximum: 64Ki',
    fault: /claimCheck.inlineMaximum: unknown key; did you mean claimCheck.inlineMax\?/,
  },
  {
    name: 'a key in lower case',
    data: 'claimcheck.eventmax: 64Ki',
    fault: /claimcheck.eventmax: unknown key; did you mean claimCheck.eventMax\?/,
  },
  {
    name: 'the name of the setting',
    data: 'claimCheckQuota: 64Ki',
    fault: /claimCheckQuota: unknown key; did you mean claimCheck.quota\?/,
  },
  {
    name: 'the name of the annotation',
    data: 'claim-check-reply-max: 64Ki',
    fault: /claim-check-reply-max: unknown key; did you mean claimCheck.replyMax\?/,
  },
  {
    name: 'data in the log that no event may have',
    data: 'claimCheck.eventMax: 64Ki, claimCheck.inlineMax: 65Ki',
    fault:
      'claimCheck.inlineMax (65Ki) must not be more than claimCheck.eventMax (64Ki): no data is as large',
  },
  {
    name: 'a quota below the largest event of all',
    data: 'claimCheck.quota: 100Mi',
    fault:
      'the setting eventMax (256Mi) must not be more than claimCheck.quota (100Mi): the largest one could never be kept',
  },
  {
    name: 'a quota below the largest reply',
    data: 'claimCheck.quota: 2Mi, claimCheck.eventMax: 1Mi, claimCheck.replyMax: 3Mi',
    fault: /^claimCheck.replyMax \(3Mi\) must not be more than claimCheck.quota \(2Mi\): /,
  },
] as const;

const STOPPED = /; until that is right, no event is taken or delivered$/;
const RUNS_ON = /; until that is right, the limits from before hold$/;

describe.each(WRONG)('a ConfigMap with $name', ({ data, fault }) => {
  const texts = [configMap(data), CONFIGURED, TRIGGER];
  const sentence =
    typeof fault === 'string' ? expect.stringContaining(fault) : expect.stringMatching(fault);

  test('makes its Broker not ready, with the reason, and keeps it from taking events', async () => {
    const result = await reconciled(texts);
    expect(result.topology.ingresses.size).toBe(0);
    const why = { status: 'False', reason: 'ConfigInvalid', message: sentence };
    for (const type of ['ConfigParsed', 'Addressable', 'Ready']) {
      expect(conditionOf(result, type)).toMatchObject(why);
    }
    expect(conditionOf(result, 'Ready')?.message).toMatch(STOPPED);
    expect(statusOf(result)).toMatchObject({ isReady: false, reason: 'ConfigInvalid' });
    expect(statusOf(result)).not.toHaveProperty('address');
    expect(statusOf(result)?.object?.status).not.toHaveProperty('address');
  });

  test('leaves what waits for its Triggers where it is', async () => {
    const result = await reconciled(texts);
    expect(result.topology.egresses.get('Trigger/default/t')).toMatchObject({ isPaused: true });
    expect(conditionOf(result, 'BrokerReady', 'Trigger/default/t')).toMatchObject({
      status: 'False',
      reason: 'ConfigInvalid',
    });
  });

  test('leaves the limits that were in force, and the Broker takes events', async () => {
    const good = await reconciled([configMap('claimCheck.eventMax: 5Mi'), CONFIGURED, TRIGGER]);
    let result = good;
    // As often as anything else changes.
    for (let turn = 0; turn < 3; turn++) {
      result = await reconciled(texts, { before: result.topology });
      expect(limitsIn(result)).toEqual(limitsIn(good));
    }
    expect(result.topology.egresses.get('Trigger/default/t')).toMatchObject({
      isPaused: false,
      claims: limitsIn(good).claims,
    });
    expect(conditionOf(result, 'Addressable')).toMatchObject({ status: 'True' });
    expect(conditionOf(result, 'Ready')).toMatchObject({ status: 'False', message: sentence });
    expect(conditionOf(result, 'Ready')?.message).toMatch(RUNS_ON);
    expect(statusOf(result)).toMatchObject({ isReady: false, address: '/default/default' });
  });
});

describe('a Broker with wrong limits', () => {
  const bad = [configMap('claimCheck.eventMax: 5MB'), CONFIGURED, TRIGGER];

  test('goes by its ConfigMap again as soon as that is right', async () => {
    const { topology: before } = await reconciled(bad);
    const result = await reconciled([configMap('claimCheck.eventMax: 5Mi'), CONFIGURED, TRIGGER], {
      before,
    });
    expect(limitsIn(result)).toMatchObject({ eventMaxBytes: 5 * MI });
    expect(result.topology.egresses.get('Trigger/default/t')).toMatchObject({ isPaused: false });
    expect(statusOf(result)).toMatchObject({ isReady: true });
  });

  test('does not get those of another one of its name that is gone', async () => {
    const good = await reconciled([configMap('claimCheck.eventMax: 5Mi'), CONFIGURED]);
    const gone = await reconciled([], { before: good.topology });
    const result = await reconciled(bad, { before: gone.topology });
    expect(result.topology.ingresses.size).toBe(0);
  });

  test('keeps the limits alone: what else its ConfigMap says holds', async () => {
    const good = await reconciled([configMap('claimCheck.eventMax: 5Mi'), CONFIGURED, TRIGGER]);
    const result = await reconciled(
      [configMap('claimCheck.eventMax: 5MB, paused: "true"'), CONFIGURED, TRIGGER],
      { before: good.topology },
    );
    expect(limitsIn(result)).toMatchObject({ eventMaxBytes: 5 * MI });
    expect(result.topology.egresses.get('Trigger/default/t')).toMatchObject({ isPaused: true });
  });

  test('hears of all that is wrong', async () => {
    const data = 'claimCheck.eventMax: 5MB, claimCheck.qouta: 1Gi, exhausted: bin';
    const { message } = conditionOf(await reconciled([configMap(data), CONFIGURED]), 'Ready') ?? {};
    for (const part of ['"5MB"', 'did you mean claimCheck.quota?', '"bin" is not one of']) {
      expect(message).toContain(part);
    }
  });

  test('is no other Broker: the others take events', async () => {
    const result = await reconciled([...bad, broker('other')]);
    expect([...result.topology.ingresses.keys()]).toEqual(['Broker/default/other']);
  });

  test('is still found by those who send to it: they are refused, and nothing of theirs is dropped', async () => {
    const other = trigger(
      '  broker: other\n  subscriber: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}',
    );
    const { topology } = await reconciled([bad[0] ?? '', CONFIGURED, broker('other'), other]);
    expect(topology.egresses.get('Trigger/default/t')).toMatchObject({
      isPaused: false,
      subscriber: { kind: 'ingress', ingressId: BROKER },
    });
  });
});

describe('a channel with annotations that contradict each other', () => {
  const wrong = channel(
    'c',
    annotations('knear.dev/claim-check-event-max: 1Ki, knear.dev/claim-check-inline-max: 2Ki'),
  );
  const fault =
    'knear.dev/claim-check-inline-max (2Ki) must not be more than knear.dev/claim-check-event-max (1Ki): no data is as large';

  test('is not ready and takes no events; its Subscriptions are not ready and keep theirs', async () => {
    const result = await reconciled([wrong, SUBSCRIPTION]);
    const why = { status: 'False', reason: 'ConfigInvalid' };
    expect(conditionOf(result, 'Ready', CHANNEL)).toMatchObject({
      ...why,
      message: expect.stringContaining(fault),
    });
    expect(conditionOf(result, 'ChannelReady', 'Subscription/default/s')).toMatchObject(why);
    expect(conditionOf(result, 'Ready', 'Subscription/default/s')).toMatchObject(why);
    expect(result.topology.ingresses.size).toBe(0);
    expect(result.topology.egresses.get('Subscription/default/s')).toMatchObject({
      isPaused: true,
    });
  });

  test('is so, too, for the generic Channel with its address', async () => {
    const result = await reconciled([wrong, channel('c', '', 'Channel')]);
    expect(conditionOf(result, 'Ready', 'Channel/default/c')).toMatchObject({
      status: 'False',
      reason: 'ConfigInvalid',
    });
  });

  test('goes on with the limits of before', async () => {
    const { topology: before } = await reconciled([channel('c'), SUBSCRIPTION]);
    const result = await reconciled([wrong, SUBSCRIPTION], { before });
    expect(limitsIn(result, CHANNEL)).toMatchObject({ eventMaxBytes: 256 * MI });
    expect(conditionOf(result, 'ChannelReady', 'Subscription/default/s')?.status).toBe('True');
  });
});

describe('an annotation by itself', () => {
  test.each([
    {
      name: 'with a wrong value',
      line: 'knear.dev/claim-check-event-max: 1MB',
      fault: '"1MB" is not bytes, or a number with Ki, Mi or Gi, from 1Ki to 1Gi',
    },
    {
      name: 'that does not exist',
      line: 'knear.dev/claim-check-inlinemax: 1Mi',
      fault: 'unknown key; did you mean knear.dev/claim-check-inline-max?',
    },
    {
      name: 'in the words of a ConfigMap',
      line: 'knear.dev/claimCheck.quota: 1Mi',
      fault: 'unknown key; did you mean knear.dev/claim-check-quota?',
    },
  ])('$name makes its document not valid, with file and line', async ({ line, fault }) => {
    const { resources, problems } = await snapshotOf(channel('c', annotations(line)));
    expect(resources).toEqual([]);
    const [key] = line.split(':');
    expect(problems).toEqual([
      expect.objectContaining({
        where: expect.stringMatching(/^file\.yaml:\d+$/),
        detail: `metadata.annotations.${key ?? ''}: ${fault}`,
      }),
    ]);
  });
});

describe('a ConfigMap that is not for knear', () => {
  test.each([
    { name: 'with the keys of another class', data: 'channel-template-spec: "kind: x"' },
    { name: 'with a key that only looks alike', data: 'claims.inlineMax: 64K' },
  ])('$name is ignored, with a hint', async ({ data }) => {
    const result = await reconciled([configMap(data), CONFIGURED]);
    expect(statusOf(result)).toMatchObject({
      isReady: true,
      infos: ['ConfigMap/default/settings says nothing to knear: defaults are used'],
    });
    expect(limitsIn(result)).toMatchObject({ eventMaxBytes: 256 * MI });
  });

  test('is for knear as soon as it has one key of ours', async () => {
    const data = 'channel-template-spec: "kind: x", claimCheck.eventMax: 1Mi';
    const result = await reconciled([configMap(data), CONFIGURED]);
    expect(statusOf(result)).toMatchObject({ isReady: true, infos: [] });
    expect(limitsIn(result)).toMatchObject({ eventMaxBytes: MI });
  });
});

test.each([
  [0, '0'],
  [1023, '1023'],
  [1024, '1Ki'],
  [65 * KI, '65Ki'],
  [1536 * KI, '1536Ki'],
  [1024 * MI, '1Gi'],
])('%d bytes are told as %s, which is read as the same', (bytes, text) => {
  expect(sizeText(bytes)).toBe(text);
  expect(parseSizeBytes(text)).toBe(bytes);
});

describe('docs/claim-check.md', () => {
  const page = readFileSync(new URL('../../docs/claim-check.md', import.meta.url), 'utf8');
  const rows = page
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| /, '')));

  test('has a row for each setting of the claim check, with its default', () => {
    const wanted = SETTING_NAMES.filter((name) =>
      /^(claimCheck|eventMax|attributesMax)/.test(name),
    );
    const shown = wanted.map((name) => rows.find(([first]) => first === `\`${name}\``)?.[1]);
    expect(shown.map((cell) => cell?.replaceAll('`', ''))).toEqual(
      wanted.map((name) => {
        const { default: fallback, defaultText } = SETTINGS[name] as SettingRow;
        return fallback ?? defaultText;
      }),
    );
  });

  test('names the key of a ConfigMap beside the setting of the same limit', () => {
    const names = Object.keys(LIMITS) as (keyof typeof LIMITS)[];
    const shown = names.map((name) => rows.find(([first]) => first === `\`${settingOf(name)}\``));
    expect(shown.map((row) => row?.[2])).toEqual(names.map((name) => `\`claimCheck.${name}\``));
  });

  test('shows resources that are valid and ready', async () => {
    const [, text = ''] = /```yaml\n([^`]*)```/.exec(page) ?? [];
    const snapshot = await snapshotOf(text);
    expect(snapshot.problems).toEqual([]);
    const result = told(snapshot);
    expect(result.statuses.filter(({ isReady, infos }) => !isReady || infos.length > 0)).toEqual(
      [],
    );
    expect(limitsIn(result, 'Broker/default/files')).toMatchObject({ eventMaxBytes: 1024 * MI });
    expect(limitsIn(result, 'KnearChannel/default/patients')).toMatchObject({
      claims: { inlineMaxBytes: 0 },
    });
  });

  test('lists every rule that a source names', () => {
    const listed = new Set([...page.matchAll(/^\| (K\d+) \|/gm)].map(([, rule]) => rule));
    const named = sourceFiles(['core', 'broker', 'dispatcher', 'controller', 'main']).flatMap(
      ({ path, text }) => [...text.matchAll(/\bK\d+\b/g)].map(([rule]) => ({ path, rule })),
    );
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter(({ rule }) => !listed.has(rule))).toEqual([]);
  });
});
