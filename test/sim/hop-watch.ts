/**
 * What must hold for local hops, seen from outside: by whoever hears of each hop, offers deliveries and gets requests. The
 * promises C2 to C5, C8 and C9 are told in `dispatcher/chain.ts`, H1 and H2 in `core/rules/hop.ts`; C1 is W1, W2 and W12.
 */
import { strict as assert } from 'node:assert';

import { attributeText } from '../../core/event.ts';
import type { CloudEvent } from '../../core/event.ts';
import { LEASE_MS } from '../../core/ports/event-log.ts';
import type { Delivery, Match } from '../../core/ports/event-log.ts';
import type { Happening } from '../../core/ports/observer.ts';
import type { Topology } from '../../core/topology.ts';
import { idOf, TTL, type Scenery } from './scenery.ts';
import type { ProcessClock } from './timeline.ts';

type Hop = Extract<Happening, { kind: 'hop' }>;
type Attempted = Extract<Happening, { kind: 'attempted' }>;

/**
 * How long hops may go past something that waits in the log. It is given the next slot after a second (C9); but what was put
 * off or given before comes first, and a slow subscriber takes three seconds for each.
 */
const PASSED_MAX_MS = 6_000;

/** A line of hops, where it has come to. */
interface Line {
  /** `egress|event` that it came from the log as; where several hold one event, that of any of them. */
  readonly origins: readonly string[];
  readonly finishedMs: number;
  readonly redoMaxMs: number;
}

interface Waiting {
  readonly eventId: string;
  /** When a hop first went past it. */
  passedAtMs?: number;
}

interface Offered {
  readonly delivery: Delivery;
  readonly clock: ProcessClock;
  leaseUntilMs: number;
}

export interface Resources {
  readonly topology: Topology;
  readonly match: Match;
}

export class HopWatch {
  readonly #scenery: Scenery;
  readonly #resources: () => Resources;
  readonly #isHeldByOne: boolean;
  readonly #isCalm: boolean;
  readonly #isWallSteady: boolean;
  /** `egress|event` -> the line that is there. */
  readonly #lines = new Map<string, Line>();
  /** `egress|event` -> what its subscriber has finished, ms. */
  readonly #finished = new Map<string, number>();
  /** Successes and failures of the subscriber, by `egress|event`. */
  readonly #answered = new Map<string, number>();
  readonly #failed = new Map<string, number>();
  /** Egress -> what nobody was offered yet, oldest first. */
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #offered = new Map<string, Offered[]>();
  broken: unknown;
  taken = 0;

  constructor(
    scenery: Scenery,
    options: {
      resources(): Resources;
      /** Nobody goes on with a delivery that somebody else has. */
      readonly isHeldByOne: boolean;
      /** Nothing makes a delivery come again that has been answered. */
      readonly isCalm: boolean;
      /** The age of what waits can be told. */
      readonly isWallSteady: boolean;
    },
  ) {
    this.#scenery = scenery;
    this.#resources = () => options.resources();
    this.#isHeldByOne = options.isHeldByOne;
    this.#isCalm = options.isCalm;
    this.#isWallSteady = options.isWallSteady;
  }

  /** Another process, or the log has undone what it could not write: what waits is not known any more. */
  forget(): void {
    this.#waiting.clear();
  }

  /** An event waits in the log for these. */
  entered(event: CloudEvent, egressIds: readonly string[]): void {
    for (const id of egressIds) {
      const list = this.#waiting.get(id) ?? [];
      list.push({ eventId: idOf(event) });
      this.#waiting.set(id, list);
    }
  }

