/** What the next process finds: all that is not settled, as it was, and nothing that is. */
import { describe, expect } from '@jest/globals';

import type { LogAdapter } from '../event-log.ts';
import { eventTo, failure, idsOf, parked, plain, reply, useScene, workAbout } from './scene.ts';

export function describeRestart(adapter: LogAdapter): void {
  const describeWhere = adapter.hasRestart ? describe : describe.skip;

  describeWhere('a restart', () => {
    const scene = useScene(adapter);
    const { test } = scene;
    const delayedTest = adapter.supports.delayed ? test : test.skip;

    test('offers again what is not settled, open deliveries included (L5)', async () => {
      await scene.append('a b', 'one', 'two', 'three');
      const [one] = await scene.pull('a', 2);
      await one?.settle([]);
      await scene.restart();
      await scene.expectLag('a', { ready: 2 });
      await scene.expectLag('b', { ready: 3 });
      const again = await scene.pullRest('a');
      expect(idsOf(again)).toEqual(['two', 'three']);
      const { keepsLeases } = adapter.supports;
      expect(again.map(({ lease }) => lease)).toEqual([keepsLeases ? 2 : 1, 1]);
      expect(idsOf(await scene.pullRest('b'))).toEqual(['one', 'two', 'three']);
    });

    test('keeps the event and the times to the letter', async () => {
      const event = eventTo(
        'a',
        'one',
        Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
      );
      await scene.log.append('orders', [event]);
      const before = await scene.pullOne('a');
      await scene.restart();
      const after = await scene.pullOne('a');
      expect(plain(after.event)).toEqual(plain(event));
      expect(after).toMatchObject({
        acceptedAtMs: before.acceptedAtMs,
        firstAtMs: before.firstAtMs,
      });
    });

    test('does not offer what was settled and flushed', async () => {
      await scene.append('a', 'one', 'two');
      for (const delivery of await scene.pull('a', 2)) await delivery.settle([]);
      await scene.quiet();
      await scene.restart();
      await scene.expectHolding([]);
      expect(await scene.pullRest('a')).toEqual([]);
    });

    test('keeps what a settle left: events, Work with its origin, parked entries', async () => {
      await scene.append('a', 'input', 'other', 'failing');
      const [input, other, failing] = await scene.pull('a', 3);
      await input?.settle([
        reply(eventTo('b', 'output')),
        workAbout(eventTo('', 'answer'), {
          phase: 'reply',
          attempt: 4,
          firstAtMs: 99,
          origin: input.event,
        }),
      ]);
      await other?.settle([parked(other.event, scene.nowMs())]);
      await failing?.settle([workAbout(failing.event, { attempt: 2 })]);
      await scene.restart();
      await scene.expectLag('a', { ready: 2, parked: 1 });
      expect(idsOf(await scene.pullRest('b'))).toEqual(['output']);
      const works = new Map((await scene.pullRest('a')).map((one) => [one.phase, one]));
      const sending = works.get('reply');
      expect(sending).toMatchObject({ attempt: 4, firstAtMs: 99, lease: 1 });
      expect(plain(sending?.event)).toEqual(plain(eventTo('', 'answer')));
      expect(plain(sending?.origin)).toEqual(plain(input?.event));
      expect(works.get('deliver')).toMatchObject({ attempt: 2 });
      const kept = works.get('deliver')?.lastFailure;
      expect(kept && { ...kept, data: Buffer.from(kept.data ?? []) }).toEqual(failure);
      const [entry] = await scene.log.parked('a', { limit: 10 });
      expect(idsOf(entry ? [entry] : [])).toEqual(['other']);
    });

    test('lets Work go on where it stood, and end', async () => {
      await scene.append('a', 'input');
      const input = await scene.pullOne('a');
      await input.settle([
        workAbout(eventTo('', 'answer'), { phase: 'reply', origin: input.event }),
      ]);
      await scene.restart();
      const sending = await scene.pullOne('a');
      if (!sending.origin) throw new Error('a reply has an origin');
      await sending.settle([workAbout(sending.origin, { phase: 'dead-letter' })]);
      await scene.restart();
      const dead = await scene.pullOne('a');
      expect(idsOf([dead])).toEqual(['input']);
      await dead.settle([]);
      await scene.restart();
      await scene.expectHolding([]);
    });

    delayedTest('keeps timers: not before they are due, and then', async () => {
      await scene.append('a', 'later', 'soon');
      const [later, soon] = await scene.pull('a', 2);
      await later?.settle([workAbout(later.event, { dueAtMs: scene.nowMs() + 3_600_000 })]);
      await soon?.settle([workAbout(soon.event, { dueAtMs: scene.nowMs() + 60_000 })]);
      await scene.restart();
      await scene.expectLag('a', { delayed: 2 });
      expect(await scene.pullRest('a')).toEqual([]);
      await scene.skip(60_000);
      expect(idsOf([await scene.pullOne('a')])).toEqual(['soon']);
      await scene.expectLag('a', { ready: 1, delayed: 1 });
    });

    test('uses no position twice', async () => {
      const used = await scene.append('a', 'one', 'two');
      for (const delivery of await scene.pull('a', 2)) await delivery.settle([]);
      await scene.restart();
      const next = await scene.append('a', 'three');
      expect(Math.min(...next)).toBeGreaterThan(Math.max(...used));
    });

    test('uses no position twice, though its event was settled before it was written', async () => {
      const first = scene.append('a', 'one');
      await (await scene.pullOne('a')).settle([]);
      const used = await first;
      await scene.restart();
      const next = await scene.append('a', 'two');
      expect(Math.min(...next)).toBeGreaterThan(Math.max(...used));
    });

    test('keeps what was replayed and what was not, and brings nothing back that was dropped', async () => {
      await scene.append('a', 'replayed', 'kept', 'dropped');
      for (const delivery of await scene.pull('a', 3)) {
        await delivery.settle([parked(delivery.event, scene.nowMs())]);
      }
      const entries = await scene.log.parked('a', { limit: 10 });
      const [replayed = 0, , dropped = 0] = entries.map(({ position }) => position);
      await scene.log.replay('a', [replayed]);
      await scene.log.dropParked('a', [dropped]);
      await scene.restart();
      await scene.expectLag('a', { ready: 1, parked: 1 });
      expect(idsOf(await scene.log.parked('a', { limit: 10 }))).toEqual(['kept']);
      const again = await scene.pullOne('a');
      expect(idsOf([again])).toEqual(['replayed']);
      expect(again).toMatchObject({ phase: 'deliver', attempt: 0 });
      await again.settle([]);
      await scene.quiet();
      await scene.restart();
      await scene.expectLag('a', { parked: 1 });
    });

    test('does not bring back what was dropped', async () => {
      await scene.append('a b', 'one', 'two');
      await scene.log.drop('a');
      await scene.restart();
      await scene.expectHolding(['b']);
      expect(await scene.pullRest('a')).toEqual([]);
    });

    test('again and again changes nothing', async () => {
      await scene.append('a', ...Array.from({ length: 300 }, (_, index) => `e${index}`));
      for (let round = 0; round < 3; round += 1) {
        for (const delivery of await scene.pull('a', 50)) await delivery.settle([]);
        await scene.restart();
        await scene.expectLag('a', { ready: 250 - round * 50 });
      }
      expect(idsOf(await scene.pullRest('a'))).toEqual(
        Array.from({ length: 150 }, (_, index) => `e${index + 150}`),
      );
    });
  });
}
