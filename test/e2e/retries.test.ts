/** When a failed delivery is tried again, how often, and after what wait. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from './eventually.ts';
import { broker, trigger, yamlOf } from './manifests.ts';
import { send } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';
import type { Received, Script, Subscriber } from './subscriber.ts';

const stage = openStage();
let program: Program;
let subscriber: Subscriber;

interface Case {
  readonly name: string;
  readonly delivery: object;
  readonly script: Script;
  /** Least waits between attempts; their number plus one is the number of attempts. */
  readonly waitsMs: readonly number[];
  readonly isDelivered?: boolean;
}

const failing: Script = () => ({ status: 500 });
const busyFor = (status: number, seconds: string): Script => {
  const reply = { status, headers: { 'retry-after': seconds } };
  return ({ nth }) => (nth === 1 ? reply : {});
};

const CASES: readonly Case[] = [
  {
    name: 'exponential',
    delivery: { retry: 4, backoffPolicy: 'exponential', backoffDelay: 'PT0.1S' },
    script: failing,
    waitsMs: [100, 200, 400, 800],
  },
  {
    name: 'linear',
    delivery: { retry: 4, backoffPolicy: 'linear', backoffDelay: 'PT0.1S' },
    script: failing,
    waitsMs: [100, 200, 300, 400],
  },
  // Waits of more than a second are kept in the log.
  {
    name: 'in-the-log',
    delivery: { retry: 2, backoffPolicy: 'linear', backoffDelay: 'PT1.2S' },
    script: ({ nth }) => (nth < 3 ? { status: 503 } : {}),
    waitsMs: [1_200, 2_400],
    isDelivered: true,
  },
  {
    name: 'no-backoff',
    delivery: { retry: 3 },
    script: failing,
    waitsMs: [0, 0, 0],
  },
  { name: 'no-retries', delivery: { retry: 0 }, script: failing, waitsMs: [] },
  {
    name: 'recovers',
    delivery: { retry: 5, backoffPolicy: 'linear', backoffDelay: 'PT0.05S' },
    script: ({ nth }) => (nth < 3 ? { isReset: true } : {}),
    waitsMs: [0, 0],
    isDelivered: true,
  },
  {
    name: 'retry-after',
    delivery: { retry: 1, retryAfterMax: 'PT10S' },
    script: busyFor(429, '1'),
    waitsMs: [1_000],
    isDelivered: true,
  },
  {
    name: 'retry-after-date',
    delivery: { retry: 1, retryAfterMax: 'PT10S' },
    script: ({ nth }) =>
      nth === 1
        ? // Whole seconds: two from now are at least one.
          {
            status: 503,
            headers: { 'retry-after': new Date(Date.now() + 2_000).toUTCString() },
          }
        : {},
    waitsMs: [900],
    isDelivered: true,
  },
  {
    name: 'backoff-over-retry-after',
    delivery: {
      retry: 1,
      retryAfterMax: 'PT10S',
      backoffPolicy: 'linear',
      backoffDelay: 'PT1.5S',
    },
    script: busyFor(503, '1'),
    waitsMs: [1_500],
    isDelivered: true,
  },
  ...[404, 408, 409, 429].map((status) => ({
    name: `status-${String(status)}`,
    delivery: { retry: 1 },
    script: ({ nth }: Received) => (nth === 1 ? { status } : {}),
    waitsMs: [0],
    isDelivered: true,
  })),
];

/** Shorter than what Retry-After says, so that a header that was honoured shows. */
const IGNORED: readonly Case[] = [
  {
    name: 'not-asked-for',
    delivery: { retry: 1 },
    script: busyFor(429, '60'),
    waitsMs: [0],
    isDelivered: true,
  },
  {
    name: 'switched-off',
    delivery: { retry: 1, retryAfterMax: 'PT0S' },
    script: busyFor(429, '60'),
    waitsMs: [0],
    isDelivered: true,
  },
  {
    name: 'bounded',
    delivery: { retry: 1, retryAfterMax: 'PT0.5S' },
    script: busyFor(503, '60'),
    waitsMs: [500],
    isDelivered: true,
  },
  {
    name: 'other-status',
    delivery: { retry: 1, retryAfterMax: 'PT10S' },
    script: busyFor(500, '60'),
    waitsMs: [0],
    isDelivered: true,
  },
];

const ALL = [...CASES, ...IGNORED];

beforeAll(async () => {
  subscriber = await stage.subscriber();
  const { url } = subscriber;
  for (const { name, script } of ALL) subscriber.on(`/${name}`, script);
  const triggers = ALL.map(({ name, delivery }) =>
    trigger(name, {
      filter: { type: name },
      subscriber: `${url}/${name}`,
      delivery: { ...delivery, deadLetterSink: { uri: `${url}/dead` } },
    }),
  );
  program = await stage.start(yamlOf(broker('main'), ...triggers));
  // All at once, so that the waits of all cases together take as long as the longest.
  for (const { name } of ALL) await send(`${program.url}/default/main`, { id: name, type: name });
});

afterAll(() => stage.close());

async function check({ name, waitsMs, isDelivered = false }: Case): Promise<void> {
  await eventually(
    `the end of ${name}`,
    async () => {
      const end = isDelivered ? 'delivered' : 'dead-lettered';
      const labels = { egress: `trigger:${name}.default`, end };
      return (await program.metric('knear_ended_total', labels)) === 1;
    },
    { otherwise: () => subscriber.at(`/${name}`).map(({ atMs }) => atMs) },
  );
  const times = subscriber.at(`/${name}`).map(({ atMs }) => atMs);
  const gaps = times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0));
  expect(gaps).toHaveLength(waitsMs.length);
  for (const [index, leastMs] of waitsMs.entries()) {
    // Timers and arrival are measured by two processes: a millisecond of rounding each.
    expect(gaps[index]).toBeGreaterThanOrEqual(leastMs - 2);
  }
  const dead = subscriber.at('/dead').filter(({ id }) => id === name);
  expect(dead).toHaveLength(isDelivered ? 0 : 1);
}

describe('attempts and the waits between them are as the delivery says', () => {
  test.each(CASES)('$name', check);
});

describe('Retry-After is not waited for', () => {
  test.each(IGNORED)('$name', check);
});

test('a subscriber is not called again after it has taken the event', async () => {
  await program.idle();
  expect(subscriber.received).toHaveLength(
    ALL.reduce((sum, { waitsMs, isDelivered }) => sum + waitsMs.length + (isDelivered ? 1 : 2), 0),
  );
  expect(program.complaints).toEqual([]);
});
