/** L11: what a commit that fails undoes, who is told, and how the log comes back. */
import { beforeEach, describe, expect, test } from '@jest/globals';

import type { Delivery } from '../../core/ports/event-log.ts';
import {
  eventOutput,
  eventTo,
  fateOf,
  idOf,
  INGRESS,
  openStage,
  parkedOutput,
  reopen,
  workOutput,
} from './log-stage.ts';
import type { Fate, Stage } from './log-stage.ts';
import { faultsOf, fillOf, storedIds } from './log-tables.ts';

let stage: Stage;

beforeEach(() => {
  stage = openStage();
});

describe('L11: a commit fails', () => {
  test('all that is in memory is answered: in commit, in the open group, and waiting for room', async () => {
    await appendDurably('a', 'durable');
    const durable = await stage.pullOne('a');
    const inCommit = append('b', 'in-commit');
    await stage.calm();
    const fates = [
      inCommit,
      append('b', 'open'),
      fateOf(durable.settle([eventOutput(eventTo('c'))])),
      ...Array.from({ length: 1_000 }, (_, index) => append('b', `e${index}`)),
    ];
    await fail();
    for (const fate of fates)
      expect(fate).toMatchObject({ state: 'rejected', code: 'KNEAR_LOG_FAILED' });
    expect(storedIds(stage.store)).toEqual(['durable']);
  });

  test('an append that was answered before, because it was settled, stays answered', async () => {
    await stage.occupy();
    const appended = append('a', 'settled');
    await (await stage.pullOne('a')).settle([]);
    await stage.calm();
    expect(appended.state).toBe('resolved');
    await fail();
    expect(appended.state).toBe('resolved');
  });

  test('a chain fails from its end: whoever relied on an output that is gone is told', async () => {
    await stage.occupy();
    const appended = append('a', 'first');
    const settled = fateOf((await stage.pullOne('a')).settle([eventOutput(eventTo('b'))]));
    await fail();
    expect([appended.state, settled.state]).toEqual(['rejected', 'rejected']);
  });

  test('what could not be written says what failed and what to do', async () => {
    const appended = stage.log.append(INGRESS, [eventTo('a')]);
    await stage.calm();
    stage.store.fail(new Error('no space left'));
    await expect(appended).rejects.toMatchObject({
      code: 'KNEAR_LOG_FAILED',
      message: expect.stringContaining('no space left'),
      retryAfterMs: 1_000,
      cause: expect.objectContaining({ message: 'no space left' }),
    });
  });

  test('deliveries of records that are gone are stale', async () => {
    append('a', 'gone');
    const delivery = await stage.pullOne('a');
    await fail();
    await delivery.settle([eventOutput(eventTo('b')), workOutput(delivery.event)]);
    delivery.release();
    delivery.extend();
    await recover();
    expect(stage.log.egressIds()).toEqual([]);
    expect(await stage.pull('a')).toEqual([]);
    expect(fillOf(stage.store)).toEqual({});
  });

  test('deliveries of older records go on: open ones stay open, settled ones are offered again', async () => {
    await appendDurably('a', 'open', 'settled', 'waiting');
    const [open, settled] = await stage.pull('a', 2);
    await settled?.settle([]);
    await stage.occupy();
    await fail();
    await recover();
    const again = await stage.pull('a', 10);
    expect(again.map(idOf)).toEqual(['settled', 'waiting']);
    await open?.settle([]);
    for (const delivery of again) await delivery.settle([]);
    await stage.flushAll();
    expect(fillOf(stage.store)).toEqual({});
  });

  test('the same holder may settle again what could not be settled', async () => {
    await appendDurably('a', 'one');
    const delivery = await stage.pullOne('a');
    const settled = fateOf(delivery.settle([workOutput(delivery.event, { attempt: 1 })]));
    await fail();
    expect(settled.state).toBe('rejected');
    const again = fateOf(delivery.settle([workOutput(delivery.event, { attempt: 2 })]));
    await recover();
    expect(again.state).toBe('resolved');
    expect((await stage.pullOne('a')).attempt).toBe(2);
    expect(await stage.pull('a')).toEqual([]);
  });

  test('timers that were being moved are moved later', async () => {
    await appendDurably('a', 'one');
    const delivery = await stage.pullOne('a');
    void delivery.settle([workOutput(delivery.event, { dueAtMs: stage.clock.nowMs() + 5_000 })]);
    await stage.flush();
    await stage.advance(5_000);
    expect(stage.log.lag('a')).toEqual({ ready: 1, delayed: 0, parked: 0 });
    await fail();
    expect(stage.log.lag('a')).toEqual({ ready: 0, delayed: 1, parked: 0 });
    await recover();
    expect((await stage.pullOne('a')).attempt).toBe(1);
  });

  test('parked entries that were being dropped are listed again', async () => {
    stage = openStage({ limits: { parkedMax: 1 } });
    await appendDurably('a', 'old', 'new');
    const [old, young] = await stage.pull('a', 2);
    void old?.settle([parkedOutput(old.event)]);
    await stage.flush();
    void young?.settle([parkedOutput(young.event)])?.catch(() => undefined);
    await stage.calm();
    await fail();
    expect((await stage.log.parked('a', { limit: 10 })).map(idOf)).toEqual(['old']);
    expect(stage.log.lag('a')).toEqual({ ready: 1, delayed: 0, parked: 1 });
  });

  test('counts and bytes are those of the disk again (A2)', async () => {
    stage = openStage({ limits: { quotaBytes: 1_000 } });
    await appendDurably('a', 'one', 'two');
    const [one, two] = await stage.pull('a', 2);
    await one?.settle([]);
    void two?.settle([parkedOutput(two.event)])?.catch(() => undefined);
    void stage.log.append(INGRESS, [eventTo('a b', { sizeBytes: 5_000 })]).catch(() => undefined);
    await stage.calm();
    await fail();
    expect(stage.log.lag('a')).toEqual({ ready: 2, delayed: 0, parked: 0 });
    expect(stage.log.lag('b')).toEqual({ ready: 0, delayed: 0, parked: 0 });
    await recover();
    const fits = append('a', 'three');
    await stage.flush();
    expect(fits.state).toBe('resolved');
  });
});

