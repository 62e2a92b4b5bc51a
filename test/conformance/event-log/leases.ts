/** Leases: who holds a delivery, for how long, and what comes of it when two think they do. */
import { describe, expect } from '@jest/globals';

import { EXTEND_MS, LEASE_MS } from '../../../core/ports/event-log.ts';
import type { LogAdapter } from '../event-log.ts';
import { eventTo, idsOf, reply, useScene, workAbout } from './scene.ts';

/** A lease may end this much late: it is a matter of seconds. And what is done this much before its end is done in time. */
const LATE_MS = 4_000;

export function describeLeases(adapter: LogAdapter): void {
  describe('leases', () => {
    const scene = useScene(adapter);
    const { test } = scene;

    test('a delivery is not offered to a second holder while its lease runs (Q3)', async () => {
      await scene.append('a', 'one');
      await scene.pullOne('a');
      await scene.skip(LEASE_MS - LATE_MS);
      expect(await scene.pullRest('a')).toEqual([]);
      await scene.expectLag('a', { ready: 1 });
    });

    test('one that ends without an outcome is offered again, and counted', async () => {
      await scene.append('a', 'one');
      for (let lease = 1; lease <= 5; lease += 1) {
        const delivery = await scene.pullOne('a');
        expect(delivery).toMatchObject({ lease, attempt: 0 });
        await scene.skip(LEASE_MS + LATE_MS);
      }
    });

    test('an outcome sets the count back', async () => {
      await scene.append('a', 'one');
      await scene.pullOne('a');
      await scene.skip(LEASE_MS + LATE_MS);
      const second = await scene.pullOne('a');
      expect(second.lease).toBe(2);
      await second.settle([workAbout(second.event)]);
      expect((await scene.pullOne('a')).lease).toBe(1);
    });

    test('extend keeps it, as long as it is called in time', async () => {
      await scene.append('a', 'one');
      const delivery = await scene.pullOne('a');
      // For two leases. Where time cannot be held, a longer test is more often one that was late.
      for (let passedMs = 0; passedMs < 2 * LEASE_MS; passedMs += EXTEND_MS) {
        await scene.skip(EXTEND_MS);
        delivery.extend();
      }
      expect(await scene.pullRest('a')).toEqual([]);
      await scene.skip(LEASE_MS + LATE_MS);
      expect((await scene.pullOne('a')).lease).toBe(2);
    });

    test('each lease ends for itself', async () => {
      await scene.append('a', 'one', 'two');
      const [one] = await scene.pull('a', 2);
      await scene.skip(LEASE_MS - LATE_MS);
      one?.extend();
      await scene.skip(2 * LATE_MS);
      expect(idsOf(await scene.pullRest('a'))).toEqual(['two']);
    });

    test('a restless holder of one event does not keep others', async () => {
      await scene.append('a', 'one');
      const first = await scene.pullOne('a');
      await scene.skip(LEASE_MS + LATE_MS);
      await scene.pullOne('a');
      await scene.skip(LEASE_MS - LATE_MS);
      first.extend();
      await scene.skip(2 * LATE_MS);
      expect((await scene.pullOne('a')).lease).toBe(3);
    });
  });

  describe('release', () => {
    const scene = useScene(adapter);
    const { test } = scene;

    test('gives it back at once, as if it had not been offered', async () => {
      await scene.append('a', 'one');
      (await scene.pullOne('a')).release();
      expect(await scene.pullOne('a')).toMatchObject({ lease: 1, attempt: 0 });
    });

    test('of Work keeps its attempt', async () => {
      await scene.append('a', 'one');
      const delivery = await scene.pullOne('a');
      await delivery.settle([workAbout(delivery.event, { attempt: 4 })]);
      (await scene.pullOne('a')).release();
      expect(await scene.pullOne('a')).toMatchObject({ lease: 1, attempt: 4 });
    });

    test('a pull that waits gets it', async () => {
      await scene.append('a', 'one');
      const delivery = await scene.pullOne('a');
      const next = scene.pullOne('a');
      await scene.quiet();
      delivery.release();
      expect(idsOf([await next])).toEqual(['one']);
    });

    test.each([
      { name: 'a second time', secondOf: (first: { release(): void }) => first.release() },
      { name: 'and extended afterwards', secondOf: (first: { extend(): void }) => first.extend() },
    ])('$name does not touch the next holder', async ({ secondOf }) => {
      await scene.append('a', 'one');
      const first = await scene.pullOne('a');
      first.release();
      const second = await scene.pullOne('a');
      await scene.skip(LEASE_MS - LATE_MS);
      secondOf(first);
      expect(await scene.pullRest('a')).toEqual([]);
      await scene.skip(2 * LATE_MS);
      expect(idsOf(await scene.pullRest('a'))).toEqual(['one']);
      await second.settle([]);
      await scene.expectLag('a', {});
    });

    test('after the lease has passed to another takes nothing away', async () => {
      await scene.append('a', 'one');
      const first = await scene.pullOne('a');
      await scene.skip(LEASE_MS + LATE_MS);
      await scene.pullOne('a');
      first.release();
      expect(await scene.pullRest('a')).toEqual([]);
    });

    test('after a settle does nothing', async () => {
      await scene.append('a', 'one');
      const delivery = await scene.pullOne('a');
      await delivery.settle([]);
      delivery.release();
      delivery.extend();
      expect(await scene.pullRest('a')).toEqual([]);
    });
  });

  describe('a settle past the lease', () => {
    const scene = useScene(adapter);
    const { test } = scene;

    test('counts while nobody else has the delivery', async () => {
      await scene.append('a', 'one');
      const delivery = await scene.pullOne('a');
      await scene.skip(LEASE_MS + LATE_MS);
      await delivery.settle([reply(eventTo('b', 'output'))]);
      expect(await scene.pullRest('a')).toEqual([]);
      await scene.expectLag('a', {});
      expect(idsOf(await scene.pullRest('b'))).toEqual(['output']);
    });

    test('counts although another holds it, whose settle then does nothing', async () => {
      await scene.append('a', 'one');
      const first = await scene.pullOne('a');
      await scene.skip(LEASE_MS + LATE_MS);
      const second = await scene.pullOne('a');
      await first.settle([reply(eventTo('b', 'first'))]);
      await second.settle([reply(eventTo('b', 'second'))]);
      await scene.skip(LEASE_MS + LATE_MS);
      expect(await scene.pullRest('a')).toEqual([]);
      expect(idsOf(await scene.pullRest('b'))).toEqual(['first']);
    });

    test('does nothing once another has settled', async () => {
      await scene.append('a', 'one');
      const first = await scene.pullOne('a');
      await scene.skip(LEASE_MS + LATE_MS);
      const second = await scene.pullOne('a');
      await second.settle([workAbout(second.event, { attempt: 7 })]);
      await first.settle([workAbout(first.event, { attempt: 1 }), reply(eventTo('b', 'first'))]);
      expect(await scene.pullRest('b')).toEqual([]);
      const rest = await scene.pullRest('a');
      expect(rest.map(({ attempt }) => attempt)).toEqual([7]);
    });

    test('does nothing to other egresses of the event', async () => {
      await scene.append('a b', 'one');
      const first = await scene.pullOne('a');
      await scene.skip(LEASE_MS + LATE_MS);
      await (await scene.pullOne('a')).settle([]);
      await first.settle([]);
      await first.settle([]);
      await scene.quiet();
      expect(idsOf(await scene.pullRest('b'))).toEqual(['one']);
    });
  });
}
