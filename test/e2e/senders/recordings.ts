/** What became of each recording below `recorded/`: by the name of its file, the events that a subscriber got. */
import type { Arrival } from './arrivals.ts';

const ALL_BYTES = Uint8Array.from({ length: 256 }, (_, index) => index);

function event(
  common: Readonly<Record<string, string>>,
  id: string,
  { attributes = {}, ...rest }: Partial<Arrival> = {},
): Arrival {
  return { attributes: { specversion: '1.0', ...common, id, ...attributes }, ...rest };
}

const JSON_TYPE = { contentType: 'application/json' };

const TYPE = { type: 'com.example.order.created' };
const PYTHON_2 = { ...TYPE, source: '/python/sdk', time: '2026-11-25T01:02:03.456789Z' };
const PYTHON_1 = {
  ...TYPE,
  source: 'https://example.com/python',
  time: '2026-11-25T01:02:03.456789+00:00',
};
const GO = {
  ...TYPE,
  source: 'https://example.com/go/sdk?a=b%20c',
  time: '2026-11-25T08:02:03.123456789Z',
};
const JAVA = {
  ...TYPE,
  source: 'urn:example:java:sdk',
  time: '2026-11-25T01:02:03.123456789+01:00',
};
const CURL = { type: 'com.example.typed', source: '/shell' };

/** As Python writes JSON: in ASCII, with spaces. */
const PYTHON_DATA = String.raw`{"order": 1, "name": "Zo\u00eb"}`;
const PYTHON_LONG = String.raw`{"order": 1, "name": "Zo\u00eb", "price": 9.5, "tags": ["a", null, true]}`;
/** As Go does: HTML escaped. */
const GO_DATA = String.raw`{"name":"Zoë \u003cb\u003e","order":1}`;
const GO_MANY = {
  subject: 'hello%20world%20100%25',
  dataschema: 'https://example.com/schema#order',
  retries: '3',
  isurgent: 'true',
  until: '2027-01-01T00:00:00Z',
  token: 'AAH+/w==',
};
const JAVA_DATA = '{"name": "Zoë", "order": 1}';
const TENANT = { subject: 'tenant%207/%C3%A9%E2%82%AC%F0%9F%98%80' };

export const RECORDINGS: Readonly<Record<string, readonly Arrival[]>> = {
  'python-2-binary': [
    event(PYTHON_2, 'python-2-binary', { attributes: TENANT, ...JSON_TYPE, body: PYTHON_LONG }),
  ],
  'python-2-structured': [
    event(PYTHON_2, 'python-2-structured', {
      attributes: { ...TENANT, time: '2026-11-25T06:32:03+05:30' },
      ...JSON_TYPE,
      body: PYTHON_LONG,
    }),
  ],
  'python-2-image': [
    event(PYTHON_2, 'python-2-image', { contentType: 'image/png', body: ALL_BYTES }),
  ],
  'python-2-base64': [
    event(PYTHON_2, 'python-2-base64', { contentType: 'image/png', body: ALL_BYTES }),
  ],
  'python-2-nothing': [event(PYTHON_2, 'python-2-nothing')],
  // The coding is how the JSON carried the data, and is no longer so.
  'python-2-old': [
    event(PYTHON_2, 'python-2-old', {
      attributes: { specversion: '0.3' },
      ...JSON_TYPE,
      body: Uint8Array.of(0x00, 0xff),
    }),
  ],
  'python-2-batch': [0, 1, 2].map((n) =>
    event(PYTHON_2, `python-2-batch-${String(n)}`, { ...JSON_TYPE, body: `{"n": ${String(n)}}` }),
  ),
  // No content type, although it is JSON: nobody may guess one.
  'python-1-binary': [
    event(PYTHON_1, 'python-1-binary', {
      attributes: { subject: 'a%20b', traceid: '4bf92f35' },
      body: PYTHON_DATA,
    }),
  ],
  // No content type either, but in structured mode that means JSON.
  'python-1-structured': [
    event(PYTHON_1, 'python-1-structured', { ...JSON_TYPE, body: PYTHON_DATA }),
  ],
  'python-1-text': [
    event(PYTHON_1, 'python-1-text', { contentType: 'text/plain; charset=utf-8', body: 'naïve' }),
  ],
  'python-1-base64': [
    event(PYTHON_1, 'python-1-base64', {
      contentType: 'application/octet-stream',
      body: Uint8Array.of(0x00, 0x01, 0xfe, 0xff),
    }),
  ],
  'python-1-batch': [0, 1].map((n) =>
    event(PYTHON_1, `python-1-batch-${String(n)}`, { ...JSON_TYPE, body: `{"n": ${String(n)}}` }),
  ),

  'go-binary': [event(GO, 'go-binary', { attributes: GO_MANY, ...JSON_TYPE, body: GO_DATA })],
  'go-structured': [
    event(GO, 'go-structured', { attributes: GO_MANY, ...JSON_TYPE, body: GO_DATA }),
  ],
  'go-image': [event(GO, 'go-image', { contentType: 'image/png', body: ALL_BYTES })],
  'go-base64': [event(GO, 'go-base64', { contentType: 'image/png', body: ALL_BYTES })],
  'go-nothing': [event(GO, 'go-nothing')],
  'go-old': [
    event(GO, 'go-old', { attributes: { specversion: '0.3' }, ...JSON_TYPE, body: GO_DATA }),
  ],
  'go-batch': [
    event(GO, 'go-batch-0', { ...JSON_TYPE, body: GO_DATA }),
    event(GO, 'go-batch-1', { contentType: 'text/plain', body: 'two' }),
    event(GO, 'go-batch-2'),
  ],

  'java-binary': [
    event(JAVA, 'java-binary', {
      attributes: { subject: 'a/b', retries: '3', isurgent: 'true' },
      ...JSON_TYPE,
      body: JAVA_DATA,
      // It offers another protocol; that is between it and the door.
      headers: { upgrade: undefined, 'http2-settings': undefined },
    }),
  ],
  'java-structured': [
    event(JAVA, 'java-structured', {
      attributes: { subject: 'a/b', retries: '3', isurgent: 'true' },
      ...JSON_TYPE,
      body: JAVA_DATA,
    }),
  ],
  'java-base64': [event(JAVA, 'java-base64', { contentType: 'image/png', body: ALL_BYTES })],
  'java-nothing': [event(JAVA, 'java-nothing')],
  'java-url': [event(JAVA, 'java-url', { ...JSON_TYPE, body: JAVA_DATA })],

  'curl-binary': [event(CURL, 'curl-binary', { ...JSON_TYPE, body: '{"name": "Zoë"}' })],
  'curl-structured': [event(CURL, 'curl-structured', { ...JSON_TYPE, body: '{"name": "Zoë"}' })],
  'curl-chunked': [event(CURL, 'curl-chunked', { ...JSON_TYPE, body: '{"n": 1}' })],
  'curl-expect': [
    event(CURL, 'curl-expect', {
      ...JSON_TYPE,
      body: '{"n": 2}',
      headers: { expect: undefined },
    }),
  ],
  'curl-http10': [event(CURL, 'curl-http10', { ...JSON_TYPE, body: '{"n": 3}' })],
  'curl-nothing': [event(CURL, 'curl-nothing')],
  'curl-form': [
    event(CURL, 'curl-form', { contentType: 'application/x-www-form-urlencoded', body: 'a=1&b=2' }),
  ],
};
