/**
 * The second floor, a process of its own: what any broker in Node pays for the same exchanges before it does anything.
 * node:http in, undici out, no log, no parsing; 202 once the subscriber has answered.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';
import { serveParent } from './child-side.ts';
import type { RelayCalls } from './protocol.ts';

type Shape = RelayCalls['shape']['ask'];

interface Event {
  readonly headers: Record<string, string>;
  readonly data: Buffer;
}

/** As many as a dispatcher would use towards one busy endpoint; 16 and 64 measure the same. */
const CONNECTIONS = 64;

function main(): void {
  let shape: Shape = { subscriberPort: 0, steps: 0, copies: 1 };
  let pool: Pool | undefined;

  const server = createServer((request, response) => {
    if (pool === undefined) refuse(response);
    else
      relay({ pool, shape, request }).then(
        () => accept(response),
        () => refuse(response),
      );
  });
  server.listen(0, '127.0.0.1', () => {
    // A listening TCP server has an address with a port.
    serveParent<RelayCalls>((server.address() as AddressInfo).port, {
      async shape(ask) {
        await pool?.close();
        pool = new Pool(`http://127.0.0.1:${ask.subscriberPort}`, { connections: CONNECTIONS });
        shape = ask;
        return null;
      },
    });
  });
}

interface Exchange {
  readonly pool: Pool;
  readonly shape: Shape;
  readonly request: IncomingMessage;
}

async function relay({ pool, shape, request }: Exchange): Promise<void> {
  let event: Event = { headers: eventHeaders(request.headers), data: await readAll(request) };
  for (let step = 0; step < shape.steps; step += 1) event = await post(pool, '/echo', event);
  const sinks = Array.from({ length: shape.copies }, async (_, lane) =>
    post(pool, `/sink/${lane}`, event),
  );
  await Promise.all(sinks);
}

async function post(pool: Pool, path: string, { headers, data }: Event): Promise<Event> {
  const reply = await pool.request({ path, method: 'POST', headers, body: data });
  const event = {
    headers: eventHeaders(reply.headers),
    data: Buffer.from(await reply.body.arrayBuffer()),
  };
  if (reply.statusCode >= 300) throw new Error(`answered ${reply.statusCode}`);
  return event;
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer); // no encoding is set: chunks are buffers
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

function eventHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value === 'string' && (name.startsWith('ce-') || name === 'content-type')) {
      kept[name] = value;
    }
  }
  return kept;
}

function accept(response: ServerResponse): void {
  response.writeHead(202, { 'content-length': '0' }).end();
}

function refuse(response: ServerResponse): void {
  response.writeHead(503, { 'content-length': '0' }).end();
}

main();
