/**
 * What somebody removes from the server by hand. Goal: whoever may have lost something is told, once, and the log goes on; where it
 * cannot know what is missing, it does not start.
 */
import { describe, expect } from '@jest/globals';
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect, headers as newHeaders } from '@nats-io/transport-node';

import { HOLD, tokenOf } from '../../broker/log/jetstream/names.ts';
import type { Delivery, Interest } from '../../core/ports/event-log.ts';
import { eventually } from '../e2e/eventually.ts';
import {
  eventTo,
  idOf,
  interestOf,
  pull,
  pullFor,
  pullOne,
  useProcesses,
  type Process,
} from './jetstream-adapter.ts';

const IDLE = { ready: 0, delayed: 0, parked: 0 };
const INTERESTS = ['a', 'b'].map((egressId) => interestOf(egressId));

const scene = useProcesses('gap');
const { test } = scene;

async function open(interests: readonly Interest[] = INTERESTS): Promise<Process> {
  const process = await scene.open();
  await process.log.prepare(interests);
  return process;
}

const gapsOf = ({ happenings }: Process): string[] =>
  happenings.flatMap((happening) => (happening.kind === 'log-gap' ? [happening.egressId] : []));

/** Somebody does this to the server while no knear runs. */
async function whileAway(act: (jsm: JetStreamManager) => Promise<unknown>): Promise<void> {
  const nc = await connect({ servers: scene.server.url });
  await act(await jetstreamManager(nc));
  await nc.close();
}

/** A settle that may be called without its delivery. */
function bound(delivery: Delivery): Pick<Delivery, 'event' | 'settle'> {
  return { event: delivery.event, settle: (outputs) => delivery.settle(outputs) };
}

const durableOf = (egressId: string, part = ''): string => `${tokenOf(egressId)}_0${part}`;

describe('a durable that is deleted', () => {
  test('while its egress waits: that is told once, the egress goes on, and others notice nothing (N14)', async () => {
    const process = await open();
    const { log, jsm } = process;
    const [pulled, pulledByOther] = [pull(log, 'a'), pull(log, 'b')];
    await process.nc.flush();
    await jsm.consumers.delete(scene.stream, durableOf('a'));
    await eventually('told', () => gapsOf(process).length > 0);
    await eventually('made', () =>
      jsm.consumers.info(scene.stream, durableOf('a')).catch(() => undefined),
    );
    await log.append('orders', [eventTo('a b', 'one')]);
    for (const delivery of [...(await pulled), ...(await pulledByOther)]) {
      expect(idOf(delivery)).toBe('one');
      await delivery.settle([]);
    }
    await process.restart();
    expect(gapsOf(process)).toEqual(['a']);
  });

  test('while nobody pulls: it is found out by the next pull (N14)', async () => {
    const process = await open();
    const { log, jsm } = process;
    await log.append('orders', [eventTo('a b', 'lost'), eventTo('a b', 'lost too')]);
    await jsm.consumers.delete(scene.stream, durableOf('a'));
    const pulled = pull(log, 'a');
    await eventually('told', () => gapsOf(process).join() === 'a');
    await eventually('made', () =>
      jsm.consumers.info(scene.stream, durableOf('a')).catch(() => undefined),
    );
    await log.append('orders', [eventTo('a', 'next')]);
    const [next] = await pulled;
    expect(next && idOf(next)).toBe('next');
    await next?.settle([]);
    expect((await pull(log, 'b', 2)).map(idOf)).toEqual(['lost', 'lost too']);
    // N6: what is lost waits no more.
    const ending = new AbortController();
    const waiting = log.pull('a', 1, { signal: ending.signal });
    await eventually('idle', () => log.lag('a').ready === 0, { otherwise: () => log.lag('a') });
    ending.abort();
    await waiting;
  });

  test('while somebody holds what it gave: that can still be settled', async () => {
    const process = await open();
    const { log, jsm } = process;
    await log.append('orders', [eventTo('a', 'one')]);
    const one = await pullOne(log, 'a');
    await jsm.consumers.delete(scene.stream, durableOf('a'));
    const output = { kind: 'event', ingressId: 'orders', event: eventTo('b', 'answer') } as const;
    await one.settle([output]);
    expect(idOf(await pullOne(log, 'b'))).toBe('answer');
    expect(await pullFor(log, 'a', 300)).toEqual([]);
  });

  test('which was one of several lines: the others keep what they have', async () => {
    const process = await open([interestOf('a', { isOrdered: true })]);
    const { log, jsm } = process;
    await jsm.consumers.delete(scene.stream, durableOf('a', '-3'));
    const keys = Array.from({ length: 64 }, (_, key) => `key-${key}`);
    const pulled = pull(log, 'a', 64 + 16);
    pulled.catch(() => undefined);
    await eventually('told', () => gapsOf(process).join() === 'a');
    await eventually('made', () =>
      jsm.consumers.info(scene.stream, durableOf('a', '-3')).catch(() => undefined),
    );
    await log.append(
      'orders',
      keys.map((key) => eventTo('a', key, { key })),
    );
    const ids = new Set<string>();
    while (ids.size < 64) {
      const { signal } = new AbortController();
      for (const delivery of await log.pull('a', 16, { signal })) {
        ids.add(idOf(delivery));
        await delivery.settle([]);
      }
    }
    expect(ids).toEqual(new Set(keys));
  });

  test('while no knear runs: that is told at its next start, and not again (N14)', async () => {
    const first = await open();
    await first.log.append('orders', [eventTo('a b', 'one')]);
    await first.close();
    const other = await open([]);
    expect(gapsOf(other)).toEqual([]);
    await other.jsm.consumers.delete(scene.stream, durableOf('a'));
    await other.close();
    const second = await open();
    expect(gapsOf(second)).toEqual(['a']);
    await second.log.append('orders', [eventTo('a', 'two')]);
    expect(idOf(await pullOne(second.log, 'a'))).toBe('two');
    expect(idOf(await pullOne(second.log, 'b'))).toBe('one');
    await second.close();
    expect(gapsOf(await open())).toEqual([]);
  });

  test('and made anew by somebody, while no knear runs: it is not the one that it was (N14)', async () => {
    const first = await open();
    await first.close();
    const other = await open([]);
    const { config } = await other.jsm.consumers.info(scene.stream, durableOf('a'));
    await other.jsm.consumers.delete(scene.stream, durableOf('a'));
    const metadata = { ...config.metadata, 'knear-birth': 'another' };
    await other.jsm.consumers.add(scene.stream, { ...config, metadata });
    await other.close();
    expect(gapsOf(await open())).toEqual(['a']);
  });
});

