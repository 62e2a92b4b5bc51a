/**
 * The streams and durables that the log lives in: made where they are missing, and never removed but for an egress that is
 * gone (`remove`) or a generation that has nothing left to give (`retire`).
 *
 * Of several processes one makes and removes them, and the others, its guests, only look.
 *
 * - N7 A stream says in its metadata whose events it has (`knear-ingress-…`): an ingress never moves to another.
 * - N8 `hold` is there before anything is published, and a stream without it that has messages is not used: what it held
 *   would have gone unnoticed.
 * - N9 A durable never changes what it is given. An egress whose types or order change gets a new generation of durables,
 *   from the next message of the stream on; the one before drains up to there.
 * - N21 Durables are made and removed by who leads at that moment: an owner may have stood still since it decided to.
 */
import { randomUUID } from 'node:crypto';

import type { JetStreamClient, JetStreamManager, StreamInfo } from '@nats-io/jetstream';

import { requireLead, type MayChange } from '../../../core/lead.ts';
import type { Interest } from '../../../core/ports/event-log.ts';
import {
  durableConfig,
  durableOf,
  nameOf,
  shapeOf,
  streamConfig,
  type Durable,
  type Shape,
} from './durables.ts';
import { Births, gone, requireFormat, type Gap } from './births.ts';
import { faultOf } from './faults.ts';
import { ignoreMissing, isMissing } from './missing.ts';
import { Coalesced } from './coalesced.ts';
import { HOLD, Subjects, tokenOf } from './names.ts';
import {
  add,
  drop,
  emptyPlace,
  INGRESS_KEY,
  isSame,
  metadataOf,
  missingOf,
  notMadeYet,
  replace,
  streamName,
  unheld,
  type Place,
} from './place.ts';

/** Channels of a namespace share streams; an acknowledgement costs more the more durables a stream has. */
const SHARED_EGRESSES_MAX = 100;
/** More than can have been published to a stream since its last number was seen: no position is used twice. */
const RENEWED_GAP = 1_000_000;

export interface PlacesOptions {
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  /** First token of all subjects; in capitals, the start of the streams' names. */
  readonly prefix: string;
  /** Of the server, ms. */
  readonly leaseMs: number;
  /** Another process makes what is missing. */
  readonly isGuest: boolean;
  /** N21 */
  readonly mayChange?: MayChange;
  /** What an egress may have lost, in words. */
  onGap(gap: Gap): void;
}

interface Look {
  /** Messages, by the token of their egress; beside them, the names of all durables. */
  readonly waiting: ReadonlyMap<string, number>;
  readonly durables: ReadonlySet<string>;
}

export class Places {
  readonly #options: PlacesOptions;
  readonly #births: Births;
  readonly #places = new Map<string, Place>();
  readonly #byIngress = new Map<string, Place>();
  /** One at a time for each stream: who comes second finds it made. */
  readonly #making = new Map<string, Promise<Place>>();
  readonly #looks = new Map<Place, Coalesced<Look>>();

  private constructor(options: PlacesOptions, births: Births) {
    this.#options = options;
    this.#births = births;
  }

  /** Finds what an earlier process has set up. @throws KNEAR_LOG_FORMAT, KNEAR_LOG_CORRUPT and the codes of `faultOf` */
  static async open(options: PlacesOptions): Promise<Places> {
    try {
      const births = await Births.open(options, options.isGuest ? undefined : randomUUID());
      const places = new Places(options, births);
      for await (const info of options.jsm.streams.list(`${options.prefix}.*.>`)) {
        if (info.config.metadata?.['knear-format'] !== undefined) await places.#adopt(info);
      }
      if (options.isGuest) return places;
      const durables = [...places.all()].map(
        (place) => [place.name, [...place.durables.values()].flat()] as const,
      );
      for (const gap of await births.gaps(new Map(durables))) options.onGap(gap);
      return places;
    } catch (error) {
      throw options.isGuest && isMissing(error) ? notMadeYet('a log') : faultOf(error);
    }
  }

  /** Of the log as a whole, for as long as its streams exist. */
  get logId(): string {
    return this.#births.logId;
  }

  all(): Iterable<Place> {
    return this.#places.values();
  }

  placeOf(ingressId: string): Place | undefined {
    return this.#byIngress.get(ingressId);
  }

