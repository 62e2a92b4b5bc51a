/** Where the Topology comes from: a folder of resources, or those who have read it. */
import type { Logger } from 'pino';

import { openYamlFolder } from '../controller/source/yaml.ts';
import type { Snapshot } from '../core/ports/resource-source.ts';
import type { TopologyFeed } from '../core/ports/topology-feed.ts';
import type { Topology } from '../core/topology.ts';
import { InForce } from './in-force.ts';
import { Plan, type PlanOptions } from './plan.ts';
import type { Settings } from './settings.ts';
import { stayAlive, systemClock as clock } from './time.ts';

/** What is done with a Topology that is new. */
export interface Followers {
  /** Before it is in force. @returns false when there is no use in going on */
  prepare(topology: Topology): Promise<boolean>;
  /** Now it is. */
  apply(): Promise<void>;
}

export interface Source {
  readonly inForce: InForce;
  /** Of a process that reads resources itself. */
  readonly plan?: Plan;
  /** Follows what comes, one after the other, until it is closed. */
  follow(followers: Followers): Promise<void>;
}

/** The resources, each time that they have changed. */
export async function openSnapshots(
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

/** Of resources that this process reads itself; the first of them are in force when it resolves. */
export async function planSource(
  snapshots: AsyncIterator<Snapshot>,
  settings: Settings,
  options: PlanOptions,
): Promise<Source & { readonly plan: Plan }> {
  const plan = new Plan(settings, options);
  const first = await snapshots.next();
  plan.follow(first.done ? { resources: [], problems: [] } : first.value);
  return {
    inForce: plan.inForce,
    plan,
    follow: ({ prepare, apply }) =>
      following(snapshots, options.logger, async (snapshot) => {
        const draft = plan.draft(snapshot);
        if (!(await prepare(draft.topology))) return;
        plan.putInForce(draft);
        await apply();
      }),
  };
}

/** Of what a controller hands out; the newest is in force when it resolves. @throws the reason of the abort */
export async function feedSource(
  feed: TopologyFeed,
  { logger, signal }: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<Source> {
  const inForce = new InForce();
  const topologies = feed.watch({ signal })[Symbol.asyncIterator]();
  logger.info('waiting for the Topology from knear controller');
  const callOff = stayAlive();
  const first = await topologies.next().finally(callOff);
  if (first.done) {
    signal.throwIfAborted();
    throw new Error('the feed has ended');
  }
  inForce.put(first.value);
  return {
    inForce,
    follow: ({ prepare, apply }) =>
      following(topologies, logger, async (topology) => {
        if (!(await prepare(topology))) return;
        inForce.put(topology);
        await apply();
      }),
  };
}

/** A source that fails leaves the last Topology in force. */
async function following<Item>(
  items: AsyncIterator<Item>,
  logger: Logger,
  take: (item: Item) => Promise<void>,
): Promise<void> {
  try {
    for (let next = await items.next(); !next.done; next = await items.next()) {
      await take(next.value);
    }
  } catch (error) {
    logger.error(
      { err: error },
      'the resources are not followed any more: restart when the folder is readable',
    );
  }
}
