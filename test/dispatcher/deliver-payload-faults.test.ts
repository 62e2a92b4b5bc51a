/**
 * Goal: a payload that is not what it was never becomes a whole request, whoever reads it, and what is broken leaves nothing
 * open. Method: real files that are damaged before or during a delivery; subscribers that stop, leave or answer too early.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, open, rename, symlink, truncate, unlink } from 'node:fs/promises';
import https from 'node:https';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { generate } from 'selfsigned';
import { KnearError } from '../../core/errors.ts';
import { payloadId } from '../../core/event.ts';
import type { Outcome } from '../../core/ports/deliverer.ts';
import type { Payloads } from '../../core/ports/payloads.ts';
import { asNobody } from '../broker/payload-disk.ts';
import { eventually } from '../e2e/eventually.ts';
import { guard } from '../e2e/guard.ts';
import { NO_PAYLOADS } from '../fakes/claims.ts';
import { FakeClock } from '../fakes/clock.ts';
import {
  bytesOf,
  claimed,
  fileOf,
  nothingOpen,
  openFilePayloads,
  sha256Of,
  storeWith,
  watch,
} from './claimed-events.ts';
import type { ClaimedOptions } from './claimed-events.ts';
import {
  answer,
  closeAll,
  openDeliverer,
  rawSubscriber,
  requestTo,
  subscriber,
} from './deliver-subscribers.ts';
import { accept, gate, readRequests, settled, stoppingSubscriber } from './wire-subscribers.ts';
import type { WireRequest } from './wire-subscribers.ts';

afterEach(closeAll);

const MIB = 1024 * 1024;
/** Eight pieces of the store: some are on their way before the last is looked at. */
const SEVERAL_BYTES = 2 * MIB;
/** More than the socket buffers of both sides hold, so that a subscriber that does not read leaves a part unsent. */
const LARGE_BYTES = 32 * MIB;
const ACCEPTED: Outcome = { kind: 'accepted', status: 202 };

async function flip(file: string, at: number): Promise<void> {
  const handle = await open(file, 'r+');
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, at);
  byte[0] = (byte[0] ?? 0) ^ 1;
  await handle.write(byte, 0, 1, at);
  await handle.close();
}

async function lengthen(file: string): Promise<void> {
  const handle = await open(file, 'a');
  await handle.write('x');
  await handle.close();
}

interface Damage {
  readonly damage: string;
  readonly doIt: (file: string) => Promise<unknown>;
  readonly code: string;
}

const CORRUPT = 'KNEAR_PAYLOAD_CORRUPT';
const AWAY = 'KNEAR_PAYLOAD_STORE_AWAY';

/** To a file of SEVERAL_BYTES. */
const DAMAGES: readonly Damage[] = [
  {
    damage: 'has lost its last byte',
    doIt: (file) => truncate(file, SEVERAL_BYTES - 1),
    code: CORRUPT,
  },
  { damage: 'has lost its second half', doIt: (file) => truncate(file, MIB), code: CORRUPT },
  { damage: 'is empty', doIt: (file) => truncate(file, 0), code: CORRUPT },
  { damage: 'has a byte too many', doIt: lengthen, code: CORRUPT },
  { damage: 'has one bit flipped in its first byte', doIt: (file) => flip(file, 0), code: CORRUPT },
  {
    damage: 'has one bit flipped in its last byte',
    doIt: (file) => flip(file, SEVERAL_BYTES - 1),
    code: CORRUPT,
  },
  { damage: 'is gone', doIt: unlink, code: 'KNEAR_PAYLOAD_MISSING' },
  {
    damage: 'is a folder',
    doIt: async (file) => {
      await unlink(file);
      await mkdir(file);
    },
    code: AWAY,
  },
  {
    damage: 'is a link to what it was',
    doIt: async (file) => {
      await rename(file, `${file}-elsewhere`);
      await symlink(`${file}-elsewhere`, file);
    },
    code: AWAY,
  },
];

/** What a subscriber saw of one connection. */
interface Sight {
  readonly wholeRequests: number;
  readonly end: string;
}

interface Reader {
  readonly url: string;
  readonly seen: () => Promise<Sight>;
}

