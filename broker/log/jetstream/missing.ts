/** JetStream: no such message (10037, 10057), consumer (10014), stream (10059). Source: nats-server, server/errors.json. */
const MISSING: ReadonlySet<unknown> = new Set([10014, 10037, 10057, 10059]);

/** Whether the server says that what was asked for is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && MISSING.has(error.code);
}

/** For a request that is as good as done when what it is about is not there. */
export function ignoreMissing(error: unknown): false {
  if (!isMissing(error)) throw error;
  return false;
}
