/**
 * Leases that the server counts and this process judges, and parked entries that two want at once: what the suite of all logs cannot
 * see, because it looks from one side.
 */
import { describe, expect } from '@jest/globals';

import { tokenOf } from '../../broker/log/jetstream/names.ts';
import type { CloudEvent } from '../../core/event.ts';
import { LEASE_MS, type Output } from '../../core/ports/event-log.ts';
import { eventually, pause } from '../e2e/eventually.ts';
import {
  eventTo,
  idOf,
  interestOf,
  PACE,
  pullFor,
  pullOne,
  useProcesses,
  without,
  type Process,
  type ProcessOptions,
} from './jetstream-adapter.ts';

const LEASE_REAL_MS = LEASE_MS / PACE;
const IDLE = { ready: 0, delayed: 0, parked: 0 };

const scene = useProcesses('lease');
const { test } = scene;

async function open(options: Partial<ProcessOptions> = {}): Promise<Process> {
  const process = await scene.open(options);
  await process.log.prepare([interestOf('a')]);
  return process;
}

/** What the server has given and nobody has acknowledged. */
async function openOnServer({ jsm }: Process): Promise<number> {
  return (await jsm.consumers.info(scene.stream, `${tokenOf('a')}_0`)).num_ack_pending;
}

test('what waits here for a holder does not lapse, for as long as nobody comes (N5)', async () => {
  const [first, second] = [await open(), await open()];
  await first.log.append('orders', [eventTo('a', 'one')]);
  (await pullOne(first.log, 'a')).release();
  expect(await pullFor(second.log, 'a', 2.5 * LEASE_REAL_MS)).toEqual([]);
  expect(await pullOne(first.log, 'a')).toMatchObject({ lease: 1, attempt: 0 });
});

test('what was settled is not offered again when the server gives it again, and acknowledged once more (N11)', async () => {
  let lost = 1;
  const process = await open({
    ncOf: without((subject) => subject.startsWith('$JS.ACK.') && lost-- > 0),
  });
  const { log } = process;
  await log.append('orders', [eventTo('a', 'one')]);
  await (await pullOne(log, 'a')).settle([]);
  await process.nc.flush();
  expect(await openOnServer(process)).toBe(1);
  expect(await pullFor(log, 'a', LEASE_REAL_MS + 200)).toEqual([]);
  expect(await openOnServer(process)).toBe(0);
  expect(log.lag('a')).toEqual(IDLE);
});

test('what the server gives again is offered again, to whoever pulls, though its holder may think otherwise (N13)', async () => {
  const { log, happenings } = await open();
  await log.append('orders', [eventTo('a', 'one')]);
  for (let lease = 1; lease <= 3; lease += 1) {
    const startMs = performance.now();
    expect(await pullOne(log, 'a')).toMatchObject({ lease });
    if (lease > 1) expect(performance.now() - startMs).toBeGreaterThan(LEASE_REAL_MS / 2);
  }
  expect(happenings).toEqual([
    { kind: 'lease-lost', egressId: 'a', lease: 1 },
    { kind: 'lease-lost', egressId: 'a', lease: 2 },
  ]);
});

describe('a settle whose acknowledgement is lost with its process (N10)', () => {
  /** Two holders, one after the other, settle the same delivery. */
  async function settleTwice(
    firstly: (event: CloudEvent) => Output,
    secondly: (event: CloudEvent) => Output,
  ): Promise<Process> {
    const first = await open({ ncOf: without((subject) => subject.startsWith('$JS.ACK.')) });
    const second = await open();
    await first.log.append('orders', [eventTo('a', 'one')]);
    const held = await pullOne(first.log, 'a');
    await held.settle([firstly(held.event)]);
    await first.vanish();
    const again = await pullOne(second.log, 'a');
    await again.settle([secondly(again.event)]);
    return second;
  }

  const retry = (attempt: number) => (event: CloudEvent) => {
    const work = { phase: 'deliver', attempt, firstAtMs: 1 } as const;
    return { kind: 'work', work, event, dueAtMs: Date.now() + 3_600_000 } as const;
  };
  const answer = () =>
    ({ kind: 'event', ingressId: 'orders', event: eventTo('a', 'answer') }) as const;

  test('is repeated without effect where it leaves the same', async () => {
    const { log } = await settleTwice(answer, answer);
    expect(idOf(await pullOne(log, 'a'))).toBe('answer');
    expect(await pullFor(log, 'a', 200)).toEqual([]);
  });

  test('leaves what is new where it leaves something else: nothing is taken for a copy', async () => {
    const { log } = await settleTwice(retry(1), answer);
    expect(idOf(await pullOne(log, 'a'))).toBe('answer');
  });
});

