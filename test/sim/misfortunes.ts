/** What befalls the simulated process: kills, freezes, stops, jumps of its clock, edits of resources, and other holders. */
import type { Delivery, ParkedEntry } from '../../core/ports/event-log.ts';
import type { Egress } from '../../core/topology.ts';
import type { Faults } from './faults.ts';
import type { SimulatedPayloads } from './payload-disk.ts';
import type { Process } from './process.ts';
import type { SeededRandom } from './random.ts';
import type { Scenery } from './scenery.ts';
import type { Subscribers } from './subscribers.ts';
import type { ProcessClock, Timeline } from './timeline.ts';

/** Parked entries are replayed so often a second. */
const REPLAYS = 0.5;
/** As many at once. */
const REPLAY_MAX = 5;
/** And payloads swept. */
const SWEEPS = 0.2;
const STORE_AWAY_MAX_MS = 10_000;

export interface MisfortunesOptions {
  readonly scenery: Scenery;
  readonly random: SeededRandom;
  /** Draws what is about hops only. */
  readonly lots: SeededRandom;
  readonly timeline: Timeline;
  readonly payloads: SimulatedPayloads;
  readonly subscribers: Subscribers;
  /** A second: somebody else pulls from the log and never settles, settles late, or settles twice. */
  readonly rogues: number;
  /** When there are none any more. */
  readonly untilMs: number;
  /** What an edit makes of an egress; `undefined`: it is deleted. */
  readonly changed: Map<string, Egress | undefined>;
  faults(): Faults;
  process(): Process | undefined;
  start(): void;
  kill(): void;
  stop(): Promise<void>;
  /** Another Topology is in force. */
  apply(): void;
  replayed(egressId: string, entries: readonly ParkedEntry[]): void;
  onBug(error: unknown): void;
}

export class Misfortunes {
  readonly #options: MisfortunesOptions;
  /** Entries that were delivered anew. */
  replays = 0;

  constructor(options: MisfortunesOptions) {
    this.#options = options;
  }

  /** Looks every 100 ms whether something is to happen. */
  look(): void {
    this.#look().catch((error: unknown) => this.#options.onBug(error));
  }

