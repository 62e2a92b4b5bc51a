/** Bug that is hunted: a pulse that does not see that time was lost, so that a test fails for it, or one that does not end. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';

import { eventually, pause } from '../e2e/eventually.ts';
import { openNats, type Nats } from '../servers/nats.ts';
import { openPulse, type Pulse } from './jetstream-pulse.ts';

const STILL_MS = 300;
/** How exactly it is seen: two beats. */
const ABOUT_MS = 50;

let server: Nats;
let pulse: Pulse;

beforeAll(async () => {
  server = await openNats();
}, 200_000);

afterAll(() => server.close());

beforeEach(async () => {
  pulse = await openPulse(server.url);
});

afterEach(() => pulse.close());

test('a server that stands still is seen', async () => {
  const beforeMs = await pulse.lateMs();
  await server.pause();
  await pause(STILL_MS);
  server.resume();
  expect((await pulse.lateMs()) - beforeMs).toBeGreaterThan(STILL_MS - ABOUT_MS);
});

test('a process that stands still is seen', async () => {
  const beforeMs = await pulse.lateMs();
  const endMs = performance.now() + STILL_MS;
  while (performance.now() < endMs);
  expect((await pulse.lateMs()) - beforeMs).toBeGreaterThan(STILL_MS - ABOUT_MS);
});

test('time that passes as it should is not late: there are calm moments on any machine', async () => {
  await eventually('a calm moment', async () => {
    const beforeMs = await pulse.lateMs();
    await pause(2 * ABOUT_MS);
    return (await pulse.lateMs()) - beforeMs < ABOUT_MS;
  });
});

test('a server that does not answer is late, and keeps nobody waiting', async () => {
  const beforeMs = await pulse.lateMs();
  await server.pause();
  expect((await pulse.lateMs()) - beforeMs).toBeGreaterThan(STILL_MS);
  await pulse.close();
  server.resume();
});

test('it ends while a round trip is under way', async () => {
  for (let round = 0; round < 20; round += 1) {
    const another = await openPulse(server.url);
    await pause(10);
    await another.close();
  }
});
