/** Local hops: what goes on without the log, what does not, and that nobody can tell afterwards but by the clock. */
import { describe, expect, test } from '@jest/globals';
import { HOPS_MAX } from '../../core/rules/hop.ts';
import type { Egress, Ingress } from '../../core/topology.ts';
import { accepted, rejected, replied } from '../fakes/scripted-deliverer.ts';
import {
  at,
  attributesOf,
  broker,
  channel,
  eventOf,
  exponential,
  idOf,
  inside,
  linear,
  ofType,
  OUTSIDE,
  SINK,
  subscription,
  trigger,
} from './resources.ts';
import { Stage, type StageOptions } from './stage.ts';

const ON = { isOn: true, redoMaxMs: 1_000 };
const stepUrl = (step: number) => `http://step-${step}/in`;
const stepId = (step: number) => `step-${step}`;

/** Channels `steps-1` to `steps-n`, each with one Subscription that replies to the next one; the last one to nobody. */
function line(
  length: number,
  parts: Partial<Egress> = {},
  channels: Partial<Ingress> = {},
): { ingresses: Ingress[]; egresses: Egress[] } {
  const steps = Array.from({ length }, (_, index) => index + 1);
  return {
    ingresses: steps.map((step) => channel(`steps-${step}`, { hops: ON, ...channels })),
    egresses: steps.map((step) =>
      subscription({
        id: stepId(step),
        ingressId: `steps-${step}`,
        subscriber: at(stepUrl(step)),
        hops: ON,
        ...(step < length && { reply: inside(`steps-${step + 1}`) }),
        ...parts,
      }),
    ),
  };
}

/** Each step answers an event that is named after it. */
function stageOf(length: number, parts: Partial<Egress> = {}, options: StageOptions = {}): Stage {
  const stage = new Stage({ ...line(length, parts), ...options });
  for (let step = 1; step < length; step += 1) {
    stage.deliverer.script(stepUrl(step), replied(eventOf(`r${step}`, { data: `of ${step}` })));
  }
  return stage;
}

const calls = (stage: Stage): string[] =>
  stage.deliverer.calls.map(({ url, event }) => `${url} ${idOf(event)}`);

const hops = (stage: Stage): string[] => stage.trail().filter((each) => each.startsWith('hop'));

/** What the log holds for each egress. */
const lagOf = (stage: Stage, ...ids: string[]) => ids.map((id) => stage.log.lag(id));

