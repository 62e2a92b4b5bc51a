/** What the admin server tells of claimed payloads and does with them: over a real log and a real store. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { readdirSync, readlinkSync } from 'node:fs';
import { access, readFile, symlink, truncate, unlink, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { payloadId, type PayloadRef } from '../../core/event.ts';
import type { ShownPayloads } from '../../main/inside/payload-routes.ts';
import { eventually } from '../e2e/eventually.ts';
import {
  closePayloadStages,
  openPayloadStage,
  type PayloadStage,
  type PayloadStageOptions,
  type Place,
} from './payload-stage.ts';
import { SHOWN } from './shown-payload.ts';

/** More than the keeper holds in memory: it streams. */
const LARGE_BYTES = 5_000_000;

const PLACES: readonly { readonly place: Place }[] = [{ place: 'memory' }, { place: 'disk' }];

type Seen = ReturnType<NonNullable<PayloadStageOptions['seen']>>;

let stage: PayloadStage;

async function open(place: Place, options: PayloadStageOptions = {}): Promise<void> {
  stage = await openPayloadStage(place, options);
}

/** As no client library would send it: the path is not looked at. */
function raw(path: string): Promise<{ status: number; body: string }> {
  const { hostname, port } = new URL(stage.admin.url);
  return new Promise((resolve, reject) => {
    request({ hostname, port, path, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', reject);
    })
      .on('error', reject)
      .end();
  });
}

/** How the connection itself ends: for HTTP, a polite end in the middle is a reset as well. */
function endOf(path: string): Promise<{ sizeBytes: number; end: string | undefined }> {
  const { hostname, port } = new URL(stage.admin.url);
  return new Promise((resolve) => {
    let sizeBytes = 0;
    connect({ host: hostname, port: Number(port) })
      .on('data', (piece) => (sizeBytes += piece.byteLength))
      .on('end', () => resolve({ sizeBytes, end: 'politely' }))
      .on('error', (error: NodeJS.ErrnoException) => resolve({ sizeBytes, end: error.code }))
      .write(`GET ${path} HTTP/1.1\r\nhost: knear\r\n\r\n`);
  });
}

interface Got {
  readonly bytes: Buffer;
  readonly headers: Readonly<Record<string, unknown>>;
}

function bytesAt(path: string): Promise<Got> {
  return new Promise((resolve, reject) => {
    request(stage.admin.url + path, { agent: false }, (response) => {
      const { headers } = response;
      buffer(response).then((bytes) => resolve({ bytes, headers }), reject);
    })
      .on('error', reject)
      .end();
  });
}

/** The same, so that a test can replace a part. */
function bound(payloads: Seen): Seen {
  return {
    open: (ref) => payloads.open(ref),
    verify: (ref) => payloads.verify(ref),
    sweep: (options) => payloads.sweep(options),
    redact: (ref) => payloads.redact(ref),
  };
}

const dataOf = (ref: PayloadRef) => `/payloads/${payloadId(ref)}/data`;

async function flipLastByte(ref: PayloadRef): Promise<void> {
  const bytes = await readFile(stage.fileOf(ref));
  const last = bytes.byteLength - 1;
  bytes[last] = (bytes[last] ?? 0) ^ 1;
  await writeFile(stage.fileOf(ref), bytes);
}

