/**
 * A `GroupedLog` on a stage where nothing moves by itself: time is a FakeClock, each commit waits in a GatedStore. For
 * tests of what `GroupedLog` does between two instants; what every log does is in `test/conformance/event-log.ts`.
 *
 * Events say whom they are for: the attribute `to` lists egress ids, `held` keeps them back until they are durable.
 */
import { GroupedLog } from '../../broker/log/grouped-log.ts';
import type { LogLimits } from '../../broker/log/accounts.ts';
import type { AttributeValue, CloudEvent } from '../../core/event.ts';
import { attributeText } from '../../core/event.ts';
import type { PayloadHolders } from '../../core/ports/claims.ts';
import type { Delivery, Failure, Match, Output, Work } from '../../core/ports/event-log.ts';
import type { Happening } from '../../core/ports/observer.ts';
import { FakeClock } from '../fakes/clock.ts';
import { GatedStore } from '../fakes/gated-store.ts';

/** Limits that no test reaches unless it is about them. */
export const WIDE: LogLimits = {
  sizeMaxBytes: 1e12,
  quotaBytes: 1e12,
  reserveBytes: 0,
  parkedMax: 1_000,
  parkedBytesMax: 1e9,
  parkedAgeMs: 7 * 24 * 3_600_000,
  windowMax: 256,
};

export const INGRESS = 'orders';

/** L12: the most that a flush waits for its records to be settled. */
const GRACE_MS = 3;

export interface Stage {
  readonly log: GroupedLog;
  readonly store: GatedStore;
  readonly clock: FakeClock;
  readonly happenings: Happening[];
  /** Runs what is due now, timers apart, until nothing moves any more. */
  calm(): Promise<void>;
  /** Lets time pass, in steps of half a second so that what a timer starts can answer. */
  advance(ms: number): Promise<void>;
  /** Starts a commit that waits for `flush`: what comes now stays in the open group. */
  occupy(): Promise<void>;
  /** Makes the commit that waits durable, and whatever comes after it, until none waits. Settles may stay (L4). */
  flush(): Promise<void>;
  /** `flush`, then past the idle flush of L4. */
  flushAll(): Promise<void>;
  /** Up to `count` deliveries that can be had now. */
  pull(egressId: string, count?: number): Promise<Delivery[]>;
  /** The one delivery that can be had now; throws when there is none. */
  pullOne(egressId: string): Promise<Delivery>;
}

export interface StageOptions {
  readonly limits?: Partial<LogLimits>;
  readonly payloads?: PayloadHolders;
}

export function openStage(
  options: StageOptions & { store?: GatedStore; clock?: FakeClock } = {},
): Stage {
  const { store = new GatedStore(), clock = new FakeClock() } = options;
  const happenings: Happening[] = [];
  const log = GroupedLog.open({
    store,
    clock,
    match: matchTo,
    observer: { observe: (happening) => void happenings.push(happening) },
    limits: { ...WIDE, ...options.limits },
    ...(options.payloads && { payloads: options.payloads }),
  });
  return { log, store, clock, happenings, ...stageHands({ log, store, clock }) };
}

/** The disk as a crash leaves it, under a new log: what waited to be durable is lost. */
export function reopen(stage: Stage, options: StageOptions = {}): Stage {
  return openStage({
    ...options,
    store: new GatedStore(stage.store.tables),
    clock: new FakeClock(stage.clock.nowMs()),
  });
}

function stageHands({ log, store, clock }: Pick<Stage, 'log' | 'store' | 'clock'>) {
  const calm = async () => {
    for (let round = 0; round < 3; round += 1) {
      clock.flush();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const advance = async (ms: number) => {
    await calm();
    for (let left = ms; left > 0; left -= 500) {
      clock.advance(Math.min(left, 500));
      await calm();
    }
  };
  const occupy = async () => {
    log.append(INGRESS, [eventTo('occupier')]).catch(() => undefined);
    await calm();
  };
  const flush = async () => {
    await advance(GRACE_MS);
    while (store.pending) {
      store.pass();
      await advance(GRACE_MS);
    }
  };
  const flushAll = async () => {
    await flush();
    await advance(300);
    await flush();
  };
  const pull = async (egressId: string, count = 1) => {
    const patience = new AbortController();
    const pulled = log.pull(egressId, count, { signal: patience.signal });
    // It may fail while the log calms down, before anybody takes its answer.
    pulled.catch(() => undefined);
    await calm();
    patience.abort();
    return pulled;
  };
  const pullOne = async (egressId: string) => {
    const [delivery] = await pull(egressId);
    if (!delivery) throw new Error(`nothing to be had for ${egressId}`);
    return delivery;
  };
  return { calm, advance, occupy, flush, flushAll, pull, pullOne };
}

/** Who wants an event is written on it. */
export const matchTo: Match = (_ingressId, event) => ({
  egressIds: (attributeText(event, 'to') ?? '').split(' ').filter((id) => id !== ''),
  isEarly: !event.attributes.has('held'),
});

export function eventTo(
  to: string,
  options: { id?: string; isHeld?: boolean; sizeBytes?: number } = {},
): CloudEvent {
  const { id = to, isHeld = false, sizeBytes = 0 } = options;
  const attributes = new Map<string, AttributeValue>([
    ['specversion', '1.0'],
    ['id', id],
    ['source', '/test'],
    ['type', 'test'],
    ['to', to],
  ]);
  if (isHeld) attributes.set('held', true);
  return {
    attributes,
    headers: new Map(),
    data: sizeBytes > 0 ? Buffer.alloc(sizeBytes, 'x') : undefined,
  };
}

export const idOf = ({ event }: Pick<Delivery, 'event'>): string =>
  String(event.attributes.get('id'));

const failure: Failure = { code: 'KNEAR_REJECTED', status: 500, dest: 'http://subscriber/' };

/** Work about the event, due at once unless `dueAtMs` says otherwise. */
export function workOutput(
  event: CloudEvent,
  options: Partial<Work> & { dueAtMs?: number; origin?: CloudEvent } = {},
): Output {
  const { dueAtMs = 0, origin, ...work } = options;
  return {
    kind: 'work',
    work: { phase: 'deliver', attempt: 1, firstAtMs: 1, lastFailure: failure, ...work },
    event,
    dueAtMs,
    ...(origin && { origin }),
  };
}

/** @param atMs by default when a FakeClock starts, so that no entry is too old. */
export const parkedOutput = (event: CloudEvent, atMs = new FakeClock().nowMs()): Output => ({
  kind: 'parked',
  event,
  failure,
  atMs,
});

export const eventOutput = (event: CloudEvent, ingressId = INGRESS): Output => ({
  kind: 'event',
  ingressId,
  event,
});

/** What a promise has come to, without waiting for it. */
export interface Fate {
  state: 'pending' | 'resolved' | 'rejected';
  value?: unknown;
  code?: unknown;
}

export function fateOf(promise: Promise<unknown> | undefined): Fate {
  const fate: Fate = { state: 'pending' };
  Promise.resolve(promise).then(
    (value) => Object.assign(fate, { state: 'resolved', value }),
    (error: unknown) =>
      Object.assign(fate, { state: 'rejected', code: (error as { code?: unknown }).code }),
  );
  return fate;
}
