/** Opening: the bytes as they are, a part of them, in pieces that wait for their reader; and readers that go away. */
import { describe, expect, test } from '@jest/globals';
import { once } from 'node:events';

import type { PayloadStoreAdapter } from '../payload-store.ts';
import { contentOf, expectContent, payloadOf, PIECE_BYTES, useScene } from './scene.ts';

const SIZE_BYTES = PIECE_BYTES * 2 + 100;

export function describeReading(adapter: PayloadStoreAdapter): void {
  describe('open', () => {
    const scene = useScene(adapter);

    test('a payload that is not there is missing, never empty', async () => {
      const { ref } = await scene.keep();
      for (const missing of [
        payloadOf().ref,
        payloadOf({ hour: '2019010100' }).ref,
        { ...ref, tenant: 'team-b' },
      ]) {
        await expect(scene.store.open(missing)).rejects.toMatchObject({
          code: 'KNEAR_PAYLOAD_MISSING',
          message: expect.stringContaining(`${missing.tenant}/${missing.key}`),
        });
      }
    });

    test.each([
      { name: 'the first byte', first: 0, last: 0 },
      { name: 'the last byte', first: SIZE_BYTES - 1, last: SIZE_BYTES - 1 },
      { name: 'all', first: 0, last: SIZE_BYTES - 1 },
      { name: 'a part of a piece', first: 1_001, last: 2_003 },
      { name: 'one piece', first: PIECE_BYTES, last: PIECE_BYTES * 2 - 1 },
      { name: 'the bytes around the end of a piece', first: PIECE_BYTES - 1, last: PIECE_BYTES },
      { name: 'all but one at each end', first: 1, last: SIZE_BYTES - 2 },
    ])('gives a range of it: $name', async ({ first, last }) => {
      const { ref, bytes } = await scene.keep({ sizeBytes: SIZE_BYTES });
      const found = await contentOf(scene.store, ref, { first, last });
      expect(found.byteLength).toBe(last - first + 1);
      expect(found.equals(bytes.subarray(first, last + 1))).toBe(true);
    });

    test('many read the same payload at once', async () => {
      const { ref, bytes } = await scene.keep({ sizeBytes: 1_500_000 });
      const reads = Array.from({ length: 12 }, () => contentOf(scene.store, ref));
      for (const found of await Promise.all(reads)) expect(found.equals(bytes)).toBe(true);
    });

    test('a reader that does not read makes nothing heap up', async () => {
      const { ref } = await scene.keep({ sizeBytes: 4_000_000 });
      const stream = await scene.store.open(ref);
      await once(stream, 'readable');
      // Reads that were under way have ended when another payload has come through.
      await scene.keep({ sizeBytes: 4_000_000 });
      expect(stream.readableLength).toBeLessThanOrEqual(PIECE_BYTES * 2);
      stream.destroy();
      await once(stream, 'close');
    });

    test('a reader that goes away, before or in the middle, is no error, and hinders nobody', async () => {
      const payload = await scene.keep({ sizeBytes: 1_000_000 });
      for (let index = 0; index < 100; index += 1) {
        const stream = await scene.store.open(payload.ref);
        if (index % 3 === 1) await once(stream, 'readable');
        if (index % 3 === 2) stream.read();
        const closed = once(stream, 'close');
        stream.destroy();
        await closed;
        expect(stream.errored).toBeNull();
      }
      await expectContent(scene.store, [payload]);
      await scene.store.remove(payload.ref);
      await expect(scene.store.open(payload.ref)).rejects.toMatchObject({
        code: 'KNEAR_PAYLOAD_MISSING',
      });
    });

    test('a loop over it that ends early gives it back', async () => {
      const { ref } = await scene.keep({ sizeBytes: 1_000_000 });
      const stream = await scene.store.open(ref);
      for await (const _ of stream) break;
      expect(stream.destroyed).toBe(true);
      await new Promise((resolve) =>
        stream.closed ? resolve(stream) : stream.once('close', resolve),
      );
    });
  });
}
