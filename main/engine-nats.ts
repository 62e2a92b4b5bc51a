/** The event log in NATS JetStream. Payloads stay in files beside it, which no other process sees. */
import { mkdir } from 'node:fs/promises';

import { connectNats } from '../broker/log/jetstream/connection.ts';
import { JetStreamLog, type JetStreamLogOptions } from '../broker/log/jetstream/jetstream-log.ts';
import { recordMaxBytesOf } from '../broker/log/jetstream/message.ts';
import { NO_LEDGER } from '../broker/log/jetstream/no-ledger.ts';
import { acquireOwnerLock } from '../broker/log/owner-lock.ts';
import { KnearError } from '../core/errors.ts';
import type { Role } from '../core/ports/topology-feed.ts';
import { untilAnswered, type Engine, type EngineContext } from './engine.ts';
import { openPayloads } from './payloads.ts';
import type { NatsSettings } from './nats-settings.ts';
import type { Settings } from './settings.ts';
import { stayAlive, systemClock as clock } from './time.ts';

/**
 * Resolves when there is a server that can keep the log; until then it waits, and says for what.
 * @throws KNEAR_SETTING_INVALID when attributes may be larger than a record on this server; the reason of the abort
 */
export async function openNatsEngine(
  settings: Settings,
  nats: NatsSettings,
  { logger, opened, signal, role }: EngineContext & { readonly role: Role },
): Promise<Engine> {
  let trouble: KnearError | undefined;
  // Nothing else keeps the process alive while it waits.
  const callOff = stayAlive();
  const link = await connectNats({
    ...nats,
    clock,
    signal,
    onWaiting: (error) => {
      logger.warn({ code: error.code }, `waiting for NATS: ${error.message}`);
    },
    onStatus: (now) => {
      trouble = now;
      if (now) logger.error({ code: now.code }, `NATS: ${now.message}`);
      else logger.info('NATS is there again');
    },
  }).finally(callOff);
  opened.push(() => link.close());
  const { info } = link;
  logger.info({ version: info.version, server: info.serverName, isTls: info.isTls }, 'NATS');
  const recordMaxBytes = recordMaxBytesOf(info.payloadMaxBytes);
  requireRoom(settings, recordMaxBytes);
  return {
    recordMaxBytes,
    link,
    async open({ observer, match, wants, mayChange }) {
      // The files of payloads and uploads have one owner, too.
      await mkdir(settings.data, { recursive: true });
      const lock = await acquireOwnerLock(settings.data);
      opened.push(() => lock.release());
      const claims = NO_LEDGER;
      const payloads = await openPayloads(settings, { clock, logger, ledger: () => claims });
      opened.push(() => payloads.close());
      const options: JetStreamLogOptions = {
        ...link,
        match,
        wants: (egressId, _, event) => wants(egressId, event),
        clock,
        observer,
        durability: nats.durability,
        prefix: nats.prefix,
        sharing: SHARING[role],
        ...(mayChange && { mayChange }),
        trouble: () => trouble,
        limits: {
          streamMaxBytes: nats.streamMaxBytes,
          parkedMax: settings.parkedMax,
          parkedBytesMax: settings.parkedBytesMax,
          parkedAgeMs: settings.parkedAgeMs,
        },
      };
      const log = await untilAnswered(() => JetStreamLog.open(options), { logger, signal });
      opened.push(() => log.close());
      await payloads.start(log.id);
      return { log, claims, payloads };
    },
  };
}

const SHARING = {
  serve: 'alone',
  controller: 'owner',
  ingress: 'guest',
  dispatcher: 'guest',
} as const;

function requireRoom({ attributesMaxBytes }: Settings, recordMaxBytes: number): void {
  if (attributesMaxBytes <= recordMaxBytes) return;
  const detail = `--attributes-max must not be more than ${recordMaxBytes}, half of what a message of this NATS server may be: lower it, or raise the server's max_payload`;
  throw new KnearError('KNEAR_SETTING_INVALID', detail);
}
