/**
 * L13: a payload is counted by the records that name it, in the transaction that writes or removes them. Each way that a
 * record can come and go, over plain memory and over LMDB on a real disk. The bugs hunted here: a payload that is called free
 * while something names it, one that never is, one that is twice, and one that is let go of before its record is durable.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { LmdbStore } from '../../broker/log/lmdb.ts';
import { MemoryStore } from '../../broker/log/memory.ts';
import { payloadId } from '../../core/event.ts';
import type { PayloadRef } from '../../core/event.ts';
import type { Delivery, Output } from '../../core/ports/event-log.ts';
import { payloadOf } from '../conformance/payload-store/scene.ts';
import { claimed, openClaimsStage } from './claims-stage.ts';
import type { ClaimsStage } from './claims-stage.ts';
import type { StoreFactory } from './log-adapter.ts';
import { eventOutput, eventTo, fateOf, INGRESS, parkedOutput, workOutput } from './log-stage.ts';
import { faultsOf, fillOf } from './log-tables.ts';

const STORES: readonly { name: string; make: () => Promise<StoreFactory> }[] = [
  {
    name: 'memory',
    make: async () => {
      const store = new MemoryStore();
      return { open: async () => store, remove: async () => undefined };
    },
  },
  {
    name: 'LMDB',
    make: async () => {
      const folder = await mkdtemp(path.join(tmpdir(), 'knear-claims-'));
      return {
        open: (clock) => LmdbStore.open({ folder, clock }),
        remove: () => rm(folder, { recursive: true }),
      };
    },
  },
];

describe.each(STORES)('over $name', ({ make }) => {
  let stores: StoreFactory;
  let stage: ClaimsStage;
  let ref: PayloadRef;

  beforeEach(async () => {
    stores = await make();
    stage = await openClaimsStage(stores);
    ref = payloadOf().ref;
  });

  afterEach(async () => {
    expect(faultsOf(stage.store)).toEqual([]);
    expect([...stage.holders.held]).toEqual([]);
    await stage.close();
    await stores.remove();
  });

  const recordsOf = (of = ref) => stage.log.claims.claim(payloadId(of))?.records;
  const free = () => stage.holders.free;
  /** Durably, in one settle. */
  async function settle(egressId: string, outputs: (delivery: Delivery) => Output[] = () => []) {
    const delivery = await stage.pullOne(egressId);
    await Promise.all([delivery.settle(outputs(delivery)), stage.quiet()]);
    await stage.quiet();
  }

  describe('L13: a payload', () => {
    test('has a row with its record, is held until that is durable, and is free when it is gone', async () => {
      const goOn = stage.store.hold();
      const appended = stage.append('a', ref);
      await stage.quiet();
      // By the door and by the record.
      expect(stage.holders.held.get(payloadId(ref))).toBe(2);
      expect(recordsOf()).toBeUndefined();
      goOn();
      await appended;
      expect(stage.log.claims.claim(payloadId(ref))).toEqual({ ref, records: 1 });
      const named = { id: payloadId(ref), isNamed: true };
      expect(stage.holders.letGo).toEqual([named, named]);
      await settle('a');
      expect([recordsOf(), free()]).toEqual([undefined, [payloadId(ref)]]);
      expect(fillOf(stage.store)).toEqual({});
    });

    test('that a hand-over brought into a second record stays until both are gone', async () => {
      await stage.append('a b', ref, 'input');
      expect(recordsOf()).toBe(1);
      await settle('a', () => [eventOutput(claimed('c', ref, 'handed'))]);
      expect([recordsOf(), free()]).toEqual([2, []]);
      await settle('b');
      expect([recordsOf(), free()]).toEqual([1, []]);
      await settle('c');
      expect([recordsOf(), free()]).toEqual([undefined, [payloadId(ref)]]);
    });

    test('that goes from record to record is free at no time in between', async () => {
      await stage.append('a', ref);
      for (const [from, to] of ['ab', 'bc', 'cd'].map((way) => way.split(''))) {
        await settle(from ?? '', () => [eventOutput(claimed(to ?? '', ref))]);
        expect([recordsOf(), free()]).toEqual([1, []]);
      }
      await settle('d');
      expect(free()).toEqual([payloadId(ref)]);
    });

    test('of an event that nobody wants is not the log’s business', async () => {
      await stage.append('', ref, 'unwanted');
      await stage.quiet();
      expect([stage.store.claimsWritten, free()]).toEqual([0, []]);
      expect(stage.holders.letGo).toEqual([{ id: payloadId(ref), isNamed: false }]);
    });

    test('of an event that is settled first leaves no row, and is held by nobody', async () => {
      const goOn = stage.store.hold();
      void stage.log.append(INGRESS, [eventTo('occupier')]);
      await stage.quiet();
      const appended = stage.append('a', ref);
      await (await stage.pullOne('a')).settle([]);
      await appended;
      goOn();
      await stage.quiet();
      expect([stage.store.claimsWritten, free()]).toEqual([0, []]);
      const unnamed = { id: payloadId(ref), isNamed: false };
      expect(stage.holders.letGo).toEqual([unnamed, unnamed]);
    });

    test('that is handed on in memory has the row of the record that is written', async () => {
      const goOn = stage.store.hold();
      void stage.log.append(INGRESS, [eventTo('occupier')]);
      await stage.quiet();
      const appended = stage.append('a', ref);
      void (await stage.pullOne('a')).settle([eventOutput(claimed('b', ref))]);
      goOn();
      await appended;
      await stage.quiet();
      expect([recordsOf(), stage.store.claimsWritten, free()]).toEqual([1, 1, []]);
    });

    test('is named twice by two events of one append', async () => {
      await stage.log.append(INGRESS, [claimed('a', ref, 'one'), claimed('a', ref, 'two')]);
      expect(recordsOf()).toBe(2);
      await settle('a');
      await settle('a');
      expect(free()).toEqual([payloadId(ref)]);
    });

    test('of a reply that waits stays beside that of the event it answers', async () => {
      const answer = payloadOf({ tenant: 'team-b' }).ref;
      await stage.append('a', ref);
      await settle('a', ({ event: origin }) => [
        workOutput(claimed('', answer, 'answer'), { phase: 'reply', origin }),
      ]);
      expect([recordsOf(), recordsOf(answer), free()]).toEqual([1, 1, []]);
      await settle('a', ({ event, origin }) => [
        workOutput(event, { phase: 'reply', attempt: 2, ...(origin && { origin }) }),
      ]);
      expect([recordsOf(), recordsOf(answer), free()]).toEqual([1, 1, []]);
      // The reply is given up; the event goes to the dead letter sink.
      await settle('a', ({ event, origin }) => [
        workOutput(origin ?? event, { phase: 'dead-letter' }),
      ]);
      expect([recordsOf(), free()]).toEqual([1, [payloadId(answer)]]);
      await settle('a');
      expect(free()).toEqual([payloadId(answer), payloadId(ref)]);
    });

    test('of a reply goes together with that of the event it answers, when the reply is taken', async () => {
      const answer = payloadOf({ tenant: 'team-b' }).ref;
      await stage.append('a', ref);
      await settle('a', ({ event: origin }) => [
        workOutput(claimed('', answer, 'answer'), { phase: 'reply', origin }),
      ]);
      await settle('a');
      expect(free().toSorted()).toEqual([payloadId(ref), payloadId(answer)].toSorted());
      expect([recordsOf(), recordsOf(answer)]).toEqual([undefined, undefined]);
    });

    const ENDS = [
      { name: 'dropped', act: (at: number) => stage.log.dropParked('a', [at]), isFree: true },
      { name: 'replayed', act: (at: number) => stage.log.replay('a', [at]), isFree: false },
    ];
    test.each(ENDS)('stays with what is parked until that is $name', async ({ act, isFree }) => {
      await stage.append('a', ref);
      await settle('a', ({ event }) => [parkedOutput(event, stage.nowMs())]);
      expect([recordsOf(), free()]).toEqual([1, []]);
      const [entry] = await stage.log.parked('a', { limit: 1 });
      expect(entry?.event.data).toEqual(ref);
      await Promise.all([act(entry?.position ?? 0), stage.quiet()]);
      expect(free()).toEqual(isFree ? [payloadId(ref)] : []);
      if (!isFree) await settle('a');
      expect([recordsOf(), free()]).toEqual([undefined, [payloadId(ref)]]);
    });

    test('goes with its egress, whatever waits there: a record, Work, a reply and its event, a parked entry', async () => {
      const refs = Array.from({ length: 5 }, () => payloadOf().ref);
      const [work, origin, answer, parked, other] = refs;
      if (!work || !origin || !answer || !parked || !other) throw new Error('there are five');
      await stage.append('a', work);
      await settle('a', ({ event }) => [workOutput(event, { dueAtMs: stage.nowMs() + 3_600_000 })]);
      await stage.append('a', origin);
      await settle('a', ({ event }) => [
        workOutput(claimed('', answer), {
          phase: 'reply',
          origin: event,
          dueAtMs: stage.nowMs() + 3_600_000,
        }),
      ]);
      await stage.append('a', parked);
      await settle('a', ({ event }) => [parkedOutput(event, stage.nowMs())]);
      await stage.append('a b', other);
      await stage.append('a', ref);
      await Promise.all([stage.log.drop('a'), stage.quiet()]);
      const gone = [work, origin, answer, parked, ref].map(payloadId);
      expect(free().toSorted()).toEqual(gone.toSorted());
      expect(recordsOf(other)).toBe(1);
    });

    test('is counted by the next process as by this one', async () => {
      await stage.append('a b', ref, 'input');
      await settle('a', () => [eventOutput(claimed('c', ref, 'handed'))]);
      stage = await stage.restart();
      expect(stage.log.claims.claim(payloadId(ref))).toEqual({ ref, records: 2 });
      await settle('b');
      expect([recordsOf(), free()]).toEqual([1, []]);
      await settle('c');
      expect([recordsOf(), free()]).toEqual([undefined, [payloadId(ref)]]);
    });
  });

  describe('L11, L13: a commit that fails', () => {
    test('leaves no row for what it should have written, and nobody holds it', async () => {
      stage.store.failNext();
      const appended = fateOf(stage.append('a', ref));
      await stage.quiet();
      expect(appended).toMatchObject({ state: 'rejected', code: 'KNEAR_LOG_FAILED' });
      const unnamed = { id: payloadId(ref), isNamed: false };
      expect(stage.holders.letGo).toEqual([unnamed, unnamed]);
      expect([recordsOf(), free()]).toEqual([undefined, []]);
      await stage.skip(1_000);
      await stage.append('a', ref);
      expect(recordsOf()).toBe(1);
    });

    test('frees nothing: what it should have removed is offered again, and goes with the next', async () => {
      await stage.append('a', ref);
      const delivery = await stage.pullOne('a');
      stage.store.failNext();
      const settled = fateOf(delivery.settle([eventOutput(claimed('b', ref))]));
      await stage.quiet();
      expect(settled).toMatchObject({ state: 'rejected', code: 'KNEAR_LOG_FAILED' });
      expect([recordsOf(), free()]).toEqual([1, []]);
      await stage.skip(1_000);
      await settle('a');
      expect([recordsOf(), free()]).toEqual([undefined, [payloadId(ref)]]);
    });
  });

  describe('redact', () => {
    test('is durable, and stays with the payload as long as a record names it', async () => {
      await stage.append('a b', ref, 'input');
      const atMs = stage.nowMs();
      const redacting = stage.log.claims.redact(payloadId(ref));
      await stage.quiet();
      expect(await redacting).toBe(true);
      await settle('a', () => [eventOutput(claimed('c', ref, 'handed'))]);
      stage = await stage.restart();
      const claim = stage.log.claims.claim(payloadId(ref));
      expect(claim).toMatchObject({ ref, records: 2 });
      expect(claim?.redactedAtMs).toBeGreaterThanOrEqual(atMs);
      await settle('b');
      expect(stage.log.claims.claim(payloadId(ref))).toEqual({ ...claim, records: 1 });
      await settle('c');
      expect(free()).toEqual([payloadId(ref)]);
    });

    test('survives a settle in the same group that takes one record, and one that gives one', async () => {
      await stage.append('a b', ref, 'input');
      for (const outputs of [[eventOutput(claimed('c', ref))], []]) {
        const delivery = await stage.pullOne('ab'[outputs.length === 0 ? 1 : 0] ?? '');
        const settling = delivery.settle(outputs);
        const redacting = stage.log.claims.redact(payloadId(ref));
        await stage.quiet();
        await settling;
        expect(await redacting).toBe(true);
        const records = outputs.length === 0 ? 1 : 2;
        const redactedAtMs = expect.any(Number);
        expect(stage.log.claims.claim(payloadId(ref))).toEqual({ ref, records, redactedAtMs });
      }
      expect(free()).toEqual([]);
    });

    test('finds nothing to redact when the last settle rides in the same group', async () => {
      await stage.append('a', ref);
      void (await stage.pullOne('a')).settle([]);
      const redacting = stage.log.claims.redact(payloadId(ref));
      await stage.quiet();
      expect(await redacting).toBe(false);
      expect([recordsOf(), free()]).toEqual([undefined, [payloadId(ref)]]);
    });

    test('frees nothing a second time that the commit before has freed', async () => {
      await stage.append('a', ref);
      const goOn = stage.store.hold();
      await (await stage.pullOne('a')).settle([]);
      await stage.quiet();
      // It is still to be seen, for the commit that removes it is under way.
      const redacting = stage.log.claims.redact(payloadId(ref));
      goOn();
      await stage.quiet();
      expect(await redacting).toBe(false);
      expect([recordsOf(), free()]).toEqual([undefined, [payloadId(ref)]]);
    });

    test('knows nothing of what no record names, and nothing of what is not durable yet', async () => {
      expect(await stage.log.claims.redact(payloadId(ref))).toBe(false);
      const goOn = stage.store.hold();
      const appended = stage.append('a', ref);
      await stage.quiet();
      expect(await stage.log.claims.redact(payloadId(ref))).toBe(false);
      goOn();
      await appended;
    });

    test('is refused while the disk fails, and undone with the commit that does', async () => {
      await stage.append('a', ref);
      stage.store.failNext();
      const redacting = fateOf(stage.log.claims.redact(payloadId(ref)));
      await stage.quiet();
      expect(redacting).toMatchObject({ state: 'rejected', code: 'KNEAR_LOG_FAILED' });
      const refused = { code: 'KNEAR_LOG_FAILED' };
      await expect(stage.log.claims.redact(payloadId(ref))).rejects.toMatchObject(refused);
      await stage.skip(1_000);
      expect(stage.log.claims.claim(payloadId(ref))).toEqual({ ref, records: 1 });
    });
  });

  describe('the list of claims', () => {
    test('comes in pages, by namespace and key, from behind what is known', async () => {
      const refs = ['team-b', 'team', 'team-a', 'team-a', 'team'].map(
        (tenant, index) => payloadOf({ tenant, hour: `202601010${index}` }).ref,
      );
      await stage.log.append(
        INGRESS,
        refs.map((each, index) => claimed('a', each, `e${index}`)),
      );
      const ids = refs.map(payloadId).toSorted();
      const pages: string[][] = [];
      for (let page = stage.log.claims.claims({ limit: 2 }); page.length > 0;) {
        pages.push(page.map((claim) => payloadId(claim.ref)));
        page = stage.log.claims.claims({ after: pages.at(-1)?.at(-1) ?? '', limit: 2 });
      }
      expect(pages).toEqual([ids.slice(0, 2), ids.slice(2, 4), ids.slice(4)]);
      expect(stage.log.claims.claims({ limit: 100 })).toHaveLength(5);
      // A name that is not there (any more) is a place all the same.
      expect(stage.log.claims.claims({ after: 'team-b', limit: 100 })).toHaveLength(3);
      expect(stage.log.claims.claims({ limit: 0 })).toEqual([]);
    });
  });
});
