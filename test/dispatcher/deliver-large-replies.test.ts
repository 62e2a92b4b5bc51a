/**
 * Goal: a reply that is too large to hold is kept while it comes, durable when the attempt is over, or leaves nothing behind
 * (K39). Method: real subscribers on sockets, a real spool, a real store of files.
 */
import { afterEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import type http from 'node:http';
import type net from 'node:net';
import path from 'node:path';
import { KnearError } from '../../core/errors.ts';
import { attributesSizeBytes, claimOf, inlineData } from '../../core/event.ts';
import type { CloudEvent, PayloadRef } from '../../core/event.ts';
import type { DeliveryRequest, Outcome } from '../../core/ports/deliverer.ts';
import type { PayloadStore } from '../../core/ports/payload-store.ts';
import type { Intake, Payloads } from '../../core/ports/payloads.ts';
import type { ClaimPolicy } from '../../core/topology.ts';
import { eventually } from '../e2e/eventually.ts';
import { CLAIMS } from '../fakes/claims.ts';
import { FakeClock } from '../fakes/clock.ts';
import type { TestPayloads } from '../fakes/payloads.ts';
import {
  bytesOf,
  claimed,
  fileOf,
  nothingOpen,
  openFilePayloads,
  sha256Of,
  storeWith,
} from './claimed-events.ts';
import {
  answer,
  closeAll,
  event,
  openDeliverer,
  rawSubscriber,
  requestTo,
  subscriber,
} from './deliver-subscribers.ts';
import type { Respond } from './deliver-subscribers.ts';
import { gate, settled } from './wire-subscribers.ts';

afterEach(closeAll);

const MIB = 1024 * 1024;
const INLINE_MAX_BYTES = CLAIMS.inlineMaxBytes;
const REPLY_MAX_BYTES = CLAIMS.replyMaxBytes;

const CE = {
  'ce-specversion': '1.0',
  'ce-id': 'r-1',
  'ce-source': '/answers',
  'ce-type': 'order.checked',
};
const ATTRIBUTES = { specversion: '1.0', id: 'r-1', source: '/answers', type: 'order.checked' };
const STRUCTURED = { 'content-type': 'application/cloudevents+json' };

/** Of the event in binary mode, as a record counts it. */
const HEAD_BYTES = attributesSizeBytes({
  attributes: new Map(Object.entries(ATTRIBUTES)),
  headers: new Map(),
  data: undefined,
});

/** In pieces, without a length beforehand. */
function chunked(headers: http.OutgoingHttpHeaders, body: Uint8Array): Respond {
  return (response) => {
    response.writeHead(200, headers);
    for (let first = 0; first < body.byteLength; first += 10_000) {
      response.write(body.subarray(first, first + 10_000));
    }
    response.end();
  };
}

function structured(members: Readonly<Record<string, unknown>>): Buffer {
  return Buffer.from(JSON.stringify({ ...ATTRIBUTES, ...members }));
}

interface Asking {
  readonly claims?: Partial<ClaimPolicy>;
  readonly request?: Partial<DeliveryRequest>;
  readonly clock?: FakeClock;
  /** Stand in for those of the place. */
  readonly payloads?: Payloads;
}

function ask(place: TestPayloads, url: string, { claims, request, clock, payloads }: Asking = {}) {
  const deliverer = openDeliverer({
    payloads: payloads ?? place.payloads,
    ...(clock && { clock }),
  });
  const replies = { tenant: 'shop', claims: { ...CLAIMS, ...claims } };
  return deliverer.deliver(requestTo(url, { replies, ...request }));
}

async function outcomeOf(respond: Respond, asking: Asking = {}) {
  const place = await openFilePayloads();
  const { url } = await subscriber(respond);
  return { place, outcome: await ask(place, url, asking) };
}

function replyOf(outcome: Outcome): CloudEvent {
  if (outcome.kind !== 'replied') throw new Error(JSON.stringify(outcome));
  return outcome.event;
}

function claimedReply(outcome: Outcome): PayloadRef {
  const ref = claimOf(replyOf(outcome));
  if (!ref) throw new Error('it was not claimed');
  return ref;
}

/** Neither in the spool nor in the store, and no upload is under way. */
async function nothingLeft(place: TestPayloads): Promise<void> {
  await nothingOpen(place);
  const left = async () => {
    const files = await Promise.all(
      ['tmp', 'store'].map((name) => readdir(path.join(place.folder, name), { recursive: true })),
    );
    // Folders for namespaces may stay.
    return files.flat().filter((file) => file.split('/').length > 2 || /^\d+$/.test(file));
  };
  await eventually('nothing left', async () => (await left()).length === 0, { withinMs: 3_000 });
  expect([place.payloads.uploads, place.payloads.spoolBytes]).toEqual([0, 0]);
  await eventually('nothing counted', () => place.payloads.live.objects === 0);
}

describe('a large reply (K39)', () => {
  const text = 'é'.repeat(100_000);
  const value = { list: Array.from({ length: 20_000 }, (_, index) => index) };
  const bytes = bytesOf(300_000);
  const forms: {
    form: string;
    respond: Respond;
    data: Uint8Array;
    facts: { isJson?: boolean };
    type?: string;
  }[] = [
    { form: 'binary', respond: answer(200, CE, bytes), data: bytes, facts: {} },
    { form: 'binary, without a length', respond: chunked(CE, bytes), data: bytes, facts: {} },
    {
      form: 'structured, of JSON',
      respond: answer(200, STRUCTURED, structured({ data: value })),
      data: Buffer.from(JSON.stringify(value)),
      facts: { isJson: true },
    },
    {
      form: 'structured, of bytes',
      respond: answer(200, STRUCTURED, structured({ data_base64: bytes.toString('base64') })),
      data: bytes,
      facts: {},
    },
    {
      form: 'structured, of text, its type said last, and without a length',
      respond: chunked(STRUCTURED, structured({ data: text, datacontenttype: 'text/plain' })),
      data: Buffer.from(text),
      facts: {},
      type: 'text/plain',
    },
  ];

  test.each(forms)(
    'that is $form is claimed, durable and held when the attempt is over',
    async ({ respond, data, facts, type }) => {
      const { place, outcome } = await outcomeOf(respond);
      const ref = claimedReply(outcome);
      expect(outcome).toMatchObject({ kind: 'replied', status: 200 });
      expect(Object.fromEntries(replyOf(outcome).attributes)).toMatchObject({
        ...ATTRIBUTES,
        ...(type && { datacontenttype: type }),
      });
      const { sizeBytes, sha256, tenant, isJson } = ref;
      expect({ sizeBytes, sha256, tenant, ...(isJson !== undefined && { isJson }) }).toEqual({
        sizeBytes: data.byteLength,
        sha256: sha256Of(data),
        tenant: 'shop',
        ...facts,
      });
      // It is where it will be found after a restart, and nowhere else.
      expect((await readFile(fileOf(place, ref))).equals(data)).toBe(true);
      expect([place.payloads.uploads, place.payloads.spoolBytes]).toEqual([0, 0]);
      // Whoever got the reply lets it go, and no record names it.
      place.payloads.release(ref);
      await nothingLeft(place);
    },
  );

  const bounds: { name: string; sizeBytes: number; claims?: Partial<ClaimPolicy>; is: string }[] = [
    {
      name: 'exactly inlineMax with its head',
      sizeBytes: INLINE_MAX_BYTES - HEAD_BYTES,
      is: 'inline',
    },
    { name: 'one byte more (K1)', sizeBytes: INLINE_MAX_BYTES - HEAD_BYTES + 1, is: 'claimed' },
    { name: 'inlineMax without its head', sizeBytes: INLINE_MAX_BYTES, is: 'claimed' },
    { name: 'exactly replyMax', sizeBytes: REPLY_MAX_BYTES, is: 'claimed' },
    { name: 'one byte more than replyMax', sizeBytes: REPLY_MAX_BYTES + 1, is: 'too large' },
    {
      name: 'one byte, where everything is claimed',
      sizeBytes: 1,
      claims: { inlineMaxBytes: 0 },
      is: 'claimed',
    },
    {
      name: 'nothing, where everything is claimed',
      sizeBytes: 0,
      claims: { inlineMaxBytes: 0 },
      is: 'empty',
    },
  ];
  const cases = bounds.flatMap((bound) => [
    { ...bound, how: 'announced', respondWith: (body: Buffer) => answer(200, CE, body) },
    { ...bound, how: 'in pieces', respondWith: (body: Buffer) => chunked(CE, body) },
  ]);

  test.each(cases)(
    'of $name, $how, is $is',
    async ({ sizeBytes, claims = {}, is, respondWith }) => {
      const { place, outcome } = await outcomeOf(respondWith(bytesOf(sizeBytes)), { claims });
      if (is === 'too large') {
        expect(outcome).toMatchObject({ kind: 'malformed', code: 'KNEAR_REPLY_TOO_LARGE' });
        await nothingLeft(place);
        return;
      }
      const event = replyOf(outcome);
      expect(claimOf(event)?.sizeBytes).toBe(is === 'claimed' ? sizeBytes : undefined);
      expect(inlineData(event)?.byteLength).toBe(is === 'inline' ? sizeBytes : undefined);
    },
  );

  test('whose data is small after all travels with its event', async () => {
    const small = bytesOf(INLINE_MAX_BYTES - 1_000);
    const body = structured({ data_base64: small.toString('base64') });
    const { place, outcome } = await outcomeOf(answer(200, STRUCTURED, body));
    expect(inlineData(replyOf(outcome))).toEqual(new Uint8Array(small));
    await nothingLeft(place);
  });

  test('to a large event comes while that goes out', async () => {
    const place = await openFilePayloads();
    const event = await claimed(place.payloads, bytesOf(5_000_000));
    const { url } = await rawSubscriber((socket) => {
      // An echo: what has come of the body goes back at once.
      let isHead = true;
      socket.on('data', (chunk: Buffer) => {
        if (isHead) socket.write(headOf('content-length: 5000000'));
        socket.write(isHead ? chunk.subarray(chunk.indexOf('\r\n\r\n') + 4) : chunk);
        isHead = false;
      });
    });
    const claims = { replyMaxBytes: 5_000_000 };
    const outcome = await ask(place, url, { claims, request: { event } });
    const { sizeBytes, sha256 } = claimedReply(outcome);
    expect([sizeBytes, sha256]).toEqual([event.data.sizeBytes, event.data.sha256]);
    await nothingOpen(place);
  });

  test.each([
    { moment: 'while it comes', isWhole: false },
    { moment: 'when it has come', isWhole: true },
  ])('is waited for by close until it is durable, $moment', async ({ isWhole }) => {
    const { opened: goingOn, open: goOn } = gate<undefined>();
    const { opened: ending, open: end } = gate<undefined>();
    const { opened: begun, open: begin } = gate<undefined>();
    const place = await openFilePayloads({
      wrap: (store) =>
        storeWith(store, {
          put: async (...call) => {
            begin(undefined);
            await goingOn;
            return store.put(...call);
          },
        }),
    });
    const { url } = await subscriber((response) => {
      response.writeHead(200, CE).write(bytes);
      void ending.then(() => response.end());
    });
    const deliverer = openDeliverer({ payloads: place.payloads });
    const replies = { tenant: 'shop', claims: CLAIMS };
    const delivery = deliverer.deliver(requestTo(url, { replies }));
    await eventually('it is being kept', () => place.payloads.spoolBytes === bytes.byteLength);
    if (isWhole) end(undefined);
    if (isWhole) await begun;
    const closing = deliverer.close().then(() => readdir(path.join(place.folder, 'store')));
    end(undefined);
    await begun;
    await settled(() => 0);
    goOn(undefined);
    claimedReply(await delivery);
    expect(await closing).toEqual(['shop']);
  });
});

/** Answers with this head and then without end, as fast as it is read. `sentBytes`: what the socket was given. */
async function endless(headers: http.OutgoingHttpHeaders) {
  const counted = { sentBytes: 0 };
  const piece = Buffer.alloc(64 * 1024, 'x');
  const { url, connections } = await subscriber((response) => {
    const goOn = () => {
      do counted.sentBytes += piece.byteLength;
      while (!response.destroyed && response.write(piece));
    };
    response.writeHead(200, headers).on('drain', goOn);
    goOn();
  });
  return { url, connections, counted };
}

describe('a reply that is too large (K39)', () => {
  test('is not read on from where it is too large, and leaves nothing', async () => {
    const place = await openFilePayloads();
    const { url, connections, counted } = await endless(CE);
    expect(await ask(place, url)).toMatchObject({
      kind: 'malformed',
      code: 'KNEAR_REPLY_TOO_LARGE',
      status: 200,
      body: new Uint8Array(768).fill('x'.charCodeAt(0)),
    });
    for (const { ended } of connections) expect(await ended).toBe('ECONNRESET');
    // One megabyte, and what was in the sockets.
    expect(counted.sentBytes).toBeLessThan(32 * MIB);
    await nothingLeft(place);
  });

  test('is not begun to be kept when it says so itself', async () => {
    const place = await openFilePayloads({ limits: { uploadsMax: 0 } });
    const { url } = await endless({ ...CE, 'content-length': REPLY_MAX_BYTES + 1 });
    const outcome = await ask(place, url);
    // With no upload allowed, it would be UPLOADS_BUSY.
    expect(outcome).toMatchObject({ kind: 'malformed', code: 'KNEAR_REPLY_TOO_LARGE' });
  });

  test('for its data counts, not for the JSON around it', async () => {
    const largest = structured({ data_base64: bytesOf(REPLY_MAX_BYTES).toString('base64') });
    expect(largest.byteLength).toBeGreaterThan(REPLY_MAX_BYTES);
    const { outcome } = await outcomeOf(answer(200, STRUCTURED, largest));
    expect(claimedReply(outcome).sizeBytes).toBe(REPLY_MAX_BYTES);
    const larger = structured({ data_base64: bytesOf(REPLY_MAX_BYTES + 1).toString('base64') });
    const second = await outcomeOf(answer(200, STRUCTURED, larger));
    expect(second.outcome).toMatchObject({ kind: 'malformed', code: 'KNEAR_REPLY_TOO_LARGE' });
    await nothingLeft(second.place);
  });

  test('because it is a batch is refused when it is more than a few events, and not read on', async () => {
    const place = await openFilePayloads();
    const batch = { 'content-type': 'application/cloudevents-batch+json' };
    const { url, counted } = await endless(batch);
    const claims = { replyMaxBytes: 128 * MIB };
    const outcome = await ask(place, url, { claims });
    expect(outcome).toMatchObject({
      kind: 'malformed',
      code: 'KNEAR_REPLY_INVALID',
      detail: 'a batch: reply with a single event',
    });
    expect(counted.sentBytes).toBeLessThan(32 * MIB);
    await nothingLeft(place);
  });
});

/** How a raw subscriber begins. */
function headOf(framing: string): string {
  const lines = Object.entries(CE).map(([name, text]) => `${name}: ${text}\r\n`);
  return `HTTP/1.1 200 OK\r\n${lines.join('')}${framing}\r\n\r\n`;
}

/** A head, and a part of its body. */
function beginning(framing: string): string {
  const body = 'x'.repeat(300_000);
  return headOf(framing) + (framing.startsWith('transfer') ? `493e0\r\n${body}` : body);
}

describe('a large reply that breaks off', () => {
  const framings = [
    { framing: 'content-length: 1000000' },
    { framing: 'transfer-encoding: chunked' },
  ];
  const ways = [
    { way: 'by an end', leave: (socket: net.Socket) => void socket.end() },
    { way: 'by a reset', leave: (socket: net.Socket) => void socket.resetAndDestroy() },
  ];
  const cases = framings.flatMap((framing) => ways.map((way) => ({ ...framing, ...way })));

  test.each(cases)(
    '$way ($framing) is a failed attempt and leaves nothing (K39)',
    async ({ framing, leave }) => {
      const place = await openFilePayloads();
      const { url } = await rawSubscriber((socket) => {
        socket.once('data', () => void socket.write(beginning(framing)));
        void eventually('it is being kept', () => place.payloads.spoolBytes >= 300_000).then(() =>
          leave(socket),
        );
      });
      const outcome = await ask(place, url);
      expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_RESET' });
      await nothingLeft(place);
    },
  );

  async function inTheMiddle(asking: Asking) {
    const place = await openFilePayloads();
    const { url, connections } = await rawSubscriber((socket) => {
      const framing = 'content-length: 1000000';
      socket.once('data', () => void socket.write(beginning(framing)));
    });
    const attempt = ask(place, url, asking);
    attempt.catch(() => undefined);
    await eventually('it is being kept', () => place.payloads.spoolBytes >= 300_000);
    return { place, attempt, connections };
  }

  test('because the time is over is a failed attempt and leaves nothing (K39)', async () => {
    const clock = new FakeClock();
    const { place, attempt } = await inTheMiddle({ clock, request: { timeoutMs: 1_000 } });
    clock.advance(1_000);
    expect(await attempt).toMatchObject({ kind: 'unreachable', code: 'KNEAR_TIMEOUT' });
    await nothingLeft(place);
  });

  test('because nobody wants it any more leaves nothing (K39)', async () => {
    const controller = new AbortController();
    const { place, attempt, connections } = await inTheMiddle({
      request: { signal: controller.signal },
    });
    const reason = new Error('the Trigger is gone');
    controller.abort(reason);
    await expect(attempt).rejects.toBe(reason);
    for (const { ended } of connections) expect(await ended).toBe('ECONNRESET');
    await nothingLeft(place);
  });
});

describe('a large reply that cannot be kept says nothing of the subscriber (K39)', () => {
  const failing = (code: 'KNEAR_PAYLOAD_STORE_AWAY' | 'KNEAR_PAYLOAD_STORE_DENIED') => {
    const put = () => Promise.reject(new KnearError(code, 'as the disk said'));
    return (store: PayloadStore) => storeWith(store, { put });
  };
  const troubles: {
    trouble: string;
    options: Parameters<typeof openFilePayloads>[0];
    claims?: Partial<ClaimPolicy>;
    code: string;
  }[] = [
    {
      trouble: 'the spool is full',
      options: { spoolMaxBytes: 200_000 },
      code: 'KNEAR_PAYLOAD_STORE_FULL',
    },
    {
      trouble: 'the spool is full from the start',
      options: { spoolMaxBytes: 0 },
      code: 'KNEAR_PAYLOAD_STORE_FULL',
    },
    {
      trouble: 'its namespace has used up its quota',
      options: {},
      claims: { quotaBytes: 200_000 },
      code: 'KNEAR_PAYLOAD_QUOTA',
    },
    {
      trouble: 'too many are being received',
      options: { limits: { uploadsMax: 0 } },
      code: 'KNEAR_UPLOADS_BUSY',
    },
    {
      trouble: 'the store is away',
      options: { wrap: failing('KNEAR_PAYLOAD_STORE_AWAY') },
      code: 'KNEAR_PAYLOAD_STORE_AWAY',
    },
    {
      trouble: 'the store may not be used',
      options: { wrap: failing('KNEAR_PAYLOAD_STORE_DENIED') },
      code: 'KNEAR_PAYLOAD_STORE_DENIED',
    },
  ];
  const bytes = bytesOf(300_000);
  const cases = troubles.flatMap((trouble) => [
    { ...trouble, form: 'binary', respond: answer(200, CE, bytes) },
    { ...trouble, form: 'without a length', respond: chunked(CE, bytes) },
    {
      ...trouble,
      form: 'structured',
      respond: chunked(STRUCTURED, structured({ data_base64: bytes.toString('base64') })),
    },
  ]);

  test.each(cases)(
    '$trouble: $code, and nothing is left ($form)',
    async ({ options, claims = {}, code, respond }) => {
      const place = await openFilePayloads(options);
      const { url } = await subscriber(respond);
      const outcome = await ask(place, url, { claims });
      expect(outcome).toMatchObject({ kind: 'payload', code });
      expect(outcome).toHaveProperty('detail', expect.stringMatching(/\w/));
      await nothingLeft(place);
    },
  );
});

describe('a large reply that is no event', () => {
  const large = 'x'.repeat(300_000);
  const cases: { what: string; headers: http.OutgoingHttpHeaders; body: Buffer }[] = [
    {
      what: 'JSON that breaks off',
      headers: STRUCTURED,
      body: structured({ data: large }).subarray(0, -1),
    },
    {
      what: 'JSON and something behind it',
      headers: STRUCTURED,
      body: Buffer.concat([structured({ data: large }), Buffer.from('x')]),
    },
    {
      what: 'JSON without an id',
      headers: STRUCTURED,
      body: structured({ id: undefined, data: large }),
    },
    {
      what: 'JSON with data twice',
      headers: STRUCTURED,
      body: structured({ data: large, data_base64: 'eA==' }),
    },
    {
      what: 'text that is no base64',
      headers: STRUCTURED,
      body: structured({ data_base64: `${large}!` }),
    },
    { what: 'a head without an id', headers: { ...CE, 'ce-id': '' }, body: Buffer.from(large) },
  ];
  const ways = cases.flatMap((each) => [
    { ...each, how: 'announced', respond: answer(200, each.headers, each.body) },
    { ...each, how: 'in pieces', respond: chunked(each.headers, each.body) },
  ]);

  test.each(ways)('but $what, $how, is invalid and leaves nothing (K39)', async ({ respond }) => {
    const { place, outcome } = await outcomeOf(respond);
    expect(outcome).toMatchObject({ kind: 'malformed', code: 'KNEAR_REPLY_INVALID', status: 200 });
    expect(outcome).toHaveProperty('body.byteLength', 768);
    await nothingLeft(place);
  });
});

/** Payloads whose intakes take each piece as `write` says. */
function withWrite(
  payloads: Payloads,
  write: (own: Intake, piece: Uint8Array) => Promise<void> | undefined,
): Payloads {
  return {
    lend: (ref) => payloads.lend(ref),
    open: (ref) => payloads.open(ref),
    release: (ref) => payloads.release(ref),
    receive(options) {
      const own = payloads.receive(options);
      return {
        get sizeBytes() {
          return own.sizeBytes;
        },
        get heldBytes() {
          return own.heldBytes;
        },
        write: (piece) => write(own, piece),
        reread: () => own.reread(),
        finish: (...call) => own.finish(...call),
        discard: () => own.discard(),
      };
    },
  };
}

describe('a store that takes a large reply slowly', () => {
  test('makes its subscriber wait, instead of filling memory, and gets all of it (K39)', async () => {
    const place = await openFilePayloads();
    const { opened: goingOn, open: goOn } = gate<undefined>();
    let isHeld = true;
    let writtenBytes = 0;
    const payloads = withWrite(place.payloads, (own, piece) => {
      writtenBytes += piece.byteLength;
      const wait = own.write(piece);
      return isHeld ? goingOn.then(() => wait) : wait;
    });
    const bytes = bytesOf(32 * MIB);
    let sentBytes = 0;
    const { url } = await rawSubscriber((socket) => {
      socket.once('data', () => {
        socket.write(headOf(`content-length: ${bytes.byteLength}`));
        void (async () => {
          for (let first = 0; first < bytes.byteLength; first += MIB) {
            if (!socket.write(bytes.subarray(first, first + MIB))) await once(socket, 'drain');
            sentBytes += MIB;
          }
        })();
      });
    });
    const claims = { replyMaxBytes: 64 * MIB };
    const attempt = ask(place, url, { claims, payloads });
    await eventually('it has begun', () => writtenBytes > 0);
    expect(await settled(() => sentBytes)).toBeLessThan(16 * MIB);
    // One piece was taken before it was told to wait.
    expect(writtenBytes).toBeLessThan(MIB);
    isHeld = false;
    goOn(undefined);
    const ref = claimedReply(await attempt);
    expect([ref.sizeBytes, ref.sha256]).toEqual([bytes.byteLength, sha256Of(bytes)]);
  });

  test('and then fails by a bug of ours ends the delivery, and its connection once (F1)', async () => {
    const bug = new TypeError('not a function');
    const clock = new FakeClock();
    const place = await openFilePayloads();
    const { opened: broken, open: breakIt } = gate<undefined>();
    const failing = broken.then(() => Promise.reject(bug));
    // As the spool does: who waits for the last piece does not wait for the others.
    failing.catch(() => undefined);
    const { opened: writing, open: beginWriting } = gate<undefined>();
    const payloads = withWrite(place.payloads, () => {
      beginWriting(undefined);
      return failing;
    });
    const { opened: answering, open: letAnswer } = gate<() => void>();
    const { url, connections } = await subscriber((response, { headers }) => {
      if (headers['ce-id'] === 'large') response.writeHead(200, CE).end(bytesOf(300_000));
      else letAnswer(() => response.writeHead(202).end());
    });
    const deliverer = openDeliverer({ payloads, clock });
    const replies = { tenant: 'shop', claims: CLAIMS };
    const large = { ...event, attributes: new Map([...event.attributes, ['id', 'large']]) };
    const first = deliverer.deliver(requestTo(url, { replies, event: large, timeoutMs: 1_000 }));
    const second = deliverer.deliver(requestTo(url, { replies }));
    const letIt = await answering;
    await writing;
    clock.advance(1_000);
    // K33: the store's time, not the subscriber's.
    expect(await first).toMatchObject({ kind: 'payload', code: 'KNEAR_PAYLOAD_STORE_AWAY' });
    breakIt(undefined);
    await settled(() => 0);
    letIt();
    expect(await second).toMatchObject({ kind: 'accepted' });
    // Its connection has rested (F6).
    clock.advance(0);
    // The connection of the second is known as before.
    void deliverer.deliver(requestTo(url, { replies, timeoutMs: 1 }));
    await settled(() => connections.length);
    expect(connections).toHaveLength(2);
    clock.advance(1);
  });
});
