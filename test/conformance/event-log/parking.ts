/** Parked entries: kept for people to look at, to replay and to drop, within bounds. */
import { describe, expect } from '@jest/globals';

import type { Position } from '../../../core/ports/event-log.ts';
import type { LogAdapter } from '../event-log.ts';
import { eventTo, failure, idsOf, parked, plain, useScene } from './scene.ts';
import type { Scene } from './scene.ts';

export function describeParking(adapter: LogAdapter): void {
  describe('parked entries', () => {
    const scene = useScene(adapter);
    const { test } = scene;

    test('are listed with the event, the failure and when, and not offered', async () => {
      await scene.append('a b', 'one');
      const delivery = await scene.pullOne('a');
      await delivery.settle([parked(delivery.event, scene.nowMs())]);
      await scene.expectLag('a', { parked: 1 });
      expect(await scene.pullRest('a')).toEqual([]);
      const [entry, ...others] = await scene.log.parked('a', { limit: 10 });
      expect(others).toEqual([]);
      expect(plain(entry?.event)).toEqual(plain(delivery.event));
      expect(entry?.atMs).toBeLessThanOrEqual(scene.nowMs());
      const kept = entry?.failure;
      expect(kept && { ...kept, data: Buffer.from(kept.data ?? []) }).toEqual(failure);
      expect(await scene.log.parked('b', { limit: 10 })).toEqual([]);
      expect(idsOf(await scene.pullRest('b'))).toEqual(['one']);
    });

    test('keep their egress among those that the log holds something for', async () => {
      await parkAll(scene, ['one']);
      await scene.expectHolding(['a']);
    });

    test('may be about an event of their own', async () => {
      await scene.append('a', 'input');
      await (await scene.pullOne('a')).settle([parked(eventTo('', 'marked'), scene.nowMs())]);
      expect(idsOf(await scene.log.parked('a', { limit: 10 }))).toEqual(['marked']);
      expect(await scene.pullRest('a')).toEqual([]);
    });

    test('are listed oldest first, page by page', async () => {
      await parkAll(scene, ['one', 'two', 'three', 'four', 'five']);
      const pages: string[][] = [];
      for (let after = 0; pages.length < 5;) {
        const page = await scene.log.parked('a', { after, limit: 2 });
        pages.push(idsOf(page));
        if (page.length === 0) break;
        after = page.at(-1)?.position ?? 0;
      }
      expect(pages).toEqual([['one', 'two'], ['three', 'four'], ['five'], []]);
    });
  });

  describe('a replay', () => {
    const scene = useScene(adapter);
    const { test } = scene;

    test('offers parked entries of the same egress as if they had never been tried', async () => {
      await parkAll(scene, ['one', 'two', 'three'], 5);
      const [one, two] = await positionsOf(scene);
      expect(await scene.log.replay('a', present(two, one))).toBe(2);
      await scene.expectLag('a', { ready: 2, parked: 1 });
      expect(idsOf(await scene.log.parked('a', { limit: 10 }))).toEqual(['three']);
      const again = await scene.pullRest('a');
      expect(idsOf(again)).toEqual(['one', 'two']);
      for (const delivery of again) {
        expect(delivery).toMatchObject({ phase: 'deliver', attempt: 0, lease: 1 });
        expect(delivery.lastFailure).toBeUndefined();
        expect(delivery.event.data).toHaveLength(5);
      }
    });

    test('is no second life: what was replayed ends, or is parked, like any other', async () => {
      await parkAll(scene, ['one', 'two']);
      await scene.log.replay('a', await positionsOf(scene));
      const [one, two] = await scene.pull('a', 2);
      await one?.settle([]);
      await two?.settle([parked(two.event, scene.nowMs())]);
      await scene.quiet();
      await scene.expectLag('a', { parked: 1 });
      expect(idsOf(await scene.log.parked('a', { limit: 10 }))).toEqual(['two']);
      await scene.log.replay('a', await positionsOf(scene));
      await (await scene.pullOne('a')).settle([]);
      await scene.quiet();
      await scene.expectHolding([]);
      expect(scene.log.usage.bytes).toBe(0);
    });

    test('passes over what is not parked, and what is named twice', async () => {
      await scene.append('a', 'ready');
      const ready = await scene.pullOne('a');
      await parkAll(scene, ['one']);
      const [one = 0] = await positionsOf(scene);
      const named = [ready.position, one, one, one + 1_000];
      expect(await scene.log.replay('a', named)).toBe(1);
      expect(await scene.log.replay('a', [one])).toBe(0);
      expect(await scene.log.replay('b', [one])).toBe(0);
      expect(await scene.log.replay('a', [])).toBe(0);
      await scene.expectLag('a', { ready: 2 });
    });

    test('twice at the same time replays once', async () => {
      await parkAll(scene, ['one', 'two']);
      const positions = await positionsOf(scene);
      const replays = [scene.log.replay('a', positions), scene.log.replay('a', positions)];
      const dropped = scene.log.dropParked('a', positions);
      expect(await Promise.all([...replays, dropped])).toEqual([2, 0, 0]);
      expect(idsOf(await scene.pullRest('a'))).toEqual(['one', 'two']);
    });

    test('serves a pull that waits', async () => {
      await parkAll(scene, ['one']);
      const waiting = scene.pullOne('a');
      await scene.log.replay('a', await positionsOf(scene));
      expect(idsOf([await waiting])).toEqual(['one']);
    });

    test('of a page that is larger than what waits in memory brings all of it, in order', async () => {
      const ids = Array.from({ length: 600 }, (_, index) => `e${String(index)}`);
      await parkAll(scene, ids);
      expect(await scene.log.replay('a', await positionsOf(scene))).toBe(600);
      expect(idsOf(await scene.pullRest('a'))).toEqual(ids);
    });

    test('leaves other egresses of the same event what is theirs', async () => {
      await scene.append('a b', 'shared');
      const shared = await scene.pullOne('a');
      await shared.settle([parked(shared.event, scene.nowMs())]);
      await scene.log.replay('a', await positionsOf(scene));
      await (await scene.pullOne('a')).settle([]);
      await scene.quiet();
      await scene.expectLag('b', { ready: 1 });
    });
  });

  describe('dropping parked entries', () => {
    const scene = useScene(adapter);
    const { test } = scene;

    test('ends those that are named, and gives their room back', async () => {
      await parkAll(scene, ['one', 'two', 'six'], 500);
      await scene.quiet();
      const before = scene.log.usage.bytes;
      const [one, , six] = await positionsOf(scene);
      expect(await scene.log.dropParked('a', present(one, six, one))).toBe(2);
      await scene.expectLag('a', { parked: 1 });
      expect(idsOf(await scene.log.parked('a', { limit: 10 }))).toEqual(['two']);
      await scene.quiet();
      expect(scene.log.usage.bytes).toBe(before / 3);
      expect(await scene.pullRest('a')).toEqual([]);
    });

    test('can be repeated, and passes over what is not parked', async () => {
      await parkAll(scene, ['one']);
      const positions = await positionsOf(scene);
      expect(await scene.log.dropParked('b', positions)).toBe(0);
      expect(await scene.log.dropParked('a', positions)).toBe(1);
      expect(await scene.log.dropParked('a', positions)).toBe(0);
      expect(await scene.log.replay('a', positions)).toBe(0);
      await scene.expectHolding([]);
    });
  });

  describe('a closed log', () => {
    const scene = useScene(adapter);
    const { test } = scene;

    test('neither replays nor drops', async () => {
      await parkAll(scene, ['one']);
      const positions = await positionsOf(scene);
      await scene.close();
      const code = 'KNEAR_CLOSED';
      await expect(scene.log.replay('a', positions)).rejects.toMatchObject({ code });
      await expect(scene.log.dropParked('a', positions)).rejects.toMatchObject({ code });
    });
  });

  describe('the bound on how many are parked', () => {
    const scene = useScene(adapter, { parkedMax: 3 });
    const { test } = scene;

    test('drops the oldest, one for one', async () => {
      await parkAll(scene, ['one', 'two', 'three']);
      await scene.quiet();
      await scene.expectLag('a', { parked: 3 });
      await parkAll(scene, ['four']);
      await scene.expectLag('a', { parked: 3 });
      expect(idsOf(await scene.log.parked('a', { limit: 10 }))).toEqual(['two', 'three', 'four']);
    });

    test('holds for what is parked together', async () => {
      await parkAll(scene, ['one', 'two', 'three', 'four', 'five', 'six']);
      await scene.quiet();
      await scene.expectLag('a', { parked: 3 });
      expect(idsOf(await scene.log.parked('a', { limit: 10 }))).toEqual(['four', 'five', 'six']);
    });

    test('is for each egress alone', async () => {
      await scene.append('a b', 'one', 'two', 'three');
      for (const egressId of ['a', 'b']) {
        for (const delivery of await scene.pull(egressId, 3)) {
          await delivery.settle([parked(delivery.event, scene.nowMs())]);
        }
      }
      await scene.quiet();
      await scene.expectLag('a', { parked: 3 });
      await scene.expectLag('b', { parked: 3 });
    });
  });

  describe('the bound on how large they are together', () => {
    const scene = useScene(adapter, { parkedBytesMax: 3_000 });
    const { test } = scene;

    test('drops the oldest until the rest fits', async () => {
      await parkAll(scene, ['one', 'two'], 1_000);
      await scene.quiet();
      await scene.expectLag('a', { parked: 2 });
      await parkAll(scene, ['large'], 2_500);
      await scene.quiet();
      expect(idsOf(await scene.log.parked('a', { limit: 10 }))).toEqual(['large']);
    });

    test('never drops the new entry itself, however large it is', async () => {
      await parkAll(scene, ['huge'], 10_000);
      await scene.quiet();
      expect(idsOf(await scene.log.parked('a', { limit: 10 }))).toEqual(['huge']);
      await parkAll(scene, ['next'], 10);
      await scene.quiet();
      expect(idsOf(await scene.log.parked('a', { limit: 10 }))).toEqual(['next']);
    });
  });
}

/** Of what is parked for egress `a`, oldest first. */
async function positionsOf(scene: Scene): Promise<Position[]> {
  const entries = await scene.log.parked('a', { limit: 1_000 });
  return entries.map(({ position }) => position);
}

function present(...positions: (Position | undefined)[]): Position[] {
  return positions.filter((position) => position !== undefined);
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