describe('a stream that is deleted', () => {
  test('while knear runs: all of its egresses are told of, and go on in another one', async () => {
    const process = await open();
    const { log, jsm } = process;
    const positions = await log.append('orders', [eventTo('a b', 'lost')]);
    const [lost] = await pull(log, 'a');
    await lost?.settle([]);
    const pulled = ['a', 'b'].map((egressId) => pull(log, egressId));
    await process.nc.flush();
    await (await pulled[1])?.[0]?.settle([]);
    const again = pull(log, 'b');
    await process.nc.flush();
    await jsm.streams.delete(scene.stream);
    await eventually('told', () => gapsOf(process).toSorted().join() === 'a,b', {
      otherwise: () => gapsOf(process),
    });
    const after = await eventually('taken', () =>
      log.append('orders', [eventTo('a b', 'next')]).catch(() => undefined),
    );
    // No position is used twice.
    expect(Math.min(...after)).toBeGreaterThan(Math.max(...positions));
    for (const delivery of [...((await pulled[0]) ?? []), ...(await again)]) {
      expect(idOf(delivery)).toBe('next');
      await delivery.settle([]);
    }
    expect([log.lag('a'), log.lag('b')]).toEqual([IDLE, IDLE]);
    // Also what a settle leaves has a place again.
    await expect(jsm.consumers.info(scene.stream, HOLD)).resolves.toMatchObject({ name: HOLD });
  });

  test('while no knear runs: all of its egresses are told of at the next start', async () => {
    const first = await open();
    await first.log.append('orders', [eventTo('a b', 'lost')]);
    await first.close();
    const other = await open([]);
    await other.jsm.streams.delete(scene.stream);
    await other.close();
    const second = await open();
    expect(gapsOf(second).toSorted()).toEqual(['a', 'b']);
    await second.log.append('orders', [eventTo('a', 'next')]);
    expect(idOf(await pullOne(second.log, 'a'))).toBe('next');
  });
});

describe('the consumer that holds retries and parked entries', () => {
  test('deleted while the log runs, is made again, and all of the stream are told (N8)', async () => {
    const process = await open();
    const { log, jsm, clock } = process;
    await log.append('orders', [eventTo('a', 'later')]);
    const { event, settle } = bound(await pullOne(log, 'a'));
    const work = { phase: 'deliver', attempt: 1, firstAtMs: 0 } as const;
    await settle([{ kind: 'work', work, event, dueAtMs: clock.nowMs() + 3_600_000 }]);
    expect(log.lag('a')).toEqual({ ...IDLE, delayed: 1 });
    await jsm.consumers.delete(scene.stream, HOLD);
    await eventually('told', () => gapsOf(process).length > 0);
    expect(gapsOf(process).toSorted()).toEqual(['a', 'b']);
    await expect(jsm.consumers.info(scene.stream, HOLD)).resolves.toMatchObject({ name: HOLD });
    // What the server still has is counted anew.
    const { state } = await jsm.streams.info(scene.stream);
    await eventually('counted', () => log.lag('a').delayed === state.messages);
  });
});

