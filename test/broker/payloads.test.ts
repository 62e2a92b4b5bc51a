/**
 * Payloads from their store to a reader and to their end, over a real spool: what may leave, what is said of what may not,
 * who keeps a payload and when it goes. The bugs hunted here: a wrong payload that leaves whole, one that is called missing
 * or altered when the store is merely in trouble, one that is removed while somebody needs it or stays when nobody does.
 */
import { describe, expect, test } from '@jest/globals';
import { readdir, rename, truncate, unlink, writeFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { FilePayloadStore } from '../../broker/payload/file-store.ts';
import type { PayloadKeeper } from '../../broker/payload/payloads.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { KnearError } from '../../core/errors.ts';
import type { PayloadRef } from '../../core/event.ts';
import { claimOf, payloadId } from '../../core/event.ts';
import { listed } from '../conformance/payload-store/scene.ts';
import { bytesOf } from '../fakes/bytes.ts';
import { FakeClock } from '../fakes/clock.ts';
import { eventuallyOnDisk } from '../fakes/eventually-on-disk.ts';
import type { TestPayloads, TestPayloadsOptions } from '../fakes/payloads.ts';
import { openTestPayloads } from '../fakes/payloads.ts';
import { ScriptedPayloadStore } from '../fakes/scripted-payload-store.ts';
import { openedBelow } from './payload-disk.ts';

const MIB = 1024 * 1024;
/** Kept in memory up to 1 MiB each. */
const SMALL = 100_000;
const LARGE = 2 * MIB;

const AWAY = { code: 'KNEAR_PAYLOAD_STORE_AWAY' };
const CORRUPT = { code: 'KNEAR_PAYLOAD_CORRUPT' };
const MISSING = { code: 'KNEAR_PAYLOAD_MISSING' };

async function claim(
  { payloads }: Pick<TestPayloads, 'payloads'>,
  { sizeBytes = SMALL, tenant = 'default' } = {},
): Promise<PayloadRef> {
  const intake = payloads.receive({ tenant, heldMaxBytes: 0 });
  await intake.write(bytesOf(sizeBytes));
  const ref = claimOf({ data: await intake.finish(0) });
  if (!ref) throw new Error('it was not claimed');
  return ref;
}

/** A record names it. */
function record(ledger: TestPayloads['ledger'], ref: PayloadRef): void {
  ledger.rows.set(payloadId(ref), { ref, records: 1 });
}

/** What a reader got, and how it ended. */
async function read(
  payloads: PayloadKeeper,
  ref: PayloadRef,
): Promise<{ readonly bytes: Buffer; readonly error?: unknown }> {
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of payloads.open(ref)) pieces.push(piece);
    return { bytes: Buffer.concat(pieces) };
  } catch (error) {
    return { bytes: Buffer.concat(pieces), error };
  }
}

