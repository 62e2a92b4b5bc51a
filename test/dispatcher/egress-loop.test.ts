/** The loop of one egress: what it pulls, what it holds, and how it ends. */
import { describe, expect, test } from '@jest/globals';
import { positionKey } from '../../broker/log/keys.ts';
import { KnearError } from '../../core/errors.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { EventLog } from '../../core/ports/event-log.ts';
import { accepted, rejected, replied } from '../fakes/scripted-deliverer.ts';
import { SteppedClock } from '../fakes/stepped-clock.ts';
import { withPull } from '../fakes/wrapped-log.ts';
import {
  at,
  attributesOf,
  eventOf,
  idOf,
  linear,
  ofType,
  OUTSIDE,
  SINK,
  SUBSCRIBER,
  subscription,
  trigger,
} from './resources.ts';
import { Stage } from './stage.ts';

const eventsOf = (count: number, more: Parameters<typeof eventOf>[1] = {}): CloudEvent[] =>
  Array.from({ length: count }, (_, index) => eventOf(`e${index + 1}`, more));

const callsOf = (stage: Stage) => stage.deliverer.calls.map(({ event }) => idOf(event));

/** Notes how many deliveries each pull asks for. */
function notingPulls(counts: number[]): (log: EventLog) => EventLog {
  return (log) =>
    withPull(log, (own, egressId, count, options) => {
      counts.push(count);
      return own(egressId, count, options);
    });
}

describe('E1: a pull asks for', () => {
  test('exactly the slots that are free', async () => {
    const counts: number[] = [];
    const stage = new Stage({ egresses: [trigger()], wrap: notingPulls(counts) });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(20));
    expect([counts, stage.deliverer.hangingAt()]).toEqual([[4], 4]);
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect([counts, stage.deliverer.hangingAt()]).toEqual([[4, 1], 4]);
    // The fourth answer completes a full window: there is one slot more.
    for (let count = 0; count < 3; count += 1) stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(stage.loop().slots.limit).toBe(5);
    expect(stage.deliverer.hangingAt()).toBe(5);
  });

  test('nothing for the slots of deliveries that wait for one', async () => {
    const stage = new Stage({ egresses: [trigger({ retry: linear(1, 500) })], slotsMax: 2 });
    stage.deliverer.script(SUBSCRIBER, rejected(500), 'hang');
    await stage.produce('orders', ...eventsOf(9));
    await stage.pass(500);
    // e1 waits for a slot, e2 and e3 have them, the rest is in the log.
    expect([stage.loop().open, stage.log.lag('egress').ready]).toEqual([3, 9]);
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(callsOf(stage)).toEqual(['e1', 'e2', 'e3', 'e1']);
  });

  test('no more than its own bound: slots and 64, though all but one wait for the first', async () => {
    const stage = new Stage({ egresses: [trigger({ order: 'key' })] });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(200, { attributes: { partitionkey: 'a' } }));
    expect([stage.loop().open, stage.deliverer.hangingAt()]).toEqual([68, 1]);
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect([stage.loop().open, stage.deliverer.hangingAt()]).toEqual([68, 1]);
  });

  test('no more than the dispatcher may have open, over all egresses', async () => {
    const stage = new Stage({
      egresses: ['a', 'b', 'c'].map((id) => trigger({ id })),
      open: { countMax: 10, bytesMax: 1e9 },
    });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(50));
    expect([stage.dispatcher.open, stage.deliverer.hangingAt()]).toEqual([10, 10]);
    for (let count = 0; count < 150; count += 1) {
      stage.deliverer.answer(accepted);
      await stage.pass(0);
      expect(stage.dispatcher.open).toBeLessThanOrEqual(10);
    }
    expect(stage.deliverer.calls).toHaveLength(150);
  });

  test('no more bytes than the dispatcher may have open, but for the last one', async () => {
    const stage = new Stage({ egresses: [trigger()], open: { countMax: 100, bytesMax: 1_000 } });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(9, { data: 'x'.repeat(600) }));
    expect(stage.deliverer.hangingAt()).toBe(2);
    for (let count = 0; count < 9; count += 1) {
      stage.deliverer.answer(accepted);
      await stage.pass(0);
    }
    expect(callsOf(stage)).toHaveLength(9);
    expect([stage.dispatcher.open, stage.dispatcher.openBytes]).toEqual([0, 0]);
  });
});

