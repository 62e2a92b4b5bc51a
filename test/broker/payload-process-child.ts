/**
 * A process that takes payloads into spool and store without end and says of each that it is kept: for tests that kill it.
 * Started with the folder for both.
 */
import { randomBytes } from 'node:crypto';
import path from 'node:path';

import { FilePayloadStore } from '../../broker/payload/file-store.ts';
import { Spool } from '../../broker/payload/spool.ts';
import type { PayloadRef } from '../../core/event.ts';
import { systemClock as clock } from '../../main/time.ts';

const AT_ONCE = 4;
const PIECE = Buffer.alloc(50_000, 'knear');

const [, , base = ''] = process.argv;
const store = await FilePayloadStore.open({ folder: path.join(base, 'payloads'), clock });
const limits = { bytesMax: Number.MAX_SAFE_INTEGER, freeMinBytes: 0 };
const spool = await Spool.open({ folder: path.join(base, 'spool'), limits, clock });

/** Ended by the kill alone: whenever that comes, it comes in the middle of one. */
const unfinished = spool.create();
process.on('exit', () => unfinished.discard());
await unfinished.write(Buffer.alloc(1_000_000));
await Promise.all(Array.from({ length: AT_ONCE }, takeWithoutEnd));

async function takeWithoutEnd(_: unknown, line: number): Promise<void> {
  for (let n = 0; ; n += 1) {
    const writer = spool.create();
    await writer.write(randomBytes(16));
    for (let pieces = 0; pieces < 3 + n; pieces += 1) await writer.write(PIECE);
    const { file, sha256 } = await writer.end();
    const key = `20260101${String(n % 24).padStart(2, '0')}/${randomBytes(16).toString('base64url')}`;
    const { sizeBytes } = file;
    const tenant = `team-${line}`;
    const ref: PayloadRef = { v: 1, store: 'file', tenant, key, sizeBytes, sha256, createdMs: 0 };
    await store.put(ref, file);
    writer.discard();
    process.stdout.write(`${JSON.stringify(ref)}\n`);
  }
}
