/**
 * Goal: whatever processes do to each other, a folder never has two owners, and never none that could be had.
 * Method: real processes, killed for real; for what takes an unlucky instant (a starter killed half-way, one that slept
 * through a takeover), the folder is put into the state which that instant leaves behind.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { link, lstat, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { acquireOwnerLock } from '../../broker/log/owner-lock.ts';

let folder: string;
const starters: Starter[] = [];
const servers: Server[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'knear-owner-'));
});

afterEach(async () => {
  await Promise.all(starters.splice(0).map((starter) => starter.kill()));
  for (const server of servers.splice(0)) server.close();
  await rm(folder, { recursive: true, force: true });
});

describe('one owner', () => {
  test('a second owner in the same process is refused', async () => {
    const lock = await acquireOwnerLock(folder);
    await expect(acquireOwnerLock(folder)).rejects.toMatchObject({ code: 'KNEAR_LOG_LOCKED' });
    await lock.release();
  });

  test('another process is refused, and told who owns the folder and what to do', async () => {
    const lock = await acquireOwnerLock(folder);
    const answer = await (await start()).acquire();
    expect(answer).toMatch(/^KNEAR_LOG_LOCKED /);
    expect(answer).toContain(`process ${String(process.pid)} `);
    expect(answer).toContain('--data');
    await lock.release();
  });

  test('release lets the next one in, leaves nothing behind, and may be repeated', async () => {
    const lock = await acquireOwnerLock(folder);
    await Promise.all([lock.release(), lock.release()]);
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
    const next = await start();
    expect(await next.acquire()).toBe('won');
    await lock.release();
    expect(await readdir(folder)).toEqual(['owner.sock']);
  });

  test('after kill -9 the next starter takes over at once', async () => {
    const first = await start();
    expect(await first.acquire()).toBe('won');
    await first.kill();
    expect(await readdir(folder)).toEqual(['owner.sock']);
    const lock = await acquireOwnerLock(folder);
    expect(await readdir(folder)).toEqual(['owner.sock']);
    expect(await (await start()).acquire()).toContain(`process ${String(process.pid)} `);
    await lock.release();
  });

  test('an owner that is stopped is still the owner', async () => {
    const first = await start();
    expect(await first.acquire()).toBe('won');
    first.signal('SIGSTOP');
    await expect(acquireOwnerLock(folder)).rejects.toMatchObject({
      code: 'KNEAR_LOG_LOCKED',
      message: expect.stringContaining('does not answer'),
    });
    first.signal('SIGCONT');
    await expect(acquireOwnerLock(folder)).rejects.toThrow(`process ${String(first.pid)} `);
  });
});

describe('races', () => {
  test.each([
    { name: 'an empty folder', prepare: () => Promise.resolve() },
    { name: 'a dead owner', prepare: () => leaveDead('owner.sock') },
  ])(
    'O1: of ten processes for $name exactly one wins, and the others name it',
    async ({ prepare }) => {
      await prepare();
      const racers = await Promise.all(Array.from({ length: 10 }, () => start()));
      const answers = await Promise.all(racers.map((racer) => racer.acquire()));
      const winners = racers.filter((_, index) => answers[index] === 'won');
      expect(winners).toHaveLength(1);
      const losers = answers.filter((answer) => answer !== 'won');
      const named = `KNEAR_LOG_LOCKED The data folder ${folder} is in use by process ${String(winners[0]?.pid)} `;
      expect(losers.filter((answer) => !answer.startsWith(named))).toEqual([]);
      expect(await readdir(folder)).toEqual(['owner.sock']);
    },
  );

  // Hunts the classic mistake: unlinking, as stale, the socket that a faster starter has just put there.
  test('thirty starters at once in one process, over and over, never share the folder', async () => {
    for (let round = 0; round < 10; round++) {
      await leaveDead('owner.sock');
      const results = await Promise.allSettled(
        Array.from({ length: 30 }, () => acquireOwnerLock(folder)),
      );
      const locks = results.flatMap((result) =>
        result.status === 'fulfilled' ? [result.value] : [],
      );
      expect(locks).toHaveLength(1);
      expect(await readdir(folder)).toEqual(['owner.sock']);
      await locks[0]?.release();
    }
  });

  // Hunts two owners at one time while owners are killed and replaced: an owner holds a file that only one can create.
  test('owners that are killed again and again never overlap', async () => {
    const guard = join(folder, 'guard');
    const churn = async () => {
      let crashes = 0;
      while (crashes < 4) {
        const starter = await start();
        const answer = await starter.acquire({ guard });
        expect(answer).toMatch(/^(won|KNEAR_LOG_LOCKED .*)$/);
        if (answer === 'won') crashes += 1;
        await starter.kill();
      }
    };
    await Promise.all([churn(), churn(), churn()]);
  });
});

describe('what an unlucky instant leaves behind', () => {
  test('a starter killed between winning the succession and taking the name is succeeded', async () => {
    const head = await leaveDead('owner.sock');
    const second = await leaveDead(`owner-after-${head}.sock`);
    await leaveDead(`owner-after-${second}.sock`);
    const lock = await acquireOwnerLock(folder);
    expect(await readdir(folder)).toEqual(['owner.sock']);
    await expect(acquireOwnerLock(folder)).rejects.toThrow(`process ${String(process.pid)} `);
    await lock.release();
  });

  test('O2: while a living successor is about to take the name, nobody else may', async () => {
    const head = await leaveDead('owner.sock');
    await listenAt(`owner-after-${head}.sock`, '4711');
    await expect(acquireOwnerLock(folder)).rejects.toThrow('process 4711 ');
    expect(await identityOf('owner.sock')).toBe(head);
  });

  test('O3: leftovers of a finished succession mislead nobody', async () => {
    const lock = await acquireOwnerLock(folder);
    await listenAt('owner-after-1-1.sock', '4711');
    await leaveDead('owner-9-abc.sock');
    await expect(acquireOwnerLock(folder)).rejects.toThrow(`process ${String(process.pid)} `);
    await lock.release();
    const next = await acquireOwnerLock(folder);
    expect(await readdir(folder)).toEqual(['owner.sock']);
    await next.release();
  });

  test('release leaves alone what somebody put there by hand meanwhile', async () => {
    const lock = await acquireOwnerLock(folder);
    await rm(join(folder, 'owner.sock'));
    const other = await acquireOwnerLock(folder);
    await lock.release();
    await expect(acquireOwnerLock(folder)).rejects.toMatchObject({ code: 'KNEAR_LOG_LOCKED' });
    await other.release();
  });

  test('a plain file in the place of the socket does not lock anybody out', async () => {
    await writeFile(join(folder, 'owner.sock'), 'not a socket');
    const lock = await acquireOwnerLock(folder);
    expect((await lstat(join(folder, 'owner.sock'))).isSocket()).toBe(true);
    await lock.release();
  });
});

describe('folders', () => {
  test('paths longer than a socket address work, and are locked like others', async () => {
    folder = join(folder, 'a'.repeat(100), 'b'.repeat(100));
    await mkdir(folder, { recursive: true });
    await leaveDead('owner.sock');
    const lock = await acquireOwnerLock(folder);
    await expect(acquireOwnerLock(folder)).rejects.toMatchObject({ code: 'KNEAR_LOG_LOCKED' });
    expect(await readdir(folder)).toEqual(['owner.sock']);
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
  });

  test.each([
    { name: 'a missing folder', path: () => join(folder, 'missing') },
    { name: 'a missing folder with a long path', path: () => join(folder, 'm'.repeat(120)) },
    { name: 'a file instead of a folder', path: () => join(folder, 'file') },
  ])('$name is an error that names it', async ({ path }) => {
    await writeFile(join(folder, 'file'), '');
    await expect(acquireOwnerLock(path())).rejects.toMatchObject({
      code: 'KNEAR_LOG_FAILED',
      message: expect.stringContaining(path()),
    });
  });
});

/** A process that is loaded and waits for the word, so that a race starts for all at once. */
interface Starter {
  readonly pid: number | undefined;
  /** `won`, or the code and the message. With `guard`: holds that file while it owns the folder. */
  acquire(options?: { guard: string }): Promise<string>;
  signal(name: NodeJS.Signals): void;
  kill(): Promise<void>;
}

