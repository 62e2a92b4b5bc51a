/**
 * One event from a body that comes piece by piece, with a real spool behind it: whatever the mode, the size and the cuts,
 * it is the event that a body in memory would have been. The bugs hunted here: a store that sees data of an event which
 * is refused, data that depends on where the body was cut, an event that is taken in pieces and refused in one.
 */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { parseStructured } from '../../core/codec.ts';
import { codeOf, KnearError } from '../../core/errors.ts';
import type { CloudEvent, FreshEvent } from '../../core/event.ts';
import { attributesSizeBytes, claimOf, dataSizeBytes, inlineData } from '../../core/event.ts';
import type { EventHead, EventIntakeOptions, Judge } from '../../core/event-intake.ts';
import { EventIntake } from '../../core/event-intake.ts';
import { isJsonValue } from '../../core/codec-json-scan.ts';
import { bytesOf } from '../fakes/bytes.ts';
import { CLAIMS } from '../fakes/claims.ts';
import { FakeClock } from '../fakes/clock.ts';
import type { TestPayloads } from '../fakes/payloads.ts';
import { openTestPayloads } from '../fakes/payloads.ts';
import { ScriptedPayloadStore } from '../fakes/scripted-payload-store.ts';
import { BAD_BODIES, GOOD_BODIES } from './structured-bodies.ts';

const MIB = 1024 * 1024;

type Stage = TestPayloads & { readonly store: ScriptedPayloadStore };

async function openStage(options: Parameters<typeof openTestPayloads>[0] = {}): Promise<Stage> {
  const store = new ScriptedPayloadStore({ clock: new FakeClock() });
  return { ...(await openTestPayloads({ ...options, store: async () => store })), store };
}

const HEADERS = { 'content-type': 'application/cloudevents+json', 'x-request-id': 'r' };
const STRUCTURED: EventHead = { kind: 'structured', headers: HEADERS };
const BINARY: EventHead & { readonly kind: 'binary' } = {
  kind: 'binary',
  event: {
    attributes: new Map([
      ['specversion', '1.0'],
      ['id', '1'],
      ['source', '/shop'],
      ['type', 'order.created'],
    ]),
    headers: new Map([['x-request-id', 'r']]),
    data: undefined,
  },
};

const take: Judge = (event) => event;

function open(
  { payloads }: Pick<TestPayloads, 'payloads'>,
  head: EventHead,
  options: Partial<EventIntakeOptions> = {},
): EventIntake {
  return new EventIntake(head, {
    payloads,
    tenant: 'default',
    claims: CLAIMS,
    dataMaxBytes: 4 * MIB,
    attributesMaxBytes: 16 * 1024,
    ...options,
  });
}

/** Sends the body in pieces of these sizes, and the rest in one. */
async function send(
  intake: EventIntake,
  body: Buffer,
  { sizes = [], judge = take }: { readonly sizes?: readonly number[]; readonly judge?: Judge } = {},
): Promise<CloudEvent> {
  let first = 0;
  try {
    for (const size of [...sizes, body.byteLength]) {
      if (first >= body.byteLength) break;
      // The intake owns what it is given, as it owns what node reads.
      await intake.write(Buffer.from(body.subarray(first, first + size)));
      first += size;
    }
  } catch (error) {
    intake.discard();
    throw error;
  }
  // Nothing is left behind, however it ends.
  return intake.finish(judge);
}

async function dataOf(
  { payloads }: Pick<TestPayloads, 'payloads'>,
  event: CloudEvent,
): Promise<Buffer> {
  const ref = claimOf(event);
  if (!ref) return Buffer.from(inlineData(event) ?? []);
  const pieces = [];
  for await (const piece of payloads.open(ref)) pieces.push(piece);
  payloads.release(ref);
  return Buffer.concat(pieces);
}

/** What a body in memory comes to: an event, or a code. */
function inMemory(body: Buffer): FreshEvent | string | undefined {
  try {
    return parseStructured(body, HEADERS);
  } catch (error) {
    return codeOf(error);
  }
}

async function expectNothingLeft(opened: Stage): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  await opened.spool.close();
  expect({
    uploads: opened.payloads.uploads,
    memory: opened.payloads.memoryBytes,
    live: opened.payloads.live.objects,
    files: await readdir(path.join(opened.folder, 'tmp')),
  }).toEqual({ uploads: 0, memory: 0, live: 0, files: [] });
}

