/** Claimed data on its way through the dispatcher: what a store in trouble costs, what lost data leaves, who holds replies. */
import { describe, expect, test } from '@jest/globals';
import { payloadId } from '../../core/event.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import type { Outcome, PayloadFault } from '../../core/ports/deliverer.ts';
import type { Egress } from '../../core/topology.ts';
import { accepted, rejected, replied, unreachable } from '../fakes/scripted-deliverer.ts';
import {
  at,
  attributesOf,
  broker,
  channel,
  eventOf,
  idOf,
  inside,
  linear,
  ofType,
  OUTSIDE,
  retries,
  SINK,
  SUBSCRIBER,
  subscription,
  trigger,
} from './resources.ts';
import { Stage } from './stage.ts';
import type { StageOptions } from './stage.ts';

function refOf(name: string): PayloadRef {
  return {
    v: 1,
    store: 'file',
    tenant: 'shop',
    key: `2026010100/${name.padEnd(22, '-')}`,
    sizeBytes: 300_000,
    sha256: 'x'.repeat(43),
    createdMs: 0,
  };
}

/** An event with a ticket for its data. */
function claimedEvent(id: string, more: Parameters<typeof eventOf>[1] = {}): CloudEvent {
  return { ...eventOf(id, more), data: refOf(id) };
}

function trouble(code: PayloadFault): Outcome {
  return { kind: 'payload', code, detail: 'what the store said' };
}

const AWAY = trouble('KNEAR_PAYLOAD_STORE_AWAY');

async function stageWith(
  parts: Partial<Egress>,
  answers: readonly Outcome[],
  event = claimedEvent('e1'),
): Promise<Stage> {
  const stage = new Stage({ egresses: [trigger(parts)] });
  stage.deliverer.script(SUBSCRIBER, ...answers);
  await stage.produce('orders', event);
  return stage;
}

const timesOf = (stage: Stage) => stage.deliverer.calls.map(({ atMs }) => atMs);

