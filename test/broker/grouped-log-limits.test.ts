/** L6: what is taken, what is not, and what always is. */
import { describe, expect, test } from '@jest/globals';

import { eventSizeBytes } from '../../core/event.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { Output } from '../../core/ports/event-log.ts';
import {
  eventOutput,
  eventTo,
  fateOf,
  INGRESS,
  openStage,
  parkedOutput,
  reopen,
  workOutput,
} from './log-stage.ts';
import type { Stage } from './log-stage.ts';
import { faultsOf, fillOf } from './log-tables.ts';

/** An event of this size in the log's own measure. */
function sized(sizeBytes: number, id = 'e'): CloudEvent {
  const overhead = eventSizeBytes(eventTo('a', { id }));
  return eventTo('a', { id, isHeld: false, sizeBytes: sizeBytes - overhead });
}

test('usage is what the records take, in memory and on disk, until everybody has settled them', async () => {
  const stage = openStage({ limits: { sizeMaxBytes: 10_000 } });
  expect(stage.log.usage).toEqual({ bytes: 0, bytesMax: 10_000 });
  void stage.log.append(INGRESS, [sized(1_000)]);
  expect(stage.log.usage.bytes).toBe(1_000);
  await stage.flush();
  expect(stage.log.usage.bytes).toBe(1_000);
  const [delivery] = await stage.log.pull('a', 1, { signal: new AbortController().signal });
  void delivery?.settle([]);
  await stage.flushAll();
  expect(stage.log.usage.bytes).toBe(0);
});

describe('L6: appends', () => {
  test.each([
    {
      name: 'the log is nine tenths full',
      limits: { sizeMaxBytes: 10_000 },
      fits: 9,
      code: 'KNEAR_LOG_FULL',
    },
    {
      name: 'the ingress has used up its quota',
      limits: { quotaBytes: 5_000 },
      fits: 5,
      code: 'KNEAR_QUOTA',
    },
  ])('are refused when $name', async ({ limits, fits, code }) => {
    const stage = openStage({ limits });
    for (let n = 0; n < fits; n += 1) {
      expect(stage.log.state.kind).toBe('accepting');
      void stage.log.append(INGRESS, [sized(1_000)]);
    }
    await stage.flush();
    await expect(stage.log.append(INGRESS, [sized(1_000)])).rejects.toMatchObject({
      code,
      retryAfterMs: expect.any(Number),
    });
    expect(stage.log.lag('a').ready).toBe(fits);
  });

  test('are refused while the disk has less free than the reserve, and taken again afterwards', async () => {
    const stage = openStage({ limits: { reserveBytes: 1_000 } });
    stage.store.free = 999;
    await expect(stage.log.append(INGRESS, [eventTo('a')])).rejects.toMatchObject({
      code: 'KNEAR_LOG_FULL',
    });
    expect(stage.log.state).toMatchObject({ kind: 'refusing', code: 'KNEAR_LOG_FULL' });
    stage.store.free = 1_000;
    expect(stage.log.state).toEqual({ kind: 'accepting' });
    void stage.log.append(INGRESS, [eventTo('a')]);
    await stage.flush();
    expect(stage.log.lag('a').ready).toBe(1);
  });

  test('a quota is one ingress’ own: others go on', async () => {
    const stage = openStage({ limits: { quotaBytes: 500 } });
    void stage.log.append('full', [sized(1_000)]);
    await expect(stage.log.append('full', [sized(10)])).rejects.toMatchObject({
      code: 'KNEAR_QUOTA',
    });
    const other = fateOf(stage.log.append('other', [sized(1_000)]));
    await stage.flush();
    expect(other.state).toBe('resolved');
  });

  test('a refused batch leaves nothing behind', async () => {
    const stage = openStage({ limits: { quotaBytes: 500 } });
    void stage.log.append(INGRESS, [sized(1_000)]);
    await expect(stage.log.append(INGRESS, [eventTo('b'), eventTo('c')])).rejects.toMatchObject({
      code: 'KNEAR_QUOTA',
    });
    await stage.flush();
    expect(stage.log.egressIds()).toEqual(['a']);
    expect(faultsOf(stage.store)).toEqual([]);
  });

  test.each([
    { name: 'that were written', isEarly: false },
    { name: 'that were left out', isEarly: true },
  ])('are taken again when events have ended $name', async ({ isEarly }) => {
    const stage = openStage({ limits: { quotaBytes: 1_000 } });
    if (isEarly) await stage.occupy();
    void stage.log.append('full', [sized(1_000)]);
    if (!isEarly) await stage.flush();
    await (await stage.pullOne('a')).settle([]);
    await stage.flushAll();
    const again = fateOf(stage.log.append('full', [sized(1_000)]));
    await stage.flush();
    expect(again.state).toBe('resolved');
  });

  test('bytes are known again after a restart', async () => {
    const stage = openStage({ limits: { quotaBytes: 1_000 } });
    void stage.log.append(INGRESS, [sized(1_000)]);
    await stage.flush();
    const next = reopen(stage, { limits: { quotaBytes: 1_000 } });
    await expect(next.log.append(INGRESS, [sized(1)])).rejects.toMatchObject({
      code: 'KNEAR_QUOTA',
    });
  });
});

