/**
 * Large events whose tickets are in JetStream and whose data is in the folder of knear: whole on each way that an event can go,
 * and after knear and the server were killed.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openNats, type Nats } from '../../servers/nats.ts';
import { digestOfContent } from '../content.ts';
import { jetStream } from '../engine.ts';
import { eventually } from '../eventually.ts';
import {
  eventOf,
  postLarge,
  type Content,
  type LargeReceived,
  type LargeSubscriber,
} from '../large-events.ts';
import { broker, brokerRef, channel, subscription, trigger, yamlOf } from '../manifests.ts';
import { binary } from '../producer.ts';
import type { Program } from '../program.ts';
import { openStage } from '../stage.ts';

const KB = 1024;
const MB = 1024 * KB;

let server: Nats;
const stage = openStage({ engine: jetStream(() => server) });
let program: Program;
let large: LargeSubscriber;

function resources({ isPaused = true } = {}): string {
  const { url } = large;
  const annotations = isPaused ? { 'knear.dev/paused': 'true' } : {};
  const held = { broker: 'held', subscriber: `${url}/held` };
  const dead = { retry: 0, deadLetterSink: { uri: `${url}/dead` } };
  return yamlOf(
    broker('main'),
    trigger('all', { subscriber: `${url}/all` }),
    broker('held'),
    trigger('held', { ...held, annotations }),
    broker('failing'),
    trigger('failing', { broker: 'failing', subscriber: `${url}/failing`, delivery: dead }),
    broker('parking'),
    trigger('parking', {
      broker: 'parking',
      subscriber: `${url}/parking`,
      delivery: { retry: 0 },
    }),
    broker('answers'),
    trigger('answers', { broker: 'answers', subscriber: `${url}/answers` }),
    channel('asks'),
    subscription('asks', {
      channel: 'asks',
      subscriber: `${url}/asks`,
      reply: brokerRef('answers'),
    }),
  );
}

beforeAll(async () => {
  server = await openNats();
  large = await stage.largeSubscriber();
  program = await stage.start(resources());
});

afterAll(async () => {
  await stage.close();
  await server.close();
});

async function sendTo(path: string, content: Content): Promise<void> {
  const { status } = await postLarge(`${program.url}/default/${path}`, eventOf(content));
  expect(status).toBe(202);
}

function arrived(path: string, id: string): Promise<LargeReceived> {
  return eventually(`${id} at ${path}`, () => large.at(path).find((each) => each.id === id), {
    withinMs: 25_000,
    otherwise: () => large.at(path).map((each) => each.id),
  });
}

function expectWhole(received: LargeReceived, { name, sizeBytes }: Content): void {
  expect(received).toMatchObject({ ...digestOfContent(name, sizeBytes), isComplete: true });
}

test.each([
  { size: '1 KB', sizeBytes: KB },
  // Half of what a message of this server may be, which is where a record ends.
  { size: '480 KB', sizeBytes: 480 * KB },
  { size: '480 KB and a byte', sizeBytes: 480 * KB + 1 },
  { size: '1 MB', sizeBytes: MB },
  { size: '40 MB', sizeBytes: 40 * MB },
])('an event of $size arrives whole', async ({ size, sizeBytes }) => {
  const content = { name: encodeURIComponent(size), sizeBytes };
  await sendTo('main', content);
  expectWhole(await arrived('/all', content.name), content);
});

test('so do a dead letter, a reply, and what was parked and is replayed', async () => {
  const [failing, asks, answer, parking] = ['failing', 'asks', 'answer', 'parking'].map(
    (name, index) => ({ name, sizeBytes: (2 + index) * MB }),
  ) as [Content, Content, Content, Content];
  large.on('/failing', { status: 400 });
  large.on('/asks', {
    status: 200,
    headers: binary({ id: answer.name, type: 'answer' }),
    content: answer,
  });
  large.on('/parking', { status: 400 });

  await sendTo('failing', failing);
  await sendTo('channels/asks', asks);
  await sendTo('parking', parking);

  expectWhole(await arrived('/dead', failing.name), failing);
  expectWhole(await arrived('/asks', asks.name), asks);
  expectWhole(await arrived('/answers', answer.name), answer);
  await eventually(
    'parked',
    async () => (await program.metric('knear_lag', { state: 'parked' })) === 1,
  );
  large.on('/parking', { status: 202 });
  const replayed = await program.command('parked', 'replay', 'trigger', 'parking', '--all');
  expect(replayed).toMatchObject({ code: 0, stderr: '' });
  await eventually('the replayed one', () => large.at('/parking').length === 2);
  for (const received of large.at('/parking')) expectWhole(received, parking);
});

test('and what waited while both were killed', async () => {
  const contents = [2, 9, 16].map((size) => ({ name: `w-${String(size)}`, sizeBytes: size * MB }));
  for (const content of contents) await sendTo('held', content);
  await Promise.all([program.crash(), server.kill()]);
  await server.restart();
  await program.start();
  await program.change(() => program.write('main.yaml', resources({ isPaused: false })));
  for (const content of contents) expectWhole(await arrived('/held', content.name), content);
  await program.idle();
  for (const { name } of contents) {
    expect(large.at('/held').filter(({ id }) => id === name)).toHaveLength(1);
  }
});
