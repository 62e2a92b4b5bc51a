/**
 * Requests whose bodies or whose ways over the wire are unusual and legal, and JSON as it is written elsewhere.
 * Sources: RFC 9110, section 10.1.1; RFC 9112, sections 2.2, 3.2, 7.1 and 9.6; CloudEvents JSON Event Format 1.0.2.
 */
import { binaryRow, jsonRow, type Row } from './rows.ts';
import { eventLines, requestTo } from './replay.ts';

const JSON_LINE = 'Content-Type: application/json';
const JSON_TYPE = { contentType: 'application/json' };

const ALL_BYTES = Uint8Array.from({ length: 256 }, (_, index) => index);
const MANY_BYTES = Buffer.concat(Array.from({ length: 1_000 }, () => ALL_BYTES));

/** As GitHub, GitLab and their like post it: some 130 KB, nested, with names in many scripts, numbers of any size. */
const WEBHOOK = JSON.stringify(
  {
    ref: 'refs/heads/Überprüfung',
    repository: {
      id: 9_007_199_254_740_991,
      owner: { name: '東京', site_admin: false },
      topics: [],
    },
    commits: Array.from({ length: 120 }, (_, index) => ({
      id: index.toString(16).padStart(40, '0'),
      message: `Füge 😀 hinzu\n\nدون تغيير \u2028 \\ "quoted" </script> ${'пример '.repeat(60)}`,
      author: { name: 'Zoë', email: null },
      added: [`a/${String(index)}.ts`],
    })),
  },
  undefined,
  2,
);

/** A chunked body in pieces of these sizes, the rest in one. */
function chunked(bytes: Uint8Array, sizes: readonly number[], trailer = ''): Buffer {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const size of [...sizes, bytes.length]) {
    const piece = bytes.subarray(at, at + size);
    at += piece.length;
    if (piece.length > 0) parts.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, CRLF);
  }
  return Buffer.concat([...parts, Buffer.from(`0\r\n${trailer}\r\n`)]);
}

const CRLF = Buffer.from('\r\n');
const CHUNKED_LINE = 'Transfer-Encoding: chunked';

const emptyLine = binaryRow('an empty line before the request', { body: 'x' });
const two = binaryRow('two requests without waiting', {
  body: 'x',
  answers: 2,
  statuses: [202, 202],
});

