/** What a program that was stopped or killed knows when it is back. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually } from './eventually.ts';
import { broker, trigger, yamlOf } from './manifests.ts';
import { send } from './producer.ts';
import type { Program } from './program.ts';
import { valueOf } from './samples.ts';
import { openStage } from './stage.ts';
import { HANG, type Subscriber } from './subscriber.ts';

const stage = openStage();

afterEach(() => stage.close());

const HOW = [
  { how: 'stopped with SIGTERM', end: (program: Program) => program.stop() },
  { how: 'killed with SIGKILL', end: (program: Program) => program.crash() },
];

const PAUSED = { 'knear.dev/paused': 'true' };

function simple(url: string, annotations: Readonly<Record<string, string>> = {}): string {
  return yamlOf(broker('main'), trigger('all', { subscriber: `${url}/all`, annotations }));
}

async function sendMany(program: Program, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, index) => `e-${String(index)}`);
  const answers = await Promise.all(
    ids.map((id) => send(`${program.url}/default/main`, { id, type: 't' }, `data of ${id}`)),
  );
  expect(answers.filter(({ status }) => status !== 202)).toEqual([]);
  return ids;
}

async function untilAll(subscriber: Subscriber, ids: readonly string[]): Promise<void> {
  const missing = () => {
    const arrived = new Set(subscriber.at('/all').map(({ id }) => id));
    return ids.filter((id) => !arrived.has(id));
  };
  await eventually('every event', () => missing().length === 0, {
    otherwise: () => missing(),
  });
}

test('attempts and waits go on where they were, after SIGTERM and after SIGKILL', async () => {
  const subscriber = await stage.subscriber();
  subscriber.on('/fails', () => ({ status: 500, body: 'no' }));
  const program = await stage.start(
    yamlOf(
      broker('main'),
      trigger('fails', {
        subscriber: `${subscriber.url}/fails`,
        delivery: {
          retry: 2,
          backoffPolicy: 'linear',
          // Over a second: such waits are kept in the log.
          backoffDelay: 'PT3S',
          deadLetterSink: { uri: `${subscriber.url}/dead` },
        },
      }),
    ),
  );
  const attempts = subscriber.at('/fails');
  const untilWaiting = (count: number) =>
    eventually(`the wait after attempt ${String(count)}`, async () => {
      const samples = await program.samples();
      // The wait is told when it begins; nothing is held any more once it is on the disk.
      const isOnDisk = valueOf(samples, 'knear_open_deliveries') === 0;
      const waits = valueOf(samples, 'knear_waits_total', { where: 'log' });
      return attempts.length === count && waits === 1 && isOnDisk;
    });

  await send(`${program.url}/default/main`, { id: 'e', type: 't' }, 'data');
  await untilWaiting(1);
  await program.stop();
  await program.start();
  expect(await program.metric('knear_lag', { state: 'delayed' })).toBe(1);
  await untilWaiting(2);
  await program.crash();
  await program.start();
  const [dead] = await eventually('the dead letter', () => {
    const arrived = subscriber.at('/dead');
    return arrived.length > 0 && arrived;
  });
  await program.idle();

  expect(attempts).toHaveLength(3);
  const [first = 0, second = 0, third = 0] = attempts.map(({ atMs }) => atMs);
  // A wait ends by the clock on the wall, to the millisecond.
  expect(second - first).toBeGreaterThanOrEqual(1_198);
  expect(third - second).toBeGreaterThanOrEqual(2_398);
  expect(String(dead?.body)).toBe('data');
  expect(dead?.headers).toMatchObject({
    'ce-knativeerrorcode': '500',
    'ce-knativeerrordest': `${subscriber.url}/fails`,
    'ce-knativeerrordata': Buffer.from('no').toString('base64'),
  });
  expect(subscriber.at('/dead')).toHaveLength(1);
});

describe.each(HOW)('a program that was $how', ({ end }) => {
  test('delivers what it had acknowledged, unchanged', async () => {
    const subscriber = await stage.subscriber();
    const program = await stage.start(simple(subscriber.url, PAUSED));
    const ids = await sendMany(program, 100);
    // At once: what was answered 202 is on the disk.
    await end(program);
    program.write('main.yaml', simple(subscriber.url));
    await program.start();
    await untilAll(subscriber, ids);
    await program.idle();
    const arrived = subscriber.at('/all');
    expect(arrived.map(({ id }) => id).sort()).toEqual([...ids].sort());
    expect(arrived.every(({ id, body }) => String(body) === `data of ${id}`)).toBe(true);
  });

  test('still has its parked events, and counts them', async () => {
    const subscriber = await stage.subscriber();
    subscriber.on('/all', () => ({ status: 400 }));
    const program = await stage.start(simple(subscriber.url));
    const ids = await sendMany(program, 5);
    const parked = async () => program.metric('knear_lag', { state: 'parked' });
    // Ends are told after they are durable.
    await eventually(
      'the end of all',
      async () => (await program.metric('knear_ended_total', { end: 'parked' })) === ids.length,
    );
    await end(program);
    await program.start();
    expect(await parked()).toBe(ids.length);
    await program.idle();
    expect(subscriber.at('/all')).toHaveLength(ids.length);
  });

  test('leaves the data folder to the next one at once', async () => {
    const subscriber = await stage.subscriber();
    const program = await stage.start(simple(subscriber.url));
    await end(program);
    await program.start();
    await untilAll(subscriber, await sendMany(program, 1));
  });
});

describe('a second program with the same data folder', () => {
  test('ends with KNEAR_LOG_LOCKED and the id of the first, which goes on', async () => {
    const subscriber = await stage.subscriber();
    const first = await stage.start(simple(subscriber.url));
    const second = stage.program(simple(subscriber.url), { data: first.dataFolder });

    second.spawn();
    const { code } = await second.ended();

    expect(code).toBe(1);
    expect(second.output).toMatch(/^KNEAR_LOG_LOCKED: /m);
    expect(second.output).toMatch(new RegExp(`\\b${String(first.pid)}\\b`));
    expect(second.output).not.toContain('    at ');
    await untilAll(subscriber, await sendMany(first, 1));
  });
});

describe('SIGTERM', () => {
  /** The settles of the last quarter of a second are not on the disk yet; a few rounds, as moments differ. */
  const ROUNDS = 5;

  test('right after some events ends well, every time, and none of them comes again', async () => {
    const subscriber = await stage.subscriber();
    const program = stage.program(simple(subscriber.url));
    for (let round = 1; round <= ROUNDS; round += 1) {
      await program.start();
      const ids = await sendMany(program, 20);
      await eventually('these events', () => subscriber.at('/all').length >= round * ids.length);
      expect(await program.stop()).toEqual({ code: 0, signal: null });
      expect(program.output.match(/"msg":"stopped"/g)).toHaveLength(round);
    }
    await program.start();
    await program.idle();
    expect(subscriber.at('/all')).toHaveLength(ROUNDS * 20);
  });

  test('lets attempts in progress end, and they are not repeated', async () => {
    const subscriber = await stage.subscriber();
    subscriber.on('/all', () => ({ afterMs: 700 }));
    const program = await stage.start(simple(subscriber.url));
    await sendMany(program, 1);
    await untilAll(subscriber, ['e-0']);
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    expect(subscriber.inFlight).toBe(0);
    await program.start();
    await program.idle();
    expect(subscriber.at('/all')).toHaveLength(1);
  });

  test('ends the program after the drain time even if a subscriber hangs; its event comes again', async () => {
    const subscriber = await stage.subscriber();
    subscriber.on('/all', HANG);
    const program = await stage.start(simple(subscriber.url), { flags: ['--drain', 'PT1S'] });
    await sendMany(program, 1);
    await untilAll(subscriber, ['e-0']);

    const startMs = performance.now();
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    const tookMs = performance.now() - startMs;

    // The drain time and what closing takes beside it.
    expect(tookMs).toBeGreaterThanOrEqual(990);
    expect(tookMs).toBeLessThan(5_000);
    subscriber.on('/all', () => ({}));
    await program.start();
    await eventually('the event again', () => subscriber.at('/all').length === 2);
    await program.idle();
    expect(subscriber.at('/all')).toHaveLength(2);
  });
});
