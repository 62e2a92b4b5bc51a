/**
 * Goal: the subscriber that is kept busy is as slow as its rows say, so that they are about what they claim. Method: the
 * bench's real processes. Only lower bounds: a busy machine makes it slower, never faster.
 */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { nowUs } from '../../bench/clock.ts';
import { WORK } from '../../bench/processes/protocol.ts';
import { openStage, type Stage } from '../../bench/stage.ts';

/** A timer may be early by the millisecond that it is coarse. */
const LEAST_MS = WORK.ms - 1;
/** Many, so that starting up is little beside them, and four times as many workers would be found out. */
const TURNS = 40;

let stage: Stage;

beforeEach(async () => {
  stage = await openStage('embedded');
});

afterEach(() => stage.children.endAll());

test('as many events as there are workers are worked on at a time, each for its time', async () => {
  const events = TURNS * WORK.workers;
  const startUs = nowUs();
  const { status } = await stage.load.call('load', {
    kind: 'closed',
    aim: { port: stage.subscriber.port, path: '/work' },
    type: 'bench.match',
    run: 1,
    dataBytes: 1_024,
    senders: 4 * WORK.workers,
    until: { events },
  });
  const lastedMs = (nowUs() - startUs) / 1e3;
  const { workedMs } = await stage.subscriber.call('count', null);
  expect(Array.from(status)).toEqual(Array.from({ length: events }, () => 200));
  expect(lastedMs).toBeGreaterThanOrEqual(TURNS * LEAST_MS);
  expect(workedMs).toBeGreaterThanOrEqual(events * LEAST_MS);
});

test('events leave at one pace after the other', async () => {
  const { atUs, status } = await stage.load.call('load', {
    kind: 'open',
    aim: { port: stage.subscriber.port, path: '/echo' },
    type: 'bench.match',
    run: 1,
    dataBytes: 1_024,
    paces: [
      { perSecond: 200, ms: 20 },
      { perSecond: 50, ms: 60 },
    ],
  });
  const fromFirstMs = Array.from(atUs, (us) => Math.round((us - (atUs[0] ?? NaN)) / 1e3));
  expect(fromFirstMs).toEqual([0, 5, 10, 15, 20, 40, 60]);
  expect(Array.from(status)).toEqual(fromFirstMs.map(() => 200));
});
