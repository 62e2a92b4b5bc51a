/**
 * Who needs a payload and when it goes, over a store of files, and over a scripted one where a removal has to fail or to wait.
 * The bugs hunted here: a payload that goes while somebody needs it, one that stays when nobody does, one that is counted
 * twice or for ever, and a sweep that takes everything because the log is the wrong one.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { FilePayloadStore } from '../../broker/payload/file-store.ts';
import { Holders } from '../../broker/payload/holders.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { KnearError } from '../../core/errors.ts';
import { payloadId } from '../../core/event.ts';
import type { PayloadRef } from '../../core/event.ts';
import type { ClaimLedger } from '../../core/ports/claims.ts';
import type { PayloadStore, StoredPayload } from '../../core/ports/payload-store.ts';
import { keep, keysIn } from '../conformance/payload-store/scene.ts';
import { FakeClock } from '../fakes/clock.ts';
import { FakeLedger } from '../fakes/payloads.ts';
import { ScriptedPayloadStore } from '../fakes/scripted-payload-store.ts';

const SIZE_BYTES = 1_000;
const NOTHING = { bytes: 0, objects: 0 };
const ONE = { bytes: SIZE_BYTES, objects: 1 };

let folder: string;
let ledger: FakeLedger;
let faults: { readonly code: unknown; readonly id: string }[];
let gone: string[];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'knear-holders-'));
  ledger = new FakeLedger();
  faults = [];
  gone = [];
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

interface Scene<Store extends Pick<PayloadStore, 'list' | 'remove'>> {
  readonly store: Store;
  readonly holders: Holders;
}

function over<Store extends Pick<PayloadStore, 'list' | 'remove'>>(
  store: Store,
  asked: () => ClaimLedger = () => ledger,
): Scene<Store> {
  const holders = new Holders({
    store,
    ledger: asked,
    onFault: (error, id) => faults.push({ code: (error as KnearError).code, id }),
    onGone: (payload) => gone.push(payloadId(payload)),
  });
  return { store, holders };
}

async function overFiles(asked?: () => ClaimLedger): Promise<Scene<FilePayloadStore>> {
  const store = await FilePayloadStore.open({
    folder: path.join(folder, 'payloads'),
    clock: new FakeClock(),
  });
  return over(store, asked);
}

const overScript = (): Scene<ScriptedPayloadStore> =>
  over(new ScriptedPayloadStore({ clock: new FakeClock() }));

/** As when it was received just now: held, counted, put. */
async function received(
  { store, holders }: Scene<PayloadStore>,
  { tenant = 'team-a', sizeBytes = SIZE_BYTES } = {},
): Promise<PayloadRef> {
  const { ref } = await keep({ store, spoolFolder: folder }, { tenant, sizeBytes });
  holders.hold(ref);
  holders.count(ref, 1);
  return ref;
}

/** So many records name it. */
function record(ref: PayloadRef, records = 1): void {
  if (records > 0) ledger.rows.set(payloadId(ref), { ref, records });
  else ledger.rows.delete(payloadId(ref));
}

const failure = (code: ErrorCode = 'KNEAR_PAYLOAD_STORE_AWAY') => new KnearError(code, 'scripted');

type Act = (holders: Holders, ref: PayloadRef) => void;

const hold: Act = (holders, ref) => holders.hold(ref);
const release: Act = (holders, ref) => holders.release(ref);
const written: Act = (_holders, ref) => record(ref);
/** The last record goes, durably, and the log says so. */
const freed: Act = (holders, ref) => {
  record(ref, 0);
  holders.freed(ref);
};

