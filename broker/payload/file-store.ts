/**
 * Payloads as plain files, `<folder>/<tenant>/<hour>/<id>`: what `knear serve` keeps on a laptop. Its own files begin with
 * `_`, as no tenant does. It is the only one that writes to the folder; the owner of the data folder sees to that.
 *
 *  - K17 A put syncs the file, renames it into its place and syncs the folder, and each new folder's parent: whatever comes
 *    back after a power cut is whole. Half a payload is never seen under its name.
 *  - K18 After a sync that failed nothing is known of what the disk holds, and the next sync of the same file may say yes all
 *    the same. So that file is given up, and the store takes nothing until another file can be synced.
 *  - K19 Only a file on the same mount can be renamed into its place; there is no copying instead.
 *  - K36 Only a plain file is read. A link, a folder or a pipe in the place of one is an error, and not one to wait for.
 *  - K45 The file `_identity` says whose payloads these are. It is written once, whole, before there are any.
 *
 * A payload is called missing only while the folder is the one that was opened: in the folder of a disk that is not mounted
 * all are missing, and what is missing ends in dead letters.
 */
import { strict as assert } from 'node:assert';
import { constants, type Dirent } from 'node:fs';
import {
  link,
  lstat,
  mkdir,
  open,
  opendir,
  readFile,
  rename,
  rm,
  stat,
  unlink,
} from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';

import { KnearError } from '../../core/errors.ts';
import { payloadId } from '../../core/event.ts';
import type { PayloadRef } from '../../core/event.ts';
import type { PayloadStore, SpoolFile, StoredPayload } from '../../core/ports/payload-store.ts';
import type { Clock } from '../../core/ports/time.ts';
import { diskFault, systemCode } from './disk-fault.ts';
import { HourFolders } from './hour-folders.ts';
import { isHour, isId, isTenant, placeOf } from './payload-place.ts';

/** The largest piece that the port allows: each is a trip to another thread. */
const PIECE_BYTES = 256 * 1024;
/** How often a disk that failed is tried: each try is a write, and puts are refused meanwhile. */
const PROBE_EVERY_MS = 1_000;
/** A pipe without a writer would hold the open, and with it a thread, for ever; for a plain file it means nothing. */
const READ_PLAIN = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

type Payload = Pick<PayloadRef, 'tenant' | 'key'>;
type Range = { readonly first: number; readonly last: number };

export class FilePayloadStore implements PayloadStore {
  readonly name = 'file';
  readonly #folder: string;
  /** Tells the folder from another one under the same name. */
  readonly #inode: string;
  readonly #clock: Clock;
  readonly #hours: HourFolders;
  /** The last question whose payloads these are: the next one waits for its answer. */
  #asked: Promise<unknown> = Promise.resolve();
  /** The sync that failed (K18), and when the disk may be tried next. */
  #doubt: { readonly cause: unknown; probeAtMs: number } | undefined;

