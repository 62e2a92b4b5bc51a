/** The other side of every delivery: subscribers that misbehave as the faults say, sinks, and an address for replies. */
import type { CloudEvent } from '../../core/event.ts';
import { codeOf } from '../../core/errors.ts';
import type { DeliveryRequest, Outcome } from '../../core/ports/deliverer.ts';
import type { PayloadRef } from '../../core/event.ts';
import type { Chronicle } from './chronicle.ts';
import type { Faults } from './faults.ts';
import type { HopWatch } from './hop-watch.ts';
import type { SimulatedPayloads } from './payload-disk.ts';
import type { SimulatedKeeper } from './payload-keeper.ts';
import type { PayloadWatch } from './payload-watch.ts';
import type { Holder } from './process.ts';
import type { SeededRandom } from './random.ts';
import { idOf, keyOf, makeEvent, type Scenery } from './scenery.ts';
import type { ProcessClock } from './timeline.ts';

export interface SubscribersOptions {
  readonly scenery: Scenery;
  readonly random: SeededRandom;
  readonly payloads: SimulatedPayloads;
  readonly chronicle: Chronicle;
  readonly watch: PayloadWatch;
  readonly hopWatch: HopWatch;
  faults(): Faults;
  /** The data of this event is kept by the payload store. */
  isLarge(event: CloudEvent): boolean;
  onBug(error: unknown): void;
}

export class Subscribers {
  readonly #options: SubscribersOptions;

  constructor(options: SubscribersOptions) {
    this.#options = options;
  }

  deliver({ clock, keeper }: Holder, request: DeliveryRequest): Promise<Outcome> {
    const { watch, hopWatch, payloads } = this.#options;
    const egressId = egressOf(request);
    if (request.wantsReply) hopWatch.requested(egressId, request.event);
    const unread = watch.read(request, egressId, keeper);
    if (unread) {
      const { random } = payloads;
      return new Promise((resolve) => {
        clock.after(random.between(0.1, 3), () => resolve(unread), random);
      });
    }
    return this.#attempt(clock, request).then((outcome) => {
      if (outcome.kind !== 'unreachable') watch.sent(request, egressId);
      const isClaimed = outcome.kind === 'replied' && this.#options.isLarge(outcome.event);
      return isClaimed ? this.#claimReply(keeper, outcome) : outcome;
    });
  }

  /** `undefined`: the store could not. */
  async keep(keeper: SimulatedKeeper): Promise<PayloadRef | undefined> {
    try {
      return await keeper.keep();
    } catch (error) {
      if (codeOf(error) !== 'KNEAR_PAYLOAD_STORE_AWAY') this.#options.onBug(error);
      return undefined;
    }
  }

  /** The subscriber takes the event; its answer is the same each time it is asked. */
  take(egressId: string, event: CloudEvent): Outcome {
    const id = idOf(event);
    const isReplying = this.#options.scenery.replying.has(egressId);
    const reply = isReplying ? `${id}>${egressId}` : undefined;
    this.#options.chronicle.taken(egressId, event, reply);
    if (!reply) return { kind: 'accepted', status: 202 };
    const answer = makeEvent(reply, `reply.${egressId}`, { key: keyOf(event) });
    return { kind: 'replied', status: 200, event: answer };
  }

  async #claimReply(
    keeper: SimulatedKeeper,
    outcome: Extract<Outcome, { kind: 'replied' }>,
  ): Promise<Outcome> {
    const data = await this.keep(keeper);
    return data
      ? { ...outcome, event: { ...outcome.event, data } }
      : { kind: 'payload', code: 'KNEAR_PAYLOAD_STORE_AWAY', detail: 'the reply is not kept' };
  }

  #attempt(clock: ProcessClock, request: DeliveryRequest): Promise<Outcome> {
    const { random, scenery } = this.#options;
    const { rejects, resets, hangs, nonsense, slow } = this.#options.faults();
    const dice = random.next();
    const isSlow = random.chance(slow);
    const delayMs = isSlow ? random.between(500, 2_900) : random.between(0.1, 3);
    const answer = (outcome: Outcome, afterMs = delayMs) =>
      new Promise<Outcome>((resolve) => {
        clock.after(afterMs, () => {
          resolve(outcome);
        });
      });
    if (dice < rejects) {
      const status = random.pick([500, 503, 429, 404, 400, 422]);
      return answer({ kind: 'rejected', status, body: Buffer.from('no') });
    }
    if (dice < rejects + resets) {
      return answer({ kind: 'unreachable', code: 'KNEAR_RESET', detail: 'reset' });
    }
    if (dice < rejects + resets + hangs) {
      const outcome = { kind: 'unreachable', code: 'KNEAR_TIMEOUT', detail: 'no answer' } as const;
      return answer(outcome, request.timeoutMs);
    }
    if (dice < rejects + resets + hangs + nonsense) {
      const code = 'KNEAR_REPLY_INVALID';
      // Where nobody wants a reply, a 2xx is a 2xx.
      if (scenery.listening.has(new URL(request.url).hostname)) this.#take(request);
      return answer({ kind: 'malformed', status: 200, code, detail: 'nonsense' });
    }
    return answer(this.#take(request));
  }

  #take({ url, event }: DeliveryRequest): Outcome {
    const { chronicle, watch } = this.#options;
    const { hostname, pathname } = new URL(url);
    watch.taken(event, egressOf({ url }));
    if (hostname === 'dead-letters') chronicle.buried(pathname.slice(1), event);
    else if (hostname === 'reply-target') chronicle.repliedOutside(event);
    else return this.take(hostname, event);
    return { kind: 'accepted', status: 202 };
  }
}

/** For whom the request is made: subscribers go by the name of their egress, sinks say it in their path. */
function egressOf({ url }: Pick<DeliveryRequest, 'url'>): string {
  const { hostname, pathname } = new URL(url);
  if (hostname === 'dead-letters') return pathname.slice(1);
  return hostname === 'reply-target' ? 'outside' : hostname;
}
