/** What goes into one commit, and when it is submitted (L1, L4). */
import { describe, expect, test } from '@jest/globals';

import type { Position } from '../../core/ports/event-log.ts';
import { eventOutput, eventTo, fateOf, idOf, INGRESS, openStage, workOutput } from './log-stage.ts';
import type { Stage } from './log-stage.ts';
import { fillOf, rowsOf, storedIds } from './log-tables.ts';

const MEBIBYTE = 1024 * 1024;

describe('L1: groups', () => {
  test('what is appended in one turn is one commit', async () => {
    const stage = openStage();
    const appended = [1, 2, 3].map((n) => fateOf(append(stage, `e${n}`)));
    await stage.calm();
    expect(stage.store.commitCount).toBe(1);
    stage.store.pass();
    await stage.calm();
    expect(appended.map(({ state }) => state)).toEqual(['resolved', 'resolved', 'resolved']);
    expect(storedIds(stage.store)).toEqual(['e1', 'e2', 'e3']);
  });

  test('nothing is answered before its commit is durable', async () => {
    const stage = openStage();
    const appended = fateOf(append(stage, 'one'));
    await stage.advance(60_000);
    expect(appended.state).toBe('pending');
  });

  test('one group is in commit at a time, and the next is submitted before anybody is told', async () => {
    const stage = openStage();
    let hadNext: boolean | undefined;
    void append(stage, 'one').then(() => {
      hadNext = stage.store.pending !== undefined;
    });
    await stage.calm();
    const second = fateOf(append(stage, 'two'));
    await stage.advance(1_000);
    expect(stage.store.commitCount).toBe(1);
    stage.store.pass();
    await stage.calm();
    expect(hadNext).toBe(true);
    expect(stage.store.commitCount).toBe(2);
    expect(second.state).toBe('pending');
    await stage.flush();
    expect(second.state).toBe('resolved');
  });

  test.each([
    { name: '1,000 records', sizeBytes: 0, inGroup: 1_000, more: 500 },
    { name: '4 MiB', sizeBytes: MEBIBYTE, inGroup: 4, more: 3 },
  ])(
    'at most $name are in a group; the rest waits, in order',
    async ({ sizeBytes, inGroup, more }) => {
      const stage = openStage();
      await stage.occupy();
      const ids = Array.from({ length: inGroup + more }, (_, index) => `e${index}`);
      const fates = ids.map((id) => fateOf(append(stage, id, { sizeBytes })));
      await stage.calm();
      expect(stage.log.lag('a').ready).toBe(inGroup);
      stage.store.pass();
      await stage.calm();
      const records = stage.store.pending?.filter(({ table, value }) => table === 'event' && value);
      expect(records).toHaveLength(inGroup);
      expect(stage.log.lag('a').ready).toBe(inGroup + more);
      await stage.flush();
      expect(new Set(fates.map(({ state }) => state))).toEqual(new Set(['resolved']));
      const positions = fates.flatMap(({ value }) => value as Position[]);
      expect(positions.toSorted((one, other) => one - other)).toEqual(positions);
      expect(storedIds(stage.store).slice(1)).toEqual(ids);
    },
  );

  test('a batch is one commit, however large', async () => {
    const stage = openStage();
    await stage.occupy();
    const events = Array.from({ length: 1_200 }, (_, index) => held(`e${index}`));
    void stage.log.append(INGRESS, events);
    stage.store.pass();
    await stage.calm();
    const records = stage.store.pending?.filter(({ table }) => table === 'event');
    expect(records).toHaveLength(1_200);
  });

  test('outputs do not wait for room', async () => {
    const stage = openStage();
    void append(stage, 'input');
    await stage.flush();
    const delivery = await stage.pullOne('a');
    await stage.occupy();
    for (let n = 0; n < 1_001; n += 1) void append(stage, `e${n}`);
    void delivery.settle([eventOutput(eventTo('b', { id: 'output' }))]);
    expect(idOf(await stage.pullOne('b'))).toBe('output');
  });

  test.each([
    {
      name: 'when the commit fails',
      code: 'KNEAR_LOG_FAILED',
      end: ({ store }: Stage) => store.fail(),
    },
    {
      name: 'when the log closes',
      code: 'KNEAR_CLOSED',
      end: ({ log }: Stage) => void log.close(),
    },
  ])('appends that wait for room are answered $name', async ({ code, end }) => {
    const stage = openStage();
    await stage.occupy();
    for (let n = 0; n < 1_000; n += 1) append(stage, `e${n}`).catch(() => undefined);
    const waiting = fateOf(append(stage, 'waiting'));
    end(stage);
    await stage.calm();
    expect(waiting).toMatchObject({ state: 'rejected', code });
  });

  test('each commit is told with what was in it', async () => {
    const stage = openStage();
    await stage.occupy();
    for (const id of ['kept', 'settled']) void append(stage, id, { isHeld: false });
    const [, second] = await stage.pull('a', 2);
    await second?.settle([]);
    await stage.flush();
    const [first, after] = stage.happenings.filter(({ kind }) => kind === 'committed');
    expect(first).toMatchObject({ records: 1, settles: 0, leftOut: 0 });
    expect(after).toMatchObject({ records: 1, settles: 0, leftOut: 1 });
    await (await stage.pullOne('occupier')).settle([]);
    await stage.flushAll();
    expect(stage.happenings.findLast(({ kind }) => kind === 'committed')).toMatchObject({
      records: 0,
      settles: 1,
    });
  });
});