  /** @returns where the events of the ingress are kept, made if need be. */
  async ensure(ingressId: string, pool: string | undefined): Promise<Place> {
    const known = this.placeOf(ingressId);
    if (known) return known;
    const key = pool ?? ingressId;
    const before = this.#making.get(key) ?? Promise.resolve();
    const making = before
      .catch(() => undefined)
      .then(
        () =>
          this.placeOf(ingressId) ??
          (this.#options.isGuest ? this.#find(ingressId) : this.#make(ingressId, pool)),
      );
    this.#making.set(key, making);
    return making;
  }

  /** What another process has made. */
  async #find(ingressId: string): Promise<Place> {
    for await (const info of this.#options.jsm.streams.list(`${this.#options.prefix}.*.>`)) {
      const { name, metadata } = info.config;
      const known = this.#places.get(name);
      if (known) this.#ownAll(known, metadata);
      else if (metadata?.['knear-format'] !== undefined) await this.#adopt(info);
    }
    const place = this.placeOf(ingressId);
    if (place) return place;
    throw notMadeYet(`a stream for ${ingressId}`);
  }

  async #make(ingressId: string, pool: string | undefined): Promise<Place> {
    const { jsm, prefix } = this.#options;
    for (let number = 0; ; number += 1) {
      const token = pool === undefined ? tokenOf(ingressId) : `${tokenOf(pool)}_${number}`;
      const name = streamName(prefix, token);
      const known = this.#places.get(name);
      if (known && pool !== undefined && known.durables.size >= SHARED_EGRESSES_MAX) continue;
      const place = known ?? emptyPlace(name, new Subjects(prefix, token));
      const metadata = metadataOf([...place.ingresses.values(), ingressId]);
      const config = { ...streamConfig(place.subjects.all), metadata };
      if (known) {
        await jsm.streams.update(name, config);
      } else {
        await jsm.streams.add({ ...config, name });
        await this.#makeHold(place);
      }
      this.#places.set(name, place);
      this.#own(place, ingressId);
      return place;
    }
  }

  async #adopt(info: StreamInfo): Promise<void> {
    const { jsm, prefix } = this.#options;
    const { name, metadata = {} } = info.config;
    requireFormat(name, metadata);
    const subjects = new Subjects(prefix, name.slice(streamName(prefix, '').length));
    const held = await this.#countHeld(name, subjects);
    const { bytes, last_seq: lastSequence } = info.state;
    const found = { lastSequence, held };
    const place = { ...emptyPlace(name, subjects), found, bytes, lastSequence };
    let isHeld = false;
    for await (const consumer of jsm.consumers.list(name)) {
      if (consumer.name === HOLD) isHeld = true;
      else add(place, durableOf(consumer));
    }
    if (!isHeld && info.state.messages > 0) throw unheld(name);
    if (!isHeld && !this.#options.isGuest) await this.#makeHold(place);
    this.#places.set(name, place);
    this.#ownAll(place, metadata);
  }

  #ownAll(place: Place, metadata: Readonly<Record<string, string>> = {}): void {
    for (const [key, value] of Object.entries(metadata)) {
      if (key.startsWith(INGRESS_KEY)) this.#own(place, value);
    }
  }

  #own(place: Place, ingressId: string): void {
    place.ingresses.set(tokenOf(ingressId), ingressId);
    this.#byIngress.set(ingressId, place);
  }

  async #countHeld(name: string, { held }: Subjects): Promise<Place['found']['held']> {
    const counts = new Map<string, { delayed: number; parked: number }>();
    for (const filter of held) {
      const { state } = await this.#options.jsm.streams.info(name, { subjects_filter: filter });
      for (const [subject, count] of Object.entries(state.subjects ?? {})) {
        const { kind, egress = '' } = Subjects.held(subject) ?? {};
        if (kind === undefined) continue;
        const known = counts.get(egress) ?? { delayed: 0, parked: 0 };
        counts.set(egress, known);
        known[kind === 't' ? 'delayed' : 'parked'] += count;
      }
    }
    return counts;
  }

  async #makeHold({ name, subjects }: Place): Promise<void> {
    const { jsm, leaseMs } = this.#options;
    const config = durableConfig({ filters: subjects.held, ackPendingMax: 1, leaseMs });
    await jsm.consumers.add(name, { ...config, durable_name: HOLD });
  }

  /** @returns the durables of the egress, the ones that drain included; all of them exist then. */
  async ensureEgress(place: Place, interest: Interest): Promise<readonly Durable[]> {
    if (this.#options.isGuest) return this.#findEgress(place, interest);
    try {
      return await this.#ensureEgress(place, interest);
    } catch (error) {
      if (!isMissing(error)) throw error;
      await this.#renew(place);
      return this.#ensureEgress(place, interest);
    }
  }

  /** As they are: who has made them may be of another version, which sorts events by other filters. */
  async #findEgress(place: Place, { egressId }: Interest): Promise<readonly Durable[]> {
    const find = () => place.durables.get(tokenOf(egressId)) ?? [];
    if (find().length === 0) await this.look(place);
    const durables = find();
    if (durables.length === 0) throw notMadeYet(`a consumer for ${egressId}`);
    return durables;
  }

  /** What durables there are by now, and what waits for each. */
  look(place: Place): Promise<Look> {
    let looks = this.#looks.get(place);
    if (!looks) this.#looks.set(place, (looks = new Coalesced(() => this.#look(place))));
    return looks.run();
  }

  async #look(place: Place): Promise<Look> {
    const { changes } = place;
    const waiting = new Map<string, number>();
    const durables = new Map<string, Durable[]>();
    for await (const info of this.#options.jsm.consumers.list(place.name)) {
      if (info.name === HOLD) continue;
      const durable = durableOf(info);
      durables.set(durable.egress, [...(durables.get(durable.egress) ?? []), durable]);
      waiting.set(durable.egress, (waiting.get(durable.egress) ?? 0) + durable.found);
    }
    // What this process has made or removed meanwhile is newer than the list, and the owner knows what should be there.
    if (this.#options.isGuest && place.changes === changes) replace(place, durables);
    const names = [...durables.values()].flat().map(({ name }) => name);
    return { waiting, durables: new Set(names) };
  }

  /** What waits for each egress of a stream, by token, and what durables it has. */
  async countAll(place: Place): Promise<{
    readonly counts: ReadonlyMap<string, { ready: number; delayed: number; parked: number }>;
    readonly durables: ReadonlySet<string>;
  }> {
    const held = await this.#countHeld(place.name, place.subjects);
    const { waiting, durables } = await this.look(place);
    const counts = new Map(
      [...waiting].map(([egress, ready]) => {
        const { delayed = 0, parked = 0 } = held.get(egress) ?? {};
        return [egress, { ready, delayed, parked }];
      }),
    );
    return { counts, durables };
  }

  /** Somebody has deleted the stream. */
  async #renew(place: Place): Promise<void> {
    const before = this.#making.get(place.name) ?? Promise.resolve();
    const making = before.catch(() => undefined).then(() => this.#makeAgain(place));
    this.#making.set(place.name, making);
    await making;
  }

  async #makeAgain(place: Place): Promise<Place> {
    const { jsm } = this.#options;
    const { name, subjects, ingresses } = place;
    const isThere = await jsm.streams.info(name).then(() => true, ignoreMissing);
    if (isThere) return place;
    const metadata = metadataOf([...ingresses.values()]);
    const first = place.lastSequence + RENEWED_GAP;
    await jsm.streams.add({ ...streamConfig(subjects.all), name, metadata, first_seq: first });
    await this.#makeHold(place);
    Object.assign(place, { bytes: 0, lastSequence: first });
    return place;
  }

  async #ensureEgress(place: Place, interest: Interest): Promise<readonly Durable[]> {
    const egress = tokenOf(interest.egressId);
    const shapes = shapeOf(place.subjects, interest);
    const known = place.durables.get(egress) ?? [];
    const newest = Math.max(-1, ...known.map(({ generation }) => generation));
    const current = known.filter(({ generation }) => generation === newest);
    if (isSame(current, shapes)) return known;
    // Cut off in the middle of its making: the rest of it.
    const rest = missingOf(current, shapes);
    if (rest && current.length > 0) {
      const from = current[0]?.from;
      for (const shape of rest) await this.#makeDurable(place, interest, shape, newest, from);
    } else {
      const stream = current.length > 0 && (await this.#options.jsm.streams.info(place.name));
      const from = stream ? stream.state.last_seq + 1 : undefined;
      for (const shape of shapes) {
        await this.#makeDurable(place, interest, shape, newest + 1, from);
      }
    }
    return place.durables.get(egress) ?? [];
  }

  async #makeDurable(
    place: Place,
    { egressId }: Interest,
    { part, filters, ackPendingMax }: Shape,
    generation: number,
    from: number | undefined,
  ): Promise<void> {
    const { jsm, leaseMs } = this.#options;
    const name = nameOf(tokenOf(egressId), generation, part);
    requireLead(this.#options.mayChange);
    const info = await jsm.consumers.add(place.name, {
      ...durableConfig({ filters, ackPendingMax, leaseMs }),
      durable_name: name,
      ...(from !== undefined && { deliver_policy: 'by_start_sequence', opt_start_seq: from }),
      metadata: { 'knear-egress': egressId, 'knear-birth': randomUUID() },
    });
    const durable = durableOf(info);
    add(place, durable);
    await this.#births.remember(place.name, durable);
  }

  /** A durable is not there any more, though nobody here has removed it. */
  async lost(place: Place, durable: Durable): Promise<void> {
    drop(place, durable);
    // Deleted by hand or because nobody needs it any more: its maker knows.
    if (this.#options.isGuest) return;
    this.#options.onGap({ egressId: durable.egressId, detail: gone(durable.name) });
    // Said once (N14).
    await this.#births.forget(place.name, durable);
  }

  async isThere({ name: stream }: Place, { name }: Durable): Promise<boolean> {
    return this.#options.jsm.consumers.info(stream, name).then(() => true, ignoreMissing);
  }

  /** What waited for an egress when this process came. */
  countsOf(place: Place, egress: string): { ready: number; delayed: number; parked: number } {
    const { delayed = 0, parked = 0 } = place.found.held.get(egress) ?? {};
    const ready = (place.durables.get(egress) ?? []).reduce((sum, { found }) => sum + found, 0);
    return { ready, delayed, parked };
  }

  /** N6: what waits for an egress now. What two generations have yet to give is in both. */
  async count(
    { name, subjects, durables }: Place,
    egress: string,
  ): Promise<{ counts: { ready: number; delayed: number; parked: number }; lastSequence: number }> {
    const { jsm } = this.#options;
    const heldOn = async (filter: string) => {
      const { state } = await jsm.streams.info(name, { subjects_filter: filter });
      return { count: Object.keys(state.subjects ?? {}).length, lastSequence: state.last_seq };
    };
    const { count: parked } = await heldOn(subjects.parkedOf(egress));
    const { count: delayed, lastSequence } = await heldOn(subjects.timers(egress));
    let ready = 0;
    for (const durable of durables.get(egress) ?? []) {
      const info = await jsm.consumers.info(name, durable.name);
      ready += info.num_pending + info.num_ack_pending;
    }
    return { counts: { ready, delayed, parked }, lastSequence };
  }

  /** Looks at how large they have become. */
  async measure(): Promise<void> {
    const { jsm, prefix } = this.#options;
    for await (const { config, state } of jsm.streams.list(`${prefix}.*.>`)) {
      const place = this.#places.get(config.name);
      if (!place) continue;
      place.bytes = state.bytes;
      place.lastSequence = Math.max(place.lastSequence, state.last_seq);
      const expected = 1 + [...place.durables.values()].flat().length;
      if (state.consumer_count < expected && !this.#options.isGuest) await this.#checkHold(place);
    }
  }

  /** N8, while it runs: what waited on `t` and `p` went with it. */
  async #checkHold(place: Place): Promise<void> {
    const { jsm, onGap } = this.#options;
    if (await jsm.consumers.info(place.name, HOLD).then(() => true, ignoreMissing)) return;
    await this.#makeHold(place);
    const detail = `the consumer ${HOLD} of ${place.name} was deleted: retries that were to come later and parked events may be lost`;
    for (const [durable] of place.durables.values()) {
      if (durable) onGap({ egressId: durable.egressId, detail });
    }
  }

  /** Whether all that a durable had to give, up to where its generation ends, is settled; false where the server does not say. */
  async isThrough({ name: stream }: Place, { name }: Durable, until: number): Promise<boolean> {
    const info = await this.#options.jsm.consumers.info(stream, name).catch(() => undefined);
    if (!info) return false;
    const { num_pending: waiting, num_ack_pending: open, ack_floor: settled } = info;
    return (open === 0 && waiting === 0) || settled.stream_seq >= until - 1;
  }

  /** Removes a durable that nobody needs any more. */
  async retire(place: Place, durable: Durable): Promise<void> {
    // Before it is gone, so that nobody who is setting up its egress finds it in here.
    drop(place, durable);
    try {
      // Its birth first: it is not missed if this process ends in between.
      await this.#births.forget(place.name, durable);
      await this.#options.jsm.consumers.delete(place.name, durable.name).catch(ignoreMissing);
    } catch (error) {
      add(place, durable);
      throw error;
    }
  }

  /** Ends all that the server has for an egress. */
  async remove(place: Place, egress: string): Promise<void> {
    const { jsm } = this.#options;
    requireLead(this.#options.mayChange);
    for (const durable of place.durables.get(egress) ?? []) {
      await jsm.consumers.delete(place.name, durable.name).catch(ignoreMissing);
      await this.#births.forget(place.name, durable);
    }
    place.durables.delete(egress);
    place.changes += 1;
    const { subjects, name } = place;
    const filters = [subjects.works(egress), subjects.timers(egress), subjects.parkedOf(egress)];
    for (const filter of filters) await jsm.streams.purge(name, { filter });
  }
}
