/**
 * Order by key (`knear.dev/order: key`): events with one `partitionkey` are delivered one after the other. A delivery
 * enters its lane in the order of the log and waits for the one before it to end; events without a key wait for nobody.
 * Source: CloudEvents extension "Partitioning".
 */

export class Lanes {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `work` after everything that entered the lane before has ended, however it ended. */
  enter(key: string, work: () => Promise<void>): Promise<void> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const run = before.then(work);
    const tail = run.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(key, tail);
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    return run;
  }
}
