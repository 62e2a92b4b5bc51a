/** Settling without outputs, and how much waits at each step. */
import { describe, expect } from '@jest/globals';

import type { LogAdapter } from '../event-log.ts';
import { eventTo, idsOf, reply, useScene, workAbout } from './scene.ts';

export function describeSettles(adapter: LogAdapter): void {
  describe('settle', () => {
    const scene = useScene(adapter);
    const { test } = scene;

    test('what is settled is not offered again', async () => {
      await scene.append('a', 'one', 'two');
      const [first] = await scene.pull('a', 2);
      await first?.settle([]);
      await scene.quiet();
      await scene.expectLag('a', { ready: 1 });
      await scene.skip(60_000);
      expect(idsOf(await scene.pullRest('a'))).toEqual(['two']);
    });

    test('one egress settles for itself alone', async () => {
      await scene.append('a b', 'one');
      await (await scene.pullOne('a')).settle([]);
      await scene.quiet();
      await scene.expectHolding(['b']);
      expect(idsOf(await scene.pullRest('b'))).toEqual(['one']);
    });

    test('in any order', async () => {
      await scene.append('a', 'one', 'two', 'three', 'four');
      const [one, two, three, four] = await scene.pull('a', 4);
      for (const delivery of [three, one, four]) await delivery?.settle([]);
      two?.release();
      expect(idsOf(await scene.pullRest('a'))).toEqual(['two']);
    });

    test('when all is settled, the log holds nothing for anybody', async () => {
      await scene.append('a b c', 'one', 'two');
      for (const egressId of ['a', 'b', 'c']) {
        for (const delivery of await scene.pull(egressId, 2)) await delivery.settle([]);
      }
      await scene.quiet();
      await scene.expectHolding([]);
    });

    test('a second settle does nothing, and keeps none of its outputs', async () => {
      await scene.append('a', 'one');
      const delivery = await scene.pullOne('a');
      await delivery.settle([]);
      await delivery.settle([reply(eventTo('b', 'late')), workAbout(delivery.event)]);
      expect(await scene.pullRest('a')).toEqual([]);
      expect(await scene.pullRest('b')).toEqual([]);
      await scene.expectHolding([]);
    });

    test('a second settle does nothing although the first is not done yet', async () => {
      await scene.append('a', 'one');
      const delivery = await scene.pullOne('a');
      await Promise.all([
        delivery.settle([workAbout(delivery.event, { attempt: 1 })]),
        delivery.settle([workAbout(delivery.event, { attempt: 2 })]),
      ]);
      const offered = await scene.pullRest('a');
      expect(offered.map(({ attempt }) => attempt)).toEqual([1]);
    });
  });

  describe('lag', () => {
    const scene = useScene(adapter);
    const { test } = scene;

    test('counts what waits, open deliveries included, at each step', async () => {
      await scene.append('a', 'one', 'two', 'three');
      await scene.append('a b', 'four');
      await scene.expectLag('a', { ready: 4 });
      await scene.expectLag('b', { ready: 1 });
      const [one, two, three] = await scene.pull('a', 3);
      await scene.expectLag('a', { ready: 4 });
      await one?.settle([]);
      await scene.expectLag('a', { ready: 3 });
      two?.release();
      await scene.expectLag('a', { ready: 3 });
      await three?.settle([workAbout(three.event)]);
      await scene.expectLag('a', { ready: 3 });
      for (const delivery of await scene.pullRest('a')) await delivery.settle([]);
      await scene.expectLag('a', {});
      await scene.expectLag('b', { ready: 1 });
    });

    test('counts outputs for the egresses that they go to', async () => {
      await scene.append('a', 'one');
      await (
        await scene.pullOne('a')
      ).settle([reply(eventTo('a b', 'two')), reply(eventTo('b', 'three'))]);
      await scene.expectLag('a', { ready: 1 });
      await scene.expectLag('b', { ready: 2 });
    });

    test('of an egress that it never heard of is nothing', async () => {
      await scene.expectLag('unheard', {});
      await scene.expectHolding([]);
    });
  });
}