describe('K12: a payload', () => {
  const STAYS: readonly { name: string; acts: readonly Act[] }[] = [
    { name: 'whoever received it holds it', acts: [] },
    { name: 'a second one holds it, and the first lets go', acts: [hold, release] },
    { name: 'a record names it, and all let go', acts: [hold, release, written, release] },
    {
      name: 'the last record is gone, and another one is on its way',
      acts: [written, release, hold, freed],
    },
  ];

  test.each(STAYS)('stays while $name', async ({ acts }) => {
    const scene = await overFiles();
    const ref = await received(scene);
    for (const act of acts) act(scene.holders, ref);
    await scene.holders.whenIdle();
    expect(await keysIn(scene.store)).toEqual([ref.key]);
    expect(scene.holders.usage()).toEqual(ONE);
    expect(gone).toEqual([]);
  });

  const GOES: readonly { name: string; acts: readonly Act[] }[] = [
    { name: 'nobody made a record of it', acts: [release] },
    { name: 'its last record is gone, after all let go', acts: [written, release, freed] },
    {
      name: 'its last record is gone before the last one lets go',
      acts: [written, freed, release],
    },
    {
      name: 'the record that was on its way was never needed',
      acts: [written, release, hold, freed, release],
    },
  ];

  test.each(GOES)('goes once, when $name', async ({ acts }) => {
    const scene = await overFiles();
    const other = await received(scene);
    const ref = await received(scene);
    for (const act of acts) act(scene.holders, ref);
    await scene.holders.whenIdle();
    expect(await keysIn(scene.store)).toEqual([other.key]);
    expect(scene.holders.usage()).toEqual(ONE);
    expect(gone).toEqual([payloadId(ref)]);
    expect(scene.holders.removed).toBe(1);
  });

  test('is gone when `whenIdle` resolves, and not before its removal is over', async () => {
    const scene = overScript();
    const ref = await received(scene);
    const goOn = scene.store.hold('remove');
    scene.holders.release(ref);
    let isIdle = false;
    const idle = scene.holders.whenIdle().then(() => (isIdle = true));
    await calm();
    expect(isIdle).toBe(false);
    expect(scene.holders.usage()).toEqual(ONE);
    goOn();
    await idle;
    expect(scene.holders.usage()).toEqual(NOTHING);
  });

  test('is not given back by somebody who does not hold it', async () => {
    const scene = await overFiles();
    const ref = await received(scene);
    record(ref);
    scene.holders.release(ref);
    expect(() => scene.holders.release(ref)).toThrow('does not hold it');
    expect(await keysIn(scene.store)).toEqual([ref.key]);
  });
});

describe('K22: whether there is a record says the log alone', () => {
  test.each<ErrorCode>(['KNEAR_LOG_CORRUPT', 'KNEAR_LOG_FAILED', 'KNEAR_CLOSED'])(
    'one that cannot be asked (%s) may well have one: a sweep decides when it can',
    async (code) => {
      let refusal: KnearError | undefined = failure(code);
      const scene = await overFiles(() => {
        if (refusal) throw refusal;
        return ledger;
      });
      const [named, orphan] = [await received(scene), await received(scene)];
      record(named);
      for (const ref of [named, orphan]) scene.holders.release(ref);
      await scene.holders.whenIdle();
      expect(await scene.holders.sweep({ isDryRun: false, isForced: true })).toMatchObject({
        seen: 2,
        orphans: 0,
      });
      expect(await keysIn(scene.store)).toHaveLength(2);
      refusal = undefined;
      await scene.holders.sweep({ isDryRun: false, isForced: false });
      expect(await keysIn(scene.store)).toEqual([named.key]);
    },
  );

  test('a bug is no answer', async () => {
    const bug = new TypeError('a bug');
    const scene = await overFiles(() => {
      throw bug;
    });
    const ref = await received(scene);
    expect(() => scene.holders.release(ref)).toThrow(bug);
    expect(await keysIn(scene.store)).toEqual([ref.key]);
  });
});

