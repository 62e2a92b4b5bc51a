/**
 * Plays steps on a `GroupedLog` and on the model at once, and compares after each: what the disk holds, what is offered,
 * the numbers, which promises are answered, and that the payload of all that is owed is there. Throws at the first
 * difference.
 */
import { strict as assert } from 'node:assert';

import { LEASE_MS } from '../../core/ports/event-log.ts';
import { payloadId } from '../../core/event.ts';
import type { CloudEvent } from '../../core/event.ts';
import type { Delivery } from '../../core/ports/event-log.ts';
import { compareAnswers, compareLag, compareParked } from './log-compare.ts';
import type { Promised } from './log-compare.ts';
import { labelOf, Model } from './log-model.ts';
import type { Token } from './log-model.ts';
import { ModelPayloads } from './log-payloads.ts';
import { fateOf, openStage, reopen } from './log-stage.ts';
import type { Fate, Stage } from './log-stage.ts';
import { Events, idOfEvent, leaveBehind, tokensFor } from './log-steps.ts';
import type { Step } from './log-steps.ts';
import { faultsOf, fillOf, labelsOf } from './log-tables.ts';

type StepOf<Kind extends Step['kind']> = Extract<Step, { kind: Kind }>;

/** Time passes in steps of this, so that what a timer starts can answer. */
const TIME_STEP_MS = 500;

export const EGRESSES = ['a', 'b', 'c'] as const;

interface Held {
  readonly delivery: Delivery;
  readonly token: Token;
}

interface Waiting {
  readonly egressId: string;
  readonly fate: Fate;
  readonly patience: AbortController;
}

export class World {
  readonly #model = new Model();
  readonly #limits: { readonly windowMax: number };
  #stage: Stage;
  #held: Held[] = [];
  #promised: Promised[] = [];
  #drops: { readonly egressId: string; readonly fate: Fate }[] = [];
  #isFailing = false;
  #knownCommit: unknown;
  readonly #events = new Events();
  readonly #payloads = new ModelPayloads();
  #redactions: Fate[] = [];
  /** Pulls that wait: what they have come to, and how to end them. */
  #waiting: Waiting[] = [];

  constructor({ windowMax }: { windowMax: number }) {
    this.#limits = { windowMax };
    const limits = this.#limits;
    this.#stage = this.#payloads.open((payloads) => openStage({ limits, payloads }));
  }

  async play(step: Step): Promise<void> {
    await this.#do(step);
    await this.#afterStep(step.kind);
  }

