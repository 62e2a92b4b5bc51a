/**
 * Brokers that lead to each other for ever, with local hops: it ends with the hop count, other events keep flowing, and what
 * went round leaves nothing in memory.
 */
import { afterEach, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { broker, brokerRef, trigger, yamlOf } from './manifests.ts';
import { binary, send } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';

const stage = openStage();
afterEach(() => stage.close());

const hopping = { annotations: { 'knear.dev/local-hop': 'chain' } };
/** A hop count of 255 is given when an event comes in; it may come in again until that is 1. */
const ROUNDS = 255;
/** Events of one batch, and batches: as many as show growth if each left something. */
const BATCH = 20;
const BATCHES = 6;
/** Heap and buffers that V8 has not given back differ by tens of megabytes from one look to the next. */
const GROWTH_MAX_MB = 80;

test('two Brokers that lead to each other end by the hop count, and others keep flowing', async () => {
  const subscriber = await stage.subscriber();
  const program = await stage.start(
    yamlOf(
      broker('ping', hopping),
      broker('pong', hopping),
      trigger('to-pong', {
        ...hopping,
        broker: 'ping',
        filter: { type: 'loop' },
        subscriber: brokerRef('pong'),
      }),
      trigger('to-ping', { ...hopping, broker: 'pong', subscriber: brokerRef('ping') }),
      trigger('plain', {
        broker: 'ping',
        filter: { type: 'plain' },
        subscriber: `${subscriber.url}/plain`,
      }),
    ),
  );
  const memoryMb: number[] = [];
  for (let batch = 0; batch < BATCHES; batch += 1) {
    const sent = Array.from({ length: BATCH }, (_, index) => `${String(batch)}-${String(index)}`);
    await Promise.all(
      sent.flatMap((id) => [
        send(`${program.url}/default/ping`, { id, type: 'loop' }),
        send(`${program.url}/default/ping`, { id: `plain-${id}`, type: 'plain' }),
      ]),
    );
    await program.idle();
    memoryMb.push(residentMb(program));
  }
  expect(new Set(subscriber.at('/plain').map(({ id }) => id)).size).toBe(BATCH * BATCHES);
  const parked = await program.metric('knear_lag', { state: 'parked' });
  expect(parked).toBe(BATCH * BATCHES);
  const hops = await program.metric('knear_local_hops_total', { result: 'taken' });
  // All but one in seventeen: then a line is long enough (HOPS_MAX), and what waits in the log comes before hops.
  expect(hops).toBeGreaterThan(0);
  const refused = await program.metric('knear_local_hops_total', { result: 'depth' });
  expect(refused).toBeGreaterThan(0);
  const handed = await program.metric('knear_attempts_total', { code: 'KNEAR_TTL_EXHAUSTED' });
  expect(handed).toBe(BATCH * BATCHES);
  console.log(
    `${String(hops)} hops of ${String(BATCH * BATCHES * (ROUNDS - 1))}; resident: ${memoryMb.join(', ')} MB`,
  );
  const [, warm = 0, ...rest] = memoryMb;
  expect(Math.max(...rest) - warm).toBeLessThan(GROWTH_MAX_MB);
  expect(program.complaints).toEqual([]);
});

test('a Trigger that answers itself ends by the hop count', async () => {
  const subscriber = await stage.subscriber();
  subscriber.on('/echo', ({ id }) => ({
    status: 200,
    headers: binary({ id, type: 'loop' }),
    body: 'again',
  }));
  const program = await stage.start(
    yamlOf(
      broker('main', hopping),
      trigger('echo', { ...hopping, subscriber: `${subscriber.url}/echo` }),
    ),
  );
  await send(`${program.url}/default/main`, { id: 'one', type: 'loop' });
  await program.idle();
  expect(subscriber.at('/echo')).toHaveLength(ROUNDS);
  expect(await program.metric('knear_lag', { state: 'parked' })).toBe(1);
  expect(await program.metric('knear_local_hops_total', { result: 'taken' })).toBeGreaterThan(0);
});

function residentMb({ pid }: Program): number {
  const status = readFileSync(`/proc/${String(pid)}/status`, 'utf8');
  return Math.round(Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_000);
}