describe('L11: while the disk fails', () => {
  beforeEach(async () => {
    await appendDurably('a', 'one', 'two');
    await stage.occupy();
  });

  test('appends and outputs are refused, nothing is offered, and the state says why', async () => {
    const delivery = await stage.pullOne('a');
    await fail();
    expect(stage.log.state).toMatchObject({ kind: 'refusing', code: 'KNEAR_LOG_FAILED' });
    await expect(stage.log.append(INGRESS, [eventTo('a')])).rejects.toMatchObject({
      code: 'KNEAR_LOG_FAILED',
    });
    await expect(delivery.settle([eventOutput(eventTo('b'))])).rejects.toMatchObject({
      code: 'KNEAR_LOG_FAILED',
    });
    expect(await stage.pull('a')).toEqual([]);
    expect(stage.log.lag('a').ready).toBe(2);
  });

  test('a pull goes on waiting, and is served when the disk works', async () => {
    await fail();
    const pulled = fateOf(stage.log.pull('a', 5, { signal: new AbortController().signal }));
    await stage.calm();
    expect(pulled.state).toBe('pending');
    await recover();
    expect((pulled.value as Delivery[]).map(idOf)).toEqual(['one', 'two']);
  });

  test('what needs no output may be settled, and is written when the disk works', async () => {
    const [one, two] = await stage.pull('a', 2);
    await fail();
    await one?.settle([]);
    const worked = fateOf(two?.settle([workOutput(two.event)]) ?? Promise.resolve());
    await stage.calm();
    expect(worked.state).toBe('pending');
    await recover();
    expect(worked.state).toBe('resolved');
    expect(stage.log.lag('a')).toEqual({ ready: 1, delayed: 0, parked: 0 });
    expect(faultsOf(stage.store)).toEqual([]);
  });

  test('leases go on ending', async () => {
    await stage.pull('a', 2);
    await fail();
    await stage.advance(17_000);
    await recover();
    expect((await stage.pull('a', 2)).map(({ lease }) => lease)).toEqual([2, 2]);
  });

  test('a drop waits, and ends when the disk works', async () => {
    await fail();
    const dropped = fateOf(stage.log.drop('a'));
    await stage.advance(500);
    expect(dropped.state).toBe('pending');
    await recover();
    await stage.flushAll();
    expect(dropped).toMatchObject({ state: 'resolved', value: 2 });
    expect(fillOf(stage.store)).toEqual({});
  });

  test('an egress that is dropped meanwhile gets nothing back', async () => {
    const dropping = fateOf(stage.log.drop('a'));
    await fail();
    await recover();
    await stage.flushAll();
    expect(dropping.state).toBe('resolved');
    expect(await stage.pull('a')).toEqual([]);
    expect(fillOf(stage.store)).toEqual({});
  });
});

