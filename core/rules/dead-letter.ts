/**
 * The event as the dead letter sink gets it: the original, and why it could not be delivered.
 *
 * - K37 Where the data itself is lost, the sink gets the event without it: its attributes, and what is known of the data.
 *
 * Source: Knative Eventing, "Event Delivery", dead letter extensions.
 */
import type { ErrorCode } from '../errors.ts';
import { claimOf, withAttributes, type CloudEvent } from '../event.ts';
import { FAILURE_DATA_MAX, type Failure } from '../ports/event-log.ts';

/**
 * Adds `knativeerrordest`, `knativeerrorcode` and `knativeerrordata`; where the data itself is lost, the event goes without it
 * and with `knearerror`, `knearsize` and `knearsha256`. Marks of an earlier failure give way, so that an
 * event that fails again after its rescue tells of its last failure only. Everything else, specversion included, stays.
 */
export function deadLetterEvent(event: CloudEvent, failure: Failure): CloudEvent {
  const ref = isLostData(failure.code) ? claimOf(event) : undefined;
  const letter = withAttributes(event, {
    knativeerrordest: failure.dest,
    // Text, as on the wire of a binary event: Knative's own tests compare it with "422".
    knativeerrorcode: String(failure.status),
    knativeerrordata: failure.data === undefined ? undefined : errorData(failure.data),
    ...(ref && {
      knearerror: failure.code,
      knearsize: String(ref.sizeBytes),
      knearsha256: ref.sha256,
    }),
  });
  return ref ? { ...letter, data: undefined } : letter;
}

/** Whether an event fails because its data is not to be had any more. */
export function isLostData(code: ErrorCode): boolean {
  return LOST_DATA.has(code);
}

/** K37 */
const LOST_DATA: ReadonlySet<ErrorCode> = new Set([
  'KNEAR_PAYLOAD_MISSING',
  'KNEAR_PAYLOAD_CORRUPT',
  'KNEAR_PAYLOAD_REDACTED',
]);

/** At most 1,024 base64 characters; `undefined` for no bytes, because an attribute must not be empty. */
function errorData(data: Uint8Array): string | undefined {
  if (data.byteLength === 0) return undefined;
  // Cut before encoding: cut afterwards, the text might not decode.
  const start = data.subarray(0, FAILURE_DATA_MAX);
  return Buffer.from(start.buffer, start.byteOffset, start.byteLength).toString('base64');
}
