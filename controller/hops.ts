/** Whether the events of a Broker, Channel, Trigger or Subscription may go on without the log, from its annotations. */
import type { HopPolicy } from '../core/topology.ts';
import { annotationMs, writtenAnnotation, type Annotated } from './annotations.ts';

/** What no annotation says: it depends on the log, for which a hop may be a gain or none. */
export interface HopDefaults {
  readonly localHop: boolean;
}

export function compileHops(
  nearestFirst: readonly Annotated[],
  { localHop }: HopDefaults,
): HopPolicy {
  const written = writtenAnnotation('knear.dev/local-hop', nearestFirst);
  return {
    isOn: written === undefined ? localHop : written === 'chain',
    redoMaxMs: annotationMs('knear.dev/redo-max', nearestFirst),
  };
}