// A crash between two commits would else revive what was dropped, under a name that has a new owner, for nobody to drop.
test('L11: a drop whose commit failed is on the disk before anybody who takes the name', async () => {
  await appendDurably('a b', 'one');
  const other = await stage.pullOne('b');
  void stage.log.drop('a');
  await fail();
  await other.settle([]);
  while (!stage.store.pending) await stage.advance(500);
  stage.store.pass();
  await new Promise((resolve) => setImmediate(resolve));
  append('a', 'new');
  await stage.calm();
  while (stage.store.pending) {
    stage.store.pass();
    expect(faultsOf(stage.store)).toEqual([]);
    await stage.calm();
  }
  await stage.flushAll();
  expect(storedIds(stage.store)).toEqual(['new']);
});

describe('L11: the way back', () => {
  test('the disk is probed after a second, then at doubling intervals up to ten', async () => {
    append('a', 'one');
    await fail();
    const waits: number[] = [];
    for (let probe = 0; probe < 6; probe += 1) {
      let waitedMs = 0;
      for (; !stage.store.pending; waitedMs += 500) await stage.advance(500);
      waits.push(waitedMs);
      await fail();
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
  });

  test('a failed flush is not repeated: the probe writes no event', async () => {
    append('a', 'one');
    await fail();
    await stage.advance(1_000);
    expect(stage.store.pending?.filter(({ table }) => table !== 'info')).toEqual([]);
  });

  test('after it, appends are taken and the change of state is told, both ways', async () => {
    append('a', 'one');
    await fail();
    await recover();
    expect(stage.log.state).toEqual({ kind: 'accepting' });
    const appended = append('a', 'two');
    await stage.flush();
    expect(appended.state).toBe('resolved');
    expect(stage.happenings.filter(({ kind }) => kind === 'log-state')).toEqual([
      { kind: 'log-state', isAccepting: false, code: 'KNEAR_LOG_FAILED' },
      { kind: 'log-state', isAccepting: true },
    ]);
  });

  test('positions of what was withdrawn are not used again', async () => {
    const [before] = await Promise.all([appendDurably('a', 'one')]);
    append('a', 'withdrawn');
    await fail();
    await recover();
    const [after] = await Promise.all([appendDurably('a', 'two')]);
    expect(after).toBe((before ?? 0) + 2);
  });

  test('it may fail again, and again', async () => {
    await appendDurably('a', 'one');
    for (let round = 0; round < 3; round += 1) {
      const delivery = await stage.pullOne('a');
      const settled = fateOf(delivery.settle([workOutput(delivery.event)]));
      await stage.calm();
      await fail();
      expect(settled.state).toBe('rejected');
      await recover();
    }
    expect(stage.log.lag('a')).toEqual({ ready: 1, delayed: 0, parked: 0 });
    expect(faultsOf(stage.store)).toEqual([]);
  });

  test('a crash while the disk fails leaves what was durable', async () => {
    await appendDurably('a', 'one', 'two');
    const [one] = await stage.pull('a', 1);
    append('a', 'lost');
    await stage.calm();
    await fail();
    await one?.settle([]);
    const next = reopen(stage);
    expect((await next.pull('a', 10)).map(idOf)).toEqual(['one', 'two']);
  });
});

/** Some commits end in the microtask in which something else happens. */
describe('L11: at the same instant', () => {
  test.each([0, 1, 2, 3, 4, 5])(
    'a pull is not ended by an append that fails %i microtasks later',
    async (ticks) => {
      const pulled = fateOf(stage.log.pull('a', 1, { signal: new AbortController().signal }));
      await stage.occupy();
      stage.store.fail();
      for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve();
      stage.log.append(INGRESS, [eventTo('a')]).catch(() => undefined);
      await stage.calm();
      expect(pulled).not.toMatchObject({ value: [] });
    },
  );
});

function append(to: string, id: string): Fate {
  return fateOf(stage.log.append(INGRESS, [eventTo(to, { id })]));
}

/** Returns the last position. */
async function appendDurably(to: string, ...ids: string[]): Promise<number | undefined> {
  const appended = stage.log.append(
    INGRESS,
    ids.map((id) => eventTo(to, { id })),
  );
  await stage.flush();
  return (await appended).at(-1);
}

async function fail(): Promise<void> {
  await stage.calm();
  stage.store.fail();
  await stage.calm();
}

/** The next probe passes, and what it lets go. */
async function recover(): Promise<void> {
  for (let waitedMs = 0; !stage.store.pending && waitedMs < 20_000; waitedMs += 500)
    await stage.advance(500);
  await stage.flush();
}
