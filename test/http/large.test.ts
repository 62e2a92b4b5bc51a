/**
 * Large bodies in binary mode and in batches, over real connections to a door with a real spool and a real store behind
 * it: what is claimed and what travels with its event, to the byte, and who is turned away before the body. The bugs
 * hunted here: a limit that is one off or depends on how the length is told, an upload that could have been spared.
 */
import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import {
  attributesSizeBytes,
  claimOf,
  dataSizeBytes,
  eventSizeBytes,
  inlineData,
} from '../../core/event.ts';
import type { CloudEvent } from '../../core/event.ts';
import { bytesOf } from '../fakes/bytes.ts';
import { eventually, Wire } from './clients.ts';
import type { Framing, LargeDoor, LargeDoorOptions } from './large-door.ts';
import {
  answered,
  dataIn,
  FRAMINGS,
  head,
  KIB,
  MIB,
  openLargeDoor,
  post,
  statusesOf,
  storeIn,
} from './large-door.ts';
import { ingress } from './open-door.ts';

const BATCH_TYPE = 'application/cloudevents-batch+json';

/** What the events of these tests take without their data. */
async function headBytes(options: LargeDoorOptions = {}): Promise<number> {
  const opened = await openLargeDoor(options);
  await post(opened.port, bytesOf(1));
  const [event] = await opened.kept();
  await opened.settle();
  return event ? attributesSizeBytes(event) : 0;
}

async function soleEvent(opened: LargeDoor): Promise<CloudEvent> {
  const [event, ...others] = await opened.kept();
  expect(others).toEqual([]);
  if (!event) throw new Error('no event was kept');
  return event;
}

function statusOf(received: string): string {
  return received.slice('HTTP/1.1 '.length, 'HTTP/1.1 xxx'.length);
}

/** At, one below and one above a limit; `above` is what happens there. */
function around(limit: string, above: string) {
  return FRAMINGS.flatMap((framing) =>
    [
      { name: `one byte below ${limit}`, offBy: -1, isAbove: false, outcome: 'is taken' },
      { name: `exactly at ${limit}`, offBy: 0, isAbove: false, outcome: 'is taken' },
      { name: `one byte above ${limit}`, offBy: 1, isAbove: true, outcome: above },
    ].map((each) => ({ ...each, ...framing })),
  );
}

describe('a large payload', () => {
  test.each(FRAMINGS)(
    'of $framing is in the store, whole, when its 202 comes (K1)',
    async (framing) => {
      const opened = await openLargeDoor();
      const body = bytesOf(3 * MIB);
      expect(statusOf(await post(opened.port, body, framing))).toBe('202');
      const event = await soleEvent(opened);
      const ref = claimOf(event);
      expect(ref).toMatchObject({
        ...{ v: 1, store: 'file', tenant: 'default', sizeBytes: body.byteLength },
        sha256: createHash('sha256').update(body).digest('base64url'),
      });
      expect((await dataIn(opened, event)).equals(body)).toBe(true);
      expect(opened.log.claims.claims({ limit: 10 })).toMatchObject([{ ref, records: 1 }]);
      expect(opened.payloads.live).toMatchObject({ bytes: body.byteLength, objects: 1 });
      await opened.settle();
      await opened.expectNothingLeft();
    },
  );

  test('keeps its event waiting for it: the log hears of it only when the store has all', async () => {
    const opened = await openLargeDoor();
    const wire = await Wire.open(opened.port);
    const body = bytesOf(MIB);
    wire.write(head({ 'content-length': String(MIB) }), body.subarray(0, -1));
    await eventually(() => opened.spool.bytes >= MIB - 64 * KIB);
    expect(await opened.kept()).toEqual([]);
    expect(opened.payloads.live.objects).toBe(0);
    wire.write(body.subarray(-1));
    await wire.until(' 202 ');
    expect(claimOf(await soleEvent(opened))?.sizeBytes).toBe(MIB);
  });

  test('counts as one that was accepted, with all its bytes', async () => {
    const opened = await openLargeDoor();
    await post(opened.port, bytesOf(MIB));
    const event = await soleEvent(opened);
    const sizeBytes = attributesSizeBytes(event) + MIB;
    expect(opened.happenings).toMatchObject([{ kind: 'accepted', sizeBytes, isMatched: true }]);
  });

  test('of many at once: each event has its own', async () => {
    const opened = await openLargeDoor({ payloads: { limits: { uploadsMax: 8 } } });
    const sizes = Array.from({ length: 8 }, (_, index) => 200_000 + 50_000 * index);
    const answers = await Promise.all(sizes.map((size) => post(opened.port, bytesOf(size))));
    expect(answers.map(statusOf)).toEqual(sizes.map(() => '202'));
    const events = await opened.kept();
    expect(events.map(dataSizeBytes).toSorted((a, b) => a - b)).toEqual(sizes);
    for (const event of events) {
      expect((await dataIn(opened, event)).equals(bytesOf(dataSizeBytes(event)))).toBe(true);
    }
    await opened.settle();
    await opened.expectNothingLeft();
  });
});

