/**
 * The model: pods that can each do every step, events that go from step to step, and what it costs to do the next one
 * in another pod. Where, a policy says; here is only what happens then.
 *
 * ```
 *   arrival --> pod 1: queue, slots --> pod 1 ...            stays: costs nothing
 *                                  '--> uplink of pod 1 --> pod 7: queue, slots (receives first, then works)
 *                                  '--> log, near to pod 1 <-- pod 1 or pod 7 pulls, when it has a free slot
 * ```
 *
 * The same seed gives the same arrivals, sizes and work to every policy.
 */
import type { Random } from '../../core/ports/time.ts';
import type { Link, PlaceLoad } from '../../core/rules/cost.ts';
import { SeededRandom } from '../../test/sim/random.ts';
import type { History, Policy, Setup, View } from './contract.ts';
import { Fate } from './fate.ts';
import { Queue, Timeline } from './timeline.ts';

interface Workflow {
  readonly bornMs: number;
  readonly bytes: number;
  /** For each step, for each of its events. */
  readonly workMs: readonly (readonly number[])[];
  left: number;
}

interface Step {
  readonly workflow: Workflow;
  readonly step: number;
  readonly workMs: number;
  /** When it was put into the log. */
  loggedMs: number;
  /** Before the work begins, in the slot. */
  receiveMs: number;
}

interface Pod {
  readonly index: number;
  readonly speed: number;
  readonly queue: Queue<Step>;
  readonly log: Queue<Step>;
  inUse: number;
  serviceMs: number;
  busyMs: number;
  uplinkFreeMs: number;
  /** As the others know it. */
  report: { inFlight: number; serviceMs: number };
  /** What it has sent to each of the others since their last report. */
  readonly sent: number[];
  readonly history: number[];
}

/** The last twenty or so events tell what one takes, and what one weighs. */
const LEARNING_RATE = 0.05;

export function simulate(setup: Setup, policy: Policy, seed: number): History {
  return new World(setup, policy, seed).run();
}

class World implements View {
  readonly setup: Setup;
  readonly random: Random;
  usualBytes = 0;
  readonly #policy: Policy;
  /** No policy draws from it. */
  readonly #fate: Fate;
  readonly #time = new Timeline();
  readonly #pods: readonly Pod[];
  readonly #bornMs: number[] = [];
  readonly #latencyMs: number[] = [];
  readonly #count = { workflows: 0, placed: 0, moved: 0, logged: 0, movedBytes: 0, movingMs: 0 };
  #open = 0;
  #endedMs = 0;
  #isOver = false;

  constructor(setup: Setup, policy: Policy, seed: number) {
    this.setup = setup;
    this.#policy = policy;
    this.#fate = new Fate(setup, seed);
    // Any other stream than the one above.
    this.random = new SeededRandom(seed + 1_000_003);
    this.#pods = Array.from({ length: setup.pods }, (_, index) => podOf(index, setup));
  }

  run(): History {
    const { reportMs, pods } = this.setup;
    this.#time.after(0, () => this.#arrive());
    for (const pod of this.#pods) {
      // Pods report in turn, not all at once.
      this.#every(reportMs, (reportMs * pod.index) / pods, () => this.#report(pod));
      const { lookMs } = this.#policy;
      if (lookMs) this.#every(lookMs, (lookMs * pod.index) / pods, () => this.#start(pod));
    }
    this.#time.run();
    return {
      ...this.#count,
      setup: this.setup,
      bornMs: this.#bornMs,
      latencyMs: this.#latencyMs,
      busyMs: this.#pods.map(({ busyMs }) => busyMs),
      inFlight: this.#pods.map(({ history }) => history),
      endedMs: this.#endedMs,
    };
  }

  get nowMs(): number {
    return this.#time.nowMs;
  }

  load(of: number, seenBy: number): PlaceLoad {
    const pod = this.#pod(of);
    const capacity = this.setup.slots;
    if (of === seenBy) return { inFlight: inFlightOf(pod), capacity, serviceMs: pod.serviceMs };
    const { inFlight, serviceMs } = pod.report;
    const sent = this.#pod(seenBy).sent[of] ?? 0;
    return { inFlight: inFlight + sent, capacity, serviceMs };
  }

