/**
 * Structured events with much data and in all the forms in which it may come, and bodies that are none. Whatever reads one
 * piece by piece has to find in it what `parseStructured` finds in it when all of it is in memory.
 */

/** Makes the body with this much data, about. */
export interface StructuredBody {
  readonly name: string;
  readonly body: (sizeBytes: number) => Buffer;
}

const REQUIRED = '"specversion":"1.0","id":"1","source":"/shop","type":"order.created"';
const REQUIRED_03 = REQUIRED.replace('1.0', '0.3');
const JSON_TYPE = '"datacontenttype":"application/json"';
const TEXT_TYPE = '"datacontenttype":"text/plain"';
const BYTES_TYPE = '"datacontenttype":"application/octet-stream"';

/** A JSON value with what a parser would change: digits, order, white space, repeated names. */
function jsonOf(sizeBytes: number): string {
  const item = '{"b":1.10, "a":[-0,1e400,12345678901234567890],"b":"\\u00e9 é 😀 \\"}{"},\n';
  return `[${item.repeat(Math.ceil(sizeBytes / item.length))}null]`;
}

function textOf(sizeBytes: number): string {
  const item = 'é 😀 \\n\\t\\"\\\\\\/ \\u00e9\\u0000\\ud83d\\ude00\\u20AC plain ';
  return `"${item.repeat(Math.ceil(sizeBytes / item.length))}"`;
}

function base64Of(sizeBytes: number, left = 0): string {
  const bytes = Buffer.alloc(Math.ceil((sizeBytes + 1) / 3) * 3 - left, 'all\xff\xfe\xfb\0of it');
  return `"${bytes.toString('base64')}"`;
}

function body(...members: readonly string[]): Buffer {
  return Buffer.from(`{${members.join(',')}}`);
}

/** White space wherever it may be. */
function spaced(text: string): Buffer {
  return Buffer.from(` \r\n\t${text.replaceAll('":', '" \n:\t ').replaceAll(',"', ' , "')}\n `);
}