describe('inlineMax is measured by what becomes the record (K1)', () => {
  test.each(around('inlineMax', 'is claimed'))(
    'a payload $name of $framing, attributes included: it $outcome',
    async ({ offBy, isAbove, ...framing }) => {
      const opened = await openLargeDoor();
      const body = bytesOf(64 * KIB - (await headBytes()) + offBy);
      expect(statusOf(await post(opened.port, body, framing))).toBe('202');
      const event = await soleEvent(opened);
      expect(claimOf(event) !== undefined).toBe(isAbove);
      if (!isAbove) expect(eventSizeBytes(event)).toBe(64 * KIB + offBy);
      expect((await dataIn(opened, event)).equals(body)).toBe(true);
    },
  );

  test.each(FRAMINGS)('kept headers count, too, with $framing', async (framing) => {
    const opened = await openLargeDoor();
    const body = bytesOf(64 * KIB - (await headBytes()));
    await post(opened.port, body, framing, { 'x-request-id': 'a' });
    expect(claimOf(await soleEvent(opened))).toBeDefined();
  });

  test.each(FRAMINGS)(
    'attributes that take all of it leave no room for any data, with $framing',
    async (framing) => {
      const opened = await openLargeDoor({ claims: { inlineMaxBytes: 100 } });
      await post(opened.port, bytesOf(1), framing);
      expect(claimOf(await soleEvent(opened))).toMatchObject({ sizeBytes: 1 });
    },
  );

  test.each(FRAMINGS)(
    'inlineMax 0 claims one byte, and nothing is never claimed (K3), with $framing',
    async (framing) => {
      const opened = await openLargeDoor({ claims: { inlineMaxBytes: 0 } });
      for (const sizeBytes of [0, 1]) await post(opened.port, bytesOf(sizeBytes), framing);
      const events = await opened.kept();
      expect(events.map(({ data }) => data)).toMatchObject([undefined, { sizeBytes: 1 }]);
      expect(opened.payloads.live.objects).toBe(1);
      await opened.settle();
      await opened.expectNothingLeft();
    },
  );
});

test('an event without data needs no place among the uploads (K3)', async () => {
  const opened = await openLargeDoor({
    claims: { inlineMaxBytes: 0 },
    payloads: { limits: { uploadsMax: 0 } },
  });
  expect(statusOf(await post(opened.port, bytesOf(0)))).toBe('202');
  expect(statusOf(await post(opened.port, bytesOf(1)))).toBe('429');
});

describe('eventMax', () => {
  const large = { ingress: { eventMaxBytes: MIB } };

  test.each(around('eventMax', 'is 413'))(
    'a payload $name of $framing: it $outcome',
    async ({ offBy, isAbove, ...framing }) => {
      const opened = await openLargeDoor(large);
      const received = await post(opened.port, bytesOf(MIB + offBy), framing);
      expect(statusOf(received)).toBe(isAbove ? '413' : '202');
      if (isAbove) {
        expect(received).toContain('KNEAR_EVENT_TOO_LARGE');
        expect(received).toContain('eventMax');
      } else {
        expect(dataSizeBytes(await soleEvent(opened))).toBe(MIB + offBy);
        await opened.settle();
      }
      await opened.expectNothingLeft();
    },
  );

  test('a producer that goes on sending hears of it all the same (K14)', async () => {
    const opened = await openLargeDoor(large);
    const wire = await Wire.open(opened.port);
    const chunk = bytesOf(100_000);
    wire.write(head({ 'transfer-encoding': 'chunked' }));
    for (let count = 0; count < 12; count += 1) wire.write('186a0\r\n', chunk, '\r\n');
    const received = await answered(wire);
    expect(statusOf(received)).toBe('413');
    expect(received).toMatch(/connection: close/i);
    for (let count = 0; count < 5; count += 1) wire.write('186a0\r\n', chunk, '\r\n');
    opened.clock.advance(1_000);
    expect(await wire.untilClosed()).toBe(received);
    await opened.expectNothingLeft();
  });
});

