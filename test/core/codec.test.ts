import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { request } from 'undici';
import {
  binaryHeaders,
  contentModeOf,
  keptHeaders,
  parseBinaryHead,
  type IncomingHeaders,
} from '../../core/codec.ts';
import { codeOf } from '../../core/errors.ts';
import type { AttributeValue, CloudEvent } from '../../core/event.ts';

const VALID: IncomingHeaders = {
  'ce-specversion': '1.0',
  'ce-id': 'a-1',
  'ce-source': '/sensors/1',
  'ce-type': 'com.example.measured',
};

describe('the content mode', () => {
  const VERSION = { 'ce-specversion': '1.0' };
  test.each<[string, IncomingHeaders, string]>([
    ['the JSON format', { 'content-type': 'application/cloudevents+json' }, 'structured'],
    [
      'the JSON format with a parameter, in capitals',
      { 'content-type': 'Application/CloudEvents+JSON ; charset=UTF-8' },
      'structured',
    ],
    [
      'the JSON format beside binary headers (3.2.3 allows them)',
      { 'content-type': 'application/cloudevents+json', ...VERSION },
      'structured',
    ],
    ['a batch', { 'content-type': 'application/cloudevents-batch+json; charset=utf-8' }, 'batch'],
    [
      'a batch beside ce-specversion',
      { 'content-type': 'application/cloudevents-batch+json', ...VERSION },
      'batch',
    ],
    ['another event format', { 'content-type': 'application/cloudevents+protobuf' }, 'none'],
    [
      'another event format beside ce-specversion',
      { 'content-type': 'application/cloudevents+protobuf', ...VERSION },
      'binary',
    ],
    ['a batch of another format', { 'content-type': 'application/cloudevents-batch+xml' }, 'none'],
    ['a type that only starts alike', { 'content-type': 'application/cloudevents+jsonx' }, 'none'],
    ['plain JSON', { 'content-type': 'application/json' }, 'none'],
    [
      'plain JSON with ce-specversion',
      { 'content-type': 'application/json', ...VERSION },
      'binary',
    ],
    ['ce-specversion alone', VERSION, 'binary'],
    ['a version that does not exist', { 'ce-specversion': '19.0' }, 'binary'],
    ['an empty version', { 'ce-specversion': '' }, 'binary'],
    [
      'other attributes, but no version',
      { 'ce-id': '1', 'ce-type': 't', 'ce-source': '/' },
      'none',
    ],
    ['nothing', {}, 'none'],
  ])('of %s', (_name, headers, mode) => {
    expect(contentModeOf(headers)).toBe(mode);
  });
});