async function rawReader(): Promise<Reader> {
  let wholeRequests = 0;
  const { url, connections } = await rawSubscriber((socket) => {
    const onWhole = () => {
      wholeRequests += 1;
      accept(socket);
    };
    readRequests(socket, { onWhole });
  });
  const seen = async () => {
    const [connection] = await eventually(
      'a connection',
      () => connections.length > 0 && connections,
    );
    return { wholeRequests, end: (await connection?.ended) ?? '' };
  };
  return { url, seen };
}

async function httpReader(): Promise<Reader> {
  const { url, connections, received } = await subscriber(answer(202));
  const seen = async () => {
    const [connection] = await eventually(
      'a connection',
      () => connections.length > 0 && connections,
    );
    return { wholeRequests: received.length, end: (await connection?.ended) ?? '' };
  };
  return { url, seen };
}

/** Reads as many bytes as are announced, as many frameworks do, and says on a line of its own what came of it. */
const PYTHON = `
import http.server, json, sys
def say(**what): print(json.dumps(what), flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        announced = int(self.headers['content-length'])
        say(announced=announced, read=len(self.rfile.read(announced)))
        self.send_response(202)
        self.send_header('content-length', '0')
        self.end_headers()
    def log_message(self, *words): pass
class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, address): say(error=sys.exc_info()[0].__name__)
server = Server(('127.0.0.1', 0), Handler)
say(port=server.server_address[1])
server.serve_forever()
`;

interface PythonLine {
  readonly port?: number;
  readonly announced?: number;
  readonly read?: number;
  readonly error?: string;
}

function hasPython(): boolean {
  try {
    execFileSync('python3', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const withPython = hasPython() ? describe : describe.skip;

/** One process for all tests: what it says of one delivery is read before the next one begins. */
let python: { child: ChildProcess; url: string; next: () => Promise<PythonLine> };

async function startPython(): Promise<void> {
  const child = spawn('python3', ['-c', PYTHON], { stdio: ['ignore', 'pipe', 'inherit'] });
  const guarding = guard(child.pid === undefined ? {} : { pid: child.pid });
  child.once('exit', () => guarding.dismiss());
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value ?? '{}') as PythonLine;
  const { port } = await next();
  python = { child, url: `http://127.0.0.1:${String(port)}`, next };
}

async function stopPython(): Promise<void> {
  const exited = once(python.child, 'exit');
  python.child.kill('SIGKILL');
  await exited;
}

function pythonReader(): Promise<Reader> {
  const seen = async () => {
    const line = await python.next();
    return {
      wholeRequests: line.announced === line.read ? Number(!line.error) : 0,
      end: line.error ?? 'no error',
    };
  };
  return Promise.resolve({ url: python.url, seen });
}

async function damaged({ doIt }: Damage, options: ClaimedOptions = {}) {
  const place = await openFilePayloads();
  const event = await claimed(place.payloads, bytesOf(SEVERAL_BYTES), options);
  await doIt(fileOf(place, event.data));
  return { place, event };
}

/** Delivers the event of a file that was damaged beforehand. */
async function deliverDamaged(damage: Damage, openReader: () => Promise<Reader>) {
  const { place, event } = await damaged(damage);
  const { url, seen } = await openReader();
  const deliverer = openDeliverer({ payloads: place.payloads });
  const outcome = await deliverer.deliver(requestTo(url, { event }));
  return { outcome, sight: await seen(), place, event };
}

const servers: https.Server[] = [];
let pair: { readonly private: string; readonly cert: string };

beforeAll(async () => {
  const altNames = [{ type: 2 as const, value: 'localhost' }];
  const extensions = [
    { name: 'basicConstraints' as const, cA: true },
    { name: 'subjectAltName' as const, altNames },
  ];
  const options = { keySize: 2048, extensions };
  pair = await generate([{ name: 'commonName', value: 'localhost' }], options);
});

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
});

/** By https a cut is visible without a reset. */
async function httpsReader(): Promise<Reader> {
  let wholeRequests = 0;
  const { opened: closed, open: close } = gate<string>();
  const server = https.createServer({ key: pair.private, cert: pair.cert }, (request) => {
    request.on('error', () => undefined).resume();
    request.on('end', () => (wholeRequests += 1));
  });
  server.on('secureConnection', (socket) => socket.on('close', () => close('closed')));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  servers.push(server);
  const { port } = server.address() as net.AddressInfo;
  const seen = async () => ({ end: await closed, wholeRequests });
  return { url: `https://localhost:${port}`, seen };
}

