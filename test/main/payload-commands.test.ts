/** `knear payload` on the command line, asked of a real admin server over a real log and a real store. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import {
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { payloadId, type PayloadRef } from '../../core/event.ts';
import { run } from '../../main/knear.ts';
import {
  closePayloadStages,
  openPayloadStage,
  type PayloadStage,
  type Place,
} from './payload-stage.ts';
import { SHOWN } from './shown-payload.ts';

const LARGE_BYTES = 5_000_000;

let stage: PayloadStage;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'knear-payload-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function payload(...args: string[]): Promise<Ran & { readonly bytes: Buffer }> {
  const ran = { out: '', err: '' };
  const pieces: Uint8Array[] = [];
  const code = await run(['payload', ...args, '--admin-url', stage.admin.url], {
    env: {},
    cwd: folder,
    print: (text) => void (ran.out += text),
    printBytes: async (bytes) => void pieces.push(bytes),
    complain: (text) => void (ran.err += text),
    openLogger: () => pino({ level: 'silent' }),
    serve: () => Promise.reject(new Error('nothing is served')),
    stopAsked: () => new Promise(() => undefined),
    input: () => undefined,
    isWatched: { prints: false, complaints: false },
    printsUnread: () => new Promise(() => undefined),
  });
  return { code, ...ran, bytes: Buffer.concat(pieces) };
}

async function ok(...args: string[]): Promise<string> {
  const { code, out, err } = await payload(...args);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return out;
}

function json(text: string): unknown {
  return JSON.parse(text);
}

async function open(place: Place, options: { readonly logId?: string } = {}): Promise<void> {
  stage = await openPayloadStage(place, options);
}

/** Events whose tickets say this; nobody asks for their bytes. */
async function enter(...sizes: readonly number[]): Promise<void> {
  const refs = sizes.map((sizeBytes, index) => {
    const key = `2026010100/${String(index).padStart(22, '0')}`;
    return { ...SHOWN, key, sizeBytes, createdMs: stage.clock.nowMs() };
  });
  await stage.enter(...refs);
}

describe('list', () => {
  beforeEach(() => open('memory'));
  afterEach(closePayloadStages);

  test('there are none', async () => {
    expect(await ok('list')).toBe('0 payloads, 0 B.\n');
    expect(json(await ok('list', '-o', 'json'))).toEqual([]);
  });

  test('a line each, and one for all', async () => {
    await enter(9_999, 50_000_000, 2_340_000_000);
    const { answer } = await stage.post(
      '/payloads/default/2026010100/0000000000000000000001/redact',
    );
    expect(answer).toMatchObject({ records: 1 });
    stage.clock.advance(90_000);
    const id = (last: number) => `default/2026010100/${String(last).padStart(22, '0')}`;
    expect((await ok('list')).split('\n')).toEqual([
      'ID                                          SIZE     AGE      RECORDS   STATE',
      `${id(0)}   9999 B   90.0 s   1         kept`,
      `${id(1)}   50 MB    90.0 s   1         redacted`,
      `${id(2)}   2.3 GB   90.0 s   1         kept`,
      '3 payloads, 2.3 GB.',
      '',
    ]);
  });

  test.each(['a', 'a'.repeat(22), 'a'.repeat(23), 'a'.repeat(63)])(
    'no line has more than 100 columns with the namespace %s, and ids are whole',
    async (tenant) => {
      const key = (last: number) => `2026010100/${String(last).padStart(22, '0')}`;
      for (const [index, name] of ['default', tenant].entries()) {
        await stage.enter({ ...SHOWN, key: key(index), tenant: name, sizeBytes: 999_900_000_000 });
      }
      // The largest age and size that a line can have.
      stage.clock.advance(24 * 365 * 3_600_000);
      await stage.post(`/payloads/${tenant}/${key(1)}/redact`);
      const lines = (await ok('list')).split('\n');
      expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(100);
      expect(lines.join('\n')).toContain(`${tenant}/${key(1)}`);
      expect(lines.filter((line) => / 999\.9 GB .*(kept|redacted)$/.test(line))).toHaveLength(2);
    },
  );

  test('the first hundred, unless all are asked for, in pages or not', async () => {
    await enter(...Array.from({ length: 1_050 }, () => 1_000));
    const first = (await ok('list')).trimEnd().split('\n');
    expect(first).toHaveLength(102);
    expect(first.at(-1)).toBe('The first 100 payloads, 100 kB; --all shows all.');
    expect(json(await ok('list', '-o', 'json'))).toHaveLength(100);
    const all = (await ok('list', '--all')).trimEnd().split('\n');
    expect(all).toHaveLength(1_052);
    expect(all.at(-1)).toBe('1050 payloads, 1050 kB.');
    expect(json(await ok('list', '--all', '-o', 'json'))).toHaveLength(1_050);
  });

  test('those of one namespace', async () => {
    await stage.claim('x', 'shop');
    await stage.claim('y');
    expect(await ok('list', '-n', 'shop')).toMatch(/^ID .*\nshop\/.*\n1 payload, 1 B\.\n$/);
    expect(await ok('list', '-n', 'desk')).toBe('0 payloads, 0 B.\n');
    expect(await payload('list', '-n', '../..')).toMatchObject({ code: 2, out: '' });
  });
});

