/**
 * One owner for one data folder: two processes writing one log would destroy it.
 *
 * The lock is a Unix socket, `owner.sock`, on which the owner listens and answers with its pid. The kernel closes it
 * however the process ends, so a lock is never left behind by a crash: a socket that refuses connections is dead, for
 * ever, since a closed listener cannot come back under the same inode. (A pid in a file can be another process by now,
 * a lease in a file needs clocks, and Node offers no flock.)
 *
 * Replacing a dead `owner.sock` is the hard part: "refused, so unlink and bind" lets a slow starter unlink the socket
 * that a faster one has just bound. Instead:
 *
 *   O1  A socket is linked under a name that others look at only while it already listens, and with link(2), which fails
 *       when the name exists. So what refuses there is dead, not young.
 *   O2  Each dead socket D has at most one successor: who links its own socket as `owner-after-<identity of D>.sock`.
 *       A successor that died in turn is succeeded in the same way; the starters walk that chain to its living end.
 *   O3  Only the end of the chain that starts at `owner.sock` may replace it, by one rename, so that the name is never
 *       missing and never goes back to D. The names of the chain are removed after that, not before: who links one of
 *       them again sees that `owner.sock` is no longer D and starts over.
 *
 * At every moment at most one living process holds `owner.sock` or the right to replace it. Out of reach: somebody
 * removing files by hand while knear runs, and file systems shared by several machines (a socket reaches only
 * processes of its own kernel).
 */
import { randomBytes } from 'node:crypto';
import { link, lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { KnearError } from '../../core/errors.ts';

export interface OwnerLock {
  /** Lets the next process in. Call it when nothing writes to the folder any more. Idempotent. */
  release(): Promise<void>;
}

const OWNER = 'owner.sock';

/**
 * Makes this process the owner of the folder (which must exist) until `release` or the end of the process.
 * The lock alone does not keep the process alive.
 * @throws KNEAR_LOG_LOCKED when another process, or this one, owns the folder already; KNEAR_LOG_FAILED when the
 *   folder cannot hold the lock (missing, read-only, a file system without sockets or links).
 */
export async function acquireOwnerLock(folder: string): Promise<OwnerLock> {
  for (let round = 1; round <= ROUNDS_MAX; round++) {
    const candidate = await openCandidate(folder);
    const claim = await claimFolder(folder, candidate).catch(async (error: unknown) => {
      await candidate.close();
      throw asLockError(folder, error);
    });
    if (claim === 'owned') {
      // From here on the socket is known as owner.sock alone.
      await rm(candidate.path, { force: true });
      await sweep(folder);
      return lockOf(folder, candidate);
    }
    await candidate.close();
  }
  throw new KnearError(
    'KNEAR_LOG_LOCKED',
    `The data folder ${folder} keeps changing hands: other processes start and stop on it. ` +
      'Give each knear its own folder (--data).',
  );
}

/**
 * Who owns the folder, without a claim to it: `undefined` when nobody does. `pid` is absent where the owner does not answer.
 * Rejects with the error of the system when the folder cannot be asked.
 */
export async function ownerOf(folder: string): Promise<{ readonly pid?: string } | undefined> {
  const answer = await ask(folder, OWNER);
  if (answer.kind !== 'alive') return undefined;
  return answer.pid === undefined ? {} : { pid: answer.pid };
}

/** A round starts over only when another process came or went meanwhile; 20 in a row is a crash loop of others. */
const ROUNDS_MAX = 20;

/** Our own listening socket, still under a name nobody looks at. */
interface Candidate {
  readonly path: string;
  close(): Promise<void>;
}

async function openCandidate(folder: string): Promise<Candidate> {
  const name = `owner-${String(process.pid)}-${randomBytes(6).toString('hex')}.sock`;
  const path = join(folder, name);
  const server = createServer((socket) => {
    // A caller that hangs up early is its own affair, and none of them may hold up `release` by staying.
    socket.on('error', () => undefined);
    socket.end(`${String(process.pid)}\n`, () => socket.destroy());
  });
  server.unref();
  try {
    await withSocketPath(folder, name, (short) => listen(server, short));
    return { path, close: () => closeServer(server, path) };
  } catch (error) {
    await closeServer(server, path);
    throw asLockError(folder, error);
  }
}

/** One walk along the chain (O2). `changed`: somebody else moved meanwhile, so what was seen is worth nothing. */
async function claimFolder(folder: string, candidate: Candidate): Promise<'owned' | 'changed'> {
  const owner = join(folder, OWNER);
  let head: string | undefined;
  let name = OWNER;
  const isHead = async (identity: string) => (await identify(owner)) === identity;
  for (;;) {
    const place = join(folder, name);
    const linked = await tryLink(candidate.path, place);
    if (linked === 'vanished') return 'changed';
    if (linked === 'linked') {
      if (head === undefined) return 'owned';
      if (!(await isHead(head))) {
        // O3: the chain was finished by another process before we linked; this link means nothing to anybody.
        await rm(place, { force: true });
        return 'changed';
      }
      await rename(candidate.path, owner);
      return 'owned';
    }
    const identity = await identify(place);
    if (identity === undefined) return 'changed';
    const answer = await ask(folder, name);
    head ??= identity;
    if (answer.kind === 'gone' || !(await isHead(head))) return 'changed';
    if (answer.kind === 'alive') throw lockedBy(folder, answer.pid);
    name = `owner-after-${identity}.sock`;
  }
}

async function tryLink(from: string, to: string): Promise<'linked' | 'exists' | 'vanished'> {
  try {
    await link(from, to);
    return 'linked';
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return 'exists';
    // Our own file is missing: a new owner swept the folder while we were between bind and listen.
    if (systemCode(error) === 'ENOENT') return 'vanished';
    throw error;
  }
}

/**
 * What tells one socket from all others. The inode alone could be used again as soon as it is free; the moment it was
 * made (which neither link nor rename changes, unlike ctime) makes the pair unique.
 */
async function identify(path: string): Promise<string | undefined> {
  try {
    const { ino, mtimeNs } = await lstat(path, { bigint: true });
    return `${String(ino)}-${String(mtimeNs)}`;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

type Answer =
  | { readonly kind: 'alive'; readonly pid: string | undefined }
  | { readonly kind: 'dead' }
  /** Removed, or closing at this moment: look again. */
  | { readonly kind: 'gone' };

async function ask(folder: string, name: string): Promise<Answer> {
  return withSocketPath(folder, name, askAt);
}

/** An owner answers within a turn of its event loop; one that is stopped or busy is alive all the same, just nameless. */
const ANSWER_MS = 1_000;

function askAt(path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(path);
    const finish = (answer: Answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setEncoding('utf8');
    socket.setTimeout(ANSWER_MS, () => {
      finish({ kind: 'alive', pid: undefined });
    });
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.includes('\n')) finish({ kind: 'alive', pid: text.trim() });
    });
    socket.on('end', () => {
      finish({ kind: 'gone' });
    });
    socket.on('error', (error) => {
      const code = systemCode(error);
      if (code === 'ECONNREFUSED') finish({ kind: 'dead' });
      // Reset: it died with our connection still in its backlog.
      else if (code === 'ENOENT' || code === 'ECONNRESET') finish({ kind: 'gone' });
      // The backlog of a stopped owner is full.
      else if (code === 'EAGAIN') finish({ kind: 'alive', pid: undefined });
      else reject(error);
    });
  });
}

