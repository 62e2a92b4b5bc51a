/** Waits until it no longer throws. Each try asks the disk, so the tries take as long as what is waited for. */
export async function eventuallyOnDisk(holds: () => Promise<void>): Promise<void> {
  // A try is a tenth of a millisecond or more, a sync of a busy disk a hundred of them.
  for (let tries = 2_000; tries > 0; tries -= 1) {
    try {
      return await holds();
    } catch {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  await holds();
}
