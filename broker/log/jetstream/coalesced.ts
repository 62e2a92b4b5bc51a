/**
 * Work that several ask for at a time: everybody gets the result of a run that began after he had asked, and runs follow each other.
 */
export class Coalesced<Result> {
  readonly #work: () => Promise<Result>;
  #running: Promise<Result> | undefined;
  #next: Promise<Result> | undefined;

  constructor(work: () => Promise<Result>) {
    this.#work = work;
  }

  run(): Promise<Result> {
    const over = this.#running;
    if (!over) return this.#start();
    const start = () => {
      this.#next = undefined;
      return this.#start();
    };
    return (this.#next ??= over.then(start, start));
  }

  #start(): Promise<Result> {
    const running = this.#work().finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}
