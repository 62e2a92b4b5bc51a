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
  uploadMaxMs: 3_600_000,
};

function open({
  headers,
  maxBytes = 1_000,
  heldMaxBytes,
}: {
  headers: Record<string, string>;
  maxBytes?: number;
  heldMaxBytes?: number;
}) {
  const clock = new FakeClock();
  const bodies = new Bodies(clock, LIMITS);
  const request = new IncomingMessage(new Socket());
  Object.assign(request.headers, headers);
  return { clock, bodies, request, body: bodies.open(request, { maxBytes, heldMaxBytes }) };
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
    const read = bodies.open(new IncomingMessage(new Socket()), { maxBytes: 10 }).read();
    read.catch(() => undefined);
  }
  expect(clock.timerCount).toBe(1);
});

test('releasing twice gives back once (B2)', () => {
  const { bodies, body } = open({ headers: { 'content-length': '600' } });
  const other = bodies.open(new IncomingMessage(new Socket()), { maxBytes: 10 });
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

describe('a body that is passed on (B5)', () => {
  const DECLARED = { 'content-length': '5000' };
  const CHUNKED = { 'transfer-encoding': 'chunked' };

  /** Takes pieces, and waits, or fails, as the test says. */
  function taker() {
    const taken: string[] = [];
    const answers: (Promise<void> | Error | undefined)[] = [];
    const take = (piece: Uint8Array): Promise<void> | undefined => {
      taken.push(Buffer.from(piece).toString());
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    };
    return { taken, answers, take };
  }

  function wait() {
    let end = (_error?: Error): void => undefined;
    const promise = new Promise<void>((resolve, reject) => {
      end = (error) => (error ? reject(error) : resolve());
    });
    return { promise, end };
  }

  const turn = () => new Promise((resolve) => setImmediate(resolve));

  function pass(options: Partial<Parameters<typeof open>[0]> = {}) {
    const opened = open({ headers: DECLARED, maxBytes: 10_000, heldMaxBytes: 100, ...options });
    const { taken, answers, take } = taker();
    const passed = opened.body.passOn(take);
    passed.catch(() => undefined);
    return { ...opened, taken, answers, passed };
  }

  test('arrives piece by piece, in order, and may be larger than all may hold together', async () => {
    const { request, taken, passed, bodies } = pass();
    expect(bodies.heldBytes).toBe(100);
    request.push('x'.repeat(4_998));
    await turn();
    request.push('y');
    await turn();
    request.push('z');
    request.push(null);
    request.complete = true;
    await passed;
    expect(taken).toEqual(['x'.repeat(4_998), 'y', 'z']);
    expect(bodies.heldBytes).toBe(100);
  });

  test('of unknown size counts as it comes, up to what is held of it', async () => {
    const { request, bodies, body } = pass({ headers: CHUNKED });
    const held = [bodies.heldBytes];
    for (const bytes of [60, 60, 5_000]) {
      request.push('x'.repeat(bytes));
      await turn();
      held.push(bodies.heldBytes);
    }
    expect(held).toEqual([0, 60, 100, 100]);
    body.release();
    expect(bodies.heldBytes).toBe(0);
  });

  test('counts with its own size if that is less', () => {
    expect(pass({ headers: { 'content-length': '70' } }).bodies.heldBytes).toBe(70);
  });

  test('is refused when what would be held of it does not fit (B2)', () => {
    const { bodies } = open({ headers: { 'content-length': '950' } });
    const request = new IncomingMessage(new Socket());
    Object.assign(request.headers, DECLARED);
    expect(() => bodies.open(request, { maxBytes: 10_000, heldMaxBytes: 100 })).toThrow(
      expect.objectContaining({ code: 'KNEAR_OVERLOADED' }),
    );
    expect(bodies.heldBytes).toBe(950);
  });

  test('of unknown size is given up at the first byte over the limit, which is not passed on (B3)', async () => {
    const { request, taken, passed } = pass({ headers: CHUNKED, maxBytes: 300 });
    request.push('x'.repeat(300));
    await turn();
    request.push('y');
    await expect(passed).rejects.toMatchObject({ code: 'KNEAR_EVENT_TOO_LARGE' });
    expect(taken).toEqual(['x'.repeat(300)]);
  });

  test('waits with the producer while the taker is behind', async () => {
    const { request, taken, answers, passed } = pass({ headers: CHUNKED });
    const { promise, end } = wait();
    answers.push(promise);
    request.push('1');
    await turn();
    expect(request.isPaused()).toBe(true);
    for (const piece of ['2', '3']) request.push(piece);
    request.push(null);
    request.complete = true;
    await turn();
    expect(taken).toEqual(['1']);
    end();
    await passed;
    expect(taken.join('')).toBe('123');
  });

  test.each([
    { name: 'throws', fail: (error: Error) => error },
    { name: 'rejects', fail: (error: Error) => Promise.reject(error) },
  ])('fails with what the taker $name, and passes on no more', async ({ fail }) => {
    const { request, taken, answers, passed } = pass();
    const before = request.eventNames().length;
    answers.push(undefined, fail(new Error('the disk')));
    for (const piece of ['1', '2', '3']) {
      request.push(piece);
      await turn();
    }
    await expect(passed).rejects.toThrow('the disk');
    expect(taken).toEqual(['1', '2']);
    expect(request.eventNames().length).toBeLessThan(before);
    // What still comes can be taken off the wire.
    request.resume();
    request.push('4');
    await turn();
    expect(request.readableLength).toBe(0);
    expect(taken).toEqual(['1', '2']);
  });

  test('that ends too early fails, whatever was passed on (B1)', async () => {
    const { request, taken, passed } = pass();
    request.push('x'.repeat(4_999));
    request.push(null);
    request.complete = true;
    await expect(passed).rejects.toMatchObject({ code: 'KNEAR_BODY_TRUNCATED' });
    expect(taken).toHaveLength(1);
  });

  test('fails when its producer leaves while the taker is behind, which then changes nothing', async () => {
    const { request, taken, answers, passed } = pass();
    const { promise, end } = wait();
    answers.push(promise);
    request.push('1');
    await turn();
    request.destroy();
    await expect(passed).rejects.toMatchObject({ code: 'KNEAR_BODY_TRUNCATED' });
    end();
    await turn();
    expect(taken).toEqual(['1']);
  });

  describe('and time (B4)', () => {
    async function behind(options: Parameters<typeof pass>[0] = {}) {
      const passing = pass(options);
      const { promise, end } = wait();
      passing.answers.push(promise);
      passing.request.push('x');
      await turn();
      const isOver = async () => {
        let over = true;
        await Promise.race([passing.passed, turn().then(() => (over = false))]).catch(
          () => undefined,
        );
        return over;
      };
      return { ...passing, end, isOver };
    }

    test('what the taker needs is not the producer’s, neither idle nor slow', async () => {
      const { clock, end, isOver, request } = await behind();
      clock.advance(1_800_000);
      expect(await isOver()).toBe(false);
      end();
      await turn();
      // Listening again: the producer has its own 30 s and its own minute.
      clock.advance(29_000);
      expect(await isOver()).toBe(false);
      request.push('x'.repeat(1_000));
      await turn();
      clock.advance(1_000);
      expect(await isOver()).toBe(false);
    });

    test('a producer that is too slow while we listen is so, however long it had to wait', async () => {
      const { clock, end, request, passed } = await behind();
      clock.advance(1_800_000);
      end();
      for (let second = 0; second < 61; second += 1) {
        await turn();
        request.push('x');
        await turn();
        clock.advance(1_000);
      }
      await expect(passed).rejects.toMatchObject({
        code: 'KNEAR_BODY_TIMEOUT',
        message: expect.stringContaining('1024 bytes a second'),
      });
    });

    test('no upload takes longer than any should, whoever is to blame', async () => {
      const { clock, isOver, passed } = await behind();
      clock.advance(3_599_000);
      expect(await isOver()).toBe(false);
      clock.advance(1_000);
      await expect(passed).rejects.toMatchObject({ code: 'KNEAR_BODY_TIMEOUT' });
    });
  });
});
