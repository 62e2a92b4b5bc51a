/**
 * What a log's tables say, for tests: as plain values, and as the rules that hold after every commit (L9, L13, A1):
 * each reference is owned by a row, each row has its record, each number in an account can be counted, and so can the
 * records that name a payload.
 */
import { decodeEvent, decodeJson, decodeParked, decodeWork } from '../../broker/log/record.ts';
import { parseTimerKey, rowKeyPosition } from '../../broker/log/keys.ts';
import { TABLES } from '../../broker/log/store.ts';
import type { LogStore, StoredRow, Table } from '../../broker/log/store.ts';
import { claimOf, eventSizeBytes, payloadId } from '../../core/event.ts';
import type { Claim } from '../../core/ports/claims.ts';
import { labelOf, token } from './log-model.ts';
import type { Token } from './log-model.ts';

/** Every key of the log's tables lies between these. */
const ALL = { from: Buffer.alloc(0), to: Buffer.alloc(32, 0xff), limit: 1_000_000 };

export function rowsOf(store: LogStore, table: Table): StoredRow[] {
  return store.range(table, ALL);
}

/** How many rows each table has, empty ones left out; `info`, `egress` and `ingress` outlive what they count. */
export function fillOf(store: LogStore): Partial<Record<Table, number>> {
  const lasting: readonly Table[] = ['info', 'egress', 'ingress'];
  const fills = TABLES.filter((table) => !lasting.includes(table)).map(
    (table) => [table, rowsOf(store, table).length] as const,
  );
  return Object.fromEntries(fills.filter(([, length]) => length > 0));
}

/** Ids of the events on disk, in order of their positions. */
export function storedIds(store: LogStore): string[] {
  return rowsOf(store, 'event').map(({ value }) =>
    String(decodeEvent(value).event.attributes.get('id')),
  );
}

/** What waits according to the tables, in the model's words: that of dropped egresses does not. */
export function labelsOf(store: LogStore): string[] {
  const egresses = egressAccounts(store);
  const eventIds = new Map(
    rowsOf(store, 'event').map(({ key, value }) => [
      key.toString('hex'),
      String(decodeEvent(value).event.attributes.get('id')),
    ]),
  );
  const labels: string[] = [];
  const add = (key: Buffer, kind: Token['kind'], more: Partial<Token> = {}) => {
    const egress = egresses.get(key.readUInt32BE());
    if (egress?.isGone) return;
    const eventId = eventIds.get(key.toString('hex', 4)) ?? 'missing';
    labels.push(labelOf(token({ egressId: egress?.id ?? 'nobody', eventId, kind, ...more })));
  };
  for (const { key, value } of rowsOf(store, 'ready')) if (value[0] === 0) add(key, 'deliver');
  for (const { key } of rowsOf(store, 'parked')) add(key, 'parked');
  for (const { key, value } of rowsOf(store, 'work')) {
    const { work, origin } = decodeWork(value);
    const originKey = Buffer.alloc(8);
    originKey.writeBigUInt64BE(BigInt(origin ?? 0));
    const originId = origin === undefined ? undefined : eventIds.get(originKey.toString('hex'));
    add(key, 'work', { phase: work.phase, attempt: work.attempt, originId });
  }
  return labels.toSorted();
}

/** Every rule that the tables break, in words; none when all is well. */
export function faultsOf(store: LogStore): string[] {
  return [
    ...faultsOfReferences(store),
    ...faultsOfTimers(store),
    ...faultsOfAccounts(store),
    ...faultsOfClaims(store),
  ];
}

function faultsOfClaims(store: LogStore): string[] {
  const named = new Map<string, number>();
  for (const { value } of rowsOf(store, 'event')) {
    const ref = claimOf(decodeEvent(value).event);
    if (ref) named.set(payloadId(ref), (named.get(payloadId(ref)) ?? 0) + 1);
  }
  const said = new Map(
    rowsOf(store, 'claim').map(({ key, value }) => {
      const { ref, records } = decodeJson<Claim>(value);
      return [key.toString('latin1'), payloadId(ref) === key.toString('latin1') ? records : 0];
    }),
  );
  return [...new Set([...named.keys(), ...said.keys()])]
    .filter((id) => named.get(id) !== said.get(id))
    .map((id) => `${named.get(id) ?? 0} records name ${id}, its row says ${said.get(id) ?? 0}`);
}

function faultsOfReferences(store: LogStore): string[] {
  const faults: string[] = [];
  const owned = ownedReferences(store);
  const stored = new Set(rowsOf(store, 'event').map(({ key }) => Number(key.readBigUInt64BE())));
  const refs = new Map(
    rowsOf(store, 'refs').map(({ key, value }) => [
      Number(key.readBigUInt64BE()),
      value.readUInt32BE(),
    ]),
  );
  for (const [position, owners] of owned) {
    if (!stored.has(position)) faults.push(`${owners.join(', ')}: no record at ${position}`);
  }
  for (const position of stored) {
    const count = owned.get(position)?.length ?? 0;
    if (count === 0) faults.push(`the record at ${position} belongs to nobody`);
    else if ((refs.get(position) ?? 1) !== count) {
      faults.push(
        `the record at ${position} has ${count} owners, refs says ${refs.get(position) ?? 1}`,
      );
    }
  }
  for (const [position, count] of refs) {
    if (!stored.has(position)) faults.push(`refs without a record at ${position}`);
    if (count < 2) faults.push(`refs of ${count} at ${position}: absent means one`);
  }
  return faults;
}

