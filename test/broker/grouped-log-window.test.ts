/**
 * Of L7 and L10: however much waits for a slow egress, little of it is in memory, and it gets everything once, in order,
 * while appends go on. What is in memory cannot be seen from outside, so the rows read from the store tell.
 */
import { describe, expect, test } from '@jest/globals';

import type { Delivery } from '../../core/ports/event-log.ts';
import {
  eventTo,
  idOf,
  INGRESS,
  openStage,
  parkedOutput,
  reopen,
  workOutput,
} from './log-stage.ts';
import type { Stage } from './log-stage.ts';
import { faultsOf, fillOf } from './log-tables.ts';

const WINDOW = 16;

describe('L7: memory', () => {
  test('of 10,000 records for a slow egress no more than a window is read ahead', async () => {
    const stage = await openWith(10_000);
    const next = reopen(stage, { limits: { windowMax: WINDOW } });
    const openedRows = next.store.rowsRead;
    await next.pullOne('a');
    expect(next.store.rowsRead - openedRows).toBeLessThanOrEqual(WINDOW);
    const before = next.store.rowsRead;
    for (let n = 0; n < 100; n += 1) await next.pullOne('a');
    expect(next.store.rowsRead - before).toBeLessThanOrEqual(100 + WINDOW);
  });

  test('opening a log reads one row for each egress and ingress, not what waits', async () => {
    const stage = await openWith(2_000);
    const next = reopen(stage);
    expect(next.store.rowsRead).toBeLessThanOrEqual(2);
    expect(next.log.lag('a').ready).toBe(2_000);
  });

  test('an egress that nobody pulls for reads nothing while events come', async () => {
    const stage = openStage({ limits: { windowMax: WINDOW } });
    for (let n = 0; n < 20; n += 1) {
      appendSome(stage, 10, n * 10);
      await stage.flush();
    }
    expect(stage.store.rowsRead).toBe(0);
  });

  test('numbers cost no reads', async () => {
    const stage = await openWith(1_000);
    const before = stage.store.rowsRead;
    expect(stage.log.lag('a').ready).toBe(1_000);
    expect(stage.log.egressIds()).toEqual(['a']);
    expect(stage.store.rowsRead).toBe(before);
  });

  test('bodies that were just written are not read again, but more than 32 MiB of them do not stay', async () => {
    const stage = openStage({ limits: { windowMax: 5_000 } });
    for (let n = 0; n < 50; n += 1) {
      appendSome(stage, 100, n * 100, 10 * 1024);
      await stage.flush();
    }
    const reads: number[] = [];
    for (const count of [100, 4_800, 100]) {
      const before = stage.store.eventsRead;
      await stage.pull('a', count);
      reads.push(stage.store.eventsRead - before);
    }
    const [ofOldest, , ofNewest] = reads;
    expect({ ofOldest, ofNewest }).toEqual({ ofOldest: 100, ofNewest: 0 });
  });
});