  /** Nothing is lost: all that is owed is offered once the disk works, and a log that is empty leaves nothing. */
  async end(): Promise<void> {
    for (const { patience } of this.#waiting) patience.abort();
    await this.#recover();
    for (let round = 0; this.#owed().length > 0; round += 1) {
      assert(round < 50, `never offered: ${this.#owed().map(labelOf).join(', ')}`);
      await this.#settleAll();
    }
    for (const egressId of EGRESSES) {
      await compareParked(this.#stage, this.#model.of(egressId), egressId);
    }
    for (const egressId of EGRESSES) await this.play({ kind: 'drop', egressId });
    await this.#recover();
    assert.deepEqual(fillOf(this.#stage.store), {}, 'an empty log has empty tables');
    for (const { fate } of this.#drops) assert.notEqual(fate.state, 'pending', 'a drop ends');
    assert.deepEqual([...this.#payloads.objects.keys()], [], 'an empty log needs no payloads');
    this.#payloads.checkCounted();
  }

  async #do(step: Step): Promise<void> {
    const { store, clock } = this.#stage;
    switch (step.kind) {
      case 'append':
        this.#append(step);
        return;
      case 'pull':
        await this.#pull(step);
        return;
      case 'wait':
        this.#wait(step);
        return;
      case 'settle':
        this.#settle(step);
        return;
      case 'release':
        this.#release(step.which);
        return;
      case 'extend':
        this.#extend(step.which);
        return;
      case 'advance':
        await this.#advance(step.ms);
        return;
      case 'turn':
        clock.flush();
        return;
      case 'pass':
        if (store.pending) this.#pass();
        return;
      case 'fail':
        if (store.pending) await this.#fail();
        return;
      case 'drop':
        await this.#drop(step.egressId);
        return;
      case 'replay':
      case 'discard':
        await this.#act(step);
        return;
      case 'redact':
        this.#redact(step.which);
        return;
      case 'crash':
        await this.#startNext();
        return;
      case 'restart':
        await this.#close();
        await this.#startNext();
        return;
    }
  }

  // --- the steps ------------------------------------------------------------------------------------------------------

  #append({ to, isHeld, isClaimed }: StepOf<'append'>): void {
    const events = to.map((ids) => {
      const data = isClaimed ? this.#events.newRef() : undefined;
      return this.#events.next(ids, { isHeld, data });
    });
    const isRefused = this.#isFailing;
    const tokens = isRefused ? [] : events.flatMap(tokensFor);
    const fate = this.#holding(events, () => this.#stage.log.append('orders', events));
    this.#model.add(tokens);
    this.#promised.push({
      what: `append of ${tokens.map(labelOf).join(', ')}`,
      fate,
      tokens,
      isRefused,
    });
  }

  #wait({ egressId, count }: StepOf<'wait'>): void {
    const patience = new AbortController();
    const fate = fateOf(this.#stage.log.pull(egressId, count, { signal: patience.signal }));
    this.#waiting.push({ egressId, fate, patience });
  }

  /** What waiting pulls were served with belongs to its holders from now on. */
  #collect(): void {
    const nowMs = this.#stage.clock.monotonicMs();
    for (const { fate } of this.#waiting) {
      assert.notEqual(fate.state, 'rejected', 'a pull that waits');
      // A pull resolves with deliveries, see `#wait`.
      for (const delivery of (fate.value ?? []) as Delivery[])
        this.#held.push(this.#hold(delivery, nowMs));
    }
    this.#waiting = this.#waiting.filter(({ fate }) => fate.state === 'pending');
  }

  async #pull({ egressId, count }: StepOf<'pull'>): Promise<Delivery[]> {
    const nowMs = this.#stage.clock.monotonicMs();
    const sureCount = this.#sureCount(egressId);
    const patience = new AbortController();
    const pulled = this.#stage.log.pull(egressId, count, { signal: patience.signal });
    await turn();
    patience.abort();
    const deliveries = await pulled;
    const least = this.#isFailing ? 0 : Math.min(count, sureCount);
    assert(deliveries.length >= least, `${egressId} gets ${deliveries.length}, not ${least}`);
    assert(!this.#isFailing || deliveries.length === 0, 'nothing is offered while the disk fails');
    assert(deliveries.length <= count, `${egressId} gets more than it asked for`);
    const positions = deliveries.map(({ position }) => position);
    assert.deepEqual(
      positions,
      positions.toSorted((one, other) => one - other),
      'in order',
    );
    for (const delivery of deliveries) this.#held.push(this.#hold(delivery, nowMs));
    return deliveries;
  }

  /** As many as a pull must find. L3: it may be content with one read, a quarter of the window; L7: held rows fill it. */
  #sureCount(egressId: string): number {
    const { windowMax } = this.#limits;
    const isAhead = this.#waiting.some((other) => other.egressId === egressId);
    if (isAhead) return 0;
    const waiting = this.#model.of(egressId);
    const heldCount = waiting.filter((one) => one.isHeld && !one.wasDurable).length;
    const sureCount = waiting.filter((one) => this.#isOfferable(one, 'surely')).length;
    const most = heldCount === 0 ? Math.ceil(windowMax / 4) : heldCount < windowMax ? 1 : 0;
    return Math.min(sureCount, most);
  }

  #hold(delivery: Delivery, nowMs: number): Held {
    const eventId = idOfEvent(delivery.event);
    const owed = this.#model
      .of(delivery.egressId)
      .find((one) => one.eventId === eventId && one.kind !== 'parked');
    assert(owed, `${delivery.egressId} gets ${eventId}, which it is not owed`);
    assert(this.#isOfferable(owed, 'maybe'), `${labelOf(owed)} is offered too early`);
    const { phase, attempt, origin } = delivery;
    const originId = origin && idOfEvent(origin);
    assert.equal(labelOf({ ...owed, phase, attempt, originId }), labelOf(owed), 'keeps its Work');
    owed.leases += 1;
    assert.equal(delivery.lease, owed.leases, `lease of ${labelOf(owed)}`);
    owed.leaseUntilMs = nowMs + LEASE_MS;
    return { delivery, token: owed };
  }

  #settle({ which, leave, to }: StepOf<'settle'>): void {
    const held = pick(this.#held, which);
    if (!held) return;
    const laterMs = this.#stage.clock.nowMs() + 20_000;
    const context = { delivery: held.delivery, events: this.#events, to, laterMs };
    const made = leave.map((one) => leaveBehind(one, context));
    const outputs = made.map(({ output }) => output);
    const events = outputs.map(({ event }) => event);
    const fate = this.#holding(events, () => held.delivery.settle(outputs));
    const isCounted = this.#model.live.has(held.token);
    const isRefused = isCounted && this.#isFailing && outputs.some(({ kind }) => kind === 'event');
    if (!isCounted || isRefused) {
      this.#promised.push({ what: 'settle without effect', fate, tokens: [], isRefused });
      return;
    }
    const tokens = made.flatMap((one) => one.tokens);
    this.#model.settle(held.token, tokens);
    this.#promised.push({ what: `settle of ${labelOf(held.token)}`, fate, tokens });
  }

  /** Whoever made the events holds their payloads until the log has answered. */
  #holding(events: readonly CloudEvent[], ask: () => Promise<unknown> | undefined): Fate {
    const letGo = this.#payloads.put(events);
    const asked = ask();
    if (asked) asked.then(letGo, letGo);
    else letGo();
    return fateOf(asked);
  }

  #redact(which: number): void {
    const { claims } = this.#stage.log;
    const claim = pick(claims.claims({ limit: 100 }), which);
    if (claim) this.#redactions.push(fateOf(claims.redact(payloadId(claim.ref))));
  }

  /** What is about to lapse is left alone: a lease ends up to a second late. */
  #release(which: number): void {
    const held = pick(this.#held, which);
    if (!held || this.#leaseOf(held.token) === 'lapsing') return;
    held.delivery.release();
    if (!this.#isHolder(held)) return;
    held.token.leaseUntilMs = 0;
    held.token.leases -= 1;
  }

  #extend(which: number): void {
    const held = pick(this.#held, which);
    if (!held || this.#leaseOf(held.token) === 'lapsing') return;
    held.delivery.extend();
    if (this.#isHolder(held)) held.token.leaseUntilMs = this.#stage.clock.monotonicMs() + LEASE_MS;
  }

  async #advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= TIME_STEP_MS) {
      this.#stage.clock.advance(Math.min(left, TIME_STEP_MS));
      await turn();
      this.#collect();
      this.#noticeCommit();
    }
  }

  #pass(): void {
    if (this.#isFailing) this.#isFailing = false;
    else this.#model.pass();
    this.#stage.store.pass();
  }

  async #fail(): Promise<void> {
    this.#stage.store.fail();
    await turn();
    // A probe that fails changes nothing.
    if (this.#isFailing) return;
    this.#isFailing = true;
    this.#model.fail();
    this.#checkAllAnswered();
  }

  async #drop(egressId: string): Promise<void> {
    const count = this.#model.drop(egressId);
    const fate = fateOf(
      this.#stage.log.drop(egressId).then((dropped) => {
        assert.equal(dropped, count, `drop of ${egressId}`);
      }),
    );
    this.#drops.push({ egressId, fate });
    await turn();
  }

