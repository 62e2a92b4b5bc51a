/**
 * The log on JetStream, opened for a test on a real server whose time runs faster than that of the log, or rather the other way
 * round: the log believes that time runs `pace` times as fast, and asks the server for leases and timers that are as much shorter.
 *
 * A `Process` is what one knear would be: a connection and a log on it. Two of them on one prefix are two processes on one log.
 */
import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals';
import { jetstream, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';

import { JetStreamLog, type JetStreamLogLimits } from '../../broker/log/jetstream/jetstream-log.ts';
import { durableOf } from '../../broker/log/jetstream/durables.ts';
import { Subjects, tokenOf } from '../../broker/log/jetstream/names.ts';
import type { Sharing } from '../../broker/log/jetstream/place.ts';
import type { CloudEvent } from '../../core/event.ts';
import type {
  Delivery,
  EventLog,
  Interest,
  Lag,
  LogSupports,
  Match,
} from '../../core/ports/event-log.ts';
import type { Happening } from '../../core/ports/observer.ts';
import { timelyTest, type TimelyTest } from '../conformance/timely.ts';
import { eventually, pause } from '../e2e/eventually.ts';
import { RacingClock } from '../fakes/racing-clock.ts';
import { openNats, type Nats } from '../servers/nats.ts';
import { openPulse, type Pulse } from './jetstream-pulse.ts';

/** Milliseconds of the log in one of the server. */
export const PACE = 20;

/** What the log promises, alone and shared. */
export const SUPPORTS: LogSupports = {
  durability: 'process',
  ordered: true,
  delayed: true,
  history: false,
  keepsLeases: true,
  // Half of the server's max_payload, without room for headers.
  recordMaxBytes: 491_520,
};

const WIDE: JetStreamLogLimits = {
  streamMaxBytes: 1 << 30,
  parkedMax: 1_000,
  parkedBytesMax: 1 << 26,
  parkedAgeMs: 7 * 86_400_000,
};

export interface ProcessOptions {
  readonly url: string;
  readonly prefix: string;
  readonly match?: Match;
  readonly wants?: (egressId: string, ingressId: string, event: CloudEvent) => boolean;
  readonly limits?: Partial<JetStreamLogLimits>;
  readonly timersMax?: number;
  /** Absent: `process`. */
  readonly durability?: 'process' | 'machine';
  /** Absent: `PACE`. */
  readonly pace?: number;
  /** Absent: `alone`. */
  readonly sharing?: Sharing;
  /** The connection that the log gets, for faults of it. */
  readonly ncOf?: (nc: NatsConnection) => NatsConnection;
}

export interface Process {
  readonly log: JetStreamLog;
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly clock: RacingClock;
  /** What the log has told its observer. */
  readonly happenings: Happening[];
  /** Closes the log, and opens another one on the same connection. */
  restart(): Promise<void>;
  /** Its connection is gone, and nothing was said to the server before: as after SIGKILL. */
  vanish(): Promise<void>;
  /** May be called twice, and after `vanish`. */
  close(): Promise<void>;
}

/** Who wants an event is in its attribute `to`. */
const matchTo: Match = (_ingressId, { attributes }) => {
  const to = String(attributes.get('to') ?? '');
  return { egressIds: to.split(' ').filter((id) => id !== ''), isEarly: false };
};

export async function openProcess(options: ProcessOptions): Promise<Process> {
  const { url, prefix, match = matchTo, limits, timersMax, pace = PACE } = options;
  const { durability = 'process', sharing = 'alone' } = options;
  const wants =
    options.wants ??
    ((egressId, ingressId, event) => match(ingressId, event).egressIds.includes(egressId));
  const clock = new RacingClock(pace);
  const nc = await connect({
    servers: url,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
    reconnectJitter: 0,
  });
  const jsm = await jetstreamManager(nc, { timeout: 5_000 });
  const happenings: Happening[] = [];
  const open = () =>
    JetStreamLog.open({
      nc: options.ncOf?.(nc) ?? nc,
      js: jetstream(nc),
      jsm,
      match,
      wants,
      clock,
      observer: { observe: (happening) => happenings.push(happening) },
      durability,
      limits: { ...WIDE, ...limits },
      prefix,
      sharing,
      server: { pace, wallMs: (atMs) => clock.realWallMs(atMs) },
      ...(timersMax !== undefined && { timersMax }),
    });
  let log: JetStreamLog;
  try {
    log = await open();
  } catch (error) {
    await nc.close();
    throw error;
  }
  return {
    get log() {
      return log;
    },
    nc,
    jsm,
    clock,
    happenings,
    restart: async () => {
      await log.close();
      log = await open();
    },
    vanish: async () => {
      await nc.close();
      await log.close();
    },
    close: async () => {
      await log.close();
      await nc.close();
    },
  };
}

/** The server of a file of tests, and by how much it and this process have been late so far. */
export interface TimedServer {
  readonly server: Nats;
  /** Ms of the log. */
  lateMs(): Promise<number>;
}

export function useServer(): TimedServer {
  let server: Nats | undefined;
  let pulse: Pulse | undefined;
  beforeAll(async () => {
    server = await openNats();
    pulse = await openPulse(server.url);
  }, 200_000);
  afterAll(async () => {
    await pulse?.close();
    await server?.close();
  });
  return {
    get server() {
      if (!server) throw new Error('used outside of a test');
      return server;
    },
    lateMs: async () => PACE * ((await pulse?.lateMs()) ?? 0),
  };
}

/** Processes of the running test, on a log of its own. */
export interface ProcessScene {
  /** For the tests that use it. */
  readonly test: TimelyTest;
  readonly server: Nats;
  readonly prefix: string;
  /** Where the events of the ingress `orders` are. */
  readonly stream: string;
  /** One more, which is closed after the test. */
  open(options?: Partial<ProcessOptions>): Promise<Process>;
}

/** @param name of the file, with which its prefixes begin */
export function useProcesses(name: string): ProcessScene {
  const timed = useServer();
  const closers: (() => Promise<void>)[] = [];
  let opened = 0;
  let lateBeforeMs = 0;
  const begin = async () => {
    opened += 1;
    lateBeforeMs = await timed.lateMs();
  };
  const end = async () => {
    for (let close = closers.pop(); close; close = closers.pop()) await close();
  };
  beforeEach(begin);
  afterEach(end);
  const prefix = () => `${name}${String(opened)}`;
  return {
    test: timelyTest({
      lateMs: async () => (await timed.lateMs()) - lateBeforeMs,
      anew: async () => {
        await end();
        await begin();
      },
    }),
    get server() {
      return timed.server;
    },
    get prefix() {
      return prefix();
    },
    get stream() {
      return `${prefix().toUpperCase()}_${tokenOf('orders')}`;
    },
    open: async (options = {}) => {
      const process = await openProcess({ url: timed.server.url, prefix: prefix(), ...options });
      closers.push(() => process.close());
      return process;
    },
  };
}

/** Nothing of the log is left on the server. */
export async function removeStreams({ jsm }: Process, prefix: string): Promise<void> {
  for await (const { config } of jsm.streams.list(`${prefix}.>`)) {
    await jsm.streams.delete(config.name);
  }
}

/** Resolves when what the server has to say about what was done is here, and the log knows how large it is. */
export async function quiet(process: Process, prefix: string): Promise<void> {
  // What it has to say is on its way after a round trip. Leases go on meanwhile, so no longer.
  for (let turn = 0; turn < 2; turn += 1) {
    await process.nc.flush();
    await pause(30);
  }
  // The size is asked for once a second.
  await eventually(
    'measured',
    async () => process.log.usage.bytes === (await sizeOf(process, prefix)),
  );
}

/** Bytes of the streams with events, as the server counts them. */
async function sizeOf({ jsm }: Process, prefix: string): Promise<number> {
  let bytes = 0;
  for await (const { config, state } of jsm.streams.list(`${prefix}.*.>`)) {
    if (!config.name.endsWith('_LOG')) bytes += state.bytes;
  }
  return bytes;
}

/** What waits for each egress, as the server counts it. */
export async function countAll({ jsm }: Process, prefix: string): Promise<Map<string, Lag>> {
  const lags = new Map<string, { ready: number; delayed: number; parked: number }>();
  for await (const { config } of jsm.streams.list(`${prefix}.*.>`)) {
    const { name } = config;
    if (name.endsWith('_LOG')) continue;
    const { state } = await jsm.streams.info(name, { subjects_filter: '>' });
    const held = Object.keys(state.subjects ?? {}).flatMap((each) => Subjects.held(each) ?? []);
    const ids = new Map<string, string>();
    for await (const consumer of jsm.consumers.list(name)) {
      const { egress, egressId, found } = durableOf(consumer);
      if (egressId === '') continue;
      ids.set(egress, egressId);
      const lag = lags.get(egressId) ?? { ready: 0, delayed: 0, parked: 0 };
      lags.set(egressId, lag);
      lag.ready += found;
    }
    for (const { kind, egress } of held) {
      const lag = lags.get(ids.get(egress) ?? '');
      if (lag) lag[kind === 't' ? 'delayed' : 'parked'] += 1;
    }
  }
  return lags;
}

export function eventTo(
  to: string,
  id: string,
  { type = 'test.order', key, data }: { type?: string; key?: string; data?: Uint8Array } = {},
): CloudEvent {
  return {
    attributes: new Map([
      ['specversion', '1.0'],
      ['id', id],
      ['source', '/test'],
      ['type', type],
      ['to', to],
      ...(key === undefined ? [] : [['partitionkey', key] as const]),
    ]),
    headers: new Map(),
    data,
  };
}

/** All of the ingress `orders`, or some types of it. */
export function interestOf(
  egressId: string,
  { types, isOrdered = false }: { types?: readonly string[]; isOrdered?: boolean } = {},
): Interest {
  const source = { ingressId: 'orders', ...(types && { types }) };
  return { egressId, isOrdered, sources: [source] };
}

export const idOf = ({ event }: Pick<Delivery, 'event'>): string =>
  String(event.attributes.get('id'));

/** Exactly so many, in as many pulls as it takes. @throws when they do not come within 10 s */
export async function pull(log: EventLog, egressId: string, count = 1): Promise<Delivery[]> {
  const { signal } = new AbortController();
  const deliveries: Delivery[] = [];
  const pulling = (async () => {
    while (deliveries.length < count) {
      deliveries.push(...(await log.pull(egressId, count - deliveries.length, { signal })));
    }
  })();
  let failure: { error: unknown } | undefined;
  pulling.catch((error: unknown) => (failure = { error }));
  await eventually(
    `${String(count)} deliveries`,
    () => failure !== undefined || deliveries.length >= count,
    { otherwise: () => [deliveries.map(idOf), log.lag(egressId)] },
  );
  if (failure) throw failure.error;
  return deliveries;
}

export async function pullOne(log: EventLog, egressId: string): Promise<Delivery> {
  const [delivery] = await pull(log, egressId);
  if (!delivery) throw new Error('a pull ended without a delivery');
  return delivery;
}

/** What comes while this passes, real time. */
export async function pullFor(log: EventLog, egressId: string, forMs: number): Promise<Delivery[]> {
  const signal = AbortSignal.timeout(forMs);
  const deliveries: Delivery[] = [];
  while (!signal.aborted) deliveries.push(...(await log.pull(egressId, 100, { signal })));
  return deliveries;
}

/** Each publication arrives; those that are chosen are not answered. */
export function withoutAnswers(
  isLost: (subject: string) => boolean,
): (nc: NatsConnection) => NatsConnection {
  return publishingBy((nc, subject, data, { reply, ...options }) => {
    nc.publish(subject, data, { ...options, ...(reply && !isLost(subject) && { reply }) });
  });
}

/** Publications that are chosen do not arrive. */
export function without(
  isLost: (subject: string) => boolean,
): (nc: NatsConnection) => NatsConnection {
  return publishingBy((nc, subject, data, options) => {
    if (!isLost(subject)) nc.publish(subject, data, options);
  });
}

type Publish = NatsConnection['publish'];

function publishingBy(
  act: (
    nc: NatsConnection,
    subject: string,
    data: Parameters<Publish>[1],
    options: NonNullable<Parameters<Publish>[2]>,
  ) => void,
): (nc: NatsConnection) => NatsConnection {
  return (nc) => {
    const publish: Publish = (subject, data, options = {}) => {
      act(nc, subject, data, options);
    };
    return new Proxy(nc, {
      get: (_, name) => {
        if (name === 'publish') return publish;
        // A member of the client, whatever its type is.
        const member: unknown = Reflect.get(nc, name);
        return typeof member === 'function' ? (member.bind(nc) as unknown) : member;
      },
    });
  };
}
