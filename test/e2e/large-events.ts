/**
 * Producer and subscriber of large events: both only ever hold a piece of the data, which follows from a name
 * (`content.ts`). The subscriber tells of each request what it brought, as size and digest, and whether it came to its end.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { contentPieces, openContent, type Digested } from './content.ts';
import { binary, type Answered, type Headers } from './producer.ts';

/** What the data follows from, and how much of it there is. */
export interface Content {
  readonly name: string;
  readonly sizeBytes: number;
}

export interface LargePost {
  readonly headers: Headers;
  readonly content: Content;
  /** Without a Content-Length. */
  readonly isChunked?: boolean;
}

/** An event in binary mode with this data; its id is the name of it. */
export function eventOf(content: Content, type = 'large'): LargePost {
  const headers = { ...binary({ id: content.name, type }), 'content-type': 'application/x-noise' };
  return { headers, content };
}

/** A minute: longer than any of them takes, shorter than a test run that hangs. */
const ANSWER_MAX_MS = 60_000;

/** Sends the data as it is made. An answer that comes before all of it is sent ends it. @throws when there is none. */
export async function postLarge(
  url: string,
  { headers, content, isChunked = false }: LargePost,
): Promise<Answered> {
  const length = isChunked ? {} : { 'content-length': String(content.sizeBytes) };
  const outgoing = request(url, {
    agent: false,
    method: 'POST',
    headers: { ...length, ...headers },
    signal: AbortSignal.timeout(ANSWER_MAX_MS),
  });
  const answered = once(outgoing, 'response');
  const sent = pipeline(contentPieces(content.name, content.sizeBytes), outgoing);
  // Who answers early may end the connection; what counts is the answer.
  sent.catch(() => undefined);
  // As node:http declares the event.
  const [response] = (await answered) as [IncomingMessage];
  const body = await text(response);
  const all = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
  return { status: response.statusCode ?? 0, headers: Object.fromEntries(all), body };
}

export interface HalfPost {
  /** Sends what is missing, and resolves with what came back by the time the connection ended. */
  complete(): Promise<string>;
  /** The producer is gone, without a word. */
  breakOff(): void;
}

/** Sends the head and half of the data, and stops there. */
export async function postHalf(
  url: string,
  { headers, content, isChunked = false }: LargePost,
): Promise<HalfPost> {
  const { hostname, port, host, pathname } = new URL(url);
  const socket = connect(Number(port), hostname);
  let received = '';
  socket.setEncoding('latin1').on('data', (piece: string) => (received += piece));
  // It may be reset in the middle of what is written: that is what the test is about.
  socket.on('error', () => undefined);
  const ended = new Promise((resolve) => socket.on('close', resolve));
  const half = Math.floor(content.sizeBytes / 2);
  const rest = content.sizeBytes - half;
  const next = openContent(content.name);
  const framed = (sizeBytes: number) => (isChunked ? chunk(next(sizeBytes)) : next(sizeBytes));
  const all: Headers = {
    host,
    connection: 'close',
    ...(isChunked
      ? { 'transfer-encoding': 'chunked' }
      : { 'content-length': String(content.sizeBytes) }),
    ...headers,
  };
  const head = Object.entries(all).map((each) => `${each.join(': ')}\r\n`);
  socket.write(`POST ${pathname} HTTP/1.1\r\n${head.join('')}\r\n`);
  await new Promise<void>((resolve) => socket.write(framed(half), () => resolve()));
  return {
    async complete() {
      socket.end(Buffer.concat([framed(rest), Buffer.from(isChunked ? '0\r\n\r\n' : '')]));
      await ended;
      return received;
    },
    breakOff: () => void socket.resetAndDestroy(),
  };
}

function chunk(data: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')]);
}

/** One request, as far as it came. */
export interface LargeReceived extends Digested {
  readonly path: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly id: string;
  /** False: it broke off. */
  readonly isComplete: boolean;
}

export interface LargeAnswer {
  readonly status: number;
  readonly headers?: Headers;
  readonly content?: Content;
  /** Runs when half of the content is sent; the rest waits for it. */
  readonly halfway?: () => Promise<void>;
}

export interface LargeSubscriber {
  readonly url: string;
  /** What came to a path; grows with what comes. */
  at(path: string): readonly LargeReceived[];
  /** From now on it gives this answer on this path; 202 where nothing is said. */
  on(path: string, answer: LargeAnswer): void;
  /** The same, before it has read the data, of which it then reads nothing. */
  onHead(path: string, answer: LargeAnswer): void;
  close(): Promise<void>;
}

export async function openLargeSubscriber(): Promise<LargeSubscriber> {
  const byPath = new Map<string, LargeReceived[]>();
  const answers = new Map<string, LargeAnswer>();
  const early = new Map<string, LargeAnswer>();

  function at(path: string): LargeReceived[] {
    const known = byPath.get(path) ?? [];
    byPath.set(path, known);
    return known;
  }

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = incoming.url ?? '';
    const atOnce = early.get(path);
    if (atOnce) return give(response, atOnce);
    const received = await receive(incoming);
    at(path).push(received);
    if (received.isComplete) await give(response, answers.get(path) ?? { status: 202 });
  }

  const server = createServer((incoming, response) => {
    // A program that is gone in the middle of an answer is what these tests are about.
    serve(incoming, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // An object after `listening` on a port.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${String(port)}`,
    at,
    on: (path, answer) => void answers.set(path, answer),
    onHead: (path, answer) => void early.set(path, answer),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function receive(incoming: IncomingMessage): Promise<LargeReceived> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  try {
    for await (const piece of incoming) {
      // A request without an encoding gives bytes.
      const bytes = piece as Buffer;
      sizeBytes += bytes.byteLength;
      hash.update(bytes);
    }
  } catch {
    // It broke off, as `complete` says.
  }
  return {
    path: incoming.url ?? '',
    // Repeated headers do not occur in a delivery; joined, they would be noticed.
    headers: Object.fromEntries(
      Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]),
    ),
    id: String(incoming.headers['ce-id'] ?? ''),
    isComplete: incoming.complete,
    sizeBytes,
    sha256: hash.digest('base64url'),
  };
}

async function give(response: ServerResponse, answer: LargeAnswer): Promise<void> {
  const { status, headers = {}, content, halfway } = answer;
  response.writeHead(status, headers);
  if (content) await pipeline(Readable.from(stopping(content, halfway)), response);
  else response.end();
}

async function* stopping(
  { name, sizeBytes }: Content,
  halfway: LargeAnswer['halfway'],
): AsyncGenerator<Buffer> {
  const half = Math.floor(sizeBytes / 2);
  const next = openContent(name);
  yield next(half);
  await halfway?.();
  yield next(sizeBytes - half);
}
