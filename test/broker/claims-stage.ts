/**
 * A `GroupedLog` over whatever store, with somebody who writes down what it tells of payloads, and a commit that can be held
 * up or made to fail. Time is real but for what is skipped, so that a real disk can answer.
 */
import { GroupedLog } from '../../broker/log/grouped-log.ts';
import type { Change } from '../../broker/log/store.ts';
import { payloadId } from '../../core/event.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import type { PayloadHolders } from '../../core/ports/claims.ts';
import type { Delivery, Position } from '../../core/ports/event-log.ts';
import { SkippingClock } from '../fakes/skipping-clock.ts';
import { skippingOf, WatchedStore } from './log-adapter.ts';
import type { StoreFactory } from './log-adapter.ts';
import { eventTo, INGRESS, matchTo, WIDE } from './log-stage.ts';

/** What the log has told, in order. */
class RecordingHolders implements PayloadHolders {
  readonly held = new Map<string, number>();
  /** Whether a record named it, durably, when it was let go of. */
  readonly letGo: { readonly id: string; readonly isNamed: boolean }[] = [];
  readonly free: string[] = [];
  readonly #isNamed: (id: string) => boolean;

  constructor(isNamed: (id: string) => boolean) {
    this.#isNamed = isNamed;
  }

  hold(ref: PayloadRef): void {
    const id = payloadId(ref);
    this.held.set(id, (this.held.get(id) ?? 0) + 1);
  }

  release(ref: PayloadRef): void {
    const id = payloadId(ref);
    const left = (this.held.get(id) ?? 0) - 1;
    if (left < 0) throw new Error(`${id} is let go of by somebody who does not hold it`);
    if (left === 0) this.held.delete(id);
    else this.held.set(id, left);
    this.letGo.push({ id, isNamed: this.#isNamed(id) });
  }

  freed(ref: PayloadRef): void {
    const id = payloadId(ref);
    if (this.#isNamed(id)) throw new Error(`${id} is called free while a record names it`);
    this.free.push(id);
  }
}

export interface ClaimsStage {
  readonly log: GroupedLog;
  readonly holders: RecordingHolders;
  readonly store: GatedCommits;
  /** As the door does: held before, let go of when the log has answered. */
  append(to: string, ref: PayloadRef, id?: string): Promise<Position[]>;
  pullOne(egressId: string): Promise<Delivery>;
  /** What is settled is durable. */
  quiet(): Promise<void>;
  skip(ms: number): Promise<void>;
  nowMs(): number;
  /** Another process, over what this one has left. */
  restart(): Promise<ClaimsStage>;
  close(): Promise<void>;
}

export async function openClaimsStage(stores: StoreFactory): Promise<ClaimsStage> {
  const clock = new SkippingClock();
  const store = new GatedCommits(await stores.open(clock));
  const holders = new RecordingHolders((id) => log.claims.claim(id) !== undefined);
  const log = GroupedLog.open({
    store,
    match: matchTo,
    clock,
    observer: { observe: () => undefined },
    limits: WIDE,
    payloads: holders,
  });
  const { skip, quiet } = skippingOf(clock, () => store.isWriting);
  return {
    log,
    holders,
    store,
    append: async (to, ref, id = to) => {
      holders.hold(ref);
      try {
        return await log.append(INGRESS, [claimed(to, ref, id)]);
      } finally {
        holders.release(ref);
      }
    },
    pullOne: async (egressId) => {
      const [delivery] = await log.pull(egressId, 1, new AbortController());
      if (!delivery) throw new Error(`nothing to be had for ${egressId}`);
      return delivery;
    },
    quiet,
    skip,
    nowMs: () => clock.nowMs(),
    restart: async () => {
      await log.close();
      return openClaimsStage(stores);
    },
    close: () => log.close(),
  };
}

/** Who wants it is written on it; its data is elsewhere. */
export function claimed(to: string, ref: PayloadRef, id = to): CloudEvent {
  return { ...eventTo(to, { id }), data: ref };
}

class GatedCommits extends WatchedStore {
  #failures = 0;
  #gate: Promise<void> | undefined;
  /** Rows of claims that were written, and not removed. */
  claimsWritten = 0;

  /** A commit is under way, and not held up. */
  get isWriting(): boolean {
    return this.isBusy && !this.#gate;
  }

  /** The next commit fails, and nothing of it is kept. */
  failNext(): void {
    this.#failures += 1;
  }

  /** Commits wait until the function that this returns is called. */
  hold(): () => void {
    let goOn = (): void => undefined;
    this.#gate = new Promise((resolve) => (goOn = resolve));
    return () => {
      this.#gate = undefined;
      goOn();
    };
  }

  protected override async write(changes: readonly Change[]): Promise<void> {
    await this.#gate;
    if (this.#failures > 0) {
      this.#failures -= 1;
      throw new Error('the disk is gone');
    }
    await super.write(changes);
    const claims = changes.filter(({ table, value }) => table === 'claim' && value);
    this.claimsWritten += claims.length;
  }
}
