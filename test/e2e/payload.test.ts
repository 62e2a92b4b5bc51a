/** `knear payload`, the program, against `knear serve`, the program: what is claimed is seen, got out, verified, redacted. */
import { afterEach, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { eventually } from './eventually.ts';
import { broker, trigger, yamlOf } from './manifests.ts';
import { binary, post, send } from './producer.ts';
import { ENTRY, type Program } from './program.ts';
import { openStage } from './stage.ts';
import type { Subscriber } from './subscriber.ts';

const stage = openStage();

/** Each command is a process of its own, and on a busy machine takes seconds to start. */
const COMMANDS_MS = 90_000;

afterEach(() => stage.close());

/** Streams: more than the program keeps in memory of one payload. */
const LARGE = randomBytes(12_000_000);
const CLAIMED = randomBytes(2_000_000);

interface Ran {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

function knear(program: Program, ...args: string[]): Promise<Ran> {
  // The newest banner: the port changes with every start.
  const [, adminUrl = ''] = [...program.output.matchAll(/^health +(\S+)\/readyz$/gm)].at(-1) ?? [];
  const given = [ENTRY, ...args, '--admin-url', adminUrl];
  const options = { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 } as const;
  return new Promise((resolve) => {
    execFile(process.execPath, given, options, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr: stderr.toString() });
    });
  });
}

async function ok(program: Program, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await knear(program, ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.toString();
}

interface Shown {
  readonly id: string;
  readonly sizeBytes: number;
}

async function listed(program: Program): Promise<readonly Shown[]> {
  // As the command makes it.
  return JSON.parse(await ok(program, 'payload', 'list', '--all', '-o', 'json')) as Shown[];
}

/** A Trigger `audit` that is paused or not, with a dead letter sink. */
function resources({ url }: Subscriber, isPaused: boolean): string {
  return yamlOf(
    broker('main'),
    trigger('audit', {
      subscriber: `${url}/audit`,
      annotations: { 'knear.dev/paused': String(isPaused) },
      delivery: { retry: 0, deadLetterSink: { uri: `${url}/sink` } },
    }),
  );
}

/** Its Trigger is paused, so that events wait. */
async function start(): Promise<{ program: Program; subscriber: Subscriber }> {
  const subscriber = await stage.subscriber();
  const program = await stage.start(resources(subscriber, true));
  return { program, subscriber };
}

async function goOn(program: Program, subscriber: Subscriber): Promise<void> {
  await program.change(() => program.write('main.yaml', resources(subscriber, false)));
  await program.idle();
}

async function take(program: Program, id: string, data: Uint8Array): Promise<void> {
  const headers = { ...binary({ id, type: 'file' }), 'content-type': 'application/octet-stream' };
  const { status } = await post(`${program.url}/default/main`, { headers, body: data });
  expect(status).toBe(202);
}

function fileOf({ dataFolder }: Program, id: string): string {
  return join(dataFolder, 'payloads', id);
}

test(
  'what is claimed is listed and got out, also after a SIGKILL, and gone once it is delivered',
  async () => {
    const { program, subscriber } = await start();
    await take(program, 'large', LARGE);
    expect((await send(`${program.url}/default/main`, { id: 'small', type: 'note' })).status).toBe(
      202,
    );
    const [payload, ...more] = await listed(program);
    expect(more).toEqual([]);
    const { id = '' } = payload ?? {};
    expect(payload).toMatchObject({
      sizeBytes: LARGE.byteLength,
      namespace: 'default',
      records: 1,
    });
    expect(await ok(program, 'payload', 'list')).toMatch(
      new RegExp(`^ID .*\\n${id} +12 MB +\\S+ m?s +1 +kept\\n1 payload, 12 MB\\.\\n$`),
    );
    const told = await ok(program, 'explain', 'large');
    expect(told).toContain(`payload claimed, 12 MB, ${id}\n`);
    expect(await ok(program, 'explain', 'small')).toContain('payload inline, 7 B\n');

    await program.crash();
    await program.start();
    const out = join(stage.folder(), 'out');
    expect(await ok(program, 'payload', 'show', id, '--data', out)).toContain(
      'size         12000000 ',
    );
    expect((await readFile(out)).equals(LARGE)).toBe(true);
    const piped = await knear(program, 'payload', 'show', id, '--data', '-');
    expect(piped.code).toBe(0);
    expect(piped.stdout.equals(LARGE)).toBe(true);
    expect(await ok(program, 'payload', 'verify')).toBe('Verified: 1 payload, 1 good (12 MB).\n');

    await goOn(program, subscriber);
    expect(subscriber.at('/audit').map(({ body }) => body.byteLength)).toContain(LARGE.byteLength);
    await eventually('the payload gone', async () => (await listed(program)).length === 0);
    const gone = await knear(program, 'payload', 'show', id);
    expect(gone).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^KNEAR_PAYLOAD_UNKNOWN: /),
    });
  },
  COMMANDS_MS,
);

