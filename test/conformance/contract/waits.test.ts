/**
 * How long knear waits between attempts (C-RETRY), and what it does with a reply that its Broker cannot keep (C-REPLY).
 * Resources as people write them, the real controller, dispatcher and log; only the network and the time are simulated,
 * because backoffs go over hours and a full log is not easily had. Rows of docs/conformance.md.
 */
import { describe, expect, test } from '@jest/globals';
import { reconcile } from '../../../controller/reconcile.ts';
import type { Outcome } from '../../../core/ports/deliverer.ts';
import type { Topology } from '../../../core/topology.ts';
import { snapshotOf } from '../../controller/manifests.ts';
import { eventOf } from '../../dispatcher/resources.ts';
import { Stage } from '../../dispatcher/stage.ts';
import {
  broker,
  channel,
  subscription,
  trigger,
  yamlOf,
  type Manifest,
} from '../../e2e/manifests.ts';
import { CLAIMS } from '../../fakes/claims.ts';
import { accepted, rejected, replied, unreachable } from '../../fakes/scripted-deliverer.ts';

const SUBSCRIBER = 'http://subscriber.example/in';
const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 3_600_000;

interface Row {
  readonly id: string;
  readonly name: string;
  readonly resources: readonly Manifest[];
  /** What the subscriber answers, the last one for ever: 500 unless said. */
  readonly answers?: readonly Outcome[];
  /** In ms; one attempt more than there are waits. */
  readonly waits: readonly number[];
}

/** A Broker, and a Trigger with this delivery. */
function triggered(delivery: object): Manifest[] {
  return [broker('main'), trigger('all', { subscriber: SUBSCRIBER, delivery })];
}

/** 429 or 503 once, with this many seconds in Retry-After, then 202. */
function busy(seconds: number, status = 429): Outcome[] {
  return [rejected(status, { retryAfterMs: seconds * SECOND }), accepted];
}

const ROWS: readonly Row[] = [
  {
    id: 'C-RETRY-08',
    name: 'where nobody says anything, a Trigger has 10 retries, exponential, from 0.2 s',
    resources: [broker('main'), trigger('all', { subscriber: SUBSCRIBER })],
    waits: Array.from({ length: 10 }, (_, index) => 200 * 2 ** index),
  },
  {
    id: 'C-RETRY-09',
    name: 'a Subscription has none',
    resources: [channel('main'), subscription('all', { channel: 'main', subscriber: SUBSCRIBER })],
    waits: [],
  },
  {
    id: 'C-RETRY-10',
    name: 'linear: the delay, twice the delay, three times',
    resources: triggered({ retry: 4, backoffPolicy: 'linear', backoffDelay: 'PT0.5S' }),
    waits: [500, 1_000, 1_500, 2_000],
  },
  {
    id: 'C-RETRY-10',
    name: 'linear over minutes',
    resources: triggered({ retry: 3, backoffPolicy: 'linear', backoffDelay: 'PT10M' }),
    waits: [10 * MINUTE, 20 * MINUTE, 30 * MINUTE],
  },
  {
    id: 'C-RETRY-11',
    name: 'exponential: the delay, then twice as long each time',
    resources: triggered({ retry: 6, backoffPolicy: 'exponential', backoffDelay: 'PT1M' }),
    waits: [1, 2, 4, 8, 16, 32].map((minutes) => minutes * MINUTE),
  },
  ...[
    { name: 'no policy', delivery: { retry: 3, backoffDelay: 'PT1M' } },
    { name: 'no delay', delivery: { retry: 3, backoffPolicy: 'exponential' } },
    { name: 'neither', delivery: { retry: 3 } },
  ].map(({ name, delivery }) => ({
    id: 'C-RETRY-12',
    name: `${name}: at once`,
    resources: triggered(delivery),
    waits: [0, 0, 0],
  })),
  ...[
    { policy: 'exponential', waits: [20 * MINUTE, 40 * MINUTE, HOUR, HOUR] },
    { policy: 'linear', waits: [20 * MINUTE, 40 * MINUTE, HOUR, HOUR] },
  ].map(({ policy, waits }) => ({
    id: 'C-RETRY-13',
    name: `${policy}: no wait is longer than an hour`,
    resources: triggered({ retry: 4, backoffPolicy: policy, backoffDelay: 'PT20M' }),
    waits,
  })),
  ...[429, 503].map((status) => ({
    id: 'C-RETRY-15',
    name: `Retry-After of a ${String(status)} is waited for, up to retryAfterMax`,
    resources: triggered({ retry: 1, retryAfterMax: 'PT10M' }),
    answers: busy(5 * 60, status),
    waits: [5 * MINUTE],
  })),
  {
    id: 'C-RETRY-15',
    name: 'and not longer',
    resources: triggered({ retry: 1, retryAfterMax: 'PT1M' }),
    answers: busy(5 * 60),
    waits: [MINUTE],
  },
  {
    id: 'C-RETRY-16',
    name: 'the backoff wins where it is longer',
    resources: triggered({
      retry: 1,
      retryAfterMax: 'PT10M',
      backoffPolicy: 'linear',
      backoffDelay: 'PT2M',
    }),
    answers: busy(60),
    waits: [2 * MINUTE],
  },
  ...[
    { name: 'without retryAfterMax', delivery: { retry: 1 }, status: 429 },
    { name: 'with retryAfterMax of 0', delivery: { retry: 1, retryAfterMax: 'PT0S' }, status: 503 },
    { name: 'of another status', delivery: { retry: 1, retryAfterMax: 'PT10M' }, status: 500 },
  ].map(({ name, delivery, status }) => ({
    id: 'C-RETRY-17',
    name: `Retry-After is not waited for ${name}`,
    resources: triggered(delivery),
    answers: busy(60, status),
    waits: [0],
  })),
  {
    id: 'C-RETRY-02',
    name: 'a connection that fails is tried again with the same backoff',
    resources: triggered({ retry: 2, backoffPolicy: 'linear', backoffDelay: 'PT1M' }),
    answers: [unreachable('KNEAR_UNREACHABLE')],
    waits: [MINUTE, 2 * MINUTE],
  },
];

