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
import { insideOf, invalidBody, isJsonValue, membersOf, unescaped } from './codec-json-scan.ts';
import type { IncomingHeaders } from './codec-headers.ts';
import { appendKeptHeaders, keptHeaders } from './codec-headers.ts';
import { attributeName, mediaTypeOf, quote, requireValid } from './codec-rules.ts';
import type { KnearError } from './errors.ts';
import type { AttributeValue, CloudEvent, FreshEvent, Inline, KeptHeaders } from './event.ts';
import { attributeText } from './event.ts';
import { asBuffer, utf8End } from './utf8.ts';

/**
 * Reads and checks the event in a structured message.
 * @param body is kept: the data may be a view of it.
 * @throws KNEAR_STRUCTURED_INVALID with an offset when the body is not the JSON of an event; KNEAR_EVENT_INVALID naming
 *   the attribute when it is, but the event breaks a rule.
 */
export function parseStructured(body: Uint8Array, headers: IncomingHeaders): Inline<FreshEvent> {
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
): Inline<FreshEvent> {
  const envelope = readMembers(body, members);
  const { attributes } = envelope;
  requireValid(attributes);
  const carried = carriedData(attributes, envelope);
  const data = carried && readData(body, carried);
  // An empty body is no data in binary mode, so an empty text is none here.
  return { attributes, headers, data: data?.byteLength === 0 ? undefined : data };
}

/** The event as JSON. Structured mode cannot keep white space around JSON data; all else is carried exactly. */
export function structuredBody(event: Inline): Uint8Array {
  const { data } = event;
  if (data === undefined || data.byteLength === 0) return encoded(frameOf(event, 'none'), '');
  const form = formOf(data, attributeText(event, 'datacontenttype'));
  const frame = frameOf(event, form);
  switch (form) {
    case 'json':
      return Buffer.concat([Buffer.from(frame.head), data, Buffer.from(frame.tail)]);
    case 'text':
      return encoded(frame, JSON.stringify(asBuffer(data).toString('utf8')));
    case 'base64':
      return encoded(frame, asBuffer(data).toString('base64'));
  }
}

function encoded({ head, tail }: Frame, value: string): Uint8Array {
  return Buffer.from(`${head}${value}${tail}`);
}

/** What stands around the data. */
interface Frame {
  readonly head: string;
  readonly tail: string;
}

/** The event but for its data, which goes between, in that form. */
export function frameOf(event: CloudEvent, form: DataForm | 'none'): Frame {
  const is03 = event.attributes.get('specversion') === '0.3';
  const members: string[] = [];
  for (const [name, value] of event.attributes) {
    // In 0.3 it says how this JSON carries the data, so it is decided below, whatever a sender said of another form.
    if (is03 && name === 'datacontentencoding') continue;
    members.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
  }
  if (form === 'base64') {
    if (is03) members.push('"datacontentencoding":"base64"', '"data":"');
    else members.push('"data_base64":"');
    return { head: `{${members.join(',')}`, tail: '"}' };
  }
  if (form !== 'none') members.push('"data":');
  return { head: `{${members.join(',')}`, tail: '}' };
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
  if (!isUtf8(body)) throw notUtf8(utf8End(body));
  requireNoByteOrderMark(body);
  return body;
}

export function notUtf8(offset: number): KnearError {
  return invalidBody('the body is not UTF-8: send JSON in UTF-8', offset);
}

/** @param start of the body: its first character, at least. @throws KNEAR_STRUCTURED_INVALID */
export function requireNoByteOrderMark(start: Uint8Array): void {
  if (start[0] !== 0xef || start[1] !== 0xbb || start[2] !== 0xbf) return;
  throw invalidBody('the body starts with a byte order mark: send JSON without it', 0);
}

/** The members that may be the event's data. */
interface DataMembers<Data> {
  readonly data: Data | undefined;
  readonly base64: Data | undefined;
}

interface Envelope extends DataMembers<Member> {
  readonly attributes: Map<string, AttributeValue>;
}

