/** A lease that ends under a delivery: what its holder may still do, and when losing leases counts as failing. */
import { describe, expect, test } from '@jest/globals';
import { accepted, rejected, replied } from '../fakes/scripted-deliverer.ts';
import {
  at,
  attributesOf,
  eventOf,
  inside,
  linear,
  NO_RETRY,
  OUTSIDE,
  retries,
  SINK,
  SUBSCRIBER,
  subscription,
  trigger,
} from './resources.ts';
import { Stage } from './stage.ts';

/** The process stands still for longer than a lease, with one attempt in flight. */
async function frozenStage(parts: Parameters<typeof trigger>[0] = {}): Promise<Stage> {
  const stage = new Stage({ egresses: [trigger({ retry: retries(2), ...parts })] });
  stage.deliverer.script(SUBSCRIBER, 'hang');
  await stage.produce('orders', eventOf('e1'));
  stage.clock.freeze(15_000);
  return stage;
}

describe('D4: after the end of its lease, a holder', () => {
  test('turns no failure into a verdict: the event is offered again with no attempt more', async () => {
    const stage = await frozenStage({ deadLetter: at(SINK) });
    stage.deliverer.answer(rejected(400));
    await stage.pass(0);
    expect(stage.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 400 KNEAR_REJECTED`]);
    expect(stage.dispatcher.open).toBe(0);
    stage.deliverer.script(SUBSCRIBER, accepted);
    await stage.pass(1_000);
    expect(stage.trail().slice(1)).toEqual([
      'lease-lost 1',
      `deliver 1 ${SUBSCRIBER} 202`,
      'end delivered',
    ]);
  });

  test.each([
    { name: 'parks nothing', parts: { retry: NO_RETRY } },
    { name: 'drops nothing', parts: { retry: NO_RETRY, exhausted: 'drop' } },
    { name: 'waits for nothing', parts: { retry: linear(3, 500) } },
    { name: 'puts nothing off', parts: { retry: linear(3, 5_000) } },
  ] as const)('$name when its attempt has failed', async ({ parts }) => {
    const stage = await frozenStage(parts);
    stage.deliverer.answer(rejected(500));
    await stage.pass(0);
    expect(stage.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 500 KNEAR_REJECTED`]);
    expect(stage.log.lag('egress')).toEqual({ ready: 1, delayed: 0, parked: 0 });
  });

  test('settles a success in hand, and the event is not offered again', async () => {
    const stage = await frozenStage();
    stage.deliverer.answer(accepted);
    await stage.pass(20_000);
    expect(stage.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 202`, 'end delivered']);
    expect(stage.deliverer.calls).toHaveLength(1);
  });

  test('keeps a reply in hand that goes to a Broker of ours', async () => {
    const stage = await frozenStage();
    stage.deliverer.answer(replied(eventOf('r1')));
    await stage.pass(0);
    expect(stage.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 200`, 'end delivered']);
  });

  test('starts nothing: a reply to an address outside is left to the next holder', async () => {
    const stage = new Stage({ egresses: [subscription({ reply: at(OUTSIDE) })] });
    stage.deliverer.script(SUBSCRIBER, 'hang', replied(eventOf('r1')));
    await stage.produce('steps', eventOf('e1'));
    stage.clock.freeze(15_000);
    stage.deliverer.answer(replied(eventOf('r1')));
    await stage.pass(0);
    expect(stage.deliverer.callsTo(OUTSIDE)).toEqual([]);
    await stage.pass(1_000);
    expect(stage.deliverer.callsTo(OUTSIDE)).toHaveLength(1);
  });

  test('does not ask the subscriber again for a reply that was not taken', async () => {
    const stage = await frozenStage({ reply: inside('nowhere') });
    stage.deliverer.answer(replied(eventOf('r1')));
    await stage.pass(999);
    expect(stage.deliverer.calls).toHaveLength(1);
    expect(stage.dispatcher.open).toBe(0);
  });

  test('gives a slot that it waited for to the next, unused', async () => {
    const stage = new Stage({ egresses: [trigger({ retry: linear(1, 500) })], slotsMax: 1 });
    stage.deliverer.script(SUBSCRIBER, rejected(500), 'hang');
    await stage.produce('orders', eventOf('e1'), eventOf('e2'));
    await stage.pass(600);
    // e1 waits for the slot that e2 has.
    expect([stage.loop().open, stage.loop().slots.inUse]).toEqual([2, 1]);
    stage.clock.freeze(15_000);
    stage.deliverer.answer(accepted);
    await stage.clock.calm();
    expect([stage.loop().open, stage.loop().slots.inUse]).toEqual([0, 0]);
    expect(stage.deliverer.calls).toHaveLength(2);
  });
});

