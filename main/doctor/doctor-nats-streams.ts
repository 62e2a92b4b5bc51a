/** What `knear doctor` says of the room that knear has on its NATS server, and of the streams that are there already. */
import { FORMAT } from '../../broker/log/jetstream/births.ts';
import type { NatsLink } from '../../broker/log/jetstream/connection.ts';
import { isMissing } from '../../broker/log/jetstream/missing.ts';
import { HOLD } from '../../broker/log/jetstream/names.ts';
import { sizeText } from '../client/amounts.ts';
import type { NatsSettings } from '../nats-settings.ts';
import type { Check } from './doctor.ts';

/** Of what the account may have: what is left is for deliveries that leave something behind. */
const NEARLY_FULL = 0.9;

/** Limits of the account, and what is used of them; with tiers, of the one that streams of knear are in. */
export async function checkAccount({ jsm }: Pick<NatsLink, 'jsm'>): Promise<Check> {
  const name = 'nats account';
  const { tiers, ...whole } = await jsm.getAccountInfo();
  const { storage, streams, consumers, limits } = tiers?.['R1'] ?? whole;
  const detail = [
    `${sizeText(storage)} ${ofMost(limits.max_storage, sizeText)} on the disk`,
    `${streams} ${ofMost(limits.max_streams)} streams`,
    `${consumers} ${ofMost(limits.max_consumers)} consumers`,
  ].join(', ');
  const { max_storage: bytesMax } = limits;
  if (bytesMax <= 0 || storage < NEARLY_FULL * bytesMax) return { name, state: 'ok', detail };
  const advice =
    'when it is full the server takes nothing more (KNEAR_LOG_FULL), not even what deliveries leave behind: raise its storage (disk_storage, max_file), or see which Triggers lag';
  return { name, state: 'warn', detail, advice };
}

/** A limit that is not there is told as -1, some as 0. */
function ofMost(most: number, text: (value: number) => string = String): string {
  return most > 0 ? `of ${text(most)}` : '(no limit)';
}

/** Of the door (`KNEAR_QUOTA`). */
const REFUSED_SHARE = 0.9;

export async function checkStreams(
  { prefix, streamMaxBytes }: Pick<NatsSettings, 'prefix' | 'streamMaxBytes'>,
  { jsm }: Pick<NatsLink, 'jsm'>,
): Promise<Check> {
  const name = 'nats streams';
  let fullest = { name: '', bytes: 0 };
  let count = 0;
  for await (const { config, state } of jsm.streams.list(`${prefix}.*.>`)) {
    const { 'knear-format': format } = config.metadata ?? {};
    // Of somebody else, who uses the prefix as well.
    if (format === undefined) continue;
    if (format !== FORMAT) {
      const detail = `KNEAR_LOG_FORMAT: the stream ${config.name} has format ${format}, this program reads ${FORMAT}`;
      const advice = 'start the version that made it, or use another --nats-prefix';
      return { name, state: 'FAIL', detail, advice };
    }
    if (state.messages > 0 && !(await isHeld(jsm, config.name))) {
      const detail = `KNEAR_LOG_CORRUPT: the stream ${config.name} has lost its consumer ${HOLD}`;
      const advice = 'docs/nats.md tells how to restore it, and what is lost';
      return { name, state: 'FAIL', detail, advice };
    }
    count += 1;
    if (state.bytes >= fullest.bytes) fullest = { name: config.name, bytes: state.bytes };
  }
  if (count === 0) {
    const detail = `none that begins with ${prefix.toUpperCase()}_ yet: serve makes them`;
    return { name, state: 'ok', detail };
  }
  const detail = `${count}, the fullest is ${fullest.name} with ${sizeText(fullest.bytes)} of ${sizeText(streamMaxBytes)}`;
  if (fullest.bytes < REFUSED_SHARE * streamMaxBytes) return { name, state: 'ok', detail };
  const advice =
    'its Broker or Channels refuse events (KNEAR_QUOTA): see which of their Triggers lag, or raise --nats-stream-max';
  return { name, state: 'warn', detail, advice };
}

async function isHeld(jsm: NatsLink['jsm'], stream: string): Promise<boolean> {
  try {
    await jsm.consumers.info(stream, HOLD);
    return true;
  } catch (error) {
    if (!isMissing(error)) throw error;
    return false;
  }
}
