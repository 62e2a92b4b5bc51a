/** What becomes of an event that cannot be delivered: the dead letter sink, the parking lot, or nothing. */
import { describe, expect, test } from '@jest/globals';
import type { Outcome } from '../../core/ports/deliverer.ts';
import type { Egress, Target } from '../../core/topology.ts';
import { malformed, rejected, replied, unreachable } from '../fakes/scripted-deliverer.ts';
import {
  addressOf,
  at,
  attributesOf,
  broker,
  channel,
  eventOf,
  idOf,
  inside,
  linear,
  ofType,
  retries,
  SINK,
  SUBSCRIBER,
  subscription,
  trigger,
} from './resources.ts';
import { Stage } from './stage.ts';

const EVENT = eventOf('e1', {
  attributes: { extension: 'x' },
  headers: { 'knative-note': 'kept' },
  data: 'as it came',
});
const NO = rejected(400, { body: Buffer.from('no') });
const SERVICE_URL = 'http://sink.shop.svc.cluster.local/';

function stageOf(parts: Partial<Egress> = {}, outcome: Outcome = NO): Stage {
  const egress = trigger({ deadLetter: at(SINK), ...parts });
  const grave = subscription({ id: 'grave', ingressId: 'dead', isPaused: true });
  const yard = trigger({ id: 'yard', ingressId: 'other', isPaused: true });
  const stage = new Stage({
    ingresses: [broker('orders'), channel('steps'), channel('dead'), broker('other')],
    egresses: [egress, grave, yard],
  });
  stage.deliverer.script(SUBSCRIBER, outcome);
  return stage;
}

const dataOf = (text: string) => Buffer.from(text).toString('base64');

describe('the event at the dead letter sink', () => {
  const cases: { name: string; outcome: Outcome; errors: Record<string, string> }[] = [
    {
      name: 'a status and its body',
      outcome: rejected(422, { body: Buffer.from('unfit') }),
      errors: { knativeerrorcode: '422', knativeerrordata: dataOf('unfit') },
    },
    { name: 'a status alone', outcome: rejected(500), errors: { knativeerrorcode: '500' } },
    {
      name: 'the start of a long body',
      outcome: rejected(500, { body: Buffer.alloc(5_000, 'x') }),
      errors: { knativeerrorcode: '500', knativeerrordata: dataOf('x'.repeat(768)) },
    },
    {
      name: 'no answer',
      outcome: unreachable('KNEAR_TIMEOUT'),
      errors: { knativeerrorcode: '500', knativeerrordata: dataOf('dispatch error: no answer') },
    },
    {
      name: 'a reply that is none',
      outcome: malformed('KNEAR_REPLY_INVALID'),
      errors: { knativeerrorcode: '502', knativeerrordata: dataOf('not what was asked for') },
    },
  ];
  test.each(cases)('is the original and tells of $name', async ({ outcome, errors }) => {
    const stage = stageOf({}, outcome);
    await stage.produce('orders', EVENT);
    const [call] = stage.deliverer.callsTo(SINK);
    expect(attributesOf(call?.event ?? eventOf('none'))).toEqual({
      ...attributesOf(EVENT),
      knativearrivaltime: '2026-01-01T00:00:00.000Z',
      knativeerrordest: SUBSCRIBER,
      ...errors,
    });
    expect(call?.event.headers).toEqual(EVENT.headers);
    expect(call?.event.data?.toString()).toBe('as it came');
  });

  test('tells of its last failure only, not of one before its rescue', async () => {
    const stage = stageOf({}, rejected(410));
    const attributes = {
      knativeerrordest: 'http://elsewhere/',
      knativeerrorcode: '500',
      knativeerrordata: dataOf('old'),
    };
    await stage.produce('orders', eventOf('e1', { attributes }));
    const sent = stage.deliverer.callsTo(SINK)[0]?.event.attributes;
    expect([sent?.get('knativeerrordest'), sent?.get('knativeerrorcode')]).toEqual([
      SUBSCRIBER,
      '410',
    ]);
    expect(sent?.has('knativeerrordata')).toBe(false);
  });

  test('tells of the last of several failed attempts', async () => {
    const stage = stageOf({ retry: retries(1) });
    stage.deliverer.script(SUBSCRIBER, rejected(500), NO);
    await stage.produce('orders', EVENT);
    const sent = stage.deliverer.callsTo(SINK)[0]?.event.attributes;
    expect(sent?.get('knativeerrorcode')).toBe('400');
  });
});

