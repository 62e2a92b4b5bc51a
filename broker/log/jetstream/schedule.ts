/**
 * Messages that the server publishes later. One on a subject takes the place of the one before, and ends when it has been
 * published, or when a message says that it comes instead (`replace`), which is one step for the server.
 * Source: nats-architecture-and-design, ADR-51.
 */
import type { Msg, MsgHdrs } from '@nats-io/transport-node';

import { Subjects } from './names.ts';

/** @param when.atMs wall time of the server, Unix ms; `target`: the subject that it is published to. */
export function schedule(
  headers: MsgHdrs,
  { atMs, target }: { readonly atMs: number; readonly target: string },
): void {
  headers.set('Nats-Schedule', `@at ${new Date(atMs).toISOString()}`);
  headers.set('Nats-Schedule-Target', target);
}

/** The message that has these headers is published instead of the one that waits on this subject. */
export function replaceScheduled(headers: MsgHdrs, subject: string): void {
  headers.set('Nats-Scheduler', subject);
  headers.set('Nats-Schedule-Next', 'purge');
}

/** The token of the egress whose timer the message was until now, if it was one. */
export function firedFor({ headers }: Msg): string | undefined {
  const held = Subjects.held(headers?.get('Nats-Scheduler') ?? '');
  return held?.kind === 't' ? held.egress : undefined;
}
