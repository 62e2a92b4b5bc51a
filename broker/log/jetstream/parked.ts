/**
 * Parked entries, each a message of its own that waits to become too old: what people do with them, and their bound. Past
 * it the oldest entry of the egress is dropped, counted and reported; a new entry never drops itself.
 *
 * - N12 A replay is one message that comes instead of the entry, in one step of the server: no crash finds both or neither.
 * - N15 An entry that somebody replays or drops is his until he knows the end (`leaving`): nobody else gets it.
 */
import type { JetStreamManager, StoredMsg } from '@nats-io/jetstream';

import { eventSizeBytes } from '../../../core/event.ts';
import { LEASE_MS } from '../../../core/ports/event-log.ts';
import type { Output, ParkedEntry, Position, Work } from '../../../core/ports/event-log.ts';
import type { Observer } from '../../../core/ports/observer.ts';
import type { Clock, Timer } from '../../../core/ports/time.ts';
import type { Egress } from './egress.ts';
import { faultOf } from './faults.ts';
import { decodeMessage, encodeMessage } from './message.ts';
import { ignoreMissing, isMissing } from './missing.ts';
import { Subjects } from './names.ts';
import type { Place } from './place.ts';
import type { Publisher } from './publisher.ts';
import { repeat } from '../../../core/repeat.ts';
import { replaceScheduled, schedule } from './schedule.ts';

/** Entries are judged by age this often. */
const AGE_CHECK_MS = 3_600_000;
/** Older by this, the server drops an entry by itself: for an egress that nobody looks after any more. */
const UNCOUNTED_MS = 86_400_000;

interface ParkedOptions {
  readonly jsm: JetStreamManager;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly publisher: Publisher;
  readonly server: { wallMs(atMs: number): number };
  readonly limits: {
    readonly parkedMax: number;
    readonly parkedBytesMax: number;
    readonly parkedAgeMs: number;
  };
}

interface Known {
  readonly position: Position;
  readonly sizeBytes: number;
}

/** Of Work or of a parked entry. */
export interface KeptNames {
  /** N17 */
  readonly id: string;
  /** The end of its subject: no other message of the egress has it. */
  readonly name: string;
  readonly acceptedAtMs: number;
}

export class Parked {
  readonly #options: ParkedOptions;
  /** N15 */
  readonly #leaving = new Map<Egress, Set<Position>>();
  /** All entries of an egress, oldest first, once somebody needed them. */
  readonly #known = new Map<Egress, Promise<Known[]>>();

  #timer: Timer | undefined;
  #isStopped = false;

  constructor(options: ParkedOptions) {
    this.#options = options;
  }

  /** What a settle leaves. @throws as `Publisher.publish` */
  async park(
    { egress, place }: { readonly egress: Egress; readonly place: Place },
    { event, failure, atMs }: Extract<Output, { kind: 'parked' }>,
    { id, name, acceptedAtMs }: KeptNames,
  ): Promise<void> {
    const { limits, publisher, server } = this.#options;
    const known = await this.#all(place, egress);
    const message = encodeMessage({ event, acceptedAtMs, parked: { failure, atMs } });
    const dueAtMs = server.wallMs(atMs + limits.parkedAgeMs + UNCOUNTED_MS);
    schedule(message.headers, { atMs: dueAtMs, target: place.subjects.expired(egress.token) });
    const subject = place.subjects.parked(egress.token, event, name);
    const stored = await publisher.insist({ subject, message, id }, LEASE_MS);
    const position = stored.sequence;
    if (stored.isCopy) {
      // An earlier holder has parked it, or left something else, and died before he could say so: the server knows.
      this.#known.delete(egress);
      egress.isDoubted = true;
      return;
    }
    known.push({ position, sizeBytes: eventSizeBytes(event) });
    known.sort((one, other) => one.position - other.position);
    egress.count('parked', 1);
  }

