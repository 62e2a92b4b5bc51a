/** Closing: everybody is answered, and nothing is taken any more. */
import { describe, expect } from '@jest/globals';

import type { LogAdapter } from '../event-log.ts';
import { eventTo, INTERESTS, reply, useScene } from './scene.ts';

export function describeClose(adapter: LogAdapter): void {
  describe('close', () => {
    const scene = useScene(adapter);
    const { test } = scene;
    const patient = () => ({ signal: new AbortController().signal });

    test('can be repeated, also while it is under way', async () => {
      await scene.append('a', 'one');
      await Promise.all([scene.close(), scene.close()]);
      await scene.close();
    });

    test('answers the appends that are under way', async () => {
      const appended = Promise.allSettled([scene.append('a', 'one'), scene.append('b', 'two')]);
      await scene.close();
      const statuses = (await appended).map((result) =>
        result.status === 'fulfilled' ? 'kept' : (result.reason as { code: unknown }).code,
      );
      for (const status of statuses) expect(['kept', 'KNEAR_CLOSED']).toContain(status);
    });

    test('ends the pulls that wait', async () => {
      const pulled = Promise.allSettled([scene.log.pull('a', 1, patient())]);
      await scene.quiet();
      await scene.close();
      const [result] = await pulled;
      const isEmpty = result?.status === 'fulfilled' && result.value.length === 0;
      const isRefused = result?.status === 'rejected';
      expect(isEmpty || isRefused).toBe(true);
    });

    test('afterwards nothing is taken, offered or dropped, and the log says why', async () => {
      await scene.append('a', 'one');
      await scene.close();
      const closed = { code: 'KNEAR_CLOSED' };
      expect(scene.log.state).toMatchObject({ kind: 'refusing', code: 'KNEAR_CLOSED' });
      await expect(scene.append('a', 'two')).rejects.toMatchObject(closed);
      await expect(scene.log.pull('a', 1, patient())).rejects.toMatchObject(closed);
      await expect(scene.log.drop('a')).rejects.toMatchObject(closed);
      await expect(scene.log.prepare(INTERESTS)).rejects.toMatchObject(closed);
    });

    test('makes open deliveries stale: what their holders still do is harmless', async () => {
      await scene.append('a', 'one', 'two');
      const [one, two] = await scene.pull('a', 2);
      await scene.close();
      await Promise.allSettled([one?.settle([reply(eventTo('b', 'output'))])]);
      two?.extend();
      two?.release();
    });
  });
}
