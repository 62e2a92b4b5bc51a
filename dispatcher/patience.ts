/** How long a payload store that is away is waited for: 0.2, 0.4, 0.8 and 10 s, and from then on the same again. */

/** Longer waits go to the log: they would hold memory and a lease for nothing. */
export const MEMORY_WAIT_MAX_MS = 1_000;
const FIRST_MS = 200;
const MOST_MS = 10_000;

export class Patience {
  #waits = 0;

  /** How often it has waited is forgotten in the log: there, it waits as long as it ever does. */
  nextMs(): number {
    const doubledMs = FIRST_MS * 2 ** this.#waits;
    this.#waits += 1;
    return doubledMs > MEMORY_WAIT_MAX_MS ? MOST_MS : doubledMs;
  }
}
