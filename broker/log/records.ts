/** Records as they are read: from memory while they are there, from a bounded cache, else from the disk (L7). */
import { LRUCache } from 'lru-cache';

import { KnearError } from '../../core/errors.ts';
import { eventSizeBytes } from '../../core/event.ts';
import type { Position } from '../../core/ports/event-log.ts';
import type { Accounts } from './accounts.ts';
import type { Entry, Row, RowContent } from './entry.ts';
import { positionKey, rowKey } from './keys.ts';
import { decodeEvent, decodeWork } from './record.ts';
import type { LogStore } from './store.ts';

/** What waits for a slow egress is read again from the disk past this. */
const CACHE_BYTES = 32 * 1024 * 1024;

type Record = Omit<RowContent, 'work' | 'origin'>;

export class Records {
  readonly #store: LogStore;
  readonly #accounts: Accounts;
  readonly #cache = new LRUCache<Position, Record>({
    maxSize: CACHE_BYTES,
    sizeCalculation: ({ sizeBytes }) => sizeBytes + 1,
  });

  constructor({ store, accounts }: { store: LogStore; accounts: Accounts }) {
    this.#store = store;
    this.#accounts = accounts;
  }

  /** What a row is about; kept with the row from then on. @throws KNEAR_LOG_CORRUPT, KNEAR_LOG_FORMAT */
  content(row: Row): RowContent {
    row.content ??= row.entry ? contentOf(row.entry) : this.#readContent(row);
    return row.content;
  }

  /** @throws KNEAR_LOG_CORRUPT, KNEAR_LOG_FORMAT */
  read(position: Position): Record {
    const cached = this.#cache.get(position);
    if (cached) return cached;
    const stored = this.#store.get('event', positionKey(position));
    if (!stored) throw corrupt(`the record at ${position} is missing`);
    const { ingress, acceptedAtMs, event } = decodeEvent(stored);
    const account = this.#accounts.findIngressByNumber(ingress);
    if (!account) throw corrupt(`the record at ${position} names ingress ${ingress}`);
    return { event, account, acceptedAtMs, sizeBytes: eventSizeBytes(event) };
  }

  /** How many rows need the record. */
  references(position: Position): number {
    return this.#store.get('refs', positionKey(position))?.readUInt32BE(0) ?? 1;
  }

  /** Its record is durable but still waited for: it need not be read back as long as the cache has room. */
  remember(entry: Entry): void {
    this.#cache.set(entry.position, contentOf(entry));
  }

  #readContent(row: Row): RowContent {
    const record = this.read(row.position);
    if (!row.isWork) return { ...record, work: undefined, origin: undefined };
    const stored = this.#store.get('work', rowKey(row.queue.number, row.position));
    if (!stored) throw corrupt(`Work of ${row.queue.id} at ${row.position} has no row`);
    const { work, origin: position } = decodeWork(stored);
    const origin =
      position === undefined ? undefined : { position, event: this.read(position).event };
    return { ...record, work, origin };
  }
}

function contentOf(entry: Entry): RowContent {
  const { event, account, acceptedAtMs, sizeBytes } = entry;
  return { event, account, acceptedAtMs, sizeBytes, work: undefined, origin: undefined };
}

function corrupt(detail: string): KnearError {
  return new KnearError('KNEAR_LOG_CORRUPT', `${detail}: restore the data folder from a backup`);
}