  /** J1: a replay is a settle of the parked entry that leaves Work. */
  async #act({ kind, egressId, count }: StepOf<'replay' | 'discard'>): Promise<void> {
    const { log } = this.#stage;
    const entries = await log.parked(egressId, { limit: count });
    const positions = entries.map(({ position }) => position);
    const isReplay = kind === 'replay';
    const fate = fateOf(
      isReplay ? log.replay(egressId, positions) : log.dropParked(egressId, positions),
    );
    const isRefused = this.#isFailing;
    const tokens = isRefused ? [] : this.#model.act(egressId, entries.map(eventIdOf), isReplay);
    if (isReplay || isRefused) this.#promised.push({ what: kind, fate, tokens, isRefused });
  }

  async #close(): Promise<void> {
    const closed = fateOf(this.#stage.log.close());
    await turn();
    if (!this.#isFailing) this.#model.seal();
    while (this.#stage.store.pending && !this.#isFailing) {
      this.#stage.store.pass();
      await turn();
    }
    if (!this.#isFailing) this.#model.pass();
    assert.equal(closed.state, 'resolved', 'close ends');
    this.#checkAllAnswered();
    for (const { fate } of this.#drops) assert.notEqual(fate.state, 'pending', 'a drop ends');
  }

  async #startNext(): Promise<void> {
    const [stage, limits] = [this.#stage, this.#limits];
    this.#stage = this.#payloads.open((payloads) => reopen(stage, { limits, payloads }));
    await this.#payloads.recover();
    this.#model.crash();
    this.#held = [];
    this.#promised = [];
    this.#drops = [];
    this.#redactions = [];
    this.#waiting = [];
    this.#isFailing = false;
    this.#knownCommit = undefined;
    await turn();
    this.#compareDisk();
  }

  // --- what holds after each step -------------------------------------------------------------------------------------

  async #afterStep(kind: Step['kind']): Promise<void> {
    await turn();
    this.#collect();
    if (kind === 'pass') this.#compareDisk();
    this.#comparePayloads();
    this.#comparePromises();
    this.#compareWaiting();
    for (const egressId of EGRESSES) compareLag(this.#stage, this.#model.of(egressId), egressId);
    assert.deepEqual(this.#stage.log.egressIds().toSorted(), this.#model.egressIds().toSorted());
    this.#noticeCommit();
  }

  #noticeCommit(): void {
    const { pending } = this.#stage.store;
    if (pending && pending !== this.#knownCommit && !this.#isFailing) this.#model.seal();
    this.#knownCommit = pending;
  }

  #compareDisk(): void {
    const { store } = this.#stage;
    assert.deepEqual(faultsOf(store), []);
    // A drop that waits for a failing disk has not said that anything is gone, and a crash may undo it.
    const isDecided = (label: string) =>
      !this.#drops.some(
        ({ egressId, fate }) => fate.state === 'pending' && label.startsWith(`${egressId}:`),
      );
    assert.deepEqual(
      labelsOf(store).filter(isDecided),
      [...this.#model.durable].map(labelOf).filter(isDecided).toSorted(),
    );
  }

  #comparePayloads(): void {
    for (const one of this.#model.live) {
      for (const eventId of [one.eventId, one.originId ?? one.eventId]) {
        const id = this.#events.payloadOf(eventId);
        assert(!id || this.#payloads.objects.has(id), `the payload of ${labelOf(one)} is gone`);
      }
    }
  }

  #comparePromises(): void {
    const { durable } = this.#model;
    compareAnswers(this.#promised, { durable, isFailing: this.#isFailing });
    this.#promised = this.#promised.filter(({ fate }) => fate.state === 'pending');
  }

  /** A pull waits only while there is nothing that it must find. */
  #compareWaiting(): void {
    if (this.#isFailing) return;
    for (const { egressId } of this.#waiting) {
      const missed = this.#model.of(egressId).filter((one) => this.#isOfferable(one, 'surely'));
      const isBlocked = this.#model.of(egressId).some((one) => one.isHeld && !one.wasDurable);
      assert(
        isBlocked || missed.length === 0,
        `${egressId} waits beside ${missed.map(labelOf).join(', ')}`,
      );
    }
  }

  #checkAllAnswered(): void {
    for (const { what, fate } of this.#promised) {
      assert.notEqual(fate.state, 'pending', `never answered: ${what}`);
    }
    for (const fate of this.#redactions) assert.notEqual(fate.state, 'pending', 'a redaction');
    this.#redactions = [];
  }

  // --- the end --------------------------------------------------------------------------------------------------------

  #owed(): Token[] {
    return [...this.#model.live].filter(({ kind }) => kind !== 'parked');
  }

  async #recover(): Promise<void> {
    for (let quiet = 0; quiet < 3;) {
      quiet = this.#stage.store.pending || this.#isFailing ? 0 : quiet + 1;
      await this.play({ kind: 'pass' });
      await this.play({ kind: 'advance', ms: 500 });
    }
  }

  async #settleAll(): Promise<void> {
    await this.play({ kind: 'advance', ms: 16_500 });
    await this.#recover();
    for (const egressId of EGRESSES) {
      for (const delivery of await this.#pull({ kind: 'pull', egressId, count: 100 })) {
        const which = this.#held.findIndex((held) => held.delivery === delivery);
        await this.play({ kind: 'settle', which, leave: [], to: '' });
      }
    }
    await this.#recover();
  }

  // --- small things ---------------------------------------------------------------------------------------------------

  /** `surely`: a pull must find it; `maybe`: it may. They differ while a lease is running out and a timer is due. */
  #isOfferable(one: Token, how: 'surely' | 'maybe'): boolean {
    const lease = this.#leaseOf(one);
    if (lease === 'running' || (lease === 'lapsing' && how === 'surely')) return false;
    if (one.kind === 'deliver') return one.wasDurable || !one.isHeld;
    if (how === 'surely' || one.kind === 'parked') return false;
    return one.wasDurable && one.dueAtMs <= this.#stage.clock.nowMs();
  }

  #leaseOf({ leaseUntilMs }: Token): 'none' | 'running' | 'lapsing' {
    const overMs = this.#stage.clock.monotonicMs() - leaseUntilMs;
    if (leaseUntilMs === 0 || overMs >= 1_000) return 'none';
    // A pull that waited may have been served up to a step of time before that was seen.
    return overMs < -TIME_STEP_MS ? 'running' : 'lapsing';
  }

  /** Only the last one who was offered it may extend or release it. */
  #isHolder(held: Held): boolean {
    const { token: about } = held;
    const isLatest = this.#held.findLast((other) => other.token === about) === held;
    return isLatest && this.#model.live.has(about) && this.#leaseOf(about) === 'running';
  }
}

/** A turn of the event loop: every microtask has run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const eventIdOf = ({ event }: Pick<Delivery, 'event'>): string => idOfEvent(event);

function pick<Value>(values: readonly Value[], which: number): Value | undefined {
  return values[which % values.length];
}