describe('a payload that cannot be read now (K33)', () => {
  test('is asked for again after 0.2, 0.4 and 0.8 s in memory, then after 10 s in the log', async () => {
    const stage = await stageWith({}, [AWAY, AWAY, AWAY, AWAY, accepted]);
    await stage.pass(11_400);
    expect(timesOf(stage)).toEqual([0, 200, 600, 1_400, 11_400]);
    expect(stage.trail()).toEqual([
      'stalled KNEAR_PAYLOAD_STORE_AWAY',
      'wait deliver 0 200 memory',
      'stalled KNEAR_PAYLOAD_STORE_AWAY',
      'wait deliver 0 400 memory',
      'stalled KNEAR_PAYLOAD_STORE_AWAY',
      'wait deliver 0 800 memory',
      'stalled KNEAR_PAYLOAD_STORE_AWAY',
      'wait deliver 0 10000 log',
      `deliver 1 ${SUBSCRIBER} 202`,
      'end delivered',
    ]);
  });

  test('is waited for as long as it takes, though there are no retries and nobody else to tell', async () => {
    const stage = await stageWith({ exhausted: 'drop' }, [AWAY]);
    await stage.pass(3_600_000);
    expect(stage.trail().filter((line) => line.startsWith('end'))).toEqual([]);
    stage.deliverer.script(SUBSCRIBER, accepted);
    await stage.pass(10_000);
    expect(stage.trail().slice(-2)).toEqual([`deliver 1 ${SUBSCRIBER} 202`, 'end delivered']);
  });

  test('never makes the store work more than once in 200 ms for one event', async () => {
    const stage = await stageWith({ retry: linear(3, 1) }, [AWAY]);
    await stage.pass(3_600_000);
    const times = timesOf(stage);
    const waits = times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0));
    expect(Math.min(...waits)).toBe(200);
    expect(Math.max(...waits)).toBe(10_000);
  });

  test.each([
    'KNEAR_PAYLOAD_STORE_AWAY',
    'KNEAR_PAYLOAD_STORE_DENIED',
    'KNEAR_PAYLOAD_STORE_FULL',
    'KNEAR_PAYLOAD_QUOTA',
    'KNEAR_UPLOADS_BUSY',
  ] as const)('(%s) is no attempt: the retries are for the subscriber', async (code) => {
    const answers = [trouble(code), rejected(500), trouble(code), rejected(500)];
    const stage = await stageWith({ retry: retries(1) }, answers);
    await stage.pass(1_000);
    expect(stage.trail()).toEqual([
      `stalled ${code}`,
      'wait deliver 0 200 memory',
      `deliver 1 ${SUBSCRIBER} 500 KNEAR_REJECTED`,
      'wait deliver 1 0 memory',
      `stalled ${code}`,
      'wait deliver 1 400 memory',
      `deliver 2 ${SUBSCRIBER} 500 KNEAR_REJECTED`,
      'end parked KNEAR_REJECTED',
    ]);
  });

  test('costs the subscriber no slot while it is waited for, and none of its slots for good', async () => {
    const stage = await stageWith({}, [AWAY, accepted]);
    expect([stage.loop().open, stage.loop().slots.inUse]).toEqual([1, 0]);
    const { limit } = stage.loop().slots;
    await stage.pass(200);
    expect([stage.loop().open, stage.loop().slots.inUse, stage.loop().slots.limit]).toEqual([
      0,
      0,
      limit,
    ]);
  });

  test('keeps the place of an event in order: its successors wait behind it, in memory', async () => {
    const of = (key: string, id: string) => claimedEvent(id, { attributes: { partitionkey: key } });
    const stage = new Stage({ egresses: [trigger({ order: 'key' })] });
    stage.deliverer.script(SUBSCRIBER, AWAY, AWAY, AWAY, AWAY, AWAY, AWAY, AWAY, AWAY, accepted);
    await stage.produce('orders', of('a', 'a1'), of('a', 'a2'));
    await stage.pass(60_000);
    const calls = stage.deliverer.calls.map(({ event }) => idOf(event));
    expect(calls).toEqual([...Array<string>(9).fill('a1'), 'a2']);
    expect(stage.trail().filter((line) => line.endsWith('log'))).toEqual([]);
    expect(timesOf(stage).slice(0, 6)).toEqual([0, 200, 600, 1_400, 11_400, 21_400]);
    expect(stage.trail()).not.toContain('lease-lost 1');
  });

  test('past the bound of waits in memory is waited for in the log (D5)', async () => {
    const stage = new Stage({ egresses: [trigger()], slotsMax: 1 });
    stage.deliverer.script(SUBSCRIBER, AWAY);
    const events = Array.from({ length: 100 }, (_, index) => claimedEvent(`e${index}`));
    await stage.produce('orders', ...events);
    const waits = stage.trail().filter((line) => line.startsWith('wait'));
    expect(waits).toHaveLength(100);
    expect(waits.filter((line) => line === 'wait deliver 0 200 log')).toHaveLength(67);
    stage.deliverer.script(SUBSCRIBER, accepted);
    await stage.pass(200);
    expect(stage.trail().filter((line) => line === 'end delivered')).toHaveLength(100);
  });

  test('is waited for across a crash: the ticket and the attempts so far are in the log', async () => {
    const answers = [rejected(500), AWAY, AWAY, AWAY, AWAY];
    const before = await stageWith({ retry: retries(2) }, answers);
    await before.pass(5_000);
    const after = before.crash();
    await after.pass(10_000);
    expect(after.deliverer.calls.map(({ event }) => event.data)).toEqual([refOf('e1')]);
    expect(after.trail()).toEqual([`deliver 2 ${SUBSCRIBER} 202`, 'end delivered']);
  });

  test('is waited for across a stop in good order, until it is due', async () => {
    const before = await stageWith({}, [AWAY, AWAY, AWAY]);
    await before.pass(700);
    const after = await before.restart();
    await after.pass(699);
    expect(after.deliverer.calls).toEqual([]);
    await after.pass(1);
    expect(after.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 202`, 'end delivered']);
  });

  test('is not waited for when the egress is gone', async () => {
    const stage = await stageWith({}, [AWAY]);
    stage.apply({ egresses: [] });
    await stage.pass(20_000);
    expect(stage.deliverer.calls).toHaveLength(1);
    expect(stage.trail().at(-1)).toBe('discarded gone 1');
  });

  test('is no verdict after the end of the lease: the event is offered again (D4)', async () => {
    const stage = new Stage({ egresses: [trigger({ deadLetter: at(SINK) })] });
    stage.deliverer.script(SUBSCRIBER, 'hang', 'hang', accepted);
    await stage.produce('orders', claimedEvent('e1'));
    for (const outcome of [AWAY, trouble('KNEAR_PAYLOAD_MISSING')]) {
      stage.clock.freeze(15_000);
      stage.deliverer.answer(outcome);
      await stage.pass(1_000);
    }
    expect(stage.trail()).toEqual([
      'stalled KNEAR_PAYLOAD_STORE_AWAY',
      'lease-lost 1',
      `deliver 1 ${SUBSCRIBER} 0 KNEAR_PAYLOAD_MISSING`,
      'lease-lost 2',
      `deliver 1 ${SUBSCRIBER} 202`,
      'end delivered',
    ]);
  });

  test('on its way to the dead letter sink is no attempt there either', async () => {
    const stage = new Stage({ egresses: [trigger({ deadLetter: at(SINK) })] });
    stage.deliverer.script(SUBSCRIBER, rejected(400));
    stage.deliverer.script(SINK, AWAY, accepted);
    await stage.produce('orders', claimedEvent('e1'));
    await stage.pass(200);
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 400 KNEAR_REJECTED`,
      'stalled KNEAR_PAYLOAD_STORE_AWAY',
      'wait dead-letter 0 200 memory',
      `dead-letter 1 ${SINK} 202`,
      'end dead-lettered KNEAR_REJECTED',
    ]);
    const letters = stage.deliverer.callsTo(SINK).map(({ event }) => event.data);
    expect(letters).toEqual([refOf('e1'), refOf('e1')]);
  });
});

