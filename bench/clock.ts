/**
 * The one clock of the bench: CLOCK_MONOTONIC, which all processes of a machine share, so that a time taken where an
 * event is sent can be subtracted from a time taken where it arrives.
 */

/** Microseconds, with fractions; only differences mean anything. */
export function nowUs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e6 + nanoseconds / 1e3;
}

export async function sleepMs(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