describe.each(PLACES)('in $place', ({ place }) => {
  beforeEach(() => open(place));
  afterEach(closePayloadStages);

  test('there are none at first', async () => {
    const { answer } = await stage.get('/payloads');
    expect(answer).toEqual({ payloads: [], last: null, isMore: false });
  });

  test('all are listed, page by page, in the order of their ids', async () => {
    const made: string[] = [];
    for (let index = 0; index < 25; index += 1) made.push(payloadId(await stage.claim('x')));
    const seen: string[] = [];
    for (let after = '', isMore = true; isMore;) {
      const { answer } = await stage.get(`/payloads?limit=10${after && `&after=${after}`}`);
      // As the route makes it.
      const page = answer as ShownPayloads;
      seen.push(...page.payloads.map(({ id }) => id));
      expect(page.last).toBe(seen.at(-1));
      ({ isMore } = page);
      after = page.last ?? '';
    }
    expect(seen).toEqual(made.toSorted());
  });

  test('those of one namespace are listed, whatever others are called', async () => {
    for (const namespace of ['a', 'a-b', 'a.b', 'b']) {
      for (let count = 0; count < 3; count += 1) await stage.claim('x', namespace);
    }
    const listed: unknown[] = [];
    for (let after = '', isMore = true; isMore;) {
      const { answer } = await stage.get(
        `/payloads?namespace=a&limit=2${after && `&after=${after}`}`,
      );
      // As the route makes it.
      const page = answer as ShownPayloads;
      listed.push(...page.payloads.map(({ namespace }) => namespace));
      ({ isMore } = page);
      after = page.last ?? '';
    }
    expect(listed).toEqual(['a', 'a', 'a']);
  });

  test('one is told whole, and without its bytes', async () => {
    const ref = await stage.claim('some data', 'shop');
    stage.clock.advance(5_000);
    expect((await stage.get(`/payloads/${payloadId(ref)}`)).answer).toEqual({
      id: payloadId(ref),
      namespace: 'shop',
      store: stage.store.name,
      sizeBytes: 9,
      sha256: ref.sha256,
      createdMs: ref.createdMs,
      ageMs: 5_000,
      records: 1,
    });
  });

  test.each([
    { what: 'small', bytes: Buffer.from('<script>alert(1)</script>') },
    { what: 'large', bytes: randomBytes(LARGE_BYTES) },
  ])('$what bytes come as they were, and nobody takes them for something', async ({ bytes }) => {
    const ref = await stage.claim(bytes);
    const got = await bytesAt(dataOf(ref));
    expect(got.bytes.equals(bytes)).toBe(true);
    expect(got.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': String(bytes.byteLength),
      'content-disposition': expect.stringMatching(/^attachment; filename="[\w-]{22}"$/),
      'x-content-type-options': 'nosniff',
    });
  });

  test('what was delivered is not known any more', async () => {
    const ref = await stage.claim('x');
    await stage.settle();
    await eventually('its end', async () => {
      const { status } = await stage.get(`/payloads/${payloadId(ref)}`);
      return status === 404;
    });
    expect((await stage.get(dataOf(ref))).answer).toMatchObject({ code: 'KNEAR_PAYLOAD_UNKNOWN' });
    const { answer } = await stage.post('/payloads/verify', { id: payloadId(ref) });
    expect(answer).toMatchObject({ status: 404, code: 'KNEAR_PAYLOAD_UNKNOWN' });
  });

  test('K43 a redacted one has no bytes any more, and that is said in place of missing', async () => {
    const [ref, other] = [await stage.claim('secret'), await stage.claim('other')];
    const { status, answer } = await stage.post(`/payloads/${payloadId(ref)}/redact`);
    expect({ status, answer }).toEqual({
      status: 200,
      answer: { id: payloadId(ref), sizeBytes: 6, records: 1 },
    });
    const { answer: shown } = await stage.get(`/payloads/${payloadId(ref)}`);
    expect(shown).toMatchObject({ redactedAtMs: expect.any(Number) });
    expect(await stage.get(dataOf(ref))).toMatchObject({
      status: 500,
      answer: { code: 'KNEAR_PAYLOAD_REDACTED' },
    });
    await expect(stage.store.open(ref)).rejects.toMatchObject({ code: 'KNEAR_PAYLOAD_MISSING' });
    expect((await stage.post('/payloads/verify')).answer).toMatchObject({
      ...{ good: 1, goodBytes: 5, redacted: 1, broken: [], isMore: false },
    });
    expect((await bytesAt(dataOf(other))).bytes.toString()).toBe('other');
    expect(stage.logged.join('')).toContain('a payload was redacted');
    expect(stage.logged.join('')).toContain(payloadId(ref));
    // Who was not sure says it again.
    expect((await stage.post(`/payloads/${payloadId(ref)}/redact`)).status).toBe(200);
  });

  test('what no event needs is told by a dry run, and removed by a sweep', async () => {
    const ref = await stage.claim('needed');
    await stage.orphans(3);
    const counts = { seen: 4, orphans: 3, orphanBytes: 12 };
    const dry = await stage.post('/payloads/sweep', { isDryRun: true });
    expect(dry.answer).toEqual({ ...counts, removed: 0, isDryRun: true, isForced: false });
    const swept = await stage.post('/payloads/sweep');
    expect(swept.answer).toEqual({ ...counts, removed: 3, isDryRun: false, isForced: false });
    expect((await bytesAt(dataOf(ref))).bytes.toString()).toBe('needed');
    const again = await stage.post('/payloads/sweep');
    expect(again.answer).toMatchObject({ seen: 1, orphans: 0, removed: 0 });
  });
});

