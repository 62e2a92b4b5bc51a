/**
 * Several processes on one log: an owner, which makes and removes what is on the server, and guests, which append and pull. Bugs
 * that are hunted: an event that two have or nobody has, one that stays with somebody who does not want it, a change of the owner's
 * that guests do not follow, a loss that nobody is told of.
 */
import { describe, expect } from '@jest/globals';

import { tokenOf } from '../../broker/log/jetstream/names.ts';
import type { Delivery, EventLog, Interest, PullOptions } from '../../core/ports/event-log.ts';
import { eventually, pause } from '../e2e/eventually.ts';
import {
  eventTo,
  idOf,
  interestOf,
  PACE,
  pull,
  pullOne,
  useProcesses,
  type Process,
  type ProcessOptions,
} from './jetstream-adapter.ts';

/** Of a request of somebody who will not wait, and a round trip. */
const BRIEF_REAL_MS = 50 / PACE + 50;
/** How often the owner counts. */
const COUNT_REAL_MS = 10_000 / PACE;

const scene = useProcesses('share');
const { test } = scene;

interface Group {
  readonly owner: Process;
  readonly one: Process;
  readonly other: Process;
}

async function group(
  interests: readonly Interest[] = [interestOf('a')],
  options: Partial<ProcessOptions> = {},
): Promise<Group> {
  const owner = await scene.open({ ...options, sharing: 'owner' });
  await owner.log.prepare(interests);
  const guest = async () => {
    const process = await scene.open({ ...options, sharing: 'guest' });
    await process.log.prepare(interests);
    return process;
  };
  return { owner, one: await guest(), other: await guest() };
}

async function prepareAll(
  { owner, one, other }: Group,
  interests: readonly Interest[],
): Promise<void> {
  for (const { log } of [owner, one, other]) await log.prepare(interests);
}

const append = ({ log }: Process, ...ids: string[]) =>
  log.append(
    'orders',
    ids.map((id) => eventTo('a', id)),
  );

