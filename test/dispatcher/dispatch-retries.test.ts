/** When the next attempt is made, where the wait is spent, and what of it a restart remembers. */
import { describe, expect, test } from '@jest/globals';
import type { Outcome } from '../../core/ports/deliverer.ts';
import type { Egress, RetryPolicy } from '../../core/topology.ts';
import { accepted, rejected, unreachable } from '../fakes/scripted-deliverer.ts';
import {
  eventOf,
  exponential,
  linear,
  retries,
  SINK,
  SUBSCRIBER,
  at,
  subscription,
  trigger,
} from './resources.ts';
import { Stage } from './stage.ts';

const EVENT = eventOf('e1', { headers: { 'knative-note': 'kept' }, data: 'as it came' });

async function failingStage(
  parts: Partial<Egress>,
  options: { answers?: Outcome[]; backoffMaxMs?: number } = {},
): Promise<Stage> {
  const { answers = [rejected(500)], ...more } = options;
  const stage = new Stage({ egresses: [trigger(parts)], ...more });
  stage.deliverer.script(SUBSCRIBER, ...answers);
  await stage.produce('orders', EVENT);
  return stage;
}

const waitsOf = (stage: Stage) => stage.trail().filter((line) => line.startsWith('wait'));

describe('backoff', () => {
  const cases: {
    name: string;
    retry: RetryPolicy;
    atMs: number[];
    where: string[];
    backoffMaxMs?: number;
  }[] = [
    {
      name: 'none: at once',
      retry: retries(3),
      atMs: [0, 0, 0, 0],
      where: Array<string>(3).fill('memory'),
    },
    {
      name: 'exponential: d, 2d, 4d',
      retry: exponential(3, 200),
      atMs: [0, 200, 600, 1_400],
      where: ['memory', 'memory', 'memory'],
    },
    {
      name: 'linear: d, 2d, 3d',
      retry: linear(3, 300),
      atMs: [0, 300, 900, 1_800],
      where: ['memory', 'memory', 'memory'],
    },
    {
      name: 'a wait of a second stays in memory, a longer one goes to the log',
      retry: linear(2, 1_000),
      atMs: [0, 1_000, 3_000],
      where: ['memory', 'log'],
    },
    {
      name: 'a millisecond over a second goes to the log',
      retry: linear(1, 1_001),
      atMs: [0, 1_001],
      where: ['log'],
    },
    {
      name: 'the longest backoff bounds each wait',
      retry: exponential(4, 400),
      backoffMaxMs: 700,
      atMs: [0, 400, 1_100, 1_800, 2_500],
      where: Array<string>(4).fill('memory'),
    },
    {
      name: 'hours are waited for in the log',
      retry: linear(1, 7_200_000),
      backoffMaxMs: 7_200_000,
      atMs: [0, 7_200_000],
      where: ['log'],
    },
  ];
  test.each(cases)('$name', async ({ retry, atMs, where, backoffMaxMs }) => {
    const stage = await failingStage({ retry }, backoffMaxMs ? { backoffMaxMs } : {});
    await stage.pass(7_300_000);
    expect(stage.deliverer.calls.map((call) => call.atMs)).toEqual(atMs);
    expect(waitsOf(stage)).toEqual(
      where.map((place, index) => {
        const delayMs = (atMs[index + 1] ?? 0) - (atMs[index] ?? 0);
        return `wait deliver ${index + 1} ${delayMs} ${place}`;
      }),
    );
    expect(stage.trail().at(-1)).toBe('end parked KNEAR_REJECTED');
  });
});

describe('Retry-After', () => {
  const cases: {
    name: string;
    outcome: Outcome;
    retryAfterMaxMs?: number;
    waits: string;
  }[] = [
    {
      name: 'is waited for in memory when it is short',
      outcome: rejected(503, { retryAfterMs: 700 }),
      retryAfterMaxMs: 60_000,
      waits: '700 memory',
    },
    {
      name: 'is waited for in the log when it is long',
      outcome: rejected(429, { retryAfterMs: 5_000 }),
      retryAfterMaxMs: 60_000,
      waits: '5000 log',
    },
    {
      name: 'is cut to the longest that is honoured',
      outcome: rejected(503, { retryAfterMs: 5_000 }),
      retryAfterMaxMs: 2_000,
      waits: '2000 log',
    },
    {
      name: 'does not shorten the backoff',
      outcome: rejected(503, { retryAfterMs: 10 }),
      retryAfterMaxMs: 60_000,
      waits: '100 memory',
    },
    {
      name: 'is ignored where it is switched off',
      outcome: rejected(503, { retryAfterMs: 5_000 }),
      retryAfterMaxMs: 0,
      waits: '100 memory',
    },
    {
      name: 'is ignored unless it is asked for',
      outcome: rejected(503, { retryAfterMs: 5_000 }),
      waits: '100 memory',
    },
    {
      name: 'means nothing with another status',
      outcome: rejected(500, { retryAfterMs: 5_000 }),
      retryAfterMaxMs: 60_000,
      waits: '100 memory',
    },
  ];
  test.each(cases)('$name', async ({ outcome, retryAfterMaxMs, waits }) => {
    const retry = { ...linear(1, 100), ...(retryAfterMaxMs !== undefined && { retryAfterMaxMs }) };
    const stage = await failingStage({ retry }, { answers: [outcome, accepted] });
    const waitMs = Number(waits.split(' ')[0]);
    expect(waitsOf(stage)).toEqual([`wait deliver 1 ${waits}`]);
    await stage.pass(waitMs - 1);
    expect(stage.deliverer.calls).toHaveLength(1);
    await stage.pass(1);
    expect(stage.deliverer.calls).toHaveLength(2);
    expect(stage.trail().at(-1)).toBe('end delivered');
  });
});

