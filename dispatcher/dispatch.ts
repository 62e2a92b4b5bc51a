/**
 * One event's life for one egress, from the lease to the settle.
 *
 *   deliver ----- accepted ------------------------------------------------> settle []          delivered
 *     |  \------- replied: to an ingress of ours, admitted, a hop ------> deliver, to the next egress (chain.ts)
 *     |   \                \- admitted, no hop -------------------------> settle [event]     delivered
 *     |    \               \- not taken now: phase reply, the subscriber is not called again
 *     |     \              \- refused for good: exhausted with that code
 *     |      \--- replied: to an address outside ---> reply --- accepted --> settle []          delivered
 *     |                                                 |
 *     +-- failed: again <-- wait <= 1 s here            +-- failed: again
 *     |             \------ longer: settle [Work]       |
 *     +-- exhausted <-----------------------------------+
 *           |-- dead letter sink --> dead-letter --- accepted -------------> settle [] or [event]  dead-lettered
 *           |                          \-- exhausted --\
 *           \-- none --------------------------------> settle [parked]    parked   (exhausted: drop: settle [] dropped)
 *
 * - D1 A delivery ends by one settle or one release, and what it came to is observed after the log took it.
 * - D2 No attempt without a slot; nobody waits for a slot while holding one.
 * - D3 Egress, filter, subscriber and retry are looked up at each attempt: a resource that is gone ends the run.
 * - D4 A failure is a verdict only while the lease is ours (`Hold`, D8) and nobody else has ended the delivery; a success in
 *   hand is settled in any case.
 * - D5 A wait in memory holds an open delivery, so there is a bound a egress on them: past it, a wait becomes Work.
 * - D6 Past LEASES_WITHOUT_OUTCOME_MAX leases without an outcome, the next one is a failed attempt by itself.
 */
import { admit } from '../core/rules/admit.ts';
import { withCode } from '../core/rules/retry.ts';
import type { Verdict } from '../core/rules/retry.ts';
import { ERRORS } from '../core/errors.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { CloudEvent } from '../core/event.ts';
import type { Outcome } from '../core/ports/deliverer.ts';
import { LEASES_WITHOUT_OUTCOME_MAX } from '../core/ports/event-log.ts';
import type { Failure } from '../core/ports/event-log.ts';
import type { Span } from '../core/ports/tracer.ts';
import type { Egress, Ingress, Target } from '../core/topology.ts';
import {
  attempt,
  NO_ENDPOINTS,
  observeAttempt,
  requestOf,
  verdictOn,
  type Attempted,
  type Routed,
} from './attempt.ts';
import { Chain } from './chain.ts';
import type { DispatchContext } from './context.ts';
import { end, observeEnd, observeLinks, trySettle, type EndingScope } from './ending.ts';
import type { Hold } from './hold.ts';
import { LargeReplies } from './large-replies.ts';
import { MEMORY_WAIT_MAX_MS, Patience } from './patience.ts';
import {
  askedStage,
  deadLetterStage,
  failedStage,
  isReplyOfBroker,
  outgoing,
  replyStage,
  stageOf,
  targetOf,
} from './stage.ts';
import type { Stage } from './stage.ts';

/** A Broker's reply that is not taken is offered again for this long before the subscriber is asked again. */
const REPLY_PATIENCE_MS = 1_000;
const REPLY_RETRY_MS = 200;
/** The next stage, or nothing when the delivery has ended. A promise only where there is something to wait for. */
type Next = Stage | undefined | Promise<Stage | undefined>;

/** Takes one delivery to its end. Never rejects, but for bugs of ours. */
export async function dispatch(hold: Hold, context: DispatchContext): Promise<void> {
  const { delivery } = hold;
  const current = context.egress();
  if (!current) {
    delivery.release();
    return;
  }
  if (delivery.phase === 'deliver' && !current.matches(delivery.event)) {
    const chain = { links: [], sinceMs: delivery.acceptedAtMs };
    const { event } = delivery;
    await end({ hold, context, egress: current.egress, chain, event }, 'filtered');
    return;
  }
  const first = stageOf(delivery, context.clock.monotonicMs());
  const run = new Run(hold, context, { first, isOrdered: current.egress.order === 'key' });
  let stage: Stage | undefined = first;
  try {
    if (delivery.lease > LEASES_WITHOUT_OUTCOME_MAX) stage = await run.leaseLost(current.egress);
    while (stage) {
      const next = run.step(stage);
      stage = next instanceof Promise ? await next : next;
    }
  } finally {
    run.releaseReplies();
  }
}

