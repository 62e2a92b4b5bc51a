/**
 * A door with all that large payloads need behind it, real: a spool and a store of files on a disk, and a log that holds
 * what its records name. Only the disk of the log is one that the test can hold up and make fail.
 */
import { afterEach, expect } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { GroupedLog } from '../../broker/log/grouped-log.ts';
import { FilePayloadStore } from '../../broker/payload/file-store.ts';
import type { CloudEvent } from '../../core/event.ts';
import { claimOf, inlineData } from '../../core/event.ts';
import type { PayloadStore } from '../../core/ports/payload-store.ts';
import type { Payloads } from '../../core/ports/payloads.ts';
import type { ClaimPolicy, Ingress } from '../../core/topology.ts';
import { WIDE } from '../broker/log-stage.ts';
import { listed } from '../conformance/payload-store/scene.ts';
import { CLAIMS } from '../fakes/claims.ts';
import { FakeClock } from '../fakes/clock.ts';
import { eventuallyOnDisk } from '../fakes/eventually-on-disk.ts';
import { GatedStore } from '../fakes/gated-store.ts';
import type { TestPayloads, TestPayloadsOptions } from '../fakes/payloads.ts';
import { openTestPayloads } from '../fakes/payloads.ts';
import { SkippingClock } from '../fakes/skipping-clock.ts';
import { Wire } from './clients.ts';
import type { DoorChanges, TestDoor } from './open-door.ts';
import { EVENT_HEADERS, ingress, openDoor, topologyOf } from './open-door.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** Who wants every event. */
const EGRESS = 'trigger/default/audit';
const LOG_ID = 'this-log';
/** Past what the log waits with settles that nobody waits for (L4). */
const IDLE_MS = 300;

export interface LargeDoorOptions extends Pick<DoorChanges, 'limits'> {
  readonly claims?: Partial<ClaimPolicy>;
  readonly ingress?: Partial<Ingress>;
  readonly payloads?: Pick<TestPayloadsOptions, 'limits' | 'spoolMaxBytes'>;
  /** Instead of files. */
  readonly store?: PayloadStore;
  /** What the door sees of the payloads. */
  readonly seen?: (payloads: Payloads) => Payloads;
}

export interface LargeDoor extends Omit<TestDoor, 'log'>, TestPayloads {
  readonly log: GroupedLog;
  /** Of the log. Its commits pass unless `isGated` says that they wait. */
  readonly disk: GatedStore;
  /** Of payloads. */
  readonly payloadClock: FakeClock;
  /** What the log would hand out now, oldest first. */
  kept(): Promise<CloudEvent[]>;
  /** Every event is delivered, so that nobody needs its payload. */
  settle(): Promise<void>;
  /** Nothing is left of any request: in memory, in the spool, in the store, in the log. */
  expectNothingLeft(): Promise<void>;
}

export async function openLargeDoor(options: LargeDoorOptions = {}): Promise<LargeDoor> {
  const payloadClock = new FakeClock();
  let log: GroupedLog | undefined;
  const kept = await openTestPayloads({
    clock: payloadClock,
    ...options.payloads,
    ledger: () => there(log).claims,
    store: async (folder) =>
      options.store ?? FilePayloadStore.open({ folder: storeIn(folder), clock: payloadClock }),
  });
  const { payloads } = kept;
  // Written before the start writes it in its own time, which a short test does not wait for.
  await kept.store.identity(LOG_ID, { mayAdopt: true });
  const logClock = new SkippingClock();
  const disk = new GatedStore();
  disk.isGated = false;
  log = GroupedLog.open({
    store: disk,
    match: () => ({ egressIds: [EGRESS], isEarly: true }),
    clock: logClock,
    observer: { observe: () => undefined },
    limits: { ...WIDE, reserveBytes: 1 },
    payloads: payloads.holders,
  });
  void payloads.start(LOG_ID);
  const topology = topologyOf([
    ingress({
      name: 'orders',
      claims: { ...CLAIMS, ...options.claims },
      ...options.ingress,
    }),
  ]);
  const door = await openDoor({
    topology: () => topology,
    log,
    payloads: options.seen?.(payloads) ?? payloads,
    ...(options.limits && { limits: options.limits }),
  });
  open.push({ door, log, disk });
  return { ...door, ...kept, log, disk, payloadClock, ...hands({ door, log, logClock, kept }) };
}

type Opened = { readonly door: TestDoor; readonly log: GroupedLog; readonly disk: GatedStore };

const open: Opened[] = [];