describe('L6: outputs', () => {
  test('are taken a little longer than appends: a tenth over the quota', async () => {
    const stage = openStage({ limits: { quotaBytes: 10_000 } });
    for (let n = 0; n < 10; n += 1) void stage.log.append(INGRESS, [sized(1_000)]);
    await stage.flush();
    const deliveries = await stage.pull('a', 3);
    await expect(stage.log.append(INGRESS, [sized(1)])).rejects.toMatchObject({
      code: 'KNEAR_QUOTA',
    });
    const first = fateOf(
      deliveries[0]?.settle([eventOutput(sized(1_000, 'x'))]) ?? Promise.reject(new Error()),
    );
    expect(first.state).toBe('pending');
    await expect(deliveries[1]?.settle([eventOutput(sized(1_000, 'y'))])).rejects.toMatchObject({
      code: 'KNEAR_QUOTA',
    });
    await stage.flush();
    expect(first.state).toBe('resolved');
  });

  test('are taken though the disk is below the reserve, and up to the whole log', async () => {
    const stage = openStage({ limits: { sizeMaxBytes: 3_000, reserveBytes: 1 } });
    for (let n = 0; n < 3; n += 1) void stage.log.append(INGRESS, [sized(900)]);
    await stage.flush();
    stage.store.free = 0;
    const [one, two] = await stage.pull('a', 2);
    const settled = fateOf(
      one?.settle([eventOutput(sized(900, 'x'))]) ?? Promise.reject(new Error()),
    );
    await stage.calm();
    await expect(two?.settle([eventOutput(sized(900, 'y'))])).rejects.toMatchObject({
      code: 'KNEAR_LOG_FULL',
    });
    await stage.flush();
    expect(settled.state).toBe('resolved');
  });

  test('one that is refused changes nothing: the lease runs on, and the same settle may come again', async () => {
    const stage = openStage({ limits: { quotaBytes: 2_000 } });
    void stage.log.append('small', [sized(900, 'input')]);
    void stage.log.append('full', [sized(2_300, 'other')]);
    await stage.flush();
    const delivery = await stage.pullOne('a');
    const outputs = [eventOutput(eventTo('b'), 'small'), eventOutput(eventTo('b'), 'full')];
    await expect(delivery.settle(outputs)).rejects.toMatchObject({ code: 'KNEAR_QUOTA' });
    expect(stage.log.lag('b').ready).toBe(0);
    expect(stage.log.lag('a').ready).toBe(2);
    await stage.advance(14_000);
    expect((await stage.pull('a', 5)).map(({ lease }) => lease)).toEqual([1]);
    await delivery.settle([]);
    expect(stage.log.lag('a').ready).toBe(1);
  });

  test.each<{ name: string; output: (event: CloudEvent) => Output }>([
    { name: 'Work', output: (event) => workOutput(event) },
    { name: 'Work about another event', output: () => workOutput(sized(5_000)) },
    { name: 'a parked entry', output: (event) => parkedOutput(event) },
    { name: 'a parked entry of another event', output: () => parkedOutput(sized(5_000)) },
  ])('$name is taken whatever is full', async ({ output }) => {
    const stage = openStage({ limits: { quotaBytes: 500, sizeMaxBytes: 1_000, reserveBytes: 1 } });
    void stage.log.append(INGRESS, [sized(5_000)]);
    await stage.flush();
    stage.store.free = 0;
    const delivery = await stage.pullOne('a');
    const settled = fateOf(delivery.settle([output(delivery.event)]));
    await stage.flush();
    expect(settled.state).toBe('resolved');
    expect(faultsOf(stage.store)).toEqual([]);
  });

  test('settling without outputs is never refused', async () => {
    const stage = openStage({ limits: { quotaBytes: 500, sizeMaxBytes: 1_000, reserveBytes: 1 } });
    void stage.log.append(INGRESS, [sized(5_000)]);
    await stage.flush();
    stage.store.free = 0;
    await (await stage.pullOne('a')).settle([]);
    await stage.flushAll();
    expect(fillOf(stage.store)).toEqual({});
  });
});

describe('parked entries grow old', () => {
  const DAY_MS = 24 * 3_600_000;

  test('one past its age is dropped and reported, a younger one is not', async () => {
    const stage = openStage({ limits: { parkedAgeMs: DAY_MS } });
    await parkAt(stage, 'old', 0);
    await parkAt(stage, 'young', DAY_MS / 2);
    await passTime(stage, DAY_MS / 2 + 3_600_000);
    expect(
      (await stage.log.parked('a', { limit: 10 })).map(({ event }) => event.attributes.get('id')),
    ).toEqual(['young']);
    expect(stage.happenings.filter(({ kind }) => kind === 'discarded')).toEqual([
      { kind: 'discarded', egressId: 'a', end: 'dropped', count: 1, reason: 'parking-age' },
    ]);
    expect(stage.log.lag('a').parked).toBe(1);
    expect(faultsOf(stage.store)).toEqual([]);
  });

  async function parkAt(stage: Stage, id: string, afterMs: number): Promise<void> {
    await passTime(stage, afterMs);
    void stage.log.append(INGRESS, [eventTo('a', { id })]);
    await stage.flush();
    const delivery = await stage.pullOne('a');
    void delivery.settle([parkedOutput(delivery.event, stage.clock.nowMs())]);
    await stage.flush();
  }

  /** Hours, in one go: nothing here answers within them. */
  async function passTime({ clock, flushAll }: Stage, ms: number): Promise<void> {
    clock.advance(ms);
    await flushAll();
  }
});