describe('L4: settles', () => {
  test('without outputs wait a quarter of a second for an append', async () => {
    const { stage, settle } = await openWith(3);
    const commits = stage.store.commitCount;
    await settle();
    await stage.advance(100);
    await settle();
    await stage.advance(149);
    expect(stage.store.commitCount).toBe(commits);
    await stage.advance(1);
    expect(stage.store.commitCount).toBe(commits + 1);
    await stage.flush();
    expect(fillOf(stage.store)).toEqual({ event: 1, ready: 1 });
  });

  test('without outputs ride along with the next append', async () => {
    const { stage, settle } = await openWith(1);
    const commits = stage.store.commitCount;
    await settle();
    void append(stage, 'next');
    await stage.flush();
    expect(stage.store.commitCount).toBe(commits + 1);
    expect(storedIds(stage.store)).toEqual(['next']);
    await stage.advance(1_000);
    expect(stage.store.commitCount).toBe(commits + 1);
  });

  test('without outputs resolve at once', async () => {
    const { stage } = await openWith(1);
    const delivery = await stage.pullOne('a');
    await delivery.settle([]);
    expect(stage.store.pending).toBeUndefined();
  });

  test('that came during a commit are flushed a quarter of a second after it', async () => {
    const { stage, settle } = await openWith(1);
    await stage.occupy();
    await settle();
    await stage.advance(1_000);
    stage.store.pass();
    await stage.calm();
    expect(stage.store.pending).toBeUndefined();
    await stage.advance(250);
    expect(stage.store.pending).toBeDefined();
  });

  test.each([
    { name: 'an event', output: eventOutput(eventTo('b')) },
    { name: 'Work about another event', output: workOutput(eventTo('')) },
  ])('with $name are submitted at once', async ({ output }) => {
    const { stage } = await openWith(1);
    const settled = fateOf((await stage.pullOne('a')).settle([output]));
    await stage.calm();
    expect(stage.store.pending).toBeDefined();
    expect(settled.state).toBe('pending');
    stage.store.pass();
    await stage.calm();
    expect(settled.state).toBe('resolved');
  });

  test('an output and what it replaces are one commit', async () => {
    const { stage } = await openWith(1);
    void (await stage.pullOne('a')).settle([eventOutput(eventTo('b', { id: 'output' }))]);
    await stage.calm();
    const before = rowsOf(stage.store, 'ready').length;
    stage.store.pass();
    expect(storedIds(stage.store)).toEqual(['output']);
    expect([before, rowsOf(stage.store, 'ready').length]).toEqual([1, 1]);
  });
});

const held = (id: string, sizeBytes = 0) => eventTo('a', { id, isHeld: true, sizeBytes });

/** For egress `a`; not handed over early, unless told otherwise, so that nothing but its group decides when it is written. */
function append(
  { log }: Stage,
  id: string,
  { isHeld = true, sizeBytes = 0 } = {},
): Promise<Position[]> {
  return log.append(INGRESS, [eventTo('a', { id, isHeld, sizeBytes })]);
}

/** A log with some durable records for egress `a`, and a way to settle the next of them. */
async function openWith(count: number): Promise<{ stage: Stage; settle(): Promise<void> }> {
  const stage = openStage();
  for (let n = 0; n < count; n += 1) void append(stage, `e${n}`);
  await stage.flush();
  const settle = async () => {
    await (await stage.pullOne('a')).settle([]);
  };
  return { stage, settle };
}
