/**
 * An event, Work or parked entry as a message: a CloudEvent in binary mode (`ce-` headers, the data as the body), as the NATS
 * protocol binding has it, so that any NATS tool shows what waits. What the binding has no place for is in one header of
 * ours, `knear`, as JSON with a version.
 *
 * A reply on its way carries the event that it answers: its head in `knear`, its data behind that of the reply. Two records
 * always fit into one message, because a record may be half as large as one (`recordMaxBytes`).
 *
 * Source: CloudEvents NATS Protocol Binding 1.0.2, section 3.2 (binary content mode).
 */
import { MsgHdrsImpl, type MsgHdrs } from '@nats-io/transport-node';

import { decodeValue, encodeValue } from '../../../core/codec-headers.ts';
import { KnearError } from '../../../core/errors.ts';
import {
  claimOf,
  inlineData,
  type AttributeValue,
  type CloudEvent,
  type PayloadRef,
} from '../../../core/event.ts';
import type { Failure, Work } from '../../../core/ports/event-log.ts';
import { failureFromJson, failureToJson, type FailureJson } from '../record.ts';

const VERSION = 1;
const HEADER = 'knear';

/** The header `knear` and those of the server, which count as payload: a failure, a ticket or two, names. */
const HEADERS_MAX_BYTES = 64 * 1024;

/** Two records fit into one message, with what is around them: a reply on its way carries what it answers. */
export function recordMaxBytesOf(payloadMaxBytes: number): number {
  return Math.floor((payloadMaxBytes - HEADERS_MAX_BYTES) / 2);
}

/** What a message says, whatever its subject is. */
export interface StoredMessage {
  readonly event: CloudEvent;
  readonly acceptedAtMs: number;
  /** Of `w` and `t`. */
  readonly work?: Work;
  /** The event whose reply this is. */
  readonly origin?: CloudEvent;
  /** Of `p`. */
  readonly parked?: { readonly failure: Failure; readonly atMs: number };
}

/** The header `knear`. Absent members say what is most common. */
interface Head {
  readonly v: typeof VERSION;
  /** Accepted at, Unix ms. */
  readonly t: number;
  /** Attributes that are no text, or no text that UTF-8 could hold. */
  readonly n?: readonly [string, AttributeValue][];
  /** Kept headers. */
  readonly h?: [string, string][];
  /** Bytes of data, where there are some; the rest of the body is the origin's. */
  readonly d?: number;
  /** The ticket, where the data is claimed. */
  readonly p?: PayloadRef;
  readonly w?: Omit<Work, 'lastFailure'> & { readonly lastFailure?: FailureJson };
  readonly o?: OriginHead;
  readonly k?: { readonly failure: FailureJson; readonly atMs: number };
}

interface OriginHead {
  readonly a: [string, AttributeValue][];
  readonly h: [string, string][];
  /** It has data, the rest of the body. */
  readonly d?: 1;
  readonly p?: PayloadRef;
}

export interface OutMessage {
  readonly headers: MsgHdrs;
  readonly data: Uint8Array;
}

export function encodeMessage(message: StoredMessage): OutMessage {
  const { event, origin } = message;
  const lines: Record<string, string[]> = {};
  const others: [string, AttributeValue][] = [];
  for (const [name, value] of event.attributes) {
    lines[`ce-${name}`] = [typeof value === 'string' ? encodeValue(value) : String(value)];
    if (typeof value !== 'string' || !value.isWellFormed()) others.push([name, value]);
  }
  lines[HEADER] = [toHeader(headOf(message, others))];
  // All at once, unchecked: names and values are printable ASCII by now, and `set` looks through what is there each time.
  const headers = MsgHdrsImpl.fromRecord(lines);
  const [data, originData] = [inlineData(event), origin && inlineData(origin)];
  if (originData === undefined) return { headers, data: data ?? NO_DATA };
  return { headers, data: Buffer.concat([data ?? NO_DATA, originData]) };
}

const NO_DATA = Buffer.alloc(0);

