/**
 * Large events through the whole program, from 1 KB to 100 MB: they arrive whole on every way that an event can go, and in
 * the end nothing of them is left. Producers and subscribers hold no data; sizes and digests are compared.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { contentOf, digestOfContent } from './content.ts';
import { eventually } from './eventually.ts';
import {
  eventOf,
  postHalf,
  postLarge,
  type Content,
  type LargeReceived,
  type LargeSubscriber,
} from './large-events.ts';
import {
  broker,
  brokerRef,
  channel,
  channelRef,
  subscription,
  trigger,
  yamlOf,
} from './manifests.ts';
import { payloadFilesOf } from './payload-files.ts';
import { binary, post } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';
import type { Subscriber } from './subscriber.ts';

const KB = 1024;
const MB = 1024 * KB;

const stage = openStage();
let program: Program;
let large: LargeSubscriber;
/** Holds what it gets, for what has to be parsed. */
let holding: Subscriber;

/** One Broker a topic, in a namespace of its own. */
function resources(): string {
  const inAll = (namespace: string) => ({ namespace });
  const { url } = large;
  const toSink = (path: string) => ({ deadLetterSink: { uri: url + path }, retry: 0 });
  return yamlOf(
    broker('main', inAll('plain')),
    trigger('one', { namespace: 'plain', subscriber: `${url}/plain/one` }),
    trigger('two', { namespace: 'plain', subscriber: `${url}/plain/two` }),

    broker('main', inAll('formats')),
    trigger('binary', { namespace: 'formats', subscriber: `${holding.url}/formats/binary` }),
    trigger('json', {
      namespace: 'formats',
      subscriber: `${holding.url}/formats/json`,
      delivery: { format: 'json' },
    }),

    broker('main', inAll('chain')),
    trigger('first', {
      namespace: 'chain',
      filter: { type: 'question' },
      subscriber: channelRef('step-1'),
    }),
    channel('step-1', inAll('chain')),
    subscription('step-1', {
      namespace: 'chain',
      channel: 'step-1',
      subscriber: `${url}/chain/step-1`,
      reply: channelRef('step-2'),
    }),
    channel('step-2', inAll('chain')),
    subscription('step-2', {
      namespace: 'chain',
      channel: 'step-2',
      subscriber: `${url}/chain/step-2`,
      reply: brokerRef('main'),
    }),
    trigger('last', {
      namespace: 'chain',
      filter: { type: 'answer' },
      subscriber: `${url}/chain/result`,
    }),

    broker('main', inAll('dead')),
    trigger('whole', {
      namespace: 'dead',
      subscriber: `${url}/dead/whole`,
      delivery: toSink('/dead/whole-sink'),
    }),
    trigger('early', {
      namespace: 'dead',
      subscriber: `${url}/dead/early`,
      delivery: toSink('/dead/early-sink'),
    }),

    broker('main', inAll('gone')),
    trigger('gone', { namespace: 'gone', subscriber: `${url}/gone` }),
  );
}

beforeAll(async () => {
  large = await stage.largeSubscriber();
  holding = await stage.subscriber();
  program = await stage.start(resources());
});

afterAll(() => stage.close());

/** The first that came to the path under this id. */
function arrived(path: string, id: string): Promise<LargeReceived> {
  return eventually(`${id} at ${path}`, () => large.at(path).find((each) => each.id === id), {
    withinMs: 30_000,
    otherwise: () => large.at(path).map((each) => each.id),
  });
}

function expectWhole(received: LargeReceived, { name, sizeBytes }: Content): void {
  expect(received).toMatchObject({ ...digestOfContent(name, sizeBytes), isComplete: true });
  // K32
  expect(received.headers).toMatchObject({ 'content-length': String(sizeBytes) });
  expect(received.headers).not.toHaveProperty('transfer-encoding');
}