  private constructor(options: { folder: string; inode: string; clock: Clock }) {
    this.#folder = options.folder;
    this.#inode = options.inode;
    this.#clock = options.clock;
    this.#hours = new HourFolders({
      folder: options.folder,
      assertThere: () => this.#assertThere(),
      sync: (folder) => this.#syncFolder(folder),
    });
  }

  /**
   * Opens the store in the folder, which is made if it is missing.
   * @throws KNEAR_PAYLOAD_STORE_DENIED, KNEAR_PAYLOAD_STORE_FULL or KNEAR_PAYLOAD_STORE_AWAY
   */
  static async open({
    folder,
    clock,
  }: {
    folder: string;
    clock: Clock;
  }): Promise<FilePayloadStore> {
    try {
      await makeStoreFolder(folder);
      return new FilePayloadStore({ folder, inode: await inodeOf(folder), clock });
    } catch (error) {
      throw diskFault(error, `opening the payload store in ${folder}`);
    }
  }

  async put(ref: PayloadRef, spool: SpoolFile): Promise<void> {
    const file = this.#pathOf(ref);
    try {
      await this.#assertSound();
      if (await isKept(file, ref.sizeBytes)) {
        // By a put that may still be on its way: this one promises the same, so it waits for the same.
        await this.#hours.fill(path.dirname(file), () => Promise.resolve());
        await removeQuietly(spool.path);
        return;
      }
      await this.#syncSpool(spool);
      await this.#hours.fill(path.dirname(file), () => rename(spool.path, file));
    } catch (error) {
      // K18: room first. What it holds is worth nothing any more.
      await removeQuietly(spool.path);
      throw diskFault(error, `keeping the payload ${payloadId(ref)} in ${this.#folder}`);
    }
  }

  async open(ref: PayloadRef, { range }: { readonly range?: Range } = {}): Promise<Readable> {
    const file = this.#pathOf(ref);
    const faultOf = (error: unknown) => diskFault(error, `reading the payload ${payloadId(ref)}`);
    try {
      const handle = await open(file, READ_PLAIN);
      const endBytes = await plainSizeOf(handle, file).catch(async (error: unknown) => {
        await handle.close();
        throw error;
      });
      const end = range ? Math.min(range.last + 1, endBytes) : endBytes;
      return streamOf(handle, { first: range?.first ?? 0, end, faultOf });
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw faultOf(error);
      await this.#assertThere();
      const detail = `there is no payload ${payloadId(ref)} in ${this.#folder}: restore it from a backup, if there is one`;
      throw new KnearError('KNEAR_PAYLOAD_MISSING', detail, { cause: error });
    }
  }

  async remove(payload: Payload): Promise<void> {
    const file = this.#pathOf(payload);
    try {
      await unlink(file);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') {
        throw diskFault(error, `removing the payload ${payloadId(payload)}`);
      }
      // On a disk that is not mounted it is still there.
      await this.#assertThere();
    }
    await this.#hours.leave(path.dirname(file));
  }

  async *list(): AsyncGenerator<StoredPayload, void, undefined> {
    await this.#assertThere();
    try {
      for await (const tenant of foldersIn(this.#folder, isTenant)) {
        for await (const hour of foldersIn(path.join(this.#folder, tenant), isHour)) {
          const folder = path.join(this.#folder, tenant, hour);
          for await (const id of filesIn(folder)) {
            const found = await lstat(path.join(folder, id)).catch(unlessGone);
            if (!found) continue;
            const { size: sizeBytes, mtimeMs: modifiedMs } = found;
            yield { tenant, key: `${hour}/${id}`, sizeBytes, modifiedMs };
          }
        }
      }
    } catch (error) {
      throw diskFault(error, `listing the payloads in ${this.#folder}`);
    }
  }

  /** @param id of letters, digits, `-` and `_` */
  async identity(
    id: string,
    { mayAdopt }: { readonly mayAdopt: boolean },
  ): Promise<string | undefined> {
    assert(/^[\w-]+$/.test(id), `no identity: ${JSON.stringify(id)}`);
    const answer = this.#asked.then(() => this.#identityOr(id, mayAdopt));
    this.#asked = answer.catch(() => undefined);
    try {
      return await answer;
    } catch (error) {
      throw diskFault(error, `asking whose payloads are in ${this.#folder}`);
    }
  }

  /** Nothing is open but what `open` has handed out. */
  async close(): Promise<void> {}

  #pathOf(payload: Payload): string {
    const { tenant, hour, id } = placeOf(payload);
    return path.join(this.#folder, tenant, hour, id);
  }

  async #identityOr(id: string, mayAdopt: boolean): Promise<string | undefined> {
    await this.#assertThere();
    const file = path.join(this.#folder, '_identity');
    const known = await readFile(file, 'utf8').catch(unlessGone);
    if (known !== undefined || !mayAdopt) return known?.trim();
    const payloads = this.list();
    const { done: isEmpty = false } = await payloads.next();
    await payloads.return();
    if (!isEmpty) return undefined;
    const draft = `${file}-${id}`;
    await rm(draft, { force: true });
    try {
      await this.#write(draft, id);
      // K45: not renamed, so that of two processes that do this at once one is told of the other.
      await link(draft, file).catch((error: unknown) => {
        if (systemCode(error) !== 'EEXIST') throw error;
      });
    } finally {
      await removeQuietly(draft);
    }
    await this.#syncFolder(this.#folder);
    return (await readFile(file, 'utf8')).trim();
  }

  /** Rejects while nothing is known of the disk since a sync has failed (K18). */
  async #assertSound(): Promise<void> {
    const doubt = this.#doubt;
    if (!doubt) return;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < doubt.probeAtMs) throw doubtful(this.#folder, doubt.cause);
    doubt.probeAtMs = nowMs + PROBE_EVERY_MS;
    const probe = path.join(this.#folder, '_probe');
    try {
      // A new file each time: an old one might say yes.
      await rm(probe, { force: true });
      await this.#write(probe, 'probe');
    } catch (error) {
      throw doubtful(this.#folder, error);
    }
    await removeQuietly(probe);
    // Another sync may have failed meanwhile.
    if (this.#doubt === doubt) this.#doubt = undefined;
  }

  /** Writes a new file, durable but for its name. */
  async #write(file: string, text: string): Promise<void> {
    const handle = await open(file, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await this.#syncing(handle.datasync());
    } finally {
      await handle.close();
    }
  }

  async #syncSpool({ path: file, sizeBytes }: SpoolFile): Promise<void> {
    const handle = await open(file, READ_PLAIN);
    try {
      const foundBytes = await plainSizeOf(handle, file);
      await this.#syncing(handle.datasync());
      if (foundBytes !== sizeBytes) {
        const detail = `the spool file ${file} has ${foundBytes} bytes where ${sizeBytes} were written: somebody else changes files in there`;
        throw new KnearError('KNEAR_PAYLOAD_STORE_AWAY', detail);
      }
    } finally {
      await handle.close();
    }
  }

  async #syncFolder(folder: string): Promise<void> {
    const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await this.#syncing(handle.sync());
    } finally {
      await handle.close();
    }
  }

  /** Remembers that a sync failed (K18). */
  async #syncing(sync: Promise<void>): Promise<void> {
    await sync.catch((cause: unknown) => {
      const probeAtMs = this.#doubt?.probeAtMs ?? this.#clock.monotonicMs();
      this.#doubt = { cause, probeAtMs };
      throw cause;
    });
  }

  async #assertThere(): Promise<void> {
    const inode = await inodeOf(this.#folder).catch((error: unknown) => {
      throw diskFault(error, `looking for the payload store in ${this.#folder}`);
    });
    if (inode === this.#inode) return;
    const detail = `${this.#folder} is not the folder that it was when knear started: mount its disk again, or start knear again if it is meant to be`;
    throw new KnearError('KNEAR_PAYLOAD_STORE_AWAY', detail);
  }
}