describe('K45: a sweep', () => {
  const SWEEP = { isDryRun: false, isForced: false };

  test('removes what no record names and nobody holds, and says what it saw', async () => {
    const scene = await overFiles();
    const [held, named] = [await received(scene), await received(scene)];
    record(named);
    scene.holders.release(named);
    // Of an earlier process: nobody has counted them.
    await keep({ store: scene.store, spoolFolder: folder }, { sizeBytes: 300 });
    await keep({ store: scene.store, spoolFolder: folder }, { tenant: 'team-b', sizeBytes: 40 });
    const seen = { seen: 4, orphans: 2, orphanBytes: 340 };
    const dry = await scene.holders.sweep({ isDryRun: true, isForced: true });
    expect(dry).toEqual({ ...seen, removed: 0 });
    expect(await keysIn(scene.store)).toHaveLength(4);
    expect(await scene.holders.sweep(SWEEP)).toEqual({ ...seen, removed: 2 });
    expect(await keysIn(scene.store)).toEqual([held.key, named.key].toSorted());
    expect(scene.holders.usage()).toEqual({ bytes: 2 * SIZE_BYTES, objects: 2 });
    expect(gone).toHaveLength(2);
  });

  const DOUBTS = [
    { seen: 1_000, orphans: 1_000, isForced: false, removed: 1_000 },
    { seen: 1_001, orphans: 500, isForced: false, removed: 500 },
    { seen: 1_002, orphans: 501, isForced: false, removed: 501 },
    { seen: 1_001, orphans: 501, isForced: false, removed: undefined },
    { seen: 1_001, orphans: 1_001, isForced: false, removed: undefined },
    { seen: 1_001, orphans: 1_001, isForced: true, removed: 1_001 },
  ];

  test.each(DOUBTS)(
    'of $orphans of $seen (forced: $isForced) removes $removed',
    async ({ seen, orphans, isForced, removed }) => {
      const store = new Listing(seen);
      const { holders } = over(store);
      for (const ref of store.refs.slice(orphans)) record(ref);
      const sweeping = holders.sweep({ isDryRun: false, isForced });
      if (removed === undefined) {
        const refusal = {
          code: 'KNEAR_PAYLOAD_SWEEP',
          message: expect.stringContaining('--force'),
        };
        await expect(sweeping).rejects.toMatchObject(refusal);
        expect(store.refs).toHaveLength(seen);
        const dry = { seen, orphans, orphanBytes: orphans * SIZE_BYTES, removed: 0 };
        expect(await holders.sweep({ isDryRun: true, isForced: false })).toEqual(dry);
      } else {
        expect(await sweeping).toMatchObject({ seen, orphans, removed });
        expect(store.refs).toHaveLength(seen - orphans);
      }
    },
  );

  test('looks again before it removes: what is needed by then stays', async () => {
    const store = new Listing(3);
    const { holders } = over(store);
    const [named, held, orphan] = store.refs;
    if (!named || !held || !orphan) throw new Error('there are three');
    store.beforeList = (time) => {
      if (time < 2) return;
      record(named);
      holders.hold(held);
      store.add();
      holders.hold(store.refs[3] ?? orphan);
    };
    expect(await holders.sweep(SWEEP)).toMatchObject({ seen: 3, orphans: 3, removed: 1 });
    expect(store.refs).not.toContain(orphan);
    expect(store.refs).toHaveLength(3);
  });

  test('ends at the first that cannot be removed, and the next one takes what is left', async () => {
    const scene = overScript();
    for (let count = 0; count < 3; count += 1) {
      await keep({ store: scene.store, spoolFolder: folder });
    }
    scene.store.fail('remove', failure());
    await expect(scene.holders.sweep(SWEEP)).rejects.toMatchObject({
      code: 'KNEAR_PAYLOAD_STORE_AWAY',
    });
    expect(scene.store.calls.remove).toBe(1);
    scene.store.fail('remove');
    expect(await scene.holders.sweep(SWEEP)).toMatchObject({ removed: 3 });
    expect(await keysIn(scene.store)).toEqual([]);
  });
});

describe('what could not be removed', () => {
  test('is told, counts as long as it is there, and is tried again by `collect` until it is gone', async () => {
    const scene = overScript();
    const ref = await received(scene);
    scene.store.fail('remove', failure());
    scene.holders.release(ref);
    await scene.holders.whenIdle();
    const left = () => [scene.holders.leftovers, scene.holders.usage(), scene.holders.removed];
    expect(left()).toEqual([1, ONE, 0]);
    await scene.holders.collect();
    expect(left()).toEqual([1, ONE, 0]);
    const fault = { code: 'KNEAR_PAYLOAD_STORE_AWAY', id: payloadId(ref) };
    expect(faults).toEqual([fault, fault]);
    scene.store.fail('remove');
    await scene.holders.collect();
    expect(left()).toEqual([0, NOTHING, 1]);
    expect(gone).toEqual([payloadId(ref)]);
    await scene.holders.collect();
    expect(scene.store.calls.remove).toBe(3);
  });

  test('and was removed all the same, is gone with the next try', async () => {
    const scene = overScript();
    const ref = await received(scene);
    scene.store.failAfter('remove', failure());
    scene.holders.release(ref);
    await scene.holders.whenIdle();
    expect(await keysIn(scene.store)).toEqual([]);
    expect(scene.holders.usage()).toEqual(ONE);
    await scene.holders.collect();
    expect([scene.holders.leftovers, scene.holders.usage()]).toEqual([0, NOTHING]);
  });

  test('may go with a sweep instead, and is counted down once', async () => {
    const scene = overScript();
    const ref = await received(scene);
    scene.store.fail('remove', failure());
    scene.holders.release(ref);
    await scene.holders.whenIdle();
    scene.store.fail('remove');
    await scene.holders.sweep({ isDryRun: false, isForced: false });
    expect([scene.holders.leftovers, scene.holders.usage()]).toEqual([0, NOTHING]);
    await scene.holders.collect();
    expect(scene.holders.usage()).toEqual(NOTHING);
    expect(scene.holders.removed).toBe(1);
  });

  test('is counted down once, too, when a sweep meets it on its way out', async () => {
    const scene = overScript();
    const [ref] = [await received(scene), await received(scene)];
    const goOn = scene.store.hold('remove');
    scene.holders.release(ref);
    const sweeping = scene.holders.sweep({ isDryRun: false, isForced: false });
    await calm();
    goOn();
    await sweeping;
    await scene.holders.whenIdle();
    expect(scene.holders.usage()).toEqual(ONE);
  });
});

