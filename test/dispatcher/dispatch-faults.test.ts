/** Faults that the dispatcher had once, each as the smallest case that showed it. */
import { describe, expect, test } from '@jest/globals';
import { KnearError } from '../../core/errors.ts';
import type { EventLog } from '../../core/ports/event-log.ts';
import type { Egress, Target } from '../../core/topology.ts';
import { Slots } from '../../dispatcher/slots.ts';
import { accepted, rejected } from '../fakes/scripted-deliverer.ts';
import { SteppedClock } from '../fakes/stepped-clock.ts';
import { withPull } from '../fakes/wrapped-log.ts';
import { at, eventOf, linear, NO_RETRY, ofType, SINK, SUBSCRIBER, trigger } from './resources.ts';
import { Stage } from './stage.ts';

const to = (id: string, more: Partial<Egress> = {}) =>
  trigger({ id, subscriber: at(`http://${id}/`), filter: ofType(id), ...more });

describe('grave', () => {
  test('a free place is used: an egress that is given its turn and has no slot for it gives it on', async () => {
    const stage = new Stage({
      egresses: [to('a', { retry: linear(1, 500) }), to('b'), to('c')],
      slotsMax: 1,
      open: { countMax: 2, bytesMax: 1e9 },
    });
    stage.deliverer.script('http://a/', rejected(500), 'hang');
    stage.deliverer.script('http://c/', 'hang');
    // a waits in memory and c hangs: both places are taken, and a stands in line for another one.
    await stage.produce('orders', eventOf('a1', { type: 'a' }));
    await stage.produce('orders', eventOf('c1', { type: 'c' }));
    await stage.produce('orders', eventOf('a2', { type: 'a' }), eventOf('b1', { type: 'b' }));
    expect(stage.dispatcher.open).toBe(2);
    // a takes its only slot for its second attempt, which hangs; then c's place comes free.
    await stage.pass(500);
    stage.deliverer.answer(accepted, 'http://c/');
    await stage.pass(0);
    expect(stage.deliverer.callsTo('http://b/')).toHaveLength(1);
  });

  test('an egress whose pull fails gives its turn on', async () => {
    const clock = new SteppedClock();
    let isBroken = false;
    const wrap = (log: EventLog) =>
      withPull(log, (own, ...call) =>
        isBroken && call[0] === 'a'
          ? Promise.reject(new KnearError('KNEAR_LOG_CORRUPT', 'damaged'))
          : own(...call),
      );
    const stage = new Stage({
      egresses: [to('a'), to('b'), to('c')],
      open: { countMax: 1, bytesMax: 1e9 },
      clock,
      wrap,
    });
    for (const id of ['a', 'b', 'c']) stage.deliverer.script(`http://${id}/`, 'hang');
    await stage.produce('orders', eventOf('c1', { type: 'c' }));
    await stage.produce('orders', eventOf('a1', { type: 'a' }), eventOf('b1', { type: 'b' }));
    await stage.pass(0);
    isBroken = true;
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(stage.deliverer.callsTo('http://b/')).toHaveLength(1);
  });

  test('a retry goes to another endpoint than the attempt before, whatever happened in between', async () => {
    const subscriber: Target = { kind: 'service', url: 'http://s/', service: 'n/s', port: 80 };
    const endpoint = (address: string) => ({ address, ports: { 80: 80 }, isReady: true });
    const stage = new Stage({
      egresses: [trigger({ subscriber, retry: linear(3, 500) })],
      services: { 'n/s': { endpoints: [endpoint('10.0.0.1'), endpoint('10.0.0.2')] } },
    });
    for (const ip of ['10.0.0.1', '10.0.0.2']) stage.deliverer.script(`http://${ip}:80/`, 'hang');
    await stage.produce('orders', eventOf('e1'));
    const dead = stage.deliverer.calls[0]?.url ?? '';
    const alive = dead.includes('10.0.0.1') ? 'http://10.0.0.2:80/' : 'http://10.0.0.1:80/';
    stage.deliverer.answer(rejected(500), dead);
    stage.deliverer.script(dead, rejected(500));
    stage.deliverer.script(alive, accepted);
    // Between any two attempts of e1 there is one of another event.
    for (let count = 2; count <= 4; count += 1) {
      await stage.pass(100);
      await stage.produce('orders', eventOf(`e${count}`));
      await stage.pass(500 * count);
    }
    await stage.pass(10_000);
    expect(stage.log.lag('egress').parked).toBe(0);
  });
});

describe('minor', () => {
  test('what was under way when the limit fell is forgotten when it ends, whatever it was about', () => {
    const slots = new Slots({ clock: new SteppedClock(), max: 256 });
    for (let count = 0; count < 4; count += 1) void slots.take();
    slots.give(rejected(503), 20);
    // The other three went to reply addresses and dead letter sinks, which say nothing about the subscriber.
    for (let count = 0; count < 3; count += 1) slots.give();
    expect(slots.limit).toBe(2);
    void slots.take();
    slots.give(rejected(503), 20);
    expect(slots.limit).toBe(1);
  });

  test('D1: no end is told of a delivery that the log does not know any more (closed)', async () => {
    const stage = new Stage({ egresses: [trigger({ retry: NO_RETRY })] });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', eventOf('e1'));
    const closed = stage.log.close();
    await stage.pass(0);
    await closed;
    stage.deliverer.answer(rejected(400));
    await stage.pass(0);
    expect(stage.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 400 KNEAR_REJECTED`]);
  });

  test('D1: nor of one that ended as gone', async () => {
    const stage = new Stage({ egresses: [trigger()] });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', eventOf('e1'));
    stage.apply({ egresses: [] });
    await stage.pass(10_000);
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(stage.trail()).toEqual(['discarded gone 1', `deliver 1 ${SUBSCRIBER} 202`]);
  });

  test('a dead letter that is refused is not told as a reply', async () => {
    const stage = new Stage({
      egresses: [trigger({ deadLetter: { kind: 'ingress', ingressId: 'no', url: SINK } })],
    });
    stage.deliverer.script(SUBSCRIBER, rejected(400));
    await stage.produce('orders', eventOf('e1'));
    expect(stage.trail()).not.toContain('refused reply KNEAR_INGRESS_UNKNOWN 404');
  });

  test('an egress that is away for a moment does not cut a wait short', async () => {
    const egress = trigger({ retry: linear(2, 900) });
    const stage = new Stage({ egresses: [egress] });
    stage.deliverer.script(SUBSCRIBER, rejected(503));
    await stage.produce('orders', eventOf('e1'));
    stage.apply({ egresses: [] });
    await stage.pass(100);
    stage.apply({ egresses: [egress] });
    await stage.pass(700);
    expect(stage.deliverer.calls).toHaveLength(1);
  });
});
