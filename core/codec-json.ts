/**
 * Structured mode: the event as one JSON object, read from a body in memory and written to one.
 *
 * In: an attribute keeps its JSON type, `null` means that it is not set. The data is made the bytes that binary mode
 * would carry: JSON is cut out of the body as it came (numbers keep their digits, members their order), base64 is
 * decoded, the string of any other type is encoded as UTF-8. Whatever two readers could understand differently is
 * refused: repeated names, `data` beside `data_base64`, trailing bytes, a byte order mark.
 *
 * Out, the first that fits:
 *  - JSON, by the content type or because there is none: `data`, byte for byte, if it is one valid JSON value
 *  - text, by the content type: `data` as a string, if it is UTF-8 and no other charset is declared
 *  - everything else: base64 (`data_base64`; in version 0.3 `data` with `datacontentencoding`)
 * The reference makes a string of every type that is not JSON, which destroys binary data; base64 can be read back
 * exactly by whoever follows the specification, and for text a string is what people expect to see.
 *
 * Sources: CloudEvents JSON Event Format 1.0.2, sections 2 and 3; CloudEvents 0.3, "datacontentencoding", and its JSON
 * Event Format, section 3.1.
 */
import { isUtf8 } from 'node:buffer';

import type { Member } from './codec-json-scan.ts';
import { invalidBody, isJsonValue, membersOf, stringOf } from './codec-json-scan.ts';
import type { IncomingHeaders } from './codec-headers.ts';
import { appendKeptHeaders, keptHeaders } from './codec-headers.ts';
import { attributeName, mediaTypeOf, quote, requireValid } from './codec-rules.ts';
import type { AttributeValue, CloudEvent, FreshEvent, KeptHeaders } from './event.ts';
import { attributeText } from './event.ts';

/**
 * Reads and checks the event in a structured message.
 * @param body is kept: the data may be a view of it.
 * @throws KNEAR_STRUCTURED_INVALID with an offset when the body is not the JSON of an event; KNEAR_EVENT_INVALID naming
 *   the attribute when it is, but the event breaks a rule.
 */
export function parseStructured(body: Uint8Array, headers: IncomingHeaders): FreshEvent {
  const bytes = utf8Of(body);
  return readEvent(bytes, membersOf(bytes), keptHeaders(headers));
}

/**
 * The event whose members these are.
 * @param body all of it: the data may be a view of it, and offsets in errors count from its start.
 * @throws as `parseStructured`
 */
export function readEvent(
  body: Buffer,
  members: readonly Member[],
  headers: KeptHeaders,
): FreshEvent {
  const envelope = readMembers(body, members);
  const { attributes } = envelope;
  requireValid(attributes);
  const is03 = attributes.get('specversion') === '0.3';
  const data = is03 ? readData03(body, envelope) : readData(body, envelope);
  // An empty body is no data in binary mode, so an empty text is none here.
  const hasData = data !== undefined && data.byteLength > 0;
  return { attributes, headers, data: hasData ? data : undefined };
}

/** The event as JSON. Structured mode cannot keep white space around JSON data; all else is carried exactly. */
export function structuredBody(event: CloudEvent): Uint8Array {
  const is03 = event.attributes.get('specversion') === '0.3';
  const members: string[] = [];
  for (const [name, value] of event.attributes) {
    // In 0.3 it says how this JSON carries the data, so it is decided below, whatever a sender said of another form.
    if (is03 && name === 'datacontentencoding') continue;
    members.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
  }
  const { data } = event;
  if (data === undefined || data.byteLength === 0) return encodeMembers(members);
  switch (formOf(data, attributeText(event, 'datacontenttype'))) {
    case 'json': {
      const head = Buffer.from(`{${members.join(',')},"data":`);
      return Buffer.concat([head, data, Buffer.from('}')]);
    }
    case 'text':
      members.push(`"data":${JSON.stringify(asBuffer(data).toString('utf8'))}`);
      return encodeMembers(members);
    case 'base64': {
      const text = asBuffer(data).toString('base64');
      if (is03) members.push('"datacontentencoding":"base64"', `"data":"${text}"`);
      else members.push(`"data_base64":"${text}"`);
      return encodeMembers(members);
    }
  }
}

