/**
 * The event log that the settings name, and the payloads that its records name: the embedded one, or one in NATS JetStream.
 * What belongs to only one of them is here; the rest of the program does not know which it runs on.
 *
 * - K4 What a log takes as one record is known before anything is accepted: data that would not fit is claimed, whatever the
 *   settings say.
 */
import { statfs } from 'node:fs/promises';

import type { Logger } from 'pino';

import { GroupedLog } from '../broker/log/grouped-log.ts';
import { LmdbStore } from '../broker/log/lmdb.ts';
import { RECORD_MAX_BYTES } from '../broker/log/supports.ts';
import type { NatsLink } from '../broker/log/jetstream/connection.ts';
import type { PayloadKeeper } from '../broker/payload/payloads.ts';
import { codeOf, messageOf } from '../core/errors.ts';
import type { CloudEvent } from '../core/event.ts';
import type { ClaimLedger } from '../core/ports/claims.ts';
import type { EventLog, Match } from '../core/ports/event-log.ts';
import type { Observer } from '../core/ports/observer.ts';
import { openPayloads } from './payloads.ts';
import { reserveBytesOf } from './reserve.ts';
import type { Settings } from './settings.ts';
import { stayAlive, systemClock as clock } from './time.ts';

/** A quarter of the log for one Broker or Channel: three others can always go on when one has no subscriber. */
const QUOTA_SHARE = 0.25;
/** Rows of one egress in memory: as many as it can have slots. */
const WINDOW_MAX = 256;
/** Between two tries of what a server did not answer. */
const AGAIN_MS = 1_000;

/** What is known of the log before there is a topology. */
export interface Engine {
  /** The largest record that it takes (K4). */
  readonly recordMaxBytes: number;
  /** To the server that keeps the log; absent: there is none. */
  readonly link?: NatsLink;
  /** @throws the codes of the log, of `openPayloads` */
  open(parts: EngineParts): Promise<OpenEngine>;
}

export interface EngineContext {
  readonly logger: Logger;
  /** What is to be closed, first the last. */
  readonly opened: (() => Promise<void>)[];
  /** Ends the waiting for what the log stands on. */
  readonly signal: AbortSignal;
}

/**
 * What a server is asked during the start is asked again for as long as it does not answer: whoever starts knear again would
 * do no better. @throws what is no matter of patience; the reason of the abort
 */
export async function untilAnswered<Value>(
  ask: () => Promise<Value>,
  { logger, signal }: Pick<EngineContext, 'logger' | 'signal'>,
): Promise<Value> {
  const callOff = stayAlive();
  try {
    for (let told = ''; ;) {
      signal.throwIfAborted();
      try {
        return await ask();
      } catch (error) {
        const code = codeOf(error);
        if (code !== 'KNEAR_NATS_AWAY' && code !== 'KNEAR_LOG_FAILED') throw error;
        const why = messageOf(error);
        if (why !== told) logger.warn({ code }, `waiting for the event log: ${why}`);
        told = why;
        await new Promise<void>((resolve) => clock.after(AGAIN_MS, resolve));
      }
    }
  } finally {
    callOff();
  }
}

export interface EngineParts {
  readonly observer: Observer;
  readonly match: Match;
  /** Whether an egress of the topology in force wants an event. */
  readonly wants: (egressId: string, event: CloudEvent) => boolean;
  /** Of a log that several processes share: whether this one may change what is on the server. Absent: always. */
  readonly mayChange?: () => boolean;
}

export interface OpenEngine {
  readonly log: EventLog;
  readonly claims: ClaimLedger;
  readonly payloads: PayloadKeeper;
}

/** One that runs in this process, with its file in the data folder. The folder has one owner, which is the log. */
export function embeddedEngine(settings: Settings, { logger, opened }: EngineContext): Engine {
  return {
    recordMaxBytes: RECORD_MAX_BYTES,
    async open({ observer, match }) {
      const store = await LmdbStore.open({ folder: settings.data, clock });
      const disk = await statfs(settings.data);
      let payloads: PayloadKeeper;
      try {
        payloads = await openPayloads(settings, { clock, logger, ledger: () => log.claims });
      } catch (error) {
        await store.close();
        throw error;
      }
      const log = GroupedLog.open({
        store,
        match,
        clock,
        observer,
        payloads: payloads.holders,
        limits: {
          sizeMaxBytes: settings.logSizeMaxBytes,
          quotaBytes: settings.logSizeMaxBytes * QUOTA_SHARE,
          reserveBytes: reserveBytesOf(settings, disk),
          windowMax: WINDOW_MAX,
          parkedMax: settings.parkedMax,
          parkedBytesMax: settings.parkedBytesMax,
          parkedAgeMs: settings.parkedAgeMs,
        },
      });
      // The log first: what its last write frees is removed then.
      opened.push(async () => {
        await log.close();
        await payloads.close();
      });
      await payloads.start(store.id);
      return { log, claims: log.claims, payloads };
    },
  };
}