describe('the dead letter sink', () => {
  const sinks: { name: string; target: Target; url: string }[] = [
    { name: 'at a plain address', target: at(SINK), url: SINK },
    {
      name: 'of a Service',
      target: { kind: 'service', url: SERVICE_URL, service: 'shop/sink', port: 80 },
      url: SERVICE_URL,
    },
  ];
  test.each(sinks)('$name takes the event, whatever it says to it', async ({ target, url }) => {
    const stage = stageOf({ deadLetter: target });
    stage.deliverer.script(url, replied(eventOf('an answer')));
    await stage.produce('orders', EVENT);
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 400 KNEAR_REJECTED`,
      `dead-letter 1 ${url} 200`,
      'end dead-lettered KNEAR_REJECTED',
    ]);
    expect(stage.log.lag('egress')).toEqual({ ready: 0, delayed: 0, parked: 0 });
  });

  test('that is a Channel of ours takes the event without a request', async () => {
    const stage = stageOf({ deadLetter: inside('dead') });
    await stage.produce('orders', EVENT);
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 400 KNEAR_REJECTED`,
      'end dead-lettered KNEAR_REJECTED',
    ]);
    const [{ event } = { event: eventOf('none') }] = await stage.waitingFor('grave');
    expect(attributesOf(event)).toEqual({
      ...attributesOf(EVENT),
      knativearrivaltime: '2026-01-01T00:00:00.000Z',
      knativebrokerttl: 255,
      knativeerrordest: SUBSCRIBER,
      knativeerrorcode: '400',
      knativeerrordata: dataOf('no'),
    });
    expect(event.headers).toEqual(EVENT.headers);
  });

  test('that is a Broker of ours counts its hops on', async () => {
    const stage = stageOf({ deadLetter: inside('other') });
    const event = eventOf('e1', { attributes: { knativebrokerttl: 7 } });
    await stage.produce('orders', event);
    const [delivery] = await stage.waitingFor('yard');
    expect(delivery?.event.attributes.get('knativebrokerttl')).toBe(5);
  });

  test('fails: it has retries of its own, then the event is parked with the original failure', async () => {
    const stage = stageOf({ retry: linear(1, 300) }, rejected(500));
    stage.deliverer.script(SUBSCRIBER, rejected(503), NO);
    stage.deliverer.script(SINK, unreachable('KNEAR_RESET'));
    await stage.produce('orders', EVENT);
    await stage.pass(600);
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 503 KNEAR_REJECTED`,
      'wait deliver 1 300 memory',
      `deliver 2 ${SUBSCRIBER} 400 KNEAR_REJECTED`,
      `dead-letter 1 ${SINK} 0 KNEAR_RESET`,
      'wait dead-letter 1 300 memory',
      `dead-letter 2 ${SINK} 0 KNEAR_RESET`,
      'end parked KNEAR_REJECTED',
    ]);
    expect(await stage.log.parked('egress', { limit: 9 })).toMatchObject([
      { failure: { code: 'KNEAR_REJECTED', status: 400, dest: SUBSCRIBER } },
    ]);
  });

  test('that refuses for good is not tried again', async () => {
    const stage = stageOf({ retry: retries(5) });
    stage.deliverer.script(SINK, rejected(413));
    await stage.produce('orders', EVENT);
    expect(stage.trail().slice(1)).toEqual([
      `dead-letter 1 ${SINK} 413 KNEAR_REJECTED`,
      'end parked KNEAR_REJECTED',
    ]);
  });

  test('that is not there yet is retried, then the event is parked with the original failure', async () => {
    const stage = stageOf({ deadLetter: inside('later'), retry: linear(1, 300) });
    await stage.produce('orders', EVENT);
    await stage.pass(300);
    const dest = addressOf('later');
    const attempts = stage.trail().filter((line) => line.startsWith('dead-letter'));
    expect(attempts).toEqual([
      `dead-letter 1 ${dest} 404 KNEAR_INGRESS_UNKNOWN`,
      `dead-letter 2 ${dest} 404 KNEAR_INGRESS_UNKNOWN`,
    ]);
    expect(stage.trail().at(-1)).toBe('end parked KNEAR_REJECTED');
  });

  test('that fails waits in the log, if long, and remembers the original failure through a crash', async () => {
    const before = stageOf({ retry: linear(1, 5_000) });
    before.deliverer.script(SINK, rejected(503));
    await before.produce('orders', EVENT);
    expect(before.trail().at(-1)).toBe('wait dead-letter 1 5000 log');
    const after = before.crash();
    await after.pass(5_000);
    expect(after.trail()).toEqual([
      `dead-letter 2 ${SINK} 202`,
      'end dead-lettered KNEAR_REJECTED',
    ]);
    expect(attributesOf(after.deliverer.calls[0]?.event ?? eventOf('none'))).toMatchObject({
      id: 'e1',
      knativeerrordest: SUBSCRIBER,
      knativeerrorcode: '400',
      knativeerrordata: dataOf('no'),
    });
  });
});

describe('without a dead letter sink', () => {
  const withoutSink = { ...trigger(), retry: retries(1) };

  test('the event is parked with its failure, and survives a crash', async () => {
    const before = new Stage({ egresses: [withoutSink] });
    before.deliverer.script(SUBSCRIBER, NO);
    await before.produce('orders', EVENT);
    expect(before.trail().at(-1)).toBe('end parked KNEAR_REJECTED');
    const after = before.crash();
    const [entry] = await after.log.parked('egress', { limit: 9 });
    expect(entry).toMatchObject({
      atMs: Date.UTC(2026, 0, 1),
      failure: { code: 'KNEAR_REJECTED', status: 400, dest: SUBSCRIBER },
    });
    expect(Buffer.from(entry?.failure.data ?? []).toString()).toBe('no');
    // As it stood in the log: hops included, so that a replay is one hop and no more.
    expect(entry?.event.attributes.get('knativebrokerttl')).toBe(255);
    expect(entry?.event.data?.toString()).toBe('as it came');
    await after.pass(1_000);
    expect(after.deliverer.calls).toEqual([]);
  });

  test('the event is dropped where that is wanted', async () => {
    const stage = new Stage({ egresses: [{ ...withoutSink, exhausted: 'drop' }] });
    stage.deliverer.script(SUBSCRIBER, NO);
    await stage.produce('orders', EVENT);
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 400 KNEAR_REJECTED`,
      'end dropped KNEAR_REJECTED',
    ]);
    expect(stage.log.lag('egress')).toEqual({ ready: 0, delayed: 0, parked: 0 });
  });

  test('an event whose sink failed is dropped where that is wanted, with the original failure', async () => {
    const stage = stageOf({ exhausted: 'drop' });
    stage.deliverer.script(SINK, rejected(413));
    await stage.produce('orders', EVENT);
    expect(stage.trail().at(-1)).toBe('end dropped KNEAR_REJECTED');
    expect(stage.happenings).toContainEqual(
      expect.objectContaining({
        kind: 'ended',
        failure: expect.objectContaining({ status: 400, dest: SUBSCRIBER }),
      }),
    );
  });
});

