/** What subscribers answer, and where it goes. Rows C-REPLY of docs/conformance.md. */
import { expect } from '@jest/globals';
import {
  broker,
  brokerRef,
  channel,
  channelRef,
  subscription,
  trigger,
} from '../../e2e/manifests.ts';
import type { Reply } from '../../e2e/subscriber.ts';
import { describeRows, type Row } from './rows.ts';
import {
  answered,
  asking,
  base64,
  brokered,
  channelled,
  failFirst,
  replying,
  TO_CHANNEL,
} from './scenes.ts';

const ANSWERED_JSON: Reply = {
  status: 200,
  headers: { 'content-type': 'application/cloudevents+json' },
  body: JSON.stringify({
    specversion: '1.0',
    id: 'r1',
    source: '/e2e',
    type: 'answered',
    data: { b: 2 },
  }),
};
const FOREIGN: Reply = { status: 200, headers: { 'content-type': 'text/plain' }, body: 'ok' };
/** An event without an id. */
const MALFORMED: Reply = {
  status: 200,
  headers: { 'ce-specversion': '1.0', 'ce-type': 'answered', 'ce-source': '/e2e' },
  body: 'x',
};

const ROWS: readonly Row[] = [
  ...[
    { mode: 'binary', reply: answered() },
    { mode: 'structured', reply: ANSWERED_JSON },
  ].map(({ mode, reply }): Row => ({
    id: 'C-REPLY-01',
    name: `an event in a 200 goes through the Broker again: ${mode}`,
    resources: asking(),
    answers: { sub: reply },
    events: [{}],
    calls: { sub: 1, answers: 1 },
    arrives: {
      answers: {
        headers: {
          'ce-id': 'r1',
          'ce-type': 'answered',
          'ce-knativearrivaltime': expect.any(String),
        },
      },
    },
  })),
  {
    id: 'C-REPLY-02',
    name: 'it meets the Trigger that produced it like all others',
    resources: ({ url }) => [
      broker('main'),
      trigger('all', { subscriber: url('sub') }),
      trigger('more', { filter: { type: 'answered' }, subscriber: url('answers') }),
    ],
    answers: { sub: ({ type }) => (type === 'asked' ? answered() : {}) },
    events: [{}],
    calls: { sub: 2, answers: 1 },
  },
  ...[200, 201, 202, 204, 299].map((status): Row => ({
    id: 'C-REPLY-03',
    name: `an empty ${String(status)} is the end`,
    resources: brokered({ retry: 3 }),
    answers: { sub: { status } },
    events: [{}],
    calls: { sub: 1 },
  })),
  ...[202, 201].map((status): Row => ({
    id: 'C-REPLY-04',
    name: `an event in a ${String(status)} is a reply as well`,
    resources: asking(),
    answers: { sub: { ...answered(), status } },
    events: [{}],
    calls: { sub: 1, answers: 1 },
  })),
  {
    id: 'C-REPLY-05',
    name: 'a 2xx with a body that is no event fails the delivery of a Trigger',
    resources: asking({ retry: 1 }),
    answers: { sub: FOREIGN },
    events: [{}],
    calls: { sub: 2, dead: 1 },
    arrives: {
      dead: {
        headers: {
          'ce-id': 'e1',
          'ce-knativeerrorcode': '502',
          'ce-knativeerrordata': base64('ok'),
        },
      },
    },
  },
  {
    id: 'C-REPLY-06',
    name: 'and is ignored by a Subscription',
    resources: replying({ retry: 1 }),
    answers: { sub: FOREIGN },
    events: [{ to: TO_CHANNEL }],
    calls: { sub: 1 },
  },
  {
    id: 'C-REPLY-07',
    name: 'an answer that begins as an event and is none fails the delivery of a Trigger',
    resources: asking({ retry: 1 }),
    answers: { sub: MALFORMED },
    events: [{}],
    calls: { sub: 2, dead: 1 },
    arrives: { dead: { headers: { 'ce-id': 'e1', 'ce-knativeerrorcode': '502' } } },
  },
  {
    id: 'C-REPLY-08',
    name: 'and of a Subscription with a reply address, which does not get it',
    resources: replying({ retry: 1 }),
    answers: { sub: MALFORMED },
    events: [{ to: TO_CHANNEL }],
    calls: { sub: 2, dead: 1 },
  },
  {
    id: 'C-REPLY-09',
    name: "a Subscription's reply goes to its reply address",
    resources: replying(),
    answers: { sub: answered() },
    events: [{ to: TO_CHANNEL }],
    calls: { sub: 1, reply: 1 },
    arrives: { reply: { headers: { 'ce-id': 'r1', 'ce-type': 'answered' }, body: 'the answer' } },
  },
  {
    id: 'C-REPLY-10',
    name: 'and nowhere without one',
    resources: channelled(),
    answers: { sub: answered() },
    events: [{ to: TO_CHANNEL }],
    calls: { sub: 1 },
  },
  {
    id: 'C-REPLY-11',
    name: 'a reply that is not taken is tried again alone, then the event is a dead letter',
    resources: replying({ retry: 2 }),
    answers: { sub: answered(), reply: { status: 500, body: 'full' } },
    events: [{ to: TO_CHANNEL, body: 'the question' }],
    calls: { sub: 1, reply: 3, dead: 1 },
    arrives: {
      dead: { headers: { 'ce-id': 'e1', 'ce-knativeerrorcode': '500' }, body: 'the question' },
    },
    check: ({ at, url }) => {
      expect(at('dead')[0]?.headers['ce-knativeerrordest']).toBe(url('reply'));
    },
  },
  // Knative's own rows for this: one failure of the subscriber and none to two of the reply, with one retry.
  ...[
    { fails: 0, calls: { sub: 2, reply: 1 } },
    { fails: 1, calls: { sub: 2, reply: 2 } },
    { fails: 2, calls: { sub: 2, reply: 2, dead: 1 } },
  ].map(({ fails, calls }): Row => ({
    id: 'C-REPLY-11',
    name: `subscriber and reply address have the same retries each, and ${String(fails)} failures use up as many`,
    resources: replying({ retry: 1 }),
    answers: {
      sub: ({ nth }) => (nth === 1 ? { status: 500 } : answered()),
      reply: failFirst(fails),
    },
    events: [{ to: TO_CHANNEL }],
    calls,
  })),
  {
    id: 'C-REPLY-13',
    name: 'a reply that the Broker refuses for good is not tried again',
    resources: asking({ retry: 5 }),
    answers: { sub: answered() },
    // One hop is left: it is the event's own, so the reply has none.
    events: [{ attributes: { knativebrokerttl: '2' } }],
    calls: { sub: 1, dead: 1 },
    check: ({ at, door }) => {
      expect(at('dead')[0]?.headers).toMatchObject({
        'ce-id': 'e1',
        'ce-knativeerrordest': door('main'),
        'ce-knativeerrorcode': '400',
      });
    },
  },
  {
    id: 'C-REPLY-14',
    name: 'what a dead letter sink answers is no reply',
    resources: asking(),
    answers: { sub: { status: 400 }, dead: answered() },
    events: [{}],
    calls: { sub: 1, dead: 1 },
  },
  {
    id: 'C-REPLY-14',
    name: 'nor is what a reply address answers',
    resources: replying(),
    answers: { sub: answered(), reply: answered() },
    events: [{ to: TO_CHANNEL }],
    calls: { sub: 1, reply: 1 },
  },
  {
    id: 'C-REPLY-15',
    name: 'replies of 36 kB are taken',
    resources: asking(),
    answers: { sub: { ...answered(), body: 'x'.repeat(36_000) } },
    events: [{}],
    calls: { sub: 1, answers: 1 },
    arrives: { answers: { body: 'x'.repeat(36_000) } },
  },
  {
    id: 'C-REPLY-16',
    name: 'replies over the limit for events are not, and not asked for again',
    resources: asking({ retry: 5 }),
    answers: { sub: { ...answered(), body: Buffer.alloc(1024 * 1024 + 1) } },
    events: [{}],
    calls: { sub: 1, dead: 1 },
    arrives: { dead: { headers: { 'ce-knativeerrorcode': '502' } } },
  },
  {
    id: 'C-REPLY-17',
    name: 'the reply address may be a channel or a Broker by reference',
    resources: ({ url }) => [
      channel('main'),
      channel('next'),
      broker('bus'),
      subscription('a', { channel: 'main', subscriber: url('sub'), reply: channelRef('next') }),
      subscription('b', { channel: 'next', subscriber: url('next'), reply: brokerRef('bus') }),
      trigger('c', { broker: 'bus', subscriber: url('bus') }),
    ],
    answers: { sub: answered(), next: answered() },
    events: [{ to: TO_CHANNEL }],
    calls: { sub: 1, next: 1, bus: 1 },
    arrives: { bus: { headers: { 'ce-id': 'r1', 'ce-knativearrivaltime': expect.any(String) } } },
  },
];

describeRows('replies', ROWS, { flags: ['--event-max', '1Mi'] });
