/**
 * The composition root of `knear serve`: all roles in one process.
 *
 *   resources (YAML) -> reconcile -> Topology -+-> door -> log -> dispatcher -> subscribers
 *
 * It owns the order in which parts open and close, and the one thing that changes: the Topology in force. Each part gets
 * its ports from here and knows no other part.
 */
import type { Logger } from 'pino';

import { INGRESS_LIMITS, openIngress } from '../broker/ingress.ts';
import type { OpenIngress } from '../broker/ingress.ts';
import type { ResourceStatus } from '../controller/reconcile.ts';
import { openYamlFolder } from '../controller/source/yaml.ts';
import type { Payloads } from '../core/ports/payloads.ts';
import type { PayloadKeeper } from '../broker/payload/payloads.ts';
import type { EventLog } from '../core/ports/event-log.ts';
import type { Observer } from '../core/ports/observer.ts';
import type { Snapshot } from '../core/ports/resource-source.ts';
import type { Timer } from '../core/ports/time.ts';
import type { Tracer } from '../core/ports/tracer.ts';
import { interestsOf } from '../core/rules/interests.ts';
import type { Topology } from '../core/topology.ts';
import { openHttpDeliverer } from '../dispatcher/deliver/http.ts';
import { Dispatcher } from '../dispatcher/dispatcher.ts';
import { openAdmin } from './admin.ts';
import type { Health } from './admin.ts';
import { watchBusy } from './busy.ts';
import { embeddedEngine, untilAnswered, type Engine, type EngineContext } from './engine.ts';
import { openExplain } from './inside/explain.ts';
import { closeAll } from './lifecycle.ts';
import { logObserver } from './observe/log-observer.ts';
import { composeObservers, openMetrics } from './observe/metrics.ts';
import { openParked } from './inside/parked.ts';
import { payloadRoutes } from './inside/payload-routes.ts';
import { Plan } from './plan.ts';
import type { Settings } from './settings.ts';
import { openTails } from './inside/tail.ts';
import { systemClock as clock } from './time.ts';
import type { Tracing } from './observe/tracing.ts';

/** After the drain: as long as it takes to close idle connections. */
const CUT_MS = 500;
/** For the last spans: a collector that is there takes them in a tenth of it, and for one that is not nobody waits long. */
const SPANS_CUT_MS = 1_000;
/** Between two tries to make a place for new resources in the log. */
const PREPARE_AGAIN_MS = 1_000;

