/**
 * SIGTERM under load. Producers send as fast as they can until they are turned away; nothing that was answered 202 may be
 * missing in the end, whoever was late is told so, and the program ends well.
 */
import { afterEach, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { connect, type Socket } from 'node:net';
import { eventually } from './eventually.ts';
import { broker, trigger, yamlOf } from './manifests.ts';
import { binary, post } from './producer.ts';
import type { Program } from './program.ts';
import { openStage } from './stage.ts';

const stage = openStage();
const sockets: Socket[] = [];
const agent = new Agent({ keepAlive: true });

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  agent.destroy();
  await stage.close();
});

function resources(url: string): string {
  return yamlOf(
    broker('main'),
    trigger('slow', { subscriber: `${url}/slow` }),
    trigger('flaky', {
      subscriber: `${url}/flaky`,
      delivery: { retry: 20, backoffPolicy: 'linear', backoffDelay: 'PT0.05S' },
    }),
  );
}

/** Sends until it is refused; adds the ids that were taken, and returns how it ended: a status, or a system's code. */
async function produce(
  program: Program,
  name: string,
  taken: Set<string>,
): Promise<number | string> {
  for (let index = 0; ; index += 1) {
    const id = `${name}-${String(index)}`;
    try {
      const url = `${program.url}/default/main`;
      const { status } = await post(url, { headers: binary({ id, type: 't' }), body: id }, agent);
      if (status !== 202) return status;
      taken.add(id);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error);
    }
  }
}

test('under load loses nothing that was acknowledged', async () => {
  const subscriber = await stage.subscriber();
  subscriber.on('/slow', () => ({ afterMs: 20 }));
  subscriber.on('/flaky', ({ nth }) => (nth === 1 ? { status: 503 } : {}));
  const program = await stage.start(resources(subscriber.url));
  const taken = new Set<string>();
  const producers = Array.from({ length: 8 }, (_, index) =>
    produce(program, `p${String(index)}`, taken),
  );
  await eventually('some load', () => taken.size > 300);

  program.terminate();
  const ends = await Promise.all(producers);
  expect(await program.ended()).toEqual({ code: 0, signal: null });

  // Connections that were open end by an answer or by their end; those that came later found nobody.
  for (const end of ends) expect([503, 'ECONNREFUSED', 'ECONNRESET']).toContain(end);
  await program.start();
  await program.idle();
  for (const path of ['/slow', '/flaky']) {
    const arrived = new Set(subscriber.at(path).map(({ id }) => id));
    expect([...taken].filter((id) => !arrived.has(id))).toEqual([]);
  }
  expect(program.complaints).toEqual([]);
});

test('takes the event that was on its way in, and answers 503 to one that comes later', async () => {
  const subscriber = await stage.subscriber();
  const program = await stage.start(resources(subscriber.url));
  const { port, host } = new URL(program.url);
  const head = [
    'POST /default/main HTTP/1.1',
    `host: ${host}`,
    ...['specversion: 1.0', 'id: early', 'source: /e2e', 'type: t'].map((line) => `ce-${line}`),
    'content-length: 4',
  ];
  const early = await open(Number(port));
  const late = await open(Number(port));
  early.socket.write(`${head.join('\r\n')}\r\nexpect: 100-continue\r\n\r\n`);
  await eventually('the wish for the body', () => early.text().includes(' 100 Continue\r\n'));
  early.socket.write('da');

  program.terminate();
  await eventually('a closed door', () => isClosed(Number(port)));
  late.socket.write(`${head.join('\r\n').replace('early', 'late')}\r\n\r\ndata`);
  // Head and body may come apart.
  await eventually('an answer to the late one', () => late.text().endsWith('}'), {
    otherwise: () => late.text(),
  });
  early.socket.write('ta');
  await eventually('an answer to the early one', () => / [2-5]\d\d /.test(early.text()), {
    otherwise: () => early.text(),
  });

  expect(late.text()).toMatch(/^HTTP\/1\.1 503 /);
  expect(late.text()).toMatch(/^retry-after: \d+\r$/im);
  expect(late.text()).toMatch(/^connection: close\r$/im);
  expect(late.text()).toContain('KNEAR_DRAINING');
  expect(early.text()).toMatch(/^HTTP\/1\.1 202 /m);
  expect(await program.ended()).toEqual({ code: 0, signal: null });
  await program.start();
  await program.idle();
  const ids = subscriber.at('/slow').map(({ id }) => id);
  expect(new Set(ids)).toEqual(new Set(['early']));
});

interface Connection {
  readonly socket: Socket;
  /** What came on it. */
  text(): string;
}

async function open(port: number): Promise<Connection> {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  let received = '';
  socket.setEncoding('utf8').on('data', (text: string) => (received += text));
  // What the other side makes of the connection shows in `text`.
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return { socket, text: () => received };
}

async function isClosed(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(false)).once('error', () => resolve(true));
  });
}