describe('slots', () => {
  test('are counted for what goes to reply addresses and dead letter sinks, but learn from the subscriber only', async () => {
    const stage = new Stage({
      egresses: [subscription({ reply: at(OUTSIDE), deadLetter: at(SINK) })],
    });
    stage.deliverer.script(SUBSCRIBER, replied(eventOf('r1')));
    stage.deliverer.script(OUTSIDE, 'hang');
    stage.deliverer.script(SINK, 'hang');
    await stage.produce('steps', eventOf('e1'));
    expect(stage.loop().slots.inUse).toBe(1);
    stage.deliverer.answer(rejected(503));
    await stage.pass(0);
    expect(stage.loop().slots.inUse).toBe(1);
    stage.deliverer.answer(rejected(503));
    await stage.pass(0);
    expect([stage.loop().slots.inUse, stage.loop().slots.limit]).toEqual([0, 4]);
  });
});

describe('a subscriber that hangs', () => {
  test('does not keep others from their events', async () => {
    const stage = new Stage({
      egresses: [trigger({ id: 'dead' }), trigger({ id: 'alive', subscriber: at(OUTSIDE) })],
    });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(300));
    expect(stage.deliverer.callsTo(OUTSIDE)).toHaveLength(300);
    expect(stage.loop('dead').open).toBe(4);
  });

  test('that only fails slowly holds no more than its bound', async () => {
    const stage = new Stage({ egresses: [trigger({ retry: linear(9, 1_000) })], slotsMax: 2 });
    stage.deliverer.script(SUBSCRIBER, rejected(500));
    await stage.produce('orders', ...eventsOf(300));
    for (let count = 0; count < 20; count += 1) {
      await stage.pass(250);
      expect(stage.loop().open).toBeLessThanOrEqual(66);
    }
  });
});

describe('E2: what is held', () => {
  test('keeps its lease for as long as its request hangs', async () => {
    const stage = new Stage({ egresses: [trigger({ timeoutMs: 600_000 })] });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(3));
    await stage.pass(2_000);
    await stage.produce('orders', eventOf('late'));
    await stage.pass(120_000);
    expect(stage.trail()).toEqual([]);
    expect(callsOf(stage)).toEqual(['e1', 'e2', 'e3', 'late']);
  });

  test('is extended by one timer for all, which ends with the last of them', async () => {
    const stage = new Stage({ egresses: [trigger()] });
    await stage.pass(0);
    const idle = stage.clock.timerCount;
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', eventOf('e1'));
    const withOne = stage.clock.timerCount;
    await stage.produce('orders', ...eventsOf(3));
    expect(stage.clock.timerCount).toBe(withOne);
    for (let count = 0; count < 4; count += 1) stage.deliverer.answer(accepted);
    // The log looks after leases once more, and flushes settles.
    await stage.pass(1_000);
    expect(stage.clock.timerCount).toBe(idle);
  });
});