/** Lets what was begun come to its end, as far as it needs no disk. */
async function calm(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** In a store of files, and not in memory. */
async function onDisk(options: TestPayloadsOptions = {}) {
  const clock = new FakeClock();
  const opened = await openTestPayloads({
    clock,
    limits: { cacheMaxBytes: 0 },
    store: (folder) => FilePayloadStore.open({ folder: path.join(folder, 'payloads'), clock }),
    ...options,
  });
  const fileOf = (ref: PayloadRef) => path.join(opened.folder, 'payloads', payloadId(ref));
  return { ...opened, clock, fileOf };
}

async function scripted(options: TestPayloadsOptions = {}) {
  const clock = new FakeClock();
  const store = new ScriptedPayloadStore({ clock });
  const limits = { cacheMaxBytes: 0 };
  const opened = await openTestPayloads({ clock, limits, ...options, store: async () => store });
  return { ...opened, clock, store };
}

function failure(code: ErrorCode): KnearError {
  return new KnearError(code, 'scripted');
}

describe('K1: there is a ticket only for what is durable', () => {
  test('it comes when the store has all of it', async () => {
    const opened = await scripted();
    const release = opened.store.hold('put');
    let ref: PayloadRef | undefined;
    const claimed = claim(opened).then((found) => (ref = found));
    await eventuallyOnDisk(async () => expect(opened.store.calls.put).toBe(1));
    await calm();
    expect(ref).toBeUndefined();
    release();
    await claimed;
    expect(ref).toMatchObject({ sizeBytes: SMALL });
  });

  test.each<ErrorCode>([
    'KNEAR_PAYLOAD_STORE_AWAY',
    'KNEAR_PAYLOAD_STORE_DENIED',
    'KNEAR_PAYLOAD_STORE_FULL',
  ])('a put that fails with %s gives none, and whatever it has left is removed', async (code) => {
    const opened = await scripted();
    opened.store.failAfter('put', failure(code));
    await expect(claim(opened)).rejects.toMatchObject({ code });
    await calm();
    expect(await listed(opened.store)).toEqual([]);
    expect(opened.payloads.live).toMatchObject({ objects: 0, bytes: 0, leftovers: 0 });
    expect(opened.troubles).toMatchObject([{ code }]);
  });
});

describe('reading', () => {
  test.each([SMALL, LARGE, 1])('hands out all %i bytes', async (sizeBytes) => {
    const { payloads, ...opened } = await onDisk();
    const ref = await claim({ payloads }, { sizeBytes });
    expect((await read(payloads, ref)).bytes.equals(bytesOf(sizeBytes))).toBe(true);
    expect(payloads.counts.readBytes).toBe(sizeBytes);
    expect(await openedBelow(opened.folder)).toEqual([]);
  });

  test('opens nothing before the first piece is asked for', async () => {
    const opened = await scripted();
    const ref = await claim(opened);
    const pieces = opened.payloads.open(ref);
    await calm();
    expect(opened.store.calls.open).toBe(0);
    await pieces.next();
    expect(opened.store.calls.open).toBe(1);
    await pieces.return();
  });

  test('gives back what is open when nobody wants more', async () => {
    const { payloads, folder } = await onDisk();
    const ref = await claim({ payloads }, { sizeBytes: 3 * LARGE });
    const pieces = payloads.open(ref);
    await pieces.next();
    expect(await openedBelow(folder)).toHaveLength(1);
    await pieces.return();
    await eventuallyOnDisk(async () => expect(await openedBelow(folder)).toEqual([]));
    expect(payloads.counts.errors.size).toBe(0);
  });

  test('K36: many at once read the store once, and who comes later not at all', async () => {
    const opened = await scripted({ limits: { cacheMaxBytes: 3 * MIB } });
    const ref = await claim(opened);
    // What has just come in is in memory already; other payloads push it out.
    for (let count = 0; count < 4; count += 1) await claim(opened, { sizeBytes: MIB });
    expect(opened.payloads.lend(ref)).toBeUndefined();
    const release = opened.store.hold('open');
    const reads = Array.from({ length: 20 }, () => read(opened.payloads, ref));
    await calm();
    release();
    for (const { bytes } of await Promise.all(reads)) {
      expect(bytes.equals(bytesOf(SMALL))).toBe(true);
    }
    expect(opened.store.calls.open).toBe(1);
    const lent = opened.payloads.lend(ref);
    expect(lent && Buffer.from(lent.bytes).equals(bytesOf(SMALL))).toBe(true);
    lent?.giveBack();
  });

  test('many large ones at once take no more memory than the bound', async () => {
    const opened = await scripted({
      limits: { cacheMaxBytes: 3 * MIB, uploadsMax: 32 },
    });
    const sizes = Array.from({ length: 24 }, (_, index) => 600_000 + 50_000 * index);
    const refs = await Promise.all(sizes.map((sizeBytes) => claim(opened, { sizeBytes })));
    let most = 0;
    const reads = refs.flatMap((ref) =>
      [0, 1].map(async () => {
        for await (const piece of opened.payloads.open(ref)) {
          most = Math.max(most, opened.payloads.memoryBytes);
          void piece;
        }
      }),
    );
    await Promise.all(reads);
    expect(most).toBeGreaterThan(0);
    // What is kept, and as much again for what is being read.
    expect(most).toBeLessThanOrEqual(2 * 3 * MIB);
    expect(opened.payloads.memoryBytes).toBeLessThanOrEqual(3 * MIB);
  });
});

const ALTERATIONS: readonly { name: string; alter(file: string): Promise<void> }[] = [
  {
    name: 'its last byte is another',
    alter: async (file) => {
      const bytes = await readFile(file);
      bytes[bytes.byteLength - 1] = (bytes.at(-1) ?? 0) ^ 1;
      await writeFile(file, bytes);
    },
  },
  {
    name: 'its first byte is another',
    alter: async (file) => {
      const bytes = await readFile(file);
      bytes[0] = (bytes[0] ?? 0) ^ 1;
      await writeFile(file, bytes);
    },
  },
  { name: 'it is one byte short', alter: (file) => truncate(file, LARGE - 1) },
  { name: 'it is one byte long', alter: (file) => truncate(file, LARGE + 1) },
  { name: 'it is empty', alter: (file) => truncate(file, 0) },
];

describe('K33: a payload that was altered', () => {
  test.each(ALTERATIONS)(
    'never leaves whole (K30), and is said to be altered, after a second look: $name',
    async ({ alter }) => {
      const { payloads, fileOf, faults, folder } = await onDisk();
      const ref = await claim({ payloads }, { sizeBytes: LARGE });
      await alter(fileOf(ref));
      const { bytes, error } = await read(payloads, ref);
      expect(error).toMatchObject({ ...CORRUPT, message: expect.stringContaining(ref.key) });
      expect(bytes.byteLength).toBeLessThan(LARGE);
      expect(faults).toMatchObject([CORRUPT]);
      expect(payloads.counts.corrupt).toBe(1);
      expect(await openedBelow(folder)).toEqual([]);
      // It is not the store that is in trouble.
      expect(payloads.trouble).toBeUndefined();
    },
  );

  test('is found by verify, too, and a good one is good', async () => {
    const { payloads, fileOf } = await onDisk();
    const ref = await claim({ payloads });
    await payloads.verify(ref);
    await truncate(fileOf(ref), 10);
    await expect(payloads.verify(ref)).rejects.toMatchObject(CORRUPT);
  });

  test('is read from the store by verify, while who has it in memory gives the right bytes', async () => {
    const { payloads, fileOf } = await onDisk({ limits: { cacheMaxBytes: 3 * MIB } });
    const ref = await claim({ payloads });
    await truncate(fileOf(ref), 10);
    await expect(payloads.verify(ref)).rejects.toMatchObject(CORRUPT);
    expect(await read(payloads, ref)).toMatchObject({ bytes: { byteLength: ref.sizeBytes } });
    expect((await read(payloads, ref)).error).toBeUndefined();
  });

  /** Hands out the first piece only. */
  async function* cutOff(own: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of own) return yield piece;
  }

  test('once only is the store’s trouble: it will be read again', async () => {
    const { payloads, store, faults, ...opened } = await scripted();
    const ref = await claim({ payloads }, { sizeBytes: LARGE });
    store.spoiled.push(cutOff);
    expect((await read(payloads, ref)).error).toMatchObject({
      ...AWAY,
      cause: expect.objectContaining(CORRUPT),
    });
    expect(faults).toEqual([]);
    expect(payloads.counts.corrupt).toBe(0);
    expect((await read(payloads, ref)).bytes.equals(bytesOf(LARGE))).toBe(true);
    expect(opened.troubles).toMatchObject([AWAY, undefined]);
  });

  test.each<{ then: string; code: ErrorCode; faults: number; errors: number }>([
    { then: 'is away', code: 'KNEAR_PAYLOAD_STORE_AWAY', faults: 0, errors: 1 },
    { then: 'may not be used', code: 'KNEAR_PAYLOAD_STORE_DENIED', faults: 0, errors: 1 },
    { then: 'has it no more', code: 'KNEAR_PAYLOAD_MISSING', faults: 1, errors: 0 },
  ])(
    'is not called altered when the store $then at the second look',
    async ({ code, faults, errors }) => {
      const { payloads, store, ...opened } = await scripted();
      const ref = await claim({ payloads }, { sizeBytes: LARGE });
      store.spoiled.push((own) => {
        store.fail('open', failure(code));
        return cutOff(own);
      });
      expect((await read(payloads, ref)).error).toMatchObject({ code });
      expect(payloads.counts).toMatchObject({ corrupt: 0, missing: faults });
      expect(opened.faults).toHaveLength(faults);
      expect(payloads.counts.errors.get(code) ?? 0).toBe(errors);
    },
  );
});

