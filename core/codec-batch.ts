/**
 * Batched mode: many events as one JSON array, read from a body in memory. Nothing here writes one: nobody asks us to.
 *
 * The array is read as a whole and its events one by one, each as in structured mode. JSON that breaks off leaves no
 * telling where the next event begins, so it refuses the batch; what is wrong with one event is told of that event, and
 * the others are read all the same, so that a producer hears of everything at once.
 *
 * Sources: CloudEvents JSON Event Format 1.0.2, section 4; HTTP Protocol Binding 1.0.2, section 3.3.
 */
import type { IncomingHeaders } from './codec-headers.ts';
import { keptHeaders } from './codec-headers.ts';
import { readEvent, utf8Of } from './codec-json.ts';
import type { Element } from './codec-json-scan.ts';
import { elementsOf, invalidBody } from './codec-json-scan.ts';
import { quote } from './codec-rules.ts';
import type { ErrorCode } from './errors.ts';
import { codeOf, KnearError, messageOf } from './errors.ts';
import type { AttributeValue, FreshEvent, Inline, KeptHeaders } from './event.ts';

/** One element of a batch: the event, or why it is none. */
export type BatchItem =
  | { readonly kind: 'event'; readonly event: Inline<FreshEvent> }
  | { readonly kind: 'invalid'; readonly code: ErrorCode; readonly detail: string };

/**
 * As many records as the log writes at a time: a batch alone never makes a group of it more than twice as large, whose
 * commit all other producers in it wait for (20 ms instead of 10). It also takes some 10 ms in one piece, from its first
 * byte to the log, in which nothing else is served.
 */
const BATCH_EVENTS_MAX = 1_000;

/**
 * Reads and checks the events of a batch, in their order. None is fine, and so are two with the same source and id. The
 * data of each is in memory of its own: an event that waits for long must not hold the whole body.
 * @throws KNEAR_BATCH_INVALID with an offset when the body is not a JSON array; KNEAR_BATCH_TOO_LONG
 */
export function parseBatch(body: Uint8Array, headers: IncomingHeaders): BatchItem[] {
  const items: BatchItem[] = [];
  const kept = keptHeaders(headers);
  let version: AttributeValue | undefined;
  try {
    const bytes = utf8Of(body);
    for (const element of elementsOf(bytes)) {
      if (items.length === BATCH_EVENTS_MAX) throw tooLong();
      const item = readItem(bytes, element, { headers: kept, version });
      if (item.kind === 'event') version ??= item.event.attributes.get('specversion');
      items.push(item);
    }
  } catch (error) {
    if (codeOf(error) !== 'KNEAR_STRUCTURED_INVALID') throw error;
    throw new KnearError('KNEAR_BATCH_INVALID', messageOf(error), { cause: error });
  }
  return items;
}

/** @param shared.version that of the events before it, if there is any. */
function readItem(
  body: Buffer,
  element: Element,
  shared: { readonly headers: KeptHeaders; readonly version: AttributeValue | undefined },
): BatchItem {
  try {
    requireObject(element);
    const event = readEvent(body, element.members, shared.headers);
    requireVersion(event, shared.version);
    return { kind: 'event', event: withOwnData(event, body) };
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined) throw error;
    return { kind: 'invalid', code, detail: messageOf(error) };
  }
}

function requireObject({ kind, offset }: Element): void {
  if (kind === 'object') return;
  throw invalidBody(`not an object but of type ${kind}: send an event as a JSON object`, offset);
}

/** HTTP Protocol Binding 1.0.2, section 3.3.2: all events of a batch have the same. */
function requireVersion({ attributes }: FreshEvent, version: AttributeValue | undefined): void {
  const own = attributes.get('specversion');
  if (version === undefined || own === version) return;
  throw new KnearError(
    'KNEAR_EVENT_INVALID',
    `specversion is ${quote(own)}, but ${quote(version)} before in this batch: send a batch for each version`,
  );
}

/** Data that was decoded is so already. */
function withOwnData(event: Inline<FreshEvent>, body: Buffer): Inline<FreshEvent> {
  const { attributes, headers, data } = event;
  if (data?.buffer !== body.buffer) return event;
  return { attributes, headers, data: new Uint8Array(data) };
}

function tooLong(): KnearError {
  const problem = `the batch has more than ${BATCH_EVENTS_MAX} events`;
  return new KnearError('KNEAR_BATCH_TOO_LONG', `${problem}: send several batches`);
}
