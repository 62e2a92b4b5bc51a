/** Waiting for something that happens in another process: asked again and again, with an end and a reason. */

export interface EventuallyOptions {
  /** 25 s: what a killed program held comes again from a NATS server after its lease of 15 s, and the machine may be busy. */
  readonly withinMs?: number;
  /** What to say when it does not happen: usually what there was instead. */
  readonly otherwise?: () => unknown;
}

/** Short beside everything that is waited for, and no load. */
const LOOK_EVERY_MS = 20;

/**
 * Resolves with what `look` finds, once that is neither `undefined` nor `false`.
 * @throws when it is not found in time, with what `otherwise` says.
 */
export async function eventually<Value>(
  what: string,
  look: () => Value | undefined | false | Promise<Value | undefined | false>,
  { withinMs = 25_000, otherwise }: EventuallyOptions = {},
): Promise<Value> {
  const giveUpAtMs = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > giveUpAtMs) {
      const instead = otherwise ? `: ${JSON.stringify(otherwise())}` : '';
      throw new Error(`within ${String(withinMs)} ms: not ${what}${instead}`);
    }
    await pause(LOOK_EVERY_MS);
  }
}

/** The time that a subscriber works, or that passes between two looks; never a way to wait for the program. */
export async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