describe('K33: a payload that is missing', () => {
  test('is called so when the store is there and has it not', async () => {
    const { payloads, fileOf, faults, troubles } = await onDisk();
    const ref = await claim({ payloads });
    await unlink(fileOf(ref));
    expect((await read(payloads, ref)).error).toMatchObject(MISSING);
    expect(faults).toMatchObject([MISSING]);
    expect(payloads.counts.missing).toBe(1);
    expect(troubles).toEqual([]);
    await expect(payloads.verify(ref)).rejects.toMatchObject(MISSING);
  });

  test('is not called so when the store is not there', async () => {
    const { payloads, folder, faults, troubles } = await onDisk();
    const ref = await claim({ payloads });
    const there = path.join(folder, 'payloads');
    await rename(there, `${there}-aside`);
    expect((await read(payloads, ref)).error).toMatchObject(AWAY);
    expect(payloads.counts.missing).toBe(0);
    expect(faults).toEqual([]);
    expect(troubles).toMatchObject([AWAY]);
    await rename(`${there}-aside`, there);
    expect((await read(payloads, ref)).bytes.byteLength).toBe(SMALL);
    expect(troubles).toMatchObject([AWAY, undefined]);
  });

  test('is not called so when it is in another store than ours', async () => {
    const { payloads, faults } = await onDisk();
    const ref = await claim({ payloads });
    const elsewhere: PayloadRef = { ...ref, store: 's3' };
    expect((await read(payloads, elsewhere)).error).toMatchObject({
      ...AWAY,
      message: expect.stringContaining('s3'),
    });
    await expect(payloads.verify(elsewhere)).rejects.toMatchObject(AWAY);
    expect(faults).toEqual([]);
  });

  test('because it was redacted is said to be that (K43), from memory or not', async () => {
    for (const cacheMaxBytes of [0, 3 * MIB]) {
      const { payloads, ledger, faults, store } = await onDisk({ limits: { cacheMaxBytes } });
      const ref = await claim({ payloads });
      record(ledger, ref);
      payloads.release(ref);
      expect(await payloads.redact(ref)).toBe(true);
      expect(await listed(store)).toEqual([]);
      expect(payloads.lend(ref)).toBeUndefined();
      expect((await read(payloads, ref)).error).toMatchObject({ code: 'KNEAR_PAYLOAD_REDACTED' });
      expect(faults).toEqual([]);
      expect(payloads.counts.missing).toBe(0);
    }
  });

  test('that no record names is not redacted', async () => {
    const { payloads, store } = await onDisk();
    const ref = await claim({ payloads });
    expect(await payloads.redact(ref)).toBe(false);
    expect(await listed(store)).toHaveLength(1);
  });
});

