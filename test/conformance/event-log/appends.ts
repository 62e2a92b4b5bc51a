/** Appending: all or none, for every egress that matches, and what an event is when it comes out again. */
import { describe, expect } from '@jest/globals';

import type { CloudEvent } from '../../../core/event.ts';
import type { LogAdapter } from '../event-log.ts';
import { eventTo, idsOf, interestOf, INTERESTS, plain, useScene } from './scene.ts';

export function describeAppends(adapter: LogAdapter): void {
  describe('append', () => {
    const scene = useScene(adapter);
    const { test } = scene;

    test('a new log is empty and accepting', async () => {
      expect(scene.log.state).toEqual({ kind: 'accepting' });
      await scene.expectHolding([]);
      await scene.expectLag('a', {});
      expect(await scene.log.parked('a', { limit: 10 })).toEqual([]);
    });

    test('says what it promises', () => {
      expect(scene.log.supports).toEqual(adapter.supports);
    });

    test('an event goes to every egress that matches, and to no other', async () => {
      await scene.append('a b', 'one');
      expect(idsOf(await scene.pullRest('a'))).toEqual(['one']);
      expect(idsOf(await scene.pullRest('b'))).toEqual(['one']);
      expect(await scene.pullRest('c')).toEqual([]);
      await scene.expectHolding(['a', 'b']);
    });

    test('a batch has a position for each event, and they grow', async () => {
      const first = await scene.append('a', 'one', 'two', 'three');
      const second = await scene.append('b', 'four');
      const positions = [...first, ...second];
      expect(positions).toHaveLength(4);
      expect(new Set(positions).size).toBe(4);
      expect(positions.toSorted((one, other) => one - other)).toEqual(positions);
      expect(Math.min(...positions)).toBeGreaterThan(0);
    });

    test('an event that nobody matches resolves with position 0 and leaves nothing', async () => {
      expect(await scene.append('', 'nobody')).toEqual([0]);
      await scene.expectHolding([]);
    });

    test('a batch may hold events that nobody matches between others', async () => {
      const events = [eventTo('', 'no'), eventTo('a', 'yes'), eventTo('', 'not')];
      const [before, kept, after] = await scene.log.append('orders', events);
      expect([before, after]).toEqual([0, 0]);
      const delivery = await scene.pullOne('a');
      expect(delivery.position).toBe(kept);
    });

    test('an empty batch resolves with nothing', async () => {
      expect(await scene.log.append('orders', [])).toEqual([]);
    });

    test('many appends at once are all kept, once each', async () => {
      const ids = Array.from({ length: 500 }, (_, index) => `e${index}`);
      await Promise.all(ids.map((id) => scene.append('a', id)));
      await scene.expectLag('a', { ready: 500 });
      expect(idsOf(await scene.pull('a', 500)).toSorted()).toEqual(ids.toSorted());
    });

    test('a batch larger than any group of commits is kept whole', async () => {
      const ids = Array.from({ length: 1_500 }, (_, index) => `e${index}`);
      await scene.append('a b', ...ids);
      await scene.expectLag('b', { ready: 1_500 });
      expect(idsOf(await scene.pull('a', 1_500)).toSorted()).toEqual(ids.toSorted());
    });
  });

  describe('an event comes out as it went in', () => {
    const scene = useScene(adapter);
    const { test } = scene;
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    // Less a kibibyte for attributes.
    const largestBytes = Math.min(1 << 20, adapter.supports.recordMaxBytes - 1_024);

    test.each<{ name: string; event: CloudEvent }>([
      { name: 'without data', event: eventTo('a', 'plain') },
      { name: 'with every byte there is', event: eventTo('a', 'bytes', bytes) },
      {
        name: 'with data that is a view of other data',
        event: eventTo('a', 'view', bytes.subarray(7, 99)),
      },
      {
        name: 'with as much data as a record may have, up to a mebibyte',
        event: eventTo('a', 'large', Buffer.alloc(largestBytes, 'knear')),
      },
      {
        name: 'with numbers, booleans and text beyond ASCII',
        event: {
          ...eventTo('a', 'values'),
          attributes: new Map<string, string | number | boolean>([
            ...eventTo('a', 'values').attributes,
            ['count', 2_147_483_647],
            ['negative', -1],
            ['yes', true],
            ['no', false],
            ['subject', 'Žluťoučký kůň 🐎 "quoted" \\ back'],
            ['empty', ''],
            ['__proto__', 'kept'],
          ]),
        },
      },
      {
        name: 'with headers beside the event',
        event: {
          ...eventTo('a', 'headers'),
          headers: new Map([
            ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
            ['x-request-id', 'one two'],
          ]),
        },
      },
    ])('$name', async ({ event }) => {
      await scene.log.append('orders', [event]);
      const delivery = await scene.pullOne('a');
      expect(plain(delivery.event)).toEqual(plain(event));
    });
  });

  describe('preparing', () => {
    const scene = useScene(adapter);
    const { test } = scene;
    const aloneTest = adapter.isShared ? test.skip : test;

    test('makes a place for what is appended from then on, and holds nothing by itself', async () => {
      await scene.append('a', 'before');
      const sources = [{ ingressId: 'orders', pool: 'suite' }];
      const late = { egressId: 'late', isOrdered: false, sources };
      await scene.log.prepare([...INTERESTS, late]);
      await scene.expectHolding(['a']);
      await scene.expectLag('late', {});
      await scene.append('late', 'after');
      expect(idsOf(await scene.pullRest('late'))).toEqual(['after']);
    });

    aloneTest('again, or others alone, leaves everybody what waits for them', async () => {
      await scene.append('a b', 'one');
      await scene.log.prepare([interestOf('a')]);
      await scene.log.prepare([]);
      await scene.append('a b', 'two');
      expect(idsOf(await scene.pullRest('a'))).toEqual(['one', 'two']);
      expect(idsOf(await scene.pullRest('b'))).toEqual(['one', 'two']);
    });
  });

  describe('matching', () => {
    const asked: string[] = [];
    const scene = useScene(adapter, {
      match: (ingressId, event) => {
        asked.push(`${ingressId} ${String(event.attributes.get('id'))}`);
        return { egressIds: ['a', 'b'], isEarly: adapter.isEarly };
      },
    });
    const { test } = scene;

    test('the topology is asked once for each event, with the ingress it came through', async () => {
      asked.length = 0;
      await scene.log.append('orders', [eventTo('', 'one'), eventTo('', 'two')]);
      await scene.log.append('replies', [eventTo('', 'three')]);
      await scene.quiet();
      await scene.close();
      expect(asked).toEqual(['orders one', 'orders two', 'replies three']);
    });
  });
}
