/** What a settle leaves behind: events for others, Work for itself. */
import { describe, expect } from '@jest/globals';

import type { Delivery } from '../../../core/ports/event-log.ts';
import type { LogAdapter } from '../event-log.ts';
import { eventTo, failure, idsOf, plain, reply, useScene, work, workAbout } from './scene.ts';

export function describeOutputs(adapter: LogAdapter): void {
  describe('event outputs', () => {
    const scene = useScene(adapter);
    const { test } = scene;

    test('go to whoever matches them', async () => {
      await scene.append('a', 'input');
      const event = eventTo('b c', 'output', Buffer.from('data'));
      await (await scene.pullOne('a')).settle([reply(event)]);
      for (const egressId of ['b', 'c']) {
        const delivery = await scene.pullOne(egressId);
        expect(plain(delivery.event)).toEqual(plain(event));
        expect(delivery).toMatchObject({ phase: 'deliver', attempt: 0, lease: 1 });
      }
      expect(await scene.pullRest('a')).toEqual([]);
    });

    test('may come back to the egress that made them', async () => {
      await scene.append('a', 'first');
      await (await scene.pullOne('a')).settle([reply(eventTo('a', 'second'))]);
      expect(idsOf([await scene.pullOne('a')])).toEqual(['second']);
    });

    test('that nobody wants leave nothing', async () => {
      await scene.append('a', 'input');
      await (await scene.pullOne('a')).settle([reply(eventTo('', 'unwanted'))]);
      await scene.quiet();
      await scene.expectHolding([]);
    });

    test('may be several, to several ingresses', async () => {
      await scene.append('a', 'input');
      await (
        await scene.pullOne('a')
      ).settle([
        reply(eventTo('b', 'one'), 'replies'),
        reply(eventTo('b', 'two'), 'orders'),
        reply(eventTo('c', 'three'), 'replies'),
      ]);
      expect(idsOf(await scene.pull('b', 2)).toSorted()).toEqual(['one', 'two']);
      expect(idsOf(await scene.pull('c', 1))).toEqual(['three']);
    });

    test('a settle with outputs resolves when all of a chain is settled, too', async () => {
      await scene.append('a', 'first');
      const first = (await scene.pullOne('a')).settle([reply(eventTo('b', 'second'))]);
      const second = (await scene.pullOne('b')).settle([reply(eventTo('c', 'third'))]);
      await (await scene.pullOne('c')).settle([]);
      await Promise.all([first, second]);
      await scene.quiet();
      await scene.expectHolding([]);
    });
  });

  describe('Work', () => {
    const scene = useScene(adapter);
    const { test } = scene;
    const delayedTest = adapter.supports.delayed ? test : test.skip;

    test('is offered again at once when it is due, with all it says', async () => {
      await scene.append('a b', 'one');
      const delivery = await scene.pullOne('a');
      const { event } = delivery;
      await delivery.settle([workAbout(event, { attempt: 3, firstAtMs: 1_234 })]);
      const again = await scene.pullOne('a');
      expect(plain(again.event)).toEqual(plain(event));
      expect(again).toMatchObject({
        egressId: 'a',
        phase: 'deliver',
        attempt: 3,
        firstAtMs: 1_234,
        lease: 1,
      });
      expectFailure(again);
      expect(again.origin).toBeUndefined();
      expect(again.acceptedAtMs).toBe(delivery.acceptedAtMs);
    });

    test('without a failure so far has none', async () => {
      await scene.append('a', 'one');
      const { event, settle } = bound(await scene.pullOne('a'));
      const { lastFailure: _, ...fresh } = work({ attempt: 0 });
      await settle([{ kind: 'work', work: fresh, event, dueAtMs: 0 }]);
      const again = await scene.pullOne('a');
      expect(again.lastFailure).toBeUndefined();
      expect(again.attempt).toBe(0);
    });

    test('is for its own egress alone', async () => {
      await scene.append('a b', 'one');
      const delivery = await scene.pullOne('a');
      await delivery.settle([workAbout(delivery.event, { attempt: 1 })]);
      expect((await scene.pullOne('b')).attempt).toBe(0);
      expect(await scene.pullRest('b')).toEqual([]);
    });

    test('may follow on Work, as often as it takes', async () => {
      await scene.append('a', 'one');
      for (let attempt = 1; attempt <= 5; attempt += 1) {
        const delivery = await scene.pullOne('a');
        expect(delivery.attempt).toBe(attempt - 1);
        await delivery.settle([workAbout(delivery.event, { attempt })]);
      }
      await (await scene.pullOne('a')).settle([]);
      expect(await scene.pullRest('a')).toEqual([]);
      await scene.expectHolding([]);
    });

    test('may be about another event, whose origin is the one that was delivered', async () => {
      await scene.append('a', 'input');
      const input = await scene.pullOne('a');
      const answer = eventTo('', 'answer', Buffer.from('answer'));
      await input.settle([workAbout(answer, { phase: 'reply', origin: input.event })]);
      const sending = await scene.pullOne('a');
      expect(sending.phase).toBe('reply');
      expect(plain(sending.event)).toEqual(plain(answer));
      expect(plain(sending.origin)).toEqual(plain(input.event));
    });

    test('keeps its origin from attempt to attempt', async () => {
      await scene.append('a', 'input');
      const input = await scene.pullOne('a');
      await input.settle([
        workAbout(eventTo('', 'answer'), { phase: 'reply', origin: input.event }),
      ]);
      for (let attempt = 1; attempt <= 3; attempt += 1) {
        const { event, origin, settle } = bound(await scene.pullOne('a'));
        expect(idsOf([{ event: origin ?? event }])).toEqual(['input']);
        await settle([workAbout(event, { phase: 'reply', attempt, ...(origin && { origin }) })]);
      }
      expect(plain((await scene.pullOne('a')).origin)).toEqual(plain(input.event));
    });

    test('a reply that fails for good leaves the event that it answers to the dead letter sink', async () => {
      await scene.append('a', 'input');
      const input = await scene.pullOne('a');
      await input.settle([
        workAbout(eventTo('', 'answer'), { phase: 'reply', origin: input.event }),
      ]);
      const { origin, settle } = bound(await scene.pullOne('a'));
      if (!origin) throw new Error('a reply has an origin');
      await settle([workAbout(origin, { phase: 'dead-letter' })]);
      const dead = await scene.pullOne('a');
      expect(dead.phase).toBe('dead-letter');
      expect(plain(dead.event)).toEqual(plain(input.event));
      expect(dead.origin).toBeUndefined();
      expectFailure(dead);
      await dead.settle([]);
      await scene.quiet();
      await scene.expectHolding([]);
    });

    test('about an event of its own is as good as about the delivery’s', async () => {
      await scene.append('a', 'input');
      await (
        await scene.pullOne('a')
      ).settle([workAbout(eventTo('', 'marked'), { phase: 'dead-letter' })]);
      const dead = await scene.pullOne('a');
      expect(idsOf([dead])).toEqual(['marked']);
      expect(dead.phase).toBe('dead-letter');
    });

    test('and events may be left by one settle', async () => {
      await scene.append('a', 'input');
      const delivery = await scene.pullOne('a');
      await delivery.settle([reply(eventTo('b', 'output')), workAbout(delivery.event)]);
      expect(idsOf(await scene.pullRest('a'))).toEqual(['input']);
      expect(idsOf(await scene.pullRest('b'))).toEqual(['output']);
    });

    delayedTest(
      'that is due later waits, counted as delayed, and comes when it is due',
      async () => {
        await scene.append('a', 'one');
        const delivery = await scene.pullOne('a');
        const dueAtMs = scene.nowMs() + 60_000;
        await delivery.settle([workAbout(delivery.event, { attempt: 2, dueAtMs })]);
        await scene.expectLag('a', { delayed: 1 });
        expect(await scene.pullRest('a')).toEqual([]);
        await scene.skip(50_000);
        expect(await scene.pullRest('a')).toEqual([]);
        await scene.expectLag('a', { delayed: 1 });
        await scene.skip(10_000);
        expect((await scene.pullOne('a')).attempt).toBe(2);
        await scene.expectLag('a', { ready: 1 });
      },
    );

    delayedTest('comes in the order in which it is due', async () => {
      await scene.append('a', 'one', 'two', 'three');
      const nowMs = scene.nowMs();
      const dueAtMs = [nowMs + 30_000, nowMs + 10_000, nowMs + 20_000];
      for (const [index, delivery] of (await scene.pull('a', 3)).entries()) {
        await delivery.settle([workAbout(delivery.event, { dueAtMs: dueAtMs[index] ?? 0 })]);
      }
      const came: string[] = [];
      for (let step = 0; step < 3; step += 1) {
        await scene.skip(10_000);
        const due = await scene.pullOne('a');
        came.push(...idsOf([due]));
        await due.settle([]);
      }
      expect(came).toEqual(['two', 'three', 'one']);
    });

    delayedTest('that waits does not hold up what is ready', async () => {
      await scene.append('a', 'one', 'two');
      const [one] = await scene.pull('a', 1);
      await one?.settle([workAbout(one.event, { dueAtMs: scene.nowMs() + 3_600_000 })]);
      expect(idsOf(await scene.pullRest('a'))).toEqual(['two']);
    });

    test('that was due long ago is due', async () => {
      await scene.append('a', 'one');
      const delivery = await scene.pullOne('a');
      await delivery.settle([workAbout(delivery.event, { dueAtMs: scene.nowMs() - 86_400_000 })]);
      expect(idsOf([await scene.pullOne('a')])).toEqual(['one']);
    });
  });
}

/** Methods of a delivery that may be called without it. */
function bound(delivery: Delivery): Pick<Delivery, 'event' | 'origin' | 'settle'> {
  const { event, origin } = delivery;
  const settle: Delivery['settle'] = (outputs) => delivery.settle(outputs);
  return { event, settle, ...(origin && { origin }) };
}

function expectFailure({ lastFailure }: Delivery): void {
  expect(lastFailure && { ...lastFailure, data: Buffer.from(lastFailure.data ?? []) }).toEqual(
    failure,
  );
}
