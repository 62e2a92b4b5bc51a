/**
 * What payloads take in memory: kept up to the bound, lent up to as much again, read once for all who ask meanwhile (K36).
 * The bugs hunted here: bytes that are counted twice or never given back, and bytes of a payload that is gone which are
 * handed out all the same.
 */
import { describe, expect, test } from '@jest/globals';
import { PayloadCache } from '../../broker/payload/cache.ts';
import type { PayloadRef } from '../../core/event.ts';
import { payloadOf } from '../conformance/payload-store/scene.ts';
import type { Payload } from '../conformance/payload-store/scene.ts';

/** Three of 100 bytes. */
const MAX = 300;

function cacheWith(...payloads: readonly Payload[]): PayloadCache {
  const cache = new PayloadCache(MAX);
  for (const { ref, bytes } of payloads) cache.keep(ref, bytes);
  return cache;
}

const small = (): Payload => payloadOf({ sizeBytes: 100 });

/** A read that ends when the test says so. */
function reading(payload: Payload) {
  let count = 0;
  let end = (_result: { readonly error?: Error }): void => undefined;
  const promise = new Promise<Uint8Array>((resolve, reject) => {
    end = ({ error }) => (error ? reject(error) : resolve(payload.bytes));
  });
  const read = () => {
    count += 1;
    return promise;
  };
  return { read, end: (error?: Error) => end(error ? { error } : {}), count: () => count };
}

function isHere(cache: PayloadCache, ref: PayloadRef): boolean {
  const lent = cache.lend(ref);
  lent?.giveBack();
  return lent !== undefined;
}

describe('what is kept', () => {
  test('is lent, the same bytes to everybody, without a copy', () => {
    const { ref, bytes } = small();
    const cache = cacheWith({ ref, bytes });
    const [first, second] = [cache.lend(ref), cache.lend(ref)];
    expect(first?.bytes).toBe(bytes);
    expect(second?.bytes).toBe(bytes);
    expect([cache.hits, cache.misses]).toEqual([2, 0]);
  });

  test('is bounded: the one that was not asked for longest goes', () => {
    const payloads = [small(), small(), small()];
    const [first, second, third] = payloads.map(({ ref }) => ref);
    const cache = cacheWith(...payloads);
    if (!first || !second || !third) throw new Error('three');
    expect(isHere(cache, first)).toBe(true);
    const fourth = small();
    cache.keep(fourth.ref, fourth.bytes);
    expect([first, second, third, fourth.ref].map((ref) => isHere(cache, ref))).toEqual([
      ...[true, false, true, true],
    ]);
    expect(cache.bytes).toBe(MAX);
  });

  test.each([
    { name: 'a third of the bound', sizeBytes: 100, isKept: true },
    { name: 'more than a third', sizeBytes: 101, isKept: false },
  ])('is never so large that it pushes out all others: $name', ({ sizeBytes, isKept }) => {
    const payload = payloadOf({ sizeBytes });
    expect(isHere(cacheWith(payload), payload.ref)).toBe(isKept);
  });

  test('is nothing when the bound is 0', () => {
    const cache = new PayloadCache(0);
    const { ref, bytes } = payloadOf({ sizeBytes: 1 });
    cache.keep(ref, bytes);
    expect(cache.lend(ref)).toBeUndefined();
    expect(cache.fill(ref, () => Promise.resolve(bytes))).toBeUndefined();
    expect(cache.bytes).toBe(0);
  });

  test('stays within its bound, whatever comes and goes', async () => {
    const cache = new PayloadCache(MAX);
    const loans = [];
    for (let round = 0; round < 1_000; round += 1) {
      const payload = payloadOf({ sizeBytes: 1 + ((round * 37) % 150) });
      if (round % 2 === 0) cache.keep(payload.ref, payload.bytes);
      else await cache.fill(payload.ref, () => Promise.resolve(payload.bytes));
      const lent = cache.lend(payload.ref);
      if (lent) loans.push(lent);
      if (round % 5 === 0) loans.shift()?.giveBack();
      // What is kept, and as much again for what is lent.
      expect(cache.bytes).toBeLessThanOrEqual(2 * MAX);
    }
    for (const lent of loans) lent.giveBack();
    expect(cache.bytes).toBeLessThanOrEqual(MAX);
  });
});

