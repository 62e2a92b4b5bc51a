/** What arrives at subscribers: attributes, data, headers. Rows C-ATTR of docs/conformance.md. */
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
import { answered, brokered, channelled, dead, replying, TO_CHANNEL } from './scenes.ts';

const TRACEPARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
/** Bytes that are no text in any encoding. */
const BYTES = Buffer.from([0, 255, 128, 10, 13, 0]);

const ROWS: readonly Row[] = [
  {
    id: 'C-ATTR-01',
    name: 'what a producer sets arrives as it was, unknown extensions included',
    resources: brokered(),
    events: [
      {
        attributes: {
          subject: 'a-b',
          time: '2026-01-02T03:04:05.678Z',
          dataschema: 'http://a/b',
          tenant: 'x7',
        },
        headers: { 'content-type': 'application/xml' },
      },
    ],
    calls: { sub: 1 },
    arrives: {
      sub: {
        headers: {
          'ce-specversion': '1.0',
          'ce-id': 'e1',
          'ce-source': '/e2e',
          'ce-type': 'asked',
          'ce-subject': 'a-b',
          'ce-time': '2026-01-02T03:04:05.678Z',
          'ce-dataschema': 'http://a/b',
          'ce-tenant': 'x7',
          'content-type': 'application/xml',
        },
      },
    },
  },
  ...[brokered(), channelled()].map((resources, index): Row => ({
    id: 'C-ATTR-02',
    name: `data is not touched: ${index === 0 ? 'Broker' : 'channel'}`,
    resources,
    events: [{ to: index === 0 ? 'main' : TO_CHANNEL, body: BYTES }],
    arrives: { sub: { body: BYTES } },
  })),
  {
    id: 'C-ATTR-03',
    name: 'a Broker stamps the time of arrival over an older one',
    resources: brokered(),
    events: [{ attributes: { knativearrivaltime: '2001-01-01T00:00:00Z' } }],
    arrives: {
      sub: { headers: { 'ce-knativearrivaltime': expect.stringMatching(/^20[^0].*T.*\.\d{3}Z$/) } },
    },
  },
  {
    id: 'C-ATTR-04',
    name: 'a channel adds no attribute',
    resources: channelled(),
    events: [{ to: TO_CHANNEL, attributes: { tenant: 'x7' } }],
    check: ({ at }) => {
      const names = Object.keys(at('sub')[0]?.headers ?? {}).filter((name) =>
        name.startsWith('ce-'),
      );
      expect(names.sort()).toEqual([
        'ce-id',
        'ce-source',
        'ce-specversion',
        'ce-tenant',
        'ce-type',
      ]);
    },
  },
  ...[
    { name: 'absent', attributes: {} },
    { name: 'not a number', attributes: { knativebrokerttl: 'many' } },
  ].map(({ name, attributes }): Row => ({
    id: 'C-ATTR-05',
    name: `a loop of replies ends after 255 rounds where the count is ${name}`,
    resources: (place: Place) => [
      broker('main'),
      trigger('loop', { subscriber: place.url('sub'), delivery: { retry: 0, ...dead(place) } }),
    ],
    // That the reply brings a count of its own changes nothing (C-ATTR-08).
    answers: { sub: answered({ 'ce-knativebrokerttl': '200' }) },
    events: [{ attributes }],
    calls: { sub: 255, dead: 1 },
  })),
  {
    id: 'C-ATTR-06',
    name: 'an event whose hops are used up is refused',
    resources: brokered(),
    events: [
      { attributes: { knativebrokerttl: '1' }, status: 400 },
      { attributes: { knativebrokerttl: '0' }, status: 400 },
      { attributes: { knativebrokerttl: '2' } },
    ],
    calls: { sub: 1 },
  },
  {
    id: 'C-ATTR-07',
    name: 'subscribers do not see the hop count',
    resources: brokered(),
    events: [{ attributes: { knativebrokerttl: '9' } }],
    arrives: { sub: { without: ['ce-knativebrokerttl'] } },
  },
  {
    id: 'C-ATTR-08',
    name: 'a reply goes on with the hop count of the event that it answers',
    resources: (place) => [
      broker('main'),
      trigger('loop', { subscriber: place.url('sub'), delivery: { retry: 0, ...dead(place) } }),
    ],
    answers: { sub: answered({ 'ce-knativebrokerttl': '200' }) },
    // Three are left for the Broker: 3, 2, 1.
    events: [{ attributes: { knativebrokerttl: '4' } }],
    calls: { sub: 3, dead: 1 },
  },
  {
    id: 'C-ATTR-20',
    name: 'it stays with an event and its replies on the way through a channel of knear',
    resources: ({ url }) => [
      broker('main'),
      channel('main'),
      trigger('in', { subscriber: channelRef('main') }),
      subscription('out', {
        channel: 'main',
        subscriber: url('sub'),
        reply: brokerRef('main'),
        delivery: { retry: 0, deadLetterSink: { uri: url('dead') } },
      }),
    ],
    answers: { sub: answered() },
    events: [{ attributes: { knativebrokerttl: '5' } }],
    calls: { sub: 4, dead: 1 },
    arrives: { dead: { headers: { 'ce-knativeerrorcode': '400' } } },
  },
  ...[brokered(), channelled()].map((resources, index): Row => ({
    id: 'C-ATTR-09',
    name: `a subscriber is asked for a reply: ${index === 0 ? 'Trigger' : 'Subscription without reply'}`,
    resources,
    events: [{ to: index === 0 ? 'main' : TO_CHANNEL }],
    arrives: { sub: { headers: { prefer: 'reply' } } },
  })),
  {
    id: 'C-ATTR-10',
    name: 'neither a dead letter sink nor a reply address is asked for one',
    resources: replying(),
    answers: { sub: answered(), reply: { status: 400 } },
    events: [{ to: TO_CHANNEL }],
    calls: { sub: 1, reply: 1, dead: 1 },
    arrives: { reply: { without: ['prefer'] }, dead: { without: ['prefer'] } },
  },
  {
    id: 'C-ATTR-11',
    name: 'delivery, reply and dead letter name the namespace',
    resources: replying(),
    answers: { sub: answered(), reply: { status: 400 } },
    events: [{ to: TO_CHANNEL, headers: { 'kn-namespace': 'forged' } }],
    check: ({ at, namespace }) => {
      const names = ['sub', 'reply', 'dead'].map((path) => at(path)[0]?.headers['kn-namespace']);
      expect(names).toEqual([namespace, namespace, namespace]);
    },
  },
  {
    id: 'C-ATTR-12',
    name: 'some headers of a producer travel with the event, the others do not',
    resources: brokered(),
    events: [
      {
        headers: {
          'x-request-id': 'r-1',
          'retry-after': '7',
          'x-b3-traceid': 'b3',
          'knative-hello': 'world',
          'x-other': 'dropped',
          authorization: 'Bearer dropped',
        },
      },
    ],
    arrives: {
      sub: {
        headers: {
          'x-request-id': 'r-1',
          'retry-after': '7',
          'x-b3-traceid': 'b3',
          'knative-hello': 'world',
        },
        without: ['x-other', 'authorization'],
      },
    },
  },
  {
    id: 'C-ATTR-13',
    name: 'so do those of a subscriber with its reply',
    resources: replying(),
    answers: { sub: answered({ 'knative-step': 'one', 'x-other': 'dropped' }) },
    events: [{ to: TO_CHANNEL, headers: { 'knative-hello': 'world' } }],
    arrives: {
      reply: { headers: { 'knative-step': 'one' }, without: ['x-other', 'knative-hello'] },
    },
  },
  {
    id: 'C-ATTR-14',
    name: 'the trace context goes through',
    resources: channelled(),
    events: [
      {
        to: TO_CHANNEL,
        attributes: { traceparent: TRACEPARENT },
        headers: { traceparent: TRACEPARENT, tracestate: 'a=1' },
      },
    ],
    arrives: {
      sub: {
        headers: {
          traceparent: expect.stringContaining('4bf92f3577b34da6a3ce929d0e0e4736'),
          tracestate: 'a=1',
          'ce-traceparent': TRACEPARENT,
        },
      },
    },
  },
  ...[
    { to: 'main', resources: brokered() },
    { to: 'main', resources: brokered({ retry: 0, format: 'json' }), isJson: true },
    { to: TO_CHANNEL, resources: channelled() },
  ].map(({ to, resources, isJson = false }): Row => ({
    id: 'C-ATTR-15',
    name: `version 0.3 stays 0.3: ${to}${isJson ? ' in structured mode' : ''}`,
    resources,
    events: [{ to, attributes: { specversion: '0.3', schemaurl: '/a' } }],
    arrives: {
      sub: isJson
        ? { json: { specversion: '0.3', schemaurl: '/a', data: { a: 1 } } }
        : { headers: { 'ce-specversion': '0.3', 'ce-schemaurl': '/a' } },
    },
  })),
  {
    id: 'C-ATTR-16',
    name: 'a structured event leaves in binary mode',
    resources: brokered(),
    events: [{ json: { datacontenttype: 'application/json', count: 7, data: { a: [1] } } }],
    arrives: {
      sub: { headers: { 'content-type': 'application/json', 'ce-count': '7' }, body: '{"a":[1]}' },
    },
  },
  {
    id: 'C-ATTR-17',
    name: 'text beyond plain ASCII is percent-encoded in headers, and decoded from them',
    resources: ({ url }) => [
      broker('main'),
      trigger('all', { filter: { subject: 'a ü' }, subscriber: url('sub') }),
    ],
    events: [{ json: { subject: 'a ü' } }, { attributes: { subject: 'a%20%C3%BC' } }],
    calls: { sub: 2 },
    check: ({ at }) => {
      const subjects = at('sub').map(({ headers }) => headers['ce-subject']);
      expect(subjects).toEqual(['a%20%C3%BC', 'a%20%C3%BC']);
    },
  },
  {
    id: 'C-ATTR-18',
    name: 'names may be in capitals, which are lowered, and longer than 20 characters',
    resources: brokered(),
    events: [{ json: { myExtension: 'a', averyveryverylongextension: 'b' } }],
    arrives: {
      sub: { headers: { 'ce-myextension': 'a', 'ce-averyveryverylongextension': 'b' } },
    },
  },
  {
    id: 'C-ATTR-19',
    name: 'integers and booleans of JSON stay what they are',
    resources: brokered({ retry: 0, format: 'json' }),
    events: [{ json: { count: 7, flag: true, text: '7' } }],
    arrives: { sub: { json: { count: 7, flag: true, text: '7' } } },
  },
];

describeRows('what arrives', ROWS);
