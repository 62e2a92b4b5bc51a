/** J1, J2: what is replayed or dropped, between the commit that does it and a crash, a failure or somebody else. */
import { beforeEach, describe, expect, test } from '@jest/globals';

import type { Position } from '../../core/ports/event-log.ts';
import { eventTo, fateOf, idOf, INGRESS, openStage, parkedOutput, reopen } from './log-stage.ts';
import type { Fate, Stage } from './log-stage.ts';
import { faultsOf, fillOf } from './log-tables.ts';

let stage: Stage;
let positions: Position[];

beforeEach(async () => {
  stage = openStage();
  void stage.log.append(INGRESS, [eventTo('a', { id: 'one' }), eventTo('a b', { id: 'two' })]);
  await stage.flush();
  for (const delivery of await stage.pull('a', 2)) {
    void delivery.settle([parkedOutput(delivery.event)]);
  }
  await stage.flushAll();
  positions = (await stage.log.parked('a', { limit: 10 })).map(({ position }) => position);
  expect(positions).toHaveLength(2);
});

const ACTS = [
  {
    name: 'replay',
    act: () => stage.log.replay('a', positions),
    after: { ready: 2, delayed: 0, parked: 0 },
    // Of egress b there is one row more.
    fill: { event: 2, ready: 3, refs: 1, work: 2 },
    discarded: 0,
  },
  {
    name: 'drop',
    act: () => stage.log.dropParked('a', positions),
    after: { ready: 0, delayed: 0, parked: 0 },
    fill: { event: 1, ready: 1 },
    discarded: 2,
  },
];

describe.each(ACTS)('$name', ({ act, after, fill, discarded }) => {
  const discards = () => stage.happenings.filter(({ kind }) => kind === 'discarded');

  async function begin(): Promise<Fate> {
    const fate = fateOf(act());
    await stage.calm();
    return fate;
  }

  test('J1: is answered when it is durable, in one commit of its own that does not wait', async () => {
    const fate = await begin();
    expect(stage.store.pending).toBeDefined();
    expect(fate.state).toBe('pending');
    stage.store.pass();
    await stage.calm();
    expect(fate).toMatchObject({ state: 'resolved', value: 2 });
    expect(faultsOf(stage.store)).toEqual([]);
    expect(fillOf(stage.store)).toEqual(fill);
    expect(stage.log.lag('a')).toEqual(after);
    expect(discards()).toEqual(
      discarded === 0
        ? []
        : [
            {
              kind: 'discarded',
              egressId: 'a',
              end: 'dropped',
              count: discarded,
              reason: 'parked-dropped',
            },
          ],
    );
  });

  test('J1: a crash before the commit leaves all parked, one after it none', async () => {
    await begin();
    const before = reopen(stage);
    expect(before.log.lag('a')).toEqual({ ready: 0, delayed: 0, parked: 2 });
    expect(faultsOf(before.store)).toEqual([]);
    stage.store.pass();
    const crashed = reopen(stage);
    expect(crashed.log.lag('a')).toEqual(after);
    expect(faultsOf(crashed.store)).toEqual([]);
    expect((await crashed.pull('a', 10)).map(idOf)).toHaveLength(after.ready);
  });

  test('J1: a commit that fails leaves all parked, and it can be asked for again', async () => {
    const fate = await begin();
    stage.store.fail();
    await stage.calm();
    expect(fate).toMatchObject({ state: 'rejected', code: 'KNEAR_LOG_FAILED' });
    expect(stage.log.lag('a')).toEqual({ ready: 0, delayed: 0, parked: 2 });
    expect(discards()).toEqual([]);
    await expect(act()).rejects.toMatchObject({ code: 'KNEAR_LOG_FAILED' });
    await stage.advance(1_000);
    await stage.flush();
    const again = await begin();
    await stage.flush();
    expect(again).toMatchObject({ state: 'resolved', value: 2 });
    expect(faultsOf(stage.store)).toEqual([]);
  });

  test('J2: what is on its way is not listed, nor given to anybody else', async () => {
    await begin();
    expect(await stage.log.parked('a', { limit: 10 })).toEqual([]);
    for (const other of ACTS) expect(await other.act()).toBe(0);
    expect(await stage.pull('a', 10)).toEqual([]);
    await stage.flush();
    expect(faultsOf(stage.store)).toEqual([]);
  });

  test('J2: and ends with its egress, if that is dropped meanwhile', async () => {
    const fate = await begin();
    const dropped = fateOf(stage.log.drop('a'));
    await stage.flushAll();
    expect([fate.state, dropped.state]).toEqual(['resolved', 'resolved']);
    expect(faultsOf(stage.store)).toEqual([]);
    expect(fillOf(stage.store)).toEqual({ event: 1, ready: 1 });
  });
});

test('J1: an entry that cannot be read is not dropped, and neither are those beside it', async () => {
  const [, two = 0] = positions;
  const key = Buffer.alloc(8);
  key.writeBigUInt64BE(BigInt(two));
  stage = reopen(stage);
  void stage.store.commit([{ table: 'event', key, value: Buffer.from([1, 0]) }]);
  stage.store.pass();
  await stage.calm();
  await expect(stage.log.dropParked('a', positions)).rejects.toMatchObject({
    code: 'KNEAR_LOG_CORRUPT',
  });
  expect(stage.log.lag('a').parked).toBe(2);
});
