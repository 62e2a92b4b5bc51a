/**
 * What node's own parser never lets happen on a real connection, or what cannot be seen from there. The rest of B1 to
 * Slow bodies are in test/http/producers.test.ts (B4).
 */
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import type { BodyLimits } from '../../broker/body.ts';
import { Bodies } from '../../broker/body.ts';
import { FakeClock } from '../fakes/clock.ts';

const LIMITS: BodyLimits = {
  bodyBytesMax: 1_000,
  idleMs: 30_000,
  rateMin: 1_024,
  rateAfterMs: 60_000,
};

function open({
  headers,
  maxBytes = 1_000,
}: {
  headers: Record<string, string>;
  maxBytes?: number;
}) {
  const clock = new FakeClock();
  const bodies = new Bodies(clock, LIMITS);
  const request = new IncomingMessage(new Socket());
  Object.assign(request.headers, headers);
  return { clock, bodies, request, body: bodies.open(request, maxBytes) };
}

describe('B1', () => {
  test.each([
    ['an end that node does not find complete', '5', false],
    ['fewer bytes than declared', '6', true],
    ['more bytes than declared', '4', true],
  ])('refuses %s', async (_name, declared, complete) => {
    const { request, body } = open({ headers: { 'content-length': declared } });
    const read = body.read();
    request.push('12345');
    request.push(null);
    request.complete = complete;
    await expect(read).rejects.toMatchObject({ code: 'KNEAR_BODY_TRUNCATED' });
  });

  test('refuses a request that is gone before it is read', async () => {
    const { request, body } = open({ headers: { 'content-length': '5' } });
    request.destroy();
    await expect(body.read()).rejects.toMatchObject({ code: 'KNEAR_BODY_TRUNCATED' });
  });
});

test('a body in one piece is not copied', async () => {
  const { request, body } = open({ headers: { 'content-length': '5' } });
  const piece = Buffer.from('12345');
  const read = body.read();
  request.push(piece);
  request.push(null);
  request.complete = true;
  expect(await read).toBe(piece);
});

test('nothing is listened to or watched after the end, whichever it was', async () => {
  const { clock, request, body } = open({ headers: { 'content-length': '5' } });
  const before = request.eventNames();
  const read = body.read();
  clock.advance(31_000);
  await expect(read).rejects.toMatchObject({ code: 'KNEAR_BODY_TIMEOUT' });
  expect(request.eventNames()).toEqual(before);
  clock.advance(1_000);
  expect(clock.timerCount).toBe(0);
});

test('any number of bodies share one timer', () => {
  const clock = new FakeClock();
  const bodies = new Bodies(clock, LIMITS);
  for (let count = 0; count < 5; count += 1) {
    const read = bodies.open(new IncomingMessage(new Socket()), 10).read();
    read.catch(() => undefined);
  }
  expect(clock.timerCount).toBe(1);
});

test('releasing twice gives back once (B2)', () => {
  const { bodies, body } = open({ headers: { 'content-length': '600' } });
  const other = bodies.open(new IncomingMessage(new Socket()), 10);
  expect(bodies.heldBytes).toBe(600);
  body.release();
  body.release();
  other.release();
  expect(bodies.heldBytes).toBe(0);
});

test('a declared size beside chunks is not believed (B3)', () => {
  const headers = { 'content-length': '5', 'transfer-encoding': 'chunked' };
  const { bodies } = open({ headers });
  expect(bodies.heldBytes).toBe(0);
});
