/**
 * All egresses of the log: what is set up for each on the server, what the server gives them, and their leases.
 *
 * It owns the pullers and the subscription that all of them are answered on. What a holder does with a row is
 * `JetStreamLog`'s; what an egress has is `Egress`'.
 *
 * - N13 A lease is judged by this process' own clock, from the moment at which a message came: later than the server does, so
 *   that what the server gives again is always offered.
 * - N20 Where others take of the same queue, what may have been given so long ago that its lease is nearly over is not offered: it
 *   comes again, to whoever is there. Nothing is asked for while the server does not answer.
 */
import {
  createInbox,
  type Msg,
  type NatsConnection,
  type Subscription,
} from '@nats-io/transport-node';

import { eventSizeBytes, type CloudEvent } from '../../../core/event.ts';
import type { Interest } from '../../../core/ports/event-log.ts';
import type { Observer } from '../../../core/ports/observer.ts';
import type { Clock, Timer } from '../../../core/ports/time.ts';
import { readAck, type Ack } from './ack.ts';
import { isHeldBack, isOldest, untilOf, type Durable } from './durables.ts';
import type { Contents } from './contents.ts';
import { Echo } from './echo.ts';
import { isStale, Leases } from './leases.ts';
import { Egress, type Row } from './egress.ts';
import type { StoredMessage } from './message.ts';
import { Subjects, tokenOf } from './names.ts';
import type { Place, Sharing } from './place.ts';
import type { Places } from './places.ts';
import { Puller } from './puller.ts';
import { Census } from './census.ts';
import { repeat } from '../../../core/repeat.ts';
import { firedFor } from './schedule.ts';
import type { Turn } from './turn.ts';

/** How often leases are looked at. */
const LOOK_MS = 1_000;
/** Enough to keep the server busy, which makes a durable in about a millisecond. */
const PREPARED_AT_A_TIME = 16;

/** An egress and where its messages are. */
export interface Home {
  readonly egress: Egress;
  readonly place: Place;
  /** Absent: nobody asks for it any more; it is there until it is dropped. */
  interest: Interest | undefined;
}

export interface EgressesOptions {
  readonly nc: NatsConnection;
  readonly places: Places;
  readonly clock: Clock;
  readonly turn: Turn;
  readonly contents: Contents;
  readonly observer: Observer;
  /** Whether an egress wants an event that the server gave it. */
  readonly wants: (egressId: string, ingressId: string, event: CloudEvent) => boolean;
  /** Milliseconds of `clock` in one of the server's. */
  readonly pace: number;
  readonly timersMax?: number;
  readonly sharing: Sharing;
}

interface Source {
  readonly puller: Puller;
  readonly egress: Egress;
  readonly place: Place;
}

export class Egresses {
  readonly #options: EgressesOptions;
  readonly #inbox = createInbox();
  /** Absent: each puller listens for itself (N19). */
  readonly #subscription: Subscription | undefined;
  readonly #echo: Echo;
  readonly leases: Leases;
  readonly #homes = new Map<string, Home>();
  /** By durable. */
  readonly #sources = new Map<string, Source>();
  /** One setting up at a time for each: who comes second finds it done. */
  readonly #settingUp = new WeakMap<Home, Promise<void>>();
  readonly #timers: readonly Timer[];
  #isClosed = false;

  constructor(options: EgressesOptions) {
    this.#options = options;
    const isAlone = options.sharing === 'alone';
    this.#echo = new Echo({ ...options, isNeeded: !isAlone });
    this.#subscription = isAlone ? this.#listen(`${this.#inbox}.>`) : undefined;
    this.#adopt();
    const { clock, observer } = options;
    this.leases = new Leases({ clock, observer, answer: (row, text) => this.answer(row, text) });
    this.#timers = [
      repeat(clock, LOOK_MS, () => this.#look()),
      repeat(clock, LOOK_MS, () => this.#retire([...this.#sources.values()])),
      new Census({
        ...options,
        recoverIfGone: (home, puller) => this.#recoverIfGone(home.egress.id, puller),
        setUp: (home) => this.setUp(home),
      }).start(this.#homes),
    ];
    // N3: requests end with the connection.
    void this.#echo.follow(() => {
      for (const { puller } of this.#sources.values()) puller.forgetLost({ isAll: true });
    });
  }

  find(egressId: string): Home | undefined {
    return this.#homes.get(egressId);
  }

  all(): Iterable<Home> {
    return this.#homes.values();
  }

  /** What an earlier process has left, for resources that may be gone by now. */
  #adopt(): void {
    const { places } = this.#options;
    for (const place of places.all()) {
      for (const [token, [durable]] of place.durables) {
        if (!durable) continue;
        const { egress } = this.#add(durable.egressId, place);
        Object.assign(egress.counts, places.countsOf(place, token));
        egress.countedTo = place.found.lastSequence;
      }
    }
  }