/** As the program would have it, with one Broker or channel. */
class Played extends Stage {
  readonly #ingressId: string;

  constructor({ ingresses, egresses }: Topology) {
    super({ ingresses: [...ingresses.values()], egresses: [...egresses.values()] });
    [this.#ingressId = ''] = ingresses.keys();
  }

  /** One event comes, and so much time passes. */
  async play(passMs: number): Promise<void> {
    await this.produce(this.#ingressId, eventOf('e1'));
    await this.pass(passMs);
  }
}

async function stageOf(manifests: readonly Manifest[]): Promise<Played> {
  const snapshot = await snapshotOf(yamlOf(...manifests));
  expect(snapshot.problems).toEqual([]);
  const defaults = {
    eventMaxBytes: 1_000_000,
    attributesMaxBytes: 16_000,
    timeoutMs: 10 * MINUTE,
    idleMs: MINUTE,
    claims: CLAIMS,
    localHop: false,
  };
  return new Played(reconcile(snapshot, { revision: 1, defaults }).topology);
}

describe('waits', () => {
  test.each(ROWS)('$id: $name', async ({ resources, answers = [rejected(500)], waits }) => {
    const stage = await stageOf(resources);
    stage.deliverer.script(SUBSCRIBER, ...answers);

    // A day more, in which nothing may happen.
    await stage.play(waits.reduce((sum, wait) => sum + wait, 24 * HOUR));

    const times = stage.deliverer.callsTo(SUBSCRIBER).map(({ atMs }) => atMs);
    expect(times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0))).toEqual(waits);
    expect(times).toHaveLength(waits.length + 1);
    expect(stage.bugs).toEqual([]);
  });

  test.each([
    { id: 'C-RETRY-14', of: 'a delivery', delivery: { timeout: 'PT2S' }, timeoutMs: 2 * SECOND },
    { id: 'C-RETRY-14', of: 'nobody', delivery: {}, timeoutMs: 10 * MINUTE },
  ])('$id: an attempt has the time that $of gives it', async ({ delivery, timeoutMs }) => {
    const stage = await stageOf(triggered(delivery));
    await stage.play(0);
    expect(stage.deliverer.calls.map((call) => call.timeoutMs)).toEqual([timeoutMs]);
  });
});

test('C-REPLY-12: a reply that the Broker cannot keep fails the delivery, and the subscriber is asked again', async () => {
  const stage = await stageOf([
    broker('main'),
    trigger('all', { filter: { type: 'order' }, subscriber: SUBSCRIBER, delivery: { retry: 1 } }),
    trigger('answers', { filter: { type: 'answer' }, subscriber: 'http://answers.example/' }),
  ]);
  const reply = replied(eventOf('r1', { type: 'answer' }));
  stage.deliverer.script(SUBSCRIBER, 'hang', reply);
  await stage.play(0);

  stage.limits.sizeMaxBytes = 0;
  stage.deliverer.answer(reply);
  await stage.pass(999);
  expect(stage.deliverer.callsTo(SUBSCRIBER)).toHaveLength(1);
  stage.limits.sizeMaxBytes = 1e12;
  await stage.pass(10 * SECOND);
  // In time: it was offered again and kept.
  expect(stage.deliverer.callsTo('http://answers.example/')).toHaveLength(1);
  expect(stage.deliverer.callsTo(SUBSCRIBER)).toHaveLength(1);
});

test('C-REPLY-12: for longer than a second, that is', async () => {
  const stage = await stageOf(triggered({ retry: 1 }));
  stage.deliverer.script(SUBSCRIBER, 'hang', accepted);
  await stage.play(0);
  stage.limits.sizeMaxBytes = 0;
  stage.deliverer.answer(replied(eventOf('r1')));
  await stage.pass(10 * SECOND);
  expect(stage.deliverer.callsTo(SUBSCRIBER)).toHaveLength(2);
  expect(stage.trail().at(-1)).toBe('end delivered');
});