describe('reading binary headers', () => {
  test('makes every ce- header an attribute and the content type datacontenttype', () => {
    const { attributes } = parseBinaryHead({
      ...VALID,
      'content-type': 'application/xml; charset=utf-8',
      'ce-comexampleextension1': 'value',
      'content-length': '12',
      host: 'broker',
    });
    expect(Object.fromEntries(attributes)).toEqual({
      specversion: '1.0',
      id: 'a-1',
      source: '/sensors/1',
      type: 'com.example.measured',
      datacontenttype: 'application/xml; charset=utf-8',
      comexampleextension1: 'value',
    });
  });

  test.each<[string, IncomingHeaders]>([
    ['1.0, required: the four attributes and nothing else', {}],
    ['0.3 beside 1.0', { 'ce-specversion': '0.3' }],
    ['0.3: schemaurl is a URI-reference', { 'ce-specversion': '0.3', 'ce-schemaurl': 'x.json' }],
    ['0.3: datacontentencoding', { 'ce-specversion': '0.3', 'ce-datacontentencoding': 'Base64' }],
    [
      '0.3: dataschema is an extension like others',
      { 'ce-specversion': '0.3', 'ce-dataschema': 'x' },
    ],
    ['1.0: schemaurl is an extension like others', { 'ce-schemaurl': ' ' }],
    ['1.0: datacontentencoding is an extension like others', { 'ce-datacontentencoding': 'gzip' }],
    ['source: absolute URI', { 'ce-source': 'https://user@example.com:8080/a?b#c' }],
    ['source: IPv6 authority', { 'ce-source': 'http://[::1]:80/x' }],
    ['source: no authority', { 'ce-source': 'urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66' }],
    ['source: mailto', { 'ce-source': 'mailto:cncf-wg-serverless@lists.cncf.io' }],
    ['source: a relative path', { 'ce-source': '1-555-123-4567' }],
    ['source: a colon after the first segment', { 'ce-source': 'a/b:c' }],
    ['source: network-path reference', { 'ce-source': '//example.com/a' }],
    ['source: empty authority', { 'ce-source': 'file:///etc/hosts' }],
    ['source: spaces and other scripts, as the reference takes them', { 'ce-source': '/Zähler 1' }],
    ['source: a percent sign that decoding has left over', { 'ce-source': '/100%25' }],
    ['dataschema: with a fragment', { 'ce-dataschema': 'https://example.com/s#v1' }],
    ['time: nanoseconds and an offset', { 'ce-time': '2026-11-25T01:02:03.123456789+05:30' }],
    ['time: lower case (RFC 3339, 5.6)', { 'ce-time': '2026-11-25t01:02:03z' }],
    ['time: a leap second', { 'ce-time': '2016-12-31T23:59:60Z' }],
    ['time: a leap day', { 'ce-time': '2024-02-29T00:00:00Z' }],
    ['time: a leap day of a full century', { 'ce-time': '2000-02-29T00:00:00Z' }],
    [
      'datacontenttype: thrift, of the conformance suite',
      { 'content-type': 'application/vnd.apache.thrift.binary' },
    ],
    ['datacontenttype: XML, of the conformance suite', { 'content-type': 'application/xml' }],
    [
      'datacontenttype: quoted parameters',
      { 'content-type': 'multipart/form-data; boundary="a \\" b"; x=y' },
    ],
    ['datacontenttype: a semicolon at the end', { 'content-type': 'text/plain;' }],
    ['extension names longer than 20 characters', { 'ce-averylongextensionname123456789': 'x' }],
    ['extension names that start with a digit', { 'ce-1st': 'x' }],
    ['an extension without text', { 'ce-ext': '' }],
  ])('accepts %s (CloudEvents, Context Attributes)', (_name, headers) => {
    expect(() => parseBinaryHead({ ...VALID, ...headers })).not.toThrow();
  });

  test.each<[string, IncomingHeaders, string]>([
    ['no specversion', { 'ce-specversion': undefined }, 'specversion is missing: send 1.0 or 0.3'],
    ['specversion 19.0', { 'ce-specversion': '19.0' }, 'specversion is "19.0": send 1.0 or 0.3'],
    ['specversion 9000.1', { 'ce-specversion': '9000.1' }, 'specversion is "9000.1"'],
    ['specversion 10.0', { 'ce-specversion': '10.0' }, 'specversion is "10.0"'],
    ['specversion 1.0.2', { 'ce-specversion': '1.0.2' }, 'specversion is "1.0.2"'],
    ['specversion twice', { 'ce-specversion': ['1.0', '1.0'] }, 'specversion is "1.0, 1.0"'],
    ['no id', { 'ce-id': undefined }, 'id is missing'],
    ['a blank id', { 'ce-id': ' \t' }, 'id is " \\t"'],
    ['an id that decodes to blanks', { 'ce-id': '%20' }, 'id is " "'],
    ['no source', { 'ce-source': undefined }, 'source is missing'],
    ['a blank source', { 'ce-source': '' }, 'source is ""'],
    ['a source without a scheme before its colon', { 'ce-source': '1:x' }, 'source is "1:x"'],
    ['a source that starts with a colon', { 'ce-source': ':x' }, 'source is ":x"'],
    [
      'a source with a blank in its host',
      { 'ce-source': 'http://a b/' },
      'source is "http://a b/"',
    ],
    ['a source with a port of letters', { 'ce-source': 'http://a:b/' }, 'source is "http://a:b/"'],
    ['a source with an open bracket', { 'ce-source': 'http://[::1/' }, 'source is "http://[::1/"'],
    ['a source with a control character', { 'ce-source': '/a%0Ab' }, 'source is "/a\\nb"'],
    ['no type', { 'ce-type': undefined }, 'type is missing'],
    ['a blank type', { 'ce-type': ' ' }, 'type is " "'],
    ['a blank subject', { 'ce-subject': ' ' }, 'subject is " "'],
    ['a time in words', { 'ce-time': 'yesterday' }, 'time is "yesterday"'],
    ['a time without offset', { 'ce-time': '2026-11-25T01:02:03' }, 'time is "2026'],
    ['a time with a space', { 'ce-time': '2026-11-25 01:02:03Z' }, 'time is "2026'],
    ['a time of 24 hours', { 'ce-time': '2026-11-25T24:00:00Z' }, 'time is "2026'],
    ['a day that the month does not have', { 'ce-time': '2026-04-31T00:00:00Z' }, 'time is "2026'],
    ['a leap day in a common year', { 'ce-time': '2100-02-29T00:00:00Z' }, 'time is "2100'],
    ['a blank time', { 'ce-time': '' }, 'time is ""'],
    ['a relative dataschema', { 'ce-dataschema': '/schema' }, 'dataschema is "/schema"'],
    ['a content type without subtype', { 'content-type': 'json' }, 'datacontenttype is "json"'],
    [
      'a content type with a bare parameter',
      { 'content-type': 'a/b; c' },
      'datacontenttype is "a/b; c"',
    ],
    ['a content type beyond ASCII', { 'content-type': 'a/b; c="é"' }, 'datacontenttype is "a/b'],
    ['a name with a dash', { 'ce-my-ext': 'x' }, 'attribute name "my-ext": use letters'],
    ['a name with an underscore', { 'ce-my_ext': 'x' }, 'attribute name "my_ext": use letters'],
    ['no name at all', { 'ce-': 'x' }, 'attribute name "": use letters'],
    ['an attribute called data', { 'ce-data': 'x' }, 'attribute name "data": the name is reserved'],
    [
      '0.3: a blank schemaurl',
      { 'ce-specversion': '0.3', 'ce-schemaurl': ' ' },
      'schemaurl is " "',
    ],
    [
      '0.3: an encoding that is not base64',
      { 'ce-specversion': '0.3', 'ce-datacontentencoding': 'gzip' },
      'datacontentencoding is "gzip": send base64',
    ],
    ['0.3: no type', { 'ce-specversion': '0.3', 'ce-type': undefined }, 'type is missing'],
  ])('refuses %s (CloudEvents, Context Attributes)', (_name, headers, message) => {
    expectRefused({ ...VALID, ...headers }, message);
  });

  test('refuses a long wrong value without repeating all of it', () => {
    expectRefused(
      { ...VALID, 'ce-time': '1'.repeat(5_000) },
      `time is "${'1'.repeat(80)}"...: send`,
    );
  });

  test('takes a blank content type for none', () => {
    const { attributes } = parseBinaryHead({ ...VALID, 'content-type': '' });
    expect(attributes.has('datacontenttype')).toBe(false);
  });

  test.each<[string, IncomingHeaders, string]>([
    ['takes ce-datacontenttype in its place', {}, 'text/csv'],
    ['lets the content type win', { 'content-type': 'text/plain' }, 'text/plain'],
  ])('%s', (_name, headers, contentType) => {
    const { attributes } = parseBinaryHead({
      ...headers,
      'ce-datacontenttype': 'text/csv',
      ...VALID,
    });
    expect(attributes.get('datacontenttype')).toBe(contentType);
  });

  test('joins repeated headers with a comma', () => {
    const { attributes, headers } = parseBinaryHead({
      ...VALID,
      'ce-ext': ['a', 'b'],
      tracestate: ['a=1', 'b=2'],
    });
    expect(attributes.get('ext')).toBe('a, b');
    expect(headers.get('tracestate')).toBe('a=1, b=2');
  });

  test.each<[string, string, string]>([
    ['percent-encoded UTF-8', 'Euro%20%E2%82%AC%20%F0%9F%98%80', 'Euro € 😀'],
    ['lower-case digits', '%e2%82%ac', '€'],
    ['what needed no encoding', '%41bc', 'Abc'],
    ['one round only', '%2541', '%41'],
    ['a quoted string', '"hello world"', 'hello world'],
    ['a quoted string with escapes', '"a \\"b\\" \\\\"', 'a "b" \\'],
    ['a quoted string, then percent signs', '"a%20b"', 'a b'],
    ['encoded quotes as quotes', '%22a%22', '"a"'],
    ['two quoted strings literally', '"a" or "b"', '"a" or "b"'],
    ['a quote inside literally', '5" pipe', '5" pipe'],
    ['a single quote character literally', '"', '"'],
    ['a plain percent sign literally', '100%', '100%'],
    ['half an escape literally', '5% of %4', '5% of %4'],
    ['raw UTF-8 bytes, which Node gives as Latin-1', latin1('Zähler €'), 'Zähler €'],
    ['bytes that are not UTF-8 as Latin-1', 'Z\xe4hler', 'Zähler'],
    ['text that somebody has decoded before', 'Zähler €', 'Zähler €'],
    ['raw spaces', 'hello world', 'hello world'],
  ])('decodes %s (HTTP binding 3.1.3.2)', (_name, value, text) => {
    expect(parseBinaryHead({ ...VALID, 'ce-subject': value }).attributes.get('subject')).toBe(text);
  });

  test.each<[string, string]>([
    ['an overlong space', '%C0%A0'],
    ['half a character', '%E2%82'],
    ['a surrogate', '%ED%A0%80'],
    ['an escaped Latin-1 letter', 'caf%E9'],
  ])(
    'refuses percent-encoded bytes that are not UTF-8: %s (HTTP binding 3.1.3.2)',
    (_name, value) => {
      expectRefused({ ...VALID, 'ce-subject': value }, '"subject" has percent-encoded bytes');
    },
  );

  test('does not decode the content type', () => {
    const contentType = 'multipart/mixed; boundary="%41"';
    const { attributes } = parseBinaryHead({ ...VALID, 'content-type': contentType });
    expect(attributes.get('datacontenttype')).toBe(contentType);
  });
});

