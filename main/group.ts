/**
 * This process among those that share a NATS server: who is there, who decides, and whether everybody goes by the same.
 *
 * It owns its place in the group, for a controller the lease and the barrier as well.
 */
import type { Logger } from 'pino';

import type { NatsLink } from '../broker/log/jetstream/connection.ts';
import { Barrier, type Wait } from '../controller/feed/barrier.ts';
import { Leadership } from '../controller/feed/leadership.ts';
import { NatsFeed } from '../controller/feed/nats-feed.ts';
import { codeOf, KnearError, messageOf } from '../core/errors.ts';
import type { Role, TopologyFeed } from '../core/ports/topology-feed.ts';
import type { Timer } from '../core/ports/time.ts';
import { repeat, waitAWhile } from '../core/repeat.ts';
import type { Topology } from '../core/topology.ts';
import { natsLoadReports } from './load-reports.ts';
import { packageVersion, type Settings } from './settings.ts';
import { stayAlive, systemClock as clock } from './time.ts';

/** How often the barrier is looked at: what a person who has changed a resource does not notice. */
const LOOK_MS = 250;
/** What somebody has deleted or overwritten by hand is put right within this time. */
const PUBLISH_AGAIN_MS = 10_000;
/** Between two tries to publish. */
const AGAIN_MS = 1_000;

export interface GroupOptions {
  readonly role: Exclude<Role, 'serve'>;
  readonly link: NatsLink;
  readonly prefix: string;
  readonly settings: Settings;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export class Group {
  readonly feed: TopologyFeed;
  /** Of the Topology that it goes by, or has handed out. */
  revision = 0;
  /** Rejects when this process cannot go on. */
  readonly broken: Promise<never>;
  readonly #options: GroupOptions;
  readonly #barrier = new Barrier();
  readonly #leadership: Leadership | undefined;
  readonly #stop = new AbortController();
  #breakOff: (error: unknown) => void = () => undefined;
  #onLeading: () => void = () => undefined;
  #published: Topology | undefined;
  #timers: readonly Timer[] = [];

  constructor(options: GroupOptions) {
    const { role, link, prefix, settings, logger } = options;
    this.#options = options;
    this.broken = new Promise((_, reject) => {
      this.#breakOff = reject;
    });
    // Whoever runs this process looks at it when he wants to.
    this.broken.catch(() => undefined);
    this.feed = new NatsFeed({
      js: link.js,
      prefix,
      clock,
      mayMake: role === 'controller',
      mayChange: () => this.isLeading,
      self: {
        role,
        version: packageVersion(),
        vantages: role === 'dispatcher' ? settings.vantages : [],
      },
      onTrouble: (error) => {
        if (error) logger.warn({ code: error.code }, error.message);
        else logger.info('the Topology can be read again');
      },
    });
    if (role === 'controller') {
      this.#leadership = new Leadership({
        js: link.js,
        prefix,
        clock,
        onChange: (isLeading) => this.#onLeadership(isLeading),
      });
    }
  }

  /** Of a controller: resolves when it is the one that decides. @throws the reason of the abort */
  async leads(): Promise<void> {
    const { signal, logger } = this.#options;
    if (!this.#leadership || this.#leadership.isLeading) return;
    logger.info('waiting until no other controller leads');
    const callOff = stayAlive();
    try {
      await new Promise<void>((resolve, reject) => {
        this.#onLeading = resolve;
        if (this.#leadership?.isLeading) resolve();
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    } finally {
      callOff();
    }
  }

  /** Of a controller, Z5. */
  get isLeading(): boolean {
    return this.#leadership?.isLeading ?? false;
  }

  /** C7 */
  get isConfirmed(): boolean {
    return this.feed.isConfirmed;
  }

  /** For a dispatcher: the others. */
  get others() {
    const { link, prefix } = this.#options;
    return {
      reports: natsLoadReports(link, prefix),
      ownId: this.feed.id,
      instances: () => this.feed.instances().filter(({ role }) => role === 'dispatcher'),
    };
  }

  /** Why a resource is not Ready for everybody. */
  waitOf(resourceId: string): Wait | undefined {
    return this.#barrier.waitOf(resourceId);
  }

  /** Of a controller: it is about to be in force, and nobody else can go by it yet. */
  intend(topology: Topology): void {
    this.#barrier.intended(topology);
  }

  /** This process goes by it. A controller hands it out, and resolves when it has or is stopped. */
  async applied(topology: Topology): Promise<void> {
    if (this.#options.role !== 'controller') {
      this.revision = topology.revision;
      this.feed.applied(topology.revision);
      return;
    }
    this.#published = topology;
    this.#barrier.intended(topology);
    await this.#publish(topology);
  }

  /** Of a controller. @param onChange what is Ready may have changed */
  watch(onChange: () => void): void {
    let seen = '';
    const look = () => {
      const instances = this.feed.instances();
      this.#barrier.present(instances);
      // Thousands of statuses are dated anew only where one of them may be another.
      const state = JSON.stringify([
        this.revision,
        instances.map(({ id, revision }) => [id, revision]),
      ]);
      if (state !== seen) onChange();
      seen = state;
    };
    this.#timers = [
      repeat(clock, LOOK_MS, look),
      repeat(clock, PUBLISH_AGAIN_MS, async () => {
        if (this.#published) await this.#publish(this.#published);
      }),
    ];
  }

  async close(): Promise<void> {
    this.#stop.abort();
    for (const timer of this.#timers) timer.cancel();
    await this.#leadership?.close();
    await this.feed.close();
  }

  async #publish(topology: Topology): Promise<void> {
    // A newer one takes its place.
    let told = '';
    while (!this.#stop.signal.aborted && this.#published === topology) {
      // Z5: another one may lead by now, whose it is to publish. This process ends.
      if (!this.#leadership?.isLeading) return;
      try {
        const revision = await this.feed.publish(topology);
        this.revision = revision;
        if (this.#published === topology) this.#barrier.published(revision);
        return;
      } catch (error) {
        const why = messageOf(error);
        if (why !== told)
          this.#options.logger.warn({ code: codeOf(error) }, `published again: ${why}`);
        told = why;
        await waitAWhile(clock, AGAIN_MS, this.#stop.signal);
      }
    }
  }

  #onLeadership(isLeading: boolean): void {
    if (isLeading) return this.#onLeading();
    if (this.#stop.signal.aborted) return;
    const detail = 'another controller may lead by now, so this one ends: start it again';
    this.#breakOff(new KnearError('KNEAR_LEASE_GONE', detail));
  }
}