describe('batchMax', () => {
  test.each(around('batchMax', 'is 413'))(
    'a batch $name of $framing: it $outcome',
    async ({ offBy, isAbove, ...framing }) => {
      const opened = await openLargeDoor({ claims: { batchMaxBytes: 200_000 } });
      const batch = Buffer.alloc(200_000 + offBy, ' ');
      batch.write(JSON.stringify([member('1')]));
      const received = await post(opened.port, batch, framing, { 'content-type': BATCH_TYPE });
      expect(statusOf(received)).toBe(isAbove ? '413' : '202');
      expect(await opened.kept()).toHaveLength(isAbove ? 0 : 1);
    },
  );
});

describe('quota', () => {
  const QUOTA = 1_000_000;

  test.each(around('the quota', 'is 503'))(
    'a payload $name of $framing, with what is there already: it $outcome',
    async ({ offBy, isAbove, ...framing }) => {
      const opened = await openLargeDoor({ claims: { quotaBytes: QUOTA } });
      await post(opened.port, bytesOf(600_000));
      const received = await post(opened.port, bytesOf(400_000 + offBy), framing);
      expect(statusOf(received)).toBe(isAbove ? '503' : '202');
      if (isAbove) {
        expect(received).toContain('KNEAR_PAYLOAD_QUOTA');
        expect(received).toMatch(/retry-after: 5\r\n/);
      }
      expect(opened.payloads.live.objects).toBe(isAbove ? 1 : 2);
      expect(opened.payloads.uploads).toBe(0);
      await opened.settle();
      await opened.expectNothingLeft();
    },
  );

  test('is free again when the events are delivered, and small events never cared', async () => {
    const opened = await openLargeDoor({ claims: { quotaBytes: QUOTA } });
    await post(opened.port, bytesOf(QUOTA));
    expect(statusOf(await post(opened.port, bytesOf(100_000)))).toBe('503');
    expect(statusOf(await post(opened.port, bytesOf(1_000)))).toBe('202');
    await opened.settle();
    await opened.expectNothingLeft();
    expect(statusOf(await post(opened.port, bytesOf(QUOTA)))).toBe('202');
  });

  test('is what all payloads of a namespace take, and two uploads at once do not get past it', async () => {
    const opened = await openLargeDoor({ claims: { quotaBytes: QUOTA } });
    const body = bytesOf(600_000);
    const wires = await Promise.all([0, 1].map(() => Wire.open(opened.port)));
    for (const wire of wires) {
      wire.write(head({ 'content-length': '600000' }), body.subarray(0, 300_000));
    }
    await eventually(() => opened.payloads.uploads === 2);
    for (const wire of wires) wire.write(body.subarray(300_000));
    const answers = await Promise.all(wires.map((wire) => answered(wire)));
    expect(answers.map(statusOf).toSorted()).toEqual(['202', '503']);
    expect(opened.payloads.live).toMatchObject({ objects: 1, bytes: 600_000 });
  });
});

describe('attributesMax', () => {
  test.each([-1, 0, 1])(
    'attributes %i bytes off it: refused without the body, or taken with it',
    async (offBy) => {
      const limits = { ingress: { attributesMaxBytes: 1_000 } };
      const pad = (bytes: number) => ({ 'ce-pad': 'x'.repeat(bytes) });
      // The stamps of the Broker are not the producer's.
      const stamps = 'knativearrivaltime'.length + 24 + 8 + 'knativebrokerttl'.length + 8 + 8;
      const own = (await headBytes()) - stamps + 'pad'.length + 8;
      const opened = await openLargeDoor(limits);
      const wire = await Wire.open(opened.port);
      const declared = { expect: '100-continue', 'content-length': String(MIB) };
      wire.write(head({ ...declared, ...pad(1_000 - own + offBy) }));
      if (offBy > 0) {
        const received = await answered(wire);
        expect(statusesOf(received)).toEqual(['413']);
        expect(received).toContain('KNEAR_ATTRIBUTES_TOO_LARGE');
      } else {
        await wire.until('100 Continue');
        wire.write(bytesOf(MIB));
        await wire.until(' 202 ');
        await opened.settle();
      }
      await opened.expectNothingLeft();
    },
  );
});

