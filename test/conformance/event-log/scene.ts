/**
 * What the suite's tests share: one open log at a time, events that say whom they are for, and short ways to look. All of them are
 * timely: nobody holds the time of a log on a server, and a lease may lapse in any of them while the machine stands still.
 */
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, expect } from '@jest/globals';

import { claimOf, inlineData } from '../../../core/event.ts';
import type { CloudEvent } from '../../../core/event.ts';
import type {
  Delivery,
  EventLog,
  Failure,
  Interest,
  Lag,
  Match,
  Output,
  Position,
  Work,
} from '../../../core/ports/event-log.ts';
import type { LogAdapter, OpenLog, OpenOptions } from '../event-log.ts';
import { eventually } from '../../e2e/eventually.ts';
import { timelyTest, type TimelyTest } from '../timely.ts';

/** The log of the running test. */
export interface Scene {
  /** For the tests that use it. */
  readonly test: TimelyTest;
  readonly log: EventLog;
  /** Appends events with these ids, each for the same egresses (`'a b'`), as one batch. */
  append(to: string, ...ids: string[]): Promise<Position[]>;
  /** Waits for exactly `count` deliveries, in as many pulls as it takes. */
  pull(egressId: string, count?: number): Promise<Delivery[]>;
  pullOne(egressId: string): Promise<Delivery>;
  /** Everything that could be had for the egress now; it is then under a lease. */
  pullRest(egressId: string): Promise<Delivery[]>;
  /** Fails unless so much waits: now, or where numbers come later, by and by. What is not named is 0. */
  expectLag(egressId: string, lag: Partial<Lag>): Promise<void>;
  /** Fails unless the log holds something for these egresses and no others. */
  expectHolding(egressIds: readonly string[]): Promise<void>;
  nowMs(): number;
  skip(ms: number): Promise<void>;
  quiet(): Promise<void>;
  restart(): Promise<void>;
  close(): Promise<void>;
}

const IDLE: Lag = { ready: 0, delayed: 0, parked: 0 };

/** Less than it takes until a lease is over that was just given: numbers that need one are wrong. */
const COUNTED_MS = 500;

export function interestOf(egressId: string): Interest {
  const types = ORDERS.filter((to) => to.includes(egressId)).map((to) => typeTo(to.join(' ')));
  const sources = ['orders', 'replies'].map((ingressId) => ({ ingressId, pool: 'suite', types }));
  return { egressId, isOrdered: false, sources };
}

/** An event's type says whom it is for, so that a log that sorts by type can sort it. */
function typeTo(to: string): string {
  return `suite.to ${to}`;
}

/** All ways to name some of three. */
const ORDERS = ['a', 'b', 'c'].flatMap((one, _, all) => {
  const others = all.filter((other) => other !== one);
  const three = others.map((other, at) => [one, other, ...others.filter((__, i) => i !== at)]);
  return [[one], ...others.map((other) => [one, other]), ...three];
});

/** The egresses that tests append for, as what comes before them would announce them. */
export const INTERESTS: readonly Interest[] = ['a', 'b', 'c'].map(interestOf);

/** Opens a log before each test of a `describe`, and closes it afterwards. */
export function useScene(adapter: LogAdapter, options: Partial<OpenOptions> = {}): Scene {
  let current: OpenLog | undefined;
  const opened = () => {
    if (!current) throw new Error('used outside of a test');
    return current;
  };
  const open = async () => {
    current = await adapter.open({ match: matchTo(adapter.isEarly), ...options });
    await current.log.prepare(INTERESTS);
  };
  const close = async () => {
    const closing = current;
    current = undefined;
    await closing?.close();
  };
  beforeEach(open);
  afterEach(close);
  return {
    test: timelyTest({
      lateMs: async () => (await current?.lateMs?.()) ?? 0,
      anew: async () => {
        await close();
        await open();
      },
    }),
    get log() {
      return opened().log;
    },
    append: (to, ...ids) =>
      opened().log.append(
        'orders',
        ids.map((id) => eventTo(to, id)),
      ),
    pull: (egressId, count = 1) => pullFrom(opened().log, egressId, count),
    pullOne: async (egressId) => {
      const [delivery] = await pullFrom(opened().log, egressId, 1);
      if (!delivery) throw new Error('a pull ended without a delivery');
      return delivery;
    },
    pullRest: (egressId) => pullRestFrom(opened(), egressId),
    expectLag: (egressId, lag) =>
      expectNumbers(opened(), {
        now: ({ log }) => log.lag(egressId),
        counted: (lags) => lags.get(egressId) ?? IDLE,
        expected: { ...IDLE, ...lag },
      }),
    expectHolding: (egressIds) =>
      expectNumbers(opened(), {
        now: ({ log }) => log.egressIds().toSorted(),
        counted: (lags) =>
          [...lags]
            .filter(([, lag]) => !isIdle(lag))
            .map(([id]) => id)
            .toSorted(),
        expected: egressIds,
      }),
    nowMs: () => opened().nowMs(),
    skip: (ms) => opened().skip(ms),
    quiet: () => opened().quiet(),
    restart: async () => {
      await opened().restart();
      await opened().log.prepare(INTERESTS);
    },
    close: () => opened().log.close(),
  };
}

