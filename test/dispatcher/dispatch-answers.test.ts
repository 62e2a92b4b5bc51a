/** What each answer of a subscriber leads to, for a Trigger and for a Subscription. */
import { describe, expect, test } from '@jest/globals';
import type { Outcome } from '../../core/ports/deliverer.ts';
import type { Egress } from '../../core/topology.ts';
import {
  accepted,
  malformed,
  rejected,
  replied,
  unreachable,
} from '../fakes/scripted-deliverer.ts';
import { eventOf, idOf, inside, retries, SUBSCRIBER, subscription, trigger } from './resources.ts';
import { Stage } from './stage.ts';

const EGRESSES = [
  { name: 'a Trigger', egress: trigger },
  { name: 'a Subscription', egress: subscription },
];

/** One event meets these answers; everything told about it must name it and its egress. */
async function trailOf(egress: Egress, ...answers: Outcome[]): Promise<string[]> {
  const stage = new Stage({ egresses: [egress] });
  stage.deliverer.script(SUBSCRIBER, ...answers);
  await stage.produce(egress.ingressId, eventOf('e1'));
  const told = stage.happenings.filter(({ kind }) =>
    ['attempted', 'waiting', 'ended'].includes(kind),
  );
  for (const happening of told) {
    if (!('egress' in happening && 'event' in happening)) continue;
    expect([idOf(happening.event), happening.egress]).toEqual(['e1', egress]);
  }
  expect(stage.bugs).toEqual([]);
  expect(stage.dispatcher.open).toBe(0);
  expect(stage.log.lag('egress').ready).toBe(0);
  return stage.trail();
}

describe.each(EGRESSES)('for $name', ({ egress }) => {
  test('D1: an empty 2xx ends the delivery as delivered, once', async () => {
    expect(await trailOf(egress(), accepted)).toEqual([
      `deliver 1 ${SUBSCRIBER} 202`,
      'end delivered',
    ]);
  });

  test('a reply that nobody wants is dropped', async () => {
    const { reply: _, ...withoutReply } = egress();
    expect(await trailOf(withoutReply, replied(eventOf('r1')))).toEqual([
      `deliver 1 ${SUBSCRIBER} 200`,
      'end delivered',
    ]);
  });

  const retried: { name: string; outcome: Outcome; line: string }[] = [
    ...[404, 408, 409, 429, 500, 501, 502, 503, 504, 599].map((status) => ({
      name: `status ${status}`,
      outcome: rejected(status),
      line: `${status} KNEAR_REJECTED`,
    })),
    ...(['KNEAR_UNREACHABLE', 'KNEAR_RESET', 'KNEAR_TIMEOUT'] as const).map((code) => ({
      name: code,
      outcome: unreachable(code),
      line: `0 ${code}`,
    })),
    {
      name: 'an invalid reply',
      outcome: malformed('KNEAR_REPLY_INVALID'),
      line: '200 KNEAR_REPLY_INVALID',
    },
  ];
  test.each(retried)('$name is tried again', async ({ outcome, line }) => {
    expect(
      await trailOf(egress({ retry: retries(1), reply: inside('orders') }), outcome, accepted),
    ).toEqual([
      `deliver 1 ${SUBSCRIBER} ${line}`,
      'wait deliver 1 0 memory',
      `deliver 2 ${SUBSCRIBER} 202`,
      'end delivered',
    ]);
  });

  test.each(retried)('$name that goes on uses up the retries', async ({ outcome, line }) => {
    const code = line.split(' ')[1];
    expect(await trailOf(egress({ retry: retries(1), reply: inside('orders') }), outcome)).toEqual([
      `deliver 1 ${SUBSCRIBER} ${line}`,
      'wait deliver 1 0 memory',
      `deliver 2 ${SUBSCRIBER} ${line}`,
      `end parked ${code}`,
    ]);
  });

  const final: { name: string; outcome: Outcome; line: string }[] = [
    ...[300, 301, 307, 400, 401, 403, 405, 406, 410, 413, 415, 422, 451].map((status) => ({
      name: `status ${status}`,
      outcome: rejected(status),
      line: `${status} KNEAR_REJECTED`,
    })),
    {
      name: 'an address that cannot be called',
      outcome: unreachable('KNEAR_SUBSCRIBER_INVALID'),
      line: '0 KNEAR_SUBSCRIBER_INVALID',
    },
    {
      name: 'a reply over the limit',
      outcome: malformed('KNEAR_REPLY_TOO_LARGE'),
      line: '200 KNEAR_REPLY_TOO_LARGE',
    },
  ];
  test.each(final)('$name is never tried again', async ({ outcome, line }) => {
    const code = line.split(' ')[1];
    expect(await trailOf(egress({ retry: retries(5), reply: inside('orders') }), outcome)).toEqual([
      `deliver 1 ${SUBSCRIBER} ${line}`,
      `end parked ${code}`,
    ]);
  });

  test('nothing is retried unless retries are asked for', async () => {
    expect(await trailOf(egress(), rejected(503))).toEqual([
      `deliver 1 ${SUBSCRIBER} 503 KNEAR_REJECTED`,
      'end parked KNEAR_REJECTED',
    ]);
  });
});

