/** What the work on a delivery of one egress needs of its surroundings. */
import type { CloudEvent } from '../core/event.ts';
import type { Deliverer } from '../core/ports/deliverer.ts';
import type { Observer } from '../core/ports/observer.ts';
import type { Payloads } from '../core/ports/payloads.ts';
import type { Clock } from '../core/ports/time.ts';
import type { Tracer } from '../core/ports/tracer.ts';
import type { NextState } from '../core/rules/hop.ts';
import type { Egress, Topology } from '../core/topology.ts';
import type { Placement } from './attempt.ts';
import type { Hops } from './chain.ts';
import type { Hold } from './hold.ts';
import type { Slots } from './slots.ts';

export interface DispatchContext {
  readonly egressId: string;
  readonly hops: Hops;
  readonly placement: Placement;
  readonly deliverer: Deliverer;
  readonly payloads: Pick<Payloads, 'release'>;
  readonly observer: Observer;
  readonly tracer?: Tracer;
  readonly clock: Clock;
  readonly backoffMaxMs: number;
  /** The event without what is between Brokers only. */
  forSubscriber(event: CloudEvent): CloudEvent;
  topology(): Topology;
  /** The log holds something anew for an egress that is not there any more. */
  leftForGone(): void;
  /** The egress as it is now, with its filter; `undefined` when it is gone. */
  egress():
    { readonly egress: Egress; readonly matches: (event: CloudEvent) => boolean } | undefined;
  readonly slots: Slots;
  /** D5 */
  mayWaitInMemory(): boolean;
  /** What a hop to this egress has to know. */
  asNext(): NextState;
  /** The open delivery is about another event now. */
  resize(hold: Hold, event: CloudEvent): void;
  /** Grows each time, so that endpoints take turns. */
  nextTurn(): number;
}
