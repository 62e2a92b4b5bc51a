/**
 * CloudEvents over HTTP, in both directions. This file has the choice of content mode and the binary mode, which is the
 * hot path; `codec-json.ts` the structured mode, `codec-batch.ts` the batched one, `codec-headers.ts` what a header value
 * may look like, `codec-rules.ts` what a valid event is. Versions 1.0 and 0.3 are carried side by side; neither becomes
 * the other.
 *
 *   content-type: application/cloudevents+json -----------> structured   parseStructured(body, headers)
 *   content-type: application/cloudevents-batch+json -----> batch        parseBatch(body, headers)
 *   any other, with ce-specversion: any value ------------> binary       parseBinaryHead(headers), the body is the data
 *   any other, without -----------------------------------> none
 *
 * Sources: CloudEvents HTTP Protocol Binding 1.0.2, section 3; JSON Event Format 1.0.2; both of version 0.3.
 *
 * **What percent-coding means for a user.** Attribute values are decoded once on the way in and encoded on the way out,
 * as section 3.1.3.2 of the binding demands. Several SDKs, Go's and JavaScript's among them, do neither, so between
 * two such programs a value changes its look, though not its meaning by the specification:
 *  - `hello world`, sent raw, arrives at a subscriber as `hello%20world`, and `100%` as `100%25`.
 *  - `/a%20b`, sent raw, is `/a b` for filters, and leaves as it came, `/a%20b`.
 *  - `/a%2Fb`, sent raw, is `/a/b` for filters, and leaves as `/a/b`: what needs no encoding gets none.
 *  - `"abc"` with its quotes is a quoted string, and means `abc`.
 * Structured mode codes nothing: values that must arrive to the letter are best sent as JSON, and asked for as JSON
 * (`format: json`).
 */
import type { AttributeValue, CloudEvent, FreshEvent } from './event.ts';
import type { IncomingHeaders } from './codec-headers.ts';
import {
  appendKeptHeaders,
  decodeValue,
  encodeValue,
  headerText,
  keptHeaders,
  sendableText,
} from './codec-headers.ts';
import { attributeName, mediaTypeOf, requireValid } from './codec-rules.ts';

export type { IncomingHeaders } from './codec-headers.ts';
export { parseBatch } from './codec-batch.ts';
export { keptHeaders } from './codec-headers.ts';
export { parseStructured, structuredBody, structuredHeaders } from './codec-json.ts';

export type ContentMode = 'binary' | 'structured' | 'batch' | 'none';

/**
 * How the message carries its event, if it has one. Any `ce-specversion` makes it binary, so that a wrong version gets a
 * precise answer from `parseBinaryHead`.
 */
export function contentModeOf(headers: IncomingHeaders): ContentMode {
  const contentType = headerText(headers['content-type']);
  if (contentType !== undefined) {
    const mediaType = mediaTypeOf(contentType);
    if (mediaType === 'application/cloudevents+json') return 'structured';
    if (mediaType === 'application/cloudevents-batch+json') return 'batch';
  }
  return headers['ce-specversion'] === undefined ? 'none' : 'binary';
}

/**
 * Reads and checks everything that a binary message says before its body; the body, as it comes, is the data.
 * @throws KNEAR_EVENT_INVALID naming the attribute, what is wrong with it and what to send instead.
 */
export function parseBinaryHead(headers: IncomingHeaders): Omit<FreshEvent, 'data'> {
  const attributes = new Map<string, AttributeValue>();
  for (const header in headers) {
    if (!header.startsWith('ce-')) continue;
    const text = headerText(headers[header]);
    if (text === undefined) continue;
    const name = ATTRIBUTE_OF_HEADER.get(header) ?? attributeName(header.slice(3));
    attributes.set(name, decodeValue(name, text));
  }
  // It wins over a `ce-datacontenttype`, which the binding forbids, yet some senders write beside it or in its place.
  // Not percent-coded: the examples of the binding show spaces in it, and parameters have their own quoting.
  const contentType = headerText(headers['content-type']);
  if (contentType !== undefined && contentType.trim() !== '') {
    attributes.set('datacontenttype', contentType);
  }
  requireValid(attributes);
  return { attributes, headers: keptHeaders(headers) };
}

/**
 * Headers of the binary message, flat: name, value, name, value ... Safe to send whatever the attributes hold: bytes
 * that could end a header are percent-encoded. Without content-length, which belongs to who sends the body.
 */
export function binaryHeaders(event: CloudEvent): string[] {
  const headers: string[] = [];
  for (const [name, value] of event.attributes) {
    if (name === 'datacontenttype') headers.push('content-type', sendableText(String(value)));
    else {
      const text = typeof value === 'string' ? encodeValue(value) : String(value);
      headers.push(HEADER_OF_ATTRIBUTE.get(name) ?? `ce-${name}`, text);
    }
  }
  appendKeptHeaders(headers, event.headers);
  return headers;
}

/** Names that nearly every event has. Looked up, they cost neither a new string nor a check: half of the whole parse. */
const COMMON_NAMES = [
  'specversion',
  'id',
  'source',
  'type',
  'subject',
  'time',
  'dataschema',
  'knativearrivaltime',
  'knativebrokerttl',
  'partitionkey',
] as const;
const ATTRIBUTE_OF_HEADER: ReadonlyMap<string, string> = new Map(
  COMMON_NAMES.map((name) => [`ce-${name}`, name]),
);
const HEADER_OF_ATTRIBUTE: ReadonlyMap<string, string> = new Map(
  COMMON_NAMES.map((name) => [name, `ce-${name}`]),
);