  /** Drops what is over the bound, oldest first. */
  async keepBound(place: Place, egress: Egress): Promise<void> {
    const { limits, observer } = this.#options;
    const known = await this.#all(place, egress);
    for (;;) {
      const bytes = known.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      const isTooMany = known.length > limits.parkedMax;
      const isTooLarge = known.length > 1 && bytes > limits.parkedBytesMax;
      const [oldest] = known;
      if (!oldest || !(isTooMany || isTooLarge)) return;
      known.shift();
      try {
        if (!(await this.#remove(place, egress, oldest.position))) continue;
      } catch {
        // The settle that led here has succeeded. The next one tries again.
        known.unshift(oldest);
        return;
      }
      const reason = isTooMany ? 'parking-count' : 'parking-bytes';
      observer.observe({
        kind: 'discarded',
        egressId: egress.id,
        end: 'dropped',
        count: 1,
        reason,
      });
    }
  }

  /** Drops what is too old, now and from time to time. */
  start(homes: () => Iterable<{ readonly place: Place; readonly egress: Egress }>): void {
    this.#timer = repeat(this.#options.clock, AGE_CHECK_MS, async () => {
      for (const { place, egress } of [...homes()]) await this.#keepAge(place, egress);
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  async #keepAge(place: Place, egress: Egress): Promise<void> {
    if (egress.counts.parked === 0) return;
    const { clock, limits, observer } = this.#options;
    const untilMs = clock.nowMs() - limits.parkedAgeMs;
    let count = 0;
    for await (const { seq, header, data } of this.#messages(place, egress, 0)) {
      const { parked } = decodeMessage(header, data);
      if (this.#isStopped || (parked && parked.atMs >= untilMs)) break;
      await this.#forget(egress, seq);
      if (await this.#remove(place, egress, seq)) count += 1;
    }
    if (count === 0) return;
    const [end, reason] = ['dropped', 'parking-age'] as const;
    observer.observe({ kind: 'discarded', egressId: egress.id, end, count, reason });
  }

  /** See `EventLog.parked`. */
  async list(
    place: Place,
    egress: Egress,
    { after = 0, limit }: { after?: Position; limit: number },
  ): Promise<ParkedEntry[]> {
    const entries: ParkedEntry[] = [];
    const leaving = this.#leavingOf(egress);
    try {
      for await (const message of this.#messages(place, egress, after)) {
        if (entries.length >= limit) break;
        if (!leaving.has(message.seq)) entries.push(entryOf(message));
      }
      return entries;
    } catch (error) {
      throw faultOf(error);
    }
  }

  /** See `EventLog.replay`. */
  async replay(place: Place, egress: Egress, positions: readonly Position[]): Promise<number> {
    return this.#each(egress, positions, async (position) => {
      const message = await this.#find(place, egress, position);
      if (!message) return false;
      const { event, acceptedAtMs } = decodeMessage(message.header, message.data);
      const work: Work = { phase: 'deliver', attempt: 0, firstAtMs: this.#options.clock.nowMs() };
      const again = encodeMessage({ event, acceptedAtMs, work });
      replaceScheduled(again.headers, message.subject);
      const subject = place.subjects.work(egress.token, event);
      const id = `${place.name}/${position}/${egress.token}/replay`;
      // Counted before: it may come before the answer.
      egress.count('ready', 1);
      egress.count('parked', -1);
      try {
        await this.#options.publisher.insist({ subject, message: again, id }, LEASE_MS);
      } catch (error) {
        egress.count('ready', -1);
        egress.count('parked', 1);
        throw error;
      }
      await this.#forget(egress, position);
      return true;
    });
  }

  /** See `EventLog.dropParked`. */
  async discard(place: Place, egress: Egress, positions: readonly Position[]): Promise<number> {
    const count = await this.#each(egress, positions, async (position) => {
      const isThere = (await this.#find(place, egress, position)) !== undefined;
      if (isThere) await this.#forget(egress, position);
      return isThere && this.#remove(place, egress, position);
    });
    if (count > 0) {
      const [end, reason] = ['dropped', 'parked-dropped'] as const;
      this.#options.observer.observe({
        kind: 'discarded',
        egressId: egress.id,
        end,
        count,
        reason,
      });
    }
    return count;
  }

