/** Parked entries: kept for people to look at, within bounds. */
import { describe, expect, test } from '@jest/globals';

import type { LogAdapter } from '../event-log.ts';
import { eventTo, failure, idsOf, lagOf, parked, plain, useScene } from './scene.ts';
import type { Scene } from './scene.ts';

export function describeParking(adapter: LogAdapter): void {
  describe('parked entries', () => {
    const scene = useScene(adapter);

    test('are listed with the event, the failure and when, and not offered', async () => {
      await scene.append('a b', 'one');
      const delivery = await scene.pullOne('a');
      await delivery.settle([parked(delivery.event, scene.nowMs())]);
      expect(scene.lag('a')).toEqual(lagOf({ parked: 1 }));
      expect(await scene.pullRest('a')).toEqual([]);
      const [entry, ...others] = scene.log.parked('a', { limit: 10 });
      expect(others).toEqual([]);
      expect(plain(entry?.event)).toEqual(plain(delivery.event));
      expect(entry?.atMs).toBeLessThanOrEqual(scene.nowMs());
      const kept = entry?.failure;
      expect(kept && { ...kept, data: Buffer.from(kept.data ?? []) }).toEqual(failure);
      expect(scene.log.parked('b', { limit: 10 })).toEqual([]);
      expect(idsOf(await scene.pullRest('b'))).toEqual(['one']);
    });

    test('keep their egress among those that the log holds something for', async () => {
      await parkAll(scene, ['one']);
      expect(scene.log.egressIds()).toEqual(['a']);
    });

    test('may be about an event of their own', async () => {
      await scene.append('a', 'input');
      await (await scene.pullOne('a')).settle([parked(eventTo('', 'marked'), scene.nowMs())]);
      expect(idsOf(scene.log.parked('a', { limit: 10 }))).toEqual(['marked']);
      expect(await scene.pullRest('a')).toEqual([]);
    });

    test('are listed oldest first, page by page', async () => {
      await parkAll(scene, ['one', 'two', 'three', 'four', 'five']);
      const pages: string[][] = [];
      for (let after = 0; pages.length < 5;) {
        const page = scene.log.parked('a', { after, limit: 2 });
        pages.push(idsOf(page));
        if (page.length === 0) break;
        after = page.at(-1)?.position ?? 0;
      }
      expect(pages).toEqual([['one', 'two'], ['three', 'four'], ['five'], []]);
    });
  });

  describe('the bound on how many are parked', () => {
    const scene = useScene(adapter, { parkedMax: 3 });

    test('drops the oldest, one for one', async () => {
      await parkAll(scene, ['one', 'two', 'three']);
      await scene.quiet();
      expect(scene.lag('a').parked).toBe(3);
      await parkAll(scene, ['four']);
      expect(scene.lag('a').parked).toBe(3);
      expect(idsOf(scene.log.parked('a', { limit: 10 }))).toEqual(['two', 'three', 'four']);
    });

    test('holds for what is parked together', async () => {
      await parkAll(scene, ['one', 'two', 'three', 'four', 'five', 'six']);
      await scene.quiet();
      expect(scene.lag('a').parked).toBe(3);
      expect(idsOf(scene.log.parked('a', { limit: 10 }))).toEqual(['four', 'five', 'six']);
    });

    test('is for each egress alone', async () => {
      await scene.append('a b', 'one', 'two', 'three');
      for (const egressId of ['a', 'b']) {
        for (const delivery of await scene.pull(egressId, 3)) {
          await delivery.settle([parked(delivery.event, scene.nowMs())]);
        }
      }
      await scene.quiet();
      expect(scene.lag('a')).toEqual(lagOf({ parked: 3 }));
      expect(scene.lag('b')).toEqual(lagOf({ parked: 3 }));
    });
  });

  describe('the bound on how large they are together', () => {
    const scene = useScene(adapter, { parkedBytesMax: 3_000 });

    test('drops the oldest until the rest fits', async () => {
      await parkAll(scene, ['one', 'two'], 1_000);
      await scene.quiet();
      expect(scene.lag('a').parked).toBe(2);
      await parkAll(scene, ['large'], 2_500);
      await scene.quiet();
      expect(idsOf(scene.log.parked('a', { limit: 10 }))).toEqual(['large']);
    });

    test('never drops the new entry itself, however large it is', async () => {
      await parkAll(scene, ['huge'], 10_000);
      await scene.quiet();
      expect(idsOf(scene.log.parked('a', { limit: 10 }))).toEqual(['huge']);
      await parkAll(scene, ['next'], 10);
      await scene.quiet();
      expect(idsOf(scene.log.parked('a', { limit: 10 }))).toEqual(['next']);
    });
  });
}

/** Parks events of this size for egress `a`, all at once. */
async function parkAll(scene: Scene, ids: readonly string[], sizeBytes = 0): Promise<void> {
  const data = sizeBytes > 0 ? Buffer.alloc(sizeBytes) : undefined;
  await scene.log.append(
    'orders',
    ids.map((id) => eventTo('a', id, data)),
  );
  const deliveries = await scene.pull('a', ids.length);
  const settled = deliveries.map((one) => one.settle([parked(one.event, scene.nowMs())]));
  for (const one of settled) await one;
}