describe('a payload whose file', () => {
  test.each(DAMAGES)(
    '$damage is never a whole request on a socket, which is reset (K31)',
    async (damage) => {
      const { outcome, sight, place } = await deliverDamaged(damage, rawReader);
      expect(outcome).toMatchObject({ kind: 'payload', code: damage.code });
      expect(sight).toEqual({ wholeRequests: 0, end: 'ECONNRESET' });
      await nothingOpen(place);
    },
  );

  test.each(DAMAGES)('$damage is never a whole request to node:http (K31)', async (damage) => {
    const { outcome, sight } = await deliverDamaged(damage, httpReader);
    expect(outcome).toMatchObject({ kind: 'payload', code: damage.code });
    expect(sight).toEqual({ wholeRequests: 0, end: 'ECONNRESET' });
  });

  withPython('(in Python)', () => {
    beforeAll(startPython);
    afterAll(stopPython);

    test('a server that reads as much as is announced takes half a body for all of it after FIN', async () => {
      const { port } = new URL(python.url);
      const socket = net.connect(Number(port), '127.0.0.1');
      socket.end('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf.');
      expect(await python.next()).toEqual({ announced: 10, read: 5 });
      socket.destroy();
    });

    test.each(DAMAGES)('$damage is an error to it all the same (K31)', async (damage) => {
      const { outcome, sight } = await deliverDamaged(damage, pythonReader);
      expect(outcome).toMatchObject({ kind: 'payload', code: damage.code });
      expect(sight).toEqual({ wholeRequests: 0, end: 'ConnectionResetError' });
    });
  });

  test.each(DAMAGES)('$damage is never a whole request by https (K31)', async (damage) => {
    const { place, event } = await damaged(damage);
    const { url, seen } = await httpsReader();
    const deliverer = openDeliverer({ payloads: place.payloads });
    const outcome = await deliverer.deliver(requestTo(url, { event, caCerts: pair.cert }));
    expect(outcome).toMatchObject({ kind: 'payload', code: damage.code });
    expect(await seen()).toEqual({ wholeRequests: 0, end: 'closed' });
    await nothingOpen(place);
  });

  test('may not be read is never a whole request either (K31)', async () => {
    const place = await openFilePayloads();
    const event = await claimed(place.payloads, bytesOf(SEVERAL_BYTES));
    const { url, seen } = await rawReader();
    const deliverer = openDeliverer({ payloads: place.payloads });
    // A mode alone would not keep root from reading it.
    await chmod(fileOf(place, event.data), 0o000);
    await asNobody(async () => {
      expect(await deliverer.deliver(requestTo(url, { event }))).toMatchObject({
        kind: 'payload',
        code: 'KNEAR_PAYLOAD_STORE_DENIED',
      });
    });
    expect(await seen()).toEqual({ wholeRequests: 0, end: 'ECONNRESET' });
  });

  test.each(DAMAGES)('$damage is never a whole request in JSON either (K31)', async (damage) => {
    const { place, event } = await damaged(damage, { facts: { isJson: false } });
    const { url, seen } = await rawReader();
    const deliverer = openDeliverer({ payloads: place.payloads });
    const outcome = await deliverer.deliver(requestTo(url, { event, format: 'json' }));
    expect(outcome).toMatchObject({ kind: 'payload', code: damage.code });
    expect(await seen()).toEqual({ wholeRequests: 0, end: 'ECONNRESET' });
    await nothingOpen(place);
  });

  test.each(DAMAGES)(
    '$damage fails already when it is looked at, whether it is JSON',
    async ({ doIt, code }) => {
      const place = await openFilePayloads();
      const event = await claimed(place.payloads, Buffer.alloc(SEVERAL_BYTES, '7'));
      await doIt(fileOf(place, event.data));
      const { url, connections } = await subscriber(answer(202));
      const deliverer = openDeliverer({ payloads: place.payloads });
      const outcome = await deliverer.deliver(requestTo(url, { event, format: 'json' }));
      expect(outcome).toMatchObject({ kind: 'payload', code });
      expect(connections).toEqual([]);
      await nothingOpen(place);
    },
  );

  test('was redacted is told apart from one that is gone, and never a whole request either (K31)', async () => {
    const place = await openFilePayloads();
    const event = await claimed(place.payloads, bytesOf(SEVERAL_BYTES));
    place.ledger.rows.set(payloadId(event.data), { ref: event.data, records: 1, redactedAtMs: 1 });
    await unlink(fileOf(place, event.data));
    const { url, seen } = await rawReader();
    const outcome = await openDeliverer({ payloads: place.payloads }).deliver(
      requestTo(url, { event }),
    );
    expect(outcome).toMatchObject({ kind: 'payload', code: 'KNEAR_PAYLOAD_REDACTED' });
    expect(await seen()).toEqual({ wholeRequests: 0, end: 'ECONNRESET' });
  });
});