describe('a wait in the log', () => {
  test('holds no open delivery, no lease and no slot', async () => {
    const stage = await failingStage({ retry: linear(1, 5_000) });
    await stage.pass(1_000);
    expect(stage.dispatcher.open).toBe(0);
    expect(stage.loop().slots.inUse).toBe(0);
    expect(stage.log.lag('egress')).toEqual({ ready: 0, delayed: 1, parked: 0 });
  });

  test('survives a crash: the next attempt is the second, when it is due, with the same event', async () => {
    const before = await failingStage({ retry: linear(2, 5_000) });
    await before.pass(2_000);
    const after = before.crash();
    after.deliverer.script(SUBSCRIBER, rejected(500), accepted);
    await after.pass(2_999);
    expect(after.deliverer.calls).toEqual([]);
    await after.pass(60_000);
    expect(after.trail()).toEqual([
      `deliver 2 ${SUBSCRIBER} 500 KNEAR_REJECTED`,
      'wait deliver 2 10000 log',
      `deliver 3 ${SUBSCRIBER} 202`,
      'end delivered',
    ]);
    expect(after.deliverer.calls[0]?.event.data?.toString()).toBe('as it came');
    expect(after.deliverer.calls[0]?.event.headers.get('knative-note')).toBe('kept');
  });

  test('that was over while nothing ran is over at the start', async () => {
    const before = await failingStage({ retry: linear(1, 5_000) });
    await before.pass(1_000);
    before.clock.jump(3_600_000);
    const after = before.crash();
    await after.pass(0);
    expect(after.trail()).toEqual([`deliver 2 ${SUBSCRIBER} 202`, 'end delivered']);
  });

  test('takes the first failure along when retries end in another process', async () => {
    const before = await failingStage({ retry: linear(1, 5_000), deadLetter: at(SINK) });
    await before.pass(0);
    const after = before.crash();
    after.deliverer.script(SUBSCRIBER, rejected(400, { body: Buffer.from('no') }));
    await after.pass(6_000);
    expect(after.trail()).toEqual([
      `deliver 2 ${SUBSCRIBER} 400 KNEAR_REJECTED`,
      `dead-letter 1 ${SINK} 202`,
      'end dead-lettered KNEAR_REJECTED',
    ]);
  });
});

describe('a wait in memory', () => {
  test('is forgotten by a crash: its attempts are made again', async () => {
    const before = await failingStage({ retry: linear(1, 900) });
    const after = before.crash();
    after.deliverer.script(SUBSCRIBER, rejected(500));
    await after.pass(1_000);
    expect(after.trail().slice(0, 2)).toEqual([
      `deliver 1 ${SUBSCRIBER} 500 KNEAR_REJECTED`,
      'wait deliver 1 900 memory',
    ]);
  });

  test('becomes Work when the process stops in good order, still due at its time', async () => {
    const before = await failingStage({ retry: linear(1, 900) });
    await before.pass(300);
    const after = await before.restart();
    await after.pass(599);
    expect(after.deliverer.calls).toEqual([]);
    await after.pass(1);
    expect(after.trail()).toEqual([`deliver 2 ${SUBSCRIBER} 202`, 'end delivered']);
  });

  test('holds no slot', async () => {
    const stage = await failingStage({ retry: linear(1, 900) });
    expect([stage.dispatcher.open, stage.loop().slots.inUse]).toEqual([1, 0]);
  });

  test('D5: past a bound an egress, waits become Work however short they are', async () => {
    const stage = new Stage({ egresses: [trigger({ retry: linear(1, 1_000) })], slotsMax: 1 });
    stage.deliverer.script(SUBSCRIBER, unreachable('KNEAR_UNREACHABLE'));
    const events = Array.from({ length: 100 }, (_, index) => eventOf(`e${index}`));
    await stage.produce('orders', ...events);
    // The one slot, and half of the 64 that may be open beside it.
    const inMemory = waitsOf(stage).filter((line) => line.endsWith('memory'));
    expect([inMemory.length, waitsOf(stage).length]).toEqual([33, 100]);
    expect(stage.loop().open).toBe(33);
    await stage.pass(1_000);
    expect(await stage.log.parked('egress', { limit: 200 })).toHaveLength(100);
  });
});

test('a Subscription waits as a Trigger does', async () => {
  const stage = new Stage({ egresses: [subscription({ retry: exponential(2, 800) })] });
  stage.deliverer.script(SUBSCRIBER, rejected(500), rejected(500), accepted);
  await stage.produce('steps', EVENT);
  await stage.pass(2_400);
  expect(stage.trail()).toEqual([
    `deliver 1 ${SUBSCRIBER} 500 KNEAR_REJECTED`,
    'wait deliver 1 800 memory',
    `deliver 2 ${SUBSCRIBER} 500 KNEAR_REJECTED`,
    'wait deliver 2 1600 log',
    `deliver 3 ${SUBSCRIBER} 202`,
    'end delivered',
  ]);
});

test('when the wall clock jumps, delays stretch or shrink and nothing is lost', async () => {
  const stage = await failingStage(
    { retry: linear(1, 5_000) },
    { answers: [rejected(500), accepted] },
  );
  await stage.pass(1_000);
  stage.clock.jump(-60_000);
  await stage.pass(5_000);
  expect(stage.deliverer.calls).toHaveLength(1);
  await stage.pass(90_000);
  expect(stage.trail().at(-1)).toBe('end delivered');
});
