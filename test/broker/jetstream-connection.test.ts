/**
 * Goal: knear waits for a NATS server that can keep the log, says in words what is in the way, and never says a secret. Method: real
 * servers, configured as somebody would; `connectNats` is a black box. Its back-off runs twenty times as fast, the client's own
 * timers do not.
 */
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { JetStreamAccountStats } from '@nats-io/jetstream';
import { nkeys, type ServerInfo } from '@nats-io/transport-node';
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
import { whyAccountUnsuitable, whyServerUnsuitable } from '../../broker/log/jetstream/suitable.ts';
import type { KnearError } from '../../core/errors.ts';
import { eventually } from '../e2e/eventually.ts';
import { RacingClock } from '../fakes/racing-clock.ts';
import { openNats, type Nats, type NatsOptions as ServerOptions } from '../servers/nats.ts';
import { openChain, writeCertificates } from './nats-identities.ts';

const PACE = 20;

const closers: (() => Promise<void> | void)[] = [];
let folder: string;
/** Whatever this process printed. */
let printed: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'knear-connection-'));
  closers.push(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  printed = '';
  for (const stream of [process.stdout, process.stderr]) {
    jest.spyOn(stream, 'write').mockImplementation((text) => {
      printed += String(text);
      return true;
    });
  }
  for (const name of ['log', 'info', 'warn', 'error', 'debug'] as const) {
    jest.spyOn(console, name).mockImplementation((...parts: unknown[]) => {
      printed += inspect(parts, { depth: null });
    });
  }
});

afterEach(async () => {
  for (let close = closers.pop(); close; close = closers.pop()) await close();
});

async function openServer(options?: ServerOptions): Promise<Nats> {
  const server = await openNats(options);
  closers.push(() => server.close());
  return server;
}

function fileWith(text: string, name = 'secret'): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

/** One call of `connectNats`, and what it has told so far. */
interface Attempt {
  readonly waiting: KnearError[];
  readonly statuses: (KnearError | undefined)[];
  readonly link: Promise<NatsLink>;
  abort(reason: Error): void;
}

