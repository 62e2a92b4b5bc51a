import { afterEach, describe, expect, test } from '@jest/globals';
import type { AttributeValue, CloudEvent } from '../../core/event.ts';
import {
  answer,
  closeAll,
  event,
  openDeliverer,
  requestTo,
  subscriber,
} from './deliver-subscribers.ts';
import type { Received } from './deliver-subscribers.ts';

afterEach(closeAll);

/** Delivers once and returns what arrived. */
async function arrived(more: Parameters<typeof requestTo>[1], path = '/'): Promise<Received> {
  const { url, received } = await subscriber(answer(202));
  const outcome = await openDeliverer().deliver(requestTo(url + path, more));
  expect(outcome).toEqual({ kind: 'accepted', status: 202 });
  const [first, ...rest] = received;
  if (first === undefined || rest.length > 0) throw new Error('not one request');
  return first;
}

describe('a request', () => {
  test('is a POST of a binary CloudEvent to the path and query of the URL', async () => {
    const { method, path, headers, body } = await arrived({}, '/in/box%20a?tenant=7#not-sent');
    expect([method, path]).toEqual(['POST', '/in/box%20a?tenant=7']);
    expect(headers).toMatchObject({
      'ce-specversion': '1.0',
      'ce-id': 'a-1',
      'ce-source': '/orders',
      'ce-type': 'order.created',
      'content-type': 'application/json',
      'content-length': '7',
    });
    expect(body.toString()).toBe('{"n":1}');
  });

  test('is a structured CloudEvent where the format says json', async () => {
    const { headers, body } = await arrived({ format: 'json' });
    expect(headers['content-type']).toMatch(/^application\/cloudevents\+json/);
    expect(headers['content-length']).toBe(String(body.byteLength));
    expect(headers).not.toHaveProperty('ce-id');
    expect(JSON.parse(body.toString())).toMatchObject({ id: 'a-1', data: { n: 1 } });
  });

  test.each([
    { name: 'no data', data: undefined },
    { name: 'empty data', data: new Uint8Array() },
  ])('has content-length 0 for an event with $name', async ({ data }) => {
    const { headers, body } = await arrived({ event: { ...event, data } });
    expect(headers['content-length']).toBe('0');
    expect(headers).not.toHaveProperty('transfer-encoding');
    expect(body.byteLength).toBe(0);
  });

  test('carries the bytes of data that is a window of a larger buffer', async () => {
    const data = Buffer.from('xx{"n":2}xx').subarray(2, 9);
    expect((await arrived({ event: { ...event, data } })).body.toString()).toBe('{"n":2}');
  });

  test('carries a body of many megabytes unchanged', async () => {
    const data = Buffer.alloc(5_000_000, 'abcdefg');
    const { headers, body } = await arrived({ event: { ...event, data } });
    expect(headers['content-length']).toBe('5000000');
    expect(body.equals(data)).toBe(true);
  });

  test('asks for a reply only if one is wanted, and names the namespace always', async () => {
    expect((await arrived({ wantsReply: true, namespace: 'shop' })).headers).toMatchObject({
      prefer: 'reply',
      'kn-namespace': 'shop',
    });
    const { headers } = await arrived({ wantsReply: false, namespace: 'shop' });
    expect(headers).not.toHaveProperty('prefer');
    expect(headers['kn-namespace']).toBe('shop');
  });

  test('has the host of the URL, or the one it is called in the name of', async () => {
    expect((await arrived({})).headers.host).toMatch(/^127\.0\.0\.1:\d+$/);
    const host = 'orders.default.svc.cluster.local';
    expect((await arrived({ host })).headers.host).toBe(host);
  });

  test('carries the headers that travel with the event', async () => {
    const headers = new Map([['x-request-id', 'r-1']]);
    for (const format of ['binary', 'json'] as const) {
      const got = await arrived({ format, event: { ...event, headers } });
      expect(got.headers['x-request-id']).toBe('r-1');
    }
  });
});

describe('traceparent', () => {
  const KEPT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const OWN = '00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01';
  const traced = new Map([
    ['traceparent', KEPT],
    ['tracestate', 'a=b'],
  ]);

  test.each([
    { name: 'of the event, where the attempt has none', kept: traced, expected: KEPT },
    { name: 'of the attempt, once, in place of it', kept: traced, own: OWN, expected: OWN },
    { name: 'of the attempt, for an event without', kept: new Map(), own: OWN, expected: OWN },
    { name: 'absent, where neither has one', kept: new Map(), expected: undefined },
  ])('is that $name', async ({ kept, own, expected }) => {
    // A value that is the name of the header must not be taken for it.
    const attributes = new Map(event.attributes).set('type', 'traceparent');
    for (const format of ['binary', 'json'] as const) {
      const { headers } = await arrived({
        format,
        event: { ...event, attributes, headers: kept },
        ...(own !== undefined && { traceparent: own }),
      });
      expect(headers['traceparent']).toBe(expected);
      expect(headers['tracestate']).toBe(kept.get('tracestate'));
      if (format === 'binary') expect(headers['ce-type']).toBe('traceparent');
    }
  });
});

/** Counts how often somebody walks through the attributes. */
class CountedAttributes extends Map<string, AttributeValue> {
  walks = 0;

  override [Symbol.iterator](): ReturnType<Map<string, AttributeValue>['entries']> {
    this.walks += 1;
    return super[Symbol.iterator]();
  }
}

describe('encoding', () => {
  test.each(['binary', 'json'] as const)(
    'of an event as %s happens once, however many egresses it goes to',
    async (format) => {
      const { url, received } = await subscriber(answer(202));
      const deliverer = openDeliverer();
      const attributes = new CountedAttributes();
      for (const [name, value] of event.attributes) attributes.set(name, value);
      const counted: CloudEvent = { ...event, attributes };
      await deliverer.deliver(requestTo(url, { event: counted, format, namespace: 'a' }));
      const walksOfOne = attributes.walks;
      expect(walksOfOne).toBeGreaterThan(0);
      await deliverer.deliver(requestTo(url, { event: counted, format, namespace: 'b' }));
      expect(attributes.walks).toBe(walksOfOne);
      expect(received.map(({ headers }) => headers['kn-namespace'])).toEqual(['a', 'b']);
    },
  );
});
