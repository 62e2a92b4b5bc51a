/**
 * The dispatchers of other processes, as far as they matter for who pulls: where they are, and how busy.
 *
 * It owns the newest report of each, and tells of the own places.
 *
 * - G2 Who has not reported for three of his periods is not counted on, nor who still goes by an older Topology a second after this
 *   process: he may not know the egress. What he would have pulled is pulled by others.
 * - G3 Of places that are equally far from a subscriber, as all are from a plain address, SHARERS pull; the others are as if they were
 *   a little farther. Which ones is drawn by egress, so that each has its share.
 */
import { numberOf } from '../../core/hash.ts';
import type { LoadLine, LoadReport, LoadReports } from '../../core/ports/load-reports.ts';
import type { Clock, Timer } from '../../core/ports/time.ts';
import type { Instance } from '../../core/ports/topology-feed.ts';
import type { PlaceLoad } from '../../core/rules/cost.ts';
import type { Nearness } from '../../core/rules/nearness.ts';
import type { Egress, Topology } from '../../core/topology.ts';
import { Limit } from '../limit.ts';
import { Loads, loadOf } from './loads.ts';
import { LOOK_MS, type Neighbour } from './neighbours.ts';
import { Router } from './router.ts';

/** One may end at any time. */
const SHARERS = 2;
/** While anything is under way. */
const BUSY_EVERY_MS = 50;
const IDLE_EVERY_MS = 1_000;
const MISSED_MAX = 3;
/** More lines than this at BUSY_EVERY_MS, and telling costs more than it is worth: then it is done as seldom as there are many. */
const OFTEN_LINES = 200;
/** Below 500 KB with the longest names: a message has room for a megabyte. Those that do least are left out. */
const LINES_MAX = 2_000;
/** What it takes everybody to go by a new Topology, as a rule. */
const BEHIND_MS = 1_000;
/** How long an answer is good for: as long as a place that may not pull waits before it looks again. */
const VIEW_MS = LOOK_MS;

export interface RemoteOptions {
  readonly reports: LoadReports;
  readonly clock: Clock;
  readonly ownId: string;
  readonly slotsMax: number;
  /** All processes that are there. */
  instances(): readonly Instance[];
  /** What the own places do now. */
  own(): readonly (readonly LoadLine[])[];
}

interface Heard {
  readonly loads: readonly ReadonlyMap<string, LoadLine>[];
  /** Monotonic. */
  readonly untilMs: number;
}

export interface OwnPlace {
  /** Its number. */
  readonly place: number;
  readonly nearness: Nearness;
}

export interface RemoteView {
  readonly others: readonly Neighbour[];
  /** G3: of the own place. */
  readonly isSpare: boolean;
}

interface Peer {
  readonly id: string;
  readonly place: number;
  readonly router: Router;
}

export class Remote {
  readonly #options: RemoteOptions;
  readonly #heard = new Map<string, Heard>();
  readonly #peers = new Map<string, readonly Peer[]>();
  readonly #views = new Map<string, { view: RemoteView; topology: Topology; untilMs: number }>();
  /** Of one that does nothing. */
  readonly #idle: PlaceLoad;
  #timer: Timer;
  #wasBusy = false;
  /** What this process goes by, and since when, monotonic. */
  #topology: Topology | undefined;
  #sinceMs = 0;