afterEach(async () => {
  for (const { door, log, disk } of open.splice(0)) {
    disk.isGated = false;
    if (disk.pending) disk.pass();
    await door.close();
    await log.close();
  }
});

function hands({
  door,
  log,
  logClock,
  kept,
}: {
  door: TestDoor;
  log: GroupedLog;
  logClock: SkippingClock;
  kept: TestPayloads;
}) {
  const { payloads, spool, store, folder } = kept;
  const pull = async () => {
    const { ready } = log.lag(EGRESS);
    if (ready === 0) return [];
    return log.pull(EGRESS, ready, { signal: new AbortController().signal });
  };
  return {
    kept: async () => {
      const deliveries = await pull();
      for (const delivery of deliveries) delivery.release();
      return deliveries.map(({ event }) => event);
    },
    settle: async () => {
      for (const delivery of await pull()) await delivery.settle([]);
      logClock.skip(IDLE_MS);
    },
    expectNothingLeft: async () => {
      const left = async () => ({
        requests: door.door.requestsInFlight,
        held: door.door.bodyBytesHeld,
        uploads: payloads.uploads,
        memory: payloads.memoryBytes,
        spooled: spool.bytes,
        files: await readdir(path.join(folder, 'tmp')),
        stored: (await listed(store)).length,
        live: payloads.live.objects,
        events: log.lag(EGRESS).ready,
        claims: log.claims.claims({ limit: 10 }),
      });
      const nothing = {
        ...{ requests: 0, held: 0, uploads: 0, memory: 0, spooled: 0, files: [] },
        ...{ stored: 0, live: 0, events: 0, claims: [] },
      };
      await eventuallyOnDisk(async () => expect(await left()).toEqual(nothing));
    },
  };
}

/** Where the payloads of a test's folder are. */
export function storeIn(folder: string): string {
  return path.join(folder, 'payloads');
}

/** The data of an event, wherever it is. */
export async function dataIn(
  { payloads }: Pick<LargeDoor, 'payloads'>,
  event: CloudEvent | undefined,
): Promise<Buffer> {
  const ref = event && claimOf(event);
  if (!ref) return Buffer.from((event && inlineData(event)) ?? []);
  const pieces = [];
  for await (const piece of payloads.open(ref)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** The head of a request with a valid event; a header set to `undefined` is left out. */
export function head(
  headers: Readonly<Record<string, string | undefined>> = {},
  target = '/default/orders',
): string {
  const all = Object.entries({ host: 'door', ...EVENT_HEADERS, ...headers });
  const lines = all.filter(([, value]) => value !== undefined).map((pair) => pair.join(': '));
  return [`POST ${target} HTTP/1.1`, ...lines, '', ''].join('\r\n');
}

/** The two ways of telling where a body ends. */
export const FRAMINGS = [
  {
    framing: 'a declared length',
    headersOf: (body: Uint8Array): Record<string, string> => ({
      'content-length': String(body.byteLength),
    }),
    partsOf: (body: Uint8Array): (string | Uint8Array)[] => [body],
  },
  {
    framing: 'chunks',
    headersOf: (): Record<string, string> => ({ 'transfer-encoding': 'chunked' }),
    partsOf: (body: Uint8Array): (string | Uint8Array)[] => [...chunks(body), '0\r\n\r\n'],
  },
] as const;

export type Framing = (typeof FRAMINGS)[number];

/** Without the end. */
function chunks(body: Uint8Array, chunkBytes = 40_000): (string | Uint8Array)[] {
  const parts = [];
  for (let first = 0; first < body.byteLength; first += chunkBytes) {
    const chunk = body.subarray(first, first + chunkBytes);
    parts.push(`${chunk.byteLength.toString(16)}\r\n`, chunk, '\r\n');
  }
  return parts;
}

/** Sends one event, and returns all that was answered: 202, or a problem. */
export async function post(
  port: number,
  body: Uint8Array,
  { headersOf, partsOf }: Pick<Framing, 'headersOf' | 'partsOf'> = FRAMINGS[0],
  headers: Readonly<Record<string, string | undefined>> = {},
): Promise<string> {
  const wire = await Wire.open(port);
  wire.write(head({ ...headers, ...headersOf(body) }), ...partsOf(body));
  const received = await answered(wire);
  wire.reset();
  return received;
}

/** All that came up to the end of the answer. */
export async function answered(wire: Wire): Promise<string> {
  const received = await wire.until('\r\n\r\n');
  return / 20\d /.test(received) ? received : wire.until('"}');
}

export function statusesOf(received: string): string[] {
  return [...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status ?? '');
}

function there<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('it is not there yet');
  return value;
}
