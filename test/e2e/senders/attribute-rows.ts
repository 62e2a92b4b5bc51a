/**
 * Requests in binary mode whose attributes, times or other headers are unusual and legal, or only look so.
 * Sources: CloudEvents HTTP Protocol Binding 1.0.2, section 3.1; CloudEvents 1.0.2, "Naming Conventions" and "time".
 */
import { binaryRow, type Row } from './rows.ts';

const JSON_LINE = 'Content-Type: application/json';
const JSON_TYPE = { contentType: 'application/json' };

const latin1 = (text: string) => Buffer.from(text).toString('latin1');

export const ATTRIBUTE_ROWS: readonly Row[] = [
  binaryRow('names in capitals', {
    lines: ['CE-TENANT: T7', 'Ce-RegionCode: EU', 'CONTENT-TYPE: application/json'],
    attributes: { tenant: 'T7', regioncode: 'EU' },
    ...JSON_TYPE,
    body: '{}',
  }),
  binaryRow('percent-encoded UTF-8', {
    lines: ['ce-subject: Euro%20%E2%82%AC%20%F0%9F%98%80', JSON_LINE],
    attributes: { subject: 'Euro%20%E2%82%AC%20%F0%9F%98%80' },
    ...JSON_TYPE,
    body: '{}',
  }),
  binaryRow('percent-encoding in lower case and of letters', {
    lines: ['ce-subject: %c3%a9%41%2fb'],
    attributes: { subject: '%C3%A9A/b' },
  }),
  binaryRow('UTF-8 that is not encoded', {
    lines: [`ce-subject: ${latin1('Zoë 東京')}`],
    attributes: { subject: 'Zo%C3%AB%20%E6%9D%B1%E4%BA%AC' },
  }),
  binaryRow('Latin-1 that is not encoded', {
    lines: ['ce-subject: Zo\xeb'],
    attributes: { subject: 'Zo%C3%AB' },
  }),
  binaryRow('a percent sign that encodes nothing', {
    lines: ['ce-subject: 100% of %zz, 5%'],
    attributes: { subject: '100%25%20of%20%25zz,%205%25' },
  }),
  binaryRow('an encoded end of line', {
    lines: ['ce-subject: a%0d%0ace-id: b'],
    attributes: { subject: 'a%0D%0Ace-id:%20b' },
  }),
  binaryRow('encoded bytes that are no UTF-8', { lines: ['ce-subject: %E2%82'], events: 0 }),
  binaryRow('a quoted string', {
    lines: [String.raw`ce-subject: "say \"no\" to\\from"`],
    attributes: { subject: String.raw`say%20%22no%22%20to\from` },
  }),
  binaryRow('a quote inside of a value', {
    lines: ['ce-subject: 5" disk'],
    attributes: { subject: '5%22%20disk' },
  }),
  binaryRow('every printable character that needs no encoding', {
    lines: ["ce-subject: !#$&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~"],
    attributes: { subject: "!#$&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~" },
  }),
  binaryRow('white space around and within values', {
    lines: ['ce-subject: \t a\tb  c \t', 'ce-tenant:T7'],
    attributes: { subject: 'a%09b%20%20c', tenant: 'T7' },
  }),
  binaryRow('an extension twice', {
    lines: ['ce-tag: a', 'ce-tag: b'],
    attributes: { tag: 'a,%20b' },
  }),
  binaryRow('names that are long or begin with a digit', {
    lines: ['ce-averyveryverylongnameofanextension: 1', 'ce-3d: 2'],
    attributes: { averyveryverylongnameofanextension: '1', '3d': '2' },
  }),
  binaryRow('a value of 8 KiB', {
    lines: [`ce-blob: ${'x'.repeat(8 * 1024)}`],
    attributes: { blob: 'x'.repeat(8 * 1024) },
  }),
  binaryRow('forty extensions', {
    lines: Array.from(
      { length: 40 },
      (_, index) => `ce-extension${String(index)}: ${String(index)}`,
    ),
    attributes: Object.fromEntries(
      Array.from({ length: 40 }, (_, index) => [`extension${String(index)}`, String(index)]),
    ),
  }),
  binaryRow('numbers and booleans, which are texts in headers', {
    lines: ['ce-count: 007', 'ce-isurgent: TRUE'],
    attributes: { count: '007', isurgent: 'TRUE' },
  }),
  binaryRow('what a Broker sets, set by somebody else', {
    lines: ['ce-knativearrivaltime: 1999-01-01T00:00:00Z', 'ce-knativebrokerttl: 7'],
  }),
  binaryRow('a name with an underscore', { lines: ['ce-my_tag: a'], events: 0 }),
  binaryRow('a name with a hyphen', { lines: ['ce-my-tag: a'], events: 0 }),
  binaryRow('an attribute called data', { lines: ['ce-data: {}'], events: 0 }),

  binaryRow('no content type', { body: '{"a":1}' }),
  binaryRow('an empty content type', { lines: ['Content-Type:'], body: '{"a":1}' }),
  binaryRow('a content type with parameters', {
    lines: ['Content-Type: Application/JSON; charset="utf-8"; v=1;'],
    contentType: 'Application/JSON; charset="utf-8"; v=1;',
    body: '{}',
  }),
  binaryRow('the content type as an attribute only', {
    lines: ['ce-datacontenttype: text/csv'],
    contentType: 'text/csv',
    body: 'a,b\r\n',
  }),

  binaryRow('a time with nanoseconds and an offset', {
    lines: ['ce-time: 2026-11-25T01:02:03.123456789+05:45'],
    attributes: { time: '2026-11-25T01:02:03.123456789+05:45' },
  }),
  binaryRow('a time in lower case with a long fraction', {
    lines: ['ce-time: 2026-11-25t01:02:03.123456789123z'],
    attributes: { time: '2026-11-25t01:02:03.123456789123z' },
  }),
  binaryRow('a time of unknown offset in a leap second', {
    lines: ['ce-time: 2016-12-31T23:59:60-00:00'],
    attributes: { time: '2016-12-31T23:59:60-00:00' },
  }),
  binaryRow('a time with encoded signs', {
    lines: ['ce-time: 2026-11-25T01%3A02%3A03%2B01%3A00'],
    attributes: { time: '2026-11-25T01:02:03+01:00' },
  }),
  binaryRow('a time without an offset', { lines: ['ce-time: 2026-11-25T01:02:03'], events: 0 }),
  binaryRow('a time in the form of HTTP', {
    lines: ['ce-time: Wed, 25 Nov 2026 01:02:03 GMT'],
    events: 0,
  }),
  binaryRow('a time in milliseconds', { lines: ['ce-time: 1795568523000'], events: 0 }),

  binaryRow('headers beside the event', {
    lines: [
      'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      'X-Request-Id: r-1',
      'X-B3-TraceId: 80f198ee56343ba8',
      'Knative-Colour: red',
      'Authorization: Bearer secret',
      'Cookie: session=secret',
      'X-Forwarded-For: 10.0.0.1',
      'X-GitHub-Event: push',
      'User-Agent: somebody/1',
    ],
    headers: {
      'x-request-id': 'r-1',
      'x-b3-traceid': '80f198ee56343ba8',
      'knative-colour': 'red',
      authorization: undefined,
      cookie: undefined,
      'x-forwarded-for': undefined,
      'x-github-event': undefined,
      'user-agent': undefined,
    },
  }),
];