describe('a payload that is lost', () => {
  const LOST = [
    'KNEAR_PAYLOAD_MISSING',
    'KNEAR_PAYLOAD_CORRUPT',
    'KNEAR_PAYLOAD_REDACTED',
  ] as const;
  const left = (code: string) => ({
    knativeerrordest: SUBSCRIBER,
    knativeerrorcode: '500',
    knativeerrordata: Buffer.from('what the store said').toString('base64'),
    knearerror: code,
    knearsize: '300000',
    knearsha256: 'x'.repeat(43),
  });

  test.each(LOST)('(%s) goes to the dead letter sink at once, without data (K37)', async (code) => {
    const parts = { retry: retries(5), deadLetter: at(SINK) };
    const event = claimedEvent('e1', {
      attributes: { extension: 'x' },
      headers: { 'knative-note': 'kept' },
    });
    const stage = await stageWith(parts, [trouble(code)], event);
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 0 ${code}`,
      `dead-letter 1 ${SINK} 202`,
      `end dead-lettered ${code}`,
    ]);
    const letter = stage.deliverer.callsTo(SINK)[0]?.event ?? event;
    expect(letter.data).toBeUndefined();
    expect(letter.headers).toEqual(event.headers);
    expect(attributesOf(letter)).toEqual({
      ...attributesOf(event),
      knativearrivaltime: '2026-01-01T00:00:00.000Z',
      ...left(code),
    });
  });

  test.each(LOST)(
    '(%s) goes without data to a sink that is a Channel of ours, too (K37)',
    async (code) => {
      const grave = subscription({ id: 'grave', ingressId: 'dead', isPaused: true });
      const stage = new Stage({
        ingresses: [broker('orders'), channel('dead')],
        egresses: [trigger({ deadLetter: inside('dead') }), grave],
      });
      stage.deliverer.script(SUBSCRIBER, trouble(code));
      await stage.produce('orders', claimedEvent('e1'));
      const [delivery] = await stage.waitingFor('grave');
      expect(delivery?.event.data).toBeUndefined();
      expect(attributesOf(delivery?.event ?? eventOf('none'))).toMatchObject({
        id: 'e1',
        ...left(code),
      });
      expect(stage.trail('egress')).toEqual([
        `deliver 1 ${SUBSCRIBER} 0 ${code}`,
        `end dead-lettered ${code}`,
      ]);
    },
  );

  test.each(LOST)('(%s) is parked with its ticket where there is no sink', async (code) => {
    const stage = await stageWith({ retry: retries(5) }, [trouble(code)]);
    expect(stage.trail()).toEqual([`deliver 1 ${SUBSCRIBER} 0 ${code}`, `end parked ${code}`]);
    const [entry] = await stage.log.parked('egress', { limit: 9 });
    expect(entry?.event.data).toEqual(refOf('e1'));
    expect(entry?.failure).toMatchObject({ code, status: 500, dest: SUBSCRIBER });
  });

  test.each(LOST)('(%s) is parked with its ticket where the sink fails', async (code) => {
    const stage = new Stage({ egresses: [trigger({ deadLetter: at(SINK) })] });
    stage.deliverer.script(SUBSCRIBER, trouble(code));
    stage.deliverer.script(SINK, rejected(400));
    await stage.produce('orders', claimedEvent('e1'));
    const [entry] = await stage.log.parked('egress', { limit: 9 });
    expect(entry?.event.data).toEqual(refOf('e1'));
    expect(entry?.failure.code).toBe(code);
  });

  test.each(LOST)(
    '(%s) only on its way to the sink is told to the sink, once, beside what the subscriber said (K37)',
    async (code) => {
      const stage = new Stage({ egresses: [trigger({ deadLetter: at(SINK) })] });
      stage.deliverer.script(SUBSCRIBER, rejected(422));
      stage.deliverer.script(SINK, trouble(code), accepted);
      await stage.produce('orders', claimedEvent('e1'));
      expect(stage.trail()).toEqual([
        `deliver 1 ${SUBSCRIBER} 422 KNEAR_REJECTED`,
        `dead-letter 1 ${SINK} 0 ${code}`,
        `dead-letter 1 ${SINK} 202`,
        `end dead-lettered ${code}`,
      ]);
      const letter = stage.deliverer.callsTo(SINK)[1]?.event ?? eventOf('none');
      expect(letter.data).toBeUndefined();
      expect(attributesOf(letter)).toMatchObject({
        knativeerrordest: SUBSCRIBER,
        knativeerrorcode: '422',
        knearerror: code,
        knearsize: '300000',
      });
    },
  );

  test('is found again by a replay, if it is there again', async () => {
    const stage = await stageWith({}, [trouble('KNEAR_PAYLOAD_MISSING'), accepted]);
    const entries = await stage.log.parked('egress', { limit: 9 });
    const positions = entries.map(({ position }) => position);
    const replaying = stage.log.replay('egress', positions);
    await stage.pass(0);
    expect(await replaying).toBe(1);
    expect(stage.trail().slice(-2)).toEqual([`deliver 1 ${SUBSCRIBER} 202`, 'end delivered']);
  });

  test('of a reply is not that of its event, which the sink gets with its data (K37)', async () => {
    const stage = new Stage({ egresses: [trigger({ reply: at(OUTSIDE), deadLetter: at(SINK) })] });
    stage.deliverer.script(SUBSCRIBER, replied(claimedEvent('r1')));
    stage.deliverer.script(OUTSIDE, trouble('KNEAR_PAYLOAD_MISSING'));
    await stage.produce('orders', claimedEvent('e1'));
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 200`,
      `reply 1 ${OUTSIDE} 0 KNEAR_REPLY_INVALID`,
      `dead-letter 1 ${SINK} 202`,
      'end dead-lettered KNEAR_REPLY_INVALID',
    ]);
    const letter = stage.deliverer.callsTo(SINK)[0]?.event ?? eventOf('none');
    expect(letter.data).toEqual(refOf('e1'));
    expect(attributesOf(letter)).toMatchObject({ id: 'e1', knativeerrordest: OUTSIDE });
    expect(letter.attributes.has('knearerror')).toBe(false);
  });

  test('is told from data that was refused: the sink gets that with its event', async () => {
    const stage = await stageWith({ deadLetter: at(SINK) }, [rejected(413)]);
    const letter = stage.deliverer.callsTo(SINK)[0]?.event ?? eventOf('none');
    expect(letter.data).toEqual(refOf('e1'));
    expect(letter.attributes.has('knearerror')).toBe(false);
  });
});

