/**
 * The trace context that an event carries in its kept headers: reading it, and putting another one in its place. Pure.
 * Source: W3C Trace Context, "Traceparent Header" and "Tracestate Header".
 */
import type { CloudEvent } from '../../core/event.ts';

export interface TraceContext {
  /** All of it, as the header has it. */
  readonly traceparent: string;
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** Of the span that comes before: 16 hexadecimal digits. */
  readonly spanId: string;
  readonly flags: number;
  /** As it came. */
  readonly state: string | undefined;
}

/** The bits of `flags`: somebody records this trace; its id was drawn at random. */
export const SAMPLED = 1;
const RANDOM = 2;

/** Ids of zeros only mean nothing. */
const TRACEPARENT =
  /^([\da-f]{2})-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(-.*)?$/;

/** `undefined` when the event has none that can be read: then it belongs to no trace. */
export function traceContextOf({ headers }: CloudEvent): TraceContext | undefined {
  const found = TRACEPARENT.exec(headers.get('traceparent') ?? '');
  if (found === null) return undefined;
  const [traceparent, version = '', traceId = '', spanId = '', flags = '', rest] = found;
  // Version ff is none; only versions to come may say more than this one.
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  const state = headers.get('tracestate');
  return { traceparent, traceId, spanId, flags: Number.parseInt(flags, 16), state };
}

/** The header for a span; a flag that nobody has explained yet is 0 in it, as the specification asks. */
export function traceparentOf(of: Pick<TraceContext, 'traceId' | 'spanId' | 'flags'>): string {
  return `00-${of.traceId}-${of.spanId}-0${String(of.flags & (SAMPLED | RANDOM))}`;
}

/** The same event with this context in place of its own. Shares attributes and data. */
export function withTraceContext(
  event: CloudEvent,
  { traceparent, state }: Pick<TraceContext, 'traceparent' | 'state'>,
): CloudEvent {
  if (event.headers.get('traceparent') === traceparent) return event;
  const headers = new Map(event.headers).set('traceparent', traceparent);
  if (state === undefined) headers.delete('tracestate');
  else headers.set('tracestate', state);
  return { attributes: event.attributes, headers, data: event.data };
}