  /** The deliveries as somebody holds them whose leases are known. */
  offered(deliveries: readonly Delivery[], clock: ProcessClock): Delivery[] {
    return deliveries.map((delivery) => {
      // A reply on its way is not the event whose life this is.
      const id = idOf(delivery.origin ?? delivery.event);
      const list = this.#waiting.get(delivery.egressId) ?? [];
      const index = list.findIndex(({ eventId }) => eventId === id);
      if (index >= 0) list.splice(index, 1);
      const offered = { delivery, clock, leaseUntilMs: clock.monotonicMs() + LEASE_MS };
      const key = `${delivery.egressId}|${id}`;
      if (this.#isHeldByOne) this.#lines.delete(key);
      this.#finished.delete(key);
      const known = (this.#offered.get(key) ?? []).filter((each) => each.delivery.isOpen);
      this.#offered.set(key, [...known, offered]);
      return new WatchedDelivery(delivery, () => {
        offered.leaseUntilMs = clock.monotonicMs() + LEASE_MS;
      });
    });
  }

  observe(happening: Happening, clock: ProcessClock): void {
    if (happening.kind === 'hop' && happening.result === 'taken') this.#hopped(happening, clock);
    if (happening.kind === 'attempted') this.#attempted(happening);
    if (happening.kind === 'log-state') this.forget();
    if (happening.kind === 'discarded') this.#waiting.delete(happening.egressId);
  }

  /** Somebody has it delivered anew. */
  replayed(egressId: string, event: CloudEvent): void {
    const key = `${egressId}|${idOf(event)}`;
    this.#answered.delete(key);
    this.#failed.delete(key);
  }

  /** C5: it has come through the door of each Broker on its way. */
  requested(egressId: string, event: CloudEvent): void {
    const isOfBroker = this.#resources().topology.egresses.get(egressId)?.ingressId === 'broker';
    if (isOfBroker && attributeText(event, 'knativearrivaltime') === undefined)
      this.#break('C5', `${egressId} got ${idOf(event)} without a stamp`);
    const rounds = idOf(event).split('>echo').length - 1;
    if (rounds > TTL) this.#break('C5', `${egressId} got ${idOf(event)}`);
  }

  #hopped({ egress: from, ingress, event, to = '' }: Hop, clock: ProcessClock): void {
    this.taken += 1;
    const { topology, match } = this.#resources();
    const id = idOf(event);
    const what = `${from.id} to ${to} with ${id}`;
    const wanted = match(ingress.id, event).egressIds;
    if (wanted.length !== 1 || wanted[0] !== to)
      this.#break('C4', `${what}, which [${wanted.join()}] want`);
    const next = topology.egresses.get(to);
    if (!next) return this.#break('C6', `${what}, which is gone`);
    if (next.isPaused) this.#break('H2', `${what}, which is paused`);
    const isOn = from.hops.isOn && ingress.hops.isOn && next.hops.isOn && ingress.isEarly;
    if (!isOn) this.#break('H1', `${what}, where hops are off`);
    if (from.order === 'key' || next.order === 'key') this.#break('H1', `${what} out of order`);
    const key = `${from.id}|${inputOf(from.id, id)}`;
    const line = this.#lineAt(key);
    const finishedMs = line.finishedMs + (this.#finished.get(key) ?? 0);
    const redoMaxMs = Math.min(line.redoMaxMs, from.hops.redoMaxMs, next.hops.redoMaxMs);
    if (this.#isHeldByOne && finishedMs > redoMaxMs)
      this.#break('C2', `${what} repeats ${finishedMs} ms`);
    this.#finished.delete(key);
    if (this.#isHeldByOne) this.#lines.delete(key);
    this.#finished.delete(`${to}|${id}`);
    const others = this.#isHeldByOne ? [] : (this.#lines.get(`${to}|${id}`)?.origins ?? []);
    const origins = [...new Set([...others, ...line.origins])];
    this.#lines.set(`${to}|${id}`, { origins, finishedMs, redoMaxMs });
    if (!line.origins.some((origin) => this.#isHeld(origin)))
      this.#break('C8', `${what} past the lease of ${line.origins.join()}`);
    this.#passed(to, clock);
  }

  #lineAt(key: string): Line {
    const start = { origins: [key], finishedMs: 0, redoMaxMs: Number.POSITIVE_INFINITY };
    const known = this.#lines.get(key);
    if (!known || this.#isHeldByOne) return known ?? start;
    return { ...known, origins: [key, ...known.origins] };
  }

  /** C8 */
  #isHeld(origin: string): boolean {
    const offered = this.#offered.get(origin) ?? [];
    return offered.some(
      ({ delivery, clock, leaseUntilMs }) =>
        clock.isAlive && delivery.isOpen && clock.monotonicMs() < leaseUntilMs,
    );
  }

  /** C9 */
  #passed(egressId: string, clock: ProcessClock): void {
    const [oldest] = this.#waiting.get(egressId) ?? [];
    if (!oldest) return;
    oldest.passedAtMs ??= clock.monotonicMs();
    const forMs = clock.monotonicMs() - oldest.passedAtMs;
    if (this.#isWallSteady && forMs > PASSED_MAX_MS)
      this.#break('C9', `${egressId} was not given ${oldest.eventId} for ${forMs} ms`);
  }

  #attempted({ egress, event, phase, code, durationMs }: Attempted): void {
    const key = `${egress.id}|${idOf(event)}`;
    if (phase !== 'deliver' || egress.subscriber.kind === 'ingress') return;
    if (code) {
      const failed = (this.#failed.get(key) ?? 0) + 1;
      this.#failed.set(key, failed);
      if (this.#isCalm && failed > 1 + this.#retriesOf(egress.id))
        this.#break('C3', `${key} was tried ${failed} times`);
      return;
    }
    this.#finished.set(key, (this.#finished.get(key) ?? 0) + durationMs);
    const times = (this.#answered.get(key) ?? 0) + 1;
    this.#answered.set(key, times);
    // What is given back in order is asked again.
    if (this.#isCalm && times > 1 && egress.order !== 'key')
      this.#break('C3', `${key} was answered ${times} times`);
  }

  /** Before any edit. */
  #retriesOf(egressId: string): number {
    return this.#scenery.egresses.find(({ id }) => id === egressId)?.retry.retries ?? 0;
  }

  #break(promise: string, what: string): void {
    this.broken ??= new assert.AssertionError({ message: `${promise}: ${what}` });
  }
}

/** The input of a reply, by its name; what is handed on keeps its own. */
function inputOf(egressId: string, eventId: string): string {
  const suffix = `>${egressId}`;
  return eventId.endsWith(suffix) && egressId !== 'into-line' && egressId !== 'into-chain'
    ? eventId.slice(0, -suffix.length)
    : eventId;
}

class WatchedDelivery implements Delivery {
  readonly egressId;
  readonly position;
  readonly event;
  readonly sizeBytes;
  readonly acceptedAtMs;
  readonly lease;
  readonly phase;
  readonly attempt;
  readonly firstAtMs;
  readonly lastFailure?: NonNullable<Delivery['lastFailure']>;
  readonly origin?: CloudEvent;
  readonly #own: Delivery;
  readonly #onExtend: () => void;

  constructor(own: Delivery, onExtend: () => void) {
    this.#own = own;
    this.#onExtend = onExtend;
    this.egressId = own.egressId;
    this.position = own.position;
    this.event = own.event;
    this.sizeBytes = own.sizeBytes;
    this.acceptedAtMs = own.acceptedAtMs;
    this.lease = own.lease;
    this.phase = own.phase;
    this.attempt = own.attempt;
    this.firstAtMs = own.firstAtMs;
    if (own.lastFailure) this.lastFailure = own.lastFailure;
    if (own.origin) this.origin = own.origin;
  }

  get isOpen(): boolean {
    return this.#own.isOpen;
  }

  settle(outputs: Parameters<Delivery['settle']>[0]) {
    return this.#own.settle(outputs);
  }

  release(): void {
    this.#own.release();
  }

  extend(): void {
    this.#onExtend();
    this.#own.extend();
  }
}
