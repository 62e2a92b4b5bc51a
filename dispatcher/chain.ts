/**
 * A chain: the line of local hops under one open delivery, as `core/rules/hop.ts` allows them.
 *
 *   delivery --> egress A --answers--> (admitted) --hop--> egress B --answers--> (admitted) --hop--> ... --> one settle
 *
 * It owns what the line has behind it: the links whose part is done, and the time that a crash would repeat. What is under
 * way is the stage of `Run`, as without hops.
 *
 * - C1 Nothing is lost. A chain is a line under one delivery, settled once, at its end, with what must outlive it: nothing,
 *   the event that goes on through the log, or Work for the egress it has come to. Only then is anybody told that the links
 *   before have ended.
 * - C2 A crash repeats little: at most `redoMaxMs` of finished subscriber time since the last record, and the attempt under
 *   way. A repeated step may answer another event, which then takes the place of the first.
 * - C3 A failing hop never repeats the hops before it, short of a crash: what does not end here is settled as Work of its
 *   own egress, with its input, phase, attempts and last failure.
 * - C4 What several egresses want goes through the log: one record, and all of them see that record.
 * - C5 No way around the door: an event hops only after admission, and a refusal is what it is without hops.
 * - C6 Egress, filter, subscriber and retry are looked up by id at each attempt.
 * - C7 No hop is decided on a Topology that lacks a resource which somebody was told is Ready.
 * - C8 A lease ends by the holder's own clock: past it, nothing hops.
 * - C9 No starvation: a hop takes a slot that is free, or waits for one in turn while nothing waits for it in the log.
 * - C10 Bounded and visible: each hop, and each refusal with its reason, is told.
 */
import type { CloudEvent } from '../core/event.ts';
import type { Match, Phase } from '../core/ports/event-log.ts';
import { hopRefusal, type HopRefusal, type LineState } from '../core/rules/hop.ts';
import type { Egress, Ingress } from '../core/topology.ts';
import type { DispatchContext } from './context.ts';
import type { Hold } from './hold.ts';

/** What a dispatcher knows of hops. */
export interface Hops {
  readonly match: Match;
  /** Of an egress that is served here. */
  contextOf(egressId: string): DispatchContext | undefined;
  /** C7 */
  isConfirmed(): boolean;
}

/** An egress whose part is done, once the delivery is settled. */
export interface Link {
  readonly egress: Egress;
  /** Without its data. */
  readonly event: CloudEvent;
  /** From when it came to its ingress until it was done. */
  readonly ageMs: number;
}

export interface HopRequest {
  readonly from: Egress;
  /** What of it has come to an ingress of ours. */
  readonly phase: Phase;
  readonly ingress: Ingress;
  /** Admitted. */
  readonly event: CloudEvent;
  /** The delivery's own egress has room for one that stays open longer. */
  readonly hasRoom: boolean;
}

export class Chain {
  readonly #hops: Hops;
  readonly #links: Link[] = [];
  #finishedMs = 0;
  #redoMaxMs = Number.POSITIVE_INFINITY;
  #sinceMs: number;

  /** @param sinceMs wall time at which the event of the delivery was accepted */
  constructor(hops: Hops, sinceMs: number) {
    this.#hops = hops;
    this.#sinceMs = sinceMs;
  }

  /** Hops up to now; 0: it is with the egress of the delivery. */
  get hops(): number {
    return this.#links.length;
  }

  /** C1: told when the delivery is settled. */
  get links(): readonly Link[] {
    return this.#links;
  }

  /** Wall time at which the event that is under way came to its ingress. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  /** C2: a subscriber has done its part. */
  finished(durationMs: number): void {
    this.#finishedMs += durationMs;
  }

  /** Where the event would go on, or why it goes through the log. */
  next(
    hold: Hold,
    { from, phase, ingress, event, hasRoom }: HopRequest,
  ): DispatchContext | HopRefusal {
    if (!from.hops.isOn || !ingress.hops.isOn || !ingress.isEarly) return 'off';
    if (phase === 'dead-letter') return 'dead-letter';
    if (hold.isStopping) return 'stopping';
    // C8
    if (!hold.isCurrent || !hold.delivery.isOpen) return 'lease';
    if (from.order === 'key') return 'ordered';
    const [id, ...others] = this.#hops.match(ingress.id, event).egressIds;
    if (id === undefined) return 'unmatched';
    if (others.length > 0) return 'fan-out';
    const context = this.#hops.contextOf(id);
    const next = context?.egress()?.egress;
    if (!context || !next) return 'unconfirmed';
    if (!next.hops.isOn) return 'off';
    if (next.order === 'key') return 'ordered';
    const surroundings = { isConfirmed: this.#hops.isConfirmed(), hasRoom };
    return hopRefusal(this.#lineTo(from, next), context.asNext(), surroundings) ?? context;
  }

  #lineTo(from: Egress, next: Egress): LineState {
    const redoMaxMs = Math.min(this.#redoMaxMs, from.hops.redoMaxMs, next.hops.redoMaxMs);
    return { hops: this.hops, finishedMs: this.#finishedMs, redoMaxMs };
  }

  /** The event goes on; the part of `from` is done. @param nowMs wall time */
  add(from: Egress, input: CloudEvent, nowMs: number): void {
    this.#redoMaxMs = Math.min(this.#redoMaxMs, from.hops.redoMaxMs);
    const event = { ...input, data: undefined };
    this.#links.push({ egress: from, event, ageMs: nowMs - this.#sinceMs });
    this.#sinceMs = nowMs;
  }
}
