/**
 * Goal: a subscriber cannot tell whether its event travelled with its data or with a ticket for it, and a slow one costs no
 * memory. Method: real sockets, real files; only time is not real, where it matters.
 */
import { afterEach, describe, expect, test } from '@jest/globals';
import type net from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { withAttributes } from '../../core/event.ts';
import type { Outcome } from '../../core/ports/deliverer.ts';
import { openedBelow } from '../broker/payload-disk.ts';
import { eventually } from '../e2e/eventually.ts';
import { FakeClock } from '../fakes/clock.ts';
import { openTestPayloads } from '../fakes/payloads.ts';
import {
  bytesOf,
  claimed,
  claimedPieces,
  nothingOpen,
  openFilePayloads,
  sha256Of,
  storeWith,
  watch,
} from './claimed-events.ts';
import type { ClaimedEvent, ClaimedOptions, Watched } from './claimed-events.ts';
import { answer, closeAll, openDeliverer, requestTo, subscriber } from './deliver-subscribers.ts';
import { accept, gate, settled, stoppingSubscriber, take } from './wire-subscribers.ts';

afterEach(closeAll);

const MIB = 1024 * 1024;
/** More than the socket buffers of both sides hold, so that a subscriber that does not read leaves a part unsent. */
const LARGE_BYTES = 32 * MIB;
const ACCEPTED: Outcome = { kind: 'accepted', status: 202 };

/** Of attributes. */
type Changes = Readonly<Record<string, string>>;

interface Place {
  readonly event: ClaimedEvent;
  readonly payloads: Watched;
}

async function fromMemory(bytes: Uint8Array): Promise<Place> {
  const { payloads } = await openTestPayloads({ limits: { cacheMaxBytes: 128 * MIB } });
  return { event: await claimed(payloads, bytes), payloads: watch(payloads) };
}

async function fromFile(bytes: Uint8Array): Promise<Place> {
  const { payloads } = await openFilePayloads();
  return { event: await claimed(payloads, bytes), payloads: watch(payloads) };
}

/** As after a restart: the store has it, memory has not, and has room for it. */
async function fromFileToMemory(bytes: Uint8Array): Promise<Place> {
  const before = await openFilePayloads();
  const event = await claimed(before.payloads, bytes);
  const { payloads } = await openTestPayloads({
    store: () => Promise.resolve(before.store),
    limits: { cacheMaxBytes: 128 * MIB },
  });
  return { event, payloads: watch(payloads) };
}

const SOURCES = [
  { source: 'memory', open: fromMemory, loans: 1 },
  { source: 'the file', open: fromFile, loans: 0 },
  { source: 'the file by way of memory', open: fromFileToMemory, loans: 0 },
] as const;

describe('a subscriber that knows nothing of claims', () => {
  const sizes = [
    { size: '1 byte', sizeBytes: 1 },
    { size: '64 KiB and one byte', sizeBytes: 64 * 1024 + 1 },
    { size: '5 MB', sizeBytes: 5_000_000 },
  ];
  const cases = SOURCES.flatMap((source) => sizes.map((size) => ({ ...source, ...size })));

  test.each(cases)(
    'gets $size from $source as if it had travelled with its event, its length said beforehand (K32)',
    async ({ open, sizeBytes, loans }) => {
      const bytes = bytesOf(sizeBytes);
      const { event, payloads } = await open(bytes);
      const { url, received, connections } = await subscriber(answer(202));
      const deliverer = openDeliverer({ payloads });
      const inline = { ...event, data: bytes };
      expect(await deliverer.deliver(requestTo(url, { event: inline }))).toEqual(ACCEPTED);
      expect(await deliverer.deliver(requestTo(url, { event }))).toEqual(ACCEPTED);
      const [first, second, ...others] = received;
      expect(second?.headers).toEqual(first?.headers);
      expect(second?.headers['content-length']).toBe(String(sizeBytes));
      expect(second?.body.equals(bytes)).toBe(true);
      expect(others).toEqual([]);
      // It was answered after all of it had gone: the connection is as good as new.
      expect(connections).toHaveLength(1);
      expect(payloads.loans).toEqual({ open: 0, inAll: loans });
      expect(payloads.streams).toEqual({ open: 0, inAll: 1 - loans });
    },
  );

  test('gets it from memory once it was read', async () => {
    const { event, payloads } = await fromFileToMemory(bytesOf(300_000));
    const { url, received } = await subscriber(answer(202));
    const deliverer = openDeliverer({ payloads });
    for (let turn = 0; turn < 3; turn += 1) await deliverer.deliver(requestTo(url, { event }));
    expect(received.map(({ body }) => sha256Of(body))).toEqual(Array(3).fill(event.data.sha256));
    expect([payloads.streams.inAll, payloads.loans.inAll]).toEqual([1, 2]);
  });

  test('may be one of many that get the event at once: it is read once where memory has room', async () => {
    const { opens, outcomes, digests, place } = await toMany({ cacheMaxBytes: 3 * MIB });
    expect(outcomes).toEqual(Array(20).fill(ACCEPTED));
    expect(digests).toEqual(Array(20).fill(place.event.data.sha256));
    expect(opens).toBe(1);
    expect([place.payloads.loans.open, place.payloads.streams.open]).toEqual([0, 0]);
  });

  test('may be one of many that get the event at once: each reads for itself where memory has no room', async () => {
    const { opens, outcomes, digests, place } = await toMany({ cacheMaxBytes: 0 });
    expect(outcomes).toEqual(Array(20).fill(ACCEPTED));
    expect(digests).toEqual(Array(20).fill(place.event.data.sha256));
    expect(opens).toBe(20);
    expect([place.payloads.loans.open, place.payloads.streams.open]).toEqual([0, 0]);
  });
});

