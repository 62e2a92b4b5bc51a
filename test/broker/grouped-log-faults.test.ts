/** Faults that the log had once, each as the smallest case that showed it. */
import { describe, expect, test } from '@jest/globals';

import {
  eventTo,
  fateOf,
  idOf,
  INGRESS,
  openStage,
  parkedOutput,
  reopen,
  workOutput,
} from './log-stage.ts';
import { faultsOf, fillOf, rowsOf } from './log-tables.ts';

describe('grave', () => {
  test('L2: a producer is answered when its record is settled early with Work about another event', async () => {
    const { log, pullOne, flushAll, occupy } = openStage();
    await occupy();
    const appended = fateOf(log.append(INGRESS, [eventTo('a')]));
    const delivery = await pullOne('a');
    const settled = fateOf(delivery.settle([workOutput(eventTo('a', { id: 'new' }))]));
    await flushAll();
    expect(settled.state).toBe('resolved');
    expect(appended.state).toBe('resolved');
  });

  test('L2: the same for a parked entry, and one of two egresses', async () => {
    const { log, pullOne, flushAll, occupy } = openStage();
    await occupy();
    const appended = fateOf(log.append(INGRESS, [eventTo('a b')]));
    const delivery = await pullOne('a');
    const other = await pullOne('b');
    const settled = fateOf(delivery.settle([parkedOutput(eventTo('a', { id: 'new' }))]));
    await other.settle([]);
    await flushAll();
    expect(settled.state).toBe('resolved');
    expect(appended.state).toBe('resolved');
  });
  test.each([
    { name: 'Work', output: workOutput(eventTo('a', { id: 'kept' }), { dueAtMs: Infinity }) },
    { name: 'a parked entry', output: parkedOutput(eventTo('a', { id: 'kept' })) },
  ])('Q2: $name that is not durable yet is not offered as a plain record', async ({ output }) => {
    const stage = openStage();
    const { log, pull, flush } = stage;
    const dueAtMs = stage.clock.nowMs() + 3_600_000;
    for (let n = 0; n < 300; n += 1) void log.append(INGRESS, [eventTo('a', { id: String(n) })]);
    const [first, ...rest] = await pull('a', 300);
    void first?.settle([output.kind === 'work' ? { ...output, dueAtMs } : output]);
    const more = await pull('a', 300);
    const ids = () => [...rest, ...more].map(idOf);
    expect(ids()).not.toContain('kept');
    await flush();
    more.push(...(await pull('a', 300)));
    expect(ids()).not.toContain('kept');
    for (const delivery of [...rest, ...more]) await delivery.settle([]);
    await stage.flushAll();
    expect(faultsOf(stage.store)).toEqual([]);
  });
  test('drop ends although appends never stop', async () => {
    const { log, store, calm } = openStage();
    void log.append(INGRESS, [eventTo('a')]);
    await calm();
    store.pass();
    await calm();
    const dropped = fateOf(log.drop('a'));
    for (let n = 0; n < 50; n += 1) {
      void log.append(INGRESS, [eventTo('b')]);
      await calm();
      if (store.pending) store.pass();
    }
    expect(dropped.state).toBe('resolved');
  });
  test('a drop that a crash interrupts leaves counts that are true', async () => {
    const stage = openStage();
    for (let n = 0; n < 1200; n += 1) void stage.log.append(INGRESS, [eventTo('a')]);
    await stage.flush();
    void stage.log.drop('a');
    await stage.calm();
    stage.store.pass();
    const next = reopen(stage);
    expect(faultsOf(next.store)).toEqual([]);
  });

  test('the same identity that came anew during an interrupted drop does not orphan the old rows', async () => {
    const stage = openStage();
    for (let n = 0; n < 1200; n += 1) void stage.log.append(INGRESS, [eventTo('a')]);
    await stage.flush();
    void stage.log.drop('a');
    await stage.calm();
    stage.store.pass();
    void stage.log.append(INGRESS, [eventTo('a', { id: 'new' })]);
    await stage.calm();
    stage.store.pass();
    const next = reopen(stage);
    const dropped = next.log.drop('a');
    await next.flushAll();
    await dropped;
    expect(fillOf(next.store)).toEqual({});
  });
  test('drop gives back the origin that Work in the open group refers to', async () => {
    const stage = openStage();
    const event = eventTo('a');
    void stage.log.append(INGRESS, [event]);
    const delivery = await stage.pullOne('a');
    void delivery.settle([
      workOutput(eventTo('a', { id: 'reply' }), { phase: 'reply', origin: delivery.event }),
    ]);
    const dropped = fateOf(stage.log.drop('a'));
    await stage.flushAll();
    expect(dropped.state).toBe('resolved');
    expect(fillOf(stage.store)).toEqual({});
  });
  test('L11: a drop that waits for a failing disk is answered when the log is closed', async () => {
    const stage = openStage();
    void stage.log.append(INGRESS, [eventTo('a')]);
    await stage.flush();
    stage.log.append(INGRESS, [eventTo('b')]).catch(() => undefined);
    await stage.calm();
    stage.store.fail();
    await stage.calm();
    const dropped = fateOf(stage.log.drop('a'));
    await stage.calm();
    const closed = fateOf(stage.log.close());
    await stage.calm();
    expect(closed.state).toBe('resolved');
    expect(dropped.state).not.toBe('pending');
  });

  test('L11: a settle that waits for a failing disk is answered when the log is closed', async () => {
    const stage = openStage();
    void stage.log.append(INGRESS, [eventTo('a')]);
    await stage.flush();
    const delivery = await stage.pullOne('a');
    stage.log.append(INGRESS, [eventTo('b')]).catch(() => undefined);
    await stage.calm();
    stage.store.fail();
    await stage.calm();
    const settled = fateOf(delivery.settle([workOutput(delivery.event)]));
    await stage.calm();
    await stage.log.close();
    await stage.calm();
    expect(settled).toMatchObject({ state: 'rejected' });
  });
});