  /**
   * What may be replayed is read before anything happens: at the start of a step no promise is on its way that could
   * come between, so all that happens is decided in one go, as if the log had not been waited for.
   */
  async #look(): Promise<void> {
    const { timeline, random, lots, rogues, untilMs } = this.#options;
    if (timeline.nowMs >= untilMs) return;
    const parked = new Map<string, readonly ParkedEntry[]>();
    for (const id of this.#parkingIds()) {
      const entries = await this.#options.process()?.log.parked(id, { limit: REPLAY_MAX });
      parked.set(id, entries ?? []);
    }
    const { kills, freezes, jumps, edits, stops } = this.#options.faults();
    const happens = (aSecond: number) => random.chance(aSecond / 10);
    this.#payloadMisfortunes();
    const { clock } = this.#options.process() ?? {};
    if (clock) {
      if (happens(freezes)) clock.freeze(random.between(1_000, 30_000));
      if (happens(jumps)) clock.wallOffsetMs += random.between(-3_600_000, 3_600_000);
      if (happens(edits)) this.#edit();
      if (happens(rogues)) void this.#rogue(clock);
      if (happens(REPLAYS)) this.#replay(parked);
      if (happens(kills)) this.#kill();
      else if (lots.chance(stops / 10)) this.#stop();
    }
    timeline.at(100, () => this.look());
  }

  #kill(): void {
    const { timeline, random } = this.#options;
    this.#options.kill();
    timeline.at(random.between(10, 3_000), () => this.#startAgain());
  }

  /** Killed in the middle of it, or again where it is that already, it is as any other. */
  #stop(): void {
    const { timeline, lots } = this.#options;
    this.#options.stop().then(
      () => timeline.at(lots.between(10, 1_000), () => this.#startAgain(), lots),
      (error: unknown) => this.#options.onBug(error),
    );
  }

  #startAgain(): void {
    if (!this.#options.process()) this.#options.start();
  }

  #payloadMisfortunes(): void {
    const { payloads, timeline } = this.#options;
    const { random } = payloads;
    const { storeLeaves, redactions } = this.#options.faults();
    const happens = (aSecond: number) => random.chance(aSecond / 10);
    if (happens(storeLeaves)) {
      payloads.leave(timeline.nowMs, random.between(10, STORE_AWAY_MAX_MS));
    }
    const { keeper } = this.#options.process() ?? {};
    const onBug = (error: unknown) => this.#options.onBug(error);
    if (happens(SWEEPS)) keeper?.sweep().catch(onBug);
    if (happens(redactions)) keeper?.redact().catch(onBug);
  }

  #edit(): void {
    const { scenery, random, lots, timeline, changed } = this.#options;
    const egress = random.pick(scenery.egresses);
    const what = random.pick(['pause', 'delete', 'narrow', 'retry', 'restore'] as const);
    switch (what) {
      case 'restore':
        changed.delete(egress.id);
        break;
      case 'delete':
        changed.set(egress.id, undefined);
        break;
      case 'pause':
        changed.set(egress.id, { ...egress, isPaused: true });
        break;
      case 'narrow': {
        const filter = {
          kind: 'suffix',
          values: { id: random.pick(['1', '2', '3']) },
        } as const;
        changed.set(egress.id, { ...egress, filter });
        break;
      }
      case 'retry':
        changed.set(egress.id, { ...egress, retry: { ...egress.retry, retries: 0 } });
        break;
    }
    const current = changed.get(egress.id);
    if (scenery.hasHops && current && lots.chance(0.5)) {
      changed.set(egress.id, { ...current, hops: { ...current.hops, isOn: !current.hops.isOn } });
    }
    // Most edits are undone soon; some outlive the grace after which a deleted egress is gone.
    const forMs = random.chance(0.2) ? 25_000 : random.between(100, 5_000);
    timeline.at(forMs, () => {
      changed.delete(egress.id);
      this.#options.apply();
    });
    this.#options.apply();
  }

  /** The egresses that have parked entries. At the first look, before any step, there are none to wait for. */
  #parkingIds(): string[] {
    const { log } = this.#options.process() ?? {};
    const ids = this.#options.scenery.egresses.map(({ id }) => id);
    return ids.filter((id) => log && log.lag(id).parked > 0);
  }

  /** Somebody looks at what is parked and has it delivered anew, repaired or not. */
  #replay(parked: ReadonlyMap<string, readonly ParkedEntry[]>): void {
    const { scenery, random } = this.#options;
    const { id } = random.pick(scenery.egresses);
    const { log } = this.#options.process() ?? {};
    // W6: what is replayed comes after its successors.
    if (!log || id === 'ordered') return;
    const entries = parked.get(id) ?? [];
    const positions = entries.map(({ position }) => position);
    this.#options.replayed(id, entries);
    log.replay(id, positions).then(
      (count) => (this.replays += count),
      () => undefined,
    );
  }

  /** A second holder of the same queue, which does with its lease what a holder must not. */
  async #rogue(clock: ProcessClock): Promise<void> {
    const { scenery, random, timeline } = this.#options;
    const egress = random.pick(scenery.egresses);
    const { watched: log } = this.#options.process() ?? {};
    const patience = new AbortController();
    timeline.at(2_000, () => patience.abort());
    const pulled = await log?.pull(egress.id, 1, { signal: patience.signal }).catch(() => []);
    const [delivery] = pulled ?? [];
    if (!delivery || !clock.isAlive) return;
    const lateMs = random.between(0, 40_000);
    const how = random.pick(['lost', 'settled', 'twice', 'released'] as const);
    if (how === 'lost') return;
    clock.after(lateMs, () => {
      if (how === 'released') {
        delivery.release();
        return;
      }
      if (delivery.phase !== 'deliver') return;
      this.#settleAs(egress, delivery);
      if (how === 'twice') this.#settleAs(egress, delivery);
    });
  }

  #settleAs({ id, subscriber }: Egress, delivery: Delivery): void {
    const { scenery, subscribers } = this.#options;
    // A subscriber that replies must not lose its reply: a rogue settles only what needs no output.
    if (scenery.replying.has(id) || subscriber.kind === 'ingress') {
      delivery.release();
      return;
    }
    subscribers.take(id, delivery.event);
    void delivery.settle([])?.catch(() => undefined);
  }
}
