/** W5: what the tables of a closed log must look like, recomputed from the rows alone. */
import { strict as assert } from 'node:assert';

import { claimOf, eventSizeBytes, payloadId } from '../../core/event.ts';
import type { Claim } from '../../core/ports/claims.ts';
import { rowKeyPosition } from '../../broker/log/keys.ts';
import type { MemoryStore } from '../../broker/log/memory.ts';
import { decodeEvent, decodeJson, decodeWork } from '../../broker/log/record.ts';
import type { StoredRow, Table } from '../../broker/log/store.ts';

const ALL = { from: Buffer.alloc(0), to: Buffer.alloc(21, 0xff), limit: Number.MAX_SAFE_INTEGER };

/** @throws AssertionError when a reference, a count or a byte is not accounted for. */
export function checkTables(store: MemoryStore): void {
  const rows = (table: Table): StoredRow[] => store.range(table, ALL);
  const references = new Map<number, number>();
  const refer = (position: number) => references.set(position, (references.get(position) ?? 0) + 1);
  const counts = new Map<number, { ready: number; delayed: number; parked: number }>();
  const count = (key: Buffer, kind: 'ready' | 'delayed' | 'parked') => {
    const egress = key.readUInt32BE(0);
    const known = counts.get(egress) ?? { ready: 0, delayed: 0, parked: 0 };
    counts.set(egress, { ...known, [kind]: known[kind] + 1 });
    refer(rowKeyPosition(key));
  };
  for (const { key } of rows('ready')) count(key, 'ready');
  for (const { key } of rows('parked')) count(key, 'parked');
  let timers = 0;
  for (const { key, value } of rows('work')) {
    const { dueAtMs, origin } = decodeWork(value);
    if (origin !== undefined) refer(origin);
    if (dueAtMs > 0 && !store.get('ready', key)) {
      count(key, 'delayed');
      timers += 1;
    }
  }
  assert.equal(rows('timer').length, timers, 'W5: timers and delayed Work differ');
  checkReferences(store, rows('event'), references);
  checkAccounts(rows('egress'), counts);
  checkBytes(rows('ingress'), rows('event'));
  checkClaims(rows('claim'), rows('event'));
}

function checkReferences(
  store: MemoryStore,
  events: readonly StoredRow[],
  references: ReadonlyMap<number, number>,
): void {
  for (const { key } of events) {
    const position = Number(key.readBigUInt64BE(0));
    const stored = store.get('refs', key)?.readUInt32BE(0) ?? 1;
    assert.equal(stored, references.get(position) ?? 0, `W5: references of ${position}`);
  }
  assert.equal(events.length, references.size, 'W5: a row refers to a record that is not there');
}

function checkAccounts(
  egresses: readonly StoredRow[],
  counts: ReadonlyMap<number, { ready: number; delayed: number; parked: number }>,
): void {
  for (const { key, value } of egresses) {
    const { id, ready, delayed, parked } = decodeJson<Record<string, number>>(value);
    const expected = counts.get(key.readUInt32BE(0)) ?? { ready: 0, delayed: 0, parked: 0 };
    assert.deepEqual({ ready, delayed, parked }, expected, `W5: counts of ${id}`);
  }
}

function checkBytes(ingresses: readonly StoredRow[], events: readonly StoredRow[]): void {
  const bytes = new Map<number, number>();
  for (const { value } of events) {
    const { ingress, event } = decodeEvent(value);
    bytes.set(ingress, (bytes.get(ingress) ?? 0) + eventSizeBytes(event));
  }
  for (const { key, value } of ingresses) {
    const stored = decodeJson<{ id: string; bytes: number }>(value);
    assert.equal(stored.bytes, bytes.get(key.readUInt32BE(0)) ?? 0, `W5: bytes of ${stored.id}`);
  }
}

/** L13: a payload has a row that says how many records name it. */
function checkClaims(claims: readonly StoredRow[], events: readonly StoredRow[]): void {
  const named: Record<string, number> = {};
  for (const { value } of events) {
    const ref = claimOf(decodeEvent(value).event);
    if (ref) named[payloadId(ref)] = (named[payloadId(ref)] ?? 0) + 1;
  }
  const stored = claims.map(({ key, value }) => {
    const { ref, records } = decodeJson<Claim>(value);
    assert.equal(payloadId(ref), key.toString('latin1'), 'W5: a payload under the name of another');
    return [payloadId(ref), records] as const;
  });
  assert.deepEqual(Object.fromEntries(stored), named, 'W5: records that name a payload');
}
