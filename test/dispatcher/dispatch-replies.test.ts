/** A reply to a Broker or Channel of ours: it goes through the same door as any event, and may be turned away there. */
import { describe, expect, test } from '@jest/globals';
import type { CloudEvent } from '../../core/event.ts';
import type { Egress } from '../../core/topology.ts';
import { accepted, rejected, replied } from '../fakes/scripted-deliverer.ts';
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
import type { StageOptions } from './stage.ts';

const INPUT = eventOf('e1', { data: 'question' });
const REPLY = eventOf('r1', {
  type: 'answer',
  attributes: { extension: 'x' },
  headers: { 'x-request-id': 'r-1', 'knative-note': 'mine' },
  data: 'answer',
});

const BROKER = addressOf('orders');
const CHANNEL = addressOf('next');

/** Takes what comes to an ingress and keeps it for the test to look at. */
const collector = (ingressId: string, type?: string): Egress => ({
  ...(ingressId === 'next' ? subscription() : trigger()),
  id: 'collector',
  ingressId,
  isPaused: true,
  ...(type !== undefined && { filter: ofType(type) }),
});

function brokerStage(parts: Partial<Egress> = {}, options: StageOptions = {}): Stage {
  const asking = trigger({ filter: ofType('order'), ...parts });
  const stage = new Stage({ egresses: [asking, collector('orders', 'answer')], ...options });
  stage.deliverer.script(SUBSCRIBER, replied(REPLY));
  return stage;
}

function channelStage(parts: Partial<Egress> = {}, options: StageOptions = {}): Stage {
  const stage = new Stage({
    ingresses: [channel('steps'), channel('next')],
    egresses: [subscription({ reply: inside('next'), ...parts }), collector('next')],
    ...options,
  });
  stage.deliverer.script(SUBSCRIBER, replied(REPLY));
  return stage;
}

async function collected(stage: Stage): Promise<CloudEvent[]> {
  return (await stage.waitingFor('collector')).map(({ event }) => event);
}

describe('a reply to the own Broker', () => {
  test('is kept with one hop less than its input, and the delivery is over', async () => {
    const stage = brokerStage();
    await stage.produce('orders', eventOf('e1', { attributes: { knativebrokerttl: 9 } }));
    const [reply] = await collected(stage);
    expect(attributesOf(reply ?? INPUT)).toEqual({
      ...attributesOf(REPLY),
      knativebrokerttl: 7,
      knativearrivaltime: '2026-01-01T00:00:00.000Z',
    });
    expect(reply?.headers).toEqual(REPLY.headers);
    expect(reply?.data?.toString()).toBe('answer');
    expect(stage.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 200`, 'end delivered']);
  });

  test.each([undefined, 200, '200', 'many'])(
    'has the hops of its input, whatever the subscriber says (%p)',
    async (knativebrokerttl) => {
      const stage = brokerStage();
      const attributes = knativebrokerttl === undefined ? {} : { knativebrokerttl };
      stage.deliverer.script(SUBSCRIBER, replied(eventOf('r1', { type: 'answer', attributes })));
      await stage.produce('orders', eventOf('e1', { attributes: { knativebrokerttl: 9 } }));
      expect((await collected(stage))[0]?.attributes.get('knativebrokerttl')).toBe(7);
    },
  );

  test('meets all Triggers, the one that produced it included', async () => {
    const stage = brokerStage({ filter: { kind: 'everything' } });
    stage.deliverer.script(SUBSCRIBER, replied(REPLY), accepted);
    await stage.produce('orders', INPUT);
    expect(stage.deliverer.calls.map(({ event }) => idOf(event))).toEqual(['e1', 'r1']);
    expect(await collected(stage)).toHaveLength(1);
  });

  test('goes around until its hops are used up, then the last input is given up', async () => {
    const stage = brokerStage({ filter: { kind: 'everything' } });
    await stage.produce('orders', eventOf('e1', { attributes: { knativebrokerttl: 5 } }));
    // 4 hops are left at the door, 3, 2 and 1 after the replies; the fourth reply is refused.
    expect(stage.deliverer.calls).toHaveLength(4);
    expect(stage.trail().at(-1)).toBe('end parked KNEAR_TTL_EXHAUSTED');
    const [{ event, failure } = { event: INPUT, failure: undefined }] = await stage.log.parked(
      'egress',
      { limit: 9 },
    );
    expect([idOf(event), failure]).toEqual([
      'r1',
      { code: 'KNEAR_TTL_EXHAUSTED', status: 400, dest: BROKER },
    ]);
  });
});

describe('a reply to a Channel', () => {
  const withTtl = (ttl: number) => ({
    ...REPLY,
    attributes: new Map([...REPLY.attributes, ['knativebrokerttl', ttl]]),
  });

  test('is kept exactly as the subscriber gave it', async () => {
    const stage = channelStage();
    stage.deliverer.script(SUBSCRIBER, replied(withTtl(3)));
    await stage.produce('steps', eventOf('e1'));
    expect(await collected(stage)).toEqual([withTtl(3)]);
    expect(stage.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 200`, 'end delivered']);
  });

  test('but for the hop count of an event that came from a Broker', async () => {
    const stage = channelStage();
    stage.deliverer.script(SUBSCRIBER, replied(withTtl(3)));
    await stage.produce('steps', eventOf('e1', { attributes: { knativebrokerttl: 9 } }));
    expect(await collected(stage)).toEqual([withTtl(9)]);
  });
});

