/**
 * What is seen of the simulated world from outside: what producers were told, what entered which ingress and for whom, what
 * subscribers and sinks took, and how lives ended. It judges W1, W2, W6 and W12, as `world.ts` tells them.
 */
import { strict as assert } from 'node:assert';

import type { CloudEvent } from '../../core/event.ts';
import type { Happening } from '../../core/ports/observer.ts';
import { idOf, keyOf, type Scenery } from './scenery.ts';

/** An event came to an ingress: into the log, or by a hop. */
interface Entrance {
  readonly egressIds: readonly string[];
  readonly isHop: boolean;
}

interface Take {
  /** Id of the reply. */
  readonly reply: string | undefined;
  readonly times: number;
}

export class Chronicle {
  readonly #scenery: Scenery;
  readonly #isHeldByOne: boolean;
  /** Id of an event whose append resolved -> ingress. */
  readonly #acknowledged = new Map<string, string>();
  /** `ingress|event` -> how it came there, oldest first. */
  readonly #entrances = new Map<string, Entrance[]>();
  /** `egress|event` -> what became of it. */
  readonly #takes = new Map<string, Take>();
  readonly #repliesOutside = new Set<string>();
  readonly #rescued = new Set<string>();
  readonly #exempt = new Set<string>();
  /** `egress|event` of what ended without the subscriber. */
  readonly #passedBy = new Set<string>();
  readonly #ends = new Map<string, number>();
  readonly #orderOfKey = new Map<string, string[]>();
  readonly #firstTaken = new Map<string, string[]>();
  readonly endCounts: Record<string, number> = {};
  broken: unknown;

  /** @param options.isHeldByOne nobody goes on with a delivery that somebody else has, or has ended */
  constructor(scenery: Scenery, options: { readonly isHeldByOne: boolean }) {
    this.#scenery = scenery;
    this.#isHeldByOne = options.isHeldByOne;
  }

  get accepted(): number {
    return this.#acknowledged.size;
  }

