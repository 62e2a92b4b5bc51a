/** Putting and removing: what resolved is there, whatever else goes on, and what was removed is not. */
import { describe, expect, test } from '@jest/globals';
import { rm } from 'node:fs/promises';
import path from 'node:path';

import type { PayloadStoreAdapter } from '../payload-store.ts';
import {
  contentOf,
  expectContent,
  keysIn,
  keysOf,
  payloadOf,
  PIECE_BYTES,
  spooled,
  useScene,
} from './scene.ts';

/** What must not become a path, a prefix or a subject. */
const NO_TENANTS = ['', '.', '..', '../team-a', 'team/a', '/etc', 'Team', '-a', 'a-', '_a', 'a\0b'];
const ID = 'AAAAAAAAAAAAAAAAAAAAAA';
const NO_KEYS = [
  '',
  ID,
  `2026010107/${ID}A`,
  `2026010107/../${ID}`,
  `../2026010107/${ID}`,
  `2026010107/${ID}/x`,
  `202601010/${ID}`,
  '2026010107/../../../../../etc/pw',
  `2026010107/${ID.slice(1)}\n`,
];

export function describeKeeping(adapter: PayloadStoreAdapter): void {
  describe('put and remove', () => {
    const scene = useScene(adapter);

    test.each([0, 1, 1_000, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3_000_000])(
      'a payload of %i bytes is there when put has resolved, and its spool file may go',
      async (sizeBytes) => {
        const { ref, bytes } = payloadOf({ sizeBytes });
        const spool = await spooled(scene.spoolFolder, bytes);
        await scene.store.put(ref, spool);
        await rm(spool.path, { force: true });
        expect((await contentOf(scene.store, ref)).equals(bytes)).toBe(true);
      },
    );

    test('the same ref again is no error, whether its spool file is there or not', async () => {
      const payload = await scene.keep();
      await scene.store.put(payload.ref, await spooled(scene.spoolFolder, payload.bytes));
      const gone = { path: path.join(scene.spoolFolder, 'gone'), sizeBytes: 1_000 };
      await scene.store.put(payload.ref, gone);
      await expectContent(scene.store, [payload]);
      expect(await keysIn(scene.store)).toEqual([payload.ref.key]);
    });

    test('a payload is written once: what comes later under its ref changes nothing', async () => {
      const payload = await scene.keep();
      const other = payloadOf();
      await scene.store.put(payload.ref, await spooled(scene.spoolFolder, other.bytes));
      await expectContent(scene.store, [payload]);
    });

    test('the same ref many times at once is one payload', async () => {
      const payload = payloadOf({ sizeBytes: 100_000 });
      const put = async () =>
        scene.store.put(payload.ref, await spooled(scene.spoolFolder, payload.bytes));
      await Promise.all(Array.from({ length: 8 }, put));
      await expectContent(scene.store, [payload]);
      expect(await keysIn(scene.store)).toEqual([payload.ref.key]);
    });

    test('many at once, in new hours and for new tenants, are all kept', async () => {
      const options = Array.from({ length: 60 }, (_, index) => ({
        tenant: `team-${index % 3}`,
        hour: `20260101${String(index % 4).padStart(2, '0')}`,
        sizeBytes: 10_000 + index,
      }));
      const payloads = await Promise.all(options.map((each) => scene.keep(each)));
      await expectContent(scene.store, payloads);
      expect(await keysIn(scene.store)).toEqual(keysOf(payloads));
    });

    test('a put without its spool file is refused, and leaves nothing', async () => {
      const { ref } = payloadOf();
      const gone = { path: path.join(scene.spoolFolder, 'gone'), sizeBytes: 1_000 };
      await expect(scene.store.put(ref, gone)).rejects.toMatchObject({
        code: 'KNEAR_PAYLOAD_STORE_AWAY',
      });
      expect(await keysIn(scene.store)).toEqual([]);
    });

    test('one that was removed is missing, and may be put again', async () => {
      const { ref, bytes } = await scene.keep();
      await scene.store.remove(ref);
      await expect(scene.store.open(ref)).rejects.toMatchObject({ code: 'KNEAR_PAYLOAD_MISSING' });
      expect(await keysIn(scene.store)).toEqual([]);
      await scene.store.put(ref, await spooled(scene.spoolFolder, bytes));
      await expectContent(scene.store, [{ ref, bytes }]);
    });

    test('removing what is not there is no error, once, twice and at once', async () => {
      const { ref } = await scene.keep();
      await Promise.all([scene.store.remove(ref), scene.store.remove(ref)]);
      await scene.store.remove(ref);
      await scene.store.remove(payloadOf({ tenant: 'nobody' }).ref);
      expect(await keysIn(scene.store)).toEqual([]);
    });

    test('a removal takes that payload and no other: not of the tenant, not of the hour, not under its key', async () => {
      const [first, second] = [await scene.keep(), await scene.keep()];
      const namesake = { ...first.ref, tenant: 'team-b' };
      const { bytes } = payloadOf();
      await scene.store.put(namesake, await spooled(scene.spoolFolder, bytes));
      await scene.store.remove(first.ref);
      await expectContent(scene.store, [second, { ref: namesake, bytes }]);
    });

    test('puts and removals in one hour do not hinder each other, though it is empty time and again', async () => {
      let last = [await scene.keep()];
      for (let round = 0; round < 40; round += 1) {
        const removals = last.map(({ ref }) => scene.store.remove(ref));
        const puts = Array.from({ length: 1 + (round % 3) }, () => scene.keep());
        [last] = await Promise.all([Promise.all(puts), Promise.all(removals)]);
        await expectContent(scene.store, last);
      }
      expect(await keysIn(scene.store)).toEqual(keysOf(last));
    });

    test('what is being read stays readable for that reader, or breaks with a code, when it is removed', async () => {
      const { ref, bytes } = await scene.keep({ sizeBytes: 2_000_000 });
      const stream = await scene.store.open(ref);
      const pieces: Buffer[] = [];
      const end = (async () => {
        for await (const piece of stream) pieces.push(piece as Buffer);
        return 'whole';
      })().catch((error: unknown) => (error as { code?: unknown }).code);
      await scene.store.remove(ref);
      expect(['whole', 'KNEAR_PAYLOAD_MISSING']).toContain(await end);
      const found = Buffer.concat(pieces);
      expect(found.equals(bytes.subarray(0, found.byteLength))).toBe(true);
      expect(found.byteLength === bytes.byteLength).toBe((await end) === 'whole');
    });

    test.each([
      ...NO_TENANTS.map((tenant) => ({ tenant, key: `2026010107/${ID}` })),
      ...NO_KEYS.map((key) => ({ tenant: 'team-a', key })),
    ])('names that could lead elsewhere are refused: %j', async (names) => {
      const payload = await scene.keep();
      const ref = { ...payload.ref, ...names };
      const spool = await spooled(scene.spoolFolder, payload.bytes);
      const refusal = { code: 'ERR_ASSERTION' };
      await expect(scene.store.put(ref, spool)).rejects.toMatchObject(refusal);
      await expect(scene.store.open(ref)).rejects.toMatchObject(refusal);
      await expect(scene.store.remove(ref)).rejects.toMatchObject(refusal);
      expect(await keysIn(scene.store)).toEqual([payload.ref.key]);
    });

    test('close can be called twice', async () => {
      await scene.store.close();
      await scene.store.close();
    });

    if (adapter.hasRestart) {
      test('what was put is there after a restart, and what was removed is not', async () => {
        const payloads = [await scene.keep(), await scene.keep({ hour: '2026010108' })];
        const { ref } = await scene.keep();
        await scene.store.remove(ref);
        await scene.restart();
        await expectContent(scene.store, payloads);
        expect(await keysIn(scene.store)).toEqual(keysOf(payloads));
      });
    }
  });
}