describe('smaller', () => {
  test('a position is never used twice, though its record was never written', async () => {
    const stage = openStage();
    await stage.occupy();
    const appended = fateOf(stage.log.append(INGRESS, [eventTo('a')]));
    await (await stage.pullOne('a')).settle([]);
    await stage.flushAll();
    const closed = stage.log.close();
    await stage.flush();
    await closed;
    const next = reopen(stage);
    const again = fateOf(next.log.append(INGRESS, [eventTo('a')]));
    await next.flushAll();
    expect(again.value).not.toEqual(appended.value);
  });

  test.each([0, 1, 2, 3, 4])(
    'pull does not end empty when a commit fails %i microtasks before',
    async (ticks) => {
      const stage = openStage();
      const pulled = fateOf(stage.log.pull('a', 1, { signal: new AbortController().signal }));
      await stage.occupy();
      stage.store.fail();
      for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve();
      stage.log.append(INGRESS, [eventTo('a')]).catch(() => undefined);
      await stage.calm();
      expect(pulled).not.toMatchObject({ value: [] });
    },
  );

  test('the parking bound holds for entries that were parked together', async () => {
    const stage = openStage({ limits: { parkedMax: 2 } });
    for (let n = 0; n < 5; n += 1)
      void stage.log.append(INGRESS, [eventTo('a', { id: String(n) })]);
    await stage.flush();
    for (const delivery of await stage.pull('a', 5))
      void delivery.settle([parkedOutput(delivery.event)]);
    await stage.flushAll();
    expect(stage.log.lag('a').parked).toBeLessThanOrEqual(2);
  });

  test('drop after close does not claim to have dropped', async () => {
    const stage = openStage();
    void stage.log.append(INGRESS, [eventTo('a')]);
    await stage.flush();
    await stage.log.close();
    await expect(stage.log.drop('a')).rejects.toMatchObject({ code: 'KNEAR_CLOSED' });
  });

  test('a second close resolves when the first one has', async () => {
    const stage = openStage();
    void stage.log.append(INGRESS, [eventTo('a')]);
    await stage.calm();
    const first = fateOf(stage.log.close());
    const second = fateOf(stage.log.close());
    await stage.calm();
    expect([first.state, second.state]).toEqual(['pending', 'pending']);
    await stage.flush();
    expect([first.state, second.state]).toEqual(['resolved', 'resolved']);
  });

  test('close flushes settles that came during a commit without waiting for the idle flush', async () => {
    const stage = openStage();
    void stage.log.append(INGRESS, [eventTo('a')]);
    await stage.flush();
    const delivery = await stage.pullOne('a');
    void stage.log.append(INGRESS, [eventTo('b')]);
    await stage.calm();
    await delivery.settle([]);
    const closed = fateOf(stage.log.close());
    await stage.flush();
    expect(closed.state).toBe('resolved');
  });

  test('one damaged record does not hold up the others', async () => {
    const stage = openStage();
    for (let n = 0; n < 3; n += 1)
      void stage.log.append(INGRESS, [eventTo('a', { id: String(n) })]);
    await stage.flush();
    const [damaged] = rowsOf(stage.store, 'event');
    if (damaged) stage.store.tables.apply([{ table: 'event', key: damaged.key }]);
    const next = reopen(stage);
    const ids: string[] = [];
    for (let n = 0; n < 4; n += 1) ids.push(...(await next.pull('a', 3).catch(() => [])).map(idOf));
    expect(ids).toEqual(['1', '2']);
  });

  test('L7: the window holds 256 at most', async () => {
    const stage = openStage();
    for (let n = 0; n < 600; n += 1)
      void stage.log.append(INGRESS, [eventTo('a', { id: String(n) })]);
    await stage.flush();
    const next = reopen(stage);
    await next.pull('a', 1);
    const before = next.store.rowsRead;
    await next.pull('a', 256);
    expect(next.store.rowsRead - before).toBeLessThanOrEqual(256);
  });
});