describe('kept headers', () => {
  test('are those that Knative passes on, and the trace context', () => {
    const kept = {
      'x-request-id': 'r',
      'retry-after': '5',
      'knative-foo': 'k',
      'x-b3-traceid': 'b',
      traceparent: '00-1-2-01',
      tracestate: 'a=%20',
    };
    const others = {
      'x-request-ids': '1',
      'x-b3traceid': '1',
      knative: '1',
      'kn-namespace': '1',
      prefer: 'reply',
      authorization: 'Bearer x',
      cookie: '1',
      'content-type': 'a/b',
      'ce-id': '1',
      traceparents: '1',
      'retry-after-x': '1',
      'knative-none': undefined,
    };
    expect(Object.fromEntries(keptHeaders({ ...kept, ...others }))).toEqual(kept);
    expect(Object.fromEntries(parseBinaryHead({ ...VALID, ...kept }).headers)).toEqual(kept);
  });
});

describe('writing binary headers', () => {
  test('gives each attribute its header, the content type its own, and passes kept headers on', () => {
    const event = eventOf(
      {
        specversion: '1.0',
        id: '1',
        source: '/a',
        type: 't',
        datacontenttype: 'text/plain',
        ext: 'v',
      },
      { 'retry-after': '5', 'knative-foo': 'é' },
    );
    expect(binaryHeaders(event)).toEqual([
      ...['ce-specversion', '1.0', 'ce-id', '1', 'ce-source', '/a', 'ce-type', 't'],
      ...['content-type', 'text/plain', 'ce-ext', 'v', 'retry-after', '5', 'knative-foo', 'é'],
    ]);
  });

  test.each<[string, AttributeValue, string]>([
    [
      'nothing in plain text',
      "!#$&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~",
      "!#$&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~",
    ],
    ['space, quote and percent sign', 'a "b" 5%', 'a%20%22b%22%205%25'],
    ['the example of the binding', 'Euro € 😀', 'Euro%20%E2%82%AC%20%F0%9F%98%80'],
    ['what could end a header', 'a\r\nx: y\0\x7f', 'a%0D%0Ax:%20y%00%7F'],
    ['half a surrogate pair', 'a\ud800b', 'a%EF%BF%BDb'],
    ['an integer as digits', -7, '-7'],
    ['a boolean as a word', true, 'true'],
  ])('encodes %s (HTTP binding 3.1.3.2)', (_name, value, text) => {
    expect(binaryHeaders(eventOf({ ext: value }))).toEqual(['ce-ext', text]);
  });

  test('makes a content type or kept header safe that never was a header', () => {
    const event = eventOf({ datacontenttype: 'a/b\r\nx: y' }, { 'knative-a': '€\n' });
    expect(binaryHeaders(event)).toEqual([
      ...['content-type', 'a/b%0D%0Ax: y', 'knative-a', '%E2%82%AC%0A'],
    ]);
  });
});