describe('binary mode', () => {
  test.each([
    { name: 'nothing', sizeBytes: 0, isClaimed: false },
    { name: 'what fits into a record', sizeBytes: 60_000, isClaimed: false },
    { name: 'more than that', sizeBytes: 70_000, isClaimed: true },
  ])('the data is the body: $name', async ({ sizeBytes, isClaimed }) => {
    const opened = await openStage();
    for (const declaredBytes of [undefined, sizeBytes]) {
      const intake = open(opened, BINARY, { declaredBytes });
      const event = await send(intake, bytesOf(sizeBytes), { sizes: [10_000, 1, 30_000] });
      expect(event.attributes).toBe(BINARY.event.attributes);
      expect(event.headers).toBe(BINARY.event.headers);
      expect(claimOf(event) !== undefined).toBe(isClaimed);
      expect((await dataOf(opened, event)).equals(bytesOf(sizeBytes))).toBe(true);
    }
    await expectNothingLeft(opened);
  });

  test('a declared size decides before the first byte: nothing is held, and what will not fit is refused', async () => {
    const opened = await openStage({ limits: { uploadsMax: 1 }, spoolMaxBytes: MIB });
    const intake = open(opened, BINARY, { declaredBytes: 100_000 });
    expect(opened.payloads.uploads).toBe(1);
    await intake.write(bytesOf(50_000));
    expect(intake.heldBytes).toBe(0);
    const busy = expect.objectContaining({ code: 'KNEAR_UPLOADS_BUSY' });
    expect(() => open(opened, BINARY, { declaredBytes: 100_000 })).toThrow(busy);
    // A small one needs no place.
    open(opened, BINARY, { declaredBytes: 1_000 }).discard();
    intake.discard();
    const full = expect.objectContaining({ code: 'KNEAR_PAYLOAD_STORE_FULL' });
    expect(() => open(opened, BINARY, { declaredBytes: 2 * MIB })).toThrow(full);
    const quota = expect.objectContaining({ code: 'KNEAR_PAYLOAD_QUOTA' });
    const claims = { ...CLAIMS, quotaBytes: 99_999 };
    expect(() => open(opened, BINARY, { declaredBytes: 100_000, claims })).toThrow(quota);
    await expectNothingLeft(opened);
  });

  test('without one, no more is held than may travel with the event', async () => {
    const opened = await openStage();
    const intake = open(opened, BINARY);
    const roomBytes = CLAIMS.inlineMaxBytes - attributesSizeBytes(BINARY.event);
    await intake.write(bytesOf(roomBytes));
    expect(intake.heldBytes).toBe(roomBytes);
    await intake.write(bytesOf(1));
    expect(intake.heldBytes).toBe(0);
    intake.discard();
    await expectNothingLeft(opened);
  });

  test.each([0, 1])('data of eventMax and %i bytes more', async (more) => {
    const opened = await openStage();
    const sent = send(open(opened, BINARY, { dataMaxBytes: MIB }), bytesOf(MIB + more), {
      sizes: [MIB],
    });
    if (more === 0) {
      expect((await dataOf(opened, await sent)).byteLength).toBe(MIB);
    } else {
      await expect(sent).rejects.toMatchObject({ code: 'KNEAR_EVENT_TOO_LARGE' });
      expect(opened.store.calls.put).toBe(0);
    }
    await expectNothingLeft(opened);
  });

  test('a store that refuses leaves nothing', async () => {
    const opened = await openStage();
    opened.store.fail('put', new KnearError('KNEAR_PAYLOAD_STORE_AWAY', 'scripted'));
    const sent = send(open(opened, BINARY), bytesOf(100_000));
    await expect(sent).rejects.toMatchObject({ code: 'KNEAR_PAYLOAD_STORE_AWAY' });
    await expectNothingLeft(opened);
  });
});

