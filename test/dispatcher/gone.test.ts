/** P1: what a log holds for egresses that are gone ends after the grace; also where the log cannot end it at once. */
import { beforeEach, describe, expect, test } from '@jest/globals';

import { Gone } from '../../dispatcher/gone.ts';
import { FakeClock } from '../fakes/clock.ts';
import { topologyOf, trigger } from './resources.ts';

const AFTER_MS = 10_000;

let clock: FakeClock;
/** What the log holds something for. */
let held: Set<string>;
let dropped: string[];
let failure: Error | undefined;
let bugs: [string, unknown][];

beforeEach(() => {
  clock = new FakeClock();
  held = new Set();
  dropped = [];
  failure = undefined;
  bugs = [];
});

function open(): Gone {
  return new Gone({
    log: {
      egressIds: () => [...held],
      drop: (id) => {
        dropped.push(id);
        if (failure) return Promise.reject(failure);
        held.delete(id);
        return Promise.resolve(1);
      },
    },
    clock,
    afterMs: AFTER_MS,
    onBug: (error, id) => void bugs.push([id, error]),
  });
}

const having = (...ids: string[]) => topologyOf(1, { egresses: ids.map((id) => trigger({ id })) });

describe('P1 what is left of an egress', () => {
  test('ends after the grace, and what is there is left alone', async () => {
    held = new Set(['gone', 'there']);
    const gone = open();
    gone.apply(having('there'));
    expect(clock.timerCount).toBe(1);
    clock.advance(AFTER_MS - 1);
    expect(dropped).toEqual([]);
    clock.advance(1);
    await settled();
    clock.advance(10 * AFTER_MS);
    expect([dropped, bugs]).toEqual([['gone'], []]);
  });

  test('has all of its grace again when it was back', () => {
    held = new Set(['egress']);
    const gone = open();
    gone.apply(having());
    clock.advance(6_000);
    gone.apply(having('egress'));
    expect(clock.timerCount).toBe(0);
    clock.advance(1_000);
    gone.apply(having());
    clock.advance(AFTER_MS - 1);
    expect(dropped).toEqual([]);
    clock.advance(1);
    expect(dropped).toEqual(['egress']);
  });

  test('that comes to light later is seen at the next look', () => {
    const gone = open();
    gone.apply(having());
    clock.advance(AFTER_MS);
    held.add('late');
    gone.look();
    gone.look();
    clock.advance(AFTER_MS);
    expect(dropped).toEqual(['late']);
  });

  test('that the log cannot end now is told, and tried again after the grace, for as long as it takes', async () => {
    held = new Set(['egress']);
    failure = new Error('the server is away');
    const gone = open();
    gone.apply(having());
    clock.advance(AFTER_MS);
    await settled();
    expect(bugs).toEqual([['egress', failure]]);
    clock.advance(AFTER_MS);
    await settled();
    expect([dropped.length, bugs.length]).toEqual([2, 2]);
    failure = undefined;
    clock.advance(AFTER_MS);
    await settled();
    clock.advance(AFTER_MS);
    await settled();
    expect([dropped.length, bugs.length, clock.timerCount]).toEqual([3, 2, 0]);
  });

  test('is left as it is once it is stopped, also when a drop fails afterwards', async () => {
    held = new Set(['one']);
    failure = new Error('the server is away');
    const gone = open();
    gone.apply(having());
    clock.advance(AFTER_MS);
    gone.stop();
    await settled();
    held.add('other');
    gone.apply(having());
    clock.advance(10 * AFTER_MS);
    expect([dropped, clock.timerCount]).toEqual([['one'], 0]);
  });
});

/** What follows on promises that are settled. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
