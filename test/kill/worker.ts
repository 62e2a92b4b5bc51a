/**
 * Every subscriber of the kill test, as one HTTP server that misbehaves at random: it fails, is slow, breaks connections
 * (in the middle of large data, too), and breaks them after it has done its work. It keeps ids and counts, no bodies, so
 * that a long run needs little memory.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { contentOf, contentPieces } from '../e2e/content.ts';
import { pause } from '../e2e/eventually.ts';
import { binary } from '../e2e/producer.ts';
import type { SeededRandom } from '../sim/random.ts';
import { isLarge, isWhole } from './body.ts';
import { resultOf, STEPS } from './scenery.ts';

/** What one path has taken: each id with how often, in the order in which they first were. */
export type Taken = ReadonlyMap<string, number>;

export interface Worker {
  readonly url: string;
  /** Requests, failed ones included. */
  readonly requests: number;
  /** Events that arrived complete and were not as they were sent. */
  readonly torn: readonly string[];
  /** From now on it takes everything, at once. */
  heal(): void;
  taken(path: string): Taken;
  paths(): readonly string[];
  close(): Promise<void>;
}

export async function openWorker(random: SeededRandom): Promise<Worker> {
  const taken = new Map<string, Map<string, number>>();
  const attempts = new Map<string, number>();
  const torn: string[] = [];
  let requests = 0;
  let isHealed = false;

  function take(path: string, id: string): void {
    const ofPath = taken.get(path) ?? new Map<string, number>();
    taken.set(path, ofPath);
    ofPath.set(id, (ofPath.get(id) ?? 0) + 1);
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    const sent = sentIn(request);
    const key = `${path} ${sent.id}`;
    const nth = (attempts.get(key) ?? 0) + 1;
    attempts.set(key, nth);
    requests += 1;
    const mood = isHealed ? HEALTHY : moodOf(path, nth, random);
    if (mood.kind === 'breaks' && isLarge(sent)) return breakHalfway(request, sent);
    if (!(await isWhole(request, { ...sent, id: sentId(sent.id) }))) torn.push(key);
    if (mood.afterMs > 0) await pause(mood.afterMs);
    if (mood.kind === 'takes' || mood.kind === 'takes-and-breaks') take(path, sent.id);
    if (mood.kind === 'takes') answer(response, path, sent);
    else if (mood.kind === 'fails') response.writeHead(500).end('not now');
    else breakOff(response, path, sent);
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
    heal() {
      isHealed = true;
    },
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

const HEALTHY: Mood = { kind: 'takes', afterMs: 0 };

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

/** What a request says that it brings. */
interface Sent {
  readonly id: string;
  readonly sizeBytes: number;
}

function sentIn({ headers }: IncomingMessage): Sent {
  return { id: String(headers['ce-id']), sizeBytes: Number(headers['ce-size']) };
}

function answer(response: ServerResponse, path: string, sent: Sent): void {
  const reply = replyOf(path, sent);
  if (!reply) response.writeHead(202).end();
  else if (!isLarge(sent))
    response.writeHead(200, reply).end(contentOf(sentId(sent.id), sent.sizeBytes));
  // In chunks: nobody knows beforehand how large it is.
  else contentOfSent(sent, sent.sizeBytes).pipe(response.writeHead(200, reply));
}

/** After the work is done; the answer, if it is a large one, comes by half. */
function breakOff(response: ServerResponse, path: string, sent: Sent): void {
  const reply = replyOf(path, sent);
  const reset = () => void response.socket?.resetAndDestroy();
  if (!reply || !isLarge(sent)) return reset();
  const half = contentOfSent(sent, Math.floor(sent.sizeBytes / 2));
  half.on('end', reset).pipe(response.writeHead(200, reply), { end: false });
}

function breakHalfway(request: IncomingMessage, { sizeBytes }: Sent): void {
  let leftBytes = sizeBytes / 2;
  request.on('data', (piece: Buffer) => {
    leftBytes -= piece.byteLength;
    if (leftBytes < 0) request.socket.resetAndDestroy();
  });
}

function contentOfSent({ id }: Sent, sizeBytes: number): Readable {
  return Readable.from(contentPieces(sentId(id), sizeBytes));
}

/** What a step of the chain answers: the head of the event for the next one, with the same data. */
function replyOf(path: string, { id, sizeBytes }: Sent) {
  const step = STEPS.find((each) => path === `/step-${String(each)}`);
  if (step === undefined) return undefined;
  const isLast = step === STEPS.length;
  return binary({
    id: isLast ? resultOf(id) : id,
    type: isLast ? 'kill.result' : `kill.after-${String(step)}`,
    size: String(sizeBytes),
  });
}

function sentId(id: string): string {
  return id.replace(/\.result$/, '');
}
