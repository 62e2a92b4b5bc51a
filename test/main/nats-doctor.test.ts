/** What `knear doctor` says of the NATS server that keeps the log: on real servers, right ones and wrong ones. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkRecords, checkServer } from '../../main/doctor/doctor-nats.ts';
import { examine, type Check } from '../../main/doctor/doctor.ts';
import { systemClock } from '../../main/time.ts';
import { openNats, type Nats, type NatsOptions } from '../servers/nats.ts';

const closers: (() => Promise<void>)[] = [];
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'knear-doctor-'));
  await mkdir(join(folder, 'data'));
});

afterEach(async () => {
  for (let close = closers.pop(); close; close = closers.pop()) await close();
  await rm(folder, { recursive: true, force: true });
});

async function open(options?: NatsOptions): Promise<Nats> {
  const server = await openNats(options);
  closers.push(() => server.close());
  return server;
}

async function checks(
  nats: string,
  flags: Readonly<Record<string, string>> = {},
): Promise<ReadonlyMap<string, Check>> {
  const found = await examine({
    sources: { cwd: folder, flags: { data: 'data', port: '0', adminPort: '0', nats, ...flags } },
    clock: systemClock,
    pause: () => Promise.resolve(),
  });
  return new Map(found.map((check) => [check.name, check]));
}

/** Of those about NATS. */
async function natsChecks(...given: Parameters<typeof checks>): Promise<Check[]> {
  return [...(await checks(...given)).values()].filter(({ name }) => name.startsWith('nats'));
}

async function managerOf({ url }: Nats): Promise<JetStreamManager> {
  const nc = await connect({ servers: url });
  closers.push(() => nc.close());
  return jetstreamManager(nc);
}

/** As an earlier knear leaves one with something in it. */
async function makeStream(jsm: JetStreamManager, { format = '1', hasHold = true } = {}) {
  const metadata = { 'knear-format': format };
  await jsm.streams.add({ name: 'KN_orders', subjects: ['kn.orders.>'], metadata });
  if (hasHold) {
    await jsm.consumers.add('KN_orders', { durable_name: 'hold', ack_policy: 'explicit' });
  }
  await jsm.jetstream().publish('kn.orders.p.egress.i.1', new Uint8Array(1_000));
}

describe('a server that can keep the log', () => {
  test('is told of, and nothing is left there', async () => {
    const server = await open();
    const found = await checks(server.url);
    expect([...found.keys()]).toEqual([
      ...['node', 'settings', 'resources', 'nats server', 'nats messages', 'nats account'],
      ...['nats streams', 'nats durability', 'data folder', 'file system', 'fsync', 'payloads'],
      ...['payload space', 'port', 'admin port', 'open files', 'clock'],
    ]);
    for (const [name, { state }] of found) {
      if (name.startsWith('nats')) expect({ name, state }).toEqual({ name, state: 'ok' });
    }
    expect(found.get('nats server')?.detail).toMatch(
      /^\S+, nats-server 2\.\d+\.\d+, without TLS; a round trip takes [\d.]+ ms \(median of 5\)$/,
    );
    expect(found.get('nats messages')).toMatchObject({
      detail: 'at most 1048576 bytes (max_payload), so a record has at most 491520',
      advice: expect.stringContaining('claimCheckInlineMax is 1048576'),
    });
    expect(found.get('nats account')?.detail).toBe(
      '0 B (no limit) on the disk, 0 (no limit) streams, 0 (no limit) consumers',
    );
    expect(found.get('nats streams')?.detail).toBe(
      'none that begins with KN_ yet: serve makes them',
    );
    expect(found.get('nats durability')).toMatchObject({
      detail: expect.stringMatching(/^process: /),
      advice: expect.stringContaining('--nats-durability machine'),
    });
    const account = await (await managerOf(server)).getAccountInfo();
    expect(account).toMatchObject({ streams: 0, consumers: 0 });
    expect(await readdir(join(folder, 'data'))).toEqual([]);
  });

  test('with streams of knear: how full the fullest is', async () => {
    const server = await open();
    await makeStream(await managerOf(server));
    const found = await checks(server.url, {
      natsDurability: 'machine',
      claimCheckInlineMax: '16Ki',
      natsStreamMax: '64Ki',
    });
    expect(found.get('nats streams')).toMatchObject({
      state: 'ok',
      detail: expect.stringMatching(/^1, the fullest is KN_orders with 1\d\d\d B of 66 kB$/),
    });
    expect(found.get('nats account')?.detail).toMatch(/, 1 \(no limit\) streams, 1 \(no limit\)/);
    expect(found.get('nats durability')?.detail).toMatch(/^machine, as the settings say/);
    expect(found.get('nats messages')?.advice).toBeUndefined();
  });

  test('with a stream that is nearly full', async () => {
    const server = await open();
    const jsm = await managerOf(server);
    await makeStream(jsm);
    await jsm.jetstream().publish('kn.orders.p.egress.i.2', new Uint8Array(60_000));
    const limits = { claimCheckInlineMax: '16Ki', natsStreamMax: '64Ki' };
    expect((await checks(server.url, limits)).get('nats streams')).toMatchObject({
      state: 'warn',
      advice: expect.stringContaining('KNEAR_QUOTA'),
    });
  });

  test('with an account that is nearly full', async () => {
    const account =
      'knear: { jetstream: { max_file: 64KB }, users: [{ user: knear, password: x }] }';
    const server = await open({ config: `accounts: { ${account} }\nno_auth_user: knear` });
    const jsm = await managerOf(server);
    await makeStream(jsm);
    await jsm.jetstream().publish('kn.orders.p.egress.i.2', new Uint8Array(60_000));
    expect((await checks(server.url)).get('nats account')).toMatchObject({
      state: 'warn',
      detail: expect.stringMatching(/^6\d kB of 6\d kB on the disk, /),
      advice: expect.stringContaining('KNEAR_LOG_FULL'),
    });
  });
});