/** K17: the folder's own name is durable, too, up to the first folder that was there before. */
async function makeStoreFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = path.resolve(folder); ; made = path.dirname(made)) {
    const parent = await open(path.dirname(made), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await parent.sync();
    } finally {
      await parent.close();
    }
    if (made === path.resolve(first)) return;
  }
}

async function inodeOf(folder: string): Promise<string> {
  const { dev, ino } = await stat(folder, { bigint: true });
  return `${dev}-${ino}`;
}

async function isKept(file: string, sizeBytes: number): Promise<boolean> {
  const found = await lstat(file).catch(unlessGone);
  return found !== undefined && found.isFile() && found.size === sizeBytes;
}

async function plainSizeOf(handle: FileHandle, file: string): Promise<number> {
  const found = await handle.stat();
  if (found.isFile()) return found.size;
  const detail = `${file} is no plain file: somebody else has put it there, remove it`;
  throw new KnearError('KNEAR_PAYLOAD_STORE_AWAY', detail);
}

function doubtful(folder: string, cause: unknown): KnearError {
  const doing = `the last sync on the disk of ${folder}, which takes no payloads until one succeeds,`;
  return diskFault(cause, doing);
}

function streamOf(
  handle: FileHandle,
  options: {
    readonly first: number;
    readonly end: number;
    readonly faultOf: (error: unknown) => KnearError;
  },
): Readable {
  const { end, faultOf } = options;
  let position = options.first;
  return new Readable({
    // One piece is read ahead.
    highWaterMark: PIECE_BYTES,
    read() {
      const wanted = Math.min(PIECE_BYTES, end - position);
      if (wanted <= 0) {
        this.push(null);
        return;
      }
      handle.read(Buffer.allocUnsafeSlow(wanted), 0, wanted, position).then(
        ({ bytesRead, buffer }) => {
          position += bytesRead;
          // Nothing where there was something: it was cut off, which its reader will see by its size.
          if (!this.destroyed) this.push(bytesRead === 0 ? null : buffer.subarray(0, bytesRead));
        },
        (error: unknown) => this.destroy(faultOf(error)),
      );
    },
    destroy(error, done) {
      // Waits for a read that is under way.
      handle.close().then(
        () => done(error),
        (closing: unknown) => done(error ?? faultOf(closing)),
      );
    },
  });
}

async function* foldersIn(folder: string, isOurs: (name: string) => boolean) {
  for await (const entry of entriesOf(folder)) {
    if (entry.isDirectory() && isOurs(entry.name)) yield entry.name;
  }
}

async function* filesIn(folder: string) {
  for await (const entry of entriesOf(folder)) {
    if (entry.isFile() && isId(entry.name)) yield entry.name;
  }
}

/** None, if it has gone meanwhile. */
async function* entriesOf(folder: string): AsyncGenerator<Dirent, void, undefined> {
  try {
    yield* await opendir(folder, { bufferSize: 128 });
  } catch (error) {
    unlessGone(error);
  }
}

function unlessGone(error: unknown): undefined {
  if (systemCode(error) !== 'ENOENT') throw error;
}

/** Best effort: it is gone, or the next start of the spool takes it. */
async function removeQuietly(file: string): Promise<void> {
  await unlink(file).catch(() => undefined);
}
