/** Pulling: who waits is served, in order, each delivery to one holder; who gives up gets nothing and loses nothing. */
import { describe, expect } from '@jest/globals';

import type { LogAdapter } from '../event-log.ts';
import { idsOf, useScene } from './scene.ts';

export function describePulls(adapter: LogAdapter): void {
  const patient = () => ({ signal: new AbortController().signal });

  describe('pull', () => {
    const scene = useScene(adapter);
    const { test } = scene;
    const orderedTest = adapter.supports.ordered ? test : test.skip;

    test('a first delivery tells the event, where it stands and that nothing was tried', async () => {
      const beforeMs = scene.nowMs();
      const [position] = await scene.append('a', 'one');
      const delivery = await scene.pullOne('a');
      expect(delivery).toMatchObject({
        egressId: 'a',
        position,
        phase: 'deliver',
        attempt: 0,
        lease: 1,
      });
      expect(delivery.origin).toBeUndefined();
      expect(delivery.lastFailure).toBeUndefined();
      expect(delivery.acceptedAtMs).toBeGreaterThanOrEqual(Math.floor(beforeMs));
      expect(delivery.acceptedAtMs).toBeLessThanOrEqual(scene.nowMs());
      expect(delivery.firstAtMs).toBe(delivery.acceptedAtMs);
    });

    test('waits for an egress that nobody has appended for yet', async () => {
      const pulled = scene.log.pull('a', 10, patient());
      await scene.quiet();
      await scene.append('a', 'one');
      expect(idsOf(await pulled)).toEqual(['one']);
    });

    test('offers no more than it is asked for, and the rest to the next', async () => {
      await scene.append('a', 'one', 'two', 'three');
      await scene.quiet();
      const first = await scene.log.pull('a', 2, patient());
      expect(first.length).toBeGreaterThan(0);
      expect(first.length).toBeLessThanOrEqual(2);
      const rest = await scene.pullRest('a');
      expect(idsOf([...first, ...rest]).toSorted()).toEqual(['one', 'three', 'two']);
    });

    orderedTest('offers the oldest first, over batches, groups and windows', async () => {
      const ids = Array.from({ length: 600 }, (_, index) => `e${index}`);
      for (let start = 0; start < 600; start += 150) {
        await scene.append('a', ...ids.slice(start, start + 150));
      }
      const taken = [];
      while (taken.length < 600) taken.push(...(await scene.log.pull('a', 7, patient())));
      expect(idsOf(taken)).toEqual(ids);
      const positions = taken.map(({ position }) => position);
      expect(positions.toSorted((one, other) => one - other)).toEqual(positions);
    });

    orderedTest('offers what comes while it catches up in its turn', async () => {
      const ids = Array.from({ length: 900 }, (_, index) => `e${index}`);
      await scene.append('a', ...ids.slice(0, 600));
      const taken = [];
      for (let next = 600; taken.length < 900;) {
        const deliveries = await scene.log.pull('a', 50, patient());
        taken.push(...deliveries);
        for (const delivery of deliveries) await delivery.settle([]);
        if (next < 900) await scene.append('a', ...ids.slice(next, next + 50));
        next += 50;
      }
      expect(idsOf(taken)).toEqual(ids);
    });

    test('pulls that wait together share what comes, each delivery to one of them', async () => {
      const pulls = Array.from({ length: 3 }, () => scene.log.pull('a', 1, patient()));
      await scene.quiet();
      await scene.append('a', 'one', 'two', 'three');
      const pulled = (await Promise.all(pulls)).flat();
      expect(idsOf(pulled).toSorted()).toEqual(['one', 'three', 'two']);
      expect(await scene.pullRest('a')).toEqual([]);
    });

    test('pulls of different egresses do not get in each other’s way', async () => {
      const idle = new AbortController();
      const waiting = scene.log.pull('b', 1, { signal: idle.signal });
      await scene.append('a', 'one');
      expect(idsOf([await scene.pullOne('a')])).toEqual(['one']);
      idle.abort();
      expect(await waiting).toEqual([]);
    });
  });

  describe('abort', () => {
    const scene = useScene(adapter);
    const { test } = scene;

    test('a pull whose signal aborts resolves with nothing, and the event goes to another', async () => {
      const impatient = new AbortController();
      const pulled = scene.log.pull('a', 1, { signal: impatient.signal });
      await scene.quiet();
      impatient.abort();
      expect(await pulled).toEqual([]);
      await scene.append('a', 'one');
      expect((await scene.pullOne('a')).lease).toBe(1);
    });

    test('a pull with a signal that was aborted before resolves with nothing, and takes nothing', async () => {
      await scene.append('a', 'one');
      expect(await scene.log.pull('a', 1, { signal: AbortSignal.abort() })).toEqual([]);
      expect((await scene.pullOne('a')).lease).toBe(1);
    });

    test('an abort after the answer changes nothing', async () => {
      const signal = new AbortController();
      await scene.append('a', 'one');
      const [delivery] = await scene.log.pull('a', 1, { signal: signal.signal });
      signal.abort();
      await delivery?.settle([]);
      expect(await scene.pullRest('a')).toEqual([]);
    });

    test('one signal ends all pulls that use it, and no others', async () => {
      const shared = new AbortController();
      const ended = ['a', 'a', 'b'].map((egressId) =>
        scene.log.pull(egressId, 1, { signal: shared.signal }),
      );
      const other = scene.log.pull('a', 1, patient());
      await scene.quiet();
      shared.abort();
      expect(await Promise.all(ended)).toEqual([[], [], []]);
      await scene.append('a', 'one');
      expect(idsOf(await other)).toEqual(['one']);
    });
  });
}