interface Handed {
  readonly egress: Egress;
  readonly stage: Stage;
  readonly ingress: Ingress;
  readonly event: CloudEvent;
}

class Run {
  readonly #hold: Hold;
  /** Of the egress that the delivery is of. */
  readonly #origin: DispatchContext;
  readonly #chain: Chain;
  /** Of the egress that the event has come to. */
  #context: DispatchContext;
  readonly #first: Stage;
  readonly #isOrdered: boolean;
  /** Of the last attempt of this lease. */
  #turn: number | undefined;
  /** Endpoints that it has failed at, in this lease. */
  #failed = NO_ENDPOINTS;
  #span: Span | undefined;
  #patience = new Patience();
  readonly #replies: LargeReplies;

  constructor(hold: Hold, context: DispatchContext, options: { first: Stage; isOrdered: boolean }) {
    this.#hold = hold;
    this.#origin = context;
    this.#context = context;
    this.#replies = new LargeReplies(context.payloads);
    this.#chain = new Chain(context.hops, hold.delivery.acceptedAtMs);
    this.#first = options.first;
    this.#isOrdered = options.isOrdered;
  }

  /** One attempt of the stage's phase. */
  step(stage: Stage): Next {
    const current = this.#context.egress();
    if (!current || this.#hold.isStopping) return this.#giveBack(stage);
    const { egress } = current;
    const target = targetOf(egress, stage.phase);
    if (!target) return this.#withoutTarget(egress, stage);
    return target.kind === 'ingress'
      ? this.#hand(egress, stage, target)
      : this.#send(egress, stage, target);
  }

  /** What the log has not taken over of large replies, nobody needs. */
  releaseReplies(): void {
    this.#replies.release();
  }

  /** D6: the failed attempt goes to the log at once, because the next one may end like those before it. */
  leaseLost(egress: Egress): Next {
    const dest = targetOf(egress, this.#first.phase)?.url ?? '';
    const outcome: Outcome = { kind: 'rejected', status: 500 };
    const verdict = this.#judge(egress, this.#first, outcome, dest);
    const named = withCode(verdict, 'KNEAR_LEASE_LOST');
    if (named.kind !== 'again') return this.#follow(egress, this.#first, named);
    const next = failedStage(this.#first, named.failure);
    return this.#keep(next, this.#context.clock.nowMs() + named.delayMs);
  }

  // --- the two ways to a target ---------------------------------------------------------------------------------------

  async #send(
    egress: Egress,
    stage: Stage,
    target: Exclude<Target, { kind: 'ingress' }>,
  ): Promise<Stage | undefined> {
    const { slots, clock } = this.#context;
    const wait = slots.take();
    if (wait) {
      await wait;
      // D3: what it waited for may not be what is there now.
      const current = this.#context.egress()?.egress;
      if (!current || targetOf(current, stage.phase) !== target) {
        slots.give();
        return this.#hold.isCurrent ? stage : undefined;
      }
    }
    if (!this.#hold.isCurrent || this.#hold.isStopping) {
      slots.give();
      return this.#hold.isCurrent ? this.#giveBack(stage) : undefined;
    }
    const startedMs = clock.monotonicMs();
    this.#span = this.#context.tracer?.attempt(egress, stage);
    let routed: Routed | undefined;
    try {
      routed = await this.#attempt(egress, stage, target);
    } finally {
      const durationMs = clock.monotonicMs() - startedMs;
      slots.give(stage.phase === 'deliver' ? routed?.outcome : undefined, durationMs);
    }
    const { outcome, route } = routed;
    if (outcome.kind === 'replied') this.#replies.keep(outcome.event);
    const isFinished = outcome.kind === 'accepted' || outcome.kind === 'replied';
    if (!isFinished && route.endpoint !== undefined) {
      this.#failed = new Set([...this.#failed, route.endpoint]);
    }
    if (isFinished && stage.phase === 'deliver') {
      this.#chain.finished(clock.monotonicMs() - startedMs);
    }
    const verdict = this.#judge(egress, stage, outcome, target.url);
    this.#tell(egress, stage, { outcome, verdict, startedMs, dest: target.url, route });
    return this.#follow(egress, stage, verdict);
  }

  #attempt(
    egress: Egress,
    stage: Stage,
    target: Exclude<Target, { kind: 'ingress' }>,
  ): Promise<Routed> {
    const event = outgoing(egress, stage, this.#context.forSubscriber);
    const request = requestOf(egress, stage, { event, traceparent: this.#span?.traceparent });
    const run = {
      nextTurn: () => this.#nextTurn(stage),
      mayGoOn: () => this.#hold.isCurrent && !this.#hold.isStopping,
      onReroute: () => this.#context.observer.observe({ kind: 'rerouted', egress }),
    };
    return attempt(target, { egress, request, failed: this.#failed, run }, this.#context);
  }

  /** To a Broker or Channel of ours: no request, but the same door (C5). */
  async #hand(
    egress: Egress,
    stage: Stage,
    target: Extract<Target, { kind: 'ingress' }>,
  ): Promise<Stage | undefined> {
    const { clock } = this.#context;
    const startedMs = clock.monotonicMs();
    const ingress = this.#context.topology().ingresses.get(target.ingressId);
    this.#span = ingress && this.#context.tracer?.attempt(egress, stage, ingress);
    let code: ErrorCode = 'KNEAR_INGRESS_UNKNOWN';
    if (ingress) {
      const sent = outgoing(egress, stage, this.#context.forSubscriber);
      const admission = admit(ingress, sent, clock.nowMs());
      if (admission.kind === 'admitted') {
        const event = this.#span?.mark(admission.event) ?? admission.event;
        const hop = this.#hop({ egress, stage, ingress, event });
        if (hop) return hop;
        const output = { kind: 'event', ingressId: ingress.id, event } as const;
        const settled = await trySettle(this.#hold, [output]);
        if (settled === 'stale') return undefined;
        if (settled === 'taken') return this.#ended(egress, stage);
        code = settled;
      } else {
        code = admission.code;
      }
    }
    const outcome: Outcome = { kind: 'rejected', status: ERRORS[code].status };
    const verdict = withCode(this.#judge(egress, stage, outcome, target.url), code);
    this.#tell(egress, stage, { outcome, verdict, startedMs, dest: target.url });
    if (stage.phase === 'reply') {
      const durationMs = clock.monotonicMs() - startedMs;
      const refused = { kind: 'refused', code, status: ERRORS[code].status, durationMs } as const;
      this.#context.observer.observe({ ...refused, by: 'reply', ...(ingress && { ingress }) });
    }
    return isReplyOfBroker(egress, stage) && ERRORS[code].retryable && 'failure' in verdict
      ? this.#replyNotTaken(egress, stage, verdict.failure)
      : this.#follow(egress, stage, verdict);
  }

  /** Where the event goes on here, if it may (C1 to C10). */
  #hop({ egress, stage, ingress, event }: Handed): Stage | undefined {
    const { clock, observer } = this.#context;
    const hasRoom = this.#origin.mayWaitInMemory();
    const { phase } = stage;
    const next = this.#chain.next(this.#hold, { from: egress, phase, ingress, event, hasRoom });
    const told = { kind: 'hop', egress, ingress, event } as const;
    this.#span?.note({ hops: this.#chain.hops, hop: typeof next === 'string' ? next : 'taken' });
    if (typeof next === 'string') {
      observer.observe({ ...told, result: next });
      return undefined;
    }
    observer.observe({ ...told, result: 'taken', to: next.egressId });
    this.#span?.end(0);
    this.#chain.add(egress, stage.origin ?? stage.event, clock.nowMs());
    this.#origin.resize(this.#hold, event);
    this.#replies.release(event);
    this.#context = next;
    this.#turn = undefined;
    this.#failed = NO_ENDPOINTS;
    this.#patience = new Patience();
    const sinceMs = clock.monotonicMs();
    return { phase: 'deliver', attempt: 0, firstAtMs: clock.nowMs(), event, sinceMs };
  }

  /**
   * A Broker keeps the reply for a second; then the delivery has failed and the subscriber is asked again.
   * Source: Knative Eventing control-plane specification, "Event Delivery"; the reference retries the reply alone.
   */
  #replyNotTaken(egress: Egress, stage: Stage, failure: Failure): Next {
    if (!this.#hold.isCurrent) return undefined;
    if (this.#context.clock.monotonicMs() - stage.sinceMs < REPLY_PATIENCE_MS) {
      return this.#waitHere(stage, REPLY_RETRY_MS);
    }
    const asked = askedStage(stage, this.#context.clock.monotonicMs());
    const verdict = this.#judge(
      egress,
      asked,
      { kind: 'rejected', status: failure.status },
      failure.dest,
    );
    return this.#follow(egress, asked, withCode(verdict, failure.code));
  }

  #tell(egress: Egress, stage: Stage, what: Attempted): void {
    observeAttempt(this.#scope(egress, stage.event), stage, { ...what, span: this.#span });
  }

  // --- verdicts -------------------------------------------------------------------------------------------------------

  #judge(egress: Egress, stage: Stage, outcome: Outcome, dest: string): Verdict {
    return verdictOn(outcome, { egress, stage, dest, backoffMaxMs: this.#context.backoffMaxMs });
  }

  #follow(egress: Egress, stage: Stage, verdict: Verdict): Next {
    switch (verdict.kind) {
      case 'done':
        return this.#settleAndEnd(egress, stage);
      case 'reply':
        return this.#replied(egress, stage, verdict.event);
      case 'again':
      case 'wait':
      case 'exhausted':
        // D4
        if (!this.#hold.isCurrent || !this.#hold.delivery.isOpen) return undefined;
        if (verdict.kind === 'wait') return this.#waitForPayload(egress, stage);
        return verdict.kind === 'again'
          ? this.#wait(egress, failedStage(stage, verdict.failure), verdict.delayMs)
          : this.#exhausted(egress, stage, verdict.failure);
    }
  }

  #replied(egress: Egress, stage: Stage, reply: CloudEvent): Next {
    // Only a subscriber is asked for a reply; what a reply target or a dead letter sink says is ignored.
    if (stage.phase !== 'deliver' || !egress.reply) return this.#settleAndEnd(egress, stage);
    const traced = this.#span?.adopt(reply) ?? reply;
    return replyStage(egress.reply, stage, {
      reply: traced,
      sinceMs: this.#context.clock.monotonicMs(),
    });
  }

  /** K33: the store's trouble is not the subscriber's. */
  #waitForPayload(egress: Egress, stage: Stage): Next {
    // The stage as it is would go back as it came, and be offered again at once.
    return this.#wait(egress, { ...stage }, this.#patience.nextMs());
  }

  #wait(egress: Egress, next: Stage, delayMs: number): Next {
    // An ordered event keeps its place: its successors wait behind it.
    const isHere =
      egress.order === 'key' || (delayMs <= MEMORY_WAIT_MAX_MS && this.#origin.mayWaitInMemory());
    this.#context.observer.observe({
      kind: 'waiting',
      egress,
      event: next.origin ?? next.event,
      phase: next.phase,
      attempt: next.attempt,
      delayMs,
      where: isHere ? 'memory' : 'log',
    });
    return isHere
      ? this.#waitHere(next, delayMs)
      : this.#keep(next, this.#context.clock.nowMs() + delayMs);
  }

  async #waitHere(next: Stage, delayMs: number): Promise<Stage | undefined> {
    const dueAtMs = this.#context.clock.nowMs() + delayMs;
    await this.#hold.wait(delayMs);
    // A wait also ends when the egress is gone, or the dispatcher stops: then the rest of it is spent in the log.
    const isOver = !this.#hold.isStopping && this.#context.egress() !== undefined;
    return isOver ? next : this.#giveBack(next, dueAtMs);
  }

  #exhausted(egress: Egress, stage: Stage, failure: Failure): Next {
    const sinceMs = this.#context.clock.monotonicMs();
    const letter = deadLetterStage(egress, stage, { failure, sinceMs });
    if (letter) return letter;
    const event = stage.origin ?? stage.event;
    const why = stage.phase === 'dead-letter' ? (stage.lastFailure ?? failure) : failure;
    return this.#withoutSink(egress, event, why);
  }

  #withoutSink(egress: Egress, event: CloudEvent, failure: Failure): Next {
    const scope = this.#scope(egress, event);
    if (egress.exhausted === 'drop') return end(scope, 'dropped', { failure });
    const atMs = this.#context.clock.nowMs();
    const output = { kind: 'parked', event, failure, atMs, ...this.#whose() } as const;
    return end(scope, 'parked', { failure, outputs: [output] });
  }

  /** The resource was edited under the delivery: the address of this phase is not there any more. */
  #withoutTarget(egress: Egress, stage: Stage): Next {
    const isUndeliverable = stage.phase === 'dead-letter' && stage.lastFailure;
    return isUndeliverable
      ? this.#withoutSink(egress, stage.event, isUndeliverable)
      : this.#settleAndEnd(egress, stage);
  }

  #settleAndEnd(egress: Egress, stage: Stage): Next {
    const scope = this.#scope(egress, stage.origin ?? stage.event);
    return stage.phase === 'dead-letter'
      ? end(scope, 'dead-lettered', stage.lastFailure && { failure: stage.lastFailure })
      : end(scope, 'delivered');
  }