function headOf(message: StoredMessage, others: [string, AttributeValue][]): Head {
  const { event, acceptedAtMs, work, origin, parked } = message;
  const [data, claim] = [inlineData(event), claimOf(event)];
  return {
    v: VERSION,
    t: acceptedAtMs,
    ...(others.length > 0 && { n: others }),
    ...(event.headers.size > 0 && { h: [...event.headers] }),
    ...(data && { d: data.byteLength }),
    ...(claim && { p: claim }),
    ...(work && { w: workToJson(work) }),
    ...(origin && { o: originHead(origin) }),
    ...(parked && { k: { atMs: parked.atMs, failure: failureToJson(parked.failure) } }),
  };
}

function originHead(origin: CloudEvent): OriginHead {
  const claim = claimOf(origin);
  return {
    a: [...origin.attributes],
    h: [...origin.headers],
    ...(inlineData(origin) && { d: 1 }),
    ...(claim && { p: claim }),
  };
}

function workToJson({ lastFailure, ...rest }: Work): NonNullable<Head['w']> {
  return { ...rest, ...(lastFailure && { lastFailure: failureToJson(lastFailure) }) };
}

/** Header values are lines. JSON has no line ends of its own; what is not ASCII is escaped to be safe with every tool. */
function toHeader(head: Head): string {
  return JSON.stringify(head).replace(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * @param body is kept: the event's data is a view of it
 * @throws KNEAR_LOG_FORMAT for a version of a later program; KNEAR_LOG_CORRUPT for what no program of ours wrote
 */
export function decodeMessage(headers: MsgHdrs | undefined, body: Uint8Array): StoredMessage {
  const head = readHead(headers);
  try {
    return readMessage(head, headers, body);
  } catch (cause) {
    throw damaged(cause);
  }
}

function readMessage(head: Head, headers: MsgHdrs | undefined, body: Uint8Array): StoredMessage {
  const dataBytes = head.d ?? 0;
  if (typeof head.t !== 'number') throw new Error('it does not say when it was accepted');
  if (dataBytes > body.byteLength) throw new Error('its data is cut off');
  const event: CloudEvent = {
    attributes: readAttributes(headers, new Map(head.n)),
    headers: new Map(head.h),
    data: head.p ?? (head.d === undefined ? undefined : body.subarray(0, dataBytes)),
  };
  const { w, o, k } = head;
  return {
    event,
    acceptedAtMs: head.t,
    ...(w && { work: workFromJson(w) }),
    ...(o && { origin: readOrigin(o, body.subarray(dataBytes)) }),
    ...(k && { parked: { atMs: k.atMs, failure: failureFromJson(k.failure) } }),
  };
}

function readHead(headers: MsgHdrs | undefined): Head {
  let head: Partial<Head> | null;
  try {
    // Written by `toHeader` of this version, or refused below.
    head = JSON.parse(headers?.get(HEADER) ?? '') as Partial<Head> | null;
  } catch (cause) {
    throw damaged(cause);
  }
  if (typeof head?.v !== 'number') throw damaged(undefined);
  if (head.v === VERSION) return head as Head;
  const detail = `a message has format ${String(head.v)}, this program reads ${VERSION}: start the version that wrote it`;
  throw new KnearError('KNEAR_LOG_FORMAT', detail);
}

function damaged(cause: unknown): KnearError {
  const detail = `a message in the stream is not knear's, or is damaged (header ${HEADER}): it is offered to nobody, delete it`;
  return new KnearError('KNEAR_LOG_CORRUPT', detail, { cause });
}

function readAttributes(
  headers: MsgHdrs | undefined,
  others: ReadonlyMap<string, AttributeValue>,
): Map<string, AttributeValue> {
  const attributes = new Map<string, AttributeValue>();
  for (const [header, [value = '']] of headers ?? []) {
    if (!header.startsWith('ce-')) continue;
    const name = header.slice(3);
    attributes.set(name, others.get(name) ?? decodeValue(name, value));
  }
  return attributes;
}

function readOrigin({ a, h, d, p }: OriginHead, data: Uint8Array): CloudEvent {
  return { attributes: new Map(a), headers: new Map(h), data: p ?? (d ? data : undefined) };
}

function workFromJson({ lastFailure, ...rest }: NonNullable<Head['w']>): Work {
  return { ...rest, ...(lastFailure && { lastFailure: failureFromJson(lastFailure) }) };
}
