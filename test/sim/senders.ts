/** Producers of the simulated world: each sends an event again and again until it is acknowledged. */
import { strict as assert } from 'node:assert';

import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import { admit } from '../../core/rules/admit.ts';
import type { Topology } from '../../core/topology.ts';
import type { Chronicle } from './chronicle.ts';
import type { SimulatedKeeper } from './payload-keeper.ts';
import type { Process } from './process.ts';
import type { SeededRandom } from './random.ts';
import { makeEvent, TTL, type Scenery } from './scenery.ts';
import type { Subscribers } from './subscribers.ts';
import type { Timeline } from './timeline.ts';

/** Of the events, where there is a line of hops: sent into the middle of it, so that they wait beside what hops. */
const INTO_LINE = 0.3;

export interface SendersOptions {
  readonly scenery: Scenery;
  readonly random: SeededRandom;
  /** Draws what is about hops only. */
  readonly lots: SeededRandom;
  readonly timeline: Timeline;
  readonly chronicle: Chronicle;
  readonly subscribers: Subscribers;
  /** When there are no new events any more. */
  readonly untilMs: number;
  process(): Process | undefined;
  topology(): Topology;
  isLarge(event: CloudEvent): boolean;
  onBug(error: unknown): void;
}

interface Sent {
  readonly ingressId: string;
  readonly event: CloudEvent;
}

export class Senders {
  readonly #options: SendersOptions;
  /** Events that are not acknowledged yet. */
  unsent = 0;
  refused = 0;

  constructor(options: SendersOptions) {
    this.#options = options;
  }

  start(producer: number): void {
    const { random, timeline, untilMs } = this.#options;
    let count = 0;
    const next = () => {
      if (timeline.nowMs >= untilMs) return;
      count += 1;
      const id = `${producer}.${count}`;
      const type = random.pick(['order.a', 'order.b', 'order.c', 'other']);
      this.unsent += 1;
      this.#send(this.#sent(id, type, `key-${random.below(3)}`));
      timeline.at(random.between(0, 400), next);
    };
    next();
  }

  #sent(id: string, type: string, key: string): Sent {
    const { scenery, lots } = this.#options;
    if (!scenery.hasHops) return { ingressId: 'broker', event: makeEvent(id, type, { key }) };
    const ingressId = lots.chance(INTO_LINE) ? 'line-3' : 'broker';
    return { ingressId, event: makeEvent(id, type, { key, ttl: TTL }) };
  }

  /** Until it is acknowledged: a producer that is refused, or whose connection breaks, sends again. */
  #send(sent: Sent): void {
    const { timeline, random, chronicle, subscribers } = this.#options;
    const { ingressId, event } = sent;
    const again = () => {
      timeline.at(random.between(50, 500), () => this.#send(sent));
    };
    const { log, clock, keeper } = this.#options.process() ?? {};
    const ingress = this.#options.topology().ingresses.get(ingressId);
    if (!log || !clock || !keeper || !ingress) {
      again();
      return;
    }
    let isAnswered = false;
    const answered = (isAcknowledged: boolean) => {
      if (isAnswered) return;
      isAnswered = true;
      if (isAcknowledged) {
        chronicle.acknowledged(ingressId, event);
        this.unsent -= 1;
      } else {
        this.refused += 1;
        again();
      }
    };
    const append = (data = event.data) => {
      const admission = admit(ingress, { ...event, data }, clock.nowMs());
      assert(admission.kind === 'admitted');
      return log.append(ingress.id, [admission.event]).then(
        () => {
          answered(true);
        },
        () => {
          answered(false);
        },
      );
    };
    if (this.#options.isLarge(event)) {
      void this.#claim(keeper, { append, answered, keep: () => subscribers.keep(keeper) });
    } else void append();
    const watch = () => {
      if (isAnswered) return;
      if (clock.isAlive) timeline.at(500, watch);
      else answered(false);
    };
    timeline.at(500, watch);
  }

  /** The payload, then the record, then the answer; the log answers for the payload when the record is kept, or nobody. */
  async #claim(
    keeper: SimulatedKeeper,
    {
      append,
      answered,
      keep,
    }: {
      readonly append: (data: PayloadRef) => Promise<void>;
      readonly answered: (isAcknowledged: boolean) => void;
      readonly keep: () => Promise<PayloadRef | undefined>;
    },
  ): Promise<void> {
    const ref = await keep();
    if (!ref) {
      answered(false);
      return;
    }
    try {
      await append(ref);
    } catch (error) {
      this.#options.onBug(error);
    }
    keeper.release(ref);
  }
}
