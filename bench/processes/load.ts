/**
 * The load generator, a process of its own: as cheap as possible, because it shares two cores with what it measures.
 * Raw sockets and `wire.ts`, see there for the reason.
 *
 * Closed loop: every sender has one connection and one event in flight, so a slow answer slows the sender (what a
 * producer that waits for its 202 sees). Open loop: events leave at fixed rates, and time counts from the moment an
 * event should have left, so that a stall is paid for by every event it delayed ("coordinated omission" otherwise).
 */
import { nowUs, sleepMs } from '../clock.ts';
import { dueTimesUs } from '../schedule.ts';
import { percentile, sorted } from '../statistics.ts';
import { requestTemplate } from '../wire.ts';
import { serveParent } from './child-side.ts';
import { deferred } from './deferred.ts';
import { openConnection, type Connection } from './connection.ts';
import type { ClosedLoop, Job, LoadCalls, OpenLoop, Sent } from './protocol.ts';

/** Longest wait for the last answers; a producer would have given up by then, too. */
const LAST_ANSWERS_MS = 20_000;
/** And longer for large events: 20 MB/s, a tenth of what a slow disk of today takes. */
const SLOWEST_BYTES_PER_MS = 20_000;
/** Open loop: connections made beforehand. More than are busy at any rate we use, unless the other side stalls. */
const OPEN_LOOP_CONNECTIONS = 32;
/** Timers are a millisecond coarse: they take us near the moment, a short blocking wait takes us closer. */
const TIMER_REST_MS = 2;
/** A blocking wait wakes 60 us late and more (the kernel's timer slack); the rest is spun, 16 % of a core at 2,000/s. */
const SPIN_US = 80;
/** First size of the ledger, which doubles; a short run fits. */
const FIRST_CAPACITY = 1 << 17;

interface Ledger {
  size(): number;
  /** Takes the next sequence number. */
  next(atUs: number): number;
  answer(sequence: number, status: number): void;
  isAnswered(): boolean;
  sent(lateUs: Float64Array): Sent;
}

function main(): void {
  serveParent<LoadCalls>(0, {
    load: (job) => (job.kind === 'closed' ? closedLoop(job) : openLoop(job)),
  });
}

async function closedLoop(job: ClosedLoop): Promise<Sent> {
  const ledger = createLedger();
  let endUs = Infinity;
  const eventsMax = 'events' in job.until ? job.until.events : Infinity;

  function sendNext(connection: Connection): void {
    const atUs = nowUs();
    if (atUs < endUs && ledger.size() < eventsMax) connection.send(ledger.next(atUs));
  }

  return withConnections(
    { job, ledger, count: job.senders, onFree: sendNext },
    async (connections) => {
      if ('ms' in job.until) endUs = nowUs() + job.until.ms * 1e3;
      connections.forEach(sendNext);
      while (nowUs() < endUs && ledger.size() < eventsMax) await sleepMs(5);
      return new Float64Array(0);
    },
  );
}

async function openLoop(job: OpenLoop): Promise<Sent> {
  const ledger = createLedger();
  const due = dueTimesUs(job.paces);
  const lateUs = new Float64Array(due.length);
  const waiting: number[] = [];
  const free: Connection[] = [];

  function onFree(connection: Connection): void {
    const sequence = waiting.shift();
    if (sequence === undefined) free.push(connection);
    else connection.send(sequence);
  }

  return withConnections(
    { job, ledger, count: OPEN_LOOP_CONNECTIONS, onFree },
    async (connections) => {
      free.push(...connections);
      const startUs = nowUs() + 5_000;
      for (const [index, afterUs] of due.entries()) {
        const dueUs = startUs + afterUs;
        await moment(dueUs);
        lateUs[index] = nowUs() - dueUs;
        const sequence = ledger.next(dueUs);
        const connection = free.pop();
        if (connection === undefined) waiting.push(sequence);
        else connection.send(sequence);
      }
      return lateUs;
    },
  );
}

/**
 * Waits for a moment to about 5 us. Lets the event loop turn at least once, so that answers are read; blocks it for the
 * last two milliseconds at most, in which answers wait in their sockets (nobody measures when they are read).
 */
async function moment(dueUs: number): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  const timerMs = (dueUs - nowUs()) / 1e3 - TIMER_REST_MS;
  if (timerMs >= 1) await sleepMs(timerMs);
  const blockMs = (dueUs - nowUs() - SPIN_US) / 1e3;
  if (blockMs > 0) Atomics.wait(neverNotified, 0, 0, blockMs);
  while (nowUs() < dueUs);
}

const neverNotified = new Int32Array(new SharedArrayBuffer(4));

interface Exchange {
  readonly job: Job;
  readonly ledger: Ledger;
  readonly count: number;
  readonly onFree: (connection: Connection) => void;
}

/** Connects, sends (`send` resolves to the lateness of each event when all are sent), waits for the last answers. */
async function withConnections(
  { job, ledger, count, onFree }: Exchange,
  send: (connections: readonly Connection[]) => Promise<Float64Array>,
): Promise<Sent> {
  const { promise: broken, reject } = deferred<never>();
  broken.catch(() => undefined); // looked at below; without this line a late break would end the process
  const template = requestTemplate({ ...job, ...job.aim, host: `127.0.0.1:${job.aim.port}` });
  const options = {
    port: job.aim.port,
    template,
    onAnswer(connection: Connection, sequence: number, status: number) {
      ledger.answer(sequence, status);
      onFree(connection);
    },
    onError: reject,
  };
  const connections = await Promise.all(
    Array.from({ length: count }, async () => openConnection(options)),
  );
  try {
    const lateUs = await Promise.race([send(connections), broken]);
    const lastBytes = count * job.dataBytes;
    const giveUpUs = nowUs() + (LAST_ANSWERS_MS + lastBytes / SLOWEST_BYTES_PER_MS) * 1e3;
    while (!ledger.isAnswered() && nowUs() < giveUpUs) {
      await Promise.race([sleepMs(2), broken]);
    }
    return ledger.sent(lateUs);
  } finally {
    for (const connection of connections) connection.close();
  }
}

function createLedger(): Ledger {
  let size = 0;
  let answers = 0;
  let times = new Float64Array(FIRST_CAPACITY);
  let statuses = new Uint16Array(FIRST_CAPACITY);

  function grow(): void {
    const old = { times, statuses };
    times = new Float64Array(old.times.length * 2);
    statuses = new Uint16Array(old.times.length * 2);
    times.set(old.times);
    statuses.set(old.statuses);
  }

  return {
    size: () => size,
    next(atUs) {
      if (size === times.length) grow();
      times[size] = atUs;
      size += 1;
      return size - 1;
    },
    answer(sequence, status) {
      statuses[sequence] = status;
      answers += 1;
    },
    isAnswered: () => answers === size,
    sent: (lateUs) => ({
      atUs: times.slice(0, size),
      status: statuses.slice(0, size),
      lateUsP99: lateUs.length === 0 ? 0 : percentile(sorted(lateUs), 0.99),
    }),
  };
}

main();
