/**
 * Who of several controllers leads (Z5), by a lease on a real server. Each of them is a process with a connection and a clock of its
 * own, which a test skips ahead: what it waits for passes at once, while the server's time goes on as it does.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { jetstream } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { connect, type NatsConnection } from '@nats-io/transport-node';

import { Leadership } from '../../controller/feed/leadership.ts';
import { eventually, pause } from '../e2e/eventually.ts';
import { SkippingClock } from '../fakes/skipping-clock.ts';
import { openNats, type Nats } from '../servers/nats.ts';

/** As leadership.ts has them: how often it asks, how long it counts on the answer. */
const RENEW_MS = 3_000;
const HELD_MS = 7_000;
/** Of the server, in real time. */
const LEASE_MS = 10_000;

let nats: Nats;
beforeAll(async () => {
  nats = await openNats();
});
afterAll(() => nats.close());

let prefix = '';
let scenes = 0;
beforeEach(() => {
  scenes += 1;
  prefix = `lead${String(scenes)}`;
});

interface Candidate {
  readonly leadership: Leadership;
  readonly nc: NatsConnection;
  readonly clock: SkippingClock;
  /** What it was told, oldest first. */
  readonly told: boolean[];
}

const opened: Candidate[] = [];
afterEach(async () => {
  for (const { leadership, nc } of opened.splice(0)) {
    await leadership.close();
    await nc.close();
  }
});

async function open(): Promise<Candidate> {
  const nc = await connect({ servers: nats.url });
  const clock = new SkippingClock();
  const told: boolean[] = [];
  const onChange = (isLeading: boolean) => void told.push(isLeading);
  const leadership = new Leadership({ js: jetstream(nc), prefix, clock, onChange });
  const candidate = { leadership, nc, clock, told };
  opened.push(candidate);
  return candidate;
}

async function openLeader(): Promise<Candidate> {
  const leader = await open();
  await eventually('leads', () => leader.leadership.isLeading);
  return leader;
}

async function lease() {
  const nc = await connect({ servers: nats.url });
  const kv = await new Kvm(jetstream(nc)).open(`${prefix}_leader`);
  return { kv, close: () => nc.close() };
}

const isLeading = (candidates: readonly Candidate[]): boolean[] =>
  candidates.map(({ leadership }) => leadership.isLeading);

test('one of several that come at once leads, and goes on leading', async () => {
  const all = await Promise.all([open(), open(), open()]);
  await eventually('one', () => isLeading(all).includes(true));
  const first = isLeading(all);
  expect(first.filter(Boolean)).toHaveLength(1);
  const { kv, close } = await lease();
  for (let turn = 0; turn < 4; turn += 1) {
    const before = (await kv.get('leader'))?.revision ?? 0;
    for (const { clock } of all) clock.skip(RENEW_MS);
    await eventually('asked again', async () => ((await kv.get('leader'))?.revision ?? 0) > before);
  }
  await close();
  await eventually('as before', () => isLeading(all).join() === first.join());
  expect(all.map(({ told }) => told.join()).toSorted()).toEqual(['', '', 'true']);
});

describe('a leader that closes', () => {
  test('lets go: the next one leads when it asks, and does not wait for the end of the lease', async () => {
    const leader = await openLeader();
    const { kv, close } = await lease();
    await leader.leadership.close();
    expect(leader.leadership.isLeading).toBe(false);
    const left = await kv.get('leader');
    expect([left?.operation, left?.string()]).toEqual(['PURGE', '']);
    await close();
    const next = await openLeader();
    expect([leader.told, next.told]).toEqual([[true], [true]]);
    // It asks no more.
    leader.clock.skip(10 * RENEW_MS);
    await pause(200);
    expect(isLeading([leader, next])).toEqual([false, true]);
  });

  test('takes nothing from the one that leads meanwhile', async () => {
    const leader = await openLeader();
    const { kv, close } = await lease();
    await kv.put('leader', 'somebody else');
    await leader.leadership.close();
    expect((await kv.get('leader'))?.string()).toBe('somebody else');
    await close();
  });

  test('closes though the server does not answer', async () => {
    const leader = await openLeader();
    await leader.nc.close();
    await leader.leadership.close();
    expect(leader.leadership.isLeading).toBe(false);
  });
});

test('a leader that closes while it asks lets go of what it gets, and asks no more', async () => {
  const leader = await openLeader();
  const { kv, close } = await lease();
  await nats.pause();
  leader.clock.skip(RENEW_MS);
  const closing = leader.leadership.close();
  nats.resume();
  await closing;
  await eventually('free', async () => (await kv.get('leader'))?.operation === 'PURGE');
  leader.clock.skip(10 * RENEW_MS);
  await pause(200);
  expect((await kv.get('leader'))?.operation ?? 'PURGE').toBe('PURGE');
  expect([leader.leadership.isLeading, leader.told]).toEqual([false, [true]]);
  await close();
});

describe('a leader that is gone without a word', () => {
  test('is followed after its lease, not before', async () => {
    const startMs = performance.now();
    const leader = await openLeader();
    const next = await open();
    // As SIGKILL leaves it; its own end was counted from before.
    await leader.nc.close();
    await eventually('the next', () => {
      next.clock.skip(RENEW_MS);
      return next.leadership.isLeading;
    });
    expect(performance.now() - startMs).toBeGreaterThan(LEASE_MS);
    expect(next.told).toEqual([true]);
  }, 60_000);
});

describe('a leader that cannot ask (Z5)', () => {
  test('knows by its own clock that it leads no more, before the server lets another one', async () => {
    const leader = await openLeader();
    await nats.pause();
    try {
      leader.clock.skip(HELD_MS - 5_000);
      expect(leader.leadership.isLeading).toBe(true);
      expect(leader.told).toEqual([true]);
      leader.clock.skip(5_001);
      expect(leader.leadership.isLeading).toBe(false);
      // Told at once, whatever is still asked of the server.
      expect(leader.told).toEqual([true, false]);
    } finally {
      nats.resume();
    }
    expect(HELD_MS).toBeLessThan(LEASE_MS);
    await eventually('it leads again', () => {
      leader.clock.skip(RENEW_MS);
      return leader.leadership.isLeading;
    });
    expect(leader.told).toEqual([true, false, true]);
  });

  test('counts from when it asked: an answer that comes late is worth less', async () => {
    const leader = await openLeader();
    const { clock, leadership } = leader;
    const { kv, close } = await lease();
    const before = (await kv.get('leader'))?.revision ?? 0;
    await nats.pause();
    clock.skip(RENEW_MS);
    const lateMs = 1_500;
    clock.skip(lateMs);
    nats.resume();
    await eventually('answered', async () => ((await kv.get('leader'))?.revision ?? 0) > before);
    await close();
    await pause(50);
    clock.skip(HELD_MS - lateMs + 100);
    expect(leadership.isLeading).toBe(false);
  });

  test('stops when another one has taken the lease', async () => {
    const leader = await openLeader();
    const { kv, close } = await lease();
    await kv.put('leader', 'somebody else');
    leader.clock.skip(HELD_MS + 1);
    await eventually('told', () => leader.told.length === 2);
    leader.clock.skip(RENEW_MS);
    await pause(200);
    expect(leader.leadership.isLeading).toBe(false);
    expect((await kv.get('leader'))?.string()).toBe('somebody else');
    await close();
  });
});