export const GOOD_BODIES: readonly StructuredBody[] = [
  {
    name: 'JSON after the attributes',
    body: (size) => body(REQUIRED, JSON_TYPE, `"data":${jsonOf(size)}`),
  },
  {
    name: 'JSON before the attributes',
    body: (size) => body(`"data":${jsonOf(size)}`, REQUIRED, JSON_TYPE),
  },
  {
    name: 'JSON between the attributes',
    body: (size) => body(JSON_TYPE, `"data":${jsonOf(size)}`, REQUIRED),
  },
  { name: 'JSON of no type', body: (size) => body(REQUIRED, `"data":${jsonOf(size)}`) },
  {
    name: 'JSON of a type of its own',
    body: (size) =>
      body(
        REQUIRED,
        `"data":${jsonOf(size)}`,
        '"datacontenttype":"Application/Geo+JSON; charset=utf-8"',
      ),
  },
  { name: 'a JSON string', body: (size) => body(REQUIRED, JSON_TYPE, `"data":${textOf(size)}`) },
  { name: 'a JSON number', body: (size) => body(REQUIRED, `"data":${'9'.repeat(size + 1)}`) },
  {
    name: 'JSON with white space around everything',
    body: (size) => spaced(body(REQUIRED, `"data":${jsonOf(size)}`, JSON_TYPE).toString()),
  },
  {
    name: 'text after its type',
    body: (size) => body(REQUIRED, TEXT_TYPE, `"data":${textOf(size)}`),
  },
  {
    name: 'text before its type',
    body: (size) => body(`"data":${textOf(size)}`, REQUIRED, TEXT_TYPE),
  },
  {
    name: 'text without escapes before its type',
    body: (size) => body(REQUIRED, `"data":"${'x'.repeat(size)}"`, TEXT_TYPE),
  },
  {
    name: 'text in white space',
    body: (size) => spaced(body(TEXT_TYPE, `"data":${textOf(size)}`, REQUIRED).toString()),
  },
  {
    name: 'base64 after the attributes',
    body: (size) => body(REQUIRED, BYTES_TYPE, `"data_base64":${base64Of(size)}`),
  },
  {
    name: 'base64 before the attributes',
    body: (size) => body(`"data_base64":${base64Of(size)}`, REQUIRED, BYTES_TYPE),
  },
  {
    name: 'base64 with one padding',
    body: (size) => body(REQUIRED, `"data_base64":${base64Of(size, 1)}`),
  },
  {
    name: 'base64 with two paddings',
    body: (size) => body(REQUIRED, `"data_base64":${base64Of(size, 2)}`),
  },
  {
    name: 'base64 with escapes',
    body: (size) =>
      body(
        REQUIRED,
        `"data_base64":${base64Of(size).replaceAll('/', '\\/').replaceAll('Y', '\\u0059')}`,
      ),
  },
  {
    name: 'base64 under an escaped name',
    body: (size) => body(REQUIRED, `"data\\u005fbase64":${base64Of(size)}`),
  },
  {
    name: 'base64 of JSON',
    body: (size) =>
      body(REQUIRED, JSON_TYPE, `"data_base64":"${Buffer.from(jsonOf(size)).toString('base64')}"`),
  },
  {
    name: 'version 0.3: base64 after its encoding',
    body: (size) =>
      body(REQUIRED_03, '"datacontentencoding":"base64"', BYTES_TYPE, `"data":${base64Of(size)}`),
  },
  {
    name: 'version 0.3: base64 before its encoding',
    body: (size) =>
      body(`"data":${base64Of(size)}`, REQUIRED_03, BYTES_TYPE, '"datacontentencoding":"base64"'),
  },
  { name: 'version 0.3: JSON', body: (size) => body(`"data":${jsonOf(size)}`, REQUIRED_03) },
  {
    name: 'version 0.3: text before its type',
    body: (size) => body(`"data":${textOf(size)}`, TEXT_TYPE, REQUIRED_03),
  },
  {
    name: 'JSON as deep as is allowed',
    body: () => body(REQUIRED, `"data":${'['.repeat(9_990)}${']'.repeat(9_990)}`),
  },
  {
    name: 'no data in much white space',
    body: (size) =>
      Buffer.concat([Buffer.alloc(size, ' '), body(REQUIRED), Buffer.alloc(size, '\n')]),
  },
  { name: 'no data', body: () => body(REQUIRED, '"ext":5,"flag":true') },
  { name: 'data that is null', body: () => body(REQUIRED, '"data":null') },
  { name: 'data that is an empty text', body: () => body(TEXT_TYPE, '"data":""', REQUIRED) },
  { name: 'base64 that is empty', body: () => body(REQUIRED, '"data_base64":""') },
  { name: 'base64 that is null', body: () => body(REQUIRED, '"data_base64":null') },
];

