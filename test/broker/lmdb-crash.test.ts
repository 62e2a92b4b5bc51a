/**
 * Goal: kill -9 at any instant loses nothing that was acknowledged. Method: a process appends and settles without end,
 * says what it was promised, and is killed in the middle; the next process must find all of it. Some rounds over the same
 * folder, so that each also starts on what a killed process left.
 */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { GroupedLog } from '../../broker/log/grouped-log.ts';
import { LmdbStore } from '../../broker/log/lmdb.ts';
import { systemClock } from '../../main/time.ts';
import { startLogProcess, type Answer } from './log-process.ts';
import { idOf, matchTo, WIDE } from './log-stage.ts';
import { faultsOf, rowsOf } from './log-tables.ts';

const ROUNDS = 4;
/** Answers that are read before the kill: different ones, so that it comes at different points of the cycle. */
const ANSWERS = 15;

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'knear-crash-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

test('kill -9 loses no acknowledged event, no Work, no parked entry, and leaves whole tables', async () => {
  const kept = new Set<string>();
  const worked = new Set<string>();
  const parked = new Set<string>();
  const ended = new Set<string>();
  for (let round = 0; round < ROUNDS; round += 1) {
    const child = startLogProcess();
    await child.call({ kind: 'open', folder });
    const note = (answer: Answer) => {
      for (const id of answer.ids ?? []) kept.add(id);
      if (answer.worked) worked.add(answer.worked);
      if (answer.parked) parked.add(answer.parked);
      if (answer.settled) ended.add(answer.settled);
    };
    note(await child.call({ kind: 'churn' }));
    for (let n = 0; n < ANSWERS + round; n += 1) note(await child.next());
    await child.kill();
    // What it had told by then counts, though it had not been read yet.
    for (let rest = await child.next(); rest.end === undefined; rest = await child.next()) {
      note(rest);
    }
    const found = await lookInside();
    expect(found.faults).toEqual([]);
    const missing = [...kept].filter((id) => !found.ids.has(id) && !ended.has(id));
    // The settle of the very last answers may have been on its way without having been told.
    expect(missing.length).toBeLessThanOrEqual(1);
    const forgotten = [...worked].filter((id) => found.fresh.has(id));
    expect(forgotten).toEqual([]);
    expect([...parked].filter((id) => !found.parked.has(id))).toEqual([]);
  }
  expect(kept.size).toBeGreaterThan(ROUNDS * 20);
});

test('a process that was killed leaves no lock: the next one starts at once', async () => {
  const child = startLogProcess();
  await child.call({ kind: 'open', folder });
  await child.kill();
  const store = await LmdbStore.open({ folder, clock: systemClock });
  await store.close();
});

/** What the next process finds; nothing is settled by looking. */
async function lookInside(): Promise<{
  ids: Set<string>;
  /** Offered as if nothing had been tried. */
  fresh: Set<string>;
  parked: Set<string>;
  faults: string[];
}> {
  const store = await LmdbStore.open({ folder, clock: systemClock });
  const faults = faultsOf(store);
  const waiting = rowsOf(store, 'ready').length;
  const log = GroupedLog.open({
    store,
    clock: systemClock,
    match: matchTo,
    observer: { observe: () => undefined },
    limits: WIDE,
  });
  const deliveries = [];
  while (deliveries.length < waiting) {
    const { signal } = new AbortController();
    deliveries.push(...(await log.pull('a', waiting, { signal })));
  }
  const entries = await log.parked('a', { limit: 10_000 });
  await log.close();
  const parked = new Set(entries.map(idOf));
  return {
    ids: new Set([...deliveries.map(idOf), ...parked]),
    fresh: new Set(deliveries.filter(({ attempt }) => attempt === 0).map(idOf)),
    parked,
    faults,
  };
}
