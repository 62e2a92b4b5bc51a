/** A row under a lease, as its holder sees it. */
import type { CloudEvent } from '../../../core/event.ts';
import type { Delivery, Failure, Output, Phase, Position } from '../../../core/ports/event-log.ts';
import type { Row } from './egress.ts';

export interface DeliveryOwner {
  settle(row: Row, outputs: readonly Output[]): Promise<void> | undefined;
  release(row: Row, offer: number): void;
  extend(row: Row, offer: number): void;
}

export class JetStreamDelivery implements Delivery {
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
  readonly #owner: DeliveryOwner;
  readonly #row: Row;
  readonly #offer: number;

  constructor(owner: DeliveryOwner, row: Row) {
    const { event, acceptedAtMs, work, origin } = row.content;
    this.#owner = owner;
    this.#row = row;
    this.#offer = row.offers;
    this.egressId = row.egress.id;
    this.position = row.sequence;
    this.event = event;
    this.sizeBytes = row.sizeBytes;
    this.acceptedAtMs = acceptedAtMs;
    this.lease = row.given;
    this.phase = work?.phase ?? 'deliver';
    this.attempt = work?.attempt ?? 0;
    this.firstAtMs = work?.firstAtMs ?? acceptedAtMs;
    if (work?.lastFailure) this.lastFailure = work.lastFailure;
    if (origin) this.origin = origin;
  }

  get isOpen(): boolean {
    return this.#row.state !== 'settled' && this.#row.state !== 'settling';
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