/** JSON of exactly so many bytes, with characters of one to four bytes. */
function jsonOf(sizeBytes: number): Buffer {
  if (sizeBytes < 3) return Buffer.from('7'.repeat(sizeBytes));
  const text = `"${'é€😀x'.repeat(Math.floor((sizeBytes - 2) / 10))}`;
  return Buffer.from(`${text.padEnd(text.length + ((sizeBytes - 2) % 10), '.')}"`);
}

describe('a subscriber that wants JSON', () => {
  /** The body as it came, and as it comes when the event carries its data. */
  async function inJson(bytes: Buffer, options: ClaimedOptions = {}, changes: Changes = {}) {
    const { payloads: all } = await openFilePayloads();
    const payloads = watch(all);
    const event = withAttributes(await claimed(payloads, bytes, options), changes);
    const { url, received } = await subscriber(answer(202));
    const deliverer = openDeliverer({ payloads });
    const format = 'json';
    const outcomes = [
      await deliverer.deliver(requestTo(url, { event, format })),
      await deliverer.deliver(requestTo(url, { event: { ...event, data: bytes }, format })),
    ];
    expect(outcomes).toEqual([ACCEPTED, ACCEPTED]);
    const [ours, inline, ...others] = received;
    expect(others).toEqual([]);
    expect(ours?.headers['content-length']).toBe(String(ours?.body.byteLength));
    expect(ours?.headers).not.toHaveProperty('transfer-encoding');
    expect(ours?.headers['content-type']).toMatch(/^application\/cloudevents\+json/);
    return {
      ours: ours?.body.toString(),
      inline: inline?.body.toString(),
      payloads,
      event,
      deliverer,
      url,
    };
  }

  const sizes = [1, 64 * 1024 + 1, 300_000, 300_001, 300_002, 5_000_000];

  test.each(sizes)(
    'gets %i bytes of JSON as they are, in the event, its length said beforehand (K38)',
    async (sizeBytes) => {
      const bytes = jsonOf(sizeBytes);
      expect(bytes.byteLength).toBe(sizeBytes);
      const { ours, inline } = await inJson(bytes, { facts: { isJson: true } });
      expect(ours).toBe(inline);
      expect(ours).toContain(`"data":${bytes.toString()}`);
    },
  );

  test.each(sizes)(
    'gets %i bytes that are no JSON in base64, its length said beforehand (K38)',
    async (sizeBytes) => {
      const { ours, inline } = await inJson(bytesOf(sizeBytes), { facts: { isJson: false } });
      expect(ours).toBe(inline);
      expect(ours).toContain('"data_base64":"');
    },
  );

  const forms: {
    what: string;
    bytes: Buffer;
    options: ClaimedOptions;
    reads: number;
    member: string;
  }[] = [
    {
      what: 'what the door has seen to be JSON, without another look',
      bytes: jsonOf(300_000),
      options: { facts: { isJson: true } },
      reads: 1,
      member: 'data',
    },
    {
      what: 'what a look proves to be JSON',
      bytes: jsonOf(300_000),
      options: {},
      reads: 2,
      member: 'data',
    },
    {
      what: 'what a look shows to be broken JSON, in base64',
      bytes: jsonOf(300_000).subarray(0, -1),
      options: {},
      reads: 2,
      member: 'data_base64',
    },
    {
      what: 'what the door has seen to be no JSON, in base64 without another look',
      bytes: bytesOf(300_000),
      options: { facts: { isJson: false } },
      reads: 1,
      member: 'data_base64',
    },
    {
      what: 'what is not said to be JSON, in base64 without a look',
      bytes: jsonOf(300_000),
      options: { type: 'image/png' },
      reads: 1,
      member: 'data_base64',
    },
  ];
  test.each(forms)('gets $what (K38)', async ({ bytes, options, reads, member }) => {
    const { ours, payloads } = await inJson(bytes, options);
    const members = JSON.parse(ours ?? '') as Record<string, string>;
    expect(Object.keys(members)).toContain(member);
    const text = members[member] ?? '';
    if (member === 'data') expect(JSON.stringify(text)).toBe(bytes.toString());
    else expect(Buffer.from(text, 'base64').equals(bytes)).toBe(true);
    expect(payloads.streams).toEqual({ open: 0, inAll: reads });
  });

  test('is one of many: what a look has shown is not looked at again', async () => {
    const { payloads, event, deliverer, url } = await inJson(jsonOf(300_000));
    await deliverer.deliver(requestTo(url, { event, format: 'json' }));
    expect(payloads.streams.inAll).toBe(3);
  });

  test('gets an event of version 0.3 in the words of that version (K38)', async () => {
    const changes = { specversion: '0.3' };
    const { ours, inline } = await inJson(bytesOf(300_000), {}, changes);
    expect(ours).toBe(inline);
    expect(ours).toContain('"datacontentencoding":"base64","data":"');
  });

  /** The look at the data is held until `goOn`. */
  async function looking() {
    const { opened: goingOn, open: goOn } = gate<undefined>();
    const { opened: begun, open: begin } = gate<undefined>();
    const { payloads } = await openFilePayloads({
      wrap: (store) =>
        storeWith(store, {
          open: async (...call) => {
            begin(undefined);
            await goingOn;
            return store.open(...call);
          },
        }),
    });
    const event = await claimed(payloads, jsonOf(300_000));
    const reader = await subscriber(answer(202));
    return { ...reader, event, deliverer: openDeliverer({ payloads }), begun, goOn };
  }

  test('gets nothing of an event whose delivery was aborted while its data was looked at', async () => {
    const { url, event, deliverer, begun, goOn, connections } = await looking();
    const controller = new AbortController();
    const { signal } = controller;
    const delivery = deliverer.deliver(requestTo(url, { event, format: 'json', signal }));
    const reason = new Error('the Trigger is gone');
    const rejected = expect(delivery).rejects.toBe(reason);
    await begun;
    controller.abort(reason);
    goOn(undefined);
    await rejected;
    expect(connections).toEqual([]);
  });

  test('is waited for by close, also while the data is looked at', async () => {
    const { url, event, deliverer, begun, goOn, received } = await looking();
    const delivery = deliverer.deliver(requestTo(url, { event, format: 'json' }));
    await begun;
    const closing = deliverer.close().then(() => received.length);
    goOn(undefined);
    expect(await delivery).toEqual(ACCEPTED);
    expect(await closing).toBe(1);
  });
});

