/**
 * The contract of the door as a table, seen from outside over real connections. Each row names where it comes from:
 * numbers are sections of Knative's data plane contract (1 Broker, 4.5 Channel), K numbers are claim check rules.
 */
import type { OutgoingHttpHeaders } from 'node:http';
import { describe, expect, test } from '@jest/globals';
import { ERRORS } from '../../core/errors.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { inlineData } from '../../core/event.ts';
import { send } from './clients.ts';
import type { Received, Sent } from './clients.ts';
import type { TestDoor } from './open-door.ts';
import { EVENT_HEADERS, openDoor } from './open-door.ts';

interface Row {
  readonly section: string;
  readonly name: string;
  readonly send: Sent;
  readonly status: number;
  readonly code?: ErrorCode;
  readonly headers?: Readonly<Record<string, string>>;
  /** Where the event was kept; absent: nothing was. */
  readonly keptIn?: string;
  /** What the kept event has, as text. */
  readonly kept?: Readonly<Record<string, string>>;
  readonly data?: string;
}

const STRUCTURED = { 'content-type': 'application/cloudevents+json; charset=UTF-8' };
const JSON_EVENT = { specversion: '1.0', id: '1', source: '/shop', type: 'order.created' };
const ORDERS = 'broker/default/orders';
const STEP = 'channel/default/step-1';

function binary(changes: Readonly<Record<string, string | undefined>> = {}): OutgoingHttpHeaders {
  const all = Object.entries({ ...EVENT_HEADERS, ...changes });
  return Object.fromEntries(all.filter(([, value]) => value !== undefined));
}

function structured(event: unknown): Sent {
  return { headers: STRUCTURED, body: typeof event === 'string' ? event : JSON.stringify(event) };
}

const METHODS: Row[] = [
  ...['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'TRACE'].map((method): Row => ({
    section: '1.1 method',
    name: `${method} is not served`,
    send: { method },
    status: 405,
    code: 'KNEAR_METHOD',
  })),
  {
    section: '1.2 order of checks',
    name: 'the method comes before the path',
    send: { method: 'GET', path: '/' },
    status: 405,
    code: 'KNEAR_METHOD',
  },
  ...['/default/orders', '/nobody/nothing', '/', '/a/b/c/d', '/default/%zz', '*'].map(
    (path): Row => ({
      section: '1.1 OPTIONS',
      name: `is answered at ${path}`,
      send: { method: 'OPTIONS', path },
      status: 200,
      headers: { 'webhook-allowed-origin': '*', 'webhook-allowed-rate': '*' },
    }),
  ),
  ...['GET', 'HEAD', 'POST'].map((method): Row => ({
    section: '1.1 probes',
    name: `the kubelet's ${method} finds any path healthy`,
    send: { method, path: '/healthz', headers: { 'user-agent': 'kube-probe/1.34' } },
    status: 200,
  })),
  {
    section: '1.1 probes',
    name: 'the kubelet is known by the start of its name only',
    send: { method: 'GET', path: '/healthz', headers: { 'user-agent': 'not kube-probe/1.34' } },
    status: 405,
    code: 'KNEAR_METHOD',
  },
  {
    section: '1.1 probes',
    name: "Knative's network probe gets its hash back",
    send: { method: 'GET', headers: { 'k-network-probe': 'probe', 'k-network-hash': 'abc' } },
    status: 200,
    headers: { 'k-network-hash': 'abc' },
  },
  {
    section: '1.1 probes',
    name: "Knative's network probe needs no hash",
    send: { method: 'GET', headers: { 'k-network-probe': 'probe' } },
    status: 200,
  },
  {
    section: '1.1 probes',
    name: 'another value of the probe header is no probe',
    send: { method: 'GET', headers: { 'k-network-probe': 'queue' } },
    status: 405,
    code: 'KNEAR_METHOD',
  },
];