const numbered = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${name}-${String(index)}`);

const gapsOf = (...processes: readonly Process[]): string[] =>
  processes.flatMap(({ happenings }) =>
    happenings.flatMap((each) => (each.kind === 'log-gap' ? [each.detail] : [])),
  );

/** Somebody who waits, until he gives up. */
function waiting(
  { log }: Process,
  count: number,
  options: Omit<PullOptions, 'signal'> = {},
): { readonly pulled: Promise<Delivery[]>; giveUp(): void } {
  const patience = new AbortController();
  const pulled = log.pull('a', count, { ...options, signal: patience.signal });
  return { pulled, giveUp: () => patience.abort() };
}

/** Resolves when so many requests of the egress wait at the server. */
async function asked({ jsm }: Process, count: number): Promise<void> {
  const name = `${tokenOf('a')}_0`;
  await eventually('asked', async () => {
    const { num_waiting: waiting } = await jsm.consumers.info(scene.stream, name);
    return waiting === count;
  });
}

/** Takes and settles whatever comes, until it is told to end. */
function worker(log: EventLog, ids: string[]): () => Promise<void> {
  const ending = new AbortController();
  const working = (async () => {
    while (!ending.signal.aborted) {
      for (const delivery of await log.pull('a', 3, { signal: ending.signal })) {
        ids.push(idOf(delivery));
        await delivery.settle([]);
      }
    }
  })();
  return async () => {
    ending.abort();
    await working;
  };
}

/** Durables of the egress. */
async function durables({ jsm }: Process, egressId = 'a'): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of jsm.consumers.list(scene.stream)) {
    if (name.startsWith(tokenOf(egressId))) names.push(name.slice(tokenOf(egressId).length));
  }
  return names.toSorted();
}

describe('two guests', () => {
  test('what one appends is pulled by the other, and settled for both', async () => {
    const { one, other } = await group();
    const pulled = pullOne(other.log, 'a');
    await append(one, 'first');
    const delivery = await pulled;
    expect([idOf(delivery), delivery.lease]).toEqual(['first', 1]);
    await delivery.settle([]);
    await other.nc.flush();
    await eventually('nothing left', () => other.log.lag('a').ready === 0);
    const rest = waiting(one, 1);
    await pause(COUNT_REAL_MS);
    rest.giveUp();
    expect(await rest.pulled).toEqual([]);
  });

  test('who both pull have each event once', async () => {
    const { one, other } = await group();
    const ids: string[] = [];
    const workers = [worker(one.log, ids), worker(other.log, ids)];
    const all = numbered('e', 300);
    for (let at = 0; at < all.length; at += 30) {
      await append(at % 60 === 0 ? one : other, ...all.slice(at, at + 30));
    }
    await eventually('all', () => ids.length >= all.length, { otherwise: () => ids.length });
    await pause(COUNT_REAL_MS);
    for (const end of workers) await end();
    expect(ids.toSorted()).toEqual(all.toSorted());
  });

  test('the nearer one has what comes, for as long as it waits', async () => {
    const { owner, one, other } = await group();
    const far = waiting(one, 10, { nearness: 'any' });
    await asked(one, 1);
    for (const id of numbered('near', 5)) {
      const near = waiting(other, 1, { nearness: 'zone' });
      await asked(other, 2);
      await append(one, id);
      expect((await near.pulled).map(idOf)).toEqual([id]);
    }
    await append(other, 'far');
    expect((await far.pulled).map(idOf)).toEqual(['far']);
    expect(gapsOf(owner, one, other)).toEqual([]);
  });
});

describe('what a guest is given and does not take', () => {
  test('goes back at once, and costs it one lease (N19)', async () => {
    // In real time: a lease that has to end first is seen.
    const { one, other } = await group([interestOf('a')], { pace: 1 });
    const gone = waiting(one, 10, { nearness: 'pod' });
    await asked(one, 1);
    gone.giveUp();
    expect(await gone.pulled).toEqual([]);
    const startMs = performance.now();
    const pulled = pullOne(other.log, 'a');
    await asked(other, 2);
    await append(other, 'first');
    const delivery = await pulled;
    // Given to the one who is gone first, since he is nearer.
    expect(delivery.lease).toBe(2);
    expect(performance.now() - startMs).toBeLessThan(10_000);
  });

  test('after a brief pull is nothing: the server knows that it has ended', async () => {
    const { one, other } = await group();
    const brief = waiting(one, 10, { nearness: 'pod', isBrief: true });
    await one.nc.flush();
    brief.giveUp();
    await brief.pulled;
    await pause(BRIEF_REAL_MS);
    const pulled = pull(other.log, 'a', 5);
    await append(other, ...numbered('e', 5));
    expect((await pulled).map(({ lease }) => lease)).toEqual([1, 1, 1, 1, 1]);
  });
});

describe('numbers (N6)', () => {
  test('of a guest are what the server said with the last message, or that there is none', async () => {
    const { one, other } = await group();
    await append(one, ...numbered('e', 10));
    const mine = await pullOne(other.log, 'a');
    expect(other.log.lag('a').ready).toBe(10);
    await mine.settle([]);
    for (const delivery of await pull(one.log, 'a', 9)) await delivery.settle([]);
    expect(other.log.lag('a').ready).toBe(9);
    const idle = waiting(other, 1);
    await eventually('none', () => other.log.lag('a').ready === 0, {
      otherwise: () => other.log.lag('a'),
    });
    idle.giveUp();
  });

  test('of the owner are what the server counts: what waits, what is open, retries and parked entries', async () => {
    const { owner, one } = await group();
    await append(one, ...numbered('e', 6));
    const [open, later, entry] = await pull(one.log, 'a', 3);
    const { event } = open as Delivery;
    const work = { phase: 'deliver', attempt: 1, firstAtMs: 0 } as const;
    const dueAtMs = one.clock.nowMs() + 3_600_000;
    await later?.settle([{ kind: 'work', work, event, dueAtMs }]);
    const failure = { code: 'KNEAR_REJECTED', status: 500, dest: '' } as const;
    await entry?.settle([{ kind: 'parked', event, failure, atMs: one.clock.nowMs() }]);
    const expected = { ready: 4, delayed: 1, parked: 1 };
    await eventually(
      'counted',
      () => JSON.stringify(owner.log.lag('a')) === JSON.stringify(expected),
      { otherwise: () => owner.log.lag('a') },
    );
    expect(owner.log.egressIds()).toEqual(['a']);
  });
});

describe('types that change (N9)', () => {
  const before = interestOf('a', { types: ['one', 'both'] });
  const after = interestOf('a', { types: ['other', 'both'] });

  test('the owner makes a generation, guests follow, and the one before drains without a gap', async () => {
    const all = await group([before]);
    const { owner, one, other } = all;
    const send = ({ log }: Process, type: string, ids: readonly string[]) =>
      log.append(
        'orders',
        ids.map((id) => eventTo('a', id, { type })),
      );
    await send(one, 'one', numbered('one', 10));
    await send(other, 'both', numbered('both', 10));
    await prepareAll(all, [after]);
    await send(one, 'other', numbered('later-other', 10));
    await send(other, 'both', numbered('later-both', 10));
    expect(await durables(owner)).toEqual(['_0', '_1']);
    const ids: string[] = [];
    const workers = [worker(one.log, ids), worker(other.log, ids)];
    await eventually('all', () => ids.length >= 40, { otherwise: () => ids });
    await eventually('one generation', async () => (await durables(owner)).join() === '_1');
    await send(one, 'both', ['last']);
    await eventually('the last', () => ids.includes('last'));
    await pause(COUNT_REAL_MS);
    for (const end of workers) await end();
    const names = ['one', 'both', 'later-other', 'later-both'];
    const expected = [...names.flatMap((name) => numbered(name, 10)), 'last'];
    expect(ids.toSorted()).toEqual(expected.toSorted());
    expect(gapsOf(owner, one, other)).toEqual([]);
  });

  test('what others have drained of the one before is not counted any more (N6)', async () => {
    const all = await group([before]);
    const { owner, one, other } = all;
    const ids = numbered('e', 10);
    await one.log.append(
      'orders',
      ids.map((id) => eventTo('a', id, { type: 'one' })),
    );
    const mine = await pullOne(one.log, 'a');
    expect(one.log.lag('a').ready).toBe(10);
    await prepareAll(all, [after]);
    await mine.settle([]);
    for (const delivery of await pull(other.log, 'a', 9)) await delivery.settle([]);
    await eventually('one generation', async () => (await durables(owner)).join() === '_1');
    const idle = waiting(one, 1);
    await eventually('none', () => one.log.lag('a').ready === 0, {
      otherwise: () => one.log.lag('a'),
      withinMs: 5_000,
    });
    idle.giveUp();
  });
});

describe('an egress that the owner removes', () => {
  test('is gone at guests: nothing is pulled, held or told as lost', async () => {
    const interests = [interestOf('a'), interestOf('b', { types: ['other'] })];
    const all = await group(interests);
    const { owner, one, other } = all;
    await append(one, 'left');
    const late = waiting(one, 1);
    await late.pulled;
    // Guests first: they go by the Topology, and the owner waits.
    await prepareAll(all, interests.slice(1));
    await owner.log.drop('a');
    expect(await durables(owner)).toEqual([]);
    expect(await durables(owner, 'b')).toEqual(['_0']);
    await pause(COUNT_REAL_MS);
    for (const { log } of [owner, other]) {
      expect(log.lag('a')).toEqual({ ready: 0, delayed: 0, parked: 0 });
      expect(log.egressIds()).toEqual([]);
    }
    expect(gapsOf(owner, one, other)).toEqual([]);
    expect(await append(other, 'unwanted')).toEqual([0]);
  });

  test('and has again starts anew, at all of them', async () => {
    const all = await group();
    const { owner, one, other } = all;
    await append(one, 'old');
    await prepareAll(all, []);
    await owner.log.drop('a');
    await prepareAll(all, [interestOf('a')]);
    await append(one, 'new');
    const delivery = await pullOne(other.log, 'a');
    expect(idOf(delivery)).toBe('new');
    expect(gapsOf(owner, one, other)).toEqual([]);
  });
});

describe('what is deleted by hand', () => {
  test('a durable: the owner says so, once, and makes it anew; guests go on with it (N14)', async () => {
    const { owner, one, other } = await group();
    const pulled = waiting(other, 1);
    await other.nc.flush();
    await owner.jsm.consumers.delete(scene.stream, `${tokenOf('a')}_0`);
    await eventually('told', () => gapsOf(owner).length > 0);
    await eventually('made', async () => (await durables(owner)).join() === '_0');
    await eventually('appended', () => append(one, 'after').catch(() => undefined));
    expect((await pulled.pulled).map(idOf)).toEqual(['after']);
    await pause(2 * COUNT_REAL_MS);
    expect(gapsOf(owner)).toHaveLength(1);
    expect(gapsOf(one, other)).toEqual([]);
    await owner.restart();
    expect(gapsOf(owner)).toHaveLength(1);
  });

  test('a stream: the owner says so for each of its egresses, and makes it anew', async () => {
    const { owner, one, other } = await group([interestOf('a'), interestOf('b')]);
    await owner.jsm.streams.delete(scene.stream);
    await eventually('told', () => gapsOf(owner).length === 2, { otherwise: () => gapsOf(owner) });
    await eventually('appended', () => append(one, 'after').catch(() => undefined));
    expect(idOf(await pullOne(other.log, 'a'))).toBe('after');
    await pause(2 * COUNT_REAL_MS);
    expect(gapsOf(owner)).toHaveLength(2);
  });
});

describe('a guest that comes before the owner', () => {
  const refused = {
    code: 'KNEAR_LOG_FAILED',
    message: expect.stringContaining('knear controller') as unknown,
  };

  test('has made anything is told whom it waits for', async () => {
    await expect(scene.open({ sharing: 'guest' })).rejects.toMatchObject(refused);
  });

  test('has made its stream or its consumer is told so, and goes on when it has', async () => {
    const owner = await scene.open({ sharing: 'owner' });
    const guest = await scene.open({ sharing: 'guest' });
    await expect(guest.log.prepare([interestOf('a')])).rejects.toMatchObject(refused);
    await owner.log.prepare([interestOf('b')]);
    await expect(guest.log.prepare([interestOf('a')])).rejects.toMatchObject(refused);
    expect(await durables(owner)).toEqual([]);
    await owner.log.prepare([interestOf('a'), interestOf('b')]);
    await guest.log.prepare([interestOf('a')]);
    await append(guest, 'first');
    expect(idOf(await pullOne(guest.log, 'a'))).toBe('first');
  });
});
