/**
 * Faults of the server, of the way to it, and of what is in it. Goal: nothing that was acknowledged is lost, nothing stays stuck,
 * and the log goes on by itself. Method: real servers, killed, frozen and full; what is lost on the way is lost in the client.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { afterEach, describe, expect, test } from '@jest/globals';

import type { CloudEvent } from '../../core/event.ts';
import { LEASE_MS, type Output } from '../../core/ports/event-log.ts';
import { eventually, pause } from '../e2e/eventually.ts';
import { openNats, type Nats, type NatsOptions } from '../servers/nats.ts';
import {
  eventTo,
  idOf,
  interestOf,
  openProcess,
  PACE,
  pull,
  pullFor,
  pullOne,
  withoutAnswers,
  type Process,
  type ProcessOptions,
} from './jetstream-adapter.ts';

/** Of one type each: what an egress has not passed over yet keeps its room. */
const INTERESTS = [
  interestOf('a', { types: ['test.order'] }),
  interestOf('b', { types: ['test.answer'] }),
];
const IDLE = { ready: 0, delayed: 0, parked: 0 };
/** Of the server; then what was given is given again. */
const LEASE_REAL_MS = LEASE_MS / PACE;

const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (let close = closers.pop(); close; close = closers.pop()) await close();
});

async function openServer(options?: NatsOptions): Promise<Nats> {
  const server = await openNats(options);
  closers.push(() => server.close());
  return server;
}

async function open(server: Nats, options: Partial<ProcessOptions> = {}): Promise<Process> {
  const process = await openProcess({ url: server.url, prefix: 'kn', ...options });
  closers.push(() => process.close());
  await process.log.prepare(INTERESTS);
  return process;
}

const answerOf = (id: string, data?: Uint8Array): CloudEvent =>
  eventTo('b', id, { type: 'test.answer', ...(data && { data }) });

const reply = (event: CloudEvent): Output => ({ kind: 'event', ingressId: 'orders', event });

function workOf(event: CloudEvent, { dueAtMs = 0, attempt = 1 } = {}): Output {
  return { kind: 'work', event, dueAtMs, work: { phase: 'deliver', attempt, firstAtMs: 1 } };
}