async function untilNothingIsLeft(): Promise<void> {
  await program.idle(30_000);
  await eventually('nothing left', () => payloadFilesOf(program).length === 0, {
    otherwise: () => payloadFilesOf(program),
  });
  for (const what of ['live_bytes', 'live_objects', 'spool_bytes', 'uploads_in_flight']) {
    await eventually(
      `no ${what}`,
      async () => (await program.metric(`knear_payload_${what}`)) === 0,
    );
  }
}

describe('an event in binary mode arrives whole at each Trigger (K8)', () => {
  const SIZES = [
    { size: '1 KB', sizeBytes: KB },
    { size: '64 KB', sizeBytes: 64 * KB },
    { size: '1 MB without room for attributes', sizeBytes: MB },
    { size: '1 MB and a byte', sizeBytes: MB + 1 },
    { size: '16 MB', sizeBytes: 16 * MB },
    { size: '100 MB', sizeBytes: 100 * MB },
  ];
  const FRAMINGS = [
    { framing: 'a declared length', isChunked: false },
    { framing: 'chunks', isChunked: true },
  ];

  test.each(SIZES.flatMap((size) => FRAMINGS.map((framing) => ({ ...size, ...framing }))))(
    '$size, sent with $framing',
    async ({ size, sizeBytes, framing, isChunked }) => {
      const content = { name: encodeURIComponent(`${size} ${framing}`), sizeBytes };
      const claimsBefore = await program.metric('knear_payload_claims_total');
      const { status } = await postLarge(`${program.url}/plain/main`, {
        ...eventOf(content),
        isChunked,
      });
      expect(status).toBe(202);
      expectWhole(await arrived('/plain/one', content.name), content);
      expectWhole(await arrived('/plain/two', content.name), content);
      const claims = (await program.metric('knear_payload_claims_total')) - claimsBefore;
      expect(claims).toBe(sizeBytes < MB ? 0 : 1);
    },
    60_000,
  );
});

describe('an event of 5 MB arrives with the same value in each format, sent as', () => {
  const noise = contentOf('formats', 5 * MB);
  const json = { text: `ü € "\\ ${noise.toString('base64')}`, number: 1e-7, none: null };
  const head = { specversion: '1.0', source: '/e2e', type: 'format', count: 7 };
  const structured = { 'content-type': 'application/cloudevents+json' };

  const arrivedAt = (path: string, id: string) =>
    eventually(`${id} at ${path}`, () => holding.at(path).find((each) => each.id === id), {
      withinMs: 20_000,
    });

  test.each([
    { name: 'binary, with JSON', id: 'json-binary', isStructured: false },
    { name: 'structured, with data', id: 'json-structured', isStructured: true },
  ])('$name', async ({ id, isStructured }) => {
    const { status } = await post(`${program.url}/formats/main`, {
      headers: isStructured
        ? structured
        : { ...binary({ id, type: 'format', count: '7' }), 'content-type': 'application/json' },
      body: JSON.stringify(
        isStructured ? { ...head, id, datacontenttype: 'application/json', data: json } : json,
      ),
    });
    expect(status).toBe(202);
    const inBinary = await arrivedAt('/formats/binary', id);
    expect(inBinary.headers).toMatchObject({ 'ce-count': '7', 'content-type': 'application/json' });
    // Far too long to be printed if it differs.
    expect(inBinary.body.equals(Buffer.from(JSON.stringify(json)))).toBe(true);
    const { data, ...rest } = readJson(await arrivedAt('/formats/json', id));
    expect(rest).toMatchObject({ id, type: 'format', datacontenttype: 'application/json' });
    expect(JSON.stringify(data) === JSON.stringify(json)).toBe(true);
  });

  test.each([
    { name: 'binary, with bytes', id: 'bytes-binary', isStructured: false },
    { name: 'structured, with data_base64', id: 'bytes-structured', isStructured: true },
  ])('$name', async ({ id, isStructured }) => {
    const type = 'application/x-noise';
    const base64 = noise.toString('base64');
    const { status } = await post(`${program.url}/formats/main`, {
      headers: isStructured
        ? structured
        : { ...binary({ id, type: 'format' }), 'content-type': type },
      body: isStructured
        ? JSON.stringify({ ...head, id, datacontenttype: type, data_base64: base64 })
        : noise,
    });
    expect(status).toBe(202);
    const inBinary = await arrivedAt('/formats/binary', id);
    expect(inBinary.headers).toMatchObject({ 'content-type': type });
    expect(inBinary.body.equals(noise)).toBe(true);
    const { data_base64: found, ...rest } = readJson(await arrivedAt('/formats/json', id));
    expect(rest).toMatchObject({ id, type: 'format', datacontenttype: type });
    expect(found === base64).toBe(true);
  });

  function readJson({ headers, body }: { headers: object; body: Buffer }) {
    expect(headers).toMatchObject({
      'content-type': expect.stringMatching(/^application\/cloudevents\+json/),
      'content-length': String(body.length),
    });
    // What the program sends as a structured event is one, or the test fails.
    return JSON.parse(body.toString()) as Record<string, unknown>;
  }
});

