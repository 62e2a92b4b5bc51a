/**
 * How records, Work and parked entries are stored. Each starts with a version byte, so that a later program can read
 * what an older one wrote; a version that this program does not know ends in KNEAR_LOG_FORMAT, never in a guess.
 *
 * A record is `version u8 | head length u32 | head as JSON | data as it came`. JSON for the head costs about 2 us more
 * than a packed form and needs no parser of ours; the path is bound by flushes, not by this. The record of a claimed
 * event has the ticket in its head, no data, and a version of its own: a program from before there were any must not
 * take it for an event without data.
 */
import { KnearError } from '../../core/errors.ts';
import { claimOf, inlineData } from '../../core/event.ts';
import type { AttributeValue, CloudEvent, PayloadRef } from '../../core/event.ts';
import type { Failure, Work } from '../../core/ports/event-log.ts';

const VERSION = 1;
const CLAIMED_VERSION = 2;
const HEAD_OFFSET = 5;

export interface StoredEvent {
  readonly ingress: number;
  readonly acceptedAtMs: number;
  readonly event: CloudEvent;
}

interface Head {
  readonly i: number;
  readonly t: number;
  readonly a: [string, AttributeValue][];
  readonly h: [string, string][];
  /** Present when the event has data, which may be empty only when it has none. */
  readonly d?: 1;
  /** The ticket, when the data is claimed. */
  readonly p?: PayloadRef;
}

export function encodeEvent({ ingress, acceptedAtMs, event }: StoredEvent): Buffer {
  const [inline, claim] = [inlineData(event), claimOf(event)];
  const head: Head = {
    i: ingress,
    t: acceptedAtMs,
    a: [...event.attributes],
    h: [...event.headers],
    ...(inline && { d: 1 }),
    ...(claim && { p: claim }),
  };
  const text = Buffer.from(JSON.stringify(head));
  const data = inline ?? Buffer.alloc(0);
  const record = Buffer.allocUnsafe(HEAD_OFFSET + text.length + data.length);
  record.writeUInt8(claim ? CLAIMED_VERSION : VERSION, 0);
  record.writeUInt32BE(text.length, 1);
  text.copy(record, HEAD_OFFSET);
  record.set(data, HEAD_OFFSET + text.length);
  return record;
}

/** @param record is kept: the event's data is a view of it. */
export function decodeEvent(record: Buffer): StoredEvent {
  return read(record, () => readEvent(record), EVENT_VERSIONS);
}

function readEvent(record: Buffer): StoredEvent {
  const dataOffset = HEAD_OFFSET + record.readUInt32BE(1);
  if (dataOffset > record.length) throw new Error('its data is cut off');
  // Written by encodeEvent of this version.
  const head = JSON.parse(record.toString('utf8', HEAD_OFFSET, dataOffset)) as Head;
  if ((head.p !== undefined) !== (record[0] === CLAIMED_VERSION)) {
    throw new Error('its version and its data do not belong together');
  }
  return {
    ingress: head.i,
    acceptedAtMs: head.t,
    event: {
      attributes: new Map(head.a),
      headers: new Map(head.h),
      data: head.p ?? (head.d ? record.subarray(dataOffset) : undefined),
    },
  };
}

export interface StoredWork {
  readonly work: Work;
  /** Key of its `timer` row; 0: it has none, a `ready` row instead. */
  readonly dueAtMs: number;
  /** Position of the event whose reply this is. */
  readonly origin?: number;
}

export function encodeWork({ work, dueAtMs, origin }: StoredWork): Buffer {
  const { lastFailure, ...rest } = work;
  return encodeJson({
    ...rest,
    dueAtMs,
    ...(lastFailure && { lastFailure: failureToJson(lastFailure) }),
    ...(origin !== undefined && { origin }),
  });
}

export function decodeWork(row: Buffer): StoredWork {
  return read(row, () => {
    const { origin, dueAtMs, lastFailure, ...work } = readJson<
      Omit<Work, 'lastFailure'> & { dueAtMs: number; origin?: number; lastFailure?: FailureJson }
    >(row);
    return {
      dueAtMs,
      work: lastFailure ? { ...work, lastFailure: failureFromJson(lastFailure) } : work,
      ...(origin !== undefined && { origin }),
    };
  });
}

export interface StoredParked {
  readonly atMs: number;
  readonly failure: Failure;
  /** Of the record, for the bound on parked bytes. */
  readonly sizeBytes: number;
}

export function encodeParked({ atMs, failure, sizeBytes }: StoredParked): Buffer {
  return encodeJson({ atMs, sizeBytes, failure: failureToJson(failure) });
}

export function decodeParked(row: Buffer): StoredParked {
  return read(row, () => {
    const { failure, ...rest } = readJson<Omit<StoredParked, 'failure'> & { failure: FailureJson }>(
      row,
    );
    return { ...rest, failure: failureFromJson(failure) };
  });
}

/** Small rows: a version byte, then JSON. */
export function encodeJson(value: unknown): Buffer {
  return Buffer.concat([Buffer.from([VERSION]), Buffer.from(JSON.stringify(value))]);
}

export function decodeJson<Value>(row: Buffer): Value {
  return read(row, () => readJson<Value>(row));
}

function readJson<Value>(row: Buffer): Value {
  // Written by encodeJson of this version for the same table.
  return JSON.parse(row.toString('utf8', 1)) as Value;
}

export type FailureJson = Omit<Failure, 'data'> & { readonly data?: string };

export function failureToJson({ data, ...rest }: Failure): FailureJson {
  return { ...rest, ...(data && { data: Buffer.from(data).toString('base64') }) };
}

export function failureFromJson({ data, ...rest }: FailureJson): Failure {
  return { ...rest, ...(data !== undefined && { data: Buffer.from(data, 'base64') }) };
}

/** A row of our version that cannot be read was damaged: LMDB has no checksums. */
function read<Value>(
  row: Buffer,
  decode: () => Value,
  versions: readonly number[] = ROW_VERSIONS,
): Value {
  requireVersion(row, versions);
  try {
    return decode();
  } catch (cause) {
    const detail = 'a stored row is damaged: restore the data folder from a backup';
    throw new KnearError('KNEAR_LOG_CORRUPT', detail, { cause });
  }
}

const ROW_VERSIONS = [VERSION];
const EVENT_VERSIONS = [VERSION, CLAIMED_VERSION];

function requireVersion(row: Buffer, versions: readonly number[]): void {
  const [version] = row;
  if (version !== undefined && versions.includes(version)) return;
  throw new KnearError(
    row[0] === undefined ? 'KNEAR_LOG_CORRUPT' : 'KNEAR_LOG_FORMAT',
    `a stored row has format ${row[0] ?? 'none'}, this program reads ${versions.join(' and ')}: start the version that wrote it`,
  );
}