describe('D6: five leases in a row without an outcome', () => {
  async function lostStage(lost: number, parts: Parameters<typeof trigger>[0]): Promise<Stage> {
    const stage = new Stage({ egresses: [trigger({ ...parts, isPaused: true })] });
    await stage.produce('orders', eventOf('e1'));
    for (let count = 0; count < lost; count += 1) await stage.loseLease('egress');
    stage.happenings.length = 0;
    stage.apply({ egresses: [trigger(parts)] });
    await stage.pass(0);
    return stage;
  }

  test('are a failed attempt: the event is tried again as one that failed once', async () => {
    const stage = await lostStage(5, { retry: linear(1, 500) });
    expect(stage.log.lag('egress')).toEqual({ ready: 0, delayed: 1, parked: 0 });
    await stage.pass(500);
    expect(stage.trail()).toEqual([`deliver 2 ${SUBSCRIBER} 202`, 'end delivered']);
  });

  test('count in the log: deliveries that all end in a bug use up the retries and come to their end', async () => {
    const stage = new Stage({ egresses: [trigger({ retry: linear(2, 100) })] });
    stage.deliverer.script(SUBSCRIBER, new Error('a bug'));
    await stage.produce('orders', eventOf('e1'));
    await stage.pass(600_000);
    expect(stage.trail().at(-1)).toBe('end parked KNEAR_LEASE_LOST');
    // Three attempts, each of five leases.
    expect(stage.deliverer.calls).toHaveLength(15);
  });

  test('are a failed attempt with a code of its own, in a dead letter, too', async () => {
    const stage = await lostStage(5, { retry: NO_RETRY, deadLetter: at(SINK) });
    expect(stage.trail()).toEqual([
      `dead-letter 1 ${SINK} 202`,
      'end dead-lettered KNEAR_LEASE_LOST',
    ]);
    expect(attributesOf(stage.deliverer.calls[0]?.event ?? eventOf('none'))).toMatchObject({
      knativeerrordest: SUBSCRIBER,
      knativeerrorcode: '500',
    });
  });

  test('and no retries left: the event is parked without another attempt', async () => {
    const stage = await lostStage(5, { retry: NO_RETRY });
    expect(stage.trail()).toEqual(['end parked KNEAR_LEASE_LOST']);
    expect(stage.deliverer.calls).toEqual([]);
  });

  test.each([1, 4])(
    '%d of them are not: the event is delivered as if nothing was',
    async (lost) => {
      const stage = await lostStage(lost, { retry: NO_RETRY });
      expect(stage.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 202`, 'end delivered']);
    },
  );

  test('of a dead letter park it with the original failure', async () => {
    const parts = { deadLetter: at(SINK), retry: linear(1, 5_000) };
    const stage = new Stage({ egresses: [trigger(parts)] });
    stage.deliverer.script(SUBSCRIBER, rejected(400));
    stage.deliverer.script(SINK, rejected(503));
    await stage.produce('orders', eventOf('e1'));
    stage.apply({ egresses: [trigger({ ...parts, isPaused: true })] });
    await stage.pass(5_000);
    for (let count = 0; count < 5; count += 1) await stage.loseLease('egress');
    stage.apply({ egresses: [trigger(parts)] });
    await stage.pass(0);
    expect(stage.trail().at(-1)).toBe('end parked KNEAR_REJECTED');
  });
});
