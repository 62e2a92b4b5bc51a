/**
 * Large bodies that go wrong: producers that leave, stall and trickle, our own disk that is slow, full or away, a log that
 * cannot write. The bugs hunted here: half a payload that is kept, bytes left behind in spool, store or memory, an event
 * that somebody sees and nobody can read, small events that suffer with large ones.
 */
import { describe, expect, test } from '@jest/globals';
import { chmod, mkdir, rename, rmdir } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { KnearError } from '../../core/errors.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { claimOf } from '../../core/event.ts';
import type { Intake, Payloads } from '../../core/ports/payloads.ts';
import { asNobody } from '../broker/payload-disk.ts';
import { ScriptedPayloadStore } from '../fakes/scripted-payload-store.ts';
import { FakeClock } from '../fakes/clock.ts';
import { bytesOf } from '../fakes/bytes.ts';
import { eventuallyOnDisk } from '../fakes/eventually-on-disk.ts';
import { eventually, send, Wire } from './clients.ts';
import type { LargeDoor } from './large-door.ts';
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
  storeIn,
} from './large-door.ts';
import { EVENT_HEADERS } from './open-door.ts';

const BODY = bytesOf(2 * MIB);
const DECLARED = { 'content-length': String(BODY.byteLength) };

async function begin(opened: LargeDoor, sentBytes: number, headers = {}): Promise<Wire> {
  const wire = await Wire.open(opened.port);
  wire.write(head({ ...DECLARED, ...headers }), BODY.subarray(0, sentBytes));
  await eventually(() => opened.payloads.uploads > 0);
  return wire;
}

function codesOf({ happenings }: LargeDoor): unknown[] {
  return happenings.map((happening) => ('code' in happening ? happening.code : happening.kind));
}

/** A small event is taken as if nothing was the matter. */
async function expectSmallOnesFlow({ port }: LargeDoor): Promise<void> {
  const { status } = await send(port, { headers: EVENT_HEADERS, body: '{}' });
  expect(status).toBe(202);
}

describe('a producer that leaves (K13, B1)', () => {
  const ENDS = [
    { end: 'a reset', leave: (wire: Wire) => wire.reset() },
    { end: 'a polite end', leave: (wire: Wire) => void wire.end() },
  ];
  const MOMENTS = [
    { moment: 'before the first byte', share: 0 },
    { moment: 'after half of it', share: 0.5 },
    { moment: 'after 99 % of it', share: 0.99 },
  ];
  const FRAMED = FRAMINGS.flatMap((framing) =>
    ENDS.flatMap((end) => MOMENTS.map((moment) => ({ ...framing, ...end, ...moment }))),
  );

  test.each(FRAMED)(
    '$moment, by $end, with $framing, leaves nothing and is no event for anybody',
    async ({ share, leave, headersOf, partsOf }) => {
      const opened = await openLargeDoor();
      const wire = await Wire.open(opened.port);
      const sent = BODY.subarray(0, share * BODY.byteLength);
      // Chunks without the last one, which says that it is over.
      const parts = share === 0 ? [] : partsOf(sent).filter((part) => part !== '0\r\n\r\n');
      wire.write(head(headersOf(BODY)), ...parts);
      await eventually(() => opened.door.requestsInFlight === 1);
      await eventually(() => opened.payloads.spoolBytes >= sent.byteLength - 128 * KIB);
      leave(wire);
      await eventually(() => opened.happenings.length === 1);
      expect(codesOf(opened)).toEqual(['KNEAR_BODY_TRUNCATED']);
      expect(opened.payloads.counts.claims).toBe(0);
      await opened.expectNothingLeft();
      await expectSmallOnesFlow(opened);
    },
  );

  test.each(FRAMINGS.flatMap((framing) => ENDS.map((end) => ({ ...framing, ...end }))))(
    'after all of it, by $end, with $framing: once we have all of it, the event is kept',
    async ({ leave, headersOf, partsOf }) => {
      const opened = await openLargeDoor();
      opened.disk.isGated = true;
      const wire = await Wire.open(opened.port);
      wire.write(head(headersOf(BODY)), ...partsOf(BODY));
      await eventuallyOnDisk(async () => expect(opened.disk.pending).toBeDefined());
      leave(wire);
      await wire.untilClosed();
      opened.disk.pass();
      await eventually(() => opened.happenings.length === 1);
      expect(codesOf(opened)).toEqual(['accepted']);
      const [event] = await opened.kept();
      expect((await dataIn(opened, event)).equals(BODY)).toBe(true);
      opened.disk.isGated = false;
      await opened.settle();
      await opened.expectNothingLeft();
    },
  );

  test.each(ENDS)(
    'in the same moment as its last byte, by $end: all or nothing',
    async ({ leave }) => {
      const opened = await openLargeDoor();
      const wire = await Wire.open(opened.port);
      wire.write(head(DECLARED), BODY);
      leave(wire);
      await eventuallyOnDisk(async () => expect(opened.happenings).toHaveLength(1));
      const events = await opened.kept();
      expect(events).toHaveLength(codesOf(opened)[0] === 'accepted' ? 1 : 0);
      for (const event of events) {
        expect((await dataIn(opened, event)).equals(BODY)).toBe(true);
      }
      await opened.settle();
      await opened.expectNothingLeft();
    },
  );

  test('while the store takes the payload: the event is kept, as nobody can take it back', async () => {
    const store = new ScriptedPayloadStore({ clock: new FakeClock() });
    const opened = await openLargeDoor({ store });
    const release = store.hold('put');
    const wire = await begin(opened, BODY.byteLength);
    await eventuallyOnDisk(async () => expect(store.calls.put).toBe(1));
    wire.reset();
    await wire.untilClosed();
    release();
    await eventuallyOnDisk(async () => expect(codesOf(opened)).toEqual(['accepted']));
    expect(await opened.kept()).toHaveLength(1);
  });

  test('in a hundred uploads one after the other leaves as much as one', async () => {
    const opened = await openLargeDoor();
    for (let count = 0; count < 100; count += 1) {
      const wire = await begin(opened, (count % 10) * 100_000);
      wire.reset();
      await eventually(() => opened.happenings.length === count + 1);
    }
    expect(new Set(codesOf(opened))).toEqual(new Set(['KNEAR_BODY_TRUNCATED']));
    await opened.expectNothingLeft();
  });
});

