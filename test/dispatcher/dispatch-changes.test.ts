/**
 * D3: resources change under deliveries. Each attempt goes by the resources of its moment; what vanishes ends the run and
 * leaves the rest in the log.
 */
import { describe, expect, test } from '@jest/globals';
import type { Egress } from '../../core/topology.ts';
import { accepted, rejected, replied } from '../fakes/scripted-deliverer.ts';
import {
  at,
  broker,
  channel,
  eventOf,
  idOf,
  inside,
  linear,
  NO_RETRY,
  ofType,
  OUTSIDE,
  SINK,
  SUBSCRIBER,
  subscription,
  trigger,
} from './resources.ts';
import { Stage } from './stage.ts';

const ELSEWHERE = 'http://elsewhere/in';

/** An event waits 500 ms in memory after its first attempt. */
async function waitingStage(parts: Partial<Egress> = {}): Promise<Stage> {
  const stage = new Stage({ egresses: [waiting(parts)] });
  stage.deliverer.script(SUBSCRIBER, rejected(500), accepted);
  await stage.produce('orders', eventOf('e1'));
  await stage.pass(100);
  expect(stage.trail()).toEqual([
    `deliver 1 ${SUBSCRIBER} 500 KNEAR_REJECTED`,
    'wait deliver 1 500 memory',
  ]);
  return stage;
}

const waiting = (parts: Partial<Egress> = {}) => trigger({ retry: linear(3, 500), ...parts });

describe('D3: the next attempt goes by', () => {
  test('the subscriber of now', async () => {
    const stage = await waitingStage();
    stage.apply({ egresses: [waiting({ subscriber: at(ELSEWHERE) })] });
    await stage.pass(400);
    expect(stage.trail().slice(2)).toEqual([`deliver 2 ${ELSEWHERE} 202`, 'end delivered']);
  });

  test('a subscriber that is an ingress of ours now', async () => {
    const stage = await waitingStage();
    stage.apply({ egresses: [waiting({ subscriber: inside('steps') })] });
    await stage.pass(400);
    expect(stage.trail().slice(2)).toEqual(['end delivered']);
  });

  test('the retries of now', async () => {
    const stage = await waitingStage();
    stage.deliverer.script(SUBSCRIBER, rejected(500));
    stage.apply({ egresses: [waiting({ retry: NO_RETRY })] });
    await stage.pass(400);
    expect(stage.trail().slice(2)).toEqual([
      `deliver 2 ${SUBSCRIBER} 500 KNEAR_REJECTED`,
      'end parked KNEAR_REJECTED',
    ]);
  });

  test('the format, time limit and namespace of now', async () => {
    const stage = await waitingStage();
    stage.apply({ egresses: [waiting({ format: 'json', timeoutMs: 77, namespace: 'moved' })] });
    await stage.pass(400);
    expect(stage.deliverer.calls[1]).toMatchObject({
      format: 'json',
      timeoutMs: 77,
      namespace: 'moved',
    });
  });

  test('a dead letter sink that came while it waited', async () => {
    const stage = await waitingStage();
    stage.deliverer.script(SUBSCRIBER, rejected(400));
    stage.apply({ egresses: [waiting({ deadLetter: at(SINK) })] });
    await stage.pass(400);
    expect(stage.trail().at(-1)).toBe('end dead-lettered KNEAR_REJECTED');
  });

  test('what became of a resource while an earlier attempt was in flight', async () => {
    const stage = new Stage({ egresses: [waiting()] });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', eventOf('e1'));
    stage.apply({ egresses: [waiting({ subscriber: at(ELSEWHERE) })] });
    stage.deliverer.answer(rejected(500));
    await stage.pass(500);
    expect(stage.deliverer.calls.map(({ url }) => url)).toEqual([SUBSCRIBER, ELSEWHERE]);
  });
});

describe('D3: what waited for a slot goes by the resources of the moment at which it has one', () => {
  async function waitingForSlot(): Promise<Stage> {
    const stage = new Stage({ egresses: [waiting()], slotsMax: 1 });
    stage.deliverer.script(SUBSCRIBER, rejected(500), 'hang', accepted);
    await stage.produce('orders', eventOf('e1'), eventOf('e2'));
    await stage.pass(1_000);
    expect(stage.deliverer.calls.map(({ event }) => idOf(event))).toEqual(['e1', 'e2']);
    return stage;
  }

  test('its egress vanished: nothing is sent, and it is in the log with its attempts', async () => {
    const stage = await waitingForSlot();
    stage.apply({ egresses: [] });
    stage.deliverer.answer(accepted);
    await stage.pass(1_000);
    expect(stage.deliverer.calls).toHaveLength(2);
    expect([stage.loop().slots.inUse, stage.log.lag('egress').ready]).toEqual([0, 1]);
    stage.apply({ egresses: [waiting()] });
    await stage.pass(0);
    expect(stage.trail().slice(-2)).toEqual([`deliver 2 ${SUBSCRIBER} 202`, 'end delivered']);
  });

  test('its subscriber moved', async () => {
    const stage = await waitingForSlot();
    stage.apply({ egresses: [waiting({ subscriber: at(ELSEWHERE) })] });
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(stage.trail().slice(-2)).toEqual([`deliver 2 ${ELSEWHERE} 202`, 'end delivered']);
  });

  test('its subscriber is an ingress of ours now: its slot goes to another', async () => {
    const stage = await waitingForSlot();
    stage.apply({ egresses: [waiting({ subscriber: inside('steps') })] });
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect([stage.loop().slots.inUse, stage.trail().at(-1)]).toEqual([0, 'end delivered']);
    expect(stage.deliverer.calls).toHaveLength(2);
  });
});

