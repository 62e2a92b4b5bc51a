/** Closing and dropping in every state the log can be in, and dropping in the middle of everything. */
import { describe, expect, test } from '@jest/globals';

import type { Delivery } from '../../core/ports/event-log.ts';
import {
  eventOutput,
  eventTo,
  fateOf,
  idOf,
  INGRESS,
  openStage,
  reopen,
  workOutput,
} from './log-stage.ts';
import type { Fate, Stage } from './log-stage.ts';
import { faultsOf, fillOf, storedIds } from './log-tables.ts';

describe('close', () => {
  test('flushes settles that wait for their idle flush', async () => {
    const stage = await openWith('a', 2);
    await (await stage.pullOne('a')).settle([]);
    const closed = close(stage);
    await stage.flush();
    expect(closed.state).toBe('resolved');
    expect(storedIds(stage.store)).toEqual(['e1']);
  });

  test('flushes at once, also settles that came during a commit', async () => {
    const stage = await openWith('a', 1);
    const delivery = await stage.pullOne('a');
    await stage.occupy();
    await delivery.settle([]);
    const closed = close(stage);
    await passAll(stage);
    expect(closed.state).toBe('resolved');
    expect(storedIds(stage.store)).toEqual(['occupier']);
  });

  test('answers appends that are in commit, in the open group, or waiting for room', async () => {
    const stage = openStage();
    await stage.occupy();
    const open = fateOf(
      stage.log.append(
        INGRESS,
        Array.from({ length: 1_000 }, () => eventTo('a')),
      ),
    );
    const waiting = fateOf(stage.log.append(INGRESS, [eventTo('a')]));
    const closed = close(stage);
    await passAll(stage);
    expect(open.state).toBe('resolved');
    expect(waiting).toMatchObject({ state: 'rejected', code: 'KNEAR_CLOSED' });
    expect(closed.state).toBe('resolved');
  });

  test('answers settles whose outputs are under way', async () => {
    const stage = await openWith('a', 1);
    const settled = fateOf((await stage.pullOne('a')).settle([eventOutput(eventTo('b'))]));
    close(stage);
    await passAll(stage);
    expect(settled.state).toBe('resolved');
    expect(storedIds(stage.store)).toEqual(['b']);
  });

  test('gives the store back once, when all is written, however often it is called', async () => {
    const stage = await openWith('a', 1);
    await stage.occupy();
    const closed = [close(stage), close(stage)];
    await stage.calm();
    expect(closed.map(({ state }) => state)).toEqual(['pending', 'pending']);
    expect(stage.store.closeCount).toBe(0);
    await passAll(stage);
    expect(closed.map(({ state }) => state)).toEqual(['resolved', 'resolved']);
    await stage.log.close();
    expect(stage.store.closeCount).toBe(1);
  });

  test('leaves no timer behind', async () => {
    const stage = await openWith('a', 2);
    const [one] = await stage.pull('a', 2);
    void one?.settle([workOutput(one.event, { dueAtMs: stage.clock.nowMs() + 60_000 })]);
    await stage.flush();
    close(stage);
    await passAll(stage);
    await stage.advance(1_000);
    expect(stage.clock.timerCount).toBe(0);
  });

  test('a commit that fails meanwhile ends it all the same, and everybody is told', async () => {
    const stage = openStage();
    const appended = fateOf(stage.log.append(INGRESS, [eventTo('a')]));
    await stage.calm();
    const closed = close(stage);
    stage.store.fail();
    await stage.calm();
    expect(appended).toMatchObject({ state: 'rejected', code: 'KNEAR_LOG_FAILED' });
    expect(closed.state).toBe('resolved');
    expect(stage.store.closeCount).toBe(1);
  });

  test.each<{
    name: string;
    start: (stage: Stage, delivery: Delivery) => Promise<unknown> | undefined;
  }>([
    {
      name: 'a settle with Work',
      start: (_stage, delivery) => delivery.settle([workOutput(delivery.event)]),
    },
    { name: 'a drop', start: ({ log }) => log.drop('a') },
  ])('while the disk fails ends, and answers $name that waits for it', async ({ start }) => {
    const stage = await openWith('a', 1);
    const delivery = await stage.pullOne('a');
    await stage.occupy();
    stage.store.fail();
    await stage.calm();
    const waiting = fateOf(start(stage, delivery));
    await stage.calm();
    expect(waiting.state).toBe('pending');
    const closed = close(stage);
    await stage.calm();
    expect(closed.state).toBe('resolved');
    expect(waiting.state).toBe('rejected');
  });

  test('while a probe is under way ends, whatever comes of the probe', async () => {
    const stage = await openWith('a', 1);
    await stage.occupy();
    stage.store.fail();
    await stage.advance(1_000);
    expect(stage.store.pending).toBeDefined();
    const closed = close(stage);
    await stage.calm();
    stage.store.pass();
    await stage.advance(5_000);
    expect(closed.state).toBe('resolved');
    expect(stage.log.state).toMatchObject({ code: 'KNEAR_CLOSED' });
  });
});