test(
  'K43 what is redacted ends as a dead letter without data, and nobody gets its bytes',
  async () => {
    const { program, subscriber } = await start();
    await take(program, 'secret', CLAIMED);
    await take(program, 'other', CLAIMED);
    const named = await ok(program, 'explain', 'secret');
    const [, id = ''] = /payload claimed, 2000 kB, (\S+)/.exec(named) ?? [];
    const asked = await knear(program, 'payload', 'redact', id);
    expect(asked).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^KNEAR_USAGE: .*--yes/),
    });
    expect(await ok(program, 'payload', 'redact', id, '--yes')).toContain(
      `Redacted: ${id}, 2000 kB.`,
    );
    await expect(readFile(fileOf(program, id))).rejects.toMatchObject({ code: 'ENOENT' });
    const got = await knear(program, 'payload', 'show', id, '--data', '-');
    expect(got).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^KNEAR_PAYLOAD_REDACTED: /),
    });
    expect(got.stdout.byteLength).toBe(0);

    // It is remembered.
    await program.crash();
    await program.start();
    expect(await ok(program, 'payload', 'verify')).toMatch(/ 1 good \(2000 kB\), 1 redacted\.\n$/);
    await goOn(program, subscriber);
    expect(subscriber.at('/audit').map((received) => received.id)).toEqual(['other']);
    const [letter, ...others] = subscriber.at('/sink');
    expect(others).toEqual([]);
    expect(letter).toMatchObject({
      id: 'secret',
      headers: { 'ce-knearerror': 'KNEAR_PAYLOAD_REDACTED', 'ce-knearsize': '2000000' },
    });
    expect(letter?.body.byteLength).toBe(0);
    await eventually('both gone', async () => (await listed(program)).length === 0);
  },
  COMMANDS_MS,
);

test(
  'what was altered is found by verify, is not given out, and its event is told of it',
  async () => {
    const { program, subscriber } = await start();
    for (const id of ['one', 'two']) await take(program, id, LARGE);
    const [{ id = '' } = { id: '' }] = await listed(program);
    // The program has nothing of it in memory then.
    await program.crash();
    await truncate(fileOf(program, id), LARGE.byteLength - 1);
    await program.start();
    const found = await knear(program, 'payload', 'verify');
    expect(found.code).toBe(1);
    expect(found.stdout.toString()).toMatch(
      new RegExp(`^Verified: 2 payloads, 1 good \\(12 MB\\), 1 altered\\.\\n {2}altered +${id}\\n`),
    );
    const out = stage.folder();
    const got = await knear(program, 'payload', 'show', id, '--data', join(out, 'out'));
    expect(got).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^KNEAR_PAYLOAD_CORRUPT: /),
    });
    expect(await readdir(out)).toEqual([]);

    await goOn(program, subscriber);
    expect(subscriber.at('/audit').map(({ body }) => body.byteLength)).toEqual([LARGE.byteLength]);
    expect(subscriber.at('/sink').map(({ headers }) => headers['ce-knearerror'])).toEqual([
      'KNEAR_PAYLOAD_CORRUPT',
    ]);
  },
  COMMANDS_MS,
);

test(
  'what no event needs is told and swept, what is needed stays, and foreign files do',
  async () => {
    const { program, subscriber } = await start();
    await take(program, 'needed', CLAIMED);
    const [{ id = '' } = { id: '' }] = await listed(program);
    const orphan = join(program.dataFolder, 'payloads', 'shop', '2026010100', 'A'.repeat(22));
    await mkdir(dirname(orphan), { recursive: true });
    await copyFile(fileOf(program, id), orphan);
    await writeFile(join(dirname(orphan), 'notes.txt'), 'of somebody');
    expect(await ok(program, 'payload', 'sweep', '--dry-run')).toBe(
      'No event needs 1 of 2 payloads in the store, 2000 kB: knear payload sweep removes them.\n',
    );
    expect(await ok(program, 'payload', 'sweep')).toBe(
      'Removed: 1 of 2 payloads in the store, 2000 kB. No event needed them.\n',
    );
    expect(await readdir(dirname(orphan))).toEqual(['notes.txt']);
    await goOn(program, subscriber);
    expect(subscriber.at('/audit')[0]?.body.equals(CLAIMED)).toBe(true);
  },
  COMMANDS_MS,
);

test(
  'with the log of another folder nothing is swept, and it is said why (K45)',
  async () => {
    const { program } = await start();
    await take(program, 'one', CLAIMED);
    const [{ id = '' } = { id: '' }] = await listed(program);
    await program.crash();
    const { program: other } = await start();
    await other.crash();
    await copyFile(join(other.dataFolder, 'log'), join(program.dataFolder, 'log'));
    await program.start();
    const swept = await knear(program, 'payload', 'sweep', '--force');
    expect(swept).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^KNEAR_PAYLOAD_FOREIGN: .*one backup/),
    });
    expect((await readFile(fileOf(program, id))).equals(CLAIMED)).toBe(true);
  },
  COMMANDS_MS,
);

test(
  'what is parked shows where its data is',
  async () => {
    const subscriber = await stage.subscriber();
    subscriber.on('/audit', () => ({ status: 422 }));
    const program = await stage.start(
      yamlOf(broker('main'), trigger('audit', { subscriber: `${subscriber.url}/audit` })),
    );
    await take(program, 'e-1', CLAIMED);
    await eventually(
      'parked',
      async () => (await program.metric('knear_lag', { state: 'parked' })) > 0,
    );
    const [, position = ''] =
      /^(\d+) /m.exec(await ok(program, 'parked', 'list', 'trigger', 'audit')) ?? [];
    const shown = await ok(program, 'parked', 'show', 'trigger', 'audit', position);
    const [, id = ''] = /^To get it: knear payload show (\S+) --data FILE$/m.exec(shown) ?? [];
    expect(shown).toMatch(/^Data: claimed, 2000 kB, sha256 /m);
    const piped = await knear(program, 'payload', 'show', id, '--data', '-');
    expect(piped.stdout.equals(CLAIMED)).toBe(true);
  },
  COMMANDS_MS,
);
