/**
 * One simulated run: real dispatch loops over the real grouped log, on a disk that fails, with subscribers that misbehave,
 * in a process that is killed and frozen. First with faults; then without, until everything has settled.
 *
 * What must hold, whatever the seed:
 * W1 No event whose producer got its 202 is lost: for each egress that matched, the subscriber took it (and every reply it
 *    gave arrived in turn), or the dead letter sink did, or it is parked, or it ended as filtered, or its egress is gone.
 * W2 Without crash, lapsed lease, failed commit or lost acknowledgement each delivery ends exactly once.
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
 */
import { strict as assert } from 'node:assert';

import { GroupedLog } from '../../broker/log/grouped-log.ts';
import { codeOf } from '../../core/errors.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import type { DeliveryRequest, Outcome } from '../../core/ports/deliverer.ts';
import type { Delivery, EventLog, Match, ParkedEntry } from '../../core/ports/event-log.ts';
import type { Happening } from '../../core/ports/observer.ts';
import { admit } from '../../core/rules/admit.ts';
import { compileMatch } from '../../core/rules/match.ts';
import type { Egress, Topology } from '../../core/topology.ts';
import { Dispatcher } from '../../dispatcher/dispatcher.ts';
import { withPull } from '../fakes/wrapped-log.ts';
import { ServerHabits } from './habits.ts';
import { SimulatedDisk } from './disk.ts';
import type { MountedDisk } from './disk.ts';
import { NO_FAULTS } from './faults.ts';
import type { Faults } from './faults.ts';
import { SimulatedPayloads } from './payload-disk.ts';
import { SimulatedKeeper } from './payload-keeper.ts';
import { PayloadWatch } from './payload-watch.ts';
import { SeededRandom } from './random.ts';
import { EGRESSES, idOf, LISTENING, makeEvent, REPLYING, scenery } from './scenery.ts';
import { checkTables } from './tables.ts';
import { ProcessClock, Timeline } from './timeline.ts';

const OPEN_MAX = 24;
/** Parked entries are replayed so often a second. */
const REPLAYS = 0.5;
/** As many at once. */
const REPLAY_MAX = 5;
/** And payloads swept. */
const SWEEPS = 0.2;
const STORE_AWAY_MAX_MS = 10_000;
/** To remove what is left, one after the other, and to close. */
const DONE_MAX_MS = 60_000;
/** Another seed, so that payloads draw from lots of their own. */
const PAYLOADS_SEED = 0x5eed;
/** A dozen claimed deliveries fill it. */
const OPEN_BYTES_MAX = 3 * 1024 * 1024;
/** Virtual time with faults, and the longest it may take to settle afterwards. */
const FAULTS_MS = 40_000;
/** Half a day: the wall clock may have jumped back by an hour several times, and delays stretch by as much. */
const SETTLE_MAX_MS = 12 * 3_600_000;

export interface RunOptions {
  readonly seed: number;
  readonly faults: Faults;
  readonly producers: number;
  /** A second: somebody else pulls from the log and never settles, settles late, or settles twice. */
  readonly rogues: number;
  /** Of the events and replies: the payload store keeps their data. */
  readonly claims: number;
  /** The log behaves as one on a server does, and loses so many acknowledgements. */
  readonly habits?: { readonly lostAcks: number };
}

export interface RunResult {
  readonly seed: number;
  readonly steps: number;
  readonly accepted: number;
  readonly refused: number;
  readonly kills: number;
  readonly commits: number;
  readonly failedCommits: number;
  readonly leftOut: number;
  readonly duplicates: number;
  readonly replayed: number;
  /** Payloads that were put; of them lost, altered or redacted on purpose. */
  readonly payloads: number;
  readonly spoilt: number;
  /** Removals that failed; attempts that the payload store did not allow. */
  readonly failedRemovals: number;
  readonly stalls: number;
  readonly ends: Readonly<Record<string, number>>;
}