describe('a Content-Length that lies', () => {
  test('says more than comes: nothing is kept (K13)', async () => {
    const opened = await openLargeDoor();
    const wire = await Wire.open(opened.port);
    wire.write(head({ 'content-length': String(MIB + 1) }), bytesOf(MIB)).end();
    const received = await wire.untilClosed();
    expect(statusesOf(received)).toEqual(['400']);
    expect(received).toContain('KNEAR_BODY_TRUNCATED');
    await opened.expectNothingLeft();
  });

  test('says less than comes: that event alone, then the connection ends (I5)', async () => {
    const opened = await openLargeDoor();
    const wire = await Wire.open(opened.port);
    const declared = bytesOf(300_000);
    wire.write(head({ 'content-length': '300000' }), declared, 'and more\r\n\r\n');
    expect(statusesOf(await wire.untilClosed())[0]).toBe('202');
    const event = await soleEvent(opened);
    expect((await dataIn(opened, event)).equals(declared)).toBe(true);
  });

  test('says more than any number: nothing is begun', async () => {
    const opened = await openLargeDoor();
    const wire = await Wire.open(opened.port);
    wire.write(head({ 'content-length': '9007199254740993' }), bytesOf(1_000));
    expect(statusOf(await answered(wire))).toBe('413');
    await opened.expectNothingLeft();
  });
});

describe('codings', () => {
  test.each([
    ['501', 'KNEAR_TRANSFER_CODING', { 'transfer-encoding': 'gzip, chunked' }],
    ['415', 'KNEAR_CONTENT_ENCODING', { 'content-encoding': 'gzip', 'content-length': '1000000' }],
    ['415', 'KNEAR_CONTENT_ENCODING', { 'content-encoding': 'br', 'transfer-encoding': 'chunked' }],
  ])('of %s (%s) cost no upload: %j', async (status, code, headers) => {
    const opened = await openLargeDoor();
    const wire = await Wire.open(opened.port);
    wire.write(head({ expect: '100-continue', ...headers }));
    const received = await answered(wire);
    expect(statusesOf(received)).toEqual([status]);
    expect(received).toContain(code);
    if (status === '415') expect(received).toMatch(/accept-encoding: identity\r\n/);
    await opened.expectNothingLeft();
  });
});

describe('Expect: 100-continue', () => {
  const large = { expect: '100-continue', 'content-length': String(2 * MIB) };

  test.each(FRAMINGS)('brings 100, then 202, with $framing', async ({ headersOf, partsOf }) => {
    const opened = await openLargeDoor();
    const wire = await Wire.open(opened.port);
    const body = bytesOf(2 * MIB);
    wire.write(head({ expect: '100-continue', ...headersOf(body) }));
    await wire.until('100 Continue\r\n\r\n');
    wire.write(...partsOf(body));
    expect(statusesOf(await wire.until(' 202 '))).toEqual(['100', '202']);
    expect((await dataIn(opened, await soleEvent(opened))).equals(body)).toBe(true);
  });

  interface Unwelcome {
    readonly name: string;
    readonly code: string;
    readonly status: string;
    readonly options?: LargeDoorOptions;
    readonly target?: string;
    readonly prepare?: (opened: LargeDoor) => unknown;
    readonly isBusy?: boolean;
  }
  const UNWELCOME: readonly Unwelcome[] = [
    {
      ...{ name: 'an unknown Broker', code: 'KNEAR_INGRESS_UNKNOWN', status: '404' },
      target: '/default/unknown',
    },
    {
      ...{ name: 'a payload over eventMax', code: 'KNEAR_EVENT_TOO_LARGE', status: '413' },
      options: { ingress: { eventMaxBytes: MIB } },
    },
    {
      ...{ name: 'one upload too many', code: 'KNEAR_UPLOADS_BUSY', status: '429', isBusy: true },
      options: { payloads: { limits: { uploadsMax: 1 } } },
      prepare: async ({ port, payloads }) => {
        const wire = await Wire.open(port);
        wire.write(head({ 'content-length': String(MIB) }));
        await eventually(() => payloads.uploads === 1);
      },
    },
    {
      ...{ name: 'a namespace at its quota', code: 'KNEAR_PAYLOAD_QUOTA', status: '503' },
      options: { claims: { quotaBytes: MIB } },
    },
    {
      ...{ name: 'a full spool', code: 'KNEAR_PAYLOAD_STORE_FULL', status: '503' },
      options: { payloads: { spoolMaxBytes: MIB } },
    },
    {
      ...{ name: 'a full log', code: 'KNEAR_LOG_FULL', status: '503' },
      prepare: ({ disk }) => (disk.free = 0),
    },
  ];

  test.each(UNWELCOME)(
    'brings $status and no 100 for $name',
    async ({ code, status, options, target, prepare, isBusy = false }) => {
      const opened = await openLargeDoor(options);
      await prepare?.(opened);
      const wire = await Wire.open(opened.port);
      wire.write(head(large, target));
      const received = await answered(wire);
      expect(statusesOf(received)).toEqual([status]);
      expect(received).toContain(code);
      if (status === '429' || status === '503') expect(received).toMatch(/retry-after: \d+\r\n/);
      if (!isBusy) await opened.expectNothingLeft();
    },
  );
});