describe('a line of steps in one place', () => {
  test('C1 goes through the log once, at its start, and every step is told of', async () => {
    const stage = stageOf(5);
    await stage.produce('steps-1', eventOf('e1'));
    expect(calls(stage)).toEqual([
      'http://step-1/in e1',
      'http://step-2/in r1',
      'http://step-3/in r2',
      'http://step-4/in r3',
      'http://step-5/in r4',
    ]);
    expect(hops(stage)).toEqual(Array(4).fill('hop taken'));
    for (let step = 1; step <= 5; step += 1) {
      expect(stage.trail(stepId(step)).filter((each) => !each.startsWith('hop'))).toEqual([
        `deliver 1 ${stepUrl(step)} ${step < 5 ? 200 : 202}`,
        'end delivered',
      ]);
    }
    await stage.pass(1_000);
    const committed = stage.happenings.filter(({ kind }) => kind === 'committed');
    const records = committed.map((each) => (each.kind === 'committed' ? each.records : 0));
    expect(records.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(1);
    expect(stage.bugs).toEqual([]);
  });

  test('C1 nobody is told that a step has ended while the line is under way', async () => {
    const stage = stageOf(3);
    stage.deliverer.script(stepUrl(3), 'hang');
    await stage.produce('steps-1', eventOf('e1'));
    expect(stage.trail().filter((each) => each.startsWith('end'))).toEqual([]);
    expect(stage.log.lag('step-1').ready).toBe(1);
    stage.deliverer.answer(accepted);
    await stage.pass(0);
    expect(stage.trail().filter((each) => each.startsWith('end'))).toEqual(
      Array(3).fill('end delivered'),
    );
    expect(stage.log.lag('step-1').ready).toBe(0);
  });

  test('a Trigger whose subscriber is a Channel hands on within the line', async () => {
    const { ingresses, egresses } = line(2);
    const entry = trigger({ id: 'entry', subscriber: inside('steps-1'), hops: ON });
    const stage = new Stage({
      ingresses: [broker('orders', { hops: ON }), ...ingresses],
      egresses: [entry, ...egresses],
    });
    stage.deliverer.script(stepUrl(1), replied(eventOf('r1')));
    await stage.produce('orders', eventOf('e1'));
    expect(calls(stage)).toEqual(['http://step-1/in e1', 'http://step-2/in r1']);
    expect(hops(stage)).toEqual(['hop taken', 'hop taken']);
  });

  test('C5 a reply to a Broker is stamped and counted down as at its door', async () => {
    const stage = new Stage({
      ingresses: [broker('orders', { hops: ON })],
      egresses: [
        trigger({ id: 'ask', filter: ofType('order'), hops: ON }),
        trigger({ id: 'next', filter: ofType('answer'), subscriber: at(stepUrl(2)), hops: ON }),
      ],
    });
    stage.deliverer.script('http://subscriber/in', replied(eventOf('r1', { type: 'answer' })));
    await stage.produce('orders', eventOf('e1', { attributes: { knativebrokerttl: 9 } }));
    const [call] = stage.deliverer.callsTo(stepUrl(2));
    expect(call && attributesOf(call.event)).toMatchObject({
      id: 'r1',
      knativearrivaltime: '2026-01-01T00:00:00.000Z',
    });
    expect(hops(stage)).toEqual(['hop taken']);
  });

  test('C5 two Brokers that answer each other for ever come to the end of the hop count', async () => {
    const pair = (id: string, other: string): Egress =>
      trigger({
        id,
        ingressId: id,
        subscriber: at(`http://${id}/in`),
        reply: inside(other),
        deadLetter: at(SINK),
        hops: ON,
      });
    const stage = new Stage({
      ingresses: [broker('ping', { hops: ON }), broker('pong', { hops: ON })],
      egresses: [pair('ping', 'pong'), pair('pong', 'ping')],
    });
    stage.deliverer.script('http://ping/in', replied(eventOf('x')));
    stage.deliverer.script('http://pong/in', replied(eventOf('x')));
    await stage.produce('ping', eventOf('x'));
    await stage.pass(1_000);
    expect(stage.deliverer.callsTo('http://ping/in')).toHaveLength(128);
    expect(stage.deliverer.callsTo('http://pong/in')).toHaveLength(127);
    const [letter, ...others] = stage.deliverer.callsTo(SINK);
    expect(others).toEqual([]);
    expect(letter && attributesOf(letter.event)).toMatchObject({ knativeerrorcode: '400' });
  });
});

describe('a hop that fails', () => {
  test('C3 waits and is tried again here, and the steps before are not repeated', async () => {
    const stage = stageOf(3, { retry: exponential(3, 100) });
    stage.deliverer.script(stepUrl(3), rejected(503), rejected(503), accepted);
    await stage.produce('steps-1', eventOf('e1'));
    await stage.pass(1_000);
    expect(calls(stage)).toEqual([
      'http://step-1/in e1',
      'http://step-2/in r1',
      ...Array<string>(3).fill('http://step-3/in r2'),
    ]);
    expect(stage.trail('step-3')).toEqual([
      `deliver 1 ${stepUrl(3)} 503 KNEAR_REJECTED`,
      'wait deliver 1 100 memory',
      `deliver 2 ${stepUrl(3)} 503 KNEAR_REJECTED`,
      'wait deliver 2 200 memory',
      `deliver 3 ${stepUrl(3)} 202`,
      'end delivered',
    ]);
  });

  test('C3 a longer wait is Work of its own egress, and the line before has ended', async () => {
    const stage = stageOf(3, { retry: linear(3, 2_000) });
    stage.deliverer.script(stepUrl(3), rejected(503), accepted);
    await stage.produce('steps-1', eventOf('e1'));
    expect(lagOf(stage, 'step-1', 'step-2', 'step-3')).toEqual([
      { ready: 0, delayed: 0, parked: 0 },
      { ready: 0, delayed: 0, parked: 0 },
      { ready: 0, delayed: 1, parked: 0 },
    ]);
    expect(stage.trail('step-1').at(-1)).toBe('end delivered');
    expect(stage.trail('step-3')).toEqual([
      `deliver 1 ${stepUrl(3)} 503 KNEAR_REJECTED`,
      'wait deliver 1 2000 log',
    ]);
    await stage.pass(3_000);
    expect(calls(stage).slice(3)).toEqual(['http://step-3/in r2']);
    expect(stage.trail('step-3').slice(2)).toEqual([
      `deliver 2 ${stepUrl(3)} 202`,
      'end delivered',
    ]);
  });

  test('C3 the Work outlives a crash', async () => {
    const before = stageOf(3, { retry: linear(3, 2_000) });
    before.deliverer.script(stepUrl(3), rejected(503));
    await before.produce('steps-1', eventOf('e1'));
    await before.pass(500);
    const stage = before.crash();
    await stage.pass(3_000);
    expect(calls(stage)).toEqual(['http://step-3/in r2']);
    expect(stage.trail('step-3')[0]).toBe(`deliver 2 ${stepUrl(3)} 202`);
  });

  test('is dead-lettered by its own egress, with its own input', async () => {
    const stage = stageOf(2, { deadLetter: at(SINK) });
    stage.deliverer.script(stepUrl(2), rejected(400));
    await stage.produce('steps-1', eventOf('e1'));
    const [letter] = stage.deliverer.callsTo(SINK);
    expect(letter && attributesOf(letter.event)).toMatchObject({
      id: 'r1',
      knativeerrordest: stepUrl(2),
      knativeerrorcode: '400',
    });
    expect(stage.trail('step-1').at(-1)).toBe('end delivered');
    expect(stage.trail('step-2').at(-1)).toBe('end dead-lettered KNEAR_REJECTED');
  });

  test('is parked for its own egress', async () => {
    const stage = stageOf(2);
    stage.deliverer.script(stepUrl(2), rejected(400));
    await stage.produce('steps-1', eventOf('e1'));
    await stage.pass(1_000);
    expect(lagOf(stage, 'step-1', 'step-2').map(({ parked }) => parked)).toEqual([0, 1]);
    const [entry] = await stage.log.parked('step-2', { limit: 10 });
    expect(entry && [idOf(entry.event), entry.event.data?.toString()]).toEqual(['r1', 'of 1']);
  });

  test('a reply to an address outside is Work with what it answers', async () => {
    const stage = stageOf(2, { retry: linear(3, 2_000) });
    const [first, second] = line(2, { retry: linear(3, 2_000) }).egresses;
    if (!first || !second) throw new Error('two steps');
    stage.apply({ egresses: [first, { ...second, reply: at(OUTSIDE), deadLetter: at(SINK) }] });
    stage.deliverer.script(stepUrl(2), replied(eventOf('r2')));
    stage.deliverer.script(OUTSIDE, rejected(503), rejected(400));
    await stage.produce('steps-1', eventOf('e1'));
    expect(lagOf(stage, 'step-1', 'step-2').map(({ delayed }) => delayed)).toEqual([0, 1]);
    const after = stage.crash();
    after.deliverer.script(OUTSIDE, rejected(400));
    await after.pass(5_000);
    expect(calls(after)).toEqual([`${OUTSIDE} r2`, `${SINK} r1`]);
    expect(after.bugs).toEqual([]);
    await after.pass(1_000);
    expect(lagOf(after, 'step-2')).toEqual([{ ready: 0, delayed: 0, parked: 0 }]);
  });

  test('a stop in the middle leaves the rest as Work', async () => {
    const stage = stageOf(3, { retry: exponential(5, 900) });
    stage.deliverer.script(stepUrl(2), rejected(503));
    await stage.produce('steps-1', eventOf('e1'));
    const after = await stage.restart();
    await after.pass(2_000);
    expect(calls(after)[0]).toBe('http://step-2/in r1');
    expect(after.deliverer.callsTo(stepUrl(1))).toEqual([]);
  });
});

describe('what a crash repeats', () => {
  test('C2 a crash in the middle repeats the line from its record', async () => {
    const before = stageOf(3);
    before.deliverer.script(stepUrl(3), 'hang');
    await before.produce('steps-1', eventOf('e1'));
    await before.pass(500);
    const stage = before.crash();
    await stage.pass(0);
    expect(calls(stage)).toEqual(['http://step-1/in e1']);
  });

  test('C2 past redoMaxMs of finished subscriber time the event goes through the log', async () => {
    const stage = stageOf(4, { hops: { isOn: true, redoMaxMs: 1_000 } });
    for (const step of [1, 2, 3]) stage.deliverer.script(stepUrl(step), 'hang');
    await stage.produce('steps-1', eventOf('e1'));
    for (const step of [1, 2, 3]) {
      await stage.pass(600);
      stage.deliverer.answer(replied(eventOf(`r${step}`)));
      await stage.pass(0);
    }
    // 0.6 s, then 1.2 s; from the record on it counts anew.
    expect(hops(stage)).toEqual(['hop taken', 'hop redo', 'hop taken']);
    await stage.pass(500);
    expect(calls(stage).at(-1)).toBe('http://step-4/in r3');
  });

  test('C2 the least redoMaxMs of the line holds, whoever asks for it', async () => {
    const { ingresses, egresses } = line(3);
    const [first, ...others] = egresses;
    if (!first) throw new Error('three steps');
    const cautious = { ...first, hops: { isOn: true, redoMaxMs: 100 } };
    const stage = new Stage({ ingresses, egresses: [cautious, ...others] });
    stage.deliverer.script(stepUrl(1), replied(eventOf('r1')));
    stage.deliverer.script(stepUrl(2), 'hang');
    await stage.produce('steps-1', eventOf('e1'));
    await stage.pass(200);
    stage.deliverer.answer(replied(eventOf('r2')));
    await stage.pass(500);
    expect(hops(stage)).toEqual(['hop taken', 'hop redo']);
  });

  test('C8 past its lease nothing hops', async () => {
    const stage = stageOf(2);
    stage.deliverer.script(stepUrl(1), 'hang');
    await stage.produce('steps-1', eventOf('e1'));
    stage.clock.freeze(16_000);
    stage.deliverer.answer(replied(eventOf('r1')));
    await stage.clock.calm();
    // The success in hand is settled, as far as the log still takes it; its event goes through the log.
    expect(hops(stage)).toEqual(['hop lease']);
  });
});

describe('no hop', () => {
  test('H1 C4 for an event that two want: one record, which both see', async () => {
    const { ingresses, egresses } = line(2);
    const [, second] = egresses;
    if (!second) throw new Error('two steps');
    const other = { ...second, id: 'other', subscriber: at('http://other/in') };
    const stage = new Stage({ ingresses, egresses: [...egresses, other] });
    stage.deliverer.script(stepUrl(1), replied(eventOf('r1')));
    await stage.produce('steps-1', eventOf('e1'));
    expect(hops(stage)).toEqual(['hop fan-out']);
    expect(calls(stage).slice(1).sort()).toEqual(['http://other/in r1', 'http://step-2/in r1']);
  });

  test.each<[string, number, Partial<Egress>]>([
    ['from an egress that says off', 0, { hops: { isOn: false, redoMaxMs: 1_000 } }],
    ['to an egress that says off', 1, { hops: { isOn: false, redoMaxMs: 1_000 } }],
    ['H1 from an ordered egress', 0, { order: 'key' }],
    ['H1 to an ordered egress', 1, { order: 'key' }],
    ['H2 to a paused egress', 1, { isPaused: true }],
  ])('%s', async (_, at_, parts) => {
    const { ingresses, egresses } = line(2);
    const changed = egresses.map((each, index) => (index === at_ ? { ...each, ...parts } : each));
    const stage = new Stage({ ingresses, egresses: changed });
    stage.deliverer.script(stepUrl(1), replied(eventOf('r1')));
    await stage.produce('steps-1', eventOf('e1'));
    expect(hops(stage)).not.toContain('hop taken');
    expect(stage.deliverer.callsTo(stepUrl(1))).toHaveLength(1);
    const isPaused = parts.isPaused === true;
    expect(stage.deliverer.callsTo(stepUrl(2))).toHaveLength(isPaused ? 0 : 1);
    expect(stage.log.lag('step-2').ready).toBe(isPaused ? 1 : 0);
  });

  test.each<[string, Partial<Ingress>]>([
    ['into a Channel that says off', { hops: { isOn: false, redoMaxMs: 1_000 } }],
    ['where subscribers see only what is durable', { isEarly: false }],
  ])('%s', async (_, parts) => {
    const stage = new Stage(line(2, {}, parts));
    stage.deliverer.script(stepUrl(1), replied(eventOf('r1')));
    await stage.produce('steps-1', eventOf('e1'));
    await stage.pass(100);
    expect(stage.happenings.some((each) => each.kind === 'hop' && each.result === 'taken')).toBe(
      false,
    );
    expect(calls(stage)).toEqual(['http://step-1/in e1', 'http://step-2/in r1']);
  });

  test('H3 C7 while the resources here may be old', async () => {
    let isConfirmed = false;
    const stage = stageOf(2, {}, { isConfirmed: () => isConfirmed });
    await stage.produce('steps-1', eventOf('e1'));
    isConfirmed = true;
    await stage.produce('steps-1', eventOf('e2'));
    expect(hops(stage)).toEqual(['hop unconfirmed', 'hop taken']);
    expect(stage.deliverer.callsTo(stepUrl(2))).toHaveLength(2);
  });

  test('C10 of a dead letter: it is kept before anything else', async () => {
    const { ingresses, egresses } = line(2);
    const [first, second] = egresses;
    if (!first || !second) throw new Error('two steps');
    const stage = new Stage({
      ingresses,
      egresses: [{ ...first, deadLetter: inside('steps-2') }, second],
    });
    stage.deliverer.script(stepUrl(1), rejected(400));
    await stage.produce('steps-1', eventOf('e1'));
    expect(hops(stage)).toEqual(['hop dead-letter']);
    expect(calls(stage)).toEqual(['http://step-1/in e1', 'http://step-2/in e1']);
  });

  test('H5 of a line past HOPS_MAX', async () => {
    const stage = stageOf(HOPS_MAX + 3);
    await stage.produce('steps-1', eventOf('e1'));
    await stage.pass(100);
    expect(hops(stage)).toEqual([
      ...Array<string>(HOPS_MAX).fill('hop taken'),
      'hop depth',
      'hop taken',
    ]);
    expect(stage.deliverer.callsTo(stepUrl(HOPS_MAX + 3))).toHaveLength(1);
  });

  test('H5 where open deliveries are short', async () => {
    const stage = stageOf(2, {}, { open: { countMax: 4, bytesMax: 1_000_000 }, slotsMax: 8 });
    stage.deliverer.script(stepUrl(2), 'hang');
    await stage.produce('steps-1', eventOf('e'));
    await stage.produce(
      'steps-1',
      ...Array.from({ length: 5 }, (_, index) => eventOf(`e${index}`)),
    );
    await stage.pass(100);
    expect(new Set(hops(stage))).toEqual(new Set(['hop taken', 'hop bounds']));
    expect(stage.dispatcher.open).toBeLessThanOrEqual(4);
    while (stage.deliverer.hangingAt(stepUrl(2)) > 0) {
      stage.deliverer.answer(accepted, stepUrl(2));
      await stage.pass(10);
    }
    expect(stage.deliverer.callsTo(stepUrl(2))).toHaveLength(6);
    expect(stage.dispatcher.open).toBe(0);
    expect(stage.dispatcher.openBytes).toBe(0);
  });

  test('H4 C9 where slots are short and something waits in the log', async () => {
    const stage = stageOf(2, {}, { slotsMax: 1 });
    stage.deliverer.script(stepUrl(2), 'hang');
    await stage.produce('steps-2', eventOf('d1'), eventOf('d2'));
    await stage.produce('steps-1', eventOf('e1'));
    // One slot, taken by d1; d2 waits in the log, so r1 goes behind it.
    expect(hops(stage)).toEqual(['hop behind']);
    for (let turn = 0; turn < 3; turn += 1) {
      stage.deliverer.answer(accepted, stepUrl(2));
      await stage.pass(10);
    }
    expect(stage.deliverer.callsTo(stepUrl(2)).map(({ event }) => idOf(event))).toEqual([
      'd1',
      'd2',
      'r1',
    ]);
  });

  test('H6 waits for a slot in turn, as many as there are slots', async () => {
    const stage = stageOf(2, {}, { slotsMax: 1 });
    stage.deliverer.script(stepUrl(2), 'hang');
    for (const id of ['e1', 'e2', 'e3']) await stage.produce('steps-1', eventOf(id));
    // r of e1 has the slot, that of e2 waits for it here, that of e3 in the log.
    expect(hops(stage)).toEqual(['hop taken', 'hop taken', 'hop busy']);
    for (let turn = 0; turn < 3; turn += 1) {
      stage.deliverer.answer(accepted, stepUrl(2));
      await stage.pass(10);
    }
    expect(stage.deliverer.callsTo(stepUrl(2))).toHaveLength(3);
    expect(stage.bugs).toEqual([]);
  });
});

describe('resources that change under a line', () => {
  test('C6 an egress that is gone in mid-chain keeps its event, as it would in the log', async () => {
    const stage = stageOf(3);
    stage.deliverer.script(stepUrl(1), 'hang');
    await stage.produce('steps-1', eventOf('e1'));
    const { egresses } = line(3);
    stage.apply({ egresses: egresses.filter(({ id }) => id !== 'step-2') });
    stage.deliverer.answer(replied(eventOf('r1')));
    await stage.pass(0);
    expect(hops(stage)).toEqual(['hop unmatched']);
  });

  test('C6 a subscriber that is edited while a hop waits gets the next attempt', async () => {
    const stage = stageOf(2, { retry: exponential(3, 500) });
    stage.deliverer.script(stepUrl(2), rejected(503));
    await stage.produce('steps-1', eventOf('e1'));
    const { egresses } = line(2, { retry: exponential(3, 500) });
    stage.apply({
      egresses: egresses.map((each) =>
        each.id === 'step-2' ? { ...each, subscriber: at('http://moved/in') } : each,
      ),
    });
    await stage.pass(1_000);
    expect(calls(stage).at(-1)).toBe('http://moved/in r1');
  });

  test('C6 an egress that is deleted while its hop waits: its event ends as gone', async () => {
    const stage = stageOf(2, { retry: exponential(3, 500) });
    stage.deliverer.script(stepUrl(2), rejected(503));
    await stage.produce('steps-1', eventOf('e1'));
    const { egresses } = line(2);
    stage.apply({ egresses: egresses.filter(({ id }) => id !== 'step-2') });
    await stage.pass(1_000);
    expect(stage.log.lag('step-2')).toEqual({ ready: 1, delayed: 0, parked: 0 });
    expect(stage.trail('step-1').at(-1)).toBe('end delivered');
    await stage.pass(20_000);
    expect(stage.trail()).toContain('discarded gone 1');
  });
});