test('large replies go from channel to channel, and back to the Broker (K39)', async () => {
  const contents = { question: 2 * MB, 'step-1': 9 * MB, 'step-2': 20 * MB };
  const content = (name: keyof typeof contents) => ({ name, sizeBytes: contents[name] });
  for (const step of ['step-1', 'step-2'] as const) {
    const headers = binary({ id: step, type: step === 'step-2' ? 'answer' : 'between' });
    large.on(`/chain/${step}`, { status: 200, headers, content: content(step) });
  }
  const question = eventOf(content('question'), 'question');
  expect((await postLarge(`${program.url}/chain/main`, question)).status).toBe(202);
  expectWhole(await arrived('/chain/step-1', 'question'), content('question'));
  expectWhole(await arrived('/chain/step-2', 'step-1'), content('step-1'));
  expectWhole(await arrived('/chain/result', 'step-2'), content('step-2'));
});

test('the dead letter sink gets all of a large event, also of one that its subscriber refused unread (K34, K40)', async () => {
  const content = { name: 'refused', sizeBytes: 10 * MB };
  large.on('/dead/whole', { status: 400 });
  large.onHead('/dead/early', { status: 413 });
  expect((await postLarge(`${program.url}/dead/main`, eventOf(content))).status).toBe(202);
  for (const [path, code] of [
    ['/dead/whole', '400'],
    ['/dead/early', '413'],
  ] as const) {
    const dead = await arrived(`${path}-sink`, content.name);
    expectWhole(dead, content);
    expect(dead.headers).toMatchObject({
      'ce-knativeerrorcode': code,
      'ce-knativeerrordest': large.url + path,
    });
    expect(dead.headers).not.toHaveProperty('ce-knearerror');
  }
});

test.each([
  { name: 'declared', isChunked: false },
  { name: 'in chunks', isChunked: true },
])(
  'a producer that goes in the middle of a body, $name, leaves nothing (K13)',
  async ({ name, isChunked }) => {
    const content = { name: encodeURIComponent(`gone ${name}`), sizeBytes: 8 * MB };
    const url = `${program.url}/gone/main`;
    const half = await postHalf(url, { ...eventOf(content), isChunked });
    await eventually(
      'half of it in the spool',
      async () => (await program.metric('knear_payload_spool_bytes')) >= 3 * MB,
    );
    half.breakOff();
    const left = () => payloadFilesOf(program).filter((file) => /^(_tmp|gone)\//.test(file));
    await eventually('nothing left', () => left().length === 0, { otherwise: left });
    expect(await program.metric('knear_payload_spool_bytes')).toBe(0);
    expect(await program.metric('knear_payload_uploads_in_flight')).toBe(0);
    // The same producer, come back.
    expect((await postLarge(url, { ...eventOf(content), isChunked })).status).toBe(202);
    expectWhole(await arrived('/gone', content.name), content);
    expect(large.at('/gone').filter(({ id }) => id === content.name)).toHaveLength(1);
  },
);

test('nothing of all this is left, in memory or on the disk, and none of it was a fault', async () => {
  await untilNothingIsLeft();
  expect(program.complaints).toEqual([]);
});
