/**
 * `knear.dev/order: key`. Events of one partition key reach the subscriber one after the other, in the order in which they
 * were acknowledged, also when attempts fail on the way and when the program is killed; other keys do not wait for them.
 */
import { afterEach, expect, test } from '@jest/globals';
import { eventually } from './eventually.ts';
import { broker, trigger, yamlOf } from './manifests.ts';
import { send } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';
import type { Received, Subscriber } from './subscriber.ts';

const stage = openStage();

afterEach(() => stage.close());

const KEYS = ['a', 'b', 'c', 'd'];
const EVENTS_PER_KEY = 25;
const FIRST_ATTEMPT_FAILS = 5;

function resources(url: string): string {
  return yamlOf(
    broker('main'),
    trigger('ordered', {
      subscriber: `${url}/ordered`,
      annotations: { 'knear.dev/order': 'key' },
      delivery: { retry: 3, backoffPolicy: 'linear', backoffDelay: 'PT0.03S' },
    }),
  );
}

function keyOf({ id }: Pick<Received, 'id'>): string {
  return id.split('-')[0] ?? '';
}

function numberOf({ id }: Pick<Received, 'id'>): number {
  return Number(id.split('-')[1]);
}

async function sendInOrder(program: Program, key: string, from: number, to: number): Promise<void> {
  for (let number = from; number < to; number += 1) {
    const attributes = { id: `${key}-${String(number)}`, type: 't', partitionkey: key };
    const { status } = await send(`${program.url}/default/main`, attributes);
    expect(status).toBe(202);
  }
}

/** Works a little, fails every fifth event once, and notes when two of one key were there at a time. */
function openWorker(subscriber: Subscriber) {
  const working = new Map<string, number>();
  const overlaps: string[] = [];
  const taken: Received[] = [];
  const all = { most: 0, now: 0 };
  subscriber.on('/ordered', async (received) => {
    const key = keyOf(received);
    const ofKey = (working.get(key) ?? 0) + 1;
    if (ofKey > 1) overlaps.push(received.id);
    working.set(key, ofKey);
    all.now += 1;
    all.most = Math.max(all.most, all.now);
    // Different for each, so that events would overtake each other if they could.
    await new Promise((resolve) => setTimeout(resolve, 1 + ((numberOf(received) * 7) % 13)));
    working.set(key, (working.get(key) ?? 0) - 1);
    all.now -= 1;
    const fails = numberOf(received) % FIRST_ATTEMPT_FAILS === 0 && received.nth === 1;
    if (fails) return { status: 500 };
    taken.push(received);
    return {};
  });
  return { overlaps, taken, all };
}

function numbersTaken(taken: readonly Received[], key: string): number[] {
  return taken.filter((each) => keyOf(each) === key).map(numberOf);
}

const EXPECTED = Array.from({ length: EVENTS_PER_KEY }, (_, index) => index);

test('events of one key come one at a time and in order, also after failures', async () => {
  const subscriber = await stage.subscriber();
  const worker = openWorker(subscriber);
  const program = await stage.start(resources(subscriber.url));

  await Promise.all(KEYS.map((key) => sendInOrder(program, key, 0, EVENTS_PER_KEY)));

  const count = KEYS.length * EVENTS_PER_KEY;
  await eventually('all events', () => worker.taken.length === count);
  await program.idle();
  for (const key of KEYS) expect(numbersTaken(worker.taken, key)).toEqual(EXPECTED);
  expect(worker.overlaps).toEqual([]);
  // Keys do not wait for each other.
  expect(worker.all.most).toBeGreaterThan(1);
  expect(program.complaints).toEqual([]);
});

test('a kill in the middle repeats events but swaps none', async () => {
  const subscriber = await stage.subscriber();
  const worker = openWorker(subscriber);
  const program = await stage.start(resources(subscriber.url));
  const half = Math.floor(EVENTS_PER_KEY / 2);

  await Promise.all(KEYS.map((key) => sendInOrder(program, key, 0, half)));
  await program.crash();
  await program.start();
  await Promise.all(KEYS.map((key) => sendInOrder(program, key, half, EVENTS_PER_KEY)));

  await eventually('the last of each key', () =>
    KEYS.every((key) => numbersTaken(worker.taken, key).at(-1) === EVENTS_PER_KEY - 1),
  );
  await program.idle();
  for (const key of KEYS) {
    const firsts = [...new Set(numbersTaken(worker.taken, key))];
    expect(firsts).toEqual(EXPECTED);
  }
});