  link(from: number): Link {
    const { roundTripMs, receiveMs, linkByteMs, copyByteMs } = this.setup;
    const queuedMs = Math.max(0, this.#pod(from).uplinkFreeMs - this.nowMs);
    return {
      roundTripMs: roundTripMs + receiveMs,
      byteMs: linkByteMs,
      copyByteMs,
      queuedBytes: queuedMs / linkByteMs,
    };
  }

  freeSlots(pod: number): number {
    const { inUse, queue } = this.#pod(pod);
    return Math.max(0, this.setup.slots - inUse - queue.length);
  }

  waiting(pod: number): number {
    return this.#pod(pod).queue.length;
  }

  backlog(pod: number): number {
    return this.#pod(pod).log.length;
  }

  firstBytes(pod: number): number {
    return this.#pod(pod).log.first?.workflow.bytes ?? 0;
  }

  behindMs(pod: number): number {
    const first = this.#pod(pod).log.first;
    return first ? this.nowMs - first.loggedMs : 0;
  }

  #arrive(): void {
    this.#time.after(this.#fate.gapMs(this.nowMs), () => {
      this.#isOver = this.nowMs > this.setup.lastMs;
      if (this.#isOver) return;
      this.#begin();
      this.#arrive();
    });
  }

  #begin(): void {
    const pod = this.#pod(this.#fate.origin(this.nowMs));
    const bytes = this.#fate.bytes();
    const workMs = this.#fate.workMs();
    const { fanOut, placesArrivals } = this.setup;
    const workflow = { bornMs: this.nowMs, bytes, workMs, left: fanOut };
    this.#open += 1;
    this.#count.workflows += 1;
    this.usualBytes += LEARNING_RATE * (bytes - this.usualBytes);
    const first = { workflow, step: 0, workMs: workMs[0]?.[0] ?? 0, loggedMs: 0, receiveMs: 0 };
    if (placesArrivals) this.#place(first, pod, { isFanOut: false, logMs: 0 });
    else this.#enter(first, pod);
  }

  #place(step: Step, from: Pod, { isFanOut, logMs }: { isFanOut: boolean; logMs: number }): void {
    this.#count.placed += 1;
    const to = this.#policy.place({ at: from.index, bytes: step.workflow.bytes, isFanOut }, this);
    if (to === 'log') {
      this.#count.logged += 1;
      this.#time.after(logMs, () => {
        step.loggedMs = this.nowMs;
        from.log.push(step);
        this.#start(from);
      });
    } else if (to === from.index) {
      this.#enter(step, from);
    } else {
      const pod = this.#pod(to);
      from.sent[to] = (from.sent[to] ?? 0) + 1;
      this.#move(step, from, () => this.#enter(step, pod));
    }
  }

  /** The uplink is one queue; then half a round trip there and half for the answer. */
  #move(step: Step, from: Pod, whenThere: () => void): void {
    const { linkByteMs, roundTripMs, receiveMs, copyByteMs } = this.setup;
    const { bytes } = step.workflow;
    from.uplinkFreeMs = Math.max(this.nowMs, from.uplinkFreeMs) + bytes * linkByteMs;
    step.receiveMs = receiveMs + bytes * copyByteMs;
    this.#count.moved += 1;
    this.#count.movedBytes += bytes;
    this.#count.movingMs += step.receiveMs;
    this.#time.after(from.uplinkFreeMs + roundTripMs - this.nowMs, whenThere);
  }

  #enter(step: Step, pod: Pod): void {
    pod.queue.push(step);
    this.#start(pod);
  }

  /** What waits in the pod first, then what waits in logs. */
  #start(pod: Pod): void {
    while (pod.inUse < this.setup.slots) {
      const step = pod.queue.shift();
      if (step) {
        pod.inUse += 1;
        this.#work(step, pod, this.nowMs);
      } else if (!this.#pull(pod)) return;
    }
  }

  /** The slot is held while the event comes, as a delivery that is pulled has one. */
  #pull(pod: Pod): boolean {
    const origin = this.#policy.pullFrom?.(pod.index, this);
    if (origin === undefined) return false;
    const from = this.#pod(origin);
    const step = from.log.shift();
    if (!step) return false;
    pod.inUse += 1;
    const sinceMs = this.nowMs;
    if (from === pod) {
      this.#work(step, pod, sinceMs);
    } else {
      this.#move(step, from, () => {
        this.#count.movingMs += this.nowMs - sinceMs;
        this.#work(step, pod, sinceMs);
      });
    }
    return true;
  }

  #work(step: Step, pod: Pod, sinceMs: number): void {
    this.#time.after((step.receiveMs + step.workMs) / pod.speed, () => {
      const tookMs = this.nowMs - sinceMs;
      pod.inUse -= 1;
      pod.busyMs += tookMs;
      pod.serviceMs += LEARNING_RATE * (tookMs - pod.serviceMs);
      this.#goOn(step, pod);
      this.#start(pod);
    });
  }

  #goOn({ workflow, step }: Step, pod: Pod): void {
    const next = step + 1;
    const works = workflow.workMs[next];
    if (!works) {
      workflow.left -= 1;
      if (workflow.left === 0) this.#end(workflow);
      return;
    }
    const isFanOut = works.length > 1;
    for (const workMs of works) {
      const child = { workflow, step: next, workMs, loggedMs: 0, receiveMs: 0 };
      this.#place(child, pod, { isFanOut, logMs: this.setup.logMs });
    }
  }

  #end({ bornMs }: Workflow): void {
    this.#open -= 1;
    this.#endedMs = this.nowMs;
    if (bornMs < this.setup.warmMs) return;
    this.#bornMs.push(bornMs);
    this.#latencyMs.push(this.nowMs - bornMs);
  }

  #report(pod: Pod): void {
    pod.report = { inFlight: inFlightOf(pod), serviceMs: pod.serviceMs };
    for (const { sent } of this.#pods) sent[pod.index] = 0;
    if (!this.#isOver && this.nowMs >= this.setup.warmMs) pod.history.push(pod.report.inFlight);
  }

  /** Until all is done. */
  #every(ms: number, firstMs: number, run: () => void): void {
    this.#time.after(firstMs, () => {
      if (this.#isOver && this.#open === 0) return;
      run();
      this.#every(ms, ms, run);
    });
  }

  #pod(index: number): Pod {
    const pod = this.#pods[index];
    if (!pod) throw new Error(`there is no pod ${index}`);
    return pod;
  }
}

function podOf(index: number, { firstSpeed, serviceMs, pods }: Setup): Pod {
  return {
    index,
    speed: index === 0 ? firstSpeed : 1,
    queue: new Queue(),
    log: new Queue(),
    inUse: 0,
    serviceMs,
    busyMs: 0,
    uplinkFreeMs: 0,
    report: { inFlight: 0, serviceMs },
    sent: Array.from({ length: pods }, () => 0),
    history: [],
  };
}

function inFlightOf({ inUse, queue }: Pod): number {
  return inUse + queue.length;
}
