/**
 * The composition root: all roles in one process, or one of those that share a NATS server.
 *
 *   resources (YAML) -> reconcile -> Topology -+-> door -> log -> dispatcher -> subscribers
 *                                              |
 *   serve: all of it    controller: up to here, and out by the feed    ingress, dispatcher: in by the feed, and their part
 *
 * It owns the order in which parts open and close, and the one thing that changes: the Topology in force. Each part gets
 * its ports from here and knows no other part.
 */
import type { Logger } from 'pino';

import type { OpenIngress } from '../broker/ingress.ts';
import type { PayloadKeeper } from '../broker/payload/payloads.ts';
import type { ResourceStatus } from '../controller/reconcile.ts';
import type { ClaimLedger } from '../core/ports/claims.ts';
import type { EventLog } from '../core/ports/event-log.ts';
import type { Role } from '../core/ports/topology-feed.ts';
import { interestsOf } from '../core/rules/interests.ts';
import type { Dispatcher } from '../dispatcher/dispatcher.ts';
import { Gone } from '../dispatcher/gone.ts';
import { openAdmin, type Admin } from './admin.ts';
import { embeddedEngine, untilAnswered, type Engine, type EngineContext } from './engine.ts';
import type { Group } from './group.ts';
import { openExplain } from './inside/explain.ts';
import { figuresRoute, placeText } from './inside/figures.ts';
import { openParked } from './inside/parked.ts';
import { payloadRoutes } from './inside/payload-routes.ts';
import { openTails } from './inside/tail.ts';
import { closeAll } from './lifecycle.ts';
import { logObserver } from './observe/log-observer.ts';
import { composeObservers, openMetrics } from './observe/metrics.ts';
import type { Tracing } from './observe/tracing.ts';
import {
  CUT_MS,
  healthOf,
  openDispatcher,
  openDoor,
  openTraces,
  prepare,
  within,
  type Parts,
} from './parts.ts';
import { packageVersion, type Settings } from './settings.ts';
import { feedSource, openSnapshots, planSource, type Source } from './source.ts';
import { systemClock as clock } from './time.ts';

export interface Running {
  /** Absent: it takes no events. */
  readonly ingressUrl?: string;
  readonly adminUrl: string;
  /** What became of each resource, as of now. */
  statuses(): readonly ResourceStatus[];
  /** Rejects when it cannot go on. */
  readonly broken: Promise<never>;
  /** Drains and closes everything; resolves when it is safe to exit. Idempotent. */
  stop(): Promise<void>;
}

export interface ServeOptions {
  /** Absent: `serve`. The others need `settings.nats`. */
  readonly role?: Role;
  /** Ends the waiting for what the log stands on. */
  readonly signal?: AbortSignal;
}

/**
 * Opens the log, serves the resources, and resolves when events are taken.
 * @throws KnearError with the code of whatever cannot be opened; what was opened before is closed again.
 */
export async function serve(
  settings: Settings,
  logger: Logger,
  { role = 'serve', signal = new AbortController().signal }: ServeOptions = {},
): Promise<Running> {
  const opened: (() => Promise<void>)[] = [];
  try {
    return await open(settings, { logger, opened, signal, role });
  } catch (error) {
    await closeAll(opened, logger);
    throw error;
  }
}

interface OpenContext extends EngineContext {
  readonly role: Role;
}

