/** How a delivery ends: by one settle, and what it came to is told after the log took it (D1). */
import { codeOf } from '../core/errors.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { Failure, Output } from '../core/ports/event-log.ts';
import type { End, Observer } from '../core/ports/observer.ts';
import type { Clock } from '../core/ports/time.ts';
import type { CloudEvent } from '../core/event.ts';
import type { Egress } from '../core/topology.ts';
import type { Chain } from './chain.ts';
import type { Hold } from './hold.ts';

const NO_OUTPUTS: readonly Output[] = [];

export interface EndingScope {
  readonly hold: Hold;
  readonly context: { readonly observer: Observer; readonly clock: Clock };
  readonly egress: Egress;
  readonly chain: Pick<Chain, 'links' | 'sinceMs'>;
  /** What was delivered: a reply on its way is not the event whose life ends here. */
  readonly event: CloudEvent;
}

/** Settles, then tells. A settle that the log undoes is not an end: the delivery comes back. `undefined`: that is done. */
export function end(
  scope: EndingScope,
  how: End,
  { failure, outputs = NO_OUTPUTS }: { failure?: Failure; outputs?: readonly Output[] } = {},
): Promise<undefined> | undefined {
  const settling = trySettle(scope.hold, outputs);
  if (settling instanceof Promise) {
    return settling.then((settled) => {
      if (settled === 'taken') observeEnd(scope, how, failure);
      return undefined;
    });
  }
  if (settling === 'taken') observeEnd(scope, how, failure);
  return undefined;
}

/** Tells of an end that the log has taken. */
export function observeEnd(scope: EndingScope, how: End, failure?: Failure): void {
  observeLinks(scope);
  const { context, egress, chain, event } = scope;
  context.observer.observe({
    kind: 'ended',
    egress,
    event,
    end: how,
    ageMs: context.clock.nowMs() - chain.sinceMs,
    ...(failure && { failure }),
  });
}

/** C1: the log has taken over what the hops up to here have led to. */
export function observeLinks({ context, chain }: Pick<EndingScope, 'context' | 'chain'>): void {
  for (const link of chain.links) {
    context.observer.observe({ kind: 'ended', end: 'delivered', ...link });
  }
}

/**
 * `taken`: the log is answerable for it. `stale`: nothing has ended, because the delivery is not open any more, or the log
 * could not write it and offers it again. A code: an output is refused.
 */
export type Settled = 'taken' | 'stale' | ErrorCode;

/** At once where the log answers at once, which it does for nearly every event. */
export function trySettle(
  { delivery }: Hold,
  outputs: readonly Output[],
): Promise<Settled> | Settled {
  if (!delivery.isOpen) return 'stale';
  const settling = delivery.settle(outputs);
  return settling ? settling.then(() => 'taken', refusalOf) : 'taken';
}

/** @throws the error itself, when it is a bug of ours */
function refusalOf(error: unknown): Settled {
  const code = codeOf(error);
  if (code === 'KNEAR_LOG_FAILED' || code === 'KNEAR_CLOSED') return 'stale';
  if (code === undefined) throw error;
  return code;
}