describe.each([{ place: 'memory' }, { place: 'disk' }] as const)('show, in $place', ({ place }) => {
  beforeEach(() => open(place));
  afterEach(closePayloadStages);

  test('what is known of it, and never its bytes', async () => {
    const ref = await stage.claim('a secret');
    stage.clock.advance(2_000);
    const out = await ok('show', payloadId(ref));
    expect(out).not.toContain('secret');
    expect(out.split('\n')).toEqual([
      `id        ${payloadId(ref)}`,
      `store     ${stage.store.name}`,
      'size      8 bytes',
      `sha256    ${ref.sha256}`,
      'created   2026-01-01T00:00:00.000Z, 2000 ms ago',
      'records   1 in the log name it',
      '',
    ]);
    const told = await ok('show', payloadId(ref), '-o', 'json');
    expect(json(told)).toMatchObject({ id: payloadId(ref), sizeBytes: 8, records: 1 });
    await ok('redact', payloadId(ref), '--yes');
    expect(await ok('show', payloadId(ref))).toMatch(/^redacted +\d{4}-/m);
  });

  test.each([0.5, 5])('its bytes, %d MB of them, in a file or wherever', async (megabytes) => {
    const bytes = randomBytes(megabytes * 1_000_000);
    const ref = await stage.claim(bytes);
    const out = await ok('show', payloadId(ref), '--data', 'out.bin');
    expect(out).toContain(`written to   ${join(folder, 'out.bin')}\n`);
    expect((await readFile(join(folder, 'out.bin'))).equals(bytes)).toBe(true);
    expect((await stat(join(folder, 'out.bin'))).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(['out.bin']);
    const printed = await payload('show', payloadId(ref), '--data', '-');
    expect(printed).toMatchObject({ code: 0, out: '', err: '' });
    expect(printed.bytes.equals(bytes)).toBe(true);
  });

  test('a file that is there is left as it is', async () => {
    const ref = await stage.claim('x');
    await writeFile(join(folder, 'mine'), 'mine');
    const { code, err } = await payload('show', payloadId(ref), '--data', 'mine');
    expect(code).toBe(2);
    expect(err).toMatch(/^KNEAR_USAGE: .*mine is there already/);
    expect(await readFile(join(folder, 'mine'), 'utf8')).toBe('mine');
  });
});

describe('what is broken', () => {
  beforeEach(() => open('disk'));
  afterEach(closePayloadStages);

  async function alter(ref: PayloadRef): Promise<void> {
    const bytes = await readFile(stage.fileOf(ref));
    await writeFile(stage.fileOf(ref), bytes.fill(0, bytes.byteLength - 1));
  }

  test.each([
    { code: 'KNEAR_PAYLOAD_CORRUPT', breakIt: alter },
    { code: 'KNEAR_PAYLOAD_CORRUPT', breakIt: (ref: PayloadRef) => truncate(stage.fileOf(ref), 7) },
    { code: 'KNEAR_PAYLOAD_MISSING', breakIt: (ref: PayloadRef) => unlink(stage.fileOf(ref)) },
  ])('leaves no file, and is told as $code', async ({ code, breakIt }) => {
    const bytes = randomBytes(LARGE_BYTES);
    bytes[LARGE_BYTES - 1] = 1;
    const ref = await stage.claim(bytes);
    await breakIt(ref);
    for (const target of ['out.bin', '-']) {
      const ran = await payload('show', payloadId(ref), '--data', target);
      expect(ran).toMatchObject({ code: 1, out: '' });
      expect(ran.err).toMatch(new RegExp(`^${code}: [^\n]*\n$`));
      expect(ran.bytes.byteLength).toBeLessThan(LARGE_BYTES);
    }
    expect(await readdir(folder)).toEqual([]);
  });

  test('is found by verify, which ends with 1 then', async () => {
    const [good, altered, missing, gone] = [
      await stage.claim(randomBytes(20_000)),
      await stage.claim(Buffer.alloc(20_000, 7)),
      await stage.claim(randomBytes(1_000)),
      await stage.claim(randomBytes(1_000)),
    ];
    expect(await ok('verify')).toBe('Verified: 4 payloads, 4 good (42 kB).\n');
    await alter(altered);
    await unlink(stage.fileOf(missing));
    await ok('redact', payloadId(gone), '--yes');
    const { code, out } = await payload('verify');
    expect(code).toBe(1);
    const wrong = [
      { ref: altered, line: `  altered     ${payloadId(altered)}` },
      { ref: missing, line: `  missing     ${payloadId(missing)}` },
    ].toSorted((one, two) => (payloadId(one.ref) < payloadId(two.ref) ? -1 : 1));
    expect(out.split('\n')).toEqual([
      'Verified: 4 payloads, 1 good (20 kB), 1 missing, 1 altered, 1 redacted.',
      ...wrong.map(({ line }) => line),
      'Restore what is missing or altered from a backup before its event is tried:',
      'without its payload it ends as a dead letter without data.',
      '',
    ]);
    const told = await payload('verify', '-o', 'json');
    expect(told.code).toBe(1);
    expect(json(told.out)).toMatchObject({
      ...{ good: 1, goodBytes: 20_000, redacted: 1 },
      broken: wrong.map(({ ref }) => ({ id: payloadId(ref) })),
    });
    expect(await ok('verify', payloadId(good))).toBe('Verified: 1 payload, 1 good (20 kB).\n');
    expect((await payload('verify', payloadId(missing))).code).toBe(1);
  });

  test('is found behind any number of pages', async () => {
    for (let count = 0; count < 3; count += 1) await stage.claim('x');
    await enter(...Array.from({ length: 1_500 }, () => 1));
    const { code, out } = await payload('verify');
    expect(code).toBe(1);
    expect(out).toMatch(/^Verified: 1503 payloads, 3 good \(3 B\), 1500 missing\.\n/);
    expect(out).toContain('  ... -o json has all\n');
    expect(out.split('\n')).toHaveLength(1 + 100 + 1 + 2 + 1);
    const { out: all } = await payload('verify', '-o', 'json');
    expect((json(all) as { broken: unknown[] }).broken).toHaveLength(1_500);
  });
});

describe('sweep', () => {
  afterEach(closePayloadStages);

  test('tells what it would remove, and removes it', async () => {
    await open('disk');
    await stage.claim('needed');
    await stage.orphans(2);
    expect(await ok('sweep', '--dry-run')).toBe(
      'No event needs 2 of 3 payloads in the store, 8 B: knear payload sweep removes them.\n',
    );
    expect(await ok('sweep')).toBe(
      'Removed: 2 of 3 payloads in the store, 8 B. No event needed them.\n',
    );
    expect(await ok('sweep')).toBe(
      'Nothing to remove: an event needs each of 1 payload in the store.\n',
    );
    expect(json(await ok('sweep', '-o', 'json'))).toMatchObject({ seen: 1, removed: 0 });
  });

  test('says what to do where most of many would go', async () => {
    await open('memory');
    await stage.orphans(1_001);
    const { code, err } = await payload('sweep');
    expect(code).toBe(1);
    expect(err).toMatch(/^KNEAR_PAYLOAD_SWEEP: no record names 1001 of 1001 payloads.*--force\n$/);
    expect(await ok('sweep', '--force')).toMatch(/^Removed: 1001 of 1001 payloads/);
  });

  test('says what to do where they are of another log', async () => {
    await open('memory', { logId: 'another' });
    await stage.orphans(1);
    const { code, err } = await payload('sweep', '--force');
    expect(code).toBe(1);
    expect(err).toMatch(/^KNEAR_PAYLOAD_FOREIGN: .*restore both from one backup/);
  });
});

describe('redact', () => {
  beforeEach(() => open('disk'));
  afterEach(closePayloadStages);

  test('K43 wants to be meant, and then the bytes are gone', async () => {
    const ref = await stage.claim(randomBytes(12_000));
    const asked = await payload('redact', payloadId(ref));
    expect(asked).toMatchObject({ code: 2, out: '' });
    expect(asked.err).toMatch(/^KNEAR_USAGE: .*--yes/);
    expect(await readFile(stage.fileOf(ref)).then(sha256)).toBe(ref.sha256);
    expect(await ok('redact', payloadId(ref), '--yes')).toBe(
      `Redacted: ${payloadId(ref)}, 12 kB. Its bytes are gone.\n` +
        'What still waits for it ends as a dead letter without data (KNEAR_PAYLOAD_REDACTED).\n',
    );
    await expect(readFile(stage.fileOf(ref))).rejects.toMatchObject({ code: 'ENOENT' });
    const got = await payload('show', payloadId(ref), '--data', '-');
    expect(got.code).toBe(1);
    expect(got.err).toMatch(/^KNEAR_PAYLOAD_REDACTED: /);
  });

  function sha256(bytes: Buffer): string {
    return createHash('sha256').update(bytes).digest('base64url');
  }
});

describe('an id', () => {
  beforeEach(() => open('memory'));
  afterEach(closePayloadStages);

  test.each([
    { id: payloadId(SHOWN), hint: 'none has it any more: see knear payload list' },
    { id: 'order-1', hint: 'one looks like this, as in default/' },
    { id: SHOWN.key, hint: 'the namespace is missing in front of it' },
    { id: '../../../etc', hint: 'one looks like this' },
    { id: '', hint: 'one looks like this' },
  ])('$id is none that there is, and every command says so', async ({ id, hint }) => {
    for (const args of [['show'], ['verify'], ['redact', '--yes'], ['show', '--data', 'file']]) {
      const [command = '', ...flags] = args;
      const ran = await payload(command, id, ...flags);
      expect(ran).toMatchObject({ code: 1, out: '' });
      expect(ran.err).toMatch(/^KNEAR_PAYLOAD_UNKNOWN: [^\n]*\n$/);
      expect(ran.err).toContain(hint);
    }
    expect(await readdir(folder)).toEqual([]);
  });
});

test('without a knear every command says where it looked', async () => {
  const nowhere = { admin: { url: 'http://127.0.0.1:1' } };
  // Nothing else of it is used.
  stage = nowhere as PayloadStage;
  for (const args of [['list'], ['verify'], ['sweep'], ['show', payloadId(SHOWN)]]) {
    const { code, err } = await payload(...args);
    expect(code).toBe(1);
    expect(err).toMatch(/^KNEAR_ADMIN_UNREACHABLE: no knear answers at http:..127\.0\.0\.1:1 /);
  }
});