async function open(settings: Settings, context: OpenContext): Promise<Running> {
  const { logger, opened, signal, role } = context;
  const stand = await openSource(settings, context);
  const { engine, source, group } = stand;
  const { inForce, plan } = source;
  const tracing = await openTraces(settings, { inForce, logger, opened });
  const watchers = openWatchers(settings, {
    source,
    logger,
    tracing,
    watched: () => ({ log, payloads, door, dispatcher }),
  });
  const { observer, explain } = watchers;
  const { log, claims, payloads } = await engine.open({
    observer,
    match: explain.match(inForce.match),
    wants: inForce.wants,
    ...(role === 'controller' && group && { mayChange: () => group.isLeading }),
  });
  await untilAnswered(() => log.prepare(interestsOf(inForce.topology)), { logger, signal });

  const parts: Parts = {
    inForce,
    log,
    payloads,
    observer,
    ...(tracing && { tracer: tracing.tracer }),
    logger,
    opened,
    ...(group && { isConfirmed: () => group.isConfirmed, others: group.others }),
  };
  const delivers = role === 'serve' || role === 'dispatcher';
  const isOnly = role === 'serve';
  const dispatcher = delivers ? openDispatcher(settings, parts, { isOnly }) : undefined;
  const takes = role === 'serve' || role === 'ingress';
  const door = takes ? await openDoor(settings, dispatcher, parts) : undefined;
  if (door) plan?.servedAt(door.url);
  const gone = role === 'controller' ? openGone(settings, parts) : undefined;
  if (plan) group?.watch(() => plan.look());
  const apply = async () => {
    dispatcher?.apply(inForce.topology);
    gone?.apply(inForce.topology);
    await group?.applied(inForce.topology);
  };
  await apply();

  const admin = await openInside(settings, {
    ...parts,
    ...{ payloads, claims, role, stand, watchers, dispatcher, takes },
  });
  group?.feed.reachableAt(admin.url);

  const stopped = new AbortController();
  opened.push(() => Promise.resolve(stopped.abort()));
  void source.follow({
    async prepare(next) {
      const isPrepared = await prepare(log, next, { logger, signal: stopped.signal });
      if (isPrepared) group?.intend(next);
      return isPrepared;
    },
    apply,
  });
  let stopping: Promise<void> | undefined;
  return {
    ...(door && { ingressUrl: door.url }),
    adminUrl: admin.url,
    statuses: () => plan?.statuses ?? [],
    broken: group?.broken ?? new Promise<never>(() => undefined),
    stop: () => (stopping ??= closeAll(opened, logger)),
  };
}

interface InsideParts extends Omit<Parts, 'payloads'> {
  readonly payloads: PayloadKeeper;
  readonly claims: ClaimLedger;
  readonly role: Role;
  readonly stand: Stand;
  readonly watchers: ReturnType<typeof openWatchers>;
  readonly dispatcher: Dispatcher | undefined;
  readonly takes: boolean;
}

/** The admin server, and what it tells and does for people. */
async function openInside(settings: Settings, parts: InsideParts): Promise<Admin> {
  const { inForce, log, payloads, claims, logger, opened, role, watchers, dispatcher } = parts;
  const { group, source } = parts.stand;
  const topology = () => inForce.topology;
  const parked = openParked({ log, payloads, topology, clock, logger });
  opened.push(() => within(CUT_MS, parked.close()));
  const admin = await openAdmin({
    host: settings.adminHost,
    port: settings.adminPort,
    metrics: watchers.metrics,
    health: () => healthOf({ log, payloads, ...(parts.takes && group && { group }) }),
    resources: () => source.plan?.statuses ?? [],
    problems: () => source.plan?.problems ?? [],
    routes: [
      watchers.tails.route,
      ...watchers.explain.routes,
      ...parked.routes,
      ...payloadRoutes({ claims, payloads, clock, logger }),
      figuresRoute({
        self: () => ({
          id: group?.feed.id ?? 'alone',
          role,
          version: packageVersion(),
          revision: group?.revision ?? topology().revision,
          places: dispatcher ? settings.vantages.map(placeText) : [],
          adminUrl: admin.url,
        }),
        others: () => group?.feed.instances() ?? [],
        accounts: watchers.metrics.accounts,
        lag: (egressId) => log.lag(egressId),
        slots: () => dispatcher?.slots() ?? [],
      }),
    ],
  });
  opened.push(() => admin.close());
  return admin;
}

/** What is looked at once it is open. */
interface Watched {
  readonly log: EventLog;
  readonly payloads: PayloadKeeper;
  readonly door: OpenIngress | undefined;
  readonly dispatcher: Dispatcher | undefined;
}