function readMembers(body: Buffer, members: readonly Member[]): Envelope {
  const attributes = new Map<string, AttributeValue>();
  const names = new Set<string>();
  let data: Member | undefined;
  let base64: Member | undefined;
  for (const member of members) {
    const name = takeName(names, member);
    if (name === 'data') data = member;
    else if (name === 'data_base64') base64 = member;
    else {
      const value = attributeValue(member, textOf(body, member));
      if (value !== undefined) attributes.set(name, value);
    }
  }
  return { attributes, data, base64 };
}

/** Of a string what stands between its quotes. */
function textOf(body: Buffer, { kind, valueOffset, valueEnd }: Member): string {
  if (kind === 'string') return insideOf(body, valueOffset, valueEnd);
  return body.toString('latin1', valueOffset, valueEnd);
}

/** A member as people are told of it. */
export type MemberStart = Omit<Member, 'valueEnd'>;

/**
 * The name in the form we keep, added to those that are taken.
 * @throws KNEAR_STRUCTURED_INVALID when it is; KNEAR_EVENT_INVALID when it can be none.
 */
export function takeName(
  names: Set<string>,
  { name, nameOffset }: Pick<Member, 'name' | 'nameOffset'>,
): string {
  const kept = name === 'data' || name === 'data_base64' ? name : attributeName(name);
  if (names.has(kept)) throw invalidBody(`${quote(kept)} is there twice: send it once`, nameOffset);
  names.add(kept);
  return kept;
}

/**
 * @param text of the JSON value; of a string what stands between its quotes, of objects and arrays anything.
 * @throws KNEAR_STRUCTURED_INVALID
 */
export function attributeValue(member: MemberStart, text: string): AttributeValue | undefined {
  switch (member.kind) {
    case 'null':
      return undefined;
    case 'boolean':
      return text === 'true';
    case 'number':
      return integerOf(member, text);
    case 'string':
      return wholeText(member, text);
    case 'object':
    case 'array': {
      const remedy = 'send a string, an integer or a boolean';
      const problem = `${quote(member.name)} is an object or an array`;
      throw invalidBody(`${problem}: ${remedy}`, member.valueOffset);
    }
  }
}

/** 32 bits, signed, and no fraction or exponent even if its value is whole (CloudEvents 1.0.2, "Type System"). */
function integerOf({ name, valueOffset }: MemberStart, digits: string): number {
  // Bitwise, so that -0 becomes 0.
  const value = Number(digits) | 0;
  if (!INTEGER.test(digits) || Number(digits) !== value) {
    const remedy = 'send a whole number of at most 32 bits, or a string';
    throw invalidBody(`${quote(name)} is no integer: ${remedy}`, valueOffset);
  }
  return value;
}

const INTEGER = /^-?\d+$/;

function wholeText(member: MemberStart, inside: string): string {
  // Without escapes all characters are whole: UTF-8 has no others.
  if (!inside.includes('\\')) return inside;
  const text = unescaped(inside);
  if (HALF_A_PAIR.test(text)) throw halfAPair(member);
  return text;
}

/** What an escape such as `\ud800` alone makes: legal JSON, but no character, and UTF-8 cannot carry it. */
export const HALF_A_PAIR = /\p{Surrogate}/u;

/** How JSON carries data. */
export type DataForm = 'json' | 'text' | 'base64';

/** A member, and what its value is to be read as: all but JSON is a string. */
export interface CarriedData<Data> {
  readonly member: Data;
  readonly form: DataForm;
}

/**
 * Which member is the event's data, if any, and in which form. Completes the attributes: without a content type `data` is
 * JSON, which is then said, because in binary mode it would not be implied (JSON Event Format 1.0.2, section 3.1.2).
 * @throws KNEAR_STRUCTURED_INVALID
 */
