/**
 * Large events that wait: in the log, parked, while the program is stopped or killed, and while somebody meddles with the
 * folder of their payloads or with the limits of their Broker.
 */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOfContent } from './content.ts';
import { eventually } from './eventually.ts';
import { eventOf, postHalf, postLarge, type LargeSubscriber } from './large-events.ts';
import { broker, configMap, trigger, yamlOf } from './manifests.ts';
import { payloadFilesOf } from './payload-files.ts';
import { send } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';

const MB = 1024 * 1024;

const stage = openStage();
let large: LargeSubscriber;

beforeEach(async () => {
  large = await stage.largeSubscriber();
});

afterEach(() => stage.close());

/** A Broker with one Trigger, which delivers nothing while it is paused. */
function resources({ isPaused }: { readonly isPaused: boolean }): string {
  const annotations = isPaused ? { 'knear.dev/paused': 'true' } : {};
  const delivery = { retry: 0, deadLetterSink: { uri: `${large.url}/sink` } };
  const subscriber = `${large.url}/all`;
  return yamlOf(broker('main'), trigger('all', { subscriber, annotations, delivery }));
}

async function sendLarge(program: Program, name: string, sizeBytes: number): Promise<void> {
  const answer = await postLarge(`${program.url}/default/main`, eventOf({ name, sizeBytes }));
  expect(answer).toMatchObject({ status: 202 });
}

async function untilAt(path: string, count: number) {
  return eventually(
    `${String(count)} at ${path}`,
    () => large.at(path).length >= count && large.at(path),
    { withinMs: 20_000, otherwise: () => large.at(path).map(({ id }) => id) },
  );
}

async function untilNothingIsLeft(program: Program): Promise<void> {
  await program.idle();
  await eventually('nothing left', () => payloadFilesOf(program).length === 0, {
    otherwise: () => payloadFilesOf(program),
  });
  await eventually(
    'nothing counted',
    async () => (await program.metric('knear_payload_live_bytes')) === 0,
  );
}

test.each([
  // A graceful end waits for producers, so this one has gone before.
  { how: 'SIGTERM', isProducerGone: true, end: (program: Program) => program.stop() },
  { how: 'SIGKILL', isProducerGone: false, end: (program: Program) => program.crash() },
])('large events that wait are there after $how, and what was on its way is not', async (given) => {
  const program = await stage.start(resources({ isPaused: true }), {
    flags: ['--drain', 'PT0S'],
  });
  const sizes = { one: 16 * MB, two: 2 * MB, three: 2_000_000 };
  for (const [name, sizeBytes] of Object.entries(sizes)) await sendLarge(program, name, sizeBytes);
  const half = await postHalf(
    `${program.url}/default/main`,
    eventOf({ name: 'half', sizeBytes: 4 * MB }),
  );
  await eventually('an upload', () => payloadFilesOf(program).length === 4);
  if (given.isProducerGone) half.breakOff();
  await given.end(program);
  await program.start();

  await eventually('three payloads', () => payloadFilesOf(program).length === 3, {
    otherwise: () => payloadFilesOf(program),
  });
  const liveBytes = Object.values(sizes).reduce((sum, sizeBytes) => sum + sizeBytes);
  expect(await program.metric('knear_payload_live_bytes')).toBe(liveBytes);
  program.write('main.yaml', resources({ isPaused: false }));
  await untilAt('/all', 3);
  await untilNothingIsLeft(program);
  const arrived = large.at('/all').map(({ id, sizeBytes, sha256 }) => ({ id, sizeBytes, sha256 }));
  expect(arrived.toSorted((a, b) => b.sizeBytes - a.sizeBytes)).toEqual(
    Object.entries(sizes).map(([id, sizeBytes]) => ({ id, ...digestOfContent(id, sizeBytes) })),
  );
  expect(program.complaints).toEqual([]);
});

test('a large event that was parked is listed and replayed, whole, by command and after a restart', async () => {
  large.on('/all', { status: 400 });
  const { url } = large;
  const program = await stage.start(
    yamlOf(broker('main'), trigger('all', { subscriber: `${url}/all`, delivery: { retry: 0 } })),
  );
  await sendLarge(program, 'parked', 10 * MB);
  const parked = () => program.metric('knear_lag', { state: 'parked' });
  await eventually('parked', async () => (await parked()) === 1);
  await program.crash();
  await program.start();
  const digest = digestOfContent('parked', 10 * MB);
  const listed = await program.command('payload', 'list', '--output', 'json');
  expect(JSON.parse(listed.stdout)).toMatchObject([
    { ...digest, namespace: 'default', records: 1 },
  ]);

  large.on('/all', { status: 202 });
  const replayed = await program.command('parked', 'replay', 'trigger', 'all', '--all');
  expect(replayed).toMatchObject({ code: 0, stdout: expect.stringContaining('1 parked event') });
  await untilAt('/all', 2);
  await untilNothingIsLeft(program);
  // What the kill made forget is tried again before it is parked: each time it came whole.
  for (const received of large.at('/all')) expect(received).toMatchObject(digest);
  expect(await parked()).toBe(0);
});

