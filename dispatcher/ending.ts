/** How a delivery ends: by one settle, and what it came to is told after the log took it (D1). */
import { codeOf } from '../core/errors.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { Failure, Output } from '../core/ports/event-log.ts';
import type { End, Observer } from '../core/ports/observer.ts';
import type { Clock } from '../core/ports/time.ts';
import type { Egress } from '../core/topology.ts';
import type { Hold } from './hold.ts';

export interface EndingScope {
  readonly hold: Hold;
  readonly context: { readonly observer: Observer; readonly clock: Clock };
  readonly egress: Egress;
}

/** Settles, then tells. A settle that the log undoes is not an end: the delivery comes back. */
export async function end(
  scope: EndingScope,
  how: End,
  { failure, outputs = [] }: { failure?: Failure; outputs?: readonly Output[] } = {},
): Promise<void> {
  if ((await trySettle(scope.hold, outputs)) === undefined) observeEnd(scope, how, failure);
}

/** Tells of an end that the log has taken. */
export function observeEnd(
  { hold: { delivery }, context, egress }: EndingScope,
  how: End,
  failure?: Failure,
): void {
  context.observer.observe({
    kind: 'ended',
    egress,
    // A reply on its way is not the event whose life ends here.
    event: delivery.origin ?? delivery.event,
    end: how,
    ageMs: context.clock.nowMs() - delivery.acceptedAtMs,
    ...(failure && { failure }),
  });
}

/**
 * `stale`: nothing has ended, because the delivery is not open any more, or the log could not write it and offers it again.
 * A code: an output is refused.
 */
export async function trySettle(
  { delivery }: Hold,
  outputs: readonly Output[],
): Promise<ErrorCode | 'stale' | undefined> {
  if (!delivery.isOpen) return 'stale';
  try {
    await delivery.settle(outputs);
    return undefined;
  } catch (error) {
    const code = codeOf(error);
    if (code === 'KNEAR_LOG_FAILED' || code === 'KNEAR_CLOSED') return 'stale';
    if (code === undefined) throw error;
    return code;
  }
}