  #add(egressId: string, place: Place): Home {
    const egress = new Egress(egressId, tokenOf(egressId), {
      ...this.#options,
      isShared: this.#options.sharing !== 'alone',
      giveBack: (row) => this.answer(row, '-NAK'),
    });
    const home: Home = { egress, place, interest: undefined };
    this.#homes.set(egressId, home);
    return home;
  }

  /** What it has may have been removed. */
  doubt(egressId: string): void {
    const home = this.#homes.get(egressId);
    if (home) home.egress.isDoubted = true;
  }

  /** See `EventLog.prepare`. @throws what the server says */
  async prepare(interests: readonly Interest[]): Promise<void> {
    const { places } = this.#options;
    // The streams first, so that egresses of one find it made.
    for (const { sources } of interests) {
      for (const { ingressId, pool } of sources) await places.ensure(ingressId, pool);
    }
    const named = new Set(interests.map(({ egressId }) => egressId));
    for (const home of this.#homes.values()) {
      if (!named.has(home.egress.id)) this.#leave(home);
    }
    if (this.#options.sharing === 'guest') await this.#lookFor(interests);
    const todo = [...interests];
    const work = async () => {
      for (let next = todo.shift(); next; next = todo.shift()) await this.#prepare(next);
    };
    await Promise.all(Array.from({ length: PREPARED_AT_A_TIME }, work));
  }

  /** Nobody asks for it any more. */
  #leave(home: Home): void {
    home.interest = undefined;
    if (this.#options.sharing !== 'guest' || home.egress.rows.size > 0) return;
    const { egress } = home;
    for (const puller of egress.pullers) this.#closePuller(egress, puller);
    egress.close();
    this.#homes.delete(egress.id);
  }

  /** What the owner has made of interests that are new or have changed. */
  async #lookFor(interests: readonly Interest[]): Promise<void> {
    const { places } = this.#options;
    const changed = interests.filter((interest) => {
      const before = this.#homes.get(interest.egressId)?.interest;
      return JSON.stringify(before) !== JSON.stringify(interest);
    });
    const ingressIds = changed.flatMap(({ sources }) => sources.map(({ ingressId }) => ingressId));
    const all = new Set(ingressIds.flatMap((id) => places.placeOf(id) ?? []));
    await Promise.all([...all].map((place) => places.look(place)));
  }

  async #prepare(interest: Interest): Promise<void> {
    const [source] = interest.sources;
    const place = source && this.#options.places.placeOf(source.ingressId);
    if (!place) return;
    const { egressId } = interest;
    const home = this.#homes.get(egressId) ?? this.#add(egressId, place);
    home.interest = interest;
    await home.egress.dropping;
    await this.setUp(home);
  }

  /** Makes sure that all is there that it is given messages from. @throws what the server says */
  async setUp(home: Home): Promise<void> {
    const before = this.#settingUp.get(home) ?? Promise.resolve();
    const settingUp = before.catch(() => undefined).then(() => this.#setUp(home));
    this.#settingUp.set(home, settingUp);
    await settingUp;
  }

  async #setUp({ egress, place, interest }: Home): Promise<void> {
    if (!interest) return;
    const durables = await this.#options.places.ensureEgress(place, interest);
    const known = new Set(egress.pullers.map(({ durable }) => durable.name));
    const fresh = durables.filter(({ name }) => !known.has(name));
    if (fresh.length === 0) return;
    const pullers = fresh.map((durable) => this.#openPuller(egress, place, durable));
    egress.pullers = [...egress.pullers, ...pullers];
    egress.ask();
    // N9: what has nothing left to give must not keep lines waiting.
    await this.#retire([...this.#sources.values()].filter((source) => source.egress === egress));
  }

  #openPuller(egress: Egress, place: Place, durable: Durable): Puller {
    const { nc, clock, turn, pace } = this.#options;
    const listen = (subject: string) => this.#listen(subject);
    const puller = new Puller({
      nc,
      clock,
      turn,
      stream: place.name,
      durable,
      inbox: this.#inbox,
      ...(!this.#subscription && { listen }),
      pace,
      wanted: () =>
        isHeldBack(durable, place.durables.get(egress.token) ?? []) || isStale(this.#echo.ageMs)
          ? 0
          : Math.min(egress.wanted, durable.ackPendingMax),
      terms: () => egress.terms,
      onEmpty: () => egress.heard(durable.name, 0),
      onGone: () => void this.#recover(egress.id, puller),
      onUnanswered: () => void this.#recoverIfGone(egress.id, puller),
    });
    this.#sources.set(durable.name, { puller, egress, place });
    return puller;
  }

  /** Somebody has deleted the durable. The egress goes on with a new one, from here on. */
  async #recover(egressId: string, puller: Puller): Promise<void> {
    const home = this.#homes.get(egressId);
    if (!home || home.egress.dropping || !home.egress.pullers.includes(puller)) return;
    const { egress, place } = home;
    this.#closePuller(egress, puller);
    try {
      await this.#options.places.lost(place, puller.durable);
      await this.setUp(home);
    } catch {
      // The server does not let it be made now: the next append tries again, or says why not.
    }
  }

  async #recoverIfGone(egressId: string, puller: Puller): Promise<void> {
    const home = this.#homes.get(egressId);
    if (!home) return;
    // Whether it is there is not known while the server does not say: the puller asks again.
    const isThere = await this.#options.places
      .isThere(home.place, puller.durable)
      .catch(() => true);
    if (!isThere) await this.#recover(egressId, puller);
  }

  #closePuller(egress: Egress, puller: Puller): void {
    puller.close();
    // N6: it has nothing more to say.
    egress.heard(puller.durable.name, 0);
    this.#sources.delete(puller.durable.name);
    egress.pullers = egress.pullers.filter((other) => other !== puller);
  }

  /** Ends all that there is for an egress; what comes for it afterwards starts anew. */
  async remove({ egress, place, interest }: Home): Promise<void> {
    await egress.allPublished();
    await this.#options.places.remove(place, egress.token);
    egress.clear();
    for (const puller of egress.pullers) this.#closePuller(egress, puller);
    if (!interest) this.#homes.delete(egress.id);
  }

  /** Whoever comes next has what is open at once, and not when its lease is over. */
  async close(): Promise<void> {
    const { nc, turn } = this.#options;
    turn.end();
    this.#isClosed = true;
    for (const timer of this.#timers) timer.cancel();
    const egresses = [...this.#homes.values()].map(({ egress }) => egress);
    await Promise.all(egresses.map((egress) => egress.allPublished()));
    for (const egress of egresses) {
      for (const row of egress.rows.values()) {
        if (row.state === 'ready' || row.state === 'open') this.answer(row, '-NAK');
      }
      egress.close();
    }
    turn.end();
    if (nc.isClosed()) return;
    this.#subscription?.unsubscribe();
    await nc.flush().catch(() => undefined);
  }

  #look(): void {
    // First, so that what is asked for then comes after the answer.
    this.#echo.call();
    for (const { egress } of this.#homes.values()) {
      for (const row of egress.rows.values()) this.leases.look(row);
      egress.giveBack();
      for (const puller of egress.pullers) puller.forgetLost({ isAll: false });
    }
  }

  // --- what the server says -------------------------------------------------------------------------------------------

  #listen(subject: string): Subscription {
    const { nc, turn } = this.#options;
    return nc.subscribe(subject, {
      callback: (error, message) => {
        if (error) return;
        const { ageMs } = this.#echo;
        turn.atEnd(() => this.#receive(message, ageMs));
      },
    });
  }

  #receive(message: Msg, ageMs: number): void {
    if (this.#isClosed) return;
    const ack = readAck(message.reply);
    if (!ack) {
      const [, durable = ''] = message.subject.slice(this.#inbox.length).split('.');
      this.#sources.get(durable)?.puller.onStatus(message);
      return;
    }
    const source = this.#sources.get(ack.durable);
    if (!source) return;
    source.puller.onMessage();
    const { egress, puller, place } = source;
    egress.heard(ack.durable, ack.pending);
    if (isStale(ageMs) && !egress.isSettled(ack.sequence)) return puller.ask();
    const known = egress.rows.get(ack.sequence);
    if (known?.acks.has(ack.durable)) {
      this.#comeAgain(known, message, ack);
      return;
    }
    // N9: of the next generation.
    const until = untilOf(puller.durable, place.durables.get(egress.token) ?? []) ?? Infinity;
    if (egress.isSettled(ack.sequence) || ack.sequence >= until) {
      this.#pass(source, message);
    } else if (known) {
      // Given by the generation before, when it did not know yet where it ends.
      known.acks.set(ack.durable, message.reply ?? '');
      puller.ask();
    } else {
      this.#take(source, message, ack);
      this.leases.keep(egress.rows.get(ack.sequence), ageMs);
    }
  }

  /** It is not for this egress, or not any more. */
  #pass({ puller }: Source, { reply = '' }: Msg): void {
    this.#say(reply, '');
    puller.ask();
  }

  #comeAgain(row: Row, { reply = '' }: Msg, { durable, given }: Ack): void {
    if (row.state === 'open') this.leases.lapse(row);
    row.acks.set(durable, reply);
    row.given = given;
    row.leaseUntilMs = this.leases.untilMs;
    if (row.state === 'lapsed') row.egress.makeReady(row);
    else row.egress.ask();
  }

  #take(source: Source, message: Msg, ack: Ack): void {
    const { egress, place } = source;
    const { sequence } = ack;
    place.lastSequence = Math.max(place.lastSequence, sequence);
    let content: StoredMessage;
    try {
      content = this.#options.contents.read(place, sequence, message);
    } catch (error) {
      // N16: it comes back when its lease is over, and is told again, until somebody deletes it.
      egress.fail(error);
      return source.puller.ask();
    }
    const ingressId = place.ingresses.get(Subjects.ingress(message.subject)) ?? '';
    if (!content.work && !this.#options.wants(egress.id, ingressId, content.event)) {
      if (sequence <= egress.countedTo) egress.count('ready', -1);
      this.#pass(source, message);
      return;
    }
    if (content.work && sequence > egress.countedTo && firedFor(message) === egress.token) {
      egress.count('delayed', -1);
      egress.count('ready', 1);
    }
    const row: Row = {
      egress,
      place,
      sequence,
      content,
      sizeBytes: eventSizeBytes(content.event),
      state: 'ready',
      acks: new Map([[ack.durable, message.reply ?? '']]),
      given: ack.given,
      offers: 0,
      leaseUntilMs: this.leases.untilMs,
    };
    egress.rows.set(sequence, row);
    // N6: another process may have appended it.
    egress.count('ready', 0);
    egress.makeReady(row);
  }

  /** Acknowledges a row, or says something else of it. Without a connection, it comes again when its lease is over. */
  answer({ acks }: Row, text = ''): void {
    for (const ack of acks.values()) this.#say(ack, text);
  }

  #say(subject: string, text: string): void {
    const { nc, turn } = this.#options;
    turn.atEnd(() => {
      if (!nc.isClosed()) nc.publish(subject, text);
    });
  }

  // --- generations ----------------------------------------------------------------------------------------------------

  /** N9: those that have nothing left to give, oldest first. */
  async #retire(sources: readonly Source[]): Promise<void> {
    if (this.#options.sharing === 'guest') return;
    for (const { puller, egress, place } of sources) {
      const { durable } = puller;
      const all = place.durables.get(egress.token) ?? [];
      const until = untilOf(durable, all);
      if (until === undefined || !isOldest(durable, all) || egress.dropping) continue;
      if (!(await this.#options.places.isThrough(place, durable, until))) continue;
      // First, so that nobody takes it for a loss.
      this.#closePuller(egress, puller);
      await this.#options.places.retire(place, durable).catch(() => {
        egress.pullers = [...egress.pullers, this.#openPuller(egress, place, durable)];
      });
      egress.ask();
    }
  }
}
