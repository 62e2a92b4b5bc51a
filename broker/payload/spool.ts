/**
 * Where payloads go while they arrive: files on the local disk, from which a store takes or reads them.
 *
 *  - K16 Each payload is one file, made at its first write, for its owner only. It grows in the order of the writes, with
 *    size and digest counted on the way, and takes no more memory than what waits for the disk. What a killed process has
 *    left is gone at the next start.
 *  - K18 A write that failed gives the room back at once, and nothing more is written. The disk keeps as much room free as
 *    the log needs: what is under way counts as taken.
 *
 * It leaves durability to the store, and how many arrive at once to whoever makes the writers.
 */
import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { statfsSync } from 'node:fs';
import { mkdir, open, readdir, rm, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';

import { KnearError } from '../../core/errors.ts';
import type { SpoolFile } from '../../core/ports/payload-store.ts';
import type { Clock } from '../../core/ports/time.ts';
import { diskFault } from './disk-fault.ts';

/** What one write takes together. From 16 to 256 KiB the processor has the same work with it, digest included (*measured*). */
const GATHER_BYTES = 64 * 1024;
/** Above, the producer is asked to wait: a disk of 1 GB/s has room again after half a millisecond. */
const WAITING_BYTES_MAX = 512 * 1024;
/** What a piece takes in memory beside its bytes. Uncounted, pieces of one byte would take a hundred times the bound. */
const PIECE_COST_BYTES = 128;
const REREAD_BYTES = 256 * 1024;
/** How old the answer of the disk may be: at 1 GB/s it is a quarter of a gigabyte off, for what others write. */
const SPACE_CHECK_MS = 250;

export interface SpoolLimits {
  /** All files together. */
  readonly bytesMax: number;
  /** Room on the disk that is not for payloads. */
  readonly freeMinBytes: number;
}

export class Spool {
  readonly #folder: string;
  readonly #space: SpoolSpace;
  readonly #removals = new Set<Promise<void>>();
  #count = 0;

  private constructor(folder: string, space: SpoolSpace) {
    this.#folder = folder;
    this.#space = space;
  }

  /**
   * Makes the folder, or removes everything that is in it: the caller owns it alone.
   * @throws KNEAR_PAYLOAD_STORE_DENIED, KNEAR_PAYLOAD_STORE_FULL or KNEAR_PAYLOAD_STORE_AWAY
   */
  static async open(options: {
    readonly folder: string;
    readonly limits: SpoolLimits;
    readonly clock: Pick<Clock, 'monotonicMs'>;
  }): Promise<Spool> {
    const { folder } = options;
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      for (const name of await readdir(folder)) {
        await rm(path.join(folder, name), { recursive: true, force: true });
      }
    } catch (error) {
      throw diskFault(error, `emptying the spool in ${folder}`);
    }
    return new Spool(folder, new SpoolSpace(options));
  }

  /** Of all files whose writers have not been discarded. */
  get bytes(): number {
    return this.#space.bytes;
  }

  /** Why that much more does not fit, if it does not: KNEAR_PAYLOAD_STORE_FULL. Reserves nothing. */
  refusal(sizeBytes = 0): KnearError | undefined {
    return this.#space.refusal(sizeBytes);
  }

  /** A place for one payload. Its owner discards it in the end, whatever has become of it. */
  create(): SpoolWriter {
    this.#count += 1;
    return new SpoolWriter({
      file: path.join(this.#folder, String(this.#count)),
      space: this.#space,
      onRemoval: (removal) => {
        this.#removals.add(removal);
        void removal.then(() => this.#removals.delete(removal));
      },
    });
  }

  /** Resolves when the files of all writers that were discarded are gone. */
  async close(): Promise<void> {
    await Promise.all(this.#removals);
  }
}

export class SpoolWriter {
  readonly #file: string;
  readonly #space: SpoolSpace;
  readonly #onRemoval: (removal: Promise<void>) => void;
  readonly #hash = createHash('sha256');
  #sizeBytes = 0;
  /** What no write has taken yet, in order. */
  #pieces: Uint8Array[] = [];
  #gatheredCost = 0;
  /** Of these, and of those in the write under way. */
  #waitingCost = 0;
  #writtenBytes = 0;
  #handle: FileHandle | undefined;
  /** The write under way. Never rejects. */
  #writing: Promise<void> | undefined;
  #waiters: { resolve(): void; reject(reason: KnearError): void }[] = [];
  #isEnded = false;
  /** Why nothing more comes of it. */
  #stopped: KnearError | undefined;

  constructor(options: {
    readonly file: string;
    readonly space: SpoolSpace;
    readonly onRemoval: (removal: Promise<void>) => void;
  }) {
    this.#file = options.file;
    this.#space = options.space;
    this.#onRemoval = options.onRemoval;
  }

  /** Taken so far. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /**
   * Takes the next piece, which must not be changed any more. `undefined`: go on; a promise: there is enough in memory,
   * and it resolves when there is room again. Every call after one that failed rejects with the same code.
   * @throws (as a rejection) KNEAR_PAYLOAD_STORE_FULL, KNEAR_PAYLOAD_STORE_DENIED, KNEAR_PAYLOAD_STORE_AWAY;
   *   KNEAR_CLOSED after `discard`
   */
  write(piece: Uint8Array): Promise<void> | undefined {
    assert(!this.#isEnded, 'written after the end');
    if (!this.#stopped) {
      const refusal = this.#space.refusal(piece.byteLength);
      if (refusal) this.#stop(refusal);
    }
    if (this.#stopped) return rejected(this.#stopped);
    this.#hash.update(piece);
    this.#space.take(piece.byteLength);
    this.#sizeBytes += piece.byteLength;
    this.#pieces.push(piece);
    this.#gatheredCost += costOf(piece);
    this.#waitingCost += costOf(piece);
    if (this.#gatheredCost >= GATHER_BYTES) void this.#pump();
    return this.#waitingCost < WAITING_BYTES_MAX ? undefined : this.#room();
  }

  /**
   * All that was written before the first piece is asked for. It ends early, with an error, when the writer is discarded.
   * @throws the codes of `write`
   */
  async *reread(): AsyncGenerator<Uint8Array, void, undefined> {
    const handle = await this.#flush();
    const endBytes = this.#writtenBytes;
    for (let position = 0; position < endBytes;) {
      const wanted = Math.min(REREAD_BYTES, endBytes - position);
      const { bytesRead, buffer } = await handle
        .read(Buffer.allocUnsafeSlow(wanted), 0, wanted, position)
        .catch((error: unknown) => {
          throw this.#stopped ?? diskFault(error, `reading the spool file ${this.#file}`);
        });
      if (this.#stopped) throw this.#stopped;
      if (bytesRead === 0) throw cutOff(this.#file);
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  /**
   * All has come: resolves when it is in the file, which is not durable yet. The file stays open until `discard`, so that
   * the system cannot forget that a part of it could not be written before a store asks for that by its sync.
   * @throws the codes of `write`
   */
  async end(): Promise<{ readonly file: SpoolFile; readonly sha256: string }> {
    assert(!this.#isEnded, 'ended twice');
    this.#isEnded = true;
    await this.#flush();
    const file = { path: this.#file, sizeBytes: this.#sizeBytes };
    return { file, sha256: this.#hash.digest('base64url') };
  }

  /**
   * Gives everything back, also in the middle of a write, and after a store has taken the file. Idempotent. What still
   * waits for this writer rejects with KNEAR_CLOSED.
   */
  discard(): void {
    this.#stop(new KnearError('KNEAR_CLOSED', `the spool file ${this.#file} was discarded`));
  }

  /** Everything that was written until now is in the file, which there is from then on. */
  async #flush(): Promise<FileHandle> {
    const untilBytes = this.#sizeBytes;
    do await this.#pump();
    while (this.#writtenBytes < untilBytes && !this.#stopped);
    if (this.#stopped) throw this.#stopped;
    assert(this.#handle, 'a file that is written is open');
    return this.#handle;
  }

  /** Writes what is gathered, and goes on as long as enough gathers meanwhile. */
  #pump(): Promise<void> {
    // It would make the file anew.
    if (this.#stopped) return Promise.resolve();
    this.#writing ??= this.#writeGathered();
    return this.#writing;
  }

  async #writeGathered(): Promise<void> {
    try {
      this.#handle ??= await open(this.#file, 'wx+', 0o600);
      do {
        const pieces = this.#pieces;
        const cost = this.#gatheredCost;
        this.#pieces = [];
        this.#gatheredCost = 0;
        const bytes = await writeAll(this.#handle, pieces);
        // Otherwise it is given back already.
        if (this.#stopped) return;
        this.#space.written(bytes);
        this.#writtenBytes += bytes;
        this.#waitingCost -= cost;
        if (this.#waitingCost < WAITING_BYTES_MAX) this.#wake((waiter) => waiter.resolve());
      } while (this.#gatheredCost >= GATHER_BYTES);
    } catch (error) {
      this.#stop(diskFault(error, `writing the spool file ${this.#file}`));
    } finally {
      // In the same step as the last look at what has gathered: who gathers more starts the next.
      this.#writing = undefined;
    }
  }

  #room(): Promise<void> {
    const room = new Promise<void>((resolve, reject) => this.#waiters.push({ resolve, reject }));
    // Who no longer waits for it hears of it from the next call.
    room.catch(() => undefined);
    return room;
  }

  #wake(wake: (waiter: { resolve(): void; reject(reason: KnearError): void }) => void): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) wake(waiter);
  }

  /** The one end of every writer. */
  #stop(reason: KnearError): void {
    if (this.#stopped) return;
    this.#stopped = reason;
    this.#pieces = [];
    this.#gatheredCost = 0;
    this.#space.give({
      sizeBytes: this.#sizeBytes,
      unwrittenBytes: this.#sizeBytes - this.#writtenBytes,
    });
    this.#wake((waiter) => waiter.reject(reason));
    this.#onRemoval(this.#remove());
  }

  /** Best effort: what stays goes at the next start. */
  async #remove(): Promise<void> {
    // An open that is under way makes the file, and a write that is needs it.
    await this.#writing;
    if (!this.#handle) return;
    await unlink(this.#file).catch(() => undefined);
    await this.#handle.close().catch(() => undefined);
  }
}

/** How much of the disk may still be taken. */
class SpoolSpace {
  readonly #folder: string;
  readonly #limits: SpoolLimits;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  bytes = 0;
  /** Taken, and not on the disk as far as we know. */
  #unwrittenBytes = 0;
  /** As the disk said, less what was taken since. */
  #freeBytes = Number.POSITIVE_INFINITY;
  #checkAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: {
    readonly folder: string;
    readonly limits: SpoolLimits;
    readonly clock: Pick<Clock, 'monotonicMs'>;
  }) {
    this.#folder = options.folder;
    this.#limits = options.limits;
    this.#clock = options.clock;
  }

  refusal(sizeBytes: number): KnearError | undefined {
    const { bytesMax, freeMinBytes } = this.#limits;
    if (this.bytes + sizeBytes > bytesMax) {
      const detail = `the spool ${this.#folder} has ${this.bytes} of at most ${bytesMax} bytes, no room for ${sizeBytes} more: large bodies come in faster than the store takes them, so send again later, or raise the bound of the spool`;
      return new KnearError('KNEAR_PAYLOAD_STORE_FULL', detail);
    }
    this.#check();
    if (this.#freeBytes - sizeBytes < freeMinBytes) {
      const detail = `the disk of ${this.#folder} has ${Math.max(0, this.#freeBytes)} bytes free, of which ${freeMinBytes} are not for payloads, too little for ${sizeBytes} more: make room on it`;
      return new KnearError('KNEAR_PAYLOAD_STORE_FULL', detail);
    }
    return undefined;
  }

  take(sizeBytes: number): void {
    this.bytes += sizeBytes;
    this.#unwrittenBytes += sizeBytes;
    this.#freeBytes -= sizeBytes;
  }

  written(sizeBytes: number): void {
    this.#unwrittenBytes -= sizeBytes;
  }

  give({ sizeBytes, unwrittenBytes }: { sizeBytes: number; unwrittenBytes: number }): void {
    this.bytes -= sizeBytes;
    this.#unwrittenBytes -= unwrittenBytes;
  }

  /** At once (4 us), because an answer that comes later would be about the disk as it was before the last writes. */
  #check(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#checkAtMs) return;
    this.#checkAtMs = nowMs + SPACE_CHECK_MS;
    try {
      const { bavail, bsize } = statfsSync(this.#folder);
      this.#freeBytes = bavail * bsize - this.#unwrittenBytes;
    } catch {
      // Best effort: a disk that cannot be asked is found full by the write that fails.
      this.#freeBytes = Number.POSITIVE_INFINITY;
    }
  }
}

const costOf = (piece: Uint8Array): number => piece.byteLength + PIECE_COST_BYTES;

/** Rejected, and known to be: who gave up waiting must not end the process. */
function rejected(reason: KnearError): Promise<void> {
  const promise = Promise.reject(reason);
  promise.catch(() => undefined);
  return promise;
}

/** A disk that gets full takes a part of a write, and refuses the next one. */
async function writeAll(handle: FileHandle, pieces: readonly Uint8Array[]): Promise<number> {
  let writtenBytes = 0;
  for (let left = pieces; left.length > 0;) {
    const { bytesWritten } = await handle.writev(left);
    writtenBytes += bytesWritten;
    left = remaining(left, bytesWritten);
  }
  return writtenBytes;
}

function remaining(pieces: readonly Uint8Array[], skipBytes: number): Uint8Array[] {
  const left: Uint8Array[] = [];
  let skip = skipBytes;
  for (const piece of pieces) {
    if (piece.byteLength > skip) left.push(piece.subarray(skip));
    skip = Math.max(0, skip - piece.byteLength);
  }
  return left;
}

function cutOff(file: string): KnearError {
  const detail = `the spool file ${file} has lost its end: somebody else changes files in there`;
  return new KnearError('KNEAR_PAYLOAD_STORE_AWAY', detail);
}
