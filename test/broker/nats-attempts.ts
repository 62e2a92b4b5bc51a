/**
 * What the tests of the connection share: servers, files with secrets, calls of `connectNats` and what they say. `connectNats` is a
 * black box to them. Its back-off runs twenty times as fast, the client's own timers do not.
 */
import { afterEach, beforeEach, expect, jest } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';

import {
  connectNats,
  type NatsLink,
  type NatsOptions,
} from '../../broker/log/jetstream/connection.ts';
import type { KnearError } from '../../core/errors.ts';
import { eventually } from '../e2e/eventually.ts';
import { RacingClock } from '../fakes/racing-clock.ts';
import { openNats, type Nats, type NatsOptions as ServerOptions } from '../servers/nats.ts';

const PACE = 20;

/** One call of `connectNats`, and what it has told so far. */
export interface Attempt {
  readonly waiting: KnearError[];
  readonly statuses: (KnearError | undefined)[];
  readonly link: Promise<NatsLink>;
  abort(reason: Error): void;
}

/** What a test opens here is closed after it. */
export interface Attempts {
  /** Of the running test. */
  readonly folder: string;
  openServer(options?: ServerOptions): Promise<Nats>;
  /** Something that takes connections, says this, and is no NATS server. */
  openSilent(greeting?: string): Promise<Silent>;
  /** A file in the folder; absent: `secret`. */
  fileWith(text: string, name?: string): string;
  attempt(server: { readonly url: string } | string, options?: Partial<NatsOptions>): Attempt;
  /** Everything that left `connectNats`, as deep as it goes, and what this process printed. */
  everythingSaid(attempt: Attempt): Promise<string>;
}

export const USER = { kind: 'password', user: 'shop' } as const;

type Closers = (() => Promise<void> | void)[];

export function useAttempts(): Attempts {
  const closers: Closers = [];
  let folder = '';
  let printed = '';
  beforeEach(() => {
    const made = mkdtempSync(join(tmpdir(), 'knear-connection-'));
    folder = made;
    closers.push(() => {
      rmSync(made, { recursive: true, force: true });
    });
    printed = '';
    collectPrinted((text) => (printed += text));
  });
  afterEach(async () => {
    for (let close = closers.pop(); close; close = closers.pop()) await close();
  });
  return {
    get folder() {
      return folder;
    },
    openServer: async (options) => {
      const server = await openNats(options);
      closers.push(() => server.close());
      return server;
    },
    openSilent: (greeting = '') => openSilent(greeting, closers),
    fileWith: (text, name = 'secret') => {
      const file = join(folder, name);
      writeFileSync(file, text);
      return file;
    },
    attempt: (server, options = {}) => attempt(server, options, closers),
    everythingSaid: async (tried) => `${await everythingTold(tried)}\n${printed}`,
  };
}

/** Whatever this process prints, instead of printing it. */
function collectPrinted(add: (text: string) => void): void {
  for (const stream of [process.stdout, process.stderr]) {
    jest.spyOn(stream, 'write').mockImplementation((text) => {
      add(String(text));
      return true;
    });
  }
  for (const name of ['log', 'info', 'warn', 'error', 'debug'] as const) {
    jest.spyOn(console, name).mockImplementation((...parts: unknown[]) => {
      add(inspect(parts, { depth: null }));
    });
  }
}

function attempt(
  server: { readonly url: string } | string,
  options: Partial<NatsOptions>,
  closers: Closers,
): Attempt {
  const abort = new AbortController();
  const waiting: KnearError[] = [];
  const statuses: (KnearError | undefined)[] = [];
  const link = connectNats({
    servers: [typeof server === 'string' ? server : server.url],
    prefix: 'kn',
    clock: new RacingClock(PACE),
    onWaiting: (error) => waiting.push(error),
    onStatus: (trouble) => statuses.push(trouble),
    signal: abort.signal,
    ...options,
  });
  link.catch(() => undefined);
  closers.push(async () => {
    abort.abort(new Error('the test is over'));
    await link.then(
      (open) => open.close(),
      () => undefined,
    );
  });
  return {
    waiting,
    statuses,
    link,
    abort: (reason) => {
      abort.abort(reason);
    },
  };
}

async function everythingTold({ waiting, statuses, link }: Attempt): Promise<string> {
  const open = await Promise.race([link, Promise.resolve(undefined)]).catch(
    (error: unknown) => error,
  );
  const deep = { depth: null, showHidden: true, maxStringLength: null, maxArrayLength: null };
  const errors = [...waiting, ...statuses].map(
    (error) => `${inspect(error, deep)} ${error?.stack ?? ''}`,
  );
  return [...errors, inspect(open, deep), JSON.stringify([waiting, statuses])].join('\n');
}

interface Silent {
  readonly url: string;
  /** Connections. */
  readonly open: number;
}

async function openSilent(greeting: string, closers: Closers): Promise<Silent> {
  let open = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    open += 1;
    sockets.add(socket);
    socket.write(greeting);
    socket.on('error', () => undefined).on('close', () => (open -= 1));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `nats://127.0.0.1:${String(port)}`,
    get open() {
      return open;
    },
  };
}

/** Expects that it waits, and says so with this code and these words. */
export async function expectObstacle(
  { waiting }: Attempt,
  code: string,
  words: RegExp | string,
): Promise<void> {
  // A request that is not answered takes five seconds.
  const [first] = await eventually('an obstacle', () => waiting.length > 0 && waiting, {
    withinMs: 15_000,
  });
  expect(`${String(first?.code)}: ${String(first?.message)}`).toMatch(words);
  expect(first?.code).toBe(code);
}

/** Expects that a stream can be made and written to. */
export async function expectUsable({ js, jsm }: NatsLink): Promise<void> {
  await jsm.streams.add({ name: 'KN_test', subjects: ['kn.test.>'] });
  expect(await js.publish('kn.test.a', 'x')).toMatchObject({ stream: 'KN_test', seq: 1 });
}