const PATHS: Row[] = [
  ...(
    [
      ['/default/orders', 'as published'],
      ['/default/orders/', 'with a slash at the end'],
      ['/default/orders?a=/b/', 'with a query'],
      ['/default/orders/?a', 'with a slash and a query'],
      ['/default/or%64ers', 'percent-encoded'],
      ['http://elsewhere/default/orders', 'in the absolute form'],
    ] as const
  ).map(([path, name]): Row => ({
    section: '1.1 URL',
    name: `a Broker's path ${name}`,
    send: { path, headers: binary() },
    status: 202,
    keptIn: ORDERS,
  })),
  ...(
    [
      ['/default/channels/step-1', {}, 'at its path'],
      ['/default/channels/step-1/', {}, 'at its path with a slash at the end'],
      ['/', { host: 'step-1-kn-channel.default.svc.cluster.local' }, 'by Host'],
      ['/any/path/at/all', { host: 'step-1-kn-channel.default.svc.cluster.local:80' }, 'with port'],
      ['/', { host: 'Step-1-KN-channel.default.svc.cluster.local.' }, 'in capitals, with a dot'],
      ['http://step-1-kn-channel.default.svc.cluster.local', { host: 'x' }, 'in the absolute form'],
      ['/default/orders', { host: 'step-1-kn-channel.default.svc.cluster.local' }, 'over the path'],
    ] as const
  ).map(([path, host, name]): Row => ({
    section: '4.5 addresses',
    name: `a Channel ${name}`,
    send: { path, headers: { ...binary(), ...host } },
    status: 202,
    keptIn: STEP,
  })),
  {
    section: '1.2 path `/`',
    name: 'is nothing, rather than a bad path',
    send: { path: '/', headers: binary() },
    status: 404,
    code: 'KNEAR_INGRESS_UNKNOWN',
  },
  {
    section: '1.2 path `/`',
    name: 'is nothing, even for an invalid event',
    send: { path: '/?a' },
    status: 404,
    code: 'KNEAR_INGRESS_UNKNOWN',
  },
  ...[
    '/default',
    '/default/orders/more',
    '/default/orders//',
    '//default/orders',
    '/default//orders',
    '/default/orders/a/b',
    '/default/channels/step-1/more',
    '/default%2Forders',
    '/default/channels%2Fstep-1',
    '/%2Fdefault/orders',
    '/default/%zz',
    '/default/%ff',
    '/default/%',
    '/default/./../',
  ].map((path): Row => ({
    section: '1.2 wrong number of segments',
    name: `${path} is no address`,
    send: { path, headers: binary() },
    status: 400,
    code: 'KNEAR_PATH',
  })),
  {
    section: '1.2 order of checks',
    name: 'the path comes before the event',
    send: { path: '/default' },
    status: 400,
    code: 'KNEAR_PATH',
  },
  ...[
    '/default/unknown',
    '/other/orders',
    '/Default/orders',
    '/default/orders%00',
    '/default/channels',
    '/default/channels/orders',
    '/default/step-1',
    '/constructor/__proto__',
    `/default/${'x'.repeat(8_000)}`,
  ].map((path): Row => ({
    section: '1.2 broker not found',
    name: `${path.slice(0, 40)} is not known`,
    send: { path, headers: binary() },
    status: 404,
    code: 'KNEAR_INGRESS_UNKNOWN',
  })),
  {
    section: '1.2 order of checks',
    name: 'an invalid event to an unknown Broker is 400',
    send: { path: '/default/unknown', headers: binary({ 'ce-id': undefined }) },
    status: 400,
    code: 'KNEAR_EVENT_INVALID',
  },
  {
    section: 'K15',
    name: 'the body of a structured event to an unknown Broker is not looked at',
    send: { path: '/default/unknown', headers: STRUCTURED, body: '{' },
    status: 404,
    code: 'KNEAR_INGRESS_UNKNOWN',
  },
];