describe('a producer that is slow (B4)', () => {
  async function letArrive(): Promise<void> {
    for (let turn = 0; turn < 8; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  async function expectTimeout(opened: LargeDoor, wire: Wire): Promise<void> {
    const received = await answered(wire);
    expect(statusesOf(received)).toEqual(['408']);
    expect(received).toContain('KNEAR_BODY_TIMEOUT');
    opened.clock.advance(1_000);
    await wire.untilClosed();
    await opened.expectNothingLeft();
  }

  test.each([
    ['its length', DECLARED],
    ['the last chunk', { 'transfer-encoding': 'chunked' }],
  ])('and never sends %s is 408 after 30 s without a byte', async (_name, headers) => {
    const opened = await openLargeDoor();
    const wire = await Wire.open(opened.port);
    const [, , ...chunk] = FRAMINGS[1].partsOf(BODY.subarray(0, 40_000)).slice(0, -1);
    wire.write(head(headers));
    if ('transfer-encoding' in headers) wire.write('9c40\r\n', BODY.subarray(0, 40_000), ...chunk);
    else wire.write(BODY.subarray(0, 40_000));
    await eventually(() => opened.door.bodyBytesHeld > 0);
    await letArrive();
    opened.clock.advance(1_000);
    opened.clock.advance(29_000);
    expect(opened.door.requestsInFlight).toBe(1);
    opened.clock.advance(1_000);
    await expectTimeout(opened, wire);
  });

  test('and sends less than 1 KiB a second is 408 after a minute', async () => {
    const opened = await openLargeDoor();
    const wire = await begin(opened, 0);
    for (let second = 0; second < 60; second += 1) {
      expect(opened.door.requestsInFlight).toBe(1);
      wire.write(bytesOf(1_023));
      await letArrive();
      opened.clock.advance(1_000);
    }
    await expectTimeout(opened, wire);
  });

  test('and is steady for longer than uploadMax is 408 all the same', async () => {
    const opened = await openLargeDoor({ limits: { uploadMaxMs: 90_000 } });
    const wire = await begin(opened, 0);
    for (let second = 0; second < 90; second += 1) {
      expect(opened.door.requestsInFlight).toBe(1);
      wire.write(bytesOf(2_048));
      await letArrive();
      opened.clock.advance(1_000);
    }
    await expectTimeout(opened, wire);
  });
});

/** Payloads whose writes wait until `pass` is called, and what they were given. */
function slowPayloads() {
  const gate = { taken: 0, waiting: 0, isOpen: false, pass: () => undefined as void };
  let waiters: (() => void)[] = [];
  const slow = (intake: Intake): Intake => ({
    get sizeBytes() {
      return intake.sizeBytes;
    },
    get heldBytes() {
      return intake.heldBytes;
    },
    write: (piece) => {
      gate.taken += piece.byteLength;
      const own = intake.write(piece);
      if (gate.isOpen) return own;
      gate.waiting += 1;
      return new Promise<void>((resolve) => waiters.push(resolve)).then(() => own);
    },
    reread: () => intake.reread(),
    finish: (...call) => intake.finish(...call),
    discard: () => intake.discard(),
  });
  gate.pass = () => {
    const due = waiters;
    waiters = [];
    gate.waiting = 0;
    for (const resume of due) resume();
  };
  const seen = (payloads: Payloads): Payloads => ({
    receive: (options) => slow(payloads.receive(options)),
    lend: (ref) => payloads.lend(ref),
    open: (ref) => payloads.open(ref),
    release: (ref) => payloads.release(ref),
  });
  return { gate, seen };
}

describe('our own disk, when it is slow (B4, B5)', () => {
  const LARGE = bytesOf(32 * MIB);

  async function beginLarge() {
    const { gate, seen } = slowPayloads();
    const opened = await openLargeDoor({ seen, ingress: { eventMaxBytes: 64 * MIB } });
    const socket = connect({ host: '127.0.0.1', port: opened.port });
    const wire = new Wire(socket);
    wire.write(head({ 'content-length': String(LARGE.byteLength) }), LARGE);
    await eventually(() => gate.waiting === 1);
    return { gate, opened, socket, wire };
  }

  test('stops the producer, and memory holds no more than the piece that waits', async () => {
    const { gate, opened, socket, wire } = await beginLarge();
    for (let turn = 0; turn < 1_000; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    // One piece of node's, of 64 KiB at most; the rest is in the sockets or still with the producer.
    expect(gate.waiting).toBe(1);
    expect(gate.taken).toBeLessThanOrEqual(64 * KIB);
    expect(opened.door.bodyBytesHeld).toBeLessThanOrEqual(512 * KIB);
    expect(socket.writableLength).toBeGreaterThan(16 * MIB);
    gate.isOpen = true;
    gate.pass();
    await wire.until(' 202 ');
    const [event] = await opened.kept();
    expect((await dataIn(opened, event)).equals(LARGE)).toBe(true);
    await opened.settle();
    await opened.expectNothingLeft();
  });

  test('is not the producer being idle, however long it takes', async () => {
    const { gate, opened, wire } = await beginLarge();
    opened.clock.advance(50_000);
    expect(opened.door.requestsInFlight).toBe(1);
    gate.isOpen = true;
    gate.pass();
    await wire.until(' 202 ');
    expect(codesOf(opened)).toEqual(['accepted']);
  });

  test('is not the producer being slow: its rate is that of the time in which we listened', async () => {
    const { gate, opened, wire } = await beginLarge();
    // 64 KiB in half an hour is 36 bytes a second.
    opened.clock.advance(1_800_000);
    expect(opened.door.requestsInFlight).toBe(1);
    gate.isOpen = true;
    gate.pass();
    await wire.until(' 202 ');
    expect(codesOf(opened)).toEqual(['accepted']);
  });

  test('is not waited for longer than uploadMax', async () => {
    const { opened, wire } = await beginLarge();
    opened.clock.advance(3_601_000);
    expect(statusesOf(await answered(wire))).toEqual(['408']);
  });

  test('does not excuse a producer that is silent afterwards', async () => {
    const { gate, seen } = slowPayloads();
    const opened = await openLargeDoor({ seen });
    const wire = await begin(opened, 100_000);
    await eventually(() => gate.waiting === 1);
    opened.clock.advance(120_000);
    gate.isOpen = true;
    gate.pass();
    await eventually(() => gate.taken === 100_000);
    opened.clock.advance(31_000);
    expect(statusesOf(await answered(wire))).toEqual(['408']);
  });

  test('and a producer that leaves meanwhile leaves nothing', async () => {
    const { gate, opened, wire } = await beginLarge();
    wire.reset();
    await wire.untilClosed();
    // Nobody listens to a connection that has to wait, so it is seen when it is listened to again.
    gate.isOpen = true;
    gate.pass();
    await eventually(() => opened.happenings.length === 1);
    expect(codesOf(opened)).toEqual(['KNEAR_BODY_TRUNCATED']);
    await opened.expectNothingLeft();
  });

  test('takes what it can: uploads of 64 MiB hold no more than half a MiB of memory each', async () => {
    const opened = await openLargeDoor({
      ingress: { eventMaxBytes: 64 * MIB },
      payloads: { limits: { cacheMaxBytes: 0 } },
    });
    const body = Buffer.alloc(64 * MIB, 'knear');
    let heldMax = 0;
    let isOver = false;
    const posts = Promise.all(FRAMINGS.map((framing) => post(opened.port, body, framing)));
    const watch = (): void => {
      heldMax = Math.max(heldMax, opened.door.bodyBytesHeld + opened.payloads.memoryBytes);
      if (!isOver) setImmediate(watch);
    };
    watch();
    const answers = await posts.finally(() => (isOver = true));
    expect(answers.flatMap(statusesOf)).toEqual(['202', '202']);
    expect(heldMax).toBeGreaterThan(0);
    expect(heldMax).toBeLessThanOrEqual(2 * 512 * KIB);
  });
});

describe('uploads over their bound', () => {
  const ONE = { payloads: { limits: { uploadsMax: 1 } } };

  test.each(FRAMINGS)(
    'are 429 with Retry-After, before the upload if its size is known, with $framing',
    async ({ headersOf, partsOf }) => {
      const opened = await openLargeDoor(ONE);
      const first = await begin(opened, MIB);
      const second = await Wire.open(opened.port);
      second.write(head(headersOf(BODY)));
      const isDeclared = 'content-length' in headersOf(BODY);
      if (!isDeclared) second.write(...partsOf(BODY));
      const received = await answered(second);
      expect(statusesOf(received)).toEqual(['429']);
      expect(received).toContain('KNEAR_UPLOADS_BUSY');
      expect(received).toMatch(/retry-after: 1\r\n/);
      await expectSmallOnesFlow(opened);
      first.write(BODY.subarray(MIB));
      await first.until(' 202 ');
      expect(statusesOf(await post(opened.port, BODY))).toEqual(['202']);
      await opened.settle();
      await opened.expectNothingLeft();
    },
  );

  test('small events of unknown length need no place among them', async () => {
    const opened = await openLargeDoor(ONE);
    await begin(opened, MIB);
    expect(statusesOf(await post(opened.port, bytesOf(60_000), FRAMINGS[1]))).toEqual(['202']);
  });

  test('a place is free again when its producer has left', async () => {
    const opened = await openLargeDoor(ONE);
    (await begin(opened, MIB)).reset();
    await eventually(() => opened.payloads.uploads === 0);
    expect(statusesOf(await post(opened.port, BODY))).toEqual(['202']);
  });
});

describe('a full spool', () => {
  const SMALL = { payloads: { spoolMaxBytes: MIB } };

  test.each(FRAMINGS)('is 503, small events flow, with $framing', async (framing) => {
    const opened = await openLargeDoor(SMALL);
    const received = await post(opened.port, BODY, framing);
    expect(statusesOf(received)).toEqual(['503']);
    expect(received).toContain('KNEAR_PAYLOAD_STORE_FULL');
    expect(received).toMatch(/retry-after: \d+\r\n/);
    await expectSmallOnesFlow(opened);
    await opened.settle();
    await opened.expectNothingLeft();
  });

  test.each(FRAMINGS)(
    'is told to whoever looks after it, once, and again when it has room, with $framing',
    async (framing) => {
      const opened = await openLargeDoor(SMALL);
      for (let count = 0; count < 3; count += 1) await post(opened.port, BODY, framing);
      expect(opened.troubles).toMatchObject([{ code: 'KNEAR_PAYLOAD_STORE_FULL' }]);
      expect(opened.payloads.counts.errors.get('KNEAR_PAYLOAD_STORE_FULL')).toBe(3);
      expect(statusesOf(await post(opened.port, bytesOf(200_000)))).toEqual(['202']);
      expect(opened.troubles[1]).toBeUndefined();
      expect(opened.troubles).toHaveLength(2);
    },
  );

  test('has room again when the uploads in it have ended', async () => {
    const opened = await openLargeDoor(SMALL);
    const first = await begin(opened, 900_000, { 'content-length': '900001' });
    await eventually(() => opened.spool.bytes === 900_000);
    expect(statusesOf(await post(opened.port, bytesOf(200_000)))).toEqual(['503']);
    first.write('x');
    await first.until(' 202 ');
    expect(statusesOf(await post(opened.port, bytesOf(200_000)))).toEqual(['202']);
  });
});

describe('a store that refuses the payload', () => {
  interface Trouble {
    readonly name: string;
    readonly code: ErrorCode;
    /** Runs the upload of the last byte. */
    during(opened: LargeDoor, run: () => Promise<void>): Promise<void>;
  }
  const TROUBLES: readonly Trouble[] = [
    {
      ...{ name: 'is away: its disk is not mounted', code: 'KNEAR_PAYLOAD_STORE_AWAY' },
      during: async ({ folder }, run) => {
        const aside = `${storeIn(folder)}-aside`;
        await rename(storeIn(folder), aside);
        await mkdir(storeIn(folder));
        await run();
        await rmdir(storeIn(folder));
        await rename(aside, storeIn(folder));
      },
    },
    {
      ...{ name: 'may not be used by us', code: 'KNEAR_PAYLOAD_STORE_DENIED' },
      during: async ({ folder }, run) => {
        await chmod(folder, 0o755);
        await chmod(path.join(folder, 'tmp'), 0o777);
        await chmod(storeIn(folder), 0);
        await asNobody(run);
        await chmod(storeIn(folder), 0o700);
      },
    },
  ];

  test.each(TROUBLES)(
    'because it $name: 503, nothing is left, and it is told once, and again when it works',
    async ({ code, during }) => {
      const opened = await openLargeDoor();
      const wires = [await begin(opened, MIB), await begin(opened, MIB)];
      await eventually(() => opened.spool.bytes >= 2 * MIB - 256 * KIB);
      await during(opened, async () => {
        for (const wire of wires) {
          wire.write(BODY.subarray(MIB));
          const received = await answered(wire);
          expect(statusesOf(received)).toEqual(['503']);
          expect(received).toContain(code);
          expect(received).toMatch(/retry-after: \d+\r\n/);
        }
        await expectSmallOnesFlow(opened);
      });
      expect(opened.troubles).toMatchObject([{ code }]);
      expect(opened.payloads.trouble).toMatchObject({ code });
      expect(statusesOf(await post(opened.port, BODY))).toEqual(['202']);
      expect(opened.troubles).toHaveLength(2);
      expect(opened.troubles[1]).toBeUndefined();
      await opened.settle();
      // What could not be removed then is removed by the next round.
      opened.payloadClock.advance(600_000);
      await opened.expectNothingLeft();
    },
  );

  test('whose put fails although it has kept it: it is removed again', async () => {
    const store = new ScriptedPayloadStore({ clock: new FakeClock() });
    const opened = await openLargeDoor({ store });
    store.failAfter('put', new KnearError('KNEAR_PAYLOAD_STORE_AWAY', 'the answer was lost'));
    expect(statusesOf(await post(opened.port, BODY))).toEqual(['503']);
    await opened.expectNothingLeft();
    expect(store.calls).toMatchObject({ put: 1, remove: 1 });
  });
});

describe('an append that fails after the payload is in the store (K22)', () => {
  test('is 503; the log says that no record names the payload, and it is removed', async () => {
    const opened = await openLargeDoor();
    opened.disk.isGated = true;
    const wire = await Wire.open(opened.port);
    wire.write(head(DECLARED), BODY);
    await eventuallyOnDisk(async () => expect(opened.disk.pending).toBeDefined());
    expect(opened.payloads.live.objects).toBe(1);
    opened.disk.fail();
    const received = await answered(wire);
    expect(statusesOf(received)).toEqual(['503']);
    expect(received).toContain('KNEAR_LOG_FAILED');
    await opened.expectNothingLeft();
  });

  test('because the log became full meanwhile: the payload is released', async () => {
    const opened = await openLargeDoor();
    const wire = await begin(opened, MIB);
    opened.disk.free = 0;
    wire.write(BODY.subarray(MIB));
    const received = await answered(wire);
    expect(statusesOf(received)).toEqual(['503']);
    expect(received).toContain('KNEAR_LOG_FULL');
    await opened.expectNothingLeft();
  });
});

describe('closing the door', () => {
  test('lets an upload end, and cuts one that does not; nothing of it is left', async () => {
    const opened = await openLargeDoor();
    const steady = await begin(opened, MIB);
    const stalled = await begin(opened, MIB);
    await eventually(() => opened.payloads.uploads === 2);
    const closed = opened.door.close();
    steady.write(BODY.subarray(MIB));
    await steady.until(' 202 ');
    opened.clock.advance(10_000);
    await closed;
    await stalled.untilClosed();
    expect((await opened.kept()).map((event) => claimOf(event)?.sizeBytes)).toEqual([2 * MIB]);
    await opened.settle();
    await opened.expectNothingLeft();
  });
});