describe('structured mode (K8): the event is the one that a body in memory would have been', () => {
  const CUTS: readonly { readonly cut: string; readonly sizes: readonly number[] }[] = [
    { cut: 'in one piece', sizes: [] },
    { cut: 'byte by byte at first', sizes: Array.from({ length: 400 }, () => 1) },
    { cut: 'in pieces of 7,001 bytes', sizes: Array.from({ length: 60 }, () => 7_001) },
  ];

  test.each(GOOD_BODIES.flatMap((body) => CUTS.map((cut) => ({ ...body, ...cut }))))(
    '$name, $cut',
    async ({ body, sizes }) => {
      const opened = await openStage();
      for (const claims of [CLAIMS, { ...CLAIMS, inlineMaxBytes: 0 }]) {
        for (const sizeBytes of [200, 100_000]) {
          const bytes = body(sizeBytes);
          const event = await send(open(opened, STRUCTURED, { claims }), bytes, { sizes });
          await expectSame(opened, event, bytes);
        }
      }
      await expectNothingLeft(opened);
    },
  );

  async function expectSame(opened: Stage, event: CloudEvent, bytes: Buffer): Promise<void> {
    const expected = parseStructured(bytes, HEADERS);
    expect([...event.attributes].toSorted()).toEqual([...expected.attributes].toSorted());
    expect([...event.headers]).toEqual([...expected.headers]);
    const expectedBytes = Buffer.from(expected.data ?? []);
    expect(dataSizeBytes(event)).toBe(expectedBytes.byteLength);
    const ref = claimOf(event);
    // Whoever says that it has looked must be right.
    if (ref?.isJson !== undefined) expect(ref.isJson).toBe(isJsonValue(expectedBytes));
    expect((await dataOf(opened, event)).equals(expectedBytes)).toBe(true);
  }

  test.each(GOOD_BODIES)('$name, cut anywhere', async ({ body }) => {
    const opened = await openStage();
    const claims = { ...CLAIMS, inlineMaxBytes: 0 };
    const sizes = fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 30 });
    const property = fc.asyncProperty(sizes, fc.nat(1_000), async (cuts, sizeBytes) => {
      const bytes = body(sizeBytes);
      await expectSame(
        opened,
        await send(open(opened, STRUCTURED, { claims }), bytes, { sizes: cuts }),
        bytes,
      );
    });
    await fc.assert(property, { numRuns: 15 });
  });

  test.each(BAD_BODIES)(
    '$name is refused, and the store has seen nothing (K15)',
    async ({ body }) => {
      const opened = await openStage();
      const claims = { ...CLAIMS, inlineMaxBytes: 0 };
      for (const sizeBytes of [400, 100_000]) {
        for (const sizes of [[], Array.from({ length: 300 }, () => 1_001)]) {
          const bytes = body(sizeBytes);
          const code = inMemory(bytes);
          expect(code).toMatch(/^KNEAR_(STRUCTURED|EVENT)_INVALID$/);
          const sent = send(open(opened, STRUCTURED, { claims }), bytes, { sizes });
          await expect(sent).rejects.toMatchObject({ code });
        }
      }
      expect(opened.store.calls.put).toBe(0);
      await expectNothingLeft(opened);
    },
  );

  test('any body, changed anywhere, is taken as the same event or refused for the same reason', async () => {
    const opened = await openStage();
    const claims = { ...CLAIMS, inlineMaxBytes: 0 };
    const change = fc.record({
      body: fc.constantFrom(...GOOD_BODIES, ...BAD_BODIES),
      at: fc.nat(2_000),
      byte: fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('{}[]",:\\ue0 1-/=+'))),
      kind: fc.constantFrom('replace', 'insert', 'remove'),
      sizes: fc.array(fc.integer({ min: 1, max: 100 }), { maxLength: 10 }),
    });
    const property = fc.asyncProperty(change, async ({ body, at, byte, kind, sizes }) => {
      const bytes = body.body(300);
      const first = bytes.subarray(0, at % (bytes.byteLength + 1));
      const rest = bytes.subarray(first.byteLength + (kind === 'insert' ? 0 : 1));
      const changed = Buffer.concat([first, Buffer.from(kind === 'remove' ? [] : [byte]), rest]);
      const expected = inMemory(changed);
      const sent = send(open(opened, STRUCTURED, { claims }), changed, { sizes });
      if (typeof expected === 'string')
        await expect(sent).rejects.toMatchObject({ code: expected });
      else await expectSame(opened, await sent, changed);
    });
    await fc.assert(property, { numRuns: 600 });
  });
});

describe('structured mode: the judge (K15)', () => {
  const [{ body }] = GOOD_BODIES as readonly [(typeof GOOD_BODIES)[0] & object];

  test('sees the event without its data, before a store has any', async () => {
    const opened = await openStage();
    const judge: Judge = (event) => {
      expect(opened.store.calls.put).toBe(0);
      expect(event.attributes.get('id')).toBe('1');
      expect(event.headers.get('x-request-id')).toBe('r');
      event.attributes.set('stamp', 5);
      return event;
    };
    const event = await send(open(opened, STRUCTURED), body(200_000), { judge });
    expect(event.attributes.get('stamp')).toBe(5);
    expect(claimOf(event)).toBeDefined();
    expect(opened.store.calls.put).toBe(1);
  });

  test('that refuses leaves nothing, and the store has seen nothing', async () => {
    const opened = await openStage();
    for (const each of GOOD_BODIES) {
      const judge = () => {
        throw new KnearError('KNEAR_TTL_EXHAUSTED', 'around and around');
      };
      const sent = send(open(opened, STRUCTURED), each.body(200_000), { judge });
      await expect(sent).rejects.toMatchObject({ code: 'KNEAR_TTL_EXHAUSTED' });
    }
    expect(opened.store.calls.put).toBe(0);
    await expectNothingLeft(opened);
  });

  test('what it adds counts for what may travel with the event (K1)', async () => {
    const opened = await openStage();
    const text = 'x'.repeat(60_000);
    const small = Buffer.from(
      `{"specversion":"1.0","id":"1","source":"/a","type":"t","datacontenttype":"text/plain","data":"${text}"}`,
    );
    const judge: Judge = (event) => {
      event.attributes.set('stamp', 'y'.repeat(6_000));
      return event;
    };
    expect(claimOf(await send(open(opened, STRUCTURED), small))).toBeUndefined();
    expect(claimOf(await send(open(opened, STRUCTURED), small, { judge }))).toBeDefined();
  });
});