const EVENTS: Row[] = [
  ...(
    [
      ['application/json', '{}'],
      ['application/vnd.apache.thrift.binary', '\0\u0001'],
      ['application/xml', '<much wow="xml"/>'],
      ['text/plain; charset=utf-8', 'hello'],
    ] as const
  ).map(([type, body]): Row => ({
    section: '1.3 content types',
    name: `binary data may be ${type}`,
    send: { headers: binary({ 'content-type': type }), body },
    status: 202,
    keptIn: ORDERS,
    kept: { datacontenttype: type },
    data: body,
  })),
  {
    section: '1.3 binary',
    name: 'extensions and kept headers come along, others do not',
    send: {
      headers: { ...binary({ 'ce-tenant': 'a' }), 'knative-history': 'x', 'x-other': 'y' },
    },
    status: 202,
    keptIn: ORDERS,
    kept: { tenant: 'a', 'header knative-history': 'x', 'header x-other': '' },
  },
  {
    section: '1.3 versions',
    name: '0.3 is taken and stays 0.3',
    send: { headers: binary({ 'ce-specversion': '0.3' }) },
    status: 202,
    keptIn: ORDERS,
    kept: { specversion: '0.3' },
  },
  ...['19.0', '9000.1', '10.0', '', '1'].map((version): Row => ({
    section: '1.3 versions',
    name: `'${version}' is refused`,
    send: { headers: binary({ 'ce-specversion': version }) },
    status: 400,
    code: 'KNEAR_EVENT_INVALID',
  })),
  ...['ce-specversion', 'ce-id', 'ce-source', 'ce-type'].map((name): Row => ({
    section: '1.3 required attributes',
    name: `an event without ${name} is refused`,
    send: { headers: binary({ [name]: undefined }), body: '{}' },
    status: 400,
    code: 'KNEAR_EVENT_INVALID',
  })),
  {
    section: '1.3 media type',
    name: 'a content type that is none is refused as an event, not as HTTP',
    send: { headers: binary({ 'content-type': 'not a media type' }), body: '{}' },
    status: 400,
    code: 'KNEAR_EVENT_INVALID',
  },
  {
    section: '1.3 content mode',
    name: 'a request without any sign of an event is refused',
    send: { headers: { 'content-type': 'application/json' }, body: '{}' },
    status: 400,
    code: 'KNEAR_EVENT_INVALID',
  },
  {
    section: '1.3 structured',
    name: 'an event with data is taken',
    send: structured({ ...JSON_EVENT, tenant: 'a', data: { a: 1 } }),
    status: 202,
    keptIn: ORDERS,
    kept: { type: 'order.created', tenant: 'a' },
    data: '{"a":1}',
  },
  {
    section: '1.3 structured',
    name: 'Base64 data is decoded',
    send: structured({ ...JSON_EVENT, data_base64: 'AAEC' }),
    status: 202,
    keptIn: ORDERS,
    data: '\0\u0001\u0002',
  },
  ...(
    [
      ['an empty body', ''],
      ['half an object', '{"specversion":"1.0"'],
      ['a list', '[]'],
    ] as const
  ).map(([name, body]): Row => ({
    section: '1.3 structured',
    name: `${name} is no event`,
    send: structured(body),
    status: 400,
    code: 'KNEAR_STRUCTURED_INVALID',
  })),
  {
    section: '1.3 structured',
    name: 'a missing attribute is named as in binary mode',
    send: structured({ ...JSON_EVENT, id: undefined }),
    status: 400,
    code: 'KNEAR_EVENT_INVALID',
  },
  {
    section: '1.3 batch, an extension',
    name: 'an empty one is taken, and nothing is kept',
    send: { headers: { 'content-type': 'application/cloudevents-batch+json' }, body: '[]' },
    status: 202,
  },
];

const ADMISSION: Row[] = [
  {
    section: '1.4 stamps',
    name: 'a Broker adds arrival time and count',
    send: { headers: binary() },
    status: 202,
    keptIn: ORDERS,
    kept: { knativearrivaltime: '2026-01-01T00:00:00.000Z', knativebrokerttl: '255' },
  },
  {
    section: '1.4 stamps',
    name: 'a Broker counts down, in structured mode as well',
    send: structured({ ...JSON_EVENT, knativebrokerttl: 8 }),
    status: 202,
    keptIn: ORDERS,
    kept: { knativearrivaltime: '2026-01-01T00:00:00.000Z', knativebrokerttl: '7' },
  },
  {
    section: '1.4 stamps',
    name: 'a Channel adds nothing',
    send: { path: '/default/channels/step-1', headers: binary() },
    status: 202,
    keptIn: STEP,
    kept: { knativearrivaltime: '', knativebrokerttl: '' },
  },
  {
    section: '1.2 TTL used up',
    name: 'is refused from the head',
    send: { headers: binary({ 'ce-knativebrokerttl': '1' }), body: '{}' },
    status: 400,
    code: 'KNEAR_TTL_EXHAUSTED',
  },
  {
    section: '1.2 TTL used up',
    name: 'is refused in structured mode',
    send: structured({ ...JSON_EVENT, knativebrokerttl: 0 }),
    status: 400,
    code: 'KNEAR_TTL_EXHAUSTED',
  },
  {
    section: 'K15 limits',
    name: 'data of the largest size is taken',
    send: { path: '/default/small', headers: binary(), body: 'x'.repeat(100) },
    status: 202,
    keptIn: 'broker/default/small',
    data: 'x'.repeat(100),
  },
  {
    section: 'K15 limits',
    name: 'one byte more is not',
    send: { path: '/default/small', headers: binary(), body: 'x'.repeat(101) },
    status: 413,
    code: 'KNEAR_EVENT_TOO_LARGE',
  },
  {
    section: 'K15 limits',
    name: 'nor is it without a declared length',
    send: {
      path: '/default/small',
      headers: { ...binary(), 'transfer-encoding': 'chunked' },
      body: 'x'.repeat(101),
    },
    status: 413,
    code: 'KNEAR_EVENT_TOO_LARGE',
  },
  {
    section: 'K15 limits',
    name: 'chunks within the limit are taken',
    send: {
      path: '/default/small',
      headers: { ...binary(), 'transfer-encoding': 'Chunked' },
      body: 'x'.repeat(100),
    },
    status: 202,
    keptIn: 'broker/default/small',
    data: 'x'.repeat(100),
  },
  {
    section: 'K15 limits',
    name: 'structured data is measured without its wrapping',
    send: { path: '/default/small', ...structured({ ...JSON_EVENT, data: 'x'.repeat(98) }) },
    status: 202,
    keptIn: 'broker/default/small',
  },
  {
    section: 'K15 limits',
    name: 'structured data over the limit is refused',
    send: { path: '/default/small', ...structured({ ...JSON_EVENT, data: 'x'.repeat(99) }) },
    status: 413,
    code: 'KNEAR_EVENT_TOO_LARGE',
  },
  {
    section: 'K44 limits',
    name: 'a structured body that cannot be small enough is not parsed',
    send: { path: '/default/small', headers: STRUCTURED, body: '['.repeat(64 * 1024 + 201) },
    status: 413,
    code: 'KNEAR_EVENT_TOO_LARGE',
  },
  {
    section: 'K5 limits',
    name: 'attributes have a limit of their own',
    send: { path: '/default/small', headers: binary({ 'ce-tenant': 'x'.repeat(300) }) },
    status: 413,
    code: 'KNEAR_ATTRIBUTES_TOO_LARGE',
  },
  {
    section: 'K5 limits',
    name: 'attributes are measured in structured mode, too',
    send: { path: '/default/small', ...structured({ ...JSON_EVENT, tenant: 'x'.repeat(300) }) },
    status: 413,
    code: 'KNEAR_ATTRIBUTES_TOO_LARGE',
  },
];

