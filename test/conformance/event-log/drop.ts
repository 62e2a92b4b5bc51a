/** Dropping an egress: everything that waits for it ends, whatever state it is in, and the name is free again. */
import { describe, expect } from '@jest/globals';

import type { LogAdapter } from '../event-log.ts';
import { eventTo, idsOf, parked, reply, useScene, workAbout } from './scene.ts';

export function describeDrop(adapter: LogAdapter): void {
  describe('drop', () => {
    const scene = useScene(adapter);
    const { test } = scene;
    const aloneTest = adapter.isShared ? test.skip : test;

    test('ends what is ready, open, due later and parked, and says how much that was', async () => {
      await scene.append('a', 'ready', 'open', 'later', 'parked', 'work');
      const deliveries = new Map((await scene.pull('a', 5)).map((one) => [idsOf([one])[0], one]));
      const [later, entry, worked] = ['later', 'parked', 'work'].map((id) => deliveries.get(id));
      deliveries.get('ready')?.release();
      await later?.settle([workAbout(later.event, { dueAtMs: scene.nowMs() + 60_000 })]);
      await entry?.settle([parked(entry.event, scene.nowMs())]);
      await worked?.settle([workAbout(worked.event)]);
      expect(await scene.log.drop('a')).toBe(5);
      await scene.expectLag('a', {});
      await scene.expectHolding([]);
      expect(await scene.log.parked('a', { limit: 10 })).toEqual([]);
      await scene.skip(120_000);
      expect(await scene.pullRest('a')).toEqual([]);
    });

    test('can be repeated', async () => {
      await scene.append('a', 'one');
      expect(await scene.log.drop('a')).toBe(1);
      expect(await scene.log.drop('a')).toBe(0);
      expect(await scene.log.drop('never heard of')).toBe(0);
    });

    test('twice at the same time drops once', async () => {
      await scene.append('a', 'one', 'two');
      const [first, second] = await Promise.all([scene.log.drop('a'), scene.log.drop('a')]);
      expect(first + second).toBe(2);
    });

    test('leaves other egresses of the same events what is theirs', async () => {
      await scene.append('a b', 'one', 'two');
      await scene.log.drop('a');
      expect(idsOf(await scene.pullRest('b'))).toEqual(['one', 'two']);
    });

    aloneTest('makes open deliveries stale: settling them does nothing', async () => {
      await scene.append('a', 'one', 'two', 'three');
      const [one, two, three] = await scene.pull('a', 3);
      await scene.log.drop('a');
      await one?.settle([reply(eventTo('b', 'output')), workAbout(one.event)]);
      two?.release();
      three?.extend();
      expect(await scene.pullRest('a')).toEqual([]);
      expect(await scene.pullRest('b')).toEqual([]);
      await scene.expectHolding([]);
    });

    test('settling before it counts, though it is not flushed', async () => {
      await scene.append('a', 'one');
      const delivery = await scene.pullOne('a');
      const settled = delivery.settle([reply(eventTo('b', 'output'))]);
      await scene.log.drop('a');
      await settled;
      expect(idsOf(await scene.pullRest('b'))).toEqual(['output']);
    });

    aloneTest('the same identity starts anew with what comes afterwards', async () => {
      await scene.append('a', 'old');
      const dropping = scene.log.drop('a');
      await scene.append('a', 'new');
      await dropping;
      await scene.expectLag('a', { ready: 1 });
      expect(idsOf(await scene.pullRest('a'))).toEqual(['new']);
    });

    test('a reply on its way ends together with the event that it answers', async () => {
      await scene.append('a', 'input');
      const input = await scene.pullOne('a');
      await input.settle([
        workAbout(eventTo('', 'answer'), { phase: 'reply', origin: input.event }),
      ]);
      expect(await scene.log.drop('a')).toBe(1);
      expect(await scene.pullRest('a')).toEqual([]);
    });

    test('ends a large backlog whole', async () => {
      const ids = Array.from({ length: 1_200 }, (_, index) => `e${index}`);
      await scene.append('a b', ...ids);
      expect(await scene.log.drop('a')).toBe(1_200);
      expect(await scene.pullRest('a')).toEqual([]);
      await scene.expectLag('b', { ready: 1_200 });
    });

    test('is over for an append that is not answered yet', async () => {
      const appended = scene.append('a', 'one');
      await scene.log.drop('a');
      await appended;
      expect(await scene.pullRest('a')).toEqual([]);
    });
  });
}
