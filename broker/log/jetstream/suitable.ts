/** What knear needs of a NATS server and of its account there, and in words what is missing. Pure. */
import type { AccountLimits, JetStreamAccountStats } from '@nats-io/jetstream';
import type { ServerInfo } from '@nats-io/transport-node';

/** The first with schedules, atomic batches and prioritized consumers, which retries, batches and standby need. */
const VERSION_MIN = { major: 2, minor: 12 };
/** Less leaves no room for the attributes of an event, the server's headers and some data. The server's default is 1 MiB. */
const PAYLOAD_MIN_BYTES = 256 * 1024;
/** What streams ask for (`CONSUMERS_MAX` in durables.ts); the server makes none that asks for more than the account has. */
const CONSUMERS_MIN = 100_000;
/** What consumers ask for (`ACK_PENDING_MAX` in durables.ts); as above. */
const ACK_PENDING_MIN = 5_000;

/** @returns what is wrong with the server, and what to do; `undefined`: nothing. */
export function whyServerUnsuitable(
  { version, max_payload: payloadMaxBytes, server_name: name }: ServerInfo,
  { payloadMinBytes = PAYLOAD_MIN_BYTES }: { readonly payloadMinBytes?: number } = {},
): string | undefined {
  if (!isNewEnough(version)) {
    const least = `${String(VERSION_MIN.major)}.${String(VERSION_MIN.minor)}`;
    return `The NATS server ${name} is of version ${version}: knear needs ${least} or newer, update it`;
  }
  if (payloadMaxBytes < PAYLOAD_MIN_BYTES) {
    const sizes = `${String(payloadMaxBytes)} bytes: knear needs ${String(PAYLOAD_MIN_BYTES)}`;
    return `The NATS server ${name} takes messages of at most ${sizes}, raise max_payload in its configuration`;
  }
  if (payloadMaxBytes < payloadMinBytes) {
    const sizes = `${String(payloadMaxBytes)} bytes, and took ${String(payloadMinBytes)} when knear started`;
    return `The NATS server ${name} takes messages of at most ${sizes}: raise max_payload in its configuration again, or start knear again`;
  }
  return undefined;
}

/** Releases, candidates (2.12.0-RC.1) and builds in between (2.13.0-dev). */
function isNewEnough(version: string): boolean {
  const [, major, minor] = /^v?(\d+)\.(\d+)\./.exec(version) ?? [];
  if (Number(major) !== VERSION_MIN.major) return Number(major) > VERSION_MIN.major;
  return Number(minor) >= VERSION_MIN.minor;
}

/**
 * @param hasStreams whether knear has streams there already
 * @returns what is wrong with the account, and what to do; `undefined`: nothing.
 */
export function whyAccountUnsuitable(
  { tiers, ...whole }: JetStreamAccountStats,
  { hasStreams }: { readonly hasStreams: boolean },
): string | undefined {
  // With tiers, the whole has no limits of its own. Streams of ours have one replica.
  const { limits, streams } = tiers ? (tiers['R1'] ?? NOTHING) : whole;
  const why = whyLimited(limits, { streams, hasStreams });
  return why && `The account of knear on the NATS server ${why}`;
}

function whyLimited(
  limits: AccountLimits | undefined,
  { streams, hasStreams }: { readonly streams: number; readonly hasStreams: boolean },
): string | undefined {
  if (limits === undefined || limits.max_storage === 0) {
    return 'may keep nothing on the disk: give it storage for streams of one replica (disk_storage, max_file)';
  }
  if (limits.max_bytes_required) {
    return 'demands max_bytes of each stream: take that off (max_bytes_required). The streams of knear have none, because a stream with schedules cannot refuse what is new when it is full, it would drop what is old; knear keeps to natsStreamMax itself';
  }
  if (limits.max_streams > 0 && streams >= limits.max_streams && !hasStreams) {
    return `may have ${String(limits.max_streams)} streams and has as many: raise max_streams, each Broker needs one`;
  }
  if (limits.max_consumers > 0 && limits.max_consumers < CONSUMERS_MIN) {
    return `may have ${String(limits.max_consumers)} consumers, and streams of knear ask for ${String(CONSUMERS_MIN)}: take that limit off (max_consumers)`;
  }
  if (limits.max_ack_pending > 0 && limits.max_ack_pending < ACK_PENDING_MIN) {
    return `may have ${String(limits.max_ack_pending)} messages under way for a consumer, and those of knear ask for ${String(ACK_PENDING_MIN)}: take that limit off (max_ack_pending)`;
  }
  return undefined;
}

/** Of an account that has tiers, and none for one replica. */
const NOTHING = { limits: undefined, streams: 0 };