/** Headers of the structured message, flat: name, value, name, value ... Without content-length. */
export function structuredHeaders(event: CloudEvent): string[] {
  const headers = ['content-type', 'application/cloudevents+json; charset=utf-8'];
  appendKeptHeaders(headers, event.headers);
  return headers;
}

/** The same bytes, ready to be scanned. @throws KNEAR_STRUCTURED_INVALID */
export function utf8Of(bytes: Uint8Array): Buffer {
  const body = asBuffer(bytes);
  if (!isUtf8(body)) {
    throw invalidBody('the body is not UTF-8: send JSON in UTF-8', utf8End(body));
  }
  if (body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf) {
    throw invalidBody('the body starts with a byte order mark: send JSON without it', 0);
  }
  return body;
}

/** Where UTF-8 breaks off: what follows is replaced by a decoder, so that it no longer encodes to the same byte. */
function utf8End(body: Buffer): number {
  const replaced = Buffer.from(body.toString('utf8'));
  const end = body.findIndex((byte, index) => replaced[index] !== byte);
  return end === -1 ? body.byteLength : end;
}

interface Envelope {
  readonly attributes: Map<string, AttributeValue>;
  readonly data: Member | undefined;
  readonly base64: Member | undefined;
}

function readMembers(body: Buffer, members: readonly Member[]): Envelope {
  const attributes = new Map<string, AttributeValue>();
  const seen = new Set<string>();
  let data: Member | undefined;
  let base64: Member | undefined;
  for (const member of members) {
    const name = isDataName(member.name) ? member.name : attributeName(member.name);
    if (seen.has(name)) {
      throw invalidBody(`${quote(name)} is there twice: send it once`, member.nameOffset);
    }
    seen.add(name);
    if (name === 'data') data = member;
    else if (name === 'data_base64') base64 = member;
    else {
      const value = readAttribute(body, member);
      if (value !== undefined) attributes.set(name, value);
    }
  }
  return { attributes, data, base64 };
}

function isDataName(name: string): boolean {
  return name === 'data' || name === 'data_base64';
}

function readAttribute(body: Buffer, member: Member): AttributeValue | undefined {
  const { name, kind, valueOffset, valueEnd } = member;
  switch (kind) {
    case 'null':
      return undefined;
    case 'boolean':
      return body.toString('utf8', valueOffset, valueEnd) === 'true';
    case 'number':
      return readInteger(body, member);
    case 'string':
      return readText(body, member);
    case 'object':
    case 'array': {
      const remedy = 'send a string, an integer or a boolean';
      throw invalidBody(`${quote(name)} is an object or an array: ${remedy}`, valueOffset);
    }
  }
}

/** 32 bits, signed, and no fraction or exponent even if its value is whole (CloudEvents 1.0.2, "Type System"). */
function readInteger(body: Buffer, { name, valueOffset, valueEnd }: Member): number {
  const digits = body.toString('utf8', valueOffset, valueEnd);
  // Bitwise, so that -0 becomes 0.
  const value = Number(digits) | 0;
  if (!INTEGER.test(digits) || Number(digits) !== value) {
    const remedy = 'send a whole number of at most 32 bits, or a string';
    throw invalidBody(`${quote(name)} is no integer: ${remedy}`, valueOffset);
  }
  return value;
}

const INTEGER = /^-?\d+$/;

function readText(body: Buffer, { name, valueOffset, valueEnd }: Member): string {
  const text = stringOf(body, valueOffset, valueEnd);
  if (HALF_A_PAIR.test(text)) {
    const problem = 'has half of a surrogate pair in it';
    throw invalidBody(`${quote(name)} ${problem}: send whole characters`, valueOffset);
  }
  return text;
}

/** What an escape such as `\ud800` alone makes: legal JSON, but no character, and UTF-8 cannot carry it. */
const HALF_A_PAIR = /\p{Surrogate}/u;

/**
 * Data of version 1.0. Without a content type `data` is JSON, which is then said, because in binary mode it would not be
 * implied (JSON Event Format 1.0.2, section 3.1.2).
 */
