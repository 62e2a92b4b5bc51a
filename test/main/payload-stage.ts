/**
 * Claimed payloads as a running knear has them: a real log, in memory or on a disk, a real keeper, the admin server. What
 * records name is what the log says; `settle` ends the events, so that nobody needs their payloads.
 */
import path from 'node:path';
import { pino } from 'pino';
import { GroupedLog } from '../../broker/log/grouped-log.ts';
import { LmdbStore } from '../../broker/log/lmdb.ts';
import { MemoryStore } from '../../broker/log/memory.ts';
import { FilePayloadStore } from '../../broker/payload/file-store.ts';
import type { PayloadKeeper } from '../../broker/payload/payloads.ts';
import { claimOf, payloadId, type PayloadRef } from '../../core/event.ts';
import type { PayloadStore } from '../../core/ports/payload-store.ts';
import { openAdmin, type Admin } from '../../main/admin.ts';
import { payloadRoutes, type PayloadRoutesOptions } from '../../main/inside/payload-routes.ts';
import { INTENT_HEADER } from '../../main/intent.ts';
import { systemClock } from '../../main/time.ts';
import { WIDE } from '../broker/log-stage.ts';
import { eventOf } from '../dispatcher/resources.ts';
import { FakeClock } from '../fakes/clock.ts';
import { openTestPayloads } from '../fakes/payloads.ts';

export type Place = 'memory' | 'disk';

/** Whose payloads there are, unless a test says so. */
const OWNER = 'of-this-test';
const EGRESS = 'Trigger/default/audit';

export interface PayloadStage {
  readonly admin: Admin;
  readonly log: GroupedLog;
  readonly payloads: PayloadKeeper;
  readonly store: PayloadStore;
  /** That of payloads and routes; the log has the real one. */
  readonly clock: FakeClock;
  /** What the admin server told its log. */
  readonly logged: readonly string[];
  /** Takes in an event with this data; returns the ticket when it is durable. */
  claim(data: Uint8Array | string, namespace?: string): Promise<PayloadRef>;
  /** Takes in events with these tickets, whatever is in the store. */
  enter(...refs: readonly PayloadRef[]): Promise<void>;
  /** Payloads in the store that no record names. */
  orphans(count: number): Promise<void>;
  /** Ends all events. */
  settle(): Promise<void>;
  /** The file of a payload, on a disk. */
  fileOf(ref: PayloadRef): string;
  get(path: string): Promise<{ readonly status: number; readonly answer: unknown }>;
  post(
    path: string,
    body?: unknown,
  ): Promise<{ readonly status: number; readonly answer: unknown }>;
}

export interface PayloadStageOptions {
  /** Whose log it is. */
  readonly logId?: string;
  /** What the routes see of the payloads. */
  readonly seen?: (payloads: PayloadKeeper) => PayloadRoutesOptions['payloads'];
}

export async function openPayloadStage(
  place: Place,
  { logId = OWNER, seen = (payloads) => payloads }: PayloadStageOptions = {},
): Promise<PayloadStage> {
  const clock = new FakeClock();
  let log: GroupedLog | undefined;
  const { payloads, store, spool, folder } = await openTestPayloads({
    clock,
    ledger: () => there(log).claims,
    ...(place === 'disk' && {
      store: (data) => FilePayloadStore.open({ folder: path.join(data, 'payloads'), clock }),
    }),
  });
  await store.identity(OWNER, { mayAdopt: true });
  const opened = GroupedLog.open({
    store:
      place === 'disk'
        ? await LmdbStore.open({ folder: path.join(folder, 'log'), clock: systemClock })
        : new MemoryStore(),
    match: (ingressId) => ({ egressIds: [ingressId], isEarly: true }),
    clock: systemClock,
    observer: { observe: () => undefined },
    limits: WIDE,
    payloads: payloads.holders,
  });
  log = opened;
  await payloads.start(logId);
  const logged: string[] = [];
  const admin = await openAdmin({
    ...{ host: '127.0.0.1', port: 0, resources: () => [], problems: () => [] },
    metrics: { contentType: 'text/plain', text: () => Promise.resolve('') },
    health: () => ({ reasons: [] }),
    routes: payloadRoutes({
      claims: opened.claims,
      payloads: seen(payloads),
      clock,
      logger: pino({ level: 'info' }, { write: (line: string) => void logged.push(line) }),
    }),
  });
  closers.push(async () => {
    await admin.close();
    await opened.close();
  });

  async function keep(data: Uint8Array | string, tenant: string): Promise<PayloadRef> {
    const intake = payloads.receive({ tenant, heldMaxBytes: 0 });
    await intake.write(Buffer.from(data));
    const kept = claimOf({ data: await intake.finish(0) });
    if (!kept) throw new Error('it was not claimed');
    return kept;
  }

  async function enter(...refs: readonly PayloadRef[]): Promise<void> {
    await opened.append(
      EGRESS,
      refs.map((ref) => ({ ...eventOf(ref.key), data: ref })),
    );
  }

  const asked = async (response: Response) => ({
    status: response.status,
    answer: await response.json(),
  });
  return {
    admin,
    log: opened,
    payloads,
    store,
    clock,
    logged,
    async claim(data, namespace = 'default') {
      const ref = await keep(data, namespace);
      await enter(ref);
      payloads.release(ref);
      return ref;
    },
    enter,
    async orphans(count) {
      for (let index = 0; index < count; index += 1) {
        const writer = spool.create();
        await writer.write(Buffer.from('left'));
        const { file, sha256 } = await writer.end();
        const key = `2026010100/${String(index).padStart(22, '0')}`;
        const { sizeBytes } = file;
        const rest = { v: 1, store: store.name, createdMs: clock.nowMs() } as const;
        await store.put({ ...rest, tenant: 'default', key, sizeBytes, sha256 }, file);
        writer.discard();
      }
    },
    async settle() {
      const { ready } = opened.lag(EGRESS);
      for (let left = ready; left > 0;) {
        const deliveries = await opened.pull(EGRESS, left, {
          signal: new AbortController().signal,
        });
        left -= deliveries.length;
        for (const delivery of deliveries) await delivery.settle([]);
      }
    },
    fileOf: (ref) => path.join(folder, 'payloads', payloadId(ref)),
    get: async (target) => asked(await fetch(admin.url + target)),
    post: async (target, body = {}) =>
      asked(
        await fetch(admin.url + target, {
          method: 'POST',
          headers: { [INTENT_HEADER]: 'yes', 'content-type': 'application/json' },
          body: JSON.stringify(body),
        }),
      ),
  };
}

function there<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('it is not there yet');
  return value;
}

const closers: (() => Promise<void>)[] = [];

/** For an `afterEach` within a `describe`, so that it runs before the payloads themselves go. */
export async function closePayloadStages(): Promise<void> {
  for (const close of closers.splice(0)) await close();
}