describe('a 2xx with a body that is no event', () => {
  test('is a failed attempt of a Trigger', async () => {
    const foreign = malformed('KNEAR_REPLY_FOREIGN');
    expect(await trailOf(trigger({ retry: retries(1) }), foreign)).toEqual([
      `deliver 1 ${SUBSCRIBER} 200 KNEAR_REPLY_FOREIGN`,
      'wait deliver 1 0 memory',
      `deliver 2 ${SUBSCRIBER} 200 KNEAR_REPLY_FOREIGN`,
      'end parked KNEAR_REPLY_FOREIGN',
    ]);
  });

  test.each(['KNEAR_REPLY_INVALID', 'KNEAR_REPLY_TOO_LARGE'] as const)(
    'is ignored where nobody wants a reply, also if it looks like an event: %s',
    async (code) => {
      expect(await trailOf(subscription({ retry: retries(1) }), malformed(code))).toEqual([
        `deliver 1 ${SUBSCRIBER} 200`,
        'end delivered',
      ]);
    },
  );

  test('is ignored by a Subscription', async () => {
    const foreign = malformed('KNEAR_REPLY_FOREIGN');
    expect(await trailOf(subscription({ retry: retries(1) }), foreign)).toEqual([
      `deliver 1 ${SUBSCRIBER} 200`,
      'end delivered',
    ]);
  });
});

test('an attempt and an end tell how long they took', async () => {
  const stage = new Stage({ egresses: [trigger()] });
  stage.deliverer.script(SUBSCRIBER, 'hang');
  await stage.produce('orders', eventOf('e1'));
  await stage.pass(1_234);
  stage.deliverer.answer(accepted);
  await stage.pass(0);
  expect(stage.happenings).toContainEqual(
    expect.objectContaining({ kind: 'attempted', durationMs: 1_234 }),
  );
  expect(stage.happenings).toContainEqual(expect.objectContaining({ kind: 'ended', ageMs: 1_234 }));
});

describe('D1: what a delivery came to is told after the log took it', () => {
  test('parked is told when the entry is durable, not before', async () => {
    const stage = new Stage({ egresses: [trigger()] });
    stage.deliverer.script(SUBSCRIBER, 'hang');
    await stage.produce('orders', eventOf('e1'));
    stage.store.isGated = true;
    stage.deliverer.answer(rejected(400));
    await stage.pass(1_000);
    expect(stage.trail()).not.toContain('end parked KNEAR_REJECTED');
    stage.store.pass();
    await stage.pass(0);
    expect(stage.trail()).toContain('end parked KNEAR_REJECTED');
    expect(await stage.log.parked('egress', { limit: 10 })).toHaveLength(1);
  });

  test('a settle that the log undoes is not told: the delivery comes back and ends once', async () => {
    const stage = new Stage({ egresses: [trigger()] });
    stage.deliverer.script(SUBSCRIBER, 'hang', accepted);
    await stage.produce('orders', eventOf('e1'));
    stage.store.isGated = true;
    stage.deliverer.answer(rejected(400));
    await stage.pass(1);
    stage.store.fail();
    stage.store.isGated = false;
    await stage.pass(2_000);
    expect(stage.trail()).toEqual([
      `deliver 1 ${SUBSCRIBER} 400 KNEAR_REJECTED`,
      `deliver 1 ${SUBSCRIBER} 202`,
      'end delivered',
    ]);
    expect(await stage.log.parked('egress', { limit: 10 })).toEqual([]);
    expect(stage.bugs).toEqual([]);
  });
});
