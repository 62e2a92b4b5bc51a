/**
 * A real subscriber: an HTTP server on a free port that records every request, then answers as the test says.
 *
 * It judges nothing itself, so that a test sees what arrived and not what should have.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { pause } from './eventually.ts';

/** One request, as it arrived. */
export interface Received {
  readonly path: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
  /** Monotonic, when the whole request was there. */
  readonly atMs: number;
  /** The event's id, in whichever mode it came. */
  readonly id: string;
  readonly type: string;
  /** How often this path has had this id, this time included. */
  readonly nth: number;
}

export interface Reply {
  /** 202 unless said. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Works for so long before it answers. */
  readonly afterMs?: number;
  /** Breaks the connection instead of answering. */
  readonly isReset?: boolean;
}

export type Script = (received: Received) => Reply | Promise<Reply>;

/** A script: never answers. */
export const HANG: Script = () => new Promise(() => undefined);

export interface Subscriber {
  readonly url: string;
  readonly port: number;
  /** Everything, in the order of arrival. */
  readonly received: readonly Received[];
  /** What came to a path; grows with what comes. */
  at(path: string): readonly Received[];
  /** From now on, answers on this path as the script says; 202 on paths without one. */
  on(path: string, script: Script): void;
  /** How many requests are without an answer. */
  readonly inFlight: number;
  close(): Promise<void>;
}

export async function openSubscriber(host = '127.0.0.1'): Promise<Subscriber> {
  const received: Received[] = [];
  const byPath = new Map<string, Received[]>();
  const scripts = new Map<string, Script>();
  const seen = new Map<string, number>();
  let inFlight = 0;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    const one = record(request, body);
    inFlight += 1;
    try {
      await answer(response, (await scripts.get(one.path)?.(one)) ?? {});
    } finally {
      inFlight -= 1;
    }
  }

  function record(request: IncomingMessage, body: Buffer): Received {
    const path = request.url ?? '';
    const headers = singleHeaders(request);
    const { id, type } = identityOf(headers, body);
    const key = `${path} ${id}`;
    const nth = (seen.get(key) ?? 0) + 1;
    seen.set(key, nth);
    const one = { path, headers, body, atMs: performance.now(), id, type, nth };
    received.push(one);
    at(path).push(one);
    return one;
  }

  /** The list of a path, which grows with what comes. */
  function at(path: string): Received[] {
    const known = byPath.get(path) ?? [];
    byPath.set(path, known);
    return known;
  }

  const server = createServer((request, response) => {
    // A program that was killed in the middle of a request is what these tests are about.
    serve(request, response).catch(() => response.destroy());
  });
  server.listen(0, host);
  await once(server, 'listening');
  // An object after `listening` on a port.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${host}:${String(port)}`,
    port,
    received,
    at,
    on: (path, script) => void scripts.set(path, script),
    get inFlight() {
      return inFlight;
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(response: ServerResponse, reply: Reply): Promise<void> {
  const { status = 202, headers = {}, body, afterMs = 0, isReset = false } = reply;
  if (afterMs > 0) await pause(afterMs);
  if (isReset) {
    response.socket?.resetAndDestroy();
    return;
  }
  response.writeHead(status, headers).end(body);
}

/** Repeated headers do not occur in a delivery; joined, they would be noticed. */
function singleHeaders({ headers }: IncomingMessage): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(', ') : value,
    ]),
  );
}

function identityOf(
  headers: Received['headers'],
  body: Buffer,
): { readonly id: string; readonly type: string } {
  const isStructured = headers['content-type']?.startsWith('application/cloudevents+json') ?? false;
  if (!isStructured) return { id: headers['ce-id'] ?? '', type: headers['ce-type'] ?? '' };
  // What the program sends as a structured event is one, or the test that looks at it fails.
  return JSON.parse(body.toString()) as { id: string; type: string };
}
