/**
 * No room for large data: on a small file system in memory (which only root may have; skipped otherwise), and by a quota.
 * Large events are told to come back, large replies wait without being counted as attempts, small events go on, and with
 * room all is as before.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOfContent } from './content.ts';
import { eventually } from './eventually.ts';
import {
  eventOf,
  postHalf,
  postLarge,
  type LargePost,
  type LargeSubscriber,
} from './large-events.ts';
import { broker, trigger, yamlOf } from './manifests.ts';
import { payloadFilesOf } from './payload-files.ts';
import { binary, send, type Answered } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';

const MB = 1024 * 1024;
const DISK_MEGABYTES = 128;
/** Of it the log keeps a part free, and payloads as much again. */
const LOG_RESERVE_MEGABYTES = 16;
const FREE_MIN_MEGABYTES = 16;
const FLAGS = [
  ...['--log-reserve', `${String(LOG_RESERVE_MEGABYTES)}Mi`],
  ...['--claim-check-free-min', `${String(FREE_MIN_MEGABYTES)}Mi`],
];
/** Large data fits no more, what the log needs is there. */
const BETWEEN_BYTES = (LOG_RESERVE_MEGABYTES + FREE_MIN_MEGABYTES / 2) * MB;

const stage = openStage();
let large: LargeSubscriber;

beforeEach(async () => {
  large = await stage.largeSubscriber();
});

afterEach(() => stage.close());

/** A question gets a reply. Nothing is tried twice, so that what should wait and does not is in the sink. */
function resources({ isPaused = false } = {}): string {
  const annotations = isPaused ? { 'knear.dev/paused': 'true' } : {};
  const delivery = { retry: 0, deadLetterSink: { uri: `${large.url}/sink` } };
  const to = (path: string, type: string, more: object = {}) =>
    trigger(path, { filter: { type }, subscriber: `${large.url}/${path}`, delivery, ...more });
  return yamlOf(
    broker('main'),
    to('small', 'small'),
    to('large', 'large', { annotations }),
    to('question', 'question'),
    to('reply', 'reply'),
  );
}

const urlOf = (program: Program): string => `${program.url}/default/main`;

function expectComeBack({ status, headers, body }: Answered, code: string): void {
  expect({ status, ...JSON.parse(body) }).toMatchObject({ status: 503, code });
  expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1);
}

/**
 * A producer that still sends a second after its answer is cut off, and where this machine stands still for as long, before it
 * has heard it. Like any producer it sends again then.
 */
async function untilHeard(post: () => Promise<Answered>): Promise<Answered> {
  for (let again = 2; ; again -= 1) {
    try {
      return await post();
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (again === 0 || (code !== 'EPIPE' && code !== 'ECONNRESET')) throw error;
    }
  }
}

/** There is room: the program looks at the disk every quarter of a second. */
/** Who is refused in the middle of a body may see the end of the connection before the answer: it sends again. */
async function untilTaken(program: Program, event: LargePost): Promise<void> {
  await eventually('202', async () => {
    const answered = await postLarge(urlOf(program), event).catch(() => undefined);
    return answered?.status === 202;
  });
}

/** It is taken and delivered, whatever large events have to wait for. */
async function expectSmallFlows(program: Program, id: string): Promise<void> {
  const { status } = await send(urlOf(program), { id, type: 'small' });
  expect(status).toBe(202);
  await eventually(`${id} at /small`, () => large.at('/small').some((each) => each.id === id));
}

async function untilAt(path: string, name: string, sizeBytes: number): Promise<void> {
  const found = await eventually(
    `${name} at ${path}`,
    () => large.at(path).find(({ id, isComplete }) => id === name && isComplete),
    // A store that refuses is asked again every 10 s.
    { withinMs: 25_000, otherwise: () => large.at(path).map(({ id }) => id) },
  );
  expect(found).toMatchObject(digestOfContent(name, sizeBytes));
}

function untilSpooled(program: Program, sizeBytes: number): Promise<unknown> {
  return eventually(
    `${String(sizeBytes)} bytes in the spool`,
    async () => (await program.metric('knear_payload_spool_bytes')) >= sizeBytes,
  );
}

/** Asks for a reply that finds no room, while small events go on. */
async function expectReplyWaits(program: Program, code: string): Promise<void> {
  expect((await send(urlOf(program), { id: 'ask', type: 'question' })).status).toBe(202);
  const stalls = () => program.metric('knear_payload_stalls_total', { code });
  await eventually('a stall', async () => (await stalls()) > 0);
  await expectSmallFlows(program, 'beside');
  expect(large.at('/reply')).toEqual([]);
}

/** With room, it was there by the first attempt, as it is counted, however often the subscriber was asked. */
async function expectReplied(program: Program, sizeBytes: number): Promise<void> {
  await untilAt('/reply', 'reply', sizeBytes);
  await untilNothingIsLeft(program);
  expect(large.at('/question').length).toBeGreaterThan(1);
  const asked = { egress: 'trigger:question.default', phase: 'deliver' };
  expect(await program.metric('knear_attempts_total', asked)).toBe(1);
}

async function untilNothingIsLeft(program: Program): Promise<void> {
  await program.idle();
  await eventually('nothing left', () => payloadFilesOf(program).length === 0, {
    otherwise: () => payloadFilesOf(program),
  });
  expect(await program.metric('knear_payload_spool_bytes')).toBe(0);
  expect(large.at('/sink')).toEqual([]);
}