describe('trouble', () => {
  test('is told once a change, and a store that can be read does not hide that it is full', async () => {
    const { payloads, store, troubles } = await scripted();
    const ref = await claim({ payloads });
    store.fail('put', failure('KNEAR_PAYLOAD_STORE_FULL'));
    for (let count = 0; count < 3; count += 1) {
      await expect(claim({ payloads })).rejects.toMatchObject({
        code: 'KNEAR_PAYLOAD_STORE_FULL',
      });
      expect((await read(payloads, ref)).error).toBeUndefined();
    }
    expect(troubles).toMatchObject([{ code: 'KNEAR_PAYLOAD_STORE_FULL' }]);
    expect(payloads.trouble).toMatchObject({ code: 'KNEAR_PAYLOAD_STORE_FULL' });
    store.fail('put', failure('KNEAR_PAYLOAD_STORE_AWAY'));
    await expect(claim({ payloads })).rejects.toMatchObject(AWAY);
    store.fail('put');
    await claim({ payloads });
    expect(troubles).toMatchObject([{ code: 'KNEAR_PAYLOAD_STORE_FULL' }, AWAY, undefined]);
    expect(payloads.trouble).toBeUndefined();
  });

  test('that writing and reading have is over when both are, and is told one after the other', async () => {
    const { payloads, store, troubles } = await scripted();
    const ref = await claim({ payloads });
    const told = () => troubles.map((trouble) => trouble?.code);
    store.fail('put', failure('KNEAR_PAYLOAD_STORE_FULL'));
    store.fail('open', failure('KNEAR_PAYLOAD_STORE_AWAY'));
    await expect(claim({ payloads })).rejects.toMatchObject({ code: 'KNEAR_PAYLOAD_STORE_FULL' });
    await read(payloads, ref);
    expect(told()).toEqual(['KNEAR_PAYLOAD_STORE_FULL']);
    store.fail('put');
    await claim({ payloads });
    expect(told()).toEqual(['KNEAR_PAYLOAD_STORE_FULL', 'KNEAR_PAYLOAD_STORE_AWAY']);
    store.fail('open');
    await read(payloads, ref);
    expect(told().slice(2)).toEqual([undefined]);
  });
});

