/**
 * Events as they are accepted, shown live to whoever asks: the part of `knear tail` that runs in the server.
 *
 * A tail is a stream of JSON lines: first what is followed, then one line an event, a line with the number of events that
 * were left out where the reader was too slow, and an empty line now and then. It shows what comes in by the door; replies
 * that knear keeps without a request are not seen here.
 *
 *   R1  Nobody follows: an event costs one look at a list. A tail costs events of other Brokers one comparison.
 *   R2  A tail holds a bounded number of bytes. What comes beyond is counted and told, never waited for: a reader that
 *       sleeps holds up no producer.
 *   R3  A tail ends with its connection and leaves nothing behind; there is room for a bounded number of them.
 */
import { isUtf8 } from 'node:buffer';
import { Readable } from 'node:stream';
import { KnearError } from '../../core/errors.ts';
import {
  claimOf,
  dataSizeBytes,
  inlineData,
  payloadId,
  type CloudEvent,
} from '../../core/event.ts';
import type { Happening, Observer } from '../../core/ports/observer.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import { compileFilter } from '../../core/rules/filter.ts';
import type { Ingress, Topology } from '../../core/topology.ts';
import type { AdminRoute } from '../admin.ts';
import { openFilterReader } from './tail-filter.ts';

/** The first line. */
export interface TailOpened {
  readonly kind: 'opened';
  readonly ingressKind: Ingress['kind'];
  readonly namespace: string;
  readonly name: string;
}

export interface TailEvent {
  readonly kind: 'event';
  /** ISO 8601, UTC. */
  readonly acceptedAt: string;
  /** At least one Trigger or Subscription wants it. */
  readonly isMatched: boolean;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly dataBytes: number;
  /** Names the data in the payload store; absent: the log has it, or there is none. */
  readonly payload?: string;
  /** Its beginning, if it is text. */
  readonly data?: string;
  /** `data` is not all. */
  readonly isCut?: true;
}

export interface TailGap {
  readonly kind: 'gap';
  /** Events that are not shown. */
  readonly count: number;
}

export type TailLine = TailOpened | TailEvent | TailGap;

export interface Tails {
  readonly observer: Observer;
  readonly route: AdminRoute;
}

export interface TailsOptions {
  topology(): Topology;
  readonly clock: Clock;
  readonly limits?: TailLimits;
}

export interface TailLimits {
  readonly tailsMax: number;
  readonly bufferMaxBytes: number;
}

/**
 * 8: more people do not look at one knear at a time. 1 MiB each: a thousand events of the usual size while a terminal
 * scrolls, and 8 MiB in all at the worst.
 */
const LIMITS: TailLimits = { tailsMax: 8, bufferMaxBytes: 1024 * 1024 };
/** Enough to recognise an event; whoever needs all of its data makes a Trigger. */
const DATA_SHOWN_BYTES = 1_024;
/** Below the five minutes after which clients take silence for the end; shows the server a reader that has gone. */
const HEARTBEAT_MS = 20_000;

/** `GET /tail/:kind/:namespace/:name?type=...&filter=...`, and the observer that feeds what it answers. */
export function openTails(options: TailsOptions): Tails {
  const { topology, clock, limits = LIMITS } = options;
  const tails = new Set<Tail>();
  const readFilter = openFilterReader();
  return {
    observer: {
      observe(happening) {
        // R1
        if (tails.size === 0 || happening.kind !== 'accepted') return;
        for (const tail of tails) tail.offer(happening);
      },
    },
    route: {
      method: 'GET',
      path: '/tail/:kind/:namespace/:name',
      async answer({ params, query }, reply) {
        const ingress = ingressOf(topology(), params);
        const filter = await readFilter(query);
        // R3. After the wait: others may have come meanwhile.
        if (tails.size >= limits.tailsMax) {
          const detail = `${limits.tailsMax} tails run already, which is all there may be: end one of them`;
          throw new KnearError('KNEAR_OVERLOADED', detail);
        }
        const isWanted = compileFilter(filter, topology());
        const { bufferMaxBytes } = limits;
        const tail = new Tail({ ingress, isWanted, clock, bufferMaxBytes });
        tails.add(tail);
        const { stream } = tail;
        stream.once('close', () => tails.delete(tail));
        // Whoever has left before the first line is not told by the stream.
        if (reply.raw.destroyed) stream.destroy();
        else reply.raw.once('close', () => stream.destroy());
        void reply.type('application/x-ndjson');
        return stream;
      },
    },
  };
}

