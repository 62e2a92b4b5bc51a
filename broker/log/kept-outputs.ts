/** What a settle leaves for one egress: Work and parked entries, each a row of a record. */
import type { CloudEvent } from '../../core/event.ts';
import { eventSizeBytes } from '../../core/event.ts';
import type { Clock } from '../../core/ports/time.ts';
import type { Committer } from './committer.ts';
import type { EgressQueue } from './egress-queue.ts';
import { originOf, pendingRow } from './entry.ts';
import type { Entry, KeptOutput, KeptRow, Row, RowContent } from './entry.ts';
import type { Parking } from './parking.ts';

export interface KeptOutputsOptions {
  readonly clock: Clock;
  readonly committer: Committer;
  readonly parking: Parking;
  queueOf(egressId: string): EgressQueue;
  /** A record of the open group that is offered to nobody before it is durable. */
  create(ingressId: string, event: CloudEvent): Entry;
}

export class KeptOutputs {
  readonly #parts: KeptOutputsOptions;

  constructor(parts: KeptOutputsOptions) {
    this.#parts = parts;
  }

  /**
   * Work or a parked entry goes to the record it is about: the delivery's, its origin's, or a new one, which is
   * returned.
   */
  keep(row: Row, content: RowContent, output: KeptOutput): Entry | undefined {
    const { queue } = row;
    const { committer, create, clock, queueOf } = this.#parts;
    const { egressId } = output;
    // That of the delivery, too: a line of hops that has come back to it is about events that its records do not have.
    if (egressId !== undefined) return this.#keepElsewhere(queueOf(egressId), content, output);
    const group = committer.open;
    const pending = pendingRow(output, clock.nowMs(), originOf(row, content, output));
    const own = output.event === content.event ? row : undefined;
    const record = own ?? (output.event === content.origin?.event ? content.origin : undefined);
    const sizeBytes = own ? content.sizeBytes : eventSizeBytes(output.event);
    let created: Entry | undefined;
    if (record && own?.entry?.state !== 'open') {
      group.putRow({ queue, position: record.position, sizeBytes, row: pending });
    } else {
      if (!own?.entry) created = create(content.account.id, output.event);
      const entry = own?.entry ?? created;
      entry?.rows.set(queue, pending);
      // Never counted down: it is safe when it is durable.
      if (created) created.uncounted = 1;
      if (pending.kind === 'work' && pending.origin !== undefined) group.refer(pending.origin, 1);
      group.hurry();
    }
    this.#count(queue, pending, sizeBytes);
    return created;
  }

  /** For another egress than the delivery's: a record of its own, and one for what it replies to. */
  #keepElsewhere(queue: EgressQueue, { account }: RowContent, output: KeptOutput): Entry {
    const { committer, create, clock } = this.#parts;
    const entry = create(account.id, output.event);
    const replied = output.kind === 'work' ? output.origin : undefined;
    const origin = replied && create(account.id, replied);
    if (origin) committer.open.refer(origin.position, 1);
    const pending = pendingRow(output, clock.nowMs(), origin?.position);
    entry.rows.set(queue, pending);
    // Never counted down: it is safe when it is durable.
    entry.uncounted = 1;
    committer.open.hurry();
    this.#count(queue, pending, entry.sizeBytes);
    return entry;
  }

  #count(queue: EgressQueue, pending: KeptRow, sizeBytes: number): void {
    if (pending.kind === 'parked') this.#parts.parking.arrived(queue, sizeBytes);
    else if (pending.dueAtMs === 0) queue.counts.ready += 1;
    else queue.counts.delayed += 1;
  }
}