describe('what is asked for', () => {
  beforeEach(() => open('memory'));
  afterEach(closePayloadStages);

  const KEY = '2026010100/AAAAAAAAAAAAAAAAAAAAAA';

  test.each([
    ...['..%2f..%2fetc/2026010100/passwd', `..%2f/${KEY}`, `%2e%2e/${KEY}`, `a%00/${KEY}`],
    ...[`-a/${KEY}`, `A/${KEY}`, `_identity/${KEY}`, `${'a'.repeat(90)}%2fb/${KEY}`],
    ...[
      'default/2026010100/..%2f..%2f..%2f..%2fetc%2fp',
      'default/202601010a/AAAAAAAAAAAAAAAAAAAAAA',
    ],
    ...['default/2026010100/AAAAAAAAAAAAAAAAAAAAA', 'default/2026010100/AAAAAAAAAAAAAAAAAAAAAA%20'],
    ...['default/2026010100/AAAAAAAAAAAAAAAAAAAAA%2f', `default%2f/${KEY}`],
  ])('%s is no payload, by no route', async (id) => {
    for (const path of [`/payloads/${id}`, `/payloads/${id}/data`]) {
      const { status, body } = await raw(path);
      expect(status).toBe(404);
      expect(body).toContain('KNEAR_PAYLOAD_UNKNOWN');
    }
  });

  test('an id without its namespace is told what is missing', async () => {
    const { answer } = await stage.post('/payloads/verify', { id: KEY });
    expect(answer).toMatchObject({
      code: 'KNEAR_PAYLOAD_UNKNOWN',
      detail: expect.stringContaining('the namespace is missing in front of it'),
    });
  });

  test.each([
    ...['limit=0', 'limit=1001', 'limit=x', 'limit=', 'before=1', 'namespace=', 'namespace=A'],
    ...['namespace=../a', 'namespace=a&namespace=b'],
  ])('the query %s is refused', async (query) => {
    expect(await stage.get(`/payloads?${query}`)).toMatchObject({
      status: 400,
      answer: { code: 'KNEAR_USAGE' },
    });
  });

  test.each(['after=x', 'after=', 'after=default/2026010100/..'])(
    'the query %s names no payload',
    async (query) => {
      const { answer } = await stage.get(`/payloads?${query}`);
      expect(answer).toMatchObject({ code: 'KNEAR_PAYLOAD_UNKNOWN' });
    },
  );

  test.each([
    { path: '/payloads/verify', body: [] },
    { path: '/payloads/verify', body: { id: 7 } },
    { path: '/payloads/verify', body: { limit: '1' } },
    { path: '/payloads/verify', body: { ids: [] } },
    { path: '/payloads/sweep', body: { dryRun: true } },
    { path: '/payloads/sweep', body: { isDryRun: 'true' } },
    { path: '/payloads/sweep', body: 7 },
  ])('$path refuses $body', async ({ path, body }) => {
    await stage.orphans(1);
    const { status, answer } = await stage.post(path, body);
    expect({ status, answer }).toMatchObject({ status: 400, answer: { code: 'KNEAR_USAGE' } });
    const { answer: dry } = await stage.post('/payloads/sweep', { isDryRun: true });
    expect(dry).toMatchObject({ orphans: 1 });
  });

  test('a redaction with anything to say is refused, and nothing happens', async () => {
    const ref = await stage.claim('x');
    const { answer } = await stage.post(`/payloads/${payloadId(ref)}/redact`, { isDryRun: true });
    expect(answer).toMatchObject({ code: 'KNEAR_USAGE' });
    expect((await bytesAt(dataOf(ref))).bytes.toString()).toBe('x');
  });

  test('nothing is done for a page in a browser', async () => {
    const ref = await stage.claim('x');
    await stage.orphans(1);
    for (const path of ['verify', 'sweep', `${payloadId(ref)}/redact`]) {
      const response = await fetch(`${stage.admin.url}/payloads/${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{}',
      });
      expect(response.status).toBe(403);
    }
    const { answer } = await stage.post('/payloads/sweep', { isDryRun: true });
    expect(answer).toMatchObject({ seen: 2, orphans: 1 });
    expect((await bytesAt(dataOf(ref))).bytes.toString()).toBe('x');
  });
});

describe('a broken payload', () => {
  beforeEach(() => open('disk'));
  afterEach(closePayloadStages);

  test.each([
    { what: 'whose last byte is another', breakIt: flipLastByte },
    {
      what: 'that lacks a byte',
      breakIt: (ref: PayloadRef) => truncate(stage.fileOf(ref), LARGE_BYTES - 1),
    },
    {
      what: 'that lacks its second half',
      breakIt: (ref: PayloadRef) => truncate(stage.fileOf(ref), LARGE_BYTES / 2),
    },
  ])(
    'K30, K31: one $what never arrives whole, and the connection is reset',
    async ({ breakIt }) => {
      const ref = await stage.claim(randomBytes(LARGE_BYTES));
      await breakIt(ref);
      const { sizeBytes, end } = await endOf(dataOf(ref));
      expect(end).toBe('ECONNRESET');
      expect(sizeBytes).toBeLessThan(LARGE_BYTES);
      // The server goes on.
      expect((await stage.get('/payloads')).status).toBe(200);
    },
  );

  test.each([
    { code: 'KNEAR_PAYLOAD_CORRUPT', breakIt: flipLastByte },
    { code: 'KNEAR_PAYLOAD_MISSING', breakIt: (ref: PayloadRef) => unlink(stage.fileOf(ref)) },
  ])('is told as $code where no byte has gone out', async ({ code, breakIt }) => {
    // Streamed, since the keeper has what came in last in memory.
    const ref = await stage.claim(randomBytes(200_000));
    await stage.claim(randomBytes(LARGE_BYTES / 5));
    for (let count = 0; count < 3; count += 1) await stage.claim(randomBytes(LARGE_BYTES / 5));
    await breakIt(ref);
    const { status, answer } = await stage.get(dataOf(ref));
    expect({ status, answer }).toMatchObject({ status: 500, answer: { code } });
  });

  test('is found by a verification, which tells good ones from what is wrong with others', async () => {
    const refs: PayloadRef[] = [];
    for (let index = 0; index < 6; index += 1) refs.push(await stage.claim(randomBytes(1_000)));
    const [good, altered, missing, short, unreadable, redacted] = refs;
    if (!good || !altered || !missing || !short || !unreadable || !redacted) throw new Error('6');
    await flipLastByte(altered);
    await unlink(stage.fileOf(missing));
    await truncate(stage.fileOf(short), 999);
    await unlink(stage.fileOf(unreadable));
    await symlink(stage.fileOf(good), stage.fileOf(unreadable));
    await stage.post(`/payloads/${payloadId(redacted)}/redact`);
    const { answer } = await stage.post('/payloads/verify');
    const wrong = [
      { ref: altered, state: 'altered', code: 'KNEAR_PAYLOAD_CORRUPT' },
      { ref: missing, state: 'missing', code: 'KNEAR_PAYLOAD_MISSING' },
      { ref: short, state: 'altered', code: 'KNEAR_PAYLOAD_CORRUPT' },
      { ref: unreadable, state: 'unreadable', code: 'KNEAR_PAYLOAD_STORE_AWAY' },
    ];
    expect(answer).toEqual({
      ...{ good: 1, goodBytes: 1_000, redacted: 1, isMore: false },
      last: refs.map(payloadId).toSorted().at(-1),
      broken: wrong
        .map(({ ref, state, code }) => ({
          ...{ id: payloadId(ref), sizeBytes: 1_000, state, code },
          detail: expect.any(String),
        }))
        .toSorted((one, two) => (one.id < two.id ? -1 : 1)),
    });
    const { answer: one } = await stage.post('/payloads/verify', { id: payloadId(altered) });
    expect(one).toMatchObject({ good: 0, broken: [{ state: 'altered' }], isMore: false });
  });

  test('is closed when who reads it leaves in the middle', async () => {
    const ref = await stage.claim(randomBytes(30_000_000));
    const leave = new AbortController();
    const response = await fetch(stage.admin.url + dataOf(ref), { signal: leave.signal });
    await response.body?.getReader().read();
    expect(openFiles(stage.fileOf(ref))).toBe(1);
    leave.abort();
    await eventually('the file closed', () => openFiles(stage.fileOf(ref)) === 0);
    await access(stage.fileOf(ref));
  });

  test('is closed when who asked for it has left before the first byte', async () => {
    let goOn = () => {};
    const left = new Promise<void>((resolve) => (goOn = resolve));
    let isAsked = false;
    let isClosed = false;
    await open('disk', {
      seen: (payloads) => ({
        ...bound(payloads),
        async *open() {
          isAsked = true;
          try {
            await left;
            yield Buffer.from('some');
            yield Buffer.from('more');
          } finally {
            isClosed = true;
          }
        },
      }),
    });
    const ref = await stage.claim('somemore');
    const leave = new AbortController();
    const asked = fetch(stage.admin.url + dataOf(ref), { signal: leave.signal });
    await eventually('the question', () => isAsked);
    leave.abort();
    await expect(asked).rejects.toThrow();
    // A round trip more than the server needs to see the end of the connection.
    await stage.get('/payloads');
    goOn();
    await eventually('the end', () => isClosed);
  });

  /** Linux tells. */
  function openFiles(file: string): number {
    return readdirSync('/proc/self/fd').filter((descriptor) => {
      try {
        return readlinkSync(`/proc/self/fd/${descriptor}`) === file;
      } catch {
        return false; // the one that this reads with
      }
    }).length;
  }
});

describe('a page of a verification', () => {
  afterEach(closePayloadStages);

  test('ends after a while, and the next one goes on behind it', async () => {
    await open('memory', {
      seen: (payloads) => ({
        ...bound(payloads),
        verify: async (ref) => {
          await payloads.verify(ref);
          stage.clock.advance(11_000);
        },
      }),
    });
    for (let count = 0; count < 5; count += 1) await stage.claim('x');
    expect(await pages()).toEqual([2, 2, 1]);
  });

  test('ends before it has more than a gibibyte, but for one payload that has it alone', async () => {
    await open('memory', {
      seen: (payloads) => ({ ...bound(payloads), verify: () => Promise.resolve() }),
    });
    const sizes = [400, 400, 400, 1_100, 100].map((mebibytes) => mebibytes * 2 ** 20);
    for (const [index, sizeBytes] of sizes.entries()) {
      const key = `2026010100/${String(index).padStart(22, '0')}`;
      await stage.enter({ ...SHOWN, key, sizeBytes });
    }
    expect(await pages()).toEqual([2, 1, 1, 1]);
  });

  test('ends when nobody waits for it any more', async () => {
    const leave = new AbortController();
    let reads = 0;
    let goOn = () => {};
    const left = new Promise<void>((resolve) => (goOn = resolve));
    await open('memory', {
      seen: (payloads) => ({
        ...bound(payloads),
        verify: async () => {
          reads += 1;
          leave.abort();
          await left;
        },
      }),
    });
    for (let count = 0; count < 5; count += 1) await stage.claim('x');
    const asked = fetch(`${stage.admin.url}/payloads/verify`, {
      method: 'POST',
      headers: { 'knear-admin': 'yes', 'content-type': 'application/json' },
      body: '{}',
      signal: leave.signal,
    });
    await expect(asked).rejects.toThrow();
    // One round trip more than it takes the server to see the end of the connection.
    await stage.get('/payloads');
    goOn();
    await stage.get('/payloads');
    expect(reads).toBe(1);
  });

  async function pages(): Promise<number[]> {
    const counts: number[] = [];
    for (let which: object = {}, isMore = true; isMore;) {
      const { answer } = await stage.post('/payloads/verify', which);
      // As the route makes it.
      const page = answer as { good: number; last: string | null; isMore: boolean };
      counts.push(page.good);
      ({ isMore } = page);
      which = { after: page.last };
    }
    return counts;
  }
});

describe('a sweep', () => {
  afterEach(closePayloadStages);

  test('removes nothing that is of another log (K45)', async () => {
    await open('memory', { logId: 'another-log' });
    await stage.orphans(2);
    await eventually('the answer of the store', async () => {
      const { answer } = await stage.post('/payloads/sweep', { isForced: true });
      return (answer as { code?: string }).code === 'KNEAR_PAYLOAD_FOREIGN';
    });
    let left = 0;
    for await (const payload of stage.store.list()) left += payload.sizeBytes > 0 ? 1 : 0;
    expect(left).toBe(2);
  });

  test('stops where it would remove most of over a thousand, unless told (K45)', async () => {
    await open('memory');
    await stage.orphans(1_001);
    const { status, answer } = await stage.post('/payloads/sweep');
    expect({ status, answer }).toMatchObject({
      status: 409,
      answer: { code: 'KNEAR_PAYLOAD_SWEEP', detail: expect.stringContaining('--force') },
    });
    const forced = await stage.post('/payloads/sweep', { isForced: true });
    expect(forced.answer).toMatchObject({ orphans: 1_001, removed: 1_001, isForced: true });
  });
});
