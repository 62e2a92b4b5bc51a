/**
 * Simulated time: a queue of things to happen, in order of virtual time, ties broken by the seed. One step runs one
 * thing and then lets all promises that it settled run dry, so nothing but the seed decides what happens when.
 */
import type { Clock, Timer } from '../../core/ports/time.ts';
import type { SeededRandom } from './random.ts';

interface Entry {
  readonly atMs: number;
  readonly tie: number;
  readonly run: () => void;
}

export class Timeline {
  readonly #random: SeededRandom;
  readonly #heap: Entry[] = [];
  nowMs = 0;
  steps = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** @param random breaks ties; another one than that of the run does not change what the rest of it draws. */
  at(delayMs: number, run: () => void, random = this.#random): Timer {
    const entry: Entry = { atMs: this.nowMs + Math.max(0, delayMs), tie: random.next(), run };
    let isCancelled = false;
    this.#push({ ...entry, run: () => (isCancelled ? undefined : run()) });
    return {
      cancel: () => {
        isCancelled = true;
      },
    };
  }

  /** Runs everything that is due up to a virtual time. */
  async runUntil(untilMs: number): Promise<void> {
    for (;;) {
      const next = this.#heap[0];
      if (!next || next.atMs > untilMs) break;
      this.#pop();
      this.nowMs = next.atMs;
      this.steps += 1;
      next.run();
      // Once around the real event loop: every promise that could go on has done so.
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.nowMs = untilMs;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(entry, at(heap, parent))) break;
      heap[index] = at(heap, parent);
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(at(heap, child + 1), at(heap, child))) child += 1;
      if (!isBefore(at(heap, child), last)) break;
      heap[index] = at(heap, child);
      index = child;
    }
    heap[index] = last;
  }
}

function at(heap: readonly Entry[], index: number): Entry {
  const entry = heap[index];
  if (!entry) throw new Error('no such entry');
  return entry;
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.tie < b.tie);
}

/** The clock of one process: it dies with it, can be frozen (SIGSTOP), and its wall time can jump. */
export class ProcessClock implements Clock {
  readonly #timeline: Timeline;
  #isAlive = true;
  #frozenUntilMs = 0;
  wallOffsetMs = Date.UTC(2026, 0, 1);

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
  }

  nowMs(): number {
    return Math.floor(this.#timeline.nowMs + this.wallOffsetMs);
  }

  monotonicMs(): number {
    return this.#timeline.nowMs;
  }

  after(delayMs: number, run: () => void, random?: SeededRandom): Timer {
    return this.#timeline.at(delayMs, () => this.#runOrWait(run, random), random);
  }

  soon(run: () => void): void {
    this.after(0, run);
  }

  kill(): void {
    this.#isAlive = false;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Nothing of this process runs for a while, then all of it at once. */
  freeze(forMs: number): void {
    this.#frozenUntilMs = this.#timeline.nowMs + forMs;
  }

  #runOrWait(run: () => void, random?: SeededRandom): void {
    if (!this.#isAlive) return;
    const waitMs = this.#frozenUntilMs - this.#timeline.nowMs;
    if (waitMs > 0) this.#timeline.at(waitMs, () => this.#runOrWait(run, random), random);
    else run();
  }
}
