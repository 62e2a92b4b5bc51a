/**
 * L2: an event is handed over before it is durable, is answered when it is durable or settled everywhere, and is never
 * written when nobody needs it any more. Each test keeps a commit waiting, so that what comes stays in memory.
 */
import { beforeEach, describe, expect, test } from '@jest/globals';

import type { CloudEvent } from '../../core/event.ts';
import type { Output } from '../../core/ports/event-log.ts';
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
import { faultsOf, fillOf, rowsOf, storedIds } from './log-tables.ts';

let stage: Stage;

beforeEach(async () => {
  stage = openStage();
  await stage.occupy();
});

describe('L2: handed over in memory', () => {
  test('a record is offered before it is written', async () => {
    const appended = append('a');
    expect((await stage.pullOne('a')).lease).toBe(1);
    expect(appended.state).toBe('pending');
  });

  test('a record that is not early is offered once it is durable, and not before', async () => {
    append('a', { isHeld: true });
    expect(await stage.pull('a')).toEqual([]);
    stage.store.pass();
    await stage.calm();
    expect(await stage.pull('a')).toEqual([]);
    stage.store.pass();
    await stage.calm();
    expect(await stage.pull('a')).toHaveLength(1);
  });

  test('early and held records of one egress may pass each other, and none is lost', async () => {
    append('a', { id: 'held', isHeld: true });
    append('a', { id: 'early' });
    expect((await stage.pull('a', 2)).map(idOf)).toEqual(['early']);
    await stage.flush();
    expect((await stage.pull('a', 2)).map(idOf)).toEqual(['held']);
  });
});

describe('L2: answered', () => {
  test('when every matching egress has settled, before anything is written', async () => {
    const appended = append('a b');
    await (await stage.pullOne('a')).settle([]);
    await stage.calm();
    expect(appended.state).toBe('pending');
    await (await stage.pullOne('b')).settle([]);
    await stage.calm();
    expect(appended.state).toBe('resolved');
  });

  test('when it is durable, though nobody has settled', async () => {
    const appended = append('a');
    await stage.flush();
    expect(appended.state).toBe('resolved');
  });

  test('a batch when each of its events is', async () => {
    const appended = fateOf(stage.log.append(INGRESS, [eventTo('a'), eventTo('b')]));
    await (await stage.pullOne('a')).settle([]);
    await stage.calm();
    expect(appended.state).toBe('pending');
    await (await stage.pullOne('b')).settle([]);
    await stage.calm();
    expect(appended.state).toBe('resolved');
  });

  test('not by a settle whose output is in memory only', async () => {
    const appended = append('a');
    const settled = await settleOne('a', eventOutput(eventTo('b', { id: 'output' })));
    await stage.calm();
    expect([appended.state, settled.state]).toEqual(['pending', 'pending']);
    stage.store.pass();
    await stage.calm();
    expect([appended.state, settled.state]).toEqual(['pending', 'pending']);
    stage.store.pass();
    await stage.calm();
    expect([appended.state, settled.state]).toEqual(['resolved', 'resolved']);
  });

  test('by a chain, backwards, once its last output is settled everywhere', async () => {
    const fates = [append('a')];
    fates.push(await settleOne('a', eventOutput(eventTo('b'))));
    fates.push(await settleOne('b', eventOutput(eventTo('c d'))));
    await (await stage.pullOne('c')).settle([]);
    await stage.calm();
    expect(fates.map(({ state }) => state)).toEqual(['pending', 'pending', 'pending']);
    await (await stage.pullOne('d')).settle([]);
    await stage.calm();
    expect(fates.map(({ state }) => state)).toEqual(['resolved', 'resolved', 'resolved']);
    await stage.flushAll();
    expect(storedIds(stage.store)).toEqual(['occupier']);
  });

  test('by a settle whose output nobody wants', async () => {
    const appended = append('a');
    const settled = await settleOne('a', eventOutput(eventTo('')));
    await stage.calm();
    expect([appended.state, settled.state]).toEqual(['resolved', 'resolved']);
  });

  test.each<{ name: string; output: (event: CloudEvent) => Output }>([
    { name: 'Work about it', output: (event) => workOutput(event) },
    { name: 'Work about another event', output: () => workOutput(eventTo('')) },
    {
      name: 'Work that it is the origin of',
      output: (event) => workOutput(eventTo(''), { origin: event }),
    },
    { name: 'a parked entry of it', output: (event) => parkedOutput(event) },
    { name: 'a parked entry of another event', output: () => parkedOutput(eventTo('')) },
  ])('when $name is durable, not before', async ({ output }) => {
    const appended = append('a');
    const delivery = await stage.pullOne('a');
    const settled = fateOf(delivery.settle([output(delivery.event)]));
    await stage.calm();
    expect([appended.state, settled.state]).toEqual(['pending', 'pending']);
    await stage.flush();
    expect([appended.state, settled.state]).toEqual(['resolved', 'resolved']);
    expect(faultsOf(stage.store)).toEqual([]);
  });

  test('once, though a dropped egress and a settled one end it together', async () => {
    const appended = append('a b');
    await (await stage.pullOne('a')).settle([]);
    const dropped = stage.log.drop('b');
    await stage.calm();
    expect(appended.state).toBe('resolved');
    await stage.flushAll();
    expect(await dropped).toBe(1);
  });
});