  get duplicates(): number {
    return [...this.#takes.values()].reduce((sum, { times }) => sum + times - 1, 0);
  }

  acknowledged(ingressId: string, event: CloudEvent): void {
    this.#acknowledged.set(idOf(event), ingressId);
  }

  entered(
    ingressId: string,
    event: CloudEvent,
    { egressIds, isHop }: { readonly egressIds: readonly string[]; readonly isHop: boolean },
  ): void {
    const key = `${ingressId}|${idOf(event)}`;
    const known = this.#entrances.get(key) ?? [];
    known.push({ egressIds, isHop });
    this.#entrances.set(key, known);
    if (egressIds.includes('ordered')) listOf(this.#orderOfKey, keyOf(event)).push(idOf(event));
  }

  observe(happening: Happening): void {
    if (happening.kind === 'discarded') this.#exempt.add(happening.egressId);
    if (happening.kind !== 'ended') return;
    const { egress, event, end } = happening;
    const key = `${egress.id}|${idOf(event)}`;
    this.#ends.set(key, (this.#ends.get(key) ?? 0) + 1);
    this.endCounts[end] = (this.endCounts[end] ?? 0) + 1;
    if (end === 'dead-lettered' || end === 'filtered') this.#passedBy.add(key);
    if (end === 'filtered' || end === 'dropped' || end === 'gone') this.#rescued.add(key);
  }

  /** The dead letter sink of this egress took it. */
  buried(egressId: string, event: CloudEvent): void {
    this.#rescued.add(`${egressId}|${idOf(event)}`);
  }

  repliedOutside(event: CloudEvent): void {
    this.#repliesOutside.add(idOf(event));
  }

  /** The subscriber took it. @param reply the id of what it answers */
  taken(egressId: string, event: CloudEvent, reply: string | undefined): void {
    const id = idOf(event);
    const key = `${egressId}|${id}`;
    const times = (this.#takes.get(key)?.times ?? 0) + 1;
    this.#takes.set(key, { reply, times });
    if (egressId === 'ordered' && times === 1) listOf(this.#firstTaken, keyOf(event)).push(id);
    const { ingressId = '' } = this.#scenery.egresses.find((each) => each.id === egressId) ?? {};
    const entrances = this.#entrances.get(`${ingressId}|${id}`) ?? [];
    if (entrances.some(({ egressIds }) => egressIds.includes(egressId))) return;
    this.broken ??= new assert.AssertionError({ message: `W12: ${egressId} got ${id}` });
  }

  /** It is delivered anew: another life (W2). */
  replayed(egressId: string, event: CloudEvent): void {
    this.#ends.delete(`${egressId}|${idOf(event)}`);
  }

  // --- the end --------------------------------------------------------------------------------------------------------

  /** W1. @param parked `egress|event` */
  checkNothingLost(parked: ReadonlySet<string>): void {
    for (const [id, ingressId] of this.#acknowledged) {
      const missing = this.#missing(ingressId, id, parked);
      assert(missing === undefined, `W1: ${id} was acknowledged, but ${missing}`);
    }
  }

  /** W2 */
  checkOnce(): void {
    for (const [key, times] of this.#ends)
      assert.equal(times, 1, `W2: ${key} ended ${times} times`);
    for (const key of this.#takes.keys()) {
      const [egressId = ''] = key.split('|');
      if (!this.#exempt.has(egressId)) assert(this.#ends.has(key), `W2: ${key} never ended`);
    }
  }

  /**
   * W6: of events that entered the log once and were taken. One that was dead-lettered, or filtered, has left its place to
   * the next, and a crash or a lost acknowledgement that forgets this has it delivered again.
   */
  checkOrder(): void {
    for (const [key, taken] of this.#firstTaken) {
      const entered = this.#orderOfKey.get(key) ?? [];
      const once = entered.filter(
        (id) =>
          entered.indexOf(id) === entered.lastIndexOf(id) && !this.#passedBy.has(`ordered|${id}`),
      );
      const order = once.filter((id) => taken.includes(id));
      const seen = taken.filter((id) => once.includes(id));
      assert.deepEqual(seen, order, `W6: key ${key} was delivered out of order`);
    }
  }

  /** W1: what is missing of an event that entered this ingress, or of what came of it; `undefined`: nothing. */
  #missing(ingressId: string, eventId: string, parked: ReadonlySet<string>): string | undefined {
    const entrances = this.#thatCount(this.#entrances.get(`${ingressId}|${eventId}`) ?? []);
    let missing: string | undefined = `${eventId} never entered ${ingressId}`;
    for (const { egressIds } of entrances) {
      missing = this.#missingForAll(egressIds, eventId, parked);
      if (missing === undefined) return undefined;
    }
    return missing;
  }

  /**
   * The last entrance is that of whoever holds the event. Where several hold one, a hop of any of them may be followed by
   * nothing, because another has gone on: one of them must be whole, or what is in the log.
   */
  #thatCount(entrances: readonly Entrance[]): readonly Entrance[] {
    if (this.#isHeldByOne) return entrances.slice(-1);
    const ofLog = entrances.filter(({ isHop }) => !isHop);
    return [...ofLog.slice(-1), ...entrances.filter(({ isHop }) => isHop)];
  }

  #missingForAll(
    egressIds: readonly string[],
    eventId: string,
    parked: ReadonlySet<string>,
  ): string | undefined {
    for (const egressId of egressIds) {
      const missing = this.#missingFor(egressId, eventId, parked);
      if (missing !== undefined) return missing;
    }
    return undefined;
  }

  #missingFor(egressId: string, eventId: string, parked: ReadonlySet<string>): string | undefined {
    const key = `${egressId}|${eventId}`;
    if (this.#rescued.has(key) || parked.has(key) || this.#exempt.has(egressId)) return undefined;
    const egress = this.#scenery.egresses.find(({ id }) => id === egressId);
    assert(egress);
    const { subscriber, deadLetter, reply } = egress;
    if (subscriber.kind === 'ingress') {
      return this.#missing(subscriber.ingressId, eventId, parked);
    }
    // Which of the two ways it went last cannot be seen from outside: one of them must be whole.
    const isBuried =
      deadLetter?.kind === 'ingress' &&
      this.#missing(deadLetter.ingressId, eventId, parked) === undefined;
    if (isBuried) return undefined;
    const taken = this.#takes.get(key);
    if (!taken) return `${egressId} never got ${eventId}`;
    if (taken.reply === undefined) return undefined;
    if (reply?.kind === 'ingress') return this.#missing(reply.ingressId, taken.reply, parked);
    return this.#repliesOutside.has(taken.reply) ? undefined : `the reply ${taken.reply} is lost`;
  }
}

function listOf(map: Map<string, string[]>, key: string): string[] {
  let list = map.get(key);
  if (!list) map.set(key, (list = []));
  return list;
}
