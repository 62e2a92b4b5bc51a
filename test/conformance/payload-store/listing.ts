/** Listing what is there, and whose it is. */
import { describe, expect, test } from '@jest/globals';

import type { PayloadStoreAdapter } from '../payload-store.ts';
import { keysIn, keysOf, listed, useScene } from './scene.ts';

/** Clocks of disks and servers are not ours to the millisecond. */
const CLOCK_SLACK_MS = 60_000;

export function describeListing(adapter: PayloadStoreAdapter): void {
  describe('list', () => {
    const scene = useScene(adapter);

    test('an empty store has nothing to list', async () => {
      expect(await listed(scene.store)).toEqual([]);
    });

    test('tells tenant, key, size and time of each', async () => {
      const payloads = await Promise.all([
        scene.keep({ sizeBytes: 0 }),
        scene.keep({ sizeBytes: 300_000 }),
        scene.keep({ sizeBytes: 17, tenant: 'a.b-c', hour: '2026123123' }),
      ]);
      const found = await listed(scene.store);
      expect(found).toHaveLength(3);
      for (const { ref } of payloads) {
        const { tenant, key, sizeBytes } = ref;
        expect(found).toContainEqual({ tenant, key, sizeBytes, modifiedMs: expect.any(Number) });
      }
      for (const { modifiedMs } of found) {
        expect(Math.abs(modifiedMs - Date.now())).toBeLessThan(CLOCK_SLACK_MS);
      }
    });

    test('what is removed while it is listed may be missing, and disturbs nothing', async () => {
      const options = Array.from({ length: 60 }, (_, index) => ({
        tenant: `team-${index % 2}`,
        hour: `20260101${String(index % 6).padStart(2, '0')}`,
      }));
      await Promise.all(options.map((each) => scene.keep(each)));
      const seen = new Set<string>();
      for await (const payload of scene.store.list()) {
        expect(seen).not.toContain(payload.key);
        seen.add(payload.key);
        await scene.store.remove(payload);
      }
      expect(seen.size).toBe(60);
      expect(await keysIn(scene.store)).toEqual([]);
    });

    test('what comes while it is listed disturbs nothing', async () => {
      const before = await Promise.all(Array.from({ length: 20 }, () => scene.keep()));
      const seen = new Set<string>();
      for await (const { key } of scene.store.list()) {
        seen.add(key);
        if (seen.size < 10) await scene.keep({ hour: '2026010200' });
      }
      for (const key of keysOf(before)) expect(seen).toContain(key);
    });

    test('who has seen enough may leave', async () => {
      await Promise.all(Array.from({ length: 20 }, () => scene.keep()));
      for (let round = 0; round < 20; round += 1) {
        for await (const payload of scene.store.list()) {
          expect(payload.tenant).toBe('team-a');
          break;
        }
      }
      expect(await listed(scene.store)).toHaveLength(20);
    });
  });

  describe('identity (K45)', () => {
    const scene = useScene(adapter);

    test('an empty store becomes the first one’s who asks, and stays that', async () => {
      expect(await scene.store.identity('log-1', { mayAdopt: true })).toBe('log-1');
      expect(await scene.store.identity('log-2', { mayAdopt: true })).toBe('log-1');
      await scene.keep();
      expect(await scene.store.identity('log-2', { mayAdopt: true })).toBe('log-1');
      expect(await scene.store.identity('log-1', { mayAdopt: true })).toBe('log-1');
    });

    test('payloads that are nobody’s become nobody’s until they are gone', async () => {
      const { ref } = await scene.keep();
      expect(await scene.store.identity('log-1', { mayAdopt: true })).toBeUndefined();
      await scene.store.remove(ref);
      expect(await scene.store.identity('log-1', { mayAdopt: true })).toBe('log-1');
    });

    test('of two who ask at once both get the same answer', async () => {
      const answers = await Promise.all([
        scene.store.identity('log-1', { mayAdopt: true }),
        scene.store.identity('log-2', { mayAdopt: true }),
        scene.store.identity('log-1', { mayAdopt: true }),
      ]);
      expect(new Set(answers).size).toBe(1);
      expect(['log-1', 'log-2']).toContain(answers[0]);
    });

    test('it is no payload', async () => {
      await scene.store.identity('log-1', { mayAdopt: true });
      expect(await listed(scene.store)).toEqual([]);
    });

    if (adapter.hasRestart) {
      test('it outlives a restart', async () => {
        await scene.store.identity('log-1', { mayAdopt: true });
        await scene.restart();
        expect(await scene.store.identity('log-2', { mayAdopt: true })).toBe('log-1');
      });
    }
  });
}
