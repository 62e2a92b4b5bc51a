/**
 * One simulated run: real dispatch loops over the real grouped log, on a disk that fails, with subscribers that misbehave,
 * in a process that is killed and frozen. First with faults; then without, until everything has settled.
 *
 * What must hold, whatever the seed:
 * W1 No event whose producer got its 202 is lost: for each egress that matched, the subscriber took it (and every reply it
 *    gave arrived in turn), or the dead letter sink did, or it is parked, or it ended as filtered, or its egress is gone.
 * W2 Without crash, lapsed lease, failed commit or lost acknowledgement each delivery ends exactly once, and whatever a
 *    subscriber took has ended.
 * W3 Bounds are kept: open deliveries, one commit at a time (in `disk.ts`).
 * W4 When all is quiet nothing is held: slots, open deliveries, leases.
 * W5 When all is quiet the tables agree: references, counts and bytes are those of the rows, and no record is left that
 *    nobody needs.
 * W7 The log fails only when the disk does: an assertion of ours that fails in a commit is found here.
 * W6 First deliveries of one key to an ordered egress are in the order of the log, as long as leases are kept.
 * W8 As long as somebody may deliver an event, its payload can be read, unless it was taken away on purpose.
 * W9 An event whose payload was lost, altered or redacted on purpose ends as dead-lettered or parked with that code, and no
 *    other event does; the dead letter has no data then, and otherwise all of it.
 * W10 A payload store that is away costs no attempt.
 * W11 When all is quiet the payload store holds what records name, nothing else, and that is what is counted.
 * W12 A subscriber gets only what has come to its ingress and was for it.
 *
 * In half of the worlds there are local hops: what a hop has decided counts as if the event had come to its ingress through
 * the log, and the promises of `dispatcher/chain.ts` are looked after by `hop-watch.ts`.
 */
import { strict as assert } from 'node:assert';

import type { CloudEvent } from '../../core/event.ts';
import type { Delivery, Match, MatchResult } from '../../core/ports/event-log.ts';
import type { Happening } from '../../core/ports/observer.ts';
import { compileMatch } from '../../core/rules/match.ts';
import type { Egress, Topology } from '../../core/topology.ts';
import { Chronicle } from './chronicle.ts';
import { SimulatedDisk } from './disk.ts';
import { NO_FAULTS, type Faults } from './faults.ts';
import { ServerHabits } from './habits.ts';
import { HopWatch } from './hop-watch.ts';
import { Misfortunes } from './misfortunes.ts';
import { SimulatedPayloads } from './payload-disk.ts';
import { PayloadWatch } from './payload-watch.ts';
import { DRAIN_MS, startProcess, type Process } from './process.ts';
import { SeededRandom } from './random.ts';
import { idOf, sceneryWithHops, sceneryWithoutHops, topologyOf, type Scenery } from './scenery.ts';
import { Senders } from './senders.ts';
import { Subscribers } from './subscribers.ts';
import { checkTables } from './tables.ts';
import { Timeline, type ProcessClock } from './timeline.ts';

/** To remove what is left, one after the other, and to close. */
const DONE_MAX_MS = 60_000;
/** Other seeds, so that payloads and hops draw from lots of their own. */
const PAYLOADS_SEED = 0x5eed;
const HOPS_SEED = 0x40b5;
/** A dozen claimed deliveries fill it. */
const OPEN_BYTES_MAX = 3 * 1024 * 1024;
/** Virtual time with faults, and the longest it may take to settle afterwards. */
const FAULTS_MS = 40_000;
/** Half a day: the wall clock may have jumped back by an hour several times, and delays stretch by as much. */
const SETTLE_MAX_MS = 12 * 3_600_000;
/** A hundred times what a world needs: something goes round for ever. */
const STEPS_MAX = 2_000_000;

export interface RunOptions {
  readonly seed: number;
  readonly faults: Faults;
  readonly producers: number;
  /** A second: somebody else pulls from the log and never settles, settles late, or settles twice. */
  readonly rogues: number;
  /** Of the events and replies: the payload store keeps their data. */
  readonly claims: number;
  /** There are local hops, and a line of steps for them. */
  readonly hasHops: boolean;
  /** The log behaves as one on a server does, and loses so many acknowledgements. */
  readonly habits?: { readonly lostAcks: number };
}

