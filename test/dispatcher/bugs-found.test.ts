/** Failing tests for faults found in the dispatcher; each moves to its topic's file once it passes. */
import { describe, expect, test } from '@jest/globals';
import type { CloudEvent } from '../../core/event.ts';
import type { Egress, Target } from '../../core/topology.ts';
import { Slots } from '../../dispatcher/slots.ts';
import { accepted, rejected, replied, unreachable } from '../fakes/scripted-deliverer.ts';
import {
  at,
  eventOf,
  idOf,
  linear,
  ofType,
  OUTSIDE,
  retries,
  SUBSCRIBER,
  subscription,
  trigger,
} from './resources.ts';
import { Stage } from './stage.ts';

const eventsOf = (count: number, more: Parameters<typeof eventOf>[1] = {}): CloudEvent[] =>
  Array.from({ length: count }, (_, index) => eventOf(`e${index + 1}`, more));

const callsOf = (stage: Stage) => stage.deliverer.calls.map(({ event }) => idOf(event));

const host = (id: string) => at(`http://${id}/`);

describe('grave', () => {
  test('B1 nobody starves: of two egresses with a backlog and one place between them, both get their turns', async () => {
    const stage = new Stage({
      egresses: ['a', 'b'].map((id) => trigger({ id, subscriber: host(id) })),
      open: { countMax: 1, bytesMax: 1e9 },
    });
    for (const id of ['a', 'b']) stage.deliverer.script(`http://${id}/`, 'hang');
    await stage.produce('orders', ...eventsOf(50));
    for (let count = 0; count < 40; count += 1) {
      stage.deliverer.answer(accepted);
      await stage.pass(1);
    }
    expect(stage.deliverer.callsTo('http://b/').length).toBeGreaterThan(10);
    expect(stage.deliverer.callsTo('http://a/').length).toBeGreaterThan(10);
  });

  test('B1b nobody starves: a place that is free is used, though slow subscribers hold more than nine tenths', async () => {
    const slow = ['s1', 's2', 's3'].map((id) =>
      trigger({ id, subscriber: host('slow'), filter: ofType('slow') }),
    );
    const fast = trigger({ id: 'fast', subscriber: host('fast'), filter: ofType('fast') });
    const stage = new Stage({ egresses: [...slow, fast], open: { countMax: 13, bytesMax: 1e9 } });
    stage.deliverer.script('http://slow/', 'hang');
    await stage.produce('orders', ...eventsOf(10, { type: 'slow' }));
    await stage.produce('orders', ...eventsOf(10, { type: 'fast' }));
    await stage.pass(60_000);
    expect(stage.deliverer.callsTo('http://fast/')).toHaveLength(10);
  });

  test('B2 D6: an event whose deliveries all end in a bug comes to its end', async () => {
    const stage = new Stage({ egresses: [trigger({ retry: linear(2, 100) })] });
    stage.deliverer.script(SUBSCRIBER, new Error('a bug'));
    await stage.produce('orders', eventOf('e1'));
    await stage.pass(3_600_000);
    expect(stage.trail().at(-1)).toBe('end parked KNEAR_LEASE_LOST');
  });

  describe('B4 D3: what waited for a slot goes by the resources of the moment at which it has one', () => {
    const egress = (parts: Partial<Egress> = {}) => trigger({ retry: linear(2, 500), ...parts });

    async function waitingForSlot(): Promise<Stage> {
      const stage = new Stage({ egresses: [egress()], slotsMax: 1 });
      stage.deliverer.script(SUBSCRIBER, rejected(500), 'hang', accepted);
      await stage.produce('orders', eventOf('e1'), eventOf('e2'));
      await stage.pass(1_000);
      expect(callsOf(stage)).toEqual(['e1', 'e2']);
      return stage;
    }

    test('its egress vanished: nothing is sent', async () => {
      const stage = await waitingForSlot();
      stage.apply({ egresses: [] });
      stage.deliverer.answer(accepted);
      await stage.pass(1_000);
      expect(callsOf(stage)).toEqual(['e1', 'e2']);
      expect(stage.log.lag('egress').ready).toBe(1);
    });

    test('its subscriber moved', async () => {
      const stage = await waitingForSlot();
      stage.apply({ egresses: [egress({ subscriber: at(OUTSIDE) })] });
      stage.deliverer.answer(accepted);
      await stage.pass(0);
      expect(stage.deliverer.calls.at(-1)?.url).toBe(OUTSIDE);
    });
  });

  describe('B5 P2: the door does not yield for', () => {
    const behind = (egress: Egress) =>
      new Stage({ egresses: [egress], isBusy: () => true, slotsMax: 4 });

    test('a subscriber that has never answered', async () => {
      const stage = behind(trigger());
      stage.deliverer.script(SUBSCRIBER, 'hang');
      await stage.produce('orders', ...eventsOf(1_200));
      await stage.pass(10_000);
      expect(stage.dispatcher.mayRead()).toBeUndefined();
    });

    test('a subscriber that only times out', async () => {
      const stage = behind(trigger());
      stage.deliverer.script(SUBSCRIBER, 'hang');
      await stage.produce('orders', ...eventsOf(1_200));
      for (let count = 0; count < 8; count += 1) {
        await stage.pass(30_000);
        stage.deliverer.answer(unreachable('KNEAR_TIMEOUT'));
      }
      await stage.pass(20);
      expect(stage.dispatcher.mayRead()).toBeUndefined();
    });

    test('a paused egress', async () => {
      const stage = behind(trigger({ isPaused: true }));
      await stage.produce('orders', ...eventsOf(1_200));
      expect(stage.dispatcher.mayRead()).toBeUndefined();
    });
  });

  test('B6 a subscriber that says nothing but 503 gets fewer and fewer requests at once', () => {
    const slots = new Slots({ max: 256 });
    for (let count = 0; count < 60; count += 1) {
      const { limit } = slots;
      for (let each = 0; each < limit; each += 1) void slots.take();
      for (let each = 0; each < limit; each += 1) slots.give(accepted, 20);
    }
    expect(slots.limit).toBe(64);
    for (let count = 0; count < 20; count += 1) {
      const { limit } = slots;
      for (let each = 0; each < limit; each += 1) void slots.take();
      for (let each = 0; each < limit; each += 1) slots.give(rejected(503), 20);
    }
    expect(slots.limit).toBe(1);
  });

  test('B6b one burst of errors halves once, where 4 lies on the way, too', () => {
    const slots = new Slots({ max: 256 });
    while (slots.limit < 8) {
      const { limit } = slots;
      for (let each = 0; each < limit; each += 1) void slots.take();
      for (let each = 0; each < limit; each += 1) slots.give(accepted, 20);
    }
    for (let each = 0; each < 8; each += 1) void slots.take();
    slots.give(accepted, 20);
    for (let each = 0; each < 7; each += 1) slots.give(rejected(503), 20);
    expect(slots.limit).toBe(4);
  });

  test('B6c a subscriber that is not there does not get more and more requests at once', async () => {
    const stage = new Stage({ egresses: [trigger()] });
    stage.deliverer.script(SUBSCRIBER, unreachable('KNEAR_UNREACHABLE'));
    await stage.produce('orders', ...eventsOf(400));
    expect(stage.loop().slots.limit).toBe(4);
  });

  test('B7 what a reply address says to a reply it took is ignored', async () => {
    const stage = new Stage({
      egresses: [subscription({ reply: at(OUTSIDE), retry: retries(1) })],
    });
    stage.deliverer.script(SUBSCRIBER, replied(eventOf('r1')));
    await stage.produce('steps', eventOf('e1'));
    expect(stage.deliverer.callsTo(OUTSIDE)[0]?.wantsReply).toBe(false);
  });

  test('B9 endpoints take turns, whichever records are for the egress', async () => {
    const subscriber: Target = { kind: 'service', url: 'http://s/', service: 'n/s', port: 80 };
    const endpoint = (address: string) => ({ address, ports: { 80: 80 }, isReady: true });
    const stage = new Stage({
      egresses: [
        trigger({ subscriber, filter: ofType('a') }),
        trigger({ id: 'other', subscriber: at(OUTSIDE), filter: ofType('b') }),
      ],
      services: { 'n/s': { endpoints: [endpoint('10.0.0.1'), endpoint('10.0.0.2')] } },
    });
    for (let count = 0; count < 20; count += 1) {
      await stage.produce('orders', eventOf(`e${count}`, { type: count % 2 ? 'a' : 'b' }));
    }
    expect(stage.deliverer.callsTo('http://10.0.0.1:80/')).toHaveLength(5);
    expect(stage.deliverer.callsTo('http://10.0.0.2:80/')).toHaveLength(5);
  });

  test('B14 many dead subscribers leave room for one that lives', async () => {
    const dead = Array.from({ length: 4 }, (_, index) =>
      trigger({
        id: `dead${index}`,
        subscriber: host('dead'),
        filter: ofType('dead'),
        retry: linear(100, 1_000),
      }),
    );
    const stage = new Stage({
      egresses: [...dead, trigger({ subscriber: host('alive'), filter: ofType('alive') })],
      open: { countMax: 100, bytesMax: 1e9 },
    });
    stage.deliverer.script('http://dead/', unreachable('KNEAR_UNREACHABLE'));
    await stage.produce('orders', ...eventsOf(300, { type: 'dead' }));
    await stage.pass(5_000);
    for (let count = 0; count < 20; count += 1) {
      await stage.produce('orders', eventOf(`alive${count}`, { type: 'alive' }));
      await stage.pass(50);
    }
    expect(stage.deliverer.callsTo('http://alive/')).toHaveLength(20);
  });
});
