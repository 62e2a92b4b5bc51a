/**
 * What a settle leaves behind: events, Work and parked entries, made durable.
 *
 * - N10 A settle publishes what it leaves behind, each under a name that follows from the delivery, and acknowledges when
 *   all of it is durable. A crash in between repeats the delivery; its second settle adds nothing to what the first has
 *   left, unless it comes to another end: then both are there.
 */
import { KnearError } from '../../../core/errors.ts';
import type { CloudEvent } from '../../../core/event.ts';
import { LEASE_MS } from '../../../core/ports/event-log.ts';
import type { Output } from '../../../core/ports/event-log.ts';
import type { Clock } from '../../../core/ports/time.ts';
import type { Row } from './egress.ts';
import type { Home } from './egresses.ts';
import { encodeMessage, type OutMessage } from './message.ts';
import type { KeptNames, Parked } from './parked.ts';
import type { Place } from './place.ts';
import type { Publisher } from './publisher.ts';
import { schedule } from './schedule.ts';

interface OutputsOptions {
  readonly clock: Clock;
  readonly publisher: Publisher;
  readonly parked: Parked;
  readonly server: { wallMs(atMs: number): number };
  readonly find: (egressId: string) => Home | undefined;
  /** Who wants an event. */
  readonly homesOf: (ingressId: string, event: CloudEvent) => readonly Home[];
  /** @throws KNEAR_LOG_FAILED when there is no stream for it */
  readonly placeFor: (ingressId: string) => Place;
}

export class Outputs {
  readonly #options: OutputsOptions;

  constructor(options: OutputsOptions) {
    this.#options = options;
  }

  /** @param index of the output, in its settle. @throws KNEAR_LOG_FULL and the codes of `faultOf` */
  async leave(row: Row, output: Output, index: number): Promise<void> {
    const { sequence } = row;
    const id = `${row.place.name}/${sequence}/${row.egress.token}/${index}/${meant(output)}`;
    if (output.kind === 'event') {
      await this.#leaveEvent(output, id);
      return;
    }
    const home = await this.#homeOf(row, output.egressId);
    // On a subject of an egress there is one message. Positions are the stream's, so those of another need their name.
    const own = home.egress === row.egress ? '' : `${row.egress.token}-`;
    const names = {
      id,
      name: `${own}${sequence}-${index}`,
      acceptedAtMs: row.content.acceptedAtMs,
    };
    home.egress.beginPublishing();
    try {
      if (output.kind === 'parked') await this.#options.parked.park(home, output, names);
      else await this.#leaveWork(home, output, names);
    } finally {
      home.egress.endPublishing();
    }
  }

  async #leaveWork(
    { egress, place }: Pick<Home, 'egress' | 'place'>,
    { event, work, origin, dueAtMs }: Extract<Output, { kind: 'work' }>,
    { id, name, acceptedAtMs }: KeptNames,
  ): Promise<void> {
    const { clock, publisher, server } = this.#options;
    const message = encodeMessage({ event, acceptedAtMs, work, ...(origin && { origin }) });
    const isLater = dueAtMs > clock.nowMs();
    const target = place.subjects.work(egress.token, event);
    const subject = isLater ? place.subjects.timer(egress.token, event, name) : target;
    if (isLater) schedule(message.headers, { atMs: server.wallMs(dueAtMs), target });
    const state = isLater ? 'delayed' : 'ready';
    egress.count(state, 1);
    try {
      const { isCopy } = await publisher.insist({ subject, message, id }, LEASE_MS);
      if (isCopy) egress.count(state, -1);
    } catch (error) {
      egress.count(state, -1);
      throw error;
    }
  }

  /** @throws KNEAR_LOG_FAILED when the egress is not known (any more): the delivery will be offered again */
  async #homeOf(row: Row, egressId = row.egress.id): Promise<Pick<Home, 'egress' | 'place'>> {
    if (egressId === row.egress.id) return row;
    const home = this.#options.find(egressId);
    if (!home) throw new KnearError('KNEAR_LOG_FAILED', `nothing is set up for ${egressId}`);
    await home.egress.dropping;
    return home;
  }

  async #leaveEvent(
    { ingressId, event }: Extract<Output, { kind: 'event' }>,
    id: string,
  ): Promise<void> {
    const { clock, publisher, homesOf, placeFor } = this.#options;
    const homes = homesOf(ingressId, event);
    if (homes.length === 0) return;
    for (const { egress } of homes) if (egress.dropping) await egress.dropping;
    const place = placeFor(ingressId);
    const message = encodeMessage({ event, acceptedAtMs: clock.nowMs() });
    const subject = place.subjects.event(ingressId, event);
    const count = (by: number) => {
      for (const { egress } of homes) egress.count('ready', by);
    };
    count(1);
    for (const { egress } of homes) egress.beginPublishing();
    try {
      // N6: who published it before has counted it, or it was there when this process came.
      if ((await publisher.insist({ subject, message, id }, LEASE_MS)).isCopy) count(-1);
    } catch (error) {
      count(-1);
      throw error;
    } finally {
      for (const { egress } of homes) egress.endPublishing();
    }
    place.bytes += sizeOf(message);
  }
}

/** What tells an output from another one of the same delivery: a line of hops may come to another end the second time. */
function meant(output: Output): string {
  switch (output.kind) {
    case 'event':
      return `event/${output.ingressId}`;
    case 'work':
    case 'parked':
      return `${output.kind}/${output.egressId ?? ''}`;
  }
}

/** About what the server counts. */
export function sizeOf({ data }: OutMessage): number {
  return data.byteLength + 300;
}

const REFUSALS = new Set([
  'KNEAR_LOG_FULL',
  'KNEAR_QUOTA',
  'KNEAR_EVENT_TOO_LARGE',
  'KNEAR_CLOSED',
]);

/**
 * What a settle says that has failed: that there is no room, or that it failed. Whether the server is away or does not let us is
 * no fault of the output, and must not end the event.
 */
export function refusalOf(error: unknown): unknown {
  if (!(error instanceof KnearError)) return error;
  if (REFUSALS.has(error.code)) return error;
  const detail = `an output was not kept, the delivery will be offered again: ${error.message}`;
  return new KnearError('KNEAR_LOG_FAILED', detail, { cause: error });
}
