/**
 * Keys of the log's tables: big-endian, so that byte order is number order. Positions and times take 8 bytes, interned
 * egresses and ingresses 4.
 */

const POSITION_BYTES = 8;
const TWO_32 = 0x1_0000_0000;

export const NEXT_IDS_KEY = Buffer.from('next');
export const FORMAT_KEY = Buffer.from('format');
export const LOG_ID_KEY = Buffer.from('id');

export function numberKey(number: number): Buffer {
  const key = Buffer.allocUnsafe(4);
  key.writeUInt32BE(number, 0);
  return key;
}

export function positionKey(position: number): Buffer {
  const key = Buffer.allocUnsafe(POSITION_BYTES);
  writeLong(key, position, 0);
  return key;
}

/** Key of `ready`, `work` and `parked`: the egress, then the position. */
export function rowKey(egress: number, position: number): Buffer {
  const key = Buffer.allocUnsafe(4 + POSITION_BYTES);
  key.writeUInt32BE(egress, 0);
  writeLong(key, position, 4);
  return key;
}

export function timerKey(dueMs: number, egress: number, position: number): Buffer {
  const key = Buffer.allocUnsafe(8 + 4 + POSITION_BYTES);
  writeLong(key, dueMs, 0);
  key.writeUInt32BE(egress, 8);
  writeLong(key, position, 12);
  return key;
}

/** @param id `payloadId`: ASCII. */
export function claimKey(id: string): Buffer {
  return Buffer.from(id, 'latin1');
}

export function rowKeyPosition(key: Buffer): number {
  return readLong(key, 4);
}

export function parseTimerKey(key: Buffer): { dueMs: number; egress: number; position: number } {
  return { dueMs: readLong(key, 0), egress: key.readUInt32BE(8), position: readLong(key, 12) };
}

function writeLong(key: Buffer, value: number, offset: number): void {
  key.writeUInt32BE(Math.floor(value / TWO_32), offset);
  key.writeUInt32BE(value % TWO_32, offset + 4);
}

function readLong(key: Buffer, offset: number): number {
  return key.readUInt32BE(offset) * TWO_32 + key.readUInt32BE(offset + 4);
}