function attempt(
  server: { readonly url: string } | string,
  options: Partial<NatsOptions> = {},
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

/** Expects that it waits, and says so with this code and these words. */
async function expectObstacle(
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
async function expectUsable({ js, jsm }: NatsLink): Promise<void> {
  await jsm.streams.add({ name: 'KN_test', subjects: ['kn.test.>'] });
  expect(await js.publish('kn.test.a', 'x')).toMatchObject({ stream: 'KN_test', seq: 1 });
}

/** Everything that left connectNats, as deep as it goes. */
async function everythingSaid({ waiting, statuses, link }: Attempt): Promise<string> {
  const open = await Promise.race([link, Promise.resolve(undefined)]).catch(
    (error: unknown) => error,
  );
  const deep = { depth: null, showHidden: true, maxStringLength: null, maxArrayLength: null };
  const errors = [...waiting, ...statuses].map(
    (error) => `${inspect(error, deep)} ${error?.stack ?? ''}`,
  );
  return [...errors, inspect(open, deep), JSON.stringify([waiting, statuses]), printed].join('\n');
}

/** Something that takes connections, and is no NATS server. */
async function openSilent(greeting = '') {
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

const USER = { kind: 'password', user: 'shop' } as const;

describe('a server that can keep the log', () => {
  test('is connected to, and told of', async () => {
    const server = await openServer();
    const { link, waiting, statuses } = attempt(server);
    const open = await link;
    expect(open.info).toEqual({
      version: '2.15.2',
      payloadMaxBytes: 1_048_576,
      serverName: expect.stringMatching(/^N/),
      isTls: false,
    });
    await expectUsable(open);
    expect({ waiting, statuses }).toEqual({ waiting: [], statuses: [] });
  });

  test('is found among others that do not answer', async () => {
    const server = await openServer();
    const away = await openServer();
    await away.kill();
    const { link, statuses } = attempt('', { servers: [away.url, server.url] });
    await expectUsable(await link);
    // From then on, any of them will do.
    await server.kill();
    await away.restart();
    await eventually('at the other', () => statuses.length === 2);
    expect(statuses[1]).toBeUndefined();
    await expectUsable(await link);
  });

  test('is left in order, once', async () => {
    const server = await openServer();
    const open = await attempt(server).link;
    const { nc } = open;
    nc.publish('kn.test', 'the last');
    await Promise.all([open.close(), open.close()]);
    await open.close();
    expect(nc.isClosed()).toBe(true);
  });
});

describe('credentials', () => {
  test('a user with a password gets in; another password does not, until the file has the right one', async () => {
    const server = await openServer({
      config: 'authorization { user: shop, password: "pa55 w0rd" }',
    });
    const passwordFile = fileWith('wr0ng-s3cret\n');
    const tried = attempt(server, { credentials: { ...USER, passwordFile } });
    await expectObstacle(tried, 'KNEAR_NATS_DENIED', /Authorization Violation.*compare/i);
    fileWith('pa55 w0rd\n');
    await expectUsable(await tried.link);
    expect(tried.waiting).toHaveLength(1);
    expect(await everythingSaid(tried)).not.toMatch(/wr0ng|pa55/);
  });

  test('a token gets in, another does not', async () => {
    const server = await openServer({ config: 'authorization { token: t0ken-of-knear }' });
    const tokenFile = fileWith('t0ken-of-others');
    const tried = attempt(server, { credentials: { kind: 'token', tokenFile } });
    await expectObstacle(tried, 'KNEAR_NATS_DENIED', /Authorization Violation/i);
    fileWith('t0ken-of-knear');
    await expectUsable(await tried.link);
    expect(await everythingSaid(tried)).not.toMatch(/t0ken/);
  });

  test('an NKey gets in, another does not', async () => {
    const [user, other] = [nkeys.createUser(), nkeys.createUser()];
    const server = await openServer({
      config: `authorization { users: [ { nkey: ${user.getPublicKey()} } ] }`,
    });
    const seed = (of: typeof user) => new TextDecoder().decode(of.getSeed());
    const seedFile = fileWith(seed(other));
    const tried = attempt(server, { credentials: { kind: 'nkey', seedFile } });
    await expectObstacle(tried, 'KNEAR_NATS_DENIED', /Authorization Violation/i);
    fileWith(`${seed(user)}\n`);
    await expectUsable(await tried.link);
    const said = await everythingSaid(tried);
    for (const secret of [seed(user), seed(other)]) expect(said).not.toContain(secret);
  });

  test('a JWT gets in; that of an unknown account or one that has expired does not', async () => {
    const chain = openChain();
    const server = await openServer({ config: chain.config });
    const foreign = chain.foreignCredentials();
    const expired = chain.credentials({ expiresAtS: 1_700_000_000 });
    const good = chain.credentials();
    const credentials = { kind: 'jwt' as const, credentialsFile: fileWith(foreign) };
    const one = attempt(server, { credentials });
    await expectObstacle(one, 'KNEAR_NATS_DENIED', /Authorization Violation/i);
    fileWith(expired);
    const two = attempt(server, { credentials });
    await expectObstacle(two, 'KNEAR_NATS_DENIED', /Authorization Violation|expired/i);
    fileWith(good.replaceAll('\n', '\r\n'));
    await expectUsable(await one.link);
    await two.link;
    const said = (await everythingSaid(one)) + (await everythingSaid(two));
    for (const secret of [foreign, expired, good].flatMap((text) => text.split('\n'))) {
      if (secret.length > 40 && !secret.includes('*')) expect(said).not.toContain(secret);
    }
    expect(said).not.toMatch(/SU[A-Z2-7]{20}/);
  });

  test('nothing to show does not get in where something is wanted', async () => {
    const server = await openServer({ config: 'authorization { user: shop, password: s3cret }' });
    await expectObstacle(attempt(server), 'KNEAR_NATS_DENIED', /Authorization Violation/i);
  });
});

describe('a file with a secret', () => {
  const seed = new TextDecoder().decode(nkeys.createUser().getSeed());
  const accountSeed = new TextDecoder().decode(nkeys.createAccount().getSeed());

  test.each<[string, string | undefined, (file: string) => Partial<NatsOptions>, string]>([
    [
      'that is missing',
      undefined,
      (passwordFile) => ({ credentials: { ...USER, passwordFile } }),
      'cannot be read (ENOENT)',
    ],
    [
      'that is empty',
      '\n',
      (tokenFile) => ({ credentials: { kind: 'token', tokenFile } }),
      'is empty',
    ],
    [
      'with two lines',
      's3cret\ns3cret2\n',
      (passwordFile) => ({ credentials: { ...USER, passwordFile } }),
      'has more than one line',
    ],
    [
      'that is no seed',
      `${seed}s3cret`,
      (seedFile) => ({ credentials: { kind: 'nkey', seedFile } }),
      'has no valid NKey seed',
    ],
    [
      'with the seed of an account',
      accountSeed,
      (seedFile) => ({ credentials: { kind: 'nkey', seedFile } }),
      'has an NKey seed that is not that of a user',
    ],
    [
      'that is no .creds',
      `${seed}\n`,
      (credentialsFile) => ({ credentials: { kind: 'jwt', credentialsFile } }),
      'is no .creds file',
    ],
    [
      'that is no authority',
      's3cret',
      (caFile) => ({ tls: { caFile } }),
      'has no certificate in PEM form',
    ],
  ])('%s is named, and not quoted', async (_name, text, options, words) => {
    const file = join(folder, 'secret');
    if (text !== undefined) fileWith(text);
    const tried = attempt('nats://127.0.0.1:1', options(file));
    await expectObstacle(tried, 'KNEAR_NATS_DENIED', '');
    expect(tried.waiting[0]?.message).toContain(`The file ${file} ${words}`);
    const said = await everythingSaid(tried);
    expect(said).not.toMatch(/s3cret|SU[A-Z2-7]{20}|SA[A-Z2-7]{20}/);
  });

  test('is read anew after the server has changed it, without a restart of knear', async () => {
    const config = (password: string) => `authorization { user: shop, password: "${password}" }`;
    const server = await openServer({ config: config('0ld-s3cret') });
    const passwordFile = fileWith('0ld-s3cret');
    const tried = attempt(server, { credentials: { ...USER, passwordFile } });
    const { js, jsm } = await tried.link;
    await jsm.streams.add({ name: 'KN_test', subjects: ['kn.test.>'] });
    server.config(config('n3w-s3cret'));
    await server.reload();
    const { statuses } = tried;
    await eventually('a refusal', () => statuses.at(-1)?.code === 'KNEAR_NATS_DENIED');
    fileWith('n3w-s3cret');
    await eventually('back', () => statuses.length > 0 && statuses.at(-1) === undefined);
    expect(await js.publish('kn.test.a', 'x')).toMatchObject({ seq: 1 });
    expect(await everythingSaid(tried)).not.toMatch(/s3cret/);
  });
});

test('a file that goes away while the server is away is named, and no end of the trying', async () => {
  const server = await openServer({ config: 'authorization { user: shop, password: s3cret }' });
  const passwordFile = fileWith('s3cret');
  const { link, statuses } = attempt(server, { credentials: { ...USER, passwordFile } });
  await link;
  await server.kill();
  await eventually('lost', () => statuses.at(-1)?.code === 'KNEAR_NATS_AWAY');
  rmSync(passwordFile);
  await eventually('missed', () => statuses.at(-1)?.code === 'KNEAR_NATS_DENIED');
  expect(statuses.at(-1)?.message).toContain(`The file ${passwordFile} cannot be read (ENOENT)`);
  await server.restart();
  // After the second refusal in a row, the client gives up unless it is told not to.
  await eventually('refused', () => server.log.split('authentication error').length > 3);
  fileWith('s3cret');
  await eventually('back', () => statuses.at(-1) === undefined);
});

describe('TLS', () => {
  const tlsBlock = ({ certFile, keyFile }: { certFile: string; keyFile: string }, more = '') =>
    `tls { cert_file: ${JSON.stringify(certFile)}, key_file: ${JSON.stringify(keyFile)} ${more} }`;
  const byName = (server: Nats, protocol = 'tls') => `${protocol}://localhost:${server.port}`;

  test('is spoken with a server whose authority is known, and with no other', async () => {
    const files = await writeCertificates(folder);
    const server = await openServer({ config: tlsBlock(files.server) });
    const open = await attempt(byName(server), { tls: { caFile: files.caFile } }).link;
    expect(open.info.isTls).toBe(true);
    await expectUsable(open);
    for (const tls of [undefined, { caFile: files.otherCaFile }]) {
      const tried = attempt(byName(server), tls && { tls });
      await expectObstacle(tried, 'KNEAR_NATS_UNSUITABLE', /not trusted.*natsCaFile/);
    }
  });

  test('is not believed under another name', async () => {
    const files = await writeCertificates(folder);
    const server = await openServer({ config: tlsBlock(files.elsewhere) });
    const tried = attempt(byName(server), { tls: { caFile: files.caFile } });
    await expectObstacle(tried, 'KNEAR_NATS_UNSUITABLE', /not trusted.*the host that it is for/);
  });

  test('needs a certificate of ours where the server wants one', async () => {
    const files = await writeCertificates(folder);
    const { caFile, client, otherClient } = files;
    const more = `, ca_file: ${JSON.stringify(caFile)}, verify: true`;
    const server = await openServer({ config: tlsBlock(files.server, more) });
    const open = await attempt(byName(server), { tls: { caFile, ...client } }).link;
    await expectUsable(open);
    const refused = [{}, otherClient].map((pair) =>
      attempt(byName(server), { tls: { caFile, ...pair } }),
    );
    for (const tried of refused) {
      await expectObstacle(tried, 'KNEAR_NATS_DENIED', /certificate of knear.*natsCertFile/);
    }
  });

  test('is spoken where the server demands it, also without tls://', async () => {
    const files = await writeCertificates(folder);
    const server = await openServer({ config: tlsBlock(files.server) });
    const tried = attempt(byName(server, 'nats'));
    await expectObstacle(tried, 'KNEAR_NATS_UNSUITABLE', /not trusted/);
    const open = await attempt(byName(server, 'nats'), { tls: { caFile: files.caFile } }).link;
    expect(open.info.isTls).toBe(true);
  });

  test('needs a key that belongs to the certificate', async () => {
    const { caFile, client, otherClient } = await writeCertificates(folder);
    const tls = { caFile, certFile: client.certFile, keyFile: otherClient.keyFile };
    const tried = attempt('tls://localhost:1', { tls });
    const words = `${tls.keyFile} does not belong to ${tls.certFile}`;
    await expectObstacle(tried, 'KNEAR_NATS_DENIED', words);
    expect(await everythingSaid(tried)).not.toContain('PRIVATE KEY');
  });

  test.each<[string, string, Partial<NatsOptions>]>([
    ['a URL', 'tls', {}],
    ['a file', 'nats', { tls: {} }],
  ])('is demanded by %s', async (_name, protocol, options) => {
    const server = await openServer();
    const tried = attempt(byName(server, protocol), options);
    await expectObstacle(tried, 'KNEAR_NATS_UNSUITABLE', /has no TLS/);
  });
});

describe('a server that cannot keep the log', () => {
  test('has no JetStream', async () => {
    const server = await openServer({ jetStream: false });
    await expectObstacle(
      attempt(server),
      'KNEAR_NATS_UNSUITABLE',
      /JetStream is not enabled on the NATS server: add/,
    );
  });

  test('takes only small messages, until its limit is raised', async () => {
    const server = await openServer({ config: 'max_payload: 64KB' });
    const tried = attempt(server);
    const words = /at most 65536 bytes: knear needs 262144, raise max_payload/;
    await expectObstacle(tried, 'KNEAR_NATS_UNSUITABLE', words);
    server.config('max_payload: 256KB');
    await server.reload();
    expect((await tried.link).info.payloadMaxBytes).toBe(262_144);
  });

  test('is none at all', async () => {
    const other = await openSilent('HTTP/1.1 400 Bad Request\r\n\r\n');
    const tried = attempt(other.url);
    await expectObstacle(tried, 'KNEAR_NATS_UNSUITABLE', /no NATS server/);
  });

  const account = (jetstream: string, permissions = '') => `
    accounts { SHOP { ${jetstream}, users: [ { user: shop, password: s3cret ${permissions} } ] } }`;

  async function attemptAs(config: string): Promise<Attempt> {
    const server = await openServer({ config });
    return attempt(server, { credentials: { ...USER, passwordFile: fileWith('s3cret') } });
  }

  test.each([
    ['no JetStream', 'jetstream: disabled', /not enabled for the account of knear/],
    [
      'no room on the disk',
      'jetstream { max_file: 0, max_mem: 1G }',
      /may keep nothing on the disk/,
    ],
    [
      'a demand for max_bytes',
      'jetstream { max_bytes_required: true }',
      /demands max_bytes of each stream.*schedules/,
    ],
    [
      'a limit for consumers',
      'jetstream { max_consumers: 10 }',
      /may have 10 consumers.*max_consumers/,
    ],
    [
      'a limit for messages under way',
      'jetstream { max_ack_pending: 100 }',
      /may have 100 messages under way/,
    ],
  ])('has an account with %s', async (_name, jetstream, words) => {
    await expectObstacle(await attemptAs(account(jetstream)), 'KNEAR_NATS_UNSUITABLE', words);
  });

  test('has an account that has as many streams as it may, unless some are those of knear', async () => {
    const limited = await attemptAs(account('jetstream { max_streams: 1 }'));
    const { jsm, nc } = await limited.link;
    await jsm.streams.add({ name: 'other', subjects: ['other.>'] });
    const server = nc.getServer();
    const again = () =>
      attempt(`nats://${server}`, { credentials: { ...USER, passwordFile: fileWith('s3cret') } });
    await expectObstacle(again(), 'KNEAR_NATS_UNSUITABLE', /may have 1 streams and has as many/);
    await jsm.streams.delete('other');
    await jsm.streams.add({ name: 'KN_a', subjects: ['kn.a.>'] });
    await again().link;
  });

  test('has an account with a tier of JetStream for one replica, or without', async () => {
    const tier = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
    const fit = openChain({ jetStream: { tiered_limits: { R1: tier } } });
    const unfit = openChain({ jetStream: { tiered_limits: { R3: tier } } });
    const connectWith = async ({ config, credentials }: typeof fit) =>
      attempt(await openServer({ config }), {
        credentials: { kind: 'jwt', credentialsFile: fileWith(credentials()) },
      });
    await (
      await connectWith(fit)
    ).link;
    await expectObstacle(await connectWith(unfit), 'KNEAR_NATS_UNSUITABLE', /one replica/);
  });

  test.each([
    [
      'publish to the API of JetStream',
      'publish: { deny: "$JS.API.>" }',
      /Publish to "\$JS\.API\.INFO".*grant/,
    ],
    [
      'subscribe to its inbox',
      'subscribe: { deny: "_INBOX.>" }',
      /Subscription to "_INBOX\..*grant/,
    ],
  ])('does not let the user %s', async (_name, permissions, words) => {
    const config = account('jetstream: enabled', `, permissions: { ${permissions} }`);
    await expectObstacle(await attemptAs(config), 'KNEAR_NATS_DENIED', words);
  });
});

describe('a server that is away', () => {
  test('is waited for: told once, and connected to when it is there', async () => {
    const server = await openServer();
    await server.kill();
    const tried = attempt(server);
    await expectObstacle(
      tried,
      'KNEAR_NATS_AWAY',
      /does not answer \(.*ECONNREFUSED.*\): start it/,
    );
    await server.restart();
    await expectUsable(await tried.link);
    expect(tried.waiting).toHaveLength(1);
  });

  test('is told anew when it is there and still not fit', async () => {
    const server = await openServer({ jetStream: false });
    await server.kill();
    const { waiting } = attempt(server);
    await eventually('away', () => waiting.length === 1);
    await server.restart();
    await eventually('unfit', () => waiting.length === 2);
    expect(waiting.map(({ code }) => code)).toEqual(['KNEAR_NATS_AWAY', 'KNEAR_NATS_UNSUITABLE']);
  });

  test('has a name that nobody knows', async () => {
    const tried = attempt('nats://nowhere.invalid:4222');
    await expectObstacle(tried, 'KNEAR_NATS_AWAY', /nowhere\.invalid/);
  });

  test('takes a connection and stays silent: that is told, and no connection is left open', async () => {
    const silent = await openSilent();
    const tried = attempt(silent.url);
    await expectObstacle(tried, 'KNEAR_NATS_AWAY', /takes a connection and is silent for 5 s/);
    tried.abort(new Error('enough'));
    await eventually('no connection', () => silent.open === 0);
  });

  test('is not waited for any more after an abort, neither between two tries nor in one', async () => {
    const reason = new Error('enough');
    const away = attempt('nats://127.0.0.1:1');
    await eventually('a first try', () => away.waiting.length === 1);
    away.abort(reason);
    await expect(away.link).rejects.toBe(reason);

    const silent = await openSilent();
    const tried = attempt(silent.url);
    await eventually('a connection', () => silent.open === 1);
    tried.abort(reason);
    await expect(tried.link).rejects.toBe(reason);
    await eventually('no connection', () => silent.open === 0);

    const early = AbortSignal.abort(reason);
    await expect(attempt('nats://127.0.0.1:1', { signal: early }).link).rejects.toBe(reason);
  });

  test('leaves no connection behind when it comes just after the abort', async () => {
    const server = await openServer();
    const tried = attempt(server);
    tried.abort(new Error('enough'));
    await expect(tried.link).rejects.toThrow('enough');
    await eventually('no connection', async () => {
      const answer = await fetch(`${server.monitorUrl}/connz`);
      const { num_connections: count } = (await answer.json()) as { num_connections: number };
      return count === 0;
    });
  });
});

describe('while it runs', () => {
  test('a server that is killed and comes back is told both times, and takes events again', async () => {
    const server = await openServer({ jetStream: 'sync_interval: always' });
    const { link, statuses } = attempt(server);
    const open = await link;
    await expectUsable(open);
    await server.kill();
    await eventually('lost', () => statuses.length === 1);
    await server.restart();
    await eventually('back', () => statuses.length === 2);
    expect(statuses).toEqual([
      expect.objectContaining({
        code: 'KNEAR_NATS_AWAY',
        message: expect.stringMatching(/127\.0\.0\.1:\d+ is lost: it is tried again/),
      }),
      undefined,
    ]);
    expect(await open.js.publish('kn.test.a', 'y')).toMatchObject({ seq: 2 });
  });

  test('a server that comes back and takes smaller messages is told as unfit, until it takes large ones', async () => {
    const server = await openServer();
    const { link, statuses } = attempt(server);
    await link;
    server.config('max_payload: 512KB');
    await server.kill();
    await server.restart();
    await eventually('unfit', () => statuses.at(-1)?.code === 'KNEAR_NATS_UNSUITABLE');
    expect(statuses.at(-1)?.message).toMatch(/524288 bytes, and took 1048576 when knear started/);
    server.config('');
    await server.kill();
    await server.restart();
    await eventually('back', () => statuses.at(-1) === undefined);
  });

  test('limits of the account that came with a restart are told, until they are taken off', async () => {
    const config = (limit: string) =>
      `accounts { SHOP { jetstream { ${limit} }, users: [ { user: shop, password: s3cret } ] } }`;
    const server = await openServer({ config: config('') });
    const credentials = { ...USER, passwordFile: fileWith('s3cret') };
    const { link, statuses } = attempt(server, { credentials });
    await link;
    server.config(config('max_bytes_required: true'));
    await server.kill();
    await server.restart();
    await eventually('unfit', () => statuses.at(-1)?.code === 'KNEAR_NATS_UNSUITABLE');
    // The connection stays.
    server.config(config(''));
    await server.reload();
    await eventually('fit', () => statuses.at(-1) === undefined);
    const codes = statuses.map((trouble) => trouble?.code);
    expect(codes).toEqual(['KNEAR_NATS_AWAY', 'KNEAR_NATS_UNSUITABLE', undefined]);
  });

  test('what the user may not do is told, and forgotten after a while', async () => {
    const config = `authorization { users: [
      { user: shop, password: s3cret, permissions: { publish: { deny: "kn.secret" } } } ] }`;
    const server = await openServer({ config });
    const credentials = { ...USER, passwordFile: fileWith('s3cret') };
    const { link, statuses } = attempt(server, { credentials });
    const { nc } = await link;
    nc.publish('kn.secret', 'x');
    await eventually('told', () => statuses.length === 1);
    expect(statuses[0]).toMatchObject({
      code: 'KNEAR_NATS_DENIED',
      message: expect.stringMatching(/Publish to "kn\.secret".*grant the permissions/),
    });
    await eventually('forgotten', () => statuses.length === 2);
    expect(statuses[1]).toBeUndefined();
  });

  test('nothing is told after it was closed', async () => {
    const server = await openServer();
    const { link, statuses } = attempt(server);
    const open = await link;
    await open.close();
    await server.kill();
    expect(await open.nc.closed()).toBeUndefined();
    expect(statuses).toEqual([]);
  });

  test('closing does not wait for a server that is away', async () => {
    const server = await openServer();
    const { link, statuses } = attempt(server);
    const open = await link;
    await server.kill();
    await eventually('lost', () => statuses.length === 1);
    await open.close();
    expect(open.nc.isClosed()).toBe(true);
  });
});

describe('what a server must be', () => {
  const info = (more: Partial<ServerInfo>) =>
    // The check reads no other field.
    ({ version: '2.12.0', max_payload: 1 << 20, server_name: 'n1', ...more }) as ServerInfo;

  test.each(['2.12.0', '2.12.0-RC.1', '2.13.0-dev', '2.15.2', '3.0.0', 'v2.12.4'])(
    'version %s will do',
    (version) => {
      expect(whyServerUnsuitable(info({ version }))).toBeUndefined();
    },
  );

  test.each(['2.11.9', '2.9.25', '1.4.1', '2.2.12', '0.12.0', '', 'unknown'])(
    'version %s is too old',
    (version) => {
      const why = `The NATS server n1 is of version ${version}: knear needs 2.12 or newer, update it`;
      expect(whyServerUnsuitable(info({ version }))).toBe(why);
    },
  );

  test('256 KiB are just enough', () => {
    expect(whyServerUnsuitable(info({ max_payload: 262_144 }))).toBeUndefined();
    expect(whyServerUnsuitable(info({ max_payload: 262_143 }))).toMatch(/262143 bytes/);
  });

  test('limits of an account that nobody has set are none', () => {
    const limits = {
      max_memory: -1,
      max_storage: -1,
      max_streams: -1,
      max_consumers: 0,
      max_ack_pending: 0,
      memory_max_stream_bytes: 0,
      storage_max_stream_bytes: 0,
      max_bytes_required: false,
    };
    // The check reads no other field.
    const account = { limits, streams: 7 } as JetStreamAccountStats;
    expect(whyAccountUnsuitable(account, { hasStreams: false })).toBeUndefined();
  });
});