test('a process that closes gives back what it holds, at once', async () => {
  const [first, second] = [await open(), await open()];
  await first.log.append('orders', [eventTo('a', 'one')]);
  await pullOne(first.log, 'a');
  await first.close();
  const startMs = performance.now();
  expect(idOf(await pullOne(second.log, 'a'))).toBe('one');
  expect(performance.now() - startMs).toBeLessThan(LEASE_REAL_MS / 2);
});

describe('a parked entry', () => {
  async function parkedOn({ log, clock }: Process): Promise<number> {
    await log.append('orders', [eventTo('a', 'one')]);
    const delivery = await pullOne(log, 'a');
    const { event } = delivery;
    const failure = { code: 'KNEAR_REJECTED', status: 500, dest: 'http://x.example' } as const;
    await delivery.settle([{ kind: 'parked', event, failure, atMs: clock.nowMs() }]);
    const [entry] = await log.parked('a', { limit: 10 });
    return entry?.position ?? 0;
  }

  test('that is too old is dropped, told and counted, and a younger one stays', async () => {
    const process = await open({ limits: { parkedAgeMs: 20_000 } });
    const old = await parkedOn(process);
    await pause(1_100);
    await parkedOn(process);
    await process.restart();
    await eventually('dropped', () => process.log.lag('a').parked === 1);
    const entries = await process.log.parked('a', { limit: 10 });
    expect(entries.map(({ position }) => position > old)).toEqual([true]);
    expect(process.happenings).toContainEqual({
      kind: 'discarded',
      egressId: 'a',
      end: 'dropped',
      count: 1,
      reason: 'parking-age',
    });
  });

  test('that two processes replay at once is offered once, and parked no more (N12)', async () => {
    const first = await open();
    const position = await parkedOn(first);
    const second = await open();
    await Promise.all([first, second].map(({ log }) => log.replay('a', [position])));
    const offered = await Promise.all(
      [first, second].map(({ log }) => pullFor(log, 'a', LEASE_REAL_MS / 2)),
    );
    expect(offered.flat().map(idOf)).toEqual(['one']);
    expect(await first.log.parked('a', { limit: 10 })).toEqual([]);
  });

  test('is whole after the end of the server in the middle of a replay: parked or offered (N12)', async () => {
    const first = await open();
    const position = await parkedOn(first);
    const replayed = first.log.replay('a', [position]).catch(() => 0);
    await scene.server.kill();
    await scene.server.restart();
    await replayed;
    const seen = await eventually('found', async () => {
      const [entries, offered] = [
        await first.log.parked('a', { limit: 10 }).catch(() => undefined),
        await pullFor(first.log, 'a', 200),
      ];
      return entries && [...entries, ...offered];
    });
    expect(seen.map(idOf)).toEqual(['one']);
  });

  test('that is replayed and dropped at once comes to one of both (N15)', async () => {
    const process = await open();
    const position = await parkedOn(process);
    const { log } = process;
    const counts = await Promise.all([
      log.replay('a', [position]),
      log.dropParked('a', [position]),
      log.replay('a', [position, position]),
    ]);
    expect(counts).toEqual([1, 0, 0]);
    expect((await pullFor(log, 'a', 200)).map(idOf)).toEqual(['one']);
  });

  test('that cannot be read takes its turn in the bound, and the next is parked all the same', async () => {
    const first = await open({ limits: { parkedMax: 1 } });
    const position = await parkedOn(first);
    const stored = await first.jsm.streams.getMessage(scene.stream, { seq: position });
    const headers = stored?.header;
    headers?.set('knear', '{"v":1,');
    // Else it is a copy, which the server does not keep.
    headers?.delete('Nats-Msg-Id');
    await first.nc.request(stored?.subject ?? '', 'damaged', {
      timeout: 5_000,
      ...(headers && { headers }),
    });
    await first.restart();
    await first.log.prepare([interestOf('a')]);
    await expect(first.log.parked('a', { limit: 10 })).rejects.toMatchObject({
      code: 'KNEAR_LOG_CORRUPT',
    });
    await parkedOn(first);
    expect((await first.log.parked('a', { limit: 10 })).map(idOf)).toEqual(['one']);
    expect(first.log.lag('a')).toEqual({ ...IDLE, parked: 1 });
  });
});

test('a pull for what is not prepared waits, and is no busy loop', async () => {
  const { log } = await open();
  const startMs = performance.now();
  const { signal } = new AbortController();
  expect(await log.pull('unknown', 1, { signal })).toEqual([]);
  // A second of the log.
  expect(performance.now() - startMs).toBeGreaterThan(1_000 / PACE - 10);
  const ending = new AbortController();
  const pulled = log.pull('unknown', 1, { signal: ending.signal });
  ending.abort();
  expect(await pulled).toEqual([]);
});
