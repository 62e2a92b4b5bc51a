/**
 * Goal: the server that tests lean on is the real one, and does what its handle says. Method: NATS speaks text, so a socket and a
 * few lines are enough; a client library would connect again by itself and hide what the server does.
 */
import { afterEach, describe, expect, test } from '@jest/globals';

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { eventually } from '../e2e/eventually.ts';
import { openNats, type Nats, type NatsOptions } from './nats.ts';

const closers: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (let close = closers.pop(); close; close = closers.pop()) await close();
});

describe('a started server', () => {
  test('greets as the pinned version, with JetStream', async () => {
    const nats = await open();
    const { info } = await speakTo(nats);
    expect(info).toMatchObject({ version: '2.15.2', jetstream: true, port: nats.port });
    expect(nats.url).toBe(`nats://127.0.0.1:${String(nats.port)}`);
  });

  test('is configured as the options say', async () => {
    const nats = await open({ jetStream: 'sync_interval: always', config: 'max_payload: 2048' });
    const { info } = await speakTo(nats);
    expect(info).toMatchObject({ max_payload: 2048 });
    expect(await variables(nats)).toMatchObject({
      jetstream: { config: { sync_always: true, store_dir: join(nats.storeFolder, 'jetstream') } },
    });
  });

  test('has no JetStream when it is told so', async () => {
    const nats = await open({ jetStream: false });
    const { info } = await speakTo(nats);
    expect(info).not.toHaveProperty('jetstream');
    expect(existsSync(nats.storeFolder)).toBe(false);
  });

  test('listens on the loopback interface alone', async () => {
    const nats = await open();
    expect(await variables(nats)).toMatchObject({ host: '127.0.0.1', http_host: '127.0.0.1' });
  });

  test('takes a new configuration without a restart, and refuses a bad one', async () => {
    const nats = await open({ config: 'max_payload: 2048' });
    nats.config('max_payload: 4096');
    await nats.reload();
    expect((await speakTo(nats)).info).toMatchObject({ max_payload: 4096 });
    nats.config('max_paiload: 8192');
    await expect(nats.reload()).rejects.toThrow('unknown field "max_paiload"');
    expect((await speakTo(nats)).info).toMatchObject({ max_payload: 4096 });
  });
});

describe('a server that ends', () => {
  test('comes back after SIGKILL on the same port, with what it has confirmed', async () => {
    const nats = await open({ jetStream: 'sync_interval: always' });
    const { port, pid } = nats;
    const before = await speakTo(nats);
    const stream = { name: 'orders', subjects: ['orders.*'], storage: 'file' };
    await before.request('$JS.API.STREAM.CREATE.orders', stream);
    expect(await before.request('orders.new', { order: 'A-1' })).toMatchObject({ seq: 1 });

    await nats.kill();
    expect(isThere(pid)).toBe(false);
    await eventually('a broken connection', () => before.isClosed());
    await expect(speakTo(nats)).rejects.toThrow('ECONNREFUSED');

    await nats.restart();
    expect(nats.port).toBe(port);
    expect(nats.pid).not.toBe(pid);
    const after = await speakTo(nats);
    const found = await after.request('$JS.API.STREAM.INFO.orders', {});
    expect(found).toMatchObject({ state: { messages: 1 } });
  });

  test('ends in order when it is stopped, frozen or not, and can be started again', async () => {
    const nats = await open();
    const { port } = nats;
    expect(await nats.stop()).toEqual({ code: 0, signal: null });
    await nats.restart();
    await nats.pause();
    expect(await nats.stop()).toEqual({ code: 0, signal: null });
    await nats.restart();
    expect((await speakTo(nats)).info).toMatchObject({ port });
  });

  test('waits for its port where somebody else has it for a moment', async () => {
    const nats = await open();
    const { port } = nats;
    await nats.kill();
    const other = createServer().listen(port, '127.0.0.1');
    await once(other, 'listening');
    const restarted = nats.restart();
    await eventually('a refusal', () => nats.log.includes('address already in use'));
    other.close();
    await restarted;
    expect((await speakTo(nats)).info).toMatchObject({ port });
  });

  test('is not started twice', async () => {
    const nats = await open();
    await expect(nats.restart()).rejects.toThrow('it runs already');
  });
});

test('a paused server keeps its connections, says nothing, and answers once it is resumed', async () => {
  const nats = await open();
  const connection = await speakTo(nats);
  await nats.pause();
  connection.write('PING\r\n');
  // As long as a hundred answers take.
  const health = fetch(`${nats.monitorUrl}/healthz`, { signal: AbortSignal.timeout(200) });
  await expect(health).rejects.toThrow('timeout');
  expect(connection.received()).not.toContain('PONG');
  nats.resume();
  await eventually('PONG', () => connection.received().includes('PONG'));
});

