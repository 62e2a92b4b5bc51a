/** What one event looks like on the wire, whoever gets it. */
import { binaryHeaders, structuredBody, structuredHeaders } from '../../core/codec.ts';
import { claimOf, inlineData, type CloudEvent } from '../../core/event.ts';
import type { DeliveryRequest } from '../../core/ports/deliverer.ts';
import type { Payloads } from '../../core/ports/payloads.ts';
import { binaryBody, jsonBody, type ClaimedBody } from './payload-body.ts';

export interface Message {
  /** Names and values in turn. */
  readonly headers: readonly string[];
  readonly body: Uint8Array | ClaimedBody | undefined;
}

export function headersOf(message: Message, request: DeliveryRequest): string[] {
  const headers = [...message.headers, 'kn-namespace', request.namespace];
  const { body } = message;
  if (body !== undefined && !ArrayBuffer.isView(body)) {
    headers.push('content-length', String(body.sizeBytes));
  }
  if (request.traceparent !== undefined) setTraceparent(headers, request.traceparent);
  if (request.wantsReply) headers.push('prefer', 'reply');
  if (request.host !== undefined) headers.push('host', request.host);
  return headers;
}

/** @param headers names and values in turn: a value may well be this word. */
function setTraceparent(headers: string[], traceparent: string): void {
  let at = 0;
  while (at < headers.length && headers[at] !== 'traceparent') at += 2;
  headers[at] = 'traceparent';
  headers[at + 1] = traceparent;
}

/**
 * 16 KiB: above, encoding is little beside the socket write, and a kept body would come on top of what the log counts as
 * the size of the events that it holds in memory.
 */
const STRUCTURED_KEPT_MAX_BYTES = 16 * 1024;

/** Encodes an event once for all its egresses: a Message lives as long as its event. */
export function openEncoder(
  payloads: Payloads,
): (event: CloudEvent, format: 'json' | 'binary') => Message | Promise<Message> {
  const messages = {
    json: new WeakMap<CloudEvent, Message>(),
    binary: new WeakMap<CloudEvent, Message>(),
  };
  return (event, format) => {
    const known = messages[format].get(event);
    if (known !== undefined) return known;
    const message = format === 'json' ? structuredMessage(event, payloads) : binaryMessage(event);
    const keep = (ready: Message) => {
      const { body } = ready;
      const bytes = format === 'json' && ArrayBuffer.isView(body) ? body.byteLength : 0;
      if (bytes <= STRUCTURED_KEPT_MAX_BYTES) messages[format].set(event, ready);
      return ready;
    };
    return message instanceof Promise ? message.then(keep) : keep(message);
  };
}

function binaryMessage(event: CloudEvent): Message {
  const ref = claimOf(event);
  const body = ref ? binaryBody(ref) : inlineData(event);
  return { headers: binaryHeaders(event), body };
}

function structuredMessage(event: CloudEvent, payloads: Payloads): Message | Promise<Message> {
  const headers = structuredHeaders(event);
  const ref = claimOf(event);
  if (ref) return jsonBody(event, ref, payloads).then((body) => ({ headers, body }));
  return { headers, body: structuredBody({ ...event, data: inlineData(event) }) };
}
