/**
 * Large structured events over real connections to a door with a real spool and a real store: the same events as small
 * ones, the same refusals, and a store that never sees a byte of what is refused. The bugs hunted here: an event that is
 * judged by half of its attributes, memory that grows with what a producer sends.
 */
import { describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { connect } from 'node:net';
import { parseStructured } from '../../core/codec.ts';
import { claimOf, dataSizeBytes } from '../../core/event.ts';
import { BAD_BODIES, GOOD_BODIES } from '../core/structured-bodies.ts';
import type { StructuredBody } from '../core/structured-bodies.ts';
import { FakeClock } from '../fakes/clock.ts';
import { ScriptedPayloadStore } from '../fakes/scripted-payload-store.ts';
import { eventually, Wire } from './clients.ts';
import type { LargeDoor, LargeDoorOptions } from './large-door.ts';
import {
  answered,
  dataIn,
  FRAMINGS,
  head,
  KIB,
  MIB,
  openLargeDoor,
  post,
  statusesOf,
} from './large-door.ts';

const TYPE = 'application/cloudevents+json';
const REQUIRED = '"specversion":"1.0","id":"1","source":"/shop","type":"order.created"';
/** What a Broker adds. */
const STAMPS = ['knativearrivaltime', 'knativebrokerttl'];

/** A door whose store counts what it is asked for. */
async function openCounting(options: LargeDoorOptions = {}) {
  const store = new ScriptedPayloadStore({ clock: new FakeClock() });
  return { ...(await openLargeDoor({ ...options, store })), store };
}

/** One framing or the other: what is in a body and how it is framed are told apart before they meet. */
function inTurn(body: StructuredBody, index: number) {
  return { ...body, ...(index % 2 === 0 ? FRAMINGS[0] : FRAMINGS[1]) };
}

function send(
  { port }: Pick<LargeDoor, 'port'>,
  body: Buffer,
  framing: (typeof FRAMINGS)[number] = FRAMINGS[0],
): Promise<string> {
  // Neither is an attribute: in structured mode they are all in the body.
  const headers = { 'content-type': TYPE, 'ce-specversion': undefined, 'ce-subject': 'other' };
  return post(port, body, framing, headers);
}

describe('a large structured event', () => {
  test.each(GOOD_BODIES.map(inTurn))(
    'is taken as what it is: $name, with $framing',
    async ({ body, ...framing }) => {
      const opened = await openLargeDoor();
      const bytes = body(150_000);
      expect(statusesOf(await send(opened, bytes, framing as (typeof FRAMINGS)[number]))).toEqual([
        '202',
      ]);
      const [event] = await opened.kept();
      const expected = parseStructured(bytes, {});
      const attributes = [...(event?.attributes ?? [])].filter(([name]) => !STAMPS.includes(name));
      expect(attributes.toSorted()).toEqual([...expected.attributes].toSorted());
      const data = Buffer.from(expected.data ?? []);
      expect((await dataIn(opened, event)).equals(data)).toBe(true);
      expect(event && claimOf(event) !== undefined).toBe(data.byteLength > 64 * KIB);
      await opened.settle();
      await opened.expectNothingLeft();
    },
  );

  test.each(BAD_BODIES.map(inTurn))(
    'is 400 when it has $name, with $framing; no store has seen it (K15)',
    async ({ body, ...framing }) => {
      const opened = await openCounting();
      const received = await send(opened, body(150_000), framing);
      expect(statusesOf(received)).toEqual(['400']);
      expect(received).toMatch(/KNEAR_(STRUCTURED|EVENT)_INVALID/);
      expect(opened.store.calls.put).toBe(0);
      await opened.expectNothingLeft();
    },
  );

  test('says where it is wrong, as a small one does', async () => {
    const opened = await openLargeDoor();
    const body = Buffer.from(`{${REQUIRED},"data":[${'1,'.repeat(100_000)}]}`);
    const received = await send(opened, body);
    expect(received).toContain('KNEAR_STRUCTURED_INVALID');
    expect(received).toContain(String(body.byteLength - 2));
  });
});

describe('K15: what is refused when all attributes are known', () => {
  const data = `"data":"${'x'.repeat(200_000)}"`;
  const long = `"long":"${'y'.repeat(2_000)}"`;
  const REFUSED = [
    {
      name: 'too many hops',
      more: '"knativebrokerttl":1',
      status: '400',
      code: 'KNEAR_TTL_EXHAUSTED',
    },
    { name: 'too large attributes', more: long, status: '413', code: 'KNEAR_ATTRIBUTES_TOO_LARGE' },
    {
      name: 'a time that is none',
      more: '"time":"noon"',
      status: '400',
      code: 'KNEAR_EVENT_INVALID',
    },
  ];

  test.each(
    REFUSED.flatMap((each) =>
      FRAMINGS.flatMap((framing) => [
        {
          ...each,
          ...framing,
          order: 'before the data',
          body: `{${REQUIRED},${each.more},${data}}`,
        },
        {
          ...each,
          ...framing,
          order: 'after the data',
          body: `{${data},${REQUIRED},${each.more}}`,
        },
      ]),
    ),
  )(
    '$name, $order, with $framing: $status, and no store has seen a byte',
    async ({ body, status, code, ...framing }) => {
      const opened = await openCounting({ ingress: { attributesMaxBytes: 1_000 } });
      const bytes = Buffer.from(body);
      const received = await send(opened, bytes, framing);
      expect(statusesOf(received)).toEqual([status]);
      expect(received).toContain(code);
      expect(opened.store.calls.put).toBe(0);
      await opened.expectNothingLeft();
    },
  );
});

describe('bounds', () => {
  const large = { ingress: { eventMaxBytes: MIB } };
  const base64 = (sizeBytes: number) =>
    Buffer.from(`{${REQUIRED},"data_base64":"${Buffer.alloc(sizeBytes, 7).toString('base64')}"}`);

  test.each(
    FRAMINGS.flatMap((framing) =>
      [-1, 0, 1].map((offBy) => ({ ...framing, offBy, status: offBy > 0 ? '413' : '202' })),
    ),
  )(
    'eventMax is for the data: $offBy bytes off it in base64, with $framing, is $status',
    async ({ offBy, status, ...framing }) => {
      const opened = await openCounting(large);
      const received = await send(opened, base64(MIB + offBy), framing);
      expect(statusesOf(received)).toEqual([status]);
      if (offBy > 0) {
        expect(received).toContain('KNEAR_EVENT_TOO_LARGE');
        expect(opened.store.calls.put).toBe(0);
      } else {
        expect((await opened.kept()).map(dataSizeBytes)).toEqual([MIB + offBy]);
        await opened.settle();
      }
      await opened.expectNothingLeft();
    },
  );

  test.each(
    FRAMINGS.flatMap((framing) =>
      [-1, 0, 1].map((offBy) => ({ ...framing, offBy, status: offBy > 0 ? '413' : '202' })),
    ),
  )(
    'a body may have twice eventMax and 64 KiB: $offBy bytes off it, with $framing, is $status',
    async ({ offBy, status, ...framing }) => {
      const opened = await openLargeDoor(large);
      const body = Buffer.alloc(2 * MIB + 64 * KIB + offBy, ' ');
      body.write(`{${REQUIRED},"data":[1,2,3]}`);
      const received = await send(opened, body, framing);
      expect(statusesOf(received)).toEqual([status]);
      if (offBy > 0) expect(received).toContain('KNEAR_EVENT_TOO_LARGE');
      await opened.settle();
      await opened.expectNothingLeft();
    },
  );

  test('a body over that is 413 before a byte of it', async () => {
    const opened = await openLargeDoor(large);
    const wire = await Wire.open(opened.port);
    const declared = String(2 * MIB + 64 * KIB + 1);
    wire.write(head({ 'content-type': TYPE, expect: '100-continue', 'content-length': declared }));
    expect(statusesOf(await answered(wire))).toEqual(['413']);
  });

  test.each(FRAMINGS)('one upload too many is 429, with $framing', async (framing) => {
    const opened = await openLargeDoor({ payloads: { limits: { uploadsMax: 1 } } });
    const wire = await Wire.open(opened.port);
    wire.write(head({ 'content-length': String(MIB) }));
    await eventually(() => opened.payloads.uploads === 1);
    const received = await send(opened, base64(200_000), framing);
    expect(statusesOf(received)).toEqual(['429']);
    expect(received).toContain('KNEAR_UPLOADS_BUSY');
    expect(received).toMatch(/retry-after: \d+\r\n/);
    expect(statusesOf(await send(opened, base64(20_000), framing))).toEqual(['202']);
  });

  test('a producer that leaves in the middle leaves nothing', async () => {
    for (const { name, body } of GOOD_BODIES.slice(0, 20)) {
      const opened = await openLargeDoor();
      const wire = await Wire.open(opened.port);
      const bytes = body(200_000);
      const length = { 'content-length': String(bytes.byteLength) };
      wire.write(head({ 'content-type': TYPE, ...length }), bytes.subarray(0, -1));
      await eventually(() => opened.door.requestsInFlight === 1);
      wire.reset();
      await opened.expectNothingLeft();
      expect([name, await opened.kept()]).toEqual([name, []]);
    }
  });
});

describe('memory', () => {
  const CHUNK = Buffer.alloc(MIB, ' ');

  /** Sends it and says how much memory this process took at most meanwhile, its own half of the connection included. */
  async function measured(opened: LargeDoor, parts: Iterable<string | Buffer>) {
    const socket = connect({ host: '127.0.0.1', port: opened.port });
    const wire = new Wire(socket);
    wire.write(head({ 'transfer-encoding': 'chunked', 'content-type': TYPE }));
    const startBytes = process.memoryUsage.rss();
    let mostBytes = 0;
    let heldMostBytes = 0;
    for (const part of parts) {
      const bytes = typeof part === 'string' ? Buffer.from(part) : part;
      wire.write(`${bytes.byteLength.toString(16)}\r\n`, bytes, '\r\n');
      if (socket.writableNeedDrain) await once(socket, 'drain');
      mostBytes = Math.max(mostBytes, process.memoryUsage.rss() - startBytes);
      const heldBytes = opened.door.bodyBytesHeld + opened.payloads.memoryBytes;
      heldMostBytes = Math.max(heldMostBytes, heldBytes);
    }
    wire.write('0\r\n\r\n');
    return { received: await answered(wire), mostBytes, heldMostBytes };
  }

  function* around(before: string, count: number, after: string): Generator<string | Buffer> {
    if (before !== '') yield before;
    for (let index = 0; index < count; index += 1) yield CHUNK;
    yield after;
  }

  test.each([
    { name: 'before the event', before: '', after: `{${REQUIRED},"data":[]}`, count: 20 },
    { name: 'between its members', before: `{${REQUIRED},`, after: '"data":[]}', count: 200 },
    { name: 'after the event', before: `{${REQUIRED},"data":[]}`, after: ' ', count: 20 },
  ])('does not grow with white space $name: $count MiB of it', async ({ before, after, count }) => {
    const opened = await openLargeDoor({ ingress: { eventMaxBytes: 128 * MIB } });
    const { received, mostBytes, heldMostBytes } = await measured(
      opened,
      around(before, count, after),
    );
    expect(statusesOf(received)).toEqual(['202']);
    expect(heldMostBytes).toBeLessThanOrEqual(512 * KIB);
    expect(opened.payloads.counts.claims).toBe(0);
    expect(mostBytes).toBeLessThan(100 * MIB);
  });

  test('does not grow with data', async () => {
    const opened = await openLargeDoor({
      ingress: { eventMaxBytes: 128 * MIB },
      payloads: { limits: { cacheMaxBytes: 0 } },
    });
    const parts = around(`{${REQUIRED},"data":"`, 100, `"}`);
    const { received, mostBytes, heldMostBytes } = await measured(opened, parts);
    expect(statusesOf(received)).toEqual(['202']);
    expect(heldMostBytes).toBeLessThanOrEqual(512 * KIB);
    expect((await opened.kept()).map(dataSizeBytes)).toEqual([100 * MIB + 2]);
    expect(mostBytes).toBeLessThan(100 * MIB);
  });
});
