/**
 * What must hold for events with large data, seen from outside: by whoever is offered them, reads them, and gets them as dead
 * letters. The promises W8 to W11 are told in `world.ts`.
 */
import { strict as assert } from 'node:assert';

import { attributeText, claimOf, payloadId } from '../../core/event.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import type { ClaimLedger } from '../../core/ports/claims.ts';
import type { DeliveryRequest, Outcome } from '../../core/ports/deliverer.ts';
import type { Delivery } from '../../core/ports/event-log.ts';
import type { Happening } from '../../core/ports/observer.ts';
import type { SimulatedPayloads, Spoilt } from './payload-disk.ts';
import type { SimulatedKeeper } from './payload-keeper.ts';
import { idOf } from './scenery.ts';

type Attempted = Extract<Happening, { kind: 'attempted' }>;
type Ended = Extract<Happening, { kind: 'ended' }>;

/** What says that the data is lost for good. */
const LOST: readonly string[] = [
  'KNEAR_PAYLOAD_MISSING',
  'KNEAR_PAYLOAD_CORRUPT',
  'KNEAR_PAYLOAD_REDACTED',
] satisfies Spoilt[];

export class PayloadWatch {
  readonly #payloads: SimulatedPayloads;
  readonly #isLeaseKept: boolean;
  /** By ticket, as an object: who was offered a record shares it with whoever was offered the same. */
  readonly #offered = new WeakMap<PayloadRef, Set<Delivery>>();
  /** `egress|event` -> why its data, or that of its reply, could not be read. */
  readonly #unreadable = new Map<string, Set<string>>();
  /** `egress|digest` -> why the subscriber could not get it. */
  readonly #undeliverable = new Map<string, Set<string>>();
  /** `egress|event` -> failed attempts; egress -> leases without an outcome. */
  readonly #failures = new Map<string, number>();
  readonly #leasesLost = new Map<string, number>();
  /** The first promise that was broken. */
  broken: unknown;
  stalls = 0;

  /** @param options.isLeaseKept nobody delivers what somebody else was offered since. */
  constructor(payloads: SimulatedPayloads, options: { readonly isLeaseKept: boolean }) {
    this.#payloads = payloads;
    this.#isLeaseKept = options.isLeaseKept;
  }

  /** W8 */
  offered(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) {
      for (const { data } of [delivery.event, delivery.origin ?? delivery.event]) {
        const ref = claimOf({ data });
        if (!ref) continue;
        const known = this.#offered.get(ref) ?? new Set();
        this.#offered.set(ref, known.add(delivery));
        if (delivery.isOpen && this.#isGone(ref)) this.#break('W8', delivery.egressId, delivery);
      }
    }
  }

