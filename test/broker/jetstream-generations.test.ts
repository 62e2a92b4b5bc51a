/**
 * Egresses whose types or order change (N9): the next generation of durables takes over from the one before, which drains. Bug that
 * is hunted: an event that neither gives, or both do, or one that overtakes another of its key.
 */
import { describe, expect } from '@jest/globals';

import { PARTS, partOf, tokenOf } from '../../broker/log/jetstream/names.ts';
import { LEASE_MS, type Delivery, type EventLog } from '../../core/ports/event-log.ts';
import { eventually, pause } from '../e2e/eventually.ts';
import {
  eventTo,
  idOf,
  interestOf,
  PACE,
  pull,
  pullFor,
  useProcesses,
  type Process,
} from './jetstream-adapter.ts';

const LEASE_REAL_MS = LEASE_MS / PACE;
const ONE = { types: ['one', 'both'] };
const OTHER = { types: ['other', 'both'] };

const scene = useProcesses('gen');
const { test } = scene;

async function append({ log }: Process, type: string, ...ids: string[]): Promise<void> {
  for (const id of ids) await log.append('orders', [eventTo('a', id, { type })]);
}

const numbered = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${name}-${index}`);

/** Generations that the server has for the egress. */
async function generations({ jsm }: Process): Promise<number[]> {
  const found = new Set<number>();
  for await (const { name } of jsm.consumers.list(scene.stream)) {
    const [, generation] = /_(\d+)(?:-\w+)?$/.exec(name) ?? [];
    if (generation !== undefined && name.startsWith(tokenOf('a'))) found.add(Number(generation));
  }
  return [...found].toSorted((one, other) => one - other);
}

/** Takes what there is, to its end, until the server has one generation and nothing comes. */
async function drain(process: Process, expected: readonly string[]): Promise<void> {
  const ending = new AbortController();
  const ids: string[] = [];
  const draining = (async () => {
    while (!ending.signal.aborted) {
      for (const delivery of await process.log.pull('a', 3, { signal: ending.signal })) {
        ids.push(idOf(delivery));
        await delivery.settle([]);
      }
    }
  })();
  await eventually('all', () => ids.length >= expected.length, { otherwise: () => ids });
  await eventually('one generation', async () => (await generations(process)).length === 1, {
    otherwise: () => generations(process),
  });
  await eventually('idle', () => process.log.lag('a').ready === 0, {
    otherwise: () => process.log.lag('a'),
  });
  // What is given twice would come at once, or when a lease is over.
  await pause(LEASE_REAL_MS + 100);
  ending.abort();
  await draining;
  expect(ids.toSorted()).toEqual([...expected].toSorted());
  expect(process.happenings.filter(({ kind }) => kind === 'log-gap')).toEqual([]);
}

describe('types that change (N9)', () => {
  const before = [...numbered('one', 10), ...numbered('both', 10)];
  const after = [...numbered('later-other', 10), ...numbered('later-both', 10)];

  async function changed(): Promise<Process> {
    const process = await scene.open();
    await process.log.prepare([interestOf('a', ONE)]);
    await append(process, 'one', ...numbered('one', 10));
    await append(process, 'both', ...numbered('both', 10));
    await process.log.prepare([interestOf('a', OTHER)]);
    await append(process, 'other', ...numbered('later-other', 10));
    await append(process, 'both', ...numbered('later-both', 10));
    expect(await generations(process)).toEqual([0, 1]);
    return process;
  }

  test('lose nothing and repeat nothing, and the old durable goes when it is drained', async () => {
    await drain(await changed(), [...before, ...after]);
  });

  test('also over a restart in the middle', async () => {
    const process = await changed();
    const [first] = await pull(process.log, 'a');
    await first?.settle([]);
    await process.nc.flush();
    await process.restart();
    await process.log.prepare([interestOf('a', OTHER)]);
    const rest = [...before, ...after].filter((id) => id !== (first && idOf(first)));
    await drain(process, rest);
  });

  test('also changed back before it is drained, and once more', async () => {
    const process = await changed();
    await process.log.prepare([interestOf('a', ONE)]);
    await append(process, 'one', ...numbered('again-one', 5));
    await append(process, 'both', ...numbered('again-both', 5));
    await process.log.prepare([interestOf('a', OTHER)]);
    await append(process, 'both', ...numbered('last-both', 5));
    expect(await generations(process)).toEqual([0, 1, 2, 3]);
    await drain(process, [
      ...[...before, ...after],
      ...[...numbered('again-one', 5), ...numbered('again-both', 5), ...numbered('last-both', 5)],
    ]);
    expect(await generations(process)).toEqual([3]);
  });

  test('also when two processes share the egress', async () => {
    const both = [await changed(), await scene.open()];
    for (const { log } of both) await log.prepare([interestOf('a', OTHER)]);
    const ids: string[] = [];
    const ending = new AbortController();
    const draining = both.map(async ({ log }) => {
      while (!ending.signal.aborted) {
        for (const delivery of await log.pull('a', 2, { signal: ending.signal })) {
          ids.push(idOf(delivery));
          await delivery.settle([]);
        }
      }
    });
    const expected = [...before, ...after];
    await eventually('all', () => expected.every((id) => ids.includes(id)));
    await pause(LEASE_REAL_MS + 100);
    ending.abort();
    await Promise.all(draining);
    expect(ids.toSorted()).toEqual(expected.toSorted());
  });

  test('leave alone what somebody holds: it is settled as if nothing had changed', async () => {
    const process = await scene.open();
    const { log } = process;
    await log.prepare([interestOf('a', ONE)]);
    await append(process, 'both', ...numbered('both', 6));
    const held = await pull(log, 'a', 6);
    await log.prepare([interestOf('a', OTHER)]);
    await append(process, 'both', 'later');
    // A lease is short here, and all of this may take a while.
    for (const delivery of held) delivery.extend();
    const later = await pullFor(log, 'a', 300);
    expect(later.map(idOf)).toEqual(['later']);
    for (const delivery of held) {
      expect(delivery.isOpen).toBe(true);
      await delivery.settle([]);
    }
    await eventually('retired', async () => {
      for (const delivery of later) delivery.extend();
      return (await generations(process)).join() === '1';
    });
    expect(log.lag('a').ready).toBe(1);
    expect(await pullFor(log, 'a', LEASE_REAL_MS / 2)).toEqual([]);
  });

  test('again and again while events come: each is given once', async () => {
    const process = await scene.open();
    const { log } = process;
    await log.prepare([interestOf('a', ONE)]);
    const sent: string[] = [];
    const ending = new AbortController();
    const producing = (async () => {
      for (let number = 0; !ending.signal.aborted; number += 1) {
        await append(process, 'both', `event-${number}`);
        sent.push(`event-${number}`);
      }
    })();
    const ids: string[] = [];
    const { signal } = ending;
    const consuming = (async () => {
      while (!signal.aborted) {
        for (const delivery of await log.pull('a', 16, { signal })) {
          ids.push(idOf(delivery));
          await delivery.settle([]);
        }
      }
    })();
    for (let round = 0; round < 8; round += 1) {
      await pause(60);
      await log.prepare([interestOf('a', round % 2 === 0 ? OTHER : ONE)]);
    }
    ending.abort();
    await Promise.all([producing, consuming]);
    const rest = sent.filter((id) => !ids.includes(id));
    expect(new Set(ids).size).toBe(ids.length);
    expect(sent.length).toBeGreaterThan(50);
    await drain(process, rest);
  });

  test('that are named twice, or are the same in another order, change nothing', async () => {
    const process = await scene.open();
    for (const types of [
      ['x', 'y'],
      ['y', 'x'],
      ['x', 'y', 'x'],
    ]) {
      await process.log.prepare([interestOf('a', { types })]);
    }
    expect(await generations(process)).toEqual([0]);
  });
});

describe('order per key', () => {
  /** Enough for all lines to have some. */
  const KEYS = 64;
  const ordered = (types?: readonly string[]) =>
    interestOf('a', { isOrdered: true, ...(types && { types }) });

  async function appendRound({ log }: Process, round: number, type = 'both'): Promise<void> {
    const events = Array.from({ length: KEYS }, (_, key) =>
      eventTo('a', `${key}/${round}`, { type, key: `key-${key}` }),
    );
    await log.append('orders', events);
  }

  /** Settles all, sixteen at a time; what is given is in order if no two of a key are open together. */
  async function takeInOrder(
    log: EventLog,
    count: number,
    onTaken?: () => void,
  ): Promise<string[]> {
    const taken: string[] = [];
    const open = new Set<number>();
    const ending = new AbortController();
    const take = async (delivery: Delivery) => {
      const line = partOf(delivery.event);
      expect(open.has(line)).toBe(false);
      open.add(line);
      taken.push(idOf(delivery));
      await pause(1);
      open.delete(line);
      await delivery.settle([]);
      if (taken.length >= count) ending.abort();
      onTaken?.();
    };
    const doing: Promise<void>[] = [];
    while (!ending.signal.aborted) {
      const deliveries = await log.pull('a', PARTS, { signal: ending.signal });
      for (const delivery of deliveries) doing.push(take(delivery));
    }
    await Promise.all(doing);
    return taken;
  }

  function expectInOrder(taken: readonly string[], rounds: number): void {
    for (let key = 0; key < KEYS; key += 1) {
      const ofKey = taken.filter((id) => id.startsWith(`${key}/`));
      expect(ofKey).toEqual(Array.from({ length: rounds }, (_, round) => `${key}/${round}`));
    }
  }

  test('is kept in sixteen lines', async () => {
    const process = await scene.open();
    await process.log.prepare([ordered()]);
    for (let round = 0; round < 4; round += 1) await appendRound(process, round);
    expectInOrder(await takeInOrder(process.log, 4 * KEYS), 4);
  });

  test('is kept over the end of a process that holds one of each line', async () => {
    const first = await scene.open();
    await first.log.prepare([ordered()]);
    for (let round = 0; round < 3; round += 1) await appendRound(first, round);
    const held = await pull(first.log, 'a', PARTS);
    expect(new Set(held.map(({ event }) => partOf(event))).size).toBe(PARTS);
    expect(held.every(({ lease }) => lease === 1)).toBe(true);
    await first.vanish();
    const second = await scene.open();
    await second.log.prepare([ordered()]);
    // Theirs are given again when the leases are over; what comes next in each line waits until then.
    expect(await pullFor(second.log, 'a', LEASE_REAL_MS / 3)).toEqual([]);
    const taken = await takeInOrder(second.log, 3 * KEYS);
    expectInOrder(taken, 3);
    await eventually('idle', () => second.log.lag('a').ready === 0);
  });

  test('is kept when the types change while events wait (N9)', async () => {
    const process = await scene.open();
    const { log } = process;
    await log.prepare([ordered(ONE.types)]);
    await appendRound(process, 0);
    await appendRound(process, 1);
    await log.prepare([ordered(OTHER.types)]);
    await appendRound(process, 2);
    await appendRound(process, 3, 'other');
    expectInOrder(await takeInOrder(log, 4 * KEYS), 4);
    await eventually('retired', async () => (await generations(process)).join() === '1');
  });

  test('begins with the event after its being asked for (N9)', async () => {
    const process = await scene.open();
    const { log } = process;
    await log.prepare([interestOf('a', ONE)]);
    await appendRound(process, 0);
    await log.prepare([ordered(ONE.types)]);
    await appendRound(process, 1);
    await appendRound(process, 2);
    const early = await pull(log, 'a', KEYS);
    for (const delivery of early) {
      expect(idOf(delivery)).toMatch(/\/0$/);
      await delivery.settle([]);
    }
    const taken = await takeInOrder(log, 2 * KEYS);
    expectInOrder([...early.map(idOf), ...taken], 3);
    await log.prepare([interestOf('a', ONE)]);
    await append(process, 'one', 'last');
    expect((await pull(log, 'a')).map(idOf)).toEqual(['last']);
  });
});