const codeOf = (promise: Promise<unknown> | undefined): Promise<unknown> =>
  Promise.resolve(promise).then(
    () => 'taken',
    (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
  );

describe('a server that is killed', () => {
  test('loses no acknowledged event, keeps no delivery, and pulls go on without help (N3)', async () => {
    const server = await openServer({ jetStream: 'sync_interval: always' });
    const { log } = await open(server);
    const acknowledged = new Set<string>();
    const settled = new Set<string>();
    const answered = new Set<string>();
    const [producing, consuming] = [new AbortController(), new AbortController()];

    const append = async (name: string) => {
      for (let number = 0; !producing.signal.aborted; number += 1) {
        const id = `${name}-${number}`;
        const code = await codeOf(log.append('orders', [eventTo('a', id)]));
        if (code === 'taken') acknowledged.add(id);
        await pause(5);
      }
    };
    // Each event of `a` is answered with one for `b`, which has no answer.
    const consume = async (egressId: string) => {
      const { signal } = consuming;
      while (!signal.aborted) {
        for (const delivery of await log.pull(egressId, 8, { signal })) {
          const id = idOf(delivery);
          const outputs = egressId === 'a' ? [reply(answerOf(id))] : [];
          const code = await codeOf(delivery.settle(outputs));
          if (code === 'taken') (egressId === 'a' ? settled : answered).add(id);
        }
      }
    };
    const consumers = [consume('a'), consume('a'), consume('b')];
    const producers = [append('x'), append('y')];
    const untilMore = async (count: number) => {
      const before = acknowledged.size;
      await eventually('appends', () => acknowledged.size >= before + count);
    };
    for (let round = 0; round < 2; round += 1) {
      await untilMore(20);
      await server.kill();
      await pause(100);
      await server.restart();
    }
    await untilMore(20);
    producing.abort();
    await Promise.all(producers);
    const missing = () => [...acknowledged].filter((id) => !settled.has(id) || !answered.has(id));
    await eventually('an end of all', () => missing().length === 0, { otherwise: missing });
    // N6: also the numbers of what had an unknown end.
    const lags = () => [log.lag('a'), log.lag('b')];
    await eventually('idle', () => lags().every(({ ready }) => ready === 0), { otherwise: lags });
    consuming.abort();
    await Promise.all(consumers);
  }, 60_000);

  test('while retries wait: they come when they are due, once', async () => {
    const server = await openServer({ jetStream: 'sync_interval: always' });
    const { log, clock } = await open(server);
    await log.append('orders', [eventTo('a', 'one')]);
    const one = await pullOne(log, 'a');
    await one.settle([workOf(one.event, { dueAtMs: clock.nowMs() + 20_000, attempt: 3 })]);
    expect(log.lag('a')).toEqual({ ...IDLE, delayed: 1 });
    await server.kill();
    await server.restart();
    const again = await pullOne(log, 'a');
    expect(again).toMatchObject({ attempt: 3, lease: 1 });
    await again.settle([]);
    expect(log.lag('a')).toEqual(IDLE);
    expect(await pullFor(log, 'a', LEASE_REAL_MS + 200)).toEqual([]);
  });
});

test('a server that stands still for 3 s: appends and settles wait for it, and nothing is lost or comes twice', async () => {
  const server = await openServer();
  const { log } = await open(server);
  await log.append('orders', [eventTo('a', 'before')]);
  const before = await pullOne(log, 'a');
  await server.pause();
  const appended = codeOf(log.append('orders', [eventTo('a', 'meanwhile')]));
  const settled = codeOf(before.settle([reply(answerOf('answer'))]));
  await pause(3_000);
  server.resume();
  expect(await appended).toBe('taken');
  expect(await settled).toBe('taken');
  const answers = await pullFor(log, 'b', 300);
  expect(answers.map(idOf)).toEqual(['answer']);
  const meanwhile = await pullOne(log, 'a');
  expect(idOf(meanwhile)).toBe('meanwhile');
  for (const delivery of [meanwhile, ...answers]) await delivery.settle([]);
  await eventually('idle', () => log.lag('a').ready + log.lag('b').ready === 0, {
    otherwise: () => [log.lag('a'), log.lag('b')],
  });
  expect(await pullFor(log, 'a', LEASE_REAL_MS + 200)).toEqual([]);
}, 20_000);

test.each(['connection that is cut', 'server that is started again'])(
  'a %s: a pull that waits is asked for anew at once (N3)',
  async (fault) => {
    const server = await openServer();
    const { log, nc } = await open(server, { pace: 1 });
    const pulled = pull(log, 'a');
    await nc.flush();
    if (fault === 'connection that is cut') {
      await nc.reconnect();
    } else {
      await server.kill();
      await server.restart();
    }
    await eventually('connected', () =>
      nc.flush().then(
        () => true,
        () => false,
      ),
    );
    const startMs = performance.now();
    await log.append('orders', [eventTo('a', 'one')]);
    expect((await pulled).map(idOf)).toEqual(['one']);
    // A request that is lost would be missed after 10 s.
    expect(performance.now() - startMs).toBeLessThan(5_000);
  },
  20_000,
);

describe('an answer that is lost', () => {
  test('of an append: it fails, the event may come all the same, and the numbers are right in the end (N6)', async () => {
    const server = await openServer();
    let lost = 1;
    const { log } = await open(server, {
      pace: 1,
      ncOf: withoutAnswers((subject) => /\.e\./.test(subject) && lost-- > 0),
    });
    expect(await codeOf(log.append('orders', [eventTo('a', 'one')]))).toBe('KNEAR_NATS_AWAY');
    // The producer sends it again.
    await log.append('orders', [eventTo('a', 'one')]);
    const both = await pull(log, 'a', 2);
    expect(both.map(idOf)).toEqual(['one', 'one']);
    expect(log.lag('a').ready).toBe(2);
    for (const delivery of both) await delivery.settle([]);
    expect(log.lag('a')).toEqual(IDLE);
  });

  test('of what a settle leaves: it is published again under its name, and kept once (N17, N10)', async () => {
    const server = await openServer();
    let lost = 0;
    const { log } = await open(server, {
      pace: 1,
      ncOf: withoutAnswers((subject) => /\.(e|w)\./.test(subject) && lost-- > 0),
    });
    await log.append('orders', [eventTo('a', 'one')]);
    const one = await pullOne(log, 'a');
    lost = 2;
    await one.settle([reply(answerOf('answer')), workOf(one.event, { attempt: 7 })]);
    const answers = await pullFor(log, 'b', 300);
    expect(answers.map(idOf)).toEqual(['answer']);
    const works = await pullFor(log, 'a', 300);
    expect(works.map(({ attempt }) => attempt)).toEqual([7]);
    expect([log.lag('a').ready, log.lag('b').ready]).toEqual([1, 1]);
  });
});

describe('appends at the same time', () => {
  test.each(['process', 'machine'] as const)(
    'are kept whole or not at all, also in several streams, when %s is what they survive (N18)',
    async (durability) => {
      const server = await openServer();
      const { log } = await open(server, { durability });
      const sources = ['orders', 'returns'].map((ingressId) => ({ ingressId }));
      const interests = sources.map((source) => ({
        egressId: source.ingressId,
        isOrdered: false,
        sources: [source],
      }));
      await log.prepare(interests);
      const batches = Array.from({ length: 120 }, (_, batch) => {
        const to = batch % 3 === 0 ? 'returns' : 'orders';
        const names = batch % 5 === 0 ? ['x'] : ['x', 'y', 'z'];
        const events = names.map((name) => eventTo(to, `${batch}${name}`));
        return { to, ids: events.map((event) => idOf({ event })), kept: log.append(to, events) };
      });
      for (const to of ['orders', 'returns']) {
        const own = batches.filter((batch) => batch.to === to);
        const positions = (await Promise.all(own.map(({ kept }) => kept))).flat();
        const ids = own.flatMap((batch) => batch.ids);
        const deliveries = await pull(log, to, ids.length);
        const found = new Map(deliveries.map((delivery) => [delivery.position, idOf(delivery)]));
        expect(found.size).toBe(ids.length);
        expect(positions.map((position) => found.get(position))).toEqual(ids);
      }
    },
  );
});

test('an event that does not fit into a message is refused for good, alone and in a batch', async () => {
  const server = await openServer();
  const { log } = await open(server);
  const event = eventTo('a', 'one');
  // Nine bytes each in a header.
  const attributes = new Map([...event.attributes, ['name', '日'.repeat(200_000)] as const]);
  const large = { ...event, attributes };
  for (const events of [[large], [event, large], [large, event], [event, large, event]]) {
    expect(await codeOf(log.append('orders', events))).toBe('KNEAR_EVENT_TOO_LARGE');
  }
  expect(log.lag('a')).toEqual(IDLE);
  const durable = await open(server, { durability: 'machine', prefix: 'other' });
  const appends = [event, event, large, event].map((each) => durable.log.append('orders', [each]));
  const taken = ['taken', 'taken', 'KNEAR_EVENT_TOO_LARGE', 'taken'];
  expect(await Promise.all(appends.map(codeOf))).toEqual(taken);
  await log.append('orders', [event]);
  const one = await pullOne(log, 'a');
  expect(await codeOf(one.settle([workOf(large)]))).toBe('KNEAR_EVENT_TOO_LARGE');
  await one.settle([]);
  expect(await pullFor(log, 'a', 300)).toEqual([]);
});

describe('two processes on one log', () => {
  async function openTwo(): Promise<[Process, Process]> {
    const server = await openServer();
    return [await open(server), await open(server)];
  }

  /** Held by the first until its lease is over, and then by the second as well. */
  async function heldByBoth([first, second]: [Process, Process]) {
    await first.log.append('orders', [eventTo('a', 'one')]);
    const ofFirst = await pullOne(first.log, 'a');
    // Not extended: its holder stands still.
    const ofSecond = await pullOne(second.log, 'a');
    expect([ofFirst.lease, ofSecond.lease]).toEqual([1, 2]);
    return { ofFirst, ofSecond };
  }

  test('who both settle a delivery leave its outputs once (N10)', async () => {
    const both = await openTwo();
    const { ofFirst, ofSecond } = await heldByBoth(both);
    await Promise.all([
      ofFirst.settle([reply(answerOf('answer'))]),
      ofSecond.settle([reply(answerOf('answer'))]),
    ]);
    const [first, second] = both;
    expect((await pullFor(first.log, 'b', 300)).map(idOf)).toEqual(['answer']);
    expect(await pullFor(second.log, 'b', 300)).toEqual([]);
    expect(await pullFor(second.log, 'a', LEASE_REAL_MS + 200)).toEqual([]);
  });

  test('a settle that is late adds nothing to that of another process (N4, N10)', async () => {
    const both = await openTwo();
    const { ofFirst, ofSecond } = await heldByBoth(both);
    await ofSecond.settle([workOf(ofSecond.event, { attempt: 2 })]);
    await ofFirst.settle([workOf(ofFirst.event, { attempt: 1 })]);
    const works = await pullFor(both[0].log, 'a', 500);
    expect(works.map(({ attempt }) => attempt)).toEqual([2]);
    for (const delivery of works) await delivery.settle([]);
    expect(await pullFor(both[1].log, 'a', LEASE_REAL_MS + 200)).toEqual([]);
  });

  test('a settle that is late, while another process holds the delivery, counts', async () => {
    const both = await openTwo();
    const { ofFirst } = await heldByBoth(both);
    await ofFirst.settle([]);
    for (const { log } of both) {
      expect(await pullFor(log, 'a', LEASE_REAL_MS + 200)).toEqual([]);
    }
  });

  test('numbers of either are right in the end (N6)', async () => {
    const [first, second] = await openTwo();
    await first.log.append('orders', [eventTo('a', 'one'), eventTo('a', 'two')]);
    for (const delivery of await pull(second.log, 'a', 2)) await delivery.settle([]);
    expect(second.log.lag('a')).toEqual(IDLE);
    const ending = new AbortController();
    const waiting = first.log.pull('a', 1, { signal: ending.signal });
    await eventually('idle', () => first.log.lag('a').ready === 0);
    ending.abort();
    await waiting;
  });
});

test('what is not wanted costs no wait: a thousand are passed over at once, and numbers follow (N6)', async () => {
  const server = await openServer();
  const wants = (egressId: string, _: string, { attributes }: CloudEvent) =>
    egressId === 'a' && attributes.get('wanted') === 'yes';
  const process = await open(server, { wants });
  const { log } = process;
  const unwanted = Array.from({ length: 1_000 }, (_, index) => eventTo('a', `no-${index}`));
  const wanted = eventTo('a', 'yes');
  await log.append('orders', unwanted);
  await log.append('orders', [
    { ...wanted, attributes: new Map([...wanted.attributes, ['wanted', 'yes']]) },
  ]);
  await process.restart();
  await process.log.prepare([interestOf('a')]);
  expect(process.log.lag('a').ready).toBe(1_001);
  const startMs = performance.now();
  const one = await pullOne(process.log, 'a');
  // One a look would be 50 s.
  expect(performance.now() - startMs).toBeLessThan(5_000);
  expect([idOf(one), process.log.lag('a').ready]).toEqual(['yes', 1]);
});

describe('no room', () => {
  test('in the account: KNEAR_LOG_FULL; deliveries and settles go on, and so does all when there is room', async () => {
    const server = await openServer({ jetStream: 'max_file_store: 3MB' });
    const { log } = await open(server);
    const data = Buffer.alloc(100_000);
    const fill = async () => {
      for (let number = 0; number < 100; number += 1) {
        const code = await codeOf(log.append('orders', [eventTo('a', `${number}`, { data })]));
        if (code !== 'taken') return code;
      }
      return 'never full';
    };
    expect(await fill()).toBe('KNEAR_LOG_FULL');
    const batch = ['x', 'y'].map((id) => eventTo('a', id, { data }));
    expect(await codeOf(log.append('orders', batch))).toBe('KNEAR_LOG_FULL');
    expect(log.state.kind).toBe('accepting');
    const { ready } = log.lag('a');
    expect(ready).toBeGreaterThan(10);
    const [first, ...others] = await pull(log, 'a', ready);
    // Nothing has changed, and it can still be settled otherwise.
    const answer = answerOf('answer', data);
    expect(await codeOf(first?.settle([reply(answer)]))).toBe('KNEAR_LOG_FULL');
    expect(first?.isOpen).toBe(true);
    await first?.settle([]);
    for (const delivery of others) await delivery.settle([]);
    expect(log.lag('a')).toEqual(IDLE);
    await eventually('room', async () => {
      const code = await codeOf(log.append('orders', [eventTo('a', 'again', { data })]));
      return code === 'taken';
    });
    expect(idOf(await pullOne(log, 'a'))).toMatch('again');
  });

  test('in a stream: KNEAR_QUOTA for events from outside at 90 %, for what a settle leaves at 100 %', async () => {
    const server = await openServer();
    const { log } = await open(server, { limits: { streamMaxBytes: 1_000_000 } });
    const data = Buffer.alloc(50_000);
    let taken = 0;
    const append = () => codeOf(log.append('orders', [eventTo('a', `${taken}`, { data })]));
    while ((await append()) === 'taken') taken += 1;
    expect(await append()).toBe('KNEAR_QUOTA');
    expect(log.usage.bytes).toBeGreaterThan(0.9 * log.usage.bytesMax);
    expect(log.usage.bytes).toBeLessThan(log.usage.bytesMax);
    const deliveries = await pull(log, 'a', taken);
    const codes: unknown[] = [];
    // Each settle frees as much as it takes, but its answers wait for `b`.
    for (const delivery of deliveries.slice(0, 3)) {
      codes.push(await codeOf(delivery.settle([reply(answerOf('answer', Buffer.alloc(300_000)))])));
    }
    expect(codes).toEqual(['taken', 'KNEAR_QUOTA', 'KNEAR_QUOTA']);
    for (const delivery of deliveries) await delivery.settle([]);
    await eventually('room', async () => (await append()) === 'taken');
  });
});

describe('what waits for an egress that is dead', () => {
  test('takes no memory of this process, 10,000 events of 2 KB', async () => {
    const server = await openServer();
    const { log } = await open(server);
    const data = Buffer.alloc(2_000);
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const heapBytes = () => {
      collect();
      const { heapUsed, external } = globalThis.process.memoryUsage();
      return heapUsed + external;
    };
    const append = (round: number) =>
      log.append(
        'orders',
        Array.from({ length: 500 }, (_, index) => eventTo('a', `${round}/${index}`, { data })),
      );
    await append(0);
    const before = heapBytes();
    for (let round = 1; round < 20; round += 1) await append(round);
    expect(log.lag('a').ready).toBe(10_000);
    // Somebody holds a few and does nothing with them.
    const held = await pull(log, 'a', 10);
    expect(held).toHaveLength(10);
    // Of 20 MB.
    expect(heapBytes() - before).toBeLessThan(10_000_000);
  }, 20_000);

  test('stays where it is when its timers are too many, until some of them are due (N6)', async () => {
    const server = await openServer();
    const { log, clock } = await open(server, { timersMax: 10 });
    await log.append(
      'orders',
      Array.from({ length: 30 }, (_, index) => eventTo('a', `${index}`)),
    );
    const dueAtMs = clock.nowMs() + 40_000;
    const retried: string[] = [];
    const attempts = new Map<string, number>();
    const ending = new AbortController();
    const { signal } = ending;
    const failing = (async () => {
      while (!signal.aborted) {
        for (const delivery of await log.pull('a', 5, { signal })) {
          const id = idOf(delivery);
          attempts.set(id, Math.max(attempts.get(id) ?? 0, delivery.attempt));
          if (delivery.attempt > 0) {
            retried.push(id);
            await delivery.settle([]);
          } else {
            await delivery.settle([workOf(delivery.event, { dueAtMs })]);
          }
        }
      }
    })();
    await eventually('the bound', () => log.lag('a').delayed >= 10);
    await pause(200);
    // Five more may have been on their way.
    expect(log.lag('a').delayed).toBeLessThanOrEqual(15);
    expect(log.lag('a').ready).toBeGreaterThanOrEqual(15);
    await eventually('all retried', () => retried.length === 30, {
      withinMs: 15_000,
      otherwise: () => [retried.length, log.lag('a')],
    });
    expect(new Set(retried).size).toBe(30);
    ending.abort();
    await failing;
    expect(log.lag('a')).toEqual(IDLE);
  }, 30_000);
});
