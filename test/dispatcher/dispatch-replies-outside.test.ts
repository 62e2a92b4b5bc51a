/** A reply to an address outside: sent like an event, with retries of its own. */
import { describe, expect, test } from '@jest/globals';
import type { Egress } from '../../core/topology.ts';
import { accepted, rejected, replied, unreachable } from '../fakes/scripted-deliverer.ts';
import {
  at,
  attributesOf,
  eventOf,
  idOf,
  linear,
  OUTSIDE,
  retries,
  SINK,
  SUBSCRIBER,
  subscription,
} from './resources.ts';
import { Stage } from './stage.ts';

const INPUT = eventOf('e1', { data: 'question' });
const REPLY = eventOf('r1', {
  type: 'answer',
  headers: { 'knative-note': 'mine' },
  data: 'answer',
});

describe('a reply to an address outside', () => {
  const stageOf = (parts: Partial<Egress> = {}) => {
    const stage = new Stage({ egresses: [subscription({ reply: at(OUTSIDE), ...parts })] });
    stage.deliverer.script(SUBSCRIBER, replied(REPLY));
    return stage;
  };

  test('is sent there, and what comes back is ignored', async () => {
    const stage = stageOf();
    stage.deliverer.script(OUTSIDE, replied(eventOf('reply to a reply')));
    await stage.produce('steps', INPUT);
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 200`,
      `reply 1 ${OUTSIDE} 200`,
      'end delivered',
    ]);
  });

  test('has retries of its own, without asking the subscriber again', async () => {
    const stage = stageOf({ retry: linear(2, 400) });
    stage.deliverer.script(SUBSCRIBER, rejected(503), replied(REPLY));
    stage.deliverer.script(OUTSIDE, unreachable('KNEAR_RESET'), rejected(500), accepted);
    await stage.produce('steps', INPUT);
    await stage.pass(1_600);
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 503 KNEAR_REJECTED`,
      'wait deliver 1 400 memory',
      `deliver 2 ${SUBSCRIBER} 200`,
      `reply 1 ${OUTSIDE} 0 KNEAR_RESET`,
      'wait reply 1 400 memory',
      `reply 2 ${OUTSIDE} 500 KNEAR_REJECTED`,
      'wait reply 2 800 memory',
      `reply 3 ${OUTSIDE} 202`,
      'end delivered',
    ]);
  });

  test('that fails for good sends the input to the dead letter sink, with that address', async () => {
    const stage = stageOf({ retry: retries(3), deadLetter: at(SINK) });
    stage.deliverer.script(OUTSIDE, rejected(422, { body: Buffer.from('no') }));
    await stage.produce('steps', INPUT);
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 200`,
      `reply 1 ${OUTSIDE} 422 KNEAR_REJECTED`,
      `dead-letter 1 ${SINK} 202`,
      'end dead-lettered KNEAR_REJECTED',
    ]);
    expect(attributesOf(stage.deliverer.callsTo(SINK)[0]?.event ?? REPLY)).toMatchObject({
      id: 'e1',
      knativeerrordest: OUTSIDE,
      knativeerrorcode: '422',
      knativeerrordata: Buffer.from('no').toString('base64'),
    });
  });

  test('waits in the log, if long, and survives a crash with its headers', async () => {
    const before = stageOf({ retry: linear(1, 5_000) });
    before.deliverer.script(OUTSIDE, rejected(500));
    await before.produce('steps', INPUT);
    expect(before.trail().at(-1)).toBe('wait reply 1 5000 log');
    const after = before.crash();
    await after.pass(5_000);
    expect(after.trail()).toEqual([`reply 2 ${OUTSIDE} 202`, 'end delivered']);
    expect(after.happenings.flatMap((each) => ('event' in each ? [idOf(each.event)] : []))).toEqual(
      ['e1', 'e1'],
    );
    expect(after.deliverer.calls[0]?.event.headers).toEqual(REPLY.headers);
    expect(after.deliverer.calls[0]?.event.data?.toString()).toBe('answer');
  });

  test('names the input, not the reply, in all that is told', async () => {
    const stage = stageOf({ retry: linear(1, 100) });
    stage.deliverer.script(OUTSIDE, rejected(500), accepted);
    await stage.produce('steps', INPUT);
    await stage.pass(100);
    const named = stage.happenings.flatMap((each) => ('event' in each ? [idOf(each.event)] : []));
    expect(new Set(named)).toEqual(new Set(['e1']));
  });
});