describe('who needs a payload', () => {
  test('it goes when whoever received it lets go and no record names it', async () => {
    const opened = await onDisk();
    const ref = await claim(opened);
    expect(opened.payloads.live).toMatchObject({ objects: 1, bytes: SMALL });
    opened.payloads.release(ref);
    await until(opened, 0);
    expect(opened.payloads.live).toMatchObject({ objects: 0, bytes: 0, removed: 1 });
  });

  test('it stays as long as a record names it, and goes with the last one', async () => {
    const opened = await onDisk();
    const { payloads, ledger } = opened;
    const { holders } = payloads;
    const ref = await claim(opened);
    // The log: on its way to the disk, then durable.
    holders.hold(ref);
    payloads.release(ref);
    record(ledger, ref);
    holders.release(ref);
    await calm();
    expect(await listed(opened.store)).toHaveLength(1);
    ledger.rows.delete(payloadId(ref));
    holders.freed(ref);
    await until(opened, 0);
  });

  test('it stays while a record is on its way that names it', async () => {
    const opened = await onDisk();
    const { holders } = opened.payloads;
    const ref = await claim(opened);
    holders.hold(ref);
    holders.hold(ref);
    opened.payloads.release(ref);
    holders.release(ref);
    // A settle has freed the record before, durably, while another one is written.
    holders.freed(ref);
    await calm();
    expect(await listed(opened.store)).toHaveLength(1);
    holders.release(ref);
    await until(opened, 0);
  });

  test('what could not be removed is tried again after the interval, and counts until then', async () => {
    const { payloads, store, clock, faults } = await scripted();
    void payloads.start('log-1');
    await calm();
    store.fail('remove', failure('KNEAR_PAYLOAD_STORE_AWAY'));
    const ref = await claim({ payloads });
    payloads.release(ref);
    await calm();
    expect(payloads.live).toMatchObject({ objects: 1, leftovers: 1 });
    expect(faults).toMatchObject([AWAY]);
    store.fail('remove');
    clock.advance(600_000);
    await calm();
    expect(payloads.live).toMatchObject({ objects: 0, bytes: 0, leftovers: 0 });
    expect(await listed(store)).toEqual([]);
  });

  test('namespaces are counted apart, and a quota is for one of them', async () => {
    const opened = await onDisk();
    const { payloads } = opened;
    await claim(opened, { tenant: 'team-a' });
    await claim(opened, { tenant: 'team-b' });
    const quotaBytes = SMALL + 10;
    const receive = (tenant: string, sizeBytes: number) => () =>
      payloads.receive({ tenant, quotaBytes, heldMaxBytes: 0, sizeBytes });
    expect(receive('team-a', 11)).toThrow(
      expect.objectContaining({ code: 'KNEAR_PAYLOAD_QUOTA', retryAfterMs: 5_000 }),
    );
    receive('team-a', 10)().discard();
    receive('team-c', SMALL)().discard();
    expect(payloads.uploads).toBe(0);
    // The producer has to wait for consumers, not the store for an operator.
    expect(opened.troubles).toEqual([]);
  });

  async function until({ payloads, store }: TestPayloads, count: number): Promise<void> {
    await eventuallyOnDisk(async () => {
      expect(await listed(store)).toHaveLength(count);
      expect(payloads.live.objects).toBe(count);
    });
  }
});