  #scope(egress: Egress, event: CloudEvent): EndingScope {
    return { hold: this.#hold, context: this.#context, egress, chain: this.#chain, event };
  }

  /** C3: Work and parked entries are of the egress that the event has come to. */
  #whose(): { readonly egressId?: string } {
    return this.#chain.hops > 0 ? { egressId: this.#context.egressId } : {};
  }

  #ended(egress: Egress, stage: Stage): undefined {
    this.#span?.end(0);
    const scope = this.#scope(egress, stage.origin ?? stage.event);
    if (stage.phase === 'dead-letter') observeEnd(scope, 'dead-lettered', stage.lastFailure);
    else observeEnd(scope, 'delivered');
  }

  /** Nothing more is tried here: back to the log, as it came or with what happened since. */
  #giveBack(stage: Stage, dueAtMs = this.#context.clock.nowMs()): Next {
    // An ordered event keeps its place, at the price of forgetting the attempts of this lease: as Work it would be
    // offered when that is durable, and its successors at once.
    const isKept = stage !== this.#first && (!this.#isOrdered || this.#chain.hops > 0);
    if (isKept) return this.#keep(stage, dueAtMs);
    this.#hold.delivery.release();
    return undefined;
  }

  async #keep(stage: Stage, dueAtMs: number): Promise<undefined> {
    const { phase, attempt, firstAtMs, lastFailure, event, origin } = stage;
    const work = { phase, attempt, firstAtMs, ...(lastFailure && { lastFailure }) };
    const settled = await trySettle(this.#hold, [
      { kind: 'work', work, event, dueAtMs, ...(origin && { origin }), ...this.#whose() },
    ]);
    if (settled !== 'taken') return;
    observeLinks({ context: this.#context, chain: this.#chain });
    if (!this.#context.egress()) this.#context.leftForGone();
  }

  /** A retry goes to the endpoint after the one before; the first attempt takes its turn among all events. */
  #nextTurn({ attempt }: Stage): number {
    if (this.#turn !== undefined) this.#turn += 1;
    else if (attempt === 0) this.#turn = this.#context.nextTurn();
    else this.#turn = this.#hold.delivery.position + attempt;
    return this.#turn;
  }
}