describe('what the log does not start with', () => {
  test('a stream that has lost what holds its retries and parked entries: KNEAR_LOG_CORRUPT (N8)', async () => {
    const first = await open();
    await first.log.append('orders', [eventTo('a', 'one')]);
    await first.close();
    await whileAway((jsm) => jsm.consumers.delete(scene.stream, HOLD));
    await expect(open()).rejects.toMatchObject({
      code: 'KNEAR_LOG_CORRUPT',
      message: expect.stringContaining(scene.stream),
    });
  });

  test('but an empty one gets it back (N8)', async () => {
    await (await open()).close();
    await whileAway((jsm) => jsm.consumers.delete(scene.stream, HOLD));
    const { jsm } = await open();
    await expect(jsm.consumers.info(scene.stream, HOLD)).resolves.toMatchObject({ name: HOLD });
  });

  test.each([{ which: 'of events' }, { which: 'of all' }])(
    'a stream $which of a later format: KNEAR_LOG_FORMAT',
    async ({ which }) => {
      const first = await open();
      const name = which === 'of all' ? `${scene.prefix.toUpperCase()}_LOG` : scene.stream;
      const { config } = await first.jsm.streams.info(name);
      const metadata = { ...config.metadata, 'knear-format': '2' };
      await first.jsm.streams.update(name, { ...config, metadata });
      await first.close();
      await expect(open()).rejects.toMatchObject({ code: 'KNEAR_LOG_FORMAT' });
    },
  );
});

test('a stream says whose events it has, and keeps them over restarts (N7)', async () => {
  const process = await open();
  const { log, jsm } = process;
  const { config } = await jsm.streams.info(scene.stream);
  expect(Object.entries(config.metadata ?? {})).toContainEqual([
    `knear-ingress-${tokenOf('orders')}`,
    'orders',
  ]);
  await log.append('orders', [eventTo('a', 'one')]);
  await process.restart();
  // In a pool now: what it has already it keeps.
  const pooled = { egressId: 'a', isOrdered: false, sources: [{ ingressId: 'orders', pool: 'p' }] };
  await process.log.prepare([pooled]);
  await process.log.append('orders', [eventTo('a', 'two')]);
  expect((await pull(process.log, 'a', 2)).map(idOf)).toEqual(['one', 'two']);
});

describe('a message that nobody can read (N16)', () => {
  /** Where events of `orders` go, on which somebody else publishes. */
  const foreign = async ({ nc }: Process, knear?: string) => {
    const headers = newHeaders();
    if (knear !== undefined) headers.set('knear', knear);
    const subject = `${scene.prefix}.${tokenOf('orders')}.e.${tokenOf('orders')}.3.i.test:order`;
    const answer = await nc.request(subject, 'not ours', { headers, timeout: 5_000 });
    return answer.json<{ readonly seq: number }>().seq;
  };

  test.each([
    { name: 'a foreign one', knear: undefined, code: 'KNEAR_LOG_CORRUPT' },
    { name: 'one of a later version', knear: '{"v":2,"t":1}', code: 'KNEAR_LOG_FORMAT' },
  ])(
    '$name is told to who pulls, each time that it comes, and stops nothing',
    async ({ knear, code }) => {
      const process = await open();
      const { log, jsm } = process;
      await log.append('orders', [eventTo('a', 'before')]);
      const sequence = await foreign(process, knear);
      await log.append('orders', [eventTo('a', 'after')]);
      const seen: string[] = [];
      const look = async () => {
        const signal = AbortSignal.timeout(100);
        for (const delivery of await log.pull('a', 10, { signal })) {
          seen.push(idOf(delivery));
          await delivery.settle([]);
        }
      };
      const told = () =>
        look().then(
          () => false,
          (error: unknown) => expect(error).toMatchObject({ code }) ?? true,
        );
      const countTold = async () => {
        let count = 0;
        await eventually('told twice', async () => {
          if (await told()) count += 1;
          return count === 2;
        });
      };
      await countTold();
      expect(seen).toEqual(['before', 'after']);
      // What to do about it: somebody deletes it, and it comes no more.
      await jsm.streams.deleteMessage(scene.stream, sequence);
      await log.append('orders', [eventTo('a', 'last')]);
      await eventually('the last', async () => {
        await told();
        return seen.includes('last');
      });
      // It may have come once more just before.
      await told();
      expect(await pullFor(log, 'a', 1_000)).toEqual([]);
    },
  );
});
