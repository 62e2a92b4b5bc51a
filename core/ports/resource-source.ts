/** Where the desired state comes from: a folder of YAML, or the Kubernetes API. */
import type { Resource } from '../resources.ts';

export interface ResourceSource {
  /** The whole desired state each time it may have changed, level-triggered; ends when the signal aborts. */
  watch(options: { signal: AbortSignal }): AsyncIterable<Snapshot>;
}

export interface Snapshot {
  readonly resources: readonly Resource[];
  /** What could not be read, in words for the person who wrote it. */
  readonly problems: readonly ResourceProblem[];
}

/** One document or file that cannot be used as it is. */
export interface ResourceProblem {
  readonly code:
    'KNEAR_MANIFEST_UNPARSABLE' | 'KNEAR_MANIFEST_INVALID' | 'KNEAR_RESOURCES_UNREADABLE';
  /** File and line, e.g. `triggers.yaml:12`. */
  readonly where: string;
  /** The resource it is about, when that much could be read: `Trigger/default/orders`. */
  readonly resourceId?: string;
  readonly detail: string;
}
