/**
 * What `knear doctor` says of the NATS server that keeps the log: whether it lets knear in, whether it can keep a log, how large
 * records may be and how much room there is. It only asks: nothing is made there, and nothing is changed.
 */
import { connectNats, type NatsLink } from '../../broker/log/jetstream/connection.ts';
import { faultOf } from '../../broker/log/jetstream/faults.ts';
import { recordMaxBytesOf } from '../../broker/log/jetstream/message.ts';
import { codeOf, KnearError, messageOf } from '../../core/errors.ts';
import type { Clock } from '../../core/ports/time.ts';
import { spanText } from '../client/amounts.ts';
import type { NatsSettings } from '../nats-settings.ts';
import type { Settings } from '../settings.ts';
import { stayAlive } from '../time.ts';
import { checkAccount, checkStreams } from './doctor-nats-streams.ts';
import type { Check } from './doctor.ts';

/** Longer than the client takes to give up an address and one request; whoever waits at a terminal waits no longer. */
const PATIENCE_MS = 10_000;

/** Takes ten seconds at most, whatever is at the address. */
export async function checkNats(
  settings: Settings,
  nats: NatsSettings,
  clock: Clock,
): Promise<readonly Check[]> {
  const late = new AbortController();
  const timer = clock.after(PATIENCE_MS, () => {
    const detail = `The NATS server has not answered within ${spanText(PATIENCE_MS)}: look at the server and at the network`;
    late.abort(new KnearError('KNEAR_NATS_AWAY', detail));
  });
  // A timer of the clock alone would let the process end.
  const callOff = stayAlive();
  try {
    const link = await reach(nats, { clock, late });
    try {
      return await unlessLate(look(settings, { nats, link, clock }), late.signal);
    } finally {
      await link.close();
    }
  } catch (thrown) {
    const error = faultOf(thrown);
    const code = codeOf(error);
    if (code === undefined) throw error;
    const detail = `${code}: ${messageOf(error)}`;
    return [{ name: 'nats server', state: 'FAIL', detail }];
  } finally {
    timer.cancel();
    callOff();
  }
}

/** Serve waits for what is in the way; here the first of it is what is told. @throws it */
function reach(
  nats: NatsSettings,
  { clock, late }: { readonly clock: Clock; readonly late: AbortController },
): Promise<NatsLink> {
  return connectNats({
    ...nats,
    clock,
    signal: late.signal,
    onWaiting: (obstacle) => {
      late.abort(obstacle);
    },
    onStatus: () => undefined,
  });
}

/** Settles as the work does, or rejects with the reason of the abort, whichever is first. */
function unlessLate<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      // Given by us: an error.
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    void work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', onAbort);
    });
  });
}

interface Looked {
  readonly nats: NatsSettings;
  readonly link: NatsLink;
  readonly clock: Clock;
}

async function look(settings: Settings, { nats, link, clock }: Looked): Promise<readonly Check[]> {
  const roundTripMs = await roundTripOf(link, clock);
  return [
    checkServer(nats, { ...link.info, roundTripMs }),
    checkRecords(settings, link.info.payloadMaxBytes),
    await checkAccount(link),
    await checkStreams(nats, link),
    checkDurability(nats),
  ];
}

/** An odd number has a middle; on another continent five take two seconds. */
const ROUNDS = 5;

/** Median, without what the server writes to its disk. */
async function roundTripOf({ nc }: NatsLink, clock: Clock): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startMs = clock.monotonicMs();
    await nc.flush();
    times.push(clock.monotonicMs() - startMs);
  }
  return times.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0;
}

/** As for a disk (`checkFsync`): beyond it people see that each 202 takes a moment. */
const ROUND_TRIP_SLOW_MS = 20;

export function checkServer(
  { servers }: Pick<NatsSettings, 'servers'>,
  { version, serverName, isTls, roundTripMs }: NatsLink['info'] & { readonly roundTripMs: number },
): Check {
  const name = 'nats server';
  const took = `a round trip takes ${spanText(roundTripMs)} (median of ${ROUNDS})`;
  const tls = isTls ? 'with TLS' : 'without TLS';
  const detail = `${serverName}, nats-server ${version}, ${tls}; ${took}`;
  if (roundTripMs > ROUND_TRIP_SLOW_MS) {
    const advice = 'each 202 waits for one and for the disk there: run knear nearer to the server';
    return { name, state: 'warn', detail, advice };
  }
  if (!isTls && !servers.every(isHere)) {
    const advice =
      'who is on the way can read events, and a password or token: give the server a tls block, and use tls:// (--nats)';
    return { name, state: 'warn', detail, advice };
  }
  return { name, state: 'ok', detail };
}

function isHere(url: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(url).hostname);
}

export function checkRecords(
  {
    attributesMaxBytes,
    claimCheckInlineMaxBytes,
  }: Pick<Settings, 'attributesMaxBytes' | 'claimCheckInlineMaxBytes'>,
  payloadMaxBytes: number,
): Check {
  const name = 'nats messages';
  const recordMaxBytes = recordMaxBytesOf(payloadMaxBytes);
  const detail = `at most ${payloadMaxBytes} bytes (max_payload), so a record has at most ${recordMaxBytes}`;
  if (attributesMaxBytes > recordMaxBytes) {
    const advice = `serve would not start (KNEAR_SETTING_INVALID), attributes may have ${attributesMaxBytes}: raise max_payload at the server, or lower --attributes-max`;
    return { name, state: 'FAIL', detail, advice };
  }
  if (claimCheckInlineMaxBytes <= recordMaxBytes) return { name, state: 'ok', detail };
  const advice = `data of larger events goes to files below --data, though claimCheckInlineMax is ${claimCheckInlineMaxBytes}; raise max_payload to keep more of it on the server`;
  return { name, state: 'ok', detail, advice };
}

function checkDurability({ durability }: NatsSettings): Check {
  const name = 'nats durability';
  if (durability === 'machine') {
    const detail =
      'machine, as the settings say: the server does not tell, so see that its sync_interval is always';
    return { name, state: 'ok', detail };
  }
  const detail = 'process: what is answered 202 survives the end of the server, not of its machine';
  const advice =
    'for that, set sync_interval: always at the server, then --nats-durability machine';
  return { name, state: 'ok', detail, advice };
}