describe('an edited filter', () => {
  test('applies to what was not offered yet: it ends as filtered', async () => {
    const stage = new Stage({ egresses: [trigger()], slotsMax: 1 });
    stage.deliverer.script(SUBSCRIBER, 'hang', accepted);
    await stage.produce('orders', eventOf('e1'), eventOf('e2'), eventOf('e3', { type: 'other' }));
    stage.apply({ egresses: [trigger({ filter: ofType('other') })] });
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 202`,
      'end delivered',
      'end filtered',
      `deliver 1 ${SUBSCRIBER} 202`,
      'end delivered',
    ]);
    expect(stage.deliverer.calls.map(({ event }) => idOf(event))).toEqual(['e1', 'e3']);
  });

  test('applies to a retry that waits in the log', async () => {
    const stage = new Stage({ egresses: [trigger({ retry: linear(1, 5_000) })] });
    stage.deliverer.script(SUBSCRIBER, rejected(500));
    await stage.produce('orders', eventOf('e1'));
    stage.apply({ egresses: [trigger({ filter: ofType('other') })] });
    await stage.pass(5_000);
    expect(stage.trail().slice(2)).toEqual(['end filtered']);
  });

  test('does not take back a dead letter, whose event was offered long ago', async () => {
    const parts = { deadLetter: at(SINK), retry: linear(1, 5_000) };
    const stage = new Stage({ egresses: [trigger(parts)] });
    stage.deliverer.script(SUBSCRIBER, rejected(400));
    stage.deliverer.script(SINK, rejected(503), accepted);
    await stage.produce('orders', eventOf('e1'));
    stage.apply({ egresses: [trigger({ ...parts, filter: ofType('other') })] });
    await stage.pass(5_000);
    expect(stage.trail().at(-1)).toBe('end dead-lettered KNEAR_REJECTED');
  });

  test('does not take back a reply on its way', async () => {
    const parts = { reply: at(OUTSIDE), retry: linear(1, 5_000) };
    const stage = new Stage({ egresses: [subscription(parts)] });
    stage.deliverer.script(SUBSCRIBER, replied(eventOf('r1', { type: 'answer' })));
    stage.deliverer.script(OUTSIDE, rejected(503), accepted);
    await stage.produce('steps', eventOf('e1'));
    stage.apply({ egresses: [subscription({ ...parts, filter: ofType('other') })] });
    await stage.pass(5_000);
    expect(stage.trail().at(-1)).toBe('end delivered');
    expect(stage.deliverer.callsTo(OUTSIDE)).toHaveLength(2);
  });
});

describe('an egress that vanishes', () => {
  test('while an event waits in memory leaves it in the log with its attempts, and nothing is sent', async () => {
    const stage = await waitingStage();
    stage.apply({ egresses: [] });
    await stage.pass(5_000);
    expect(stage.deliverer.calls).toHaveLength(1);
    expect([stage.dispatcher.open, stage.log.lag('egress').ready]).toEqual([0, 1]);
    stage.apply({ egresses: [waiting()] });
    await stage.pass(0);
    expect(stage.trail().slice(2)).toEqual([`deliver 2 ${SUBSCRIBER} 202`, 'end delivered']);
  });

  test('while an attempt is in flight ends with what that came to, if it is a success', async () => {
    const stage = new Stage({ egresses: [trigger()] });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', eventOf('e1'));
    stage.apply({ egresses: [] });
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(stage.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 202`, 'end delivered']);
    expect(stage.log.lag('egress').ready).toBe(0);
  });

  test('while an attempt is in flight keeps the event with one attempt more, if it fails', async () => {
    const stage = new Stage({ egresses: [waiting()] });
    stage.deliverer.script(SUBSCRIBER, 'hang', accepted);
    await stage.produce('orders', eventOf('e1'));
    stage.apply({ egresses: [] });
    stage.deliverer.answer(rejected(500));
    await stage.pass(5_000);
    expect(stage.deliverer.calls).toHaveLength(1);
    stage.apply({ egresses: [waiting()] });
    await stage.pass(0);
    expect(stage.trail().slice(-2)).toEqual([`deliver 2 ${SUBSCRIBER} 202`, 'end delivered']);
  });

  test('before an event is offered keeps it untouched', async () => {
    const stage = new Stage({ egresses: [trigger({ isPaused: true })] });
    await stage.produce('orders', eventOf('e1'));
    stage.apply({ egresses: [] });
    await stage.pass(1_000);
    stage.apply({ egresses: [trigger()] });
    await stage.pass(0);
    expect(stage.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 202`, 'end delivered']);
  });

  test('while its reply is on the way keeps the reply, and the subscriber is not asked again', async () => {
    const egress = subscription({ reply: at(OUTSIDE), retry: linear(3, 500) });
    const stage = new Stage({ egresses: [egress] });
    stage.deliverer.script(SUBSCRIBER, replied(eventOf('r1')));
    stage.deliverer.script(OUTSIDE, rejected(500), accepted);
    await stage.produce('steps', eventOf('e1'));
    stage.apply({ egresses: [] });
    await stage.pass(5_000);
    stage.apply({ egresses: [egress] });
    await stage.pass(0);
    expect(stage.trail().slice(-2)).toEqual([`reply 2 ${OUTSIDE} 202`, 'end delivered']);
    expect(stage.deliverer.callsTo(SUBSCRIBER)).toHaveLength(1);
  });
});

describe('a target that vanishes', () => {
  test('is a reply address: the reply is dropped, as without one', async () => {
    const stage = new Stage({
      egresses: [subscription({ reply: at(OUTSIDE), retry: linear(3, 500) })],
    });
    stage.deliverer.script(SUBSCRIBER, replied(eventOf('r1')));
    stage.deliverer.script(OUTSIDE, rejected(500));
    await stage.produce('steps', eventOf('e1'));
    stage.apply({ egresses: [subscription({ retry: linear(3, 500) })] });
    await stage.pass(500);
    expect(stage.trail().at(-1)).toBe('end delivered');
    expect(stage.deliverer.callsTo(OUTSIDE)).toHaveLength(1);
  });

  test.each([
    { exhausted: 'park', end: 'end parked KNEAR_REJECTED' },
    { exhausted: 'drop', end: 'end dropped KNEAR_REJECTED' },
  ] as const)(
    'is a dead letter sink: $exhausted the event, with the original failure',
    async ({ exhausted, end }) => {
      const parts = { retry: linear(3, 500), exhausted };
      const stage = new Stage({ egresses: [trigger({ ...parts, deadLetter: at(SINK) })] });
      stage.deliverer.script(SUBSCRIBER, rejected(400));
      stage.deliverer.script(SINK, rejected(503));
      await stage.produce('orders', eventOf('e1'));
      stage.apply({ egresses: [trigger(parts)] });
      await stage.pass(500);
      expect(stage.trail().at(-1)).toBe(end);
      expect(stage.happenings).toContainEqual(
        expect.objectContaining({
          kind: 'ended',
          failure: expect.objectContaining({ status: 400, dest: SUBSCRIBER }),
        }),
      );
    },
  );

  test('is the ingress behind a subscriber: that is a failure like any other, until it is back', async () => {
    const ingresses = [broker('orders'), channel('steps')];
    const egress = trigger({ subscriber: inside('steps'), retry: linear(1, 5_000) });
    const stage = new Stage({ ingresses, egresses: [{ ...egress, isPaused: true }] });
    await stage.produce('orders', eventOf('e1'));
    stage.apply({ ingresses: [broker('orders')], egresses: [egress] });
    await stage.pass(1_000);
    expect(stage.trail().at(-1)).toBe('wait deliver 1 5000 log');
    stage.apply({ ingresses });
    await stage.pass(4_000);
    expect(stage.trail().at(-1)).toBe('end delivered');
  });
});

describe('a paused egress', () => {
  test('pulls nothing, and goes on when it is resumed', async () => {
    const stage = new Stage({ egresses: [trigger({ isPaused: true })] });
    await stage.produce('orders', eventOf('e1'), eventOf('e2'));
    await stage.pass(60_000);
    expect([stage.deliverer.calls.length, stage.log.lag('egress').ready]).toEqual([0, 2]);
    stage.apply({ egresses: [trigger()] });
    await stage.pass(0);
    expect(stage.deliverer.calls).toHaveLength(2);
  });

  test('lets what it holds go its way, retries included', async () => {
    const stage = await waitingStage();
    stage.apply({ egresses: [waiting({ isPaused: true })] });
    await stage.produce('orders', eventOf('e2'));
    await stage.pass(400);
    expect(stage.trail().slice(2)).toEqual([`deliver 2 ${SUBSCRIBER} 202`, 'end delivered']);
    expect(stage.log.lag('egress').ready).toBe(1);
  });

  test('keeps a retry that is due in the log until it is resumed', async () => {
    const parts = { retry: linear(1, 5_000) };
    const stage = new Stage({ egresses: [trigger(parts)] });
    stage.deliverer.script(SUBSCRIBER, rejected(500), accepted);
    await stage.produce('orders', eventOf('e1'));
    stage.apply({ egresses: [trigger({ ...parts, isPaused: true })] });
    await stage.pass(10_000);
    expect(stage.deliverer.calls).toHaveLength(1);
    stage.apply({ egresses: [trigger(parts)] });
    await stage.pass(0);
    expect(stage.trail().slice(2)).toEqual([`deliver 2 ${SUBSCRIBER} 202`, 'end delivered']);
  });
});
