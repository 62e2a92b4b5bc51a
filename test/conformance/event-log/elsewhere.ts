/** Work and parked entries that a settle leaves for another egress than its own, as a line of hops that gives up does. */
import { describe, expect } from '@jest/globals';

import type { LogAdapter } from '../event-log.ts';
import { eventTo, idsOf, parked, plain, useScene, workAbout } from './scene.ts';

export function describeElsewhere(adapter: LogAdapter): void {
  describe('outputs for another egress', () => {
    const scene = useScene(adapter);
    const { test } = scene;
    const delayedTest = adapter.supports.delayed ? test : test.skip;

    /** Settles a delivery of `a` with Work for `b`, about an event that the log has not seen. */
    const leave = async (...parameters: Parameters<typeof workAbout>): Promise<void> => {
      await scene.append('a', 'input');
      const delivery = await scene.pullOne('a');
      await delivery.settle([{ ...workAbout(...parameters), egressId: 'b' }]);
    };
    const answer = eventTo('', 'answer', Buffer.from('answer'));

    test('Work is offered to that one alone, with all it says', async () => {
      await leave(answer, { attempt: 2, firstAtMs: 1_234 });
      const delivery = await scene.pullOne('b');
      expect(plain(delivery.event)).toEqual(plain(answer));
      expect(delivery).toMatchObject({
        egressId: 'b',
        phase: 'deliver',
        attempt: 2,
        firstAtMs: 1_234,
        lease: 1,
      });
      expect(await scene.pullRest('a')).toEqual([]);
      await scene.expectLag('a', {});
      await delivery.settle([]);
      await scene.quiet();
      await scene.expectHolding([]);
    });

    test('it may be about the very event of the delivery, beside a row of its own', async () => {
      await scene.append('a b', 'one');
      const delivery = await scene.pullOne('a');
      await delivery.settle([{ ...workAbout(delivery.event, { attempt: 1 }), egressId: 'b' }]);
      const both = await scene.pull('b', 2);
      expect(idsOf(both)).toEqual(['one', 'one']);
      expect(both.map(({ attempt }) => attempt).toSorted()).toEqual([0, 1]);
      for (const each of both) await each.settle([]);
      await scene.quiet();
      await scene.expectHolding([]);
    });

    test('it brings along what it replies to, which nobody has kept before', async () => {
      const origin = eventTo('', 'asked', Buffer.from('asked'));
      await leave(answer, { phase: 'reply', origin });
      const delivery = await scene.pullOne('b');
      expect(delivery.phase).toBe('reply');
      expect(plain(delivery.event)).toEqual(plain(answer));
      expect(plain(delivery.origin)).toEqual(plain(origin));
      // As Work of the same egress from then on.
      await delivery.settle([
        workAbout(delivery.event, {
          phase: 'reply',
          ...(delivery.origin && { origin: delivery.origin }),
        }),
      ]);
      const again = await scene.pullOne('b');
      expect(plain(again.origin)).toEqual(plain(origin));
      await again.settle([]);
      await scene.quiet();
      await scene.expectHolding([]);
      expect(scene.log.usage.bytes).toBe(0);
    });

    delayedTest('it may be due later', async () => {
      await leave(answer, { dueAtMs: scene.nowMs() + 20_000 });
      await scene.expectLag('b', { delayed: 1 });
      expect(await scene.pullRest('b')).toEqual([]);
      await scene.skip(22_000);
      expect(idsOf([await scene.pullOne('b')])).toEqual(['answer']);
    });

    delayedTest('two that are due later do not take the place of each other', async () => {
      const dueAtMs = scene.nowMs() + 5_000;
      await leave(answer, { dueAtMs });
      await leave(eventTo('', 'other'), { dueAtMs });
      await scene.append('b', 'own');
      const own = await scene.pullOne('b');
      await own.settle([workAbout(own.event, { dueAtMs })]);
      await scene.expectLag('b', { delayed: 3 });
      await scene.skip(7_000);
      expect(idsOf(await scene.pull('b', 3)).toSorted()).toEqual(['answer', 'other', 'own']);
    });

    test('a parked entry is in its list, and can be replayed', async () => {
      await scene.append('a', 'input');
      const delivery = await scene.pullOne('a');
      await delivery.settle([{ ...parked(answer, scene.nowMs()), egressId: 'b' }]);
      expect(await scene.log.parked('a', { limit: 10 })).toEqual([]);
      const [entry] = await scene.log.parked('b', { limit: 10 });
      expect(plain(entry?.event)).toEqual(plain(answer));
      await scene.expectLag('b', { parked: 1 });
      expect(await scene.log.replay('b', [entry?.position ?? 0])).toBe(1);
      expect(idsOf([await scene.pullOne('b')])).toEqual(['answer']);
    });

    if (adapter.hasRestart) {
      test('they outlive a restart', async () => {
        const origin = eventTo('', 'asked');
        await leave(answer, { phase: 'reply', origin, attempt: 4 });
        await scene.restart();
        const delivery = await scene.pullOne('b');
        expect(delivery).toMatchObject({ phase: 'reply', attempt: 4 });
        expect(plain(delivery.event)).toEqual(plain(answer));
        expect(plain(delivery.origin)).toEqual(plain(origin));
        expect(await scene.pullRest('a')).toEqual([]);
      });
    }
  });
}