describe('on a real connection', () => {
  test('header names in capitals, raw UTF-8 and repeated headers arrive as meant', async () => {
    await using server = await serve();
    const socket = connect(server.port, '127.0.0.1');
    socket.write(
      'POST / HTTP/1.1\r\nHost: x\r\nCE-SpecVersion: 1.0\r\nCE-ID: 1\r\nCe-Source: /Zähler\r\nCE-TYPE: t\r\n' +
        'CE-MyExt: a\r\nce-myext: b\r\nKnative-Foo: Zähler\r\nConnection: close\r\n\r\n',
    );
    const headers = await server.next();
    socket.destroy();
    const { attributes, headers: kept } = parseBinaryHead(headers);
    expect(Object.fromEntries(attributes)).toEqual({
      ...{ specversion: '1.0', id: '1', source: '/Zähler', type: 't', myext: 'a, b' },
    });
    expect(kept.get('knative-foo')).toBe(latin1('Zähler'));
  });

  test('what undici sends is read back, whatever the values hold', async () => {
    await using server = await serve();
    const event = eventOf(
      { specversion: '1.0', id: 'a\r\nb', source: '/Zähler 😀', type: '100%', empty: '' },
      { 'knative-foo': latin1('Zähler') },
    );
    const sent = request(`http://127.0.0.1:${server.port}`, {
      method: 'POST',
      headers: binaryHeaders(event),
    });
    const head = parseBinaryHead(await server.next());
    await (await sent).body.dump();
    expect(head).toEqual({ attributes: event.attributes, headers: event.headers });
  });
});

function expectRefused(headers: IncomingHeaders, message: string): void {
  let error: unknown;
  try {
    parseBinaryHead(headers);
  } catch (caught) {
    error = caught;
  }
  expect(codeOf(error)).toBe('KNEAR_EVENT_INVALID');
  expect((error as Error).message).toContain(message);
}

function eventOf(
  attributes: Record<string, AttributeValue>,
  headers: Record<string, string> = {},
): CloudEvent {
  return {
    attributes: new Map(Object.entries(attributes)),
    headers: new Map(Object.entries(headers)),
    data: undefined,
  };
}

/** The UTF-8 bytes of the text as Node shows them. */
function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}

interface Server extends AsyncDisposable {
  readonly port: number;
  /** The headers of the next request. */
  next(): Promise<IncomingHeaders>;
}

async function serve(): Promise<Server> {
  const server = createServer((_request, response) => {
    response.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // It listens on TCP.
  return {
    port,
    async next() {
      const [incoming] = (await once(server, 'request')) as [IncomingMessage];
      return incoming.headers;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