  /** What comes of it instead of an attempt; `undefined`: the data can be read. W8, W9 */
  read(request: DeliveryRequest, egressId: string, keeper: SimulatedKeeper): Outcome | undefined {
    const { event, wantsReply } = request;
    const ref = claimOf(event);
    const code = ref && keeper.unreadable(ref);
    if (!code) return undefined;
    const outcome = { kind: 'payload', code, detail: `simulated: ${code}` } as const;
    if (code === 'KNEAR_PAYLOAD_STORE_AWAY') return outcome;
    if (this.#isGone(ref)) {
      if (this.#isNeeded(ref)) this.#break('W8', egressId, { event });
      return outcome;
    }
    if (!this.#payloads.spoilt.get(ref.sha256)?.codes.has(code))
      this.#break('W9', egressId, { event });
    const id = wantsReply ? idOf(event) : inputOf(egressId, event);
    addTo(this.#unreadable, `${egressId}|${id}`, code);
    if (wantsReply) addTo(this.#undeliverable, `${egressId}|${ref.sha256}`, code);
    return outcome;
  }

  /** The subscriber has all of it now. */
  sent({ event }: DeliveryRequest, egressId: string): void {
    const ref = claimOf(event);
    if (ref && this.#isGone(ref) && this.#isNeeded(ref)) this.#break('W8', egressId, { event });
  }

  /** W9: somebody takes it, with its data, or as a letter that says truly what has become of that. */
  taken(event: CloudEvent, egressId: string): void {
    const code = attributeText(event, 'knearerror');
    const digest = attributeText(event, 'knearsha256') ?? '';
    const { ref, codes } = this.#payloads.spoilt.get(digest) ?? {};
    const isTrue =
      [...(codes ?? [])].some((each) => each === code) &&
      attributeText(event, 'knearsize') === String(ref?.sizeBytes);
    const isWhole = event.data !== undefined && code === undefined;
    if (!isWhole && !(isTrue && event.data === undefined)) this.#break('W9', egressId, { event });
  }

  observe(happening: Happening): void {
    if (happening.kind === 'attempted') this.#attempted(happening);
    if (happening.kind === 'ended') this.#ended(happening);
    if (happening.kind === 'stalled') this.stalls += 1;
    if (happening.kind === 'lease-lost') {
      const { egressId } = happening;
      this.#leasesLost.set(egressId, (this.#leasesLost.get(egressId) ?? 0) + 1);
    }
  }

  /** W11 */
  checkAtTheEnd({ holders }: SimulatedKeeper, ledger: ClaimLedger): void {
    const claims = ledger.claims({ limit: Number.MAX_SAFE_INTEGER });
    const { objects, spoilt } = this.#payloads;
    const isThere = (ref: PayloadRef) => objects.has(payloadId(ref)) || !spoilt.has(ref.sha256);
    const kept = claims.filter(({ ref }) => isThere(ref)).map(({ ref }) => payloadId(ref));
    assert.deepEqual([...objects.keys()].toSorted(), kept.toSorted(), 'W11: what the store holds');
    const bytes = claims.reduce((sum, { ref }) => sum + ref.sizeBytes, 0);
    assert.deepEqual(holders.usage(), { bytes, objects: claims.length }, 'W11: what is counted');
    assert.equal(holders.leftovers, 0, 'W11: something could not be removed');
  }

  /** W10 */
  #attempted({ egress, event, attempt, code }: Attempted): void {
    const key = `${egress.id}|${idOf(event)}`;
    const failures = this.#failures.get(key) ?? 0;
    if (attempt > 1 + failures + (this.#leasesLost.get(egress.id) ?? 0))
      this.#break('W10', egress.id, { event });
    if (code) this.#failures.set(key, failures + 1);
  }

  /** W9, W10 */
  #ended({ egress, event, end, failure }: Ended): void {
    const code = failure?.code ?? '';
    const wasUnreadable = this.#unreadable.get(`${egress.id}|${idOf(event)}`)?.has(code);
    if (LOST.includes(code) && !wasUnreadable) this.#break('W9', egress.id, { event });
    if (code.startsWith('KNEAR_PAYLOAD_') && !LOST.includes(code))
      this.#break('W10', egress.id, { event });
    const lost = this.#undeliverable.get(`${egress.id}|${claimOf(event)?.sha256 ?? ''}`);
    if (!lost) return;
    const isDelivered = end === 'delivered' && this.#isLeaseKept;
    const isGivenUp = end === 'dead-lettered' || end === 'parked';
    if (isDelivered || (isGivenUp && !lost.has(code))) this.#break('W9', egress.id, { event });
  }

  #isGone(ref: PayloadRef): boolean {
    return !this.#payloads.objects.has(payloadId(ref)) && !this.#payloads.spoilt.has(ref.sha256);
  }

  /** Nobody needs a record that was settled by somebody else, or whose write has failed. */
  #isNeeded(ref: PayloadRef): boolean {
    const deliveries = this.#offered.get(ref);
    return !deliveries || [...deliveries].some(({ isOpen }) => isOpen);
  }

  #break(promise: string, egressId: string, { event }: { readonly event: CloudEvent }): void {
    const { sha256 = 'no payload' } = claimOf(event) ?? {};
    this.broken ??= new assert.AssertionError({
      message: `${promise}: ${egressId} and ${idOf(event)}, ${sha256}`,
    });
  }
}

function addTo(sets: Map<string, Set<string>>, key: string, value: string): void {
  sets.set(key, (sets.get(key) ?? new Set()).add(value));
}

/** The event itself, or the one that it is the reply to. */
function inputOf(egressId: string, event: CloudEvent): string {
  const id = idOf(event);
  const suffix = `>${egressId}`;
  return id.endsWith(suffix) ? id.slice(0, -suffix.length) : id;
}