describe('what is lent', () => {
  test('counts once, however many have it, until the last one gives it back', () => {
    const payload = small();
    const cache = cacheWith(payload);
    const loans = [cache.lend(payload.ref), cache.lend(payload.ref)];
    expect(cache.bytes).toBe(200);
    loans[0]?.giveBack();
    expect(cache.bytes).toBe(200);
    loans[1]?.giveBack();
    expect(cache.bytes).toBe(100);
  });

  test('is still counted, and lent to others, when the cache has dropped it', () => {
    const payload = small();
    const cache = cacheWith(payload);
    const lent = cache.lend(payload.ref);
    for (const { ref, bytes } of [small(), small(), small()]) cache.keep(ref, bytes);
    expect(cache.bytes).toBe(MAX + 100);
    const other = cache.lend(payload.ref);
    expect(other?.bytes).toBe(payload.bytes);
    other?.giveBack();
    lent?.giveBack();
    expect(cache.lend(payload.ref)).toBeUndefined();
    expect(cache.bytes).toBe(MAX);
  });

  test('is bounded: a fourth slow subscriber has its payload streamed', () => {
    const payloads = [small(), small(), small(), small()];
    const cache = new PayloadCache(MAX);
    const loans = payloads.map(({ ref, bytes }) => {
      cache.keep(ref, bytes);
      return cache.lend(ref);
    });
    expect(loans.map((lent) => lent !== undefined)).toEqual([true, true, true, false]);
    expect([cache.hits, cache.misses]).toEqual([3, 1]);
    loans[0]?.giveBack();
    const [, , , fourth] = payloads;
    expect(fourth && isHere(cache, fourth.ref)).toBe(true);
  });
});

describe('reading it whole (K36)', () => {
  test('happens once for all who ask meanwhile, and it is kept', async () => {
    const payload = small();
    const cache = new PayloadCache(MAX);
    const { read, end, count } = reading(payload);
    const asked = Array.from({ length: 50 }, () => cache.fill(payload.ref, read));
    expect(cache.bytes).toBe(100);
    end();
    for (const bytes of asked) expect(await bytes).toBe(payload.bytes);
    expect(count()).toBe(1);
    expect(cache.bytes).toBe(100);
    expect(isHere(cache, payload.ref)).toBe(true);
  });

  test('that fails fails for all who asked, and the next one reads again', async () => {
    const payload = small();
    const cache = new PayloadCache(MAX);
    const first = reading(payload);
    const asked = [cache.fill(payload.ref, first.read), cache.fill(payload.ref, first.read)];
    first.end(new Error('the disk'));
    for (const bytes of asked) await expect(bytes).rejects.toThrow('the disk');
    expect(cache.bytes).toBe(0);
    const again = reading(payload);
    const bytes = cache.fill(payload.ref, again.read);
    again.end();
    expect(await bytes).toBe(payload.bytes);
  });

  test('is not for what is too large to be kept', () => {
    const { ref } = payloadOf({ sizeBytes: 101 });
    expect(new PayloadCache(MAX).fill(ref, () => Promise.reject(new Error('read')))).toBe(
      undefined,
    );
  });

  test('takes no more memory at a time than the bound', async () => {
    const payloads = [small(), small(), small(), small()];
    const cache = new PayloadCache(MAX);
    const reads = payloads.map((payload) => ({ ...payload, ...reading(payload) }));
    const asked = reads.map(({ ref, read }) => cache.fill(ref, read));
    expect(asked.map((bytes) => bytes !== undefined)).toEqual([true, true, true, false]);
    expect(cache.bytes).toBe(MAX);
    for (const { end } of reads) end();
    for (const bytes of asked) await bytes;
    expect(cache.bytes).toBe(MAX);
  });
});

describe('a payload that is gone (K43)', () => {
  test('is not lent any more', () => {
    const payload = small();
    const cache = cacheWith(payload);
    cache.forget(payload.ref);
    expect(cache.lend(payload.ref)).toBeUndefined();
    expect(cache.bytes).toBe(0);
  });

  test('is not lent any more, even while somebody has it', () => {
    const payload = small();
    const cache = cacheWith(payload);
    const lent = cache.lend(payload.ref);
    cache.forget(payload.ref);
    expect(cache.lend(payload.ref)).toBeUndefined();
    expect(cache.bytes).toBe(100);
    lent?.giveBack();
    expect(cache.bytes).toBe(0);
  });

  test('is not kept by a read that was under way', async () => {
    const payload = small();
    const cache = new PayloadCache(MAX);
    const { read, end } = reading(payload);
    const bytes = cache.fill(payload.ref, read);
    cache.forget(payload.ref);
    end();
    await bytes;
    expect(cache.lend(payload.ref)).toBeUndefined();
    expect(cache.bytes).toBe(0);
  });

  test('is read anew by who asks after it, and an old read does not hinder that', async () => {
    const payload = small();
    const cache = new PayloadCache(MAX);
    const [old, young] = [reading(payload), reading(payload)];
    const first = cache.fill(payload.ref, old.read);
    cache.forget(payload.ref);
    const second = cache.fill(payload.ref, young.read);
    old.end();
    await first;
    expect(cache.fill(payload.ref, young.read)).toBe(second);
    young.end();
    await second;
    expect([old.count(), young.count()]).toEqual([1, 1]);
    expect(isHere(cache, payload.ref)).toBe(true);
  });
});