const PROGRAM = `
  import { writeFileSync, rmSync } from 'node:fs';
  import { createInterface } from 'node:readline';
  import { acquireOwnerLock } from '${import.meta.resolve('../../broker/log/owner-lock.ts')}';
  process.stdout.write('loaded\\n');
  for await (const line of createInterface({ input: process.stdin })) {
    const { folder, guard } = JSON.parse(line);
    try {
      await acquireOwnerLock(folder);
      if (guard) {
        writeFileSync(guard, '', { flag: 'wx' });
        rmSync(guard);
      }
      process.stdout.write('won\\n');
    } catch (error) {
      process.stdout.write(error.code + ' ' + error.message + '\\n');
    }
  }
`;

async function start(): Promise<Starter> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', PROGRAM], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => String((await lines.next()).value);
  expect(await next()).toBe('loaded');
  const starter: Starter = {
    pid: child.pid,
    acquire: (options) => {
      child.stdin.write(`${JSON.stringify({ folder, guard: options?.guard })}\n`);
      return next();
    },
    signal: (name) => {
      child.kill(name);
    },
    kill: () => kill(child),
  };
  starters.push(starter);
  return starter;
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

/** A socket whose process is dead, under this name; returns its identity as the lock sees it. */
async function leaveDead(name: string): Promise<string> {
  const server = await listenAt(name, 'never asked');
  const identity = await identityOf(name);
  await new Promise((resolve) => server.close(resolve));
  return identity;
}

/** Listens in a short place of its own, since closing a server removes the name it was bound to. */
async function listenAt(name: string, pid: string): Promise<Server> {
  const server = createServer((socket) => socket.end(`${pid}\n`));
  servers.push(server);
  const elsewhere = await mkdtemp(join(tmpdir(), 'knear-s-'));
  server.listen(join(elsewhere, 's'));
  await once(server, 'listening');
  await link(join(elsewhere, 's'), join(folder, name));
  await rm(elsewhere, { recursive: true });
  return server;
}

async function identityOf(name: string): Promise<string> {
  const { ino, mtimeNs } = await lstat(join(folder, name), { bigint: true });
  return `${String(ino)}-${String(mtimeNs)}`;
}
