/**
 * A disk that fills up, as a small file system in memory (which only root may have; skipped otherwise). Whatever fills it,
 * producers are told to come back, deliveries go on, nothing acknowledged is lost, and with room all is as before.
 */
import { afterEach, expect, test } from '@jest/globals';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { broker, trigger, yamlOf } from './manifests.ts';
import { send, type Answered } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';
import type { Subscriber } from './subscriber.ts';

const stage = openStage();

afterEach(() => stage.close());

const DISK_MEGABYTES = 64;
/** The program looks at the disk every quarter of a second: far more than one producer sends in that time. */
const RESERVE_MEGABYTES = 32;
/** Some hundred of these fill the disk. */
const BODY = Buffer.alloc(60_000, 'x');
/** More than fit on the disk many times over. */
const EVENTS_MAX = 2_000;

const FLAGS = ['--log-reserve', `${String(RESERVE_MEGABYTES)}Mi`];

function resources(url: string, isPaused: boolean): string {
  const annotations = isPaused ? { 'knear.dev/paused': 'true' } : {};
  return yamlOf(broker('main'), trigger('all', { subscriber: `${url}/all`, annotations }));
}

/** A program whose data is on a small disk; `undefined`, with a word about it, where there is none to be had. */
async function startOnSmallDisk(subscriber: Subscriber) {
  const data = stage.disk(DISK_MEGABYTES);
  if (data === undefined) {
    console.warn('skipped: mounting a file system in memory needs root');
    return undefined;
  }
  const program = await stage.start(resources(subscriber.url, true), { data, flags: FLAGS });
  return { program, data };
}

async function sendNumber(program: Program, number: number): Promise<Answered> {
  return send(`${program.url}/default/main`, { id: `e-${String(number)}`, type: 't' }, BODY);
}

/** Sends until it is refused: how many were taken, and the refusal. */
async function fill(program: Program): Promise<{ taken: number; refusal: Answered }> {
  for (let taken = 0; taken < EVENTS_MAX; taken += 1) {
    const answer = await sendNumber(program, taken);
    if (answer.status !== 202) return { taken, refusal: answer };
  }
  throw new Error(`${String(EVENTS_MAX)} events were taken by a disk that cannot hold them`);
}

function expectComeBack({ status, headers, body }: Answered): void {
  expect(status).toBe(503);
  expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1);
  expect(JSON.parse(body)).toMatchObject({
    code: expect.stringMatching(/^KNEAR_LOG_(FULL|FAILED)$/),
    detail: expect.any(String),
  });
}

interface Arrival {
  readonly program: Program;
  readonly subscriber: Subscriber;
}

async function untilArrived({ program, subscriber }: Arrival, count: number): Promise<void> {
  await eventually(
    'every event that was taken',
    () => {
      if (program.exit) throw new Error(`it ended: ${program.output.slice(-1_000)}`);
      return new Set(subscriber.at('/all').map(({ id }) => id)).size >= count;
    },
    { otherwise: () => [subscriber.at('/all').length, count] },
  );
  const arrived = new Set(subscriber.at('/all').map(({ id }) => id));
  for (let number = 0; number < count; number += 1)
    expect(arrived).toContain(`e-${String(number)}`);
  expect(subscriber.at('/all').every(({ body }) => body.equals(BODY))).toBe(true);
}

test('a disk that the log has filled: 503 with a code, not ready, and room is left to deliver all of it', async () => {
  const subscriber = await stage.subscriber();
  const started = await startOnSmallDisk(subscriber);
  if (!started) return;
  const { program, data } = started;

  const { taken, refusal } = await fill(program);
  expectComeBack(refusal);
  expect(JSON.parse(refusal.body)).toMatchObject({ code: 'KNEAR_LOG_FULL' });
  const ready = await program.get('/readyz');
  expect(ready.status).toBe(503);
  expect(await ready.text()).toContain('KNEAR_LOG_FULL');
  expect((await program.get('/healthz')).status).toBe(200);
  const { bavail, bsize } = statfsSync(data);
  // What it had read before it looked at the disk again came on top.
  expect(bavail * bsize).toBeGreaterThan((RESERVE_MEGABYTES / 2) * 2 ** 20);

  program.write('main.yaml', resources(subscriber.url, false));
  await untilArrived({ program, subscriber }, taken);
});

test('a log that was full takes events again when its events are delivered, though its file stays as large', async () => {
  const subscriber = await stage.subscriber();
  const started = await startOnSmallDisk(subscriber);
  if (!started) return;
  const { program } = started;
  const { taken } = await fill(program);
  program.write('main.yaml', resources(subscriber.url, false));
  await untilArrived({ program, subscriber }, taken);
  await program.idle();
  await eventually('202', async () => (await sendNumber(program, taken)).status === 202);
  await untilArrived({ program, subscriber }, taken + 1);
});

test('a disk that another program has filled: 503, deliveries go on, and all is well again when there is room', async () => {
  const subscriber = await stage.subscriber();
  const started = await startOnSmallDisk(subscriber);
  if (!started) return;
  const { program, data } = started;
  let taken = 0;
  for (; taken < 20; taken += 1) expect((await sendNumber(program, taken)).status).toBe(202);

  const ballast = join(data, 'ballast');
  fillWith(ballast);
  // What was found free may be a moment old, so it may find out by a commit that fails.
  const refusal = await eventually(
    'a refusal',
    async () => {
      const answer = await sendNumber(program, taken);
      if (answer.status === 202) taken += 1;
      return answer.status === 202 ? undefined : answer;
    },
    { withinMs: 5_000 },
  );
  expectComeBack(refusal);
  program.write('main.yaml', resources(subscriber.url, false));
  await untilArrived({ program, subscriber }, taken);

  rmSync(ballast);
  await eventually('202', async () => (await sendNumber(program, taken)).status === 202);
  await untilArrived({ program, subscriber }, taken + 1);
  await eventually('ready', async () => (await program.get('/readyz')).status === 200);
});

test('a kill while the disk is full loses nothing that was acknowledged', async () => {
  const subscriber = await stage.subscriber();
  const started = await startOnSmallDisk(subscriber);
  if (!started) return;
  const { program, data } = started;
  const { taken } = await fill(program);
  fillWith(join(data, 'ballast'));
  // In the middle of a commit that may fail.
  void sendNumber(program, taken).catch(() => undefined);
  await program.crash();
  program.write('main.yaml', resources(subscriber.url, false));
  rmSync(join(data, 'ballast'));
  // Not ready, because it is still full, but at work.
  const run = program.spawn();
  await eventually('the banner', () => run.adminUrl);
  await untilArrived({ program, subscriber }, taken);
});

/** Writes until there is no byte left. */
function fillWith(path: string): void {
  const megabyte = Buffer.alloc(2 ** 20);
  for (const part of [megabyte, megabyte.subarray(0, 4_096)]) {
    try {
      for (;;) writeFileSync(path, part, { flag: 'a' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
}
