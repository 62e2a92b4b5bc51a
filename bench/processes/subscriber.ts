/**
 * The subscriber, a process of its own: takes events as cheaply as possible and remembers which arrived when.
 *
 * - `POST /sink/<lane>`: 202 at once, and counted
 * - `POST /echo`: 200 with the same event (a step of a chain)
 * - `POST /work`: the same, when one of a few workers has waited over it (`WORK`); it takes no CPU time
 * - `POST /hang`: read, never answered
 *
 * Raw sockets and `wire.ts`, see there for the reason.
 */
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { nowUs } from '../clock.ts';
import { createScanner, pathOf, sequenceOf } from '../wire.ts';
import { serveParent } from './child-side.ts';
import { WORK, type Arrivals, type SubscriberCalls } from './protocol.ts';

/** Grows by doubling; the first size holds a short run without growing. */
const FIRST_CAPACITY = 1 << 17;

const ACCEPTED = Buffer.from('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n');
const NOT_FOUND = Buffer.from('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
const SINK = '/sink/';
const REPEATED = ['/echo', '/work'];
/** Header lines of an event: what an echo repeats. */
const EVENT_LINES = /\r\n(?:ce-[a-z0-9]+|content-type):[^\r]*/gi;

interface Recorder {
  record(sequence: number, lane: number): void;
  count(): number;
  arrivals(): Arrivals;
}

function main(): void {
  let run = 0;
  let bytes = 0;
  let recorder = createRecorder();
  const workers = createWorkers();

  const server = createServer({ noDelay: true }, (socket) => {
    const scan = createScanner({
      keepsBody: (head) => REPEATED.includes(pathOf(head)),
      onMessage: (head, body) => {
        const path = pathOf(head);
        if (path.startsWith(SINK)) {
          const sequence = sequenceOf(head, run);
          if (sequence >= 0) recorder.record(sequence, Number(path.slice(SINK.length)));
          socket.write(ACCEPTED);
        } else if (path === '/echo') {
          echo(socket, head, body);
        } else if (path === '/work') {
          workers.take(() => echo(socket, head, body));
        } else if (path !== '/hang') {
          socket.write(NOT_FOUND);
        }
      },
    });
    socket.on('data', (chunk) => {
      bytes += chunk.length;
      scan(chunk);
    });
    // A sender that is killed or gives up resets its connections; what it sent is counted already.
    socket.on('error', () => socket.destroy());
  });

  server.listen(0, '127.0.0.1', () => {
    // A listening TCP server has an address with a port.
    serveParent<SubscriberCalls>((server.address() as AddressInfo).port, {
      begin(ask) {
        run = ask.run;
        bytes = 0;
        recorder = createRecorder();
        return null;
      },
      count: () => ({ deliveries: recorder.count(), bytes, workedMs: workers.workedMs() }),
      collect: () => recorder.arrivals(),
    });
  });
}

function echo(socket: Socket, head: string, body: Buffer): void {
  const lines = head.match(EVENT_LINES)?.join('') ?? '';
  socket.cork();
  socket.write(`HTTP/1.1 200 OK${lines}\r\nContent-Length: ${body.byteLength}\r\n\r\n`, 'latin1');
  if (body.byteLength > 0) socket.write(body);
  socket.uncork();
}

interface Workers {
  /** @param done called when a worker has waited over it. */
  take(done: () => void): void;
  workedMs(): number;
}

/** The first that comes is the first that is worked on. */
function createWorkers(): Workers {
  const waiting: (() => void)[] = [];
  let free: number = WORK.workers;
  let workedUs = 0;

  function next(): void {
    const done = free > 0 ? waiting.shift() : undefined;
    if (done === undefined) return;
    free -= 1;
    const sinceUs = nowUs();
    setTimeout(() => {
      free += 1;
      workedUs += nowUs() - sinceUs;
      done();
      next();
    }, WORK.ms);
  }

  return {
    take(done) {
      waiting.push(done);
      next();
    },
    workedMs: () => workedUs / 1e3,
  };
}

function createRecorder(): Recorder {
  let size = 0;
  let sequences = new Uint32Array(FIRST_CAPACITY);
  let lanes = new Uint16Array(FIRST_CAPACITY);
  let times = new Float64Array(FIRST_CAPACITY);

  function grow(): void {
    const capacity = sequences.length * 2;
    const old = { sequences, lanes, times };
    sequences = new Uint32Array(capacity);
    lanes = new Uint16Array(capacity);
    times = new Float64Array(capacity);
    sequences.set(old.sequences);
    lanes.set(old.lanes);
    times.set(old.times);
  }

  return {
    record(sequence, lane) {
      if (size === sequences.length) grow();
      sequences[size] = sequence;
      lanes[size] = lane;
      times[size] = nowUs();
      size += 1;
    },
    count: () => size,
    arrivals: () => ({
      sequence: sequences.slice(0, size),
      lane: lanes.slice(0, size),
      atUs: times.slice(0, size),
    }),
  };
}

main();