/** Position -> the rows that own a reference to it. A Work row counts once, with its ready row or its timer. */
function ownedReferences(store: LogStore): Map<number, string[]> {
  const owned = new Map<number, string[]>();
  const own = (position: number, owner: string) => {
    owned.set(position, [...(owned.get(position) ?? []), owner]);
  };
  for (const { key, value } of rowsOf(store, 'ready')) {
    if (value[0] === 0) own(rowKeyPosition(key), `ready of egress ${key.readUInt32BE()}`);
  }
  for (const { key, value } of rowsOf(store, 'work')) {
    own(rowKeyPosition(key), `work of egress ${key.readUInt32BE()}`);
    const { origin } = decodeWork(value);
    if (origin !== undefined) own(origin, `origin of work at ${rowKeyPosition(key)}`);
  }
  for (const { key } of rowsOf(store, 'parked')) {
    own(rowKeyPosition(key), `parked of egress ${key.readUInt32BE()}`);
  }
  return owned;
}

/** Each Work row is either ready or timed, and nothing else is. Timers of a dropped egress may go first. */
function faultsOfTimers(store: LogStore): string[] {
  const accounts = egressAccounts(store);
  const placesIn = (table: Table, isWanted: (row: StoredRow) => boolean = () => true) =>
    rowsOf(store, table)
      .filter(isWanted)
      .map(({ key }) => (table === 'timer' ? parseTimerKey(key) : parseRowKey(key)))
      .filter(({ egress }) => !accounts.get(egress)?.isGone)
      .map(({ egress, position }) => `egress ${egress} at ${position}`);
  const work = placesIn('work');
  const plain = placesIn('ready', ({ value }) => value[0] === 0);
  const waiting = [...placesIn('ready', ({ value }) => value[0] === 1), ...placesIn('timer')];
  const isTwice = (one: string, index: number) => waiting.indexOf(one) !== index;
  return [
    ...work.filter((one) => !waiting.includes(one)).map((one) => `Work of ${one} never comes`),
    ...waiting.filter((one) => !work.includes(one)).map((one) => `${one} waits without its Work`),
    ...waiting.filter(isTwice).map((one) => `${one} waits twice`),
    ...plain.filter((one) => work.includes(one)).map((one) => `${one} is plain and Work`),
  ];
}

function parseRowKey(key: Buffer): { egress: number; position: number } {
  return { egress: key.readUInt32BE(), position: rowKeyPosition(key) };
}

interface EgressCounts {
  readonly ready: number;
  readonly delayed: number;
  readonly parked: number;
  readonly parkedBytes: number;
}

/** A dropped egress whose rows are not removed yet is `isGone`; nobody asks for its counts. */
interface EgressAccount extends EgressCounts {
  readonly id: string;
  readonly isGone?: boolean;
}

const NOBODY: EgressAccount = { id: 'nobody', ready: 0, delayed: 0, parked: 0, parkedBytes: 0 };

function faultsOfAccounts(store: LogStore): string[] {
  const faults: string[] = [];
  const egresses = egressAccounts(store);
  const owners = (['ready', 'work', 'parked'] as const).flatMap((table) => rowsOf(store, table));
  const numbers = [...egresses.keys(), ...owners.map(({ key }) => key.readUInt32BE())];
  for (const number of new Set(numbers)) {
    const { id, isGone = false, ...counts } = egresses.get(number) ?? NOBODY;
    const said = JSON.stringify(counts);
    const counted = JSON.stringify(countRows(store, number));
    if (!isGone && said !== counted)
      faults.push(`egress ${number} (${id}): ${said}, has ${counted}`);
  }
  const ids = [...egresses.values()].filter(({ isGone }) => !isGone).map(({ id }) => id);
  if (new Set(ids).size < ids.length) faults.push(`one egress has two numbers: ${ids.join(', ')}`);
  return [...faults, ...faultsOfBytes(store)];
}

function egressAccounts(store: LogStore): Map<number, EgressAccount> {
  const rows = rowsOf(store, 'egress');
  return new Map(
    rows.map(({ key, value }) => [key.readUInt32BE(), decodeJson<EgressAccount>(value)]),
  );
}

function countRows(store: LogStore, number: number): EgressCounts {
  const of = (table: Table) =>
    rowsOf(store, table).filter(({ key }) => key.readUInt32BE() === number);
  const timers = rowsOf(store, 'timer').filter(({ key }) => parseTimerKey(key).egress === number);
  const parked = of('parked');
  return {
    ready: of('ready').length,
    delayed: timers.length,
    parked: parked.length,
    parkedBytes: parked.reduce((sum, { value }) => sum + decodeParked(value).sizeBytes, 0),
  };
}

function faultsOfBytes(store: LogStore): string[] {
  const counted = new Map<number, number>();
  for (const { value } of rowsOf(store, 'event')) {
    const { ingress, event } = decodeEvent(value);
    counted.set(ingress, (counted.get(ingress) ?? 0) + eventSizeBytes(event));
  }
  const kept = new Map(
    rowsOf(store, 'ingress').map(({ key, value }) => [
      key.readUInt32BE(),
      decodeJson<{ bytes: number }>(value).bytes,
    ]),
  );
  return [...new Set([...counted.keys(), ...kept.keys()])]
    .filter((number) => (counted.get(number) ?? 0) !== (kept.get(number) ?? 0))
    .map(
      (number) =>
        `ingress ${number} says ${kept.get(number) ?? 0} bytes, has ${counted.get(number) ?? 0}`,
    );
}