describe('L2: left out', () => {
  test('what is settled everywhere before it is sealed is never written', async () => {
    append('a b', { id: 'settled' });
    append('a', { id: 'kept' });
    for (const delivery of await stage.pull('a', 1)) await delivery.settle([]);
    await (await stage.pullOne('b')).settle([]);
    stage.store.pass();
    await stage.calm();
    const written = stage.store.pending?.filter(({ table }) => table === 'event');
    expect(written).toHaveLength(1);
    await stage.flush();
    expect(storedIds(stage.store)).toEqual(['occupier', 'kept']);
  });

  test('a group of which nothing is left is not committed', async () => {
    await stage.flush();
    await stage.occupy();
    append('a');
    await (await stage.pullOne('a')).settle([]);
    const commits = stage.store.commitCount;
    await stage.flushAll();
    expect(stage.store.commitCount).toBe(commits);
  });

  test('its position is not used again, not even by the next process', async () => {
    await stage.flush();
    await stage.occupy();
    const appended = append('a');
    await (await stage.pullOne('a')).settle([]);
    await stage.flush();
    await Promise.all([stage.log.close(), stage.flush()]);
    const next = reopen(stage);
    const again = fateOf(next.log.append(INGRESS, [eventTo('a')]));
    await next.flush();
    // Appends resolve with positions.
    const [[used = 0], [fresh = 0]] = [appended.value, again.value] as [number[], number[]];
    expect(fresh).toBeGreaterThan(used);
  });

  test('a record is written with rows for those only that have not settled', async () => {
    append('a b c', { id: 'one' });
    await (await stage.pullOne('b')).settle([]);
    await stage.flush();
    expect(rowsOf(stage.store, 'ready')).toHaveLength(3);
    expect(stage.log.lag('b').ready).toBe(0);
    expect(faultsOf(stage.store)).toEqual([]);
  });

  test('what is settled while it is being written is written, and removed again', async () => {
    append('a', { id: 'one' });
    stage.store.pass();
    await stage.calm();
    await (await stage.pullOne('a')).settle([]);
    stage.store.pass();
    await stage.calm();
    expect(storedIds(stage.store)).toContain('one');
    await stage.flushAll();
    expect(storedIds(stage.store)).toEqual(['occupier']);
  });

  test('an event that is the origin of Work is written without a row of its own', async () => {
    append('a', { id: 'input' });
    const delivery = await stage.pullOne('a');
    void delivery.settle([
      workOutput(eventTo('', { id: 'answer' }), { phase: 'reply', origin: delivery.event }),
    ]);
    await stage.flush();
    expect(storedIds(stage.store)).toEqual(['occupier', 'input', 'answer']);
    const sending = await stage.pullOne('a');
    expect(sending.origin && idOf({ event: sending.origin })).toBe('input');
    await sending.settle([]);
    await (await stage.pullOne('occupier')).settle([]);
    await stage.flushAll();
    expect(fillOf(stage.store)).toEqual({});
  });

  test('Work about a record in memory is written with it, and offered when it is durable', async () => {
    append('a');
    await settleOne('a', (event) => workOutput(event, { attempt: 2 }));
    expect(await stage.pull('a')).toEqual([]);
    await stage.flush();
    expect(await stage.pullOne('a')).toMatchObject({ attempt: 2, lease: 1 });
    expect(faultsOf(stage.store)).toEqual([]);
  });
});

function append(to: string, options: { id?: string; isHeld?: boolean } = {}): Fate {
  return fateOf(stage.log.append(INGRESS, [eventTo(to, options)]));
}

async function settleOne(
  egressId: string,
  output: Output | ((event: CloudEvent) => Output),
): Promise<Fate> {
  const delivery = await stage.pullOne(egressId);
  return fateOf(delivery.settle([typeof output === 'function' ? output(delivery.event) : output]));
}
