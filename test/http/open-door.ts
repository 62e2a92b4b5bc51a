/** A door on a free port of this machine, with a clock, a log and an observer that the test holds in its hands. */
import { afterEach } from '@jest/globals';
import { pino } from 'pino';
import type { IngressLimits, IngressOptions, OpenIngress } from '../../broker/ingress.ts';
import { INGRESS_LIMITS, openIngress } from '../../broker/ingress.ts';
import type { Happening } from '../../core/ports/observer.ts';
import type { Ingress, Topology } from '../../core/topology.ts';
import { CLAIMS } from '../fakes/claims.ts';
import { FakeClock } from '../fakes/clock.ts';
import { openTestPayloads } from '../fakes/payloads.ts';
import { RecordingLog } from '../fakes/recording-log.ts';

export interface TestDoor {
  readonly door: OpenIngress;
  readonly port: number;
  readonly log: RecordingLog;
  readonly clock: FakeClock;
  readonly happenings: Happening[];
  /** What the door logged, parsed. */
  readonly logged: { readonly level: number; readonly msg: string }[];
  close(): Promise<void>;
}

export type DoorChanges = Partial<Omit<IngressOptions, 'limits'>> & {
  readonly limits?: Partial<IngressLimits>;
};

/** `/default/orders`, `/default/small` (at most 100 bytes) and the Channel `/default/channels/step-1`. */
export const INGRESSES = {
  orders: ingress({ name: 'orders' }),
  small: ingress({
    name: 'small',
    eventMaxBytes: 100,
    attributesMaxBytes: 300,
    claims: { ...CLAIMS, batchMaxBytes: 100 },
  }),
  step: ingress({
    kind: 'channel',
    name: 'step-1',
    path: '/default/channels/step-1',
    hosts: ['step-1-kn-channel.default.svc.cluster.local'],
  }),
};

/** Headers of a small valid event in binary mode. */
export const EVENT_HEADERS = {
  'ce-specversion': '1.0',
  'ce-id': '1',
  'ce-source': '/shop',
  'ce-type': 'order.created',
  'content-type': 'application/json',
};

export async function openDoor(changes: DoorChanges = {}): Promise<TestDoor> {
  const clock = new FakeClock();
  const log = new RecordingLog();
  const happenings: Happening[] = [];
  const logged: TestDoor['logged'] = [];
  const topology = topologyOf(Object.values(INGRESSES));
  const { limits, ...others } = changes;
  const door = await openIngress({
    host: '127.0.0.1',
    port: 0,
    topology: () => topology,
    log,
    payloads: changes.payloads ?? (await openTestPayloads({ clock })).payloads,
    observer: { observe: (happening) => void happenings.push(happening) },
    clock,
    logger: pino({ level: 'debug' }, { write: (line) => void logged.push(JSON.parse(line)) }),
    limits: { ...INGRESS_LIMITS, ...limits },
    mayRead: () => undefined,
    ...others,
  });
  const port = Number(new URL(door.url).port);
  const close = async () => {
    const closed = door.close();
    // Whatever a test left hanging is cut now.
    clock.advance(INGRESS_LIMITS.closeMs);
    await closed;
  };
  const opened = { door, port, log, clock, happenings, logged, close };
  open.push(opened);
  return opened;
}

const open: TestDoor[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((door) => door.close()));
});

/** A promise for `mayRead`, and the function that fulfils it. */
export function gate(): { readonly promise: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const promise = new Promise<void>((resolve) => (open = resolve));
  return { promise, open };
}

export function topologyOf(ingresses: readonly Ingress[]): Topology {
  return {
    revision: 1,
    ingresses: new Map(ingresses.map((each) => [each.id, each])),
    egresses: new Map(),
    services: new Map(),
    correlationKeys: new Map(),
  };
}

export function ingress(changes: Partial<Ingress> & { readonly name: string }): Ingress {
  return {
    id: `${changes.kind ?? 'broker'}/default/${changes.name}`,
    kind: 'broker',
    namespace: 'default',
    path: `/default/${changes.name}`,
    hosts: [],
    eventMaxBytes: 4 * 1024 * 1024,
    attributesMaxBytes: 16 * 1024,
    isEarly: true,
    claims: CLAIMS,
    hops: { isOn: false, redoMaxMs: 1_000 },
    ...changes,
  };
}