describe('drop', () => {
  test('ends though appends never stop', async () => {
    const stage = await openWith('a', 1_200);
    const dropped = fateOf(stage.log.drop('a'));
    for (let n = 0; n < 20 && dropped.state === 'pending'; n += 1) {
      void stage.log.append(INGRESS, [eventTo('b', { isHeld: true })]);
      await stage.calm();
      if (stage.store.pending) stage.store.pass();
      await stage.calm();
    }
    expect(dropped).toMatchObject({ state: 'resolved', value: 1_200 });
  });

  test('removes a large backlog in commits of bounded size', async () => {
    const stage = await openWith('a b', 1_200);
    void stage.log.drop('a');
    for (let commits = 0; commits < 10; commits += 1) {
      await stage.calm();
      expect(stage.store.pending?.length ?? 0).toBeLessThanOrEqual(2_000);
      if (stage.store.pending) stage.store.pass();
      expect(faultsOf(stage.store)).toEqual([]);
    }
    expect(stage.log.lag('b').ready).toBe(1_200);
    expect(fillOf(stage.store)).toEqual({ event: 1_200, ready: 1_200 });
  });

  test('is reported as one, with how much is gone', async () => {
    const stage = await openWith('a', 3);
    void stage.log.drop('a');
    await stage.flushAll();
    expect(stage.happenings.filter(({ kind }) => kind === 'discarded')).toEqual([
      { kind: 'discarded', egressId: 'a', end: 'gone', count: 3, reason: 'egress-deleted' },
    ]);
  });

  test('answers producers whose events nobody is left to get', async () => {
    const stage = openStage();
    await stage.occupy();
    const appended = fateOf(stage.log.append(INGRESS, [eventTo('a')]));
    await stage.calm();
    void stage.log.drop('a');
    await stage.calm();
    expect(appended.state).toBe('resolved');
    await stage.flushAll();
    expect(storedIds(stage.store)).toEqual(['occupier']);
  });

  // L2: what the dropped egress had settled before counts as ever.
  test('does not answer for an output that is in memory only', async () => {
    const stage = openStage();
    await stage.occupy();
    const appended = fateOf(stage.log.append(INGRESS, [eventTo('a')]));
    const delivery = await stage.pullOne('a');
    void delivery.settle([eventOutput(eventTo('b')), workOutput(delivery.event)]);
    void stage.log.drop('a');
    await stage.calm();
    expect(appended.state).toBe('pending');
    await stage.flushAll();
    expect(appended.state).toBe('resolved');
    expect(storedIds(stage.store)).toEqual(['occupier', 'b']);
  });

  test('two at once do not disturb each other', async () => {
    const stage = await openWith('a b', 700);
    const dropped = [fateOf(stage.log.drop('a')), fateOf(stage.log.drop('b'))];
    await stage.flushAll();
    expect(dropped.map(({ value }) => value)).toEqual([700, 700]);
    expect(fillOf(stage.store)).toEqual({});
  });

  test('that a crash interrupts is either undone or finished by the next process, never half', async () => {
    for (let commitsBefore = 0; commitsBefore < 5; commitsBefore += 1) {
      const stage = await openWith('a', 1_200);
      void stage.log.drop('a');
      for (let commits = 0; commits < commitsBefore; commits += 1) {
        await stage.calm();
        if (stage.store.pending) stage.store.pass();
      }
      const next = reopen(stage);
      expect(faultsOf(next.store)).toEqual([]);
      expect([0, 1_200]).toContain(next.log.lag('a').ready);
      const isUndone = next.log.lag('a').ready > 0;
      await next.flushAll();
      expect(fillOf(next.store)).toEqual(isUndone ? { event: 1_200, ready: 1_200 } : {});
    }
  });

  test('that a crash interrupts keeps apart the old and the new of the same name', async () => {
    const stage = await openWith('a', 1_200);
    void stage.log.drop('a');
    void stage.log.append(INGRESS, [eventTo('a', { id: 'new' })]);
    for (let commits = 0; commits < 2; commits += 1) {
      await stage.calm();
      if (stage.store.pending) stage.store.pass();
    }
    const next = reopen(stage);
    expect(next.log.lag('a').ready).toBe(1);
    await next.flushAll();
    expect((await next.pull('a', 10)).map(idOf)).toEqual(['new']);
    expect(fillOf(next.store)).toEqual({ event: 1, ready: 1 });
  });

  test('that a close interrupts is finished by the next process', async () => {
    const stage = await openWith('a', 1_200);
    const dropped = fateOf(stage.log.drop('a'));
    await stage.calm();
    close(stage);
    await passAll(stage);
    expect(dropped.state).not.toBe('pending');
    const next = reopen(stage);
    expect(next.log.egressIds()).toEqual([]);
    await next.flushAll();
    expect(fillOf(next.store)).toEqual({});
  });

  test('gives back an origin that Work in memory refers to', async () => {
    const stage = openStage();
    await stage.occupy();
    void stage.log.append(INGRESS, [eventTo('a')]);
    const delivery = await stage.pullOne('a');
    const reply = workOutput(eventTo(''), { phase: 'reply', origin: delivery.event });
    const settled = fateOf(delivery.settle([reply]));
    void stage.log.drop('a');
    await stage.flushAll();
    expect(settled.state).toBe('resolved');
    expect(storedIds(stage.store)).toEqual(['occupier']);
  });

  test('ends the pulls that wait for the egress; the next one is for what comes afterwards', async () => {
    const stage = await openWith('a', 1);
    await stage.pullOne('a');
    const waiting = fateOf(stage.log.pull('a', 1, { signal: new AbortController().signal }));
    void stage.log.drop('a');
    await stage.flushAll();
    expect(waiting).toMatchObject({ state: 'resolved', value: [] });
    void stage.log.append(INGRESS, [eventTo('a', { id: 'new' })]);
    await stage.flush();
    expect((await stage.pull('a')).map(idOf)).toEqual(['new']);
  });
});

/** A log with durable records `e0`, `e1`, ... for these egresses. */
async function openWith(to: string, count: number): Promise<Stage> {
  const stage = openStage();
  const events = Array.from({ length: count }, (_, index) => eventTo(to, { id: `e${index}` }));
  void stage.log.append(INGRESS, events);
  await stage.flush();
  return stage;
}

const close = ({ log }: Stage): Fate => fateOf(log.close());

/** Without letting time pass. */
async function passAll(stage: Stage): Promise<void> {
  await stage.calm();
  while (stage.store.pending) {
    stage.store.pass();
    await stage.calm();
  }
}