describe('a payload whose file, while it goes out,', () => {
  /** All that the sockets take has gone, and the last byte of the file has not been read. */
  async function halfway() {
    const place = await openFilePayloads();
    const event = await claimed(place.payloads, bytesOf(LARGE_BYTES));
    const payloads = watch(place.payloads);
    const reader = await stoppingSubscriber();
    const delivery = openDeliverer({ payloads }).deliver(requestTo(reader.url, { event }));
    const socket = await reader.socket;
    expect(await settled(() => payloads.streamedBytes)).toBeLessThan(LARGE_BYTES / 2);
    return { place, event, delivery, reader, goOn: () => void socket.resume() };
  }

  const fatal: readonly { damage: string; doIt: (file: string) => Promise<unknown> }[] = [
    { damage: 'is cut off', doIt: (file) => truncate(file, LARGE_BYTES / 2) },
    { damage: 'is emptied', doIt: (file) => truncate(file, 0) },
    { damage: 'gets one bit flipped in the middle', doIt: (file) => flip(file, LARGE_BYTES / 2) },
    {
      damage: 'gets one bit flipped in its last byte',
      doIt: (file) => flip(file, LARGE_BYTES - 1),
    },
  ];

  test.each(fatal)(
    '$damage is never a whole request: the subscriber has fewer bytes and a reset (K31)',
    async ({ doIt }) => {
      const { place, event, delivery, reader, goOn } = await halfway();
      await doIt(fileOf(place, event.data));
      goOn();
      expect(await delivery).toMatchObject({ kind: 'payload', code: CORRUPT });
      expect(await Promise.all(reader.connections.map(({ ended }) => ended))).toEqual([
        'ECONNRESET',
      ]);
      const [request, ...others] = reader.requests();
      expect(others).toEqual([]);
      expect(request?.announcedBytes).toBe(LARGE_BYTES);
      expect(request?.bodyBytes).toBeLessThan(LARGE_BYTES);
      // A second look has found the same.
      expect(place.payloads.counts.corrupt).toBe(1);
      expect(place.faults).toHaveLength(1);
      await nothingOpen(place);
    },
  );

  const harmless: readonly { change: string; doIt: (file: string) => Promise<unknown> }[] = [
    { change: 'is removed', doIt: unlink },
    { change: 'is moved away', doIt: (file) => rename(file, `${file}-elsewhere`) },
    { change: 'gets a byte too many', doIt: lengthen },
    {
      change: 'gives way to a folder',
      doIt: async (file) => {
        await unlink(file);
        await mkdir(file);
      },
    },
    { change: 'may not be read any more', doIt: (file) => chmod(file, 0o000) },
  ];

  test.each(harmless)('$change goes out whole, as it was when it was opened', async ({ doIt }) => {
    const { place, event, delivery, reader, goOn } = await halfway();
    await doIt(fileOf(place, event.data));
    goOn();
    expect(await delivery).toEqual(ACCEPTED);
    expect(reader.requests().map(({ body }) => sha256Of(Buffer.concat(body)))).toEqual([
      event.data.sha256,
    ]);
    await nothingOpen(place);
  });
});

