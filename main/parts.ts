/** The parts that programs are put together from, whichever of them they have. */
import type { Logger } from 'pino';

import { INGRESS_LIMITS, openIngress, type OpenIngress } from '../broker/ingress.ts';
import type { PayloadKeeper } from '../broker/payload/payloads.ts';
import type { EventLog } from '../core/ports/event-log.ts';
import type { Observer } from '../core/ports/observer.ts';
import type { Payloads } from '../core/ports/payloads.ts';
import type { Timer } from '../core/ports/time.ts';
import type { Tracer } from '../core/ports/tracer.ts';
import { interestsOf } from '../core/rules/interests.ts';
import type { Topology } from '../core/topology.ts';
import { openHttpDeliverer } from '../dispatcher/deliver/http.ts';
import { Dispatcher, type DispatcherOptions } from '../dispatcher/dispatcher.ts';
import type { Health } from './admin.ts';
import { watchBusy } from './busy.ts';
import type { InForce } from './in-force.ts';
import type { Tracing } from './observe/tracing.ts';
import type { Settings } from './settings.ts';
import { systemClock as clock } from './time.ts';

/** After the drain: as long as it takes to close idle connections. */
export const CUT_MS = 500;
/** For the last spans: a collector that is there takes them in a tenth of it, and for one that is not nobody waits long. */
const SPANS_CUT_MS = 1_000;
/** Between two tries to make a place for new resources in the log. */
const PREPARE_AGAIN_MS = 1_000;

/** What door and dispatcher share. */
export interface Parts {
  readonly inForce: InForce;
  readonly log: EventLog;
  readonly payloads: Payloads;
  readonly observer: Observer;
  readonly tracer?: Tracer;
  readonly logger: Logger;
  readonly opened: (() => Promise<void>)[];
  /** Dispatchers of other processes; absent: there are none. */
  readonly others?: NonNullable<DispatcherOptions['others']>;
  /** C7; absent: always, as where one process applies resources and says that they are ready. */
  isConfirmed?(): boolean;
}

/** @param dispatcher that it yields to; absent: events are delivered elsewhere */
export async function openDoor(
  settings: Settings,
  dispatcher: Dispatcher | undefined,
  { inForce, opened, ...parts }: Parts,
): Promise<OpenIngress> {
  const door = await openIngress({
    ...parts,
    host: settings.host,
    port: settings.port,
    topology: () => inForce.topology,
    clock,
    limits: {
      ...INGRESS_LIMITS,
      idleMs: settings.claimCheckUploadIdleMs,
      rateMin: settings.claimCheckUploadRateMinBytes,
      uploadMaxMs: settings.claimCheckUploadMaxMs,
    },
    mayRead: () => dispatcher?.mayRead(),
  });
  opened.push(() => door.close());
  return door;
}

/** @param isOnly it looks after what the log holds for egresses that are gone */
export function openDispatcher(
  settings: Settings,
  { inForce, log, payloads, observer, tracer, logger, opened, isConfirmed, others }: Parts,
  { isOnly }: { readonly isOnly: boolean },
): Dispatcher {
  const deliverer = openHttpDeliverer({ clock, payloads });
  // Attempts had the drain to end; whatever still runs then is offered again after the restart.
  opened.push(() => within(CUT_MS, deliverer.close()));
  const busy = watchBusy(clock);
  const dispatcher = new Dispatcher(inForce.topology, {
    log,
    match: inForce.match,
    deliverer,
    payloads,
    observer,
    ...(tracer && { tracer }),
    clock,
    slotsMax: settings.slotsMax,
    backoffMaxMs: settings.backoffMaxMs,
    open: { countMax: settings.openDeliveriesMax, bytesMax: settings.openBytesMax },
    ...(isOnly && { goneAfterMs: settings.goneAfterMs }),
    ...(isConfirmed && { isConfirmed }),
    ...(others && { others }),
    vantages: settings.vantages,
    isBusy: busy.isBusy,
    lateMs: busy.lateMs,
    onBug: (error, egressId) => {
      logger.error({ err: error, egressId }, 'a delivery met a fault of knear: please report it');
    },
  });
  opened.push(() => {
    busy.stop();
    return dispatcher.stop(settings.drainMs);
  });
  return dispatcher;
}

/** `undefined` without a collector; then not a line of OpenTelemetry is loaded. */
export async function openTraces(
  settings: Settings,
  { inForce, logger, opened }: Pick<Parts, 'inForce' | 'logger' | 'opened'>,
): Promise<Tracing | undefined> {
  const { tracingEndpoint: endpoint, tracingSampling: sampling } = settings;
  if (endpoint === undefined) return undefined;
  const { openTracing } = await import('./observe/tracing.ts');
  const topology = () => inForce.topology;
  const tracing = openTracing({ endpoint, sampling, clock, logger, topology });
  opened.push(() => within(SPANS_CUT_MS, tracing.close()));
  return tracing;
}

/**
 * What is new has its place in the log before anything is taken for it. Goes on until it has, unless knear stops.
 * @returns false when it stopped
 */
export async function prepare(
  log: EventLog,
  topology: Topology,
  { logger, signal }: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<boolean> {
  const interests = interestsOf(topology);
  for (let tries = 1; ; tries += 1) {
    try {
      await log.prepare(interests);
      return !signal.aborted;
    } catch (error) {
      if (signal.aborted) return false;
      if (tries === 1) logger.error({ err: error }, 'changed resources wait for the event log');
      await new Promise<void>((resolve) => clock.after(PREPARE_AGAIN_MS, resolve));
    }
  }
}

/** Waits for the work, but no longer than this. */
export async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: Timer | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = clock.after(ms, resolve);
  });
  await Promise.race([work, patience]);
  timer?.cancel();
}

interface HealthParts {
  readonly log: EventLog;
  readonly payloads: PayloadKeeper;
  /** Of a door that shares its log with others. */
  readonly group?: { readonly isConfirmed: boolean };
}

/** Large events wait for their store; small ones flow, so it is no reason to send events elsewhere. */
export function healthOf({ log, payloads, group }: HealthParts): Health {
  const { state } = log;
  const { trouble } = payloads;
  const isBehind = group?.isConfirmed === false;
  return {
    reasons: [
      ...(state.kind === 'accepting' ? [] : [{ code: state.code, detail: state.detail }]),
      ...(isBehind ? [{ detail: 'what it goes by may be old: others take events' }] : []),
    ],
    warnings: trouble ? [{ code: trouble.code, detail: trouble.message }] : [],
  };
}
