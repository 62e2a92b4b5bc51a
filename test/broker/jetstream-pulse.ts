/**
 * Whether time is kept between this process and its server: a round trip every few milliseconds on a connection of its own, and by
 * how much each comes back later than it should. A process or a server that stands still shows, and so does a machine that is busy;
 * which of them it was does not.
 */
import { connect } from '@nats-io/transport-node';

import { pause } from '../e2e/eventually.ts';

export interface Pulse {
  /** Real ms that were lost since it was opened; grows. Whatever was lost before the call is in it. */
  lateMs(): Promise<number>;
  close(): Promise<void>;
}

/** Much less than a test can bear; a hundred round trips a second are no load. */
const EVERY_MS = 10;
/** What a timer and a round trip take on a machine at rest. */
const NORMAL_MS = 5;
/** A server that does not answer for so long is late enough for anybody, and may never answer. */
const AWAY_MS = 1_000;

export async function openPulse(url: string): Promise<Pulse> {
  const nc = await connect({
    servers: url,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
    reconnectJitter: 0,
  });
  let lateMs = 0;
  let startMs = 0;
  const overdueMs = () => Math.max(0, performance.now() - startMs - EVERY_MS - NORMAL_MS);
  const beat = async () => {
    startMs = performance.now();
    await pause(EVERY_MS);
    // The server may be away, which is late.
    await nc.flush().catch(() => undefined);
    lateMs += overdueMs();
  };
  let beating = beat();
  let isEnding = false;
  const living = (async () => {
    while (!isEnding) {
      await beating;
      beating = beat();
    }
    await beating;
  })();
  return {
    lateMs: async () => {
      await unlessAway(beating);
      return lateMs + overdueMs();
    },
    close: async () => {
      isEnding = true;
      // A round trip that is under way when the connection is closed never ends.
      await unlessAway(living);
      await nc.close();
    },
  };
}

async function unlessAway(answered: Promise<void>): Promise<void> {
  await Promise.race([
    answered,
    new Promise<void>((resolve) => setTimeout(resolve, AWAY_MS).unref()),
  ]);
}