describe('a large reply', () => {
  const REPLY = claimedEvent('r1', { type: 'answer' });
  const asking = (parts: Partial<Egress> = {}) => trigger({ filter: ofType('order'), ...parts });
  const names = (stage: Stage) => stage.released.map(payloadId);
  const ONE = [payloadId(refOf('r1'))];

  const ends: {
    name: string;
    options: StageOptions;
    answers?: Outcome[];
    reply?: Outcome[];
    end: string;
    ingress?: string;
  }[] = [
    { name: 'that its Broker takes', options: { egresses: [asking()] }, end: 'end delivered' },
    {
      name: 'that an address outside takes',
      options: { egresses: [asking({ reply: at(OUTSIDE) })] },
      end: 'end delivered',
    },
    {
      name: 'that an address outside refuses',
      options: { egresses: [asking({ reply: at(OUTSIDE) })] },
      reply: [rejected(400)],
      end: 'end parked KNEAR_REJECTED',
    },
    {
      name: 'that waits in the log for an address outside',
      options: { egresses: [asking({ reply: at(OUTSIDE), retry: linear(1, 5_000) })] },
      reply: [unreachable('KNEAR_RESET'), accepted],
      end: 'end delivered',
    },
    {
      name: 'that waits in the log for the store to be there',
      options: { egresses: [asking({ reply: at(OUTSIDE) })] },
      reply: [AWAY, AWAY, AWAY, AWAY, accepted],
      end: 'end delivered',
    },
    {
      name: 'that nobody wants',
      options: { egresses: [subscription()] },
      end: 'end delivered',
      ingress: 'steps',
    },
    {
      name: 'that its Broker refuses for good',
      options: {
        ingresses: [broker('orders'), broker('small', { eventMaxBytes: 1_000 })],
        egresses: [asking({ reply: inside('small') })],
      },
      end: 'end parked KNEAR_EVENT_TOO_LARGE',
    },
    {
      name: 'of a dead letter sink',
      options: { egresses: [asking({ deadLetter: at(SUBSCRIBER) })] },
      answers: [rejected(400), replied(REPLY)],
      end: 'end dead-lettered KNEAR_REJECTED',
    },
  ];

  test.each(ends)(
    '$name is let go once, when its delivery is over',
    async ({
      options,
      answers = [replied(REPLY)],
      reply = [accepted],
      end,
      ingress = 'orders',
    }) => {
      const stage = new Stage(options);
      stage.deliverer.script(SUBSCRIBER, ...answers);
      stage.deliverer.script(OUTSIDE, ...reply);
      await stage.produce(ingress, claimedEvent('e1'));
      await stage.pass(30_000);
      expect(stage.trail('egress').at(-1)).toBe(end);
      expect(names(stage)).toEqual(ONE);
      expect(stage.bugs).toEqual([]);
    },
  );

  test('is let go only after the log has taken it', async () => {
    const stage = new Stage({
      egresses: [asking(), trigger({ id: 'other', filter: ofType('answer'), isPaused: true })],
    });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', claimedEvent('e1'));
    stage.store.isGated = true;
    stage.deliverer.answer(replied(REPLY));
    await stage.pass(0);
    expect(stage.store.pending).toBeDefined();
    expect(names(stage)).toEqual([]);
    stage.store.isGated = false;
    stage.store.pass();
    await stage.pass(0);
    expect(names(stage)).toEqual(ONE);
  });

  test('is let go when the log could not take it, and the next one with it', async () => {
    const stage = new Stage({
      egresses: [asking(), trigger({ id: 'other', filter: ofType('answer'), isPaused: true })],
    });
    stage.deliverer.script(SUBSCRIBER, 'hang', replied(claimedEvent('r2', { type: 'answer' })));
    await stage.produce('orders', claimedEvent('e1'));
    stage.store.isGated = true;
    stage.deliverer.answer(replied(REPLY));
    await stage.pass(0);
    stage.store.fail();
    stage.store.isGated = false;
    await stage.pass(60_000);
    expect(stage.trail('egress').at(-1)).toBe('end delivered');
    expect(names(stage)).toEqual([...ONE, payloadId(refOf('r2'))]);
  });

  test('that is not taken for a second is let go, and the one after it, each once', async () => {
    const stage = new Stage({ egresses: [asking({ reply: inside('later'), retry: retries(1) })] });
    const second = claimedEvent('r2', { type: 'answer' });
    stage.deliverer.script(SUBSCRIBER, replied(REPLY), replied(second));
    await stage.produce('orders', claimedEvent('e1'));
    await stage.pass(10_000);
    expect(stage.trail('egress').at(-1)).toBe('end parked KNEAR_INGRESS_UNKNOWN');
    expect(names(stage).toSorted()).toEqual([...ONE, payloadId(refOf('r2'))]);
  });

  test('is let go when its delivery is given back, because the dispatcher stops', async () => {
    const stage = new Stage({ egresses: [asking({ reply: at(OUTSIDE), retry: linear(1, 900) })] });
    stage.deliverer.script(SUBSCRIBER, replied(REPLY));
    stage.deliverer.script(OUTSIDE, rejected(503));
    await stage.produce('orders', claimedEvent('e1'));
    expect(names(stage)).toEqual([]);
    const after = await stage.restart();
    expect(names(stage)).toEqual(ONE);
    await after.pass(900);
    // It was in the log by then.
    expect(after.deliverer.callsTo(OUTSIDE).map(({ event }) => event.data)).toEqual([refOf('r1')]);
  });

  test('is let go when its egress is gone meanwhile', async () => {
    const stage = new Stage({ egresses: [asking({ reply: at(OUTSIDE), retry: linear(1, 900) })] });
    stage.deliverer.script(SUBSCRIBER, replied(REPLY));
    stage.deliverer.script(OUTSIDE, rejected(503));
    await stage.produce('orders', claimedEvent('e1'));
    stage.apply({ egresses: [] });
    await stage.pass(20_000);
    expect(names(stage)).toEqual(ONE);
  });

  test('that comes after the end of the lease is let go, though the next holder has one of its own', async () => {
    const stage = new Stage({ egresses: [subscription({ reply: at(OUTSIDE) })] });
    stage.deliverer.script(SUBSCRIBER, 'hang', replied(claimedEvent('r2')));
    await stage.produce('steps', claimedEvent('e1'));
    stage.clock.freeze(15_000);
    stage.deliverer.answer(replied(REPLY));
    await stage.pass(1_000);
    expect(stage.deliverer.callsTo(OUTSIDE).map(({ event }) => idOf(event))).toEqual(['r2']);
    expect(names(stage)).toEqual([...ONE, payloadId(refOf('r2'))]);
  });

  test('that cannot be kept is no attempt: the subscriber is asked again, its retries untouched', async () => {
    const full = trouble('KNEAR_PAYLOAD_STORE_FULL');
    const stage = await stageWith({ filter: ofType('order') }, [full, replied(REPLY)]);
    await stage.pass(200);
    expect(stage.trail()).toEqual([
      'stalled KNEAR_PAYLOAD_STORE_FULL',
      'wait deliver 0 200 memory',
      `deliver 1 ${SUBSCRIBER} 200`,
      'end delivered',
    ]);
    expect(names(stage)).toEqual(ONE);
  });

  test('that is small needs nobody to let it go', async () => {
    const stage = await stageWith({ filter: ofType('order') }, [
      replied(eventOf('r1', { type: 'answer', data: 'small' })),
    ]);
    await stage.pass(0);
    expect([stage.trail().at(-1), names(stage)]).toEqual(['end delivered', []]);
  });
});

describe('memory that open deliveries may take', () => {
  /** How many of twenty deliveries, by as many slots, are under way when all together may take 1 MiB. */
  async function underWay(make: (id: string) => CloudEvent): Promise<number> {
    const egresses = ['a', 'b', 'c', 'd', 'e'].map((id) => trigger({ id }));
    const stage = new Stage({ egresses, open: { countMax: 1_000, bytesMax: 1024 * 1024 } });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', ...['e1', 'e2', 'e3', 'e4'].map(make));
    return stage.deliverer.hangingAt(SUBSCRIBER);
  }

  test('bounds claimed ones by the pieces that are read of each, not by their tickets', async () => {
    expect(await underWay((id) => eventOf(id))).toBe(20);
    // Of 256 KiB each.
    expect(await underWay((id) => claimedEvent(id))).toBe(4);
  });
});
