/**
 * Something under a lease, as its holder sees it, whichever log keeps it. What is done with it is the log's business; what it
 * shows does not change.
 */
import type { CloudEvent } from '../../core/event.ts';
import type {
  Delivery,
  Failure,
  Output,
  Phase,
  Position,
  Work,
} from '../../core/ports/event-log.ts';

/** @typeParam Row what the log knows it by; `offers` grows with each holder */
export interface DeliveryOwner<Row> {
  isOpen(row: Row): boolean;
  settle(row: Row, outputs: readonly Output[]): Promise<void> | undefined;
  release(row: Row, offer: number): void;
  extend(row: Row, offer: number): void;
}

export interface Offered {
  readonly egressId: string;
  readonly position: Position;
  readonly event: CloudEvent;
  readonly sizeBytes: number;
  readonly acceptedAtMs: number;
  readonly lease: number;
  readonly work: Work | undefined;
  readonly origin: CloudEvent | undefined;
}

export class LogDelivery<Row extends { readonly offers: number }> implements Delivery {
  readonly egressId: string;
  readonly position: Position;
  readonly event: CloudEvent;
  readonly sizeBytes: number;
  readonly acceptedAtMs: number;
  readonly lease: number;
  readonly phase: Phase;
  readonly attempt: number;
  readonly firstAtMs: number;
  readonly lastFailure?: Failure;
  readonly origin?: CloudEvent;
  readonly #owner: DeliveryOwner<Row>;
  readonly #row: Row;
  readonly #offer: number;

  constructor(owner: DeliveryOwner<Row>, row: Row, offered: Offered) {
    const { work, origin } = offered;
    this.#owner = owner;
    this.#row = row;
    this.#offer = row.offers;
    this.egressId = offered.egressId;
    this.position = offered.position;
    this.event = offered.event;
    this.sizeBytes = offered.sizeBytes;
    this.acceptedAtMs = offered.acceptedAtMs;
    this.lease = offered.lease;
    this.phase = work?.phase ?? 'deliver';
    this.attempt = work?.attempt ?? 0;
    this.firstAtMs = work?.firstAtMs ?? offered.acceptedAtMs;
    if (work?.lastFailure) this.lastFailure = work.lastFailure;
    if (origin) this.origin = origin;
  }

  get isOpen(): boolean {
    return this.#owner.isOpen(this.#row);
  }

  settle(outputs: readonly Output[]): Promise<void> | undefined {
    return this.#owner.settle(this.#row, outputs);
  }

  release(): void {
    this.#owner.release(this.#row, this.#offer);
  }

  extend(): void {
    this.#owner.extend(this.#row, this.#offer);
  }
}