  /** All of an egress are gone. */
  clear(egress: Egress): void {
    this.#known.delete(egress);
  }

  /** N15. In the order in which they were parked. */
  async #each(
    egress: Egress,
    positions: readonly Position[],
    act: (position: Position) => Promise<boolean>,
  ): Promise<number> {
    const leaving = this.#leavingOf(egress);
    const own = [...new Set(positions)].filter((position) => !leaving.has(position));
    for (const position of own) leaving.add(position);
    try {
      let count = 0;
      for (const position of own.toSorted((one, other) => one - other)) {
        if (await act(position)) count += 1;
      }
      return count;
    } catch (error) {
      throw faultOf(error);
    } finally {
      for (const position of own) leaving.delete(position);
    }
  }

  async #remove(place: Place, egress: Egress, position: Position): Promise<boolean> {
    const isRemoved = await this.#options.jsm.streams
      .deleteMessage(place.name, position, false)
      .catch(ignoreMissing);
    if (isRemoved) egress.count('parked', -1);
    return isRemoved;
  }

  async #find(place: Place, egress: Egress, position: Position): Promise<StoredMsg | undefined> {
    if (!Number.isSafeInteger(position) || position < 1) return undefined;
    const message = await this.#options.jsm.streams
      .getMessage(place.name, { seq: position })
      .catch(ignoreUnknown);
    const held = message && Subjects.held(message.subject);
    return message && held?.kind === 'p' && held.egress === egress.token ? message : undefined;
  }

  async *#messages(place: Place, egress: Egress, after: Position): AsyncGenerator<StoredMsg> {
    const filter = place.subjects.parkedOf(egress.token);
    for (let next = after + 1; ;) {
      const message = await this.#options.jsm.direct
        .getMessage(place.name, { seq: next, next_by_subj: filter })
        .catch(ignoreUnknown);
      if (!message) return;
      yield message;
      next = message.seq + 1;
    }
  }

  #leavingOf(egress: Egress): Set<Position> {
    const leaving = this.#leaving.get(egress) ?? new Set();
    this.#leaving.set(egress, leaving);
    return leaving;
  }

  #all(place: Place, egress: Egress): Promise<Known[]> {
    const known = this.#known.get(egress) ?? this.#readAll(place, egress);
    this.#known.set(egress, known);
    return known;
  }

  async #readAll(place: Place, egress: Egress): Promise<Known[]> {
    try {
      return await this.#read(place, egress);
    } catch (error) {
      this.#known.delete(egress);
      throw faultOf(error);
    }
  }

  async #read(place: Place, egress: Egress): Promise<Known[]> {
    const all: Known[] = [];
    if (egress.counts.parked === 0) return all;
    for await (const message of this.#messages(place, egress, 0)) {
      all.push({ position: message.seq, sizeBytes: sizeOf(message) });
    }
    return all;
  }

  async #forget(egress: Egress, position: Position): Promise<void> {
    const known = await this.#known.get(egress);
    const at = known?.findIndex((each) => each.position === position) ?? -1;
    if (at >= 0) known?.splice(at, 1);
  }
}

/** A damaged entry takes room as well, and is dropped like any other. */
function sizeOf({ header, data }: StoredMsg): number {
  try {
    return eventSizeBytes(decodeMessage(header, data).event);
  } catch {
    return data.byteLength;
  }
}

function entryOf({ seq, header, data }: StoredMsg): ParkedEntry {
  const { event, parked } = decodeMessage(header, data);
  const { failure, atMs } = parked ?? { failure: UNKNOWN, atMs: 0 };
  return { position: seq, event, failure, atMs };
}

const UNKNOWN = { code: 'KNEAR_LOG_CORRUPT', status: 500, dest: '' } as const;

function ignoreUnknown(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}