describe('a reply of a Subscription to a Broker', () => {
  test('enters it like any other event', async () => {
    const stage = new Stage({
      egresses: [subscription({ reply: inside('orders') }), collector('orders')],
    });
    stage.deliverer.script(SUBSCRIBER, replied(REPLY));
    await stage.produce('steps', INPUT);
    expect((await collected(stage))[0]?.attributes.get('knativebrokerttl')).toBe(255);
  });
});

test('a Broker that answers itself through a Channel stops when the hop count is used up', async () => {
  const stage = new Stage({
    egresses: [
      trigger({ id: 'in', subscriber: inside('steps') }),
      subscription({ id: 'through', reply: inside('orders') }),
    ],
  });
  stage.deliverer.script(SUBSCRIBER, replied(REPLY));
  await stage.produce('orders', eventOf('e1', { attributes: { knativebrokerttl: 5 } }));
  await stage.pass(10_000);
  // The first four arrive at the Broker, which counts 4, 3, 2, 1; the fifth is not admitted any more.
  expect(stage.deliverer.calls.length).toBe(4);
  expect(stage.happenings).toContainEqual(
    expect.objectContaining({ kind: 'refused', by: 'reply', code: 'KNEAR_TTL_EXHAUSTED' }),
  );
});

describe('a reply that is refused for good', () => {
  const cases: {
    name: string;
    stage: (parts: Partial<Egress>) => Stage;
    ingressId: string;
    input: CloudEvent;
    refusal: string;
    dest: string;
  }[] = [
    {
      name: 'hops used up',
      stage: (parts) => brokerStage(parts),
      ingressId: 'orders',
      input: eventOf('e1', { attributes: { knativebrokerttl: 2 } }),
      refusal: '400 KNEAR_TTL_EXHAUSTED',
      dest: BROKER,
    },
    {
      name: 'too large for the Broker',
      stage: (parts) => brokerStage(parts, { ingresses: [broker('orders', { eventMaxBytes: 5 })] }),
      ingressId: 'orders',
      input: eventOf('e1', { data: 'small' }),
      refusal: '413 KNEAR_EVENT_TOO_LARGE',
      dest: BROKER,
    },
    {
      name: 'too many attributes for the Channel',
      stage: (parts) =>
        channelStage(parts, {
          ingresses: [channel('steps'), channel('next', { attributesMaxBytes: 20 })],
        }),
      ingressId: 'steps',
      input: INPUT,
      refusal: '413 KNEAR_ATTRIBUTES_TOO_LARGE',
      dest: CHANNEL,
    },
  ];
  test.each(cases)(
    '($name) sends the input to the dead letter sink, with that code and the reply address',
    async ({ stage: open, ingressId, input, refusal, dest }) => {
      const [status = '', code = ''] = refusal.split(' ');
      // Retries are of no use here and not used.
      const stage = open({ deadLetter: at(SINK), retry: retries(3) });
      await stage.produce(ingressId, input);
      expect(stage.trail()).toEqual([
        `deliver 1 ${SUBSCRIBER} 200`,
        `reply 1 ${dest} ${refusal}`,
        `refused reply ${code} ${status}`,
        `dead-letter 1 ${SINK} 202`,
        `end dead-lettered ${code}`,
      ]);
      const [call] = stage.deliverer.callsTo(SINK);
      expect(attributesOf(call?.event ?? REPLY)).toMatchObject({
        id: 'e1',
        knativeerrordest: dest,
        knativeerrorcode: status,
      });
      expect(call?.event.attributes.has('knativeerrordata')).toBe(false);
      expect(await collected(stage)).toEqual([]);
    },
  );
});

