/**
 * Header values: how an attribute's text becomes one and back, and which headers beside the event Knative passes on.
 *
 * Node and undici give and take header values as Latin-1, one character a byte. Attributes are decoded from that to
 * text; kept headers never are, so that they leave byte for byte as they came.
 * Sources: CloudEvents HTTP Protocol Binding 1.0.2, section 3.1.3.2; Knative Eventing, pkg/utils/headers.go.
 */
import { isUtf8 } from 'node:buffer';

import { KnearError } from './errors.ts';
import { quote } from './codec-rules.ts';
import type { KeptHeaders } from './event.ts';

/** Lower-case names, as node:http and undici give them. */
export type IncomingHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** The value of a header; of a repeated one, all of its values as HTTP joins them (RFC 9110, section 5.3). */
export function headerText(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.join(', ');
}

/**
 * What travels beside the event, from the producer to subscribers and from a subscriber's answer to its reply: Knative's
 * list, and the trace context, which Knative takes from the running span and we must carry through the log.
 */
export function keptHeaders(headers: IncomingHeaders): KeptHeaders {
  const kept = new Map<string, string>();
  for (const name in headers) {
    if (!isKept(name)) continue;
    const text = headerText(headers[name]);
    if (text !== undefined) kept.set(name, text);
  }
  return kept;
}

export function appendKeptHeaders(headers: string[], kept: KeptHeaders): void {
  for (const [name, value] of kept) headers.push(name, sendableText(value));
}

/** On every header of every request: one look at the first letter spares most names the comparisons. */
function isKept(name: string): boolean {
  switch (name.charCodeAt(0)) {
    case 0x78: // x
      return name === 'x-request-id' || name.startsWith('x-b3-');
    case 0x74: // t
      return name === 'traceparent' || name === 'tracestate';
    case 0x6b: // k
      return name.startsWith('knative-');
    case 0x72: // r
      return name === 'retry-after';
    default:
      return false;
  }
}

/**
 * The text of attribute `name` that the header value stands for.
 *
 * A `%` that two hexadecimal digits do not follow is meant literally, since many senders do not encode. So is a byte
 * that is not UTF-8: it is read as Latin-1.
 * @throws KNEAR_EVENT_INVALID for encoded bytes that are not UTF-8, as the binding demands.
 */
export function decodeValue(name: string, value: string): string {
  if (MEANS_ITSELF.test(value)) return value;
  return decodePercent(name, unquote(decodeUtf8(value)));
}

/** Neither quoted nor encoded nor beyond ASCII, like nearly every value there is. */
const MEANS_ITSELF = /^(?!")[\t\x20-\x24\x26-\x7e]*$/;

function decodeUtf8(value: string): string {
  if (!HAS_HIGH_BYTES.test(value)) return value;
  const bytes = Buffer.from(value, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : value;
}

/** All is Latin-1 (a caller with real text in its headers keeps it), and something is not ASCII. */
const HAS_HIGH_BYTES = /^[\0-\x7f]*[\x80-\xff][\0-\xff]*$/;

/** Only when all of the value is one quoted string (RFC 9110, section 5.6.4); a quote inside is just a quote. */
function unquote(value: string): string {
  const quoted = QUOTED_STRING.exec(value)?.[1];
  return quoted === undefined ? value : quoted.replace(/\\(.)/gsu, '$1');
}

const QUOTED_STRING = /^"((?:[^"\\]|\\.)*)"$/su;

function decodePercent(name: string, text: string): string {
  if (!text.includes('%')) return text;
  try {
    return text.replace(/(?:%[0-9A-Fa-f]{2})+/g, decodeURIComponent);
  } catch (cause) {
    throw new KnearError(
      'KNEAR_EVENT_INVALID',
      `${quote(name)} has percent-encoded bytes that are not UTF-8: encode the UTF-8 bytes of the text, and a plain % as %25`,
      { cause },
    );
  }
}

/** Printable ASCII without space, quote and percent, which the binding wants encoded as well. */
const NEEDS_NO_ENCODING = /^[\x21\x23\x24\x26-\x7e]*$/;

/** The header value for an attribute's text: printable ASCII, whatever the text holds. Half a surrogate pair is lost. */
export function encodeValue(text: string): string {
  if (NEEDS_NO_ENCODING.test(text)) return text;
  return text.replace(/[^\x21\x23\x24\x26-\x7e]+/gu, encodeRun);
}

/** A header value that is not percent-coded, made safe if it could not be sent: only data that never was a header. */
export function sendableText(value: string): string {
  return SENDABLE.test(value) ? value : value.replace(/[^\t\x20-\x7e\x80-\xff]+/gu, encodeRun);
}

/** What HTTP allows in a field value, and undici takes (RFC 9110, section 5.5). */
const SENDABLE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** The run has no letter, digit or mark that encodeURIComponent leaves as it is. */
function encodeRun(run: string): string {
  return encodeURIComponent(run.replace(/\p{Surrogate}/gu, '\ufffd'));
}
