/**
 * The event log in NATS JetStream: one stream for each Broker, one durable for each egress. The server sorts events to
 * egresses (by ingress and exact type), counts leases and keeps timers; this process pulls, settles and keeps numbers.
 *
 * It owns the promises towards producers and holders, as `GroupedLog` does for the embedded store. What an egress has been
 * given is `Egress`', what is set up on the server `Places`', what is parked `Parked`'s.
 * What a settle leaves behind is made durable by `Outputs` (N10).
 */
import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';

import { KnearError } from '../../../core/errors.ts';
import type { CloudEvent } from '../../../core/event.ts';
import { LEASE_MS } from '../../../core/ports/event-log.ts';
import type {
  Delivery,
  EventLog,
  Interest,
  Lag,
  LogState,
  LogSupports,
  Match,
  Output,
  ParkedEntry,
  Position,
  PullOptions,
} from '../../../core/ports/event-log.ts';
import type { Observer } from '../../../core/ports/observer.ts';
import type { Clock, Timer } from '../../../core/ports/time.ts';
import { LogDelivery } from '../log-delivery.ts';
import { Contents } from './contents.ts';
import type { Row } from './egress.ts';
import { Egresses, type Home } from './egresses.ts';
import { faultOf } from './faults.ts';
import { encodeMessage, recordMaxBytesOf } from './message.ts';
import { Outputs, refusalOf, sizeOf } from './outputs.ts';
import { Parked } from './parked.ts';
import type { Place, Sharing } from './place.ts';
import { Places } from './places.ts';
import { Publisher } from './publisher.ts';
import { repeat, waitAWhile } from '../../../core/repeat.ts';
import { Turn } from './turn.ts';

export interface JetStreamLogLimits {
  /** Of one stream; above 90 % of it the door refuses, the rest is for what settles leave behind. */
  readonly streamMaxBytes: number;
  readonly parkedMax: number;
  readonly parkedBytesMax: number;
  readonly parkedAgeMs: number;
}

export interface JetStreamLogOptions {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly match: Match;
  /** Whether an egress wants an event that the server gave it. */
  readonly wants: (egressId: string, ingressId: string, event: CloudEvent) => boolean;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly durability: 'process' | 'machine';
  readonly limits: JetStreamLogLimits;
  /** First token of subjects. */
  readonly prefix: string;
  /** What is in the way of appends, as far as the connection knows. */
  readonly trouble?: () => KnearError | undefined;
  /** How the server's time differs from that of `clock`, for tests that cannot wait. */
  readonly server?: ServerTime;
  /** Absent: `alone`. */
  readonly sharing?: Sharing;
  /** N21: of an owner that others may follow. Absent: always. */
  readonly mayChange?: () => boolean;
  /** Work of one egress that may be due later before it is given nothing more; absent: 10,000. */
  readonly timersMax?: number;
}

export interface ServerTime {
  /** Milliseconds of the log's clock in one of the server's. */
  readonly pace: number;
  /** Its wall time, when that of the log's clock is `atMs`. */
  wallMs(atMs: number): number;
}

const SAME_TIME: ServerTime = { pace: 1, wallMs: (atMs) => atMs };

/** How often the server is asked how large the streams are. */
const MEASURE_MS = 1_000;
/** Of what a stream may hold, for events from outside. */
const REFUSED_SHARE = 0.9;
/** A pull for what is not there takes this long, which is no busy wait. */
const UNKNOWN_MS = 1_000;

export class JetStreamLog implements EventLog {
  readonly supports: LogSupports;
  readonly #options: JetStreamLogOptions;
  readonly #clock: Clock;
  readonly #places: Places;
  readonly #egresses: Egresses;
  readonly #publisher: Publisher;
  readonly #parked: Parked;
  readonly #outputs: Outputs;
  readonly #contents = new Contents();
  readonly #measuring: Timer;
  #isClosed = false;
  #closing: Promise<void> | undefined;

  /** Finds what earlier processes have left. @throws KNEAR_LOG_FORMAT, KNEAR_LOG_CORRUPT and the codes of `faultOf` */
  static async open(options: JetStreamLogOptions): Promise<JetStreamLog> {
    const { observer, server = SAME_TIME } = options;
    let log: JetStreamLog | undefined;
    const places = await Places.open({
      ...options,
      leaseMs: LEASE_MS / server.pace,
      isGuest: options.sharing === 'guest',
      onGap: (gap) => {
        if (log) log.#egresses.doubt(gap.egressId);
        observer.observe({ kind: 'log-gap', ...gap });
      },
    });
    log = new JetStreamLog(options, places);
    return log;
  }