describe('a server that serve would wait for', () => {
  test('is away', async () => {
    const server = await open();
    await server.kill();
    expect(await natsChecks(server.url)).toEqual([
      {
        name: 'nats server',
        state: 'FAIL',
        detail: expect.stringMatching(/^KNEAR_NATS_AWAY: .*start it, or look at its address/),
      },
    ]);
  });

  test('does not answer any more: it is not waited for', async () => {
    const server = await open();
    await server.pause();
    const startMs = systemClock.monotonicMs();
    expect(await natsChecks(server.url)).toEqual([
      {
        name: 'nats server',
        state: 'FAIL',
        detail: expect.stringMatching(/^KNEAR_NATS_AWAY: /),
      },
    ]);
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(11_000);
  }, 20_000);

  test('has another password', async () => {
    const server = await open({ config: 'authorization { user: knear, password: right }' });
    const file = join(folder, 'password');
    const flags = { natsUser: 'knear', natsPasswordFile: file };
    await writeFile(file, 'wrong\n');
    const found = await natsChecks(server.url, flags);
    expect(found).toMatchObject([{ name: 'nats server', state: 'FAIL' }]);
    expect(found[0]?.detail).toMatch(/^KNEAR_NATS_DENIED: .*Authorization Violation/i);
    expect(JSON.stringify(found)).not.toMatch(/wrong/);
    await writeFile(file, 'right\n');
    expect((await natsChecks(server.url, flags))[0]).toMatchObject({ state: 'ok' });
  });

  test('has no JetStream', async () => {
    const server = await open({ jetStream: false });
    expect(await natsChecks(server.url)).toEqual([
      {
        name: 'nats server',
        state: 'FAIL',
        detail: expect.stringMatching(
          /^KNEAR_NATS_UNSUITABLE: JetStream is not enabled .*jetstream/,
        ),
      },
    ]);
  });
});

describe('streams that serve would not start with', () => {
  test('are of another version', async () => {
    const server = await open();
    await makeStream(await managerOf(server), { format: '99' });
    expect((await checks(server.url)).get('nats streams')).toMatchObject({
      state: 'FAIL',
      detail: expect.stringMatching(/^KNEAR_LOG_FORMAT: the stream KN_orders has format 99/),
    });
    // Those of others are nobody's business.
    const others = await checks(server.url, { natsPrefix: 'other' });
    expect(others.get('nats streams')?.state).toBe('ok');
  });

  test('have lost their consumer hold', async () => {
    const server = await open();
    await makeStream(await managerOf(server), { hasHold: false });
    expect((await checks(server.url)).get('nats streams')).toMatchObject({
      state: 'FAIL',
      detail: 'KNEAR_LOG_CORRUPT: the stream KN_orders has lost its consumer hold',
      advice: expect.stringContaining('docs/nats.md'),
    });
  });
});

describe('one check', () => {
  const info = { version: '2.14.0', serverName: 'n', payloadMaxBytes: 2 ** 20, isTls: false };

  test.each([
    { servers: ['nats://localhost:4222'], isTls: false, roundTripMs: 0.4, state: 'ok' },
    {
      servers: ['nats://127.0.0.1:4222', 'nats://[::1]:1'],
      isTls: false,
      roundTripMs: 1,
      state: 'ok',
    },
    { servers: ['nats://nats.example:4222'], isTls: false, roundTripMs: 1, state: 'warn' },
    { servers: ['tls://nats.example:4222'], isTls: true, roundTripMs: 1, state: 'ok' },
    { servers: ['tls://nats.example:4222'], isTls: true, roundTripMs: 21, state: 'warn' },
  ])('of $servers, TLS $isTls, $roundTripMs ms: $state', ({ servers, state, ...found }) => {
    expect(checkServer({ servers }, { ...info, ...found }).state).toBe(state);
  });

  test.each([
    {
      inlineMax: 2 ** 20,
      attributesMax: 2 ** 14,
      payloadMax: 2 ** 20,
      state: 'ok',
      hint: /files below/,
    },
    { inlineMax: 2 ** 20, attributesMax: 2 ** 14, payloadMax: 2 ** 22, state: 'ok', hint: /^$/ },
    {
      inlineMax: 2 ** 17,
      attributesMax: 2 ** 17,
      payloadMax: 2 ** 18,
      state: 'FAIL',
      hint: /--attributes-max/,
    },
  ])(
    'of messages with $payloadMax bytes: $state',
    ({ inlineMax, attributesMax, payloadMax, state, hint }) => {
      const settings = { claimCheckInlineMaxBytes: inlineMax, attributesMaxBytes: attributesMax };
      const { advice = '', ...check } = checkRecords(settings, payloadMax);
      expect(check.state).toBe(state);
      expect(advice).toMatch(hint);
    },
  );
});