describe('a store', () => {
  /** A delivery whose first reading of the store is interfered with. */
  async function withFirstRead(
    first: (pieces: AsyncIterable<Buffer>) => AsyncIterable<Uint8Array>,
  ) {
    let reads = 0;
    const place = await openFilePayloads({
      wrap: (store) =>
        storeWith(store, {
          open: async (...call) => {
            const pieces = await store.open(...call);
            reads += 1;
            return reads === 1 ? Readable.from(first(pieces), { objectMode: false }) : pieces;
          },
        }),
    });
    const event = await claimed(place.payloads, bytesOf(SEVERAL_BYTES));
    const { url, seen } = await rawReader();
    const deliverer = openDeliverer({ payloads: place.payloads });
    return {
      place,
      outcome: await deliverer.deliver(requestTo(url, { event })),
      seen,
      event,
      deliverer,
    };
  }

  test('that reads a payload wrongly once is away, not the payload altered, and the next try delivers (K31)', async () => {
    const { place, outcome, seen, event, deliverer } = await withFirstRead(
      async function* (pieces) {
        for await (const piece of pieces) yield Uint8Array.from(piece, (byte) => byte ^ 1);
      },
    );
    expect(outcome).toMatchObject({ kind: 'payload', code: AWAY });
    expect(await seen()).toEqual({ wholeRequests: 0, end: 'ECONNRESET' });
    const again = await subscriber(answer(202));
    expect(await deliverer.deliver(requestTo(again.url, { event }))).toEqual(ACCEPTED);
    expect(again.received.map(({ body }) => sha256Of(body))).toEqual([event.data.sha256]);
    expect(place.faults).toEqual([]);
    await nothingOpen(place);
  });

  test.each([AWAY, 'KNEAR_PAYLOAD_STORE_DENIED'] as const)(
    'that says %s in the middle resets the request, and nothing is known of the subscriber (K31)',
    async (code) => {
      const { place, outcome, seen } = await withFirstRead(async function* (pieces) {
        let index = 0;
        for await (const piece of pieces) {
          index += 1;
          if (index > 4) throw new KnearError(code, 'as the disk said');
          yield piece;
        }
      });
      expect(outcome).toEqual({ kind: 'payload', code, detail: 'as the disk said' });
      expect(await seen()).toEqual({ wholeRequests: 0, end: 'ECONNRESET' });
      await nothingOpen(place);
    },
  );

  test.each([
    { way: 'the resource bounds the attempt', limits: { timeoutMs: 500 } },
    { way: 'bytes have to move', limits: { timeoutMs: 1_000, idleMs: 500 } },
  ])(
    'that hangs in the middle is away, not the subscriber slow, where $way (X5)',
    async ({ limits }) => {
      const clock = new FakeClock();
      const { event } = await aPlace(SEVERAL_BYTES);
      const { opened: hanging, open: hang } = gate<undefined>();
      const { opened: over, open: end } = gate<undefined>();
      const payloads: Payloads = {
        ...NO_PAYLOADS,
        lend: () => undefined,
        async *open() {
          yield Buffer.alloc(MIB);
          hang(undefined);
          await over;
        },
      };
      const { url, seen } = await rawReader();
      const deliverer = openDeliverer({ payloads, clock });
      const attempt = deliverer.deliver(requestTo(url, { event, ...limits }));
      await hanging;
      clock.advance(500);
      expect(await attempt).toMatchObject({ kind: 'payload', code: AWAY });
      expect(await seen()).toEqual({ wholeRequests: 0, end: 'ECONNRESET' });
      end(undefined);
    },
  );

  test('that fails by a bug of ours makes the delivery fail as one, and resets the request (K31)', async () => {
    const bug = new TypeError('not a function');
    const payloads: Payloads = {
      ...NO_PAYLOADS,
      lend: () => undefined,
      async *open() {
        yield Buffer.from('half');
        throw bug;
      },
    };
    const { event } = await aPlace(1_000);
    const { url, seen } = await rawReader();
    await expect(openDeliverer({ payloads }).deliver(requestTo(url, { event }))).rejects.toBe(bug);
    expect(await seen()).toEqual({ wholeRequests: 0, end: 'ECONNRESET' });
  });
});