function isIdle({ ready, delayed, parked }: Lag): boolean {
  return ready + delayed + parked === 0;
}

async function expectNumbers(
  open: OpenLog,
  {
    now,
    counted,
    expected,
  }: {
    readonly now: (open: OpenLog) => unknown;
    readonly counted: (lags: ReadonlyMap<string, Lag>) => unknown;
    readonly expected: unknown;
  },
): Promise<void> {
  const { count } = open;
  if (!count) return expect(now(open)).toEqual(expected);
  let found: unknown;
  const isRight = async () => isDeepStrictEqual((found = counted(await count())), expected);
  // What was said to the server last is on its way.
  await eventually('the numbers', isRight, { withinMs: COUNTED_MS, otherwise: () => found });
}

async function pullFrom(log: EventLog, egressId: string, count: number): Promise<Delivery[]> {
  const deliveries: Delivery[] = [];
  const { signal } = new AbortController();
  while (deliveries.length < count) {
    deliveries.push(...(await log.pull(egressId, count - deliveries.length, { signal })));
  }
  return deliveries;
}

async function pullRestFrom(open: OpenLog, egressId: string): Promise<Delivery[]> {
  const deliveries: Delivery[] = [];
  for (;;) {
    const patience = new AbortController();
    const pulled = open.log.pull(egressId, 1_000, { signal: patience.signal });
    await open.quiet();
    patience.abort();
    const more = await pulled;
    if (more.length === 0) return deliveries;
    deliveries.push(...more);
  }
}

/** Who wants an event is written on it, so that a test reads in one place what goes where. */
function matchTo(isEarly: boolean): Match {
  return (_ingressId, event) => {
    const to = String(event.attributes.get('to') ?? '');
    return { egressIds: to.split(' ').filter((id) => id !== ''), isEarly };
  };
}

export function eventTo(to: string, id: string, data?: Uint8Array): CloudEvent {
  return {
    attributes: new Map([
      ['specversion', '1.0'],
      ['id', id],
      ['source', '/suite'],
      ['type', typeTo(to)],
      ['to', to],
    ]),
    headers: new Map(),
    data,
  };
}

export const idsOf = (deliveries: readonly Pick<Delivery, 'event'>[]): string[] =>
  deliveries.map(({ event }) => String(event.attributes.get('id')));

export const failure: Failure = {
  code: 'KNEAR_REJECTED',
  status: 503,
  dest: 'http://subscriber.example/path',
  data: Buffer.from([0, 255, 10, 13]),
};

export const work = (more: Partial<Work> = {}): Work => ({
  phase: 'deliver',
  attempt: 1,
  firstAtMs: 1_700_000_000_000,
  lastFailure: failure,
  ...more,
});

/** Work about the event, due at once unless told otherwise. */
export function workAbout(
  event: CloudEvent,
  options: Partial<Work> & { dueAtMs?: number; origin?: CloudEvent } = {},
): Extract<Output, { kind: 'work' }> {
  const { dueAtMs = 0, origin, ...more } = options;
  return { kind: 'work', work: work(more), event, dueAtMs, ...(origin && { origin }) };
}

export const parked = (event: CloudEvent, atMs: number): Extract<Output, { kind: 'parked' }> => ({
  kind: 'parked',
  event,
  failure,
  atMs,
});

export const reply = (event: CloudEvent, ingressId = 'replies'): Output => ({
  kind: 'event',
  ingressId,
  event,
});

/** Data of equal bytes are equal, whatever kind of Uint8Array they came as. */
export function plain(event: CloudEvent | undefined): unknown {
  if (event === undefined) return undefined;
  const data = inlineData(event);
  return {
    attributes: Object.fromEntries(event.attributes),
    headers: Object.fromEntries(event.headers),
    data: claimOf(event) ?? (data && Buffer.from(data).toString('base64')),
  };
}