describe('E3: a loop that stops', () => {
  test('at once, when it holds nothing, and pulls nothing more', async () => {
    const stage = new Stage({ egresses: [trigger()] });
    await stage.loop().stop();
    await stage.produce('orders', eventOf('e1'));
    stage.loop().resume();
    await stage.pass(1_000);
    expect([stage.deliverer.calls.length, stage.log.lag('egress').ready]).toEqual([0, 1]);
  });

  test('waits for attempts in flight and settles what they come to', async () => {
    const stage = new Stage({ egresses: [trigger()] });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(2));
    const over: string[] = [];
    void stage
      .loop()
      .stop()
      .then(() => over.push('first'));
    void stage
      .loop()
      .stop()
      .then(() => over.push('second'));
    await stage.pass(1_000);
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(over).toEqual([]);
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(over).toEqual(['first', 'second']);
    expect(stage.log.lag('egress').ready).toBe(0);
  });

  test('keeps what fails meanwhile as Work with its attempt, due when it would have been', async () => {
    const before = new Stage({ egresses: [trigger({ retry: linear(1, 900) })] });
    before.deliverer.script(SUBSCRIBER, 'hang');
    await before.produce('orders', eventOf('e1'));
    const stopped = before.loop().stop();
    before.deliverer.answer(rejected(500));
    await before.pass(0);
    await stopped;
    const after = before.crash();
    await after.pass(899);
    expect(after.deliverer.calls).toEqual([]);
    await after.pass(1);
    expect(after.trail()).toEqual([`deliver 2 ${SUBSCRIBER} 202`, 'end delivered']);
  });

  test('starts no second step: a reply to a Broker of ours is left to the next process, too', async () => {
    const egress = trigger({ filter: ofType('order') });
    const before = new Stage({ egresses: [egress] });
    before.deliverer.script(SUBSCRIBER, 'hang');
    await before.produce('orders', eventOf('e1'));
    const stopped = before.loop().stop();
    before.deliverer.answer(replied(eventOf('r1', { type: 'answer' })));
    await before.pass(0);
    await stopped;
    expect(before.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 200`]);
    const after = before.crash();
    await after.pass(0);
    expect([after.trail(), after.deliverer.calls]).toEqual([['end delivered'], []]);
  });

  test('starts no second step: a reply in hand is left to the next process', async () => {
    const egress = subscription({ reply: at(OUTSIDE) });
    const before = new Stage({ egresses: [egress] });
    before.deliverer.script(SUBSCRIBER, 'hang');
    await before.produce('steps', eventOf('e1'));
    const stopped = before.loop().stop();
    before.deliverer.answer(replied(eventOf('r1')));
    await before.pass(0);
    await stopped;
    expect(before.deliverer.callsTo(OUTSIDE)).toEqual([]);
    const after = before.crash();
    await after.pass(0);
    expect(after.trail()).toEqual([`reply 1 ${OUTSIDE} 202`, 'end delivered']);
  });

  test('gives back, without an attempt, what waited behind another of its key', async () => {
    const before = new Stage({ egresses: [trigger({ order: 'key' })] });
    before.deliverer.script(SUBSCRIBER, 'hang');
    await before.produce('orders', ...eventsOf(5, { attributes: { partitionkey: 'a' } }));
    const stopped = before.loop().stop();
    before.deliverer.answer(accepted);
    await before.pass(300);
    await stopped;
    expect(callsOf(before)).toEqual(['e1']);
    const after = before.crash();
    await after.pass(0);
    expect(callsOf(after)).toEqual(['e2', 'e3', 'e4', 'e5']);
    expect(new Set(after.trail())).toEqual(
      new Set([`deliver 1 ${SUBSCRIBER} 202`, 'end delivered']),
    );
  });

  test('gives back what was never sent without writing anything', async () => {
    const stage = new Stage({ egresses: [trigger({ retry: linear(1, 500) })], slotsMax: 1 });
    stage.deliverer.script(SUBSCRIBER, rejected(500), 'hang');
    await stage.produce('orders', eventOf('e1'));
    await stage.pass(500);
    // The loop asked for one more while e1 waited; now e1 has the only slot again, and e2 waits for it.
    await stage.produce('orders', eventOf('e2'));
    expect([stage.loop().open, callsOf(stage)]).toEqual([2, ['e1', 'e1']]);
    const stopped = stage.loop().stop();
    stage.store.isGated = true;
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    await stopped;
    expect([stage.store.pending, stage.log.lag('egress').ready]).toEqual([undefined, 1]);
    expect(callsOf(stage)).toEqual(['e1', 'e1']);
  });

  test('gives back what waited for a slot, with its attempts', async () => {
    const egress = trigger({ retry: linear(1, 500) });
    const before = new Stage({ egresses: [egress], slotsMax: 1 });
    before.deliverer.script(SUBSCRIBER, rejected(500), 'hang');
    await before.produce('orders', ...eventsOf(2));
    await before.pass(600);
    const stopped = before.loop().stop();
    before.deliverer.answer(accepted);
    await before.pass(300);
    await stopped;
    expect(callsOf(before)).toEqual(['e1', 'e2']);
    const after = before.crash();
    await after.pass(0);
    expect(after.trail()).toEqual([`deliver 2 ${SUBSCRIBER} 202`, 'end delivered']);
  });
});

describe('E4: a bug', () => {
  test('in one delivery is told once, costs neither slot nor room, and the event comes back after its lease', async () => {
    const stage = new Stage({ egresses: [trigger()] });
    stage.deliverer.script(SUBSCRIBER, new Error('a bug'), accepted);
    await stage.produce('orders', ...eventsOf(3));
    expect(stage.bugs).toEqual([new Error('a bug')]);
    expect(callsOf(stage)).toEqual(['e1', 'e2', 'e3']);
    expect([stage.dispatcher.open, stage.loop().slots.inUse]).toEqual([0, 0]);
    await stage.pass(14_999);
    expect(stage.deliverer.calls).toHaveLength(3);
    await stage.pass(1_001);
    expect(callsOf(stage).slice(3)).toEqual(['e1']);
    expect(stage.log.lag('egress').ready).toBe(0);
  });

  test('of the log is told, and the loop pulls again after a second', async () => {
    const clock = new SteppedClock();
    const pulledAtMs: number[] = [];
    const wrap = (log: EventLog) =>
      withPull(log, (own, ...call) => {
        pulledAtMs.push(clock.monotonicMs());
        const isBroken = clock.monotonicMs() < 2_000;
        return isBroken
          ? Promise.reject(new KnearError('KNEAR_LOG_CORRUPT', 'damaged'))
          : own(...call);
      });
    const stage = new Stage({ egresses: [trigger()], clock, wrap });
    await stage.produce('orders', eventOf('e1'));
    await stage.pass(1_999);
    expect(stage.deliverer.calls).toEqual([]);
    await stage.pass(1);
    expect(pulledAtMs.slice(0, 3)).toEqual([0, 1_000, 2_000]);
    expect([stage.bugs.length, callsOf(stage)]).toEqual([2, ['e1']]);
  });

  test('is not that the log is closed: the loop ends without a word', async () => {
    const stage = new Stage({ egresses: [trigger()] });
    await stage.produce('orders', eventOf('e1'));
    await stage.pass(1_000);
    await stage.log.close();
    stage.apply({ egresses: [trigger({ isPaused: true })] });
    stage.apply({ egresses: [trigger()] });
    await stage.pass(5_000);
    expect(stage.bugs).toEqual([]);
  });

  test('a damaged record is told each time it is met, and the others go on', async () => {
    const before = new Stage({ egresses: [trigger({ isPaused: true })], slotsMax: 1 });
    await before.produce('orders', ...eventsOf(3));
    before.store.tables.apply([{ table: 'event', key: positionKey(1) }]);
    const after = before.crash({ egresses: [trigger()] });
    await after.pass(3_000);
    expect(callsOf(after)).toEqual(['e2', 'e3']);
    await after.pass(20_000);
    expect(after.bugs.map((bug) => (bug as { code?: unknown }).code)).toEqual([
      'KNEAR_LOG_CORRUPT',
      'KNEAR_LOG_CORRUPT',
    ]);
  });
});

test('resuming a loop that runs does not make it pull twice', async () => {
  const stage = new Stage({ egresses: [trigger()] });
  for (let count = 0; count < 3; count += 1) stage.loop().resume();
  stage.deliverer.script(SUBSCRIBER, 'hang');
  await stage.produce('orders', ...eventsOf(20));
  expect(stage.loop().open).toBe(4);
});

describe('pausing', () => {
  test('and resuming in one breath loses nothing and leaves one pull', async () => {
    const counts: number[] = [];
    const stage = new Stage({ egresses: [trigger()], wrap: notingPulls(counts) });
    await stage.pass(0);
    for (let count = 0; count < 5; count += 1) {
      stage.loop().pause();
      stage.loop().resume();
      stage.loop().resume();
    }
    await stage.pass(0);
    await stage.produce('orders', ...eventsOf(3));
    expect(callsOf(stage)).toEqual(['e1', 'e2', 'e3']);
    const told = stage.trail().filter((line) => line.startsWith('end'));
    expect(told).toHaveLength(3);
  });

  test('takes effect while the loop waits for a slot', async () => {
    const stage = new Stage({ egresses: [trigger()], slotsMax: 1 });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...eventsOf(3));
    stage.loop().pause();
    stage.deliverer.answer(accepted);
    await stage.pass(1_000);
    expect(callsOf(stage)).toEqual(['e1']);
    stage.loop().resume();
    await stage.pass(0);
    expect(callsOf(stage)).toEqual(['e1', 'e2']);
  });

  test('takes effect while the loop waits for room in the dispatcher', async () => {
    const stage = new Stage({
      egresses: [
        trigger({ id: 'a', filter: ofType('a') }),
        trigger({ id: 'b', filter: ofType('b') }),
      ],
      open: { countMax: 1, bytesMax: 1e9 },
    });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', eventOf('a1', { type: 'a' }));
    await stage.produce('orders', eventOf('b1', { type: 'b' }));
    await stage.pass(0);
    stage.loop('b').pause();
    stage.deliverer.answer(accepted);
    await stage.pass(1_000);
    expect(callsOf(stage)).toEqual(['a1']);
    stage.loop('b').resume();
    await stage.pass(0);
    expect(callsOf(stage)).toEqual(['a1', 'b1']);
    expect(attributesOf(stage.deliverer.calls[1]?.event ?? eventOf('none'))).toMatchObject({
      type: 'b',
    });
  });
});
