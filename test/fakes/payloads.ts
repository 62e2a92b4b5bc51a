/** What keeps large payloads, real but for its store (memory), in a folder of its own that is gone after the test. */
import { afterEach } from '@jest/globals';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { MemoryPayloadStore } from '../../broker/payload/memory-store.ts';
import { PayloadKeeper } from '../../broker/payload/payloads.ts';
import type { PayloadKeeperOptions, PayloadLimits } from '../../broker/payload/payloads.ts';
import { Spool } from '../../broker/payload/spool.ts';
import type { KnearError } from '../../core/errors.ts';
import type { Claim, ClaimLedger } from '../../core/ports/claims.ts';
import type { PayloadStore } from '../../core/ports/payload-store.ts';
import { FakeClock } from './clock.ts';

const PAYLOAD_LIMITS: PayloadLimits = {
  uploadsMax: 4,
  cacheMaxBytes: 3 * 1024 * 1024,
  collectIntervalMs: 600_000,
  isDryRun: false,
};

/** What records name, as the test says. */
export class FakeLedger implements ClaimLedger {
  isKept = true;
  readonly rows = new Map<string, Claim>();

  claim(id: string): Claim | undefined {
    return this.rows.get(id);
  }

  claims({ after = '', limit }: { after?: string; limit: number }): Claim[] {
    return [...this.rows]
      .filter(([id]) => id > after)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, limit)
      .map(([, claim]) => claim);
  }

  redact(id: string): Promise<boolean> {
    const claim = this.rows.get(id);
    if (claim) this.rows.set(id, { ...claim, redactedAtMs: 1 });
    return Promise.resolve(claim !== undefined);
  }
}

export interface TestPayloads {
  readonly payloads: PayloadKeeper;
  readonly store: PayloadStore;
  readonly spool: Spool;
  readonly ledger: FakeLedger;
  readonly folder: string;
  readonly faults: unknown[];
  readonly troubles: (KnearError | undefined)[];
}

export interface TestPayloadsOptions {
  readonly clock?: FakeClock;
  readonly limits?: Partial<PayloadLimits>;
  readonly spoolMaxBytes?: number;
  /** Made in the folder; absent: memory. */
  readonly store?: (folder: string) => Promise<PayloadStore>;
  readonly ledger?: PayloadKeeperOptions['ledger'];
}

export async function openTestPayloads(options: TestPayloadsOptions = {}): Promise<TestPayloads> {
  const { clock = new FakeClock(), limits, spoolMaxBytes = 1024 ** 3 } = options;
  const folder = mkdtempSync(path.join(tmpdir(), 'knear-payloads-'));
  const ledger = new FakeLedger();
  const faults: unknown[] = [];
  const troubles: (KnearError | undefined)[] = [];
  const store = (await options.store?.(folder)) ?? new MemoryPayloadStore({ clock });
  const spool = await Spool.open({
    folder: path.join(folder, 'tmp'),
    limits: { bytesMax: spoolMaxBytes, freeMinBytes: 0 },
    clock,
  });
  const payloads = new PayloadKeeper({
    store,
    spool,
    ledger: options.ledger ?? (() => ledger),
    clock,
    limits: { ...PAYLOAD_LIMITS, ...limits },
    onPassed: () => undefined,
    onFault: (error) => faults.push(error),
    onTrouble: (trouble) => troubles.push(trouble),
  });
  opened.push(async () => {
    await payloads.close();
    await rm(folder, { recursive: true });
  });
  return { payloads, store, spool, ledger, folder, faults, troubles };
}

const opened: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of opened.splice(0)) await close();
});