function lockedBy(folder: string, pid: string | undefined): KnearError {
  const who = pid === undefined ? 'a process that does not answer' : `process ${pid}`;
  return new KnearError(
    'KNEAR_LOG_LOCKED',
    `The data folder ${folder} is in use by ${who} (its own number, if it runs in a container). ` +
      'Stop it, or give this one a folder of its own (--data).',
  );
}

/**
 * Removes the chain, and the names of starters that were killed half-way. A living starter whose socket does not listen
 * yet may lose its name here; it sees that when it links, and starts over.
 * Best effort: what stays is a dead name of no size, and the next owner tries again.
 */
async function sweep(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    if (!/^owner-.*\.sock$/.test(name)) continue;
    const isDead =
      name.startsWith('owner-after-') ||
      (await ask(folder, name).catch(() => undefined))?.kind === 'dead';
    if (isDead) await rm(join(folder, name), { force: true }).catch(() => undefined);
  }
}

async function lockOf(folder: string, candidate: Candidate): Promise<OwnerLock> {
  const owner = join(folder, OWNER);
  const identity = await identify(owner);
  let released: Promise<void> | undefined;
  const release = async () => {
    // The name goes first, so that a starter never finds it dead after an orderly end. It is ours as long as we live,
    // unless somebody removed it by hand; then it may be another process's and stays.
    if (identity !== undefined && (await identify(owner)) === identity) {
      await rm(owner, { force: true });
    }
    await candidate.close();
  };
  return { release: () => (released ??= release()) };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // 511: Node's default; askers hang up at once, so even a crowd of starters stays far below.
    server.listen({ path, backlog: 511 }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function closeServer(server: Server, path: string): Promise<void> {
  // Best effort: a name that stays is swept by the next owner.
  await rm(path, { force: true }).catch(() => undefined);
  // Its only error is "was not listening", which is where we want to be.
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

/** sun_path of unix(7): 108 bytes with the final zero on Linux. */
const SOCKET_PATH_BYTES_MAX = 107;

/**
 * Socket addresses are short; folders need not be. Longer paths go through the descriptor of the folder, which names
 * the same directory in a few bytes (Linux only).
 */
async function withSocketPath<T>(
  folder: string,
  name: string,
  use: (path: string) => Promise<T>,
): Promise<T> {
  const path = join(folder, name);
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) return use(path);
  if (process.platform !== 'linux') {
    throw new Error(`the path ${path} is longer than ${String(SOCKET_PATH_BYTES_MAX)} bytes`);
  }
  const directory = await open(folder, 'r');
  try {
    return await use(`/proc/self/fd/${String(directory.fd)}/${name}`);
  } finally {
    await directory.close();
  }
}

function asLockError(folder: string, error: unknown): unknown {
  if (error instanceof KnearError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new KnearError(
    'KNEAR_LOG_FAILED',
    `The data folder ${folder} cannot be locked: ${reason}. ` +
      'It must exist, be writable, and lie on a local file system that supports Unix sockets and hard links.',
    { cause: error },
  );
}

function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}