function ingressOf(topology: Topology, params: Readonly<Record<string, string>>): Ingress {
  const { kind = '', namespace = '', name = '' } = params;
  const found = [...topology.ingresses.values()].find(
    (each) => each.kind === kind && each.namespace === namespace && each.name === name,
  );
  if (found !== undefined) return found;
  const detail = `there is no ${kind} ${namespace}/${name} that takes events: see knear get`;
  throw new KnearError('KNEAR_RESOURCE_UNKNOWN', detail);
}

type Accepted = Extract<Happening, { kind: 'accepted' }>;

interface TailOptions {
  readonly ingress: Ingress;
  isWanted(event: CloudEvent): boolean;
  readonly clock: Clock;
  readonly bufferMaxBytes: number;
}

class Tail {
  readonly stream: Readable;
  readonly #options: TailOptions;
  #leftOutCount = 0;
  #heartbeat: Timer | undefined;

  constructor(options: TailOptions) {
    this.#options = options;
    this.stream = new Readable({
      read: () => {
        // There is room again.
        this.#tellGap();
      },
      destroy: (error, done) => {
        this.#heartbeat?.cancel();
        done(error);
      },
    });
    const { kind: ingressKind, namespace, name } = options.ingress;
    this.#push({ kind: 'opened', ingressKind, namespace, name });
    this.#beat();
  }

  /** On the event's path. */
  offer({ ingress, event, isMatched }: Accepted): void {
    if (ingress.id !== this.#options.ingress.id || !this.#options.isWanted(event)) return;
    if (this.stream.readableLength >= this.#options.bufferMaxBytes) {
      this.#leftOutCount += 1; // R2
      return;
    }
    this.#tellGap();
    this.#push(lineOf(event, { isMatched, nowMs: this.#options.clock.nowMs() }));
  }

  #tellGap(): void {
    const count = this.#leftOutCount;
    if (count === 0) return;
    this.#leftOutCount = 0;
    this.#push({ kind: 'gap', count });
  }

  #push(line: TailLine): void {
    this.stream.push(`${JSON.stringify(line)}\n`);
  }

  #beat(): void {
    this.#heartbeat = this.#options.clock.after(HEARTBEAT_MS, () => {
      if (this.stream.readableLength === 0) this.stream.push('\n');
      this.#beat();
    });
  }
}

function lineOf(
  event: CloudEvent,
  { isMatched, nowMs }: { isMatched: boolean; nowMs: number },
): TailEvent {
  const data = inlineData(event);
  const claim = claimOf(event);
  return {
    kind: 'event',
    acceptedAt: new Date(nowMs).toISOString(),
    isMatched,
    attributes: Object.fromEntries(event.attributes),
    dataBytes: dataSizeBytes(event),
    ...(claim && { payload: payloadId(claim) }),
    ...(data && shownOf(data)),
  };
}

function shownOf(data: Uint8Array): Pick<TailEvent, 'data' | 'isCut'> {
  const isCut = data.byteLength > DATA_SHOWN_BYTES;
  const shown = isCut ? data.subarray(0, endOfText(data)) : data;
  if (!isUtf8(shown) || shown.includes(0)) return {};
  return { data: Buffer.from(shown).toString('utf8'), ...(isCut && { isCut }) };
}

/** Where to cut so that no character is cut in two: after at most three bytes that continue one (RFC 3629, section 3). */
function endOfText(data: Uint8Array): number {
  let end = DATA_SHOWN_BYTES;
  while (end > DATA_SHOWN_BYTES - 3 && ((data[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return end;
}