export interface Running {
  readonly ingressUrl: string;
  readonly adminUrl: string;
  /** What became of each resource, as of now. */
  statuses(): readonly ResourceStatus[];
  /** Drains and closes everything; resolves when it is safe to exit. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Opens the log, serves the resources, and resolves when events are taken.
 * @param options.signal ends the waiting for what the log stands on
 * @throws KnearError with the code of whatever cannot be opened; what was opened before is closed again.
 */
export async function serve(
  settings: Settings,
  logger: Logger,
  { signal = new AbortController().signal }: { readonly signal?: AbortSignal } = {},
): Promise<Running> {
  const opened: (() => Promise<void>)[] = [];
  try {
    return await open(settings, { logger, opened, signal });
  } catch (error) {
    await closeAll(opened, logger);
    throw error;
  }
}

async function open(
  settings: Settings,
  { logger, opened, signal }: EngineContext,
): Promise<Running> {
  const snapshots = await openSnapshots(settings, opened);
  const engine = await openEngine(settings, { logger, opened, signal });
  const plan = new Plan(settings, { logger, clock, recordMaxBytes: engine.recordMaxBytes });
  plan.follow(await nextSnapshot(snapshots));
  const tracing = await openTraces(settings, { plan, logger, opened });
  const tracer = tracing && { tracer: tracing.tracer };

  const metrics = openMetrics({
    topology: () => plan.topology,
    lag: (egressId) => log.lag(egressId),
    state: () => log.state,
    usage: () => log.usage,
    payloads: () => payloads,
    door: () => door,
    open: () => ({ count: dispatcher.open, bytes: dispatcher.openBytes }),
    slots: () => dispatcher.slots(),
    ...(tracing && { spans: () => tracing.counts }),
  });
  const topology = () => plan.topology;
  const tails = openTails({ topology, clock });
  const explain = openExplain({ eventsMax: settings.explainEvents, topology, clock });
  const observer = composeObservers(
    metrics.observer,
    logObserver(logger),
    tails.observer,
    explain.observer,
    plan.observer,
  );
  const { log, claims, payloads } = await engine.open({
    observer,
    match: explain.match(plan.match),
    wants: (egressId, event) => plan.wants(egressId, event),
  });
  await untilAnswered(() => log.prepare(interestsOf(plan.topology)), { logger, signal });

  const parts = { plan, log, payloads, observer, ...tracer, logger, opened };
  const dispatcher = openDispatcher(settings, parts);
  const door = await openDoor(settings, dispatcher, parts);
  plan.servedAt(door.url);
  dispatcher.apply(plan.topology);

  const parked = openParked({ log, payloads, topology, clock, logger });
  opened.push(() => within(CUT_MS, parked.close()));

  const admin = await openAdmin({
    host: settings.adminHost,
    port: settings.adminPort,
    metrics,
    health: () => healthOf(log, payloads),
    resources: () => plan.statuses,
    problems: () => plan.problems,
    routes: [
      tails.route,
      ...explain.routes,
      ...parked.routes,
      ...payloadRoutes({ claims, payloads, clock, logger }),
    ],
  });
  opened.push(() => admin.close());

  const stopped = new AbortController();
  opened.push(() => Promise.resolve(stopped.abort()));
  void followChanges(snapshots, logger, async (snapshot) => {
    const draft = plan.draft(snapshot);
    if (!(await prepare(log, draft.topology, { logger, signal: stopped.signal }))) return;
    plan.putInForce(draft);
    dispatcher.apply(plan.topology);
  });
  let stopping: Promise<void> | undefined;
  return {
    ingressUrl: door.url,
    adminUrl: admin.url,
    statuses: () => plan.statuses,
    stop: () => (stopping ??= closeAll(opened, logger)),
  };
}

async function openEngine(settings: Settings, context: EngineContext): Promise<Engine> {
  if (settings.nats === undefined) return embeddedEngine(settings, context);
  // The client of NATS is loaded for those who use it.
  const { openNatsEngine } = await import('./engine-nats.ts');
  return openNatsEngine(settings, settings.nats, context);
}

/** The resources, each time that they have changed. */
async function openSnapshots(
  settings: Settings,
  opened: (() => Promise<void>)[],
): Promise<AsyncIterator<Snapshot>> {
  const stopWatching = new AbortController();
  const source = await openYamlFolder({ folder: settings.resources, clock });
  opened.push(() => {
    stopWatching.abort();
    return Promise.resolve();
  });
  return source.watch({ signal: stopWatching.signal })[Symbol.asyncIterator]();
}

/** What door and dispatcher share. */
interface Parts {
  readonly plan: Plan;
  readonly log: EventLog;
  readonly payloads: Payloads;
  readonly observer: Observer;
  readonly tracer?: Tracer;
  readonly logger: Logger;
  readonly opened: (() => Promise<void>)[];
}

async function openDoor(
  settings: Settings,
  dispatcher: Dispatcher,
  { plan, opened, ...parts }: Parts,
): Promise<OpenIngress> {
  const door = await openIngress({
    ...parts,
    host: settings.host,
    port: settings.port,
    topology: () => plan.topology,
    clock,
    limits: {
      ...INGRESS_LIMITS,
      idleMs: settings.claimCheckUploadIdleMs,
      rateMin: settings.claimCheckUploadRateMinBytes,
      uploadMaxMs: settings.claimCheckUploadMaxMs,
    },
    mayRead: () => dispatcher.mayRead(),
  });
  opened.push(() => door.close());
  return door;
}

function openDispatcher(settings: Settings, parts: Parts): Dispatcher {
  const { plan, log, payloads, observer, tracer, logger, opened } = parts;
  const deliverer = openHttpDeliverer({ clock, payloads });
  // Attempts had the drain to end; whatever still runs then is offered again after the restart.
  opened.push(() => within(CUT_MS, deliverer.close()));
  const busy = watchBusy(clock);
  const dispatcher = new Dispatcher(plan.topology, {
    log,
    match: plan.match,
    deliverer,
    payloads,
    observer,
    ...(tracer && { tracer }),
    clock,
    slotsMax: settings.slotsMax,
    backoffMaxMs: settings.backoffMaxMs,
    open: { countMax: settings.openDeliveriesMax, bytesMax: settings.openBytesMax },
    goneAfterMs: settings.goneAfterMs,
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
async function openTraces(
  settings: Settings,
  parts: { plan: Plan; logger: Logger; opened: (() => Promise<void>)[] },
): Promise<Tracing | undefined> {
  const { tracingEndpoint: endpoint, tracingSampling: sampling } = settings;
  if (endpoint === undefined) return undefined;
  const { plan, logger, opened } = parts;
  const { openTracing } = await import('./observe/tracing.ts');
  const topology = () => plan.topology;
  const tracing = openTracing({ endpoint, sampling, clock, logger, topology });
  opened.push(() => within(SPANS_CUT_MS, tracing.close()));
  return tracing;
}

/**
 * What is new has its place in the log before anything is taken for it. Goes on until it has, unless knear stops.
 * @returns false when it stopped
 */
async function prepare(
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
async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: Timer | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = clock.after(ms, resolve);
  });
  await Promise.race([work, patience]);
  timer?.cancel();
}

async function nextSnapshot(snapshots: AsyncIterator<Snapshot>): Promise<Snapshot> {
  const next = await snapshots.next();
  return next.done ? { resources: [], problems: [] } : next.value;
}

/** A source that fails leaves the last Topology in force. */
async function followChanges(
  snapshots: AsyncIterator<Snapshot>,
  logger: Logger,
  apply: (snapshot: Snapshot) => Promise<void>,
): Promise<void> {
  try {
    for (let next = await snapshots.next(); !next.done; next = await snapshots.next()) {
      await apply(next.value);
    }
  } catch (error) {
    logger.error(
      { err: error },
      'the resources are not followed any more: restart when the folder is readable',
    );
  }
}

/** Large events wait for their store; small ones flow, so it is no reason to send events elsewhere. */
function healthOf(log: EventLog, { trouble }: PayloadKeeper): Health {
  const { state } = log;
  return {
    reasons: state.kind === 'accepting' ? [] : [{ code: state.code, detail: state.detail }],
    warnings: trouble ? [{ code: trouble.code, detail: trouble.message }] : [],
  };
}
