/** What messages say. An event that many egresses are given is read once, and is one object for all of them. */
import type { Msg } from '@nats-io/transport-node';
import { LRUCache } from 'lru-cache';

import { eventSizeBytes, inlineData } from '../../../core/event.ts';
import { decodeMessage, type StoredMessage } from './message.ts';
import type { Place } from './place.ts';

/** The egresses of a Broker are given an event within milliseconds: some thousand of 1 KB, or a dozen of the largest. */
const KEPT_MAX_BYTES = 8 * 1024 * 1024;
/** Of an entry beside the event. */
const ENTRY_BYTES = 512;

export class Contents {
  readonly #kept = new LRUCache<string, StoredMessage>({
    maxSize: KEPT_MAX_BYTES,
    sizeCalculation: ({ event }) => ENTRY_BYTES + eventSizeBytes(event),
  });

  /** What this process has put there, and will be given in a moment: it is not read again. */
  keep({ name }: Place, sequence: number, content: StoredMessage): void {
    const { event } = content;
    const data = inlineData(event);
    // The bytes may be a view of what came in together, which may be much more.
    const isView = data && data.buffer.byteLength > 2 * data.byteLength;
    const kept = isView ? { ...content, event: { ...event, data: Buffer.from(data) } } : content;
    this.#kept.set(`${name}/${sequence}`, kept);
  }

  /** @throws KNEAR_LOG_FORMAT, KNEAR_LOG_CORRUPT */
  read({ name }: Place, sequence: number, { headers, data }: Msg): StoredMessage {
    const key = `${name}/${sequence}`;
    const known = this.#kept.get(key);
    if (known) return known;
    // The bytes are a view of what came in together, which may be much more.
    const content = decodeMessage(headers, Buffer.from(data));
    // Work is for one egress alone.
    if (!content.work) this.#kept.set(key, content);
    return content;
  }
}