export function carriedData<Data extends MemberStart>(
  attributes: Map<string, AttributeValue>,
  { data, base64 }: DataMembers<Data>,
): CarriedData<Data> | undefined {
  if (attributes.get('specversion') === '0.3') {
    if (base64 !== undefined) {
      const remedy = 'send data, with datacontentencoding "base64"';
      throw invalidBody(`data_base64 is not part of version 0.3: ${remedy}`, base64.nameOffset);
    }
    // It is about the string, and must not be set on data that is bytes, so it ends here. Beside another value than a
    // string it means nothing.
    const isEncoded = attributes.delete('datacontentencoding');
    if (isEncoded && data?.kind === 'string') return { member: data, form: 'base64' };
  }
  if (data !== undefined && base64 !== undefined) {
    const offset = Math.max(data.nameOffset, base64.nameOffset);
    throw invalidBody('data and data_base64 are both there: send one of them', offset);
  }
  if (data !== undefined) return { member: data, form: formOfValue(attributes, data) };
  // Null is not set; it is no attribute, but nobody can mean anything else by it.
  if (base64 === undefined || base64.kind === 'null') return undefined;
  if (base64.kind !== 'string') throw notBase64(base64);
  return { member: base64, form: 'base64' };
}

function formOfValue(attributes: Map<string, AttributeValue>, member: MemberStart): DataForm {
  const contentType = attributes.get('datacontenttype') ?? 'application/json';
  attributes.set('datacontenttype', contentType);
  if (isJsonType(contentType)) return 'json';
  if (member.kind === 'string') return 'text';
  const problem = 'data is not a string, although datacontenttype does not say JSON';
  throw invalidBody(`${problem}: send a string, or base64`, member.valueOffset);
}

function readData(body: Buffer, { member, form }: CarriedData<Member>): Uint8Array {
  const { valueOffset, valueEnd } = member;
  switch (form) {
    case 'json':
      return body.subarray(valueOffset, valueEnd);
    case 'text':
      return Buffer.from(wholeText(member, insideOf(body, valueOffset, valueEnd)));
    case 'base64': {
      const bytes = decodeBase64(unescaped(insideOf(body, valueOffset, valueEnd)));
      if (bytes === undefined) throw notBase64(member);
      return bytes;
    }
  }
}

/** What is wrong with the value of a member. */
type Wrong = Pick<MemberStart, 'name' | 'valueOffset'>;

export function halfAPair({ name, valueOffset }: Wrong): KnearError {
  const problem = 'has half of a surrogate pair in it';
  return invalidBody(`${quote(name)} ${problem}: send whole characters`, valueOffset);
}

export function notBase64({ name, valueOffset }: Wrong): KnearError {
  const remedy = 'send a string in the standard alphabet, padded, without line breaks';
  return invalidBody(`${name} is not base64: ${remedy}`, valueOffset);
}

/** Node's decoder skips or misreads what is no base64, so the text is checked before (RFC 4648, sections 3.2 and 3.3). */
function decodeBase64(text: string): Uint8Array | undefined {
  const isBase64 = text.length % 4 === 0 && BASE64.test(text);
  return isBase64 ? Buffer.from(text, 'base64') : undefined;
}

/** With a length that is a multiple of four, padding of this form is the right one. */
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** In which form the data goes out. */
function formOf(data: Uint8Array, contentType: string | undefined): DataForm {
  if (!isUtf8(data)) return 'base64';
  if (isJsonType(contentType)) return isJsonValue(data) ? 'json' : 'base64';
  return isTextType(contentType) && isUtf8Charset(contentType) ? 'text' : 'base64';
}

/** JSON Event Format 1.0.2, section 3.1.1; without a content type, data is meant to be JSON. */
export function isJsonType(contentType: AttributeValue = 'application/json'): boolean {
  const mediaType = mediaTypeOf(String(contentType));
  return mediaType.endsWith('/json') || mediaType.endsWith('+json');
}

function isTextType(contentType = ''): boolean {
  const mediaType = mediaTypeOf(contentType);
  return mediaType.startsWith('text/') || mediaType.endsWith('/xml') || mediaType.endsWith('+xml');
}

/** Bytes of another charset can be UTF-8 by chance, and would then be read as other characters. */
function isUtf8Charset(contentType = ''): boolean {
  const charset = /;\s*charset="?([^\s";]+)/i.exec(contentType)?.[1];
  return charset === undefined || /^(?:utf-?8|us-ascii)$/i.test(charset);
}