describe('the sums', () => {
  test('are of one namespace or of all, and a namespace without payloads has none', async () => {
    const scene = await overFiles();
    const large = await received(scene, { tenant: 'team-a', sizeBytes: 5_000 });
    await received(scene, { tenant: 'team-a' });
    await received(scene, { tenant: 'team-b', sizeBytes: 70 });
    expect(scene.holders.usage('team-a')).toEqual({ bytes: 6_000, objects: 2 });
    expect(scene.holders.usage('team-b')).toEqual({ bytes: 70, objects: 1 });
    expect(scene.holders.usage('team-c')).toEqual(NOTHING);
    expect(scene.holders.usage()).toEqual({ bytes: 6_070, objects: 3 });
    scene.holders.release(large);
    await scene.holders.whenIdle();
    expect(scene.holders.usage('team-a')).toEqual(ONE);
    expect(scene.holders.usage()).toEqual({ bytes: 1_070, objects: 2 });
  });

  test('begin with what the records of an earlier process name, however many they are', () => {
    const store = new Listing(2_500);
    for (const [index, ref] of store.refs.entries()) {
      record({ ...ref, tenant: index % 2 === 0 ? 'team-a' : 'team-b' }, 1 + (index % 3));
    }
    const { holders } = over(store);
    holders.recover();
    expect(holders.usage()).toEqual({ bytes: 2_500 * SIZE_BYTES, objects: 2_500 });
    expect(holders.usage('team-b')).toEqual({ bytes: 1_250 * SIZE_BYTES, objects: 1_250 });
  });

  test('keep what was redacted until its last record is gone', async () => {
    const scene = await overFiles();
    const ref = await received(scene);
    record(ref);
    scene.holders.release(ref);
    await scene.holders.redact(ref);
    expect(await keysIn(scene.store)).toEqual([]);
    expect(gone).toEqual([payloadId(ref)]);
    expect(scene.holders.usage()).toEqual(ONE);
    freed(scene.holders, ref);
    await scene.holders.whenIdle();
    expect(scene.holders.usage()).toEqual(NOTHING);
  });
});

/** As many payloads as it takes to doubt a sweep, without as many files. */
class Listing implements Pick<PayloadStore, 'list' | 'remove'> {
  refs: PayloadRef[] = [];
  #made = 0;
  #lists = 0;
  beforeList: (time: number) => void = () => undefined;

  constructor(count: number) {
    while (this.refs.length < count) this.add();
  }

  add(): void {
    this.#made += 1;
    const key = `2026010107/${String(this.#made).padStart(22, '0')}`;
    const facts = { store: 'any', sizeBytes: SIZE_BYTES, sha256: key, createdMs: 1 };
    this.refs.push({ v: 1, tenant: 'team-a', key, ...facts });
  }

  async *list(): AsyncGenerator<StoredPayload, void, undefined> {
    this.#lists += 1;
    this.beforeList(this.#lists);
    for (const { tenant, key, sizeBytes, createdMs } of [...this.refs]) {
      yield { tenant, key, sizeBytes, modifiedMs: createdMs };
    }
  }

  async remove(payload: Pick<PayloadRef, 'tenant' | 'key'>): Promise<void> {
    this.refs = this.refs.filter((ref) => payloadId(ref) !== payloadId(payload));
  }
}

/** Lets what was begun come to its end, as far as it needs no disk. */
async function calm(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