export interface RunResult {
  readonly seed: number;
  readonly steps: number;
  readonly accepted: number;
  readonly refused: number;
  readonly kills: number;
  readonly stops: number;
  readonly commits: number;
  readonly failedCommits: number;
  readonly leftOut: number;
  readonly duplicates: number;
  readonly replayed: number;
  /** Local hops, and how many times an event was appended instead, by reason. */
  readonly hops: number;
  readonly hopRefusals: Readonly<Record<string, number>>;
  /** Payloads that were put; of them lost, altered or redacted on purpose. */
  readonly payloads: number;
  readonly spoilt: number;
  /** Removals that failed; attempts that the payload store did not allow. */
  readonly failedRemovals: number;
  readonly stalls: number;
  readonly ends: Readonly<Record<string, number>>;
}

/** Runs one world to its end. @throws AssertionError naming what was broken; the seed repeats it. */
export async function runWorld(options: RunOptions): Promise<RunResult> {
  const world = new World(options);
  await world.run();
  return world.result();
}

class World {
  readonly #options: RunOptions;
  readonly #random: SeededRandom;
  readonly #timeline: Timeline;
  readonly #scenery: Scenery;
  readonly #disk: SimulatedDisk;
  readonly #payloads: SimulatedPayloads;
  readonly #watch: PayloadWatch;
  readonly #hopWatch: HopWatch;
  readonly #chronicle: Chronicle;
  readonly #subscribers: Subscribers;
  readonly #senders: Senders;
  readonly #misfortunes: Misfortunes;
  readonly #habits: ServerHabits | undefined;
  #faults: Faults;
  #process: Process | undefined;
  readonly #stopping = new WeakSet<Process>();
  #topology: Topology;
  #match: Match;
  readonly #changed = new Map<string, Egress | undefined>();
  /** Id of an event or reply -> its data is large. */
  readonly #large = new Map<string, boolean>();
  readonly #hopRefusals: Record<string, number> = {};
  #kills = 0;
  #stops = 0;
  #commits = 0;
  #failedCommits = 0;
  #leftOut = 0;
  #logFailures = 0;
  #bug: unknown;