/** A claimed event whose data is in a file, and the payloads that it belongs to. */
async function aPlace(sizeBytes: number, { isInMemory = false } = {}) {
  const limits = { cacheMaxBytes: isInMemory ? 128 * MIB : 0 };
  const place = await openFilePayloads({ limits });
  const event = await claimed(place.payloads, bytesOf(sizeBytes));
  return { place, event, payloads: watch(place.payloads) };
}

const EVENT_HEADERS = 'ce-specversion: 1.0\r\nce-id: r\r\nce-source: /r\r\nce-type: r\r\n';

describe('a subscriber that answers before it has read all of a large body (K34)', () => {
  const answers: readonly { status: string; extra?: string; outcome: Partial<Outcome> }[] = [
    { status: '200 OK', outcome: { kind: 'accepted', status: 200 } },
    { status: '202 Accepted', outcome: { kind: 'accepted', status: 202 } },
    { status: '200 with a reply', extra: EVENT_HEADERS, outcome: { kind: 'replied', status: 200 } },
    { status: '413 Too Large', outcome: { kind: 'rejected', status: 413 } },
    { status: '500 Oops', outcome: { kind: 'rejected', status: 500 } },
  ];
  const cases = answers.flatMap((each) => [
    { ...each, source: 'the file', isInMemory: false },
    { ...each, source: 'memory', isInMemory: true },
  ]);

  test.each(cases)(
    'by $status has answered; its connection ends, and what is open for the body from $source',
    async ({ status, extra = '', outcome, isInMemory }) => {
      const { place, event, payloads } = await aPlace(LARGE_BYTES, { isInMemory });
      const { url, connections } = await rawSubscriber((socket, index) => {
        if (index > 0) return void readRequests(socket, { onWhole: () => accept(socket) });
        socket.once('data', () => {
          socket.pause();
          socket.write(`HTTP/1.1 ${status}\r\n${extra}content-length: 0\r\n\r\n`);
        });
      });
      const deliverer = openDeliverer({ payloads, connectionsPerOriginMax: 1 });
      expect(await deliverer.deliver(requestTo(url, { event }))).toMatchObject(outcome);
      await nothingOpen(place);
      expect([payloads.loans.open, payloads.streams.open]).toEqual([0, 0]);
      // Not lent again: the next request comes on another one.
      expect(await deliverer.deliver(requestTo(url, { event }))).toEqual(ACCEPTED);
      expect(connections).toHaveLength(2);
      connections[0]?.socket.resume();
      expect(await connections[0]?.ended).toBe('ECONNRESET');
    },
  );

  test('by 202 while it goes on reading has accepted it', async () => {
    const { place, event, payloads } = await aPlace(LARGE_BYTES);
    const { url, connections } = await rawSubscriber((socket) => {
      socket.once('data', () => {
        accept(socket);
        socket.resume();
      });
    });
    const outcome = await openDeliverer({ payloads }).deliver(requestTo(url, { event }));
    expect(outcome).toEqual(ACCEPTED);
    expect(await connections[0]?.ended).toBe('ECONNRESET');
    await nothingOpen(place);
  });
});

