/**
 * The subscribers of this folder: six functions, each an HTTP server at the address of its pod, and the desk, where what the last
 * step answers arrives. Nothing in here knows knear: they are written as any subscriber is, with the CloudEvents SDK.
 *
 *   reserve, charge, ship   take an order and answer with a new event that tells which pods it has come through
 *   the desk                takes what `ship` answers: 202, nothing to add
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { CloudEvent, HTTP } from 'cloudevents';

export const STEPS = ['reserve', 'charge', 'ship'] as const;
export type Step = (typeof STEPS)[number];

/** As in 1-nodes-and-pods.yaml. */
const PODS: Readonly<Record<Step, Readonly<Record<string, string>>>> = {
  reserve: { 'reserve-1': '127.0.1.1', 'reserve-2': '127.0.1.2', 'reserve-3': '127.0.1.3' },
  charge: { 'charge-1': '127.0.1.4', 'charge-3': '127.0.1.5' },
  ship: { 'ship-3': '127.0.1.6' },
};

const DONE: Readonly<Record<Step, string>> = {
  reserve: 'reserved',
  charge: 'charged',
  ship: 'shipped',
};

/** What a step works before it answers: nearly nothing, so that the ways between the steps are what takes time. */
const WORK_MS = 1;

export interface Order {
  readonly order: string;
  /** That have answered, in order. */
  readonly pods?: readonly string[];
}

export interface Functions {
  /** Of each step, the same at all of its pods; and of the desk, at 127.0.0.1. */
  readonly ports: Readonly<Record<Step | 'desk', number>>;
  /** Calls since the last time that this was asked: step -> pod -> how many. */
  takeCalls(): Record<Step, Record<string, number>>;
  close(): Promise<void>;
}

/** @param onShipped gets what arrives at the desk */
export async function openFunctions(onShipped: (order: Order) => void): Promise<Functions> {
  let calls = noCalls();
  const servers: Server[] = [];
  const openStep = (step: Step) =>
    listenAt(servers, Object.entries(PODS[step]), (pod) => async (event) => {
      calls[step][pod] = (calls[step][pod] ?? 0) + 1;
      await new Promise((resolve) => setTimeout(resolve, WORK_MS));
      return answerOf(event, step, pod);
    });
  const openDesk = () =>
    listenAt(servers, [['desk', '127.0.0.1']], () => ({ data }) => {
      if (data) onShipped(data);
      return Promise.resolve(undefined);
    });
  const ports = {
    reserve: await openStep('reserve'),
    charge: await openStep('charge'),
    ship: await openStep('ship'),
    desk: await openDesk(),
  };
  return {
    ports,
    takeCalls() {
      const taken = calls;
      calls = noCalls();
      return taken;
    },
    async close() {
      await Promise.all(servers.map(closed));
    },
  };
}

function noCalls(): Record<Step, Record<string, number>> {
  const none = (step: Step) => Object.fromEntries(Object.keys(PODS[step]).map((pod) => [pod, 0]));
  return { reserve: none('reserve'), charge: none('charge'), ship: none('ship') };
}

type Run = (event: CloudEvent<Order>) => Promise<CloudEvent<Order> | undefined>;

/** A free port of one address may be in use at another one: then another port is tried. */
const PORTS_MAX = 20;

/** One server at each address, all at one port, as the endpoints of an EndpointSlice are. @returns the port */
async function listenAt(
  servers: Server[],
  places: readonly (readonly [pod: string, address: string])[],
  runAt: (pod: string) => Run,
): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    const opened: Server[] = [];
    try {
      let port = 0;
      for (const [pod, address] of places) {
        const server = serverOf(runAt(pod));
        server.listen(port, address);
        await once(server, 'listening');
        opened.push(server);
        // An object after `listening` on a port (a string is for sockets in the file system).
        ({ port } = server.address() as AddressInfo);
      }
      servers.push(...opened);
      return port;
    } catch (error) {
      await Promise.all(opened.map(closed));
      const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (!isTaken || tries === PORTS_MAX) throw error;
    }
  }
}

function serverOf(run: Run): Server {
  return createServer((request, response) => {
    handle(request, response, run).catch((error: unknown) => {
      response.writeHead(400, { 'content-type': 'text/plain' }).end(`${String(error)}\n`);
    });
  });
}

async function handle(request: IncomingMessage, response: ServerResponse, run: Run): Promise<void> {
  const body = await text(request);
  const event = HTTP.toEvent<Order>({ headers: request.headers, body });
  if (Array.isArray(event)) throw new TypeError('one event at a time, please');
  const reply = await run(new CloudEvent(event, false));
  if (reply === undefined) {
    response.writeHead(202).end();
    return;
  }
  const message = HTTP.binary(reply);
  response.writeHead(200, { ...message.headers }).end(message.body);
}

/** The id follows from the one that came: an event that comes twice is answered with the same event twice. */
function answerOf({ id, data }: CloudEvent<Order>, step: Step, pod: string): CloudEvent<Order> {
  // The type is what we hope for; what comes is anything.
  if (typeof data?.order !== 'string') throw new TypeError(`${step} wants {"order": "..."}`);
  return new CloudEvent({
    id: `${id}-${DONE[step]}`,
    source: `/placement/${step}`,
    type: `order.${DONE[step]}`,
    datacontenttype: 'application/json',
    data: { order: data.order, pods: [...(data.pods ?? []), pod] },
  });
}

async function closed(server: Server): Promise<void> {
  const over = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await over;
}