describe('a reply that its Broker does not take now', () => {
  const notTaken = [
    { name: 'the log is full', limit: 'sizeMaxBytes', code: 'KNEAR_LOG_FULL' },
    { name: 'the quota is used up', limit: 'quotaBytes', code: 'KNEAR_QUOTA' },
  ] as const;
  test.each(notTaken)(
    '($name) is offered again for a second, then the subscriber is asked again, a failed attempt later',
    async ({ limit, code }) => {
      const stage = brokerStage({ retry: linear(1, 300) });
      stage.deliverer.script(SUBSCRIBER, 'hang');
      await stage.produce('orders', INPUT);
      const wide = stage.limits[limit];
      stage.limits[limit] = 0;
      stage.deliverer.answer(replied(REPLY));
      await stage.pass(1_299);
      expect(stage.deliverer.calls.map(({ atMs }) => atMs)).toEqual([0]);
      stage.limits[limit] = wide;
      await stage.pass(1);
      expect(stage.deliverer.calls.map(({ atMs }) => atMs)).toEqual([0, 1_300]);
      stage.deliverer.answer(replied(REPLY));
      await stage.pass(0);
      const refusedOnce = [`reply 1 ${BROKER} 503 ${code}`, `refused reply ${code} 503`];
      expect(stage.trail()).toEqual([
        `deliver 1 ${SUBSCRIBER} 200`,
        // At once, and after 200, 400, 600, 800 and 1,000 ms.
        ...Array.from({ length: 6 }, () => refusedOnce).flat(),
        'wait deliver 1 300 memory',
        `deliver 2 ${SUBSCRIBER} 200`,
        'end delivered',
      ]);
      expect(await collected(stage)).toHaveLength(1);
    },
  );

  test('is kept as soon as there is room, without asking the subscriber again', async () => {
    const stage = brokerStage({ retry: retries(1) });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', INPUT);
    stage.limits.sizeMaxBytes = 0;
    stage.deliverer.answer(replied(REPLY));
    await stage.pass(500);
    stage.limits.sizeMaxBytes = 1e12;
    await stage.pass(99);
    expect(await collected(stage)).toHaveLength(0);
    await stage.pass(1);
    expect(await collected(stage)).toHaveLength(1);
    expect(stage.deliverer.calls).toHaveLength(1);
    expect(stage.trail().at(-1)).toBe('end delivered');
  });

  test('counts on top of the attempts that failed before, and gives up with its own code', async () => {
    const stage = brokerStage({ retry: retries(2), deadLetter: at(SINK) });
    stage.deliverer.script(SUBSCRIBER, rejected(500), 'hang', replied(REPLY));
    await stage.produce('orders', INPUT);
    stage.limits.sizeMaxBytes = 0;
    stage.deliverer.answer(replied(REPLY));
    await stage.pass(3_000);
    expect(stage.deliverer.callsTo(SUBSCRIBER)).toHaveLength(3);
    expect(stage.trail().filter((line) => !/^(reply|refused)/.test(line))).toEqual([
      `deliver 1 ${SUBSCRIBER} 500 KNEAR_REJECTED`,
      'wait deliver 1 0 memory',
      `deliver 2 ${SUBSCRIBER} 200`,
      'wait deliver 2 0 memory',
      `deliver 3 ${SUBSCRIBER} 200`,
      `dead-letter 1 ${SINK} 202`,
      'end dead-lettered KNEAR_LOG_FULL',
    ]);
    expect(attributesOf(stage.deliverer.callsTo(SINK)[0]?.event ?? REPLY)).toMatchObject({
      id: 'e1',
      knativeerrordest: BROKER,
      knativeerrorcode: '503',
    });
  });

  test('because the Broker is not there is offered again, too', async () => {
    const stage = brokerStage({ reply: inside('later'), retry: retries(1) });
    await stage.produce('orders', INPUT);
    expect(stage.trail().slice(0, 3)).toEqual([
      `deliver 1 ${SUBSCRIBER} 200`,
      `reply 1 ${addressOf('later')} 404 KNEAR_INGRESS_UNKNOWN`,
      'refused reply KNEAR_INGRESS_UNKNOWN 404',
    ]);
    stage.apply({ ingresses: [broker('orders'), broker('later')] });
    await stage.pass(200);
    expect(stage.trail().at(-1)).toBe('end delivered');
    expect(stage.deliverer.calls).toHaveLength(1);
  });

  test('is remembered when the process stops, so that the subscriber is not asked again', async () => {
    const before = brokerStage({ retry: retries(1) });
    before.deliverer.script(SUBSCRIBER, 'hang');
    await before.produce('orders', INPUT);
    before.limits.sizeMaxBytes = 0;
    before.deliverer.answer(replied(REPLY));
    await before.pass(300);
    const after = await before.restart();
    await after.pass(1_000);
    expect(after.deliverer.calls).toEqual([]);
    expect(after.trail()).toEqual(['end delivered']);
    const [reply] = await collected(after);
    expect(attributesOf(reply ?? INPUT)).toMatchObject({ id: 'r1', knativebrokerttl: 254 });
    expect(reply?.headers.get('knative-note')).toBe('mine');
  });
});