describe('what is left', () => {
  test.each([
    ['runs', () => Promise.resolve()],
    ['is paused', (nats: Nats) => nats.pause()],
    ['was killed', (nats: Nats) => nats.kill()],
  ])('after close of one that %s: neither process nor folder', async (_, trouble) => {
    const nats = await open();
    const { pid, storeFolder } = nats;
    await trouble(nats);
    await nats.close();
    expect(isThere(pid)).toBe(false);
    expect(existsSync(dirname(storeFolder))).toBe(false);
    await nats.close();
  });

  test('of one that cannot start: an error with its own words, and no folder', async () => {
    const refused = await open({ config: 'nonsense: true' }).catch(String);
    expect(refused).toContain('unknown field "nonsense"');
    const [, folder = ''] = /(\S+)\/nats\.conf/.exec(refused as string) ?? [];
    expect(folder).toContain('knear-nats-');
    expect(existsSync(folder)).toBe(false);
  });

  test('of one whose test process is killed: no process, not even a paused one', async () => {
    const pid = await openInAnotherProcess();
    await eventually('the end of the server', () => !isThere(pid));
  });
});

async function open(options?: NatsOptions): Promise<Nats> {
  const nats = await openNats(options);
  closers.push(() => nats.close());
  return nats;
}

/** Opens and pauses one in a process that is killed then. @returns which process the server was */
async function openInAnotherProcess(): Promise<number> {
  // The folder that nobody can remove is made in here.
  const folder = mkdtempSync(join(tmpdir(), 'knear-nats-owner-'));
  closers.push(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const nats = pathToFileURL(join(import.meta.dirname, 'nats.ts')).href;
  const program = `
    const { openNats } = await import(${JSON.stringify(nats)});
    const nats = await openNats();
    await nats.pause();
    console.log('pid ' + nats.pid);
  `;
  const owner = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  closers.push(() => void owner.kill('SIGKILL'));
  let said = '';
  owner.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const [, pid] = await eventually('a server', () => /^pid (\d+)\n/.exec(said) ?? undefined, {
    withinMs: 15_000,
  });
  expect(isThere(Number(pid))).toBe(true);
  owner.kill('SIGKILL');
  return Number(pid);
}

/** A process that has ended and that nobody has asked about is there no more. */
function isThere(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${String(pid)}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

async function variables(nats: Nats): Promise<unknown> {
  return (await fetch(`${nats.monitorUrl}/varz`)).json();
}

/** A connection that speaks the client protocol. */
interface Connection {
  /** What the server says of itself, first of all. */
  readonly info: unknown;
  received(): string;
  write(text: string): void;
  /** Publishes JSON with a subject for the reply. @returns the reply, which is JSON, too */
  request(subject: string, content: object): Promise<unknown>;
  isClosed(): boolean;
}

async function speakTo({ port }: Nats): Promise<Connection> {
  const socket = connect(port, '127.0.0.1');
  closers.push(() => void socket.destroy());
  let received = '';
  let failure: Error | undefined;
  socket.setEncoding('utf8').on('data', (text: string) => {
    received += text;
  });
  socket.on('error', (error) => {
    failure = error;
  });
  async function found(what: string, pattern: RegExp): Promise<string> {
    const look = () => {
      if (failure) throw failure;
      return pattern.exec(received)?.[1];
    };
    return eventually(what, look, { otherwise: () => received });
  }

  const info: unknown = JSON.parse(await found('INFO', /^INFO (.*)\r\n/));
  socket.write('CONNECT {"verbose":false}\r\n');
  let requests = 0;
  return {
    info,
    received: () => received,
    write: (text) => void socket.write(text),
    async request(subject, content) {
      requests += 1;
      const sid = String(requests);
      const inbox = `_INBOX.${sid}`;
      const text = JSON.stringify(content);
      const sizeBytes = String(Buffer.byteLength(text));
      socket.write(`SUB ${inbox} ${sid}\r\nPUB ${subject} ${inbox} ${sizeBytes}\r\n${text}\r\n`);
      const reply = new RegExp(`^MSG ${inbox} ${sid} \\d+\\r\\n(.*)\\r$`, 'm');
      return JSON.parse(await found(`a reply to ${subject}`, reply));
    },
    isClosed: () => socket.destroyed,
  };
}