interface WatcherParts extends Pick<Stand, 'source'> {
  readonly logger: Logger;
  readonly tracing: Tracing | undefined;
  watched(): Watched;
}

/** Who is told what happens to events, and tells of it. */
function openWatchers(settings: Settings, { source, logger, tracing, watched }: WatcherParts) {
  const topology = () => source.inForce.topology;
  const metrics = openMetrics({
    topology,
    lag: (egressId) => watched().log.lag(egressId),
    state: () => watched().log.state,
    usage: () => watched().log.usage,
    payloads: () => watched().payloads,
    door: () => watched().door ?? NO_DOOR,
    open: () => {
      const { dispatcher } = watched();
      return { count: dispatcher?.open ?? 0, bytes: dispatcher?.openBytes ?? 0 };
    },
    slots: () => watched().dispatcher?.slots() ?? [],
    ...(tracing && { spans: () => tracing.counts }),
  });
  const tails = openTails({ topology, clock });
  const explain = openExplain({ eventsMax: settings.explainEvents, topology, clock });
  const observer = composeObservers(
    metrics.observer,
    logObserver(logger),
    tails.observer,
    explain.observer,
    ...(source.plan ? [source.plan.observer] : []),
  );
  return { metrics, tails, explain, observer };
}

/** What the process stands on, and what it goes by. */
interface Stand {
  readonly engine: Engine;
  readonly source: Source;
  /** Absent: it is alone. */
  readonly group?: Group;
}

async function openSource(settings: Settings, context: OpenContext): Promise<Stand> {
  const { role, logger, opened, signal } = context;
  const readsResources = role === 'serve' || role === 'controller';
  const snapshots = readsResources ? await openSnapshots(settings, opened) : undefined;
  const engine = await openEngine(settings, context);
  const group =
    role === 'serve' ? undefined : await openGroup(role, engine, { settings, ...context });
  const { recordMaxBytes } = engine;
  const waitOf = group && ((resourceId: string) => group.waitOf(resourceId));
  if (snapshots) {
    const options = { logger, clock, recordMaxBytes, ...(waitOf && { waitOf }) };
    return {
      engine,
      source: await planSource(snapshots, settings, options),
      ...(group && { group }),
    };
  }
  if (!group) throw new Error('who reads no resources is in a group');
  const stopped = new AbortController();
  opened.push(() => Promise.resolve(stopped.abort()));
  const either = AbortSignal.any([signal, stopped.signal]);
  return { engine, source: await feedSource(group.feed, { logger, signal: either }), group };
}

async function openEngine(settings: Settings, context: OpenContext): Promise<Engine> {
  const { nats } = settings;
  if (nats === undefined) return embeddedEngine(settings, context);
  // The client of NATS is loaded for those who use it.
  const { openNatsEngine } = await import('./engine-nats.ts');
  return openNatsEngine(settings, nats, context);
}

async function openGroup(
  role: Exclude<Role, 'serve'>,
  { link }: Engine,
  { settings, logger, opened, signal }: OpenContext & { readonly settings: Settings },
): Promise<Group> {
  const { nats } = settings;
  if (!link || !nats) throw new Error('a log that is shared has a server');
  const { Group } = await import('./group.ts');
  const { prefix } = nats;
  const group = new Group({ role, link, prefix, settings, logger, signal });
  opened.push(() => group.close());
  await group.leads();
  return group;
}

function openGone(settings: Settings, { log, logger, opened }: Parts): Gone {
  const gone = new Gone({
    log,
    clock,
    afterMs: settings.goneAfterMs,
    onBug: (error, egressId) => {
      logger.error({ err: error, egressId }, 'what is left of an egress could not be removed');
    },
  });
  opened.push(() => Promise.resolve(gone.stop()));
  return gone;
}

const NO_DOOR = { requestsInFlight: 0, bodyBytesHeld: 0 };