/** One event of 1 MiB to twenty egresses of two subscribers, with nothing of it in memory beforehand. */
async function toMany({ cacheMaxBytes }: { cacheMaxBytes: number }) {
  let opens = 0;
  const before = await openFilePayloads();
  const event = await claimed(before.payloads, bytesOf(MIB));
  const store = storeWith(before.store, {
    open: (...call) => {
      opens += 1;
      return before.store.open(...call);
    },
  });
  const { payloads } = await openTestPayloads({
    store: () => Promise.resolve(store),
    limits: { cacheMaxBytes },
  });
  const place = { event, payloads: watch(payloads) };
  const subscribers = [await subscriber(answer(202)), await subscriber(answer(202))];
  const deliverer = openDeliverer({ payloads: place.payloads });
  const urls = Array.from({ length: 10 }, () => subscribers.map(({ url }) => url)).flat();
  const outcomes = await Promise.all(
    urls.map((url, index) =>
      deliverer.deliver(requestTo(url, { event, namespace: `team-${index}` })),
    ),
  );
  await nothingOpen(before);
  const received = subscribers.flatMap((each) => each.received);
  return { opens, outcomes, digests: received.map(({ body }) => sha256Of(body)), place };
}

describe('a subscriber that reads slowly', () => {
  test('holds one file open and next to no memory while it stops, and gets all of it when it goes on', async () => {
    const place = await openFilePayloads();
    const event = await claimedPieces(place.payloads, megabytes(64));
    const payloads = watch(place.payloads);
    const { socket, requests, url } = await stoppingSubscriber();
    const before = usedBytes();
    const delivery = openDeliverer({ payloads }).deliver(requestTo(url, { event }));
    const stopped = await socket;
    // What the sockets of both sides took, and no more.
    const readBytes = await settled(() => payloads.streamedBytes);
    expect(readBytes).toBeLessThan(32 * MIB);
    expect(await openedBelow(place.folder)).toHaveLength(1);
    const heldBytes = usedBytes() - before;
    expect(heldBytes).toBeLessThan(4 * MIB);
    stopped.resume();
    expect(await delivery).toEqual(ACCEPTED);
    expect(requests().map(({ body }) => sha256Of(Buffer.concat(body)))).toEqual([
      event.data.sha256,
    ]);
    await nothingOpen(place);
  });
});