  constructor(options: RunOptions) {
    const { seed, habits, hasHops } = options;
    this.#options = options;
    this.#random = new SeededRandom(seed);
    // Chance of its own, so that the world without it stays as it is.
    this.#habits = habits && new ServerHabits(new SeededRandom(~seed), habits.lostAcks);
    const lots = new SeededRandom(seed ^ HOPS_SEED);
    this.#scenery = hasHops ? sceneryWithHops(lots) : sceneryWithoutHops();
    this.#timeline = new Timeline(this.#random);
    this.#faults = options.faults;
    const faults = () => this.#faults;
    this.#disk = new SimulatedDisk(this.#random, faults);
    this.#payloads = new SimulatedPayloads(new SeededRandom(seed ^ PAYLOADS_SEED), faults);
    this.#watch = new PayloadWatch(this.#payloads, { isLeaseKept: this.#isLeaseKept() });
    this.#topology = topologyOf(this.#scenery, 1, this.#changed);
    this.#match = compileMatch(this.#topology);
    const isHeldByOne = this.#isLeaseKept() && !habits?.lostAcks;
    this.#chronicle = new Chronicle(this.#scenery, { isHeldByOne });
    this.#hopWatch = new HopWatch(this.#scenery, {
      resources: () => ({ topology: this.#topology, match: this.#match }),
      isHeldByOne,
      isCalm: this.#isCalm(),
      isWallSteady: options.faults.jumps === 0,
    });
    this.#subscribers = new Subscribers(this.#shared());
    this.#senders = new Senders({ ...this.#shared(), lots, subscribers: this.#subscribers });
    this.#misfortunes = new Misfortunes({
      ...this.#shared(),
      lots,
      subscribers: this.#subscribers,
      rogues: options.rogues,
      changed: this.#changed,
      start: () => this.#start(),
      kill: () => this.#kill(),
      stop: () => this.#stop(),
      apply: () => this.#apply(),
      replayed: (egressId, entries) => {
        for (const { event } of entries) {
          this.#chronicle.replayed(egressId, event);
          this.#hopWatch.replayed(egressId, event);
        }
      },
    });
  }

  /** What the people around the process and its misfortunes have in common. */
  #shared() {
    return {
      scenery: this.#scenery,
      random: this.#random,
      timeline: this.#timeline,
      payloads: this.#payloads,
      chronicle: this.#chronicle,
      watch: this.#watch,
      hopWatch: this.#hopWatch,
      untilMs: FAULTS_MS,
      faults: () => this.#faults,
      process: () => this.#process,
      topology: () => this.#topology,
      isLarge: (event: CloudEvent) => this.#isLarge(event),
      onBug: (error: unknown) => this.#onBug(error),
    };
  }

  async run(): Promise<void> {
    this.#start();
    for (let producer = 0; producer < this.#options.producers; producer += 1)
      this.#senders.start(producer);
    this.#misfortunes.look();
    await this.#runUntil(FAULTS_MS);
    this.#faults = NO_FAULTS;
    this.#payloads.comeBack();
    if (!this.#process) this.#start();
    this.#changed.clear();
    this.#apply();
    for (let untilMs = FAULTS_MS; untilMs < SETTLE_MAX_MS && !this.#isQuiet(); untilMs += 5_000) {
      await this.#runUntil(untilMs + 5_000);
    }
    await this.#runUntil(this.#timeline.nowMs + 20_000);
    await this.#checkAtTheEnd();
  }

  result(): RunResult {
    return {
      seed: this.#options.seed,
      steps: this.#timeline.steps,
      accepted: this.#chronicle.accepted,
      refused: this.#senders.refused,
      kills: this.#kills,
      stops: this.#stops,
      commits: this.#commits,
      failedCommits: this.#failedCommits,
      leftOut: this.#leftOut,
      duplicates: this.#chronicle.duplicates,
      replayed: this.#misfortunes.replays,
      hops: this.#hopWatch.taken,
      hopRefusals: this.#hopRefusals,
      payloads: this.#payloads.made,
      spoilt: this.#payloads.spoilt.size,
      failedRemovals: this.#payloads.failedRemovals,
      stalls: this.#watch.stalls,
      ends: this.#chronicle.endCounts,
    };
  }

  // --- the process ----------------------------------------------------------------------------------------------------

  #start(): void {
    this.#hopWatch.forget();
    this.#process = startProcess({
      timeline: this.#timeline,
      disk: this.#disk,
      payloads: this.#payloads,
      habits: this.#habits,
      slotsMax: this.#scenery.slotsMax,
      open: { countMax: this.#scenery.openMax, bytesMax: OPEN_BYTES_MAX },
      topology: () => this.#topology,
      match: (ingressId, event) => this.#match(ingressId, event),
      matchToKeep: (ingressId, event) => this.#matchToKeep(ingressId, event),
      observe: (happening, clock) => this.#observe(happening, clock),
      offered: (deliveries, clock) => this.#offered(deliveries, clock),
      deliver: (holder, request) => this.#subscribers.deliver(holder, request),
      onBug: (error) => this.#onBug(error),
    });
  }

  #kill(): void {
    const { clock, disk, keeper } = this.#process ?? {};
    clock?.kill();
    disk?.crash();
    keeper?.crash();
    this.#countCommits();
    this.#process = undefined;
    this.#kills += 1;
  }

  /** In good order: the dispatcher, then the log. It may be killed on the way. */
  async #stop(): Promise<void> {
    const process = this.#process;
    if (!process || this.#stopping.has(process)) return;
    this.#stopping.add(process);
    await process.dispatcher.stop(DRAIN_MS);
    if (!process.clock.isAlive) return;
    await process.log.close();
    if (!process.clock.isAlive) return;
    this.#kill();
    this.#kills -= 1;
    this.#stops += 1;
  }

  #countCommits(): void {
    this.#commits += this.#process?.disk.commits ?? 0;
    this.#failedCommits += this.#process?.disk.failures ?? 0;
  }

  #matchToKeep(ingressId: string, event: CloudEvent): MatchResult {
    const matched = this.#match(ingressId, event);
    const { egressIds } = matched;
    this.#chronicle.entered(ingressId, event, { egressIds, isHop: false });
    this.#hopWatch.entered(event, egressIds);
    return this.#habits ? { ...matched, isEarly: false } : matched;
  }

  #offered(deliveries: readonly Delivery[], clock: ProcessClock): Delivery[] {
    this.#watch.offered(deliveries);
    return this.#hopWatch.offered(deliveries, clock);
  }

  #observe(happening: Happening, clock: ProcessClock): void {
    if (!clock.isAlive) return;
    this.#watch.observe(happening);
    this.#hopWatch.observe(happening, clock);
    this.#chronicle.observe(happening);
    if (happening.kind === 'committed') this.#leftOut += happening.leftOut;
    if (happening.kind === 'log-state' && !happening.isAccepting) this.#logFailures += 1;
    if (happening.kind !== 'hop') return;
    const { result, ingress, event } = happening;
    if (result === 'taken') {
      const { egressIds } = this.#match(ingress.id, event);
      this.#chronicle.entered(ingress.id, event, { egressIds, isHop: true });
    } else {
      this.#hopRefusals[result] = (this.#hopRefusals[result] ?? 0) + 1;
    }
  }

  /** The same whenever it is asked. */
  #isLarge(event: CloudEvent): boolean {
    const id = idOf(event);
    const known = this.#large.get(id) ?? this.#payloads.random.chance(this.#options.claims);
    this.#large.set(id, known);
    return known;
  }

  #apply(): void {
    this.#topology = topologyOf(this.#scenery, this.#topology.revision + 1, this.#changed);
    this.#match = compileMatch(this.#topology);
    this.#process?.dispatcher.apply(this.#topology);
  }

  #onBug(error: unknown): void {
    this.#bug ??= error;
  }

  // --- the end --------------------------------------------------------------------------------------------------------

  async #runUntil(untilMs: number): Promise<void> {
    while (this.#timeline.nowMs < untilMs) {
      await this.#timeline.runUntil(Math.min(untilMs, this.#timeline.nowMs + 100));
      assert.ifError(
        this.#bug ?? this.#watch.broken ?? this.#hopWatch.broken ?? this.#chronicle.broken,
      );
      // W3
      const open = this.#process?.dispatcher.open ?? 0;
      assert(open <= this.#scenery.openMax, 'W3: too many open deliveries');
      assert(this.#timeline.steps < STEPS_MAX, 'it does not come to an end');
    }
  }

  #isQuiet(): boolean {
    const { log } = this.#process ?? {};
    if (this.#senders.unsent > 0) return false;
    return this.#scenery.egresses.every(({ id }) => {
      const { ready, delayed } = log?.lag(id) ?? { ready: 1, delayed: 0 };
      return ready + delayed === 0;
    });
  }

  async #checkAtTheEnd(): Promise<void> {
    const process = this.#process;
    assert(process, 'the process runs');
    const ids = this.#scenery.egresses.map(({ id }) => id);
    const lags = ids.map((id) => `${id} ${JSON.stringify(process.log.lag(id))}`);
    assert(this.#isQuiet(), `not everything settled: ${lags.join(', ')}`);
    this.#checkNothingHeld(process);
    const parked = new Set<string>();
    for (const id of ids) {
      for (const { event } of await process.log.parked(id, { limit: 10_000 })) {
        parked.add(`${id}|${idOf(event)}`);
      }
    }
    this.#chronicle.checkNothingLost(parked);
    const diskFailures = this.#failedCommitsSoFar();
    assert(this.#logFailures <= diskFailures, 'W7: the log failed though the disk did not');
    if (this.#isCalm()) this.#chronicle.checkOnce();
    if (this.#isLeaseKept() && this.#failedCommitsSoFar() === 0) this.#chronicle.checkOrder();
    await this.#while(process.keeper.sweep());
    this.#watch.checkAtTheEnd(process.keeper, process.log.claims);
    await this.#while(process.log.close());
    this.#countCommits();
    checkTables(this.#disk.rows);
  }

  /** Time passes until it is done. */
  async #while(work: Promise<void>): Promise<void> {
    let isDone = false;
    const done = work.finally(() => (isDone = true));
    const untilMs = this.#timeline.nowMs + DONE_MAX_MS;
    while (!isDone && this.#timeline.nowMs < untilMs)
      await this.#runUntil(this.#timeline.nowMs + 1_000);
    assert(isDone, 'what is to end does not');
    await done;
  }

  /** W4 */
  #checkNothingHeld({ dispatcher }: Process): void {
    assert.equal(dispatcher.open, 0, 'W4: an open delivery is left');
    assert.equal(dispatcher.openBytes, 0, 'W4: bytes of open deliveries are left');
    for (const { id, slots } of dispatcher.loops()) {
      assert.equal(slots.inUse, 0, `W4: a slot of ${id} is left in use`);
      assert.equal(slots.waiting, 0, `W4: somebody waits for a slot of ${id}`);
    }
  }

  /** Nothing makes a delivery that was answered come again. */
  #isCalm(): boolean {
    const { faults, rogues, habits } = this.#options;
    const { kills, freezes, commitFails } = faults;
    return kills + freezes + commitFails + rogues + (habits?.lostAcks ?? 0) === 0;
  }

  /** Whoever holds a delivery past its lease may deliver it beside its successors. */
  #isLeaseKept(): boolean {
    return this.#options.faults.freezes + this.#options.rogues === 0;
  }

  #failedCommitsSoFar(): number {
    return this.#failedCommits + (this.#process?.disk.failures ?? 0);
  }
}