describe('structured mode: bounds', () => {
  const base64 = (sizeBytes: number) =>
    Buffer.from(
      `{"specversion":"1.0","id":"1","source":"/a","type":"t","data_base64":"${Buffer.alloc(sizeBytes, 7).toString('base64')}"}`,
    );

  test.each([-1, 0, 1])(
    'eventMax is for the data, not for its form: %i bytes off',
    async (offBy) => {
      const opened = await openStage();
      const sent = send(open(opened, STRUCTURED, { dataMaxBytes: MIB }), base64(MIB + offBy), {
        sizes: [1_000],
      });
      if (offBy > 0) {
        await expect(sent).rejects.toMatchObject({ code: 'KNEAR_EVENT_TOO_LARGE' });
        expect(opened.store.calls.put).toBe(0);
      } else {
        expect((await dataOf(opened, await sent)).byteLength).toBe(MIB + offBy);
      }
      await expectNothingLeft(opened);
    },
  );

  const escaped = (characters: number) => `"data":"${'\\u0041'.repeat(characters)}"`;
  const required = '"specversion":"1.0","id":"1","source":"/a","type":"t"';
  const text = '"datacontenttype":"text/plain"';

  test.each([
    { order: 'behind its type', bodyOf: (data: string) => `{${required},${text},${data}}` },
    { order: 'before its type', bodyOf: (data: string) => `{${data},${required},${text}}` },
  ])('eventMax is for text without its escapes, $order (K8)', async ({ bodyOf }) => {
    const opened = await openStage();
    const sent = (characters: number) =>
      send(
        open(opened, STRUCTURED, { dataMaxBytes: 100_000 }),
        Buffer.from(bodyOf(escaped(characters))),
        { sizes: [50_000, 300_000] },
      );
    expect((await dataOf(opened, await sent(100_000))).toString()).toBe('A'.repeat(100_000));
    await expect(sent(100_001)).rejects.toMatchObject({ code: 'KNEAR_EVENT_TOO_LARGE' });
    expect(opened.store.calls.put).toBe(1);
    await expectNothingLeft(opened);
  });

  test('attributes are bounded while they come, wherever the data is', async () => {
    const opened = await openStage();
    const long = `"long":"${'x'.repeat(100_000)}"`;
    for (const body of [`{${long},${required}}`, `{"data":[],${required},${long}}`]) {
      const sent = send(open(opened, STRUCTURED), Buffer.from(body), {
        sizes: Array.from({ length: 100 }, () => 1_000),
      });
      await expect(sent).rejects.toMatchObject({ code: 'KNEAR_ATTRIBUTES_TOO_LARGE' });
    }
    await expectNothingLeft(opened);
  });

  test('of the data no more is held than may travel with the event', async () => {
    const opened = await openStage();
    const intake = open(opened, STRUCTURED);
    const body = base64(300_000);
    for (let first = 0; first < body.byteLength; first += 4_096) {
      await intake.write(Buffer.from(body.subarray(first, first + 4_096)));
      expect(intake.heldBytes).toBeLessThanOrEqual(CLAIMS.inlineMaxBytes);
    }
    expect(opened.payloads.uploads).toBe(1);
    intake.discard();
    await expectNothingLeft(opened);
  });

  test('a second pass gives back both of its places in the spool', async () => {
    const opened = await openStage({ limits: { uploadsMax: 2 } });
    for (const { name, body } of GOOD_BODIES.filter(({ name }) => name.includes('before its'))) {
      const event = await send(open(opened, STRUCTURED), body(200_000));
      expect([name, claimOf(event) !== undefined]).toEqual([name, true]);
      await dataOf(opened, event);
      await expectNothingLeft(opened);
    }
  });
});
