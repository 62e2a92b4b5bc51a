/**
 * Which failed deliveries are tried again, how often, and in which form. How long the waits are is in waits.test.ts, in
 * simulated time. Rows C-RETRY of docs/conformance.md.
 */
import { afterEach, describe, expect, test } from '@jest/globals';
import {
  closeAll,
  openDeliverer,
  rawSubscriber,
  requestTo,
} from '../../dispatcher/deliver-subscribers.ts';
import { broker, channel, subscription, trigger } from '../../e2e/manifests.ts';
import { HANG } from '../../e2e/subscriber.ts';
import { describeRows, type Place, type Row } from './rows.ts';
import { answered, dead, failFirst, failing, TO_CHANNEL } from './scenes.ts';

const ROWS: readonly Row[] = [
  ...[404, 408, 409, 429, 500, 501, 503, 599].map((status): Row => ({
    id: 'C-RETRY-01',
    name: `a ${String(status)} is tried again`,
    resources: failing({ retry: 2 }),
    answers: { sub: failFirst(1, { status }) },
    events: [{}],
    calls: { sub: 2 },
  })),
  {
    id: 'C-RETRY-02',
    name: 'a reset is tried again',
    resources: failing({ retry: 1 }),
    answers: { sub: failFirst(1, { isReset: true }) },
    events: [{}],
    calls: { sub: 2 },
  },
  {
    id: 'C-RETRY-02',
    name: 'so is what gets no answer in time',
    // It holds for the sink, too: a machine that stood still for a second has made it late.
    resources: failing({ retry: 1, timeout: 'PT3S' }),
    answers: { sub: HANG },
    events: [{}],
    calls: { sub: 2, dead: 1 },
  },
  ...[400, 401, 403, 405, 410, 413, 415, 422, 451].map((status): Row => ({
    id: 'C-RETRY-03',
    name: `a ${String(status)} is not tried again`,
    resources: failing({ retry: 5 }),
    answers: { sub: { status } },
    events: [{}],
    calls: { sub: 1, dead: 1 },
    arrives: { dead: { headers: { 'ce-knativeerrorcode': String(status) } } },
  })),
  ...[300, 301, 302, 303, 304, 307, 308].map((status): Row => ({
    id: 'C-RETRY-04',
    name: `a ${String(status)} fails at once and is not followed`,
    resources: failing({ retry: 5 }),
    answers: { sub: { status, headers: { location: 'elsewhere' } } },
    events: [{}],
    calls: { sub: 1, dead: 1 },
    arrives: { dead: { headers: { 'ce-knativeerrorcode': String(status) } } },
  })),
  {
    id: 'C-RETRY-05',
    name: 'a status that no specification knows is tried again',
    resources: failing({ retry: 1 }),
    answers: { sub: failFirst(1, { status: 600 }) },
    events: [{}],
    calls: { sub: 2 },
  },
  ...[0, 1, 3].map((retry): Row => ({
    id: 'C-RETRY-07',
    name: `retry ${String(retry)} makes ${String(retry + 1)} attempts`,
    resources: failing({ retry }),
    answers: { sub: { status: 500 } },
    events: [{}],
    calls: { sub: retry + 1, dead: 1 },
  })),
  // Knative's own table: Broker's retries, Trigger's retries, failures, and whether it gets through.
  ...[
    { of: 'the Broker', broker: { retry: 3 }, fails: 3, calls: { sub: 4 } },
    { of: 'the Broker', broker: { retry: 3 }, fails: 4, calls: { sub: 4, dead: 1 } },
    { of: 'the Trigger', broker: { retry: 1 }, own: { retry: 3 }, fails: 3, calls: { sub: 4 } },
    {
      of: 'the Trigger',
      broker: { retry: 0 },
      own: { retry: 1 },
      fails: 2,
      calls: { sub: 2, dead: 1 },
    },
  ].map(({ of, own, fails, calls, ...rest }): Row => ({
    id: 'C-RETRY-19',
    name: `retries are those of ${of}, with ${String(fails)} failures`,
    resources: (place: Place) => [
      broker('main', { delivery: { ...rest.broker, ...dead(place) } }),
      trigger('all', { subscriber: place.url('sub'), ...(own && { delivery: own }) }),
    ],
    answers: { sub: failFirst(fails) },
    events: [{}],
    calls,
  })),
  {
    id: 'C-RETRY-20',
    name: "a delivery with nothing but a sink has no retries, whatever the Broker's are",
    resources: (place) => [
      broker('main', { delivery: { retry: 3 } }),
      trigger('all', { subscriber: place.url('sub'), delivery: dead(place) }),
    ],
    answers: { sub: { status: 500 } },
    events: [{}],
    calls: { sub: 1, dead: 1 },
  },
  {
    id: 'C-RETRY-21',
    name: 'a Subscription has the retries of its channel, unless it has a delivery',
    resources: (place) => [
      channel('main', { delivery: { retry: 2, ...dead(place) } }),
      subscription('a', { channel: 'main', subscriber: place.url('a') }),
      subscription('b', { channel: 'main', subscriber: place.url('b'), delivery: { retry: 1 } }),
    ],
    answers: { a: { status: 500 }, b: { status: 500 } },
    events: [{ to: TO_CHANNEL }],
    calls: { a: 3, b: 2, dead: 2 },
  },
  {
    id: 'C-RETRY-22',
    name: 'a subscriber that fails holds up nobody else',
    resources: (place) => [
      broker('main'),
      trigger('bad', { subscriber: 'bad://uri', delivery: { retry: 3, ...dead(place) } }),
      trigger('worse', { subscriber: place.url('worse'), delivery: { retry: 3, ...dead(place) } }),
      trigger('good', { subscriber: place.url('good') }),
    ],
    answers: { worse: { status: 500 } },
    events: [{}],
    calls: { worse: 4, good: 1, dead: 2 },
  },
  {
    id: 'C-RETRY-23',
    name: 'requests in flight become fewer where a subscriber is overloaded',
    resources: ({ url }) => [
      broker('main'),
      trigger('all', { subscriber: url('sub'), delivery: { retry: 4 } }),
    ],
    answers: { sub: failFirst(4, { status: 503 }) },
    events: [{}, {}, {}],
    check: async ({ program, namespace }) => {
      const slots = await program.metric('knear_slots_limit', {
        egress: `trigger:all.${namespace}`,
      });
      // Four at first.
      expect(slots).toBeLessThan(4);
    },
  },
  ...[
    { name: 'a Broker', to: 'main', delivery: { retry: 0, format: 'json' } },
    { name: 'a channel', to: TO_CHANNEL, delivery: { retry: 0, format: 'json' } },
  ].map(({ name, to, delivery }): Row => ({
    id: 'C-RETRY-24',
    name: `format is not inherited from ${name}`,
    resources: ({ url }: Place) =>
      to === 'main'
        ? [broker('main', { delivery }), trigger('all', { subscriber: url('sub') })]
        : [
            channel('main', { delivery }),
            subscription('all', { channel: 'main', subscriber: url('sub') }),
          ],
    events: [{ to }],
    arrives: { sub: { headers: { 'ce-id': 'e1', 'content-type': 'application/json' } } },
  })),
  {
    id: 'C-RETRY-25',
    name: 'a Trigger has the format that it asks for',
    resources: ({ url }) => [
      broker('main'),
      trigger('json', { subscriber: url('json'), delivery: { format: 'json' } }),
      trigger('binary', { subscriber: url('binary'), delivery: { format: 'binary' } }),
    ],
    events: [{ json: { data: { a: 1 } } }],
    arrives: {
      json: {
        headers: { 'content-type': expect.stringContaining('application/cloudevents+json') },
        json: { id: 'e1', data: { a: 1 } },
      },
      binary: { headers: { 'ce-id': 'e1' }, body: '{"a":1}' },
    },
  },
  {
    id: 'C-RETRY-26',
    name: 'and so has a Subscription, for its reply as well',
    resources: ({ url }) => [
      channel('main'),
      subscription('all', {
        channel: 'main',
        subscriber: url('sub'),
        reply: url('reply'),
        delivery: { format: 'json' },
      }),
    ],
    answers: {
      sub: answered(),
    },
    events: [{ to: TO_CHANNEL }],
    arrives: { sub: { json: { id: 'e1' } }, reply: { json: { id: 'r1' } } },
  },
  {
    id: 'C-RETRY-18',
    name: 'Retry-After may be seconds or a date',
    resources: ({ url }) => [
      broker('main'),
      ...['seconds', 'date'].map((name) =>
        trigger(name, { subscriber: url(name), delivery: { retry: 1, retryAfterMax: 'PT10S' } }),
      ),
    ],
    answers: {
      seconds: failFirst(1, { status: 429, headers: { 'retry-after': '1' } }),
      date: ({ nth }) =>
        nth > 1 ? {} : { status: 503, headers: { 'retry-after': inTwoSeconds() } },
    },
    events: [{}],
    calls: { seconds: 2, date: 2 },
    check: ({ at }) => {
      for (const path of ['seconds', 'date']) {
        const [first, second] = at(path);
        // Whole seconds: two from now are at least one.
        expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThanOrEqual(990);
      }
    },
  },
  {
    id: 'C-RETRY-28',
    name: 'events of one key keep their order where the Trigger asks for it, retries and all',
    resources: ({ url }) => [
      broker('main'),
      trigger('all', {
        annotations: { 'knear.dev/order': 'key' },
        subscriber: url('sub'),
        delivery: { retry: 2, backoffPolicy: 'linear', backoffDelay: 'PT0.02S' },
      }),
    ],
    answers: { sub: failFirst(1) },
    events: Array.from({ length: 4 }, () => ({ attributes: { partitionkey: 'k' } })),
    check: ({ at }) => {
      expect(at('sub').map(({ id, nth }) => `${id} ${String(nth)}`)).toEqual(
        ['e1', 'e2', 'e3', 'e4'].flatMap((id) => [`${id} 1`, `${id} 2`]),
      );
    },
  },
];

function inTwoSeconds(): string {
  return new Date(Date.now() + 2_000).toUTCString();
}

describeRows('retries', ROWS);

describe('an attempt over HTTP', () => {
  afterEach(closeAll);

  test.each(['102 Processing', '103 Early Hints'])(
    'C-RETRY-06: is not over with an interim answer: %s',
    async (line) => {
      const final = 'HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n';
      const { url } = await rawSubscriber((socket) => {
        socket.once('data', () => socket.write(`HTTP/1.1 ${line}\r\n\r\n${final}`));
      });
      const outcome = await openDeliverer().deliver(requestTo(url));
      expect(outcome).toEqual({ kind: 'accepted', status: 202 });
    },
  );
});
