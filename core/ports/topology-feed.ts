/**
 * How the Topology reaches every process that goes by it, and how everybody knows who goes by what: the barrier behind "Ready".
 * `controller/feed/nats-feed.ts` is the adapter for processes that share a NATS server; where one process does everything, it is
 * a function call and needs no port.
 */
import type { Vantage } from '../rules/nearness.ts';
import type { Topology } from '../topology.ts';

export const ROLES = ['serve', 'controller', 'ingress', 'dispatcher'] as const;
export type Role = (typeof ROLES)[number];

/** A process that is there, as it tells of itself. */
export interface Instance {
  /** Of this life of the process. */
  readonly id: string;
  readonly role: Role;
  readonly version: string;
  /** Where it delivers from; none if it does not. */
  readonly vantages: readonly Vantage[];
  /** Of the Topology that it goes by; 0: it has none yet. */
  readonly revision: number;
  /** Where its admin server is, once it is open. */
  readonly adminUrl?: string;
}

export interface TopologyFeed {
  /** Of this life of the process, as others see it. */
  readonly id: string;

  /**
   * Each Topology that was published whole: the newest first, then every newer one. Who is slow misses those in between. Goes
   * on after whatever happens to the server.
   */
  watch(options: { signal: AbortSignal }): AsyncIterable<Topology>;

  /** This process goes by this revision from now on. */
  applied(revision: number): void;

  /** Its admin server is there. */
  reachableAt(adminUrl: string): void;

  /** C7: it goes by all that was published until less than `CONFIRMED_MS` ago, by its own clock. */
  readonly isConfirmed: boolean;

  /** Who is there, this process included once it has been heard. */
  instances(): Instance[];

  /**
   * Makes it the Topology of everybody, whole, and resolves with its revision once the server has it. One process may publish
   * at a time. @throws KNEAR_FEED_FAILED when not all of it has arrived: publish again
   */
  publish(topology: Topology): Promise<number>;

  /** Leaves at once: nobody waits for this process any more. Idempotent. */
  close(): Promise<void>;
}

/** A process that has not been heard for so long is not there. */
export const PRESENCE_MS = 10_000;
/** How often it tells that it is there. */
export const BEAT_MS = 3_000;
/** Less than PRESENCE_MS: it has stopped hopping when others go on without it. */
export const CONFIRMED_MS = 7_000;