  private constructor(options: JetStreamLogOptions, places: Places) {
    const { nc, js, jsm, clock, observer, limits, durability, server = SAME_TIME } = options;
    const { wants, timersMax, sharing = 'alone' } = options;
    const turn = new Turn(clock);
    this.#options = options;
    this.#clock = clock;
    this.#places = places;
    this.#egresses = new Egresses({
      nc,
      places,
      clock,
      turn,
      contents: this.#contents,
      observer,
      wants,
      pace: server.pace,
      ...(timersMax !== undefined && { timersMax }),
      sharing,
    });
    this.supports = {
      durability,
      ordered: true,
      delayed: true,
      history: false,
      keepsLeases: true,
      recordMaxBytes: recordMaxBytesOf(nc.info?.max_payload ?? 0),
    };
    this.#publisher = new Publisher({
      nc,
      js,
      clock,
      turn,
      pace: server.pace,
      isGrouping: durability === 'machine',
    });
    this.#parked = new Parked({
      jsm,
      clock,
      observer,
      limits,
      publisher: this.#publisher,
      server,
    });
    this.#outputs = new Outputs({
      clock,
      publisher: this.#publisher,
      parked: this.#parked,
      server,
      find: (egressId) => this.#egresses.find(egressId),
      homesOf: (ingressId, event) => this.#match(ingressId, event),
      placeFor: (ingressId) => this.#placeFor(ingressId),
    });
    this.#measuring = repeat(clock, MEASURE_MS, () => this.#places.measure());
    this.#parked.start(() => this.#egresses.all());
  }

  /** Of all that this log is, for as long as its streams exist. */
  get id(): string {
    return this.#places.logId;
  }

  async prepare(interests: readonly Interest[]): Promise<void> {
    this.#refuseClosed();
    try {
      await this.#egresses.prepare(interests);
    } catch (error) {
      throw faultOf(error);
    }
  }

  async append(ingressId: string, events: readonly CloudEvent[]): Promise<Position[]> {
    this.#refuseClosed();
    const matched = events.map((event) => this.#match(ingressId, event));
    const homes = new Set(matched.flat());
    await this.#makeReadyFor(homes);
    this.#refuseClosed();
    if (homes.size === 0) return events.map(() => 0);
    const place = this.#placeFor(ingressId);
    const trouble = this.#options.trouble?.();
    if (trouble) throw trouble;
    this.#refuseFull(place, REFUSED_SHARE);
    const acceptedAtMs = this.#clock.nowMs();
    const kept = events.flatMap((event, index) => {
      const wantedBy = matched[index] ?? [];
      if (wantedBy.length === 0) return [];
      const content = { event, acceptedAtMs };
      const message = encodeMessage(content);
      return [
        { index, wantedBy, content, message, subject: place.subjects.event(ingressId, event) },
      ];
    });
    const count = (by: number) => {
      for (const { wantedBy } of kept) for (const { egress } of wantedBy) egress.count('ready', by);
    };
    count(1);
    for (const { egress } of homes) egress.beginPublishing();
    try {
      const sequences = await this.#publisher.publishAll(place.name, kept);
      const positions = events.map(() => 0);
      for (const [at, { index, content, message }] of kept.entries()) {
        const position = sequences[at] ?? 0;
        this.#contents.keep(place, position, content);
        positions[index] = position;
        place.bytes += sizeOf(message);
        place.lastSequence = Math.max(place.lastSequence, position);
      }
      return positions;
    } catch (error) {
      count(-1);
      throw error;
    } finally {
      for (const { egress } of homes) egress.endPublishing();
    }
  }

  async #makeReadyFor(homes: Iterable<Home>): Promise<void> {
    try {
      for (const home of homes) {
        if (home.egress.dropping) await home.egress.dropping;
        if (home.egress.pullers.length === 0) await this.#egresses.setUp(home);
      }
    } catch (error) {
      throw faultOf(error);
    }
  }

  async pull(egressId: string, count: number, options: PullOptions): Promise<Delivery[]> {
    this.#refuseClosed();
    const home = this.#egresses.find(egressId);
    if (!home) {
      // Not prepared, or gone: whoever pulls for it looks again.
      await waitAWhile(this.#clock, UNKNOWN_MS, options.signal);
      return [];
    }
    const rows = await home.egress.pull(count, options);
    return rows.map((row) => {
      row.offers += 1;
      return new LogDelivery<Row>(this, row, {
        ...row.content,
        egressId,
        position: row.sequence,
        sizeBytes: row.sizeBytes,
        lease: row.given,
        work: row.content.work,
        origin: row.content.origin,
      });
    });
  }

  lag(egressId: string): Lag {
    return this.#egresses.find(egressId)?.egress.lag ?? { ready: 0, delayed: 0, parked: 0 };
  }

  egressIds(): string[] {
    // What nobody asks for any more has durables even if it has nothing else: they are to go with it.
    const isHeld = ({ egress: { lag }, interest }: Home) =>
      interest === undefined || lag.ready + lag.delayed + lag.parked > 0;
    return [...this.#egresses.all()].filter(isHeld).map(({ egress }) => egress.id);
  }

  get state(): LogState {
    const trouble = this.#isClosed ? closedError() : this.#options.trouble?.();
    return trouble ? refusing(trouble) : { kind: 'accepting' };
  }

  get usage(): { readonly bytes: number; readonly bytesMax: number } {
    const places = [...this.#places.all()];
    const bytes = places.reduce((sum, place) => sum + place.bytes, 0);
    return { bytes, bytesMax: places.length * this.#options.limits.streamMaxBytes };
  }

  async parked(
    egressId: string,
    options: { after?: Position; limit: number },
  ): Promise<ParkedEntry[]> {
    this.#refuseClosed();
    const home = this.#egresses.find(egressId);
    return home ? this.#parked.list(home.place, home.egress, options) : [];
  }

  async replay(egressId: string, positions: readonly Position[]): Promise<number> {
    this.#refuseClosed();
    const home = this.#egresses.find(egressId);
    return home ? this.#parked.replay(home.place, home.egress, positions) : 0;
  }

  async dropParked(egressId: string, positions: readonly Position[]): Promise<number> {
    this.#refuseClosed();
    const home = this.#egresses.find(egressId);
    return home ? this.#parked.discard(home.place, home.egress, positions) : 0;
  }

  async drop(egressId: string): Promise<number> {
    this.#refuseClosed();
    const home = this.#egresses.find(egressId);
    if (!home) return 0;
    const { egress } = home;
    if (egress.dropping) {
      await egress.dropping;
      return 0;
    }
    const { ready, delayed, parked } = egress.lag;
    const count = ready + delayed + parked;
    egress.clear();
    this.#parked.clear(egress);
    egress.dropping = this.#egresses.remove(home).finally(() => {
      egress.dropping = undefined;
    });
    try {
      await egress.dropping;
    } catch (error) {
      throw faultOf(error);
    }
    if (count > 0) {
      const [end, reason] = ['gone', 'egress-deleted'] as const;
      this.#options.observer.observe({ kind: 'discarded', egressId, end, count, reason });
    }
    return count;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    this.#measuring.cancel();
    this.#parked.stop();
    this.#publisher.stop();
    await this.#egresses.close();
    this.#publisher.close();
  }

  // --- what a holder does with its delivery ---------------------------------------------------------------------------

  isOpen({ state }: Row): boolean {
    return state !== 'settled' && state !== 'settling';
  }

  settle(row: Row, outputs: readonly Output[]): Promise<void> | undefined {
    if (this.#isClosed) return Promise.reject(closedError());
    if (!this.isOpen(row)) return undefined;
    if (outputs.length === 0) {
      this.#finish(row);
      return undefined;
    }
    row.egress.beginPublishing();
    return this.#settleWith(row, outputs).finally(() => row.egress.endPublishing());
  }

  async #settleWith(row: Row, outputs: readonly Output[]): Promise<void> {
    const before = row.state;
    // Where nobody is there to want an event, there may be no stream either.
    for (const { ingressId, event } of outputs.filter((each) => each.kind === 'event'))
      for (const { place } of this.#match(ingressId, event)) this.#refuseFull(place, 1);
    row.egress.take(row);
    row.state = 'settling';
    try {
      await Promise.all(outputs.map((output, index) => this.#outputs.leave(row, output, index)));
    } catch (error) {
      if (this.#stateOf(row) === 'settling') {
        if (before === 'ready') row.egress.makeReady(row);
        else row.state = before;
      }
      throw refusalOf(error);
    }
    if (this.#stateOf(row) === 'settling') this.#finish(row);
    for (const output of outputs) {
      const home =
        output.kind === 'parked' && this.#egresses.find(output.egressId ?? row.egress.id);
      if (home) await this.#parked.keepBound(home.place, home.egress);
    }
  }

  /** Read anew: a drop may have come in between. */
  #stateOf({ state }: Row): Row['state'] {
    return state;
  }

  /** Acknowledged: it will not come again. */
  #finish(row: Row): void {
    row.egress.settle(row);
    this.#egresses.answer(row);
  }

  release(row: Row, offer: number): void {
    if (row.state !== 'open' || row.offers !== offer) return;
    row.egress.makeReady(row);
  }

  extend(row: Row, offer: number): void {
    if (row.state !== 'open' || row.offers !== offer) return;
    this.#egresses.leases.extend(row);
  }

  #match(ingressId: string, event: CloudEvent): Home[] {
    const { egressIds } = this.#options.match(ingressId, event);
    return egressIds.flatMap((id) => this.#egresses.find(id) ?? []);
  }

  #placeFor(ingressId: string): Place {
    const place = this.#places.placeOf(ingressId);
    if (place) return place;
    const detail = `there is no stream for ${ingressId}: it was never prepared`;
    throw new KnearError('KNEAR_LOG_FAILED', detail);
  }

  #refuseClosed(): void {
    if (this.#isClosed) throw closedError();
  }

  #refuseFull({ name, bytes }: Place, share: number): void {
    const { streamMaxBytes } = this.#options.limits;
    if (bytes < share * streamMaxBytes) return;
    const detail = `the stream ${name} holds ${bytes} of its ${streamMaxBytes} bytes: see which of its Triggers lag`;
    throw new KnearError('KNEAR_QUOTA', detail);
  }
}

function closedError(): KnearError {
  return new KnearError('KNEAR_CLOSED', 'the log is closed');
}

function refusing({ code, message: detail }: KnearError): LogState {
  return { kind: 'refusing', code, detail };
}
