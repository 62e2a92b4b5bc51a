/** What becomes of events that no subscriber takes. Rows C-DEAD of docs/conformance.md. */
import { expect } from '@jest/globals';
import {
  broker,
  brokerRef,
  channel,
  channelRef,
  subscription,
  trigger,
} from '../../e2e/manifests.ts';
import { describeRows, type Place, type Row } from './rows.ts';
import { base64, dead, failFirst, failing, TO_CHANNEL } from './scenes.ts';

/** What a subscriber answers at most here; not all of it is text. */
const LONG = Buffer.from(Array.from({ length: 5_000 }, (_, index) => index % 256));

const errorData = (data: string | Uint8Array) => ({
  headers: { 'ce-knativeerrordata': base64(data) },
});

const ROWS: readonly Row[] = [
  {
    id: 'C-DEAD-01',
    name: 'the sink gets the event as it came, once, after all retries',
    resources: failing({ retry: 2 }),
    answers: { sub: { status: 500 } },
    events: [
      { attributes: { tenant: 'x7' }, headers: { 'knative-hello': 'world' }, body: 'the data' },
    ],
    calls: { sub: 3, dead: 1 },
    arrives: {
      dead: {
        headers: { 'ce-id': 'e1', 'ce-tenant': 'x7', 'knative-hello': 'world' },
        body: 'the data',
      },
    },
  },
  {
    id: 'C-DEAD-02',
    name: 'a 422 is one attempt and exactly one dead letter, whatever retry says',
    resources: failing({ retry: 10 }),
    answers: { sub: { status: 422 } },
    events: [{}],
    calls: { sub: 1, dead: 1 },
    arrives: { dead: { headers: { 'ce-knativeerrorcode': '422' } } },
  },
  {
    id: 'C-DEAD-03',
    name: 'knativeerrordest is the address that failed',
    resources: failing({ retry: 0 }),
    answers: { sub: { status: 500 } },
    events: [{}],
    check: ({ at, url }) => {
      expect(at('dead')[0]?.headers['ce-knativeerrordest']).toBe(url('sub'));
    },
  },
  {
    id: 'C-DEAD-04',
    name: 'knativeerrorcode is the status of the last attempt',
    resources: failing({ retry: 1 }),
    answers: { sub: ({ nth }) => ({ status: nth === 1 ? 503 : 409 }) },
    events: [{}],
    arrives: { dead: { headers: { 'ce-knativeerrorcode': '409' } } },
  },
  {
    id: 'C-DEAD-05',
    name: 'where nobody answers it is 500, and the data says why',
    resources: failing({ retry: 0 }, ({ nobody }) => nobody),
    events: [{}],
    calls: { dead: 1 },
    check: ({ at, nobody }) => {
      const { headers } = at('dead')[0] ?? {};
      expect(headers).toMatchObject({
        'ce-knativeerrordest': nobody,
        'ce-knativeerrorcode': '500',
      });
      const data = Buffer.from(headers?.['ce-knativeerrordata'] ?? '', 'base64').toString();
      expect(data).toMatch(/^dispatch error: .*ECONNREFUSED/);
    },
  },
  ...[
    { name: 'a text', body: '{ "message": "catastrophic failure" }' },
    { name: 'bytes', body: LONG.subarray(0, 256) },
    { name: 'line breaks and quotes', body: '"\r\nce-id: x' },
  ].map(({ name, body }): Row => ({
    id: 'C-DEAD-06',
    name: `knativeerrordata is the answer in base64: ${name}`,
    resources: failing({ retry: 0 }),
    answers: { sub: { status: 422, body } },
    events: [{}],
    arrives: { dead: errorData(body) },
  })),
  {
    id: 'C-DEAD-07',
    name: 'and is absent where the answer has no body',
    resources: failing({ retry: 0 }),
    answers: { sub: { status: 422 } },
    events: [{}],
    arrives: { dead: { without: ['ce-knativeerrordata'] } },
  },
  ...[768, 769, 1024, 5_000].flatMap((size) =>
    ['text', 'bytes'].map((kind): Row => {
      const body = kind === 'text' ? Buffer.alloc(size, 'abcdefg') : LONG.subarray(0, size);
      return {
        id: 'C-DEAD-08',
        name: `of ${String(size)} bytes of ${kind} it has the first 768, which are 1,024 characters`,
        resources: failing({ retry: 0 }),
        answers: { sub: { status: 400, body } },
        events: [{}],
        arrives: { dead: errorData(body.subarray(0, 768)) },
        check: ({ at }) => {
          expect(at('dead')[0]?.headers['ce-knativeerrordata']).toHaveLength(1_024);
        },
      };
    }),
  ),
  {
    id: 'C-DEAD-09',
    name: 'an event that fails again after its rescue tells of the last failure only',
    resources: (place) => [
      broker('main'),
      broker('rescue'),
      trigger('a', {
        subscriber: place.url('sub'),
        delivery: { retry: 0, deadLetterSink: brokerRef('rescue') },
      }),
      trigger('b', {
        broker: 'rescue',
        subscriber: place.url('again'),
        delivery: { retry: 0, ...dead(place) },
      }),
    ],
    answers: { sub: { status: 422, body: 'first' }, again: { status: 415 } },
    events: [{}],
    calls: { sub: 1, again: 1, dead: 1 },
    arrives: {
      again: { headers: { 'ce-knativeerrorcode': '422', 'ce-knativeerrordata': base64('first') } },
      dead: { headers: { 'ce-knativeerrorcode': '415' }, without: ['ce-knativeerrordata'] },
    },
  },
  ...[
    { name: 'without a delivery', delivery: undefined, calls: { sub: 2 } },
    { name: 'with retries of its own', delivery: { retry: 2 }, calls: { sub: 3 } },
    { name: 'with a timeout alone', delivery: { timeout: 'PT10S' }, calls: { sub: 1 } },
  ].map(({ name, delivery, calls }): Row => ({
    id: 'C-DEAD-10',
    name: `a Trigger ${name} has the sink of its Broker`,
    resources: (place: Place) => [
      broker('main', { delivery: { retry: 1, ...dead(place) } }),
      trigger('all', { subscriber: place.url('sub'), ...(delivery && { delivery }) }),
    ],
    answers: { sub: { status: 500 } },
    events: [{}],
    calls: { ...calls, dead: 1 },
    statuses: {
      'Trigger/all': {
        isReady: true,
        fields: ({ url }: Place) => ({ deadLetterSinkUri: url('dead') }),
      },
    },
  })),
  {
    id: 'C-DEAD-11',
    name: 'a Subscription has the sink of its channel beside retries of its own',
    resources: (place) => [
      channel('main', { delivery: dead(place) }),
      subscription('all', {
        channel: 'main',
        subscriber: place.url('sub'),
        delivery: { retry: 1 },
      }),
    ],
    answers: { sub: { status: 500 } },
    events: [{ to: TO_CHANNEL }],
    calls: { sub: 2, dead: 1 },
  },
  {
    id: 'C-DEAD-12',
    name: "a Trigger's own sink leaves nothing to that of its Broker",
    resources: (place) => [
      broker('main', { delivery: { deadLetterSink: { uri: place.url('of-broker') } } }),
      trigger('all', { subscriber: 'bad://uri', delivery: dead(place) }),
    ],
    events: [{}, {}, {}],
    calls: { dead: 3 },
  },
  {
    id: 'C-DEAD-13',
    name: 'the sink has the same retries',
    resources: failing({ retry: 2 }),
    answers: { sub: { status: 400 }, dead: failFirst(2) },
    events: [{}],
    calls: { sub: 1, dead: 3 },
  },
  ...[
    { end: 'parked', annotations: {}, count: 1 },
    { end: 'dropped', annotations: { 'knear.dev/exhausted': 'drop' }, count: 0 },
  ].flatMap(({ end, annotations, count }) =>
    [true, false].map((hasSink): Row => ({
      id: end === 'parked' ? 'C-DEAD-14' : 'C-DEAD-15',
      name: `an event that ${hasSink ? 'its sink does not take either' : 'has no sink'} is ${end}`,
      resources: (place: Place) => [
        broker('main'),
        trigger('all', {
          annotations,
          subscriber: place.url('sub'),
          delivery: { retry: 0, ...(hasSink && dead(place)) },
        }),
      ],
      answers: { sub: { status: 500 }, dead: { status: 500 } },
      events: [{}],
      calls: { sub: 1, ...(hasSink && { dead: 1 }) },
      check: async ({ program, namespace }) => {
        const egress = `trigger:all.${namespace}`;
        expect(await program.metric('knear_ended_total', { egress, end })).toBe(1);
        expect(await program.metric('knear_lag', { egress, state: 'parked' })).toBe(count);
      },
    })),
  ),
  {
    id: 'C-DEAD-16',
    name: 'a Trigger to bad://uri is ready, and its events are dead letters at once',
    resources: failing({ retry: 5 }, () => 'bad://uri'),
    events: [{}, {}, {}],
    calls: { dead: 3 },
    statuses: { 'Trigger/all': { isReady: true, fields: { subscriberUri: 'bad://uri' } } },
    arrives: { dead: { headers: { 'ce-knativeerrordest': 'bad://uri' } } },
  },
  {
    id: 'C-DEAD-16',
    name: 'so is one without a delivery, with the sink of its Broker',
    resources: (place) => [
      broker('main', { delivery: { retry: 1, ...dead(place) } }),
      trigger('all', { subscriber: 'bad://uri' }),
    ],
    events: [{}],
    calls: { dead: 1 },
    statuses: { 'Trigger/all': { isReady: true } },
  },
  {
    id: 'C-DEAD-17',
    name: 'the sink may be a channel of ours by reference',
    resources: ({ url }) => [
      broker('main'),
      channel('graves'),
      trigger('all', {
        subscriber: url('sub'),
        delivery: { retry: 0, deadLetterSink: channelRef('graves') },
      }),
      subscription('graves', { channel: 'graves', subscriber: url('graves') }),
    ],
    answers: { sub: { status: 422, body: 'no' } },
    events: [{}],
    calls: { sub: 1, graves: 1 },
    arrives: {
      graves: { headers: { 'ce-knativeerrorcode': '422', ...errorData('no').headers } },
    },
  },
  {
    id: 'C-DEAD-18',
    name: 'a Trigger whose sink leads nowhere is not ready and delivers all the same',
    resources: ({ url }) => [
      broker('main'),
      trigger('all', {
        subscriber: url('sub'),
        delivery: {
          retry: 0,
          deadLetterSink: { ref: { apiVersion: 'v1', kind: 'Service', name: 'gone' } },
        },
      }),
    ],
    answers: { sub: ({ id }) => (id === 'e1' ? {} : { status: 500 }) },
    events: [{}, {}],
    calls: { sub: 2 },
    statuses: {
      'Trigger/all': {
        isReady: false,
        conditions: {
          DeadLetterSinkResolved: expect.stringMatching(/^False /),
          SubscriberResolved: 'True',
        },
      },
    },
    check: async ({ program, namespace }) => {
      const egress = `trigger:all.${namespace}`;
      expect(await program.metric('knear_lag', { egress, state: 'parked' })).toBe(1);
    },
  },
  {
    id: 'C-DEAD-19',
    name: 'dead letters have no hop count',
    resources: failing({ retry: 0 }),
    answers: { sub: { status: 400 } },
    events: [{ attributes: { knativebrokerttl: '9' } }],
    arrives: { dead: { without: ['ce-knativebrokerttl'] } },
  },
  {
    id: 'C-DEAD-20',
    name: 'the format of a Trigger holds for its dead letters',
    resources: failing({ retry: 0, format: 'json' }),
    answers: { sub: { status: 422 } },
    events: [{}],
    arrives: {
      dead: { without: ['ce-id'], json: { id: 'e1', knativeerrorcode: '422', data: { a: 1 } } },
    },
  },
];

describeRows('dead letters', ROWS);