interface Process {
  readonly clock: ProcessClock;
  readonly disk: MountedDisk;
  readonly log: GroupedLog;
  /** The same, with somebody who looks at what it offers. */
  readonly watched: EventLog;
  readonly keeper: SimulatedKeeper;
  readonly dispatcher: Dispatcher;
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
  readonly #disk: SimulatedDisk;
  readonly #payloads: SimulatedPayloads;
  readonly #watch: PayloadWatch;
  #faults: Faults;
  #process: Process | undefined;
  #habits: ServerHabits | undefined;
  #topology: Topology;
  #match: Match;
  readonly #changed = new Map<string, Egress | undefined>();

  /** Ids of events whose append resolved. */
  readonly #acknowledged = new Set<string>();
  /** `ingress|event` -> egresses that matched when it last entered the log. */
  readonly #matched = new Map<string, readonly string[]>();
  /** `egress|event` -> what became of it, as seen from outside. */
  readonly #takes = new Map<string, { reply: string | undefined; times: number }>();
  readonly #repliesOutside = new Set<string>();
  readonly #rescued = new Set<string>();
  readonly #exempt = new Set<string>();
  readonly #deadLettered = new Set<string>();
  readonly #ends = new Map<string, number>();
  readonly #endCounts: Record<string, number> = {};
  readonly #orderOfKey = new Map<string, string[]>();
  readonly #firstTaken = new Map<string, string[]>();
  /** Id of an event or reply -> its data is large. */
  readonly #large = new Map<string, boolean>();
  #unsent = 0;
  #refused = 0;
  #kills = 0;
  #commits = 0;
  #failedCommits = 0;
  #leftOut = 0;
  #rogueLeases = 0;
  #replayed = 0;
  #logFailures = 0;
  #bug: unknown;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    // Chance of its own, so that the world without it stays as it is.
    if (options.habits) {
      this.#habits = new ServerHabits(new SeededRandom(~options.seed), options.habits.lostAcks);
    }
    this.#timeline = new Timeline(this.#random);
    this.#faults = options.faults;
    this.#disk = new SimulatedDisk(this.#random, () => this.#faults);
    const lots = new SeededRandom(options.seed ^ PAYLOADS_SEED);
    this.#payloads = new SimulatedPayloads(lots, () => this.#faults);
    this.#watch = new PayloadWatch(this.#payloads, { isLeaseKept: this.#isLeaseKept() });
    this.#topology = scenery(1, this.#changed);
    this.#match = compileMatch(this.#topology);
  }

  async run(): Promise<void> {
    this.#start();
    for (let producer = 0; producer < this.#options.producers; producer += 1)
      this.#produce(producer);
    this.#look();
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
    const duplicates = [...this.#takes.values()].reduce((sum, { times }) => sum + times - 1, 0);
    return {
      seed: this.#options.seed,
      steps: this.#timeline.steps,
      accepted: this.#acknowledged.size,
      refused: this.#refused,
      kills: this.#kills,
      commits: this.#commits,
      failedCommits: this.#failedCommits,
      leftOut: this.#leftOut,
      duplicates,
      replayed: this.#replayed,
      payloads: this.#payloads.made,
      spoilt: this.#payloads.spoilt.size,
      failedRemovals: this.#payloads.failedRemovals,
      stalls: this.#watch.stalls,
      ends: this.#endCounts,
    };
  }

  // --- the process ----------------------------------------------------------------------------------------------------

  #start(): void {
    const clock = new ProcessClock(this.#timeline);
    const disk = this.#disk.mount(clock);
    const observer = { observe: (happening: Happening) => this.#observe(clock, happening) };
    const onBug = (error: unknown) => this.#onBug(error);
    const keeper = new SimulatedKeeper(this.#payloads, { clock, ledger: () => log.claims, onBug });
    const log = GroupedLog.open({
      store: disk,
      payloads: keeper.holders,
      clock,
      observer,
      match: (ingressId, event) => this.#matchAndRemember(ingressId, event),
      limits: {
        sizeMaxBytes: 1e9,
        quotaBytes: 1e9,
        reserveBytes: 0,
        // Small, so that queues outgrow it all the time and reads from the disk are as common as hand-overs.
        windowMax: 8,
        parkedMax: 10_000,
        parkedBytesMax: 1e9,
        parkedAgeMs: 1e9,
      },
    });
    keeper.start();
    const given = this.#habits?.of(log) ?? log;
    const watched = withPull(given, (own, ...call) => {
      const pulling = own(...call);
      pulling.then(
        (deliveries) => this.#watch.offered(deliveries),
        () => undefined,
      );
      return pulling;
    });
    const dispatcher = new Dispatcher(this.#topology, {
      log: watched,
      match: (ingressId, event) => this.#match(ingressId, event),
      observer,
      clock,
      deliverer: {
        deliver: (request) => this.#deliver({ clock, keeper }, request),
        close: () => Promise.resolve(),
      },
      payloads: keeper,
      slotsMax: 8,
      backoffMaxMs: 60_000,
      goneAfterMs: 20_000,
      open: { countMax: OPEN_MAX, bytesMax: OPEN_BYTES_MAX },
      isBusy: () => false,
      onBug,
    });
    this.#process = { clock, disk, log, watched, keeper, dispatcher };
    dispatcher.apply(this.#topology);
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

  #countCommits(): void {
    this.#commits += this.#process?.disk.commits ?? 0;
    this.#failedCommits += this.#process?.disk.failures ?? 0;
  }

  #matchAndRemember(ingressId: string, event: CloudEvent) {
    const matched = this.#match(ingressId, event);
    const result = this.#habits ? { ...matched, isEarly: false } : matched;
    this.#matched.set(`${ingressId}|${idOf(event)}`, result.egressIds);
    if (result.egressIds.includes('ordered')) {
      listOf(this.#orderOfKey, keyOf(event)).push(idOf(event));
    }
    return result;
  }

  #observe(clock: ProcessClock, happening: Happening): void {
    if (!clock.isAlive) return;
    this.#watch.observe(happening);
    if (happening.kind === 'committed') this.#leftOut += happening.leftOut;
    if (happening.kind === 'log-state' && !happening.isAccepting) this.#logFailures += 1;
    if (happening.kind === 'discarded') this.#exempt.add(happening.egressId);
    if (happening.kind !== 'ended') return;
    const { egress, event, end } = happening;
    const key = `${egress.id}|${idOf(event)}`;
    this.#ends.set(key, (this.#ends.get(key) ?? 0) + 1);
    this.#endCounts[end] = (this.#endCounts[end] ?? 0) + 1;
    if (end === 'dead-lettered') this.#deadLettered.add(key);
    if (end === 'filtered' || end === 'dropped' || end === 'gone') this.#rescued.add(key);
  }

  // --- the people around it -------------------------------------------------------------------------------------------

  #produce(producer: number): void {
    let count = 0;
    const next = () => {
      if (this.#timeline.nowMs >= FAULTS_MS) return;
      count += 1;
      const id = `${producer}.${count}`;
      const type = this.#random.pick(['order.a', 'order.b', 'order.c', 'other']);
      this.#unsent += 1;
      this.#send(makeEvent(id, type, `key-${this.#random.below(3)}`));
      this.#timeline.at(this.#random.between(0, 400), next);
    };
    next();
  }

  /** Until it is acknowledged: a producer that is refused, or whose connection breaks, sends again. */
  #send(event: CloudEvent): void {
    const again = () => {
      this.#timeline.at(this.#random.between(50, 500), () => this.#send(event));
    };
    const { log, clock, keeper } = this.#process ?? {};
    const ingress = this.#topology.ingresses.get('broker');
    if (!log || !clock || !keeper || !ingress) {
      again();
      return;
    }
    let isAnswered = false;
    const answered = (isAcknowledged: boolean) => {
      if (isAnswered) return;
      isAnswered = true;
      if (isAcknowledged) {
        this.#acknowledged.add(idOf(event));
        this.#unsent -= 1;
      } else {
        this.#refused += 1;
        again();
      }
    };
    const append = (data = event.data) => {
      const admission = admit(ingress, { ...event, data }, clock.nowMs());
      assert(admission.kind === 'admitted');
      return log.append(ingress.id, [admission.event]).then(
        () => {
          answered(true);
        },
        () => {
          answered(false);
        },
      );
    };
    if (this.#isLarge(event)) void this.#claim(keeper, { append, answered });
    else void append();
    const watch = () => {
      if (isAnswered) return;
      if (clock.isAlive) this.#timeline.at(500, watch);
      else answered(false);
    };
    this.#timeline.at(500, watch);
  }

  /** The payload, then the record, then the answer; the log answers for the payload when the record is kept, or nobody. */
  async #claim(
    keeper: SimulatedKeeper,
    {
      append,
      answered,
    }: {
      readonly append: (data: PayloadRef) => Promise<void>;
      readonly answered: (isAcknowledged: boolean) => void;
    },
  ): Promise<void> {
    const ref = await this.#keep(keeper);
    if (!ref) {
      answered(false);
      return;
    }
    try {
      await append(ref);
    } catch (error) {
      this.#onBug(error);
    }
    keeper.release(ref);
  }

  /** `undefined`: the store could not. */
  async #keep(keeper: SimulatedKeeper): Promise<PayloadRef | undefined> {
    try {
      return await keeper.keep();
    } catch (error) {
      if (codeOf(error) !== 'KNEAR_PAYLOAD_STORE_AWAY') this.#onBug(error);
      return undefined;
    }
  }

  /** The same whenever it is asked. */
  #isLarge(event: CloudEvent): boolean {
    const id = idOf(event);
    const known = this.#large.get(id) ?? this.#payloads.random.chance(this.#options.claims);
    this.#large.set(id, known);
    return known;
  }

  #deliver({ clock, keeper }: Pick<Process, 'clock' | 'keeper'>, request: DeliveryRequest) {
    const egressId = egressOf(request);
    const unread = this.#watch.read(request, egressId, keeper);
    if (unread) {
      const { random } = this.#payloads;
      return new Promise<Outcome>((resolve) => {
        clock.after(random.between(0.1, 3), () => resolve(unread), random);
      });
    }
    return this.#attempt(clock, request).then((outcome) => {
      if (outcome.kind !== 'unreachable') this.#watch.sent(request, egressId);
      const isClaimed = outcome.kind === 'replied' && this.#isLarge(outcome.event);
      return isClaimed ? this.#claimReply(keeper, outcome) : outcome;
    });
  }

  async #claimReply(
    keeper: SimulatedKeeper,
    outcome: Extract<Outcome, { kind: 'replied' }>,
  ): Promise<Outcome> {
    const data = await this.#keep(keeper);
    return data
      ? { ...outcome, event: { ...outcome.event, data } }
      : { kind: 'payload', code: 'KNEAR_PAYLOAD_STORE_AWAY', detail: 'the reply is not kept' };
  }

  #attempt(clock: ProcessClock, request: DeliveryRequest): Promise<Outcome> {
    const { rejects, resets, hangs, nonsense, slow } = this.#faults;
    const dice = this.#random.next();
    const isSlow = this.#random.chance(slow);
    const delayMs = isSlow ? this.#random.between(500, 2_900) : this.#random.between(0.1, 3);
    const answer = (outcome: Outcome, afterMs = delayMs) =>
      new Promise<Outcome>((resolve) => {
        clock.after(afterMs, () => {
          resolve(outcome);
        });
      });
    if (dice < rejects) {
      const status = this.#random.pick([500, 503, 429, 404, 400, 422]);
      return answer({ kind: 'rejected', status, body: Buffer.from('no') });
    }
    if (dice < rejects + resets) {
      return answer({ kind: 'unreachable', code: 'KNEAR_RESET', detail: 'reset' });
    }
    if (dice < rejects + resets + hangs) {
      const outcome = { kind: 'unreachable', code: 'KNEAR_TIMEOUT', detail: 'no answer' } as const;
      return answer(outcome, request.timeoutMs);
    }
    if (dice < rejects + resets + hangs + nonsense) {
      const code = 'KNEAR_REPLY_INVALID';
      // Where nobody wants a reply, a 2xx is a 2xx.
      if (LISTENING.has(new URL(request.url).hostname)) this.#take(request);
      return answer({ kind: 'malformed', status: 200, code, detail: 'nonsense' });
    }
    return answer(this.#take(request));
  }

  /** The subscriber takes the event; its answer is the same each time it is asked. */
  #take({ url, event }: DeliveryRequest): Outcome {
    const { hostname, pathname } = new URL(url);
    const id = idOf(event);
    this.#watch.taken(event, egressOf({ url }));
    if (hostname === 'dead-letters') this.#rescued.add(`${pathname.slice(1)}|${id}`);
    else if (hostname === 'reply-target') this.#repliesOutside.add(id);
    else return this.#taken(hostname, event);
    return { kind: 'accepted', status: 202 };
  }

  #taken(egressId: string, event: CloudEvent): Outcome {
    const id = idOf(event);
    const key = `${egressId}|${id}`;
    const reply = REPLYING.has(egressId) ? `${id}>${egressId}` : undefined;
    const times = (this.#takes.get(key)?.times ?? 0) + 1;
    this.#takes.set(key, { reply, times });
    if (egressId === 'ordered' && times === 1) listOf(this.#firstTaken, keyOf(event)).push(id);
    if (!reply) return { kind: 'accepted', status: 202 };
    const answer = makeEvent(reply, `reply.${egressId}`, keyOf(event));
    return { kind: 'replied', status: 200, event: answer };
  }

  // --- misfortunes ----------------------------------------------------------------------------------------------------

  /** Looks every 100 ms whether something is to happen. */
  #look(): void {
    this.#misfortunes().catch((error: unknown) => this.#onBug(error));
  }

  /**
   * What may be replayed is read before anything happens: at the start of a step no promise is on its way that could
   * come between, so all that happens is decided in one go, as if the log had not been waited for.
   */
  async #misfortunes(): Promise<void> {
    if (this.#timeline.nowMs >= FAULTS_MS) return;
    const parked = new Map<string, readonly ParkedEntry[]>();
    for (const id of this.#parkingIds()) {
      const entries = await this.#process?.log.parked(id, { limit: REPLAY_MAX });
      parked.set(id, entries ?? []);
    }
    const { kills, freezes, jumps, edits } = this.#faults;
    const happens = (aSecond: number) => this.#random.chance(aSecond / 10);
    this.#payloadMisfortunes();
    const { clock } = this.#process ?? {};
    if (clock) {
      if (happens(freezes)) clock.freeze(this.#random.between(1_000, 30_000));
      if (happens(jumps)) clock.wallOffsetMs += this.#random.between(-3_600_000, 3_600_000);
      if (happens(edits)) this.#edit();
      if (happens(this.#options.rogues)) void this.#rogue(clock);
      if (happens(REPLAYS)) this.#replay(parked);
      if (happens(kills)) {
        this.#kill();
        this.#timeline.at(this.#random.between(10, 3_000), () => {
          if (!this.#process) this.#start();
        });
      }
    }
    this.#timeline.at(100, () => this.#look());
  }

  #payloadMisfortunes(): void {
    const { random } = this.#payloads;
    const { storeLeaves, redactions } = this.#faults;
    const happens = (aSecond: number) => random.chance(aSecond / 10);
    if (happens(storeLeaves)) {
      this.#payloads.leave(this.#timeline.nowMs, random.between(10, STORE_AWAY_MAX_MS));
    }
    const { keeper } = this.#process ?? {};
    const onBug = (error: unknown) => this.#onBug(error);
    if (happens(SWEEPS)) keeper?.sweep().catch(onBug);
    if (happens(redactions)) keeper?.redact().catch(onBug);
  }

  #edit(): void {
    const egress = this.#random.pick(EGRESSES);
    const what = this.#random.pick(['pause', 'delete', 'narrow', 'retry', 'restore'] as const);
    switch (what) {
      case 'restore':
        this.#changed.delete(egress.id);
        break;
      case 'delete':
        this.#changed.set(egress.id, undefined);
        break;
      case 'pause':
        this.#changed.set(egress.id, { ...egress, isPaused: true });
        break;
      case 'narrow': {
        const filter = {
          kind: 'suffix',
          values: { id: this.#random.pick(['1', '2', '3']) },
        } as const;
        this.#changed.set(egress.id, { ...egress, filter });
        break;
      }
      case 'retry':
        this.#changed.set(egress.id, { ...egress, retry: { ...egress.retry, retries: 0 } });
        break;
    }
    // Most edits are undone soon; some outlive the grace after which a deleted egress is gone.
    const forMs = this.#random.chance(0.2) ? 25_000 : this.#random.between(100, 5_000);
    this.#timeline.at(forMs, () => {
      this.#changed.delete(egress.id);
      this.#apply();
    });
    this.#apply();
  }

  #apply(): void {
    this.#topology = scenery(this.#topology.revision + 1, this.#changed);
    this.#match = compileMatch(this.#topology);
    this.#process?.dispatcher.apply(this.#topology);
  }

  /** The egresses that have parked entries. At the first look, before any step, there are none to wait for. */
  #parkingIds(): string[] {
    const { log } = this.#process ?? {};
    return EGRESSES.map(({ id }) => id).filter((id) => log && log.lag(id).parked > 0);
  }

  /** Somebody looks at what is parked and has it delivered anew, repaired or not. */
  #replay(parked: ReadonlyMap<string, readonly ParkedEntry[]>): void {
    const { id } = this.#random.pick(EGRESSES);
    const { log } = this.#process ?? {};
    // W6: what is replayed comes after its successors.
    if (!log || id === 'ordered') return;
    const entries = parked.get(id) ?? [];
    const positions = entries.map(({ position }) => position);
    // W2: it is another life.
    for (const { event } of entries) this.#ends.delete(`${id}|${idOf(event)}`);
    log.replay(id, positions).then(
      (count) => (this.#replayed += count),
      () => undefined,
    );
  }

  /** A second holder of the same queue, which does with its lease what a holder must not. */
  async #rogue(clock: ProcessClock): Promise<void> {
    const egress = this.#random.pick(EGRESSES);
    const { watched: log } = this.#process ?? {};
    const patience = new AbortController();
    this.#timeline.at(2_000, () => patience.abort());
    const [delivery] = (await log?.pull(egress.id, 1, { signal: patience.signal })) ?? [];
    if (!delivery || !clock.isAlive) return;
    this.#rogueLeases += 1;
    const lateMs = this.#random.between(0, 40_000);
    const how = this.#random.pick(['lost', 'settled', 'twice', 'released'] as const);
    if (how === 'lost') return;
    clock.after(lateMs, () => {
      if (how === 'released') {
        delivery.release();
        return;
      }
      if (delivery.phase !== 'deliver') return;
      this.#settleAs(egress.id, delivery);
      if (how === 'twice') this.#settleAs(egress.id, delivery);
    });
  }

  #settleAs(egressId: string, delivery: Delivery): void {
    // A subscriber that replies must not lose its reply: a rogue settles only what needs no output.
    if (REPLYING.has(egressId) || egressId === 'into-chain') {
      delivery.release();
      return;
    }
    this.#taken(egressId, delivery.event);
    void delivery.settle([])?.catch(() => undefined);
  }

  // --- the end --------------------------------------------------------------------------------------------------------

  async #runUntil(untilMs: number): Promise<void> {
    while (this.#timeline.nowMs < untilMs) {
      await this.#timeline.runUntil(Math.min(untilMs, this.#timeline.nowMs + 100));
      assert.ifError(this.#bug ?? this.#watch.broken);
      // W3
      assert((this.#process?.dispatcher.open ?? 0) <= OPEN_MAX, 'W3: too many open deliveries');
    }
  }

  #isQuiet(): boolean {
    const { log } = this.#process ?? {};
    if (this.#unsent > 0) return false;
    return EGRESSES.every(({ id }) => {
      const { ready, delayed } = log?.lag(id) ?? { ready: 1, delayed: 0 };
      return ready + delayed === 0;
    });
  }

  #onBug(error: unknown): void {
    this.#bug ??= error;
  }

  async #checkAtTheEnd(): Promise<void> {
    const process = this.#process;
    assert(process, 'the process runs');
    const lags = EGRESSES.map(({ id }) => `${id} ${JSON.stringify(process.log.lag(id))}`);
    assert(this.#isQuiet(), `not everything settled: ${lags.join(', ')}`);
    this.#checkNothingHeld(process);
    const parked = new Set<string>();
    for (const { id } of EGRESSES) {
      for (const { event } of await process.log.parked(id, { limit: 10_000 })) {
        parked.add(`${id}|${idOf(event)}`);
      }
    }
    for (const id of this.#acknowledged) {
      const missing = this.#missing('broker', id, parked);
      assert(missing === undefined, `W1: ${id} was acknowledged, but ${missing}`);
    }
    const diskFailures = this.#failedCommitsSoFar();
    assert(this.#logFailures <= diskFailures, 'W7: the log failed though the disk did not');
    if (this.#isCalm()) this.#checkOnce();
    if (this.#isLeaseKept() && this.#failedCommitsSoFar() === 0) this.#checkOrder();
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
    }
  }

  /** W1: what is missing of an event that entered this ingress, or of what came of it; `undefined`: nothing. */
  #missing(ingressId: string, eventId: string, parked: ReadonlySet<string>): string | undefined {
    const matched = this.#matched.get(`${ingressId}|${eventId}`);
    if (!matched) return `${eventId} never entered ${ingressId}`;
    for (const egressId of matched) {
      const missing = this.#missingFor(egressId, eventId, parked);
      if (missing !== undefined) return missing;
    }
    return undefined;
  }

  #missingFor(egressId: string, eventId: string, parked: ReadonlySet<string>): string | undefined {
    const key = `${egressId}|${eventId}`;
    if (this.#rescued.has(key) || parked.has(key) || this.#exempt.has(egressId)) return undefined;
    const egress = EGRESSES.find(({ id }) => id === egressId);
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

  #isCalm(): boolean {
    const { faults, rogues, habits } = this.#options;
    const { kills, freezes, commitFails } = faults;
    return kills + freezes + commitFails + rogues + (habits?.lostAcks ?? 0) === 0;
  }

  /** Whoever holds a delivery past its lease may deliver it beside its successors. */
  #isLeaseKept(): boolean {
    return this.#options.faults.freezes + this.#options.rogues === 0;
  }

  /** W2 */
  #checkOnce(): void {
    for (const [key, times] of this.#ends)
      assert.equal(times, 1, `W2: ${key} ended ${times} times`);
  }

  /**
   * W6: of events that entered the log once and were taken. One that was dead-lettered has left its place to the next, and
   * a crash that forgets this has it delivered again.
   */
  #checkOrder(): void {
    for (const [key, taken] of this.#firstTaken) {
      const entered = this.#orderOfKey.get(key) ?? [];
      const once = entered.filter(
        (id) =>
          entered.indexOf(id) === entered.lastIndexOf(id) &&
          !this.#deadLettered.has(`ordered|${id}`),
      );
      const order = once.filter((id) => taken.includes(id));
      const seen = taken.filter((id) => once.includes(id));
      assert.deepEqual(seen, order, `W6: key ${key} was delivered out of order`);
    }
  }

  #failedCommitsSoFar(): number {
    return this.#failedCommits + (this.#process?.disk.failures ?? 0);
  }
}

/** For whom the request is made: subscribers go by the name of their egress, sinks say it in their path. */
function egressOf({ url }: Pick<DeliveryRequest, 'url'>): string {
  const { hostname, pathname } = new URL(url);
  if (hostname === 'dead-letters') return pathname.slice(1);
  return hostname === 'reply-target' ? 'outside' : hostname;
}

function keyOf(event: CloudEvent): string {
  return String(event.attributes.get('partitionkey'));
}

function listOf(map: Map<string, string[]>, key: string): string[] {
  let list = map.get(key);
  if (!list) map.set(key, (list = []));
  return list;
}