  constructor(options: RemoteOptions) {
    const { reports, clock, slotsMax } = options;
    this.#options = options;
    this.#idle = loadOf(new Limit(slotsMax, clock));
    reports.listen((report) => this.#hear(report));
    this.#timer = clock.after(0, () => this.#tell());
  }

  close(): void {
    this.#timer.cancel();
  }

  /** Who else could pull for the egress, as seen from one of the own places. */
  viewOf(egress: Egress, topology: Topology, { place, nearness }: OwnPlace): RemoteView {
    const key = `${egress.id} ${String(place)}`;
    const nowMs = this.#options.clock.monotonicMs();
    this.#goBy(topology, nowMs);
    const known = this.#views.get(key);
    if (known && known.untilMs > nowMs && known.topology === topology) return known.view;
    const view = this.#look(egress, topology, { place, nearness });
    this.#views.set(key, { view, topology, untilMs: nowMs + VIEW_MS });
    return view;
  }

  /** Of egresses that are not there any more. */
  forget(topology: Topology): void {
    for (const [key, view] of this.#views) if (view.topology !== topology) this.#views.delete(key);
  }

  #goBy(topology: Topology, nowMs: number): void {
    if (this.#topology === topology) return;
    this.#topology = topology;
    this.#sinceMs = nowMs;
  }

  #look(egress: Egress, topology: Topology, { place, nearness }: OwnPlace): RemoteView {
    const { ownId } = this.#options;
    const nearnessOf = ({ router }: Peer) => router.nearnessTo(egress, topology) ?? 'any';
    const own = `${ownId}/${String(place)}`;
    const ids = new Map([[own, nearness]]);
    const others: (Neighbour & { readonly id: string })[] = [];
    for (const instance of this.#options.instances()) {
      const heard = this.#heardOf(instance, topology);
      for (const peer of this.#peersOf(instance)) {
        const { id } = peer;
        // The other places of this process are no others, and yet they share.
        if (instance.id === ownId && id !== own) ids.set(id, nearnessOf(peer));
        if (!heard) continue;
        const line = heard.loads[peer.place]?.get(egress.id);
        const [load, backlog] = [line ?? this.#idle, line?.backlog ?? 0];
        others.push({ id, nearness: nearnessOf(peer), load, backlog, isPaused: false });
      }
    }
    for (const other of others) ids.set(other.id, other.nearness);
    // G3
    const farthest = [...ids].filter(([, each]) => each === 'any').map(([id]) => id);
    const sharers = sharersOf(egress.id, farthest);
    const isSpare = (id: string) => ids.get(id) === 'any' && !sharers.has(id);
    return {
      others: others.map((other) => ({ ...other, isSpare: isSpare(other.id) })),
      isSpare: isSpare(own),
    };
  }

  /** G2 */
  #heardOf({ id, revision }: Instance, topology: Topology): Heard | undefined {
    const nowMs = this.#options.clock.monotonicMs();
    const heard = this.#heard.get(id);
    if (!heard || heard.untilMs < nowMs) return undefined;
    const isBehind = revision < topology.revision && nowMs - this.#sinceMs > BEHIND_MS;
    return isBehind ? undefined : heard;
  }

  #peersOf({ id: instanceId, vantages }: Instance): readonly Peer[] {
    let peers = this.#peers.get(instanceId);
    if (!peers) {
      const { clock, slotsMax } = this.#options;
      peers = vantages.map((vantage, place) => ({
        id: `${instanceId}/${String(place)}`,
        place,
        router: new Router({ vantage, loads: new Loads(clock, slotsMax), usesLoopback: false }),
      }));
      this.#peers.set(instanceId, peers);
    }
    return peers;
  }

  #hear(report: LoadReport): void {
    const { ownId, clock } = this.#options;
    if (report.instanceId === ownId) return;
    const loads = report.places.map((lines) => new Map(lines.map((line) => [line.egressId, line])));
    const untilMs = clock.monotonicMs() + MISSED_MAX * report.everyMs;
    this.#heard.set(report.instanceId, { loads, untilMs });
    this.#forget();
  }

  #forget(): void {
    const there = new Set(this.#options.instances().map(({ id }) => id));
    for (const id of this.#heard.keys()) {
      if (there.has(id)) continue;
      const { untilMs = 0 } = this.#heard.get(id) ?? {};
      if (untilMs < this.#options.clock.monotonicMs()) this.#heard.delete(id);
      this.#peers.delete(id);
    }
  }

  #tell(): void {
    const { own, reports, ownId: instanceId, clock } = this.#options;
    const places = bounded(own());
    const count = places.reduce((sum, { length }) => sum + length, 0);
    const isBusy = count > 0;
    const busyEveryMs = BUSY_EVERY_MS * Math.max(1, Math.ceil(count / OFTEN_LINES));
    const everyMs = isBusy ? busyEveryMs : IDLE_EVERY_MS;
    reports.tell({ instanceId, everyMs, places });
    // What has just become idle is told once more soon.
    const isIdleAnew = this.#wasBusy && !isBusy;
    this.#wasBusy = isBusy;
    this.#timer = clock.after(isIdleAnew ? BUSY_EVERY_MS : everyMs, () => this.#tell());
  }
}

function bounded(places: readonly (readonly LoadLine[])[]): readonly (readonly LoadLine[])[] {
  const linesMax = Math.floor(LINES_MAX / Math.max(1, places.length));
  const weight = ({ inFlight, backlog }: LoadLine) => inFlight + backlog;
  return places.map((lines) =>
    lines.length <= linesMax
      ? lines
      : [...lines].sort((one, other) => weight(other) - weight(one)).slice(0, linesMax),
  );
}

/** Rendezvous: each id draws a number for the egress, and the highest ones win. */
function sharersOf(egressId: string, ids: readonly string[]): ReadonlySet<string> {
  const drawn = ids.map((id) => ({ id, number: draw(egressId, id) }));
  drawn.sort((one, other) => other.number - one.number);
  return new Set(drawn.slice(0, SHARERS).map(({ id }) => id));
}

/** With a last turn: ids differ in their ends, which would else count for little. */
function draw(egressId: string, id: string): number {
  let number = numberOf(`${id} ${egressId}`);
  number = Math.imul(number ^ (number >>> 16), 0x85ebca6b);
  return (number ^ (number >>> 13)) >>> 0;
}
