/** What nobody decides: when a workflow arrives, where, how large it is, and how long its steps take. */
import { SeededRandom } from '../../test/sim/random.ts';
import type { Setup } from './contract.ts';

/** Draws in the order of arrival, so that a seed gives the same to every policy. */
export class Fate {
  readonly #random: SeededRandom;
  readonly #setup: Setup;

  constructor(setup: Setup, seed: number) {
    this.#random = new SeededRandom(seed);
    this.#setup = setup;
  }

  /** Until the next workflow arrives: Poisson, at the rate of that moment. */
  gapMs(atMs: number): number {
    const { load, pods, slots, serviceMs, steps, fanOut } = this.#setup;
    const perMs = (load(atMs) * pods * slots) / (serviceMs * (steps - 1 + fanOut));
    return -Math.log(1 - this.#random.next()) / perMs;
  }

  /** The pod where it arrives. */
  origin(atMs: number): number {
    const { pods, skew, hotMs } = this.#setup;
    const half = Math.ceil(pods / 2);
    const isHot = this.#random.chance(Math.min(1, (skew * half) / pods));
    const isAlone = pods === half;
    const within =
      isHot || isAlone ? this.#random.below(half) : half + this.#random.below(pods - half);
    // The hot half moves on by three tenths of all pods: most of it stays hot, and some is new.
    const shift = Math.floor(atMs / hotMs) * Math.round(0.3 * pods);
    return (within + shift) % pods;
  }

  bytes(): number {
    const { sizes } = this.#setup;
    let rest = this.#random.next();
    const drawn = sizes.find(({ share }) => (rest -= share) < 0) ?? sizes.at(-1);
    return drawn?.bytes ?? 0;
  }

  /** For each step, for each of its events: log-normal. */
  workMs(): number[][] {
    const { steps, fanOut } = this.#setup;
    return Array.from({ length: steps }, (_, step) =>
      Array.from({ length: step < steps - 1 ? 1 : fanOut }, () => this.#stepMs()),
    );
  }

  #stepMs(): number {
    const { serviceMs, sigma } = this.#setup;
    const radius = Math.sqrt(-2 * Math.log(1 - this.#random.next()));
    const normal = radius * Math.cos(2 * Math.PI * this.#random.next());
    return serviceMs * Math.exp(sigma * normal - (sigma * sigma) / 2);
  }
}
