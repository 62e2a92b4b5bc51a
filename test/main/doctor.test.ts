/** `knear doctor`: each check where it can be shown a fault, and all of them on real folders and ports. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { getuid } from 'node:process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { acquireOwnerLock } from '../../broker/log/owner-lock.ts';
import { openAdmin, type Health } from '../../main/admin.ts';
import { checkFileSystem, checkFsync, checkSpace } from '../../main/doctor/doctor-disk.ts';
import {
  checkNode,
  checkOpenFiles,
  examine,
  reportOf,
  type Check,
  type DoctorOptions,
} from '../../main/doctor/doctor.ts';
import { systemClock } from '../../main/time.ts';
import { FakeClock } from '../fakes/clock.ts';

const BROKER = 'apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: a}\n';
const GIBIBYTE = 2 ** 30;

const closers: (() => Promise<void>)[] = [];
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'knear-doctor-'));
  await mkdir(join(folder, 'resources'));
  await writeFile(join(folder, 'resources', 'broker.yaml'), BROKER);
  await mkdir(join(folder, 'data'));
});

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  await rm(folder, { recursive: true, force: true });
});

type Flags = NonNullable<DoctorOptions['sources']['flags']>;

async function checks(
  flags: Flags = {},
  options: Partial<DoctorOptions> = {},
): Promise<ReadonlyMap<string, Check>> {
  const found = await examine({
    sources: {
      cwd: folder,
      flags: { resources: 'resources', data: 'data', port: '0', adminPort: '0', ...flags },
    },
    clock: systemClock,
    pause: () => Promise.resolve(),
    ...options,
  });
  return new Map(found.map((check) => [check.name, check]));
}

/** Something that listens and is no knear. */
async function stranger(): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    socket.end('hello\r\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  // It listens on a port.
  return String((server.address() as AddressInfo).port);
}

async function knear(health: Health = { reasons: [] }): Promise<string> {
  const admin = await openAdmin({
    ...{ host: '127.0.0.1', port: 0, resources: () => [], problems: () => [] },
    metrics: { contentType: 'text/plain', text: () => Promise.resolve('') },
    health: () => health,
  });
  closers.push(() => admin.close());
  return new URL(admin.url).port;
}

describe('one check', () => {
  test.each([
    { version: '24.21.0', state: 'ok' },
    { version: '22.19.0', state: 'ok' },
    { version: '22.18.9', state: 'FAIL' },
    { version: '20.20.2', state: 'FAIL' },
  ])('of Node.js $version: $state', ({ version, state }) => {
    expect(checkNode(version).state).toBe(state);
  });

  test.each([
    { limit: 1_048_576, state: 'ok' },
    { limit: undefined, state: 'ok' },
    { limit: 1_024, state: 'warn' },
    { limit: 64, state: 'FAIL' },
  ])('of $limit open files: $state', ({ limit, state }) => {
    const { advice = '', ...check } = checkOpenFiles(limit);
    expect(check.state).toBe(state);
    expect(advice.includes('ulimit -n')).toBe(state !== 'ok');
  });

  test.each([
    // A twentieth of 100 GiB is 5 GiB.
    { freeGiB: 50, reserveGiB: 0.25, state: 'ok' },
    { freeGiB: 9, reserveGiB: 0.25, state: 'warn' },
    { freeGiB: 4, reserveGiB: 0.25, state: 'FAIL' },
    { freeGiB: 50, reserveGiB: 60, state: 'FAIL' },
    { freeGiB: 50, reserveGiB: 30, state: 'warn' },
  ])('of $freeGiB GiB, $reserveGiB GiB reserved: $state', ({ freeGiB, reserveGiB, state }) => {
    const disk = { blocks: 100 * 2 ** 18, bavail: freeGiB * 2 ** 18, bsize: 4_096 };
    expect(checkSpace({ logReserveBytes: reserveGiB * GIBIBYTE }, disk).state).toBe(state);
  });

  test.each([
    { type: 0xef53, state: 'ok', detail: 'ext4 or its like' },
    { type: 0x01021994, state: 'warn', detail: 'tmpfs' },
    { type: 0x794c7630, state: 'warn', detail: 'overlay' },
    { type: 0x6969, state: 'FAIL', detail: 'nfs' },
    { type: 0xff534d42, state: 'FAIL', detail: 'cifs' },
    // Where the system gives it as a number with a sign.
    { type: 0xff534d42 | 0, state: 'FAIL', detail: 'cifs' },
    { type: 0x1234, state: 'ok', detail: 'of a kind that is not known here (0x1234)' },
    { type: undefined, state: 'ok', detail: 'of a kind that is not known here' },
  ])('of a file system of type $type: $state', ({ type, state, detail }) => {
    expect(checkFileSystem(type)).toMatchObject({ state, detail });
  });

  test.each([
    { medianMs: 0.053, state: 'ok', shown: '0.05 ms' },
    { medianMs: 20, state: 'ok', shown: '20 ms' },
    { medianMs: 31.4, state: 'warn', shown: '31 ms' },
  ])('of a disk that takes $medianMs ms: $state', ({ medianMs, state, shown }) => {
    expect(checkFsync(medianMs)).toMatchObject({
      state,
      detail: expect.stringContaining(`takes ${shown} `),
    });
  });
});

