/**
 * A payload on its way in, with a real spool: what is held, what is spooled, what is kept a copy of, and that nothing is left
 * of one that ends early. The bugs hunted here: bytes in the wrong order where memory ends and the spool begins, memory
 * that is counted and never given back, an empty payload with a ticket.
 */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { KnearError } from '../../core/errors.ts';
import type { PayloadRef } from '../../core/event.ts';
import { claimOf } from '../../core/event.ts';
import type { Intake, ReceiveOptions } from '../../core/ports/payloads.ts';
import { sha256Of } from '../conformance/payload-store/scene.ts';
import { bytesOf } from '../fakes/bytes.ts';
import { FakeClock } from '../fakes/clock.ts';
import type { TestPayloads } from '../fakes/payloads.ts';
import { openTestPayloads } from '../fakes/payloads.ts';
import { ScriptedPayloadStore } from '../fakes/scripted-payload-store.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces = [];
  let first = 0;
  for (const size of sizes) {
    pieces.push(bytes.subarray(first, first + size));
    first += size;
  }
  return [...pieces, bytes.subarray(first)];
}

async function writeAll(intake: Intake, pieces: readonly Uint8Array[]): Promise<void> {
  for (const piece of pieces) await intake.write(piece);
}

async function contentOf(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

function receive({ payloads }: TestPayloads, options: Partial<ReceiveOptions> = {}): Intake {
  return payloads.receive({ tenant: 'default', heldMaxBytes: 100, ...options });
}

function refOf(data: Uint8Array | PayloadRef | undefined): PayloadRef {
  const ref = claimOf({ data });
  if (!ref) throw new Error('it was not claimed');
  return ref;
}

async function expectNothingLeft({ payloads, spool, folder }: TestPayloads): Promise<void> {
  await spool.close();
  expect({
    uploads: payloads.uploads,
    memory: payloads.memoryBytes,
    live: payloads.live.objects,
    spooled: spool.bytes,
    files: await readdir(path.join(folder, 'tmp')),
  }).toEqual({ uploads: 0, memory: 0, live: 0, spooled: 0, files: [] });
}

describe('K2: what is small is held, what is larger goes to the spool', () => {
  test.each([
    { name: 'all that may be held', sizeBytes: 100, isHeld: true },
    { name: 'one byte more', sizeBytes: 101, isHeld: false },
  ])('$name', async ({ sizeBytes, isHeld }) => {
    const opened = await openTestPayloads();
    const intake = receive(opened);
    await writeAll(intake, cut(bytesOf(sizeBytes), [40, 60]));
    expect(intake.sizeBytes).toBe(sizeBytes);
    expect(intake.heldBytes).toBe(isHeld ? sizeBytes : 0);
    expect(opened.payloads.uploads).toBe(isHeld ? 0 : 1);
    const data = await intake.finish(1_000);
    expect(claimOf({ data }) === undefined).toBe(isHeld);
    expect(opened.payloads.uploads).toBe(0);
  });

  test('with nothing to be held it has its place in the spool before the first byte', async () => {
    const opened = await openTestPayloads();
    const intake = receive(opened, { heldMaxBytes: 0 });
    expect(opened.payloads.uploads).toBe(1);
    intake.discard();
    await expectNothingLeft(opened);
  });

  test('what was held is claimed at the end, if less may travel with the event than was thought', async () => {
    const opened = await openTestPayloads();
    const intake = receive(opened);
    await writeAll(intake, [bytesOf(80)]);
    const ref = refOf(await intake.finish(79));
    expect(ref).toMatchObject({ sizeBytes: 80, sha256: sha256Of(bytesOf(80)) });
  });

  test('one piece that is held is not copied', async () => {
    const intake = receive(await openTestPayloads());
    const piece = bytesOf(50);
    await intake.write(piece);
    expect(await intake.finish(100)).toBe(piece);
  });

  test('all bytes arrive in their order, whatever is held, wherever the pieces are cut', async () => {
    const opened = await openTestPayloads();
    const { payloads } = opened;
    const property = fc.asyncProperty(
      fc.array(fc.nat(70_000), { maxLength: 12 }),
      fc.nat(200_000),
      fc.nat(200_000),
      async (sizes, heldMaxBytes, inlineMaxBytes) => {
        const bytes = bytesOf(sizes.reduce((sum, size) => sum + size, 0));
        const intake = receive(opened, { heldMaxBytes });
        await writeAll(intake, cut(bytes, sizes));
        expect((await contentOf(intake.reread())).equals(bytes)).toBe(true);
        const data = await intake.finish(inlineMaxBytes);
        const isInline = bytes.byteLength <= Math.min(heldMaxBytes, inlineMaxBytes);
        const ref = claimOf({ data });
        expect(ref === undefined).toBe(isInline || bytes.byteLength === 0);
        if (!ref) {
          expect(Buffer.from((data as Uint8Array | undefined) ?? []).equals(bytes)).toBe(true);
          return;
        }
        expect(ref).toMatchObject({ sizeBytes: bytes.byteLength, sha256: sha256Of(bytes) });
        expect((await contentOf(payloads.open(ref))).equals(bytes)).toBe(true);
        payloads.release(ref);
      },
    );
    await fc.assert(property, { numRuns: 40 });
    expect(opened.faults).toEqual([]);
  });
});

describe('K3: empty data is never claimed', () => {
  test.each([0, 1, 100])('with %i bytes that may be held', async (heldMaxBytes) => {
    const opened = await openTestPayloads();
    const intake = receive(opened, { heldMaxBytes });
    await writeAll(intake, [Buffer.of(), Buffer.of()]);
    expect(await intake.finish(0)).toBeUndefined();
    await expectNothingLeft(opened);
  });
});

describe('a ticket', () => {
  test('says what was seen, and when and for whom it was made', async () => {
    const clock = new FakeClock(Date.UTC(2026, 4, 4, 8, 59));
    const opened = await openTestPayloads({ clock });
    const intake = receive(opened, { heldMaxBytes: 0, tenant: 'team-a' });
    await writeAll(intake, [bytesOf(10)]);
    expect(refOf(await intake.finish(0, { isJson: true }))).toEqual({
      ...{ v: 1, store: 'memory', tenant: 'team-a', sizeBytes: 10, isJson: true },
      key: expect.stringMatching(/^2026050408\/[\w-]{22}$/),
      sha256: sha256Of(bytesOf(10)),
      createdMs: clock.nowMs(),
    });
  });

  test('of the same bytes is another each time (K11)', async () => {
    const opened = await openTestPayloads();
    const keys = new Set<string>();
    for (let count = 0; count < 5; count += 1) {
      const intake = receive(opened, { heldMaxBytes: 0 });
      await writeAll(intake, [bytesOf(10)]);
      keys.add(refOf(await intake.finish(0)).key);
    }
    expect(keys.size).toBe(5);
  });
});

describe('ending early leaves nothing', () => {
  const MOMENTS: readonly { name: string; reach(intake: Intake): unknown }[] = [
    { name: 'before the first byte', reach: () => undefined },
    { name: 'while it is held', reach: (intake) => intake.write(bytesOf(50)) },
    { name: 'just spooled', reach: (intake) => void intake.write(bytesOf(101)) },
    { name: 'when much is spooled', reach: (intake) => intake.write(bytesOf(700_000)) },
    {
      name: 'while it is read again',
      reach: async (intake) => {
        await intake.write(bytesOf(700_000));
        await intake.reread()[Symbol.asyncIterator]().next();
      },
    },
  ];

  test.each(MOMENTS.flatMap((moment) => [0, 100].map((held) => ({ ...moment, held }))))(
    '$name, with $held bytes that may be held; doing it twice does no harm',
    async ({ reach, held }) => {
      const opened = await openTestPayloads();
      const intake = receive(opened, { heldMaxBytes: held });
      await reach(intake);
      intake.discard();
      intake.discard();
      await expectNothingLeft(opened);
    },
  );

  test('and after the end it does nothing', async () => {
    const opened = await openTestPayloads();
    const intake = receive(opened, { heldMaxBytes: 0 });
    await writeAll(intake, [bytesOf(1_000)]);
    const ref = refOf(await intake.finish(0));
    intake.discard();
    expect((await contentOf(opened.payloads.open(ref))).equals(bytesOf(1_000))).toBe(true);
  });

  test('while the store takes it: it is the store that ends it, and the ticket is good', async () => {
    const store = new ScriptedPayloadStore({ clock: new FakeClock() });
    const opened = await openTestPayloads({ store: async () => store });
    const release = store.hold('put');
    const intake = receive(opened, { heldMaxBytes: 0 });
    await writeAll(intake, [bytesOf(1_000)]);
    const finished = intake.finish(0);
    finished.catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    release();
    expect(refOf(await finished).sizeBytes).toBe(1_000);
  });

  test('by a spool without room: every write says so, and nothing is left', async () => {
    const opened = await openTestPayloads({ spoolMaxBytes: 1_000 });
    const intake = receive(opened);
    await intake.write(bytesOf(900));
    const full = { code: 'KNEAR_PAYLOAD_STORE_FULL' };
    await expect(intake.write(bytesOf(101))).rejects.toMatchObject(full);
    await expect(intake.write(bytesOf(1))).rejects.toMatchObject(full);
    await expect(intake.finish(0)).rejects.toMatchObject(full);
    await expectNothingLeft(opened);
    expect(opened.troubles).toMatchObject([full]);
    expect(opened.payloads.counts.errors.get(full.code)).toBe(1);
  });

  test('by a store that refuses it', async () => {
    const store = new ScriptedPayloadStore({ clock: new FakeClock() });
    const opened = await openTestPayloads({ store: async () => store });
    store.fail('put', new KnearError('KNEAR_PAYLOAD_STORE_DENIED', 'no rights'));
    const intake = receive(opened);
    await writeAll(intake, [bytesOf(1_000)]);
    const denied = { code: 'KNEAR_PAYLOAD_STORE_DENIED' };
    await expect(intake.finish(0)).rejects.toMatchObject(denied);
    await new Promise((resolve) => setImmediate(resolve));
    await expectNothingLeft(opened);
    expect(opened.payloads.counts.errors.get(denied.code)).toBe(1);
  });

  test.each([
    { name: 'when it grows too large to be held', heldMaxBytes: 100, sizeBytes: 101 },
    { name: 'at its end', heldMaxBytes: 100, sizeBytes: 90 },
  ])('by one upload too many, $name', async ({ heldMaxBytes, sizeBytes }) => {
    const opened = await openTestPayloads({ limits: { uploadsMax: 1 } });
    const first = receive(opened, { heldMaxBytes: 0 });
    const second = receive(opened, { heldMaxBytes });
    const ending = async () => {
      await second.write(bytesOf(sizeBytes));
      await second.finish(50);
    };
    await expect(ending()).rejects.toMatchObject({ code: 'KNEAR_UPLOADS_BUSY' });
    second.discard();
    first.discard();
    await expectNothingLeft(opened);
  });
});

describe('a copy in memory', () => {
  const CACHE = { limits: { cacheMaxBytes: 3 * MIB } };

  test('spares reading what has just come', async () => {
    const opened = await openTestPayloads(CACHE);
    const intake = receive(opened, { heldMaxBytes: 0 });
    await writeAll(intake, cut(bytesOf(MIB), [100_000, 300_000]));
    expect(opened.payloads.memoryBytes).toBe(MIB);
    const ref = refOf(await intake.finish(0));
    expect(opened.payloads.memoryBytes).toBe(MIB);
    const lent = opened.payloads.lend(ref);
    expect(lent && Buffer.from(lent.bytes).equals(bytesOf(MIB))).toBe(true);
    lent?.giveBack();
    opened.payloads.release(ref);
    await new Promise((resolve) => setImmediate(resolve));
    expect(opened.payloads.lend(ref)).toBeUndefined();
    await expectNothingLeft(opened);
  });

  test.each([
    { name: 'of a known size', sizeBytes: MIB + 1, declared: true },
    { name: 'of an unknown size', sizeBytes: MIB + 1, declared: false },
  ])('of one that is too large for that is none, $name', async ({ sizeBytes, declared }) => {
    const opened = await openTestPayloads(CACHE);
    const intake = receive(opened, {
      heldMaxBytes: 0,
      ...(declared && { sizeBytes }),
    });
    await intake.write(bytesOf(MIB));
    expect(opened.payloads.memoryBytes).toBe(declared ? 0 : MIB);
    await intake.write(bytesOf(1));
    expect(opened.payloads.memoryBytes).toBe(0);
    const ref = refOf(await intake.finish(0));
    expect(opened.payloads.lend(ref)).toBeUndefined();
    opened.payloads.release(ref);
  });

  test('of all that come at once takes no more than the largest that is kept', async () => {
    const opened = await openTestPayloads(CACHE);
    const intakes = Array.from({ length: 4 }, () => receive(opened, { heldMaxBytes: 0 }));
    for (let round = 0; round < 10; round += 1) {
      for (const intake of intakes) await intake.write(bytesOf(60_000));
      expect(opened.payloads.memoryBytes).toBeLessThanOrEqual(MIB);
    }
    const refs = [];
    for (const intake of intakes) refs.push(refOf(await intake.finish(0)));
    for (const ref of refs) {
      expect((await contentOf(opened.payloads.open(ref))).equals(tenTimes(bytesOf(60_000)))).toBe(
        true,
      );
      opened.payloads.release(ref);
    }
    await new Promise((resolve) => setImmediate(resolve));
    await expectNothingLeft(opened);
  });

  test('is none without a cache', async () => {
    const opened = await openTestPayloads({ limits: { cacheMaxBytes: 0 } });
    const intake = receive(opened);
    await intake.write(bytesOf(1_000));
    expect(opened.payloads.memoryBytes).toBe(0);
    intake.discard();
  });
});

function tenTimes(bytes: Buffer): Buffer {
  return Buffer.concat(Array.from({ length: 10 }, () => bytes));
}
