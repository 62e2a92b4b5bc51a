/** The leases of what this process has been given: kept, lapsed, and forgotten. */
import { EXTEND_MS, LEASE_MS } from '../../../core/ports/event-log.ts';
import type { Observer } from '../../../core/ports/observer.ts';
import type { Clock } from '../../../core/ports/time.ts';
import type { Row } from './egress.ts';

/** A lapsed row is forgotten after this many leases: whoever held it has ended. */
const LAPSED_LEASES = 4;
/** Older than this, a lease may be over before an extension has arrived, which takes milliseconds, and more where there was trouble. */
const STALE_MS = LEASE_MS - 2_000;
/** More than it takes to hear of the server. A lease that may be older is extended at once: its holder counts from now. */
const OLD_MS = 2_500;

export interface LeasesOptions {
  readonly clock: Clock;
  readonly observer: Observer;
  /** To the server, of a row. */
  answer(row: Row, text: string): void;
}

/** N13 */
export class Leases {
  readonly #options: LeasesOptions;

  constructor(options: LeasesOptions) {
    this.#options = options;
  }

  /** Monotonic: of one that begins now. */
  get untilMs(): number {
    return this.#options.clock.monotonicMs() + LEASE_MS;
  }

  extend(row: Row): void {
    row.leaseUntilMs = this.untilMs;
    this.#options.answer(row, '+WPI');
  }

  /** N20. @param ageMs of what has come, at most */
  keep(row: Row | undefined, ageMs: number): void {
    if (row && ageMs > OLD_MS) this.extend(row);
  }

  lapse(row: Row): void {
    row.state = 'lapsed';
    const { egress, given } = row;
    this.#options.observer.observe({ kind: 'lease-lost', egressId: egress.id, lease: given });
  }

  /** What is to be done about a lease by now. */
  look(row: Row): void {
    const { state, leaseUntilMs, egress, sequence } = row;
    const leftMs = leaseUntilMs - this.#options.clock.monotonicMs();
    const isOurs = state === 'ready' || state === 'settling';
    if (isOurs && leftMs < LEASE_MS - EXTEND_MS) this.extend(row);
    else if (state === 'open' && leftMs < 0) this.lapse(row);
    else if (state === 'lapsed' && leftMs < -LAPSED_LEASES * LEASE_MS) {
      egress.rows.delete(sequence);
    }
  }
}

/** N20. @param ageMs of what has come, at most */
export function isStale(ageMs: number): boolean {
  return ageMs > STALE_MS;
}