describe('all checks', () => {
  test('find nothing where nothing is wrong, and leave nothing behind', async () => {
    const found = await checks();
    expect([...found.keys()]).toEqual([
      ...['node', 'settings', 'resources', 'data folder', 'owner', 'free space', 'file system'],
      ...['fsync', 'payloads', 'payload space', 'port', 'admin port', 'open files', 'clock'],
    ]);
    const machine = ['free space', 'file system', 'fsync', 'payload space', 'open files'];
    for (const [name, { state }] of found) {
      if (!machine.includes(name)) expect({ name, state }).toEqual({ name, state: 'ok' });
    }
    expect(await readdir(join(folder, 'data'))).toEqual([]);
  });

  test('look at the folder above where there is no data yet', async () => {
    const found = await checks({ data: 'not/yet' });
    expect(found.get('data folder')).toMatchObject({
      state: 'ok',
      detail: `${join(folder, 'not/yet')} will be made in ${folder}`,
    });
    expect(found.get('fsync')?.state).not.toBe('FAIL');
    expect((await readdir(folder)).toSorted()).toEqual(['data', 'resources']);
  });

  test('say what is wrong with a setting, and look at what does not need it', async () => {
    const found = await checks({ port: '99999' });
    expect(found.get('settings')).toMatchObject({
      state: 'FAIL',
      detail: expect.stringMatching(/^KNEAR_SETTING_INVALID: --port 99999/),
    });
    expect([...found.keys()]).toEqual(['node', 'settings', 'open files', 'clock']);
  });

  test.each([
    { name: 'none', yaml: 'kind: [', state: 'FAIL' },
    { name: 'not valid', yaml: BROKER.replace('metadata', 'metdata'), state: 'FAIL' },
    {
      name: 'not ready',
      yaml: `apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: t}
spec: {broker: nowhere, subscriber: {uri: "http://s/"}}
`,
      state: 'warn',
    },
  ])('say that a resource is $name', async ({ yaml, state }) => {
    await writeFile(join(folder, 'resources', 'more.yaml'), yaml);
    expect((await checks()).get('resources')).toMatchObject({
      state,
      advice: `knear validate ${join(folder, 'resources')} tells which`,
    });
  });

  test('say that there are no resources', async () => {
    expect((await checks({ resources: 'none' })).get('resources')).toMatchObject({
      state: 'FAIL',
      detail: expect.stringMatching(/^KNEAR_RESOURCES_UNREADABLE: /),
    });
  });

  test('say that the data folder is a file', async () => {
    await writeFile(join(folder, 'file'), '');
    for (const data of ['file', 'file/below']) {
      const found = await checks({ data });
      expect(found.get('data folder')).toMatchObject({
        state: 'FAIL',
        advice: expect.stringContaining('--data'),
      });
      expect(found.has('fsync')).toBe(false);
    }
  });

  // Root may write everywhere.
  (getuid?.() === 0 ? test.skip : test)('say that the data folder cannot be written', async () => {
    await chmod(join(folder, 'data'), 0o500);
    expect((await checks()).get('data folder')).toMatchObject({
      state: 'FAIL',
      detail: expect.stringContaining('EACCES'),
    });
  });

  test('say who owns the data folder, which is a fault where no knear answers', async () => {
    const lock = await acquireOwnerLock(join(folder, 'data'));
    closers.push(() => lock.release());
    const detail = `process ${process.pid} uses the data folder`;
    expect((await checks()).get('owner')).toMatchObject({ state: 'FAIL', detail });
    const adminPort = await knear();
    expect((await checks({ adminPort })).get('owner')).toMatchObject({ state: 'ok', detail });
    await lock.release();
    expect((await checks()).get('owner')).toMatchObject({ state: 'ok' });
  });

  test('tell a knear at a port from another program', async () => {
    const port = await stranger();
    const adminPort = await knear();
    const found = await checks({ port, adminPort });
    expect(found.get('port')).toMatchObject({
      state: 'FAIL',
      detail: `another program listens at 127.0.0.1:${port}`,
      advice: expect.stringContaining('--port'),
    });
    expect(found.get('admin port')).toMatchObject({
      state: 'ok',
      detail: `a knear runs at 127.0.0.1:${adminPort}`,
    });
  });

  test('say why the knear at a port is not ready', async () => {
    const reasons = [{ code: 'KNEAR_LOG_FULL', detail: 'no room' }];
    expect((await checks({ adminPort: await knear({ reasons }) })).get('admin port')).toMatchObject(
      {
        state: 'FAIL',
        detail: expect.stringContaining('(KNEAR_LOG_FULL: no room)'),
      },
    );
  });

  test('say that an address is not of this machine', async () => {
    // For documentation (RFC 5737): nobody has it.
    expect((await checks({ host: '192.0.2.1', port: '8080' })).get('port')).toMatchObject({
      state: 'FAIL',
      detail: expect.stringContaining('EADDRNOTAVAIL'),
    });
  });
});