describe('L10: catching up', () => {
  test('nothing is missed or repeated while appends and commits go on', async () => {
    const stage = openStage({ limits: { windowMax: WINDOW } });
    const total = 400;
    const came: string[] = [];
    let appended = 0;
    for (let turn = 0; came.length < total; turn += 1) {
      if (appended < total) {
        appendSome(stage, 8, appended);
        appended += 8;
      }
      // Commits take three turns, so that every pull meets records in each of their states.
      if (turn % 3 === 0 && stage.store.pending) stage.store.pass();
      const deliveries = await stage.pull('a', 5);
      came.push(...deliveries.map(idOf));
      for (const delivery of deliveries) await delivery.settle([]);
    }
    expect(came).toEqual(Array.from({ length: total }, (_, index) => `e${index}`));
    await stage.flushAll();
    expect(fillOf(stage.store)).toEqual({});
  });

  test('open deliveries and settles that are not durable are passed over', async () => {
    const stage = await openWith(40, { windowMax: WINDOW });
    const first = await stage.pull('a', 10);
    await stage.occupy();
    for (const delivery of first.slice(0, 5)) await delivery.settle([]);
    const rest = (await pullAll(stage)).map(idOf);
    expect(rest).toEqual(Array.from({ length: 30 }, (_, index) => `e${index + 10}`));
  });

  test('what comes back below the end of a full window is offered in its turn', async () => {
    const stage = await openWith(60, { windowMax: WINDOW });
    const first = await stage.pull('a', 4);
    for (const delivery of first) void delivery.settle([workOutput(delivery.event)]);
    await stage.flush();
    const ids = (await pullAll(stage)).map(idOf);
    expect(ids).toHaveLength(60);
    expect(new Set(ids).size).toBe(60);
  });

  test.each([
    {
      name: 'released',
      giveBack: async (stage: Stage) =>
        void (await stage.pull('a', 30)).forEach((one) => one.release()),
    },
    {
      name: 'lapsed',
      giveBack: async (stage: Stage) => {
        await stage.pull('a', 30);
        await stage.advance(17_000);
      },
    },
  ])('more than a window of $name deliveries is offered again, in order', async ({ giveBack }) => {
    const stage = await openWith(60, { windowMax: WINDOW });
    await giveBack(stage);
    const ids = (await pullAll(stage)).map(idOf);
    expect(ids).toEqual(Array.from({ length: 60 }, (_, index) => `e${index}`));
  });

  // Q2: such Work lies above every position that was appended for the egress.
  test('Work about an event of its own is found behind a full window, though nothing is appended any more', async () => {
    const stage = await openWith(WINDOW * 2, { windowMax: WINDOW });
    const deliveries = await stage.pull('a', WINDOW * 2);
    deliveries.push(...(await stage.pull('a', WINDOW * 2)));
    for (const delivery of deliveries) delivery.release();
    void deliveries[0]?.settle([workOutput(eventTo('', { id: 'work' }))]);
    await stage.flush();
    const ids = (await pullAll(stage)).map(idOf);
    expect(ids.at(-1)).toBe('work');
    expect(faultsOf(stage.store)).toEqual([]);
  });

  // The rows of a record in memory are not all there to be offered.
  test.each([
    { name: 'Work', output: workOutput(eventTo('', { id: 'kept' })), attempts: [1] },
    {
      name: 'Work that is due later',
      output: workOutput(eventTo('', { id: 'kept' }), { dueAtMs: 9e12 }),
      attempts: [],
    },
    { name: 'a parked entry', output: parkedOutput(eventTo('', { id: 'kept' })), attempts: [] },
  ])('$name in memory is not taken for a record to offer', async ({ output, attempts }) => {
    const stage = openStage({ limits: { windowMax: WINDOW } });
    await stage.occupy();
    appendSome(stage, 3 * WINDOW, 0);
    const first = await stage.pull('a', WINDOW);
    void first[0]?.settle([output]);
    const deliveries = await pullAll(stage);
    await stage.flush();
    deliveries.push(...(await pullAll(stage)));
    const kept = deliveries.filter((delivery) => idOf(delivery) === 'kept');
    expect(kept.map(({ attempt }) => attempt)).toEqual(attempts);
    expect(deliveries).toHaveLength(2 * WINDOW + attempts.length);
    expect(faultsOf(stage.store)).toEqual([]);
  });
});

/** Everything that egress `a` can have now, a few at a time. */
async function pullAll(stage: Stage): Promise<Delivery[]> {
  const deliveries: Delivery[] = [];
  for (let more = await stage.pull('a', 7); more.length > 0; more = await stage.pull('a', 7)) {
    deliveries.push(...more);
  }
  return deliveries;
}

/** A log with durable records `e0`, `e1`, ... for egress `a`. */
async function openWith(count: number, limits: { windowMax?: number } = {}): Promise<Stage> {
  const stage = openStage({ limits });
  appendSome(stage, count, 0);
  await stage.flush();
  return stage;
}

function appendSome({ log }: Stage, count: number, from: number, sizeBytes = 0): void {
  const ids = Array.from({ length: count }, (_, index) => `e${from + index}`);
  void log.append(
    INGRESS,
    ids.map((id) => eventTo('a', { id, sizeBytes })),
  );
}