function member(id: string, data?: string): object {
  const attributes = { specversion: '1.0', id, source: '/shop', type: 'order.created' };
  return { ...attributes, ...(data !== undefined && { datacontenttype: 'text/plain', data }) };
}

describe('batches with large members', () => {
  const TYPE = { 'content-type': BATCH_TYPE };
  const batchOf = (...sizes: number[]) =>
    Buffer.from(
      JSON.stringify(sizes.map((size, index) => member(String(index), 'x'.repeat(size)))),
    );

  test.each(FRAMINGS)('claim each of them singly, with $framing', async (framing: Framing) => {
    const opened = await openLargeDoor();
    const sizes = [200_000, 10, 100_000, 0];
    expect(statusOf(await post(opened.port, batchOf(...sizes), framing, TYPE))).toBe('202');
    const events = await opened.kept();
    expect(events.map((event) => event.attributes.get('id'))).toEqual(['0', '1', '2', '3']);
    expect(events.map((event) => claimOf(event)?.sizeBytes)).toEqual([
      ...[200_000, undefined, 100_000, undefined],
    ]);
    expect(events.map(dataSizeBytes)).toEqual(sizes);
    for (const event of events) {
      expect((await dataIn(opened, event)).toString()).toBe('x'.repeat(dataSizeBytes(event)));
    }
    await opened.settle();
    await opened.expectNothingLeft();
  });

  test('with inlineMax 0 every member that has data is claimed (K3)', async () => {
    const opened = await openLargeDoor({ claims: { inlineMaxBytes: 0 } });
    await post(opened.port, batchOf(1, 0, 2), FRAMINGS[0], TYPE);
    expect((await opened.kept()).map((event) => claimOf(event)?.sizeBytes)).toEqual([
      ...[1, undefined, 2],
    ]);
  });

  interface Refusing {
    readonly name: string;
    readonly code: string;
    readonly status: string;
    readonly options: LargeDoorOptions;
    readonly sizes?: readonly number[];
  }
  const REFUSING: readonly Refusing[] = [
    {
      ...{ name: 'no quota', code: 'KNEAR_PAYLOAD_QUOTA', status: '503' },
      options: { claims: { quotaBytes: 250_000 } },
    },
    {
      ...{ name: 'no room in the spool', code: 'KNEAR_PAYLOAD_STORE_FULL', status: '503' },
      options: { payloads: { spoolMaxBytes: 150_000 } },
      sizes: [100_000, 200_000],
    },
    {
      ...{ name: 'no place among the events in flight', code: 'KNEAR_OVERLOADED', status: '429' },
      options: { limits: { eventsMax: 1 } },
    },
  ];

  test.each(REFUSING)(
    'are all taken or none: where the second finds $name, the first is released',
    async ({ code, status, options, sizes = [200_000, 200_000] }) => {
      const opened = await openLargeDoor(options);
      const received = await post(opened.port, batchOf(...sizes), FRAMINGS[0], TYPE);
      expect(statusOf(received)).toBe(status);
      expect(received).toContain(code);
      expect(opened.payloads.counts.claims).toBeGreaterThan(0);
      await opened.expectNothingLeft();
    },
  );

  test('a member over eventMax refuses all before anything is spooled', async () => {
    const opened = await openLargeDoor({ ingress: { eventMaxBytes: 150_000 } });
    const received = await post(opened.port, batchOf(100_000, 150_001), FRAMINGS[0], TYPE);
    expect(statusOf(received)).toBe('400');
    expect(received).toContain('KNEAR_EVENT_TOO_LARGE');
    expect(opened.payloads.counts.claims).toBe(0);
    await opened.expectNothingLeft();
  });
});

test('payloads of two namespaces are kept apart', async () => {
  const opened = await openLargeDoor({ ingress: ingress({ name: 'orders', namespace: 'team-a' }) });
  await post(opened.port, bytesOf(100_000));
  expect(claimOf(await soleEvent(opened))?.tenant).toBe('team-a');
  expect(await readdir(storeIn(opened.folder))).toEqual(['_identity', 'team-a']);
  expect(inlineData(await soleEvent(opened))).toBeUndefined();
  expect(await readdir(path.join(opened.folder, 'tmp'))).toEqual([]);
});
