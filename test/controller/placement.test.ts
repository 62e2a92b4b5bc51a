/** The annotations that say how near a subscriber is called, and what may go on without the log: whose value holds. */
import { describe, expect, test } from '@jest/globals';
import { reconcile } from '../../controller/reconcile.ts';
import type { Egress, HopPolicy } from '../../core/topology.ts';
import {
  broker,
  channel,
  complaintsOf,
  documents,
  snapshotOf,
  subscription,
  trigger,
} from './manifests.ts';
import { DEFAULTS } from './services-scene.ts';

const SUBSCRIBER = '  subscriber: {uri: "http://a/"}';
const annotated = (text = '') => `  annotations: {${text}}`;

type Said = Pick<Egress, 'placement' | 'hops'>;

interface Spoken {
  readonly ingress: HopPolicy | undefined;
  readonly egress: Said | undefined;
}

async function compiled(texts: string[], localHop = false): Promise<Spoken> {
  const snapshot = await snapshotOf(documents(...texts));
  expect(snapshot.problems).toEqual([]);
  const { topology } = reconcile(snapshot, { revision: 1, defaults: { ...DEFAULTS, localHop } });
  const [ingress] = topology.ingresses.values();
  const [egress] = topology.egresses.values();
  return {
    ingress: ingress?.hops,
    egress: egress && { placement: egress.placement, hops: egress.hops },
  };
}

const ofBroker = (own?: string, nearer?: string) => [
  broker('default', annotated(own)),
  trigger(`  broker: default\n${SUBSCRIBER}`, annotated(nearer)),
];

describe('placement', () => {
  test.each([
    ['nearest, where nobody says anything', undefined, undefined, 'nearest'],
    ['that of the Broker', 'spread', undefined, 'spread'],
    ['that of the Trigger, before that of its Broker', 'spread', 'service', 'service'],
  ])('is %s', async (_, own, nearer, placement) => {
    const said = (value?: string) => value && `knear.dev/placement: ${value}`;
    const { egress } = await compiled(ofBroker(said(own), said(nearer)));
    expect(egress?.placement).toBe(placement);
  });
});

describe('a local hop', () => {
  const on = { isOn: true, redoMaxMs: 1_000 };
  const off = { isOn: false, redoMaxMs: 1_000 };

  test.each([
    { name: 'is as the log has it', localHop: true, ingress: on, egress: on },
    { name: 'is off as the log has it', localHop: false, ingress: off, egress: off },
    { name: 'is on by the Broker', own: 'chain', localHop: false, ingress: on, egress: on },
    { name: 'is off by the Broker', own: 'off', localHop: true, ingress: off, egress: off },
    { name: 'is off for one Trigger', nearer: 'off', localHop: true, ingress: on, egress: off },
    {
      name: 'is on for one Trigger of a Broker that is off',
      own: 'off',
      nearer: 'chain',
      localHop: false,
      ingress: off,
      egress: on,
    },
  ])('$name', async ({ own, nearer, localHop, ingress, egress }) => {
    const said = (value?: string) => value && `knear.dev/local-hop: "${value}"`;
    const found = await compiled(ofBroker(said(own), said(nearer)), localHop);
    expect([found.ingress, found.egress?.hops]).toEqual([ingress, egress]);
  });

  test.each([
    ['a second, where nobody says anything', undefined, undefined, 1_000, 1_000],
    ['that of the Broker', 'PT0.5S', undefined, 500, 500],
    ['that of the Trigger, before that of its Broker', 'PT0.5S', 'PT0S', 500, 0],
    ['an hour at most', 'PT1H', undefined, 3_600_000, 3_600_000],
  ])('repeats %s', async (_, own, nearer, ingressMs, egressMs) => {
    const said = (value?: string) => value && `knear.dev/redo-max: ${value}`;
    const { ingress, egress } = await compiled(ofBroker(said(own), said(nearer)));
    expect([ingress?.redoMaxMs, egress?.hops.redoMaxMs]).toEqual([ingressMs, egressMs]);
  });
});

const ALL = 'knear.dev/placement: spread, knear.dev/local-hop: chain, knear.dev/redo-max: PT2S';
const HOPS: HopPolicy = { isOn: true, redoMaxMs: 2_000 };

test('what is said of a Channel holds for its Subscriptions', async () => {
  const c = '{apiVersion: messaging.knear.dev/v1, kind: KnearChannel, name: c}';
  const texts = [channel('c', annotated(ALL)), subscription(`  channel: ${c}\n${SUBSCRIBER}`)];
  expect(await compiled(texts)).toEqual({
    ingress: HOPS,
    egress: { placement: 'spread', hops: HOPS },
  });
});

test.each([
  ['Sequence', 'steps: [{uri: "http://a/"}]'],
  ['Parallel', 'branches: [{subscriber: {uri: "http://a/"}}]'],
])('what is said of a %s holds for what it is made of', async (kind, spec) => {
  const flow = `apiVersion: flows.knative.dev/v1\nkind: ${kind}\nmetadata:\n  name: f\n${annotated(ALL)}\nspec:\n  ${spec}\n`;
  expect(await compiled([flow])).toEqual({
    ingress: HOPS,
    egress: { placement: 'spread', hops: HOPS },
  });
});

test('what is said in the ConfigMap of a Broker holds for it and its Triggers', async () => {
  const data = '{placement: spread, local-hop: chain, redo-max: PT2S}';
  const texts = [
    `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: ${data}\n`,
    broker('default', 'spec: {config: {apiVersion: v1, kind: ConfigMap, name: m}}'),
    trigger(`  broker: default\n${SUBSCRIBER}`),
  ];
  expect(await compiled(texts)).toEqual({
    ingress: HOPS,
    egress: { placement: 'spread', hops: HOPS },
  });
});

describe('a wrong value', () => {
  const range = 'an ISO 8601 duration such as PT1S from PT0S to PT1H';

  test.each([
    ['placement', 'near', 'is not one of nearest, spread, service'],
    ['local-hop', 'on', 'is not one of chain, off'],
    ...['5s', '5', 'PT1H0.001S', 'P1D', '-PT1S', 'PT', 'x PT1S', 'PT1S ', ''].map(
      (value) => ['redo-max', value, `is not ${range}`] as const,
    ),
  ])('of %s, "%s", is refused', async (key, value, sentence) => {
    const texts = ofBroker(undefined, `knear.dev/${key}: "${value}"`);
    const expected = `metadata.annotations.knear.dev/${key}: "${value}" ${sentence}`;
    expect(await complaintsOf(documents(...texts))).toEqual([expect.stringContaining(expected)]);
  });

  test('in a ConfigMap is told and counts as not written', async () => {
    const texts = [
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {redo-max: 5s, local-hop: maybe}\n',
      broker('default', 'spec: {config: {apiVersion: v1, kind: ConfigMap, name: m}}'),
    ];
    const { topology, statuses } = reconcile(await snapshotOf(documents(...texts)), {
      revision: 1,
      defaults: DEFAULTS,
    });
    expect([...topology.ingresses.values()].map(({ hops }) => hops)).toEqual([
      { isOn: false, redoMaxMs: 1_000 },
    ]);
    const [{ message } = { message: '' }] = statuses;
    expect(message).toContain(`knear.dev/redo-max: "5s" is not ${range}`);
    expect(message).toContain('knear.dev/local-hop: "maybe" is not one of chain, off');
  });
});