describe('the clock', () => {
  const STARTS = Date.UTC(2026, 5, 1);

  test.each([
    { name: 'runs evenly', startMs: STARTS, jumpMs: 0, state: 'ok' },
    { name: 'is set meanwhile', startMs: STARTS, jumpMs: 1_000, state: 'warn' },
    { name: 'is set back meanwhile', startMs: STARTS, jumpMs: -1_000, state: 'warn' },
    { name: 'is before the program', startMs: Date.UTC(1970, 0, 1), jumpMs: 0, state: 'FAIL' },
  ])('$name: $state', async ({ startMs, jumpMs, state }) => {
    const fake = new FakeClock(startMs);
    let wallOffsetMs = 0;
    const clock = {
      ...{ monotonicMs: () => fake.monotonicMs(), nowMs: () => fake.nowMs() + wallOffsetMs },
      ...{ after: systemClock.after, soon: systemClock.soon },
    };
    const pause = (ms: number) => {
      fake.advance(ms);
      wallOffsetMs = jumpMs;
      return Promise.resolve();
    };
    expect((await checks({}, { clock, pause })).get('clock')).toMatchObject({ state });
  });
});

test('the report is a line a check, and one that counts', () => {
  const report = reportOf([
    { name: 'node', state: 'ok', detail: 'fine' },
    { name: 'file system', state: 'warn', detail: 'tmpfs', advice: 'mount\n a disk' },
    { name: 'port', state: 'FAIL', detail: 'taken' },
  ]);
  expect(report).toBe(
    [
      'ok    node         fine',
      'warn  file system  tmpfs: mount a disk',
      'FAIL  port         taken',
      '',
      '1 ok, 1 warn, 1 FAIL',
      '',
    ].join('\n'),
  );
});
