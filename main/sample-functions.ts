/**
 * The subscribers of config/samples/quickstart: five small functions behind one HTTP server. Nothing in here knows
 * knear; it is written as any subscriber is, with the CloudEvents SDK, and may be copied as a start.
 *
 *   /orders, /audit          print what they get and answer 202: "taken, nothing to add"
 *   /reserve, /charge, /ship answer 200 with a new event, which the Broker or Channel passes on
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { CloudEvent, HTTP, type CloudEventV1 } from 'cloudevents';
import { KnearError } from '../core/errors.ts';

export interface SampleFunctionsOptions {
  /** 18080 in the quickstart; 0 takes any free one. */
  readonly port: number;
  /** Gets the lines of /orders and /audit. */
  readonly print: (line: string) => void;
}

export interface SampleFunctions {
  readonly url: string;
  close(): Promise<void>;
}

type Print = SampleFunctionsOptions['print'];
type Order = Record<string, unknown>;
type Event = CloudEventV1<Order>;
type Answer = CloudEvent<Order> | undefined;

const FUNCTIONS: Readonly<Record<string, (event: Event, print: Print) => Answer>> = {
  '/orders': (event, print) => show(event, 'orders', print),
  '/audit': (event, print) => show(event, 'audit', print),
  '/reserve': (event) => answer(event, 'reserve', 'reserved', { reserved: true }),
  '/charge': (event) => answer(event, 'charge', 'charged', { charged: true }),
  '/ship': (event) => answer(event, 'ship', 'shipped', { tracking: `parcel-${event.id}` }),
};

/** @throws KNEAR_PORT_IN_USE */
export async function openSampleFunctions({
  port,
  print,
}: SampleFunctionsOptions): Promise<SampleFunctions> {
  const server = createServer((request, response) => {
    handle(request, response, print).catch((error: unknown) => {
      response.writeHead(400, { 'content-type': 'text/plain' }).end(`${String(error)}\n`);
    });
  });
  server.listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch (error) {
    throw asPortError(error, port);
  }
  // An object after `listening` on a port (a string is for sockets in the file system).
  const address = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${String(address.port)}`,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function handle(request: IncomingMessage, response: ServerResponse, print: Print) {
  const run = FUNCTIONS[request.url ?? ''];
  if (run === undefined || request.method !== 'POST') {
    const names = Object.keys(FUNCTIONS).join(', ');
    response.writeHead(404, { 'content-type': 'text/plain' });
    response.end(`There are POST ${names}.\n`);
    return;
  }
  if (Number(request.headers['content-length']) > LARGE_BYTES) {
    await takeLarge(request, print);
    response.writeHead(202).end();
    return;
  }
  const body = await text(request);
  const event = HTTP.toEvent<Order>({ headers: request.headers, body });
  if (Array.isArray(event)) throw new TypeError('one event at a time, please');
  const reply = run(event, print);
  if (reply === undefined) {
    response.writeHead(202).end();
    return;
  }
  const message = HTTP.binary(reply);
  response.writeHead(200, { ...message.headers }).end(message.body);
}

/** Larger data is looked at as it comes, as a subscriber should: nobody has to hold 50 MB to know what they are. */
const LARGE_BYTES = 64 * 1024;

/** `14:03:07  audit   order.photo    photo-1  50,000,000 bytes, sha256 0f1e2d…` */
async function takeLarge(request: IncomingMessage, print: Print): Promise<void> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of request) {
    // Without an encoding, streams of node:http give bytes.
    const bytes = chunk as Buffer;
    hash.update(bytes);
    sizeBytes += bytes.byteLength;
  }
  const { url = '', headers } = request;
  const data = `${sizeBytes.toLocaleString('en')} bytes, sha256 ${hash.digest('hex')}`;
  const [type, id] = [headers['ce-type'], headers['ce-id']].map(String);
  print(lineOf(url.slice(1), [type, id, data]));
}

function lineOf(name: string, [type = '', id = '', data = '']: readonly (string | undefined)[]) {
  const time = new Date().toTimeString().slice(0, 8);
  return [time, name.padEnd(6), type.padEnd(13), id, data].join('  ');
}

/** `14:03:07  orders  order.created  order-1  {"order":"A-1"}` */
function show(event: Event, name: string, print: Print): undefined {
  // The SDK gives an empty text where there was no body.
  const data: unknown = event.data ?? '';
  const shown = data === '' ? 'no data' : shorten(JSON.stringify(data));
  print(lineOf(name, [event.type, event.id, shown]));
}

function shorten(line: string): string {
  // 60: with the columns before it, about the width of a terminal.
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}

/**
 * What became of the order. The id follows from the one that came, so that an event that is delivered twice is answered
 * with the same event twice, and whoever cares can tell.
 */
function answer(event: Event, name: string, done: string, news: Order): Answer {
  // The type is what we hope for; what comes is anything.
  const order: unknown = event.data;
  if (typeof order !== 'object' || order === null || Array.isArray(order)) {
    throw new TypeError(`/${name} wants a JSON object`);
  }
  return new CloudEvent({
    id: `${event.id}-${done}`,
    source: `/sample/${name}`,
    type: `order.${done}`,
    ...(event.subject !== undefined && { subject: event.subject }),
    datacontenttype: 'application/json',
    data: { ...order, ...news },
  });
}

function asPortError(error: unknown, port: number): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') return error;
  return new KnearError(
    'KNEAR_PORT_IN_USE',
    `The sample functions need 127.0.0.1:${String(port)}, where another program listens. ` +
      'End that program, or serve resources of your own (--resources).',
    { cause: error },
  );
}
