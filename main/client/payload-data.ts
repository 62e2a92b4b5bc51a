/** The bytes of a payload out of a running knear, into a file or to wherever the caller writes. */
import { createHash } from 'node:crypto';
import { open, rename, rm, stat } from 'node:fs/promises';

import { codeOf, KnearError } from '../../core/errors.ts';
import type { ShownPayload } from '../inside/payload-routes.ts';
import { readAdmin } from './ask-admin.ts';
import { verifyPage } from './payload-client.ts';

type Wanted = Pick<ShownPayload, 'id' | 'sizeBytes' | 'sha256'>;

/**
 * The file is there when all bytes are in it, and are the right ones; before that they are in `<file>.knear-part`.
 * @throws KNEAR_USAGE when there is such a file already, and the codes of `payloadBytes`
 */
export async function writePayload(adminUrl: string, payload: Wanted, file: string): Promise<void> {
  if (await isThere(file)) {
    throw new KnearError('KNEAR_USAGE', `${file} is there already: name another file`);
  }
  const part = `${file}.knear-part`;
  // Nobody knows what is in it: for its owner only, as in the store.
  const handle = await open(part, 'w', 0o600);
  try {
    await handle.writeFile(payloadBytes(adminUrl, payload)).finally(() => handle.close());
    await rename(part, file);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

/**
 * The bytes as they come. It ends without an error only when they were all, and the right ones.
 * @throws KNEAR_PAYLOAD_MISSING, KNEAR_PAYLOAD_CORRUPT, KNEAR_PAYLOAD_REDACTED, KNEAR_PAYLOAD_UNKNOWN, the codes of a store that
 *   cannot be read, KNEAR_ADMIN_UNREACHABLE
 */
export async function* payloadBytes(
  adminUrl: string,
  payload: Wanted,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  try {
    for await (const piece of await readAdmin(adminUrl, `/payloads/${payload.id}/data`)) {
      hash.update(piece);
      sizeBytes += piece.byteLength;
      yield piece;
    }
  } catch (error) {
    const code = codeOf(error);
    if (code !== undefined && code !== 'KNEAR_ADMIN_UNREACHABLE') throw error;
    // A connection that is reset says nothing about the reason.
    throw await reasonOf(adminUrl, { payload, sizeBytes });
  }
  if (sizeBytes !== payload.sizeBytes || hash.digest('base64url') !== payload.sha256) {
    const detail = `the payload ${payload.id} was altered on its way: do not use what was written, and try again`;
    throw new KnearError('KNEAR_PAYLOAD_CORRUPT', detail);
  }
}

async function reasonOf(
  adminUrl: string,
  { payload, sizeBytes }: { payload: Wanted; sizeBytes: number },
): Promise<KnearError> {
  const [broken] = (await verifyPage(adminUrl, { id: payload.id })).broken;
  if (broken) return new KnearError(broken.code, broken.detail);
  const detail = `the knear at ${adminUrl} broke off after ${sizeBytes} of ${payload.sizeBytes} bytes: try again`;
  return new KnearError('KNEAR_ADMIN_UNREACHABLE', detail);
}

async function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    },
  );
}