/** Larger than what is kept in memory, and each of another size, by which its file is found. */
const HURT = [
  {
    id: 'removed',
    sizeBytes: 9 * MB + 1,
    code: 'KNEAR_PAYLOAD_MISSING',
    meddle: (file: string) => rmSync(file),
  },
  {
    id: 'altered-in-one-bit',
    sizeBytes: 9 * MB + 2,
    code: 'KNEAR_PAYLOAD_CORRUPT',
    meddle: (file: string) => {
      const bytes = readFileSync(file);
      bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
      writeFileSync(file, bytes);
    },
  },
  {
    id: 'cut-off',
    sizeBytes: 9 * MB + 3,
    code: 'KNEAR_PAYLOAD_CORRUPT',
    meddle: (file: string) => truncateSync(file, 9 * MB),
  },
];

test('an event whose payload was removed or altered goes to the dead letter sink without data, and nobody ever has it whole (K30, K37)', async () => {
  const program = await stage.start(resources({ isPaused: true }));
  for (const { id, sizeBytes } of HURT) await sendLarge(program, id, sizeBytes);
  await sendLarge(program, 'sound', 9 * MB);
  const files = payloadFilesOf(program).map((each) => join(program.dataFolder, 'payloads', each));
  const bySize = new Map(files.map((file) => [statSync(file).size, file]));
  for (const { sizeBytes, meddle } of HURT) meddle(bySize.get(sizeBytes) ?? '');
  program.write('main.yaml', resources({ isPaused: false }));

  const dead = await untilAt('/sink', HURT.length);
  for (const { id, sizeBytes, code } of HURT) {
    const one = dead.find((each) => each.id === id);
    expect(one).toMatchObject({ sizeBytes: 0, isComplete: true });
    expect(one?.headers).toMatchObject({
      'ce-type': 'large',
      'content-type': 'application/x-noise',
      'ce-knearerror': code,
      'ce-knearsize': String(sizeBytes),
      'ce-knearsha256': digestOfContent(id, sizeBytes).sha256,
    });
    expect(program.complaints.join()).toContain(code);
  }
  await eventually('the other one', () => large.at('/all').some(({ id }) => id === 'sound'));
  await untilNothingIsLeft(program);
  const whole = large.at('/all').filter(({ isComplete }) => isComplete);
  expect(whole).toMatchObject([{ id: 'sound', ...digestOfContent('sound', 9 * MB) }]);
  expect(large.at('/sink')).toHaveLength(HURT.length);
});

test('a Broker whose ConfigMap has a wrong limit takes no events until it is right, and then keeps to it', async () => {
  const brokerWith = (eventMax: string) =>
    yamlOf(
      configMap('files', { 'claimCheck.eventMax': eventMax }),
      broker('main', { config: 'files' }),
      trigger('all', { subscriber: `${large.url}/all` }),
    );
  const program = await stage.start(brokerWith('2 apples'));
  const url = `${program.url}/default/main`;
  const refused = await send(url, { id: 'early', type: 'small' });
  expect(refused.status).toBe(404);
  expect(JSON.parse(refused.body)).toMatchObject({ code: 'KNEAR_INGRESS_UNKNOWN' });
  const status = (await program.statuses()).find(({ resourceId }) => /^Broker/.test(resourceId));
  expect(status).toMatchObject({ isReady: false, reason: 'ConfigInvalid' });
  expect(status?.message).toContain('claimCheck.eventMax');

  await program.change(() => program.write('main.yaml', brokerWith('2Mi')));
  await sendLarge(program, 'fits', 2 * MB);
  const tooLarge = await postLarge(url, eventOf({ name: 'too-large', sizeBytes: 2 * MB + 1 }));
  expect(tooLarge.status).toBe(413);
  expect(JSON.parse(tooLarge.body)).toMatchObject({ code: 'KNEAR_EVENT_TOO_LARGE' });
  const [one] = await untilAt('/all', 1);
  expect(one).toMatchObject({ id: 'fits', ...digestOfContent('fits', 2 * MB) });
});