describe('a subscriber that is a Broker or Channel of ours', () => {
  const handed = (parts: Partial<Egress>, scene: { steps?: boolean } = {}) =>
    new Stage({
      ingresses: [
        broker('orders'),
        broker('other'),
        ...(scene.steps === false ? [] : [channel('steps')]),
      ],
      egresses: [
        trigger(parts),
        subscription({ id: 'grave', isPaused: true }),
        trigger({ id: 'yard', ingressId: 'other', isPaused: true }),
      ],
    });

  test('gets the event without a request, and with its hops', async () => {
    const stage = handed({ subscriber: inside('steps') });
    await stage.produce('orders', EVENT);
    expect(stage.deliverer.calls).toEqual([]);
    const [{ event } = { event: eventOf('none') }] = await stage.waitingFor('grave');
    expect(attributesOf(event)).toEqual({
      ...attributesOf(EVENT),
      knativearrivaltime: '2026-01-01T00:00:00.000Z',
      knativebrokerttl: 255,
    });
    expect(stage.trail().at(-1)).toBe('end delivered');
  });

  test('counts hops on if it is another Broker', async () => {
    const stage = handed({ subscriber: inside('other') });
    await stage.produce('orders', eventOf('e1', { attributes: { knativebrokerttl: 7 } }));
    const [delivery] = await stage.waitingFor('yard');
    expect(delivery?.event.attributes.get('knativebrokerttl')).toBe(5);
  });

  test('is retried while it is not there, and found when it comes', async () => {
    const stage = handed({ subscriber: inside('steps'), retry: linear(2, 300) }, { steps: false });
    await stage.produce('orders', EVENT);
    await stage.pass(299);
    expect(stage.trail()).toEqual([
      `deliver 1 ${addressOf('steps')} 404 KNEAR_INGRESS_UNKNOWN`,
      'wait deliver 1 300 memory',
    ]);
    stage.apply({ ingresses: [broker('orders'), channel('steps')] });
    await stage.pass(1);
    expect(stage.trail().at(-1)).toBe('end delivered');
    expect((await stage.waitingFor('grave')).map(({ event }) => idOf(event))).toEqual(['e1']);
  });

  test('is retried while the log is full, then the event is parked with that code', async () => {
    const stage = new Stage({
      egresses: [trigger({ subscriber: inside('steps'), retry: retries(1), isPaused: true })],
    });
    await stage.produce('orders', EVENT);
    stage.limits.sizeMaxBytes = 0;
    stage.apply({ egresses: [trigger({ subscriber: inside('steps'), retry: retries(1) })] });
    await stage.pass(0);
    const dest = addressOf('steps');
    expect(stage.trail()).toEqual([
      `deliver 1 ${dest} 503 KNEAR_LOG_FULL`,
      'wait deliver 1 0 memory',
      `deliver 2 ${dest} 503 KNEAR_LOG_FULL`,
      'end parked KNEAR_LOG_FULL',
    ]);
  });

  test('that refuses the event for good ends it at once', async () => {
    const stage = new Stage({
      ingresses: [broker('orders'), channel('steps', { eventMaxBytes: 3 })],
      egresses: [trigger({ subscriber: inside('steps'), retry: retries(5) })],
    });
    await stage.produce('orders', EVENT);
    expect(stage.trail()).toEqual([
      `deliver 1 ${addressOf('steps')} 413 KNEAR_EVENT_TOO_LARGE`,
      'end parked KNEAR_EVENT_TOO_LARGE',
    ]);
  });

  test('whose write fails comes back and is handed over once', async () => {
    const egress = trigger({ subscriber: inside('steps'), filter: ofType('order') });
    const grave = subscription({ id: 'grave', isPaused: true });
    const stage = new Stage({ egresses: [{ ...egress, isPaused: true }, grave] });
    await stage.produce('orders', EVENT);
    stage.store.isGated = true;
    stage.apply({ egresses: [egress, grave] });
    await stage.pass(0);
    stage.store.fail();
    stage.store.isGated = false;
    await stage.pass(0);
    expect([stage.trail(), await stage.waitingFor('grave')]).toEqual([[], []]);
    await stage.pass(2_000);
    expect(stage.trail()).toEqual(['end delivered']);
    expect(await stage.waitingFor('grave')).toHaveLength(1);
    expect(stage.bugs).toEqual([]);
  });
});
