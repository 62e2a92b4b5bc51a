/**
 * What a log on a server does differently from one in the process, so that the dispatcher meets it in the simulated world, too:
 *
 * - It counts how often it has given a delivery, over the death of processes.
 * - An acknowledgement may get lost on its way, after what the settle leaves was kept: the delivery comes again when its lease
 *   is over, and its second settle leaves nothing that the first one has left.
 * - Nothing is given before it is durable (`isEarly` is the world's business).
 */
import { LEASE_MS } from '../../core/ports/event-log.ts';
import type { Delivery, EventLog, Output } from '../../core/ports/event-log.ts';
import type { Clock } from '../../core/ports/time.ts';
import { withPull } from '../fakes/wrapped-log.ts';
import type { SeededRandom } from './random.ts';

/** Outlives processes, as a server does. */
export class ServerHabits {
  readonly #random: SeededRandom;
  readonly #lostAcks: number;
  /** By delivery, as long as it has no outcome. */
  readonly #given = new Map<string, number>();
  /** What is kept of deliveries that will come again all the same. */
  readonly #left = new Map<string, Set<string>>();
  lost = 0;

  /** @param lostAcks probability of one acknowledgement */
  constructor(random: SeededRandom, lostAcks: number) {
    this.#random = random;
    this.#lostAcks = lostAcks;
  }

  of(log: EventLog, clock: Clock): EventLog {
    return withPull(log, async (own, ...call) => {
      const deliveries = await own(...call);
      return deliveries.map((delivery) => this.#give(delivery, clock));
    });
  }

  #give(own: Delivery, clock: Clock): Delivery {
    const key = `${own.egressId} ${own.position} ${own.phase} ${own.attempt}`;
    const lease = (this.#given.get(key) ?? 0) + 1;
    this.#given.set(key, lease);
    let isLost = false;
    return {
      ...plain(own),
      lease,
      get isOpen() {
        return !isLost && own.isOpen;
      },
      settle: (outputs) => {
        if (isLost) return undefined;
        isLost = own.isOpen && mayGetLost(own, outputs) && this.#random.chance(this.#lostAcks);
        if (isLost) {
          this.lost += 1;
          return outputs.length === 0 ? undefined : this.#leave(own, { outputs, key, clock });
        }
        this.#given.delete(key);
        const rest = this.#notLeft(key, outputs);
        this.#left.delete(key);
        return own.settle(rest);
      },
      release: () => {
        if (isLost) return;
        this.#given.set(key, lease - 1);
        own.release();
      },
      extend: () => {
        if (!isLost) own.extend();
      },
    };
  }

  /** Kept with the delivery itself, as it was, for when its lease is over: what a log in the process has for that. */
  async #leave(
    own: Delivery,
    {
      outputs,
      key,
      clock,
    }: { readonly outputs: readonly Output[]; readonly key: string; readonly clock: Clock },
  ): Promise<void> {
    const { phase, attempt, firstAtMs, lastFailure, event, origin } = own;
    const work = { phase, attempt, firstAtMs, ...(lastFailure && { lastFailure }) };
    const dueAtMs = clock.nowMs() + LEASE_MS;
    const again = { kind: 'work', work, event, ...(origin && { origin }), dueAtMs } as const;
    await own.settle([...this.#notLeft(key, outputs), again]);
    this.#left.set(key, new Set([...(this.#left.get(key) ?? []), ...outputs.map(meant)]));
  }

  #notLeft(key: string, outputs: readonly Output[]): Output[] {
    const left = this.#left.get(key);
    return outputs.filter((output) => !left?.has(meant(output)));
  }
}

/** A log in the process has one row for an event and an egress: what is left for its own cannot lie beside the delivery itself. */
function mayGetLost({ egressId }: Delivery, outputs: readonly Output[]): boolean {
  return outputs.every((output) => {
    if (output.kind === 'event') return true;
    return output.egressId !== undefined && output.egressId !== egressId;
  });
}

/** What a server tells an output by, among those of one delivery. */
function meant(output: Output): string {
  if (output.kind === 'event') return `event ${output.ingressId}`;
  const { egressId = '' } = output;
  if (output.kind === 'parked') return `parked ${egressId}`;
  return `work ${egressId} ${output.work.phase} ${output.work.attempt}`;
}

function plain(own: Delivery) {
  return {
    egressId: own.egressId,
    position: own.position,
    event: own.event,
    sizeBytes: own.sizeBytes,
    acceptedAtMs: own.acceptedAtMs,
    phase: own.phase,
    attempt: own.attempt,
    firstAtMs: own.firstAtMs,
    ...(own.lastFailure && { lastFailure: own.lastFailure }),
    ...(own.origin && { origin: own.origin }),
  };
}
