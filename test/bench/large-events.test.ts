/**
 * Goal: the bench sends and takes events that fit into no memory, so that what it says of large payloads is about the
 * program and not about itself. Method: its real processes and real sockets, with the subscriber, or a server that turns
 * everything away, in place of the program.
 */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { openStage, measure, type Stage } from '../../bench/stage.ts';
import { pathOf } from '../../bench/wire.ts';

const MB = 1_000_000;

let stage: Stage;
let server: Server | undefined;
let sockets: Socket[] = [];

beforeEach(async () => {
  stage = await openStage('embedded');
});

afterEach(async () => {
  stage.children.endAll();
  for (const socket of sockets) socket.destroy();
  sockets = [];
  const open = server;
  server = undefined;
  await new Promise<void>((done) => (open ? open.close(() => done()) : done()));
});

test('large events of several senders all arrive, each once', async () => {
  const { sent, accepted, deliveries, lost, duplicates } = await measureDirect({
    dataBytes: 20 * MB,
    senders: 3,
    events: 7,
  });
  expect({ sent, accepted, deliveries, lost, duplicates }).toEqual({
    sent: 7,
    accepted: 7,
    deliveries: 7,
    lost: 0,
    duplicates: 0,
  });
});

test.each(['load', 'subscriber'] as const)(
  'the %s of an event of 400 MB holds a small part of it',
  async (who) => {
    await measureDirect({ dataBytes: 5 * MB, senders: 1, events: 2 });
    const { lost, anonGrowthMb } = await measureDirect({
      dataBytes: 400 * MB,
      senders: 1,
      events: 1,
      watchPid: stage[who].pid,
    });
    expect(lost).toBe(0);
    expect(anonGrowthMb).toBeLessThan(200);
  },
);

test('an event that is turned away in the middle counts once, and the next goes over a new connection', async () => {
  const heads: string[] = [];
  const port = await listen(heads);
  const { status } = await stage.load.call('load', {
    kind: 'closed',
    aim: { port, path: '/full' },
    run: 1,
    type: 'bench.match',
    dataBytes: 50 * MB,
    senders: 1,
    until: { events: 3 },
  });
  expect(Array.from(status)).toEqual([413, 413, 413]);
  expect(heads.map(pathOf)).toEqual(['/full', '/full', '/full']);
});

interface Direct {
  readonly dataBytes: number;
  readonly senders: number;
  readonly events: number;
  readonly watchPid?: number;
}

async function measureDirect({ dataBytes, senders, events, ...watch }: Direct) {
  return measure(stage, {
    aim: { port: stage.subscriber.port, path: '/sink/0' },
    load: { kind: 'closed', dataBytes, senders, until: { events } },
    lanes: 1,
    type: 'bench.match',
    ...watch,
  });
}

/** Reads the head of a request, answers 413 and reads no more. */
async function listen(heads: string[]): Promise<number> {
  const refusing = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => socket.destroy());
    socket.once('data', (chunk: Buffer) => {
      heads.push(chunk.toString('latin1', 0, chunk.indexOf('\r\n\r\n')));
      socket.pause();
      socket.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n');
    });
  });
  server = refusing;
  await new Promise<void>((done) => refusing.listen(0, '127.0.0.1', done));
  // A listening TCP server has an address with a port.
  return (refusing.address() as AddressInfo).port;
}