function readData(body: Buffer, { attributes, data, base64 }: Envelope): Uint8Array | undefined {
  if (data !== undefined && base64 !== undefined) {
    const offset = Math.max(data.nameOffset, base64.nameOffset);
    throw invalidBody('data and data_base64 are both there: send one of them', offset);
  }
  if (data !== undefined) return readValue(body, attributes, data);
  // Null is not set; it is no attribute, but nobody can mean anything else by it.
  if (base64 === undefined || base64.kind === 'null') return undefined;
  return readBase64(body, base64);
}

/**
 * Data of version 0.3. `datacontentencoding` tells that the string is base64; it is about the string, and must not be set
 * on data that is bytes, so it ends here. Beside any other value it means nothing.
 */
function readData03(body: Buffer, { attributes, data, base64 }: Envelope): Uint8Array | undefined {
  if (base64 !== undefined) {
    const remedy = 'send data, with datacontentencoding "base64"';
    throw invalidBody(`data_base64 is not part of version 0.3: ${remedy}`, base64.nameOffset);
  }
  const isEncoded = attributes.delete('datacontentencoding');
  if (data === undefined) return undefined;
  if (isEncoded && data.kind === 'string') return readBase64(body, data);
  return readValue(body, attributes, data);
}

function readValue(
  body: Buffer,
  attributes: Map<string, AttributeValue>,
  member: Member,
): Uint8Array {
  const { kind, valueOffset, valueEnd } = member;
  const contentType = attributes.get('datacontenttype') ?? 'application/json';
  attributes.set('datacontenttype', contentType);
  if (isJsonType(mediaTypeOf(String(contentType)))) return body.subarray(valueOffset, valueEnd);
  if (kind !== 'string') {
    const problem = 'data is not a string, although datacontenttype does not say JSON';
    throw invalidBody(`${problem}: send a string, or base64`, valueOffset);
  }
  return Buffer.from(readText(body, member));
}

function readBase64(body: Buffer, member: Member): Uint8Array {
  const { name, kind, valueOffset, valueEnd } = member;
  const bytes = kind === 'string' ? decodeBase64(stringOf(body, valueOffset, valueEnd)) : undefined;
  if (bytes === undefined) {
    const remedy = 'send a string in the standard alphabet, padded, without line breaks';
    throw invalidBody(`${name} is not base64: ${remedy}`, valueOffset);
  }
  return bytes;
}

/** Node's decoder skips or misreads what is no base64, so the text is checked before (RFC 4648, sections 3.2 and 3.3). */
function decodeBase64(text: string): Uint8Array | undefined {
  const isBase64 = text.length % 4 === 0 && BASE64.test(text);
  return isBase64 ? Buffer.from(text, 'base64') : undefined;
}

/** With a length that is a multiple of four, padding of this form is the right one. */
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** How the JSON carries the data. */
function formOf(data: Uint8Array, contentType: string | undefined): 'json' | 'text' | 'base64' {
  if (!isUtf8(data)) return 'base64';
  const mediaType = contentType === undefined ? 'application/json' : mediaTypeOf(contentType);
  if (isJsonType(mediaType)) return isJsonValue(data) ? 'json' : 'base64';
  return isTextType(mediaType) && isUtf8Charset(contentType) ? 'text' : 'base64';
}

/** JSON Event Format 1.0.2, section 3.1.1. */
function isJsonType(mediaType: string): boolean {
  return mediaType.endsWith('/json') || mediaType.endsWith('+json');
}

function isTextType(mediaType: string): boolean {
  return mediaType.startsWith('text/') || mediaType.endsWith('/xml') || mediaType.endsWith('+xml');
}

/** Bytes of another charset can be UTF-8 by chance, and would then be read as other characters. */
function isUtf8Charset(contentType: string | undefined): boolean {
  const charset = /;\s*charset="?([^\s";]+)/i.exec(contentType ?? '')?.[1];
  return charset === undefined || /^(?:utf-?8|us-ascii)$/i.test(charset);
}

function encodeMembers(members: readonly string[]): Uint8Array {
  return Buffer.from(`{${members.join(',')}}`);
}

/** The same bytes with Buffer's methods. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