export const BODY_ROWS: readonly Row[] = [
  binaryRow('a webhook with a large nested body', {
    lines: ['X-GitHub-Delivery: 72d3162e', 'X-Hub-Signature-256: sha256=00', JSON_LINE],
    ...JSON_TYPE,
    body: WEBHOOK,
    headers: { 'x-hub-signature-256': undefined },
  }),
  binaryRow('every value of a byte, a thousand times', {
    lines: ['Content-Type: application/octet-stream'],
    contentType: 'application/octet-stream',
    body: MANY_BYTES,
  }),
  binaryRow('JSON that is none', { lines: [JSON_LINE], ...JSON_TYPE, body: '{"a": NaN,' }),
  binaryRow('JSON with a byte order mark', { lines: [JSON_LINE], ...JSON_TYPE, body: '\ufeff{}' }),
  binaryRow('no body', { lines: [JSON_LINE], ...JSON_TYPE }),
  binaryRow('neither a body nor its length', {
    lines: ['Connection: close'],
    isLast: true,
  }),

  binaryRow('chunks of many sizes', {
    lines: [CHUNKED_LINE, 'Content-Type: application/octet-stream'],
    contentType: 'application/octet-stream',
    body: chunked(MANY_BYTES, [1, 1, 2, 17, 4_096, 65_536, 3]),
    data: MANY_BYTES,
  }),
  binaryRow('chunks with extensions and a trailer', {
    lines: ['TE: trailers', 'Trailer: ce-late', 'transfer-encoding: Chunked', JSON_LINE],
    ...JSON_TYPE,
    body: '4;name=value\r\n{"a"\r\n3;q="x"\r\n:1}\r\n0\r\nce-late: 1\r\n\r\n',
    data: '{"a":1}',
  }),
  binaryRow('chunks without anything in them', {
    lines: [CHUNKED_LINE],
    body: '0\r\n\r\n',
    data: '',
  }),
  binaryRow('Expect, and a body that waits for the answer', {
    lines: ['Expect: 100-continue', 'Content-Length: 5', JSON_LINE],
    ...JSON_TYPE,
    rest: Buffer.from('12345'),
    data: '12345',
    statuses: [100, 202],
  }),
  binaryRow('Expect, and a body that does not wait', {
    lines: ['expect: 100-Continue', JSON_LINE],
    ...JSON_TYPE,
    body: '12345',
    statuses: [100, 202],
  }),
  binaryRow('HTTP 1.0', { version: '1.0', body: 'old', isLast: true }),
  binaryRow('HTTP 1.0 with a connection to be kept', {
    version: '1.0',
    lines: ['Connection: keep-alive', 'Host: old'],
    body: 'old',
  }),
  binaryRow('Connection close', { lines: ['Connection: close'], body: 'last', isLast: true }),
  { ...emptyLine, request: Buffer.concat([CRLF, emptyLine.request]) },
  binaryRow('the whole address in the request, as for a proxy', {
    target: 'http://somewhere.example:1234/senders/$NAME',
    body: 'x',
  }),
  binaryRow('a slash at the end of the path', { target: '/senders/$NAME/', body: 'x' }),
  binaryRow('a query', { target: '/senders/$NAME?token=1&a=/b', body: 'x' }),
  {
    ...two,
    request: Buffer.concat([two.request, requestTo(two.name, { lines: eventLines('a-second') })]),
    // In the order of their ids.
    arrivals: [
      ...two.arrivals.map(({ attributes }) => ({ attributes: { ...attributes, id: 'a-second' } })),
      ...two.arrivals,
    ],
  },

  jsonRow('a media type in capitals, and white space', {
    contentType: 'Application/CloudEvents+JSON ; Charset="UTF-8"',
    body: '\r\n\t{ "data" : [ 1.50, "\\u00e9" ] ,\n "type":"com.example.written","id":"$NAME",\t"source":"\\/written","specversion":"1.0"}\n',
    arrivals: [{ ...JSON_TYPE, body: '[ 1.50, "\\u00e9" ]' }],
  }),
  jsonRow('headers that say something else than the JSON', {
    lines: ['ce-id: other', 'ce-specversion: 0.3', 'ce-extra: 1'],
    body: '{"specversion":"1.0","id":"$NAME","source":"/written","type":"com.example.written"}',
    arrivals: [{}],
  }),
  jsonRow('text as data', {
    body: '{"specversion":"1.0","id":"$NAME","source":"/written","type":"com.example.written","datacontenttype":"text/plain","data":"Zo\\u00eb\\n\\ud83d\\ude00"}',
    arrivals: [{ contentType: 'text/plain', body: 'Zoë\n😀' }],
  }),
  jsonRow('numbers beyond what a double holds', {
    body: '{"specversion":"1.0","id":"$NAME","source":"/written","type":"com.example.written","count":-2147483648,"unset":null,"data":{"n":12345678901234567890.10e+2,"n":-0}}',
    arrivals: [
      {
        attributes: { count: '-2147483648' },
        ...JSON_TYPE,
        body: '{"n":12345678901234567890.10e+2,"n":-0}',
      },
    ],
  }),
  jsonRow('a batch of none', {
    contentType: 'application/cloudevents-batch+json',
    body: '[]',
  }),
  jsonRow('a batch with an event that is not valid', {
    contentType: 'application/cloudevents-batch+json',
    body: '[{"specversion":"1.0","id":"$NAME","source":"/written","type":"com.example.written"},{"id":"2"}]',
    status: 400,
  }),
  jsonRow('JSON that is no event', { contentType: 'application/json', body: '{}', status: 400 }),
  jsonRow('a format that nobody here reads', {
    contentType: 'application/cloudevents+xml',
    body: '<event/>',
    status: 400,
  }),
];