export const BAD_BODIES: readonly StructuredBody[] = [
  { name: 'nothing', body: () => Buffer.of() },
  { name: 'only white space', body: (size) => Buffer.alloc(size, ' ') },
  { name: 'no object', body: (size) => Buffer.from(jsonOf(size)) },
  {
    name: 'both data members',
    body: (size) => body(REQUIRED, `"data":${jsonOf(size)}`, `"data_base64":${base64Of(size)}`),
  },
  {
    name: 'both data members, the other way round',
    body: (size) => body(`"data_base64":${base64Of(size)}`, REQUIRED, `"data":${jsonOf(size)}`),
  },
  { name: 'data twice', body: (size) => body(`"data":${jsonOf(size)}`, REQUIRED, '"data":1') },
  {
    name: 'data twice, once with an escape',
    body: (size) => body(`"data":${jsonOf(size)}`, REQUIRED, '"d\\u0061ta":1'),
  },
  {
    name: 'base64 twice',
    body: (size) => body('"data_base64":"AAAA"', REQUIRED, `"data_base64":${base64Of(size)}`),
  },
  {
    name: 'an attribute twice',
    body: (size) => body(REQUIRED, `"data":${jsonOf(size)}`, '"type":"other"'),
  },
  {
    name: 'an attribute twice, in capitals',
    body: (size) => body(REQUIRED, `"data":${jsonOf(size)}`, '"TYPE":"other"'),
  },
  {
    name: 'an attribute twice, once null',
    body: (size) => body(REQUIRED, `"data":${jsonOf(size)}`, '"ext":null,"ext":1'),
  },
  {
    name: 'bytes that are no UTF-8 in the data',
    body: (size) =>
      Buffer.concat([
        body(REQUIRED, `"data":"${'x'.repeat(size)}`).subarray(0, -1),
        Buffer.of(0xff),
        Buffer.from('"}'),
      ]),
  },
  {
    name: 'half a character at the end of the data',
    body: (size) =>
      Buffer.concat([
        body(REQUIRED, `"data":"${'x'.repeat(size)}`).subarray(0, -1),
        Buffer.of(0xf0, 0x9f, 0x98),
        Buffer.from('"}'),
      ]),
  },
  {
    name: 'bytes that are no UTF-8 in an attribute behind the data',
    body: (size) =>
      Buffer.concat([
        body(`"data":${jsonOf(size)}`, REQUIRED, '"subject":"').subarray(0, -1),
        Buffer.of(0xc3),
        Buffer.from('"}'),
      ]),
  },
  {
    name: 'a character in more bytes than it needs',
    body: (size) =>
      Buffer.concat([
        body(REQUIRED, `"data":"${'x'.repeat(size)}`).subarray(0, -1),
        Buffer.of(0xc0, 0xaf),
        Buffer.from('"}'),
      ]),
  },
  {
    name: 'half of a surrogate pair in text',
    body: (size) => body(REQUIRED, TEXT_TYPE, `"data":"${'x'.repeat(size)}\\ud83d x"`),
  },
  {
    name: 'half of a surrogate pair at the end of text',
    body: (size) => body(REQUIRED, TEXT_TYPE, `"data":"${'x'.repeat(size)}\\ud83d"`),
  },
  {
    name: 'half of a surrogate pair in text before its type',
    body: (size) => body(`"data":"\\ude00${'x'.repeat(size)}"`, TEXT_TYPE, REQUIRED),
  },
  {
    name: 'half of a surrogate pair in an attribute',
    body: (size) => body(`"data":${jsonOf(size)}`, REQUIRED, '"subject":"\\ud83d"'),
  },
  {
    name: 'text that is no string',
    body: (size) => body(REQUIRED, TEXT_TYPE, `"data":${jsonOf(size)}`),
  },
  {
    name: 'text that is no string, before its type',
    body: (size) => body(`"data":${jsonOf(size)}`, TEXT_TYPE, REQUIRED),
  },
  {
    name: 'base64 that is no string',
    body: (size) => body(REQUIRED, `"data_base64":${jsonOf(size)}`),
  },
  {
    name: 'base64 with a letter of another alphabet',
    body: (size) => body(REQUIRED, `"data_base64":"${'AAAA'.repeat(size / 4)}A-_A"`),
  },
  {
    name: 'base64 with a line end in it',
    body: (size) => body(REQUIRED, `"data_base64":"${'AAAA'.repeat(size / 4)}\\nAAAA"`),
  },
  {
    name: 'base64 that goes on behind its padding',
    body: (size) => body(REQUIRED, `"data_base64":"AA==${'AAAA'.repeat(size / 4)}"`),
  },
  {
    name: 'base64 without its padding',
    body: (size) => body(REQUIRED, `"data_base64":"${'AAAA'.repeat(size / 4)}AA"`),
  },
  {
    name: 'version 0.3: data_base64',
    body: (size) => body(`"data_base64":${base64Of(size)}`, REQUIRED_03),
  },
  {
    name: 'version 0.3: no base64, before its encoding',
    body: (size) => body(`"data":${textOf(size)}`, REQUIRED_03, '"datacontentencoding":"base64"'),
  },
  {
    name: 'a byte order mark',
    body: (size) =>
      Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), body(REQUIRED, `"data":${jsonOf(size)}`)]),
  },
  {
    name: 'bytes behind its end',
    body: (size) => Buffer.concat([body(REQUIRED, `"data":${jsonOf(size)}`), Buffer.from(' {}')]),
  },
  {
    name: 'a zero byte behind its end',
    body: (size) => Buffer.concat([body(REQUIRED, `"data":${jsonOf(size)}`), Buffer.of(0)]),
  },
  { name: 'no end', body: (size) => body(REQUIRED, `"data":${jsonOf(size)}`).subarray(0, -1) },
  {
    name: 'an end in the middle of the data',
    body: (size) => body(REQUIRED, `"data":${jsonOf(size)}`).subarray(0, -size / 2),
  },
  {
    name: 'an end in the middle of a text',
    body: (size) =>
      body(REQUIRED, TEXT_TYPE, `"data":"${'x'.repeat(size)}"`).subarray(0, -size / 2),
  },
  {
    name: 'data that is no JSON: a bare word',
    body: (size) => body(REQUIRED, `"data":[${'1,'.repeat(size / 2)}nul]`),
  },
  {
    name: 'data that is no JSON: a comma too many',
    body: (size) => body(REQUIRED, `"data":[${'1,'.repeat(size / 2)}]`),
  },
  {
    name: 'data that is no JSON: a bracket that fits no other',
    body: (size) => body(REQUIRED, `"data":[${'1,'.repeat(size / 2)}1}`),
  },
  {
    name: 'data that is no JSON: a number with a leading zero',
    body: (size) => body(REQUIRED, `"data":[${'1,'.repeat(size / 2)}01]`),
  },
  {
    name: 'data that is no JSON: a control character in a string',
    body: (size) => body(REQUIRED, `"data":"${'x'.repeat(size)}\n"`),
  },
  {
    name: 'data that is no JSON: an escape that there is not',
    body: (size) => body(REQUIRED, `"data":"${'x'.repeat(size)}\\x41"`),
  },
  { name: 'a comment', body: (size) => body(REQUIRED, `"data":${jsonOf(size)} /* all */`) },
  {
    name: 'data deeper than is allowed',
    body: () => body(REQUIRED, `"data":${'['.repeat(10_001)}${']'.repeat(10_001)}`),
  },
  { name: 'brackets without end', body: (size) => body(REQUIRED, `"data":${'['.repeat(size)}`) },
  {
    name: 'an attribute that is an object',
    body: (size) => body(`"data":${jsonOf(size)}`, REQUIRED, '"ext":{"a":1}'),
  },
  {
    name: 'an attribute that is an array',
    body: (size) => body(REQUIRED, '"ext":[]', `"data":${jsonOf(size)}`),
  },
  {
    name: 'an attribute that is a fraction',
    body: (size) => body(`"data":${jsonOf(size)}`, REQUIRED, '"ext":1.5'),
  },
  {
    name: 'an attribute of more than 32 bits',
    body: (size) => body(`"data":${jsonOf(size)}`, REQUIRED, '"ext":2147483648'),
  },
  {
    name: 'an attribute with a bad name',
    body: (size) => body(`"data":${jsonOf(size)}`, REQUIRED, '"ext-1":1'),
  },
  {
    name: 'an attribute called Data',
    body: (size) => body(`"data":${jsonOf(size)}`, REQUIRED, '"Data":1'),
  },
  {
    name: 'no id',
    body: (size) => body(`"data":${jsonOf(size)}`, '"specversion":"1.0","source":"/a","type":"t"'),
  },
  {
    name: 'another version',
    body: (size) => body(`"data":${jsonOf(size)}`, REQUIRED.replace('1.0', '2.0')),
  },
  {
    name: 'an id that is empty',
    body: (size) => body(`"data":${jsonOf(size)}`, REQUIRED.replace('"1"', '""')),
  },
];