describe('a reply that its Channel does not take now', () => {
  test('is retried as the Subscription says, without asking the subscriber again', async () => {
    const stage = channelStage({ retry: linear(2, 400) });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('steps', INPUT);
    stage.limits.sizeMaxBytes = 0;
    stage.deliverer.answer(replied(REPLY));
    await stage.pass(1_000);
    stage.limits.sizeMaxBytes = 1e12;
    await stage.pass(200);
    expect(stage.deliverer.calls).toHaveLength(1);
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 200`,
      `reply 1 ${CHANNEL} 503 KNEAR_LOG_FULL`,
      'refused reply KNEAR_LOG_FULL 503',
      'wait reply 1 400 memory',
      `reply 2 ${CHANNEL} 503 KNEAR_LOG_FULL`,
      'refused reply KNEAR_LOG_FULL 503',
      'wait reply 2 800 memory',
      'end delivered',
    ]);
    expect(await collected(stage)).toEqual([REPLY]);
  });

  test.each([
    { name: 'to the dead letter sink', deadLetter: at(SINK), end: 'dead-lettered' },
    { name: 'to be parked', deadLetter: undefined, end: 'parked' },
  ])('in the end sends the input $name', async ({ deadLetter, end }) => {
    const stage = channelStage({ retry: retries(1), ...(deadLetter && { deadLetter }) });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('steps', INPUT);
    stage.limits.sizeMaxBytes = 0;
    stage.deliverer.answer(replied(REPLY));
    await stage.pass(0);
    expect(stage.trail().at(-1)).toBe(`end ${end} KNEAR_LOG_FULL`);
    const kept = [
      ...stage.deliverer.callsTo(SINK).map(({ event }) => event),
      ...(await stage.log.parked('egress', { limit: 9 })).map(({ event }) => event),
    ];
    expect(kept.map(idOf)).toEqual(['e1']);
    expect(stage.deliverer.callsTo(SUBSCRIBER)).toHaveLength(1);
  });

  test('waits in the log, if long, with its input, through a crash', async () => {
    const before = channelStage({ retry: linear(1, 5_000), deadLetter: at(SINK) });
    before.deliverer.script(SUBSCRIBER, 'hang');
    await before.produce('steps', INPUT);
    before.limits.sizeMaxBytes = 0;
    before.deliverer.answer(replied(REPLY));
    await before.pass(1_000);
    const after = before.crash();
    after.limits.sizeMaxBytes = 0;
    await after.pass(5_000);
    expect(after.trail()).toEqual([
      `reply 2 ${CHANNEL} 503 KNEAR_LOG_FULL`,
      'refused reply KNEAR_LOG_FULL 503',
      `dead-letter 1 ${SINK} 202`,
      'end dead-lettered KNEAR_LOG_FULL',
    ]);
    expect(after.deliverer.calls.map(({ event }) => [idOf(event), event.data?.toString()])).toEqual(
      [['e1', 'question']],
    );
  });
});