describe('a disk without room', () => {
  interface SmallDisk {
    readonly program: Program;
    /** Another program leaves so much free. */
    fill(freeBytes: number): void;
    makeRoom(): void;
  }

  /** `undefined`, with a word about it, where there is none to be had. */
  async function startOnSmallDisk(): Promise<SmallDisk | undefined> {
    const data = stage.disk(DISK_MEGABYTES);
    if (data === undefined) {
      console.warn('skipped: mounting a file system in memory needs root');
      return undefined;
    }
    const program = await stage.start(resources(), { data, flags: FLAGS });
    const ballast = join(data, 'ballast');
    const makeRoom = () => rmSync(ballast, { force: true });
    const fill = (freeBytes: number) => {
      const { bavail, bsize } = statfsSync(data);
      try {
        writeFileSync(ballast, Buffer.alloc(bavail * bsize - freeBytes), { flag: 'a' });
      } catch (error) {
        // Somebody else has taken of it meanwhile.
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    };
    return { program, fill, makeRoom };
  }

  test.each([
    {
      name: 'in chunks, larger than the disk',
      isChunked: true,
      sizeBytes: 2 * DISK_MEGABYTES * MB,
    },
    { name: 'of such a declared length', isChunked: false, sizeBytes: DISK_MEGABYTES * MB },
  ])('refuses a body $name, and small events flow', async ({ isChunked, sizeBytes }) => {
    const disk = await startOnSmallDisk();
    if (!disk) return;
    const { program } = disk;
    const tooMuch = { ...eventOf({ name: 'too-much', sizeBytes }), isChunked };
    const answered = await untilHeard(() => postLarge(urlOf(program), tooMuch));
    expectComeBack(answered, 'KNEAR_PAYLOAD_STORE_FULL');
    await expectSmallFlows(program, 'after');
    await untilNothingIsLeft(program);
    await untilTaken(program, eventOf({ name: 'fits', sizeBytes: 20 * MB }));
    await untilAt('/large', 'fits', 20 * MB);
    await untilNothingIsLeft(program);
    expect(large.at('/large').map(({ id }) => id)).toEqual(['fits']);
  });

  test.each([
    { name: 'below what payloads leave free', freeBytes: BETWEEN_BYTES },
    { name: 'to the last byte', freeBytes: 0 },
  ])(
    'that somebody fills $name in the middle of a body refuses it, and takes it again with room',
    async (given) => {
      const disk = await startOnSmallDisk();
      if (!disk) return;
      const { program, fill, makeRoom } = disk;
      const event = eventOf({ name: 'halved', sizeBytes: 40 * MB });
      const half = await postHalf(urlOf(program), event);
      await untilSpooled(program, event.content.sizeBytes / 2);
      fill(given.freeBytes);
      const answer = await half.complete();
      expect(answer).toMatch(/^HTTP\/1\.1 503 /);
      expect(answer).toContain('KNEAR_PAYLOAD_STORE_FULL');
      if (given.freeBytes > 0) await expectSmallFlows(program, 'beside');
      await eventually('nothing left', () => payloadFilesOf(program).length === 0);
      makeRoom();
      await untilTaken(program, event);
      await untilAt('/large', 'halved', 40 * MB);
      await expectSmallFlows(program, 'after');
      await untilNothingIsLeft(program);
      expect(large.at('/large').map(({ id }) => id)).toEqual(['halved']);
    },
  );

  test('that is filled in the middle of a large reply makes it wait, which is no attempt, until there is room', async () => {
    const disk = await startOnSmallDisk();
    if (!disk) return;
    const { program, fill, makeRoom } = disk;
    const content = { name: 'reply', sizeBytes: 20 * MB };
    const halfway = async () => {
      if (large.at('/question').length > 1) return;
      await untilSpooled(program, content.sizeBytes / 2);
      fill(BETWEEN_BYTES);
    };
    const headers = binary({ id: 'reply', type: 'reply' });
    large.on('/question', { status: 200, headers, content, halfway });
    await expectReplyWaits(program, 'KNEAR_PAYLOAD_STORE_FULL');
    makeRoom();
    await expectReplied(program, content.sizeBytes);
  });
});

describe('a namespace that has used up its quota', () => {
  const QUOTA_FLAGS = ['--event-max', '8Mi', '--claim-check-quota', '8Mi'];
  const CODE = 'KNEAR_PAYLOAD_QUOTA';

  /** The Trigger of large events delivers nothing, and one of them takes most of the quota. */
  async function startFull(): Promise<Program> {
    const program = await stage.start(resources({ isPaused: true }), { flags: QUOTA_FLAGS });
    const first = eventOf({ name: 'first', sizeBytes: 6 * MB });
    expect((await postLarge(urlOf(program), first)).status).toBe(202);
    return program;
  }

  test.each([
    { name: 'declared', isChunked: false },
    { name: 'in chunks', isChunked: true },
  ])(
    'is told so for a body $name, small events flow, and deliveries make room',
    async (framing) => {
      const program = await startFull();
      const second = { ...eventOf({ name: 'second', sizeBytes: 3 * MB }), ...framing };
      expectComeBack(await postLarge(urlOf(program), second), CODE);
      await expectSmallFlows(program, 'beside');
      expect(payloadFilesOf(program)).toHaveLength(1);
      program.write('main.yaml', resources());
      await untilAt('/large', 'first', 6 * MB);
      await untilTaken(program, second);
      await untilAt('/large', 'second', 3 * MB);
      await untilNothingIsLeft(program);
    },
  );

  test('makes a large reply wait, which is no attempt, until deliveries have made room', async () => {
    const program = await startFull();
    const content = { name: 'reply', sizeBytes: 3 * MB };
    const headers = binary({ id: 'reply', type: 'reply' });
    large.on('/question', { status: 200, headers, content });
    await expectReplyWaits(program, CODE);
    program.write('main.yaml', resources());
    await expectReplied(program, content.sizeBytes);
  });
});