/** Each by itself: none of them is there when the next one is made. */
function* megabytes(count: number): Generator<Uint8Array> {
  for (let index = 0; index < count; index += 1) yield Buffer.alloc(MIB, `megabyte ${index}`);
}

/** Memory outside of the heap that is in use: where the bytes of buffers are. */
function usedBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // Buffers that the first round finds unused are given back by the second.
  collect();
  collect();
  const { external, arrayBuffers } = process.memoryUsage();
  return Math.max(external, arrayBuffers);
}

/** How often somebody has looked at it tells that bytes move: what counts their progress looks each time. */
class WatchedClock extends FakeClock {
  looks = 0;

  override monotonicMs(): number {
    this.looks += 1;
    return super.monotonicMs();
  }
}

describe.each([SOURCES[0], SOURCES[1], SOURCES[2]])('time, with data from $source', ({ open }) => {
  /** Everything stands still: the subscriber has stopped, and its socket is full. */
  async function stopped(timing: { timeoutMs: number; idleMs?: number }, onWhole = accept) {
    const clock = new WatchedClock();
    const { event, payloads } = await open(bytesOf(LARGE_BYTES));
    const { url, connections, socket: reached } = await stoppingSubscriber(onWhole);
    const deliverer = openDeliverer({ payloads, clock });
    const state: { outcome?: Outcome } = {};
    const delivery = deliverer
      .deliver(requestTo(url, { event, ...timing }))
      .then((outcome) => (state.outcome = outcome));
    const socket = await reached;
    await settled(() => clock.looks);
    return { clock, state, delivery, socket, payloads, connections };
  }

  test('without a time limit of a resource, a subscriber that takes nothing for idleMs has failed (K35)', async () => {
    const { clock, state, delivery, connections, socket, payloads } = await stopped({
      timeoutMs: 600_000,
      idleMs: 60_000,
    });
    clock.advance(59_999);
    await settled(() => clock.looks);
    expect(state).toEqual({});
    clock.advance(1);
    expect(await delivery).toEqual({
      kind: 'unreachable',
      code: 'KNEAR_TIMEOUT',
      detail: 'no byte of the body was taken for 60000 ms',
    });
    socket.resume();
    for (const { ended } of connections) expect(await ended).toBe('ECONNRESET');
    await eventually('all given back', () => payloads.loans.open + payloads.streams.open === 0);
    expect(clock.timerCount).toBe(0);
  });

  test('without a time limit of a resource, it may take as long as its bytes move (K35)', async () => {
    const { clock, delivery, socket, state } = await stopped({ timeoutMs: 3_000, idleMs: 1_000 });
    for (let second = 0; second < 6; second += 1) {
      clock.advance(900);
      const { looks } = clock;
      await take(socket, 2 * MIB);
      await eventually('progress', () => clock.looks > looks);
      await settled(() => clock.looks);
    }
    expect(state).toEqual({});
    socket.resume();
    expect(await delivery).toEqual(ACCEPTED);
  });

  test('a time limit of a resource bounds the attempt, however its bytes move (K35)', async () => {
    const { clock, delivery, socket, state } = await stopped({ timeoutMs: 3_000 });
    clock.advance(2_999);
    await take(socket, 4 * MIB);
    expect(state).toEqual({});
    clock.advance(1);
    expect(await delivery).toMatchObject({
      kind: 'unreachable',
      code: 'KNEAR_TIMEOUT',
      detail: 'no complete answer within 3000 ms',
    });
  });

  test('without a time limit of a resource, the default counts from the last byte (K35)', async () => {
    const { opened: whole, open: reached } = gate<net.Socket>();
    const { clock, delivery, socket, state } = await stopped(
      { timeoutMs: 3_000, idleMs: 1_000 },
      reached,
    );
    clock.advance(900);
    socket.resume();
    await whole;
    await settled(() => clock.looks);
    clock.advance(2_999);
    await settled(() => clock.looks);
    expect(state).toEqual({});
    clock.advance(1);
    expect(await delivery).toEqual({
      kind: 'unreachable',
      code: 'KNEAR_TIMEOUT',
      detail: 'no complete answer within 3000 ms',
    });
  });
});
