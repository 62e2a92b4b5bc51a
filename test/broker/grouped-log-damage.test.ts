/**
 * What a disk that cannot be read costs: the delivery that needs it, never the process. Hunts errors that are thrown where
 * nobody is who could take them: in timers, in the flush of others, in the append that wakes a pull.
 */
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
import type { Stage } from './log-stage.ts';
import { faultsOf, rowsOf } from './log-tables.ts';

describe('a damaged record', () => {
  test('does not hold up the others', async () => {
    const stage = await openWithout('e0');
    expect((await stage.pull('a', 3)).map(idOf)).toEqual(['e1', 'e2']);
  });

  test('alone is an error of the pull, with a code; it comes back when its lease is over', async () => {
    const stage = await openWithout('e0');
    await expect(stage.pull('a', 1)).rejects.toMatchObject({ code: 'KNEAR_LOG_CORRUPT' });
    expect((await stage.pull('a', 3)).map(idOf)).toEqual(['e1', 'e2']);
    await stage.advance(17_000);
    await expect(stage.pull('a', 1)).rejects.toMatchObject({ code: 'KNEAR_LOG_CORRUPT' });
  });

  async function openWithout(id: string): Promise<Stage> {
    const stage = await openWith(3);
    damage(stage, id);
    return reopen(stage);
  }
});

describe('a table that cannot be read', () => {
  test('fails the pull that needs it, and not the append that wakes the pull', async () => {
    const stage = await openWith(100, { windowMax: 4 });
    const [first] = await stage.pull('a', 4);
    await stage.pull('a', 100);
    stage.store.brokenTable = 'ready';
    const pulled = fateOf(stage.log.pull('a', 1, { signal: new AbortController().signal }));
    const appended = fateOf(stage.log.append(INGRESS, [eventTo('a'), eventTo('b')]));
    first?.release();
    await stage.flush();
    expect(appended.state).toBe('resolved');
    expect(stage.log.lag('b').ready).toBe(1);
    // Either the released one was at hand, or it could not be looked for.
    expect(pulled.state).not.toBe('pending');
    stage.store.brokenTable = undefined;
    expect((await stage.pull('a', 1)).length).toBe(1);
  });

  test('fails a commit that has to know references, and that commit alone', async () => {
    const stage = await openWith(2);
    const [one, two] = await stage.pull('a', 2);
    stage.store.brokenTable = 'refs';
    await one?.settle([]);
    const settled = fateOf(two?.settle([workOutput(eventTo(''))]) ?? Promise.resolve());
    await stage.calm();
    expect(settled).toMatchObject({ state: 'rejected' });
    expect(stage.log.state.kind).toBe('refusing');
    stage.store.brokenTable = undefined;
    await stage.advance(1_000);
    await stage.flush();
    expect(stage.log.state.kind).toBe('accepting');
    expect(stage.log.lag('a').ready).toBe(2);
    expect(faultsOf(stage.store)).toEqual([]);
  });

  test('delays timers, and stops nothing else', async () => {
    const stage = await openWith(1);
    const delivery = await stage.pullOne('a');
    void delivery.settle([workOutput(delivery.event, { dueAtMs: stage.clock.nowMs() + 5_000 })]);
    await stage.flush();
    stage.store.brokenTable = 'timer';
    await stage.advance(6_000);
    const appended = fateOf(stage.log.append(INGRESS, [eventTo('b')]));
    await stage.flush();
    expect(appended.state).toBe('resolved');
    stage.store.brokenTable = undefined;
    await stage.advance(31_000);
    await stage.flush();
    expect((await stage.pullOne('a')).attempt).toBe(1);
  });
});

describe('a parked entry whose record is damaged', () => {
  test('does not keep others from being parked, whatever the bound says', async () => {
    const stage = await openWith(3, { parkedMax: 1 });
    const [one, two, three] = await stage.pull('a', 3);
    void one?.settle([parkedOutput(one.event)]);
    await stage.flush();
    damage(stage, 'e0');
    const settled = [two, three].map((next) =>
      fateOf(next?.settle([parkedOutput(next.event)]) ?? Promise.resolve()),
    );
    await stage.flush();
    expect(settled.map(({ state }) => state)).toEqual(['resolved', 'resolved']);
    expect(stage.log.state.kind).toBe('accepting');
  });

  test('does not keep the log from opening, nor from going on when it has grown old', async () => {
    const stage = await openWith(1);
    const delivery = await stage.pullOne('a');
    void delivery.settle([parkedOutput(delivery.event)]);
    await stage.flush();
    damage(stage, 'e0');
    stage.clock.advance(8 * 24 * 3_600_000);
    await stage.flush();
    const next = reopen(stage);
    const appended = fateOf(next.log.append(INGRESS, [eventTo('b')]));
    await next.flush();
    expect(appended.state).toBe('resolved');
  });
});

/** The record of this event is lost. */
function damage({ store }: Stage, id: string): void {
  const damaged = rowsOf(store, 'event').find(({ value }) => value.includes(`"${id}"`));
  if (!damaged) throw new Error(`${id} is not stored`);
  store.tables.apply([{ table: 'event', key: damaged.key }]);
}

async function openWith(
  count: number,
  limits: { windowMax?: number; parkedMax?: number } = {},
): Promise<Stage> {
  const stage = openStage({ limits });
  const events = Array.from({ length: count }, (_, index) => eventTo('a', { id: `e${index}` }));
  void stage.log.append(INGRESS, events);
  await stage.flush();
  return stage;
}