describe('the start', () => {
  /** Two payloads that a process before this one has left, one of them named by a record. */
  async function left(options: { readonly owner?: string; readonly isDryRun?: boolean } = {}) {
    const { owner = 'log-1', isDryRun = false } = options;
    const clock = new FakeClock();
    const store = new ScriptedPayloadStore({ clock });
    if (owner !== '') await store.identity(owner, { mayAdopt: true });
    const before = await openTestPayloads({ clock, store: async () => store });
    const [named, orphan] = [await claim(before), await claim(before)];
    const opened = await openTestPayloads({
      clock,
      store: async () => store,
      limits: { isDryRun },
    });
    record(opened.ledger, named);
    const keys = async () => (await listed(store)).map(({ key }) => key).toSorted();
    return { ...opened, store, clock, named, orphan, keys };
  }

  test('removes what no record names, and counts what one does', async () => {
    const { payloads, named, keys, faults } = await left();
    void payloads.start('log-1');
    expect(payloads.live).toMatchObject({ objects: 1, bytes: SMALL });
    await calm();
    expect(await keys()).toEqual([named.key]);
    expect(payloads.live).toMatchObject({ objects: 1, bytes: SMALL, removed: 1 });
    expect(faults).toEqual([]);
  });

  test('removes nothing that is just coming in', async () => {
    const { payloads, store, named, keys } = await left();
    const ready = store.hold('identity');
    void payloads.start('log-1');
    const young = await claim({ payloads });
    ready();
    await calm();
    expect(await keys()).toEqual([named.key, young.key].toSorted());
  });

  test('removes nothing in a dry run', async () => {
    const { payloads, named, orphan, keys } = await left({ isDryRun: true });
    void payloads.start('log-1');
    await calm();
    expect(await keys()).toEqual([named.key, orphan.key].toSorted());
    const swept = await payloads.sweep({ isDryRun: true, isForced: false });
    expect(swept).toEqual({ seen: 2, orphans: 1, orphanBytes: SMALL, removed: 0 });
  });

  test.each([
    { name: 'another log', owner: 'log-2' },
    { name: 'nobody knows whom', owner: '' },
  ])('K45: removes nothing that belongs to $name, and says so', async ({ owner }) => {
    const { payloads, named, orphan, keys, faults } = await left({ owner });
    void payloads.start('log-1');
    await calm();
    const foreign = { code: 'KNEAR_PAYLOAD_FOREIGN' };
    expect(faults).toMatchObject([foreign]);
    expect(payloads.trouble).toMatchObject(foreign);
    for (const isForced of [false, true]) {
      const swept = payloads.sweep({ isDryRun: false, isForced });
      await expect(swept).rejects.toMatchObject(foreign);
    }
    expect(await keys()).toEqual([named.key, orphan.key].toSorted());
  });

  test('K45: removes nothing while it cannot be asked whose it is, and asks again', async () => {
    const { payloads, store, named, orphan, keys, faults } = await left({ owner: 'log-2' });
    store.fail('identity', failure('KNEAR_PAYLOAD_STORE_AWAY'));
    void payloads.start('log-1');
    await calm();
    expect(faults).toMatchObject([AWAY]);
    const sweep = () => payloads.sweep({ isDryRun: false, isForced: true });
    await expect(sweep()).rejects.toMatchObject(AWAY);
    store.fail('identity');
    await expect(sweep()).rejects.toMatchObject({ code: 'KNEAR_PAYLOAD_FOREIGN' });
    expect(await keys()).toEqual([named.key, orphan.key].toSorted());
  });

  test('takes payloads in and hands them out, whosever the others are', async () => {
    const { payloads, named } = await left({ owner: 'log-2' });
    void payloads.start('log-1');
    const ref = await claim({ payloads });
    for (const each of [ref, named]) expect((await read(payloads, each)).bytes.length).toBe(SMALL);
  });
});

describe('close', () => {
  test('discards uploads in progress, waits for removals, and may be called twice', async () => {
    const { payloads, spool, store, clock, folder } = await scripted();
    void payloads.start('log-1');
    await calm();
    const upload = payloads.receive({ tenant: 'default', heldMaxBytes: 0 });
    await upload.write(bytesOf(SMALL));
    const release = store.hold('remove');
    payloads.release(await claim({ payloads }));
    let isClosed = false;
    const closed = payloads.close().then(() => (isClosed = true));
    await expect(upload.write(bytesOf(1))).rejects.toMatchObject({ code: 'KNEAR_CLOSED' });
    await expect(upload.finish(0)).rejects.toMatchObject({ code: 'KNEAR_CLOSED' });
    await calm();
    expect(isClosed).toBe(false);
    release();
    await closed;
    await payloads.close();
    expect(await listed(store)).toEqual([]);
    expect(clock.timerCount).toBe(0);
    expect(payloads.uploads).toBe(0);
    await spool.close();
    expect(await readdir(path.join(folder, 'tmp'))).toEqual([]);
    expect(payloads.trouble).toBeUndefined();
  });

  test('while the start still looks, sets no timer afterwards', async () => {
    const { payloads, store, clock } = await scripted();
    const release = store.hold('identity');
    void payloads.start('log-1');
    await payloads.close();
    release();
    await calm();
    expect(clock.timerCount).toBe(0);
  });
});
