/**
 * Every subscriber of the kill test, as one HTTP server that misbehaves at random: it fails, is slow, breaks connections,
 * and breaks them after it has done its work. It keeps ids and counts, no bodies, so that a long run needs little memory.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { pause } from '../e2e/eventually.ts';
import { binary } from '../e2e/producer.ts';
import type { SeededRandom } from '../sim/random.ts';
import { bodyOf } from './body.ts';
import { resultOf, STEPS } from './scenery.ts';

/** What one path has taken: each id with how often, in the order in which they first were. */
export type Taken = ReadonlyMap<string, number>;

export interface Worker {
  readonly url: string;
  /** Requests, failed ones included. */
  readonly requests: number;
  /** Events that did not arrive as they were sent. */
  readonly torn: readonly string[];
  taken(path: string): Taken;
  paths(): readonly string[];
  close(): Promise<void>;
}

export async function openWorker(random: SeededRandom): Promise<Worker> {
  const taken = new Map<string, Map<string, number>>();
  const attempts = new Map<string, number>();
  const torn: string[] = [];
  let requests = 0;

  function take(path: string, id: string): void {
    const ofPath = taken.get(path) ?? new Map<string, number>();
    taken.set(path, ofPath);
    ofPath.set(id, (ofPath.get(id) ?? 0) + 1);
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    const path = request.url ?? '';
    const id = String(request.headers['ce-id']);
    const key = `${path} ${id}`;
    const nth = (attempts.get(key) ?? 0) + 1;
    attempts.set(key, nth);
    requests += 1;
    if (!body.equals(bodyOf(sentId(id), body.byteLength)) || isShort(request, body)) torn.push(key);
    const mood = moodOf(path, nth, random);
    if (mood.afterMs > 0) await pause(mood.afterMs);
    if (mood.kind === 'takes' || mood.kind === 'takes-and-breaks') take(path, id);
    if (mood.kind === 'breaks' || mood.kind === 'takes-and-breaks') {
      response.socket?.resetAndDestroy();
    } else if (mood.kind === 'fails') {
      response.writeHead(500).end('not now');
    } else {
      const reply = replyOf(request, path, id);
      response.writeHead(reply ? 200 : 202, reply ?? {}).end(reply ? body : undefined);
    }
  }

  const server = createServer((request, response) => {
    // The program was killed in the middle of its request.
    serve(request, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // An object after `listening` on a port.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${String(port)}`,
    get requests() {
      return requests;
    },
    torn,
    taken: (path) => taken.get(path) ?? new Map<string, number>(),
    paths: () => [...taken.keys()],
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

interface Mood {
  readonly kind: 'takes' | 'takes-and-breaks' | 'breaks' | 'fails';
  readonly afterMs: number;
}

/** Attempts that `/late` fails before it takes an event. */
const LATE_ATTEMPTS = 2;

function moodOf(path: string, nth: number, random: SeededRandom): Mood {
  if (path === '/doomed' || path === '/parked') return { kind: 'fails', afterMs: 0 };
  if (path === '/late' && nth <= LATE_ATTEMPTS) return { kind: 'fails', afterMs: 0 };
  // A sink that fails like the rest would park what others have failed; seldom is enough to see that it may.
  if (path.startsWith('/dead/'))
    return { kind: random.chance(0.05) ? 'fails' : 'takes', afterMs: 0 };
  return { kind: kindOf(random), afterMs: slownessMs(random) };
}

function kindOf(random: SeededRandom): Mood['kind'] {
  const roll = random.next();
  if (roll < 0.18) return 'fails';
  if (roll < 0.22) return 'breaks';
  return roll < 0.25 ? 'takes-and-breaks' : 'takes';
}

function slownessMs(random: SeededRandom): number {
  const roll = random.next();
  // Beyond the time limit of a delivery, 1 s: an answer that nobody waits for any more.
  if (roll < 0.003) return 1_300;
  return roll < 0.08 ? random.between(20, 200) : 0;
}

/** What a step of the chain answers: the event for the next one. */
function replyOf({ headers }: IncomingMessage, path: string, id: string) {
  const step = STEPS.find((each) => path === `/step-${String(each)}`);
  if (step === undefined) return undefined;
  const isLast = step === STEPS.length;
  return binary({
    id: isLast ? resultOf(id) : id,
    type: isLast ? 'kill.result' : `kill.after-${String(step)}`,
    size: String(headers['ce-size']),
  });
}

function sentId(id: string): string {
  return id.replace(/\.result$/, '');
}

function isShort({ headers }: IncomingMessage, body: Buffer): boolean {
  return Number(headers['ce-size']) !== body.byteLength;
}