const CODINGS: Row[] = [
  ...['gzip', 'deflate, gzip', 'br', 'identity, gzip'].map((coding): Row => ({
    section: 'K13 Content-Encoding',
    name: `${coding} is refused`,
    send: { headers: { ...binary(), 'content-encoding': coding }, body: 'x' },
    status: 415,
    code: 'KNEAR_CONTENT_ENCODING',
    headers: { 'accept-encoding': 'identity' },
  })),
  {
    section: 'K13 Content-Encoding',
    name: 'identity is no encoding',
    send: { headers: { ...binary(), 'content-encoding': 'Identity' }, body: 'x' },
    status: 202,
    keptIn: ORDERS,
    data: 'x',
  },
  ...['gzip, chunked', 'x, chunked'].map((coding): Row => ({
    section: 'K13 Transfer-Encoding',
    name: `${coding} is refused`,
    send: { headers: { ...binary(), 'transfer-encoding': coding }, body: 'x' },
    status: 501,
    code: 'KNEAR_TRANSFER_CODING',
  })),
];

describe.each<[string, readonly Row[]]>([
  ['methods and probes', METHODS],
  ['addresses', PATHS],
  ['events', EVENTS],
  ['admission', ADMISSION],
  ['codings', CODINGS],
])('%s', (_topic, rows) => {
  test.each(rows)('$section: $name', async (row) => {
    const opened = await openDoor();
    const received = await send(opened.port, row.send);
    expect(received.status).toBe(row.status);
    expect(received.headers.allow).toBe('POST, OPTIONS');
    expect(received.headers).toMatchObject(row.headers ?? {});
    checkBody(row, received);
    checkKept(row, opened);
    checkObserved(row, opened);
  });
});

/** A problem document for a refusal, nothing otherwise. */
function checkBody({ send: { method }, status, code }: Row, received: Received): void {
  if (code === undefined || method === 'HEAD') {
    expect(received.body).toBe('');
    return;
  }
  expect(received.headers['content-type']).toBe('application/problem+json');
  expect(JSON.parse(received.body)).toEqual({
    type: `urn:knear:error:${code}`,
    title: ERRORS[code].title,
    status,
    detail: expect.any(String),
    code,
  });
}

function checkKept({ keptIn, kept = {}, data }: Row, { log }: TestDoor): void {
  expect(log.appends.map(({ ingressId }) => ingressId)).toEqual(
    keptIn === undefined ? [] : [keptIn],
  );
  for (const { event } of log.appends) {
    for (const [name, value] of Object.entries(kept)) {
      const found = name.startsWith('header ')
        ? event.headers.get(name.slice('header '.length))
        : event.attributes.get(name);
      expect(`${name}: ${found ?? ''}`).toBe(`${name}: ${value}`);
    }
    if (data !== undefined) expect(Buffer.from(inlineData(event) ?? []).toString()).toBe(data);
  }
}

/** One happening for each request that is not a question about the door itself. */
function checkObserved({ code, status, keptIn }: Row, { happenings }: TestDoor): void {
  const expected =
    code !== undefined
      ? [{ kind: 'refused', by: 'door', code, status }]
      : keptIn !== undefined
        ? [{ kind: 'accepted', scheme: 'http', isMatched: true, ingress: { id: keptIn } }]
        : [];
  expect(happenings).toMatchObject(expected);
  expect(happenings).toHaveLength(expected.length);
}