describe('a large delivery', () => {
  test.each([
    { way: 'closes', leave: (socket: net.Socket) => void socket.destroy() },
    { way: 'resets', leave: (socket: net.Socket) => void socket.resetAndDestroy() },
  ])(
    'to a subscriber that $way in the middle has failed, and leaves nothing open',
    async ({ leave }) => {
      const { place, event, payloads } = await aPlace(LARGE_BYTES);
      const { url } = await rawSubscriber((socket) => {
        socket.once('data', () => {
          leave(socket);
        });
      });
      const outcome = await openDeliverer({ payloads }).deliver(requestTo(url, { event }));
      expect(outcome).toMatchObject({ kind: 'unreachable', code: 'KNEAR_RESET' });
      await nothingOpen(place);
      expect(payloads.streams.open).toBe(0);
    },
  );

  test.each([
    { source: 'the file', isInMemory: false },
    { source: 'memory', isInMemory: true },
  ])(
    'from $source that is aborted in the middle is reset, and leaves nothing open',
    async ({ isInMemory }) => {
      const { place, event, payloads } = await aPlace(LARGE_BYTES, { isInMemory });
      const { url, socket, connections } = await stoppingSubscriber();
      const controller = new AbortController();
      const delivery = openDeliverer({ payloads }).deliver(
        requestTo(url, { event, signal: controller.signal }),
      );
      const reason = new Error('the Trigger is gone');
      const rejected = expect(delivery).rejects.toBe(reason);
      const stopped = await socket;
      controller.abort(reason);
      await rejected;
      stopped.resume();
      expect(await connections[0]?.ended).toBe('ECONNRESET');
      await nothingOpen(place);
      expect([payloads.loans.open, payloads.streams.open]).toEqual([0, 0]);
    },
  );

  test('is waited for by close', async () => {
    const { place, event, payloads } = await aPlace(LARGE_BYTES);
    const { url, socket, requests } = await stoppingSubscriber();
    const deliverer = openDeliverer({ payloads });
    const ends: string[] = [];
    const delivery = deliverer
      .deliver(requestTo(url, { event }))
      .finally(() => ends.push('delivery'));
    const stopped = await socket;
    const closing = deliverer.close().then(() => ends.push('close'));
    await settled(() => payloads.streamedBytes);
    expect(ends).toEqual([]);
    stopped.resume();
    expect(await delivery).toEqual(ACCEPTED);
    await closing;
    expect(ends.toSorted()).toEqual(['close', 'delivery']);
    expect(requests().map(({ bodyBytes }) => bodyBytes)).toEqual([LARGE_BYTES]);
    await nothingOpen(place);
  });

  test.each([
    { source: 'the file', isInMemory: false },
    { source: 'memory', isInMemory: true },
  ])('from $source on a stale connection is sent once more, whole (X4)', async ({ isInMemory }) => {
    const { place, event, payloads } = await aPlace(SEVERAL_BYTES, { isInMemory });
    const requests: WireRequest[][] = [];
    const { url, connections } = await rawSubscriber((socket, index) => {
      const onWhole = () => accept(socket);
      // The second request on the first connection finds that the server has just closed it.
      const onHead = () => index === 0 && requests[0]?.length === 2 && socket.resetAndDestroy();
      requests.push(readRequests(socket, { onHead, onWhole }));
    });
    const deliverer = openDeliverer({ payloads });
    expect(await deliverer.deliver(requestTo(url, { event }))).toEqual(ACCEPTED);
    expect(await deliverer.deliver(requestTo(url, { event }))).toEqual(ACCEPTED);
    expect(connections).toHaveLength(2);
    const [whole, ...others] = requests[1] ?? [];
    expect(sha256Of(Buffer.concat(whole?.body ?? []))).toBe(event.data.sha256);
    expect(others).toEqual([]);
    await nothingOpen(place);
    expect([payloads.loans.open, payloads.streams.open]).toEqual([0, 0]);
  });

  test('that breaks leaves no file open, a hundred times', async () => {
    const { place, event, payloads } = await aPlace(LARGE_BYTES);
    const { url } = await rawSubscriber((socket, index) => {
      socket.once('data', () => {
        socket.pause();
        const answers = [
          () => socket.write('HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n'),
          () => accept(socket),
          () => socket.resetAndDestroy(),
          () => socket.end('SSH-2.0-OpenSSH_9.6\r\n'),
          () => undefined,
        ];
        answers[index % answers.length]?.();
      });
    });
    const clock = new FakeClock();
    const deliverer = openDeliverer({ payloads, clock });
    const outcomes: Outcome[] = [];
    const deliveries = Array.from({ length: 100 }, async () => {
      outcomes.push(await deliverer.deliver(requestTo(url, { event, timeoutMs: 3_000 })));
    });
    await eventually('all but the silent ones', () => outcomes.length === 80);
    clock.advance(3_000);
    await Promise.all(deliveries);
    const kinds = outcomes.map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === 'accepted')).toHaveLength(20);
    expect(kinds.filter((kind) => kind === 'rejected')).toHaveLength(20);
    expect(kinds.filter((kind) => kind === 'unreachable')).toHaveLength(60);
    await nothingOpen(place);
    expect(payloads.streams).toEqual({ open: 0, inAll: 100 });
  });
});
